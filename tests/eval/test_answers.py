"""Scores of answers: by hand, and against the rules written another way."""

import gzip
import json
import random
import re
import unicodedata

import pytest

from xlmr_jax.eval.metrics import answers

# What answers are made of, the worst of it.
SPACES = ['', ' ', '  ', '\t', '\n', '\u00a0', '\u2003', '\u3000', '\u2028']
SPACES += ['\x1c', '\x85', '\u200b', '\u200c', '\ufeff']
WORDS = {
  'en': ['the', 'The', 'a', 'an', 'THE', 'theatre', 'cat', "cat's", 'a-b'],
  'es': ['el', 'La', 'las', 'unos', 'gato', '¿qué?', 'niño', 'nin\u0303o'],
  'de': ['der', 'Die', 'des', 'eines', 'Straße', 'STRASSE', 'Haus', '„Haus“'],
  'vi': ['của', 'Là', 'cái', 'ca\u0301i', 'chiếc', 'nhà', 'những', 'Hà Nội'],
  'ar': ['ال', 'الكتاب', 'والكتاب', 'كتاب', 'العالم', 'كِتَاب', '،', '؟'],
  'hi': ['एक', 'किताब', 'किताब।', 'क\u094dष', '१२'],
  'zh': [
    '中',
    '中国',
    '国',
    '㐀',
    '\u9fa5',
    '\u9fa6',
    '\uf900',
    '。',
    '《书》',
    'A股',
  ],
}
ODD = ['', '_', '!!!', '...', '-', '«»', '$', '€', '1,5', '15', 'İ', 'ẞ', '🙂']
ODD += ['\u0301', 'é', 'e\u0301', 'ไทย', '日本', 'ー', "l'été", '\ud7a3', '²']


def text(draw, language):
  """An answer of up to five pieces, with any white space between them."""
  pieces = WORDS[language] + ODD + draw.choice(list(WORDS.values()))
  count = draw.choice([0, 1, 1, 2, 2, 3, 5])
  return ''.join(
    draw.choice(pieces) + draw.choice(SPACES) for _ in range(count)
  )


ASCII = '!"#$%&\'()*+,-./:;<=>?@[\\]^_`{|}~'
ARTICLES = {
  'en': 'a an the',
  'es': 'un una unos unas el la los las',
  'de': 'ein eine einen einem eines einer der die das den dem des',
  'vi': 'của là cái chiếc những',
  'hi': '',
  'zh': '',
}


def without(text, articles):
  """Drops runs of word characters that are articles."""
  runs = re.findall(r'\w+|\W', text)
  return ''.join(' ' if run in articles.split() else run for run in runs)


def squad_text(text):
  """The normalised answer, by a table and runs."""
  kept = text.lower().translate(dict.fromkeys(map(ord, ASCII)))
  return ' '.join(without(kept, ARTICLES['en']).split())


def mlqa_text(text, language):
  kept = ''
  for char in text.lower():
    if char not in ASCII and not unicodedata.category(char).startswith('P'):
      kept += char
  if language == 'ar':
    kept = ' '.join(kept.split('ال'))
  else:
    kept = without(kept, ARTICLES[language])
  if language == 'zh':
    kept = ''.join(f' {c} ' if 0x4E00 <= ord(c) <= 0x9FA5 else c for c in kept)
  return ' '.join(kept.split())


def overlap(ours, theirs):
  """F1 of two normalised answers, their words crossed off one by one."""
  ours, rest, same = ours.split(), theirs.split(), 0
  count = len(ours) + len(rest)
  for word in ours:
    if word in rest:
      rest.remove(word)
      same += 1
  return 2 * same / count if same else 0.0


def cases(language, seed, count):
  """Answers, a few of them right, and one to three gold answers each."""
  draw = random.Random(seed)
  gold = [
    tuple(text(draw, language) for _ in range(draw.choice([1, 1, 2, 3])))
    for _ in range(count)
  ]
  guess = []
  for right in gold:
    answer = draw.choice([text(draw, language), draw.choice(right)])
    guess.append(draw.choice([answer, answer.upper(), answer + '.', answer]))
  return guess, gold


KINDS = [('squad', language, 1430) for language in WORDS]
KINDS += [('mlqa', language, 1430) for language in WORDS]


