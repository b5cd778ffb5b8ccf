"""What training minimises: `(params, batch, key) → {name: (sums, counts)}`.

`'loss'` stands first. An objective gives the sum and the count of each row,
[B], never means: the loop adds them over rows, micro-batches and devices and
divides once by the global count, so accumulation, packing and meshes average
exactly; and a loss that is not finite has a row.

  mlm         masked language modelling; on rows of translation pairs it is
              TLM (Lample and Conneau 2019, section 3.3)
  causal      the next token of each position
  classify    cross-entropy over the classes of each packed example
  multilabel  binary cross-entropy of each class of each packed example
  regression  squared error of each packed example
  choose      cross-entropy over the choices of each question
  tag         cross-entropy over the classes of each labelled position
  crf         the same sequences of labels under a linear chain
  answer      cross-entropy over the positions where an answer starts and ends

`objective_table.py` holds those of fine-tuning by name.
"""

from collections.abc import Callable, Mapping
import dataclasses

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int
import numpy as np

from xlmr_jax import heads
from xlmr_jax.layers import masking
from xlmr_jax.layers.crf import JOINED, constrain, log_partition, score
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


def encode(
  config: Config,
  params: dict,
  batch: Batch,
  key,
  output_hidden_states=False,
):
  """The encoder on a batch; dropout where a key is given."""
  return Encoder(config).apply(
    {'params': params['encoder']},
    batch['tokens'],
    batch['segments'],
    batch['positions'],
    train=key is not None,
    output_hidden_states=output_hidden_states,
    types=batch.get('types'),
    rngs=None if key is None else {'dropout': key},
  )


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
  units: str = 'token',
  words: Int[np.ndarray, 'V 2'] | None = None,
  slack: float | None = None,
  chunk: int = 0,
  tied: bool = True,
) -> Objective:
  """Masked language modelling; the head runs on masked positions only.

  With words and n-grams the loss has a third entry, 'unfit', [B]: the chosen
  tokens for which the row had no slots.

  Args:
    config: of the model.
    mask_id: id of <mask>.
    special_ids: never masked.
    pieces: half-open range of ordinary pieces.
    rate: share of tokens to predict.
    units: what is masked together: one of masking.UNITS.
    words: the vocabulary's table (data/tokenizers/words.py), for words and
      n-grams.
    slack: room for units of many tokens, of `masking.capacity`; None: enough.
    chunk: masked positions of a row scored at a time (0: all). A chunk's
      logits are computed again in the backward pass.
    tied: whether the head scores with the encoder's own table.

  Raises:
    ValueError: a rate that is no share, unknown units, or words without a
      table of the vocabulary's size.
  """
  if not 0 < rate <= 1:
    raise ValueError(f'mask rate {rate} is not in (0, 1]')
  masking.check(units, words, config.vocab_size)

  def prepare(batch: Batch, key: jax.Array) -> Batch:
    drawn = masking.mask_tokens(
      batch['tokens'],
      batch['segments'],
      key,
      mask_id=mask_id,
      special_ids=special_ids,
      pieces=pieces,
      rate=rate,
      units=units,
      words=words,
      slack=slack,
    )
    return {**batch, **drawn}

  return _language(config, 'mlm', prepare, rate, chunk, tied)


def causal(config: Config, *, chunk: int = 0, tied: bool = True) -> Objective:
  """The next token of every position but each example's last.

  Args:
    config: of the model; it should be `causal`, or it sees the next token.
    chunk: positions of a row scored at a time, as for mlm.
    tied: whether the head scores with the encoder's own table.
  """

  def prepare(batch: Batch, key: jax.Array) -> Batch:
    del key
    tokens, segments = batch['tokens'], batch['segments']
    follows = (segments[:, 1:] == segments[:, :-1]) & (segments[:, 1:] > 0)
    places = jnp.broadcast_to(jnp.arange(tokens.shape[1] - 1), follows.shape)
    return {
      **batch,
      'masked': places,
      'targets': tokens[:, 1:],
      'weights': follows.astype(jnp.float32),
    }

  return _language(config, 'causal', prepare, 1.0, chunk, tied)


