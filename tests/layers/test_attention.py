"""Every backend is softmax inside each segment, and keeps examples apart.

cuDNN cannot be lowered without a GPU: where a test says `cudnn` it runs our
side of it, the choice, the bias and the cut over a mesh, and jax's own XLA
implementation stands where the kernel would. The TPU kernel runs interpreted,
and is lowered for a TPU that is not there.
"""

import functools
import json
import os
import pathlib
import subprocess
import sys

import jax
from jax.experimental.pallas.ops.tpu import splash_attention as splash
import jax.numpy as jnp
from jax.sharding import AbstractDevice, AbstractMesh, AxisType
import numpy as np
import pytest

from xlmr_jax import model
from xlmr_jax.layers import attention
from xlmr_jax.runtime import sharding

ROOT = pathlib.Path(__file__).resolve().parents[2]
BACKENDS = ('xla', 'loop', 'splash', 'cudnn')
# The first row ends in padding, the second is full, the third has nothing.
SEGMENTS = np.array(
  [
    [1] * 50 + [2] * 60 + [0] * 18,
    [1] * 3 + [2] * 1 + [3] * 90 + [4] * 34,
    [0] * 128,
  ],
  np.int32,
)


def normal(seed=0, rows=3, length=128, heads=2, width=16, dtype=jnp.float32):
  """q, k, v and the gradient of the output."""
  keys = jax.random.split(jax.random.key(seed), 4)
  shape = rows, length, heads, width
  return [jax.random.normal(key, shape).astype(dtype) for key in keys]


def run(backend, q, k, v, grad, segments=SEGMENTS, causal=False):
  """[output, gradients of q, k and v]."""

  @jax.jit
  def both(q, k, v, grad, segments):
    y, back = jax.vjp(
      lambda q, k, v: attention.attention(
        q, k, v, segments, backend=backend, causal=causal
      ),
      q,
      k,
      v,
    )
    return [y, *back(grad)]

  return both(q, k, v, grad, segments)


def by_hand(q, k, v, grad, segments=SEGMENTS, causal=False):
  """The same, one example and one head at a time, in float64."""
  q, k, v, grad = (np.asarray(x, np.float64) for x in (q, k, v, grad))
  out = [np.zeros_like(q) for _ in range(4)]
  root = np.sqrt(q.shape[-1])
  for row, head, segment in np.ndindex(q.shape[0], q.shape[2], 5):
    at = row, segments[row] == segment, head
    if not at[1].any():
      continue
    scores = q[at] @ k[at].T / root
    if causal:
      scores[np.triu_indices(len(scores), 1)] = -np.inf
    p = np.exp(scores - scores.max(-1, keepdims=True))
    p /= p.sum(-1, keepdims=True)
    of_p = grad[at] @ v[at].T
    of_scores = p * (of_p - (of_p * p).sum(-1, keepdims=True)) / root
    out[0][at] = p @ v[at]
    out[1][at] = of_scores @ k[at]
    out[2][at] = of_scores.T @ q[at]
    out[3][at] = p.T @ grad[at]
  return out


@pytest.fixture
def stand_in(monkeypatch):
  """A GPU to choose for, and XLA where cuDNN would be; what it was given."""
  real, given = jax.nn.dot_product_attention, []

  def fake(q, k, v, *, bias, implementation):
    assert implementation == 'cudnn'
    given.append(bias)
    return real(q, k, v, bias=bias, implementation='xla')

  monkeypatch.setattr(sharding, 'platform', lambda: 'gpu')
  monkeypatch.setattr(jax.nn, 'dot_product_attention', fake)
  return given


@pytest.fixture(params=BACKENDS)
def backend(request):
  if request.param == 'cudnn':
    request.getfixturevalue('stand_in')
  return request.param


@pytest.mark.parametrize('causal', [False, True])
@pytest.mark.parametrize('backend', ['xla', 'loop', 'splash'])
def test_it_is_softmax_inside_each_segment(backend, causal):
  arrays = normal()
  got = run(backend, *arrays, causal=causal)
  for a, b in zip(got, by_hand(*arrays, causal=causal), strict=True):
    np.testing.assert_allclose(a, b, atol=5e-6)


