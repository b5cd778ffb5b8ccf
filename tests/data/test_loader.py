"""Steps to batches: everything once, the same for all hosts and resumes."""

import threading
import time

import numpy as np
import pytest

from xlmr_jax.data.batches import loader, pack


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
    'label': ('int32', 'B E'),
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


def test_every_group_whole_in_one_row_an_epoch():
  source = features(300)
  groups = np.repeat(np.arange(120), [2, 3, 2, 3] * 30)
  data = make(source, groups=groups, batch_size=9, row_length=128)
  sums = np.bincount(groups, [len(f['tokens']) for f in source]).astype(int)
  assert data.rows == round(9 / 120 * len(pack.plan(sums, 128)))
  assert data.examples_per_step == pytest.approx(120 / data.steps_per_epoch)
  orders = []
  for epoch in range(3):
    first = epoch * data.steps_per_epoch
    batches = [data.batch(first + s) for s in range(data.steps_per_epoch)]
    assert seen(batches) == list(range(300))
    members = {}
    for batch in batches:
      for example, group in zip(batch['example'], batch['group'], strict=True):
        assert (group == np.where(example < 0, -1, groups[example])).all()
        for number in set(group[group >= 0].tolist()):
          assert number not in members
          members[number] = example[group == number].tolist()
    assert members == {
      number: np.flatnonzero(groups == number).tolist() for number in range(120)
    }
    orders.append([b['group'].tolist() for b in batches])
  assert orders[0] != orders[1] != orders[2]
  last = data.batch(4)['group'][1]
  names = dict.fromkeys(last[last >= 0].tolist())
  assert data.identity(4, 1) == f'examples {", ".join(map(str, names))}'


def test_shapes_never_change():
  for label in (('int32', 'B E'), ('float32', 'B E'), None):
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
  assert make(batch_size=1, row_multiple=4).rows == 4


SPLITS = (
  [range(0, 2), range(2, 4), range(4, 6)],
  [range(0, 3), range(3, 6)],
  [range(0, 6), range(0, 0)],
  [[0, 1, 4, 5], [2, 3]],  # a host's devices need not lie side by side
)


@pytest.mark.parametrize('split', SPLITS)
@pytest.mark.parametrize('flows', [False, True])
def test_hosts_together_are_one_host(split, flows):
  def build(local=None):
    if flows:
      return loader.Loader(
        Stream(), row_length=64, rows=6, steps=40, local=local
      )
    return make(batch_size=None, rows=6, local=local)

  def local(part):
    def rows_of(rows):
      assert rows == 6
      return np.array(part, np.int64)

    return rows_of

  single, hosts = build(), [build(local(part)) for part in split]
  for step in range(single.total_steps):
    whole = single.batch(step)
    for host, part in zip(hosts, split, strict=True):
      want = {k: v[list(part)] for k, v in whole.items()}
      assert same(host.batch(step), want)
  assert {m.total_steps for m in hosts} == {single.total_steps}


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
  assert data.epochs == 40 / data.steps_per_epoch
  # Past the last step too, for a run that passes over some.
  longer = make(epochs=None, steps=60)
  assert same(data.batch(59), longer.batch(59))
  assert data.locate(59) == divmod(59, data.steps_per_epoch)
  with pytest.raises(IndexError, match='no step -1'):
    data.batch(-1)
  assert [s for s, _ in data.iterate(38, 43)] == list(range(38, 43))


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


class Stream:
  """Windows of features without end, of other sizes each."""

  epoch_windows = 2.5
  max_length = 40
  fingerprint = 'a stream'

  def __init__(self, single=False, known=False):
    self.single, self.known = single, known
    self.made = []

  def count(self, number):
    return (0, 7, 60, 33)[(number + 2) % 4]

  def max_examples(self, row_length):
    return 1 if self.single else row_length // 3

  def window(self, number):
    self.made.append(number)
    view = loader._MeasuredFeatures(features(self.count(number), seed=number))
    view.identity = lambda index: f'window {number} feature {index}'
    return view

  def rows_before(self, number, row_length):
    if self.known:
      return sum(map(self.count, range(number)))
    return None


def flowing(rows, windows, source):
  """(window, features) of all rows of some windows, one after the other."""
  out = []
  for number in range(windows):
    lengths = source.window(number).lengths
    if source.single:
      lengths = np.full(len(lengths), 64)
    plan = pack.plan(lengths, 64, epoch=number, window=max(1, len(lengths)))
    out += [(number, plan.row(r).tolist()) for r in range(len(plan))]
  return [out[at : at + rows] for at in range(0, len(out) - rows + 1, rows)]


@pytest.mark.parametrize('rows', [1, 4, 30])
@pytest.mark.parametrize('kind', ['packed', 'single', 'known'])
def test_rows_of_a_stream_flow_over_its_windows(rows, kind):
  """No row of padding, no feature lost, at any step and in any order."""
  source = Stream(single=kind != 'packed', known=kind == 'known')
  want = flowing(rows, 24, source)
  data = loader.Loader(source, row_length=64, rows=rows, steps=len(want))
  steps = list(range(len(want)))
  for step in (*steps, *steps[::-7], *steps[5::11]):
    batch = data.batch(step)
    assert batch['example'].shape == (rows, source.max_examples(64))
    for row, (number, inside) in enumerate(want[step]):
      index = batch['example'][row]
      assert index[index >= 0].tolist() == inside
      view = Stream().window(number)
      for slot, i in enumerate(inside):
        got = batch['tokens'][row][batch['segments'][row] == slot + 1]
        assert got.tolist() == view[i]['tokens'].tolist()
      assert data.identity(step, row) == '; '.join(
        f'window {number} feature {i}' for i in inside
      )
  again = loader.Loader(source, row_length=64, rows=rows, steps=len(want))
  last = len(want) - 1
  batch = data.batch(last)
  source.made.clear()
  assert same(again.batch(last), batch)
  if kind == 'known':  # nothing is made of the windows before
    assert set(source.made) <= {number for number, _ in want[last]}
  assert sorted(set(source.made)) == sorted(source.made)  # nothing twice


