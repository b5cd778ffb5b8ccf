"""The tokenizer agrees with fairseq's ids, and says what is wrong."""

import gzip
import hashlib
import io
import itertools
import json
import lzma
import os
import pathlib
import pickle
import random
import subprocess
import sys

import pytest
import sentencepiece

from xlmr_jax.data.tokenizers import base, train_tokenizer, xlmr
from xlmr_jax.data.tokenizers.xlmr import Tokenizer

WORDS = (
  'the farmer sees a horse near old house café naïve water 水 を 飲む 犬 猫 '
  'идти дом собака يكتب رسالة kitabu anasoma'
).split()


def corpus(count=1500, seed=0):
  draw = random.Random(seed)
  return [
    ' '.join(draw.choices(WORDS, k=6)) + draw.choice('.!?')
    for _ in range(count)
  ]


@pytest.fixture(scope='module')
def tiny():
  return Tokenizer(train_tokenizer.train(corpus(), 200, hard_vocab_limit=False))


@pytest.fixture(scope='module')
def real(data_dir):
  return Tokenizer(data_dir / 'tokenizers/xlm-roberta')


def test_agrees_with_every_golden(real, data_dir):
  golden = json.loads((data_dir / 'tokenizers/golden.json').read_text())
  assert real.vocab_size == 250_002 and real.mask_id == 250_001
  assert real.pieces == (4, 250_001)
  texts = list(golden)
  assert real.encode_batch(texts) == [golden[t] for t in texts]
  for text, ids in golden.items():
    assert real.encode(text) == ids
    assert real.encode(text, offsets=True)[0] == ids


def test_special_ids_and_names(tiny):
  assert [tiny.id_to_piece(i) for i in tiny.special_ids] == [
    '<s>',
    '<pad>',
    '</s>',
    '<unk>',
    '<mask>',
  ]
  for i in range(tiny.vocab_size):
    assert tiny.piece_to_id(tiny.id_to_piece(i)) == i
  assert tiny.piece_to_id('no such piece') == tiny.unk_id
  with pytest.raises(ValueError, match='outside'):
    tiny.id_to_piece(tiny.vocab_size)


def test_pairs_empty_texts_and_typed_specials(tiny):
  a, b = tiny.encode('the horse'), tiny.encode('水 犬')
  assert tiny.encode('the horse', '水 犬') == a + [2] + b[1:]
  assert tiny.encode('') == [0, 2]
  assert tiny.encode('', '') == [0, 2, 2, 2]
  typed = tiny.encode('<s> the </s> <pad> <unk> horse')
  assert 0 not in typed[1:] and 2 not in typed[:-1] and 1 not in typed
  batch = ['the horse', ('the horse', '水 犬'), '', 'old <mask> house']
  assert tiny.encode_batch(batch, num_threads=2) == [
    a,
    a + [2] + b[1:],
    [0, 2],
    tiny.encode('old <mask> house'),
  ]


def test_mask_splits_the_text(tiny):
  left, right = tiny.encode('the old')[1:-1], tiny.encode('house')[1:-1]
  want = [0, *left, tiny.mask_id, *right, 2]
  for text in ('the old <mask> house', 'the old<mask>house'):
    assert tiny.encode(text) == want
  ids, spans = tiny.encode('the old  <mask> house', offsets=True)
  assert ids == want
  assert spans[ids.index(tiny.mask_id)] == (9, 15)
  assert spans[0] == spans[-1] == (0, 0)
  assert tiny.encode('<mask><mask>') == [0, tiny.mask_id, tiny.mask_id, 2]


def test_offsets_give_back_each_tokens_own_text(tiny):
  text, pair = '  the horse\u3000sees<mask> cafe\u0301', '水を飲む 犬'
  ids, spans = tiny.encode(text, pair, offsets=True)
  assert ids == tiny.encode(text, pair)
  cut = ids.index(2)
  for own, part, where in (
    (text, ids[1:cut], spans[1:cut]),
    (pair, ids[cut + 2 : -1], spans[cut + 2 : -1]),
  ):
    last = 0
    for token, (start, end) in zip(part, where, strict=True):
      assert last <= start <= end
      last = end
      piece = tiny.id_to_piece(token)
      if piece == '▁':
        assert start == end
      elif token == tiny.unk_id:
        assert own[start:end].strip() == own[start:end] != ''
      else:
        surface = own[start:end].replace('e\u0301', 'é')
        assert surface == piece.removeprefix('▁')


