"""What a fine-tuning's step gets and how many there are, without its data.

A run's length follows from how many features it reads in an epoch and how long
they are. They come from flags, from files (config.data_dir), or from SIZES.
"""

from collections.abc import Mapping
import copy
import dataclasses
import math
from typing import Any

import jax.numpy as jnp
import numpy as np

from xlmr_jax.data.batches import pack
from xlmr_jax.data.batches.loader import Loader
from xlmr_jax.eval.benchmarks import table
from xlmr_jax.model import Config
from xlmr_jax.tasks.kinds import kind_of_objective
from xlmr_jax.training import initial_model, objective_table, training_data
from xlmr_jax.training.job import check_length


@dataclasses.dataclass(frozen=True)
class Size:
  """Of a training set.

  Attributes:
    examples: as the benchmark counts them.
    tokens: mean of a feature, specials included. A feature is an example, or a
      window of a long one; where choices compete, a question with all of them.
    source: where these come from.
    windows: features of an example.
    shortest: tokens of the shortest feature.
    classes: how many there are; 0: not known.
    lengths: of each feature, where they were read.
    groups: the question of each of `lengths`, as the loader takes it.
  """

  examples: int
  tokens: float
  source: str
  windows: float = 1.0
  shortest: int = 3  # a word between <s> and </s>
  classes: int = 0
  lengths: np.ndarray | None = None
  groups: np.ndarray | None = None

  @property
  def features(self) -> int:
    return round(self.examples * self.windows)


_XTREME = "train file as XTREME's scripts make it (google-research/xtreme)"
_CLUE = "count of CLUE's README (CLUEbenchmark/CLUE)"
_SQUAD = Size(
  87_599,
  208.00,
  "SQuAD 1.1's questions (Rajpurkar et al. 2016, arXiv:1606.05250); lengths of "
  "XQuAD's English, 1,190 of its development questions",
  windows=1.0672,
  shortest=47,
)
# Training sets of recipes' tasks. Lengths are those that the task's own reader
# and `encode` give with XLM-R's vocabulary at the recipe's max_length, of the
# file that is named (2026-11-29): `plan` counts them itself where
# config.data_dir and config.tokenizer are set.
SIZES: dict[str, Size] = {
  'xnli': Size(
    392_702,
    41.89,
    "MultiNLI's pairs, XNLI's training set (Conneau et al. 2018, "
    "arXiv:1809.05053); lengths of XNLI's dev-en, 2,490 pairs",
    shortest=14,
  ),
  'pawsx': Size(
    49_401,
    63.02,
    'PAWS-X (Yang et al. 2019, arXiv:1908.11828); lengths of dev-en, 2,000 '
    'pairs',
    shortest=18,
  ),
  'udpos': Size(
    21_253, 24.96, f'{_XTREME}; lengths of all of it', windows=1.0008
  ),
  'panx': Size(
    20_000,
    14.04,
    f'{_XTREME}; lengths of all of it',
    windows=1.0009,
    shortest=5,
  ),
  'xquad': _SQUAD,
  'mlqa': _SQUAD,
  'tydiqa': Size(
    3_696,
    166.67,
    f'English GoldP {_XTREME}; lengths of all of it',
    windows=1.0509,
    shortest=22,
  ),
  'afqmc': Size(34_334, 25.23, f'{_CLUE}; lengths of dev, 4,316 pairs'),
  'cluener': Size(
    10_748,
    70.58,
    "CLUENER2020's README (CLUEbenchmark/CLUENER2020); lengths of train",
  ),
  'cmrc2018': Size(
    10_142,
    393.24,
    f'{_CLUE}; lengths of dev, 3,219 questions',
    windows=1.2827,
  ),
  'drcd': Size(
    26_936,
    373.85,
    f'{_CLUE}; lengths of dev, 3,524 questions',
    windows=1.1759,
  ),
}


def find_size(config, examples: int = 0, mean_length: float = 0.0) -> Size:
  """The size of a recipe's training set.

  Args:
    config: of a fine-tuning.
    examples: given instead; 0: not given.
    mean_length: tokens of a feature, given instead.

  Raises:
    ValueError: nothing says it, or what the readers refuse.
  """
  if examples and mean_length:
    size = SIZES.get(config.task, Size(examples, mean_length, 'as given'))
  elif config.tokenizer and (config.data_dir or config.train):
    size = read_size(config)
  elif config.task in SIZES:
    size = SIZES[config.task]
  else:
    raise ValueError(
      f'how large is the training set of config.task={config.task}? Give '
      '--examples and --mean_length, or its files and config.tokenizer; known '
      f'are {", ".join(SIZES)}'
    )
  if config.train_examples:
    languages = len(config.train_languages)
    fewer = min(size.examples, config.train_examples * languages)
    size = _replace(size, examples=fewer)
  if examples:
    size = _replace(size, examples=examples)
  if mean_length:
    size = _replace(size, tokens=mean_length)
  if size.tokens > config.row_length:
    raise ValueError(
      f'--mean_length={size.tokens:g}, and no example is longer than '
      f'config.row_length={config.row_length}'
    )
  return size


