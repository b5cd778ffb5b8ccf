"""Where every dimension lives on the mesh.

Two tables decide the layout of a run. PLAN (model.py, heads.py) says which
dimensions a parameter has; AXES below says where a dimension goes. This is
the only file that says `data`, `fsdp` or `tensor`: another policy is another
AXES, and no layer changes.

  slice   copies again, on TPU slices that only a slower network joins
  data    copies of the model, each with its own rows
  fsdp    rows again, and parameters cut along their model width
  tensor  vocabulary, heads and feed-forward width cut
"""

from collections.abc import Callable, Mapping, Sequence
import math

import jax
from jax.experimental import mesh_utils
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec
import numpy as np

MESH = ('slice', 'data', 'fsdp', 'tensor')
SLICE, DATA, FSDP, TENSOR = MESH

# Dimension → mesh axes. `model` is D as a parameter's dimension (cut over
# fsdp at rest), `width` is D of an activation or an output (whole).
AXES: dict[str, str | tuple[str, ...] | None] = {
  'batch': ('slice', 'data', 'fsdp'),
  'rows': ('slice', 'data'),
  'vocab': 'tensor',
  'model': 'fsdp',
  'heads': 'tensor',
  'ff': 'tensor',
  'layers': None,
  'positions': None,
  'types': None,
  'classes': None,
  'norm': None,
  'rank': None,
  'width': None,
  'length': None,
}


