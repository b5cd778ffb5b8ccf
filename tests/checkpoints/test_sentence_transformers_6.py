"""Directories as sentence-transformers 6 writes them, and cross-encoders.

The files below are those that 6.2.0 saved, but for sizes.
"""

import json

import numpy as np
import pytest
import torch
from torch_models import tiny
import transformers

import xlmr_jax
from xlmr_jax.checkpoints.weights import Pooling, Scoring
from xlmr_jax.data.tokenizers.xlmr import Tokenizer

TEXTS = [
  'A man is asleep in the house.',
  'No man sees the red cat in the house. ' * 3,
  'cat',
]
PAIRS = [('Ein Mann schläft im Haus.', TEXTS[1]), (TEXTS[1], 'cat'), ('a', 'b')]
LIMIT = 16
BASE = 'sentence_transformers.base.modules.'


def modules(*rows) -> list[dict]:
  return [
    {'idx': i, 'name': str(i), 'path': path, 'type': name}
    for i, (path, name) in enumerate(rows)
  ]


def facts(task: str, output: str, name: str) -> dict:
  """sentence_bert_config.json: there is no limit in it."""
  method = {'method': 'forward', 'method_output_name': output}
  return {
    'transformer_task': task,
    'modality_config': {'text': method},
    'module_output_name': name,
  }


VECTORS = {
  'modules.json': modules(
    ('', BASE + 'transformer.Transformer'),
    (
      '1_Pooling',
      'sentence_transformers.sentence_transformer.modules.pooling.Pooling',
    ),
    ('2_Normalize', BASE + 'normalize.Normalize'),
  ),
  '1_Pooling/config.json': {
    'embedding_dimension': 32,
    'pooling_mode': 'mean',
    'include_prompt': True,
  },
  '2_Normalize/config.json': {
    'module_input_name': 'sentence_embedding',
    'module_output_name': 'sentence_embedding',
  },
  'sentence_bert_config.json': facts(
    'feature-extraction', 'last_hidden_state', 'token_embeddings'
  ),
  'config_sentence_transformers.json': {
    '__version__': {'sentence_transformers': '6.2.0'},
    'default_prompt_name': None,
    'model_type': 'SentenceTransformer',
    'prompts': {'document': None, 'query': 'the red '},
    'similarity_fn_name': 'cosine',
  },
}
SCORES = {
  'modules.json': modules(('', BASE + 'transformer.Transformer')),
  'sentence_bert_config.json': facts(
    'sequence-classification', 'logits', 'scores'
  ),
  'config_sentence_transformers.json': {
    '__version__': {'sentence_transformers': '6.2.0'},
    'activation_fn': 'torch.nn.modules.activation.Sigmoid',
    'default_prompt_name': None,
    'model_type': 'CrossEncoder',
    'prompts': {},
  },
}
IDENTITY = 'torch.nn.modules.linear.Identity'


@pytest.fixture(scope='module')
def theirs(tiny_tokenizer):
  """Their tokenizer, a body, and a scorer of each number of labels."""
  size = Tokenizer(tiny_tokenizer).vocab_size
  tokenizer = transformers.XLMRobertaTokenizer.from_pretrained(
    tiny_tokenizer, model_max_length=LIMIT
  )
  models = {None: tiny(None, pooler=False, vocab_size=size)} | {
    n: tiny('classify', vocab_size=size, num_labels=n) for n in (1, 3)
  }
  return tokenizer, models


@pytest.fixture
def directory(theirs, tmp_path):
  """(number of labels or None, files) → a folder."""

  def make(kind, files, **config):
    tokenizer, models = theirs
    folder = tmp_path / 'source'
    models[kind].save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    for name, value in files.items():
      (folder / name).parent.mkdir(exist_ok=True)
      (folder / name).write_text(json.dumps(value, indent=2))
    path = folder / 'config.json'
    path.write_text(json.dumps(json.loads(path.read_text()) | config))
    return folder

  return make


def vectors(theirs, texts) -> np.ndarray:
  """As their modules compute them, cut by the tokenizer's own limit."""
  tokenizer, models = theirs
  batch = tokenizer(texts, padding=True, truncation=True, return_tensors='pt')
  assert batch['input_ids'].shape[1] <= LIMIT
  with torch.no_grad():
    hidden = models[None](**batch).last_hidden_state
  mask = batch['attention_mask'][..., None]
  mean = (hidden * mask).sum(1) / mask.sum(1)
  return torch.nn.functional.normalize(mean, dim=1).numpy()


def logits(theirs, labels, pairs) -> torch.Tensor:
  tokenizer, models = theirs
  batch = tokenizer(
    *map(list, zip(*pairs, strict=True)),
    padding=True,
    truncation=True,
    return_tensors='pt',
  )
  with torch.no_grad():
    return models[labels](**batch).logits


def test_the_limit_is_the_tokenizers(directory, theirs):
  m = xlmr_jax.load(directory(None, VECTORS))
  prompts = {'document': '', 'query': 'the red '}
  assert m.pooling == Pooling('mean', True, LIMIT, prompts=prompts)
  np.testing.assert_allclose(m.embed(TEXTS), vectors(theirs, TEXTS), atol=1e-6)
  np.testing.assert_allclose(
    m.embed(TEXTS, prompt_name='query'),
    vectors(theirs, ['the red ' + text for text in TEXTS]),
    atol=1e-6,
  )


