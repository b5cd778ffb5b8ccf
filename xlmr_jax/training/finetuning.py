"""Fine-tuning: labelled examples, judged by score on development languages."""

import dataclasses
import functools
import hashlib
import pathlib

import jax
import numpy as np

from xlmr_jax.checkpoints.weights import Weights
from xlmr_jax.data import permutation
from xlmr_jax.data.batches import loader as loaders
from xlmr_jax.eval import evaluate
from xlmr_jax.eval.benchmarks import table
from xlmr_jax.eval.task import Task, read_examples, unscored, user_task
from xlmr_jax.inference.loaded import Loaded
from xlmr_jax.runtime import sharding
from xlmr_jax.training import objectives
from xlmr_jax.training.job import Job, begin, check_length

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
    return task, dataclasses.replace(task, languages=languages)
  for name in ('train', 'dev'):
    if not config[name]:
      raise ValueError(
        f'config.{name} is empty: task={config.task} is no benchmark '
        f'({", ".join(table.tasks())}), so name the files of your own'
      )

  def column(name):
    """A number is an index from 0: tables without a header have no names."""
    return int(name) if str(name).isdigit() else name

  metric = {
    'regression': 'mse',
    'tag': 'span_f1',
    'crf': 'span_f1',
    'answer': 'squad',
  }

  def row(path, languages):
    return user_task(
      config.task,
      path,
      languages,
      text=tuple(map(column, config.text_columns)),
      label=column(config.label_column),
      labels=tuple(config.labels),
      metric=metric.get(config.objective, 'accuracy'),
      max_length=config.max_length,
    )

  return (
    row({'train': config.train}, tuple(config.train_languages)),
    row({'dev': config.dev}, tuple(config.dev_languages)),
  )


def read_training(config, task: Task) -> dict[str, list]:
  """What a config trains on: language → examples.

  Of the language that a task's data was written in nothing is translated: it
  is the split 'train' whatever the config says.

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

  Which they are depends on seed and language only, and a smaller draw is part
  of a larger one.
  """
  if not count or len(examples) <= count:
    return examples
  key = permutation.key('few-shot', seed, language)
  places = permutation.order(np.arange(count), len(examples), key)
  return [examples[place] for place in sorted(places)]


def fine_tuning(config, workdir: pathlib.Path, mesh) -> Job:
  del workdir
  origin, model, tokenizer, folder = begin(config)
  check_length('max_length', config.max_length, model)
  if config.row_length < config.max_length:
    raise ValueError(
      f'config.row_length={config.row_length} is below config.max_length='
      f'{config.max_length}'
    )
  train_task, dev_task = tasks_of(config)
  kind = config.objective
  if not train_task.heads:
    raise ValueError(
      f'config.task={train_task.name} is answered by the body alone: there is '
      'nothing to fine-tune'
    )
  fitting = ('regression',) if train_task.numbers else train_task.heads
  if kind not in fitting:
    raise ValueError(
      f'config.objective={kind} does not fit {train_task.name}: set it to '
      f'{" or ".join(fitting)}'
    )
  train = read_training(config, train_task)
  examples = [example for part in train.values() for example in part]
  labels = None
  if train_task.named:
    given = [e.label for e in examples if e.label is not None]
    if train_task.tags:
      given = [name for tags in given for name in tags]
    labels = train_task.labels or tuple(sorted(set(given)))

  def encode(examples):
    return train_task.kind.encode(
      examples,
      tokenizer,
      labels=labels,
      max_length=config.max_length,
      truncate=config.truncate,
      required=True,
      **train_task.reading,
    )

  features = encode(examples)
  groups = None
  if kind == 'choose':
    groups = _questions(features, examples, config.row_length)
  loader = loaders.Loader(
    features,
    row_length=config.row_length,
    batch_size=config.batch_size,
    seed=config.seed,
    steps=config.steps or None,
    epochs=None if config.steps else config.epochs,
    row_multiple=config.accumulate * sharding.row_parts(mesh),
    local=sharding.local_rows(mesh),
    label=LABEL[kind],
    groups=groups,
  )
  head = 'classify' if kind == 'regression' else kind
  classes = len(labels or ()) or 1
  match kind:
    case 'regression':
      objective = objectives.regression(model)
    case 'classify':
      objective = objectives.classify(model, classes=classes)
    case 'tag':
      objective = objectives.tag(model, classes=classes)
    case 'crf':
      objective = objectives.crf(model, labels=labels)
    case 'answer':
      objective = objectives.answer(model)
    case 'choose':
      objective = objectives.choose(model)
  dev_task = dataclasses.replace(
    dev_task, labels=labels, max_length=config.max_length
  )
  dev = read_examples(
    dev_task, config.data_dir, 'dev', tuple(config.dev_languages)
  )
  for part in dev.values():
    encode(part)  # for its checks
  for part in (*train.values(), *dev.values()):
    if why := unscored(train_task, part):
      where = part[0].where
      raise ValueError(
        f'{where.rpartition(":")[0] or where}: {why}; training and choosing a '
        'checkpoint need labels'
      )
  judged = Loaded(Weights(model, {}, head, labels), tokenizer, mesh)
  return Job(
    model=model,
    head=head,
    classes=classes,
    labels=labels,
    loader=loader,
    objective=objective,
    evaluators=[Development(dev_task, dev, judged)],
    score=f'dev_{dev_task.metric}',
    higher_is_better=dev_task.metric != 'mse',
    tokenizer_dir=folder,
    fingerprint=digest(
      features,
      tokenizer.fingerprint,
      labels,
      *([] if groups is None else [groups.tolist()]),
    ),
    origin=origin,
  )


