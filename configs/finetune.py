"""Fine-tuning on texts, pairs or sentences of words, with labels or numbers.

  python -m xlmr_jax.train --config=configs/finetune.py:task=xnli,model=base \
      --config.init=FacebookAI/xlm-roberta-base \
      --config.data_dir=DIR --workdir=runs/xnli

task=xnli reads XNLI's or XTREME's files and trains on English only; the
checkpoint is chosen on English dev unless dev_languages says otherwise.
task=udpos and task=panx do the same for tags of words, with XTREME's files.
data_dir=tfds:FOLDER reads XTREME's tasks as tensorflow_datasets has prepared
them there, those that it has right (xlmr_jax/data/readers/tfds.py).
Other languages are trained on with

  --config.train_languages='("en","de","zh")'
  --config.train_split=translate-train   # xnli, pawsx, xquad, mlqa, tydiqa: the
                                         # English data, machine-translated
  --config.train_examples=1000           # at most so many of each language

Any other task=NAME reads your own .tsv, .csv or .jsonl files:

  --config.train=train.tsv --config.dev=dev-{language}.tsv
  --config.text_columns='("text",)' --config.label_column=label
  --config.quoted=False   # "..." in a table is text; left out: by the file
  --config.test=test-{language}.tsv   # only looked at for what train has too

Without --config.dev a share of train, dev_share, is held out by the seed: a
tenth of each language, texts that are the same on one side. Before the first
step a run says how many examples of dev and of test it trains on, exactly or
but for case and spaces, and where; of a benchmark test is its own test file.

With --config.objective=tag (or crf, which adds a linear chain) these files are
sentences instead: a line a word, in columns by tabs or spaces, and a blank line
after each (CoNLL 2003, WNUT, MultiCoNER, ...). The word is the first column,
the tag the last one, unless others are chosen, by number from 0 or by name:

  --config.label_column=1 --config.text_columns='("2",)'

A run says in which scheme the tags are (BIO, IOB1, IOBES, BILOU, BMES, none),
which is what the chain may do. With --config.objective=answer the files are
questions, in SQuAD's JSON or as `datasets` exports them. Where some of dev have
no answer, as in SQuAD 2.0, every evaluation chooses by F1 from where on none is
given, and the checkpoint keeps that threshold
(xlmr_jax/data/readers/squad.py, xlmr_jax/eval/no_answer.py). Answers that do
not stand where the file says are an error; --config.skip_bad=True counts them
and trains on the other questions.

With --config.objective=multilabel an example has any number of labels, which
are read in three ways: a column of names, `joy,surprise` (label_separator), a
list of names in JSONL, or a column of 0 and 1 for each class:

  --config.objective=multilabel --config.label_column=toxic,insult,threat
  --config.thresholds=per_label  # chosen on dev instead of 0.5, and saved

Dev is judged by micro F1, with macro F1 and exact matches beside it; classes by
accuracy, with macro F1, micro F1 and Matthews' correlation beside it. Where
some classes are rare:

  --config.metric=macro_f1 --config.class_weights=balanced

Settings: XTREME's for XNLI (length 128, batch 32, 5 epochs, rate 2e-5 for
base; large 1e-5 or lower, it collapses above), UDPOS and PAN-X (length 128,
batch 32, 10 epochs, rate 2e-5 for both; no warm-up, no decay), PAWS-X (length
128, batch 32, 5 epochs, rate 2e-5) and, for task=xquad and task=mlqa on SQuAD
and task=tydiqa on its English part, windows of 384 tokens every 128, batch 32,
3 epochs, rate 3e-5, 500 steps of warm-up.

With few resources: tune=lora trains low-rank updates of queries and values
beside the held body (config.lora: rank, alpha, dropout, targets), tune=bitfit
its bias terms, tune=head nothing of it; the head always. On a CPU (2 vCPU,
f32, batches of 4 x 128, random weights, 2026-11-29) lora took 2.6 GB for base
and, in batches of 2 x 128, 3.8 GB for large (docs/results.md).
optim.freeze holds what a prefix names, optim.freeze_layers the first layers.

  --config=configs/finetune.py:task=xnli,model=base,tune=lora

CLUE's tasks (task=ocnli, task=cmrc2018, ...) and FewCLUE's (task=fewclue.tnews)
train in Chinese, with the settings of configs/clue.py.

task=xcopa trains on COPA's English questions, and task=siqa on Social IQa,
from whose checkpoint XTREME-R goes on to COPA (--config.init=runs/siqa). Their
batches count questions, and a question's choices share a row: row_length must
hold the longest. XCOPA's grid (Ponti et al. 2020) is a rate of 5e-6, 1e-5 or
3e-5, batches of 4 or 8 and dropout 0 or 0.1; the settings here lie in it. It
says nothing of epochs.

Hardware, time, score: base, large, xl and xxl were not run. tiny was, on 2 CPU
cores, in `make quickstart` (docs/results.md, 2026-11-29): intents 99.3 in
English and 62.0 in seven other languages, tagged words 98.9 and 43.5.
"""

