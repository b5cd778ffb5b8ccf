"""Which tokens a language model is to predict, and what it sees there.

Drawn on the device from a key, on the whole batch, so that a resumed run and
another mesh see the same masks. What is masked together is a unit:

  token   each token by itself (Devlin et al. 2019, section 3.1)
  word    all tokens of a word; data/words.py says where words start, and what
          is longer than LONGEST tokens is cut
  ngram   1 to 3 consecutive words of an example, n with probability ∝ 1/n
          (Lan et al. 2020, section 3.1)

floor(rate U + u) of the U units of a row are chosen, all alike, u uniform in
[0, 1): every token that is no special is chosen with probability `rate`
exactly, whatever the length of its unit. For this n-grams are a partition of
the words; ALBERT's own script starts one at any word and drops those that
overlap, and how often a word is masked depends on what stands around it.
"""

import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int
import numpy as np

UNITS = ('token', 'word', 'ngram')
NGRAM = 3  # the longest, in words (Lan et al. 2020)
# A longer word is cut every so many tokens. In prose only URLs are longer (0.04
# % of XNLI's tokens in each of its languages), in manuals lines of code: one of
# them would be most of what a row may hide.
LONGEST = 16

# Slots above the expected number of masked tokens, in square roots of that
# number, for it spreads by the root of E[s^2] / E[s] as many, s a unit's
# tokens. In full rows of 512 of technical manuals in 15 languages 0.02 % of the
# chosen tokens find no slot by words and 0.08 % by n-grams (rows of 128: 0.16 %
# and 0.42 %), in XNLI's sentences none.
SLACK = {'token': 0.0, 'word': 4.0, 'ngram': 5.0}


def capacity(length: int, rate: float, slack: float = 0.0) -> int:
  """Static slots for masked positions of a row.

  Args:
    length: of the row.
    rate: share of tokens to predict.
    slack: how many square roots of the expected number are added to it.
  """
  expected = rate * length
  more = math.ceil(slack * math.sqrt(expected))
  return min(length, math.ceil(expected) + 1 + more)


def mask_tokens(
  tokens: Int[Array, 'B L'],
  segments: Int[Array, 'B L'],
  key: jax.Array,
  *,
  mask_id: int,
  special_ids: tuple[int, ...],
  pieces: tuple[int, int],
  rate: float = 0.15,
  units: str = 'token',
  words: Int[np.ndarray, 'V 2'] | None = None,
  slack: float | None = None,
) -> dict[str, jax.Array]:
  """Draws the tokens to predict and hides them.

  Of the chosen units 80 % become <mask>, 10 % random pieces, 10 % stay. A word
  or an n-gram has one fate, as in fairseq's MaskTokensDataset and in SpanBERT
  (Joshi et al. 2020, section 3.1); BERT's and ALBERT's scripts decide token by
  token. Each token of a random unit gets a piece of its own. fairseq differs
  in two things: <s> and </s> can be chosen, and <mask> can be the random
  piece; here specials are neither.

  The row's slots are static. Units are taken in the order of their draw;
  when the slots are full the rest stays as it was, whole, and is counted.
  A single token always fits.

  Args:
    tokens: packed rows.
    segments: 0 for padding, and ascending along a row.
    key: threefry key; the same on every mesh.
    mask_id: id of <mask>.
    special_ids: ids that are never chosen, and end a word.
    pieces: half-open range of ids that replacements come from.
    rate: share of tokens to predict.
    units: one of UNITS.
    words: word_table of data/words.py; for words and n-grams.
    slack: of `capacity`; None: that of SLACK.

  Returns:
    tokens [B, L] with the replacements; masked [B, M] positions in the row;
    targets [B, M] the original ids; weights f32 [B, M], 0 for an empty slot;
    for words and n-grams also unfit f32 [B], chosen tokens that had no slot.

  Raises:
    ValueError: unknown units, or words without their table.
  """
  check(units, words)
  rows, length = tokens.shape
  slots = capacity(length, rate, SLACK[units] if slack is None else slack)
  special = jnp.isin(tokens, jnp.asarray(special_ids, tokens.dtype))
  eligible = (segments > 0) & ~special
  if units == 'token' or words is None:
    count_key, order_key, kind_key, piece_key = jax.random.split(key, 4)
    chosen = _count(count_key, eligible.sum(-1), rate)
    order = jax.random.uniform(order_key, (rows, length))
    _, masked = jax.lax.top_k(jnp.where(eligible, order, -1.0), slots)
    valid = jnp.arange(slots) < chosen[:, None]
    kind = jax.random.uniform(kind_key, (rows, slots))
    unfit = {}
  else:
    cut_key, draw_key, piece_key = jax.random.split(key, 3)
    starts, runs = word_starts(tokens, segments, eligible, words)
    if units == 'ngram':
      starts = ngram_starts(starts, runs, cut_key)
    masked, valid, kind, left = _whole(
      starts, eligible, draw_key, rate=rate, slots=slots
    )
    unfit = {'unfit': left}
  targets = jnp.take_along_axis(tokens, masked, axis=1)
  random = jax.random.randint(
    piece_key, (rows, slots), *pieces, dtype=tokens.dtype
  )
  shown = jnp.where(kind < 0.8, mask_id, random)
  shown = jnp.where(kind < 0.9, shown, targets)
  return {
    'tokens': _put(tokens, jnp.where(valid, masked, length), shown),
    'masked': masked,
    'targets': targets,
    'weights': valid.astype(jnp.float32),
    **unfit,
  }


