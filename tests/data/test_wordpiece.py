"""WordPiece gives the ids and spans of BertTokenizerFast."""

import itertools
import json
import pickle
import shutil
import types

import numpy as np
import pytest

from configs import pretrain
from xlmr_jax.checkpoints import native
from xlmr_jax.data.batches import streams
from xlmr_jax.data.tokenizers import folder, surgery, wordpiece, words
from xlmr_jax.data.tokenizers.wordpiece import WordPieceTokenizer
from xlmr_jax.layers import masking
from xlmr_jax.tasks import answer, tag
from xlmr_jax.training import initial_model

SPECIALS = ['[PAD]', '[unused1]', '[UNK]', '[CLS]', '[SEP]', '[MASK]', '<S>']
TEXTS = [
  'The old houses near the water, and an unaffable HOUSE.',
  'Café naïve cafe\u0301 Ångström Straße ΣΊΣΥΦΟΣ İstanbul ŁÓDŹ',
  'Собака идёт домой; собаки идут.',
  '中国人民银行在2020年成立。',
  'これは日本語のテストです。東京',
  '나는 학교에 갑니다. 한국어',
  'كِتَابٌ جَدِيدٌ فِي الْمَدْرَسَةِ',
  'मैं घर जा रहा हूँ। தமிழ் ภาษาไทย',
  "don't well-known e-mail@x.org 3.14 1,000 $5 50% [CLS] ##ing",
  '  two\t\tspaces\n and\u00a0more\u3000\u200b\u200d ',
  'a\x00b\x07c\ufffdd\ufeffe \x85 \u2028 end',
  'ＡＢＣ ｱｲｳ ﬁne ½ ²',
  '👨‍👩‍👧 🏳️‍🌈 ☃',
  'x' * 101 + ' house ' + 'x' * 100,
  '𠀀𠮷 \U0002f800 漢',
  '',
  ' ',
]
PIECES = [
  *('the', 'The', 'old', 'house', 'House', '##s', '##able', 'un', '##aff'),
  *('caf', 'Caf', '##é', '##e', 'café', 'собак', '##а', '##и', 'идёт'),
  *('中', '国', '##国', '人', '日', '本', '語', 'これ', '##は', '##です'),
]


def pieces_of(text):
  """Letters of a text, as they start words and as they go on with them."""
  letters = sorted({c for c in text if c.isprintable() and not c.isspace()})
  return [*letters, *('##' + c for c in letters)]


def cased():
  return list(dict.fromkeys([*SPECIALS, *PIECES, *pieces_of(''.join(TEXTS))]))


def uncased():
  """What lower-casing and stripping of accents leave."""
  from tokenizers import normalizers

  normal = normalizers.BertNormalizer(lowercase=True)
  letters = pieces_of(''.join(normal.normalize_str(text) for text in TEXTS))
  plain = [normal.normalize_str(p) for p in PIECES if p not in '中国人日本語']
  plain = [p for p in plain if p == p.lower() and ' ' not in p]
  return list(dict.fromkeys([*SPECIALS, *plain, *letters]))


def write(path, pieces, **settings):
  """A folder of vocab.txt and tokenizer_config.json."""
  path.mkdir(exist_ok=True)
  text = '\n'.join(pieces) + '\n'
  (path / 'vocab.txt').write_text(text, encoding='utf-8')
  config = json.dumps(settings, ensure_ascii=False)
  (path / 'tokenizer_config.json').write_text(config, encoding='utf-8')
  return path


def theirs(path):
  transformers = pytest.importorskip('transformers')
  return transformers.BertTokenizerFast.from_pretrained(path)


@pytest.fixture
def chinese(tmp_path):
  return folder.load(write(tmp_path / 'c', cased(), do_lower_case=False))


KINDS = {
  'cased': (cased, {'do_lower_case': False}),
  'uncased': (uncased, {'do_lower_case': True}),
  'by default': (uncased, {}),
  'accents stay': (cased, {'do_lower_case': False, 'strip_accents': False}),
  'accents go': (cased, {'do_lower_case': False, 'strip_accents': True}),
  'lower, accents stay': (uncased, {'strip_accents': False}),
  'words of Chinese': (
    cased,
    {'do_lower_case': False, 'tokenize_chinese_chars': False},
  ),
}


