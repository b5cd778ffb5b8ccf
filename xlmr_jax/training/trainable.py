"""Which parameters a run trains, and a step's view of them.

`find` says from which layer on each parameter is trained. `split` takes out
what is trained, the only part with gradients and an optimizer's state; `join`
gives the loss the whole model, and `put_back` the model after an update.
"""

from collections.abc import Callable, Mapping

import jax

from xlmr_jax.checkpoints.weights import flatten, nest
from xlmr_jax.layers import lora
from xlmr_jax.model import HELD

_BODY = 'encoder/'
_LAYERS = 'encoder/layers/'

# What of the body is trained; heads always are. bitfit: all bias terms of the
# body, those of LayerNorms too (Ben Zaken et al. 2022, arXiv:2106.10199).
TUNE: dict[str, Callable[[str], bool]] = {
  'all': lambda path: True,
  'lora': lambda path: path.endswith((f'/{lora.A}', f'/{lora.B}')),
  'bitfit': lambda path: path.endswith('/bias'),
  'head': lambda path: False,
}


def find(
  shapes, tune: str = 'all', freeze: tuple[str, ...] = (), layers: int = 0
) -> dict[str, int]:
  """{path: the first of its layers that is trained; 0: all of it}.

  What is held has no entry.

  Args:
    shapes: the model's parameters, or their shapes.
    tune: a name of TUNE.
    freeze: prefixes of paths that do not move, e.g. ('encoder/embed',).
    layers: how many layers are held, from the bottom.

  Raises:
    ValueError: no such way to tune, a prefix that matches no parameter, too
      many layers, or nothing is left to train.
  """
  if tune not in TUNE:
    raise ValueError(f'config.tune={tune!r} is not one of {", ".join(TUNE)}')
  flat = flatten(shapes)
  for prefix in freeze:
    if not any(_under(path, prefix) for path in flat):
      raise ValueError(f'freeze: no parameter starts with {prefix!r}')
  depth = next(x.shape[0] for p, x in flat.items() if p.startswith(_LAYERS))
  if not 0 <= layers < depth:
    raise ValueError(
      f'config.optim.freeze_layers={layers} is not in 0..{depth - 1}: the '
      f'model has {depth} layers; --config.tune=head holds all of them'
    )
  out = {}
  for path in flat:
    body = path.startswith(_BODY)
    if any(_under(path, prefix) for prefix in freeze):
      continue
    if not body or TUNE[tune](path):
      out[path] = layers if path.startswith(_LAYERS) else 0
  if not out:
    raise ValueError('nothing is left to train: optim.freeze holds everything')
  return out


def split(params, first: Mapping[str, int]):
  """The part that is trained, as a tree of its own."""
  flat = flatten(params)
  return nest({p: _cut(flat[p], n, None) for p, n in first.items()})


def join(params, trained, first: Mapping[str, int]):
  """The whole model, with what is trained in its place.

  Where layers are held, the encoder gets them apart: a gradient of stacked
  layers would be as large as all of them.
  """
  flat, new = flatten(params), flatten(trained)
  held = max(first.values())
  out = {}
  for path, leaf in flat.items():
    if held and path.startswith(_LAYERS):
      name = path.replace(_LAYERS, f'{_BODY}{HELD}/', 1)
      out[name] = _cut(leaf, 0, held)
      leaf = leaf if path in new else _cut(leaf, held, None)
    out[path] = new.get(path, leaf)
  return nest(out)


def put_back(params, trained, first: Mapping[str, int]):
  """The model with the trained part, in the tree of `params`."""
  flat, new = flatten(params), flatten(trained)
  for path, start in first.items():
    leaf = new[path]
    flat[path] = flat[path].at[start:].set(leaf) if start else leaf
  return nest(flat)


def count(shapes, first: Mapping[str, int]) -> tuple[int, int]:
  """How many numbers are trained, and how many there are."""
  flat = flatten(shapes)
  trained = flatten(jax.eval_shape(lambda tree: split(tree, first), shapes))
  return sum(x.size for x in trained.values()), sum(
    x.size for x in flat.values()
  )


def passes(shapes, first: Mapping[str, int]) -> float:
  """FLOPs of a step over those of the forward pass; 3 where all is trained.

  One is the forward pass, one the gradient of what each layer reads, down to
  the lowest that trains, one the gradients of the kernels that train.
  """
  flat = flatten(shapes)
  kernels = {
    path: leaf
    for path, leaf in flat.items()
    if path.startswith(_LAYERS) and path.endswith('/kernel')
  }
  layers = next(iter(kernels.values())).shape[0]
  body = {p: n for p, n in first.items() if p.startswith(_BODY)}
  through = max((layers - n for n in body.values()), default=0) / layers
  trained = sum(
    kernels[p].size * (layers - n) / layers
    for p, n in body.items()
    if p in kernels
  )
  return 1 + through + trained / sum(x.size for x in kernels.values())


def _under(path: str, prefix: str) -> bool:
  return f'{path}/'.startswith(f'{prefix}/')


def _cut(leaf, start: int, stop: int | None):
  return leaf if (start, stop) == (0, None) else leaf[start:stop]
