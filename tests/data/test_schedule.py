"""Runs in phases of other row lengths: each step is its phase's own."""

import numpy as np
import pytest
from tiny_runs import SIZES

from configs import pretrain
from xlmr_jax.data.batches import loader
from xlmr_jax.data.batches.schedule import Phases
from xlmr_jax.data.corpus import shards
from xlmr_jax.data.tokenizers.train_tokenizer import train
from xlmr_jax.data.tokenizers.xlmr import Tokenizer
from xlmr_jax.runtime import sharding
from xlmr_jax.train import build_job

SCHEDULE = ((0.5, 16), (30, 32), (1.0, 64))


def features(length, seed):
  draw = np.random.default_rng(seed)
  return [
    {'tokens': draw.integers(3, 99, n).astype(np.int32)}
    for n in draw.integers(3, length + 1, 200)
  ]


def make(number, row_length, steps):
  return loader.Loader(
    features(row_length, number),
    row_length=row_length,
    batch_tokens=512,
    seed=number,
    steps=steps,
  )


def same(a, b):
  return a.keys() == b.keys() and all(np.array_equal(a[k], b[k]) for k in a)


def test_each_step_is_a_step_of_its_phase():
  run = Phases(SCHEDULE, 40, make)
  alone = [make(0, 16, 20), make(1, 32, 10), make(2, 64, 10)]
  assert run.total_steps == 40
  assert [phase.total_steps for phase in run.loaders] == [20, 10, 10]
  for step in range(40):
    number = (step >= 20) + (step >= 30)
    within = step - (0, 20, 30)[number]
    batch = run.batch(step)
    length = (16, 32, 64)[number]
    assert batch['tokens'].shape == (512 // length, length)
    assert run.row_length_at(step) == length
    assert run.rows_at(step) == 512 // length
    assert run.locate(step) == (number, within)
    assert same(batch, alone[number].batch(within))
    assert run.identity(step, 1) == alone[number].identity(within, 1)
  # The last phase goes on past the run's end.
  assert same(run.batch(45), alone[2].batch(15))
  assert run.row_length == 64 and run.rows == 8
  assert run.max_examples == alone[2].max_examples
  assert run.steps_per_epoch == alone[0].steps_per_epoch
  assert run.epochs == pytest.approx(sum(phase.epochs for phase in alone))
  for name in ('efficiency', 'examples_per_step'):
    parts = [getattr(phase, name) * phase.total_steps for phase in alone]
    assert getattr(run, name) == pytest.approx(sum(parts) / 40)


def test_a_resume_inside_any_phase_is_the_same_stream():
  whole = list(Phases(SCHEDULE, 40, make).iterate())
  assert [step for step, _ in whole] == list(range(40))
  for start in (0, 7, 20, 29, 30, 39):
    rest = list(Phases(SCHEDULE, 40, make).iterate(start))
    assert [step for step, _ in rest] == list(range(start, 40))
    for (_, a), (_, b) in zip(whole[start:], rest, strict=True):
      assert same(a, b)
  part = list(Phases(SCHEDULE, 40, make).iterate(18, 22))
  assert [step for step, _ in part] == [18, 19, 20, 21]
  assert [b['tokens'].shape[1] for _, b in part] == [16, 16, 32, 32]


@pytest.mark.parametrize(
  'schedule, message',
  [
    (((0.9, 16),), r'end after steps \[36\] of 40'),
    (((0.9, 16), (0.5, 32), (1.0, 64)), r'steps \[36, 20, 40\] of 40'),
    (((0.001, 16), (1.0, 64)), r'steps \[0, 40\] of 40'),
    (((0.5, 16), (20, 32), (1.0, 64)), r'steps \[20, 20, 40\] of 40'),
    (((0.5, 16), (50, 32)), r'steps \[20, 50\] of 40'),
    (((0.5, 16), (1.0, 2.5)), r'\(1\.0, 2\.5\) is not \(share of the steps'),
    (((0.5,), (1.0, 64)), r'\(0\.5,\) is not \(share of the steps'),
    ((0.5, 16), r'0\.5 is not \(share of the steps'),
    (((-0.5, 16), (1.0, 64)), r'\(-0\.5, 16\) is not'),
    ((), r'end after steps \[\] of 40'),
  ],
)
def test_schedules_that_do_not_reach_the_end(schedule, message):
  with pytest.raises(ValueError, match=message):
    Phases(schedule, 40, make)


def test_no_step_below_the_first():
  with pytest.raises(IndexError, match='no step -1'):
    Phases(SCHEDULE, 40, make).batch(-1)


# ── A recipe ──────────────────────────────────────────────────────────────


@pytest.fixture
def config(tiny_tokenizer, tmp_path):
  """Settings of pretraining on a prepared corpus of two languages."""
  draw = np.random.default_rng(0)
  first, last = Tokenizer(tiny_tokenizer).pieces

  def documents(count):
    return [draw.integers(first, last, 20 + 5 * i) for i in range(count)]

  pairs = [(d[:5], d[5:12]) for d in documents(30)]
  english = documents(40) + [d[:6] for d in documents(9)]  # the last: short
  for name, parts in (
    ('text', {'de': documents(9), 'en': english}),
    ('pairs', {'de-en': pairs}),
  ):
    shards.write(tmp_path / name, Tokenizer(tiny_tokenizer), parts)
  config = pretrain.get_config('model=tiny')
  config.update(
    corpus=str(tmp_path / 'text'),
    parallel=str(tmp_path / 'pairs'),
    tokenizer=str(tiny_tokenizer),
    sizes=SIZES,
    batch_tokens=256,
    row_length=32,
    steps=10,
    held_out=0.1,
    parallel_share=0.25,
  )
  return config


def build(config, tmp_path, **changes):
  config.update(changes)
  return build_job(config.lock(), tmp_path / 'run', sharding.make_mesh())


def test_a_recipe_in_phases(config, tmp_path, capsys):
  schedule = ((0.5, 8), (0.8, 16), (1.0, 32))
  job = build(config, tmp_path, schedule=schedule)
  shown = capsys.readouterr().out.splitlines()
  assert shown[0].split() == ['tokens', 'share', 'drawn', 'epochs']
  assert [line.split()[0] for line in shown[1:]] == ['de', 'en', 'de-en']
  assert shown[3].split()[2:4] == ['25.00', '%']
  run = job.loader
  marks = set()
  for step in range(10):
    length = 8 if step < 5 else 16 if step < 8 else 32
    batch = run.batch(step)
    assert batch['tokens'].shape == (256 // length, length)
    assert batch['segments'].any(1).all()  # no row of padding
    marks.add(run.identity(step, 0))
  assert len(marks) == 10 and all(', tokens ' in mark for mark in marks)
  assert len(job.fingerprint.split()) == 3
  assert len(set(job.fingerprint.split())) == 3
  (tmp_path / 'run').mkdir()
  (tmp_path / 'run' / 'config.json').touch()
  again = build(config.copy_and_resolve_references(), tmp_path)
  assert not capsys.readouterr().out  # a run that goes on has said it
  assert again.fingerprint == job.fingerprint
  assert same(again.loader.batch(6), run.batch(6))


def test_each_phase_has_an_order_of_its_own(config, tmp_path):
  run = build(config, tmp_path, schedule=((0.5, 32), (1.0, 32))).loader
  assert not same(run.batch(0), run.batch(5))


@pytest.mark.parametrize('rows', ['stream', 'packed', 'document'])
def test_a_recipe_with_rows_of_each_kind(config, tmp_path, rows):
  job = build(config, tmp_path, rows=rows, languages=('en',))
  kind = 'piece' if rows == 'stream' else 'document'
  names = {
    name.partition(',')[0].rpartition(' ')[0]
    for step in range(10)
    for row in range(8)
    for name in job.loader.identity(step, row).split('; ')
  }
  assert names == {f'en {kind}', 'de-en pair'}
  most = max(int(job.loader.batch(s)['segments'].max()) for s in range(10))
  assert (most == 1) == (rows == 'document')
  assert [set(e._batches) for e in job.evaluators] == [{'en'}]


@pytest.mark.parametrize(
  'changes, message',
  [
    ({'schedule': ((0.9, 16),)}, r'end after steps \[9\] of 10'),
    ({'schedule': ((1.0, 16),), 'steps': 0}, 'schedule is over a number of st'),
    (
      {'schedule': ((0.5, 16), (1.0, 64))},
      'config.schedule=64, but the model holds 32 positions',
    ),
    ({'languages': ('fr',)}, "no text in 'fr'; there is de en"),
    ({'rows': 'lines'}, "rows='lines'; it is one of stream, packed, document"),
    ({'held_out': 1e-6}, 'held_out=1e-06 of so little text is nothing'),
  ],
)
def test_recipes_that_contradict_themselves(config, tmp_path, changes, message):
  with pytest.raises(ValueError, match=message):
    build(config, tmp_path, **changes)


def test_another_vocabulary_than_the_corpus(config, tmp_path):
  folder = tmp_path / 'other'
  folder.mkdir()
  model = train(['red house asleep cat man'] * 20, 60, hard_vocab_limit=False)
  Tokenizer(model).save(folder)
  with pytest.raises(ValueError, match='was tokenised with a vocabulary of'):
    build(config, tmp_path, tokenizer=str(folder))