@pytest.mark.parametrize('kind', KINDS)
def test_ids_and_spans_are_those_of_transformers(kind, tmp_path):
  make, settings = KINDS[kind]
  path = write(tmp_path / 'bert', make(), **settings)
  mine, other = folder.load(path), theirs(path)
  assert isinstance(mine, WordPieceTokenizer)
  assert mine.vocab_size == len(other)
  texts = [text.replace('[CLS]', '') for text in TEXTS]  # which they parse
  known = 0
  for text in texts:
    ids, spans = mine.encode(text, offsets=True)
    out = other(text, return_offsets_mapping=True)
    assert ids == out['input_ids'], text
    assert spans == out['offset_mapping'], text
    known += sum(i != mine.unk_id for i in ids)
  assert known > 300
  for first, second in itertools.pairwise(filter(None, texts)):
    for length in (8, 17, 40):
      ids = mine.encode(
        first, second, max_length=length, truncate='longest_first'
      )
      out = other(first, second, max_length=length, truncation=True)
      assert ids == out['input_ids']
  assert mine.encode_batch(texts, num_threads=2) == other(texts)['input_ids']


@pytest.mark.parametrize('lower', [False, True])
def test_real_text_of_many_scripts(lower, data_dir, tmp_path):
  text = []
  for path in sorted((data_dir / 'tatoeba').glob('tatoeba.*-eng.???')):
    text += path.read_text(encoding='utf-8').splitlines()[:12]
  letters = ''.join(text)
  pieces = [*SPECIALS, *pieces_of(letters.lower() if lower else letters)]
  path = write(tmp_path / 'bert', dict.fromkeys(pieces), do_lower_case=lower)
  mine, other = folder.load(path), theirs(path)
  assert len(text) > 600
  out = other(text, return_offsets_mapping=True)
  encoded = mine.encode_batch(text, offsets=True)
  for line, (ids, spans), want, places in zip(
    text, encoded, out['input_ids'], out['offset_mapping'], strict=True
  ):
    assert (ids, spans) == (want, places), line


def test_a_pair_has_three_specials(chinese):
  ids, spans = chinese.encode('The house', '中国', offsets=True)
  names = [chinese.id_to_piece(i) for i in ids]
  assert names == ['[CLS]', 'The', 'house', '[SEP]', '中', '国', '[SEP]']
  assert spans[4:6] == [(0, 1), (1, 2)]
  assert (chinese.specials(1), chinese.specials(2)) == (2, 3)
  assert chinese.typed and chinese.pad_id == 0
  with pytest.raises(ValueError, match='too small: the specials alone take 3'):
    chinese.encode('a', 'b', max_length=2)


def test_specials_in_text(chinese):
  names = lambda text: [chinese.id_to_piece(i) for i in chinese.encode(text)]
  ids, spans = chinese.encode('The [MASK] house', offsets=True)
  assert ids[2] == chinese.mask_id and spans[2] == (4, 10)
  assert names('[CLS]')[1:-1] == ['[', 'C', '##L', '##S', ']']
  plain = chinese.encode_plain(['a [MASK]'])[0]
  assert chinese.mask_id not in plain and len(plain) == 4
  assert chinese.decode(chinese.encode('The houses, café')) == (
    'The houses, café'
  )


def test_vocab_txt_and_tokenizer_json_are_one_vocabulary(tmp_path):
  path = write(tmp_path / 'bert', cased(), do_lower_case=False)
  mine = folder.load(path)
  theirs(path).save_pretrained(tmp_path / 'saved')
  (tmp_path / 'alone').mkdir()
  mine.save(tmp_path / 'alone')
  for place in ('saved', 'alone'):
    other = folder.load(tmp_path / place)
    assert isinstance(other, WordPieceTokenizer)
    assert other.fingerprint == mine.fingerprint, place
  ids = theirs(tmp_path / 'alone')(TEXTS[0], TEXTS[1])['input_ids']
  assert ids == mine.encode(TEXTS[0], TEXTS[1])
  copy = pickle.loads(pickle.dumps(mine))
  assert copy.fingerprint == mine.fingerprint
  assert copy.encode('The [MASK]') == mine.encode('The [MASK]')


