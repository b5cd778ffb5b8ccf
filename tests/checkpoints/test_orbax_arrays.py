"""Arrays that stay in files: any part of them, and a model past the memory."""

import copy
import dataclasses
import filecmp
import json
import os
import pathlib
import shutil
import subprocess
import sys

import jax
import ml_dtypes
import numpy as np
from pairs import name_of
import pytest
import safetensors.torch
import torch
from torch_models import tiny

from xlmr_jax.checkpoints import arrays as lazy
from xlmr_jax.checkpoints import orbax_arrays
from xlmr_jax.checkpoints.arrays import FilePart, Lazy
from xlmr_jax.checkpoints.formats import safetensors_file
from xlmr_jax.checkpoints.formats.safetensors_file import DTYPE_NAMES, Tensor
from xlmr_jax.checkpoints.hf import reader, writer

F32, BF16 = np.dtype(np.float32), np.dtype(ml_dtypes.bfloat16)
# An array [3, 5, 7] is read by these.
INDICES = [
  (),
  ...,
  0,
  -1,
  np.int64(1),
  (2, 3),
  (-1, -2),
  (1, 2, 3),
  slice(None),
  slice(1, 3),
  slice(-2, None),
  slice(0, 100),
  slice(2, 1),
  (slice(1, 1), 2),
  (0, slice(2, 4)),
  (slice(None), slice(1, 4), slice(2, 6)),
  (slice(None), 2),
  (..., 3),
  (..., slice(-4, -1)),
  (1, ..., slice(5)),
  (slice(0, 2), ..., -1),
  (2, slice(4, 5), ...),
]


def draw(shape, dtype=F32, seed=0):
  rng = np.random.default_rng(seed)
  return rng.standard_normal(shape, np.float32).astype(dtype)


def in_file(file: pathlib.Path, array: np.ndarray, flipped=False) -> Tensor:
  """A file of its own with an array; `flipped`: column by column."""
  rows = array.T if flipped else array
  safetensors_file.write(file, {'x': (rows, DTYPE_NAMES[array.dtype])})
  held, _ = safetensors_file.header(file)
  return dataclasses.replace(held['x'], shape=array.shape, flipped=flipped)


@pytest.fixture
def stack(tmp_path):
  """(Lazy, what it is): layers that lie in all the ways a file may have."""
  want = draw((3, 5, 7))
  want[2] = want[2].astype(BF16)
  whole = (slice(0, 5), slice(0, 7))
  held = [
    FilePart(in_file(tmp_path / '0', want[0].T), (0, *whole), flip=True),
    FilePart(
      in_file(tmp_path / '1', want[1, :, :3]), (1, whole[0], slice(0, 3))
    ),
    FilePart(
      in_file(tmp_path / '2', want[1, :, 3:].T.copy(), flipped=True),
      (1, whole[0], slice(3, 7)),
      flip=True,
    ),
    FilePart(
      in_file(tmp_path / '3', want[2, :2].astype(BF16), flipped=True),
      (2, slice(0, 2), whole[1]),
    ),
    FilePart(
      in_file(tmp_path / '4', want[2, 2:].T.astype(BF16)),
      (2, slice(2, 5), whole[1]),
      flip=True,
    ),
  ]
  return Lazy((3, 5, 7), F32, tuple(held)), want


def assert_equal(ours, want):
  assert isinstance(ours, np.ndarray)
  assert (ours.dtype, ours.shape) == (want.dtype, want.shape)
  np.testing.assert_array_equal(ours, want)


def leaves(params):
  return {
    name_of(path): leaf
    for path, leaf in jax.tree_util.tree_leaves_with_path(params)
  }


def assert_same(ours, want):
  """Two trees, bit for bit."""
  ours, want = leaves(ours), leaves(want)
  assert ours.keys() == want.keys()
  for name, leaf in want.items():
    mine, leaf = np.asarray(ours[name]), np.asarray(leaf)
    assert (mine.dtype, mine.shape) == (leaf.dtype, leaf.shape), name
    assert mine.tobytes() == leaf.tobytes(), name


