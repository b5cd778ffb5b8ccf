"""Development examples out of train, and what train shares with the others."""

import json
import signal

import numpy as np
import pytest
from tiny_runs import assert_same_run, recipe, settings, steps, write_data

from configs import finetune
from xlmr_jax import train
from xlmr_jax.data.readers.choices import Choice
from xlmr_jax.data.readers.squad import Question
from xlmr_jax.data.readers.tables import Example
from xlmr_jax.data.readers.tagged import Sentence
from xlmr_jax.runtime import sharding
from xlmr_jax.training import held_out, overlap

MESH = sharding.make_mesh()


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
  folder = tmp_path_factory.mktemp('data')
  write_data(folder)
  return folder


@pytest.fixture(scope='module')
def given(folder, tiny_tokenizer):
  return settings(folder, tiny_tokenizer)


def build(given, tmp_path, capsys, **changes):
  """The job of a recipe, and the lines that it printed."""
  job = train.build_job(recipe(given, finetune, **changes), tmp_path, MESH)
  return job, capsys.readouterr().out.splitlines()


def dev_of(job):
  return job.evaluators[0]._examples


def count_learned(job):
  batches = map(job.loader.batch, range(job.loader.steps_per_epoch))
  return sum(np.sum(batch['example'] >= 0) for batch in batches)


def example(text, where='a.tsv:1', label='x'):
  return Example((text,), label, where)


# ── Dev left out ──────────────────────────────────────────────────────────


def test_a_share_of_train_is_held_out_and_said(given, folder, tmp_path, capsys):
  out = {'dev': '', 'dev_languages': ('en',)}
  job, lines = build(given, tmp_path, capsys, **out)
  rows = (folder / 'train.tsv').read_text('utf-8').splitlines()[1:]
  (language, dev), *others = dev_of(job).items()
  assert language == 'en' and not others
  assert len(dev) == 12 and count_learned(job) == 108
  assert lines[0] == (
    'config.dev is empty: 12 of 120 in en of train.tsv are held out for '
    'development (dev_share 0.1, seed 0)'
  )
  assert lines[1] == 'train shares no example with dev (12)'
  places = [int(e.where.rpartition(':')[2]) - 2 for e in dev]
  assert places == sorted(places)
  assert [rows[p].split('\t')[0] for p in places] == [e.texts[0] for e in dev]
  again, _ = build(given, tmp_path, capsys, **out)
  assert dev_of(again) == dev_of(job)
  assert again.fingerprint == job.fingerprint
  other, _ = build(given, tmp_path, capsys, **out, seed=1)
  assert dev_of(other) != dev_of(job)
  assert other.fingerprint != job.fingerprint
  third, _ = build(given, tmp_path, capsys, **out, dev_share=0.3)
  assert len(dev_of(third)['en']) == 36
  # Fewer examples to learn from are judged by the same ones.
  few, _ = build(given, tmp_path, capsys, **out, train_examples=20)
  assert dev_of(few) == dev_of(job) and count_learned(few) == 20


def test_a_run_with_a_share_held_out_goes_on(given, tmp_path):
  changes = {'dev': '', 'dev_languages': ('en',), 'steps': 6}
  whole, parted = tmp_path / 'whole', tmp_path / 'parted'
  train.train(recipe(given, finetune, **changes), whole)

  with pytest.MonkeyPatch.context() as patch:
    place, calls = sharding.place_batch, []

    def patched(*args):
      calls.append(None)
      if len(calls) == 3:
        signal.raise_signal(signal.SIGINT)
      return place(*args)

    patch.setattr(sharding, 'place_batch', patched)
    train.train(recipe(given, finetune, **changes), parted)
  assert max(steps(parted)) == 3
  train.train(recipe(given, finetune, **changes), parted)
  assert_same_run(whole, parted)


@pytest.mark.parametrize(
  'changes, message',
  [
    ({'dev_share': 0.0}, 'config.dev_share=0.0 is not between 0 and 1'),
    ({'dev_share': 1.0}, 'config.dev_share=1.0 is not between 0 and 1'),
    ({'dev_languages': ('en', 'de')}, 'config.dev_languages de is not trained'),
  ],
)
def test_what_cannot_be_held_out(given, tmp_path, changes, message):
  config = recipe(given, finetune, **{'dev': '', **changes})
  with pytest.raises(ValueError) as error:
    train.build_job(config, tmp_path, MESH)
  assert message in str(error.value)


