"""The head `estimate`: COMET-Kiwi's network, its files and its training.

The reference is the network as COMET's papers and files describe it, on top
of transformers' body; every tensor is random. Logits within 1e-4, gradients
within 1e-5 of each tensor's largest.
"""

import collections
import dataclasses
import functools
import json
import os
import sys
import types

import family
import jax
import jax.numpy as jnp
import numpy as np
from pairs import (
  BATCH,
  EXAMPLES,
  GRADIENT,
  ROWS,
  grad_of,
  hidden_states,
  name_of,
  pad,
  spans,
)
import pytest
from safetensors.numpy import load_file
from safetensors.torch import save_file
from test_family import examples, shrunk
import torch
from torch_models import randomize, tiny
import transformers
import yaml

import xlmr_jax
from xlmr_jax import heads
from xlmr_jax.checkpoints import comet, directory, fairseq, native
from xlmr_jax.checkpoints import weights as weights_lib
from xlmr_jax.checkpoints.hf import config_json, reader, writer
from xlmr_jax.checkpoints.hf import names as hf_names
from xlmr_jax.data.tokenizers.xlmr import Tokenizer
from xlmr_jax.inference import packed as packing
from xlmr_jax.model import VARIANTS, Config, Encoder
from xlmr_jax.training import objectives

LOGITS = 1e-4
SIZES = (48, 20)
FAMILIES = ('XLMRoberta', 'XLMRobertaXL')
SLOTS = [(r, e) for r, row in enumerate(ROWS) for e in range(len(row))]
MIX, FF = 'layerwise_attention', 'estimator.ff'
BUFFERS = [f'{MIX}.dropout_fill', f'{MIX}.dropout_mask']
BODY = comet.BODY
SETTINGS = {
  'class_identifier': 'unified_metric',
  'encoder_model': 'XLM-RoBERTa',
  'final_activation': None,
  'hidden_sizes': list(SIZES),
  'input_segments': ['mt', 'src'],
  'layer_norm': False,
  'layer_transformation': 'sparsemax_patch',
  'pool': 'avg',
  'sent_layer': 'mix',
  'word_level_training': False,
}


class Reference(torch.nn.Module):
  """Depths mixed by a softmax; <s> → Linear, tanh, Linear, tanh, Linear."""

  def __init__(self, body, sizes=SIZES, norm=False):
    super().__init__()
    depths, width = body.config.num_hidden_layers + 1, body.config.hidden_size
    one = lambda: torch.nn.Parameter(torch.zeros(1))
    self.roberta, self.norm = body, norm
    self.layerwise_attention = mix = torch.nn.Module()
    mix.scalar_parameters = torch.nn.ParameterList(one() for _ in range(depths))
    mix.gamma = one()
    mix.register_buffer('dropout_mask', torch.rand(depths))
    mix.register_buffer('dropout_fill', torch.full((depths,), -1e20))
    sizes, modules = (width, *sizes, 1), []
    for i in range(3):
      modules += [torch.nn.Linear(sizes[i], sizes[i + 1])]
      modules += [torch.nn.Tanh(), torch.nn.Dropout(0.1)] * (i < 2)
    self.estimator = torch.nn.Module()
    self.estimator.ff = torch.nn.Sequential(*modules)
    randomize(self)
    with torch.no_grad():  # far from even weights, and from no score at all
      for name, parameter in self.named_parameters():
        if not name.startswith('roberta.'):
          parameter.mul_(20 if name.startswith(MIX) else 6)

  def forward(self, input_ids, attention_mask):
    states = self.roberta(
      input_ids=input_ids,
      attention_mask=attention_mask,
      output_hidden_states=True,
    ).hidden_states
    mix = self.layerwise_attention
    weights = torch.cat(list(mix.scalar_parameters)).softmax(0)
    sums = 0
    for weight, state in zip(weights, states, strict=True):
      if self.norm:
        tokens = [x[m == 1] for x, m in zip(state, attention_mask, strict=True)]
        mean = torch.stack([t.mean() for t in tokens])[:, None, None]
        var = torch.stack([t.var(correction=0) for t in tokens])[:, None, None]
        state = (state - mean) / (var + 1e-12).sqrt()
      sums = sums + weight * state
    return self.estimator.ff((mix.gamma * sums)[:, 0])


def reference(family_='XLMRoberta', norm=False, **changes):
  sizes = dict(hidden_size=64, intermediate_size=96) | changes
  body = tiny(None, pooler=False, family=family_, **sizes)
  return Reference(body, norm=norm).eval()


def save_hf(model, folder, **changes):
  """The directory that a class XLMRobertaForEstimation would write."""
  folder.mkdir(exist_ok=True)
  config = model.roberta.config
  config.save_pretrained(folder)
  facts = json.loads((folder / 'config.json').read_text()) | {
    'architectures': [type(model.roberta).__name__[:-5] + 'ForEstimation'],
    'estimator_sizes': [m.out_features for m in model.estimator.ff[:-1:3]],
    'layer_norm': model.norm,
    'layer_transformation': 'softmax',
  }
  facts = {k: v for k, v in (facts | changes).items() if v is not ...}
  (folder / 'config.json').write_text(json.dumps(facts, indent=2) + '\n')
  state = {k: v.contiguous() for k, v in model.state_dict().items()}
  save_file(state, folder / 'model.safetensors', {'format': 'pt'})
  return folder


