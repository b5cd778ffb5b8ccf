"""XLM-R's and CamemBERT's tokenizer: SentencePiece under fairseq's ids.

```
XLM-R id        0    1      2     3      4    5    …   n      n + 1
piece           <s>  <pad>  </s>  <unk>  ,    .    …   last   <mask>
SentencePiece   1    none   2     0      3    4    …   n - 1  none
```

A SentencePiece model of n pieces makes a vocabulary of n + 2 rows. `Layout`
is the table of what stands before the ordinary pieces: CamemBERT's has three
rows more. A text becomes `<s> A </s>`, a pair `<s> A </s></s> B </s>`.
`<mask>` typed in a text is the mask; every other special typed in a text is
plain text.

`Base` holds what is the same for every vocabulary: specials, truncation,
errors. hf_tokenizers.py has its other child, and folder.py chooses.

The command trains a new model on text files:

    xlmr tokenizer --input='corpus/*.txt.xz' \
        --vocab_size=16000 --output=DIR
"""

import collections
from collections.abc import Iterable, Sequence
import dataclasses
import hashlib
import io
import itertools
import json
import os
import tempfile
from typing import Literal
import unicodedata

from absl import flags
from jaxtyping import Int
import numpy as np
import sentencepiece
import tqdm

from xlmr_jax.data import files
from xlmr_jax.runtime import commands, storage

FILE_NAME = 'sentencepiece.bpe.model'  # the name Hugging Face looks for
MASK = '<mask>'
Truncate = Literal['error', 'longest_first', 'first', 'second']

# Pieces before the first ordinary one: SentencePiece's <unk> <s> </s>.
_CONTROL = {0: '<unk>', 1: '<s>', 2: '</s>'}
# What nmt_nfkc turns into a space. It deletes the C0 controls instead, and
# keeps U+0085, which is why str.isspace() is not the test.
SPACE = (
  '\t\n\x0c\r \u00a0\u1680\u2000-\u200f\u2028\u2029\u202f\u205f\u2581\u3000'
  '\ufeff\ufffd'
).replace('\u2000-\u200f', ''.join(chr(c) for c in range(0x2000, 0x2010)))


@dataclasses.dataclass(frozen=True)
class Layout:
  """Where a family of models puts SentencePiece's pieces.

  Attributes:
    name: the family.
    head: the pieces of the first rows. SentencePiece's ordinary pieces
      follow in their order, and <mask> is last.
    hf_class: the name of the family's tokenizer in transformers.
  """

  name: str
  head: tuple[str, ...]
  hf_class: str

  @property
  def shift(self) -> int:
    """What is added to SentencePiece's id of an ordinary piece."""
    return len(self.head) - len(_CONTROL)

  def rows(self, pieces: int) -> int:
    """Rows of the table over a SentencePiece model of so many pieces."""
    return pieces + self.shift + 1


XLMR = Layout('XLM-R', ('<s>', '<pad>', '</s>', '<unk>'), 'XLMRobertaTokenizer')
# fairseq added its four specials to a dictionary that had three of them
# already. <s> and </s> are SentencePiece's own; <unk> is fairseq's.
CAMEMBERT = Layout(
  'CamemBERT',
  ('<s>NOTUSED', '<pad>', '</s>NOTUSED', '<unk>')
  + ('<unk>NOTUSED', '<s>', '</s>'),
  'CamembertTokenizer',
)


class Base:
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

  # The specials' pieces by id, but for <unk>: it stands for a text.
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
    spare. BpeTokenizer has but two ways: one thread, or the pool of its
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
        keep = _keep(lengths, max_length, truncate, where)
        if keep != lengths:
          ids = [i[:k] for i, k in zip(ids, keep, strict=True)]
        framed = _frame(ids, self.bos_id, self.eos_id)
        if offsets:
          spans = [s[:k] for s, k in zip(spans, keep, strict=True)]
          framed = framed, _frame(spans, (0, 0), (0, 0))
        out.append(framed)
    except (RuntimeError, TypeError, UnicodeError):
      _refuse_surrogates(texts)
      raise
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
      # Byte-level pieces bring the space before them along.
      apart = not out or out.endswith(' ') or part.startswith(' ')
      out += part if apart else ' ' + part
    return out


