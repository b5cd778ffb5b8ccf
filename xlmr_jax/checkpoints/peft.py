"""PEFT's folders: adapter_config.json, adapter_model.safetensors, no body.

A folder holds low-rank updates, and the head that was trained beside them; the
body is in another model, its base. `read` puts both together, and `write`
takes them apart: what was read comes back byte for byte.

What PEFT has and this project has not is refused by name. Nothing here imports
peft.
"""

from collections.abc import Mapping
import dataclasses
import json
import math
import pathlib
import re
from typing import Any

import numpy as np

from xlmr_jax import heads
from xlmr_jax.checkpoints import native
from xlmr_jax.checkpoints.formats import safetensors_file, torch_file
from xlmr_jax.checkpoints.formats.safetensors_file import DTYPES, Tensor
from xlmr_jax.checkpoints.hf import files, names
from xlmr_jax.checkpoints.weights import (
  STORED,
  Weights,
  check_shapes,
  flatten,
  merged,
  nest,
  with_head,
)
from xlmr_jax.layers.lora import A, B, Lora
from xlmr_jax.runtime import storage

CONFIG, WEIGHTS, BIN = (
  'adapter_config.json',
  'adapter_model.safetensors',
  'adapter_model.bin',
)
_ROOT = 'base_model.model.'
_LABELS = 'labels'  # of the file's metadata: ours, which PEFT passes over

# Settings that change what an adapter computes, or what its files hold, and
# the values of them that are understood.
_PLAIN: Mapping[str, tuple] = {
  'peft_type': ('LORA',),
  'bias': ('none', None),
  'fan_in_fan_out': (False, None),
  'layers_to_transform': (None, []),
  'layer_replication': (None, []),
  'lora_bias': (False, None),
  'target_parameters': (None, []),
  'trainable_token_indices': (None, [], {}),
  'use_bdlora': (None, False),
  'use_dora': (False, None),
  'use_qalora': (False, None),
  'alora_invocation_tokens': (None, []),
  'arrow_config': (None, {}),
  'kasa_config': (None, {}),
  'monteclora_config': (None, {}),
  'velora_config': (None, {}),
}
# Ways to start that change the base's own weights.
_STARTS = ('pissa', 'olora', 'loftq', 'corda', 'lora_ga')


def recognise(path: pathlib.Path) -> bool:
  """Whether a path is a folder of PEFT's, without a model beside it."""
  return (path / CONFIG).is_file() and not any(
    (path / name).exists() for name in ('config.json', native.MODEL)
  )


def base_of(folder: pathlib.Path) -> str:
  """The name of the model that an adapter was made for.

  Raises:
    ValueError: adapter_config.json names none.
  """
  name = files.load_json(folder / CONFIG).get('base_model_name_or_path')
  if not name or not isinstance(name, str):
    raise ValueError(
      f'{folder / CONFIG} names no base_model_name_or_path: give the model '
      'that the adapter was made for as base (--base)'
    )
  return name


