"""Searches the mesh, accumulation and remat policy of a recipe on a machine.

There are hundreds of ways to cut a step over 256 chips and a compile takes a
minute. So each is first judged by arithmetic, those that cannot fit are left
out, and only the most promising are compiled; one that turns out too large
goes back into the queue in smaller micro-batches.
"""

from collections.abc import Callable, Iterator, Mapping
import copy
import dataclasses
import hashlib
import heapq
import json
import pathlib

import jax
import numpy as np

from xlmr_jax.model import Config
from xlmr_jax.plan import aot, roofline
from xlmr_jax.runtime import chips, sharding

# The share of a chip's memory to leave free: a run also evaluates and saves.
MARGIN = 0.1
TENSOR = 16  # no mesh cuts it finer
REMAT = ('none', 'dots', 'full')
# There are this many copies of gradients, table and scores; so it was in base
# on v5e:4x4, where the TPU compiler took 12 GiB of temporaries.
COPIES = 2
# Activations that remat keeps take this much more than their own bytes. With
# it the bytes that `guess` gives only rank, and the compile corrects them: in
# the 58 cells of docs/pods_table.jsonl that fit, compiled over guessed bytes
# are 0.68 to 1.32, with a median of 1.09.
KEPT = 1.1


class TooSmall(ValueError):
  """Nothing fits, by arithmetic.

  Attributes:
    needed: bytes of a chip at least.
  """

  def __init__(self, text: str, needed: float):
    super().__init__(text)
    self.needed = needed


@dataclasses.dataclass(frozen=True, order=True)
class Choice:
  """Settings to try, the most promising first."""

  seconds: float  # of a step, by arithmetic
  mesh: tuple[int, int, int]
  accumulate: int
  remat: str

  def apply(self, config):
    """A copy of a recipe with these settings."""
    config = copy.deepcopy(config)
    config.mesh, config.accumulate = self.mesh, self.accumulate
    config.remat = self.remat
    return config


