"""Directories in Hugging Face's format, read and written.

  read   config.json + safetensors → Weights: Config, our parameter tree, head,
         labels, and a record of what the source looked like
  write  Weights → a directory: just what came in (the same keys, duplicates,
         dtypes, shards), or with fresh=True what transformers 5 writes

Both are strict: a key or parameter that is unknown, missing, set twice or of
another shape is a ValueError that names it. Nothing here imports transformers.
"""

import base64
from collections.abc import Iterator, Mapping
import contextlib
import dataclasses
import json
import math
import pathlib
import time
from typing import Any
import warnings

import numpy as np

from xlmr_jax import tensors
from xlmr_jax.hf_words import (
  BIAS,
  BODY,
  DECODER,
  DECODER_BIAS,
  FACTS,
  HEADS,
  NAMES,
  PREFIXES,
  Row,
  canonical,
  config_from_hf,
  config_to_hf,
  label_keys,
  label_names,
  placeholder,
  prefix,
  table,
)
from xlmr_jax.model import Config
from xlmr_jax.tensors import DTYPE_NAMES, DTYPES, ITEMSIZE, Tensor

__all__ = [
  'TOKENIZER_FILES',
  'Weights',
  'config_from_hf',
  'config_to_hf',
  'download',
  'placeholder',
  'read',
  'table',
  'timed',
  'tokenizer_files',
  'write',
]

WEIGHTS, INDEX = 'model.safetensors', 'model.safetensors.index.json'

# What belongs to a tokenizer and is carried as it is.
SPM = 'sentencepiece.bpe.model'
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
class Weights:
  """A model as files hold it.

  Attributes:
    config: the model's facts; how to run it stays at Config's defaults.
    params: {'encoder': ..., 'head': ..., 'pooler': ...} of numpy arrays in the
      dtypes of the files, layers stacked, vocabulary at its real size.
    head: 'mlm', 'classify' or None.
    labels: for classify, names by id ('LABEL_0'... where no one gave names).
    tied: the decoder is the token table; else params['head']['table'] is it.
    source: what `write` needs to give back what came in; plain JSON.
  """

  config: Config
  params: dict
  head: str | None = None
  labels: tuple[str, ...] | None = None
  tied: bool = True
  source: dict | None = None


def _some(keys) -> str:
  """'a' or 'a' and 3 more."""
  keys = sorted(keys)
  more = f' and {len(keys) - 1} more' if len(keys) > 1 else ''
  return f'{keys[0]!r}{more}'


# --- In ---------------------------------------------------------------------


def _load_json(file: pathlib.Path) -> dict:
  try:
    value = json.loads(file.read_text(encoding='utf-8'))
  except FileNotFoundError as e:
    raise ValueError(
      f'{file.parent} has no {file.name}: it is not a Hugging Face model'
    ) from e
  except ValueError as e:
    raise ValueError(f'{file} is not JSON: {e}') from e
  if not isinstance(value, dict):
    raise ValueError(f'{file} does not hold a JSON object')
  return value


def _open(folder: pathlib.Path) -> tuple[dict[str, Tensor], dict, dict | None]:
  """All tensors of a folder, the look of its files, the index's metadata."""
  index = None
  if (folder / WEIGHTS).exists():
    names = [WEIGHTS]
  elif (folder / INDEX).exists():
    index = _load_json(folder / INDEX)
    where = index.get('weight_map')
    if not isinstance(where, dict):
      raise ValueError(f'{folder / INDEX} has no weight_map')
    names = sorted(set(where.values()))
  else:
    other = sorted(p.name for p in folder.glob('pytorch_model*.bin'))
    hint = (
      f'; it has {other[0]}: save it again with transformers' if other else ''
    )
    raise ValueError(f'{folder} has no {WEIGHTS}{hint}')
  found, files = {}, {}
  for name in names:
    file = folder / name
    if file.parent != folder or not file.is_file():
      raise ValueError(f'{folder / INDEX} names {name}, which is not there')
    held, metadata = tensors.header(file)
    if twice := found.keys() & held.keys():
      raise ValueError(f'{file}: key {_some(twice)} is set twice')
    found |= held
    files[name] = {
      'metadata': metadata,
      'tensors': {key: tensor.dtype for key, tensor in held.items()},
    }
  if index is not None:
    here = {key: tensor.file.name for key, tensor in found.items()}
    where = index.pop('weight_map')
    if wrong := {key for key, _ in where.items() ^ here.items()}:
      raise ValueError(
        f'{folder / INDEX} and its files disagree about key {_some(wrong)}'
      )
  return found, files, index


