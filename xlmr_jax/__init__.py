"""XLM-RoBERTa in JAX: pretrain, fine-tune, evaluate and convert.

import xlmr_jax
m = xlmr_jax.load('dir-or-hub-name')
m.encode(['text', ('a', 'b')])
"""

from typing import TYPE_CHECKING

__version__ = '0.1.0'

if TYPE_CHECKING:
  from xlmr_jax.inference.loaded import load as load
else:

  def load(path, **options):
    """Loads a checkpoint: see `xlmr_jax.inference.loaded.load`."""
    # Imported here so that `import xlmr_jax` costs nothing and a bare
    # accelerator image can use the model without the data packages.
    from xlmr_jax.inference import loaded

    return loaded.load(path, **options)
