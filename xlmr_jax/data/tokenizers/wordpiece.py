"""BERT's WordPiece, from vocab.txt or a tokenizer.json (Devlin et al. 2019).

```
0      1          …  100    101    102    103     104 …
[PAD]  [unused1]     [UNK]  [CLS]  [SEP]  [MASK]  pieces; ##ing goes on
```

A text is first split at white space and around punctuation and Chinese
characters, and where tokenizer_config.json says so lower-cased and stripped of
accents; then each word is cut into the longest pieces from the left. Spans are
characters of the text as it was given.

A pair is `[CLS] A [SEP] B [SEP]`, the second text of type 1.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
import hashlib
import json
import os
import re
from typing import Any

import tokenizers

from xlmr_jax.data.tokenizers import added_tokens, hf_tokenizers
from xlmr_jax.data.tokenizers.hf_tokenizers import BpeTokenizer
from xlmr_jax.data.tokenizers.tokenizer_files import (
  CONFIG,
  Roles,
  contents,
  name_specials,
  parse,
  read,
)
from xlmr_jax.runtime import storage

VOCAB = 'vocab.txt'
KIND = 'WordPiece'  # as a tokenizer.json calls it
PREFIX = '##'

ROLES: Roles = {
  'bos': ('[CLS]', ('cls_token',)),
  'pad': ('[PAD]', ('pad_token',)),
  'eos': ('[SEP]', ('sep_token',)),
  'unk': ('[UNK]', ('unk_token',)),
  'mask': ('[MASK]', ('mask_token',)),
}

# tokenizer_config.json's setting → the normalizer's, and the default.
_SETTINGS = {
  'do_lower_case': ('lowercase', True),
  'strip_accents': ('strip_accents', None),  # None: as lowercase
  'tokenize_chinese_chars': ('handle_chinese_chars', True),
}
# Classes whose tokenizer.json is taken as it is; the others' is corrected by
# tokenizer_config.json, as transformers does.
_VERBATIM = ('PreTrainedTokenizerFast', 'TokenizersBackend')
# Others have a vocab.txt too, and another way to it: MeCab's words, or BPE.
CLASSES = ('BertTokenizer', 'DistilBertTokenizer', 'ElectraTokenizer')

# Of an added token, as files have them.
_FLAGS = ('single_word', 'lstrip', 'rstrip', 'normalized', 'special')
# Pieces in brackets are specials, unused ones and the like: of no case.
_NO_WORD = re.compile(r'\[.+\]|<.+>')
# A vocabulary is cased where more than this share of its pieces in letters that
# have a case have a capital: 1 in 4 in cased BERT, a handful in Chinese BERT,
# which is lower-cased. Where few pieces have such letters, nothing is said: in
# Arabic BERTs they are beside the point.
_CASED, _FEW = 0.01, 0.05
# What BERT calls a Chinese character, and sets apart (BasicTokenizer).
_CHINESE = (
  '\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0002a6df'
  '\U0002a700-\U0002ceaf\U0002f800-\U0002fa1f'
)


class WordPieceTokenizer(BpeTokenizer):
  """A WordPiece vocabulary under the ids of its file.

  Attributes: those of BpeTokenizer.
  """

  separators, typed, continuation = 1, True, PREFIX
  _roles = ROLES

  def __init__(
    self,
    source: str | os.PathLike | bytes,
    specials: Mapping[str, str] | None = None,
    never_split: Sequence[str] = (),
  ):
    """Loads a vocabulary.

    Args:
      source: a directory (its tokenizer.json, else its vocab.txt), the path of
        one of them, with tokenizer_config.json beside it, or the bytes of a
        tokenizer.json.
      specials: what the vocabulary calls its 'bos' ([CLS]), 'pad', 'eos'
        ([SEP]), 'unk' and 'mask', where no file beside it says so.
      never_split: words that, between spaces, are a piece as they are, or
        unknown; the source's settings come first. The slow tokenizers of
        transformers heeded it, the fast ones do not.

    Raises:
      ValueError: not a vocabulary, one without [CLS], [SEP], [PAD] or [UNK], or
        one whose casing contradicts its settings.
    """
    folder = None
    settings: dict[str, Any] = {}
    if isinstance(source, bytes):
      name, content = 'the vocabulary given as bytes', source
    else:
      name = os.fspath(source)
      if os.path.isdir(name):
        files = [
          os.path.join(name, f) for f in (hf_tokenizers.FILE_NAME, VOCAB)
        ]
        files = [file for file in files if os.path.exists(file)]
        if not files:
          raise FileNotFoundError(
            f'{name} has no {hf_tokenizers.FILE_NAME} and no {VOCAB}'
          )
        name = files[0]
      folder = os.path.dirname(name)
      storage.check_whole(name)
      with open(name, 'rb') as file:
        content = file.read()
      if os.path.basename(name) != VOCAB:
        content = added_tokens.merge(content, folder, made=False)
      if os.path.exists(os.path.join(folder, CONFIG)):
        settings = read(os.path.join(folder, CONFIG))
    if os.path.basename(name) == VOCAB:
      spec = _assemble(content, name, settings, specials or {})
      default = f'without a word in {CONFIG} it is'
    else:
      spec = _corrected(parse(content, name), settings)
      default = 'its normalizer says'
    vocab, added = contents(spec, name)
    names = name_specials(
      vocab.keys() | added.keys(), name, folder, specials or {}, ROLES
    )
    spec['model'].setdefault('type', KIND)
    spec['model']['unk_token'] = names['unk']
    if spec['model']['type'] != KIND:
      raise ValueError(
        f'{name} holds a {spec["model"]["type"]} vocabulary, not {KIND}'
      )
    kept = settings.get('never_split') or never_split
    self._never_split = tuple(w for w in kept if w not in names.values())
    _check_case(
      [piece for piece in vocab if piece not in self._never_split],
      _lowers(spec.get('normalizer')),
      name,
      settings,
      default,
    )
    self._never = _whole_words(self._never_split, spec)
    data = json.dumps(spec, ensure_ascii=False).encode()
    super().__init__(data, names, name=name)
    if self._never is not None:
      digest = hashlib.sha256(self.fingerprint.encode())
      digest.update(repr(self._never_split).encode())
      self.fingerprint = digest.hexdigest()

  def save(self, directory: str | os.PathLike) -> str:
    """Writes `tokenizer.json` into a directory; returns its path.

    transformers does not ask that file how text is lower-cased, so that
    tokenizer_config.json says it too, unless the directory has one.
    """
    path = super().save(directory)
    config = os.path.join(directory, CONFIG)
    if not os.path.exists(config):
      normalizer = json.loads(self._bytes).get('normalizer') or {}
      settings = {
        ours: normalizer.get(theirs, default)
        for ours, (theirs, default) in _SETTINGS.items()
      }
      settings |= {'tokenizer_class': CLASSES[0]}
      if self._never_split:
        settings |= {'never_split': self._never_split}
      text = json.dumps(settings, indent=2, ensure_ascii=False) + '\n'
      storage.write_bytes(config, text.encode())
    return path

  def __reduce__(self):
    return WordPieceTokenizer, (self._bytes, self._specials, self._never_split)

  def _encode(
    self,
    tokenizer: tokenizers.Tokenizer,
    texts: list[str],
    num_threads: int,
  ) -> list[list[int]]:
    if self._never is None:
      return super()._encode(tokenizer, texts, num_threads)
    out = []
    for text in texts:
      ids: list[int] = []
      for _, part, whole in self._split(text):
        if whole:
          ids.append(self.piece_to_id(part))
        else:
          ids += tokenizer.encode(part, add_special_tokens=False).ids
      out.append(ids)
    return out

  def _spans_of(self, text: str) -> tuple[list[int], list[tuple[int, int]]]:
    ids: list[int] = []
    spans: list[tuple[int, int]] = []
    for start, part, whole in self._split(text):
      if whole:
        ids.append(self.piece_to_id(part))
        spans.append((start, start + len(part)))
      else:
        more, places = super()._spans_of(part)
        ids += more
        spans += [(start + begin, start + end) for begin, end in places]
    return ids, spans

  def _split(self, text: str) -> Iterator[tuple[int, str, bool]]:
    """Parts of a text: where they start, and whether they are never split."""
    at = 0
    for word in self._never.finditer(text) if self._never else ():
      yield at, text[at : word.start()], False
      yield word.start(), word.group(), True
      at = word.end()
    yield at, text[at:], False


# The files.


def is_wordpiece(path: str | os.PathLike) -> bool:
  """Whether a tokenizer.json holds a WordPiece vocabulary."""
  model = read(os.fspath(path)).get('model')
  if not isinstance(model, dict):
    return False
  # Files of old versions of the library do not name the type.
  return model.get('type') == KIND or (
    'type' not in model and model.get('continuing_subword_prefix') == PREFIX
  )


def reads(folder: str | os.PathLike) -> bool:
  """Whether a folder's vocab.txt is of WordPiece by its settings alone."""
  path = os.path.join(folder, CONFIG)
  settings = read(path) if os.path.exists(path) else {}
  name = settings.get('tokenizer_class') or CLASSES[0]
  return name.removesuffix('Fast') in CLASSES


