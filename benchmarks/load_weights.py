"""Loading XLM-R base: hf.reader.read against safetensors.flax, side by side.

  python benchmarks/load_weights.py [--rounds=5]

Writes a random model of base's size (1.1 GB, f32) into a temporary folder,
then loads it in fresh processes, by turns:

  ours  hf.reader.read, then jax.device_put
  flax  safetensors.flax.load_file, then the same transposes and stacks

The file is in the page cache; imports and JAX's start are not counted. Printed
are medians, their ratio, where our time goes, and the peak memory above what
the process held before, as a multiple of the file.
"""

import json
import os
import pathlib
import resource
import statistics
import subprocess
import sys
import tempfile
import threading
import time

from absl import app, flags
import jax
import jax.numpy as jnp
import numpy as np

from xlmr_jax import heads
from xlmr_jax.checkpoints import arrays
from xlmr_jax.checkpoints.hf import reader, writer
from xlmr_jax.checkpoints.hf.config_json import config_from_hf
from xlmr_jax.checkpoints.hf.names import table
from xlmr_jax.checkpoints.weights import Weights
from xlmr_jax.model import Config

_ROUNDS = flags.DEFINE_integer('rounds', 5, 'Loads of each kind.')
_LAYERS = flags.DEFINE_integer('num_layers', 12, 'Of the model.')
_CHILD = flags.DEFINE_string('child', None, 'Internal: ours or flax.')
_FOLDER = flags.DEFINE_string('folder', None, 'Internal: what to load.')


def random_params(config: Config) -> dict:
  """N(0, 0.02) everywhere, as fast as it goes."""
  rng = np.random.default_rng(0)
  shapes = jax.eval_shape(
    lambda k: heads.init(config, k, 'mlm'), jax.random.key(0)
  )
  return jax.tree.map(
    lambda s: rng.standard_normal(s.shape, np.float32) * np.float32(0.02),
    shapes,
  )


def load_ours(folder: pathlib.Path) -> tuple[dict, dict]:
  timer: dict[str, float] = {}
  weights = reader.read(folder, timer=timer)
  with arrays.timed(timer, 'place'):
    params = jax.block_until_ready(jax.device_put(weights.params))
  return params, timer


def load_flax(folder: pathlib.Path) -> tuple[dict, dict]:
  """What one writes without xlmr_jax, by the same table of names."""
  from safetensors.flax import load_file

  timer: dict[str, float] = {}
  with arrays.timed(timer, 'read'):
    flat = jax.block_until_ready(load_file(folder / 'model.safetensors'))
  with arrays.timed(timer, 'transform'):
    config = config_from_hf(json.loads((folder / 'config.json').read_text()))
    leaves: dict = {}
    for name, row in table(config, 'mlm').items():
      for key in (name, f'roberta.{name}'):
        if key in flat:
          array = flat.pop(key)
          leaves.setdefault(row.path, []).append(array.T if row.flip else array)
    params = {
      path: arrays[0] if len(arrays) == 1 else jnp.stack(arrays)
      for path, arrays in leaves.items()
    }
    jax.block_until_ready(params)
  return params, timer


def resident() -> int:
  """Bytes this process holds in memory now."""
  pages = pathlib.Path('/proc/self/statm').read_text().split()[1]
  return int(pages) * resource.getpagesize()


def child(which: str, folder: pathlib.Path) -> None:
  """One load in this process; prints what it took as JSON."""
  import safetensors.flax  # noqa: F401 (its import is not counted)

  jnp.zeros(8).block_until_ready()
  before = resident()
  peak, stop = [before], threading.Event()

  def watch():
    while not stop.wait(0.002):
      peak[0] = max(peak[0], resident())

  thread = threading.Thread(target=watch)
  thread.start()
  start = time.perf_counter()
  params, timer = {'ours': load_ours, 'flax': load_flax}[which](folder)
  seconds = time.perf_counter() - start
  stop.set()
  thread.join()
  check = float(sum(jnp.sum(x[..., 0]) for x in jax.tree.leaves(params)))
  out = {'seconds': seconds, 'peak': peak[0] - before, 'check': check, **timer}
  print(json.dumps(out))


def main(argv) -> None:
  del argv
  if _CHILD.value:
    child(_CHILD.value, pathlib.Path(_FOLDER.value))
    return

  config = Config(num_layers=_LAYERS.value)
  with tempfile.TemporaryDirectory() as temp:
    folder = pathlib.Path(temp) / 'model'
    weights = Weights(config, random_params(config), 'mlm')
    writer.write(folder, weights)
    del weights
    size = (folder / 'model.safetensors').stat().st_size
    runs: dict[str, list[dict]] = {'ours': [], 'flax': []}
    for _ in range(_ROUNDS.value):
      for which, results in runs.items():
        command = [sys.executable, __file__, f'--child={which}']
        done = subprocess.run(
          [*command, f'--folder={folder}'],
          env={**os.environ, 'JAX_PLATFORMS': 'cpu'},
          stdout=subprocess.PIPE,
          check=True,
        )
        results.append(json.loads(done.stdout.splitlines()[-1]))
  assert len({round(r['check'], 2) for rs in runs.values() for r in rs}) == 1

  def median(which, key):
    return statistics.median(r.get(key, 0.0) for r in runs[which])

  print(f'file {size / 1e9:.2f} GB, {_ROUNDS.value} rounds, medians')
  print('       seconds    read  transform   place   peak/file')
  for which in runs:
    parts = [
      median(which, k) for k in ('seconds', 'read', 'transform', 'place')
    ]
    print(
      '{:5} {:9.2f} {:7.2f} {:10.2f} {:7.2f}'.format(which, *parts),
      f'{median(which, "peak") / size:10.2f}',
    )
  ratios = [
    b['seconds'] / a['seconds']
    for a, b in zip(runs['ours'], runs['flax'], strict=True)
  ]
  print(
    f'ratio flax / ours: {statistics.median(ratios):.2f} '
    f'[{min(ratios):.2f}-{max(ratios):.2f}]'
  )


if __name__ == '__main__':
  app.run(main)
