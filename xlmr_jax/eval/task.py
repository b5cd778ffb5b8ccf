"""A task is a row of a table: kind, reader, languages, metric, labels."""

from collections.abc import Callable, Mapping, Sequence
import dataclasses
import functools
import glob
import pathlib
from typing import Any

from xlmr_jax.checkpoints.hf import config_json
from xlmr_jax.data import files
from xlmr_jax.data.readers import columns, label_sets, squad, tables
from xlmr_jax.eval.metrics import scores
from xlmr_jax.tasks.encoding import list_names
from xlmr_jax.tasks.kinds import Kind, kind_of_metric

# XTREME's scripts for NLI and for tagging cut examples to this length, and so
# does Hugging Face's for NLI.
MAX_LENGTH = 128

# Stands for the language in the name of a user's file.
PLACE = '{language}'


@dataclasses.dataclass(frozen=True)
class Task:
  """One row of a benchmark.

  Attributes:
    name: in results.json and of the folder of predictions.
    kind: a row of tasks.kinds.KINDS.
    read: (data_dir, split, language) → examples.
    languages: in the benchmark's order.
    metric: one of scores.METRICS.
    beside: further metrics that are reported with it.
    labels: the classes' names. None where there are none, as of numbers and
      answers, and where they are whatever the checkpoint knows.
    source: language that models are fine-tuned on.
    known: its name in commands and recipes, if they use another.
    tuned_on: name of the training data, where it shares them with other tasks.
    parts: names of several small training sets, of which a run takes one.
    test_only: whether there is no split but test.
    file: its file in submissions, where that does not follow from the rest.
    max_length: tokens of an example; what is longer is cut, and tagged
      sentences and contexts of questions are read in windows.
    reading: options of the kind's `encode`.
    deciding: options of its `decode`.
    vectors: options of Loaded.vectors, where there is no head.
    keeps_words: whether predicted tags are written beside their words.
  """

  name: str
  kind: Kind
  read: Callable[..., list]
  languages: tuple[str, ...]
  metric: str = 'accuracy'
  beside: tuple[str, ...] = ()
  labels: tuple[str, ...] | None = None
  source: str = 'en'
  known: str = ''
  tuned_on: str = ''
  parts: tuple[str, ...] = ()
  test_only: bool = False
  file: Any = None
  max_length: int = MAX_LENGTH
  reading: Mapping[str, Any] = dataclasses.field(default_factory=dict)
  deciding: Mapping[str, Any] = dataclasses.field(default_factory=dict)
  vectors: Mapping[str, Any] = dataclasses.field(default_factory=dict)
  keeps_words: bool = False

  def __post_init__(self):
    if self.metric not in scores.METRICS:
      raise ValueError(
        f'metric {self.metric!r} is not one of {", ".join(scores.METRICS)}'
      )

  def judged_by(self, metric: str) -> 'Task':
    """The same task by another metric of its kind, and all others beside it.

    Raises:
      ValueError: the kind is not scored by it.
    """
    if metric not in self.kind.metrics:
      raise ValueError(
        f'metric {metric!r} does not score {self.name}: set it to '
        f'{" or ".join(self.kind.metrics)}'
      )
    others = self.kind.metrics if self.kind.beside else ()
    beside = tuple(name for name in others if name != metric)
    return dataclasses.replace(self, metric=metric, beside=beside)

  @property
  def heads(self) -> tuple[str, ...]:
    """Those that the kind reads, the usual one first; none: the body alone."""
    return self.kind.heads

  @property
  def numbers(self) -> bool:
    """Whether answers are numbers, not names."""
    return self.metric in scores.NUMBERS

  @property
  def tags(self) -> bool:
    """Whether an example is a sentence with an answer for each word."""
    return self.kind.examples == 'words'

  @property
  def nulls(self) -> bool:
    """Whether it is scored with examples that have no answer."""
    return self.metric == self.kind.null_metric

  @property
  def named(self) -> bool:
    """Whether the model's outputs are classes that have names."""
    return self.kind.named and not self.numbers


