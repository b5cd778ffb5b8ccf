"""CLUE's own metrics: CMRC's answers and CLUENER's surfaces.

Against the rules written another way, and against NLTK.
"""

import hashlib
import random

import pytest

from xlmr_jax.eval.metrics import answers, scores, spans

DROPPED = '-:_*^/\\~`+=，。：？！“”；’《》·、「」（）－～『』'

# What NLTK 3.10.4 makes of a text without those signs, its sentences not told
# apart. No one of them holds a Chinese character.
WORDS = {
  'the end.': ['the', 'end', '.'],
  'the end...': ['the', 'end', '...'],
  'a..b': ['a', '..', 'b'],
  'u.s.': ['u.s', '.'],
  'u.s. army': ['u.s.', 'army'],
  'u.s.,': ['u.s.', ','],
  'x.)': ['x', '.', ')'],
  '3.14': ['3.14'],
  '(1.5': ['(', '1.5'],
  '1,5': ['1,5'],
  '1,a': ['1', ',', 'a'],
  'a,,b': ['a', ',', ',b'],
  'a,': ['a', ','],
  ',': [','],
  '$5': ['$', '5'],
  '50%': ['50', '%'],
  'r&d': ['r', '&', 'd'],
  '#1': ['#', '1'],
  'a@b.c': ['a', '@', 'b.c'],
  'who?!': ['who', '?', '!'],
  '[1]': ['[', '1', ']'],
  'a–b': ['a', '–', 'b'],
  '‘a': ['‘', 'a'],
  'a»b': ['a', '»', 'b'],
  '"x"': ['``', 'x', "''"],
  'say "x"': ['say', '``', 'x', "''"],
  '"': ['``'],
  "x''y": ['x', "''", 'y'],
  "'": ["'"],
  "('x')": ['(', "'", 'x', "'", ')'],
  "'90s": ["'", '90s'],
  "dogs' tails": ['dogs', "'", 'tails'],
  "x's'": ["x's", "'"],
  "3d's": ['3d', "'s"],
  "'re": ["'re"],
  "don't": ['do', "n't"],
  "can't.": ['ca', "n't", '.'],
  'cannot': ['can', 'not'],
  'gonna go': ['gon', 'na', 'go'],
  "d'ye": ['d', "'ye"],
  "more'n": ['more', "'n"],
  "'tis": ["'", 'tis'],
  'a\u3000b': ['a', 'b'],
  'naïve ωmega': ['naïve', 'ωmega'],
  '\u3400\u4dbf': ['\u3400\u4dbf'],  # Extension A is no Chinese to the script
  '\u9fa6': ['\u9fa6'],
  '…': ['…'],
  '……': ['……'],
  '．１': ['．１'],
  '': [],
  ' ': [],
}
HAN = '一中国龥的'


@pytest.mark.parametrize('text', WORDS)
def test_words_between_chinese_are_nltks(text):
  assert answers.cmrc_words(text) == WORDS[text]
  assert answers.cmrc_words(f'中{text}国') == ['中', *WORDS[text], '国']


# What texts for NLTK are made of, the worst of it.
PIECES = [
  *'.,\'"()[]{}<>;@#$%&?!«»‘„–—…|é³㐀ａſıabdmst0159',
  *(' ', '  ', '\t', '\n', '\u3000', '\u00a0', '\u200b'),
  *('..', '...', "''", '""', "'s", "'re", "'ll", "n't", "don't", "'tis"),
  *("'twas", 'cannot', 'gonna', 'gotta', 'gimme', 'lemme', 'wanna', "d'ye"),
  *("more'n", 'u.s.', 'dr.', '1,5', '3.14', '1,', ', ', '. ', "' ", ' "'),
]


