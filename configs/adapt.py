"""Going on with pretraining, on a new language or a new domain.

  xlmr vocabulary extend FacebookAI/xlm-roberta-base \
      runs/extended --corpus='ug.txt' --pieces=8000
  python -m xlmr_jax.train --config=configs/adapt.py \
      --config.init=runs/extended --config.corpus=DIR --workdir=runs/ug

The first command is for a language that the vocabulary shreds into letters
(xlmr corpus prints tokens per character); without it, init
is the model itself. DIR holds the new language and, so that the others are not
forgotten, some text in those that matter: alpha 0.3 lets small ones be heard.

The settings are ours, for one machine with 8 accelerators: a tenth of the
pretraining rate, a short warm-up, 2,048 rows of 256. They were tried on tiny
models only.

Hardware, time, score: not run at these sizes, and not planned; none is known.
"""

from configs import common, pretrain


def get_config(arg: str = ''):
  options = common.parse(arg, model='base')
  c = pretrain.get_config(f'model={options["model"]}')
  c.mesh, c.topology = (-1, 1, 1), ''
  if c.variant not in ('tiny', 'small'):
    c.batch_tokens, c.row_length, c.accumulate = 2048 * 256, 256, 8
    c.steps, c.eval_every, c.save_every = 25_000, 1_000, 1_000
  c.optim.learning_rate /= 10
  c.optim.warmup = 0.02
  c.optim.clip = 1.0
  return c
