"""Whether a run goes on: what its workdir remembers, and what may change.

A run goes on where it stood when the same command is given again. Settings
that say where and how it is computed may differ: the parameters, the rows of
every step and the meaning of each are the same. Whatever else differs is
refused with its name, or accepted where the user says so.
"""

import json
import pathlib

from xlmr_jax.runtime import storage

# Settings of what is shown, not of what is computed.
SHOWN = ('log_every', 'progress', 'peak_tflops')
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


def differences(workdir: pathlib.Path, config) -> list[str]:
  """The settings that make it another run, as 'name (there x, now y)'."""
  path = pathlib.Path(workdir) / 'config.json'
  if not path.exists():
    return []
  theirs = json.loads(path.read_text())
  differ = []

  def compare(a, b, prefix):
    for key in sorted(a.keys() | b.keys()):
      name = prefix + key
      if name in SHOWN or name in PLACED:
        continue
      x, y = a.get(key), b.get(key)
      if isinstance(x, dict) and isinstance(y, dict):
        compare(x, y, name + '.')
      elif x != y:
        differ.append(f'{name} (there {y!r}, now {x!r})')

  compare(plain(config), theirs, '')
  return differ


def refuse_other(workdir, config, *, accept: bool = False) -> list[str]:
  """Refuses a workdir in which another config was trained.

  Args:
    workdir: of the run.
    config: the settings now.
    accept: go on all the same.

  Returns:
    The differences that were accepted.

  Raises:
    ValueError: with the settings that differ.
  """
  differ = differences(pathlib.Path(workdir), config)
  if differ and not accept:
    raise ValueError(
      f'{workdir} holds a run with another config: {", ".join(differ)}. '
      'Choose another --workdir, give the same settings, or accept the change '
      'with --accept_changes'
    )
  return differ


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
    if theirs.get(name) != digest
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