def make_mesh(
  shape: Sequence[int] = (-1, 1, 1), slices: int = 1, devices=None
) -> Mesh:
  """A mesh over all devices.

  Args:
    shape: sizes of data, fsdp and tensor in a slice; one -1 takes the rest.
    slices: TPU slices, or groups of hosts, joined by a slower network; only
      sums of gradients cross it.
    devices: which; all there are by default.

  Raises:
    ValueError: the product is not the number of devices.
  """
  devices = jax.devices() if devices is None else list(devices)
  shape = tuple(shape)
  if len(shape) != 3:
    raise ValueError(f'mesh {shape} must give three sizes: data, fsdp, tensor')
  if slices < 1 or len(devices) % slices:
    raise ValueError(
      f'config.slices={slices} does not divide the {len(devices)} devices'
    )
  count = len(devices) // slices
  known = math.prod(n for n in shape if n != -1)
  if shape.count(-1) == 1 and known > 0 and count % known == 0:
    shape = tuple(count // known if n == -1 else n for n in shape)
  if math.prod(shape) != count or min(shape) < 1:
    there = f'{count} devices' + f' in each of {slices} slices' * (slices > 1)
    raise ValueError(
      f'mesh (data, fsdp, tensor) = {shape} does not fit {there}: set '
      'config.mesh to three sizes whose product is that, or leave one -1'
    )
  if slices == 1:
    # Where a size is no product of the torus's own, its rings are split.
    grid = mesh_utils.create_device_mesh(
      (1, *shape), devices, allow_split_physical_axes=True
    )
  elif hasattr(devices[0], 'slice_index'):
    grid = mesh_utils.create_hybrid_device_mesh(
      (1, *shape), (slices, 1, 1, 1), devices
    )
  else:  # not TPUs: groups of devices in their order
    grid = np.array(devices).reshape(slices, *shape)
  # Mesh axes must be Auto: Linen does not support Explicit ones.
  return Mesh(grid, MESH, axis_types=(AxisType.Auto,) * len(MESH))


def platform() -> str:
  """'cpu', 'gpu' or 'tpu': the mesh's that is set, else this process's.

  A program for a pod may be compiled on a laptop.
  """
  mesh = jax.sharding.get_abstract_mesh()
  device = None if mesh.empty else mesh.abstract_device
  name = device.platform if device else jax.default_backend()
  return 'gpu' if name in ('cuda', 'rocm') else name


def spec(*dims: str | None) -> PartitionSpec:
  """Names of dimensions → their mesh axes. None stays whole."""
  return PartitionSpec(*(AXES[d] if d is not None else None for d in dims))


def shard(x: jax.Array, *dims: str | None) -> jax.Array:
  """Constrains an activation to its layout; nothing outside a mesh."""
  if alone():
    return x
  return jax.lax.with_sharding_constraint(x, spec(*dims))


def gathered(x: jax.Array, rest: tuple, use: tuple) -> jax.Array:
  """x, which lies as `rest` says, laid out as `use`; its gradient as `rest`.

  A plain constraint holds for the gradient too, which would then be summed
  whole on every device before it is cut.
  """

  @jax.custom_vjp
  def lay(x):
    return shard(x, *use)

  lay.defvjp(lambda x: (shard(x, *use), None), lambda _, g: (shard(g, *rest),))
  return lay(x)


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
    tree: arrays; of those that lie in files only this host's shards are read.
    layout: the same tree of shardings.
    dtype: what to cast them to.
  """

  def one(array, sharding):
    if isinstance(array, jax.Array):
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


def check_heads(heads: int, mesh: Mesh) -> None:
  """Raises ValueError where the mesh cuts a head."""
  count = parts('heads', mesh)
  if heads % count:
    raise ValueError(
      f'the {heads} heads of the model are not divisible by the {count} parts '
      f'of mesh axis {AXES["heads"]}; change the last size of config.mesh'
    )


def row_parts(mesh: Mesh) -> int:
  """Into how many parts the mesh cuts a batch of rows."""
  return parts('batch', mesh)


def parts(dim: str, mesh: Mesh) -> int:
  """Into how many parts the mesh cuts a dimension."""
  return _size(mesh, AXES[dim])


def by_rows(mesh: Mesh) -> NamedSharding:
  """Cut along the rows of a batch."""
  return NamedSharding(mesh, spec('batch'))


def local_rows(mesh: Mesh) -> Callable[[int], np.ndarray]:
  """rows of a global batch → which of them this host must make, ascending.

  Hosts that the tensor axis joins make the same rows.
  """

  def rows_of(rows: int) -> np.ndarray:
    check_rows(rows, mesh)
    layout = by_rows(mesh)
    parts = layout.addressable_devices_indices_map((rows,)).values()
    return np.unique(
      np.concatenate(
        [np.arange(*part[0].indices(rows)) for part in parts if part]
      )
    )

  return rows_of


def place_batch(
  batch: Mapping[str, np.ndarray], mesh: Mesh, rows: int | None = None
):
  """This host's rows → global arrays, cut over the mesh along rows.

  Args:
    batch: arrays of this host's rows, as `local_rows` numbers them.
    mesh: from make_mesh.
    rows: of the global batch; by default all are here.

  Raises:
    ValueError: the mesh does not divide the rows of all hosts.
  """
  rows = rows or len(next(iter(batch.values())))
  mine = local_rows(mesh)(rows)
  layout = by_rows(mesh)

  def one(array):
    def part(index):
      start, stop, _ = index[0].indices(rows)
      first = int(np.searchsorted(mine, start))
      return array[first : first + stop - start]

    shape = (rows, *array.shape[1:])
    return jax.make_array_from_callback(shape, layout, part)

  # To JAX this is no explicit transfer, as jax.device_put would be.
  with jax.transfer_guard_host_to_device('allow'):
    return {name: one(array) for name, array in batch.items()}


def place_all(batch: Mapping[str, np.ndarray], mesh: Mesh):
  """Rows that every host holds in full → global arrays, cut along rows.

  Raises:
    ValueError: the mesh does not divide them.
  """
  for array in batch.values():
    check_rows(len(array), mesh)
  layout = by_rows(mesh)
  return place(dict(batch), {name: layout for name in batch})


def local(fn, in_dims: tuple, out_dims: tuple):
  """Runs fn on each device's own block (Pallas kernels need this).

  Outside a mesh fn comes back as it is.
  """
  if alone():
    return fn
  return jax.shard_map(
    fn,
    in_specs=tuple(spec(*d) for d in in_dims),
    out_specs=spec(*out_dims),
    check_vma=False,
  )


def alone() -> bool:
  """Whether no mesh is set."""
  return jax.sharding.get_abstract_mesh().empty


def row_part() -> jax.Array:
  """Inside `local`: which part of the batch this device has."""
  return jax.lax.axis_index(AXES['batch'])


def whole(mesh: Mesh) -> NamedSharding:
  """Every device holds all of it."""
  return NamedSharding(mesh, PartitionSpec())


def describe(layout: NamedSharding) -> str:
  """The mesh axes that cut each dimension: 'tensor, fsdp'; '-': uncut."""
  dims = [
    (axes,) if isinstance(axes, str) else (axes or ()) for axes in layout.spec
  ]
  cut = [[a for a in axes if layout.mesh.shape[a] > 1] for axes in dims]
  names = ['+'.join(axes) or '-' for axes in cut]
  return ', '.join(names) if set(names) - {'-'} else '-'


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
