"""Encoding and decoding of questions with answers to choose from."""

import numpy as np
import pytest

from xlmr_jax.data import choices
from xlmr_jax.data import tokenizer as tokenizer_lib
from xlmr_jax.eval import metrics
from xlmr_jax.tasks import choose


@pytest.fixture(scope='module')
def tokenizer():
  text = ['the dog sees a cat', 'a cat is near the house', 'no dog is here']
  return tokenizer_lib.Tokenizer(
    tokenizer_lib.train(text * 50, 60, hard_vocab_limit=False)
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
  tokenizer = tokenizer_lib.Tokenizer(data_dir / 'tokenizers' / 'xlm-roberta')
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
