"""Submissions to CLUE and FewCLUE: written, checked and scored, by no model.

  >>> write('submit.zip', 'clue', {'afqmc': ['0', '1', ...], 'cmrc2018': {...}})
  >>> check('submit.zip', labels='clue')
  []

`clue_layout` has the files' names, `clue_forms` what they hold. Labels are the
official files that have any, dev sets as a rule, in the folders or zips that
they come in: afqmc_public/dev.json, afqmc/dev.json or afqmc_public.zip.
"""

from collections.abc import Mapping, Sequence
import contextlib
import json
import os
import pathlib
from typing import Any
import zipfile

from xlmr_jax.data import files
from xlmr_jax.eval.metrics import scores
from xlmr_jax.eval.submissions import clue_forms
from xlmr_jax.eval.submissions.clue_table import (
  GROUPS,
  OVERALL,
  SPLITS,
  TASKS,
  Task,
)
from xlmr_jax.runtime import storage

Path = str | os.PathLike


def score(
  predictions: Path,
  labels: Path,
  version: str = 'clue',
  *,
  tasks: Sequence[str] | None = None,
  split: str | None = None,
) -> dict[str, Any]:
  """Scores a submission, any system's.

  Args:
    predictions: folder or zip.
    labels: folder of official labelled files.
    version: one of TASKS.
    tasks: some of the version's; by default those of its means, and whatever
      else there are predictions of.
    split: of the labels; default SPLITS[version].

  Returns:
    What results.json holds, as submission.score_folder gives it.

  Raises:
    ValueError: no such version, task or folder, or nothing in it at all.
  """
  chosen = _tasks(version, tasks)
  held = _held(predictions)
  _need_any(predictions, held, version)
  if not os.path.exists(labels):
    raise ValueError(f'labels: {labels} is not a folder')
  required = OVERALL[version] if tasks is None else tasks
  missing, problems, notes = [], [], []
  found = {}
  for name, task in chosen.items():
    if task.file not in held:
      if name in required:
        missing.append(_no_file(predictions, name, version, held))
      continue
    try:
      paths = task.paths(labels, split or SPLITS[version])
      found[name], remarks = _score(held[task.file], paths, task)
      notes += [f'{name}: {text}' for text in remarks]
    except files.Missing as error:
      (missing if name in required else notes).append(f'{name}: {error}')
    except ValueError as error:
      problems.append(f'{name}: {error}')
  notes += _strangers(predictions, held)
  return {
    'benchmark': version,
    'tasks': found,
    **scores.over_tasks(found, GROUPS[version], OVERALL[version]),
    'missing': missing,
    'problems': problems,
    'notes': notes,
  }


def _score(
  path: str, paths: Sequence[str], task: Task
) -> tuple[dict[str, Any], list[str]]:
  """A task's part of results.json, and what looks wrong."""
  rows = clue_forms.gold(paths, task)
  found = clue_forms.read(path, task)
  notes = []
  bare = sum(row.label is None for row in rows)
  if bare:
    notes.append(
      f'{paths[0]}: {bare} of {len(rows)} rows have no label and are not scored'
    )
    rows = _asked(found, rows)
  clue_forms.match(path, found, [row.id for row in rows], task.form)
  notes += clue_forms.remarks(path, found, rows, task)
  values = scores.score(
    task.metric, *clue_forms.align(found, rows, task.form), 'zh'
  )
  one = lambda value: {'languages': {'zh': value}, 'average': value}
  first, *parts = values
  return {
    'metric': task.metric,
    **one(values[first]),
    'parts': {part: one(values[part]) for part in parts},
  }, notes


def _asked(found: Sequence, rows: Sequence) -> Sequence:
  """The rows without those that have no label, if predictions leave these out
  too."""
  kept = [row for row in rows if row.label is not None]
  same = [line.id for line in found] == [row.id for row in kept]
  return kept if same else rows


def check(
  path: Path,
  version: str = 'clue',
  *,
  labels: Path | None = None,
  split: str | None = None,
  expected: Mapping[str, int | Sequence[str]] | None = None,
  tasks: Sequence[str] | None = None,
) -> list[str]:
  """What is wrong with a submission, before it is sent.

  Args:
    path: folder or zip.
    version: one of TASKS.
    labels: folder of official files, whose rows are asked for; test files,
      which have no labels, will do.
    split: of these.
    expected: task → what the test file, which has no labels, asks for: how
      many rows, or their ids; of questions and blanks the ids.
    tasks: some of the version's; by default those of its means must be there,
      and others may. The leaderboard takes a submission of some of them.

  Returns:
    A sentence for each problem; empty for a submission that is complete.

  Raises:
    ValueError: no such version or task, no such folder or zip, or a zip that
      is damaged.
  """
  chosen = _tasks(version, tasks)
  held = _held(path)
  required = OVERALL[version] if tasks is None else tasks
  out = []
  for name, task in chosen.items():
    if task.file not in held:
      if name in required:
        out.append(_no_file(path, name, version, held))
      continue
    try:
      found = clue_forms.read(held[task.file], task)
      rows = None
      if (want := (expected or {}).get(name)) is not None:
        ids = map(str, range(want)) if isinstance(want, int) else want
        rows = [clue_forms.Line(str(i), None, '') for i in ids]
      elif labels is not None:
        with contextlib.suppress(files.Missing):
          paths = task.paths(labels, split or SPLITS[version])
          rows = clue_forms.gold(paths, task, labelled=False)
          rows = _asked(found, rows)
      ids = None if rows is None else [row.id for row in rows]
      clue_forms.match(held[task.file], found, ids, task.form)
      texts = clue_forms.remarks(held[task.file], found, rows, task)
      out += [f'{name}: {text}' for text in texts]
    except ValueError as error:
      out.append(f'{name}: {error}')
  return out + _strangers(path, held)


