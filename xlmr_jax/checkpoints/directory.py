"""Checkpoints: ours to ours, exact; and reading either kind.

A directory of ours describes itself:

  model.json    sizes, head, label names, and what its source looked like
  tokenizer/    the tokenizer's files, as they came
  params/       the parameters (orbax), or, in a training run's workdir,
  checkpoints/<step>/{params,state,meta}   with all that a resume needs

Whatever is written appears whole or not at all: it is made under a temporary
name and renamed.
"""

import dataclasses
import pathlib
import shutil
import warnings

import jax
import orbax.checkpoint as ocp

from xlmr_jax import heads
from xlmr_jax.checkpoints import (
  checkpoint_steps,
  comet,
  fairseq,
  hub,
  orbax_arrays,
)
from xlmr_jax.checkpoints.hf import reader, sentence_transformers
from xlmr_jax.data.tokenizers import folder as vocabulary
from xlmr_jax.data.tokenizers.hf_tokenizers import BpeTokenizer
from xlmr_jax.data.tokenizers.xlmr import Tokenizer
from xlmr_jax.model import Config
from xlmr_jax.runtime import storage

MODEL = 'model.json'
TOKENIZER = 'tokenizer'
SPM = 'sentencepiece.bpe.model'

# How to run a model, not what it is: a saved model does not fix these.
RUN_FIELDS = (
  'vocab_multiple',
  'dtype',
  'param_dtype',
  'attention',
  'remat',
  'scan',
)


def describe(weights: reader.Weights) -> dict:
  """Everything of a model but its arrays, as JSON."""
  config = dataclasses.asdict(weights.config)
  for name in RUN_FIELDS:
    config.pop(name)
  return {
    'format': 1,
    'config': config,
    'head': weights.head,
    'labels': list(weights.labels) if weights.labels else None,
    'tied': weights.tied,
    'source': weights.source,
    'pooling': weights.pooling and dataclasses.asdict(weights.pooling),
    'versions': {'jax': jax.__version__, 'orbax': ocp.__version__},
  }


def write_description(folder, weights: reader.Weights, tokenizer_dir) -> None:
  """model.json and tokenizer/ of a directory."""
  folder = pathlib.Path(folder)
  storage.write_json(folder / MODEL, describe(weights))
  if tokenizer_dir is not None:
    copy_tokenizer(tokenizer_dir, folder / TOKENIZER)


def copy_tokenizer(source, destination) -> None:
  """Copies the tokenizer's files that `source` has."""
  source, destination = pathlib.Path(source), pathlib.Path(destination)
  destination.mkdir(exist_ok=True)
  for name in reader.TOKENIZER_FILES:
    if (source / name).exists():
      shutil.copyfile(source / name, destination / name)


def save(folder, weights: reader.Weights, tokenizer_dir=None) -> None:
  """Writes a model as a directory of ours, whole or not at all.

  Raises:
    ValueError: the folder is not empty.
    OSError: the disk is full, or the like; the folder is as it was.
  """
  with storage.whole(folder) as made:
    write_description(made, weights, tokenizer_dir)
    orbax_arrays.save(made / 'params', weights.params)


def write(
  folder,
  weights: reader.Weights,
  format: str,
  tokenizer_dir=None,
  *,
  fresh: bool = False,
) -> None:
  """Writes a model in a format, whole or not at all.

  Args:
    folder: a new or empty directory.
    weights: the model; its table at its real size.
    format: 'orbax' (ours) or 'hf' (Hugging Face's files).
    tokenizer_dir: folder of the tokenizer's files, which are copied.
    fresh: hf only: today's key names instead of the source's own.

  Raises:
    ValueError: the folder is not empty, or there is no such format.
    OSError: the disk is full, or the like; the folder is as it was.
  """
  if format == 'orbax':
    save(folder, weights, tokenizer_dir)
  elif format == 'hf':
    reader.write(folder, weights, fresh=fresh, tokenizer_dir=tokenizer_dir)
  else:
    raise ValueError(f"format {format!r} is not 'hf' or 'orbax'")


