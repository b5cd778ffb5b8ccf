"""Plans of fine-tunings agree with what a run of the same recipe does.

Rows, steps and shapes of a batch are held against the loader's own; nothing
here needs libtpu, and one tiny step is compiled.
"""

import json
import math

from absl import flags
import jax
import numpy as np
import pytest
from tiny_runs import SIZES, recipe, settings, write_data

from configs import finetune
from xlmr_jax import train
from xlmr_jax.data.batches import pack
from xlmr_jax.data.batches.loader import Loader
from xlmr_jax.eval.benchmarks import table
from xlmr_jax.plan import __main__ as plan
from xlmr_jax.plan import aot, finetuning, roofline
from xlmr_jax.runtime import sharding
from xlmr_jax.tasks.kinds import KINDS

CONTEXT = 'The red cat sees a man in the house. '


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
  folder = tmp_path_factory.mktemp('plan')
  write_data(folder)
  lines = ''.join(
    f'red\tA\ncat\t{"NV"[i % 2]}\n' + 'sees\tV\n' * (i % 5) + '\n'
    for i in range(60)
  )
  for name in ('tags.tsv', 'dev-tags.tsv'):
    (folder / name).write_text(lines)
  questions = [
    {
      'id': str(i),
      'question': 'Who sees a man?' + ' cat' * (i % 6),
      'context': CONTEXT * (1 + i % 4),
      'answers': {'text': ['cat'], 'answer_start': [8]},
    }
    for i in range(30)
  ]
  for name in ('questions.jsonl', 'dev-questions.jsonl'):
    (folder / name).write_text('\n'.join(map(json.dumps, questions)))
  return folder


FILES = {
  'classify': dict(train='train.tsv', dev='dev-en.tsv'),
  'multilabel': dict(train='train.tsv', dev='dev-en.tsv'),
  'regression': dict(train='numbers.tsv', dev='dev-numbers.tsv'),
  'tag': dict(
    train='tags.tsv', dev='dev-tags.tsv', label_column='1', text_columns=('0',)
  ),
  'crf': dict(
    train='tags.tsv', dev='dev-tags.tsv', label_column='1', text_columns=('0',)
  ),
  'answer': dict(train='questions.jsonl', dev='dev-questions.jsonl'),
}


def config_of(folder, tokenizer, objective, **changes):
  return recipe(
    settings(folder, tokenizer),
    finetune,
    objective=objective,
    dev_languages=('en',),
    **FILES[objective],
    **changes,
  )


@pytest.mark.parametrize('objective', FILES)
def test_the_plan_is_the_runs_own(folder, tiny_tokenizer, tmp_path, objective):
  """Its data were read: rows, steps, parameters and each array of a batch."""
  config = config_of(folder, tiny_tokenizer, objective)
  job = train.build_job(config, tmp_path, sharding.make_mesh((1, 1, 1)))
  target = aot.make_target(config, 'h100:1', job.model.vocab_size)
  batch = job.loader.batch(0)
  shapes = {k: (v.shape, v.dtype) for k, v in batch.items() if k != 'example'}
  assert {k: (v.shape, v.dtype) for k, v in target.batch.items()} == shapes
  assert target.training_set['steps'] == job.loader.total_steps
  assert target.training_set['per_step'] == job.loader.examples_per_step
  assert target.training_set['mean_length'] == pytest.approx(
    np.mean([len(x) for x in _tokens(job.loader)])
  )
  fresh = jax.eval_shape(job.fresh, jax.random.key(0))
  assert jax.tree.map(lambda x: x.shape, target.step.shapes) == (
    jax.tree.map(lambda x: x.shape, fresh)
  )
  # As many FLOPs as the loop counts for MFU.
  flops = target.work.flops()['forward']
  assert flops == job.flops_per_token(config.row_length)


def _tokens(loader):
  """The features of an epoch."""
  seen = {}
  for step in range(loader.steps_per_epoch):
    batch = loader.batch(step)
    for row, slot in np.argwhere(batch['example'] >= 0):
      mine = batch['segments'][row] == slot + 1
      seen[int(batch['example'][row, slot])] = batch['tokens'][row][mine]
  return seen.values()


