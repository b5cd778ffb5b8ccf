"""Windows, labels and answers, against every span of every window."""

import json
import random
import unicodedata

import numpy as np
import pytest

from benchmarks import qa_ceiling
from xlmr_jax.data.readers import xtreme_questions
from xlmr_jax.data.readers.squad import Question
from xlmr_jax.data.tokenizers.hf_tokenizers import BpeTokenizer
from xlmr_jax.data.tokenizers.xlmr import Tokenizer
from xlmr_jax.tasks import answer, answer_spans


@pytest.fixture(scope='module')
def tiny(tiny_tokenizer):
  return Tokenizer(tiny_tokenizer)


@pytest.fixture(scope='module')
def real(data_dir):
  return Tokenizer(data_dir / 'tokenizers' / 'xlm-roberta')


@pytest.fixture(scope='module')
def roberta(data_dir):
  return BpeTokenizer(data_dir / 'tokenizers' / 'roberta')


def ask(context, *right, question='Who?', label=()):
  label = tuple(right) if right else label
  return Question('1', question, context, label, 'f.json, data[0]')


def located(context, text):
  return text, context.index(text)


PROSE = 'A man is asleep in the house. No man sees the red cat. ' * 6


# Windows.


def test_the_picture_of_the_module(real):
  context = 'just 308 points.'
  asked = ask(context, located(context, '308'), question='How many?')
  (feature,) = answer.encode([asked], real)
  pieces = [real.id_to_piece(int(i)) for i in feature['tokens']]
  assert pieces[:6] == ['<s>', '▁How', '▁many', '?', '</s>', '</s>']
  assert pieces[6:] == ['▁just', '▁30', '8', '▁points', '.', '</s>']
  assert feature['label'].tolist() == [7, 8]
  want = [(0, 4), (5, 7), (7, 8), (9, 15), (15, 16)]
  assert feature['spans'].tolist() == [[-1, -1]] * 6 + [
    *map(list, want),
    [-1, -1],
  ]
  assert feature['inside'].tolist() == [False] * 6 + [True] * 5 + [False]
  assert feature['starts'].tolist() == feature['inside'].tolist()
  assert feature['example'] == 0 and feature['context'] == context
  for key, kind in (('tokens', np.int32), ('label', np.int32)):
    assert feature[key].dtype == kind
  assert feature['spans'].dtype == np.int32


def test_one_window_is_the_pair_as_the_tokenizer_has_it(tiny, real, roberta):
  for tok in (tiny, real, roberta):
    for context in (PROSE, '', ' ', 'ein  Mann\nschläft '):
      for question in ('Who is asleep?', '', '  Wer?'):
        (feature,) = answer.encode([ask(context, question=question)], tok)
        want = tok.encode(question.lstrip(), context)
        assert feature['tokens'].tolist() == want


