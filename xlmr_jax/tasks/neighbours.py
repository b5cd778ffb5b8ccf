"""Exact search for the nearest of many vectors, and mining of pairs.

It runs in blocks: its memory grows with the number of vectors, not with that
of pairs. Equally close vectors come in the order given.
"""

from typing import Any

from jaxtyping import Float, Int
import numpy as np

MARGINS = ('ratio', 'distance', 'absolute')
# Vectors of each side that are compared at once: 8 MB of scores.
_QUERIES, _KEYS = 512, 4096
_RANKED = 128  # queries whose candidates are ranked at once
# float32 searches for this many more than k; float64 ranks them, so that the
# order does not depend on how a block was cut.
_SPARE = 4


def unit(x: Float[np.ndarray, 'N D']) -> Float[np.ndarray, 'N D']:
  """Vectors scaled to length 1, float32; a zero vector stays."""
  x = np.asarray(x, np.float32)
  norms = np.linalg.norm(x, axis=-1, keepdims=True)
  if not np.isfinite(norms).all():
    row = int(np.flatnonzero(~np.isfinite(norms))[0])
    raise ValueError(f'vector {row} is not finite')
  return x / np.where(norms > 0, norms, 1)


def nearest(
  x: Float[np.ndarray, 'N D'],
  y: Float[np.ndarray, 'M D'],
  *,
  normalize: bool = True,
) -> Int[np.ndarray, 'M']:
  """For each row of y the closest of x; of equally close ones the first."""
  if normalize:
    x, y = unit(x), unit(y)
  return search(y, x, 1)[1][:, 0]


def search(
  queries: Float[np.ndarray, 'N D'], keys: Float[np.ndarray, 'M D'], k: int
) -> tuple[Float[np.ndarray, 'N k'], Int[np.ndarray, 'N k']]:
  """The k keys of the highest dot product with each query.

  Returns:
    Products, float64, and places among the keys, the best first and equal ones
    by their places. k is M where there are no more keys.

  Raises:
    ValueError: k is not positive.
  """
  queries, keys = (np.ascontiguousarray(v, np.float32) for v in (queries, keys))
  candidates, _ = _candidates(queries, keys, _wide(k))
  return _rank(queries, keys, candidates, k)


def _wide(k: int) -> int:
  if k < 1:
    raise ValueError(f'k={k}; at least one neighbour is asked for')
  return k + _SPARE


def _candidates(x, y, count: int, both: bool = False):
  """The rows of y closest to each of x; if `both`, of x to each of y too.

  Both directions need the same products, which take nearly all of the time.
  """
  of_x: list[np.ndarray] = []
  of_y: dict[int, tuple] = {}
  for start in range(0, len(x), _QUERIES):
    block = x[start : start + _QUERIES]
    best: Any = None
    for first in range(0, len(y), _KEYS):
      scores = block @ y[first : first + _KEYS].T
      if both:
        across = scores.T.copy(order='C')
        of_y[first] = _merge(of_y.get(first), across, start, count)
      best = _merge(best, scores, first, count)
    of_x.append(best[1])
  return np.concatenate(of_x), (
    np.concatenate([places for _, places in of_y.values()]) if both else None
  )


def _merge(best, scores, first: int, count: int):
  """The highest scores so far, and their places; `scores` begin at `first`."""
  values, at = _highest(scores, count)
  at += first
  if best is None:
    return values, at
  # Of equal scores the first are kept: those of earlier places.
  values, kept = _highest(np.hstack([best[0], values]), count)
  return values, np.take_along_axis(np.hstack([best[1], at]), kept, 1)


