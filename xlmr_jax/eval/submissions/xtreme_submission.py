"""Folders of predictions in XTREME's layout: scored and checked, by no model.

A submission and its labels are two folders of the same form, a file for each
task and language:

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
                        {id: [what is right]}

Scores are those of XTREME's evaluate.py: languages count alike, and so do
tasks. Where it would stop at a missing file the rest is scored here, and what
is missing is listed. It has no reader for lareqa: that form is ours.

`layout` reads the files. CLUE's submissions are of another form, see
`clue_submission`; `score_folder` and `check` take them by their version's name.
"""

from collections.abc import Mapping, Sequence
import dataclasses
import os
import pathlib
import re
from typing import Any

from xlmr_jax.eval.metrics import scores as metrics
from xlmr_jax.eval.submissions import clue_submission, xtreme_forms

Path = str | os.PathLike


@dataclasses.dataclass(frozen=True)
class Part:
  """A task of a benchmark, as files.

  Attributes:
    metric: one of metrics.METRICS.
    form: of its files, one of layout.FORMS.
    languages: in the benchmark's order; each has a file.
    names: what its lines may hold; empty for numbers.
  """

  metric: str
  form: str
  languages: tuple[str, ...]
  names: tuple[str, ...] = ()

  def path(self, folder: Path, task: str, language: str) -> pathlib.Path:
    """Of a language's file in a submission, or in its labels."""
    suffix = xtreme_forms.FORMS[self.form].suffix
    return pathlib.Path(folder) / task / f'test-{language}.{suffix}'


def _part(metric: str, form: str, languages: str, names: str = '') -> Part:
  return Part(metric, form, tuple(languages.split()), tuple(names.split()))


def _and(part: Part, languages: str) -> Part:
  more = (*part.languages, *languages.split())
  return dataclasses.replace(part, languages=more)


_XTREME = {
  'xnli': _part(
    'accuracy',
    'lines',
    'ar bg de el en es fr hi ru sw th tr ur vi zh',
    'contradiction entailment neutral',
  ),
  'pawsx': _part('accuracy', 'lines', 'de en es fr ja ko zh', '0 1'),
  'udpos': _part(
    'span_f1',
    'tags',
    'af ar bg de el en es et eu fa fi fr he hi hu id it ja kk ko mr nl pt ru '
    'ta te th tl tr ur vi yo zh',
    'ADJ ADP ADV AUX CCONJ DET INTJ NOUN NUM PART PRON PROPN PUNCT SCONJ SYM '
    'VERB X',
  ),
  'panx': _part(
    'span_f1',
    'tags',
    'ar he vi id jv ms tl eu ml ta te af nl en de el bn hi mr ur fa fr it pt '
    'es bg ru ja ka ko th sw yo my zh kk tr et fi hu',
    'B-LOC B-ORG B-PER I-LOC I-ORG I-PER O',
  ),
  'xquad': _part('squad', 'answers', 'en es de el ru tr ar vi th zh hi'),
  'mlqa': _part('mlqa', 'answers', 'en es de ar hi vi zh'),
  'tydiqa': _part('squad', 'answers', 'en ar bn fi id ko ru sw te'),
  'bucc2018': _part('pair_f1', 'pairs', 'de fr ru zh'),
  'tatoeba': _part(
    'accuracy',
    'lines',
    'ar he vi id jv tl eu ml ta te af nl de el bn hi mr ur fa fr it pt es bg '
    'ru ja ka ko th sw zh kk tr et fi hu',
  ),
}
# Version → task → its files.
TASKS: Mapping[str, Mapping[str, Part]] = {
  'xtreme': _XTREME,
  'xtreme-r': {
    'xnli': _XTREME['xnli'],
    'xcopa': _part('accuracy', 'choices', 'et ht id it qu sw ta th tr vi zh'),
    'udpos': _and(_XTREME['udpos'], 'lt pl uk wo ro'),
    'panx': _and(_XTREME['panx'], 'qu pl uk az lt pa gu ro'),
    'xquad': _and(_XTREME['xquad'], 'ro'),
    'mlqa': _XTREME['mlqa'],
    'tydiqa': _XTREME['tydiqa'],
    'tatoeba': _and(_XTREME['tatoeba'], 'az lt pl uk ro'),
    'mewslix': _part('map@20', 'rankings', 'ar de en es fa ja pl ro ta tr uk'),
    'lareqa': _part('map@20', 'rankings', 'ar de el en es hi ru th tr vi zh'),
  },
}
# Version → group → tasks, as evaluate.py has them (xcopa in two groups); it
# knows no scores of lareqa.
GROUPS: Mapping[str, Mapping[str, tuple[str, ...]]] = {
  'xtreme': {
    'classification': ('pawsx', 'xnli'),
    'tagging': ('udpos', 'panx'),
    'qa': ('xquad', 'mlqa', 'tydiqa'),
    'retrieval': ('bucc2018', 'tatoeba'),
  },
  'xtreme-r': {
    'classification': ('xnli', 'xcopa'),
    'tagging': ('udpos', 'panx'),
    'qa': ('xquad', 'mlqa', 'tydiqa'),
    'retrieval': ('tatoeba', 'mewslix'),
    'multi_choice': ('xcopa',),
  },
}

