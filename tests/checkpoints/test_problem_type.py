"""What a score means, in Hugging Face's words: config.json's problem_type."""

import json

import numpy as np
import pytest
import transformers

import xlmr_jax
from xlmr_jax import checkpoints

TEXTS = ['A man is asleep.', 'No red cat', 'Ein Haus']


def config_of(folder):
  return json.loads((folder / 'config.json').read_text())


def change(folder, **changes):
  config = config_of(folder) | changes
  config = {k: v for k, v in config.items() if v is not None}
  (folder / 'config.json').write_text(json.dumps(config, indent=2) + '\n')


def test_a_number_stays_a_number(make_model, tiny_tokenizer, tmp_path):
  """Their pipeline would put it through a sigmoid."""
  model = make_model(tiny_tokenizer)
  model.save(tmp_path / 'hf', format='hf')
  config = config_of(tmp_path / 'hf')
  assert config['problem_type'] == 'regression'
  pipeline = transformers.pipeline('text-classification', str(tmp_path / 'hf'))
  theirs = [answer['score'] for answer in pipeline(TEXTS)]
  ours = np.stack(model.logits(TEXTS))[:, 0]
  np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-5)
  assert ours.min() < 0 or ours.max() > 1  # no sigmoid gives that
  again = xlmr_jax.load(tmp_path / 'hf')
  assert again.head == 'classify' and again.labels is None
  again.save(tmp_path / 'again', format='hf')
  for name in ('config.json', 'model.safetensors'):
    assert (tmp_path / 'again' / name).read_bytes() == (
      tmp_path / 'hf' / name
    ).read_bytes()


def test_the_name_of_a_number_and_a_reranker_stay(
  make_model, tiny_tokenizer, tmp_path
):
  source = tmp_path / 'hf'
  make_model(tiny_tokenizer).save(source, format='hf')
  change(source, id2label={'0': 'score'}, label2id={'score': 0})
  model = xlmr_jax.load(source)
  assert model.labels is None
  model.save(tmp_path / 'a', format='hf')
  assert config_of(tmp_path / 'a') == config_of(source)
  model.save(tmp_path / 'b', format='hf', fresh=True)
  assert config_of(tmp_path / 'b')['id2label'] == {'0': 'score'}
  assert config_of(tmp_path / 'b')['problem_type'] == 'regression'
  # Rerankers say nothing, and get nothing.
  change(source, problem_type=None)
  model = xlmr_jax.load(source)
  assert model.labels == ('score',)
  model.save(tmp_path / 'c', format='hf')
  assert 'problem_type' not in config_of(tmp_path / 'c')


def test_one_label_or_several(make_model, tiny_tokenizer, tmp_path):
  """The same weights; problem_type alone tells the two heads apart."""
  source = tmp_path / 'hf'
  make_model(tiny_tokenizer, labels=('a', 'b')).save(source, format='hf')
  assert xlmr_jax.load(source).head == 'classify'
  problem = 'multi_label_classification'
  change(source, problem_type=problem, xlmr_jax={'thresholds': [0.25, 1]})
  model = xlmr_jax.load(source)
  assert model.head == 'multilabel' and model.labels == ('a', 'b')
  assert model.weights.deciding == {'thresholds': (0.25, 1.0)}
  for fresh in (False, True):
    model.save(tmp_path / f'same{fresh}', format='hf', fresh=fresh)
    config = config_of(tmp_path / f'same{fresh}')
    assert config['problem_type'] == problem
    assert config['xlmr_jax'] == {'thresholds': [0.25, 1]}
  # Read for another use it says so, and its thresholds are no part of that.
  other = xlmr_jax.load(source, head='classify')
  assert other.weights.deciding == {}
  other.save(tmp_path / 'other', format='hf')
  config = config_of(tmp_path / 'other')
  assert 'problem_type' not in config and 'xlmr_jax' not in config
  again = checkpoints.read(tmp_path / 'other')
  assert again.head == 'classify' and again.labels == ('a', 'b')


@pytest.mark.parametrize(
  'ours, message',
  [
    ({'thresholds': [0.5]}, r'xlmr_jax: thresholds = \[0.5\] should be 2 numb'),
    ({'thresholds': [0.5, 1.5]}, 'from 0 to 1, one for each label by its id'),
    ({'thresholds': ['0.5', 0]}, 'should be 2 numbers'),
    ([0.5, 0.5], 'xlmr_jax should be an object'),
  ],
)
def test_thresholds_that_are_none(
  make_model, tiny_tokenizer, tmp_path, ours, message
):
  model = make_model(tiny_tokenizer, 'multilabel', labels=('a', 'b'))
  model.save(tmp_path / 'hf', format='hf')
  change(tmp_path / 'hf', xlmr_jax=ours)
  with pytest.raises(ValueError, match=message):
    xlmr_jax.load(tmp_path / 'hf')
