"""What a pretraining run reads when, from prepared corpora of any size.

```
languages   tokens n   share of the run ∝ n^alpha     window 0, 1, 2, …
en          600,000    ━━━━━━━━━                      ━━━  ━━━  ━━━  …
sw           60,000    ━━━━                           ━    ━━   ━    …
```

A language's text falls into units: pieces of its continuous stream, or
documents; of parallel text, pairs. A run reads a language's units in a stream
of permutations, one for each time it goes through them all, and cuts the
streams of all languages at the same moments: a window holds each language's
share of about 2^24 tokens. Where each stream is at a window is arithmetic,
and so is each place in a permutation (permutation.py). Nothing is as long as
a corpus, and any window can be had without those before it.

* Rows. 'stream': text as RoBERTa's full-sentences format joins it (section
  4.2), document after document, in pieces of equal length; XLM-R's way.
  'packed': documents, long ones in pieces of equal length, several to a row.
  'document': the same pieces, each in a row of its own.
* A pair is one example, `<s> A </s></s> B </s>` with either side first (TLM,
  Lample & Conneau 2019, section 3.3).
* The last part of each language's text, whose documents come in random order,
  is held out for evaluation.
* A language of n tokens gets a share of the text tokens in proportion to
  n^alpha (Lample & Conneau 2019, section 3.1; XLM-R: alpha 0.3).
"""

from collections.abc import Sequence
import fractions
import hashlib
from typing import Any, Literal, NamedTuple

from jaxtyping import Int
import numpy as np

from xlmr_jax.data import permutation
from xlmr_jax.data.batches import pack
from xlmr_jax.data.batches.streams import Documents, Pairs, Pieces
from xlmr_jax.data.tokenizers import base

ROWS = {'stream': Pieces, 'packed': Documents, 'document': Documents}
_VERSION = 1  # of what the same settings draw; part of the fingerprint
_MOST_UNITS = 1 << 20  # of a window, where units are very short
_COUNTED = 1 << 22  # tokens of a language that are counted for its entropy


class LanguageReport(NamedTuple):
  """A line of the report: what a run reads of a language or a pair."""

  name: str
  tokens: int  # there are to train on, <s> and </s> not counted
  share: float  # of the tokens of the run
  drawn: float  # tokens in the run
  epochs: float  # times that it goes through them


