"""The content of CLUE's submission files and of their labels.

  most tasks        a line per row: {"id": 0, "label": "1"}; C3's labels are
                    numbers of choices, FewCLUE's CHID says "answer" for label
  cluener           {"id": 0, "label": {"name": {"彭小军": [[0, 2]]}}}
  cmrc2018, drcd    {query id: answer}
  chid              {"#idiom000378#": number of the idiom}

The leaderboard reads labels line by line and no ids, so a row that is missing
or out of order shifts all others against the labels: that is an error here. A
remark says what it would score although it looks wrong.
"""

from collections.abc import Sequence
import dataclasses
import json
import os
from typing import Any

from xlmr_jax.data import files
from xlmr_jax.data.readers import zips


@dataclasses.dataclass(frozen=True)
class TaskFile:
  """The file of one task in a submission, and the files of its labels.

  Attributes:
    metric: one of scores.METRICS.
    name: of the file in a submission.
    form: 'lines', 'choices', 'spans', 'answers' or 'blanks'.
    folders: that its labels may stand in.
    labels: names of their file, the best first, with {split}; or of several
      files one after the other.
    names: what a label may be; empty for anything.
    key: of a line's label.
    own_ids: whether rows are called by the ids of the test file where these
      differ, and not by their numbers.
  """

  metric: str
  name: str
  form: str
  folders: tuple[str, ...]
  labels: tuple[tuple[str, ...], ...]
  names: tuple[str, ...] = ()
  key: str = 'label'
  own_ids: bool = False

  @property
  def by_id(self) -> bool:
    """Whether the file is an object {id: answer}."""
    return self.form in ('answers', 'blanks')

  def paths(self, folder: str | os.PathLike, split: str) -> list[str]:
    """The files of the labels of a split.

    Raises:
      files.Missing: they are not there.
    """
    attempts = []
    for way in self.labels:
      names = [name.format(split=split) for name in way]
      paths = [zips.first(folder, self.folders, [name]) for name in names]
      present = [path for path in paths if path]
      if len(present) == len(paths):
        return present
      attempts.append((len(present), names))
    title = f'labels of {self.folders[-1]}, {split}'
    some, names = max(attempts, key=lambda attempt: attempt[0])
    if some:
      raise files.Missing(
        f'{folder}: not all {title}, which are {" and ".join(names)}'
      )
    # Says where it looked.
    every = dict.fromkeys(name for _, names in attempts for name in names)
    return [zips.locate(folder, self.folders, list(every), title)]


@dataclasses.dataclass(frozen=True, slots=True)
class Line:
  """A row of predictions or of labels.

  `label` is None where there is none; `text` what a cluener row is about.
  """

  id: str
  label: Any
  where: str
  text: str | None = None


# Reading.


def read(path: str, task: TaskFile) -> list[Line]:
  """A file of predictions, a Line each, in the file's order.

  Raises:
    ValueError: with file and line: not as the module says.
  """
  reader = _pairs if task.by_id else _rows
  return zips.read(lambda plain: reader(plain, task), path)


def gold(
  paths: Sequence[str], task: TaskFile, *, labelled: bool = True
) -> list[Line]:
  """The official labels, in the order that predictions must have.

  Args:
    paths: the files of a split.
    task: whose they are.
    labelled: whether a file without any label is an error.

  Raises:
    ValueError: not the official form, or no label at all.
  """
  reader = {
    'answers': _questions,
    'blanks': lambda path: _pairs(path, task),
    'choices': _choices,
  }.get(task.form, lambda path: _labelled(path, task))
  out: list[Line] = []
  for path in paths:
    out += zips.read(reader, path)
  if task.form == 'choices' and any(not line.id for line in out):
    # Numbered through both files.
    out = [dataclasses.replace(e, id=str(i)) for i, e in enumerate(out)]
  if labelled and not any(line.label is not None for line in out):
    raise ValueError(
      f'{paths[0]}: no labels in this file, which looks like a published test '
      'file; give a folder of labels'
    )
  return out


def _rows(path: str, task: TaskFile) -> list[Line]:
  out = []
  for where, item in files.objects(path):
    if 'id' not in item or task.key not in item:
      raise ValueError(
        f'{where}: the line has the keys {", ".join(item)}; it should be '
        f'{{"id": 0, "{task.key}": ...}}'
      )
    label = item[task.key]
    if task.form == 'spans':
      _check_spans(label, where)
    elif isinstance(label, bool) or not isinstance(label, (str, int)):
      raise ValueError(f'{where}: the label is {label!r}, not a text')
    out.append(Line(str(item['id']), label, where))
  return out


