"""BERT's files: what only they hold, and how they go back."""

import json
import types

import jax
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
import torch
from torch_models import SIZES, randomize
import transformers

import xlmr_jax
from xlmr_jax.checkpoints import directory
from xlmr_jax.checkpoints.weights import STORED
from xlmr_jax.inference import loaded

LOGITS = 1e-4
CLS, SEP = 3, 4
RNG = np.random.default_rng(5)
WORDS = lambda n: RNG.integers(5, 61, n).tolist()
TEXTS = [[CLS, *WORDS(n), SEP] for n in (7, 1, 12)]
PAIRS = [[CLS, *WORDS(n), SEP, *WORDS(m), SEP] for n, m in ((4, 6), (1, 9))]
# What batches ask of a WordPiece tokenizer.
TOKENIZER = types.SimpleNamespace(typed=True, eos_id=SEP)
FACTS = {**SIZES, 'pad_token_id': 0, 'layer_norm_eps': 1e-12}


def make(name, folder, **changes):
  """A tiny random model of transformers, and its folder."""
  config = transformers.BertConfig(**{**FACTS, **changes})
  model = randomize(getattr(transformers, name)(config)).eval()
  model.save_pretrained(folder)
  return model


def token_types(ids):
  """1 after the first [SEP], as their tokenizer numbers a pair."""
  first = ids.index(SEP)
  return [int(i > first) for i in range(len(ids))]


def theirs(model, ids, **more):
  inputs = {'input_ids': [ids], 'token_type_ids': [token_types(ids)]}
  inputs = {k: torch.tensor(v) for k, v in inputs.items()}
  with torch.no_grad():
    return model(**inputs, **more)


def close(ours, want):
  np.testing.assert_allclose(ours, want.numpy(), rtol=0, atol=LOGITS)


def with_types(folder):
  model = xlmr_jax.load(folder)
  return loaded.Loaded(model.weights, TOKENIZER)


def assert_back(folder, out):
  """Every file came back byte for byte."""
  for file in folder.iterdir():
    assert (out / file.name).read_bytes() == file.read_bytes(), file.name


@pytest.fixture(scope='module')
def pretraining(tmp_path_factory):
  folder = tmp_path_factory.mktemp('pretraining')
  return make('BertForPreTraining', folder), folder


# --- Token types ------------------------------------------------------------


@pytest.mark.parametrize('count', [1, 2])
def test_a_pairs_second_text_has_another_type(tmp_path, count):
  model = make('BertModel', tmp_path, type_vocab_size=count)
  m = with_types(tmp_path)
  assert m.config.bert and m.config.max_length == 42
  for ids, got in zip(TEXTS + PAIRS, m.encode(TEXTS + PAIRS), strict=True):
    if count == 1:
      want = model(torch.tensor([ids])).last_hidden_state.detach()
    else:
      want = theirs(model, ids).last_hidden_state
    close(got, want[0])
  # Packed is alone, and a tokenizer without types has none: e5-small's case.
  for ids, got in zip(PAIRS, m.encode(PAIRS), strict=True):
    np.testing.assert_allclose(m.encode([ids])[0], got, rtol=0, atol=2e-6)
  with torch.no_grad():
    plain = model(torch.tensor(PAIRS[:1])).last_hidden_state[0]
  close(xlmr_jax.load(tmp_path).encode(PAIRS[:1])[0], plain)
  moved = np.abs(plain.numpy() - m.encode(PAIRS[:1])[0]).max()
  assert (moved > 100 * LOGITS) == (count == 2)


def test_a_pad_inside_a_text_takes_a_position(tmp_path):
  model = make('BertForMaskedLM', tmp_path)
  m = with_types(tmp_path)
  ids = [CLS, 7, 0, 9, 0, 0, 8, SEP]
  close(m.logits([TEXTS[0], ids])[1], theirs(model, ids).logits[0])
  longest = [CLS, *range(5, 45), SEP]
  close(m.logits([longest])[0], theirs(model, longest).logits[0])
  with pytest.raises(ValueError, match='has 43 tokens, the model holds 42'):
    m.logits([[*longest, SEP]])


@pytest.mark.parametrize('activation', ['relu', 'gelu_new', 'gelu'])
def test_the_language_head_has_the_layers_activation(tmp_path, activation):
  """RoBERTa's has GELU whatever the layers have."""
  changes = {'hidden_act': activation, 'hidden_size': 64}
  model = make('BertForMaskedLM', tmp_path, **changes)
  with torch.no_grad():  # far out, where tanh's GELU is another
    model.cls.predictions.transform.dense.weight.mul_(20)
  model.save_pretrained(tmp_path)
  m = with_types(tmp_path)
  assert m.config.activation == activation
  for ids, got in zip(PAIRS, m.logits(PAIRS), strict=True):
    close(got, theirs(model, ids).logits[0])


