"""Encoding and decoding of tagged sentences, against slow readings of it."""

import itertools
import json

import numpy as np
import pytest

from xlmr_jax.data.readers import tagged
from xlmr_jax.data.tokenizers import hf_tokenizers, train_tokenizer, xlmr
from xlmr_jax.eval.benchmarks import table
from xlmr_jax.tasks import tag

TAGS = ('ADJ', 'NOUN', 'PUNCT', 'VERB')
WORDS = 'the dog sees a cat near house red . ! dogs catlike 水 \u200b \u3000'


@pytest.fixture(scope='module')
def tokenizer():
  text = ['the dog sees a cat', 'a cat is near the house', 'no dog is here .']
  return xlmr.Tokenizer(
    train_tokenizer.train(text * 50, 60, hard_vocab_limit=False)
  )


def sentence(words, label=None, where='f.tsv:7'):
  if isinstance(words, str):
    words = words.split(' ')
  return tagged.Sentence(tuple(words), label and tuple(label), where)


def random_sentences(count, longest, seed=0):
  rng = np.random.default_rng(seed)
  out = []
  for _ in range(count):
    words = rng.choice(WORDS.split(' '), rng.integers(1, longest + 1))
    out.append(sentence(words.tolist(), rng.choice(TAGS, len(words)).tolist()))
  return out


def slow_windows(words, pieces_of, max_length, unk):
  """XTREME's rule read word by word: lists of (word number, pieces)."""
  room = max_length - 3
  out, used = [[]], 0
  for number, word in enumerate(words):
    pieces = pieces_of(word)
    if len(pieces) == 0 or len(pieces) > room:
      pieces = [unk]
    if used + len(pieces) > room:
      out.append([])
      used = 0
    out[-1].append((number, pieces))
    used += len(pieces)
  return out


def test_encode_is_the_picture_of_the_docstring(tokenizer):
  [feature] = tag.encode(
    [sentence('cat catlike .', ['NOUN', 'ADJ', 'PUNCT'])],
    tokenizer,
    labels=TAGS,
  )
  first, second, third = (
    tokenizer.encode(word)[1:-1] for word in ('cat', 'catlike', '.')
  )
  assert len(first) == 1 < len(second)  # else it would show nothing
  assert feature['tokens'].tolist() == [0, *first, *second, *third, 2]
  ignored = [-1] * (len(second) - 1)
  dot = [-1] * (len(third) - 1)
  assert feature['label'].tolist() == [-1, 1, 0, *ignored, 2, *dot, -1]
  assert feature['words'].tolist() == [1, 2, 2 + len(second)]
  assert feature['example'] == 0
  for name in ('tokens', 'label', 'words'):
    assert feature[name].dtype == np.int32


@pytest.mark.parametrize('max_length', [4, 6, 9, 17, 64])
def test_windows_are_xtremes(tokenizer, max_length):
  """Every word once, in order, and cut where the slow rule cuts."""
  examples = random_sentences(60, 24)
  features = tag.encode(examples, tokenizer, labels=TAGS, max_length=max_length)
  got = iter(features)
  for number, example in enumerate(examples):
    pieces_of = lambda word: tokenizer.encode(word)[1:-1]
    for window in slow_windows(example.words, pieces_of, max_length, 3):
      feature = next(got)
      tokens, label, words = [0], [-1], []
      for k, pieces in window:
        words.append(len(tokens))
        tokens += pieces
        label += [TAGS.index(example.label[k])] + [-1] * (len(pieces) - 1)
      assert feature['tokens'].tolist() == [*tokens, 2]
      assert len(feature['tokens']) < max_length
      # -2: the sentence has words before this window, or behind it.
      if feature['first']:
        label[0] = -2
      end = -1 if k + 1 == len(example.words) else -2
      assert feature['first'] == window[0][0]
      assert feature['label'].tolist() == [*label, end]
      assert feature['words'].tolist() == words
      assert feature['example'] == number
  assert next(got, None) is None
  if max_length < 64:
    assert len(features) > len(examples)


