"""Writes directories in Hugging Face's format.

Weights → a directory: exactly the source's files (the same keys, duplicates,
dtypes, shards), or with fresh=True the files that transformers 5 writes.
Weights that were read from pickles are written as safetensors.
"""

import base64
from collections.abc import Mapping
import dataclasses
import json
import math
import pathlib
from typing import Any

import numpy as np

from xlmr_jax import heads
from xlmr_jax.checkpoints.arrays import DiskArray
from xlmr_jax.checkpoints.formats.safetensors_file import (
  DTYPE_NAMES,
  DTYPES,
  ITEMSIZE,
)
from xlmr_jax.checkpoints.hf import files, projection, sentence_transformers
from xlmr_jax.checkpoints.hf.config_json import (
  FACTS,
  SCHEME,
  config_from_hf,
  config_to_hf,
  estimator_keys,
  is_xl,
  label_keys,
  label_names,
  set_meaning,
)
from xlmr_jax.checkpoints.hf.files import WEIGHTS, Files, some
from xlmr_jax.checkpoints.hf.names import (
  BODY,
  HEADS,
  XL,
  Row,
  body_prefix,
  canonical,
  class_name,
  language_keys,
  problem_of,
  table,
)
from xlmr_jax.checkpoints.weights import (
  SPM,
  TOKENIZER_FILES,
  Weights,
  flatten,
)
from xlmr_jax.model import Config
from xlmr_jax.runtime import storage


def write(
  folder,
  weights: Weights,
  *,
  fresh: bool = False,
  shard_bytes: int = 5_000_000_000,
  overwrite: bool = False,
) -> None:
  """Writes a directory in Hugging Face's format, whole or not at all.

  Weights that were read go out as they came in: keys, duplicates, dtypes,
  shards, config.json; where sizes or labels have changed since, config.json
  says so. Where the keys no longer fit (another head was put on), or with
  `fresh`, the files are those of transformers 5, and of the source's
  config.json only further keys stay. The source's dtypes are used where they
  lose nothing: parameters trained in a finer one keep theirs.

  Args:
    folder: new or empty, or any folder with `overwrite`.
    weights: of numpy, or still in files, vocabulary at its real size; its
      tokenizer's files go along.
    fresh: today's keys and the parameters' dtypes, whatever the source had.
    shard_bytes: size at which fresh files are split.
    overwrite: replace the folder, with all that is in it.

  Raises:
    ValueError: the parameters are not what config and head say.
    OSError: the disk is full, or the like; the folder is as it was.
  """
  config, head, source = weights.config, weights.head, weights.source
  leaves = _leaves(weights.params)
  labelled = heads.HEADS[head].labelled
  labels = weights.labels if labelled else None
  if labelled and labels is None:
    classes = len(leaves.get('head/out/bias', ()))
    labels = tuple(f'LABEL_{i}' for i in range(classes))
    theirs = label_names(source['config']) if source else ()
    if len(theirs) == classes == 1:  # what the source called its number
      labels = theirs
  next_sentence = 'pooler/next_sentence/bias' in leaves
  problem = problem_of(head, weights.labels, len(labels or ()))
  rows = table(
    config,
    head,
    len(labels or ()),
    tied=weights.tied,
    pooler='pooler' in weights.params,
    next_sentence=next_sentence,
  )
  dense = projection.rows_of(leaves)
  _check_leaves(rows | dense, leaves)
  if fresh or source is None or not _fits(source, rows):
    written, index = _fresh_files(weights, rows, leaves, shard_bytes)
    config_json = config_to_hf(
      config,
      head,
      labels,
      tied=weights.tied,
      dtype=leaves['encoder/embed/tokens'].dtype.name,
      base=source['config'] if source else _kind_of(weights.tokenizer_dir),
      next_sentence=next_sentence,
      problem=problem,
      deciding=weights.deciding,
    )
    below, texts = '', None
    beside = {sentence_transformers.DENSE: _whole_file(dense, leaves)}
  else:
    written, index, finer = _source_files(source, rows, leaves)
    config_json = _patched(source, config, labels, weights.tied)
    set_meaning(config_json, problem, weights.deciding)
    if head != source.get('head', head):  # mlm and causal share their keys
      kind = XL if is_xl(config_json) else config_json['model_type']
      config_json['architectures'] = [class_name(kind, head, next_sentence)]
    if finer:
      key = 'torch_dtype' if 'torch_dtype' in config_json else 'dtype'
      config_json[key] = leaves['encoder/embed/tokens'].dtype.name
    below, texts = source.get('body', ''), source.get('texts')
    beside = {
      name: _source_files({**source, 'files': held}, dense, leaves)[0]
      for name, held in source.get('beside', {}).items()
    }
  config_json.pop(SCHEME, None)
  if heads.HEADS[head].chain and weights.scheme is not None:
    config_json[SCHEME] = weights.scheme
  if weights.pooling is not None and sentence_transformers.MODULES not in (
    texts or {}
  ):
    made_up = sentence_transformers.texts(
      weights.pooling,
      config.model_dim,
      projection.config_json(leaves, weights.pooling) if dense else None,
    )
    texts = {**(texts or {}), **made_up}

  with storage.whole(folder, overwrite=overwrite) as made:
    body = made / below
    body.mkdir(exist_ok=True)
    files.save(body, written, index)
    for name, held in beside.items():
      if dense:
        _below(made, name).mkdir(parents=True)
        files.save(made / name, held, None)
    if source and config_json == source['config'] and 'text' in source:
      (body / 'config.json').write_bytes(source['text'].encode())
    else:
      files.save_json(body / 'config.json', config_json)
    for name, text in (texts or {}).items():
      file = _below(made, name)
      file.parent.mkdir(parents=True, exist_ok=True)
      file.write_text(text, encoding='utf-8')
    if weights.tokenizer_dir is not None:
      for name, data in tokenizer_files(
        weights.tokenizer_dir, config.max_length, config_json['model_type']
      ).items():
        (body / name).write_bytes(data)


