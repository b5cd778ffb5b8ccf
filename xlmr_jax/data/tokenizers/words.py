"""Where words start, by the piece alone: a table over the vocabulary.

Masking whole words on the device needs to know of any two neighbouring tokens
whether a word starts between them. Two numbers a piece say it: one starts
where `after` of the left piece plus `before` of the right one is positive.

```
piece           before  after
'▁house', 'Ġa'    1       0    starts a word wherever it stands
'ing', ','        0       0    goes on with the word
'中国', 'です'      1       1    a word of its own
'▁', 'Ġ'          1      -1    belongs to the word after it
half a character -1       0    belongs to the piece that holds its first byte
<s>, <unk>        1       1    a special
```

In WordPiece a piece starts a word and those with ## go on with it (1, 0 and
0, 0): Chinese characters and marks of punctuation are words of their own, as
BERT's tokenizer sets them apart. Chinese models whose names say wwm were
trained with a segmenter's words, several characters each; there is none here.

Elsewhere a word is what stands between white space, punctuation included. In
scripts written without spaces (Han, Kana, Thai, Lao, Khmer, Burmese, …) each
piece is a word: SentencePiece's unigrams there are mostly words, and the table
must not wait for a segmenter. `word_ids()` of Hugging Face's tokenizers follows
the white space alone, so that a whole Chinese sentence is one word, and masking
"whole words" with it hides all or nothing.
"""

import re

from jaxtyping import Int8
import numpy as np

from xlmr_jax.data.tokenizers import base

# Unicode's blocks of the scripts whose words no space divides: those of the
# line-breaking classes ID and CJ, that break between any two letters, and SA,
# that need a dictionary (UAX 14), with Tibetan, Balinese and Javanese. Marks of
# punctuation are not among them, nor is Hangul: Korean has spaces.
_BLOCKS = (
  (0x0E00, 0x0FFF),  # Thai, Lao, Tibetan
  (0x1000, 0x109F),  # Myanmar
  (0x1780, 0x17FF),  # Khmer
  (0x1950, 0x19FF),  # Tai Le, New Tai Lue, Khmer symbols
  (0x1A20, 0x1AAF),  # Tai Tham
  (0x1B00, 0x1B7F),  # Balinese
  (0x2E80, 0x2FDF),  # radicals of Han
  (0x3005, 0x3007),  # 々〆〇
  (0x3021, 0x3029),  # Hangzhou numerals
  (0x3031, 0x3035),  # marks of repetition in Kana
  (0x3038, 0x303C),
  (0x3040, 0x30FF),  # Hiragana, Katakana
  (0x3100, 0x312F),  # Bopomofo
  (0x3190, 0x31FF),  # Kanbun, Bopomofo, strokes, Katakana for Ainu
  (0x32D0, 0x4DBF),  # Katakana and Han in circles and squares, Han A
  (0x4E00, 0xA4CF),  # Han, Yi
  (0xA980, 0xA9FF),  # Javanese, Myanmar B
  (0xAA60, 0xAADF),  # Myanmar A, Tai Viet
  (0xF900, 0xFAFF),  # Han, compatible
  (0xFF66, 0xFF9F),  # Katakana of half the width
  (0x1AFF0, 0x1B16F),  # more Kana
  (0x20000, 0x3FFFF),  # Han B and on
)
_UNSPACED = re.compile(
  '[' + ''.join(f'{chr(first)}-{chr(last)}' for first, last in _BLOCKS) + ']'
)
_NEVER = -1  # takes back the 1 of a neighbour


def word_table(tokenizer: base.BaseTokenizer) -> Int8[np.ndarray, 'V 2']:
  """(before, after) of every id; the module says what they mean.

  In a byte-level vocabulary the letters of such scripts come in parts. What is
  known of a part is its first bytes; a Latin piece that follows the last part
  of a Han letter goes on with its word.

  Args:
    tokenizer: whose pieces write a space as '▁', or as the byte 'Ġ', or that
      has a mark of `continuation`.

  Raises:
    ValueError: no piece starts with a space, so words cannot be told.
  """
  pieces = [tokenizer.id_to_piece(i) for i in range(tokenizer.vocab_size)]
  if tokenizer.continuation is not None:
    goes_on = [piece.startswith(tokenizer.continuation) for piece in pieces]
    table = np.stack([~np.array(goes_on), np.zeros(len(pieces))], 1)
    table = table.astype(np.int8)
    table[list(tokenizer.special_ids)] = 1
    return table
  # 'Ġ' is a letter of Maltese too: it is a space where '▁' is none.
  if any(piece.startswith('▁') for piece in pieces):
    texts = [(piece.replace('▁', ' '), False) for piece in pieces]
    space = ' '.__eq__  # any other one is '▁' by then, and U+0085 is none
  else:
    texts = [_from_bytes(piece) for piece in pieces]
    space = str.isspace
  table = np.zeros((tokenizer.vocab_size, 2), np.int8)
  for row, (text, partial) in zip(table, texts, strict=True):
    own = _UNSPACED.search(text) is not None
    row[:] = (own or space(text[:1]), own or space(text[-1:]))
    if text and all(map(space, text)):
      row[:] = 1, _NEVER
    if partial:
      row[0] = _NEVER
  if not table[:, 0].clip(0).any():
    raise ValueError(
      'no piece of the vocabulary starts with a space (▁ or Ġ), so it cannot '
      'be told where words start; mask tokens instead'
    )
  table[list(tokenizer.special_ids)] = 1
  return table


def _byte_alphabet() -> dict[str, int]:
  """The characters by which byte-level BPE writes bytes (Radford et al. 2019).

  Printable bytes of Latin-1 stand for themselves, the others are numbered
  from U+0100.
  """
  plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
  others = [byte for byte in range(256) if byte not in plain]
  alphabet = {chr(byte): byte for byte in plain}
  return alphabet | {chr(256 + i): byte for i, byte in enumerate(others)}


_BYTES = _byte_alphabet()


def _from_bytes(piece: str) -> tuple[str, bool]:
  """The text of a byte-level piece, and whether it starts inside a character.

  A character that is cut off is replaced by the first one that starts as it
  does: enough to know its script.
  """
  if any(character not in _BYTES for character in piece):
    return piece, False  # an added token is written as it is
  data = bytes(_BYTES[character] for character in piece)
  partial = 0x80 <= data[0] < 0xC0 if data else False
  return (data + b'\x80\x80\x80').decode('utf-8', 'ignore'), partial
