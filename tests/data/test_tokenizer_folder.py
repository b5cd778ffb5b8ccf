"""A folder's tokenizer is the one that its model was trained with."""

import json
import random
import shutil

import pytest
import tokenizers

from xlmr_jax.data.tokenizers import train_tokenizer
from xlmr_jax.data.tokenizers.folder import load
from xlmr_jax.data.tokenizers.hf_tokenizers import BpeTokenizer
from xlmr_jax.data.tokenizers.xlmr import CAMEMBERT, XLMR, Tokenizer

WORDS = 'the farmer sees a horse near old house café water дом собака'.split()
SPECIALS = ['<s>', '<pad>', '</s>', '<unk>', '<mask>']


def corpus():
  draw = random.Random(0)
  return [' '.join(draw.choices(WORDS, k=6)) for _ in range(500)]


@pytest.fixture(scope='module')
def spm(tmp_path_factory):
  """The path of a SentencePiece model."""
  model = train_tokenizer.train(corpus(), 120, hard_vocab_limit=False)
  return Tokenizer(model).save(tmp_path_factory.mktemp('spm'))


@pytest.fixture(scope='module')
def pieces(spm):
  """How many pieces it has."""
  return Tokenizer(spm).vocab_size - 2


@pytest.fixture(scope='module')
def bpe(tmp_path_factory):
  """A folder of vocab.json and merges.txt, 300 rows."""
  folder = tmp_path_factory.mktemp('bpe')
  model = tokenizers.ByteLevelBPETokenizer()
  model.train_from_iterator(
    corpus(), vocab_size=300, special_tokens=SPECIALS, show_progress=False
  )
  model.save_model(str(folder))
  return folder


def write_json(path, value):
  path.write_text(json.dumps(value, ensure_ascii=False), encoding='utf-8')


def extend(bpe, folder, rows):
  """Writes bpe as a tokenizer.json with added tokens, `rows` in all."""
  tokenizer = BpeTokenizer(bpe)
  path = folder / 'tokenizer.json'
  spec = json.loads(open(tokenizer.save(folder), 'rb').read())
  flags = dict.fromkeys(('lstrip', 'rstrip', 'normalized'), False)
  flags |= {'special': False, 'single_word': False}
  spec['added_tokens'] += [
    {'id': i, 'content': f'word{i}', **flags}
    for i in range(tokenizer.vocab_size, rows)
  ]
  write_json(path, spec)


def test_rows_choose_the_layout(spm, pieces, tmp_path):
  shutil.copy(spm, tmp_path)
  for rows, layout in (
    (None, XLMR),
    (pieces + 2, XLMR),
    (pieces + 3, XLMR),
    (pieces + 5, CAMEMBERT),
    (pieces + 6, XLMR),
  ):
    tokenizer = load(tmp_path, rows)
    assert isinstance(tokenizer, Tokenizer) and tokenizer.layout == layout, rows


@pytest.mark.parametrize(
  'name, settings, layout',
  [
    ('config.json', {'model_type': 'camembert'}, CAMEMBERT),
    ('config.json', {'model_type': 'xlm-roberta'}, XLMR),
    ('config.json', {'model_type': 'xlm-roberta-xl'}, XLMR),
    (
      'tokenizer_config.json',
      {'tokenizer_class': 'CamembertTokenizerFast'},
      CAMEMBERT,
    ),
    (
      'tokenizer_config.json',
      {'tokenizer_class': 'XLMRobertaTokenizer'},
      XLMR,
    ),
  ],
)
def test_settings_choose_the_layout(
  spm, pieces, tmp_path, name, settings, layout
):
  shutil.copy(spm, tmp_path)
  write_json(tmp_path / name, settings)
  # Three tokens added to XLM-R give CamemBERT's number of rows.
  for rows in (None, pieces + 5, pieces + 10):
    assert load(tmp_path, rows).layout == layout, rows
  # CamemBERT has no table that small.
  assert load(tmp_path, pieces + 2).layout == XLMR


def test_the_tokenizers_settings_come_before_the_models(spm, tmp_path):
  shutil.copy(spm, tmp_path)
  write_json(tmp_path / 'config.json', {'model_type': 'camembert'})
  settings = {'tokenizer_class': 'XLMRobertaTokenizer'}
  write_json(tmp_path / 'tokenizer_config.json', settings)
  assert load(tmp_path).layout == XLMR
  # A class that says nothing about the layout leaves it to the model's type.
  settings = {'tokenizer_class': 'PreTrainedTokenizerFast'}
  write_json(tmp_path / 'tokenizer_config.json', settings)
  assert load(tmp_path).layout == CAMEMBERT
  (tmp_path / 'tokenizer_config.json').write_text('{')
  with pytest.raises(ValueError, match='tokenizer_config.json is not JSON'):
    load(tmp_path)


