"""Answers of which some are none: SQuAD 2.0's numbers, and thresholds."""

import collections
import re
import string

import numpy as np
import pytest

from xlmr_jax.eval.metrics import null_answers, scores

# The official algorithm, from its description (Rajpurkar et al. 2018), written
# over questions' ids as the script is: dictionaries, one question at a time.


def normalised(text):
  text = ''.join(c for c in text.lower() if c not in set(string.punctuation))
  return ' '.join(re.sub(r'\b(a|an|the)\b', ' ', text).split())


def exact_and_f1(prediction, texts):
  texts = [t for t in texts if normalised(t)] or ['']
  exact, f1 = 0, 0
  for text in texts:
    exact = max(exact, int(normalised(text) == normalised(prediction)))
    ours, theirs = (normalised(t).split() for t in (prediction, text))
    if not ours or not theirs:
      f1 = max(f1, int(ours == theirs))
      continue
    same = sum(
      (collections.Counter(ours) & collections.Counter(theirs)).values()
    )
    if same:
      p, r = same / len(ours), same / len(theirs)
      f1 = max(f1, 2 * p * r / (p + r))
  return exact, f1


def official(data, predictions, odds, threshold):
  """{id: texts}, {id: span}, {id: odds} → what evaluate-v2.0.py prints."""
  has = {name: bool(texts) for name, texts in data.items()}
  raw = {n: exact_and_f1(predictions[n], texts) for n, texts in data.items()}
  cut = {
    n: exact_and_f1('' if odds[n] > threshold else predictions[n], texts)
    for n, texts in data.items()
  }
  out = {}
  for prefix, names in (
    ('', list(data)),
    ('HasAns_', [n for n in data if has[n]]),
    ('NoAns_', [n for n in data if not has[n]]),
  ):
    if names:
      for k, part in enumerate(('exact', 'f1')):
        values = [cut[n][k] for n in names]
        out[prefix + part] = 100.0 * sum(values) / len(names)
      out[prefix + 'total'] = len(names)
  for k, part in enumerate(('exact', 'f1')):
    score = best = sum(not h for h in has.values())
    best_at = 0.0
    for name in sorted(odds, key=lambda n: odds[n]):
      if has[name]:
        score += raw[name][k]
      else:
        score += -1 if predictions[name] else 0
      if score > best:
        best, best_at = score, odds[name]
    out[f'best_{part}'] = 100.0 * best / len(data)
    out[f'best_{part}_thresh'] = best_at
  return out


WORDS = [
  'The',
  'cat',
  'sat,',
  'an',
  'U.S.-led',
  'army',
  '«',
  'mat',
  '...',
  'the',
]


def random_file(seed, count=60):
  rng = np.random.default_rng(seed)
  text = lambda low=0: ' '.join(rng.choice(WORDS, rng.integers(low, 4)))
  data, spans, odds = {}, {}, {}
  for i in range(count):
    texts = [text(1) for _ in range(rng.integers(0, 4))]
    data[f'q{i}'] = texts
    spans[f'q{i}'] = str(rng.choice(texts)) if texts and i % 3 else text()
    odds[f'q{i}'] = float(rng.normal(-1.0 if texts else 1.0, 1.5))
  return data, spans, odds


@pytest.mark.parametrize('seed', range(8))
def test_scores_are_those_of_the_official_script(seed):
  data, spans, odds = random_file(seed)
  if seed == 6:
    odds = {name: round(value) for name, value in odds.items()}  # ties
  if seed == 7:  # no answer at all is best
    spans = dict.fromkeys(spans, 'wrong')
  gold = [tuple(texts) or ('',) for texts in data.values()]
  for threshold in (-1.0, 0.0, 2.5):
    answers = [
      '' if odds[name] > threshold else span for name, span in spans.items()
    ]
    got = scores.score('squad2', answers, gold)
    assert next(iter(got)) == 'squad2' and got.pop('squad2') == got['f1']
    got |= null_answers.best_thresholds(
      list(spans.values()), gold, list(odds.values())
    )
    want = official(data, spans, odds, threshold)
    assert got == pytest.approx(want, rel=1e-12)
    assert list(got) == list(want)


@pytest.mark.parametrize('seed', range(8))
@pytest.mark.parametrize('ties', [False, True])
def test_the_chosen_threshold_gives_the_best_f1_of_all(seed, ties):
  data, spans, odds = random_file(seed)
  spans, odds = list(spans.values()), list(odds.values())
  if ties:
    odds = [float(round(value)) for value in odds]
  gold = [tuple(texts) or ('',) for texts in data.values()]

  def f1(threshold):
    answers = [
      '' if o > threshold else s for s, o in zip(spans, odds, strict=True)
    ]
    return scores.score('squad2', answers, gold)['f1']

  chosen = null_answers.choose_threshold(spans, gold, odds)
  every = [min(odds) - 1, *odds]
  assert f1(chosen) == pytest.approx(max(map(f1, every)), abs=1e-9)
  if not ties:
    best = null_answers.best_thresholds(spans, gold, odds)
    assert f1(chosen) > best['best_f1'] - 1e-9  # more where no word is left
    # Half-way to the next odds: a rounding error moves nothing.
    assert min(abs(chosen - o) for o in odds) > 0 or chosen == max(odds)


def test_where_all_or_none_is_best():
  gold, odds = [('',), ('',), ('cat',)], [-3.0, -2.0, -1.0]
  chosen = null_answers.choose_threshold(['dog'] * 3, gold, odds)
  assert chosen < -3.0  # the script says 0, by which all are answered
  spans = ['cat'] * 3
  assert null_answers.choose_threshold(spans, [('cat',)] * 3, odds) == -1.0
  assert null_answers.best_thresholds(['dog'] * 3, gold, odds) == {
    'best_exact': pytest.approx(200 / 3),
    'best_exact_thresh': 0.0,
    'best_f1': pytest.approx(200 / 3),
    'best_f1_thresh': 0.0,
  }


def test_the_questions_of_one_kind_alone():
  got = scores.score('squad2', ['', 'The cat!'], [('cat', 'dog')] * 2)
  assert got == {
    'squad2': 50.0,
    'exact': 50.0,
    'f1': 50.0,
    'total': 2.0,
    'HasAns_exact': 50.0,
    'HasAns_f1': 50.0,
    'HasAns_total': 2.0,
  }
  got = scores.score('squad2', ['', None, 'the'], [('',)] * 3)
  assert (got['NoAns_f1'], got['NoAns_total']) == (pytest.approx(200 / 3), 3)
  assert 'HasAns_f1' not in got


@pytest.mark.parametrize(
  'answers, gold, message',
  [
    ([], [], 'nothing to score'),
    (['a'], [('a',), ('b',)], '1 answers to 2 questions'),
    (['a'], ['a'], "question 0 has 'a' for its right answers"),
    (['a'], [()], r'question 0 has \(\)'),
    ([3], [('a',)], 'answer 0 is 3, not a string'),
  ],
)
def test_what_cannot_be_scored(answers, gold, message):
  with pytest.raises(ValueError, match=message):
    scores.score('squad2', answers, gold)
