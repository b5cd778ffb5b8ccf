"""Run by test_mesh.py in a process of its own, with eight fake devices.

Prints one JSON object: for each mesh (and for accumulation) the largest
differences from one device, and facts of the compiled program.
"""

import dataclasses
import json
import re
import tempfile

import jax
import numpy as np

from configs import common
from xlmr_jax import heads, model
from xlmr_jax.checkpoints.hf import writer
from xlmr_jax.checkpoints.weights import Weights
from xlmr_jax.inference import loaded
from xlmr_jax.layers import dropout
from xlmr_jax.runtime import sharding
from xlmr_jax.tasks import schemes
from xlmr_jax.training import objectives, step

CONFIG = dataclasses.replace(
  model.VARIANTS['tiny'],
  vocab_size=2900,
  vocab_multiple=1024,
  num_layers=2,
  model_dim=64,
  num_heads=4,
  ff_dim=128,
  max_positions=66,
  dropout=0.0,
  attention_dropout=0.0,
)
ROWS, LENGTH, STEPS = 16, 64, 5
OBJECTIVE = objectives.mlm(
  CONFIG, mask_id=2899, special_ids=(0, 1, 2, 3, 2899), pieces=(4, 2899)
)


def mesh_of(shape):
  """(data, fsdp, tensor), or with the number of slices before them."""
  *slices, data, fsdp, tensor = shape
  devices = jax.devices()[: int(np.prod(shape))]
  return sharding.make_mesh((data, fsdp, tensor), *slices, devices=devices)


def batch(step):
  rng = np.random.default_rng(step)
  tokens = rng.integers(4, 2899, (ROWS, LENGTH)).astype(np.int32)
  segments = np.ones_like(tokens)
  segments[:, 30:] = 2
  segments[:, 60:] = 0
  tokens[:, [0, 30]], tokens[:, [29, 59]] = 0, 2
  tokens[:, 60:] = 1
  # Rows differ in length, so that means of means would be wrong.
  for row in range(0, ROWS, 3):
    tokens[row, 30:], segments[row, 30:] = 1, 0
  positions = np.tile(np.arange(LENGTH), (ROWS, 1))
  positions[:, 30:] -= 30
  positions[segments == 0] = 0
  return dict(
    tokens=tokens, segments=segments, positions=positions.astype(np.int32)
  )


def run(shape, accumulate=1, dropout=0.0):
  """(gradients of step 0, parameters after STEPS, compiled text)."""
  config = dataclasses.replace(CONFIG, dropout=dropout)
  objective = (
    OBJECTIVE
    if not dropout
    else objectives.mlm(
      config, mask_id=2899, special_ids=(0, 1, 2, 3, 2899), pieces=(4, 2899)
    )
  )
  mesh = mesh_of(shape)
  recipe = common.base()
  recipe.accumulate, recipe.seed = accumulate, 3
  recipe.optim.update(learning_rate=1e-3, warmup=0, layer_decay=0.9)
  trained = step.build(config, objective, recipe, 10 * STEPS, mesh)
  make = lambda key: heads.init(config, key, 'mlm')
  with jax.set_mesh(mesh):
    params = jax.jit(make, out_shardings=trained.layout)(jax.random.key(1))
    state = trained.fresh_state(params)

    def loss(params, batch):
      batch = objective.prepare(batch, jax.random.key(5))
      sums = objective.loss(params, batch, None)
      return sums['loss'][0].sum() / sums['loss'][1].sum()

    first = sharding.place_batch(batch(0), mesh)
    grads = jax.device_get(jax.jit(jax.grad(loss))(params, first))
    lowered = trained.update.lower(params, state, first)
    text = lowered.as_text(), lowered.compile().as_text()
    for number in range(STEPS):
      params, state, _ = trained.update(
        params, state, sharding.place_batch(batch(number), mesh)
      )
  return grads, jax.device_get(params), text


