"""What a corpus is drawn in: pieces of a stream, documents, or pairs.

```
stream of tokens   a a a a b b b c c c c c c c d d      documents a b c d
Pieces             0─────┤ 1─────┤ 2─────┤ 3───┤        of at most 4 tokens
Documents          0─────┤ 1───┤ 2─────┤ 2───┤ 3─┤
```

Each knows how many units there are and, by arithmetic on the memory-mapped
ends of documents, which tokens a unit's features are: a document longer than
an example has several, of equal length but for one token.
"""

from typing import Any

from jaxtyping import Int
import numpy as np

from xlmr_jax.data.tokenizers import base

_CHUNK = 1 << 20  # entries of an index read together
_BLOCK = 1 << 16  # tokens counted together

Cut = tuple[
  Int[np.ndarray, 'features'],  # which of the units asked for
  Int[np.ndarray, 'features'],  # first token in the part's stream
  Int[np.ndarray, 'features'],  # the token after the last
]


class _TextUnits:
  """Tokens begin … end of a language, in features `<s> … </s>`.

  Attributes:
    name: the language.
    count: units there are.
    tokens: of text.
    shortest: at least so many tokens has a feature.
  """

  kind: str
  count: int
  shortest: int

  def __init__(
    self,
    part: Any,
    max_length: int,
    ends: tuple[int, int],
    begin: int,
    end: int,
  ):
    """Takes a stretch of a part.

    Args:
      part: of prepared corpora, of kind 'text'.
      max_length: the most tokens of a feature.
      ends: ids of <s> and </s>.
      begin, end: the stretch, which may start and end inside of documents.
    """
    self.name, self.tokens = part.name, end - begin
    self._part, self._room, self._ends = part, max_length - 2, ends
    self._begin, self._end = begin, end

  def lengths(self, begin, end) -> Int[np.ndarray, 'features']:
    return end - begin + 2

  def read(
    self, unit: int, begin: int, end: int, flip: bool
  ) -> Int[np.ndarray, 'n']:
    del unit, flip
    out = np.empty(end - begin + 2, np.int32)
    out[0], out[-1] = self._ends
    out[1:-1] = self._part.read(begin, end)
    return out

  def histogram(self, vocab_size: int, limit: int) -> Int[np.ndarray, 'V']:
    """How often each id occurs in `limit` tokens spread over the text."""
    total = np.zeros(vocab_size, np.int64)
    blocks = -(-self.tokens // _BLOCK)
    few = min(blocks, max(1, limit // _BLOCK))
    for block in (np.arange(few) * blocks // max(few, 1)).tolist():
      begin = self._begin + block * _BLOCK
      tokens = self._part.read(begin, min(begin + _BLOCK, self._end))
      total += np.bincount(tokens, minlength=vocab_size)
    return total


class Pieces(_TextUnits):
  """The stream cut into pieces of equal length, documents or not."""

  kind = 'piece'

  def __init__(self, *args):
    super().__init__(*args)
    self.count = -(-self.tokens // self._room)
    self._base, self._extra = divmod(self.tokens, max(1, self.count))
    self.shortest = self._base + 2

  def cut(self, units: Int[np.ndarray, 'n']) -> Cut:
    return np.arange(len(units)), self._edge(units), self._edge(units + 1)

  def _edge(self, unit):
    # unit * tokens // count, without a product that overflows.
    spread = unit * self._extra // max(1, self.count)
    return self._begin + unit * self._base + spread


class Documents(_TextUnits):
  """Documents, those longer than an example in pieces of equal length."""

  kind = 'document'
  shortest = 3

  def __init__(self, *args):
    super().__init__(*args)
    ends = self._part.ends
    self._first = self.count = 0
    if self.tokens:
      before = np.searchsorted(ends, np.int64(self._begin), side='right')
      self._first = int(before) - 1
      last = int(np.searchsorted(ends, np.int64(self._end)))
      self.count = last - self._first

  def cut(self, units: Int[np.ndarray, 'n']) -> Cut:
    numbers = units + self._first
    ends = self._part.ends
    begin = np.maximum(np.asarray(ends[numbers]), self._begin)
    end = np.minimum(np.asarray(ends[numbers + 1]), self._end)
    sizes = end - begin
    pieces = -(-sizes // self._room)
    which = np.repeat(np.arange(len(units)), pieces)
    piece = np.arange(len(which)) - (np.cumsum(pieces) - pieces)[which]
    begin, size, of = begin[which], sizes[which], pieces[which]
    return which, begin + piece * size // of, begin + (piece + 1) * size // of


class Pairs:
  """Pairs of sentences, `<s> A </s></s> B </s>` or with B first.

  Attributes:
    name: such as 'en-sw'.
    count: pairs.
    tokens: of text, where the longer side is cut if a pair is too long.
    shortest: at least so many tokens has a feature.
  """

  kind = 'pair'

  def __init__(
    self,
    part: Any,
    max_length: int,
    ends: tuple[int, int],
    separators: int = 2,
  ):
    """Reads the ends of all pairs once, to know their lengths.

    Args:
      part: of prepared corpora, of kind 'pairs'.
      max_length: the most tokens of a feature.
      ends: ids of <s> and </s>.
      separators: how many </s> stand between the sentences.
    """
    self.name, self.count = part.name, part.units
    self._specials, self._between = 2 + separators, [ends[1]] * separators
    self._part, self._room = part, max_length - self._specials
    self._ends = ends
    self.tokens, self.shortest = 0, max_length
    for at in range(0, self.count, _CHUNK):
      last = min(at + _CHUNK, self.count)
      sides = np.asarray(part.ends[2 * at : 2 * last + 1 : 2])
      sizes = np.minimum(np.diff(sides), self._room)
      self.tokens += int(sizes.sum())
      self.shortest = min(self.shortest, int(sizes.min()) + self._specials)

  def lengths(self, begin, end) -> Int[np.ndarray, 'features']:
    return np.minimum(end - begin, self._room) + self._specials

  def cut(self, units: Int[np.ndarray, 'n']) -> Cut:
    ends = self._part.ends
    begin, end = np.asarray(ends[2 * units]), np.asarray(ends[2 * units + 2])
    return np.arange(len(units)), begin, end

  def read(
    self, unit: int, begin: int, end: int, flip: bool
  ) -> Int[np.ndarray, 'n']:
    sides = list(self._part.pair(unit))
    if end - begin > self._room:
      keep = base.longest_first([len(s) for s in sides], self._room)
      sides = [s[:k] for s, k in zip(sides, keep, strict=True)]
    a, b = reversed(sides) if flip else sides
    bos, eos = self._ends
    joined = np.concatenate([[bos], a, self._between, b, [eos]])
    return joined.astype(np.int32)
