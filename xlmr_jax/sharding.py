"""Where every dimension lives on the mesh.

Two tables decide the layout of a run. PLAN (model.py, heads.py) says which
dimensions a parameter has; AXES below says where a dimension goes. This is
the only file that says `data`, `fsdp` or `tensor`: another policy is another
AXES, and no layer changes.

  data    copies of the model, each with its own rows
  fsdp    rows again, and parameters cut along their model width
  tensor  vocabulary, heads and feed-forward width cut
"""

from collections.abc import Mapping
import math

import jax
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec
import numpy as np

MESH = ('data', 'fsdp', 'tensor')

# Dimension → mesh axes. `model` is D as a parameter's dimension (cut over
# fsdp at rest), `width` is D of an activation or an output (whole).
AXES: dict[str, str | tuple[str, ...] | None] = {
  'batch': ('data', 'fsdp'),
  'vocab': 'tensor',
  'model': 'fsdp',
  'heads': 'tensor',
  'ff': 'tensor',
  'layers': None,
  'positions': None,
  'types': None,
  'classes': None,
  'norm': None,
  'width': None,
  'length': None,
}


def make_mesh(shape: tuple[int, int, int] = (-1, 1, 1)) -> Mesh:
  """A (data, fsdp, tensor) mesh over all devices; one -1 takes the rest.

  Raises:
    ValueError: the product is not the number of devices.
  """
  devices = jax.device_count()
  shape = tuple(shape)
  if len(shape) != len(MESH):
    raise ValueError(f'mesh {shape} must give three sizes: data, fsdp, tensor')
  known = math.prod(n for n in shape if n != -1)
  if shape.count(-1) == 1 and known > 0 and devices % known == 0:
    shape = tuple(devices // known if n == -1 else n for n in shape)
  if math.prod(shape) != devices or min(shape) < 1:
    raise ValueError(
      f'mesh (data, fsdp, tensor) = {shape} does not fit {devices} devices: '
      'set config.mesh to three sizes whose product is that, or leave one -1'
    )
  # make_mesh defaults to Explicit axes, which Linen does not support.
  return jax.make_mesh(shape, MESH, axis_types=(AxisType.Auto,) * len(MESH))


def spec(*dims: str | None) -> PartitionSpec:
  """Names of dimensions → their mesh axes. None stays whole."""
  return PartitionSpec(*(AXES[d] if d is not None else None for d in dims))


def shard(x: jax.Array, *dims: str | None) -> jax.Array:
  """Constrains an activation to its layout; nothing outside a mesh."""
  if jax.sharding.get_abstract_mesh().empty:
    return x
  return jax.lax.with_sharding_constraint(x, spec(*dims))


def _size(mesh: Mesh, axes: str | tuple[str, ...] | None) -> int:
  names = (axes,) if isinstance(axes, str) else (axes or ())
  return math.prod(mesh.shape[n] for n in names)


def shardings(tree, dims: Mapping[str, tuple[str, ...]], mesh: Mesh):
  """A tree of arrays or shapes → the same tree of NamedSharding.

  Args:
    tree: nested dict of arrays or ShapeDtypeStructs.
    dims: PLAN: 'path/to/leaf' → names of its dimensions.
    mesh: from make_mesh.

  Raises:
    ValueError: a path that PLAN lacks, or a dimension the mesh cuts unevenly.
  """

  def one(path, leaf):
    name = '/'.join(str(getattr(p, 'key', p)) for p in path)
    if name not in dims:
      raise ValueError(f'parameter {name!r} has no row in PLAN')
    names = dims[name]
    for dim, size in zip(names, leaf.shape, strict=True):
      count = parts(dim, mesh)
      if size % count:
        raise ValueError(
          f'{name}: dimension {dim!r} of {size} is not divisible by its '
          f'{count} mesh parts ({AXES[dim]}); change the mesh'
        )
    return NamedSharding(mesh, spec(*names))

  return jax.tree_util.tree_map_with_path(one, tree)


def place(tree, layout, dtype=None):
  """Host arrays → device arrays in their shardings, shard by shard.

  Args:
    tree: arrays, or lazy ones: of those only this host's shards are read.
    layout: the same tree of shardings.
    dtype: what to cast them to.
  """

  def one(array, sharding):
    if not hasattr(array, 'resized'):
      array = np.asarray(array)
    return jax.make_array_from_callback(
      array.shape,
      sharding,
      lambda index: np.asarray(array[index], dtype and jax.numpy.dtype(dtype)),
    )

  return jax.tree.map(one, tree, layout)


def check_rows(rows: int, mesh: Mesh) -> None:
  """Raises ValueError where the mesh does not divide a batch of rows."""
  parts = row_parts(mesh)
  if rows % parts:
    raise ValueError(
      f'{rows} rows in a batch are not divisible by the {parts} parts of '
      f'mesh axes {AXES["batch"]}; change the batch size, the accumulation '
      'or config.mesh'
    )


def row_parts(mesh: Mesh) -> int:
  """Into how many parts the mesh cuts a batch of rows."""
  return parts('batch', mesh)


def parts(dim: str, mesh: Mesh) -> int:
  """Into how many parts the mesh cuts a dimension."""
  return _size(mesh, AXES[dim])


def place_batch(batch: Mapping[str, np.ndarray], mesh: Mesh):
  """This host's rows → global arrays, cut over the mesh along rows.

  Raises:
    ValueError: the mesh does not divide the rows of all hosts.
  """
  for array in batch.values():
    check_rows(len(array) * jax.process_count(), mesh)
  layout = NamedSharding(mesh, spec('batch'))
  return {
    name: jax.make_array_from_process_local_data(layout, array)
    for name, array in batch.items()
  }


def place_all(batch: Mapping[str, np.ndarray], mesh: Mesh):
  """Rows that every host holds in full → global arrays, cut along rows.

  Raises:
    ValueError: the mesh does not divide them.
  """
  for array in batch.values():
    check_rows(len(array), mesh)
  layout = NamedSharding(mesh, spec('batch'))
  return place(dict(batch), {name: layout for name in batch})


def local(fn, in_dims: tuple, out_dims: tuple):
  """Runs fn on each device's own block (Pallas kernels need this).

  Outside a mesh fn comes back as it is.
  """
  if jax.sharding.get_abstract_mesh().empty:
    return fn
  return jax.shard_map(
    fn,
    in_specs=tuple(spec(*d) for d in in_dims),
    out_specs=spec(*out_dims),
    check_vma=False,
  )


def whole(mesh: Mesh) -> NamedSharding:
  """Every device holds all of it."""
  return NamedSharding(mesh, PartitionSpec())


def abstract(shapes, layout):
  """Shapes and shardings → ShapeDtypeStructs that carry both."""
  return jax.tree.map(
    lambda s, where: jax.ShapeDtypeStruct(s.shape, s.dtype, sharding=where),
    shapes,
    layout,
  )


def like(tree, layout, mesh: Mesh):
  """Shardings of a tree that holds copies of the parameters.

  Optimizer moments lie as their parameters do: a leaf whose path ends in a
  parameter's whole path takes its sharding; all else stays whole.
  """
  known = {
    tuple(p.key for p in path): where
    for path, where in jax.tree_util.tree_leaves_with_path(layout)
  }

  def one(path, leaf):
    keys = tuple(p.key for p in path if isinstance(p, jax.tree_util.DictKey))
    for first in range(len(keys)):
      if keys[first:] in known:
        return known[keys[first:]]
    return whole(mesh)

  return jax.tree_util.tree_map_with_path(one, tree)
