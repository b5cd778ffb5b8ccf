"""Tokens that were added to a finished vocabulary.

Hugging Face's files name them in four places; transformers 5 reads the first
of these that is there, and so does `read`:

  tokenizer_config.json    added_tokens_decoder: id → token with its flags
  tokenizer.json           added_tokens: tokens with ids and flags
  added_tokens.json        token → id, no flags
  tokenizer_config.json, special_tokens_map.json
                           additional_special_tokens, also called
                           extra_special_tokens: names; those that have no id
                           yet are numbered on from the vocabulary

A `Splitter` cuts a text at them, before the vocabulary sees what lies between.
The matching is that of the tokenizers library, because it is done by it.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
import dataclasses
import json
import os
import re
from typing import Any

import tokenizers
from tokenizers import models, normalizers

SETTINGS, NAMES = 'tokenizer_config.json', 'special_tokens_map.json'
FILE, ADDED = 'tokenizer.json', 'added_tokens.json'
_EXTRA = ('additional_special_tokens', 'extra_special_tokens')
_FLAGS = ('single_word', 'lstrip', 'rstrip', 'normalized', 'special')
_HEAD = 1 << 16  # characters
_PRINTED = re.compile('[ -~]*')  # what no normalizer of ours changes


@dataclasses.dataclass(frozen=True)
class AddedToken:
  """A token that is looked for in a text before anything else.

  Attributes:
    content: what is typed.
    id: its row; None where the files give none, so that it follows the others.
    single_word: not where a letter, digit or _ stands beside it.
    lstrip, rstrip: it takes the white space before it, after it.
    normalized: it is looked for in the normalized text.
    special: it stands for no text.
  """

  content: str
  id: int | None = None
  single_word: bool = False
  lstrip: bool = False
  rstrip: bool = False
  normalized: bool = True
  special: bool = False

  def flags(self) -> dict[str, bool]:
    return {name: getattr(self, name) for name in _FLAGS}


def read(
  folder: str | os.PathLike, own: Mapping[str, int] | None = None
) -> list[AddedToken]:
  """The added tokens of a folder, its specials among them, in order of id.

  Args:
    folder: where the files lie.
    own: ids of specials of the vocabulary that is read. A tokenizer.json that
      gives them other ids belongs to another vocabulary and is passed over,
      and so is any where `own` is not given.

  Raises:
    ValueError: a file is not what its name says, or two of them contradict
      each other about an id.
  """
  folder = os.fspath(folder)
  settings = _object(os.path.join(folder, SETTINGS))
  names = _object(os.path.join(folder, NAMES))
  held: dict[str, tuple[AddedToken, str]] = {}

  def hold(token: AddedToken, file: str) -> None:
    if token.content not in held:
      held[token.content] = token, file
    elif token.id is not None and token.id != held[token.content][0].id:
      other, where = held[token.content]
      raise ValueError(
        f'{folder}: {where} gives the added token {token.content!r} the id '
        f'{other.id}, and {file} {token.id}: correct the wrong one'
      )

  extra = [t for s in (settings, names) for k in _EXTRA for t in _list(s, k)]
  special = {_content(token) for token in extra}
  for number, token in (settings.get('added_tokens_decoder') or {}).items():
    hold(_token(token, number, folder, SETTINGS), SETTINGS)
  for token in _of_vocabulary(os.path.join(folder, FILE), own):
    hold(_token(token, token.get('id'), folder, FILE), FILE)
  for content, number in _object(os.path.join(folder, ADDED)).items():
    flags = {
      'content': content,
      'special': content in special,
      'normalized': content not in special,
    }
    hold(_token(flags, number, folder, ADDED), ADDED)
  for token in extra:
    if _content(token) not in held:
      flags = token if isinstance(token, dict) else {'content': token}
      made = _token({'normalized': False} | flags, None, folder, SETTINGS)
      hold(dataclasses.replace(made, special=True), SETTINGS)
  tokens = [token for token, _ in held.values()]
  return sorted(tokens, key=lambda t: (t.id is None, t.id or 0))


def numbered(
  tokens: Iterable[AddedToken],
  size: int,
  id_of: Callable[[str], int | None],
) -> list[AddedToken]:
  """Tokens with ids, also those to which the files give none.

  Args:
    tokens: of `read`.
    size: rows of the vocabulary; such tokens are numbered on from it, and from
      the others.
    id_of: the id of a piece that the vocabulary holds.
  """
  tokens = list(tokens)
  size = max([size, *(t.id + 1 for t in tokens if t.id is not None)])
  out = []
  for token in tokens:
    if token.id is None and (known := id_of(token.content)) is not None:
      token = dataclasses.replace(token, id=known)
    elif token.id is None:
      token = dataclasses.replace(token, id=size)
      size += 1
    out.append(token)
  return out


def merge(content: bytes, folder: str, made: bool) -> bytes:
  """A tokenizer.json with the added tokens of the files beside it.

  Args:
    content: of the tokenizer.json.
    folder: in which it lies.
    made: whether it was made of a vocab.json. Its flags of added tokens are
      then nobody's; otherwise only those of tokenizer_config.json go before
      them, as in transformers.

  Raises:
    ValueError: a token has another id than in the vocabulary.
  """
  tokens = read(folder)
  if not tokens:
    return content
  try:
    spec = json.loads(content)
    vocab = spec['model']['vocab']
    if isinstance(vocab, list):
      vocab = {piece: i for i, (piece, _) in enumerate(vocab)}
    own = {token['content']: dict(token) for token in spec['added_tokens']}
    ids = vocab | {piece: token['id'] for piece, token in own.items()}
    size = max(ids.values(), default=-1) + 1
  except (KeyError, TypeError, ValueError):
    return content  # whoever reads it says what is wrong
  for token in tokens:
    held = ids.get(token.content, token.id)
    if token.id is not None and token.id != held:
      raise ValueError(
        f'{folder}: the added token {token.content!r} has the id {token.id}, '
        f'and in the vocabulary it has {held}: correct the wrong one'
      )
  stated = made or _object(os.path.join(folder, SETTINGS)).get(
    'added_tokens_decoder'
  )
  added = dict(own)
  for token in numbered(tokens, size, ids.get):
    if token.special and token.content in vocab:
      continue  # its own specials, which it names itself
    flags = {'id': token.id, 'content': token.content, **token.flags()}
    if token.content not in own or stated:
      added[token.content] = flags
  if added == own:
    return content
  spec['added_tokens'] = sorted(added.values(), key=lambda token: token['id'])
  return json.dumps(spec, ensure_ascii=False).encode()


def numbered_on(vocab: Mapping[str, int], folder: str) -> dict[str, int]:
  """The tokens of an added_tokens.json that a vocab.json has not.

  Raises:
    ValueError: their ids do not follow those of the vocabulary.
  """
  path = os.path.join(folder, ADDED)
  later = {p: i for p, i in _object(path).items() if p not in vocab}
  if sorted(later.values()) != [len(vocab) + i for i in range(len(later))]:
    raise ValueError(
      f'{path} gives the ids {sorted(later.values())}; added tokens are '
      f'numbered from {len(vocab)}, the size of vocab.json'
    )
  return later


class Splitter:
  """Cuts texts at added tokens."""

  def __init__(self, tokens: Sequence[AddedToken], charsmap: bytes = b''):
    """Prepares the search.

    Args:
      tokens: with their ids; of two that begin at one place the longer one is
        met.
      charsmap: SentencePiece's precompiled normalization, for tokens that are
        looked for in the normalized text.
    """
    self._texts = {token.content for token in tokens}
    between = '\uffff'  # no character of a text
    # A vocabulary of one word, which is whatever is no added token.
    self._library = tokenizers.Tokenizer(
      models.WordLevel({between: 0}, unk_token=between)
    )
    self._printed = None
    if charsmap and any(token.normalized for token in tokens):
      normalizer = normalizers.Precompiled(charsmap)
      self._library.normalizer = normalizer
      self._texts |= {normalizer.normalize_str(text) for text in self._texts}
      self._printed = _PRINTED
    self._library.add_tokens(
      [
        tokenizers.AddedToken(
          token.content, **token.flags() | {'special': False}
        )
        for token in tokens
      ]
    )
    # The library's number of each → its id.
    self._ids = {
      self._library.token_to_id(token.content): token.id for token in tokens
    }

  def split(self, text: str) -> list[tuple[int | None, int, int]]:
    """The id of a token, or None for what lies between, and its place.

    White space that a token takes is within its place.
    """
    plain = self._printed is None or self._printed.fullmatch(text)
    if plain and not any(token in text for token in self._texts):
      return [(None, 0, len(text))]
    encoded = self._library.encode(text, add_special_tokens=False)
    return [
      (self._ids.get(number), *place)
      for number, place in zip(encoded.ids, encoded.offsets, strict=True)
    ]


# The files.


def _object(path: str) -> dict[str, Any]:
  """A JSON object; {} where there is no such file."""
  if not os.path.isfile(path):
    return {}
  with open(path, 'rb') as file:
    try:
      value = json.loads(file.read())
    except ValueError as error:
      raise ValueError(f'{path} is not JSON: {error}') from error
  if not isinstance(value, dict):
    raise ValueError(f'{path} is not a JSON object')
  return value


def _of_vocabulary(
  path: str, own: Mapping[str, int] | None
) -> list[dict[str, Any]]:
  """The added tokens of a tokenizer.json, without parsing its vocabulary."""
  if own is None or not os.path.isfile(path):
    return []
  tokens: Any = []
  with open(path, encoding='utf-8') as file:
    text = file.read(_HEAD)  # they stand at its beginning
    for more in (True, False):
      if match := re.search(r'"added_tokens"\s*:\s*(?=\[)', text):
        try:
          tokens, _ = json.JSONDecoder().raw_decode(text, match.end())
          break
        except ValueError as error:
          if not more:
            raise ValueError(f'{path} is not JSON: {error}') from error
      if more:
        text += file.read()
  for token in tokens:
    held = own.get(_content(token) or '', token.get('id'))
    if held != token.get('id'):
      return []
  return tokens


def _list(settings: Mapping[str, Any], key: str) -> list:
  value = settings.get(key) or []
  if isinstance(value, dict):  # names of their own for some tokens
    value = list(value.values())
  return [token for token in value if _content(token)]


def _content(token: Any) -> str | None:
  content = token.get('content') if isinstance(token, dict) else token
  return content if isinstance(content, str) else None


def _token(token: Any, number: Any, folder: str, file: str) -> AddedToken:
  """An entry of a file.

  Raises:
    ValueError: it is none.
  """
  content = _content(token) if isinstance(token, dict) else None
  if isinstance(number, str) and number.isdigit():
    number = int(number)
  if not content or not (number is None or type(number) is int):
    raise ValueError(
      f'{os.path.join(folder, file)}: {token!r} with the id {number!r} is no '
      'added token'
    )
  flags = {name: bool(token[name]) for name in _FLAGS if name in token}
  if 'normalized' not in flags:
    flags['normalized'] = not flags.get('special', False)
  return AddedToken(content, number, **flags)
