"""Prepared corpora: tokens on disk, shuffled and ready to be read anywhere.

```
<folder>/manifest.json
<folder>/<name>/ends.npy            int64, where each unit ends in the stream
<folder>/<name>/00000.array_record  one record a document
```

A name is a language ('en', 'zh-Hant') of kind 'text' or a pair ('en-sw') of
kind 'pairs'. Its documents, one after the other in the order of the shards,
are its stream of tokens; `ends` starts with 0 and says where each of them
ends. A record of pairs holds both sides, and `ends` has an entry for each
side: 2k and 2k + 1 are the sides of pair k. Ids are little endian, two bytes
each where the vocabulary has at most 65,536 rows and four elsewhere, without
<s> and </s>. The manifest is written last: a folder that has one is whole.

corpus/prepare.py makes such folders from text, `write` from arrays:

    parts = {'en': [[5, 6], [7]], 'en-sw': [([5], [8])]}
    shards.write(folder, tokenizer, parts)
    data = shards.open_shards(folder, tokenizer)
    data.parts['en'].read(1, 3)       [6, 7]
    data.parts['en-sw'].pair(0)       [5], [8]
"""

import bisect
import collections
from collections.abc import Iterable, Iterator, Mapping, Sequence
import errno
import hashlib
import json
import os
import threading
from typing import Any

from array_record.python import array_record_module
from jaxtyping import Int
import numpy as np

from xlmr_jax.runtime import storage

FORMAT = 1
MANIFEST = 'manifest.json'
UNFINISHED = '.unfinished'  # what prepare.py leaves where it is stopped
ENDS = 'ends.npy'

_OPEN = 64  # shards of a part that are kept open
_READ = 'readahead_buffer_size:0,max_parallelism:0'  # for random access
_WRITE = 'group_size:1,uncompressed'


