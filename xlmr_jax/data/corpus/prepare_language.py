"""One language from text to shards; a run that was killed is continued.

First its files are read, tokenised by any number of processes, and its
documents appended to buckets, in order; then each bucket becomes a shard.
All of it happens in a work folder:

```
<work>/<name>/journal.json   how far reading came, and how long the files of
                             shuffle.py and duplicates.py were then
<work>/<name>.json           the name is finished: its entry of the manifest
```

A run that goes on cuts the files back to the journal's sizes and reads on from
where the journal was; what a shard was made of goes when the shard is there.
"""

import base64
from collections.abc import Callable
import dataclasses
import hashlib
import json
import os
import shutil
import time
from typing import Any

import numpy as np

from xlmr_jax.data import permutation
from xlmr_jax.data.corpus import (
  documents,
  duplicates,
  shards,
  shuffle,
  sources,
)
from xlmr_jax.data.corpus.workers import Workers

_JOURNAL = 'journal.json'
_SORTED = 1 << 20  # about how many digests are sorted together


@dataclasses.dataclass(frozen=True)
class CorpusSettings:
  """The settings that decide on the content of a corpus.

  Attributes:
    seed: of the shuffle.
    drop_duplicates: whether a paragraph that occurred before is dropped.
    shard_tokens: about how many tokens a shard has.
    text_key: of JSON objects and data sets.
  """

  seed: int = 0
  drop_duplicates: bool = False
  shard_tokens: int = 1 << 26
  text_key: str = 'text'


@dataclasses.dataclass
class _Position:
  """The place that reading has reached.

  Attributes:
    source: the file's index.
    offset, line: of the next block in it.
    documents, paragraphs, tokens, characters: in the buckets.
    cut: paragraphs that were too long and are several now.
    sizes: of the appended files.
  """

  source: int = 0
  offset: int = 0
  line: int = 1
  documents: int = 0
  paragraphs: int = 0
  tokens: int = 0
  characters: int = 0
  cut: int = 0
  sizes: dict[str, int] = dataclasses.field(default_factory=dict)


