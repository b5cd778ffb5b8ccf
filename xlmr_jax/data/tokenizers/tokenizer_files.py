"""What stands in the files of a tokenizer, as Hugging Face writes them."""

from collections.abc import Mapping
import json
import os
from typing import Any

CONFIG, SPECIALS_MAP = 'tokenizer_config.json', 'special_tokens_map.json'
# The first file that names a token decides, as in transformers.
_SETTINGS = (CONFIG, SPECIALS_MAP)

# Role: RoBERTa's token, and what Hugging Face's files call the role.
Roles = Mapping[str, tuple[str, tuple[str, ...]]]
ROLES: Roles = {
  'bos': ('<s>', ('cls_token', 'bos_token')),
  'pad': ('<pad>', ('pad_token',)),
  'eos': ('</s>', ('sep_token', 'eos_token')),
  'unk': ('<unk>', ('unk_token',)),
  'mask': ('<mask>', ('mask_token',)),
}


def read(path: str) -> Any:
  with open(path, 'rb') as file:
    return parse(file.read(), path)


def parse(content: bytes, name: str) -> dict:
  try:
    value = json.loads(content)
  except ValueError as error:
    raise ValueError(f'{name} is not JSON: {error}') from error
  if not isinstance(value, dict):
    raise ValueError(f'{name} is not a JSON object')
  return value


def contents(spec: dict, name: str) -> tuple[dict[str, int], dict[str, dict]]:
  """The pieces of a tokenizer.json with their ids, and its added tokens."""
  try:
    vocab = spec['model']['vocab']
    if isinstance(vocab, list):
      vocab = {piece: i for i, (piece, _) in enumerate(vocab)}
    added = {token['content']: token for token in spec['added_tokens']}
    ids = [*vocab.values(), *(token['id'] for token in added.values())]
    if not all(isinstance(i, int) for i in ids):
      raise TypeError('an id that is not a number')
    if not all('special' in token for token in added.values()):
      raise KeyError('special')
  except (KeyError, TypeError, ValueError, AttributeError) as error:
    raise ValueError(
      f'{name} has no model.vocab and added_tokens, so it is not a file of the'
      ' tokenizers library; save the tokenizer with its save()'
    ) from error
  return vocab, added


def name_specials(
  pieces: set[str],
  name: str,
  folder: str | None,
  given: Mapping[str, str],
  roles: Roles = ROLES,
) -> dict[str, str]:
  """Role → piece; no 'mask' where the vocabulary has none."""
  unknown = sorted(given.keys() - roles.keys())
  if unknown:
    raise ValueError(
      f'specials names {unknown[0]!r}; the roles are {", ".join(roles)}'
    )
  settings: dict[str, Any] = {}
  for file in _SETTINGS:
    path = os.path.join(folder, file) if folder is not None else ''
    if os.path.exists(path):
      settings = read(path) | {k: v for k, v in settings.items() if v}
  pieces_of = {}
  for role, (default, keys) in roles.items():
    named = [settings.get(key) for key in keys]
    # An AddedToken is written with its flags.
    named = [n.get('content') if isinstance(n, dict) else n for n in named]
    tried = [given[role]] if role in given else [*filter(None, named), default]
    piece = next((piece for piece in tried if piece in pieces), None)
    if piece is not None:
      pieces_of[role] = piece
    elif role != 'mask' or role in given:
      raise ValueError(
        f'{name} has no piece {" or ".join(map(repr, tried))}; say what it'
        f" calls its {keys[0]} in {_SETTINGS[0]}, or by specials={{'{role}':"
        ' ...}'
      )
  return pieces_of
