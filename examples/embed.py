r"""Finds the texts that mean the same, in any language, by their vectors.

  python examples/embed.py intfloat/multilingual-e5-base \
      'Where is the station?' 'Wo ist der Bahnhof?' 'I like tea.'

It prints the other texts, the nearest first, with the cosine to the first
text. The checkpoint says how a text becomes a vector: pooling and prompts.

  0.93  Wo ist der Bahnhof?
  0.78  I like tea.
"""

import sys

import numpy as np

import xlmr_jax


def main(checkpoint, query, *texts):
  model = xlmr_jax.load(checkpoint)
  pooling = None if model.pooling else 'mean'
  vectors = model.embed([query, *texts], pooling=pooling, normalize=True)
  cosines = vectors[1:] @ vectors[0]
  for i in np.argsort(-cosines):
    print(f'{cosines[i]:.2f}  {texts[i]}')


if __name__ == '__main__':
  main(*sys.argv[1:])
