"""F1 and Matthews' correlation of classes, by another way of computing them."""

import numpy as np
import pytest

from xlmr_jax.eval.metrics import scores
from xlmr_jax.eval.task import user_task
from xlmr_jax.tasks import multilabel

NAMES = tuple('abcdef')  # nobody says f


def one_hot(answers):
  return np.array([[x == n for n in NAMES] for x in answers], float)


@pytest.fixture(scope='module')
def single():
  rng = np.random.default_rng(0)
  gold = rng.choice(list('aaaaabbc'), 300)
  guess = np.where(rng.random(300) < 0.6, gold, rng.choice(list('abcde'), 300))
  return guess.tolist(), gold.tolist()


@pytest.fixture(scope='module')
def sets():
  rng = np.random.default_rng(1)
  gold = rng.random((200, 6)) < [0.5, 0.3, 0.1, 0.6, 0.05, 0]
  guess = np.where(rng.random((200, 6)) < 0.9, gold, ~gold)
  guess[:, 5] = False
  return guess, gold


def as_names(matrix):
  return [tuple(np.compress(row, NAMES).tolist()) for row in matrix]


def f1(guess, gold):
  """From precision and recall of columns; 0 where there is nothing."""
  right = (guess * gold).sum(0)
  precision = right / np.maximum(guess.sum(0), 1)
  recall = right / np.maximum(gold.sum(0), 1)
  both = precision + recall
  return 200 * precision * recall / np.where(both > 0, both, 1)


def test_single_names(single):
  guess, gold = single
  x, y = one_hot(guess), one_hot(gold)
  score = lambda name: scores.score(name, guess, gold, labels=NAMES)[name]
  # Classes that occur on neither side are no part of the mean: d and e occur
  # in the guesses alone and count, f does not.
  assert score('macro_f1') == pytest.approx(f1(x, y)[:5].mean())
  assert score('micro_f1') == pytest.approx(score('accuracy'))
  # Matthews' is Pearson's correlation of the indicators, over all classes.
  x, y = x - x.mean(0), y - y.mean(0)
  want = 100 * (x * y).sum() / np.sqrt((x**2).sum() * (y**2).sum())
  assert score('matthews') == pytest.approx(want)
  two = [['n' if name == 'a' else 'y' for name in side] for side in single]
  bits = [[name == 'y' for name in side] for side in two]
  want = 100 * np.corrcoef(*bits)[0, 1]
  assert scores.score('matthews', *two)['matthews'] == pytest.approx(want)


def test_what_scikit_learn_gives():
  """Its documentation's examples, of f1_score and matthews_corrcoef."""
  gold, guess = list('012012'), list('021001')
  score = lambda name, *pair: scores.score(name, *pair)[name] / 100
  assert score('macro_f1', guess, gold) == pytest.approx(0.26666667)
  assert score('micro_f1', guess, gold) == pytest.approx(1 / 3)
  plus = ['+', '+', '+', '-'], ['+', '-', '+', '+']
  assert score('matthews', plus[1], plus[0]) == pytest.approx(-1 / 3)


def test_sets_of_names(sets):
  guess, gold = as_names(sets[0]), as_names(sets[1])
  score = lambda name: scores.score(name, guess, gold, labels=NAMES)[name]
  assert score('macro_f1') == pytest.approx(f1(*sets).mean())  # f has 0
  flat = [side.reshape(-1, 1) for side in sets]
  assert score('micro_f1') == pytest.approx(f1(*flat)[0])
  assert score('exact_match') == 100 * (sets[0] == sets[1]).all(1).mean()


def test_constants():
  gold = ['a', 'a', 'a', 'b']
  assert scores.majority('macro_f1', gold) == pytest.approx(100 * 6 / 7 / 2)
  assert scores.majority('micro_f1', gold) == 75
  assert scores.majority('matthews', gold) == 0
  assert scores.chance('matthews', 'ab') == 0
  assert scores.score('matthews', ['a'] * 4, gold)['matthews'] == 0
  assert scores.majority('exact_match', [('a',), ('a',), ()]) == 200 / 3
  assert scores.majority('micro_f1', [('a',), ()]) is None
  nothing = [(), ()]
  assert scores.score('micro_f1', nothing, nothing)['micro_f1'] == 0


def test_a_metric_of_another_kind_is_refused():
  with pytest.raises(ValueError, match='accuracy or macro_f1 or micro_f1'):
    user_task('x', {}, ['en'], metric='accuracy').judged_by('mse')


# --- Thresholds ---------------------------------------------------------------


@pytest.mark.parametrize('how', multilabel.HOW)
def test_no_other_threshold_is_better(sets, how):
  """Tried one by one, all that give other answers."""
  rng = np.random.default_rng(2)
  chance = np.clip(0.3 * sets[1] + 0.6 * rng.random((200, 6)), 0.01, 0.99)
  chance = chance.round(2)  # many are equal
  logits = list(np.log(chance) - np.log1p(-chance))
  features = [{'label': row.astype(np.float32)} for row in sets[1]]
  chosen = multilabel.tune(logits, features, NAMES, how=how)['thresholds']
  gold = as_names(sets[1])
  metric = {'shared': 'micro_f1', 'per_label': 'macro_f1'}[how]

  def score(thresholds):
    answers = multilabel.decode(logits, NAMES, thresholds=thresholds)
    return scores.score(metric, answers, gold, labels=NAMES)[metric]

  best = score(chosen)
  grid = np.arange(0, 1.01, 0.01) - 0.005
  if how == 'shared':
    assert len(set(chosen)) == 1
    others = [score([t] * 6) for t in grid]
  else:
    assert chosen[5] == 0.5  # nobody says f
    others = [
      score([*chosen[:i], t, *chosen[i + 1 :]]) for i in range(5) for t in grid
    ]
  assert best == pytest.approx(max(others)) and best > min(others) + 5
  assert best > score([0.5] * 6)


def test_thresholds_need_labelled_examples():
  with pytest.raises(ValueError, match='no labelled examples to choose'):
    multilabel.tune([np.zeros(2)], [{'label': None}], 'ab', how='shared')
  with pytest.raises(ValueError, match='2 thresholds for 3 labels'):
    multilabel.decode([np.zeros(3)], 'abc', thresholds=[0.5, 0.5])
  assert multilabel.decode([np.array([0.0, -1e4, 1e4])], 'abc') == [('a', 'c')]
