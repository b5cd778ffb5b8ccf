"""Runs a model over examples of any number and length.

They are packed into rows of a few static shapes, run, and unpacked in the
order given: no padding is computed, nothing recompiles.
"""

from collections.abc import Callable, Iterator, Sequence
import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from xlmr_jax import heads
from xlmr_jax.data.batches import pack
from xlmr_jax.data.batches.convention import ROBERTA, Convention
from xlmr_jax.layers import crf
from xlmr_jax.layers.pooling import POOLINGS, pool
from xlmr_jax.model import Config, Encoder
from xlmr_jax.runtime import sharding

# A text, a pair of texts, or ids.
Example = str | tuple[str, str] | Sequence[int] | np.ndarray
# Called with the examples, the real and the computed tokens of a batch.
Progress = Callable[[int, int, int], None]

# Positions of a step. A CPU is fastest while a layer's activations fit its
# caches: measured, docs/log.md of 2026-11-21, "Where inference went".
POSITIONS = {'cpu': 2048}
# An accelerator wants more work at once; chosen, not measured.
MOST_POSITIONS = 16_384
# Rows are a multiple of this long, but for a few short texts: splash needs it.
UNIT = 128
LONGEST = 512  # longer rows only for longer examples, or to be full
# The share of a sample's computed tokens that should be real: one point over
# the target of 95 % of all. Rows of 512 reach 95.0 % on XQuAD's eleven
# languages (docs/log.md, "Questions in rows").
FULL = 0.96


