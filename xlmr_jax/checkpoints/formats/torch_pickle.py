"""A pickle's object, put together without running the pickle.

A pickle is a program: Python's unpickler calls what it names. Here
`pickletools` only takes it apart, and a small machine of our own puts the
objects together. It knows the opcodes that torch.save writes, finds a name in
a table instead of a module, and calls nothing but the functions of this file.
So whoever asks what a file from a stranger can do reads this file alone: the
formats around the pickle, which know bytes and places, are in torch_file.

Not a subclass of `pickle.Unpickler`: that would still set any attribute on
what the table returns, look into copyreg's extensions, and make room for a
memo of any size that the file asks for.
"""

from collections.abc import Callable
import dataclasses
import functools
import math
import pathlib
import pickletools
from typing import Any

import numpy as np

from xlmr_jax.checkpoints.formats.safetensors_file import ITEMSIZE, Tensor

# torch's dtype → its storage class, where it has one, and our name.
TORCH_DTYPES = {
  'float64': ('DoubleStorage', 'F64'),
  'float32': ('FloatStorage', 'F32'),
  'float16': ('HalfStorage', 'F16'),
  'bfloat16': ('BFloat16Storage', 'BF16'),
  'int64': ('LongStorage', 'I64'),
  'int32': ('IntStorage', 'I32'),
  'int16': ('ShortStorage', 'I16'),
  'int8': ('CharStorage', 'I8'),
  'uint8': ('ByteStorage', 'U8'),
  'bool': ('BoolStorage', 'BOOL'),
  'uint64': (None, 'U64'),
  'uint32': (None, 'U32'),
  'uint16': (None, 'U16'),
  'float8_e4m3fn': (None, 'F8_E4M3'),
  'float8_e5m2': (None, 'F8_E5M2'),
}
STORAGES = {dtype: name for name, dtype in TORCH_DTYPES.values() if name}

# NumPy's dtypes that a scalar may have.
NUMBERS = frozenset('b1 i1 i2 i4 i8 u1 u2 u4 u8 f2 f4 f8'.split())


class Refused(ValueError):
  """The file is whole, but it is not read; the message is complete."""


class PlainObject:
  """An object of a training program, which nobody made: its values only.

  >>> checkpoint['args'].encoder_layers  # an argparse.Namespace
  12

  Its own attributes stand in `vars(args)`, beside:

  Attributes:
    kind: the class it was, 'argparse.Namespace'.
    args: what it was made of; of an enum's member, its value.
    items: what was put into it: elements, or pairs of key and value.
    state: what was set on it, where that was no dict of attributes.
  """

  __slots__ = ('__dict__', 'kind', 'args', 'items', 'state')

  def __init__(self, kind: str, *args):
    self.kind, self.args = kind, args
    self.items: list = []
    self.state: Any = None

  def __repr__(self):
    return f'<PlainObject: {self.kind}>'


@dataclasses.dataclass(frozen=True)
class Global:
  """A name in a pickle, which is never looked up in a module.

  Attributes:
    make: our function that is called in its place; without one it is a word.
    dtype: of a torch dtype or storage.
  """

  name: str
  make: Callable | None = None
  dtype: str | None = None


@dataclasses.dataclass(frozen=True)
class Storage:
  """Bytes that tensors are cut from."""

  file: pathlib.Path
  dtype: str
  start: int
  nbytes: int


@dataclasses.dataclass(frozen=True)
class _Strided:
  """A tensor that is not read; the dict it lands in knows its key."""

  shape: tuple[int, ...]
  strides: tuple[int, ...]


@dataclasses.dataclass
class _NumpyDtype:
  code: str
  order: str = '<'


# --- What a pickle may call -------------------------------------------------


def sizes(values) -> tuple[int, ...]:
  """Sizes as they are, or ValueError."""
  if type(values) is not tuple or len(values) > 64:
    raise ValueError('a shape is not a tuple of up to 64 sizes')
  for value in values:
    if type(value) is not int or not 0 <= value < 1 << 63:
      raise ValueError('a size is not an integer from 0 to 2^63 - 1')
  return values


