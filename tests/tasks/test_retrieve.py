"""Retrieval: the search, mining and decoding against full matrices."""

import collections
import dataclasses
import tracemalloc

import numpy as np
import pytest

from xlmr_jax.data.readers import bitext
from xlmr_jax.data.tokenizers import train_tokenizer, xlmr
from xlmr_jax.eval.metrics import pairs
from xlmr_jax.eval.metrics import scores as metrics
from xlmr_jax.tasks import neighbours, retrieve


@pytest.fixture(scope='module')
def tokenizer():
  text = ['the dog sees a cat', 'a cat is near the house', 'no dog is here']
  return xlmr.Tokenizer(
    train_tokenizer.train(text * 50, 60, hard_vocab_limit=False)
  )


def signs(rng, rows, dim=16):
  """Vectors of ±1: lengths and products are exact, and ties are many."""
  return rng.choice([-1.0, 1.0], (rows, dim)).astype(np.float32)


def ranked(scores):
  """Places from the highest score on, equal ones in their order."""
  return sorted(range(len(scores)), key=lambda i: (-scores[i], i))


@pytest.fixture
def small_blocks(monkeypatch):
  """Several blocks, the last of them cut, for a few dozen vectors."""
  monkeypatch.setattr(neighbours, '_QUERIES', 7)
  monkeypatch.setattr(neighbours, '_KEYS', 11)


@pytest.mark.parametrize('k', [1, 4, 9, 100])
@pytest.mark.parametrize('seed', range(5))
def test_search_equals_a_full_matrix(small_blocks, k, seed):
  rng = np.random.default_rng(seed)
  queries, keys = signs(rng, 30, 6), signs(rng, 45, 6)
  keys[20] = keys[3]
  full = [
    [sum(a * b for a, b in zip(q, key, strict=True)) for key in keys.tolist()]
    for q in queries.tolist()
  ]
  scores, places = neighbours.search(queries, keys, k)
  assert scores.shape == places.shape == (30, min(k, 45))
  for row, values, at in zip(
    full, scores.tolist(), places.tolist(), strict=True
  ):
    assert at == ranked(row)[:k]
    assert values == [row[i] for i in at]


def test_search_does_not_depend_on_the_cut(monkeypatch):
  """Even to the last bit, so that the same run gives the same files."""
  rng = np.random.default_rng(0)
  x = neighbours.unit(rng.standard_normal((300, 768)))
  y = neighbours.unit(rng.standard_normal((500, 768)))
  y[400:] = y[:100]
  whole = neighbours.search(x, y, 4)
  for queries, keys in ((1, 500), (64, 37), (300, 1)):
    monkeypatch.setattr(neighbours, '_QUERIES', queries)
    monkeypatch.setattr(neighbours, '_KEYS', keys)
    cut = neighbours.search(x, y, 4)
    assert np.array_equal(cut[0], whole[0])
    assert np.array_equal(cut[1], whole[1])


def test_nearest_goes_from_english_to_foreign(small_blocks):
  rng = np.random.default_rng(1)
  x, y = rng.standard_normal((40, 8)), rng.standard_normal((25, 8))
  x[30] = 2 * x[4]  # as close to all as the 4th, and behind it
  y[0] = 5 * x[4]
  got = neighbours.nearest(x, y)
  cosine = (x / np.linalg.norm(x, axis=1)[:, None]) @ (
    y / np.linalg.norm(y, axis=1)[:, None]
  ).T
  cosine[30] = cosine[4]
  assert got.tolist() == [ranked(column)[0] for column in cosine.T.tolist()]
  assert got[0] == 4 and 30 not in got
  dots = neighbours.nearest(x, y, normalize=False)
  assert dots.tolist() == (x @ y.T).argmax(0).tolist() != got.tolist()


