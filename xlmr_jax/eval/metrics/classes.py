"""Scores of classes beside accuracy, per cent, as scikit-learn defines them.

A prediction is the name of a class, or, where an example has any number of
labels, a tuple of names.
"""

import collections
from collections.abc import Sequence

import numpy as np


def micro_f1(
  predictions: Sequence, gold: Sequence, labels: Sequence[str] | None = None
) -> float:
  """F1 of all classes together; of single names it is accuracy."""
  counts = _counts(predictions, gold, labels)
  right, wrong = (sum(part.values()) for part in counts[:2])
  total = right + (wrong + sum(counts[2].values())) / 2
  return 100 * right / total if total else 0.0


def macro_f1(
  predictions: Sequence, gold: Sequence, labels: Sequence[str] | None = None
) -> float:
  """The mean of the classes' F1.

  Of single names those classes are counted that occur in the predictions or in
  gold; of tuples all of `labels`, and one that does not occur has 0.
  """
  right, extra, missed = _counts(predictions, gold, labels)
  halves = {name: (extra[name] + missed[name]) / 2 for name in right}
  each = [n and n / (n + halves[name]) for name, n in right.items()]
  return 100 * sum(each) / len(each)


def exact_match(
  predictions: Sequence, gold: Sequence, labels: Sequence[str] | None = None
) -> float:
  """Share of examples all of whose labels are right."""
  del labels
  _check(predictions, gold)
  pairs = zip(predictions, gold, strict=True)
  same = sum(set(_names(p)) == set(_names(g)) for p, g in pairs)
  return 100 * same / len(gold)


def matthews(
  predictions: Sequence, gold: Sequence, labels: Sequence[str] | None = None
) -> float:
  """Matthews' correlation times 100, of any number of classes.

  Gorodkin (2004), "Comparing two K-category assignments by a K-category
  correlation coefficient"; 0 where either side is constant.
  """
  del labels
  _check(predictions, gold)
  predicted, true = map(collections.Counter, (predictions, gold))
  n = len(gold)
  same = sum(p == g for p, g in zip(predictions, gold, strict=True))
  covariance = same * n - sum(predicted[k] * true[k] for k in true)
  spread = [n * n - sum(c * c for c in x.values()) for x in (predicted, true)]
  if not all(spread):
    return 0.0
  return float(100 * covariance / np.sqrt(float(spread[0]) * float(spread[1])))


def _counts(predictions, gold, labels):
  """By class: how often it is right, given though wrong, and missed."""
  _check(predictions, gold)
  # Of single names the classes are those that occur.
  known = labels or () if isinstance(gold[0], tuple) else ()
  right, extra, missed = (dict.fromkeys(known, 0) for _ in range(3))
  for prediction, answer in zip(predictions, gold, strict=True):
    given, true = set(_names(prediction)), set(_names(answer))
    for name in given | true:
      for part in (right, extra, missed):
        part.setdefault(name, 0)
      part = missed if name not in given else right if name in true else extra
      part[name] += 1
  return right, extra, missed


def _names(answer) -> tuple[str, ...]:
  return answer if isinstance(answer, tuple) else (str(answer).strip(),)


def _check(predictions: Sequence, gold: Sequence) -> None:
  if len(predictions) != len(gold):
    raise ValueError(
      f'{len(predictions)} predictions for {len(gold)} labels: one each'
    )
  if not len(gold):
    raise ValueError('there is nothing to score')
