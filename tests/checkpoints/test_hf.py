"""Hugging Face directories come in whole and go out as they came."""

import base64
import dataclasses
import json
import os
import pathlib
import resource
import signal
import subprocess
import sys
import threading

import jax
import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
import torch
from torch_models import SIZES, class_of, tiny
import transformers

from xlmr_jax.checkpoints import arrays, hub
from xlmr_jax.checkpoints.formats import safetensors_file
from xlmr_jax.checkpoints.hf import config_json, writer
from xlmr_jax.checkpoints.hf import reader as hf
from xlmr_jax.checkpoints.weights import STORED, TOKENIZER_FILES
from xlmr_jax.data.tokenizers import train_tokenizer, xlmr
from xlmr_jax.model import Config

LABELS = {0: 'contradiction', 1: 'entailment', 2: 'neutral'}
IDS_OF = {name: i for i, name in LABELS.items()}
IDS = torch.tensor([[0, 5, 6, 7, 8, 2], [0, 9, 10, 2, 1, 1]])
DECODER, TOKENS = (
  'lm_head.decoder.weight',
  'roberta.embeddings.word_embeddings.weight',
)


def rewrite(folder, change, metadata=True):
  """Changes the tensors of a folder's only file; `change` edits the dict."""
  file = folder / 'model.safetensors'
  arrays = dict(load_file(file))
  arrays = change(arrays) or arrays
  save_file(arrays, file, {'format': 'pt'} if metadata else None)


def edit_config(folder, **changes):
  file = folder / 'config.json'
  config = json.loads(file.read_text())
  for key, value in changes.items():
    if value is ...:
      config.pop(key)
    else:
      config[key] = value
  file.write_text(json.dumps(config, indent=2) + '\n')


def rename(old, new):
  return lambda arrays: {k.replace(old, new, 1): v for k, v in arrays.items()}


def as_of_old(arrays):
  """What files of 2020 also hold: the decoder twice, buffers, a pooler."""
  arrays[DECODER] = arrays[TOKENS]
  arrays['lm_head.decoder.bias'] = arrays['lm_head.bias']
  arrays['roberta.embeddings.position_ids'] = np.arange(42)[None]
  arrays['roberta.pooler.dense.weight'] = np.eye(32, dtype=np.float32)
  arrays['roberta.pooler.dense.bias'] = np.ones(32, np.float32)


def gamma(arrays):
  new = {}
  for key, value in arrays.items():
    key = key.replace('LayerNorm.weight', 'LayerNorm.gamma')
    new[key.replace('LayerNorm.bias', 'LayerNorm.beta')] = value
  return new


def mixed(arrays):
  """Layers and tables of several dtypes."""
  for key in arrays:
    if 'layer.1.' in key or 'word_embeddings' in key:
      arrays[key] = arrays[key].astype(ml_dtypes.bfloat16)
    if 'layer.2.' in key:
      arrays[key] = arrays[key].astype(np.float16)


def halves(arrays):
  """Layers in f16 and in bf16: neither dtype holds the other."""
  for key in arrays:
    if 'layer.1.' in key:
      arrays[key] = arrays[key].astype(ml_dtypes.bfloat16)
    if 'layer.2.' in key or 'layer.0.' in key:
      arrays[key] = arrays[key].astype(np.float16)


def only_decoder(arrays):
  """Of two tied names the other one is stored."""
  arrays[DECODER] = arrays.pop(TOKENS)
  arrays['lm_head.decoder.bias'] = arrays.pop('lm_head.bias')


# Name → (model, options of save_pretrained, what is done to the file).
SOURCES = {
  'mlm': (lambda: tiny('mlm'), {}, None),
  'untied': (lambda: tiny('mlm', tie_word_embeddings=False), {}, None),
  'as_of_old': (lambda: tiny('mlm'), {}, as_of_old),
  'only_decoder': (lambda: tiny('mlm'), {}, only_decoder),
  'gamma': (lambda: tiny('mlm'), {}, gamma),
  'old_prefix': (lambda: tiny('mlm'), {}, rename('roberta.', 'xlm-roberta.')),
  'mixed': (lambda: tiny('mlm'), {}, mixed),
  'halves': (lambda: tiny('mlm'), {}, halves),
  'labels': (
    lambda: tiny('classify', id2label=LABELS, label2id=IDS_OF),
    {},
    None,
  ),
  'label_i': (lambda: tiny('classify', num_labels=5), {}, None),
  'two_labels': (lambda: tiny('classify'), {}, None),
  'pooler': (lambda: tiny(None), {}, None),
  'no_pooler': (lambda: tiny(None, pooler=False), {}, None),
  'bf16': (lambda: tiny('mlm').to(torch.bfloat16), {}, None),
  'sharded': (lambda: tiny('classify'), {'max_shard_size': '20KB'}, None),
}