# All versions that can be scored.
VERSIONS = (*TASKS, *clue_submission.TASKS)


def score_folder(
  predictions: Path,
  labels: Path,
  version: str = 'xtreme',
  *,
  tasks: Sequence[str] | None = None,
) -> dict[str, Any]:
  """Scores a submission, any system's, as XTREME's evaluate.py does.

  Args:
    predictions: folder in XTREME's layout.
    labels: the same, of what is right.
    version: 'xtreme' or 'xtreme-r'; or one of clue_submission.TASKS.
    tasks: some of the version's; by default all of them.

  Returns:
    What results.json holds, per cent:

      {'benchmark': version,
       'tasks': {task: {'metric': name,
                        'languages': {language: score},
                        'average': score,
                        'parts': {part: {'languages': ..., 'average': ...}}}},
       'groups': {group: score},
       'overall': score,
       'missing': [what is not there, and where it is expected],
       'problems': [what could not be scored, and why],
       'notes': [what was scored as it is, but looks wrong]}

    An average of a task, of a group and the overall is None (null) where
    something of it is missing or could not be scored; a task of which nothing
    could be is not there. Tasks of the other version that are in both folders
    are scored too, and are part of no average.

  Raises:
    ValueError: no such version, task or folder, or nothing in it at all.
  """
  if version in clue_submission.TASKS:
    return clue_submission.score(predictions, labels, version, tasks=tasks)
  parts = _parts(version, tasks)
  for name, folder in (('predictions', predictions), ('labels', labels)):
    _need_folder(name, folder, parts)
  missing, problems, notes = [], [], []
  found = {}
  for task, part in parts.items():
    found[task] = _score_task(
      predictions, labels, task, part, missing, problems, notes
    )
  if tasks is None:
    for task, part in _others(version, predictions, labels).items():
      found[task] = _score_task(
        predictions, labels, task, part, notes, notes, notes
      )
  found = {task: row for task, row in found.items() if row}
  return {
    'benchmark': version,
    'tasks': found,
    **metrics.over_tasks(found, GROUPS[version], tuple(TASKS[version])),
    'missing': missing,
    'problems': problems,
    'notes': notes,
  }


def check(
  folder: Path,
  version: str = 'xtreme',
  *,
  labels: Path | None = None,
  expected: Mapping[str, Mapping[str, Any]] | None = None,
  tasks: Sequence[str] | None = None,
) -> list[str]:
  """What is wrong with a submission, before it is sent.

  Every task and language must be there, in files that can be read and hold
  what they should: without `labels` and `expected` names, numbers and pairs
  are looked at, with either also whether every line and every id is there.

  Args:
    folder: predictions in XTREME's layout.
    version: 'xtreme' or 'xtreme-r'; or one of clue_submission.TASKS.
    labels: folder of labels, where one has them.
    expected: task → language → what the test files, which have no labels, ask
      for: how many lines (of tatoeba also how many sentences to choose from),
      of tags how many words in each sentence, of answers and rankings the
      ids.
    tasks: some of the version's; by default all of them.

  Returns:
    A sentence for each problem; empty for a submission that is complete.

  Raises:
    ValueError: no such version or task, or no such folder.
  """
  if version in clue_submission.TASKS:
    options = {'labels': labels, 'expected': expected, 'tasks': tasks}
    return clue_submission.check(folder, version, **options)
  parts = _parts(version, tasks)
  _need_folder('predictions', folder, parts)
  out: list[str] = []
  for task, part in parts.items():
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
        found = form.read(path)
        form.match(path, found, want)
        out += form.remarks(path, found, want, part.names, language)
        if limit is not None:
          out += xtreme_forms.beyond(path, found, limit)
      except ValueError as error:
        out.append(f'{task} {language}: {error}')
  return out


