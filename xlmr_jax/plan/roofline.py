"""How fast a training step can be at best, by arithmetic.

Three limits, each by itself: the FLOPs at the chip's peak, the bytes that
must move through its memory, and the bytes that it must send. A step takes at
least the longest of them, if everything overlaps.
"""

from collections.abc import Sequence
import dataclasses

import numpy as np

from xlmr_jax.model import Config
from xlmr_jax.plan import hlo
from xlmr_jax.runtime import chips, sharding

# The parts of a layer's forward pass that a remat policy computes again.
RECOMPUTED = {'none': '', 'dots': 'attention', 'full': 'layers'}


@dataclasses.dataclass(frozen=True)
class Work:
  """A training step in numbers.

  Attributes:
    model: the encoder.
    rows: of the global batch; length: L.
    rate: share of tokens whose scores over the vocabulary are needed.
    slots: share of positions that get scores: a few more; 0: of no language
      head.
    accumulate: micro-batches of a step.
    chunked: whether the head is computed again in the backward pass.
    mesh: its axes' sizes by name.
    passes: FLOPs of a step over those of the body's forward pass.
    trained: share of the parameters that is trained.
  """

  model: Config
  rows: int
  length: int
  rate: float
  slots: float
  accumulate: int
  chunked: bool
  mesh: dict[str, int]
  passes: float = 3
  trained: float = 1

  @property
  def tokens(self) -> int:
    """Positions of a step."""
    return self.rows * self.length

  @property
  def devices(self) -> int:
    return int(np.prod(list(self.mesh.values())))

  def flops(self) -> dict[str, float]:
    """FLOPs of one token.

    forward as Config.flops counts, with the head on the share of tokens that
    need it; model is three times that (less of a body that is held), which
    MFU goes by; hardware is what is computed: the head on every slot, and
    what remat computes again.
    """
    model = self.model
    d = model.model_dim
    body = model.flops(self.length)
    attention = model.num_layers * 4 * self.length * d
    head = 2 * (d * d + d * model.rows)
    # The backward pass of a pre-norm layer does not read its last output.
    last = model.num_layers * 2 * d * model.ff_dim * model.pre_norm
    again = {'': 0, 'attention': attention, 'layers': body - last}
    return {
      'forward': body + self.rate * head,
      'model': self.passes * body + 3 * self.rate * head,
      'hardware': self.passes * body
      + again[RECOMPUTED[model.remat]]
      + (4 if self.chunked else 3) * self.slots * head,
    }

  def traffic(self, kept: float) -> dict[str, float]:
    """Bytes through one chip's memory in a step, at least.

    weights: each matrix of a layer as a chip multiplies with it (whole along
    fsdp), read once in every pass over it and its gradient written once, per
    micro-batch; the table likewise. state: parameters and moments read and
    written once, what is held only read, gradients added up per micro-batch.
    activations: every matmul's operands and result, and those of LayerNorms
    and additions, once in every pass; logits written, read and their gradient
    written and read.

    Args:
      kept: bytes of parameters and optimizer state on a chip.
    """
    model = self.model
    d, f = model.model_dim, model.ff_dim
    wide = 2 if model.dtype != 'float32' else 4
    tensor = self.mesh[sharding.TENSOR]
    passes = self.passes + (RECOMPUTED[model.remat] == 'layers')
    gradient = 4 * self.trained
    # Of what is trained there are three arrays: it and two moments.
    held = kept * (1 - self.trained) / (1 + 2 * self.trained)
    moving = kept - held
    layers = model.num_layers * (4 * d * d + 2 * d * f) / tensor
    table = model.rows * d / tensor
    scored = passes if self.slots else 0  # else it is only looked up in
    mine = self.tokens * tensor / self.devices
    # To read x for q, k, v and up; to write out and down; two LayerNorms and
    # additions: 12 D. q, k, v written and read, the values mixed, written and
    # read: 8 D, cut by tensor; up written, down read: 2 F.
    layer = 12 * d + (8 * d + 2 * f) / tensor
    again = {'': 0, 'attention': 4 * d / tensor + 6 * d, 'layers': layer}
    logits = self.slots * model.rows / tensor * 4
    return {
      'weights': self.accumulate
      * (
        layers * (passes * wide + gradient) + table * (scored * wide + gradient)
      ),
      'state': held + 2 * moving + (2 * self.accumulate - 1) * moving / 3,
      'activations': mine
      * (
        model.num_layers
        * (self.passes * layer + again[RECOMPUTED[model.remat]])
        * wide
        + logits * (6 if self.chunked else 4)
      ),
    }

  def times(
    self,
    topology: chips.Topology,
    kept: float,
    sent: dict[str, float],
  ) -> dict[str, float]:
    """Seconds of a step by limit, the bound, and all of them in turn."""
    chip = topology.chip
    out = {
      'compute': self.flops()['hardware']
      * self.tokens
      / self.devices
      / chip.peak,
      'memory': sum(self.traffic(kept).values()) / chip.bandwidth,
      **sent,
    }
    return {**out, 'bound': max(out.values()), 'in_turn': sum(out.values())}


def network(
  collectives: Sequence[hlo.Collective],
  topology: chips.Topology,
  places: np.ndarray,
) -> dict[str, float]:
  """Seconds that a step's collectives take: inside slices, and between them.

  Args:
    collectives: of a step.
    topology: whose links they use.
    places: [devices, 1 + axes] of the mesh's devices in their order.
  """
  seconds = {'network': 0.0, 'between': 0.0}
  known: dict[bytes, float] = {}
  for collective in collectives:
    if not collective.sent:
      continue
    key = collective.kind[:3].encode() + collective.groups.tobytes()
    if key not in known:
      known[key] = min(
        topology.rate([tuple(place) for place in places[group]])
        for group in collective.groups
      )
      if collective.kind == 'collective-permute':
        # XLA sends both ways round a ring at once.
        inside = topology.chip.link * (2 if topology.chip.is_tpu else 1)
        between = known[key] == topology.chip.outside
        known[key] = topology.chip.outside if between else inside
    where = 'between' if known[key] == topology.chip.outside else 'network'
    seconds[where] += collective.count * collective.sent / known[key]
  return seconds


def by_kind(
  collectives: Sequence[hlo.Collective], mesh: dict[str, int]
) -> list[dict]:
  """Count and bytes sent per step of each kind, by the mesh axes it is over."""
  table: dict[tuple, list[float]] = {}
  for collective in collectives:
    key = (collective.kind, '+'.join(collective.axes(mesh)) or '-')
    entry = table.setdefault(key, [0, 0.0])
    entry[0] += collective.count
    entry[1] += collective.count * collective.sent
  return [
    {'kind': kind, 'axes': axes, 'count': count, 'bytes': sent}
    for (kind, axes), (count, sent) in sorted(
      table.items(), key=lambda item: -item[1][1]
    )
  ]
