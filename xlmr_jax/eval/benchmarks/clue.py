"""CLUE and FewCLUE as tables (Xu et al. 2020, arXiv:2004.05986; Xu et al. 2021,
arXiv:2107.07498): adding a task is adding a row.

Names of files are those of CLUE's rules of submission (2021-09-04), of its
baselines (ocnli_50k) and of FewCLUE's examples of submissions. Where no source
was seen they follow the rule <task>_predict.json: drcd, cmnli and ax.

Means are those of the leaderboard, of classification and of reading; in version
1.1 OCNLI has taken CMNLI's place. The overall score is the mean of all nine.
Other tasks count in no mean.
"""

import functools

from xlmr_jax.data.readers import clue, clue_passages, cluener, fewclue
from xlmr_jax.eval.benchmarks import published
from xlmr_jax.eval.benchmarks.benchmark import Benchmark
from xlmr_jax.eval.submissions import clue_submission
from xlmr_jax.eval.submissions.clue_forms import TaskFile
from xlmr_jax.eval.task import Task
from xlmr_jax.tasks.kinds import KINDS


def _task(
  name,
  kind,
  read,
  labels=None,
  *,
  metric='accuracy',
  file='',
  folders=(),
  gold=(('{split}.json',),),
  names=(),
  form='lines',
  key='label',
  own_ids=False,
  **options,
) -> Task:
  """A row: the task, and the file that it is in a submission.

  Args:
    name: of the task.
    kind: of question, one of KINDS.
    read: reader.
    labels: the classes' names.
    metric: one of scores.METRICS.
    file: <file>_predict.json; default: the task's name.
    folders: that labels may stand in; default: <name>_public and <name>.
    gold: names of the files of labels.
    names: what a label may be in a file; default: `labels`.
    form: of the file; key, own_ids: as TaskFile has them.
    key: of a line's label.
    own_ids: whether rows are called by the ids of the test file.
    **options: further attributes of Task.
  """
  return Task(
    name=name,
    kind=KINDS[kind],
    read=read,
    languages=('zh',),
    metric=metric,
    labels=labels,
    source='zh',
    file=TaskFile(
      metric,
      f'{file or name}_predict.json',
      form,
      folders or (f'{name}_public', name),
      gold,
      tuple(names or labels or ()),
      key,
      own_ids,
    ),
    **options,
  )


def _classify(name, read, label='', **options) -> Task:
  return _task(name, 'classify', read, clue.LABELS[label or name], **options)


# Windows of 512 tokens every 128, answers of 50 at most, as the baseline.
_SPANS = {
  'metric': 'cmrc',
  'form': 'answers',
  'max_length': 512,
  'deciding': {'longest': 50},
}


