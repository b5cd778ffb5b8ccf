"""The toy world: grammar tables, splits, and the files it writes."""

import collections
import csv
import itertools
import re
import subprocess
import sys

import pytest

from xlmr_jax.data.readers import tagged
from xlmr_jax.data.toy import files, lexicon, world
from xlmr_jax.data.toy.sentences import Clause, Request, render, tag_words

ALL = list(lexicon.LANGUAGES.values())

# All languages and the whole lexicon, few lines.
SMALL = world.Size(300, 300, (600, 60, 60), (300, 50, 50), (300, 40, 40), 50)


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
  out = tmp_path_factory.mktemp('toy')
  files.write(out, seed=0, size=SMALL)
  return out


def read_rows(path):
  with open(path, encoding='utf-8', newline='') as file:
    return list(csv.reader(file, delimiter='\t'))


def read_lines(path):
  return path.read_text(encoding='utf-8').splitlines()


def tree(folder):
  return {
    path.relative_to(folder): path.read_bytes()
    for path in folder.rglob('*')
    if path.is_file()
  }


# ---- Lexicon -----------------------------------------------------------------


@pytest.mark.parametrize('language', ALL, ids=lambda x: x.code)
def test_tables_are_parallel(language):
  english = lexicon.LANGUAGES['en']
  for block in ('events', 'states', 'requests'):
    shape = [len(group) for group in getattr(language, block)]
    assert shape == [len(group) for group in getattr(english, block)], block
  assert {len(words) for words in language.subjects.values()} == {13}
  assert len(language.times) == len(english.times)
  assert len(language.nows) == len(english.nows)
  fillers = {}
  for slot, words in {**lexicon.NUMBERS, **language.slots}.items():
    fillers.setdefault(slot.split('_')[-1], set()).add(len(words))
  assert all(len(lengths) == 1 for lengths in fillers.values()), fillers


@pytest.mark.parametrize('language', ALL, ids=lambda x: x.code)
def test_templates_have_the_slots_of_the_english_ones(language):
  def kinds(template):
    return sorted(s.split('_')[-1] for s in re.findall(r'{(\w+)}', template))

  english = lexicon.LANGUAGES['en']
  for ours, theirs in zip(language.requests, english.requests, strict=True):
    for a, b in zip(ours, theirs, strict=True):
      assert kinds(a) == kinds(b), (a, b)
  for group in language.events + language.states:
    for template in group:
      assert len(re.findall(r'{(\w+)}', template)) == 1, template


@pytest.mark.parametrize('language', ALL, ids=lambda x: x.code)
def test_no_two_phrases_say_the_same(language):
  for block in ('events', 'states', 'requests'):
    phrases = list(itertools.chain(*getattr(language, block)))
    assert len(phrases) == len(set(phrases)), [
      p for p, n in collections.Counter(phrases).items() if n > 1
    ]


@pytest.mark.parametrize(
  'code, sentence, text',
  [
    (
      'en',
      Clause('events', 0, 0, 3, 0, True),
      'Yesterday the farmers won first prize.',
    ),
    # The finite verb of a German main clause stays in second place.
    (
      'de',
      Clause('events', 0, 0, 3, 0, True),
      'Gestern haben die Bauern den ersten Preis gewonnen.',
    ),
    (
      'de',
      Clause('events', 0, 0, 3, 0, False),
      'Die Bauern haben gestern den ersten Preis gewonnen.',
    ),
    ('de', Clause('states', 0, 2, 12, 0, True), 'Jetzt lächeln sie.'),
    # Turkish capitals; Hindi case; no spaces in Chinese; Arabic verb first.
    ('tr', Clause('states', 2, 0, 4), 'İşçiler tok.'),
    ('tr', Clause('states', 0, 1, 4, 0), 'Şimdi işçilerin keyfi yerinde.'),
    ('hi', Clause('events', 0, 0, 0, 0), 'बच्चों ने कल पहला पुरस्कार जीता।'),
    ('hi', Clause('states', 7, 2, 12), 'उन्हें डॉक्टर की ज़रूरत है।'),
    ('zh', Clause('events', 0, 0, 0, 0), '孩子们昨天赢得了一等奖。'),
    ('zh', Clause('states', 2, 1, 0, 0), '现在孩子们的肚子饱饱的。'),
    (
      'ar',
      Clause('events', 0, 0, 0, 0, True),
      'أمس فاز الأطفال بالجائزة الأولى.',
    ),
    ('ru', Clause('states', 3, 1, 12), 'У них пустой живот.'),
    (
      'es',
      Request(1, 1, (('city', 6), ('day', 1))),
      '¿Lloverá mañana en El Cairo?',
    ),
    (
      'fr',
      Request(6, 2, (('name', 0),), 2),
      "Compose le numéro d'Anna, s'il te plaît.",
    ),
    (
      'en',
      Request(6, 1, (('name', 0),), 0),
      'Hello, I want to talk to Anna on',
    ),
  ],
)
def test_sentences(code, sentence, text):
  said = render(lexicon.LANGUAGES[code], sentence)
  assert said == text or said == f'{text} the phone.'


