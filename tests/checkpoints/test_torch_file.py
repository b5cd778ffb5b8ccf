"""PyTorch's files are read as torch reads them, and nothing in them runs."""

import argparse
import collections
import copyreg
import enum
import io
import os
import pathlib
import pickle
import subprocess
import sys
import tarfile
import types
import typing
import zipfile

import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import save_file
import torch

from xlmr_jax.checkpoints.formats import (
  safetensors_file,
  torch_file,
  torch_pickle,
)
from xlmr_jax.checkpoints.formats.safetensors_file import Tensor

FORMATS = {'zip': True, 'old': False}
NAMES = {
  getattr(torch, name): ours
  for name, (_, ours) in torch_pickle.TORCH_DTYPES.items()
}


@pytest.fixture(params=FORMATS)
def save(request, tmp_path):
  """Saves an object in one of the two formats."""

  def save(obj, name='x.bin', **options) -> pathlib.Path:
    new = FORMATS[request.param]
    torch.save(
      obj, tmp_path / name, _use_new_zipfile_serialization=new, **options
    )
    return tmp_path / name

  return save


def bits(tensor: torch.Tensor) -> bytes:
  flat = tensor.detach().contiguous().reshape(-1)
  return flat.view(torch.uint8).numpy().tobytes()


def assert_same(ours, theirs):
  """One object as we read it, and as torch did."""
  if isinstance(theirs, torch.Tensor):
    assert type(ours) is Tensor and ours.dtype == NAMES[theirs.dtype]
    assert ours.shape == tuple(theirs.shape)
    assert ours.nbytes == theirs.numel() * theirs.element_size()
    assert safetensors_file.raw(ours) == bits(theirs)
  elif isinstance(theirs, argparse.Namespace):
    assert ours.kind == 'argparse.Namespace'
    assert_same(vars(ours), vars(theirs))
  elif isinstance(theirs, dict):
    assert type(ours) is dict and list(ours) == list(theirs)
    for key, value in theirs.items():
      assert_same(ours[key], value)
  elif isinstance(theirs, list | tuple):
    assert isinstance(ours, list | tuple) and len(ours) == len(theirs)
    for a, b in zip(ours, theirs, strict=True):
      assert_same(a, b)
  else:
    assert ours == theirs and type(ours) is type(theirs)


def archive(file: pathlib.Path, program: bytes, **members) -> pathlib.Path:
  """A zip as torch writes it, around a pickle made by hand."""
  with zipfile.ZipFile(file, 'w') as z:
    z.writestr('archive/data.pkl', program)
    for name, data in members.items():
      z.writestr(f'archive/{name}', data)
    z.writestr('archive/data/0', bytes(64))
  return file


def old(file: pathlib.Path, program: bytes, info=None) -> pathlib.Path:
  """The older format around a pickle made by hand, without storages."""
  info = info or pickle.dumps({'little_endian': True}, 2)
  head = pickle.dumps(torch_file.MAGIC, 2) + pickle.dumps(
    torch_file.PROTOCOL, 2
  )
  file.write_bytes(head + info + program + pickle.dumps([], 2))
  return file


# --- What torch.save wrote --------------------------------------------------


class Linears(torch.nn.Module):
  """Two layers that share their weight, and a buffer."""

  def __init__(self):
    super().__init__()
    self.a, self.b = torch.nn.Linear(7, 7), torch.nn.Linear(7, 7)
    self.b.weight = self.a.weight
    self.register_buffer('ids', torch.arange(9).expand((1, -1)))


@pytest.mark.parametrize('dtype', NAMES)
def test_every_dtype(save, dtype):
  values = torch.arange(-6, 6).to(dtype)
  obj = {
    'a': values.reshape(3, 4),
    'b': values.reshape(2, 3, 2),
    'scalar': values[3].clone(),
    'view': values[5:9],
    'empty': values[:0],
    'flat': values.reshape(3, 4)[:, :0],
    'one': values.reshape(1, 12).T,
  }
  file = save(obj)
  ours = torch_file.read(file)
  # Not torch.load's: it fails where the older format holds a uint16.
  assert_same(ours, obj)
  assert ours['scalar'].shape == () and ours['flat'].shape == (3, 0)
  itemsize = values.element_size()
  assert ours['view'].start - ours['a'].start == 5 * itemsize
  assert not any(tensor.flipped for tensor in ours.values())


def test_a_state_dict_and_its_ties(save):
  file = save(Linears().state_dict())
  ours = torch_file.read(file)
  assert_same(ours, torch.load(file))
  assert ours['a.weight'].start == ours['b.weight'].start
  assert ours['a.bias'].start != ours['b.bias'].start


