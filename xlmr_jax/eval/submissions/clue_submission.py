"""CLUE's form of a submission: a file a task, in one folder or zip.

clue_forms.py reads the files. Labels are the official files that have any, dev
sets as a rule, in the folders or zips that they come in: afqmc_public/dev.json,
afqmc/dev.json or afqmc_public.zip. No model is needed.
"""

from collections.abc import Mapping, Sequence
import contextlib
import dataclasses
import json
import os
import pathlib
from typing import Any
import zipfile

from xlmr_jax.data import files
from xlmr_jax.eval.metrics import scores
from xlmr_jax.eval.submissions import clue_forms
from xlmr_jax.eval.submissions.clue_forms import TaskFile
from xlmr_jax.runtime import storage

Path = str | os.PathLike


@dataclasses.dataclass(frozen=True)
class Submission:
  """Submissions to one version of the leaderboard.

  Attributes:
    benchmark: its name.
    tasks: name → its file.
    required: tasks that must be there; others may.
    related: (name, file) of other versions, whose names of files are known.
    split: of the labels, where nothing else is said.
  """

  benchmark: str
  tasks: Mapping[str, TaskFile]
  required: tuple[str, ...]
  related: Sequence[tuple[str, TaskFile]] = ()
  split: str = 'dev'

  def score(
    self,
    predictions: Path,
    labels: Path,
    *,
    tasks: Sequence[str] | None = None,
    split: str | None = None,
  ) -> dict[str, Any]:
    """Scores a submission, any system's.

    Args:
      predictions: folder or zip.
      labels: folder of official labelled files.
      tasks: some of the benchmark's; by default those that are required, and
        whatever else there are predictions of.
      split: of the labels.

    Returns:
      'tasks', 'missing', 'problems' and 'notes' as Benchmark.score has them.

    Raises:
      ValueError: no such task or folder, or nothing in it at all.
    """
    chosen = self._chosen(tasks)
    paths = _paths(predictions)
    names = [task.name for task in self.tasks.values()]
    if not any(name in paths for name in names):
      raise ValueError(
        f'{predictions}: no file of any task of {self.benchmark}; they are '
        f'{", ".join(names)}'
      )
    if not os.path.exists(labels):
      raise ValueError(f'labels: {labels} is not a folder')
    required = self.required if tasks is None else tasks
    missing, problems, notes = [], [], []
    scored = {}
    for name, task in chosen.items():
      if task.name not in paths:
        if name in required:
          missing.append(self._no_file(predictions, name, paths))
        continue
      try:
        gold = task.paths(labels, split or self.split)
        scored[name], remarks = _score(paths[task.name], gold, task)
        notes += [f'{name}: {text}' for text in remarks]
      except files.Missing as error:
        (missing if name in required else notes).append(f'{name}: {error}')
      except ValueError as error:
        problems.append(f'{name}: {error}')
    notes += self._unknown_files(predictions, paths)
    return {
      'tasks': scored,
      'missing': missing,
      'problems': problems,
      'notes': notes,
    }

  def check(
    self,
    path: Path,
    *,
    labels: Path | None = None,
    split: str | None = None,
    expected: Mapping[str, int | Sequence[str]] | None = None,
    tasks: Sequence[str] | None = None,
  ) -> list[str]:
    """Checks a submission before it is sent.

    Args:
      path: folder or zip.
      labels: folder of official files, whose rows are asked for; test files,
        which have no labels, will do.
      split: of these.
      expected: task → what the test file, which has no labels, asks for: how
        many rows, or their ids; of questions and blanks the ids.
      tasks: some of the benchmark's; by default those that are required must
        be there, and others may. The leaderboard takes a submission of some
        of them.

    Returns:
      A sentence for each problem; empty for a submission that is complete.

    Raises:
      ValueError: no such task, no such folder or zip, or a zip that is damaged.
    """
    chosen = self._chosen(tasks)
    paths = _paths(path)
    required = self.required if tasks is None else tasks
    out = []
    for name, task in chosen.items():
      if task.name not in paths:
        if name in required:
          out.append(self._no_file(path, name, paths))
        continue
      try:
        predictions = clue_forms.read(paths[task.name], task)
        rows: Sequence[clue_forms.Line] | None = None
        if (want := (expected or {}).get(name)) is not None:
          known = range(want) if isinstance(want, int) else want
          rows = [clue_forms.Line(str(i), None, '') for i in known]
        elif labels is not None:
          with contextlib.suppress(files.Missing):
            gold = task.paths(labels, split or self.split)
            rows = clue_forms.gold(gold, task, labelled=False)
            rows = _asked(predictions, rows)
        ids = None if rows is None else [row.id for row in rows]
        clue_forms.match(paths[task.name], predictions, ids, task.form)
        texts = clue_forms.remarks(paths[task.name], predictions, rows, task)
        out += [f'{name}: {text}' for text in texts]
      except ValueError as error:
        out.append(f'{name}: {error}')
    return out + self._unknown_files(path, paths)

  def write_all(
    self, path: Path, predictions: Mapping[str, Sequence | Mapping]
  ) -> pathlib.Path:
    """Writes a whole submission, or nothing.

      >>> form.write_all('submit.zip', {'afqmc': ['0', '1', ...]})

    Args:
      path: a folder, or a .zip for the leaderboard. One that is there is
        replaced, if it is a submission.
      predictions: task → a label for each row in its order, or {id: label}
        where rows have ids of their own; of questions and blanks {id: answer}.
        Labels are names, of c3 and chid numbers, of cluener what spans.marked
        gives.

    Returns:
      The path.

    Raises:
      ValueError: no such task, a label that the task does not have, or
        something else that stands at the path.
    """
    path = pathlib.Path(path)
    chosen = self._chosen(list(predictions))
    texts = {
      task.name: _text(name, task, predictions[name])
      for name, task in chosen.items()
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == '.zip':
      return _pack(path, texts)
    if path.exists():
      known = self._known_files()
      inside = list(path.iterdir()) if path.is_dir() else [path]
      if other := [f.name for f in inside if f.name not in known]:
        raise ValueError(
          f'{path} has something else in it, {other[0]}; give a new folder'
        )
    with storage.whole(path, overwrite=True) as temporary:
      for name, text in texts.items():
        (temporary / name).write_text(text, encoding='utf-8')
    return path

  def write(
    self,
    folder: Path,
    task: str,
    predictions: Mapping[str, Sequence],
    ids: Mapping[str, Sequence[str]],
    *,
    split: str = 'test',
    keep: bool = False,
  ) -> pathlib.Path:
    """Writes the file of one task; other files in the folder stay.

    Args:
      folder: of the submission.
      task: its name.
      predictions: language → predictions, of the one language that there is.
      ids: language → the id of each prediction, where examples have ids.
      split: not used here.
      keep: not used here: there is one language.

    Returns:
      The file.
    """
    del split, keep
    (answers,) = predictions.values()
    (names,) = ids.values() or ([],)
    file = self._chosen([task])[task]
    content: Sequence | Mapping = answers
    if names and (file.by_id or file.own_ids):
      if len(set(names)) == len(names):
        content = dict(zip(names, answers, strict=True))
    path = pathlib.Path(folder) / file.name
    text = _text(task, file, content)
    path.parent.mkdir(parents=True, exist_ok=True)
    storage.write_text(path, text)
    return path

  def finish(
    self, folder: pathlib.Path, labels: Path, tasks: Sequence[str]
  ) -> tuple[pathlib.Path, list[str]]:
    """(what to submit: a zip beside the folder, what is wrong with it).

    Args:
      folder: of the submission.
      labels: folder of the test files, whose rows must all be there.
      tasks: those that it should have.
    """
    path = self.pack(folder, folder.with_suffix('.zip'))
    return path, self.check(path, labels=labels, split='test', tasks=tasks)

  def pack(self, folder: Path, path: Path) -> pathlib.Path:
    """Packs the files of the tasks that are in a folder into a zip."""
    folder = pathlib.Path(folder)
    texts = {
      task.name: (folder / task.name).read_text('utf-8')
      for task in self.tasks.values()
      if (folder / task.name).exists()
    }
    return _pack(pathlib.Path(path), texts)

  def _chosen(self, tasks: Sequence[str] | None) -> dict[str, TaskFile]:
    for task in tasks or ():
      if task not in self.tasks:
        raise ValueError(
          f'{self.benchmark} has no task {task!r}: {", ".join(self.tasks)}'
        )
    return {n: self.tasks[n] for n in (self.tasks if tasks is None else tasks)}

  def _known_files(self) -> set[str]:
    related = {task.name for _, task in self.related}
    return {task.name for task in self.tasks.values()} | related

  def _no_file(self, path: Path, name: str, paths) -> str:
    file = self.tasks[name].name
    text = f'{name}: no file {file} in {path}'
    others = {
      task.name for task_name, task in self.related if task_name == name
    }
    others |= {f'{name}_predict.json'}
    if similar := sorted((others - {file}) & set(paths)):
      text += f'; {similar[0]} is another name: call it {file}'
    return text

  def _unknown_files(self, path: Path, paths: Mapping[str, str]) -> list[str]:
    """Remarks on files that the leaderboard does not know or would not find."""
    known = self._known_files()
    out = [
      f'{path}: {name} is no file of a submission'
      for name in paths
      if name not in known
    ]
    prefix = f'{os.fspath(path)}/'
    deep = [
      full.removeprefix(prefix)
      for name, full in paths.items()
      if name in known and full != os.path.join(path, name)
    ]
    if deep:
      out.append(
        f'{path}: {deep[0]} stands in a folder of the zip, not at its top'
      )
    return out


def _score(
  path: str, paths: Sequence[str], task: TaskFile
) -> tuple[dict[str, Any], list[str]]:
  """A task's part of results.json, and what looks wrong."""
  rows: Sequence[clue_forms.Line] = clue_forms.gold(paths, task)
  predictions = clue_forms.read(path, task)
  notes = []
  bare = sum(row.label is None for row in rows)
  if bare:
    notes.append(
      f'{paths[0]}: {bare} of {len(rows)} rows have no label and are not scored'
    )
    rows = _asked(predictions, rows)
  clue_forms.match(path, predictions, [row.id for row in rows], task.form)
  notes += clue_forms.remarks(path, predictions, rows, task)
  values = scores.score(
    task.metric, *clue_forms.align(predictions, rows, task.form), 'zh'
  )
  column = lambda value: {'languages': {'zh': value}, 'average': value}
  first, *parts = values
  return {
    'metric': task.metric,
    **column(values[first]),
    'parts': {part: column(values[part]) for part in parts},
  }, notes


def _asked(predictions: Sequence, rows: Sequence) -> Sequence:
  """The rows without those that have no label, if predictions leave these out
  too."""
  kept = [row for row in rows if row.label is not None]
  same = [line.id for line in predictions] == [row.id for row in kept]
  return kept if same else rows


def _pack(path: pathlib.Path, texts: Mapping[str, str]) -> pathlib.Path:
  path.parent.mkdir(parents=True, exist_ok=True)
  with (
    storage.whole_file(path) as temporary,
    zipfile.ZipFile(temporary, 'w', zipfile.ZIP_DEFLATED) as packed,
  ):
    for name, text in texts.items():
      # No time of writing: equal predictions make equal zips.
      info = zipfile.ZipInfo(name)
      info.compress_type = zipfile.ZIP_DEFLATED
      packed.writestr(info, text)
  return path


def _text(name: str, task: TaskFile, predictions: Sequence | Mapping) -> str:
  """The content of a task's file."""
  if isinstance(predictions, Mapping):
    items = list(predictions.items())
  elif not task.by_id:
    items = list(enumerate(predictions))
  else:
    raise ValueError(f'{name}: predictions are {{id: answer}}, not a list')
  if not items:
    raise ValueError(f'{name}: there are no predictions')
  clean = lambda key, value: _label(name, task, key, value)
  items = [(key, clean(key, value)) for key, value in items]
  dump = lambda value: json.dumps(value, ensure_ascii=False)
  if task.by_id:
    return json.dumps(dict(items), ensure_ascii=False, indent=2) + '\n'
  return ''.join(dump({'id': k, task.key: v}) + '\n' for k, v in items)


def _label(name: str, task: TaskFile, key, value) -> Any:
  """A label as the leaderboard reads it."""
  if task.form == 'spans':
    wrong = not set(value) <= set(task.names)
  elif task.form == 'answers':
    wrong = not isinstance(value, str)
  else:
    value = str(value)
    wrong = bool(task.names) and value not in task.names
  if wrong:
    listed = ', '.join(task.names) or 'a text'
    raise ValueError(f'{name}, id {key}: {value!r} is not of {listed}')
  number = task.form in ('blanks', 'choices') or task.key == 'answer'
  return int(value) if number else value


def _paths(path: Path) -> dict[str, str]:
  """Name → file, of a submission's files; in a zip folders say nothing."""
  path = os.fspath(path)
  if os.path.isdir(path):
    return {name: os.path.join(path, name) for name in sorted(os.listdir(path))}
  if not os.path.isfile(path):
    raise ValueError(f'predictions: {path} is neither a folder nor a zip')
  if not path.endswith('.zip'):
    raise ValueError(
      f'predictions: {path} is no .zip; give the folder or zip of all files'
    )
  try:
    with zipfile.ZipFile(path) as packed:
      members = [m for m in packed.infolist() if not m.is_dir()]
  except zipfile.BadZipFile as error:
    raise ValueError(
      f'{path}: a damaged zip ({error}); pack it again'
    ) from error
  out: dict[str, str] = {}
  for member in members:
    if member.filename.startswith('__MACOSX'):
      continue
    name = pathlib.PurePosixPath(member.filename).name
    if member.flag_bits & 1:
      raise ValueError(f'{path}: {name} is encrypted; pack it without')
    if name in out:
      raise ValueError(
        f'{path}: {name} is there twice, {out[name]} and {member.filename}; '
        'leave one'
      )
    out[name] = f'{path}/{member.filename}'
  return out