def test_choices_of_a_question_have_their_group():
  config = finetune.get_config('task=siqa,model=base')
  lengths = np.tile([20, 30, 25], 40)
  groups = np.repeat(np.arange(40), 3)
  size = finetuning.Size(
    40, 75.0, '', shortest=20, lengths=lengths, groups=groups
  )
  load = finetuning.find_load(config, size, 2)
  features = [
    {'tokens': np.arange(n, dtype=np.int32), 'label': 0} for n in lengths
  ]
  loader = Loader(
    features,
    row_length=config.row_length,
    batch_size=config.batch_size,
    row_multiple=2,
    epochs=config.epochs,
    groups=groups,
    label=KINDS['choose'].labels,
  )
  assert (load.rows, load.steps) == (loader.rows, loader.total_steps)
  assert load.per_step == loader.examples_per_step
  batch = loader.batch(0)
  for name, (shape, dtype) in finetuning.batch_shapes(config, load, 1).items():
    assert batch[name].shape == shape and batch[name].dtype == dtype, name


def test_without_data_steps_come_from_the_mean():
  """Of lengths whose mean alone is known, beside packing all of them."""
  config = finetune.get_config('task=xnli,model=base')
  rng = np.random.default_rng(0)
  lengths = np.clip(rng.normal(42, 12, 40_000).round(), 14, 82).astype(int)
  known = finetuning.Size(len(lengths), float(lengths.mean()), '')
  read = finetuning.Size(
    len(lengths), float(lengths.mean()), '', lengths=lengths
  )
  for parts in (1, 4, 16):
    ours = finetuning.find_load(config, known, parts)
    packed = finetuning.find_load(config, read, parts)
    assert ours.rows == packed.rows and ours.rows % parts == 0
    full = pack.plan(lengths, config.row_length).efficiency
    assert 0.97 < full < 1
    assert ours.steps == pytest.approx(full * packed.steps, rel=0.003)
    assert ours.steps <= packed.steps  # a bound: rows are never fuller
  rows = round(32 * known.tokens / 128 / 4) * 4
  epoch = math.ceil(len(lengths) * known.tokens / 128 / rows)
  assert finetuning.find_load(config, known, 4).steps == 5 * epoch


def test_sizes_are_of_tasks_that_are_tuned():
  for name, size in finetuning.SIZES.items():
    assert name in table.tunable()
    config = finetune.get_config(f'task={name},model=base')
    assert finetuning.find_size(config) is size
    assert size.shortest < size.tokens < config.max_length
    wanted = 1 if config.objective == 'answer' else 2
    assert finetuning.count_classes(config, size) >= wanted
    load = finetuning.find_load(config, size, 1)
    assert 0.75 < load.per_step / config.batch_size < 1.25


@pytest.mark.parametrize('task, path', [('panx', 'panx'), ('tydiqa', 'tydiqa')])
def test_sizes_are_those_of_the_real_files(data_dir, task, path):
  config = finetune.get_config(f'task={task},model=base')
  config.data_dir = str(data_dir / path)
  config.tokenizer = str(data_dir / 'tokenizers' / 'xlm-roberta')
  size, known = finetuning.find_size(config), finetuning.SIZES[task]
  assert size.examples == known.examples
  assert size.tokens == pytest.approx(known.tokens, abs=0.005)
  assert size.windows == pytest.approx(known.windows, abs=5e-5)
  assert size.lengths.min() == known.shortest
  # Packed, as a run packs them, beside rows that are all full.
  packed, full = (finetuning.find_load(config, s, 4) for s in (size, known))
  assert packed.rows == full.rows
  assert full.steps <= packed.steps < 1.1 * full.steps


def test_flags_go_before_what_is_known():
  config = finetune.get_config('task=xnli,model=base')
  size = finetuning.find_size(config, examples=1000)
  assert (size.examples, size.tokens) == (1000, 41.89)
  assert size.source.endswith('with examples=1000')
  size = finetuning.find_size(config, mean_length=60)
  assert (size.examples, size.tokens) == (392_702, 60)
  size = finetuning.find_size(config, examples=9, mean_length=60)
  assert (size.examples, size.tokens, size.shortest) == (9, 60, 14)
  config.train_examples = 500
  assert finetuning.find_size(config).examples == 500


@pytest.mark.parametrize(
  'changes, sizes, said',
  [
    (dict(task='mine'), {}, 'Give --examples and --mean_length'),
    (dict(task='mine'), dict(examples=9, mean_length=9), 'Name them by config'),
    (dict(task='tatoeba'), dict(examples=9, mean_length=9), 'the body alone'),
    (dict(objective='tag'), {}, 'does not fit xnli: set it to classify'),
    (dict(task='mine', train='a.tsv'), {}, 'its files and config.tokenizer'),
    (dict(data_dir='DIR', tokenizer='nowhere'), {}, 'nowhere'),
    ({}, dict(mean_length=200.0), 'longer than config.row_length=64'),
    (dict(max_length=9999), {}, 'config.max_length=9999'),
    (dict(objective='guess'), {}, "'guess' is not one of mlm, causal"),
  ],
)
def test_refused_in_one_sentence(changes, sizes, said):
  config = finetune.get_config('task=xnli,model=tiny')
  config.update(changes)
  with pytest.raises(ValueError, match=said) as error:
    aot.make_target(config, 'h100:1', 500, **sizes)
  assert '\n' not in str(error.value)


