"""The chain against a sum over every path, written out."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from xlmr_jax.layers import crf
from xlmr_jax.tasks import schemes

# segments and active, a character per position. Chains of 0 to 5 positions;
# the fourth row's padding claims to be active, and is in no chain.
ROWS = (
  ('11111112222000', '01101100110000'),
  ('11222222233333', '01011111000000'),
  ('11111222220000', '11111111110000'),
  ('11122233344400', '00000101011111'),
  ('11111111111111', '00000000000000'),
  ('00000000000000', '00000000000000'),
)
SEGMENTS = np.array([[int(x) for x in row] for row, _ in ROWS], np.int32)
ACTIVE = np.array([[x == '1' for x in row] for _, row in ROWS])
LABELS = {
  2: ('B-P', 'I-P'),
  3: ('O', 'B-P', 'I-P'),
  4: ('O', 'I-Q', 'B-P', 'I-P'),
}


def chains():
  """(row, positions) of every chain that has any."""
  for row, (segments, active) in enumerate(zip(SEGMENTS, ACTIVE, strict=True)):
    for segment in range(1, segments.max() + 1):
      places = np.flatnonzero((segments == segment) & active)
      if len(places):
        yield row, places


def draw(count, scale=1.0, constrained=False, seed=0):
  """Emissions [B, L, C], tags [B, L] and params; tags are wild if inactive."""
  rng = np.random.default_rng(seed)
  shape = (*SEGMENTS.shape, count)
  emissions = (scale * rng.normal(size=shape)).astype(np.float32)
  tags = rng.integers(0, count, SEGMENTS.shape).astype(np.int32)
  tags = np.where(ACTIVE, tags, rng.integers(-9, 9, tags.shape))
  shapes = dict(transitions=(count, count), start=(count,), end=(count,))
  params = {
    name: rng.normal(size=shape).astype(np.float32)
    for name, shape in shapes.items()
  }
  if constrained:
    params = crf.constrain(params, schemes.allowed('BIO', LABELS[count]))
  return emissions, tags.astype(np.int32), jax.tree.map(np.asarray, params)


def path_score(emissions, path, params):
  """The definition, in float64; emissions [n, C] of one chain."""
  params = {name: np.float64(value) for name, value in params.items()}
  total = params['start'][path[0]] + params['end'][path[-1]]
  total += sum(np.float64(emissions[t, y]) for t, y in enumerate(path))
  pairs = zip(path[:-1], path[1:], strict=True)
  return total + sum(params['transitions'][i, j] for i, j in pairs)


def all_paths(emissions, params):
  """Every path of a chain, and its score."""
  length, count = emissions.shape
  paths = list(itertools.product(range(count), repeat=length))
  return paths, np.array([path_score(emissions, y, params) for y in paths])


def brute_force(emissions, params):
  """log Z of each row, and the expected use of every number per row."""
  rows = len(emissions)
  total = np.zeros(rows)
  use = {name: np.zeros((rows, *x.shape)) for name, x in params.items()}
  use['emissions'] = np.zeros(emissions.shape)
  for row, places in chains():
    paths, scores = all_paths(emissions[row, places], params)
    log_z = np.logaddexp.reduce(scores)
    total[row] += log_z
    for path, chance in zip(paths, np.exp(scores - log_z), strict=True):
      use['start'][row, path[0]] += chance
      use['end'][row, path[-1]] += chance
      for t, y in zip(places, path, strict=True):
        use['emissions'][row, t, y] += chance
      for i, j in zip(path[:-1], path[1:], strict=True):
        use['transitions'][row, i, j] += chance
  return total, use


@jax.jit
def log_z(emissions, params, segments=SEGMENTS, active=ACTIVE):
  return crf.log_partition(emissions, segments, active, params)


@jax.jit
def log_z_gradient(
  emissions, params, weights=1.0, segments=SEGMENTS, active=ACTIVE
):
  def total(emissions, params):
    rows = crf.log_partition(emissions, segments, active, params)
    return (rows * weights).sum()

  return jax.grad(total, argnums=(0, 1))(emissions, params)


viterbi = jax.jit(
  lambda emissions, params: crf.viterbi(emissions, SEGMENTS, ACTIVE, params)
)


@pytest.mark.parametrize('count', [2, 3, 4])
@pytest.mark.parametrize('constrained', [False, True])
# Differences beyond 88 are 0 in float32 once exponentiated.
@pytest.mark.parametrize('scale', [1.0, 200.0])
def test_log_partition_and_gradients_are_those_of_all_paths(
  count, constrained, scale
):
  emissions, _, params = draw(count, scale, constrained)
  total, use = brute_force(emissions, params)
  np.testing.assert_allclose(
    log_z(emissions, params), total, rtol=1e-6, atol=1e-5
  )
  weights = np.float32([1, 2, -1, 0.5, 3, 7])
  of_emissions, of_params = log_z_gradient(emissions, params, weights)
  np.testing.assert_allclose(
    of_emissions,
    use['emissions'] * weights[:, None, None],
    atol=1e-5,
  )
  for name, gradient in of_params.items():
    np.testing.assert_allclose(
      gradient,
      np.tensordot(weights, use[name], 1),
      atol=1e-5,
      err_msg=name,
    )


@pytest.mark.parametrize('count', [2, 3, 4])
@pytest.mark.parametrize('constrained', [False, True])
def test_score_and_its_gradients_are_those_of_the_path(count, constrained):
  emissions, tags, params = draw(count, 1.0, constrained)
  expected = np.zeros(len(emissions))
  used = np.zeros(emissions.shape)
  steps, starts, ends = (
    np.zeros_like(params[name]) for name in ('transitions', 'start', 'end')
  )
  for row, places in chains():
    path = tags[row, places]
    expected[row] += path_score(emissions[row, places], path, params)
    used[row, places, path] += 1
    np.add.at(steps, (path[:-1], path[1:]), 1)
    starts[path[0]] += 1
    ends[path[-1]] += 1

  @jax.jit
  def score(emissions, params):
    rows = crf.score(emissions, tags, SEGMENTS, ACTIVE, params)
    return rows.sum(), rows

  gradient, got = jax.grad(score, argnums=(0, 1), has_aux=True)(
    emissions, params
  )
  np.testing.assert_allclose(got, expected, rtol=1e-6, atol=1e-5)
  np.testing.assert_array_equal(gradient[0], used)
  np.testing.assert_array_equal(gradient[1]['transitions'], steps)
  np.testing.assert_array_equal(gradient[1]['start'], starts)
  np.testing.assert_array_equal(gradient[1]['end'], ends)


@pytest.mark.parametrize('count', [2, 3, 4])
@pytest.mark.parametrize('constrained', [False, True])
def test_viterbi_is_the_best_of_all_paths(count, constrained):
  emissions, _, params = draw(count, 2.0, constrained, seed=1)
  tags = np.asarray(viterbi(emissions, params))
  assert tags.dtype == np.int32
  inside = np.zeros(ACTIVE.shape, bool)
  for row, places in chains():
    paths, scores = all_paths(emissions[row, places], params)
    assert tuple(tags[row, places]) == paths[np.argmax(scores)]
    inside[row, places] = True
  assert (tags[~inside] == -1).all()


@pytest.mark.parametrize('seed', range(4))
def test_ties_go_to_the_lower_label(seed):
  rng = np.random.default_rng(seed)
  integers = lambda x: rng.integers(0, 2, x.shape).astype(np.float32)
  emissions, _, params = draw(3)
  emissions, params = integers(emissions), jax.tree.map(integers, params)
  tags, tied = np.asarray(viterbi(emissions, params)), 0
  for row, places in chains():
    paths, scores = all_paths(emissions[row, places], params)
    best = [y for y, s in zip(paths, scores, strict=True) if s == scores.max()]
    tied += len(best) > 1
    assert tuple(tags[row, places]) == min(best, key=lambda y: y[::-1])
  assert tied


def test_packed_examples_are_as_if_alone():
  emissions, tags, params = draw(4)
  every = lambda emissions, tags, segments, active: (
    crf.log_partition(emissions, segments, active, params),
    crf.score(emissions, tags, segments, active, params),
    crf.viterbi(emissions, segments, active, params),
    *log_z_gradient(emissions, params, 1.0, segments, active),
  )
  every = jax.jit(every)
  packed = every(emissions, tags, SEGMENTS, ACTIVE)
  log_zs, gold = np.zeros((2, len(emissions)))
  slopes = jax.tree.map(np.zeros_like, params)
  for row, segments in enumerate(SEGMENTS):
    for segment in range(1, segments.max() + 1):
      places = np.flatnonzero(segments == segment)
      size = len(places)

      def alone(x, row=row, places=places):
        x = x[row, places]
        left = len(SEGMENTS[0]) - len(x)
        return np.pad(x, [(0, left)] + [(0, 0)] * (x.ndim - 1))[None]

      ones = alone(np.ones_like(SEGMENTS))
      one = every(alone(emissions), alone(tags), ones, alone(ACTIVE))
      log_zs[row] += one[0][0]
      gold[row] += one[1][0]
      np.testing.assert_array_equal(packed[2][row, places], one[2][0, :size])
      np.testing.assert_allclose(
        packed[3][row, places], one[3][0, :size], atol=1e-6
      )
      slopes = jax.tree.map(np.add, slopes, one[4])
  np.testing.assert_allclose(packed[0], log_zs, rtol=1e-6)
  np.testing.assert_allclose(packed[1], gold, rtol=1e-5)
  jax.tree.map(
    lambda x, y: np.testing.assert_allclose(x, y, atol=1e-5), packed[4], slopes
  )


def test_nothing_crosses_a_border():
  emissions, _, params = draw(4)
  for row, places in chains():
    changed = emissions.copy()
    changed[row, places] += np.float32([900, -3, 0, 5])
    others = np.ones(emissions.shape, bool)
    others[row, places] = False
    before, _ = log_z_gradient(emissions, params)
    after, _ = log_z_gradient(changed, params)
    # Not a rounding's difference: the same bits.
    np.testing.assert_array_equal(before[others], after[others])
    assert (before[row, places] != after[row, places]).any()
    others = others[..., 0]
    np.testing.assert_array_equal(
      viterbi(emissions, params)[others], viterbi(changed, params)[others]
    )


def test_what_is_not_active_is_never_read():
  emissions, tags, params = draw(3)
  inside = ACTIVE & (SEGMENTS > 0)
  spoilt = np.where(inside[..., None], emissions, np.nan)
  np.testing.assert_array_equal(log_z(spoilt, params), log_z(emissions, params))
  clean, broken = (log_z_gradient(x, params) for x in (emissions, spoilt))
  jax.tree.map(np.testing.assert_array_equal, broken, clean)
  assert not np.asarray(broken[0])[~inside].any()
  np.testing.assert_array_equal(
    viterbi(spoilt, params), viterbi(emissions, params)
  )
  score = jax.value_and_grad(
    lambda x: crf.score(x, tags, SEGMENTS, ACTIVE, params).sum()
  )
  jax.tree.map(np.testing.assert_array_equal, score(spoilt), score(emissions))


@pytest.mark.parametrize('length', [1, 7])
def test_rows_without_a_chain_are_zero(length):
  _, _, params = draw(3)
  emissions = np.ones((2, length, 3), np.float32)
  tags = np.full((2, length), -1, np.int32)
  segments = np.array([[0] * length, [1] * length], np.int32)
  active = np.zeros((2, length), bool)
  args = segments, active, params
  total = log_z(emissions, params, segments, active)
  np.testing.assert_array_equal(total, [0, 0])
  np.testing.assert_array_equal(crf.score(emissions, tags, *args), [0, 0])
  np.testing.assert_array_equal(crf.viterbi(emissions, *args), tags)
  gradient = log_z_gradient(emissions, params, 1.0, segments, active)
  jax.tree.map(lambda x: np.testing.assert_array_equal(x, 0), gradient)


def test_a_long_chain_keeps_its_digits():
  rng = np.random.default_rng(0)
  length, count = 512, 9
  emissions = rng.normal(size=(1, length, count)).astype(np.float32) * 8
  params = jax.tree.map(
    lambda x: rng.normal(size=x).astype(np.float32),
    dict(transitions=(count, count), start=(count,), end=(count,)),
    is_leaf=lambda x: isinstance(x, tuple),
  )
  exact = {name: np.float64(x) for name, x in params.items()}

  def reached(emissions, start, transitions):
    out = [start + emissions[0]]
    for at in emissions[1:]:
      steps = out[-1][:, None] + transitions
      out.append(np.logaddexp.reduce(steps, 0) + at)
    return np.array(out)

  whole = np.float64(emissions[0])
  left = reached(whole, exact['start'], exact['transitions'])
  right = reached(whole[::-1], exact['end'], exact['transitions'].T)[::-1]
  expected = np.logaddexp.reduce(left[-1] + exact['end'])
  ones = np.ones((1, length), np.int32)
  got = log_z(emissions, params, ones, ones > 0)
  np.testing.assert_allclose(got, expected, rtol=1e-6)
  of_emissions, of_params = log_z_gradient(
    emissions, params, 1.0, ones, ones > 0
  )
  np.testing.assert_allclose(
    of_emissions[0], np.exp(left + right - whole - expected), atol=1e-5
  )
  steps = left[:-1, :, None] + exact['transitions'] + right[1:, None]
  np.testing.assert_allclose(
    of_params['transitions'], np.exp(steps - expected).sum(0), atol=1e-4
  )


def test_bfloat16_is_computed_in_float32():
  emissions, tags, params = draw(4)
  half = jnp.asarray(emissions, jnp.bfloat16)
  whole = half.astype(jnp.float32)
  assert log_z(half, params).dtype == jnp.float32
  np.testing.assert_array_equal(log_z(half, params), log_z(whole, params))
  score = lambda x: crf.score(x, tags, SEGMENTS, ACTIVE, params)
  assert score(half).dtype == jnp.float32
  np.testing.assert_array_equal(score(half), score(whole))
  np.testing.assert_array_equal(viterbi(half, params), viterbi(whole, params))
  gradient, _ = log_z_gradient(half, params)
  assert gradient.dtype == jnp.bfloat16
  np.testing.assert_array_equal(
    gradient, log_z_gradient(whole, params)[0].astype(jnp.bfloat16)
  )


@pytest.mark.parametrize('scale', [1.0, 1000.0])
def test_what_is_forbidden_is_never_decoded(scale):
  labels = LABELS[4]
  emissions, _, params = draw(4, scale)
  emissions[..., labels.index('I-P')] += 2 * scale
  params = crf.constrain(params, schemes.allowed('BIO', labels))
  tags, inside_names = np.asarray(viterbi(emissions, params)), 0
  for row, places in chains():
    before = 'O'
    for tag in tags[row, places]:
      if labels[tag] == 'I-P':
        assert before in ('B-P', 'I-P')
        inside_names += 1
      before = labels[tag]
  assert inside_names
  gradient = log_z_gradient(emissions, params)
  jax.tree.map(lambda x: np.testing.assert_array_less(abs(x), 1e3), gradient)


def test_a_gold_path_that_breaks_its_scheme_has_a_finite_loss():
  emissions, tags, params = draw(2)
  tags = np.where(ACTIVE, 1, tags)  # I-P throughout
  params = crf.constrain(params, schemes.allowed('BIO', LABELS[2]))

  @jax.jit
  def loss(emissions, params):
    gold = crf.score(emissions, tags, SEGMENTS, ACTIVE, params)
    return (crf.log_partition(emissions, SEGMENTS, ACTIVE, params) - gold).sum()

  value, gradient = jax.value_and_grad(loss, argnums=(0, 1))(emissions, params)
  starts = len(list(chains()))
  np.testing.assert_allclose(value, -starts * crf.FORBIDDEN, rtol=1e-2)
  # One label may begin: no other has any chance, and the gradient says so.
  np.testing.assert_array_equal(gradient[1]['start'], [starts, -starts])


# Of the first row's chains the first goes on from a window, and the second is
# gone on from; of the fourth row's the second is both.
JOINED = np.zeros(ACTIVE.shape, bool)
JOINED[0, 0] = JOINED[0, 10] = JOINED[3, 6] = JOINED[3, 8] = True


def test_a_window_has_no_start_or_end_where_its_sequence_goes_on():
  """Against all paths, with the start or end of some chains taken away."""
  emissions, tags, params = draw(3, constrained=True, seed=3)
  tags = np.where(ACTIVE, tags % 2, tags)  # no I-P: every gold path is finite
  kinds = set()

  def of_chain(row, places):
    segment = SEGMENTS[row, places[0]]
    marks = np.flatnonzero(JOINED[row] & (SEGMENTS[row] == segment))
    start, end = (marks < places[0]).any(), (marks > places[-1]).any()
    kinds.add((bool(start), bool(end)))
    none = np.zeros_like(params['start'])
    own = dict(params)
    own |= {'start': none} if start else {}
    own |= {'end': none} if end else {}
    return own

  total, gold = np.zeros((2, len(SEGMENTS)))
  for row, places in chains():
    own = of_chain(row, places)
    _, scores = all_paths(emissions[row, places], own)
    total[row] += np.logaddexp.reduce(scores)
    gold[row] += path_score(emissions[row, places], tags[row, places], own)
  assert len(kinds) == 4
  run = lambda e, p: crf.log_partition(e, SEGMENTS, ACTIVE, p, JOINED)
  np.testing.assert_allclose(
    jax.jit(run)(emissions, params), total, rtol=1e-6, atol=1e-5
  )
  scored = lambda p: crf.score(emissions, tags, SEGMENTS, ACTIVE, p, JOINED)
  np.testing.assert_allclose(scored(params), gold, rtol=1e-6, atol=1e-5)
  # The gradient of `start` is what is left of it.
  slopes = jax.grad(lambda p: run(emissions, p).sum())(params)
  step = 1e-3 * np.float32([1, -2, 3])
  for name in ('start', 'end'):
    moved = [
      np.float64(run(emissions, params | {name: params[name] + sign * step}))
      for sign in (1, -1)
    ]
    slope = (moved[0] - moved[1]).sum() / 2
    np.testing.assert_allclose(slopes[name] @ step, slope, rtol=5e-3, atol=1e-5)


def test_constrain_changes_only_what_is_forbidden():
  _, _, params = draw(3)
  params['kernel'] = np.zeros((5, 3))  # a head's params hold more
  table = crf.constrain(params, schemes.allowed('BIO', LABELS[3]))
  assert set(table) == {'transitions', 'start', 'end'}
  expected = params['transitions'].copy()
  expected[0, 2] = crf.FORBIDDEN
  np.testing.assert_array_equal(table['transitions'], expected)
  expected = params['start'].copy()
  expected[2] = crf.FORBIDDEN
  np.testing.assert_array_equal(table['start'], expected)
  np.testing.assert_array_equal(table['end'], params['end'])


@pytest.mark.parametrize(
  'labels, transitions, start',
  [
    (
      'O B-P I-P B-Q I-Q',
      [
        [1, 1, 0, 1, 0],
        [1, 1, 1, 1, 0],
        [1, 1, 1, 1, 0],
        [1, 1, 0, 1, 1],
        [1, 1, 0, 1, 1],
      ],
      [1, 1, 0, 1, 0],
    ),
    # IOB1: Q has a B- and is bound, P has none and is free.
    (
      'I-P B-Q I-Q O',
      [[1, 1, 0, 1], [1, 1, 1, 1], [1, 1, 1, 1], [1, 1, 0, 1]],
      [1, 1, 0, 1],
    ),
    ('I-P I-Q O', [[1] * 3] * 3, [1] * 3),
    ('NOUN VERB INTJ', [[1] * 3] * 3, [1] * 3),
  ],
)
def test_bio(labels, transitions, start):
  allowed = schemes.allowed('BIO', labels.split())
  np.testing.assert_array_equal(allowed['transitions'], transitions)
  np.testing.assert_array_equal(allowed['start'], start)
  assert allowed['end'].all()
  assert all(x.dtype == bool for x in allowed.values())
