"""Recipes and settings: every recipe runs, every wrong setting says so."""

import importlib
import subprocess
import sys

from absl import flags
import jax
import numpy as np
import pytest
from tiny_runs import (
  ARGUMENT,
  ROOT,
  SIZES,
  recipe,
  settings,
  steps,
  write_data,
)

from configs import finetune, pretrain
from xlmr_jax import heads, train
from xlmr_jax.data.tokenizers import train_tokenizer
from xlmr_jax.data.tokenizers import xlmr as tokenizer
from xlmr_jax.model import VARIANTS
from xlmr_jax.runtime import commands, sharding

MESH = sharding.make_mesh()


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
  """Tables, a corpus, and XNLI in XTREME's form."""
  folder = tmp_path_factory.mktemp('data')
  write_data(folder)
  labels = ('contradiction', 'entailment', 'neutral')
  (folder / 'xnli').mkdir()
  for split, count in (('train', 12), ('dev', 6), ('test', 6)):
    lines = [f'red cat {i}\tcat {i}\t{labels[i % 3]}\n' for i in range(count)]
    if split == 'test':  # as XTREME ships it: no labels
      lines = [line.rsplit('\t', 1)[0] + '\n' for line in lines]
    (folder / 'xnli' / f'{split}-en.tsv').write_text(''.join(lines))
  return folder


@pytest.fixture(scope='module')
def given(folder, tiny_tokenizer):
  return settings(folder, tiny_tokenizer)


def build(given, module, tmp_path, **changes):
  return train.build_job(recipe(given, module, **changes), tmp_path, MESH)


# ── Every recipe ──────────────────────────────────────────────────────────


def recipes():
  """(module, argument) of every recipe, in each of its forms."""
  for path in sorted((ROOT / 'configs').glob('*.py')):
    module = importlib.import_module(f'configs.{path.stem}')
    # Recipes of fine-tunings; test_suite.py and test_clue_suite.py run them.
    if path.stem in ('clue', 'common', 'xtreme'):
      continue
    tasks = ['xnli', 'cats'] if path.stem == 'finetune' else [None]
    for variant in VARIANTS:
      for task in tasks:
        argument = f'task={task},' if task else ''
        yield module, f'{argument}model={variant}'


def filled(module, argument, folder, tokenizer):
  """A recipe as it stands, with the files it needs."""
  config = module.get_config(argument)
  config.tokenizer = str(tokenizer)
  config.progress = False
  if module is not finetune:
    config.corpus = str(folder / 'corpus')
    config.parallel = str(folder / 'parallel')
    config.cache_dir = str(folder / 'cache')
    config.held_out = 0.1
  else:
    config.data_dir = str(folder / 'xnli' if config.task == 'xnli' else folder)
    if config.task == 'cats':
      config.train, config.dev = 'train.tsv', 'dev-{language}.tsv'
  return config.lock()


@pytest.mark.parametrize(
  'module, argument',
  recipes(),
  ids=lambda x: x if isinstance(x, str) else x.__name__,
)
def test_every_recipe_builds(
  folder, tiny_tokenizer, tmp_path, module, argument
):
  """At its full size: shapes cost nothing."""
  config = filled(module, argument, folder, tiny_tokenizer)
  job = train.build_job(config, tmp_path, MESH)
  shapes = jax.eval_shape(job.fresh, jax.random.key(0))
  sharding.shardings(shapes, heads.plan(job.model, job.head), MESH)
  body = VARIANTS[config.variant]
  kernel = shapes['encoder']['layers']['ff']['up']['kernel']
  assert kernel.shape == (body.num_layers, body.model_dim, body.ff_dim)
  assert job.loader.total_steps > 0
  batch = job.loader.batch(0)
  if config.variant in ('tiny', 'small'):
    objective = job.objective
    sums = jax.eval_shape(
      lambda p, b, k: objective.loss(p, objective.prepare(b, k), k),
      shapes,
      batch,
      jax.random.key(0),
    )
    assert sums['loss'][0].shape == (job.loader.rows,)
  assert 'python -m xlmr_jax.train' in module.__doc__


@pytest.mark.parametrize(
  'module, argument',
  [r for r in recipes() if 'tiny' in r[1]],
  ids=lambda x: x if isinstance(x, str) else x.__name__,
)
def test_every_tiny_recipe_makes_a_step(
  folder, tiny_tokenizer, tmp_path, module, argument
):
  config = filled(module, argument, folder, tiny_tokenizer)
  with config.unlocked():
    config.steps = 1
  last = train.train(config, tmp_path)
  assert np.isfinite(list(last.values())).all() and last
  assert max(steps(tmp_path)) == 1


