"""COMET-Kiwi as Unbabel publishes it: quality estimation of translations.

  hparams.yaml            the settings, by COMET's words
  checkpoints/model.ckpt  a checkpoint of PyTorch Lightning

become the same Weights that Hugging Face's files give, with the head
`estimate` (Rei et al. 2022, arXiv:2209.06243). Only `unified_metric` models of
two segments without word tags have that head; another network is refused with
the reason.

An example is the pair (translation, source), the translation first:

>>> m = xlmr_jax.load('wmt22-cometkiwi-da')
>>> m.logits([('Das Haus ist rot.', 'The house is red.')])  # [[0.86]], say

COMET cuts a pair at 512 tokens, and thereby loses the last </s>; here a pair
that is too long is an error, and the caller cuts it. The directory
has no tokenizer: put that of hparams.yaml's `pretrained_model` into it, which
is XLM-R's in all of them.
"""

from collections.abc import Mapping
import pathlib
import re
import time
from typing import Any

from xlmr_jax.checkpoints import arrays, fairseq
from xlmr_jax.checkpoints.formats import torch_file
from xlmr_jax.checkpoints.formats.safetensors_file import Tensor
from xlmr_jax.checkpoints.formats.torch_pickle import PlainObject
from xlmr_jax.checkpoints.hf import config_json, reader
from xlmr_jax.checkpoints.hf import names as hf_names
from xlmr_jax.checkpoints.weights import STORED, Weights, nest, with_head
from xlmr_jax.model import Config

SETTINGS, CHECKPOINT = 'hparams.yaml', 'checkpoints/model.ckpt'
BODY = 'encoder.model.'  # their name of Hugging Face's body
TAGGER = 'hidden2tag'

# Setting → (values that are read, COMET's default, what any other one means).
# `pool` is not among them: a unified metric reads it and takes <s>.
KNOWN: Mapping[str, tuple[tuple, Any, str]] = {
  'encoder_model': (
    ('XLM-RoBERTa', 'XLM-RoBERTa-XL'),
    'XLM-RoBERTa',
    "its body is not XLM-R's",
  ),
  'sent_layer': (('mix',), 'mix', 'it does not mix the layers'),
  'input_segments': (
    (['mt', 'src'],),
    ['mt', 'src', 'ref'],
    'its score is put together from several inputs, or does without a source',
  ),
  'word_level_training': (
    (False,),
    False,
    f'it also tags words ({TAGGER}), and a model here has one head',
  ),
  'activations': (('Tanh', 'tanh'), 'Tanh', 'only tanh is supported'),
  'final_activation': (
    (None,),
    None,
    'a function behind the score is not supported',
  ),
  'layer_norm': ((True, False), True, 'it should be true or false'),
}
# class_identifier → why it is refused.
CLASSES = {
  'regression_metric': 'its estimator reads vectors of three texts that are '
  'encoded apart: translation, source and reference',
  'referenceless_regression_metric': 'its estimator reads vectors of two texts '
  'that are encoded apart',
  'ranking_metric': 'it has no estimator: it compares distances of vectors',
  'xcomet_metric': f'it also tags words ({TAGGER}), and a model here has one '
  'head',
}


def find(path) -> pathlib.Path | None:
  """The folder of a model of COMET's, given it or its checkpoint, or None."""
  path = pathlib.Path(path)
  if path.is_file() and path.match(CHECKPOINT):
    path = path.parent.parent
  known = (path / SETTINGS).is_file() and not (path / 'config.json').exists()
  return path if known else None


def recognise(path: pathlib.Path) -> bool:
  """Whether a path is a directory of COMET's, or its checkpoint."""
  return find(path) is not None


def read(
  path: pathlib.Path,
  *,
  head: str | None = STORED,
  lazily: bool = False,
  timer: dict[str, float] | None = None,
) -> Weights:
  """Reads a directory of COMET's; none of the checkpoint's code runs.

  Sizes come from the tensors; dropout has Config's default.

  Args:
    path: what `recognise` knows.
    head: the head that is wanted, as directory.read says.
    lazily: leave the arrays in the file.
    timer: gets the seconds of 'read' and 'transform'.

  Raises:
    ValueError: another network, or a file that is missing, corrupt, would run
      code, or has other keys or shapes.
  """
  start = time.perf_counter()
  folder = find(path) or path
  settings, file = _settings(folder / SETTINGS), folder / CHECKPOINT
  why = CLASSES.get(str(settings.get('class_identifier')), 'it is not known')
  _only(folder, settings, 'class_identifier', ('unified_metric',), why)
  config_json.check_mix(str(folder / SETTINGS), settings.get(config_json.MIX))
  if not file.is_file():
    raise ValueError(f'{folder} has {SETTINGS}, but no {CHECKPOINT}')
  held = torch_file.read(file)
  state = held.get('state_dict') if isinstance(held, dict) else None
  if not isinstance(state, dict):
    raise ValueError(f'{file} is no checkpoint of Lightning: no state_dict')
  known = _agreed(folder, settings, held.get('hyper_parameters'))
  tensors, names = _named(file, state)
  config = _config(file, tensors, known['layer_norm'])
  pooler = 'pooler.dense.weight' in tensors
  rows = hf_names.table(config, 'estimate', pooler=pooler)
  reader.check(file, rows, tensors, names)
  leaves, _ = reader.gather(rows, tensors, lambda tensor: [(tensor, None)])
  params = nest(leaves if lazily else arrays.load(leaves, start, timer))
  weights = Weights(config, params, 'estimate', tokenizer_dir=folder)
  return with_head(weights, head)


