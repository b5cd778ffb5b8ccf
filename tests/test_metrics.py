"""Metrics against XTREME's golden fixture and hand-made cases."""

import json
import random

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


def tagged_lines(path):
  """The tags of each sentence of one of XTREME's files."""
  return [part.split('\n') for part in path.read_text().strip().split('\n\n')]


@pytest.mark.parametrize('task, languages', [('udpos', 33), ('panx', 40)])
def test_spans_agree_with_xtreme(data_dir, task, languages):
  mock = data_dir / 'xtreme_mock'
  expected = json.loads((mock / 'expected_scores.json').read_text())[task]
  scores = []
  for path in sorted((mock / 'predictions' / task).glob('test-*.tsv')):
    gold = tagged_lines(mock / 'labels' / task / path.name)
    scores.append(metrics.span_scores(tagged_lines(path), gold))
  assert len(scores) == languages
  for name, column in zip(
    ('f1', 'precision', 'recall'), zip(*scores, strict=True), strict=True
  ):
    assert metrics.mean(list(column)) == pytest.approx(
      expected[f'avg_{name}'], abs=1e-12
    )


def made_up(tags, seed, count=200):
  """Gold tags and predictions of which three in four are right."""
  draw = random.Random(seed)  # whose random() is the same in every version
  pick = lambda: tags[int(draw.random() * len(tags))]
  gold = [
    [pick() for _ in range(1 + int(draw.random() * 9))] for _ in range(count)
  ]
  guess = [[t if draw.random() < 0.75 else pick() for t in s] for s in gold]
  return guess, gold


# (tags, seed) → what seqeval 0.0.12, the last that XTREME's script ran with,
# gives: F1, precision and recall, as shares.
SEQEVAL = {
  ('O B-LOC I-LOC B-PER I-PER B-ORG I-ORG', 0): (
    0.7351567711807871,
    0.7307692307692307,
    0.7395973154362416,
  ),
  ('O B-A I-A E-A S-A I-B', 1): (
    0.7951645399597045,
    0.8043478260869565,
    0.7861885790172642,
  ),
  ('NOUN VERB SYM SCONJ X INTJ PUNCT ADP', 2): (
    0.7178958225889633,
    0.7197518097207859,
    0.7160493827160493,
  ),
  ('O B I E S . O-A', 3): (
    0.7618181818181818,
    0.7535971223021583,
    0.7702205882352942,
  ),
}


@pytest.mark.parametrize('tags, seed', SEQEVAL)
def test_spans_agree_with_seqeval(tags, seed):
  guess, gold = made_up(tags.split(), seed)
  got = metrics.span_scores(guess, gold)
  assert np.divide(got, 100) == pytest.approx(SEQEVAL[tags, seed], abs=1e-12)
  assert metrics.span_f1(guess, gold) == got[0]


def test_spans_by_hand():
  score = metrics.span_scores
  # A run of equal names is one span; half of it is nothing.
  assert score([['NOUN', 'VERB']], [['NOUN', 'NOUN']]) == (0, 0, 0)
  assert score([['NOUN', 'NOUN']], [['NOUN', 'NOUN']]) == (100, 100, 100)
  # But for names in S: each word is a span of its own.
  assert score([['SYM', 'VERB']], [['SYM', 'SYM']]) == (50, 50, 50)
  # A span ends with its sentence, whatever its name.
  assert score([['X'], ['X']], [['X'], ['X']]) == (100, 100, 100)
  assert score([['X'], ['X']], [['X'], ['VERB']]) == (50, 50, 50)
  # I- after O begins a span; B- splits one in two.
  assert score([['O', 'I-P']], [['O', 'B-P']]) == (100, 100, 100)
  assert score([['B-P', 'B-P']], [['B-P', 'I-P']]) == (0, 0, 0)
  assert score([['O', 'O']], [['O', 'B-P']]) == (0, 0, 0)
  assert score([['B-P', 'O']], [['B-P', 'B-P']])[1:] == (100, 50)
  with pytest.raises(ValueError, match='sentence 1 has 2 predictions for 1'):
    score([['O'], ['O', 'O']], [['O'], ['O']])
  with pytest.raises(ValueError, match='1 predictions for 2 labels'):
    score([['O']], [['O'], ['O']])
  with pytest.raises(ValueError, match='nothing to score'):
    score([], [])
  assert metrics.chance('span_f1', ('O', 'B-P')) is None
  assert metrics.majority(
    'span_f1', [['VERB'], ['VERB', 'X']]
  ) == pytest.approx(40)