def _replace(size: Size, **changes) -> Size:
  if all(getattr(size, name) == value for name, value in changes.items()):
    return size
  given = ' and '.join(f'{name}={value:g}' for name, value in changes.items())
  source = f'{size.source}; with {given}'
  return dataclasses.replace(
    size, **changes, source=source, lengths=None, groups=None
  )


def read_size(config) -> Size:
  """Counts the training files that a recipe names.

  Raises:
    ValueError: config.tokenizer is none, or what the readers refuse.
  """
  config = copy.deepcopy(config)
  config.init = ''  # its weights are not needed
  tokenizer = initial_model.choose(config)[2]
  task, _ = training_data.tasks_of(config)
  examples = training_data.flat(training_data.read_training(config, task))
  labels = training_data.find_labels(task, examples)
  features = task.kind.encode(
    examples,
    tokenizer,
    labels=labels,
    max_length=config.max_length,
    truncate=config.truncate,
    required=True,
    **task.reading,
  )
  lengths = np.array([len(feature['tokens']) for feature in features])
  groups, shortest, count = None, int(lengths.min()), len(features)
  if task.kind.grouped:
    groups = np.array([feature['example'] for feature in features])
    count = len(np.unique(groups))
  return Size(
    len(examples),
    float(lengths.sum() / count),
    f'counted in {config.data_dir or config.train}',
    windows=count / len(examples),
    shortest=shortest,
    classes=len(labels or ()),
    lengths=lengths,
    groups=groups,
  )


@dataclasses.dataclass(frozen=True)
class Load:
  """Rows and steps of a fine-tuning on so many parts of a mesh.

  Attributes:
    rows: of a global batch.
    steps: of the run.
    per_step: features of a step on average, or questions.
    slots: E, the most examples in a row.
  """

  rows: int
  steps: int
  per_step: float
  slots: int


class _Lengths:
  """Features of which no more than the lengths is known."""

  def __init__(self, lengths: np.ndarray):
    self.lengths = lengths

  def __getitem__(self, index: int) -> pack.Feature:
    raise IndexError(index)


def find_load(config, size: Size, parts: int) -> Load:
  """What the loader makes of a training set.

  Where the lengths were read it is the loader's own answer. Else rows are
  taken to be full, as best fit nearly makes them, and epochs end with a
  batch.

  Args:
    config: of a fine-tuning.
    size: of its data.
    parts: what the rows of a batch must be a multiple of.
  """
  length = config.row_length
  if size.lengths is not None:
    loader = Loader(
      _Lengths(size.lengths),
      row_length=length,
      batch_size=config.batch_size,
      seed=config.seed,
      steps=config.steps or None,
      epochs=None if config.steps else config.epochs,
      row_multiple=parts,
      groups=size.groups,
    )
    return Load(
      loader.rows,
      loader.total_steps,
      loader.examples_per_step,
      loader.max_examples,
    )
  rows = config.batch_size * size.tokens / length / parts
  rows = max(1, round(rows)) * parts
  epoch = math.ceil(size.features * size.tokens / length / rows)
  return Load(
    rows,
    config.steps or math.ceil(config.epochs * epoch),
    size.features / epoch,
    max(1, length // size.shortest),
  )


def count_classes(config, size: Size) -> int:
  """C of the head, 1 where there are no classes.

  Raises:
    ValueError: the task is none that can be tuned so, or C is not known.
  """
  kind = kind_of_objective(config.objective)
  task = table.tunable().get(config.task)
  if task is not None and config.objective not in task.kind.objectives:
    wants = ' or '.join(task.kind.objectives)
    raise ValueError(
      f'config.objective={config.objective} does not fit {task.name}: '
      + (f'set it to {wants}' if wants else 'the body alone answers it')
    )
  if not kind.named:
    return 1
  known = size.classes or len(config.labels) or len(task and task.labels or ())
  if not known:
    raise ValueError(
      f'how many classes has config.task={config.task}? Name them by '
      'config.labels, or set config.data_dir and config.tokenizer'
    )
  return known


def make_objective(config, model: Config, classes: int):
  """The loss of a recipe; only the number of classes is known of them."""
  check_length('max_length', config.max_length, model)
  names = tuple(map(str, range(classes)))
  return objective_table.build(config.objective, model, names)


def batch_shapes(
  config, load: Load, classes: int
) -> dict[str, tuple[tuple[int, ...], Any]]:
  """Name → (shape, dtype) of what a batch has beside tokens."""
  kind = kind_of_objective(config.objective)
  assert kind.labels is not None  # else nothing trains it
  dtype, dims = kind.labels
  sizes = {
    'B': load.rows,
    'L': config.row_length,
    'E': load.slots,
    'C': classes,
  }
  shape = tuple(sizes[d] if d in sizes else int(d) for d in dims.split())
  slots = (load.rows, load.slots)
  out = {'starts': (slots, jnp.int32), 'labels': (shape, jnp.dtype(dtype))}
  if kind.grouped:
    out['group'] = (slots, jnp.int32)
  return out


def describe(config, size: Size, load: Load) -> Mapping[str, Any]:
  """The figures of a report."""
  return {
    'variant': config.variant,
    'init': config.init,
    'examples': size.examples,
    'features': size.features,
    'mean_length': size.tokens,
    'source': size.source,
    'batch_size': config.batch_size,
    'per_step': load.per_step,
    'steps': load.steps,
    'epochs': None if config.steps else config.epochs,
  }
