"""Few parameters trained: LoRA as PEFT trains it, BitFit, held layers."""

import dataclasses
import json
import shutil

import jax
import numpy as np
import pytest
from tiny_runs import (
  SIZES,
  assert_same_run,
  flat,
  recipe,
  settings,
  steps,
  write_data,
)

from configs import finetune
import xlmr_jax
from xlmr_jax import heads, train
from xlmr_jax.checkpoints import checkpoint_steps, directory, peft
from xlmr_jax.checkpoints.weights import Weights, nest
from xlmr_jax.compress import adapters
from xlmr_jax.data.tokenizers.xlmr import Tokenizer
from xlmr_jax.model import VARIANTS
from xlmr_jax.runtime import sharding
from xlmr_jax.training import objective_table, optim, overview, trainable
from xlmr_jax.training import step as training_step

MESH = sharding.make_mesh()
LORA = ('lora_a', 'lora_b')


@pytest.fixture(scope='module')
def given(tmp_path_factory, tiny_tokenizer):
  folder = tmp_path_factory.mktemp('data')
  write_data(folder)
  return settings(folder, tiny_tokenizer)


def shapes_of(loras=()):
  config = dataclasses.replace(VARIANTS['tiny'], vocab_size=50, lora=loras)
  fresh = lambda key: heads.init(config, key, 'classify', 2)
  return jax.eval_shape(fresh, jax.random.key(0))


def draw(config, head='classify', classes=3):
  """Random parameters; making fresh ones compiles an operation at a time."""
  rng = np.random.default_rng(0)
  fresh = lambda key: heads.init(config, key, head, classes)
  shapes = jax.eval_shape(fresh, jax.random.key(0))
  numbers = {
    path: (path.endswith('/scale') + 0.02 * rng.standard_normal(leaf.shape))
    for path, leaf in flat_shapes(shapes).items()
  }
  return nest({path: np.float32(leaf) for path, leaf in numbers.items()})


# ── Which parameters ──────────────────────────────────────────────────────────


def test_what_is_trained():
  shapes = shapes_of(adapters.choose(('query', 'ff/up'), 4, 8.0))
  paths = set(flat_shapes(shapes))
  head = {path for path in paths if path.startswith('head/')}
  body = paths - head
  biases = {path for path in body if path.endswith('/bias')}
  assert 'encoder/embed/norm/bias' in biases
  updates = {path for path in body if path.endswith(LORA)}
  assert len(updates) == 4
  for tune, trained in (
    ('all', body),
    ('lora', updates),
    ('bitfit', biases),
    ('head', set()),
  ):
    assert set(trainable.find(shapes, tune)) == trained | head, tune
  first = trainable.find(shapes, 'lora', layers=2)
  assert {first[path] for path in updates} == {2}
  assert {first[path] for path in head} == {0}
  size = 64 * 4 + 4 * 64 + 64 * 4 + 4 * 256  # of a layer
  count, total = trainable.count(shapes, first)
  assert count == size + 64 * 64 + 64 + 64 * 2 + 2
  assert overview.describe_share(count, total).startswith(
    f'trained: {count:,} of {total:,} parameters, '
  )
  for tune, passes in (('all', 3), ('lora', 2), ('bitfit', 2), ('head', 1)):
    assert trainable.passes(shapes, trainable.find(shapes, tune)) == passes
  two_of_three = trainable.find(shapes, 'all', ('encoder/embed',), 1)
  assert trainable.passes(shapes, two_of_three) == pytest.approx(1 + 4 / 3)


def flat_shapes(tree):
  return {
    jax.tree_util.keystr(path, simple=True, separator='/'): leaf
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree)
  }


def test_targets():
  names = lambda *targets: [
    lora.path.removeprefix('layers/') for lora in adapters.choose(targets, 1, 1)
  ]
  assert names('query', 'value') == ['attention/query', 'attention/value']
  assert names('ff/up') == ['ff/up'] and names('up') == ['ff/up']
  assert names('ff', 'ff/up') == ['ff/up', 'ff/down']
  assert set(names('attention', 'ff')) == set(adapters.TARGETS)
  assert adapters.choose('query,value', 8, 16.0)[0].scale == 2
  for targets, rank, message in (
    (('query',), 0, r'lora\.rank=0 is not a whole number above 0'),
    (('query',), 1.5, r'lora\.rank=1\.5 is not a whole'),
    ((), 8, r'lora\.targets is empty: name some of attention/query, '),
    (('que',), 8, "has 'que', which names no Dense of a layer: .*ff/down"),
    (('head/dense',), 8, "has 'head/dense': a head has no adapter, it is tr"),
    (('classifier',), 8, "has 'classifier': a head has no adapter"),
  ):
    with pytest.raises(ValueError, match=message):
      adapters.choose(targets, rank, 16.0)


