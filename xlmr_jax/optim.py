"""AdamW as the papers of this family use it, from a few plain fields."""

from collections.abc import Mapping

import jax
import jax.numpy as jnp
import optax

DECAY = ('matrices', 'all')


def schedule(peak: float, warmup: int, total: int) -> optax.Schedule:
  """Linear warm-up to `peak` at step `warmup`, linear decay to 0 at `total`.

  Step 0 of a warm-up of w has rate 0, as in transformers'
  get_linear_schedule_with_warmup.
  """

  def rate(step):
    step = jnp.asarray(step, jnp.float32)
    up = step / max(warmup, 1)
    down = (total - step) / max(total - warmup, 1)
    return peak * jnp.where(step < warmup, up, jnp.clip(down, 0.0, 1.0))

  return rate


def _by_path(tree, fn):
  """Maps fn(path, leaf) over a nested dict's leaves; path is 'a/b/c'."""
  return jax.tree_util.tree_map_with_path(
    lambda path, leaf: fn('/'.join(p.key for p in path), leaf), tree
  )


def decays(
  params, plan: Mapping[str, tuple[str, ...]], decay: str = 'matrices'
):
  """Tree of bools: which parameters decay.

  'matrices' leaves out biases and LayerNorms, whose rows in PLAN name one
  dimension beside `layers` (the Hugging Face Trainer's default too); 'all' is
  what torch.optim.AdamW does with model.parameters().
  """
  if decay not in DECAY:
    raise ValueError(f'decay {decay!r} is not one of {", ".join(DECAY)}')

  def one(path, _):
    return decay == 'all' or len(set(plan[path]) - {'layers'}) > 1

  return _by_path(params, one)


def hold(loss, freeze=()):
  """The same loss, but without a gradient for some parameters.

  Their gradients are not even computed, and do not count in the norm that
  clipping looks at.

  Args:
    loss: a function whose first argument are the parameters.
    freeze: prefixes of paths, as for `scales`.
  """

  def held(params, *args):
    stop = lambda path, p: jax.lax.stop_gradient(p) if under(path) else p
    return loss(_by_path(params, stop), *args)

  def under(path):
    return any(f'{path}/'.startswith(f'{prefix}/') for prefix in freeze)

  return held if freeze else loss


def scales(params, num_layers: int, layer_decay: float, freeze=()):
  """Tree of factors on the rate: layer_decay^(distance from the head), or 0.

  Embeddings are depth 0, layer i is i + 1, the head num_layers + 1. Layers
  are stacked, so their factor is a vector shaped to broadcast.

  Args:
    params: the model's parameters (or their shapes).
    num_layers: of the encoder.
    layer_decay: 1 for one rate everywhere.
    freeze: prefixes of paths that do not move, e.g. ('encoder/embed',).

  Raises:
    ValueError: a prefix that matches no parameter.
  """
  seen = set()

  def one(path, leaf):
    for prefix in freeze:
      if f'{path}/'.startswith(f'{prefix}/'):
        seen.add(prefix)
        return 0.0
    top = num_layers + 1
    if path.startswith('encoder/layers/'):
      depth = jnp.arange(1, num_layers + 1)
      factor = layer_decay ** (top - depth).astype(jnp.float32)
      return factor.reshape(-1, *[1] * (leaf.ndim - 1))
    return layer_decay ** (top if path.startswith('encoder/embed') else 0)

  tree = _by_path(params, one)
  missing = [prefix for prefix in freeze if prefix not in seen]
  if missing:
    raise ValueError(f'freeze: no parameter starts with {missing[0]!r}')
  return tree


def adamw(
  rate: optax.Schedule | float,
  *,
  mask,
  factors,
  b1: float = 0.9,
  b2: float = 0.999,
  eps: float = 1e-6,
  weight_decay: float = 0.01,
) -> optax.GradientTransformation:
  """AdamW (Loshchilov and Hutter 2019) with decay mask and rate factors.

  Args:
    rate: learning rate or schedule of it.
    mask: tree of bools from `decays`.
    factors: tree from `scales`.
    b1: decay of the first moment.
    b2: decay of the second moment; RoBERTa pretrains with 0.98.
    eps: RoBERTa's 1e-6.
    weight_decay: times rate.
  """
  scale = optax.stateless(
    lambda updates, params: jax.tree.map(
      lambda u, f: u * jnp.asarray(f, u.dtype), updates, factors
    )
  )
  return optax.chain(
    optax.scale_by_adam(b1, b2, eps),
    optax.add_decayed_weights(weight_decay, mask),
    scale,
    optax.scale_by_learning_rate(rate),
  )


def clip(grads, limit: float, count=1.0):
  """Sums → means, and global-norm clipping, as one factor.

  Two factors would cost a second copy of the gradients.

  Args:
    grads: gradients of a sum over `count` terms.
    limit: largest norm of the mean; 0 for none.
    count: terms in the sum.

  Returns:
    (gradients of the mean, clipped; norm of the mean before clipping).
  """
  norm = optax.global_norm(grads) / count
  factor = jnp.float32(1.0) / count
  if limit:
    factor *= jnp.minimum(1.0, limit / jnp.maximum(norm, 1e-12))
  return jax.tree.map(lambda g: g * factor.astype(g.dtype), grads), norm
