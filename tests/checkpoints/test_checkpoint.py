"""Checkpoints of a run: what is refused, and what a crash leaves."""

import dataclasses
import json
import resource
import shutil
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
import pytest

import xlmr_jax
from xlmr_jax import heads, model
from xlmr_jax.checkpoints import checkpoint_steps, native, orbax_arrays
from xlmr_jax.checkpoints.weights import Weights
from xlmr_jax.eval.suite import trainings
from xlmr_jax.runtime import sharding
from xlmr_jax.training import optim

CONFIG = model.Config(
  vocab_size=90,
  num_layers=2,
  model_dim=16,
  num_heads=2,
  ff_dim=32,
  max_positions=34,
)


def start(config=CONFIG, head='classify', classes=3, seed=0):
  """(params, state) of a run."""
  params = jax.jit(lambda key: heads.init(config, key, head, classes))(
    jax.random.key(seed)
  )
  return params, {'opt': optimizer(params, config, head).init(params)}


def optimizer(params, config, head):
  return optim.adamw(
    1e-3,
    mask=optim.decays(params, heads.plan(config, head)),
    factors=optim.scales(params, config.num_layers, 1.0),
  )


def wanted(config=CONFIG, head='classify', classes=3):
  """What `restore` is asked for: shapes with shardings."""
  mesh = sharding.make_mesh()
  params, state = jax.eval_shape(lambda: start(config, head, classes))
  layout = sharding.shardings(params, heads.plan(config, head), mesh)
  state_layout = sharding.like(state, layout, mesh)
  return (
    sharding.abstract(params, layout),
    sharding.abstract(state, state_layout),
  )


META = {'best_step': None, 'best_score': None, 'stale': 0}


@pytest.fixture
def workdir(tmp_path):
  """A run that was saved at steps 2 (the best) and 4."""
  weights = Weights(CONFIG, {}, head='classify', labels=('a', 'b', 'c'))
  native.write_description(tmp_path, weights)
  params, state = start()
  with checkpoint_steps.Manager(tmp_path) as manager:
    manager.save(2, params, state, {**META, 'best_step': 2})
    params = jax.tree.map(lambda p: p + 1, params)
    manager.save(4, params, state, {**META, 'best_step': 2, 'stale': 1})
  return tmp_path


def kept(workdir):
  return sorted(p.name for p in (workdir / 'checkpoints').iterdir())


def assert_step(workdir, step, plus):
  """A step restores, and holds the first parameters plus a number."""
  with checkpoint_steps.Manager(workdir) as manager:
    assert manager.latest_step() == step
    params, state, meta = manager.restore(step, *wanted())
  first, first_state = start()
  expected = jax.tree.map(lambda p: p + plus, first)
  jax.tree.map(np.testing.assert_array_equal, params, expected)
  jax.tree.map(np.testing.assert_array_equal, state, first_state)
  return meta


def test_restore_is_exact(workdir):
  assert kept(workdir) == ['2', '4']
  assert assert_step(workdir, 4, 1) == {**META, 'best_step': 2, 'stale': 1}
  scale = xlmr_jax.load(workdir).params['encoder']['embed']['norm']['scale']
  np.testing.assert_array_equal(scale, 1)  # the best, not the latest


@pytest.mark.parametrize(
  'change, message',
  [
    ({'num_layers': 3}, 'encoder/layers/.* is shape .2, .*this run needs .3, '),
    ({'vocab_size': 91}, r'encoder/embed/tokens is shape \(90, 16\), this run'),
    ({'vocab_multiple': 64}, r'this run needs \(128, 16\)'),
    ({'param_dtype': 'bfloat16'}, 'is dtype float32, this run needs bfloat16'),
    ({'ff_dim': 64}, r'ff/.* is shape .*another model'),
    ({'head': 'mlm'}, 'params: the checkpoint has no head/bias'),
    ({'classes': 2}, r'head/out/.* is shape .*3.*, this run needs .*2'),
  ],
)
def test_a_checkpoint_of_another_model_is_refused(workdir, change, message):
  """Orbax would cast the dtype and say nothing."""
  head = change.pop('head', 'classify')
  classes = change.pop('classes', 3)
  config = dataclasses.replace(CONFIG, **change)
  with checkpoint_steps.Manager(workdir) as manager:
    with pytest.raises(ValueError, match=message) as error:
      manager.restore(4, *wanted(config, head, classes))
  assert str(error.value).startswith('checkpoint 4, params: ')
  assert '\n' not in str(error.value)
  assert_step(workdir, 4, 1)


