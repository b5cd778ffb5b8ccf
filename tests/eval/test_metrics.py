"""Metrics against XTREME's golden fixture and hand-made cases."""

import json
import random

import numpy as np
import pytest

from xlmr_jax.eval.metrics import scores as metrics


@pytest.mark.parametrize('task', ['xnli', 'pawsx'])
def test_accuracy_agrees_with_xtreme(data_dir, task):
  mock = data_dir / 'xtreme_mock'
  expected = json.loads((mock / 'expected_scores.json').read_text())
  scores = []
  for path in sorted((mock / 'predictions' / task).glob('test-*.tsv')):
    gold = (mock / 'labels' / task / path.name).read_text().splitlines()
    scores.append(metrics.accuracy(path.read_text().splitlines(), gold))
  assert len(scores) == {'xnli': 15, 'pawsx': 7}[task]
  assert metrics.mean(scores) == pytest.approx(
    expected[task]['avg_accuracy'], abs=1e-12
  )


def test_accuracy_strips_and_counts_lines():
  assert metrics.accuracy(['a ', '\tb\n', 'c'], ['a', 'b', 'd']) == 200 / 3
  with pytest.raises(ValueError, match='2 predictions for 3 labels'):
    metrics.accuracy(['a', 'b'], ['a', 'b', 'c'])
  with pytest.raises(ValueError, match='nothing to score'):
    metrics.accuracy([], [])


def test_mse_and_correlations():
  gold = [1.0, 2.0, 3.0, 4.0]
  assert metrics.mean_squared_error([1, 2, 3, 6], gold) == 1.0
  assert metrics.pearson([10, 20, 30, 40], gold) == pytest.approx(100)
  assert metrics.pearson([4, 3, 2, 1], gold) == pytest.approx(-100)
  # Ranks 1, 2.5, 2.5, 4 against 1, 2, 3, 4: 4.5 / sqrt(4.5 · 5).
  assert metrics.spearman([0, 7, 7, 1e6], gold) == pytest.approx(
    100 * 4.5 / np.sqrt(4.5 * 5)
  )
  assert metrics.pearson([0, 7, 7, 1e6], gold) < 80
  random = np.random.default_rng(0)
  x, y = random.normal(size=(2, 50))
  assert metrics.pearson(x, y) == pytest.approx(100 * np.corrcoef(x, y)[0, 1])
  # Their squares are no float64.
  assert metrics.pearson([1e200, 2e200, 3e200], [1, 2, 3]) == pytest.approx(100)


def test_constant_predictions_do_not_correlate():
  assert metrics.pearson([0.1] * 3, [1, 2, 3]) == 0
  assert metrics.spearman([0.1] * 3, [1, 2, 3]) == 0


def test_not_a_number_is_an_error():
  with pytest.raises(ValueError, match='prediction 1 is nan'):
    metrics.mean_squared_error([1.0, float('nan')], [1.0, 2.0])


def test_baselines():
  gold = ['a', 'b ', 'b', 'c']
  assert metrics.chance('accuracy', ('a', 'b', 'c', 'd')) == 25
  assert metrics.majority('accuracy', gold) == 50
  assert metrics.majority('mse', [1.0, 3.0]) == 1
  assert metrics.majority('pearson', [1.0, 3.0]) == 0
  assert metrics.chance('mse', None) is None
  assert metrics.chance('accuracy', None) is None
  assert metrics.chance('accuracy', None, [2, 4]) == 37.5
  assert metrics.chance('accuracy', ('a', 'b'), ()) == 50
  assert metrics.majority('accuracy', []) is None
  for name, gold in (
    ('squad', [('a',)]),
    ('mlqa', [('a',)]),
    ('pair_f1', [('a', 'b')]),
    ('map@20', [('a',)]),
  ):
    assert metrics.chance(name, None) is None
    assert metrics.majority(name, gold) is None


def test_mean_is_unweighted_and_null_where_a_language_has_no_labels():
  assert metrics.mean([10.0, 20.0]) == 15
  assert metrics.mean([10.0, None]) is None


def tagged_lines(path):
  """The tags of each sentence of one of XTREME's files."""
  return [part.split('\n') for part in path.read_text().strip().split('\n\n')]


