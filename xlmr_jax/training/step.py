"""The training step: its state, its layout on a mesh, its computation.

`build` knows shapes and shardings only, so that the same step is trained
(train.py), compiled for a machine that is not there (plan/) and timed
(benchmarks/): no array exists before `start` makes the first one.
"""

from collections.abc import Callable
import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import optax

from xlmr_jax import heads
from xlmr_jax.model import Config
from xlmr_jax.runtime import sharding
from xlmr_jax.training import objectives, optim, trainable

# A step's judgement of its batch, in the metric `bad`.
FINE, LOSS, GRADIENT, SPIKE = range(4)
ON_BAD = ('stop', 'skip', 'roll_back')

# A loss is judged against the mean and the spread of the last good steps:
# averages over about this many, and no judgement before so many. Chosen, not
# measured: more than a log's 20 steps, fewer than a warm-up's thousands.
_MEMORY = 100
# The spread counts as at least this share of the mean, so that a flat stretch
# does not make every step a spike. Chosen, not measured either; what it does
# is fixed by test_a_flat_loss_is_not_all_spikes.
_LEAST_SPREAD = 0.02


@dataclasses.dataclass(frozen=True)
class Step:
  """A training step on a mesh.

  Attributes:
    mesh: where it runs.
    shapes: of the parameters; layout: their shardings.
    state_shapes: of everything else that is kept; state_layout: the same.
    trains: (numbers that are trained, numbers that there are).
    passes: FLOPs of a step over those of the model's forward pass.
    rate: learning rate by step, jitted.
    fresh_state: parameters → state of step 0, in its layout.
    update: (params, state, batch) → (params, state, metrics), jitted; params
      and state are donated. Metrics are (sum, count) by name, grad_norm, bad
      (FINE, LOSS, GRADIENT or SPIKE) and row, the one to look at if bad; and
      how many real tokens and examples the global batch has.
  """

  mesh: jax.sharding.Mesh
  shapes: Any
  layout: Any
  state_shapes: Any
  state_layout: Any
  trains: tuple[int, int]
  passes: float
  rate: Callable
  fresh_state: Callable
  update: Any

  def abstract(self) -> tuple[Any, Any]:
    """(params, state) as shapes in their shardings, for a restore."""
    return (
      sharding.abstract(self.shapes, self.layout),
      sharding.abstract(self.state_shapes, self.state_layout),
    )

  def compilations(self) -> int:
    """How many programs `update` was compiled to: one a shape of batch."""
    return self.update._cache_size()


def build(
  model: Config,
  objective: objectives.Objective,
  config,
  total: int,
  mesh: jax.sharding.Mesh,
  *,
  fresh: Callable | None = None,
) -> Step:
  """The step of a recipe.

  Args:
    model: the encoder's Config.
    objective: the loss.
    config: a recipe's settings: optim, tune, accumulate, seed, on_bad, spike,
      dropout_rng.
    total: steps of the run, for the learning rate.
    mesh: from sharding.make_mesh.
    fresh: key → parameters; by default those of the model and the objective's
      head.

  Raises:
    ValueError: settings that do not fit.
  """
  if config.on_bad not in ON_BAD:
    raise ValueError(
      f'config.on_bad={config.on_bad!r} is not one of {", ".join(ON_BAD)}'
    )
  if fresh is None:
    fresh = lambda key: heads.init(model, key, objective.head)
  sharding.check_heads(model.num_heads, mesh)
  dims = heads.plan(model, objective.head)
  shapes = jax.eval_shape(fresh, jax.random.key(0))
  layout = sharding.shardings(shapes, dims, mesh)

  o = config.optim
  warmup = int(o.warmup * total) if o.warmup < 1 else int(o.warmup)
  rate = optim.schedule(o.learning_rate, warmup, total, o.power, o.end)
  first = trainable.find(shapes, config.tune, tuple(o.freeze), o.freeze_layers)
  select = lambda params: trainable.split(params, first)
  trained = jax.eval_shape(select, shapes)
  if o.name not in optim.OPTIMIZERS:
    known = ', '.join(optim.OPTIMIZERS)
    raise ValueError(f'config.optim.name={o.name!r} is not one of {known}')
  optimizer = optim.OPTIMIZERS[o.name](
    rate,
    mask=optim.decays(trained, dims, o.decay),
    factors=optim.scales(trained, model.num_layers, o.layer_decay),
    b1=o.b1,
    b2=o.b2,
    eps=o.eps,
    weight_decay=o.weight_decay,
    moments=o.moments,
  )

  def fresh_state(params):
    return {
      'opt': optimizer.init(select(params)),
      'step': jnp.zeros((), jnp.int32),
      'loss': {name: jnp.zeros(()) for name in ('n', 'mean', 'square')},
    }

  state_shapes = jax.eval_shape(fresh_state, shapes)
  state_layout = sharding.like(state_shapes, layout, mesh)
  cut = sharding.shardings(trained, dims, mesh)
  return Step(
    mesh=mesh,
    shapes=shapes,
    layout=layout,
    state_shapes=state_shapes,
    state_layout=state_layout,
    trains=trainable.count(shapes, first),
    passes=trainable.passes(shapes, first),
    rate=jax.jit(rate),
    fresh_state=jax.jit(fresh_state, out_shardings=state_layout),
    update=jax.jit(
      _update(objective, optimizer, config, first, cut),
      # The batch's sharding is the one it was placed in.
      in_shardings=(layout, state_layout, None),
      out_shardings=(layout, state_layout, sharding.whole(mesh)),
      donate_argnums=(0, 1),
    ),
  )


