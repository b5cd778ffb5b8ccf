"""Tiny Hugging Face PyTorch models whose every tensor is random.

With the initialisation of transformers biases are 0 and scales 1, so a lost
bias or a swapped LayerNorm would change nothing.
"""

import numpy as np
import torch
import transformers

from xlmr_jax.checkpoints.hf.names import MODEL_TYPES, class_name

# No two sizes are equal, so that no two dimensions can be confused.
SIZES = dict(
  vocab_size=61,
  hidden_size=32,
  num_hidden_layers=3,
  num_attention_heads=4,
  intermediate_size=48,
  max_position_embeddings=42,
  type_vocab_size=2,
  layer_norm_eps=1e-5,
  attn_implementation='eager',
)


def class_of(head: str | None, family: str = 'XLMRoberta') -> type:
  """Their class: 'mlm', 'XLMRobertaXL' → XLMRobertaXLForMaskedLM."""
  kinds = {prefix: kind for kind, prefix in MODEL_TYPES.items()}
  return getattr(transformers, class_name(kinds[family], head))


def randomize(model: torch.nn.Module, seed: int = 0) -> torch.nn.Module:
  """Weights and biases N(0, 0.05), LayerNorm scales 1 + N(0, 0.3)."""
  rng = np.random.default_rng(seed)
  norms = {
    f'{name}.weight'
    for name, module in model.named_modules()
    if isinstance(module, torch.nn.LayerNorm)
  }
  with torch.no_grad():
    for name, parameter in model.named_parameters():
      draw = rng.standard_normal(tuple(parameter.shape), np.float32)
      draw = 1 + 0.3 * draw if name in norms else 0.05 * draw
      parameter.copy_(torch.from_numpy(draw))
  return model


def tiny(
  head: str | None,
  seed: int = 0,
  pooler: bool = True,
  family: str = 'XLMRoberta',
  **changes,
):
  """A tiny model in evaluation mode."""
  if family == 'Bert':  # its own pad is 0, which is <s> in these tests
    changes = {'pad_token_id': 1, **changes}
  config = getattr(transformers, f'{family}Config')(**{**SIZES, **changes})
  args = {} if head else {'add_pooling_layer': pooler}
  return randomize(class_of(head, family)(config, **args), seed).eval()
