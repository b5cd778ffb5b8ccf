"""Vectors of texts: the methods embed, vectors and m3 of loaded.Loaded."""

from collections.abc import Callable, Sequence
import dataclasses
from typing import Any

import numpy as np

from xlmr_jax import heads
from xlmr_jax.inference.packed import Example, Progress
from xlmr_jax.layers.pooling import POOLINGS


def embed(
  model,
  texts: Sequence[Example],
  *,
  prompt_name: str | None = None,
  prompt: str | None = None,
  pooling: str | None = None,
  normalize: bool | None = None,
  dim: int | None = None,
  progress: Progress | None = None,
) -> np.ndarray:
  """One vector per text, as sentence-transformers makes it.

  Args:
    model: a loaded.Loaded.
    texts: texts longer than the checkpoint's limit are cut.
    prompt_name: which of the checkpoint's prompts goes in front of each
      text; its default one, if any, where neither this nor `prompt` is
      given.
    prompt: the text itself that goes in front of each text.
    pooling: 'cls' or 'mean', where the checkpoint does not say.
    normalize: whether vectors are scaled to length 1.
    dim: keep the first so many numbers (Matryoshka), before scaling.
    progress: as for `logits`.

  Returns:
    float32 [texts, D].

  Raises:
    ValueError: no pooling is known, or no prompt of that name.
  """
  settings = model.pooling
  how = pooling or (settings and settings.how)
  if how is None:
    raise ValueError(
      'this checkpoint does not say how a text becomes a vector: give '
      f'pooling, one of {", ".join(POOLINGS)}'
    )
  if how not in POOLINGS:
    raise ValueError(f'pooling {how!r} is not one of {", ".join(POOLINGS)}')
  if normalize is None:
    normalize = bool(settings and settings.normalize)
  features = _encode(model, texts, _prompt(model, prompt_name, prompt))
  out = np.zeros((len(features), model.config.model_dim), np.float32)
  for feature, row, _, slot in model.run(how, features, progress):
    out[feature] = row[slot]
  if settings and settings.activation and how == settings.how:
    out = _project(out, model.params['projection'], settings.activation)
  out = out[:, :dim]
  if normalize:
    out /= np.maximum(np.linalg.norm(out, axis=-1, keepdims=True), 1e-12)
  return out


def vectors(
  model,
  examples: Sequence[Example],
  *,
  layer: int | float | None = None,
  pooling: str = 'mean',
  skip_specials: bool = False,
  progress: Progress | None = None,
) -> np.ndarray:
  """One vector per example, pooled from the states of any layer.

  Args:
    model: a loaded.Loaded.
    examples: texts, pairs, or lists of ids.
    layer: number of the layer, from 1; 0 is the input of the first. A float
      is a share of the depth, 0.5 the middle. None: the last.
    pooling: 'mean' over the example's tokens, or 'cls', the state of <s>.
    skip_specials: whether the mean leaves <s> and </s> out.
    progress: as for `logits`.

  Returns:
    float32 [examples, D].

  Raises:
    ValueError: no such layer or pooling.
  """
  count = model.config.num_layers
  if isinstance(layer, float):
    layer = round(layer * count)
  if layer is not None and not 0 <= layer <= count:
    raise ValueError(f'layer={layer}; this model has layers 1 to {count}')
  if pooling not in POOLINGS:
    raise ValueError(f'pooling {pooling!r} is not one of {", ".join(POOLINGS)}')
  skip: tuple[int, ...] = ()
  if skip_specials:
    if pooling == 'cls':
      raise ValueError("skip_specials leaves nothing of pooling='cls'")
    if model.tokenizer is None:
      raise ValueError('skip_specials needs a tokenizer: it names them')
    skip = (model.tokenizer.bos_id, model.tokenizer.eos_id)
  features = model.tokens(examples)
  program = dataclasses.replace(model.program(pooling), depth=layer, skip=skip)
  out = np.zeros((len(features), model.config.model_dim), np.float32)
  for feature, row, _, slot in program(model.params, features, progress):
    out[feature] = row[slot]
  return out


def m3(
  model, texts: Sequence[Example], progress: Progress | None = None
) -> list[dict[str, Any]]:
  """bge-m3's three views of each text.

  Returns:
    {'dense': [D], 'sparse': {token id: weight}, 'colbert': [length - 1, D]}
    per text: the vector of <s>; each token's greatest weight, specials left
    out; the vectors of all tokens but <s>.
  """
  if not heads.HEADS[model.head].views:
    raise ValueError('this checkpoint has no sparse and ColBERT heads')
  features = _encode(model, texts, '')
  skip = set() if model.tokenizer is None else set(model.tokenizer.special_ids)
  out: list = [None] * len(features)
  for feature, row, span, slot in model.run(model.head, features, progress):
    dense, weights, vectors = row
    sparse: dict[int, float] = {}
    for token, weight in zip(
      features[feature].tolist(), weights[span].tolist(), strict=True
    ):
      if token not in skip and weight > sparse.get(token, 0.0):
        sparse[token] = weight
    out[feature] = {
      'dense': dense[slot],
      'sparse': sparse,
      'colbert': vectors[span][1:],
    }
  return out


def _project(vectors: np.ndarray, params: dict, activation: str) -> np.ndarray:
  """sentence-transformers' Dense on pooled vectors, in f32."""
  kernel = np.asarray(params['kernel'], np.float32)
  out = vectors @ kernel
  if 'bias' in params:
    out = out + np.asarray(params['bias'], np.float32)
  return np.tanh(out) if activation == 'tanh' else out


def _prompt(model, name: str | None, text: str | None) -> str:
  """The prompt that goes in front of a text."""
  if text is not None:
    return text
  known = model.pooling.prompts if model.pooling else {}
  if name is None:
    name = model.pooling and model.pooling.default_prompt
  if name is None:
    return ''
  if name not in known:
    raise ValueError(
      f'this checkpoint has no prompt {name!r}; it has '
      f'{", ".join(known) or "none"}'
    )
  return known[name]


def _encode(model, texts: Sequence[Example], prompt: str) -> list[np.ndarray]:
  """Ids of texts, cut at the checkpoint's own limit."""
  settings = model.pooling
  limit = model.max_length
  if settings and settings.max_length:
    limit = min(settings.max_length, limit)

  def plain(text):  # as sentence-transformers does it
    text = text.strip()
    return text.lower() if settings and settings.lowercase else text

  return model.tokens(cut(model, texts, limit, plain, prompt))


def cut(
  model,
  texts: Sequence[Example],
  limit: int,
  plain: Callable[[str], str] = lambda text: text,
  prompt: str = '',
) -> list[Example]:
  """Texts as ids, cut at a limit; lists of ids are as they were.

  Args:
    model: a loaded.Loaded.
    texts: texts, pairs, or lists of ids.
    limit: the most tokens, specials included.
    plain: what is done to a text first.
    prompt: what goes in front of the first text.
  """
  if isinstance(texts, str):
    raise ValueError('texts must be a list: write [text], not text')

  def encode(text):
    texts = (text,) if isinstance(text, str) else text
    if model.tokenizer is None or not (
      isinstance(texts, tuple)
      and len(texts) <= 2
      and all(isinstance(t, str) for t in texts)
    ):
      return text
    first, *second = texts
    return model.tokenizer.encode(
      plain(prompt + first),
      *map(plain, second),
      max_length=limit,
      truncate='longest_first',
    )

  return [encode(text) for text in texts]