@pytest.fixture(scope='module')
def pairs(tmp_path_factory):
  """(family, norm) → (reference, folder, what hf reads from it)."""

  @functools.cache
  def get(family_, norm):
    model = reference(family_, norm)
    folder = save_hf(model, tmp_path_factory.mktemp('pair'))
    return model, folder, reader.read(folder)

  return get


def both(test):
  test = pytest.mark.parametrize('norm', [False, True])(test)
  return pytest.mark.parametrize('family_', FAMILIES)(test)


# --- The network -------------------------------------------------------------


@functools.partial(jax.jit, static_argnums=0)
def states_of(config, params, batch):
  return Encoder(config).apply(
    {'params': params['encoder']},
    batch['tokens'],
    batch['segments'],
    batch['positions'],
    output_hidden_states=True,
  )


@functools.partial(jax.jit, static_argnums=0)
def scores_of(config, params, batch):
  head = heads.make(config, 'estimate')
  return heads.apply(head, params, states_of(config, params, batch), batch)


@pytest.mark.parametrize('scan', [True, False])
@pytest.mark.parametrize('family_', FAMILIES)
def test_the_states_of_every_depth(pairs, family_, scan):
  model, _, weights = pairs(family_, False)
  config = dataclasses.replace(weights.config, scan=scan)
  states = np.asarray(states_of(config, weights.params, BATCH))
  assert states.shape == (4, *BATCH['tokens'].shape, 64)
  with torch.no_grad():
    want = model.roberta(**pad(EXAMPLES), output_hidden_states=True)
  assert len(want.hidden_states) == 4
  for state, theirs in zip(states, want.hidden_states, strict=True):
    for example, (row, span) in enumerate(spans()):
      expected = theirs[example, : len(EXAMPLES[example])].numpy()
      np.testing.assert_allclose(state[row, span], expected, 0, LOGITS)
  last = hidden_states(config, weights.params['encoder'], BATCH)
  np.testing.assert_allclose(states[-1], last, 0, 1e-6)


def test_nothing_is_stacked_where_nobody_asks():
  config = dataclasses.replace(VARIANTS['tiny'], num_layers=5)
  row = jax.ShapeDtypeStruct((2, 16), jnp.int32)
  params = jax.eval_shape(
    lambda: heads.init(config, jax.random.key(0), None)['encoder']
  )

  def program(**how):
    run = jax.jit(lambda p, x: Encoder(config).apply({'params': p}, *x, **how))
    return run.lower(params, (row, row, row)).as_text()

  stacks = [f'tensor<{k}x2x16x64xf32>' for k in (5, 6)]
  assert all(stack in program(output_hidden_states=True) for stack in stacks)
  assert not any(stack in program() for stack in stacks)
  assert program() == program(output_hidden_states=False)


@both
def test_scores_packed_and_alone(pairs, family_, norm):
  model, folder, weights = pairs(family_, norm)
  assert weights.head == 'estimate' and weights.labels is None
  assert weights.config.estimator == SIZES
  assert weights.config.estimator_norm == norm
  with torch.no_grad():
    want = model(**pad(EXAMPLES)).numpy()
  assert np.ptp(want) > 100 * LOGITS  # far above what is tolerated
  packed = scores_of(weights.config, weights.params, BATCH)
  assert packed.dtype == jnp.float32
  m = xlmr_jax.load(folder)
  for i, (example, slot) in enumerate(zip(EXAMPLES, SLOTS, strict=True)):
    np.testing.assert_allclose(packed[slot], want[i], 0, LOGITS)
    np.testing.assert_allclose(m.logits([example])[0], want[i], 0, LOGITS)
  np.testing.assert_allclose(m.logits(EXAMPLES), want, 0, LOGITS)
  # The switch does something, and so do the weights of the depths.
  other = dataclasses.replace(weights.config, estimator_norm=not norm)
  changed = scores_of(other, weights.params, BATCH)
  assert np.abs(changed - packed)[0, 0] > 100 * LOGITS
  head = {**weights.params['head'], 'scalars': np.zeros((4, 1), np.float32)}
  changed = scores_of(weights.config, {**weights.params, 'head': head}, BATCH)
  assert np.abs(changed - packed)[0, 0] > 100 * LOGITS


def test_a_pad_inside_a_text_counts(pairs):
  """Mean and variance run over all tokens of an example, <pad> too."""
  model, folder, _ = pairs('XLMRoberta', True)
  ids = [0, 9, 1, 1, 12, 2]
  with torch.no_grad():
    every = torch.ones((1, 6), dtype=torch.long)
    want = model(input_ids=torch.tensor([ids]), attention_mask=every)
  m = xlmr_jax.load(folder)
  np.testing.assert_allclose(m.logits([ids, EXAMPLES[0]])[0], want[0], 0, 1e-4)


def test_half_precision_only_in_the_body(pairs):
  """bfloat16's step near 1 is 4e-3; the estimator's scores have finer ones."""
  _, folder, _ = pairs('XLMRoberta', False)
  whole = np.stack(xlmr_jax.load(folder).logits(EXAMPLES))
  half = np.stack(xlmr_jax.load(folder, dtype='bfloat16').logits(EXAMPLES))
  assert half.dtype == np.float32
  np.testing.assert_allclose(half, whole, 0, 0.1)
  rounded = np.asarray(jnp.asarray(half, jnp.bfloat16), np.float32)
  assert (half != rounded).any()


