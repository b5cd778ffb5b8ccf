"""The train loop: resume to the bit, stopping, choosing, starting."""

import dataclasses
import resource
import signal

import jax
import numpy as np
import pytest
from tiny_runs import (
  SIZES,
  Process,
  assert_same_run,
  flat,
  recipe,
  records,
  settings,
  steps,
  write_data,
)

from configs import finetune, pretrain
import xlmr_jax
from xlmr_jax import heads, train
from xlmr_jax.data.tokenizers import train_tokenizer
from xlmr_jax.runtime import logs, sharding
from xlmr_jax.training import resume
from xlmr_jax.training import step as training_step


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
  folder = tmp_path_factory.mktemp('data')
  write_data(folder)
  return folder


@pytest.fixture(scope='module')
def given(folder, tiny_tokenizer):
  return settings(folder, tiny_tokenizer)


@pytest.fixture(scope='module')
def finished(given, tmp_path_factory):
  """Recipe → (workdir, last evaluation) of a run that nothing disturbed."""
  done = {}

  def run(module):
    if module not in done:
      workdir = tmp_path_factory.mktemp('finished') / module.__name__
      done[module] = workdir, train.train(recipe(given, module), workdir)
    return done[module]

  return run


def at_batch(monkeypatch, number, act):
  """Calls act() when the loop hands over its batch of this number."""
  place, seen = sharding.place_batch, []

  def patched(*args):
    seen.append(None)
    if len(seen) == number:
      act()
    return place(*args)

  monkeypatch.setattr(sharding, 'place_batch', patched)


def script(monkeypatch, scores):
  """Evaluations find these scores, one after the other."""
  build = train.build_job

  def next_score(params):
    score = scores.pop(0)
    if isinstance(score, tuple):
      signal.raise_signal(signal.SIGINT)
      raise AssertionError('the evaluation went on')
    return {'dev_accuracy': score}

  def patched(*args):
    return dataclasses.replace(build(*args), evaluators=[next_score])

  monkeypatch.setattr(train, 'build_job', patched)


# ── Stopped and gone on = uninterrupted ───────────────────────────────────


@pytest.mark.parametrize(
  'module, kills', [(finetune, (20, 45)), (pretrain, (9,))]
)
def test_killed_is_uninterrupted(
  given, finished, tmp_path, capsys, module, kills
):
  """After the first evaluation and best-save, and in between."""
  workdir = tmp_path / module.__name__
  for step in kills:
    code, output = Process(given, module, workdir).send(signal.SIGKILL, step)
    assert code == -signal.SIGKILL, output
  capsys.readouterr()
  train.train(recipe(given, module), workdir)
  assert 'resumed from step' in capsys.readouterr().out
  assert_same_run(finished(module)[0], workdir)


def test_sigterm_saves_and_goes_on(given, finished, tmp_path):
  workdir = tmp_path / 'run'
  code, output = Process(given, finetune, workdir).send(signal.SIGTERM, 25)
  assert code == 0, output
  stopped = max(steps(workdir))
  assert 25 <= stopped < 80
  assert output.splitlines()[-1] == (
    f'stopped at step {stopped} of 80: state saved; the same command goes on '
    'from here'
  )
  train.train(recipe(given, finetune), workdir)
  assert_same_run(finished(finetune)[0], workdir)


@pytest.mark.parametrize('step', [16, 41, 80])
def test_ctrl_c_saves_and_goes_on(given, finished, tmp_path, monkeypatch, step):
  """Also before an evaluation is made, and before the last one."""
  with monkeypatch.context() as patch:
    at_batch(patch, step, lambda: signal.raise_signal(signal.SIGINT))
    train.train(recipe(given, finetune), tmp_path)
  assert max(steps(tmp_path)) == step
  last = train.train(recipe(given, finetune), tmp_path)
  assert last == finished(finetune)[1]
  assert_same_run(finished(finetune)[0], tmp_path)


