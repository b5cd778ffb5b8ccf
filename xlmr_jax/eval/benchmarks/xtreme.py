"""XTREME and XTREME-R as a table (Hu et al. 2020, arXiv:2003.11080; Ruder et
al. 2021, arXiv:2104.07412).

Adding a task is adding a row; its languages, metric and files' form stand in
submission.py. `write_predictions` makes the files that the leaderboard takes.
"""

from collections.abc import Mapping
import json
import os
import pathlib

from xlmr_jax.data.readers import (
  bitext,
  choices,
  ranking_pools,
  squad,
  tables,
  tagged,
  tfds,
)
from xlmr_jax.eval.evaluate import Result
from xlmr_jax.eval.submissions import xtreme_forms, xtreme_submission
from xlmr_jax.eval.task import Task
from xlmr_jax.runtime import storage
from xlmr_jax.tasks import answer, choose, classify, retrieve, tag

# What tasks without a head are answered by: the states of a middle layer, the
# 14th of 24, with mean pooling. XTREME's scripts take that layer for Tatoeba
# and, by their defaults, the 20th and <s> for BUCC; retrieval depends on it
# more than on the model, so it is shown with every score.
_VECTORS = {'layer': 7 / 12, 'pooling': 'mean', 'skip_specials': False}

# name: (kind, reader, more of the row)
_ROWS = {
  'xnli': (classify, tables.xnli, {}),
  'pawsx': (classify, tables.pawsx, {}),
  # Universal Dependencies 2.5, all treebanks of a language. Test files have
  # no tags; dev files, where there are any, have them.
  'udpos': (tag, tagged.xtreme, {}),
  # WikiANN (Pan et al. 2017; Rahimi et al. 2019).
  'panx': (tag, tagged.xtreme, {}),
  # Questions: windows of 384 tokens every 128, answers of 30 at most.
  'xquad': (answer, squad.xquad, {'max_length': 384}),
  'mlqa': (answer, squad.mlqa, {'max_length': 384}),
  'tydiqa': (answer, squad.tydiqa, {'max_length': 384}),
  'bucc2018': (
    retrieve,
    bitext.bucc2018,
    {'max_length': 512, 'vectors': _VECTORS, 'deciding': {'match': 'mine'}},
  ),
  'tatoeba': (
    retrieve,
    bitext.tatoeba,
    {'max_length': 512, 'vectors': _VECTORS, 'deciding': {'match': 'nearest'}},
  ),
  'xcopa': (choose, choices.xcopa, {}),
  # XTREME-R fine-tunes a dual encoder for each of these; here the checkpoint's
  # own vectors are compared, whatever they were trained for.
  'lareqa': (
    retrieve,
    ranking_pools.lareqa,
    {'max_length': 256, 'vectors': _VECTORS, 'deciding': {'match': 'rank'}},
  ),
  'mewslix': (
    retrieve,
    ranking_pools.mewslix,
    {'max_length': 64, 'vectors': _VECTORS, 'deciding': {'match': 'rank'}},
  ),
}


def rows(version: str) -> dict[str, Task]:
  """The tasks of 'xtreme' or 'xtreme-r' that can be run, by name."""
  out = {}
  for name, part in xtreme_submission.TASKS[version].items():
    kind, read, more = _ROWS[name]
    out[name] = Task(
      name=name,
      kind=kind,
      heads=kind.HEADS,
      read=tfds.reader(name, read),
      languages=part.languages,
      metric=part.metric,
      labels=part.names or None,
      **more,
    )
  return out


# Where both have a task the languages are XTREME's.
TASKS: Mapping[str, Task] = rows('xtreme') | {
  name: task
  for name, task in rows('xtreme-r').items()
  if name not in xtreme_submission.TASKS['xtreme']
}


def write_predictions(
  folder: str | os.PathLike, result: Result, split: str = 'test'
) -> pathlib.Path:
  """Writes <folder>/<task>/<split>-<language>.<suffix> of every language.

  Of names and places one a line; of tags too, a blank line between sentences;
  of mined pairs both ids and a tab; of answers and rankings JSON by the
  question's id; of choices and CLUENER's spans JSON lines. The task's folder
  appears whole; one of an earlier evaluation goes.

  Returns:
    The task's folder.
  """
  task = result.task
  form = _form(task)
  suffix = 'jsonl' if form == 'spans' else xtreme_forms.FORMS[form].suffix
  target = pathlib.Path(folder) / task.name
  with storage.whole(target, overwrite=True) as made:
    for language, answers in result.predictions.items():
      path = made / f'{split}-{language}.{suffix}'
      text = _text(form, answers, result.ids.get(language))
      path.write_text(text, encoding='utf-8')
  return target


def _form(task: Task) -> str:
  """Of a task's files."""
  if task.metric == 'cluener':
    return 'spans'
  if task.metric == 'pair_f1':
    return 'pairs'
  if task.metric == 'map@20':
    return 'rankings'
  forms = {tag: 'tags', answer: 'answers', choose: 'choices'}
  return forms.get(task.kind, 'lines')


def _text(form: str, answers: list, ids: list[str] | None) -> str:
  """A file of predictions."""
  match form:
    case 'tags':
      parts = (''.join(f'{name}\n' for name in tags) for tags in answers)
      return '\n'.join(parts)
    case 'pairs':
      return ''.join(f'{source}\t{target}\n' for source, target in answers)
    case 'answers' | 'rankings':
      found = dict(zip(ids, answers, strict=True))
      return json.dumps(found, ensure_ascii=False, indent=0) + '\n'
    case 'spans':
      dump = lambda x: json.dumps({'label': x}, ensure_ascii=False)
      return ''.join(f'{dump(x)}\n' for x in answers)
    case 'choices':
      return ''.join(json.dumps({'label': int(x)}) + '\n' for x in answers)
  return ''.join(f'{answer}\n' for answer in answers)
