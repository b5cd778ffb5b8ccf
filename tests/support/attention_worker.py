"""Run by test_attention.py in a process of its own, with eight fake devices.

Prints one JSON object: for each backend and mesh how far it is from one
device, what one example's change does to the others, where the output lies,
and the collectives of the compiled program.
"""

import json
import re

import jax
import jax.numpy as jnp
import numpy as np

from xlmr_jax.layers import attention
from xlmr_jax.runtime import sharding

ROWS, LENGTH, HEADS, WIDTH = 8, 128, 4, 16
SEGMENTS = np.tile(
  np.array([1] * 50 + [2] * 60 + [0] * 18, np.int32), (ROWS, 1)
)
REAL, PLATFORM = jax.nn.dot_product_attention, sharding.platform


def normal(seed, dtype):
  keys = jax.random.split(jax.random.key(seed), 4)
  shape = ROWS, LENGTH, HEADS, WIDTH
  return [jax.random.normal(key, shape).astype(dtype) for key in keys]


def both(backend):
  """A jitted function: q, k, v, gradient, segments → output and gradients."""

  def fn(q, k, v, grad, segments):
    attend = lambda q, k, v: attention.attention(
      q, k, v, segments, backend=backend
    )
    y, back = jax.vjp(attend, q, k, v)
    return [y, *back(grad)]

  return jax.jit(fn)


def stand_in(on):
  """A GPU to choose for, and XLA where cuDNN would be."""
  jax.nn.dot_product_attention = (
    (lambda *a, implementation, **k: REAL(*a, implementation='xla', **k))
    if on
    else REAL
  )
  sharding.platform = (lambda: 'gpu') if on else PLATFORM


def compare(backend, shape):
  dtype = jnp.bfloat16 if backend == 'cudnn' else jnp.float32
  other = SEGMENTS == 2
  arrays = normal(0, dtype)
  changed = [
    jnp.where(other[..., None, None], 300 * b, a).astype(dtype)
    for a, b in zip(arrays, normal(1, dtype), strict=True)
  ]
  alone = [np.float32(y) for y in both(backend)(*arrays, SEGMENTS)]
  mesh = sharding.make_mesh(shape)
  dims = 'batch', 'length', 'heads', 'width'
  layout = jax.sharding.NamedSharding(mesh, sharding.spec(*dims))
  rows = jax.sharding.NamedSharding(mesh, sharding.spec('batch'))
  put = lambda xs: [jax.device_put(x, layout) for x in xs]
  with jax.set_mesh(mesh):
    segments = jax.device_put(SEGMENTS, rows)
    program = both(backend).lower(*put(arrays), segments).compile()
    outputs = program(*put(arrays), segments)
    before = [np.float32(y) for y in outputs]
    after = [np.float32(y) for y in program(*put(changed), segments)]
  pairs = list(zip(before, after, strict=True))
  names = 'all-gather|all-reduce|all-to-all|reduce-scatter|collective-permute'
  return dict(
    off=max(
      float(np.sqrt(((a - b) ** 2).mean()))
      for a, b in zip(alone, before, strict=True)
    ),
    leak=max(float(np.abs(a - b)[~other].max()) for a, b in pairs),
    moved=min(float(np.abs(a - b)[other].max()) for a, b in pairs),
    spec=list(outputs[0].sharding.spec),
    collectives=sorted(set(re.findall(names, program.as_text()))),
  )


def refusal(shape, rows, heads):
  x = jnp.zeros((rows, LENGTH, heads, WIDTH))
  with jax.set_mesh(sharding.make_mesh(shape)):
    try:
      attention.attention(
        x, x, x, jnp.zeros((rows, LENGTH), jnp.int32), backend='splash'
      )
    except ValueError as error:
      return str(error)
  return ''


def main():
  facts = {}
  for shape in ((1, 2, 4), (2, 2, 2)):
    for backend in ('xla', 'splash', 'cudnn'):
      stand_in(backend == 'cudnn')
      facts[f'{backend} {shape}'] = compare(backend, shape)
  stand_in(False)
  facts['heads'] = refusal((1, 2, 4), 8, 6)
  facts['rows'] = refusal((1, 2, 4), 9, 4)
  print(json.dumps(facts))


if __name__ == '__main__':
  main()
