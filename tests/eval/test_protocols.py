"""Protocols: who is trained on what, chosen by what and tested on what."""

import json
import os
import pathlib
import signal
import subprocess
import sys
import threading
import time

from absl import flags
from ml_collections import config_flags
import numpy as np
import pytest
from suite_runs import ROOT, config_of
from tagging_runs import recipe, sentences, write
from tagging_runs import words_tokenizer as words_tokenizer

from configs import xtreme as suite_recipe
import xlmr_jax
from xlmr_jax import train
from xlmr_jax.data import files
from xlmr_jax.data.readers import nli, tagged, xtreme_questions
from xlmr_jax.eval import evaluate
from xlmr_jax.eval.benchmarks import table as benchmarks
from xlmr_jax.eval.suite import evaluation, protocols, suite, summary, trainings
from xlmr_jax.runtime import sharding
from xlmr_jax.training import training_data

MESH = sharding.make_mesh()
WORDS = 'man house cat red sees the no .'.split()
LABELS = ('contradiction', 'entailment', 'neutral')


def pairs(count, seed):
  """Rows of an NLI file: two texts and a label."""
  rng = np.random.default_rng(seed)
  text = lambda: ' '.join(rng.choice(WORDS, rng.integers(2, 5)))
  return [(text(), text(), LABELS[i % 3]) for i in range(count)]


def table(path, made, header=''):
  path.parent.mkdir(parents=True, exist_ok=True)
  lines = ['\t'.join(row) for row in made]
  path.write_text('\n'.join([header, *lines] if header else lines) + '\n')


def questions(path, *ids):
  """A file of SQuAD's form, a question an id."""
  path.parent.mkdir(parents=True, exist_ok=True)
  answer = {'text': 'cat', 'answer_start': 8}
  qas = [{'id': i, 'question': 'the man', 'answers': [answer]} for i in ids]
  paragraph = {'context': 'the red cat sees', 'qas': qas}
  text = json.dumps({'data': [{'paragraphs': [paragraph]}]})
  path.write_text(text)


HEAD = 'premise\thypo\tlabel'
MT = 'XNLI-MT-1.0/multinli/multinli.train'


@pytest.fixture(scope='module')
def data(tmp_path_factory):
  """XNLI with translations into de and sw, UDPOS of three languages, QA."""
  folder = tmp_path_factory.mktemp('xtreme')
  for seed, language in enumerate(('en', 'de', 'sw')):
    table(folder / f'xnli/{MT}.{language}.tsv', pairs(24, seed), HEAD)
  for seed, language in enumerate(('en', 'de', 'sw', 'ur')):
    table(folder / f'xnli/dev-{language}.tsv', pairs(6, 10 + seed))
    table(folder / f'xnli/test-{language}.tsv', pairs(6, 20 + seed))
  (folder / 'udpos').mkdir()
  for seed, (language, splits) in enumerate(
    {
      'en': ('train', 'dev', 'test'),
      'de': ('train', 'dev', 'test'),
      'mr': ('train', 'test'),
      'af': ('dev', 'test'),
    }.items()
  ):
    for part, split in enumerate(splits):
      made = sentences(40, 10 * seed + part)
      write(folder / 'udpos' / f'{split}-{language}.tsv', made)
  questions(folder / 'squad/train-v1.1.json', 'a')
  questions(folder / 'squad/dev-v1.1.json', 'b')
  questions(folder / 'squad/squad.translate.train.en-de.json', 'c')
  for language in ('en', 'de'):
    questions(folder / f'xquad/xquad.{language}.json', f'x-{language}')
    name = f'test-context-{language}-question-{language}.json'
    questions(folder / 'mlqa' / name, f'm-{language}')
  for language in ('en', 'ko'):
    stem = f'tydiqa/tydiqa.goldp.{language}'
    questions(folder / f'{stem}.train.json', f'{language}-1', f'{language}-2')
    questions(folder / f'{stem}.dev.json', f'{language}-3')
  return folder


def recipe_of(data, vocabulary, task, **changes):
  argument = f'task={task},model=tiny'
  return recipe(data / task, vocabulary, argument, **changes)


