"""Heads: what stands on the encoder's hidden states.

  mlm       masked LM: dense, GELU, LayerNorm, then the (tied) token table
  classify  <s> → dense, tanh, one score per class (1 class = regression)

A head's parameters are params['head']; a pooler that came with a checkpoint
is kept in params['pooler'] and goes out again. `plan(config, head)` joins the
encoder's PLAN with the head's rows.
"""

from collections.abc import Mapping
import dataclasses

from flax import linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int
import numpy as np

from xlmr_jax.model import (
  ACTIVATIONS,
  PLAN,
  Config,
  Dense,
  Encoder,
  dense_rows,
  layer_norm,
  norm_rows,
)
from xlmr_jax.sharding import shard


class MlmHead(nn.Module):
  """Scores of every token at positions that were gathered before.

  With a tied table the head holds no table of its own; an untied checkpoint
  brings one as the parameter `table`.
  """

  config: Config
  tied: bool = True

  @nn.compact
  def __call__(
    self,
    hidden: Float[Array, 'B M D'],
    table: Float[Array, 'V D'] | None = None,
  ) -> Float[Array, 'B M V']:
    config = self.config
    dtype = jnp.dtype(config.param_dtype)
    x = Dense(config.model_dim, config, name='dense')(hidden)
    # RoBERTa's head always uses the exact GELU, whatever the layers use.
    x = layer_norm(config, 'norm')(ACTIVATIONS['gelu'](x))
    if not self.tied:
      table = self.param(
        'table',
        nn.initializers.normal(config.init_std),
        (config.rows, config.model_dim),
        dtype,
      )
    bias = self.param('bias', nn.initializers.zeros, (config.rows,), dtype)
    table = shard(table, 'vocab', 'width')
    logits = jnp.einsum(
      'BMD,VD->BMV',
      x,
      table.astype(config.dtype),
      preferred_element_type=jnp.float32,
    )
    # Rows that only fill the table up are never the best, and weigh nothing.
    real = jnp.arange(config.rows) < config.vocab_size
    bias = jnp.where(real, bias.astype(jnp.float32), -1e9)
    return shard(logits + bias, 'batch', None, 'vocab')


class ClassifyHead(nn.Module):
  """One score per class for each packed example, from its <s>."""

  config: Config
  classes: int

  @nn.compact
  def __call__(
    self,
    hidden: Float[Array, 'B L D'],
    starts: Int[Array, 'B E'],
    segments: Int[Array, 'B L'] | None = None,
    train: bool = False,
  ) -> Float[Array, 'B E C']:
    del segments  # heads that pool over an example read them
    config = self.config
    drop = nn.Dropout(config.dropout, deterministic=not train)
    x = jnp.take_along_axis(hidden, starts[:, :, None], axis=1)
    x = jnp.tanh(Dense(config.model_dim, config, name='dense')(drop(x)))
    x = Dense(self.classes, config, name='out')(drop(x))
    return x.astype(jnp.float32)


PLANS: Mapping[str, Mapping[str, tuple[str, ...]]] = {
  'mlm': {
    **dense_rows('dense', 'model', 'width'),
    **norm_rows('norm'),
    'bias': ('vocab',),
    'table': ('vocab', 'model'),  # untied only
  },
  'classify': {
    **dense_rows('dense', 'model', 'width'),
    **dense_rows('out', 'model', 'classes'),
  },
  'pooler': dense_rows('dense', 'model', 'width'),
}


def plan(config: Config | None, head: str | None) -> dict[str, tuple[str, ...]]:
  """PLAN of a whole model: 'encoder/…', 'head/…' and 'pooler/…' rows."""
  del config  # a pre-LayerNorm body will add its final norm here
  parts = {'encoder': PLAN, 'pooler': PLANS['pooler']}
  if head is not None:
    parts['head'] = PLANS[head]
  return {
    f'{part}/{path}': dims
    for part, rows in parts.items()
    for path, dims in rows.items()
  }


def make(config: Config, head: str | None, classes: int = 0, tied=True):
  """The head's module by name, or None."""
  if head is None:
    return None
  if head == 'mlm':
    return MlmHead(config, tied)
  if head == 'classify':
    return ClassifyHead(config, classes)
  raise ValueError(f'head {head!r} is not one of mlm, classify')


def init(config: Config, key, head: str | None, classes: int = 0) -> dict:
  """Fresh parameters: {'encoder': ..., 'head': ...}. Jit it, or eval_shape."""
  # A fused backend may refuse rows as short as these.
  config = dataclasses.replace(config, attention='xla')
  encoder_key, head_key = jax.random.split(key)
  row = jnp.zeros((1, 2), jnp.int32)
  encoder = Encoder(config).init(encoder_key, row, row, row)['params']
  params = {'encoder': encoder}
  module = make(config, head, classes)
  hidden = jnp.zeros((1, 2, config.model_dim), config.dtype)
  if head == 'mlm':
    table = encoder['embed']['tokens']
    params['head'] = module.init(head_key, hidden, table)['params']
  elif head == 'classify':
    params['head'] = module.init(head_key, hidden, row)['params']
  return params


def with_rows(params: dict, head: str | None, rows: int) -> dict:
  """The same parameters with token tables of `rows` rows.

  Grows by zeros (training pads the vocabulary to a multiple of 1,024) or cuts
  (on the way out). Arrays of the right size are passed on, not copied.
  """
  dims = plan(None, head)

  def one(path, array):
    names = dims['/'.join(key.key for key in path)]
    if 'vocab' not in names:
      return array
    axis = names.index('vocab')
    size = array.shape[axis]
    if size == rows:
      return array
    if size > rows:
      return array[(slice(None),) * axis + (slice(rows),)]
    xp = np if isinstance(array, np.ndarray) else jnp
    width = [(0, 0)] * array.ndim
    width[axis] = (0, rows - size)
    return xp.pad(array, width)

  return jax.tree_util.tree_map_with_path(one, params)