# --- Pretraining's two heads ------------------------------------------------


def test_pretraining_keeps_the_pooler_and_the_next_sentence(
  pretraining, tmp_path
):
  model, folder = pretraining
  m = with_types(folder)
  assert m.head == 'mlm' and m.weights.tied
  for ids, got in zip(PAIRS, m.logits(PAIRS), strict=True):
    close(got, theirs(model, ids).prediction_logits[0])
  # What is kept is what theirs scores two sentences by.
  kept, state = m.params['pooler'], m.encode(PAIRS[:1])[0][0]
  dense, out = kept['dense'], kept['next_sentence']
  pooled = np.tanh(state @ dense['kernel'] + dense['bias'])
  scores = pooled @ out['kernel'] + out['bias']
  close(scores, theirs(model, PAIRS[0]).seq_relationship_logits[0])

  # Through our own format, back to the same bytes.
  directory.write(tmp_path / 'ours', directory.read(folder), 'orbax')
  directory.write(tmp_path / 'out', directory.read(tmp_path / 'ours'), 'hf')
  assert_back(folder, tmp_path / 'out')
  # Written anew: the same class, which finds all it looks for.
  directory.write(tmp_path / 'fresh', directory.read(folder), 'hf', fresh=True)
  again, facts = transformers.BertForPreTraining.from_pretrained(
    tmp_path / 'fresh', output_loading_info=True
  )
  assert not facts['missing_keys'] and not facts['unexpected_keys']
  for key, value in model.state_dict().items():
    assert torch.equal(again.state_dict()[key], value), key
  config = json.loads((tmp_path / 'fresh' / 'config.json').read_text())
  assert config['architectures'] == ['BertForPreTraining']


def test_a_classifier_takes_over_the_pooler(pretraining, tmp_path):
  """Its dense layer is the pooler, as in Hugging Face's class."""
  model, folder = pretraining
  with pytest.warns(UserWarning, match='random weights: head/out/bias, head/o'):
    m = xlmr_jax.load(folder, head='classify', labels=('a', 'b'), fresh=True)
  weight = model.bert.pooler.dense.weight.detach().numpy()
  np.testing.assert_array_equal(m.params['head']['dense']['kernel'], weight.T)
  assert m.params.keys() == {'encoder', 'head'}
  m.save(tmp_path / 'out', format='hf')
  again, facts = transformers.BertForSequenceClassification.from_pretrained(
    tmp_path / 'out', output_loading_info=True
  )
  assert not facts['missing_keys'] and not facts['unexpected_keys']
  m = loaded.Loaded(m.weights, TOKENIZER)
  for ids, got in zip(PAIRS, m.logits(PAIRS), strict=True):
    close(got, theirs(again.eval(), ids).logits[0])


def test_the_body_alone_keeps_its_pooler(pretraining):
  _, folder = pretraining
  m = xlmr_jax.load(folder, head=None)
  assert m.params.keys() == {'encoder', 'pooler'}
  assert m.params['pooler'].keys() == {'dense'}


def test_files_of_2019(pretraining, tmp_path):
  """BertForMaskedLM with pooler and next sentence, gamma, beta and buffers."""
  model, folder = pretraining
  source = tmp_path / 'source'
  source.mkdir()
  state = load_file(folder / 'model.safetensors')
  old = {}
  for key, value in state.items():
    if 'LayerNorm' in key:
      key = key.replace('.weight', '.gamma').replace('.bias', '.beta')
    old[key] = value
  table = old['bert.embeddings.word_embeddings.weight']
  old['cls.predictions.decoder.weight'] = table
  save_file(old, source / 'model.safetensors', {'format': 'pt'})
  config = json.loads((folder / 'config.json').read_text())
  config |= {'architectures': ['BertForMaskedLM'], 'directionality': 'bidi'}
  (source / 'config.json').write_text(json.dumps(config, indent=2) + '\n')
  m = with_types(source)
  assert m.head == 'mlm' and 'next_sentence' in m.params['pooler']
  close(m.logits(PAIRS[:1])[0], theirs(model, PAIRS[0]).prediction_logits[0])
  directory.write(tmp_path / 'out', directory.read(source), 'hf')
  assert_back(source, tmp_path / 'out')
  # A position buffer can be computed: it is left out, and the record says so.
  old['bert.embeddings.position_ids'] = np.arange(42)[None]
  save_file(old, source / 'model.safetensors', {'format': 'pt'})
  weights = directory.read(source)
  assert weights.source['dropped'] == ['bert.embeddings.position_ids']


