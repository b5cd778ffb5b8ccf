"""Several labels an example: each class applies to a text or it does not.

`encode` and `decode` as in classify.py, but an answer is a tuple of names, in
the order of the head's outputs; () says that no class applies. A class is
given from a probability on, 0.5 or what `tune` finds on development examples.
"""

from collections.abc import Sequence
from typing import Any

from jaxtyping import Float
import numpy as np

from xlmr_jax.tasks.encoding import (
  list_names,
  make_features,
  number_labels,
  shorten,
)

THRESHOLD = 0.5
# How `tune` chooses: one threshold for all classes, or one for each.
HOW = ('shared', 'per_label')


def encode(
  examples: Sequence[Any],
  tokenizer: Any,
  *,
  labels: Sequence[str],
  max_length: int | None = 128,
  truncate: str = 'longest_first',
  required: bool = False,
) -> list[dict[str, Any]]:
  """Encodes examples.

  Args:
    examples: objects with `texts` (one or two), `label` (a tuple of names, or
      None) and `where`, from data/readers/label_sets.py.
    tokenizer: a data.tokenizers.xlmr.Tokenizer.
    labels: the classes in the order of the head's outputs.
    max_length: the most tokens of a feature, specials included.
    truncate: what to cut above it; see Tokenizer.encode.
    required: whether an example without labels (None, not the empty tuple) is
      an error.

  Returns:
    Features {'tokens': int32 [length], 'label': float32 [C] of 0 and 1 | None}.

  Raises:
    ValueError: with the example's place: a label that is none of `labels`, no
      labels where they are required, a text that is too long or no valid text.
  """
  index = number_labels(labels)
  values = [_label(example, index, required) for example in examples]
  return make_features(
    examples, values, tokenizer, max_length=max_length, truncate=truncate
  )


def _label(example: Any, index: dict[str, int], required: bool):
  """0 or 1 for each class."""
  if example.label is None:
    if required:
      raise ValueError(
        f'{example.where}: no labels; training and choosing a checkpoint need '
        'labelled examples'
      )
    return None
  out = np.zeros(len(index), np.float32)
  for name in example.label:
    if name not in index:
      raise ValueError(
        f'{example.where}: unknown label {shorten(repr(name))}; the labels are '
        f'{list_names(index)}'
      )
    out[index[name]] = 1
  return out


def gold(examples: Sequence[Any]) -> list:
  """What `decode` should give: the labels of each, None where unknown."""
  return [example.label for example in examples]


def decode(
  logits: Sequence[Float[np.ndarray, 'C']],
  labels: Sequence[str],
  features: Sequence[dict[str, Any]] | None = None,
  *,
  thresholds: Sequence[float] | None = None,
) -> list[tuple[str, ...]]:
  """The names of the classes that apply to each example.

  Args:
    logits: one array per example, [C].
    labels: names of the C classes.
    features: of `encode`; not needed here.
    thresholds: the probability from which on each class is given; 0.5.

  Raises:
    ValueError: not as many scores or thresholds as labels.
  """
  del features
  if thresholds is None:
    thresholds = [THRESHOLD] * len(labels)
  if len(thresholds) != len(labels):
    raise ValueError(
      f'{len(thresholds)} thresholds for {len(labels)} labels: one each'
    )
  if not len(logits):
    return []
  given = probabilities(logits, len(labels)) >= np.asarray(thresholds)
  return [
    tuple(name for name, on in zip(labels, row, strict=True) if on)
    for row in given.tolist()
  ]


def probabilities(
  logits: Sequence[Float[np.ndarray, 'C']], classes: int
) -> Float[np.ndarray, 'N C']:
  """The probability of each class, by itself."""
  scores = np.stack([np.asarray(x, np.float64) for x in logits])
  if scores.ndim != 2 or scores.shape[1] != classes:
    raise ValueError(
      f'the head gives {scores.shape[1:]} outputs an example; there are '
      f'{classes} labels'
    )
  return 0.5 * (1 + np.tanh(0.5 * scores))  # the sigmoid, without an overflow


def tune(
  logits: Sequence[Float[np.ndarray, 'C']],
  features: Sequence[dict[str, Any]],
  labels: Sequence[str],
  *,
  how: str,
) -> dict[str, tuple[float, ...]]:
  """Thresholds that are best on labelled examples, as options of `decode`.

  'shared' has the best micro F1 of all single thresholds; 'per_label' gives
  each class the best F1, so that no thresholds have a better macro F1. They lie
  halfway between two probabilities that occur.

  Args:
    logits: one array per example, [C].
    features: of `encode`; those without labels are left out.
    labels: names of the C classes.
    how: one of HOW.
  """
  if how not in HOW:
    raise ValueError(f'how={how!r} is not one of {", ".join(HOW)}')
  known = [i for i, x in enumerate(features) if x['label'] is not None]
  if not known:
    raise ValueError('there are no labelled examples to choose thresholds on')
  scores = probabilities([logits[i] for i in known], len(labels))
  gold = np.stack([features[i]['label'] for i in known]) > 0
  if how == 'shared':
    best = (best_threshold(scores.ravel(), gold.ravel()),) * len(labels)
  else:
    best = tuple(map(best_threshold, scores.T, gold.T))
  return {'thresholds': best}


def best_threshold(scores: Float[np.ndarray, 'N'], gold: np.ndarray) -> float:
  """The probability from which on taking all gives the best F1.

  Of equally good ones it is the highest; 0.5 where nothing is right.
  """
  if not gold.any():
    return THRESHOLD
  order = np.argsort(-scores, kind='stable')
  scores = scores[order]
  right = np.cumsum(gold[order])
  f1 = 2 * right / (np.arange(1, len(scores) + 1) + gold.sum())
  below = np.append(scores[1:], 0.0)
  f1[:-1][below[:-1] == scores[:-1]] = -1  # equal ones are taken together
  at = int(f1.argmax())
  return float((scores[at] + below[at]) / 2)
