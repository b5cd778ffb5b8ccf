"""Pretraining by masked language modelling, with TLM where there are pairs;
or, with --config.objective=causal, by predicting the next token.

  python -m xlmr_jax.train --config=configs/pretrain.py:model=base \
      --config.corpus=DIR --config.tokenizer=DIR --workdir=runs/base

DIR holds <lang>.txt, .txt.gz or .txt.xz, one paragraph a line; languages are
drawn with probability ∝ n^alpha (Conneau and Lample 2019, section 3.1).
`--config.parallel=DIR` adds files <a>-<b>.tsv of translation pairs. To go on
from a checkpoint, --config.init=FacebookAI/xlm-roberta-base.

base, large: XLM-R's published optimiser settings (Conneau et al. 2020, app. B
name 8,192 rows of 512; RoBERTa's Adam: b2 0.98, eps 1e-6). They were trained
on 500 GPUs; here they are a start for continued pretraining. roberta,
roberta-large, distilroberta, camembert: bodies of the same sizes, with a
tokenizer folder of their own. xl, xxl: rate and remat are ours, untried.
small, tiny: minutes on a laptop. README's table says what was reached.
"""

from configs import common

RATES = {
  'base': 6e-4,
  'large': 4e-4,
  'roberta': 6e-4,
  'roberta-large': 4e-4,
  'distilroberta': 6e-4,
  'camembert': 6e-4,
  'xl': 2e-4,
  'xxl': 1e-4,
}


def get_config(arg: str = ''):
  options = common.parse(arg, model='base')
  c = common.base()
  c.objective = 'mlm'
  c.variant = options['model']

  c.corpus = ''
  c.parallel = ''
  c.parallel_share = 0.5  # of the tokens, where there are pairs
  c.tokenizer = ''
  c.cache_dir = ''  # tokenised text; empty: WORKDIR/cache
  c.alpha = 0.3
  c.mask_rate = 0.15
  c.held_out = 0.01  # share of each language's text never trained on
  c.held_out_examples = 64  # of each language, at most, in an evaluation

  c.batch_tokens = 8192 * 512
  c.row_length = 512
  c.example_length = 0  # tokens of an example at most; 0: a whole row
  c.loss_chunk = 0
  c.steps = 100_000
  c.eval_every = 5_000
  c.save_every = 1_000
  c.optim.learning_rate = RATES.get(c.variant, 1e-3)
  c.optim.b2 = 0.98
  c.optim.warmup = 0.06
  if c.variant == 'small':
    c.batch_tokens, c.row_length = 16_384, 256
    c.steps, c.eval_every, c.save_every = 2_000, 500, 500
  if c.variant == 'tiny':  # the quickstart's: nearly all of it TLM
    c.batch_tokens, c.row_length = 1_024, 64
    c.parallel_share, c.mask_rate, c.dropout = 0.9, 0.6, 0.0
    c.steps, c.eval_every, c.save_every = 5_000, 2_500, 2_500
    c.optim.learning_rate = 4e-3
  if c.variant in ('large', 'roberta-large'):
    c.remat = 'dots'
  if c.variant in ('xl', 'xxl'):
    c.remat = 'full'
  return c