from ml_collections import config_dict

from configs import clue, common

QUESTIONS = ('xquad', 'mlqa', 'tydiqa')
CHOICES = ('xcopa', 'siqa')
# lora: microsoft/LoRA's for RoBERTa base on MNLI; the others are ours.
RATES = {'lora': 5e-4, 'bitfit': 5e-4, 'head': 1e-3}


def get_config(arg: str = ''):
  options = common.parse(arg, task='xnli', model='base', tune='all')
  c = common.base()
  c.tune = options['tune']
  c.objective = 'classify'  # multilabel, regression, tag, crf, answer, choose
  c.task = options['task']
  c.variant = options['model']

  c.data_dir = ''
  c.train = ''
  c.dev = ''  # empty: a share of train, drawn by the seed
  c.dev_share = 0.1  # how much of each language's
  c.test = ''  # only looked at for examples that train has too
  c.text_columns = ('text',)
  c.label_column = 'label'
  # Whether "..." in a table is a quoted field or text; empty: by the file.
  c.quoted = config_dict.placeholder(bool)
  c.labels = ()  # names in the order of their ids; empty: from the data
  c.label_separator = ','  # multilabel: between the labels of a cell
  c.thresholds = ''  # multilabel: 0.5; or chosen on dev: shared, per_label
  c.metric = ''  # what dev is judged by; empty: the usual one of the objective
  # balanced, (1.0, 9.0) by id, or {'no': 1.0, 'yes': 9.0}: how often the loss
  # of each class counts. Of classify, multilabel and tag.
  c.class_weights = config_dict.placeholder(object)
  c.train_languages = ('en',)
  c.train_split = 'train'  # or 'translate-train': machine translations of it
  c.train_examples = 0  # of each language, drawn by the seed; 0: all
  c.dev_languages = ('en',)
  c.part = ''  # FewCLUE: '0' to '4', one of its five small sets; empty: all
  c.skip_bad = False  # of answers to questions: see above
  c.max_length = 128
  c.truncate = 'longest_first'

  c.batch_size = 32  # examples or questions, on average; rows are packed
  c.row_length = 128
  c.epochs = 5
  c.tokenizer = ''  # only with fresh parameters; init brings its own
  c.optim.learning_rate = 1e-5 if c.variant == 'large' else 2e-5
  if c.task in ('udpos', 'panx'):
    c.objective = 'tag'
    c.epochs = 10
    c.optim.learning_rate = 2e-5
    c.optim.warmup, c.optim.weight_decay, c.optim.eps = 0.0, 0.0, 1e-8
    c.eval_every = 500 if c.task == 'udpos' else 1000
  if c.task == 'pawsx':
    c.optim.learning_rate = 2e-5
    c.optim.warmup, c.optim.weight_decay, c.optim.eps = 0.0, 0.0, 1e-8
    c.eval_every = 200
  if c.task in QUESTIONS:
    c.objective = 'answer'
    c.max_length = c.row_length = 384
    c.epochs = 3
    c.optim.learning_rate, c.optim.warmup = 3e-5, 500
    c.optim.weight_decay, c.optim.eps = 1e-4, 1e-8
  elif c.task in CHOICES:
    c.objective = 'choose'
    # COPA's longest question has 71 tokens; Social IQa has longer ones, with
    # three choices.
    c.row_length = 256 if c.task == 'siqa' else 128
    c.batch_size = 8
    c.epochs = 3 if c.task == 'siqa' else 10
    c.optim.learning_rate = 1e-5
  elif baseline := clue.baseline(c.task):
    _clue(c, *baseline)
  elif c.variant == 'tiny':  # the quickstart's
    c.max_length = c.row_length = 64
    c.optim.learning_rate = 1e-3
    c.epochs = 3
    if c.task == 'xnli':  # a width of 64 learns late to match two sentences
      c.dropout, c.optim.learning_rate, c.epochs = 0.05, 1.5e-3, 4
  # What is added or small wants larger rates than a whole model.
  if c.tune in RATES:
    c.optim.learning_rate = max(c.optim.learning_rate, RATES[c.tune])
  return c


def _clue(c, batch_size, max_length, epochs, rate, warmup):
  """CLUE's tasks, and FewCLUE's: in Chinese, with the baselines' settings."""
  c.train_languages = c.dev_languages = ('zh',)
  c.batch_size, c.epochs = batch_size, epochs
  c.max_length = c.row_length = max_length
  c.optim.learning_rate, c.optim.warmup = rate, warmup
  name = c.task.removeprefix('fewclue.')
  if name in ('cmrc2018', 'drcd'):
    c.objective = 'answer'
  elif name == 'cluener':
    c.objective = 'tag'  # or crf
  elif name in ('c3', 'chid'):
    c.objective = 'choose'
    # All choices of a question share a row: four of C3, ten of CHID.
    c.row_length = 2048 if name == 'c3' else 1024
  if c.variant == 'tiny':
    c.optim.learning_rate = 1e-3