def _tasks(version: str) -> tuple[Task, ...]:
  """CLUE's; 1.1 has new test files of four tasks.

  Single texts and pairs are cut at the baselines' lengths: the first 128 tokens
  of IFLYTEK's long texts are read.
  """
  # Readers leave rows of NLI's dev sets out; the others keep their numbers.
  nli = {'own_ids': True}
  return (
    _classify('afqmc', clue.afqmc),
    _classify('tnews', clue.tnews, file=f'tnews{version}'),
    _classify('iflytek', clue.iflytek),
    _classify('cmnli', clue.cmnli, **nli),
    _classify('ocnli', clue.ocnli, file='ocnli_50k', **nli),
    _classify(
      'cluewsc2020',
      clue.cluewsc,
      'cluewsc',
      file=f'cluewsc{version}',
      folders=('cluewsc2020_public', 'cluewsc2020', 'cluewsc'),
    ),
    _classify('csl', clue.csl, max_length=256),
    # Answers that are not in their passage are left out: 193 of dev, where
    # each question has another one.
    _task(
      'cmrc2018',
      'answer',
      functools.partial(clue_passages.cmrc2018, skip_bad=True),
      gold=(
        ('data/cmrc2018_{split}.json',),
        ('cmrc2018_{split}.json',),
        ('squad-style-data/cmrc2018_{split}.json',),
        ('{split}.json',),
      ),
      **_SPANS,
    ),
    _task(
      'drcd',
      'answer',
      clue_passages.drcd,
      gold=(('DRCD_{split}.json',), ('{split}.json',)),
      **_SPANS,
    ),
    # The baseline gives an idiom to one blank of a passage only.
    _task(
      'chid',
      'choose',
      clue_passages.chid,
      file=f'chid{version}',
      form='blanks',
      names=map(str, range(10)),
      gold=(('{split}_answer.json',),),
      max_length=64,
      deciding={'assign': 'greedy'},
    ),
    # The question stays whole where the passage is cut. Labels: dialogues
    # before mixed texts, as in the baseline.
    _task(
      'c3',
      'choose',
      clue_passages.c3,
      file=f'c3{version}',
      form='choices',
      names=map(str, range(4)),
      gold=(
        ('c3-d-{split}.json', 'c3-m-{split}.json'),
        ('d-{split}.json', 'm-{split}.json'),
        ('{split}.json',),
      ),
      max_length=512,
      reading={'first': 1},
    ),
    _task(
      'cluener',
      'tag',
      cluener.cluener,
      cluener.LABELS,
      metric='cluener',
      form='spans',
      names=cluener.TYPES,
    ),
    # Tested with a model of CMNLI.
    _classify(
      'ax',
      clue.ax,
      folders=('clue_diagnostics_public', 'clue_diagnostics', 'ax'),
      tuned_on='cmnli',
      test_only=True,
      **nli,
    ),
  )


def _few(name: str, file: str = '', **options) -> Task:
  """A row of FewCLUE; the readers' names of tasks are those of the files.

  Labels: a test file or one of the five parts, test_public, dev_0, dev_few_all.
  """
  options = {
    'kind': 'classify',
    'read': functools.partial(fewclue.read, name),
    'labels': fewclue.LABELS.get(name),
    **options,
  }
  return _task(
    name,
    file=file or name,
    folders=(name,),
    own_ids=True,
    known=f'fewclue.{name}',
    parts=fewclue.PARTS[:5],
    **options,
  )


_TASKS = _tasks('11')
_OLD_TASKS = _tasks('10')
_FEW_TASKS = (
  _few('eprstmt'),
  _few('csldcp'),
  _few('tnews', 'tnewsf'),
  _few('iflytek', 'iflytekf'),
  _few('ocnli', 'ocnlif'),
  _few('bustm'),
  # One blank a passage.
  _few(
    'chid',
    'chidf',
    kind='choose',
    read=fewclue.chid,
    names=map(str, range(7)),
    key='answer',
    max_length=128,
  ),
  _few('csl', 'cslf', max_length=256),
  _few('cluewsc', 'cluewscf'),
)


def _groups(nli: str) -> dict[str, tuple[str, ...]]:
  return {
    'classification': ('afqmc', 'tnews', 'iflytek', nli, 'cluewsc2020', 'csl'),
    'reading': ('cmrc2018', 'chid', 'c3'),
  }


def _benchmark(name, tasks, groups, **options) -> Benchmark:
  options = {'form': clue_submission.Submission, **options}
  return Benchmark(
    name,
    tasks,
    groups,
    overall=sum(groups.values(), ()),
    published=published.CLUE,
    related=(*_TASKS, *_OLD_TASKS, *_FEW_TASKS),
    **options,
  )


# Version 1.1, whose leaderboard is open.
CLUE = _benchmark('clue', _TASKS, _groups('ocnli'))
CLUE_1_0 = _benchmark('clue1.0', _OLD_TASKS, _groups('cmnli'))
FEWCLUE = _benchmark(
  'fewclue',
  _FEW_TASKS,
  {},
  form=functools.partial(clue_submission.Submission, split='test_public'),
)
