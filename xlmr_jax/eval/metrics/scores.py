"""Scores of predictions against gold, and baselines beside them.

Shares and correlations are per cent, 0 to 100 (-100 for a correlation);
`mse` is in the squared unit of its labels. `METRICS` holds them by name,
`score` computes one of them with its parts.
"""

import collections
from collections.abc import Callable, Mapping, Sequence
import functools

import numpy as np

from xlmr_jax.eval.metrics import answers, classes, null_answers, spans
from xlmr_jax.eval.metrics.pairs import mean_average_precision, pair_scores


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
  # The deviations of a constant are rounding errors, which scipy correlates.
  if not np.ptp(x) or not np.ptp(y):
    return 0.0
  from scipy import stats  # most of a second to import

  return 100 * float(stats.pearsonr(x, y).statistic)


def spearman(predictions: Sequence[float], gold: Sequence[float]) -> float:
  """Pearson's correlation of the ranks; equal values share their mean rank."""
  from scipy import stats

  x, y = _numbers(predictions, gold)
  return pearson(stats.rankdata(x), stats.rankdata(y))


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
    ValueError: sentences or words that do not match, none, or an empty tag.
  """
  _check(predictions, gold)
  for index, (ours, theirs) in enumerate(zip(predictions, gold, strict=True)):
    if len(ours) != len(theirs):
      raise ValueError(
        f'sentence {index} has {len(ours)} predictions for {len(theirs)} tags'
      )
    for name, tags in (('prediction', ours), ('tag', theirs)):
      for word, tag in enumerate(tags):
        if not tag:
          raise ValueError(
            f'sentence {index}: the {name} of word {word} is {tag!r}; what is '
            'outside of every span is O'
          )
  return spans.overlap(spans.read(predictions), spans.read(gold))


def span_f1(
  predictions: Sequence[Sequence[str]], gold: Sequence[Sequence[str]]
) -> float:
  """The first of `span_scores`."""
  return span_scores(predictions, gold)[0]


def _single(
  name: str, function: Callable[[Sequence, Sequence], float]
) -> Callable[[Sequence, Sequence, str], dict[str, float]]:
  return lambda predictions, gold, _: {name: function(predictions, gold)}


def _three(
  name: str,
  function: Callable[[Sequence, Sequence], tuple[float, float, float]],
) -> Callable[[Sequence, Sequence, str], dict[str, float]]:
  names = (name, 'precision', 'recall')
  return lambda predictions, gold, _: dict(
    zip(names, function(predictions, gold), strict=True)
  )


# They also get the names of all classes, which macro F1 of tuples needs.
OF_CLASSES: Mapping[str, Callable[..., float]] = {
  'micro_f1': classes.micro_f1,
  'macro_f1': classes.macro_f1,
  'matthews': classes.matthews,
  'exact_match': classes.exact_match,
}


def _of_classes(
  name: str, function: Callable[..., float]
) -> Callable[..., dict[str, float]]:
  return lambda predictions, gold, _, labels=None: {
    name: function(predictions, gold, labels)
  }


# Name → function of predictions, gold and language; the first value that it
# gives has the metric's own name.
METRICS: Mapping[str, Callable[..., dict[str, float]]] = {
  'accuracy': _single('accuracy', accuracy),
  'mse': _single('mse', mean_squared_error),
  'pearson': _single('pearson', pearson),
  'spearman': _single('spearman', spearman),
  'span_f1': _three('span_f1', span_scores),
  'squad': lambda predictions, gold, _: answers.squad(predictions, gold),
  'squad2': lambda predictions, gold, _: null_answers.squad2(predictions, gold),
  'mlqa': answers.mlqa,
  'cmrc': lambda predictions, gold, _: answers.cmrc(predictions, gold),
  'cluener': lambda predictions, gold, _: spans.surface_scores(
    predictions, gold
  ),
  'pair_f1': _three('pair_f1', pair_scores),
  'map@20': _single('map@20', mean_average_precision),
  **{name: _of_classes(name, f) for name, f in OF_CLASSES.items()},
}
NUMBERS = ('mse', 'pearson', 'spearman')  # they score numbers; the others names
CORRELATIONS = ('pearson', 'spearman', 'matthews')  # 0 by chance


def score(
  metric: str,
  predictions: Sequence,
  gold: Sequence,
  language: str = '',
  labels: Sequence[str] | None = None,
) -> dict[str, float]:
  """Scores predictions; the first value is the metric's, others its parts.

  `score('span_f1', ...)` → `{'span_f1': ..., 'precision': ..., 'recall': ...}`,
  `score('squad', ...)` → `{'squad': ..., 'f1': ..., 'exact_match': ...}`, of
  which squad (and mlqa) is the mean of its parts, as XTREME ranks systems;
  cmrc is the exact matches alone, as CLUE ranks them, and squad2 the F1, as
  SQuAD 2.0 does.

  Args:
    metric: one of METRICS.
    predictions: one per example: names, tuples of names, numbers, the tags of
      a sentence, an answer (None for none given), a ranking; of pair_f1 the
      mined pairs, of cluener the spans of a sentence as spans.marked gives
      them.
    gold: the same; of answers and rankings all that are right.
    language: of the texts; mlqa has rules by language.
    labels: names of all classes; macro F1 of tuples of names counts those that
      do not occur, too.

  Raises:
    ValueError: no such metric, or what it cannot score.
  """
  if metric not in METRICS:
    raise ValueError(f'metric {metric!r} is not one of {", ".join(METRICS)}')
  more = {'labels': labels} if metric in OF_CLASSES else {}
  return METRICS[metric](predictions, gold, language, **more)


def _first(metric: str, predictions: Sequence, gold: Sequence) -> float:
  return score(metric, predictions, gold)[metric]


# The metrics' own values; mlqa needs a language: call `score`.
SCORES: Mapping[str, Callable[[Sequence, Sequence], float]] = {
  name: functools.partial(_first, name) for name in METRICS
}


def chance(
  metric: str,
  labels: Sequence[str] | None,
  choices: Sequence[int] = (),
) -> float | None:
  """The score of guessing: 100 / C, no correlation; None for the others.

  C is the number of labels, or of each question's `choices`. An accuracy with
  neither, such as that of neighbours, has None.
  """
  if metric == 'accuracy' and choices:
    return mean([100 / count for count in choices])
  if metric == 'accuracy':
    return 100 / len(labels) if labels else None
  return 0.0 if metric in CORRELATIONS else None


def majority(metric: str, gold: Sequence) -> float | None:
  """The score of the best constant on these very labels.

  The most frequent label, or set of labels, for accuracy and its like, the mean
  for mse; 0 for a correlation; the most frequent tag at every word for span_f1.
  None without labels, and where no constant says anything or the best one is
  not known: answers, pairs, rankings, F1 of sets of labels.
  """
  if not len(gold):
    return None
  if metric == 'accuracy':
    counts = collections.Counter(str(label).strip() for label in gold)
    return 100 * max(counts.values()) / len(gold)
  if metric == 'exact_match':
    sets = collections.Counter(frozenset(names) for names in gold)
    return 100 * max(sets.values()) / len(gold)
  if metric in ('micro_f1', 'macro_f1') and not isinstance(gold[0], tuple):
    most = collections.Counter(gold).most_common(1)[0][0]
    return score(metric, [most] * len(gold), gold)[metric]
  if metric == 'span_f1':
    counts = collections.Counter(tag for tags in gold for tag in tags)
    most = counts.most_common(1)[0][0]
    return span_f1([[most] * len(tags) for tags in gold], gold)
  if metric == 'mse':
    return float(np.var(np.asarray(gold, float)))
  return 0.0 if metric in CORRELATIONS else None


def mean(scores: Sequence[float | None]) -> float | None:
  """Unweighted mean, as benchmarks average languages; None if one is None."""
  known = [score for score in scores if score is not None]
  if not known or len(known) < len(scores):
    return None
  return sum(known) / len(known)


def over_tasks(
  tasks: Mapping[str, Mapping],
  groups: Mapping[str, Sequence[str]],
  overall: Sequence[str],
) -> dict:
  """'groups' and 'overall' of results.json: means of tasks' averages.

  None where a task is missing; groups without any task are left out.
  """
  over = lambda names: mean(
    [tasks[name]['average'] if name in tasks else None for name in names]
  )
  return {
    'groups': {
      group: over(names)
      for group, names in groups.items()
      if any(name in tasks for name in names)
    },
    'overall': over(overall),
  }


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
