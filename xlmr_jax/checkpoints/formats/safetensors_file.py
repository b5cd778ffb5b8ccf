"""Bytes of safetensors files ↔ arrays.

The format: eight bytes of length, that much JSON (key → dtype, shape, place),
then the tensors' bytes. Reading is limited by memory traffic, so each tensor
goes straight from the file to where it stays, transposed on the way where a
destination is transposed, by a few threads. Writing holds one tensor at a
time.
"""

from collections.abc import Callable, Mapping
from concurrent import futures
import dataclasses
import json
import math
import mmap
import pathlib
import threading
import time

import ml_dtypes
import numpy as np

from xlmr_jax.runtime.cores import usable_cores

# The format's names of the dtypes a parameter may have.
DTYPES = {
  'F64': np.dtype(np.float64),
  'F32': np.dtype(np.float32),
  'F16': np.dtype(np.float16),
  'BF16': np.dtype(ml_dtypes.bfloat16),
}
DTYPE_NAMES = {dtype: name for name, dtype in DTYPES.items()}

# Every dtype's bytes: a file may hold buffers that nobody reads.
ITEMSIZE = {name: dtype.itemsize for name, dtype in DTYPES.items()}
ITEMSIZE |= {'I64': 8, 'U64': 8, 'I32': 4, 'U32': 4, 'I16': 2, 'U16': 2}
ITEMSIZE |= {'I8': 1, 'U8': 1, 'BOOL': 1, 'F8_E4M3': 1, 'F8_E5M2': 1}

# A matrix is transposed in slabs of this many rows. Rows a power of two apart
# share their cache sets, so a slab's rows are set SKEW bytes further apart:
# 1.3-2.5x faster than transposing the bytes where they were read.
SLAB, SKEW = 256, 128
CHUNK = 8 << 20  # bytes of one plain read


@dataclasses.dataclass(frozen=True)
class Tensor:
  """Where a tensor's bytes stand.

  Attributes:
    flipped: the bytes are those of the transpose, row by row, as a PyTorch
      file may hold a matrix that came from Flax or TensorFlow. `shape` is the
      tensor's own all the same.
  """

  file: pathlib.Path
  dtype: str
  shape: tuple[int, ...]
  start: int
  nbytes: int
  flipped: bool = False


def header(file: pathlib.Path) -> tuple[dict[str, Tensor], dict | None]:
  """A file's tensors in the order of their bytes, and its metadata.

  Raises:
    ValueError: truncated, corrupt, or a key set twice.
  """

  def once(pairs):
    out = {}
    for key, value in pairs:
      if key in out:
        raise ValueError(f'key {key!r} is set twice')
      out[key] = value
    return out

  size = file.stat().st_size
  with open(file, 'rb') as f:
    length = int.from_bytes(f.read(8), 'little')
    if size < 8 + length:
      raise ValueError(
        f'{file} is truncated or no safetensors file: it has {size} bytes, and '
        f'its header alone should have {length}; copy it again'
      )
    text = f.read(length)
  try:
    entries = json.loads(text, object_pairs_hook=once)
    metadata = entries.pop('__metadata__', None)
    tensors = {}
    for key, entry in entries.items():
      start, end = entry['data_offsets']
      dtype, shape = entry['dtype'], tuple(entry['shape'])
      if end - start != math.prod(shape) * ITEMSIZE[dtype]:
        raise ValueError(f'{key!r} has {end - start} bytes')
      tensors[key] = Tensor(file, dtype, shape, 8 + length + start, end - start)
  except (ValueError, KeyError, TypeError, AttributeError) as e:
    raise ValueError(f'{file} is corrupt: its header does not read: {e}') from e
  tensors = dict(sorted(tensors.items(), key=lambda item: item[1].start))
  place = 8 + length
  for key, tensor in tensors.items():
    if tensor.start != place:
      raise ValueError(f'{file} is corrupt: a gap or overlap before {key!r}')
    place += tensor.nbytes
  if place != size:
    raise ValueError(
      f'{file} is {"truncated" if size < place else "corrupt"}: it has {size} '
      f'bytes, and by its header it should have {place}; copy it again'
    )
  return tensors, metadata


