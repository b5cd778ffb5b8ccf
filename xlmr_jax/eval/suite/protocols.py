"""The data that a benchmark's models are tuned on and chosen by.

  zero-shot            English; tested in every language
  translate-train      English machine-translated into a language; tested there
  translate-train-all  English and all of its translations; tested everywhere
  few-shot             a few examples of a language's own; tested there

These are the names of XTREME's baselines (Hu et al. 2020, arXiv:2003.11080).
Nothing is translated into English: where each language has a model of its own,
English has the zero-shot one. Tasks that the body alone answers are not tuned.

The checkpoint is chosen on English dev files, because zero-shot and translated
training assume that a language has no data of its own. Few-shot has some: its
checkpoint is chosen on the dev files of the trained language, as XTREME's
scripts do. It is chosen on English where the language has no dev files, or
where they are tested on (TyDi QA, or split=dev).
"""

from collections.abc import Mapping, Sequence
import dataclasses
import json
import pathlib

from xlmr_jax.data import files
from xlmr_jax.data.readers import tfds
from xlmr_jax.eval.benchmarks import table
from xlmr_jax.eval.task import Task, unscored

PROTOCOLS = ('zero-shot', 'translate-train', 'translate-train-all', 'few-shot')
EACH = ('translate-train', 'few-shot')  # a model for each language


def of(config) -> str:
  """A recipe's protocol.

  Raises:
    ValueError: it is none, one without examples, or parts of what has none.
  """
  protocol = config.get('protocol', 'zero-shot')
  if protocol not in PROTOCOLS:
    raise ValueError(
      f'config.protocol={protocol!r} is not one of {", ".join(PROTOCOLS)}'
    )
  if protocol == 'few-shot' and config.shots < 1:
    raise ValueError(f'config.shots={config.shots} must be positive')
  if config.get('parts'):
    parts = table.find(config.benchmark).tasks[0].parts
    if not parts:
      raise ValueError(
        f'config.parts is for FewCLUE, not for benchmark={config.benchmark}'
      )
    if config.seeds > len(parts):
      raise ValueError(
        f'config.seeds={config.seeds}, but there are {len(parts)} parts'
      )
  return protocol


@dataclasses.dataclass(frozen=True)
class Need:
  """A model that a task wants.

  Attributes:
    task: the row.
    seed: of the fine-tuning.
    tuned: name of the task, or of the shared data, that it is tuned on; ''
      for the checkpoint as it is.
    protocol: of the fine-tuning.
    language: the one to test in; '' for all of the task's.
  """

  task: Task
  seed: int
  tuned: str
  protocol: str = 'zero-shot'
  language: str = ''

  @property
  def run(self) -> str:
    """Name of the fine-tuning, such as 'squad-de-0'."""
    if not self.tuned:
      return ''
    part = ''
    if self.protocol == 'translate-train-all':
      part = '-all'
    elif self.protocol != 'zero-shot':
      part = f'-{self.language}'
    return f'{self.tuned}{part}-{self.seed}'

  @property
  def name(self) -> str:
    """Of the evaluation."""
    part = f'-{self.language}' if self.language else ''
    return f'{self.task.name}{part}-{self.seed}'

  @property
  def reader(self) -> str:
    """Name of the task, and of the folder, that training data are read from."""
    tasks = table.tasks()
    if self.tuned in tasks:
      return self.tuned
    names = (n for n, task in tasks.items() if task.tuned_on == self.tuned)
    return next(names, self.tuned)

  @property
  def known(self) -> str:
    """What the recipe of the fine-tuning calls the task."""
    return (
      self.reader
      if self.reader != self.task.name
      else (self.task.known or self.task.name)
    )


def of_task(config, task: Task, seed: int) -> list[Need]:
  """What a task wants of one seed."""
  if not task.heads:
    return [Need(task, seed, config.retrieve_with)]
  tuned, protocol = task.tuned_on or task.name, of(config)
  if protocol not in EACH:
    return [Need(task, seed, tuned, protocol)]
  return [
    Need(
      task,
      seed,
      tuned,
      'zero-shot' if language == task.source else protocol,
      language,
    )
    for language in task.languages
  ]


