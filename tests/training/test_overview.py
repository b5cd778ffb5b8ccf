"""The table of parameters at the start of a run."""

import jax
from jax.sharding import AbstractMesh, NamedSharding
import numpy as np

from xlmr_jax import heads, model
from xlmr_jax.runtime import sharding
from xlmr_jax.training import overview

CONFIG = model.Config(
  vocab_size=52,
  num_layers=3,
  model_dim=16,
  num_heads=2,
  ff_dim=24,
  max_positions=12,
)


def test_a_row_for_each_array_and_the_values_of_numpy():
  mesh = sharding.make_mesh((-1, 1, 1))
  fresh = lambda key: heads.init(CONFIG, key, 'classify', 3)
  shapes = jax.eval_shape(fresh, jax.random.key(0))
  plan = heads.plan(CONFIG, 'classify')
  layout = sharding.shardings(shapes, plan, mesh)
  params = jax.jit(fresh, out_shardings=layout)(jax.random.key(0))
  header, *rows, total = overview.describe_parameters(params, mesh).split('\n')
  assert header.split() == 'parameter shape count mean std sharding'.split()
  leaves = jax.tree_util.tree_leaves_with_path(params)
  assert len(rows) == len(leaves)
  for row, (path, leaf) in zip(rows, leaves, strict=True):
    name, *shape, count, mean, std, where = row.split()
    assert name == jax.tree_util.keystr(path, simple=True, separator='/')
    assert shape == ' x '.join(map(str, leaf.shape)).split()
    assert int(count.replace(',', '')) == leaf.size
    assert [mean, std] == [f'{np.mean(leaf):.4f}', f'{np.std(leaf):.4f}']
    assert where == '-'
  size = sum(leaf.size for _, leaf in leaves)
  assert total.split() == ['total', f'{size:,}']
  row = next(r for r in rows if r.startswith('encoder/layers/ff/up/kernel '))
  assert '3 x 16 x 24' in row  # all layers in one row


def test_only_axes_that_cut_are_named():
  for sizes, want in (
    ((1, 1, 4, 2), 'tensor, fsdp'),
    ((1, 2, 4, 1), '-, fsdp'),
    ((1, 8, 1, 1), '-'),
  ):
    mesh = AbstractMesh(sizes, sharding.MESH)
    layout = NamedSharding(mesh, sharding.spec('vocab', 'model'))
    assert sharding.describe(layout) == want
  mesh = AbstractMesh((2, 1, 2, 1), sharding.MESH)
  rows = NamedSharding(mesh, sharding.spec('batch', 'length'))
  assert sharding.describe(rows) == 'slice+fsdp, -'
