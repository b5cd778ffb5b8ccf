"""The shuffle of a corpus that does not fit in memory.

A document goes to the bucket that a hash of the seed, the name and the
document's number chooses; a bucket is then written as a shard, in an order
that the seed decides too. Both are uniform, and so is the whole.

Buckets are files that are appended to: cut back to the sizes that a journal
kept, they are what they were when it was written.

```
<bucket>.tokens      ids of the documents, in the order they came
<bucket>.lengths     int32, tokens of each; of a pair, of each side
<bucket>.paragraphs  int64 [documents, 2], the first paragraph's number and
                       how many: where duplicates are dropped
<bucket>.sizes       int32 [paragraphs, 2], tokens and characters: likewise
<bucket>.order       int32, the lengths as the shard has them: the result
<bucket>.json        the shard's entry of the manifest, and counts
```
"""

import collections
from collections.abc import Iterator
import json
import os
from typing import Any

import numpy as np

from xlmr_jax.data import permutation
from xlmr_jax.data.corpus import duplicates, shards
from xlmr_jax.runtime import storage

_BUFFER = 1 << 24  # bytes kept in memory until they are appended


class AppendedFiles:
  """Files of a folder that only grow.

  Attributes:
    sizes: bytes of each, with those that are not written yet.
  """

  def __init__(self, folder: str, sizes: dict[str, int] | None = None):
    self._folder = folder
    self._waiting: dict[str, list[bytes]] = collections.defaultdict(list)
    self._bytes = 0
    self.sizes: dict[str, int] = {}
    self.cut_back(sizes or {})

  def append(self, name: str, data: bytes) -> None:
    """Appends to a file, now or later."""
    self._waiting[name].append(data)
    self.sizes[name] = self.sizes.get(name, 0) + len(data)
    self._bytes += len(data)
    if self._bytes > _BUFFER:
      self.flush()

  def flush(self, *, sync: bool = False) -> None:
    """Writes what is buffered; `sync` waits until the disk has it."""
    for name, parts in self._waiting.items():
      with open(os.path.join(self._folder, name), 'ab') as file:
        file.writelines(parts)
        if sync:
          file.flush()
          os.fsync(file.fileno())
    self._waiting.clear()
    self._bytes = 0

  def cut_back(self, sizes: dict[str, int]) -> None:
    """Cuts the files back to these sizes and removes all others."""
    self._waiting.clear()
    self._bytes = 0
    for name in os.listdir(self._folder):
      if name in sizes:
        os.truncate(os.path.join(self._folder, name), sizes[name])
      elif name != 'journal.json':
        os.remove(os.path.join(self._folder, name))
    self.sizes = dict(sizes)


def to_shard(
  folder: str, bucket: int, key: int, dtype: np.dtype, sides: int, drop: bool
) -> dict[str, Any]:
  """Writes a bucket as a shard beside it, unless that was done before.

  Args:
    folder: of the buckets.
    bucket: which.
    key: of the order.
    dtype: of the ids.
    sides: 2 for pairs.
    drop: whether `duplicates` marked paragraphs that are left out.

  Returns:
    What the shard has: its entry of the manifest and 'tokens', 'dropped'
    (paragraphs) and 'dropped_characters'. A bucket of which nothing is left
    has 0 records and no file.
  """
  stem = os.path.join(folder, str(bucket))
  if os.path.exists(f'{stem}.json'):
    with open(f'{stem}.json') as file:
      entry = json.load(file)
  else:
    entry = _to_shard(folder, stem, bucket, key, dtype, sides, drop)
    shards.write_json(f'{stem}.json', entry)
  for end in ('tokens', 'lengths', 'paragraphs', 'sizes'):
    if os.path.exists(f'{stem}.{end}'):
      os.remove(f'{stem}.{end}')
  return entry


def _to_shard(
  folder: str,
  stem: str,
  bucket: int,
  key: int,
  dtype: np.dtype,
  sides: int,
  drop: bool,
) -> dict[str, Any]:
  lengths = np.fromfile(f'{stem}.lengths', np.int32).reshape(-1, sides)
  totals = lengths.sum(1, dtype=np.int64)
  begins = np.cumsum(totals) - totals
  kept = None
  dropped = characters = 0
  if drop:
    spans = np.fromfile(f'{stem}.paragraphs', np.int64).reshape(-1, 2)
    sizes = np.fromfile(f'{stem}.sizes', np.int32).reshape(-1, 2)
    kept = ~duplicates.marked(folder, spans)
    dropped = int((~kept).sum())
    characters = int(sizes[~kept, 1].sum(dtype=np.int64))
    paragraphs = np.cumsum(spans[:, 1]) - spans[:, 1]  # the first of each
    left = np.add.reduceat(sizes[:, 0] * kept, paragraphs, dtype=np.int64)
    if sides == 2:  # a pair goes whole or stays
      lengths = lengths * (left > 0)[:, None].astype(np.int32)
    else:
      lengths = left.astype(np.int32)[:, None]
  order = permutation.shuffle(len(lengths), key, bucket)
  order = order[lengths[order, 0] > 0]
  width = dtype.itemsize

  def records() -> Iterator[bytes]:
    for i in order.tolist():
      record = os.pread(file, int(totals[i]) * width, int(begins[i]) * width)
      if kept is not None and lengths[i].sum() < totals[i]:
        paragraph_range = slice(paragraphs[i], paragraphs[i] + spans[i, 1])
        mask = np.repeat(kept[paragraph_range], sizes[paragraph_range, 0])
        record = np.frombuffer(record, dtype)[mask].tobytes()
      yield record

  # pread and not a memory map: pages of a map would count as memory.
  file = os.open(f'{stem}.tokens', os.O_RDONLY)
  try:
    entry = {'file': '', 'records': 0, 'bytes': 0, 'sha256': ''}
    if len(order):
      entry = shards.write_shard(f'{stem}.array_record', records())
  finally:
    os.close(file)
  with storage.whole_file(f'{stem}.order') as temporary:
    lengths[order].tofile(temporary)
  return {
    **entry,
    'tokens': int(lengths[order].sum(dtype=np.int64)),
    'dropped': dropped,
    'dropped_characters': characters,
  }
