"""A model in files, whoever wrote it: what readers make and writers take."""

from collections.abc import Mapping, Sequence
import dataclasses
import math
import pathlib
from typing import Any
import warnings

import jax
import jax.numpy as jnp
import numpy as np

from xlmr_jax import heads
from xlmr_jax.checkpoints.arrays import DiskArray
from xlmr_jax.checkpoints.hf.names import takes_pooler
from xlmr_jax.compress import adapters
from xlmr_jax.data.tokenizers import folder
from xlmr_jax.data.tokenizers.hf_tokenizers import BpeTokenizer
from xlmr_jax.data.tokenizers.xlmr import FILE_NAME as SPM
from xlmr_jax.data.tokenizers.xlmr import Tokenizer
from xlmr_jax.model import Config

STORED = 'stored'  # the head that the files hold

# Files of a tokenizer, which are copied as they are.
TOKENIZER_FILES = (
  SPM,
  'tokenizer.json',
  'tokenizer_config.json',
  'special_tokens_map.json',
  'added_tokens.json',
  'vocab.json',
  'merges.txt',
  'vocab.txt',
  'bpe.codes',
  'dict.txt',
)


@dataclasses.dataclass(frozen=True)
class Pooling:
  """How texts become vectors.

  Attributes:
    how: 'cls' or 'mean'.
    normalize: whether vectors are scaled to length 1.
    max_length: the most tokens of a text; longer texts are cut. None: as many
      as the model holds.
    lowercase: whether texts are lower-cased first.
    prompts: what goes in front of a text, by name.
    default_prompt: the name of the prompt that is used unasked, or None.
    activation: 'tanh' or 'identity' after the layer params['projection'],
      between pooling and normalisation; None without one.
  """

  how: str
  normalize: bool = False
  max_length: int | None = None
  lowercase: bool = False
  prompts: dict[str, str] = dataclasses.field(default_factory=dict)
  default_prompt: str | None = None
  activation: str | None = None


@dataclasses.dataclass(frozen=True)
class Scoring:
  """How a cross-encoder makes a score of a pair.

  Attributes:
    activation: name of the function over its numbers, as the source spells it
      ('torch.nn.modules.activation.Sigmoid'). None: a sigmoid where it is one
      number, else none, as in sentence-transformers.
    max_length: the most tokens of a pair; longer ones are cut. None: as many
      as the model holds.
    prompts: what goes in front of a text, by name.
    default_prompt: the name of the prompt that is used unasked, or None.
  """

  activation: str | None = None
  max_length: int | None = None
  prompts: dict[str, str] = dataclasses.field(default_factory=dict)
  default_prompt: str | None = None


@dataclasses.dataclass(frozen=True)
class Weights:
  """A model and all that belongs to it.

  Attributes:
    config: the model's facts; a reader leaves how to run it at Config's
      defaults.
    params: {'encoder': ..., 'head': ..., 'pooler': ..., 'projection': ...},
      the last three where the source has them: arrays of numpy, of
      JAX, or still in files, in the dtypes of the files, layers stacked,
      vocabulary at its real size.
    head: a name of heads.HEADS, or None.
    labels: names by id of a labelled head ('LABEL_0'... where nobody gave
      names).
    tied: the decoder is the token table; else params['head']['table'] is it.
    source: what Hugging Face's writer needs to give back the files that came
      in; plain JSON.
    pooling: how texts become vectors, where the source says so.
    scoring: how pairs get scores, where the source is a cross-encoder.
    tokenizer_dir: the folder that holds the tokenizer's files, or None.
    scheme: of a chain's labels (tasks/schemes.py); None where nobody says.
    adapter: of a model with low-rank updates (Config.lora): 'base', the model
      that they were made for, and what PEFT's files looked like; plain JSON.
    deciding: what was chosen on development examples: 'thresholds', the
      probability from which on each label is given, by id; 'null_threshold', by
      how much no answer must beat the best span to be given.
  """

  config: Config
  params: dict
  head: str | None = None
  labels: tuple[str, ...] | None = None
  tied: bool = True
  source: dict | None = None
  pooling: Pooling | None = None
  scoring: Scoring | None = None
  tokenizer_dir: pathlib.Path | None = None
  scheme: str | None = None
  adapter: dict | None = None
  deciding: dict[str, Any] = dataclasses.field(default_factory=dict)


def nest(leaves: Mapping[str, Any]) -> dict:
  """{'a/b': x} → {'a': {'b': x}}."""
  tree: dict = {}
  for path, leaf in leaves.items():
    *parents, last = path.split('/')
    node = tree
    for parent in parents:
      node = node.setdefault(parent, {})
    node[last] = leaf
  return tree


def flatten(params: Mapping[str, Any]) -> dict[str, Any]:
  """{'a': {'b': x}} → {'a/b': x}."""
  return {
    jax.tree_util.keystr(path, simple=True, separator='/'): leaf
    for path, leaf in jax.tree_util.tree_leaves_with_path(params)
  }


def load_tokenizer(weights: Weights) -> Tokenizer | BpeTokenizer | None:
  """The model's tokenizer; None where its folder has none that is read here.

  Raises:
    ValueError: it is the tokenizer of another model.
  """
  if weights.tokenizer_dir is None:
    return None
  model_type = ((weights.source or {}).get('config') or {}).get('model_type')
  return folder.load(
    weights.tokenizer_dir, weights.config.vocab_size, model_type
  )


