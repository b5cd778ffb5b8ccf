"""The encoder and its heads: pairs that must agree, shapes, and errors."""

import dataclasses
import doctest
import functools
import importlib
import sys

import jax
import jax.numpy as jnp
import jaxtyping
import numpy as np
import pytest

from xlmr_jax import heads, model
from xlmr_jax.checkpoints import weights
from xlmr_jax.data.batches import pack
from xlmr_jax.data.batches.convention import Convention

V, D, L, E = 97, 32, 24, 4
CONFIG = model.Config(
  vocab_size=V,
  num_layers=2,
  model_dim=D,
  num_heads=4,
  ff_dim=64,
  max_positions=40,
)


def random_params(config):
  """Every parameter random: at its start a bias or a norm hides mistakes."""

  def init(key):
    params = heads.init(config, key, 'mlm')
    scores = heads.init(config, key, 'classify', 3)['head']
    return {
      'encoder': params['encoder'],
      'mlm': params['head'],
      'classify': scores,
    }

  shapes = jax.eval_shape(init, jax.random.key(0))
  rng = np.random.default_rng(0)

  def one(path, leaf):
    value = rng.normal(0, 0.1, leaf.shape) + (path[-1].key == 'scale')
    return value.astype(leaf.dtype)

  return jax.tree_util.tree_map_with_path(one, shapes)


def example(length, seed):
  ids = np.random.default_rng(seed).integers(4, V - 1, length)
  ids[0], ids[-1] = 0, 2
  return {'tokens': ids.astype(np.int32)}


def rows(*features_of_row, length=L, slots=E, pad_id=1):
  """Features by row → a batch."""
  flat = [f for row in features_of_row for f in row]
  ends = np.cumsum([len(row) for row in features_of_row])
  index = np.split(np.arange(len(flat)), ends[:-1])
  return pack.fill(
    flat,
    index,
    row_length=length,
    max_examples=slots,
    convention=Convention(pad_id),
  )


def forward(config, params, batch, key=None):
  """Hidden states and the scores of both heads."""
  train = key is not None
  hidden = model.Encoder(config).apply(
    {'params': params['encoder']},
    batch['tokens'],
    batch['segments'],
    batch['positions'],
    train=train,
    rngs={'dropout': key} if train else None,
  )
  return {
    'hidden': hidden,
    **{
      name: heads.apply(
        heads.make(config, name, 3),
        {'encoder': params['encoder'], 'head': params[name]},
        hidden,
        batch,
      )
      for name in ('mlm', 'classify')
    },
  }


@functools.partial(jax.jit, static_argnums=0)
def run(config, params, batch, key=None):
  return forward(config, params, batch, key)


@functools.partial(jax.jit, static_argnums=0)
def value_and_grad(config, params, batch, key=None):
  """Hidden states, and the gradient of a number that all of them move."""

  def loss(params):
    out = forward(config, params, batch, key)['hidden']
    weights = jnp.cos(jnp.arange(out.size)).reshape(out.shape)
    return (out * weights).sum() / 10, out

  (_, out), grads = jax.value_and_grad(loss, has_aux=True)(params)
  return out, grads['encoder']


def of_example(out, batch, row, slot):
  """What the outputs say of one example."""
  mine = batch['segments'][row] == slot + 1
  return {
    'hidden': np.asarray(out['hidden'])[row, mine],
    'mlm': np.asarray(out['mlm'])[row, mine],
    'classify': np.asarray(out['classify'])[row, slot],
  }


def assert_agree(one, two, atol=1e-5):
  for (path, x), (_, y) in zip(
    jax.tree_util.tree_leaves_with_path(one),
    jax.tree_util.tree_leaves_with_path(two),
    strict=True,
  ):
    name = jax.tree_util.keystr(path)
    np.testing.assert_allclose(x, y, atol=atol, err_msg=name)


