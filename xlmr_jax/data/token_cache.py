"""Text files as token arrays: tokenised once, memory-mapped ever after.

```
<cache>/<file name>-<key>/tokens.npy   uint16 or uint32, all texts in a row
                         /ends.npy     int64, where each text ends
                         /meta.json    what it was made of
```

The key is a digest of the file's name, size and date, and of the tokenizer:
a file that changes is tokenised anew. A folder appears whole or not at all,
so a run that was interrupted goes on with the file it was at.
"""

from collections.abc import Iterator
import dataclasses
import hashlib
import itertools
import json
import os
import shutil
from typing import Any
import uuid

from jaxtyping import Int
import numpy as np
import tqdm

_VERSION = 1  # of what the folders hold; part of the key
_CHUNK = 2048  # texts tokenised together


@dataclasses.dataclass(frozen=True)
class Tokens:
  """A tokenised file: text t is tokens[ends[t]:ends[t + 1]].

  Attributes:
    tokens: memory-mapped ids, without <s> and </s>.
    ends: one more than there are texts.
    digest: SHA-256 of both.
  """

  tokens: Int[np.ndarray, 'tokens']
  ends: Int[np.ndarray, 'texts+1']
  digest: str


class TokenCache:
  """A directory of tokenised files, for one tokenizer."""

  def __init__(self, directory: str | os.PathLike, tokenizer: Any):
    self._directory = os.fspath(directory)
    self._tokenizer = tokenizer
    self._dtype = np.uint16 if tokenizer.vocab_size <= 1 << 16 else np.uint32

  def get(self, path: str, texts: Iterator[str]) -> Tokens:
    """The tokens of a file, made now if they are not there.

    Args:
      path: the file.
      texts: what it holds; read only if the tokens have to be made.

    Raises:
      ValueError: the file has no text.
    """
    name = os.path.basename(path)
    stat = os.stat(path)
    made_of = [
      _VERSION,
      name,
      stat.st_size,
      stat.st_mtime_ns,
      self._tokenizer.fingerprint,
    ]
    key = hashlib.sha256(json.dumps(made_of).encode()).hexdigest()[:16]
    folder = os.path.join(self._directory, f'{name}-{key}')
    if not os.path.isdir(folder):
      self._make(path, texts, folder)
    with open(os.path.join(folder, 'meta.json')) as file:
      meta = json.load(file)
    return Tokens(
      np.load(os.path.join(folder, 'tokens.npy'), mmap_mode='r'),
      np.load(os.path.join(folder, 'ends.npy')),
      meta['sha256'],
    )

  def _make(self, path: str, texts: Iterator[str], folder: str) -> None:
    """Writes a folder whole or not at all."""
    temporary = f'{folder}.{uuid.uuid4().hex}.tmp'
    os.makedirs(temporary)
    try:
      self._write(path, texts, temporary)
      try:
        os.rename(temporary, folder)
      except OSError:
        # Another process has made it meanwhile; the two are equal.
        if not os.path.isdir(folder):
          raise
    finally:
      shutil.rmtree(temporary, ignore_errors=True)

  def _write(self, path: str, texts: Iterator[str], folder: str) -> None:
    digest = hashlib.sha256()
    lengths = [np.zeros(1, np.int64)]
    threads = min(4, os.cpu_count() or 1)
    total = 0
    progress = tqdm.tqdm(
      desc=f'tokenising {os.path.basename(path)}',
      unit=' tokens',
      unit_scale=True,
      disable=None,
    )
    with open(os.path.join(folder, 'tokens.npy'), 'wb') as file, progress:
      self._header(file, 0)
      size = file.tell()
      while chunk := list(itertools.islice(texts, _CHUNK)):
        ids = self._tokenizer.encode_plain(chunk, num_threads=threads)
        flat = np.concatenate(ids).astype(self._dtype).tobytes()
        lengths.append(np.array([len(i) for i in ids], np.int64))
        digest.update(flat)
        digest.update(lengths[-1].tobytes())
        file.write(flat)
        count = int(lengths[-1].sum())
        total += count
        progress.update(count)
      if not total:
        raise ValueError(f'{path}: no text in this file')
      # NumPy leaves room in the header for the length to grow.
      file.seek(0)
      self._header(file, total)
      assert file.tell() == size, 'the header of an .npy file grew'
    ends = np.cumsum(np.concatenate(lengths))
    np.save(os.path.join(folder, 'ends.npy'), ends)
    meta = {
      'file': os.path.abspath(path),
      'tokens': total,
      'texts': len(ends) - 1,
      'sha256': digest.hexdigest(),
    }
    with open(os.path.join(folder, 'meta.json'), 'w') as file:
      json.dump(meta, file, indent=2)

  def _header(self, file: Any, count: int) -> None:
    np.lib.format.write_array_header_1_0(
      file,
      {
        'descr': np.lib.format.dtype_to_descr(np.dtype(self._dtype)),
        'fortran_order': False,
        'shape': (count,),
      },
    )