def test_a_step_holds_few_positions():
  """XXL's 49 depths of 4,096 numbers are 0.8 MB a position."""
  config = dataclasses.replace(VARIANTS['xxl'], estimator=SIZES)
  features = [np.arange(100, dtype=np.int32)] * 300
  for what, least, most in (('estimate', 512, 1337), (None, 1338, 2048)):
    batches, _ = packing.Program(config, what).batches(features)
    assert least <= next(batches)['tokens'].size <= most


@pytest.mark.parametrize(
  ('variant', 'sizes', 'parameters'),
  [
    ('large', (3072, 1024), 565_137_435),
    # In two bytes each: the 6.97 GB of its float16 file.
    ('xl', (2560, 1280), 3_485_765_159),
  ],
)
def test_parameters_at_full_size(variant, sizes, parameters):
  config = dataclasses.replace(VARIANTS[variant], estimator=sizes)
  shapes = jax.eval_shape(
    lambda: heads.init(config, jax.random.key(0), 'estimate')
  )
  leaves = jax.tree_util.tree_leaves_with_path(shapes)
  assert sum(leaf.size for _, leaf in leaves) == parameters
  dims = heads.plan(config, 'estimate')
  poolers = {p for p in dims if p.startswith(('pooler/', 'projection/'))}
  assert {name_of(path) for path, _ in leaves} == dims.keys() - poolers
  rows = {row.path: row for row in hf_names.table(config, 'estimate').values()}
  for path, leaf in leaves:
    assert rows[name_of(path)].leaf == leaf.shape
    assert len(dims[name_of(path)]) == leaf.ndim


# --- Training ----------------------------------------------------------------


def labelled():
  """BATCH with scores, one of them unknown; and the same by example."""
  known = np.random.default_rng(3).normal(size=len(SLOTS)).astype(np.float32)
  known[2] = np.nan
  labels = np.full(BATCH['starts'].shape, np.nan, np.float32)
  for slot, label in zip(SLOTS, known, strict=True):
    labels[slot] = label
  return BATCH | {'labels': labels}, known


def to_ours(weights, found):
  """Their tensors by name → our tree."""
  out = {}
  for name, row in hf_names.table(weights.config, 'estimate').items():
    array = found.get(name, found.get(f'roberta.{name}')).numpy()
    leaf = out.setdefault(row.path, np.zeros(row.leaf))
    at = ... if row.layer is None else row.layer
    leaf[at] = array.T if row.flip else array
  return weights_lib.nest(out)


@both
def test_gradients(pairs, family_, norm):
  """Theirs in f64, so that the error is ours alone."""
  model, _, weights = pairs(family_, norm)
  objective = objectives.regression(weights.config, head='estimate')
  assert objective.head == 'estimate'
  batch, known = labelled()
  value, ours = grad_of(objective.loss, batch)(weights.params)
  model.double()
  try:
    score = model(**pad(EXAMPLES))[:, 0]
    there = ~np.isnan(known)
    error = score[there] - torch.from_numpy(known)[there]
    loss = (error**2).mean()
    loss.backward()
    grads = {k: p.grad.clone() for k, p in model.named_parameters()}
  finally:
    model.zero_grad()
    model.float()
  assert abs(float(value) - loss.item()) < GRADIENT * loss.item()
  want = to_ours(weights, grads)
  embed = np.abs(want['encoder']['embed']['positions']).max()
  zero = []

  def check(path, x, y):
    path = name_of(path)
    scale = np.abs(y).max()
    if scale < 1e-9 * embed:
      zero.append(path)
      scale = embed
    np.testing.assert_allclose(x, y, 0, GRADIENT * scale, err_msg=path)

  assert jax.tree.structure(ours) == jax.tree.structure(want)
  jax.tree_util.tree_map_with_path(check, ours, want)
  # softmax takes no notice of what is added to all of its scores.
  assert zero == ['encoder/layers/attention/key/bias']


@pytest.mark.parametrize('how', [{'remat': 'full'}, {'scan': False}])
def test_gradients_do_not_depend_on_how_it_runs(pairs, how):
  _, _, weights = pairs('XLMRobertaXL', True)
  batch, _ = labelled()

  def grads(config):
    loss = objectives.regression(config, head='estimate').loss
    return grad_of(loss, batch)(weights.params)[1]

  plain = grads(weights.config)
  other = grads(dataclasses.replace(weights.config, **how))

  def check(path, x, y):
    if name_of(path) != 'encoder/layers/attention/key/bias':  # 0, but for noise
      most = GRADIENT * np.abs(y).max()
      np.testing.assert_allclose(x, y, 0, most, err_msg=name_of(path))

  jax.tree_util.tree_map_with_path(check, other, plain)