def test_offsets_of_compatibility_characters(real):
  ids, spans = real.encode('x ½ ﬁne？……', offsets=True)
  text = {
    real.id_to_piece(i): 'x ½ ﬁne？……'[a:b]
    for i, (a, b) in zip(ids, spans, strict=True)
  }
  assert text['▁1⁄2'] == '½' and text['▁fine'] == 'ﬁne'
  assert text['?'] == '？' and text['......'] == '……'
  # ㎏ becomes two pieces here: each stands for the whole character.
  ids, spans = real.encode('㍿㍿', offsets=True)
  assert spans[-2] == (1, 2) and all(b > a for a, b in spans[2:-1])


def test_white_space_is_what_the_normalizer_says(real):
  spaces = {
    chr(c)
    for c in range(0x10000)
    if not 0xD800 <= c < 0xE000 and real._spm.normalize(f'a{chr(c)}b') == '▁a▁b'
  }
  assert spaces == set(base.SPACE)


@pytest.mark.parametrize('length', range(4, 13))
def test_longest_first_is_hugging_faces(tiny, tmp_path, length):
  transformers = pytest.importorskip('transformers')
  tiny.save(tmp_path)
  theirs = transformers.XLMRobertaTokenizer.from_pretrained(tmp_path)
  texts = ['the horse sees a house', 'old', 'near water', 'a house 水']
  for a in texts:
    for b in texts:
      want = theirs(a, b, truncation='longest_first', max_length=length)[
        'input_ids'
      ]
      got = tiny.encode(a, b, max_length=length, truncate='longest_first')
      assert got == want, (a, b)


def test_truncation_says_which_side_it_cuts(tiny):
  a, b = 'the horse sees a house', 'old water near'
  first, second = tiny.encode(a)[1:-1], tiny.encode(b)[1:-1]
  full = len(first) + len(second) + 4
  assert tiny.encode(a, b, max_length=full) == tiny.encode(a, b)
  got, spans = tiny.encode(
    a, b, max_length=full - 2, truncate='first', offsets=True
  )
  assert got == [0, *first[:-2], 2, 2, *second, 2] and len(spans) == len(got)
  got = tiny.encode(a, b, max_length=full - 2, truncate='second')
  assert got == [0, *first, 2, 2, *second[:-2], 2]
  assert tiny.encode(a, max_length=4, truncate='longest_first') == [
    0,
    *first[:2],
    2,
  ]
  with pytest.raises(ValueError, match=f'{full} tokens are more than'):
    tiny.encode(a, b, max_length=full - 1)
  with pytest.raises(ValueError, match='example 1: .* more than max_length=4'):
    tiny.encode_batch(['', a], max_length=4)
  with pytest.raises(ValueError, match='second text alone'):
    tiny.encode(a, b, max_length=6, truncate='second')
  with pytest.raises(ValueError, match='too small'):
    tiny.encode(a, b, max_length=3, truncate='longest_first')
  with pytest.raises(ValueError, match="truncate='left'"):
    tiny.encode(a, truncate='left', max_length=9)


def test_lone_surrogates_are_refused_with_their_place(tiny):
  for texts in (['fine', 'ab\ud800c'], ['a <mask> b', 'ab\ud800c']):
    with pytest.raises(ValueError, match='character 2 .*U\\+D800'):
      tiny.encode_batch(texts)
  with pytest.raises(ValueError, match='character 2 .*surrogate'):
    tiny.encode('ab\udfff', offsets=True)
  with pytest.raises(TypeError, match='example 0 holds a NoneType'):
    tiny.encode_batch([(None, 'b')])


def test_decode(tiny):
  ids = tiny.encode('the horse', 'old house')
  assert tiny.decode(ids) == 'the horse old house'
  assert tiny.decode(ids, skip_special=False) == (
    '<s> the horse </s> </s> old house </s>'
  )
  assert tiny.decode([]) == ''
  with pytest.raises(ValueError, match='outside'):
    tiny.decode([tiny.vocab_size])