def test_the_floor_plan_has_adapters():
  """Cut as the kernel is, but for the rank; both are matrices, so decay."""
  loras = adapters.choose(('attention/out', 'ff/up'), 2, 2.0)
  config = dataclasses.replace(VARIANTS['tiny'], lora=loras)
  plan = heads.plan(config, 'classify')
  assert plan['encoder/layers/ff/up/lora_a'] == ('layers', 'model', 'rank')
  assert plan['encoder/layers/ff/up/lora_b'] == ('layers', 'rank', 'ff')
  out = 'encoder/layers/attention/out'
  assert plan[f'{out}/lora_a'] == ('layers', 'heads', 'rank')
  assert plan[f'{out}/lora_b'] == ('layers', 'rank', 'model')
  assert f'{out}/lora_a' not in heads.plan(VARIANTS['tiny'], 'classify')
  shapes = shapes_of(loras)
  assert set(flat_shapes(shapes)) <= set(plan)
  decay = flat_shapes(optim.decays(shapes, plan))
  assert decay[f'{out}/lora_a'] and not decay[f'{out}/bias']
  with pytest.raises(ValueError, match="no Dense 'layers/ff/gate'"):
    dataclasses.replace(config, lora=[('layers/ff/gate', 2, 1.0)])
  for row in (('layers/ff/up', 0, 1.0), ('layers/ff/up',), 3):
    with pytest.raises(ValueError, match='which is no path, rank above 0'):
      dataclasses.replace(config, lora=[row])


def test_settings_that_do_not_fit(given, tmp_path):
  for changes, message in (
    (dict(tune='some'), "tune='some' is not one of all, lora, bitfit, head"),
    (dict(optim__freeze_layers=2), r'freeze_layers=2 is not in 0\.\.1'),
    (dict(optim__freeze_layers=-1), 'freeze_layers=-1 is not in'),
    (dict(tune='lora', lora__rank=0), 'rank=0 is not a whole number'),
    (
      dict(tune='head', optim__freeze=('head',)),
      'nothing is left to train: optim.freeze holds',
    ),
  ):
    with pytest.raises(ValueError, match=message):
      train.train(recipe(given, finetune, **changes), tmp_path / 'x')


# ── A step ────────────────────────────────────────────────────────────────────


def make_step(config, model, total=20):
  objective = objective_table.build('classify', model, ('a', 'b', 'c'))
  fresh = lambda key: heads.init(model, key, 'classify', 3)
  return training_step.build(model, objective, config, total, MESH, fresh=fresh)


def batches(count, rows=4, length=10, vocab=50):
  """An example a row, of different lengths."""
  rng = np.random.default_rng(0)
  for _ in range(count):
    tokens = rng.integers(4, vocab, (rows, length))
    lengths = rng.integers(4, length + 1, rows)
    real = np.arange(length) < lengths[:, None]
    places = np.broadcast_to(np.arange(length), tokens.shape)
    yield {
      'tokens': np.where(real, tokens, 1).astype(np.int32),
      'segments': real.astype(np.int32),
      'positions': np.where(real, places, -1).astype(np.int32),
      'starts': np.zeros((rows, 1), np.int32),
      'labels': rng.integers(0, 3, (rows, 1)).astype(np.int32),
    }


def tiny_recipe(tune, **optim):
  config = finetune.get_config('task=cats,model=tiny')
  config.dropout, config.tune = 0.0, tune
  config.optim.update(optim)
  config.optim.warmup, config.optim.clip = 0.0, 0.0
  return config


def after_a_step(made, start):
  params = jax.device_put(start, may_alias=False)
  state = made.fresh_state(params)
  with jax.set_mesh(MESH):
    for batch in batches(1):
      params, state, _ = made.update(params, state, batch)
  return flat(params)


@pytest.mark.parametrize('tune', ['all', 'lora'])
def test_held_layers_are_those_of_a_whole_gradient(tune):
  """Held layers do not move, others as if all had gradients."""
  config = tiny_recipe(tune)
  model = dataclasses.replace(
    VARIANTS['tiny'],
    vocab_size=50,
    dropout=0.0,
    attention_dropout=0.0,
    lora=adapters.choose(('query', 'ff'), 2, 2.0) if tune == 'lora' else (),
  )
  ends = []
  start = draw(model)
  for freeze in (2, 0):
    config.optim.freeze_layers = freeze
    made = make_step(config, model)
    for path, leaf in flat_shapes(made.state_shapes['opt'][0].mu).items():
      stacked = path.startswith('encoder/layers/')
      assert leaf.shape[0] == 3 - freeze or not stacked, path
    ends.append(after_a_step(made, start))
  before = flat(start)
  for path, leaf in ends[0].items():
    if path.startswith('encoder/layers/'):
      np.testing.assert_array_equal(leaf[:2], before[path][:2], err_msg=path)
      leaf, whole = leaf[2:], ends[1][path][2:]
    else:
      whole = ends[1][path]
    np.testing.assert_allclose(leaf, whole, rtol=0, atol=2e-6, err_msg=path)
  moved = 'encoder/layers/ff/up/' + ('lora_b' if tune == 'lora' else 'kernel')
  assert np.abs(ends[0][moved][2] - before[moved][2]).max() > 1e-4