# Objective → the labels that it wants of a batch (data/pack.py).
LABEL = {
  'classify': 'int',
  'regression': 'float',
  'tag': 'tags',
  'crf': 'tags',
  'answer': 'spans',
  'choose': 'int',
}


def _questions(features, examples, row_length: int) -> np.ndarray:
  """The question of each choice, counted from 0.

  Raises:
    ValueError: a question whose choices do not fit into a row together.
  """
  groups = np.array([feature['example'] for feature in features])
  tokens = np.zeros(len(examples), np.int64)
  np.add.at(tokens, groups, [len(feature['tokens']) for feature in features])
  longest = int(tokens.argmax())
  if tokens[longest] > row_length:
    raise ValueError(
      f'{examples[longest].where}: the choices of this question have '
      f'{tokens[longest]} tokens and share a row, more than config.row_length='
      f'{row_length}: set it to {tokens[longest]} or more'
    )
  return groups


def digest(features, *facts) -> str:
  """Hexadecimal digest of features, in their order, and of what they mean."""
  out = hashlib.sha256(repr(facts).encode())
  for feature in features:
    out.update(feature['tokens'].tobytes())
    label = feature['label']
    whole = isinstance(label, np.ndarray)  # its repr would leave numbers out
    out.update(label.tobytes() if whole else repr(label).encode())
  return out.hexdigest()


class Development:
  """Score per development language: accuracy, mean squared error, span F1,
  the mean of an answer's exact match and F1.

  Of names also `collapsed`, 1 where the model gives all of them the same: so
  do large models that were tuned at too high a rate, for good.
  """

  def __init__(self, task, examples, model: Loaded):
    self._task, self._examples, self._model = task, examples, model

  def __call__(self, params) -> dict[str, float]:
    name = f'dev_{self._task.metric}'
    result = evaluate.evaluate(
      self._model.replace(params=params),
      self._task,
      self._examples,
      show=False,
    )
    scores = {f'{name}/{k}': v for k, v in result.scores.items()}
    scores[name] = result.average
    if self._task.named:
      given = [x for part in result.predictions.values() for x in part]
      if self._task.metric == 'cluener':  # types of spans; there may be none
        given = [name for types in given for name in ('O', *types)]
      elif self._task.tags:
        given = [tag for tags in given for tag in tags]
      scores['collapsed'] = float(len(set(given)) == 1)
      if scores['collapsed'] and jax.process_index() == 0:
        print(
          f'every answer on the development set is {given[0]!r}: if that '
          'stays, lower the learning rate or warm up longer',
          flush=True,
        )
    return scores