class Tokenizer(Base):
  """A SentencePiece model under a family's ids.

  Attributes:
    layout: the family.
    vocab_size: rows of the model's table; XLM-R's are pieces + 2.
    bos_id, pad_id, eos_id, unk_id, mask_id: in XLM-R 0, 1, 2, 3 and
      vocab_size - 1.
    special_ids: those of the layout's head, and mask_id.
    pieces: half-open id range of the ordinary pieces, up to mask_id.
    fingerprint: SHA-256 of the model's bytes, and of the layout where it is
      not XLM-R's.
  """

  def __init__(self, source: str | os.PathLike | bytes, layout: Layout = XLMR):
    """Loads a SentencePiece model.

    Args:
      source: the path of a model, of a directory that holds one under
        Hugging Face's name, or the bytes of a model.
      layout: the family whose ids the pieces get.

    Raises:
      ValueError: not a SentencePiece model, or its control pieces are not
        XLM-R's.
    """
    if isinstance(source, bytes):
      name, self._bytes = 'the model given as bytes', source
    else:
      name = os.fspath(source)
      if os.path.isdir(name):
        name = os.path.join(name, FILE_NAME)
      with open(name, 'rb') as file:
        self._bytes = file.read()
    try:
      if not self._bytes:
        raise RuntimeError('it is empty')
      self._spm = sentencepiece.SentencePieceProcessor(model_proto=self._bytes)
      size = self._spm.get_piece_size()
    except RuntimeError as error:
      raise ValueError(f'{name} is not a SentencePiece model') from error
    first = {i: self._spm.id_to_piece(i) for i in range(min(3, size))}
    if first != _CONTROL or self._spm.pad_id() != -1:
      raise ValueError(
        f'{name} starts with the pieces {list(first.values())} and has'
        f' pad_id {self._spm.pad_id()}; an {XLMR.name} or {CAMEMBERT.name}'
        ' model starts with <unk> <s> </s> and has no pad piece: train it'
        ' with unk_id=0, bos_id=1, eos_id=2, pad_id=-1'
      )
    self.layout = layout
    self.bos_id, self.pad_id, self.eos_id, self.unk_id = map(
      layout.head.index, ('<s>', '<pad>', '</s>', '<unk>')
    )
    self.vocab_size = layout.rows(size)
    self.mask_id = self.vocab_size - 1
    self.special_ids = (*range(len(layout.head)), self.mask_id)
    self.pieces = (len(layout.head), self.mask_id)
    digest = hashlib.sha256(self._bytes)
    if layout != XLMR:  # caches of XLM-R's ids are older than layouts
      digest.update(repr(layout.head).encode())
    self.fingerprint = digest.hexdigest()
    self._names = dict(enumerate(layout.head)) | {self.mask_id: MASK}
    del self._names[self.unk_id]
    self._ids = {piece: i for i, piece in self._names.items()}

  def __reduce__(self):
    return Tokenizer, (self._bytes, self.layout)

  @property
  def model(self) -> bytes:
    """The bytes of the SentencePiece model."""
    return self._bytes

  def id_to_piece(self, token: int) -> str:
    """The piece of an id, e.g. 6 → '▁'."""
    self._check(token)
    if token in self._names:
      return self._names[token]
    return self._spm.id_to_piece(self._to_spm(int(token)))

  def piece_to_id(self, piece: str) -> int:
    """The id of a piece; <unk>'s for one the vocabulary has not."""
    if piece in self._ids:
      return self._ids[piece]
    return self._from_spm([self._spm.piece_to_id(piece)])[0]

  def save(self, directory: str | os.PathLike) -> str:
    """Writes `sentencepiece.bpe.model` into a directory; returns its path.

    The model does not say what its layout is: for another than XLM-R's,
    tokenizer_config.json does, unless the directory has one.
    """
    os.makedirs(directory, exist_ok=True)
    path = os.path.join(directory, FILE_NAME)
    storage.write_bytes(path, self._bytes)
    config = os.path.join(directory, 'tokenizer_config.json')
    if self.layout != XLMR and not os.path.exists(config):
      settings = {'tokenizer_class': self.layout.hf_class}
      storage.write_bytes(
        config, (json.dumps(settings, indent=2) + '\n').encode()
      )
    return path

  def _from_spm(self, ids: list[int]) -> list[int]:
    shift, unk = self.layout.shift, self.unk_id
    return [i + shift if i else unk for i in ids]

  def _to_spm(self, token: int) -> int:
    return 0 if token == self.unk_id else token - self.layout.shift

  def _plain_ids_of(self, texts: list[str], num_threads: int) -> list:
    encoded = self._spm.encode(
      texts, return_type='numpy', num_threads=num_threads
    )
    if not encoded:
      return []
    # All at once: an array operation a paragraph costs a fifth of the time.
    ids = np.concatenate(encoded)
    ids = np.where(ids == 0, self.unk_id, ids + self.layout.shift)
    return np.split(ids, np.cumsum([len(part) for part in encoded[:-1]]))

  def _ids_of(self, texts: list[str], num_threads: int) -> list[list[int]]:
    chunks = texts
    if any(MASK in text for text in texts):
      chunks = []
      counts = []
      for text in texts:
        parts = text.split(MASK)
        counts.append(len(parts))
        # The left part loses its trailing space and what follows the mask
        # gets a dummy prefix of its own, as in fairseq's fill_mask.
        chunks += [part.rstrip(SPACE) for part in parts[:-1]] + parts[-1:]
    encoded = [
      self._from_spm(ids)
      for ids in self._spm.encode(chunks, num_threads=num_threads)
    ]
    if chunks is texts:
      return encoded
    rest = iter(encoded)
    out = []
    for count in counts:
      ids = next(rest)
      for _ in range(count - 1):
        ids.append(self.mask_id)
        ids += next(rest)
      out.append(ids)
    return out

  def _spans_of(self, text: str) -> tuple[list[int], list[tuple[int, int]]]:
    ids: list[int] = []
    spans: list[tuple[int, int]] = []
    start = 0
    parts = text.split(MASK)
    for number, part in enumerate(parts):
      last = number == len(parts) - 1
      got = self._spm.encode(
        part if last else part.rstrip(SPACE), return_type='offset_mapping'
      )
      ids += self._from_spm(got['ids'])
      for piece, (begin, end) in zip(
        got['pieces'], got['offsets'], strict=True
      ):
        while begin < end and part[begin] in SPACE:
          begin += 1
        if begin == end and piece != '▁':
          # A character that NFKC expands (½ to 1⁄2) and the segmentation
          # cuts: each of its pieces stands for the whole character.
          end = min(begin + 1, len(part))
        spans.append((start + begin, start + end))
      start += len(part)
      if not last:
        ids.append(self.mask_id)
        spans.append((start, start + len(MASK)))
        start += len(MASK)
    return ids, spans

  def _text_of(self, ids: list[int]) -> str:
    return self._spm.decode([self._to_spm(i) for i in ids])


