"""What a training, a clone or another library leaves in a model's folder."""

import json
import os
import pathlib
import shutil

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
import torch
from torch_models import tiny
import transformers

import xlmr_jax
from xlmr_jax.checkpoints import convert, directory
from xlmr_jax.checkpoints.weights import SPM

IDS = [0, 7, 31, 9, 2]


@pytest.fixture(scope='module')
def theirs():
  """A classifier, and the files transformers writes of it."""
  return tiny('classify', num_labels=3)


@pytest.fixture
def folder(theirs, tmp_path) -> pathlib.Path:
  theirs.save_pretrained(tmp_path / 'source')
  return tmp_path / 'source'


def rewrite(folder, change) -> None:
  """Changes the arrays of a folder, in place."""
  file = folder / 'model.safetensors'
  arrays = change(load_file(file))
  save_file(arrays, file, {'format': 'pt'})


def edit(folder, **changes) -> None:
  path = folder / 'config.json'
  path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def check_parity(model, theirs) -> None:
  """Hidden states and logits are those of transformers."""
  with torch.no_grad():
    out = theirs(torch.tensor([IDS]), output_hidden_states=True)
  hidden, want = out.hidden_states[-1][0], out.logits[0]
  np.testing.assert_allclose(model.encode([IDS])[0], hidden, atol=1e-5)
  np.testing.assert_allclose(model.logits([IDS])[0], want, atol=1e-5)


# --- Wrappers ---------------------------------------------------------------


def inside(key: str) -> str:
  """As FSDP and its checkpointing wrap a layer."""
  return key.replace('layer.1.', 'layer.1._checkpoint_wrapped_module.')


@pytest.mark.parametrize(
  'wrap',
  [
    lambda key: 'module.' + key,
    lambda key: '_orig_mod.' + key,
    lambda key: 'model.' + key,
    lambda key: 'base_model.' + key,
    lambda key: 'module._orig_mod.model.' + key,
    lambda key: '_fsdp_wrapped_module.' + inside(key),
  ],
)
def test_wrappers_are_taken_off_and_put_on_again(
  folder, theirs, tmp_path, wrap
):
  rewrite(folder, lambda arrays: {wrap(k): v for k, v in arrays.items()})
  model = xlmr_jax.load(folder)
  check_parity(model, theirs)
  model.save(tmp_path / 'out', format='hf')
  name = 'model.safetensors'
  assert (tmp_path / 'out' / name).read_bytes() == (folder / name).read_bytes()
  model.save(tmp_path / 'fresh', format='hf', fresh=True)
  keys = load_file(tmp_path / 'fresh' / name).keys()
  assert keys == theirs.state_dict().keys() - {
    'roberta.embeddings.position_ids',
    'roberta.embeddings.token_type_ids',
  }


def test_one_parameter_under_two_wrappers(folder):
  key = 'classifier.dense.bias'
  rewrite(folder, lambda arrays: arrays | {'module.' + key: arrays[key]})
  with pytest.raises(ValueError, match=r"'classifier\.dense\.bias' is set twi"):
    xlmr_jax.load(folder)


@pytest.mark.parametrize(
  'key', ['loss_fct.weight', 'class_weights', 'model.criterion.pos_weight']
)
def test_a_losss_weights_are_left_out_and_said(folder, theirs, tmp_path, key):
  weights = {key: np.array([1.0, 2.0, 3.0], np.float32)}
  rewrite(
    folder,
    lambda arrays: {f'model.{k}': v for k, v in arrays.items()} | weights,
  )
  with pytest.warns(UserWarning, match=f"'{key}' is left out: it weighs"):
    model = xlmr_jax.load(folder)
  check_parity(model, theirs)
  assert f'no output depends on it: {key}' in convert.describe(model.weights)
  model.save(tmp_path / 'out', format='hf')
  saved = load_file(tmp_path / 'out' / 'model.safetensors')
  assert saved.keys() == {f'model.{k}' for k in theirs.state_dict()}


def test_a_matrix_of_that_name_is_an_unknown_key(folder):
  matrix = {'loss_fct.weight': np.ones((2, 3), np.float32)}
  rewrite(folder, lambda arrays: arrays | matrix)
  with pytest.raises(ValueError, match=r"unknown key 'loss_fct\.weight'"):
    xlmr_jax.load(folder)