def test_save_and_load(tiny, tmp_path):
  path = tiny.save(tmp_path / 'new')
  assert os.path.basename(path) == 'sentencepiece.bpe.model'
  for source in (path, tmp_path / 'new', pathlib.Path(path).read_bytes()):
    again = Tokenizer(source)
    assert again.fingerprint == tiny.fingerprint
    assert again.encode('the horse') == tiny.encode('the horse')


def test_bad_files(tmp_path):
  bad = tmp_path / 'bad.model'
  for content, message in (
    (b'', 'is truncated: it is empty'),
    (
      b'version https://git-lfs.github.com/spec/v1\n',
      'is a pointer of git-lfs',
    ),
    (b'not a model at all', 'is not a SentencePiece'),
  ):
    bad.write_bytes(content)
    with pytest.raises(ValueError, match=f'bad.model {message}'):
      Tokenizer(bad)
  other = io.BytesIO()
  sentencepiece.SentencePieceTrainer.train(
    sentence_iterator=iter(corpus(300)),
    model_writer=other,
    vocab_size=100,
    hard_vocab_limit=False,
    pad_id=0,
    unk_id=1,
    bos_id=2,
    eos_id=3,
    minloglevel=2,
  )
  with pytest.raises(ValueError, match='unk_id=0, bos_id=1'):
    Tokenizer(other.getvalue())
  with pytest.raises(FileNotFoundError):
    Tokenizer(tmp_path / 'none.model')


# CamemBERT: the same pieces under other ids.


@pytest.fixture(scope='module')
def french():
  model = train_tokenizer.train(corpus(), 200, hard_vocab_limit=False)
  return Tokenizer(model, xlmr.CAMEMBERT)


def test_camemberts_ids(tiny, french):
  pieces = tiny.vocab_size - 2
  assert french.vocab_size == len(french) == pieces + 5
  assert (french.bos_id, french.pad_id, french.eos_id) == (5, 1, 6)
  assert (french.unk_id, french.mask_id) == (3, pieces + 4)
  assert french.special_ids == (0, 1, 2, 3, 4, 5, 6, pieces + 4)
  assert french.pieces == (7, pieces + 4)
  # As published: 32,000 pieces make 32,005 rows.
  assert xlmr.CAMEMBERT.rows(32_000) == 32_005
  assert [french.id_to_piece(i) for i in french.special_ids] == (
    '<s>NOTUSED <pad> </s>NOTUSED <unk> <unk>NOTUSED <s> </s> <mask>'.split()
  )
  for i in range(french.vocab_size):
    assert french.piece_to_id(french.id_to_piece(i)) == i
  for i in range(*tiny.pieces):
    assert french.id_to_piece(i + 3) == tiny.id_to_piece(i)
  assert french.piece_to_id('no such piece') == 3


def test_camembert_encodes_what_xlmr_encodes(tiny, french):
  special = {0: 5, 1: 1, 2: 6, 3: 3, tiny.mask_id: french.mask_id}
  text, pair = '  the horse ж<mask> <s> old', '水 犬 </s>NOTUSED'
  ids, spans = tiny.encode(text, pair, offsets=True)
  assert 3 in ids and tiny.mask_id in ids
  want = [special.get(i, i + 3) for i in ids]
  assert french.encode(text, pair) == want
  assert french.encode(text, pair, offsets=True) == (want, spans)
  (plain,) = french.encode_plain(['ж horse <mask>'])
  (other,) = tiny.encode_plain(['ж horse <mask>'])
  assert plain.tolist() == [special.get(i, i + 3) for i in other.tolist()]
  assert french.mask_id not in plain and 3 in plain
  for skip in (True, False):
    assert french.decode(want, skip) == tiny.decode(ids, skip)