def mined(x, y, k, margin):
  """Mining, from whole matrices and with loops."""
  x, y = (
    [np.array(v) / np.sqrt(np.dot(v, v)) for v in s.tolist()] for s in (x, y)
  )
  cosine = [[float(np.dot(a, b)) for b in y] for a in x]
  columns = [list(c) for c in zip(*cosine, strict=True)]

  def close(rows):
    return [ranked(row)[:k] for row in rows]

  def mean(row, places):
    return sum(row[i] for i in places) / len(places)

  near_x, near_y = close(cosine), close(columns)
  mean_x = [mean(*pair) for pair in zip(cosine, near_x, strict=True)]
  mean_y = [mean(*pair) for pair in zip(columns, near_y, strict=True)]

  def score(i, j):
    a, b = cosine[i][j], (mean_x[i] + mean_y[j]) / 2
    if margin == 'ratio':
      return a / b if b else 0.0
    return a - b if margin == 'distance' else a

  proposals = [
    (i, max(near, key=lambda j: score(i, j))) for i, near in enumerate(near_x)
  ] + [
    (max(near, key=lambda i: score(i, j)), j) for j, near in enumerate(near_y)
  ]
  out, used = [], set()
  for i, j in sorted(proposals, key=lambda pair: -score(*pair)):
    if ('x', i) in used or ('y', j) in used:
      continue
    used |= {('x', i), ('y', j)}
    if score(i, j) > 0:
      out.append((i, j, score(i, j)))
  return out