@pytest.mark.parametrize(
  'recipe_name, flag, said',
  [
    ('finetune:task=xnli,model=tiny', 'tokens', 'not for a fine-tuning'),
    ('finetune:task=xnli,model=tiny', 'sweep', 'not for a fine-tuning'),
    ('pretrain:model=tiny', 'examples', 'not for pretraining'),
    ('pretrain:model=tiny', 'mean_length', 'not for pretraining'),
  ],
)
def test_flags_of_the_other_kind_are_refused(recipe_name, flag, said):
  with pytest.raises(ValueError, match=f'--{flag} is {said}'):
    plan.main([''], parse(f'--config={recipe_name}', f'--{flag}=9'))


def parse(*words):
  values = flags.FlagValues()
  plan.define_flags(values)
  words = [w.removesuffix('=9') if 'sweep' in w else w for w in words]
  values(['', '--topology=h100:1', *words])
  return values


def test_hours_and_cost_of_the_command(capsys, monkeypatch):
  sizes = [f'--config.sizes.{name}={size}' for name, size in SIZES.items()]
  words = (
    '--config=finetune:task=xnli,model=tiny',
    *('--config.max_length=32', '--config.row_length=32', '--vocab_size=500'),
    *('--examples=64000', '--mean_length=16', '--price=3', '--json', *sizes),
  )
  # The flag of a recipe finds what is set in it there.
  monkeypatch.setattr('sys.argv', ['', *words])
  assert plan.main([''], parse(*words)) == 0
  facts = json.loads(capsys.readouterr().out)
  assert facts['rows'] == 16 and facts['training_set']['steps'] == 4 * 2000
  assert facts['memory']['free'] > 0.9
  # No step is faster than its bound, and there are so many of them.
  hours = 8000 * facts['seconds']['bound'] / 3600
  assert facts['run']['hours'] == pytest.approx(hours)
  assert facts['run']['cost'] == pytest.approx(3 * hours)
  shown = plan.show(facts)
  assert '64,000 examples of 16.0 tokens' in shown and '8,000 steps' in shown
  assert 'at least' in shown and 'evaluating and saving' in shown
  assert 'A batch has' not in shown
  assert 'config.init' not in shown
  started = {**facts['training_set'], 'init': 'FacebookAI/xlm-roberta-base'}
  said = plan.show(facts | {'training_set': started})
  assert 'The body is that of config.variant=tiny' in said
  crowded = {**facts['training_set'], 'per_step': 128.0}
  assert 'A batch has 128.0' in plan.show(facts | {'training_set': crowded})


def test_a_table_that_is_only_looked_up_in_is_not_read_whole():
  """Its gradient is; pretraining reads it in every pass to score words."""
  target = aot.make_target(
    finetune.get_config('task=xnli,model=tiny'), 'h100:1', 250_000
  )
  mine, d = target.work, target.work.model.model_dim
  other = roofline.Work(**{**vars(mine), 'slots': 0.15})
  more = other.traffic(0)['weights'] - mine.traffic(0)['weights']
  assert more == 3 * 4 * mine.model.rows * d


def test_what_is_held_is_read_and_never_written():
  """LoRA's step of large in bytes, beside that of all its parameters."""
  whole, some = (
    aot.make_target(
      finetune.get_config(f'task=xnli,model=large,tune={tune}'), 'h100:1'
    )
    for tune in ('all', 'lora')
  )

  def traffic(target):
    trained, total = target.step.trains
    return target.work.traffic(4 * (total + 2 * trained))

  trained, total = some.step.trains
  assert trained < total / 100
  read = 4 * (total - trained)
  # Parameters, moments and gradients of the rest: each read and written.
  assert traffic(some)['state'] == pytest.approx(read + 4 * 7 * trained)
  assert traffic(whole)['state'] == pytest.approx(4 * 7 * whole.step.trains[1])
  for name in ('weights', 'activations'):
    assert traffic(some)[name] < traffic(whole)[name]
