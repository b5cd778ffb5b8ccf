"""What accelerators can do, from their makers' public pages.

A topology is named as the maker names it, 'v5e:4x4' or 'v5p:4x4x4', chips
along each axis of a slice's torus; GPUs are counted, 'h100:8' or 'h100:2x8',
nodes x GPUs of a node. Nothing here has been measured by us: these are the
peaks that a roofline is made of.
"""

from collections.abc import Sequence
import dataclasses
import math
import re

GIB = 2**30

# Dense bf16 FLOP/s of one chip by the name that JAX gives it, from the makers'
# data sheets: MFU is printed where the chip is known or --config.peak_tflops
# says. NVIDIA's sheets give H100 PCIe and NVL with sparsity (1,513 and 1,671
# TFLOP/s), which is twice the dense figure.
PEAK = {
  'TPU v4': 275e12,
  'TPU v5 lite': 197e12,
  'TPU v5e': 197e12,
  'TPU v5': 459e12,
  'TPU v5p': 459e12,
  'TPU v6 lite': 918e12,
  'TPU v6e': 918e12,
  'NVIDIA A100': 312e12,
  'NVIDIA H100': 989e12,  # SXM
  'NVIDIA H100 PCIe': 756e12,
  'NVIDIA H100 NVL': 835e12,
  'NVIDIA H200': 989e12,  # SXM
  'NVIDIA H200 NVL': 835e12,
  'NVIDIA L4': 121e12,
  'NVIDIA L40': 181e12,
  'NVIDIA L40S': 362e12,
}


def peak_flops(kind: str) -> float | None:
  """Peak FLOP/s by device kind ('NVIDIA H200', 'TPU v5 lite').

  A name in the table stands for all kinds that go on with another word
  ('NVIDIA H100 80GB HBM3'); the longest one counts.

  Returns:
    None where the chip is unknown, or is a part of one (MIG).
  """
  if re.search(r'\bMIG\b', kind):
    return None
  names = [n for n in PEAK if re.match(rf'{re.escape(n)}(?!\w)', kind)]
  return PEAK[max(names, key=len)] if names else None


@dataclasses.dataclass(frozen=True)
class Chip:
  """One kind of chip.

  Attributes:
    kind: what JAX calls it, as PEAK does.
    memory: bytes that a program may use.
    bandwidth: of that memory, bytes/s.
    link: of one link to a neighbour, bytes/s one way; for a GPU all its
      NVLinks together.
    outside: to other slices or nodes, bytes/s of each chip, one way.
    rings: what a torus axis must be a multiple of for its ends to be joined.
    topologies: the slices that are offered.
  """

  kind: str
  memory: float
  bandwidth: float
  link: float
  outside: float
  rings: int = 0
  topologies: tuple[str, ...] = ()

  @property
  def peak(self) -> float:
    """Dense bf16 FLOP/s."""
    return PEAK[self.kind]

  @property
  def is_tpu(self) -> bool:
    return self.kind.startswith('TPU')


_FLAT = ('2x2', '2x4', '4x4', '4x8', '8x8', '8x16', '16x16')
_CUBES = (
  *('2x2x1', '2x2x2', '2x2x4', '2x4x4', '4x4x4'),
  *('4x4x8', '4x8x8', '8x8x8', '8x8x16', '8x16x16'),
)

