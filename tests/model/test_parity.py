"""The model computes what Hugging Face's PyTorch model computes, in f32.

Every tensor is random (see torch_models), the attention is their eager one.
Tolerances: hidden states 1e-4, logits 1e-3, gradients 1e-5 of the largest.
"""

import dataclasses
import functools

import jax
import numpy as np
import optax
from pairs import (
  BATCH,
  EXAMPLES,
  GRADIENT,
  HIDDEN,
  LOGITS,
  PAD,
  ROWS,
  WIDE,
  Pair,
  assert_close,
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
from torch_models import class_of, randomize, tiny
import transformers
from transformers.models.xlm_roberta import modeling_xlm_roberta as theirs

from xlmr_jax import heads, model
from xlmr_jax.checkpoints.hf import names as hf_names
from xlmr_jax.model import Config
from xlmr_jax.training import objectives, optim


@pytest.fixture(scope='module')
def mlm(tmp_path_factory):
  return Pair(tiny('mlm', **WIDE), tmp_path_factory.mktemp('mlm'))


@pytest.fixture(scope='module')
def classify(tmp_path_factory):
  return Pair(
    tiny('classify', **WIDE, num_labels=3), tmp_path_factory.mktemp('cls')
  )


# --- Module by module -------------------------------------------------------

X = np.random.default_rng(1).standard_normal((2, 7, 128)).astype(np.float32)
ONE = np.ones((2, 7), np.int32)  # a single example fills each row


def test_embeddings(mlm):
  """Also a literal pad inside the text, which gets the pad's own position."""
  examples = [[0, 5, 6, PAD, 7, 2], [0, PAD, PAD, 8, 9, 2]]
  batch = pack([[e] for e in examples], 6)
  ours = model.Embed(mlm.config).apply(
    {'params': mlm.params['encoder']['embed']},
    batch['tokens'],
    batch['positions'],
  )
  want = mlm.torch.roberta.embeddings(torch.tensor(examples))
  assert_close(ours, want, HIDDEN)


def test_attention(mlm):
  for index, layer in enumerate(mlm.torch.roberta.encoder.layer):
    params = mlm.layer(index)['attention']
    ours = model.Attention(mlm.config).apply({'params': params}, X, ONE)
    want, _ = layer.attention.self(torch.from_numpy(X))
    assert_close(ours, layer.attention.output.dense(want), HIDDEN)


def test_feed_forward(mlm):
  for index, layer in enumerate(mlm.torch.roberta.encoder.layer):
    params = mlm.layer(index)['ff']
    ours = model.FeedForward(mlm.config).apply({'params': params}, X)
    want = layer.output.dense(layer.intermediate(torch.from_numpy(X)))
    assert_close(ours, want, HIDDEN)


def test_layer(mlm):
  for index, layer in enumerate(mlm.torch.roberta.encoder.layer):
    params = {'params': mlm.layer(index)}
    ours = model.Layer(mlm.config).apply(params, X, ONE)
    assert_close(ours, layer(torch.from_numpy(X)), HIDDEN)


def test_layer_norm_at_large_means(mlm):
  """Where the variance is computed as E[x²] - E[x]², f32 loses it."""
  params = mlm.layer(0)['ff_norm']
  x = X + 300
  ours = model.layer_norm(mlm.config, 'norm').apply({'params': params}, x)
  norm = mlm.torch.roberta.encoder.layer[0].output.LayerNorm
  want = norm.double()(torch.from_numpy(x).double())
  norm.float()
  assert_close(ours, want, HIDDEN)


def test_mlm_head(mlm):
  ours = heads.apply(heads.MlmHead(mlm.config), mlm.params, X, {})
  assert_close(ours, mlm.torch.lm_head(torch.from_numpy(X)), LOGITS)


def test_classify_head(classify):
  head = heads.ExampleHead(classify.config, 3)
  starts = np.array([[0, 4], [2, 0]])
  ours = heads.apply(head, classify.params, X, {'starts': starts})
  x = torch.from_numpy(np.take_along_axis(X, starts[:, :, None], axis=1))
  want = classify.torch.classifier(x.reshape(4, 1, 128)).reshape(2, 2, 3)
  assert_close(ours, want, LOGITS)


# --- Whole ------------------------------------------------------------------


def test_packed_rows_match_padded_ones(mlm):
  hidden = mlm.hidden()
  logits = heads.apply(heads.MlmHead(mlm.config), mlm.params, hidden, {})
  with torch.no_grad():
    want = mlm.torch(**pad(EXAMPLES), output_hidden_states=True)
  for example, (row, span) in enumerate(spans()):
    length = len(EXAMPLES[example])
    last = want.hidden_states[-1][example, :length]
    assert_close(hidden[row, span], last, HIDDEN)
    assert_close(logits[row, span], want.logits[example, :length], LOGITS)


def test_classify_logits(classify):
  head = heads.ExampleHead(classify.config, 3)
  logits = heads.apply(head, classify.params, classify.hidden(), BATCH)
  with torch.no_grad():
    want = classify.torch(**pad(EXAMPLES)).logits
  ours = [logits[r, e] for r, row in enumerate(ROWS) for e in range(len(row))]
  assert_close(np.stack(ours), want, LOGITS)


def test_untied_decoder(tmp_path):
  """transformers adds the decoder's own bias, not the head's."""
  pair = Pair(tiny('mlm', **WIDE, tie_word_embeddings=False), tmp_path)
  head = heads.MlmHead(pair.config, tied=False)
  ours = heads.apply(head, pair.params, X, {})
  assert_close(ours, pair.torch.lm_head(torch.from_numpy(X)), LOGITS)


def test_a_pad_inside_the_text(mlm):
  """It is attended to; the positions after it do not count it."""
  examples = [[0, 5, PAD, 6, 7, 2], [0, 8, PAD, PAD, 2]]
  rows = [examples]
  hidden = mlm.hidden(batch=pack(rows, 12))
  with torch.no_grad():
    want = mlm.torch.roberta(**pad(examples)).last_hidden_state
  for example, (row, span) in enumerate(spans(rows)):
    length = len(examples[example])
    assert_close(hidden[row, span], want[example, :length], HIDDEN)


def test_another_pad_id(tmp_path):
  """Positions start after the pad's id, wherever it is (rinna's is 3)."""
  pair = Pair(tiny('mlm', **WIDE, pad_token_id=3), tmp_path)
  assert pair.config.max_length == 42 - 3 - 1
  ids = [[0, *range(5, 41), 2]]
  assert len(ids[0]) == pair.config.max_length
  hidden = pair.hidden(batch=pack([ids], 38))
  with torch.no_grad():
    want = pair.torch.roberta(torch.tensor(ids)).last_hidden_state
  assert_close(hidden, want, HIDDEN)


# --- What would break it ----------------------------------------------------


def test_every_detail_matters(mlm):
  """Each of these is outside the tolerance: the tests above would notice."""
  right = np.asarray(mlm.hidden())
  real = BATCH['segments'] > 0

  def moved(config=None, params=None):
    other = np.asarray(mlm.hidden(config, params))
    return np.abs(other - right)[real].max()

  change = functools.partial(dataclasses.replace, mlm.config)
  assert moved() == 0
  assert moved(change(activation='gelu_new')) > HIDDEN
  assert moved(change(norm_eps=1e-12)) > HIDDEN

  layers = mlm.params['encoder']['layers']
  swapped = {
    **layers,
    'attention_norm': layers['ff_norm'],
    'ff_norm': layers['attention_norm'],
  }
  encoder = {**mlm.params['encoder'], 'layers': swapped}
  assert moved(params={'encoder': encoder}) > HIDDEN

  def without(path, leaf):
    """The parameters with one leaf set to 0."""
    return jax.tree_util.tree_map_with_path(
      lambda p, x: np.zeros_like(x) if p == path else x,
      {'encoder': mlm.params['encoder']},
    )

  lost = []
  leaves, _ = jax.tree_util.tree_flatten_with_path(
    {'encoder': mlm.params['encoder']}
  )
  for path, leaf in leaves:
    name = name_of(path)
    if name.endswith('/bias'):
      lost.append(name)
      difference = moved(params=without(path, leaf))
      # softmax takes no notice of a number added to all scores of a query.
      if name == 'encoder/layers/attention/key/bias':
        assert difference < HIDDEN
      else:
        assert difference > HIDDEN, name
  assert len(lost) == 9


# --- Gradients and training -------------------------------------------------


def mlm_case(pair):
  """The same masked tokens to predict, as ours and as theirs take them."""
  rng = np.random.default_rng(2)
  masked = np.zeros((len(ROWS), 5), np.int32)
  targets = np.zeros_like(masked)
  weights = np.zeros(masked.shape, np.float32)
  labels = torch.full_like(pad(EXAMPLES)['input_ids'], -100)
  filled = [0] * len(ROWS)
  for example, (row, span) in enumerate(spans()):
    for place in range(0, span.stop - span.start, 4):
      slot = filled[row]
      if slot < 5:
        filled[row] += 1
        targets[row, slot] = rng.integers(4, 61)
        masked[row, slot] = span.start + place
        weights[row, slot] = 1
        labels[example, place] = int(targets[row, slot])
  objective = objectives.mlm(
    pair.config, mask_id=60, special_ids=(0, 1, 2, 3, 60), pieces=(4, 60)
  )
  batch = BATCH | {'masked': masked, 'targets': targets, 'weights': weights}
  return objective.loss, batch, pad(EXAMPLES) | {'labels': labels}


def classify_case(pair):
  labels = np.full(BATCH['starts'].shape, -1, np.int32)
  flat = [2, 2, 1, 2, 2, 0]
  slots = [(r, e) for r, row in enumerate(ROWS) for e in range(len(row))]
  for label, slot in zip(flat, slots, strict=True):
    labels[slot] = label
  objective = objectives.classify(pair.config, tuple('abc'))
  batch = BATCH | {'labels': labels}
  return objective.loss, batch, pad(EXAMPLES) | {'labels': torch.tensor(flat)}


CASES = {'mlm': mlm_case, 'classify': classify_case}


@pytest.mark.parametrize('name', CASES)
def test_gradients(request, name):
  """Their gradient is taken in f64, so that the error is ours alone."""
  pair = request.getfixturevalue(name)
  loss, batch, inputs = CASES[name](pair)
  value, ours = grad_of(loss, batch)(pair.params)
  torch_model = pair.torch.double()
  try:
    want = torch_model(**inputs).loss
    want.backward()
    gradients = {k: p.grad for k, p in torch_model.named_parameters()}
    want_tree = to_ours(pair, gradients)
  finally:
    torch_model.zero_grad()
    torch_model.float()
  assert abs(float(value) - want.item()) < GRADIENT

  def check(path, x, y):
    path = name_of(path)
    if path.endswith('attention/key/bias'):  # 0 but for rounding
      scale = np.abs(want_tree['encoder']['embed']['norm']['bias']).max()
    else:
      scale = np.abs(y).max()
    assert scale > 1e-6, path
    np.testing.assert_allclose(x, y, 0, GRADIENT * scale, err_msg=path)

  jax.tree_util.tree_map_with_path(check, ours, want_tree)


@pytest.mark.parametrize('name', CASES)
def test_three_steps_of_adamw(name, tmp_path):
  """lr 1e-3, eps 1e-6, decay 0.01 on everything, no dropout."""
  sizes = {'num_labels': 3} if name == 'classify' else {}
  pair = Pair(tiny(name, **WIDE, **sizes), tmp_path)
  loss, batch, inputs = CASES[name](pair)
  plan = heads.plan(pair.config, name)
  start = pair.params
  transform = optim.adamw(
    1e-3,
    mask=optim.decays(start, plan, 'all'),
    factors=optim.scales(start, pair.config.num_layers, 1.0),
    eps=1e-6,
    weight_decay=0.01,
  )
  gradient = grad_of(loss, batch)
  params, state = start, transform.init(start)
  torch_optim = torch.optim.AdamW(
    pair.torch.parameters(), lr=1e-3, eps=1e-6, weight_decay=0.01
  )
  for _ in range(3):
    _, grads = gradient(params)
    updates, state = transform.update(grads, state, params)
    params = optax.apply_updates(params, updates)
    torch_optim.zero_grad()
    pair.torch(**inputs).loss.backward()
    torch_optim.step()
  want = to_ours(pair, dict(pair.torch.named_parameters()))

  def check(path, x, y, before):
    path = name_of(path)
    np.testing.assert_allclose(x, y, rtol=0, atol=1e-5, err_msg=path)
    if not path.endswith('attention/key/bias'):  # has no gradient
      assert np.abs(x - before).max() > 1e-3, path

  jax.tree_util.tree_map_with_path(check, params, want, start)


# --- Real size --------------------------------------------------------------


@pytest.fixture(scope='module')
def base(tmp_path_factory):
  """XLM-R base at its size, random; two short examples in one row."""
  config = transformers.XLMRobertaConfig(
    vocab_size=250_002,
    max_position_embeddings=514,
    type_vocab_size=1,
    layer_norm_eps=1e-5,
    attn_implementation='eager',
    num_labels=3,
  )
  # Built without values, which would take longer than all of the test.
  with torch.device('meta'):
    torch_model = class_of('mlm')(config)
  torch_model.to_empty(device='cpu').tie_weights()
  embeddings = torch_model.roberta.embeddings
  embeddings.token_type_ids.zero_()
  randomize(torch_model).eval()
  pair = Pair(torch_model, tmp_path_factory.mktemp('base'))
  assert pair.config == Config()
  examples = draw((13, 8), vocab=250_002)
  with torch.no_grad():
    want = torch_model(**pad(examples), output_hidden_states=True)
  hidden = pair.hidden(batch=pack([examples], 24))
  return pair, examples, hidden, want


def test_base_mlm(base):
  pair, examples, hidden, want = base
  head = heads.MlmHead(pair.config)
  logits = heads.apply(head, pair.params, hidden, {})
  for example, (row, span) in enumerate(spans([examples])):
    length = len(examples[example])
    last = want.hidden_states[-1][example, :length]
    assert_close(hidden[row, span], last, HIDDEN)
    assert_close(logits[row, span], want.logits[example, :length], LOGITS)


def test_base_classify(base):
  pair, examples, hidden, want = base
  head = randomize(theirs.XLMRobertaClassificationHead(pair.torch.config), 1)
  found = {f'classifier.{k}': v.detach() for k, v in head.state_dict().items()}
  params: dict = {}
  for name, row in hf_names.table(pair.config, 'classify', 3).items():
    if name in found:
      _, module, leaf = row.path.split('/')
      array = found[name].numpy()
      params.setdefault(module, {})[leaf] = array.T if row.flip else array
  logits = heads.apply(
    heads.ExampleHead(pair.config, 3),
    {**pair.params, 'head': params},
    hidden,
    pack([examples], 24),
  )
  with torch.no_grad():
    scores = head.eval()(want.hidden_states[-1])
  assert_close(logits[0], scores, LOGITS)