class Subcorpus:
  """A language's documents, or the pairs of two languages.

  Threads may read at the same time. It can be pickled; files are opened when
  they are first read, and few stay open.

  Attributes:
    name: such as 'en', or 'en-sw'.
    kind: 'text' or 'pairs'.
    ends: memory-mapped; unit i is the stream's ends[i] … ends[i + 1]. A unit
      is a document, or one side of a pair.
    tokens: of the whole stream.
    units: documents, or pairs.
  """

  def __init__(
    self, folder: str, name: str, entry: Mapping[str, Any], dtype: str
  ):
    self.name = name
    self.kind: str = entry['kind']
    self._path = os.path.join(folder, name)
    self._dtype = np.dtype(dtype)
    self._files = [shard['file'] for shard in entry['shards']]
    counts = [shard['records'] for shard in entry['shards']]
    self._firsts = [0, *np.cumsum(counts, dtype=np.int64).tolist()]
    self.units = self._firsts[-1]
    self.tokens: int = entry['tokens']
    self._sides = 2 if self.kind == 'pairs' else 1
    self._start()

  def _start(self) -> None:
    self.ends = np.load(os.path.join(self._path, ENDS), mmap_mode='r')
    self._lock = threading.Lock()
    self._readers: collections.OrderedDict[int, Any] = collections.OrderedDict()

  def __getstate__(self):
    state = dict(self.__dict__)
    for name in ('ends', '_lock', '_readers'):
      del state[name]
    return state

  def __setstate__(self, state):
    self.__dict__.update(state)
    self._start()

  def __len__(self) -> int:
    return self.units

  def read(self, begin: int, end: int) -> Int[np.ndarray, 'end-begin']:
    """Tokens begin … end of the stream, across documents.

    Raises:
      IndexError: the stream has no such tokens.
    """
    if not 0 <= begin <= end <= self.tokens:
      raise IndexError(
        f'tokens {begin}…{end} of {self.name}, which has {self.tokens}'
      )
    out = np.empty(end - begin, np.int32)
    at = begin
    unit = int(np.searchsorted(self.ends, begin, side='right')) - 1
    record = unit // self._sides
    while at < end:
      start = int(self.ends[record * self._sides])
      stop = min(end, int(self.ends[(record + 1) * self._sides]))
      out[at - begin : stop - begin] = self._record(record)[
        at - start : stop - start
      ]
      at = stop
      record += 1
    return out

  def document(self, index: int) -> Int[np.ndarray, 'n']:
    """The tokens of a document."""
    if self.kind != 'text':
      raise ValueError(f'{self.name} has pairs, not documents')
    return self._record(self._checked(index)).astype(np.int32)

  def pair(
    self, index: int
  ) -> tuple[Int[np.ndarray, 'a'], Int[np.ndarray, 'b']]:
    """The tokens of both sides of a pair."""
    if self.kind != 'pairs':
      raise ValueError(f'{self.name} has documents, not pairs')
    tokens = self._record(self._checked(index)).astype(np.int32)
    begin, middle = self.ends[2 * index : 2 * index + 2]
    return tokens[: middle - begin], tokens[middle - begin :]

  def _checked(self, index: int) -> int:
    if not 0 <= index < self.units:
      raise IndexError(f'unit {index} of {self.name}, which has {self.units}')
    return index

  def _record(self, index: int) -> np.ndarray:
    """A record's ids as they are stored."""
    shard = bisect.bisect_right(self._firsts, index) - 1
    [content] = self._reader(shard).read([index - self._firsts[shard]])
    ids = np.frombuffer(content, self._dtype)
    begin, end = (self.ends[i * self._sides] for i in (index, index + 1))
    if len(ids) != end - begin:
      raise ValueError(
        f'{os.path.join(self._path, self._files[shard])}: record'
        f' {index - self._firsts[shard]} has {len(ids)} tokens and {ENDS} says'
        f' {end - begin}; the folder is damaged: prepare it again'
      )
    return ids

  def _reader(self, shard: int):
    with self._lock:
      if shard in self._readers:
        self._readers.move_to_end(shard)
      else:
        # A reader that is dropped here closes when its last read ends.
        while len(self._readers) >= _OPEN:
          self._readers.popitem(last=False)
        self._readers[shard] = array_record_module.ArrayRecordReader(
          os.path.join(self._path, self._files[shard]), _READ
        )
      return self._readers[shard]


class Shards:
  """A prepared corpus.

  Attributes:
    folder: where it is.
    parts: by name, sorted.
    manifest: what manifest.json holds.
    fingerprint: SHA-256 of the tokens, their order and the vocabulary: equal
      for folders from which the same would be learned.
  """

  def __init__(
    self,
    folder: str,
    manifest: dict[str, Any],
    names: Sequence[str] | None = None,
  ):
    self.folder = folder
    self.manifest = manifest
    entries = manifest['parts']
    self.parts = {
      name: Subcorpus(folder, name, entries[name], manifest['dtype'])
      for name in sorted(entries if names is None else names)
    }
    content = [manifest[k] for k in ('format', 'tokenizer', 'dtype')]
    for name in self.parts:
      entry = entries[name]
      digests = [shard['sha256'] for shard in entry['shards']]
      content.append([name, entry['kind'], entry['ends']['sha256'], digests])
    self.fingerprint = hashlib.sha256(json.dumps(content).encode()).hexdigest()


def is_shards(folder: str | os.PathLike) -> bool:
  """Whether a folder is a prepared corpus, finished or not."""
  return os.path.isfile(os.path.join(folder, MANIFEST)) or os.path.isdir(
    os.path.join(folder, UNFINISHED)
  )


