"""PyTorch's files, read and written without PyTorch.

`torch.save` leaves a pickle beside the raw bytes of its storages. Two formats
are read: the zip archive of torch 1.6 and later, which is also written, and
the one before it. Only a tensor's place is read here; safetensors_file.Reader
reads its bytes. This file finds the pickle and the storages; torch_pickle reads
the pickle and alone decides what it may do.
"""

from collections.abc import Mapping
import io
import math
import mmap
import pathlib
import pickle
import struct
from typing import Any
import zipfile

import numpy as np

from xlmr_jax.checkpoints.formats import safetensors_file, torch_pickle
from xlmr_jax.checkpoints.formats.safetensors_file import ITEMSIZE

# The first two numbers of the older format (torch/serialization.py).
MAGIC, PROTOCOL = 0x1950A86A20F9469CFC6C, 1001

# What reading a broken file may run into.
BROKEN = (
  ArithmeticError,
  AttributeError,
  EOFError,
  LookupError,
  MemoryError,
  NotImplementedError,
  RuntimeError,
  TypeError,
  ValueError,
  struct.error,
  zipfile.BadZipFile,
)


def read(file) -> Any:
  """The object that torch.save wrote, with a `Tensor` for every tensor.

  No tensor's bytes are read, and none of the pickle's code runs. Dicts of all
  kinds are dicts, parameters are tensors, a class or a dtype is a
  `torch_pickle.Global`, and every other object of a training program is a
  `torch_pickle.PlainObject`.

  Raises:
    ValueError: the file is truncated, corrupt, or none of PyTorch's; it would
      run code; it is big-endian, compressed or of a kind that is not read; a
      tensor's strides are neither those of its shape nor of its transpose.
  """
  file = pathlib.Path(file)
  with open(file, 'rb') as f:
    if not f.seek(0, io.SEEK_END):
      raise ValueError(f'{file} is truncated: it is empty; copy it again')
    with mmap.mmap(f.fileno(), 0, access=mmap.ACCESS_READ) as data:
      try:
        if data[:4] == b'PK\3\4':
          return _read_zip(file, f, data)
        if data[257:262] == b'ustar':
          raise torch_pickle.Refused(
            f'{file} is a tar file, as the first versions of PyTorch wrote: '
            'load it with torch.load and save it again'
          )
        return _read_old(file, data)
      except torch_pickle.Refused:
        raise
      except BROKEN as e:
        why = str(e) if type(e) is ValueError else repr(e)
        raise ValueError(
          f'{file} is truncated, corrupt or no file of PyTorch: {why[:200]}; '
          'copy it again'
        ) from e


def _persistent(pid) -> tuple[str, str, int, Any]:
  """Dtype, key, count of elements and view of a storage's persistent id."""
  if type(pid) is not tuple or len(pid) not in (5, 6) or pid[0] != 'storage':
    raise ValueError('a persistent id is not that of a storage')
  _, kind, key, _, count, *view = pid
  if type(kind) is not torch_pickle.Global or kind.dtype is None:
    raise ValueError('a storage has no type')
  if not kind.name.endswith('Storage'):
    raise ValueError('a storage has no type')
  if type(key) is not str:
    raise ValueError("a storage's key is not a string")
  torch_pickle.sizes((count,))
  return kind.dtype, key, count, view[0] if view else None


def _no_storage(pid):
  raise ValueError('a storage stands where none may be')


def _read_zip(file: pathlib.Path, f, data: mmap.mmap) -> Any:
  with zipfile.ZipFile(f) as archive:
    infos = archive.infolist()
  members = {info.filename: info for info in infos}
  if len(members) != len(infos):
    raise ValueError('two members of the archive have one name')
  folders = [name[:-8] for name in members if name.endswith('/data.pkl')]
  if len(folders) != 1:
    raise ValueError(f'the archive has {len(folders)} members data.pkl')
  folder = folders[0]
  if f'{folder}constants.pkl' in members:
    raise torch_pickle.Refused(
      f'{file} is a TorchScript program: save the state_dict() of the model it '
      'was made of'
    )

  def place(name: str) -> tuple[int, int]:
    """A member's first byte and its size."""
    if name not in members:
      raise ValueError(f'the archive has no member {name[:200]!r}')
    info = members[name]
    if info.compress_type != zipfile.ZIP_STORED or info.flag_bits & 1:
      raise torch_pickle.Refused(
        f'{file}: {name[:200]!r} is compressed or encrypted, and torch.save '
        'does neither: load it with torch.load and save it again'
      )
    # The name and the extra fields before the bytes may have other lengths
    # than in the archive's directory: torch pads them to align the bytes.
    head = info.header_offset
    if head < 0 or data[head : head + 4] != b'PK\3\4':
      raise ValueError(f'{name[:200]!r} is not where the directory says')
    name_size, extra_size = struct.unpack('<HH', data[head + 26 : head + 30])
    start = head + 30 + name_size + extra_size
    if start + info.file_size > len(data):
      raise ValueError(f'{name[:200]!r} ends behind the end of the file')
    return start, info.file_size

  def member(name: str) -> bytes:
    start, size = place(name)
    return data[start : start + size]

  def storage(pid) -> torch_pickle.Storage:
    dtype, key, count, view = _persistent(pid)
    start, size = place(f'{folder}data/{key}')
    nbytes = count * ITEMSIZE[dtype]
    if view is not None or nbytes > size:
      raise ValueError(
        f'storage {key[:200]!r} has {size} bytes and should have {nbytes}'
      )
    return torch_pickle.Storage(file, dtype, start, nbytes)

  order = f'{folder}byteorder'
  if order in members and member(order) != b'little':
    raise _big_endian(file)
  return torch_pickle.unpickle(
    io.BytesIO(member(f'{folder}data.pkl')), file, storage
  )