# ── The command line ──────────────────────────────────────────────────────


def train_flags():
  values = flags.FlagValues()
  train.define_flags(values)
  return values


@pytest.mark.parametrize(
  'arguments, message',
  [
    (
      ['--config.optim.lerning_rate=1'],
      "--config.optim.lerning_rate: the recipe has no setting 'lerning_rate'; "
      "did you mean 'learning_rate'?",
    ),
    (
      ['--config.batchsize=8'],
      "--config.batchsize: the recipe has no setting 'batchsize'; did you mean "
      "'batch_size'?",
    ),
    (['--config.qqq=8'], "--config.qqq: the recipe has no setting 'qqq'"),
    (
      ['--config.optim.learning_rate.x=1'],
      'Attempting to lookup: optim.learning_rate.x',
    ),
    (['--config.steps=many'], 'flag --config.steps=many: invalid literal'),
    (['--wrkdir=x'], "Unknown command line flag 'wrkdir'. Did you mean"),
  ],
)
def test_a_wrong_flag_is_one_line(monkeypatch, capsys, arguments, message):
  path = ROOT / 'configs' / 'finetune.py'
  argv = ['train', f'--config={path}:{ARGUMENT[finetune]}', *arguments]
  monkeypatch.setattr(sys, 'argv', argv)
  with pytest.raises(SystemExit) as end:
    commands.parse(argv, train_flags())
  assert end.value.code == 1
  out, err = capsys.readouterr()
  assert out == '' and err.count('\n') == 1
  assert err.startswith('error: ') and message in err


def test_a_wrong_argument_of_a_recipe_is_one_line(monkeypatch, capsys):
  path = ROOT / 'configs' / 'finetune.py'
  argv = ['train', f'--config={path}:tsak=xnli']
  monkeypatch.setattr(sys, 'argv', argv)
  with pytest.raises(SystemExit):
    commands.parse(argv, train_flags())
  assert capsys.readouterr().err == (
    "error: config argument 'tsak=xnli': write task=...,model=...,tune=...\n"
  )


def test_an_error_of_the_command_is_one_line(given, tmp_path):
  done = subprocess.run(
    [
      sys.executable,
      *('-m', 'xlmr_jax.train', f'--workdir={tmp_path / "run"}'),
      f'--config=configs/finetune.py:{ARGUMENT[finetune]}',
      *(f'--config.{k}={v}' for k, v in given[finetune].items()),
      '--config.mesh=(3,1,1)',
    ],
    cwd=ROOT,
    capture_output=True,
    text=True,
    timeout=240,
    check=False,
  )
  assert done.returncode == 1
  assert done.stderr == (
    'error: mesh (data, fsdp, tensor) = (3, 1, 1) does not fit 1 devices: set '
    'config.mesh to three sizes whose product is that, or leave one -1\n'
  )
  assert not (tmp_path / 'run').exists()


# ── Meshes ────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
  'shape, message',
  [
    ((2, 1, 1), r'= \(2, 1, 1\) does not fit 1 devices: set config\.mesh'),
    ((-1, 2, 1), r'= \(-1, 2, 1\) does not fit 1 devices'),
    ((-1, -1, 1), 'does not fit 1 devices'),
    ((0, 1, 1), 'does not fit 1 devices'),
    ((1, 1), r'mesh \(1, 1\) must give three sizes: data, fsdp, tensor'),
  ],
)
def test_a_mesh_that_does_not_fit(shape, message):
  with pytest.raises(ValueError, match=message):
    sharding.make_mesh(shape)


def test_what_a_mesh_does_not_divide():
  mesh = jax.sharding.AbstractMesh((1, 2, 2, 4), sharding.MESH)
  assert sharding.row_parts(mesh) == 4
  sharding.check_rows(8, mesh)
  with pytest.raises(ValueError, match='6 rows in a batch are not divisible'):
    sharding.check_rows(6, mesh)
  dims = {'a/kernel': ('model', 'heads'), 'a/bias': ('heads',)}
  tree = lambda i, o: {
    'a': {
      'kernel': jax.ShapeDtypeStruct((i, o), 'float32'),
      'bias': jax.ShapeDtypeStruct((o,), 'float32'),
    }
  }
  spec = sharding.shardings(tree(16, 16), dims, mesh)['a']['kernel'].spec
  assert spec == jax.sharding.PartitionSpec('fsdp', 'tensor')
  for sizes, message in (
    ((16, 18), "a/bias: dimension 'heads' of 18 is not divisible by its 4"),
    ((15, 16), "a/kernel: dimension 'model' of 15 is not divisible by its 2"),
  ):
    with pytest.raises(ValueError, match=message):
      sharding.shardings(tree(*sizes), dims, mesh)
  with pytest.raises(ValueError, match="'b/bias' has no row in PLAN"):
    sharding.shardings({'b': tree(16, 16)['a']}, dims, mesh)


