"""One vector of each packed example, from the states of its tokens."""

import functools

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

POOLINGS = ('cls', 'mean')


def pool(
  hidden: Float[Array, 'B L D'],
  starts: Int[Array, 'B E'],
  segments: Int[Array, 'B L'],
  how: str,
) -> Float[Array, 'B E D']:
  """One f32 vector for each packed example; an empty slot's is arbitrary.

  Args:
    hidden: of the last layer.
    starts: where each example's <s> stands.
    segments: 0 for padding, e for the e-th example of the row.
    how: 'cls', the state of <s>, or 'mean', over all the example's tokens.
  """
  if how not in POOLINGS:
    raise ValueError(f'pooling {how!r} is not one of {", ".join(POOLINGS)}')
  hidden = hidden.astype(jnp.float32)
  if how == 'cls':
    return jnp.take_along_axis(hidden, starts[:, :, None], axis=1)
  member = members(segments, starts.shape[1])
  total = jnp.einsum('BEL,BLD->BED', member, hidden)
  return total / jnp.maximum(member.sum(-1, keepdims=True), 1)


def members(segments: Int[Array, 'B L'], slots: int) -> Float[Array, 'B E L']:
  """1 where a position belongs to the example in a slot, else 0."""
  numbers = jnp.arange(1, slots + 1)
  return (segments[:, None, :] == numbers[:, None]).astype(jnp.float32)


def unit(x: Float[Array, '*B D']) -> Float[Array, '*B D']:
  """Vectors scaled to length 1, in f32; zeros stay zeros."""
  x = x.astype(jnp.float32)
  length = jnp.sqrt((x * x).sum(-1, keepdims=True))
  return x / jnp.maximum(length, 1e-12)


def moments(
  states: Float[Array, 'K B L D'], member: Float[Array, 'B E L']
) -> tuple[Float[Array, 'K B E 1'], Float[Array, 'K B E 1']]:
  """Mean and variance of each example's states, over tokens and channels."""
  states = states.astype(jnp.float32)
  size = jnp.maximum(member.sum(-1), 1) * states.shape[-1]
  exact = functools.partial(jnp.einsum, precision='highest')

  def average(x):
    return exact('BEL,KBL->KBE', member, x.sum(-1)) / size

  mean = average(states)
  own = exact('BEL,KBE->KBL', member, mean)
  variance = average((states - own[..., None]) ** 2)
  return mean[..., None], variance[..., None]
