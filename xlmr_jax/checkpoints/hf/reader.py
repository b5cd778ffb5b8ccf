"""Reads directories in Hugging Face's format.

config.json + weights → Weights: Config, our parameter tree, head, labels, and
a record of what the source looked like, from which `writer.write` gives it
back.

A key that is unknown, missing, set twice or of another shape is a ValueError
that names it. Nothing here imports transformers.
"""

import base64
from collections.abc import Callable, Mapping
import dataclasses
import pathlib
import re
import time
from typing import Any
import warnings

import numpy as np

from xlmr_jax import heads
from xlmr_jax.checkpoints import arrays
from xlmr_jax.checkpoints.arrays import FilePart, Lazy
from xlmr_jax.checkpoints.formats import safetensors_file
from xlmr_jax.checkpoints.formats.safetensors_file import DTYPES, Tensor
from xlmr_jax.checkpoints.hf import files, projection, sentence_transformers
from xlmr_jax.checkpoints.hf.config_json import (
  DECIDING,
  ESTIMATOR_SIZES,
  config_from_hf,
  label_names,
  tag_scheme,
)
from xlmr_jax.checkpoints.hf.files import Folder, some
from xlmr_jax.checkpoints.hf.names import (
  BUFFERS,
  HEADS,
  LOSS,
  NAMES,
  NUMBER,
  Row,
  canonical,
  head_starts,
  held_heads,
  language_keys,
  prefix,
  promised_head,
  suffixes,
  table,
)
from xlmr_jax.checkpoints.weights import (
  STORED,
  Weights,
  check_deciding,
  nest,
)
from xlmr_jax.model import Config

CONFIG = 'config.json'
GENERATION = 'generation_config.json'  # carried as it is
ADAPTER = 'adapter_config.json'


def recognise(path: pathlib.Path) -> bool:
  """Whether a path is a directory in Hugging Face's format."""
  names = (CONFIG, sentence_transformers.MODULES)
  return any((path / name).is_file() for name in names)


def read(
  path,
  *,
  head: str | None = STORED,
  lazily: bool = False,
  timer: dict[str, float] | None = None,
) -> Weights:
  """Reads a directory in Hugging Face's format.

  Args:
    path: holds config.json and model.safetensors or pytorch_model.bin, or
      shards with an index; or is a sentence-transformers directory.
    head: the head that is wanted; None for the body alone. A head that the
      files do not hold is left out of the parameters, for the caller to make.
    lazily: leave the arrays in the files (arrays.Lazy): a model larger than
      the memory is read part by part.
    timer: gets the seconds of 'read' and 'transform', as arrays.load says.

  Raises:
    ValueError: a file is missing, truncated or corrupt; config.json describes
      another kind of model; a key is unknown, missing or set twice; a shape or
      dtype is not what config.json says.
  """
  start = time.perf_counter()
  folder = Folder(path)
  if not folder.path.is_dir():
    raise ValueError(f'{folder.path} is not a directory')
  pooling, scoring, texts = sentence_transformers.read(folder)
  inner = sentence_transformers.body(folder)
  if not inner.parts and folder.has(GENERATION):
    texts[GENERATION] = folder.text(GENERATION)
  body = folder.path / inner
  config_json, config = _config(folder, inner)
  layout = files.find(folder, inner)

  names, dropped = _named(body, layout.tensors)
  _check_layers(body, config, names)
  tensors = {name: layout.tensors[key] for name, key in names.items()}
  stored, chosen, left = _choose(body, config, config_json, tensors, head)
  tensors = {name: t for name, t in tensors.items() if name not in left}
  if head != STORED and chosen != stored:  # masked as causal, or as a body
    config = dataclasses.replace(config, causal=heads.HEADS[chosen].causal)
  if not heads.HEADS[chosen].all_depths:
    config = dataclasses.replace(config, estimator=(), estimator_norm=False)
  elif not config.estimator:
    raise ValueError(f'{body / CONFIG}: {ESTIMATOR_SIZES} is missing')
  labels = label_names(config_json) if heads.HEADS[chosen].labelled else None
  tied, unused = _ties(config, config_json, tensors)
  row = heads.HEADS[chosen]

  rows = table(
    config,
    chosen,
    len(labels or ()),
    tied=tied,
    pooler=any(name.startswith('pooler.') for name in tensors),
    next_sentence=any(
      name.startswith(NAMES['pooler/next_sentence']) for name in tensors
    ),
  )
  beside = None
  if pooling and (dense := sentence_transformers.dense(folder)):
    activation, beside, more = projection.read(folder, dense, config.model_dim)
    pooling = dataclasses.replace(pooling, activation=activation)
    rows, tensors = rows | more, tensors | beside.tensors
    names |= {name: name for name in beside.tensors}
  check(body, rows, tensors, names)
  used = {name: t for name, t in tensors.items() if name not in unused}
  leaves: Mapping[str, Any]
  leaves, twice = gather(rows, used, lambda tensor: [(tensor, None)])
  if not lazily:
    leaves = arrays.load(leaves, start, timer)
  elif timer is not None:
    timer['read'] = time.perf_counter() - start
  source = {
    'config': config_json,
    'prefix': max(map(prefix, names.values())),
    'beside': {str(dense): beside.files} if beside else {},
    'tied': tied,
    'files': layout.files,
    'index': layout.index,
    'duplicates': [names[name] for name in twice],
    'dropped': dropped,
    'unused': {names[name]: data for name, data in unused.items()},
    'left': [names[name] for name in left],
    'head': stored,
    'texts': texts,
    'text': folder.text(inner / CONFIG),
    'body': str(inner),
  }
  deciding = check_deciding(
    config_json.get(DECIDING, {}) if chosen == stored else {},
    labels,
    f'{body / CONFIG}: {DECIDING}',
  )
  if labels and len(labels) == 1 and config_json.get('problem_type') == NUMBER:
    labels = None  # its score is a number, whatever the class is called
  scheme = None
  if heads.HEADS[chosen].chain:
    scheme = tag_scheme(config_json)
  return Weights(
    config=config,
    params=nest(leaves),
    head=chosen,
    labels=labels,
    tied=tied,
    source=source,
    pooling=pooling,
    scoring=scoring if row.labelled and not row.per_token else None,
    tokenizer_dir=body,
    scheme=scheme,
    deciding=deciding,
  )