class Preparation:
  """The preparation of a language, or of a pair of languages."""

  def __init__(
    self,
    name: str,
    inputs: list[sources.Source],
    output: str,
    settings: CorpusSettings,
    dtype: np.dtype,
    *,
    journal_seconds: float,
    read: Callable[[int], None],
  ):
    """Takes the inputs and settings; `prepare` does the work.

    Args:
      name: such as 'en', or 'en-sw'.
      inputs: its files, in order.
      output: the folder of the corpus.
      settings: of the corpus.
      dtype: of ids.
      journal_seconds: how often the journal is written.
      read: called with the number of bytes read so far.
    """
    self.name = name
    self._inputs = inputs
    self._settings = settings
    self._dtype = dtype
    self._sides = 2 if inputs[0].form == 'pairs' else 1
    self._output = os.path.join(output, name)
    self._work = os.path.join(output, shards.UNFINISHED, name)
    self._journal_seconds = journal_seconds
    self._read = read
    digest = hashlib.sha256(f'{settings.seed}/{name}'.encode()).digest()
    self._key = int.from_bytes(digest[:8], 'little')
    guess = sum(map(sources.unpacked_bytes, inputs)) / 4  # bytes a token
    self._buckets = max(1, round(guess / settings.shard_tokens))
    # Paragraphs have 20 tokens or more.
    self._parts = max(1, round(guess / 20 / _SORTED))

  def prepare(self, workers: Workers) -> dict[str, Any]:
    """Prepares the rest; returns the entry of the manifest.

    Raises:
      ValueError: a file is not what it should be, or has no text.
      OSError: of the disk.
    """
    path = f'{self._work}.json'
    if not os.path.exists(path):
      os.makedirs(self._work, exist_ok=True)
      os.makedirs(self._output, exist_ok=True)
      position = self._read_all(workers)
      shards.write_json(path, self._write_all(workers, position))
    self._read(sum(source.bytes for source in self._inputs))
    shutil.rmtree(self._work, ignore_errors=True)
    with open(path, encoding='utf-8') as file:
      return json.load(file)

  # Reading.

  def _read_all(self, workers: Workers) -> _Position:
    """Fills the buckets."""
    journal = self._journal()
    at = _Position(**journal.get('at', {}))
    if at.source == len(self._inputs):
      return at
    start = _Position(**journal.get('start', {}))
    files = shuffle.AppendedFiles(self._work, at.sizes)
    builder = documents.DocumentBuilder(self._dtype, self._sides)
    if journal:
      _restore(builder, journal['open'])
    while at.source < len(self._inputs):
      source = self._inputs[at.source]
      if not at.offset:
        start = dataclasses.replace(at, sizes=dict(files.sizes))
        builder.open_file(
          source.form != 'lines' or sources.has_blank_lines(source)
        )
      try:
        self._read_file(workers, at, start, builder, files)
      except documents.BlankLines:
        files.flush()
        files.cut_back(start.sizes)
        at = dataclasses.replace(start, sizes=dict(start.sizes))
        builder.open_file(True)
        self._read_file(workers, at, start, builder, files)
      self._take(builder.close_file(), at, files)
      if not builder.seen:
        raise ValueError(f'{source.path}: no text in this file')
      at.source, at.offset, at.line = at.source + 1, 0, 1
    self._save(at, start, builder, files)
    return at

  def _read_file(
    self,
    workers: Workers,
    at: _Position,
    start: _Position,
    builder: documents.DocumentBuilder,
    files: shuffle.AppendedFiles,
  ) -> None:
    """Reads a file from the position `at` on."""
    settings = self._settings
    before = sum(source.bytes for source in self._inputs[: at.source])
    jobs = (
      (block, self._dtype, settings.text_key, settings.drop_duplicates)
      for block in sources.blocks(
        self._inputs[at.source], at.offset, at.line, settings.text_key
      )
    )
    saved = time.monotonic()
    for place, block in workers.run(_tokenise, jobs):
      number = at.paragraphs + len(builder.lengths)  # of the block's first
      if block.digests:
        for file, rows in duplicates.partition(
          block.digests, number, self._parts
        ):
          files.append(file, rows)
      self._take(builder.add(block), at, files)
      at.cut += block.cut
      at.offset, at.line = place['end'], place['line']
      self._read(before + place['read'])
      if time.monotonic() - saved >= self._journal_seconds:
        self._save(at, start, builder, files)
        saved = time.monotonic()

  def _take(
    self,
    complete: documents.Documents,
    at: _Position,
    files: shuffle.AppendedFiles,
  ) -> None:
    """Appends documents to their buckets."""
    firsts = complete.firsts
    count = len(firsts) - 1
    if not count:
      return
    totals = complete.lengths.sum(1, dtype=np.int64)
    ends = np.concatenate([[0], np.cumsum(totals)])[firsts]
    lengths = complete.lengths
    if self._sides == 1:
      lengths = np.diff(ends).astype(np.int32)[:, None]
    owners = permutation.assign(
      np.arange(at.documents, at.documents + count), self._buckets, self._key
    )
    order = np.argsort(owners, kind='stable')
    buckets, starts = np.unique(owners[order], return_index=True)
    for bucket, chosen in zip(
      buckets.tolist(), np.split(order, starts[1:]), strict=True
    ):
      ids = [complete.ids[ends[i] : ends[i + 1]] for i in chosen]
      files.append(f'{bucket}.tokens', np.concatenate(ids).tobytes())
      files.append(f'{bucket}.lengths', lengths[chosen].tobytes())
      if self._settings.drop_duplicates:
        spans = np.stack([at.paragraphs + firsts[:-1], np.diff(firsts)], 1)
        files.append(f'{bucket}.paragraphs', spans[chosen].tobytes())
        sizes = np.stack([totals, complete.characters], 1).astype(np.int32)
        paragraph_sizes = [sizes[firsts[i] : firsts[i + 1]] for i in chosen]
        files.append(
          f'{bucket}.sizes', np.concatenate(paragraph_sizes).tobytes()
        )
    at.documents += count
    at.paragraphs += int(firsts[-1])
    at.tokens += int(ends[-1])
    at.characters += int(complete.characters.sum(dtype=np.int64))

  # The journal.

  def _journal(self) -> dict[str, Any]:
    path = os.path.join(self._work, _JOURNAL)
    if not os.path.exists(path):
      return {}
    with open(path, encoding='utf-8') as file:
      return json.load(file)

  def _save(
    self,
    at: _Position,
    start: _Position,
    builder: documents.DocumentBuilder,
    files: shuffle.AppendedFiles,
  ) -> None:
    files.flush(sync=True)
    at.sizes = dict(files.sizes)
    journal = {
      'at': dataclasses.asdict(at),
      'start': dataclasses.asdict(start),
      'open': _stored(builder),
    }
    shards.write_json(os.path.join(self._work, _JOURNAL), journal)

  # Writing.

  def _write_all(self, workers: Workers, at: _Position) -> dict[str, Any]:
    """Makes shards of the buckets."""
    drop = self._settings.drop_duplicates
    if drop:
      duplicates.start(self._work, at.paragraphs)
      names = [name for name in at.sizes if name.endswith('.digests')]
      for _ in workers.run(_mark, ((self._work, name) for name in names)):
        pass
    numbers = sorted(
      int(name.removesuffix('.lengths'))
      for name in at.sizes
      if name.endswith('.lengths')
    )
    jobs = (
      (self._work, number, self._key, self._dtype, self._sides, drop)
      for number in numbers
    )
    if not numbers:
      raise ValueError(f'{self._inputs[0].path}: no text to learn from')
    entries, orders = [], []
    for number, entry in zip(
      numbers, workers.run(_to_shard, jobs), strict=True
    ):
      orders.append(os.path.join(self._work, f'{number}.order'))
      if entry['records']:
        entry['file'] = shards.shard_name(
          sum(e['records'] > 0 for e in entries)
        )
        shard = os.path.join(self._work, f'{number}.array_record')
        if os.path.exists(shard):
          os.replace(shard, os.path.join(self._output, entry['file']))
      entries.append(entry)
    records = sum(entry['records'] for entry in entries)
    dropped = sum(entry['dropped'] for entry in entries)
    ends = os.path.join(self._work, shards.ENDS)
    about_ends = shards.write_ends(
      ends,
      (np.fromfile(path, np.int32) for path in orders),
      records * self._sides,
    )
    os.replace(ends, os.path.join(self._output, shards.ENDS))
    return {
      'kind': 'pairs' if self._sides == 2 else 'text',
      'documents': records,
      'paragraphs': at.paragraphs - dropped,
      'tokens': sum(entry['tokens'] for entry in entries),
      'characters': at.characters
      - sum(entry['dropped_characters'] for entry in entries),
      'dropped': dropped,
      'cut': at.cut,
      'sources': [source.identity for source in self._inputs],
      'ends': about_ends,
      'shards': [
        {k: entry[k] for k in ('file', 'records', 'bytes', 'sha256')}
        for entry in entries
        if entry['records']
      ],
    }