def open_shards(
  folder: str | os.PathLike,
  tokenizer: Any = None,
  *,
  verify: bool = False,
  names: Sequence[str] | None = None,
) -> Shards:
  """Opens a prepared corpus.

  Args:
    folder: of corpus/prepare.py or `write`.
    tokenizer: of the model; None leaves out the check that it is the one the
      corpus was tokenised with.
    verify: whether the checksum of every file is computed and compared, and
      not its size alone.
    names: of the parts that are wanted; None for all.

  Raises:
    ValueError: not such a folder, or unfinished; another tokenizer; no such
      part; a file that is missing, or of another size or checksum.
  """
  folder = os.fspath(folder)
  manifest = read_manifest(folder)
  if tokenizer is not None and manifest['tokenizer'] != tokenizer.fingerprint:
    raise ValueError(
      f'{folder} was tokenised with a vocabulary of'
      f' {manifest["vocab_size"]:,} rows (fingerprint'
      f' {manifest["tokenizer"][:12]}), and the tokenizer at hand has'
      f' {tokenizer.vocab_size:,} rows (fingerprint'
      f' {tokenizer.fingerprint[:12]}); prepare the text again with it'
    )
  entries = manifest['parts']
  for name in names or ():
    if name not in entries:
      raise ValueError(
        f'{folder} has no part {name!r}; it has {" ".join(sorted(entries))}'
      )
  for name in sorted(entries if names is None else set(names)):
    entry = entries[name]
    for file in [*entry['shards'], {'file': ENDS, **entry['ends']}]:
      _check_file(os.path.join(folder, name, file['file']), file, verify)
  return Shards(folder, manifest, names)


def read_manifest(folder: str | os.PathLike) -> dict[str, Any]:
  """The manifest of a finished folder."""
  path = os.path.join(folder, MANIFEST)
  if not os.path.isfile(path):
    if os.path.isdir(os.path.join(folder, UNFINISHED)):
      raise ValueError(
        f'{folder}: the preparation of this corpus has not finished; run'
        ' `xlmr corpus` again with the same flags, and it'
        ' goes on where it was'
      )
    raise ValueError(
      f'{folder} has no {MANIFEST}: it is no prepared corpus; make one with'
      ' `xlmr corpus`'
    )
  try:
    with open(path, encoding='utf-8') as file:
      manifest = json.load(file)
    version = manifest['format']
  except (ValueError, KeyError, TypeError) as error:
    raise ValueError(
      f'{path} is not the manifest of a prepared corpus ({error!r}); prepare'
      ' the corpus again'
    ) from error
  if version != FORMAT:
    raise ValueError(
      f'{path} has format {version}, and this version reads {FORMAT}; prepare'
      ' the corpus again'
    )
  return manifest


def _check_file(path: str, entry: Mapping[str, Any], verify: bool) -> None:
  if not os.path.isfile(path):
    raise ValueError(
      f'{path} is missing; copy the prepared corpus whole, or prepare it again'
    )
  size = os.path.getsize(path)
  if size != entry['bytes']:
    raise ValueError(
      f'{path} has {size:,} bytes and the manifest says {entry["bytes"]:,};'
      ' copy the prepared corpus again, or prepare it again'
    )
  if verify and digest(path) != entry['sha256']:
    raise ValueError(
      f'{path} has another SHA-256 than the manifest says; copy the prepared'
      ' corpus again, or prepare it again'
    )


def digest(path: str | os.PathLike) -> str:
  """The SHA-256 of a file, in hexadecimal."""
  with open(path, 'rb') as file:
    return hashlib.file_digest(file, 'sha256').hexdigest()


# Writing.


def dtype_for(vocab_size: int) -> np.dtype:
  """How an id is stored."""
  return np.dtype('<u2' if vocab_size <= 1 << 16 else '<u4')


def write_shard(path: str, records: Iterable[bytes]) -> dict[str, Any]:
  """Writes a shard whole or not at all; returns its entry of the manifest.

  Raises:
    OSError: the disk is full, or another fault of it.
  """
  count = 0
  try:
    with storage.whole_file(path) as temporary:
      writer = array_record_module.ArrayRecordWriter(str(temporary), _WRITE)
      try:
        for record in records:
          writer.write(record)
          count += 1
      finally:
        writer.close()
      return {
        'file': os.path.basename(path),
        'records': count,
        'bytes': os.path.getsize(temporary),
        'sha256': digest(temporary),
      }
  except RuntimeError as error:  # the library's only kind
    code = next(
      (c for c in errno.errorcode if os.strerror(c) in str(error)), errno.EIO
    )
    raise OSError(code, os.strerror(code), path) from error


