"""Every body with every head computes what Hugging Face's class computes.

Tiny models, every tensor random; f32, logits within 1e-4; gradients within
1e-5 of each tensor's largest; files byte for byte.
"""

import dataclasses

import jax
import numpy as np
from pairs import (
  BATCH,
  EXAMPLES,
  GRADIENT,
  ROWS,
  Pair,
  draw,
  grad_of,
  name_of,
  pack,
  pad,
  spans,
  to_ours,
)
import pytest
import torch
from torch_models import class_of, tiny
import transformers

from xlmr_jax import heads
from xlmr_jax.checkpoints.hf import config_json, writer
from xlmr_jax.checkpoints.weights import Weights
from xlmr_jax.inference import loaded
from xlmr_jax.layers import pooling
from xlmr_jax.model import VARIANTS
from xlmr_jax.training import objectives

LOGITS = 1e-4
FAMILIES = ('XLMRoberta', 'XLMRobertaXL', 'Roberta', 'Camembert', 'Bert')
WITH_BERT = ('XLMRoberta', 'XLMRobertaXL', 'Bert')
HEADS = (None, 'mlm', 'causal', 'classify', 'choose', 'tag', 'answer')
# What a head's models need in their config.
SETTINGS = {
  'causal': {'is_decoder': True},
  'classify': {'num_labels': 5},
  'tag': {'num_labels': 7},
}
WIDE = dict(hidden_size=64, intermediate_size=96)
SLOTS = [(r, e) for r, row in enumerate(ROWS) for e in range(len(row))]


@pytest.fixture(scope='module')
def pairs(tmp_path_factory):
  """(family, head) → Pair, made when first asked for."""
  made = {}

  def get(family, head) -> Pair:
    if (family, head) not in made:
      settings = SETTINGS.get(head, {})
      seed = int(family == 'Bert')  # of 0 its choices are too alike
      model = tiny(head, seed, family=family, **WIDE, **settings)
      folder = tmp_path_factory.mktemp('pair')
      made[family, head] = Pair(model, folder)
      made[family, head].folder = folder
    return made[family, head]

  return get


def typed(pair, batch, inputs=None):
  """The same with two token types, where the body is BERT's."""
  if not pair.config.bert:
    return batch, inputs
  types = (batch['segments'] > 0) & (batch['positions'] >= 3)
  batch = {**batch, 'types': types.astype(np.int32)}
  if inputs is not None:
    ids = inputs['input_ids']
    types = (torch.arange(ids.shape[-1]) >= 3).long().expand(ids.shape)
    inputs = {**inputs, 'token_type_ids': types}
  return batch, inputs


def outputs(pair, batch=BATCH):
  """Our logits on a packed batch."""
  weights = pair.weights
  head = heads.make(
    pair.config, weights.head, len(weights.labels or ()), weights.tied
  )
  hidden = pair.hidden(batch=batch)
  if head is None:
    return np.asarray(hidden)
  run = jax.jit(lambda params, hidden: heads.apply(head, params, hidden, batch))
  return np.asarray(run(pair.params, hidden))


def theirs(pair, inputs):
  """Their logits, one row per example: of all positions, or one per example."""
  with torch.no_grad():
    if pair.weights.head == 'choose':
      inputs = {k: v[:, None] for k, v in inputs.items()}
    out = pair.torch(**inputs)
  if pair.weights.head is None:
    return out.last_hidden_state.numpy()
  if pair.weights.head == 'answer':
    return torch.stack([out.start_logits, out.end_logits], -1).numpy()
  return out.logits.numpy()


