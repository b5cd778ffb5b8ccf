"""The best pieces for a <mask>: the method fill_mask of loaded.Loaded."""

import numpy as np

from xlmr_jax import heads


def fill_mask(model, text: str, top: int = 5) -> list[tuple[str, float]]:
  """Best pieces for the first <mask> of a text, with probabilities."""
  row = heads.HEADS[model.head]
  if not row.language or row.causal:
    raise ValueError('filling masks needs a checkpoint with an mlm head')
  ids = model.tokens([text])[0]
  if model.tokenizer.mask_id is None:
    raise ValueError("this checkpoint's tokenizer has no <mask>")
  places = np.flatnonzero(ids == model.tokenizer.mask_id)
  if not places.size:
    raise ValueError(f'no <mask> in {text!r}')
  scores = model.logits([ids])[0][places[0]].astype(np.float64)
  scores = scores[: model.tokenizer.vocab_size]  # XL's table has spare rows
  probs = np.exp(scores - scores.max())
  probs /= probs.sum()
  best = np.argsort(-probs, kind='stable')[:top]
  return [(model.tokenizer.id_to_piece(int(i)), float(probs[i])) for i in best]
