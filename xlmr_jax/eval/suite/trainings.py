"""Fine-tunings of a benchmark: each a process of its own.

A run that was begun goes on. A signal to stop goes to the training first, which
saves; then the benchmark ends, and the same command goes on with both.
"""

from collections.abc import Callable, Iterator, Mapping
import contextlib
import fcntl
import json
import os
import pathlib
import signal
import subprocess
import sys
import threading

from xlmr_jax.checkpoints import checkpoint_steps
from xlmr_jax.eval.suite import protocols
from xlmr_jax.eval.suite.protocols import Need
from xlmr_jax.runtime import hosts, recipes

# Where the package lies: a training imports it as we do.
ROOT = pathlib.Path(__file__).resolve().parents[3]

Say = Callable[[str], None]


class Stopped(KeyboardInterrupt):
  """Somebody asked the benchmark, or its training, to stop."""


class Stop:
  """A context in which a signal to stop ends the running training, if there is
  one, and then raises Stopped."""

  SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)

  def __init__(self):
    self._asked = False
    self._training = False
    self._child: subprocess.Popen | None = None
    self._before = {}

  def __enter__(self):
    if threading.current_thread() is threading.main_thread():
      for number in self.SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:  # nohup ignores one
          self._before[number] = signal.signal(number, self._ask)
    return self

  def __exit__(self, *_):
    for number, handler in self._before.items():
      signal.signal(number, handler)

  def _ask(self, number, frame):
    del frame
    again, self._asked = self._asked, True
    if self._training:
      # To a training SIGTERM means after this step; a second Ctrl-C, now.
      now = again and number == signal.SIGINT
      if self._child is not None:
        self._child.send_signal(signal.SIGINT if now else signal.SIGTERM)
    elif not again or number == signal.SIGINT:
      raise Stopped

  def run(self, command: list[str], hold: int) -> int:
    """Exit code of a command, which inherits a file; it ends before we do.

    Raises:
      Stopped: a signal came.
    """
    path = os.pathsep.join(
      filter(None, (str(ROOT), os.environ.get('PYTHONPATH')))
    )
    self._training = True
    try:
      # A group of its own: Ctrl-C at the keyboard is for us to pass on.
      with subprocess.Popen(
        command,
        env={**os.environ, 'PYTHONPATH': path},
        pass_fds=(hold,),
        process_group=0,
      ) as self._child:
        if self._asked:  # before there was anyone to tell
          self._child.send_signal(signal.SIGTERM)
        code = self._child.wait()
    finally:
      self._training, self._child = False, None
    if self._asked:
      raise Stopped
    return code


def train(
  config,
  need: Need,
  settings: Mapping[str, object],
  workdir: pathlib.Path,
  stop: Stop,
  say: Say,
  group: hosts.Group,
) -> pathlib.Path:
  """Fine-tunes, or goes on with it; returns the finished run.

  Args:
    config: the benchmark's recipe.
    need: what the model is wanted for.
    settings: what the protocol tells the recipe of the fine-tuning.
    workdir: of the benchmark.
    stop: passes signals on.
    say: prints a line.
    group: the processes that train together.

  Raises:
    ValueError: the process failed, another one trains the same, or the run is
      there and was trained on other languages.
    Stopped: a signal came, to us or to the training.
  """
  for attempt in range(config.restarts + 1):
    folder = workdir / 'runs' / (need.run + f'-again{attempt}' * bool(attempt))
    if not finished(folder):
      command = train_command(config, need, settings, folder, 0.5**attempt)
      say(f'training {folder.name}')
      with _alone(folder, group) as held:
        if stop.run(command + group.flags(), held):
          raise ValueError(f'training in {folder} failed: see above')
      if not finished(folder):
        raise Stopped  # somebody told the training, not us
    _check_languages(folder, settings)
    if not collapsed(folder):
      return folder
    say(f'{folder.name}: the model answers one class to everything')
  return folder


@contextlib.contextmanager
def _alone(folder: pathlib.Path, group: hosts.Group) -> Iterator[int]:
  """Locks a run as long as the file that is given, or a copy of it, is open.

  A training inherits it, and may outlive a benchmark that is killed. Several
  hosts train together, so they lock nothing.
  """
  with open(folder.with_name(f'.{folder.name}.lock'), 'w') as file:
    try:
      if not group.several:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
      raise ValueError(
        f'another process is training in {folder}: wait for it, or stop it, '
        'and give the same command again'
      ) from error
    except OSError:
      pass  # a file system without locks
    yield file.fileno()


def _check_languages(folder: pathlib.Path, settings: Mapping) -> None:
  """Refuses a finished run of fewer languages than can be trained on now."""
  now = list(settings.get('train_languages', ()))
  if not now:
    return
  config = json.loads((folder / 'config.json').read_text('utf-8'))
  trained = config['train_languages']
  if trained != now:
    raise ValueError(
      f'{folder} was trained on {" ".join(trained)}, and now there is data of '
      f'{" ".join(now)}: take the folder away to train again, or the data'
    )


def train_command(
  config, need: Need, settings: Mapping[str, object], folder, factor: float
) -> list[str]:
  """The command line of a fine-tuning; `factor` scales its learning rate."""
  recipe = recipes.find(config.recipe)
  words = [
    *(sys.executable, '-m', 'xlmr_jax.train'),
    f'--config={recipe}:task={need.known},model={config.model}',
    f'--config.data_dir={protocols.folder(config, need)}',
    f'--config.init={config.init}',
    f'--config.seed={need.seed}',
    f'--workdir={folder}',
    *(f'--config.{name}={value}' for name, value in settings.items()),
  ]
  for setting in config.settings:
    name, _, rest = setting.partition('=')
    whose, colon, name = name.rpartition(':')
    if not colon or whose in (need.tuned, need.task.name):
      words.append(f'--config.{name}={rest}')
  if factor != 1:
    words.append(f'--config.optim.learning_rate={_rate(folder) * factor}')
  return words


def _rate(folder: pathlib.Path) -> float:
  """The learning rate of the first try of a run."""
  first = folder.with_name(folder.name.rpartition('-again')[0])
  config = json.loads((first / 'config.json').read_text('utf-8'))
  return config['optim']['learning_rate']


def max_length(folder: pathlib.Path) -> int:
  """Tokens of the longest example that a run was tuned on."""
  config = json.loads((folder / 'config.json').read_text('utf-8'))
  return config['max_length']


def finished(folder: pathlib.Path) -> bool:
  """Whether a run has reached its end."""
  return bool(checkpoint_steps.last_meta(folder).get('finished'))


def collapsed(folder: pathlib.Path) -> bool:
  """Whether a run's last evaluation found one class for everything."""
  last = {}
  path = folder / 'metrics.jsonl'
  for line in path.read_text().splitlines() if path.exists() else ():
    try:
      record = json.loads(line)
    except json.JSONDecodeError:
      continue
    if 'collapsed' in record:
      last = record
  return bool(last.get('collapsed'))
