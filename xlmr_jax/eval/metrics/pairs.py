"""Scores of retrieval: mined sentence pairs, and rankings of candidates.

BUCC 2018 (Zweigenbaum et al. 2018) compares two sets of sentence pairs.
Mewsli-X and LAReQA (Ruder et al. 2021, XTREME-R) rank candidates for every
query. Tatoeba's nearest neighbours are scored by scores.accuracy.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
import math

Pair = tuple[str, str]


def pair_scores(
  predictions: Iterable[Pair], gold: Iterable[Pair]
) -> tuple[float, float, float]:
  """F1, precision and recall of mined pairs, per cent; a pair counts once.

  Args:
    predictions: (source id, target id) of what was mined; may be empty.
    gold: the pairs that are translations.

  Raises:
    ValueError: there is no gold pair.
  """
  predicted, true = set(map(tuple, predictions)), set(map(tuple, gold))
  if not true:
    raise ValueError('there is nothing to score: no gold pairs')
  right = len(predicted & true)
  if not right:
    return 0.0, 0.0, 0.0
  precision, recall = right / len(predicted), right / len(true)
  f1 = 2 * precision * recall / (precision + recall)
  return 100 * f1, 100 * precision, 100 * recall


def best_threshold(
  candidates: Mapping[Pair, float], gold: Iterable[Pair]
) -> float:
  """The score from which on candidates are best taken for translations.

  Candidates are sorted by score, equal ones as they come. The shortest prefix
  of that list with the highest F1 is taken, and the threshold lies halfway
  between its last score and the next, as in XTREME's script.
  Where candidates of equal score stand on both sides of that border the
  threshold is their score, and `mined` takes them all.

  The script fails with an IndexError when all candidates are best taken; here
  the threshold is then the lowest score. It is 0, which `mined` takes for all
  of the positive scores that mining leaves, when no candidate is right.

  Args:
    candidates: (source id, target id) → score, higher for a likelier pair.
    gold: the pairs that are translations: those of a development set.

  Raises:
    ValueError: a score that is not a finite number, or no gold pairs.
  """
  true = set(map(tuple, gold))
  if not true:
    raise ValueError('a threshold cannot be chosen without gold pairs')
  for pair, score in candidates.items():
    if not math.isfinite(score):
      raise ValueError(f'the score of {pair} is {score}, not a number')
  items = sorted(candidates.items(), key=lambda item: -item[1])
  threshold = best = 0.0
  right = 0
  for taken, (pair, score) in enumerate(items, 1):
    right += tuple(pair) in true
    if not right:
      continue
    # Not 2 right / (taken + gold): equal shares must round as they do there,
    # where the first of them wins.
    precision, recall = right / taken, right / len(true)
    f1 = 2 * precision * recall / (precision + recall)
    if f1 > best:
      best = f1
      following = items[taken][1] if taken < len(items) else score
      threshold = (score + following) / 2
  return float(threshold)


def mined(candidates: Mapping[Pair, float], threshold: float) -> list[Pair]:
  """The pairs whose score is the threshold or more, as they come."""
  return [pair for pair, score in candidates.items() if score >= threshold]


def average_precision(
  ranking: Sequence, relevant: Collection, k: int = 20
) -> float:
  """Average precision of the first `k` of a ranking, 0 to 1.

  A candidate that comes again counts where it came first. The sum is divided
  by what can be reached, the number of relevant ones or `k` if that is less.
  With a single one this is the reciprocal of its rank.

  `average_precision(['b', 'x', 'a'], {'a', 'b'})` → (1/1 + 2/3) / 2.

  Raises:
    ValueError: nothing is relevant.
  """
  relevant = set(relevant)
  if not relevant:
    raise ValueError('a query has no relevant candidate')
  hits, total = set(), 0.0
  for rank, candidate in enumerate(ranking[:k], 1):
    if candidate in relevant and candidate not in hits:
      hits.add(candidate)
      total += len(hits) / rank
  return total / min(len(relevant), k)


def mean_average_precision(
  rankings: Sequence[Sequence], gold: Sequence[Collection], k: int = 20
) -> float:
  """mAP@k over queries, per cent: of LAReQA, and of Mewsli-X.

  Mewsli-X has one right entity for each mention, so this is the mean
  reciprocal rank there, which XTREME-R's script prints as map@20.

  Args:
    rankings: candidates of each query, the best first; empty for a query that
      a system did not answer, which scores 0.
    gold: those that are right.

  Raises:
    ValueError: not as many rankings as queries, none, or nothing right in one.
  """
  if len(rankings) != len(gold):
    raise ValueError(f'{len(rankings)} rankings for {len(gold)} queries')
  if not len(gold):
    raise ValueError('there is nothing to score')
  total = 0.0
  for index, (ranking, right) in enumerate(zip(rankings, gold, strict=True)):
    if isinstance(ranking, str) or isinstance(right, str):
      raise ValueError(f'query {index}: a ranking is a list, not a string')
    if not len(right):
      raise ValueError(f'query {index} has no right candidate')
    total += average_precision(ranking, right, k)
  return 100 * total / len(gold)