def is_ours(folder) -> bool:
  return (pathlib.Path(folder) / MODEL).exists()


def read(
  path,
  *,
  head: str | None = reader.STORED,
  revision: str | None = None,
  lazily: bool = False,
  timer: dict | None = None,
) -> tuple[reader.Weights, pathlib.Path]:
  """Reads a directory of any kind, or a model by its hub name.

  Args:
    path: our directory, a workdir (its best step, else its latest), a
      Hugging Face directory, an original one of fairseq or COMET, or a hub
      name such as 'FacebookAI/xlm-roberta-base'.
    head: the head that is wanted, None for the body alone. One that the
      checkpoint does not hold is left out, for the caller to make.
    revision: of a hub name: a branch, tag or commit.
    lazily: leave the arrays on the disk, to be read part by part.
    timer: filled with seconds by phase, where given.

  Returns:
    The weights, vocabulary at its real size, and the folder that holds the
    tokenizer's files.

  Raises:
    ValueError: nothing there, or not a model of this family.
  """
  folder = pathlib.Path(path)
  if revision is not None and folder.exists():
    raise ValueError(f'revision={revision!r}, but {folder} is a directory')
  # workdir/checkpoints/500 is a step of workdir.
  step = folder.parent.name == 'checkpoints' and folder.name.isdigit()
  if step and is_ours(folder.parent.parent):
    with reader.timed(timer, 'read'):
      ours = _read_ours(folder.parent.parent, lazily, int(folder.name))
      return _with_head(ours[0], head), ours[1]
  if is_ours(folder):
    with reader.timed(timer, 'read'):
      ours = _read_ours(folder, lazily)
      return _with_head(ours[0], head), ours[1]
  if not folder.exists():
    folder = hub.download(str(path), revision, reader.TOKENIZER_FILES)
  if original := comet.find(folder):
    return _with_head(comet.read(original, lazily=lazily), head), original
  if parts := fairseq.parts(folder):
    return _with_head(fairseq.read(parts, lazily=lazily), head), parts[0].parent
  if runs := sorted(x.name for x in folder.glob('runs/*') if is_ours(x)):
    raise ValueError(
      f'{folder} is the workdir of a whole benchmark: name one of its models, '
      f'{folder / "runs" / runs[0]}'
      + (f' or another of {", ".join(runs[1:])}' if runs[1:] else '')
    )
  weights = reader.read(folder, head=head, lazily=lazily, timer=timer)
  return weights, sentence_transformers.body(folder)


def _with_head(weights: reader.Weights, head: str | None) -> reader.Weights:
  """The weights with the head that is wanted, or with none."""
  if head in (reader.STORED, weights.head):
    return weights
  if head in heads.LANGUAGE and weights.head in heads.LANGUAGE:
    config = dataclasses.replace(weights.config, causal=head == 'causal')
    return dataclasses.replace(weights, config=config, head=head)
  params = {k: v for k, v in weights.params.items() if k != 'head'}
  source = weights.source and {**weights.source, 'left': ['head']}
  config = dataclasses.replace(
    weights.config, estimator=(), estimator_norm=False
  )
  return dataclasses.replace(
    weights,
    config=config,
    params=params,
    head=None,
    labels=None,
    tied=True,
    source=source,
  )


