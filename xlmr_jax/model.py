"""XLM-RoBERTa's encoder (Conneau et al. 2020, arXiv:1911.02116).

The body is RoBERTa's: learned positions, post-LayerNorm layers, exact GELU.
XL and XXL (Goyal et al. 2021, arXiv:2105.00572) are the same with `pre_norm`,
causal models the same with `causal`, and BERT's (Devlin et al. 2019,
arXiv:1810.04805) the same with `bert`. Shapes everywhere in this project use
one legend:

  B  rows in a batch          N  heads
  L  positions in a row       H  head width (D = N H)
  S  the same, as keys        F  feed-forward width
  M  masked positions of a row V  vocabulary
  D  model width              E  examples packed into a row
  K  depths: layers + 1       C  classes

Rows are packed: several examples share a row, `segments` says which position
belongs to which example, and `positions` restart with each. Parameters are a
plain nested dict; layers are stacked along a leading dimension and run by
`nn.scan`. PLAN at the end names the dimensions of every parameter; sharding,
optimizer masks and conversion read it, and no layer carries a wrapper.
"""

from collections.abc import Callable, Mapping
import dataclasses
from dataclasses import replace
import functools

from flax import linen as nn
import jax
from jax.ad_checkpoint import checkpoint_name
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from xlmr_jax.layers import lora as low_rank
from xlmr_jax.layers.activations import ACTIVATIONS
from xlmr_jax.layers.attention import BACKENDS, attention
from xlmr_jax.layers.dropout import Dropout
from xlmr_jax.layers.plan_rows import dense_rows, norm_rows
from xlmr_jax.runtime.sharding import gathered, shard

DTYPES = ('float32', 'bfloat16', 'float16')
HELD = 'held'  # the first layers, where training gives them apart

# What a layer keeps for the backward pass; the rest is computed again.
REMAT = {
  'none': None,
  'full': jax.checkpoint_policies.nothing_saveable,
  'dots': jax.checkpoint_policies.save_only_these_names('dense'),
}