def test_a_word_of_nothing_and_one_too_long_are_unknown(tokenizer):
  for nothing in ('\u200b', '\u3000', '\u2581', '\x01'):
    assert tokenizer.encode(nothing) == [0, 2]
    [feature] = tag.encode(
      [sentence(['cat', nothing, 'cat'], ['NOUN', 'ADJ', 'NOUN'])],
      tokenizer,
      labels=TAGS,
    )
    cat = tokenizer.encode('cat')[1]
    assert feature['tokens'].tolist() == [0, cat, 3, cat, 2]
    assert feature['label'].tolist() == [-1, 1, 0, 1, -1]
  long = 'house' * 10
  count = len(tokenizer.encode(long)) - 2
  whole, cut = (
    tag.encode([sentence([long])], tokenizer, labels=TAGS, max_length=n)[0]
    for n in (count + 3, count + 2)
  )
  assert whole['tokens'].tolist() == tokenizer.encode(long)
  assert cut['tokens'].tolist() == [0, 3, 2]
  # A piece that is nothing but the mark of a space is a piece as any other.
  mark = tokenizer.encode('水')[1:-1]
  assert tokenizer.id_to_piece(mark[0]) == '▁' and len(mark) > 1
  [feature] = tag.encode([sentence('水')], tokenizer, labels=TAGS)
  assert feature['words'].tolist() == [1]


def test_alignment_is_that_of_transformers(tokenizer, tmp_path):
  """Its word_ids, and its tokens, where every word has pieces."""
  transformers = pytest.importorskip('transformers')
  tokenizer.save(tmp_path)
  theirs = transformers.XLMRobertaTokenizer.from_pretrained(tmp_path)
  assert theirs.is_fast
  seen = 0
  for example in random_sentences(80, 12, seed=1):
    words = [w for w in example.words if w.strip('\u200b\u3000')]
    if not words:
      continue
    want = theirs(words, is_split_into_words=True)
    [feature] = tag.encode([sentence(words)], tokenizer, labels=TAGS)
    assert feature['tokens'].tolist() == want['input_ids']
    owners = want.word_ids()
    firsts = [owners.index(k) for k in range(len(words))]
    assert feature['words'].tolist() == firsts
    seen += 1
  assert seen > 60


def test_a_word_of_byte_level_bpe_follows_a_space(tmp_path):
  """As in running text, and as transformers' add_prefix_space."""
  pieces = '<s> <pad> </s> <unk> Ġ a b Ġa ab <mask>'.split()
  vocabulary = {piece: i for i, piece in enumerate(pieces)}
  (tmp_path / 'vocab.json').write_text(json.dumps(vocabulary), 'utf-8')
  (tmp_path / 'merges.txt').write_text('Ġ a\na b\n', 'utf-8')
  tokenizer = hf_tokenizers.BpeTokenizer(tmp_path)
  [feature] = tag.encode([sentence('a b')], tokenizer, labels=TAGS)
  assert feature['tokens'].tolist() == [0, 7, 4, 6, 2]
  assert feature['words'].tolist() == [1, 2]


def test_sentences_without_tags(tokenizer):
  [feature] = tag.encode([sentence('dog .')], tokenizer, labels=TAGS)
  assert feature['label'] is None and len(feature['words']) == 2
  with pytest.raises(ValueError, match='test-sw.tsv:1: no label; training'):
    tag.encode(
      [sentence('dog', where='test-sw.tsv:1')],
      tokenizer,
      labels=TAGS,
      required=True,
    )