def _named(
  folder: pathlib.Path, found: Mapping[str, Tensor]
) -> tuple[dict[str, str], list[str]]:
  """Today's spelling of a key → its own; and the keys of dropped buffers."""
  names: dict[str, str] = {}
  dropped = []
  for key in found:
    name = canonical(key)
    if name == 'embeddings.position_ids':  # 0, 1, 2, ...
      dropped.append(key)
    elif name in names:
      raise ValueError(
        f'{folder}: key {name!r} is set twice, by {names[name]!r} and {key!r}'
      )
    else:
      names[name] = key
  return names, dropped


def _head(config_json: Mapping[str, Any], found) -> str | None:
  """The head that the files hold; where they hold none, the one promised."""
  if any(name.startswith('classifier.') for name in found):
    return 'classify'
  if any(name.startswith('lm_head.') for name in found):
    return 'mlm'
  promised = (config_json.get('architectures') or [HEADS[None]])[0]
  return next(h for h, suffix in HEADS.items() if promised.endswith(suffix))


def _ties(
  config_json: Mapping[str, Any], found: Mapping[str, Tensor]
) -> tuple[bool, dict[str, str]]:
  """Whether the decoder is the token table, and a bias that nobody adds.

  As transformers 5 does it: what config.json ties is tied unless the files
  hold two different tensors; of two biases the decoder's own is added. The
  other one is kept for the way back, base64.
  """
  words = NAMES['encoder/embed/tokens']
  tied = bool(config_json.get('tie_word_embeddings', True))
  if tied and DECODER in found and words in found:
    tied = tensors.same(found[DECODER], found[words])
    if not tied:
      warnings.warn(
        f'config.json ties {DECODER} to the token table, but the files hold '
        'two different tensors: read as untied',
        stacklevel=3,
      )
  both = DECODER_BIAS in found and BIAS in found
  if both and not tensors.same(found[DECODER_BIAS], found[BIAS]):
    return tied, {BIAS: base64.b64encode(tensors.raw(found[BIAS])).decode()}
  return tied, {}


def _check(
  folder: pathlib.Path,
  rows: Mapping[str, Row],
  found: Mapping[str, Tensor],
  names: Mapping[str, str],
) -> None:
  """Raises ValueError unless the files hold just what rows say."""
  if unknown := [names[name] for name in found if name not in rows]:
    raise ValueError(
      f'{folder}: unknown key {_some(unknown)}; the heads known here are '
      f'{", ".join(HEADS.values())}'
    )
  there = {(rows[n].path, rows[n].layer) for n in found}
  if missing := [n for n, r in rows.items() if (r.path, r.layer) not in there]:
    raise ValueError(f'{folder}: missing key {_some(missing)}')
  for name, tensor in found.items():
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


@contextlib.contextmanager
def timed(timer: dict[str, float] | None, name: str) -> Iterator[None]:
  """Adds the seconds inside to timer[name], where there is a timer."""
  start = time.perf_counter()
  yield
  if timer is not None:
    timer[name] = timer.get(name, 0.0) + time.perf_counter() - start