def test_settings_correct_a_tokenizer_json(tmp_path):
  path = write(tmp_path / 'bert', cased(), do_lower_case=False)
  folder.load(path).save(path)
  (path / 'vocab.txt').unlink()
  settings = {'do_lower_case': False, 'strip_accents': True}
  (path / 'tokenizer_config.json').write_text(json.dumps(settings))
  mine = folder.load(path)
  assert mine.encode('Café') == theirs(path)('Café')['input_ids']
  assert mine.id_to_piece(mine.encode('Café')[2]) == '##e'


def test_files_are_copied_as_they_are(tmp_path):
  path = write(tmp_path / 'bert', cased(), do_lower_case=False)
  (path / 'vocab.txt').write_bytes('\r\n'.join(cased()).encode())
  (path / 'special_tokens_map.json').write_text('{"cls_token":   "[CLS]"}')
  native.copy_tokenizer(path, tmp_path / 'copy')
  names = sorted(file.name for file in path.iterdir())
  assert names == sorted(file.name for file in (tmp_path / 'copy').iterdir())
  for name in names:
    assert (path / name).read_bytes() == (tmp_path / 'copy' / name).read_bytes()
  mine = folder.load(tmp_path / 'copy')
  assert mine.encode('The house') == theirs(path)('The house')['input_ids']


def test_added_tokens(tmp_path):
  path = write(tmp_path / 'bert', cased(), do_lower_case=False)
  size = len(cased())
  added = {'<ent>': size, '协会': size + 1}
  (path / 'added_tokens.json').write_text(json.dumps(added))
  mine = folder.load(path)
  assert mine.vocab_size == size + 2
  text = 'The <ent>house 中国协会 old'
  ids, spans = mine.encode(text, offsets=True)
  assert [text[a:b] for a, b in spans[1:-1]] == (
    ['The', '<ent>', 'house', '中', '国', '协会', 'old']
  )
  assert ids[2] == size and ids[6] == size + 1
  transformers = pytest.importorskip('transformers')
  other = transformers.BertTokenizerFast.from_pretrained(path)
  other.add_tokens(list(added))
  assert other(text)['input_ids'] == ids
  other.save_pretrained(tmp_path / 'saved')
  assert folder.load(tmp_path / 'saved').encode(text) == ids


def test_never_split_is_as_in_the_slow_tokenizer(tmp_path):
  legacy = pytest.importorskip(
    'transformers.models.bert.tokenization_bert_legacy'
  )
  never = ['The-old', 'HOUSEs', '[MASK]', '中a', 'zq']
  pieces = [*uncased(), 'The-old']
  path = write(tmp_path / 'bert', pieces, never_split=never)
  mine = folder.load(path)
  other = legacy.BertTokenizerLegacy(
    path / 'vocab.txt', do_lower_case=True, never_split=never
  )
  for text in (
    'see The-old HOUSEs near the house',
    'The-old, HOUSEs',
    '中The-old国 HOUSEss 中a zq',
    'HOUSEs',
    TEXTS[0],
  ):
    assert mine.encode(text)[1:-1] == other.convert_tokens_to_ids(
      other.tokenize(text)
    ), text
    ids, _ = mine.encode(text, offsets=True)
    assert ids == mine.encode(text)
  _, spans = mine.encode('a HOUSEs [MASK] The-old', offsets=True)
  assert spans == [(0, 0), (0, 1), (2, 8), (9, 15), (16, 23), (0, 0)]
  write(path, pieces)
  assert folder.load(path).fingerprint != mine.fingerprint
  assert pickle.loads(pickle.dumps(mine)).fingerprint == mine.fingerprint
  assert pickle.loads(pickle.dumps(mine)).encode('HOUSEs') == [3, 2, 4]


