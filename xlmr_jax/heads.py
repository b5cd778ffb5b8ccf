"""Heads: what stands on the encoder's hidden states.

  mlm       masked LM: dense, GELU, LayerNorm, then the (tied) token table
  causal    the same parameters, each position scoring the next token
  classify  <s> → dense, tanh, one score per class (1 class = regression)
  choose    <s> → dense, tanh, one score per choice; softmax over a question
  tag       one score per class at every position
  crf       the same, and what a linear chain needs (crf.py)
  answer    scores of being the first and the last token of the answer
  m3        bge-m3: a weight per token, and a vector per token
  estimate  <s> in a mix of all depths → tanh, tanh, a translation's quality

`pool` makes one vector of an example and has no parameters. A head's
parameters are params['head']; a pooler that came with a checkpoint is kept in
params['pooler'] and goes out again. `plan(config, head)` joins the encoder's
rows with the head's.
"""

from collections.abc import Mapping
import dataclasses
import functools

from flax import linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from xlmr_jax.model import (
  ACTIVATIONS,
  Config,
  Dense,
  Encoder,
  dense_rows,
  layer_norm,
  norm_rows,
)
from xlmr_jax.model import plan as encoder_plan
from xlmr_jax.runtime.sharding import gathered, shard


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
    table = gathered(table, ('vocab', 'model'), ('vocab', 'width'))
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


class ExampleHead(nn.Module):
  """Scores for each packed example, from its <s>: classify and choose."""

  config: Config
  classes: int
  drop_first: bool = True  # Hugging Face's multiple choice drops only once

  @nn.compact
  def __call__(
    self,
    hidden: Float[Array, 'B L D'],
    starts: Int[Array, 'B E'],
    train: bool = False,
  ) -> Float[Array, 'B E C']:
    config = self.config
    drop = nn.Dropout(config.dropout, deterministic=not train)
    x = jnp.take_along_axis(hidden, starts[:, :, None], axis=1)
    x = drop(x) if self.drop_first else x
    x = jnp.tanh(Dense(config.model_dim, config, name='dense')(x))
    x = Dense(self.classes, config, name='out')(drop(x))
    return x.astype(jnp.float32)


class TokenHead(nn.Module):
  """Scores at every position: tag, crf and answer.

  With `chain` it also holds a linear chain's parameters, transitions [C, C]
  (from, to), start [C] and end [C], which crf.py reads.
  """

  config: Config
  classes: int
  chain: bool = False
  dropout: float = 0.0

  @nn.compact
  def __call__(
    self, hidden: Float[Array, 'B L D'], train: bool = False
  ) -> Float[Array, 'B L C']:
    config = self.config
    x = nn.Dropout(self.dropout, deterministic=not train)(hidden)
    x = Dense(self.classes, config, name='out')(x)
    if self.chain:
      init = nn.initializers.normal(config.init_std)
      for name, shape in (
        ('transitions', (self.classes, self.classes)),
        ('start', (self.classes,)),
        ('end', (self.classes,)),
      ):
        self.param(name, init, shape, jnp.dtype(config.param_dtype))
    return x.astype(jnp.float32)


class M3Head(nn.Module):
  """bge-m3's two further views (Chen et al. 2024, arXiv:2402.03216, 3.2).

  Returns:
    The weight of each token for lexical matching, [B, L], and a vector of
    length 1 for each token, [B, L, D], for late interaction.
  """

  config: Config

  @nn.compact
  def __call__(
    self, hidden: Float[Array, 'B L D']
  ) -> tuple[Float[Array, 'B L'], Float[Array, 'B L D']]:
    config = self.config
    weights = Dense(1, config, name='sparse')(hidden)[..., 0]
    vectors = Dense(config.model_dim, config, name='colbert')(hidden)
    return jax.nn.relu(weights.astype(jnp.float32)), unit(vectors)