def test_words_of_any_run_are_nltks():
  """10,000 texts, by the hash of what NLTK 3.10.4's rules make of them.

  That is its NLTKWordTokenizer on stdlib's re; on the package regex, which
  3.10 takes, \\w is not quite the same.
  """
  draw = random.Random(0)  # whose random() is the same in every version
  pick = lambda items: items[int(draw.random() * len(items))]
  texts = [
    ''.join(pick(PIECES) for _ in range(1 + int(draw.random() * 9)))
    for _ in range(10_000)
  ]
  found = [answers.cmrc_words(text) for text in texts]
  assert sum(map(len, found)) == 42_584
  joined = '\n'.join('\0'.join(words) for words in found)
  assert hashlib.sha256(joined.encode()).hexdigest() == (
    '91126ec780eeaaa9bd21d0c1b1a2b96f8e2012309e51d765d81a764eb40b682c'
  )


def sprinkled(draw, text):
  """The same text to CMRC's script: signs that it drops, and capitals."""
  out = ''
  for char in text:
    out += draw.choice(['', '', '', draw.choice(DROPPED)])
    out += draw.choice([char, char.upper()])
  return out if out.lower().translate(NOTHING) == text else text


NOTHING = dict.fromkeys(map(ord, DROPPED))


def drawn(draw):
  """An answer and its words: Chinese, and runs with Chinese around them."""
  text, words = draw.choice(HAN), []
  words.append(text)
  for _ in range(draw.choice([0, 1, 1, 2, 3])):
    if draw.random() < 0.5:
      run = draw.choice(list(WORDS))
      text += sprinkled(draw, run)
      words += WORDS[run]
    han = draw.choices(HAN, k=draw.choice([1, 1, 2, 4]))
    text += draw.choice(['', *DROPPED]) + ''.join(han)
    words += han
  space = draw.choice(['', ' ', '\n', '\u3000'])
  return space + text + space, words


def longest(ours, theirs):
  """The length of the longest run that two lists share, by trying all."""
  runs = {
    tuple(ours[i:j])
    for i in range(len(ours))
    for j in range(i + 1, len(ours) + 1)
  }
  return max(
    (
      j - i
      for i in range(len(theirs))
      for j in range(i + 1, len(theirs) + 1)
      if tuple(theirs[i:j]) in runs
    ),
    default=0,
  )


def test_any_answers_of_cmrc():
  """10,000 answers beside one to three right ones, by brute force."""
  draw = random.Random(7)
  total_f1 = total_exact = partly = 0
  all_ours, all_gold = [], []
  for _ in range(10_000):
    gold = [drawn(draw) for _ in range(draw.choice([1, 1, 2, 3]))]
    text, words = draw.choice([drawn(draw), draw.choice(gold)])
    if draw.random() < 0.3:  # a longer one
      more, more_words = drawn(draw)
      text, words = text + more, words + more_words
    assert answers.cmrc_words(text) == words
    bare = lambda t: t.strip().lower().translate(NOTHING)
    exact = bare(text) in [bare(right) for right, _ in gold]
    f1 = 0.0
    for _, theirs in gold:
      same = longest(words, theirs)
      f1 = max(f1, 2 * same / (len(words) + len(theirs)))
    got = answers.cmrc([text], [[right for right, _ in gold]])
    assert got['cmrc'] == 100 * exact, (text, gold)
    assert got['f1'] == pytest.approx(100 * f1, abs=1e-9), (text, gold)
    assert got['average'] == pytest.approx((got['cmrc'] + got['f1']) / 2)
    total_f1, total_exact = total_f1 + f1, total_exact + exact
    partly += 0 < f1 < 1
    all_ours.append(text)
    all_gold.append([right for right, _ in gold])
  whole = answers.cmrc(all_ours, all_gold)
  assert whole['f1'] == pytest.approx(total_f1 / 100)
  assert whole['cmrc'] == pytest.approx(total_exact / 100)
  # Wrong, right and in between are all there.
  assert 2000 < total_exact < 8000 and partly > 2000


def cmrc(prediction, *gold):
  found = answers.cmrc([prediction], [gold])
  return found['cmrc'], round(found['f1'], 6)


