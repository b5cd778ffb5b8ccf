"""Exact match and F1 of extracted answers, as the official scripts count them.

XQuAD and TyDi QA are scored by the script of SQuAD v1.1 (Rajpurkar et al.
2016), MLQA by its own (Lewis et al. 2020), CMRC 2018 and DRCD by CMRC's (Cui
et al. 2019, cmrc2018_evaluate.py). They compare normalised text, and what they
do to text is part of the number:

  * SQuAD's rules are those of English for every language: ASCII punctuation
    and a, an, the go. `。` and `«` stay, and Chinese or Thai without spaces is
    one word, of which F1 is all or nothing.
  * MLQA's know the punctuation of Unicode, articles by language, and take
    each Chinese character (U+4E00 to U+9FA5, no extension) for a word.
    Arabic's ال goes wherever it stands, and cuts a word in two there.
  * CMRC's drop 29 signs, among them `，` and `-` but not `.`, `,`, `…` or `‘`,
    and close the gap: `3-D` is 3d. Each Chinese character is a word, and what
    stands between them is cut into words as NLTK cuts English, so `1,5` is
    one and `don't` two. F1 counts the longest run of words that both answers
    have, not all the words that they share. CLUE ranks by exact match.
  * An answer of which nothing is left is an exact match of another such, with
    an F1 of 0: no word is shared.

An answer None is one that a system did not give: it scores 0, even where ''
would be right.
"""

import collections
from collections.abc import Callable, Sequence
import re
import string
from typing import Any
import unicodedata

_ASCII = frozenset(string.punctuation)
_ENGLISH = re.compile(r'\b(a|an|the)\b')
# The articles of MLQA's script by language; None: it has no articles.
# The Arabic expression is '\sال^|ال' there, whose first half never matches.
_ARTICLES = {
  'ar': re.compile('ال'),
  'de': re.compile(
    r'\b(ein|eine|einen|einem|eines|einer|der|die|das|den|dem|des)\b'
  ),
  'en': _ENGLISH,
  'es': re.compile(r'\b(un|una|unos|unas|el|la|los|las)\b'),
  'hi': None,
  'vi': re.compile(r'\b(của|là|cái|chiếc|những)\b'),
  'zh': None,
}
_HAN = re.compile('([\u4e00-\u9fa5])')
# Signs that CMRC's script drops. It also lists `……`, which no character equals.
_DROPPED = frozenset('-:_*^/\\~`+=，。：？！“”；’《》·、「」（）－～『』')
# How NLTK's word_tokenize (since 3.5; after the Penn Treebank's sed script)
# puts spaces around words: its rules in its order, less those for capitals and
# for what CMRC's script has dropped before. Quotes become `` and '' there.
# NLTK first cuts a text into sentences, by a model of English that would have
# to be downloaded; here what stands between two Chinese characters is one.
_SPACED = tuple(
  (re.compile(pattern), spaced)
  for pattern, spaced in (
    # Quotes that begin something.
    (r'[«‘„]', r' \g<0> '),
    (r'^"', ' `` '),
    (r"(?<=[ (\[{<])(?:\"|'')", ' `` '),
    (r"(?i)(?<!\w)'(?=\w)(?!(?:[mtsdn]|re|ve|ll)\b)", "' "),
    # The last full stop, with what may stand behind it.
    (r'(?<=[^.])\.([])}>"\'» ]*)\s*$', r' . \1 '),
    # A comma, unless a digit follows; of two commas the second is passed over.
    (r',(\D)', r' , \1'),
    (r',$', ' , '),
    (r'\.{2,}|[;@#$%&?!\u2012-\u2015]', r' \g<0> '),
    (r"(?<=[^'])' ", " ' "),
    (r'[][(){}<>]', r' \g<0> '),
    # From here on a space is at either end.
    (r'^|$', ' '),
    (r'»', ' » '),
    (r"''|\"", " '' "),
    (r'\s+', ' '),
    (r"(?<=[^' ])'[smd]? ", r' \g<0>'),
    (r"(?<=[^' ])(?:'ll|'re|'ve|n't) ", r' \g<0>'),
    (r'(?i)\b(can)(not)\b', r' \1 \2 '),
    (r"(?i)\b(d)('ye)\b", r' \1 \2 '),
    (r'(?i)\b(gim)(me)\b', r' \1 \2 '),
    (r'(?i)\b(gon)(na)\b', r' \1 \2 '),
    (r'(?i)\b(got)(ta)\b', r' \1 \2 '),
    (r'(?i)\b(lem)(me)\b', r' \1 \2 '),
    (r"(?i)\b(more)('n)\b", r' \1 \2 '),
    (r'(?i)\b(wan)(na)(?=\s)', r' \1 \2 '),
    (r"(?i) ('t)(is)\b", r' \1 \2 '),
    (r"(?i) ('t)(was)\b", r' \1 \2 '),
  )
)


def squad_words(text: str) -> list[str]:
  """The words of an answer that SQuAD v1.1 compares.

  `squad_words('The  U.S.-led army')` → `['usled', 'army']`.
  """
  text = ''.join(char for char in text.lower() if char not in _ASCII)
  return _ENGLISH.sub(' ', text).split()


