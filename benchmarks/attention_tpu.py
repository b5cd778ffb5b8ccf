"""Does the TPU's attention compile, and what memory does it take? No TPU here.

  pip install 'xlmr_jax[plan]'     # libtpu: the TPU's compiler
  python -m benchmarks.attention_tpu [--topologies=v5e:2x4] [--lengths=512]

The real compiler, Mosaic included, compiles attention forward and backward on
a CPU for each body's heads, length of rows and chip; half of the devices cut
rows and two cut heads. Printed per device: arguments and results, temporary
memory with splash attention and with plain XLA, and seconds of compiling. Ends
with 1 where anything did not compile.
"""

import functools
import importlib.util
import os
import pathlib
import sys
import time

from absl import app, flags
import jax
from jax.experimental import topologies
import jax.numpy as jnp

from xlmr_jax.layers.attention import attention
from xlmr_jax.model import VARIANTS
from xlmr_jax.runtime import sharding

BODIES = flags.DEFINE_list('bodies', ['large', 'xl', 'xxl'], 'Bodies.')
LENGTHS = flags.DEFINE_list('lengths', [128, 256, 512, 1024], 'Tokens of rows.')
ROWS = flags.DEFINE_integer('rows', 8, 'Rows of a device.')
CAUSAL = flags.DEFINE_bool('causal', False, 'Whether no position looks ahead.')
DTYPE = flags.DEFINE_enum('dtype', 'bfloat16', ['bfloat16', 'float32'], 'Type.')
TOPOLOGIES = flags.DEFINE_list(
  'topologies', ['v4:2x2x1', 'v5e:2x4', 'v5p:2x2x1', 'v6e:2x4'], 'Chips.'
)
LIBTPU = flags.DEFINE_string(
  'libtpu', None, 'libtpu.so; the installed package has one.'
)

# What libtpu would ask a TPU host's metadata server.
HOST = {
  'TPU_SKIP_MDS_QUERY': '1',
  'TPU_ACCELERATOR_TYPE': 'v5litepod-8',
  'TPU_WORKER_HOSTNAMES': 'localhost',
  'TPU_WORKER_ID': '0',
}


def prepare() -> str:
  """Sets libtpu's environment; why that cannot be, or ''."""
  path = LIBTPU.value or os.environ.get('TPU_LIBRARY_PATH')
  if not path and (spec := importlib.util.find_spec('libtpu')):
    path = pathlib.Path(spec.submodule_search_locations[0]) / 'libtpu.so'
  if not path or not pathlib.Path(path).is_file():
    return (
      f'libtpu is not at {path or "hand"}: pip install '
      "'xlmr_jax[plan]', or name its libtpu.so with --libtpu"
    )
  os.environ['TPU_LIBRARY_PATH'] = str(path)
  for name, value in HOST.items():
    os.environ.setdefault(name, value)
  return ''


def mesh_of(name: str):
  """(1, devices / 2, 2): rows over fsdp, heads over tensor."""
  # A v4 chip's two cores work as one device.
  options = dict(chip_config_name='megacore') if name.startswith('v4') else {}
  devices = topologies.get_topology_desc(name, 'tpu', **options).devices
  return sharding.make_mesh((1, -1, 2), devices=devices)


def compiled(mesh, config, length: int, backend: str):
  """(memory, seconds) of attention's forward and backward pass."""

  def both(q, k, v, grad, segments):
    attend = functools.partial(
      attention, segments=segments, backend=backend, causal=CAUSAL.value
    )
    y, back = jax.vjp(attend, q, k, v)
    return y, *back(grad)

  def shape(dims, sizes, dtype):
    where = jax.sharding.NamedSharding(mesh, sharding.spec(*dims))
    return jax.ShapeDtypeStruct(sizes, dtype, sharding=where)

  rows = ROWS.value * sharding.row_parts(mesh)
  sizes = rows, length, config.num_heads, config.head_dim
  x = shape(('batch', 'length', 'heads', 'width'), sizes, DTYPE.value)
  segments = shape(('batch', 'length'), sizes[:2], jnp.int32)
  start = time.perf_counter()
  with jax.set_mesh(mesh):
    program = jax.jit(both).lower(x, x, x, x, segments).compile()
  return program.memory_analysis(), time.perf_counter() - start


def main(argv):
  del argv
  if why := prepare():
    sys.exit(why)
  form = '{:10} {:6} {:>5} {:>5} {:>6} {:>10} {:>10} {:>10} {:>7}'
  print(
    form.format(
      'topology', 'body', 'heads', 'width', 'length', 'io MiB', 'splash MiB',
      'xla MiB', 's',
    )
  )  # fmt: skip
  failed = 0
  for topology in TOPOLOGIES.value:
    mesh = mesh_of(topology)
    for name in BODIES.value:
      config = VARIANTS[name]
      for length in map(int, LENGTHS.value):
        cells = topology, name, config.num_heads, config.head_dim, length
        try:
          memory, seconds = compiled(mesh, config, length, 'splash')
          plain, _ = compiled(mesh, config, length, 'xla')
        except jax.errors.JaxRuntimeError as error:
          failed += 1
          print(*cells, 'FAILED', str(error).split('\n')[0], flush=True)
          continue
        bytes_ = (
          memory.argument_size_in_bytes + memory.output_size_in_bytes,
          memory.temp_size_in_bytes,
          plain.temp_size_in_bytes,
        )
        sizes = [f'{n / 2**20:.1f}' for n in bytes_]
        print(form.format(*cells, *sizes, f'{seconds:.1f}'), flush=True)
  sys.exit(1 if failed else 0)


if __name__ == '__main__':
  # The host's own devices do no work here.
  os.environ.setdefault('JAX_PLATFORMS', 'cpu')
  app.run(main)