@pytest.mark.parametrize('head', HEADS)
@pytest.mark.parametrize('family', FAMILIES)
def test_packed_logits(pairs, family, head):
  pair = pairs(family, head)
  assert pair.weights.head == head
  assert pair.config.pre_norm == (family == 'XLMRobertaXL')
  assert pair.config.causal == (head == 'causal')
  batch, inputs = typed(pair, BATCH, pad(EXAMPLES))
  ours, want = outputs(pair, batch), theirs(pair, inputs)
  assert np.ptp(want) > 0.01  # far above what is tolerated
  for example, (row, span) in enumerate(spans()):
    if head is None or heads.HEADS[head].per_token:
      got, expected = ours[row, span], want[example, : len(EXAMPLES[example])]
    else:
      got, expected = ours[SLOTS[example]], want[example]
    np.testing.assert_allclose(got, expected, rtol=0, atol=LOGITS)


@pytest.mark.parametrize('head', HEADS)
@pytest.mark.parametrize('family', ['XLMRobertaXL', 'Bert'])
def test_packed_is_one_at_a_time(pairs, family, head):
  """The same example alone in a row, and among others."""
  pair = pairs(family, head)
  together = outputs(pair, typed(pair, BATCH)[0])
  rows = pack([[example] for example in EXAMPLES], 24)
  alone = outputs(pair, typed(pair, rows)[0])
  for example, (row, span) in enumerate(spans()):
    if head is None or heads.HEADS[head].per_token:
      a = together[row, span]
      b = alone[example, : len(EXAMPLES[example])]
    else:
      a, b = together[SLOTS[example]], alone[example, 0]
    np.testing.assert_allclose(a, b, rtol=0, atol=2e-6)


@pytest.mark.parametrize('family', FAMILIES)
def test_a_causal_position_sees_none_after_it(pairs, family):
  pair = pairs(family, 'causal')
  before = outputs(pair)
  changed = {**BATCH, 'tokens': BATCH['tokens'].copy()}
  at = 6  # inside the first example of the first row, of 9 tokens
  changed['tokens'][0, at] = 50 if BATCH['tokens'][0, at] != 50 else 51
  after = outputs(pair, changed)
  moved = np.abs(after - before).max(-1) > 0
  assert not moved[0, :at].any() and moved[0, at:9].all()
  assert not moved[0, 9:].any() and not moved[1:].any()


# --- Gradients ---------------------------------------------------------------


def labels_for(head, pair):
  """(objective, batch, their inputs with labels)."""
  config, rng = pair.config, np.random.default_rng(3)
  inputs = pad(EXAMPLES)
  if head == 'causal':
    objective = objectives.causal(config)
    batch = objective.prepare(BATCH, jax.random.key(0))
    wanted = inputs['input_ids'].clone()
    wanted[inputs['attention_mask'] == 0] = -100
    return objective, batch, inputs | {'labels': wanted}
  if head == 'choose':  # two questions of three choices
    objective = objectives.choose(config)
    batch = {
      **pack([EXAMPLES[:3], EXAMPLES[3:]], 28),
      'group': np.array([[0, 0, 0], [1, 1, 1]], np.int32),
      'labels': np.array([[0, 1, 0], [0, 0, 1]], np.int32),
    }
    inputs = {k: v.reshape(2, 3, -1) for k, v in inputs.items()}
    return objective, batch, inputs | {'labels': torch.tensor([1, 2])}
  if head == 'tag':
    objective = objectives.tag(config, tuple('abcdefg'))
    labels = np.full(BATCH['tokens'].shape, -1, np.int32)
    wanted = torch.full_like(inputs['input_ids'], -100)
    for example, (row, span) in enumerate(spans()):
      for i in range(1, span.stop - span.start - 1, 2):
        labels[row, span.start + i] = wanted[example, i] = rng.integers(7)
    return objective, BATCH | {'labels': labels}, inputs | {'labels': wanted}
  if head == 'answer':
    # Their softmax also runs over padding: examples of one length have none.
    examples = draw((8, 8, 8, 8, 8, 8), seed=1)
    batch = pack([examples[:2], examples[2:5], examples[5:]], 24)
    ends = np.sort(rng.integers(0, 8, (6, 2)), -1).astype(np.int32)
    ends[2] = 0  # no answer: <s>
    labels = np.full((*batch['starts'].shape, 2), -1, np.int32)
    for slot, end in zip(SLOTS, ends, strict=True):
      labels[slot] = end
    ends = torch.from_numpy(ends).long()
    wanted = {'start_positions': ends[:, 0], 'end_positions': ends[:, 1]}
    objective = objectives.answer(config)
    return objective, batch | {'labels': labels}, pad(examples) | wanted
  if head == 'classify':
    objective = objectives.classify(config, tuple('abcde'))
    labels = rng.integers(0, 5, len(SLOTS)).astype(np.int32)
    slots = np.full(BATCH['starts'].shape, -1, np.int32)
    for slot, label in zip(SLOTS, labels, strict=True):
      slots[slot] = label
    wanted = {'labels': torch.from_numpy(labels).long()}
    return objective, BATCH | {'labels': slots}, inputs | wanted
  objective = objectives.mlm(
    config, mask_id=60, special_ids=(0, 1, 2, 3, 60), pieces=(4, 60)
  )
  masked = np.zeros((len(ROWS), 4), np.int32)
  targets, weights = np.zeros_like(masked), np.zeros(masked.shape, np.float32)
  wanted = torch.full_like(inputs['input_ids'], -100)
  for example, (row, span) in enumerate(spans()):
    slot = SLOTS[example][1]
    place = (span.stop - span.start) // 2
    masked[row, slot] = span.start + place
    targets[row, slot] = wanted[example, place] = rng.integers(4, 61)
    weights[row, slot] = 1
  more = {'masked': masked, 'targets': targets, 'weights': weights}
  return objective, BATCH | more, inputs | {'labels': wanted}


