"""Words told from pieces are the words that the text has."""

import itertools
import lzma
import unicodedata

import numpy as np
import pytest

from xlmr_jax.data.tokenizers import base, hf_tokenizers, words, xlmr

# By the names of characters: the table goes by Unicode's blocks.
UNSPACED = ('CJK UNIFIED', 'CJK COMPAT', 'HIRAGANA', 'KATAKANA', 'THAI')
UNSPACED += ('LAO ', 'KHMER', 'MYANMAR', 'IDEOGRAPHIC ITERATION')
CORPUS = 'ar de en es fr it ja ko pt ru sw tr uk zh zh-Hant'.split()
SPACED = set(CORPUS) - {'ja', 'zh', 'zh-Hant'}
TATOEBA = 'ell fin heb hin jpn kat mal pes tam tel tha'.split()


@pytest.fixture(scope='module')
def real(data_dir):
  """XLM-R's tokenizer and its table."""
  tokenizer = xlmr.Tokenizer(data_dir / 'tokenizers' / 'xlm-roberta')
  return tokenizer, words.word_table(tokenizer)


def starts(table, ids, special_ids):
  """Where words start, one token after the other."""
  out = [True] * bool(ids)
  for left, right in itertools.pairwise(ids):
    special = left in special_ids or right in special_ids
    out.append(special or table[left, 1] + table[right, 0] > 0)
  return out


def grouped(tok, table, text):
  """The pieces of each word."""
  ids = tok.encode(text)[1:-1]
  out = []
  for token, start in zip(
    ids, starts(table, ids, tok.special_ids), strict=True
  ):
    if start:
      out.append([])
    out[-1].append(tok.id_to_piece(token))
  return [''.join(pieces) for pieces in out]


def normal(text):
  """The text that SentencePiece cuts, with spaces for all white space."""
  spaced = text.translate(dict.fromkeys(map(ord, xlmr.SPACE), ' '))
  return unicodedata.normalize('NFKC', spaced)


def own(text):
  """Whether a character of a script without spaces is in it."""
  return any(unicodedata.name(c, '').startswith(UNSPACED) for c in normal(text))


def expected(text, ids, spans, special_ids):
  """As `starts`, but from the characters between and under the spans."""
  out, end, lone = [], 0, True
  for index, (first, last) in enumerate(spans):
    special = ids[index] in special_ids
    start = not index or special or ids[index - 1] in special_ids
    if not start and not lone:
      between = ' ' in normal(text[end:first])
      between |= normal(text[first:last]).startswith(' ')  # ΄ is ' ' + accent
      left = spans[index - 1]
      start = between or own(text[first:last]) or own(text[slice(*left)])
    # A '▁' with nothing under it is the space before the next token.
    lone = first == last and not special
    out.append(start or lone)
    end = end if lone else last
  return out


def lines(data_dir, language, count):
  if language in TATOEBA:
    path = data_dir / 'tatoeba' / f'tatoeba.{language}-eng.{language}'
    text = path.read_text('utf-8').splitlines()
  else:
    path = data_dir / 'corpus' / f'{language}.txt.xz'
    with lzma.open(path, 'rt', encoding='utf-8') as file:
      text = [line.rstrip('\n') for line in itertools.islice(file, count)]
  return [line for line in text[:count] if line.strip()]


@pytest.mark.parametrize('language', CORPUS + TATOEBA)
def test_words_are_those_of_the_offsets(real, data_dir, language):
  tok, table = real
  tokens = total = compared = 0
  for text in lines(data_dir, language, 200):
    ids, spans = tok.encode(text, offsets=True)
    ids, spans = ids[1:-1], spans[1:-1]
    got = starts(table, ids, tok.special_ids)
    assert got == expected(text, ids, spans, tok.special_ids), text
    tokens, total = tokens + len(ids), total + sum(got)
    if language in SPACED and not own(text):
      if tok.unk_id not in ids:  # a special, which cuts its word
        assert sum(got) == len(normal(text).split()), text
        compared += 1
  assert compared > 40 or language not in SPACED
  assert tokens > 1000 and 1 < tokens / total < 3.5


def test_words_of_xlmr(real):
  tok, table = real
  assert table.shape == (tok.vocab_size, 2) and table.dtype == np.int8
  np.testing.assert_array_equal(table[list(tok.special_ids)], 1)
  for text, want in {
    'The unbelievable houses, (yes)': '▁The ▁unbelievable ▁houses, ▁(yes)',
    '我们在Google工作,很好。': '▁我们在 Google 工作 , 很好 。',
    'これはテストですABC。': '▁これは テスト です ABC。',
    'ภาษาไทยไม่มีช่องว่าง test': '▁ภาษาไทย ไม่มี ช่อง ว่าง ▁test',
    '한국어 「텍스트」입니다': '▁한국어 ▁「텍스트」입니다',
    'a\u0085b Ġurnata': '▁a\u0085b ▁Ġurnata',
    'naĠra': '▁naĠra',
  }.items():
    assert grouped(tok, table, text) == want.split(' '), text


def test_words_of_byte_pieces(data_dir):
  tok = hf_tokenizers.BpeTokenizer(data_dir / 'tokenizers' / 'roberta')
  table = words.word_table(tok)
  for text, want in {
    'The unbelievable houses,  (yes)': 'The Ġunbelievable Ġhouses, ĠĠ(yes)',
    'one\n\nNew line': 'one ĊĊNew Ġline',
    'Maltese ġurnata': 'Maltese ĠÄ¡urnata',
  }.items():
    assert grouped(tok, table, text) == want.split(' '), text
  # A Han letter is a word, of however many pieces; Hindi has spaces.
  read = lambda text: [
    bytes(words._BYTES[c] for c in word).decode()
    for word in grouped(tok, table, text)
  ]
  assert read('我们在北京') == list('我们在北京')
  assert read('हिन्दी में 😀') == ['हिन्दी', ' में', ' 😀']
  assert read('日本ABC') == ['日', '本ABC']  # as the docstring says


def test_a_vocabulary_without_spaces_is_refused():
  class Letters(base.BaseTokenizer):
    vocab_size = 3
    special_ids = (0,)

    def id_to_piece(self, token):
      return ('<s>', 'a', 'b')[token]

  with pytest.raises(ValueError, match='no piece of the vocabulary starts'):
    words.word_table(Letters())