def _assemble(
  content: bytes,
  name: str,
  settings: Mapping[str, Any],
  given: Mapping[str, str],
) -> dict[str, Any]:
  """vocab.txt, added_tokens.json and settings as BERT's tokenizer.json."""
  folder = os.path.dirname(name)
  vocab = _lines(content, name)
  later = _added(folder, vocab, settings)
  pieces = vocab.keys() | later.keys()
  names = name_specials(pieces, name, folder, given, ROLES)
  ids = {piece: token['id'] for piece, token in later.items()} | vocab
  flags = dict.fromkeys(_FLAGS, False) | {'special': True}
  added = {**later, **{p: {'id': ids[p], **flags} for p in names.values()}}
  cls, sep = names['bos'], names['eos']
  place = lambda token, kind: {'SpecialToken': {'id': token, 'type_id': kind}}
  text = lambda side, kind: {'Sequence': {'id': side, 'type_id': kind}}
  single = [place(cls, 0), text('A', 0), place(sep, 0)]
  return {
    'version': '1.0',
    'added_tokens': [
      {**token, 'content': piece}
      for piece, token in sorted(added.items(), key=lambda x: x[1]['id'])
    ],
    'normalizer': {
      'type': 'BertNormalizer',
      'clean_text': True,
      **{
        theirs: settings.get(ours, default)
        for ours, (theirs, default) in _SETTINGS.items()
      },
    },
    'pre_tokenizer': {'type': 'BertPreTokenizer'},
    'post_processor': {
      'type': 'TemplateProcessing',
      'single': single,
      'pair': [*single, text('B', 1), place(sep, 1)],
      'special_tokens': {
        piece: {'id': piece, 'ids': [ids[piece]], 'tokens': [piece]}
        for piece in (cls, sep)
      },
    },
    'decoder': {'type': KIND, 'prefix': PREFIX, 'cleanup': True},
    'model': {
      'type': KIND,
      'unk_token': names['unk'],
      'continuing_subword_prefix': PREFIX,
      'max_input_chars_per_word': 100,
      'vocab': vocab,
    },
  }


