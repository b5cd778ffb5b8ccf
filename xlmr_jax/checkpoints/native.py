"""Our own format: a directory that describes itself.

model.json    sizes, head, label names, and what its source looked like
tokenizer/    the tokenizer's files, as they came
params/       the parameters (orbax), or, in a training run's workdir,
checkpoints/<step>/{params,state,meta}   with all that a resume needs
"""

import dataclasses
import pathlib
from typing import TypedDict

import jax
import orbax.checkpoint as ocp

from xlmr_jax import heads
from xlmr_jax.checkpoints import arrays, checkpoint_steps, orbax_arrays
from xlmr_jax.checkpoints.hf.files import load_json
from xlmr_jax.checkpoints.weights import (
  STORED,
  TOKENIZER_FILES,
  Pooling,
  Scoring,
  Weights,
  check_deciding,
  check_shapes,
  with_head,
  with_rows,
)
from xlmr_jax.model import Config
from xlmr_jax.runtime import storage
from xlmr_jax.tasks import schemes

MODEL = 'model.json'
TOKENIZER = 'tokenizer'


class RunOptions(TypedDict, total=False):
  """How to run a model, not what it is: a saved model does not fix these."""

  vocab_multiple: int
  dtype: str
  param_dtype: str
  attention: str
  remat: str
  scan: bool


RUN_FIELDS = tuple(RunOptions.__annotations__)


def describe(weights: Weights) -> dict:
  """Everything of a model but its arrays, as JSON."""
  config = dataclasses.asdict(weights.config)
  for name in RUN_FIELDS:
    config.pop(name)
  return {
    'format': 1,
    'config': config,
    'head': weights.head,
    'labels': list(weights.labels) if weights.labels else None,
    'scheme': weights.scheme,
    'tied': weights.tied,
    'source': weights.source,
    'pooling': weights.pooling and dataclasses.asdict(weights.pooling),
    'scoring': weights.scoring and dataclasses.asdict(weights.scoring),
    'adapter': weights.adapter,
    'deciding': weights.deciding,
    'versions': {'jax': jax.__version__, 'orbax': ocp.__version__},
  }


def write_description(folder, weights: Weights) -> None:
  """model.json and tokenizer/ of a directory."""
  folder = pathlib.Path(folder)
  storage.write_json(folder / MODEL, describe(weights))
  if weights.tokenizer_dir is not None:
    copy_tokenizer(weights.tokenizer_dir, folder / TOKENIZER)


def copy_tokenizer(source, destination) -> None:
  """Copies the tokenizer's files that `source` has."""
  source, destination = pathlib.Path(source), pathlib.Path(destination)
  destination.mkdir(exist_ok=True)
  for name in TOKENIZER_FILES:
    if (source / name).exists():
      storage.write_bytes(destination / name, (source / name).read_bytes())


def write(folder, weights: Weights) -> None:
  """Writes a directory of ours, whole or not at all.

  Args:
    folder: a new or empty directory.
    weights: as `weights.on_host` makes them.

  Raises:
    ValueError: the folder is not empty.
    OSError: the disk is full, or the like; the folder is as it was.
  """
  with storage.whole(folder) as made:
    write_description(made, weights)
    orbax_arrays.save(made / 'params', weights.params)


def recognise(path: pathlib.Path) -> bool:
  """Whether a path is a directory of ours, a workdir or a step of one."""
  return (_split(path)[0] / MODEL).exists()


def _split(path: pathlib.Path) -> tuple[pathlib.Path, int | None]:
  """workdir/checkpoints/500 → (workdir, 500); another path → (path, None)."""
  workdir = path.parent.parent
  if (
    path.parent.name == 'checkpoints'
    and path.name.isdigit()
    and (workdir / MODEL).exists()
  ):
    return workdir, int(path.name)
  return path, None


def read(
  path: pathlib.Path,
  *,
  head: str | None = STORED,
  lazily: bool = False,
  timer: dict[str, float] | None = None,
) -> Weights:
  """Reads a directory of ours, a workdir's best step, or a given step.

  Raises:
    ValueError: model.json describes no model, there is no finished step, or
      the arrays are not what model.json says.
  """
  with arrays.timed(timer, 'read'):
    folder, step = _split(path)
    weights = read_description(folder)
    saved = folder / 'params'
    if step is not None or not saved.exists():
      step = _best(folder) if step is None else step
      saved = folder / 'checkpoints' / str(step) / 'params'
      # Chosen when this very step was evaluated.
      chosen = checkpoint_steps.meta_of(folder, step).get('deciding', {})
      chosen = check_deciding(chosen, weights.labels, f'{saved.parent}/meta')
      weights = dataclasses.replace(weights, deciding=chosen)
    params = orbax_arrays.find(saved) if lazily else orbax_arrays.read(saved)
    size = weights.config.vocab_size
    rows = params['encoder']['embed']['tokens'].shape[0]
    if rows not in (size, -(-size // 1024) * 1024):
      raise ValueError(
        f'{folder}: the token table has {rows} rows, and {MODEL} says '
        f'vocab_size = {size} (training fills it up to a multiple of 1,024)'
      )
    params = with_rows(params, weights.head, size)
    weights = dataclasses.replace(weights, params=params)
    check_shapes(weights, str(folder))
  return with_head(weights, head)


def read_description(folder: pathlib.Path, name: str = MODEL) -> Weights:
  """What model.json, or a file like it, says of a model; no arrays."""
  try:
    facts = load_json(folder / name)
    labels = tuple(facts['labels']) if facts['labels'] else None
    config, pooling = Config(**facts['config']), facts.get('pooling')
    scoring = facts.get('scoring')
    heads.make(config, facts['head'], len(labels or ()) or 1)
    return Weights(
      config=config,
      params={},
      head=facts['head'],
      labels=labels,
      tied=facts['tied'],
      source=facts['source'],
      pooling=pooling and Pooling(**pooling),
      scoring=scoring and Scoring(**scoring),
      tokenizer_dir=folder / TOKENIZER,
      scheme=schemes.check(facts.get('scheme')),
      adapter=facts.get('adapter'),
      deciding=check_deciding(facts.get('deciding', {}), labels, name),
    )
  except (KeyError, TypeError, AttributeError, ValueError) as e:
    raise ValueError(
      f'{folder / name} does not describe a model of ours: {e!r}'
    ) from e


def _best(workdir: pathlib.Path) -> int:
  """The best step of a run, else its latest."""
  with checkpoint_steps.Manager(workdir, read_only=True) as manager:
    step = manager.best_step()
  if step is None:
    raise ValueError(f'{workdir} holds no finished checkpoint yet')
  return step
