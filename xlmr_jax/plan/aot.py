"""A training step compiled for devices that need not exist.

The TPU compiler, libtpu, needs no TPU: it is told a topology and gives a
program, with the memory it takes. As many fake devices of the CPU stand for
GPUs; the CPU's compiler knows their number and nothing else of them.
"""

from collections.abc import Mapping
import contextlib
import dataclasses
import importlib.metadata
import os
import re
import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from xlmr_jax import heads
from xlmr_jax.compress import adapters
from xlmr_jax.layers import masking
from xlmr_jax.model import VARIANTS, Config
from xlmr_jax.plan import finetuning, hlo, roofline
from xlmr_jax.runtime import chips, commands, sharding, storage
from xlmr_jax.training import objectives
from xlmr_jax.training import step as steps
from xlmr_jax.training.objective_table import OBJECTIVES

GIB = chips.GIB


class DoesNotFit(ValueError):
  """The compiler found that a chip's memory is too small.

  Attributes:
    needed: bytes that it would take, as far as the compiler said.
  """

  def __init__(self, text: str, needed: float | None):
    super().__init__(text)
    self.needed = needed


@dataclasses.dataclass(frozen=True)
class Target:
  """A step and the devices it is compiled for.

  Attributes:
    topology: what they are.
    mesh: of devices that need not exist.
    work: the step in numbers.
    step: the step.
    batch: shapes of a batch in their shardings.
    training_set: of a fine-tuning: its examples and steps.
  """

  topology: chips.Topology
  mesh: jax.sharding.Mesh
  work: roofline.Work
  step: steps.Step
  batch: dict[str, jax.ShapeDtypeStruct]
  training_set: Mapping[str, Any] = dataclasses.field(default_factory=dict)


def make_target(
  config,
  name: str,
  vocab_size: int = 0,
  *,
  examples: int = 0,
  mean_length: float = 0.0,
) -> Target:
  """A recipe on a topology; nothing is compiled yet.

  Args:
    config: a ConfigDict from configs/.
    name: the topology, 'v5e:4x4'.
    vocab_size: pieces of the tokenizer; 0: the variant's own.
    examples: of a fine-tuning's training set; 0: by what is known of it.
    mean_length: tokens of one of them.

  Raises:
    ValueError: settings that do not fit the machine or each other.
  """
  topology = chips.topology(name, config.slices)
  mesh = sharding.make_mesh(config.mesh, config.slices, devices(topology))
  model = encoder(config, vocab_size, topology)
  sharding.check_heads(model.num_heads, mesh)
  parts = sharding.row_parts(mesh) * config.accumulate
  shapes: dict[str, tuple] = {}
  training_set: Mapping[str, Any] = {}
  if is_pretraining(config):
    length, rows = pretraining_rows(config, parts)
    objective, classes, share = loss(config, model), 0, slots(config, length)
    chunked, total = bool(config.loss_chunk), config.steps or 100_000
  else:
    size = finetuning.find_size(config, examples, mean_length)
    load = finetuning.find_load(config, size, parts)
    length, rows, total = config.row_length, load.rows, load.steps
    classes, share, chunked = finetuning.count_classes(config, size), 0.0, False
    objective = finetuning.make_objective(config, model, classes)
    shapes = finetuning.batch_shapes(config, load, classes)
    training_set = finetuning.describe(config, size, load)
  step = steps.build(
    model,
    objective,
    config,
    total,
    mesh,
    fresh=lambda key: heads.init(model, key, objective.head, classes),
  )
  where = sharding.by_rows(mesh)
  for given in (
    *('tokens', 'segments', 'positions'),
    *('types',) * (model.bert and model.type_vocab_size > 1),
  ):
    shapes[given] = (rows, length), jnp.int32
  work = roofline.Work(
    model=model,
    rows=rows,
    length=length,
    rate=objective.rate,
    slots=share,
    accumulate=config.accumulate,
    chunked=chunked,
    mesh=dict(mesh.shape),
    passes=step.passes,
    trained=step.trains[0] / step.trains[1],
  )
  batch = {
    given: jax.ShapeDtypeStruct(shape, dtype, sharding=where)
    for given, (shape, dtype) in shapes.items()
  }
  return Target(topology, mesh, work, step, batch, training_set)