def aligned(shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
  """Empty, at a multiple of 64 bytes: JAX takes it on a CPU without a copy.

  The memory comes from the system in small pages. NumPy asks for huge ones,
  and on virtual machines that get their memory as they touch it the first
  load of a process was then 2.5x slower.
  """
  nbytes = math.prod(shape) * dtype.itemsize
  if hasattr(mmap, 'MAP_ANONYMOUS'):
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
    buffer = np.frombuffer(mmap.mmap(-1, nbytes, flags=flags), np.uint8)
  else:
    buffer = np.empty(nbytes + 64, np.uint8)
    buffer = buffer[-buffer.ctypes.data % 64 :][:nbytes]
  return buffer.view(dtype).reshape(shape)


def _fill(array: np.ndarray, file: pathlib.Path, start: int) -> None:
  """Fills a contiguous array with a file's bytes from `start`."""
  view = array.reshape(-1).view(np.uint8).data
  with open(file, 'rb', buffering=0) as f:
    f.seek(start)
    while view:
      count = f.readinto(view)
      if not count:
        raise ValueError(f'{file} ended while it was read; copy it again')
      view = view[count:]


def _bits(tensor: Tensor) -> np.ndarray:
  """A tensor's bits in its own shape, mapped: they are read when used."""
  shape = tensor.shape[::-1] if tensor.flipped else tensor.shape
  dtype = np.dtype(f'u{ITEMSIZE[tensor.dtype]}')
  if not tensor.nbytes:  # nothing cannot be mapped
    return np.empty(tensor.shape, dtype)
  array = np.memmap(tensor.file, dtype, 'r', tensor.start, shape)
  return array.T if tensor.flipped else array


def raw(tensor: Tensor) -> bytes:
  """A tensor's bytes, row by row of its own shape."""
  if tensor.flipped:
    return _bits(tensor).tobytes()
  data = np.empty(tensor.nbytes, np.uint8)
  _fill(data, tensor.file, tensor.start)
  return data.tobytes()


def same(a: Tensor, b: Tensor) -> bool:
  """Whether two tensors hold the same bits, whatever their layouts."""
  if a == b:  # tied in a PyTorch file: one place, nothing to read
    return True
  if (a.dtype, a.shape) != (b.dtype, b.shape):
    return False
  if a.flipped != b.flipped:
    u, v = _bits(a), _bits(b)
    slabs = (slice(i, i + SLAB) for i in range(0, len(u), SLAB))
    return all(np.array_equal(u[slab], v[slab]) for slab in slabs)
  x, y = np.empty((2, min(CHUNK, a.nbytes)), np.uint8)
  for i in range(0, a.nbytes, CHUNK):
    n = min(CHUNK, a.nbytes - i)
    _fill(x[:n], a.file, a.start + i)
    _fill(y[:n], b.file, b.start + i)
    if not np.array_equal(x[:n], y[:n]):
      return False
  return True


class Reader:
  """Copies tensors into arrays with a few threads.

  >>> reader = Reader()
  >>> reader.add(tensor, array)                   # array[...] = tensor
  >>> reader.add(weight, kernel, transpose=True)  # kernel[...] = weight.T
  >>> reader.run()

  Attributes:
    read: seconds the threads spent on reading.
    transform: seconds they spent on transposing and casting.
  """

  def __init__(self):
    self.read = self.transform = 0.0
    self._jobs: list[tuple[Callable, tuple]] = []
    self._lock = threading.Lock()
    self._local = threading.local()

  def add(self, tensor: Tensor, out: np.ndarray, transpose=False) -> None:
    """Plans a copy; `run` does it."""
    if tensor.flipped:  # the file has already made the transpose
      shape = tensor.shape[::-1]
      tensor = dataclasses.replace(tensor, shape=shape, flipped=False)
      transpose = not transpose
    dtype = DTYPES[tensor.dtype]
    if not transpose and out.dtype == dtype and out.flags.c_contiguous:
      flat = out.reshape(-1)
      step = CHUNK // dtype.itemsize
      for i in range(0, flat.size, step):
        start = tensor.start + i * dtype.itemsize
        self._jobs.append((self._plain, (tensor, start, flat[i : i + step])))
      return
    width = math.prod(tensor.shape[1:])
    for i in range(0, tensor.shape[0], SLAB):
      start = tensor.start + i * width * dtype.itemsize
      part = out.T[i : i + SLAB] if transpose else out[i : i + SLAB]
      self._jobs.append((self._slab, (tensor, start, part)))

  def run(self) -> None:
    """Does what was planned; an error in any thread is raised here."""
    jobs, self._jobs = self._jobs, []
    with futures.ThreadPoolExecutor(min(8, usable_cores())) as pool:
      for done in [pool.submit(job, *args) for job, args in jobs]:
        done.result()

  def _plain(self, tensor: Tensor, start: int, out: np.ndarray) -> None:
    begin = time.perf_counter()
    _fill(out, tensor.file, start)
    with self._lock:
      self.read += time.perf_counter() - begin

  def _slab(self, tensor: Tensor, start: int, out: np.ndarray) -> None:
    begin = time.perf_counter()
    dtype = DTYPES[tensor.dtype]
    rows = out.shape[0]
    width = out.size // rows
    slab = self._scratch('slab', (rows, width), dtype)
    _fill(slab, tensor.file, start)
    middle = time.perf_counter()
    skewed = self._scratch(
      'skewed', (rows, width + SKEW // dtype.itemsize), dtype
    )
    skewed = skewed[:, :width]
    skewed[...] = slab
    out[...] = skewed if out.ndim == 2 else skewed.reshape(out.shape)
    end = time.perf_counter()
    with self._lock:
      self.read += middle - begin
      self.transform += end - middle

  def _scratch(self, name: str, shape, dtype: np.dtype) -> np.ndarray:
    """This thread's buffer: fresh memory would cost its page faults."""
    nbytes = math.prod(shape) * dtype.itemsize
    buffer = getattr(self._local, name, None)
    if buffer is None or buffer.size < nbytes:
      buffer = np.empty(nbytes, np.uint8)
      setattr(self._local, name, buffer)
    return buffer[:nbytes].view(dtype).reshape(shape)


def write(
  file: pathlib.Path,
  arrays: Mapping[str, tuple[np.ndarray, str]],
  metadata: dict | None = None,
) -> None:
  """Writes one file: key → (array, dtype to store it in), in their order."""
  head: dict = {} if metadata is None else {'__metadata__': metadata}
  place = 0
  for key, (array, dtype) in arrays.items():
    end = place + array.size * ITEMSIZE[dtype]
    head[key] = {
      'dtype': dtype,
      'shape': list(array.shape),
      'data_offsets': [place, end],
    }
    place = end
  text = json.dumps(head, separators=(',', ':'), ensure_ascii=False).encode()
  text += b' ' * (-len(text) % 8)
  with open(file, 'wb') as f:
    f.write(len(text).to_bytes(8, 'little') + text)
    for array, dtype in arrays.values():
      array = np.ascontiguousarray(array, DTYPES[dtype])
      f.write(array.reshape(-1).view(np.uint8).data)
