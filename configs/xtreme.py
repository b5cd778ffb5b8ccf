"""XTREME from a checkpoint to the table: all tasks, all languages, one command.

  python -m xlmr_jax.eval --config=configs/xtreme.py:model=base \
      --config.data_dir=DIR --workdir=runs/xtreme-base

DIR has a folder for each task, named as it is: DIR/xnli, DIR/udpos, ... What is
not there is listed, and the rest runs. Each task is fine-tuned on English
with the settings of configs/finetune.py (xquad and mlqa share a model tuned on
SQuAD, DIR/squad), its checkpoint chosen on English dev, and tested on every
language; bucc2018 and tatoeba take the body as it is. Killed and started
again, it goes on.

  tasks=xnli+udpos       some of the tasks; all by default
  --config.settings='("epochs=2","udpos:optim.learning_rate=1e-4")'
                         of the fine-tuning, of all tasks or of one
  --config.seeds=5       runs of each task: mean and standard deviation
  --config.split=dev     where test files have no labels
"""

import ml_collections

from configs import common

INIT = {
  'base': 'FacebookAI/xlm-roberta-base',
  'large': 'FacebookAI/xlm-roberta-large',
  'xl': 'facebook/xlm-roberta-xl',
  'xxl': 'facebook/xlm-roberta-xxl',
}


def get_config(arg: str = ''):
  options = common.parse(arg, model='base', tasks='all')
  c = ml_collections.ConfigDict()
  c.benchmark = 'xtreme'  # or 'xtreme-r'
  c.model = options['model']
  c.tasks = tuple(options['tasks'].split('+'))
  c.data_dir = ''

  # What is fine-tuned: a checkpoint, or with '' fresh parameters and a
  # tokenizer, named in `settings`.
  c.init = INIT.get(c.model, '')
  c.recipe = 'configs/finetune.py'
  c.settings = ()  # 'name=value' of the recipe, or 'task:name=value'
  c.seeds = 1
  # A run whose model answers one class to everything is begun again so often,
  # each time with half the rate.
  c.restarts = 0

  # What is tested.
  c.split = 'test'
  c.languages = ()  # some of each task's; empty: all
  c.dtype = 'float32'
  # Of tasks without fine-tuning: the layer (a float is a share of the depth),
  # the pooling, and a run whose model is taken ('squad' is XTREME-R's way).
  c.layer = 7 / 12
  c.pooling = 'mean'
  c.skip_specials = False
  c.retrieve_with = ''

  # A prepared corpus, for a plot of scores against languages' sizes.
  c.corpus = ''
  return c
