"""The data of a fine-tuning: its task, the examples and the labels."""

import dataclasses
import functools

import numpy as np

from xlmr_jax.data import permutation
from xlmr_jax.data.readers.label_sets import SEPARATOR
from xlmr_jax.eval.benchmarks import table
from xlmr_jax.eval.task import Task, user_task
from xlmr_jax.tasks.kinds import Kind, kind_of_objective
from xlmr_jax.tasks.multilabel import HOW

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
    dev_task = dataclasses.replace(task, languages=languages)
    if config.get('metric'):
      dev_task = dev_task.judged_by(config.metric)
    return task, dev_task
  for name in ('train', 'dev'):
    if not config[name]:
      raise ValueError(
        f'config.{name} is empty: task={config.task} is no benchmark '
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
      kind=kind,
      metric=config.get('metric') or kind.metrics[0],
      separator=config.get('label_separator', SEPARATOR),
      max_length=config.max_length,
    )

  return (
    row({'train': config.train}, tuple(config.train_languages)),
    row({'dev': config.dev}, tuple(config.dev_languages)),
  )


def tuning_of(config, kind: Kind) -> dict[str, str]:
  """What is chosen on development examples, as options of the kind's `tune`.

  Raises:
    ValueError: the kind chooses nothing there.
  """
  how = config.get('thresholds', '')
  if not how:
    return {}
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


def read_training(config, task: Task) -> dict[str, list]:
  """The examples that a config trains on, by language.

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
    examples = task.read(config.data_dir, split, language)
    out[language] = draw(examples, config.train_examples, config.seed, language)
  return out


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
