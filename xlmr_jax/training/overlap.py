"""Examples that training shares with the files that it is judged by.

A text that was trained on says nothing about the texts that were not. So
training counts the examples of dev and test that it has seen too, exactly or
but for case and spaces, and names the first of them, before the first step.
Labels do not matter. Of the side that is compared with, 8 bytes an example are
kept, of training only what is shared.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
import dataclasses
import hashlib
from typing import Any

from xlmr_jax.tasks.encoding import shorten

SHOWN = 3  # shared examples that a message names

# What makes an example the same, by what it holds (Kind.examples).
CONTENT: dict[str, Callable[[Any], Sequence[str]]] = {
  'texts': lambda example: example.texts,
  'words': lambda sentence: (' '.join(sentence.words),),
  'context': lambda question: (question.question, question.context),
  'choices': lambda choice: (*choice.texts, *choice.choices),
}


def key(content: Iterable[str]) -> int:
  """A number of 64 bits for texts that are the same."""
  joined = '\x1f'.join(content).encode('utf-8', 'surrogatepass')
  digest = hashlib.blake2b(joined, digest_size=8).digest()
  return int.from_bytes(digest, 'little')


def loose_key(content: Iterable[str]) -> int:
  """The same for texts that are the same but for case and spaces."""
  return key(''.join(text.split()).casefold() for text in content)


@dataclasses.dataclass(frozen=True)
class Overlap:
  """The examples of a split that are trained on.

  Attributes:
    split: its name.
    total: the number of its examples.
    exact: how many of them are in training letter for letter.
    loose: how many others are but for case and spaces.
    shown: the first of them: (place, place in training, text).
  """

  split: str
  total: int
  exact: int
  loose: int
  shown: tuple[tuple[str, str, str], ...]

  def __str__(self) -> str:
    """One line for the user."""
    if not self.shown:
      return f'train shares no example with {self.split} ({self.total:,})'
    count = self.exact + self.loose
    pairs = '; '.join(
      f'{place} = {trained} {shorten(text)!r}'
      for place, trained, text in self.shown
    )
    more = count - len(self.shown)
    return (
      f'LEAK: {count:,} of {self.total:,} examples of {self.split} '
      f'({100 * count / self.total:.1f}%) are trained on, {self.exact:,} '
      f'exactly and {self.loose:,} but for case and spaces: {pairs}'
      + (f'; and {more:,} more' if more else '')
    )


def find_overlaps(
  kind: str,
  train: Mapping[str, Sequence],
  judged: Mapping[str, Mapping[str, Sequence]],
) -> list[Overlap]:
  """Compares the examples of all languages with each other.

  Args:
    kind: what an example holds, a row of CONTENT.
    train: language → examples that are trained on.
    judged: split → language → its examples.
  """
  content = CONTENT[kind]
  wanted = {
    loose_key(content(example))
    for split in judged.values()
    for part in split.values()
    for example in part
  }
  loose: dict[int, str] = {}  # key → the first place in training
  exact: dict[int, str] = {}
  for part in train.values():
    for example in part:
      number = loose_key(content(example))
      if number in wanted:
        loose.setdefault(number, example.where)
        exact.setdefault(key(content(example)), example.where)
  out = []
  for split, parts in judged.items():
    examples = [example for part in parts.values() for example in part]
    out.append(_match(split, examples, content, loose, exact))
  return out


def _match(split, examples, content, loose, exact) -> Overlap:
  letter = other = 0
  shown: list[tuple[str, str, str]] = []
  for example in examples if loose else ():
    fields = content(example)
    trained = exact.get(key(fields))
    place = trained or loose.get(loose_key(fields))
    if place is None:
      continue
    letter += trained is not None
    other += trained is None
    if len(shown) < SHOWN:
      shown.append((example.where, place, ' '.join(fields)))
  return Overlap(split, len(examples), letter, other, tuple(shown))
