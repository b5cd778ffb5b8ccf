"""Packing: every feature once, tight rows, arrays as the contract draws."""

import csv
import glob
import gzip
import time

import numpy as np
import pytest

from xlmr_jax.data.batches import pack
from xlmr_jax.data.tokenizers.xlmr import Tokenizer


def lengths(count=3000, seed=0):
  draw = np.random.default_rng(seed)
  return np.clip(draw.gamma(3, 12, count).astype(int), 4, 100)


def rows_of(plan):
  return [plan.row(r).tolist() for r in range(len(plan))]


def make(sizes, **extra):
  return [
    {'tokens': np.arange(n, dtype=np.int32) % 7 + 2, **extra} for n in sizes
  ]


@pytest.mark.parametrize('shuffle', [True, False])
@pytest.mark.parametrize('window', [50, 1 << 17])
def test_every_feature_once_and_no_row_too_long(shuffle, window):
  sizes = lengths()
  plan = pack.plan(sizes, 128, shuffle=shuffle, window=window)
  assert sorted(plan.features) == list(range(len(sizes)))
  loads = [sizes[row].sum() for row in rows_of(plan)]
  assert max(loads) <= 128 and min(loads) > 0
  assert plan.efficiency == pytest.approx(sum(loads) / 128 / len(plan))
  most = max(len(row) for row in rows_of(plan))
  assert most <= plan.max_examples == pack.max_examples(sizes, 128)