def _config(
  folder: Folder, inner: pathlib.PurePath
) -> tuple[dict[str, Any], Config]:
  """config.json, and what it says."""
  body = folder.path / inner
  config_json = folder.json(inner / CONFIG)
  try:
    config = config_from_hf(config_json)
  except ValueError as e:
    reason = str(e).removeprefix(f'{CONFIG}: ')
    raise ValueError(f'{body / CONFIG}: {reason}') from e
  if folder.has(inner / ADAPTER):
    raise ValueError(
      f'{body} holds an adapter beside the model ({ADAPTER}), which would be '
      'left out: merge it into the weights, or move it away'
    )
  return config_json, config


def _named(
  folder: pathlib.Path, tensors: Mapping[str, Tensor]
) -> tuple[dict[str, str], list[str]]:
  """Today's spelling of a key → its own; and the keys that are dropped.

  Dropped are buffers and the weights of a training's loss.
  """
  names: dict[str, str] = {}
  dropped = []
  if adapters := [key for key in tensors if '.lora_' in key]:
    raise ValueError(
      f'{folder}: key {some(adapters)} is that of a LoRA adapter which is not '
      'merged: call merge_and_unload() of its model in peft, save that, and '
      'load it here'
    )
  for key, tensor in tensors.items():
    name = canonical(key)
    if name in BUFFERS:
      dropped.append(key)
    elif LOSS.fullmatch(name) and len(tensor.shape) < 2:
      dropped.append(key)
      warnings.warn(
        f'{folder}: {key!r} is left out: it weighs the classes of a loss in '
        'training, and no output depends on it',
        stacklevel=4,
      )
    elif name in names:
      raise ValueError(
        f'{folder}: key {name!r} is set twice, by {names[name]!r} and {key!r}'
      )
    else:
      names[name] = key
  return names, dropped


def _head(folder, config_json: Mapping[str, Any], held: list[str]):
  """The head that config.json promises, if the files hold it.

  Raises:
    ValueError: it promises one, and they hold none.
  """
  promised = promised_head(config_json)
  if promised in held or not (held or promised):
    return promised
  if held:
    if promised is not None and HEADS[promised] != HEADS[held[0]]:
      warnings.warn(
        f'{folder}: config.json promises {config_json["architectures"][0]}, '
        f'but the files hold the head {held[0]!r}: read as that',
        stacklevel=4,
      )
    return held[0]
  raise ValueError(
    f'{folder}: config.json promises {config_json["architectures"][0]}, but '
    f'the files hold no weights of its head: load the body alone with '
    f'head=None, or head={promised!r}, fresh=True for a new one'
  )


def _choose(
  folder,
  config: Config,
  config_json: Mapping[str, Any],
  tensors: Mapping[str, Tensor],
  head: str | None,
) -> tuple[str | None, str | None, list[str]]:
  """Which head is read.

  Returns:
    The head that the files hold, the head that is read, and the names that are
    left out: other heads' weights. The body is never cut.
  """
  held = held_heads(config_json, tensors)
  if head == STORED:
    stored = _head(folder, config_json, held)
    return stored, stored, []
  stored = next(
    (name for name in held if heads.same_parameters(name, head)), None
  )
  chosen = head if stored else None
  wanted = table(config, chosen, pooler=True, next_sentence=chosen is not None)
  starts = head_starts(config.bert)
  left = [
    name
    for name in tensors
    if name not in wanted and name.partition('.')[0] in starts
  ]
  return stored, chosen, left


