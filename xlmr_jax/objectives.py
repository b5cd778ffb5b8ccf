"""What training minimises: `(params, batch, key) → {name: (sums, counts)}`.

`'loss'` stands first. An objective gives the sum and the count of each row,
[B], never means: the loop adds them over rows, micro-batches and devices and
divides once by the global count, so accumulation, packing and meshes average
exactly; and a loss that is not finite has a row.

  mlm         masked language modelling; on rows of translation pairs it is
              TLM (Lample and Conneau 2019, section 3.3)
  classify    cross-entropy over the classes of each packed example
  regression  squared error of each packed example
"""

from collections.abc import Callable, Mapping
import dataclasses
import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from xlmr_jax import heads
from xlmr_jax.model import Config, Encoder

Batch = Mapping[str, jax.Array]
Sums = dict[str, tuple[jax.Array, jax.Array]]


@dataclasses.dataclass(frozen=True)
class Objective:
  """A loss and what it draws on the whole batch before the loss.

  Attributes:
    head: name of the head it needs.
    loss: (params, batch, key) → {name: (sums [B], counts [B])}. key None: no
      dropout.
    prepare: (batch, key) → batch. Runs once on the global batch, before it is
      cut into micro-batches, so that the draw does not depend on the cut.
    rate: share of the tokens whose scores over the vocabulary are needed.
  """

  head: str
  loss: Callable[[dict, Batch, jax.Array | None], Sums]
  prepare: Callable[[Batch, jax.Array], Batch] = lambda batch, key: batch
  rate: float = 0.0


def encode(config: Config, params: dict, batch: Batch, key):
  """The encoder on a batch; dropout where a key is given."""
  return Encoder(config).apply(
    {'params': params['encoder']},
    batch['tokens'],
    batch['segments'],
    batch['positions'],
    train=key is not None,
    rngs=None if key is None else {'dropout': key},
  )


def capacity(length: int, rate: float) -> int:
  """Static slots for masked positions of a row: ceil(rate L) + 1."""
  return min(length, math.ceil(rate * length) + 1)


def mask_tokens(
  tokens: Int[Array, 'B L'],
  segments: Int[Array, 'B L'],
  key: jax.Array,
  *,
  mask_id: int,
  special_ids: tuple[int, ...],
  pieces: tuple[int, int],
  rate: float = 0.15,
) -> dict[str, jax.Array]:
  """Draws the tokens to predict, as BERT does (Devlin et al. 2019, 3.1).

  Per row, k = floor(rate n + u) of its n non-special real tokens, u uniform:
  the expectation is exactly rate n. Of the chosen 80 % become <mask>, 10 % a
  random piece, 10 % stay. fairseq draws random replacements from the whole
  dictionary, specials included; here only real pieces are drawn.

  Args:
    tokens: packed rows.
    segments: 0 for padding.
    key: threefry key; the same on every mesh.
    mask_id: id of <mask>.
    special_ids: ids that are never chosen.
    pieces: half-open range of ids that replacements come from.
    rate: share of tokens to predict.

  Returns:
    tokens [B, L] with the replacements; masked [B, M] positions in the row;
    targets [B, M] the original ids; weights f32 [B, M], 0 for an empty slot.
  """
  rows, length = tokens.shape
  slots = capacity(length, rate)
  count_key, order_key, kind_key, piece_key = jax.random.split(key, 4)
  special = jnp.isin(tokens, jnp.asarray(special_ids, tokens.dtype))
  eligible = (segments > 0) & ~special
  share = rate * eligible.sum(-1) + jax.random.uniform(count_key, (rows,))
  chosen = jnp.floor(share).astype(jnp.int32)
  order = jax.random.uniform(order_key, (rows, length))
  _, masked = jax.lax.top_k(jnp.where(eligible, order, -1.0), slots)
  valid = jnp.arange(slots) < chosen[:, None]
  targets = jnp.take_along_axis(tokens, masked, axis=1)
  kind = jax.random.uniform(kind_key, (rows, slots))
  random = jax.random.randint(
    piece_key, (rows, slots), *pieces, dtype=tokens.dtype
  )
  shown = jnp.where(kind < 0.8, mask_id, random)
  shown = jnp.where(kind < 0.9, shown, targets)
  shown = jnp.where(valid, shown, targets)
  replaced = jax.vmap(lambda row, at, new: row.at[at].set(new))(
    tokens, masked, shown
  )
  return {
    'tokens': replaced,
    'masked': masked,
    'targets': targets,
    'weights': valid.astype(jnp.float32),
  }


def cross_entropy(
  logits: Float[Array, '*B C'], targets: Int[Array, '*B']
) -> Float[Array, '*B']:
  """-log softmax(logits)[target]."""
  return jax.nn.logsumexp(logits, axis=-1) - gold_score(logits, targets)