@pytest.fixture(scope='session')
def sources(tmp_path_factory):
  """Name → folder, made when first asked for."""
  made = {}

  def get(name) -> pathlib.Path:
    if name not in made:
      model, options, change = SOURCES[name]
      folder = tmp_path_factory.mktemp(name)
      model().save_pretrained(folder, **options)
      if change:
        rewrite(folder, change)
      made[name] = folder
    return made[name]

  return get


@pytest.fixture
def source(sources, tmp_path):
  """A copy that a test may spoil."""

  def get(name) -> pathlib.Path:
    folder = tmp_path / f'source-{name}'
    folder.mkdir()
    for file in sources(name).iterdir():
      (folder / file.name).write_bytes(file.read_bytes())
    return folder

  return get


def flat(folder) -> dict[str, np.ndarray]:
  return {
    key: value
    for file in sorted(folder.glob('*.safetensors'))
    for key, value in load_file(file).items()
  }


def assert_same_tensors(a: pathlib.Path, b: pathlib.Path, dropped=()):
  x, y = flat(a), flat(b)
  assert x.keys() - set(dropped) == y.keys()
  for key, value in y.items():
    assert x[key].dtype == value.dtype and x[key].shape == value.shape, key
    assert x[key].tobytes() == value.tobytes(), key


# --- Round trip -------------------------------------------------------------


@pytest.mark.parametrize('name', SOURCES)
def test_comes_out_as_it_went_in(sources, tmp_path, name):
  folder = sources(name)
  weights = hf.read(folder)
  # What is remembered must survive a JSON file.
  weights = dataclasses.replace(
    weights, source=json.loads(json.dumps(weights.source))
  )
  writer.write(tmp_path / 'out', weights)
  dropped = weights.source['dropped']
  assert_same_tensors(folder, tmp_path / 'out', dropped)
  names = {file.name for file in folder.iterdir()}
  assert {file.name for file in (tmp_path / 'out').iterdir()} == names
  for file in names:
    if not dropped:  # even the headers are the same
      assert (folder / file).read_bytes() == (
        tmp_path / 'out' / file
      ).read_bytes(), file
  assert dropped == (
    ['roberta.embeddings.position_ids'] if name == 'as_of_old' else []
  )


def test_parameters_are_where_they_belong(sources):
  weights = hf.read(sources('mlm'))
  theirs = flat(sources('mlm'))
  encoder, head = weights.params['encoder'], weights.params['head']
  up = encoder['layers']['ff']['up']
  layer = 'roberta.encoder.layer.2.'
  np.testing.assert_array_equal(
    up['kernel'][2], theirs[f'{layer}intermediate.dense.weight'].T
  )
  np.testing.assert_array_equal(
    up['bias'][2], theirs[f'{layer}intermediate.dense.bias']
  )
  np.testing.assert_array_equal(encoder['embed']['tokens'], theirs[TOKENS])
  np.testing.assert_array_equal(
    head['norm']['scale'], theirs['lm_head.layer_norm.weight']
  )
  assert weights.tied and 'table' not in head and weights.head == 'mlm'
  for leaf in jax.tree.leaves(weights.params):
    assert leaf.flags.c_contiguous and leaf.flags.writeable
    assert leaf.ctypes.data % 64 == 0


def test_large_tensors_are_read_in_pieces(tmp_path, monkeypatch):
  """Chunks and slabs of every kind, also where the last is a smaller one."""
  monkeypatch.setattr(safetensors_file, 'CHUNK', 1000)
  monkeypatch.setattr(safetensors_file, 'SLAB', 7)
  rng = np.random.default_rng(0)
  array = rng.standard_normal((61, 45)).astype(np.float32)
  half = array.astype(ml_dtypes.bfloat16)
  file = tmp_path / 'x.safetensors'
  safetensors_file.write(file, {'a': (array, 'F32'), 'b': (half.T, 'BF16')})
  held, _ = safetensors_file.header(file)
  cases = (
    ('a', array, False, np.float32),
    ('a', array.T, True, np.float32),
    ('a', array.astype(np.float64), False, np.float64),
    ('b', half, True, ml_dtypes.bfloat16),
    ('b', half.T.astype(np.float32), False, np.float32),
  )
  reader = safetensors_file.Reader()
  outs = []
  for key, want, transpose, dtype in cases:
    outs.append(safetensors_file.aligned(want.shape, np.dtype(dtype)))
    reader.add(held[key], outs[-1], transpose=transpose)
  reader.run()
  for (_, want, _, _), out in zip(cases, outs, strict=True):
    np.testing.assert_array_equal(out, want)


