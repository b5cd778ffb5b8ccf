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

from xlmr_jax.hf_files import load_json

MODULES = 'modules.json'
LENGTH = 'sentence_bert_config.json'
SETTINGS = 'config_sentence_transformers.json'

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
  for module in load_json(folder / MODULES, list):
    if _kind(module) == 'Transformer':
      return folder / module.get('path', '')
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
    texts[name] = (folder / name).read_text(encoding='utf-8')
    return value

  how, normalize = None, False
  inner = body(folder).relative_to(folder)
  for module in take(MODULES, list):
    kind, path = _kind(module), module.get('path', '')
    if kind == 'Pooling':
      how = _how(folder / path, take(f'{path}/config.json'))
    elif kind == 'Normalize':
      normalize = True
    elif kind != 'Transformer':
      raise ValueError(
        f'{folder / MODULES}: module {kind} is not supported; known are '
        'Transformer, Pooling and Normalize'
      )
  if how is None:
    raise ValueError(f'{folder / MODULES} names no Pooling')
  length = {}
  name = str(inner / LENGTH) if inner.parts else LENGTH
  if (folder / name).is_file():
    length = take(name)
  settings = take(SETTINGS) if (folder / SETTINGS).is_file() else {}
  return Pooling(
    how=how,
    normalize=normalize,
    max_length=length.get('max_seq_length'),
    lowercase=bool(length.get('do_lower_case')),
    prompts=dict(settings.get('prompts') or {}),
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


def _kind(module: dict) -> str:
  """The last word of a module's class: its package's path has changed."""
  return module.get('type', '').rpartition('.')[2]


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