@pytest.mark.parametrize('protocol', (2, 3, 4, 5))
def test_what_a_training_program_saves(save, protocol):
  """As fairseq nests it; parameters are tensors."""
  model = Linears()
  model.a.bias.mark = 'mine'  # goes out by another function
  optimizer = torch.optim.Adam(model.parameters())
  sum(p.sum() for p in model.parameters()).backward()
  optimizer.step()
  obj = {
    'args': argparse.Namespace(arch='roberta_base', layers=12, p=None, l=[1.5]),
    'model': collections.OrderedDict(model.named_parameters()),
    'extra': {
      'epoch': 3,
      'big': (1 << 40, -(1 << 70), True, b'\0\xff', 'Ä'),
      'best': np.float64(0.25),
      'seen': np.int64(-7),
      'size': torch.Size([3, 4]),
      'nested': [({'x': torch.ones(2)},), []],
      'book': collections.defaultdict(list, a=[1]),
      ('a', 1): {1, 2},
    },
    'last_optimizer_state': optimizer.state_dict(),
  }
  file = save(obj, pickle_protocol=protocol)
  assert_same(torch_file.read(file), torch.load(file, weights_only=False))


def test_a_list_that_holds_itself(save):
  """Pickle's memo; a tuple in a circle takes opcodes of its own."""
  circle: list = []
  circle.append((circle, 1))
  ours = torch_file.read(save({'c': circle, 't': torch.ones(1)}))['c']
  assert ours[0][0] is ours and ours[0][1] == 1


def test_python_2_wrote_strings_and_numbers_otherwise(tmp_path):
  program = (
    b'\x80\x02}(U\x03abcI1\nU\x01bI4294967296\nT\x01\0\0\0c'
    b'cnumpy.core.multiarray\nscalar\ncnumpy\ndtype\nU\x02f8K\0K\1\x87R'
    b'(K\x03U\x01<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\0tb'
    b'U\x08\0\0\0\0\0\0\xf8?\x86R'
    b'U\x01dccollections\nOrderedDict\n](](U\x01xK\x05ee\x85Ru.'
  )
  want = {'abc': 1, 'b': 1 << 32, 'c': 1.5, 'd': {'x': 5}}
  assert pickle.loads(program, encoding='latin-1') == want
  for file in (archive(tmp_path / 'a', program), old(tmp_path / 'b', program)):
    ours = torch_file.read(file)
    assert ours == want and type(ours['c']) is np.float64
  program = program.replace(b'U\x01<', b'U\x01>')  # of a big-endian machine
  want['c'] = np.float64(1.5).byteswap()
  assert pickle.loads(program, encoding='latin-1') == want
  assert torch_file.read(archive(tmp_path / 'a', program)) == want


def test_values_go_where_they_belong(save, monkeypatch):
  """Megabytes, in pieces; both layouts, both directions, with a cast."""
  monkeypatch.setattr(safetensors_file, 'CHUNK', 100_000)
  rng = torch.Generator().manual_seed(0)
  a = torch.randn(1501, 1003, generator=rng)
  half = a[:99, :70].half().contiguous()
  file = save({'a': a, 'flipped': a.T, 'half': half.T})
  assert file.stat().st_size > 6_000_000
  ours = torch_file.read(file)
  assert_same(ours, torch.load(file))
  flipped = {key: tensor.flipped for key, tensor in ours.items()}
  assert flipped == {'a': False, 'flipped': True, 'half': True}
  reader, outs = safetensors_file.Reader(), []
  for key, theirs in torch.load(file).items():
    for transpose in (False, True):
      want = theirs.T.numpy() if transpose else theirs.numpy()
      for dtype in (want.dtype, np.float64):
        outs.append((np.empty(want.shape, dtype), want))
        reader.add(ours[key], outs[-1][0], transpose=transpose)
  reader.run()
  assert len(outs) == 12
  for out, want in outs:
    np.testing.assert_array_equal(out, want)


def test_a_flipped_tensor_is_copied_plainly_into_its_transpose(save):
  """No slab is made where the file has already made the transpose."""
  tensor = torch_file.read(save({'x': torch.randn(30, 20).T}))['x']
  reader = safetensors_file.Reader()
  reader.add(tensor, np.empty((30, 20), np.float32), transpose=True)
  assert [job.__name__ for job, _ in reader._jobs] == ['_plain']


