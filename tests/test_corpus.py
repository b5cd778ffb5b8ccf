"""Pretraining text: streams, held-out blocks, language shares, pairs."""

import collections
import gzip
import json
import lzma
import math
import os
import random

import numpy as np
import pytest

from xlmr_jax.data import corpus, loader, token_cache
from xlmr_jax.data import tokenizer as tokenizer_lib

WORDS = {
  'en': 'the horse sees a house and old water near farmers'.split(),
  'sw': 'farasi anaona nyumba na maji karibu wakulima'.split(),
  'ru': 'лошадь видит дом и вода рядом крестьяне'.split(),
}
SIZES = {'en': 1200, 'sw': 150, 'ru': 40}


def paragraphs(language):
  draw = random.Random(language)
  return [
    ' '.join(draw.choices(WORDS[language], k=draw.randint(2, 30)))
    for _ in range(SIZES[language])
  ]


@pytest.fixture(scope='module')
def tokenizer():
  text = [p for language in WORDS for p in paragraphs(language)]
  return tokenizer_lib.Tokenizer(
    tokenizer_lib.train(text, 120, hard_vocab_limit=False)
  )


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
  """Three languages; English in two files, one of them packed."""
  path = tmp_path_factory.mktemp('corpus')
  english = paragraphs('en')
  (path / 'en.txt').write_text('\n'.join(english[:700]) + '\n\n \n')
  with lzma.open(path / 'en.more.txt.xz', 'wt', encoding='utf-8') as file:
    file.write('\n'.join(english[700:]))
  with gzip.open(path / 'sw.txt.gz', 'wt', encoding='utf-8') as file:
    file.write('\n'.join(paragraphs('sw')))
  (path / 'ru.txt').write_text('\n'.join(paragraphs('ru')))
  (path / 'README.md').write_text('not text to train on')
  return path


@pytest.fixture(scope='module')
def parallel(tmp_path_factory):
  path = tmp_path_factory.mktemp('parallel')
  (path / 'en-sw.tsv').write_text(
    'the "horse\tfarasi\nold water\tmaji na maji\n\tna\n'
    + 'the house\tnyumba ' * 1
    + 'na ' * 40
    + '\n'
  )
  return path


@pytest.fixture(scope='module')
def cache(tmp_path_factory):
  return tmp_path_factory.mktemp('cache')


def make(folder, tokenizer, cache, **options):
  options = {'max_length': 32, 'held_out': 0.1, **options}
  return corpus.Corpus(folder, tokenizer, cache_dir=cache, **options)


def test_every_token_once_in_training_or_held_out(folder, tokenizer, cache):
  data = make(folder, tokenizer, cache, alpha=1.0)
  assert data.languages == ('en', 'ru', 'sw') and data.pairs == ()
  for language in WORDS:
    found = collections.Counter()
    for view in (data.epoch(0), data.held_out()):
      for i in range(len(view)):
        if view.names[i] == language:
          tokens = view[i]['tokens']
          assert tokens.dtype == np.int32 and len(tokens) == view.lengths[i]
          assert 3 <= len(tokens) <= 32
          assert tokens[0] == 0 and tokens[-1] == 2
          found.update(tokens[1:-1].tolist())
    want = collections.Counter()
    for ids in tokenizer.encode_batch(paragraphs(language)):
      want.update(ids[1:-1])
    assert found == want


