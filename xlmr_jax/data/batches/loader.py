"""Steps to batches, by arithmetic.

Rows are numbered from 0, without end; a global batch is a fixed number of
them, and each host makes those of its devices:

```
step  → rows     step * rows + 0, 1, 2, …, of which this host makes `local`
row   → stretch  that it lies in, and which of the stretch's rows it is
batch            pack.fill of these rows of each stretch's plan
```

Nothing else is state: a run that resumes at a step asks for that step, on
any number of hosts. Two kinds of stretches:

* A fixed set of features (fine-tuning): epochs. Best fit in one window
  depends on the lengths alone, whatever their order, so every epoch takes the
  same number of rows. It ends with its last batch, which rows of padding fill
  up: every feature occurs exactly once in every epoch.
* A stream without end (mixture.py): windows, whose rows follow each
  other without padding between them. The rows before a window are known by
  arithmetic where a row holds a single piece of text, else they are counted
  from histograms of lengths, once.
"""

import bisect
import collections
from collections.abc import Callable, Iterator, Sequence
import contextlib
import hashlib
import math
import os
import threading
from typing import Any, Protocol

import grain
from jaxtyping import Int
import numpy as np

from xlmr_jax.data.batches import pack
from xlmr_jax.data.batches.convention import ROBERTA, Convention
from xlmr_jax.runtime import storage

Local = Callable[[int], Int[np.ndarray, 'local']]

_KEPT = 512  # windows counted between two writings of the cache


class SizedFeatures(Protocol):
  """Features by index, with their lengths known beforehand."""

  lengths: np.ndarray  # int [features]

  def __getitem__(self, index: int) -> pack.Feature: ...


class Windows(Protocol):
  """A stream of features without end; mixture.Mixture is one.

  Attributes:
    single: whether each feature gets a row of its own.
    epoch_windows: windows of an epoch.
    max_length: no feature is longer.
    fingerprint: of everything that decides what the windows hold.
  """

  fingerprint: str
  single: bool
  epoch_windows: float
  max_length: int

  def window(self, number: int) -> SizedFeatures: ...

  def rows_before(self, number: int, row_length: int) -> int | None: ...

  def max_examples(self, row_length: int) -> int: ...