def test_same_compares_values(save):
  a = torch.randn(300, 20)
  b = a.clone()
  b[299, 19] += 1
  ours = torch_file.read(
    save({'a': a, 'f': a.T.contiguous().T, 'b': b.T.contiguous().T, 'c': b})
  )
  assert ours['f'].flipped and ours['b'].flipped and not ours['a'].flipped
  for x, y, want in ('afT', 'acF', 'faT', 'ffT', 'abF', 'fbF', 'cbT', 'fcF'):
    assert safetensors_file.same(ours[x], ours[y]) == (want == 'T'), (x, y)
  ours['a'].file.unlink()
  assert safetensors_file.same(ours['a'], ours['a'])  # one place is not read


def test_other_strides_are_named(save):
  a = torch.arange(24.0)
  for bad in (
    a.reshape(4, 6)[:, 1:4],
    a.reshape(4, 6)[:, 0],
    a.reshape(2, 3, 4).transpose(0, 1),
    a.reshape(2, 3, 4).permute(2, 1, 0),
    a[:1].expand(3),
  ):
    file = save({'model': {'ok': a, 'layer.weight': bad}})
    with pytest.raises(ValueError, match=r"'layer\.weight' has strides.*conti"):
      torch_file.read(file)
    parameter = torch.nn.Parameter(bad)
    with pytest.raises(ValueError, match="'p' has strides"):
      torch_file.read(save({'p': parameter}))
    with pytest.raises(ValueError, match='outside any dict has strides'):
      torch_file.read(save([(bad,)]))


def test_a_storage_behind_four_gigabytes(tmp_path):
  """zip64: the places in the directory have eight bytes."""
  file = tmp_path / 'x.bin'
  torch_file.write(file, {'a': np.zeros(3, np.float32)})
  with zipfile.ZipFile(file) as z:
    program = z.read('archive/data.pkl')
  want = np.array([1, 2, 3], np.float32)
  with open(file, 'wb') as f, zipfile.ZipFile(f, 'w') as z:
    z.writestr('archive/data.pkl', program)
    z.writestr('archive/version', b'3\n')
    z.start_dir = 5 << 30  # a hole, which takes no room on the disk
    z.writestr('archive/data/0', want.tobytes())
  tensor = torch_file.read(file)['a']
  assert tensor.start > 5 << 30
  assert safetensors_file.raw(tensor) == want.tobytes()
  assert torch.load(file)['a'].tolist() == [1, 2, 3]


# --- Settings ---------------------------------------------------------------


class Metadata:
  """Stands for classes of fairseq and omegaconf, which are not installed."""

  __module__ = 'fairseq.dataclass'


class Choice(enum.Enum):
  __module__ = 'fairseq.dataclass'
  SOFT = 'soft'


class Books(dict):
  __module__ = 'fairseq.dataclass'


class Pages(list):
  __module__ = 'fairseq.dataclass'


class Slots:
  __module__ = 'fairseq.dataclass'
  __slots__ = ('x',)


def test_settings_keep_what_was_set_on_them(save, monkeypatch):
  module = types.ModuleType('fairseq.dataclass')
  for cls in (Metadata, Choice, Books, Pages, Slots):
    setattr(module, cls.__name__, cls)
  fairseq = types.ModuleType('fairseq')
  fairseq.dataclass = module
  monkeypatch.setitem(sys.modules, 'fairseq', fairseq)
  monkeypatch.setitem(sys.modules, 'fairseq.dataclass', module)
  data = Metadata()
  data.any, data.kind, data.types = typing.Any, 'x', [dict, int, str]
  data.choice, data.path = Choice.SOFT, pathlib.PurePosixPath('/a/b')
  data.tensor = torch.ones(2)
  books, pages, slots = Books(a=1), Pages([1, 2]), Slots()
  books.name, slots.x = 'n', 3
  file = save(
    {
      'data': data,
      'books': books,
      'pages': pages,
      'slots': slots,
      'device': torch.device('cuda', 1),
      'dtype': torch.bfloat16,
      'array': np.arange(3),
      'words': np.array(['a', None], object),
    }
  )
  # Now they are as far away as on any other machine.
  monkeypatch.undo()
  ours = torch_file.read(file)
  assert 'fairseq' not in sys.modules
  data = ours['data']
  assert data.kind == 'fairseq.dataclass.Metadata'
  assert vars(data)['kind'] == 'x'
  assert data.any == torch_pickle.Global('typing.Any')
  assert [t.name for t in data.types][0] == 'builtins.dict'
  assert data.choice.kind == 'fairseq.dataclass.Choice'
  assert data.choice.args == ('soft',)
  assert data.path.kind.endswith('.PurePosixPath')
  assert data.path.args == ('/', 'a', 'b')
  assert type(data.tensor) is Tensor
  assert ours['books'].items == [('a', 1)] and ours['books'].name == 'n'
  assert ours['pages'].items == [1, 2] and ours['slots'].x == 3
  assert ours['device'].args == ('cuda', 1)
  assert ours['dtype'].name == 'torch.bfloat16'
  assert ours['dtype'].dtype == 'BF16'
  for key in ('array', 'words'):
    assert ours[key].kind.endswith('_reconstruct'), key
  assert ours['array'].state[4] == np.arange(3).tobytes()
  with pytest.raises(AttributeError, match='nothing'):
    _ = data.nothing


