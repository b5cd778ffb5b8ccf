"""What is the same for every vocabulary: specials, truncation, errors.

A text becomes `<s> A </s>`, a pair `<s> A </s></s> B </s>`; in BERT's WordPiece
`[CLS] A [SEP]` and `[CLS] A [SEP] B [SEP]`. `<mask>` typed in a text is the
mask; every other special typed in a text is plain text.

xlmr.py and hf_tokenizers.py have the two children of `BaseTokenizer`,
wordpiece.py one of the second, and folder.py chooses between them.
"""

from collections.abc import Iterable, Sequence
import itertools
from typing import Literal

from jaxtyping import Int
import numpy as np

Truncate = Literal['error', 'longest_first', 'first', 'second']

# What nmt_nfkc turns into a space. It deletes the C0 controls instead, and
# keeps U+0085, which is why str.isspace() is not the test.
SPACE = (
  '\t\n\x0c\r \u00a0\u1680\u2000-\u200f\u2028\u2029\u202f\u205f\u2581\u3000'
  '\ufeff\ufffd'
).replace('\u2000-\u200f', ''.join(chr(c) for c in range(0x2000, 0x2010)))


class BaseTokenizer:
  """Text to ids and back, over any vocabulary.

  A child sets the attributes below and writes `_ids_of`, `_spans_of`,
  `_plain_ids_of` and `_text_of`.

  Attributes:
    vocab_size: rows of the model's table that the vocabulary names.
    bos_id, pad_id, eos_id, unk_id: the specials.
    mask_id: or None, where the vocabulary has no mask.
    special_ids: every id that stands for no text, in ascending order.
    pieces: half-open id range of the ordinary pieces.
    fingerprint: SHA-256, in hexadecimal, of all that decides on the ids.
    typed: whether a pair's second text has token type 1, for models with types.
    separators: how many </s> stand between the texts of a pair.
    continuation: how a piece starts that goes on with a word; None where the
      piece that starts a word is marked instead.
  """

  vocab_size: int
  bos_id: int
  pad_id: int
  eos_id: int
  unk_id: int
  mask_id: int | None
  special_ids: tuple[int, ...]
  pieces: tuple[int, int]
  fingerprint: str
  typed: bool = False
  separators: int = 2
  continuation: str | None = None

  # The specials' pieces by id, without <unk>, which stands for a text.
  _names: dict[int, str]

  def _ids_of(self, texts: list[str], num_threads: int) -> list[list[int]]:
    """The ids of texts without <s> and </s>."""
    raise NotImplementedError

  def _spans_of(self, text: str) -> tuple[list[int], list[tuple[int, int]]]:
    """The ids of one text without <s> and </s>, and their spans."""
    raise NotImplementedError

  def _plain_ids_of(self, texts: list[str], num_threads: int) -> list:
    """As _ids_of, as arrays and with every typed special as text."""
    raise NotImplementedError

  def _text_of(self, ids: list[int]) -> str:
    """The text of ids, no specials but <unk> among them."""
    raise NotImplementedError

  def __len__(self) -> int:
    return self.vocab_size

  def _check(self, token: int) -> None:
    if not 0 <= token < self.vocab_size:
      raise ValueError(f'id {token} is outside 0…{self.vocab_size - 1}')

  def specials(self, texts: int) -> int:
    """How many specials stand around one text, or around and between two."""
    return 2 + self.separators * (texts - 1)

  def encode(
    self,
    text: str,
    pair: str | None = None,
    *,
    max_length: int | None = None,
    truncate: Truncate = 'error',
    offsets: bool = False,
  ):
    """Encodes a text or a pair with its specials.

    Args:
      text: the text, or the first text of a pair.
      pair: the second text.
      max_length: the most ids to return, specials included.
      truncate: what happens above max_length. 'error' raises; 'first' and
        'second' cut the end of that text; 'longest_first' cuts the end of
        the longer text until both are equally long, then of both in turn,
        as Hugging Face's tokenizers do.
      offsets: whether to return character spans too.

    Returns:
      A list of ids; with `offsets` the pair (ids, spans). A span is
      (start, end) in characters of the token's OWN text, leading white space
      left out. Specials that were not typed and a lone '▁' or 'Ġ' have an empty
      span; the specials' is (0, 0).

    Raises:
      ValueError: too long, or a lone surrogate in the text.
    """
    return self.encode_batch(
      [text if pair is None else (text, pair)],
      max_length=max_length,
      truncate=truncate,
      offsets=offsets,
    )[0]

  def encode_batch(
    self,
    examples: Sequence[str | tuple[str, str]],
    *,
    max_length: int | None = None,
    truncate: Truncate = 'error',
    offsets: bool = False,
    num_threads: int = 1,
  ) -> list:
    """Encodes many texts or pairs (a, b); `encode` says how.

    SentencePiece tokenises a few million tokens a second on one thread,
    byte-level BPE half a million; `num_threads` is for machines with cores to
    spare. BpeTokenizer has only two ways: one thread, or the pool of its
    library. Spans are always made on one thread.
    """
    texts: list[str] = []
    for index, example in enumerate(examples):
      parts = (example,) if isinstance(example, str) else tuple(example)
      if len(parts) not in (1, 2):
        raise ValueError(
          f'example {index} has {len(parts)} texts; it takes one or two'
        )
      for part in parts:
        if not isinstance(part, str):
          raise TypeError(
            f'example {index} holds a {type(part).__name__}, not a text'
          )
      texts.extend(parts)
    try:
      if offsets:
        sides = map(self._spans_of, texts)
      else:
        sides = ((ids, None) for ids in self._ids_of(texts, num_threads))
      out = []
      for index, example in enumerate(examples):
        count = 1 if isinstance(example, str) else len(example)
        ids, spans = zip(*itertools.islice(sides, count), strict=True)
        lengths = [len(i) for i in ids]
        where = f'example {index}: ' if len(examples) > 1 else ''
        specials = self.specials(count)
        keep = _keep(lengths, specials, max_length, truncate, where)
        if keep != lengths:
          ids = [i[:k] for i, k in zip(ids, keep, strict=True)]
        framed = self._frame(ids, self.bos_id, self.eos_id)
        if offsets:
          spans = [s[:k] for s, k in zip(spans, keep, strict=True)]
          framed = framed, self._frame(spans, (0, 0), (0, 0))
        out.append(framed)
    except (RuntimeError, TypeError, UnicodeError):
      _refuse_surrogates(texts)
      raise
    return out

  def _frame(self, sides: Sequence[list], bos, eos) -> list:
    """`<s> A </s>` or `<s> A </s></s> B </s>`."""
    out = [bos, *sides[0], eos]
    if len(sides) == 2:
      out += [*[eos] * (self.separators - 1), *sides[1], eos]
    return out

  def encode_plain(
    self, texts: list[str], *, num_threads: int = 1
  ) -> list[Int[np.ndarray, 'length']]:
    """The ids of running text, for a corpus.

    No <s> and </s>, and '<mask>' is text like any other.
    """
    try:
      return self._plain_ids_of(texts, num_threads)
    except (RuntimeError, TypeError, UnicodeError):
      _refuse_surrogates(texts)
      raise

  def decode(self, ids: Iterable[int], skip_special: bool = True) -> str:
    """Ids to text.

    Args:
      ids: ids of one text or pair.
      skip_special: leaves <s>, <pad>, </s> and <mask> out; otherwise they
        are written as they are. <unk> always shows: as ' ⁇ ' where
        SentencePiece decodes, as '<unk>' elsewhere.
    """
    parts: list[str] = []
    run: list[int] = []
    for token in ids:
      token = int(token)
      self._check(token)
      if token not in self._names:
        run.append(token)
      elif not skip_special:
        if run:
          parts.append(self._text_of(run))
          run = []
        parts.append(self._names[token])
      elif token == self.eos_id and run:
        parts.append(self._text_of(run))
        run = []
    if run:
      parts.append(self._text_of(run))
    out = ''
    for part in parts:
      # A byte-level piece includes the space before it.
      apart = not out or out.endswith(' ') or part.startswith(' ')
      out += part if apart else ' ' + part
    return out


