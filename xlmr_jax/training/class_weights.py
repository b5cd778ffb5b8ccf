"""How often the loss of each class counts, for classes of unlike sizes."""

from collections.abc import Sequence
from typing import Any

from jaxtyping import Float
import numpy as np

from xlmr_jax.tasks.encoding import list_names
from xlmr_jax.tasks.kinds import Kind

BALANCED = 'balanced'


def find_weights(
  given: Any, kind: Kind, labels: tuple[str, ...] | None, features: Sequence
) -> Float[np.ndarray, 'C'] | None:
  """What config.class_weights says, by the ids of the classes.

  'balanced' gives all classes the same share of the loss: n / (C * n_c), where
  n_c of the n labels are of the class (scikit-learn's class_weight of that
  name); where an example has several labels, (n - n_c) / n_c, so that what
  applies weighs as much as what does not. A class without examples has 1.

  Args:
    given: None or '' for none, 'balanced', a weight for each class by id, or
      name → weight for all of them.
    kind: of question.
    labels: names of the classes by id.
    features: of the training, with their labels.

  Raises:
    ValueError: weights that are no positive numbers, or not one for each class.
  """
  if given is None or isinstance(given, str) and not given:
    return None
  if not labels:
    raise ValueError(
      'config.class_weights is set, but this objective has no classes'
    )
  if given == BALANCED:
    return _balanced(kind, len(labels), features)
  if hasattr(given, 'items'):
    by_name = dict(given.items())
    unknown = [str(name) for name in by_name if name not in labels]
    missing = [name for name in labels if name not in by_name]
    if unknown or missing:
      raise ValueError(
        'config.class_weights: '
        + (f'unknown label {unknown[0]!r}; ' if unknown else '')
        + (f'no weight for {missing[0]!r}; ' if missing else '')
        + f'the labels are {list_names(labels)}'
      )
    given = [by_name[name] for name in labels]
  if not isinstance(given, list | tuple):
    raise ValueError(
      f'config.class_weights={given!r}: write {BALANCED}, a number for each '
      "class, (1.0, 9.0), or {'no': 1.0, 'yes': 9.0}"
    )
  if len(given) != len(labels):
    raise ValueError(
      f'config.class_weights has {len(given)} numbers for {len(labels)} '
      f'classes: {list_names(labels)}'
    )
  for name, weight in zip(labels, given, strict=True):
    number = isinstance(weight, int | float) and not isinstance(weight, bool)
    if not number or not 0 < weight < float('inf'):
      raise ValueError(
        f'config.class_weights: {weight!r} of {name!r} is no positive number'
      )
  return np.asarray(given, np.float32)


def _balanced(kind: Kind, classes: int, features: Sequence) -> np.ndarray:
  known = [x['label'] for x in features if x['label'] is not None]
  if kind.several:
    counts = np.sum(known, axis=0, dtype=np.float64)
    weights = (len(known) - counts) / np.maximum(counts, 1)
    # A class of all examples: a weight of 0 would not even keep it there.
    weights[weights == 0] = 1 / len(known)
  else:
    ids = np.concatenate([np.ravel(label) for label in known])
    counts = np.bincount(ids[ids >= 0], minlength=classes).astype(np.float64)
    weights = counts.sum() / (classes * np.maximum(counts, 1))
  return np.where(counts == 0, 1.0, weights).astype(np.float32)