# --- What would run ---------------------------------------------------------


class Runs:
  """Unpickled, it calls a function with arguments."""

  def __init__(self, *call):
    self.call = call

  def __reduce__(self):
    return self.call


class RunsLater(Runs):
  """The same by the sixth place of __reduce__, a function that sets a state."""

  def __reduce__(self):
    function, args = self.call
    return collections.OrderedDict, (), args[0], None, None, function


CALLS = {
  'system': lambda canary: (os.system, (f'touch {canary}',)),
  'eval': lambda canary: (eval, (f'open({str(canary)!r}, "w")',)),
  'popen': lambda canary: (subprocess.call, (['touch', str(canary)],)),
}
PLACES = {
  'top': lambda x: x,
  'value': lambda x: {'a': torch.ones(2), 'b': x},
  'key': lambda x: {x: 1},
  'deep': lambda x: {'a': [({'b': [x]},)]},
  'state': lambda x: argparse.Namespace(a=x),
  'parameter': lambda x: collections.OrderedDict(a=[torch.ones(1), (x,)]),
}
MESSAGE = 'would run .* when it is unpickled: this is refused'


@pytest.mark.parametrize('place', PLACES)
@pytest.mark.parametrize('call', CALLS)
def test_a_call_is_refused(save, tmp_path, call, place):
  canary = tmp_path / 'canary'
  file = save(PLACES[place](Runs(*CALLS[call](canary))))
  with pytest.raises(ValueError, match=MESSAGE) as error:
    torch_file.read(file)
  assert str(file) in str(error.value)
  assert not canary.exists()
  # The bird does die of a reader that trusts.
  try:
    torch.load(file, weights_only=False)
  except TypeError:  # what came back is no key
    pass
  assert canary.exists()


def test_the_function_is_named(save):
  cases = {
    'posix.system': Runs(os.system, ('true',)),
    'builtins.eval': Runs(eval, ('1',)),
    'builtins.getattr': Runs(getattr, (argparse.Namespace, '__init__')),
    'builtins.exec': RunsLater(exec, ('1',)),
    'torch.serialization.load': Runs(torch.load, ('x',)),
    'torch.hub.load': Runs(torch.hub.load, ('x',)),
    'torch.nn.modules.linear.Linear': torch.nn.Linear(2, 2),
    'argparse.ArgumentParser': Runs(argparse.ArgumentParser, ()),
    'collections.Counter': collections.Counter('a'),
    'numpy.load': Runs(np.load, ('x',)),
  }
  for name, obj in cases.items():
    with pytest.raises(ValueError, match=f'would run {name} when'):
      torch_file.read(save({'x': obj}))


def test_names_that_only_look_known(tmp_path):
  names = (
    ('fairseqx.a', 'b'),
    ('torch', 'load'),
    ('torch', '_utils._rebuild_tensor_v2.__globals__'),
    ('torch.storage', '_load_from_bytes'),
    ('torch._utils', '_rebuild_tensor_v2.__call__'),
    ('argparse', 'Namespace.__init__'),
    ('collections', 'OrderedDict.__init__'),
    ('builtins', 'dict.get'),
    ('__main__', 'x'),
    ('', ''),
  )
  for module, name in names:
    word = lambda s: b'X' + len(s).to_bytes(4, 'little') + s.encode()
    program = b'\x80\x04' + word(module) + word(name) + b'\x93.'
    with pytest.raises(ValueError, match=MESSAGE):
      torch_file.read(archive(tmp_path / 'x', program))
  odd = b'\x80\x02cos\x1b[2J\nsystem\n.'
  with pytest.raises(ValueError, match=MESSAGE) as error:
    torch_file.read(archive(tmp_path / 'x', odd))
  assert '\x1b' not in str(error.value)


