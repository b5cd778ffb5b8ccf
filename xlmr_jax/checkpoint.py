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
import json
import pathlib
import shutil
import warnings

import jax
import orbax.checkpoint as ocp

from xlmr_jax import comet, fairseq, heads, hf, hub, pooling, stored, tensors
from xlmr_jax.data import vocabulary
from xlmr_jax.data.bpe import BpeTokenizer
from xlmr_jax.data.tokenizer import Tokenizer
from xlmr_jax.model import Config

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


def describe(weights: hf.Weights) -> dict:
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


def write_description(folder, weights: hf.Weights, tokenizer_dir) -> None:
  """model.json and tokenizer/ of a directory."""
  folder = pathlib.Path(folder)
  text = json.dumps(describe(weights), indent=2, ensure_ascii=False)
  (folder / MODEL).write_text(text + '\n')
  if tokenizer_dir is not None:
    copy_tokenizer(tokenizer_dir, folder / TOKENIZER)


def copy_tokenizer(source, destination) -> None:
  """Copies the tokenizer's files that `source` has."""
  source, destination = pathlib.Path(source), pathlib.Path(destination)
  destination.mkdir(exist_ok=True)
  for name in hf.TOKENIZER_FILES:
    if (source / name).exists():
      shutil.copyfile(source / name, destination / name)


def save(folder, weights: hf.Weights, tokenizer_dir=None) -> None:
  """Writes a model as a directory of ours, whole or not at all.

  Raises:
    ValueError: the folder is not empty.
    OSError: the disk is full, or the like; the folder is as it was.
  """
  with tensors.whole(folder) as made:
    write_description(made, weights, tokenizer_dir)
    stored.save(made / 'params', weights.params)


def is_ours(folder) -> bool:
  return (pathlib.Path(folder) / MODEL).exists()


def read(
  path,
  *,
  head: str | None = hf.STORED,
  revision: str | None = None,
  lazily: bool = False,
  timer: dict | None = None,
) -> tuple[hf.Weights, pathlib.Path]:
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
    with hf.timed(timer, 'read'):
      ours = _read_ours(folder.parent.parent, lazily, int(folder.name))
      return _with_head(ours[0], head), ours[1]
  if is_ours(folder):
    with hf.timed(timer, 'read'):
      ours = _read_ours(folder, lazily)
      return _with_head(ours[0], head), ours[1]
  if not folder.exists():
    folder = hub.download(str(path), revision, hf.TOKENIZER_FILES)
  if original := comet.find(folder):
    return _with_head(comet.read(original, lazily=lazily), head), original
  if parts := fairseq.parts(folder):
    return _with_head(fairseq.read(parts, lazily=lazily), head), parts[0].parent
  weights = hf.read(folder, head=head, lazily=lazily, timer=timer)
  return weights, pooling.body(folder)


def _with_head(weights: hf.Weights, head: str | None) -> hf.Weights:
  """The weights with the head that is wanted, or with none."""
  if head in (hf.STORED, weights.head):
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
  weights: hf.Weights, head: str, labels, seed: int, where: str
) -> hf.Weights:
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
    facts = hf.load_json(folder / MODEL)
    config, how = Config(**facts['config']), facts.get('pooling')
    heads.make(config, facts['head'], len(facts['labels'] or ()) or 1)
    weights = hf.Weights(
      config=config,
      params={},
      head=facts['head'],
      labels=tuple(facts['labels']) if facts['labels'] else None,
      tied=facts['tied'],
      source=facts['source'],
      pooling=how and pooling.Pooling(**how),
    )
  except (KeyError, TypeError, AttributeError, ValueError) as e:
    raise ValueError(
      f'{folder / MODEL} does not describe a model of ours: {e!r}'
    ) from e
  saved = folder / 'params'
  if step is not None or not saved.exists():
    with Manager(folder, read_only=True) as manager:
      if step is None:
        step = manager.best_step()
      if step is None:
        raise ValueError(f'{folder} holds no finished checkpoint yet')
    saved = folder / 'checkpoints' / str(step) / 'params'
  params = stored.find(saved) if lazily else stored.read(saved)
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


def check_shapes(weights: hf.Weights, where: str) -> None:
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


