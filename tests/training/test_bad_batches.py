"""A loss that is not finite, or far too high: stop, skip or roll back."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tiny_runs import (
  SIZES,
  assert_same_run,
  flat,
  recipe,
  records,
  settings,
  steps,
  write_data,
)

from configs import common, finetune
from xlmr_jax import heads, train
from xlmr_jax.model import Config
from xlmr_jax.runtime import hosts, sharding
from xlmr_jax.training import step
from xlmr_jax.training.objectives import Objective

CONFIG = Config(
  vocab_size=8,
  num_layers=1,
  model_dim=4,
  num_heads=1,
  ff_dim=4,
  max_positions=6,
)


def given_losses(params, batch, key):
  """A loss that the batch names, with a gradient of 1 for one bias."""
  del key
  bias = params['head']['out']['bias'].sum()
  losses = batch['loss'] + bias - jax.lax.stop_gradient(bias)
  return {'loss': (losses, jnp.ones_like(losses))}


def stepper(model=CONFIG, **changes):
  """A function from the rows' losses to the metrics of a step."""
  config = common.base()
  config.update(changes)
  config.optim.warmup = 0
  mesh = sharding.make_mesh()
  fresh = lambda key: heads.init(model, key, 'classify', 2)
  objective = Objective('classify', given_losses)
  made = step.build(model, objective, config, 1000, mesh, fresh=fresh)
  params = jax.jit(fresh, out_shardings=made.layout)(jax.random.key(0))
  kept = [params, made.fresh_state(params)]

  def run(*losses):
    with jax.set_mesh(mesh):
      batch = {
        'loss': np.array(losses, np.float32),
        'segments': np.ones((len(losses), 4), np.int32),
      }
      *kept[:], metrics = made.update(*kept, sharding.place_batch(batch, mesh))
    return jax.device_get(metrics)

  return run, lambda: (flat(kept[0]), flat(kept[1]))


@pytest.mark.parametrize(
  'losses, bad, row',
  [
    ((1, 2, 3), step.FINE, 2),
    ((1, np.nan, 3), step.LOSS, 1),
    ((1, 2, -np.inf), step.LOSS, 2),
  ],
)
def test_which_row(losses, bad, row):
  run, _ = stepper()
  got = run(*losses)
  assert (got['bad'], got['row']) == (bad, row)
  if bad:
    assert f'row {row} of the batch is not finite' in step.describe(got)


def test_a_skipped_step_changes_nothing_but_its_number():
  run, kept = stepper(on_bad='skip')
  run(1, 2)
  params, state = kept()
  assert run(1, np.inf)['bad'] == step.LOSS
  after, after_state = kept()
  for name, value in params.items():
    assert after[name].tobytes() == value.tobytes(), name
  changed = {n for n in state if after_state[n].tobytes() != state[n].tobytes()}
  assert changed == {'step'}
  run(1, 2)
  assert (kept()[0]['head/out/bias'] != after['head/out/bias']).all()


def test_without_skipping_a_bad_step_is_not_guarded():
  run, kept = stepper()
  run(np.nan, 1)
  assert np.isfinite(kept()[0]['head/out/bias']).all()  # its gradient was 1
  assert kept()[1]['step'] == 1


def test_a_spike_is_seen_after_a_hundred_steps_and_does_not_move_the_mean():
  run, kept = stepper(spike=6.0, on_bad='skip')
  draw = np.random.default_rng(0)
  losses = 5 + 0.5 * draw.standard_normal(200)
  assert run(50.0)['bad'] == step.FINE  # nothing to judge it by yet
  run, kept = stepper(spike=6.0, on_bad='skip')
  for loss in losses[:150]:
    assert run(loss, loss)['bad'] == step.FINE
  state = kept()[1]
  mean, square = state['loss/mean'], state['loss/square']
  # The running mean of NumPy, with the same weights.
  m = s = 0.0
  for n, loss in enumerate(np.float32(losses[:150])):
    weight = 1 / min(n + 1, 100)
    m, s = m + weight * (loss - m), s + weight * (loss**2 - s)
  np.testing.assert_allclose([mean, square], [m, s], rtol=1e-4)
  limit = m + 6 * np.sqrt(s - m**2)
  assert run(limit * 0.999, limit * 0.999)['bad'] == step.FINE
  before = kept()
  got = run(1.0, 3 * limit)
  assert (got['bad'], got['row']) == (step.SPIKE, 1)
  assert 'far above' in step.describe(got)
  for name in ('loss/mean', 'loss/square', 'loss/n'):
    assert kept()[1][name] == before[1][name]
  assert run(losses[150], losses[150])['bad'] == step.FINE


