"""A BERT checkpoint is fine-tuned, goes on, and goes back to Hugging Face."""

import dataclasses
import json
import shutil

import jax
import numpy as np
import pytest
from safetensors.numpy import load_file
from tiny_runs import SIZES, flat, recipe, settings, steps, write_data
import torch
from torch_models import randomize
import transformers

from configs import finetune, pretrain
import xlmr_jax
from xlmr_jax import heads, train
from xlmr_jax.checkpoints import directory, peft
from xlmr_jax.data.tokenizers.xlmr import FILE_NAME, Tokenizer
from xlmr_jax.plan import aot
from xlmr_jax.runtime import hosts, sharding


@pytest.fixture(scope='module')
def given(tmp_path_factory, tiny_tokenizer):
  """(folder of files, settings without sizes, BERT's folder)."""
  folder = tmp_path_factory.mktemp('bert')
  write_data(folder)
  config = transformers.BertConfig(
    vocab_size=Tokenizer(tiny_tokenizer).vocab_size,
    hidden_size=SIZES['model_dim'],
    num_hidden_layers=SIZES['num_layers'],
    num_attention_heads=SIZES['num_heads'],
    intermediate_size=SIZES['ff_dim'],
    max_position_embeddings=32,
  )
  model = randomize(transformers.BertForPreTraining(config)).eval()
  bert = folder / 'model'
  model.save_pretrained(bert)
  shutil.copyfile(tiny_tokenizer / FILE_NAME, bert / FILE_NAME)
  made = settings(folder, tiny_tokenizer)
  for values in made.values():
    for key in [k for k in values if k.startswith('sizes.')]:
      del values[key]
    values |= {'init': str(bert), 'tokenizer': ''}
  return folder, made, bert


@pytest.fixture
def typed(monkeypatch):
  """The tokenizer numbers the texts of a pair, as WordPiece does."""
  monkeypatch.setattr(Tokenizer, 'typed', True)


def test_a_run_starts_with_the_pooler_and_goes_on(
  given, typed, capsys, monkeypatch
):
  folder, made, bert = given
  config = recipe(made, finetune, steps=6, save_every=3, eval_every=6)
  whole, halved = folder / 'whole', folder / 'halved'
  train.train(config, whole)
  said = capsys.readouterr().out
  assert 'loaded encoder, pooler as head/dense; new: head/out' in said
  assert 'left out' not in said

  with monkeypatch.context() as patch:  # as if it were told after 3 steps
    answers = iter([False] * 3 + [True])
    patch.setattr(hosts.Stop, 'asked', lambda self: next(answers))
    train.train(config, halved)
  assert 'stopped at step 3 of 6' in capsys.readouterr().out
  train.train(config, halved)
  assert 'resumed from step 3 of 6' in capsys.readouterr().out
  one, two = steps(whole)[6]['params'], steps(halved)[6]['params']
  for name, leaf in one.items():
    assert leaf.tobytes() == two[name].tobytes(), name
  assert 'head/dense/kernel' in one and 'pooler/dense/kernel' not in one

  # To Hugging Face's files: their class finds all it looks for.
  directory.write(folder / 'hf', directory.read(whole), 'hf')
  theirs, facts = transformers.BertForSequenceClassification.from_pretrained(
    folder / 'hf', output_loading_info=True, attn_implementation='eager'
  )
  assert not facts['missing_keys'] and not facts['unexpected_keys']
  m = xlmr_jax.load(whole)
  ids = m.tokenizer.encode('man sees cat', 'red house')
  first = ids.index(2)
  types = [int(i > first) for i in range(len(ids))]
  with torch.no_grad():
    want = theirs.eval()(
      input_ids=torch.tensor([ids]), token_type_ids=torch.tensor([types])
    ).logits[0]
  np.testing.assert_allclose(m.logits([ids])[0], want, rtol=0, atol=1e-5)


