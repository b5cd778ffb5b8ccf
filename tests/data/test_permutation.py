"""Random orders are even, and the same numbers for ever."""

import math

import numpy as np
import pytest

from xlmr_jax.data import permutation


def test_an_order_is_a_permutation_known_place_by_place():
  for size in (*range(1, 40), 255, 256, 257, 1000, 65_537):
    whole = permutation.order(np.arange(size), size, permutation.key(size))
    assert sorted(whole.tolist()) == list(range(size))
    places = np.array([0, size - 1, size // 2])
    some = permutation.order(places, size, permutation.key(size))
    assert some.tolist() == whole[places].tolist()
  size = 3 * 10**11 + 7
  places = np.concatenate([np.arange(50_000), size - 1 - np.arange(50_000)])
  far = permutation.order(places, size, permutation.key('far'))
  assert len(set(far.tolist())) == len(places)
  assert 0 <= far.min() < size / 100 and size * 0.99 < far.max() < size


def test_orders_are_evenly_spread():
  """Pearson's chi-square against what fair shuffling gives."""
  for size, draws in ((3, 3000), (20, 4000)):
    seen = np.zeros((size, size))
    for number in range(draws):
      order = permutation.order(
        np.arange(size), size, permutation.key('x', number)
      )
      seen[np.arange(size), order] += 1
    free = (size - 1) ** 2
    fair = draws / size
    chi2 = ((seen - fair) ** 2 / fair).sum()
    assert abs(chi2 - free) < 4 * math.sqrt(2 * free), size
  # Neighbours: what comes next says nothing of what came before.
  steps = np.diff(
    permutation.order(np.arange(10_000), 10_000, permutation.key(0))
  )
  assert np.mean(np.abs(steps)) == pytest.approx(10_000 / 3, rel=0.03)
  coins = permutation.coins(np.arange(40_000), permutation.key(0))
  assert abs(coins.mean() - 0.5) < 4 * 0.5 / 200


def test_assigned_groups_are_of_one_size():
  groups = permutation.assign(np.arange(40_000), 4, 2**63)
  assert set(groups.tolist()) == {0, 1, 2, 3}
  counts = np.bincount(groups)
  assert np.abs(counts - 10_000).max() < 4 * math.sqrt(40_000 * 3 / 16)


def test_the_numbers_of_every_machine_and_every_numpy():
  """Corpora were written and runs were begun with these."""
  key = permutation.key('x', 3)
  places = np.arange(8)
  assert permutation.shuffle(8, 1, 2).tolist() == [7, 1, 3, 0, 4, 2, 6, 5]
  assert permutation.order(places, 8, key).tolist() == [6, 5, 4, 0, 7, 2, 1, 3]
  assert np.flatnonzero(permutation.coins(places, key)).tolist() == [1, 2, 3, 5]
  near = permutation.assign(7 + places, 10, 2**64 - 5)
  assert near.tolist() == [2, 8, 7, 1, 4, 5, 3, 9]
  far = permutation.assign(10**12 + places, 1000, 9_876_543_210_123_456_789)
  assert far.tolist() == [997, 857, 517, 336, 844, 67, 527, 161]
