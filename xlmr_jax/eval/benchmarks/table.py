"""All benchmarks: their rows, by one name each, and their submissions.

>>> rows('clue')['ocnli']
"""

from collections.abc import Mapping
import os
import pathlib
import tempfile

from xlmr_jax.data.readers import choices
from xlmr_jax.eval.benchmarks import clue, xtreme
from xlmr_jax.eval.evaluate import Result
from xlmr_jax.eval.submissions import (
  clue_submission,
  clue_table,
  xtreme_submission,
)
from xlmr_jax.eval.task import Task
from xlmr_jax.tasks import choose

NAMES = xtreme_submission.VERSIONS

# What can be evaluated by itself.
TASKS: Mapping[str, Task] = {**xtreme.TASKS, **clue.TASKS, **clue.FEW}
# What can be fine-tuned. On SIQA XTREME-R's models learn to choose before COPA.
TUNED: Mapping[str, Task] = {
  **TASKS,
  'siqa': Task('siqa', choose, choose.HEADS, choices.siqa, ('en',)),
}


def rows(benchmark: str) -> dict[str, Task]:
  """The tasks of a benchmark that can be run, by name."""
  if benchmark in clue_table.TASKS:
    return clue.rows(benchmark)
  return xtreme.rows(benchmark)


def languages(benchmark: str, task: str) -> tuple[str, ...]:
  """All that a task has, whatever is there."""
  known = {**xtreme_submission.TASKS, **clue_table.TASKS}
  return known[benchmark][task].languages


def groups(benchmark: str) -> Mapping[str, tuple[str, ...]]:
  """Name → the tasks whose mean it is."""
  return {**xtreme_submission.GROUPS, **clue_table.GROUPS}[benchmark]


def overall(benchmark: str) -> tuple[str, ...]:
  """The tasks whose mean is the overall score."""
  return clue_table.OVERALL.get(benchmark) or tuple(
    xtreme_submission.TASKS[benchmark]
  )


def write(
  folder: pathlib.Path,
  benchmark: str,
  result: Result,
  split: str,
  keep: bool = False,
) -> None:
  """Writes a task's predictions into a submission.

  Args:
    folder: the submission's.
    benchmark: that it is to.
    result: of the task.
    split: of its files.
    keep: whether predictions in other languages stay.
  """
  if benchmark in clue_table.TASKS:
    clue.write_predictions(folder, benchmark, result)
  elif not keep:
    xtreme.write_predictions(folder, result, split)
  else:
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix='.', dir=folder.parent) as made:
      new = xtreme.write_predictions(made, result, split)
      (folder / new.name).mkdir(exist_ok=True)
      for path in new.iterdir():
        path.replace(folder / new.name / path.name)


def finish(
  folder: pathlib.Path, benchmark: str, tasks, labels: str | os.PathLike
) -> tuple[pathlib.Path, list[str]]:
  """(what to submit, what is wrong with it): CLUE takes a zip.

  Args:
    folder: of the submission.
    benchmark: that it is to.
    tasks: those that it should have.
    labels: folder of the test files, whose rows must all be there.
  """
  if benchmark not in clue_table.TASKS:
    return folder, xtreme_submission.check(folder, benchmark, tasks=tasks)
  path = folder.with_suffix('.zip')
  clue_submission.pack(folder, benchmark, path)
  found = clue_submission.check(
    path, benchmark, labels=labels, split='test', tasks=tasks
  )
  return path, found