def check(
  units: str, words: np.ndarray | None, vocab_size: int | None = None
) -> None:
  """Whether the settings can be used.

  Raises:
    ValueError: unknown units, or words without a table of the vocabulary.
  """
  if units not in UNITS:
    raise ValueError(f'mask units {units!r} are not one of {", ".join(UNITS)}')
  if units == 'token':
    return
  if words is None:
    raise ValueError(
      f'to mask by {units}, give words=word_table(tokenizer) of data/words.py'
    )
  if vocab_size is not None and len(words) < vocab_size:
    raise ValueError(
      f'the table of words has {len(words)} rows, and the vocabulary '
      f'{vocab_size}: make it from the tokenizer of the model'
    )


def word_starts(
  tokens: Int[Array, 'B L'],
  segments: Int[Array, 'B L'],
  eligible: Bool[Array, 'B L'],
  words: Int[np.ndarray, 'V 2'],
) -> tuple[Bool[Array, 'B L'], Bool[Array, 'B L']]:
  """Where words start, and where a run of words of one example does.

  A special ends a run: <s> A </s></s> B </s> has two.
  """
  marks = jnp.asarray(words)[tokens]
  after = _previous(marks[..., 1])
  same = _previous(eligible) & (segments == _previous(segments))
  runs = eligible & ~same
  starts = runs | (eligible & (after + marks[..., 0] > 0))
  place = jnp.arange(tokens.shape[1])
  within = place - jax.lax.cummax(jnp.where(starts, place, 0), axis=1)
  return starts | (eligible & (within % LONGEST == 0)), runs


def ngram_starts(
  starts: Bool[Array, 'B L'], runs: Bool[Array, 'B L'], key: jax.Array
) -> Bool[Array, 'B L']:
  """Cuts each run of words into n-grams; where these start.

  n is drawn for every word, and sums of these draws, from the run's first
  word on, are the numbers of the words at which n-grams start: no draw waits
  for another. The end of a run cuts its last n-gram short.
  """
  chances = 1 / np.arange(1, NGRAM + 1)
  edges = np.cumsum(chances / chances.sum())[:-1].astype(np.float32)
  draw = jax.random.uniform(key, starts.shape)
  size = 1 + (draw[..., None] >= edges).sum(-1)
  word = jnp.cumsum(starts, axis=1) - 1
  run = jnp.cumsum(runs, axis=1)
  size = jnp.where(starts, size, 0)
  before = jnp.cumsum(size, axis=1) - size  # words that earlier draws took
  # Falls along a row, so its minimum so far is that of this run's first word.
  shift = jax.lax.cummin(
    jnp.where(runs, word - before, jnp.iinfo(jnp.int32).max), axis=1
  )
  target = jnp.where(starts, before + shift, starts.shape[1])
  # Draws beyond the end of a run hit words of a later one, whose number wins.
  hit = jax.vmap(lambda at, run: jnp.zeros_like(run).at[at].max(run))(
    target, run
  )
  return starts & (_at(hit, word) == run)


def _whole(
  starts, eligible, key, *, rate: float, slots: int
) -> tuple[
  Int[Array, 'B M'], Bool[Array, 'B M'], Float[Array, 'B M'], Float[Array, 'B']
]:
  """Chooses units; (positions, which slots are taken, fates, tokens left)."""
  rows, length = starts.shape
  count_key, order_key, kind_key = jax.random.split(key, 3)
  # Units are numbered along the row; so are the columns of what follows.
  unit = jnp.cumsum(starts, axis=1) - 1
  count = starts.sum(-1)
  chosen = _count(count_key, count, rate)
  most = capacity(length, rate)
  order = jax.random.uniform(order_key, (rows, length))
  real = jnp.arange(length) < count[:, None]
  _, picked = jax.lax.top_k(jnp.where(real, order, -1.0), most)
  drawn = jnp.arange(most) < chosen[:, None]

  sizes = jax.vmap(lambda at: jnp.zeros(length, jnp.int32).at[at].add(1))(
    jnp.where(eligible, unit, length)
  )
  size = jnp.where(drawn, _at(sizes, picked), 0)
  # One that no empty row would hold does not keep the others out.
  some = size <= slots
  fits = drawn & some & (jnp.cumsum(size * some, axis=1) <= slots)
  left = jnp.where(fits, 0, size).sum(-1).astype(jnp.float32)

  kind = jax.random.uniform(kind_key, (rows, most))
  fates = _put(
    jnp.full((rows, length), -1.0), picked, jnp.where(fits, kind, -1.0)
  )
  fate = jnp.where(eligible, _at(fates, unit), -1.0)
  taken = fate >= 0
  slot = jnp.where(taken, jnp.cumsum(taken, axis=1) - 1, slots)
  places = jnp.broadcast_to(jnp.arange(length), slot.shape)
  masked = _put(jnp.zeros((rows, slots), jnp.int32), slot, places)
  valid = jnp.arange(slots) < taken.sum(-1)[:, None]
  return masked, valid, _at(fate, masked), left


def _count(key, units, rate):
  """floor(rate units + u): rate units in expectation."""
  share = rate * units + jax.random.uniform(key, units.shape)
  return jnp.floor(share).astype(jnp.int32)


def _previous(x):
  """What stands one place to the left; 0 at the start of a row."""
  return jnp.pad(x[:, :-1], ((0, 0), (1, 0)))


def _at(x, places):
  return jnp.take_along_axis(x, jnp.maximum(places, 0), axis=1)


def _put(x, places, values):
  """Rows with values at places; a place past the end takes none."""
  return jax.vmap(lambda row, at, new: row.at[at].set(new, mode='drop'))(
    x, places, values
  )