REBUILD = b'ctorch._utils\n_rebuild_tensor_v2\n'
SPACE = b'cargparse\nNamespace\n)R'
TRICKS = {
  'set code': REBUILD + b'}X\x08\0\0\0__code__K\1sb.',
  'set slots': REBUILD + b'N}X\x08\0\0\0__code__K\1s\x86b.',
  'set on a class': b'cargparse\nNamespace\n}X\1\0\0\0xK\1sb.',
  'set on a word': b'cbuiltins\ndict\n}b.',
  'set on a list': b']}b.',
  'call a string': b'X\6\0\0\0system)R.',
  'call a word': b'cbuiltins\ndict\n)R.',
  'call a dtype': b'ctorch\nfloat32\n)R.',
  'call settings': SPACE + b')R.',
  'call a dict': b'}]R.',
  'new of a dict': b'})\x81.',
  'no tuple': b'cargparse\nNamespace\n]R.',
  'new with words': b'cargparse\nNamespace\n)}\x92.',
  'instance': b'(X\4\0\0\0trueios\nsystem\n.',
  'instance we know': b'(iargparse\nNamespace\n.',
  'object': b'(cargparse\nNamespace\no.',
  'extension': b'\x82\1.',
  'persistent text': b'Pabc\n.',
  'persistent module': b'(X\6\0\0\0modulecargparse\nNamespace\nX\1\0\0\0a'
  b'X\1\0\0\0btQ.',
  'append to settings of a text': b'X\1\0\0\0aK\1a.',
  'item of a list': b']K\1K\2s.',
  'buffer': b'\x97.',
  'nothing': b'.',
  'two': b'NN.',
  'mark': b'(N.',
  'memo': b'h\1.',
  'underflow': b'\x87.',
  'odd items': b'}(K\1u.',
  'a list for a key': b'}]K\1s.',
  'a deep key': b'})' + b'\x85' * 100_000 + b'K\1s.',
  'a set of lists': b'\x8f(]\x90.',
  'a scalar of text': b'cnumpy.core.multiarray\nscalar\ncnumpy\ndtype\n'
  b'X\2\0\0\0U1\x85RC\4a\0\0\0\x86R.',
  'a name of numbers': b'K\1K\2\x93.',
}


@pytest.mark.parametrize('trick', TRICKS)
def test_tricks_of_the_machine_reach_nothing(tmp_path, trick, monkeypatch):
  monkeypatch.setattr(copyreg, '_inverted_registry', {1: ('os', 'getcwd')})
  before = {**vars(torch_pickle._tensor)}, torch_pickle._tensor.__code__
  program = b'\x80\x04' + TRICKS[trick]
  for file in (archive(tmp_path / 'a', program), old(tmp_path / 'b', program)):
    with pytest.raises(ValueError, match='corrupt|refused'):
      torch_file.read(file)
  assert before == (
    {**vars(torch_pickle._tensor)},
    torch_pickle._tensor.__code__,
  )


def test_attributes_cannot_stand_in_for_methods(tmp_path):
  """What is set has names of ours and of Python's, and stays a value."""
  words = ('__class__', '__setstate__', '__reduce__', 'build', 'append')
  state = {word: 1 for word in words} | {'items': 2, 'args': 3, '__dict__': 4}
  state = pickle.dumps(state, 2)[2:-1]
  file = tmp_path / 'x'
  archive(file, b'\x80\x02' + SPACE + state + b'b}X\1\0\0\0zK\1sb(K\7K\x08e.')
  ours = torch_file.read(file)
  assert type(ours) is torch_pickle.PlainObject
  assert ours.items == [7, 8] and ours.args == () and ours.z == 1
  assert vars(ours)['items'] == 2 and vars(ours)['__class__'] == 1


def test_every_pickle_of_the_old_format_is_restricted(tmp_path):
  """Not only the one with the tensors: all of them come from the file."""
  canary = tmp_path / 'canary'
  evil = pickle.dumps(Runs(os.system, (f'touch {canary}',)), 2)
  parts = [
    pickle.dumps(part, 2)
    for part in (
      torch_file.MAGIC,
      torch_file.PROTOCOL,
      {'little_endian': True},
      1,
    )
  ]
  parts.append(pickle.dumps([], 2))
  file = tmp_path / 'x'
  file.write_bytes(b''.join(parts))
  assert torch_file.read(file) == 1
  for i in range(len(parts)):
    file.write_bytes(b''.join([*parts[:i], evil, *parts[i + 1 :]]))
    with pytest.raises(ValueError, match=MESSAGE):
      torch_file.read(file)
  assert not canary.exists()


