"""Tokens added to a vocabulary get the ids that transformers gives them."""

import json
import os
import pickle
import shutil

import pytest
import tokenizers
import transformers
from transformers import AddedToken

from xlmr_jax.data.tokenizers import folder as folder_lib
from xlmr_jax.data.tokenizers import surgery
from xlmr_jax.data.tokenizers.hf_tokenizers import BpeTokenizer
from xlmr_jax.data.tokenizers.xlmr import FILE_NAME, Tokenizer

PLAIN = [
  'covid',
  '<user>',
  AddedToken('[L]', lstrip=True),
  AddedToken('[R]', rstrip=True),
  AddedToken('[B]', lstrip=True, rstrip=True, normalized=False),
  AddedToken('kat', single_word=True),
  AddedToken('New York', normalized=False),
  AddedToken('½x'),
]
SPECIAL = ['<ent>', '</ent>']
TEXTS = [
  'covid 19 xcovidx  COVID',
  'the <user> red<user>cat  [L] house [R]  in [B]   no[L][R] man',
  'kat kats kat. xkat kat_ (kat)',
  'New York NewYork new york New  York New\tYork',
  '½x and 1⁄2x ｃｏｖｉｄ ＜user＞ Ｎｅｗ Ｙｏｒｋ',
  'the <ent>cat</ent> is <mask> red<mask> <ent> </ent>',
  ' covid ',
  'covid',
  '',
  ' ',
  '<mask><mask> covid<mask>',
  '\u200bcovid\u3000covid\xa0[L]\u3000[R]\xa0x',
  'A man is asleep in the house.',
]


def write(path, value) -> None:
  path.write_text(json.dumps(value))


def layouts(theirs, folder, base, kind) -> None:
  """Leaves in a folder what one of the ways to save a tokenizer leaves."""
  later = {t: i for t, i in theirs.get_vocab().items() if i >= base}
  settings = {
    'tokenizer_class': type(theirs).__name__,
    'extra_special_tokens': SPECIAL,
  }
  if kind == 'decoder':
    settings['added_tokens_decoder'] = {
      str(i): {
        name: getattr(token, name)
        for name in (
          *('content', 'lstrip', 'rstrip', 'single_word'),
          *('normalized', 'special'),
        )
      }
      for i, token in theirs.added_tokens_decoder.items()
    }
    write(folder / 'tokenizer_config.json', settings)
  elif kind == 'tokenizer.json':
    theirs.save_pretrained(folder)
  elif kind == 'added_tokens.json':
    write(folder / 'added_tokens.json', later)
    write(folder / 'tokenizer_config.json', settings)
  else:
    settings['additional_special_tokens'] = settings.pop('extra_special_tokens')
    write(folder / 'special_tokens_map.json', {})
    write(folder / 'tokenizer_config.json', settings)


KINDS = ['decoder', 'tokenizer.json', 'added_tokens.json', 'names alone']


def add(theirs):
  theirs.add_tokens(PLAIN)
  theirs.add_special_tokens({'additional_special_tokens': SPECIAL})
  return theirs


def check_same(ours, theirs) -> None:
  assert ours.vocab_size == len(theirs)
  for text in TEXTS:
    want = theirs(text)['input_ids']
    assert ours.encode(text) == want, text
    ids, spans = ours.encode(text, offsets=True)
    assert ids == want
    for number, (begin, end) in zip(ids, spans, strict=True):
      piece = ours.id_to_piece(number)
      if piece in ('covid', '<user>', '[L]', '[R]', '<ent>', '<mask>'):
        inside = text[begin:end]
        assert inside.translate(WIDE) == piece, (text, inside)
  pair = theirs(TEXTS[0], TEXTS[1])['input_ids']
  assert ours.encode(TEXTS[0], TEXTS[1]) == pair
  assert ours.encode_batch(TEXTS, num_threads=2) == theirs(TEXTS)['input_ids']


# Full-width letters to those that NFKC makes of them.
WIDE = {c + 0xFEE0: c for c in range(0x21, 0x7F)}


@pytest.fixture
def spm(tiny_tokenizer, tmp_path):
  shutil.copy(tiny_tokenizer / FILE_NAME, tmp_path)
  return tmp_path


@pytest.mark.parametrize('kind', KINDS)
def test_sentencepiece_has_transformers_ids(spm, kind):
  base = Tokenizer(spm).vocab_size
  theirs = add(transformers.XLMRobertaTokenizer.from_pretrained(spm))
  layouts(theirs, spm, base, kind)
  peer = transformers.XLMRobertaTokenizer.from_pretrained(spm)
  ours = folder_lib.load(spm, len(peer))
  assert isinstance(ours, Tokenizer)
  check_same(ours, peer)
  if kind in ('decoder', 'tokenizer.json'):  # the others know no flags
    assert ours.encode_batch(TEXTS) == theirs(TEXTS)['input_ids']


def test_the_real_vocabulary(data_dir, tmp_path):
  shutil.copy(data_dir / 'tokenizers' / 'xlm-roberta' / FILE_NAME, tmp_path)
  theirs = add(transformers.XLMRobertaTokenizer.from_pretrained(tmp_path))
  layouts(theirs, tmp_path, 250002, 'decoder')
  ours = folder_lib.load(tmp_path, 250012)
  assert ours.mask_id == 250001 and ours.piece_to_id('covid') == 250002
  check_same(ours, theirs)