def meshes(model: Config, count: int) -> Iterator[tuple[int, int, int]]:
  """(data, fsdp, tensor) that a slice of chips and a model allow."""
  for tensor in range(1, min(count, TENSOR) + 1):
    if count % tensor or model.num_heads % tensor or model.ff_dim % tensor:
      continue
    for fsdp in range(1, count // tensor + 1):
      if count // tensor % fsdp == 0 and model.model_dim % fsdp == 0:
        yield count // tensor // fsdp, fsdp, tensor


def guess(work: roofline.Work, topology: chips.Topology) -> tuple[float, float]:
  """(bytes of a chip at least, seconds of a step), without a compiler.

  The bytes are those that no schedule can do without: parameters, moments,
  gradients, the gathered table, what remat keeps and one layer's working set.
  """
  model, mesh = work.model, work.mesh
  d, f = model.model_dim, model.ff_dim
  wide = np.dtype(jax.numpy.dtype(model.dtype)).itemsize
  fsdp, tensor = mesh[sharding.FSDP], mesh[sharding.TENSOR]
  layers = model.num_layers * (4 * d * d + 2 * d * f)
  table = model.rows * d
  own = (layers + table) / fsdp / tensor
  positions = work.tokens * tensor / work.devices / work.accumulate
  narrow = (4 * d + f) / tensor
  kept = {'none': 6 * d + 2 * narrow, 'dots': 2 * d + narrow, 'full': d}
  logits = positions * work.slots * model.rows / tensor
  memory = (
    3 * own * 4
    + KEPT * positions * model.num_layers * kept[model.remat] * wide
    + positions * (4 * d + 2 * narrow) * wide
    + COPIES
    * (
      own * 4
      + table / tensor * (wide + 4 * (fsdp > 1))
      + 4 * logits * (0.1 if work.chunked else 1)
    )
  )
  again = model.remat == 'full'
  whole = (layers + table) / tensor
  sent = 0.0
  if fsdp > 1:
    sent += work.accumulate * whole * ((2 + again) * wide + 4)
  if mesh[sharding.DATA] > 1:
    sent += work.accumulate * 8 * whole / fsdp
  network = sent / topology.most
  if tensor > 1:
    # f32 sums: of out and down, twice with remat; of q, k, v and up's inputs.
    rounds = (6 + 2 * again) * model.num_layers
    sent = work.accumulate * rounds * positions * d * 4
    network += sent * 2 * (1 - 1 / tensor) / topology.chip.link
  seconds = work.times(topology, 3 * own * 4, {'network': network})
  # The overlap is not known; half of the rest is a guess, good for ranking.
  return memory, (seconds['bound'] + seconds['in_turn']) / 2


def choices(config, topology: chips.Topology, vocab_size: int) -> list[Choice]:
  """The fewest micro-batches that may fit, for each mesh and remat policy.

  Raises:
    TooSmall: nothing can fit.
    ValueError: no mesh divides the batch.
  """
  model = aot.encoder(config, vocab_size, topology)
  rows = config.batch_tokens // config.row_length
  out, least = [], []
  for mesh in meshes(model, topology.count // config.slices):
    parts = config.slices * mesh[0] * mesh[1]
    for remat in REMAT:
      for accumulate in range(1, rows // parts + 1):
        if rows % (parts * accumulate):
          continue
        work = roofline.Work(
          model=dataclasses.replace(model, remat=remat),
          rows=rows,
          length=config.row_length,
          rate=1.0 if model.causal else config.mask_rate,
          slots=aot.slots(config, config.row_length),
          accumulate=accumulate,
          chunked=bool(config.loss_chunk),
          mesh=_axes(config, mesh),
        )
        memory, seconds = guess(work, topology)
        least.append(memory)
        if memory <= (1 - MARGIN) * topology.chip.memory:
          out.append(Choice(seconds, mesh, accumulate, remat))
          break
  if not least:
    raise ValueError(
      f'no mesh of the {topology.count} chips of {topology.name} divides a '
      f'batch of {config.batch_tokens} tokens in rows of {config.row_length}'
    )
  if not out:
    raise TooSmall(
      f'the {topology.count} chips of {topology.name} are too few for '
      f'{config.variant}: at least {min(least) / aot.GIB:.1f} GiB of each are '
      f'needed, and a program has {topology.chip.memory / aot.GIB:.2f}',
      min(least),
    )
  return out


def _axes(config, mesh) -> dict[str, int]:
  """Sizes of the mesh by name."""
  return dict(zip(sharding.MESH, (config.slices, *mesh), strict=True))


def smaller(choice: Choice, config) -> Choice | None:
  """The same in the next smaller micro-batches."""
  rows = config.batch_tokens // config.row_length
  parts = config.slices * choice.mesh[0] * choice.mesh[1]
  for accumulate in range(2 * choice.accumulate, rows // parts + 1):
    if rows % (parts * accumulate) == 0:
      return dataclasses.replace(choice, accumulate=accumulate)
  return None


def sweep(
  config,
  name: str,
  vocab_size: int = 0,
  *,
  limit: int = 12,
  enough: int = 0,
  results: str = '',
  note: Mapping[str, str] | None = None,
  say: Callable[[dict, int], None] = lambda facts, left: None,
) -> list[dict]:
  """Reports of the settings that were compiled, the best first.

  Args:
    config: a recipe; its mesh, accumulate and remat are replaced.
    name: the topology.
    vocab_size: pieces of the tokenizer; 0: the variant's own.
    limit: how many to compile.
    enough: stop when so many fit with MARGIN to spare; 0: go on.
    results: JSONL file of what was compiled; a sweep that was killed goes on
      from it.
    note: what to write there beside each.
    say: called with each report and how many are left.

  Returns:
    Those that fit with MARGIN to spare by tokens/s, then those that fit
    barely, then those that do not, which have `needed` in place of figures.

  Raises:
    ValueError: nothing can fit, or settings that fit no machine.
  """
  topology = chips.topology(name, config.slices)
  queue = choices(config, topology, vocab_size)
  heapq.heapify(queue)
  known = _known(results)
  out: list[dict] = []
  while queue and len(out) < limit:
    choice = heapq.heappop(queue)
    tried = choice.apply(config)
    key = _key(tried, name, vocab_size)
    facts = known.get(key)
    if facts is None:
      facts = _try(choice, tried, name, vocab_size)
      if results:
        with pathlib.Path(results).open('a') as file:
          line = {'key': key, **(note or {}), **facts}
          file.write(json.dumps(line) + '\n')
    out.append(facts)
    if enough and sum(not rank(facts)[0] for facts in out) == enough:
      break
    if facts.get('memory', {}).get('free', -1) < MARGIN:
      if (again := smaller(choice, config)) is not None:
        heapq.heappush(queue, again)
    say(facts, min(limit - len(out), len(queue)))
  return sorted(out, key=rank)


def rank(facts: dict) -> tuple:
  """The key that sorts reports, the best first."""
  if 'memory' not in facts:
    return 2, facts['needed'] or 0
  memory = facts['memory']
  if memory['free'] < 0:
    return 2, memory['total']
  return int(memory['free'] < MARGIN), -facts['tokens_per_second']


def _try(choice: Choice, config, name, vocab_size) -> dict:
  try:
    return aot.report(aot.make_target(config, name, vocab_size))
  except aot.DoesNotFit as error:
    return {
      'topology': name,
      'mesh': _axes(config, choice.mesh),
      'accumulate': choice.accumulate,
      'remat': choice.remat,
      'needed': error.needed,
    }


def _key(config, name: str, vocab_size: int) -> str:
  """Digest of everything that a report depends on but our code."""
  facts = [config.to_json_best_effort(), name, vocab_size, jax.__version__]
  return hashlib.sha256(json.dumps(facts).encode()).hexdigest()


def _known(results: str) -> dict[str, dict]:
  """Reports in a file by key; a line that a kill cut is left out."""
  out = {}
  path = pathlib.Path(results)
  if results and path.exists():
    for line in path.read_text().splitlines():
      try:
        facts = json.loads(line)
      except json.JSONDecodeError:
        continue
      out[facts.pop('key')] = facts
  return out
