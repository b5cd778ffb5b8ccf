"""Fine-tuning: labelled examples, judged by score on development languages."""

import dataclasses
import hashlib
import pathlib

import jax
import numpy as np

from xlmr_jax import heads
from xlmr_jax.checkpoints.weights import Weights
from xlmr_jax.data.batches import convention
from xlmr_jax.data.batches.loader import Loader
from xlmr_jax.eval.no_answer import tested_by
from xlmr_jax.eval.task import unscored
from xlmr_jax.inference.loaded import Loaded
from xlmr_jax.runtime import hosts, sharding
from xlmr_jax.tasks import schemes
from xlmr_jax.training import initial_model, objective_table
from xlmr_jax.training.class_weights import find_weights
from xlmr_jax.training.development import Development
from xlmr_jax.training.job import Job, check_length
from xlmr_jax.training.training_data import (
  describe_skipped,
  flat,
  read_splits,
  tasks_of,
  tuning_of,
)


def fine_tuning(config, workdir: pathlib.Path, mesh) -> Job:
  del workdir
  origin, model, tokenizer, folder = initial_model.choose(config)
  check_length('max_length', config.max_length, model)
  if config.row_length < config.max_length:
    raise ValueError(
      f'config.row_length={config.row_length} is below config.max_length='
      f'{config.max_length}'
    )
  train_task, dev_task = tasks_of(config)
  kind, name = train_task.kind, config.objective
  if not train_task.heads:
    raise ValueError(
      f'config.task={train_task.name} is answered by the body alone: there is '
      'nothing to fine-tune'
    )
  if name not in kind.objectives:
    raise ValueError(
      f'config.objective={name} does not fit {train_task.name}: set it to '
      f'{" or ".join(kind.objectives)}'
    )
  splits = read_splits(config, train_task, dev_task)
  train, dev, labels = splits.train, splits.dev, splits.labels
  if jax.process_index() == 0:
    print('\n'.join(splits.messages), flush=True)
  examples = flat(train)

  def encode(examples):
    return kind.encode(
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
  if kind.grouped:
    groups = _questions(features, examples, config.row_length)
  loader = Loader(
    features,
    row_length=config.row_length,
    batch_size=config.batch_size,
    seed=config.seed,
    steps=config.steps or None,
    epochs=None if config.steps else config.epochs,
    row_multiple=config.accumulate * sharding.row_parts(mesh),
    local=sharding.local_rows(mesh),
    label=_sizes(kind.labels, labels),
    convention=convention.of(model, tokenizer),
    groups=groups,
  )
  allowed, scheme = None, None
  if train_task.tags:
    evidence = schemes.find(examples)
    scheme = evidence.scheme
    allowed = schemes.allowed(scheme, labels or ())
    if jax.process_index() == 0:
      print(evidence.message, flush=True)
  weights = find_weights(config.get('class_weights'), kind, labels, features)
  objective = objective_table.build(
    name, model, labels, weights=weights, allowed=allowed
  )
  if not heads.HEADS[objective.head].chain:
    scheme = None
  dev_task = dataclasses.replace(
    dev_task, labels=labels, max_length=config.max_length
  )
  judged_on = [feature for part in dev.values() for feature in encode(part)]
  dev_task = tested_by(dev_task, flat(dev))
  if config.skip_bad and hosts.lead():
    print(describe_skipped(train, dev), flush=True)
  for part in (*train.values(), *dev.values()):
    if why := unscored(train_task, part):
      where = part[0].where
      raise ValueError(
        f'{where.rpartition(":")[0] or where}: {why}; training and choosing a '
        'checkpoint need labels'
      )
  judged = Loaded(
    Weights(model, {}, objective.head, labels, scheme=scheme), tokenizer, mesh
  )
  evaluator = Development(dev_task, dev, judged, tuning_of(config, kind))
  return Job(
    model=model,
    head=objective.head,
    classes=len(labels or ()) or 1,
    labels=labels,
    loader=loader,
    objective=objective,
    evaluators=[evaluator],
    score=f'dev_{dev_task.metric}',
    kept=evaluator.kept,
    higher_is_better=dev_task.metric != 'mse',
    tokenizer_dir=folder,
    fingerprint=digest(
      features,
      tokenizer.fingerprint,
      labels,
      *([] if groups is None else [groups.tolist()]),
    ),
    judged_by=digest(judged_on, list(dev)),
    origin=origin,
    scheme=scheme,
    init=config.init,
  )


def _sizes(label: tuple[str, str] | None, labels) -> tuple[str, str] | None:
  """Dtype and shape of a batch's labels, with the number of classes in it."""
  if label is None:
    return None
  dtype, dims = label
  sizes = {'C': str(len(labels or ()))}
  return dtype, ' '.join(sizes.get(dim, dim) for dim in dims.split())


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
