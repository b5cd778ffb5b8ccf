"""Paragraphs that occurred before, found without holding them in memory.

Equal paragraphs have equal digests and meet in the same file, which is small
enough to be sorted; all but the first of them are marked. 128 bits of BLAKE2
are equal by chance once in 10 ** 19 corpora of a billion paragraphs.

```
<n>.digests   uint64 [paragraphs, 3]: the digest's halves, the paragraph's
                number
duplicates    a byte a paragraph, 1 for one that occurred before
```
"""

from collections.abc import Iterator
import os

from jaxtyping import Bool, Int
import numpy as np

MARKS = 'duplicates'


def partition(
  digests: bytes, first: int, parts: int
) -> Iterator[tuple[str, bytes]]:
  """Divides the digests among files.

  Args:
    digests: 16 bytes a paragraph.
    first: the number of the first paragraph.
    parts: how many files there are.
  """
  halves = np.frombuffer(digests, np.uint64).reshape(-1, 2)
  rows = np.empty((len(halves), 3), np.uint64)
  rows[:, :2] = halves
  rows[:, 2] = first + np.arange(len(halves))
  owner = halves[:, 0] % np.uint64(parts)
  order = np.argsort(owner, kind='stable')
  numbers, starts = np.unique(owner[order], return_index=True)
  for number, chosen in zip(
    numbers.tolist(), np.split(order, starts[1:]), strict=True
  ):
    yield f'{number}.digests', rows[chosen].tobytes()


def start(folder: str, paragraphs: int) -> None:
  """Makes the file of marks; an existing file keeps its marks."""
  with open(os.path.join(folder, MARKS), 'ab') as file:
    file.truncate(paragraphs)


def mark(folder: str, name: str) -> None:
  """Marks what occurs twice in one file of digests, and removes the file."""
  path = os.path.join(folder, name)
  if not os.path.exists(path):
    return  # done before
  rows = np.fromfile(path, np.uint64).reshape(-1, 3)
  # In order of digest, equal ones in the order of the text.
  rows = rows[np.lexsort((rows[:, 2], rows[:, 1], rows[:, 0]))]
  again = (rows[1:, :2] == rows[:-1, :2]).all(1)
  file = os.open(os.path.join(folder, MARKS), os.O_WRONLY)
  try:
    for number in np.sort(rows[1:][again, 2]).tolist():
      os.pwrite(file, b'\1', number)
    os.fsync(file)
  finally:
    os.close(file)
  os.remove(path)


def marked(
  folder: str, spans: Int[np.ndarray, 'documents 2']
) -> Bool[np.ndarray, 'paragraphs']:
  """The marks of documents, given as a first paragraph and how many."""
  file = os.open(os.path.join(folder, MARKS), os.O_RDONLY)
  try:
    marks = b''.join(os.pread(file, n, first) for first, n in spans.tolist())
  finally:
    os.close(file)
  return np.frombuffer(marks, np.uint8) > 0
