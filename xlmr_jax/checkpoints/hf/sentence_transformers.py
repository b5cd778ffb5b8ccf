"""How a model makes a vector of a text, or a score of a pair.

sentence-transformers' files:

  modules.json                      body → pooling → dense → normalisation
  1_Pooling/config.json             which pooling
  2_Dense/                          a layer after it (projection.py)
  sentence_bert_config.json         the longest text, until version 5
  tokenizer_config.json             the longest text, since version 6
  config_sentence_transformers.json prompts by name; a score's activation

`read` parses them, and keeps their text for writing. A cross-encoder was
config.json alone until version 5; since 6 it has modules.json too.
"""

from collections.abc import Mapping
import json
import pathlib
from typing import Any

from xlmr_jax.checkpoints.hf.files import Folder
from xlmr_jax.checkpoints.weights import Pooling, Scoring

MODULES = 'modules.json'
CONFIG, TOKENIZER = 'config.json', 'tokenizer_config.json'
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
# transformer_task: a vector of a text, a score of a pair.
TASK, SCORING_TASK = 'feature-extraction', 'sequence-classification'
VECTOR = 'sentence_embedding'  # what their modules call a text's vector
NO_LIMIT = 10**9  # transformers writes 1e30 for a tokenizer without a limit


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


def read(
  folder: Folder,
) -> tuple[Pooling | None, Scoring | None, dict[str, str]]:
  """What a folder says of vectors and of scores; its files' text by path.

  Raises:
    ValueError: a module or a pooling that is not supported.
  """
  if not folder.has(MODULES):
    return None, _scoring(folder, pathlib.PurePath(), {}, {}), {}
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
      names.append(path / CONFIG)
      how = _how(folder.path / names[-1], folder.json(names[-1]))
    elif kind == 'Dense':
      if how is None or normalize or path / 'config.json' in names:
        raise ValueError(
          f'{where}: one Dense is supported, between Pooling and Normalize'
        )
      names.append(path / 'config.json')
    elif kind == 'Normalize':
      normalize = True
      if path.parts and folder.has(path / CONFIG):
        names.append(path / CONFIG)
        _check_vectors(folder.path / names[-1], folder.json(names[-1]))
    elif kind != 'Transformer':
      raise ValueError(
        f'{where}: module {kind} is not supported; known are Transformer, '
        'Pooling, Dense and Normalize'
      )
  facts, settings = {}, {}
  for name in (inner / name for name in LENGTHS):
    if folder.has(name):
      names.append(name)
      facts = folder.json(name)
      break
  if folder.has(SETTINGS):
    names.append(SETTINGS)
    settings = folder.json(SETTINGS)
  kept = {str(name): folder.text(name) for name in names}
  task = facts.get('transformer_task', TASK)
  if task == SCORING_TASK and how is None and not normalize:
    return None, _scoring(folder, inner, facts, settings), kept
  if task != TASK:
    raise ValueError(
      f'{folder.path / name}: transformer_task = {task!r} is not supported; it '
      f'is {TASK}, or {SCORING_TASK} without a Pooling'
    )
  if how is None:
    raise ValueError(f'{where} names no Pooling')
  pooling = Pooling(
    how=how,
    normalize=normalize,
    max_length=_longest(folder, inner, facts),
    lowercase=bool(facts.get('do_lower_case')),
    prompts=_prompts(folder, settings),
    default_prompt=settings.get('default_prompt_name'),
  )
  return pooling, None, kept


def _prompts(folder: Folder, settings: Mapping[str, Any]) -> dict[str, str]:
  """Prompts by name; null is no prompt, as theirs reads it."""
  prompts = settings.get('prompts') or {}
  if not isinstance(prompts, dict) or not all(
    isinstance(text, str | None) for text in prompts.values()
  ):
    raise ValueError(
      f'{folder.path / SETTINGS}: prompts should be texts by name, not '
      f'{prompts!r}'
    )
  return {name: text or '' for name, text in prompts.items()}


def _longest(
  folder: Folder, inner: pathlib.PurePath, facts: Mapping[str, Any]
) -> int | None:
  """The most tokens of a text, None where no file gives a limit.

  In the order of sentence-transformers 6 (base/modules/transformer.py): what
  a call of the tokenizer is given, what the tokenizer is made with, the older
  versions' max_seq_length, and the tokenizer's own limit.
  """
  calls = facts.get('processing_kwargs') or {}
  made = facts.get('processor_kwargs') or facts.get('tokenizer_args') or {}
  file = next((inner / n for n in LENGTHS if folder.has(inner / n)), None)
  own = {}
  if folder.has(inner / TOKENIZER):
    own = folder.json(inner / TOKENIZER)
  for settings, key, name in (
    (calls.get('text') or {}, 'max_length', file),
    (calls.get('common') or {}, 'max_length', file),
    (made, 'model_max_length', file),
    (facts, 'max_seq_length', file),
    (own, 'model_max_length', inner / TOKENIZER),
  ):
    longest = settings.get(key)
    if longest is None:
      continue
    if isinstance(longest, float) and longest.is_integer():
      longest = int(longest)
    if type(longest) is not int or longest < 3:
      raise ValueError(
        f'{folder.path / name}: {key} = {longest!r} should be a number '
        'of tokens, <s> and </s> included, or null'
      )
    return longest if longest < NO_LIMIT else None
  return None


def _scoring(
  folder: Folder,
  inner: pathlib.PurePath,
  facts: Mapping[str, Any],
  settings: Mapping[str, Any],
) -> Scoring | None:
  """How a cross-encoder scores a pair; None where no file says anything.

  Any classifier is one to sentence-transformers. The activation's name stands
  in the settings (6), or in config.json under sentence_transformers (4, 5) or
  sbert_ce_default_activation_function (to 3).
  """
  config = folder.json(inner / CONFIG) if folder.has(inner / CONFIG) else {}
  newer = config.get('sentence_transformers')
  newer = newer if isinstance(newer, dict) else {}
  names = (
    settings.get('activation_fn'),
    newer.get('activation_fn'),
    config.get('sbert_ce_default_activation_function'),
  )
  scoring = Scoring(
    activation=next((name for name in names if name), None),
    max_length=_longest(folder, inner, facts),
    prompts=_prompts(folder, settings),
    default_prompt=settings.get('default_prompt_name'),
  )
  return scoring if scoring != Scoring() else None


def _check_vectors(file: pathlib.Path, config: Mapping[str, Any]) -> None:
  """Raises ValueError where Normalize scales anything but a text's vector."""
  for key in ('module_input_name', 'module_output_name'):
    if config.get(key, VECTOR) not in (VECTOR, None):
      raise ValueError(
        f'{file}: {key} = {config[key]!r} is not supported; it is {VECTOR}'
      )


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
  if mode := config.get('pooling_mode'):  # newer files: a name, or several
    modes = mode if isinstance(mode, list) else [mode]
    on = [f'pooling_mode_{m}_token' + 's' * (m != 'cls') for m in modes]
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
