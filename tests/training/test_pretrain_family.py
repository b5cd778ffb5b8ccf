"""Bodies and vocabularies other than XLM-R's own train, and go out again."""

import json

import numpy as np
import pytest
from tiny_runs import SIZES, settings, write_data
import tokenizers as library
import torch
import transformers

from configs import pretrain
import xlmr_jax
from xlmr_jax import train


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
  folder = tmp_path_factory.mktemp('data')
  write_data(folder)
  return folder


@pytest.fixture(scope='module')
def bpe(folder, tmp_path_factory):
  """A byte-level BPE as RoBERTa's: vocab.json and merges.txt."""
  made = library.ByteLevelBPETokenizer()
  made.train(
    [str(file) for file in (folder / 'corpus').iterdir()],
    vocab_size=400,
    special_tokens=['<s>', '<pad>', '</s>', '<unk>', '<mask>'],
    show_progress=False,
  )
  out = tmp_path_factory.mktemp('bpe')
  made.save_model(str(out))
  return out


def run(folder, tokenizer, workdir, variant, **changes):
  """Thirty steps of a tiny body of that variant; what metrics.jsonl says."""
  config = pretrain.get_config(f'model={variant}')
  given = settings(folder, tokenizer)[pretrain]
  rate = {
    'optim.learning_rate': 1e-2,
    'optim.warmup': 0.06,
    'remat': 'none',
    'dtype': 'float32',
  }
  config.update_from_flattened_dict({**given, **rate, **changes})
  train.train(config.lock(), workdir)
  lines = (workdir / 'metrics.jsonl').read_text().splitlines()
  records = [json.loads(line) for line in lines]
  losses = [r['loss'] for r in records if 'loss' in r]
  assert len(losses) == 30 and np.mean(losses[-5:]) < 0.9 * losses[0]
  return xlmr_jax.load(workdir)


def same_in_transformers(model, name, folder, texts):
  """What is written loads as that class and computes the same."""
  model.save(folder, format='hf')
  theirs = getattr(transformers, name).from_pretrained(
    folder, attn_implementation='eager'
  )
  for ids, got in zip(model.tokens(texts), model.logits(texts), strict=True):
    with torch.no_grad():
      want = theirs.eval()(torch.tensor(ids)[None].long()).logits[0].numpy()
    np.testing.assert_allclose(got, want, rtol=0, atol=1e-4)


def test_xl_by_the_next_token(folder, tiny_tokenizer, tmp_path):
  model = run(
    folder, tiny_tokenizer, tmp_path / 'run', 'xl', objective='causal'
  )
  assert model.head == 'causal' and model.config.causal
  assert model.config.pre_norm and model.config.model_dim == SIZES['model_dim']
  texts = ['red cat house man', 'Katze']
  same_in_transformers(model, 'XLMRobertaXLForCausalLM', tmp_path / 'hf', texts)


def test_roberta_with_its_own_kind_of_vocabulary(folder, bpe, tmp_path):
  model = run(folder, bpe, tmp_path / 'run', 'roberta', parallel='')
  assert type(model.tokenizer).__name__ == 'BpeTokenizer'
  assert model.config.vocab_size == model.tokenizer.vocab_size
  texts = ['red cat <mask> man', 'Katze']
  assert model.tokenizer.mask_id in model.tokens(texts)[0]
  best = model.fill_mask('red cat <mask> man', top=3)
  assert len(best) == 3 and best[0][1] > best[2][1] > 0
  same_in_transformers(model, 'RobertaForMaskedLM', tmp_path / 'hf', texts)
  # The tokenizer goes along, and config.json says whose it is.
  again = transformers.AutoTokenizer.from_pretrained(tmp_path / 'hf')
  plain = 'red cat house'
  assert again(plain)['input_ids'] == model.tokens([plain])[0].tolist()


def test_a_masked_model_goes_on_as_a_causal_one(
  folder, tiny_tokenizer, make_model, tmp_path, capsys
):
  """They share their parameters: nothing is made anew."""
  start = make_model(tiny_tokenizer, head='mlm', **{k: SIZES[k] for k in SIZES})
  start.save(tmp_path / 'start', format='hf')
  config = pretrain.get_config('model=tiny')
  given = settings(folder, tiny_tokenizer)[pretrain]
  for name in SIZES:
    given.pop(f'sizes.{name}')
  config.update_from_flattened_dict(
    {
      **given,
      'tokenizer': '',
      'init': str(tmp_path / 'start'),
      'objective': 'causal',
      'steps': 2,
      'parallel': '',
      'optim.learning_rate': 0.0,
      'optim.weight_decay': 0.0,
    }
  )
  train.train(config.lock(), tmp_path / 'run')
  assert 'loaded encoder, head\n' in capsys.readouterr().out
  model = xlmr_jax.load(tmp_path / 'run')
  assert model.head == 'causal' and model.config.causal
  np.testing.assert_array_equal(
    model.params['head']['bias'], start.params['head']['bias']
  )
