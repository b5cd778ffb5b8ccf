"""What every recipe shares: the loop's own settings, and the argument's form.

A recipe is a file with `get_config(arg)`; `arg` is what follows the colon in
--config=configs/finetune.py:task=xnli,model=base. Every field can be set on
the command line: --config.optim.learning_rate=2e-5.
"""

import ml_collections
from ml_collections import config_dict


def parse(arg: str, **defaults: str) -> dict[str, str]:
  """'task=xnli,model=base' → a dict over the defaults."""
  options = dict(defaults)
  for item in filter(None, arg.split(',')):
    name, _, value = item.partition('=')
    if name not in options or not value:
      known = ','.join(f'{name}=...' for name in options)
      raise ValueError(f'config argument {item!r}: write {known}')
    options[name] = value
  return options


def base() -> ml_collections.ConfigDict:
  """Settings of the train loop, with defaults that any recipe may change."""
  c = ml_collections.ConfigDict()
  c.seed = 0

  # The start: a checkpoint directory, a Hugging Face directory or hub name;
  # empty = fresh parameters of `variant`.
  c.init = ''
  c.variant = 'base'
  c.sizes = dict(  # over the variant's own, for fresh parameters
    num_layers=config_dict.placeholder(int),
    model_dim=config_dict.placeholder(int),
    num_heads=config_dict.placeholder(int),
    ff_dim=config_dict.placeholder(int),
    max_positions=config_dict.placeholder(int),
  )
  c.dropout = 0.1
  # Fused attention has no dropout on probabilities; with > 0 the xla backend
  # is used, as in Hugging Face's own training.
  c.attention_dropout = 0.0

  # How it runs. mesh: (data, fsdp, tensor), -1 takes the remaining devices;
  # slices: TPU slices joined by a slower network, each with such a mesh.
  c.mesh = (-1, 1, 1)
  c.slices = 1
  c.dtype = 'float32'
  c.param_dtype = 'float32'
  c.attention = 'auto'
  c.remat = 'none'
  c.scan = True
  c.accumulate = 1
  c.dropout_rng = 'threefry'  # 'rbg': faster on TPUs, other bits elsewhere

  # How long. steps = 0: that many epochs, half of one is 0.5.
  c.steps = 0
  c.epochs = 3.0

  c.optim = dict(
    name='adamw',  # or 'lamb'
    learning_rate=1e-5,
    warmup=0.1,  # below 1: a share of all steps; else a number of steps
    power=1.0,  # of the decay after it; 1: linear
    end=0.0,  # rate at the last step
    weight_decay=0.01,
    decay='matrices',  # no decay of biases and LayerNorms; 'all': everything
    b1=0.9,
    b2=0.999,
    eps=1e-6,
    moments='float32',  # 'bfloat16': of the first moment
    clip=1.0,  # global norm; 0: off
    layer_decay=1.0,  # rate of each layer over the next one's
    freeze=(),  # path prefixes, e.g. ('encoder/embed',)
    freeze_layers=0,  # so many layers, from the bottom
  )

  # What of the body is trained: all, lora, bitfit (all bias terms) or head
  # (nothing of it). Heads always are. What is not trained has no gradient and
  # no state of the optimizer.
  c.tune = 'all'
  # Rank 8 and alpha 16, on queries and values: as github.com/microsoft/LoRA
  # (Hu et al. 2021, arXiv:2106.09685) tunes RoBERTa base on MNLI
  # (examples/NLU/roberta_base_mnli.sh). Dropout 0 is ours.
  c.lora = dict(
    rank=8,
    alpha=16.0,
    dropout=0.0,
    targets=('query', 'value'),  # also key, attention/out, ff/up, ff/down
  )

  # A loss that is not finite, or (spike > 0) more than that many standard
  # deviations above its running mean. stop; skip: without an update; roll_back:
  # to the last save, passing over all batches until after this one.
  c.on_bad = 'stop'
  c.spike = 0.0
  c.max_bad = 20  # then stop all the same

  # What is reported when, in steps. 0: at the end of every epoch.
  c.log_every = 20
  c.eval_every = 0
  c.save_every = 0
  c.patience = 0  # evaluations without a better score; 0: never stop early
  c.peak_tflops = 0.0  # of one device, for MFU; 0: by the device's name
  c.progress = True
  return c
