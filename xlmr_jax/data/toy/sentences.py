"""Sentences of the toy world: what one says, and how each language says it."""

import dataclasses

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


def render(language: Language, sentence: Sentence) -> str:
  """Says a sentence in a language."""
  if isinstance(sentence, Clause):
    text = _clause(language, sentence)
  else:
    text = _request(language, sentence)
  if text[-1] not in '?？؟':
    text += language.stop
  return _capitalise(language, text)


def _clause(language: Language, clause: Clause) -> str:
  template = getattr(language, clause.kind)[clause.value][clause.phrase]
  forms = {
    name: words[clause.subject] for name, words in language.subjects.items()
  }
  if clause.time is None:
    return template.format(**forms)
  times = language.times if clause.kind == 'events' else language.nows
  time = times[clause.time]
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


def _request(language: Language, request: Request) -> str:
  text = language.requests[request.intent][request.phrase]
  fill = dict(request.fill)
  slots = {**lexicon.NUMBERS, **language.slots}
  text = text.format(
    **{
      slot: words[fill[filler_of(slot)]]
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
  """A capital at the start, behind an inverted question mark too."""
  start = 1 if text[0] == '¿' else 0
  first = text[start]
  upper = 'İ' if language.code == 'tr' and first == 'i' else first.upper()
  return text[:start] + upper + text[start + 1 :]