def _tensor(
  storage, offset, shape, strides, grad=False, hooks=None, metadata=None
) -> Tensor | _Strided:
  if type(storage) is not Storage:
    raise ValueError('a tensor has no storage')
  if metadata:
    raise Refused(
      f'{storage.file} holds a tensor with its conjugate or negative bit set: '
      'save it again after .resolve_conj().resolve_neg()'
    )
  sizes((offset,))
  shape, strides = sizes(shape), sizes(strides)
  if len(shape) != len(strides):
    raise ValueError(f'a tensor of shape {shape} has strides {strides}')
  itemsize = ITEMSIZE[storage.dtype]
  count = math.prod(shape)
  if count:
    steps = zip(shape, strides, strict=True)
    last = offset + sum((n - 1) * stride for n, stride in steps)
    if (last + 1) * itemsize > storage.nbytes:
      raise ValueError(f'a tensor of shape {shape} is larger than its storage')
  start = storage.start + (offset * itemsize if count else 0)
  flipped = False
  if not _plain(shape, strides):
    flipped = len(shape) == 2 and _plain(shape[::-1], strides[::-1])
    if not flipped:
      return _Strided(shape, strides)
  nbytes = count * itemsize
  return Tensor(storage.file, storage.dtype, shape, start, nbytes, flipped)


def _plain(shape: tuple[int, ...], strides: tuple[int, ...]) -> bool:
  """Whether the values stand row by row; a size of 1 takes any stride."""
  if 0 in shape:
    return True
  step = 1
  for n, stride in zip(reversed(shape), reversed(strides), strict=True):
    if n != 1 and stride != step:
      return False
    step *= n
  return True


def _tensor_v3(
  storage, offset, shape, strides, grad, hooks, dtype, metadata=None
) -> Tensor | _Strided:
  """A tensor of a dtype that has no storage class: its storage is of bytes."""
  storage = dataclasses.replace(storage, dtype=dtype.dtype)
  return _tensor(storage, offset, shape, strides, grad, hooks, metadata)


def _parameter(data, grad, hooks, state=None) -> Tensor | _Strided:
  return data


def _size(values=()) -> tuple[int, ...]:
  return sizes(values)


def _key(key):
  """A key as it is. Tuples in tuples: their hash could exhaust C's stack."""
  if type(key) is tuple and any(type(part) is tuple for part in key):
    raise ValueError('a key is a tuple of tuples')
  return key


def _dict(pairs=()) -> dict:
  return {_key(key): value for key, value in pairs}


def _defaultdict(factory=None) -> dict:
  return {}


def _set(values=()) -> set:
  return {_key(value) for value in values}


def _encode(text, encoding) -> bytes:
  """Bytes, as protocol 2 writes them for both Pythons."""
  if encoding not in ('latin1', 'latin-1'):
    raise ValueError('bytes are written as latin1')
  return text.encode('latin-1')


def _numpy_dtype(code, *rest) -> _NumpyDtype:
  return _NumpyDtype(code)


def _numpy_scalar(dtype, data) -> np.generic:
  if type(dtype) is not _NumpyDtype or dtype.code not in NUMBERS:
    raise ValueError('a NumPy scalar is no number')
  data = data.encode('latin-1') if type(data) is str else data  # Python 2
  as_numpy = np.dtype(dtype.order + dtype.code)
  if type(data) is not bytes or len(data) != as_numpy.itemsize:
    raise ValueError('a NumPy scalar has too few or too many bytes')
  return np.frombuffer(data, as_numpy)[0]