def test_a_fresh_head_learns():
  config = Config(
    vocab_size=61,
    num_layers=2,
    model_dim=32,
    num_heads=4,
    ff_dim=48,
    max_positions=40,
    init_std=0.2,
    estimator=SIZES,
    estimator_norm=True,
  )
  objective = objectives.regression(config, head='estimate')
  params = heads.init(config, jax.random.key(0), 'estimate')
  assert (params['head']['scalars'] == 0).all()
  assert (params['head']['gamma'] == 1).all()
  batch, _ = labelled()

  def mean(params, key):
    total, count = objective.loss(params, batch, key)['loss']
    return total.sum() / count.sum()

  @jax.jit
  def step(params):
    loss, grads = jax.value_and_grad(mean)(params, None)
    return loss, jax.tree.map(lambda p, g: p - 0.02 * g, params, grads)

  first, _ = step(params)
  dropped = {float(mean(params, jax.random.key(k))) for k in range(3)}
  assert len({float(first), *dropped}) == 4
  for _ in range(200):
    last, params = step(params)
  assert last < 0.2 * first
  scalars = np.asarray(params['head']['scalars'])
  assert len(np.unique(scalars)) == 3 and params['head']['gamma'] != 1


def test_dropout_behind_each_tanh():
  config = dataclasses.replace(VARIANTS['tiny'], estimator=SIZES, dropout=0.5)
  params = heads.init(config, jax.random.key(0), 'estimate')['head']
  params = jax.tree.map(lambda p: p + 0.5, params)
  # What the second layer reads comes out of it again, as far as it goes.
  params['second'] = {'kernel': jnp.eye(*SIZES), 'bias': jnp.zeros(SIZES[1])}
  states = jnp.ones((4, 2, 6, 64))
  starts, segments = jnp.zeros((2, 1), jnp.int32), jnp.ones((2, 6), jnp.int32)

  def run(rate, train):
    head = heads.make(dataclasses.replace(config, dropout=rate), 'estimate')
    scores, more = head.apply(
      {'params': params},
      states,
      {'starts': starts, 'segments': segments},
      train,
      rngs={'dropout': jax.random.key(0)},
      capture_intermediates=True,
    )
    values = more['intermediates']
    first, second = (values[n]['__call__'][0] for n in ('first', 'second'))
    return scores, np.tanh(first)[..., : SIZES[1]], second

  scores, first, second = run(0.5, False)
  assert (scores > 1).all()
  np.testing.assert_allclose(second, first, 1e-5)
  _, first, second = run(0.5, True)
  np.testing.assert_allclose(second[second != 0], 2 * first[second != 0], 1e-5)
  assert 0 < (second == 0).sum() < second.size
  # Where nearly all is dropped, the last bias is left.
  scores, _, _ = run(1 - 1e-7, True)
  np.testing.assert_array_equal(scores, 0.5)
  # By the second dropout: the bias before it is still there.
  params['second']['bias'] += 1
  scores, _, _ = run(1 - 1e-7, True)
  np.testing.assert_array_equal(scores, 0.5)


def test_a_head_without_sizes():
  with pytest.raises(ValueError, match='estimator, its two hidden sizes'):
    heads.make(VARIANTS['tiny'], 'estimate')
  with pytest.raises(ValueError, match='estimator, its two hidden sizes'):
    objectives.regression(VARIANTS['tiny'], head='estimate')
  for bad in ((3,), (3, 4, 5), (3, 0)):
    with pytest.raises(ValueError, match='is not two positive sizes'):
      Config(estimator=bad)


# --- Hugging Face's format ---------------------------------------------------


@both
def test_round_trip(pairs, family_, norm, tmp_path):
  _, folder, weights = pairs(family_, norm)
  assert sorted(weights.source['dropped']) == BUFFERS
  writer.write(tmp_path / 'out', weights)
  got, want = (
    load_file(f / 'model.safetensors') for f in (tmp_path / 'out', folder)
  )
  assert got.keys() == want.keys() - set(BUFFERS)
  for key, array in got.items():
    assert array.tobytes() == want[key].tobytes(), key
  text = (folder / 'config.json').read_bytes()
  assert (tmp_path / 'out' / 'config.json').read_bytes() == text
  # Without buffers there is nothing left to drop: byte for byte.
  writer.write(tmp_path / 'again', reader.read(tmp_path / 'out'))
  for file in ('model.safetensors', 'config.json'):
    again = (tmp_path / 'again' / file).read_bytes()
    assert again == (tmp_path / 'out' / file).read_bytes()


@both
def test_fresh_files(pairs, family_, norm, tmp_path):
  """Nobody else's class exists to load them: the names are the same ones."""
  _, folder, weights = pairs(family_, norm)
  writer.write(tmp_path / 'out', dataclasses.replace(weights, source=None))
  got, want = (
    load_file(f / 'model.safetensors') for f in (tmp_path / 'out', folder)
  )
  assert got.keys() == want.keys() - set(BUFFERS)
  facts = json.loads((tmp_path / 'out' / 'config.json').read_text())
  assert facts['architectures'] == [f'{family_}ForEstimation']
  assert facts['estimator_sizes'] == list(SIZES)
  assert facts['layer_norm'] is norm
  assert facts['layer_transformation'] == 'softmax'
  again = reader.read(tmp_path / 'out')
  assert again.config == weights.config
  same(again.params, weights.params)


def same(a, b):
  """Equal trees, to the last bit."""

  def one(path, x, y):
    x, y = np.asarray(x), np.asarray(y)
    assert (x.dtype, x.shape) == (y.dtype, y.shape), name_of(path)
    assert x.tobytes() == y.tobytes(), name_of(path)

  jax.tree_util.tree_map_with_path(one, a, b)


