"""Tagging schemes: what the letter before a tag's dash says of its span.

```
words   Mary   Ann    met    Bob    Eve    in     Oslo
BIO     B-PER  I-PER  O      B-PER  B-PER  O      B-LOC
IOB1    I-PER  I-PER  O      I-PER  B-PER  O      I-LOC
IOBES   B-PER  E-PER  O      S-PER  S-PER  O      S-LOC
BILOU   B-PER  L-PER  O      U-PER  U-PER  O      U-LOC
```

BIO is also called IOB2 (Tjong Kim Sang and Veenstra 1999). `find` reads the
scheme off sentences, `allowed` makes of it what a linear chain may do.
"""

from collections.abc import Iterable, Iterator, Sequence
import dataclasses

import numpy as np


@dataclasses.dataclass(frozen=True)
class Scheme:
  """A row of SCHEMES.

  Attributes:
    begins: the letters that may begin a span after anything.
    links: pairs of letters that may stand side by side with one type, even
      where the first does not end a span or the second begins none.
    ends: the letters that may end a span before anything.
    meaning: in a few words, for a person.
  """

  begins: str
  links: tuple[str, ...]
  ends: str
  meaning: str

  @property
  def letters(self) -> set[str]:
    return {*self.begins, *self.ends, *''.join(self.links)}

  def follows(self, before: str, after: str) -> bool:
    """Whether one tag may stand behind another; 'O' is outside of spans."""
    a, kind = split(before)
    b, other = split(after)
    if a and b and kind == other and a + b in self.links:
      return True
    return (not a or a in self.ends) and (not b or b in self.begins)


SCHEMES: dict[str, Scheme] = {
  'BIO': Scheme('B', ('BI', 'II'), 'BI', 'every span begins with B-'),
  'IOB1': Scheme(
    'I',
    ('BI', 'II', 'BB', 'IB'),
    'BI',
    'B- only between two spans of a type',
  ),
  'IOBES': Scheme(
    'BS', ('BI', 'BE', 'II', 'IE'), 'ES', 'E- ends a span, S- is a whole one'
  ),
  'BILOU': Scheme(
    'BU', ('BI', 'BL', 'II', 'IL'), 'LU', 'L- ends a span, U- is a whole one'
  ),
  'BMES': Scheme(
    'BS', ('BM', 'BE', 'MM', 'ME'), 'ES', 'M- is inside, S- is a whole one'
  ),
}
NONE = 'none'  # tags that are no parts of spans, or that follow no scheme

_LETTERS = {letter for row in SCHEMES.values() for letter in row.letters}


@dataclasses.dataclass(frozen=True)
class Evidence:
  """The scheme of some sentences.

  Attributes:
    scheme: a name of SCHEMES, or NONE.
    message: the same for a person, with what speaks against it.
  """

  scheme: str
  message: str


def split(tag: str) -> tuple[str, str]:
  """The letter and the type of a tag; no letter outside of every span."""
  letter, dash, kind = tag.partition('-')
  if dash and letter in _LETTERS:
    return letter, kind
  return '', tag


def find(sentences: Iterable) -> Evidence:
  """The scheme that sentences are written in.

  Args:
    sentences: objects with `label`, a tag for each word or None, and
      `place(k)`, the name of the k-th word.

  Returns:
    The first scheme of SCHEMES that no word breaks. NONE where no tag has a
    letter, as parts of speech have none, and where every scheme is broken.
  """
  tagged = [s for s in sentences if s.label]
  letters = {split(tag)[0] for s in tagged for tag in set(s.label)} - {''}
  if not letters:
    return Evidence(NONE, 'tags are no spans (none has a letter and a dash)')
  broken = {}
  for name, row in SCHEMES.items():
    if not letters <= row.letters:
      continue
    faults = list(_faults(tagged, row))
    if not faults:
      return Evidence(name, f'tags are in {name}: {row.meaning}')
    broken[name] = faults
  if not broken:
    used = ', '.join(f'{letter}-' for letter in sorted(letters))
    return Evidence(
      NONE, f'tags are in no scheme ({used}): a chain of them is free'
    )
  name = min(broken, key=lambda name: len(broken[name]))
  sentence, word, fault = broken[name][0]
  count = len(broken[name])
  breaks = '1 word breaks' if count == 1 else f'{count:,} words break'
  return Evidence(
    NONE,
    f'tags are in no scheme: they are nearest to {name}, which '
    f'{breaks}, first {sentence.place(word)} '
    f'({fault}); a chain of them is free',
  )


def _faults(sentences: Sequence, row: Scheme) -> Iterator[tuple]:
  """(sentence, word, what is wrong) of every word that breaks a scheme."""
  known: dict[tuple[str, str], bool] = {}
  for sentence in sentences:
    tags = ('O', *sentence.label, 'O')
    for place, pair in enumerate(zip(tags[:-1], tags[1:], strict=True)):
      if pair not in known:
        known[pair] = row.follows(*pair)
      if not known[pair]:
        before, after = pair
        last = place == len(sentence.label)
        fault = f'{before} at the end' if last else f'{after} after {before}'
        if not place:
          fault = f'{after} at the start'
        yield sentence, min(place, len(sentence.label) - 1), fault


def guess(labels: Sequence[str]) -> str:
  """The scheme of names alone, where nobody knows the sentences.

  B- and I- are taken for BIO: from their names IOB1 looks the same.
  """
  letters = {split(label)[0] for label in labels} - {''}
  for name, row in SCHEMES.items():
    if letters and letters <= row.letters:
      return name
  return NONE


def allowed(scheme: str, labels: Sequence[str]) -> dict[str, np.ndarray]:
  """What a chain of tags may do.

  BIO:
    labels       O   B-P  I-P
    O            1    1    0
    B-P          1    1    1     (from row to column)
    I-P          1    1    1
    start        1    1    0
    end          1    1    1

  A type none of whose labels may begin (or end) a span has lost the label that
  would: any of its labels may. Names without a letter are outside of spans.

  Args:
    scheme: a name of SCHEMES, or NONE: everything is allowed.
    labels: names of the classes, in the order of their ids.

  Returns:
    True where allowed: transitions [C, C] (from, to), start [C], end [C].
  """
  count = len(labels)
  if scheme == NONE:
    return {
      'transitions': np.ones((count, count), bool),
      'start': np.ones(count, bool),
      'end': np.ones(count, bool),
    }
  row = SCHEMES[scheme]
  start = _free(labels, row.begins)
  end = _free(labels, row.ends)
  transitions = end[:, None] & start[None]
  for i, before in enumerate(labels):
    for j, after in enumerate(labels):
      transitions[i, j] |= row.follows(before, after)
  return {'transitions': transitions, 'start': start, 'end': end}


def _free(labels: Sequence[str], letters: str) -> np.ndarray:
  """Which labels may stand beside anything: those with one of some letters."""
  able = {kind for a, kind in map(split, labels) if a and a in letters}
  return np.array(
    [
      not a or a in letters or kind not in able
      for a, kind in map(split, labels)
    ]
  )


def check(scheme: str | None) -> str | None:
  """The name as it is; None where nobody says.

  Raises:
    ValueError: it is no scheme's.
  """
  if scheme not in (None, NONE, *SCHEMES):
    known = ', '.join((*SCHEMES, NONE))
    raise ValueError(f'the tagging scheme {scheme!r} is not one of {known}')
  return scheme