def difference(a, b, floor=0.0, free=()):
  """Largest difference, and the largest relative to its leaf's own scale.

  A key's bias shifts all scores of a query alike: its gradient is zero but
  for rounding, and it is held against the largest gradient of all, as are the
  leaves that `free` names. No leaf is held against less than `floor` times
  that.
  """
  a, b = (
    {
      jax.tree_util.keystr(k): v
      for k, v in jax.tree_util.tree_leaves_with_path(t)
    }
    for t in (a, b)
  )
  off = {name: np.abs(a[name] - b[name]).max() for name in a}
  size = {name: np.abs(a[name]).max() for name in a}
  top = max(size.values())
  for name in size:
    size[name] = max(size[name], floor * top)
    if any(part in name for part in ("['key']['bias']", *free)):
      size[name] = top
  relative = {name: float(off[name] / size[name]) for name in a}
  worst = max(relative, key=relative.get)
  return float(max(off.values())), (relative[worst], worst)


LABELS = ('O', 'B-A', 'I-A', 'B-B', 'I-B')
# Heads that the loop above has not, each on XL's body.
OTHERS = {
  'crf': lambda config: objectives.crf(
    config, LABELS, schemes.allowed('BIO', LABELS)
  ),
  'choose': objectives.choose,
  'answer': objectives.answer,
  'causal': objectives.causal,
}


def labelled(name):
  """A batch with labels for a head; a row is a question."""
  rng = np.random.default_rng(1)
  out = batch(0)
  second = out['segments'][:, 30] == 2
  starts = np.stack([np.zeros(ROWS), np.where(second, 30, 0)], 1)
  slots = np.stack([np.ones(ROWS, bool), second], 1)
  group = np.where(slots, np.arange(ROWS)[:, None], -1)
  gold = np.zeros(slots.shape, bool)
  gold[np.arange(ROWS), slots.sum(1) - 1] = True
  ends = np.sort(rng.integers(0, 30, (ROWS, 2, 2)), -1)
  tags = rng.choice([0, 1, 3], (ROWS, LENGTH))
  hidden = (out['segments'] == 0) | (rng.random(tags.shape) < 0.3)
  labels = {
    'crf': np.where(hidden, -1, tags),
    'choose': np.where(slots, gold, -1),
    'answer': np.where(slots[..., None], ends, -1),
  }
  more = {'starts': starts, 'group': group, 'labels': labels.get(name)}
  if name == 'causal':
    more = {}
  return out | {k: v.astype(np.int32) for k, v in more.items()}


def other_gradients(name, shape):
  """Gradients of one of OTHERS; and the largest loop-carried collective."""
  config = dataclasses.replace(CONFIG, pre_norm=True, causal=name == 'causal')
  objective = OTHERS[name](config)
  mesh = mesh_of(shape)
  make = lambda key: heads.init(config, key, name, len(LABELS))
  shapes = jax.eval_shape(make, jax.random.key(0))
  layout = sharding.shardings(shapes, heads.plan(config, name), mesh)

  def loss(params, batch):
    batch = objective.prepare(batch, jax.random.key(5))
    sums = objective.loss(params, batch, None)
    return sums['loss'][0].sum() / sums['loss'][1].sum()

  with jax.set_mesh(mesh):
    # Drawn on one device and then placed: the draw is not what is compared.
    params = jax.jit(make)(jax.random.key(1))
    params = jax.tree_util.tree_map_with_path(
      lambda path, x: x * (3 if path[-1].key == 'kernel' else 1),
      jax.device_get(params),
    )
    placed = sharding.place(params, layout)
    inputs = sharding.place_batch(labelled(name), mesh)
    return jax.device_get(jax.jit(jax.grad(loss))(placed, inputs))