def test_a_class_that_is_another(pairs, tmp_path):
  """An older revision of a real one says ForMaskedLM: its tensors decide."""
  model, _, weights = pairs('XLMRobertaXL', True)
  changes = {
    'architectures': ['XLMRobertaXLForMaskedLM'],
    'layer_transformation': 'sparsemax_patch',
  }
  folder = save_hf(model, tmp_path / 'in', **changes)
  m = reader.read(folder)
  assert m.head == 'estimate' and m.config == weights.config
  writer.write(tmp_path / 'out', m)
  text = (folder / 'config.json').read_bytes()
  assert (tmp_path / 'out' / 'config.json').read_bytes() == text


def test_the_body_alone(pairs, tmp_path):
  """Nothing of the estimator stays, in the config neither."""
  _, folder, weights = pairs('XLMRoberta', True)
  m = xlmr_jax.load(folder, head=None)
  assert m.head is None and 'head' not in m.params
  assert m.config.estimator == () and not m.config.estimator_norm
  m.save(tmp_path / 'out', format='hf')
  facts = json.loads((tmp_path / 'out' / 'config.json').read_text())
  assert facts['architectures'] == ['XLMRobertaModel']
  assert not {'estimator_sizes', 'layer_norm', 'layer_transformation'} & set(
    facts
  )
  same(
    reader.read(tmp_path / 'out').params['encoder'], weights.params['encoder']
  )
  # The same of a directory of ours.
  xlmr_jax.load(folder).save(tmp_path / 'ours')
  m = xlmr_jax.load(tmp_path / 'ours', head=None)
  assert m.head is None and m.config.estimator == ()


def test_new_sizes_reach_config_json(pairs, tmp_path):
  _, folder, weights = pairs('XLMRoberta', False)
  config = dataclasses.replace(weights.config, estimator=(8, 4))
  head = heads.init(config, jax.random.key(0), 'estimate')['head']
  params = {**weights.params, 'head': head}
  changed = dataclasses.replace(weights, config=config, params=params)
  writer.write(tmp_path / 'out', changed)
  again = reader.read(tmp_path / 'out')
  assert again.config == config
  same(again.params['head'], head)


def test_ours_to_ours(pairs, tmp_path):
  _, folder, weights = pairs('XLMRobertaXL', True)
  m = xlmr_jax.load(folder)
  m.save(tmp_path / 'ours')
  again = xlmr_jax.load(tmp_path / 'ours')
  assert again.config == m.config and hash(again.config) == hash(m.config)
  assert again.config.estimator == SIZES  # JSON made it a list
  assert again.head == 'estimate'
  same(again.params, m.params)
  for a, b in zip(again.logits(EXAMPLES), m.logits(EXAMPLES), strict=True):
    np.testing.assert_array_equal(a, b)
  again.save(tmp_path / 'back', format='hf')
  config = (tmp_path / 'back' / 'config.json').read_bytes()
  assert config == (folder / 'config.json').read_bytes()


@pytest.mark.parametrize(
  ('changes', 'message'),
  [
    ({'layer_transformation': 'sparsemax'}, "'sparsemax': the weights of the"),
    ({'layer_transformation': ...}, 'layer_transformation = None'),
    ({'layer_norm': ...}, 'layer_norm = None should be true or false'),
    ({'layer_norm': 1}, 'layer_norm = 1 should be true or false'),
    ({'estimator_sizes': [48]}, r'estimator_sizes = \[48\] is not two sizes'),
    ({'estimator_sizes': [48, 0]}, 'is not two sizes'),
    ({'estimator_sizes': [48, 20.0]}, 'is not two sizes'),
    ({'estimator_sizes': 48}, 'estimator_sizes = 48 is not two sizes'),
    ({'estimator_sizes': ...}, 'config.json: estimator_sizes is missing'),
    ({'estimator_sizes': [20, 48]}, 'by config.json it should have'),
    ({'auto_map': {'AutoModel': 'x.Y'}}, 'brings code of its own'),
  ],
)
def test_a_config_that_is_refused(pairs, changes, message, tmp_path):
  model, _, _ = pairs('XLMRoberta', False)
  with pytest.raises(ValueError, match=message):
    reader.read(save_hf(model, tmp_path / 'in', **changes))


def test_tensors_that_are_refused(pairs, tmp_path):
  model, _, _ = pairs('XLMRoberta', False)
  state = {k: v.contiguous() for k, v in model.state_dict().items()}
  folder = save_hf(model, tmp_path / 'in')
  one = torch.ones(1)
  cases = {
    "unknown key 'estimator.ff.9.bias'": state | {f'{FF}.9.bias': one},
    r"unknown key 'layerwise_attention.scalar_parameters.4'": state
    | {f'{MIX}.scalar_parameters.4': one},
    "missing key 'layerwise_attention.gamma'": _without(state, f'{MIX}.gamma'),
    "missing key 'layerwise_attention.scalar_parameters.3'": _without(
      state, f'{MIX}.scalar_parameters.3'
    ),
    'promises XLMRobertaForEstimation, but': {
      k: v for k, v in state.items() if k.startswith('roberta.')
    },
  }
  for message, held in cases.items():
    save_file(held, folder / 'model.safetensors')
    with pytest.raises(ValueError, match=message):
      reader.read(folder)


def _without(state, *keys):
  return {k: v for k, v in state.items() if k not in keys}


# --- COMET's own directories -------------------------------------------------