def is_pretraining(config) -> bool:
  """Whether a recipe reads a corpus; else it is a fine-tuning.

  Raises:
    ValueError: its objective is neither's.
  """
  head = heads.HEADS.get(config.objective)
  if head is not None and head.language:
    return True
  if config.objective not in OBJECTIVES:
    language = [name for name, head in heads.HEADS.items() if head.language]
    known = ', '.join(map(str, (*language, *OBJECTIVES)))
    raise ValueError(
      f'config.objective={config.objective!r} is not one of {known}'
    )
  return False


def pretraining_rows(config, parts: int) -> tuple[int, int]:
  """(their length, rows of a batch), of the largest rows of the schedule.

  Raises:
    ValueError: a batch that is not cut into so many parts.
  """
  # The longest rows of a schedule take the most memory.
  length = max([config.row_length, *(n for _, n in config.schedule)])
  rows = config.batch_tokens // length
  if rows * length != config.batch_tokens or rows % parts:
    raise ValueError(
      f'a batch of {config.batch_tokens} tokens in rows of {length} is not '
      f'divisible by {parts}, {config.accumulate} micro-batches on '
      f'{parts // config.accumulate} parts of the mesh: change '
      'config.batch_tokens, config.accumulate or config.mesh'
    )
  return length, rows


def encoder(config, vocab_size: int, topology: chips.Topology) -> Config:
  """The model's Config, as training/initial_model.py makes it."""
  causal = is_pretraining(config) and heads.HEADS[config.objective].causal
  if config.variant not in VARIANTS:
    raise ValueError(
      f'config.variant={config.variant!r} is not one of {", ".join(VARIANTS)}'
    )
  if config.accumulate < 1:
    raise ValueError(f'config.accumulate={config.accumulate} is not positive')
  own = VARIANTS[config.variant]
  attention = config.attention
  if not topology.chip.is_tpu and attention in ('auto', 'cudnn'):
    attention = 'xla'  # cuDNN's cannot be compiled where there is no GPU
  return dataclasses.replace(
    own,
    vocab_size=vocab_size or own.vocab_size,
    **{k: v for k, v in config.sizes.items() if v is not None},
    causal=causal,
    dropout=config.dropout,
    attention_dropout=config.attention_dropout,
    vocab_multiple=1024,
    dtype=config.dtype,
    param_dtype=config.param_dtype,
    attention=attention,
    remat=config.remat,
    scan=config.scan,
    lora=adapters.of(config),
  )


def loss(config, model: Config) -> objectives.Objective:
  """The objective, with ids as XLM-R's tokenizer has them."""
  if model.causal:
    return objectives.causal(model, chunk=config.loss_chunk)
  last = model.vocab_size - 1
  words = None
  if config.mask_units != 'token':  # as if each piece were a word
    words = np.zeros((model.vocab_size, 2), np.int32)
  return objectives.mlm(
    model,
    mask_id=last,
    special_ids=(0, 1, 2, 3, last),
    pieces=(4, last),
    rate=config.mask_rate,
    units=config.mask_units,
    words=words,
    chunk=config.loss_chunk,
  )


def slots(config, length: int) -> float:
  """Share of a row's positions that get scores over the vocabulary."""
  if heads.HEADS[config.objective].causal:
    return (length - 1) / length
  slack = masking.SLACK[config.mask_units]
  return masking.capacity(length, config.mask_rate, slack) / length