class EstimateHead(nn.Module):
  """COMET-Kiwi: how good a translation is (Rei et al. 2022, arXiv:2209.06243).

  It reads the states of all K depths (Encoder's `every`), weighted by a
  softmax, at the <s> of each example; with `estimator_norm` each depth's
  states are first shifted and scaled to mean 0 and variance 1 over the tokens
  and channels of their example. In training there is dropout behind each tanh;
  COMET's layer dropout, which leaves out whole depths, is not implemented.
  """

  config: Config

  @nn.compact
  def __call__(
    self,
    states: Float[Array, 'K B L D'],
    starts: Int[Array, 'B E'],
    segments: Int[Array, 'B L'],
    train: bool = False,
  ) -> Float[Array, 'B E 1']:
    # The scores of two translations differ in digits that bfloat16 lacks.
    config = dataclasses.replace(self.config, dtype='float32')
    dtype = jnp.dtype(config.param_dtype)
    depths = (config.num_layers + 1, 1)
    scalars = self.param('scalars', nn.initializers.zeros, depths, dtype)
    gamma = self.param('gamma', nn.initializers.ones, (1,), dtype)
    x = jnp.take_along_axis(states, starts[None, :, :, None], axis=2)
    x = x.astype(jnp.float32)
    if config.estimator_norm:
      mean, variance = _moments(states, members(segments, starts.shape[1]))
      x = (x - mean) / jnp.sqrt(variance + 1e-12)  # COMET's own epsilon
    weights = jax.nn.softmax(scalars.astype(jnp.float32), axis=0)
    x = gamma.astype(jnp.float32) * (weights[:, :, None, None] * x).sum(0)
    drop = nn.Dropout(config.dropout, deterministic=not train)
    first, second = hidden_sizes(config)
    x = Dense(first, config, name='first')(x)
    x = drop(jnp.tanh(shard(x, 'batch', None, 'ff')))
    x = drop(jnp.tanh(Dense(second, config, name='second')(x)))
    return Dense(1, config, name='out')(x)


def hidden_sizes(config: Config) -> tuple[int, ...]:
  """The two of the head 'estimate'.

  Raises:
    ValueError: the config has none.
  """
  if not config.estimator:
    raise ValueError(
      "the head 'estimate' needs config.estimator, its two hidden sizes: "
      'COMET-Kiwi of 2022 has (3072, 1024)'
    )
  return config.estimator


def _moments(
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


def members(segments: Int[Array, 'B L'], slots: int) -> Float[Array, 'B E L']:
  """1 where a position belongs to the example in a slot, else 0."""
  numbers = jnp.arange(1, slots + 1)
  return (segments[:, None, :] == numbers[:, None]).astype(jnp.float32)


def unit(x: Float[Array, '*B D']) -> Float[Array, '*B D']:
  """Vectors scaled to length 1, in f32; zeros stay zeros."""
  x = x.astype(jnp.float32)
  length = jnp.sqrt((x * x).sum(-1, keepdims=True))
  return x / jnp.maximum(length, 1e-12)


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


POOLINGS = ('cls', 'mean')

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
  'tag': dense_rows('out', 'model', 'classes'),
  'm3': {
    **dense_rows('sparse', 'model', 'classes'),
    **dense_rows('colbert', 'model', 'width'),
  },
  'estimate': {
    'scalars': ('layers', 'classes'),  # K of them: one per depth
    'gamma': ('classes',),
    # 'ff' and 'width' are here its own two hidden sizes.
    **dense_rows('first', 'model', 'ff'),
    **dense_rows('second', 'ff', 'width'),
    **dense_rows('out', 'width', 'classes'),
  },
  'pooler': dense_rows('dense', 'model', 'width'),
}
PLANS = {
  **PLANS,
  'causal': PLANS['mlm'],
  'choose': PLANS['classify'],
  'answer': PLANS['tag'],
  'crf': {
    **PLANS['tag'],
    'transitions': ('classes', 'classes'),
    'start': ('classes',),
    'end': ('classes',),
  },
}