def test_languages_that_are_held_out(given, folder, tmp_path, capsys):
  names = {'train': 'dev-{language}.tsv', 'dev': ''}
  names['train_languages'] = ('en', 'de')
  job, lines = build(given, tmp_path, capsys, **names, dev_languages=('de',))
  assert list(dev_of(job)) == ['de'] and len(dev_of(job)['de']) == 2
  assert '2 of 24 in de of dev-{language}.tsv are held out' in lines[0]
  # None of those that choose by default is trained on: all do.
  job, lines = build(given, tmp_path, capsys, **names, dev_languages=('fr',))
  assert list(dev_of(job)) == ['en', 'de']
  assert '2 of 24 in en, 2 of 24 in de of' in lines[0]


def test_tags_questions_and_numbers_are_held_out(
  given, folder, tmp_path, capsys
):
  words = 'man house cat red sees asleep'.split()
  sentences = [f'{a}\tN\n{b}\tV\n' for a in words for b in words]
  (folder / 'tags.tsv').write_text('\n'.join(sentences), 'utf-8')
  paragraphs = [
    {
      'context': f'the {a} sees the {b}',
      'qas': [
        {
          'id': f'{a} {b} {i}',
          'question': f'who sees {i}',
          'answers': [{'text': a, 'answer_start': 4}],
        }
        for i in range(3)
      ],
    }
    for a in words
    for b in words
  ]
  squad = {'version': '1.1', 'data': [{'title': '', 'paragraphs': paragraphs}]}
  (folder / 'squad.json').write_text(json.dumps(squad), 'utf-8')
  for objective, name, count, said in (
    ('crf', 'tags.tsv', 4, '4 of 36 in en'),
    ('answer', 'squad.json', 9, '9 of 108 in en'),
    ('regression', 'numbers.tsv', 12, '12 of 120 in en'),
  ):
    job, lines = build(
      given,
      tmp_path,
      capsys,
      objective=objective,
      train=name,
      dev='',
      dev_languages=('en',),
    )
    (dev,) = dev_of(job).values()
    assert len(dev) == count
    assert lines[0].startswith(f'config.dev is empty: {said} of {name}')
    assert lines[1] == f'train shares no example with dev ({count})'


def test_the_same_texts_stay_on_one_side():
  together = held_out.TOGETHER['texts']
  texts = [f'{"The Cat" if i % 2 else "the  cat"} {i // 3}' for i in range(300)]
  parts = held_out.hold_out(
    [example(t) for t in texts], 0.1, 0, 'en', together=together
  )
  learned, dev = (
    {''.join(e.texts[0].lower().split()) for e in p} for p in parts
  )
  assert not learned & dev and len(learned) + len(dev) == 100
  assert len(parts[1]) == 30
  questions = [
    Question(f'{i}', f'q {i}', f'text {i // 5}', [], f'a.json {i}')
    for i in range(100)
  ]
  parts = held_out.hold_out(
    questions, 0.12, 3, 'en', together=held_out.TOGETHER['context']
  )
  contexts = [{q.context for q in part} for part in parts]
  assert not contexts[0] & contexts[1] and len(parts[1]) == 10
  # Groups that are all larger than the share: the smallest of them.
  parts = held_out.hold_out(
    [example('a')] * 6 + [example('b')] * 4, 0.1, 0, 'en', together=together
  )
  assert [len(p) for p in parts] == [6, 4]
  with pytest.raises(ValueError, match='a.tsv:1: 1 different examples cannot'):
    held_out.hold_out([example('a')] * 3, 0.1, 0, 'en', together=together)
  # Nearly all is not all.
  parts = held_out.hold_out(
    [example(f'{i}') for i in range(5)], 0.99, 0, 'en', together=together
  )
  assert [len(p) for p in parts] == [1, 4]


def test_which_examples_are_held_out_never_changes():
  """A run that goes on after an update of the code holds out the same."""
  parts = held_out.hold_out(
    [example(f'text {i}', f'a:{i}') for i in range(40)],
    0.1,
    0,
    'en',
    together=held_out.TOGETHER['texts'],
  )
  assert [e.where for e in parts[1]] == ['a:0', 'a:21', 'a:34', 'a:38']


# ── What train shares ─────────────────────────────────────────────────────

CASES = {
  'texts': lambda text, where: Example((text, 'b'), 'x', where),
  'words': lambda text, where: Sentence(tuple(text.split(' ')), None, where),
  'context': lambda text, where: Question('1', 'Who?', text, [], where),
  'choices': lambda text, where: Choice((text,), ('a', 'b'), 0, where),
}