def _slots(rows, empty):
  out = np.full(BATCH['starts'].shape, empty, np.int32)
  for r, row in enumerate(rows):
    out[r, : len(row)] = row
  return out


@pytest.mark.parametrize('head', HEADS[1:])
@pytest.mark.parametrize('family', WITH_BERT)
def test_gradients(pairs, family, head):
  """Theirs in f64, so that the error is ours alone."""
  pair = pairs(family, head)
  objective, batch, inputs = labels_for(head, pair)
  batch, inputs = typed(pair, batch, inputs)
  value, ours = grad_of(objective.loss, batch)(pair.params)
  model = pair.torch.double()
  try:
    want = model(**inputs).loss
    want.backward()
    tree = to_ours(pair, {k: p.grad for k, p in model.named_parameters()})
  finally:
    model.zero_grad()
    model.float()
  assert abs(float(value) - want.item()) < GRADIENT
  embed = np.abs(tree['encoder']['embed']['positions']).max()
  zero = []

  def check(path, x, y):
    path = name_of(path)
    scale = np.abs(y).max()
    if scale < 1e-9 * embed:
      zero.append(path)
      scale = embed
    np.testing.assert_allclose(x, y, 0, GRADIENT * scale, err_msg=path)

  jax.tree_util.tree_map_with_path(check, ours, tree)
  # softmax takes no notice of what is added to all of its scores.
  expected = ['encoder/layers/attention/key/bias']
  if head in ('choose', 'answer'):
    expected.append('head/out/bias')
  if head == 'answer' and pair.config.pre_norm:
    expected.append('encoder/norm/bias')
  assert sorted(zero) == sorted(expected)


# --- Positions ---------------------------------------------------------------


@pytest.mark.parametrize('pad_id', [1, 3])
@pytest.mark.parametrize('family', FAMILIES[:2])
def test_position_ids(tmp_path, family, pad_id):
  """They start after the pad's id and do not count a pad inside the text."""
  pair = Pair(tiny('mlm', family=family, pad_token_id=pad_id), tmp_path)
  assert pair.config.pad_id == pad_id
  assert pair.config.max_length == 42 - pad_id - 1
  texts = [[0, 5, pad_id, 6, 7, 2], [0, 8, pad_id, pad_id, 9, 2]]
  longest = [[0, *range(4, 2 + pair.config.max_length), 2]]
  for rows in (texts, longest):
    model = loaded.Loaded(Weights(pair.config, pair.params, 'mlm'))
    got = model.logits(rows)
    with torch.no_grad():
      want = pair.torch(
        input_ids=torch.tensor(rows),
        attention_mask=torch.ones(len(rows), len(rows[0]), dtype=torch.long),
      ).logits.numpy()
    np.testing.assert_allclose(np.stack(got), want, rtol=0, atol=LOGITS)


