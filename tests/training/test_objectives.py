"""Masking draws what BERT draws; losses are sums that add up."""

import dataclasses

import jax
import numpy as np
import pytest

from xlmr_jax import heads, model
from xlmr_jax.layers import crf, masking
from xlmr_jax.tasks import schemes
from xlmr_jax.tasks import tag as tagging
from xlmr_jax.training import objective_table, objectives

SPECIAL = (0, 1, 2, 3, 99)
DRAW = dict(mask_id=99, special_ids=SPECIAL, pieces=(4, 99))


def rows(count=64, length=40, real=33):
  rng = np.random.default_rng(0)
  tokens = rng.integers(4, 99, (count, length)).astype(np.int32)
  tokens[:, 0], tokens[:, 9], tokens[:, 10] = 0, 2, 0
  tokens[:, real - 1], tokens[:, real:] = 2, 1
  segments = np.ones_like(tokens)
  segments[:, 10:] = 2
  segments[:, real:] = 0
  positions = np.tile(np.arange(length), (count, 1))
  positions[:, 10:] -= 10
  return tokens, segments, positions.astype(np.int32)


def test_number_masked_is_exact_in_expectation():
  tokens, segments, _ = rows(4096)
  drawn = masking.mask_tokens(tokens, segments, jax.random.key(0), **DRAW)
  n = 33 - 4
  per_row = np.asarray(drawn['weights'].sum(-1))
  assert set(per_row) == {np.floor(0.15 * n), np.floor(0.15 * n) + 1}
  error = 3 * np.std(per_row) / np.sqrt(len(per_row))
  assert abs(per_row.mean() - 0.15 * n) < error


def test_kinds_of_replacement_and_what_is_never_chosen():
  tokens, segments, _ = rows(4096)
  drawn = jax.tree.map(
    np.asarray,
    masking.mask_tokens(tokens, segments, jax.random.key(1), **DRAW),
  )
  on = drawn['weights'] > 0
  targets = drawn['targets'][on]
  shown = np.take_along_axis(drawn['tokens'], drawn['masked'], 1)[on]
  assert not np.isin(targets, SPECIAL).any()
  np.testing.assert_array_equal(
    np.take_along_axis(tokens, drawn['masked'], 1)[on], targets
  )
  masked, kept = shown == 99, shown == targets
  assert abs(masked.mean() - 0.8) < 0.02
  assert abs(kept.mean() - 0.1 - 0.1 / 95) < 0.02
  other = shown[~masked & ~kept]
  assert other.min() >= 4 and other.max() < 99
  # Every other token stays as it was.
  unchanged = drawn['tokens'] == tokens
  np.put_along_axis(unchanged, drawn['masked'], True, 1)
  assert unchanged.all()
  # No position twice.
  for row, valid in zip(drawn['masked'][:50], on[:50], strict=True):
    assert len(set(row[valid])) == valid.sum()


def test_capacity_is_static_and_enough():
  assert masking.capacity(512, 0.15) == 78
  full = np.full((8, 16), 5, np.int32)
  drawn = masking.mask_tokens(
    full, np.ones_like(full), jax.random.key(0), **DRAW, rate=0.5
  )
  assert drawn['masked'].shape == (8, masking.capacity(16, 0.5))
  np.testing.assert_array_equal(drawn['weights'].sum(-1), 8)


@pytest.fixture(scope='module')
def tiny():
  config = dataclasses.replace(
    model.VARIANTS['tiny'],
    vocab_size=100,
    vocab_multiple=64,
    num_layers=2,
    model_dim=32,
    num_heads=2,
    ff_dim=64,
    max_positions=50,
  )
  params = heads.init(config, jax.random.key(0), 'mlm')
  tokens, segments, positions = rows(8)
  return (
    config,
    params,
    dict(tokens=tokens, segments=segments, positions=positions),
  )


