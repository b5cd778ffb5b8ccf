"""A benchmark is one object: tasks, means, published scores, submissions."""

from collections.abc import Callable, Mapping, Sequence
import dataclasses
import os
import pathlib
from typing import Any

from xlmr_jax.data.readers.label_sets import SEPARATOR
from xlmr_jax.eval.benchmarks.published import NAMES, Row
from xlmr_jax.eval.evaluate import Result
from xlmr_jax.eval.metrics import scores
from xlmr_jax.eval.submissions import xtreme_submission
from xlmr_jax.eval.task import Task

Path = str | os.PathLike


@dataclasses.dataclass(frozen=True)
class Benchmark:
  """One row of table.BENCHMARKS.

  Attributes:
    name: in commands, recipes and results.json.
    tasks: those that it tests, in the order of its tables.
    groups: name → the tasks whose mean it is.
    overall: the tasks whose mean is the overall score; empty for all of them.
    published: scores to show beside ours; those of its own tables first.
    form: (name, files of tasks, required tasks, files of related tasks) → its
      submissions. Its `write`, `check`, `score` and `finish` are those of
      xtreme_submission.Submission.
    related: tasks whose files may lie in the same submission.
    tuning: tasks that are only trained on.
    prepared: whether data_dir may be tfds:DIR, prepared by
      tensorflow_datasets.
  """

  name: str
  tasks: tuple[Task, ...]
  groups: Mapping[str, tuple[str, ...]] = dataclasses.field(
    default_factory=dict
  )
  overall: tuple[str, ...] = ()
  published: tuple[Row, ...] = ()
  form: Callable[..., Any] = xtreme_submission.Submission
  related: tuple[Task, ...] = ()
  tuning: tuple[Task, ...] = ()
  prepared: bool = False

  def __post_init__(self):
    names = [task.name for task in self.tasks]
    for name in names:
      if names.count(name) > 1:
        raise ValueError(f'{self.name} has the task {name} twice')
    for name in (*self.overall, *sum(self.groups.values(), ())):
      if name not in names:
        raise ValueError(f'{self.name} has a mean of {name}, which is no task')
    object.__setattr__(self, 'overall', self.overall or tuple(names))

  def __getitem__(self, name: str) -> Task:
    for task in self.tasks:
      if task.name == name:
        return task
    raise KeyError(name)

  @property
  def submission(self):
    """The benchmark's submissions, in its `form`."""
    return self.form(
      self.name,
      {task.name: files_of(task) for task in self.tasks},
      self.overall,
      tuple((task.name, files_of(task)) for task in self.related),
    )

  def score(
    self,
    predictions: Path,
    labels: Path,
    *,
    tasks: Sequence[str] | None = None,
    **options,
  ) -> dict[str, Any]:
    """Scores a submission, any system's.

    Args:
      predictions: folder or zip, in the benchmark's form.
      labels: folder of what is right.
      tasks: some of the benchmark's; by default all that count.
      **options: further ones of the form, such as `split`.

    Returns:
      What results.json holds, per cent:

        {'benchmark': name,
         'tasks': {task: {'metric': name,
                          'languages': {language: score},
                          'average': score,
                          'parts': {part: {'languages': ..., 'average': ...}}}},
         'groups': {group: score},
         'overall': score,
         'missing': [what is not there, and where it is expected],
         'problems': [what could not be scored, and why],
         'notes': [what was scored as it is, but looks wrong]}

      An average of a task, of a group and the overall is None (null) where a
      part of it is missing or could not be scored; a task without any score
      is not there.

    Raises:
      ValueError: no such task or folder, or nothing in it at all.
    """
    results = self.submission.score(predictions, labels, tasks=tasks, **options)
    scored = results.pop('tasks')
    return {
      'benchmark': self.name,
      'tasks': scored,
      **self.means(scored),
      **results,
    }

  def means(self, tasks: Mapping[str, Mapping]) -> dict[str, Any]:
    """'groups' and 'overall' of results.json, of its 'tasks'."""
    return scores.over_tasks(tasks, self.groups, self.overall)

  def write(
    self, folder: Path, result: Result, split: str = 'test', keep: bool = False
  ) -> pathlib.Path:
    """Writes the predictions of a task into a submission.

    Args:
      folder: of the submission.
      result: of the task.
      split: of its files.
      keep: whether predictions in other languages stay.

    Returns:
      The file or folder of the task.
    """
    return self.submission.write(
      folder,
      result.task.name,
      result.predictions,
      result.ids,
      split=split,
      keep=keep,
    )

  def find_published(
    self, model: str, task: str, setting: str, split: str = 'test'
  ) -> Row | None:
    """A model's published score on a task; None where none is known.

    Args:
      model: as recipes call it.
      task: name of the task.
      setting: such as 'zero-shot'; where there is one language, CLUE's tables
        call it 'supervised'.
      split: of the data.
    """
    names = NAMES.get(model, (model,))
    for row in self.published:
      if (row.task, row.split) == (task, split) and row.model in names:
        if row.setting in (setting, 'supervised'):
          return row
    return None

  def other_models(self, task: str, split: str) -> list[Row]:
    """The published scores of the benchmark's own tables, of any model."""
    return [
      row
      for row in self.published
      if (row.benchmark, row.task, row.split) == (self.name, task, split)
    ]


def write_predictions(
  folder: Path, result: Result, split: str = 'test'
) -> pathlib.Path:
  """Writes the predictions of any task in XTREME's form.

  Several labels of an example are one line, with commas between.

  Returns:
    The task's folder, <folder>/<task>.
  """
  task = dataclasses.replace(result.task, file=None)
  if task.kind.several:
    joined = {
      language: list(map(SEPARATOR.join, answers))
      for language, answers in result.predictions.items()
    }
    result = dataclasses.replace(result, predictions=joined)
  return Benchmark(task.name, (task,)).write(folder, result, split)


def files_of(task: Task):
  """The files of a task in a submission: its own, or those of XTREME's form."""
  if task.file is not None:
    return task.file
  forms = {'words': 'tags', 'context': 'answers', 'choices': 'choices'}
  by_metric = {'cluener': 'spans', 'pair_f1': 'pairs', 'map@20': 'rankings'}
  return xtreme_submission.TaskFiles(
    task.metric,
    by_metric.get(task.metric) or forms.get(task.kind.examples, 'lines'),
    task.languages,
    task.labels or (),
  )
