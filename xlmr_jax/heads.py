"""Heads: what stands on the encoder's hidden states.

Every head is a row of HEADS and a module that is called in one way:
`module(hidden, batch, train)`. A head's parameters are params['head']; a pooler
that came with a checkpoint is kept in params['pooler'] and goes out again, with
what BERT scores two sentences by.
`pool` makes a vector of each example and has no parameters.

A new head is a row here, a kind of question that uses it (tasks/kinds.py), its
names in Hugging Face's files (checkpoints/hf/names.py) and an objective
(training/objectives.py). docs/extending.md adds one.
"""

from collections.abc import Callable, Mapping
import dataclasses
import functools
from typing import Any

from flax import linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from xlmr_jax.layers.activations import ACTIVATIONS
from xlmr_jax.layers.plan_rows import dense_rows, norm_rows
from xlmr_jax.layers.pooling import POOLINGS, members, moments, pool, unit
from xlmr_jax.model import Config, Dense, Encoder, layer_norm
from xlmr_jax.model import plan as encoder_plan
from xlmr_jax.runtime.sharding import gathered, shard


class MlmHead(nn.Module):
  """Scores of every token of the vocabulary, at each position it is given.

  These are all positions of a row, or M of them that an objective gathered.
  A tied head scores with batch['table'], the encoder's token table, which
  `apply` puts there; an untied one has the parameter `table`.
  """

  config: Config
  classes: int = 0
  tied: bool = True

  @nn.compact
  def __call__(
    self,
    hidden: Float[Array, 'B M D'],
    batch: Mapping[str, Array],
    train: bool = False,
  ) -> Float[Array, 'B M V']:
    del train  # it has no dropout
    config = self.config
    dtype = jnp.dtype(config.param_dtype)
    x = Dense(config.model_dim, config, name='dense')(hidden)
    # RoBERTa's head always uses the exact GELU, whatever the layers use.
    activation = config.activation if config.bert else 'gelu'
    x = layer_norm(config, 'norm')(ACTIVATIONS[activation](x))
    if self.tied:
      table = batch['table']
    else:
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
  tied: bool = True
  drop_first: bool = True  # Hugging Face's multiple choice drops only once

  @nn.compact
  def __call__(
    self,
    hidden: Float[Array, 'B L D'],
    batch: Mapping[str, Array],
    train: bool = False,
  ) -> Float[Array, 'B E C']:
    config = self.config
    drop = nn.Dropout(config.dropout, deterministic=not train)
    x = jnp.take_along_axis(hidden, batch['starts'][:, :, None], axis=1)
    # BERT's pooler is this dense layer, and has no dropout before it.
    x = drop(x) if self.drop_first and not config.bert else x
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
  tied: bool = True
  chain: bool = False
  drop: bool = True

  @nn.compact
  def __call__(
    self,
    hidden: Float[Array, 'B L D'],
    batch: Mapping[str, Array],
    train: bool = False,
  ) -> Float[Array, 'B L C']:
    del batch
    config = self.config
    drop = nn.Dropout(config.dropout, deterministic=not train)
    x = drop(hidden) if self.drop else hidden
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
  """bge-m3's three views of a text (Chen et al. 2024, arXiv:2402.03216, 3.2).

  Returns:
    The vector of each example's <s>, [B, E, D], of length 1; the weight of
    each token for lexical matching, [B, L]; and a vector of length 1 for each
    token, [B, L, D], for late interaction.
  """

  config: Config
  classes: int = 1
  tied: bool = True

  @nn.compact
  def __call__(
    self,
    hidden: Float[Array, 'B L D'],
    batch: Mapping[str, Array],
    train: bool = False,
  ) -> tuple[Float[Array, 'B E D'], Float[Array, 'B L'], Float[Array, 'B L D']]:
    del train  # it has no dropout
    config = self.config
    weights = Dense(1, config, name='sparse')(hidden)[..., 0]
    vectors = Dense(config.model_dim, config, name='colbert')(hidden)
    weights = jax.nn.relu(weights.astype(jnp.float32))
    vectors = unit(vectors)
    dense = unit(pool(hidden, batch['starts'], batch['segments'], 'cls'))
    return dense, weights, vectors


