"""Steps to batches: everything once, the same for all hosts and resumes."""

import threading
import time

import numpy as np
import pytest

from xlmr_jax.data import loader, pack


def features(count=200, seed=0, **extra):
  draw = np.random.default_rng(seed)
  return [
    {
      'tokens': draw.integers(3, 99, n).astype(np.int32),
      'label': int(n % 3),
      **extra,
    }
    for n in np.clip(draw.gamma(3, 5, count).astype(int), 3, 40)
  ]


def make(source=None, **options):
  options = {
    'row_length': 64,
    'batch_size': 16,
    'epochs': 3,
    'label': 'int',
    **options,
  }
  return loader.Loader(source or features(), **options)


def seen(batches):
  return sorted(i for b in batches for i in b['example'].ravel() if i >= 0)


def same(a, b):
  return a.keys() == b.keys() and all(
    np.array_equal(a[k], b[k], equal_nan=a[k].dtype.kind == 'f') for k in a
  )


def test_every_feature_once_an_epoch_with_its_tokens_and_label():
  source = features()
  data = make(source)
  assert data.total_steps == 3 * data.steps_per_epoch
  orders = []
  for epoch in range(3):
    steps = range(
      epoch * data.steps_per_epoch, (epoch + 1) * data.steps_per_epoch
    )
    batches = [data.batch(s) for s in steps]
    assert seen(batches) == list(range(200))
    orders.append([b['example'].tolist() for b in batches])
    for batch in batches:
      for row in range(data.rows):
        for slot, index in enumerate(batch['example'][row]):
          got = batch['tokens'][row][batch['segments'][row] == slot + 1]
          if index >= 0:
            assert got.tolist() == source[index]['tokens'].tolist()
            assert batch['labels'][row, slot] == source[index]['label']
            start = batch['starts'][row, slot]
            assert batch['tokens'][row, start] == got[0]
          else:
            assert not len(got) and batch['labels'][row, slot] == -1
  assert orders[0] != orders[1] != orders[2]


def test_shapes_never_change():
  for label in ('int', 'float', None):
    data = make(label=label)
    shapes = {
      tuple((k, v.shape, v.dtype) for k, v in sorted(data.batch(s).items()))
      for s in range(data.total_steps)
    }
    assert len(shapes) == 1


def test_batch_size_counts_examples():
  source = features(3000)
  data = make(source, batch_size=32, epochs=1)
  assert abs(data.examples_per_step - 32) < 0.06 * 32
  counted = [
    (data.batch(s)['example'] >= 0).sum() for s in range(data.total_steps)
  ]
  assert sum(counted) == 3000
  assert np.mean(counted) == pytest.approx(data.examples_per_step)
  real = sum(len(f['tokens']) for f in source)
  computed = data.total_steps * data.rows * 64
  assert data.efficiency == pytest.approx(real / computed)
  assert data.efficiency > 0.97


def test_other_ways_to_size_a_batch():
  assert make(batch_size=None, batch_tokens=64 * 8).rows == 8
  assert make(batch_size=None, rows=6).rows == 6
  assert make(batch_size=None, batch_tokens=64 * 9, row_multiple=4).rows == 8
  assert make(batch_size=1, row_multiple=4, hosts=(0, 2)).rows == 4
  assert make(batch_size=1, row_multiple=4, hosts=(0, 3)).rows == 12
  assert len(make(batch_size=1, hosts=(0, 2)).batch(0)['tokens']) == 1


def test_hosts_together_are_one_host():
  one = make(batch_size=None, rows=6)
  many = [make(batch_size=None, rows=6, hosts=(h, 3)) for h in range(3)]
  for step in range(one.total_steps):
    parts = [m.batch(step) for m in many]
    union = {k: np.concatenate([p[k] for p in parts]) for k in parts[0]}
    assert same(union, one.batch(step))
  assert {m.total_steps for m in many} == {one.total_steps}


def test_resume_is_the_same_stream():
  whole = list(make().iterate())
  assert [s for s, _ in whole] == list(range(make().total_steps))
  rest = list(make().iterate(5))
  assert [s for s, _ in rest] == list(range(5, len(whole)))
  assert all(same(a, b) for (_, a), (_, b) in zip(whole[5:], rest, strict=True))
  assert same(make().batch(7), whole[7][1])
  assert not same(make(seed=1).batch(7), whole[7][1])
  assert list(make().iterate(make().total_steps)) == []