def _language(config, name, prepare, rate, chunk, tied) -> Objective:
  """Scores of the vocabulary at the positions that `prepare` chose."""
  head = heads.make(config, name, tied=tied)

  def score_positions(params, hidden, targets, weights):
    logits = heads.apply(head, params, hidden, {})
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
      total, right = score_positions(params, hidden, targets, weights)
    else:
      pad = -masked.shape[1] % chunk

      def cut(x):
        """[B, M, ...] → [M / chunk, B, chunk, ...]."""
        x = jnp.pad(x, [(0, 0), (0, pad)] + [(0, 0)] * (x.ndim - 2))
        x = x.reshape(x.shape[0], -1, chunk, *x.shape[2:])
        return jnp.moveaxis(x, 1, 0)

      def step(sums, part):
        more = jax.checkpoint(score_positions)(params, *part)
        return (sums[0] + more[0], sums[1] + more[1]), None

      zero = jnp.zeros(masked.shape[0], jnp.float32)
      parts = (cut(hidden), cut(targets), cut(weights))
      (total, right), _ = jax.lax.scan(step, (zero, zero), parts)
    count = weights.sum(-1)
    sums = {'loss': (total, count), 'accuracy': (right, count)}
    if 'unfit' in batch:
      sums['unfit'] = (batch['unfit'], count + batch['unfit'])
    return sums

  return Objective(name, loss, prepare, rate)


def forward(config: Config, head: str, classes: int = 0) -> Callable:
  """(params, batch, key) → what a head gives; dropout where a key is given.

  Raises:
    ValueError: there is no such head, or the config lacks a size of it.
  """
  module = heads.make(config, head, classes)
  depths = heads.HEADS[head].all_depths

  def run(params: dict, batch: Batch, key):
    body_key, head_key = (None, None) if key is None else jax.random.split(key)
    hidden = encode(config, params, batch, body_key, depths)
    return heads.apply(module, params, hidden, batch, head_key)

  return run


def _mean(losses, right, real, weights=None) -> Sums:
  """Loss and accuracy of each row; `real` is 0 or 1, the loss has weights."""
  dims = tuple(range(1, real.ndim))
  weights = real if weights is None else real * weights
  return {
    'loss': ((losses * weights).sum(dims), weights.sum(dims)),
    'accuracy': ((right * real).sum(dims), real.sum(dims)),
  }


# Objectives of fine-tuning are made of a config and the names of the classes,
# which are None where a kind of question has none.
Labels = tuple[str, ...] | None
Allowed = Mapping[str, np.ndarray] | None
# Of the classes, by id, where some count more than others.
Weights = Float[np.ndarray, 'C'] | None


def _labelled(
  config: Config, name: str, classes: int, weights: Weights
) -> Objective:
  """Cross-entropy where there is a label: per example or per position.

  With weights the loss of each label counts as often as its class says, and
  the mean is over these counts, as torch's CrossEntropyLoss(weight=...) has it.
  """
  run = forward(config, name, classes)

  def loss(params: dict, batch: Batch, key) -> Sums:
    logits = run(params, batch, key)
    labels = batch['labels']
    gold = jnp.maximum(labels, 0)
    losses = cross_entropy(logits, gold)
    right = jnp.argmax(logits, axis=-1) == labels
    each = None if weights is None else jnp.asarray(weights)[gold]
    return _mean(losses, right, (labels >= 0).astype(jnp.float32), each)

  return Objective(name, loss)


def classify(
  config: Config, labels: tuple[str, ...], weights: Weights = None
) -> Objective:
  """Cross-entropy over classes; labels [B, E], -1 is ignored."""
  return _labelled(config, 'classify', len(labels), weights)


def tag(
  config: Config,
  labels: tuple[str, ...],
  weights: Weights = None,
  allowed: Allowed = None,
) -> Objective:
  """Cross-entropy over classes; labels [B, L], what is below 0 is ignored."""
  del allowed  # every tag stands alone
  return _labelled(config, 'tag', len(labels), weights)


def multilabel(
  config: Config, labels: tuple[str, ...], weights: Weights = None
) -> Objective:
  """Binary cross-entropy of each class, the mean over classes and examples.

  labels [B, E, C] are 0 or 1; what is NaN or below 0 is ignored. The mean is
  that of Hugging Face's multi_label_classification; with weights that of
  torch's BCEWithLogitsLoss(pos_weight=...): a class that applies counts more.
  An example matches where all of its classes are right at a probability of 0.5.
  """
  run = forward(config, 'multilabel', len(labels))

  def loss(params: dict, batch: Batch, key) -> Sums:
    logits = run(params, batch, key)
    labels = batch['labels']
    known = labels >= 0  # NaN is not
    gold = jnp.where(known, labels, 0.0)
    on = gold * jax.nn.softplus(-logits)
    off = (1 - gold) * jax.nn.softplus(logits)
    if weights is not None:
      on *= jnp.asarray(weights)
    real = known.any(-1).astype(jnp.float32)
    match = (((logits >= 0) == (gold > 0.5)) | ~known).all(-1)
    losses = (on + off) * known
    return {
      'loss': (losses.sum((1, 2)), known.sum((1, 2), jnp.float32)),
      'exact_match': ((match * real).sum(-1), real.sum(-1)),
    }

  return Objective('multilabel', loss)