def _globals() -> dict[str, Global]:
  """Every name a pickle may use, beside those of PROGRAMS."""
  makers: dict[str, Callable | None] = {
    'torch._utils._rebuild_tensor': _tensor,
    'torch._utils._rebuild_tensor_v2': _tensor,
    'torch._utils._rebuild_tensor_v3': _tensor_v3,
    'torch._utils._rebuild_parameter': _parameter,
    'torch._utils._rebuild_parameter_with_state': _parameter,
    'torch.Size': _size,
    'collections.OrderedDict': _dict,
    'collections.defaultdict': _defaultdict,
    'builtins.set': _set,
    '_codecs.encode': _encode,
    'numpy.dtype': _numpy_dtype,
    'numpy.core.multiarray.scalar': _numpy_scalar,
    'numpy._core.multiarray.scalar': _numpy_scalar,
  }
  # omegaconf keeps the types of its values: words, which make nothing. Two
  # are spelled as protocol 2 spells int and str for Python 2.
  words = 'dict list tuple str int float bool bytes long unicode'.split()
  makers |= {f'builtins.{name}': None for name in words}
  makers |= {'typing.Any': None, 'numpy.ndarray': None}
  settings = ['argparse.Namespace', 'torch.device']
  # An array of fairseq's own books, not of weights: kept, not rebuilt.
  settings += ['numpy.core.multiarray._reconstruct']
  settings += ['numpy._core.multiarray._reconstruct']
  for module in ('pathlib', 'pathlib._local'):
    for path in ('Path', 'PosixPath', 'WindowsPath'):
      settings += [f'{module}.{path}', f'{module}.Pure{path}']
  makers |= {name: functools.partial(PlainObject, name) for name in settings}
  table = {name: Global(name, make) for name, make in makers.items()}
  dtypes = {f'torch.{name}': dtype for name, (_, dtype) in TORCH_DTYPES.items()}
  dtypes |= {f'torch.{name}': dtype for dtype, name in STORAGES.items()}
  dtypes['torch.storage.UntypedStorage'] = 'U8'
  dtypes['torch.storage._UntypedStorage'] = 'U8'  # torch 1.11 and 1.12
  table |= {name: Global(name, None, dtype) for name, dtype in dtypes.items()}
  return table


GLOBALS = _globals()
# Programs whose every class is PlainObject: what trained XLM-R and COMET.
PROGRAMS = frozenset(
  'fairseq omegaconf pytorch_lightning lightning lightning_fabric'.split()
)


def _find(file: pathlib.Path, module, name) -> Global:
  """The entry of a name; nothing is ever imported for it."""
  if type(module) is not str or type(name) is not str:
    raise ValueError('a name in the pickle is not a string')
  module = 'builtins' if module == '__builtin__' else module  # Python 2
  full = f'{module}.{name}'
  if full in GLOBALS:
    return GLOBALS[full]
  if module.split('.')[0] in PROGRAMS:
    return Global(full, functools.partial(PlainObject, full))
  shown = full if full.isprintable() else ascii(full)
  raise Refused(
    f'{file} would run {shown[:200]} when it is unpickled: this is refused; '
    'take a file of tensors alone: safetensors, or a saved state_dict()'
  )


# --- The pickle's machine ---------------------------------------------------

# The opcodes that pickletools has decoded to the value they push. INT and
# BINSTRING are of Python 2, which wrote large integers and all strings so.
VALUES = frozenset(
  'INT BININT BININT1 BININT2 LONG1 LONG4 BINFLOAT BINSTRING SHORT_BINSTRING '
  'BINUNICODE SHORT_BINUNICODE BINUNICODE8 BINBYTES SHORT_BINBYTES '
  'BINBYTES8'.split()
)
CONSTANTS: dict[str, Any] = {'NONE': None, 'NEWTRUE': True, 'NEWFALSE': False}
CONSTANTS['EMPTY_TUPLE'] = ()
FRESH = {'EMPTY_DICT': dict, 'EMPTY_LIST': list, 'EMPTY_SET': set}
TUPLES = {'TUPLE1': 1, 'TUPLE2': 2, 'TUPLE3': 3}