def test_held_is_as_it_was_in_micro_batches():
  """bitfit and held layers, accumulated, with rates by depth."""
  config = tiny_recipe('bitfit', freeze_layers=1, layer_decay=0.5)
  config.accumulate = 2
  model = dataclasses.replace(VARIANTS['tiny'], vocab_size=50)
  start = draw(model)
  after = after_a_step(make_step(config, model), start)
  for path, leaf in flat(start).items():
    if path.startswith('encoder/'):
      still = after[path] == leaf
      bias = path.endswith('/bias')
      if path.startswith('encoder/layers/'):
        assert still[0].all() and (still[1:].all() != bias), path
      else:
        assert still.all() != bias, path


def test_training_is_pefts(tmp_path):
  """20 steps of PEFT in torch: losses and weights within 1e-4."""
  torch = pytest.importorskip('torch')
  theirs = pytest.importorskip('peft')
  import torch_models

  torch_models.tiny(
    'classify', num_labels=3, type_vocab_size=1, num_hidden_layers=2
  ).save_pretrained(tmp_path / 'base')
  source = xlmr_jax.load(tmp_path / 'base')
  loras = adapters.choose(('query', 'value', 'ff/up'), 4, 8.0)
  model = dataclasses.replace(
    source.config, lora=loras, dropout=0.0, attention_dropout=0.0
  )
  config = finetune.get_config('task=cats,model=base,tune=lora')
  assert config.optim.learning_rate == 5e-4 and config.tune == 'lora'
  config.optim.learning_rate = 5e-3
  made = make_step(config, model)
  fresh = draw(model)
  given = flat(source.params)
  params = nest({k: given.get(k, v) for k, v in flat(fresh).items()})
  ours = source.replace(
    config=model, params=params, adapter={'base': str(tmp_path / 'base')}
  )
  ours.save(tmp_path / 'start', format='peft')

  base = torch_models.class_of('classify').from_pretrained(
    tmp_path / 'base',
    num_labels=3,
    hidden_dropout_prob=0.0,
    attention_probs_dropout_prob=0.0,
    classifier_dropout=0.0,
  )
  their = theirs.PeftModel.from_pretrained(
    base, tmp_path / 'start', is_trainable=True
  ).train()
  trained = {n: p for n, p in their.named_parameters() if p.requires_grad}
  optimizer = torch.optim.AdamW(
    [
      {'params': [p for p in trained.values() if p.ndim > 1]},
      {
        'params': [p for p in trained.values() if p.ndim < 2],
        'weight_decay': 0.0,
      },
    ],
    lr=1.0,
    eps=config.optim.eps,
    weight_decay=config.optim.weight_decay,
  )
  from transformers import get_linear_schedule_with_warmup

  for group in optimizer.param_groups:
    group['lr'] = group['initial_lr'] = config.optim.learning_rate
  rate = get_linear_schedule_with_warmup(optimizer, 2, 20)

  params = jax.device_put(params, may_alias=False)
  state = made.fresh_state(params)
  losses = []
  for batch in batches(20, vocab=model.vocab_size):
    with jax.set_mesh(MESH):
      params, state, metrics = made.update(params, state, batch)
    total, count = jax.device_get(metrics['loss'])
    result = their(
      torch.tensor(batch['tokens']).long(),
      attention_mask=torch.tensor(batch['segments']).long(),
      labels=torch.tensor(batch['labels'][:, 0]).long(),
    )
    result.loss.backward()
    torch.nn.utils.clip_grad_norm_(trained.values(), config.optim.clip)
    optimizer.step()
    rate.step()
    optimizer.zero_grad()
    losses.append((total / count, result.loss.item()))
  np.testing.assert_allclose(*zip(*losses, strict=True), rtol=0, atol=1e-4)
  their.save_pretrained(tmp_path / 'theirs')
  end = flat(xlmr_jax.load(tmp_path / 'theirs').params)
  got, start = flat(params), flat(fresh)
  moved = [path for path in end if path.startswith('head') or 'lora' in path]
  assert len(moved) == 4 + 6
  for path, leaf in end.items():
    np.testing.assert_allclose(got[path], leaf, rtol=0, atol=1e-4, err_msg=path)
    if 'lora' in path:
      assert np.abs(leaf - start[path]).max() > 5e-3, path


