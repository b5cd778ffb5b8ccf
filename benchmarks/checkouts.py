"""Two checkouts of this project beside each other: is the newer one slower?

  python -m benchmarks.checkouts OLD NEW [--rounds=7] [--variant=base]

Each checkout runs in a process of its own, which stays; a round asks one and
then the other for the same work, in an order that alternates. Random weights,
f32, all texts are lists of ids:

  load   xlmr_jax.load of a Hugging Face directory (safetensors, page cache)
  short  encode of 128 texts of 8 to 40 ids
  long   encode of 8 texts of 500 ids
  mlm    a training step of 8 rows of 128 tokens, AdamW, dropout 0.1

Printed: medians in seconds, and the median of NEW / OLD over rounds with its
smallest and largest.
"""

import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

from absl import app, flags
import numpy as np

ROUNDS = flags.DEFINE_integer('rounds', 7, 'Rounds of each checkout.')
VARIANT = flags.DEFINE_string('variant', 'base', 'Size of the model.')
WORK = ('load', 'short', 'long', 'mlm')
VOCAB = 250_002


def import_modules():
  """Modules by their names of before and after the rooms were made."""
  try:
    from xlmr_jax.runtime import sharding
    from xlmr_jax.training import objectives, step
  except ImportError:
    from xlmr_jax import objectives, sharding, step
  return objectives, sharding, step


def texts(work: str) -> list[list[int]]:
  rng = np.random.default_rng(7)
  lengths = rng.integers(8, 41, 128) if work == 'short' else [500] * 8
  return [[0, *rng.integers(4, VOCAB - 1, n - 2).tolist(), 2] for n in lengths]


def training_step(variant: str):
  """A function that makes one MLM step."""
  import dataclasses

  import jax

  from configs import common
  from xlmr_jax import heads
  from xlmr_jax.model import VARIANTS

  objectives, sharding, step = import_modules()
  config = dataclasses.replace(
    VARIANTS[variant], vocab_size=VOCAB, vocab_multiple=1024
  )
  objective = objectives.mlm(
    config,
    mask_id=VOCAB - 1,
    special_ids=(0, 1, 2, 3, VOCAB - 1),
    pieces=(4, VOCAB - 1),
  )
  mesh = sharding.make_mesh()
  trained = step.build(config, objective, common.base(), 10_000, mesh)
  rng = np.random.default_rng(0)
  tokens = rng.integers(4, VOCAB - 1, (8, 128)).astype(np.int32)
  places = np.tile(np.arange(128, dtype=np.int32), (8, 1))
  batch = dict(tokens=tokens, segments=np.ones_like(places), positions=places)
  with jax.set_mesh(mesh):
    make = lambda key: heads.init(config, key, 'mlm')
    params = jax.jit(make, out_shardings=trained.layout)(jax.random.key(0))
    state = trained.fresh_state(params)

  def run():
    nonlocal params, state
    with jax.set_mesh(mesh):
      params, state, metrics = trained.update(
        params, state, sharding.place_batch(batch, mesh)
      )
      jax.block_until_ready(metrics)

  return run


def child(folder: str, variant: str) -> None:
  """Does the work that stdin names, and prints its seconds."""
  # An editable install would lend the older checkout modules of the newer.
  sys.meta_path[:] = [f for f in sys.meta_path if 'ditable' not in str(f)]
  import jax

  import xlmr_jax

  model = xlmr_jax.load(folder)
  runs = {
    'load': lambda: jax.block_until_ready(xlmr_jax.load(folder).params),
    'short': lambda: model.encode(texts('short')),
    'long': lambda: model.encode(texts('long')),
    'mlm': training_step(variant),
  }
  for run in runs.values():
    run()  # compiled, and in the page cache
  print('ready', xlmr_jax.__file__, flush=True)
  for line in sys.stdin:
    start = time.perf_counter()
    runs[line.strip()]()
    print(time.perf_counter() - start, flush=True)


def write_model(folder: pathlib.Path, variant: str) -> None:
  """A random model as a Hugging Face directory, by the NEW checkout."""
  import dataclasses

  import jax

  from xlmr_jax import checkpoints, heads
  from xlmr_jax.checkpoints.weights import Weights
  from xlmr_jax.model import VARIANTS

  config = dataclasses.replace(VARIANTS[variant], vocab_size=VOCAB)
  params = jax.jit(lambda key: heads.init(config, key, 'mlm'))(
    jax.random.key(0)
  )
  checkpoints.write(folder, Weights(config, params, 'mlm'), 'hf')


def main(argv):
  if argv[1] == 'child':
    return child(argv[2], VARIANT.value)
  if argv[1] == 'write':
    return write_model(pathlib.Path(argv[2]), VARIANT.value)
  old, new = map(os.path.abspath, argv[1:3])
  script = os.path.abspath(__file__)

  def command(checkout, *words):
    flag = f'--variant={VARIANT.value}'
    return dict(
      args=[sys.executable, script, *words, flag],
      env={**os.environ, 'PYTHONPATH': checkout},
      cwd=checkout,
      text=True,
    )

  with tempfile.TemporaryDirectory() as scratch:
    model = os.path.join(scratch, 'model')
    subprocess.run(**command(new, 'write', model), check=True)
    sides = []
    for checkout in (old, new):
      side = subprocess.Popen(
        **command(checkout, 'child', model),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
      )
      ready = side.stdout.readline()
      if checkout not in ready:
        raise RuntimeError(f'{checkout} did not start: {ready!r}')
      sides.append(side)
    times = {work: ([], []) for work in WORK}
    for number in range(ROUNDS.value):
      for work in WORK:
        for i in (0, 1) if number % 2 == 0 else (1, 0):
          sides[i].stdin.write(work + '\n')
          sides[i].stdin.flush()
          times[work][i].append(float(sides[i].stdout.readline()))
    for side in sides:
      side.stdin.close()
      side.wait()
  for work, (before, after) in times.items():
    ratios = sorted(b / a for a, b in zip(before, after, strict=True))
    print(
      f'{work:6} old {statistics.median(before):.3f} s, new '
      f'{statistics.median(after):.3f} s, new/old '
      f'{statistics.median(ratios):.3f} [{ratios[0]:.3f}-{ratios[-1]:.3f}]'
    )
  print(json.dumps({work: times[work] for work in WORK}))


if __name__ == '__main__':
  app.run(main)