@pytest.mark.parametrize(
  'length, keys, causal',
  [(256, 256, True), (256, 128, True), (384, 128, True), (384, 128, False)],
)
def test_splash_of_several_tiles(monkeypatch, length, keys, causal):
  """Up to two tiles of keys: one kernel backward. Three: two kernels."""
  monkeypatch.setattr(attention, 'QUERIES', 128)
  monkeypatch.setattr(attention, 'KEYS', keys)
  assert attention._tiles(length).use_fused_bwd_kernel == (length == 256)
  segments = np.repeat([[1, 2, 3, 0]], [100, 1, length - 151, 50], axis=1)
  arrays = normal(rows=1, length=length, heads=1)
  got = run('splash', *arrays, segments=segments, causal=causal)
  wanted = by_hand(*arrays, segments=segments, causal=causal)
  for a, b in zip(got, wanted, strict=True):
    np.testing.assert_allclose(a, b, atol=1e-5)


# Widths of base and large, XL, and XXL.
@pytest.mark.parametrize('width', [64, 80, 128])
def test_backends_agree_in_bfloat16(backend, width):
  arrays = normal(width=width, dtype=jnp.bfloat16)
  plain, fused = run('xla', *arrays), run(backend, *arrays)
  for a, b, exact in zip(fused, plain, by_hand(*arrays), strict=True):
    assert a.dtype == jnp.bfloat16
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    for other in (b, exact):
      off = np.abs(a - other)
      assert np.sqrt((off**2).mean()) < 1e-3
    # None is further off than one step of bfloat16 at the largest.
    assert np.abs(a - exact).max() <= 2**-7 * np.abs(exact).max()


@pytest.mark.parametrize(
  'backend, dtype',
  [(name, 'bfloat16') for name in BACKENDS]
  + [(name, 'float32') for name in BACKENDS if name != 'cudnn'],
  indirect=['backend'],
)
@pytest.mark.parametrize('causal', [False, True])
def test_one_example_cannot_change_another(backend, causal, dtype):
  """Not by one bit, whatever its scores, nor can what stands in padding."""
  arrays = normal(dtype=dtype)
  before = run(backend, *arrays, causal=causal)
  for other in (SEGMENTS == 2, SEGMENTS == 0):
    changed = [
      jnp.where(other[..., None, None], 300 * new, old).astype(dtype)
      for new, old in zip(normal(1), arrays, strict=True)
    ]
    after = run(backend, *changed, causal=causal)
    for a, b in zip(before, after, strict=True):
      np.testing.assert_array_equal(a[~other], b[~other])
      assert np.isfinite(np.float32(b)).all()
    assert np.abs(before[0][other] - after[0][other]).max() > 1


def test_rows_of_padding_are_finite(backend):
  """Even where padding holds scores that only a mask keeps from overflowing."""
  arrays = normal(dtype=jnp.bfloat16)
  arrays[:2] = [100 * x for x in arrays[:2]]
  for y in run(backend, *arrays):
    assert np.isfinite(np.float32(y)).all()
    assert np.abs(np.float32(y[2])).max() > 0


@pytest.mark.parametrize('dtype', ['bfloat16', 'float16'])
@pytest.mark.parametrize('causal', [False, True])
def test_the_bias_for_cudnn(stand_in, causal, dtype):
  q, k, v, _ = normal(dtype=dtype)
  attention.attention(q, k, v, SEGMENTS, backend='cudnn', causal=causal)
  (bias,) = stand_in
  assert bias.shape == (3, 1, 128, 128) and bias.dtype == dtype
  bias = np.float32(bias[:, 0])
  for row, i, j in np.ndindex(3, 128, 128):
    sees = SEGMENTS[row, i] == SEGMENTS[row, j] and (j <= i or not causal)
    assert (bias[row, i, j] == 0) == sees
  # Far below any score, and far from where f32 ends.
  assert len(np.unique(bias)) == 2 and -1e13 < bias.min() < -3e4