# ---- Splits ------------------------------------------------------------------


def phrases(rows):
  return {
    (premise.value, premise.phrase, hypothesis.value, hypothesis.phrase)
    for premise, hypothesis, _ in rows
  }


def test_held_out_pairs_do_not_occur_in_training():
  toy_world = world.World(0)
  parts = {p: phrases(toy_world.nli(p, 3000)) for p in ('train', 'dev', 'test')}
  for a, b in itertools.combinations(parts, 2):
    assert not parts[a] & parts[b], (a, b)
  together = set()
  draw = toy_world.draw('test')
  for _ in range(2000):
    story = toy_world.story(draw)
    for event, state in itertools.product(story, story):
      if (event.kind, state.kind) == ('events', 'states'):
        together |= phrases([(event, state, None)])
  assert len(together) > 500
  assert not together & (parts['dev'] | parts['test'])


@pytest.mark.parametrize('side', [0, 1], ids=['premise', 'hypothesis'])
@pytest.mark.parametrize('part', ['dev', 'test'])
def test_one_sentence_alone_tells_nothing(side, part):
  """The best guess from one phrase, learned on train, is near chance."""
  toy_world = world.World(1)

  def key(row):
    return row[side].value, row[side].phrase

  counts = collections.defaultdict(collections.Counter)
  for row in toy_world.nli('train', 12000):
    counts[key(row)][row[2]] += 1
  rows = toy_world.nli(part, 1500)
  right = sum(counts[key(r)].most_common(1)[0][0] == r[2] for r in rows)
  assert 0.28 < right / len(rows) < 0.38


def test_every_phrase_pair_belongs_to_one_part_evenly():
  toy_world = world.World(2)
  for event, state in itertools.product(range(16), repeat=2):
    for fixed in range(4):
      for pairs in (
        [(fixed, other) for other in range(4)],
        [(other, fixed) for other in range(4)],
      ):
        roles = sorted(
          toy_world.part(
            Clause('events', event, i, 0), Clause('states', state, j, 0)
          )
          for i, j in pairs
        )
        assert roles == ['dev', 'test', 'train', 'train']


# ---- Files -------------------------------------------------------------------


def test_same_seed_same_bytes(folder, tmp_path):
  files.write(tmp_path / 'again', seed=0, size=SMALL)
  assert tree(tmp_path / 'again') == tree(folder)
  files.write(tmp_path / 'other', seed=1, size=SMALL)
  assert tree(tmp_path / 'other').keys() == tree(folder).keys()
  assert tree(tmp_path / 'other') != tree(folder)


def test_xnli_has_xtremes_form(folder):
  xnli = folder / 'xnli'
  gold = read_lines(xnli / 'test.labels.txt')
  assert collections.Counter(gold) == dict.fromkeys(world.LABELS, 20)
  for code in world.LANGUAGES:
    rows = read_rows(xnli / f'test-{code}.tsv')
    assert len(rows) == 60 and {len(row) for row in rows} == {2}
    rows = read_rows(xnli / f'dev-{code}.tsv')
    assert len(rows) == 60 and {row[2] for row in rows} == set(world.LABELS)
    assert [row[2] for row in rows] == [
      row[2] for row in read_rows(xnli / 'dev-en.tsv')
    ]
  assert [p.name for p in xnli.glob('train-*')] == ['train-en.tsv']


def test_labels_are_right(folder):
  """Read back from the English text alone."""
  english = lexicon.LANGUAGES['en']

  def value(text, block):
    matches = {
      (len(template), value)
      for value, group in enumerate(block)
      for template in group
      if template.removeprefix('{s} ') in text
    }
    return max(matches)[1]

  rows = read_rows(folder / 'xnli' / 'train-en.tsv')
  rows += read_rows(folder / 'xnli' / 'dev-en.tsv')
  for premise, hypothesis, label in rows:
    a = value(premise, english.events)
    b = value(hypothesis, english.states)
    if a == b:
      assert label == 'entailment', (premise, hypothesis)
    elif a // 2 == b // 2:
      assert label == 'contradiction', (premise, hypothesis)
    else:
      assert label == 'neutral', (premise, hypothesis)


