"""Text becomes a corpus for pretraining: tokenised, shuffled, memory-mapped.

```
DIR/en.txt.xz  DIR/sw.jsonl  DIR/ru/*.txt.gz  …      sources.py: what is read
   │ blocks of whole lines, to all cores             documents.py: documents
   ▼
DIR/.unfinished/<name>/7.tokens                      shuffle.py: the shuffle
   │ each bucket in an order of its own
   ▼
DIR/<name>/00007.array_record, manifest.json         shards.py: the result
```

The same files, vocabulary and settings make the same bytes, however many
processes work and however often they are killed: the next call goes on where
the last one was. A finished folder is opened at once, and one made of other
things is refused, with what differs.
"""

from collections.abc import Sequence
from concurrent import futures
import dataclasses
import errno
import os
import shutil
import threading
from typing import Any

import tqdm

from xlmr_jax.data import files
from xlmr_jax.data.corpus import prepare_language, shards, sources
from xlmr_jax.data.corpus.prepare_language import CorpusSettings
from xlmr_jax.data.corpus.workers import Workers
from xlmr_jax.runtime import storage
from xlmr_jax.runtime.cores import usable_cores

_PLAN = 'plan.json'
_WORTH = 1 << 22  # bytes of text that a process is started for
_READERS = 4  # processes that one reader keeps busy; archives unpack slowly