def read(
  folder: pathlib.Path,
  *,
  base: Weights,
  head: str | None = STORED,
  lazily: bool = False,
  timer: dict[str, float] | None = None,
) -> Weights:
  """Reads an adapter, and puts it on its base.

  Args:
    folder: of the adapter.
    base: the model that it was made for.
    head: as for `directory.read`.
    lazily: an adapter is small and always read; the base may be in files.
    timer: not used: the base takes the time.

  Raises:
    ValueError: settings or tensors that are not understood, or that do not fit
      the base.
  """
  del lazily, timer
  text = files.Folder(folder).text(CONFIG)
  facts = files.load_json(folder / CONFIG)
  _check_facts(folder / CONFIG, facts)
  tensors, metadata = _tensors(folder)
  file = next(iter(tensors.values())).file
  base, labels = _with_their_head(file, facts, tensors, metadata, merged(base))
  rows = names.table(base.config, base.head, len(labels or ()), tied=base.tied)
  updates: dict[str, dict[int, dict[str, np.ndarray]]] = {}
  modules: dict[str, str] = {}
  leaves = {}
  for key, tensor in tensors.items():
    name = _plain_name(key)
    match = re.fullmatch(r'(.*)\.lora_([AB])\.weight', name)
    row = rows.get(f'{match[1]}.weight' if match else name)
    if row is None or match and not row.flip:
      raise ValueError(
        f'{file}: {key!r} adapts nothing that this model has: adapters may '
        f'stand on {", ".join(sorted(_suffixes()))}'
      )
    if row.path.startswith('head/'):
      if match:
        raise ValueError(
          f'{file}: {key!r} is an adapter on a head: here heads are trained '
          'whole (modules_to_save); merge it with peft first'
        )
      if tensor.shape != row.shape:
        raise ValueError(
          f'{file}: {key!r} has the shape {tensor.shape}, and the head needs '
          f'{row.shape}'
        )
      array = _array(tensor)
      leaves[row.path] = array.T if row.flip else array
      continue
    if not match or row.layer is None:
      raise ValueError(
        f'{file}: {key!r} is a weight of the body, which stays as it is here: '
        'merge the adapter with peft first'
      )
    rank_at = 0 if match[2] == 'A' else 1
    size = row.shape[1 - rank_at]
    if len(tensor.shape) != 2 or tensor.shape[1 - rank_at] != size:
      raise ValueError(
        f'{file}: {key!r} has the shape {tensor.shape}, and the base has '
        f'{size} there: it was made for another body'
      )
    path = row.path.removesuffix('/kernel').removeprefix('encoder/')
    modules[path] = match[1]
    layer = updates.setdefault(path, {}).setdefault(row.layer, {})
    layer[match[2]] = _array(tensor).T
  if not updates:
    raise ValueError(f'{file} holds no lora_A and lora_B')
  loras = []
  for path, layers in updates.items():
    lora, a, b = _stack(file, path, modules[path], layers, facts, base)
    loras.append(lora)
    leaves |= {f'encoder/{path}/{A}': a, f'encoder/{path}/{B}': b}
  params = nest(flatten(base.params) | leaves)
  weights = dataclasses.replace(
    base,
    config=dataclasses.replace(base.config, lora=tuple(loras)),
    params=params,
    labels=labels,
    tokenizer_dir=base.tokenizer_dir or folder,
    adapter={
      'base': facts.get('base_model_name_or_path'),
      'text': text,
      'rows': [list(lora) for lora in loras],
      'head': base.head,
      'metadata': metadata,
      'tensors': {key: tensor.dtype for key, tensor in tensors.items()},
    },
  )
  check_shapes(weights, str(folder))
  return with_head(weights, head)


def _check_facts(file: pathlib.Path, facts: Mapping[str, Any]) -> None:
  """Raises ValueError for a setting that is not understood."""
  for name, known in _PLAIN.items():
    value = facts.get(name, known[0])
    if value not in known:
      raise ValueError(
        f'{file}: {name} = {value!r} is not supported, only '
        f'{json.dumps(known[0])}: merge the adapter with peft first'
      )
  start = str(facts.get('init_lora_weights', '')).lower()
  if start.startswith(_STARTS):
    raise ValueError(
      f'{file}: init_lora_weights = {start!r} changes the base: merge the '
      'adapter with peft first'
    )
  task = facts.get('task_type')
  if task is not None and task not in names.TASK_TYPES:
    raise ValueError(
      f'{file}: task_type = {task!r} is not one of '
      f'{", ".join(names.TASK_TYPES)}'
    )


def _tensors(folder: pathlib.Path) -> tuple[dict[str, Tensor], dict | None]:
  if (folder / WEIGHTS).is_file():
    held, metadata = safetensors_file.header(folder / WEIGHTS)
  elif (folder / BIN).is_file():
    held, metadata = torch_file.read(folder / BIN), {'format': 'pt'}
  else:
    raise ValueError(f'{folder} has no {WEIGHTS} and no {BIN}')
  for key, tensor in held.items():
    if not isinstance(tensor, Tensor) or not key.startswith(_ROOT):
      raise ValueError(
        f'{folder}: {key!r} is no tensor of an adapter: they begin with {_ROOT}'
      )
    if tensor.dtype not in DTYPES:
      raise ValueError(f'{folder}: {key!r} has the dtype {tensor.dtype}')
  if not held:
    raise ValueError(f'{folder} holds no tensor')
  return dict(held), metadata


def _plain_name(key: str) -> str:
  return names.canonical(key.removeprefix(_ROOT))


def _array(tensor: Tensor) -> np.ndarray:
  raw = safetensors_file.raw(tensor)
  return np.frombuffer(raw, DTYPES[tensor.dtype]).reshape(tensor.shape)