def loads():
  """A checkpoint placed on meshes straight from its files: same logits?"""
  config = dataclasses.replace(CONFIG, pre_norm=True, vocab_multiple=1)
  params = jax.device_get(
    jax.jit(lambda key: heads.init(config, key, 'mlm'))(jax.random.key(2))
  )
  examples = [[0, *range(5, 20), 2], [0, 2898, 7, 2]]
  with tempfile.TemporaryDirectory() as folder:
    writer.write(folder, Weights(config, params, 'mlm'), overwrite=True)
    alone = loaded.Loaded(Weights(config, params, 'mlm')).logits(examples)
    off = 0.0
    for shape in ((8, 1, 1), (2, 2, 2), (1, 2, 4)):
      mesh = sharding.make_mesh(shape)
      model = loaded.load(folder, mesh=mesh)
      table = model.params['encoder']['embed']['tokens']
      pieces = {shard.data.shape for shard in table.addressable_shards}
      _, fsdp, tensor = shape
      rows = 3072 // tensor if tensor > 1 else 2900  # cut: padded
      assert pieces == {(rows, 64 // fsdp)}, pieces
      for got, want in zip(model.logits(examples), alone, strict=True):
        off = max(off, float(np.abs(got - want).max()))
  return off


def rbg_dropout(rate=0.25):
  """Dropout of ones on (2, 2, 2), where each device draws its own rows."""
  mesh = sharding.make_mesh((2, 2, 2))
  drop = dropout.Dropout(rate)
  shape = (ROWS, LENGTH, CONFIG.model_dim)

  @jax.jit
  def draw(x, key):
    x = sharding.shard(x, 'batch', 'length', 'width')
    return drop.apply({}, x, True, rngs={'dropout': key})

  with jax.set_mesh(mesh):
    key = jax.random.key(0, impl='rbg')
    # The CPU compiler writes the generator out: it is seen before that only.
    text = draw.lower(np.ones(shape, np.float32), key).as_text()
    out = draw(np.ones(shape, np.float32), key)
  rows = {}
  for part in out.addressable_shards:
    rows.setdefault(part.index[0].start, []).append(np.asarray(part.data))
  firsts = [copies[0] for copies in rows.values()]
  return {
    'values': sorted({float(x) for x in np.unique(out)}),
    'kept': [float((part > 0).mean()) for part in firsts],
    # What the tensor axis holds twice is the same twice.
    'copies': [
      len(copies) == 2 and bool((copies[0] == copies[1]).all())
      for copies in rows.values()
    ],
    'alike': max(
      float(((a > 0) == (b > 0)).mean())
      for i, a in enumerate(firsts)
      for b in firsts[:i]
    ),
    'drawn': re.findall(r'rng_bit_generator.*tensor<([\dx]+)xui32>', text),
  }


def gathered(text):
  """Shapes that all-gathers produce."""
  found = re.findall(r'= \(?(\w+\[[\d,]*\])[^=\n]* all-gather', text)
  return sorted(set(found))


def main():
  one = run((1, 1, 1))
  two = run((1, 1, 1), dropout=0.1)
  start = heads.init(CONFIG, jax.random.key(1), 'mlm')
  out = {'moved': difference(jax.device_get(start), one[1])[0]}
  for shape in ((8, 1, 1), (2, 2, 2), (1, 2, 4), (2, 1, 2, 2)):
    got = run(shape)
    out[str(shape)] = {
      'gradients': difference(one[0], got[0]),
      'parameters': difference(one[1], got[1]),
      'constraints': got[2][0].count('sdy.sharding_constraint'),
      'all_gathers': gathered(got[2][1]),
    }
  got = run((2, 2, 2), dropout=0.1)
  out['dropout'] = {'parameters': difference(two[1], got[1])}
  out['rbg'] = rbg_dropout()
  for shape in ((1, 1, 1), (2, 1, 2)):
    got = run(shape, accumulate=4)
    out[f'accumulate {shape}'] = {'parameters': difference(one[1], got[1])}
  out['heads'] = {
    name: difference(
      other_gradients(name, (1, 1, 1)),
      other_gradients(name, (2, 2, 2)),
      floor=0.01,
      # All scores of a question or an example compete.
      free=("['out']['bias']",) if name in ('choose', 'answer') else (),
    )[1]
    for name in OTHERS
  }
  out['loads'] = loads()
  print(json.dumps(out))


if __name__ == '__main__':
  main()
