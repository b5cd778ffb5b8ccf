"""Every backend keeps examples of a row apart and agrees with the plain one."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from xlmr_jax import attention

SEGMENTS = np.array([[1] * 50 + [2] * 60 + [0] * 18], np.int32)


def qkv(seed=0, length=128):
  keys = jax.random.split(jax.random.key(seed), 3)
  return [jax.random.normal(key, (1, length, 2, 16)) for key in keys]


def test_xla_is_softmax_inside_each_segment():
  q, k, v = qkv()
  got = attention.attention(q, k, v, SEGMENTS, backend='xla')
  for segment in (1, 2):
    at = SEGMENTS[0] == segment
    scores = np.einsum('lnh,snh->nls', q[0, at], k[0, at]) / np.sqrt(16)
    probs = np.exp(scores - scores.max(-1, keepdims=True))
    probs /= probs.sum(-1, keepdims=True)
    want = np.einsum('nls,snh->lnh', probs, v[0, at])
    np.testing.assert_allclose(got[0, at], want, atol=1e-5)


@pytest.mark.parametrize('backend', ['xla', 'loop', 'splash'])
def test_causal_is_softmax_over_what_came_before(backend):
  q, k, v = qkv()
  got = attention.attention(q, k, v, SEGMENTS, backend=backend, causal=True)
  for first, last in ((0, 50), (50, 110)):
    for at in (first, first + 1, first + 23, last - 1):
      seen = slice(first, at + 1)
      scores = np.einsum('nh,snh->ns', q[0, at], k[0, seen]) / np.sqrt(16)
      probs = np.exp(scores - scores.max(-1, keepdims=True))
      probs /= probs.sum(-1, keepdims=True)
      want = np.einsum('ns,snh->nh', probs, v[0, seen])
      np.testing.assert_allclose(got[0, at], want, atol=1e-5)


@pytest.mark.parametrize('causal', [False, True])
@pytest.mark.parametrize('backend', ['xla', 'loop', 'splash'])
def test_one_example_cannot_change_another(backend, causal):
  q, k, v = qkv()
  run = functools.partial(
    attention.attention, segments=SEGMENTS, backend=backend, causal=causal
  )
  other = SEGMENTS[0] == 2
  changed = [x.at[0, other].set(7.0 * i + 1) for i, x in enumerate(qkv(1))]
  changed = [
    jnp.where(other[None, :, None, None], c, x)
    for c, x in zip(changed, (q, k, v), strict=True)
  ]
  before, after = run(q, k, v), run(*changed)
  same = ~other
  np.testing.assert_array_equal(before[0, same], after[0, same])
  assert np.abs(before[0, other] - after[0, other]).max() > 0.1


@pytest.mark.parametrize('causal', [False, True])
@pytest.mark.parametrize('backend', ['loop', 'splash'])
def test_a_backend_agrees_with_xla_and_its_gradients_do(backend, causal):
  q, k, v = qkv()

  def loss(backend, q, k, v):
    out = attention.attention(q, k, v, SEGMENTS, backend=backend, causal=causal)
    return (out * jnp.cos(jnp.arange(16.0))).sum()

  plain, fused = (
    jax.value_and_grad(loss, argnums=(1, 2, 3))(b, q, k, v)
    for b in ('xla', backend)
  )
  np.testing.assert_allclose(plain[0], fused[0], rtol=1e-5)
  for a, b in zip(plain[1], fused[1], strict=True):
    np.testing.assert_allclose(a, b, atol=2e-5)


def test_dropout_keeps_the_mean_and_needs_xla():
  q, k, v = qkv()
  run = lambda key: attention.attention(
    q, k, jnp.ones_like(v), SEGMENTS, backend='xla', dropout=0.5, key=key
  )
  mean = jnp.mean(
    jnp.stack([run(k) for k in jax.random.split(jax.random.key(3), 40)])
  )
  assert abs(float(mean) - 1) < 0.02
  with pytest.raises(ValueError, match='no dropout'):
    attention.choose('cudnn', jnp.bfloat16, 128, 0.1)
  with pytest.raises(ValueError, match='not one of'):
    attention.choose('flash', jnp.bfloat16, 128, 0.0)


def test_auto_on_a_cpu(monkeypatch):
  assert attention.choose('auto', jnp.float32, 128, 0.0) == 'xla'
  # A loop over heads would gather them where they lie on several devices.
  for devices, wanted in ((1, 'loop'), (8, 'xla')):
    monkeypatch.setattr(jax, 'device_count', lambda n=devices: n)
    assert attention.choose('auto', jnp.float32, 512, 0.0) == wanted
    assert attention.choose('auto', jnp.float32, 512, 0.1) == 'xla'