@pytest.mark.parametrize(
  'max_length, stride',
  # In the last the short window's length tells, at a hundredth a token.
  [(n, s) for n in (12, 13, 20, 47, 60) for s in (1, 2, 5, 16, 128)]
  + [(400, 330)],
)
def test_windows_hold_every_token_with_its_fullest_context(
  tiny, max_length, stride
):
  context = PROSE * (1 + max_length // 200)
  ids, spans = tiny.encode(context, offsets=True)
  ids, spans = ids[1:-1], spans[1:-1]
  query = tiny.encode('Who?')
  room = max_length - len(query) - 2
  got = answer.encode(
    [ask(context), ask(context)], tiny, max_length=max_length, stride=stride
  )
  half = len(got) // 2
  assert [f['example'] for f in got] == [0] * half + [1] * half
  windows, homes = [], []
  for number, feature in enumerate(got[:half]):
    first = number * min(stride, room)
    last = min(first + room, len(ids))
    windows.append((first, last))
    tokens = feature['tokens'].tolist()
    assert tokens == [*query, 2, *ids[first:last], 2]
    inside = feature['inside']
    assert inside.tolist() == (
      [False] * (len(query) + 1) + [True] * (last - first) + [False]
    )
    held = [tuple(s) for s in feature['spans'][inside].tolist()]
    assert held == spans[first:last]
    assert not (feature['starts'] & ~inside).any()
    homes.append(feature['starts'][inside])
  # All but the last are full, and only the last reaches the end.
  assert [b - a for a, b in windows[:-1]] == [room] * (half - 1)
  assert [last == len(ids) for _, last in windows] == [False] * (half - 1) + [
    True
  ]
  for at in range(len(ids)):
    sizes = {}
    for number, (first, last) in enumerate(windows):
      if first <= at < last:
        sides = min(at - first, last - 1 - at)
        sizes[number] = sides + 0.01 * (last - first)
    home = max(sizes, key=sizes.get)  # of equals the first
    flags = {n: bool(homes[n][at - windows[n][0]]) for n in sizes}
    assert flags == {n: n == home for n in sizes}


def test_a_long_question_is_cut_and_an_empty_one_is_asked(tiny):
  ids = tiny.encode(PROSE)[1:-1]
  (feature,) = answer.encode([ask('A cat.', question=PROSE)], tiny)
  assert feature['tokens'][1:65].tolist() == ids[:64]
  assert feature['tokens'][65:67].tolist() == [2, 2]
  (feature,) = answer.encode([ask('A cat.', question=PROSE)], tiny, question=3)
  assert feature['tokens'][1:6].tolist() == [*ids[:3], 2, 2]
  (feature,) = answer.encode([ask('A cat.', question='')], tiny)
  assert feature['tokens'][:3].tolist() == [0, 2, 2]


def test_an_empty_context_has_one_window_and_no_answer(tiny):
  for context in ('', ' ', '\n\u3000'):
    (feature,) = got = answer.encode([ask(context)], tiny)
    assert not feature['spans'][feature['inside']].any()
    scores = [np.ones((len(feature['tokens']), 2), np.float32)]
    assert answer_spans.decode(scores, None, got) == ['']
    (only,) = answer_spans.nbest(scores, got)[0]
    assert (only['text'], only['probability']) == ('', 1.0)


def test_nothing_to_encode(tiny):
  assert answer.encode([], tiny) == []
  assert answer_spans.decode([], None, []) == [] == answer_spans.nbest([], [])


@pytest.mark.parametrize(
  'options, message',
  [
    ({'labels': ['a']}, 'answers are spans of a text'),
    ({'stride': 0}, 'stride=0'),
    ({'question': 0}, 'question=0'),
    ({'max_length': 4}, r'f.json, data\[0\]: max_length=4 leaves no room'),
    ({'max_length': 40, 'truncate': 'error'}, r'data\[0\]: .* read in windows'),
  ],
)
def test_bad_options_are_said(tiny, options, message):
  with pytest.raises(ValueError, match=message):
    answer.encode([ask(PROSE)], tiny, **options)


def test_what_does_not_fit_is_refused_only_if_asked(tiny):
  long = ask('A cat.', question=PROSE)
  with pytest.raises(ValueError, match='are more than a window holds'):
    answer.encode([long], tiny, truncate='error')
  assert len(answer.encode([ask(PROSE)], tiny, truncate='error')) == 1
  count = len(tiny.encode('Who?', PROSE))
  options = {'truncate': 'error', 'max_length': count}
  assert len(answer.encode([ask(PROSE)], tiny, **options)) == 1
  with pytest.raises(ValueError, match='are more than a window holds'):
    answer.encode([ask(PROSE)], tiny, truncate='error', max_length=count - 1)


@pytest.mark.parametrize('field', ['question', 'context'])
def test_text_that_is_none_is_named(tiny, field):
  good = ask('A cat.')
  fields = dict(question='Who?', context='A cat.') | {field: 'a\udc80'}
  bad = Question('2', label=None, where='f.json, data[7]', **fields)
  with pytest.raises(ValueError, match=r'data\[7\]: .*lone surrogate'):
    answer.encode([good, bad], tiny)


# Labels.


def test_labels(tiny):
  at = PROSE.index('red cat')
  answers = ('nowhere', -1), ('red cat', at), ('house', PROSE.index('house'))
  (feature,) = answer.encode([ask(PROSE, *answers)], tiny)
  first, last = feature['label']
  spans = feature['spans']
  assert PROSE[spans[first, 0] : spans[last, 1]] == 'red cat'
  label = lambda asked, **options: [
    f['label'].tolist() for f in answer.encode([asked], tiny, **options)
  ]
  assert label(ask(PROSE, label=None)) == [[-1, -1]]
  assert label(ask(PROSE, label=())) == [[0, 0]]
  assert label(ask(PROSE, ('nowhere', -1))) == [[-1, -1]]
  assert label(ask('A  cat', (' ', 1))) == [[-1, -1]]
  with pytest.raises(ValueError, match=r'data\[0\]: no label; training'):
    label(ask(PROSE, label=None), required=True)
  assert answer.gold(
    [ask(PROSE, *answers), ask(PROSE, label=None), ask(PROSE, label=())]
  ) == [('nowhere', 'red cat', 'house'), None, ('',)]


def test_the_place_decides_and_not_the_text(tiny):
  places = [k for k in range(len(PROSE)) if PROSE.startswith('man', k)]
  assert len(places) == 12
  features = answer.encode([ask(PROSE, ('man', k)) for k in places], tiny)
  got = [f['spans'][f['label'], [0, 1]].tolist() for f in features]
  assert got == [[k, k + 3] for k in places]


def test_windows_without_the_whole_answer_point_to_nothing(tiny):
  start = PROSE.index('house. No man', 150)
  asked = ask(PROSE, ('house. No man', start))
  whole = 0
  for feature in answer.encode([asked], tiny, max_length=40, stride=1):
    spans, inside = feature['spans'], feature['inside']
    has = (spans[inside, 0] <= start).any() and (
      spans[:, 1] >= start + 13
    ).any()
    whole += has
    first, last = feature['label']
    if has:
      assert inside[first] and inside[last]
      assert PROSE[spans[first, 0] : spans[last, 1]] == 'house. No man'
    else:
      assert (first, last) == (0, 0)
  assert whole > 1


# Text as bad as it comes: ligatures, circles, width, marks, joiners, spaces.
POOL = [
  *('ﬁ ﬄ ½ ㍿ ㎏ ﷺ … ① ｶﾞ ｷ Ａ ｂ １ ＜mask＞ e\u0301 a\u0323\u0302'.split()),
  *'각 \u1112\u1161\u11ab \u0301 क्\u200dष क\u200cि กำ שָׁ ٱلْ 🇩🇪'.split(),
  *('👩\u200d👩\u200d👧 👍🏽'.split()),
  *('中国 日本語 the cat Haus U.S. co-op 3,14 <unk> </s> <mask>'.split()),
  *'\u00a0\u3000\u2009\u200b\u2028\ufeff\u2581\ufffd\t\n \x00\x01\x7f\u00ad',
  *' ' * 12,
]


def adversarial(seed, pieces=30):
  draw = random.Random(seed)
  return ''.join(draw.choices(POOL, k=draw.randrange(1, pieces)))


def silent(tok, char):
  """Whether a character is a space or nothing to a tokenizer."""
  if char.isspace() or isinstance(tok, BpeTokenizer):
    return char == ' '
  normal = tok._spm.normalize(f'a{char}b').replace('▁', '')
  return normal == 'ab' or unicodedata.combining(char) > 0


@pytest.mark.parametrize('name', ['real', 'roberta'])
def test_offsets_of_adversarial_text(request, name):
  """They go forward, stay inside, and leave out what is no text."""
  tok = request.getfixturevalue(name)
  for seed in range(300):
    text = adversarial(seed)
    (feature,) = answer.encode([ask(text)], tok, max_length=None)
    spans = feature['spans'][feature['inside']]
    begins, ends = spans.T
    assert (0 <= begins).all() and (begins <= ends).all()
    assert (ends <= len(text)).all()
    assert (np.diff(begins) >= 0).all() and (np.diff(ends) >= 0).all()
    covered = np.zeros(len(text), bool)
    for begin, end in spans:
      covered[begin:end] = True
    for char in np.array([*text])[~covered]:
      assert char.isspace() or silent(tok, char), (text, char)


@pytest.mark.parametrize('name', ['real', 'roberta'])
def test_labels_are_the_smallest_spans_around_answers(request, name):
  """Whatever the text is, the answer is in it, and no token too many."""
  tok = request.getfixturevalue(name)
  draw = random.Random(0)
  asked = 0
  for seed in range(300):
    text = adversarial(seed)
    start, end = sorted(draw.sample(range(len(text) + 1), 2))
    (feature,) = answer.encode(
      [ask(text, (text[start:end], start))], tok, max_length=None
    )
    first, last = feature['label']
    spans = feature['spans']
    own = {
      k
      for begin, stop in spans[feature['inside']]
      for k in range(begin, stop)
      if start <= k < end
    }
    if not own:
      assert (first, last) == (-1, -1)
      continue
    asked += 1
    assert spans[first, 0] <= min(own) and spans[last, 1] > max(own)
    # Both ends hold something of the answer: neither can go.
    for token in (first, last):
      assert {*range(*spans[token])} & own
    for token in (first - 1, last + 1):
      assert not {*range(*spans[token])} & own
    scores = [qa_ceiling.perfect(feature, first, last)]
    (got,) = answer_spans.decode(scores, None, [feature], longest=10**6)
    assert got == text[spans[first, 0] : spans[last, 1]].strip()
  assert asked > 200


# From scores to answers.


def all_spans(outputs, features, longest, candidates):
  """Every span of a question's windows that may be its answer, by score.

  Written as the rule is told: a loop over windows, starts and ends.
  """
  found = []
  for output, feature in zip(outputs, features, strict=True):
    size = len(output)
    rank = [
      sorted(range(size), key=lambda k, s=side: -output[k, s])[:candidates]
      for side in (0, 1)
    ]
    for i in range(size):
      for j in range(i, min(i + longest, size)):
        if not (feature['inside'][i] and feature['inside'][j]):
          continue
        if i not in rank[0] or j not in rank[1] or not feature['starts'][i]:
          continue
        begin, end = feature['spans'][i, 0], feature['spans'][j, 1]
        if feature['spans'][j, 0] < end:
          score = float(output[i, 0]) + float(output[j, 1])
          text = feature['context'][begin:end].strip()
          found.append((score, text, float(output[i, 0]), float(output[j, 1])))
  return sorted(found, key=lambda span: -span[0])


@pytest.mark.parametrize('longest', [1, 3, 30])
@pytest.mark.parametrize('candidates', [1, 4, 20, None])
def test_the_answer_is_the_best_of_all_spans(tiny, longest, candidates):
  rng = np.random.default_rng(0)
  questions = [
    ask(PROSE[: 20 + 30 * k] + ' \u3000 ' + PROSE[:k], question='Wer?' * k)
    for k in range(8)
  ]
  features = answer.encode(
    questions, tiny, max_length=48, stride=9, question=20
  )
  assert len(features) > 3 * len(questions)
  options = {'longest': longest, 'candidates': candidates}
  for round_ in range(6):
    outputs = [
      rng.normal(size=(len(f['tokens']), 2)).astype(np.float32) * 3
      for f in features
    ]
    if round_ % 2:  # many of them equal
      outputs = [np.round(x) for x in outputs]
    got = answer_spans.decode(outputs, None, features, **options)
    ranked = answer_spans.nbest(outputs, features, 7, **options)
    for number in range(len(questions)):
      own = [k for k, f in enumerate(features) if f['example'] == number]
      part = [outputs[k] for k in own], [features[k] for k in own]
      want = all_spans(*part, longest, candidates)
      want = want or all_spans(*part, longest, None)
      assert got[number] == want[0][1]
      best = {}
      for _, text, *ends in want:
        best.setdefault(text, tuple(ends))
      rank = [
        (e['text'], (e['start_logit'], e['end_logit'])) for e in ranked[number]
      ]
      assert rank == list(best.items())[:7]
      scores = np.array([sum(ends) for _, ends in rank])
      chance = np.exp(scores) / np.exp(scores).sum()
      given = [e['probability'] for e in ranked[number]]
      np.testing.assert_allclose(given, chance, rtol=1e-9)
  json.dumps(ranked)


def outputs_of(feature, *spans):
  """Scores of nothing but some (first, last, start score, end score)."""
  out = np.full((len(feature['tokens']), 2), -5.0, np.float32)
  for first, last, start, end in spans:
    out[first, 0], out[last, 1] = start, end
  return out


def test_no_answer_is_an_answer_only_where_it_may_be(tiny):
  (feature,) = features = answer.encode([ask('No man sees the red cat.')], tiny)
  at = np.flatnonzero(feature['inside'])
  first, last = at[0], at[1]
  begin, end = feature['spans'][first, 0], feature['spans'][last, 1]
  text = feature['context'][begin:end]
  outputs = [outputs_of(feature, (0, 0, 5, 5), (first, last, 1, 2))]
  decode = lambda **options: answer_spans.decode(
    outputs, None, features, **options
  )
  assert decode() == [text]
  assert decode(null=True) == ['']
  assert decode(null=True, margin=6.9) == ['']
  assert decode(null=True, margin=7.0) == [text]
  best = answer_spans.nbest(outputs, features, 3, null=True)[0]
  assert [e['text'] for e in best[:2]] == ['', text] and len(best) == 3
  assert best[0]['start_logit'] == best[0]['end_logit'] == 5.0
  assert answer_spans.nbest(outputs, features, 1, null=True)[0][0]['text'] == ''
  assert answer_spans.nbest(outputs, features, 1)[0][0]['text'] == text
  # It is among them however unlikely it is, as in SQuAD's scripts.
  outputs = [outputs_of(feature, (0, 0, -9, -9), (first, last, 1, 2))]
  (best,) = answer_spans.nbest(outputs, features, 1000, null=True)
  assert best[0]['text'] == text and best[-1]['text'] == ''


def test_a_question_has_no_answer_where_the_least_certain_window_says_so(tiny):
  features = answer.encode([ask(PROSE)], tiny, max_length=60, stride=20)
  assert len(features) > 2
  at = np.flatnonzero(features[1]['starts'])[0]
  outputs = [outputs_of(f, (0, 0, 9, 9)) for f in features]
  outputs[1] = outputs_of(features[1], (0, 0, 1, 1), (at, at, 2, 1))
  (text,) = answer_spans.decode(outputs, None, features, null=True)
  begin, end = features[1]['spans'][at]
  assert text == PROSE[begin:end]
  assert answer_spans.decode(
    outputs, None, features, null=True, margin=-1.5
  ) == ['']


def test_an_answer_longer_than_the_longest_is_not_given(tiny):
  (feature,) = features = answer.encode([ask(PROSE)], tiny)
  first = np.flatnonzero(feature['inside'])[4]
  outputs = [
    outputs_of(feature, (first, first + 30, 9, 9), (first, first, 9, 0))
  ]
  text = lambda last: PROSE[
    feature['spans'][first, 0] : feature['spans'][last, 1]
  ]
  assert answer_spans.decode(outputs, None, features) == [text(first)]
  whole = answer_spans.decode(outputs, None, features, longest=31)
  assert whole == [text(first + 30)]


def test_scores_outside_the_context_take_the_place_of_candidates(tiny):
  """As in SQuAD's scripts; where that leaves nothing, all are looked at."""
  (feature,) = features = answer.encode([ask('A red cat.')], tiny)
  inside = np.flatnonzero(feature['inside'])
  outputs = np.arange(2.0 * len(feature['tokens'])).reshape(-1, 2)
  outputs[~feature['inside']] += 1e3
  outputs[inside[0], 0] += 900
  size = len(feature['tokens']) - len(inside)
  for candidates in (size, size + 1, None):
    (got,) = answer_spans.decode(
      [outputs], None, features, candidates=candidates
    )
    (want, *_) = all_spans(
      [outputs], features, 30, candidates if candidates != size else None
    )
    assert got == want[1] == 'A red cat.'


def test_outputs_that_do_not_fit_are_said(tiny):
  features = answer.encode([ask('A red cat.')], tiny)
  good = np.zeros((len(features[0]['tokens']), 2), np.float32)
  for outputs, options, message in (
    ([], {}, '0 outputs for 1 features'),
    ([good[:-1]], {}, r'question 0: outputs \(\d+, 2\) for a window of'),
    ([good[:, :1]], {}, 'each has two, as start and as end'),
    ([good + np.nan], {}, 'question 0: the scores are not finite'),
    ([good], {'longest': 0}, 'longest=0'),
    ([good], {'candidates': 0}, 'candidates=0'),
  ):
    with pytest.raises(ValueError, match=message):
      answer_spans.decode(outputs, None, features, **options)
    with pytest.raises(ValueError, match=message):
      answer_spans.nbest(outputs, features, **options)
  with pytest.raises(ValueError, match='n=0'):
    answer_spans.nbest([good], features, 0)


# The ceiling that tokens set.


@pytest.mark.parametrize(
  'language', 'en es de el ru tr ar vi th zh hi ro'.split()
)
def test_perfect_scores_reach_the_ceiling(data_dir, real, language):
  """Of all spans of whole tokens; benchmarks/qa_ceiling.py takes all 1,190."""
  questions = xtreme_questions.xquad(data_dir / 'xquad', 'test', language)[::37]
  score = qa_ceiling.by_squad
  spans = qa_ceiling.spans_of(questions, real)
  found = [
    qa_ceiling.best_span(q, own, score, 30)
    for q, own in zip(questions, spans, strict=True)
  ]
  ceiling = tuple(100 * np.mean([best[:2] for best in found], axis=0))
  # Short windows too: then answers lie across their edges.
  for options in ({}, {'max_length': 144, 'stride': 70, 'question': 60}):
    features = answer.encode(questions, real, **options)
    outputs = qa_ceiling.oracle(features, found, spans)
    got = answer_spans.decode(outputs, None, features)
    assert qa_ceiling.average(got, questions, score) == ceiling
  # Labels know no metric, but hold the whole answer.
  features = answer.encode(questions, real, required=True)
  outputs = [qa_ceiling.perfect(f, *f['label']) for f in features]
  got = answer_spans.decode(outputs, None, features, longest=200)
  for text, (right,) in zip(got, answer.gold(questions), strict=True):
    assert right in text


def test_whole_words_are_reached_exactly(tiny):
  """Where tokens end with words, gold comes back as it went in."""
  words = PROSE.split()
  draw = random.Random(1)
  questions = []
  for _ in range(40):
    first = draw.randrange(len(words) - 5)
    last = first + draw.randrange(1, 5)
    start = len(' '.join(words[:first])) + bool(first)
    text = ' '.join(words[first:last])
    assert PROSE.startswith(text, start)
    questions.append(ask(PROSE, (text, start)))
  features = answer.encode(questions, tiny, max_length=64, stride=16)
  outputs = [qa_ceiling.perfect(f, *f['label']) for f in features]
  gold = [right for (right,) in answer.gold(questions)]
  assert answer_spans.decode(outputs, None, features) == gold