class Mixture:
  """An endless stream of windows, with each language in its share.

  Attributes:
    languages: of the monolingual text, sorted.
    pairs: of the parallel text, such as 'en-sw', sorted.
    tokens: training tokens of each, <s> and </s> not counted, pairs cut.
    shares: share of the text tokens that each gets.
    max_length: the most tokens of an example.
    single: whether a row holds one example.
    window_tokens: text tokens of a window, on average.
    epoch_windows: windows that have as many tokens as there are.
    fingerprint: hexadecimal digest of the text and of what is made of it;
      runs on the same data and settings have the same.
  """

  def __init__(
    self,
    corpora: Sequence[Any],
    tokenizer: base.BaseTokenizer,
    *,
    max_length: int,
    rows: Literal['stream', 'packed', 'document'] = 'stream',
    languages: Sequence[str] | None = None,
    alpha: float = 0.3,
    parallel_weight: float = 0.5,
    held_out: float = 0.01,
    seed: int = 0,
    phase: int = 0,
    window_tokens: int = 1 << 24,
  ):
    """Reads where documents end, and works out the shares.

    Args:
      corpora: prepared ones (corpus/shards.py), with text or pairs or both.
      tokenizer: theirs.
      max_length: the most tokens of an example, specials included.
      rows: what a row is made of.
      languages: whose text to take; None for all there is. Pairs are taken
        all.
      alpha: exponent of the sampling; 1 draws each language as often as it
        is there, 0 all equally.
      parallel_weight: share of tokens that comes from pairs, where there are
        any. Lample & Conneau alternate between the two, which is one half.
      held_out: share of each language's tokens never trained on.
      seed: of the order and of the side that comes first.
      phase: of a run in several phases; each has an order of its own.
      window_tokens: text tokens of a window at most; what is packed and
        shuffled together.

    Raises:
      ValueError: settings that mean nothing, a language that is not there, a
        name in two corpora, or nothing to train on.
    """
    if rows not in ROWS:
      raise ValueError(f'rows={rows!r}; it is one of {", ".join(ROWS)}')
    specials = tokenizer.specials(2)
    if max_length <= specials:
      raise ValueError(
        f'max_length={max_length}; a pair has {specials} specials'
      )
    for name, value in (('alpha', alpha), ('parallel_weight', parallel_weight)):
      if not 0 <= value <= 1:
        raise ValueError(f'{name}={value}; it is between 0 and 1')
    if not 0 <= held_out < 1:
      raise ValueError(f'held_out={held_out}; it is at least 0 and below 1')
    if window_tokens < 1:
      raise ValueError(f'window_tokens={window_tokens}; it must be positive')
    self.max_length, self.single = max_length, rows == 'document'
    self._stream, self._seed, self._phase = rows == 'stream', seed, phase
    self._pieces, self._vocab_size = tokenizer.pieces, tokenizer.vocab_size
    texts, pairs, digests = _parts(corpora, languages)
    ends = tokenizer.bos_id, tokenizer.eos_id
    held = fractions.Fraction(held_out)
    cut = {n: p.tokens - round(p.tokens * held) for n, p in texts.items()}
    kind = ROWS[rows]
    self._held_out = [
      kind(part, max_length, ends, cut[name], part.tokens)
      for name, part in texts.items()
    ]
    self._units: list[Pieces | Documents | Pairs] = [
      kind(part, max_length, ends, 0, cut[name]) for name, part in texts.items()
    ]
    if parallel_weight or not texts:
      between = tokenizer.separators
      self._units += [
        Pairs(p, max_length, ends, between) for p in pairs.values()
      ]
    self.languages = tuple(texts)
    self.pairs = tuple(u.name for u in self._units if u.name not in texts)
    self.tokens = {unit.name: unit.tokens for unit in self._units}
    for name, tokens in self.tokens.items():
      if not tokens:
        raise ValueError(f'nothing of {name} is left to train on')
    if not self._units:
      raise ValueError('there is neither text nor pairs to train on')
    weight = parallel_weight if self.pairs else 0.0
    weight = weight if self.languages else 1.0
    self.shares = {}
    for names, part in ((self.languages, 1 - weight), (self.pairs, weight)):
      powers = {n: float(self.tokens[n]) ** alpha for n in names}
      for name in names:
        self.shares[name] = part * powers[name] / sum(powers.values())
    # Windows: units of each part per token of text, and so per window.
    rates = [
      fractions.Fraction(self.shares[u.name]) * u.count / u.tokens
      for u in self._units
    ]
    total = sum(self.tokens.values())
    most = max(1, int(_MOST_UNITS / sum(rates)))
    self.window_tokens = min(window_tokens, total, most)
    self._rates = [rate * self.window_tokens for rate in rates]
    self.epoch_windows = total / self.window_tokens
    self._shortest = min(u.shortest for u in self._units if self.shares[u.name])
    facts = (_VERSION, rows, max_length, alpha, parallel_weight, held_out)
    facts += (seed, phase, self.window_tokens, tokenizer.fingerprint, digests)
    self.fingerprint = hashlib.sha256(repr(facts).encode()).hexdigest()

  def window(self, number: int) -> 'CorpusFeatures':
    """The features of a window; every host gets the same ones."""
    chosen = []
    for part in range(len(self._units)):
      first, last = self._before(part, number), self._before(part, number + 1)
      chosen.append(self._draw(part, first, last))
    return CorpusFeatures(self._units, chosen)

  def rows_before(self, number: int, row_length: int) -> int | None:
    """Rows of all windows before one, where no counting is needed.

    Pieces of the stream are a row each as soon as two do not fit into one.
    """
    if not self._stream or 2 * self._shortest <= row_length:
      return None
    return sum(self._before(p, number) for p in range(len(self._units)))

  def max_examples(self, row_length: int) -> int:
    """The most examples a row could hold, in any window."""
    return 1 if self.single else max(1, row_length // self._shortest)

  def report(self, total_tokens: float) -> list[LanguageReport]:
    """What a run of so many text tokens reads of each language and pair."""
    out = []
    for name, tokens in self.tokens.items():
      drawn = self.shares[name] * total_tokens
      out.append(
        LanguageReport(name, tokens, self.shares[name], drawn, drawn / tokens)
      )
    return out

  def held_out(self, limit: int | None = None) -> 'CorpusFeatures':
    """Held-out examples, language after language.

    Args:
      limit: the most examples of a language, spread over its text.
    """
    chosen = []
    for units in self._held_out:
      few = units.count if limit is None else min(limit, units.count)
      spread = np.arange(few) * units.count // max(few, 1)
      chosen.append((spread, np.zeros(few, bool)))
    return CorpusFeatures(self._held_out, chosen, limit)

  def unigram_entropy(self) -> dict[str, float]:
    """Nats per token of each language's held-out text, word by word.

    This is the held-out masked-token loss of a model that knows only how
    frequent each piece is in the language, counted in 4 M tokens of it. Only
    ordinary pieces count. Languages without held-out text are left out.
    """
    first, last = self._pieces
    out = {}
    for train, held in zip(self._units, self._held_out, strict=False):
      seen = train.histogram(self._vocab_size, _COUNTED)[first:last]
      asked = held.histogram(self._vocab_size, _COUNTED)[first:last]
      if asked.sum():
        out[train.name] = cross_entropy(seen, asked)
    return out

  def _before(self, part: int, number: int) -> int:
    """Units of a part's stream in all windows before one, rounded."""
    rate = self._rates[part] * number
    return (2 * rate.numerator + rate.denominator) // (2 * rate.denominator)

  def _draw(
    self, part: int, first: int, last: int
  ) -> tuple[Int[np.ndarray, 'n'], np.ndarray]:
    """Units of a stretch of a part's stream, and which have B first."""
    units = self._units[part]
    chosen = [np.zeros(0, np.int64)]
    flips = [np.zeros(0, bool)]
    while first < last:
      epoch, place = divmod(first, units.count)
      count = min(last - first, units.count - place)
      names = (self._seed, self._phase, units.name, epoch)
      chosen.append(
        permutation.order(
          np.arange(place, place + count), units.count, permutation.key(*names)
        )
      )
      flips.append(
        permutation.coins(chosen[-1], permutation.key(*names, 'side'))
      )
      first += count
    return np.concatenate(chosen), np.concatenate(flips)


def table(report: Sequence[LanguageReport]) -> str:
  """The report as text."""
  rows = [('', 'tokens', 'share', 'drawn', 'epochs')]
  for line in report:
    rows.append(
      (
        line.name,
        f'{line.tokens:,}',
        f'{100 * line.share:.2f} %',
        f'{line.drawn:,.0f}',
        f'{line.epochs:,.2f}',
      )
    )
  widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
  return '\n'.join(
    '  '.join(
      [row[0].ljust(widths[0])]
      + [c.rjust(w) for c, w in zip(row[1:], widths[1:], strict=True)]
    )
    for row in rows
  )


def cross_entropy(
  seen: Int[np.ndarray, 'V'], asked: Int[np.ndarray, 'V']
) -> float:
  """Nats per token of text with the counts `asked` under those `seen`.

  One is added to every count in `seen`, so that no token is impossible.
  """
  log_p = np.log(seen + 1.0) - np.log(seen.sum() + len(seen))
  return float(-(asked * log_p).sum() / asked.sum())


class CorpusFeatures:
  """Features of a window, or held-out ones.

  Attributes:
    lengths: tokens of each feature.
  """

  def __init__(
    self,
    units: Sequence[Pieces | Documents | Pairs],
    chosen: Sequence[tuple[Int[np.ndarray, 'n'], np.ndarray]],
    limit: int | None = None,
  ):
    """Cuts the chosen units of each part into features.

    Args:
      units: the parts.
      chosen: of each, units and which of them have B first.
      limit: the most features of a part.
    """
    self._units = units
    columns = []
    for number, (part, (numbers, flips)) in enumerate(
      zip(units, chosen, strict=True)
    ):
      which, begin, end = (x[:limit] for x in part.cut(numbers))
      columns.append(
        (
          np.full(len(which), number),
          numbers[which],
          begin,
          end,
          flips[which],
          part.lengths(begin, end),
        )
      )
    self._part, self._unit, self._begin, self._end, self._flip, lengths = (
      np.concatenate(column) for column in zip(*columns, strict=True)
    )
    self.lengths = lengths

  def __len__(self) -> int:
    return len(self._part)

  @property
  def names(self) -> list[str]:
    """The language or pair of each feature."""
    return [self._units[p].name for p in self._part]

  def __getitem__(self, index: int) -> pack.Feature:
    part = self._units[self._part[index]]
    return {
      'tokens': part.read(
        int(self._unit[index]),
        int(self._begin[index]),
        int(self._end[index]),
        bool(self._flip[index]),
      )
    }

  def identity(self, index: int) -> str:
    """Where a feature comes from, such as 'sw document 8, tokens 510-900'."""
    part = self._units[self._part[index]]
    return (
      f'{part.name} {part.kind} {self._unit[index]}, tokens '
      f'{self._begin[index]}-{self._end[index]}'
    )


def _parts(corpora, languages):
  """Text parts, pair parts, and a digest of what each holds."""
  texts, pairs, digests = {}, {}, []
  for shards in corpora:
    for name, part in shards.parts.items():
      if name in texts or name in pairs:
        raise ValueError(
          f'{name} is in two of the corpora given: prepare them as one, or '
          'leave one of them out'
        )
      (pairs if part.kind == 'pairs' else texts)[name] = part
  if languages is not None:
    for name in languages:
      if name not in texts:
        raise ValueError(
          f'there is no text in {name!r}; there is {" ".join(texts)}'
        )
    texts = {name: texts[name] for name in languages}
  for shards in corpora:
    for name in sorted(shards.parts):
      if name in texts or name in pairs:
        about = shards.manifest['parts'][name]
        files = [about['ends'], *about['shards']]
        digests.append((name, *(file['sha256'] for file in files)))
  return dict(sorted(texts.items())), dict(sorted(pairs.items())), digests