def test_camembert_is_hugging_faces(french, tmp_path):
  transformers = pytest.importorskip('transformers')
  french.save(tmp_path)
  theirs = transformers.CamembertTokenizer.from_pretrained(tmp_path)
  assert len(theirs) == french.vocab_size
  for name in ('cls', 'pad', 'sep', 'unk', 'mask'):
    ours = {'cls': 'bos', 'sep': 'eos'}.get(name, name)
    assert getattr(theirs, f'{name}_token_id') == getattr(french, f'{ours}_id')
  texts = corpus(40, seed=7) + ['', 'ж', 'the old <mask> house', '<mask>']
  for text in texts:
    assert theirs(text)['input_ids'] == french.encode(text), text
  # To transformers 5 a pair with an empty second text is a text alone.
  for a, b in zip(texts, ['水 犬', *texts[:40], 'a', 'b', 'c'], strict=True):
    assert theirs(a, b)['input_ids'] == french.encode(a, b)
    assert theirs(a, b, truncation='longest_first', max_length=12)[
      'input_ids'
    ] == french.encode(a, b, max_length=12, truncate='longest_first')


def test_layouts_of_one_file_differ_and_are_kept(tiny, french, tmp_path):
  path = pathlib.Path(french.save(tmp_path))
  model = path.read_bytes()
  assert path.read_bytes() == pathlib.Path(tiny.save(tmp_path)).read_bytes()
  # Caches of XLM-R's ids are found by the file's own digest.
  assert tiny.fingerprint == hashlib.sha256(model).hexdigest()
  assert french.fingerprint != tiny.fingerprint
  for tokenizer in (tiny, french):
    again = pickle.loads(pickle.dumps(tokenizer))
    assert again.layout == tokenizer.layout
    assert again.fingerprint == tokenizer.fingerprint
    assert again.encode('the horse') == tokenizer.encode('the horse')


def test_save_writes_the_layout_but_over_no_settings(tiny, french, tmp_path):
  french.save(tmp_path / 'new')
  settings = tmp_path / 'new' / 'tokenizer_config.json'
  assert json.loads(settings.read_text()) == {
    'tokenizer_class': 'CamembertTokenizer'
  }
  settings.write_text('{"model_max_length": 512}')
  french.save(tmp_path / 'new')
  assert settings.read_text() == '{"model_max_length": 512}'
  tiny.save(tmp_path / 'xlmr')
  assert os.listdir(tmp_path / 'xlmr') == ['sentencepiece.bpe.model']


def test_truncate_is_checked_before_it_is_needed(tiny):
  for offsets in (False, True):
    with pytest.raises(ValueError, match="truncate='left'"):
      tiny.encode('old', truncate='left', offsets=offsets)
    with pytest.raises(ValueError, match='example 1: .* more than'):
      tiny.encode_batch(['', 'the old'], max_length=2, offsets=offsets)
    with pytest.raises(TypeError, match='example 0 holds a int'):
      tiny.encode_batch([('old', 3)], offsets=offsets)
  with pytest.raises(TypeError):
    tiny.encode_plain(['old', None])


# Training.


def test_training_counts_the_models_rows(tiny):
  exact = Tokenizer(train_tokenizer.train(corpus(), 70))
  assert exact.vocab_size == 70
  assert (
    exact.fingerprint
    == Tokenizer(train_tokenizer.train(corpus(), 70)).fingerprint
  )
  with pytest.raises(ValueError, match='too high for this text: at most'):
    train_tokenizer.train(corpus(), 5000)
  with pytest.raises(ValueError, match='too low for this text: more than'):
    train_tokenizer.train(corpus(), 20)
  with pytest.raises(ValueError, match='no text'):
    train_tokenizer.train(['', ' '], 50)


def test_the_bound_in_the_error_can_be_had():
  with pytest.raises(ValueError, match='at most') as caught:
    train_tokenizer.train(corpus(), 5000)
  bound = int(str(caught.value).split('at most ')[1].split(',')[0])
  assert Tokenizer(train_tokenizer.train(corpus(), bound)).vocab_size == bound


def test_seeds_from_frequency_keep_the_words_of_templates_whole():
  draw = random.Random(1)
  slots = [
    'farmer teacher doctor soldier'.split(),
    'buys sells paints carries'.split(),
    'яблоки лошадь письма окна'.split(),
  ]
  text = [
    'the {} {} the {}.'.format(*map(draw.choice, slots)) for _ in range(2000)
  ]
  pieces = {}
  for frequency in (False, True):
    trained = Tokenizer(
      train_tokenizer.train(
        text, 150, seed_from_frequency=frequency, hard_vocab_limit=False
      )
    )
    words = [word for slot in slots for word in slot]
    pieces[frequency] = [len(trained.encode(word)) - 2 for word in words]
  assert min(pieces[False]) > 3  # no word ever ends a sentence: shredded
  assert pieces[True] == [1] * 12


