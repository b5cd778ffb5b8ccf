"""Directories in Hugging Face's format, read and written.

  read   config.json + weights → Weights: Config, our parameter tree, head,
         labels, and a record of what the source looked like
  write  Weights → a directory: just what came in (the same keys, duplicates,
         dtypes, shards), or with fresh=True what transformers 5 writes

Weights come from safetensors or pickles and leave as safetensors.

Both are strict: a key or parameter that is unknown, missing, set twice or of
another shape is a ValueError that names it. Nothing here imports transformers.
"""

import base64
from collections.abc import Callable, Iterator, Mapping
import contextlib
import dataclasses
import json
import math
import pathlib
import re
import time
from typing import Any
import warnings

import numpy as np

from xlmr_jax import heads
from xlmr_jax.checkpoints import arrays as lazy
from xlmr_jax.checkpoints.arrays import Lazy, Part
from xlmr_jax.checkpoints.formats import safetensors_file
from xlmr_jax.checkpoints.formats.safetensors_file import (
  DTYPE_NAMES,
  DTYPES,
  ITEMSIZE,
  Tensor,
)
from xlmr_jax.checkpoints.hf import files as hf_files
from xlmr_jax.checkpoints.hf import sentence_transformers as pooled
from xlmr_jax.checkpoints.hf.files import (
  WEIGHTS,
  Files,
  load_json,
  save_json,
  some,
)
from xlmr_jax.checkpoints.hf.names import (
  BIAS,
  BODY,
  BUFFERS,
  DECODER,
  DECODER_BIAS,
  ESTIMATOR_SIZES,
  FACTS,
  HEADS,
  MODEL_TYPES,
  NAMES,
  PREFIXES,
  XL,
  Row,
  canonical,
  config_from_hf,
  config_to_hf,
  estimator_keys,
  is_xl,
  label_keys,
  label_names,
  placeholder,
  prefix,
  table,
)
from xlmr_jax.model import Config
from xlmr_jax.runtime import storage

__all__ = [
  'DECODER',
  'STORED',
  'TOKENIZER_FILES',
  'Weights',
  'check',
  'config_from_hf',
  'config_to_hf',
  'gather',
  'load',
  'nest',
  'placeholder',
  'read',
  'table',
  'timed',
  'tokenizer_files',
  'write',
]

STORED = 'stored'  # the head that the files hold

GENERATION = 'generation_config.json'  # carried as it is

# How the keys of heads start.
HEAD_STARTS = (
  'lm_head classifier qa_outputs crf estimator layerwise_attention '
  'sparse_linear colbert_linear'
).split()

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
    params: {'encoder': ..., 'head': ..., 'pooler': ...} of numpy arrays (or
      lazy ones) in the dtypes of the files, layers stacked, vocabulary at its
      real size.
    head: a name of heads.NAMES, or None.
    labels: names by id of a labelled head ('LABEL_0'... where no one gave
      names).
    tied: the decoder is the token table; else params['head']['table'] is it.
    source: what `write` needs to give back what came in; plain JSON.
    pooling: how texts become vectors, where the source says so.
  """

  config: Config
  params: dict
  head: str | None = None
  labels: tuple[str, ...] | None = None
  tied: bool = True
  source: dict | None = None
  pooling: pooled.Pooling | None = None


# --- In ---------------------------------------------------------------------


def _named(
  folder: pathlib.Path, found: Mapping[str, Tensor]
) -> tuple[dict[str, str], list[str]]:
  """Today's spelling of a key → its own; and the keys of dropped buffers."""
  names: dict[str, str] = {}
  dropped = []
  for key in found:
    name = canonical(key)
    if name in BUFFERS:
      dropped.append(key)
    elif name in names:
      raise ValueError(
        f'{folder}: key {name!r} is set twice, by {names[name]!r} and {key!r}'
      )
    else:
      names[name] = key
  return names, dropped


def _promised(config_json: Mapping[str, Any]) -> str | None:
  """The head that config.json's class has."""
  name = (config_json.get('architectures') or [HEADS[None]])[0]
  return next(h for h, suffix in HEADS.items() if name.endswith(suffix))