def test_micro_batches_are_summed_in_float32():
  """512 gradients of 1: in bfloat16 256 + 1 is 256."""
  model = dataclasses.replace(CONFIG, param_dtype='bfloat16')
  run, kept = stepper(model, accumulate=512)
  assert kept()[0]['head/out/bias'].dtype == jnp.bfloat16
  got = run(*[1.0] * 512)  # a bias of two classes, each with a mean of 1
  np.testing.assert_allclose(got['grad_norm'], np.sqrt(2), rtol=1e-6)
  assert kept()[0]['head/out/bias'].dtype == jnp.bfloat16


def test_a_flat_loss_is_not_all_spikes():
  run, _ = stepper(spike=4.0)
  for _ in range(120):
    run(2.0)
  assert run(2.0 * 1.07)['bad'] == step.FINE  # 2 % is the least deviation
  assert run(2.0 * 1.09)['bad'] == step.SPIKE


# ── In the loop ───────────────────────────────────────────────────────────


@pytest.fixture(scope='module')
def poisoned(tmp_path_factory, tiny_tokenizer, make_model):
  """A model with one embedding that is not finite, and who uses it.

  Returns (settings, the batches and rows that hold it).
  """
  folder = tmp_path_factory.mktemp('poisoned')
  write_data(folder)
  bad = make_model(tiny_tokenizer, labels=('no', 'yes'), **SIZES)
  unk = bad.tokenizer.unk_id
  tokens = bad.params['encoder']['embed']['tokens']
  bad.params['encoder']['embed']['tokens'] = tokens.at[unk].set(np.nan)
  bad.save(folder / 'model')
  lines = (folder / 'train.tsv').read_text('utf-8').splitlines()
  lines[70] = 'man Ω cat\tyes'
  (folder / 'train.tsv').write_text('\n'.join(lines), 'utf-8')
  given = settings(folder, tiny_tokenizer)
  for name in SIZES:
    given[finetune].pop(f'sizes.{name}')
  given[finetune].update(init=str(folder / 'model'), tokenizer='', epochs=3)
  config = recipe(given, finetune)
  loader = train.build_job(config, folder / 'x', sharding.make_mesh()).loader
  hits = {
    index: int(rows[0])
    for index in range(45)
    if (
      rows := np.flatnonzero((loader.batch(index)['tokens'] == unk).any(1))
    ).size
  }
  assert len(hits) > 3
  return given, hits, loader


def events(workdir):
  lines = (workdir / 'events.jsonl').read_text().splitlines()
  return [json.loads(line) for line in lines]


def finite(workdir, but=3):
  """Whether all parameters of the last step are, but a row of the table."""
  kept = steps(workdir)
  for name, value in kept[max(kept)]['params'].items():
    if name == 'encoder/embed/tokens':
      value = np.delete(value, but, axis=0)
    if not np.isfinite(value).all():
      return False
  return True


def test_skipping(poisoned, tmp_path):
  given, hits, loader = poisoned
  last = train.train(recipe(given, finetune, on_bad='skip'), tmp_path)
  assert np.isfinite(last['dev_accuracy']) and finite(tmp_path)
  seen = events(tmp_path)
  assert [e['step'] for e in seen] == [i + 1 for i in hits if i < 30]
  for event in seen:
    row = hits[event['step'] - 1]
    assert event['answer'] == 'skip'
    assert event['what'] == (
      f'the loss of row {row} of the batch is not finite'
    )
    identity = loader.identity(event['step'] - 1, row)
    assert event['batch'] == f'batch {event["step"] - 1}, row {row}: {identity}'
    assert '69' in identity  # the line's number, without the header
  bad = set(e['step'] for e in seen)
  assert not bad & {r['step'] for r in records(tmp_path) if 'loss' in r}


