"""Running text in many languages, for pretraining.

```
corpus/<lang>.txt[.gz|.xz]          a paragraph a line; more than one file a
corpus/<lang>.<any>.txt[.gz|.xz]      language if need be
parallel/<a>-<b>.tsv[.gz|.xz]       a sentence, a TAB, its translation
```

Every file is tokenised once (data/token_cache.py). From there on all is
arithmetic:

* Examples are streams of text (XLM-R, section 3.1) as RoBERTa's
  full-sentences format joins them (section 4.2): paragraph after paragraph,
  cut into pieces of equal length, at most max_length tokens with <s> and
  </s>. A pair of the parallel files is one example, `<s> A </s></s> B </s>`
  with either side first (TLM, Lample & Conneau 2019, section 3.3).
* Blocks of paragraphs, spread over each file, are held out for evaluation.
* An epoch has as many tokens as the corpus. Language i of n_i tokens gets a
  share in proportion to n_i ** alpha (XLM-R, section 3.1: alpha 0.3) and goes
  through its examples in an order of its own, epoch after epoch: a small one
  repeats within an epoch, a large one goes on where it was.
"""

from collections.abc import Iterator, Sequence
import hashlib
import itertools
import os

from jaxtyping import Int
import numpy as np

from xlmr_jax.data import files, pack, sources, token_cache
from xlmr_jax.data import tokenizer as tokenizer_lib

_BLOCK = 32  # paragraphs held out together, at most