def fingerprint(config, tmp_path):
  return train.build_job(config, tmp_path, MESH).fingerprint


# ── Readers ───────────────────────────────────────────────────────────────


def test_translations_of_xnli(tmp_path):
  """Official ones, XTREME's, and files in XTREME's form, which go first."""
  row = ('the "man', 'a house', 'contradictory')
  read = lambda split='translate-train': [
    (e.texts, e.label) for e in nli.xnli(tmp_path, split, 'sw')
  ]
  theirs = ('no man', 'no house', *row)
  table(tmp_path / 'en-sw-translated.tsv', [theirs, theirs])
  assert read() == [(row[:2], 'contradiction')] * 2
  table(tmp_path / 'en-sw-translated.tsv', [theirs, theirs[1:]])
  with pytest.raises(ValueError, match=r'translated.tsv:2: 4 columns, exp.* 5'):
    read()
  table(tmp_path / f'{MT}.sw.tsv', [row], HEAD)
  assert read() == [(row[:2], 'contradiction')]
  table(tmp_path / 'train-sw.tsv', [('"a ""b"""', 'c', 'neutral')])
  assert read() == [(('a "b"', 'c'), 'neutral')]
  # It was not written in that language.
  with pytest.raises(files.Missing, match="for 'sw'.*the split 'translate-tr"):
    read('train')
  with pytest.raises(files.Missing, match='looked for.*multinli.train.fr.tsv'):
    nli.xnli(tmp_path, 'translate-train', 'fr')


def test_translations_of_pawsx(tmp_path):
  table(
    tmp_path / 'x-final/ja/translated_train.tsv',
    [('1', 'a', 'NS', '1')],
    'id\tsentence1\tsentence2\tlabel',
  )
  got = nli.pawsx(tmp_path, 'translate-train', 'ja')
  assert [(e.texts, e.label) for e in got] == [(('a', 'NS'), '1')]
  with pytest.raises(files.Missing, match="no PAWS-X train file for 'ja'"):
    nli.pawsx(tmp_path, 'train', 'ja')
  with pytest.raises(files.Missing, match='translated_train.tsv'):
    nli.pawsx(tmp_path, 'translate-train', 'ko')


def test_translations_of_questions(data):
  for read, task in (
    (xtreme_questions.xquad, 'xquad'),
    (xtreme_questions.mlqa, 'mlqa'),
  ):
    (got,) = read(data / task, 'translate-train', 'de')
    assert got.id == 'c'
    with pytest.raises(files.Missing, match="no SQuAD train file for 'de': wh"):
      read(data / task, 'train', 'de')
    with pytest.raises(
      files.Missing, match=r'squad.translate.train.en-zh.json'
    ):
      read(data / task, 'translate-train', 'zh')
  with pytest.raises(files.Missing, match='tydiqa.translate.train.en-ko.json'):
    xtreme_questions.tydiqa(data / 'tydiqa', 'translate-train', 'ko')


def test_tags_are_not_translated(data):
  with pytest.raises(files.Missing, match='have no machine translation'):
    tagged.xtreme(data / 'udpos', 'translate-train', 'de')


# ── What a fine-tuning reads ──────────────────────────────────────────────


def test_a_draw():
  """Some, once each, in order; another seed or language, others."""
  items = list(range(1000))
  one = training_data.draw(items, 100, 0, 'de')
  assert len(set(one)) == 100 and one == sorted(one)
  assert one == training_data.draw(items, 100, 0, 'de')
  assert set(one) < set(training_data.draw(items, 300, 0, 'de'))
  for other in ((1, 'de'), (0, 'fr')):
    assert len(set(one) & set(training_data.draw(items, 100, *other))) < 30
  assert training_data.draw(items, 0, 0, 'de') == items
  assert training_data.draw(items, 1000, 0, 'de') == items
  assert training_data.draw(items, 2000, 0, 'de') == items
  # Each of them as often as any other: 2,000 draws of 20, so 200 of each on
  # average, with a deviation of 13.4.
  counts = np.zeros(200)
  for seed in range(2000):
    counts[training_data.draw(items[:200], 20, seed, 'de')] += 1
  assert 140 < counts.min() and counts.max() < 260
  # Between versions and machines too.
  assert training_data.draw(items, 5, 0, 'de') == [154, 317, 704, 730, 839]


