"""Scores of pairs, as a cross-encoder gives them: the method `scores`."""

from collections.abc import Callable, Sequence

import numpy as np

from xlmr_jax import heads
from xlmr_jax.inference import embeddings
from xlmr_jax.inference.packed import Example, Progress


def _sigmoid(x: np.ndarray) -> np.ndarray:
  return 1 / (1 + np.exp(-x))


# Name of a class of torch.nn → what it computes.
ACTIVATIONS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
  'Identity': lambda x: x,
  'Sigmoid': _sigmoid,
  'Tanh': np.tanh,
  'ReLU': lambda x: np.maximum(x, 0),
}


def scores(
  model,
  pairs: Sequence[Example],
  *,
  activation: str | None = None,
  progress: Progress | None = None,
) -> np.ndarray:
  """A score of each pair, as sentence-transformers' CrossEncoder.predict.

  Args:
    model: a loaded.Loaded with a classification head.
    pairs: (query, passage), or one text; longer ones than the checkpoint's
      limit are cut, the longer text first.
    activation: a name of ACTIVATIONS; where it is not given, the checkpoint's
      own, and where that gives none a sigmoid over one number and nothing over
      several.
    progress: as for `logits`.

  Returns:
    float32 [pairs] of a head with one label, else [pairs, C].

  Raises:
    ValueError: no classification head, or an activation that is not known.
  """
  row = heads.HEADS[model.head]
  if not row.labelled or row.per_token:
    raise ValueError(
      f'scores needs a classification head, and this is {model.head or "none"}'
    )
  settings = model.weights.scoring
  name = activation or (settings and settings.activation)
  if name is None:
    name = 'Sigmoid' if len(model.labels or ()) == 1 else 'Identity'
  function = ACTIVATIONS.get(name.rpartition('.')[2])
  if function is None:
    raise ValueError(
      f'activation {name!r} is not supported; it is one of '
      f'{", ".join(ACTIVATIONS)}: take one by activation=..., or use logits'
    )
  if settings and settings.prompts.get(settings.default_prompt or ''):
    raise ValueError(
      'this cross-encoder puts a prompt in front of its texts '
      f'({settings.default_prompt!r}), which is not supported: use logits'
    )
  limit = model.max_length
  if settings and settings.max_length:
    limit = min(settings.max_length, limit)
  features = model.tokens(embeddings.cut(model, pairs, limit))
  out = np.zeros((len(features), len(model.labels)), np.float32)
  for feature, numbers, _, slot in model.run(model.head, features, progress):
    out[feature] = numbers[slot]
  out = function(out)
  return out[:, 0] if out.shape[1] == 1 else out
