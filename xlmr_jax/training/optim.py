"""AdamW and LAMB as the papers use them, from a few plain fields."""

from collections.abc import Callable, Mapping
import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax

DECAY = ('matrices', 'all')
MOMENTS = ('float32', 'bfloat16')


def schedule(
  peak: float, warmup: int, total: int, power: float = 1.0, end: float = 0.0
) -> optax.Schedule:
  """Linear warm-up to `peak` at step `warmup`, then decay to `end` at `total`.

  The decay is (peak - end) (1 - share of the way)^power + end, fairseq's
  polynomial_decay, of which RoBERTa and XLM-R use power 1 and end 0. Step 0 of
  a warm-up of w has rate 0, as in transformers'
  get_linear_schedule_with_warmup.

  Raises:
    ValueError: a power that is not positive, or an end above the peak.
  """
  if power <= 0:
    raise ValueError(f'the power {power} of the decay is not positive')
  if not 0 <= end <= peak:
    raise ValueError(
      f'the last rate {end} is not between 0 and the peak {peak}'
    )

  # optax's schedules, joined by join_schedules, are not exact enough: they take
  # 1 - share in float32 before they scale it, and are 3.4 % off at the last of
  # 1.5 M steps, where this subtracts whole numbers and is 3e-8 off.
  def rate(step):
    step = jnp.asarray(step, jnp.float32)
    up = step / max(warmup, 1)
    down = jnp.clip((total - step) / max(total - warmup, 1), 0.0, 1.0)
    if power != 1:
      down = down**power
    return jnp.where(step < warmup, peak * up, (peak - end) * down + end)

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

  def decays_at(path, _):
    return decay == 'all' or len(set(plan[path]) - {'layers'}) > 1

  return _by_path(params, decays_at)


def scales(params, num_layers: int, layer_decay: float):
  """Tree of factors on the rate: layer_decay^(distance from the head).

  Embeddings are depth 0, layer i is i + 1, the head num_layers + 1. Layers
  are stacked, so their factor is a vector shaped to broadcast; where the first
  of them are left out, it is that of the others.

  Args:
    params: the model's parameters (or their shapes).
    num_layers: of the encoder.
    layer_decay: 1 for one rate everywhere.
  """

  def factor_at(path, leaf):
    top = num_layers + 1
    if path.startswith('encoder/layers/'):
      # numpy: an array of JAX's, which the step closes over, would be fetched
      # from the device when the step is compiled.
      distance = np.arange(leaf.shape[0], 0, -1, dtype=np.float32)
      factor = np.float32(layer_decay) ** distance
      return factor.reshape(-1, *[1] * (leaf.ndim - 1))
    return layer_decay ** (top if path.startswith('encoder/embed') else 0)

  return _by_path(params, factor_at)


def adamw(
  rate: optax.Schedule | float,
  *,
  mask,
  factors,
  b1: float = 0.9,
  b2: float = 0.999,
  eps: float = 1e-6,
  weight_decay: float = 0.01,
  moments: str = 'float32',
  trust: bool = False,
) -> optax.GradientTransformation:
  """AdamW (Loshchilov and Hutter 2019) with decay mask and rate factors.

  With `trust` it is LAMB (You et al. 2020, algorithm 2): the update u of a
  tensor x becomes u |x| / |u|. Each layer has tensors of its own: where
  `factors` has a value per layer, so have the norms. What does not decay, by
  default biases and LayerNorms, keeps AdamW's update, as in NVIDIA's FusedLAMB
  (without use_nvlamb) and in ALBERT's code; the paper's algorithm and
  optax.lamb adapt everything, as mask=decays(..., 'all') does here. The paper's
  phi is the identity; a tensor of zeros has ratio 1. FusedLAMB first clips the
  gradient to a global norm of 1: `clip` can.

  Args:
    rate: learning rate or schedule of it.
    mask: tree of bools from `decays`: which parameters decay and are adapted.
    factors: tree from `scales`; times the (adapted) update.
    b1: decay of the first moment.
    b2: decay of the second moment; RoBERTa pretrains with 0.98.
    eps: RoBERTa's and LAMB's 1e-6.
    weight_decay: times rate; LAMB's norm of the update includes it.
    moments: dtype of the first moment at rest, one of MOMENTS. The second is
      always float32: with b2 0.999 a step changes it by at most a thousandth
      of itself downward, less than half of what lies between two bfloat16
      numbers (0.4 to 0.8 %), so it would never come down again.
    trust: whether each tensor's update is scaled to the tensor's norm.

  Raises:
    ValueError: another dtype of the moments.
  """
  return optax.chain(
    _adam(b1, b2, eps, moments),
    optax.add_decayed_weights(weight_decay, mask),
    *([_trust(mask, factors)] if trust else []),
    _times(factors),
    optax.scale_by_learning_rate(rate),
  )


OPTIMIZERS: dict[str, Callable[..., optax.GradientTransformation]] = {
  'adamw': adamw,
  'lamb': functools.partial(adamw, trust=True),
}


def _adam(b1, b2, eps, moments):
  if moments not in MOMENTS:
    raise ValueError(f'moments {moments!r} is not one of {", ".join(MOMENTS)}')
  adam = optax.scale_by_adam(b1, b2, eps, mu_dtype=moments)

  # optax gives the second moment the dtype of the gradients.
  def full(tree):
    return jax.tree.map(lambda x: x.astype(jnp.float32), tree)

  def update(grads, state, params=None):
    return adam.update(full(grads), state, params)

  return optax.GradientTransformation(lambda p: adam.init(full(p)), update)


def _times(factors):
  return optax.stateless(
    lambda updates, params: jax.tree.map(
      lambda u, f: u * jnp.asarray(f, u.dtype), updates, factors
    )
  )


def _trust(mask, factors):
  """u → u |x| / |u|; norms go over the axes along which factors have size 1."""

  def scale(update, param, adapted, factor):
    if not adapted:
      return update
    shape = jnp.shape(factor) or (1,) * param.ndim
    axes = tuple(axis for axis, size in enumerate(shape) if size == 1)

    def norm(x):
      square = jnp.square(x.astype(jnp.float32))
      return jnp.sqrt(square.sum(axes, keepdims=True))

    x, u = norm(param), norm(update)
    ratio = jnp.where(x > 0, x / jnp.where(u > 0, u, 1), 1)
    return update * ratio.astype(update.dtype)

  return optax.stateless(
    lambda updates, params: jax.tree.map(scale, updates, params, mask, factors)
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