class EstimateHead(nn.Module):
  """COMET-Kiwi: how good a translation is (Rei et al. 2022, arXiv:2209.06243).

  It reads the states of all K depths, weighted by a softmax, at the <s> of
  each example; with `estimator_norm` each depth's
  states are first shifted and scaled to mean 0 and variance 1 over the tokens
  and channels of their example. In training there is dropout behind each tanh;
  COMET's layer dropout, which leaves out whole depths, is not implemented.
  """

  config: Config
  classes: int = 1
  tied: bool = True

  @nn.compact
  def __call__(
    self,
    hidden: Float[Array, 'K B L D'],
    batch: Mapping[str, Array],
    train: bool = False,
  ) -> Float[Array, 'B E 1']:
    starts, segments = batch['starts'], batch['segments']
    # The scores of two translations differ in digits that bfloat16 lacks.
    config = dataclasses.replace(self.config, dtype='float32')
    dtype = jnp.dtype(config.param_dtype)
    depths = (config.num_layers + 1, 1)
    scalars = self.param('scalars', nn.initializers.zeros, depths, dtype)
    gamma = self.param('gamma', nn.initializers.ones, (1,), dtype)
    x = jnp.take_along_axis(hidden, starts[None, :, :, None], axis=2)
    x = x.astype(jnp.float32)
    if config.estimator_norm:
      mean, variance = moments(hidden, members(segments, starts.shape[1]))
      x = (x - mean) / jnp.sqrt(variance + 1e-12)  # COMET's own epsilon
    weights = jax.nn.softmax(scalars.astype(jnp.float32), axis=0)
    x = gamma.astype(jnp.float32) * (weights[:, :, None, None] * x).sum(0)
    drop = nn.Dropout(config.dropout, deterministic=not train)
    first, second = config.estimator
    x = Dense(first, config, name='first')(x)
    x = drop(jnp.tanh(shard(x, 'batch', None, 'ff')))
    x = drop(jnp.tanh(Dense(second, config, name='second')(x)))
    return Dense(1, config, name='out')(x)


@dataclasses.dataclass(frozen=True)
class Head:
  """A row of HEADS: what the other rooms ask about a head.

  Attributes:
    name: in configs, in checkpoints and in the table.
    make: (config, classes, tied) → its module; C is `outputs`, or the number
      of labels, and `tied` is for those that score the vocabulary.
    plan: path of each of its parameters → names of its dimensions.
    outputs: C, where the head itself decides it.
    labelled: whether it has an output for each label, and names for them.
    language: whether it scores the vocabulary.
    causal: whether the body must not look ahead.
    per_token: whether it scores each position of an example, not an example.
    chain: whether it holds a linear chain's parameters (layers/crf.py).
    views: whether it gives vectors and weights of a text instead of scores.
    all_depths: whether it reads the states of all depths, [K, B, L, D].
    sizes: config → the sizes of its dimensions that are not the body's.
  """

  name: str | None
  make: Callable[[Config, int, bool], nn.Module | None]
  plan: Mapping[str, tuple[str, ...]]
  outputs: int = 0
  labelled: bool = False
  language: bool = False
  causal: bool = False
  per_token: bool = False
  chain: bool = False
  views: bool = False
  all_depths: bool = False
  sizes: Callable[[Config], Mapping[str, int]] = lambda config: {}

  def __post_init__(self):
    if self.name in POOLINGS:  # inference/packed.py asks for either by name
      raise ValueError(f'head {self.name!r} has the name of a pooling')


def _estimate_sizes(config: Config) -> dict[str, int]:
  if not config.estimator:
    raise ValueError(
      "the head 'estimate' needs config.estimator, its two hidden sizes: "
      'COMET-Kiwi of 2022 has (3072, 1024)'
    )
  first, second = config.estimator
  return {'layers': config.num_layers + 1, 'ff': first, 'width': second}


_DENSE = dense_rows('dense', 'model', 'width')
_OUT = dense_rows('out', 'model', 'classes')
_CHAIN = {
  'transitions': ('classes', 'classes'),
  'start': ('classes',),
  'end': ('classes',),
}
_MLM = {
  **_DENSE,
  **norm_rows('norm'),
  'bias': ('vocab',),
  'table': ('vocab', 'model'),  # untied only
}
_M3 = {
  **dense_rows('sparse', 'model', 'classes'),
  **dense_rows('colbert', 'model', 'width'),
}
_ESTIMATE = {
  'scalars': ('layers', 'classes'),  # K of them: one per depth
  'gamma': ('classes',),
  # 'ff' and 'width' are here its own two hidden sizes.
  **dense_rows('first', 'model', 'ff'),
  **dense_rows('second', 'ff', 'width'),
  **dense_rows('out', 'width', 'classes'),
}
_language = functools.partial(
  Head, make=MlmHead, plan=_MLM, language=True, per_token=True
)
_example = functools.partial(Head, plan={**_DENSE, **_OUT})
_token = functools.partial(Head, plan=_OUT, per_token=True)
_chain = functools.partial(TokenHead, chain=True)
_undropped = functools.partial(TokenHead, drop=False)
_choose = functools.partial(ExampleHead, drop_first=False)

