"""Original checkpoints of RoBERTa and XLM-R, as fairseq saved them.

A folder with `model.pt`, or with `model-model_part-0.pt`, `-1.pt`, ... of a
model-parallel run, becomes the same Weights that Hugging Face's files give.
Three names changed over the years, each on its own: decoder → encoder,
emb_layer_norm → layernorm_embedding, and in_proj (query, key and value in one
matrix) → three projections. All spellings are read; an unknown name is an
error.
"""

from collections.abc import Mapping, Sequence
import dataclasses
import pathlib
import re
import time
from typing import Any
import warnings

import numpy as np

from xlmr_jax.checkpoints import arrays
from xlmr_jax.checkpoints.arrays import Lazy
from xlmr_jax.checkpoints.formats import safetensors_file, torch_file
from xlmr_jax.checkpoints.formats.safetensors_file import Tensor
from xlmr_jax.checkpoints.hf import names as hf_names
from xlmr_jax.checkpoints.hf import reader
from xlmr_jax.checkpoints.hf.files import some
from xlmr_jax.checkpoints.weights import STORED, Weights, nest, with_head
from xlmr_jax.model import Config

MODEL, PART = 'model.pt', re.compile(r'(.*)-model_part-(\d+)\.pt')
TYPES = 'embeddings.token_type_embeddings.weight'  # fairseq has none

# Heads per model width, where the settings are lost: base, large, XL, XXL.
HEADS = {768: 12, 1024: 16, 2560: 32, 4096: 32}

# Their name after sentence_encoder. → Hugging Face's, for post-norm bodies.
NAMES = {
  'embed_tokens': 'embeddings.word_embeddings',
  'embed_positions': 'embeddings.position_embeddings',
  'layernorm_embedding': 'embeddings.LayerNorm',
  'self_attn.q_proj': 'attention.self.query',
  'self_attn.k_proj': 'attention.self.key',
  'self_attn.v_proj': 'attention.self.value',
  'self_attn.out_proj': 'attention.output.dense',
  'self_attn_layer_norm': 'attention.output.LayerNorm',
  'fc1': 'intermediate.dense',
  'fc2': 'output.dense',
  'final_layer_norm': 'output.LayerNorm',
}
PRE_NORM = {
  **NAMES,
  'self_attn_layer_norm': 'attention.self_attn_layer_norm',
  'final_layer_norm': 'LayerNorm',
  'layer_norm': 'encoder.LayerNorm',
}
PROJECTIONS = ('q_proj', 'k_proj', 'v_proj')  # in the order of in_proj

# How a model-parallel run cuts a tensor (fairseq/model_parallel): rows, or
# columns; every other one is whole in each part.
ROWS = re.compile(
  r'embed_tokens\.|[qkv]_proj\.|fc1\.|lm_head\.(weight$|dense\.)'
  r'|classification_heads\.[^.]+\.dense\.'
)
COLUMNS = re.compile(r'(self_attn\.out_proj|fc2)\.weight$')


@dataclasses.dataclass(frozen=True)
class Glued:
  """A tensor, in one piece or in those of a model-parallel run.

  Attributes:
    pieces: the tensors, and where each starts in the whole.
    shape: of the whole.
  """

  pieces: tuple[tuple[Tensor, tuple[int, ...]], ...]
  shape: tuple[int, ...]

  @property
  def dtype(self) -> str:
    return self.pieces[0][0].dtype

  @property
  def file(self) -> pathlib.Path:
    return self.pieces[0][0].file


def parts(path) -> list[pathlib.Path]:
  """The files of an original checkpoint, in order; none if it is not one."""
  path = pathlib.Path(path)
  if path.is_file():
    folder, first = path.parent, path
  elif (path / 'config.json').exists():
    return []
  else:
    folder, first = path, path / MODEL
    if not first.is_file():
      first = next(iter(sorted(folder.glob('*-model_part-*.pt'))), None)
      if first is None:
        return []
  match = PART.fullmatch(first.name)
  if match is None:
    return [first]
  ranks = {}
  for file in folder.glob('*.pt'):
    other = PART.fullmatch(file.name)
    if other and other[1] == match[1]:
      ranks[int(other[2])] = file
  missing = set(range(max(ranks) + 1)) - ranks.keys()
  if missing:
    raise ValueError(_lacks(folder, match[1], min(missing)))
  return [ranks[rank] for rank in sorted(ranks)]


def recognise(path: pathlib.Path) -> bool:
  """Whether a path is an original checkpoint or its folder."""
  return bool(parts(path))


