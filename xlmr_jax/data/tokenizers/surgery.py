"""Which pieces a SentencePiece vocabulary holds: more of them, or fewer.

  extend   a new language's pieces behind the old ones, which keep their ids
  trim     the pieces that some text uses, in their old order

Either gives a Change: the new tokenizer, and which old row each new id takes.

The file is a message of protocol buffers, `ModelProto` of SentencePiece's
sentencepiece_model.proto; so little of it is touched here (the pieces and
their number) that its bytes are read and written without the library.
"""

from collections.abc import Iterable, Iterator
import dataclasses
import itertools
import math
import struct

from jaxtyping import Int
import numpy as np
import sentencepiece

from xlmr_jax.data.tokenizers import train_tokenizer, xlmr
from xlmr_jax.data.tokenizers.xlmr import Tokenizer

# Numbers of fields in sentencepiece_model.proto.
_PIECES, _TRAINER, _NORMALIZER = 1, 2, 3  # of ModelProto
_TEXT, _SCORE, _TYPE = 1, 2, 3  # of a piece
_MODEL_TYPE, _VOCAB_SIZE = 3, 4  # of the trainer's settings
_UNIGRAM = _NORMAL = 1
_UNUSED = 5
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5  # how a value is written

# The new language's share of the text that scores are log-probabilities of.
# XLM-R's vocabulary serves about a hundred languages. With 5,000 pieces for
# Zulu, tokens per character of unseen verses fell from 0.328 to 0.222, 0.218
# and 0.219 with shares of 1, 0.1 and 0.01, and 2.9, 2.0 and 1.0 % of the lines
# in fifteen other languages were cut differently.
SHARE = 0.01

# How much less likely than the least likely piece an unknown character is
# (SentencePiece's kUnkPenalty).
_UNKNOWN = 10.0


@dataclasses.dataclass(frozen=True)
class New:
  """A piece that the old vocabulary has not.

  Attributes:
    text: the piece.
    score: its log-probability, as the new model holds it.
    parts: the old ids of its text, <unk> left out; empty where the old
      vocabulary knows no letter of it.
  """

  text: str
  score: float
  parts: tuple[int, ...]


@dataclasses.dataclass(frozen=True)
class Change:
  """A vocabulary made of another one.

  Attributes:
    tokenizer: the new one.
    rows: for each of its ids the old id that it was, -1 for a new piece.
    new: the new pieces, in the order of their ids.
  """

  tokenizer: Tokenizer
  rows: Int[np.ndarray, 'V']
  new: tuple[New, ...] = ()


def extend(
  tokenizer: Tokenizer,
  lines: Iterable[str],
  pieces: int,
  *,
  share: float = SHARE,
  verbose: bool = False,
) -> Change:
  """Adds the pieces of a new language, the most likely first.

  They come from a unigram model of the new text, which gives each a
  log-probability s. The old scores are log-probabilities under the old text;
  in text of which a `share` is new the new pieces' are s + log(share), and the
  old pieces' all but the same, so those stay: a text that holds no new
  piece's letters is cut as before. A piece is added only where it is more
  likely than what the old vocabulary makes of its letters; characters that it
  does not know come first.

  Args:
    tokenizer: the old vocabulary.
    lines: text in the new language.
    pieces: how many to add at most; text too poor for so many gives fewer.
    share: more makes the new pieces win more often, in old languages too.
    verbose: whether SentencePiece prints its progress.

  Raises:
    ValueError: no text, nothing to add, or not a unigram model.
  """
  if pieces < 1:
    raise ValueError(f'pieces={pieces}; there is nothing to add below 1')
  if not 0 < share <= 1:
    raise ValueError(f'share={share} is not above 0 and at most 1')
  check(tokenizer)
  old = sentencepiece.SentencePieceProcessor(model_proto=tokenizer.model)
  # As the old vocabulary will see it.
  lines = [old.normalize(line).replace('▁', ' ') for line in lines]
  lines = [line for line in lines if line.strip()]
  if not lines:
    raise ValueError('there is no text to take pieces from')
  characters = set().union(*lines)
  # Twice as many as are wanted: some the old vocabulary has. From 1.5 times
  # on, more made no difference of 1 % in the length of unseen text.
  model = train_tokenizer.train(
    lines,
    2 * pieces + len(characters) + 5,  # the specials
    hard_vocab_limit=False,
    verbose=verbose,
  )
  found = _candidates(old, tokenizer, model, share)[:pieces]
  if not found:
    raise ValueError(
      'nothing to add: the vocabulary already has every piece that this text '
      'would bring'
    )
  fields = list(_fields(tokenizer.model))
  number = tokenizer.vocab_size - tokenizer.layout.rows(0) + len(found)
  last = max(i for i, field in enumerate(fields) if field[0] == _PIECES)
  added = [_piece(new.text, new.score) for new in found]
  made = Tokenizer(
    b''.join(
      _resized(field, number) + (b''.join(added) if i == last else b'')
      for i, field in enumerate(fields)
    ),
    tokenizer.layout,
  )
  rows = np.arange(tokenizer.vocab_size)
  rows = np.insert(rows, tokenizer.mask_id, [-1] * len(found))
  return Change(made, rows, tuple(found))