@pytest.mark.parametrize('task, languages', [('udpos', 33), ('panx', 40)])
def test_spans_agree_with_xtreme(data_dir, task, languages):
  mock = data_dir / 'xtreme_mock'
  expected = json.loads((mock / 'expected_scores.json').read_text())[task]
  scores = []
  for path in sorted((mock / 'predictions' / task).glob('test-*.tsv')):
    gold = tagged_lines(mock / 'labels' / task / path.name)
    scores.append(metrics.span_scores(tagged_lines(path), gold))
  assert len(scores) == languages
  for name, column in zip(
    ('f1', 'precision', 'recall'), zip(*scores, strict=True), strict=True
  ):
    assert metrics.mean(list(column)) == pytest.approx(
      expected[f'avg_{name}'], abs=1e-12
    )


def made_up(tags, seed, count=200):
  """Gold tags and predictions of which three in four are right."""
  draw = random.Random(seed)  # whose random() is the same in every version
  pick = lambda: tags[int(draw.random() * len(tags))]
  gold = [
    [pick() for _ in range(1 + int(draw.random() * 9))] for _ in range(count)
  ]
  guess = [[t if draw.random() < 0.75 else pick() for t in s] for s in gold]
  return guess, gold


# (tags, seed) → what seqeval 0.0.12, the last that XTREME's script ran with,
# gives: F1, precision and recall, as shares.
SEQEVAL = {
  ('O B-LOC I-LOC B-PER I-PER B-ORG I-ORG', 0): (
    0.7351567711807871,
    0.7307692307692307,
    0.7395973154362416,
  ),
  ('O B-A I-A E-A S-A I-B', 1): (
    0.7951645399597045,
    0.8043478260869565,
    0.7861885790172642,
  ),
  ('NOUN VERB SYM SCONJ X INTJ PUNCT ADP', 2): (
    0.7178958225889633,
    0.7197518097207859,
    0.7160493827160493,
  ),
  ('O B I E S . O-A', 3): (
    0.7618181818181818,
    0.7535971223021583,
    0.7702205882352942,
  ),
}


@pytest.mark.parametrize('tags, seed', SEQEVAL)
def test_spans_agree_with_seqeval(tags, seed):
  guess, gold = made_up(tags.split(), seed)
  got = metrics.span_scores(guess, gold)
  assert np.divide(got, 100) == pytest.approx(SEQEVAL[tags, seed], abs=1e-12)
  assert metrics.span_f1(guess, gold) == got[0]


def test_spans_by_hand():
  score = metrics.span_scores
  # A run of equal names is one span; half of it is nothing.
  assert score([['NOUN', 'VERB']], [['NOUN', 'NOUN']]) == (0, 0, 0)
  assert score([['NOUN', 'NOUN']], [['NOUN', 'NOUN']]) == (100, 100, 100)
  # But for names in S: each word is a span of its own.
  assert score([['SYM', 'VERB']], [['SYM', 'SYM']]) == (50, 50, 50)
  # A span ends with its sentence, whatever its name.
  assert score([['X'], ['X']], [['X'], ['X']]) == (100, 100, 100)
  assert score([['X'], ['X']], [['X'], ['VERB']]) == (50, 50, 50)
  # I- after O begins a span; B- splits one in two.
  assert score([['O', 'I-P']], [['O', 'B-P']]) == (100, 100, 100)
  assert score([['B-P', 'B-P']], [['B-P', 'I-P']]) == (0, 0, 0)
  assert score([['O', 'I-O']], [['O', 'B-O']]) == (100, 100, 100)
  assert score([['O', 'O']], [['O', 'B-P']]) == (0, 0, 0)
  assert score([['B-P', 'O']], [['B-P', 'B-P']])[1:] == (100, 50)
  with pytest.raises(ValueError, match='sentence 1 has 2 predictions for 1'):
    score([['O'], ['O', 'O']], [['O'], ['O']])
  with pytest.raises(ValueError, match='1 predictions for 2 labels'):
    score([['O']], [['O'], ['O']])
  with pytest.raises(ValueError, match='nothing to score'):
    score([], [])
  with pytest.raises(ValueError, match='sentence 1: the prediction of word 0'):
    score([['O'], ['', 'O']], [['O'], ['O', 'O']])
  with pytest.raises(ValueError, match='sentence 0: the tag of word 1'):
    score([['O', 'O']], [['O', '']])
  assert metrics.chance('span_f1', ('O', 'B-P')) is None
  assert metrics.majority(
    'span_f1', [['VERB'], ['VERB', 'X']]
  ) == pytest.approx(40)