def test_another_optimizers_state_is_refused(workdir):
  params, state = wanted()
  with checkpoint_steps.Manager(workdir) as manager:
    with pytest.raises(ValueError, match='checkpoint 4, state: .*momentum'):
      manager.restore(4, params, {**state, 'momentum': state['opt']})


def test_old_steps_go_once_the_new_one_is_whole(workdir):
  params, state = start()
  with checkpoint_steps.Manager(workdir) as manager:
    manager.restore(4, *wanted())
    for step in (6, 8):
      more = jax.tree.map(lambda p, n=step: p + n, params)
      manager.save(step, more, state, {**META, 'best_step': 2})
  assert kept(workdir) == ['2', '8']
  with checkpoint_steps.Manager(workdir) as manager:
    manager.restore(8, *wanted())
    more = jax.tree.map(lambda p: p + 9, params)
    manager.save(9, more, state, {**META, 'best_step': 9})
  assert kept(workdir) == ['9']
  assert_step(workdir, 9, 9)


def test_what_is_found_later_is_written_into_the_same_step(workdir):
  params, state = start()
  with checkpoint_steps.Manager(workdir) as manager:
    manager.restore(4, *wanted())
    manager.save(4, params, state, {**META, 'best_step': 4})
    assert manager.best_step() == 4
  assert kept(workdir) == ['4']
  assert assert_step(workdir, 4, 1) == {**META, 'best_step': 4}
  scale = xlmr_jax.load(workdir).params['encoder']['embed']['norm']['scale']
  np.testing.assert_array_equal(scale, 2)


def test_a_kill_in_the_middle_of_a_save(workdir):
  """Only a temporary name is left; what was there loads."""
  folder = workdir / 'checkpoints'
  for name in ('6.orbax-checkpoint-tmp', '6.orbax-checkpoint-tmp-1234'):
    shutil.copytree(folder / '4', folder / name)
    shutil.rmtree(folder / name / 'state')
  assert_step(workdir, 4, 1)
  xlmr_jax.load(workdir)
  params, state = start()
  with checkpoint_steps.Manager(workdir) as manager:
    manager.restore(4, *wanted())
    six = jax.tree.map(lambda p: p + 6, params)
    manager.save(6, six, state, {**META, 'best_step': 2})
  assert assert_step(workdir, 6, 6)['best_step'] == 2


def test_a_kill_in_the_middle_of_a_deletion(workdir):
  """Half of an old step is in nobody's way."""
  folder = workdir / 'checkpoints'
  shutil.copytree(folder / '2', folder / '1')
  shutil.rmtree(folder / '1' / 'params' / 'd')
  shutil.rmtree(folder / '1' / 'state')
  (folder / '1' / 'commit_success.txt').unlink(missing_ok=True)
  assert_step(workdir, 4, 1)
  xlmr_jax.load(workdir)
  params, state = start()
  with checkpoint_steps.Manager(workdir) as manager:
    manager.restore(4, *wanted())
    manager.save(6, params, state, {**META, 'best_step': 2})
  assert kept(workdir) == ['2', '6']


def test_what_is_deleted_is_no_step_any_more(workdir, monkeypatch):
  """Killed before anything is deleted: the next run does it."""
  params, state = start()
  with monkeypatch.context() as m:
    m.setattr(checkpoint_steps.shutil, 'rmtree', lambda *_, **__: None)
    with checkpoint_steps.Manager(workdir) as manager:
      manager.restore(4, *wanted())
      manager.save(6, params, state, {**META, 'best_step': 2})
    assert kept(workdir) == ['.deleted', '2', '6']
  with checkpoint_steps.Manager(workdir) as manager:
    assert manager.latest_step() == 6
    manager.restore(6, *wanted())
    manager.save(7, params, state, {**META, 'best_step': 2})
  assert kept(workdir) == ['2', '7']


