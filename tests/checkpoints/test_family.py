"""Every public checkpoint of the family: loads, computes, goes back.

Each row of family.py becomes a tiny random checkpoint with that row's own
config.json, shrunk in depth and in the number of heads alone: the width of a
head, the vocabulary, positions, ids and LayerNorm's epsilon stay real.
"""

import json

import family
import jax
import ml_dtypes
import numpy as np
from pairs import name_of
import pytest
from safetensors.numpy import load_file, save_file
import torch
import transformers

import xlmr_jax
from xlmr_jax import heads
from xlmr_jax.checkpoints.hf import config_json, sentence_transformers
from xlmr_jax.checkpoints.hf.config_json import LOOK_ALIKES
from xlmr_jax.checkpoints.hf.names import HEADS

LOGITS = 1e-4
# COMET's estimators have files of their own: test_estimate.py.
COMET = {'comet', 'estimator'}
NAMES = [row.name for row in family.MUST_LOAD if not row.quirks & COMET]
ROWS = {row.name: row for row in family.MUST_LOAD}
DTYPES = {'bf16': torch.bfloat16, 'f16': torch.float16}
POOLINGS = {'mean', 'cls'}


def shrunk(config: dict) -> dict:
  """The same config with one head of the same width, and one or two layers."""
  heads_ = config['num_attention_heads']
  width = config['hidden_size'] // heads_
  return config | {
    'num_hidden_layers': 2 if config['vocab_size'] < 500_000 else 1,
    'num_attention_heads': 1,
    'hidden_size': width,
    'intermediate_size': 2 * width,
  }


def class_name(row) -> str:
  if 'classifier-as-mlm' in row.quirks:
    return 'XLMRobertaForTokenClassification'
  return row.config['architectures'][0]


def make(row):
  """A random model of the row's class, rounded to its dtype, in f32."""
  config = shrunk(row.config)
  cls = getattr(transformers, class_name(row))
  kind = cls.config_class
  facts = {k: v for k, v in config.items() if k not in ('model_type', 'dtype')}
  facts.pop('torch_dtype', None)
  with torch.device('meta'):
    model = cls(kind(**facts, attn_implementation='eager'))
  model.to_empty(device='cpu').tie_weights()
  for buffer in model.buffers():  # positions and types, made anew
    if buffer.dtype == torch.long:
      size = buffer.shape[-1]
      buffer.copy_(torch.arange(size).expand(buffer.shape))
  getattr(model, 'base_model', model).embeddings.token_type_ids.zero_()
  rng = np.random.default_rng(len(row.name))
  block = rng.standard_normal(1_000_003, np.float32)  # a prime: no repetition
  with torch.no_grad():
    for name, parameter in model.named_parameters():
      flat = parameter.view(-1)
      at = int(rng.integers(0, 1_000_003))
      draw = np.resize(np.roll(block, at)[: len(flat)], len(flat))
      scale, mean = (0.3, 1.0) if _is_norm(name) else (0.1, 0.0)
      flat.copy_(torch.from_numpy(draw).mul_(scale).add_(mean))
  dtype = DTYPES.get(next(iter(row.quirks & DTYPES.keys()), None))
  if dtype is not None:
    model = model.to(dtype).to(torch.float32)
  if 'mixed' in row.quirks:  # the table in f32, the rest in f16
    with torch.no_grad():
      for name, parameter in model.named_parameters():
        if 'word_embeddings' not in name:
          parameter.copy_(parameter.half().float())
  return model.eval()


def _is_norm(name: str) -> bool:
  return name.endswith('weight') and ('norm' in name.lower())


