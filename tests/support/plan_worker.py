"""Run by test_plan.py in a process of its own, with eight fake devices.

Prints one JSON object: collectives of programs that can be counted by hand,
bytes of real arrays beside what is said of them, and what is refused how.
"""

import json
import re

import jax

jax.config.update('jax_platforms', 'cpu')
jax.config.update('jax_num_cpu_devices', 8)

import jax.numpy as jnp  # noqa: E402
from jax.sharding import PartitionSpec as P  # noqa: E402
import numpy as np  # noqa: E402

from configs import pretrain  # noqa: E402
from xlmr_jax.plan import aot, hlo  # noqa: E402
from xlmr_jax.runtime import sharding  # noqa: E402

MESH = sharding.make_mesh((2, 2, 2))
SIZES = dict(MESH.shape)


def found(fn, x, spec, out, strip=False):
  """[kind, axes, bytes, sent, count] of each collective of a program."""
  run = jax.shard_map(
    fn, mesh=MESH, in_specs=spec, out_specs=out, check_vma=False
  )
  text = jax.jit(run).lower(x).compile().as_text()
  if strip:  # as a compiler that does not say how often loops run
    text, many = re.subn(r'"known_trip_count":\{[^}]*\}', '"x":"0"', text)
    assert many
  program = hlo.Program(text)
  return {
    'found': sorted(
      [one.kind, '+'.join(one.axes(SIZES)), one.bytes, one.sent, one.count]
      for one in program.collectives()
    ),
    'unknown': len(program.unknown),
  }


def nested(x):
  """3 x 5 gathers over fsdp and 3 sums over data, inside two loops."""

  def inner(_, x):
    whole = jax.lax.all_gather(x, 'fsdp', axis=0, tiled=True)
    return whole[: x.shape[0]] * 0.5 + jnp.sin(x)

  def outer(_, x):
    x = jax.lax.fori_loop(0, 5, inner, x)
    return x + jax.lax.psum(jnp.cos(x), 'data')

  return jax.lax.fori_loop(0, 3, outer, x)


def strides(x):
  """Sums over tensor with i = 2, 5, 8, 11."""

  def body(state):
    i, x = state
    return i + 3, jnp.sin(x + jax.lax.psum(x, 'tensor'))

  return jax.lax.while_loop(lambda s: s[0] < 12, body, (2, x))[1]


def every(x):
  """One of each kind, over one axis or two."""
  y = jax.lax.psum_scatter(x, ('data', 'fsdp'), tiled=True)
  y = jax.lax.all_to_all(y, 'tensor', 1, 0, tiled=True)
  y = jax.lax.ppermute(jnp.sin(y), 'data', [(0, 1), (1, 0)])
  return jax.lax.all_gather(y, ('fsdp', 'tensor'), axis=1, tiled=True)


def memory():
  """Bytes on a device: of real arrays, and what is said; twice."""
  out = []
  for mesh in ((1, 4, 2), (2, 2, 2), (8, 1, 1)):
    config = tiny()
    config.mesh = mesh
    one = aot.make_target(config, 'h100:8', 2900)
    with jax.set_mesh(one.mesh):
      make = jax.jit(
        lambda shapes=one.step.shapes: jax.tree.map(
          lambda s: jnp.zeros(s.shape, s.dtype), shapes
        ),
        out_shardings=one.step.layout,
      )
      params = make()
      state = one.step.fresh_state(params)
    out.append(
      [
        *(real(params), real(state)),
        aot.shard_bytes(one.step.shapes, one.step.layout),
        aot.shard_bytes(one.step.state_shapes, one.step.state_layout),
      ]
    )
  return out


def real(tree):
  """Bytes that a tree of arrays has on each device, which is the same."""
  held = np.zeros(8, int)
  for leaf in jax.tree.leaves(tree):
    for shard in leaf.addressable_shards:
      held[shard.device.id] += shard.data.nbytes
  assert len(set(held)) == 1
  return int(held[0])


def tiny():
  config = pretrain.get_config('model=tiny')
  config.sizes.num_heads = 4
  return config


def refused():
  """What is said of settings that do not fit."""
  out = {}
  for name, topology, change in (
    ('mesh', 'h100:8', dict(mesh=(3, 1, 1))),
    ('two wild', 'h100:8', dict(mesh=(-1, -1, 1))),
    ('heads', 'h100:8', dict(mesh=(1, 1, 8))),
    ('rows', 'h100:8', dict(batch_tokens=64 * 12)),
    ('accumulate', 'h100:8', dict(accumulate=3)),
    ('no accumulate', 'h100:8', dict(accumulate=0)),
    ('part of a row', 'h100:8', dict(batch_tokens=64 * 16 + 1)),
    ('few devices', 'h100:2x8', {}),
    ('slices', 'h100:8', dict(slices=3)),
    ('nodes', 'h100:3x2', dict(slices=2)),
    ('generation', 'v9:2x2', {}),
    ('axes', 'v5p:4x4', {}),
    ('words', 'v5e:axb', {}),
    ('words', 'h100:', {}),
    ('variant', 'h100:8', dict(variant='huge')),
    ('objective', 'h100:8', dict(objective='retrieve')),
  ):
    config = tiny()
    config.update(change)
    try:
      aot.make_target(config, topology, 2900)
      out[name] = None
    except ValueError as error:
      out[name] = str(error)
  return out


if __name__ == '__main__':
  x = jnp.zeros((16, 64))
  cut = P(('data', 'fsdp'), 'tensor')
  print(
    json.dumps(
      {
        'nested': found(nested, x, cut, cut),
        'nested, unsaid': found(nested, x, cut, cut, strip=True),
        'strides': found(strides, x, cut, cut, strip=True),
        'every': found(every, x, P(None, 'tensor'), P(('data', 'fsdp'))),
        'memory': memory(),
        'refused': refused(),
      }
    )
  )