def read(
  path: pathlib.Path,
  *,
  head: str | None = STORED,
  lazily: bool = False,
  timer: dict[str, float] | None = None,
) -> Weights:
  """Reads an original checkpoint.

  Args:
    path: a checkpoint (of several parts, any) or its folder.
    head: the head that is wanted, as directory.read says.
    lazily: leave the arrays in the files.
    timer: gets the seconds of 'read' and 'transform'.

  Raises:
    ValueError: no such checkpoint, a key that is unknown or missing, or parts
      that do not belong together.
  """
  start = time.perf_counter()
  files = parts(path)
  states, held = [torch_file.read(file) for file in files], []
  for file, state in zip(files, states, strict=True):
    if not isinstance(state, dict) or not isinstance(state.get('model'), dict):
      raise ValueError(f'{file} is no checkpoint of fairseq: it has no model')
    held.append(_split(file, state['model']))
  _check_count(files, states[0])
  glued = _glue(files, held)
  pre_norm = 'sentence_encoder.layer_norm.weight' in glued
  if not pre_norm and not any('layernorm_embedding.' in k for k in glued):
    raise ValueError(
      f'{files[0]} has neither a LayerNorm behind the embeddings nor one '
      'behind the last layer: this body is not supported'
    )
  stored, glued = _choose_head(files[0], glued)
  config = _config(files[0], states[0], glued, pre_norm)
  renamed = {key: _rename(key, pre_norm) for key in glued}
  if unknown := [key for key, name in renamed.items() if name is None]:
    raise ValueError(f'{files[0]}: unknown key {some(unknown)}')
  names = {name: key for key, name in renamed.items() if name is not None}
  tensors = {name: glued[key] for name, key in names.items()}
  labels = None
  if stored == 'classify':
    bias = tensors.get('classifier.out_proj.bias')
    count = bias.shape[0] if bias else 0  # check says that it is missing
    labels = tuple(f'LABEL_{i}' for i in range(count))
  tied = stored != 'mlm' or _tied(tensors)
  rows = hf_names.table(config, stored, len(labels or ()), tied=tied)
  types = rows.pop(TYPES)
  reader.check(files[0], rows, tensors, names)
  leaves: Mapping[str, Any]
  leaves, _ = reader.gather(rows, tensors, lambda tensor: tensor.pieces)
  zeros: Any = Lazy(types.leaf, leaves['encoder/embed/tokens'].dtype, ())
  if not lazily:
    leaves, zeros = arrays.load(leaves, start, timer), np.asarray(zeros)
  params = nest({**leaves, types.path: zeros})
  folder = files[0].parent
  weights = Weights(config, params, stored, labels, tied, tokenizer_dir=folder)
  return with_head(weights, head)


def _check_count(files: Sequence[pathlib.Path], state: Mapping) -> None:
  """Raises ValueError where the last parts are missing."""
  match = PART.fullmatch(files[0].name)
  common = _get(state.get('cfg'), 'common')
  size = _get(state.get('args') or common, 'model_parallel_size') or 0
  if match is not None and size > len(files):
    raise ValueError(_lacks(files[0].parent, match[1], len(files)))


def _lacks(folder: pathlib.Path, stem: str, rank: int) -> str:
  return (
    f'{folder} holds parts of a model-parallel model, but not '
    f'{stem}-model_part-{rank}.pt'
  )