def crf(
  config: Config, labels: tuple[str, ...], allowed: Allowed = None
) -> Objective:
  """Negative log-likelihood of each example's labels, [B, L], under a chain.

  The chain links the labelled positions of an example; -1 is no part of it,
  and crf.JOINED, -2, says that a window goes on from another one.
  The loss is summed over sequences and counted per labelled position, as
  `tag` counts. Accuracy is that of the emissions alone: the best path is
  evaluation's business.

  Args:
    config: of the model.
    labels: names by id.
    allowed: True where the labels' scheme allows transitions [C, C], start [C]
      and end [C] (tasks/schemes.py); None for everything.
  """
  run = forward(config, 'crf', len(labels))

  def loss(params: dict, batch: Batch, key) -> Sums:
    emissions = run(params, batch, key)
    tags, segments = batch['labels'], batch['segments']
    active = tags >= 0
    table = params['head']
    if allowed is not None:
      table = constrain(table, allowed)
    joined = tags == JOINED
    best = log_partition(emissions, segments, active, table, joined)
    gold = score(emissions, tags, segments, active, table, joined)
    count = active.sum(-1).astype(jnp.float32)
    right = (jnp.argmax(emissions, axis=-1) == tags) & active
    return {
      'loss': (best - gold, count),
      'accuracy': (right.sum(-1).astype(jnp.float32), count),
    }

  return Objective('crf', loss)


def choose(config: Config, labels: Labels = None) -> Objective:
  """Cross-entropy over the choices of a question.

  labels [B, E] is 1 for the gold choice, and group [B, E] numbers the
  questions (empty slot: -1). A row holds all choices of its questions, so
  slots are compared inside a row only; a question without a gold choice is
  ignored.
  """
  del labels
  run = forward(config, 'choose')

  def loss(params: dict, batch: Batch, key) -> Sums:
    scores = run(params, batch, key)[..., 0]
    group = batch['group']
    same = (group[:, :, None] == group[:, None]) & (group >= 0)[:, :, None]
    # An empty slot competes with itself alone.
    same |= jnp.eye(group.shape[1], dtype=bool)
    others = jnp.where(same, scores[:, None], -jnp.inf)  # [B, E, E]
    losses = jax.nn.logsumexp(others, axis=-1) - scores
    best = scores >= others.max(-1)
    gold = (batch['labels'] == 1) & (group >= 0)
    return _mean(losses, best, gold.astype(jnp.float32))

  return Objective('choose', loss)


def answer(config: Config, labels: Labels = None) -> Objective:
  """Cross-entropy over the first and over the last token of the answer.

  labels [B, E, 2] count from the start of the example; -1 is ignored, and
  (0, 0), the <s>, is the answer of a question that has none. Softmax runs
  inside the example. The two losses are averaged, as Hugging Face does; an
  answer is right where both ends are.
  """
  del labels
  run = forward(config, 'answer')

  def loss(params: dict, batch: Batch, key) -> Sums:
    logits = run(params, batch, key)
    starts, labels = batch['starts'], batch['labels']
    slots = jnp.arange(1, starts.shape[1] + 1)
    member = batch['segments'][:, None, :] == slots[:, None]  # [B, E, L]
    ends = jnp.swapaxes(logits, 1, 2)[:, None]  # [B, 1, 2, L]
    inside = jnp.where(member[:, :, None], ends, -1e30)  # [B, E, 2, L]
    gold = starts[..., None] + jnp.maximum(labels, 0)
    losses = cross_entropy(inside, gold).mean(-1)
    right = (jnp.argmax(inside, axis=-1) == gold).all(-1)
    return _mean(losses, right, (labels >= 0).all(-1).astype(jnp.float32))

  return Objective('answer', loss)


def regression(
  config: Config, labels: Labels = None, head: str = 'classify'
) -> Objective:
  """Squared error of one score per example; label NaN is ignored.

  Args:
    config: of the model.
    labels: there are none.
    head: 'classify' or 'estimate'.
  """
  del labels
  run = forward(config, head, 1)

  def loss(params: dict, batch: Batch, key) -> Sums:
    scores = run(params, batch, key)[..., 0]
    labels = batch['labels']
    real = ~jnp.isnan(labels)
    error = jnp.where(real, scores - jnp.where(real, labels, 0.0), 0.0)
    count = real.sum(-1).astype(jnp.float32)
    return {'loss': ((error**2).sum(-1), count)}

  return Objective(head, loss)