def unpickle(stream, file: pathlib.Path, storage: Callable) -> Any:
  """The object of one pickle; the stream then stands behind it.

  Args:
    stream: a binary file, or a map of one.
    storage: persistent id → Storage.
  """
  stack: list = []
  below: list[list] = []  # the stacks under each mark
  memo: dict[Any, Any] = {}
  strided = None
  for opcode, arg, _ in pickletools.genops(stream):
    name = opcode.name
    if name in VALUES:
      stack.append(arg)
    elif name in CONSTANTS:
      stack.append(CONSTANTS[name])
    elif name in FRESH:
      stack.append(FRESH[name]())
    elif name in TUPLES:
      count = TUPLES[name]
      if len(stack) < count:
        raise ValueError('its stack is empty')
      stack[-count:] = [tuple(stack[-count:])]
    elif name in ('PROTO', 'FRAME'):
      pass
    elif name in ('BINPUT', 'LONG_BINPUT'):
      memo[arg] = stack[-1]
    elif name == 'MEMOIZE':
      memo[len(memo)] = stack[-1]
    elif name in ('BINGET', 'LONG_BINGET'):
      if arg not in memo:
        raise ValueError(f'its memo has no entry {arg}')
      stack.append(memo[arg])
    elif name == 'MARK':
      below.append(stack)
      stack = []
    elif name == 'POP':
      stack.pop()
    elif name in ('TUPLE', 'FROZENSET', 'POP_MARK'):
      values, stack = stack, below.pop()
      if name == 'TUPLE':
        stack.append(tuple(values))
      elif name == 'FROZENSET':
        stack.append(frozenset(_set(values)))
    elif name == 'APPEND':
      value = stack.pop()
      _append(stack[-1], [value])
    elif name in ('APPENDS', 'ADDITEMS'):
      values, stack = stack, below.pop()
      _append(stack[-1], values)
    elif name == 'SETITEM':
      values = [stack.pop(-2), stack.pop()]
      _set_items(file, stack[-1], values)
    elif name == 'SETITEMS':
      values, stack = stack, below.pop()
      _set_items(file, stack[-1], values)
    elif name == 'GLOBAL':
      stack.append(_find(file, *str(arg).split(' ', 1)))
    elif name == 'STACK_GLOBAL':
      stack.append(_find(file, stack.pop(-2), stack.pop()))
    elif name in ('REDUCE', 'NEWOBJ'):
      args = stack.pop()
      stack[-1] = _call(stack[-1], args)
      if type(stack[-1]) is _Strided:
        strided = stack[-1]
    elif name == 'BUILD':
      state = stack.pop()
      _build(stack[-1], state)
    elif name == 'BINPERSID':
      stack.append(storage(stack.pop()))
    elif name != 'STOP':
      raise ValueError(f'opcode {name} is none that torch.save writes')
  if strided:
    raise _refusal(file, 'a tensor outside any dict', strided)
  if below or len(stack) != 1:
    raise ValueError('its stack does not end with one object')
  return stack[0]


def _append(target, values: list) -> None:
  if type(target) is list:
    target.extend(values)
  elif type(target) is set:
    target.update(_set(values))
  elif type(target) is PlainObject:
    target.items.extend(values)
  else:
    raise ValueError(f'it appends to a {type(target).__name__}')


def _set_items(file: pathlib.Path, target, values: list) -> None:
  if len(values) % 2:
    raise ValueError('a key has no value')
  pairs = list(zip(values[::2], values[1::2], strict=True))
  if type(target) is PlainObject:
    target.items.extend(pairs)
  elif type(target) is dict:
    for key, value in pairs:
      target[_key(key)] = value
      if type(value) is _Strided:
        raise _refusal(file, repr(key), value)
  else:
    raise ValueError(f'it sets an item of a {type(target).__name__}')


def _call(target, args) -> Any:
  """Calls our function for a name; nothing else on the stack is called."""
  if type(target) is not Global or target.make is None:
    shown = target.name if type(target) is Global else type(target).__name__
    raise ValueError(f'it calls {shown[:200]}, which is nothing to call')
  if type(args) is not tuple:
    raise ValueError(f'it calls {target.name[:200]} without arguments')
  return target.make(*args)


def _build(target, state) -> None:
  """Sets a state; a state_dict's own, its _metadata, is of no use here."""
  if type(target) is PlainObject:
    # As pickle splits it: attributes, or (attributes, slots).
    parts = state if type(state) is tuple and len(state) == 2 else (state,)
    if all(part is None or type(part) is dict for part in parts):
      for part in parts:
        vars(target).update(part or {})
    else:
      target.state = state
  elif type(target) is _NumpyDtype:
    if type(state) is not tuple or len(state) < 2:
      raise ValueError('a NumPy dtype has no byte order')
    target.order = '>' if state[1] == '>' else '<'
  elif type(target) is not dict:
    raise ValueError(f'it sets the state of a {type(target).__name__}')


def _refusal(file: pathlib.Path, name: str, tensor: _Strided) -> Refused:
  return Refused(
    f'{file}: {name[:200]} has strides {tensor.strides} for the shape '
    f'{tensor.shape}, neither row by row nor transposed: save it again after '
    '.contiguous()'
  )