def write(
  path: Path, version: str, predictions: Mapping[str, Sequence | Mapping]
) -> pathlib.Path:
  """Writes a submission, whole or not at all.

  Args:
    path: a folder, or a .zip for the leaderboard. One that is there is
      replaced, if it is a submission.
    version: one of TASKS.
    predictions: task → a label for each row in its order, or {id: label}
      where rows have ids of their own; of questions and blanks {id: answer}.
      Labels are names, of c3 and chid numbers, of cluener what spans.marked
      gives.

  Returns:
    The path.

  Raises:
    ValueError: no such version or task, a label that the task does not have,
      or something else that stands at the path.
  """
  path = pathlib.Path(path)
  known = _tasks(version, list(predictions))
  texts = {
    known[name].file: _text(name, known[name], found)
    for name, found in predictions.items()
  }
  path.parent.mkdir(parents=True, exist_ok=True)
  if path.suffix == '.zip':
    return _pack(path, texts)
  if path.exists():
    files_there = list(path.iterdir()) if path.is_dir() else [path]
    ours = {task.file for tasks in TASKS.values() for task in tasks.values()}
    if other := [f.name for f in files_there if f.name not in ours]:
      raise ValueError(
        f'{path} has something else in it, {other[0]}; give a new folder'
      )
  with storage.whole(path, overwrite=True) as temporary:
    for name, text in texts.items():
      (temporary / name).write_text(text, encoding='utf-8')
  return path


def write_task(
  folder: Path, version: str, name: str, found: Sequence | Mapping
) -> pathlib.Path:
  """Writes a task's file into a folder of others; see `write`."""
  task = _tasks(version, [name])[name]
  path = pathlib.Path(folder) / task.file
  text = _text(name, task, found)
  path.parent.mkdir(parents=True, exist_ok=True)
  storage.write_text(path, text)
  return path


def pack(folder: Path, version: str, path: Path) -> pathlib.Path:
  """Packs a version's files that are in a folder into a zip."""
  folder = pathlib.Path(folder)
  texts = {
    task.file: (folder / task.file).read_text('utf-8')
    for task in TASKS[version].values()
    if (folder / task.file).exists()
  }
  return _pack(pathlib.Path(path), texts)


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


def _text(name: str, task: Task, found: Sequence | Mapping) -> str:
  """What a task's file holds."""
  by_id = isinstance(found, Mapping)
  if task.form in ('answers', 'blanks') and not by_id:
    raise ValueError(f'{name}: predictions are {{id: answer}}, not a list')
  items = list(found.items() if by_id else enumerate(found))
  if not items:
    raise ValueError(f'{name}: there are no predictions')
  clean = lambda key, value: _label(name, task, key, value)
  items = [(key, clean(key, value)) for key, value in items]
  dump = lambda value: json.dumps(value, ensure_ascii=False)
  if task.form in ('answers', 'blanks'):
    return json.dumps(dict(items), ensure_ascii=False, indent=2) + '\n'
  return ''.join(dump({'id': k, task.key: v}) + '\n' for k, v in items)


def _label(name: str, task: Task, key, value) -> Any:
  """A label as the leaderboard reads it."""
  if task.form == 'spans':
    wrong = set(value) - set(task.names)
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


def _tasks(version: str, tasks: Sequence[str] | None) -> dict[str, Task]:
  if version not in TASKS:
    raise ValueError(f'version {version!r} is not one of {", ".join(TASKS)}')
  known = TASKS[version]
  for task in tasks or ():
    if task not in known:
      raise ValueError(f'{version} has no task {task!r}: {", ".join(known)}')
  return {name: known[name] for name in (known if tasks is None else tasks)}


def _held(path: Path) -> dict[str, str]:
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


def _need_any(path: Path, held: Mapping[str, str], version: str) -> None:
  names = [task.file for task in TASKS[version].values()]
  if not any(name in held for name in names):
    raise ValueError(
      f'{path}: no file of any task of {version}; they are {", ".join(names)}'
    )


def _no_file(path: Path, name: str, version: str, held) -> str:
  file = TASKS[version][name].file
  text = f'{name}: no file {file} in {path}'
  others = {tasks[name].file for tasks in TASKS.values() if name in tasks}
  others |= {f'{name}_predict.json'}
  if there := sorted((others - {file}) & set(held)):
    text += f'; {there[0]} is another name: call it {file}'
  return text


def _strangers(path: Path, held: Mapping[str, str]) -> list[str]:
  """Remarks on files that the leaderboard does not know or would not find."""
  known = {task.file for tasks in TASKS.values() for task in tasks.values()}
  out = [
    f'{path}: {name} is no file of a submission'
    for name in held
    if name not in known
  ]
  prefix = f'{os.fspath(path)}/'
  deep = [
    full.removeprefix(prefix)
    for name, full in held.items()
    if name in known and full != os.path.join(path, name)
  ]
  if deep:
    out.append(
      f'{path}: {deep[0]} stands in a folder of the zip, not at its top'
    )
  return out
