"""XTREME's form of a submission: a folder a task, a file a language.

A submission and its labels are two folders of the same form:

  {udpos,panx,xnli,pawsx,bucc2018,tatoeba}/test-<language>.tsv
  {xquad,mlqa,tydiqa}/test-<language>.json

of XTREME (Hu et al. 2020); XTREME-R (Ruder et al. 2021) has other languages,
no pawsx and bucc2018, and besides xcopa/test-<language>.jsonl and
{mewslix,lareqa}/test-<language>.json. The files hold

  xnli, pawsx, tatoeba  a name, or the number of a sentence, per line
  udpos, panx           a tag per line, a blank line between sentences
  bucc2018              a pair per line: source id, a tab, English id
  xquad, mlqa, tydiqa   {question id: answer}; labels as SQuAD has them
  xcopa                 {"label": 0} per line
  mewslix, lareqa       {id: [the best candidate, the next, ...]}; labels
                        {id: [the right candidates]}

Scores are those of XTREME's evaluate.py: all languages count alike. Where it
would stop at a missing file the rest is scored here, and the missing files are
listed. It has no reader for lareqa: that form is ours.

xtreme_forms.py reads and writes the files; clue_submission.py is the other form
of a submission.
"""

from collections.abc import Mapping, Sequence
import dataclasses
import os
import pathlib
import re
from typing import Any

from xlmr_jax.eval.metrics import scores
from xlmr_jax.eval.submissions import xtreme_forms
from xlmr_jax.runtime import storage

Path = str | os.PathLike


@dataclasses.dataclass(frozen=True)
class TaskFiles:
  """The files of one task.

  Attributes:
    metric: one of scores.METRICS.
    form: of its files, one of xtreme_forms.FORMS.
    languages: in the benchmark's order; each has a file.
    names: what its lines may hold; empty for numbers.
  """

  metric: str
  form: str
  languages: tuple[str, ...]
  names: tuple[str, ...] = ()

  def path(
    self, folder: Path, task: str, language: str, split: str = 'test'
  ) -> pathlib.Path:
    """The file of a language in a submission, or in its labels."""
    suffix = xtreme_forms.FORMS[self.form].suffix
    return pathlib.Path(folder) / task / f'{split}-{language}.{suffix}'


@dataclasses.dataclass(frozen=True)
class Submission:
  """Submissions to one benchmark: written, checked and scored, by no model.

  Attributes:
    benchmark: its name.
    tasks: name → files.
    required: tasks whose absence is reported.
    related: (name, files) of benchmarks whose tasks may lie in the same
      folders: they are scored too, and are part of no average.
  """

  benchmark: str
  tasks: Mapping[str, TaskFiles]
  required: tuple[str, ...]
  related: Sequence[tuple[str, TaskFiles]] = ()

  def score(
    self,
    predictions: Path,
    labels: Path,
    *,
    tasks: Sequence[str] | None = None,
  ) -> dict[str, Any]:
    """Scores a submission, any system's, as XTREME's evaluate.py does.

    Args:
      predictions: folder in XTREME's layout.
      labels: the same, of what is right.
      tasks: some of the benchmark's; by default all of them.

    Returns:
      'tasks', 'missing', 'problems' and 'notes' as Benchmark.score has them.

    Raises:
      ValueError: no such task or folder, or nothing in it at all.
    """
    chosen = self._chosen(tasks)
    for name, folder in (('predictions', predictions), ('labels', labels)):
      _check_folder(name, folder, chosen)
    missing: list[str] = []
    problems: list[str] = []
    notes: list[str] = []
    scored = {}
    for task, part in chosen.items():
      scored[task] = _score_task(
        predictions, labels, task, part, missing, problems, notes
      )
    if tasks is None:
      for task, part in self.related:
        folders = (os.path.join(f, task) for f in (predictions, labels))
        if task not in self.tasks and all(map(os.path.isdir, folders)):
          scored[task] = _score_task(
            predictions, labels, task, part, notes, notes, notes
          )
    return {
      'tasks': {task: row for task, row in scored.items() if row},
      'missing': missing,
      'problems': problems,
      'notes': notes,
    }

  def check(
    self,
    folder: Path,
    *,
    labels: Path | None = None,
    expected: Mapping[str, Mapping[str, Any]] | None = None,
    tasks: Sequence[str] | None = None,
  ) -> list[str]:
    """Checks a submission before it is sent.

    Every task and language must be there, in files that can be read and hold
    what they should: without `labels` and `expected` names, numbers and pairs
    are checked, with either also whether every line and every id is there.

    Args:
      folder: predictions in XTREME's layout.
      labels: folder of labels, where one has them.
      expected: task → language → what the test files, which have no labels,
        ask for: how many lines (of tatoeba also how many sentences to choose
        from), of tags how many words in each sentence, of answers and
        rankings the ids.
      tasks: some of the benchmark's; by default all of them.

    Returns:
      A sentence for each problem; empty for a submission that is complete.

    Raises:
      ValueError: no such task or folder.
    """
    chosen = self._chosen(tasks)
    _check_folder('predictions', folder, chosen)
    out: list[str] = []
    for task, part in chosen.items():
      form = xtreme_forms.FORMS[part.form]
      files = _present('predictions', folder, task, part, out)
      for language, path in files.items():
        want = (expected or {}).get(task, {}).get(language)
        limit = want if part.form == 'lines' and not part.names else None
        try:
          if want is None and labels is not None:
            gold = part.path(labels, task, language)
            if gold.is_file():
              want = form.expected(form.gold(gold))
          predictions = form.read(path)
          form.match(path, predictions, want)
          out += form.remarks(path, predictions, want, part.names, language)
          if limit is not None:
            out += xtreme_forms.beyond(path, predictions, limit)
        except ValueError as error:
          out.append(f'{task} {language}: {error}')
    return out

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
    """Writes <folder>/<task>/<split>-<language>.<suffix> of every language.

    The task's folder appears whole and replaces an earlier one.

    Args:
      folder: of the submission.
      task: its name.
      predictions: language → predictions.
      ids: language → the id of each prediction, where examples have ids.
      split: of the files.
      keep: whether files of other languages stay.

    Returns:
      The task's folder.
    """
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / task
    part = self.tasks[task]
    texts = {
      part.path(folder, task, language, split).name: xtreme_forms.FORMS[
        part.form
      ].text(answers, ids.get(language))
      for language, answers in predictions.items()
    }
    if keep and target.exists():
      for name, text in texts.items():
        storage.write_text(target / name, text)
      return target
    with storage.whole(target, overwrite=True) as new:
      for name, text in texts.items():
        (new / name).write_text(text, encoding='utf-8')
    return target

  def finish(
    self, folder: pathlib.Path, labels: Path, tasks: Sequence[str]
  ) -> tuple[pathlib.Path, list[str]]:
    """(what to submit: the folder, what is wrong with it)."""
    del labels
    return folder, self.check(folder, tasks=tasks)

  def _chosen(self, tasks: Sequence[str] | None) -> dict[str, TaskFiles]:
    for task in tasks or ():
      if task not in self.tasks:
        raise ValueError(
          f'{self.benchmark} has no task {task!r}: {", ".join(self.tasks)}'
        )
    return {task: self.tasks[task] for task in tasks or self.tasks}