class Loader:
  """Random access to the batches of a training run or an evaluation.

  Attributes:
    rows: rows of a global batch.
    max_examples: E, the same in every batch.
    row_length: L.
    steps_per_epoch: steps of an epoch; of a stream, steps that read as many
      tokens as there are.
    total_steps: steps of the run.
    epochs: how many epochs they are.
    examples_per_step: features per step on average, padding not counted; of
      features in groups, groups.
    efficiency: real tokens per computed one; of a stream, in its first window.
  """

  def __init__(
    self,
    features: Sequence[pack.Feature] | SizedFeatures | Windows,
    *,
    row_length: int,
    batch_size: float | None = None,
    batch_tokens: int | None = None,
    rows: int | None = None,
    row_multiple: int = 1,
    seed: int = 0,
    epochs: float | None = None,
    steps: int | None = None,
    local: Local | None = None,
    shuffle: bool = True,
    drop_last: bool = False,
    label: tuple[str, str] | None = None,
    convention: Convention = ROBERTA,
    cache: str | os.PathLike | None = None,
    groups: Int[np.ndarray, 'features'] | None = None,
  ):
    """Plans the first epoch or window and counts the steps.

    Args:
      features: {'tokens', 'label'} by index: a sequence or SizedFeatures, all
        of which are read in each epoch; or Windows.
      row_length: L.
      batch_size: features, or groups, in a global batch on average, as
        papers count. The batch gets the number of rows that comes nearest.
      batch_tokens: or: tokens in a global batch, padding counted.
      rows: or: rows in a global batch.
      row_multiple: what the number of rows must be a multiple of (devices
        that share a batch, times steps that are accumulated).
      seed: of the order.
      epochs: how often all features are seen; half an epoch is 0.5.
      steps: or: how many steps to make, whatever the epochs.
      local: rows of a global batch → which of them this host makes,
        ascending; all by default.
      shuffle: whether epochs are shuffled. False is for evaluation.
      drop_last: whether to leave out an epoch's last batch if it is not full.
      label: dtype and shape of the labels, as `pack.fill` takes them.
      convention: of the model.
      cache: folder to keep counted rows of windows in. Without it a run that
        resumes late counts them again, in about a second for 10^9 tokens.
      groups: the group of each feature, as `pack.plan` takes them: the choices
        of a question, whose `group` the batches then have.

    Raises:
      ValueError: no features, one longer than a row, or sizes that contradict
        each other.
    """
    if (epochs is None) == (steps is None):
      raise ValueError('give either epochs or steps')
    sizes = [batch_size, batch_tokens, rows]
    if sum(size is not None for size in sizes) != 1:
      raise ValueError('give one of batch_size, batch_tokens and rows')
    for name, value in (
      ('batch_size', batch_size),
      ('batch_tokens', batch_tokens),
      ('rows', rows),
      ('epochs', epochs),
      ('steps', steps),
    ):
      if value is not None and value <= 0:
        raise ValueError(f'{name}={value}; it must be positive')
    if seed < 0:
      raise ValueError(f'seed={seed}; it must not be negative')
    self._flows = hasattr(features, 'window')
    if self._flows and (drop_last or not shuffle or groups is not None):
      raise ValueError(
        'a stream without end is always shuffled and has no last batch: groups,'
        ' drop_last and shuffle=False are for a fixed set of features'
      )
    if self._flows and features.max_length > row_length:
      raise ValueError(
        f'examples of up to {features.max_length} tokens do not fit into rows '
        f'of {row_length}; take longer rows'
      )
    self.row_length = row_length
    self._seed, self._shuffle = seed, shuffle
    self._label, self._convention = label, convention
    self._groups = None if groups is None else np.asarray(groups, np.int64)
    self._source = features if self._flows else _MeasuredFeatures(features)
    self._lock = threading.RLock()
    self._planned: collections.OrderedDict[
      int, tuple[SizedFeatures, pack.Plan]
    ] = collections.OrderedDict()
    self._cache = None
    if self._flows and cache is not None:
      made_of = f'{features.fingerprint} {row_length}'
      key = hashlib.sha256(made_of.encode()).hexdigest()[:16]
      self._cache = os.path.join(cache, f'rows-{key}.npy')
    # The first row of each window, as far as counted.
    self._starts = [0] if self._cache is None else _read_starts(self._cache)
    self._latest: tuple[int, Any] = -1, None  # the window counted last
    view, plan = self._stretch(0)
    if not len(plan):
      raise ValueError('there are no examples')
    self.max_examples = (
      features.max_examples(row_length) if self._flows else plan.max_examples
    )
    examples = len(view.lengths if groups is None else np.unique(groups))
    per_row = examples / len(plan)
    if batch_size is not None:
      rows = batch_size / per_row
    elif batch_tokens is not None:
      rows = batch_tokens / row_length
    if sizes[2] is not None and rows % row_multiple:
      raise ValueError(f'rows={rows} is not a multiple of {row_multiple}')
    self.rows = max(1, round(rows / row_multiple)) * row_multiple
    self._local = np.arange(self.rows) if local is None else local(self.rows)
    batches = len(plan) / self.rows
    if self._flows:
      self.steps_per_epoch = math.ceil(batches * features.epoch_windows)
    else:
      self.steps_per_epoch = (math.floor if drop_last else math.ceil)(batches)
    if not self.steps_per_epoch:
      raise ValueError(
        f'all examples together fill {len(plan)} rows, less than one batch of'
        f' {self.rows}: nothing is left with drop_last'
      )
    self.total_steps = steps or math.ceil(epochs * self.steps_per_epoch)
    used = int(np.sum(view.lengths)) / row_length  # rows, were they full
    if self._flows:
      self.epochs = self.total_steps / (batches * features.epoch_windows)
      self.examples_per_step = per_row * self.rows
      self.efficiency = used / len(plan)
    else:
      self.epochs = self.total_steps / self.steps_per_epoch
      whole = batches if drop_last else self.steps_per_epoch
      self.examples_per_step = examples / whole
      self.efficiency = used / (whole * self.rows)

  def batch(self, step: int) -> pack.Batch:
    """This host's rows of the batch of a step, as `pack.fill` makes them.

    `example` counts the features of the epoch or window that a row lies in.
    Any thread may call this, in any order, for steps past the last too.
    """
    parts = [
      pack.fill(
        view,
        [plan.row(row) for row in rows],
        row_length=self.row_length,
        max_examples=self.max_examples,
        convention=self._convention,
        label=self._label,
        groups=self._groups,
      )
      for view, plan, rows in self._stretches(step, self._local)
    ]
    if len(parts) == 1:
      return parts[0]
    return {k: np.concatenate([part[k] for part in parts]) for k in parts[0]}

  def identity(self, step: int, row: int) -> str:
    """Names the examples in a row of a global batch, for a log."""
    [(view, plan, [at])] = self._stretches(step, np.array([row]))
    indices = plan.row(at).tolist()
    if not indices:
      return 'no example'
    if self._flows:
      return '; '.join(view.identity(index) for index in indices)
    if self._groups is not None:
      indices = dict.fromkeys(self._groups[indices].tolist())
    return f'examples {", ".join(map(str, indices))}'

  def locate(self, step: int) -> tuple[int, int]:
    """The epoch of a step, and which of its steps it is."""
    return divmod(step, self.steps_per_epoch)

  def row_length_at(self, step: int) -> int:
    """L of a step's batch."""
    del step
    return self.row_length

  def rows_at(self, step: int) -> int:
    """Rows of a step's global batch."""
    del step
    return self.rows

  def iterate(
    self,
    start: int = 0,
    end: int | None = None,
    *,
    threads: int = 2,
    prefetch: int = 8,
  ) -> Iterator[tuple[int, pack.Batch]]:
    """Yields (step, batch) of the steps from start to end, made ahead.

    Closing the iterator stops the threads.

    Args:
      start: the first step.
      end: the step after the last one; None for the run's own.
      threads: that make batches.
      prefetch: batches made ahead.
    """
    end = self.total_steps if end is None else end
    return ahead(self.batch, start, end, threads, prefetch)

  def _stretches(
    self, step: int, local: Int[np.ndarray, 'n']
  ) -> Iterator[tuple[SizedFeatures, pack.Plan, list[int]]]:
    """Features, plan and rows of each epoch or window in a batch's rows."""
    if step < 0:
      raise IndexError(f'there is no step {step}')
    rows = step * self.rows + np.asarray(local, np.int64)
    at = 0
    while True:
      number = self._find(int(rows[at])) if len(rows) else 0
      start, end = self._start(number), self._start(number + 1)
      stop = int(np.searchsorted(rows, end))
      view, plan = self._stretch(number)
      if self._flows and len(plan) != end - start:
        raise ValueError(
          f'window {number} has {len(plan)} rows, and {end - start} were '
          f'counted: {self._cache or "the source"} is not what it was; delete '
          'it, and it is made again'
        )
      yield view, plan, (rows[at:stop] - start).tolist()
      if stop == len(rows):
        return
      at = stop

  def _stretch(self, number: int) -> tuple[SizedFeatures, pack.Plan]:
    """The features and the plan of an epoch or window; a few are kept."""
    with self._lock:
      if number not in self._planned:
        view = self._source
        if self._flows:
          latest, view = self._latest
          if latest != number:
            view = self._source.window(number)
        lengths = view.lengths
        if self._flows and self._source.single:
          lengths = np.full_like(lengths, self.row_length)
        self._planned[number] = (
          view,
          pack.plan(
            lengths,
            self.row_length,
            seed=self._seed,
            epoch=number,
            window=max(1, len(lengths)),
            shuffle=self._shuffle,
            groups=self._groups,
          ),
        )
        while len(self._planned) > 3:
          self._planned.popitem(last=False)
      self._planned.move_to_end(number)
      return self._planned[number]

  def _start(self, number: int) -> int:
    """The first row of an epoch or window."""
    if not self._flows:
      return number * self.steps_per_epoch * self.rows
    known = self._source.rows_before(number, self.row_length)
    if known is not None:
      return known
    with self._lock:
      while len(self._starts) <= number:
        self._count()
      return self._starts[number]

  def _find(self, row: int) -> int:
    """The epoch or window that a row lies in."""
    if not self._flows:
      return row // (self.steps_per_epoch * self.rows)
    if self._source.rows_before(1, self.row_length) is None:
      with self._lock:
        while self._starts[-1] <= row:
          self._count()
        return bisect.bisect_right(self._starts, row) - 1
    above = 1
    while self._start(above) <= row:
      above = 2 * above
    return bisect.bisect_right(range(above), row, key=self._start) - 1

  def _count(self) -> None:
    """Counts the rows of the first window not counted yet."""
    number = len(self._starts) - 1
    if number in self._planned:
      rows = len(self._planned[number][1])
    else:
      view = self._source.window(number)
      self._latest = number, view
      if self._source.single:
        rows = len(view.lengths)
      else:
        counts = np.bincount(view.lengths, minlength=1)
        rows = pack.count_rows(counts, self.row_length)
    self._starts.append(self._starts[-1] + rows)
    if self._cache is not None and len(self._starts) % _KEPT == 0:
      _write_starts(self._cache, self._starts)


