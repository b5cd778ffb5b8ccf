"""Several examples to a row: which, and the arrays they become.

```
lengths 5 3 4 2, rows of 8      tokens    <s> a b c </s> <s> d </s>
                                          <s> e f </s> <s> </s> <pad> <pad>
row 0 holds features 0 and 1    segments  1 1 1 1 1 2 2 2
row 1 holds features 2 and 3              1 1 1 1 2 2 0 0
                                positions 0 1 2 3 4 0 1 2
                                          0 1 2 3 0 1 0 0
                                starts    0 5
                                          0 4
                                example   0 1
                                          2 3
```

`plan` is a pure function of (lengths, groups, seed, epoch): every host makes
the same plan, and a run that resumes makes it again. `fill` turns rows of a
plan into a batch of static shapes. Features of a group, such as the choices of
a question, share a row: their softmax never looks into another.
"""

import bisect
from collections.abc import Mapping, Sequence
import dataclasses
from operator import neg
from typing import Any

from jaxtyping import Int
import numpy as np

from xlmr_jax.data import permutation
from xlmr_jax.data.batches.convention import ROBERTA, Convention

Feature = Mapping[str, Any]  # {'tokens': int32 [n], 'label': int | float}
Batch = dict[str, np.ndarray]


@dataclasses.dataclass(frozen=True)
class Plan:
  """Which features share a row: row r holds features[offsets[r]:offsets[r+1]].

  Attributes:
    row_length: L.
    offsets: where each row's features begin; one more than there are rows.
    features: every feature's index, once.
    max_examples: E, the most examples a row of these lengths could hold.
    efficiency: real tokens per computed token, 0 to 1.
  """

  row_length: int
  offsets: Int[np.ndarray, 'rows+1']
  features: Int[np.ndarray, 'features']
  max_examples: int
  efficiency: float

  def __len__(self) -> int:
    return len(self.offsets) - 1

  def row(self, index: int) -> Int[np.ndarray, 'examples']:
    """The features of a row; none for an index past the last row.

    Callers that want whole batches ask for rows past the end: `fill`
    makes them all padding.
    """
    if index >= len(self):
      return self.features[:0]
    return self.features[self.offsets[index] : self.offsets[index + 1]]


def plan(
  lengths: Int[np.ndarray, 'features'] | Sequence[int],
  row_length: int,
  *,
  seed: int = 0,
  epoch: int = 0,
  window: int = 1 << 17,
  shuffle: bool = True,
  groups: Int[np.ndarray, 'features'] | None = None,
) -> Plan:
  """Packs features into rows.

  To train, the features are shuffled and cut into windows. Inside a window
  the longest goes first, each into the row with the least room that holds it,
  and the rows of all windows are shuffled again. To evaluate, each row is
  filled as far as the waiting features can. Memory and time are linear.

  Args:
    lengths: tokens of each feature, specials included.
    row_length: L.
    seed, epoch: another order for every pair.
    window: features packed together; of groups, groups.
    shuffle: False keeps the given order as far as packing allows: rows in the
      order of their first feature, for evaluation.
    groups: the group of each feature. Those of one follow each other, and
      keep their order in the row that they share.

  Raises:
    ValueError: a feature that is empty or, with its group, longer than a row,
      or a group in several pieces.
  """
  lengths = _check(lengths, row_length)
  if groups is not None:
    first, totals = _whole(lengths, groups, row_length)
    group_plan = plan(
      totals,
      row_length,
      seed=seed,
      epoch=epoch,
      window=window,
      shuffle=shuffle,
    )
    # The features of a group take its place in the plan.
    sizes = np.diff(first, append=len(lengths))[group_plan.features]
    ends = np.append(0, np.cumsum(sizes))
    shift = first[group_plan.features] - ends[:-1]
    return dataclasses.replace(
      group_plan,
      offsets=ends[group_plan.offsets],
      features=np.arange(len(lengths)) + np.repeat(shift, sizes),
      max_examples=max_examples(lengths, row_length),
    )
  count = len(lengths)
  if shuffle:
    order = permutation.shuffle(count, seed, epoch, 0)
  else:
    order = np.arange(count)
  row_of = np.empty(count, np.int64)
  rows = 0
  for start in range(0, count, window):
    part = order[start : start + window]
    part = part[np.argsort(-lengths[part], kind='stable')]
    pack = _best_fit if shuffle else _fullest
    placed, added = pack(lengths[part].tolist(), row_length)
    row_of[part] = np.add(placed, rows)
    rows += added
  if shuffle:
    row_of = permutation.shuffle(rows, seed, epoch, 1)[row_of]
  else:
    first = np.full(rows, count)
    np.minimum.at(first, row_of, np.arange(count))
    rank = np.empty(rows, np.int64)
    rank[np.argsort(first)] = np.arange(rows)
    row_of = rank[row_of]
  offsets = np.zeros(rows + 1, np.int64)
  np.cumsum(np.bincount(row_of, minlength=rows), out=offsets[1:])
  return Plan(
    row_length=row_length,
    offsets=offsets,
    features=np.argsort(row_of, kind='stable'),
    max_examples=max_examples(lengths, row_length),
    efficiency=float(lengths.sum() / (rows * row_length)) if rows else 1.0,
  )