def devices(topology: chips.Topology) -> list:
  """Devices of a topology, none of which need exist.

  Raises:
    ValueError: libtpu is not installed, or knows no such topology.
  """
  if not topology.chip.is_tpu:
    with contextlib.suppress(RuntimeError):  # too late: the CPU is in use
      jax.config.update('jax_platforms', 'cpu')
      jax.config.update('jax_num_cpu_devices', topology.count)
    cpus = jax.devices('cpu')
    if len(cpus) < topology.count:
      raise ValueError(
        f'{topology.name} has {topology.count} GPUs, and this process started '
        f'with {len(cpus)} CPU devices to stand for them'
      )
    return cpus[: topology.count]
  try:
    import libtpu
  except ImportError:
    raise ValueError(
      "planning for TPUs needs their compiler: pip install 'xlmr_jax[plan]'"
    ) from None
  # There is no TPU to ask; libtpu wants a type, but any will do.
  os.environ.setdefault('TPU_LIBRARY_PATH', libtpu.get_library_path())
  os.environ.update(
    TPU_SKIP_MDS_QUERY='1',
    TPU_ACCELERATOR_TYPE='v5litepod-8',
    TPU_WORKER_HOSTNAMES='localhost',
    TPU_WORKER_ID='0',
    ALLOW_MULTIPLE_LIBTPU_LOAD='1',  # a plan beside a plan, or a training run
  )
  jax.config.update('jax_platforms', 'cpu')
  from jax.experimental import topologies

  more: dict[str, Any] = {}
  if topology.generation == 'v4':
    more['chip_config_name'] = 'megacore'  # one device for its two cores
  if topology.slices > 1:
    more['num_slices'] = topology.slices
  try:
    described = topologies.get_topology_desc(
      topology.name, 'tpu', **more
    ).devices
  except jax.errors.JaxRuntimeError as error:
    raise ValueError(
      f'libtpu has no topology {topology.name!r} ({commands.line(error)}); '
      f'known are {", ".join(topology.chip.topologies)}'
    ) from None
  if len(described) != topology.count:
    raise ValueError(
      f'{topology.name} has {len(described)} devices where {topology.count} '
      'chips were expected'
    )
  return list(described)


