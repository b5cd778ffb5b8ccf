"""Adapters: low-rank updates are chosen, and added to the kernels they update.

A model with adapters has Config.lora, and two more parameters at each Dense
that it names (layers/lora.py). `merge` makes the plain model of it, which
computes the same.
"""

from collections.abc import Sequence
import dataclasses

import numpy as np

from xlmr_jax.layers.lora import A, B, Lora
from xlmr_jax.model import PLAN, Config

# The Denses that can have an update, by their names inside a layer.
TARGETS = tuple(
  path.removeprefix('layers/').removesuffix('/kernel')
  for path in PLAN
  if path.endswith('/kernel')
)


def choose(
  targets: Sequence[str], rank: int, alpha: float, dropout: float = 0.0
) -> tuple[Lora, ...]:
  """The rows of Config.lora for the Denses that targets name.

  Args:
    targets: ends of their paths: 'query', 'attention/out', 'ff/up'; 'ff' is
      all of a part.
    rank: of each update.
    alpha: the scale is alpha / rank.
    dropout: on what an update reads.

  Raises:
    ValueError: a rank that is not positive, no target, or one that names no
      Dense.
  """
  if isinstance(targets, str):
    targets = tuple(targets.split(','))
  known = ', '.join(TARGETS)
  if type(rank) is not int or rank < 1:
    raise ValueError(f'lora.rank={rank!r} is not a whole number above 0')
  if not targets:
    raise ValueError(f'lora.targets is empty: name some of {known}')
  chosen = []
  for target in targets:
    if target.split('/')[0] in ('head', 'pooler', 'classifier'):
      raise ValueError(
        f'lora.targets has {target!r}: a head has no adapter, it is trained '
        f'whole; name some of {known}'
      )
    inside = [
      name
      for name in TARGETS
      if f'/{name}'.endswith(f'/{target}') or name.startswith(f'{target}/')
    ]
    if not inside:
      raise ValueError(
        f'lora.targets has {target!r}, which names no Dense of a layer: name '
        f'some of {known}'
      )
    chosen += inside
  return tuple(
    Lora(f'layers/{name}', rank, alpha / rank, float(dropout))
    for name in TARGETS
    if name in chosen
  )


def of(config) -> tuple[Lora, ...]:
  """The adapters of a recipe: config.lora, where config.tune says so."""
  return choose(**config.lora) if config.tune == 'lora' else ()


def merge(config: Config, params: dict) -> tuple[Config, dict]:
  """The plain model that computes the same: W + scale A B.

  Added in float32 and kept in the kernel's dtype. Only the kernels that are
  updated are copied, one at a time.

  Args:
    config: of the model.
    params: its parameters, on devices, of numpy or still in files.
  """

  def at(tree, path, change):
    key, *below = path
    return {
      **tree,
      key: at(tree[key], below, change) if below else change(tree[key]),
    }

  encoder = params['encoder']
  for lora in config.lora:

    def add(dense, lora=lora):
      kernel = dense['kernel']
      plain = {k: v for k, v in dense.items() if k not in (A, B)}
      # Stacked along layers, whichever kind of array it is.
      a, b = (np.asarray(dense[name], np.float32) for name in (A, B))
      whole = np.array(kernel, np.float32)
      for layer in range(len(whole)):
        whole[layer] += np.float32(lora.scale) * (a[layer] @ b[layer])
      return {**plain, 'kernel': whole.astype(kernel.dtype)}

    encoder = at(encoder, lora.path.split('/'), add)
  return dataclasses.replace(config, lora=()), {**params, 'encoder': encoder}
