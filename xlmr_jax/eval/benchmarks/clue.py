"""CLUE and FewCLUE as tables (Xu et al. 2020, arXiv:2004.05986; Xu et al. 2021,
arXiv:2107.07498).

Adding a task is adding a row; what its files in a submission are called and
hold stands in clue_layout.py. `write_predictions` makes them.
"""

from collections.abc import Mapping
import functools
import os
import pathlib

from xlmr_jax.data.readers import clue, clue_passages, cluener, fewclue
from xlmr_jax.eval.evaluate import Result
from xlmr_jax.eval.submissions import clue_submission, clue_table
from xlmr_jax.eval.task import Task
from xlmr_jax.tasks import answer, choose, classify, tag

# Windows of 512 tokens every 128, answers of 50 at most, as the baseline.
_SPANS = {'max_length': 512, 'deciding': {'longest': 50}}
# The baseline gives an idiom to one blank of a passage only.
_IDIOMS = {'max_length': 64, 'deciding': {'assign': 'greedy'}}

# name: (kind, reader, labels, more of the row). Single texts and pairs are cut
# at the baselines' lengths: of IFLYTEK's, which are long, the first 128 tokens
# are read.
_ROWS = {
  'afqmc': (classify, clue.afqmc, clue.LABELS['afqmc'], {}),
  'tnews': (classify, clue.tnews, clue.LABELS['tnews'], {}),
  'iflytek': (classify, clue.iflytek, clue.LABELS['iflytek'], {}),
  'cmnli': (classify, clue.cmnli, clue.LABELS['cmnli'], {}),
  'ocnli': (classify, clue.ocnli, clue.LABELS['ocnli'], {}),
  'cluewsc2020': (classify, clue.cluewsc, clue.LABELS['cluewsc'], {}),
  'csl': (classify, clue.csl, clue.LABELS['csl'], {'max_length': 256}),
  # Answers that are not in their passage are left out: 193 of dev, where each
  # question has another one.
  'cmrc2018': (
    answer,
    functools.partial(clue_passages.cmrc2018, skip_bad=True),
    None,
    _SPANS,
  ),
  'drcd': (answer, clue_passages.drcd, None, _SPANS),
  'chid': (choose, clue_passages.chid, None, _IDIOMS),
  # The question stays whole where the passage is cut.
  'c3': (
    choose,
    clue_passages.c3,
    None,
    {'max_length': 512, 'reading': {'first': 1}},
  ),
  'cluener': (tag, cluener.cluener, cluener.LABELS, {}),
  # Tested with a model of CMNLI.
  'ax': (classify, clue.ax, clue.LABELS['cmnli'], {}),
}


def rows(version: str) -> dict[str, Task]:
  """The tasks of 'clue', 'clue1.0' or 'fewclue', by name."""
  out = {}
  for name, part in clue_table.TASKS[version].items():
    if version == 'fewclue':
      row = _few(name)
    else:
      kind, read, labels, more = _ROWS[name]
      row = {'kind': kind, 'read': read, 'labels': labels, **more}
    out[name] = Task(
      name=name,
      heads=row['kind'].HEADS,
      languages=part.languages,
      metric=part.metric,
      source='zh',
      **row,
    )
  return out


def _few(name: str) -> dict:
  known = {'known': f'fewclue.{name}'}
  if name == 'chid':  # one blank a passage
    more = {'max_length': 128}
    return {'kind': choose, 'read': fewclue.chid, **more, **known}
  long = {'max_length': 256} if name == 'csl' else {}
  return {
    'kind': classify,
    'read': functools.partial(fewclue.read, name),
    'labels': fewclue.LABELS[name],
    **long,
    **known,
  }


TASKS: Mapping[str, Task] = rows('clue')
# By the names that configs/finetune.py knows.
FEW: Mapping[str, Task] = {row.known: row for row in rows('fewclue').values()}


def write_predictions(
  folder: str | os.PathLike, version: str, result: Result
) -> pathlib.Path:
  """Writes a task's file of a submission; others in the folder stay.

  Rows are numbered in CLUE's files, and have the ids of the test file in
  FewCLUE's; questions and blanks have ids in both. Of a dev set of NLI, whose
  reader leaves rows out, those that are left keep their own.
  """
  name = result.task.name
  (answers,) = result.predictions.values()
  (ids,) = result.ids.values() or ([],)
  form = clue_table.TASKS[version][name].form
  numbered = (
    version != 'fewclue'
    and form not in ('answers', 'blanks')
    and result.task.labels != clue.LABELS['ocnli']
  )
  if ids and not numbered and len(set(ids)) == len(ids):
    answers = dict(zip(ids, answers, strict=True))
  return clue_submission.write_task(folder, version, name, answers)