# Heads whose number of outputs the labels decide, and that of the others.
LABELLED = ('classify', 'tag', 'crf')
OUTPUTS = {'choose': 1, 'answer': 2, 'm3': 1, 'estimate': 1}
# Heads that score the vocabulary, and those with one output per position.
LANGUAGE = ('mlm', 'causal')
PER_TOKEN = ('mlm', 'causal', 'tag', 'crf', 'answer')


def plan(config: Config | None, head: str | None) -> dict[str, tuple[str, ...]]:
  """PLAN of a whole model: 'encoder/…', 'head/…' and 'pooler/…' rows."""
  parts = {'encoder': encoder_plan(config), 'pooler': PLANS['pooler']}
  if head is not None:
    parts['head'] = PLANS[head]
  return {
    f'{part}/{path}': dims
    for part, rows in parts.items()
    for path, dims in rows.items()
  }


def make(config: Config, head: str | None, classes: int = 0, tied=True):
  """The head's module by name, or None.

  Args:
    config: of the model.
    head: one of PLANS.
    classes: C of a labelled head; of the others it is known.
    tied: for mlm and causal, whether the encoder's table scores the tokens.
  """
  classes = OUTPUTS.get(head, classes)
  match head:
    case None:
      return None
    case 'mlm' | 'causal':
      return MlmHead(config, tied)
    case 'classify':
      return ExampleHead(config, classes)
    case 'choose':
      return ExampleHead(config, classes, drop_first=False)
    case 'tag' | 'crf':
      return TokenHead(config, classes, head == 'crf', config.dropout)
    case 'answer':
      return TokenHead(config, classes)
    case 'm3':
      return M3Head(config)
    case 'estimate':
      hidden_sizes(config)  # now, and not when it first runs
      return EstimateHead(config)
  raise ValueError(f'head {head!r} is not one of {", ".join(NAMES)}')


NAMES = tuple(name for name in PLANS if name != 'pooler')


def apply(
  module: nn.Module | None,
  params: dict,
  hidden: Float[Array, '*K B L D'],
  batch: Mapping[str, Array],
  key=None,
):
  """A head on a whole batch; dropout where a key is given.

  mlm and causal score every position here; objectives gather some first.
  `estimate` takes the states of all depths, the others those of the last.
  """
  variables = {'params': params['head']}
  rngs = None if key is None else {'dropout': key}
  train = key is not None
  match module:
    case MlmHead():
      table = params['encoder']['embed']['tokens'] if module.tied else None
      return module.apply(variables, hidden, table)
    case ExampleHead():
      return module.apply(variables, hidden, batch['starts'], train, rngs=rngs)
    case TokenHead():
      return module.apply(variables, hidden, train, rngs=rngs)
    case M3Head():
      return module.apply(variables, hidden)
    case EstimateHead():
      places = batch['starts'], batch['segments']
      return module.apply(variables, hidden, *places, train, rngs=rngs)
  raise TypeError(f'{module} is no head')


def init(
  config: Config, key, head: str | None, classes: int = 0, tied: bool = True
) -> dict:
  """Fresh parameters: {'encoder': ..., 'head': ...}. Jit it, or eval_shape."""
  # A fused backend may refuse rows as short as these.
  config = dataclasses.replace(config, attention='xla')
  encoder_key, head_key = jax.random.split(key)
  row = jnp.zeros((1, 2), jnp.int32)
  encoder = Encoder(config).init(encoder_key, row, row, row)['params']
  params = {'encoder': encoder}
  module = make(config, head, classes, tied)
  if module is None:
    return params
  hidden = jnp.zeros((1, 2, config.model_dim), config.dtype)
  more = ()
  if isinstance(module, MlmHead):
    more = (encoder['embed']['tokens'],)
  elif isinstance(module, ExampleHead):
    more = (row,)
  elif isinstance(module, EstimateHead):
    hidden = jnp.zeros((config.num_layers + 1, *hidden.shape), hidden.dtype)
    more = (row, row)
  params['head'] = module.init(head_key, hidden, *more)['params']
  return params