def test_a_full_disk_leaves_the_step_before(workdir):
  params, state = start()
  big = jax.random.normal(jax.random.key(0), (50_000,))
  before = resource.getrlimit(resource.RLIMIT_FSIZE)
  manager = checkpoint_steps.Manager(workdir)
  try:
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, before[1]))
    message = r'File too large \(saving a checkpoint; step 4 is whole\)'
    with pytest.raises(OSError, match=message) as error:
      manager.restore(4, *wanted())
      manager.save(6, {**params, 'big': big}, state, {**META, 'best_step': 2})
      manager.close()
  finally:
    resource.setrlimit(resource.RLIMIT_FSIZE, before)
  assert error.value.filename == str(workdir / 'checkpoints')
  assert_step(workdir, 4, 1)
  assert xlmr_jax.load(workdir).labels == ('a', 'b', 'c')
  with checkpoint_steps.Manager(
    workdir
  ) as manager:  # and the place is free again
    manager.restore(4, *wanted())
    six = jax.tree.map(lambda p: p + 6, params)
    manager.save(6, six, state, {**META, 'best_step': 2})
  assert_step(workdir, 6, 6)


def test_a_damaged_file_is_an_error(workdir):
  for path in (workdir / 'checkpoints' / '4' / 'params' / 'd').iterdir():
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
  with checkpoint_steps.Manager(workdir) as manager:
    with pytest.raises(ValueError, match='OUT_OF_RANGE|DATA_LOSS|truncated'):
      manager.restore(4, *wanted())


def test_nothing_saved_yet(tmp_path):
  weights = Weights(CONFIG, {}, head='classify', labels=('a', 'b', 'c'))
  native.write_description(tmp_path, weights)
  with pytest.raises(ValueError, match='no finished checkpoint yet'):
    xlmr_jax.load(tmp_path)
  with checkpoint_steps.Manager(tmp_path) as manager:
    assert manager.latest_step() is manager.best_step() is None
  with pytest.raises(ValueError, match='no finished checkpoint yet'):
    xlmr_jax.load(tmp_path)


def test_a_description_that_does_not_fit_its_arrays(workdir):
  path = workdir / native.MODEL
  facts = json.loads(path.read_text())
  facts['config']['num_layers'] = 3
  path.write_text(json.dumps(facts))
  with pytest.raises(ValueError, match=r'has shape \(2, .*its config says'):
    xlmr_jax.load(workdir)


def test_arrays_of_any_dtype_survive(tmp_path):
  config = dataclasses.replace(CONFIG, param_dtype='bfloat16')
  params, state = start(config)
  with checkpoint_steps.Manager(tmp_path) as manager:
    manager.save(1, params, state, META)
  with checkpoint_steps.Manager(tmp_path) as manager:
    again, _, _ = manager.restore(1, *wanted(config))
  table = again['encoder']['embed']['tokens']
  assert table.dtype == jnp.bfloat16
  jax.tree.map(np.testing.assert_array_equal, again, params)


def test_a_step_is_written_in_chunks(tmp_path, monkeypatch):
  """orbax would keep a whole table, compressed, in memory."""
  monkeypatch.setattr(orbax_arrays, 'CHUNK', 4096)
  config = dataclasses.replace(CONFIG, vocab_size=1500)
  params, state = start(config)
  with checkpoint_steps.Manager(tmp_path) as manager:
    manager.save(1, params, state, META)
  step = tmp_path / 'checkpoints' / '1'
  table = orbax_arrays.find(step / 'params')['encoder']['embed']['tokens']
  assert table.nbytes == 96_000
  chunk = table.store.chunk_layout.write_chunk.shape
  assert np.prod(chunk) * 4 <= 4096
  for item in ('params', 'state'):
    sizes = [x.stat().st_size for x in (step / item).rglob('d/*')]
    assert sizes and max(sizes) < 3 * 4096, item
  with checkpoint_steps.Manager(tmp_path) as manager:
    again, _, _ = manager.restore(1, *wanted(config))
  jax.tree.map(np.testing.assert_array_equal, again, params)