class Corpus:
  """Features that change with the epoch, for data/loader.py.

  Attributes:
    languages: of the monolingual text, sorted.
    pairs: of the parallel text, such as 'en-sw', sorted.
    tokens: training tokens of each language and pair, specials included.
    shares: share of an epoch's tokens that each gets.
    max_length: the most tokens of an example.
    fingerprint: hexadecimal digest of the training text and what is made of
      it; runs on the same data have the same.
  """

  def __init__(
    self,
    directory: str | os.PathLike,
    tokenizer: tokenizer_lib.Tokenizer,
    *,
    cache_dir: str | os.PathLike,
    max_length: int,
    languages: Sequence[str] | None = None,
    alpha: float = 0.3,
    parallel_dir: str | os.PathLike | None = None,
    parallel_weight: float = 0.5,
    held_out: float = 0.01,
    seed: int = 0,
  ):
    """Tokenises what is not in the cache yet, and counts.

    Args:
      directory: the monolingual files.
      tokenizer: of the model.
      cache_dir: where token arrays are kept, two or four bytes a token.
        Interrupted, the next call goes on with the file it was at.
      max_length: the most tokens of an example, specials included.
      languages: which to take; None for all there are.
      alpha: exponent of the sampling; 1 takes every example once an epoch.
      parallel_dir: the parallel files; None for none.
      parallel_weight: share of tokens that comes from parallel text. Lample &
        Conneau alternate between the two, which is one half.
      held_out: share of the paragraphs held out of each file.
      seed: of the order and of the side that comes first.

    Raises:
      ValueError: no files, a language that has none, a file without text, a
        file that is not what it should be (with its line).
    """
    if max_length < 5:
      raise ValueError(f'max_length={max_length}; a pair has four specials')
    if not 0 <= alpha <= 1:
      raise ValueError(f'alpha={alpha}; it is between 0 and 1')
    if not 0 <= parallel_weight <= 1:
      raise ValueError(
        f'parallel_weight={parallel_weight}; it is between 0 and 1'
      )
    if not 0 <= held_out < 1:
      raise ValueError(f'held_out={held_out}; it is at least 0 and below 1')
    self.max_length = max_length
    self._seed = seed
    self._tokenizer = tokenizer
    cache = token_cache.TokenCache(cache_dir, tokenizer)
    found = _list(directory, '.txt', languages)
    pairs = _list(parallel_dir, '.tsv') if parallel_dir is not None else {}
    self.languages = tuple(found)
    self.pairs = tuple(pairs)
    self._texts = {
      name: [cache.get(path, _paragraphs(path)) for path in paths]
      for name, paths in found.items()
    }
    ends = tokenizer.bos_id, tokenizer.eos_id
    parts: list[_Stream | _Pairs] = []
    for name, texts in self._texts.items():
      ranges = [_held_out_blocks(len(t.ends) - 1, held_out) for t in texts]
      parts.append(_Stream(name, texts, ranges, max_length, ends, train=True))
    for name, paths in pairs.items():
      parts.append(
        _Pairs(name, [cache.get(p, _sides(p)) for p in paths], max_length, ends)
      )
    self._held_out = [
      _Stream(
        name,
        texts,
        [_held_out_blocks(len(t.ends) - 1, held_out) for t in texts],
        max_length,
        ends,
        train=False,
      )
      for name, texts in self._texts.items()
    ]
    self._parts = parts
    self.tokens = {p.name: int(p.lengths.sum()) for p in parts}
    for name, tokens in self.tokens.items():
      if not tokens:
        raise ValueError(f'nothing of {name} is left to train on')
    self.shares = {}
    for names, weight in (
      (self.languages, 1 - parallel_weight if pairs else 1.0),
      (self.pairs, parallel_weight),
    ):
      powers = {n: self.tokens[n] ** alpha for n in names}
      for name in names:
        self.shares[name] = weight * powers[name] / sum(powers.values())
    total = sum(self.tokens.values())
    # Examples of each part in an epoch.
    self._counts = [
      max(1, round(share * total / float(part.lengths.mean())))
      if (share := self.shares[part.name])
      else 0
      for part in parts
    ]
    digest = hashlib.sha256(tokenizer.fingerprint.encode())
    for part in parts:
      digest.update(part.fingerprint.encode())
    settings = (max_length, alpha, parallel_weight, held_out, seed)
    digest.update(repr(settings).encode())
    self.fingerprint = digest.hexdigest()

  def epoch(self, epoch: int) -> 'View':
    """The features of an epoch; the same ones whoever asks."""
    offsets, flips, index = [], [], []
    for number, (part, count) in enumerate(
      zip(self._parts, self._counts, strict=True)
    ):
      start = epoch * count
      index.append(
        _stream_order(len(part.lengths), start, count, self._seed, number)
      )
      offsets.append(count)
      if isinstance(part, _Pairs):
        stream = np.random.SeedSequence([self._seed, number, epoch, 1])
        flips.append(np.random.Philox(stream).random_raw(count) % 2 == 1)
      else:
        flips.append(np.zeros(count, bool))
    return View(self._parts, offsets, index, flips)

  def max_examples(self, row_length: int) -> int:
    """The most examples a row could hold, in any epoch."""
    return max(1, row_length // min(int(p.lengths.min()) for p in self._parts))

  def held_out(self, limit: int | None = None) -> 'View':
    """Held-out examples, language after language.

    Args:
      limit: the most examples of a language, spread over its text.
    """
    index = []
    for part in self._held_out:
      count = len(part.lengths)
      chosen = np.arange(count)
      if limit is not None and count > limit:
        chosen = np.arange(limit) * count // limit
      index.append(chosen)
    return View(
      self._held_out,
      [len(i) for i in index],
      index,
      [np.zeros(len(i), bool) for i in index],
    )

  def unigram_entropy(self) -> dict[str, float]:
    """Nats per token of each language's held-out text, word by word.

    The held-out masked-token loss of a model that knows nothing but how
    frequent each piece is in the language. Ordinary pieces only. Languages
    without held-out text are left out.
    """
    first, last = self._tokenizer.pieces
    out = {}
    for train, held in zip(self._parts, self._held_out, strict=False):
      seen = train.count(self._tokenizer.vocab_size)[first:last]
      asked = held.count(self._tokenizer.vocab_size)[first:last]
      if asked.sum():
        out[train.name] = cross_entropy(seen, asked)
    return out


def cross_entropy(
  seen: Int[np.ndarray, 'V'], asked: Int[np.ndarray, 'V']
) -> float:
  """Nats per token of text with the counts `asked` under those `seen`.

  Every count seen is one higher, so that none is impossible.
  """
  log_p = np.log(seen + 1.0) - np.log(seen.sum() + len(seen))
  return float(-(asked * log_p).sum() / asked.sum())


class View:
  """Features of one epoch, or held-out ones.

  Attributes:
    lengths: tokens of each feature.
    names: the language or pair of each.
  """

  def __init__(
    self,
    parts: Sequence['_Stream | _Pairs'],
    counts: Sequence[int],
    index: Sequence[Int[np.ndarray, 'n']],
    flips: Sequence[np.ndarray],
  ):
    self._parts = parts
    self._part = np.repeat(np.arange(len(parts)), counts)
    self._index = np.concatenate([np.zeros(0, np.int64), *index])
    self._flip = np.concatenate([np.zeros(0, bool), *flips])
    self.lengths = np.concatenate(
      [np.zeros(0, np.int64)]
      + [p.lengths[i] for p, i in zip(parts, index, strict=True)]
    )

  def __len__(self) -> int:
    return len(self._index)

  @property
  def names(self) -> list[str]:
    return [self._parts[p].name for p in self._part]

  def __getitem__(self, index: int) -> pack.Feature:
    part = self._parts[self._part[index]]
    return {'tokens': part.tokens(self._index[index], self._flip[index])}


def _stream_order(
  size: int, start: int, count: int, *key: int
) -> Int[np.ndarray, 'count']:
  """Elements start … start + count of an endless stream of permutations."""
  out = []
  position = start
  while position < start + count:
    number, offset = divmod(position, size)
    order = pack.permutation(size, *key, number, 0)
    out.append(order[offset : offset + start + count - position])
    position += len(out[-1])
  return np.concatenate([np.zeros(0, np.int64), *out])


def _held_out_blocks(paragraphs: int, share: float) -> list[tuple[int, int]]:
  """Paragraph ranges held out of a file: blocks at equal distances."""
  if not share or paragraphs < 2:
    return []
  block = min(_BLOCK, max(1, int(share * paragraphs)))
  period = min(paragraphs, max(block + 1, round(block / share)))
  return [
    (start, min(start + block, paragraphs))
    for start in range(period // 2, paragraphs, period)
  ]


class _Stream:
  """A language's text, cut into examples."""

  def __init__(
    self,
    name: str,
    texts: Sequence[token_cache.Tokens],
    blocks: Sequence[list[tuple[int, int]]],
    max_length: int,
    ends: tuple[int, int],
    *,
    train: bool,
  ):
    self.name = name
    self._ends = ends  # ids of <s> and </s>
    self._texts = texts
    room = max_length - 2
    ranges, starts, lengths, owners = [], [], [], []
    for number, (text, held) in enumerate(zip(texts, blocks, strict=True)):
      if train:
        edges = [0, *itertools.chain(*held), len(text.ends) - 1]
        held = list(zip(edges[::2], edges[1::2], strict=True))
      for first, last in held:
        begin, end = int(text.ends[first]), int(text.ends[last])
        ranges.append((number, begin, end))
        pieces = -(-(end - begin) // room)
        cuts = begin + np.arange(pieces + 1) * (end - begin) // max(1, pieces)
        starts.append(cuts[:-1])
        lengths.append(np.diff(cuts))
        owners.append(np.full(pieces, number))
    self._ranges = ranges
    empty = np.zeros(0, np.int64)
    self._starts = np.concatenate([empty, *starts])
    self._owners = np.concatenate([empty, *owners])
    self.lengths = np.concatenate([empty, *lengths]) + 2
    self.fingerprint = ' '.join([name, *(t.digest for t in texts)])

  def tokens(self, index: int, flip: bool = False) -> Int[np.ndarray, 'n']:
    """`<s> … </s>`."""
    del flip
    text = self._texts[self._owners[index]]
    start, length = self._starts[index], self.lengths[index]
    out = np.empty(length, np.int32)
    out[0], out[-1] = self._ends
    out[1:-1] = text.tokens[start : start + length - 2]
    return out

  def count(self, vocab_size: int) -> Int[np.ndarray, 'V']:
    """How often each id occurs."""
    total = np.zeros(vocab_size, np.int64)
    for number, begin, end in self._ranges:
      for at in range(begin, end, 1 << 24):
        part = self._texts[number].tokens[at : min(end, at + (1 << 24))]
        total += np.bincount(part, minlength=vocab_size)
    return total


class _Pairs:
  """Pairs of sentences in two languages, each an example."""

  def __init__(
    self,
    name: str,
    texts: Sequence[token_cache.Tokens],
    max_length: int,
    ends: tuple[int, int],
  ):
    self.name = name
    self._ends = ends  # ids of <s> and </s>
    self._texts = texts
    self._room = max_length - 4
    self._firsts = np.cumsum([0, *(len(t.ends) // 2 for t in texts)])
    sums = [t.ends[2::2] - t.ends[:-2:2] for t in texts]
    self.lengths = np.minimum(np.concatenate(sums), self._room) + 4
    self.fingerprint = ' '.join([name, *(t.digest for t in texts)])

  def tokens(self, index: int, flip: bool) -> Int[np.ndarray, 'n']:
    """`<s> A </s></s> B </s>`, or B first; the longer side cut if need be."""
    number = int(np.searchsorted(self._firsts, index, side='right')) - 1
    text = self._texts[number]
    at = 2 * (index - self._firsts[number])
    begin, middle, end = text.ends[at : at + 3].tolist()
    sides = [text.tokens[begin:middle], text.tokens[middle:end]]
    if end - begin > self._room:
      keep = tokenizer_lib.longest_first([len(s) for s in sides], self._room)
      sides = [s[:k] for s, k in zip(sides, keep, strict=True)]
    a, b = reversed(sides) if flip else sides
    bos, eos = self._ends
    joined = np.concatenate([[bos], a, [eos, eos], b, [eos]])
    return joined.astype(np.int32)


# Files.


def _list(
  directory: str | os.PathLike,
  suffix: str,
  names: Sequence[str] | None = None,
) -> dict[str, list[str]]:
  """The files of each language (or pair) in a folder."""
  if not os.path.isdir(directory):
    raise ValueError(f'{directory} is no folder')
  found: dict[str, list[str]] = {}
  stems: dict[str, str] = {}
  for entry in sorted(os.listdir(directory)):
    for end in files.SUFFIXES:
      stem = entry.removesuffix(suffix + end)
      if stem == entry or not stem:
        continue
      if stem in stems:
        raise ValueError(
          f'{directory} has {stems[stem]} and {entry}; keep one of them'
        )
      stems[stem] = entry
      path = os.path.join(directory, entry)
      found.setdefault(files.language(entry), []).append(path)
  if not found:
    raise ValueError(
      f'{directory} has no files <name>{suffix}, {suffix}.gz or {suffix}.xz'
    )
  if names is None:
    return found
  for name in names:
    if name not in found:
      raise ValueError(
        f'{directory} has no text in {name!r}; it has {" ".join(found)}'
      )
  return {name: found[name] for name in sorted(names)}


def _paragraphs(path: str) -> Iterator[str]:
  return (line for line in files.lines(path) if line.strip())


def _sides(path: str) -> Iterator[str]:
  """First and second text of each pair in turn; quotes are text."""
  for where, row in sources.read_rows(path, '\t', quoted=False):
    if len(row) != 2:
      raise ValueError(f'{where}: {len(row)} columns, expected 2')
    if row[0].strip() and row[1].strip():
      yield from row