@pytest.mark.parametrize('units', masking.UNITS)
def test_mlm_in_chunks_is_mlm(tiny, units):
  config, params, batch = tiny
  words = np.tile(np.int8([[1, 0], [0, 0], [0, 0], [0, 0]]), (25, 1))
  settings = dict(units=units, words=words, slack=0.0, **DRAW)
  whole, parts = (
    objectives.mlm(config, chunk=chunk, **settings) for chunk in (0, 3)
  )
  batch = whole.prepare(batch, jax.random.key(2))
  value = lambda objective: jax.value_and_grad(
    lambda p: objective.loss(p, batch, None)['loss'][0].sum()
  )(params)
  (a, grad_a), (b, grad_b) = value(whole), value(parts)
  np.testing.assert_allclose(a, b, rtol=1e-6)
  jax.tree.map(
    lambda x, y: np.testing.assert_allclose(x, y, atol=1e-5), grad_a, grad_b
  )
  sums = whole.loss(params, batch, None)
  loss, count = map(np.sum, sums['loss'])
  assert abs(loss / count - np.log(100)) < 0.1  # fresh: uniform
  for name, (total, counts) in parts.loss(params, batch, None).items():
    np.testing.assert_allclose(total, sums[name][0], rtol=1e-5)
    np.testing.assert_array_equal(counts, sums[name][1])

  # What did not fit counts among the chosen, and is not in the loss.
  assert ('unfit' in sums) == (units != 'token')
  if units != 'token':
    left, chosen = sums['unfit']
    np.testing.assert_array_equal(left, batch['unfit'])
    np.testing.assert_array_equal(chosen - left, sums['loss'][1])
    assert 0 < left.sum() < count


def test_mlm_refuses_units_without_their_words(tiny):
  settings = dict(units='word', **DRAW)
  with pytest.raises(ValueError, match='to mask by word, give words='):
    objectives.mlm(tiny[0], **settings)
  with pytest.raises(ValueError, match='words has 99 rows, and the vocabulary'):
    objectives.mlm(tiny[0], words=np.ones((99, 2), np.int8), **settings)


def test_padded_vocabulary_gets_no_probability_and_no_gradient(tiny):
  config, params, batch = tiny
  objective = objectives.mlm(config, **DRAW)
  batch = objective.prepare(batch, jax.random.key(2))
  grads = jax.grad(lambda p: objective.loss(p, batch, None)['loss'][0].sum())(
    params
  )
  assert config.rows == 128
  np.testing.assert_array_equal(grads['head']['bias'][100:], 0)
  np.testing.assert_array_equal(grads['encoder']['embed']['tokens'][100:], 0)
  assert np.abs(grads['head']['bias'][:100]).max() > 0


def test_classify_and_regression_ignore_empty_slots(tiny):
  config, _, batch = tiny
  params = heads.init(config, jax.random.key(1), 'classify', 3)
  batch = dict(batch, starts=np.tile([0, 10, 0], (8, 1)).astype(np.int32))
  labels = np.tile([2, 1, -1], (8, 1)).astype(np.int32)
  sums = objectives.classify(config, tuple('abc')).loss(
    params, dict(batch, labels=labels), None
  )
  np.testing.assert_array_equal(sums['loss'][1], [2] * 8)
  np.testing.assert_array_equal(sums['accuracy'][1], [2] * 8)
  np.testing.assert_allclose(sums['loss'][0] / 2, np.log(3), atol=0.05)

  params = heads.init(config, jax.random.key(1), 'classify', 1)
  numbers = np.tile([0.5, -1.0, np.nan], (8, 1)).astype(np.float32)
  loss = lambda p: objectives.regression(config).loss(
    p, dict(batch, labels=numbers), None
  )['loss']
  total, count = map(np.sum, loss(params))
  assert count == 16 and abs(total / 16 - (0.25 + 1) / 2) < 0.2
  grads = jax.grad(lambda p: loss(p)[0].sum())(params)
  assert all(np.isfinite(g).all() for g in jax.tree.leaves(grads))


# --- Packed rows are examples ------------------------------------------------

LABELS = ('O', 'B-A', 'I-A', 'B-B', 'I-B')
LENGTHS = (6, 9, 4, 11, 5, 7)
TOGETHER = [(0, 1), (2, 3), (4, 5)]  # which examples share a row
ALONE = [(i,) for i in range(6)]
# A row holds all choices of its questions.
QUESTIONS = [(0, 1, 4, 2, 3, 5)], [(0, 1, 4), (2, 3, 5)]


