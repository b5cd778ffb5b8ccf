"""Extractive question answering: from scores of both ends to a span.

The official rule of SQuAD (Rajpurkar et al. 2016, 2018): a span's score is
that of its first token as a start plus that of its last as an end; `<s>` as
both stands for "there is no answer".
"""

from jaxtyping import Bool, Float
import numpy as np


def best_span(
  logits: Float[np.ndarray, 'L 2'],
  inside: Bool[np.ndarray, 'L'],
  *,
  longest: int = 30,
  null: bool = False,
  margin: float = 0.0,
) -> tuple[int, int, float] | None:
  """The best answer in one feature.

  Args:
    logits: scores of being the first and the last token.
    inside: which tokens an answer may hold (those of the context).
    longest: the most tokens of an answer.
    null: whether there may be none; without it the best span is given.
    margin: by how much no answer must beat the best span to be chosen
      (SQuAD 2's null_score_diff_threshold).

  Returns:
    (first, last, score), both ends included; None for no answer. Of equal
    spans the earliest.

  Raises:
    ValueError: no token is inside, or `longest` is not positive.
  """
  if longest < 1:
    raise ValueError(f'longest={longest}; an answer has at least one token')
  if not inside.any():
    raise ValueError('no token may be part of an answer: the context is empty')
  start, end = np.asarray(logits, np.float64).T
  first, last = np.indices((len(start), len(start)))
  allowed = inside[:, None] & inside[None, :]
  allowed &= (first <= last) & (last < first + longest)
  scores = np.where(allowed, start[:, None] + end[None, :], -np.inf)
  at = np.unravel_index(scores.argmax(), scores.shape)
  best = float(scores[at])
  if null and start[0] + end[0] > best + margin:
    return None
  return int(at[0]), int(at[1]), best