def user_task(
  name: str,
  paths: Mapping[str, str],
  languages: Sequence[str],
  *,
  text: Sequence[tables.Column] = ('text',),
  label: tables.Column | Sequence[tables.Column] | None = 'label',
  labels: Sequence[str] | None = None,
  metric: str = 'accuracy',
  kind: Kind | None = None,
  quoted: bool | None = None,
  separator: str = label_sets.SEPARATOR,
  max_length: int | None = None,
  skip_bad: bool = False,
) -> Task:
  """A row for anybody's TSV, CSV or JSONL files, or tagged sentences.

  >>> user_task('intents', {'test': 'intents/test-{language}.tsv'}, ['de'])

  Args:
    name: of the task.
    paths: split → file, with {language} where its name has the language.
      Relative ones start at data_dir.
    languages: in the order of the table.
    text: one or two columns or keys: names, or indices from 0. Of tagged
      sentences the column of words.
    label: column or key of the label; None where there is none. Of kinds with
      several labels an example also a column of 0 and 1 for each class.
    labels: the classes' names, if not the checkpoint's own.
    metric: 'accuracy', 'macro_f1', 'micro_f1' or 'matthews' for names; 'mse',
      'pearson' or 'spearman' for numbers; 'span_f1' for files of tagged
      sentences (data/readers/columns.py) and 'squad', 'squad2' (some have no
      answer), 'mlqa' or 'cmrc' for questions on a text (data/readers/squad.py),
      which have no columns to choose.
    kind: of question; default: the one that the metric scores.
    quoted: whether "..." in a table is a quoted field, or text as it is; None
      judges by the file (data/readers/tables.py).
    separator: between labels in a column of several.
    max_length: tokens of an example; default: MAX_LENGTH, of a window of a text
      with a question three times as many, as in SQuAD's scripts.
    skip_bad: whether answers to questions that do not stand where their file
      says are counted and left out of training, instead of refused.
  """
  numbers = metric in scores.NUMBERS
  lengths = MAX_LENGTH, 3 * MAX_LENGTH
  kind = kind or kind_of_metric(metric)
  if skip_bad and kind.examples != 'context':
    raise ValueError(
      f'skip_bad is about answers to questions on a text, and {name} has none'
    )
  for path in paths.values():
    if PLACE not in path and len(languages) != 1:
      raise ValueError(
        f'{path}: write {PLACE} where the language stands in the name of the '
        'file, or choose one language'
      )

  if isinstance(label, tuple | list) and not labels:
    labels = tuple(map(str, label))

  def read(data_dir, split, language):
    if split not in paths:
      raise ValueError(f'{name} has no {split} file')
    path = pathlib.Path(data_dir or '') / paths[split].replace(PLACE, language)
    if kind.examples == 'context':
      questions = squad.read(path, skip_bad=skip_bad)
      if split == 'test':  # predictions are told apart by ids
        files.check_ids(str(path), questions, labelled=False)
      return questions
    if kind.examples == 'words':
      return columns.read_words(path, tuple(text), label)
    read_file = functools.partial(read_table, path)
    if kind.several:
      return label_sets.read(path, read_file, label, separator)
    return read_file(label)

  def read_table(path, label):
    ending = files.ending(path)
    if ending == '.jsonl':
      return tables.jsonl(path, tuple(text), label, number=numbers)
    if ending not in ('.tsv', '.csv'):
      raise ValueError(
        f'{path}: files are .tsv, .csv or .jsonl (also .gz, .xz and .zst)'
      )
    return tables.tsv(
      path,
      tuple(text),
      label,
      number=numbers,
      delimiter=None if ending == '.csv' else '\t',
      quoted=quoted,
    )

  return Task(
    name=name,
    kind=kind,
    read=read,
    languages=tuple(languages),
    labels=tuple(map(tables.class_name, labels)) if labels else None,
    max_length=max_length or lengths[kind.examples == 'context'],
    keeps_words=kind.examples == 'words',
  ).judged_by(metric)


def languages_of(pattern: str) -> tuple[str, ...]:
  """The languages whose files, named by a pattern with {language}, exist."""
  if PLACE not in pattern:
    raise ValueError(
      f'{pattern}: choose a language for it, or write {PLACE} where the '
      'language stands in the name of the file'
    )
  before, after = pattern.split(PLACE, 1)
  paths = files.find('*'.join(map(glob.escape, pattern.split(PLACE))))
  after = after.split(PLACE)[0]
  start = len(before)
  ends = [
    len(path) if not after else path.index(after, start) for path in paths
  ]
  return tuple(p[start:end] for p, end in zip(paths, ends, strict=True))