def _read_old(file: pathlib.Path, data: mmap.mmap) -> Any:
  """Five pickles, of which the fourth is the object, then the storages."""
  if torch_pickle.unpickle(data, file, _no_storage) != MAGIC:
    raise ValueError('it does not begin with the magic number')
  if torch_pickle.unpickle(data, file, _no_storage) != PROTOCOL:
    raise ValueError(f'the version of its format is not {PROTOCOL}')
  if not torch_pickle.unpickle(data, file, _no_storage)['little_endian']:
    raise _big_endian(file)
  begin = data.tell()
  held: dict[str, tuple[str, int]] = {}
  starts: dict[str, int] = {}

  def storage(pid) -> torch_pickle.Storage:
    dtype, key, count, view = _persistent(pid)
    if held.setdefault(key, (dtype, count)) != (dtype, count):
      raise ValueError(f'storage {key[:200]!r} is described twice')
    start = starts.get(key, 0)
    if view is not None:  # before torch 0.4 a storage could be part of one
      _, offset, size = view
      torch_pickle.sizes((offset, size))
      if offset + size > count:
        raise ValueError(f'a view is larger than its storage {key[:200]!r}')
      start, count = start + offset * ITEMSIZE[dtype], size
    return torch_pickle.Storage(file, dtype, start, count * ITEMSIZE[dtype])

  # Where the storages stand can be told only after the pickle: it is read
  # once for their sizes, and again for the tensors in them.
  torch_pickle.unpickle(data, file, storage)
  for key in torch_pickle.unpickle(data, file, _no_storage):
    dtype, count = held[key]
    start = data.tell() + 8
    end = start + count * ITEMSIZE[dtype]
    if end > len(data):
      raise ValueError(f'it has {len(data)} bytes and should have {end}')
    if int.from_bytes(data.read(8), 'little') != count:
      raise ValueError(f'storage {key[:200]!r} does not have {count} elements')
    starts[key] = start
    data.seek(end)
  if missing := held.keys() - starts.keys():
    raise ValueError(f'the bytes of storage {min(missing)[:200]!r} are missing')
  data.seek(begin)
  return torch_pickle.unpickle(data, file, storage)


def _big_endian(file: pathlib.Path) -> torch_pickle.Refused:
  return torch_pickle.Refused(
    f'{file} is big-endian, and only little-endian files are read: load it '
    'with torch.load and save it again on a little-endian machine'
  )


def write(file, arrays: Mapping[str, np.ndarray]) -> None:
  """Writes a state dict that torch.load(weights_only=True) reads.

  Args:
    file: is written over.
    arrays: key → array of float64, float32, float16, bfloat16 or int64.

  Raises:
    ValueError: a key is no string, or an array has another dtype.
  """
  dtypes = {dtype: name for name, dtype in safetensors_file.DTYPES.items()}
  dtypes[np.dtype(np.int64)] = 'I64'

  def value(x) -> bytes:
    return pickle.dumps(x, 2)[2:-1]  # without PROTO and STOP

  def call(function: str, *args: bytes) -> bytes:
    module, name = function.rsplit('.', 1)
    head = pickle.GLOBAL + f'{module}\n{name}\n'.encode() + pickle.MARK
    return head + b''.join(args) + pickle.TUPLE + pickle.REDUCE

  program = [pickle.PROTO + b'\2', call('collections.OrderedDict'), pickle.MARK]
  members: dict[str, bytes | memoryview] = {'data.pkl': b''}
  members['byteorder'] = b'little'
  for i, (key, array) in enumerate(arrays.items()):
    if type(key) is not str or array.dtype not in dtypes:
      raise ValueError(
        f'{file}: {key!r} with dtype {array.dtype} is not written: a key is a '
        f'string, and a dtype one of {", ".join(map(str, dtypes))}'
      )
    array = np.asarray(array, order='C')
    members[f'data/{i}'] = array.reshape(-1).view(np.uint8).data
    strides = tuple(math.prod(array.shape[k + 1 :]) for k in range(array.ndim))
    kind = f'torch\n{torch_pickle.STORAGES[dtypes[array.dtype]]}\n'.encode()
    storage = [pickle.MARK, value('storage'), pickle.GLOBAL, kind]
    storage += [value(str(i)), value('cpu'), value(array.size)]
    storage += [pickle.TUPLE, pickle.BINPERSID]
    tensor = [b''.join(storage), value(0), value(array.shape), value(strides)]
    tensor += [value(False), call('collections.OrderedDict')]
    program += [value(key), call('torch._utils._rebuild_tensor_v2', *tensor)]
  program += [pickle.SETITEMS, pickle.STOP]
  members['data.pkl'] = b''.join(program)
  members['version'] = b'3\n'
  with open(file, 'wb') as f, zipfile.ZipFile(f, 'w') as archive:
    for name, data in members.items():
      info = zipfile.ZipInfo(f'archive/{name}')
      # Like torch.save, at a multiple of 64 bytes: for torch.load(mmap=True).
      pad = -(f.tell() + 30 + len(info.filename) + 4) % 64
      info.extra = struct.pack('<2sH', b'FB', pad) + b'Z' * pad
      archive.writestr(info, data)