def _stored(builder: documents.DocumentBuilder) -> dict[str, Any]:
  """The open document as the journal holds it."""
  return {
    'separated': builder.separated,
    'seen': builder.seen,
    'blank': builder.blank,
    'ids': base64.b64encode(builder.ids.tobytes()).decode(),
    'lengths': builder.lengths.tolist(),
    'characters': builder.characters.tolist(),
  }


def _restore(
  builder: documents.DocumentBuilder, stored: dict[str, Any]
) -> None:
  builder.open_file(stored['separated'])
  builder.seen, builder.blank = stored['seen'], stored['blank']
  builder.ids = np.frombuffer(base64.b64decode(stored['ids']), builder.dtype)
  builder.lengths = np.array(stored['lengths'], np.int32).reshape(
    -1, builder.sides
  )
  builder.characters = np.array(stored['characters'], np.int32)


# What workers do.


def _tokenise(tokenizer, block, dtype, text_key, digests):
  tokenised = documents.tokenise(
    block, tokenizer.encode_plain, dtype, text_key=text_key, digests=digests
  )
  lines = 0 if isinstance(block.data, list) else block.data.count(b'\n')
  place = {'end': block.end, 'line': block.line + lines, 'read': block.read}
  return place, tokenised


def _mark(tokenizer, *arguments):
  del tokenizer
  return duplicates.mark(*arguments)


def _to_shard(tokenizer, *arguments):
  del tokenizer
  return shuffle.to_shard(*arguments)