def read_examples(
  task: Task,
  data_dir: str,
  split: str = 'test',
  languages: Sequence[str] | None = None,
) -> dict[str, list]:
  """Examples per language, all of the task's unless some are chosen.

  Raises:
    ValueError: a language that the task has not, or whose file is not there.
  """
  languages = _chosen(task, languages)
  return {name: task.read(data_dir, split, name) for name in languages}


def _chosen(task: Task, languages: Sequence[str] | None) -> Sequence[str]:
  languages = languages or task.languages
  unknown = [name for name in languages if name not in task.languages]
  if unknown:
    raise ValueError(
      f'{task.name} has no language {unknown[0]!r}; it has '
      f'{", ".join(task.languages)}'
    )
  return languages


@dataclasses.dataclass(frozen=True)
class Available:
  """The files of a task in a folder.

  Attributes:
    examples: language → examples.
    missing: files that do not exist, and where they were looked for.
    broken: files that exist and cannot be read.
  """

  examples: dict[str, list]
  missing: list[str]
  broken: list[str]


def read_available(
  task: Task,
  data_dir: str,
  split: str,
  languages: Sequence[str] | None = None,
) -> Available:
  """Examples of the languages whose files are there.

  Raises:
    ValueError: a language that the task has not.
  """
  examples, absent, broken, why = {}, [], [], ''
  for language in _chosen(task, languages):
    try:
      examples[language] = task.read(data_dir, split, language)
    except files.Missing as error:
      absent.append(language)
      why = why or str(error)
    except (ValueError, OSError) as error:
      broken.append(f'{task.name} {language}: {error}')
  missing = [f'{task.name} {" ".join(absent)}: {why}'] if absent else []
  return Available(examples, missing, broken)


def match_labels(
  model: Sequence[str] | None,
  task: Sequence[str] | None,
  given: Sequence[str] | None = None,
) -> tuple[str, ...]:
  """The task's names in the order of the model's outputs.

  Names are matched whatever their case: public NLI models order their
  classes differently, and write ENTAILMENT as often as entailment.

  Args:
    model: id → name, as the checkpoint has it.
    task: the task's names; None for the checkpoint's own.
    given: id → name, from the user; the checkpoint's are ignored.

  Raises:
    ValueError: names that say nothing (LABEL_0), or two lists that differ.
  """
  whose = '--labels has' if given else 'the checkpoint has'
  names = tuple(given or model or ())
  wanted = f' (this task has {list_names(task)})' if task else ''
  if given and model and len(given) != len(model):
    raise ValueError(
      f'--labels names {len(given)} classes, the checkpoint has {len(model)}: '
      f'{list_names(given)} for {list_names(model)}'
    )
  if not names or config_json.placeholder(names):
    raise ValueError(
      f'the checkpoint has {list_names(names) or "no names"} for its classes: '
      'say what they are with --labels=name0,name1,... in the order of its '
      f'ids{wanted}'
    )
  folded = {_fold(name): i for i, name in enumerate(names)}
  if len(folded) != len(names):
    raise ValueError(f'{whose} a class twice: {list_names(names)}')
  if task is None:
    return tuple(map(tables.class_name, names))
  known = {_fold(name): name for name in task}
  if known.keys() != folded.keys():
    missing = [name for name in task if _fold(name) not in folded]
    extra = [name for name in names if _fold(name) not in known]
    raise ValueError(
      f'{whose} the classes {list_names(names)}, the task has '
      f'{list_names(task)}:'
      + (f' missing {list_names(missing)};' if missing else '')
      + (f' unknown {list_names(extra)};' if extra else '')
      + ' rename them with --labels=name0,name1,... in the order of its ids'
    )
  return tuple(known[name] for name in folded)


def _fold(name: str) -> str:
  return tables.class_name(name.strip().casefold())


def unscored(task: Task, examples: Sequence) -> str | None:
  """Why examples cannot be scored or learned from; None where they can."""
  gold = task.kind.gold(examples)
  missing = sum(label is None for label in gold)
  if missing or not gold:
    return f'{missing:,} of {len(gold):,} examples have no label'
  if not task.named:
    return None
  # Some copies of XTREME's test files have one label on every line.
  kinds = {name for tags in gold for name in tags} if task.tags else set(gold)
  if len(kinds) == 1 and len(examples) >= 100:
    return f'every label is {kinds.pop()!r}, which looks like a placeholder'
  return None