def _below(folder: pathlib.Path, name: str) -> pathlib.Path:
  """A path below a folder, or ValueError."""
  if not (folder / name).resolve().is_relative_to(folder.resolve()):
    raise ValueError(f'{name} of the source would lie outside the folder')
  return folder / name


@dataclasses.dataclass(frozen=True)
class _Theirs(DiskArray):
  """A tensor of theirs in a leaf of ours that still lies in files."""

  leaf: DiskArray
  row: Row

  @property
  def shape(self) -> tuple[int, ...]:
    return self.row.shape

  @property
  def dtype(self) -> np.dtype:
    return self.leaf.dtype

  def __getitem__(self, index) -> np.ndarray:
    return _view(self.leaf, self.row)[index]


def _leaves(params: Mapping) -> dict[str, Any]:
  """Parameters by path, on the host or still in files."""
  return {
    path: leaf if isinstance(leaf, DiskArray) else np.asarray(leaf)
    for path, leaf in flatten(params).items()
  }


def _theirs(leaves: Mapping[str, np.ndarray], row: Row) -> np.ndarray:
  """Their tensor of a row: a view, or one that still lies in files."""
  leaf = leaves[row.path]
  return _Theirs(leaf, row) if isinstance(leaf, DiskArray) else _view(leaf, row)


def _view(leaf, row: Row) -> np.ndarray:
  leaf = leaf[...] if row.layer is None else leaf[row.layer]
  return leaf.T if row.flip else leaf


def _check_leaves(rows: Mapping[str, Row], leaves: Mapping) -> None:
  """Raises ValueError unless the parameters are just what rows say."""
  shapes = {row.path: row.leaf for row in rows.values()}
  if unknown := leaves.keys() - shapes.keys():
    raise ValueError(f'params: unknown parameter {some(unknown)}')
  if missing := shapes.keys() - leaves.keys():
    raise ValueError(f'params: missing parameter {some(missing)}')
  for path, leaf in leaves.items():
    if leaf.shape != shapes[path]:
      raise ValueError(
        f'params: {path!r} has the shape {leaf.shape}, and by its config it '
        f'should have {shapes[path]}'
      )
    if leaf.dtype not in DTYPE_NAMES:
      raise ValueError(f'params: {path!r} has the dtype {leaf.dtype}')