def _check_spans(label: Any, where: str) -> None:
  try:
    for surfaces in label.values():
      for surface, places in surfaces.items():
        for first, last in places:
          if last - first + 1 != len(surface):
            raise ValueError(
              f'{where}: {surface!r} has {len(surface)} characters, not those '
              f'from {first} to {last}: the last one counts too'
            )
  except (AttributeError, TypeError) as error:
    raise ValueError(
      f'{where}: the label is no object '
      '{type: {surface: [[first, last], ...]}}'
    ) from error


def _pairs(path: str, task: TaskFile) -> list[Line]:
  """Of one JSON object; json.loads would keep the last of equal keys."""
  value_name = 'answer' if task.form == 'answers' else 'number of the idiom'
  files.document(path)  # says what is wrong with the file
  with files.open_bytes(path) as file:
    text = file.read().decode('utf-8-sig')
  pairs = json.loads(text, object_pairs_hook=lambda pairs: ('', pairs))
  if not isinstance(pairs, tuple):
    raise ValueError(f'{path}: not an object of id → {value_name}')
  out = []
  for name, value in pairs[1]:
    kind = str if task.form == 'answers' else (int, str)
    if isinstance(value, bool) or not isinstance(value, kind):
      raise ValueError(f'{path}: {name!r} has {value!r}, no {value_name}')
    out.append(Line(name, value, f'{path}, {name!r}'))
  return out


def _labelled(path: str, task: TaskFile) -> list[Line]:
  out = []
  for number, (where, item) in enumerate(files.objects(path)):
    label = item.get(task.key)
    if task.form == 'spans' and label is not None:
      _check_spans(label, where)
    # OCNLI's annotators did not agree on some.
    label = None if label == '-' else label
    name = item.get('id', item.get('idx', number))
    out.append(Line(str(name), label, where, item.get('text')))
  return out


def _articles(*, data: list, **_) -> list:
  """The articles of the outermost object, which also has `version`."""
  return data


def _questions(path: str) -> list[Line]:
  """CMRC 2018's own form, and SQuAD's."""
  content = files.document(path)
  out: list[Line] = []
  try:
    for article in (
      _articles(**content) if isinstance(content, dict) else content
    ):
      for paragraph in article.get('paragraphs', [article]):
        for question in paragraph['qas']:
          name = question['id'] if 'id' in question else question['query_id']
          # A spreadsheet has turned some of CMRC's answers into numbers.
          texts = tuple(
            str(a['text'] if isinstance(a, dict) else a)
            for a in question.get('answers') or ()
          )
          label = texts if any(texts) else None
          out.append(Line(name, label, f'{path}, {name!r}'))
  except (AttributeError, KeyError, TypeError) as error:
    raise ValueError(
      f"{path}: neither CMRC's form (context_text, qas) nor SQuAD's (data, "
      f'paragraphs, qas): question {len(out)} is not found in it'
    ) from error
  return out


def _choices(path: str) -> list[Line]:
  """C3's passages; their questions have ids in CLUE's test files only."""
  out: list[Line] = []
  try:
    for _, questions, *_ in files.document(path):
      for question in questions:
        where = f'{path}, question {len(out)}'
        answer, label = question.get('answer'), None
        if answer:
          if answer not in question['choice']:
            raise ValueError(f'{where}: {answer!r} is none of its choices')
          label = question['choice'].index(answer)
        out.append(Line(str(question.get('id', '')), label, where))
  except (AttributeError, KeyError, TypeError) as error:
    raise ValueError(
      f'{path}: not [[lines], [questions], id], as C3 has it: question '
      f'{len(out)} is not found in it'
    ) from error
  return out


# Predictions beside labels.


def _once(lines: Sequence[Line]) -> None:
  seen: dict[str, str] = {}
  for line in lines:
    if line.id in seen:
      raise ValueError(
        f'{line.where}: id {line.id} stands at {seen[line.id]} already; each '
        'row is there once'
      )
    seen[line.id] = line.where