@pytest.mark.parametrize('margin', neighbours.MARGINS)
@pytest.mark.parametrize('seed', range(8))
def test_mining_equals_full_matrices(small_blocks, margin, seed):
  rng = np.random.default_rng(seed)
  rows, columns = rng.integers(3, 40, 2)  # fewer than k neighbours too
  if seed % 2:
    x, y = signs(rng, rows), signs(rng, columns)  # ties everywhere
  else:
    x, y = rng.standard_normal((rows, 8)), rng.standard_normal((columns, 8))
    y[: rows // 2] = x[: len(y[: rows // 2])] + 0.1 * y[: rows // 2]
  got = neighbours.mine(x, y, margin=margin)
  want = mined(x, y, 4, margin)
  assert [pair[:2] for pair in got] == [pair[:2] for pair in want]
  np.testing.assert_allclose(
    [p[2] for p in got], [p[2] for p in want], rtol=1e-6
  )
  scores = [p[2] for p in got]
  assert got and scores == sorted(scores, reverse=True)


def test_a_sentence_close_to_everything_is_no_translation():
  """The 3rd of y has cosine 0.71 with all of x, a translation 0.65."""
  x = np.hstack([np.eye(3), np.ones((3, 1)), np.zeros((3, 3))]) / 2**0.5
  y = np.zeros((4, 7))
  y[3, 3] = 1
  for i in range(3):
    y[i, i], y[i, 4 + i] = 0.65 * 2**0.5, (1 - 2 * 0.65**2) ** 0.5
  ratio = neighbours.mine(x, y)
  assert [pair[:2] for pair in ratio] == [(0, 0), (1, 1), (2, 2)]
  around = ((2**-0.5 + 0.65) / 4 + 0.65 / 3) / 2
  np.testing.assert_allclose([p[2] for p in ratio], 0.65 / around, rtol=1e-6)
  absolute = neighbours.mine(x, y, margin='absolute')
  assert [pair[:2] for pair in absolute] == [(0, 3), (1, 1), (2, 2)]


def text(name, side, words, label=None):
  return bitext.Sentence(name, words, side, label, f'f.{side}:{name}')


def test_encode(tokenizer):
  examples = [
    text('s1', 0, 'the dog sees a cat', ('t1',)),
    text('t1', 1, 'a cat is near the house and no dog is here'),
  ]
  features = retrieve.encode(examples, tokenizer, max_length=9)
  assert [f['tokens'].tolist() for f in features] == [
    tokenizer.encode(e.text, max_length=9, truncate='first') for e in examples
  ]
  assert len(features[1]['tokens']) == 9
  assert features[0]['tokens'].dtype == np.int32
  assert [(f['id'], f['side'], f['label']) for f in features] == [
    ('s1', 0, None),
    ('t1', 1, None),
  ]
  length = len(tokenizer.encode(examples[0].text))
  with pytest.raises(ValueError, match=f'f.1:t1: .*max_length={length}'):
    retrieve.encode(examples, tokenizer, max_length=length, truncate='error')
  with pytest.raises(ValueError, match='f.0:s2: character 1 .*surrogate'):
    retrieve.encode([*examples, text('s2', 0, 'a\ud800')], tokenizer)
  with pytest.raises(ValueError, match='f.2:x: side 2 is not 0 or 1'):
    retrieve.encode([text('x', 2, 'a')], tokenizer)
  retrieve.encode(examples, tokenizer, required=True)
  bare = [dataclasses.replace(e, label=None) for e in examples]
  with pytest.raises(ValueError, match='f.0:s1: it is not known'):
    retrieve.encode(bare, tokenizer, required=True)


def test_decode_refuses_what_it_cannot_do(tokenizer):
  examples = [text('0', 0, 'a cat'), text('0', 1, 'a dog')]
  features = retrieve.encode(examples, tokenizer)
  vectors = [np.ones(3), np.ones(3)]
  with pytest.raises(ValueError, match='1 outputs for 2 features'):
    retrieve.decode(vectors[:1], None, features)
  with pytest.raises(ValueError, match='no sentences on side 1'):
    retrieve.decode(vectors[:1], None, features[:1])
  with pytest.raises(ValueError, match="match='best' is not one of nearest"):
    retrieve.decode(vectors, None, features, match='best')
  with pytest.raises(ValueError, match="margin='sum' is not one of ratio"):
    retrieve.decode(vectors, None, features, match='mine', margin='sum')
  with pytest.raises(ValueError, match='k=0; at least one neighbour'):
    retrieve.decode(vectors, None, features, match='mine', k=0)
  with pytest.raises(ValueError, match='vector 0 is not finite'):
    retrieve.decode([np.ones(3), np.full(3, np.nan)], None, features)


def test_equal_sentences_tie_whatever_the_model_rounds(tokenizer):
  words = ['a cat', 'the dog', 'the  dog', 'no house']
  examples = [text(str(i), 0, w) for i, w in enumerate(words)]
  examples += [text('0', 1, 'the house'), text('1', 1, 'here')]
  features = retrieve.encode(examples, tokenizer)
  assert features[1]['tokens'].tolist() == features[2]['tokens'].tolist()
  vectors = np.eye(6, 4)
  vectors[2] = [0, 1, -1e-7, 0]
  vectors[4:] = [[0, 1, -1e-3, 0], [0, 0.1, 0, 1]]
  assert retrieve.decode(vectors, None, features) == [1, 3]
  ranking = retrieve.decode(vectors, None, features, match='rank', k=3)
  assert ranking == [['1', '2', '0'], ['3', '1', '2']]
  vectors[2] = [9, 0, 0, 0]  # never looked at
  assert retrieve.decode(vectors, None, features) == [1, 3]
  vectors[[1, 2]] = vectors[[2, 1]]
  assert retrieve.decode(vectors, None, features) == [0, 3]  # the first is


def test_ranking_by_dot_product(tokenizer):
  rng = np.random.default_rng(0)
  words = [
    f'{a} {b}' for a in ('dog', 'cat', 'no') for b in ('is', 'a', 'here')
  ]
  examples = [text(f'c{i}', 0, w) for i, w in enumerate(words)]
  examples += [text('q0', 1, 'house', ('c3', 'c1')), text('q1', 1, 'the')]
  vectors = rng.standard_normal((len(examples), 4))
  features = retrieve.encode(examples, tokenizer)
  got = retrieve.decode(
    vectors, None, features, match='rank', normalize=False, k=5
  )
  dots = vectors[-2:] @ vectors[:-2].T
  assert got == [[f'c{i}' for i in ranked(row)[:5]] for row in dots.tolist()]
  full = retrieve.decode(vectors, None, features, match='rank')
  assert [len(row) for row in full] == [9, 9]
  assert retrieve.gold(examples) == [('c3', 'c1'), None]


def test_mined_sentences_are_unified_as_in_laser(tokenizer):
  """The last of equal sentences gives the vector, none of them an answer."""
  sources = ['a cat', 'the dog', 'a cat', 'no house']
  targets = ['here', 'the house', 'is near', 'near']
  examples = [text(f's{i}', 0, w) for i, w in enumerate(sources)]
  examples += [text(f't{i}', 1, w) for i, w in enumerate(targets)]
  rng = np.random.default_rng(0)
  vectors = rng.standard_normal((8, 6))
  vectors[5] = vectors[1] + 0.01
  vectors[6] = vectors[2] + 0.01  # the last 'a cat'
  vectors[7] = vectors[3] + 0.01
  features = retrieve.encode(examples, tokenizer)
  got = retrieve.decode(vectors, None, features, match='mine')
  assert {p[:2] for p in got} == {('s1', 't1'), ('s3', 't3')}
  # Over distinct sentences: the first vector of 'a cat' is nowhere in it.
  want = mined(vectors[[2, 1, 3]], vectors[4:], 4, 'ratio')
  names = ['a cat', 's1', 's3']
  kept = [(names[i], f't{j}', s) for i, j, s in want if i]
  assert [p[:2] for p in got] == [p[:2] for p in kept]
  np.testing.assert_allclose([p[2] for p in got], [p[2] for p in kept], 1e-6)
  assert ('a cat', 't2') in [(names[i], f't{j}') for i, j, _ in want]


def test_gold_of_real_tatoeba_comes_back(data_dir, tokenizer):
  """Vectors that know the answer score 100, and others do not."""
  examples = bitext.tatoeba(data_dir / 'tatoeba', 'test', 'te')
  gold = retrieve.gold(examples)
  rng = np.random.default_rng(0)
  foreign = rng.standard_normal((234, 32))
  vectors = np.concatenate([foreign, foreign[gold]])
  vectors += 0.1 * rng.standard_normal(vectors.shape)
  # Letters that the tokenizer does not know are all one to it.
  features = [
    {'tokens': np.array([i]), 'side': e.side, 'id': e.id, 'text': e.text}
    for i, e in enumerate(examples)
  ]
  got = retrieve.decode(vectors, None, features)
  assert metrics.accuracy(got, gold) == 100
  in_order = retrieve.decode(np.concatenate([foreign, foreign]), None, features)
  assert in_order == list(range(234))
  assert metrics.accuracy(in_order, gold) < 5


def test_gold_of_real_bucc_comes_back(data_dir):
  """No gold pair has a sentence that occurs twice; those are left out."""
  examples = bitext.bucc2018(data_dir / 'bucc2018', 'dev', 'zh')
  gold = retrieve.gold(examples)
  assert len(gold) == 257
  place = {e.id: i for i, e in enumerate(examples)}
  rng = np.random.default_rng(0)
  vectors = rng.standard_normal((len(examples), 64)).astype(np.float32)
  for source, target in gold:
    noise = 0.1 * rng.standard_normal(64)
    vectors[place[target]] = vectors[place[source]] + noise
  features = [
    {'tokens': np.array([i]), 'side': e.side, 'id': e.id, 'text': e.text}
    for i, e in enumerate(examples)
  ]
  got = retrieve.decode(vectors, None, features, match='mine')
  sources, targets, scores = zip(*got, strict=True)
  assert len(set(sources)) == len(sources) and len(set(targets)) == len(targets)
  assert list(scores) == sorted(scores, reverse=True)
  count = collections.Counter(e.text for e in examples if e.side == 0)
  twice = {e.id for e in examples if e.side == 0 and count[e.text] > 1}
  assert len(twice) == 18 and not twice & set(sources)
  assert {pair[:2] for pair in got[: len(gold)]} == set(gold)
  threshold = pairs.best_threshold({p[:2]: p[2] for p in got}, gold)
  found = [pair[:2] for pair in got if pair[2] >= threshold]
  assert metrics.score('pair_f1', found, gold)['pair_f1'] == 100


def test_memory_does_not_grow_with_the_product():
  """Twice as many on both sides: twice the memory, not four times."""
  rng = np.random.default_rng(0)

  def peak(rows):
    x = rng.standard_normal((rows, 16)).astype(np.float32)
    y = rng.standard_normal((rows, 16)).astype(np.float32)
    tracemalloc.start()
    neighbours.mine(x, y)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return most

  small, large = peak(4096), peak(8192)
  assert small > neighbours._QUERIES * 4096 * 4  # a block is in it
  assert large - small < 4096 * 2000  # bytes for a sentence more on each side
  assert large < 8192**2 * 4 / 4  # a quarter of what all scores would take