# ── Whether a run is through, without a device ────────────────────────────


def test_last_meta_is_the_latest_steps(workdir):
  """After every kind of save, and only of steps that are whole."""

  def latest():
    with checkpoint_steps.Manager(workdir, read_only=True) as manager:
      return manager.meta(manager.latest_step())

  first = {**META, 'best_step': 2, 'stale': 1}
  assert checkpoint_steps.last_meta(workdir) == latest() == first
  params, state = start()
  with checkpoint_steps.Manager(workdir) as manager:
    manager.restore(4, *wanted())
    # 10 comes after 4, though not by its letters.
    manager.save(10, params, state, {**META, 'best_step': 2, 'name': '完'})
    manager.wait()
    last = checkpoint_steps.last_meta(workdir)
    assert last == manager.meta(10) == {**META, 'best_step': 2, 'name': '完'}
    manager.save(10, params, state, {**META, 'best_step': 10, 'finished': True})
  assert kept(workdir) == ['10']
  assert checkpoint_steps.last_meta(workdir) == latest()
  assert checkpoint_steps.last_meta(workdir) == {
    **META,
    'best_step': 10,
    'finished': True,
  }


def test_last_meta_of_no_whole_step(workdir, tmp_path):
  """What a kill leaves, in a save or in a deletion, is no step."""
  folder = workdir / 'checkpoints'
  first = checkpoint_steps.last_meta(workdir)
  written = f'6{ocp.utils.TMP_DIR_SUFFIX}1234'
  for name in (written, '6.orbax-checkpoint-tmp'):
    shutil.copytree(folder / '4', folder / name)
    text = json.dumps({**META, 'finished': True})
    (folder / name / 'meta' / 'metadata').write_text(text)
  shutil.copytree(folder / '4', folder / checkpoint_steps._GONE / '8')
  with checkpoint_steps.Manager(workdir, read_only=True) as manager:
    assert checkpoint_steps.last_meta(workdir) == manager.meta(
      manager.latest_step()
    )
  assert checkpoint_steps.last_meta(workdir) == first
  for name in ('2', '4'):
    shutil.rmtree(folder / name)
  assert checkpoint_steps.last_meta(workdir) == {}
  assert not trainings.finished(workdir)
  shutil.rmtree(folder)
  assert (
    checkpoint_steps.last_meta(workdir)
    == checkpoint_steps.last_meta(tmp_path / 'none')
    == {}
  )


def test_nobody_needs_a_device_to_see_that_a_run_is_through(workdir):
  """A benchmark looks before its trainings start, which want the devices."""
  code = (
    'import sys; from jax._src import xla_bridge; '
    'from xlmr_jax.eval.suite import trainings; '
    'print(trainings.finished(sys.argv[1]), len(xla_bridge._backends)); '
    'import jax; jax.devices(); print(len(xla_bridge._backends))'
  )

  def seen():
    command = [sys.executable, '-c', code, str(workdir)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return done.stdout.split()

  # Nothing was there until somebody asked for it.
  assert seen() == ['False', '0', '1']
  params, state = start()
  with checkpoint_steps.Manager(workdir) as manager:
    manager.restore(4, *wanted())
    manager.save(4, params, state, {**META, 'finished': True})
  assert seen() == ['True', '0', '1']


def test_the_workdir_of_a_benchmark_is_not_a_model(workdir, tmp_path_factory):
  whole = tmp_path_factory.mktemp('whole')
  (whole / 'config.json').write_text('{"benchmark": "xtreme"}')
  for name in ('udpos-0', 'panx-0'):
    shutil.copytree(workdir, whole / 'runs' / name)
  told = r'benchmark: name one of its models, .*panx-0 or another of udpos-0$'
  with pytest.raises(ValueError, match=told):
    xlmr_jax.load(whole)
  xlmr_jax.load(whole / 'runs' / 'panx-0')
