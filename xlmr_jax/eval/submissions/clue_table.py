"""CLUE and FewCLUE as files: tasks, what their files are called, and means.

A submission is one file a task, all in one folder or zip; its names depend on
the version of the leaderboard. Labels are the official files that have them.

Names of files are those of CLUE's rules of submission (2021-09-04), of its
baselines (ocnli_50k) and of FewCLUE's examples of submissions. Where no source
was seen they follow the rule <task>_predict.json: drcd, cmnli and ax.

Means are those of the leaderboard (Xu et al. 2020, arXiv:2004.05986), of
classification and of reading; in version 1.1 OCNLI has taken CMNLI's place.
The overall score is the mean of all nine. Other tasks count in no mean.
"""

from collections.abc import Mapping, Sequence
import dataclasses
import os

from xlmr_jax.data import files
from xlmr_jax.data.readers import zips

Path = str | os.PathLike


@dataclasses.dataclass(frozen=True)
class Task:
  """A task as files.

  Attributes:
    metric: one of metrics.METRICS.
    form: 'lines', 'choices', 'spans', 'answers' or 'blanks'.
    file: its name in a submission.
    folders: that its labels may stand in.
    labels: names of their file, the best first, with {split}; or of several
      files one after the other.
    names: what a label may be; empty for anything.
    key: of a line's label.
    languages: as submission.Part has them.
  """

  metric: str
  form: str
  file: str
  folders: tuple[str, ...]
  labels: tuple[tuple[str, ...], ...]
  names: tuple[str, ...] = ()
  key: str = 'label'
  languages: tuple[str, ...] = ('zh',)

  def paths(self, folder: Path, split: str) -> list[str]:
    """Its files of labels.

    Raises:
      files.Missing: they are not there.
    """
    ways = []
    for way in self.labels:
      names = [name.format(split=split) for name in way]
      found = [zips.first(folder, self.folders, [name]) for name in names]
      if all(found):
        return found
      ways.append((sum(map(bool, found)), names))
    what = f'labels of {self.folders[-1]}, {split}'
    some, names = max(ways, key=lambda way: way[0])
    if some:
      raise files.Missing(
        f'{folder}: not all {what}, which are {" and ".join(names)}'
      )
    # Says where it looked.
    every = list(dict.fromkeys(name for _, names in ways for name in names))
    return [zips.locate(folder, self.folders, every, what)]


def _task(name: str, file: str, names: Sequence[str] = (), **options) -> Task:
  options = {
    'metric': 'accuracy',
    'form': 'lines',
    'folders': (f'{name}_public', name),
    'labels': (('{split}.json',),),
    **options,
  }
  return Task(file=f'{file}_predict.json', names=tuple(names), **options)


_NLI = ('contradiction', 'entailment', 'neutral')
_BINARY = ('0', '1')
_TRUTH = ('false', 'true')
_NEWS = tuple(str(100 + i) for i in range(17) if i not in (5, 11))
_APPS = tuple(map(str, range(119)))
_TYPES = (
  'address book company game government movie name organization position scene'
)


def _clue(version: str) -> dict[str, Task]:
  """Version 1.1 has new test files of four tasks."""
  wsc = ('cluewsc2020_public', 'cluewsc2020', 'cluewsc')
  return {
    'afqmc': _task('afqmc', 'afqmc', _BINARY),
    'tnews': _task('tnews', f'tnews{version}', _NEWS),
    'iflytek': _task('iflytek', 'iflytek', _APPS),
    'cmnli': _task('cmnli', 'cmnli', _NLI),
    'ocnli': _task('ocnli', 'ocnli_50k', _NLI),
    'cluewsc2020': _task(
      'cluewsc2020', f'cluewsc{version}', _TRUTH, folders=wsc
    ),
    'csl': _task('csl', 'csl', _BINARY),
    'cmrc2018': _task(
      'cmrc2018',
      'cmrc2018',
      metric='cmrc',
      form='answers',
      labels=(
        ('data/cmrc2018_{split}.json',),
        ('cmrc2018_{split}.json',),
        ('squad-style-data/cmrc2018_{split}.json',),
        ('{split}.json',),
      ),
    ),
    'drcd': _task(
      'drcd',
      'drcd',
      metric='cmrc',
      form='answers',
      labels=(('DRCD_{split}.json',), ('{split}.json',)),
    ),
    'chid': _task(
      'chid',
      f'chid{version}',
      map(str, range(10)),
      form='blanks',
      labels=(('{split}_answer.json',),),
    ),
    # Dialogues before mixed texts, as in the baseline.
    'c3': _task(
      'c3',
      f'c3{version}',
      map(str, range(4)),
      form='choices',
      labels=(
        ('c3-d-{split}.json', 'c3-m-{split}.json'),
        ('d-{split}.json', 'm-{split}.json'),
        ('{split}.json',),
      ),
    ),
    'cluener': _task(
      'cluener', 'cluener', _TYPES.split(), metric='cluener', form='spans'
    ),
    'ax': _task(
      'ax',
      'ax',
      _NLI,
      folders=('clue_diagnostics_public', 'clue_diagnostics', 'ax'),
    ),
  }


def _few(name: str, file: str, names: Sequence[str] = (), **options) -> Task:
  # A test file or one of the five parts: test_public, dev_0, dev_few_all.
  return _task(name, file, names, folders=(name,), **options)


# Version → task → its files. 'clue' is 1.1, whose leaderboard is open.
TASKS: Mapping[str, Mapping[str, Task]] = {
  'clue': _clue('11'),
  'clue1.0': _clue('10'),
  'fewclue': {
    'eprstmt': _few('eprstmt', 'eprstmt', ('Negative', 'Positive')),
    'csldcp': _few('csldcp', 'csldcp'),
    'tnews': _few('tnews', 'tnewsf', _NEWS),
    'iflytek': _few('iflytek', 'iflytekf', _APPS),
    'ocnli': _few('ocnli', 'ocnlif', _NLI),
    'bustm': _few('bustm', 'bustm', _BINARY),
    'chid': _few('chid', 'chidf', map(str, range(7)), key='answer'),
    'csl': _few('csl', 'cslf', _BINARY),
    'cluewsc': _few('cluewsc', 'cluewscf', _TRUTH),
  },
}

_READING = ('cmrc2018', 'chid', 'c3')
_OLD = ('afqmc', 'tnews', 'iflytek', 'cmnli', 'cluewsc2020', 'csl')
_NEW = ('afqmc', 'tnews', 'iflytek', 'ocnli', 'cluewsc2020', 'csl')
# Version → group → tasks.
GROUPS: Mapping[str, Mapping[str, tuple[str, ...]]] = {
  'clue': {'classification': _NEW, 'reading': _READING},
  'clue1.0': {'classification': _OLD, 'reading': _READING},
  'fewclue': {},
}
# Version → the tasks whose mean is the overall score.
OVERALL: Mapping[str, tuple[str, ...]] = {
  'clue': (*_NEW, *_READING),
  'clue1.0': (*_OLD, *_READING),
  'fewclue': tuple(TASKS['fewclue']),
}
# The labelled files that scores are taken on, where nothing else is said.
SPLITS = {'clue': 'dev', 'clue1.0': 'dev', 'fewclue': 'test_public'}
