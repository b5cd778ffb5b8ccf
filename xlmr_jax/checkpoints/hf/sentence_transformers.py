"""How a model makes one vector of a text: sentence-transformers' files.

  modules.json                      body → pooling → normalisation
  1_Pooling/config.json             which pooling
  sentence_bert_config.json         the longest text
  config_sentence_transformers.json prompts by name

`read` understands them, and keeps their text for the way back.
"""

import dataclasses
import json
import pathlib

from xlmr_jax.checkpoints.hf.files import load_json

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
_TYPES = 'sentence_transformers.models.'


@dataclasses.dataclass(frozen=True)
class Pooling:
  """How texts become vectors.

  Attributes:
    how: 'cls' or 'mean'.
    normalize: whether vectors are scaled to length 1.
    max_length: the most tokens of a text; longer texts are cut. None: as many
      as the model holds.
    lowercase: whether texts are lower-cased first.
    prompts: what goes in front of a text, by name.
    default_prompt: the name of the prompt that is used unasked, or None.
  """

  how: str
  normalize: bool = False
  max_length: int | None = None
  lowercase: bool = False
  prompts: dict[str, str] = dataclasses.field(default_factory=dict)
  default_prompt: str | None = None


def body(folder: pathlib.Path) -> pathlib.Path:
  """The folder of the body itself; older models have it in a folder below."""
  if not (folder / MODULES).is_file():
    return folder
  for kind, path in _modules(folder):
    if kind == 'Transformer':
      return folder / path
  raise ValueError(f'{folder / MODULES} names no Transformer')


def read(folder: pathlib.Path) -> tuple[Pooling | None, dict[str, str]]:
  """(what a folder says about pooling, text of its files by path).

  Raises:
    ValueError: a module or a pooling that is not supported.
  """
  if not (folder / MODULES).is_file():
    return None, {}
  texts = {}

  def take(name, kind: type = dict):
    value = load_json(folder / name, kind)
    texts[str(name)] = (folder / name).read_bytes().decode()
    return value

  how, normalize = None, False
  inner = body(folder).relative_to(folder)
  take(MODULES, list)
  for kind, path in _modules(folder):
    if kind == 'Pooling':
      if how is not None:
        raise ValueError(f'{folder / MODULES} names more than one Pooling')
      if normalize:
        raise ValueError(f'{folder / MODULES}: Normalize stands before Pooling')
      how = _how(folder / path, take(path / 'config.json'))
    elif kind == 'Normalize':
      normalize = True
    elif kind != 'Transformer':
      raise ValueError(
        f'{folder / MODULES}: module {kind} is not supported; known are '
        'Transformer, Pooling and Normalize'
      )
  if how is None:
    raise ValueError(f'{folder / MODULES} names no Pooling')
  names = (inner / name for name in LENGTHS)
  name = next((name for name in names if (folder / name).is_file()), None)
  length = take(name) if name else {}
  settings = take(SETTINGS) if (folder / SETTINGS).is_file() else {}
  longest = length.get('max_seq_length')
  if longest is not None and (type(longest) is not int or longest < 3):
    raise ValueError(
      f'{folder / name}: max_seq_length = {longest!r} should be a number of '
      'tokens, <s> and </s> included, or null'
    )
  prompts = settings.get('prompts') or {}
  if not isinstance(prompts, dict) or not all(
    isinstance(text, str) for text in prompts.values()
  ):
    raise ValueError(
      f'{folder / SETTINGS}: prompts should be texts by name, not {prompts!r}'
    )
  return Pooling(
    how=how,
    normalize=normalize,
    max_length=longest,
    lowercase=bool(length.get('do_lower_case')),
    prompts=prompts,
    default_prompt=settings.get('default_prompt_name'),
  ), texts


def texts(pooling: Pooling, width: int) -> dict[str, str]:
  """The files that say so, for sentence-transformers to load."""
  names = ['Transformer', 'Pooling'] + ['Normalize'] * pooling.normalize
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
  values = {
    MODULES: modules,
    '1_Pooling/config.json': {'word_embedding_dimension': width, **switches},
    LENGTH: length,
    SETTINGS: settings,
  }
  return {k: json.dumps(v, indent=2) + '\n' for k, v in values.items()}


def _modules(folder: pathlib.Path) -> list[tuple[str, pathlib.PurePath]]:
  """The kind of each module, and its path below the folder.

  Raises:
    ValueError: an entry is no module, or its path leads out of the folder,
      where the way back would write.
  """
  out = []
  for module in load_json(folder / MODULES, list):
    try:
      # The last word of its class: the path of the package has changed.
      kind = module['type'].rpartition('.')[2]
      path = pathlib.PurePath(module.get('path', ''))
    except (AttributeError, KeyError, TypeError) as e:
      raise ValueError(f'{folder / MODULES}: {module!r} is no module') from e
    if path.is_absolute() or '..' in path.parts:
      raise ValueError(f'{folder / MODULES}: {str(path)!r} is no path below it')
    out.append((kind, path))
  return out


def _how(folder: pathlib.Path, config: dict) -> str:
  """Which pooling a folder's settings mean."""
  on = [k for k, v in config.items() if k.startswith('pooling_mode_') and v]
  if mode := config.get('pooling_mode'):  # newer files: a name
    on = [f'pooling_mode_{mode}_token' + 's' * (mode != 'cls')]
  if len(on) != 1 or on[0] not in SWITCHES:
    raise ValueError(
      f'{folder / "config.json"}: pooling {", ".join(on) or "none"} is not '
      f'supported; it is one of {", ".join(SWITCHES)}'
    )
  if not config.get('include_prompt', True):
    raise ValueError(
      f'{folder / "config.json"}: include_prompt = False, pooling without the '
      "prompt's tokens, is not supported"
    )
  return SWITCHES[on[0]]
