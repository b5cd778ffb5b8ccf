"""Masking draws what BERT draws; losses are sums that add up."""

import dataclasses

import jax
import numpy as np
import pytest

from xlmr_jax import heads, model, objectives

SPECIAL = (0, 1, 2, 3, 99)
DRAW = dict(mask_id=99, special_ids=SPECIAL, pieces=(4, 99))


def rows(count=64, length=40, real=33):
  rng = np.random.default_rng(0)
  tokens = rng.integers(4, 99, (count, length)).astype(np.int32)
  tokens[:, 0], tokens[:, 9], tokens[:, 10] = 0, 2, 0
  tokens[:, real - 1], tokens[:, real:] = 2, 1
  segments = np.ones_like(tokens)
  segments[:, 10:] = 2
  segments[:, real:] = 0
  positions = np.tile(np.arange(length), (count, 1))
  positions[:, 10:] -= 10
  return tokens, segments, positions.astype(np.int32)


def test_number_masked_is_exact_in_expectation():
  tokens, segments, _ = rows(4096)
  drawn = objectives.mask_tokens(tokens, segments, jax.random.key(0), **DRAW)
  n = 33 - 4
  per_row = np.asarray(drawn['weights'].sum(-1))
  assert set(per_row) == {np.floor(0.15 * n), np.floor(0.15 * n) + 1}
  error = 3 * np.std(per_row) / np.sqrt(len(per_row))
  assert abs(per_row.mean() - 0.15 * n) < error


def test_kinds_of_replacement_and_what_is_never_chosen():
  tokens, segments, _ = rows(4096)
  drawn = jax.tree.map(
    np.asarray,
    objectives.mask_tokens(tokens, segments, jax.random.key(1), **DRAW),
  )
  on = drawn['weights'] > 0
  targets = drawn['targets'][on]
  shown = np.take_along_axis(drawn['tokens'], drawn['masked'], 1)[on]
  assert not np.isin(targets, SPECIAL).any()
  np.testing.assert_array_equal(
    np.take_along_axis(tokens, drawn['masked'], 1)[on], targets
  )
  masked, kept = shown == 99, shown == targets
  assert abs(masked.mean() - 0.8) < 0.02
  assert abs(kept.mean() - 0.1 - 0.1 / 95) < 0.02
  other = shown[~masked & ~kept]
  assert other.min() >= 4 and other.max() < 99
  # Every other token stays as it was.
  unchanged = drawn['tokens'] == tokens
  np.put_along_axis(unchanged, drawn['masked'], True, 1)
  assert unchanged.all()
  # No position twice.
  for row, valid in zip(drawn['masked'][:50], on[:50], strict=True):
    assert len(set(row[valid])) == valid.sum()


def test_capacity_is_static_and_enough():
  assert objectives.capacity(512, 0.15) == 78
  full = np.full((8, 16), 5, np.int32)
  drawn = objectives.mask_tokens(
    full, np.ones_like(full), jax.random.key(0), **DRAW, rate=0.5
  )
  assert drawn['masked'].shape == (8, objectives.capacity(16, 0.5))
  np.testing.assert_array_equal(drawn['weights'].sum(-1), 8)


@pytest.fixture(scope='module')
def tiny():
  config = dataclasses.replace(
    model.VARIANTS['tiny'],
    vocab_size=100,
    vocab_multiple=64,
    num_layers=2,
    model_dim=32,
    num_heads=2,
    ff_dim=64,
    max_positions=50,
  )
  params = heads.init(config, jax.random.key(0), 'mlm')
  tokens, segments, positions = rows(8)
  return (
    config,
    params,
    dict(tokens=tokens, segments=segments, positions=positions),
  )


def test_mlm_in_chunks_is_mlm(tiny):
  config, params, batch = tiny
  whole, parts = (
    objectives.mlm(config, chunk=chunk, **DRAW) for chunk in (0, 3)
  )
  batch = whole.prepare(batch, jax.random.key(2))
  value = lambda objective: jax.value_and_grad(
    lambda p: objective.loss(p, batch, None)['loss'][0].sum()
  )(params)
  (a, grad_a), (b, grad_b) = value(whole), value(parts)
  np.testing.assert_allclose(a, b, rtol=1e-6)
  jax.tree.map(
    lambda x, y: np.testing.assert_allclose(x, y, atol=1e-5), grad_a, grad_b
  )
  loss, count = map(np.sum, whole.loss(params, batch, None)['loss'])
  assert abs(loss / count - np.log(100)) < 0.1  # fresh: uniform


def test_padded_vocabulary_gets_no_probability_and_no_gradient(tiny):
  config, params, batch = tiny
  objective = objectives.mlm(config, **DRAW)
  batch = objective.prepare(batch, jax.random.key(2))
  grads = jax.grad(lambda p: objective.loss(p, batch, None)['loss'][0].sum())(
    params
  )
  assert config.rows == 128
  np.testing.assert_array_equal(grads['head']['bias'][100:], 0)
  np.testing.assert_array_equal(grads['encoder']['embed']['tokens'][100:], 0)
  assert np.abs(grads['head']['bias'][:100]).max() > 0


def test_classify_and_regression_ignore_empty_slots(tiny):
  config, _, batch = tiny
  params = heads.init(config, jax.random.key(1), 'classify', 3)
  batch = dict(batch, starts=np.tile([0, 10, 0], (8, 1)).astype(np.int32))
  labels = np.tile([2, 1, -1], (8, 1)).astype(np.int32)
  sums = objectives.classify(config, classes=3).loss(
    params, dict(batch, labels=labels), None
  )
  np.testing.assert_array_equal(sums['loss'][1], [2] * 8)
  np.testing.assert_array_equal(sums['accuracy'][1], [2] * 8)
  np.testing.assert_allclose(sums['loss'][0] / 2, np.log(3), atol=0.05)

  params = heads.init(config, jax.random.key(1), 'classify', 1)
  numbers = np.tile([0.5, -1.0, np.nan], (8, 1)).astype(np.float32)
  loss = lambda p: objectives.regression(config).loss(
    p, dict(batch, labels=numbers), None
  )['loss']
  total, count = map(np.sum, loss(params))
  assert count == 16 and abs(total / 16 - (0.25 + 1) / 2) < 0.2
  grads = jax.grad(lambda p: loss(p)[0].sum())(params)
  assert all(np.isfinite(g).all() for g in jax.tree.leaves(grads))