def test_torch_is_not_imported(save):
  file = save({'w': torch.ones(2), 'args': argparse.Namespace(a=1)})
  code = (
    'import sys\n'
    'from xlmr_jax.checkpoints.formats import torch_file as pickles\n'
    'pickles.write(sys.argv[2], {"a": __import__("numpy").ones(2)})\n'
    'held = pickles.read(sys.argv[1])\n'
    'print(held["w"].shape, "torch" in sys.modules, "jax" in sys.modules)\n'
  )
  args = [sys.executable, '-c', code, file, file.with_suffix('.out')]
  done = subprocess.run(args, capture_output=True, text=True, check=True)
  assert done.stdout.split('\n')[0] == '(2,) False False'


# --- Broken files -----------------------------------------------------------


def test_a_truncated_file_is_named(save):
  file = save({'a': torch.randn(50), 'b': torch.randn(3, 4)})
  data = file.read_bytes()
  for left in (0, 1, 3, 4, 30, 100, 400, len(data) // 2, len(data) - 1):
    file.write_bytes(data[:left])
    with pytest.raises(ValueError, match=r'x\.bin is truncated'):
      torch_file.read(file)


def test_a_spoilt_file_is_read_or_named(save):
  """Whatever a byte becomes, nothing but ValueError comes of it."""
  args = argparse.Namespace(a=np.float64(1))
  file = save({'a': torch.randn(5), 'args': args})
  data = file.read_bytes()
  rng = np.random.default_rng(0)
  spoilt = file.with_suffix('.spoilt')
  refused = 0
  for _ in range(1000):
    bad = bytearray(data)
    for place in rng.integers(len(bad), size=rng.integers(1, 4)):
      bad[place] = rng.integers(256)
    spoilt.write_bytes(bad)
    try:
      torch_file.read(spoilt)
    except ValueError as e:
      assert str(spoilt) in str(e)
      refused += 1
  assert 100 < refused < 1000


def test_files_of_other_kinds(tmp_path):
  file = tmp_path / 'pytorch_model.bin'
  message = r'pytorch_model\.bin is truncated, corrupt or no file of PyTorch'
  rng = np.random.default_rng(0)

  def refuse(message=message):
    with pytest.raises(ValueError, match=message):
      torch_file.read(file)

  for size in (1, 10, 1000, 100_000):
    for _ in range(20):
      file.write_bytes(rng.bytes(size))
      refuse()
      file.write_bytes(b'PK\3\4' + rng.bytes(size))
      refuse()
  save_file({'a': np.ones(3, np.float32)}, file)
  refuse()
  file.write_bytes(b'version https://git-lfs.github.com/spec/v1\n')
  refuse()
  with open(file, 'wb') as f:
    np.savez(f, a=np.ones(3))
  refuse()
  file.write_bytes(pickle.dumps({'a': 1}))
  refuse()
  torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), file)
  refuse('is a TorchScript program')
  with tarfile.open(file, 'w', format=tarfile.PAX_FORMAT) as tar:
    tar.addfile(tarfile.TarInfo('storages'), io.BytesIO())
  refuse('is a tar file')
  with pytest.raises(FileNotFoundError):
    torch_file.read(tmp_path / 'nowhere')


def test_files_torch_would_read_and_we_do_not(tmp_path):
  file = tmp_path / 'x'
  program = pickle.dumps({}, 2)
  assert torch_file.read(archive(file, program, byteorder=b'little')) == {}
  with pytest.raises(ValueError, match='big-endian'):
    torch_file.read(archive(file, program, byteorder=b'big'))
  assert torch_file.read(old(file, program)) == {}
  with pytest.raises(ValueError, match='big-endian'):
    torch_file.read(
      old(file, program, pickle.dumps({'little_endian': False}, 2))
    )
  with zipfile.ZipFile(file, 'w', zipfile.ZIP_DEFLATED) as z:
    z.writestr('archive/data.pkl', program)
  with pytest.raises(ValueError, match='is compressed'):
    torch_file.read(file)
  torch.save({'a': torch.ones(2, dtype=torch.complex64).conj()}, file)
  with pytest.raises(ValueError, match='ComplexFloatStorage'):
    torch_file.read(file)
  torch.save({'a': torch._neg_view(torch.ones(2))}, file)
  with pytest.raises(ValueError, match='negative bit'):
    torch_file.read(file)


def test_a_name_twice_in_an_archive(tmp_path):
  """Two readers might take two different ones."""
  file = tmp_path / 'x'
  with zipfile.ZipFile(file, 'w') as z, pytest.warns(UserWarning):
    z.writestr('archive/data.pkl', pickle.dumps(1, 2))
    z.writestr('archive/data.pkl', pickle.dumps(2, 2))
  with pytest.raises(ValueError, match='corrupt.*have one name'):
    torch_file.read(file)


