"""A toy world: small, synthetic, in ten real languages.

It stands in for the corpora and benchmarks that a fresh machine does not
have, so that the whole way from text to a zero-shot table can be run in
minutes. Sentences are correct, but they are made from templates
(`lexicon.json`): a score on them says that the machinery works and nothing
about real language. Call it synthetic wherever you show it.

The world has up to 8 dimensions (mood, hunger, money, ...) of two opposite
values each. An event gives some people a value ("The farmers won the lottery
yesterday."), a state tells it ("They are rich."). Requests to an assistant
("Hello, call Anna.") are a second kind of sentence.

    xlmr toy OUT_DIR --seed=0 --size=full

writes, always the same bytes for the same seed and size:

    corpus/<lang>.txt              a paragraph a line, each language its own
    parallel/en-<lang>.tsv         English TAB its translation
    xnli/train-en.tsv, dev-<lang>.tsv   premise TAB hypothesis TAB label
    xnli/test-<lang>.tsv           premise TAB hypothesis (XTREME's form)
    xnli/test.labels.txt           the gold labels of every language, by line
    intents/{train-en,dev-<lang>,test-<lang>}.tsv   text TAB label, a header
    tags/{train-en,dev-<lang>,test-<lang>}.tsv      word TAB tag (UDPOS's form)
    tatoeba/tatoeba.<iso3>-eng.{<iso3>,eng}         parallel by line

NLI. The hypothesis, a state, is drawn first and the label independently of
it; then the premise, an event with the same people: of the same value
(entailment), of the opposite value (contradiction) or of another dimension
(neutral). Every label is as frequent after each single premise or hypothesis,
so a model that sees only one of the two is at chance (1/3).

What is held out. Each pair (event phrase, state phrase) belongs to train
(1/2), dev (1/4) or test (1/4), by a Latin square for each pair of values, so
that every phrase is in every part equally often. Pairs of dev and test occur
neither in fine-tuning data nor next to each other in any corpus; the single
sentences do. Each request (phrase and slot fillers, under any greeting)
belongs to train, dev or test, and those of dev and test occur nowhere else.
Sentences of tatoeba/ are not in parallel/, and neither are the clauses of tags'
dev and test. Dev and test of a language are translations of the English ones,
line by line.

Tags. A word is tagged with what it stands for: PEOPLE, TIME, or the slot of a
request that it fills (CITY, NAME, ...); all other words are O. A word of
Chinese, which has no spaces, is what stands between two tags.
"""

from collections.abc import Iterator
import dataclasses
import itertools
import random

from xlmr_jax.data.toy import lexicon
from xlmr_jax.data.toy.sentences import Clause, Request, Sentence, filler_of

LANGUAGES = tuple(lexicon.LANGUAGES)
LABELS = ('contradiction', 'entailment', 'neutral')
INTENTS = lexicon.INTENTS

_VALUES = range(len(lexicon.VALUES))
_PHRASES = range(4)  # phrases of a value, and of an intent
_PRONOUN = 12  # the last subject: "they"
_TIMES, _NOWS = 8, 3


@dataclasses.dataclass(frozen=True)
class Size:
  """How much is written, and how much of the lexicon it draws on.

  Attributes:
    corpus: paragraphs of running text per language.
    parallel: translation pairs per language.
    xnli: train, dev and test examples.
    intents: the same.
    tags: the same.
    tatoeba: pairs for retrieval.
    languages: codes, English first.
    dimensions: how many of the lexicon's dimensions.
    subjects: groups of people.
    times: time phrases of events.
    topics: intents.
    fillers: names, cities, ... of a slot.
  """

  corpus: int = 4000
  parallel: int = 4000
  xnli: tuple[int, int, int] = (24000, 300, 600)
  intents: tuple[int, int, int] = (3000, 100, 200)
  tags: tuple[int, int, int] = (3000, 100, 200)
  tatoeba: int = 150
  languages: tuple[str, ...] = LANGUAGES
  dimensions: int = len(lexicon.DIMENSIONS)
  subjects: int = 12
  times: int = 8
  topics: int = len(lexicon.INTENTS)
  fillers: int = 10


# What minutes on a CPU can learn: eight languages, half of the dimensions.
_QUICK = Size(
  parallel=6000,
  intents=(3000, 80, 150),
  tags=(3000, 80, 150),
  tatoeba=35,
  languages=('en', 'ar', 'de', 'es', 'hi', 'ru', 'tr', 'zh'),
  dimensions=4,
  subjects=6,
  times=4,
  fillers=6,
)

