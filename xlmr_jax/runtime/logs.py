"""Where a run's numbers go: JSONL always, TensorBoard beside it, a bar."""

import json
import pathlib
import time

import tqdm

from xlmr_jax.runtime import storage

RATE = 'learning_rate'  # records of steps have it, those of evaluations not


class Writer:
  """metrics.jsonl and TensorBoard events in one folder.

  A resumed run drops the records past the step it resumes from, and that of
  the step's evaluation where this was not finished: it comes again. So the
  file reads as if nothing had happened. On hosts other than 0 it writes
  nothing.
  """

  def __init__(
    self,
    folder,
    resume_step: int = 0,
    active: bool = True,
    evaluated: bool = True,
  ):
    self._active = active
    if not active:
      return
    self._folder = folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    kept = self._until('metrics.jsonl', resume_step, evaluated)
    self._file = kept.open('a')
    self._until('events.jsonl', resume_step)
    # Where torch is installed this imports it: seconds, so not before here.
    from tensorboardX.event_file_writer import EventsWriter
    from tensorboardX.proto import event_pb2, summary_pb2

    self._event, self._summary = event_pb2.Event, summary_pb2.Summary
    # Not SummaryWriter: its thread dies silently when the disk is full, and
    # then its queue blocks for ever.
    board = folder / 'tensorboard'
    board.mkdir(exist_ok=True)
    self._board = EventsWriter(str(board / 'events'), f'.{resume_step}')
    # TensorBoard forgets what an earlier process wrote past this step.
    start = event_pb2.SessionLog(status=event_pb2.SessionLog.START)
    self._board.write_event(
      self._event(step=resume_step + 1, session_log=start)
    )

  def _until(
    self, name: str, step: int, evaluated: bool = True
  ) -> pathlib.Path:
    """Drops a file's records past a step; the path."""
    path = self._folder / name
    kept = []
    if path.exists():
      for line in path.read_text().splitlines():
        try:
          record = json.loads(line)
        except json.JSONDecodeError:
          continue  # a kill in the middle of a line
        again = not evaluated and record['step'] == step
        if record['step'] <= step and not (again and RATE not in record):
          kept.append(line)
    elif name != 'metrics.jsonl':
      return path
    storage.write_text(path, ''.join(line + '\n' for line in kept))
    return path

  def rewind(self, step: int) -> None:
    """The run goes back to a step: later metrics will be written again.

    Events stay: they are why.
    """
    if self._active:
      self._file.close()
      self._file = self._until('metrics.jsonl', step).open('a')

  def event(self, step: int, **facts: str) -> None:
    """What happened at a step, in events.jsonl: a bad batch, a roll-back."""
    if self._active:
      with (self._folder / 'events.jsonl').open('a') as file:
        file.write(json.dumps({'step': step, **facts}) + '\n')

  def begin(self, step: int, **facts: str | int) -> None:
    """A record of what runs from a step on: its devices, its versions."""
    if self._active:
      self._file.write(json.dumps({'step': step, **facts}) + '\n')
      self._file.flush()

  def write(self, step: int, values: dict[str, float]) -> None:
    """One record: {'step': ..., name: value, ...}."""
    if not self._active:
      return
    self._file.write(json.dumps({'step': step, **values}) + '\n')
    self._file.flush()
    scalars = [
      self._summary.Value(tag=name, simple_value=value)
      for name, value in values.items()
      if value is not None
    ]
    summary = self._summary(value=scalars)
    self._board.write_event(
      self._event(step=step, wall_time=time.time(), summary=summary)
    )
    self._board.flush()

  def close(self) -> None:
    if self._active:
      self._file.close()
      self._board.close()


class Progress:
  """A bar over steps with loss, tokens/s, MFU and packing efficiency."""

  def __init__(self, total: int, start: int, name: str, show: bool = True):
    self._bar = tqdm.tqdm(
      total=total,
      initial=start,
      desc=name,
      unit='step',
      disable=not show,
      mininterval=0.5,
      dynamic_ncols=True,
    )
    self._since = time.perf_counter()

  def step(self) -> None:
    self._bar.update()

  def seconds(self) -> float:
    """Time since the last call, or the end of the last pause."""
    now = time.perf_counter()
    seconds, self._since = max(now - self._since, 1e-9), now
    return seconds

  def rewind(self, step: int) -> None:
    """The run goes back to a step."""
    self._bar.update(step - self._bar.n)
    self.pause()

  def pause(self) -> None:
    """Forgets the time until now (evaluation, saving)."""
    self._since = time.perf_counter()

  def show(self, **values) -> None:
    self._bar.set_postfix(
      {name: value for name, value in values.items() if value is not None}
    )

  def say(self, text: str) -> None:
    """A line above the bar."""
    if self._bar.disable:
      print(text, flush=True)
    else:
      self._bar.write(text)

  def close(self) -> None:
    self._bar.close()