@pytest.mark.parametrize('metric, language, count', KINDS)
def test_any_answers(metric, language, count):
  """10,010 answers for each of the two metrics, one by one."""
  if metric == 'squad':
    plain, score = squad_text, answers.squad
  else:
    plain = lambda text: mlqa_text(text, language)
    score = lambda p, g: answers.mlqa(p, g, language)
  guess, gold = cases(language, len(metric) + count, count)
  total_f1 = total_exact = exact_many = shared = 0
  for answer, right in zip(guess, gold, strict=True):
    got = score([answer], [right])
    ours, theirs = plain(answer), [plain(other) for other in right]
    f1 = max(overlap(ours, other) for other in theirs)
    assert got['f1'] == pytest.approx(100 * f1, abs=1e-9), (answer, right)
    assert got['exact_match'] == 100 * (ours in theirs), (answer, right)
    assert got[metric] == (got['f1'] + got['exact_match']) / 2
    assert 0 <= got['f1'] <= 100 + 1e-9
    # What is exact shares all words, unless none is left.
    if got['exact_match'] and ours:
      assert got['f1'] == pytest.approx(100)
    # Itself, with one more right answer, and for the right one.
    itself = score([answer], [(answer,)])
    assert itself['exact_match'] == 100
    assert itself['f1'] == (100 if ours else 0)
    more = score([answer], [(*right, gold[0][0])])
    assert all(more[name] >= got[name] for name in got)
    assert score([answer], [right[::-1]]) == got
    back = score([right[0]], [(answer,)])
    assert back['f1'] == pytest.approx(score([answer], [right[:1]])['f1'])
    total_f1 += f1
    total_exact += ours in theirs
    exact_many += ours in theirs
    shared += 0 < f1 < 1
  # The cases hold something of everything.
  assert count // 4 < exact_many < count and shared > 20
  whole = score(guess, gold)
  assert whole['f1'] == pytest.approx(100 * total_f1 / count, abs=1e-9)
  assert whole['exact_match'] == 100 * total_exact / count
  assert score(guess[::-1], gold[::-1]) == pytest.approx(whole, abs=1e-9)


def squad(answer, *right):
  score = answers.squad([answer], [right])
  return score['exact_match'], pytest.approx(score['f1'])


def mlqa(language, answer, *right):
  score = answers.mlqa([answer], [right], language)
  return score['exact_match'], pytest.approx(score['f1'])


def test_squad_by_hand():
  assert squad('The  Cat!', 'cat') == (100, 100)
  # 'the cat sat' is two words, one of them right: P 1/2, R 1.
  assert squad('the cat sat', 'cat') == (0, 200 / 3)
  # A word said twice is right once: P 1/2, R 1.
  assert squad('cat cat', 'cat') == (0, 200 / 3)
  # Punctuation goes before articles do, so they grow together with words.
  assert squad('the-end', 'end') == (0, 0)
  assert squad('the-end', 'theend') == (100, 100)
  assert squad('an. answer', 'answer') == (100, 100)
  # The best of several, each metric for itself.
  assert squad('cat sat', 'cat', 'sat cat') == (0, 100)
  assert squad('cat sat', 'cat', 'cat sat') == (100, 100)
  # Articles are English in every language.
  assert squad('der Hund', 'Hund') == (0, 200 / 3)
  assert squad('a été', 'été') == (100, 100)


def test_squad_knows_neither_chinese_nor_its_punctuation():
  assert squad('中国', '中国人') == (0, 0)
  assert squad('中国。', '中国') == (0, 0)
  assert squad('«cat»', 'cat') == (0, 0)
  assert squad('中国 人', '中国 人民') == (0, 50)


@pytest.mark.parametrize('score', [squad, lambda *a: mlqa('en', *a)])
def test_two_empty_answers_match_but_share_nothing(score):
  assert score('', 'the') == (100, 0)
  assert score('...', 'A') == (100, 0)
  assert score('', 'cat') == (0, 0)
  assert score('', 'cat', '!') == (100, 0)


def test_an_answer_not_given_counts_among_the_questions():
  gold = [('cat',), ('',), ('dog',)]
  score = answers.squad(['cat', None, None], gold)
  assert score == pytest.approx(
    {'squad': 100 / 3, 'f1': 100 / 3, 'exact_match': 100 / 3}
  )
  # While an empty answer is one.
  assert answers.squad(['cat', '', 'x'], gold)['exact_match'] == 200 / 3


