"""Steps to batches, by arithmetic.

Epoch e is planned from (lengths, seed, e); its rows are cut into global
batches of a fixed number of rows, and each host takes its own slice of
every batch:

```
step  → (epoch, offset)            epochs follow each other
rows    offset * rows + host * rows / hosts + 0, 1, 2, …
batch   pack.fill of these rows of the epoch's plan
```

Nothing else is state: a run that resumes at a step asks for that step. An
epoch ends with its last batch, which rows of padding fill up, so every
feature occurs exactly once in every epoch.

Best fit in one window depends on the lengths alone, whatever their order: a
fixed set of features takes the same number of rows, and of steps, in every
epoch. A source whose features change with the epoch (data/corpus.py) may
take a few rows more or less; its epochs are then counted by planning them,
about a second per million features.
"""

import collections
from collections.abc import Callable, Iterator, Sequence
import math
import threading
from typing import Any, Literal, Protocol

import grain
import numpy as np

from xlmr_jax.data import pack


class View(Protocol):
  """Features by index, with their lengths known beforehand."""

  lengths: np.ndarray  # int [features]

  def __getitem__(self, index: int) -> pack.Feature: ...


class Epochs(Protocol):
  """A source whose features change with the epoch."""

  def epoch(self, epoch: int) -> View: ...

  def max_examples(self, row_length: int) -> int: ...