def match(
  path: str, predictions: Sequence[Line], ids: Sequence[str] | None, form: str
) -> None:
  """Checks that predictions are complete and in order.

  Rows are called by their number or by the id that their file has; not all
  of FewCLUE's ids are different.

  Raises:
    ValueError: an id twice, a row too few or too many, another order; a blank
      without an answer, at which CLUE's script stops.
  """
  if form in ('answers', 'blanks') or ids is None:
    _once(predictions)
    if form == 'blanks' and ids and (left := _beyond(ids, predictions)):
      raise ValueError(
        f'{path}: {len(left)} of {len(ids)} blanks have no answer, {left[0]} '
        'for one'
      )
    return
  ours = [line.id for line in predictions]
  numbers = list(map(str, range(len(ids))))
  if ours in (numbers, list(ids)):
    return
  _once(predictions)
  if len(ours) != len(ids):
    wanted = numbers if ours[:1] == ['0'] else ids
    left = [name for name in wanted if name not in set(ours)]
    more = f'; id {left[0]} is missing' if left else ''
    raise ValueError(
      f'{path}: {len(ours)} lines, not {len(ids)}, one for each row{more}'
    )
  wanted = numbers if set(ours) <= set(numbers) else list(ids)
  at = next(i for i, name in enumerate(ours) if name != wanted[i])
  raise ValueError(
    f'{predictions[at].where}: id {ours[at]} where row {wanted[at]} belongs; '
    'write the rows in the order of the file that was predicted'
  )


def _beyond(ids: Sequence[str], lines: Sequence[Line]) -> list[str]:
  known = {line.id for line in lines}
  return [name for name in ids if name not in known]


def remarks(
  path: str,
  predictions: Sequence[Line],
  rows: Sequence[Line] | None,
  task: TaskFile,
) -> list[str]:
  """Remarks on what can be scored, but looks wrong; `rows` are the labels."""
  out = []
  if task.by_id:
    if rows is not None:
      if left := _beyond([row.id for row in rows], predictions):
        out.append(
          f'{path}: {len(left)} of {len(rows)} questions have no answer and '
          f'score 0, {left[0]!r} for one'
        )
      if more := _beyond([line.id for line in predictions], rows):
        out.append(
          f'{path}: {len(more)} ids are not asked for, {more[0]!r} for one'
        )
  if task.form == 'spans':
    return out + _remarks_on_spans(path, predictions, rows, task)
  if task.names:
    wrong = [e for e in predictions if str(e.label).strip() not in task.names]
    listed = ', '.join(task.names[:20]) + (', …' * (len(task.names) > 20))
    out += _listed(path, predictions, wrong, f'are none of {listed}')
  if task.form == 'lines' and task.key == 'label':
    wrong = [e for e in predictions if not isinstance(e.label, str)]
    out += _listed(
      path,
      predictions,
      wrong,
      'are numbers; the leaderboard compares texts, "0"',
    )
  return out


def _remarks_on_spans(path, predictions, rows, task) -> list[str]:
  wrong = [e for e in predictions if set(e.label) - set(task.names)]
  out = _listed(
    path,
    predictions,
    wrong,
    f'name types that are none of {", ".join(task.names)}',
  )
  if rows is None or len(rows) != len(predictions):
    return out
  wrong = [
    line
    for line, row in zip(predictions, rows, strict=True)
    if row.text is not None
    for surfaces in line.label.values()
    for surface, places in surfaces.items()
    if any(row.text[a : b + 1] != surface for a, b in places)
  ]
  wrong = list({id(line): line for line in wrong}.values())
  return out + _listed(
    path, predictions, wrong, 'name what does not stand there in the text'
  )


def _listed(path, predictions, wrong, fault) -> list[str]:
  if not wrong:
    return []
  return [
    f'{path}: {len(wrong)} of {len(predictions)} labels {fault}; the first is '
    f'{wrong[0].where}, {wrong[0].label!r}'
  ]


def align(
  predictions: Sequence[Line], rows: Sequence[Line], form: str
) -> tuple[list, list]:
  """Predictions and labels as scores.score takes them; unlabelled rows go."""
  if form in ('answers', 'blanks'):
    by_id = {line.id: line.label for line in predictions}
    pairs = [(by_id.get(row.id), row.label) for row in rows]
  else:
    pairs = [(a.label, b.label) for a, b in zip(predictions, rows, strict=True)]
  pairs = [pair for pair in pairs if pair[1] is not None]
  ours, theirs = map(list, zip(*pairs, strict=True))
  return ours, theirs