@dataclasses.dataclass(frozen=True)
class Config:
  """Everything that shapes the encoder. Defaults: XLM-R base.

  The first block is the model; the second is how to run it, and changes no
  parameter but for the padded rows of the table (`vocab_multiple`); the third
  is of the head 'estimate' alone; the last is adapters.
  """

  vocab_size: int = 250_002
  num_layers: int = 12
  model_dim: int = 768
  num_heads: int = 12
  ff_dim: int = 3072
  max_positions: int = 514  # rows of the table; see max_length
  type_vocab_size: int = 1
  pad_id: int = 1
  norm_eps: float = 1e-5
  activation: str = 'gelu'
  dropout: float = 0.1
  attention_dropout: float = 0.1
  init_std: float = 0.02
  pre_norm: bool = False  # XL and XXL: LayerNorm inside the residual branches
  causal: bool = False  # a position sees no later one of its example
  # BERT's body: positions start at 0 and count padding tokens inside a text,
  # and a language head has the activation of the layers.
  bert: bool = False

  vocab_multiple: int = 1  # training uses 1024: 250,002 → 250,880 rows
  dtype: str = 'float32'  # of the computation
  param_dtype: str = 'float32'  # of the parameters
  attention: str = 'auto'
  remat: str = 'none'
  scan: bool = True

  estimator: tuple[int, ...] = ()  # its two hidden sizes; () without that head
  estimator_norm: bool = False  # whether each layer's states are normalised

  lora: tuple[low_rank.Lora, ...] = ()  # the Denses with a low-rank update

  def __post_init__(self):
    object.__setattr__(self, 'estimator', tuple(self.estimator))  # JSON: a list
    object.__setattr__(self, 'lora', low_rank.parse(self.lora))
    low_rank.plan(self.lora, PLAN if self.lora else {})  # for its check
    if len(self.estimator) not in (0, 2) or min(self.estimator, default=1) < 1:
      raise ValueError(f'estimator={self.estimator} is not two positive sizes')
    for name, value in dataclasses.asdict(self).items():
      kind = type(getattr(type(self), name))
      good = (int, float) if kind is float else kind
      if name in ('estimator', 'lora'):
        good = (tuple, list)
      if not isinstance(value, good) or isinstance(value, bool) != (
        kind is bool
      ):
        raise ValueError(f'{name}={value!r} should be of type {kind.__name__}')
    sizes = ('vocab_size', 'num_layers', 'model_dim', 'num_heads', 'ff_dim')
    for name in (*sizes, 'type_vocab_size', 'vocab_multiple'):
      if getattr(self, name) < 1:
        raise ValueError(f'{name}={getattr(self, name)} is not positive')
    if self.max_length < 1:
      raise ValueError(
        f'max_positions={self.max_positions} holds no token: positions start '
        f'at {self.first_position}'
      )
    if self.model_dim % self.num_heads:
      raise ValueError(
        f'model_dim {self.model_dim} is not a multiple of num_heads '
        f'{self.num_heads}'
      )
    for name, known in (
      ('activation', ACTIVATIONS),
      ('remat', REMAT),
      ('dtype', DTYPES),
      ('param_dtype', DTYPES),
      ('attention', BACKENDS),
    ):
      if getattr(self, name) not in known:
        raise ValueError(
          f'{name}={getattr(self, name)!r} is not one of {", ".join(known)}'
        )
    for name in ('norm_eps', 'init_std', 'dropout', 'attention_dropout'):
      if not 0 <= getattr(self, name) < 1:
        raise ValueError(f'{name}={getattr(self, name)} is not in [0, 1)')

  @property
  def head_dim(self) -> int:
    """H."""
    return self.model_dim // self.num_heads

  @property
  def rows(self) -> int:
    """Rows of the token table: vocab_size rounded up."""
    return -(-self.vocab_size // self.vocab_multiple) * self.vocab_multiple

  @property
  def first_position(self) -> int:
    """Row of the table of positions that an example's first token takes."""
    return 0 if self.bert else self.pad_id + 1

  @property
  def max_length(self) -> int:
    """Longest example: 514 rows hold 512 tokens, where they start at 2."""
    return self.max_positions - self.first_position

  def flops(self, length: int) -> int:
    """FLOPs of one token's forward pass in rows of `length` positions.

    Linear layers 2(4D² + 2DF), attention 4LD, per layer; look-ups,
    LayerNorms and activations are not counted. A training step is 3x that.
    """
    d, f = self.model_dim, self.ff_dim
    return self.num_layers * (2 * (4 * d * d + 2 * d * f) + 4 * length * d)


# Conneau et al. 2020, table 6 (base, large); Goyal et al. 2021, table 1 (xl,
# xxl; 878 rows of the table have no token). Liu et al. 2019 (roberta), Sanh et
# al. 2019 (distilroberta), Martin et al. 2020 (camembert), Devlin et al. 2019
# (mbert, multilingual cased, and chinese-bert). tiny and small are ours: for
# tests and the quickstart, and for a laptop's first pretraining run.
_LARGE = Config(num_layers=24, model_dim=1024, num_heads=16, ff_dim=4096)
_XL = Config(vocab_size=250_880, num_heads=32, pre_norm=True)
_BERT = Config(
  vocab_size=119_547,
  max_positions=512,
  type_vocab_size=2,
  pad_id=0,
  norm_eps=1e-12,
  bert=True,
)
VARIANTS: dict[str, Config] = {
  'tiny': Config(
    num_layers=3, model_dim=64, num_heads=2, ff_dim=256, max_positions=130
  ),
  'small': Config(
    num_layers=6, model_dim=256, num_heads=4, ff_dim=1024, max_positions=258
  ),
  'base': Config(),
  'large': _LARGE,
  'xl': replace(_XL, num_layers=36, model_dim=2560, ff_dim=10_240),
  'xxl': replace(_XL, num_layers=48, model_dim=4096, ff_dim=16_384),
  'roberta': Config(vocab_size=50_265),
  'roberta-large': replace(_LARGE, vocab_size=50_265),
  'distilroberta': Config(vocab_size=50_265, num_layers=6),
  'camembert': Config(vocab_size=32_005),
  'mbert': _BERT,
  'chinese-bert': replace(_BERT, vocab_size=21_128),
}


class Dense(nn.Module):
  """x W + b with a kernel [in, out], accumulated in f32."""

  features: int
  config: Config

  @nn.compact
  def __call__(self, x: Float[Array, '*B I']) -> Float[Array, '*B O']:
    config = self.config
    shape, dtype = (x.shape[-1], self.features), jnp.dtype(config.param_dtype)
    init = nn.initializers.normal(config.init_std)
    kernel = self.param('kernel', init, shape, dtype)
    bias = self.param('bias', nn.initializers.zeros, shape[1:], dtype)
    # With bf16 operands XLA:CPU is 2-3x faster when the output is f32.
    y = jnp.einsum(
      '...i,io->...o',
      x.astype(config.dtype),
      kernel.astype(config.dtype),
      preferred_element_type=jnp.float32,
    )
    y = y + bias.astype(jnp.float32)
    if row := low_rank.find(config.lora, self.path):
      y = y + low_rank.update(self, x.astype(config.dtype), self.features, row)
    return checkpoint_name(y.astype(config.dtype), 'dense')


def layer_norm(config: Config, name: str) -> nn.LayerNorm:
  """LayerNorm in f32; flax's fast variance loses 1e-3 at large means."""
  return nn.LayerNorm(
    epsilon=config.norm_eps,
    dtype=jnp.dtype(config.dtype),
    param_dtype=jnp.dtype(config.param_dtype),
    use_fast_variance=False,
    name=name,
  )


class Embed(nn.Module):
  """Token + type + position embeddings, LayerNorm (post-norm), dropout."""

  config: Config

  @nn.compact
  def __call__(
    self,
    tokens: Int[Array, 'B L'],
    positions: Int[Array, 'B L'],
    train: bool = False,
    types: Int[Array, 'B L'] | None = None,
  ) -> Float[Array, 'B L D']:
    config = self.config
    init = nn.initializers.normal(config.init_std)

    def table_init(key, shape, dtype):
      """Rows of real ids only: the padding token's and the padded are 0."""
      ids = jnp.arange(shape[0])[:, None]
      real = (ids != config.pad_id) & (ids < config.vocab_size)
      return jnp.where(real, init(key, shape, dtype), 0).astype(dtype)

    dtype = jnp.dtype(config.param_dtype)
    width = config.model_dim
    table = self.param('tokens', table_init, (config.rows, width), dtype)
    kinds = self.param('types', init, (config.type_vocab_size, width), dtype)
    places = self.param('positions', init, (config.max_positions, width), dtype)
    # Whole along D before the look-up: one gather of [V/tensor, D] over
    # fsdp, and none of the table over tensor.
    table = gathered(table, ('vocab', 'model'), ('vocab', 'width'))
    places = shard(places, 'positions', 'width')
    x = gathered(
      jnp.take(table, tokens, axis=0),
      ('rows', 'length', 'model'),
      ('batch', 'length', 'width'),
    )
    places = jnp.take(places, positions + config.first_position, axis=0)
    kind = kinds[0]
    if types is not None:  # a choice of two, no look-up: nothing to scatter
      kind = jnp.where(types[:, :, None] > 0, kinds[1], kind)
    # Added up in the dtype of the computation: parameters may be coarser.
    x, kind, places = (y.astype(config.dtype) for y in (x, kind, places))
    x = shard(x + (kind + places), 'batch', 'length', 'width')
    if not config.pre_norm:
      x = layer_norm(config, 'norm')(x)
    return Dropout(config.dropout)(x, train)


class Attention(nn.Module):
  """Multi-head self-attention inside each segment."""

  config: Config

  @nn.compact
  def __call__(
    self,
    x: Float[Array, 'B L D'],
    segments: Int[Array, 'B L'],
    train: bool = False,
  ) -> Float[Array, 'B L D']:
    config = self.config

    def project(name):
      y = Dense(config.model_dim, config, name=name)(x)
      y = shard(y, 'batch', 'length', 'heads')
      return y.reshape(*y.shape[:2], config.num_heads, config.head_dim)

    q, k, v = project('query'), project('key'), project('value')
    rate = config.attention_dropout if train else 0.0
    y = attention(
      q,
      k,
      v,
      segments,
      causal=config.causal,
      backend=config.attention,
      dropout=rate,
      key=self.make_rng('dropout') if rate else None,
    )
    y = shard(y.reshape(x.shape), 'batch', 'length', 'heads')
    return Dense(config.model_dim, config, name='out')(y)


class FeedForward(nn.Module):
  """D → F → D with the configured activation."""

  config: Config

  @nn.compact
  def __call__(self, x: Float[Array, 'B L D']) -> Float[Array, 'B L D']:
    config = self.config
    y = Dense(config.ff_dim, config, name='up')(x)
    y = shard(y, 'batch', 'length', 'ff')
    y = ACTIVATIONS[config.activation](y)
    return Dense(config.model_dim, config, name='down')(y)


class Layer(nn.Module):
  """Attention, then feed-forward, each added to what it was given.

  post-norm  x = norm(x + f(x))
  pre-norm   x = x + f(norm(x))
  """

  config: Config

  @nn.compact
  def __call__(self, x, segments, train: bool = False):
    config = self.config
    # After both branches, as in fairseq; transformers' XLMRobertaXL leaves out
    # the second one.
    drop = functools.partial(Dropout(config.dropout), train=train)

    def branch(x, f, norm):
      norm = layer_norm(config, norm)
      x = x + drop(f(norm(x))) if config.pre_norm else norm(x + drop(f(x)))
      return shard(x, 'batch', 'length', 'width')

    attend = Attention(config, name='attention')
    x = branch(x, lambda x: attend(x, segments, train), 'attention_norm')
    return branch(x, FeedForward(config, name='ff'), 'ff_norm')


class Encoder(nn.Module):
  """Packed tokens → hidden states; `output_hidden_states`: of all K depths.

  These are what each layer reads, the embeddings' output first, and then what
  comes out without `output_hidden_states`. `types` are 0 or 1, the text of a
  pair that a token stands in; without them all are 0.

  >>> encoder = Encoder(VARIANTS['tiny'])
  >>> tokens    = jnp.array([[0, 87, 2, 0, 45, 99, 2, 1]])  # <s> a </s> <s> …
  >>> segments  = jnp.array([[1,  1, 1, 2,  2,  2, 2, 0]])
  >>> positions = jnp.array([[0,  1, 2, 0,  1,  2, 3, 0]])
  >>> params = encoder.init(jax.random.key(0), tokens, segments, positions)
  >>> encoder.apply(params, tokens, segments, positions).shape
  (1, 8, 64)
  """

  config: Config

  @nn.compact
  def __call__(
    self,
    tokens: Int[Array, 'B L'],
    segments: Int[Array, 'B L'],
    positions: Int[Array, 'B L'],
    train: bool = False,
    output_hidden_states: bool = False,
    types: Int[Array, 'B L'] | None = None,
  ) -> Float[Array, '*K B L D']:
    config = self.config
    x = Embed(config, name='embed')(tokens, positions, train, types)
    layer = Layer
    if config.remat != 'none':
      # Inside a scan XLA cannot merge the two forward passes anyway.
      layer = nn.remat(
        layer,
        prevent_cse=not config.scan,
        static_argnums=(3,),
        policy=REMAT[config.remat],
      )
    run: Callable = lambda count: nn.scan(
      lambda layer, x, _: (
        layer(x, segments, train),
        x if output_hidden_states else None,
      ),
      variable_axes={'params': 0},
      split_rngs={'params': True, 'dropout': True},
      length=count,
      unroll=1 if config.scan else count,
    )
    held, count, reads = 0, config.num_layers, []
    if self.has_variable('params', HELD):
      held = len(jax.tree.leaves(self.get_variable('params', HELD))[0])
      x, read = run(held)(layer(config, name=HELD), x, None)
      reads.append(read)
    x, read = run(count - held)(layer(config, name='layers'), x, None)
    reads.append(read)
    if config.pre_norm:
      x = layer_norm(config, 'norm')(x)
    return jnp.concatenate([*reads, x[None]]) if output_hidden_states else x


# Parameter path → names of its dimensions, in order. `sharding.AXES` says
# where each goes; a parameter of one dimension beside `layers` is a bias or
# a LayerNorm's, and has no weight decay.
PLAN: Mapping[str, tuple[str, ...]] = {
  'embed/tokens': ('vocab', 'model'),
  'embed/types': ('types', 'model'),
  'embed/positions': ('positions', 'model'),
  **norm_rows('embed/norm'),  # post-norm only
  **dense_rows('layers/attention/query', 'layers', 'model', 'heads'),
  **dense_rows('layers/attention/key', 'layers', 'model', 'heads'),
  **dense_rows('layers/attention/value', 'layers', 'model', 'heads'),
  **dense_rows('layers/attention/out', 'layers', 'heads', 'model'),
  **norm_rows('layers/attention_norm', 'layers'),
  **dense_rows('layers/ff/up', 'layers', 'model', 'ff'),
  **dense_rows('layers/ff/down', 'layers', 'ff', 'model'),
  **norm_rows('layers/ff_norm', 'layers'),
  **norm_rows('norm'),  # pre-norm only
}


def plan(config: Config | None) -> dict[str, tuple[str, ...]]:
  """PLAN's rows of one body; of all bodies, and adapters, without a config."""
  if config is None:
    return {**PLAN, **low_rank.plan(None, PLAN)}
  other = 'embed/norm/' if config.pre_norm else 'norm/'
  rows = {path: d for path, d in PLAN.items() if not path.startswith(other)}
  return rows | low_rank.plan(config.lora, rows)
