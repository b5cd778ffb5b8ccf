"""Classification and regression: one answer for a text or a pair.

`encode` turns examples into features before the model, `decode` turns a
head's outputs into predictions after it. With `labels` an answer is one of
their names; without, it is a number.
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


def encode(
  examples: Sequence[Any],
  tokenizer: Any,
  *,
  labels: Sequence[str] | None = None,
  max_length: int | None = 128,
  truncate: str = 'longest_first',
  required: bool = False,
) -> list[dict[str, Any]]:
  """Encodes examples.

  Args:
    examples: objects with `texts` (one or two), `label` (a name, a number or
      None) and `where` (its name in errors), from data/readers/tables.py.
    tokenizer: a data.tokenizers.xlmr.Tokenizer.
    labels: the classes in the order of the head's outputs; None for
      regression.
    max_length: the most tokens of a feature, specials included.
    truncate: what to cut above it; see Tokenizer.encode.
    required: whether an example without a label is an error, as it must be
      for training and for choosing a checkpoint.

  Returns:
    Features {'tokens': int32 [length], 'label': int | float | None} in the
    order of the examples.

  Raises:
    ValueError: with the example's place: a label that is none of `labels` or
      not a number, no label where one is required, a text that is too long
      or no valid text.
  """
  index = None
  if labels is not None:
    index = number_labels(labels)
  values = [_label(example, index, required) for example in examples]
  return make_features(
    examples, values, tokenizer, max_length=max_length, truncate=truncate
  )


def _label(
  example: Any, index: dict[str, int] | None, required: bool
) -> int | float | None:
  """The label that the model learns: a class's index or a number."""
  label = example.label
  if label is None:
    if required:
      raise ValueError(
        f'{example.where}: no label; training and choosing a checkpoint need'
        ' labelled examples (XTREME ships its test files without labels)'
      )
    return None
  if index is None:
    if isinstance(label, str):
      raise ValueError(
        f'{example.where}: label {label!r} is a name, but no labels are given,'
        ' which means regression; give the classes as labels'
      )
    return float(label)
  if label not in index:
    raise ValueError(
      f'{example.where}: unknown label {shorten(repr(label))}; the labels are'
      f' {list_names(index)}'
    )
  return index[label]


def gold(examples: Sequence[Any]) -> list:
  """What `decode` should give: the label of each, None where there is none."""
  return [example.label for example in examples]


def decode(
  logits: Sequence[Float[np.ndarray, 'C']],
  labels: Sequence[str] | None = None,
  features: Sequence[dict[str, Any]] | None = None,
) -> list[str] | list[float]:
  """Predictions: the name of the highest class, or the number.

  Args:
    logits: one array per example, [C], or [1] for regression.
    labels: names of the C classes; None for regression.
    features: of `encode`; not needed here.
  """
  del features
  if not len(logits):
    return []
  scores = np.stack([np.asarray(x, np.float32) for x in logits])
  expected = 1 if labels is None else len(labels)
  if scores.ndim != 2 or scores.shape[1] != expected:
    raise ValueError(
      f'the head gives {scores.shape[1:]} outputs an example; '
      + (f'there are {expected} labels' if labels else 'regression needs one')
    )
  if labels is None:
    return scores[:, 0].tolist()
  return [labels[i] for i in scores.argmax(axis=1)]