def tensor_program(
  numel=4, offset=0, shape=(4,), strides=(1,), key='0', kind='FloatStorage'
) -> bytes:
  value = lambda x: pickle.dumps(x, 2)[2:-1]
  pid = b'(' + value('storage') + f'ctorch\n{kind}\n'.encode()
  pid += value(key) + value('cpu') + value(numel) + b'tQ'
  args = b'(' + pid + value(offset) + value(shape) + value(strides)
  return b'\x80\x02' + REBUILD + args + value(False) + value({}) + b'tR.'


def test_sizes_that_are_not_there(tmp_path):
  file = tmp_path / 'x'
  assert torch_file.read(archive(file, tensor_program())).nbytes == 16
  empty = tensor_program(offset=1 << 62, shape=(0,))
  assert torch_file.read(archive(file, empty)).start < file.stat().st_size
  bad = (
    {'numel': 1 << 62, 'shape': (1 << 62,)},
    {'numel': 17, 'shape': (17,)},
    {'numel': 4, 'shape': (5,)},
    {'numel': 4, 'offset': 1},
    {'offset': -1},
    {'numel': -4},
    {'shape': (-4,)},
    {'strides': (-1,)},
    {'shape': (1 << 62, 1 << 62), 'strides': (1 << 62, 1)},
    {'shape': (1 << 100,)},
    {'shape': (4.0,)},
    {'shape': (True,)},
    {'shape': [4]},
    {'shape': (1,) * 65, 'strides': (1,) * 65},
    {'strides': ()},
    {'offset': 'x'},
    {'key': '1'},
    {'key': '../data.pkl'},
    {'key': 0},
    {'kind': 'float32'},
    {'kind': 'Size'},
  )
  for changes in bad:
    with pytest.raises(ValueError, match='x is truncated, corrupt'):
      torch_file.read(archive(file, tensor_program(**changes)))


def test_a_directory_that_lies(tmp_path):
  """The archive's own words about a storage are not believed either."""
  file = archive(tmp_path / 'x', tensor_program())
  data = file.read_bytes()
  name = data.rindex(b'archive/data/0')  # in the directory; sizes before it
  huge = (1 << 30).to_bytes(4, 'little') * 2
  file.write_bytes(data[: name - 26] + huge + data[name - 18 :])
  with pytest.raises(ValueError, match="corrupt.*'archive/data/0' ends behind"):
    torch_file.read(file)
  place = data.index(b'archive/data/0') - 30
  assert data[place:].startswith(b'PK\3\4')
  file.write_bytes(data[:place] + b'PK\3\5' + data[place + 4 :])
  with pytest.raises(ValueError, match="corrupt.*'archive/data/0' is not wh"):
    torch_file.read(file)


def test_lengths_that_are_not_there(tmp_path):
  """Opcodes that ask for terabytes get what the file has."""
  file = tmp_path / 'x'
  huge = (1 << 45).to_bytes(8, 'little')
  programs = (
    b'\x8e' + huge,
    b'\x8d' + huge,
    b'B\xff\xff\xff\x7f',
    b'\x8b\xff\xff\xff\x7f',
    b'Nr\xff\xff\xff\xff',
    b'c' + b'a' * 1000,
  )
  for program in programs:
    for made in (archive, old):
      # The last one is whole: a memo with a hole of four thousand million.
      with pytest.raises(ValueError, match='x is truncated, corrupt'):
        torch_file.read(made(file, b'\x80\x04' + program))
  program = b'\x80\x02Nr\xff\xff\xff\xff.'
  assert torch_file.read(archive(file, program)) is None


def test_the_old_format_counts_its_storages(tmp_path):
  file = tmp_path / 'x'
  a = torch.arange(5.0)
  torch.save({'a': a}, file, _use_new_zipfile_serialization=False)
  data = file.read_bytes()
  count = (5).to_bytes(8, 'little') + bits(a)
  assert data.endswith(count)
  key = str(a.untyped_storage()._cdata).encode()
  assert data.count(key) == 2
  bad = {
    'does not have 5 elements': data[: -len(count)]
    + (4).to_bytes(8, 'little')
    + bits(a),
    r'it has \d+ bytes and should have': data[:-4],
    'are missing': data[: data.rindex(b'\x80\x02')] + pickle.dumps([], 2),
    'KeyError': data[::-1].replace(key[::-1], b'0' * len(key), 1)[::-1],
  }
  for message, content in bad.items():
    file.write_bytes(content)
    with pytest.raises(ValueError, match=f'x is truncated, .*{message}'):
      torch_file.read(file)