def test_facts_of_every_source(sources):
  weights = hf.read(sources('labels'))
  assert weights.labels == ('contradiction', 'entailment', 'neutral')
  assert not config_json.placeholder(weights.labels)
  assert weights.config == Config(
    vocab_size=61,
    num_layers=3,
    model_dim=32,
    num_heads=4,
    ff_dim=48,
    max_positions=42,
    type_vocab_size=2,
  )
  assert config_json.placeholder(hf.read(sources('label_i')).labels)
  assert hf.read(sources('two_labels')).labels == ('LABEL_0', 'LABEL_1')
  bare = hf.read(sources('pooler'))
  assert bare.head is None and bare.labels is None
  assert bare.params['pooler']['dense']['kernel'].shape == (32, 32)
  assert 'pooler' not in hf.read(sources('no_pooler')).params
  old = hf.read(sources('as_of_old'))
  assert old.tied and old.source['prefix'] == 'roberta.'
  assert old.source['duplicates'] == [DECODER, 'lm_head.decoder.bias']
  prefixes = {'gamma': 'roberta.', 'old_prefix': 'xlm-roberta.', 'pooler': ''}
  for name, prefix in prefixes.items():
    assert hf.read(sources(name)).source['prefix'] == prefix
  untied = hf.read(sources('untied'))
  assert not untied.tied
  theirs = flat(sources('untied'))
  head = untied.params['head']
  np.testing.assert_array_equal(head['table'], theirs[DECODER])
  # transformers adds the decoder's own bias; the other one is not used.
  np.testing.assert_array_equal(head['bias'], theirs['lm_head.decoder.bias'])
  unused = base64.b64decode(untied.source['unused']['lm_head.bias'])
  assert unused == theirs['lm_head.bias'].tobytes()


def test_a_timer_is_filled(sources):
  timer = {}
  hf.read(sources('mlm'), timer=timer)
  with arrays.timed(timer, 'place'):
    pass
  assert timer.keys() == {'read', 'transform', 'place'}
  assert all(seconds > 0 for seconds in timer.values())


def test_roberta_and_camembert_share_the_body(tmp_path):
  for kind in ('roberta', 'camembert'):
    sizes = {k: v for k, v in SIZES.items() if k != 'attn_implementation'}
    config = transformers.AutoConfig.for_model(kind, **sizes)
    model = transformers.AutoModelForMaskedLM.from_config(config)
    model.save_pretrained(tmp_path / kind)
    weights = hf.read(tmp_path / kind)
    writer.write(tmp_path / f'{kind}-out', weights, fresh=True)
    assert_same_tensors(tmp_path / kind, tmp_path / f'{kind}-out')
    out = json.loads((tmp_path / f'{kind}-out' / 'config.json').read_text())
    assert out['model_type'] == kind
    assert out['architectures'] == [type(model).__name__]


# --- Into transformers ------------------------------------------------------


@pytest.mark.parametrize(
  'name', [n for n in SOURCES if n not in ('mixed', 'halves', 'bf16')]
)
def test_fresh_files_load_in_transformers(sources, tmp_path, name):
  """No missing, no unexpected key; the same outputs as the source's."""
  weights = hf.read(sources(name))
  writer.write(tmp_path / 'out', weights, fresh=True)
  cls = class_of(weights.head)
  args = {'attn_implementation': 'eager'}
  if weights.head is None and 'pooler' not in weights.params:
    args['add_pooling_layer'] = False
  model, info = cls.from_pretrained(
    tmp_path / 'out', output_loading_info=True, **args
  )
  assert not any(info.values()), info
  theirs = SOURCES[name][0]()
  with torch.no_grad():
    ours = model.eval()(IDS, attention_mask=IDS != 1)[0]
    want = theirs(IDS, attention_mask=IDS != 1)[0]
  assert torch.equal(ours, want)


@pytest.mark.parametrize(
  'name', ('mlm', 'labels', 'label_i', 'two_labels', 'pooler', 'untied', 'bf16')
)
def test_fresh_files_are_those_of_transformers(sources, tmp_path, name):
  weights = hf.read(sources(name))
  weights = dataclasses.replace(weights, source=None)
  writer.write(tmp_path / 'out', weights, fresh=True)
  config = json.loads((sources(name) / 'config.json').read_text())
  config.pop('transformers_version')
  if name == 'two_labels':  # transformers leaves out its own default
    config |= {'id2label': {'0': 'LABEL_0', '1': 'LABEL_1'}}
    config |= {'label2id': {'LABEL_0': 0, 'LABEL_1': 1}}
  assert json.loads((tmp_path / 'out' / 'config.json').read_text()) == config
  if name == 'untied':  # its two biases differ, ours is one
    assert flat(sources(name)).keys() == flat(tmp_path / 'out').keys()
  else:
    assert_same_tensors(sources(name), tmp_path / 'out')


