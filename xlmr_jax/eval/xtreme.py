"""XTREME (Hu et al. 2020, arXiv:2003.11080) as a table.

Adding a task is adding a row. `write_predictions` makes the files that its
leaderboard takes.
"""

from collections.abc import Mapping
import os
import pathlib
import shutil
import tempfile

from xlmr_jax.data import sources
from xlmr_jax.eval.evaluate import Result, Task
from xlmr_jax.tasks import classify

TASKS: Mapping[str, Task] = {
  task.name: task
  for task in (
    Task(
      name='xnli',
      kind=classify,
      head='classify',
      read=sources.xnli,
      languages=tuple('ar bg de el en es fr hi ru sw th tr ur vi zh'.split()),
      labels=('contradiction', 'entailment', 'neutral'),
    ),
  )
}


def write_predictions(
  folder: str | os.PathLike, result: Result, split: str = 'test'
) -> pathlib.Path:
  """Writes <folder>/<task>/<split>-<language>.tsv, one answer per line.

  The task's folder appears whole; one of an earlier evaluation goes.

  Returns:
    The task's folder.
  """
  folder = pathlib.Path(folder)
  folder.mkdir(parents=True, exist_ok=True)
  made = pathlib.Path(tempfile.mkdtemp(prefix='.', dir=folder))
  try:
    for language, answers in result.predictions.items():
      text = ''.join(f'{answer}\n' for answer in answers)
      (made / f'{split}-{language}.tsv').write_text(text, encoding='utf-8')
    made.chmod(0o755)
    target = folder / result.task.name
    if target.exists():
      shutil.rmtree(target)
    made.rename(target)
  finally:
    shutil.rmtree(made, ignore_errors=True)
  return target
