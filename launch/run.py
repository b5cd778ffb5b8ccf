"""Runs a training command and says by its exit status how it ended.

  0      the run is finished
  75     it was stopped and has saved its state: start it again
  other  it failed, with the command's own status

The command itself ends with 0 in the first two cases, and what restarts pods
or units must tell them apart. A SIGTERM is passed on to the command.

  python launch/run.py python -m xlmr_jax.train --config=... --workdir=DIR
  python launch/run.py --finished DIR   # only asks: 0 yes, 1 no

It needs nothing but Python 3.8. (In bash it cannot be written: a signal may
make `wait` lose the command's status.)
"""

import json
import pathlib
import signal
import subprocess
import sys

STOPPED = 75  # EX_TEMPFAIL of sysexits.h


def finished(workdir):
  """What the latest whole step of a workdir says of itself."""
  # A step in the making has a name that is not a number.
  steps = pathlib.Path(workdir, 'checkpoints').glob('*')
  steps = [path for path in steps if path.name.isdecimal()]
  if not steps:
    return False
  latest = max(steps, key=lambda path: int(path.name))
  try:
    meta = json.loads((latest / 'meta' / 'metadata').read_text('utf-8'))
  except (OSError, ValueError):
    return False
  return meta.get('finished') is True


def given(words):
  """The value of --workdir among a command's words."""
  for at, word in enumerate(words):
    if word.startswith('--workdir='):
      return word.partition('=')[2]
    if word == '--workdir' and words[at + 1 :]:
      return words[at + 1]
  return None


def wait(words):
  """(the command's exit status, whether it was asked to stop)."""
  child = None
  asked = False

  def stop(*_):
    nonlocal asked
    asked = True
    if child is not None:
      child.terminate()

  # Ctrl-C reaches the command as well: it says itself how it takes that.
  signal.signal(signal.SIGINT, lambda *_: None)
  signal.signal(signal.SIGTERM, stop)
  child = subprocess.Popen(words)
  if asked:
    child.terminate()
  status = child.wait()
  signal.signal(signal.SIGTERM, signal.SIG_IGN)  # it has ended: say how
  return status, asked


def main(words):
  if not words or words[0] in ('-h', '--help'):
    print(__doc__.strip())
    return 0 if words else 2
  if words[0] == '--finished':
    return 0 if len(words) > 1 and finished(words[1]) else 1
  workdir = given(words)
  if not workdir:
    print('error: the command has no --workdir=DIR', file=sys.stderr)
    return 2
  status, asked = wait(words)
  if status == 0 and finished(workdir):
    return 0
  # Killed by SIGTERM: it was stopped before it had anything to save.
  if status == 0 or (asked and status == -signal.SIGTERM):
    text = f'stopped: the same command goes on from {workdir}'
    print(text, file=sys.stderr)
    return STOPPED
  return status if status > 0 else 128 - status


if __name__ == '__main__':
  sys.exit(main(sys.argv[1:]))