def test_few_examples_of_two_languages(data, words_tokenizer, tmp_path):
  """The run is that of a file which holds just the drawn sentences."""
  few = dict(train_languages=('de', 'mr'), train_examples=7, seed=3)
  config = recipe_of(data, words_tokenizer, 'udpos', **few)
  drawn = training_data.read_training(config, training_data.tasks_of(config)[0])
  whole = {n: tagged.xtreme(data / 'udpos', 'train', n) for n in drawn}
  assert [len(part) for part in drawn.values()] == [7, 7]
  assert all(set(part) < set(whole[n]) for n, part in drawn.items())
  for language, part in drawn.items():
    made = [(s.words, s.label) for s in part]
    write(tmp_path / f'train-{language}.tsv', made)
  write(tmp_path / 'dev-en.tsv', sentences(8, 1))
  found = fingerprint(config, tmp_path)
  alone = dict(data_dir=str(tmp_path), train_languages=('de', 'mr'), seed=3)
  assert found == fingerprint(
    recipe_of(data, words_tokenizer, 'udpos', **alone), tmp_path
  )
  # What is drawn does not depend on the order, nor on the other language.
  for languages in (('mr', 'de'), ('mr',)):
    config.unlock()
    config.train_languages = languages
    again = training_data.read_training(
      config, training_data.tasks_of(config)[0]
    )
    assert list(again) == list(languages)
    assert all(again[n] == drawn[n] for n in languages)
  others = [few | {'seed': 4}, few | {'train_examples': 8}]
  for changes in others:
    other = recipe_of(data, words_tokenizer, 'udpos', **changes)
    assert found != fingerprint(other, tmp_path)


def test_english_is_not_translated(data, words_tokenizer, tmp_path):
  """Even where somebody has put a file of that name."""
  table(tmp_path / 'dev-en.tsv', pairs(6, 0))
  rows = {n: pairs(9, seed) for seed, n in enumerate(('en', 'de'))}
  for language, made in rows.items():
    table(tmp_path / f'multinli.train.{language}.tsv', made, HEAD)
  given = dict(
    data_dir=str(tmp_path),
    train_languages=('en', 'de'),
    train_split='translate-train',
  )
  config = recipe_of(data, words_tokenizer, 'xnli', **given)
  both = fingerprint(config, tmp_path)
  table(tmp_path / 'train-en.tsv', rows['en'] + rows['de'])
  one = given | {'train_languages': ('en',)}
  config = recipe_of(data, words_tokenizer, 'xnli', **one)
  assert both == fingerprint(config, tmp_path)
  for name in ('goldp.en.train', 'translate.train.en-en'):
    questions(tmp_path / f'tydiqa.{name}.json', name)
  questions(tmp_path / 'tydiqa.translate.train.en-ko.json', 'ko')
  given['train_languages'] = ('ko', 'en')
  config = recipe_of(data, words_tokenizer, 'tydiqa', **given)
  got = training_data.read_training(config, training_data.tasks_of(config)[0])
  ids = {n: [q.id for q in part] for n, part in got.items()}
  assert ids == {'ko': ['ko'], 'en': ['goldp.en.train']}


@pytest.mark.parametrize(
  'changes, message',
  [
    ({'train_languages': ()}, 'train_languages=(): name at least one language'),
    ({'train_languages': ('de', 'de')}, 'each of them once'),
    ({'train_split': 'test'}, "train_split='test' is not one of train, trans"),
    ({'train_examples': -1}, 'train_examples=-1 is negative; 0 takes all'),
    ({'train_languages': ('af',)}, "no train file of tagged sentences for 'af"),
    (
      {'train_languages': ('de',), 'train_split': 'translate-train'},
      'tagged sentences have no machine translation',
    ),
  ],
)
def test_what_cannot_be_trained_on(
  data, words_tokenizer, tmp_path, changes, message
):
  config = recipe_of(data, words_tokenizer, 'udpos', **changes)
  with pytest.raises(ValueError) as error:
    train.build_job(config, tmp_path, MESH)
  assert message in str(error.value) and '\n' not in str(error.value)