def test_quirk_signs_are_dropped_and_gaps_close():
  for sign in DROPPED:
    assert answers.cmrc_words(f'3{sign}D') == ['3d'], sign
    assert cmrc(f'3{sign}d', '3D') == (100, 100), sign
    assert cmrc(sign, '') == (100, 0), sign
  # Both languages' words grow together over one.
  assert answers.cmrc_words('New，York：2') == ['newyork2']


def test_quirk_signs_that_stay():
  # …… is on the script's list as a whole, which no single character equals.
  for sign in '.,()!?;%&‘…':
    assert cmrc(f'中{sign}', '中')[0] == 0, sign
    assert len(answers.cmrc_words(f'中{sign}')) == 2, sign
  assert answers.cmrc_words('中……国') == ['中', '……', '国']


def test_quirk_the_longest_run_counts_not_all_that_is_shared():
  # Four characters shared, two of them in a run.
  assert cmrc('上海和北京', '北京和上海') == (0, 40)
  assert cmrc('中国人民', '中华人民') == (0, 50)


def test_quirk_words_of_latin_script_count_as_one():
  assert cmrc('Windows 95', 'windows 95系统') == (0, round(200 / 3, 6))
  assert cmrc('windows95', 'windows 95') == (0, 0)


def test_quirk_extension_a_is_a_run():
  assert answers.cmrc_words('㐀㐁中') == ['㐀㐁', '中']
  assert cmrc('㐀', '㐀㐁') == (0, 0)


def test_quirk_nothing_beside_nothing_is_exact_and_shares_nothing():
  assert cmrc('', '') == (100, 0)
  assert cmrc('。', '！') == (100, 0)
  assert cmrc('', '中') == (0, 0)


def test_quirk_white_space_within_an_answer_keeps_it_from_being_exact():
  assert cmrc('北 京', '北京') == (0, 100)
  assert cmrc(' 北京\n', '北京') == (100, 100)


def test_quirk_spaces_behind_a_dropped_sign_stay():
  # strip() comes before the signs go.
  assert cmrc('北京 。', '北京') == (0, 100)


def test_a_question_without_an_answer_counts():
  found = answers.cmrc([None, '中'], [['中'], ['中']])
  assert found == {'cmrc': 50, 'f1': 50, 'average': 50}
  with pytest.raises(ValueError, match='1 answers to 2 questions'):
    answers.cmrc(['中'], [['中'], ['中']])
  with pytest.raises(ValueError, match='question 0 has'):
    answers.cmrc(['中'], [[]])
  with pytest.raises(ValueError, match='nothing to score'):
    answers.cmrc([], [])


def test_cmrc_is_ranked_by_exact_match():
  found = scores.score('cmrc', ['北京', '上海市'], [['北京'], ['上海']])
  assert list(found) == ['cmrc', 'f1', 'average']
  assert found == pytest.approx({'cmrc': 50, 'f1': 90, 'average': 70})
  assert scores.chance('cmrc', None) is None
  assert scores.majority('cmrc', [['北京']]) is None


# CLUENER.

TYPES = 'address book company game government movie name'.split()


def official(predictions, gold, kinds):
  """F1 by type as score.py counts it, then the mean: no sets."""
  each = []
  for kind in kinds:
    right = more = less = 0
    for ours, theirs in zip(predictions, gold, strict=True):
      ours, theirs = list(ours.get(kind, {})), list(theirs.get(kind, {}))
      for surface in ours:
        if surface in theirs:
          right += 1
        else:
          more += 1
      less += sum(surface not in ours for surface in theirs)
    each.append(200 * right / (2 * right + more + less))
  return sum(each) / len(each)


def sentence(draw, kinds):
  text = ''.join(draw.choices('北京市…A㐀 ', k=draw.choice([1, 4, 9, 20])))
  tags, kind = [], 'O'
  for _ in text:
    kind = draw.choice([kind, kind, 'O', *kinds])
    tags.append(kind if kind == 'O' else f'{draw.choice("BIII")}-{kind}')
  return text, tags