def test_packed_is_alone():
  params = random_params(CONFIG)
  features = [example(n, n) for n in (7, 5, 9, 3)]
  batch = rows(features, [], features[2:])
  packed = run(CONFIG, params, batch)
  assert all(np.isfinite(x).all() for x in packed.values())
  seen = []
  for slot, feature in enumerate(features):
    # The first two without any padding, the others with.
    length = len(feature['tokens']) if slot < 2 else 12
    alone = rows([feature], length=length, slots=1)
    alone = of_example(run(CONFIG, params, alone), alone, 0, 0)
    assert_agree(of_example(packed, batch, 0, slot), alone)
    if slot >= 2:
      assert_agree(of_example(packed, batch, 2, slot - 2), alone)
    seen.append(alone)
  # Answers differ from example to example, so agreeing says something.
  for name in packed:
    one, two = (np.atleast_2d(alone[name])[0] for alone in seen[:2])
    assert np.abs(one - two).max() > 1e-2, name


def test_neighbours_do_not_change_a_bit():
  params = random_params(CONFIG)
  a, b, c = (example(n, n) for n in (7, 5, 9))
  before = rows([a, b, c], [], [])
  after = rows([a, example(5, 99), c], [], [])
  x, y = (run(CONFIG, params, batch) for batch in (before, after))
  for slot in (0, 1, 2):
    one = of_example(x, before, 0, slot)
    two = of_example(y, after, 0, slot)
    for name in one:
      if slot == 1:
        assert np.abs(one[name] - two[name]).max() > 1e-2
      else:
        assert one[name].tobytes() == two[name].tobytes(), name


def test_scan_is_unrolled_is_a_loop():
  params = random_params(CONFIG)
  batch = rows([example(7, 1), example(9, 2)], [example(20, 3)])
  scanned = value_and_grad(CONFIG, params, batch)
  unrolled = dataclasses.replace(CONFIG, scan=False)
  assert_agree(scanned, value_and_grad(unrolled, params, batch))
  assert max(np.abs(g).max() for g in jax.tree.leaves(scanned[1])) > 0.1

  @jax.jit
  def loop(params, batch):
    x = model.Embed(CONFIG).apply(
      {'params': params['embed']}, batch['tokens'], batch['positions']
    )
    for i in range(CONFIG.num_layers):
      mine = jax.tree.map(lambda p, i=i: p[i], params['layers'])
      x = model.Layer(CONFIG).apply({'params': mine}, x, batch['segments'])
    return x

  x = loop(params['encoder'], batch)
  np.testing.assert_allclose(x, scanned[0], atol=1e-5)


@pytest.mark.parametrize(
  'remat, scan', [('full', True), ('dots', True), ('full', False)]
)
def test_remat_is_plain(remat, scan):
  config = dataclasses.replace(CONFIG, attention_dropout=0.1, scan=scan)
  params = random_params(config)
  batch = rows([example(7, 1), example(9, 2)])
  key = jax.random.key(3) if scan else None  # unrolled it compiles for long
  plain = value_and_grad(config, params, batch, key)
  again = dataclasses.replace(config, remat=remat)
  assert_agree(plain, value_and_grad(again, params, batch, key))


def test_remat_computes_products_again():
  """All of them, or those of attention only."""
  params = random_params(CONFIG)
  batch = rows([example(7, 1)])

  def products(remat):
    config = dataclasses.replace(CONFIG, remat=remat)
    program = jax.make_jaxpr(functools.partial(value_and_grad, config))
    return str(program(params, batch)).count('dot_general[')

  plain, dots, full = (products(remat) for remat in ('none', 'dots', 'full'))
  assert plain + 2 == dots < full == plain + 8


def test_dropout_only_in_training():
  config = dataclasses.replace(CONFIG, attention_dropout=0.1)
  params = random_params(config)
  batch = rows([example(20, 1)])
  plain = run(config, params, batch)['hidden']
  one, two, again = (
    run(config, params, batch, jax.random.key(k))['hidden'] for k in (1, 2, 1)
  )
  assert np.abs(plain - one).max() > 0.1
  assert np.abs(one - two).max() > 0.1
  np.testing.assert_array_equal(one, again)
  off = dataclasses.replace(CONFIG, dropout=0.0, attention_dropout=0.0)
  quiet = run(off, params, batch, jax.random.key(1))['hidden']
  np.testing.assert_allclose(quiet, plain, atol=1e-6)