@dataclasses.dataclass(frozen=True)
class Program:
  """A forward pass, and where it runs.

  Attributes:
    config: of the model.
    output: a head, a pooling, or None for the hidden states.
    classes: of a labelled head.
    tied: whether the encoder's table scores the vocabulary.
    mesh: rows are cut over its devices; None for the default device.
    depth: of the states that are pooled, 0 for the embeddings; None for the
      last layer's.
    skip: tokens that a pooling leaves out.
    convention: how the model's batches are filled.
  """

  config: Config
  output: str | None
  classes: int = 0
  tied: bool = True
  mesh: jax.sharding.Mesh | None = None
  depth: int | None = None
  skip: tuple[int, ...] = ()
  convention: Convention = ROBERTA

  def __call__(
    self,
    params: dict,
    features: Sequence[np.ndarray],
    progress: Progress | None = None,
    active: Sequence[np.ndarray] | None = None,
  ) -> Iterator[tuple[int, Any, slice, int]]:
    """Yields (feature, outputs of its row, its span in the row, its slot).

    Args:
      params: of the model.
      features: ids of each example.
      progress: called after each batch with the examples, the real tokens
        and the computed tokens of it.
      active: crf only: which tokens of each example are in its chain. The
        outputs are then the emissions and the labels of the best path.
    """
    if not features:
      return

    def done(batch, output):
      output = jax.tree.map(np.asarray, output)
      if progress is not None:
        segments = batch['segments']
        examples = np.count_nonzero(batch['example'] >= 0)
        progress(examples, np.count_nonzero(segments), segments.size)
      return _unpack(features, batch, output)

    run = _jitted(self)
    batches, _ = self.batches(features, active)
    pending: tuple | None = None
    for batch in batches:
      inputs = {name: x for name, x in batch.items() if name != 'example'}
      if self.mesh is None:
        output = run(params, inputs)
      else:
        with jax.set_mesh(self.mesh):
          output = run(params, sharding.place_all(inputs, self.mesh))
      # The device works on the next batch while this one is unpacked.
      if pending is not None:
        yield from done(*pending)
      pending = (batch, output)
    if pending is not None:
      yield from done(*pending)

  def batches(
    self,
    features: Sequence[np.ndarray],
    active: Sequence[np.ndarray] | None = None,
  ) -> tuple[Iterator[dict[str, np.ndarray]], pack.Plan]:
    """Packs features into batches of one static shape."""
    lengths = np.array([len(f) for f in features])
    length = row_length(self.config, lengths)
    plan = pack.plan(lengths, length, shuffle=False)
    positions = POSITIONS.get(jax.default_backend(), MOST_POSITIONS)
    # A step's logits stay under half a GB, and the states of all depths under
    # one, or two while they are stacked.
    row = heads.HEADS.get(self.output, heads.HEADS[None])  # or a pooling
    if row.language:
      positions = min(positions, 2**27 // self.config.rows)
    elif row.all_depths:
      depths = self.config.num_layers + 1
      positions = min(positions, 2**28 // (depths * self.config.model_dim))
    rows = rows_of_a_step(len(plan), max(1, positions // length))
    parts = 1 if self.mesh is None else sharding.row_parts(self.mesh)
    rows = -(-rows // parts) * parts
    # A power of two, so that the next call's shapes are likely the same.
    slots = 1 << (plan.max_examples - 1).bit_length()
    data = [{'tokens': feature} for feature in features]
    if active is not None:
      for feature, inside in zip(data, active, strict=True):
        feature['label'] = np.where(inside, 0, -1)

    def make():
      for first in range(0, len(plan), rows):
        yield pack.fill(
          data,
          [plan.row(r) for r in range(first, first + rows)],
          row_length=length,
          max_examples=slots,
          convention=self.convention,
          label=None if active is None else ('int32', 'B L'),
        )

    return make(), plan


def join_paths(
  outputs: list,
  active: Sequence[np.ndarray],
  sequences: Sequence[int],
  params: crf.Params,
) -> None:
  """Puts one best path through all windows of a sequence, in place.

  Args:
    outputs: (scores, path) of each window, as the program gives them.
    active: which tokens of each are in the chain.
    sequences: which of the sequences each is a window of.
    params: of the chain.
  """
  windows: dict[int, list[int]] = {}
  for place, sequence in enumerate(sequences):
    windows.setdefault(sequence, []).append(place)
  several = [places for places in windows.values() if len(places) > 1]
  parts = [[outputs[i][0][active[i]] for i in places] for places in several]
  lengths = [sum(map(len, part)) for part in parts]
  # A few static shapes: lengths are powers of two, and so are the rows.
  for length in sorted({_power(n) for n in lengths}):
    chosen = [i for i, n in enumerate(lengths) if _power(n) == length]
    classes = parts[chosen[0]][0].shape[1]
    scores = np.zeros((_power(len(chosen)), length, classes), np.float32)
    inside = np.zeros(scores.shape[:2], bool)
    for row, i in enumerate(chosen):
      scores[row, : lengths[i]] = np.concatenate(parts[i])
      inside[row, : lengths[i]] = True
    paths = np.asarray(
      _viterbi(scores, inside.astype(np.int32), inside, params)
    )
    for row, i in enumerate(chosen):
      at = 0
      for place in several[i]:
        scored, path = outputs[place]
        path = path.copy()
        count = int(active[place].sum())
        path[active[place]] = paths[row, at : at + count]
        outputs[place] = scored, path
        at += count


_viterbi = jax.jit(crf.viterbi)


def _power(count: int) -> int:
  """The smallest power of two that is not below a count."""
  return 1 << (count - 1).bit_length()


@functools.lru_cache(maxsize=16)
def _jitted(program: Program):
  """The jitted forward pass, shared by all who load the same model."""
  kind = program.output
  pooling = kind in POOLINGS
  head = None if pooling else kind
  module = heads.make(program.config, head, program.classes, program.tied)
  depths = heads.HEADS[head].all_depths

  def run(params, batch):
    hidden = _states(program, params['encoder'], batch, depths)
    if kind is None:
      return hidden.astype(jnp.float32)
    segments = batch['segments']
    if program.skip:
      left_out = jnp.isin(batch['tokens'], jnp.array(program.skip))
      segments = jnp.where(left_out, 0, segments)
    if pooling:
      return pool(hidden, batch['starts'], segments, kind)
    out = heads.apply(module, params, hidden, batch)
    if 'labels' in batch:
      inside = batch['labels'] >= 0
      path = crf.viterbi(out, batch['segments'], inside, params['head'])
      return out, path
    return out

  # Every host reads all of the output.
  out = None if program.mesh is None else sharding.whole(program.mesh)
  return jax.jit(run, out_shardings=out)


def _states(
  program: Program, params: dict, batch: dict, output_hidden_states: bool
):
  """Hidden states of a depth; the layers above it are not computed."""
  config, depth = program.config, program.depth
  if depth == config.num_layers:
    depth = None
  if depth is not None:
    # Pre-norm states pass the last LayerNorm only at the top, so the input of
    # the next layer is taken, and that layer runs too. Depth 0 needs the same.
    output_hidden_states = config.pre_norm or not depth
    count = depth + output_hidden_states
    cut = jax.tree.map(lambda x: x[:count], params['layers'])
    params = {**params, 'layers': cut}
    config = dataclasses.replace(config, num_layers=count)
  hidden = Encoder(config).apply(
    {'params': params},
    batch['tokens'],
    batch['segments'],
    batch['positions'],
    output_hidden_states=output_hidden_states,
    types=batch.get('types'),
  )
  if output_hidden_states and depth is not None:
    return hidden[depth]
  return hidden


def row_length(config: Config, lengths: np.ndarray) -> int:
  """The row length that costs least: padding against attention.

  A position costs its linear layers, 24 D² FLOPs, and attention over its
  row, 4 L D, which runs at about a third of the speed. Of every hundred
  positions 95 should be real, where some length can do it.
  """
  longest, total = int(lengths.max()), int(lengths.sum())
  if total <= UNIT:
    return max(16, 1 << (total - 1).bit_length())
  sample = lengths[:: -(-len(lengths) // 10_000)]
  first = -(-longest // UNIT) * UNIT
  whole = -(-total // UNIT) * UNIT
  computed: dict[int, int] = {}

  def best(most):
    """The cheapest of those that are full enough, else the fullest."""
    for length in range(first, max(first, min(most, whole)) + 1, UNIT):
      if length not in computed:
        rows = len(pack.plan(sample, length, shuffle=False))
        computed[length] = rows * length
    full = [n for n, x in computed.items() if sample.sum() >= FULL * x]
    cost = lambda n: computed[n] * (1 + n / (2 * config.model_dim))
    return min(full, key=cost) if full else min(computed, key=computed.get)

  length = best(LONGEST)
  # Windows of a bit more than half a row fill longer rows only.
  if sample.sum() < FULL * computed[length]:
    length = best(2 * LONGEST)
  return length


def rows_of_a_step(total: int, most: int) -> int:
  """At most `most`, and few empty ones in the last step.

  In steps of a sixteenth to a thirty-second, so that few shapes are compiled.
  """
  unit = 1 << max(0, min(total, most).bit_length() - 5)
  if total <= most:
    return min(most, -(-total // unit) * unit)
  return min(range(most, most // 2, -unit), key=lambda r: -(-total // r) * r)


def _unpack(features, batch, output):
  for row, slots in enumerate(batch['example']):
    # A loop variable of its own: the function is called at once.
    outputs = jax.tree.map(lambda x, row=row: x[row], output)
    for slot, feature in enumerate(slots):
      if feature >= 0:
        start = batch['starts'][row, slot]
        span = slice(start, start + len(features[feature]))
        yield int(feature), outputs, span, slot