def _check_folder(
  name: str, folder: Path, parts: Mapping[str, TaskFiles]
) -> None:
  if not os.path.isdir(folder):
    raise ValueError(f'{name}: {folder} is not a folder')
  if not any(os.path.isdir(os.path.join(folder, task)) for task in parts):
    task, part = next(iter(parts.items()))
    raise ValueError(
      f'{name}: {folder} has no folder of any task ({", ".join(parts)}); '
      f'files are expected as {part.path(folder, task, part.languages[0])}'
    )


def _present(
  kind: str, folder: Path, task: str, part: TaskFiles, missing: list[str]
) -> dict[str, pathlib.Path]:
  """Language → file of those there; the others are added to `missing`."""
  if not os.path.isdir(os.path.join(folder, task)):
    pattern = part.path(folder, task, '<language>')
    count = len(part.languages)
    missing.append(f'{task}: no {kind}; {count} files {pattern}')
    return {}
  out = {}
  for language in part.languages:
    path = part.path(folder, task, language)
    if path.is_file():
      out[language] = path
    else:
      missing.append(f'{task} {language}: no {kind} {path}')
  return out


def _score_task(
  predictions: Path,
  labels: Path,
  task: str,
  part: TaskFiles,
  missing: list[str],
  problems: list[str],
  notes: list[str],
) -> dict[str, Any] | None:
  """A task's part of results.json; what is wrong is added to the lists."""
  gold = _present('labels', labels, task, part, missing)
  score_of = {}
  for language, path in _present(
    'predictions', predictions, task, part, missing
  ).items():
    if language in gold:
      try:
        score_of[language], remarks = _score(
          part, path, gold[language], language
        )
        notes += remarks
      except ValueError as error:
        problems.append(f'{task} {language}: {error}')
  return _row(part, score_of) if score_of else None


def _score(
  part: TaskFiles, path: pathlib.Path, gold_path: pathlib.Path, language: str
) -> tuple[dict[str, float], list[str]]:
  """A language's score and its parts; what looks wrong."""
  form = xtreme_forms.FORMS[part.form]
  gold = form.gold(gold_path)
  _need_labels(gold_path, part, gold)
  predictions = form.read(path)
  want = form.expected(gold)
  form.match(path, predictions, want)
  try:
    score = scores.score(part.metric, *form.align(predictions, gold), language)
  except ValueError as error:
    raise ValueError(f'{path}: {error}') from error
  return score, form.remarks(path, predictions, want, part.names, language)


def _need_labels(path: pathlib.Path, part: TaskFiles, gold: Sequence) -> None:
  """Refuses a test file as it was published, without what is right."""
  if part.form == 'answers':
    bare = not any(text.strip() for _, texts in gold for text in texts)
  elif part.form == 'lines':
    strange = [
      line
      for line in gold
      if (line not in part.names if part.names else not line.isdecimal())
    ]
    bare = 2 * len(strange) > len(gold)
    if len(gold) >= 100 and len(set(gold)) == 1 and not bare:
      raise ValueError(
        f'{path}: every label is {gold[0]!r}, which looks like a placeholder'
      )
  elif part.form == 'tags':
    tags = [tag for sentence in gold for tag in sentence]
    known = lambda tag: tag in part.names or re.match('[BIES]-.', tag)
    bare = 2 * sum(not known(tag) for tag in tags) > len(tags)
  else:
    return
  if bare:
    raise ValueError(
      f'{path}: no labels in this file, which looks like a published test '
      'file; give a folder of labels'
    )


def _row(
  part: TaskFiles, score_of: Mapping[str, dict[str, float]]
) -> dict[str, Any]:
  """A task's part of results.json."""
  complete = len(score_of) == len(part.languages)

  def column(name):
    values = {language: parts[name] for language, parts in score_of.items()}
    average = scores.mean(list(values.values())) if complete else None
    return {'languages': values, 'average': average}

  names = next(iter(score_of.values()))
  return {
    'metric': part.metric,
    **column(part.metric),
    'parts': {name: column(name) for name in names if name != part.metric},
  }