@pytest.mark.parametrize('pad_id', [1, 3])
def test_positions_are_hugging_faces(pad_id):
  """With a literal pad token in the middle of the text."""
  torch = pytest.importorskip('torch')
  from transformers.models.xlm_roberta import modeling_xlm_roberta as hf

  ids = example(9, 5)['tokens']
  ids[[3, 4]] = pad_id
  batch = rows([example(6, 1), {'tokens': ids}, example(4, 2)], pad_id=pad_id)
  create = hf.XLMRobertaEmbeddings.create_position_ids_from_input_ids
  expected = create(torch.tensor(ids[None].astype(np.int64)), pad_id)[0]
  mine = batch['positions'][0, 6:15] + pad_id + 1
  np.testing.assert_array_equal(mine, expected.numpy())
  assert (batch['positions'][0, [9, 10]] == -1).all()

  # The embeddings that the model takes are those rows of the table.
  config = dataclasses.replace(CONFIG, pad_id=pad_id)
  embed = random_params(config)['encoder']['embed']
  got = model.Embed(config).apply(
    {'params': embed}, batch['tokens'], batch['positions']
  )[0, 6:15]
  embed = jax.tree.map(np.asarray, embed)
  x = embed['tokens'][ids] + embed['types'][0]
  x += embed['positions'][expected.numpy()]
  x -= x.mean(-1, keepdims=True)
  x /= np.sqrt((x**2).mean(-1, keepdims=True) + config.norm_eps)
  x = x * embed['norm']['scale'] + embed['norm']['bias']
  np.testing.assert_allclose(got, x, atol=1e-5)


@pytest.mark.parametrize(
  'change, message',
  [
    ({'num_heads': 5}, 'model_dim 32 is not a multiple of num_heads 5'),
    ({'activation': 'gleu'}, "activation='gleu' is not one of gelu, "),
    ({'remat': 'some'}, "remat='some' is not one of none, full, dots"),
    ({'dtype': 'flot32'}, "dtype='flot32' is not one of float32, bfloat16"),
    ({'param_dtype': 'int8'}, "param_dtype='int8' is not one of float32"),
    ({'attention': 'flash'}, "attention='flash' is not one of auto, xla"),
    ({'dropout': 1.0}, 'dropout=1.0 is not in'),
    ({'attention_dropout': -0.1}, 'attention_dropout=-0.1 is not in'),
    ({'num_layers': 0}, 'num_layers=0 is not positive'),
    ({'max_positions': 2}, 'max_positions=2 holds no token'),
  ],
)
def test_config_refuses(change, message):
  with pytest.raises(ValueError, match=message.replace('.', r'\.')):
    dataclasses.replace(CONFIG, **change)


def test_a_fused_backend_refuses_dropout_on_probabilities():
  config = dataclasses.replace(
    CONFIG, attention='splash', attention_dropout=0.1
  )
  batch = rows([example(9, 2)])
  with pytest.raises(ValueError, match='set attention_dropout to 0'):
    jax.eval_shape(
      lambda p: forward(config, p, batch, jax.random.key(0)),
      random_params(config),
    )


def test_an_unknown_head_is_named():
  with pytest.raises(ValueError, match="head 'tagg' is not one of mlm"):
    heads.make(CONFIG, 'tagg')


