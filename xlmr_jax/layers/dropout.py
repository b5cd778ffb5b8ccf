"""Dropout that draws its bits where its rows are.

Threefry bits are the same on every mesh. XLA draws those of an rbg key for the
whole batch on every device, so there each device draws its own rows' here; on
another mesh they are other bits.
"""

from flax import linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from xlmr_jax.runtime import sharding


class Dropout(nn.Module):
  """Dropout of [B, L, D], with bits of the stream `dropout`.

  Attributes:
    rate: share of the numbers that become zero.
  """

  rate: float

  @nn.compact
  def __call__(self, x: Float[Array, 'B L D'], train: bool = False):
    if not train or not self.rate:
      return x
    rate = self.rate

    def draw(x, key):
      keep = jax.random.bernoulli(key, 1 - rate, x.shape)
      return jnp.where(keep, x / (1 - rate), 0).astype(x.dtype)

    key = self.make_rng('dropout')
    if jax.random.key_impl(key) != 'rbg' or sharding.alone():
      return draw(x, key)

    def own(x, key):
      return draw(x, jax.random.fold_in(key, sharding.row_part()))

    dims = ('batch', 'length', 'width')
    return sharding.local(own, (dims, ()), dims)(x, key)
