"""A linear-chain conditional random field over the labels of packed rows.

Lafferty, McCallum and Pereira 2001. A path y_1 .. y_n of labels scores

  start[y_1] + Σ_t emissions[t, y_t] + Σ_t transitions[y_{t-1}, y_t] + end[y_n]

and has the probability exp(score) / Z, Z summed over all paths. A chain links
the active positions of one example and steps over the others: here two chains,
of three positions and of one.

  segments  1  1  1  1  1  2  2  2  0
  active    0  1  0  1  1  0  1  0  0
  chain        a ─── a ─ a     b

An example may be a window of a longer sequence. Where it goes on from another
one, or another one goes on from it, its path has no start, or no end: `joined`
marks a position before its chain, or behind it, and `start` or `end` counts
for nothing there.

`params` is a mapping of `transitions` [C, C] (from, to), `start` [C] and
`end` [C]. Everything is computed in float32 whatever comes in, and what stands
at a position that is not active is never read, be it NaN. Letters are those
of model.py: B rows, L positions, C classes.
"""

from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int
import numpy as np

Params = Mapping[str, jax.Array]

# The score of what a scheme rules out. Not -inf: where no path uses it, it
# would still count as 0 * inf = NaN, and a gold path that breaks its scheme
# would have no gradient. No lower than this: float32 holds thousandths beside
# it, and float16 holds it at all.
FORBIDDEN = -1e4

# Stands among labels for no label, as -1 does, and for `joined`: at the <s> of
# a window that goes on from another one, at the </s> of one that is gone on
# from.
JOINED = -2


def constrain(
  params: Params, allowed: Mapping[str, np.ndarray]
) -> dict[str, jax.Array]:
  """Params with FORBIDDEN wherever `allowed` (tasks/schemes.py) is False."""
  return {
    name: jnp.where(may, params[name], FORBIDDEN)
    for name, may in allowed.items()
  }


def score(
  emissions: Float[Array, 'B L C'],
  tags: Int[Array, 'B L'],
  segments: Int[Array, 'B L'],
  active: Bool[Array, 'B L'],
  params: Params,
  joined: Bool[Array, 'B L'] | None = None,
) -> Float[Array, 'B']:
  """Scores of the given paths, summed over the chains of each row.

  Args:
    emissions: score of each label at each position.
    tags: a label in [0, C) where active; anything elsewhere.
    segments: 0 for padding, e for the e-th example of the row.
    active: which positions are in a chain.
    params: transitions, start and end.
    joined: where there is no start or end; None for nowhere.
  """
  active, before, first, last, starts, ends = _chains(segments, active, joined)
  del last
  previous = jnp.take_along_axis(tags, jnp.maximum(before, 0), axis=1)
  classes = jnp.arange(emissions.shape[-1], dtype=tags.dtype)
  is_tag = (tags[..., None] == classes) & active[..., None]
  was_tag = (previous[..., None] == classes) & (active & ~first)[..., None]
  # How often each parameter is used. A look-up's gradient would scatter into
  # a small table from every position, and a product with one-hot vectors
  # would round the parameters where matrix units do.
  used = {
    'transitions': jnp.einsum(
      'BLi,BLj->Bij',
      was_tag.astype(jnp.float32),
      is_tag.astype(jnp.float32),
    ),
    'start': (is_tag & starts[..., None]).sum(1),
    'end': (is_tag & ends[..., None]).sum(1),
  }
  total = jnp.where(is_tag, emissions.astype(jnp.float32), 0).sum((1, 2))
  for name, count in used.items():
    parts = count * params[name].astype(jnp.float32)
    total += parts.reshape(len(parts), -1).sum(1)
  return total


def log_partition(
  emissions: Float[Array, 'B L C'],
  segments: Int[Array, 'B L'],
  active: Bool[Array, 'B L'],
  params: Params,
  joined: Bool[Array, 'B L'] | None = None,
) -> Float[Array, 'B']:
  """log Z, summed over the chains of each row.

  Its gradient is the marginal probability of each label at each position, and
  of each step from label to label. Both follow from the sums over all
  beginnings and all endings of a path, so one scan computes the two side by
  side, and no second one runs backwards. It has no second derivative.

  Args:
    emissions: score of each label at each position.
    segments: 0 for padding, e for the e-th example of the row.
    active: which positions are in a chain.
    params: transitions, start and end.
    joined: where there is no start or end; None for nowhere.
  """
  emissions, *chains = _rows_last(emissions, segments, active, joined)
  params = {
    name: params[name].astype(jnp.float32)
    for name in ('transitions', 'start', 'end')
  }
  return _log_z(emissions, params, *chains)


@jax.custom_vjp
def _log_z(emissions, params, active, first, last, starts, ends):
  """log_partition, [B], of what _rows_last gives."""
  chains = active, first, last, starts, ends
  return _log_z_forward(emissions, params, *chains)[0]


def _log_z_forward(emissions, params, active, first, last, starts, ends):
  # Small sums keep their digits: adding a constant to all labels of a
  # position adds it to log Z and changes no probability.
  top = emissions.max(1, keepdims=True)
  emissions = emissions - top
  start, end = params['start'][:, None], params['end'][:, None]
  both = lambda forwards, backwards: jnp.stack(
    [forwards, backwards[::-1]], axis=1
  )
  steps = params['transitions'][..., None]
  sums = _sweep(
    both(
      emissions + jnp.where(starts, start, 0),
      emissions + jnp.where(ends, end, 0),
    ),
    both(active, active),
    both(first, last),
    jnp.stack([steps, steps.swapaxes(0, 1)]),
    jax.nn.logsumexp,
  )
  left, right = sums[:, 0], sums[::-1, 1]
  total = left + jnp.where(ends, end, 0)
  total = jax.nn.logsumexp(total, axis=1, keepdims=True)
  total = jnp.where(last, total, 0) + jnp.where(active, top, 0)
  saved = (emissions, params, active, first, starts, ends, left, right)
  return total.sum((0, 1)), saved


