"""CLUE and FewCLUE from a checkpoint to the leaderboard's zip: one command.

  python -m xlmr_jax.eval --config=configs/clue.py:model=large,tasks=all \
      --config.data_dir=DIR --workdir=runs/clue-large

DIR has a folder for each task, DIR/afqmc, DIR/cmrc2018, ..., the official zips
unpacked or as they are. What is not there is listed, and the rest runs. Each
task is fine-tuned on its own training data with the official baselines'
settings (BASELINE, below), chosen on dev and tested. Killed and started again,
it goes on.

  benchmark=fewclue      FewCLUE's nine tasks, trained on their few examples
  tasks=ocnli+cmrc2018   some of the tasks; all by default
  model=roberta-wwm-ext-large
                         a baseline of CLUE's own (INIT, below), beside its
                         published scores on test and on dev; base and large
                         are XLM-R's, which have none
  --config.settings='("epochs=2","ocnli:optim.learning_rate=1e-5")'
                         of the fine-tuning, of all tasks or of one
  --config.seeds=5       runs of each task: mean and standard deviation
  --config.parts         FewCLUE: seed 0 is tuned on train_0, seed 1 on train_1,
                         ..., each chosen by its own dev set; not on all of them
  --config.split=dev     where test files have no labels

Where the values come from: the scripts of CLUE's PyTorch baselines (Xu et al.
2020, arXiv:2004.05986, github.com/CLUEbenchmark/CLUE) for models of base's
size. FewCLUE's tasks take those of the task they are cut from, and where there
is none those of AFQMC (pairs) or TNEWS (texts); a few dozen examples want more
epochs, 20, which are ours.

Long inputs: IFLYTEK's texts are cut at 128 tokens, as there; of C3's passages
the end is cut at 512; CMRC's and DRCD's are read in windows of 512. DRCD stays
in traditional script, which the baselines convert first.

bert-base-chinese's tokenizer_config.json on the hub does not lower-case, though
its vocabulary is of lower case (transformers issue 9286), and is refused: copy
the folder, set do_lower_case to true there, as Google trained it, and name it
by --config.init=DIR.

Hardware, time, score: base and large were not run. The pretrained tiny was, on
2 CPU cores (docs/results.md, 2026-11-22): FewCLUE overall 34.3, near chance.
"""

from configs import common, xtreme

# The baselines of CLUE's tables, and MacBERT, of which no table was seen.
INIT = {
  'bert-base-chinese': 'google-bert/bert-base-chinese',
  'bert-wwm-ext': 'hfl/chinese-bert-wwm-ext',
  'roberta-wwm-ext': 'hfl/chinese-roberta-wwm-ext',
  'roberta-wwm-ext-large': 'hfl/chinese-roberta-wwm-ext-large',
  'macbert-base': 'hfl/chinese-macbert-base',
  'macbert-large': 'hfl/chinese-macbert-large',
}

# (batch, tokens of an example, epochs, rate, warm-up)
BASELINE = {
  'afqmc': (16, 128, 3, 2e-5, 0.1),
  'tnews': (16, 128, 3, 2e-5, 0.1),
  'iflytek': (32, 128, 3, 2e-5, 0.1),
  'cmnli': (64, 128, 2, 3e-5, 0.1),
  'ocnli': (16, 128, 2, 3e-5, 0.1),
  'cluewsc2020': (8, 128, 50, 2e-5, 0.1),
  'csl': (4, 256, 5, 1e-5, 0.1),
  'cmrc2018': (32, 512, 2, 3e-5, 0.1),
  'drcd': (32, 512, 2, 3e-5, 0.1),
  'chid': (24, 64, 3, 2e-5, 0.06),
  'c3': (24, 512, 8, 2e-5, 0.1),
  'cluener': (24, 128, 4, 3e-5, 0.1),
}
_FEW = {
  'bustm': 'afqmc',
  'cluewsc': 'cluewsc2020',
  'csldcp': 'tnews',
  'eprstmt': 'tnews',
}


def baseline(task: str) -> tuple[int, int, int, float, float] | None:
  """Settings of a task; fewclue.<task> for FewCLUE's. None: not of CLUE."""
  few = task.startswith('fewclue.')
  name = task.removeprefix('fewclue.')
  found = BASELINE.get(_FEW.get(name, name) if few else name)
  if not few or found is None:
    return found
  batch, tokens, epochs, rate, warmup = found
  if name == 'chid':  # one blank a passage, which is whole
    tokens = 128
  return batch, tokens, max(epochs, 20), rate, warmup


def get_config(arg: str = ''):
  options = common.parse(arg, model='base', tasks='all', benchmark='clue')
  c = xtreme.get_config(f'model={options["model"]},tasks={options["tasks"]}')
  c.init = INIT.get(c.model, c.init)
  c.benchmark = options['benchmark']  # 'clue' (1.1), 'clue1.0' or 'fewclue'
  c.parts = False
  return c
