"""All benchmarks by name; a new one is a new row.

>>> BENCHMARKS['clue']['ocnli'].languages
('zh',)

A file of yours adds a row: `xlmr eval --custom_tasks=FILE` imports it, and so
does a recipe that is that file (docs/extending.md).

  table.BENCHMARKS['intents'] = Benchmark('intents', (Task(...),))
"""

import importlib.util
import os
import pathlib
import sys

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


def import_file(path: str | os.PathLike) -> None:
  """Imports a Python file that adds rows to BENCHMARKS.

  It may import files beside it, as a program may.

  Raises:
    ValueError: the file is not there, or is no Python file.
  """
  path = pathlib.Path(path).resolve()
  if path.suffix != '.py' or not path.is_file():
    raise ValueError(
      f'{path} is no Python file: name one that adds rows to BENCHMARKS'
    )
  if str(path.parent) not in sys.path:
    sys.path.append(str(path.parent))
  spec = importlib.util.spec_from_file_location(path.stem, path)
  assert spec is not None and spec.loader is not None  # as for every .py
  spec.loader.exec_module(importlib.util.module_from_spec(spec))


def tasks() -> dict[str, Task]:
  """Every task that can be evaluated, by the name that commands know.

  Of two tasks with the same name the first benchmark's is taken: XTREME's, not
  XTREME-R's.
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