def _parts(version: str, tasks: Sequence[str] | None) -> dict[str, Part]:
  if version not in TASKS:
    raise ValueError(f'version {version!r} is not one of {", ".join(VERSIONS)}')
  known = TASKS[version]
  for task in tasks or ():
    if task not in known:
      raise ValueError(f'{version} has no task {task!r}: {", ".join(known)}')
  return {task: known[task] for task in (known if tasks is None else tasks)}


def _need_folder(name: str, folder: Path, parts: Mapping[str, Part]) -> None:
  if not os.path.isdir(folder):
    raise ValueError(f'{name}: {folder} is not a folder')
  if not any(os.path.isdir(os.path.join(folder, task)) for task in parts):
    task, part = next(iter(parts.items()))
    raise ValueError(
      f'{name}: {folder} has no folder of any task ({", ".join(parts)}); '
      f'files are expected as {part.path(folder, task, part.languages[0])}'
    )


def _others(version: str, predictions: Path, labels: Path) -> dict[str, Part]:
  """Tasks that other versions have and both folders hold."""
  return {
    task: part
    for parts in TASKS.values()
    for task, part in parts.items()
    if task not in TASKS[version]
    and all(os.path.isdir(os.path.join(f, task)) for f in (predictions, labels))
  }


def _present(
  what: str, folder: Path, task: str, part: Part, missing: list[str]
) -> dict[str, pathlib.Path]:
  """Language → file of those there; the others are added to `missing`."""
  if not os.path.isdir(os.path.join(folder, task)):
    pattern = part.path(folder, task, '<language>')
    count = len(part.languages)
    missing.append(f'{task}: no {what}; {count} files {pattern}')
    return {}
  out = {}
  for language in part.languages:
    path = part.path(folder, task, language)
    if path.is_file():
      out[language] = path
    else:
      missing.append(f'{task} {language}: no {what} {path}')
  return out


def _score_task(
  predictions: Path,
  labels: Path,
  task: str,
  part: Part,
  missing: list[str],
  problems: list[str],
  notes: list[str],
) -> dict[str, Any] | None:
  """A task's part of results.json; what is wrong is added to the lists."""
  gold = _present('labels', labels, task, part, missing)
  scores = {}
  for language, path in _present(
    'predictions', predictions, task, part, missing
  ).items():
    if language in gold:
      try:
        scores[language], remarks = _score(part, path, gold[language], language)
        notes += remarks
      except ValueError as error:
        problems.append(f'{task} {language}: {error}')
  return _row(part, scores) if scores else None


def _score(
  part: Part, path: pathlib.Path, gold_path: pathlib.Path, language: str
) -> tuple[dict[str, float], list[str]]:
  """A language's score and its parts; what looks wrong."""
  form = xtreme_forms.FORMS[part.form]
  gold = form.gold(gold_path)
  _need_labels(gold_path, part, gold)
  found = form.read(path)
  want = form.expected(gold)
  form.match(path, found, want)
  try:
    score = metrics.score(part.metric, *form.align(found, gold), language)
  except ValueError as error:
    raise ValueError(f'{path}: {error}') from error
  return score, form.remarks(path, found, want, part.names, language)


def _need_labels(path: pathlib.Path, part: Part, gold: Sequence) -> None:
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


def _row(part: Part, scores: Mapping[str, dict[str, float]]) -> dict[str, Any]:
  """A task's part of results.json."""
  complete = len(scores) == len(part.languages)

  def one(name):
    values = {language: found[name] for language, found in scores.items()}
    average = metrics.mean(list(values.values())) if complete else None
    return {'languages': values, 'average': average}

  names = next(iter(scores.values()))
  return {
    'metric': part.metric,
    **one(part.metric),
    'parts': {name: one(name) for name in names if name != part.metric},
  }