# Bandwidths: cloud.google.com/tpu/docs/{v4,v5e,v5p,v6e}, read in 2026-11. Its
# "bidirectional ICI bandwidth per chip" is over all ports (4 or 6) and both
# ways: v5e 400, v5p 1,200, v6e 800 GB/s. v4's page has none, and no network
# outside: these are of the table in jax-ml.github.io/scaling-book/tpus. v5e's
# 6.4 Tbit/s of a pod are 25 Gbit/s a chip; v5p 50; v6e 4 x 200 for 8 chips.
# Which axes have joined ends: the same book; on v5e and v6e only those of 16.
# Memory is what libtpu 0.0.42 lets a program have: 0.25 to 1.25 GiB less than
# the pages say, and v5p 0.74 GiB more.
CHIPS = {
  'v4': Chip('TPU v4', 30.75 * GIB, 1200e9, 45e9, 6.25e9, 4, _CUBES),
  'v5e': Chip('TPU v5e', 15.75 * GIB, 819e9, 50e9, 3.125e9, 16, _FLAT),
  'v5p': Chip('TPU v5p', 95.74 * GIB, 2765e9, 100e9, 6.25e9, 4, _CUBES),
  'v6e': Chip('TPU v6e', 31.25 * GIB, 1638e9, 100e9, 12.5e9, 16, _FLAT),
  # NVIDIA's data sheets of the SXM boards; NVLink's figure counts both ways.
  # Outside: a DGX has a NIC of 200 (A100) or 400 Gbit/s for each GPU.
  'a100-40g': Chip('NVIDIA A100', 40e9, 1555e9, 300e9, 25e9),
  'a100-80g': Chip('NVIDIA A100', 80e9, 2039e9, 300e9, 25e9),
  'h100': Chip('NVIDIA H100', 80e9, 3350e9, 450e9, 50e9),
  'h200': Chip('NVIDIA H200', 141e9, 4800e9, 450e9, 50e9),
}


@dataclasses.dataclass(frozen=True)
class Topology:
  """Chips and how they hang together.

  Attributes:
    name: as given.
    generation: key of CHIPS.
    shape: chips along the axes of the torus; GPUs: (nodes, of each).
    slices: how many of these.
  """

  name: str
  generation: str
  shape: tuple[int, ...]
  slices: int = 1

  @property
  def chip(self) -> Chip:
    return CHIPS[self.generation]

  @property
  def count(self) -> int:
    """Chips of all slices."""
    return math.prod(self.shape) * self.slices

  def rate(self, places: Sequence[tuple[int, ...]]) -> float:
    """Bytes/s that each chip of a group can send to the others at most.

    Of a torus axis along which the group extends a chip uses both links where
    it is a whole ring, else one: data must reach the chip at the end. Other
    groups on the same links are not counted, so this is a bound.

    Args:
      places: of the group's chips: (slice, *coordinates in the torus), or
        (node, 0) for GPUs.
    """
    first = {place[0] for place in places}
    if len(first) > 1:
      return self.chip.outside
    if not self.chip.is_tpu:
      return self.chip.link
    axes = zip(*places, strict=True)
    next(axes)
    return self._links([len(set(axis)) for axis in axes])

  @property
  def most(self) -> float:
    """The same of a group of all chips of a slice, or of a node."""
    return self._links(self.shape) if self.chip.is_tpu else self.chip.link

  def _links(self, extents: Sequence[int]) -> float:
    rate = 0.0
    for extent, size in zip(extents, self.shape, strict=True):
      if extent > 1:
        whole = extent == size and size % self.chip.rings == 0
        rate += (2 if whole else 1) * self.chip.link
    return rate


def topology(name: str, slices: int = 1) -> Topology:
  """'v5e:4x4' → Topology.

  Raises:
    ValueError: an unknown generation or form, with what is known.
  """
  generation, _, size = name.partition(':')
  if generation not in CHIPS:
    raise ValueError(
      f'topology {name!r}: {generation!r} is not one of {", ".join(CHIPS)}; '
      'write v5e:4x4 or h100:2x8'
    )
  chip = CHIPS[generation]
  words = size.split('x')
  if not all(word.isdecimal() and int(word) for word in words):
    words = []
  shape = tuple(int(word) for word in words)
  if chip.is_tpu:
    axes = chip.topologies[0].count('x') + 1
    if len(shape) != axes or (size not in chip.topologies and min(shape) < 2):
      raise ValueError(
        f'topology {name!r} is unknown; {generation} has '
        f'{", ".join(chip.topologies)}'
      )
  elif len(shape) not in (1, 2):
    raise ValueError(
      f'topology {name!r} is unknown; write {generation}:8 for a node of 8 '
      f'GPUs or {generation}:2x8 for two'
    )
  elif len(shape) == 1:
    shape = (1, *shape)
  if slices > 1 and not chip.is_tpu and shape[0] % slices:
    raise ValueError(
      f'config.slices={slices} does not divide the {shape[0]} nodes of {name}'
    )
  # Groups of a GPU cluster's nodes are part of it; a TPU slice is one of many.
  return Topology(name, generation, shape, slices if chip.is_tpu else 1)
