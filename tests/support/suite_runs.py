"""A whole benchmark in seconds: its files and its recipe."""

import pathlib

import pytest
from tagging_runs import sentences, write
from tiny_runs import SIZES

from configs import xtreme as recipe

ROOT = pathlib.Path(__file__).resolve().parents[2]
LANGUAGES = ('en', 'de', 'af')


@pytest.fixture(scope='module')
def data(tmp_path_factory):
  """Little files of udpos (of af there is no test file) and tatoeba."""
  folder = tmp_path_factory.mktemp('xtreme')
  (folder / 'udpos').mkdir()
  for split, count in (('train', 60), ('dev', 16)):
    write(folder / 'udpos' / f'{split}-en.tsv', sentences(count, len(split)))
  for seed, language in enumerate(('en', 'de')):
    path = folder / 'udpos' / f'test-{language}.tsv'
    write(path, sentences(20, 20 + seed), tags=language == 'en')
  (folder / 'tatoeba').mkdir()
  for name in ('deu', 'eng'):
    lines = [' '.join(words) for words, _ in sentences(30, 40)]
    path = folder / 'tatoeba' / f'tatoeba.deu-eng.{name}'
    path.write_text('\n'.join(dict.fromkeys(lines)) + '\n')
  return folder


def config_of(data, tokenizer, **more):
  config = recipe.get_config('model=tiny,tasks=udpos+tatoeba')
  config.data_dir, config.init = str(data), ''
  config.recipe = str(ROOT / 'configs' / 'finetune.py')
  config.retrieve_with = 'udpos'
  config.languages = LANGUAGES
  config.settings = (
    f'tokenizer={tokenizer}',
    *(f'sizes.{name}={size}' for name, size in SIZES.items()),
    'max_length=30',
    'row_length=32',
    'udpos:steps=6',
    'tatoeba:steps=never read',
    'progress=False',
  )
  config.update(more)
  return config