@pytest.mark.parametrize('kind', overlap.CONTENT)
def test_shared_examples_are_counted_and_named(kind):
  make = CASES[kind]
  learned = [make(f'a text {i}', f'train:{i}') for i in range(50)]
  learned += [make('Ein Haus', 'train:50'), make('ein haus', 'train:51')]
  dev = [
    make('a text 3', 'dev:1'),
    make('A  TEXT 7', 'dev:2'),
    make('another', 'dev:3'),
    make('ein haus', 'dev:4'),
    make('EIN HAUS', 'dev:5'),
  ]
  test = [make('nothing of the kind', 'test:1')]
  shared, none = overlap.find_overlaps(
    kind,
    {'en': learned[:40], 'de': learned[40:]},
    {'dev': {'en': dev[:2], 'de': dev[2:]}, 'test': {'en': test}},
  )
  assert (shared.total, shared.exact, shared.loose) == (5, 2, 2)
  pairs = [(place, trained) for place, trained, _ in shared.shown]
  assert pairs == [
    ('dev:1', 'train:3'),
    ('dev:2', 'train:7'),
    ('dev:4', 'train:51'),
  ]
  line = str(shared)
  assert line.startswith(
    'LEAK: 4 of 5 examples of dev (80.0%) are trained on, 2 exactly and 2 but '
    'for case and spaces: dev:1 = train:3 '
  )
  assert line.endswith('; and 1 more') and '\n' not in line
  assert str(none) == 'train shares no example with test (1)'


def test_other_questions_on_the_same_text_are_no_leak():
  ask = lambda text, where: Question('1', text, 'A text.', [], where)
  (shared,) = overlap.find_overlaps(
    'context',
    {'en': [ask('Who?', 'a')]},
    {'dev': {'en': [ask('Where?', 'b'), ask('who ?', 'c')]}},
  )
  assert (shared.exact, shared.loose) == (0, 1)


def test_a_leak_is_said_before_the_first_step(given, folder, tmp_path, capsys):
  rows = (folder / 'train.tsv').read_text('utf-8').splitlines()
  old = 'text\tlabel\nkeine Katze hier\tno\n'
  (folder / 'leak.tsv').write_text(
    f'{old}{rows[5]}\n{rows[9].upper().replace(" ", "  ")}\n'.replace(
      'YES', 'yes'
    ).replace('NO\n', 'no\n'),
    'utf-8',
  )
  (folder / 'test-xx.tsv').write_text(f'{old}{rows[3]}\n', 'utf-8')
  _, lines = build(
    given,
    tmp_path,
    capsys,
    dev='leak.tsv',
    dev_languages=('en',),
    test='test-{language}.tsv',
  )
  assert lines[0].startswith(
    'LEAK: 2 of 3 examples of dev (66.7%) are trained on, 1 exactly and 1 but '
    f'for case and spaces: {folder}/leak.tsv:3 = {folder}/train.tsv:'
  )
  assert lines[1].startswith(
    'LEAK: 1 of 2 examples of test (50.0%) are trained on, 1 exactly and 0 but '
    f'for case and spaces: {folder}/test-xx.tsv:3 = {folder}/train.tsv:'
  )
  assert len(lines) == 2
  with pytest.raises(ValueError, match='no file matches'):
    build(given, tmp_path, capsys, test='tset-{language}.tsv')


def test_a_benchmarks_test_files_are_compared(tmp_path, given, capsys):
  """XNLI in XTREME's form, whose test files have no labels."""
  folder = tmp_path / 'xnli'
  folder.mkdir()
  labels = ('contradiction', 'entailment', 'neutral')
  for split, count in (('train', 12), ('dev', 6), ('test', 6)):
    name = 'cat' if split == 'test' else split
    rows = [f'red {name} {i}\ta {i}' for i in range(count)]
    if split == 'train':
      rows[3] = 'Red cat 2\ta 2'
    if split != 'test':
      rows = [f'{row}\t{labels[i % 3]}' for i, row in enumerate(rows)]
    text = ''.join(f'{row}\n' for row in rows)
    (folder / f'{split}-en.tsv').write_text(text)
  config = finetune.get_config('task=xnli,model=tiny')
  config.data_dir = str(folder)
  config.tokenizer = given[finetune]['tokenizer']
  train.build_job(config.lock(), tmp_path, MESH)
  lines = capsys.readouterr().out.splitlines()
  assert lines[0] == 'train shares no example with dev (6)'
  assert lines[1].startswith('LEAK: 1 of 6 examples of test (16.7%)')
  assert lines[1].endswith(
    f"{folder}/test-en.tsv:3 = {folder}/train-en.tsv:4 'red cat 2 a 2'"
  )
  (folder / 'test-en.tsv').write_text('a\tb\tc\td\n')
  train.build_job(config, tmp_path, MESH)
  lines = capsys.readouterr().out.splitlines()
  assert lines[1].startswith('train is not compared with test: ')