def prepare(
  corpus: str | os.PathLike | None,
  output: str | os.PathLike,
  tokenizer: Any,
  *,
  parallel: str | os.PathLike | None = None,
  tfds: Sequence[tuple[str, str]] = (),
  tfds_dir: str | os.PathLike = '~/tensorflow_datasets',
  tfds_split: str = 'train',
  languages: Sequence[str] | None = None,
  pairs: Sequence[str] | None = None,
  seed: int = 0,
  drop_duplicates: bool = False,
  shard_tokens: int = CorpusSettings.shard_tokens,
  text_key: str = CorpusSettings.text_key,
  workers: int | None = None,
  journal_seconds: float = 10.0,
) -> shards.Shards:
  """Makes a prepared corpus, goes on making it, or opens it.

  A script that calls this needs the `if __name__ == '__main__':` that
  multiprocessing asks for.

  Args:
    corpus: the folder of text, as in sources.py; None for none.
    output: the folder to make.
    tokenizer: of the model.
    parallel: the folder of translations; None for none.
    tfds: languages, each with a data set 'name/config' that is prepared.
    tfds_dir: the data_dir of these.
    tfds_split: which split of these.
    languages: which to take of `corpus`; None for all there are.
    pairs: which to take of `parallel`; None for all there are.
    seed: of the order of documents.
    drop_duplicates: whether a paragraph (or a pair) that occurred before in
      its language is dropped.
    shard_tokens: about how many tokens a shard has.
    text_key: of the text in JSON objects and data sets.
    workers: how many processes tokenise; None for one per core, or fewer if
      there is little text. 0 uses this process.
    journal_seconds: how much work a kill may cost.

  Raises:
    ValueError: an input is not what it should be (with its file and line); the
      output was made of something else (with what differs).
    OSError: the disk is full, or another fault of it.
  """
  output = os.path.abspath(output)
  settings = CorpusSettings(seed, drop_duplicates, shard_tokens, text_key)
  if shard_tokens < 1:
    raise ValueError(f'shard_tokens={shard_tokens}; it is at least 1')
  if workers is not None and workers < 0:
    raise ValueError(f'workers={workers}; it is at least 0')
  for folder in (corpus, parallel):
    if folder is not None and _is_inside(output, folder):
      raise ValueError(
        f'the output {output} is inside the input {folder}; name another folder'
      )
  inputs: dict[str, list[sources.Source]] = {}
  listings = (
    [sources.find_text(corpus, languages)] if corpus is not None else []
  )
  if parallel is not None:
    listings.append(sources.find_pairs(parallel, pairs))
  for language, name in tfds:
    listings.append({language: [sources.find_tfds(name, tfds_dir, tfds_split)]})
  for listing in listings:
    for name, listed in listing.items():
      if name in inputs:
        raise ValueError(
          f'{name!r} comes from {inputs[name][0].path} and from'
          f' {listed[0].path}; keep one of them'
        )
      inputs[name] = listed
  if not inputs:
    raise ValueError('there is nothing to prepare: name a folder of text')
  plan = {
    'format': shards.FORMAT,
    'tokenizer': tokenizer.fingerprint,
    'vocab_size': tokenizer.vocab_size,
    'dtype': shards.dtype_for(tokenizer.vocab_size).str,
    'settings': dataclasses.asdict(settings),
    'sources': {n: [s.identity for s in f] for n, f in sorted(inputs.items())},
  }
  if not shards.is_shards(output) and os.path.isdir(output):
    if os.listdir(output):
      raise ValueError(
        f'{output} has files already, and they are no prepared corpus; name a'
        ' new folder'
      )
  os.makedirs(output, exist_ok=True)
  with storage.alone(output, 'prepares'):
    if os.path.exists(os.path.join(output, shards.MANIFEST)):
      _compare(output, _plan_of(shards.read_manifest(output)), plan)
      shutil.rmtree(os.path.join(output, shards.UNFINISHED), ignore_errors=True)
      return shards.open_shards(output, tokenizer)
    size = sum(sources.unpacked_bytes(s) for f in inputs.values() for s in f)
    if workers is None:
      workers = min(usable_cores(), size // _WORTH)
      workers = workers if workers > 1 else 0
    try:
      _prepare(
        inputs, output, tokenizer, plan, settings, workers, journal_seconds
      )
    except OSError as error:
      if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        raise
      raise OSError(
        error.errno,
        f'{os.strerror(error.errno)}; make room and run again: it goes on'
        ' where it was',
        output,
      ) from error
  return shards.open_shards(output, tokenizer)


def _prepare(
  inputs: dict[str, list[sources.Source]],
  output: str,
  tokenizer: Any,
  plan: dict[str, Any],
  settings: CorpusSettings,
  workers: int,
  journal_seconds: float,
) -> None:
  work = os.path.join(output, shards.UNFINISHED)
  os.makedirs(work, exist_ok=True)
  path = os.path.join(work, _PLAN)
  if os.path.exists(path):
    _compare(output, files.document(path), plan)
  else:
    shards.write_json(path, plan)
  dtype = shards.dtype_for(tokenizer.vocab_size)
  sizes = {n: sum(s.bytes for s in files) for n, files in inputs.items()}
  readers = max(1, min(len(inputs), workers // _READERS))
  with _Progress(sizes) as progress, Workers(tokenizer, workers, work) as pool:

    def make(name: str) -> dict[str, Any]:
      return prepare_language.Preparation(
        name,
        inputs[name],
        output,
        settings,
        dtype,
        journal_seconds=journal_seconds,
        read=lambda count: progress.read(name, count),
      ).prepare(pool)

    if readers == 1:
      entries = {name: make(name) for name in sorted(inputs)}
    else:
      # The largest first: otherwise all may wait for it at the end.
      names = sorted(inputs, key=lambda name: (-sizes[name], name))
      with futures.ThreadPoolExecutor(readers) as threads:
        jobs = {name: threads.submit(make, name) for name in names}
        try:
          for done in futures.as_completed(jobs.values()):
            done.result()
        except BaseException:
          progress.stop = True
          threads.shutdown(cancel_futures=True)
          raise
        entries = {name: done.result() for name, done in jobs.items()}
  manifest = {k: v for k, v in plan.items() if k != 'sources'}
  path = os.path.join(work, shards.MANIFEST)
  shards.write_json(path, {**manifest, 'parts': entries})
  os.replace(path, os.path.join(output, shards.MANIFEST))
  shutil.rmtree(work, ignore_errors=True)


class _Stopped(Exception):
  """The preparation of another language failed, so this one stops."""


class _Progress:
  """A bar over the bytes of all files.

  Attributes:
    stop: ends the threads that report to it.
  """

  def __init__(self, sizes: dict[str, int]):
    self._bar = tqdm.tqdm(
      desc='preparing',
      total=sum(sizes.values()),
      unit='B',
      unit_scale=True,
      unit_divisor=1024,
      disable=None,
    )
    self._done = dict.fromkeys(sizes, 0)
    self._lock = threading.Lock()
    self.stop = False

  def __enter__(self) -> '_Progress':
    return self

  def __exit__(self, *exception) -> None:
    self._bar.close()

  def read(self, name: str, done: int) -> None:
    if self.stop:
      raise _Stopped
    with self._lock:
      self._bar.set_postfix_str(name, refresh=False)
      self._bar.update(done - self._done[name])
      self._done[name] = done


def _is_inside(path: str, folder: str | os.PathLike) -> bool:
  path, folder = os.path.realpath(path), os.path.realpath(folder)
  return os.path.commonpath([path, folder]) == folder


def _plan_of(manifest: dict[str, Any]) -> dict[str, Any]:
  """The plan that a finished folder was made by."""
  plan = {k: v for k, v in manifest.items() if k != 'parts'}
  parts = manifest['parts'].items()
  return {**plan, 'sources': {n: entry.get('sources') for n, entry in parts}}


def _compare(output: str, old: dict[str, Any], new: dict[str, Any]) -> None:
  """Raises ValueError if a folder was made by another plan."""
  differences = []
  if old['tokenizer'] != new['tokenizer']:
    differences.append(
      f'the vocabulary ({old["vocab_size"]:,} rows,'
      f' {old["tokenizer"][:12]}; now {new["vocab_size"]:,},'
      f' {new["tokenizer"][:12]})'
    )
  for key, value in new['settings'].items():
    before = old['settings'].get(key)
    if before != value:
      differences.append(f'{key} ({before}; now {value})')
  for name in sorted(old['sources'].keys() | new['sources'].keys()):
    before, now = (plan['sources'].get(name) for plan in (old, new))
    if before is None or now is None:
      differences.append(
        f'{name} ({"not " if now is None else ""}asked for now)'
      )
    elif before != now:
      files = [
        {source['file']: source for source in some} for some in (before, now)
      ]
      changed = [
        file
        for file in sorted(files[0].keys() | files[1].keys())
        if files[0].get(file) != files[1].get(file)
      ]
      differences.append(
        f'{name} ({", ".join(changed)}: new, gone or changed since)'
      )
  if differences:
    raise ValueError(
      f'{output} was prepared from something else; what differs:'
      f' {"; ".join(differences)}. Name another output, or delete this folder'
    )