def labelled(name, rows_of):
  """The same six examples, packed as told, with labels for an objective."""
  rng = np.random.default_rng(7)
  examples = [rng.integers(4, 99, n) for n in LENGTHS]
  tags = [
    np.where(np.arange(n) % 3 == 1, -1, rng.integers(0, 5, n)) for n in LENGTHS
  ]
  for tag in tags:  # BIO allows B after anything
    tag[tag == 2], tag[tag == 4] = 1, 3
    tag[0] = -1
  ends = [np.sort(rng.integers(0, n, 2)) for n in LENGTHS]
  # Two questions of three choices; their gold choices are 1 and 5.
  group, gold = [0, 0, 1, 1, 0, 1], [0, 1, 0, 0, 0, 1]
  most = max(sum(LENGTHS[i] for i in row) for row in rows_of)
  size = (len(rows_of), max(20, most))
  slots = (len(rows_of), max(3, *map(len, rows_of)))
  batch = {
    'tokens': np.ones(size, np.int32),
    'segments': np.zeros(size, np.int32),
    'positions': np.zeros(size, np.int32),
    'starts': np.zeros(slots, np.int32),
    'group': np.full(slots, -1, np.int32),
  }
  sets = np.float32(rng.random((len(LENGTHS), 5)) < 0.4)
  shapes = {'answer': (*slots, 2), 'tag': size, 'crf': size}
  shapes['multilabel'] = (*slots, 5)
  labels = np.full(shapes.get(name, slots), -1, np.int32)
  if name == 'multilabel':
    labels = np.full(labels.shape, np.nan, np.float32)
  for r, row in enumerate(rows_of):
    at = 0
    for e, i in enumerate(row):
      span = np.s_[r, at : at + LENGTHS[i]]
      batch['tokens'][span] = examples[i]
      batch['segments'][span] = e + 1
      batch['positions'][span] = np.arange(LENGTHS[i])
      batch['starts'][r, e] = at
      batch['group'][r, e] = group[i]
      if name in ('tag', 'crf'):
        labels[span] = tags[i]
      elif name == 'answer':
        labels[r, e] = ends[i]
      elif name == 'multilabel':
        labels[r, e] = sets[i]
      else:
        labels[r, e] = gold[i]
      at += LENGTHS[i]
  return batch | {'labels': labels}


MAKE = {
  'causal': lambda config: objectives.causal(config),
  'tag': lambda config: objectives.tag(config, tuple('abcde')),
  'crf': lambda config: objectives.crf(
    config, LABELS, schemes.allowed('BIO', LABELS)
  ),
  'choose': objectives.choose,
  'answer': objectives.answer,
  'multilabel': lambda config: objectives.multilabel(config, tuple('abcde')),
}


def big(config, head):
  """Random parameters, large enough that answers differ."""
  shapes = jax.eval_shape(
    lambda key: heads.init(config, key, head, 5), jax.random.key(0)
  )
  leaves, tree = jax.tree.flatten_with_path(shapes)
  draw = [
    (path[-1].key == 'scale')
    + 0.3 * jax.random.normal(jax.random.fold_in(jax.random.key(4), i), x.shape)
    for i, (path, x) in enumerate(leaves)
  ]
  return jax.tree.unflatten(tree, draw)


def total_and_gradient(objective, params, batch):
  batch = objective.prepare(batch, jax.random.key(0))

  def total(params):
    sums = objective.loss(params, batch, None)
    return sums['loss'][0].sum(), sums

  (value, sums), grads = jax.jit(jax.value_and_grad(total, has_aux=True))(
    params
  )
  assert sums['loss'][0].shape == (len(batch['tokens']),)
  return value, sums, grads