def test_a_batch_of_the_wrong_number_of_rows_is_not_placed(monkeypatch):
  monkeypatch.setattr(sharding, 'row_parts', lambda mesh: 4)
  for place in (sharding.place_batch, sharding.place_all):
    with pytest.raises(ValueError, match='6 rows in a batch are not'):
      place({'tokens': np.zeros((6, 8), np.int32)}, MESH)


# ── Settings and files that do not fit ────────────────────────────────────


@pytest.mark.parametrize(
  'changes, message',
  [
    ({'objective': 'clasify'}, "config.objective='clasify' is not one of mlm"),
    ({'variant': 'huge'}, "config.variant='huge' is not one of tiny, small"),
    ({'tokenizer': ''}, 'nothing to start from: set config.init'),
    ({'train': ''}, 'config.train is empty: task=cats is no benchmark'),
    ({'max_length': 33}, 'config.max_length=33, but the model holds 32 pos'),
    ({'row_length': 16}, 'config.row_length=16 is below config.max_length=32'),
    ({'sizes.num_heads': 3}, 'model_dim 16 is not a multiple of num_heads 3'),
    ({'dtype': 'float31'}, "dtype='float31' is not one of float32"),
    ({'attention': 'fast'}, "attention='fast' is not one of auto, xla"),
    ({'remat': 'half'}, "remat='half' is not one of none, full, dots"),
    ({'dropout': 1.5}, 'dropout=1.5 is not in [0, 1)'),
    ({'accumulate': 0}, 'config.accumulate=0 is not positive'),
    ({'epochs': 0}, 'epochs=0.0; it must be positive'),
    ({'batch_size': 0}, 'batch_size=0; it must be positive'),
    ({'dev_languages': ('xx',)}, 'dev-xx.tsv'),
    (
      {'text_columns': ('txt',)},
      "train.tsv:1: no column 'txt'; the header has",
    ),
    ({'labels': ('yes', 'maybe')}, "train.tsv:2: unknown label 'no'; the lab"),
    ({'objective': 'regression'}, "train.tsv:2: label 'no' is not a number"),
    (
      {'truncate': 'error', 'max_length': 9},
      'train.tsv:2: 20 tokens are more than max_length=9; shorten the text or',
    ),
  ],
)
def test_fine_tuning_refuses(given, tmp_path, changes, message):
  with pytest.raises((ValueError, OSError)) as error:
    build(given, finetune, tmp_path, **changes)
  assert message in str(error.value)
  assert '\n' not in str(error.value)


@pytest.mark.parametrize(
  'changes, message',
  [
    ({'corpus': ''}, 'config.corpus is empty'),
    ({'row_length': 64}, 'config.row_length=64, but the model holds 32'),
    (
      {'row_length': 64, 'example_length': 33},
      'config.example_length=33, but the model holds 32',
    ),
    (
      {'example_length': 33},
      'config.example_length=33 is above config.row_length=32',
    ),
    ({'alpha': 2.0}, 'alpha=2.0; it is between 0 and 1'),
    ({'mask_rate': 1.5}, 'mask rate 1.5 is not in (0, 1]'),
    ({'batch_tokens': 0}, 'batch_tokens=0; it must be positive'),
  ],
)
def test_pretraining_refuses(given, tmp_path, changes, message):
  with pytest.raises(ValueError) as error:
    build(given, pretrain, tmp_path, **changes)
  assert message in str(error.value)


def test_rows_may_be_longer_than_examples(given, tmp_path):
  job = build(given, pretrain, tmp_path, row_length=64, example_length=32)
  batch = job.loader.batch(0)
  assert batch['tokens'].shape[1] == 64
  assert batch['positions'].max() < 32


def test_long_texts_are_cut_where_the_config_says_so(given, folder, tmp_path):
  job = build(given, finetune, tmp_path, max_length=9)
  encode = tokenizer.Tokenizer(given[finetune]['tokenizer']).encode
  lines = (folder / 'train.tsv').read_text().splitlines()[1:]
  whole = [len(encode(line.split('\t')[0])) for line in lines]
  assert max(whole) > 9
  lengths = []
  for step in range(job.loader.steps_per_epoch):
    for row in job.loader.batch(step)['segments']:
      lengths += np.bincount(row)[1:].tolist()
  assert sorted(lengths) == sorted(min(9, n) for n in whole)