def _check_layers(folder, config: Config, names) -> None:
  """Raises ValueError where config.json counts other layers than the files."""
  numbers = [re.match(r'encoder\.layer\.(\d+)\.', name) for name in names]
  count = 1 + max((int(m[1]) for m in numbers if m), default=-1)
  if count != config.num_layers:
    raise ValueError(
      f'{folder}: config.json says num_hidden_layers = {config.num_layers}, '
      f'and the files hold {count} layers'
    )


def _ties(
  config: Config,
  config_json: Mapping[str, Any],
  tensors: Mapping[str, Tensor],
) -> tuple[bool, dict[str, str]]:
  """Whether the decoder is the token table, and a bias that nobody adds.

  The rule is that of transformers 5: what config.json ties is tied unless the
  files hold two different tensors; of two biases the decoder's own is added.
  The other bias is kept for writing, in base64.
  """
  words, keys = NAMES['encoder/embed/tokens'], language_keys(config.bert)
  tied = config_json.get('tie_word_embeddings', True)
  if not isinstance(tied, bool):
    raise ValueError(
      f'config.json: tie_word_embeddings = {tied!r} should be true or false'
    )
  if tied and keys.decoder in tensors and words in tensors:
    tied = safetensors_file.same(tensors[keys.decoder], tensors[words])
    if not tied:
      warnings.warn(
        f'config.json ties {keys.decoder} to the token table, but the files '
        'hold two different tensors: read as untied',
        stacklevel=3,
      )
  _, own, other = keys
  both = own in tensors and other in tensors
  if both and not safetensors_file.same(tensors[own], tensors[other]):
    data = safetensors_file.raw(tensors[other])
    return tied, {other: base64.b64encode(data).decode()}
  return tied, {}


def check(
  folder: pathlib.Path,
  rows: Mapping[str, Row],
  tensors: Mapping[str, Any],
  names: Mapping[str, str],
) -> None:
  """Raises ValueError unless the files hold just what rows say."""
  if unknown := [names[name] for name in tensors if name not in rows]:
    raise ValueError(
      f'{folder}: unknown key {some(unknown)}; the heads known here are '
      f'{", ".join(suffixes())}'
    )
  held = {(rows[n].path, rows[n].layer) for n in tensors}
  if missing := [n for n, r in rows.items() if (r.path, r.layer) not in held]:
    raise ValueError(f'{folder}: missing key {some(missing)}')
  for name, tensor in tensors.items():
    if tensor.shape != rows[name].shape:
      raise ValueError(
        f'{tensor.file}: {names[name]!r} has the shape {tensor.shape}, and by '
        f'config.json it should have {rows[name].shape}'
      )
    if tensor.dtype not in DTYPES:
      raise ValueError(
        f'{tensor.file}: {names[name]!r} has the dtype {tensor.dtype}, and a '
        f'parameter may have {", ".join(DTYPES)}'
      )


def gather(
  rows: Mapping[str, Row],
  tensors: Mapping[str, Any],
  pieces: Callable[[Any], list[tuple[Tensor, tuple[int, ...] | None]]],
) -> tuple[dict[str, Lazy], list[str]]:
  """Our leaves made of their tensors, by path; and names of second copies.

  Args:
    rows: where each name belongs.
    tensors: by name; whatever `pieces` takes.
    pieces: the tensors that one of these is made of, and where each starts in
      the whole (None: it is the whole).
  """
  parts: dict[str, list[FilePart]] = {}
  dtypes: dict[str, np.dtype] = {}
  taken, twice = set(), []
  for name, row in rows.items():
    if name not in tensors:
      continue
    if (row.path, row.layer) in taken:  # stored under two names: read once
      twice.append(name)
      continue
    taken.add((row.path, row.layer))
    for tensor, starts in pieces(tensors[name]):
      starts = starts or (0,) * len(tensor.shape)
      at = [slice(s, s + n) for s, n in zip(starts, tensor.shape, strict=True)]
      at = at[::-1] if row.flip else at
      layer = [] if row.layer is None else [row.layer]
      part = FilePart(tensor, (*layer, *at), row.flip)
      parts.setdefault(row.path, []).append(part)
      dtype = DTYPES[tensor.dtype]
      dtypes[row.path] = _promote(dtypes.get(row.path, dtype), dtype)
  shapes = {row.path: row.leaf for row in rows.values()}
  leaves = {
    path: Lazy(shapes[path], dtypes[path], tuple(held))
    for path, held in parts.items()
  }
  return leaves, twice


def _promote(a: np.dtype, b: np.dtype) -> np.dtype:
  """The dtype that holds both exactly."""
  try:
    return np.promote_types(a, b)
  except TypeError:  # f16 and bf16: neither holds the other
    return np.dtype(np.float32)
