"""From scores of tokens to answers: the best span, and whether there is one.

Rules and defaults are those of SQuAD's scripts as XTREME runs them (Rajpurkar
et al. 2016, 2018; Hu et al. 2020, arXiv:2003.11080):

  * A span's score is the sum of its first token's score as a start and its
    last one's as an end. Both are among the `candidates` highest of the window,
    the span has at most `longest` tokens, and its first token is in no other
    window with more context around it.
  * "There is no answer" is `<s>` as start and end, of the window that scores
    it lowest.

Those scripts put answers together from words, and take whole words where that
fails; here the text is always that of the tokens. White space around it is not
part of it, and a span does not start or end with a piece without text (a lone
▁).
"""

from collections.abc import Iterator, Sequence
import itertools
from typing import Any

from jaxtyping import Bool, Float, Int
import numpy as np


def decode(
  outputs: Sequence[Float[np.ndarray, 'n 2']],
  labels: Sequence[str] | None,
  features: Sequence[dict[str, Any]],
  *,
  longest: int = 30,
  candidates: int | None = 20,
  null: bool = False,
  margin: float = 0.0,
) -> list[str]:
  """The answer to each question.

  Args:
    outputs, features, longest, candidates: as of `best_spans`.
    labels: there are none.
    null: whether there may be no answer, ''. Without it only an empty context
      gives ''.
    margin: by how much no answer must beat the best span to be chosen
      (SQuAD 2's null_score_diff_threshold).

  Raises:
    ValueError: outputs do not fit the features, or are not finite.
  """
  del labels
  spans, odds = best_spans(
    outputs, features, longest=longest, candidates=candidates
  )
  return with_threshold(spans, odds, margin) if null else spans


def with_threshold(
  spans: Sequence[str], odds: Sequence[float], threshold: float
) -> list[str]:
  """The answers, '' where no answer beats the span by more than a threshold."""
  return [
    '' if null > threshold else span
    for span, null in zip(spans, odds, strict=True)
  ]


def best_spans(
  outputs: Sequence[Float[np.ndarray, 'n 2']],
  features: Sequence[dict[str, Any]],
  *,
  longest: int = 30,
  candidates: int | None = 20,
) -> tuple[list[str], list[float]]:
  """The best span for each question, and by how much no answer beats it.

  It is the highest of all spans of all its windows; of equal ones that of the
  earliest window, then the earliest, then the shortest.

  Args:
    outputs: of each feature: every token's score as start and as end.
    features: what `answer.encode` made, in its order.
    longest: the most tokens of an answer.
    candidates: how many of a window's highest starts, and ends, are looked at;
      those outside the context count. None looks at all, and so does a
      question for which these few form no span.

  Returns:
    Texts, '' for a context without any span, and the score of no answer less
    that of the span: null_odds.json of SQuAD 2's scripts.

  Raises:
    ValueError: outputs do not fit the features, or are not finite.
  """
  texts, odds = [], []
  for windows in _questions(outputs, features, longest, candidates):
    best = None
    for limit in (candidates, None):
      for scores, feature in windows:
        rows, table = _table(scores, *_ends(feature), longest, limit)
        if table.size:
          at = int(table.argmax())
          row, more = divmod(at, table.shape[1])
          score = table[row, more]
          if score > (best[0] if best else -np.inf):
            best = score, feature, rows[row], rows[row] + more
      if best:
        break
    texts.append(_text(*best[1:]) if best else '')
    odds.append(float(_null(windows).sum() - (best[0] if best else 0.0)))
  return texts, odds


