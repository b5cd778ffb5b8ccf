"""The words of the toy world: ten languages, the same phrases in each.

The words stand in lexicon.json. Every language is one `Language`. Its blocks
are parallel to English, line by line, group by group:

  events    16 groups of 4 clauses: something that happened to some people.
  states    16 groups of 4 clauses: how they are now, because of it.
            Group g of both blocks is one VALUE of a dimension; values 2d and
            2d + 1 of dimension d are opposites (DIMENSIONS and VALUES below).
  requests  10 groups of 4: one intent each (INTENTS below). A request ends
            with a question mark, with '.' when it is a statement (marked in
            English only), otherwise it is a command.

`{s}` is the subject, a group of people in the plural, so that gender and
number agree everywhere. Other names in braces are its other forms (genitive
{g}; Hindi with a postposition {ne} {ko} {ka} {ke} {ki} {mein} {se}) or, in
requests, slots. Form tables hold the subjects in the same order, the pronoun
"they" last.
"""

import dataclasses
from importlib import resources
import json

DIMENSIONS = (
  'mood',
  'hunger',
  'energy',
  'health',
  'money',
  'cleanliness',
  'place',
  'knowledge',
)

VALUES = (
  *('happy', 'sad'),
  *('full', 'hungry'),
  *('rested', 'tired'),
  *('healthy', 'ill'),
  *('rich', 'poor'),
  *('clean', 'dirty'),
  *('home', 'abroad'),
  *('prepared', 'unprepared'),
)

INTENTS = (
  'timer',
  'weather',
  'music',
  'lights',
  'restaurant',
  'message',
  'call',
  'shopping',
  'travel',
  'news',
)

# The same digits in every language. Multiples of five from 15 and numbers of
# people from 5 need only one plural form in Russian and in Arabic.
NUMBERS = {
  'n': ('15', '20', '25', '30', '35', '40', '45', '50', '55'),
  'k': ('5', '6', '7', '8', '9'),
}


@dataclasses.dataclass(frozen=True)
class Language:
  """One language of the world.

  Attributes:
    code: two letters, as in XNLI.
    iso3: three letters, as in Tatoeba's file names.
    subjects: {form: one string per subject, the pronoun last}.
    times: time phrases for events.
    nows: time phrases for states.
    front: layout of a sentence that opens with its time phrase.
    late: where the time phrase stands otherwise: at the 'end', after the
      'subject', or (German) after the finite 'verb', which a time phrase in
      front also draws before the subject.
    polite: layouts of a request: hello, excuse me, and please (commands only).
    slots: {slot: fillers}, parallel between languages.
    events, states, requests: groups of clauses.
    stop: the full stop.
    space: what stands between sentences.
  """

  code: str
  iso3: str
  subjects: dict[str, tuple[str, ...]]
  times: tuple[str, ...]
  nows: tuple[str, ...]
  front: str
  late: str
  polite: tuple[str, str, str]
  slots: dict[str, tuple[str, ...]]
  events: tuple[tuple[str, ...], ...]
  states: tuple[tuple[str, ...], ...]
  requests: tuple[tuple[str, ...], ...]
  stop: str = '.'
  space: str = ' '


def _tuples(value):
  """JSON's lists as tuples, at every depth."""
  if isinstance(value, list):
    return tuple(map(_tuples, value))
  if isinstance(value, dict):
    return {key: _tuples(item) for key, item in value.items()}
  return value


def _read() -> dict[str, Language]:
  folder = resources.files('xlmr_jax.data.toy')
  text = folder.joinpath('lexicon.json').read_text('utf-8')
  return {
    code: Language(**_tuples(entry)) for code, entry in json.loads(text).items()
  }


LANGUAGES = _read()