@pytest.mark.parametrize(
  ('make', 'settings', 'words'),
  [
    (uncased, {'do_lower_case': False}, r'has capital letters in 0 of \d+ p'),
    (cased, {'do_lower_case': True}, "such as 'The'.* says do_lower_case true"),
    (cased, {}, "such as 'The'.* without a word in .* do_lower_case true"),
  ],
)
def test_a_case_that_contradicts_the_settings(make, settings, words, tmp_path):
  path = write(tmp_path / 'bert', make(), **settings)
  with pytest.raises(ValueError, match=words) as error:
    folder.load(path)
  assert str(path / 'vocab.txt') in str(error.value)
  assert '\n' not in str(error.value)


def test_the_case_of_a_tokenizer_json(tmp_path):
  path = write(tmp_path / 'bert', uncased())
  folder.load(path).save(path)
  (path / 'tokenizer_config.json').unlink()
  assert folder.load(path).encode('THE') == folder.load(path).encode('the')
  spec = json.loads((path / 'tokenizer.json').read_text(encoding='utf-8'))
  spec['normalizer']['lowercase'] = False
  (path / 'tokenizer.json').write_text(json.dumps(spec))
  with pytest.raises(ValueError, match='its normalizer says do_lower_case fal'):
    folder.load(path)


def test_scripts_without_case_take_either(tmp_path):
  none = [*SPECIALS, *'中国人', '##国', 'あ', '가', 'ا']
  few = [*none, 'a', *(chr(0x4E00 + i) for i in range(30))]  # and a Latin one
  for lower, pieces in itertools.product((False, True), (none, few)):
    write(tmp_path, dict.fromkeys(pieces), do_lower_case=lower)
    assert folder.load(tmp_path).encode('中国')[1:-1] == [7, 8]


@pytest.mark.parametrize(
  ('change', 'words'),
  [
    (lambda p: [x for x in p if x != '[UNK]'], r"no piece '\[UNK\]'"),
    (lambda p: [x for x in p if x != '[CLS]'], r"no piece '\[CLS\]'"),
    (lambda p: [*p, 'new york'], "line .*'new york' is more than a piece"),
    (lambda p: [*p, 'the\t12'], 'is more than a piece'),
  ],
)
def test_a_vocabulary_that_is_none(change, words, tmp_path):
  write(tmp_path, change(cased()), do_lower_case=False)
  with pytest.raises(ValueError, match=words):
    folder.load(tmp_path)


def test_other_names_of_specials(tmp_path):
  pieces = ['<pad>', '<unk>', '<cls>', '<sep>', 'a', '##b']
  roles = {x + '_token': f'<{x}>' for x in ('pad', 'unk', 'cls', 'sep')}
  path = write(tmp_path / 'bert', pieces, mask_token=None, **roles)
  mine = folder.load(path)
  assert mine.mask_id is None
  assert mine.encode('ab', 'c') == [2, 4, 5, 3, 1, 3]


def test_not_utf8(tmp_path):
  write(tmp_path, [])
  (tmp_path / 'vocab.txt').write_bytes(b'[PAD]\n[UNK]\n\xff\n')
  with pytest.raises(ValueError, match='line 3: not UTF-8'):
    folder.load(tmp_path)


def test_other_tokenizers_of_a_vocab_txt_are_left_alone(tmp_path):
  write(tmp_path, cased(), tokenizer_class='BertJapaneseTokenizer')
  assert folder.load(tmp_path) is None
  write(tmp_path, cased(), tokenizer_class='BertTokenizerFast')
  with pytest.raises(ValueError, match='capital'):  # so it is read
    folder.load(tmp_path)
  (tmp_path / 'bpe.codes').write_text('')
  assert folder.load(tmp_path) is None


def test_xlmr_vocabulary_of_a_bert_body(tiny_tokenizer, tmp_path):
  shutil.copytree(tiny_tokenizer, tmp_path, dirs_exist_ok=True)
  settings = {'tokenizer_class': 'XLMRobertaTokenizer'}
  (tmp_path / 'tokenizer_config.json').write_text(json.dumps(settings))
  rows = folder.load(tiny_tokenizer).vocab_size
  for spare in (0, 35):  # as multilingual-e5-small's table has
    mine = folder.load(tmp_path, rows + spare, model_type='bert')
    assert mine.encode('a', 'b')[0] == 0 and mine.specials(2) == 4
    assert not mine.typed and mine.fingerprint == (
      folder.load(tiny_tokenizer).fingerprint
    )