# As transformers counts XLMRobertaForMaskedLM of both published sizes.
@pytest.mark.parametrize(
  'name, parameters', [('base', 278_295_186), ('large', 560_142_482)]
)
def test_published_sizes(name, parameters):
  config = model.VARIANTS[name]
  shapes = jax.eval_shape(
    lambda key: heads.init(config, key, 'mlm'), jax.random.key(0)
  )
  assert sum(leaf.size for leaf in jax.tree.leaves(shapes)) == parameters
  row = jax.ShapeDtypeStruct((2, 512), jnp.int32)
  for scan in (True, False):
    encoder = model.Encoder(dataclasses.replace(config, scan=scan))
    hidden = jax.eval_shape(
      encoder.apply, {'params': shapes['encoder']}, row, row, row
    )
    assert hidden.shape == (2, 512, config.model_dim)
  padded = dataclasses.replace(config, vocab_multiple=1024)
  assert (config.rows, padded.rows) == (250_002, 250_880)


@pytest.mark.parametrize('head', ['mlm', 'classify'])
@pytest.mark.parametrize('name', model.VARIANTS)
def test_every_parameter_has_one_row_in_plan(name, head):
  shapes = jax.eval_shape(
    lambda key: heads.init(model.VARIANTS[name], key, head, 3),
    jax.random.key(0),
  )
  paths = {
    '/'.join(key.key for key in path): leaf.ndim
    for path, leaf in jax.tree_util.tree_leaves_with_path(shapes)
  }
  plan = heads.plan(model.VARIANTS[name], head)
  assert {path: len(plan[path]) for path in paths} == paths
  optional = ('head/table', 'pooler/', 'projection/')
  assert all(path.startswith(optional) for path in plan.keys() - paths.keys())


def test_flops_are_those_of_the_matrices():
  """2 per weight and token, and 4 L D of attention a layer."""
  config = model.VARIANTS['base']
  shapes = jax.eval_shape(
    lambda key: heads.init(config, key, None), jax.random.key(0)
  )
  kernels = sum(
    leaf.size
    for path, leaf in jax.tree_util.tree_leaves_with_path(shapes)
    if path[-1].key == 'kernel'
  )
  assert config.flops(512) == 2 * kernels + 12 * 4 * 512 * 768


def test_padded_rows_are_zero_at_the_start_and_never_answers():
  config = dataclasses.replace(CONFIG, vocab_multiple=64)
  start = jax.jit(lambda key: heads.init(config, key, None))
  table = np.asarray(start(jax.random.key(0))['encoder']['embed']['tokens'])
  assert table.shape[0] == 128
  assert not table[V:].any() and not table[config.pad_id].any()
  assert np.abs(table[2:V]).max(axis=1).all()
  params = random_params(config)
  scores = run(config, params, rows([example(9, 1)]))['mlm']
  assert scores[..., V:].max() <= -1e9 < scores[..., :V].min()


def test_rows_come_and_go_without_changing_a_model():
  params = random_params(CONFIG)
  whole = {'encoder': params['encoder'], 'head': params['mlm']}
  grown = weights.with_rows(whole, 'mlm', 128)
  assert grown['head']['bias'].shape == (128,)
  assert not grown['encoder']['embed']['tokens'][V:].any()
  back = weights.with_rows(grown, 'mlm', V)
  jax.tree.map(np.testing.assert_array_equal, back, whole)
  same = weights.with_rows(whole, 'mlm', V)
  assert same['head']['bias'] is whole['head']['bias']
  batch = rows([example(20, 1)])
  padded = dataclasses.replace(CONFIG, vocab_multiple=64)
  grown = {**params, 'encoder': grown['encoder'], 'mlm': grown['head']}
  more, less = run(padded, grown, batch), run(CONFIG, params, batch)
  assert_agree({**more, 'mlm': more['mlm'][..., :V]}, less)


@pytest.mark.parametrize('param_dtype', ['float32', 'bfloat16'])
def test_bfloat16_is_near(param_dtype):
  params = random_params(CONFIG)
  half = dataclasses.replace(CONFIG, dtype='bfloat16', param_dtype=param_dtype)
  cast = jax.tree.map(lambda p: p.astype(param_dtype), params)
  batch = rows([example(7, 1), example(9, 2)], [example(20, 3)])
  rough, exact = run(half, cast, batch), run(CONFIG, params, batch)
  assert rough['hidden'].dtype == jnp.bfloat16
  off = np.abs(np.asarray(rough['hidden'], np.float32) - exact['hidden'])
  assert 0 < off.max() < 0.1 and off.mean() < 0.02
  for name in ('mlm', 'classify'):  # a softmax over V in bf16 would be noise
    assert rough[name].dtype == jnp.float32
    assert np.abs(rough[name] - exact[name]).max() < 0.1


