"""Time and memory of mining sentence pairs, at the size of BUCC's zh-en.

  python benchmarks/mining.py [--sources=8624] [--targets=13589] [--dim=768]

Vectors are random: the search is exact, so its work does not depend on them.
Seconds are those of the clock and, because other work may share the machine,
those that this process had of the processor. Memory is what the process held
at most, the vectors themselves apart, beside what the table of all scores
would take.
"""

import pathlib
import resource
import sys
import time

from absl import app, flags
import numpy as np

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

SOURCES = flags.DEFINE_integer('sources', 8624, 'Foreign sentences.')
TARGETS = flags.DEFINE_integer('targets', 13_589, 'English sentences.')
DIM = flags.DEFINE_integer('dim', 768, 'Width of a vector.')
K = flags.DEFINE_integer('k', 4, 'Neighbours that a margin is measured by.')


def main(argv):
  del argv
  from xlmr_jax.tasks import neighbours

  rng = np.random.default_rng(0)
  x, y = (
    rng.standard_normal((rows, DIM.value), np.float32)
    for rows in (SOURCES.value, TARGETS.value)
  )
  peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
  before = peak()
  clock, cpu = time.perf_counter(), time.process_time()
  pairs = neighbours.mine(x, y, k=K.value)
  clock, cpu = time.perf_counter() - clock, time.process_time() - cpu
  table = len(x) * len(y) * 4 / 2**20
  print(
    f'{len(x):,} x {len(y):,}, D={DIM.value}, k={K.value}: {clock:.1f} s, '
    f'{cpu:.1f} s of processor, {peak() - before:,.0f} MiB more '
    f'(all scores: {table:,.0f} MiB), {len(pairs):,} pairs'
  )


if __name__ == '__main__':
  app.run(main)