# --- Lazy -------------------------------------------------------------------


@pytest.mark.parametrize('index', INDICES, ids=str)
def test_any_part_is_what_numpy_would_give(stack, index):
  ours, want = stack
  assert_equal(ours[index], np.asarray(want[index]))


def test_a_lazy_array_has_what_an_array_has(stack):
  ours, want = stack
  assert (ours.shape, ours.dtype, ours.ndim) == ((3, 5, 7), F32, 3)
  assert (len(ours), ours.size, ours.nbytes) == (3, 105, 420)
  assert_equal(np.asarray(ours), want)
  assert_equal(np.asarray(ours, np.float64), want.astype(np.float64))
  assert_equal(ours.astype(BF16), want.astype(BF16))
  assert copy.deepcopy(ours) is ours


def test_only_the_files_of_a_part_are_read(stack):
  ours, want = stack
  for part in ours.parts[2:]:
    part.tensor.file.unlink()
  assert_equal(ours[0], want[0])
  assert_equal(ours[:2, 1:, :3], want[:2, 1:, :3])
  with pytest.raises(FileNotFoundError):
    ours[1, :, 3]


@pytest.mark.parametrize(
  'index', [slice(None, None, 2), slice(None, None, -1), (0, slice(4, 0, -1))]
)
def test_steps_are_refused(stack, index):
  with pytest.raises(IndexError, match='in steps of 1, not'):
    stack[0][index]


@pytest.mark.parametrize('index', [3, -4, (0, 5), (0, 0, -8), (0, 0, 0, 0)])
def test_what_is_outside_is_an_error(stack, index):
  for array in stack:
    with pytest.raises(IndexError):
      array[index]


@pytest.mark.parametrize('axis, size', [(0, 5), (1, 3), (1, 8), (2, 2), (2, 9)])
def test_resized_is_cut_or_filled_up_with_zeros(stack, axis, size):
  ours, want = stack
  wide = np.zeros((9, 9, 9), np.float32)
  wide[:3, :5, :7] = want
  shape = [3, 5, 7]
  shape[axis] = size
  want = wide[tuple(slice(n) for n in shape)]
  ours = ours.resized(axis, size)
  assert ours.shape == want.shape
  assert_equal(np.asarray(ours), want)
  assert_equal(ours[1:, 1:, 1:], want[1:, 1:, 1:])
  assert_equal(ours[..., -1], want[..., -1])
  assert_equal(ours[:, -1], want[:, -1])


def test_gaps_are_zeros_but_only_lazily(stack):
  ours, want = stack
  gap = Lazy((3, 5, 7), F32, (ours.parts[0], *ours.parts[3:]))
  want[1] = 0
  assert_equal(np.asarray(gap), want)
  assert_equal(gap[1:, 2:4, 2:], want[1:, 2:4, 2:])
  with pytest.raises(ValueError, match='gaps are for lazy reading'):
    lazy.read(gap, safetensors_file.Reader())


def mixed(state):
  """Several dtypes in one leaf."""
  for key, tensor in state.items():
    if 'layer.1.' in key:
      state[key] = tensor.bfloat16()
    if 'layer.2.' in key or 'word_embeddings' in key:
      state[key] = tensor.half()
  return state


def transposed(state):
  """As a file that came from Flax."""
  return {k: v.T.contiguous().T if v.ndim == 2 else v for k, v in state.items()}