def places(topology: chips.Topology, mesh) -> np.ndarray:
  """[devices, 1 + axes]: where each device of the mesh stands."""
  mesh_devices = list(mesh.devices.flat)
  if topology.chip.is_tpu:
    axes = len(topology.shape)
    return np.array(
      [(getattr(d, 'slice_index', 0), *d.coords[:axes]) for d in mesh_devices],
      int,
    )
  order = {d: i for i, d in enumerate(sorted(mesh_devices, key=lambda d: d.id))}
  return np.array([(order[d] // topology.shape[1], 0) for d in mesh_devices])


def compile_step(target: Target):
  """(the compiled step, seconds).

  Raises:
    DoesNotFit: the compiler says that memory is too small.
    ValueError: the compiler fails otherwise.
  """
  start = time.perf_counter()
  try:
    with jax.set_mesh(target.mesh):
      params, state = target.step.abstract()
      lowered = target.step.update.lower(params, state, target.batch)
      compiled = lowered.compile()
  except jax.errors.JaxRuntimeError as error:
    text = commands.line(error)
    if 'RESOURCE_EXHAUSTED' not in text:
      raise ValueError(
        f'{compiler(target.topology)} failed: {text[:500]}'
      ) from error
    needed = needed_bytes(text)
    why = f'{needed / GIB:.2f} GiB needed' if needed else text
    memory = f'{target.topology.chip.memory / GIB:.2f} GiB'
    raise DoesNotFit(
      f'the step does not fit: {why}, of {memory} of a chip; raise '
      'config.accumulate, set config.remat=full, or cut the model over more of '
      'the mesh (fsdp, tensor)',
      needed,
    ) from None
  return compiled, time.perf_counter() - start


def compiler(topology: chips.Topology) -> str:
  """Names the compiler, with the versions that decide whether it works."""
  if not topology.chip.is_tpu:
    return "the CPU's compiler"
  try:
    installed = importlib.metadata.version('libtpu')
  except importlib.metadata.PackageNotFoundError:
    installed = 'of unknown version'
  return (
    f"the TPU's compiler, libtpu {installed} (jax {jax.__version__} pins "
    f"libtpu{libtpu_pin()}: pip install 'xlmr_jax[plan]'),"
  )


def libtpu_pin() -> str:
  """The libtpu that the installed jax asks for, as pip writes it."""
  for requirement in importlib.metadata.requires('jax') or ():
    if requirement.startswith('libtpu'):
      return requirement.partition(';')[0].removeprefix('libtpu').strip()
  return ' of no version'


def needed_bytes(text: str) -> float | None:
  """The least memory of a program, as a RESOURCE_EXHAUSTED says."""
  amounts = re.findall(r'(?:Used |>= |temporaries \()([\d.]+)([KMGT])', text)
  unit = {'K': 2**10, 'M': 2**20, 'G': 2**30, 'T': 2**40}
  return max((float(n) * unit[u] for n, u in amounts), default=None)


def shard_bytes(shapes, layout) -> int:
  """Bytes of a tree on each device."""
  sizes = jax.tree.map(
    lambda s, where: (
      int(np.prod(where.shard_shape(s.shape))) * s.dtype.itemsize
    ),
    shapes,
    layout,
  )
  return sum(jax.tree.leaves(sizes))


def report(target: Target, hlo_file: str = '') -> dict:
  """Compiles a step and reports its memory, traffic and speed.

  Args:
    target: from `make_target`.
    hlo_file: where to write the program's text.

  Raises:
    DoesNotFit: the compiler says that memory is too small.
  """
  topology, work, step = target.topology, target.work, target.step
  compiled, seconds = compile_step(target)
  stats = compiled.memory_analysis()
  text = compiled.as_text()
  if hlo_file:
    storage.write_text(hlo_file, text)
  program = hlo.Program(text)
  collectives = program.collectives()
  params = shard_bytes(step.shapes, step.layout)
  state = shard_bytes(step.state_shapes, step.state_layout)
  total = (
    stats.argument_size_in_bytes
    + stats.output_size_in_bytes
    - stats.alias_size_in_bytes
    + stats.temp_size_in_bytes
    + stats.generated_code_size_in_bytes
  )
  memory = {
    'parameters': params,
    'optimizer': state,
    'temporaries': stats.temp_size_in_bytes,
    'code': stats.generated_code_size_in_bytes,
  }
  chip = topology.chip
  reads = {'training_set': target.training_set} if target.training_set else {}
  sent = roofline.network(collectives, topology, places(topology, target.mesh))
  times = work.times(topology, params + state, sent)
  flops = work.flops()
  peak = chip.peak * work.devices
  return {
    'topology': topology.name,
    'slices': topology.slices,
    'chips': work.devices,
    'estimate': not chip.is_tpu,
    'mesh': work.mesh,
    'rows': work.rows,
    'row_length': work.length,
    'accumulate': work.accumulate,
    'remat': work.model.remat,
    'dtype': work.model.dtype,
    'trained': list(target.step.trains),
    'memory': {
      **memory,
      # The batch, and what the tiles of small arrays are padded with.
      'other': total - sum(memory.values()),
      'total': total,
      'available': chip.memory,
      'free': 1 - total / chip.memory,
    },
    'flops_per_token': flops,
    'flops_per_step': {k: v * work.tokens for k, v in flops.items()},
    'traffic': work.traffic(params + state),
    'collectives': roofline.by_kind(collectives, work.mesh),
    'loops_of_unknown_length': len(program.unknown),
    'seconds': times,
    'tokens_per_second': work.tokens / times['bound'],
    'mfu_bound': flops['model'] * work.tokens / times['bound'] / peak,
    'compile_seconds': seconds,
    **reads,
  }