def _frame(sides: Sequence[list], bos, eos) -> list:
  """`<s> A </s>` or `<s> A </s></s> B </s>`."""
  out = [bos, *sides[0], eos]
  if len(sides) == 2:
    out += [eos, *sides[1], eos]
  return out


def _keep(
  lengths: list[int],
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
  specials = 2 * len(lengths)
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


# Training.

# Candidates per row of the vocabulary. With many more the first estimates are
# spread so thin that words are pruned: on synthetic text in ten languages
# 1,500 rows gave 28 tokens a line from 2 per row and 41 from 13 per row.
_SEEDS_PER_ROW = 2


def train(
  sentences: Iterable[str],
  vocab_size: int,
  *,
  seed_from_frequency: bool = False,
  hard_vocab_limit: bool = True,
  character_coverage: float = 0.9995,
  verbose: bool = False,
) -> bytes:
  """Trains a unigram model as XLM-R's was: nmt_nfkc, no byte fallback.

  Args:
    sentences: texts; empty ones are skipped.
    vocab_size: rows of the MODEL the tokenizer is for, the five specials
      included: SentencePiece trains vocab_size - 2 pieces.
    seed_from_frequency: SentencePiece's first candidates are the repeated
      substrings of the running text that cannot be made longer without
      becoming rarer. A word that never ends a sentence only repeats with the
      space after it, which no piece may hold, and is lost: text of a few
      templates is shredded into letters. This takes the substrings of words
      instead, by how often they occur. For such text only: it takes memory
      for every substring of every word.
    hard_vocab_limit: whether text too poor for vocab_size pieces is an error;
      otherwise the vocabulary comes out smaller.
    character_coverage: share of the text's characters that get a piece.
    verbose: whether SentencePiece prints its progress.

  Returns:
    The bytes of the model. The same input gives the same bytes.

  Raises:
    ValueError: no text, or vocab_size does not fit it.
  """
  if vocab_size < 6:
    raise ValueError(f'vocab_size={vocab_size}; five rows are specials')
  options = {}
  folder = None
  if seed_from_frequency:
    sentences = list(sentences)
    folder = tempfile.TemporaryDirectory()
    path = os.path.join(folder.name, 'seeds.tsv')
    _write_seeds(sentences, path, _SEEDS_PER_ROW * vocab_size)
    options['seed_sentencepieces_file'] = path
  model = io.BytesIO()
  try:
    sentencepiece.SentencePieceTrainer.train(
      sentence_iterator=(s for s in sentences if s.strip()),
      model_writer=model,
      model_type='unigram',
      vocab_size=vocab_size - 2,
      normalization_rule_name='nmt_nfkc',
      character_coverage=character_coverage,
      hard_vocab_limit=hard_vocab_limit,
      unk_id=0,
      bos_id=1,
      eos_id=2,
      pad_id=-1,
      # Longer sentences are dropped silently; 4,192 bytes, the default, is
      # less than a long paragraph.
      max_sentence_length=1 << 20,
      # Sums depend on how the text is split between threads: a fixed number
      # makes the same file on every machine.
      num_threads=4,
      minloglevel=0 if verbose else 2,
      **options,
    )
  except RuntimeError as error:
    reason = str(error)
    if 'sentences_.empty' in reason:
      raise ValueError('there is no text to train a tokenizer on') from error
    if 'Vocabulary size' in reason:
      numbers = [w.rstrip('.') for w in reason.split()]
      bound = [int(w) + 2 for w in numbers if w.isdigit()]
      high = 'too high' in reason
      raise ValueError(
        f'vocab_size={vocab_size} is too {"high" if high else "low"} for'
        f' this text: {"at most" if high else "more than"} {bound[-1]}'
        + (
          ', or hard_vocab_limit=False for as many as it gives'
          if high
          else ', or a lower character_coverage'
        )
      ) from error
    raise
  finally:
    if folder:
      folder.cleanup()
  return model.getvalue()


def _write_seeds(sentences: Iterable[str], path: str, limit: int) -> None:
  """Writes the frequent substrings of words with their counts.

  A substring that never occurs without the same letter beside it is left
  out: 'ppl' of 'apple' would only take the place of a piece of use.
  """
  normalizer = sentencepiece.SentencePieceNormalizer(rule_name='nmt_nfkc')
  words: collections.Counter[str] = collections.Counter()
  for sentence in sentences:
    for word in normalizer.normalize(sentence).replace('▁', ' ▁').split():
      # No piece holds both letters and punctuation.
      for _, run in itertools.groupby(word, _is_punctuation):
        words[''.join(run)] += 1
  counts: collections.Counter[str] = collections.Counter()
  longest = 16  # SentencePiece's max_sentencepiece_length
  for word, n in words.items():
    for i in range(len(word)):
      for j in range(i + 1, min(i + longest, len(word)) + 1):
        counts[word[i:j]] += n
  within: collections.Counter[str] = collections.Counter()
  for piece, n in counts.items():
    for shorter in (piece[1:], piece[:-1]):
      within[shorter] = max(within[shorter], n)
  kept = [
    (piece, n)
    for piece, n in counts.items()
    if len(piece) == 1 or (n > 1 and n > within[piece])
  ]
  kept.sort(key=lambda item: (-item[1] * len(item[0]), item[0]))
  with open(path, 'w', encoding='utf-8') as file:
    for number, (piece, n) in enumerate(kept):
      if number < limit or len(piece) == 1:
        file.write(f'{piece}\t{n}\n')


def _is_punctuation(character: str) -> bool:
  return character != '▁' and unicodedata.category(character)[0] in 'PS'


def sample(
  paths: Sequence[str], sentences: int, *, alpha: float = 0.3, seed: int = 0
) -> tuple[list[str], dict[str, int]]:
  """Draws lines from files so that small languages are heard.

  The files are named after their languages. Language i of n_i lines gives
  lines in proportion to n_i ** alpha (XLM-R, section 3.1, has alpha 0.3), at
  most all it has; what it cannot give the others give.

  Returns:
    The lines, and how many came from each language.
  """
  sizes: collections.Counter[str] = collections.Counter()
  for path in tqdm.tqdm(paths, 'counting', unit='file', disable=None):
    sizes[files.language(path)] += sum(
      1 for line in files.lines(path) if line.strip()
    )
  quota = _quota(dict(sizes), sentences, alpha)
  chosen = {}
  for number, (name, total) in enumerate(sorted(sizes.items())):
    random = np.random.default_rng([seed, number])
    mask = np.zeros(total, bool)
    mask[random.choice(total, quota[name], replace=False)] = True
    chosen[name] = mask
  seen: collections.Counter[str] = collections.Counter()
  out = []
  for path in tqdm.tqdm(paths, 'reading', unit='file', disable=None):
    name = files.language(path)
    for line in files.lines(path):
      if line.strip():
        if chosen[name][seen[name]]:
          out.append(line)
        seen[name] += 1
  return out, quota


def _quota(sizes: dict[str, int], cap: int, alpha: float) -> dict[str, int]:
  """min(n, c · n ** alpha) of each, with c such that they sum up to cap."""
  quota = {}
  left = cap
  # The languages that give all they have come first: those with the smallest
  # n ** (1 - alpha).
  open_names = sorted(sizes, key=lambda n: (sizes[n] ** (1 - alpha), n))
  weight = sum(sizes[n] ** alpha for n in open_names if sizes[n])
  for name in open_names:
    size = sizes[name]
    share = size**alpha if size else 0.0
    quota[name] = min(size, round(left * share / weight)) if share else 0
    left -= quota[name]
    weight -= share
  return quota


def define_flags(values: flags.FlagValues = flags.FLAGS) -> None:
  """The command's flags."""
  to = {'flag_values': values}
  flags.DEFINE_multi_string(
    'input',
    None,
    'Text files, <lang>.txt[.xz|.gz]: a glob pattern.',
    **to,
  )
  flags.DEFINE_integer(
    'vocab_size',
    16000,
    'Rows of the model the tokenizer is for, its five specials included.',
    lower_bound=6,
    **to,
  )
  flags.DEFINE_string('output', None, 'Directory to write.', **to)
  flags.DEFINE_integer(
    'sentences', 500_000, 'The most lines to train on.', lower_bound=1, **to
  )
  flags.DEFINE_float(
    'alpha',
    0.3,
    'Languages are drawn by size ** alpha.',
    lower_bound=0.0,
    **to,
  )
  flags.DEFINE_integer('seed', 0, 'Seed of the draw.', lower_bound=0, **to)
  flags.DEFINE_float(
    'character_coverage',
    0.9995,
    'See SentencePiece.',
    lower_bound=0.98,
    upper_bound=1.0,
    **to,
  )
  flags.DEFINE_bool(
    'seed_from_frequency',
    False,
    'Candidates are substrings of words: for synthetic text of few templates.',
    **to,
  )
  flags.DEFINE_bool(
    'hard_vocab_limit',
    True,
    'Whether text too poor for vocab_size is an error.',
    **to,
  )
  flags.DEFINE_bool(
    'verbose', False, "Whether to show SentencePiece's log.", **to
  )


def main(argv: list[str], options: flags.FlagValues = flags.FLAGS) -> None:
  """Trains a vocabulary and saves it."""
  commands.check_arguments(argv)
  commands.check_given(options, 'input', 'output')
  lines, counts = sample(
    files.find(options.input),
    options.sentences,
    alpha=options.alpha,
    seed=options.seed,
  )
  drawn = ' '.join(f'{name} {n:,}' for name, n in sorted(counts.items()))
  print(f'training on {len(lines):,} lines: {drawn}', flush=True)
  model = train(
    lines,
    options.vocab_size,
    seed_from_frequency=options.seed_from_frequency,
    hard_vocab_limit=options.hard_vocab_limit,
    character_coverage=options.character_coverage,
    verbose=options.verbose,
  )
  tokenizer = Tokenizer(model)
  path = tokenizer.save(options.output)
  print(f'{path}: {tokenizer.vocab_size:,} rows')