def test_fresh_files_are_cut_into_shards(sources, tmp_path):
  weights = hf.read(sources('mlm'))
  writer.write(tmp_path / 'out', weights, fresh=True, shard_bytes=20_000)
  names = sorted(file.name for file in (tmp_path / 'out').glob('*.safetensors'))
  assert (
    len(names) > 2
    and names[0] == f'model-00001-of-{len(names):05d}.safetensors'
  )
  assert_same_tensors(sources('mlm'), tmp_path / 'out')
  again = hf.read(tmp_path / 'out')
  jax.tree.map(np.testing.assert_array_equal, again.params, weights.params)
  _, info = class_of('mlm').from_pretrained(
    tmp_path / 'out', output_loading_info=True
  )
  assert not any(info.values()), info


# --- What has changed since -------------------------------------------------


def test_another_head_goes_out_as_transformers_would(sources, tmp_path):
  """A fine-tuned body keeps what else the source's config.json said."""
  weights = hf.read(sources('as_of_old'))
  weights.source['config'] |= {'mine': 1, 'torch_dtype': 'float32'}
  rng = np.random.default_rng(0)
  draw = lambda *shape: rng.standard_normal(shape).astype(np.float32)
  head = {
    'dense': {'kernel': draw(32, 32), 'bias': draw(32)},
    'out': {'kernel': draw(32, 3), 'bias': draw(3)},
  }
  weights = dataclasses.replace(
    weights,
    head='classify',
    labels=('no', 'yes', 'maybe'),
    params={**weights.params, 'head': head},
  )
  writer.write(tmp_path / 'out', weights)
  config = json.loads((tmp_path / 'out' / 'config.json').read_text())
  assert config['architectures'] == ['XLMRobertaForSequenceClassification']
  assert config['id2label'] == {'0': 'no', '1': 'yes', '2': 'maybe'}
  assert config['mine'] == 1 and 'torch_dtype' not in config
  _, info = class_of('classify').from_pretrained(
    tmp_path / 'out', output_loading_info=True
  )
  assert not any(info.values()), info
  again = hf.read(tmp_path / 'out')
  assert again.labels == ('no', 'yes', 'maybe')
  jax.tree.map(np.testing.assert_array_equal, again.params['head'], head)


def test_other_labels_change_only_the_labels(sources, tmp_path):
  weights = hf.read(sources('label_i'))
  names = ('a', 'b', 'c', 'd', 'e')
  writer.write(tmp_path / 'out', dataclasses.replace(weights, labels=names))
  assert_same_tensors(sources('label_i'), tmp_path / 'out')
  old = json.loads((sources('label_i') / 'config.json').read_text())
  new = json.loads((tmp_path / 'out' / 'config.json').read_text())
  assert new.pop('id2label') == {str(i): name for i, name in enumerate(names)}
  assert new.pop('label2id') == {name: i for i, name in enumerate(names)}
  assert new.items() <= old.items()
  assert hf.read(tmp_path / 'out').labels == names


def test_no_bit_is_lost_to_the_source_dtype(sources, tmp_path):
  """bf16 widened to f32 goes out as bf16; trained in f32, as f32."""
  weights = hf.read(sources('bf16'))
  wide = jax.tree.map(lambda x: x.astype(np.float32), weights.params)
  writer.write(tmp_path / 'same', dataclasses.replace(weights, params=wide))
  assert_same_tensors(sources('bf16'), tmp_path / 'same')
  wide['encoder']['embed']['types'] += 1e-4
  writer.write(tmp_path / 'trained', dataclasses.replace(weights, params=wide))
  again = hf.read(tmp_path / 'trained')
  jax.tree.map(np.testing.assert_array_equal, again.params, wide)
  config = json.loads((tmp_path / 'trained' / 'config.json').read_text())
  assert config['dtype'] == 'float32'


def test_parameters_must_be_what_the_config_says(sources, tmp_path):
  weights = hf.read(sources('mlm'))
  params = jax.tree.map(lambda x: x, weights.params)
  del params['head']['bias']
  params['head']['gain'] = np.ones(3, np.float32)
  cases = (
    (dataclasses.replace(weights, params=params), "unknown .*'head/gain'"),
    (dataclasses.replace(weights, head=None), "unknown .*'head/bias'"),
    (dataclasses.replace(weights, tied=False), "missing .*'head/table'"),
    (
      dataclasses.replace(
        weights, config=dataclasses.replace(weights.config, vocab_size=64)
      ),
      r"tokens' has the shape \(61, 32\).*\(64, 32\)",
    ),
  )
  for changed, message in cases:
    with pytest.raises(ValueError, match=message):
      writer.write(tmp_path / 'out', changed)
    assert not any(tmp_path.iterdir())


# --- Bad directories --------------------------------------------------------

KEY = 'roberta.encoder.layer.1.output.dense.weight'


def add(key, value=None):
  def change(arrays):
    arrays[key] = np.ones(3, np.float32) if value is None else value

  return change


