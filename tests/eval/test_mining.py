"""Scores of mined pairs and of rankings, against brute force."""

import itertools
import random

import pytest

from xlmr_jax.eval.metrics import pairs as mining

IDS = list(itertools.product('abcdefgh', 'stuvwxyz'))


def test_pairs_by_hand():
  gold = [('a', 'x'), ('b', 'y'), ('c', 'z'), ('d', 'w')]
  found = [('a', 'x'), ('b', 'z')]
  # One of two is right, one of four is found: F1 2 / (2 + 4).
  assert mining.pair_scores(found, gold) == pytest.approx((100 / 3, 50, 25))
  # A pair that stands there again counts once; lists are pairs too.
  again = [*found, ['a', 'x']]
  assert mining.pair_scores(again, gold) == mining.pair_scores(found, gold)
  assert mining.pair_scores([], gold) == (0, 0, 0)
  assert mining.pair_scores([('x', 'a')], gold) == (0, 0, 0)
  # What has no two ids is a wrong pair, as for XTREME's script.
  score = mining.pair_scores([('a', 'x'), ('',)], gold)
  assert score == pytest.approx((100 / 3, 50, 25))
  with pytest.raises(ValueError, match='no gold pairs'):
    mining.pair_scores(found, [])


def test_any_pairs():
  draw = random.Random(0)
  for _ in range(10_000):
    gold = draw.sample(IDS, draw.randint(1, 12))
    found = draw.sample(gold, draw.randint(0, len(gold)))
    found += draw.sample(IDS, draw.randint(0, 6))
    score = mining.pair_scores(found, gold)
    right = sum(pair in gold for pair in set(found))
    count = len(set(found))
    assert score == pytest.approx(
      (
        200 * right / (count + len(gold)),
        100 * right / max(count, 1),
        100 * right / len(gold),
      )
    )
    assert all(0 <= value <= 100 for value in score)
    assert mining.pair_scores(found[::-1] * 2, gold[::-1]) == score
    assert mining.pair_scores(gold, gold) == (100, 100, 100)
    if found:
      back = mining.pair_scores(gold, found)
      assert back == pytest.approx((score[0], score[2], score[1]))


def test_threshold_by_hand():
  gold = [('a', 'x'), ('b', 'y')]
  scores = {('a', 'x'): 1.5, ('c', 'z'): 1.25, ('b', 'y'): 1.0, ('d', 'x'): 0.5}
  # F1 of the beginnings: 2/3, 1/2, 4/5, 2/3.
  assert mining.best_threshold(scores, gold) == 0.75
  assert mining.mined(scores, 0.75) == list(scores)[:3]
  # Equal F1, 2/3 after one candidate and after four: the first of them.
  equal = {('a', 'x'): 1.5, ('c', 'z'): 1.25, ('d', 'w'): 1.1, ('b', 'y'): 1}
  assert mining.best_threshold(equal, gold) == 1.375
  # The best beginning is everything.
  assert mining.best_threshold({('a', 'x'): 1.5, ('b', 'y'): 1.0}, gold) == 1.0
  # Nothing is right, or there is nothing.
  assert mining.best_threshold({('q', 'q'): 1.5}, gold) == 0
  assert mining.best_threshold({}, gold) == 0
  # Equal scores on both sides of the border: all of them are taken.
  tied = {('a', 'x'): 1.5, ('b', 'y'): 1.0, ('c', 'z'): 1.0, ('d', 'w'): 0.5}
  assert mining.best_threshold(tied, gold) == 1.0
  assert len(mining.mined(tied, 1.0)) == 3
  with pytest.raises(ValueError, match="score of .'a', 'x'. is nan"):
    mining.best_threshold({('a', 'x'): float('nan')}, gold)
  with pytest.raises(ValueError, match='without gold pairs'):
    mining.best_threshold(tied, [])