def _settings(file: pathlib.Path) -> dict[str, Any]:
  """hparams.yaml."""
  import yaml  # huggingface_hub needs it too

  try:
    held = yaml.safe_load(file.read_text(encoding='utf-8'))
  except (yaml.YAMLError, UnicodeDecodeError) as e:
    raise ValueError(f'{file} is not plain YAML: {e}') from e
  if not isinstance(held, dict):
    raise ValueError(f'{file} holds no settings')
  return held


def _only(folder, settings: Mapping, name: str, good: tuple, why: str) -> None:
  """Raises ValueError unless a setting has one of the good values."""
  value = settings.get(name)
  if not any(type(value) is type(x) and value == x for x in good):
    raise ValueError(f'{folder / SETTINGS}: {name} = {value!r}: {why}')


def _agreed(folder, settings: Mapping, inside: Any) -> dict[str, Any]:
  """The settings in KNOWN, by hparams.yaml and by the checkpoint's own copy.

  COMET itself reads the copy, and takes from hparams.yaml the class and how
  the layers are mixed, which COMET corrected only there.
  """
  if isinstance(inside, PlainObject):  # a dict of Lightning's own
    inside = dict(inside.items)
  inside = inside if isinstance(inside, dict) else {}
  known = {}
  for name, (good, default, why) in KNOWN.items():
    known[name] = settings.get(name, inside.get(name, default))
    if name in inside and inside[name] != known[name]:
      raise ValueError(
        f'{folder}: {name} is {known[name]!r} by {SETTINGS} and '
        f'{inside[name]!r} by {CHECKPOINT}: one of them is of another model'
      )
    _only(folder, known, name, good, why)
  return known


def _named(
  file: pathlib.Path, state: Mapping[Any, Any]
) -> tuple[dict[str, Tensor], dict[str, str]]:
  """Tensors by today's names of Hugging Face, and these names → their own."""
  tensors: dict[str, Tensor] = {}
  names: dict[str, str] = {}
  for key, tensor in state.items():
    if not isinstance(key, str) or not isinstance(tensor, Tensor):
      raise ValueError(f'{file}: {key!r} is no tensor')
    name = key.removeprefix(BODY)
    if name in hf_names.BUFFERS:
      continue
    if name in names:
      raise ValueError(
        f'{file}: key {name!r} is set twice, by {names[name]!r} and {key!r}'
      )
    tensors[name], names[name] = tensor, key
  if any(name.startswith(f'{TAGGER}.') for name in tensors):
    raise ValueError(
      f'{file} holds {TAGGER}, which tags words, beside the estimator, and a '
      'model here has one head'
    )
  return tensors, names


def _config(
  file: pathlib.Path, tensors: Mapping[str, Tensor], norm: bool
) -> Config:
  """Sizes by the tensors; heads by the width, as their shapes do not tell."""

  def shape(name: str, rank: int) -> tuple[int, ...]:
    if name not in tensors:
      known = f'{BODY}{name}' if name.startswith(hf_names.BODY) else name
      raise ValueError(f'{file}: missing key {known!r}')
    if len(tensors[name].shape) != rank:
      raise ValueError(f'{file}: {name!r} has the shape {tensors[name].shape}')
    return tensors[name].shape

  vocab, width = shape('embeddings.word_embeddings.weight', 2)
  positions, _ = shape('embeddings.position_embeddings.weight', 2)
  types, _ = shape('embeddings.token_type_embeddings.weight', 2)
  ff, _ = shape('encoder.layer.0.intermediate.dense.weight', 2)
  first, _ = shape('estimator.ff.0.weight', 2)
  second, _ = shape('estimator.ff.3.weight', 2)
  layers = {
    int(match[1])
    for name in tensors
    if (match := re.match(r'encoder\.layer\.(\d+)\.', name))
  }
  if width not in fairseq.HEADS:
    raise ValueError(
      f'{file} does not say how many attention heads it has, and its width '
      f'{width} is none of {", ".join(map(str, fairseq.HEADS))}'
    )
  return Config(
    vocab_size=vocab,
    num_layers=max(layers) + 1,
    model_dim=width,
    num_heads=fairseq.HEADS[width],
    ff_dim=ff,
    max_positions=positions,
    type_vocab_size=types,
    pre_norm='encoder.LayerNorm.weight' in tensors,
    estimator=(first, second),
    estimator_norm=norm,
  )
