r"""Fine-tunes on your own table of texts and labels, then labels new texts.

  python examples/classify.py FacebookAI/xlm-roberta-base train.tsv dev.tsv \
      runs/mine 'Das ist wunderbar.' 'This is a shame.'

The tables have a header, `text<TAB>label`; .csv and .jsonl are read too. The
best step on dev is kept in runs/mine, and the same command again, after a kill
too, goes on from there. It prints a line for each text:

  positive  0.98  Das ist wunderbar.
  negative  0.95  This is a shame.
"""

import sys

import numpy as np

import xlmr_jax
from xlmr_jax import train
from xlmr_jax.runtime import recipes


def main(checkpoint, train_file, dev_file, workdir, *texts):
  config = recipes.read('finetune:task=mine,model=base')
  config.init = checkpoint
  config.train = train_file
  config.dev = dev_file
  train.train(config, workdir)

  model = xlmr_jax.load(workdir)
  for text, scores in zip(texts, model.logits(texts), strict=True):
    probabilities = np.exp(scores - scores.max())
    probabilities /= probabilities.sum()
    best = int(scores.argmax())
    print(f'{model.labels[best]}  {probabilities[best]:.2f}  {text}')


if __name__ == '__main__':
  main(*sys.argv[1:])