# --- config.json ------------------------------------------------------------


def test_labels_as_a_list(folder, theirs, tmp_path):
  edit(folder, id2label=['no', 'perhaps', 'yes'])
  model = xlmr_jax.load(folder)
  assert model.labels == ('no', 'perhaps', 'yes')
  check_parity(model, theirs)
  model.save(tmp_path / 'out', format='hf')
  text = (folder / 'config.json').read_bytes()
  assert (tmp_path / 'out' / 'config.json').read_bytes() == text
  edit(folder, id2label='no')
  with pytest.raises(ValueError, match="id2label = 'no' should be an object"):
    xlmr_jax.load(folder)


@pytest.mark.parametrize('names', [None, []])
def test_no_architectures(folder, theirs, names):
  edit(folder, architectures=names)
  model = xlmr_jax.load(folder)
  assert model.head == 'classify'
  check_parity(model, theirs)


# --- Added tokens -----------------------------------------------------------


@pytest.mark.parametrize('through', ['hf', 'orbax'])
def test_added_tokens_have_rows_of_their_own(tiny_tokenizer, tmp_path, through):
  """A text with added tokens has transformers' logits; the files go along."""
  folder = tmp_path / 'source'
  tokenizer = transformers.XLMRobertaTokenizer.from_pretrained(tiny_tokenizer)
  base = len(tokenizer)
  tokenizer.add_tokens(['@user', 'http'])
  theirs = tiny('classify', vocab_size=len(tokenizer))
  theirs.save_pretrained(folder)
  shutil.copy(tiny_tokenizer / SPM, folder)
  added = folder / 'added_tokens.json'
  added.write_text(json.dumps({'@user': base, 'http': base + 1}))
  text = 'the red cat @user http'
  encoded = tokenizer(text, return_tensors='pt')
  assert {base, base + 1} < set(encoded['input_ids'][0].tolist())
  with torch.no_grad():
    want = theirs(**encoded).logits[0].numpy()
  model = xlmr_jax.load(folder)
  np.testing.assert_allclose(model.logits([text])[0], want, atol=1e-5)
  model.save(tmp_path / 'out', format=through)
  again = xlmr_jax.load(tmp_path / 'out')
  np.testing.assert_allclose(again.logits([text])[0], want, atol=1e-5)
  again.save(tmp_path / 'hf', format='hf')
  saved = tmp_path / 'hf' / 'added_tokens.json'
  assert saved.read_bytes() == added.read_bytes()


# --- Paths ------------------------------------------------------------------


def test_a_file_stands_for_its_folder(folder, theirs):
  for name in ('model.safetensors', 'config.json'):
    check_parity(xlmr_jax.load(folder / name), theirs)
    assert directory.recognise(folder / name).name == 'hf'


def test_a_file_of_our_own_directory(folder, theirs, tmp_path):
  xlmr_jax.load(folder).save(tmp_path / 'ours')
  check_parity(xlmr_jax.load(tmp_path / 'ours' / 'model.json'), theirs)


def test_a_file_by_itself(folder, theirs, tmp_path):
  (folder / 'config.json').unlink()
  file = folder / 'model.safetensors'
  with pytest.raises(ValueError) as error:
    xlmr_jax.load(file)
  assert f'{file} is a file, and a model is a folder' in str(error.value)
  assert 'copy config.json and the tokenizer of the model' in str(error.value)


def test_a_file_that_its_folder_would_not_read(folder):
  torch.save({}, folder / 'pytorch_model.bin')
  with pytest.raises(ValueError, match='which is read first: give the folder'):
    xlmr_jax.load(folder / 'pytorch_model.bin')


def test_the_users_folder(folder, theirs, monkeypatch):
  monkeypatch.setenv('HOME', os.fspath(folder.parent))
  model = xlmr_jax.load('~/source')
  check_parity(model, theirs)
  model.save('~/again', format='hf')
  assert (folder.parent / 'again' / 'config.json').is_file()
  with pytest.raises(ValueError, match="'~/nowhere' is not a directory"):
    xlmr_jax.load('~/nowhere')