def save_comet(model, folder, settings=SETTINGS, inside=None, **more):
  """hparams.yaml and a checkpoint with what Lightning puts in besides.

  Args:
    model: a Reference.
    folder: new.
    settings: of hparams.yaml.
    inside: the checkpoint's own copy of the settings; what older versions of
      COMET wrote: sparsemax for the softmax that they computed.
    more: further tensors.
  """
  (folder / 'checkpoints').mkdir(parents=True)
  (folder / 'hparams.yaml').write_text(yaml.safe_dump(settings))
  old = model.state_dict()
  state = collections.OrderedDict(
    (f'{BODY}{k[8:]}' if k.startswith('roberta.') else k, v)
    for k, v in old.items()
  )
  state._metadata = old._metadata
  state.update(more)
  if inside is None:
    inside = {**settings, 'layer_transformation': 'sparsemax'}
  moment = {'step': torch.tensor(3.0), 'exp_avg': torch.rand(4, 5).T}
  held = {
    'epoch': 2,
    'global_step': 3000,
    'pytorch-lightning_version': '1.8.6',
    'state_dict': state,
    'loops': {'fit_loop': {'state_dict': {}, 'epoch_progress': {'ready': 3}}},
    'callbacks': {
      "ModelCheckpoint{'monitor': 'val_kendall'}": {
        'best_model_score': torch.tensor(0.4),
        'best_k_models': {'x.ckpt': torch.tensor(0.4)},
        'best_model_path': 'x.ckpt',
      },
    },
    'optimizer_states': [{'state': {0: moment}, 'param_groups': [{'lr': 1.0}]}],
    'lr_schedulers': [],
    'hparams_name': 'kwargs',
    'hyper_parameters': inside,
  }
  torch.save(held, folder / 'checkpoints' / 'model.ckpt')
  return folder


@pytest.fixture
def one_head(monkeypatch):
  """The width tells the number of heads: that of a tiny body too."""
  for width, count in ((64, 4), (80, 1), (128, 1)):
    monkeypatch.setitem(fairseq.HEADS, width, count)


ROWS_OF = [row for row in family.MUST_LOAD if row.quirks & {'comet'}]


@pytest.mark.parametrize('row', ROWS_OF, ids=lambda row: row.name)
def test_an_original_one_loads_computes_and_goes_on(row, tmp_path, monkeypatch):
  facts = shrunk(row.config)
  width = facts['hidden_size']
  monkeypatch.setitem(fairseq.HEADS, width, facts['num_attention_heads'])
  settings = dict(family.COMET_HPARAMS[row.name])
  if 'hidden_sizes' in settings:
    settings['hidden_sizes'] = list(SIZES)
  # Where hparams.yaml says nothing of it: COMET's default.
  norm = settings.get('layer_norm', True)
  model = Reference(make_body(facts), norm=norm).eval()
  positions = torch.arange(facts['max_position_embeddings'])[None]
  name = f'{BODY}embeddings.position_ids'
  source = save_comet(model, tmp_path / 'in', settings, **{name: positions})

  m = xlmr_jax.load(source)
  assert m.head == 'estimate' and m.tokenizer is None
  assert m.config == dataclasses.replace(
    config_json.config_from_hf(facts), estimator=SIZES, estimator_norm=norm
  )
  for ids in examples(row):
    with torch.no_grad():
      mask = torch.ones((1, len(ids)), dtype=torch.long)
      want = model(input_ids=torch.tensor([ids]), attention_mask=mask)[0]
    np.testing.assert_allclose(m.logits([ids])[0], want, 0, LOGITS)

  lazy = directory.read(source, lazily=True)
  same(lazy.params, m.params)
  assert not isinstance(lazy.params['head']['gamma'], np.ndarray)
  m.save(tmp_path / 'out', format='hf')
  got = load_file(tmp_path / 'out' / 'model.safetensors')
  want = model.state_dict()
  assert got.keys() == want.keys() - set(BUFFERS)
  for key, array in got.items():
    assert array.dtype == np.float32
    assert array.tobytes() == want[key].contiguous().numpy().tobytes(), key
  again = reader.read(tmp_path / 'out')
  assert again.head == 'estimate' and again.config == m.config
  same(again.params, m.params)


def make_body(facts):
  """transformers' body of a config.json's sizes, every tensor random."""
  facts = {k: v for k, v in facts.items() if k != 'torch_dtype'}
  names = {'xlm-roberta': 'XLMRoberta', 'xlm-roberta-xl': 'XLMRobertaXL'}
  name = names[facts.pop('model_type')]
  config = getattr(transformers, f'{name}Config')(
    **facts, attn_implementation='eager'
  )
  cls = getattr(transformers, f'{name}Model')
  return cls(config, add_pooling_layer=False)