# --- Files -------------------------------------------------------------------


@pytest.mark.parametrize('head', HEADS)
@pytest.mark.parametrize('family', FAMILIES)
def test_round_trip(pairs, family, head, tmp_path):
  pair = pairs(family, head)
  writer.write(tmp_path / 'out', pair.weights)
  for file in ('model.safetensors', 'config.json'):
    ours = (tmp_path / 'out' / file).read_bytes()
    assert ours == (pair.folder / file).read_bytes()


@pytest.mark.parametrize('head', HEADS)
@pytest.mark.parametrize('family', WITH_BERT)
def test_transformers_loads_what_is_written_fresh(
  pairs, family, head, tmp_path
):
  pair = pairs(family, head)
  weights = dataclasses.replace(pair.weights, source=None)
  writer.write(tmp_path / 'out', weights)
  model, facts = class_of(head, family).from_pretrained(
    tmp_path / 'out', output_loading_info=True, attn_implementation='eager'
  )
  assert not facts['missing_keys'] and not facts['unexpected_keys']
  want = pair.torch.state_dict()
  got = model.state_dict()
  assert got.keys() == want.keys()
  for key in want:
    assert torch.equal(got[key], want[key]), key


# --- Sizes as published ------------------------------------------------------

# Published: 125 M and 355 M (Liu et al. 2019), 270 M and 550 M (Conneau et al.
# 2020, who count mBERT as 172 M), 3.5 B and 10.7 B (Goyal et al. 2021), 82 M
# (Sanh et al. 2019), 110 M (Martin et al. 2020); the model cards round them up
# or down.
PUBLISHED = {
  'base': ('XLMRoberta', 270e6),
  'large': ('XLMRoberta', 550e6),
  'xl': ('XLMRobertaXL', 3.5e9),
  'xxl': ('XLMRobertaXL', 10.7e9),
  'roberta': ('Roberta', 125e6),
  'roberta-large': ('Roberta', 355e6),
  'distilroberta': ('Roberta', 82e6),
  'camembert': ('Camembert', 110e6),
  'mbert': ('Bert', 172e6),
}


@pytest.mark.parametrize('head', ['mlm', 'classify', 'choose', 'tag'])
@pytest.mark.parametrize('name', PUBLISHED)
def test_parameters_at_full_size(name, head):
  """As many as their class has; shapes only, nothing is made."""
  family, published = PUBLISHED[name]
  config = VARIANTS[name]
  ours = jax.eval_shape(
    lambda key: heads.init(config, key, head, 3), jax.random.key(0)
  )
  dims = heads.plan(config, head)
  count = 0
  for path, leaf in jax.tree_util.tree_leaves_with_path(ours):
    assert len(dims[name_of(path)]) == leaf.ndim
    count += leaf.size
  their_config = getattr(transformers, f'{family}Config')(
    **{
      key: getattr(config, field)
      for field, (key, _) in config_json.FACTS.items()
    },
    num_labels=3,
  )
  with torch.device('meta'):
    model = class_of(head, family)(their_config)
  assert count == sum(p.numel() for p in model.parameters())
  if head == 'mlm':
    assert abs(count / published - 1) < 0.04


@pytest.mark.parametrize('name', pooling.POOLINGS)
def test_a_head_is_not_named_like_a_pooling(name):
  with pytest.raises(ValueError, match=f"^head '{name}' has the name of"):
    dataclasses.replace(heads.HEADS['tag'], name=name)
