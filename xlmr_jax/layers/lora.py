"""LoRA: a low-rank update beside a Dense (Hu et al. 2021, arXiv:2106.09685).

  y = x W + b + scale dropout(x) A B,   A [in, rank], B [rank, out]

W and b are held, A and B are trained. B starts at 0, so that training starts
with the model as it is; A starts as loralib and PEFT start it, uniform within
1 / sqrt(in), where the paper says normal.
"""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from flax import linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from xlmr_jax.layers.dropout import Dropout

A, B = 'lora_a', 'lora_b'  # names of the two parameters


class Lora(NamedTuple):
  """The update of one Dense.

  Attributes:
    path: of the Dense in the encoder's floor plan, 'layers/attention/query'.
    rank: of the update.
    scale: of the update: alpha / rank.
    dropout: on what goes into A, in training.
  """

  path: str
  rank: int
  scale: float
  dropout: float = 0.0


def parse(rows: Iterable) -> tuple[Lora, ...]:
  """Rows, also as JSON has them, → checked Loras.

  Raises:
    ValueError: a row that is none.
  """
  out = []
  for row in rows:
    try:
      lora = Lora(*row)
      good = (
        isinstance(lora.path, str)
        and type(lora.rank) is int
        and lora.rank > 0
        and lora.scale > 0
        and 0 <= lora.dropout < 1
      )
    except TypeError:
      good = False
    if not good:
      raise ValueError(
        f'lora has the row {row!r}, which is no path, rank above 0, scale '
        'above 0 and dropout in [0, 1)'
      )
    out.append(lora)
  if len({lora.path for lora in out}) < len(out):
    raise ValueError('lora names a path twice')
  return tuple(out)


def find(loras: Iterable[Lora], path: tuple[str, ...]) -> Lora | None:
  """The update of the Dense of a path in the encoder, whichever its stack."""
  name = '/'.join(('layers', *path[1:]))
  return next((lora for lora in loras if lora.path == name), None)


def plan(
  loras: Iterable[Lora] | None, kernels: Mapping[str, tuple[str, ...]]
) -> dict[str, tuple[str, ...]]:
  """Rows of the floor plan for updates.

  Args:
    loras: the updates; None: as if each Dense had one.
    kernels: the floor plan of what they update.

  Raises:
    ValueError: an update of what is no Dense.
  """
  if loras is None:
    ends = [path.rpartition('/') for path in kernels]
    loras = [Lora(path, 1, 1.0) for path, _, end in ends if end == 'kernel']
  rows = {}
  for lora in loras:
    dims = kernels.get(f'{lora.path}/kernel')
    if dims is None:
      raise ValueError(f'lora: the encoder has no Dense {lora.path!r}')
    rows[f'{lora.path}/{A}'] = (*dims[:-1], 'rank')
    rows[f'{lora.path}/{B}'] = (*dims[:-2], 'rank', dims[-1])
  return rows


def update(
  dense: nn.Module, x: Float[Array, '*B I'], features: int, lora: Lora
) -> Float[Array, '*B O']:
  """scale dropout(x) A B in f32, with parameters of `dense`.

  A and B are float32 whatever the others are: they alone are trained.
  """

  def uniform(key, shape, dtype):
    bound = shape[0] ** -0.5
    return jax.random.uniform(key, shape, dtype, -bound, bound)

  a = dense.param(A, uniform, (x.shape[-1], lora.rank), jnp.float32)
  b = dense.param(B, nn.initializers.zeros, (lora.rank, features), jnp.float32)
  x = Dropout(lora.dropout)(x, dense.has_rng('dropout'))
  for matrix in (a, b):
    x = jnp.einsum(
      '...i,io->...o',
      x,
      matrix.astype(x.dtype),
      preferred_element_type=jnp.float32,
    ).astype(x.dtype)
  return x.astype(jnp.float32) * lora.scale