def test_ended_between_a_score_and_its_save(
  given, finished, tmp_path, monkeypatch
):
  """The step is saved before it is judged, and judged again."""
  write = logs.Writer.write

  def last_words(writer, step, values):
    write(writer, step, values)
    if step == 32 and logs.RATE not in values:
      raise RuntimeError('gone')

  with monkeypatch.context() as patch:
    patch.setattr(logs.Writer, 'write', last_words)
    with pytest.raises(RuntimeError, match='gone'):
      train.train(recipe(given, finetune), tmp_path)
  assert max(steps(tmp_path)) == 32
  train.train(recipe(given, finetune), tmp_path)
  assert_same_run(finished(finetune)[0], tmp_path)


def test_a_second_ctrl_c_does_not_wait(given, finished, tmp_path, monkeypatch):
  def twice():
    signal.raise_signal(signal.SIGINT)
    signal.raise_signal(signal.SIGINT)

  before = signal.getsignal(signal.SIGINT)  # ignored in a background job
  with monkeypatch.context() as patch:
    at_batch(patch, 27, twice)
    with pytest.raises(KeyboardInterrupt):
      train.train(recipe(given, finetune), tmp_path)
  assert max(steps(tmp_path)) == 24
  assert signal.getsignal(signal.SIGINT) is before
  train.train(recipe(given, finetune), tmp_path)
  assert_same_run(finished(finetune)[0], tmp_path)


def test_a_full_disk_loses_nothing(given, finished, tmp_path, monkeypatch):
  """No file may grow past a size: what a full disk does, for real."""
  before = resource.getrlimit(resource.RLIMIT_FSIZE)
  fill = lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (4000, before[1]))
  try:
    with monkeypatch.context() as patch:
      at_batch(patch, 20, fill)
      with pytest.raises(OSError, match='File too large'):
        train.train(recipe(given, finetune), tmp_path)
  finally:
    resource.setrlimit(resource.RLIMIT_FSIZE, before)
  assert xlmr_jax.load(tmp_path).labels == ('no', 'yes')
  train.train(recipe(given, finetune), tmp_path)
  assert_same_run(finished(finetune)[0], tmp_path)


def test_a_finished_run_stays_as_it_is(given, finished):
  workdir, _ = finished(finetune)
  before = steps(workdir)
  train.train(recipe(given, finetune, log_every=5), workdir)
  after = steps(workdir)
  assert before.keys() == after.keys() and max(after) == 80
  assert before[80]['meta'] == after[80]['meta']


# ── Choosing ──────────────────────────────────────────────────────────────


def test_best_and_latest_are_kept_and_load_gives_the_best(
  given, tmp_path, monkeypatch
):
  script(monkeypatch, [50.0, 80.0, 60.0, 70.0, 80.0])
  train.train(recipe(given, finetune), tmp_path)
  kept = steps(tmp_path)
  assert set(kept) == {32, 80}
  digests = kept[80]['meta'].pop('trained_on')
  assert [*digests] == [
    'the data or how it is drawn',
    'the data that it is judged by',
  ]
  assert {len(digest) for digest in digests.values()} == {64}
  assert kept[80]['meta'].pop('last')['dev_accuracy'] == 80
  assert kept[80]['meta'] == {
    'best_score': 80,
    'best_step': 32,
    'stale': 3,
    'evaluated': 80,
    'finished': True,
    'shift': 0,
    'bad': 0,
    'rows': kept[80]['meta']['rows'],
  }
  paths = (tmp_path, tmp_path / 'checkpoints' / '80')
  best, latest = (flat(xlmr_jax.load(path).params) for path in paths)
  name = 'encoder/layers/ff/up/kernel'
  np.testing.assert_array_equal(best[name], kept[32]['params'][name])
  np.testing.assert_array_equal(latest[name], kept[80]['params'][name])
  assert (best[name] != latest[name]).any()


