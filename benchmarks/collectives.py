"""What a step sends of the vocabulary's table, its scores and their gradients.

  python -m benchmarks.collectives              # 16 fake CPU devices
  python -m benchmarks.collectives --tpu        # the TPU compiler, v5e:4x4

Compiles the MLM step of XLM-R large, cut to two layers, on three meshes of 16
devices and prints every collective that has a dimension of the vocabulary.
Over `tensor` neither table nor scores may be gathered; over `fsdp` the table
is gathered once in the forward pass, at most once more in the backward one,
and its gradient is scattered as it is summed. Exit code 1 where that is not
so, or where XLA copied an array to every device to change its layout.
"""

import contextlib
import os
import tempfile

from absl import app, flags

from configs import pretrain
from xlmr_jax.plan import aot, hlo

MESHES = ((1, 2, 8), (1, 8, 2), (2, 4, 2))
TPU = flags.DEFINE_bool('tpu', False, 'Compile for v5e:4x4.')
MESH = flags.DEFINE_string('mesh', '', 'Only this one, e.g. 1,8,2.')
SAVE = flags.DEFINE_string('save', '', 'Folder for the compiled programs.')


@contextlib.contextmanager
def heard():
  """What a block writes to stderr, C++ included: a list of one text."""
  out, old = [], os.dup(2)
  with tempfile.TemporaryFile() as file:
    os.dup2(file.fileno(), 2)
    try:
      yield out
    finally:
      os.dup2(old, 2)
      file.seek(0)
      out.append(file.read().decode(errors='replace'))


def compiled(mesh, tpu):
  """(text of the step's program, what XLA said, mesh, table's shape)."""
  config = pretrain.get_config('model=large')
  config.sizes.num_layers = 2
  config.mesh, config.batch_tokens = mesh, 64 * 512
  config.dtype, config.remat, config.accumulate = 'bfloat16', 'full', 1
  with heard() as said:
    one = aot.make_target(config, 'v5e:4x4' if tpu else 'h100:16')
    program, _ = aot.compile_step(one)
    text = program.as_text()
  model = one.work.model
  return text, said[0], dict(one.mesh.shape), (model.rows, model.model_dim)


def about_vocabulary(collectives, rows):
  """Those with a dimension that is the vocabulary's or a part of it."""
  sizes = {str(rows // n) for n in (1, 2, 4, 8, 16)}
  return [
    one
    for one in collectives
    if any(
      sizes & set(shape[:-1].split('[')[1].split(',')) for shape in one.shapes
    )
  ]


def wrong(found, mesh, rows, width, tpu):
  """Sentences about what should not be."""
  table = rows // mesh['tensor'] * width
  gathers = {'forward': 0, 'backward': 0}
  for one in found:
    axes = one.axes(mesh)
    largest = max(hlo.shape_bytes(shape) for shape in one.shapes)
    big = (
      largest * (one.groups.shape[1] if one.kind == 'all-gather' else 1)
      >= table
    )
    if one.kind in ('all-gather', 'all-to-all') and 'tensor' in axes:
      yield f'{one.kind} over tensor of {one.shapes}'
    elif one.kind == 'all-gather' and big:
      back = 'transpose(' in one.source
      gathers['backward' if back else 'forward'] += one.count
    elif one.kind == 'all-reduce' and big and tpu and 'fsdp' in axes:
      yield f'all-reduce where a reduce-scatter would do, of {one.shapes}'
  if gathers['forward'] > 1 or gathers['backward'] > 1:
    yield f'the table is gathered more than once a pass: {gathers}'


def main(argv):
  del argv
  failed = False
  meshes = MESHES
  if MESH.value:
    meshes = (tuple(int(n) for n in MESH.value.split(',')),)
  for shape in meshes:
    text, said, mesh, (rows, width) = compiled(shape, TPU.value)
    if SAVE.value:
      name = 'x'.join(map(str, shape)) + '-tpu' * TPU.value
      with open(os.path.join(SAVE.value, name + '.hlo'), 'w') as file:
        file.write(text)
    found = about_vocabulary(hlo.Program(text).collectives(), rows)
    print(f'{"TPU" if TPU.value else "CPU"}, (data, fsdp, tensor) = {shape}')
    for one in sorted(found, key=lambda one: -one.sent):
      print(
        f'  {one.kind:18} over {"+".join(one.axes(mesh)) or "-":12}'
        f'{one.count:4} x {one.sent / 1e6:9.2f} MB  '
        f'{", ".join(one.shapes)[:60]:62}{one.source[-70:]}'
      )
    problems = [*wrong(found, mesh, rows, width, TPU.value)]
    if 'nvoluntary full rematerialization' in said:
      problems.append('XLA: involuntary full rematerialization')
    for problem in problems:
      print(f'  WRONG: {problem}')
    failed |= bool(problems)
  return int(failed)


if __name__ == '__main__':
  app.run(main)