def cut(sentences):
  """Spans as groups: where does one end? Another way to say conlleval's rule.

  For B-, I-, E-, S- and O, and for names of parts of speech.
  """
  out = set()
  for number, sentence in enumerate(sentences):
    groups = []
    for word, tag in enumerate(sentence):
      kind = tag.split('-')[-1]
      before = sentence[word - 1] if word else 'O'
      new = kind != before.split('-')[-1]
      new |= tag[0] in 'BSO' or before[0] in 'ESO'
      if new:
        groups.append((kind, []))
      groups[-1][1].append(word)
    out |= {
      (number, kind, words[0], words[-1])
      for kind, words in groups
      if sentence[words[0]][0] != 'O'
    }
  return out


@pytest.mark.parametrize(
  'tags',
  [
    'O B-LOC I-LOC B-PER I-PER I-ORG',
    'O I-A I-B',  # I- without B-
    'O B-A I-A E-A S-A I-B E-B',
    'X NOUN X SYM SCONJ INTJ VERB PUNCT ADP',  # X ends sentences too
  ],
)
def test_spans_of_any_tags(tags):
  rounds, size = 125, 20  # 2,500 sentences a set of tags
  full = 0
  for seed in range(rounds):
    guess, gold = made_up(tags.split(), seed, size)
    score = metrics.span_scores(guess, gold)
    found, true = cut(guess), cut(gold)
    right = len(found & true)
    f1 = 200 * right / max(len(found) + len(true), 1)
    assert score == pytest.approx(
      (
        f1,
        100 * right / max(len(found), 1),
        100 * right / max(len(true), 1),
      ),
      abs=1e-9,
    )
    assert all(0 <= value <= 100 for value in score)
    # Guessed for gold: the same F1, precision for recall.
    back = metrics.span_scores(gold, guess)
    assert back == pytest.approx((score[0], score[2], score[1]), abs=1e-9)
    order = list(range(size))
    random.Random(seed).shuffle(order)
    assert metrics.span_scores(
      [guess[i] for i in order], [gold[i] for i in order]
    ) == pytest.approx(score, abs=1e-9)
    if true:
      assert metrics.span_scores(gold, gold) == (100, 100, 100)
      full += 1
  assert full > rounds * 0.9


def test_accuracy_of_any_lines():
  draw = random.Random(5)
  lines = ['', ' ', 'a', ' a', 'a\u00a0', 'A', 'á', 'a\u0301', '中', '\u200ba']
  plain = [line.strip() for line in lines]
  for _ in range(200):
    at = [draw.randrange(len(lines)) for _ in range(50)]
    to = [draw.choice([i, draw.randrange(len(lines))]) for i in at]
    guess, gold = [lines[i] for i in at], [lines[i] for i in to]
    score = metrics.accuracy(guess, gold)
    same = [plain[i] == plain[j] for i, j in zip(at, to, strict=True)]
    assert score == pytest.approx(100 * np.mean(same))
    assert metrics.accuracy(gold, guess) == score
    assert metrics.accuracy(gold[::-1], guess[::-1]) == score
    assert metrics.accuracy(gold, gold) == 100


def test_score_gives_the_metric_first_and_then_its_parts():
  tags = [['B-A', 'I-A', 'O', 'B-B']]
  score = metrics.score('span_f1', [['B-A', 'I-A', 'O', 'O']], tags)
  assert list(score) == ['span_f1', 'precision', 'recall']
  assert score == pytest.approx(
    {'span_f1': 200 / 3, 'precision': 100, 'recall': 50}
  )
  score = metrics.score('squad', ['the cat sat', 'no'], [('Cat',), ('No!',)])
  assert list(score) == ['squad', 'f1', 'exact_match']
  assert score['exact_match'] == 50
  assert score['f1'] == pytest.approx(100 * (2 / 3 + 1) / 2)
  assert score['squad'] == (score['f1'] + 50) / 2
  assert metrics.score('accuracy', ['a'], ['a']) == {'accuracy': 100}
  score = metrics.score('pair_f1', [('a', 'b')], [('a', 'b'), ('c', 'd')])
  assert list(score) == ['pair_f1', 'precision', 'recall']
  assert metrics.score('map@20', [['x', 'a']], [('a',)]) == {'map@20': 50}
  # der is an article in German alone.
  german = metrics.score('mlqa', ['der Hund'], [('Hund',)], 'de')
  assert german == {'mlqa': 100, 'f1': 100, 'exact_match': 100}
  english = metrics.score('mlqa', ['der Hund'], [('Hund',)], 'en')
  assert english['exact_match'] == 0
  with pytest.raises(ValueError, match="metric 'bleu' is not one of accuracy"):
    metrics.score('bleu', [], [])
  assert set(metrics.SCORES) == set(metrics.METRICS)
  assert metrics.SCORES['mse']([1.0], [3.0]) == 4