def _keep(
  lengths: list[int],
  specials: int,
  max_length: int | None,
  truncate: Truncate,
  where: str = '',
) -> list[int]:
  """How many tokens of each text stay."""
  if truncate not in ('error', 'longest_first', 'first', 'second'):
    raise ValueError(
      f'truncate={truncate!r}; it is one of error, longest_first, first, second'
    )
  if max_length is None:
    return lengths
  room = max_length - specials
  if room < 0:
    raise ValueError(
      f'max_length={max_length} is too small: the specials alone take'
      f' {specials}'
    )
  total = sum(lengths)
  if total <= room:
    return lengths
  if truncate == 'longest_first':
    return longest_first(lengths, room)
  if truncate != 'error':
    side = 0 if truncate == 'first' else 1
    if side < len(lengths) and lengths[side] > total - room:
      keep = list(lengths)
      keep[side] -= total - room
      return keep
    raise ValueError(
      f'{where}cutting the {truncate} text alone cannot bring'
      f' {total + specials} tokens down to max_length={max_length}; use'
      " truncate='longest_first'"
    )
  raise ValueError(
    f'{where}{total + specials} tokens are more than'
    f" max_length={max_length}; shorten the text or choose truncate='"
    "longest_first', 'first' or 'second'"
  )


def longest_first(lengths: list[int], room: int) -> list[int]:
  """Cuts the longer of two texts, as tokenizers' LongestFirst does.

  Where both are cut and `room` is odd, the odd token goes to the text that
  was longer, and to the second where they were equal.
  """
  if len(lengths) == 1:
    return [room]
  low, high = sorted(lengths)
  half = room // 2
  if low <= half:
    high = room - low
  else:
    low, high = half, room - half
  return [high, low] if lengths[0] > lengths[1] else [low, high]


def _refuse_surrogates(texts: list[str]) -> None:
  """Names the first lone surrogate among texts, if there is one."""
  for text in texts:
    if not isinstance(text, str):
      continue
    try:
      text.encode('utf-8')
    except UnicodeEncodeError as error:
      raise ValueError(
        f'character {error.start} of {text[:40]!r} is a lone surrogate'
        f' (U+{ord(text[error.start]):04X}), which is not text; clean it with'
        " text.encode('utf-8', 'replace').decode('utf-8')"
      ) from error