def test_a_skipped_batch_does_not_count_as_padding(poisoned, tmp_path):
  given, hits, loader = poisoned
  train.train(recipe(given, finetune, on_bad='skip', log_every=5), tmp_path)
  log = {r['step']: r for r in records(tmp_path) if 'loss' in r}
  first, mixed = 0, 0
  for last in sorted(log):
    good = [i for i in range(first, last) if i not in hits]
    mixed += len(good) < last - first
    batches = [loader.batch(i)['segments'] > 0 for i in good]
    want = 100 * np.mean(np.stack(batches))
    np.testing.assert_allclose(log[last]['packing_efficiency'], want)
    first = last
  assert mixed


def test_a_roll_back_is_no_step_back_for_the_preemption_service(
  poisoned, tmp_path, monkeypatch
):
  """Its numbers may only grow, or hosts miss each other's stop."""
  given, *_ = poisoned
  numbers = []

  class Stop(hosts.Stop):
    def __init__(self):
      super().__init__()
      self._several = True

  def sync_point(number):
    numbers.append(number)
    return False

  service = hosts.multihost_utils
  monkeypatch.setattr(service, 'reached_preemption_sync_point', sync_point)
  monkeypatch.setattr(hosts, 'Stop', Stop)
  config = recipe(given, finetune, on_bad='roll_back', save_every=4)
  train.train(config, tmp_path)
  assert len(numbers) > 30  # some steps came twice
  assert (np.diff(numbers) > 0).all()


def test_rolling_back_passes_over_the_batches_until_after_it(
  poisoned, tmp_path, monkeypatch
):
  given, hits, _ = poisoned
  given = {
    finetune: {**given[finetune], 'save_every': 4, 'on_bad': 'roll_back'}
  }
  used = []
  place = sharding.place_batch

  def patched(batch, mesh, rows):
    used.append(batch['tokens'].copy())
    return place(batch, mesh, rows)

  with monkeypatch.context() as patch:
    patch.setattr(sharding, 'place_batch', patched)
    train.train(recipe(given, finetune), tmp_path / 'a')
  assert finite(tmp_path / 'a')
  kept = steps(tmp_path / 'a')
  meta = kept[30]['meta']
  # Batches as arithmetic has it: at a bad one, back to the last save.
  shift = bad = 0
  at, want = 0, []
  saved = {0: 0}
  while at < 30:
    index = at + shift
    want.append(index)
    if index in hits:
      bad += 1
      at = max(s for s in saved if s <= at)
      shift = index + 1 - at
      continue
    at += 1
    if at % 4 == 0 or at % 16 == 0:
      saved[at] = shift
  assert (meta['shift'], meta['bad']) == (shift, bad)
  loader = train.build_job(
    recipe(given, finetune), tmp_path / 'x', sharding.make_mesh()
  ).loader
  assert len(used) == len(want)
  for tokens, index in zip(used, want, strict=True):
    np.testing.assert_array_equal(tokens, loader.batch(index)['tokens'])
  assert [r['step'] for r in records(tmp_path / 'a') if 'loss' in r] == list(
    range(1, 31)
  )
  # Stopped on the way and gone on: the same run.
  calls = []

  def stopping(batch, mesh, rows):
    calls.append(0)
    if len(calls) == len(want) - 3:
      import signal

      signal.raise_signal(signal.SIGTERM)
    return place(batch, mesh, rows)

  with monkeypatch.context() as patch:
    patch.setattr(sharding, 'place_batch', stopping)
    train.train(recipe(given, finetune), tmp_path / 'b')
  assert not steps(tmp_path / 'b').keys() & {30}
  train.train(recipe(given, finetune), tmp_path / 'b')
  assert_same_run(tmp_path / 'a', tmp_path / 'b')


def test_too_many_bad_ones_stop_the_run(poisoned, tmp_path):
  given, hits, _ = poisoned
  config = recipe(given, finetune, on_bad='skip', max_bad=1)
  second = sorted(hits)[1]
  with pytest.raises(FloatingPointError, match=rf'step {second} .*max_bad=1'):
    train.train(config, tmp_path)


def test_an_unknown_answer(poisoned, tmp_path):
  given, *_ = poisoned
  with pytest.raises(ValueError, match="config.on_bad='ignore' is not one of"):
    train.train(recipe(given, finetune, on_bad='ignore'), tmp_path)