# ── What a benchmark asks for ─────────────────────────────────────────────


def config_for(data, vocabulary, protocol, tasks, **more):
  return config_of(
    data,
    vocabulary,
    **{
      'protocol': protocol,
      'tasks': tasks,
      'languages': (),
      'settings': config_of(data, vocabulary).settings[:-3],
      'retrieve_with': '',
      **more,
    },
  )


def test_needs(data, words_tokenizer):
  """(evaluation, run) of each protocol."""

  def wanted(protocol, *tasks, **more):
    config = config_for(data, words_tokenizer, protocol, tasks, **more)
    return [(need.name, need.run) for need in suite.needs(config)]

  assert wanted('zero-shot', 'xnli', 'xquad', seeds=2) == [
    ('xnli-0', 'xnli-0'),
    ('xnli-1', 'xnli-1'),
    ('xquad-0', 'squad-0'),
    ('xquad-1', 'squad-1'),
  ]
  assert wanted('translate-train-all', 'xnli', 'xquad', 'mlqa', 'tatoeba') == [
    ('xnli-0', 'xnli-all-0'),
    ('xquad-0', 'squad-all-0'),
    ('mlqa-0', 'squad-all-0'),
    ('tatoeba-0', ''),
  ]
  for protocol in ('translate-train', 'few-shot'):
    got = wanted(protocol, 'mlqa', 'tatoeba', seeds=2, retrieve_with='squad')
    languages = 'en es de ar hi vi zh'.split()
    assert got[:7] == [
      (f'mlqa-{n}-0', 'squad-0' if n == 'en' else f'squad-{n}-0')
      for n in languages
    ]
    assert got[7:] == [
      *((name[:-1] + '1', run[:-1] + '1') for name, run in got[:7]),
      ('tatoeba-0', 'squad-0'),
      ('tatoeba-1', 'squad-1'),
    ]


def trainable(config, tmp_path, name, *tested):
  task = benchmarks.tasks()[name]
  return protocols.training(config, task, tested, tmp_path)


def test_what_can_be_trained_on(data, words_tokenizer, tmp_path):
  """And what is missing, with where it was looked for."""
  give = lambda protocol, **more: config_for(
    data, words_tokenizer, protocol, ('xnli',), **more
  )
  found = trainable(
    give('translate-train'), tmp_path, 'xnli', 'de', 'en', 'sw', 'ur'
  )
  assert found.languages == ('de', 'en', 'sw') and not found.broken
  (text,) = found.missing
  assert text.startswith('xnli ur, to train on: no XNLI translate-train file')
  assert str(data / 'xnli' / f'{MT}.ur.tsv') in text
  # All of them, whichever are tested; English first.
  found = trainable(give('translate-train-all'), tmp_path, 'xnli', 'de')
  assert found.languages == ('en', 'de', 'sw')
  assert found.missing[0].startswith('xnli ar bg el es fr hi ru th tr ur vi zh')
  found = trainable(give('translate-train-all'), tmp_path, 'mlqa', 'de')
  assert found.languages == ('en', 'de')
  assert found.missing[0].startswith('squad es el ru tr ar vi th zh hi, to')
  # Nobody translates tags, and English alone is another protocol.
  for protocol in ('translate-train', 'translate-train-all'):
    found = trainable(give(protocol), tmp_path, 'udpos', 'de', 'en')
    assert found.languages == ()
    assert 'tagged sentences have no machine translation' in found.missing[0]
  found = trainable(give('translate-train'), tmp_path, 'udpos', 'en')
  assert found.languages == ('en',)  # no more was asked for
  found = trainable(give('few-shot'), tmp_path, 'udpos', 'af', 'de', 'en')
  assert found.languages == ('de', 'en')
  assert "file of tagged sentences for 'af'" in found.missing[0]
  for name in ('xnli', 'mlqa'):  # what there is, is translated
    found = trainable(give('few-shot'), tmp_path, name, 'de', 'en')
    assert found.languages == () and "'translate-train'" in found.missing[0]
  found = trainable(give('few-shot'), tmp_path, 'tydiqa', 'en', 'ko', 'sw')
  assert found.languages == ('en', 'ko')