def ahead(
  batch: Callable[[int], pack.Batch],
  start: int,
  end: int,
  threads: int,
  prefetch: int,
) -> Iterator[tuple[int, pack.Batch]]:
  """Yields (step, batch) of steps start … end, made ahead by threads."""
  steps = grain.MapDataset.range(start, end).map(batch)
  batches = iter(
    steps.to_iter_dataset(
      grain.ReadOptions(num_threads=threads, prefetch_buffer_size=prefetch)
    )
  )
  try:
    yield from zip(range(start, end), batches, strict=True)
  finally:
    batches.close()


def _read_starts(path: str) -> list[int]:
  """What `_write_starts` wrote; [0] if the file cannot be used."""
  try:
    starts = np.load(path)
  except (OSError, ValueError, EOFError):
    return [0]
  is_valid = starts.dtype == np.int64 and starts.ndim == 1 and len(starts)
  return starts.tolist() if is_valid else [0]


def _write_starts(path: str, starts: list[int]) -> None:
  """Writes a file whole or not at all."""
  # The cache only saves time: a run goes on without it.
  with contextlib.suppress(OSError):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with storage.whole_file(path) as temporary, open(temporary, 'wb') as file:
      np.save(file, np.array(starts, np.int64))


class _MeasuredFeatures:
  """A sequence of features with their lengths."""

  def __init__(self, features: Sequence[pack.Feature] | SizedFeatures):
    self._features = features
    lengths: Any = getattr(features, 'lengths', None)
    if lengths is None:
      lengths = [len(feature['tokens']) for feature in features]
    self.lengths = np.asarray(lengths, np.int64)

  def __getitem__(self, index: int) -> pack.Feature:
    return self._features[index]
