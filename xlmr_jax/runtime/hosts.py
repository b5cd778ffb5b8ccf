"""Several processes, one run: who takes part, who goes first, who stops it.

On a TPU pod, a Slurm job or several GPU nodes every host runs the same
command. `start` makes them one before any device is touched; from there on
the mesh spans all devices and each host makes its own rows.
"""

import contextlib
import dataclasses
import glob
import importlib.util
import os
import signal
import threading
from typing import Any

from absl import flags
import jax
from jax.experimental import multihost_utils

# Set by a launcher that starts several processes, with how many.
_COUNTS = ('SLURM_STEP_NUM_TASKS', 'OMPI_COMM_WORLD_SIZE')


def define_flags(values: flags.FlagValues = flags.FLAGS) -> None:
  """The flags of a command that several hosts may run together."""
  to: dict[str, Any] = {'flag_values': values}
  flags.DEFINE_enum(
    'distributed',
    'auto',
    ['auto', 'on', 'off'],
    'Whether this process is one of several. auto: on in a Slurm, MPI or TPU '
    'job of several, or where --coordinator is given.',
    **to,
  )
  flags.DEFINE_string(
    'coordinator',
    '',
    'host:port of process 0, where nothing else tells.',
    **to,
  )
  flags.DEFINE_integer('num_processes', 0, 'With --coordinator.', **to)
  flags.DEFINE_integer('process_id', -1, 'With --coordinator: from 0.', **to)


@dataclasses.dataclass(frozen=True)
class Group:
  """The processes of a command, as its flags say; by default this one alone.

  Attributes: those of `start`.
  """

  mode: str = 'off'
  coordinator: str = ''
  processes: int = 0
  process: int = -1

  @classmethod
  def of(cls, options: flags.FlagValues) -> 'Group':
    return cls(
      options.distributed,
      options.coordinator,
      options.num_processes,
      options.process_id,
    )

  @property
  def several(self) -> bool:
    """Whether there seem to be others; no device is touched to find out."""
    return self.mode != 'off' and (
      self.mode == 'on' or self.processes > 1 or several(os.environ)
    )

  def flags(self) -> list[str]:
    """Of a command that the same processes run."""
    out = [f'--distributed={self.mode}']
    if self.coordinator:
      out += [
        f'--coordinator={self.coordinator}',
        f'--num_processes={self.processes}',
        f'--process_id={self.process}',
      ]
    return out

  def start(self) -> None:
    """Joins the others."""
    start(self.mode, self.coordinator, self.processes, self.process)


def start(
  mode: str = 'auto',
  coordinator: str = '',
  processes: int = 0,
  process: int = -1,
) -> None:
  """Joins the other processes of this run, if there are any.

  Args:
    mode: 'on', 'off', or 'auto': on where a launcher or a TPU pod says that
      there are others, or a coordinator is given.
    coordinator: host:port of process 0, where nothing else tells.
    processes: how many there are; with a coordinator.
    process: which this is, from 0; with a coordinator.

  Raises:
    ValueError: arguments that do not fit together.
  """
  given = [coordinator != '', processes > 0, process >= 0]
  if any(given) and not all(given):
    raise ValueError(
      '--coordinator, --num_processes and --process_id belong together: give '
      'all three, or none of them'
    )
  if all(given) and process >= processes:
    raise ValueError(
      f'--process_id={process} of --num_processes={processes}: they count '
      'from 0'
    )
  if mode == 'off':
    return
  if all(given):
    jax.distributed.initialize(coordinator, processes, process)
  elif mode == 'on' or several(os.environ) or _on_a_tpu_vm():
    jax.distributed.initialize()


def several(environment) -> bool:
  """Whether a launcher or a TPU pod says that there are other processes."""
  for name in _COUNTS:
    if int(environment.get(name) or 1) > 1:
      return True
  names = environment.get('TPU_WORKER_HOSTNAMES', '')
  # GKE names the workers of a slice; several slices have a coordinator.
  return ',' in names or 'MEGASCALE_COORDINATOR_ADDRESS' in environment


def _on_a_tpu_vm() -> bool:
  """There JAX asks the machine's metadata who else is in the pod, if any."""
  devices = glob.glob('/dev/accel*') + glob.glob('/dev/vfio/[0-9]*')
  return bool(devices) and importlib.util.find_spec('libtpu') is not None


def lead() -> bool:
  """Whether this is the process that writes and speaks for all."""
  return jax.process_index() == 0


def together(what: str) -> None:
  """Waits until all processes are here."""
  if jax.process_count() > 1:
    multihost_utils.sync_global_devices(what)


def lead_first(fn, what: str):
  """fn() on the first process, and then, when it is done, on the others.

  For work whose result lies in a folder that all see.
  """
  if lead():
    try:
      return fn()
    finally:
      together(what)
  together(what)
  return fn()


class Interrupted(Exception):
  """Work that may be dropped was dropped, because the run is to stop."""


class Stop:
  """SIGTERM and Ctrl-C ask the loop to stop after the step it is in.

  Among several processes a SIGTERM to any of them stops all at one and the
  same step, by JAX's preemption service, which catches the signal itself.
  """

  def __init__(self):
    self._asked = False
    self._turns = 0
    self._droppable = False
    self._before = {}
    self._several = jax.process_count() > 1

  def asked(self) -> bool:
    """Whether to stop before the next step: on all hosts or on none.

    All hosts must ask equally often. JAX's preemption service is told how
    often, not which step it is: its numbers may not go back, and a step's do
    after a roll-back.
    """
    if self._several and not self._asked:
      self._turns += 1
      self._asked = multihost_utils.reached_preemption_sync_point(self._turns)
    return self._asked

  @contextlib.contextmanager
  def droppable(self):
    """Inside, a signal to stop raises Interrupted at once.

    Not among several processes: the others would wait for this one.
    """
    if self._asked and not self._several:
      raise Interrupted
    self._droppable = not self._several
    try:
      yield
    finally:
      self._droppable = False

  def __enter__(self):
    if threading.current_thread() is threading.main_thread():
      # Several: Ctrl-C ends each process, and the service has SIGTERM.
      numbers = () if self._several else (signal.SIGTERM, signal.SIGINT)
      for number in numbers:
        self._before[number] = signal.signal(number, self._ask)
    return self

  def __exit__(self, *_):
    for number, handler in self._before.items():
      signal.signal(number, handler)

  def _ask(self, number, frame):
    del frame
    if self._asked and number == signal.SIGINT:
      raise KeyboardInterrupt  # the second Ctrl-C means now
    self._asked = True
    if self._droppable:
      self._droppable = False
      raise Interrupted