def test_a_part_of_a_storage(tmp_path):
  """Before torch 0.4 a storage could be a view of another one."""
  value = lambda x: pickle.dumps(x, 2)[2:-1]

  def content(offset):
    pid = b'(' + value('storage') + b'ctorch\nFloatStorage\n' + value('7')
    pid += value('cpu') + value(6) + value(('8', offset, 4)) + b'tQ'
    program = b'\x80\x02ctorch._utils\n_rebuild_tensor\n(' + pid
    program += value(1) + value((3,)) + value((1,)) + b'tR.'
    old(file, program)
    data = file.read_bytes().removesuffix(pickle.dumps([], 2))
    data += pickle.dumps(['7'], 2) + (6).to_bytes(8, 'little')
    file.write_bytes(data + np.arange(6, dtype=np.float32).tobytes())

  file = tmp_path / 'x'
  content(2)
  assert torch.load(file).tolist() == [3, 4, 5]
  want = np.array([3, 4, 5], np.float32).tobytes()
  assert safetensors_file.raw(torch_file.read(file)) == want
  content(3)
  with pytest.raises(ValueError, match='a view is larger than its storage'):
    torch_file.read(file)


# --- Writing ----------------------------------------------------------------

ARRAYS = {
  'weight': np.arange(-6, 6, dtype=np.float32).reshape(3, 4) / 7,
  'half': np.array([[0.1, -2, np.inf]], np.float16),
  'brain.x': np.array([0.1, -3, np.nan], ml_dtypes.bfloat16),
  'double': np.array([[1 / 3], [2 / 3]]),
  'ids': np.array([1, -(1 << 62)], np.int64),
  'scalar': np.array(0.5, np.float32),
  'empty': np.empty((0, 3), np.float32),
  'turned': np.arange(6, dtype=np.float32).reshape(2, 3).T,
  'ключ': np.ones((2, 1, 2), np.float32),
}


@pytest.mark.parametrize('mmap', (False, True))
def test_torch_reads_what_we_write(tmp_path, mmap):
  file = tmp_path / 'sparse_linear.pt'
  torch_file.write(file, ARRAYS)
  theirs = torch.load(file, weights_only=True, mmap=mmap)
  assert type(theirs) is collections.OrderedDict
  assert list(theirs) == list(ARRAYS)
  for key, array in ARRAYS.items():
    assert str(theirs[key].dtype) == f'torch.{array.dtype}', key
    assert tuple(theirs[key].shape) == array.shape, key
    assert theirs[key].is_contiguous(), key
    assert bits(theirs[key]) == array.tobytes(), key
    assert not mmap or theirs[key].data_ptr() % 64 == 0, key
  layer = torch.nn.Linear(4, 3, bias=False)
  layer.load_state_dict({'weight': theirs['weight']})


def test_we_read_what_we_write(tmp_path):
  torch_file.write(tmp_path / 'a', ARRAYS)
  ours = torch_file.read(tmp_path / 'a')
  assert_same(ours, torch.load(tmp_path / 'a'))
  assert list(ours) == list(ARRAYS)
  for key, array in ARRAYS.items():
    assert safetensors_file.raw(ours[key]) == array.tobytes()
    assert ours[key].start % 64 == 0
  torch_file.write(tmp_path / 'b', ARRAYS)
  assert (tmp_path / 'a').read_bytes() == (tmp_path / 'b').read_bytes()
  torch_file.write(tmp_path / 'a', {})
  assert torch_file.read(tmp_path / 'a') == torch.load(tmp_path / 'a') == {}


def test_what_is_not_written(tmp_path):
  cases = (
    ({'a': np.ones(2, np.int8)}, "'a' with dtype int8"),
    ({'a': np.ones(2, '>f4')}, "'a' with dtype >f4"),
    ({'a': np.array([None])}, "'a' with dtype object"),
    ({3: np.ones(2)}, '3 with dtype float64'),
  )
  for arrays, message in cases:
    with pytest.raises(ValueError, match=f'x: {message} is not written'):
      torch_file.write(tmp_path / 'x', arrays)
    assert not (tmp_path / 'x').exists()


def test_a_copy_into_every_other_column(tmp_path):
  """An array with gaps is filled where it stands, not in a copy of it."""
  want = torch.arange(12, dtype=torch.float32).reshape(3, 4)
  torch.save({'a': want}, tmp_path / 'x.bin')
  out = np.zeros((3, 8), np.float32)
  reader = safetensors_file.Reader()
  reader.add(torch_file.read(tmp_path / 'x.bin')['a'], out[:, ::2])
  reader.run()
  np.testing.assert_array_equal(out[:, ::2], want.numpy())
  assert not out[:, 1::2].any()