# ── Runs ──────────────────────────────────────────────────────────────────────


@pytest.fixture(scope='module')
def body(tmp_path_factory, tiny_tokenizer):
  """A checkpoint to start from."""
  size = Tokenizer(tiny_tokenizer).vocab_size
  config = dataclasses.replace(VARIANTS['tiny'], vocab_size=size, **SIZES)
  weights = Weights(
    config, draw(config, 'mlm'), 'mlm', tokenizer_dir=tiny_tokenizer
  )
  folder = tmp_path_factory.mktemp('body') / 'model'
  directory.write(folder, weights, 'orbax')
  return folder


def tuned(given, body, **changes):
  start = dict(init=str(body), tokenizer='', steps=4, eval_every=2)
  changes = {'tune': 'lora', 'save_every': 2, **start, **changes}
  return recipe(given, finetune, **changes)


def test_a_lora_run(given, body, tmp_path, capsys, monkeypatch):
  """It resumes bit for bit, loads, and goes out merged and as PEFT's."""
  # Step 2 stays, whichever is best: a run that was killed after it.
  monkeypatch.setattr(checkpoint_steps.Manager, '_prune', lambda self: None)
  changes = dict(lora__targets=('query', 'ff'), lora__dropout=0.1)
  train.train(tuned(given, body, **changes), tmp_path / 'whole')
  said = capsys.readouterr().out
  assert 'loaded encoder; new: adapters, head' in said
  assert '\ntrained: ' in said
  shutil.copytree(tmp_path / 'whole', tmp_path / 'cut')
  shutil.rmtree(tmp_path / 'cut/checkpoints/4')
  train.train(tuned(given, body, **changes), tmp_path / 'cut')
  assert 'resumed from step 2 of 4' in capsys.readouterr().out
  assert_same_run(tmp_path / 'whole', tmp_path / 'cut')

  last = steps(tmp_path / 'whole')[4]
  source = flat(xlmr_jax.load(body).params)
  for path, leaf in last['params'].items():
    if path.startswith('encoder/') and not path.endswith(LORA):
      rows = source[path].shape[0]
      np.testing.assert_array_equal(leaf[:rows], source[path], err_msg=path)
  moments = [path for path in last['state'] if '/mu/' in path]
  assert moments and all(
    '/head/' in path or path.endswith(LORA) for path in moments
  )

  model = xlmr_jax.load(tmp_path / 'whole/checkpoints/4')
  texts = ['man house cat', 'red sees']
  want = np.array(model.logits(texts))
  assert [lora.path for lora in model.config.lora] == [
    'layers/attention/query',
    'layers/ff/up',
    'layers/ff/down',
  ]
  model.save(tmp_path / 'hf', format='hf')
  merged = xlmr_jax.load(tmp_path / 'hf')
  assert merged.config.lora == () and merged.labels == ('no', 'yes')
  np.testing.assert_allclose(merged.logits(texts), want, rtol=0, atol=1e-5)
  model.save(tmp_path / 'adapter', format='peft')
  facts = json.loads((tmp_path / 'adapter' / peft.CONFIG).read_text())
  assert facts['base_model_name_or_path'] == str(body)
  assert (facts['r'], facts['lora_alpha']) == (8, 16)
  again = xlmr_jax.load(tmp_path / 'adapter')
  assert again.labels == ('no', 'yes')
  np.testing.assert_array_equal(again.logits(texts), want)

  # From there: the same adapters go on, others are refused, none are merged.
  other = dict(init=str(tmp_path / 'whole'), steps=1)
  job = train.build_job(
    tuned(given, body, **changes, **other), tmp_path / 'n', MESH
  )
  assert job.model.lora == model.config.lora and job.origin.config.lora
  with pytest.raises(ValueError, match=r'has adapters on attention/query \(ra'):
    train.build_job(tuned(given, body, **other), tmp_path / 'n', MESH)
  job = train.build_job(
    tuned(given, body, **other, tune='bitfit'), tmp_path / 'n', MESH
  )
  assert job.model.lora == () == job.origin.config.lora

  # An optimizer that held what is not trained now.
  held = tuned(given, body, **changes, steps=6, optim__freeze=('head',))
  with pytest.raises(ValueError, match='another selection of what is trained'):
    train.train(held, tmp_path / 'whole', accept=True)