def gold_score(
  logits: Float[Array, '*B C'], targets: Int[Array, '*B']
) -> Float[Array, '*B']:
  """logits[target], as a sum over all classes of which one is not 0.

  A look-up would gather a sharded dimension, and its gradient would scatter
  into a second array as large as the logits.
  """
  classes = jnp.arange(logits.shape[-1], dtype=targets.dtype)
  return jnp.where(classes == targets[..., None], logits, 0).sum(-1)


def mlm(
  config: Config,
  *,
  mask_id: int,
  special_ids: tuple[int, ...],
  pieces: tuple[int, int],
  rate: float = 0.15,
  chunk: int = 0,
  tied: bool = True,
) -> Objective:
  """Masked language modelling; the head runs on masked positions only.

  Args:
    config: of the model.
    mask_id: id of <mask>.
    special_ids: never masked.
    pieces: half-open range of ordinary pieces.
    rate: share of tokens to predict.
    chunk: masked positions of a row scored at a time (0: all). A chunk's
      logits are computed again in the backward pass.
    tied: whether the head scores with the encoder's own table.

  Raises:
    ValueError: a rate that is no share.
  """
  if not 0 < rate <= 1:
    raise ValueError(f'mask rate {rate} is not in (0, 1]')
  head = heads.make(config, 'mlm', tied=tied)

  def prepare(batch: Batch, key: jax.Array) -> Batch:
    drawn = mask_tokens(
      batch['tokens'],
      batch['segments'],
      key,
      mask_id=mask_id,
      special_ids=special_ids,
      pieces=pieces,
      rate=rate,
    )
    return {**batch, **drawn}

  def score(params, hidden, targets, weights):
    table = params['encoder']['embed']['tokens'] if tied else None
    logits = head.apply({'params': params['head']}, hidden, table)
    losses = cross_entropy(logits, targets)
    # argmax would read all logits again; the maximum is in the loss already.
    right = gold_score(logits, targets) >= logits.max(-1)
    return (losses * weights).sum(-1), (right * weights).sum(-1)

  def loss(params: dict, batch: Batch, key) -> Sums:
    hidden = encode(config, params, batch, key)
    masked, targets, weights = (
      batch[name] for name in ('masked', 'targets', 'weights')
    )
    hidden = jnp.take_along_axis(hidden, masked[:, :, None], axis=1)
    if not chunk or chunk >= masked.shape[1]:
      total, right = score(params, hidden, targets, weights)
    else:
      pad = -masked.shape[1] % chunk

      def cut(x):
        """[B, M, ...] → [M / chunk, B, chunk, ...]."""
        x = jnp.pad(x, [(0, 0), (0, pad)] + [(0, 0)] * (x.ndim - 2))
        x = x.reshape(x.shape[0], -1, chunk, *x.shape[2:])
        return jnp.moveaxis(x, 1, 0)

      def step(sums, part):
        more = jax.checkpoint(score)(params, *part)
        return (sums[0] + more[0], sums[1] + more[1]), None

      zero = jnp.zeros(masked.shape[0], jnp.float32)
      parts = (cut(hidden), cut(targets), cut(weights))
      (total, right), _ = jax.lax.scan(step, (zero, zero), parts)
    count = weights.sum(-1)
    return {'loss': (total, count), 'accuracy': (right, count)}

  return Objective('mlm', loss, prepare, rate)


def classify(config: Config, *, classes: int) -> Objective:
  """Cross-entropy over classes; label -1 is ignored."""
  head = heads.make(config, 'classify', classes)

  def loss(params: dict, batch: Batch, key) -> Sums:
    logits = _example_logits(config, head, params, batch, key)
    labels = batch['labels']
    weights = (labels >= 0).astype(jnp.float32)
    losses = cross_entropy(logits, jnp.maximum(labels, 0))
    right = jnp.argmax(logits, axis=-1) == labels
    count = weights.sum(-1)
    return {
      'loss': ((losses * weights).sum(-1), count),
      'accuracy': ((right * weights).sum(-1), count),
    }

  return Objective('classify', loss)


def regression(config: Config) -> Objective:
  """Squared error of one score per example; label NaN is ignored."""
  head = heads.make(config, 'classify', 1)

  def loss(params: dict, batch: Batch, key) -> Sums:
    scores = _example_logits(config, head, params, batch, key)[..., 0]
    labels = batch['labels']
    real = ~jnp.isnan(labels)
    error = jnp.where(real, scores - jnp.where(real, labels, 0.0), 0.0)
    count = real.sum(-1).astype(jnp.float32)
    return {'loss': ((error**2).sum(-1), count)}

  return Objective('classify', loss)


def _example_logits(config, head, params, batch, key):
  """[B, E, C] of packed examples."""
  encoder_key, head_key = (None, None) if key is None else jax.random.split(key)
  hidden = encode(config, params, batch, encoder_key)
  return head.apply(
    {'params': params['head']},
    hidden,
    batch['starts'],
    batch['segments'],
    train=key is not None,
    rngs=None if key is None else {'dropout': head_key},
  )
