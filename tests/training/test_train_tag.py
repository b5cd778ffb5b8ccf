"""Tagging end to end: files → training → checkpoint → scores, in seconds."""

import json

from absl import flags
import numpy as np
import pytest
from tiny_runs import SIZES, steps

from configs import finetune
import xlmr_jax
from xlmr_jax import train
from xlmr_jax.data.readers import tagged
from xlmr_jax.data.tokenizers import train_tokenizer, xlmr
from xlmr_jax.eval import __main__ as command
from xlmr_jax.eval.benchmarks import table
from xlmr_jax.eval.metrics import scores as metrics
from xlmr_jax.runtime import sharding
from xlmr_jax.training import finetuning

TAGS = {
  'man': 'NOUN',
  'house': 'NOUN',
  'cat': 'NOUN',
  'catman': 'NOUN',
  'red': 'ADJ',
  'sees': 'VERB',
  'the': 'DET',
  'no': 'DET',
  '.': 'PUNCT',
}


def sentences(count, seed, longest=8):
  rng = np.random.default_rng(seed)
  out = []
  for _ in range(count):
    words = rng.choice(list(TAGS), rng.integers(1, longest + 1)).tolist()
    out.append((words, [TAGS[word] for word in words]))
  return out


def write(path, made, tags=True):
  lines = [
    ''.join(
      f'{w}\t{t}\n' if tags else f'{w}\n' for w, t in zip(*s, strict=True)
    )
    for s in made
  ]
  path.write_text('\n'.join(lines))


@pytest.fixture(scope='module')
def words_tokenizer(tmp_path_factory):
  """Knows every word but 'catman', which is two pieces."""
  text = [' '.join(words) for words, _ in sentences(400, 9)]
  folder = tmp_path_factory.mktemp('words')
  model = train_tokenizer.train(text, 40, hard_vocab_limit=False)
  xlmr.Tokenizer(model).save(folder)
  return folder


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
  folder = tmp_path_factory.mktemp('udpos')
  write(folder / 'train-en.tsv', sentences(160, 0))
  write(folder / 'dev-en.tsv', sentences(24, 1))
  write(folder / 'test-en.tsv', sentences(24, 2, longest=30))
  write(folder / 'test-de.tsv', sentences(12, 3), tags=False)
  return folder


def recipe(folder, vocabulary, argument='task=udpos,model=tiny', **changes):
  config = finetune.get_config(argument)
  config.update_from_flattened_dict(
    {
      **{f'sizes.{name}': size for name, size in SIZES.items()},
      'tokenizer': str(vocabulary),
      'data_dir': str(folder),
      'progress': False,
      'row_length': 32,
      'max_length': 32,
      'batch_size': 16,
      'epochs': 5,
      'dropout': 0.0,
      'optim.learning_rate': 1e-2,
      'eval_every': 40,
      'save_every': 1000,
      **{name.replace('__', '.'): value for name, value in changes.items()},
    }
  )
  return config.lock()


@pytest.mark.parametrize('objective', ['tag', 'crf'])
def test_a_tagger_learns_and_is_scored(
  folder, words_tokenizer, tmp_path, objective
):
  run = tmp_path / 'run'
  config = recipe(folder, words_tokenizer, objective=objective)
  last = train.train(config, run)
  assert last['dev_span_f1'] == last['dev_span_f1/en'] > 95
  meta = steps(run)[max(steps(run))]['meta']
  assert meta['best_score'] > 95 and meta['best_step'] == 40
  options = flags.FlagValues()
  command.define_flags(options)
  given = (
    'eval',
    '--benchmark=udpos',
    f'--checkpoint={run}',
    f'--data_dir={folder}',
    f'--output_dir={tmp_path / "out"}',
    '--languages=en,de',
  )
  command.main(options(given), options)
  results = json.loads((tmp_path / 'out/results.json').read_text())
  scores = results['tasks']['udpos']['languages']
  assert scores['de'] is None
  assert scores['en'] > 95  # of sentences that take several windows
  text = (tmp_path / 'out/predictions/udpos/test-en.tsv').read_text()
  written = [part.split('\n') for part in text.strip().split('\n\n')]
  gold = [s.label for s in tagged.read(folder / 'test-en.tsv')]
  assert metrics.span_f1(written, gold) == scores['en']
  german = (tmp_path / 'out/predictions/udpos/test-de.tsv').read_text()
  bare = (folder / 'test-de.tsv').read_text()
  assert [bool(x) for x in german.split('\n')] == [
    bool(x) for x in bare.split('\n')
  ]
  model = xlmr_jax.load(run)
  assert model.head == objective
  assert model.labels == table.tasks()['udpos'].labels