@pytest.mark.parametrize('pre_norm', [False, True])
@pytest.mark.parametrize('name', MAKE)
def test_packed_is_one_at_a_time(tiny, name, pre_norm):
  config = dataclasses.replace(
    tiny[0], pre_norm=pre_norm, causal=name == 'causal'
  )
  objective, params = MAKE[name](config), big(config, name)
  together, apart = QUESTIONS if name == 'choose' else (TOGETHER, ALONE)
  packed = total_and_gradient(objective, params, labelled(name, together))
  alone = total_and_gradient(objective, params, labelled(name, apart))
  np.testing.assert_allclose(packed[0], alone[0], rtol=1e-5)
  for what in packed[1]:
    a, b = (np.sum(sums[what], axis=-1) for sums in (packed[1], alone[1]))
    np.testing.assert_allclose(a, b, rtol=1e-5)
  assert packed[1]['loss'][1].sum() > 0 and packed[0] > 0.5

  zero = {  # softmax takes no notice of what all its scores share
    'choose': [('head', 'out', 'bias')],
    'answer': [('head', 'out', 'bias')]
    + [('encoder', 'norm', 'bias')] * pre_norm,
  }
  for path in [
    ('encoder', 'layers', 'attention', 'key', 'bias'),
    *zero.get(name, ()),
  ]:
    for grads in (packed[2], alone[2]):
      node = grads
      for key in path[:-1]:
        node = node[key]
      assert np.abs(node.pop(path[-1])).max() < 1e-4
  top = max(np.abs(leaf).max() for leaf in jax.tree.leaves(alone[2]))

  def close(a, b):
    atol = 2e-5 * np.abs(b).max() + 1e-6 * top
    np.testing.assert_allclose(a, b, rtol=0, atol=atol)

  jax.tree.map(close, packed[2], alone[2])


def test_an_empty_slot_is_no_choice(monkeypatch):
  """A question of three choices, and one of a single one beside it."""
  scores = np.array([[1.0, 3.0, 2.0, 9.0], [-1.0, 9.0, 9.0, 9.0]], np.float32)
  batch = {
    'group': np.array([[4, 4, 4, -1], [7, -1, -1, -1]], np.int32),
    'labels': np.array([[0, 1, 0, -1], [1, -1, -1, -1]], np.int32),
  }
  forward = lambda *_: lambda *_: scores[..., None]
  monkeypatch.setattr(objectives, 'forward', forward)
  objective = objectives.choose(model.VARIANTS['tiny'])
  sums = objective.loss({}, batch, None)
  want = np.log(np.exp([1.0, 3.0, 2.0]).sum()) - 3.0
  np.testing.assert_allclose(sums['loss'][0], [want, 0.0], atol=1e-6)
  np.testing.assert_array_equal(sums['loss'][1], [1, 1])
  np.testing.assert_array_equal(sums['accuracy'][0], [1, 1])


def test_choices_are_compared_inside_a_row():
  """No array of all slots by all slots, whatever the number of rows."""
  config, rows, slots = model.VARIANTS['tiny'], 6, 5
  objective = objectives.choose(config)
  params = jax.eval_shape(
    lambda key: heads.init(config, key, 'choose'), jax.random.key(0)
  )
  ints = lambda *shape: jax.ShapeDtypeStruct(shape, np.int32)
  batch = dict.fromkeys(('tokens', 'segments', 'positions'), ints(rows, 32))
  batch |= dict.fromkeys(('starts', 'group', 'labels'), ints(rows, slots))
  text = jax.jit(objective.loss).lower(params, batch, None).as_text()
  assert f'tensor<{rows}x{slots}x{slots}x' in text
  assert f'tensor<{rows * slots}x' not in text


def test_the_crf_forbids_what_bio_does(tiny):
  """An I without its B costs what the scheme says; a plain tag does not."""
  config = tiny[0]
  params = big(config, 'crf')
  batch = labelled('crf', ALONE)
  allowed = schemes.allowed('BIO', LABELS)
  objective = objectives.crf(config, LABELS, allowed)
  right = objective.loss(params, batch, None)['loss'][0].sum()
  assert 0 < right < 1e3
  wrong = batch['labels'].copy()
  wrong[0, np.flatnonzero(wrong[0] >= 0)[0]] = 2  # I-A at the start
  got = objective.loss(params, batch | {'labels': wrong}, None)['loss'][0]
  assert got.sum() > 9e3 and np.isfinite(got).all()
  # A window that goes on inside a name may begin with it.
  first = np.flatnonzero(wrong[0] >= 0)[0]
  wrong[0, first - 1] = crf.JOINED
  assert crf.JOINED == tagging.JOINED
  got = objective.loss(params, batch | {'labels': wrong}, None)['loss'][0]
  assert 0 < got.sum() < 1e3