def save(row, model, folder) -> None:
  """The files as the row's repository has them."""
  config = shrunk(row.config)
  (folder / 'config.json').write_text(json.dumps(config, indent=2) + '\n')
  state = {k: v.clone() for k, v in model.state_dict().items()}
  tied = model.config.tie_word_embeddings
  for key in list(state):
    if tied and key.startswith(('lm_head.decoder.', 'cls.predictions.dec')):
      if 'decoder' not in row.quirks:
        state.pop(key)
  if row.config['model_type'] == 'bert':  # an alias that came with 5
    state.pop('cls.predictions.decoder.bias', None)
  width = config['hidden_size']
  start = {'roberta': 'roberta.', 'bert': 'bert.'}.get(
    getattr(model, 'base_model_prefix', '')
  )
  start = start if hasattr(model, 'roberta') or hasattr(model, 'bert') else ''
  if 'pooler' in row.quirks:
    state[f'{start}pooler.dense.weight'] = torch.randn(width, width)
    state[f'{start}pooler.dense.bias'] = torch.randn(width)
  if 'next' in row.quirks:
    state['cls.seq_relationship.weight'] = torch.randn(2, width)
    state['cls.seq_relationship.bias'] = torch.randn(2)
  if 'gamma' in row.quirks:
    for new, old in (('weight', 'gamma'), ('bias', 'beta')):
      names = {k: k.replace(f'Norm.{new}', f'Norm.{old}') for k in state}
      state = {names[k]: v for k, v in state.items()}
  for quirk, dtype in DTYPES.items():
    if quirk in row.quirks:
      state = {k: v.to(dtype) for k, v in state.items()}
  if 'mixed' in row.quirks:
    state = {
      k: v if 'word_embeddings' in k else v.half() for k, v in state.items()
    }
  if 'flax' in row.quirks:  # what was saved from Flax lies transposed
    state = {
      k: v.T.contiguous().T if v.ndim == 2 and 'embed' not in k else v
      for k, v in state.items()
    }
  if 'position_ids' in row.quirks:
    positions = torch.arange(config['max_position_embeddings'])[None]
    state[f'{start}embeddings.position_ids'] = positions
  if {'bin', 'flax'} & row.quirks:
    torch.save(state, folder / 'pytorch_model.bin')
  else:
    from safetensors.torch import save_file as save_torch

    save_torch(state, folder / 'model.safetensors', {'format': 'pt'})
  if 'm3' in row.quirks:
    for name, size in (('sparse_linear', 1), ('colbert_linear', width)):
      linear = torch.nn.Linear(width, size)
      torch.save(linear.state_dict(), folder / f'{name}.pt')
  if how := POOLINGS & row.quirks:
    if 'normalize' in row.quirks or 'mean' in row.quirks:
      lengths = [int(q[3:]) for q in row.quirks if q.startswith('max')]
      prompts = {'query': 'query: '} if 'prompts' in row.quirks else {}
      facts = sentence_transformers.Pooling(
        how.pop(),
        'normalize' in row.quirks,
        max_length=lengths[0] if lengths else None,
        prompts=prompts,
      )
      dense = None
      if 'dense' in row.quirks:
        dense = {
          'in_features': width,
          'out_features': width,
          'bias': True,
          'activation_function': 'torch.nn.modules.activation.Tanh',
        }
        linear = dense_of(width)
        state = {f'linear.{k}': v.numpy() for k, v in linear.items()}
        (folder / '2_Dense').mkdir()
        save_file(state, folder / '2_Dense' / 'model.safetensors')
      texts = sentence_transformers.texts(facts, width, dense)
      for name, text in texts.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)


def dense_of(width) -> dict:
  """The layer of a row with the quirk 'dense'."""
  torch.manual_seed(width)
  return {
    'weight': torch.randn(width, width) / 4,
    'bias': torch.randn(width) / 4,
  }


def examples(row) -> list[list[int]]:
  """Ids from all over the vocabulary, two lengths, <pad> inside one text."""
  config = row.config
  size, pad = config['vocab_size'], config.get('pad_token_id', 1)
  rng = np.random.default_rng(1)
  bos, eos = config.get('bos_token_id', 0), config.get('eos_token_id', 2)
  one = [bos, *rng.integers(5, size, 7).tolist(), size - 1, eos]
  two = [bos, int(rng.integers(5, size)), pad, int(rng.integers(5, size)), eos]
  return [one, two]


def theirs(model, ids) -> dict:
  with torch.no_grad():
    tensor = torch.tensor([ids])
    if type(model).__name__.endswith('MultipleChoice'):
      tensor = tensor[None]
    mask = torch.ones_like(tensor)
    return model(input_ids=tensor, attention_mask=mask)


