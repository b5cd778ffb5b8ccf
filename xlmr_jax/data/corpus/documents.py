"""Text becomes paragraphs, and paragraphs documents.

`tokenise` makes arrays of a block of text, in any process. `DocumentBuilder`
takes them in order and says where documents end:

* where a blank line stands, in a file that has one between text, as CC100's
  do (Wenzek et al. 2020);
* with the object, in .jsonl; with the pair, in .tsv;
* after every 32 paragraphs in other files.

A document of more than LONGEST tokens is cut at a paragraph's end, and a
paragraph of more than that where they end. Nothing depends on where the
blocks were cut.
"""

from collections.abc import Callable, Iterator
import dataclasses
import hashlib
import itertools
import json
import os
from typing import NamedTuple

from jaxtyping import Bool, Int
import numpy as np

from xlmr_jax.data import files
from xlmr_jax.data.corpus.sources import Block

RUN = 32  # paragraphs of a document where nothing says where it ends
LONGEST = 65_536  # tokens of a document


class TokenisedBlock(NamedTuple):
  """The paragraphs (or pairs) of a block, those without tokens left out.

  Attributes:
    ids: of all of them.
    lengths: tokens of each; of a pair, of each side.
    characters: of each.
    starts: whether a blank line or the start of an object stands before.
    blank: whether a blank line ends the block.
    digests: 16 bytes each, if they were asked for.
    cut: how many had more than LONGEST tokens and are several now.
  """

  ids: Int[np.ndarray, 'tokens']
  lengths: Int[np.ndarray, 'paragraphs sides']
  characters: Int[np.ndarray, 'paragraphs']
  starts: Bool[np.ndarray, 'paragraphs']
  blank: bool
  digests: bytes
  cut: int = 0


# Tokenising.