def _fits(source: Mapping[str, Any], rows: Mapping[str, Row]) -> bool:
  """Whether a source's keys can still hold the model."""
  if source.get('left'):
    return False
  held = set()
  for file in source['files'].values():
    for key, dtype in file['tensors'].items():
      row = rows.get(canonical(key))
      if key in source['unused'] and row is not None:
        size = math.prod(row.shape) * ITEMSIZE[dtype]
        if size != len(base64.b64decode(source['unused'][key])):
          return False
      elif key not in source['dropped']:
        if row is None:
          return False
        held.add((row.path, row.layer))
  return held == {(row.path, row.layer) for row in rows.values()}


def _fresh_files(
  weights: Weights,
  rows: Mapping[str, Row],
  leaves: Mapping[str, np.ndarray],
  shard_bytes: int,
) -> tuple[Files, dict | None]:
  """The files of transformers 5: nothing twice, poolers on bare bodies."""
  bert, bare = weights.config.bert, HEADS[weights.head] == HEADS[None]
  start = body_prefix(bert, weights.head)
  keys = language_keys(bert)
  pooler = bare or 'pooler/next_sentence/bias' in leaves
  arrays = {}
  for name, row in rows.items():
    if weights.tied and name in (keys.decoder, keys.decoder_bias):
      continue
    if row.path.startswith('pooler/') and not pooler:
      continue
    body = name.startswith(BODY)
    array = _theirs(leaves, row)
    arrays[start + name if body else name] = array, DTYPE_NAMES[array.dtype]
  extra: Files = {}
  for file in files.EXTRA:
    stem = file.removesuffix('.pt') + '.'
    if held := [key for key in arrays if key.startswith(stem)]:
      extra[file] = None, {key: arrays.pop(key) for key in held}
  # The format's own order: wide dtypes first, then by name.
  order = sorted(arrays, key=lambda k: (-ITEMSIZE[arrays[k][1]], k))
  shards: list[dict] = [{}]
  size = 0
  for key in order:
    size += arrays[key][0].nbytes
    if shards[-1] and size > shard_bytes:
      shards.append({})
      size = arrays[key][0].nbytes
    shards[-1][key] = arrays[key]
  metadata = {'format': 'pt'}
  if len(shards) == 1:
    return {WEIGHTS: (metadata, shards[0]), **extra}, None
  total = {
    'total_parameters': sum(leaf.size for leaf in leaves.values()),
    'total_size': sum(array.nbytes for array, _ in arrays.values()),
  }
  written = {
    f'model-{i:05d}-of-{len(shards):05d}.safetensors': (metadata, shard)
    for i, shard in enumerate(shards, 1)
  }
  return {**written, **extra}, {'metadata': total}


def _whole_file(rows: Mapping[str, Row], leaves: Mapping) -> Files:
  """All of rows as a single file."""
  held = {
    name: (_theirs(leaves, row), DTYPE_NAMES[leaves[row.path].dtype])
    for name, row in rows.items()
  }
  return {WEIGHTS: ({'format': 'pt'}, held)}


