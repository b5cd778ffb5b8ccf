"""Attention inside the examples of packed rows: one function, four backends.

  xla     plain einsums; any device, dropout on the probabilities
  loop    the same, one head after the other: a CPU's caches hold its scores
  cudnn   fused on NVIDIA GPUs, bf16 or fp16; the packed mask goes in as a bias
  splash  Pallas kernel for TPU; knows segments, computes no score twice

A position sees the positions of its own segment, and padding (segment 0)
sees padding, so that no row of scores is all masked.
"""

import functools
import math

import jax
from jax.experimental.pallas.ops.tpu import splash_attention as splash
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

# Far below any score, and finite: a masked row gives a mean, never NaN.
MASKED = -1e30
BACKENDS = ('auto', 'xla', 'loop', 'cudnn', 'splash')


def choose(backend: str, dtype, length: int, dropout: float) -> str:
  """'auto' → the fastest backend that computes this exactly."""
  if backend not in BACKENDS:
    raise ValueError(
      f'attention backend {backend!r} is not one of {", ".join(BACKENDS)}'
    )
  if backend != 'auto':
    if dropout and backend != 'xla':
      raise ValueError(
        f'attention backend {backend!r} has no dropout on probabilities: '
        'set attention_dropout to 0 or the backend to xla'
      )
    return backend
  platform = jax.default_backend()
  half = jnp.dtype(dtype) in (jnp.bfloat16, jnp.float16)
  if dropout:
    return 'xla'
  if platform == 'tpu' and length % 128 == 0:
    return 'splash'
  if platform == 'gpu' and half and length % 2 == 0:
    return 'cudnn'
  if platform == 'cpu' and jax.device_count() == 1 and length > 256:
    return 'loop'
  return 'xla'


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
    ValueError: an unknown backend, or dropout on a fused one.
  """
  chosen = choose(backend, q.dtype, q.shape[1], dropout)
  if chosen == 'splash':
    return _splash(q, k, v, segments, causal)
  same = segments[:, :, None] == segments[:, None, :]
  if causal:
    same = jnp.tril(same)
  if chosen == 'cudnn':
    # A boolean mask would be expanded to [B, N, L, L]; the bias is not.
    bias = jnp.where(same[:, None], 0.0, jnp.finfo(q.dtype).min)
    bias = bias.astype(q.dtype)
    return jax.nn.dot_product_attention(
      q, k, v, bias=bias, implementation='cudnn'
    )
  if chosen == 'loop':
    q, k, v = (jnp.moveaxis(x, 2, 0) for x in (q, k, v))
    one = lambda qkv: _einsums(*qkv, same)
    return jnp.moveaxis(jax.lax.map(one, (q, k, v)), 0, 2)
  q, k, v = (jnp.swapaxes(x, 1, 2) for x in (q, k, v))
  y = _einsums(q, k, v, same[:, None], dropout, key)
  return jnp.swapaxes(y, 1, 2)


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


def _splash(q, k, v, segments, causal, *, interpret: bool | None = None):
  """The TPU kernel; interpreted (slowly) elsewhere, so tests can run it."""
  _, length, heads, width = q.shape
  if length % 128:
    raise ValueError(
      f'splash attention needs rows of a multiple of 128, not {length}'
    )
  if interpret is None:
    interpret = jax.default_backend() != 'tpu'
  kind = splash.CausalMask if causal else splash.FullMask
  mask = splash.MultiHeadMask([kind((length, length)) for _ in range(heads)])
  kernel = splash.make_splash_mha_single_device(mask, interpret=interpret)

  def row(q, k, v, segments):
    ids = splash.SegmentIds(q=segments, kv=segments)
    return kernel(q, k, v, segment_ids=ids)

  order = functools.partial(jnp.transpose, axes=(0, 2, 1, 3))
  scaled = order(q) * (1.0 / math.sqrt(width))
  out = jax.vmap(row)(scaled, order(k), order(v), segments)
  return order(out).astype(q.dtype)
