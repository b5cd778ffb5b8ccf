"""How a model makes one vector of a text: sentence-transformers' files.

  modules.json                      body → pooling → dense → normalisation
  1_Pooling/config.json             which pooling
  2_Dense/                          a layer after it (projection.py)
  sentence_bert_config.json         the longest text
  config_sentence_transformers.json prompts by name

`read` parses them, and keeps their text for writing.
"""

import json
import pathlib
from typing import Any

from xlmr_jax.checkpoints.hf.files import Folder
from xlmr_jax.checkpoints.weights import Pooling

MODULES = 'modules.json'
LENGTH = 'sentence_bert_config.json'
SETTINGS = 'config_sentence_transformers.json'
# What the first versions called LENGTH, in the order they are looked for.
_BODIES = 'bert roberta distilbert camembert albert xlm-roberta xlnet'.split()
LENGTHS = tuple(f'sentence_{body}_config.json' for body in _BODIES)

# Their switch → our name.
SWITCHES = {
  'pooling_mode_cls_token': 'cls',
  'pooling_mode_mean_tokens': 'mean',
}
DENSE = '2_Dense'  # where ours goes
_TYPES = 'sentence_transformers.models.'


def body(folder: Folder) -> pathlib.PurePath:
  """Where the body lies below a folder; older models have it in a folder."""
  if not folder.has(MODULES):
    return pathlib.PurePath()
  for kind, path in _modules(folder):
    if kind == 'Transformer':
      return path
  raise ValueError(f'{folder.path / MODULES} names no Transformer')


def dense(folder: Folder) -> pathlib.PurePath | None:
  """Where the layer after the pooling lies, if there is one."""
  paths = [path for kind, path in _modules(folder) if kind == 'Dense']
  return paths[0] if paths else None


def read(folder: Folder) -> tuple[Pooling | None, dict[str, str]]:
  """(what a folder says about pooling, text of its files by path).

  Raises:
    ValueError: a module or a pooling that is not supported.
  """
  if not folder.has(MODULES):
    return None, {}
  where = folder.path / MODULES
  names: list[pathlib.PurePath | str] = [MODULES]
  how, normalize = None, False
  inner = body(folder)
  for kind, path in _modules(folder):
    if kind == 'Pooling':
      if how is not None:
        raise ValueError(f'{where} names more than one Pooling')
      if normalize:
        raise ValueError(f'{where}: Normalize stands before Pooling')
      names.append(path / 'config.json')
      how = _how(folder.path / names[-1], folder.json(names[-1]))
    elif kind == 'Dense':
      if how is None or normalize or path / 'config.json' in names:
        raise ValueError(
          f'{where}: one Dense is supported, between Pooling and Normalize'
        )
      names.append(path / 'config.json')
    elif kind == 'Normalize':
      normalize = True
    elif kind != 'Transformer':
      raise ValueError(
        f'{where}: module {kind} is not supported; known are Transformer, '
        'Pooling, Dense and Normalize'
      )
  if how is None:
    raise ValueError(f'{where} names no Pooling')
  length, settings = {}, {}
  for name in (inner / name for name in LENGTHS):
    if folder.has(name):
      names.append(name)
      length = folder.json(name)
      break
  if folder.has(SETTINGS):
    names.append(SETTINGS)
    settings = folder.json(SETTINGS)
  longest = length.get('max_seq_length')
  if longest is not None and (type(longest) is not int or longest < 3):
    raise ValueError(
      f'{folder.path / name}: max_seq_length = {longest!r} should be a number '
      'of tokens, <s> and </s> included, or null'
    )
  prompts = settings.get('prompts') or {}
  if not isinstance(prompts, dict) or not all(
    isinstance(text, str) for text in prompts.values()
  ):
    raise ValueError(
      f'{folder.path / SETTINGS}: prompts should be texts by name, not '
      f'{prompts!r}'
    )
  pooling = Pooling(
    how=how,
    normalize=normalize,
    max_length=longest,
    lowercase=bool(length.get('do_lower_case')),
    prompts=prompts,
    default_prompt=settings.get('default_prompt_name'),
  )
  return pooling, {str(name): folder.text(name) for name in names}


def texts(
  pooling: Pooling, width: int, dense: dict | None = None
) -> dict[str, str]:
  """The files that say so, for sentence-transformers to load.

  Args:
    pooling: of the model.
    width: D.
    dense: config.json of the layer after the pooling, where there is one.
  """
  names = ['Transformer', 'Pooling'] + ['Dense'] * (dense is not None)
  names += ['Normalize'] * pooling.normalize
  modules = [
    {
      'idx': i,
      'name': str(i),
      'path': f'{i}_{name}' if i else '',
      'type': _TYPES + name,
    }
    for i, name in enumerate(names)
  ]
  switches = {switch: how == pooling.how for switch, how in SWITCHES.items()}
  length = {
    'max_seq_length': pooling.max_length,
    'do_lower_case': pooling.lowercase,
  }
  settings = {
    'prompts': pooling.prompts,
    'default_prompt_name': pooling.default_prompt,
    'similarity_fn_name': 'cosine',
  }
  values: dict[str, Any] = {
    MODULES: modules,
    '1_Pooling/config.json': {'word_embedding_dimension': width, **switches},
    LENGTH: length,
    SETTINGS: settings,
  }
  if dense is not None:
    values[f'{DENSE}/config.json'] = dense
  return {k: json.dumps(v, indent=2) + '\n' for k, v in values.items()}


def _modules(folder: Folder) -> list[tuple[str, pathlib.PurePath]]:
  """The kind of each module, and its path below the folder.

  Raises:
    ValueError: an entry is no module, or its path leads out of the folder,
      where the way back would write.
  """
  out, where = [], folder.path / MODULES
  for module in folder.json(MODULES, list):
    try:
      # The last word of its class: the path of the package has changed.
      kind = module['type'].rpartition('.')[2]
      path = pathlib.PurePath(module.get('path', ''))
    except (AttributeError, KeyError, TypeError) as e:
      raise ValueError(f'{where}: {module!r} is no module') from e
    if path.is_absolute() or '..' in path.parts:
      raise ValueError(f'{where}: {str(path)!r} is no path below it')
    out.append((kind, path))
  return out


def _how(file: pathlib.Path, config: dict) -> str:
  """Which pooling a file's settings mean."""
  on = [k for k, v in config.items() if k.startswith('pooling_mode_') and v]
  if mode := config.get('pooling_mode'):  # newer files: a name
    on = [f'pooling_mode_{mode}_token' + 's' * (mode != 'cls')]
  if len(on) != 1 or on[0] not in SWITCHES:
    raise ValueError(
      f'{file}: pooling {", ".join(on) or "none"} is not supported; it is one '
      f'of {", ".join(SWITCHES)}'
    )
  if not config.get('include_prompt', True):
    raise ValueError(
      f"{file}: include_prompt = False, pooling without the prompt's tokens, "
      'is not supported'
    )
  return SWITCHES[on[0]]
