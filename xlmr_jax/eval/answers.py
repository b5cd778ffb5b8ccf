"""Exact match and F1 of extracted answers, as the official scripts count them.

XQuAD and TyDi QA are scored by the script of SQuAD v1.1 (Rajpurkar et al.
2016), MLQA by its own (Lewis et al. 2020). Both compare normalised text, and
what they do to text is part of the number:

  * SQuAD's rules are those of English for every language: ASCII punctuation
    and a, an, the go. `。` and `«` stay, and Chinese or Thai without spaces is
    one word, of which F1 is all or nothing.
  * MLQA's know the punctuation of Unicode, articles by language, and take
    each Chinese character (U+4E00 to U+9FA5, no extension) for a word.
    Arabic's ال goes wherever it stands, and cuts a word in two there.
  * An answer of which nothing is left is an exact match of another such, with
    an F1 of 0: no word is shared.

An answer None is one that a system did not give: it scores 0, even where ''
would be right.
"""

import collections
from collections.abc import Callable, Sequence
import re
import string
import unicodedata

_ASCII = frozenset(string.punctuation)
_ENGLISH = re.compile(r'\b(a|an|the)\b')
# By language what MLQA's script takes for articles; None: it has no articles.
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
  return _score('squad', predictions, gold, squad_words)


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
  mlqa_words('', language)  # a wrong language is said before anything else
  words = lambda text: mlqa_words(text, language)
  return _score('mlqa', predictions, gold, words)


def _score(
  name: str,
  predictions: Sequence[str | None],
  gold: Sequence[Sequence[str]],
  words: Callable[[str], list[str]],
) -> dict[str, float]:
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
    ours = words(answer)
    theirs = [words(text) for text in right]
    exact += any(ours == other for other in theirs)
    f1 += max(_f1(ours, other) for other in theirs)
  exact, f1 = 100 * exact / len(gold), 100 * f1 / len(gold)
  return {name: (exact + f1) / 2, 'f1': f1, 'exact_match': exact}


def _f1(ours: list[str], theirs: list[str]) -> float:
  """F1 of two bags of words, 0 to 1."""
  common = collections.Counter(ours) & collections.Counter(theirs)
  same = sum(common.values())
  if not same:
    return 0.0
  precision, recall = same / len(ours), same / len(theirs)
  return 2 * precision * recall / (precision + recall)