def _held(
  config_json: Mapping[str, Any], found: Mapping[str, Tensor]
) -> list[str]:
  """The heads that the files hold."""
  promised = _promised(config_json)
  starts = {name.partition('.')[0] for name in found}
  held = []
  if 'lm_head' in starts:
    held.append('causal' if promised == 'causal' else 'mlm')
  if 'qa_outputs' in starts:
    held.append('answer')
  if 'sparse_linear' in starts or 'colbert_linear' in starts:
    held.append('m3')
  if 'estimator' in starts:
    held.append('estimate')
  if 'crf' in starts:
    held.append('crf')
  elif 'classifier' in starts:
    if 'classifier.weight' not in found:
      held.append('classify')
    elif promised in ('tag', 'choose'):
      held.append(promised)
    else:
      one = found['classifier.weight'].shape[0] == 1 and 'pooler' in starts
      held.append('choose' if one else 'tag')
  return held


def _head(folder, config_json: Mapping[str, Any], held: list[str]):
  """Of the heads that the files hold, the one that config.json promises.

  Raises:
    ValueError: it promises one, and they hold none.
  """
  promised = _promised(config_json)
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
  config_json: Mapping[str, Any], found: Mapping[str, Tensor]
) -> tuple[bool, dict[str, str]]:
  """Whether the decoder is the token table, and a bias that nobody adds.

  As transformers 5 does it: what config.json ties is tied unless the files
  hold two different tensors; of two biases the decoder's own is added. The
  other one is kept for the way back, base64.
  """
  words = NAMES['encoder/embed/tokens']
  tied = config_json.get('tie_word_embeddings', True)
  if not isinstance(tied, bool):
    raise ValueError(
      f'config.json: tie_word_embeddings = {tied!r} should be true or false'
    )
  if tied and DECODER in found and words in found:
    tied = safetensors_file.same(found[DECODER], found[words])
    if not tied:
      warnings.warn(
        f'config.json ties {DECODER} to the token table, but the files hold '
        'two different tensors: read as untied',
        stacklevel=3,
      )
  both = DECODER_BIAS in found and BIAS in found
  if both and not safetensors_file.same(found[DECODER_BIAS], found[BIAS]):
    return tied, {
      BIAS: base64.b64encode(safetensors_file.raw(found[BIAS])).decode()
    }
  return tied, {}


def check(
  folder: pathlib.Path,
  rows: Mapping[str, Row],
  found: Mapping[str, Tensor],
  names: Mapping[str, str],
) -> None:
  """Raises ValueError unless the files hold just what rows say."""
  if unknown := [names[name] for name in found if name not in rows]:
    raise ValueError(
      f'{folder}: unknown key {some(unknown)}; the heads known here are '
      f'{", ".join(dict.fromkeys(HEADS.values()))}'
    )
  there = {(rows[n].path, rows[n].layer) for n in found}
  if missing := [n for n, r in rows.items() if (r.path, r.layer) not in there]:
    raise ValueError(f'{folder}: missing key {some(missing)}')
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


