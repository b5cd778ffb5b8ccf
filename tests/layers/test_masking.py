"""What is masked, how often, with what, and always whole units."""

import functools
import gzip
import itertools
import lzma

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from xlmr_jax.data.tokenizers import xlmr
from xlmr_jax.data.tokenizers.words import word_table
from xlmr_jax.layers import masking

V, UNK = 1000, 3
SPECIAL = (0, 1, 2, UNK, V - 1)
DRAW = dict(mask_id=V - 1, special_ids=SPECIAL, pieces=(4, V - 1))
RATE = 0.15
ROOM = 100.0  # a slack with which everything fits


def table():
  """(before, after) of pieces of every kind."""
  kinds = [(1, 0)] * 6 + [(0, 0)] * 6 + [(1, 1)] * 2 + [(1, -1), (-1, 0)]
  drawn = np.random.default_rng(1).integers(0, len(kinds), V)
  out = np.array(kinds, np.int8)[drawn]
  out[list(SPECIAL)] = 1
  return out


@functools.cache
def packed(rows, length=512, seed=0):
  """Rows of examples `<s> … </s>`, of which some are pairs, and padding."""
  rng = np.random.default_rng(seed)
  tokens = np.ones((rows, length), np.int32)
  segments = np.zeros_like(tokens)
  for row in range(rows):
    at = 0
    for example in range(1, 9):
      size = int(rng.integers(5, length // 3))
      if at + size > length:
        break
      ids = rng.integers(4, V - 1, size)
      ids[rng.random(size) < 0.01] = UNK
      if example % 3 == 0:  # one long word
        long = np.flatnonzero((table() == 0).all(-1))[:40]
        ids[1 : 1 + min(40, size - 2)] = long[: size - 2]
      if example % 2:
        ids[size // 2] = ids[size // 2 - 1] = 2
      ids[0], ids[-1] = 0, 2
      tokens[row, at : at + size] = ids
      segments[row, at : at + size] = example
      at += size
  return tokens, segments


def eligible(tokens, segments):
  return (segments > 0) & ~np.isin(tokens, SPECIAL)


def words_by_hand(tokens, segments, words):
  """(start of a word, start of a run) of each token of a row, one by one."""
  able = eligible(tokens, segments)
  starts, runs = np.zeros(len(tokens), bool), np.zeros(len(tokens), bool)
  size = 0
  for i, token in enumerate(tokens):
    if not able[i]:
      continue
    runs[i] = i == 0 or not able[i - 1] or segments[i] != segments[i - 1]
    starts[i] = (
      runs[i]
      or words[tokens[i - 1], 1] + words[token, 0] > 0
      or size == masking.LONGEST
    )
    size = 1 if starts[i] else size + 1
  return starts, runs


def numbered(starts, able):
  """The unit of each token, numbered over all rows; -1: none."""
  count = np.cumsum(starts.ravel()).reshape(starts.shape) - 1
  return np.where(able, count, -1)


@functools.partial(jax.jit, static_argnames=('units', 'slack', 'rate'))
def draw(tokens, segments, key, units, slack=None, rate=RATE):
  return masking.mask_tokens(
    tokens,
    segments,
    key,
    units=units,
    words=table(),
    slack=slack,
    rate=rate,
    **DRAW,
  )


def chosen_of(drawn, shape):
  """Which tokens have a slot, [B, L]."""
  on = drawn['weights'] > 0
  out = np.zeros(shape, bool)
  rows, slots = np.nonzero(on)
  places = drawn['masked'][rows, slots]
  assert not out[rows, places].any()
  out[rows, places] = True
  assert out.sum() == on.sum()  # no position twice
  return out


@functools.partial(jax.jit, static_argnames='units')
def starts_of(tokens, segments, key, units):
  """Where units start, [B, L]; the words of it are tested below."""
  able = (segments > 0) & ~jnp.isin(tokens, jnp.array(SPECIAL))
  if units == 'token':
    return able
  starts, runs = masking.word_starts(tokens, segments, able, table())
  if units == 'word':
    return starts
  return masking.ngram_starts(starts, runs, jax.random.split(key, 3)[0])


def test_words_are_those_by_hand():
  tokens, segments = packed(64)
  got = masking.word_starts(
    tokens, segments, jnp.asarray(eligible(tokens, segments)), table()
  )
  longest = 0
  for row in range(len(tokens)):
    want = words_by_hand(tokens[row], segments[row], table())
    np.testing.assert_array_equal(got[0][row], want[0])
    np.testing.assert_array_equal(got[1][row], want[1])
    able = eligible(tokens[row], segments[row])
    sizes = np.unique(numbered(want[0], able)[able], return_counts=True)[1]
    longest = max(longest, sizes.max())
  assert longest == masking.LONGEST


def test_ngrams_partition_the_words_of_each_run():
  """A run's word w starts one with the probability of a renewal at w."""
  tokens, segments = packed(512)
  able = jnp.asarray(eligible(tokens, segments))
  starts, runs = masking.word_starts(tokens, segments, able, table())
  grams = np.asarray(masking.ngram_starts(starts, runs, jax.random.key(3)))
  starts, runs = np.asarray(starts), np.asarray(runs)
  assert not (grams & ~starts).any() and grams[runs].all()
  chances = np.array([6, 3, 2]) / 11  # ∝ 1, 1/2, 1/3
  renewal = [1.0]
  for w in range(1, 12):
    renewal.append(sum(chances[: min(w, 3)] * renewal[::-1][: min(w, 3)]))
  flags = grams[starts]  # of all words in order
  first = np.flatnonzero(runs[starts])
  hits, sizes = np.zeros((12, 2)), np.zeros(4)
  for begin, end in itertools.pairwise([*first, len(flags)]):
    run = flags[begin:end]
    hits[: len(run), 0] += run[:12]
    hits[: len(run), 1] += 1
    at = np.flatnonzero(run)
    assert np.diff([*at, len(run)]).max() <= 3
    for a in at[at <= len(run) - 3]:  # these, the end does not cut
      sizes[1 + np.argmax([*run[a + 1 : a + 3], True])] += 1
  for w, (n, total) in enumerate(hits):
    spread = np.sqrt(renewal[w] * (1 - renewal[w]) * total)
    assert abs(n - renewal[w] * total) <= 4 * spread, w
  total = sizes.sum()
  assert total > 10_000
  spread = np.sqrt(chances * (1 - chances) * total)
  assert (np.abs(sizes[1:] - chances * total) < 4 * spread).all()


@pytest.mark.parametrize('units', masking.UNITS)
def test_statistics_over_a_million_tokens(units):
  """Rates, kinds and replacements, where every unit has a slot."""
  tokens, segments = packed(2560)
  able = eligible(tokens, segments)
  key = jax.random.key(5)
  drawn = jax.device_get(draw(tokens, segments, key, units, ROOM))
  chosen = chosen_of(drawn, tokens.shape)
  assert able.sum() > 1_000_000
  assert abs(chosen.sum() / able.sum() - RATE) < 0.001
  assert not (chosen & ~able).any()
  np.testing.assert_array_equal(
    np.take_along_axis(tokens, drawn['masked'], 1)[drawn['weights'] > 0],
    drawn['targets'][drawn['weights'] > 0],
  )
  seen = drawn['tokens']
  assert (seen == tokens)[~chosen].all()
  assert 'unfit' not in drawn or not drawn['unfit'].any()

  # Whole units, each with one fate.
  unit = numbered(np.asarray(starts_of(tokens, segments, key, units)), able)
  count = unit.max() + 1
  sizes = np.bincount(unit[able], minlength=count)
  part = np.bincount(unit[chosen], minlength=count)
  assert ((part == 0) | (part == sizes)).all()
  assert (sizes.max() == 1) == (units == 'token')
  hidden = np.bincount(unit[chosen & (seen == V - 1)], minlength=count)
  assert ((hidden == 0) | (hidden == sizes)).all()
  kept = np.bincount(unit[chosen & (seen == tokens)], minlength=count)
  fates = np.array(
    [
      (hidden[part > 0] > 0).sum(),
      (kept == sizes)[part > 0].sum(),
    ]
  )
  total = (part > 0).sum()
  same = 0.1 * np.mean((1.0 / (V - 5)) ** sizes)  # random and yet the same
  chances = np.array([0.8, 0.1 + same])
  spread = np.sqrt(chances * (1 - chances) * total)
  assert (np.abs(fates - chances * total) < 4 * spread).all(), fates / total

  # Random pieces: ordinary ones, all alike. Chi-square of a uniform draw has
  # mean V - 5 and variance twice that; a kept token is no draw.
  random = chosen & (hidden[unit] == 0) & (kept[unit] != sizes[unit])
  counts = np.bincount(seen[random], minlength=V)
  assert not counts[list(SPECIAL)].any()
  counts = np.delete(counts, SPECIAL)
  mean = counts.mean()
  assert mean > 15
  square = ((counts - mean) ** 2 / mean).sum()
  assert abs(square - (V - 5)) < 4 * np.sqrt(2 * (V - 5))

  # Every kind of token is as likely as any other.
  places = np.broadcast_to(np.arange(512), tokens.shape)
  size_of = np.where(able, sizes[unit], 0)
  previous = np.pad(tokens[:, :-1], ((0, 0), (1, 0)))
  following = np.pad(tokens[:, 1:], ((0, 0), (0, 1)))
  classes = {
    'start of an example': previous == 0,
    'end of an example': following == 2,
    'beside <unk>': (previous == UNK) | (following == UNK),
    'first example': segments == 1,
    'last example': segments == segments.max(1, keepdims=True),
    **{f'places {p}': places // 64 == p for p in range(8)},
    **{f'units of {s}': size_of == s for s in (1, 2, 3, 5, 16)},
    'large units': size_of > 8,
  }
  for name, where in classes.items():
    where = where & able
    parts = np.bincount(unit[where], minlength=count)
    if not parts.any():
      assert units == 'token' and 'unit' in name, name
      continue
    spread = np.sqrt(RATE * (1 - RATE) * (parts.astype(float) ** 2).sum())
    gap = (chosen & where).sum() - RATE * where.sum()
    assert abs(gap) < 4 * spread, name


@pytest.mark.parametrize('units', ['word', 'ngram'])
def test_what_does_not_fit_is_left_whole_and_counted(units):
  """Unit by unit, in the order of the draw, with few slots."""
  tokens, segments = packed(192, 128, seed=2)
  tokens, segments = tokens.copy(), segments.copy()
  segments[-1] = 0  # a spare row
  key, length, slack = jax.random.key(7), 128, 0.1
  drawn = jax.device_get(draw(tokens, segments, key, units, slack))
  slots = masking.capacity(length, RATE, slack)
  assert drawn['masked'].shape == (192, slots)
  got = chosen_of(drawn, tokens.shape)
  able = eligible(tokens, segments)
  starts = np.asarray(starts_of(tokens, segments, key, units))

  keys = jax.random.split(jax.random.split(key, 3)[1], 3)
  start = np.asarray(jax.random.uniform(keys[0], (192,)))
  order = np.asarray(jax.random.uniform(keys[1], (192, length)))
  left, over = np.zeros(192), 0
  for row in range(192):
    members = []
    for i in np.flatnonzero(able[row]):
      if starts[row, i]:
        members.append([])
      members[-1].append(i)
    count = int(np.float32(RATE) * np.float32(len(members)) + start[row])
    best = np.argsort(-order[row, : len(members)])[:count]
    used, want = 0, set()
    for number in best:
      unit = members[number]
      if len(unit) > slots:
        left[row] += len(unit)
        continue
      used += len(unit)  # one that does not fit closes the row
      if used <= slots:
        want |= set(unit)
      else:
        left[row] += len(unit)
    over += used > slots
    assert set(np.flatnonzero(got[row])) == want
  np.testing.assert_array_equal(drawn['unfit'], left)
  assert over > 10 and left[:-1].any() and not drawn['weights'][-1].any()
  hidden = got & (drawn['tokens'] == V - 1)
  assert hidden.sum() > 0.7 * got.sum()
  assert (drawn['tokens'] == tokens)[~got].all()


def test_a_unit_larger_than_the_row_may_hide_keeps_no_other_out(monkeypatch):
  monkeypatch.setattr(masking, 'LONGEST', 100)
  words = np.tile(np.int8([[1, 0]]), (V, 1))
  words[4] = 0
  tokens = np.full((256, 64), 4, np.int32)
  tokens[:, 40:] = 7  # one word of 40 tokens, and 24 of one
  settings = dict(units='word', words=words, rate=0.2, **DRAW)
  drawn = jax.jit(functools.partial(masking.mask_tokens, **settings))(
    tokens, np.ones_like(tokens), jax.random.key(0)
  )
  unfit, used = np.asarray(drawn['unfit']), drawn['weights'].sum(-1)
  assert drawn['masked'].shape[1] < 40
  assert set(unfit) == {0, 40} and 20 < (unfit > 0).sum() < 80
  # 25 units at rate 0.2 are exactly 5 chosen ones.
  np.testing.assert_array_equal(used, np.where(unfit > 0, 4, 5))


@pytest.mark.parametrize('units', masking.UNITS)
def test_a_step_has_one_mask_and_steps_have_different_ones(units):
  """Also where an epoch brings the same rows again."""
  tokens, segments = packed(16, 128, seed=3)

  def step(seed, number):
    key = jax.random.fold_in(jax.random.key(seed), number)
    return jax.device_get(draw(tokens, segments, key, units))

  jax.tree.map(np.testing.assert_array_equal, step(0, 4), step(0, 4))
  masks = [
    chosen_of(step(*at), tokens.shape)
    for at in ((0, 4), (0, 5), (0, 1004), (1, 4))
  ]
  for a, b in itertools.combinations(masks, 2):
    # Two draws share a masked token at the rate of chance.
    assert (a & b).sum() < 0.35 * a.sum() and (a != b).any(-1).all()


def test_token_masks_are_those_of_runs_begun_earlier():
  """A run that is resumed by a later version goes on with its masks."""
  tokens = np.arange(4, 20, dtype=np.int32)[None]
  key, same = jax.random.key(4), np.ones_like(tokens)
  drawn = draw(tokens, same, key, 'token', rate=0.3)
  np.testing.assert_array_equal(drawn['masked'], [[10, 15, 12, 13, 2, 14]])
  np.testing.assert_array_equal(drawn['weights'], [[1, 1, 1, 1, 1, 0]])
  want = tokens[0].copy()
  want[[2, 13, 15, 10, 12]] = V - 1, V - 1, V - 1, 796, 144
  np.testing.assert_array_equal(drawn['tokens'], [want])


@pytest.mark.parametrize('units', masking.UNITS)
def test_all_of_it(units):
  """Rate 1: every token that is no special, and all fit."""
  tokens, segments = packed(16, 128, seed=3)
  drawn = jax.device_get(
    draw(tokens, segments, jax.random.key(0), units, rate=1.0)
  )
  chosen = chosen_of(drawn, tokens.shape)
  np.testing.assert_array_equal(chosen, eligible(tokens, segments))
  assert masking.capacity(128, 1.0, 5.0) == 128


def test_capacity():
  assert masking.capacity(512, 0.15) == 78
  assert masking.capacity(512, 0.15, 4.0) == 78 + 36  # 4 sqrt(76.8) = 35.05
  assert masking.capacity(16, 0.5, 9.0) == 16


def test_settings_that_do_not_fit():
  tokens = np.full((2, 8), 5, np.int32)
  call = functools.partial(
    masking.mask_tokens, tokens, tokens, jax.random.key(0), **DRAW
  )
  with pytest.raises(ValueError, match="'words' are not one of token, word"):
    call(units='words')
  with pytest.raises(ValueError, match=r'give words=word_table\(tokenizer\)'):
    call(units='ngram')
  masking.check('token', None, V)
  masking.check('word', table(), V)
  with pytest.raises(
    ValueError, match='has 1000 rows, and the vocabulary 1001'
  ):
    masking.check('word', table(), V + 1)


LANGUAGES = 'ar bg de el en es fr hi ru sw th tr ur vi zh'.split()


def test_default_slack_holds_real_text(data_dir):
  """Under 0.1 % of the chosen tokens have no slot, and 15 % are chosen.

  XNLI's sentences in rows of 128, and manuals with URLs and code in rows of
  512, as one stream: every place is taken.
  """
  tok = xlmr.Tokenizer(data_dir / 'tokenizers' / 'xlm-roberta')
  words = word_table(tok)

  def stream(lines):
    ids = np.concatenate(tok.encode_plain(list(lines)))
    return ids.astype(np.int32)

  texts = {128: [], 512: []}
  for language in LANGUAGES:
    path = data_dir / 'xnli' / f'test-{language}.tsv.gz'
    with gzip.open(path, 'rt', encoding='utf-8') as file:
      texts[128].append(
        stream(line.replace('\t', ' ') for line in itertools.islice(file, 1000))
      )
  for path in sorted((data_dir / 'corpus').glob('*.txt.xz')):
    with lzma.open(path, 'rt', encoding='utf-8') as file:
      texts[512].append(stream(itertools.islice(file, 1000, 2500)))
  for length, streams in texts.items():
    tokens = np.concatenate(streams)
    tokens = tokens[: len(tokens) // length * length].reshape(-1, length)
    assert tokens.size > 400_000
    for units in ('word', 'ngram'):
      drawn = jax.jit(
        functools.partial(
          masking.mask_tokens,
          mask_id=tok.mask_id,
          special_ids=tok.special_ids,
          pieces=tok.pieces,
          units=units,
          words=words,
        )
      )(tokens, np.ones_like(tokens), jax.random.key(0))
      unfit, fit = drawn['unfit'].sum(), drawn['weights'].sum()
      assert unfit / (unfit + fit) < 0.001, (length, units)
      able = ~np.isin(tokens, tok.special_ids)
      assert abs((unfit + fit) / able.sum() - 0.15) < 0.002
