"""Attention inside the examples of packed rows: one function, four backends.

  xla     plain einsums; any device, dropout on the probabilities
  loop    the same, one head after the other: a CPU's caches hold its scores
  cudnn   fused on NVIDIA GPUs, bf16 or fp16; the packed mask goes in as a bias
  splash  Pallas kernel for TPU; knows segments, keeps no score in memory

A position sees the positions of its own segment, and padding (segment 0)
sees padding, so that no row of scores is all masked. All backends accumulate
scores and take the softmax in f32. On a mesh the fused ones run on each
device's own rows and heads.
"""

import functools
import math

import jax
from jax.experimental.pallas.ops.tpu import splash_attention as splash
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from xlmr_jax.runtime import sharding

# Far below any score, and finite: a masked row gives a mean, never NaN.
MASKED = -1e30
# The same as a bias for cuDNN, which subtracts two of them: at the lowest
# number of a type that is NaN (jax's own cuDNN masks are these, jax#22078).
# In float16 it hides scores up to 3e4, which is as far as the type goes.
BIAS = {'bfloat16': -(2.0**41), 'float16': -(2.0**15)}
BACKENDS = ('auto', 'xla', 'loop', 'cudnn', 'splash')

# Splash's tiles. 512 is MaxText's default; keys come in up to 1,024 but are
# computed with 512 at a time. Up to COPIES tiles of keys the backward pass is
# one kernel, which keeps a copy of the queries' gradient for each.
QUERIES, KEYS, COPIES = 512, 1024, 2


def choose(
  backend: str,
  dtype,
  length: int,
  dropout: float,
  platform: str | None = None,
  width: int = 64,
) -> str:
  """'auto' → the fastest backend that computes this exactly.

  Args:
    backend: one of BACKENDS.
    dtype: of q, k and v.
    length: L.
    dropout: rate on the probabilities.
    platform: 'cpu', 'gpu' or 'tpu' that will run it; by default that of the
      mesh that is set, else this process's.
    width: H.

  Raises:
    ValueError: an unknown backend, or one that cannot do this here.
  """
  if backend not in BACKENDS:
    raise ValueError(
      f'attention backend {backend!r} is not one of {", ".join(BACKENDS)}'
    )
  platform = platform or sharding.platform()
  misfit = functools.partial(
    _misfit, dtype=jnp.dtype(dtype), length=length, width=width
  )
  if backend != 'auto':
    if dropout and backend != 'xla':
      raise ValueError(
        f'attention backend {backend!r} has no dropout on probabilities: '
        'set attention_dropout to 0 or the backend to xla'
      )
    if lack := misfit(backend, platform):
      raise ValueError(
        f'attention backend {backend!r} needs {lack}: set attention to auto'
      )
    return backend
  if dropout:
    return 'xla'
  if platform == 'tpu' and not misfit('splash', platform):
    return 'splash'
  # On Hopper cuDNN up to 9.30 makes NaN of a query's gradient where the rows
  # end in half a tile and all its scores are below -88 (pytorch#196678).
  if platform == 'gpu' and not misfit('cudnn', platform) and length % 128 != 64:
    return 'cudnn'
  if platform == 'cpu' and jax.device_count() == 1 and length > 256:
    return 'loop'
  return 'xla'


def _misfit(backend: str, platform: str, dtype, length: int, width: int) -> str:
  """What a fused backend would need to run this; '' where it runs."""
  if backend == 'splash':
    if platform == 'gpu':
      return 'a TPU, not a GPU'
    if dtype not in (jnp.bfloat16, jnp.float32):
      return f'bfloat16 or float32, not {dtype}'
    if length % 128:
      return f'rows of a multiple of 128 positions, not {length}'
  if backend == 'cudnn':
    if platform != 'gpu':
      return f'an NVIDIA GPU, not a {platform.upper()}'
    if not _flash_gpu():
      return 'an NVIDIA GPU of Ampere or newer'
    if dtype.name not in BIAS:
      return f'bfloat16 or float16, not {dtype}'
    if width % 8 or width > 128:
      return f'a head width of a multiple of 8 up to 128, not {width}'
    if length % 2:
      return f'rows of even length, not {length}'
  return ''


def _flash_gpu() -> bool:
  """False where this process's GPU is too old, or none of NVIDIA's."""
  device = jax.local_devices()[0]
  if device.platform != 'gpu':  # asked on behalf of another machine
    return True
  major = str(getattr(device, 'compute_capability', '')).split('.')[0]
  return major.isdigit() and int(major) >= 8


