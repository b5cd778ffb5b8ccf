"""The data of a fine-tuning: its task, the examples and the labels."""

import dataclasses
import functools
import os

import numpy as np

from xlmr_jax.data import permutation
from xlmr_jax.data.readers import squad
from xlmr_jax.data.readers.label_sets import SEPARATOR
from xlmr_jax.eval.benchmarks import table
from xlmr_jax.eval.task import (
  PLACE,
  Task,
  languages_of,
  read_available,
  read_examples,
  user_task,
)
from xlmr_jax.tasks.kinds import Kind, kind_of_objective
from xlmr_jax.tasks.multilabel import HOW
from xlmr_jax.training import held_out, overlap

SPLITS = ('train', 'translate-train')  # what can be trained on


def tasks_of(config) -> tuple[Task, Task]:
  """The rows that a config trains and develops on."""
  known = table.tunable()
  if config.task in known:
    task = known[config.task]
    if part := str(config.get('part', '')):
      if not task.parts:
        raise ValueError(f'config.part={part}: only FewCLUE has such parts')
      task = dataclasses.replace(
        task, read=functools.partial(task.read, part=part)
      )
    # XCOPA itself has no English, which is COPA.
    languages = tuple(dict.fromkeys((*task.languages, task.source)))
    if config.get('skip_bad'):
      if task.kind.examples != 'context':
        raise ValueError(
          'config.skip_bad is about answers to questions on a text, and '
          f'{task.name} has none'
        )
      task = dataclasses.replace(
        task, read=functools.partial(task.read, skip_bad=True)
      )
    dev_task = dataclasses.replace(task, languages=languages)
    if config.get('metric'):
      dev_task = dev_task.judged_by(config.metric)
    return task, dev_task
  if not config.train:
    raise ValueError(
      f'config.train is empty: task={config.task} is no benchmark '
      f'({", ".join(table.tasks())}), so name the files of your own'
    )

  def column(name):
    """A number is an index from 0: tables without a header have no names."""
    return int(name) if str(name).isdigit() else name

  kind = kind_of_objective(config.objective)
  label = str(config.label_column)
  columns = tuple(map(column, label.split(','))) if kind.several else ()

  def row(path, languages):
    return user_task(
      config.task,
      path,
      languages,
      text=tuple(map(column, config.text_columns)),
      label=columns if len(columns) > 1 else column(label),
      labels=tuple(config.labels),
      quoted=config.get('quoted'),
      kind=kind,
      metric=config.get('metric') or kind.metrics[0],
      separator=config.get('label_separator', SEPARATOR),
      max_length=config.max_length,
      skip_bad=bool(config.get('skip_bad')),
    )

  paths = {'train': config.train}
  if config.get('test'):
    paths['test'] = config.test
  train_task = row(paths, tuple(config.train_languages))
  if not config.dev:  # some of train is held out
    return train_task, train_task
  return train_task, row({'dev': config.dev}, tuple(config.dev_languages))


def tuning_of(config, kind: Kind) -> dict[str, str] | None:
  """What is chosen on development examples, as `evaluate` takes it.

  Raises:
    ValueError: the kind chooses nothing there.
  """
  how = config.get('thresholds', '')
  if not how:
    return {} if kind.null_metric else None
  if kind.tune is None:
    raise ValueError(
      f'config.thresholds={how}: {config.objective} gives no label from a '
      'probability on; leave it empty'
    )
  if how not in HOW:
    raise ValueError(
      f'config.thresholds={how} is not one of {", ".join(HOW)}; empty: 0.5'
    )
  return {'how': how}


def holds_out(config) -> bool:
  """Whether the development examples are some of the training files."""
  return not config.dev and config.task not in table.tunable()


@dataclasses.dataclass(frozen=True)
class Splits:
  """The examples of a fine-tuning.

  Attributes:
    train: language → examples to learn from.
    dev: language → examples that choose a checkpoint.
    labels: the names of the classes; None where there are none.
    messages: lines for the user: what is held out, what is shared.
  """

  train: dict[str, list]
  dev: dict[str, list]
  labels: tuple[str, ...] | None
  messages: tuple[str, ...]


