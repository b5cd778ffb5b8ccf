"""XTREME from a checkpoint to the table: all tasks, all languages, one command.

  python -m xlmr_jax.eval --config=configs/xtreme.py:model=base \
      --config.data_dir=DIR --workdir=runs/xtreme-base

DIR has a folder for each task, named as it is: DIR/xnli, DIR/udpos, ... What is
not there is listed, and the rest runs. Each task is fine-tuned on English
with the settings of configs/finetune.py (xquad and mlqa share a model tuned on
SQuAD, DIR/squad), its checkpoint chosen on English dev, and tested on every
language; bucc2018 and tatoeba take the body as it is. Killed and started
again, it goes on. DIR may be tfds:FOLDER, what tensorflow_datasets has prepared
there (xlmr_jax/data/readers/tfds.py says of which tasks).

  tasks=xnli+udpos       some of the tasks; all by default
  --config.settings='("epochs=2","udpos:optim.learning_rate=1e-4")'
                         of the fine-tuning, of all tasks or of one
  --config.seeds=5       runs of each task: mean and standard deviation
  --config.split=dev     where test files have no labels
  --config.protocol=translate-train

Protocols, as XTREME calls them (Hu et al. 2020):

  zero-shot            the above
  translate-train      a model for each language, tuned on the English data
                       machine-translated into it, and tested in it; chosen on
                       English dev, so that nothing of the language is needed
  translate-train-all  a model tuned on English and all of its translations;
                       chosen on English dev
  few-shot             a model for each language, tuned on `shots` examples of
                       its own training data, each seed on others; chosen on
                       the language's dev file, or on English dev where it has
                       none or that is what is tested (tydiqa, split=dev)

In all of them English is tuned on all of its own data, and retrieval does not
change. Translations are there for xnli, pawsx, xquad, mlqa and tydiqa, and
training data of other languages for udpos, panx and tydiqa: tasks and
languages without are listed as missing. Settings are those of English, so look
at warm-ups in steps where data are few:

  python -m xlmr_jax.eval --config=configs/xtreme.py:tasks=panx+tydiqa \
      --config.data_dir=DIR --workdir=runs/few-shot --config.seeds=5 \
      --config.protocol=few-shot --config.shots=1000 \
      --config.settings='("tydiqa:optim.warmup=0.1",)'

Hardware, time, score: base, large, xl and xxl were not run; docs/reproduce.md
has each row's command, bounds of its time by `xlmr plan`, and published score.
Models of minutes were, on 2 CPU cores: docs/results.md (2026-11-22) has their
scores, such as UDPOS 90.9 in English and 34.9 in five languages of the
pretraining.
"""

import ml_collections

from configs import common

INIT = {
  'base': 'FacebookAI/xlm-roberta-base',
  'large': 'FacebookAI/xlm-roberta-large',
  'xl': 'facebook/xlm-roberta-xl',
  'xxl': 'facebook/xlm-roberta-xxl',
  'mbert': 'google-bert/bert-base-multilingual-cased',
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
  c.protocol = 'zero-shot'
  c.shots = 1000  # of few-shot: examples of each language
  c.recipe = 'finetune'  # of the fine-tunings: a name, or a file of yours
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