def trim(
  tokenizer: Tokenizer, lines: Iterable[str], *, least: int = 1
) -> Change:
  """Keeps the pieces that a text uses.

  As Abdaoui et al. 2020 do (Load What You Need: Smaller Versions of
  Multilingual BERT). All that the text is made of stays: pieces used `least`
  times, the single letters of every piece used, control pieces, and one of
  the lowest score, from which an unknown character's is reckoned. With
  least=1 the text is cut just as before.

  Args:
    tokenizer: the old vocabulary.
    lines: text in all languages that the model is for.
    least: how often a piece must occur.

  Raises:
    ValueError: no text, or not a SentencePiece model.
  """
  if least < 1:
    raise ValueError(f'least={least}; a piece in use occurs once at least')
  check(tokenizer)
  counts = np.zeros(tokenizer.vocab_size, np.int64)
  for batch in _batches(lines, 4096):
    ids = np.concatenate(tokenizer.encode_plain(batch))
    counts += np.bincount(ids, minlength=len(counts))
  if not counts.any():
    raise ValueError('there is no text that could use a piece')
  raw = [field for field in _fields(tokenizer.model) if field[0] == _PIECES]
  held = [_text_score_kind(value) for _, _, value in raw]
  shift, head = tokenizer.layout.shift, len(tokenizer.layout.head)
  first = head - shift  # of the ordinary pieces, as SentencePiece counts
  used = {i for i in range(first, len(held)) if counts[i + shift]}
  texts = {text for text, _, _ in held}
  letters = {c for i in used for c in held[i][0]}
  normal = [i for i, (_, _, kind) in enumerate(held) if kind == _NORMAL]
  lowest = min(normal, key=lambda i: held[i][1])
  keep = [
    i
    for i, (text, _, kind) in enumerate(held)
    if kind not in (_NORMAL, _UNUSED)
    or i == lowest
    or text in letters
    or (i in used and (counts[i + shift] >= least or not texts >= set(text)))
  ]
  kept = set(keep)
  out, number = [], 0
  for field in _fields(tokenizer.model):
    if field[0] == _PIECES:
      if number in kept:
        out.append(_bytes(field))
      number += 1
    else:
      out.append(_resized(field, len(keep)))
  ordinary = [i + shift for i in keep if i >= first]
  return Change(
    Tokenizer(b''.join(out), tokenizer.layout),
    np.array([*range(head), *ordinary, tokenizer.mask_id]),
  )


def check(tokenizer) -> None:
  """Raises ValueError unless it is a vocabulary that can be changed here."""
  if not isinstance(tokenizer, Tokenizer):
    raise ValueError(
      'only a SentencePiece vocabulary can be changed, and this one is a '
      'tokenizer.json, or vocab.json with merges.txt: add the '
      f'{xlmr.FILE_NAME} that it was made of, if there is one'
    )
  for number, _, value in _fields(tokenizer.model):
    if number == _TRAINER:
      for key, _, kind in _fields(value):
        if key == _MODEL_TYPE and kind != _UNIGRAM:
          raise ValueError(
            'the SentencePiece model is no unigram model (its model_type is '
            f'{kind}): its scores are no log-probabilities, to which those of '
            'other pieces could be compared'
          )