SIZES = {
  'full': Size(),
  'quick': _QUICK,
  'fast': dataclasses.replace(
    _QUICK,
    corpus=300,
    parallel=300,
    xnli=(600, 60, 60),
    intents=(300, 50, 50),
    tags=(300, 40, 40),
    tatoeba=20,
  ),
}


class World:
  """What can be said under one seed, and which part may say it."""

  def __init__(self, seed: int, size: Size = Size()):
    self.seed = seed
    self.size = size
    self.values = range(2 * size.dimensions)
    draw = self.draw('split')
    # Rows and columns of a Latin square for each pair of values: phrase i of
    # the event and phrase j of the state meet in part (rows[i] + columns[j])
    # mod 4.
    self._squares = {
      (event, state): (_shuffled(draw, 4), _shuffled(draw, 4))
      for event in _VALUES
      for state in _VALUES
    }
    self._requests = {'train': [], 'dev': [], 'test': []}
    for intent, group in enumerate(
      lexicon.LANGUAGES['en'].requests[: size.topics]
    ):
      for phrase, template in enumerate(group):
        fills = list(_fills(template, size.fillers))
        draw.shuffle(fills)
        dev = max(1, len(fills) // 8)
        for i, fill in enumerate(fills):
          part = 'dev' if i < dev else 'test' if i < 3 * dev else 'train'
          self._requests[part].append((intent, phrase, fill))
    # Clauses that no parallel text holds, for retrieval.
    clauses = [
      (kind, value, phrase, subject)
      for kind in ('events', 'states')
      for value in self.values
      for phrase in _PHRASES
      for subject in range(size.subjects)
    ]
    unpaired = draw.sample(clauses, len(clauses) // 10)
    self._unpaired = frozenset(unpaired)
    self._dev = frozenset(unpaired[::3])  # of those that are tagged

  def draw(self, name: str) -> random.Random:
    """A stream of random numbers for one purpose."""
    return random.Random(f'{self.seed}/{name}')

  def part(self, event: Clause, state: Clause) -> str:
    """The only part (train, dev or test) that may combine these two phrases."""
    rows, columns = self._squares[event.value, state.value]
    role = (rows[event.phrase] + columns[state.phrase]) % 4
    return ('test', 'dev', 'train', 'train')[role]

  def unpaired(self, sentence: Sentence) -> bool:
    """Whether parallel text must not hold this sentence."""
    return isinstance(sentence, Clause) and _facts(sentence) in self._unpaired

  def tagged_part(self, clause: Clause) -> str:
    """The only part (train, dev or test) of tags that may hold this clause."""
    if not self.unpaired(clause):
      return 'train'
    return 'dev' if _facts(clause) in self._dev else 'test'

  # ---- Sentences -----------------------------------------------------------

  def event(self, draw: random.Random, value: int, subject: int) -> Clause:
    """An event that gives a value to a subject."""
    time = draw.randrange(self.size.times) if draw.random() < 0.6 else None
    front = time is not None and draw.random() < 0.5
    phrase = draw.randrange(len(_PHRASES))
    return Clause('events', value, phrase, subject, time, front)

  def state(self, draw: random.Random, value: int, subject: int) -> Clause:
    """A state; the subject may be a pronoun."""
    time = draw.randrange(_NOWS) if draw.random() < 0.4 else None
    front = time is not None and draw.random() < 0.5
    phrase = draw.randrange(len(_PHRASES))
    return Clause('states', value, phrase, subject, time, front)

  def request(self, draw: random.Random, part: str, intent=None) -> Request:
    """A request of one part, with or without a greeting."""
    intent = draw.randrange(self.size.topics) if intent is None else intent
    choices = [item for item in self._requests[part] if item[0] == intent]
    _, phrase, fill = draw.choice(choices)
    english = lexicon.LANGUAGES['en'].requests[intent][phrase]
    greetings = 2 if english.endswith(('?', '.')) else 3
    polite = draw.randrange(-2, greetings)
    return Request(intent, phrase, fill, polite if polite >= 0 else None)

  def story(self, draw: random.Random) -> list[Sentence]:
    """One or two events with the same people, and their consequences."""
    subject = draw.randrange(self.size.subjects)
    dimensions = draw.sample(self.values[::2], 2 if draw.random() < 0.3 else 1)
    values = [dimension + draw.randrange(2) for dimension in dimensions]
    while True:
      events = [self.event(draw, value, subject) for value in values]
      states = [
        self.state(draw, value, draw.choice((subject, _PRONOUN)))
        for value in values
      ]
      pairs = itertools.product(events, states)
      if all(self.part(*pair) == 'train' for pair in pairs):
        break
    draw.shuffle(states)
    return events + states

  def paragraph(self, draw: random.Random) -> list[Sentence]:
    """The text of a line of a corpus."""
    kind = draw.random()
    if kind < 0.55:
      return self.story(draw)
    if kind < 0.65:
      return [
        self.event(
          draw, draw.choice(self.values), draw.randrange(self.size.subjects)
        )
      ]
    if kind < 0.75:
      return [
        self.state(
          draw, draw.choice(self.values), draw.randrange(self.size.subjects)
        )
      ]
    return [self.request(draw, 'train')]

  def translated(self, draw: random.Random) -> list[Sentence]:
    """A line of parallel text: mostly a single sentence."""
    while True:
      paragraph = self.paragraph(draw)
      if len(paragraph) > 2 or (len(paragraph) == 2 and draw.random() < 0.5):
        paragraph = [draw.choice(paragraph)]
      if not any(self.unpaired(sentence) for sentence in paragraph):
        return paragraph

  # ---- Tasks ---------------------------------------------------------------

  def nli(self, part: str, count: int) -> list[tuple[Clause, Clause, str]]:
    """Distinct (premise, hypothesis, label) of a part, balanced."""
    draw = self.draw(f'nli/{part}')
    labels = [LABELS[i % 3] for i in range(count)]
    draw.shuffle(labels)
    rows, seen = [], set()
    while len(rows) < count:
      label = labels[len(rows)]
      people = draw.randrange(self.size.subjects)
      state = self.state(
        draw, draw.choice(self.values), draw.choice((people, _PRONOUN))
      )
      if label == 'entailment':
        value = state.value
      elif label == 'contradiction':
        value = state.value ^ 1
      else:
        others = [v for v in self.values if v // 2 != state.value // 2]
        value = draw.choice(others)
      while True:
        event = self.event(draw, value, people)
        if self.part(event, state) == part:
          break
      if (event, state) not in seen:
        seen.add((event, state))
        rows.append((event, state, label))
    return rows

  def intents(self, part: str, count: int) -> list[tuple[Request, str]]:
    """(request, intent) of a part, distinct unless it is train."""
    draw = self.draw(f'intents/{part}')
    rows, seen = [], set()
    while len(rows) < count:
      intent = len(rows) % self.size.topics
      request = self.request(draw, part, intent)
      if part == 'train' or request not in seen:
        seen.add(request)
        rows.append((request, INTENTS[intent]))
    draw.shuffle(rows)
    return rows

  def tagged(self, part: str, count: int) -> list[Sentence]:
    """Distinct clauses and requests of a part, as many of the one kind as of
    the other; clauses of dev and test are in no parallel text."""
    draw = self.draw(f'tags/{part}')
    sentences: list[Sentence] = []
    seen = set()
    while len(sentences) < count:
      if len(sentences) % 2:
        sentence: Sentence = self.request(draw, part)
      else:
        make = self.event if draw.random() < 0.5 else self.state
        people = draw.randrange(self.size.subjects)
        sentence = make(draw, draw.choice(self.values), people)
        if self.tagged_part(sentence) != part:
          continue
      if part == 'train' or sentence not in seen:
        seen.add(sentence)
        sentences.append(sentence)
    draw.shuffle(sentences)
    return sentences

  def retrieval(self, count: int) -> list[Sentence]:
    """Sentences that no parallel text holds, at most one of each clause."""
    draw = self.draw('tatoeba')
    clauses = sorted(self._unpaired)
    draw.shuffle(clauses)
    sentences = []
    for kind, value, phrase, subject in clauses[:count]:
      make = self.event if kind == 'events' else self.state
      clause = make(draw, value, subject)
      sentences.append(dataclasses.replace(clause, phrase=phrase))
    return sentences


def _facts(clause: Clause) -> tuple[str, int, int, int]:
  """What a clause says, at whatever time."""
  return clause.kind, clause.value, clause.phrase, clause.subject


def _shuffled(draw: random.Random, count: int) -> list[int]:
  return draw.sample(range(count), count)


def _fills(template: str, most: int) -> Iterator[tuple[tuple[str, int], ...]]:
  """Every way to fill the slots of a request, in a fixed order."""
  slots = {**lexicon.NUMBERS, **lexicon.LANGUAGES['en'].slots}
  fills = [()]
  for slot in sorted(slots):
    if '{' + slot + '}' in template:
      fills = [
        (*fill, (filler_of(slot), i))
        for fill in fills
        for i in range(min(most, len(slots[slot])))
      ]
  yield from (tuple(sorted(fill)) for fill in fills)
