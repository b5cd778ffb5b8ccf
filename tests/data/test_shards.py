"""Prepared corpora: what was written is read, whoever reads and where."""

from concurrent import futures
import dataclasses
import errno
import json
import os
import pickle
import resource
import signal
import subprocess
import sys

from array_record.python import array_record_module
import numpy as np
import pytest

from xlmr_jax.data.corpus import shards


@dataclasses.dataclass
class Vocabulary:
  fingerprint: str = 'aaaaaaaaaaaaaaaa'
  vocab_size: int = 250_002


def documents(seed, count, vocab=250_002, longest=300):
  rng = np.random.default_rng(seed)
  sizes = rng.integers(1, longest, count)
  return [rng.integers(0, vocab, size) for size in sizes]


@pytest.fixture(scope='module')
def text():
  return documents(0, 500)


@pytest.fixture(scope='module')
def pairs():
  sides = documents(1, 120)
  return list(zip(sides[::2], sides[1::2], strict=True))


@pytest.fixture(scope='module')
def folder(tmp_path_factory, text, pairs):
  path = tmp_path_factory.mktemp('shards') / 'made'
  parts = {'sw': documents(2, 3), 'en': text, 'en-sw': pairs}
  shards.write(path, Vocabulary(), parts, shard_records=64)
  return path


def test_what_was_written_is_read(folder, text, pairs):
  data = shards.open_shards(folder, Vocabulary(), verify=True)
  assert list(data.parts) == ['en', 'en-sw', 'sw']
  english = data.parts['en']
  assert english.kind == 'text' and english.units == len(english) == 500
  assert english.ends.dtype == np.int64
  assert isinstance(english.ends, np.memmap)
  want = np.cumsum([0, *map(len, text)])
  assert english.ends.tolist() == want.tolist()
  assert english.tokens == want[-1]
  for i in (0, 63, 64, 65, 499):
    got = english.document(i)
    assert got.dtype == np.int32 and got.tolist() == text[i].tolist()
  both = data.parts['en-sw']
  assert both.kind == 'pairs' and both.units == 60 and len(both.ends) == 121
  for i, sides in enumerate(pairs):
    for got, side in zip(both.pair(i), sides, strict=True):
      assert got.dtype == np.int32 and got.tolist() == side.tolist()
  stream = np.concatenate([side for pair in pairs for side in pair])
  assert both.read(0, both.tokens).tolist() == stream.tolist()


def test_any_range_of_the_stream(folder, text):
  part = shards.open_shards(folder).parts['en']
  stream = np.concatenate(text)
  rng = np.random.default_rng(0)
  ranges = [sorted(rng.integers(0, len(stream) + 1, 2)) for _ in range(50)]
  # The edges of documents and shards, and nothing at all.
  edges = [*part.ends[:4], *part.ends[62:67], part.ends[-1]]
  ranges += [(a, b) for a in edges for b in edges if a <= b]
  for begin, end in ranges:
    got = part.read(int(begin), int(end))
    assert got.dtype == np.int32
    assert got.tolist() == stream[begin:end].tolist()
  for begin, end in ((-1, 2), (3, 2), (0, len(stream) + 1)):
    with pytest.raises(IndexError, match='of en, which has'):
      part.read(begin, end)
  with pytest.raises(IndexError, match='unit 500 of en'):
    part.document(500)
  with pytest.raises(ValueError, match='documents, not pairs'):
    part.pair(0)


@pytest.mark.parametrize('rows, size', [(65_536, 2), (65_537, 4)])
def test_two_bytes_where_they_do(tmp_path, rows, size):
  top = np.array([0, 1, rows - 1])
  data = shards.write(tmp_path / 'x', Vocabulary('f', rows), {'en': [top]})
  path = tmp_path / 'x' / 'en' / '00000.array_record'
  [record] = array_record_module.ArrayRecordReader(str(path)).read_all()
  assert record == b''.join(int(i).to_bytes(size, 'little') for i in top)
  assert data.parts['en'].document(0).tolist() == top.tolist()


def test_threads_copies_and_few_open_files(folder, text, monkeypatch):
  monkeypatch.setattr(shards, '_OPEN', 2)
  part = shards.open_shards(folder).parts['en']
  copy = pickle.loads(pickle.dumps(part))
  order = np.random.default_rng(0).integers(0, 500, 4000)
  with futures.ThreadPoolExecutor(8) as pool:
    for reader in (part, copy):
      got = list(pool.map(reader.document, order.tolist()))
      for index, tokens in zip(order, got, strict=True):
        assert np.array_equal(tokens, text[index])
      assert len(reader._readers) <= 2
      assert reader._reader(1) is reader._reader(1)