def test_the_row_in_hugging_faces_format(tmp_path):
  rows = [r for r in family.MUST_LOAD if 'estimator' in r.quirks]
  assert [r.quirks for r in rows] == [{'bin', 'f16', 'estimator'}]
  facts = shrunk(rows[0].config) | {'estimator_sizes': list(SIZES)}
  body = make_body(facts)
  model = Reference(body, norm=facts['layer_norm']).half().float().eval()
  source = tmp_path / 'in'
  source.mkdir()
  (source / 'config.json').write_text(json.dumps(facts, indent=2) + '\n')
  state = {k: v.half() for k, v in model.state_dict().items()}
  torch.save(state, source / 'pytorch_model.bin')

  m = xlmr_jax.load(source)
  assert m.head == 'estimate' and m.config.estimator_norm
  assert sorted(m.weights.source['dropped']) == BUFFERS
  for ids in examples(rows[0]):
    with torch.no_grad():
      mask = torch.ones((1, len(ids)), dtype=torch.long)
      want = model(input_ids=torch.tensor([ids]), attention_mask=mask)[0]
    np.testing.assert_allclose(m.logits([ids])[0], want, 0, LOGITS)
  m.save(tmp_path / 'out', format='hf')
  text = (source / 'config.json').read_bytes()
  assert (tmp_path / 'out' / 'config.json').read_bytes() == text
  got = load_file(tmp_path / 'out' / 'model.safetensors')
  assert got.keys() == state.keys() - set(BUFFERS)
  for key, array in got.items():
    assert array.dtype == np.float16
    assert array.tobytes() == state[key].contiguous().numpy().tobytes(), key


def test_a_pair_is_the_translation_and_its_source(
  one_head, tiny_tokenizer, tmp_path
):
  """<s> translation </s></s> source </s>, with a tokenizer put beside."""
  size = Tokenizer(tiny_tokenizer).vocab_size
  model = reference(vocab_size=size)
  folder = save_comet(model, tmp_path / 'in')
  native.copy_tokenizer(tiny_tokenizer, folder)
  m = xlmr_jax.load(folder / 'checkpoints' / 'model.ckpt')
  texts = ('Ein Mann', 'A man is asleep'), ('Ein Mann', 'the house')
  apart = m.tokenizer.encode('Ein Mann'), m.tokenizer.encode('A man is asleep')
  ids = [*apart[0], 2, *apart[1][1:]]
  scores = m.logits([*texts, ids])
  np.testing.assert_allclose(scores[0], scores[2], 0, 1e-6)
  assert abs(scores[0] - scores[1]) > 1e-3
  with torch.no_grad():
    mask = torch.ones((1, len(ids)), dtype=torch.long)
    want = model(input_ids=torch.tensor([ids]), attention_mask=mask)[0]
  np.testing.assert_allclose(scores[0], want, 0, LOGITS)


def test_a_pooler_is_kept(one_head, tmp_path):
  weight, bias = torch.rand(64, 64), torch.rand(64)
  more = {
    f'{BODY}pooler.dense.weight': weight,
    f'{BODY}pooler.dense.bias': bias,
  }
  folder = save_comet(reference(), tmp_path / 'in', **more)
  m = xlmr_jax.load(folder)
  np.testing.assert_array_equal(m.params['pooler']['dense']['kernel'], weight.T)
  np.testing.assert_array_equal(m.params['pooler']['dense']['bias'], bias)
  alone = xlmr_jax.load(folder, head=None)
  assert alone.head is None and alone.config.estimator == ()
  alone.save(tmp_path / 'out', format='hf')
  got = load_file(tmp_path / 'out' / 'model.safetensors')
  assert got['pooler.dense.weight'].tobytes() == weight.numpy().tobytes()
  assert not any(key.startswith(('estimator', MIX)) for key in got)


class AttributeDict(dict):
  """Stands for Lightning's, which is not installed."""

  __module__ = 'pytorch_lightning.utilities.parsing'


class EarlyStopping:
  __module__ = 'pytorch_lightning.callbacks.early_stopping'


@pytest.mark.parametrize('name', ['pytorch_lightning', 'lightning'])
def test_lightnings_own_objects(one_head, name, tmp_path, monkeypatch):
  """Before 1.5 settings were a dict of its own, and classes were keys."""
  for cls in (AttributeDict, EarlyStopping):
    module = cls.__module__.replace('pytorch_lightning', name)
    monkeypatch.setattr(cls, '__module__', module)
    parts = module.split('.')
    for end in range(1, len(parts) + 1):
      path = '.'.join(parts[:end])
      if path not in sys.modules:
        monkeypatch.setitem(sys.modules, path, types.ModuleType(path))
    setattr(sys.modules[module], cls.__name__, cls)
  inside = AttributeDict(SETTINGS)
  model = reference(norm=True)
  settings = _without(SETTINGS, 'layer_norm')
  folder = save_comet(model, tmp_path / 'a', settings, inside)
  file = folder / 'checkpoints' / 'model.ckpt'
  held = torch.load(file, weights_only=False)
  assert type(held['hyper_parameters']) is AttributeDict
  held['callbacks'] = {EarlyStopping: {'wait_count': 0, 'it': EarlyStopping()}}
  torch.save(held, file)
  monkeypatch.undo()
  monkeypatch.setitem(fairseq.HEADS, 64, 4)
  assert name not in sys.modules
  # hparams.yaml does not say, and the checkpoint's copy does.
  assert comet.read(folder).config.estimator_norm is False
  assert name not in sys.modules


