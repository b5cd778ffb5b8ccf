"""The optimizer: rates, what decays, layer-wise rates, freezing, clipping."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from xlmr_jax import heads, model
from xlmr_jax.checkpoints.hf import names
from xlmr_jax.training import optim, trainable

CONFIG = model.Config(
  vocab_size=50,
  num_layers=3,
  model_dim=16,
  num_heads=2,
  ff_dim=24,
  max_positions=12,
)


def name_of(path):
  return '/'.join(key.key for key in path)


def flat(tree):
  return {
    name_of(path): leaf
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree)
  }


@functools.cache
def shapes(head='mlm'):
  return jax.eval_shape(
    lambda key: heads.init(CONFIG, key, head, 3), jax.random.key(0)
  )


def draw(seed, head='mlm'):
  rng = np.random.default_rng(seed)
  return jax.tree.map(
    lambda leaf: rng.normal(0, 1, leaf.shape).astype(np.float32), shapes(head)
  )


def test_schedule():
  rate = optim.schedule(2e-3, 10, 110)
  expected = {0: 0, 5: 1e-3, 10: 2e-3, 60: 1e-3, 109: 2e-5, 110: 0, 200: 0}
  for step, value in expected.items():
    assert rate(step) == pytest.approx(value, abs=1e-9), step
  # Without warm-up the first step has the whole rate.
  assert optim.schedule(1.0, 0, 4)(0) == 1
  # All of it warm-up: the peak would come after the last step.
  assert optim.schedule(1.0, 4, 4)(3) == 0.75
  assert jax.jit(rate)(jnp.int32(5)) == pytest.approx(1e-3)


@pytest.mark.parametrize('step', [9_999, 10_000, 750_000, 1_499_999])
def test_schedule_is_exact_at_the_end_of_a_long_run(step):
  """Against float64; optax.join_schedules is 3.4 % off at the last step."""
  peak, warmup, total = 4e-4, 10_000, 1_500_000
  rate = jax.jit(optim.schedule(peak, warmup, total))(jnp.int32(step))
  exact = peak * min(step / warmup, (total - step) / (total - warmup))
  assert float(rate) == pytest.approx(exact, rel=2e-7)


@pytest.mark.parametrize('head', ['mlm', 'classify'])
def test_what_decays_is_what_decays_in_hugging_faces_trainer(head):
  torch = pytest.importorskip('torch')
  import transformers

  with torch.device('meta'):
    config = transformers.XLMRobertaConfig(
      vocab_size=50,
      hidden_size=16,
      num_hidden_layers=3,
      num_attention_heads=2,
      intermediate_size=24,
      max_position_embeddings=12,
      type_vocab_size=1,
      num_labels=3,
    )
    theirs = {
      'mlm': transformers.XLMRobertaForMaskedLM,
      'classify': transformers.XLMRobertaForSequenceClassification,
    }[head](config)
  rule = transformers.Trainer.get_decay_parameter_names
  decaying = set(rule(None, theirs))
  mine = flat(optim.decays(shapes(head), heads.plan(CONFIG, head)))
  rows = names.table(CONFIG, head, 3)
  for name, _ in theirs.named_parameters():
    path = rows[name.removeprefix('roberta.')].path
    assert mine[path] == (name in decaying), name
  assert 0 < sum(mine.values()) < len(mine)
  everything = optim.decays(shapes(head), heads.plan(CONFIG, head), 'all')
  assert all(jax.tree.leaves(everything))
  with pytest.raises(ValueError, match="'some' is not one of matrices, all"):
    optim.decays(shapes(head), heads.plan(CONFIG, head), 'some')


def test_layer_decay_goes_by_depth():
  tree = flat(optim.scales(shapes('classify'), 3, 0.5))
  for path, factor in tree.items():
    leaf = flat(shapes('classify'))[path]
    scaled = np.broadcast_to(factor, leaf.shape)
    if path.startswith('encoder/embed'):
      np.testing.assert_allclose(scaled, 0.5**4, err_msg=path)
    elif path.startswith('encoder/layers'):
      for layer in range(3):
        np.testing.assert_allclose(scaled[layer], 0.5 ** (3 - layer))
    else:
      np.testing.assert_array_equal(scaled, 1, err_msg=path)


@pytest.mark.parametrize(
  'freeze, held',
  [
    (('encoder/embed',), lambda p: p.startswith('encoder/embed/')),
    (
      ('encoder/embed/tokens', 'head'),
      lambda p: p == 'encoder/embed/tokens' or p.startswith('head/'),
    ),
  ],
)
def test_frozen_parameters_do_not_move_a_bit(freeze, held):
  params = start = draw(0)
  first = trainable.find(params, freeze=freeze)
  trained = trainable.split(params, first)
  transform = optim.adamw(
    0.1,
    mask=optim.decays(trained, heads.plan(CONFIG, 'mlm'), 'all'),
    factors=optim.scales(trained, 3, 0.9),
  )
  target = draw(1)

  def loss(params):
    pairs = zip(jax.tree.leaves(params), jax.tree.leaves(target), strict=True)
    return sum(((p - t) ** 2).sum() for p, t in pairs)

  grad = jax.grad(lambda t: loss(trainable.join(params, t, first)))
  # Neither gradients nor moments of them: they cost nothing, and do not count
  # when the others are clipped.
  paths = {path for path in flat(start) if not held(path)}
  assert flat(grad(trained)).keys() == paths
  state = transform.init(trained)
  assert flat(state[0].mu).keys() == flat(state[0].nu).keys() == paths
  for _ in range(3):
    updates, state = transform.update(grad(trained), state, trained)
    trained = optax.apply_updates(trained, updates)
  params = trainable.put_back(params, trained, first)
  for path, before in flat(start).items():
    after = np.asarray(flat(params)[path])
    assert held(path) == (after.tobytes() == before.tobytes()), path


def test_freezing_nothing_is_an_error():
  # A prefix ends where a name ends.
  for prefix in ('encoder/embedd', 'encoder/emb', 'pooler'):
    with pytest.raises(ValueError, match=f"starts with '{prefix}'"):
      trainable.find(shapes(), 'all', ('encoder/embed', prefix))


def test_clip():
  grads = {'a': np.float32([3, 0]), 'b': np.float32([[4]])}
  clipped, norm = optim.clip(grads, 1.0)
  assert norm == 5
  np.testing.assert_allclose(clipped['a'], [0.6, 0], rtol=1e-6)
  np.testing.assert_allclose(clipped['b'], [[0.8]], rtol=1e-6)
  for limit in (0.0, 6.0):
    same, norm = optim.clip(grads, limit)
    assert norm == 5
    jax.tree.map(np.testing.assert_array_equal, same, grads)
  # Sums over ten terms: their mean has norm 0.5, and is clipped to 0.2.
  mean, norm = optim.clip(grads, 0.2, np.float32(10))
  np.testing.assert_allclose(norm, 0.5, rtol=1e-6)
  np.testing.assert_allclose(mean['a'], [0.12, 0], rtol=1e-6)
  mean, norm = optim.clip(grads, 0.0, np.float32(10))
  np.testing.assert_allclose(mean['b'], [[0.4]], rtol=1e-6)
  nothing, norm = optim.clip({'a': np.zeros(2, np.float32)}, 1.0)
  assert norm == 0 and not np.asarray(nothing['a']).any()


@pytest.mark.parametrize('decay', ['matrices', 'all'])
def test_adamw_is_torchs_with_groups(decay):
  """A group per rate and decay; lr 1e-3, eps 1e-6, decay 0.01, three steps."""
  torch = pytest.importorskip('torch')
  start = draw(0, 'classify')
  mask = optim.decays(start, heads.plan(CONFIG, 'classify'), decay)
  factors = optim.scales(start, 3, 0.8)
  transform = optim.adamw(
    1e-3, mask=mask, factors=factors, eps=1e-6, weight_decay=0.01
  )

  # There, one tensor a layer.
  tensors, groups = {}, []
  for path, leaf in flat(start).items():
    factor = np.broadcast_to(flat(factors)[path], leaf.shape)
    stacked = path.startswith('encoder/layers')
    for layer in range(len(leaf)) if stacked else (...,):
      tensor = torch.nn.Parameter(torch.tensor(leaf[layer]))
      tensors[path, layer] = tensor
      groups.append(
        {
          'params': [tensor],
          'lr': 1e-3 * float(factor[layer].flat[0]),
          'weight_decay': 0.01 if flat(mask)[path] else 0.0,
        }
      )
  theirs = torch.optim.AdamW(groups, eps=1e-6)

  params, state = start, transform.init(start)
  for step in range(3):
    grads = draw(1 + step, 'classify')
    updates, state = transform.update(grads, state, params)
    params = optax.apply_updates(params, updates)
    for (path, layer), tensor in tensors.items():
      tensor.grad = torch.tensor(flat(grads)[path][layer])
    theirs.step()
  for (path, layer), tensor in tensors.items():
    mine = np.asarray(flat(params)[path][layer])
    np.testing.assert_allclose(
      mine, tensor.detach().numpy(), rtol=0, atol=1e-6, err_msg=path
    )
    assert np.abs(mine - flat(start)[path][layer]).max() > 5e-4, path


@pytest.mark.parametrize('power', [1.0, 2.0, 0.5])
def test_polynomial_decay_is_optaxs(power):
  """From the peak at the end of the warm-up to `end` at the last step."""
  rate = optim.schedule(2e-3, 10, 110, power, 1e-4)
  theirs = optax.polynomial_schedule(2e-3, 1e-4, power, 100, 10)
  for step in (10, 11, 60, 109, 110, 500):
    np.testing.assert_allclose(rate(step), theirs(step), rtol=1e-5)
  assert rate(5) == pytest.approx(1e-3) and rate(0) == 0
  for settings, message in (
    (dict(power=0.0), 'the power 0.0 of the decay is not positive'),
    (dict(end=3e-3), 'the last rate 0.003 is not between 0 and the peak 0.002'),
  ):
    with pytest.raises(ValueError, match=message):
      optim.schedule(2e-3, 10, 110, **settings)


def unstacked(tree):
  """{(path, layer)}: an array for each tensor of each layer."""
  out = {}
  for path, leaf in flat(tree).items():
    stacked = heads.plan(CONFIG, 'mlm')[path][0] == 'layers'
    for layer in range(len(leaf)) if stacked else (...,):
      out[path, layer] = jnp.asarray(leaf)[layer]
  return out


@pytest.mark.parametrize('decay', ['matrices', 'all'])
def test_lamb_is_optaxs_on_one_tensor_a_layer(decay):
  """All is adapted where all decays, as there; else what decays."""
  start = draw(0)
  # Layers of different sizes: one norm over the stack would be another ratio.
  start['encoder']['layers'] = jax.tree.map(
    lambda x: x * np.float32([0.01, 1, 30]).reshape(3, *[1] * (x.ndim - 1)),
    start['encoder']['layers'],
  )
  # A ratio is 1 where a tensor, or its update, is nothing.
  start['encoder']['layers']['ff']['up']['kernel'][1] = 0
  mask = optim.decays(start, heads.plan(CONFIG, 'mlm'), decay)
  mine = optim.adamw(
    1e-2,
    trust=True,
    mask=mask,
    factors=optim.scales(start, 3, 1.0),
    b2=0.99,
    weight_decay=0.1,
  )
  decaying = {at: flat(mask)[at[0]] for at in unstacked(start)}
  parts = {
    True: optax.lamb(1e-2, b2=0.99, eps=1e-6, weight_decay=0.1),
    False: optax.adam(1e-2, b2=0.99, eps=1e-6),
  }
  theirs = optax.multi_transform(parts, decaying)
  params, state = start, mine.init(start)
  others = unstacked(start)
  their_state = theirs.init(others)
  for step in range(3):
    grads = draw(1 + step)
    updates, state = mine.update(grads, state, params)
    params = optax.apply_updates(params, updates)
    updates, their_state = theirs.update(unstacked(grads), their_state, others)
    others = optax.apply_updates(others, updates)
  for at, want in others.items():
    got = unstacked(params)[at]
    moved = np.abs(want - unstacked(start)[at]).max()
    assert moved > 0
    np.testing.assert_allclose(
      got, want, rtol=0, atol=1e-5 * moved + 2e-7 * np.abs(want).max()
    )
  assert set(decaying.values()) == ({True} if decay == 'all' else {True, False})


def test_a_layers_rate_scales_its_adapted_update():
  """Half the rate is half the step, and no other ratio."""
  start, grads = draw(0), draw(1)
  mask = optim.decays(start, heads.plan(CONFIG, 'mlm'))
  steps = []
  for decay in (1.0, 0.5):
    factors = optim.scales(start, 3, decay)
    transform = optim.adamw(1.0, mask=mask, factors=factors, trust=True)
    updates, _ = transform.update(grads, transform.init(start), start)
    steps.append(updates)
  halves = optim.scales(start, 3, 0.5)
  jax.tree.map(
    lambda a, b, f: np.testing.assert_allclose(b, a * f, rtol=1e-6),
    *steps,
    halves,
  )


@pytest.mark.parametrize('name', optim.OPTIMIZERS)
def test_moments_in_half_the_bytes(name):
  """200 steps of a regression: nearer than another order of the batches."""
  rng = np.random.default_rng(0)
  inputs = rng.normal(0, 1, (256, 16)).astype(np.float32)
  true = rng.normal(0, 1, (16, 4)).astype(np.float32)
  targets = inputs @ true + rng.normal(0, 0.1, (256, 4)).astype(np.float32)
  start = {'w': rng.normal(0, 0.5, (16, 4)).astype(np.float32)}
  rows = rng.integers(0, 256, (200, 32))

  def loss(params, x, y):
    return ((x @ params['w'] - y) ** 2).mean()

  ends, states = [], []
  for moments, order in (
    ('float32', rows),
    ('bfloat16', rows),
    ('float32', rows[::-1]),
  ):
    transform = optim.OPTIMIZERS[name](
      optim.schedule(0.05, 20, 200),
      mask={'w': True},
      factors={'w': 1.0},
      weight_decay=0.0,
      moments=moments,
    )

    @jax.jit
    def step(params, state, x, y, transform=transform):
      grads = jax.grad(loss)(params, x, y)
      updates, state = transform.update(grads, state, params)
      return optax.apply_updates(params, updates), state

    params, state = start, transform.init(start)
    for at in order:
      params, state = step(params, state, inputs[at], targets[at])
    ends.append(params['w'])
    states.append(state[0])
  full, half, other = (loss({'w': w}, inputs, targets) for w in ends)
  assert max(full, half, other) < loss(start, inputs, targets) / 1000
  gap = lambda a, b: np.linalg.norm(a - b)
  assert 0 < gap(ends[0], ends[1]) < gap(ends[0], ends[2]) / 2
  size = start['w'].nbytes
  assert [s.mu['w'].nbytes for s in states] == [size, size // 2, size]
  assert [s.nu['w'].nbytes for s in states] == [size] * 3
  assert states[1].mu['w'].dtype == jnp.bfloat16
  assert states[1].nu['w'].dtype == jnp.float32

  # The second moment is float32 under parameters that are not, too.
  small = jax.tree.map(lambda x: x.astype(jnp.bfloat16), start)
  state = transform.init(small)
  updates, state = transform.update(small, state, small)
  assert state[0].nu['w'].dtype == jnp.float32
  square = 0.001 * np.float32(small['w']) ** 2
  np.testing.assert_allclose(state[0].nu['w'], square, rtol=1e-6)
  assert optax.apply_updates(small, updates)['w'].dtype == jnp.bfloat16
  with pytest.raises(ValueError, match="moments 'half' is not one of float32"):
    optim.OPTIMIZERS[name](0.1, mask=None, factors=None, moments='half')