def test_what_is_broken_and_what_is_begun(data, words_tokenizer, tmp_path):
  config = config_for(data, words_tokenizer, 'few-shot', ('udpos',))
  config.data_dir = str(tmp_path)
  (tmp_path / 'udpos').mkdir()
  (tmp_path / 'udpos' / 'train-de.tsv').write_text('the\tDET\tx\n')
  found = trainable(config, tmp_path, 'udpos', 'de')
  assert found.languages == () and not found.missing
  assert 'udpos de, to train on: ' in found.broken[0]
  assert 'train-de.tsv:1: 3 columns' in found.broken[0]
  # A run that is under way has read it, and is not asked again.
  folder = tmp_path / 'runs' / 'udpos-de-4'
  folder.mkdir(parents=True)
  facts = {'task': 'udpos', 'train_languages': ['de']}
  (folder / 'config.json').write_text(json.dumps(facts))
  assert trainable(config, tmp_path, 'udpos', 'de').languages == ('de',)


def told(config, tmp_path, name, language='en'):
  """What the command line of a task's fine-tuning comes to, as a config."""
  (need,) = [n for n in suite.needs(config) if n.language in ('', language)]
  there = evaluation._read(config, need.task, 'test')
  found = trainable(config, tmp_path, name, *there.examples)
  settings = protocols.settings(config, need, found.languages, there.examples)
  words = trainings.train_command(
    config, need, settings, tmp_path / need.run, 1
  )
  values = flags.FlagValues()
  config_flags.DEFINE_config_file('config', None, flag_values=values)
  argv = ['train', *(word for word in words if word.startswith('--config'))]
  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(sys, 'argv', argv)  # where config_flags looks for settings
    values(argv)
  return values.config


def test_translate_train(data, words_tokenizer, tmp_path):
  """A language's translation, chosen on English dev."""
  config = config_for(data, words_tokenizer, 'translate-train', ('xnli',))
  got = told(config, tmp_path, 'xnli', 'sw')
  assert (got.task, got.train_split) == ('xnli', 'translate-train')
  assert (got.train_languages, got.dev_languages) == (('sw',), ('en',))
  table(tmp_path / 'train-en.tsv', pairs(24, 2))  # as the file of sw
  table(tmp_path / 'dev-en.tsv', pairs(6, 10))
  plain = dict(data_dir=str(tmp_path), train_languages=('en',))
  expected = recipe_of(data, words_tokenizer, 'xnli', **plain)
  assert fingerprint(got, tmp_path) == fingerprint(expected, tmp_path)
  got = told(config, tmp_path, 'xnli', 'en')
  assert (got.train_languages, got.train_split) == (('en',), 'train')


def test_translate_train_all(data, words_tokenizer, tmp_path):
  config = config_for(data, words_tokenizer, 'translate-train-all', ('xnli',))
  got = told(config, tmp_path, 'xnli')
  assert got.train_languages == ('en', 'de', 'sw')
  assert got.dev_languages == ('en',)
  rows = [row for seed in range(3) for row in pairs(24, seed)]
  table(tmp_path / 'train-en.tsv', rows)
  table(tmp_path / 'dev-en.tsv', pairs(6, 10))
  plain = dict(data_dir=str(tmp_path), train_languages=('en',))
  expected = recipe_of(data, words_tokenizer, 'xnli', **plain)
  assert fingerprint(got, tmp_path) == fingerprint(expected, tmp_path)


def test_few_shot_chooses_by_what_is_not_tested(
  data, words_tokenizer, tmp_path
):
  give = lambda *tasks, **more: config_for(
    data, words_tokenizer, 'few-shot', tasks, shots=7, **more
  )
  got = told(give('udpos', seeds=1), tmp_path, 'udpos', 'de')
  assert (got.train_languages, got.train_split) == (('de',), 'train')
  assert (got.train_examples, got.seed) == (7, 0)
  assert got.dev_languages == ('de',)
  # There is no dev file of it.
  assert told(give('udpos'), tmp_path, 'udpos', 'mr').dev_languages == ('en',)
  # It is what is tested: TyDi QA's always, another's with split=dev.
  assert told(give('tydiqa'), tmp_path, 'tydiqa', 'ko').dev_languages == ('en',)
  config = give('udpos', split='dev')
  need = next(n for n in suite.needs(config) if n.language == 'de')
  tested = evaluation._read(config, need.task, 'dev').examples
  settings = protocols.settings(config, need, ('de', 'en'), tested)
  assert settings['dev_languages'] == ('en',)
  # English has all of its data.
  got = told(give('udpos'), tmp_path, 'udpos', 'en')
  assert (got.train_languages, got.train_examples) == (('en',), 0)