def read_splits(config, train_task: Task, dev_task: Task) -> Splits:
  """The examples that a config trains on and is judged by.

  Raises:
    ValueError: as of `read_training` and `held_out.languages_of`; a share of
      development examples that cannot be taken.
  """
  if not holds_out(config):
    train = read_training(config, train_task)
    labels = find_labels(train_task, flat(train))
    languages = tuple(config.dev_languages)
    dev = read_examples(dev_task, config.data_dir, 'dev', languages)
    messages = []
  else:
    whole = read_training(config, train_task, draw_some=False)
    labels = find_labels(train_task, flat(whole))  # of a rare class, too
    train, dev, message = held_out.split(config, train_task, whole)
    train = _draw_each(config, train)
    messages = [message]
  messages += _overlaps(config, train_task, dev_task, train, dev)
  return Splits(train, dev, labels, tuple(messages))


def _overlaps(config, train_task, dev_task, train, dev) -> list[str]:
  """A line for each of dev and test about what train shares with it.

  Test files are those of the benchmark in the languages that are trained on, or
  those that config.test names.
  """
  test, broken = {}, []
  if config.task in table.tunable():
    languages = tuple(config.train_languages)
    available = read_available(dev_task, config.data_dir, 'test', languages)
    test, broken = available.examples, available.broken
  elif config.get('test'):
    path = os.path.join(config.data_dir, config.test)
    languages = languages_of(path) if PLACE in path else ('',)
    test = {x: train_task.read(config.data_dir, 'test', x) for x in languages}
  judged = {'dev': dev, 'test': test} if test else {'dev': dev}
  shared = overlap.find_overlaps(train_task.kind.examples, train, judged)
  return [
    *map(str, shared),
    *(f'train is not compared with test: {why}' for why in broken),
  ]


def flat(parts: dict[str, list]) -> list:
  """The examples of all languages."""
  return [example for part in parts.values() for example in part]


def read_training(
  config, task: Task, *, draw_some: bool = True
) -> dict[str, list]:
  """The examples that a config trains on, by language; `draw_some`: only
  config.train_examples of each.

  The language in which a task's data was written has no translations: its split
  is 'train' whatever the config says.

  Raises:
    ValueError: a language twice, another split, fewer examples than none, or
      what the task's reader refuses.
  """
  languages = tuple(config.train_languages)
  if not languages or len(set(languages)) < len(languages):
    raise ValueError(
      f'config.train_languages={languages!r}: name at least one language, each '
      'of them once'
    )
  if config.train_split not in SPLITS:
    raise ValueError(
      f'config.train_split={config.train_split!r} is not one of '
      f'{", ".join(SPLITS)}'
    )
  if config.train_examples < 0:
    raise ValueError(
      f'config.train_examples={config.train_examples} is negative; 0 takes all'
    )
  out = {}
  for language in languages:
    split = 'train' if language == task.source else config.train_split
    out[language] = task.read(config.data_dir, split, language)
  return _draw_each(config, out) if draw_some else out


def _draw_each(config, examples: dict[str, list]) -> dict[str, list]:
  return {
    language: draw(part, config.train_examples, config.seed, language)
    for language, part in examples.items()
  }


def describe_skipped(train: dict[str, list], dev: dict[str, list]) -> str:
  """How many questions training and development lose to bad places."""
  questions, others = flat(train), flat(dev)
  return (
    f'skip_bad: nothing is trained on {squad.count_skipped(questions):,} of '
    f'{len(questions):,} questions, whose answers do not stand where their '
    f'file says; of {len(others):,} of dev {squad.count_skipped(others):,} are '
    'such and are scored by their texts'
  )


def draw(examples: list, count: int, seed: int, language: str) -> list:
  """At most `count` examples of a language, in their order; 0 takes all.

  The draw depends on seed and language only, and a smaller draw is part of a
  larger draw.
  """
  if not count or len(examples) <= count:
    return examples
  key = permutation.key('few-shot', seed, language)
  places = permutation.order(np.arange(count), len(examples), key)
  return [examples[place] for place in sorted(places)]


def find_labels(task: Task, examples: list) -> tuple[str, ...] | None:
  """The names of a task's classes: its own, or those of its examples."""
  if not task.named:
    return None
  names = [e.label for e in examples if e.label is not None]
  if task.tags or task.kind.several:
    names = [name for part in names for name in part]
  return task.labels or tuple(sorted(set(names)))