def test_a_piece_of_the_vocabulary_may_be_added(spm):
  """It keeps its id, and is found inside words."""
  base = Tokenizer(spm)
  piece = next(
    p
    for p in map(base.id_to_piece, range(*base.pieces))
    if len(p) > 2 and '▁' not in p
  )
  theirs = transformers.XLMRobertaTokenizer.from_pretrained(spm)
  theirs.add_tokens([piece])
  theirs.save_pretrained(spm)
  ours = folder_lib.load(spm, base.vocab_size)
  text = f'the {piece} red{piece}cat'
  assert ours.encode(text) == theirs(text)['input_ids'] != base.encode(text)
  assert ours.vocab_size == base.vocab_size


def test_save_pickle_decode_and_the_corpus(spm, tmp_path):
  theirs = add(transformers.XLMRobertaTokenizer.from_pretrained(spm))
  base = Tokenizer(spm)
  layouts(theirs, spm, base.vocab_size, 'decoder')
  ours = Tokenizer(spm)
  assert ours.fingerprint != base.fingerprint
  out = tmp_path / 'out'
  ours.save(out)
  for again in (pickle.loads(pickle.dumps(ours)), Tokenizer(out)):
    check_same(again, theirs)
    assert again.fingerprint == ours.fingerprint
  check_same(ours, transformers.XLMRobertaTokenizer.from_pretrained(out))
  ids = ours.encode('the covid <ent>cat</ent>')
  assert ours.decode(ids) == 'the covid cat'
  assert ours.decode(ids, skip_special=False).count('<ent>') == 1
  assert {theirs.get_vocab()[t] for t in SPECIAL} <= set(ours.special_ids)
  assert ours.pieces == base.pieces and ours.mask_id == base.mask_id
  plain = ours.encode_plain(['covid <mask>', 'the cat'])
  assert plain[0][0] == theirs.get_vocab()['covid']
  assert ours.mask_id not in plain[0]
  assert plain[1].tolist() == ours.encode('the cat')[1:-1]
  with pytest.raises(ValueError, match='added tokens'):
    surgery.parse(ours)


def test_tokens_without_a_row_are_text_and_named(spm):
  rows = Tokenizer(spm).vocab_size
  write(spm / 'added_tokens.json', {'<user>': rows, '<url>': rows + 1})
  with pytest.warns(UserWarning, match=r"'<url>' \(\d+\): they are read as te"):
    ours = folder_lib.load(spm, rows + 1)
  assert ours.encode('<user>')[1] == rows
  assert rows + 1 not in ours.encode('<url>')


@pytest.mark.parametrize(
  ('added', 'message'),
  [
    ({'<user>': 5}, r"'<user>' has the id 5, which is that of '"),
    ({'<mask>': 7}, r"'<mask>' has the id 7, and in XLM-R it has \d+"),
    ({'a': 500, 'b': 500}, "'b' has the id 500, which is that of 'a'"),
    ({'a': 'five'}, "'a'.* with the id 'five' is no added token"),
    ({'a': [1]}, 'is no added token'),
  ],
)
def test_ids_that_cannot_be(spm, added, message):
  write(spm / 'added_tokens.json', added)
  with pytest.raises(ValueError, match=message):
    folder_lib.load(spm)


def test_two_files_that_contradict_each_other(spm):
  rows = Tokenizer(spm).vocab_size
  write(spm / 'added_tokens.json', {'<user>': rows + 1})
  token = {'content': '<user>'}
  table = {'added_tokens_decoder': {str(rows): token}}
  write(spm / 'tokenizer_config.json', table)
  message = rf"_config.json gives the added token '<user>' the id {rows}, and"
  with pytest.raises(ValueError, match=message):
    folder_lib.load(spm)


# --- Byte-level BPE ---------------------------------------------------------


@pytest.fixture
def bpe(tmp_path):
  """vocab.json and merges.txt."""
  model = tokenizers.ByteLevelBPETokenizer()
  model.train_from_iterator(
    TEXTS * 4,
    vocab_size=320,
    special_tokens=['<s>', '<pad>', '</s>', '<unk>', '<mask>'],
    show_progress=False,
  )
  model.save_model(os.fspath(tmp_path))
  return tmp_path


def roberta(folder):
  """Their tokenizer; <mask> takes the space before it, as in real files."""
  mask = AddedToken('<mask>', lstrip=True, special=True)
  return transformers.RobertaTokenizer.from_pretrained(folder, mask_token=mask)


@pytest.mark.parametrize('kind', KINDS)
def test_bpe_has_transformers_ids(bpe, kind):
  theirs = add(roberta(bpe))
  base = BpeTokenizer(bpe).vocab_size
  layouts(theirs, bpe, base, kind)
  peer = roberta(bpe)
  ours = folder_lib.load(bpe, len(peer))
  assert isinstance(ours, BpeTokenizer)
  check_same(ours, peer)
  again = pickle.loads(pickle.dumps(ours))
  again.save(bpe / 'out')
  check_same(BpeTokenizer(bpe / 'out'), peer)


def test_bpe_flags_of_the_settings_go_first(bpe):
  """Also before those of a tokenizer.json, as in transformers."""
  theirs = roberta(bpe)
  theirs.add_tokens(['<user>'])
  theirs.save_pretrained(bpe)
  number = theirs.get_vocab()['<user>']
  token = {'content': '<user>', 'lstrip': True, 'normalized': False}
  path = bpe / 'tokenizer_config.json'
  settings = json.loads(path.read_text())
  write(path, settings | {'added_tokens_decoder': {str(number): token}})
  peer = roberta(bpe)
  text = 'the   <user> cat'
  ours = folder_lib.load(bpe).encode(text)
  assert ours == peer(text)['input_ids'] != theirs(text)['input_ids']
