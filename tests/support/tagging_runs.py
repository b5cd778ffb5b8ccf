"""Taggers trained in seconds: sentences, their files, a tokenizer, a recipe."""

import numpy as np
import pytest
from tiny_runs import SIZES

from configs import finetune
from xlmr_jax.data.tokenizers import train_tokenizer, xlmr

TAGS = {
  'man': 'NOUN',
  'house': 'NOUN',
  'cat': 'NOUN',
  'catman': 'NOUN',
  'red': 'ADJ',
  'sees': 'VERB',
  'the': 'DET',
  'no': 'DET',
  '.': 'PUNCT',
}


def sentences(count, seed, longest=8):
  rng = np.random.default_rng(seed)
  out = []
  for _ in range(count):
    words = rng.choice(list(TAGS), rng.integers(1, longest + 1)).tolist()
    out.append((words, [TAGS[word] for word in words]))
  return out


def write(path, made, tags=True):
  lines = [
    ''.join(
      f'{w}\t{t}\n' if tags else f'{w}\n' for w, t in zip(*s, strict=True)
    )
    for s in made
  ]
  path.write_text('\n'.join(lines))


@pytest.fixture(scope='module')
def words_tokenizer(tmp_path_factory):
  """Knows every word but 'catman', which is two pieces."""
  text = [' '.join(words) for words, _ in sentences(400, 9)]
  folder = tmp_path_factory.mktemp('words')
  model = train_tokenizer.train(text, 40, hard_vocab_limit=False)
  xlmr.Tokenizer(model).save(folder)
  return folder


def recipe(folder, vocabulary, argument='task=udpos,model=tiny', **changes):
  config = finetune.get_config(argument)
  config.update_from_flattened_dict(
    {
      **{f'sizes.{name}': size for name, size in SIZES.items()},
      'tokenizer': str(vocabulary),
      'data_dir': str(folder),
      'progress': False,
      'row_length': 32,
      'max_length': 32,
      'batch_size': 16,
      'epochs': 5,
      'dropout': 0.0,
      'optim.learning_rate': 1e-2,
      'eval_every': 40,
      'save_every': 1000,
      **{name.replace('__', '.'): value for name, value in changes.items()},
    }
  )
  return config.lock()
