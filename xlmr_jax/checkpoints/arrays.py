"""Arrays that still lie in files: any part of one on demand.

A model larger than the memory is converted, or placed on devices, through
these: a writer or a placement asks for the part that it needs next.
"""

import abc
from collections.abc import Iterator, Mapping, Sequence
import contextlib
import dataclasses
import math
import time
from typing import TYPE_CHECKING

import numpy as np

from xlmr_jax.checkpoints.formats import safetensors_file
from xlmr_jax.checkpoints.formats.safetensors_file import DTYPES, Tensor

Region = tuple[slice, ...]


@dataclasses.dataclass(frozen=True)
class FilePart:
  """A tensor of a file, and where in an array it belongs.

  Attributes:
    tensor: in the file.
    at: its region of the array: an index for each dimension that a tensor
      lacks, a slice for each it has.
    flip: the array holds its transpose.
  """

  tensor: Tensor
  at: tuple[int | slice, ...]
  flip: bool = False


class DiskArray(abc.ABC):
  """An array that still lies in files; numpy reads the part that it asks for.

  Attributes:
    shape: of the array.
    dtype: of its numbers.
  """

  if TYPE_CHECKING:  # fields of some, properties of others

    @property
    @abc.abstractmethod
    def shape(self) -> tuple[int, ...]: ...

    @property
    @abc.abstractmethod
    def dtype(self) -> np.dtype: ...

  @abc.abstractmethod
  def __getitem__(self, index) -> np.ndarray:
    """Reads a part: integers, slices in steps of 1, and one `...`."""

  @property
  def ndim(self) -> int:
    return len(self.shape)

  @property
  def size(self) -> int:
    return math.prod(self.shape)

  @property
  def nbytes(self) -> int:
    return self.size * self.dtype.itemsize

  def __len__(self) -> int:
    return self.shape[0]

  def __array__(self, dtype=None, copy=None) -> np.ndarray:
    del copy
    return np.asarray(self[...], dtype)

  def resized(self, axis: int, size: int) -> 'Resized':
    """Cut, or grown by zeros, along one dimension."""
    shape = (*self.shape[:axis], size, *self.shape[axis + 1 :])
    return Resized(self, shape)

  def astype(self, dtype, copy=True) -> np.ndarray:
    del copy
    return np.asarray(self, dtype)

  def __deepcopy__(self, memo) -> 'DiskArray':
    """Returns itself: orbax copies what it saves later; this never changes."""
    del memo
    return self


@dataclasses.dataclass(frozen=True)
class Lazy(DiskArray):
  """An array made of parts of files; what no part covers is 0.

  >>> kernel = Lazy((12, 768, 3072), np.dtype('float32'), parts)
  >>> kernel[3, :, :100]  # reads a hundred rows of one file
  """

  shape: tuple[int, ...]
  dtype: np.dtype
  parts: Sequence[FilePart]

  def __getitem__(self, index) -> np.ndarray:
    wanted, squeezed = region(index, self.shape)
    out = np.zeros([w.stop - w.start for w in wanted], self.dtype)
    for part in self.parts:
      _copy(part, wanted, out)
    return out.squeeze(squeezed)


@dataclasses.dataclass(frozen=True)
class Resized(DiskArray):
  """An array in files, cut or grown by zeros at the end of its dimensions."""

  array: DiskArray
  shape: tuple[int, ...]

  @property
  def dtype(self) -> np.dtype:
    return self.array.dtype

  def __getitem__(self, index) -> np.ndarray:
    wanted, squeezed = region(index, self.shape)
    held = tuple(
      slice(min(w.start, size), min(w.stop, size))
      for w, size in zip(wanted, self.array.shape, strict=True)
    )
    out = self.array[held]
    more = [
      (0, w.stop - w.start - size)
      for w, size in zip(wanted, out.shape, strict=True)
    ]
    if any(count for _, count in more):
      out = np.pad(out, more)
    return out.squeeze(squeezed)


def region(index, shape) -> tuple[Region, tuple[int, ...]]:
  """Any plain index as slices with both ends, and the dimensions it drops."""
  index = index if isinstance(index, tuple) else (index,)
  if Ellipsis in index:
    at = index.index(Ellipsis)
    whole = (slice(None),) * (len(shape) - len(index) + 1)
    index = index[:at] + whole + index[at + 1 :]
  index += (slice(None),) * (len(shape) - len(index))
  if len(index) > len(shape):
    raise IndexError(f'{len(index)} indices for {len(shape)} dimensions')
  out, squeezed = [], []
  for axis, (i, size) in enumerate(zip(index, shape, strict=True)):
    if isinstance(i, slice):
      start, stop, step = i.indices(size)
      if step != 1:
        raise IndexError(f'a part of a file is read in steps of 1, not {step}')
      out.append(slice(start, max(start, stop)))
    else:
      i = range(size)[i]
      out.append(slice(i, i + 1))
      squeezed.append(axis)
  return tuple(out), tuple(squeezed)


def _copy(part: FilePart, wanted: Region, out: np.ndarray) -> None:
  """Copies the piece of a part that lies in a wanted region."""
  theirs, ours = [], []
  for at, want in zip(part.at, wanted, strict=True):
    held = at if isinstance(at, slice) else slice(at, at + 1)
    start, stop = max(held.start, want.start), min(held.stop, want.stop)
    if start >= stop:
      return
    if isinstance(at, slice):
      theirs.append(slice(start - held.start, stop - held.start))
      ours.append(slice(start - want.start, stop - want.start))
    else:
      ours.append(start - want.start)
  tensor = part.tensor
  flip = part.flip != tensor.flipped
  shape = tensor.shape[::-1] if tensor.flipped else tensor.shape
  stored = np.memmap(
    tensor.file, DTYPES[tensor.dtype], 'r', tensor.start, shape, 'C'
  )
  stored = stored.T if flip else stored
  out[tuple(ours)] = stored[tuple(theirs)]


def read(lazy: Lazy, reader: safetensors_file.Reader) -> np.ndarray:
  """The whole array, aligned; `reader.run()` fills it.

  Raises:
    ValueError: the parts leave gaps or overlap.
  """
  if sum(math.prod(p.tensor.shape) for p in lazy.parts) != lazy.size:
    raise ValueError('parts that leave gaps are for lazy reading')
  out = safetensors_file.aligned(lazy.shape, lazy.dtype)
  for part in lazy.parts:
    reader.add(part.tensor, out[part.at], transpose=part.flip)
  return out


def load(
  leaves: Mapping[str, Lazy], start: float, timer: dict[str, float] | None
) -> dict[str, np.ndarray]:
  """Reads lazy arrays with a few threads.

  Args:
    leaves: the arrays by path.
    start: when the whole reading began (time.perf_counter).
    timer: gets the seconds since then of 'read' (bytes from the files) and
      'transform' (transposing, stacking). Threads do both at once: the wall
      time is shared out by the time that they spent on each.
  """
  reader = safetensors_file.Reader()
  out = {path: read(leaf, reader) for path, leaf in leaves.items()}
  reader.run()
  if timer is not None:
    wall = time.perf_counter() - start
    share = reader.transform / ((reader.read + reader.transform) or 1.0)
    timer['read'] = wall * (1 - share)
    timer['transform'] = wall * share
  return out


@contextlib.contextmanager
def timed(timer: dict[str, float] | None, name: str) -> Iterator[None]:
  """Adds the seconds inside to timer[name], where there is a timer."""
  start = time.perf_counter()
  yield
  if timer is not None:
    timer[name] = timer.get(name, 0.0) + time.perf_counter() - start