HEADS: dict[str | None, Head] = {
  head.name: head
  for head in (
    Head(None, lambda config, classes, tied: None, {}),  # the body alone
    # Masked LM: dense, GELU, LayerNorm, then the (tied) token table.
    _language('mlm'),
    # The same parameters; each position scores the next token.
    _language('causal', causal=True),
    # <s> → dense, tanh, one score per class (1 class = regression).
    _example('classify', ExampleHead, labelled=True),
    # The same parameters; each class applies or not, whatever the others do.
    _example('multilabel', ExampleHead, labelled=True),
    # <s> → dense, tanh, one score per choice; softmax over a question.
    _example('choose', _choose, outputs=1),
    # One score per class at every position.
    _token('tag', TokenHead, labelled=True),
    # The same, and what a linear chain needs.
    _token('crf', _chain, plan=_OUT | _CHAIN, labelled=True, chain=True),
    # Scores of being the first and the last token of the answer.
    _token('answer', _undropped, outputs=2),
    # bge-m3: a vector of a text, a weight per token, a vector per token.
    Head('m3', M3Head, _M3, outputs=1, views=True),
    # <s> in a mix of all depths → tanh, tanh, a translation's quality.
    Head(
      'estimate',
      EstimateHead,
      _ESTIMATE,
      outputs=1,
      all_depths=True,
      sizes=_estimate_sizes,
    ),
  )
}
# Two scores: whether BERT's second sentence follows the first, or is another.
NEXT_SENTENCE = dense_rows('next_sentence', 'model', 'classes')
POOLER = {**_DENSE, **NEXT_SENTENCE}  # the second of BERT's pretraining only
# A layer on pooled vectors: sentence-transformers' Dense.
PROJECTION = {'kernel': ('model', 'width'), 'bias': ('width',)}


def find(name: str | None) -> Head:
  """The row of a head.

  Raises:
    ValueError: HEADS has no such row.
  """
  if not isinstance(name, str | None) or name not in HEADS:
    known = ', '.join(name for name in HEADS if name)
    raise ValueError(f'head {name!r} is not one of {known}')
  return HEADS[name]


def same_parameters(head: str | None, other: str | None) -> bool:
  """Whether one head's parameters are another's, for another use."""
  one, two = HEADS[head], HEADS[other]
  return head == other or (one.make is two.make and one.plan == two.plan)


def plan(config: Config | None, head: str | None) -> dict[str, tuple[str, ...]]:
  """PLAN of a whole model: 'encoder/…', 'head/…' and what may lie beside."""
  parts = {
    'encoder': encoder_plan(config),
    'pooler': POOLER,
    'projection': PROJECTION,
    'head': HEADS[head].plan,
  }
  return {
    f'{part}/{path}': dims
    for part, rows in parts.items()
    for path, dims in rows.items()
  }


def make(
  config: Config, head: str | None, classes: int = 0, tied: bool = True
) -> nn.Module | None:
  """The module of a head; None for the body alone.

  Args:
    config: of the model.
    head: one of HEADS.
    classes: C of a labelled head; the others know theirs.
    tied: whether a language head scores with the encoder's table.

  Raises:
    ValueError: there is no such head, or the config lacks a size that it
      needs.
  """
  row = find(head)
  row.sizes(config)  # refused here, and not when the module first runs
  return row.make(config, row.outputs or classes, tied)


def apply(
  module: Any,
  params: dict,
  hidden: Float[Array, '*K B L D'],
  batch: Mapping[str, Array],
  key=None,
):
  """A head's outputs for a batch; dropout where a key is given."""
  table = params['encoder']['embed']['tokens']
  return module.apply(
    {'params': params['head']},
    hidden,
    {**batch, 'table': table},
    key is not None,
    rngs=None if key is None else {'dropout': key},
  )


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
  if HEADS[head].all_depths:
    hidden = jnp.zeros((config.num_layers + 1, *hidden.shape), hidden.dtype)
  table = encoder['embed']['tokens']
  batch = {'starts': row, 'segments': row, 'table': table}
  params['head'] = module.init(head_key, hidden, batch)['params']
  return params