def _split(file: pathlib.Path, state: Mapping[str, Any]) -> dict[str, Tensor]:
  """One file's tensors under today's names, in_proj cut in three."""
  out: dict[str, Tensor] = {}
  for key, tensor in state.items():
    name = re.sub(r'^(encoder|decoder)\.', '', key)
    name = name.replace('.emb_layer_norm.', '.layernorm_embedding.')
    if name.endswith(('.version', '._float_tensor')):  # no parameters
      continue
    if not isinstance(tensor, Tensor):
      raise ValueError(f'{file}: {key!r} is no tensor')
    held = {name: tensor}
    if match := re.fullmatch(r'(.*self_attn\.)in_proj_(weight|bias)', name):
      if tensor.shape[0] % 3 or tensor.flipped:
        raise ValueError(f'{file}: {key!r} cannot be cut in three')
      shape = (tensor.shape[0] // 3, *tensor.shape[1:])
      size = tensor.nbytes // 3
      held = {
        f'{match[1]}{projection}.{match[2]}': dataclasses.replace(
          tensor, shape=shape, start=tensor.start + i * size, nbytes=size
        )
        for i, projection in enumerate(PROJECTIONS)
      }
    if twice := held.keys() & out.keys():
      raise ValueError(f'{file}: key {some(twice)} is set twice')
    out |= held
  return out


def _glue(
  files: Sequence[pathlib.Path], states: Sequence[Mapping[str, Tensor]]
) -> dict[str, Glued]:
  """The tensors of all parts as one model's."""
  out = {}
  for file, state in zip(files, states, strict=True):
    if wrong := state.keys() ^ states[0].keys():
      raise ValueError(
        f'{file} and {files[0].name} do not hold the same keys: {some(wrong)}'
      )
  for name in states[0]:
    held = [state[name] for state in states]
    first = held[0]
    axis = 0 if ROWS.search(name) else 1 if COLUMNS.search(name) else None
    if axis is None:
      for other in held[1:]:
        if not safetensors_file.same(first, other):
          raise ValueError(
            f'{other.file}: {name!r} is not that of {first.file.name}, and '
            'every part should have the same'
          )
    if axis is None or len(held) == 1:
      zero = (0,) * len(first.shape)
      out[name] = Glued(((first, zero),), first.shape)
      continue
    pieces, at = [], 0
    for tensor in held:
      if tensor.flipped or _cross(tensor, axis) != _cross(first, axis):
        raise ValueError(
          f'{tensor.file}: {name!r} cannot be glued to that of '
          f'{first.file.name}: it has the shape {tensor.shape} and the dtype '
          f'{tensor.dtype}' + ', and lies transposed' * tensor.flipped
        )
      starts = [0] * len(tensor.shape)
      starts[axis] = at
      at += tensor.shape[axis]
      pieces.append((tensor, tuple(starts)))
    shape = list(first.shape)
    shape[axis] = at
    out[name] = Glued(tuple(pieces), tuple(shape))
  return out


def _cross(tensor: Tensor, axis: int):
  """What pieces must share to be joined along an axis."""
  shape = tensor.shape
  return tensor.dtype, len(shape) > axis, shape[:axis], shape[axis + 1 :]


def _choose_head(
  file: pathlib.Path, tensors: Mapping[str, Glued]
) -> tuple[str, dict[str, Glued]]:
  """The head, and the tensors without those of the other one.

  A model that was fine-tuned still carries the language model's head, which
  nobody trained along.
  """
  names = {
    key.split('.')[1]
    for key in tensors
    if key.startswith('classification_heads.')
  }
  if not names:
    return 'mlm', dict(tensors)
  if len(names) > 1:
    raise ValueError(
      f'{file} has {len(names)} classification heads ({", ".join(names)}), '
      'and a model here has one'
    )
  left = [key for key in tensors if key.startswith('lm_head.')]
  if left:
    warnings.warn(
      f'{file}: read with its classification head {names.pop()!r}; left out: '
      f'{", ".join(left)}',
      stacklevel=4,
    )
  return 'classify', {k: v for k, v in tensors.items() if k not in left}


def _rename(key: str, pre_norm: bool) -> str | None:
  """Their key as Hugging Face's files spell it; None for an unknown one."""
  names = PRE_NORM if pre_norm else NAMES
  stem, _, leaf = key.rpartition('.')
  if key == 'lm_head.weight':
    return hf_names.language_keys(bert=False).decoder
  if key == 'lm_head.bias' or stem in ('lm_head.dense', 'lm_head.layer_norm'):
    return key
  if match := re.fullmatch(r'classification_heads\.[^.]+\.(\w+)', stem):
    return f'classifier.{match[1]}.{leaf}'
  if match := re.fullmatch(r'sentence_encoder\.layers\.(\d+)\.(.+)', stem):
    name = names.get(match[2])
    return name and f'encoder.layer.{match[1]}.{name}.{leaf}'
  match = re.fullmatch(r'sentence_encoder\.(\w+)', stem)
  name = match and names.get(match[1])
  return name and f'{name}.{leaf}'


def _tied(tensors: Mapping[str, Glued]) -> bool:
  decoder = tensors.get(hf_names.language_keys(bert=False).decoder)
  words = tensors['embeddings.word_embeddings.weight']
  return decoder is None or all(
    safetensors_file.same(a, b)
    for (a, _), (b, _) in zip(decoder.pieces, words.pieces, strict=True)
  )


def _config(
  file: pathlib.Path,
  state: Mapping,
  tensors: Mapping[str, Glued],
  pre_norm: bool,
) -> Config:
  """Sizes from the tensors; the rest from the settings beside them."""
  settings = state.get('args')
  if settings is None:
    settings = _get(state.get('cfg') or {}, 'model') or {}

  def shape(name, axes):
    if name not in tensors:
      raise ValueError(f'{file}: missing key {name!r}')
    return tensors[name].shape[:axes]

  vocab, width = shape('sentence_encoder.embed_tokens.weight', 2)
  (positions,) = shape('sentence_encoder.embed_positions.weight', 1)
  (ff,) = shape('sentence_encoder.layers.0.fc1.weight', 1)
  layers = {
    int(match[1])
    for key in tensors
    if (match := re.match(r'sentence_encoder\.layers\.(\d+)\.', key))
  }
  count = _get(settings, 'encoder_attention_heads') or HEADS.get(width)
  if count is None:
    raise ValueError(
      f'{file} does not say how many attention heads it has, and its width '
      f'{width} is none of {", ".join(map(str, HEADS))}'
    )
  known = {
    'activation': _get(settings, 'activation_fn'),
    'dropout': _get(settings, 'dropout'),
    'attention_dropout': _get(settings, 'attention_dropout'),
  }
  return Config(
    vocab_size=vocab,
    num_layers=max(layers) + 1,
    model_dim=width,
    num_heads=int(count),
    ff_dim=ff,
    max_positions=positions,
    pre_norm=pre_norm,
    **{name: value for name, value in known.items() if value is not None},
  )


def _get(settings, name: str):
  """A setting, of a dict or of an object."""
  if isinstance(settings, Mapping):
    return settings.get(name)
  return getattr(settings, '__dict__', {}).get(name)