def brute(text, tags):
  """Every span: ends that fit and no longer one."""
  out = {}
  starts = [
    i
    for i, tag in enumerate(tags)
    if tag != 'O' and (tag[0] == 'B' or i == 0 or tags[i - 1][1:] != tag[1:])
  ]
  for start in starts:
    kind, end = tags[start][2:], start
    while end + 1 < len(tags) and tags[end + 1] == f'I-{kind}':
      end += 1
    surfaces = out.setdefault(kind, {})
    surfaces.setdefault(text[start : end + 1], []).append([start, end])
  return out


def test_any_sentences_of_cluener():
  """10,000 sentences in rounds of 50, a fifth of them wrong."""
  draw = random.Random(3)
  for _ in range(200):
    texts = [sentence(draw, TYPES) for _ in range(50)]
    gold = [spans.marked(*pair) for pair in texts]
    assert gold == [brute(*pair) for pair in texts]
    guess = []
    for text, tags in texts:
      wrong = [
        draw.choice(['O', t]) if draw.random() < 0.2 else t for t in tags
      ]
      guess.append(spans.marked(text, wrong))
    kinds = {kind for marked in gold for kind in marked}
    got = scores.score('cluener', guess, gold)
    assert list(got) == ['cluener', 'span_f1', 'precision', 'recall']
    assert got['cluener'] == pytest.approx(official(guess, gold, kinds))
    # Spans by type and place: what the metric of taggers counts.
    flat = lambda marked: {
      (i, kind, a, b)
      for i, found in enumerate(marked)
      for kind, surfaces in found.items()
      for places in surfaces.values()
      for a, b in places
    }
    ours, theirs = flat(guess), flat(gold)
    f1 = 200 * len(ours & theirs) / (len(ours) + len(theirs))
    assert got['span_f1'] == pytest.approx(f1)
    assert set(scores.score('cluener', gold, gold).values()) == {100}


def test_surfaces_count_once_and_places_do_not_matter():
  gold = [{'name': {'李明': [[0, 1], [5, 6]]}}]
  got = spans.surface_scores([{'name': {'李明': [[3, 4]]}}], gold)
  assert got == {'cluener': 100, 'span_f1': 0, 'precision': 0, 'recall': 0}
  got = spans.surface_scores([{'name': {'李明': [[0, 1]]}}], gold)
  assert got['cluener'] == 100 and got['recall'] == 50


def test_a_type_that_is_never_found_scores_0():
  # The official script divides by zero here.
  gold = [{'name': {'李明': [[0, 1]]}, 'book': {'史记': [[3, 4]]}}]
  got = spans.surface_scores([{'name': {'李明': [[0, 1]]}}], gold)
  assert got['cluener'] == 50
  assert spans.surface_scores([{}], gold)['cluener'] == 0
  # Types that gold does not have are in no mean, but cost precision.
  more = {'goverment': {'李明': [[0, 1]]}, **gold[0]}
  got = spans.surface_scores([more], gold)
  assert got['cluener'] == 100
  assert got['precision'] == pytest.approx(200 / 3)
  assert spans.surface_scores([{}], [{}])['cluener'] == 0
  with pytest.raises(ValueError, match='1 predictions for 2 labels'):
    spans.surface_scores([{}], [{}, {}])
  with pytest.raises(ValueError, match='nothing to score'):
    spans.surface_scores([], [])


def test_marked_by_hand():
  tags = 'O B-scene I-scene O S-scene B-scene'.split()
  assert spans.marked('在北京，北京', tags) == {
    'scene': {'北京': [[1, 2]], '北': [[4, 4]], '京': [[5, 5]]}
  }
  assert spans.marked(('a', 'b', 'a'), ('B-x', 'O', 'I-x')) == {
    'x': {'a': [[0, 0], [2, 2]]}
  }
  assert spans.marked('', []) == {}
  with pytest.raises(ValueError, match='1 tags for 2 characters'):
    spans.marked('ab', ['O'])