def _candidates(old, tokenizer, model: bytes, share: float) -> list[New]:
  """The pieces of a new model that an old one lacks, the best first."""
  size = old.get_piece_size()
  scores = [old.get_score(i) for i in range(size)]
  lowest = min(s for i, s in enumerate(scores) if _ordinary(old, i))
  scores[0] = lowest - _UNKNOWN
  # A piece is cut without the space that stands before a text; of a message
  # that occurs twice the later fields count.
  plain = b'\x18\x00\x20\x00'  # add_dummy_prefix, remove_extra_whitespaces
  bare = sentencepiece.SentencePieceProcessor(
    model_proto=tokenizer.model + _bytes((_NORMALIZER, _BYTES, plain))
  )
  new = sentencepiece.SentencePieceProcessor(model_proto=model)
  found = []
  for i in range(new.get_piece_size()):
    text = new.id_to_piece(i)
    if not _ordinary(new, i) or text in (*tokenizer.layout.head, xlmr.MASK):
      continue
    if old.piece_to_id(text):
      continue
    if old.normalize(text).strip('▁') != text.strip('▁'):
      continue  # it would never be met
    parts = bare.encode(text)
    before = sum(scores[part] for part in parts)
    own = new.get_score(i) + math.log(share)
    # Not below the old ones: an unknown character is reckoned from there.
    score = float(np.float32(max(own, lowest)))
    # Beyond rounding: scores are added up in 32 bits.
    if score > before + 1e-3:
      known = [part for part in parts if part]
      if all(old.id_to_piece(part) == '▁' for part in known):
        known = []  # a space is no word's meaning
      unknown = len(text) == 1 and not known
      shift = tokenizer.layout.shift
      piece = New(text, score, tuple(part + shift for part in known))
      found.append((not unknown, -own, text, piece))
  return [piece for *_, piece in sorted(found, key=lambda entry: entry[:3])]


def _ordinary(model, i: int) -> bool:
  return not (
    model.is_unknown(i)
    or model.is_control(i)
    or model.is_unused(i)
    or model.is_byte(i)
  )


def _batches(lines: Iterable[str], size: int) -> Iterator[list[str]]:
  lines = iter(lines)
  while batch := list(itertools.islice(lines, size)):
    yield batch


# The wire format of protocol buffers: a message is a list of fields, each a
# varint that says number and type, and a value.

_Field = tuple[int, int, int | bytes]


def _fields(data: bytes) -> Iterator[_Field]:
  """(number, type, value) of a message's fields, in their order."""
  at = 0
  while at < len(data):
    key, at = _read_varint(data, at)
    number, kind = key >> 3, key & 7
    if kind == _VARINT:
      value, at = _read_varint(data, at)
    else:
      if kind == _BYTES:
        size, at = _read_varint(data, at)
      elif kind in (_FIXED32, _FIXED64):
        size = 4 if kind == _FIXED32 else 8
      else:
        raise ValueError(f'the SentencePiece model has a field of type {kind}')
      value = data[at : at + size]
      at += size
    yield number, kind, value


def _read_varint(data: bytes, at: int) -> tuple[int, int]:
  value = shift = 0
  while True:
    byte = data[at]
    at += 1
    value |= (byte & 127) << shift
    if byte < 128:
      return value, at
    shift += 7


def _varint(value: int) -> bytes:
  out = bytearray()
  while value > 127:
    out.append(value & 127 | 128)
    value >>= 7
  out.append(value)
  return bytes(out)


def _bytes(field: _Field) -> bytes:
  """A field as it is written."""
  number, kind, value = field
  key = _varint(number << 3 | kind)
  if kind == _VARINT:
    return key + _varint(value)
  return key + (_varint(len(value)) if kind == _BYTES else b'') + value


def _piece(text: str, score: float) -> bytes:
  """A field that holds a piece of the ordinary type, which is the default."""
  value = _bytes((_TEXT, _BYTES, text.encode()))
  value += _bytes((_SCORE, _FIXED32, struct.pack('<f', score)))
  return _bytes((_PIECES, _BYTES, value))


def _text_score_kind(value: bytes) -> tuple[str, float, int]:
  held = {number: value for number, _, value in _fields(value)}
  score = struct.unpack('<f', held.get(_SCORE, bytes(4)))[0]
  return held.get(_TEXT, b'').decode(), score, held.get(_TYPE, _NORMAL)


def _resized(field: _Field, pieces: int) -> bytes:
  """A field of the model; the trainer's settings get the number of pieces."""
  number, kind, value = field
  if number == _TRAINER:
    value = b''.join(
      _bytes((key, how, pieces if key == _VOCAB_SIZE else held))
      for key, how, held in _fields(value)
    )
  return _bytes((number, kind, value))