def test_batches_hold_every_tag_once(folder, words_tokenizer, tmp_path):
  """What the loss sees, against the file read line by line."""
  config = recipe(folder, words_tokenizer, max_length=8)
  job = train.build_job(config, tmp_path, sharding.make_mesh())
  counts = np.zeros(len(job.labels), int)
  windows = 0
  for step in range(job.loader.steps_per_epoch):
    batch = job.loader.batch(step)
    assert batch['labels'].shape == batch['tokens'].shape
    labels = batch['labels'][batch['labels'] >= 0]
    counts += np.bincount(labels, minlength=len(counts))
    assert (batch['segments'][batch['labels'] >= 0] > 0).all()
    windows += (batch['example'] >= 0).sum()
  lines = (folder / 'train-en.tsv').read_text().split('\n')
  tags = [line.split('\t')[1] for line in lines if line]
  assert counts.tolist() == [tags.count(name) for name in job.labels]
  assert windows > 160  # some sentences take two


def test_recipes_have_xtremes_settings():
  for task in ('udpos', 'panx'):
    for model in ('base', 'large'):
      c = finetune.get_config(f'task={task},model={model}')
      assert (c.objective, c.max_length, c.batch_size) == ('tag', 128, 32)
      assert (c.epochs, c.optim.learning_rate) == (10, 2e-5)
      assert (c.optim.warmup, c.optim.weight_decay) == (0, 0)
      assert c.dev_languages == ('en',)
  assert finetune.get_config('task=xnli').objective == 'classify'


def test_own_files_of_tagged_sentences(folder, words_tokenizer, tmp_path):
  own = dict(
    argument='task=mine,model=tiny',
    train='train-en.tsv',
    dev='dev-{language}.tsv',
  )
  config = recipe(folder, words_tokenizer, objective='tag', **own)
  job = train.build_job(config, tmp_path, sharding.make_mesh())
  assert job.labels == ('ADJ', 'DET', 'NOUN', 'PUNCT', 'VERB')
  assert job.score == 'dev_span_f1' and job.higher_is_better
  assert job.head == 'tag' and job.classes == 5


@pytest.mark.parametrize(
  'changes, message',
  [
    (
      {'objective': 'classify'},
      'classify does not fit udpos: set it to tag or',
    ),
    ({'dev_languages': ('xx',)}, "udpos has no language 'xx'"),
    ({'dev_languages': ('de',)}, "no dev file of tagged sentences for 'de'"),
    (
      {'truncate': 'error', 'max_length': 8},
      'tokens are more than max_length',
    ),
    (
      {'train_languages': ('de',)},
      "no train file of tagged sentences for 'de'",
    ),
  ],
)
def test_what_does_not_fit(folder, words_tokenizer, tmp_path, changes, message):
  with pytest.raises(ValueError) as error:
    config = recipe(folder, words_tokenizer, **changes)
    train.build_job(config, tmp_path, sharding.make_mesh())
  assert message in str(error.value) and '\n' not in str(error.value)


def test_files_without_tags_are_not_learned_from(
  folder, words_tokenizer, tmp_path
):
  for split in ('train', 'dev'):
    for name in ('train', 'dev'):
      write(tmp_path / f'{name}-en.tsv', sentences(120, 5), tags=name != split)
    with pytest.raises(ValueError, match=f'{split}-en.tsv:1: no label; train'):
      config = recipe(tmp_path, words_tokenizer)
      train.build_job(config, tmp_path, sharding.make_mesh())
    # XTREME's scripts write X where there is no tag.
    made = [(w, ['X'] * len(w)) for w, _ in sentences(120, 5)]
    write(tmp_path / f'{split}-en.tsv', made)
    with pytest.raises(ValueError, match="-en.tsv: every label is 'X', which"):
      train.build_job(config, tmp_path, sharding.make_mesh())


def test_the_digest_sees_every_label():
  """A resumed run must notice a tag that has changed, however far down."""
  make = lambda: {
    'tokens': np.zeros(3000, np.int32),
    'label': np.zeros(3000, np.int32),
  }
  a, b = make(), make()
  assert finetuning.digest([a]) == finetuning.digest([b])
  b['label'][1500] = 1
  assert finetuning.digest([a]) != finetuning.digest([b])