def test_the_fingerprint_is_of_the_tokens_and_their_order(tmp_path):
  words = Vocabulary()

  def fingerprint(name, parts, vocabulary=words, **options):
    data = shards.write(tmp_path / name, vocabulary, parts, **options)
    return data.fingerprint

  first = fingerprint('a', {'en': [[5, 6], [7]], 'sw': [[8]]})
  assert first == fingerprint('b', {'sw': [[8]], 'en': [[5, 6], [7]]})
  others = [
    fingerprint('c', {'en': [[7], [5, 6]], 'sw': [[8]]}),
    fingerprint('d', {'en': [[5], [6, 7]], 'sw': [[8]]}),
    fingerprint('e', {'en': [[5, 6], [7]]}),
    fingerprint('f', {'en': [[5, 6], [7]], 'sw': [[8]]}, Vocabulary('b')),
    fingerprint('g', {'sw': [[5, 6], [7]], 'en': [[8]]}),
  ]
  assert len({first, *others}) == 6
  some = shards.open_shards(tmp_path / 'a', names=['en'])
  assert list(some.parts) == ['en'] and some.fingerprint == others[2]


def test_what_is_wrong_is_said(folder, tmp_path):
  copy = tmp_path / 'copy'
  subprocess.run(['cp', '-r', folder, copy], check=True)
  with pytest.raises(ValueError, match="no part 'fr'; it has en en-sw sw"):
    shards.open_shards(copy, names=['fr'])
  other = Vocabulary('bbbbbbbbbbbbbbbb', 16_000)
  with pytest.raises(ValueError, match='aaaaaaaaaaaa.*16,000 rows.*bbbbbbbbbb'):
    shards.open_shards(copy, other)
  # One byte changed, at the same size: found where it is asked for.
  for file in ('00003.array_record', 'ends.npy'):
    path = copy / 'en' / file
    content = path.read_bytes()
    path.write_bytes(content[:-9] + bytes([content[-9] ^ 1]) + content[-8:])
    shards.open_shards(copy)
    with pytest.raises(ValueError, match=f'{file} has another SHA-256'):
      shards.open_shards(copy, verify=True)
    path.write_bytes(content[:-1])
    with pytest.raises(ValueError, match=f'{file} has .* bytes and'):
      shards.open_shards(copy)
    path.unlink()
    with pytest.raises(ValueError, match=f'{file} is missing'):
      shards.open_shards(copy)
    shards.open_shards(copy, names=['sw'])
    path.write_bytes(content)
  # A shard of other documents under the right name.
  part = shards.open_shards(copy).parts['en']
  os.replace(copy / 'en/00001.array_record', copy / 'en/00000.array_record')
  with pytest.raises(ValueError, match='record 0 has .* tokens and ends.npy'):
    part.document(0)
  manifest = copy / 'manifest.json'
  for content, match in (
    (json.dumps({**json.loads(manifest.read_text()), 'format': 9}), 'format 9'),
    ('{"parts": {}}', 'is not the manifest'),
    ('{"parts', 'is not the manifest'),
  ):
    manifest.write_text(content)
    with pytest.raises(ValueError, match=match):
      shards.open_shards(copy)
  assert shards.is_shards(copy)
  manifest.unlink()
  assert not shards.is_shards(copy)
  with pytest.raises(ValueError, match='no manifest.json'):
    shards.open_shards(copy)
  (copy / shards.UNFINISHED).mkdir()
  with pytest.raises(ValueError, match='has not finished; run'):
    shards.open_shards(copy)
  assert shards.is_shards(copy)
  with pytest.raises(ValueError, match='documents or pairs'):
    shards.write(tmp_path / 'z', Vocabulary(), {'en': [[1], ([1], [2])]})


def test_a_full_disk_is_an_error_and_leaves_nothing(tmp_path):
  before = resource.getrlimit(resource.RLIMIT_FSIZE)
  handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
  resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 16, before[1]))
  try:
    with pytest.raises(OSError) as caught:
      shards.write_shard(str(tmp_path / 'x'), [bytes(1000)] * 200)
  finally:
    resource.setrlimit(resource.RLIMIT_FSIZE, before)
    signal.signal(signal.SIGXFSZ, handler)
  assert caught.value.errno == errno.EFBIG and not os.listdir(tmp_path)


def test_memory_does_not_grow_with_the_corpus(tmp_path):
  """A process that reads all over 48 MB of tokens stays small."""
  sizes = np.full(6000, 2000)
  data = (np.arange(size, dtype='<u4') for size in sizes)
  shards.write(tmp_path / 'x', Vocabulary(), {'en': data}, shard_records=500)
  program = """if True:
    import resource, sys
    import numpy as np
    from xlmr_jax.data.corpus import shards
    part = shards.open_shards(sys.argv[1]).parts['en']
    start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for begin in np.random.default_rng(0).integers(0, part.tokens - 510, 9000):
      part.read(int(begin), int(begin) + 510)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - start)
  """
  grown = subprocess.run(
    [sys.executable, '-c', program, str(tmp_path / 'x')],
    check=True,
    capture_output=True,
    text=True,
  ).stdout
  assert int(grown) < 16 << 10  # kilobytes