def read(folder, *, timer: dict[str, float] | None = None) -> Weights:
  """Reads a directory in Hugging Face's format.

  Args:
    folder: holds config.json and model.safetensors, or shards with an index.
    timer: gets the seconds of 'read' (bytes from the files) and 'transform'
      (transposing, stacking). Threads do both at once: the wall time is shared
      out by the time they spent on each.

  Raises:
    ValueError: a file is missing, truncated or corrupt; config.json describes
      another kind of model; a key is unknown, missing or set twice; a shape or
      dtype is not what config.json says.
  """
  start = time.perf_counter()
  folder = pathlib.Path(folder)
  if not folder.is_dir():
    raise ValueError(f'{folder} is not a directory')
  config_json = _load_json(folder / 'config.json')
  config = config_from_hf(config_json)
  found, files, index = _open(folder)
  names, dropped = _named(folder, found)
  found = {name: found[key] for name, key in names.items()}
  head = _head(config_json, found)
  labels = label_names(config_json) if head == 'classify' else None
  tied, unused = _ties(config_json, found)
  pooler = any(name.startswith('pooler.') for name in found)
  rows = table(config, head, len(labels or ()), tied=tied, pooler=pooler)
  _check(folder, rows, found, names)

  # A parameter that is stored under two names is read once.
  plan: dict[tuple[str, int | None], tuple[Row, Tensor]] = {}
  duplicates = []
  for name, row in rows.items():
    if name in found and name not in unused:
      if (row.path, row.layer) in plan:
        duplicates.append(names[name])
      else:
        plan[row.path, row.layer] = row, found[name]
  dtypes: dict[str, np.dtype] = {}
  for row, tensor in plan.values():
    dtype = DTYPES[tensor.dtype]
    dtypes[row.path] = np.promote_types(dtypes.get(row.path, dtype), dtype)
  leaves = {
    row.path: tensors.aligned(row.leaf, dtypes[row.path])
    for row in {row.path: row for row, _ in plan.values()}.values()
  }
  reader = tensors.Reader()
  for row, tensor in plan.values():
    leaf = leaves[row.path]
    leaf = leaf if row.layer is None else leaf[row.layer]
    reader.add(tensor, leaf, transpose=row.flip)
  reader.run()

  params: dict = {}
  for path, leaf in leaves.items():
    *parents, last = path.split('/')
    node = params
    for parent in parents:
      node = node.setdefault(parent, {})
    node[last] = leaf
  source = {
    'config': config_json,
    'prefix': max(map(prefix, names.values())),
    'tied': tied,
    'files': files,
    'index': index,
    'duplicates': duplicates,
    'dropped': dropped,
    'unused': {names[name]: data for name, data in unused.items()},
  }
  if timer is not None:
    wall = time.perf_counter() - start
    share = reader.transform / ((reader.read + reader.transform) or 1.0)
    timer['read'] = wall * (1 - share)
    timer['transform'] = wall * share
  return Weights(config, params, head, labels, tied, source)


# --- Out --------------------------------------------------------------------