def test_only_the_same_protocol_is_compared():
  values = {'languages': {'en': 80.0, 'ur': 50.0}, 'average': 65.0}
  task = {'metric': 'accuracy', 'split': 'test', 'parts': {}, **values}
  config = suite_recipe.get_config('model=base')

  def lines(protocol, name='xnli', **more):
    results = {
      'benchmark': 'xtreme',
      'checkpoint': 'x',
      'protocol': protocol,
      'tasks': {name: task | more},
      'groups': {},
      'overall': None,
    }
    return summary.markdown(config, results)

  # Conneau et al. 2020, table 1: en 85.4, ur 73.0, 79.1 on average.
  text = lines('translate-train-all')
  assert text.startswith('# xtreme, x: translate-train-all\n')
  assert '| published | 85.4 | 73.0 | 79.1 |' in text
  assert '| difference | -5.4 | -23.0 | -14.1 |' in text
  assert '79.1' not in lines('zero-shot') and 'published' in lines('zero-shot')
  for protocol in ('translate-train', 'few-shot'):
    assert 'published' not in lines(protocol)
  # Retrieval is the same in all of them.
  config.model = 'large'
  assert 'published' in lines('few-shot', 'tatoeba', vectors={'layer': 1})


def test_languages_come_together():
  def part(language, score, note):
    values = {'languages': {language: score}, 'average': score}
    return {
      'metric': 'squad',
      **values,
      'parts': {'f1': values},
      'packing_efficiency': score,
      'split': 'test',
      'notes': [note],
    }

  one, two = part('en', 80.0, 'a'), part('de', 60.0, 'a')
  assert summary.joined([one]) == one
  both = {'languages': {'en': 80.0, 'de': 60.0}, 'average': 70.0}
  assert summary.joined([one, two]) == {
    'metric': 'squad',
    **both,
    'parts': {'f1': both},
    'packing_efficiency': 70.0,
    'split': 'test',
    'notes': ['a'],
  }
  two['languages']['de'] = None
  assert summary.joined([one, two])['average'] is None


# ── Processes ─────────────────────────────────────────────────────────────


@pytest.fixture
def heard():
  """Signals that a shell in the background made us ignore are heard."""
  before = {
    number: signal.getsignal(number) for number in trainings.Stop.SIGNALS
  }
  for number, handler in before.items():
    if handler is signal.SIG_IGN:
      signal.signal(number, signal.SIG_DFL)
  yield
  for number, handler in before.items():
    signal.signal(number, handler)


@pytest.mark.usefixtures('heard')
def test_a_signal_goes_to_the_training_first(tmp_path):
  """It ends by itself, with what it has saved, and then so do we."""
  child = """if True:
    import pathlib, signal, sys, time
    def save(*_):
      pathlib.Path('saved').write_text('')
      sys.exit(0)
    signal.signal(signal.SIGTERM, save)
    pathlib.Path('ready').write_text('')
    time.sleep(600)
  """
  ready = tmp_path / 'ready'

  def ask(number):
    while not ready.exists():
      time.sleep(0.01)
    os.kill(os.getpid(), number)

  before = signal.getsignal(signal.SIGTERM)
  code = f'import os; os.chdir({str(tmp_path)!r}); exec({child!r})'
  with open(tmp_path / 'lock', 'w') as lock:
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
      thread = threading.Thread(target=ask, args=(number,), daemon=True)
      thread.start()
      with trainings.Stop() as stop, pytest.raises(trainings.Stopped):
        stop.run([sys.executable, '-c', code], lock.fileno())
      thread.join()
      (tmp_path / 'saved').unlink()
      ready.unlink()
    with trainings.Stop() as stop:
      assert stop.run([sys.executable, '-c', 'exit(3)'], lock.fileno()) == 3
  assert signal.getsignal(signal.SIGTERM) == before
  with (
    trainings.Stop(),
    pytest.raises(trainings.Stopped),
  ):  # nothing is training
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(600)