class Loader:
  """Random access to the batches of a training run or an evaluation.

  Attributes:
    rows: rows of a global batch.
    max_examples: E, the same in every batch.
    row_length: L.
    steps_per_epoch: steps of an epoch; of the first one where epochs differ.
    total_steps: steps of the run.
    examples_per_step: features per step on average, padding not counted.
    efficiency: real tokens per computed one, the last batch included.
  """

  def __init__(
    self,
    features: Sequence[pack.Feature] | View | Epochs,
    *,
    row_length: int,
    batch_size: float | None = None,
    batch_tokens: int | None = None,
    rows: int | None = None,
    row_multiple: int = 1,
    seed: int = 0,
    epochs: int | None = None,
    steps: int | None = None,
    hosts: tuple[int, int] = (0, 1),
    shuffle: bool = True,
    drop_last: bool = False,
    label: Literal['int', 'float'] | None = None,
    pad_id: int = 1,
  ):
    """Plans the first epoch and counts the steps.

    Args:
      features: {'tokens', 'label'} by index: a sequence, a View, or a source
        of Epochs.
      row_length: L.
      batch_size: features in a global batch on average, as papers count. The
        batch gets the number of rows that comes nearest.
      batch_tokens: or: tokens in a global batch, padding counted.
      rows: or: rows in a global batch.
      row_multiple: what the number of rows must be a multiple of (devices
        that share a batch, times steps that are accumulated). Hosts are
        taken care of.
      seed: of the order.
      epochs: how often all features are seen.
      steps: or: how many steps to make, whatever the epochs.
      hosts: (index of this host, how many there are).
      shuffle: whether epochs are shuffled. False is for evaluation.
      drop_last: whether to leave out an epoch's last batch if it is not full.
      label: kind of the labels, as `pack.fill` takes it.
      pad_id: token of the padding.

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
    host, count = hosts
    if not 0 <= host < count:
      raise ValueError(f'host {host} of {count}')
    self.row_length = row_length
    self._seed, self._shuffle = seed, shuffle
    self._drop_last, self._label, self._pad_id = drop_last, label, pad_id
    self._changing = hasattr(features, 'epoch')
    if self._changing:
      self._features = features
    else:
      self._features = _View(features)
    self._lock = threading.Lock()
    self._planned: collections.OrderedDict[int, tuple[View, pack.Plan]] = (
      collections.OrderedDict()
    )
    view, plan = self._epoch(0)
    if not len(plan):
      raise ValueError('there are no examples')
    self.max_examples = (
      self._features.max_examples(row_length)
      if self._changing
      else plan.max_examples
    )
    per_row = len(view.lengths) / len(plan)
    if batch_size is not None:
      rows = batch_size / per_row
    elif batch_tokens is not None:
      rows = batch_tokens / row_length
    multiple = math.lcm(row_multiple, count)
    if sizes[2] is not None and rows % multiple:
      raise ValueError(f'rows={rows} is not a multiple of {multiple}')
    self.rows = max(1, round(rows / multiple)) * multiple
    self._local = self.rows // count
    self._first = host * self._local
    self._ends: list[int] = []  # the step after each epoch, as far as known
    self.steps_per_epoch = self._end(0)
    if drop_last and not self.steps_per_epoch:
      raise ValueError(
        f'all examples together fill {len(plan)} rows, less than one batch of'
        f' {self.rows}: nothing is left with drop_last'
      )
    self.total_steps = steps if epochs is None else self._end(epochs - 1)
    kept = 1.0
    self.efficiency = int(np.sum(view.lengths)) / (
      self.steps_per_epoch * self.rows * row_length
    )
    if drop_last:
      kept = self.steps_per_epoch * self.rows / len(plan)
      self.efficiency = plan.efficiency
    self.examples_per_step = kept * len(view.lengths) / self.steps_per_epoch

  def batch(self, step: int) -> pack.Batch:
    """This host's rows of the batch of a step, as `pack.fill` makes them.

    `example` counts the features of the step's epoch. Any thread may call
    this, in any order.
    """
    if not 0 <= step < self.total_steps:
      raise IndexError(f'step {step} is outside 0…{self.total_steps - 1}')
    epoch, offset = self.locate(step)
    view, plan = self._epoch(epoch)
    first = offset * self.rows + self._first
    return pack.fill(
      view,
      [plan.row(r) for r in range(first, first + self._local)],
      row_length=self.row_length,
      max_examples=self.max_examples,
      pad_id=self._pad_id,
      label=self._label,
    )

  def locate(self, step: int) -> tuple[int, int]:
    """The epoch of a step, and which of its steps it is."""
    if not self._changing:
      return divmod(step, self.steps_per_epoch)
    epoch = 0
    while self._end(epoch) <= step:
      epoch += 1
    return epoch, step - (self._end(epoch - 1) if epoch else 0)

  def iterate(
    self, start: int = 0, *, threads: int = 2, prefetch: int = 8
  ) -> Iterator[tuple[int, pack.Batch]]:
    """Yields (step, batch) from a step to the last, made ahead by threads.

    Closing the iterator stops the threads.
    """
    steps = grain.MapDataset.range(start, self.total_steps).map(self.batch)
    batches = iter(
      steps.to_iter_dataset(
        grain.ReadOptions(num_threads=threads, prefetch_buffer_size=prefetch)
      )
    )
    try:
      yield from zip(range(start, self.total_steps), batches, strict=True)
    finally:
      batches.close()

  def _epoch(self, epoch: int) -> tuple[View, pack.Plan]:
    """The features and the plan of an epoch; the last two are kept."""
    with self._lock:
      if epoch not in self._planned:
        view = self._features
        if self._changing:
          view = view.epoch(epoch)
        self._planned[epoch] = (
          view,
          pack.plan(
            view.lengths,
            self.row_length,
            seed=self._seed,
            epoch=epoch,
            window=max(1, len(view.lengths)),
            shuffle=self._shuffle,
          ),
        )
        while len(self._planned) > 2:
          self._planned.popitem(last=False)
      self._planned.move_to_end(epoch)
      return self._planned[epoch]

  def _end(self, epoch: int) -> int:
    """The first step after an epoch."""
    if self._ends and not self._changing:
      return (epoch + 1) * self._ends[0]
    while len(self._ends) <= epoch:
      number = len(self._ends)
      rows = len(self._epoch(number)[1])
      divide: Callable[[float], int] = (
        math.floor if self._drop_last else math.ceil
      )
      last = self._ends[-1] if self._ends else 0
      self._ends.append(last + divide(rows / self.rows))
    return self._ends[epoch]


class _View:
  """A sequence of features with their lengths."""

  def __init__(self, features: Sequence[pack.Feature] | View):
    self._features = features
    lengths: Any = getattr(features, 'lengths', None)
    if lengths is None:
      lengths = [len(feature['tokens']) for feature in features]
    self.lengths = np.asarray(lengths, np.int64)

  def __getitem__(self, index: int) -> pack.Feature:
    return self._features[index]
