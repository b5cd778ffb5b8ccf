"""adapter_config.json: which settings are understood, and what is written."""

from collections.abc import Mapping
import json
import pathlib
import re
from typing import Any

from xlmr_jax.checkpoints.hf import names
from xlmr_jax.checkpoints.weights import Weights

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


def check(file: pathlib.Path, facts: Mapping[str, Any]) -> None:
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


def setting(facts, name: str, pattern: str, module: str):
  """A setting of one module, as PEFT looks it up: pattern, then default."""
  for key, value in (facts.get(pattern) or {}).items():
    if re.match(rf'(.*\.)?({key})$', module):
      return value
  return facts.get(name, 8)  # PEFT's default of both


def suffixes() -> dict[str, str]:
  """Ends of their modules' names → the Dense's path here."""
  return {
    name.partition('.{}.')[2]: path.removeprefix('encoder/')
    for path, name in names.NAMES.items()
    if '.{}.' in name and 'LayerNorm' not in name
  }


def make(weights: Weights, task: str, base: str) -> dict[str, Any]:
  """adapter_config.json for adapters that PEFT did not make."""
  ends = {path: end for end, path in suffixes().items()}
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
  head_names = names.head_names(weights.config.bert)[weights.head]
  modules = {name.partition('.')[0] for name in head_names.values()}
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
