"""Answers to questions of which some have none, as SQuAD 2.0's script counts.

evaluate-v2.0.py (Rajpurkar et al. 2018) compares words as SQuAD v1.1 does, but
two answers of which nothing is left agree: exact match and F1 are 1. Of a
question without an answer only '' is right. "No answer" is given where it beats
the best span by more than a threshold; the script finds those that are best on
the very file.
"""

from collections.abc import Iterator, Sequence
import math

from xlmr_jax.eval.metrics.answers import squad_words, word_f1

_SUBSETS = {'HasAns': True, 'NoAns': False}


def squad2(
  predictions: Sequence[str | None], gold: Sequence[Sequence[str]]
) -> dict[str, float]:
  """Scores of answers by the rules of SQuAD 2.0, per cent.

  Args:
    predictions: an answer for each question, '' for no answer; None where none
      was given, which scores 0.
    gold: the right answers to each; ('',) where there is none.

  Returns:
    'squad2', which is 'f1', by which SQuAD 2.0 ranks; 'exact', 'f1' and 'total'
    as the official script has them; the same of the questions that have an
    answer, 'HasAns_exact' and so on, and of those that have none, 'NoAns_...',
    where there are any.

  Raises:
    ValueError: not as many answers as questions, no question, or one without
      a right answer.
  """
  exact, f1 = _raw(predictions, gold)
  answered = has_answer(gold)
  out = {'squad2': _mean(f1), **_shares('', exact, f1)}
  for name, wanted in _SUBSETS.items():
    at = [i for i, has in enumerate(answered) if has == wanted]
    if at:
      pick = lambda values, at=at: [values[i] for i in at]
      out |= _shares(f'{name}_', pick(exact), pick(f1))
  return out


def best_thresholds(
  spans: Sequence[str], gold: Sequence[Sequence[str]], odds: Sequence[float]
) -> dict[str, float]:
  """The scores of the best thresholds, as the official script finds them.

  Args:
    spans: the best span for each question, whatever the odds of no answer.
    gold: as of `squad2`.
    odds: how much better no answer is than each span.

  Returns:
    'best_exact' and 'best_f1', per cent, and the threshold of each,
    'best_exact_thresh' and 'best_f1_thresh': no answer is given above it. The
    script starts from no answer anywhere, and calls the threshold of that 0.
  """
  out = {}
  for name, values in zip(('exact', 'f1'), _raw(spans, gold), strict=True):
    best, threshold = float(has_answer(gold).count(False)), 0.0
    for score, at in _sums(spans, gold, odds, values):
      if score > best:
        best, threshold = score, at
    out[f'best_{name}'] = 100 * best / len(gold)
    out[f'best_{name}_thresh'] = threshold
  return out


def choose_threshold(
  spans: Sequence[str], gold: Sequence[Sequence[str]], odds: Sequence[float]
) -> float:
  """The threshold with the best F1, for other questions than these.

  It gives what it promises where the script's own does not: equal odds go
  together, no answer anywhere is a threshold below all odds, and any other lies
  half-way to the next odds, so that rounding moves no question over it.
  Arguments are those of `best_thresholds`.
  """
  given, none = (
    _raw(answers, gold)[1] for answers in (spans, [''] * len(gold))
  )
  order = sorted(range(len(odds)), key=lambda i: odds[i])
  best = score = sum(none)
  threshold = math.nextafter(odds[order[0]], -math.inf)
  for i, after in zip(order, [*order[1:], None], strict=True):
    score += given[i] - none[i]
    following = math.inf if after is None else odds[after]
    if score > best + 1e-9 and odds[i] < following:  # sums are rounded
      best, threshold = score, odds[i]
      if after is not None:
        threshold += (following - odds[i]) / 2
  return threshold


def has_answer(gold: Sequence[Sequence[str]]) -> list[bool]:
  """Whether each question has an answer."""
  return [tuple(right) != ('',) for right in gold]


def _raw(
  predictions: Sequence[str | None], gold: Sequence[Sequence[str]]
) -> tuple[list[float], list[float]]:
  """Exact match and F1 of each answer, 0 to 1."""
  if len(predictions) != len(gold):
    raise ValueError(
      f'{len(predictions)} answers to {len(gold)} questions: one each'
    )
  if not len(gold):
    raise ValueError('there is nothing to score')
  exact, f1 = [], []
  for index, (answer, right) in enumerate(zip(predictions, gold, strict=True)):
    if isinstance(right, str) or not len(right):
      raise ValueError(
        f"question {index} has {right!r} for its right answers, not ('',) or "
        'one or more strings'
      )
    if answer is None:
      exact.append(0.0)
      f1.append(0.0)
      continue
    if not isinstance(answer, str):
      raise ValueError(f'answer {index} is {answer!r}, not a string')
    ours = squad_words(answer)
    # An answer of which nothing is left does not count, unless all are so.
    theirs = list(filter(None, map(squad_words, right))) or [[]]
    exact.append(float(ours in theirs))
    f1.append(max(_f1(ours, other) for other in theirs))
  return exact, f1


def _f1(ours: list[str], theirs: list[str]) -> float:
  if not ours or not theirs:
    return float(ours == theirs)
  return word_f1(ours, theirs)


def _mean(values: Sequence[float]) -> float:
  return 100 * sum(values) / len(values)


def _shares(
  prefix: str, exact: Sequence[float], f1: Sequence[float]
) -> dict[str, float]:
  return {
    f'{prefix}exact': _mean(exact),
    f'{prefix}f1': _mean(f1),
    f'{prefix}total': float(len(exact)),
  }


def _sums(
  spans: Sequence[str],
  gold: Sequence[Sequence[str]],
  odds: Sequence[float],
  values: Sequence[float],
) -> Iterator[tuple[float, float]]:
  """(sum of scores, odds) as ever more questions are given their span.

  Those go first where no answer beats it by least.
  """
  answered = has_answer(gold)
  score = float(answered.count(False))
  for i in sorted(range(len(odds)), key=lambda i: odds[i]):
    if answered[i]:
      score += values[i]
    elif spans[i]:
      score -= 1
    yield score, odds[i]