def test_patience_stops_and_is_part_of_the_state(given, tmp_path, monkeypatch):
  config = recipe(given, finetune, patience=2)
  with monkeypatch.context() as patch:
    script(patch, [50.0, 80.0, 60.0, 70.0])
    train.train(config, tmp_path / 'a')
  assert set(steps(tmp_path / 'a')) == {32, 64}
  # Stopped while it was judged: the step is saved, and judged again.
  for scores, evaluated, stale in (
    ([50.0, 80.0, (60.0,)], 32, 0),
    ([60.0, (70.0,)], 48, 1),
  ):
    with monkeypatch.context() as patch:
      script(patch, scores)
      train.train(config, tmp_path / 'b')
    kept = steps(tmp_path / 'b')
    meta = kept[max(kept)]['meta']
    assert (meta['evaluated'], meta['stale']) == (evaluated, stale)
  with monkeypatch.context() as patch:
    script(patch, [70.0])
    train.train(config, tmp_path / 'b')
  assert_same_run(tmp_path / 'a', tmp_path / 'b')
  train.train(config, tmp_path / 'b')  # and it stays stopped
  assert_same_run(tmp_path / 'a', tmp_path / 'b')


# ── Learning ──────────────────────────────────────────────────────────────


def test_fine_tuning_learns_and_counts(given, finished):
  workdir, last = finished(finetune)
  scores = {'dev_accuracy', 'dev_accuracy/en', 'dev_accuracy/de'}
  beside = {'dev_macro_f1', 'dev_micro_f1', 'dev_matthews'}
  assert set(last) == {*scores, *beside, 'collapsed'} and not last['collapsed']
  assert last['dev_accuracy'] > 90
  log = records(workdir)
  losses = [r['loss'] for r in log if 'loss' in r]
  assert len(losses) == 80 and np.mean(losses[-5:]) < np.mean(losses[:5]) - 0.1
  assert log[-2]['epoch'] == 8 and log[-2]['step'] == 80
  examples = sum(r['examples_per_step'] for r in log if 'loss' in r)
  assert examples == 8 * 120  # every one in every epoch
  # Warm-up over a tenth of the steps, then down to nothing.
  rates = [r['learning_rate'] for r in log if 'loss' in r]
  assert rates[0] == 0 and rates[8] == max(rates)
  assert rates[8] == pytest.approx(1e-2)
  assert rates[-1] == pytest.approx(1e-2 / 72)


def test_pretraining_learns_and_says_what_knowing_nothing_gives(finished):
  workdir, last = finished(pretrain)
  for language in ('en', 'de', 'ru'):
    assert last[f'unigram/{language}'] > 1
    assert last[f'heldout_loss/{language}'] > 1
  assert last['heldout_loss'] == pytest.approx(
    np.mean([last[f'heldout_loss/{k}'] for k in ('en', 'de', 'ru')])
  )
  judged = [r['heldout_loss'] for r in records(workdir) if 'unigram' in r]
  assert len(judged) == 5 and judged[-1] < judged[0] - 0.1
  assert xlmr_jax.load(workdir).head == 'mlm'


def test_regression_learns(given, tmp_path):
  config = recipe(
    given,
    finetune,
    objective='regression',
    train='numbers.tsv',
    dev='dev-numbers.tsv',
    dev_languages=('en',),
    epochs=4,
    optim__learning_rate=1e-2,
  )
  last = train.train(config, tmp_path)
  log = records(tmp_path)
  losses = [r['loss'] for r in log if 'loss' in r]
  assert np.mean(losses[-5:]) < 0.5 * np.mean(losses[:5])
  judged = {r['step']: r['dev_mse'] for r in log if 'dev_mse' in r}
  assert last['dev_mse'] == judged[40] == last['dev_mse/en']
  meta = steps(tmp_path)[40]['meta']
  assert judged[meta['best_step']] == min(judged.values())
  (number,) = xlmr_jax.load(tmp_path).logits(['man house cat'])[0]
  assert 0 < number < 2


def test_accumulation_layer_decay_and_freezing(given, tmp_path, capsys):
  config = recipe(
    given,
    finetune,
    steps=5,
    accumulate=2,
    optim__layer_decay=0.5,
    optim__freeze=('encoder/embed', 'encoder/layers/attention'),
    optim__warmup=0.0,
  )
  train.train(config, tmp_path)
  assert 'fresh parameters' in capsys.readouterr().out
  mesh = sharding.make_mesh()
  job = train.build_job(config, tmp_path, mesh)
  assert job.loader.rows % 2 == 0 and job.loader.total_steps == 5
  start = flat(jax.jit(job.fresh)(jax.random.key(config.seed)))
  after = steps(tmp_path)[5]['params']
  moved = {}
  for name, value in after.items():
    still = name.startswith(('encoder/embed/', 'encoder/layers/attention/'))
    assert still == (value.tobytes() == start[name].tobytes()), name
    moved[name] = np.abs(value - start[name])
  first, second = moved['encoder/layers/ff/up/kernel']
  assert 1.5 < second.max() / first.max() < 2.5


