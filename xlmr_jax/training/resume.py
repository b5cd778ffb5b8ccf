"""Whether a run goes on: what its workdir remembers, and what may change.

A run goes on where it stood when the same command is given again. Settings
that say where and how it is computed, where its data lie and when it is saved
may differ: the parameters, the rows of every step and the meaning of each are
the same. It may also become longer. Whatever else differs is refused with its
name, or accepted where the user says so.
"""

import json
import pathlib

from xlmr_jax.runtime import storage

# Settings of what is shown, not of what is computed.
SHOWN = ('log_every', 'progress', 'peak_tflops')
# Settings of when something is saved or judged; what is learned is the same.
FREE = ('eval_every', 'patience', 'save_every')
# Where data and checkpoints lie: what is in them is compared, in `check_meta`.
PLACES = (
  'corpus',
  'data_dir',
  'dev',
  'init',
  'parallel',
  'tokenizer',
  'train',
)
# A run may become longer: its rate follows the longer schedule from then on.
LENGTHS = ('epochs', 'steps')
# Settings of how and where it is computed, and of what follows an error.
PLACED = (
  'accumulate',
  'attention',
  'cache_dir',
  'loss_chunk',
  'max_bad',
  'mesh',
  'on_bad',
  'remat',
  'scan',
  'slices',
  'spike',
  'topology',
)


def plain(config) -> dict:
  """A ConfigDict as JSON has it."""
  return json.loads(config.to_json_best_effort())


def remember(workdir: pathlib.Path, config) -> None:
  """Writes the config of the run into its workdir."""
  storage.write_json(workdir / 'config.json', plain(config))


def compare_settings(
  workdir, config, *, accept: bool = False
) -> tuple[list[str], list[str]]:
  """Compares the settings of a run with those that it began with.

  Args:
    workdir: of the run.
    config: the settings now.
    accept: go on though it becomes another run.

  Returns:
    (differences that were accepted, differences that are allowed and said),
    each as 'name (there x, now y)'.

  Raises:
    ValueError: with the settings that make it another run.
  """
  path = pathlib.Path(workdir) / 'config.json'
  if not path.exists():
    return [], []
  refused: list[str] = []
  allowed: list[str] = []

  def compare(now, before, prefix):
    for key in sorted(now.keys() | before.keys()):
      name = prefix + key
      if name in SHOWN or name in PLACED:
        continue
      x, y = now.get(key), before.get(key)
      if isinstance(x, dict) and isinstance(y, dict):
        compare(x, y, name + '.')
      elif key not in before:
        allowed.append(f'{name} ({x!r}; the run began before this setting)')
      elif x != y:
        longer = name in LENGTHS and _is_longer(x, y)
        free = name in FREE or name in PLACES or longer
        (allowed if free else refused).append(
          f'{name} (there {y!r}, now {x!r})'
        )

  compare(plain(config), json.loads(path.read_text()), '')
  if refused and not accept:
    raise ValueError(
      f'{workdir} holds a run with another config: {", ".join(refused)}. '
      'Choose another --workdir, give the same settings, or accept the change '
      'with --accept_changes'
    )
  return refused, allowed


def _is_longer(now, before) -> bool:
  numbers = all(isinstance(x, int | float) for x in (now, before))
  return numbers and 0 < before < now


def is_stale(progress: dict, config) -> bool:
  """Whether a run ends because its score has not risen for long enough."""
  return 0 < config.patience <= progress['stale']


def check_meta(workdir, meta: dict, now: dict, *, accept: bool) -> list[str]:
  """Compares the data of a saved step with the data of this run.

  Args:
    workdir: of the run.
    meta: the step's.
    now: {'trained_on': {name: digest}, 'rows': rows of a batch}.
    accept: go on all the same.

  Returns:
    The differences that were accepted.

  Raises:
    ValueError: other data, another tokenizer or other batches.
  """
  theirs = meta.get('trained_on') or {}
  differ = [
    name
    for name, digest in now['trained_on'].items()
    if name in theirs and theirs[name] != digest
  ]
  if differ and not accept:
    raise ValueError(
      f'{workdir} was trained on other data, or with another tokenizer, than '
      f'its settings name now: {" and ".join(differ)} changed. Bring the files '
      'back, choose another --workdir, or accept it with --accept_changes'
    )
  if meta.get('rows') != now['rows']:
    change = f'{meta.get("rows")} rows in a batch there, {now["rows"]} now'
    if not accept:
      raise ValueError(
        f'{workdir}: {change}: the mesh and the accumulation must divide the '
        'same number of rows, or steps would hold other examples. Change '
        'them, or accept it with --accept_changes'
      )
    differ.append(change)
  return differ
