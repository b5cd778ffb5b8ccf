"""The best span is SQuAD's, with and without the null answer."""

import numpy as np
import pytest

from xlmr_jax.tasks import answer


def slowly(logits, inside, longest):
  """Every span, one after the other."""
  best = None
  for i in range(len(logits)):
    for j in range(i, min(i + longest, len(logits))):
      score = float(logits[i, 0]) + float(logits[j, 1])
      if inside[i] and inside[j] and (best is None or score > best[2]):
        best = i, j, score
  return best


@pytest.mark.parametrize('longest', [1, 3, 30])
def test_it_is_the_best_of_all_spans(longest):
  rng = np.random.default_rng(0)
  for _ in range(50):
    logits = rng.normal(size=(12, 2)).astype(np.float32)
    inside = rng.random(12) < 0.6
    inside[rng.integers(12)] = True
    got = answer.best_span(logits, inside, longest=longest)
    want = slowly(logits, inside, longest)
    assert got[:2] == want[:2] and got[2] == pytest.approx(want[2])


def test_no_answer_is_an_answer_only_where_it_may_be():
  logits = np.array([[5.0, 5.0], [1.0, 0.0], [0.0, 2.0], [9.0, 9.0]])
  inside = np.array([False, True, True, False])
  assert answer.best_span(logits, inside) == (1, 2, 3.0)
  assert answer.best_span(logits, inside, null=True) is None
  assert answer.best_span(logits, inside, null=True, margin=6.9) is None
  assert answer.best_span(logits, inside, null=True, margin=7.0) == (1, 2, 3.0)


def test_of_equal_spans_the_earliest():
  logits = np.zeros((5, 2))
  assert answer.best_span(logits, np.ones(5, bool)) == (0, 0, 0.0)


def test_nothing_to_answer_from():
  with pytest.raises(ValueError, match='the context is empty'):
    answer.best_span(np.zeros((4, 2)), np.zeros(4, bool))
  with pytest.raises(ValueError, match='longest=0'):
    answer.best_span(np.zeros((4, 2)), np.ones(4, bool), longest=0)