def test_errors_name_the_line_of_the_word(tokenizer):
  encode = lambda *examples, **more: tag.encode(
    examples, tokenizer, labels=TAGS, **more
  )
  good = sentence('a', ['ADJ'], 'f.tsv:1')
  bad = sentence('a dog', ['ADJ', 'NUON'], 'f.tsv:3')
  with pytest.raises(
    ValueError, match="f.tsv:4: unknown tag 'NUON'; the tags are ADJ, NOUN, PU"
  ):
    encode(good, bad)
  broken = sentence(['a', 'dog', 'c\ud800'], where='f.tsv:10')
  with pytest.raises(ValueError, match=r'f.tsv:12: character 1 .*surrogate'):
    encode(good, broken)
  with pytest.raises(ValueError, match='f.tsv:3: 1 tags for 2 words'):
    encode(sentence('a b', ['ADJ'], 'f.tsv:3'))
  with pytest.raises(ValueError, match='f.tsv:9: a sentence without words'):
    encode(sentence([], where='f.tsv:9'))
  with pytest.raises(ValueError, match='a tag twice'):
    tag.encode([good], tokenizer, labels=['ADJ', 'ADJ'])
  with pytest.raises(ValueError, match='max_length=3; a window needs'):
    encode(good, max_length=3)
  long = sentence(['dog'] * 6, where='f.tsv:20')
  length = 3 + 6 * (len(tokenizer.encode('dog')) - 2)
  with pytest.raises(
    ValueError, match=f'f.tsv:20: {length} tokens are more than max_length=8'
  ):
    encode(good, long, max_length=8, truncate='error')
  assert len(encode(good, long, max_length=length, truncate='error')) == 2
  # A word of nothing will be one token, <unk>.
  empty = sentence(['cat', *['\u200b'] * 3], where='f.tsv:30')
  with pytest.raises(ValueError, match='f.tsv:30: 7 tokens are more than'):
    encode(empty, max_length=6, truncate='error')
  made_up = tagged.Sentence(('a',), ('X',), 'memory')
  with pytest.raises(ValueError, match="memory, word 0: unknown tag 'X'"):
    encode(made_up)


def test_decode_undoes_encode(tokenizer):
  """A model that is always right gives every word its tag back."""
  examples = random_sentences(40, 20, seed=2)
  features = tag.encode(examples, tokenizer, labels=TAGS, max_length=9)
  rng = np.random.default_rng(0)
  scores, paths = [], []
  for feature in features:
    label = feature['label']
    wrong = rng.normal(size=(len(label), len(TAGS))).astype(np.float32)
    wrong[label >= 0, label[label >= 0]] = 9
    scores.append(wrong)
    paths.append(label)
  want = [list(example.label) for example in examples]
  assert tag.decode(scores, TAGS, features) == want
  assert tag.decode(paths, TAGS, features) == want
  assert tag.decode([], TAGS, []) == []


def test_decode_refuses_what_does_not_fit(tokenizer):
  features = tag.encode([sentence('dog .')], tokenizer, labels=TAGS)
  length = len(features[0]['tokens'])
  zeros = np.zeros((length, 4), np.float32)
  assert tag.decode([zeros], TAGS, features) == [['ADJ', 'ADJ']]
  with pytest.raises(ValueError, match='0 outputs for 1 features'):
    tag.decode([], TAGS, features)
  with pytest.raises(ValueError, match=f'3 outputs for a window of {length}'):
    tag.decode([zeros[:3]], TAGS, features)
  with pytest.raises(ValueError, match='gives 4 outputs a token; there are 3'):
    tag.decode([zeros], TAGS[:3], features)
  with pytest.raises(ValueError, match='no tag at a word'):
    tag.decode([np.full(length, -1)], TAGS, features)


def test_real_sentences_with_the_real_vocabulary(data_dir):
  """Tagalog, Marathi and the longest Thai sentences: windows and words."""
  tokenizer = xlmr.Tokenizer(data_dir / 'tokenizers/xlm-roberta')
  task = table.tasks()['udpos']
  folder = data_dir / 'udpos/xtreme_tsv_labelled_test'
  read = {name: task.read(folder, 'test', name) for name in ('tl', 'mr', 'th')}
  read['th'].sort(key=lambda s: -len(s.words))
  examples = [*read['tl'], *read['mr'], *read['th'][:40]]
  features = tag.encode(
    examples, tokenizer, labels=task.labels, max_length=128, required=True
  )
  cut = tag.encode(examples, tokenizer, labels=task.labels, max_length=32)
  assert len(cut) > len(examples)
  pieces_of = lambda word: tokenizer.encode(word)[1:-1]
  for max_length, made in ((128, features), (32, cut)):
    want = [
      [0, *itertools.chain.from_iterable(p for _, p in window), 2]
      for example in examples
      for window in slow_windows(example.words, pieces_of, max_length, 3)
    ]
    assert [f['tokens'].tolist() for f in made] == want
    given = tag.decode([f['label'] for f in made], task.labels, made)
    assert given == [list(example.label) for example in examples]