@pytest.mark.parametrize('name', NAMES)
def test_it_loads_computes_and_goes_back(name, tmp_path):
  row = ROWS[name]
  model = make(row)
  source, back = tmp_path / 'source', tmp_path / 'back'
  source.mkdir()
  save(row, model, source)
  m = xlmr_jax.load(source)

  # Everything in config.json arrived.
  config = shrunk(row.config)
  for field, (key, default) in config_json.FACTS.items():
    if row.config['model_type'] == 'bert':
      default = config_json.BERT_DEFAULTS.get(field, default)
    assert getattr(m.config, field) == config.get(key, default), key
  suffix = HEADS[m.head]
  assert class_name(row).endswith(suffix)
  assert m.config.bert == class_name(row).startswith('Bert')
  assert m.config.pre_norm == ('XL' in class_name(row).replace('XLM', ''))
  if heads.HEADS[m.head].labelled and 'id2label' in config:
    assert m.labels == tuple(config['id2label'].values())

  # It computes what theirs does.
  for ids in examples(row):
    want = theirs(model, ids)
    if m.head in (None, 'm3'):
      got = m.encode([ids])[0]
      expected = want.last_hidden_state[0].numpy()
    elif m.head == 'answer':
      got = m.logits([ids])[0]
      expected = torch.cat([want.start_logits, want.end_logits]).T.numpy()
    else:
      got, expected = m.logits([ids])[0], want.logits[0].numpy()
    assert got.shape == expected.shape
    np.testing.assert_allclose(got, expected, rtol=0, atol=LOGITS)
    if m.pooling is not None:
      hidden = want.last_hidden_state[0]
      vector = hidden[0] if m.pooling.how == 'cls' else hidden.mean(0)
      if 'dense' in row.quirks:
        layer = dense_of(len(vector))
        vector = torch.tanh(layer['weight'] @ vector + layer['bias'])
      if 'normalize' in row.quirks:
        vector = vector / vector.norm()
      got = m.embed([ids])[0]
      np.testing.assert_allclose(got, vector.numpy(), rtol=0, atol=LOGITS)
  assert (m.pooling is not None) == (source / 'modules.json').exists()

  # And goes back.
  m.save(back, format='hf')
  assert_same_files(source, back)


def assert_same_files(source, back):
  for file in source.rglob('*.json'):
    name = file.relative_to(source)
    assert json.loads((back / name).read_text()) == json.loads(file.read_text())
  before = tensors_of(source)
  after = tensors_of(back)
  dropped = {k for k in before if k.endswith('position_ids')}
  assert after.keys() == before.keys() - dropped
  for key, array in after.items():
    assert array.dtype == before[key].dtype, key
    assert array.tobytes() == before[key].tobytes(), key
  file = source / 'model.safetensors'
  if file.exists() and not dropped:
    assert file.read_bytes() == (back / 'model.safetensors').read_bytes()


def tensors_of(folder) -> dict[str, np.ndarray]:
  found = {}
  for file in folder.glob('*.safetensors'):
    found |= load_file(file)
  for file in (*folder.glob('*.bin'), *folder.glob('*.pt')):
    for key, tensor in torch.load(file, weights_only=True).items():
      if tensor.dtype == torch.bfloat16:
        raw = tensor.contiguous().view(torch.int16).numpy()
        array = raw.view(ml_dtypes.bfloat16)
      else:
        array = tensor.contiguous().numpy()
      found[key if file.suffix == '.bin' else f'{file.stem}.{key}'] = array
  return found


@pytest.mark.parametrize(
  'name', [row.name for row in family.MUST_LOAD if row.parameters]
)
def test_published_parameter_counts(name):
  row = ROWS[name]
  config = config_json.config_from_hf(row.config)
  suffix = row.config['architectures'][0]
  head = next(
    h for h, s in HEADS.items() if s != 'Model' and suffix.endswith(s)
  )
  shapes = jax.eval_shape(
    lambda key: heads.init(config, key, head, 1), jax.random.key(0)
  )
  leaves = jax.tree_util.tree_leaves_with_path(shapes)
  assert sum(leaf.size for _, leaf in leaves) == row.parameters
  dims = heads.plan(config, head)
  assert {name_of(path) for path, _ in leaves} <= dims.keys()


@pytest.mark.parametrize(
  ('name', 'config', 'word'),
  family.LOOK_ALIKES,
  ids=[name for name, _, _ in family.LOOK_ALIKES],
)
def test_a_look_alike_is_refused(name, config, word, tmp_path):
  """By config.json alone, before any weight is looked at."""
  (tmp_path / 'config.json').write_text(json.dumps(config))
  arrays = {'embeddings.word_embeddings.weight': np.ones((3, 2), np.float32)}
  save_file(arrays, tmp_path / 'model.safetensors')
  with pytest.raises(ValueError, match='config.json: ') as error:
    xlmr_jax.load(tmp_path)
  assert word in str(error.value)


def test_reasons_are_reasons():
  for kind, why in LOOK_ALIKES.items():
    assert len(why.split()) > 3, kind