def test_no_threshold_is_better():
  draw = random.Random(1)
  last = single = 0
  for _ in range(3000):
    pairs = draw.sample(IDS, draw.randint(1, 12))
    gold = draw.sample(pairs, draw.randint(1, len(pairs)))
    gold += draw.sample(IDS, draw.randint(0, 3))
    values = draw.sample(range(1, 1000), len(pairs))  # no two alike
    scores = dict(zip(pairs, values, strict=True))
    # Every beginning of the sorted list is what some threshold mines.
    all_f1 = {
      limit: mining.pair_scores(mining.mined(scores, limit), gold)[0]
      for limit in values
    }
    best = max(all_f1.values())
    ours = mining.best_threshold(scores, gold)
    got = mining.pair_scores(mining.mined(scores, ours), gold)[0]
    assert got == pytest.approx(best)
    # Halfway to the next. Where several beginnings are equally good rounding
    # chooses, as in XTREME's script.
    halves = {}
    for limit in (v for v, f1 in all_f1.items() if f1 > best - 1e-9):
      following = max((v for v in values if v < limit), default=limit)
      halves[(limit + following) / 2] = limit == following
    last += halves[ours]
    single += len(halves) == 1
  assert single > 2000
  assert last > 100


def test_rankings_by_hand():
  ap = mining.average_precision
  assert ap(['b', 'x', 'a'], {'a', 'b'}) == pytest.approx((1 + 2 / 3) / 2)
  assert ap(['x', 'a'], {'a'}) == 0.5
  # What comes again counts where it came first, and takes its place.
  assert ap(['a', 'a', 'b'], ['a', 'b']) == pytest.approx((1 + 2 / 3) / 2)
  assert ap([], {'a'}) == 0
  # Rank 20 counts, 21 does not.
  assert ap(['x'] * 19 + ['a'], {'a'}) == pytest.approx(1 / 20)
  assert ap(['x'] * 20 + ['a'], {'a'}) == 0
  # No more than k can be found.
  many = [f'q{i}' for i in range(30)]
  assert ap(many[:20], many) == 1
  assert ap(many[:20], many, k=25) == pytest.approx(20 / 25)
  with pytest.raises(ValueError, match='no relevant candidate'):
    ap(['a'], [])
  score = mining.mean_average_precision
  assert score([['a'], ['x', 'a'], []], [('a',)] * 3) == 50
  with pytest.raises(ValueError, match='1 rankings for 2 queries'):
    score([['a']], [('a',), ('b',)])
  with pytest.raises(ValueError, match='query 1 has no right candidate'):
    score([['a'], ['a']], [('a',), ()])
  with pytest.raises(ValueError, match='query 0: a ranking is a list'):
    score(['a'], [('a',)])
  with pytest.raises(ValueError, match='nothing to score'):
    score([], [])


def test_any_rankings():
  draw = random.Random(2)
  names = [f'q{i}' for i in range(40)]
  total, rankings, gold = 0.0, [], []
  for _ in range(10_000):
    ranking = [draw.choice(names) for _ in range(draw.randint(0, 30))]
    right = draw.sample(names, draw.choice([1, 1, 2, 11, 25]))
    # Precision at each right candidate's first rank, rank by rank.
    reached = 0.0
    for name in right:
      if name in ranking[:20]:
        rank = ranking.index(name) + 1
        reached += len(set(ranking[:rank]) & set(right)) / rank
    expected = reached / min(len(right), 20)
    got = mining.average_precision(ranking, right)
    assert got == pytest.approx(expected)
    assert 0 <= got <= 1
    if len(right) == 1:
      at = ranking.index(right[0]) + 1 if right[0] in ranking else 99
      assert got == (1 / at if at <= 20 else 0)
    assert mining.average_precision(ranking, right[::-1]) == got
    assert mining.average_precision(right, right) == 1
    total += expected
    rankings.append(ranking)
    gold.append(right)
  score = mining.mean_average_precision(rankings, gold)
  assert score == pytest.approx(100 * total / len(gold))
  back = mining.mean_average_precision(rankings[::-1], gold[::-1])
  assert back == pytest.approx(score)