# Shapes in signatures, checked while the functions run.

CHECKED = (
  'layers.attention',
  'layers.pooling',
  'model',
  'heads',
  'training.objectives',
)


@pytest.fixture(scope='module')
def checked():
  """Copies of the model's modules whose annotations are enforced."""
  pytest.importorskip('beartype')
  names = [f'xlmr_jax.{name}' for name in CHECKED]
  before = {name: importlib.import_module(name) for name in names}
  for name in names:
    del sys.modules[name]
  try:
    with jaxtyping.install_import_hook(names, 'beartype.beartype'):
      yield {
        name.rpartition('.')[2]: importlib.import_module(name) for name in names
      }
  finally:
    sys.modules.update(before)
    for name, module in before.items():
      package, _, short = name.rpartition('.')
      setattr(sys.modules[package], short, module)


def copy(checked, **changes):
  """CONFIG in the checked modules' own class."""
  return checked['model'].Config(**{**dataclasses.asdict(CONFIG), **changes})


NAMES = ('a', 'b', 'c')


@pytest.mark.parametrize('name', ['mlm', 'classify', 'regression'])
def test_signatures_are_true(checked, name):
  objectives = checked['objectives']
  config = copy(checked, attention_dropout=0.1)
  labels = np.array([[0, 2, -1, -1], [1, -1, -1, -1]], np.int32)
  draw = dict(mask_id=V - 1, special_ids=(0, 1, 2, 3), pieces=(4, V - 1))
  head, objective = {
    'mlm': ('mlm', objectives.mlm(config, **draw, chunk=2)),
    'classify': (
      'classify',
      objectives.classify(config, NAMES),
    ),
    'regression': ('classify', objectives.regression(config)),
  }[name]
  params = random_params(CONFIG)
  params = {'encoder': params['encoder'], 'head': params[head]}
  if name == 'regression':
    labels = np.where(labels < 0, np.nan, labels).astype(np.float32)
    out = params['head']['out']
    params['head']['out'] = jax.tree.map(lambda p: p[..., :1], out)
  batch = rows([example(9, 1), example(7, 2)], [example(20, 3)])
  batch['labels'] = labels

  def loss(params, batch):
    key = jax.random.key(0)
    return objective.loss(params, objective.prepare(batch, key), key)['loss']

  total, count = jax.eval_shape(loss, params, batch)
  assert total.shape == count.shape == (2,)


def test_wrong_shapes_are_caught(checked):
  encoder = checked['model'].Encoder(copy(checked))
  params = random_params(CONFIG)['encoder']
  row = jax.ShapeDtypeStruct((2, 8), jnp.int32)
  jax.eval_shape(encoder.apply, {'params': params}, row, row, row)
  for bad in (((2, 9), jnp.int32), ((8,), jnp.int32), ((2, 8), jnp.float32)):
    bad = jax.ShapeDtypeStruct(*bad)
    with pytest.raises(jaxtyping.TypeCheckError):
      jax.eval_shape(encoder.apply, {'params': params}, row, row, bad)
  q = jax.ShapeDtypeStruct((2, 8, 4, 8), jnp.float32)
  v = jax.ShapeDtypeStruct((2, 8, 4, 4), jnp.float32)
  with pytest.raises(jaxtyping.TypeCheckError):
    jax.eval_shape(checked['attention'].attention, q, q, v, row)


def test_the_example_of_the_encoder_runs():
  """What its docstring shows is what it gives."""
  example = doctest.DocTestFinder(recurse=False).find(
    model.Encoder, 'Encoder', globs=vars(model).copy()
  )
  assert doctest.DocTestRunner().run(example[0]) == (0, 6)