def _with_their_head(
  file: pathlib.Path,
  facts: Mapping[str, Any],
  tensors: Mapping[str, Tensor],
  metadata: Mapping[str, str] | None,
  base: Weights,
) -> tuple[Weights, tuple[str, ...] | None]:
  """The base with the head that the adapter is for, and the classes' names."""
  task = facts.get('task_type')
  head = base.head if task is None else names.TASK_TYPES[task]
  if head is None:
    return with_head(base, None), None
  keys = {_plain_name(key): tensor for key, tensor in tensors.items()}
  starts = {name.partition('.')[0] for name in names.HEAD_NAMES[head].values()}
  own = [key for key in keys if key.partition('.')[0] in starts]
  labels = base.labels if base.head == head else None
  if not own:
    if base.head != head:
      raise ValueError(
        f'{file} holds no head for task_type = {task!r}, and neither does its '
        'base: modules_to_save should name it'
      )
    return base, labels
  base = with_head(base, None)
  base = dataclasses.replace(base, head=head, tied=True)
  if not heads.HEADS[head].labelled:
    return base, None
  module = names.HEAD_NAMES[head]['head/out']
  bias = keys.get(f'{module}.bias')
  if bias is None:
    raise ValueError(f'{file}: missing key {_ROOT}{module}.bias')
  count = bias.shape[0]
  known = json.loads((metadata or {}).get(_LABELS, 'null'))
  for given in (known, labels):
    if given is not None and len(given) == count:
      return base, tuple(given)
  return base, tuple(f'LABEL_{i}' for i in range(count))


def _stack(file, path, module, layers, facts, base: Weights):
  """(the row of Config.lora, A and B stacked along layers) of one Dense."""
  count = base.config.num_layers
  lacking = [str(n) for n in range(count) if len(layers.get(n, ())) < 2]
  if lacking:
    raise ValueError(
      f'{file}: {path.removeprefix("layers/")} has no adapter in layer '
      f'{", ".join(lacking)} of {count}: one must stand on all layers or on '
      'none'
    )
  ranks = {n['A'].shape[1] for n in layers.values()}
  ranks |= {n['B'].shape[0] for n in layers.values()}
  scales = set()
  rank = _setting(facts, 'r', 'rank_pattern', module)
  for layer in layers:
    name = re.sub(r'\.layer\.\d+\.', f'.layer.{layer}.', module)
    ranks.add(_setting(facts, 'r', 'rank_pattern', name))
    root = math.sqrt(rank) if facts.get('use_rslora') else rank
    scales.add(_setting(facts, 'lora_alpha', 'alpha_pattern', name) / root)
  if len(ranks) > 1 or len(scales) > 1:
    raise ValueError(
      f'{file}: {path.removeprefix("layers/")} has the ranks '
      f'{sorted(ranks)} and the scales {sorted(scales)}: one Dense must have '
      'the same in all layers, as its files and adapter_config.json say'
    )
  a, b = (
    np.stack([layers[n][x] for n in range(count)]).astype(np.float32)
    for x in 'AB'
  )
  dropout = float(facts.get('lora_dropout') or 0)
  return Lora(path, rank, float(scales.pop()), dropout), a, b


def _setting(facts, name: str, pattern: str, module: str):
  """A setting of one module, as PEFT looks it up: pattern, then default."""
  for key, value in (facts.get(pattern) or {}).items():
    if re.match(rf'(.*\.)?({key})$', module):
      return value
  return facts.get(name, 8)  # PEFT's default of both


def _suffixes() -> dict[str, str]:
  """Ends of their modules' names → the Dense's path here."""
  return {
    name.partition('.{}.')[2]: path.removeprefix('encoder/')
    for path, name in names.NAMES.items()
    if '.{}.' in name and 'LayerNorm' not in name
  }


