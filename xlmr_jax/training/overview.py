"""A table of a model's parameters: sizes, values, where they lie."""

import jax
import jax.numpy as jnp

from xlmr_jax.runtime import sharding

_HEADER = ('parameter', 'shape', 'count', 'mean', 'std', 'sharding')


def describe_parameters(
  params,
  mesh: jax.sharding.Mesh,
  trains: tuple[int, int] | None = None,
) -> str:
  """The table, a row for each array; layers are stacked, so they are one row.

  All processes must call it: mean and standard deviation are computed where
  the parameters lie, by one program.

  Args:
    params: nested dict of arrays in their shardings.
    mesh: where they lie.
    trains: how many numbers are trained, and how many there are: a last line
      where some are held.
  """
  moments = jax.jit(_moments, out_shardings=sharding.whole(mesh))(params)
  moments = jax.tree.leaves(jax.device_get(moments))
  leaves = jax.tree_util.tree_leaves_with_path(params)
  rows = [_HEADER]
  for (path, leaf), mean, std in zip(
    leaves, moments[0::2], moments[1::2], strict=True
  ):
    rows.append(
      (
        jax.tree_util.keystr(path, simple=True, separator='/'),
        ' x '.join(map(str, leaf.shape)),
        f'{leaf.size:,}',
        f'{mean:.4f}',
        f'{std:.4f}',
        sharding.describe(leaf.sharding),
      )
    )
  total = sum(leaf.size for _, leaf in leaves)
  rows.append(('total', '', f'{total:,}', '', '', ''))
  widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
  names, shapes, *numbers, _ = widths
  lines = [
    '  '.join(
      [
        row[0].ljust(names),
        row[1].ljust(shapes),
        *(x.rjust(w) for x, w in zip(row[2:-1], numbers, strict=True)),
        row[-1],
      ]
    ).rstrip()
    for row in rows
  ]
  if trains and trains[0] < trains[1]:
    lines.append(describe_share(*trains))
  return '\n'.join(lines)


def describe_share(trained: int, total: int) -> str:
  """How much of a model is trained."""
  share = 100 * trained / total
  return f'trained: {trained:,} of {total:,} parameters, {share:.2f} %'


def _moments(params):
  """Tree of (mean, standard deviation) in float32."""

  def of(leaf):
    wide = leaf.astype(jnp.float32)
    return wide.mean(), wide.std()

  return jax.tree.map(of, params)
