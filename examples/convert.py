"""Writes a checkpoint for `transformers` and compares it with the original.

  python examples/convert.py runs/mine mine-hf

The source is any that xlmr_jax.load takes, a hub name too; the target is new.
It prints how far the last hidden states of a text are from each other, which
is 0: the files hold the same numbers.

  mine-hf: 6 tokens, largest difference 0.0

`xlmr convert` does the same for models that are larger than the memory.
"""

import sys

import numpy as np

import xlmr_jax


def main(source, target):
  model = xlmr_jax.load(source)
  model.save(target, format='hf')
  text = 'The same text.'
  (before,) = model.encode([text])
  (after,) = xlmr_jax.load(target).encode([text])
  difference = float(np.abs(before - after).max())
  print(f'{target}: {len(before)} tokens, largest difference {difference}')


if __name__ == '__main__':
  main(*sys.argv[1:])