def write_ends(
  path: str, lengths: Iterable[Int[np.ndarray, 'n']], count: int
) -> dict[str, Any]:
  """Writes ends.npy whole or not at all, a chunk of lengths at a time.

  Args:
    path: of the file.
    lengths: tokens of each unit, in order.
    count: how many units there are.

  Returns:
    Its entry of the manifest.
  """
  with storage.whole_file(path) as temporary, open(temporary, 'wb') as file:
    np.lib.format.write_array_header_1_0(
      file, {'descr': '<i8', 'fortran_order': False, 'shape': (count + 1,)}
    )
    file.write(bytes(8))
    total = 0
    for chunk in lengths:
      ends = total + np.cumsum(chunk, dtype='<i8')
      total = int(ends[-1]) if len(ends) else total
      file.write(ends.tobytes())
      count -= len(ends)
    assert not count, 'another number of units than was said'
    file.flush()
    return {'bytes': file.tell(), 'sha256': digest(temporary)}


def write_json(path: str | os.PathLike, content: Any) -> None:
  """Writes a JSON file whole or not at all."""
  storage.write_json(path, content, indent=1, sort_keys=True)


def write(
  folder: str | os.PathLike,
  tokenizer: Any,
  parts: Mapping[str, Iterable[Any]],
  *,
  shard_records: int = 1 << 16,
  settings: Mapping[str, Any] | None = None,
) -> Shards:
  """Writes documents or pairs that are ids already, in the order given.

  Args:
    folder: a new one.
    tokenizer: whose ids they are; `fingerprint` and `vocab_size` are taken.
    parts: by name, documents (sequences of ids) or pairs (tuples of two).
    shard_records: records of a shard, the last excepted.
    settings: what else the manifest should keep.
  """
  folder = os.fspath(folder)
  dtype = dtype_for(tokenizer.vocab_size)
  entries = {}
  for name, units in parts.items():
    os.makedirs(os.path.join(folder, name))
    lengths: list[int] = []
    kinds = set()

    def records(
      chunk: Sequence[Any], lengths: list[int] = lengths, kinds: set = kinds
    ) -> Iterator[bytes]:
      for unit in chunk:
        pair = isinstance(unit, tuple)
        kinds.add('pairs' if pair else 'text')
        sides = [np.asarray(s, dtype) for s in (unit if pair else (unit,))]
        lengths.extend(map(len, sides))
        yield b''.join(s.tobytes() for s in sides)

    units = list(units)
    written = []
    for start in range(0, len(units), shard_records):
      path = os.path.join(folder, name, shard_name(len(written)))
      chunk = units[start : start + shard_records]
      written.append(write_shard(path, records(chunk)))
    if len(kinds) != 1:
      raise ValueError(f'{name} must have documents or pairs, and one of both')
    ends = os.path.join(folder, name, ENDS)
    entries[name] = {
      'kind': kinds.pop(),
      'documents': len(units),
      'tokens': sum(lengths),
      'shards': written,
      'ends': write_ends(ends, [np.array(lengths, np.int64)], len(lengths)),
    }
  manifest = {
    'format': FORMAT,
    'tokenizer': tokenizer.fingerprint,
    'vocab_size': tokenizer.vocab_size,
    'dtype': dtype.str,
    'settings': dict(settings or {}),
    'parts': entries,
  }
  write_json(os.path.join(folder, MANIFEST), manifest)
  return open_shards(folder, tokenizer)


def shard_name(number: int) -> str:
  """The file name of a part's shard."""
  return f'{number:05}.array_record'