def mlqa_words(text: str, language: str) -> list[str]:
  """The words of an answer that MLQA compares, by its context's language.

  `mlqa_words('《红楼梦》 ABC', 'zh')` → `['红', '楼', '梦', 'abc']`.

  Raises:
    ValueError: a language that MLQA does not have.
  """
  if language not in _ARTICLES:
    raise ValueError(
      f'MLQA has no rules for answers in {language!r}; it has '
      f'{", ".join(_ARTICLES)}. Score other languages by the metric squad'
    )
  text = ''.join(char for char in text.lower() if not _is_punctuation(char))
  if articles := _ARTICLES[language]:
    text = articles.sub(' ', text)
  if language == 'zh':
    text = _HAN.sub(r' \1 ', text)
  return text.split()


def cmrc_words(text: str) -> list[str]:
  """The words of an answer that CMRC 2018 compares.

  `cmrc_words('《红楼》 3-D, 1.5')` → `['红', '楼', '3d', ',', '1.5']`.
  """
  return _mixed_words(_bare(text))


def _bare(text: str) -> str:
  """The part of an answer that CMRC's exact match compares."""
  text = text.lower().strip()
  return ''.join(char for char in text if char not in _DROPPED)


def _mixed_words(bare: str) -> list[str]:
  out = []
  for index, part in enumerate(_HAN.split(bare)):
    if index % 2:
      out.append(part)
    elif part:
      for pattern, spaced in _SPACED:
        part = pattern.sub(spaced, part)
      out += part.split()
  return out


def _is_punctuation(char: str) -> bool:
  return char in _ASCII or unicodedata.category(char)[0] == 'P'


def squad(
  predictions: Sequence[str | None], gold: Sequence[Sequence[str]]
) -> dict[str, float]:
  """Scores of answers by the rules of SQuAD v1.1, per cent.

  Args:
    predictions: an answer for each question; None for none given.
    gold: the right answers to each; the best fit counts.

  Returns:
    'squad', the mean of the other two, 'f1' and 'exact_match'.

  Raises:
    ValueError: not as many answers as questions, no question, or one without
      a right answer.
  """
  return _score('squad', predictions, gold, squad_words, word_f1)


def mlqa(
  predictions: Sequence[str | None],
  gold: Sequence[Sequence[str]],
  language: str,
) -> dict[str, float]:
  """Scores of answers by the rules of MLQA, per cent.

  Args:
    predictions: an answer for each question; None for none given.
    gold: the right answers to each; the best fit counts.
    language: of contexts and answers, whatever that of the questions.

  Returns:
    'mlqa', the mean of the other two, 'f1' and 'exact_match'.

  Raises:
    ValueError: as `squad`, or a language that MLQA does not have.
  """
  mlqa_words('', language)  # refuses a wrong language first
  words = lambda text: mlqa_words(text, language)
  return _score('mlqa', predictions, gold, words, word_f1)


def cmrc(
  predictions: Sequence[str | None], gold: Sequence[Sequence[str]]
) -> dict[str, float]:
  """Scores of answers by the rules of CMRC 2018, per cent.

  Args:
    predictions: an answer for each question; None for none given.
    gold: the right answers to each; the best fit counts.

  Returns:
    'cmrc', which is the share of exact matches, by which CLUE ranks; 'f1';
    'average', the mean of both, by which CMRC's script chooses.

  Raises:
    ValueError: as `squad`.
  """

  def read(text):
    bare = _bare(text)
    return bare, _mixed_words(bare)

  f1 = lambda ours, theirs: _run_f1(ours[1], theirs[1])
  values = _score('average', predictions, gold, read, f1)
  exact = values.pop('exact_match')
  return {'cmrc': exact, 'f1': values['f1'], 'average': values['average']}


def _score(
  name: str,
  predictions: Sequence[str | None],
  gold: Sequence[Sequence[str]],
  read: Callable[[str], Any],
  score: Callable[[Any, Any], float],
) -> dict[str, float]:
  """Exact matches of what `read` makes of answers; F1 as `score` has it."""
  if len(predictions) != len(gold):
    raise ValueError(
      f'{len(predictions)} answers to {len(gold)} questions: one each'
    )
  if not len(gold):
    raise ValueError('there is nothing to score')
  exact = f1 = 0.0
  for index, (answer, right) in enumerate(zip(predictions, gold, strict=True)):
    if isinstance(right, str) or not len(right):
      raise ValueError(
        f'question {index} has {right!r} for its right answers, not one or '
        'more strings'
      )
    if answer is None:
      continue
    if not isinstance(answer, str):
      raise ValueError(f'answer {index} is {answer!r}, not a string')
    ours = read(answer)
    theirs = [read(text) for text in right]
    exact += any(ours == other for other in theirs)
    f1 += max(score(ours, other) for other in theirs)
  exact, f1 = 100 * exact / len(gold), 100 * f1 / len(gold)
  return {name: (exact + f1) / 2, 'f1': f1, 'exact_match': exact}


def word_f1(ours: list[str], theirs: list[str]) -> float:
  """F1 of two bags of words, 0 to 1."""
  common = collections.Counter(ours) & collections.Counter(theirs)
  return _harmonic(sum(common.values()), ours, theirs)


def _run_f1(ours: list[str], theirs: list[str]) -> float:
  """F1 of the longest run of words that stands in both, 0 to 1."""
  longest = 0
  ending = [0] * (len(theirs) + 1)  # runs that end at a word of theirs
  for word in ours:
    before, ending = ending, [0] * (len(theirs) + 1)
    for at, other in enumerate(theirs):
      if word == other:
        ending[at + 1] = before[at] + 1
    longest = max(longest, *ending)
  return _harmonic(longest, ours, theirs)


def _harmonic(same: int, ours: list[str], theirs: list[str]) -> float:
  if not same:
    return 0.0
  precision, recall = same / len(ours), same / len(theirs)
  return 2 * precision * recall / (precision + recall)