def test_mlqa_by_hand():
  assert mlqa('en', 'the «cat»', 'cat') == (100, 100)
  assert mlqa('es', 'El gato', '¿gato?') == (100, 100)
  assert mlqa('es', 'the gato', 'gato') == (0, 200 / 3)
  assert mlqa('de', 'Des Hundes', 'hundes') == (100, 100)
  assert mlqa('vi', 'của Hà Nội', 'hà nội') == (100, 100)
  # Articles are compared as code points: a decomposed one stays.
  assert mlqa('vi', 'ca\u0301i nhà', 'nhà') == (0, 200 / 3)
  assert mlqa('hi', 'एक किताब।', 'एक किताब') == (100, 100)
  assert mlqa('hi', 'the किताब', 'किताब') == (0, 200 / 3)
  assert mlqa('en', 'a_b', 'ab') == (100, 100)
  # A symbol outside ASCII is no punctuation.
  assert mlqa('en', '€5', '5') == (0, 0)
  assert mlqa('en', '$5', '5') == (100, 100)


def test_the_arabic_article_goes_wherever_it_stands():
  assert answers.mlqa_words('الكتاب', 'ar') == ['كتاب']
  # Of a longer word, which is cut in two there.
  assert answers.mlqa_words('والكتاب', 'ar') == ['و', 'كتاب']
  assert answers.mlqa_words('العالم', 'ar') == ['ع', 'م']
  assert mlqa('ar', 'والكتاب', 'و كتاب') == (100, 100)
  assert mlqa('ar', 'ال', '') == (100, 0)


def test_chinese_characters_are_words_in_one_range_only():
  words = answers.mlqa_words('中国 ABC股2', 'zh')
  assert words == ['中', '国', 'abc', '股', '2']
  assert answers.mlqa_words('\u4e00\u9fa5', 'zh') == ['\u4e00', '\u9fa5']
  for outside in ('㐀㐁', '\u9fa6\u9fa6', '\uf900\uf901', 'かな', '한국'):
    assert answers.mlqa_words(outside, 'zh') == [outside]
  # P 2/2, R 2/3 of characters, in any order.
  assert mlqa('zh', '国中', '中国人') == (0, 80)
  assert mlqa('zh', '《中国》。', '中 国') == (100, 100)
  # Not in another language.
  assert mlqa('en', '中国', '中国人') == (0, 0)


@pytest.mark.parametrize('language', ['fr', 'ja', 'EN', 'zh-CN', ''])
def test_mlqa_has_seven_languages(language):
  with pytest.raises(ValueError, match=f'no rules for answers in {language!r}'):
    answers.mlqa(['a'], [('a',)], language)


def test_real_answers_are_right(data_dir):
  """All of MLQA's dev answers but one, the article una, of which is nothing."""
  for language in WORDS:
    name = f'dev-context-{language}-question-{language}.json.gz'
    with gzip.open(data_dir / 'mlqa' / 'MLQA_V1' / 'dev' / name) as file:
      articles = json.load(file)['data']
    gold = [
      tuple(answer['text'] for answer in question['answers'])
      for article in articles
      for paragraph in article['paragraphs']
      for question in paragraph['qas']
    ]
    score = answers.mlqa([right[0] for right in gold], gold, language)
    assert score['exact_match'] == 100
    lost = [right for right in gold if not mlqa_text(right[0], language)]
    assert lost == ([('una',)] if language == 'es' else [])
    f1 = 100 * (len(gold) - len(lost)) / len(gold)
    assert score['f1'] == pytest.approx(f1)


def test_what_cannot_be_scored():
  with pytest.raises(ValueError, match='2 answers to 1 questions'):
    answers.squad(['a', 'b'], [('a',)])
  with pytest.raises(ValueError, match='nothing to score'):
    answers.squad([], [])
  with pytest.raises(ValueError, match=r'question 1 has \(\) for its right'):
    answers.squad(['a', 'b'], [('a',), ()])
  with pytest.raises(ValueError, match="question 0 has 'a' for its right"):
    answers.squad(['a'], ['a'])
  with pytest.raises(ValueError, match='answer 0 is 7, not a string'):
    answers.squad([7], [('a',)])