def test_start_from_a_workdir(given, finished, tmp_path, capsys):
  """The encoder comes along, another head does not."""
  workdir, _ = finished(pretrain)
  config = recipe(given, finetune, init=str(workdir), tokenizer='')
  mesh = sharding.make_mesh()
  job = train.build_job(config, tmp_path, mesh)
  shapes = jax.eval_shape(job.fresh, jax.random.key(0))
  layout = sharding.shardings(shapes, heads.plan(job.model, job.head), mesh)
  capsys.readouterr()  # what was said before, by the first run too
  start = flat(job.start(jax.random.key(0), layout))
  assert capsys.readouterr().out == 'loaded encoder; new: head\n'
  source = flat(xlmr_jax.load(workdir).params)
  for name, value in source.items():
    if name.startswith('encoder/'):
      np.testing.assert_array_equal(start[name][: len(value)], value)
  assert start['encoder/embed/tokens'].shape[0] == 1024
  assert 'head/out/kernel' in start and 'head/out/kernel' not in source


# ── Habits ────────────────────────────────────────────────────────────────


def test_an_implicit_transfer_in_the_loop_raises(given, tmp_path, monkeypatch):
  """Such as rows that nobody placed: the host would wait in every step."""
  monkeypatch.setattr(sharding, 'place_batch', lambda batch, mesh, rows: batch)
  with pytest.raises(jax.errors.JaxRuntimeError, match='Disallowed host-to-d'):
    train.train(recipe(given, finetune, steps=2), tmp_path)


@pytest.mark.parametrize('module', [finetune, pretrain])
def test_the_step_closes_over_no_array_of_a_device(given, tmp_path, module):
  """Compiling would fetch it, which accelerators count as a transfer."""
  config = recipe(given, module, optim__layer_decay=0.9)
  mesh = sharding.make_mesh()
  job = train.build_job(config, tmp_path, mesh)
  made = training_step.build(
    job.model, job.objective, config, 9, mesh, fresh=job.fresh
  )
  batch = {k: v for k, v in job.loader.batch(0).items() if k != 'example'}
  with jax.set_mesh(mesh):
    constants = made.update.trace(*made.abstract(), batch).jaxpr.consts
  assert not [x for x in constants if isinstance(x, jax.Array)]


def test_a_run_begins_with_a_table_of_its_parameters(given, tmp_path, capsys):
  config = recipe(given, finetune, steps=2)
  train.train(config, tmp_path)
  lines = capsys.readouterr().out.splitlines()
  (row,) = (x for x in lines if x.startswith('encoder/layers/ff/up/kernel '))
  assert row.split()[1:7] == ['2', 'x', '16', 'x', '32', '1,024']
  train.train(config, tmp_path)  # only when it begins
  assert 'encoder/layers' not in capsys.readouterr().out


# ── Refusing ──────────────────────────────────────────────────────────────