def drop(key):
  return lambda arrays: {k: v for k, v in arrays.items() if k != key}


def replace(key, value):
  return lambda arrays: {**arrays, key: value}


@pytest.mark.parametrize(
  'change, message',
  [
    (add('roberta.encoder.layer.0.extra.weight'), 'unknown key .*extra'),
    (add('classifier.weight'), 'unknown key .*ForSequenceClassification'),
    (add('roberta.embeddings.token_ids'), 'unknown key .*token_ids'),
    (
      add('encoder.layer.7.output.dense.bias'),
      'num_hidden_layers = 3, and the files hold 8',
    ),
    (drop(KEY), "missing key 'encoder.layer.1.output.dense.weight'"),
    (drop('lm_head.bias'), "missing key 'lm_head.bias'"),
    (drop(TOKENS), 'missing key .*word_embeddings'),
    (add(KEY.removeprefix('roberta.')), 'is set twice, by .*roberta'),
    (
      replace(KEY, np.ones((48, 32), np.float32)),
      rf"'{KEY}' has the shape \(48, 32\).*should have \(32, 48\)",
    ),
    (
      replace(TOKENS, np.ones((62, 32), np.float32)),
      r'shape \(62, 32\).*should have \(61, 32\)',
    ),
    (replace(KEY, np.ones((32, 48), np.int32)), f"'{KEY}' has the dtype I32"),
  ],
)
def test_a_wrong_key_is_named(source, change, message):
  folder = source('mlm')
  rewrite(folder, change)
  with pytest.raises(ValueError, match=message):
    hf.read(folder)


@pytest.mark.parametrize(
  'changes, message',
  [
    ({'model_type': 'albert'}, "model_type 'albert' is not one of xlm-roberta"),
    # The files hold a head that BERT's do not name so.
    ({'model_type': 'bert', 'architectures': ['BertModel']}, 'unknown key'),
    ({'model_type': ...}, 'model_type None'),
    ({'model_type': 'xlm-roberta-xl'}, 'unknown key .*embeddings.LayerNorm'),
    ({'architectures': ['XLMRobertaXLForMaskedLM']}, 'unknown key'),
    (
      {'architectures': ['XLMRobertaForVision']},
      'XLMRobertaForVision.* is not one of XLMRoberta, XLMRobertaXL, Roberta, '
      'Camembert, Bert followed by Model, ForMaskedLM, ForCausalLM, ForSeq',
    ),
    ({'auto_map': {'AutoModel': 'x.py'}}, 'auto_map .* code of its own'),
    ({'position_embedding_type': 'rotary'}, 'position_embedding_type'),
    ({'position_embedding_type': 'relative_key'}, 'position_embedding_type'),
    ({'attention_window': [512, 512]}, 'attention_window .* Longformer'),
    ({'lora_adaptations': ['a']}, 'lora_adaptations'),
    ({'is_decoder': 1}, 'is_decoder = 1 should be of type bool'),
    ({'add_cross_attention': True}, 'add_cross_attention = True'),
    ({'hidden_act': 'silu'}, "hidden_act 'silu' is not one of gelu"),
    ({'hidden_size': ...}, 'hidden_size is missing'),
    ({'hidden_size': '32'}, "hidden_size = '32' should be of type int"),
    ({'num_hidden_layers': 2}, 'num_hidden_layers = 2, and the files hold 3'),
    ({'num_hidden_layers': 4}, 'num_hidden_layers = 4, and the files hold 3'),
    ({'vocab_size': 60}, r'lm_head.bias.* \(61,\).*should have \(60,\)'),
  ],
)
def test_another_kind_of_model_is_refused(source, changes, message):
  folder = source('mlm')
  edit_config(folder, **changes)
  with pytest.raises(ValueError, match=message):
    hf.read(folder)


def test_labels_must_fit_the_classifier(source):
  folder = source('labels')
  edit_config(folder, id2label={'0': 'a', '1': 'b'})
  with pytest.raises(
    ValueError, match=r'out_proj.bias.* \(3,\).*should have \(2,\)'
  ):
    hf.read(folder)
  edit_config(folder, id2label={'1': 'a', '2': 'b', '3': 'c'})
  with pytest.raises(ValueError, match='ids of id2label are not 0 to 2'):
    hf.read(folder)


def test_tied_by_config_but_not_by_file(source, tmp_path):
  """transformers 5 does not tie either; nothing is lost on the way back."""
  folder = source('untied')
  edit_config(folder, tie_word_embeddings=True)
  with pytest.warns(UserWarning, match='read as untied'):
    weights = hf.read(folder)
  assert not weights.tied
  writer.write(tmp_path / 'out', weights)
  assert_same_tensors(folder, tmp_path / 'out')