class Manager:
  """Steps of a training run: the latest and the best stay, the rest go.

  What a step holds: `params`, `state` (optimizer, counters) and `meta`, plain
  JSON with the best step and score so far. Retention is ours: orbax's
  max_to_keep together with best_fn deletes the latest step.
  """

  def __init__(self, workdir, read_only: bool = False):
    folder = pathlib.Path(workdir).absolute() / 'checkpoints'
    options = ocp.CheckpointManagerOptions(
      create=not read_only,
      read_only=read_only,
      enable_async_checkpointing=not read_only,
    )
    self._folder = folder
    self._latest, self._best = None, None  # steps that stay, once known
    self._empty = read_only and not folder.exists()
    if self._empty:
      return
    self._manager = ocp.CheckpointManager(
      folder,
      options=options,
      # Named here, or the metadata of a step another process wrote is None.
      item_handlers={
        'params': ocp.StandardCheckpointHandler(),
        'state': ocp.StandardCheckpointHandler(),
        'meta': ocp.JsonCheckpointHandler(),
      },
    )

  def __enter__(self):
    return self

  def __exit__(self, *_):
    self.close()

  def close(self) -> None:
    """Waits for the save that runs, and cleans up.

    Raises:
      OSError: it could not be written; the step before it is still there.
    """
    if self._empty:
      return
    try:
      self._finish()
      self._prune()
    finally:
      self._manager.close()

  def _finish(self) -> None:
    # The step that is being saved counts as one of them.
    steps = [s for s in self._manager.all_steps() if s != self._latest]
    whole = f'; step {max(steps)} is whole' if steps else ''
    with stored.plain_errors(
      str(self._folder), f' (saving a checkpoint{whole})'
    ):
      self._manager.wait_until_finished()

  def latest_step(self) -> int | None:
    return None if self._empty else self._manager.latest_step()

  def best_step(self) -> int | None:
    """The best step by the latest one's account, else the latest."""
    latest = self.latest_step()
    if latest is None:
      return None
    best = self.meta(latest).get('best_step')
    return best if best in self._manager.all_steps() else latest

  def meta(self, step: int) -> dict:
    args = ocp.args.Composite(meta=ocp.args.JsonRestore())
    return self._manager.restore(step, args=args)['meta']

  def save(self, step: int, params, state, meta: dict) -> None:
    """Saves in the background; older steps go once this one is whole.

    Of a step that is there already only `meta` is written again.

    Raises:
      OSError: this save or the one before it could not be written.
    """
    self._finish()
    self._prune()
    self._latest, self._best = step, meta.get('best_step')
    if step in self._manager.all_steps():
      if jax.process_index() == 0:
        path = self._folder / str(step) / 'meta' / 'metadata'
        new = path.with_suffix('.new')
        new.write_text(json.dumps(meta))
        new.replace(path)
      return
    with stored.plain_errors(str(self._folder)):
      self._manager.save(
        step,
        args=ocp.args.Composite(
          params=ocp.args.StandardSave(params),
          state=ocp.args.StandardSave(state),
          meta=ocp.args.JsonSave(meta),
        ),
        force=True,
      )

  def _prune(self) -> None:
    """Deletes what is neither latest nor best, once the latest is whole."""
    steps = self._manager.all_steps()
    if self._latest not in steps:
      return
    for step in steps:
      if step not in (self._latest, self._best):
        self._manager.delete(step)

  def restore(self, step: int, params, state) -> tuple[dict, dict, dict]:
    """(params, state, meta) of a step, in the shardings asked for.

    Args:
      step: a saved step.
      params: ShapeDtypeStructs with shardings.
      state: the same for the rest.

    Raises:
      ValueError: another model's, vocabulary's or dtype's checkpoint.
    """
    stored = self._manager.item_metadata(step)
    for item, wanted in (('params', params), ('state', state)):
      _check_same(stored[item].tree, wanted, f'checkpoint {step}, {item}')
    got = self._manager.restore(
      step,
      args=ocp.args.Composite(
        params=ocp.args.StandardRestore(params),
        state=ocp.args.StandardRestore(state),
        meta=ocp.args.JsonRestore(),
      ),
    )
    self._latest, self._best = step, got['meta'].get('best_step')
    return got['params'], got['state'], got['meta']


def _check_same(stored, wanted, where: str) -> None:
  """Names the first leaf that differs; orbax casts dtypes silently."""

  def flat(tree):
    return {
      jax.tree_util.keystr(path, simple=True, separator='/'): leaf
      for path, leaf in jax.tree_util.tree_leaves_with_path(tree)
    }

  stored, wanted = flat(stored), flat(wanted)
  for name in sorted(stored.keys() ^ wanted.keys()):
    side = 'the checkpoint' if name in wanted else 'this model'
    raise ValueError(f'{where}: {side} has no {name}: another model wrote it')
  for name, leaf in wanted.items():
    other = stored[name]
    for fact in ('shape', 'dtype'):
      mine, theirs = getattr(leaf, fact), getattr(other, fact)
      if mine != theirs:
        raise ValueError(
          f'{where}: {name} is {fact} {theirs}, this run needs {mine}: '
          'another model, vocabulary or dtype wrote it'
        )
