"""Attention inside the examples of packed rows: one function, three backends.

  xla     plain einsums; any device, dropout on the probabilities
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
from jaxtyping import Array, Float, Int

# Far below any score, and finite: a masked row gives a mean, never NaN.
MASKED = -1e30
BACKENDS = ('auto', 'xla', 'cudnn', 'splash')


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
  return 'xla'


def attention(
  q: Float[Array, 'B L N H'],
  k: Float[Array, 'B L N H'],
  v: Float[Array, 'B L N H'],
  segments: Int[Array, 'B L'],
  *,
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
    backend: one of BACKENDS.
    dropout: rate on the probabilities; 0 unless training with it.
    key: random key, needed where dropout > 0.

  Raises:
    ValueError: an unknown backend, or dropout on a fused one.
  """
  chosen = choose(backend, q.dtype, q.shape[1], dropout)
  if chosen == 'splash':
    return _splash(q, k, v, segments)
  same = segments[:, None, :, None] == segments[:, None, None, :]
  if chosen == 'cudnn':
    # A boolean mask would be expanded to [B, N, L, L]; the bias is not.
    bias = jnp.where(same, 0.0, jnp.finfo(q.dtype).min).astype(q.dtype)
    return jax.nn.dot_product_attention(
      q, k, v, bias=bias, implementation='cudnn'
    )
  scores = jnp.einsum(
    'BLNH,BSNH->BNLS', q, k, preferred_element_type=jnp.float32
  )
  scores = jnp.where(same, scores / math.sqrt(q.shape[-1]), MASKED)
  probs = jax.nn.softmax(scores, axis=-1).astype(q.dtype)
  if dropout:
    keep = jax.random.bernoulli(key, 1.0 - dropout, probs.shape)
    probs = jnp.where(keep, probs / (1.0 - dropout), 0).astype(q.dtype)
  return jnp.einsum('BNLS,BSNH->BLNH', probs, v)


def _splash(q, k, v, segments, *, interpret: bool | None = None):
  """The TPU kernel; interpreted (slowly) elsewhere, so tests can run it."""
  _, length, heads, width = q.shape
  if length % 128:
    raise ValueError(
      f'splash attention needs rows of a multiple of 128, not {length}'
    )
  if interpret is None:
    interpret = jax.default_backend() != 'tpu'
  mask = splash.MultiHeadMask(
    [splash.FullMask((length, length)) for _ in range(heads)]
  )
  kernel = splash.make_splash_mha_single_device(mask, interpret=interpret)

  def row(q, k, v, segments):
    ids = splash.SegmentIds(q=segments, kv=segments)
    return kernel(q, k, v, segment_ids=ids)

  order = functools.partial(jnp.transpose, axes=(0, 2, 1, 3))
  scaled = order(q) * (1.0 / math.sqrt(width))
  out = jax.vmap(row)(scaled, order(k), order(v), segments)
  return order(out).astype(q.dtype)
