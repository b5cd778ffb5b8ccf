"""The kinds of question: one row says what belongs together.

A row names heads, a metric and an objective by their names in `heads.HEADS`,
`eval.metrics.scores.METRICS` and `training.objectives.OBJECTIVES`, because a
kind knows neither JAX nor a metric: all of the above read it and look up what
they need.
"""

from collections.abc import Callable
import dataclasses

from xlmr_jax.tasks import (
  answer,
  answer_spans,
  choose,
  classify,
  multilabel,
  retrieve,
  tag,
)


@dataclasses.dataclass(frozen=True)
class Kind:
  """A row of KINDS.

  Attributes:
    name: of the kind.
    encode: (examples, tokenizer, labels=..., ...) → features.
    gold: examples → the right answers.
    decode: (outputs, labels, features, ...) → answers; the inverse of `encode`.
    heads: those that answer it, the usual one first; none: the body alone.
    examples: what an example holds: 'texts', 'words', 'context' (and a
      question), 'choices' or 'sides' (of a pair of languages).
    labels: dtype and shape of batch['labels'] in the letters of model.py, of
      which E counts packed examples; None: nothing is learned.
    several: whether an example has any number of labels.
    metrics: those by which a user's file of this kind is scored, the usual one
      first.
    beside: whether these metrics are all reported, whichever chooses.
    tune: (outputs, features, labels, ...) → options of `decode` that are best
      on these examples; None: it has none.
    objective: what training minimises, if it has not the head's name.
    named: whether the outputs are classes that have names.
    windows: whether long examples are read in parts, so that nothing is cut.
    grouped: whether the features of one example compete, and so share a row.
    null_metric: scores examples of which some have no answer, ''.
    null_odds: (outputs, features, ...) → answers, and by how much no answer
      beats each; a threshold says from where on there is none.
  """

  name: str
  encode: Callable[..., list]
  gold: Callable[..., list]
  decode: Callable[..., list]
  heads: tuple[str, ...] = ()
  examples: str = 'texts'
  labels: tuple[str, str] | None = ('int32', 'B E')
  several: bool = False
  metrics: tuple[str, ...] = ('accuracy',)
  beside: bool = False
  tune: Callable[..., dict] | None = None
  objective: str = ''
  named: bool = False
  windows: bool = False
  grouped: bool = False
  null_metric: str = ''
  null_odds: Callable[..., tuple[list, list[float]]] | None = None

  @property
  def objectives(self) -> tuple[str, ...]:
    """Names of its training objectives: one for each head."""
    return (self.objective,) if self.objective else self.heads


def _row(name, module, **facts) -> Kind:
  return Kind(name, module.encode, module.gold, module.decode, **facts)


KINDS: dict[str, Kind] = {
  kind.name: kind
  for kind in (
    _row(
      'classify',
      classify,
      heads=('classify',),
      metrics=('accuracy', 'macro_f1', 'micro_f1', 'matthews'),
      beside=True,
      named=True,
    ),
    _row(
      'multilabel',
      multilabel,
      heads=('multilabel',),
      labels=('float32', 'B E C'),
      several=True,
      metrics=('micro_f1', 'macro_f1', 'exact_match'),
      beside=True,
      tune=multilabel.tune,
      named=True,
    ),
    _row(
      'regression',
      classify,
      heads=('classify',),
      labels=('float32', 'B E'),
      metrics=('mse', 'pearson', 'spearman'),
      objective='regression',
    ),
    _row(
      'tag',
      tag,
      heads=('tag', 'crf'),
      examples='words',
      labels=('int32', 'B L'),
      metrics=('span_f1',),
      named=True,
      windows=True,
    ),
    Kind(
      'answer',
      answer.encode,
      answer.gold,
      answer_spans.decode,
      heads=('answer',),
      examples='context',
      labels=('int32', 'B E 2'),
      metrics=('squad', 'squad2', 'mlqa', 'cmrc'),
      windows=True,
      null_metric='squad2',
      null_odds=answer_spans.best_spans,
    ),
    _row('choose', choose, heads=('choose',), examples='choices', grouped=True),
    # The body's vectors are compared.
    _row('retrieve', retrieve, examples='sides', labels=None),
  )
}


def kind_of_metric(metric: str) -> Kind:
  """The first kind that is scored by a metric; classification by default."""
  kinds = list(KINDS.values())
  return next((kind for kind in kinds if metric in kind.metrics), kinds[0])


def kind_of_objective(objective: str) -> Kind:
  """The kind that an objective trains.

  Raises:
    ValueError: there is none.
  """
  for kind in KINDS.values():
    if objective in kind.objectives:
      return kind
  raise ValueError(f'no kind of question is trained by {objective!r}')
