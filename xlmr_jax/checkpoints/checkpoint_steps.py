"""The steps a training run saved: the latest and the best stay.

  checkpoints/<step>/params   of the model
  checkpoints/<step>/state    of the optimizer, and counters
  checkpoints/<step>/meta     plain JSON: best step and score, the data it saw

A step is whole or not there: it is written under another name and renamed, and
renamed again before it is deleted.
"""

import json
import os
import pathlib
import shutil

import jax
import orbax.checkpoint as ocp

from xlmr_jax.checkpoints import orbax_arrays
from xlmr_jax.runtime import storage

# Where a step lies while it is deleted, below the steps.
_GONE = '.deleted'


class _Manager(ocp.CheckpointManager):
  """orbax's, but it does not ask JAX's preemption service.

  The service wants numbers that only grow. The train loop asks it before every
  step (runtime/hosts.py); a save would ask with the step's own number, which
  goes back after a roll-back.
  """

  def reached_preemption(self, step: int) -> bool:
    del step
    return False


class Manager:
  """Steps of a training run: the latest and the best stay, the rest go.

  What a step holds: `params`, `state` (optimizer, counters) and `meta`, plain
  JSON with the best step and score so far. Retention is ours: orbax's
  max_to_keep together with best_fn deletes the latest step.
  """

  def __init__(self, workdir, read_only: bool = False):
    folder = pathlib.Path(workdir).absolute() / 'checkpoints'
    options = ocp.CheckpointManagerOptions(
      create=not read_only,
      read_only=read_only,
      enable_async_checkpointing=not read_only,
      # A half deleted step must not look like a step.
      todelete_subdir=None if read_only else _GONE,
    )
    self._folder = folder
    # Steps that stay, once known.
    self._latest: int | None = None
    self._best: int | None = None
    self._empty = read_only and not folder.exists()
    if self._empty:
      return
    self._manager = _Manager(
      folder,
      options=options,
      # Named here, or the metadata of a step another process wrote is None.
      item_handlers={
        'params': ocp.StandardCheckpointHandler(),
        'state': ocp.StandardCheckpointHandler(),
        'meta': ocp.JsonCheckpointHandler(),
      },
    )

  def __enter__(self):
    return self

  def __exit__(self, *_):
    self.close()

  def close(self) -> None:
    """Waits for the running save, and cleans up.

    Raises:
      OSError: it could not be written; the step before it is kept.
    """
    if self._empty:
      return
    try:
      self._finish()
      self._prune()
    finally:
      self._manager.close()

  def _finish(self) -> None:
    # The step that is being saved counts as one of them.
    steps = [s for s in self._manager.all_steps() if s != self._latest]
    whole = f'; step {max(steps)} is whole' if steps else ''
    with orbax_arrays.plain_errors(
      str(self._folder), f' (saving a checkpoint{whole})'
    ):
      self._manager.wait_until_finished()

  def wait(self) -> None:
    """Waits until the running save is whole.

    Raises:
      OSError: it could not be written.
    """
    if not self._empty:
      self._finish()

  def latest_step(self) -> int | None:
    return None if self._empty else self._manager.latest_step()

  def best_step(self) -> int | None:
    """The best step by the latest one's account, else the latest."""
    latest = self.latest_step()
    if latest is None:
      return None
    best = self.meta(latest).get('best_step')
    return best if best in self._manager.all_steps() else latest

  def meta(self, step: int) -> dict:
    args = ocp.args.Composite(meta=ocp.args.JsonRestore())
    return self._manager.restore(step, args=args)['meta']

  def save(self, step: int, params, state, meta: dict) -> None:
    """Saves in the background; older steps go once this one is whole.

    Of an existing step only `meta` is written again.

    Raises:
      OSError: this save or the one before it could not be written.
    """
    self._finish()
    self._prune()
    self._latest, self._best = step, meta.get('best_step')
    if step in self._manager.all_steps():
      if jax.process_index() == 0:
        path = self._folder / str(step) / 'meta' / 'metadata'
        storage.write_text(path, json.dumps(meta))
      return
    with orbax_arrays.plain_errors(str(self._folder)):
      self._manager.save(
        step,
        args=ocp.args.Composite(
          params=ocp.args.StandardSave(params),
          state=ocp.args.StandardSave(state),
          meta=ocp.args.JsonSave(meta),
        ),
        force=True,
      )

  def _prune(self) -> None:
    """Deletes what is neither latest nor best, once the latest is whole."""
    steps = self._manager.all_steps()
    if self._latest not in steps:
      return
    for step in steps:
      if step not in (self._latest, self._best):
        self._manager.delete(step)
    if jax.process_index() == 0:  # also what a killed run began to delete
      shutil.rmtree(self._folder / _GONE, ignore_errors=True)

  def restore(self, step: int, params, state) -> tuple[dict, dict, dict]:
    """(params, state, meta) of a step, in the shardings asked for.

    Args:
      step: a saved step.
      params: ShapeDtypeStructs with shardings.
      state: the same for the rest.

    Raises:
      ValueError: another model's, vocabulary's or dtype's checkpoint.
    """
    stored = self._manager.item_metadata(step)
    for item, wanted in (('params', params), ('state', state)):
      _check_same(stored[item].tree, wanted, f'checkpoint {step}, {item}')
    got = self._manager.restore(
      step,
      args=ocp.args.Composite(
        params=ocp.args.StandardRestore(params),
        state=ocp.args.StandardRestore(state),
        meta=ocp.args.JsonRestore(),
      ),
    )
    self._latest, self._best = step, got['meta'].get('best_step')
    return got['params'], got['state'], got['meta']


def last_meta(workdir) -> dict:
  """`meta` of the latest step, or {}: read without touching a device."""
  folder = pathlib.Path(workdir) / 'checkpoints'
  names = os.listdir(folder) if folder.is_dir() else ()
  steps = [int(name) for name in names if name.isdigit()]
  if not steps:
    return {}
  return read_meta(workdir, max(steps))


def read_meta(workdir, step: int) -> dict:
  """`meta` of a step, read without touching a device."""
  folder = pathlib.Path(workdir) / 'checkpoints' / str(step)
  return json.loads((folder / 'meta' / 'metadata').read_text('utf-8'))


def _check_same(stored, wanted, where: str) -> None:
  """Names the first leaf that differs; orbax casts dtypes silently."""

  def flat(tree):
    return {
      jax.tree_util.keystr(path, simple=True, separator='/'): leaf
      for path, leaf in jax.tree_util.tree_leaves_with_path(tree)
    }

  stored, wanted = flat(stored), flat(wanted)
  for name in sorted(stored.keys() ^ wanted.keys()):
    side = 'the checkpoint' if name in wanted else 'this model'
    raise ValueError(f'{where}: {side} has no {name}: another model wrote it')
  for name, leaf in wanted.items():
    other = stored[name]
    for fact in ('shape', 'dtype'):
      mine, theirs = getattr(leaf, fact), getattr(other, fact)
      if mine != theirs:
        raise ValueError(
          f'{where}: {name} is {fact} {theirs}, this run needs {mine}: '
          'another model, vocabulary or dtype wrote it'
        )
