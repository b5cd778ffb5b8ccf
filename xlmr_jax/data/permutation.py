"""Random orders and choices that depend on a key alone.

```
order(0, 1, 2, … of 10 elements, key)    7 2 9 0 …    no list of 10 is made
coins(elements, key)                     heads or tails for each element
assign(elements, 10, key)                one of ten groups for each element
shuffle(10, seed, epoch)                 a whole permutation at once
```

No machine and no version of NumPy gives other numbers. Corpora and runs were
made with them, so they must never change.

`order` is a Feistel network over the cells of a grid that is hardly larger
than the number of elements; what falls outside walks on until it is inside
(Black and Rogaway 2002, "Ciphers with arbitrary finite domains", section 5).
So a place in a shuffled epoch of 10^10 examples is known without the others,
in 0.1 microseconds.
"""

import hashlib
import math

from jaxtyping import Int, UInt64
import numpy as np

Key = UInt64[np.ndarray, '8']  # one number for each half round


def key(*names: int | str) -> Key:
  """The key of a purpose, such as (seed, 'en', epoch)."""
  digest = hashlib.blake2b(repr(names).encode(), digest_size=64).digest()
  return np.frombuffer(digest, '<u8').astype(np.uint64)


def order(
  places: Int[np.ndarray, 'n'], size: int, key: Key
) -> Int[np.ndarray, 'n']:
  """The elements at these places of a permutation of `size` elements.

  Args:
    places: each at least 0 and below `size`, which is below 2^62.
    size: of the permutation.
    key: another one, another permutation.
  """
  height = math.isqrt(size - 1) + 1
  width = -(-size // height)
  out = _cell(np.asarray(places).astype(np.uint64), height, width, key)
  while len(outside := np.flatnonzero(out >= size)):
    out[outside] = _cell(out[outside], height, width, key)
  return out.astype(np.int64)


def coins(elements: Int[np.ndarray, 'n'], key: Key) -> np.ndarray:
  """A fair coin for each element, bool [n]."""
  mixed = _mix(np.asarray(elements).astype(np.uint64), key[0])
  return (mixed >> np.uint64(63)).astype(bool)


def assign(
  elements: Int[np.ndarray, 'n'], groups: int, key: int
) -> Int[np.ndarray, 'n']:
  """The group of each element, every one with the same chance.

  SplitMix64 (Steele, Lea and Flood 2014) started at `key`; an element is the
  number of a draw.
  """
  values = np.asarray(elements).astype(np.uint64) + np.uint64(1)
  values = np.uint64(key) + values * np.uint64(0x9E3779B97F4A7C15)
  mixed = _mix(values, values >> np.uint64(30))
  return (mixed % np.uint64(groups)).astype(np.int64)


def shuffle(count: int, *key: int) -> Int[np.ndarray, 'count']:
  """A permutation as a whole.

  It sorts the raw words of a Philox stream, which NumPy keeps the same in
  every version; `Generator.permutation` may change.
  """
  stream = np.random.Philox(np.random.SeedSequence(key))
  return np.argsort(stream.random_raw(count), kind='stable')


def _cell(cells, height: int, width: int, key: Key):
  """A permutation of the cells of a grid, numbered row after row."""
  high, wide = np.uint64(height), np.uint64(width)
  row = cells // wide
  column = cells - row * wide
  for first, second in key.reshape(-1, 2):
    row = _turn(row, _mix(column, first), high)
    column = _turn(column, _mix(row, second), wide)
  return row * wide + column


def _turn(values, by, size):
  """values + by modulo size; the upper half of `by` is spread over size."""
  values = values + ((by >> np.uint64(32)) * size >> np.uint64(32))
  return np.where(values >= size, values - size, values)


def _mix(values, key):
  """A well-mixed function of a number.

  The last steps and constants of SplitMix64, with a key in the place of its
  first shift.
  """
  values = (values ^ key) * np.uint64(0xBF58476D1CE4E5B9)
  values = (values ^ values >> np.uint64(27)) * np.uint64(0x94D049BB133111EB)
  return values ^ values >> np.uint64(31)