def test_a_saved_tokenizer_is_found_again(spm, bpe, tmp_path):
  for number, tokenizer in enumerate(
    (Tokenizer(spm), Tokenizer(spm, CAMEMBERT), BpeTokenizer(bpe))
  ):
    folder = tmp_path / str(number)
    tokenizer.save(folder)
    for rows in (None, tokenizer.vocab_size, tokenizer.vocab_size + 1023):
      again = load(folder, rows)
      assert again.fingerprint == tokenizer.fingerprint
      assert again.encode('the horse') == tokenizer.encode('the horse')


def test_order_of_the_files(spm, bpe, tmp_path):
  for name in ('vocab.json', 'merges.txt'):
    shutil.copy(bpe / name, tmp_path)
  tokenizer = load(tmp_path)
  assert isinstance(tokenizer, BpeTokenizer) and len(tokenizer) == 300
  extend(bpe, tmp_path, 310)
  assert len(load(tmp_path)) == 310
  assert len(load(tmp_path, 310)) == 310
  assert len(load(tmp_path, 300)) == 300
  shutil.copy(spm, tmp_path)
  assert isinstance(load(tmp_path), Tokenizer)
  assert len(load(tmp_path, 310)) == 310
  assert len(load(tmp_path, 300)) == 300


def test_added_tokens_are_not_lost(spm, pieces, bpe, tmp_path):
  shutil.copy(spm, tmp_path)
  extend(bpe, tmp_path, 310)
  # Not one has so many: the largest that fits.
  assert len(load(tmp_path, 320)) == 310
  assert len(load(tmp_path, 309)) == pieces + 2
  # The exact one, even where it is the smaller; no other is read then.
  (tmp_path / 'tokenizer.json').write_text('{')
  assert len(load(tmp_path, pieces + 2)) == pieces + 2
  with pytest.raises(ValueError, match='tokenizer.json is not JSON'):
    load(tmp_path, 320)


def test_a_table_may_have_rows_to_spare(spm, pieces, tmp_path):
  shutil.copy(spm, tmp_path)
  size = pieces + 2
  assert load(tmp_path, size + 878).vocab_size == size
  assert load(tmp_path, size + 1023).vocab_size == size
  for rows in (size - 1, size + 1024, 10):
    with pytest.raises(ValueError) as caught:
      load(tmp_path, rows)
    assert str(caught.value).startswith(
      f"the tokenizer in {tmp_path} has {size} ids, and the model's table"
      f' {rows} rows: '
    )


def test_of_many_that_do_not_fit_the_first_is_named(spm, pieces, bpe, tmp_path):
  shutil.copy(spm, tmp_path)
  extend(bpe, tmp_path, 310)
  with pytest.raises(ValueError, match=f'has {pieces + 2} ids.* 10 rows'):
    load(tmp_path, 10)


def test_folders_without_a_tokenizer(bpe, tmp_path):
  assert load(tmp_path / 'absent') is None
  for name in ('spiece.model', 'bpe.codes', 'vocab.txt', 'dict.txt'):
    (tmp_path / name).write_text('not read')
    assert load(tmp_path) is None
    assert load(tmp_path, 100) is None
  # One half of a vocabulary is none.
  for name in ('vocab.json', 'merges.txt'):
    shutil.copy(bpe / name, tmp_path)
    assert (load(tmp_path) is None) == (name == 'vocab.json')


def test_the_wrong_content_is_an_error(tmp_path):
  (tmp_path / 'sentencepiece.bpe.model').write_text('no model')
  with pytest.raises(ValueError, match='not a SentencePiece model'):
    load(tmp_path)


def test_real_folders(data_dir):
  folder = data_dir / 'tokenizers'
  roberta = load(folder / 'roberta', 50_265)
  assert isinstance(roberta, BpeTokenizer) and len(roberta) == 50_265
  for rows in (250_002, 250_880, None):
    xlmr = load(folder / 'xlm-roberta', rows)
    assert xlmr.layout == XLMR and len(xlmr) == 250_002
  with pytest.raises(ValueError, match='has 250002 ids.* 50265 rows'):
    load(folder / 'xlm-roberta', 50_265)