def test_a_run_is_trained_by_one_process(data, words_tokenizer, tmp_path):
  """A training may outlive a benchmark that was killed."""
  config = config_for(data, words_tokenizer, 'few-shot', ('udpos',))
  need = next(n for n in suite.needs(config) if n.language == 'de')
  folder = tmp_path / 'runs' / need.run
  folder.parent.mkdir()
  with trainings._alone(folder, suite.ALONE) as held:
    other = subprocess.Popen(
      [sys.executable, '-c', 'import time; time.sleep(600)'], pass_fds=(held,)
    )
  try:
    with pytest.raises(ValueError, match='another process is training in'):
      trainings.train(
        config, need, {}, tmp_path, None, lambda _: None, suite.ALONE
      )
  finally:
    other.kill()
    other.wait()
  with trainings._alone(folder, suite.ALONE):
    pass


def test_a_finished_run_of_fewer_languages(
  data, words_tokenizer, tmp_path, monkeypatch
):
  config = config_for(data, words_tokenizer, 'translate-train-all', ('xnli',))
  (need,) = suite.needs(config)
  folder = tmp_path / 'runs' / need.run
  folder.mkdir(parents=True)
  facts = {'task': 'xnli', 'train_languages': ['en', 'de']}
  (folder / 'config.json').write_text(json.dumps(facts))
  monkeypatch.setattr(trainings, 'finished', lambda _: True)
  train = lambda *languages: trainings.train(
    config,
    need,
    {'train_languages': languages},
    tmp_path,
    None,
    lambda _: None,
    suite.ALONE,
  )
  assert train('en', 'de') == folder
  with pytest.raises(
    ValueError, match='on en de, and now .* of en de sw: take'
  ):
    train('en', 'de', 'sw')


def few_shot(data, vocabulary):
  config = config_for(data, vocabulary, 'few-shot', ('udpos',), shots=16)
  config.languages = ('en', 'de', 'af')
  config.recipe = 'configs/finetune.py'
  config.settings = (*config.settings, 'steps=40', 'log_every=1')
  config.settings = (*config.settings, 'save_every=0', 'progress=False')
  return config


@pytest.fixture(scope='module')
def stopped(data, words_tokenizer, tmp_path_factory):
  """(folder, exit code, output) of few-shot, stopped while it trains.

  It was started in that folder, which is not the repository's.
  """
  folder = tmp_path_factory.mktemp('elsewhere')
  config = few_shot(data, words_tokenizer)
  given = suite_recipe.get_config('model=tiny').to_dict()
  words = [
    f'--config.{name}={value}'
    for name, value in config.to_dict().items()
    if given[name] != value and name not in ('benchmark', 'model')
  ]
  process = subprocess.Popen(
    [
      *(sys.executable, '-m', 'xlmr_jax.eval', '--workdir=run'),
      f'--config={ROOT}/configs/xtreme.py:model=tiny',
      *words,
    ],
    cwd=folder,
    env={**os.environ, 'PYTHONPATH': str(ROOT)},
    stdout=subprocess.PIPE,
    stderr=subprocess.STDOUT,
    text=True,
  )
  log = folder / 'run/runs/udpos-de-0/metrics.jsonl'
  try:
    deadline = time.monotonic() + 240
    while process.poll() is None and time.monotonic() < deadline:
      if log.exists() and '"step": 1,' in log.read_text():
        process.send_signal(signal.SIGTERM)
        break
      time.sleep(0.002)
    output, _ = process.communicate(timeout=240)
  finally:
    process.kill()
  return folder, process.returncode, output


def test_stopped_with_a_sentence(stopped):
  folder, code, output = stopped
  assert code == 130, output
  assert 'stopped: run has what is done; the same command goes on' in output
  assert 'error' not in output and 'Traceback' not in output
  assert any((folder / 'run/runs/udpos-de-0/checkpoints').iterdir())
  assert not (folder / 'run' / 'results.json').exists()


