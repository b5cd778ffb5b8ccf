"""The optimizer: rates, what decays, layer-wise rates, freezing, clipping."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from xlmr_jax import heads, hf_words, model, optim

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
  rows = hf_words.table(CONFIG, head, 3)
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
  transform = optim.adamw(
    0.1,
    mask=optim.decays(params, heads.plan(CONFIG, 'mlm'), 'all'),
    factors=optim.scales(params, 3, 0.9, freeze),
  )
  target = draw(1)

  def loss(params):
    pairs = zip(jax.tree.leaves(params), jax.tree.leaves(target), strict=True)
    return sum(((p - t) ** 2).sum() for p, t in pairs)

  grad = jax.grad(optim.hold(loss, freeze))
  grads = flat(grad(params))
  for path in grads:  # nor do they count when the others are clipped
    assert held(path) == (not grads[path].any()), path
  state = transform.init(params)
  for _ in range(3):
    updates, state = transform.update(grad(params), state, params)
    params = optax.apply_updates(params, updates)
  for path, before in flat(start).items():
    after = np.asarray(flat(params)[path])
    assert held(path) == (after.tobytes() == before.tobytes()), path


def test_freezing_nothing_is_an_error():
  # A prefix ends where a name ends.
  for prefix in ('encoder/embedd', 'encoder/emb', 'pooler'):
    with pytest.raises(ValueError, match=f"starts with '{prefix}'"):
      optim.scales(shapes(), 3, 1.0, ('encoder/embed', prefix))
  loss = lambda params: 0.0
  assert optim.hold(loss) is loss


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