def _rank(queries, keys, candidates, k: int) -> tuple[np.ndarray, np.ndarray]:
  """The best of the candidates, by products in float64."""
  k = min(k, candidates.shape[1])
  scores = np.empty((len(queries), k))
  places = np.empty((len(queries), k), np.int64)
  for start in range(0, len(queries), _RANKED):
    rows = slice(start, start + _RANKED)
    near = candidates[rows]
    # The sum of a pair does not depend on where the pair stands, as it may in
    # a product of matrices.
    exact = (queries[rows, None].astype(np.float64) * keys[near]).sum(axis=-1)
    order = np.lexsort((near, -exact))[:, :k]
    scores[rows] = np.take_along_axis(exact, order, 1)
    places[rows] = np.take_along_axis(near, order, 1)
  return scores, places


def _highest(
  x: Float[np.ndarray, 'N M'], count: int
) -> tuple[Float[np.ndarray, 'N k'], Int[np.ndarray, 'N k']]:
  """The highest values of each row, and where; overwrites x.

  argmax gives the first of equal values, a partition gives any.
  """
  count = min(count, x.shape[1])
  rows = np.arange(len(x))
  values = np.empty((len(x), count), x.dtype)
  places = np.empty((len(x), count), np.int64)
  for i in range(count):
    places[:, i] = x.argmax(axis=1)
    values[:, i] = x[rows, places[:, i]]
    x[rows, places[:, i]] = -np.inf
  return values, places


def mine(
  x: Float[np.ndarray, 'N D'],
  y: Float[np.ndarray, 'M D'],
  *,
  k: int = 4,
  margin: str = 'ratio',
) -> list[tuple[int, int, float]]:
  """Pairs of rows that are likely translations (Artetxe and Schwenk 2019a).

  The score of a pair is its cosine a against the mean b of the cosines with
  the k nearest neighbours of both, which tells a translation from a sentence
  that is close to everything: 'ratio' a / b, 'distance' a - b, 'absolute' a.
  Each row proposes the best of its k neighbours, on both sides ('max' there,
  section 4.3), and proposals are taken from the best on, unless a row is in a
  pair already. Equal scores are taken in the order of x, then of y.

  Args:
    x, y: vectors of distinct sentences.
    k: neighbours.
    margin: one of MARGINS.

  Returns:
    (row of x, row of y, score above 0), the best first.

  Raises:
    ValueError: an unknown margin, k below 1, or a vector that is not finite.
  """
  if margin not in MARGINS:
    raise ValueError(f'margin={margin!r} is not one of {", ".join(MARGINS)}')
  x, y = unit(x), unit(y)
  found_x, found_y = _candidates(x, y, _wide(k), both=True)
  forward, backward = _rank(x, y, found_x, k), _rank(y, x, found_y, k)
  means = forward[0].mean(axis=1), backward[0].mean(axis=1)

  def proposals(cosines, places, own, others):
    """The best neighbour of each row, and the score of the pair."""
    around = (own[:, None] + others[places]) / 2
    if margin == 'ratio':
      # A mean of 0 gives no ratio: such a pair is never taken.
      scores = np.divide(
        cosines, around, out=np.zeros_like(cosines), where=around != 0
      )
    else:
      scores = cosines - around if margin == 'distance' else cosines
    best = scores.argmax(axis=1)[:, None]
    return (
      np.take_along_axis(places, best, 1)[:, 0],
      np.take_along_axis(scores, best, 1)[:, 0],
    )

  to_y, forward_scores = proposals(*forward, *means)
  to_x, backward_scores = proposals(*backward, *means[::-1])
  sources = np.concatenate([np.arange(len(x)), to_x]).tolist()
  targets = np.concatenate([to_y, np.arange(len(y))]).tolist()
  scores = np.concatenate([forward_scores, backward_scores])
  taken_x, taken_y = [False] * len(x), [False] * len(y)
  out = []
  for at in np.argsort(-scores, kind='stable').tolist():
    i, j, score = sources[at], targets[at], float(scores[at])
    if score <= 0:
      break
    if not taken_x[i] and not taken_y[j]:
      taken_x[i] = taken_y[j] = True
      out.append((i, j, score))
  return out
