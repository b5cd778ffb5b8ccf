"""Sentences of the toy world: what one says, and how each language says it."""

from collections.abc import Callable
import dataclasses
import re

from xlmr_jax.data.toy import lexicon
from xlmr_jax.data.toy.lexicon import Language

# Genitives that open a clause; a time phrase cannot follow them.
_GENITIVES = ('{g}', '{ka}', '{ke}', '{ki}', '{s}的')


@dataclasses.dataclass(frozen=True)
class Clause:
  """An event or a state, in no language: indices into the lexicon.

  Attributes:
    kind: 'events' or 'states'.
    value: index into VALUES.
    phrase: which of the value's phrases.
    subject: which group of people.
    time: which time phrase, None without.
    front: whether the sentence opens with the time phrase.
  """

  kind: str
  value: int
  phrase: int
  subject: int
  time: int | None = None
  front: bool = False


@dataclasses.dataclass(frozen=True)
class Request:
  """A request, in no language.

  Attributes:
    intent: index into INTENTS.
    phrase: which of the intent's phrases.
    fill: (kind of slot, index of its filler), sorted.
    polite: which greeting, None without.
  """

  intent: int
  phrase: int
  fill: tuple[tuple[str, int], ...]
  polite: int | None = None


Sentence = Clause | Request

# Marks how a part of a sentence is said: (kind of the part, its words) → text.
Mark = Callable[[str, str], str]

# What the tags call the slots of numbers.
_NUMBERS = dict.fromkeys(lexicon.NUMBERS, 'number')
_STOPS = '.?,!。？，！؟،।'
# Around a marked part, in characters that no text has: its kind, and its end.
_MARKED = re.compile('\ue000(.*?)\ue001(.*?)\ue002')


def render(
  language: Language, sentence: Sentence, mark: Mark = lambda kind, words: words
) -> str:
  """Says a sentence in a language."""
  if isinstance(sentence, Clause):
    text = _clause(language, sentence, mark)
  else:
    text = _request(language, sentence, mark)
  if text[-1] not in '?？؟':
    text += language.stop
  return _capitalise(language, text)


def tag_words(language: Language, sentence: Sentence) -> list[tuple[str, str]]:
  """(word, tag) of a sentence; stops are words, and O is no part's tag."""
  text = render(
    language,
    sentence,
    lambda kind, words: f'\ue000{kind.upper()}\ue001{words}\ue002',
  )
  out: list[tuple[str, str]] = []
  # What re.split gives: text, and behind it tag and text, again and again.
  plain, *marked = _MARKED.split(text)
  _add_words(out, language, plain, 'O')
  for tag, words, after in zip(
    marked[::3], marked[1::3], marked[2::3], strict=True
  ):
    _add_words(out, language, words, tag)
    _add_words(out, language, after, 'O')
  return out


def _add_words(out, language: Language, text: str, tag: str) -> None:
  for word in re.findall(f'[{_STOPS}]|[^ {_STOPS}]+', text):
    out.append((word, 'O' if word in _STOPS else tag))


def _clause(language: Language, clause: Clause, mark: Mark) -> str:
  template = getattr(language, clause.kind)[clause.value][clause.phrase]
  forms = {
    name: mark('people', words[clause.subject])
    for name, words in language.subjects.items()
  }
  if clause.time is None:
    return template.format(**forms)
  times = language.times if clause.kind == 'events' else language.nows
  time = mark('time', times[clause.time])
  if language.late == 'verb':  # German: the finite verb is the second thing
    subject, verb, *rest = template.split(' ', 2)
    words = (time, verb, subject) if clause.front else (subject, verb, time)
    return ' '.join((*words, *rest)).format(**forms)
  if clause.front:
    return language.front.format(t=time, c=template.format(**forms))
  if language.late == 'end':
    return template.format(**forms) + ' ' + time
  if template.startswith(_GENITIVES):
    return language.front.format(t=time, c=template.format(**forms))
  end = template.index('}') + 1
  glue = ' ' if language.space else ''
  subject, rest = template[:end], template[end:]
  return (subject + glue + time + rest).format(**forms)


def _request(language: Language, request: Request, mark: Mark) -> str:
  text = language.requests[request.intent][request.phrase]
  fill = dict(request.fill)
  slots = {**lexicon.NUMBERS, **language.slots}
  text = text.format(
    **{
      slot: mark(
        _NUMBERS.get(slot, filler_of(slot)), words[fill[filler_of(slot)]]
      )
      for slot, words in slots.items()
      if filler_of(slot) in fill
    }
  )
  if request.polite is not None:
    text = language.polite[request.polite].format(r=text)
  return text.removesuffix('.')


def filler_of(slot: str) -> str:
  """'in_city' and 'to_city' are forms of the same filler."""
  return slot.split('_')[-1]


def _capitalise(language: Language, text: str) -> str:
  """A capital at the first letter, behind marks and inverted question marks."""
  start = text.index('\ue001') + 1 if text[0] == '\ue000' else 0
  start += text[start] == '¿'
  first = text[start]
  upper = 'İ' if language.code == 'tr' and first == 'i' else first.upper()
  return text[:start] + upper + text[start + 1 :]