@pytest.mark.parametrize('left', [0, 5, 100, 50_000, -1])
def test_a_truncated_file_is_named(source, left):
  folder = source('mlm')
  file = folder / 'model.safetensors'
  file.write_bytes(file.read_bytes()[:left])
  with pytest.raises(ValueError, match=r'model\.safetensors is truncated'):
    hf.read(folder)


def test_a_corrupt_file_is_named(source):
  folder = source('mlm')
  file = folder / 'model.safetensors'
  data = file.read_bytes()
  length = int.from_bytes(data[:8], 'little')
  header = data[8 : 8 + length]
  spoilt = {
    'JSON': data[:8] + header.replace(b'{', b'[', 1) + data[8 + length :],
    'bytes': data.replace(b'"F32"', b'"F16"', 1),
    'gap': data.replace(b'"F32"', b'"I32"', 1) + b'..',
    'twice': data.replace(
      b'layer.1.output.dense.bias', b'layer.0.output.dense.bias'
    ),
  }
  for bad in spoilt.values():
    file.write_bytes(bad)
    with pytest.raises(ValueError, match=r'model\.safetensors is corrupt'):
      hf.read(folder)


def test_what_a_folder_lacks_is_named(source, tmp_path):
  with pytest.raises(ValueError, match='nowhere is not a directory'):
    hf.read(tmp_path / 'nowhere')
  folder = source('mlm')
  (folder / 'model.safetensors').rename(folder / 'model.msgpack')
  with pytest.raises(
    ValueError, match=r'has no model\.safetensors and no pytorch_model\.bin'
  ):
    hf.read(folder)
  (folder / 'model.msgpack').rename(folder / 'pytorch_model.bin')
  with pytest.raises(ValueError, match='or no file of PyTorch'):
    hf.read(folder)
  (folder / 'config.json').write_text('{')
  with pytest.raises(ValueError, match=r'config\.json is not JSON'):
    hf.read(folder)
  (folder / 'config.json').unlink()
  with pytest.raises(ValueError, match='has no config.json'):
    hf.read(folder)


def test_an_index_must_agree_with_its_shards(source):
  folder = source('sharded')
  index = folder / 'model.safetensors.index.json'
  right = json.loads(index.read_text())
  key = sorted(right['weight_map'])[0]
  shards = sorted(set(right['weight_map'].values()))

  def spoil(change, message):
    wrong = json.loads(json.dumps(right))
    change(wrong['weight_map'])
    index.write_text(json.dumps(wrong))
    with pytest.raises(ValueError, match=message):
      hf.read(folder)

  spoil(lambda m: m.pop(key), f'disagree about key {key!r}')
  spoil(lambda m: m.update({'x': shards[0]}), "disagree about key 'x'")
  spoil(lambda m: m.update({key: shards[-1]}), f'disagree about key {key!r}')
  spoil(lambda m: m.update({key: 'gone.safetensors'}), 'gone.safetensors')
  index.write_text(json.dumps(right))
  first = dict(load_file(folder / shards[0]))
  last = dict(load_file(folder / shards[-1]))
  save_file(last | {min(first): first[min(first)]}, folder / shards[-1])
  with pytest.raises(ValueError, match=f'{min(first)!r} is set twice'):
    hf.read(folder)


# --- Whole or not at all ----------------------------------------------------


def test_a_full_disk_leaves_all_as_it_was(sources, tmp_path):
  weights = hf.read(sources('mlm'))
  writer.write(tmp_path / 'out', hf.read(sources('labels')))
  before = {p.name: p.read_bytes() for p in (tmp_path / 'out').iterdir()}
  soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
  for name in ('out', 'new'):
    # A file may not grow past this: the system refuses the write midway.
    resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, hard))
    try:
      with pytest.raises(OSError, match=f'could not write .*{name}') as error:
        writer.write(tmp_path / name, weights, overwrite=True)
    finally:
      resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    left = 'it is as it was' if name == 'out' else 'it was not made'
    assert left in error.value.strerror
  assert [p.name for p in tmp_path.iterdir()] == ['out']
  after = {p.name: p.read_bytes() for p in (tmp_path / 'out').iterdir()}
  assert after == before


def test_a_kill_leaves_no_half_directory(sources, tmp_path):
  script = (
    'import os, signal, sys\n'
    'from xlmr_jax.checkpoints.hf import reader, writer\n'
    'weights = reader.read(sys.argv[1])\n'
    'os.fsync = lambda _: os.kill(os.getpid(), signal.SIGKILL)\n'
    'writer.write(sys.argv[2], weights, overwrite=True)\n'
  )
  out = tmp_path / 'out'
  writer.write(out, hf.read(sources('labels')))
  args = [sys.executable, '-c', script, sources('mlm'), out]
  env = {**os.environ, 'JAX_PLATFORMS': 'cpu'}
  done = subprocess.run(args, env=env)
  assert done.returncode == -signal.SIGKILL
  assert_same_tensors(sources('labels'), out)
  assert all(p.name.startswith('.out.') for p in tmp_path.iterdir() if p != out)


