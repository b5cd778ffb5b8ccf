"""All benchmarks, by name; adding one is adding a row.

>>> BENCHMARKS['clue']['ocnli'].languages
('zh',)

A benchmark of your own becomes a row where you define it, in a file that the
commands import (docs/extending.md):

  table.BENCHMARKS['intents'] = Benchmark('intents', (Task(...),))
"""

from xlmr_jax.eval.benchmarks import clue, xtreme
from xlmr_jax.eval.benchmarks.benchmark import Benchmark
from xlmr_jax.eval.task import Task

BENCHMARKS: dict[str, Benchmark] = {
  benchmark.name: benchmark
  for benchmark in (
    xtreme.XTREME,
    xtreme.XTREME_R,
    clue.CLUE,
    clue.CLUE_1_0,
    clue.FEWCLUE,
  )
}


def find(name: str) -> Benchmark:
  """A benchmark.

  Raises:
    ValueError: there is none of this name.
  """
  if name not in BENCHMARKS:
    raise ValueError(
      f'benchmark {name!r} is not one of {", ".join(BENCHMARKS)}'
    )
  return BENCHMARKS[name]


def tasks() -> dict[str, Task]:
  """Every task that can be evaluated, by the name that commands know.

  Of tasks with the same name the first benchmark's: XTREME's, not XTREME-R's.
  """
  out: dict[str, Task] = {}
  for benchmark in BENCHMARKS.values():
    for task in benchmark.tasks:
      out.setdefault(task.known or task.name, task)
  return out


def tunable() -> dict[str, Task]:
  """The same, and the tasks that are only trained on."""
  out = tasks()
  for benchmark in BENCHMARKS.values():
    out |= {task.name: task for task in benchmark.tuning}
  return out