def tokenise(
  block: Block,
  encode: Callable[[list[str]], list[np.ndarray]],
  dtype: np.dtype,
  *,
  text_key: str = 'text',
  digests: bool = False,
) -> TokenisedBlock:
  """Tokenises the text of a block.

  Args:
    block: of `blocks`.
    encode: texts to ids without <s> and </s>.
    dtype: of the ids.
    text_key: of JSON objects.
    digests: whether paragraphs are to be compared.

  Raises:
    ValueError: bytes that are not UTF-8, a NUL, a line that is not what its
      form asks for; with the file and the line, or the byte.
  """
  blank = False
  sides = 1
  if block.form == 'lines':
    lines = _lines(block)
    full = np.fromiter(map(bool, map(str.strip, lines)), bool, len(lines))
    texts = list(itertools.compress(lines, full))
    starts = np.concatenate([[False], ~full[:-1]])[full]
    blank = bool(len(lines)) and not full[-1]
  elif block.form == 'pairs':
    texts = list(_pairs(block))
    starts = np.ones(len(texts) // 2, bool)
    sides = 2
  else:
    items = block.data
    if block.form == 'objects':
      items = _objects(block, text_key)
    texts, firsts = [], []
    for item in items:
      lines = (line.removesuffix('\r') for line in item.split('\n'))
      paragraphs = [line for line in lines if line.strip()]
      firsts += [i == 0 for i in range(len(paragraphs))]
      texts += paragraphs
    starts = np.array(firsts, bool)
  try:
    encoded = encode(texts) if texts else []
  except ValueError as error:
    raise ValueError(
      f'{block.path}: in the text from line {block.line} on: {error}'
    ) from error
  lengths = np.fromiter(map(len, encoded), np.int32, len(encoded))
  characters = np.fromiter(map(len, texts), np.int32, len(texts))
  ids = np.concatenate([np.zeros(0, dtype), *encoded]).astype(dtype)
  lengths = lengths.reshape(-1, sides)
  characters = characters.reshape(-1, sides).sum(1, dtype=np.int32)
  marks = b''
  if digests:
    joined = map('\t'.join, zip(*[iter(texts)] * sides, strict=True))
    marks = b''.join(
      hashlib.blake2b(text.encode(), digest_size=16).digest() for text in joined
    )
  out = TokenisedBlock(ids, lengths, characters, starts, blank, marks)
  if not lengths.all():
    out = _without_empty(out)
  if sides == 1 and (lengths > LONGEST).any():
    out = _cut(out)
  return out


def _without_empty(block: TokenisedBlock) -> TokenisedBlock:
  """Leaves out paragraphs without tokens, such as control characters."""
  kept = block.lengths.all(1)
  starts = block.starts.copy()
  # A start belongs to the next paragraph that is kept.
  for i in np.flatnonzero(~kept & starts):
    later = np.flatnonzero(kept[i:])
    if len(later):
      starts[i + later[0]] = True
  blank = block.blank
  if len(kept) and not kept[-1]:
    last = np.flatnonzero(kept)[-1] + 1 if kept.any() else 0
    blank = blank or bool(block.starts[last:].any())
  marks = np.frombuffer(block.digests, np.uint8).reshape(-1, 16)
  return TokenisedBlock(
    block.ids[np.repeat(kept, block.lengths.sum(1))],
    block.lengths[kept],
    block.characters[kept],
    starts[kept],
    blank,
    marks[kept].tobytes() if block.digests else b'',
  )


def _cut(block: TokenisedBlock) -> TokenisedBlock:
  """Cuts paragraphs of more than LONGEST tokens into several."""
  lengths, characters, starts, marks = [], [], [], []
  for i, [length] in enumerate(block.lengths.tolist()):
    mark = block.digests[16 * i : 16 * i + 16]
    for number in range(-(-length // LONGEST)):
      lengths.append([min(LONGEST, length - number * LONGEST)])
      characters.append(0 if number else block.characters[i])
      starts.append(block.starts[i] and not number)
      if mark and number:
        mark = hashlib.blake2b(mark, digest_size=16).digest()
      marks.append(mark)
  return block._replace(
    lengths=np.array(lengths, np.int32),
    characters=np.array(characters, np.int32),
    starts=np.array(starts, bool),
    digests=b''.join(marks),
    cut=int((block.lengths > LONGEST).sum()),
  )


def _lines(block: Block) -> list[str]:
  data = block.data
  offset = block.offset
  if not offset and data.startswith(b'\xef\xbb\xbf'):
    data, offset = data[3:], 3

  def where(at: int) -> str:
    line = block.line + data.count(b'\n', 0, at)
    packed = os.path.splitext(block.path)[1] in files.SUFFIXES[1:]
    unpacked = ' (unpacked)' if packed else ''
    return f'{block.path}:{line}: byte {offset + at} of the file{unpacked}'

  try:
    text = data.decode('utf-8')
  except UnicodeDecodeError as error:
    raise ValueError(
      f'{where(error.start)} (0x{data[error.start]:02x}) is not UTF-8;'
      ' convert the file to UTF-8'
    ) from error
  if (at := data.find(b'\0')) >= 0:
    raise ValueError(
      f'{where(at)} is NUL; this is not a UTF-8 text file (UTF-16 files must'
      ' be converted first)'
    )
  lines = text.split('\n')
  if not lines[-1]:
    lines.pop()
  if '\r' in text:
    lines = [line.removesuffix('\r') for line in lines]
  return lines


def _pairs(block: Block) -> Iterator[str]:
  """First and second side of each pair in turn; quotes are text."""
  for number, line in enumerate(_lines(block), block.line):
    if not line:
      continue
    row = line.split('\t')
    if len(row) != 2:
      raise ValueError(f'{block.path}:{number}: {len(row)} columns, expected 2')
    if row[0].strip() and row[1].strip():
      yield from row


def _objects(block: Block, key: str) -> Iterator[str]:
  for number, line in enumerate(_lines(block), block.line):
    where = f'{block.path}:{number}'
    if not line.strip():
      continue
    try:
      item = json.loads(line)
    except ValueError as error:
      raise ValueError(f'{where}: not JSON ({error})') from error
    if not isinstance(item, dict):
      raise ValueError(f'{where}: not a JSON object')
    if not isinstance(item.get(key), str):
      raise ValueError(
        f'{where}: {key!r} is no text; the object has the keys'
        f' {", ".join(map(str, item))}: name one with --text_key'
      )
    yield item[key]


# Documents.


class BlankLines(Exception):
  """A file has blank lines between documents, which its start did not show."""


class Documents(NamedTuple):
  """Complete documents.

  Attributes:
    ids: of all of them.
    lengths: tokens of each paragraph; of a pair, of each side.
    characters: of each paragraph.
    firsts: each document's first paragraph; one more for the end.
  """

  ids: Int[np.ndarray, 'tokens']
  lengths: Int[np.ndarray, 'paragraphs sides']
  characters: Int[np.ndarray, 'paragraphs']
  firsts: Int[np.ndarray, 'documents+1']


@dataclasses.dataclass
class DocumentBuilder:
  """Makes documents of blocks, one file after the other.

  Attributes:
    dtype: of the ids.
    sides: 2 for pairs.
    separated: whether blank lines or objects separate the documents of the
      file that is being read; otherwise runs of paragraphs.
    seen: paragraphs of the file so far.
    blank: whether a blank line was the last line.
    ids, lengths, characters: the paragraphs of the document that is open.
  """

  dtype: np.dtype
  sides: int = 1
  separated: bool = False
  seen: int = 0
  blank: bool = False

  def __post_init__(self):
    self._clear()

  def _clear(self) -> None:
    self.ids = np.zeros(0, self.dtype)
    self.lengths = np.zeros((0, self.sides), np.int32)
    self.characters = np.zeros(0, np.int32)

  def open_file(self, separated: bool) -> None:
    """Starts another file."""
    self.separated = separated
    self.seen, self.blank = 0, False
    self._clear()

  def add(self, block: TokenisedBlock) -> Documents:
    """Adds a block; returns the documents that it completes.

    Raises:
      BlankLines: the file is to be read again, as a separated one.
    """
    count = len(block.lengths)
    if not count:
      self.blank |= block.blank
      return self._take_before(np.zeros(1, np.int64))
    starts = block.starts.copy()
    starts[0] |= self.blank
    starts[0] &= self.seen > 0  # blank lines at the start separate nothing
    if not self.separated:
      if starts.any():
        raise BlankLines
      starts = (self.seen + np.arange(count)) % RUN == 0
    self.blank = block.blank
    self.seen += count
    open_ = np.zeros(len(self.lengths), bool)
    self.ids = np.concatenate([self.ids, block.ids])
    self.lengths = np.concatenate([self.lengths, block.lengths])
    self.characters = np.concatenate([self.characters, block.characters])
    starts = np.concatenate([open_, starts])
    starts[0] = True
    return self._take_before(self._within_longest(starts))

  def close_file(self) -> Documents:
    """Ends a file; returns its last document."""
    ends = [0, len(self.lengths)] if len(self.lengths) else [0]
    return self._take_before(np.array(ends))

  def _within_longest(self, starts: np.ndarray) -> np.ndarray:
    """The first paragraphs of documents, after long documents are cut."""
    firsts = np.flatnonzero(starts)
    if self.sides > 1:
      return firsts
    lengths = self.lengths[:, 0]
    totals = np.add.reduceat(lengths, firsts, dtype=np.int64)
    for number in np.flatnonzero(totals > LONGEST):
      last = firsts[number + 1] if number + 1 < len(firsts) else len(starts)
      size = 0
      for i in range(firsts[number], last):
        if size + lengths[i] > LONGEST:
          starts[i] = True
          size = 0
        size += int(lengths[i])
    return np.flatnonzero(starts)

  def _take_before(self, firsts: np.ndarray) -> Documents:
    """Takes the complete documents; the last first paragraph stays open."""
    last = int(firsts[-1])
    tokens = int(self.lengths[:last].sum(dtype=np.int64))
    complete = Documents(
      self.ids[:tokens], self.lengths[:last], self.characters[:last], firsts
    )
    self.ids = self.ids[tokens:]
    self.lengths = self.lengths[last:]
    self.characters = self.characters[last:]
    return complete