def _lines(content: bytes, name: str) -> dict[str, int]:
  """Piece → id, its line counted from 0; the last of two like ones counts."""
  try:
    text = content.decode('utf-8-sig')
  except UnicodeDecodeError as error:
    line = content.count(b'\n', 0, error.start) + 1
    raise ValueError(f'{name}, line {line}: not UTF-8') from error
  lines = [line.rstrip(' \t\r') for line in text.rstrip().split('\n')]
  for number, line in enumerate(lines, 1):
    if ' ' in line or '\t' in line:
      raise ValueError(
        f'{name}, line {number}: {line[:40]!r} is more than a piece; a '
        'vocab.txt of WordPiece has a piece a line, whose number is its id'
      )
  return {piece: i for i, piece in enumerate(lines)}


def _added(
  folder: str, vocab: Mapping[str, int], settings: Mapping[str, Any]
) -> dict[str, dict[str, Any]]:
  """Tokens behind the vocabulary: piece → id and flags."""
  out = {}
  path = os.path.join(folder, added_tokens.ADDED)
  if os.path.exists(path):
    for piece, number in read(path).items():
      out[piece] = {'id': number, **dict.fromkeys(_FLAGS, False)}
  for number, token in (settings.get('added_tokens_decoder') or {}).items():
    kept = {flag: bool(token.get(flag)) for flag in _FLAGS}
    out[token['content']] = {'id': int(number), **kept}
  return {piece: token for piece, token in out.items() if piece not in vocab}