def nbest(
  outputs: Sequence[Float[np.ndarray, 'n 2']],
  features: Sequence[dict[str, Any]],
  n: int = 20,
  *,
  longest: int = 30,
  candidates: int | None = 20,
  null: bool = False,
) -> list[list[dict[str, Any]]]:
  """The n best answers to each question, as SQuAD's scripts write them.

  Args:
    outputs, features, longest, candidates: as of `best_spans`.
    null: whether '' is among the answers.
    n: the most answers to a question.

  Returns:
    For each question {'text', 'probability', 'start_logit', 'end_logit'} of
    different texts, the best first, and of two spans with one text the better
    one. Probabilities are a softmax over these answers.
  """
  if n < 1:
    raise ValueError(f'n={n}; there is at least one answer')
  out = []
  for windows in _questions(outputs, features, longest, candidates):
    spans: list[tuple[Any, ...]] = []
    for limit in (candidates, None):
      for scores, feature in windows:
        rows, table = _table(scores, *_ends(feature), longest, limit)
        for row, more in np.argwhere(table > -np.inf):
          first = rows[row]
          spans.append((table[row, more], scores, feature, first, first + more))
      if spans:
        break
    # Sorting keeps the order of equals.
    spans.sort(key=lambda span: -span[0])
    best: dict[str, tuple[float, float]] = {}
    for _, scores, feature, first, last in spans:
      if len(best) == n:
        break
      ends = float(scores[first, 0]), float(scores[last, 1])
      best.setdefault(_text(feature, first, last), ends)
    if null and '' not in best:
      start, end = _null(windows).tolist()
      best[''] = start, end
    rank = sorted(best.items() or [('', (0.0, 0.0))], key=lambda x: -sum(x[1]))
    rank = rank[:n]
    weights = np.exp([sum(ends) - sum(rank[0][1]) for _, ends in rank])
    out.append(
      [
        {
          'text': text,
          'probability': float(weight),
          'start_logit': ends[0],
          'end_logit': ends[1],
        }
        for (text, ends), weight in zip(
          rank, weights / weights.sum(), strict=True
        )
      ]
    )
  return out


def _questions(
  outputs: Sequence[Float[np.ndarray, 'n 2']],
  features: Sequence[dict[str, Any]],
  longest: int,
  candidates: int | None,
) -> Iterator[list[tuple[Float[np.ndarray, 'n 2'], dict[str, Any]]]]:
  """The windows of each question, with their scores."""
  if longest < 1 or candidates is not None and candidates < 1:
    raise ValueError(
      f'longest={longest}, candidates={candidates}; each is at least one'
    )
  if len(outputs) != len(features):
    raise ValueError(f'{len(outputs)} outputs for {len(features)} features')
  pairs = zip(outputs, features, strict=True)
  for number, group in itertools.groupby(pairs, lambda p: p[1]['example']):
    windows = []
    for output, feature in group:
      scores = np.asarray(output, np.float64)
      expected = len(feature['tokens']), 2
      if scores.shape != expected:
        raise ValueError(
          f'question {number}: outputs {scores.shape} for a window of'
          f' {expected[0]} tokens; each has two, as start and as end'
        )
      if not np.isfinite(scores).all():
        raise ValueError(f'question {number}: the scores are not finite')
      windows.append((scores, feature))
    yield windows


def _ends(feature: dict[str, Any]) -> tuple[np.ndarray, np.ndarray]:
  """Masks of the tokens that an answer may start with, and end with."""
  begins, ends = feature['spans'].T
  return feature['starts'], feature['inside'] & (begins < ends)


def _table(
  scores: Float[np.ndarray, 'n 2'],
  first: Bool[np.ndarray, 'n'],
  last: Bool[np.ndarray, 'n'],
  longest: int,
  candidates: int | None,
) -> tuple[Int[np.ndarray, 'rows'], Float[np.ndarray, 'rows longest']]:
  """Scores of spans by their first token, and by how many more they have.

  What is no span has -inf. No table of all pairs of tokens is made.
  """
  start, end = scores.T
  if candidates is not None and candidates < len(scores):
    first, last = first.copy(), last.copy()
    for allowed, side in ((first, start), (last, end)):
      allowed[np.argsort(-side, kind='stable')[candidates:]] = False
  rows = np.flatnonzero(first)
  reach = min(longest, len(scores))
  ends = np.full(len(scores) + reach, -np.inf)
  ends[: len(scores)][last] = end[last]
  return rows, start[rows, None] + ends[rows[:, None] + np.arange(reach)]


def _null(
  windows: list[tuple[Float[np.ndarray, 'n 2'], dict[str, Any]]],
) -> Float[np.ndarray, '2']:
  """<s> as start and as end in the window that scores it lowest."""
  return min((scores[0] for scores, _ in windows), key=np.sum)


def _text(feature: dict[str, Any], first: int, last: int) -> str:
  begin, end = feature['spans'][first, 0], feature['spans'][last, 1]
  return feature['context'][begin:end].strip()
