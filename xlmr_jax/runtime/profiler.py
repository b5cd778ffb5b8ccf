"""A profile of some steps of a run, for TensorBoard's profiler or XProf."""

import pathlib

import jax


def parse_steps(text: str) -> tuple[int, int] | None:
  """'10,15' → (10, 15); '' → None.

  Raises:
    ValueError: no two ascending numbers.
  """
  if not text:
    return None
  words = [word.strip() for word in text.split(',')]
  if len(words) != 2 or not all(word.isdecimal() for word in words):
    raise ValueError(
      f'--profile={text}: write two steps, START,STOP, as in --profile=10,15'
    )
  start, stop = map(int, words)
  if start >= stop:
    raise ValueError(f'--profile={text}: STOP must come after START')
  return start, stop


class Profiler:
  """Names each step in a trace, and records the trace of some.

  It begins when `start` steps are done and ends when `stop` are, or when the
  run ends. Only the process that leads records one.
  """

  def __init__(
    self, steps: tuple[int, int] | None, folder: pathlib.Path, lead: bool
  ):
    self._steps = steps if lead else None
    self._folder = folder
    self._running = False

  def step(self, done: int) -> jax.profiler.StepTraceAnnotation:
    """The context of the step after `done` steps."""
    if self._steps and done == self._steps[0]:
      jax.profiler.start_trace(str(self._folder))
      self._running = True
    return jax.profiler.StepTraceAnnotation('train', step_num=done + 1)

  def stop(self, done: int, metrics) -> bool:
    """Ends the trace if it is to end after `done` steps; whether it did.

    Args:
      done: steps.
      metrics: of the last one; the devices are waited for.
    """
    if not self._running or not self._steps or done < self._steps[1]:
      return False
    jax.block_until_ready(metrics)
    self.close()
    return True

  def close(self) -> None:
    """Ends the trace if there is one; no step is traced again."""
    if self._running:
      jax.profiler.stop_trace()
      self._running, self._steps = False, None
