"""Encoding and decoding of questions with answers to choose from."""

import itertools
import math

import numpy as np
import pytest

from xlmr_jax.data.readers import choices
from xlmr_jax.data.tokenizers import train_tokenizer, xlmr
from xlmr_jax.eval.metrics import scores as metrics
from xlmr_jax.tasks import choose


@pytest.fixture(scope='module')
def tokenizer():
  text = ['the dog sees a cat', 'a cat is near the house', 'no dog is here']
  return xlmr.Tokenizer(
    train_tokenizer.train(text * 50, 60, hard_vocab_limit=False)
  )


def example(texts, answers, label=None, where='f.jsonl:7'):
  return choices.Choice(tuple(texts), tuple(answers), label, where)


def test_every_answer_is_a_feature(tokenizer):
  features = choose.encode(
    [
      example(['the dog', 'sees'], ['a cat', 'no house', 'here'], 1),
      example(['no dog'], ['is here', 'is a cat']),
    ],
    tokenizer,
  )
  assert [f['example'] for f in features] == [0, 0, 0, 1, 1]
  assert [f['label'] for f in features] == [0, 1, 0, -1, -1]
  assert [f['tokens'].tolist() for f in features] == [
    tokenizer.encode('the dog sees', 'a cat'),
    tokenizer.encode('the dog sees', 'no house'),
    tokenizer.encode('the dog sees', 'here'),
    tokenizer.encode('no dog', 'is here'),
    tokenizer.encode('no dog', 'is a cat'),
  ]
  assert features[0]['tokens'].dtype == np.int32
  assert choose.encode([], tokenizer) == []


def test_a_question_may_stand_with_its_answer(tokenizer):
  """Where a long context is cut, as in C3, the question is not."""
  asked = example(['the dog sees a cat near the house', 'no dog'], ['a', 'is'])
  got = choose.encode(
    [asked], tokenizer, first=1, max_length=20, truncate='first'
  )
  assert [f['tokens'].tolist() for f in got] == [
    tokenizer.encode(asked.texts[0], both, max_length=20, truncate='first')
    for both in ('no dog a', 'no dog is')
  ]
  tail = tokenizer.encode('x', 'no dog is')[
    -len(tokenizer.encode('no dog is')) :
  ]
  assert got[1]['tokens'].tolist()[-len(tail) :] == tail
  whole = choose.encode([asked], tokenizer, first=2)
  default = choose.encode([asked], tokenizer)
  assert all(
    np.array_equal(a['tokens'], b['tokens'])
    for a, b in zip(whole, default, strict=True)
  )
  for first in (0, 3):
    with pytest.raises(ValueError, match=f'f.jsonl:7: first={first}, but 2 te'):
      choose.encode([asked], tokenizer, first=first)


def test_bad_examples_are_named(tokenizer):
  good = example(['a'], ['b', 'c'], 0, 'f.jsonl:1')
  for bad, message in (
    (example(['a'], ['b'], 0), '1 answers to choose from'),
    (example(['a'], ['b', 'c'], 2), 'label 2, but there are 2 answers'),
    (example(['a'], ['b', 'c'], -1), 'label -1, but there are 2 answers'),
    (example(['a'], ['b', 'c\ud800'], 1), 'character 1 .*surrogate'),
  ):
    with pytest.raises(ValueError, match=f'f.jsonl:7: {message}'):
      choose.encode([good, bad], tokenizer)
  long = example(['the dog sees a cat'], ['near', 'is'])
  with pytest.raises(ValueError, match='f.jsonl:7: .*max_length=8'):
    choose.encode([long], tokenizer, max_length=8, truncate='error')
  bare = example(['a'], ['b', 'c'])
  with pytest.raises(ValueError, match='f.jsonl:7: no label; training'):
    choose.encode([good, bare], tokenizer, required=True)


def test_decode_takes_the_first_of_the_best(tokenizer):
  features = choose.encode(
    [
      example(['a'], ['b', 'c', 'd']),
      example(['a'], ['b', 'c']),
      example(['a'], ['b', 'c', 'd', 'e']),
    ],
    tokenizer,
  )
  scores = [-3, -1, -2, 5, 5, 0, 7, 9, 9]
  outputs = [np.array([x], np.float32) for x in scores]
  assert choose.decode(outputs, None, features) == [1, 0, 2]
  assert choose.decode([], None, []) == []
  with pytest.raises(ValueError, match='8 outputs for 9 features'):
    choose.decode(outputs[1:], None, features)
  with pytest.raises(ValueError, match=r'gives \(2,\) outputs an answer'):
    choose.decode([np.zeros(2)] * 9, None, features)


def test_gold_of_real_xcopa_comes_back(data_dir):
  tokenizer = xlmr.Tokenizer(data_dir / 'tokenizers' / 'xlm-roberta')
  for split, language in (('train', 'en'), ('test', 'sw'), ('test', 'zh')):
    examples = choices.xcopa(data_dir / 'xcopa', split, language)
    features = choose.encode(examples, tokenizer, required=True)
    assert len(features) == 2 * len(examples)
    gold = choose.gold(examples)
    outputs = [np.array([f['label']], np.float32) for f in features]
    got = choose.decode(outputs, None, features)
    assert metrics.accuracy(got, gold) == 100
    worst = choose.decode([-x for x in outputs], None, features)
    assert metrics.accuracy(worst, gold) == 0
    # The input that XTREME-R's script makes.
    e, last = examples[-1], features[-1]['tokens'].tolist()
    assert last == tokenizer.encode(f'{e.texts[0]} {e.texts[1]}', e.choices[1])


# Questions of a group.