@pytest.mark.parametrize(
  ('family', 'change', 'suffix'),
  [
    ('XLMRoberta', dict, 'safetensors'),
    ('XLMRobertaXL', dict, 'safetensors'),
    ('XLMRoberta', mixed, 'safetensors'),
    ('XLMRoberta', dict, 'bin'),
    ('XLMRobertaXL', transposed, 'bin'),
    ('XLMRoberta', dict, 'sharded'),
  ],
)
def test_a_checkpoint_is_the_same_lazily(family, change, suffix, tmp_path):
  model = tiny('mlm', family=family)
  small = {'max_shard_size': '20KB'} if suffix == 'sharded' else {}
  model.save_pretrained(tmp_path, **small)
  file = tmp_path / 'model.safetensors'
  if suffix != 'sharded':
    state = change(safetensors.torch.load_file(file))
    file.unlink()
    if suffix == 'bin':
      torch.save(state, tmp_path / 'pytorch_model.bin')
    else:
      safetensors.torch.save_file(state, file, {'format': 'pt'})
  eager, ours = reader.read(tmp_path), reader.read(tmp_path, lazily=True)
  assert ours.config == eager.config and ours.source == eager.source
  assert all(isinstance(x, Lazy) for x in jax.tree.leaves(ours.params))
  assert_same(ours.params, eager.params)
  # And so is what is written of it.
  writer.write(tmp_path / 'eager', eager)
  writer.write(tmp_path / 'lazy', ours)
  names = [file.name for file in (tmp_path / 'eager').iterdir()]
  assert len(names) > 2 if suffix == 'sharded' else len(names) == 2
  for name in names:
    one, two = tmp_path / 'eager' / name, tmp_path / 'lazy' / name
    assert one.read_bytes() == two.read_bytes(), name


def test_a_leaf_of_two_dtypes_has_one_for_both(tmp_path):
  tiny('mlm').save_pretrained(tmp_path)
  file = tmp_path / 'model.safetensors'
  state = mixed(safetensors.torch.load_file(file))
  safetensors.torch.save_file(state, file, {'format': 'pt'})
  encoder = reader.read(tmp_path, lazily=True).params['encoder']
  kernel = encoder['layers']['ff']['up']['kernel']
  assert kernel.dtype == kernel[0].dtype == F32  # of f32, bf16 and f16
  for i in range(3):
    key = f'roberta.encoder.layer.{i}.intermediate.dense.weight'
    assert_equal(kernel[i], state[key].float().numpy().T)
  assert encoder['embed']['tokens'].dtype == np.float16
  assert encoder['embed']['positions'].dtype == F32


# --- Stored -----------------------------------------------------------------


@pytest.fixture
def params(stack):
  """Arrays of every kind that is saved, and what they are."""
  ours, want = stack
  kept = {
    'table': draw((61, 32)),
    'half': draw((9, 4), BF16),
    'layers': {'kernel': draw((3, 20, 30)), 'bias': draw((3, 30), np.float16)},
    'wide': draw((5,), np.float64),
  }
  given = {**kept, 'deep': {'lazy': ours, 'device': jax.numpy.arange(7.0)}}
  is_ = {**kept, 'deep': {'lazy': want, 'device': np.arange(7, dtype=F32)}}
  return given, is_


def test_saved_is_read_bit_for_bit(params, tmp_path):
  given, want = params
  orbax_arrays.save(tmp_path / 'p', given)
  ours = orbax_arrays.read(tmp_path / 'p')
  assert all(type(x) is np.ndarray for x in jax.tree.leaves(ours))
  assert_same(ours, want)
  with pytest.raises(ValueError, match='nowhere is not there'):
    orbax_arrays.read(tmp_path / 'nowhere')


def test_found_is_the_same_and_can_be_saved_again(params, tmp_path):
  given, want = params
  orbax_arrays.save(tmp_path / 'p', given)
  found = orbax_arrays.find(tmp_path / 'p')
  assert all(type(x) is orbax_arrays.Stored for x in jax.tree.leaves(found))
  assert_same(found, want)
  for name, leaf in leaves(want).items():
    ours = leaves(found)[name]
    assert (ours.shape, ours.dtype) == (leaf.shape, leaf.dtype)
    assert (ours.ndim, ours.size, ours.nbytes, len(ours)) == (
      leaf.ndim,
      leaf.size,
      leaf.nbytes,
      len(leaf),
    )
    assert copy.deepcopy(ours) is ours
  orbax_arrays.save(tmp_path / 'again', found)
  assert_same(orbax_arrays.read(tmp_path / 'again'), want)