def max_examples(
  lengths: Int[np.ndarray, 'features'] | Sequence[int], row_length: int
) -> int:
  """E: the most of these features that fit into one row, at least 1."""
  total = np.cumsum(np.sort(_check(lengths, row_length)))
  return max(1, int(np.searchsorted(total, row_length, side='right')))


def count_rows(counts: Int[np.ndarray, 'lengths'], row_length: int) -> int:
  """How many rows `plan` packs features into, from a histogram.

  Best fit depends on lengths alone, and fills a row for as long as a length
  fits. So all features of one length are placed in as many steps as there are
  different rooms left in rows.

  Args:
    counts: features of each length; counts[0] is 0.
    row_length: L; of one window, shuffled.
  """
  open_rows = [0] * (row_length + 1)  # by the room that is left
  rooms = 0  # bit c: whether a row has room for c more
  rows = 0
  for length in np.flatnonzero(counts)[::-1].tolist():
    waiting = int(counts[length])
    while waiting:
      fitting = rooms >> length
      if fitting:
        room = length + (fitting & -fitting).bit_length() - 1
        number = open_rows[room]
      else:
        room = row_length
        number = -(-waiting // (row_length // length))
        open_rows[room] += number
        rooms |= 1 << room
        rows += number
      each = room // length
      full = min(number, waiting // each)
      moves = [(full, each)]
      if full < number:  # the last one takes what is left
        moves.append((1, waiting - full * each))
      for moved, taken in moves:
        if not moved or not taken:
          continue
        waiting -= moved * taken
        open_rows[room] -= moved
        left = room - taken * length
        if left:
          open_rows[left] += moved
          rooms |= 1 << left
      if not open_rows[room]:
        rooms &= ~(1 << room)
  return rows


def _check(lengths, row_length: int) -> Int[np.ndarray, 'features']:
  """Lengths as int64; raises ValueError if one does not fit into a row."""
  lengths = np.asarray(lengths, np.int64)
  bad = np.flatnonzero((lengths < 1) | (lengths > row_length))
  if len(bad):
    index, length = int(bad[0]), int(lengths[bad[0]])
    raise ValueError(
      f'feature {index} has no tokens'
      if length < 1
      else f'feature {index} has {length} tokens, more than a row of'
      f' {row_length} holds; truncate it or take longer rows'
    )
  return lengths


def _whole(lengths, groups, row_length: int):
  """(first feature, tokens) of each group; a group in pieces is an error."""
  groups = np.asarray(groups, np.int64)
  if groups.shape != lengths.shape:
    raise ValueError(
      f'{len(lengths)} features and groups of shape {groups.shape}'
    )
  first = np.flatnonzero(np.diff(groups, prepend=groups[:1] - 1))
  names, pieces = np.unique(groups[first], return_counts=True)
  if (pieces > 1).any():
    raise ValueError(
      f'the features of group {names[pieces > 1][0]} do not follow each other'
    )
  totals = np.add.reduceat(lengths, first) if len(first) else lengths
  if len(over := np.flatnonzero(totals > row_length)):
    raise ValueError(
      f'group {groups[first[over[0]]]} has {totals[over[0]]} tokens together,'
      f' more than a row of {row_length} holds; take longer rows'
    )
  return first, totals


def _best_fit(lengths: list[int], row_length: int) -> tuple[list[int], int]:
  """The row of each length, in the order given, and the number of rows.

  `open_rows[c]` are the rows with room for c more tokens, and bit c of
  `rooms` says whether there is one: the tightest fit is the lowest set bit
  at or above the length.
  """
  open_rows: list[list[int]] = [[] for _ in range(row_length + 1)]
  rooms = 0
  rows = 0
  placed = []
  for length in lengths:
    fitting = rooms >> length
    if fitting:
      room = length + (fitting & -fitting).bit_length() - 1
      candidates = open_rows[room]
      row = candidates.pop()
      if not candidates:
        rooms ^= 1 << room
    else:
      room, row = row_length, rows
      rows += 1
    placed.append(row)
    room -= length
    if room:
      open_rows[room].append(row)
      rooms |= 1 << room
  return placed, rows


def _fullest(lengths: list[int], row_length: int) -> tuple[list[int], int]:
  """The same, a row at a time: the longest, and what fills the rest best.

  Bit s of `sums` says whether some of the waiting lengths add up to s. Slower
  than best fit (0.3 s for 75,000 lengths), it matters where rows hold a few
  long features: 86 → 81 rows for 256 paragraphs in rows of 512.
  """
  waiting: dict[int, list[int]] = {}
  for index in reversed(range(len(lengths))):
    waiting.setdefault(lengths[index], []).append(index)
  sizes = sorted(waiting, reverse=True)
  placed = [0] * len(lengths)
  rows = 0

  def place(size):
    placed[waiting[size].pop()] = rows
    if not waiting[size]:
      sizes.remove(size)

  while sizes:
    room = row_length - sizes[0]
    place(sizes[0])
    within = (2 << room) - 1
    sums, steps = 1, []
    for size in sizes[bisect.bisect_left(sizes, -room, key=neg) :]:
      for _ in range(min(len(waiting[size]), room // size)):
        larger_sums = (sums | sums << size) & within
        if larger_sums == sums:
          break
        steps.append((size, sums))
        sums = larger_sums
      if sums >> room:
        break
    rest = sums.bit_length() - 1
    for size, before in reversed(steps):
      if not before >> rest & 1:
        place(size)
        rest -= size
    rows += 1
  return placed, rows


def fill(
  features: Sequence[Feature],
  rows: Sequence[Int[np.ndarray, 'examples']],
  *,
  row_length: int,
  max_examples: int,
  convention: Convention = ROBERTA,
  label: tuple[str, str] | None = None,
  groups: Int[np.ndarray, 'features'] | None = None,
) -> Batch:
  """Makes the arrays of a batch, one row per element of `rows`.

  Args:
    features: features by index.
    rows: the features of each row; an empty one becomes a row of padding.
    row_length: L.
    max_examples: E.
    convention: of the model.
    label: dtype and shape of `labels`, where they are wanted. The shape is
      'B L', a label for each token, or 'B E', one for each feature, which more
      sizes may follow: 'B E 2' are the first and the last token of an answer.
      What has no label is -1, or NaN where labels are float32.
    groups: the group of each feature, for the batch to say.

  Returns:
    tokens, segments, positions int32 [B, L]; starts, example int32 [B, E];
    labels of the dtype and shape asked for; with groups also group int32
    [B, E], -1 where no example is; where the convention has types also types
    int32 [B, L].

  Raises:
    ValueError: a row holds more tokens or examples than its arrays, or a
      feature has not as many tags as tokens.
  """
  size = len(rows), row_length
  batch = {
    'tokens': np.full(size, convention.pad_id, np.int32),
    'segments': np.zeros(size, np.int32),
    'positions': np.zeros(size, np.int32),
    'starts': np.zeros((len(rows), max_examples), np.int32),
    'example': np.full((len(rows), max_examples), -1, np.int32),
  }
  if label is not None:
    dtype, dims = label
    sizes = {'B': len(rows), 'L': row_length, 'E': max_examples}
    shape = [sizes[d] if d in sizes else int(d) for d in dims.split()]
    missing = np.nan if dtype.startswith('float') else -1
    batch['labels'] = np.full(shape, missing, dtype)
  if convention.separator is not None:
    batch['types'] = np.zeros(size, np.int32)
  if groups is not None:
    batch['group'] = np.full((len(rows), max_examples), -1, np.int32)
  counts = np.array([len(row) for row in rows], np.int64)
  if counts.sum() == 0:
    return batch
  if counts.max() > max_examples:
    raise ValueError(
      f'row {counts.argmax()} has {counts.max()} examples, more than'
      f' max_examples={max_examples}'
    )
  index = np.concatenate([np.asarray(row, np.int64) for row in rows])
  chosen = [features[i] for i in index.tolist()]
  tokens = [feature['tokens'] for feature in chosen]
  lengths = np.array([len(t) for t in tokens], np.int64)
  # For each example its row, its slot in the row, and where it starts.
  row = np.repeat(np.arange(len(rows)), counts)
  slot = np.arange(len(row)) - np.repeat(np.cumsum(counts) - counts, counts)
  end = np.cumsum(lengths)
  begin = end - lengths
  start = begin - begin[np.searchsorted(row, row)]
  over = np.flatnonzero(start + lengths > row_length)
  if len(over):
    raise ValueError(
      f'row {row[over[0]]} has more than {row_length} tokens; feature'
      f' {index[over[0]]} does not fit'
    )
  # For each token where it goes.
  flat = np.concatenate(tokens)
  within = np.arange(len(flat)) - np.repeat(begin, lengths)
  place = np.repeat(row * row_length + start, lengths) + within
  batch['tokens'].ravel()[place] = flat
  batch['segments'].ravel()[place] = np.repeat(slot + 1, lengths)
  parts = flat, begin, lengths
  batch['positions'].ravel()[place] = convention.positions(*parts)
  if 'types' in batch:
    batch['types'].ravel()[place] = convention.types(*parts)
  batch['starts'][row, slot] = start
  batch['example'][row, slot] = index
  if groups is not None:
    batch['group'][row, slot] = np.asarray(groups)[index]
  if label is not None and 'L' in dims.split():
    tags = [
      np.full(n, -1) if (x := feature.get('label')) is None else np.asarray(x)
      for feature, n in zip(chosen, lengths, strict=True)
    ]
    for number, x, n in zip(index, tags, lengths, strict=True):
      if x.shape != (n,):
        raise ValueError(
          f'feature {number} has {n} tokens and tags of shape {x.shape}'
        )
    batch['labels'].ravel()[place] = np.concatenate(tags)
  elif label is not None:
    labels = [feature.get('label') for feature in chosen]
    missing = np.full(shape[2:], missing)
    batch['labels'][row, slot] = [missing if x is None else x for x in labels]
  return batch