def _log_z_backward(saved, gradient):
  emissions, params, active, first, starts, ends, left, right = saved
  # left and right both hold the emission of their own position.
  labels = jax.nn.softmax(left + right - emissions, axis=1)
  labels = jnp.where(active, labels, 0) * gradient
  # P(i, j) = P(i | j) P(j): what comes after j says no more of i.
  steps = left[:-1, :, None] + params['transitions'][..., None]
  steps = jax.nn.softmax(steps, axis=1) * labels[1:, None]
  steps = jnp.where((active & ~first)[1:, None], steps, 0)
  slopes = {
    'transitions': steps.sum((0, 3)),
    'start': jnp.where(starts, labels, 0).sum((0, 2)),
    'end': jnp.where(ends, labels, 0).sum((0, 2)),
  }
  return labels, slopes, *[None] * 5


_log_z.defvjp(_log_z_forward, _log_z_backward)


def viterbi(
  emissions: Float[Array, 'B L C'],
  segments: Int[Array, 'B L'],
  active: Bool[Array, 'B L'],
  params: Params,
) -> Int[Array, 'B L']:
  """The labels of each chain's best path (Viterbi 1967); -1 if not active.

  Of two labels that are as good, the lower one; the end of a chain is decided
  first.

  Args:
    emissions: score of each label at each position.
    segments: 0 for padding, e for the e-th example of the row.
    active: which positions are in a chain.
    params: transitions, start and end.
  """
  emissions, active, first, last, *_ = _rows_last(emissions, segments, active)
  transitions, start, end = (
    params[name].astype(jnp.float32)[..., None]
    for name in ('transitions', 'start', 'end')
  )
  emissions += jnp.where(first, start, 0)
  best = _sweep(emissions, active, first, transitions, jnp.max)
  final = jnp.argmax(best + end, axis=1)
  # Where a path that has label j at t was before. The scan need not say: the
  # best scores do, for all positions at once.
  before = jnp.argmax(best[:-1, :, None] + transitions, axis=1)
  before = jnp.pad(before, ((1, 0), (0, 0), (0, 0)))
  classes = jnp.arange(emissions.shape[1])[:, None]

  def step(wanted, at):
    active, last, final, before = at
    tag = jnp.where(last, final, wanted)
    chosen = jnp.where(classes == tag, before, 0).sum(0)
    return jnp.where(active, chosen, wanted), jnp.where(active, tag, -1)

  _, tags = jax.lax.scan(
    step,
    jnp.zeros_like(final[0]),
    (active[:, 0], last[:, 0], final, before),
    reverse=True,
  )
  return tags.T.astype(jnp.int32)


def _chains(
  segments: Int[Array, 'B L'],
  active: Bool[Array, 'B L'],
  joined: Bool[Array, 'B L'] | None = None,
) -> tuple[jax.Array, ...]:
  """Where the chains run, each [B, L].

  Returns:
    active, without padding; the active position before each of the row (-1:
    none); whether a chain begins there; whether it ends there; whether it has
    a start there; whether it has an end there.
  """

  def latest(segments, marks):
    """The last marked position up to each (-1: none), and its example."""
    at = jnp.where(marks, jnp.arange(marks.shape[1]), -1)
    at = jax.lax.cummax(at, axis=1)
    owner = jnp.take_along_axis(segments, jnp.maximum(at, 0), axis=1)
    return at, owner

  def begins(segments, active, joined):
    before, owner = latest(segments, active)
    before, owner = (
      jnp.pad(x[:, :-1], ((0, 0), (1, 0)), constant_values=-1)
      for x in (before, owner)
    )
    first = active & ((before < 0) | (owner != segments))
    if joined is None:
      return before, first, first
    mark, owner = latest(segments, joined)
    return before, first, first & ((mark < 0) | (owner != segments))

  active = active & (segments > 0)
  before, first, starts = begins(segments, active, joined)
  turned = joined if joined is None else joined[:, ::-1]
  _, last, ends = begins(segments[:, ::-1], active[:, ::-1], turned)
  return active, before, first, last[:, ::-1], starts, ends[:, ::-1]


def _rows_last(emissions, segments, active, joined=None):
  """emissions f32 [L, C, B]; active, first, last, ... of a chain [L, 1, B].

  A scan steps over positions, and of what is left rows are the longest: last,
  they fill a CPU's vectors, which takes 0.7 of the time of [L, B, C].
  """
  active, _, *chains = _chains(segments, active, joined)
  emissions = jnp.asarray(emissions, jnp.float32).transpose(1, 2, 0)
  return emissions, *(x.T[:, None] for x in (active, *chains))


def _sweep(
  emissions: Float[Array, 'L *X C B'],
  active: Bool[Array, 'L *X 1 B'],
  first: Bool[Array, 'L *X 1 B'],
  transitions: Float[Array, '*X C C 1'],
  reduce: Callable[..., jax.Array],
) -> Float[Array, 'L *X C B']:
  """Over all paths that reach a label, by reduction: their sum or the best.

  A chain begins with its own emissions and nothing else, so that nothing of
  the chain before it stays, not even a rounding.
  """

  def step(reached, at):
    emissions, active, first = at
    paths = reduce(reached[..., None, :] + transitions, axis=-3)
    paths = jnp.where(first, 0, paths)
    reached = jnp.where(active, emissions + paths, reached)
    return reached, reached

  nothing = jnp.zeros_like(emissions[0])
  return jax.lax.scan(step, nothing, (emissions, active, first))[1]