def test_epochs_of_a_stream():
  source = Stream()
  data = loader.Loader(source, row_length=64, rows=4, epochs=3)
  plan = pack.plan(source.window(0).lengths, 64, window=60)
  assert data.steps_per_epoch == int(np.ceil(2.5 * len(plan) / 4))
  assert data.total_steps == 3 * data.steps_per_epoch
  assert data.epochs == pytest.approx(data.total_steps * 4 / len(plan) / 2.5)
  assert data.efficiency == pytest.approx(plan.efficiency)
  assert data.examples_per_step == pytest.approx(4 * 60 / len(plan))
  assert data.locate(data.total_steps) == (3, 0)
  for wrong in (
    {'shuffle': False},
    {'drop_last': True},
    {'groups': np.arange(60)},
  ):
    with pytest.raises(ValueError, match='fixed set of features'):
      loader.Loader(source, row_length=64, rows=4, epochs=3, **wrong)
  with pytest.raises(ValueError, match='up to 40 tokens do not fit'):
    loader.Loader(source, row_length=39, rows=4, epochs=3)


def test_rows_are_counted_as_they_are_planned():
  draw = np.random.default_rng(0)
  for _ in range(300):
    length = int(draw.integers(1, 70))
    shape = draw.choice([0.5, 2, 20])
    lengths = draw.gamma(shape, length / 4 / shape, draw.integers(1, 300))
    lengths = np.clip(lengths.astype(int), 1, length)
    plan = pack.plan(lengths, length, window=len(lengths))
    assert pack.count_rows(np.bincount(lengths), length) == len(plan)
  assert pack.count_rows(np.zeros(5, int), 8) == 0


def test_counted_rows_are_kept(tmp_path, monkeypatch):
  monkeypatch.setattr(loader, '_KEPT', 8)

  def late(cache, **options):
    source = Stream(**options)
    data = loader.Loader(source, row_length=64, rows=4, steps=99, cache=cache)
    source.made.clear()
    return data.batch(80), source.made

  want, windows = late(None)
  assert min(windows) < 3 and len(windows) > 16
  batch, windows = late(tmp_path)
  assert same(batch, want) and min(windows) < 3
  [path] = tmp_path.iterdir()
  batch, windows = late(tmp_path)
  assert same(batch, want) and min(windows) > 10  # the first ones are known
  late(tmp_path, single=False)
  for content in (b'', path.read_bytes()[:-3], b'nonsense'):
    path.write_bytes(content)
    assert same(late(tmp_path)[0], want)
  for content in (np.zeros((2, 2), np.int64), np.zeros(4), np.zeros(0, int)):
    np.save(path, content)
    assert same(late(tmp_path)[0], want)
  # A count that is wrong is found where it matters.
  late(tmp_path)
  starts = np.load(path)
  np.save(path, starts + (np.arange(len(starts)) > 12))
  data = loader.Loader(
    Stream(), row_length=64, rows=4, steps=99, cache=tmp_path
  )
  with pytest.raises(ValueError, match=r'counted: .*rows-.*delete it'):
    for step in range(99):
      data.batch(step)
  path.unlink()
  file = tmp_path / 'file'
  file.write_text('no folder can be made here')
  assert same(late(file / 'cache')[0], want)
  # Another stream, or rows of another length, has a file of its own.
  other = Stream()
  other.fingerprint = 'another'
  for source, length in ((other, 64), (Stream(), 48)):
    data = loader.Loader(
      source, row_length=length, rows=4, steps=99, cache=tmp_path
    )
    data.batch(80)
  assert len([p for p in tmp_path.iterdir() if p.suffix == '.npy']) == 2


def test_windows_are_planned_once_whatever_the_threads():
  source = Stream()
  data = loader.Loader(source, row_length=64, rows=4, steps=20)
  want = {s: data.batch(s) for s in range(20)}
  source.made.clear()
  data = loader.Loader(source, row_length=64, rows=4, steps=20)
  got = {}
  threads = [
    threading.Thread(target=lambda s=s: got.update({s: data.batch(s)}))
    for s in range(4)
  ]
  for thread in threads:
    thread.start()
  for thread in threads:
    thread.join()
  assert len(source.made) == len(set(source.made))
  assert all(same(got[s], want[s]) for s in got) and len(got) == 4


def test_the_examples_of_a_row_have_names():
  data = make(shuffle=False, epochs=1)
  row = data.batch(0)['example'][2]
  names = ', '.join(map(str, row[row >= 0]))
  assert data.identity(0, 2) == f'examples {names}'
  last = data.batch(data.total_steps - 1)['example']
  if last[-1, 0] < 0:
    assert data.identity(data.total_steps - 1, data.rows - 1) == 'no example'
  padded = make(batch_size=None, rows=7, epochs=1)
  assert padded.identity(padded.total_steps - 1, 6) == 'no example'


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
    ({'batch_size': None, 'rows': 3, 'row_multiple': 2}, 'multiple of 2'),
    ({'batch_size': 0}, 'batch_size=0'),
    ({'seed': -1}, 'seed=-1'),
  ],
)
def test_contradictions_are_said(options, message):
  with pytest.raises(ValueError, match=message):
    make(**options)


def test_no_examples():
  with pytest.raises(ValueError, match='no examples'):
    loader.Loader([], row_length=8, rows=1, epochs=1)