def test_an_answer_outside_the_example_is_never_likely(tiny):
  """Softmax runs inside the example: three tokens, a third each."""
  config = tiny[0]
  params = jax.tree.map(np.zeros_like, big(config, 'answer'))
  batch = labelled('answer', TOGETHER)
  sums = objectives.answer(config).loss(params, batch, None)
  want = [sum(np.log(LENGTHS[i]) for i in row) for row in TOGETHER]
  np.testing.assert_allclose(sums['loss'][0], want, rtol=1e-6)
  batch['labels'][0, 0] = -1  # not in this window
  sums = objectives.answer(config).loss(params, batch, None)
  np.testing.assert_array_equal(sums['loss'][1], [1, 2, 2])


# --- Classes that weigh more --------------------------------------------------

WEIGHTS = np.float32([0.2, 3.0, 0.05, 1.0, 7.5])


def torch_loss(name, logits, labels, weights):
  """torch's mean over a whole batch, and its gradient by the logits."""
  import torch

  logits = torch.tensor(np.asarray(logits)).requires_grad_()
  weights = weights if weights is None else torch.tensor(weights)
  if name == 'multilabel':
    known = torch.tensor(labels[..., 0] >= 0)
    gold = torch.tensor(labels)[known]
    loss = torch.nn.BCEWithLogitsLoss(pos_weight=weights)(logits[known], gold)
  else:
    rule = torch.nn.CrossEntropyLoss(weight=weights, ignore_index=-1)
    gold = torch.tensor(labels).long().ravel()
    loss = rule(logits.reshape(-1, logits.shape[-1]), gold)
  loss.backward()
  return loss.item(), logits.grad.numpy()


@pytest.mark.parametrize('weights', [None, WEIGHTS], ids=['alike', 'weighted'])
@pytest.mark.parametrize('name', objective_table.WEIGHTED)
def test_weights_of_classes_are_those_of_torch(tiny, name, weights):
  """Value and gradient, also where the counts add up to less than 1."""
  config, labels = tiny[0], tuple('abcde')
  objective = objective_table.build(name, config, labels, weights)
  params = big(config, name)
  batch = labelled(name, TOGETHER)
  run = objectives.forward(config, name, len(labels))
  logits = run(params, batch, None)

  def loss_of(bias, batch):
    head = params['head'] | {'out': params['head']['out'] | {'bias': bias}}
    return objective.loss(params | {'head': head}, batch, None)['loss']

  bias = params['head']['out']['bias']
  for rows in (slice(None), slice(0, 1)):
    part = {key: value[rows] for key, value in batch.items()}
    total, count = loss_of(bias, part)
    grad = jax.grad(lambda b, part=part: loss_of(b, part)[0].sum())(bias)
    value, want = torch_loss(name, logits[rows], batch['labels'][rows], weights)
    assert total.sum() / count.sum() == pytest.approx(value, rel=1e-5)
    np.testing.assert_allclose(
      grad / count.sum(), want.reshape(-1, 5).sum(0), atol=1e-5
    )


def test_only_classes_can_weigh(tiny):
  with pytest.raises(ValueError, match='the objective crf takes no weights of'):
    objective_table.build('crf', tiny[0], LABELS, WEIGHTS)


def test_what_is_unknown_does_not_count(tiny):
  """A row of NaN, a row of -1, and a single class that nobody judged."""
  config = tiny[0]
  params = big(config, 'multilabel')
  batch = labelled('multilabel', TOGETHER)
  whole = objectives.multilabel(config, tuple('abcde')).loss
  before = whole(params, batch, None)
  assert before['loss'][1].tolist() == [10, 10, 10]
  labels = batch['labels'].copy()
  labels[0, 1], labels[1, 0], labels[2, 0, 3] = np.nan, -1, np.nan
  after = whole(params, batch | {'labels': labels}, None)
  assert after['loss'][1].tolist() == [5, 5, 9]
  assert after['exact_match'][1].tolist() == [1, 1, 2]
  assert (after['loss'][0] < before['loss'][0]).all()
  loss = lambda p: whole(p, batch | {'labels': labels}, None)['loss'][0].sum()
  grads = jax.tree.leaves(jax.grad(loss)(params))
  assert all(np.isfinite(leaf).all() for leaf in grads)