@dataclasses.dataclass(frozen=True)
class Training:
  """Which languages of a task can be trained on.

  Attributes:
    languages: those that can.
    missing: files that do not exist, and where they were looked for.
    broken: files that exist and cannot be read.
  """

  languages: tuple[str, ...]
  missing: list[str]
  broken: list[str]


def training(
  config, task: Task, tested: Sequence[str], workdir: pathlib.Path
) -> Training:
  """Looks for the training data of a protocol.

  A language that a run trains on already is not looked for: its files were
  there when the run began.

  Args:
    config: the recipe.
    task: a row with a head.
    tested: the languages in which there is something to test.
    workdir: of the recipe.
  """
  protocol = of(config)
  if protocol == 'zero-shot':
    return Training(tuple(tested), [], [])
  need = of_task(config, task, 0)[0]
  reader = table.tunable()[need.known]
  wanted = tested
  if protocol == 'translate-train-all':
    # All of them, whichever of them are tested.
    known = table.find(config.benchmark)[need.reader].languages
    wanted = list(dict.fromkeys((task.source, *known)))
  begun = _begun(workdir, need)
  trainable, absent, broken, why = [], [], [], ''
  for language in wanted:
    try:
      if language not in begun:
        split = _split(protocol, task, language)
        reader.read(folder(config, need), split, language)
      trainable.append(language)
    except files.Missing as error:
      absent.append(language)
      why = why or str(error)
    except (ValueError, OSError) as error:
      broken.append(f'{need.tuned} {language}, to train on: {error}')
  missing = []
  if absent:
    missing = [f'{need.tuned} {" ".join(absent)}, to train on: {why}']
  others = [language for language in wanted if language != task.source]
  if others and not set(others) & set(trainable):
    trainable = []  # English alone is another protocol
  return Training(tuple(trainable), missing, broken)


def _begun(workdir: pathlib.Path, need: Need) -> set[str]:
  """The languages that runs of this kind train on."""
  out = set()
  for path in (workdir / 'runs').glob(f'{need.tuned}-*/config.json'):
    try:
      config = json.loads(path.read_text('utf-8'))
      languages = config['train_languages']
    except (ValueError, KeyError):
      continue
    if config['task'] == need.known:
      out.update(languages)
  return out


def _split(protocol: str, task: Task, language: str) -> str:
  if language == task.source or protocol == 'few-shot':
    return 'train'
  return 'translate-train'


def folder(config, need: Need) -> str:
  """Of the training data."""
  return tfds.folder(config.data_dir, need.reader)


def settings(
  config, need: Need, languages: Sequence[str], tested: Mapping[str, list]
) -> dict[str, object]:
  """The settings of a fine-tuning that its protocol decides.

  Args:
    config: the benchmark's recipe.
    need: what the model is wanted for.
    languages: those that can be trained on.
    tested: language → examples, of those to test in.
  """
  source = need.task.source
  match need.protocol:
    case 'translate-train-all':
      return {
        'train_languages': tuple(languages),
        'train_split': 'translate-train',
        'dev_languages': (source,),
      }
    case 'translate-train':
      return {
        'train_languages': (need.language,),
        'train_split': 'translate-train',
        'dev_languages': (source,),
      }
    case 'few-shot':
      return {
        'train_languages': (need.language,),
        'train_examples': config.shots,
        'dev_languages': (_chooser(config, need, tested),),
      }
  return {'part': need.seed} if config.get('parts') else {}


def _chooser(config, need: Need, tested: Mapping[str, list]) -> str:
  """The language whose dev file chooses a few-shot checkpoint."""
  try:
    dev = need.task.read(folder(config, need), 'dev', need.language)
  except files.Missing:
    return need.task.source
  if dev == tested[need.language] or unscored(need.task, dev):
    return need.task.source
  return need.language