def test_adapters_start_on_bert_and_go_to_peft(given, tmp_path, capsys):
  """The pooler, which is trained, goes out beside the adapters."""
  _, made, bert = given
  mesh = sharding.make_mesh()
  job = train.build_job(recipe(made, finetune, tune='lora'), tmp_path, mesh)
  shapes = jax.eval_shape(job.fresh, jax.random.key(0))
  layout = sharding.shardings(shapes, heads.plan(job.model, job.head), mesh)
  capsys.readouterr()
  start = job.start(jax.random.key(0), layout)
  assert capsys.readouterr().out == (
    'loaded encoder, pooler as head/dense; new: adapters, head/out\n'
  )
  start['head']['dense']['bias'] += 1.0
  weights = dataclasses.replace(job.weights(), params=start)
  directory.write(tmp_path / 'adapter', weights, 'peft')
  facts = json.loads((tmp_path / 'adapter' / peft.CONFIG).read_text())
  assert facts['base_model_name_or_path'] == str(bert)
  assert facts['modules_to_save'] == ['classifier', 'pooler']
  keys = load_file(tmp_path / 'adapter' / peft.WEIGHTS)
  root = 'base_model.model.bert'
  assert f'{root}.pooler.dense.bias' in keys
  assert f'{root}.encoder.layer.1.attention.self.query.lora_A.weight' in keys
  again = flat(directory.read(tmp_path / 'adapter').params)
  for path, leaf in flat(start).items():
    if path != 'encoder/embed/tokens':  # padded in training
      np.testing.assert_array_equal(again[path], leaf, err_msg=path)


@pytest.mark.parametrize('module', [finetune, pretrain])
def test_batches_have_types_where_the_tokenizer_has(
  given, monkeypatch, tmp_path, module
):
  _, made, _ = given
  mesh = sharding.make_mesh((1, 1, 1))

  def batch(typed):
    monkeypatch.setattr(Tokenizer, 'typed', typed)
    config = recipe(made, module, steps=2)
    return train.build_job(config, tmp_path, mesh).loader.batch(0)

  assert 'types' not in batch(False)
  with_types = batch(True)
  tokens, segments = with_types['tokens'], with_types['segments']
  for row, types in enumerate(with_types['types']):
    for slot in range(1, segments[row].max() + 1):
      inside = segments[row] == slot
      first = tokens[row][inside].tolist().index(2)
      want = np.arange(inside.sum()) > first
      np.testing.assert_array_equal(types[inside], want)
    assert not types[segments[row] == 0].any()
  # Sentence pairs of pretraining have two texts, tables of one have one.
  assert with_types['types'].any() == (module is pretrain)


def test_pretraining_goes_on_from_bert(given, typed, tmp_path, capsys):
  """Its language head is loaded; pooler and next sentence are left out."""
  _, made, _ = given
  config = recipe(made, pretrain, steps=2, eval_every=2, save_every=2)
  train.train(config, tmp_path / 'run')
  said = capsys.readouterr().out
  assert 'loaded encoder, head; left out: pooler' in said
  m = xlmr_jax.load(tmp_path / 'run')
  assert m.head == 'mlm' and m.config.bert
  m.save(tmp_path / 'hf', format='hf')
  _, facts = transformers.BertForMaskedLM.from_pretrained(
    tmp_path / 'hf', output_loading_info=True
  )
  assert not facts['missing_keys'] and not facts['unexpected_keys']


def test_a_plan_of_mbert_has_types():
  config = pretrain.get_config('model=tiny')
  config.update_from_flattened_dict({'variant': 'mbert', 'batch_tokens': 1024})
  config.row_length, config.schedule = 128, ()
  target = aot.make_target(config.lock(), 'h100:1')
  assert target.batch.keys() == {'tokens', 'segments', 'positions', 'types'}
  assert target.work.model.bert and target.work.model.rows == 119_808
  assert all(leaf.dtype == np.int32 for leaf in jax.tree.leaves(target.batch))