def test_nothing_in_a_checkpoint_runs(one_head, tmp_path):
  canary = tmp_path / 'canary'

  class Runs:
    def __reduce__(self):
      return os.system, (f'touch {canary}',)

  folder = save_comet(reference(), tmp_path / 'a', inside={'x': Runs()})
  with pytest.raises(ValueError, match='would run posix.system when'):
    xlmr_jax.load(folder)
  text = f'x: !!python/object/apply:os.system ["touch {canary}"]\n'
  (folder / 'hparams.yaml').write_text(yaml.safe_dump(SETTINGS) + text)
  with pytest.raises(ValueError, match='hparams.yaml is not plain YAML'):
    xlmr_jax.load(folder)
  assert not canary.exists()
  yaml.unsafe_load(text)  # either would have
  assert canary.exists()
  canary.unlink()
  torch.load(folder / 'checkpoints' / 'model.ckpt', weights_only=False)
  assert canary.exists()


@pytest.mark.parametrize(
  ('changes', 'message'),
  [
    *(
      ({'class_identifier': name}, f'class_identifier = {name!r}: {why[:12]}')
      for name, why in comet.CLASSES.items()
    ),
    ({'class_identifier': 'new'}, "class_identifier = 'new': it is not known"),
    ({'class_identifier': ...}, 'class_identifier = None'),
    ({'layer_transformation': 'sparsemax'}, "'sparsemax': the weights of the"),
    ({'layer_transformation': ...}, 'layer_transformation = None'),
    ({'encoder_model': 'MiniLM'}, "its body is not XLM-R's"),
    ({'sent_layer': 24}, 'sent_layer = 24: it does not mix'),
    ({'input_segments': ['mt', 'src', 'ref']}, 'from several inputs'),
    ({'input_segments': ...}, 'from several inputs'),
    ({'word_level_training': True}, r'it also tags words \(hidden2tag\)'),
    ({'final_activation': 'sigmoid'}, 'a function behind the score'),
    ({'activations': 'relu'}, 'only tanh is supported'),
    ({'layer_norm': 'no'}, "layer_norm = 'no': it should be true or false"),
  ],
)
def test_settings_that_are_refused(one_head, changes, message, tmp_path):
  settings = {k: v for k, v in (SETTINGS | changes).items() if v is not ...}
  folder = save_comet(reference(), tmp_path / 'in', settings)
  with pytest.raises(ValueError, match=message) as error:
    xlmr_jax.load(folder)
  assert str(folder / 'hparams.yaml') in str(error.value)


def test_copies_of_the_settings_that_disagree(one_head, tmp_path):
  inside = {**SETTINGS, 'layer_norm': True}
  folder = save_comet(reference(), tmp_path / 'in', inside=inside)
  message = 'layer_norm is False by hparams.yaml and True by checkpoints'
  with pytest.raises(ValueError, match=message):
    xlmr_jax.load(folder)


def test_checkpoints_that_are_refused(one_head, tmp_path):
  model = reference()
  rand = torch.rand
  words = 'embeddings.word_embeddings.weight'
  cases = [
    ('model.ckpt holds hidden2tag', {'hidden2tag.bias': rand(2)}),
    ("unknown key 'wordloss.weight'", {'wordloss.weight': rand(2)}),
    ("unknown key 'estimator.ff.9.bias'", {f'{FF}.9.bias': rand(1)}),
    (f"key '{words}' is set twice", {words: rand(61, 64)}),
    ('ff.3.weight. has the shape', {f'{FF}.3.weight': rand(48)}),
    ('should have', {f'{FF}.6.weight': rand(1, 21)}),
    ("'estimator.ff.6.weight' is no tensor", {f'{FF}.6.weight': 3}),
  ]
  for i, (message, more) in enumerate(cases):
    folder = save_comet(model, tmp_path / str(i), **more)
    with pytest.raises(ValueError, match=message):
      xlmr_jax.load(folder)
  file = folder / 'checkpoints' / 'model.ckpt'
  held = torch.load(file, weights_only=True)
  state = {**model.state_dict()}
  state = {k.replace('roberta.', BODY): v for k, v in state.items()}
  lacks = {
    f"missing key '{BODY}{words}'": _without(state, BODY + words),
    "missing key 'estimator.ff.0.weight'": _without(state, f'{FF}.0.weight'),
    "missing key 'layerwise_attention.gamma'": _without(state, f'{MIX}.gamma'),
  }
  for message, state in lacks.items():
    torch.save({**held, 'state_dict': state}, file)
    with pytest.raises(ValueError, match=message):
      xlmr_jax.load(folder)
  torch.save([1], file)
  with pytest.raises(ValueError, match='is no checkpoint of Lightning'):
    xlmr_jax.load(folder)
  file.unlink()
  with pytest.raises(ValueError, match='but no checkpoints/model.ckpt'):
    xlmr_jax.load(folder)
  (folder / 'hparams.yaml').write_text('- a\n')
  with pytest.raises(ValueError, match='hparams.yaml holds no settings'):
    xlmr_jax.load(folder)


def test_a_width_whose_heads_nobody_knows(tmp_path):
  folder = save_comet(reference(), tmp_path / 'in')
  with pytest.raises(ValueError, match='its width 64 is none of 768, 1024'):
    xlmr_jax.load(folder)


def test_what_is_no_directory_of_comets(pairs, tmp_path):
  _, folder, _ = pairs('XLMRoberta', False)
  assert comet.find(folder) is None
  (tmp_path / 'hparams.yaml').write_text('')
  assert comet.find(tmp_path) == tmp_path
  assert comet.find(tmp_path / 'hparams.yaml') is None
  (tmp_path / 'config.json').write_text('{}')
  assert comet.find(tmp_path) is None