def _corrected(
  spec: dict[str, Any], settings: Mapping[str, Any]
) -> dict[str, Any]:
  """A tokenizer.json with what tokenizer_config.json says of the text.

  What it does not say stays as it is in tokenizer.json, where transformers
  takes a default of its own instead, and lower-cases.
  """
  normalizer = spec.get('normalizer')
  if settings.get('tokenizer_class') in _VERBATIM:
    return spec
  if not isinstance(normalizer, dict):
    return spec
  if normalizer.get('type') != 'BertNormalizer':
    return spec
  stated = {
    theirs: settings[ours]
    for ours, (theirs, _) in _SETTINGS.items()
    if ours in settings
  }
  return {**spec, 'normalizer': {**normalizer, **stated}}


# What contradicts itself.


def _lowers(normalizer: Any) -> bool:
  """Whether a normalizer of a tokenizer.json lower-cases."""
  if not isinstance(normalizer, dict):
    return False
  if normalizer.get('type') == 'Sequence':
    return any(map(_lowers, normalizer.get('normalizers', ())))
  if normalizer.get('type') == 'BertNormalizer':
    return bool(normalizer.get('lowercase'))
  return normalizer.get('type') == 'Lowercase'


def _check_case(
  pieces: Iterable[str],
  lowers: bool,
  name: str,
  settings: Mapping[str, Any],
  default: str,
) -> None:
  """Raises ValueError where text is given in a case that pieces do not have.

  Args:
    pieces: of the vocabulary.
    lowers: whether text is lower-cased.
    name: of the vocabulary's file.
    settings: of tokenizer_config.json.
    default: what decides where these are silent.
  """
  words = [piece for piece in pieces if not _NO_WORD.fullmatch(piece)]
  cased = [word for word in words if word.lower() != word.upper()]
  capital = [word for word in cased if word != word.lower()]
  upper = len(capital) > _CASED * len(cased)
  if len(cased) < max(1, _FEW * len(words)) or lowers != upper:
    return
  if lowers:
    wrong, right = 'true', 'false'
    why = (
      f'{name} has {len(capital):,} pieces with capital letters, such as '
      f'{capital[0]!r}, which lower-cased text never gives'
    )
  else:
    wrong, right = 'false', 'true'
    why = (
      f'{name} has capital letters in {len(capital)} of {len(cased):,} pieces, '
      'so that a word with one would be unknown'
    )
  said = f'{CONFIG} says' if 'do_lower_case' in settings else default
  raise ValueError(
    f'{why}, and {said} do_lower_case {wrong}: set it to {right} in {CONFIG}'
  )


def _whole_words(
  words: Sequence[str], spec: Mapping[str, Any]
) -> re.Pattern[str] | None:
  """What matches these words between spaces or Chinese characters."""
  normalizer = spec.get('normalizer') or {}
  apart = r'\s' + _CHINESE * bool(normalizer.get('handle_chinese_chars'))
  # A word that is set apart inside is never met.
  words = [word for word in words if not re.search(f'[{apart}]', word)]
  if not words:
    return None
  any_of = '|'.join(map(re.escape, sorted(words, key=len, reverse=True)))
  return re.compile(f'(?<![^{apart}])(?:{any_of})(?![^{apart}])')