# --- Weights that are not read ----------------------------------------------

# Files → what is said. With config.json and without.
LEFT = {
  'flax': (
    ('flax_model.msgpack',),
    "Flax's weights (flax_model.msgpack): load them with transformers 4",
    'from_flax=True',
  ),
  'tensorflow': (('tf_model.h5',), "TensorFlow's weights", 'from_tf=True'),
  'shards of tensorflow': (
    ('tf_model-00001-of-00002.h5',),
    "TensorFlow's weights",
    'from_tf=True',
  ),
  'deepspeed': (
    (
      'zero_to_fp32.py',
      'global_step500/zero_pp_rank_0_mp_rank_00_optim_states.pt',
      'global_step500/mp_rank_00_model_states.pt',
    ),
    'the pieces of a training with DeepSpeed (global_step500/mp_rank_00',
    'source/zero_to_fp32.py',
  ),
  'a step of deepspeed': (
    ('zero_pp_rank_0_mp_rank_00_model_states.pt',),
    'the pieces of a training with DeepSpeed (zero_pp_rank_0',
    'zero_to_fp32.py',
  ),
  'fsdp': (
    ('pytorch_model_fsdp_0/__0_0.distcp', 'pytorch_model_fsdp_0/.metadata'),
    'the pieces of a training with FSDP',
    'accelerate merge-weights',
  ),
  'fsdp whole': (
    ('pytorch_model_fsdp.bin',),
    'the whole weights of a training with FSDP',
    'rename pytorch_model_fsdp.bin to pytorch_model.bin',
  ),
  'onnx': (('onnx/model.onnx',), 'a model exported', 'PyTorch weights'),
}


@pytest.mark.parametrize('config', [True, False])
@pytest.mark.parametrize('name', LEFT)
def test_other_weights_are_named_with_what_to_do(folder, name, config):
  files, noun, remedy = LEFT[name]
  (folder / 'model.safetensors').unlink()
  if not config:
    (folder / 'config.json').unlink()
  for file in files:
    (folder / file).parent.mkdir(exist_ok=True)
    (folder / file).write_bytes(b'x')
  with pytest.raises(ValueError) as error:
    xlmr_jax.load(folder)
  assert f'it holds {noun}' in str(error.value)
  assert remedy in str(error.value) and '\n' not in str(error.value)
  message = 'has no model.safetensors' if config else 'is no model that can be'
  assert message in str(error.value)


def test_the_models_own_weights_go_before_a_trainings_pieces(folder, theirs):
  (folder / 'global_step500').mkdir()
  (folder / 'global_step500' / 'mp_rank_00_model_states.pt').write_bytes(b'x')
  check_parity(xlmr_jax.load(folder), theirs)


def test_a_trainers_folder_names_its_latest_checkpoint(folder, tmp_path):
  runs = tmp_path / 'runs'
  for step in (500, 1000):
    (runs / f'checkpoint-{step}').mkdir(parents=True)
    (runs / f'checkpoint-{step}' / 'config.json').write_text('{}')
  with pytest.raises(ValueError, match=f'give {runs}/checkpoint-1000$'):
    xlmr_jax.load(runs)


def test_weights_of_a_state_without_a_config(folder):
  (folder / 'config.json').unlink()
  with pytest.raises(ValueError, match='copy config.json and the tokenizer of'):
    xlmr_jax.load(folder)


POINTER = (
  b'version https://git-lfs.github.com/spec/v1\n'
  b'oid sha256:9f6a6e1e\nsize 1112201932\n'
)


@pytest.mark.parametrize('name', ['model.safetensors', 'pytorch_model.bin'])
@pytest.mark.parametrize(
  ('content', 'message'),
  [
    (POINTER, 'is a pointer of git-lfs .*: run git lfs pull'),
    (b'', 'is truncated: it is empty; copy it again'),
    (b'PK\3\4\0\0\0\0', 'is truncated'),
  ],
)
def test_a_file_that_is_not_whole(folder, name, content, message):
  (folder / 'model.safetensors').unlink()
  (folder / name).write_bytes(content)
  with pytest.raises(ValueError, match=f'{name} {message}') as error:
    xlmr_jax.load(folder)
  assert '\n' not in str(error.value)
