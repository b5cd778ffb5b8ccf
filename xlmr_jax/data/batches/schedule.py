"""A run in phases of other row lengths, seen as one loader.

```
schedule ((0.9, 128), (1.0, 512)), 1,000 steps
step   0 … 899     rows of 128, four times as many of them
     900 … 999     rows of 512
```

BERT was trained on 90 % short rows for their speed, then on long ones for
their positions (Devlin et al. 2019, appendix A.2). A phase is a loader of its
own, over text cut for it and in an order of its own; all have as many tokens
in a batch.
"""

from collections.abc import Callable, Iterator, Sequence

from xlmr_jax.data.batches import loader, pack

# (where a phase ends, L): a share of all steps up to 1, or a number of steps.
Schedule = Sequence[tuple[float, int]]


class Phases:
  """What a Loader offers, over the loaders of the phases.

  Attributes:
    loaders: of each phase.
    rows, row_length, max_examples: of the phase with the longest rows.
    steps_per_epoch: of the first phase.
    total_steps: steps of all phases.
    epochs: how many epochs they are.
    examples_per_step: on average over all steps.
    efficiency: real tokens per computed one, on average over all steps.
  """

  def __init__(
    self,
    schedule: Schedule,
    steps: int,
    make: Callable[[int, int, int], loader.Loader],
  ):
    """Makes the loader of each phase.

    Args:
      schedule: of the run.
      steps: of the run.
      make: (number of the phase from 0, row_length, steps) → its loader.

    Raises:
      ValueError: a schedule that does not go forward to the last step.
    """
    self._ends = ends(schedule, steps)
    self.total_steps = steps
    starts = [0, *self._ends[:-1]]
    self.loaders = [
      make(number, row_length, end - start)
      for number, ((_, row_length), start, end) in enumerate(
        zip(schedule, starts, self._ends, strict=True)
      )
    ]
    self._starts = starts
    longest = max(self.loaders, key=lambda phase: phase.row_length)
    self.rows, self.row_length = longest.rows, longest.row_length
    self.max_examples = longest.max_examples
    self.steps_per_epoch = self.loaders[0].steps_per_epoch
    self.epochs = sum(phase.epochs for phase in self.loaders)

    def mean(name):
      return (
        sum(getattr(phase, name) * phase.total_steps for phase in self.loaders)
        / steps
      )

    self.examples_per_step = mean('examples_per_step')
    self.efficiency = mean('efficiency')

  def batch(self, step: int) -> pack.Batch:
    """This host's rows of the batch of a step; the last phase goes on."""
    number, within = self.locate(step)
    return self.loaders[number].batch(within)

  def identity(self, step: int, row: int) -> str:
    """Names the examples in a row of a global batch, for a log."""
    number, within = self.locate(step)
    return self.loaders[number].identity(within, row)

  def locate(self, step: int) -> tuple[int, int]:
    """The phase of a step, and which of its steps it is."""
    if step < 0:
      raise IndexError(f'there is no step {step}')
    number = sum(step >= end for end in self._ends[:-1])
    return number, step - self._starts[number]

  def row_length_at(self, step: int) -> int:
    """L of a step's batch."""
    return self.loaders[self.locate(step)[0]].row_length

  def rows_at(self, step: int) -> int:
    """Rows of a step's global batch."""
    return self.loaders[self.locate(step)[0]].rows

  def iterate(
    self,
    start: int = 0,
    end: int | None = None,
    *,
    threads: int = 2,
    prefetch: int = 8,
  ) -> Iterator[tuple[int, pack.Batch]]:
    """Yields (step, batch) as a Loader does."""
    end = self.total_steps if end is None else end
    return loader.ahead(self.batch, start, end, threads, prefetch)


def ends(schedule: Schedule, steps: int) -> list[int]:
  """The step after each phase.

  Raises:
    ValueError: a schedule that does not go forward to the last step.
  """
  out = []
  for entry in schedule:
    try:
      until, row_length = entry
      is_valid = until > 0 and row_length > 0 and row_length == int(row_length)
    except (TypeError, ValueError):
      is_valid = False
    if not is_valid:
      raise ValueError(
        f'schedule {tuple(schedule)}: {entry} is not (share of the steps, or '
        'a step; row length)'
      )
    out.append(round(until * steps) if until <= 1 else int(until))
  if out != sorted(set(out)) or not out or out[0] < 1 or out[-1] != steps:
    raise ValueError(
      f'schedule {tuple(schedule)}: its phases end after steps {out} of '
      f'{steps}; each must end after the one before it, the last one with the '
      'run (1.0)'
    )
  return out