def write(folder, weights: Weights) -> None:
  """Writes an adapter and its head as PEFT does, whole or not at all.

  Args:
    folder: a new or empty directory.
    weights: as `weights.on_host` makes them.

  Raises:
    ValueError: there is no adapter, no base or no task of PEFT's for the head.
  """
  known = weights.adapter or {}
  if not weights.config.lora:
    raise ValueError(
      'the model has no adapters to write (config.tune=lora trains some): '
      "write it whole, with the format 'hf'"
    )
  tasks = {head: task for task, head in names.TASK_TYPES.items()}
  if weights.head not in tasks:
    raise ValueError(
      f"PEFT's files have no place for the head {weights.head!r}: write the "
      "model merged, with the format 'hf'"
    )
  if not known.get('base'):
    raise ValueError(
      'no base is known for the adapters (the run began with fresh '
      "parameters): name a model with --base, or write it merged, with 'hf'"
    )
  plain = dataclasses.replace(weights.config, lora=())
  classes = len(weights.labels or ())
  rows = names.table(plain, weights.head, classes, tied=weights.tied)
  prefix = names.PREFIXES[0] if weights.head else ''
  leaves = flatten(weights.params)
  out = {}
  for name, row in rows.items():
    leaf = leaves.get(row.path)
    if row.path.startswith('head/'):
      out[f'{_ROOT}{name}'] = np.asarray(leaf).T if row.flip else leaf
    module = row.path.removesuffix('/kernel')
    if f'{module}/{A}' in leaves and row.flip:
      stem = f'{_ROOT}{prefix}{name.removesuffix(".weight")}'
      for leaf_name, letter in ((A, 'A'), (B, 'B')):
        array = np.asarray(leaves[f'{module}/{leaf_name}'])[row.layer].T
        out[f'{stem}.lora_{letter}.weight'] = array
  by_name = {_plain_name(key): array for key, array in out.items()}
  if (
    known.get('rows') == [list(lora) for lora in weights.config.lora]
    and known['head'] == weights.head
  ):  # as it was read: a head that its files did not hold is the base's
    text, metadata = known['text'], known['metadata']
    facts = json.loads(text)
    if facts.get('base_model_name_or_path') != known['base']:
      facts['base_model_name_or_path'] = known['base']
      text = json.dumps(facts, indent=2, sort_keys=True)
    stored: dict[str, Any] = {
      key: (by_name[_plain_name(key)], dtype)
      for key, dtype in known['tensors'].items()
    }
  else:
    facts = _facts(weights, tasks[weights.head], known['base'])
    text = json.dumps(facts, indent=2, sort_keys=True)
    metadata = {'format': 'pt'}
    if weights.labels:
      metadata[_LABELS] = json.dumps(list(weights.labels))
    stored = {key: (out[key], 'F32') for key in sorted(out)}
  with storage.whole(folder) as made:
    storage.write_text(made / CONFIG, text)
    safetensors_file.write(made / WEIGHTS, stored, metadata)
    if weights.tokenizer_dir is not None:
      native.copy_tokenizer(weights.tokenizer_dir, made)


def _facts(weights: Weights, task: str, base: str) -> dict[str, Any]:
  """adapter_config.json for adapters that PEFT did not make."""
  ends = {path: end for end, path in _suffixes().items()}
  loras = weights.config.lora
  targets: list[str] | str = [ends[lora.path] for lora in loras]
  # PEFT looks at the ends of names: 'output.dense' is also attention's.
  if any(
    end.endswith(f'.{target}')
    for target in targets
    for end in ends.values()
    if end not in targets
  ):
    ends_of = '|'.join(re.escape(target) for target in targets)
    targets = rf'(.*\.)?encoder\.layer\.\d+\.({ends_of})'
  alphas = {lora.path: lora.scale * lora.rank for lora in loras}
  first = loras[0]

  def pattern(values, default):
    return {
      rf'layer\.\d+\.{re.escape(ends[path])}': value
      for path, value in values.items()
      if value != default
    }

  tidy = lambda x: int(x) if x == int(x) else x
  alphas = {path: tidy(alpha) for path, alpha in alphas.items()}
  modules = {
    name.partition('.')[0] for name in names.HEAD_NAMES[weights.head].values()
  }
  return {
    'alpha_pattern': pattern(alphas, alphas[first.path]),
    'base_model_name_or_path': base,
    'bias': 'none',
    'fan_in_fan_out': False,
    'inference_mode': True,
    'init_lora_weights': True,
    'lora_alpha': alphas[first.path],
    'lora_dropout': first.dropout,
    'modules_to_save': sorted(modules) or None,
    'peft_type': 'LORA',
    'r': first.rank,
    'rank_pattern': pattern({x.path: x.rank for x in loras}, first.rank),
    'target_modules': targets,
    'task_type': task,
    'use_dora': False,
    'use_rslora': False,
  }