def test_examples_are_running_text_of_nearly_equal_length(
  folder, tokenizer, cache
):
  data = make(folder, tokenizer, cache, alpha=1.0, held_out=0.0)
  assert len(data.held_out()) == 0
  whole = [i for p in paragraphs('sw') for i in tokenizer.encode(p)[1:-1]]
  view = data.epoch(0)
  pieces = {
    tuple(view[i]['tokens'][1:-1])
    for i in range(len(view))
    if view.names[i] == 'sw'
  }
  count = -(-len(whole) // 30)
  assert len(pieces) == count
  cuts = [len(whole) * k // count for k in range(count + 1)]
  assert pieces == {
    tuple(whole[a:b]) for a, b in zip(cuts[:-1], cuts[1:], strict=True)
  }
  lengths = {len(p) for p in pieces}
  assert max(lengths) <= 30 and max(lengths) - min(lengths) <= 1


def test_held_out_blocks():
  for paragraphs_, share in ((100_000, 0.01), (700, 0.1), (40, 0.1), (2, 0.1)):
    blocks = corpus._held_out_blocks(paragraphs_, share)
    flat = [i for a, b in blocks for i in range(a, b)]
    assert flat and len(set(flat)) == len(flat) < paragraphs_
    assert 0 <= flat[0] and flat[-1] < paragraphs_
    if paragraphs_ > 99:
      assert len(flat) / paragraphs_ == pytest.approx(share, rel=0.2)
  assert corpus._held_out_blocks(1, 0.1) == []
  assert corpus._held_out_blocks(100, 0.0) == []


def test_held_out_text_is_never_trained_on(tmp_path, tokenizer):
  # Every paragraph has words of its own.
  draw = random.Random(0)
  letters = 'horsewatnd'
  own = [
    ' '.join(''.join(draw.choices(letters, k=9)) for _ in range(6))
    for _ in range(300)
  ]
  (tmp_path / 'en.txt').write_text('\n'.join(own))
  data = make(tmp_path, tokenizer, tmp_path / 'c', alpha=1.0)
  train, held = data.epoch(0), data.held_out()
  words = [
    {
      word
      for i in range(len(view))
      for word in tokenizer.decode(view[i]['tokens']).split()
      if len(word) == 9
    }
    for view in (train, held)
  ]
  assert words[1] and not words[0] & words[1]
  few = data.held_out(limit=2)
  assert few.names == ['en', 'en'] and len(few.lengths) == 2


def test_languages_by_alpha_and_passes_over_their_data(
  folder, tokenizer, cache
):
  data = make(folder, tokenizer, cache, alpha=0.3)
  powers = {n: t**0.3 for n, t in data.tokens.items()}
  for name, share in data.shares.items():
    assert share == pytest.approx(powers[name] / sum(powers.values()))
  total = sum(data.tokens.values())
  seen = {name: [] for name in data.languages}
  for epoch in range(6):
    view = data.epoch(epoch)
    assert int(view.lengths.sum()) == pytest.approx(total, rel=0.02)
    drawn = collections.Counter()
    for i in range(len(view)):
      drawn[view.names[i]] += int(view.lengths[i])
      seen[view.names[i]].append(bytes(view[i]['tokens']))
    for name, share in data.shares.items():
      assert drawn[name] / total == pytest.approx(share, rel=0.1)
  # Whatever the epoch, a language goes through all of its examples before
  # one comes again: the small one repeats, the large one does not yet.
  sizes = {p.name: len(p.lengths) for p in data._parts}
  for name, stream in seen.items():
    size = sizes[name]
    for start in range(0, len(stream) - size + 1, size):
      again = collections.Counter(stream[start : start + size])
      assert again == collections.Counter(stream[:size])
    if size > 5:
      assert stream[:size] != stream[size : 2 * size]
  assert len(seen['ru']) > 6 * sizes['ru']
  assert len(seen['en']) < 6 * sizes['en']


def test_the_same_for_everyone_and_another_seed_differs(
  folder, tokenizer, cache, parallel, tmp_path
):
  def stream(seed, cache_dir, epoch=3):
    data = make(folder, tokenizer, cache_dir, seed=seed, parallel_dir=parallel)
    view = data.epoch(epoch)
    return data, [view[i]['tokens'].tolist() for i in range(len(view))]

  data, first = stream(0, cache)
  again, second = stream(0, tmp_path)
  assert first == second and data.fingerprint == again.fingerprint
  other, third = stream(1, cache)
  assert first != third and data.fingerprint != other.fingerprint
  assert data.fingerprint != make(folder, tokenizer, cache).fingerprint


def test_pairs_have_both_orders_and_their_share(
  folder, tokenizer, cache, parallel
):
  data = make(
    folder, tokenizer, cache, parallel_dir=parallel, parallel_weight=0.25
  )
  assert data.pairs == ('en-sw',) and data.shares['en-sw'] == 0.25
  rows = [
    ('the "horse', 'farasi'),
    ('old water', 'maji na maji'),
    ('the house', 'nyumba ' + 'na ' * 40),
  ]
  want = set()
  for a, b in rows:
    for pair in ((a, b), (b, a)):
      ids = tokenizer.encode(*pair, max_length=32, truncate='longest_first')
      want.add(tuple(ids))
  view = data.epoch(0)
  drawn = [
    tuple(view[i]['tokens'].tolist())
    for i in range(len(view))
    if view.names[i] == 'en-sw'
  ]
  assert set(drawn) == want
  share = sum(map(len, drawn)) / view.lengths.sum()
  assert share == pytest.approx(0.25, abs=0.02)
  none = make(
    folder, tokenizer, cache, parallel_dir=parallel, parallel_weight=0
  )
  assert 'en-sw' not in none.epoch(0).names


def test_the_loader_takes_it(folder, tokenizer, cache, parallel):
  data = make(folder, tokenizer, cache, parallel_dir=parallel)
  batches = loader.Loader(data, row_length=64, batch_tokens=64 * 8, epochs=2)
  shapes = set()
  for epoch in range(2):
    view, found = data.epoch(epoch), []
    steps = [
      s for s in range(batches.total_steps) if batches.locate(s)[0] == epoch
    ]
    for step in steps:
      batch = batches.batch(step)
      shapes.add(tuple(v.shape for v in batch.values()))
      for row, slot in np.argwhere(batch['example'] >= 0):
        index = batch['example'][row, slot]
        found.append(index)
        got = batch['tokens'][row][batch['segments'][row] == slot + 1]
        assert got.tolist() == view[index]['tokens'].tolist()
    assert sorted(found) == list(range(len(view)))
  assert len(shapes) == 1 and batches.efficiency > 0.95


def test_unigram_entropy(folder, tokenizer, cache, tmp_path):
  seen, asked = np.array([3, 0, 1]), np.array([1, 1, 2])
  want = -(math.log(4 / 7) + math.log(1 / 7) + 2 * math.log(2 / 7)) / 4
  assert corpus.cross_entropy(seen, asked) == pytest.approx(want)
  data = make(folder, tokenizer, cache)
  got = data.unigram_entropy()
  assert set(got) == set(WORDS)
  counts = {}
  for kind, view in (('train', data.epoch(0)), ('held', data.held_out())):
    names = view.names
    every = np.concatenate(
      [view[i]['tokens'] for i in range(len(view)) if names[i] == 'sw']
    )
    counts[kind] = np.bincount(every, minlength=tokenizer.vocab_size)
  # One epoch draws other amounts, but of the same words.
  first, last = tokenizer.pieces
  near = corpus.cross_entropy(
    counts['train'][first:last], counts['held'][first:last]
  )
  assert got['sw'] == pytest.approx(near, rel=0.02)
  assert 0 < got['sw'] < math.log(tokenizer.vocab_size)


def test_files_are_tokenised_once(folder, tokenizer, tmp_path, monkeypatch):
  make(folder, tokenizer, tmp_path)
  made = sorted(os.listdir(tmp_path))
  assert len(made) == 4 and not any(n.endswith('.tmp') for n in made)
  tokens = np.load(tmp_path / made[0] / 'tokens.npy', mmap_mode='r')
  meta = json.loads((tmp_path / made[0] / 'meta.json').read_text())
  assert tokens.dtype == np.uint16 and len(tokens) == meta['tokens']

  def never(*args, **kwargs):
    raise AssertionError('tokenised again')

  monkeypatch.setattr(tokenizer_lib.Tokenizer, 'encode_plain', never)
  make(folder, tokenizer, tmp_path, alpha=0.7, max_length=16)
  os.utime(folder / 'ru.txt', ns=(1, 1))
  with pytest.raises(AssertionError, match='tokenised again'):
    make(folder, tokenizer, tmp_path)
  monkeypatch.undo()
  other = tokenizer_lib.Tokenizer(
    tokenizer_lib.train(paragraphs('en'), 60, hard_vocab_limit=False)
  )
  make(folder, other, tmp_path, languages=['sw'])
  assert len(os.listdir(tmp_path)) == 5


def test_an_interruption_leaves_nothing_half_done(
  folder, tokenizer, tmp_path, monkeypatch
):
  encode = tokenizer_lib.Tokenizer.encode_plain
  calls = []

  def full_disk(self, texts, **options):
    calls.append(len(texts))
    if len(calls) == 3:
      raise OSError(28, 'No space left on device')
    return encode(self, texts, **options)

  monkeypatch.setattr(tokenizer_lib.Tokenizer, 'encode_plain', full_disk)
  monkeypatch.setattr(token_cache, '_CHUNK', 400)
  with pytest.raises(OSError, match='No space left'):
    make(folder, tokenizer, tmp_path)
  assert len(os.listdir(tmp_path)) == 1
  data = make(folder, tokenizer, tmp_path)
  assert len(os.listdir(tmp_path)) == 4
  whole = make(folder, tokenizer, tmp_path / 'other')
  assert data.fingerprint == whole.fingerprint


def test_a_typed_mask_is_text_in_a_corpus(tmp_path, tokenizer):
  (tmp_path / 'en.txt').write_text('the <mask> horse\n' * 20)
  data = make(tmp_path, tokenizer, tmp_path / 'c', alpha=1.0)
  view = data.epoch(0)
  tokens = np.concatenate([view[i]['tokens'] for i in range(len(view))])
  assert tokenizer.mask_id not in tokens and tokenizer.unk_id in tokens


def test_what_is_wrong_is_said(folder, tokenizer, cache, tmp_path):
  with pytest.raises(ValueError, match='is no folder'):
    make(tmp_path / 'none', tokenizer, cache)
  with pytest.raises(ValueError, match=r'has no files <name>\.txt'):
    make(tmp_path, tokenizer, cache)
  with pytest.raises(ValueError, match="no text in 'fr'; it has en ru sw"):
    make(folder, tokenizer, cache, languages=['fr'])
  for name, value in (
    ('alpha', 2),
    ('parallel_weight', -1),
    ('held_out', 1),
    ('max_length', 4),
  ):
    with pytest.raises(ValueError, match=f'{name}={value}'):
      make(folder, tokenizer, cache, **{name: value})
  bad = tmp_path / 'bad'
  bad.mkdir()
  (bad / 'en.txt').write_text(' \n\n')
  with pytest.raises(ValueError, match='en.txt: no text'):
    make(bad, tokenizer, cache)
  (bad / 'en.txt').write_bytes(b'fine\n\xff\n')
  with pytest.raises(ValueError, match='en.txt:2: .*not UTF-8'):
    make(bad, tokenizer, cache)
  (bad / 'en.txt').write_text('fine\n')
  (bad / 'en.txt.gz').write_bytes(gzip.compress(b'fine\n'))
  with pytest.raises(ValueError, match='en.txt and en.txt.gz; keep one'):
    make(bad, tokenizer, cache)
  (bad / 'en-sw.tsv').write_text('a\tb\nc\n')
  with pytest.raises(ValueError, match='en-sw.tsv:2: 1 columns, expected 2'):
    make(folder, tokenizer, cache, parallel_dir=bad)


def test_the_real_corpus(data_dir, tmp_path):
  tokenizer = tokenizer_lib.Tokenizer(data_dir / 'tokenizers/xlm-roberta')
  data = corpus.Corpus(
    data_dir / 'corpus',
    tokenizer,
    cache_dir=tmp_path,
    max_length=256,
    languages=['tr'],
  )
  batches = loader.Loader(data, row_length=256, batch_tokens=8192, steps=9)
  assert batches.efficiency > 0.99
  assert batches.batch(8)['tokens'].shape == (32, 256)
  for nats in data.unigram_entropy().values():
    assert 6 < nats < 8.5