def describe(values) -> str:
  """What is wrong with a step, by its metrics."""
  return {
    LOSS: f'the loss of row {int(values["row"])} of the batch is not finite',
    GRADIENT: 'the gradient, though the loss of every row is finite, is not '
    'finite',
    SPIKE: 'the loss is far above that of the steps before',
  }[int(values['bad'])]


def _update(objective, optimizer, config, first, layout):
  """The step; `first` is trainable.find's, `layout` of what is trained."""
  micro = config.accumulate

  def update(params, state, batch):
    key = jax.random.fold_in(jax.random.key(config.seed), state['step'])
    draw, noise = jax.random.split(key)
    noise = dropout_key(noise, config.dropout_rng)
    batch = objective.prepare(batch, draw)

    trained = trainable.split(params, first)

    def total(trained, batch, key):
      whole = trainable.join(params, trained, first)
      sums = objective.loss(whole, batch, key)
      return sums['loss'][0].sum(), sums

    def grad(batch, key):
      # Without the constraint a sum over micro-batches is kept whole on fsdp.
      grads, sums = jax.grad(total, has_aux=True)(trained, batch, key)
      return jax.lax.with_sharding_constraint(grads, layout), sums

    if micro == 1:
      grads, sums = grad(batch, noise)
    else:
      # Micro-batch i takes rows i, i + A, ...: each keeps the rows' sharding.
      parts = jax.tree.map(
        lambda x: x.reshape(-1, micro, *x.shape[1:]).swapaxes(0, 1), batch
      )

      def add(grads, part):
        index, batch = part
        more, sums = grad(batch, jax.random.fold_in(noise, index))
        return jax.tree.map(jnp.add, grads, more), sums

      # In float32, whatever the parameters are: bfloat16 has 8 bits, and what
      # is added to a sum 256 times as large is lost.
      zeros = jax.tree.map(lambda p: jnp.zeros(p.shape, jnp.float32), trained)
      grads, sums = jax.lax.scan(add, zeros, (jnp.arange(micro), parts))
      sums = jax.tree.map(lambda x: x.swapaxes(0, 1).reshape(-1), sums)

    rows, counts = sums['loss']
    sums = jax.tree.map(jnp.sum, sums)
    loss, count = sums['loss'][0], _divisor(sums['loss'][1])
    grads, norm = optim.clip(grads, config.optim.clip, count)
    changes, opt = optimizer.update(grads, state['opt'], trained)
    new = {**state, 'opt': opt, 'step': state['step'] + 1}
    bad = jnp.where(jnp.isfinite(norm), FINE, GRADIENT)
    bad = jnp.where(jnp.isfinite(rows).all(), bad, LOSS)
    # Kept even if spikes are not looked for: the setting may change.
    limit, seen = _watch(state['loss'], loss / count, config.spike)
    if config.spike:
      bad = jnp.where((bad == FINE) & (loss / count > limit), SPIKE, bad)
    new['loss'] = _keep(bad == FINE, seen, state['loss'])
    changed = optax.apply_updates(trained, changes)
    if config.on_bad == 'skip':
      changed = _keep(bad == FINE, changed, trained)
      new['opt'] = _keep(bad == FINE, opt, state['opt'])
    # The first row that is not finite, else the one with the largest loss.
    mean = rows / _divisor(counts)
    worst = jnp.argmax(jnp.where(jnp.isfinite(rows), mean, jnp.inf))
    segments = batch['segments']
    facts = {
      'grad_norm': norm,
      'bad': bad,
      'row': worst,
      'real': (segments > 0).sum(),
      'examples': segments.max(-1).sum(),
    }
    params = trainable.put_back(params, changed, first)
    return params, new, {**sums, **facts}

  return update


def _watch(seen, loss, spike):
  """(what a loss may be, the averages with this one added).

  A spike is a loss `spike` standard deviations above the mean of the last
  good steps.
  """
  n = seen['n']
  weight = 1 / jnp.minimum(n + 1, _MEMORY)
  mean, square = seen['mean'], seen['square']
  spread = jnp.sqrt(jnp.maximum(square - mean**2, (_LEAST_SPREAD * mean) ** 2))
  limit = jnp.where(n < _MEMORY, jnp.inf, mean + spike * spread)
  return limit, {
    'n': n + 1,
    'mean': mean + weight * (loss - mean),
    'square': square + weight * (loss**2 - square),
  }


def _divisor(count):
  """A count to divide by: weights of classes may add up to less than 1."""
  return jnp.where(count > 0, count, 1)


def _keep(good, new, old):
  return jax.tree.map(lambda a, b: jnp.where(good, a, b), new, old)


def dropout_key(key: jax.Array, kind: str) -> jax.Array:
  """The key of a step's dropout: 'threefry', or 'rbg' seeded by it.

  rbg is faster on TPUs and takes no memory for its counters, but other
  backends and versions draw other bits. What is drawn for the data, such as
  masks, never comes from it.
  """
  if kind == 'threefry':
    return key
  if kind != 'rbg':
    raise ValueError(f'config.dropout_rng={kind!r} is not threefry or rbg')
  words = jax.random.bits(key, (4,), jnp.uint32)
  return jax.random.wrap_key_data(words, impl='rbg')