def test_two_biases_of_the_decoder(pretraining, tmp_path):
  """Of two, the decoder's own is added; the other one goes out again."""
  _, folder = pretraining
  state = load_file(folder / 'model.safetensors')
  bias = state['cls.predictions.bias']
  state['cls.predictions.decoder.bias'] = bias + 1
  save_file(state, tmp_path / 'model.safetensors', {'format': 'pt'})
  text = (folder / 'config.json').read_text()
  (tmp_path / 'config.json').write_text(text)
  weights = directory.read(tmp_path)
  np.testing.assert_array_equal(weights.params['head']['bias'], bias + 1)
  directory.write(tmp_path / 'out', weights, 'hf')
  out = (tmp_path / 'out' / 'model.safetensors').read_bytes()
  assert out == (tmp_path / 'model.safetensors').read_bytes()


# --- What is recognised without help, and what is refused -------------------


@pytest.mark.parametrize(
  ('name', 'head'),
  [
    ('BertForSequenceClassification', 'classify'),
    ('BertForTokenClassification', 'tag'),
    ('BertForMultipleChoice', 'choose'),
    ('BertForQuestionAnswering', 'answer'),
    ('BertForMaskedLM', 'mlm'),
    ('BertLMHeadModel', 'causal'),
    ('BertModel', None),
  ],
)
def test_the_class_says_which_head(tmp_path, name, head):
  make(name, tmp_path, is_decoder=head == 'causal')
  weights = directory.read(tmp_path)
  assert weights.head == head and weights.config.causal == (head == 'causal')
  # Any other head is new, and these weights are left out.
  assert directory.read(tmp_path, head=None).head is None
  assert directory.read(tmp_path, head=STORED).head == head


@pytest.mark.parametrize(
  ('changes', 'message'),
  [
    (
      {'architectures': ['BertForNextSentencePrediction']},
      "architecture 'BertForNextSentencePrediction' is not one of .*Bert "
      'followed by Model, ForMaskedLM',
    ),
    ({'model_type': 'distilbert'}, "'distilbert' .*: DistilBERT: its layers"),
    ({'model_type': 'albert'}, "'albert' .*: ALBERT: its layers share"),
    ({'model_type': 'electra'}, "'electra' .*: ELECTRA: its embeddings"),
    ({'model_type': 'rembert'}, "'rembert' .*: RemBERT: its embeddings"),
    ({'position_embedding_type': 'relative_key'}, 'only learned absolute'),
    ({'hidden_act': 'swish'}, "hidden_act 'swish' is not one of gelu, gelu_n"),
    ({'is_decoder': True, 'add_cross_attention': True}, 'cross-attention'),
  ],
)
def test_another_model_is_refused(pretraining, tmp_path, changes, message):
  _, folder = pretraining
  config = json.loads((folder / 'config.json').read_text()) | changes
  (tmp_path / 'config.json').write_text(json.dumps(config))
  tensors = folder / 'model.safetensors'
  (tmp_path / 'model.safetensors').write_bytes(tensors.read_bytes())
  with pytest.raises(ValueError, match=message):
    directory.read(tmp_path)


def test_without_its_next_sentence_half(pretraining, tmp_path):
  _, folder = pretraining
  state = load_file(folder / 'model.safetensors')
  del state['cls.seq_relationship.bias']
  save_file(state, tmp_path / 'model.safetensors', {'format': 'pt'})
  text = (folder / 'config.json').read_text()
  (tmp_path / 'config.json').write_text(text)
  with pytest.raises(ValueError, match="missing key 'cls.seq_relationship.bi"):
    directory.read(tmp_path)


# --- sentence-transformers' Dense: LaBSE ------------------------------------

MODULES = ('Transformer', 'Pooling', 'Dense', 'Normalize')
DENSE = {
  'in_features': 32,
  'out_features': 24,
  'bias': True,
  'activation_function': 'torch.nn.modules.activation.Tanh',
}


def labse(folder, kinds=MODULES, how='cls_token', pickled=False, **changes):
  """A tiny LaBSE: (their body, their layer after it)."""
  model = make('BertModel', folder)
  config = {**DENSE, **changes}
  linear = torch.nn.Linear(32, config['out_features'], bias=config['bias'])
  randomize(linear, 3)
  with torch.no_grad():
    linear.weight.mul_(10)
  modules = [
    {
      'idx': i,
      'name': str(i),
      'path': f'{i}_{kind}' if i else '',
      'type': f'sentence_transformers.models.{kind}',
    }
    for i, kind in enumerate(kinds)
  ]
  (folder / 'modules.json').write_text(json.dumps(modules))
  (folder / '1_Pooling').mkdir()
  pooling = {'word_embedding_dimension': 32, f'pooling_mode_{how}': True}
  (folder / '1_Pooling' / 'config.json').write_text(json.dumps(pooling))
  (folder / '2_Dense').mkdir()
  (folder / '2_Dense' / 'config.json').write_text(json.dumps(config))
  state = {f'linear.{k}': v for k, v in linear.state_dict().items()}
  if pickled:
    torch.save(state, folder / '2_Dense' / 'pytorch_model.bin')
  else:
    arrays = {k: v.numpy() for k, v in state.items()}
    file = folder / '2_Dense' / 'model.safetensors'
    save_file(arrays, file, {'format': 'pt'})
  return model, linear