def test_files_without_labels_are_not_learned_from(given, folder, tmp_path):
  """XTREME's test files, in each way that they could get in."""
  xnli = dict(task='xnli', data_dir=str(tmp_path), dev_languages=('en',))
  test = (folder / 'xnli' / 'test-en.tsv').read_text()
  train_text = (folder / 'xnli' / 'train-en.tsv').read_text()
  for split in ('train', 'dev'):
    (tmp_path / 'train-en.tsv').write_text(train_text)
    (tmp_path / 'dev-en.tsv').write_text(train_text)
    build(given, finetune, tmp_path, **xnli)
    (tmp_path / f'{split}-en.tsv').write_text(test)
    with pytest.raises(ValueError, match=rf'{split}-en\.tsv:1: 2 columns'):
      build(given, finetune, tmp_path, **xnli)

  own = dict(
    data_dir=str(folder / 'xnli'),
    text_columns=('0', '1'),
    label_column='2',
    dev_languages=('en',),
    train='train-en.tsv',
    dev='train-en.tsv',
  )
  job = build(given, finetune, tmp_path, **own)
  assert job.labels == ('contradiction', 'entailment', 'neutral')
  gaps = tmp_path / 'gaps.tsv'
  gaps.write_text('a cat\tcat\tneutral\nred cat\tcat\t\n')
  null = tmp_path / 'null.jsonl'
  null.write_text('{"a": "cat", "b": "man", "c": null}\n')
  good = tmp_path / 'good.jsonl'
  good.write_text('{"a": "cat", "b": "man", "c": "neutral"}\n')
  keys = dict(text_columns=('a', 'b'), label_column='c')
  why = 'no label; training and choosing a checkpoint need'
  for split in ('train', 'dev'):
    for change, message in (
      ({split: 'test-en.tsv'}, 'test-en.tsv:1: no column 2; the first line h'),
      ({split: str(gaps)}, f'gaps.tsv:2: {why}'),
    ):
      with pytest.raises(ValueError) as error:
        build(given, finetune, tmp_path, **{**own, **change})
      assert message in str(error.value)
  with pytest.raises(ValueError) as error:
    files = {'train': str(null), 'dev': str(good)}
    build(given, finetune, tmp_path, **{**own, **keys, **files})
  assert f'null.jsonl:1: {why}' in str(error.value)


@pytest.mark.parametrize('split', ['train', 'dev'])
def test_a_placeholder_is_not_learned_from(given, tmp_path, split):
  """Copies of XTREME's test files with one label on every line."""
  path = tmp_path / 'placeholder.tsv'
  rows = ''.join(f'man {i}\tno\n' for i in range(100))
  path.write_text('text\tlabel\n' + rows)
  changes = {
    split: str(path),
    'dev_languages': ('en',),
    'labels': ('no', 'yes'),
  }
  with pytest.raises(ValueError) as error:
    build(given, finetune, tmp_path, **changes)
  assert str(error.value) == (
    f"{path}: every label is 'no', which looks like a placeholder; training "
    'and choosing a checkpoint need labels'
  )


def test_held_out_text_that_is_nothing(given, tmp_path):
  assert not build(given, pretrain, tmp_path, held_out=0.0).evaluators
  (tmp_path / 'text').mkdir()
  (tmp_path / 'text' / 'en.txt').write_text('man house cat red sees\n')
  with pytest.raises(ValueError, match='of so little text is nothing'):
    build(
      given,
      pretrain,
      tmp_path,
      corpus=str(tmp_path / 'text'),
      parallel='',
      cache_dir='',
      held_out=0.01,
    )


def test_a_start_that_does_not_fit(given, make_model, tiny_tokenizer, tmp_path):
  make_model(tiny_tokenizer, head=None).save(tmp_path / 'source')
  init = dict(init=str(tmp_path / 'source'))
  with pytest.raises(ValueError, match=r'sizes\.ff_dim=32, but config.init'):
    build(given, finetune, tmp_path, **init)
  init |= {f'sizes.{name}': None for name in SIZES}
  job = build(given, finetune, tmp_path, **init)
  assert job.model.model_dim == 32 and job.origin.head is None
  text = ['ein anderes', 'Vokabular', 'another', 'vocabulary'] * 20
  (tmp_path / 'other').mkdir()
  other = train_tokenizer.train(text, 40, hard_vocab_limit=False)
  tokenizer.Tokenizer(other).save(tmp_path / 'other')
  with pytest.raises(ValueError, match='is not the tokenizer of config.init'):
    build(given, finetune, tmp_path, **init, tokenizer=f'{tmp_path}/other')
  (tmp_path / 'empty').mkdir()
  with pytest.raises(ValueError, match=r'empty.*config\.json'):
    build(given, finetune, tmp_path, init=str(tmp_path / 'empty'))