def attention(
  q: Float[Array, 'B L N H'],
  k: Float[Array, 'B L N H'],
  v: Float[Array, 'B L N H'],
  segments: Int[Array, 'B L'],
  *,
  causal: bool = False,
  backend: str = 'auto',
  dropout: float = 0.0,
  key=None,
) -> Float[Array, 'B L N H']:
  """softmax(q kᵀ / √H) v, inside each segment of each row.

  Args:
    q: queries, unscaled.
    k: keys.
    v: values.
    segments: 0 for padding, e for the e-th example of the row.
    causal: whether a position sees no later one.
    backend: one of BACKENDS.
    dropout: rate on the probabilities; 0 unless training with it.
    key: random key, needed where dropout > 0.

  Raises:
    ValueError: an unknown backend, one that cannot do this here, dropout on a
      fused one, or rows or heads that the mesh does not divide.
  """
  _, length, _, width = q.shape
  chosen = choose(backend, q.dtype, length, dropout, width=width)
  if chosen in ('cudnn', 'splash'):
    fused = _cudnn if chosen == 'cudnn' else _splash
    return _on_each(functools.partial(fused, causal=causal), q, k, v, segments)
  same = _same(segments, causal)
  if chosen == 'loop':
    q, k, v = (jnp.moveaxis(x, 2, 0) for x in (q, k, v))
    one = lambda qkv: _einsums(qkv[0], qkv[1], qkv[2], same)
    return jnp.moveaxis(jax.lax.map(one, (q, k, v)), 0, 2)
  q, k, v = (jnp.swapaxes(x, 1, 2) for x in (q, k, v))
  y = _einsums(q, k, v, same[:, None], dropout, key)
  return jnp.swapaxes(y, 1, 2)


def _same(segments: Int[Array, 'B L'], causal: bool) -> Bool[Array, 'B L S']:
  """Whether a position sees another."""
  same = segments[:, :, None] == segments[:, None, :]
  return jnp.tril(same) if causal else same


def _einsums(
  q: Float[Array, '*B L H'],
  k: Float[Array, '*B L H'],
  v: Float[Array, '*B L H'],
  same: Bool[Array, '*#B L L'],
  dropout: float = 0.0,
  key=None,
) -> Float[Array, '*B L H']:
  """Heads before positions, and the division by the sum last.

  Both orders are what XLA:CPU is fastest with; other devices do not mind.
  """
  scores = jnp.einsum(
    '...LH,...SH->...LS', q, k, preferred_element_type=jnp.float32
  )
  scores = jnp.where(same, scores / math.sqrt(q.shape[-1]), MASKED)
  most = jax.lax.stop_gradient(scores.max(-1, keepdims=True))
  weights = jnp.exp(scores - most)
  total = weights.sum(-1, keepdims=True)
  if dropout:
    keep = jax.random.bernoulli(key, 1.0 - dropout, weights.shape)
    weights = jnp.where(keep, weights / (1.0 - dropout), 0)
  weights = weights.astype(v.dtype)
  y = jnp.einsum(
    '...LS,...SH->...LH', weights, v, preferred_element_type=jnp.float32
  )
  return (y / total).astype(v.dtype)


def _on_each(fused, q, k, v, segments):
  """A fused kernel on each device's own rows and heads: XLA cuts none."""
  mesh = jax.sharding.get_abstract_mesh()
  if not mesh.empty:
    sharding.check_rows(q.shape[0], mesh)
    heads, cuts = q.shape[2], sharding.parts('heads', mesh)
    if heads % cuts:
      raise ValueError(
        f'{heads} attention heads are not divisible by the {cuts} parts of '
        f'mesh axis {sharding.AXES["heads"]!r}: change config.mesh'
      )
  dims = ('batch', 'length', 'heads', 'width')
  run = sharding.local(fused, (dims, dims, dims, ('batch', 'length')), dims)
  return run(q, k, v, segments)


def _cudnn(q, k, v, segments, *, causal):
  # A boolean mask would be expanded to [B, N, L, L]; the bias is not.
  bias = jnp.where(_same(segments, causal), 0.0, BIAS[q.dtype.name])
  return jax.nn.dot_product_attention(
    q, k, v, bias=bias[:, None].astype(q.dtype), implementation='cudnn'
  )


def _tiles(length: int) -> splash.BlockSizes:
  """The largest tiles up to QUERIES and KEYS that divide a row."""

  def fit(most: int, whole: int) -> int:
    sizes = range(min(most, whole), 0, -128)
    return next(n for n in sizes if whole % n == 0)

  q, kv = fit(QUERIES, length), fit(KEYS, length)
  part = fit(QUERIES, kv)  # of the keys at a time
  fused = length // kv <= COPIES
  return splash.BlockSizes(
    block_q=q,
    block_kv=kv,
    block_kv_compute=part,
    block_q_dkv=q,
    block_kv_dkv=kv,
    block_kv_dkv_compute=part,
    block_q_dq=None if fused else q,
    block_kv_dq=None if fused else part,
    use_fused_bwd_kernel=fused,
  )


def _splash(q, k, v, segments, *, causal):
  """The TPU kernel; interpreted (slowly) on a CPU, so that tests can run it."""
  _, length, heads, width = q.shape
  kind = splash.CausalMask if causal else splash.FullMask
  kernel = splash.make_splash_mha_single_device(
    splash.MultiHeadMask([kind((length, length)) for _ in range(heads)]),
    block_sizes=_tiles(length),
    # A remat policy may keep this name: then no score is computed again.
    residual_checkpoint_name='attention',
    interpret=sharding.platform() != 'tpu',
  )

  def row(q, k, v, segments):
    ids = splash.SegmentIds(q=segments, kv=segments)
    return kernel(q, k, v, segment_ids=ids)

  order = functools.partial(jnp.transpose, axes=(0, 2, 1, 3))
  scaled = order(q) * (1.0 / math.sqrt(width))
  out = jax.vmap(row)(scaled, order(k), order(v), segments)
  return order(out).astype(q.dtype)