def test_jax_agrees_on_what_the_bias_means(stand_in):
  """Tight, in f32: their attention given our bias, gradients included."""
  q, k, v, grad = normal()
  half = [x.astype(jnp.bfloat16) for x in (q, k, v)]
  attention.attention(*half, SEGMENTS, backend='cudnn')
  bias = stand_in[0].astype(jnp.float32)
  fake = functools.partial(
    jax.nn.dot_product_attention, bias=bias, implementation='cudnn'
  )
  y, back = jax.vjp(fake, q, k, v)
  for a, b in zip([y, *back(grad)], run('xla', q, k, v, grad), strict=True):
    np.testing.assert_allclose(a, b, atol=5e-6)


def test_dropout_keeps_the_mean():
  q, k, v, _ = normal()
  one = lambda key: attention.attention(
    q, k, jnp.ones_like(v), SEGMENTS, backend='xla', dropout=0.5, key=key
  )
  mean = jnp.mean(
    jnp.stack([one(k) for k in jax.random.split(jax.random.key(3), 40)])
  )
  assert abs(float(mean) - 1) < 0.02


@pytest.mark.parametrize(
  'wanted, platform, dtype, length, dropout, width',
  [
    ('xla', 'cpu', 'float32', 128, 0.0, 64),
    ('loop', 'cpu', 'float32', 512, 0.0, 64),
    ('xla', 'cpu', 'float32', 512, 0.1, 64),
    ('splash', 'tpu', 'bfloat16', 512, 0.0, 64),
    ('splash', 'tpu', 'float32', 128, 0.0, 80),
    ('xla', 'tpu', 'float16', 512, 0.0, 64),
    ('xla', 'tpu', 'bfloat16', 512, 0.1, 64),
    ('xla', 'tpu', 'bfloat16', 514, 0.0, 64),
    ('cudnn', 'gpu', 'bfloat16', 512, 0.0, 64),
    ('cudnn', 'gpu', 'float16', 130, 0.0, 128),
    ('xla', 'gpu', 'bfloat16', 512, 0.1, 64),
    ('xla', 'gpu', 'float32', 512, 0.0, 64),
    ('xla', 'gpu', 'bfloat16', 513, 0.0, 64),
    ('xla', 'gpu', 'bfloat16', 192, 0.0, 64),  # see choose
    ('xla', 'gpu', 'bfloat16', 512, 0.0, 136),
    ('xla', 'gpu', 'bfloat16', 512, 0.0, 20),
  ],
)
def test_auto(wanted, platform, dtype, length, dropout, width):
  got = attention.choose(
    'auto', dtype, length, dropout, platform=platform, width=width
  )
  assert got == wanted


def test_auto_on_several_cpus(monkeypatch):
  """A loop over heads would gather them where they lie on several devices."""
  for devices, wanted in ((1, 'loop'), (8, 'xla')):
    monkeypatch.setattr(jax, 'device_count', lambda n=devices: n)
    assert attention.choose('auto', jnp.float32, 512, 0.0) == wanted


@pytest.mark.parametrize(
  'backend, platform, dtype, length, width, message',
  [
    ('flash', 'cpu', 'float32', 128, 64, "'flash' is not one of auto, xla"),
    ('cudnn', 'cpu', 'bfloat16', 128, 64, 'needs an NVIDIA GPU, not a CPU'),
    ('cudnn', 'tpu', 'bfloat16', 128, 64, 'needs an NVIDIA GPU, not a TPU'),
    ('cudnn', 'gpu', 'float32', 128, 64, 'or float16, not float32'),
    ('cudnn', 'gpu', 'bfloat16', 127, 64, 'rows of even length, not 127'),
    ('cudnn', 'gpu', 'bfloat16', 128, 192, 'of 8 up to 128, not 192'),
    ('cudnn', 'gpu', 'bfloat16', 128, 20, 'of 8 up to 128, not 20'),
    ('splash', 'gpu', 'bfloat16', 128, 64, 'needs a TPU, not a GPU'),
    ('splash', 'tpu', 'float16', 128, 64, 'or float32, not float16'),
    ('splash', 'tpu', 'bfloat16', 96, 64, 'multiple of 128 positions, not 96'),
  ],
)
def test_a_backend_that_cannot(
  backend, platform, dtype, length, width, message
):
  with pytest.raises(ValueError, match=message) as error:
    attention.choose(backend, dtype, length, 0.0, platform, width)
  assert '\n' not in str(error.value)