def test_a_folder_in_use_is_not_overwritten_unasked(sources, tmp_path):
  weights = hf.read(sources('mlm'))
  out = tmp_path / 'out'
  out.mkdir()
  writer.write(out, weights)  # an empty folder may be there
  (out / 'notes.txt').write_text('mine')
  with pytest.raises(ValueError, match='out is not empty'):
    writer.write(out, weights)
  assert (out / 'notes.txt').read_text() == 'mine'
  writer.write(out, weights, overwrite=True)
  assert sorted(p.name for p in out.iterdir()) == [
    'config.json',
    'model.safetensors',
  ]
  with pytest.raises(ValueError, match='config.json is a file'):
    writer.write(out / 'config.json', weights)


# --- Tokenizers and the hub -------------------------------------------------

TEXT = (
  'The cat sat on the mat, and the dog slept by the door.',
  'Die Katze saß auf der Matte, und der Hund schlief an der Tür.',
  'Кошка сидела на коврике, а собака спала у двери.',
  '猫はマットの上に座り、犬は戸口で眠った。',
)


@pytest.fixture(scope='module')
def spm_folder(tmp_path_factory):
  folder = tmp_path_factory.mktemp('spm')
  model = train_tokenizer.train(TEXT * 50, 300, hard_vocab_limit=False)
  (folder / TOKENIZER_FILES[0]).write_bytes(model)
  return folder


def test_transformers_loads_the_tokenizer(sources, spm_folder, tmp_path):
  weights = hf.read(sources('mlm'))
  weights = dataclasses.replace(weights, tokenizer_dir=spm_folder)
  writer.write(tmp_path / 'out', weights)
  theirs = transformers.AutoTokenizer.from_pretrained(tmp_path / 'out')
  ours = xlmr.Tokenizer(spm_folder)
  assert type(theirs).__name__.startswith('XLMRoberta')
  assert theirs.model_max_length == weights.config.max_length == 40
  assert (theirs.mask_token_id, len(theirs)) == (ours.mask_id, ours.vocab_size)
  texts = [*TEXT, '', 'The <mask> sat.', ' two  spaces ', 'THE UNSEEN']
  for text in texts:
    assert theirs(text)['input_ids'] == ours.encode(text), text
  assert theirs(*TEXT[:2])['input_ids'] == ours.encode(*TEXT[:2])


def test_tokenizer_files_are_carried_as_they_are(sources, tmp_path):
  source = tmp_path / 'source'
  source.mkdir()
  for name in (*TOKENIZER_FILES, 'README.md'):
    (source / name).write_bytes(f'content of {name}'.encode())
  weights = hf.read(sources('mlm'))
  weights = dataclasses.replace(weights, tokenizer_dir=source)
  writer.write(tmp_path / 'out', weights)
  for name in TOKENIZER_FILES:
    assert (tmp_path / 'out' / name).read_bytes() == (
      f'content of {name}'.encode()
    )
  assert not (tmp_path / 'out' / 'README.md').exists()


def test_a_name_the_hub_does_not_know(monkeypatch):
  import huggingface_hub.constants

  monkeypatch.setattr(huggingface_hub.constants, 'HF_HUB_OFFLINE', True)
  for name in ('nobody/no-such-model', 'no/such/folder'):
    with pytest.raises(ValueError, match=f"'{name}' is not a directory"):
      hub.download(name)


def test_reading_leaves_no_thread_behind(sources):
  before = threading.active_count()
  hf.read(sources('mlm'))
  assert threading.active_count() == before


# --- The head that is wanted --------------------------------------------------


def two_heads(arrays):
  """A classifier that was fine-tuned without dropping the language model's."""
  rng = np.random.default_rng(3)
  for key, shape in (
    ('dense.weight', (32, 32)),
    ('dense.bias', (32,)),
    ('out_proj.weight', (2, 32)),
    ('out_proj.bias', (2,)),
  ):
    draw = rng.standard_normal(shape).astype(np.float32)
    arrays[f'classifier.{key}'] = draw


def test_of_two_heads_the_one_that_is_asked_for(source):
  folder = source('mlm')
  rewrite(folder, two_heads)
  with pytest.raises(ValueError, match=r"unknown key 'classifier\.dense"):
    hf.read(folder)
  weights = hf.read(folder, head='classify')
  assert weights.head == 'classify' and weights.labels == (
    'LABEL_0',
    'LABEL_1',
  )
  assert 'lm_head.bias' in weights.source['left']
  edit_config(folder, architectures=['XLMRobertaForSequenceClassification'])
  with pytest.raises(ValueError, match=r"unknown key 'lm_head\."):
    hf.read(folder)
  assert hf.read(folder, head='mlm').head == 'mlm'
  body = hf.read(folder, head=None)
  assert body.head is None and 'head' not in body.params
  assert len(body.source['left']) == 4 + 5