def test_words_are_pieces_and_what_goes_on(chinese):
  table = words.word_table(chinese)
  text = 'The unaffable cafés 中国です, xo'
  ids = np.array(chinese.encode(text, 'old'), np.int32)
  starts, _ = masking.word_starts(
    ids[None],
    np.ones((1, len(ids)), np.int32),
    ~np.isin(ids, chinese.special_ids)[None],
    table,
  )
  out = []
  for token, start in zip(ids, np.asarray(starts)[0], strict=True):
    piece = chinese.id_to_piece(token)
    if piece in ('[CLS]', '[SEP]'):
      assert not start
    elif start:
      out.append(piece)
    else:
      out[-1] += piece.removeprefix('##')
  assert out == (
    ['The', 'unaffable', 'cafés', '中', '国', 'です', ',', 'xo', 'old']
  )


def test_surgery_names_wordpiece(chinese):
  with pytest.raises(ValueError, match='this one is WordPiece'):
    surgery.trim(chinese, ['中国'])
  with pytest.raises(ValueError, match='this one is WordPiece'):
    surgery.extend(chinese, ['中国'], 5)


def test_answers_are_characters_of_the_text(chinese):
  text = '  The CAFÉS, 中国です cafe\u0301s.'
  example = types.SimpleNamespace(
    question='The house',
    context=text,
    label=[('中国', text.index('中国'))],
    where='x',
  )
  out = answer.encode([example], chinese, max_length=13, truncate='first')
  assert all(len(x['tokens']) <= 13 for x in out)
  assert max(len(x['tokens']) for x in out) == 13
  names = [chinese.id_to_piece(i) for i in out[0]['tokens']]
  assert names[:4] == ['[CLS]', 'The', 'house', '[SEP]']
  assert names[4] == 'The' and names[-1] == '[SEP]'
  feature = next(x for x in out if x['label'][0] > 0)
  first, last = feature['label']
  begin, end = feature['spans'][first][0], feature['spans'][last][1]
  assert text[begin:end] == '中国'


def test_tags_have_room_for_two_specials(chinese):
  example = types.SimpleNamespace(
    words=['中', '国', 'The', 'houses', '人'],
    label=['A', 'A', 'B', 'B', 'A'],
    where='x',
    place=str,
  )
  out = tag.encode([example], chinese, labels=['A', 'B'], max_length=8)
  assert [len(x['tokens']) for x in out] == [8]
  assert out[0]['words'].tolist() == [1, 2, 3, 4, 6]
  assert tag.decode([out[0]['label']], ['A', 'B'], out) == [list('AABBA')]


def test_pairs_of_a_corpus_have_one_separator(chinese):
  sides = [np.array([7, 8]), np.array([9])]
  part = types.SimpleNamespace(
    name='en-zh', units=1, ends=np.array([0, 2, 3]), pair=lambda unit: sides
  )
  ends = chinese.bos_id, chinese.eos_id
  pairs = streams.Pairs(part, 16, ends, chinese.separators)
  tokens = pairs.read(0, 0, 3, False)
  assert tokens.tolist() == [3, 7, 8, 4, 9, 4]
  assert pairs.lengths(0, 3) == pairs.shortest == len(tokens)


def test_fresh_parameters_take_its_pad(tmp_path):
  config = pretrain.get_config('model=tiny')
  config.tokenizer = str(write(tmp_path / 'bert', uncased()))
  _, model, tokenizer, _ = initial_model.choose(config)
  assert (model.pad_id, model.vocab_size) == (0, tokenizer.vocab_size)


def test_a_file_of_another_kind(tmp_path):
  spec = {'model': {'type': 'BPE', 'vocab': {}}, 'added_tokens': []}
  (tmp_path / 'tokenizer.json').write_text(json.dumps(spec))
  assert not wordpiece.is_wordpiece(tmp_path / 'tokenizer.json')