def test_dropout_needs_xla():
  for backend in ('loop', 'cudnn', 'splash'):
    with pytest.raises(ValueError, match='has no dropout on probabilities'):
      attention.choose(backend, jnp.bfloat16, 128, 0.1)


@pytest.mark.parametrize(
  'capability, wanted',
  [('9.0', 'cudnn'), ('12.0', 'cudnn'), ('7.5', 'xla'), ('gfx90a', 'xla')],
)
def test_auto_goes_by_the_gpu(monkeypatch, capability, wanted):
  """cuDNN's kernel needs Ampere: a T4 has 7.5, and AMD's have no number."""

  class Device:
    platform = 'gpu'
    compute_capability = capability

  monkeypatch.setattr(jax, 'local_devices', lambda: [Device()])
  choose = functools.partial(
    attention.choose,
    dtype=jnp.bfloat16,
    length=512,
    dropout=0.0,
    platform='gpu',
  )
  assert choose('auto') == wanted
  if wanted == 'xla':
    with pytest.raises(ValueError, match='of Ampere or newer'):
      choose('cudnn')


def far(kind='TPU v5 lite', platform='tpu', shape=(1, 1, 1, 1)):
  """A mesh of devices that are not here, set."""
  device = AbstractDevice(device_kind=kind, num_cores=1, platform=platform)
  mesh = AbstractMesh(
    shape,
    sharding.MESH,
    axis_types=(AxisType.Auto,) * len(shape),
    abstract_device=device,
  )
  return jax.sharding.use_abstract_mesh(mesh)


def test_the_platform_is_that_of_the_mesh():
  assert sharding.platform() == 'cpu'
  with far():
    assert sharding.platform() == 'tpu'
    assert jax.jit(lambda x: x + (sharding.platform() == 'tpu'))(1) == 2
  with far('NVIDIA H200', 'cuda'):
    assert sharding.platform() == 'gpu'
  with jax.set_mesh(sharding.make_mesh((1, 1, 1), devices=jax.devices()[:1])):
    assert sharding.platform() == 'cpu'


def lowered(fn, *shapes):
  """A program for TPUs, its kernels through Mosaic."""
  traced = jax.jit(fn).trace(*shapes)
  return traced.lower(lowering_platforms=('tpu',)).as_text()


@pytest.mark.parametrize('causal', [False, True])
@pytest.mark.parametrize('shape', [(1, 1, 1, 1), (1, 2, 2, 2), (2, 2, 1, 2)])
@pytest.mark.parametrize('width', [64, 80, 128])
def test_lowering_for_tpu(width, shape, causal):
  x = jax.ShapeDtypeStruct((8, 512, 4, width), jnp.bfloat16)
  segments = jax.ShapeDtypeStruct((8, 512), jnp.int32)
  forward = functools.partial(attention.attention, causal=causal)

  def back(q, k, v, segments):
    total = lambda *qkv: forward(*qkv, segments).sum()
    return jax.grad(total, (0, 1, 2))(q, k, v)

  with far(shape=shape):
    texts = [lowered(fn, x, x, x, segments) for fn in (forward, back)]
  assert [text.count('@tpu_custom_call') for text in texts] == [1, 2]
  # Each device's kernel gets its own rows and heads alone.
  rows, heads = 8 // (shape[0] * shape[1] * shape[2]), 4 // shape[3]
  for text in texts:
    call = next(line for line in text.split('\n') if 'tpu_custom_call' in line)
    assert f'tensor<{rows}x{heads}x512x{width}xbf16>' in call