def test_a_line_of_any_length_trains_a_vocabulary(tmp_path):
  """SentencePiece alone drops it, and says that there is no text."""
  line = ' '.join(corpus(46_000))
  assert len(line.encode()) > 1_780_000
  parts = list(train_tokenizer.cut([line]))
  assert len(parts) == 2 and ''.join(parts) == line
  assert parts[1][0] == ' ' and len(parts[0].encode()) > 1_000_000
  model = train_tokenizer.train([line], 70)
  assert Tokenizer(model).vocab_size == 70
  assert model == train_tokenizer.train(parts, 70)
  (tmp_path / 'en.txt').write_text(line + '\n' + '\n'.join(corpus(9)))
  done = subprocess.run(
    [sys.executable, '-m', 'xlmr_jax', 'tokenizer', '--vocab_size=70']
    + [f'--input={tmp_path}/en.txt', f'--output={tmp_path}/out'],
    capture_output=True,
    text=True,
  )
  assert done.returncode == 0, done.stderr
  assert (
    '1 of the lines have more than 1,048,576 bytes and are cut at spaces'
    in done.stdout.splitlines()
  )


def test_lines_are_cut_at_spaces_or_between_characters(monkeypatch):
  monkeypatch.setattr(train_tokenizer, 'LONGEST', 16)
  draw = random.Random(0)
  for _ in range(300):
    line = ''.join(draw.choices('ab é水𝄞', k=draw.randint(0, 60)))
    parts = list(train_tokenizer.cut([line]))
    assert ''.join(parts) == line
    assert all(len(part.encode()) <= 16 for part in parts)
    assert (len(parts) > 1) == train_tokenizer.is_long(line)
    assert train_tokenizer.is_long(line) == (len(line.encode()) > 16)
    for before, after in itertools.pairwise(parts):
      assert after[0] == ' ' or ' ' not in before[1:]


def test_a_character_of_sentencepieces_own_drops_no_line():
  lines = corpus()
  model = train_tokenizer.train([f'{line} ▅' for line in lines], 70)
  assert model == train_tokenizer.train([f'{line}  ' for line in lines], 70)


def test_command_draws_languages_by_alpha(tmp_path):
  (tmp_path / 'en.txt').write_text('\n'.join(corpus(900)))
  with gzip.open(tmp_path / 'sw.txt.gz', 'wt', encoding='utf-8') as file:
    file.write('\n'.join(corpus(100, seed=1)))
  with lzma.open(tmp_path / 'ru.txt.xz', 'wt', encoding='utf-8') as file:
    file.write('\n'.join(corpus(10, seed=2)))
  lines, counts = train_tokenizer.sample(
    [str(p) for p in sorted(tmp_path.iterdir())], 200, alpha=0.5
  )
  # 30 : 10 : 3.2 shares of 200; ru gives all of its 10 lines.
  assert counts == {'ru': 10, 'sw': 48, 'en': 142}
  assert len(lines) == 200
  done = subprocess.run(
    [sys.executable, '-m', 'xlmr_jax', 'tokenizer']
    + [f'--input={tmp_path}/*.txt', f'--input={tmp_path}/*.txt.?z']
    + ['--vocab_size=70', '--sentences=200', f'--output={tmp_path}/out'],
    capture_output=True,
    text=True,
  )
  assert done.returncode == 0, done.stderr
  assert '70 rows' in done.stdout and 'ru 10' in done.stdout
  assert Tokenizer(tmp_path / 'out').vocab_size == 70
  done = subprocess.run(
    [sys.executable, '-m', 'xlmr_jax', 'tokenizer']
    + [f'--input={tmp_path}/*.tsv', f'--output={tmp_path}/out2'],
    capture_output=True,
    text=True,
  )
  assert done.returncode == 1
  assert done.stderr.strip().endswith("*.tsv'") and 'no file' in done.stderr