def write(
  folder,
  weights: Weights,
  *,
  fresh: bool = False,
  tokenizer_dir=None,
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
    folder: new, empty, or given up by `overwrite`.
    weights: arrays of numpy or JAX, vocabulary at its real size.
    fresh: today's keys and the parameters' dtypes, whatever the source had.
    tokenizer_dir: folder whose tokenizer files go along.
    shard_bytes: size at which fresh files are split.
    overwrite: replace the folder, with all that is in it.

  Raises:
    ValueError: the parameters are not what config and head say.
    OSError: the disk is full, or the like; the folder is as it was.
  """
  config, head, source = weights.config, weights.head, weights.source
  leaves = {path: np.asarray(x) for path, x in _flatten(weights.params)}
  labels = weights.labels if head == 'classify' else None
  if head == 'classify' and labels is None:
    classes = len(leaves.get('head/out/bias', ()))
    labels = tuple(f'LABEL_{i}' for i in range(classes))
  rows = table(
    config,
    head,
    len(labels or ()),
    tied=weights.tied,
    pooler='pooler' in weights.params,
  )
  _check_leaves(rows, leaves)
  if fresh or source is None or not _fits(source, rows):
    files, index = _fresh_files(weights, rows, leaves, shard_bytes)
    config_json = config_to_hf(
      config,
      head,
      labels,
      tied=weights.tied,
      dtype=leaves['encoder/embed/tokens'].dtype.name,
      base=source and source['config'],
    )
  else:
    files, index, finer = _source_files(source, rows, leaves)
    config_json = _patched(source, config, labels, weights.tied)
    if finer:
      key = 'torch_dtype' if 'torch_dtype' in config_json else 'dtype'
      config_json[key] = leaves['encoder/embed/tokens'].dtype.name

  with tensors.whole(folder, overwrite=overwrite) as made:
    for name, (metadata, arrays) in files.items():
      tensors.write(made / name, arrays, metadata)
    if index is not None:
      where = {k: name for name, (_, arrays) in files.items() for k in arrays}
      _save_json(made / INDEX, {**index, 'weight_map': where}, sort=True)
    _save_json(made / 'config.json', config_json)
    if tokenizer_dir is not None:
      for name, data in tokenizer_files(tokenizer_dir, config).items():
        (made / name).write_bytes(data)


# File name → its metadata, and key → (array, dtype to store it in).
_Files = dict[str, tuple[dict | None, dict[str, tuple[np.ndarray, str]]]]


def _flatten(tree: Mapping, path: str = '') -> Iterator[tuple[str, Any]]:
  for key, value in tree.items():
    if isinstance(value, Mapping):
      yield from _flatten(value, f'{path}{key}/')
    else:
      yield f'{path}{key}', value


def _theirs(leaves: Mapping[str, np.ndarray], row: Row) -> np.ndarray:
  """Their tensor of a row, as a view."""
  leaf = leaves[row.path]
  leaf = leaf if row.layer is None else leaf[row.layer]
  return leaf.T if row.flip else leaf


def _check_leaves(rows: Mapping[str, Row], leaves: Mapping) -> None:
  """Raises ValueError unless the parameters are just what rows say."""
  shapes = {row.path: row.leaf for row in rows.values()}
  if unknown := leaves.keys() - shapes.keys():
    raise ValueError(f'params: unknown parameter {_some(unknown)}')
  if missing := shapes.keys() - leaves.keys():
    raise ValueError(f'params: missing parameter {_some(missing)}')
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
  there = set()
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
        there.add((row.path, row.layer))
  return there == {(row.path, row.layer) for row in rows.values()}


def _fresh_files(
  weights: Weights,
  rows: Mapping[str, Row],
  leaves: Mapping[str, np.ndarray],
  shard_bytes: int,
) -> tuple[_Files, dict | None]:
  """The files of transformers 5: nothing twice, poolers on bare bodies."""
  start = '' if weights.head is None else PREFIXES[0]
  arrays = {}
  for name, row in rows.items():
    if weights.tied and name in (DECODER, DECODER_BIAS):
      continue
    if name.startswith('pooler.') and start:
      continue
    body = name.startswith(BODY)
    array = _theirs(leaves, row)
    arrays[start + name if body else name] = array, DTYPE_NAMES[array.dtype]
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
    return {WEIGHTS: (metadata, shards[0])}, None
  total = {
    'total_parameters': sum(leaf.size for leaf in leaves.values()),
    'total_size': sum(array.nbytes for array, _ in arrays.values()),
  }
  files = {
    f'model-{i:05d}-of-{len(shards):05d}.safetensors': (metadata, shard)
    for i, shard in enumerate(shards, 1)
  }
  return files, {'metadata': total}


def _source_files(
  source: Mapping[str, Any],
  rows: Mapping[str, Row],
  leaves: Mapping[str, np.ndarray],
) -> tuple[_Files, dict | None, bool]:
  """The source's files; True where its dtypes would lose bits, so are left."""
  files: _Files = {}
  for name, file in source['files'].items():
    arrays = {}
    for key, dtype in file['tensors'].items():
      if key in source['unused']:
        data = base64.b64decode(source['unused'][key])
        arrays[key] = np.frombuffer(data, DTYPES[dtype]), dtype
      elif key not in source['dropped']:
        arrays[key] = _theirs(leaves, rows[canonical(key)]), dtype
    files[name] = file['metadata'], arrays
  held = [item for _, arrays in files.values() for item in arrays.values()]
  finer = not all(_exact(array, DTYPES[dtype]) for array, dtype in held)
  if finer:
    for _, arrays in files.values():
      for key, (array, _) in arrays.items():
        arrays[key] = array, DTYPE_NAMES[array.dtype]
  index = source['index']
  if index is not None and 'total_size' in index.get('metadata', {}):
    held = [item for _, arrays in files.values() for item in arrays.values()]
    size = sum(array.size * ITEMSIZE[dtype] for array, dtype in held)
    index = {**index, 'metadata': {**index['metadata'], 'total_size': size}}
  return files, index, finer


def _exact(array: np.ndarray, dtype: np.dtype) -> bool:
  """Whether casting to dtype and back gives the same bits."""
  if array.dtype == dtype:
    return True
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
  if tied != source['tied']:
    out['tie_word_embeddings'] = tied
  if labels is not None and labels != label_names(out):
    for key in ('num_labels', '_num_labels', 'problem_type'):
      out.pop(key, None)
    out |= label_keys(labels)
  return out


def _save_json(file: pathlib.Path, value: dict, sort: bool = False) -> None:
  text = json.dumps(value, indent=2, sort_keys=sort)
  file.write_text(text + '\n', encoding='utf-8')


# --- Tokenizer files, hub names ----------------------------------------------


def tokenizer_files(folder, config: Config) -> dict[str, bytes]:
  """File name → content of a tokenizer, for transformers to load.

  The files are taken as they are. Where there is a sentencepiece model alone,
  tokenizer_config.json is added: by itself transformers would know neither
  the class nor how long a text may be.
  """
  folder = pathlib.Path(folder)
  files = {
    name: (folder / name).read_bytes()
    for name in TOKENIZER_FILES
    if (folder / name).is_file()
  }
  if list(files) != [SPM]:
    return files
  # <mask> eats the space before it, as in the published models.
  mask = {'__type': 'AddedToken', 'content': '<mask>', 'lstrip': True}
  mask |= {'normalized': False, 'rstrip': False, 'single_word': False}
  settings = {
    'bos_token': '<s>',
    'cls_token': '<s>',
    'eos_token': '</s>',
    'mask_token': mask,
    'model_max_length': config.max_length,
    'pad_token': '<pad>',
    'sep_token': '</s>',
    'tokenizer_class': 'XLMRobertaTokenizer',
    'unk_token': '<unk>',
  }
  text = json.dumps(settings, indent=2) + '\n'
  return files | {'tokenizer_config.json': text.encode()}


def download(name: str) -> pathlib.Path:
  """A hub name ('FacebookAI/xlm-roberta-base') → the folder of its files.

  Raises:
    ValueError: there is no such model, or no way to the hub.
  """
  import huggingface_hub
  from huggingface_hub import errors

  try:
    folder = huggingface_hub.snapshot_download(
      name,
      allow_patterns=['config.json', 'model*.safetensors', INDEX]
      + list(TOKENIZER_FILES),
    )
  except (errors.HfHubHTTPError, errors.HFValidationError, OSError) as e:
    reason = str(e).strip().partition('\n')[0]
    raise ValueError(
      f'{name!r} is not a directory, and the Hugging Face hub gave no model of '
      f'that name: {reason}'
    ) from e
  return pathlib.Path(folder)