def read(
  folder,
  *,
  head: str | None = STORED,
  lazily: bool = False,
  timer: dict[str, float] | None = None,
) -> Weights:
  """Reads a directory in Hugging Face's format.

  Args:
    folder: holds config.json and model.safetensors or pytorch_model.bin, or
      shards with an index; or is a sentence-transformers directory.
    head: the head that is wanted; None for the body alone. One that the files
      do not hold is left out of the parameters, for the caller to make.
    lazily: leave the arrays in the files (lazy.Lazy): a model larger than the
      memory is read part by part.
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
  how, texts = pooled.read(folder)
  outer, folder = folder, pooled.body(folder)
  if folder == outer and (folder / GENERATION).is_file():
    texts[GENERATION] = (folder / GENERATION).read_bytes().decode()
  config_json = load_json(folder / 'config.json')
  try:
    config = config_from_hf(config_json)
  except ValueError as e:
    reason = str(e).removeprefix('config.json: ')
    raise ValueError(f'{folder}/config.json: {reason}') from e
  if (folder / 'adapter_config.json').is_file():
    raise ValueError(
      f'{folder} holds an adapter beside the model (adapter_config.json), '
      'which would be left out: merge it into the weights, or move it away'
    )
  there = hf_files.find(folder)
  names, dropped = _named(folder, there.tensors)
  _check_layers(folder, config, names)
  found = {name: there.tensors[key] for name, key in names.items()}
  held, left = _held(config_json, found), []
  if head == STORED:
    here = stored = _head(folder, config_json, held)
  else:
    # The caller's wish: what is left out is on record, and goes out no more.
    alike = heads.LANGUAGE if head in heads.LANGUAGE else (head,)
    stored = next((name for name in held if name in alike), None)
    here = head if stored else None
    if here != stored:  # masked as causal, or the other way round
      config = dataclasses.replace(config, causal=here == 'causal')
    wanted = table(config, here, pooler=True)
    # Another head's weights; of the body nothing is ever left out.
    other = {
      name
      for name in found
      if name not in wanted and name.partition('.')[0] in HEAD_STARTS
    }
    left = [names[name] for name in found if name in other]
    found = {name: t for name, t in found.items() if name not in other}
  if here != 'estimate':
    config = dataclasses.replace(config, estimator=(), estimator_norm=False)
  elif not config.estimator:
    raise ValueError(f'{folder}/config.json: {ESTIMATOR_SIZES} is missing')
  labels = label_names(config_json) if here in heads.LABELLED else None
  tied, unused = _ties(config_json, found)
  pooler = any(name.startswith('pooler.') for name in found)
  rows = table(config, here, len(labels or ()), tied=tied, pooler=pooler)
  check(folder, rows, found, names)
  used = {name: t for name, t in found.items() if name not in unused}
  leaves, twice = gather(rows, used, lambda tensor: [(tensor, None)])
  source = {
    'config': config_json,
    'prefix': max(map(prefix, names.values())),
    'tied': tied,
    'files': there.files,
    'index': there.index,
    'duplicates': [names[name] for name in twice],
    'dropped': dropped,
    'unused': {names[name]: data for name, data in unused.items()},
    'left': left,
    'head': stored,
    'texts': texts,
    'text': (folder / 'config.json').read_bytes().decode(),
    'body': str(folder.relative_to(outer)),
  }
  params = nest(leaves if lazily else load(leaves, start, timer))
  if lazily and timer is not None:
    timer['read'] = time.perf_counter() - start
  return Weights(config, params, here, labels, tied, source, how)


def gather(
  rows: Mapping[str, Row],
  found: Mapping[str, Any],
  pieces: Callable[[Any], list[tuple[Tensor, tuple[int, ...] | None]]],
) -> tuple[dict[str, Lazy], list[str]]:
  """Our leaves made of their tensors, by path; and names found twice over.

  Args:
    rows: where each name belongs.
    found: what stands under a name.
    pieces: of that, the tensors and where each starts in the whole (None: it
      is the whole).
  """
  parts: dict[str, list[Part]] = {}
  dtypes: dict[str, np.dtype] = {}
  taken, twice = set(), []
  for name, row in rows.items():
    if name not in found:
      continue
    if (row.path, row.layer) in taken:  # stored under two names: read once
      twice.append(name)
      continue
    taken.add((row.path, row.layer))
    for tensor, starts in pieces(found[name]):
      starts = starts or (0,) * len(tensor.shape)
      at = [slice(s, s + n) for s, n in zip(starts, tensor.shape, strict=True)]
      at = at[::-1] if row.flip else at
      layer = [] if row.layer is None else [row.layer]
      part = Part(tensor, (*layer, *at), row.flip)
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


def load(
  leaves: Mapping[str, Lazy], start: float, timer: dict[str, float] | None
) -> dict[str, np.ndarray]:
  """Lazy leaves → arrays, by a few threads; times it since `start`."""
  reader = safetensors_file.Reader()
  arrays = {path: lazy.read(leaf, reader) for path, leaf in leaves.items()}
  reader.run()
  if timer is not None:
    wall = time.perf_counter() - start
    share = reader.transform / ((reader.read + reader.transform) or 1.0)
    timer['read'] = wall * (1 - share)
    timer['transform'] = wall * share
  return arrays


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
  leaves = dict(_flatten(weights.params))
  labels = weights.labels if head in heads.LABELLED else None
  if head in heads.LABELLED and labels is None:
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
      base=source['config'] if source else _kind_of(tokenizer_dir),
    )
    below, texts = '', None
  else:
    files, index, finer = _source_files(source, rows, leaves)
    config_json = _patched(source, config, labels, weights.tied)
    if head != source.get('head', head):  # mlm and causal share their keys
      kind = XL if is_xl(config_json) else config_json['model_type']
      config_json['architectures'] = [MODEL_TYPES[kind] + HEADS[head]]
    if finer:
      key = 'torch_dtype' if 'torch_dtype' in config_json else 'dtype'
      config_json[key] = leaves['encoder/embed/tokens'].dtype.name
    below, texts = source.get('body', ''), source.get('texts')
  if weights.pooling is not None and pooled.MODULES not in (texts or {}):
    made_up = pooled.texts(weights.pooling, config.model_dim)
    texts = {**(texts or {}), **made_up}

  with storage.whole(folder, overwrite=overwrite) as made:
    body = made / below
    body.mkdir(exist_ok=True)
    hf_files.save(body, files, index)
    if source and config_json == source['config'] and 'text' in source:
      (body / 'config.json').write_bytes(source['text'].encode())
    else:
      save_json(body / 'config.json', config_json)
    for name, text in (texts or {}).items():
      if not (made / name).resolve().is_relative_to(made.resolve()):
        raise ValueError(f'{name} of the source would lie outside {folder}')
      (made / name).parent.mkdir(parents=True, exist_ok=True)
      (made / name).write_text(text, encoding='utf-8')
    if tokenizer_dir is not None:
      for name, data in tokenizer_files(
        tokenizer_dir, config.max_length, config_json['model_type']
      ).items():
        (body / name).write_bytes(data)


@dataclasses.dataclass(frozen=True)
class _Later:
  """A tensor of theirs in a lazy leaf of ours: read when it is written."""

  leaf: Any
  row: Row

  @property
  def shape(self) -> tuple[int, ...]:
    return self.row.shape

  @property
  def dtype(self) -> np.dtype:
    return self.leaf.dtype

  @property
  def size(self) -> int:
    return math.prod(self.shape)

  @property
  def nbytes(self) -> int:
    return self.size * self.dtype.itemsize

  def __array__(self, dtype=None, copy=None) -> np.ndarray:
    del copy
    return np.asarray(_view(self.leaf, self.row), dtype)


def _flatten(tree: Mapping, path: str = '') -> Iterator[tuple[str, Any]]:
  for key, value in tree.items():
    if isinstance(value, Mapping):
      yield from _flatten(value, f'{path}{key}/')
    else:
      lazily = hasattr(value, 'resized')
      yield f'{path}{key}', value if lazily else np.asarray(value)


def _theirs(leaves: Mapping[str, np.ndarray], row: Row) -> np.ndarray:
  """Their tensor of a row: a view, or a lazy leaf's promise of it."""
  leaf = leaves[row.path]
  return _view(leaf, row) if isinstance(leaf, np.ndarray) else _Later(leaf, row)


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
) -> tuple[Files, dict | None]:
  """The files of transformers 5: nothing twice, poolers on bare bodies."""
  start = '' if HEADS[weights.head] == HEADS[None] else PREFIXES[0]
  arrays = {}
  for name, row in rows.items():
    if weights.tied and name in (DECODER, DECODER_BIAS):
      continue
    if row.path.startswith('pooler/') and start:
      continue
    body = name.startswith(BODY)
    array = _theirs(leaves, row)
    arrays[start + name if body else name] = array, DTYPE_NAMES[array.dtype]
  extra: Files = {}
  for file in hf_files.EXTRA:
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
  files = {
    f'model-{i:05d}-of-{len(shards):05d}.safetensors': (metadata, shard)
    for i, shard in enumerate(shards, 1)
  }
  return {**files, **extra}, {'metadata': total}


def _source_files(
  source: Mapping[str, Any],
  rows: Mapping[str, Row],
  leaves: Mapping[str, np.ndarray],
) -> tuple[Files, dict | None, bool]:
  """The source's files; True where its dtypes would lose bits, so are left."""
  files: Files = {}
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


# --- Tokenizer files ---------------------------------------------------------


def _kind_of(tokenizer_dir) -> dict[str, Any]:
  """What a tokenizer says of a model that was never Hugging Face's."""
  if tokenizer_dir is None or (pathlib.Path(tokenizer_dir) / SPM).is_file():
    files = {} if tokenizer_dir is None else tokenizer_files(tokenizer_dir)
    settings = json.loads(files.get('tokenizer_config.json', b'{}'))
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
  files = {
    name: (folder / name).read_bytes()
    for name in TOKENIZER_FILES
    if (folder / name).is_file()
  }
  if list(files) != [SPM]:
    return files
  name = 'Camembert' if kind == 'camembert' else 'XLMRoberta'
  # <mask> eats the space before it, as in the published models.
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
  return files | {'tokenizer_config.json': text.encode()}