def _source_files(
  source: Mapping[str, Any],
  rows: Mapping[str, Row],
  leaves: Mapping[str, np.ndarray],
) -> tuple[Files, dict | None, bool]:
  """The source's files; True where its dtypes would lose bits, so are left."""
  written: Files = {}
  for name, file in source['files'].items():
    arrays = {}
    for key, dtype in file['tensors'].items():
      if key in source['unused']:
        data = base64.b64decode(source['unused'][key])
        arrays[key] = np.frombuffer(data, DTYPES[dtype]), dtype
      elif key not in source['dropped']:
        arrays[key] = _theirs(leaves, rows[canonical(key)]), dtype
    written[name] = file['metadata'], arrays
  held = [item for _, arrays in written.values() for item in arrays.values()]
  finer = not all(_exact(array, DTYPES[dtype]) for array, dtype in held)
  if finer:
    for _, arrays in written.values():
      for key, (array, _) in arrays.items():
        arrays[key] = array, DTYPE_NAMES[array.dtype]
  index = source['index']
  if index is not None and 'total_size' in index.get('metadata', {}):
    held = [item for _, arrays in written.values() for item in arrays.values()]
    size = sum(array.size * ITEMSIZE[dtype] for array, dtype in held)
    index = {**index, 'metadata': {**index['metadata'], 'total_size': size}}
  return written, index, finer


def _exact(array: np.ndarray, dtype: np.dtype) -> bool:
  """Whether casting to dtype and back gives the same bits."""
  if array.dtype == dtype:
    return True
  array = np.asarray(array)
  rows = max(1, 2**21 // max(1, math.prod(array.shape[1:])))
  return all(
    array[i : i + rows].astype(dtype).astype(array.dtype).tobytes()
    == array[i : i + rows].tobytes()
    for i in range(0, len(array), rows)
  )


def _patched(
  source: Mapping[str, Any],
  config: Config,
  labels: tuple[str, ...] | None,
  tied: bool,
) -> dict[str, Any]:
  """The source's config.json, with what has changed since."""
  out = dict(source['config'])
  before = config_from_hf(out)
  for field, (key, _) in FACTS.items():
    if getattr(config, field) != getattr(before, field):
      out[key] = getattr(config, field)
  if config.estimator and estimator_keys(config) != estimator_keys(before):
    out |= estimator_keys(config)
  if tied != source['tied']:
    out['tie_word_embeddings'] = tied
  if labels is not None and labels != label_names(out):
    for key in ('num_labels', '_num_labels', 'problem_type'):
      out.pop(key, None)
    out |= label_keys(labels)
  return out


def _kind_of(tokenizer_dir) -> dict[str, Any]:
  """Keys of config.json that the tokenizer decides."""
  if tokenizer_dir is None:
    return {}
  if (pathlib.Path(tokenizer_dir) / SPM).is_file():
    texts = tokenizer_files(tokenizer_dir)
    settings = json.loads(texts.get('tokenizer_config.json', b'{}'))
    if settings.get('tokenizer_class', '').startswith('Camembert'):
      return {
        'model_type': 'camembert',
        'bos_token_id': 5,
        'eos_token_id': 6,
      }
    return {}
  if (pathlib.Path(tokenizer_dir) / 'merges.txt').is_file():
    return {'model_type': 'roberta'}
  return {}


def tokenizer_files(
  folder, max_length: int = 512, kind: str = 'xlm-roberta'
) -> dict[str, bytes]:
  """File name → content of a tokenizer, for transformers to load.

  The files are taken as they are. Where there is a sentencepiece model alone,
  tokenizer_config.json is added: by itself transformers would know neither
  the class, which depends on the model_type, nor how long a text may be.
  """
  folder = pathlib.Path(folder)
  content = {
    name: (folder / name).read_bytes()
    for name in TOKENIZER_FILES
    if (folder / name).is_file()
  }
  if list(content) != [SPM]:
    return content
  name = 'Camembert' if kind == 'camembert' else 'XLMRoberta'
  # <mask> takes the space before it, as in the published models.
  mask = {'__type': 'AddedToken', 'content': '<mask>', 'lstrip': True}
  mask |= {'normalized': False, 'rstrip': False, 'single_word': False}
  settings = {
    'bos_token': '<s>',
    'cls_token': '<s>',
    'eos_token': '</s>',
    'mask_token': mask,
    'model_max_length': max_length,
    'pad_token': '<pad>',
    'sep_token': '</s>',
    'tokenizer_class': name + 'Tokenizer',
    'unk_token': '<unk>',
  }
  text = json.dumps(settings, indent=2) + '\n'
  return content | {'tokenizer_config.json': text.encode()}