def grouped(scores, groups):
  """Outputs and features of questions with these scores and groups."""
  features, outputs = [], []
  for number, (row, group) in enumerate(zip(scores, groups, strict=True)):
    for score in row:
      features.append({'example': number, 'group': group})
      outputs.append(np.array([score], np.float32))
  return outputs, features


def decoded(scores, groups, assign):
  outputs, features = grouped(scores, groups)
  return choose.decode(outputs, None, features, assign=assign)


def take_best_pairs(scores):
  """CLUE's rule as it is told: the best pair that is left, over and over."""
  questions, answers = scores.shape
  left = {(a, q) for a in range(answers) for q in range(questions)}
  out = {}
  while left:
    answer, question = min(left, key=lambda p: (-scores[p[1], p[0]], p))
    out[question] = answer
    left = {(a, q) for a, q in left if a != answer and q != question}
  return [out[q] for q in range(questions)]


def best_of_all(scores):
  """The best of all ways to assign, of equal ones the first."""
  questions, answers = scores.shape
  return list(
    min(
      itertools.permutations(range(answers), questions),
      key=lambda p: (-math.fsum(scores[range(questions), p]), p),
    )
  )


@pytest.mark.parametrize('ties', [False, True])
@pytest.mark.parametrize(
  'assign, oracle', [('greedy', take_best_pairs), ('optimal', best_of_all)]
)
def test_assignment_is_that_of_a_search_through_all(assign, oracle, ties):
  rng = np.random.default_rng(0)
  differ = 0
  for _ in range(300):
    questions = rng.integers(1, 5)
    shape = questions, rng.integers(max(questions, 2), 6)
    scores = rng.normal(size=shape).astype(np.float32)
    if ties:
      scores = rng.integers(-1, 2, shape).astype(np.float32)
    got = decoded(scores, [7] * questions, assign)
    assert got == oracle(scores.astype(float))
    assert len(set(got)) == len(got)
    differ += got != scores.argmax(axis=1).tolist()
  assert differ > 100


def test_no_answer_is_given_twice_in_a_group():
  rng = np.random.default_rng(1)
  for _ in range(30):
    # Groups that are interleaved, and questions that are in none.
    groups = rng.permutation([0] * 10 + ['b'] * 6 + [None] * 5).tolist()
    scores = rng.normal(size=(21, 10)) + 3 * (np.arange(10) == 4)
    free = decoded(scores, groups, 'free')
    assert free == scores.astype(np.float32).argmax(axis=1).tolist()
    for assign, alone in (
      ('greedy', choose.greedy),
      ('optimal', choose.optimal),
    ):
      got = decoded(scores, groups, assign)
      for group in (0, 'b'):
        own = [k for k, g in enumerate(groups) if g == group]
        taken = [got[k] for k in own]
        assert len(set(taken)) == len(taken)
        # Another group changes nothing.
        assert taken == alone(scores[own].astype(np.float32).astype(float))
      for k, group in enumerate(groups):
        if group is None:
          assert got[k] == free[k]


def test_ties_go_to_the_first():
  level = np.zeros((4, 10))
  for assign in ('greedy', 'optimal'):
    assert decoded(level, [0] * 4, assign) == [0, 1, 2, 3]
    assert decoded(level, range(4), assign) == [0] * 4
  # The first answer's pairs come before the second's, as in the baseline.
  crossed = np.array([[0.0, 1.0], [1.0, 1.0]])
  assert choose.greedy(crossed) == [1, 0]
  # The best pair is not always part of the best whole.
  scores = np.array([[3.0, 2.9, -1.0], [2.8, -2.0, -3.0]])
  assert choose.greedy(scores) == [0, 1]
  assert choose.optimal(scores) == [1, 0]


def test_a_sum_of_scores_is_a_product_of_probabilities():
  rng = np.random.default_rng(2)
  for _ in range(50):
    scores = 3 * rng.normal(size=(3, 4))
    chance = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    best = max(
      itertools.permutations(range(4), 3),
      key=lambda p: np.prod(chance[range(3), p]),
    )
    assert choose.optimal(scores) == list(best)


def test_what_cannot_be_assigned_is_said():
  with pytest.raises(ValueError, match="assign='best' is none of free, greedy"):
    decoded(np.zeros((1, 2)), [0], 'best')
  for assign in ('greedy', 'optimal'):
    with pytest.raises(ValueError, match="'x' has 3 questions with 2 answers"):
      decoded(np.zeros((3, 2)), ['x'] * 3, assign)
    with pytest.raises(ValueError, match='2 questions with 2 or 3 answers'):
      decoded([[0, 0], [0, 0, 0]], [0, 0], assign)
  assert decoded(np.zeros((3, 2)), ['x'] * 3, 'free') == [0, 0, 0]


def test_features_know_their_group(tokenizer):
  blanks = [
    choices.GroupedChoice(('a',), ('b', 'c'), 0, 'f:1', '#1#', 5),
    choices.GroupedChoice(('a',), ('b', 'c'), 1, 'f:1', '#2#', 5),
    choices.GroupedChoice(('a',), ('b', 'c'), 1, 'f:2', '#3#'),
    example(['a'], ['b', 'c']),
  ]
  features = choose.encode(blanks, tokenizer)
  assert [f['group'] for f in features] == [5] * 4 + [None] * 4
  outputs = [np.array([x], np.float32) for x in (0, 3, 0, 2, 0, 1, 0, 1)]
  for assign, want in (
    ('free', [1, 1, 1, 1]),
    ('greedy', [1, 0, 1, 1]),
    ('optimal', [1, 0, 1, 1]),
  ):
    assert choose.decode(outputs, None, features, assign=assign) == want