@pytest.mark.parametrize('index', INDICES, ids=str)
def test_any_part_is_found(stack, tmp_path, index):
  ours, want = stack
  orbax_arrays.save(tmp_path / 'p', {'x': ours})
  found = orbax_arrays.find(tmp_path / 'p')['x']
  assert_equal(found[index], np.asarray(want[index]))


@pytest.mark.parametrize('axis, size', [(0, 5), (1, 3), (1, 8), (2, 2), (2, 9)])
def test_what_is_found_is_cut_or_filled_up_too(stack, axis, size, tmp_path):
  ours, _ = stack
  orbax_arrays.save(tmp_path / 'p', {'x': ours})
  found = orbax_arrays.find(tmp_path / 'p')['x'].resized(axis, size)
  want = np.asarray(ours.resized(axis, size))
  assert found.shape == want.shape and found.nbytes == want.nbytes
  assert_equal(np.asarray(found), want)
  for part in ((slice(1, None),) * 3, (..., -1), (slice(None), -1), (2, 2)):
    assert_equal(found[part], want[part])
  orbax_arrays.save(tmp_path / 'new', {'x': found})
  assert_same(orbax_arrays.read(tmp_path / 'new'), {'x': want})


class Watched(Lazy):
  """A lazy array that knows how much of it was read at once."""

  seen: list = []

  def __getitem__(self, index):
    part = super().__getitem__(index)
    self.seen.append(part.nbytes)
    return part


def test_large_arrays_are_written_and_cut_by_chunks(
  tmp_path, stack, monkeypatch
):
  monkeypatch.setattr(orbax_arrays, 'CHUNK', 2400)
  file = in_file(tmp_path / 'x', draw((60, 30)))
  parts = [FilePart(file, (i, slice(0, 60), slice(0, 30))) for i in range(4)]
  given = {
    'stack': Watched((4, 60, 30), F32, tuple(parts)),  # 28,800 bytes
    'small': stack[0],  # 420
    'table': draw((100, 32)),
    'bias': draw((4, 30)),
  }
  Watched.seen.clear()
  orbax_arrays.save(tmp_path / 'p', given)
  assert len(Watched.seen) >= 12 and max(Watched.seen) <= 2400
  assert sum(Watched.seen) == 28_800  # nothing is read twice
  found = orbax_arrays.find(tmp_path / 'p')
  assert_same(found, given)

  def chunk(name):
    return found[name].store.chunk_layout.read_chunk.shape

  assert chunk('stack')[0] == 1  # a layer can be read by itself
  assert np.prod(chunk('stack')) * 4 <= 2400
  assert np.prod(chunk('table')) * 4 <= 2400
  assert chunk('small') == (3, 5, 7) and chunk('bias') == (4, 30)


# --- A model larger than the memory -----------------------------------------

LAYERS, WIDTH, FF, ROWS = 12, 1024, 8192, 8000
LIMIT = 680 << 20  # bytes a process may have: 520 MB do, the model is 994 MB

CONVERT = """
import os, resource, runpy, sys
os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:2])  # few stacks
resource.setrlimit(resource.RLIMIT_DATA, (int(sys.argv[1]),) * 2)
sys.argv = ['xlmr', 'convert', *sys.argv[2:]]
runpy.run_module('xlmr_jax', run_name='__main__')
"""
EAGER = """
import errno, os, resource, sys
from xlmr_jax.checkpoints.hf import reader
os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:2])
resource.setrlimit(resource.RLIMIT_DATA, (int(sys.argv[1]),) * 2)
reader.read(sys.argv[2], lazily=True)
try:
  reader.read(sys.argv[2])
except MemoryError:
  print('no memory')
except OSError as error:
  assert error.errno == errno.ENOMEM
  print('no memory')
"""