def test_what_was_left_out_does_not_go_out_again(source, tmp_path):
  folder = source('mlm')
  writer.write(tmp_path / 'out', hf.read(folder, head=None))
  keys = load_file(tmp_path / 'out' / 'model.safetensors').keys()
  assert not any(key.startswith('lm_head') for key in keys)
  again = hf.read(tmp_path / 'out')
  assert again.head is None and not again.source['left']


def test_a_promised_head_that_is_missing(source):
  """Only where the caller says so is the body taken without it."""

  def no_head(arrays):
    return {k: v for k, v in arrays.items() if not k.startswith('lm_head')}

  folder = source('mlm')
  rewrite(folder, no_head)
  message = r'promises XLMRobertaForMaskedLM, but the files hold no weights'
  with pytest.raises(ValueError, match=message):
    hf.read(folder)
  for head in (None, 'mlm', 'tag'):
    assert hf.read(folder, head=head).head is None


def test_a_source_cannot_write_outside_its_folder(sources, tmp_path):
  """model.json of an untrusted directory names the files to write."""
  weights = hf.read(sources('mlm'))
  for name in ('../escaped.json', str(tmp_path / 'escaped.json')):
    source = {**weights.source, 'texts': {name: '{}'}}
    bad = dataclasses.replace(weights, source=source)
    with pytest.raises(ValueError, match='would lie outside'):
      writer.write(tmp_path / 'out', bad)
  assert not (tmp_path / 'escaped.json').exists()
  assert not (tmp_path / 'out').exists()


# --- What naming a head must not hide -----------------------------------------


@pytest.mark.parametrize('head', [None, 'mlm', 'classify'])
def test_naming_a_head_leaves_nothing_of_the_body_out(source, head):
  folder = source('mlm')
  key = 'roberta.encoder.layer.0.attention.self.query.lora_A.weight'
  rewrite(folder, lambda arrays: arrays.update({key: np.ones((2, 2), 'f4')}))
  with pytest.raises(ValueError, match=r'unknown key .*lora_A'):
    hf.read(folder, head=head)


@pytest.mark.parametrize('layers', [2, 4, 3_000_000])
def test_layers_are_counted_before_anything_else(source, layers):
  folder = source('mlm')
  edit_config(folder, num_hidden_layers=layers)
  message = f'num_hidden_layers = {layers}, and the files hold 3 layers'
  for head in (STORED, None):
    with pytest.raises(ValueError, match=message):
      hf.read(folder, head=head)


def test_naming_the_stored_head_changes_nothing(source):
  folder = source('mlm')
  edit_config(folder, is_decoder=True)
  stored, named = hf.read(folder), hf.read(folder, head='mlm')
  assert stored.config == named.config and stored.config.causal
  other = hf.read(folder, head='causal')
  assert other.config.causal and other.head == 'causal'


def test_a_head_that_config_json_does_not_promise_is_said(source):
  folder = source('mlm')
  edit_config(folder, architectures=['XLMRobertaForQuestionAnswering'])
  with pytest.warns(UserWarning, match="but the files hold the head 'mlm'"):
    assert hf.read(folder).head == 'mlm'


def test_an_adapter_beside_the_model_is_not_left_out(source):
  folder = source('mlm')
  (folder / 'adapter_config.json').write_text('{}')
  with pytest.raises(ValueError, match='holds an adapter beside the model'):
    hf.read(folder)


def test_generation_config_goes_along(source, tmp_path):
  folder = source('mlm')
  (folder / 'generation_config.json').write_text('{"pad_token_id": 1}')
  writer.write(tmp_path / 'out', hf.read(folder))
  text = (tmp_path / 'out' / 'generation_config.json').read_text()
  assert text == '{"pad_token_id": 1}'


@pytest.mark.parametrize(
  'changes, message',
  [
    ({'num_labels': 2}, 'num_labels = 2, and id2label names 3'),
    ({'id2label': 3}, 'id2label = 3 should be an object'),
    ({'id2label': ..., 'num_labels': '3'}, "num_labels = '3' is no number"),
    ({'architectures': {'a': 1}}, 'architectures a list of words'),
    ({'model_type': ['a']}, 'model_type should be a word'),
    ({'layer_norm_eps': float('inf')}, 'norm_eps=inf is not in'),
    ({'initializer_range': -1.0}, 'init_std=-1.0 is not in'),
    ({'tie_word_embeddings': 'no'}, "tie_word_embeddings = 'no' should be"),
  ],
)
def test_odd_values_of_config_json(source, changes, message):
  folder = source('labels')
  edit_config(folder, **changes)
  with pytest.raises(ValueError, match=message):
    hf.read(folder)
