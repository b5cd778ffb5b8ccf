"""Scores of predictions against gold, and what stands beside them.

Shares and correlations are per cent, 0 to 100 (-100 for a correlation);
`mse` is in the squared unit of its labels. `SCORES` holds them by name.
"""

import collections
from collections.abc import Callable, Mapping, Sequence

import numpy as np


def accuracy(predictions: Sequence[str], gold: Sequence[str]) -> float:
  """Share of equal lines, as XTREME's evaluate.py counts them.

  Both sides are compared as text without white space around it.

  Raises:
    ValueError: not as many predictions as labels, or none.
  """
  _check(predictions, gold)
  pairs = zip(predictions, gold, strict=True)
  same = sum(str(p).strip() == str(g).strip() for p, g in pairs)
  return 100 * same / len(gold)


def mean_squared_error(
  predictions: Sequence[float], gold: Sequence[float]
) -> float:
  """Mean squared error."""
  x, y = _numbers(predictions, gold)
  return float(np.mean((x - y) ** 2))


def pearson(predictions: Sequence[float], gold: Sequence[float]) -> float:
  """Pearson's correlation times 100; 0 where either side is constant."""
  x, y = _numbers(predictions, gold)
  # Asked first: the deviations of a constant are rounding, not variation.
  if not np.ptp(x) or not np.ptp(y):
    return 0.0
  x, y = x - x.mean(), y - y.mean()
  cosine = (x / np.linalg.norm(x)) @ (y / np.linalg.norm(y))
  return 100 * float(np.clip(cosine, -1, 1))


def spearman(predictions: Sequence[float], gold: Sequence[float]) -> float:
  """Pearson's correlation of the ranks; equal values share their mean rank."""
  x, y = _numbers(predictions, gold)
  return pearson(_ranks(x), _ranks(y))


def _ranks(values: np.ndarray) -> np.ndarray:
  _, index, counts = np.unique(values, return_inverse=True, return_counts=True)
  last = np.cumsum(counts)
  return (last - (counts - 1) / 2)[index]


def span_scores(
  predictions: Sequence[Sequence[str]], gold: Sequence[Sequence[str]]
) -> tuple[float, float, float]:
  """F1, precision and recall of spans, as XTREME scores taggers.

  That is what conlleval and seqeval before 1.0 count: B-X begins a span of
  type X and I-X goes on with it, but where a type begins without B- a span
  begins too. A tag that is a bare name, as parts of speech are, stands for
  its own type: a run of NOUN is one span, right or wrong as a whole. Tags
  beginning with S, SCONJ and SYM too, are read as spans of a single word.

  Args:
    predictions: the tags of each sentence.
    gold: the same.

  Raises:
    ValueError: sentences or words that do not match, or none.
  """
  _check(predictions, gold)
  for index, (ours, theirs) in enumerate(zip(predictions, gold, strict=True)):
    if len(ours) != len(theirs):
      raise ValueError(
        f'sentence {index} has {len(ours)} predictions for {len(theirs)} tags'
      )
  found, true = _spans(predictions), _spans(gold)
  right = len(found & true)
  precision = right / len(found) if found else 0.0
  recall = right / len(true) if true else 0.0
  both = precision + recall
  f1 = 2 * precision * recall / both if both else 0.0
  return 100 * f1, 100 * precision, 100 * recall


def span_f1(
  predictions: Sequence[Sequence[str]], gold: Sequence[Sequence[str]]
) -> float:
  """The first of `span_scores`."""
  return span_scores(predictions, gold)[0]


def _spans(sentences: Sequence[Sequence[str]]) -> set[tuple[str, int, int]]:
  """(type, first word, last word) of every span, words counted through."""
  out = set()
  last, last_kind, begin, at = 'O', '', 0, 0
  for sentence in sentences:
    for tag in (*sentence, 'O'):  # O stands between sentences
      first, kind = tag[0], tag.rpartition('-')[2]
      other = last_kind != kind
      if (
        last in 'ES'
        or (last in 'BI' and first in 'BSO')
        or (last not in 'O.' and other)
      ):
        out.add((last_kind, begin, at - 1))
      if (
        first in 'BS'
        or (last in 'ESO' and first in 'EI')
        or (first not in 'O.' and other)
      ):
        begin = at
      last, last_kind, at = first, kind, at + 1
  return out


SCORES: Mapping[str, Callable[[Sequence, Sequence], float]] = {
  'accuracy': accuracy,
  'mse': mean_squared_error,
  'pearson': pearson,
  'spearman': spearman,
  'span_f1': span_f1,
}
NUMBERS = ('mse', 'pearson', 'spearman')  # of numbers; the others of names


def chance(metric: str, labels: Sequence[str] | None) -> float | None:
  """What guessing scores: 100 / C, no correlation; None for the others."""
  if metric == 'accuracy':
    return 100 / len(labels)
  return 0.0 if metric in ('pearson', 'spearman') else None


def majority(metric: str, gold: Sequence) -> float | None:
  """What the best constant scores on these very labels.

  The most frequent label for accuracy, the mean for mse; 0 for a
  correlation; the most frequent tag at every word for span_f1. None without
  labels.
  """
  if not len(gold):
    return None
  if metric == 'accuracy':
    counts = collections.Counter(str(label).strip() for label in gold)
    return 100 * max(counts.values()) / len(gold)
  if metric == 'span_f1':
    counts = collections.Counter(tag for tags in gold for tag in tags)
    most = counts.most_common(1)[0][0]
    return span_f1([[most] * len(tags) for tags in gold], gold)
  return float(np.var(np.asarray(gold, float))) if metric == 'mse' else 0.0


def mean(scores: Sequence[float | None]) -> float | None:
  """Unweighted mean, as benchmarks average languages; None if one is None."""
  if not scores or any(score is None for score in scores):
    return None
  return sum(scores) / len(scores)


def _check(predictions: Sequence, gold: Sequence) -> None:
  if len(predictions) != len(gold):
    raise ValueError(
      f'{len(predictions)} predictions for {len(gold)} labels: one line each'
    )
  if not len(gold):
    raise ValueError('there is nothing to score')


def _numbers(predictions, gold) -> tuple[np.ndarray, np.ndarray]:
  _check(predictions, gold)
  x, y = np.asarray(predictions, float), np.asarray(gold, float)
  for name, values in (('prediction', x), ('label', y)):
    bad = np.flatnonzero(~np.isfinite(values))
    if bad.size:
      raise ValueError(f'{name} {bad[0]} is {values[bad[0]]}, not a number')
  return x, y
