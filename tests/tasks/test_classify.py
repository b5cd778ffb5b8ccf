"""Encoding and decoding of classification and regression."""

import numpy as np
import pytest

from xlmr_jax.data.readers import tables
from xlmr_jax.data.tokenizers import train_tokenizer, xlmr
from xlmr_jax.tasks import classify

LABELS = ('neutral', 'entailment', 'contradiction')


@pytest.fixture(scope='module')
def tokenizer():
  text = ['the dog sees a cat', 'a cat is near the house', 'no dog is here']
  return xlmr.Tokenizer(
    train_tokenizer.train(text * 50, 60, hard_vocab_limit=False)
  )


def example(*texts, label=None, where='f.tsv:7'):
  return tables.Example(texts, label, where)


def test_encode_numbers_labels_in_the_order_given(tokenizer):
  examples = [
    example('the dog', 'a cat', label='contradiction'),
    example('the dog', label='neutral'),
    example('no cat', 'here'),
  ]
  features = classify.encode(examples, tokenizer, labels=LABELS)
  assert [f['label'] for f in features] == [2, 0, None]
  assert features[0]['tokens'].tolist() == tokenizer.encode('the dog', 'a cat')
  assert features[0]['tokens'].dtype == np.int32
  assert features[1]['tokens'].tolist() == tokenizer.encode('the dog')


def test_encode_truncates_as_told(tokenizer):
  long = example('the dog sees a cat', 'no dog')
  [feature] = classify.encode([long], tokenizer, max_length=8)
  assert feature['tokens'].tolist() == tokenizer.encode(
    *long.texts, max_length=8, truncate='longest_first'
  )
  with pytest.raises(ValueError, match='f.tsv:7: .*max_length=8'):
    classify.encode([long], tokenizer, max_length=8, truncate='error')
  whole = classify.encode([long], tokenizer, max_length=None)[0]['tokens']
  assert whole.tolist() == tokenizer.encode(*long.texts)


def test_unknown_and_missing_labels_are_named(tokenizer):
  good = example('a', label='neutral')
  bad = example('b', label='nuetral', where='f.tsv:8')
  with pytest.raises(
    ValueError,
    match="f.tsv:8: unknown label 'nuetral'; the labels are neutral, entail",
  ):
    classify.encode([good, bad], tokenizer, labels=LABELS)
  none = example('c', where='test-sw.tsv:1')
  with pytest.raises(ValueError, match='test-sw.tsv:1: no label; training'):
    classify.encode([good, none], tokenizer, labels=LABELS, required=True)
  with pytest.raises(ValueError, match='a class twice'):
    classify.encode([good], tokenizer, labels=['neutral', 'neutral'])
  with pytest.raises(ValueError, match="label 'neutral' is a name"):
    classify.encode([good], tokenizer)


def test_text_that_is_no_text_is_named(tokenizer):
  examples = [example('fine'), example('a\ud800', where='f.jsonl:9')]
  with pytest.raises(ValueError, match='f.jsonl:9: character 1 .*surrogate'):
    classify.encode(examples, tokenizer)


def test_regression(tokenizer):
  examples = [example('a', 'b', label=2.5), example('c')]
  features = classify.encode(examples, tokenizer)
  assert [f['label'] for f in features] == [2.5, None]
  out = classify.decode([np.array([0.5]), np.array([-1.0])])
  assert out == [0.5, -1.0]


def test_decode_gives_names(tokenizer):
  logits = [np.array([0.1, 0.3, -1]), np.array([0.0, -1, 4])]
  assert classify.decode(logits, LABELS) == ['entailment', 'contradiction']
  assert classify.decode([], LABELS) == []
  with pytest.raises(ValueError, match='2 labels'):
    classify.decode(logits, LABELS[:2])
  with pytest.raises(ValueError, match='regression needs one'):
    classify.decode(logits)