def with_rows(params: dict, head: str | None, rows: int) -> dict:
  """The same parameters with token tables of `rows` rows.

  It adds zeros (training pads the vocabulary to a multiple of 1,024) or cuts
  (for writing). Arrays of the right size are passed on, not copied, and those
  that lie in files stay there.
  """
  dims = heads.plan(None, head)

  def resize(path, array):
    names = dims['/'.join(key.key for key in path)]
    if 'vocab' not in names:
      return array
    axis = names.index('vocab')
    size = array.shape[axis]
    if size == rows:
      return array
    if isinstance(array, DiskArray):
      return array.resized(axis, rows)
    if size > rows:
      return array[(slice(None),) * axis + (slice(rows),)]
    xp = np if isinstance(array, np.ndarray) else jnp
    width = [(0, 0)] * array.ndim
    width[axis] = (0, rows - size)
    return xp.pad(array, width)

  return jax.tree_util.tree_map_with_path(resize, params)


def on_host(weights: Weights) -> Weights:
  """The weights as files hold them: on no device, the table at its real size.

  Arrays that lie in files stay there.
  """
  config = dataclasses.replace(weights.config, vocab_multiple=1)
  params = with_rows(weights.params, weights.head, config.vocab_size)
  params = jax.tree.map(
    lambda x: x if isinstance(x, DiskArray) else np.asarray(x), params
  )
  return dataclasses.replace(weights, config=config, params=params)


def merged(weights: Weights) -> Weights:
  """The plain model that computes the same, without adapters."""
  if not weights.config.lora:
    return weights
  config, params = adapters.merge(weights.config, weights.params)
  return dataclasses.replace(
    weights, config=config, params=params, adapter=None
  )


def with_head(weights: Weights, head: str | None) -> Weights:
  """The weights with the head that is wanted, or with none.

  Args:
    weights: of a reader.
    head: a name of heads.HEADS, None for the body alone, or STORED.
  """
  if head in (STORED, weights.head) or weights.head is None:
    return weights
  if heads.same_parameters(head, weights.head):
    causal = heads.HEADS[head].causal
    config = dataclasses.replace(weights.config, causal=causal)
    return dataclasses.replace(weights, config=config, head=head, deciding={})
  params = {k: v for k, v in weights.params.items() if k != 'head'}
  if 'pooler' in params:  # without the scores of two sentences
    params['pooler'] = {'dense': params['pooler']['dense']}
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
    scheme=None,
    tied=True,
    source=source,
    scoring=None,
    deciding={},
  )


def with_fresh(
  weights: Weights,
  head: str,
  labels: Sequence[str] | None,
  seed: int,
  where: str,
) -> Weights:
  """The weights with a new head; warns which parameters are new.

  Args:
    weights: without a head.
    head: a name of heads.HEADS.
    labels: names of a labelled head's classes.
    seed: of the new parameters.
    where: the checkpoint's name, for the warning.

  Raises:
    ValueError: labels that the head does not take, or that are no names.
  """
  if isinstance(labels, str):
    raise ValueError(f'labels must be a list: write [...], not {labels!r}')
  row = heads.HEADS[head]
  if row.labelled != (labels is not None and len(labels) > 0):
    need = 'needs labels' if row.labelled else 'takes no labels'
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
  kept = {}
  if takes_pooler(weights.config.bert, head) and 'pooler' in params:
    # Its dense layer is the pooler, as in Hugging Face's class.
    kept, new = params.pop('pooler'), {'out': new['out']}
  names = ', '.join(f'head/{name}' for name in flatten(new))
  warnings.warn(f'{where}: new, with random weights: {names}', stacklevel=3)
  params['head'] = {**kept, **new}
  config = weights.config
  if row.language:  # a causal head wants a causal body
    config = dataclasses.replace(config, causal=row.causal)
  return dataclasses.replace(
    weights,
    config=config,
    params=params,
    head=head,
    labels=labels,
    tied=True,
    deciding={},
  )


def check_deciding(
  deciding: Any, labels: tuple[str, ...] | None, where: str
) -> dict[str, Any]:
  """What a file says of `Weights.deciding`, as it should be.

  Raises:
    ValueError: it is no object, its thresholds are not one for each label, or
      its null_threshold is no number.
  """
  if not isinstance(deciding, dict):
    raise ValueError(f'{where} should be an object, not {deciding!r}')
  null = deciding.get('null_threshold', 0.0)
  if type(null) not in (int, float) or not math.isfinite(null):
    raise ValueError(f'{where}: null_threshold = {null!r} is no number')
  if 'thresholds' not in deciding:
    return deciding
  given, count = deciding['thresholds'], len(labels or ())
  if (
    not isinstance(given, list | tuple)
    or len(given) != count
    or not all(type(x) in (int, float) and 0 <= x <= 1 for x in given)
  ):
    raise ValueError(
      f'{where}: thresholds = {given!r} should be {count} numbers from 0 to 1, '
      'one for each label by its id'
    )
  return {**deciding, 'thresholds': tuple(map(float, given))}


def check_shapes(weights: Weights, where: str) -> None:
  """Raises ValueError where params are not what the config says."""
  classes = len(weights.labels or ()) or 1
  expected = flatten(
    jax.eval_shape(
      lambda key: heads.init(
        weights.config, key, weights.head, classes, weights.tied
      ),
      jax.random.key(0),
    )
  )
  for name, leaf in flatten(weights.params).items():
    want = expected.pop(name, None)
    if want is not None and tuple(leaf.shape) != tuple(want.shape):
      raise ValueError(
        f'{where}: {name} has shape {tuple(leaf.shape)}, its config says '
        f'{tuple(want.shape)}'
      )
  if expected:
    raise ValueError(f'{where}: parameter {min(expected)} is missing')