def test_a_loss_that_is_not_finite_names_step_and_row(
  given, folder, tiny_tokenizer, make_model, tmp_path
):
  """One example uses a token whose embedding is poisoned."""
  bad = make_model(tiny_tokenizer, labels=('no', 'yes'), **SIZES)
  unk = bad.tokenizer.unk_id
  tokens = bad.params['encoder']['embed']['tokens']
  bad.params['encoder']['embed']['tokens'] = tokens.at[unk].set(np.nan)
  bad.save(tmp_path / 'poisoned')
  lines = (folder / 'train.tsv').read_text('utf-8').splitlines()
  lines[70] = 'man Ω cat\tyes'
  (tmp_path / 'train.tsv').write_text('\n'.join(lines), 'utf-8')
  config = recipe(
    given,
    finetune,
    init=str(tmp_path / 'poisoned'),
    tokenizer='',
    train=str(tmp_path / 'train.tsv'),
    save_every=2,
  )
  workdir = tmp_path / 'run'
  loader = train.build_job(config, workdir, sharding.make_mesh()).loader
  hits = [
    (step, row)
    for step in range(10)
    for row in np.flatnonzero((loader.batch(step)['tokens'] == unk).any(1))
  ]
  ((step, row),) = hits
  assert step > 2
  message = rf'row {row} of the batch is not finite at step {step} \(batch'
  for _ in range(2):  # the last checkpoint is whole: the run goes on from it
    with pytest.raises(FloatingPointError, match=message):
      train.train(config, workdir)
    kept = steps(workdir)
    assert max(kept) == step - step % 2
    for name, value in kept[max(kept)]['params'].items():
      if name == 'encoder/embed/tokens':
        value = np.delete(value, unk, axis=0)
      assert np.isfinite(value).all(), name
    assert [r['step'] for r in records(workdir)][-1] == step


def test_another_config_in_the_workdir(given, finished):
  workdir, _ = finished(finetune)
  before = records(workdir)
  changed = recipe(
    given, finetune, seed=1, optim__learning_rate=0.1, dev_languages=('en',)
  )
  with pytest.raises(ValueError) as error:
    train.train(changed, workdir)
  text = str(error.value)
  for part in (
    "dev_languages (there ['en', 'de'], now ['en'])",
    'optim.learning_rate (there 0.01, now 0.1)',
    'seed (there 0, now 1)',
  ):
    assert part in text
  assert text.count('there') == 3
  assert records(workdir) == before


@pytest.mark.parametrize('module', [finetune, pretrain])
def test_other_data_under_the_same_name(
  given, folder, finished, tmp_path, module, tiny_tokenizer
):
  """The config is the same, but the run would not go on as it began."""
  workdir, _ = finished(module)
  name = 'train.tsv' if module is finetune else 'corpus/de.txt'
  text = (folder / name).read_text('utf-8')
  try:
    (folder / name).write_text(text.replace('man', 'cat', 1), 'utf-8')
    with pytest.raises(ValueError, match='was trained on other data, or with'):
      train.train(recipe(given, module), workdir)
  finally:
    (folder / name).write_text(text, 'utf-8')
  # So small a change of the vocabulary does not even change a shape.
  path = tiny_tokenizer / 'sentencepiece.bpe.model'
  model = path.read_bytes()
  words = [
    'man house cat red sees',
    'asleep Mann Haus Katze',
    'rote кошку доме',
  ]
  try:
    path.write_bytes(
      train_tokenizer.train(words * 20, 60, hard_vocab_limit=False)
    )
    with pytest.raises(ValueError, match='with another tokenizer, than its'):
      train.train(recipe(given, module), workdir)
  finally:
    path.write_bytes(model)
  train.train(recipe(given, module), workdir)


def test_a_start_that_fails_claims_nothing(given, tmp_path):
  workdir = tmp_path / 'run'
  with pytest.raises((ValueError, OSError), match=r'trian\.tsv'):
    train.train(recipe(given, finetune, train='trian.tsv'), workdir)
  assert resume.compare_settings(workdir, recipe(given, finetune)) == (
    [],
    [],
  )


@pytest.mark.parametrize('units', ['word', 'ngram'])
def test_whole_words_are_masked(given, tmp_path, units):
  config = recipe(given, pretrain, mask_units=units, steps=12, eval_every=12)
  last = train.train(config, tmp_path)
  assert last['heldout_loss'] > 0
  losses = [r for r in records(tmp_path) if 'loss' in r]
  assert all(0 <= r['unfit'] < 0.2 for r in losses)  # of those chosen


def test_longer_rows_come_late(given, tmp_path):
  """Two phases: two programs, and as many tokens in a step."""
  config = recipe(
    given, pretrain, schedule=((0.5, 16), (1.0, 32)), parallel='', steps=8
  )
  train.train(config, tmp_path)
  log = [r for r in records(tmp_path) if 'loss' in r]
  assert [r['programs'] for r in log] == [1] * 4 + [2] * 4
  assert log[0]['examples_per_step'] == 2 * log[-1]['examples_per_step'] == 16