def test_evaluation_fills_rows_further_than_best_fit():
  # 6 + 3 leave a 1 over; 5 + 5 do not, and 6 + 4 do not.
  plan = pack.plan([6, 5, 5, 4, 3, 3, 4], 10, shuffle=False)
  assert rows_of(plan) == [[0, 3], [1, 2], [4, 5, 6]]
  assert plan.efficiency == 1
  draw = np.random.default_rng(0)
  for low, high, count in ((120, 400, 250), (30, 300, 60), (1, 512, 400)):
    sizes = draw.integers(low, high, count)
    tight, quick = (
      len(pack.plan(sizes, 512, shuffle=shuffle)) for shuffle in (False, True)
    )
    assert -(-sizes.sum() // 512) <= tight <= quick


def test_order_is_kept_without_shuffle():
  plan = pack.plan(lengths(), 128, shuffle=False)
  rows = rows_of(plan)
  assert rows[0][0] == 0
  assert all(row == sorted(row) for row in rows)
  assert [r[0] for r in rows] == sorted(r[0] for r in rows)


def test_plans_depend_on_seed_and_epoch_alone():
  sizes = lengths(500)
  same = pack.plan(sizes, 128, seed=1, epoch=2)
  again = pack.plan(sizes.tolist(), 128, seed=1, epoch=2)
  assert rows_of(same) == rows_of(again)
  for other in ({'seed': 1, 'epoch': 3}, {'seed': 2, 'epoch': 2}):
    assert rows_of(pack.plan(sizes, 128, **other)) != rows_of(same)


def test_max_examples_is_the_most_that_share_a_row():
  assert pack.max_examples([5, 3, 4, 2], 8) == 2
  assert pack.max_examples([5, 3, 4, 2], 9) == 3
  assert pack.max_examples([8], 8) == 1
  assert pack.max_examples([], 8) == 1


def test_a_feature_that_does_not_fit_is_named():
  with pytest.raises(ValueError, match='feature 1 has 9 tokens.* row of 8'):
    pack.plan([3, 9, 10], 8)
  with pytest.raises(ValueError, match='feature 2 has no tokens'):
    pack.plan([3, 8, 0], 8)


def test_nothing_to_pack():
  plan = pack.plan([], 8)
  assert len(plan) == 0 and plan.efficiency == 1.0
  assert plan.row(0).tolist() == []


def test_fill_is_the_picture_of_the_docstring():
  features = make([5, 3, 4, 2])
  rows = [np.array([0, 1]), np.array([2, 3]), np.array([], np.int64)]
  batch = pack.fill(features, rows, row_length=8, max_examples=3)
  want = {
    'tokens': [
      [2, 3, 4, 5, 6, 2, 3, 4],
      [2, 3, 4, 5, 2, 3, 1, 1],
      [1] * 8,
    ],
    'segments': [
      [1, 1, 1, 1, 1, 2, 2, 2],
      [1, 1, 1, 1, 2, 2, 0, 0],
      [0] * 8,
    ],
    'positions': [
      [0, 1, 2, 3, 4, 0, 1, 2],
      [0, 1, 2, 3, 0, 1, 0, 0],
      [0] * 8,
    ],
    'starts': [[0, 5, 0], [0, 4, 0], [0, 0, 0]],
    'example': [[0, 1, -1], [2, 3, -1], [-1, -1, -1]],
  }
  assert {k: v.tolist() for k, v in batch.items()} == want
  assert {v.dtype for v in batch.values()} == {np.dtype(np.int32)}


def test_positions_skip_a_literal_pad_token():
  features = [
    {'tokens': np.array([0, 1, 5, 1, 6, 2], np.int32)},
    {'tokens': np.array([1, 0, 7], np.int32)},
  ]
  batch = pack.fill(features, [np.array([0, 1])], row_length=10, max_examples=2)
  assert batch['positions'].tolist() == [[0, -1, 1, -1, 2, 3, -1, 0, 1, 0]]
  assert batch['segments'].tolist() == [[1] * 6 + [2] * 3 + [0]]


def test_labels():
  features = make([2, 2, 2])
  features[0]['label'], features[1]['label'] = 2, None
  rows = [np.array([0, 1, 2]), np.array([], np.int64)]
  size = {'row_length': 8, 'max_examples': 4}
  batch = pack.fill(features, rows, label=('int32', 'B E'), **size)
  assert batch['labels'].tolist() == [[2, -1, -1, -1], [-1] * 4]
  assert batch['labels'].dtype == np.int32
  features[0]['label'] = 2.5
  batch = pack.fill(features, rows, label=('float32', 'B E'), **size)
  assert batch['labels'].dtype == np.float32
  assert batch['labels'][0, 0] == 2.5
  assert np.isnan(batch['labels']).sum() == 7
  assert 'labels' not in pack.fill(features, rows, **size)


def test_tags_stand_where_their_tokens_do():
  features = make([3, 2, 2])
  features[0]['label'] = np.array([-1, 4, -1], np.int32)
  features[1]['label'] = None
  features[2]['label'] = np.array([0, 7], np.int32)
  rows = [np.array([0, 2]), np.array([1]), np.array([], np.int64)]
  size = {'row_length': 6, 'max_examples': 2}
  batch = pack.fill(features, rows, label=('int32', 'B L'), **size)
  assert batch['labels'].dtype == np.int32
  assert batch['labels'].tolist() == [[-1, 4, -1, 0, 7, -1], [-1] * 6, [-1] * 6]
  # The same places as the tokens', whatever the rows.
  sizes = lengths(200)
  features = make(sizes)
  for feature in features:
    feature['label'] = feature['tokens'] + 100
  plan = pack.plan(sizes, 128)
  batch = pack.fill(
    features,
    [plan.row(r) for r in range(len(plan))],
    row_length=128,
    max_examples=plan.max_examples,
    label=('int32', 'B L'),
  )
  inside = batch['segments'] > 0
  want = np.where(inside, batch['tokens'] + 100, -1)
  np.testing.assert_array_equal(batch['labels'], want)
  features[3]['label'] = features[3]['label'][:-1]
  with pytest.raises(ValueError, match=r'feature 3 has \d+ tokens and tags of'):
    pack.fill(
      features,
      [np.array([3])],
      row_length=128,
      max_examples=1,
      label=('int32', 'B L'),
    )


def test_fill_refuses_what_its_arrays_cannot_hold():
  features = make([5, 5])
  row = [np.array([0, 1])]
  with pytest.raises(ValueError, match='feature 1 does not fit'):
    pack.fill(features, row, row_length=8, max_examples=2)
  with pytest.raises(ValueError, match='max_examples=1'):
    pack.fill(features, row, row_length=16, max_examples=1)


def grouped(count=400, seed=0):
  """(lengths, groups): groups of one to four features, numbered with gaps."""
  draw = np.random.default_rng(seed)
  groups = np.repeat(7 * np.arange(count), draw.integers(1, 5, count))
  return draw.integers(4, 30, len(groups)), groups


@pytest.mark.parametrize('shuffle', [True, False])
@pytest.mark.parametrize('window', [50, 1 << 17])
def test_a_group_shares_a_row(shuffle, window):
  sizes, groups = grouped()
  how = {'shuffle': shuffle, 'window': window}
  plan = pack.plan(sizes, 128, groups=groups, **how)
  assert sorted(plan.features) == list(range(len(sizes)))
  rows = {}
  for number, row in enumerate(rows_of(plan)):
    assert 0 < sizes[row].sum() <= 128 and len(row) <= plan.max_examples
    for feature in row:
      rows.setdefault(groups[feature], set()).add(number)
      # Side by side, in the order given.
      if feature and groups[feature] == groups[feature - 1]:
        assert row[row.index(feature) - 1] == feature - 1
  assert len(rows) == 400 and all(len(plans) == 1 for plans in rows.values())
  assert plan.efficiency == pytest.approx(sizes.sum() / 128 / len(plan))
  # As tight as their sums can be packed.
  sums = [int(sizes[groups == g].sum()) for g in sorted(rows)]
  alone = pack.plan(sums, 128, **how)
  assert len(plan) == len(alone)
  assert plan.max_examples == pack.max_examples(sizes, 128)
  # A group of one each is no group.
  single = pack.plan(sizes, 128, groups=np.arange(len(sizes)), **how)
  assert rows_of(single) == rows_of(pack.plan(sizes, 128, **how))


def test_groups_that_cannot_share_a_row():
  with pytest.raises(ValueError, match='group 5 has 9 tokens together.* of 8'):
    pack.plan([3, 4, 5], 8, groups=np.array([2, 5, 5]))
  with pytest.raises(ValueError, match='group 2 do not follow each other'):
    pack.plan([3, 4, 5], 8, groups=np.array([2, 5, 2]))
  with pytest.raises(
    ValueError, match=r'3 features and groups of shape \(2,\)'
  ):
    pack.plan([3, 4, 5], 8, groups=np.array([2, 5]))
  assert len(pack.plan([], 8, groups=np.array([], np.int64))) == 0


def test_fill_says_which_group():
  features = make([2, 2, 3, 1])
  groups = np.array([4, 4, 9, 0])
  rows = [np.array([2, 3]), np.array([], np.int64), np.array([0, 1])]
  size = {'row_length': 6, 'max_examples': 3}
  batch = pack.fill(features, rows, groups=groups, **size)
  assert batch['group'].dtype == np.int32
  assert batch['group'].tolist() == [[9, 0, -1], [-1] * 3, [4, 4, -1]]
  empty = pack.fill(features, rows[1:2], groups=groups, **size)
  assert empty['group'].tolist() == [[-1] * 3]
  assert 'group' not in pack.fill(features, rows, **size)


def test_fast_enough_for_a_host():
  sizes = lengths(400_000)
  start = time.process_time()
  plan = pack.plan(sizes, 256)
  assert time.process_time() - start < 10  # 0.5 s on an idle core
  features = make(sizes[:20_000])
  plan = pack.plan(sizes[:20_000], 256)
  start = time.process_time()
  for first in range(0, len(plan), 16):
    pack.fill(
      features,
      [plan.row(r) for r in range(first, first + 16)],
      row_length=256,
      max_examples=plan.max_examples,
    )
  spent = time.process_time() - start
  assert sizes[:20_000].sum() / spent > 200_000  # 10 M on an idle core


def test_all_of_xnli_fills_its_rows(data_dir):
  tokenizer = Tokenizer(data_dir / 'tokenizers/xlm-roberta')
  sizes = []
  for path in sorted(glob.glob(f'{data_dir}/xnli/test-*.tsv.gz')):
    with gzip.open(path, 'rt', encoding='utf-8', newline='') as file:
      pairs = [(r[0], r[1]) for r in csv.reader(file, delimiter='\t')]
    assert len(pairs) == 5010
    own = [len(ids) for ids in tokenizer.encode_batch(pairs)]
    sizes += own
    # A language alone, in batches of 16 rows, the last one padded.
    plan = pack.plan(own, 256, shuffle=False)
    computed = -(-len(plan) // 16) * 16 * 256
    assert sum(own) / computed > 0.95
  assert len(sizes) == 75_150
  for shuffle in (True, False):
    plan = pack.plan(sizes, 256, shuffle=shuffle)
    computed = -(-len(plan) // 16) * 16 * 256
    assert sum(sizes) / computed > 0.98
