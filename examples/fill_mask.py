r"""What a masked language model expects where a text has <mask>.

  python examples/fill_mask.py FacebookAI/xlm-roberta-base \
      'Paris is the <mask> of France.'

It prints the five best pieces with their probabilities; ▁ begins a word.

  0.86  ▁capital
  0.02  ▁heart
  ...
"""

import sys

import xlmr_jax


def main(checkpoint, *texts):
  model = xlmr_jax.load(checkpoint, head='mlm')
  for text in texts:
    for piece, probability in model.fill_mask(text, top=5):
      print(f'{probability:.2f}  {piece}')


if __name__ == '__main__':
  main(*sys.argv[1:])
