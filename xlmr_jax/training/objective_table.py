"""Fine-tuning's objectives by name; each is a function of objectives.py."""

from collections.abc import Callable

from xlmr_jax.model import Config
from xlmr_jax.training import objectives

# Name → what fine-tuning minimises, (config, labels) → Objective. A kind of
# question (tasks/kinds.py) says which of them train it.
OBJECTIVES: dict[str, Callable[..., objectives.Objective]] = {
  'classify': objectives.classify,
  'multilabel': objectives.multilabel,
  'regression': objectives.regression,
  'tag': objectives.tag,
  'crf': objectives.crf,
  'answer': objectives.answer,
  'choose': objectives.choose,
}
# Those that also take weights of their classes.
WEIGHTED = ('classify', 'multilabel', 'tag')


def build(
  name: str,
  config: Config,
  labels: tuple[str, ...] | None,
  weights: objectives.Weights = None,
  allowed: objectives.Allowed = None,
) -> objectives.Objective:
  """An objective of the table.

  Args:
    name: one of OBJECTIVES.
    config: of the model.
    labels: names of the classes by id; None where there are none.
    weights: float32 [C], of the classes; None: all count alike.
    allowed: what a chain of tags may do, of tasks/schemes.py; of tags only.

  Raises:
    ValueError: weights for an objective that takes none.
  """
  if weights is not None and name not in WEIGHTED:
    raise ValueError(
      f'config.class_weights: the objective {name} takes no weights of '
      f'classes; {", ".join(WEIGHTED)} do'
    )
  given = {'weights': weights, 'allowed': allowed}
  more = {key: value for key, value in given.items() if value is not None}
  return OBJECTIVES[name](config, labels, **more)