def big_checkpoint(folder: pathlib.Path) -> int:
  """XL's layout, a layer a shard; returns the bytes of its tensors."""
  folder.mkdir()
  config = {
    'architectures': ['XLMRobertaXLModel'],
    'model_type': 'xlm-roberta-xl',
    'vocab_size': ROWS,
    'hidden_size': WIDTH,
    'num_hidden_layers': LAYERS,
    'num_attention_heads': 16,
    'intermediate_size': FF,
    'max_position_embeddings': 514,
    'type_vocab_size': 1,
    'pad_token_id': 1,
  }
  # A prime's length, so that rows repeat at other places in other tensors.
  block = draw((1_000_003,))
  shards = [
    {
      'embeddings.word_embeddings.weight': (ROWS, WIDTH),
      'embeddings.position_embeddings.weight': (514, WIDTH),
      'embeddings.token_type_embeddings.weight': (1, WIDTH),
      'encoder.LayerNorm.weight': (WIDTH,),
      'encoder.LayerNorm.bias': (WIDTH,),
    }
  ]
  for i in range(LAYERS):
    shapes = {}
    for name, shape in {
      'attention.self.query': (WIDTH, WIDTH),
      'attention.self.key': (WIDTH, WIDTH),
      'attention.self.value': (WIDTH, WIDTH),
      'attention.output.dense': (WIDTH, WIDTH),
      'attention.self_attn_layer_norm': (WIDTH,),
      'intermediate.dense': (FF, WIDTH),
      'output.dense': (WIDTH, FF),
      'LayerNorm': (WIDTH,),
    }.items():
      shapes[f'encoder.layer.{i}.{name}.weight'] = shape
      shapes[f'encoder.layer.{i}.{name}.bias'] = shape[:1]
    shards.append(shapes)
  where, size, count = {}, 0, 0
  for i, shapes in enumerate(shards, 1):
    arrays = {}
    name = f'model-{i:05d}-of-{len(shards):05d}.safetensors'
    for key, shape in shapes.items():
      array = np.resize(block, shape)
      array[0] = count  # each tensor's own
      arrays[key], where[key] = (array, 'F32'), name
      size, count = size + array.nbytes, count + 1
    safetensors_file.write(folder / name, arrays, {'format': 'pt'})
  index = {'metadata': {'total_size': size}, 'weight_map': where}
  (folder / 'config.json').write_text(json.dumps(config, indent=2) + '\n')
  (folder / 'model.safetensors.index.json').write_text(
    json.dumps(index, indent=2, sort_keys=True) + '\n'
  )
  return size


@pytest.mark.skipif(sys.platform != 'linux', reason='RLIMIT_DATA is Linux')
def test_a_model_past_the_memory_is_converted_there_and_back(tmp_path):
  def run(script, *arguments):
    command = [sys.executable, '-c', script, str(LIMIT), *map(str, arguments)]
    return subprocess.run(
      command, capture_output=True, text=True, env=os.environ, timeout=300
    )

  source, ours, back = (tmp_path / x for x in ('source', 'ours', 'back'))
  try:
    assert big_checkpoint(source) > 1.4 * LIMIT
    # The limit is one: who reads it all at once does not get far.
    eager = run(EAGER, source)
    assert (eager.stdout, eager.returncode) == ('no memory\n', 0), eager.stderr
    for one, two in ((source, ours), (ours, back)):
      done = run(CONVERT, one, two)
      assert done.returncode == 0, done.stderr
    names = {file.name for file in source.iterdir()}
    assert {file.name for file in back.iterdir()} == names
    assert len(names) == LAYERS + 3
    for name in sorted(names):
      assert filecmp.cmp(source / name, back / name, shallow=False), name
  finally:
    for folder in (source, ours, back):
      shutil.rmtree(folder, ignore_errors=True)