def test_steps_go_through_epochs_until_they_are_done():
  data = make(epochs=None, steps=40)
  assert data.total_steps == 40 and data.steps_per_epoch < 40
  last = (40 // data.steps_per_epoch) * data.steps_per_epoch
  assert seen(data.batch(s) for s in range(last)) == sorted(
    list(range(200)) * (last // data.steps_per_epoch)
  )
  for step in (-1, 40):
    with pytest.raises(IndexError, match='outside 0…39'):
      data.batch(step)


def test_unshuffled_order_for_evaluation():
  data = make(shuffle=False, epochs=1)
  first = [data.batch(s)['example'][:, 0] for s in range(data.total_steps)]
  order = [i for i in np.concatenate(first) if i >= 0]
  assert order == sorted(order) and order[0] == 0


def test_drop_last():
  data = make(batch_size=None, rows=7, drop_last=True)
  full = make(batch_size=None, rows=7)
  assert data.steps_per_epoch == full.steps_per_epoch - 1
  assert all(
    (data.batch(s)['example'][:, 0] >= 0).all()
    for s in range(data.steps_per_epoch)
  )
  with pytest.raises(ValueError, match='less than one batch'):
    make(features(3), drop_last=True, batch_size=None, rows=64)


class Changing:
  """Three epochs of other features, and other numbers of them."""

  def __init__(self):
    self.planned = 0

  def max_examples(self, row_length):
    return row_length // 3

  def epoch(self, epoch):
    self.planned += 1
    return loader._View(features(150 + 40 * (epoch % 3), seed=epoch))


def test_a_source_that_changes_with_the_epoch():
  data = loader.Loader(Changing(), row_length=64, rows=4, epochs=4)
  start = 0
  for epoch in range(4):
    count = 150 + 40 * (epoch % 3)
    plan = pack.plan(Changing().epoch(epoch).lengths, 64, epoch=epoch)
    steps = range(start, start + -(-len(plan) // 4))
    assert seen(data.batch(s) for s in steps) == list(range(count))
    assert [data.locate(s) for s in steps] == [
      (epoch, i) for i in range(len(steps))
    ]
    start += len(steps)
  assert start == data.total_steps
  again = loader.Loader(Changing(), row_length=64, rows=4, steps=start)
  for step in (start - 1, 0, start // 2):
    assert same(again.batch(step), data.batch(step))
  assert data.batch(0)['example'].shape == (4, 21)


def test_epochs_are_planned_once_whatever_the_threads():
  source = Changing()
  data = loader.Loader(source, row_length=64, rows=4, epochs=2)
  source.planned = 0
  data._planned.clear()
  got = {}
  threads = [
    threading.Thread(target=lambda s=s: got.update({s: data.batch(s)}))
    for s in range(data.total_steps)
  ]
  for thread in threads:
    thread.start()
  for thread in threads:
    thread.join()
  assert source.planned == 2
  assert all(same(got[s], data.batch(s)) for s in got)


def test_closing_stops_the_threads_and_errors_come_through():
  before = threading.active_count()
  batches = make(epochs=50).iterate(3)
  assert next(batches)[0] == 3
  assert threading.active_count() > before
  batches.close()
  deadline = time.monotonic() + 10
  while threading.active_count() > before and time.monotonic() < deadline:
    time.sleep(0.01)
  assert threading.active_count() == before

  class Broken(list):
    def __getitem__(self, index):
      raise ValueError('feature file went away')

  with pytest.raises(ValueError, match='went away'):
    next(make(Broken(features())).iterate())


@pytest.mark.parametrize(
  'options, message',
  [
    ({'source': [{'tokens': np.zeros(65, np.int32)}]}, 'feature 0 has 65 tok'),
    ({'epochs': None}, 'either epochs or steps'),
    ({'steps': 3}, 'either epochs or steps'),
    ({'rows': 3}, 'one of batch_size'),
    ({'batch_size': None, 'rows': 3, 'hosts': (0, 2)}, 'multiple of 2'),
    ({'batch_size': 0}, 'batch_size=0'),
    ({'hosts': (2, 2)}, 'host 2 of 2'),
    ({'seed': -1}, 'seed=-1'),
  ],
)
def test_contradictions_are_said(options, message):
  with pytest.raises(ValueError, match=message):
    make(**options)


def test_no_examples():
  with pytest.raises(ValueError, match='no examples'):
    loader.Loader([], row_length=8, rows=1, epochs=1)