@pytest.fixture(scope='module')
def done(stopped, data, words_tokenizer):
  """(workdir, results) of the same, gone on with."""
  folder, _, _ = stopped
  config = few_shot(data, words_tokenizer)
  results = suite.run(config, folder / 'run', lambda _: None)
  return folder / 'run', results


def test_few_shot_end_to_end(done, data):
  workdir, results = done
  assert results['protocol'] == 'few-shot' and results['problems'] == []
  task = results['tasks']['udpos']
  assert list(task['languages']) == ['de', 'en']
  assert all(0 <= score <= 100 for score in task['languages'].values())
  assert task['average'] is None  # of two languages of 33
  assert set(task['parts']) == {'precision', 'recall'}
  (text,) = results['missing']
  assert text.startswith('udpos af, to train on: no train file of tagged')
  settings = {
    name: json.loads((workdir / 'runs' / name / 'config.json').read_text())
    for name in ('udpos-0', 'udpos-de-0')
  }
  own = settings['udpos-de-0']
  assert own['train_languages'] == ['de'] == own['dev_languages']
  assert own['train_examples'] == 16
  assert settings['udpos-0']['train_languages'] == ['en']
  assert settings['udpos-0']['train_examples'] == 0
  # Each language by its own model, in one folder.
  written = workdir / 'submission-0' / 'udpos'
  names = sorted(path.name for path in written.iterdir())
  assert names == ['test-de.tsv', 'test-en.tsv']
  for language in ('de', 'en'):
    name = 'udpos-0' if language == 'en' else 'udpos-de-0'
    model = xlmr_jax.load(str(workdir / 'runs' / name))
    gold = tagged.xtreme(data / 'udpos', 'test', language)
    row = benchmarks.tasks()['udpos']
    found = evaluate.evaluate(model, row, {language: gold})
    assert found.scores[language] == task['languages'][language]
    text = (written / f'test-{language}.tsv').read_text()
    tags = [part.split('\n') for part in text.strip('\n').split('\n\n')]
    assert tags == [list(x) for x in found.predictions[language]]
  text = (workdir / 'tables.md').read_text()
  assert text.startswith('# xtreme, fresh: few-shot\n')


def test_it_goes_on(done, data, words_tokenizer, monkeypatch):
  """Nothing is trained again; one evaluation is, and one is not tested now."""
  workdir, results = done
  monkeypatch.setattr(trainings.Stop, 'run', None)
  config = few_shot(data, words_tokenizer)
  (workdir / 'evaluations' / 'udpos-de-0.json').unlink()
  assert suite.run(config, workdir, lambda _: None) == results
  monkeypatch.setattr(evaluation, 'loaded', None)
  assert suite.run(config, workdir, lambda _: None) == results
  config.languages = ('de',)
  few = suite.run(config, workdir, lambda _: None)
  assert list(few['tasks']['udpos']['languages']) == ['de']
  written = workdir / 'submission-0' / 'udpos'
  assert [path.name for path in written.iterdir()] == ['test-de.tsv']


def test_another_protocol_is_refused(done, data, words_tokenizer):
  workdir, _ = done
  config = few_shot(data, words_tokenizer)
  config.protocol = 'zero-shot'
  with pytest.raises(ValueError) as error:
    suite.run(config, workdir)
  assert str(error.value) == (
    f"{workdir} was begun with config.protocol='few-shot', not 'zero-shot': "
    'give it back, or take another workdir'
  )
  config = few_shot(data, words_tokenizer)
  config.shots = 17
  with pytest.raises(ValueError, match='begun with config.shots=16, not 17'):
    suite.run(config, workdir)


def test_a_workdir_that_is_a_file(data, words_tokenizer, tmp_path):
  (tmp_path / 'f').write_text('')
  config = few_shot(data, words_tokenizer)
  for name in ('f', 'f/run'):
    with pytest.raises(ValueError, match=r'workdir=.*/f is a file, not a fold'):
      suite.run(config, pathlib.Path(tmp_path / name))