def with_fresh(
  weights: reader.Weights, head: str, labels, seed: int, where: str
) -> reader.Weights:
  """The weights with a new head; warns which parameters are new.

  Raises:
    ValueError: labels that the head does not take, or that are no names.
  """
  if isinstance(labels, str):
    raise ValueError(f'labels must be a list: write [...], not {labels!r}')
  if (head in heads.LABELLED) != (labels is not None and len(labels) > 0):
    need = 'needs labels' if head in heads.LABELLED else 'takes no labels'
    raise ValueError(f'a new {head} head {need}: the names of its classes')
  labels = tuple(labels) if labels is not None else None
  if labels is not None and (
    len(set(labels)) < len(labels)
    or not all(isinstance(x, str) for x in labels)
  ):
    raise ValueError(f'labels {labels!r} should be different names')
  make = lambda key: heads.init(
    weights.config, key, head, len(labels or ()), tied=True
  )['head']
  new = jax.device_get(jax.jit(make)(jax.random.key(seed)))
  params = dict(weights.params)
  if head == 'choose' and 'pooler' in params:
    # Its dense layer is the pooler, as in Hugging Face's class.
    pooler = params.pop('pooler')
    kept, new = pooler, {'out': new['out']}
  else:
    kept = {}
  names = [
    'head/' + jax.tree_util.keystr(path, simple=True, separator='/')
    for path, _ in jax.tree_util.tree_leaves_with_path(new)
  ]
  warnings.warn(
    f'{where}: new, with random weights: {", ".join(names)}', stacklevel=3
  )
  params['head'] = {**kept, **new}
  config = weights.config
  if head in heads.LANGUAGE:  # a causal one wants a causal body
    config = dataclasses.replace(config, causal=head == 'causal')
  return dataclasses.replace(
    weights, config=config, params=params, head=head, labels=labels
  )


def _read_ours(folder: pathlib.Path, lazily: bool, step: int | None = None):
  try:
    facts = reader.load_json(folder / MODEL)
    config, how = Config(**facts['config']), facts.get('pooling')
    heads.make(config, facts['head'], len(facts['labels'] or ()) or 1)
    weights = reader.Weights(
      config=config,
      params={},
      head=facts['head'],
      labels=tuple(facts['labels']) if facts['labels'] else None,
      tied=facts['tied'],
      source=facts['source'],
      pooling=how and sentence_transformers.Pooling(**how),
    )
  except (KeyError, TypeError, AttributeError, ValueError) as e:
    raise ValueError(
      f'{folder / MODEL} does not describe a model of ours: {e!r}'
    ) from e
  saved = folder / 'params'
  if step is not None or not saved.exists():
    with checkpoint_steps.Manager(folder, read_only=True) as manager:
      if step is None:
        step = manager.best_step()
      if step is None:
        raise ValueError(f'{folder} holds no finished checkpoint yet')
    saved = folder / 'checkpoints' / str(step) / 'params'
  params = orbax_arrays.find(saved) if lazily else orbax_arrays.read(saved)
  rows = params['encoder']['embed']['tokens'].shape[0]
  if rows not in (config.vocab_size, -(-config.vocab_size // 1024) * 1024):
    raise ValueError(
      f'{folder}: the token table has {rows} rows, and {MODEL} says vocab_size '
      f'= {config.vocab_size} (training fills it up to a multiple of 1,024)'
    )
  params = heads.with_rows(params, weights.head, config.vocab_size)
  weights = dataclasses.replace(weights, params=params)
  check_shapes(weights, str(folder))
  return weights, folder / TOKENIZER


def check_shapes(weights: reader.Weights, where: str) -> None:
  """Raises ValueError where params are not what the config says."""
  classes = len(weights.labels or ()) or 1
  expected = jax.eval_shape(
    lambda key: heads.init(
      weights.config, key, weights.head, classes, weights.tied
    ),
    jax.random.key(0),
  )
  flat = {
    jax.tree_util.keystr(path, simple=True, separator='/'): leaf.shape
    for path, leaf in jax.tree_util.tree_leaves_with_path(expected)
  }
  for path, leaf in jax.tree_util.tree_leaves_with_path(weights.params):
    name = jax.tree_util.keystr(path, simple=True, separator='/')
    shape = flat.pop(name, None)
    if shape is not None and tuple(leaf.shape) != tuple(shape):
      raise ValueError(
        f'{where}: {name} has shape {tuple(leaf.shape)}, its config says '
        f'{tuple(shape)}'
      )
  if flat:
    raise ValueError(f'{where}: parameter {min(flat)} is missing')


def load_tokenizer(
  folder, rows: int | None = None
) -> Tokenizer | BpeTokenizer | None:
  """The tokenizer in a folder; None where it has none that we read.

  Raises:
    ValueError: it is not one of a table of `rows` rows.
  """
  return vocabulary.load(folder, rows)