@pytest.mark.parametrize('length, kernels', [(128, 1), (96, 0)])
def test_the_model_lowers_for_tpu_with_the_kernel(length, kernels):
  """It chooses by the mesh; on this process's CPU there is no kernel."""
  config = model.Config(
    vocab_size=64, num_layers=2, model_dim=128, num_heads=2, ff_dim=128
  )
  encoder = model.Encoder(config)
  row = jax.ShapeDtypeStruct((4, length), jnp.int32)
  params = jax.eval_shape(
    encoder.init, jax.random.key(0), *[jnp.zeros((1, 2), jnp.int32)] * 3
  )
  assert 'tpu_custom_call' not in lowered(encoder.apply, params, row, row, row)
  with far(shape=(1, 2, 1, 2)):
    text = lowered(encoder.apply, params, row, row, row)
  assert text.count('@tpu_custom_call') == kernels


def test_tiles_divide_every_row():
  for length in range(128, 8193, 128):
    tiles = attention._tiles(length)
    assert isinstance(tiles, splash.BlockSizes) and tiles.has_backward_blocks
    parts = tiles.block_kv, tiles.block_kv_compute, tiles.block_q
    assert not any(length % n or n % 128 for n in parts)
    assert not tiles.block_kv % tiles.block_kv_compute
    assert tiles.block_q <= 512 and tiles.block_kv <= 1024
    assert tiles.block_kv_compute <= 512
    # The fused backward pass holds a copy of a gradient for each tile of keys.
    assert tiles.use_fused_bwd_kernel == (length // tiles.block_kv <= 2)
  for length in (128, 256, 512, 1024):
    assert attention._tiles(length).block_kv == length


@pytest.fixture(scope='module')
def facts():
  """Runs attention_worker.py on eight fake devices; its JSON."""
  worker = ROOT / 'tests' / 'support' / 'attention_worker.py'
  flags = '--xla_force_host_platform_device_count=8'
  done = subprocess.run(
    [sys.executable, str(worker)],
    env={**os.environ, 'XLA_FLAGS': flags, 'JAX_PLATFORMS': 'cpu'},
    capture_output=True,
    text=True,
    timeout=600,
    check=False,
  )
  assert done.returncode == 0, done.stderr[-3000:]
  return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize('mesh', ['(1, 2, 4)', '(2, 2, 2)'])
@pytest.mark.parametrize('backend', ['xla', 'splash', 'cudnn'])
def test_on_a_mesh(facts, backend, mesh):
  """As on one device, with no leak; no device asks another for anything."""
  found = facts[f'{backend} {mesh}']
  assert found['off'] < (2e-3 if backend == 'cudnn' else 5e-6)
  assert found['leak'] == 0 and found['moved'] > 1
  assert found['spec'] == [['slice', 'data', 'fsdp'], None, 'tensor', None]
  if backend != 'xla':  # XLA may choose, though it should not either
    assert found['collectives'] == []


def test_a_mesh_that_does_not_divide(facts):
  assert facts['heads'] == (
    "6 attention heads are not divisible by the 4 parts of mesh axis 'tensor': "
    'change config.mesh'
  )
  assert '9 rows in a batch are not divisible by the 2 parts' in facts['rows']


@pytest.mark.parametrize(
  'command, message',
  [
    ('attention_gpu', 'no NVIDIA GPU is here, and cuDNN runs on nothing else'),
    ('attention_tpu --libtpu=/no.so', "pip install 'xlmr_jax[plan]'"),
  ],
)
def test_a_benchmark_without_its_device_says_so(command, message):
  done = subprocess.run(
    [sys.executable, '-m', *f'benchmarks.{command}'.split()],
    cwd=ROOT,
    env={**os.environ, 'JAX_PLATFORMS': 'cpu'},
    capture_output=True,
    text=True,
    timeout=120,
    check=False,
  )
  assert done.returncode == 1 and message in done.stderr
  assert 'Traceback' not in done.stderr