@pytest.mark.parametrize(
  ('change', 'limit'),
  [
    ({'max_seq_length': 9}, 9),
    ({'max_seq_length': 9, 'tokenizer_args': {'model_max_length': 7}}, 7),
    ({'processor_kwargs': {'model_max_length': 8}}, 8),
    ({'processing_kwargs': {'text': {'max_length': 6}}}, 6),
    ({'max_seq_length': None}, LIMIT),
  ],
)
def test_which_limit_counts(directory, change, limit):
  file = 'sentence_bert_config.json'
  m = xlmr_jax.load(directory(None, VECTORS | {file: VECTORS[file] | change}))
  assert m.pooling.max_length == limit


def test_a_tokenizer_without_a_limit(directory):
  folder = directory(None, VECTORS)
  path = folder / 'tokenizer_config.json'
  settings = json.loads(path.read_text())
  # transformers' VERY_LARGE_INTEGER
  path.write_text(json.dumps(settings | {'model_max_length': int(1e30)}))
  assert xlmr_jax.load(folder).pooling.max_length is None
  path.write_text(json.dumps(settings | {'model_max_length': 'long'}))
  with pytest.raises(
    ValueError, match="config.json: model_max_length = 'long'"
  ):
    xlmr_jax.load(folder)


@pytest.mark.parametrize(
  ('file', 'change', 'message'),
  [
    (
      'sentence_bert_config.json',
      {'transformer_task': 'text-generation'},
      "transformer_task = 'text-generation' is not supported",
    ),
    (
      '2_Normalize/config.json',
      {'module_input_name': 'token_embeddings'},
      "2_Normalize/config.json: module_input_name = 'token_embeddings'",
    ),
    (
      '1_Pooling/config.json',
      {'pooling_mode': ['cls', 'mean']},
      'pooling pooling_mode_cls_token, pooling_mode_mean_tokens is not',
    ),
  ],
)
def test_what_is_not_supported(directory, file, change, message):
  folder = directory(None, VECTORS | {file: VECTORS[file] | change})
  with pytest.raises(ValueError, match=message):
    xlmr_jax.load(folder)


CROSS_ENCODERS = {  # files, config.json, activation
  '6': (SCORES, {}, torch.sigmoid),
  '6, none': (
    SCORES | {'config_sentence_transformers.json': {'activation_fn': IDENTITY}},
    {},
    lambda x: x,
  ),
  '4': (
    {},
    {'sentence_transformers': {'activation_fn': IDENTITY, 'version': '4.1.0'}},
    lambda x: x,
  ),
  '3': ({}, {'sbert_ce_default_activation_function': IDENTITY}, lambda x: x),
  'none of theirs': ({}, {}, torch.sigmoid),
}


@pytest.mark.parametrize('name', CROSS_ENCODERS)
def test_cross_encoders_score_pairs(directory, theirs, name):
  files, config, function = CROSS_ENCODERS[name]
  m = xlmr_jax.load(directory(1, files, **config))
  want = function(logits(theirs, 1, PAIRS))[:, 0].numpy()
  ours = m.scores(PAIRS)
  assert ours.shape == (len(PAIRS),) and ours.dtype == np.float32
  np.testing.assert_allclose(ours, want, atol=1e-6)


def test_several_labels_get_no_activation_unless_one_is_given(
  directory, theirs
):
  m = xlmr_jax.load(directory(3, {}))
  want = logits(theirs, 3, PAIRS)
  np.testing.assert_allclose(m.scores(PAIRS), want.numpy(), atol=1e-6)
  ours = m.scores(PAIRS, activation='Sigmoid')
  np.testing.assert_allclose(ours, torch.sigmoid(want).numpy(), atol=1e-6)


@pytest.mark.parametrize('through', ['hf', 'orbax'])
def test_a_cross_encoder_comes_back(directory, tmp_path, through):
  folder = directory(1, SCORES)
  m = xlmr_jax.load(folder)
  m.save(tmp_path / 'out', format=through)
  again = xlmr_jax.load(tmp_path / 'out')
  assert again.weights.scoring == Scoring(
    'torch.nn.modules.activation.Sigmoid', LIMIT
  )
  again.save(tmp_path / 'hf', format='hf')
  for name in ('model.safetensors', 'tokenizer_config.json', *SCORES):
    assert (tmp_path / 'hf' / name).read_bytes() == (folder / name).read_bytes()


def test_scores_says_what_it_cannot(directory):
  unknown = {'sentence_transformers': {'activation_fn': 'mine.Swish'}}
  m = xlmr_jax.load(directory(1, {}, **unknown))
  with pytest.raises(ValueError, match="activation 'mine.Swish' is not supp"):
    m.scores(PAIRS)
  assert m.logits(PAIRS[2:])[0].shape == (1,)
  body = xlmr_jax.load(directory(1, SCORES), head=None)
  with pytest.raises(ValueError, match='scores needs a classification head'):
    body.scores(PAIRS)