def test_intents(folder):
  intents = folder / 'intents'
  train = read_rows(intents / 'train-en.tsv')
  assert train[0] == ['text', 'label']
  seen = {text for text, _ in train}
  for part in ('dev', 'test'):
    rows = read_rows(intents / f'{part}-en.tsv')[1:]
    assert collections.Counter(label for _, label in rows) == dict.fromkeys(
      world.INTENTS, 5
    )
    assert len({text for text, _ in rows}) == 50
    assert not seen & {text for text, _ in rows}
    for code in world.LANGUAGES:
      other = read_rows(intents / f'{part}-{code}.tsv')[1:]
      assert [label for _, label in other] == [label for _, label in rows]


@pytest.mark.parametrize(
  'code, expected',
  [
    ('en', 'Today/TIME the/PEOPLE farmers/PEOPLE left/O the/O hospital/O ./O'),
    (
      'de',
      'Heute/TIME haben/O die/PEOPLE Bauern/PEOPLE das/O Krankenhaus/O '
      'verlassen/O ./O',
    ),
    ('zh', '今天/TIME 农民们/PEOPLE 离开了医院/O 。/O'),
  ],
)
def test_words_are_tagged_with_what_they_stand_for(code, expected):
  for value, phrase in itertools.product(range(16), range(4)):
    clause = Clause('events', value, phrase, 3, 1, True)
    if 'left the hospital' in render(lexicon.LANGUAGES['en'], clause):
      break
  words = tag_words(lexicon.LANGUAGES[code], clause)
  assert ' '.join(f'{word}/{tag}' for word, tag in words) == expected


@pytest.mark.parametrize('language', ALL, ids=lambda x: x.code)
def test_tagged_words_are_the_sentence(language):
  for sentence in world.World(0).tagged('train', 400):
    words = tag_words(language, sentence)
    joined = ''.join(word for word, _ in words)
    assert joined == render(language, sentence).replace(' ', '')
    assert not any(0xE000 <= ord(c) < 0xE010 for c in joined)


def test_tags(folder):
  tags = folder / 'tags'
  shown = set()
  for part in ('train', 'dev', 'test'):
    sentences = tagged.read(tags / f'{part}-en.tsv')
    texts = {' '.join(s.words) for s in sentences}
    assert len(sentences) == {'train': 300}.get(part, 40)
    assert not texts & shown
    shown |= texts
    if part == 'train':
      continue
    for code in world.LANGUAGES:
      other = tagged.read(tags / f'{part}-{code}.tsv')
      for a, b in zip(sentences, other, strict=True):
        assert set(a.label) == set(b.label)
  assert {'PEOPLE', 'TIME', 'CITY', 'NUMBER', 'NAME'} <= {
    tag for s in tagged.read(tags / 'train-en.tsv') for tag in s.label
  }


def test_corpora(folder):
  held = {
    code: {
      row[0]
      for part in ('dev', 'test')
      for row in read_rows(folder / 'intents' / f'{part}-{code}.tsv')
    }
    for code in world.LANGUAGES
  }
  for code in world.LANGUAGES:
    lines = read_lines(folder / 'corpus' / f'{code}.txt')
    assert len(lines) == 300 and all(lines)
    assert not held[code] & set(lines)
  for language in ALL[1:]:
    rows = read_rows(folder / 'parallel' / f'en-{language.code}.tsv')
    assert len(rows) == 300 and all(len(row) == 2 for row in rows)
    assert not held['en'] & {row[0] for row in rows}
    name = f'tatoeba.{language.iso3}-eng'
    theirs = read_lines(folder / 'tatoeba' / f'{name}.{language.iso3}')
    ours = read_lines(folder / 'tatoeba' / f'{name}.eng')
    assert len(theirs) == len(ours) == len(set(ours)) == 50
    assert not any(ours_ in row[0] for ours_ in ours for row in rows)


def test_too_much_is_refused(tmp_path):
  size = world.Size(intents=(100, 50, 1000))
  with pytest.raises(ValueError, match='intents test: 1000 .*280'):
    files.write(tmp_path, size=size)
  assert not list(tmp_path.iterdir())


def test_command(folder, tmp_path):
  command = [
    sys.executable,
    '-m',
    'xlmr_jax',
    'toy',
    str(tmp_path / 'out'),
  ]
  subprocess.run([*command, '--size=fast'], check=True)
  out = tmp_path / 'again'
  files.write(out, size=world.SIZES['fast'])
  assert tree(tmp_path / 'out') == tree(out)
