"""Metrics against XTREME's golden fixture and hand-made cases."""

import json

import numpy as np
import pytest

from xlmr_jax.eval import metrics


@pytest.mark.parametrize('task', ['xnli', 'pawsx'])
def test_accuracy_agrees_with_xtreme(data_dir, task):
  mock = data_dir / 'xtreme_mock'
  expected = json.loads((mock / 'expected_scores.json').read_text())
  scores = []
  for path in sorted((mock / 'predictions' / task).glob('test-*.tsv')):
    gold = (mock / 'labels' / task / path.name).read_text().splitlines()
    scores.append(metrics.accuracy(path.read_text().splitlines(), gold))
  assert len(scores) == {'xnli': 15, 'pawsx': 7}[task]
  assert metrics.mean(scores) == pytest.approx(
    expected[task]['avg_accuracy'], abs=1e-12
  )


def test_accuracy_strips_and_counts_lines():
  assert metrics.accuracy(['a ', '\tb\n', 'c'], ['a', 'b', 'd']) == 200 / 3
  with pytest.raises(ValueError, match='2 predictions for 3 labels'):
    metrics.accuracy(['a', 'b'], ['a', 'b', 'c'])
  with pytest.raises(ValueError, match='nothing to score'):
    metrics.accuracy([], [])


def test_mse_and_correlations():
  gold = [1.0, 2.0, 3.0, 4.0]
  assert metrics.mean_squared_error([1, 2, 3, 6], gold) == 1.0
  assert metrics.pearson([10, 20, 30, 40], gold) == pytest.approx(100)
  assert metrics.pearson([4, 3, 2, 1], gold) == pytest.approx(-100)
  # Ranks 1, 2.5, 2.5, 4 against 1, 2, 3, 4: 4.5 / sqrt(4.5 · 5).
  assert metrics.spearman([0, 7, 7, 1e6], gold) == pytest.approx(
    100 * 4.5 / np.sqrt(4.5 * 5)
  )
  assert metrics.pearson([0, 7, 7, 1e6], gold) < 80
  random = np.random.default_rng(0)
  x, y = random.normal(size=(2, 50))
  assert metrics.pearson(x, y) == pytest.approx(100 * np.corrcoef(x, y)[0, 1])


def test_constant_predictions_do_not_correlate():
  assert metrics.pearson([0.1] * 3, [1, 2, 3]) == 0
  assert metrics.spearman([0.1] * 3, [1, 2, 3]) == 0


def test_not_a_number_is_an_error():
  with pytest.raises(ValueError, match='prediction 1 is nan'):
    metrics.mean_squared_error([1.0, float('nan')], [1.0, 2.0])


def test_baselines():
  gold = ['a', 'b ', 'b', 'c']
  assert metrics.chance('accuracy', ('a', 'b', 'c', 'd')) == 25
  assert metrics.majority('accuracy', gold) == 50
  assert metrics.majority('mse', [1.0, 3.0]) == 1
  assert metrics.majority('pearson', [1.0, 3.0]) == 0
  assert metrics.chance('mse', None) is None
  assert metrics.majority('accuracy', []) is None


def test_mean_is_unweighted_and_null_where_a_language_has_no_labels():
  assert metrics.mean([10.0, 20.0]) == 15
  assert metrics.mean([10.0, None]) is None
