"""Pretraining by masked language modelling, with TLM where there are pairs;
or, with --config.objective=causal, by predicting the next token.

  python -m xlmr_jax.train --config=configs/pretrain.py:model=base \
      --config.corpus=DIR --config.tokenizer=DIR --workdir=runs/base

DIR is a prepared corpus (xlmr corpus) or a folder of text:
<lang>.txt or .jsonl, plain, .gz, .xz or .zst, one paragraph a line, blank lines
between documents; that is prepared first. Languages are drawn with probability
∝ n^alpha. `--config.parallel=DIR` adds files <a>-<b>.tsv of translation pairs.
To go on from a checkpoint, --config.init=FacebookAI/xlm-roberta-base; on a new
language, configs/adapt.py.

Where the values come from:
  XLM-R    Conneau et al. 2020, arXiv:1911.02116, section 3 and appendix B: MLM
           on streams of one language, alpha 0.3, 8,192 rows, 1.5 M updates
  RoBERTa  Liu et al. 2019, arXiv:1907.11692, table 9: rates, warm-up, Adam's
           betas and epsilon, decay, no clipping, 500 k updates of 8 k rows of
           512; XLM-R does not repeat them, and base and large take them here
  XL, XXL  Goyal et al. 2021, arXiv:2105.00572, train like XLM-R, on a twelfth
           of its tokens; rate, warm-up and batch are ours, untried
  mesh, accumulate, remat, topology are ours: what `python -m xlmr_jax.plan`
           says fits there with a tenth of the memory free (docs/pods.md)

Hardware, time, score (docs/results.md, docs/pods_table.md, 2026-11-22):
  tiny         run: 2 CPU cores, all of `make quickstart` 9 min 14 s; intents in
               seven other languages 59.4 (17.7 without pretraining)
  small        run: 2 CPU cores, real text, stopped at step 3,500 of 5,000:
               held-out loss 6.12, where unigrams have 6.52
  base         not run; planned: 16 v5e, at least 422 hours
  large        not run; planned: 64 v5e, at least 312 hours
  xl, xxl      not run; planned: 64 v5p, at least 90 and 300 hours
  the others   not run; planned: fits its machine, docs/pods.md
The hours are the steps at the compiler's bound; no score is known.
"""

from configs import common

# (peak rate, warm-up steps, steps)
PAPER = {
  'base': (6e-4, 24_000, 1_500_000),
  'large': (4e-4, 30_000, 1_500_000),
  'roberta': (6e-4, 24_000, 500_000),
  'roberta-large': (4e-4, 30_000, 500_000),
  'distilroberta': (6e-4, 24_000, 500_000),  # ours: it was distilled
  'camembert': (7e-4, 10_000, 100_000),  # Martin et al. 2020, section 4.4
  'xl': (2e-4, 30_000, 500_000),
  'xxl': (1e-4, 30_000, 500_000),
}

# Where each is meant to run: chips, (data, fsdp, tensor), micro-batches and
# what is kept for the backward pass. docs/pods_table.md has other machines.
MACHINE = {
  'base': ('v5e:4x4', (1, -1, 1), 16, 'dots'),
  'large': ('v5e:8x8', (1, -1, 1), 8, 'dots'),
  'roberta': ('v5e:4x4', (1, -1, 1), 16, 'dots'),
  'roberta-large': ('v5e:8x8', (1, -1, 1), 8, 'dots'),
  'distilroberta': ('v5e:4x4', (1, -1, 1), 16, 'dots'),
  'camembert': ('v5e:4x4', (1, -1, 1), 16, 'dots'),
  'xl': ('v5p:4x4x4', (1, -1, 1), 2, 'none'),
  'xxl': ('v5p:4x4x4', (1, -1, 1), 2, 'dots'),
}


def get_config(arg: str = ''):
  options = common.parse(arg, model='base')
  c = common.base()
  c.objective = 'mlm'
  c.variant = options['model']

  # What is read.
  c.corpus = ''
  c.parallel = ''
  c.parallel_share = 0.5  # of the tokens, where there are pairs
  c.tokenizer = ''
  c.cache_dir = ''  # of corpora that are prepared here; empty: WORKDIR/cache
  c.languages = ()  # of the corpus; empty: all there are
  c.alpha = 0.3
  c.held_out = 0.01  # share of each language's text never trained on
  c.held_out_examples = 64  # of each language, at most, in an evaluation

  # Rows. stream: a language's text, document after document, in equal pieces
  # (XLM-R); packed: several documents to a row; document: one, or a piece.
  c.rows = 'stream'
  c.batch_tokens = 8192 * 512
  c.row_length = 512
  c.example_length = 0  # tokens of an example at most; 0: a whole row
  # Other row lengths, each until a share of the steps, or until a step: BERT's
  # is ((0.9, 128), (1.0, 512)). Empty: row_length throughout. A small model in
  # minutes needs short rows first, ((0.77, 16), (1.0, 64)): docs/log.md.
  c.schedule = ()

  # What is predicted. token; word: all pieces of a word, in Chinese a piece (no
  # segmenter's words, as the wwm models were made with); ngram: of 1 to 3.
  c.mask_rate = 0.15
  c.mask_units = 'token'
  c.loss_chunk = 0  # masked positions of a row scored at a time; 0: all

  c.steps = 100_000
  c.eval_every = 5_000
  c.save_every = 1_000
  c.topology = ''  # the machine that the settings are meant for
  c.optim.learning_rate = 1e-3
  c.optim.warmup = 0.06
  c.optim.b2 = 0.98
  if c.variant in PAPER:
    c.optim.learning_rate, c.optim.warmup, c.steps = PAPER[c.variant]
    c.optim.clip = 0.0
    c.topology, c.mesh, c.accumulate, c.remat = MACHINE[c.variant]
    c.dtype, c.dropout_rng = 'bfloat16', 'rbg'
  if c.variant in ('xl', 'xxl'):
    c.batch_tokens = 2048 * 512
    c.optim.clip = 1.0
    c.on_bad, c.spike = 'roll_back', 6.0
  if c.variant == 'small':
    c.batch_tokens, c.row_length = 16_384, 256
    c.steps, c.eval_every, c.save_every = 2_000, 500, 500
  if c.variant == 'tiny':  # the quickstart's: nearly all of it TLM
    c.batch_tokens, c.row_length = 1_024, 64
    c.parallel_share, c.mask_rate, c.dropout = 0.9, 0.6, 0.0
    c.steps, c.eval_every, c.save_every = 5_000, 2_500, 2_500
    c.optim.learning_rate = 4e-3
  return c