@pytest.mark.parametrize(
  ('how', 'normalize', 'changes'),
  [
    ('cls', True, {}),
    ('mean', False, {'bias': False, 'out_features': 40}),
    (
      'cls',
      True,
      {'activation_function': 'torch.nn.modules.linear.Identity'},
    ),
  ],
)
def test_a_dense_layer_after_the_pooling(tmp_path, how, normalize, changes):
  source = tmp_path / 'source'
  switch = {'cls': 'cls_token', 'mean': 'mean_tokens'}[how]
  kinds = MODULES[: 3 + normalize]
  model, linear = labse(source, kinds, switch, **changes)
  m = with_types(source)
  got = m.embed(TEXTS)
  for ids, vector in zip(TEXTS, got, strict=True):
    with torch.no_grad():
      states = theirs(model, ids).last_hidden_state[0]
      want = linear(states[0] if how == 'cls' else states.mean(0))
      if 'activation_function' not in changes:
        want = torch.tanh(want)
      if normalize:
        want = torch.nn.functional.normalize(want, dim=0)
    np.testing.assert_allclose(vector, want, rtol=0, atol=1e-5)
  # Another pooling than the layer was made for goes without it.
  other = {'cls': 'mean', 'mean': 'cls'}[how]
  assert m.embed(TEXTS, pooling=other).shape == (len(TEXTS), 32)

  # There and back: every file, byte for byte.
  directory.write(tmp_path / 'ours', directory.read(source), 'orbax')
  again = with_types(tmp_path / 'ours')
  assert again.pooling == m.pooling
  np.testing.assert_array_equal(again.embed(TEXTS), got)
  again.save(tmp_path / 'out', format='hf')
  for file in source.rglob('*'):
    if file.is_file():
      back = tmp_path / 'out' / file.relative_to(source)
      assert back.read_bytes() == file.read_bytes(), file
  # Written anew, it computes the same.
  m.save(tmp_path / 'fresh', format='hf', fresh=True)
  fresh = with_types(tmp_path / 'fresh')
  np.testing.assert_array_equal(fresh.embed(TEXTS), got)


def test_a_pickled_dense_layer(tmp_path):
  labse(tmp_path / 'source', pickled=True)
  m = xlmr_jax.load(tmp_path / 'source')
  m.save(tmp_path / 'out', format='hf')
  assert (tmp_path / 'out' / '2_Dense' / 'model.safetensors').is_file()
  again = xlmr_jax.load(tmp_path / 'out')
  np.testing.assert_array_equal(again.embed(TEXTS), m.embed(TEXTS))
  # On a mesh it is cut like a pooler.
  spread = xlmr_jax.load(tmp_path / 'out', mesh=(1, 1, 1))
  np.testing.assert_allclose(
    spread.embed(TEXTS), m.embed(TEXTS), rtol=0, atol=1e-6
  )
  assert jax.tree.structure(spread.params) == jax.tree.structure(m.params)


@pytest.mark.parametrize(
  ('kinds', 'changes', 'message'),
  [
    (
      MODULES,
      {'activation_function': 'torch.nn.modules.activation.GELU'},
      "2_Dense/config.json: activation_function 'torch.*GELU' is not one of",
    ),
    (MODULES, {'in_features': 64}, r'out_features = \(64, 24\), and the body'),
    (MODULES, {'module_input_name': 'token_embeddings'}, 'is not sentence_em'),
    (('Transformer', 'Dense', 'Dense'), {}, 'one Dense is supported, between'),
  ],
)
def test_another_dense_layer_is_refused(tmp_path, kinds, changes, message):
  labse(tmp_path, kinds, **changes)
  with pytest.raises(ValueError, match=message):
    directory.read(tmp_path)


def test_a_dense_layer_without_its_weights(tmp_path):
  labse(tmp_path)
  file = tmp_path / '2_Dense' / 'model.safetensors'
  save_file({'linear.weight': np.zeros((24, 32), np.float32)}, file)
  with pytest.raises(ValueError, match="missing key 'linear.bias'"):
    directory.read(tmp_path)
  file.unlink()
  with pytest.raises(ValueError, match='2_Dense has no model.safetensors'):
    directory.read(tmp_path)
