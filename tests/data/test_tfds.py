"""XTREME from tensorflow_datasets: the builders' own sources on files of ours.

No data can be downloaded here, so each builder of the installed
tensorflow_datasets is run for itself, with a download manager that gives it
files: the features, labels, splits and keys are its own.
"""

import dataclasses
import json
import os
import pathlib
import shutil
import sys
import types

from absl import flags
import numpy as np
import pytest
from tagging_runs import sentences

from configs import finetune, xtreme
from xlmr_jax.data import files
from xlmr_jax.data.readers import (
  bitext,
  choices,
  nli,
  squad,
  tagged,
  xtreme_questions,
)
from xlmr_jax.data.readers import tfds as builders
from xlmr_jax.eval import __main__ as command
from xlmr_jax.eval.benchmarks import table
from xlmr_jax.eval.suite import suite, trainings
from xlmr_jax.eval.task import read_available
from xlmr_jax.training import training_data

tfds = pytest.importorskip('tensorflow_datasets')

ROOT = pathlib.Path(__file__).resolve().parents[2]
LANGUAGES = 'ar bg de el en es fr hi ru sw th tr ur vi zh'.split()
NLI = ('contradiction', 'entailment', 'neutral')


def gfile(path, mode='r'):
  text = {} if 'b' in mode else {'encoding': 'utf-8', 'newline': '\n'}
  return open(path, mode, **text)


TF = types.SimpleNamespace(  # what these builders take of TensorFlow
  io=types.SimpleNamespace(
    gfile=types.SimpleNamespace(GFile=gfile, listdir=os.listdir)
  ),
  int32=np.int32,
)


def prepare(root, kind, local, config=None):
  """Lets a builder prepare itself from the files that `local` gives for URLs.

  Splits whose file is None are left out.
  """

  def get(urls):
    if isinstance(urls, dict):
      return {key: local(url) for key, url in urls.items()}
    return local(urls)

  manager = types.SimpleNamespace(
    download_and_extract=get,
    extract=get,
    downloaded_size=0,
    manual_dir=None,
    download_dir=None,
  )
  with pytest.MonkeyPatch.context() as patch:
    module = sys.modules[kind.__module__]
    if hasattr(module, 'tf'):
      patch.setattr(module, 'tf', TF)
    builder = kind(data_dir=root, config=config, file_format='array_record')
    patch.setattr(builder, '_make_download_manager', lambda **_: manager)
    generators = builder._split_generators

    def available(*args, **kwargs):
      out = generators(*args, **kwargs)
      if isinstance(out, dict):
        return out
      gone = lambda s: None in s.gen_kwargs.values()
      return [split for split in out if not gone(split)]

    patch.setattr(builder, '_split_generators', available)
    builder.download_and_prepare()


def bare(examples):
  """Examples without where they stand."""
  return [dataclasses.replace(e, where='') for e in examples]


def by_id(questions):
  return sorted(bare(questions), key=lambda q: q.id)


def write(path, lines):
  path.parent.mkdir(parents=True, exist_ok=True)
  path.write_text(''.join(f'{line}\n' for line in lines), encoding='utf-8')
  return path


# XNLI.


def nli_rows(count, numbers=None):
  """Lines of xnli.{dev,test}.tsv: three pairs in a row share a premise."""
  head = 'language gold_label a b c d sentence1 sentence2 promptID pairID'
  rows = ['\t'.join([*head.split(), *(f'x{i}' for i in range(9))])]
  for language in LANGUAGES:
    for i in range(count):
      label = NLI[(i + i // 3) % 3]
      texts = f'"premise\u2028 {i // 3} {language}', f'{language} "hypo" {i} '
      number = numbers[i] if numbers else i + 1
      row = [language, label, '', '', '', '', *texts, i // 3 + 1, number]
      rows.append('\t'.join(map(str, [*row, *'.........'])))
  return rows


@pytest.fixture(scope='module')
def xnli_files(tmp_path_factory):
  """(folder of files, tfds' folder) of XNLI and its translations."""
  from tensorflow_datasets.text import xnli
  from tensorflow_datasets.text.xtreme_xnli import xtreme_xnli

  folder = tmp_path_factory.mktemp('xnli')
  for split, count in (('dev', 60), ('test', 150)):
    write(folder / 'XNLI-1.0' / f'xnli.{split}.tsv', nli_rows(count))
  for language in LANGUAGES:
    lines = []
    for i in range(40):
      label = ('contradictory', 'entailment', 'neutral')[i * i % 3]
      pair = f'a {i}', f'"b {i}'
      lines.append(
        '\t'.join([*pair, f'{language} {i} ', f'{language}" {i}', label])
      )
    lines.append(lines[0].replace('contradictory', 'neutral'))
    write(folder / f'en-{language}-translated.tsv', lines)
  root = folder / 'tfds'
  prepare(root, xnli.Xnli, lambda url: str(folder))
  prepare(
    root, xtreme_xnli.XtremeXnli, lambda url: str(folder / url.split('/')[-1])
  )
  return folder, f'tfds:{root}'


def test_xnli(xnli_files):
  folder, root = xnli_files
  for split in ('dev', 'test'):
    for language in LANGUAGES:
      got = builders.read('xnli', root, split, language)
      assert bare(got) == bare(nli.xnli(folder, split, language))
  assert 'xnli/1.1.0:test[' in got[0].where
  places = [int(e.where.split('[')[1][:-1]) for e in got]
  assert sorted(places) == list(range(150)) != places
  # MultiNLI's translations; a pair that stands twice in English is one.
  for language in ('de', 'zh'):
    got = builders.read('xnli', root, 'translate-train', language)
    want = bare(nli.xnli(folder, 'translate-train', language))
    assert want[-1].label == 'neutral' and want[0].texts == want[-1].texts
    assert bare(got) == want[:-1]
  got = builders.read('xnli', root, 'train', 'en')
  assert [e.texts for e in got] == [(f'a {i}', f'"b {i}') for i in range(40)]
  assert [e.label for e in got] == [NLI[i * i % 3] for i in range(40)]
  with pytest.raises(files.Missing, match='machine-translated'):
    builders.read('xnli', root, 'train', 'de')


def test_pairs_that_are_numbered_otherwise(tmp_path):
  from tensorflow_datasets.text import xnli

  numbers = list(range(30, 0, -1))
  numbers[4], numbers[20] = numbers[20], numbers[4]
  for split in ('dev', 'test'):
    lines = nli_rows(30, numbers)
    write(tmp_path / 'XNLI-1.0' / f'xnli.{split}.tsv', lines)
  prepare(tmp_path / 'tfds', xnli.Xnli, lambda url: str(tmp_path))
  with pytest.warns(UserWarning, match='lines of a submission would be others'):
    got = builders.read('xnli', f'tfds:{tmp_path}/tfds', 'test', 'sw')
  want = bare(nli.xnli(tmp_path, 'test', 'sw'))
  assert sorted(bare(got), key=repr) == sorted(want, key=repr)


# The others.


def wikiann_files(folder, language, parts):
  """wikiann's files: a language before each word."""
  for split, tagged_sentences in parts.items():
    lines = []
    for words, tags in tagged_sentences:
      both = zip(words, tags, strict=True)
      lines += [*(f'{language}:{word}\t{tag}' for word, tag in both), '']
    write(folder / f'{language}.tar.gz' / split, lines)


def prepare_wikiann(root, folder, language):
  from tensorflow_datasets.text.wikiann import wikiann

  known = lambda path: str(folder) if '://' in path else path
  prepare(root, wikiann.Wikiann, known, language)


def test_panx(tmp_path):
  names = ('B-PER', 'I-PER', 'B-ORG', 'I-ORG', 'B-LOC', 'I-LOC', 'O')
  parts = {}
  for split, count in (('train', 90), ('dev', 50), ('test', 70)):
    parts[split] = [
      (
        [f'{split}{i}', 'a:b', '\u200f', '"', *(["""x"""] * (i % 3))],
        [names[(i + j) % 7] for j in range(4 + i % 3)],
      )
      for i in range(count)
    ]
    lines = []
    for words, tags in parts[split]:
      lines += [*(f'{w}\t{t}' for w, t in zip(words, tags, strict=True)), '']
    write(tmp_path / 'panx' / f'{split}-de.tsv', lines)
  wikiann_files(tmp_path / 'raw', 'de', parts)
  prepare_wikiann(tmp_path / 'tfds', tmp_path / 'raw', 'de')
  root = f'tfds:{tmp_path}/tfds'
  for split in parts:
    got = builders.read('panx', root, split, 'de')
    assert bare(got) == bare(tagged.xtreme(tmp_path / 'panx', split, 'de'))
  assert 'wikiann/de/1.0.0:test[' in got[0].where
  with pytest.raises(files.Missing, match='no machine translation'):
    builders.read('panx', root, 'translate-train', 'de')


def passages(seed, prefix='', blank=False):
  """A file of questions: more answers than one, and some that are repeated."""
  data = []
  for i in range(seed, seed + 9):
    context = f'  Été {i}: the "answer" is {i * 7}, it is.\n {seed}'
    texts = ('answer', f'{i * 7}', 'is')
    answers = [
      {'text': t, 'answer_start': context.index(t)} for t in texts[: i % 3 + 1]
    ]
    if blank:
      answers = [{'text': '', 'answer_start': 0}]
    item = {'id': f'{prefix}{i:x}', 'question': f'q{i}?', 'answers': answers}
    data.append({'paragraphs': [{'context': context, 'qas': [item]}]})
  return json.dumps({'version': '1', 'data': data})


def write_questions(path, *args, **more):
  return write(path, [passages(*args, **more)])


@pytest.fixture(scope='module')
def questions(tmp_path_factory):
  """(folder of files, tfds' folder) of SQuAD, XQuAD, MLQA and TyDi QA."""
  from tensorflow_datasets.datasets.mlqa import mlqa_dataset_builder as mlqa
  from tensorflow_datasets.datasets.squad import squad_dataset_builder
  from tensorflow_datasets.question_answering import tydi_qa, xquad

  folder = tmp_path_factory.mktemp('qa')
  root = folder / 'tfds'
  flat = folder / 'flat'
  for n, name in enumerate(
    (
      'train-v1.1.json',
      'dev-v1.1.json',
      'xquad.de.json',
      'squad.translate.train.en-de.json',
      'squad.translate.dev.en-de.json',
      'xquad.translate.test.de-en.json',
    )
  ):
    write_questions(flat / name, 20 * n)
  for n, split in enumerate(('dev', 'test')):
    name = f'{split}-context-de-question-de.json'
    write_questions(flat / 'MLQA_V1' / split / name, 200 + 20 * n)
  train = json.loads(passages(300, 'german-'))
  for n, name in enumerate(xtreme_questions.TYDIQA.values()):
    train['data'] += json.loads(passages(400 + 20 * n, f'{name}-'))['data']
    at = folder / 'dev' / 'tydiqa-goldp-v1.1-dev'
    write_questions(at / f'tydiqa-goldp-dev-{name}.json', 600 + 20 * n)
    shutil.copy(at / f'tydiqa-goldp-dev-{name}.json', flat)
  write(flat / 'tydiqa-goldp-v1.1-train.json', [json.dumps(train)])
  write_questions(flat / 'tydiqa-goldp-v1.1-dev.json', 900)
  for language in xtreme_questions.TYDIQA:
    name = f'tydiqa.translate.train.en-{language}.json'
    write_questions(flat / name, 1000)
  special = {'MLQA_V1.zip': flat, 'tydiqa-goldp-v1.1-dev.tgz': folder / 'dev'}
  local = lambda url: str(special.get(name := url.split('/')[-1], flat / name))
  prepare(root, squad_dataset_builder.Builder, local, 'v1.1')
  prepare(root, xquad.Xquad, local, 'de')
  prepare(root, mlqa.Builder, local, 'de')
  prepare(root, tydi_qa.TydiQA, local, 'goldp')
  return flat, f'tfds:{root}'


@pytest.mark.parametrize(
  ('task', 'raw', 'language', 'splits'),
  [
    ('xquad', xtreme_questions.xquad, 'de', ('test', 'dev', 'translate-train')),
    (
      'xquad',
      xtreme_questions.xquad,
      'en',
      ('train', 'dev', 'translate-train'),
    ),
    ('mlqa', xtreme_questions.mlqa, 'de', ('test', 'dev', 'translate-train')),
    ('mlqa', xtreme_questions.mlqa, 'en', ('train',)),
    ('tydiqa', xtreme_questions.tydiqa, 'fi', ('train', 'dev', 'test')),
    ('tydiqa', xtreme_questions.tydiqa, 'fi', ('translate-train',)),
    ('tydiqa', xtreme_questions.tydiqa, 'en', ('train', 'dev', 'test')),
  ],
)
def test_questions(questions, task, raw, language, splits):
  folder, root = questions
  for split in splits:
    got = builders.read(task, root, split, language)
    assert len(got) == 9 and max(len(q.label) for q in got) == 3
    assert by_id(got) == by_id(raw(folder, split, language))


def test_questions_that_are_not_there(questions, tmp_path):
  _, root = questions
  for task, split, language in (
    ('xquad', 'train', 'de'),
    ('mlqa', 'train', 'de'),
    ('xquad', 'test', 'ro'),
    ('tydiqa', 'translate-train', 'en'),
    ('tydiqa', 'test', 'de'),
  ):
    with pytest.raises(files.Missing):
      builders.read(task, root, split, language)
  with pytest.raises(ValueError, match="split 'all'; there are train"):
    builders.read('xquad', root, 'all', 'de')


def test_answers_that_stand_elsewhere(tmp_path):
  """Among them those of questions that share an id, as XTREME leaves some."""
  from tensorflow_datasets.question_answering import xquad

  raw = json.loads(passages(30))
  for i in (3, 5):
    raw['data'][i]['paragraphs'][0]['qas'][0]['id'] = 'one'
  write(tmp_path / 'bad.json', [json.dumps(raw)])
  write_questions(tmp_path / 'blank.json', 5, blank=True)
  local = lambda url: str(
    tmp_path / ('bad.json' if 'xquad.de' in url else 'blank.json')
  )
  prepare(tmp_path / 'tfds', xquad.Xquad, local, 'de')
  root = f'tfds:{tmp_path}/tfds'
  with pytest.raises(ValueError, match=r'xquad/de:test: \d answers do not st'):
    builders.read('xquad', root, 'test', 'de')
  got = builders.read('xquad', root, 'translate-train', 'de')
  assert [q.label for q in got] == [None] * 9  # a text is taken out


def prepare_tatoeba(root, folder, language):
  from tensorflow_datasets.datasets.tatoeba import tatoeba_dataset_builder

  local = lambda url: str(folder / url.split('/')[-1])
  kind = tatoeba_dataset_builder.Builder
  prepare(root, kind, local, f'tatoeba_{language}')


def test_tatoeba(tmp_path):
  english = [f'{i * 37 % 80} is\u2028 "it"' for i in range(90)]  # ten twice
  write(tmp_path / 'tatoeba.deu-eng.eng', english)
  write(tmp_path / 'tatoeba.deu-eng.deu', [f' das {i}\t' for i in range(90)])
  prepare_tatoeba(tmp_path / 'tfds', tmp_path, 'de')
  root = f'tfds:{tmp_path}/tfds'
  got = builders.read('tatoeba', root, 'test', 'de')
  assert bare(got) == bare(bitext.tatoeba(tmp_path, 'test', 'de'))
  assert got[0].where.startswith(f'{tmp_path}/tfds/tatoeba/tatoeba_de/1.0.0:t')
  with pytest.raises(files.Missing, match="'uk' is in none of tfds'"):
    builders.read('tatoeba', root, 'test', 'uk')


def test_copa(tmp_path):
  from tensorflow_datasets.text import super_glue

  names = (('train', 'train'), ('val', 'val'), ('test', 'test'))
  for stem, _ in names:
    lines = []
    for i in range(40):
      item = {'premise': f'p"{i}', 'choice1': f'{i} a', 'choice2': f'{i} b'}
      item['question'] = ('cause', 'effect')[i % 2]
      if stem != 'test':
        item['label'] = i * i % 3 % 2
      lines.append(json.dumps(item | {'idx': i}))
    write(tmp_path / 'COPA' / f'{stem}.jsonl', lines)
    write(tmp_path / f'{stem}.en.jsonl', lines)
  prepare(tmp_path, super_glue.SuperGlue, lambda url: str(tmp_path), 'copa')
  for split in ('train', 'dev', 'test'):
    got = builders.read('xcopa', f'tfds:{tmp_path}', split, 'en')
    assert bare(got) == bare(choices.xcopa(tmp_path, split, 'en'))
  with pytest.raises(files.Missing, match='no builder of XCOPA but English'):
    builders.read('xcopa', f'tfds:{tmp_path}', 'test', 'sw')


# Real files.


def test_real_files(data_dir, tmp_path):
  from tensorflow_datasets.question_answering import xquad

  real = data_dir / 'tatoeba'
  prepare_tatoeba(tmp_path, real, 'jv')
  got = builders.read('tatoeba', f'tfds:{tmp_path}', 'test', 'jv')
  assert len(got) == 410
  assert bare(got) == bare(bitext.tatoeba(real, 'test', 'jv'))
  at = files.first([data_dir / 'xquad' / 'xquad.th.json'])
  local = lambda url: at if 'xquad.th' in url else None
  prepare(tmp_path, xquad.Xquad, local, 'th')
  got = builders.read('xquad', f'tfds:{tmp_path}', 'test', 'th')
  assert len(got) == 1190 and by_id(got) == by_id(squad.read(at))
  real = tagged.xtreme(data_dir / 'panx', 'dev', 'my')
  tagged_sentences = [(s.words, s.label) for s in real]
  parts = dict.fromkeys(('train', 'dev', 'test'), tagged_sentences)
  wikiann_files(tmp_path / 'raw', 'my', parts)
  prepare_wikiann(tmp_path, tmp_path / 'raw', 'my')
  got = builders.read('panx', f'tfds:{tmp_path}', 'dev', 'my')
  assert len(got) == 100 and bare(got) == bare(real)
  # By what XNLI's order is known again.
  for language in LANGUAGES:
    for split in ('dev', 'test'):
      examples = nli.xnli(data_dir / 'xnli', split, language)
      for i in range(0, len(examples), 3):
        assert len({e.texts[0] for e in examples[i : i + 3]}) == 1
        assert {e.label for e in examples[i : i + 3]} == set(NLI)


# What is refused, and that it is still wrong.


@pytest.mark.parametrize(
  ('task', 'language', 'reason'),
  [
    ('udpos', 'ta', 'has Tamil and Tagalog swapped .* read XTREME.s files'),
    ('bucc2018', 'zh', 'no text to mine them from: read BUCC.s files'),
    ('pawsx', 'es', r'39 of the 2,000 of Spanish dev\): read PAWS-X.s files'),
    ('lareqa', 'de', '.de. is in none of tfds. builders: read its files'),
  ],
)
def test_refusals(tmp_path, task, language, reason):
  for split in ('dev', 'test'):
    with pytest.raises(files.Missing, match=reason):
      builders.read(task, f'tfds:{tmp_path}', split, language)


def test_why_udpos_and_bucc_are_refused(tmp_path):
  from tensorflow_datasets.datasets.bucc import bucc_dataset_builder as bucc
  from tensorflow_datasets.datasets.xtreme_pos import xtreme_pos_dataset_builder

  names = xtreme_pos_dataset_builder._LANGS
  assert (names['ta'], names['tl']) == ('Tagalog', 'Tamil')
  for name, lines in {
    'zh-en.sample.zh': ['zh-1\teins', 'zh-2\tzwei'],
    'zh-en.sample.en': ['en-1\tone', 'en-2\ttwo'],
    'zh-en.sample.gold': ['zh-2\ten-1'],
  }.items():
    write(tmp_path / 'x' / name, lines)
  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(bucc, 'tf', TF)
    builder = bucc.Builder(data_dir=tmp_path / 'no', config='bucc_zh')
    out = [item for _, item in builder._generate_examples(tmp_path / 'x')]
  assert [item['source_sentence'] for item in out] == ['zwei']


def test_why_pawsx_is_refused(data_dir, tmp_path):
  from tensorflow_datasets.datasets.paws_x_wiki import (
    paws_x_wiki_dataset_builder,
  )

  want = nli.pawsx(data_dir / 'pawsx', 'dev', 'es')
  lines = ['id\tsentence1\tsentence2\tlabel']
  for i, e in enumerate(want, 1):  # as the official files have them
    lines.append('\t'.join([str(i), *e.texts, e.label]))
  path = write(tmp_path / 'dev_2k.tsv', lines)
  kind = paws_x_wiki_dataset_builder.Builder
  builder = kind(data_dir=tmp_path, config='es')
  got = dict(builder._generate_examples(path))
  assert (len(want), len(got)) == (2000, 1961)


# What is prepared, and where.


def test_what_is_not_prepared(tmp_path, questions):
  command = 'tfds build xquad/el --file_format=array_record --data_dir='
  with pytest.raises(files.Missing) as caught:
    builders.read('xquad', f'tfds:{tmp_path}/none', 'test', 'el')
  assert f'{command}{tmp_path}/none' in str(caught.value)
  assert list(tmp_path.iterdir()) == []
  # Another version is said, and not read.
  root = pathlib.Path(questions[1].removeprefix('tfds:'))
  old = tmp_path / 'xquad' / 'de' / '2.0.0'
  shutil.copytree(root / 'xquad' / 'de' / '3.0.0', old)
  with pytest.raises(files.Missing, match='has 2.0.0, not the version 3.0.0'):
    builders.read('xquad', f'tfds:{tmp_path}', 'test', 'de')
  for version in ('3.1.0', '3.0.0', '3.0.9', '4.0.0'):
    shutil.copytree(old, old.parent / version)
  got = builders.read('xquad', f'tfds:{tmp_path}', 'test', 'de')
  assert '/3.1.0:test[' in got[0].where


def test_a_format_that_needs_tensorflow(tmp_path, questions):
  root = pathlib.Path(questions[1].removeprefix('tfds:'))
  shutil.copytree(root / 'mlqa', tmp_path / 'mlqa')
  path = tmp_path / 'mlqa' / 'de' / '1.0.0' / 'dataset_info.json'
  path.write_text(path.read_text().replace('array_record', 'tfrecord'))
  with pytest.raises(
    ValueError, match='prepared as tfrecord; prepare it again'
  ):
    builders.read('mlqa', f'tfds:{tmp_path}', 'test', 'de')


def test_the_default_folder(questions, monkeypatch):
  monkeypatch.setenv('TFDS_DATA_DIR', questions[1].removeprefix('tfds:'))
  got = builders.read('mlqa', 'tfds:', 'dev', 'de')
  assert got == builders.read('mlqa', questions[1], 'dev', 'de')
  monkeypatch.delenv('TFDS_DATA_DIR')
  monkeypatch.setenv('HOME', '/nowhere')
  with pytest.raises(files.Missing, match='^/nowhere/tensorflow_datasets/mlqa'):
    builders.read('mlqa', 'tfds:', 'dev', 'de')


# Whoever reads them.


def test_the_table_reads_them(questions):
  folder, root = questions
  task = table.tasks()['mlqa']
  assert task.read(root, 'dev', 'de') == builders.read(
    'mlqa', root, 'dev', 'de'
  )
  assert task.read(str(folder), 'dev', 'de') == xtreme_questions.mlqa(
    folder, 'dev', 'de'
  )
  available = read_available(task, root, 'test', ['de', 'es'])
  assert list(available.examples) == ['de'] and not available.broken
  (missing,) = available.missing
  assert 'mlqa es: ' in missing and 'build mlqa/es' in missing
  assert builders.folder(root, 'mlqa') == root
  assert builders.folder('x/', 'mlqa') == 'x/mlqa'


@pytest.fixture(scope='module')
def benchmark(tmp_path_factory):
  """(tfds' folder of a little panx and tatoeba, the folder of the files)."""
  folder = tmp_path_factory.mktemp('benchmark')
  tagged_sentences = [
    (words, ['B-LOC' if tag == 'NOUN' else 'O' for tag in tags])
    for words, tags in sentences(40, 5)
  ]
  parts = {
    'train': tagged_sentences,
    'dev': tagged_sentences[:8],
    'test': tagged_sentences[8:20],
  }
  wikiann_files(folder / 'raw', 'en', parts)
  prepare_wikiann(folder / 'tfds', folder / 'raw', 'en')
  for name in ('deu', 'eng'):
    lines = [f'Niemand {i} sieht die rote Katze.' for i in range(12)]
    write(folder / 'files' / 'tatoeba' / f'tatoeba.deu-eng.{name}', lines)
  prepare_tatoeba(folder / 'tfds', folder / 'files' / 'tatoeba', 'de')
  return f'tfds:{folder}/tfds', folder / 'files'


def test_a_whole_benchmark(benchmark, make_model, tiny_tokenizer, tmp_path):
  """As from files; what is refused is listed as missing."""
  make_model(tiny_tokenizer).save(tmp_path / 'model')
  out = []
  for number, data in enumerate(benchmark):
    config = xtreme.get_config('model=base,tasks=udpos+tatoeba')
    config.data_dir, config.init = str(data), str(tmp_path / 'model')
    config.languages = ('de', 'ta')
    out.append(suite.run(config, tmp_path / f'run{number}', lambda _: None))
  prepared, raw = out
  assert prepared['tasks'] == raw['tasks']
  assert prepared['tasks']['tatoeba']['languages']['de'] is not None
  assert prepared['problems'] == []
  assert any('udpos de ta: udpos is not rea' in x for x in prepared['missing'])
  assert any('build tatoeba/tatoeba_ta' in x for x in prepared['missing'])
  name = 'submission-0/tatoeba/test-de.tsv'
  texts = [(tmp_path / f'run{i}' / name).read_text() for i in (0, 1)]
  assert texts[0] == texts[1]
  config.data_dir, config.benchmark = benchmark[0], 'clue'
  with pytest.raises(ValueError, match='is not a folder'):
    suite.run(config, tmp_path / 'clue')
  config.data_dir, config.benchmark = '/nowhere', 'xtreme'
  with pytest.raises(ValueError, match='is not a folder.*, or write tfds:DIR'):
    suite.run(config, tmp_path / 'nowhere')


def test_tuning(benchmark):
  """A run is told the same folder, and reads it."""
  config = xtreme.get_config('model=base,tasks=panx+xquad')
  config.data_dir = benchmark[0]
  config.recipe = str(ROOT / 'configs' / 'finetune.py')
  for need in suite.needs(config):
    words = trainings.train_command(config, need, {}, pathlib.Path('w'), 1)
    assert f'--config.data_dir={benchmark[0]}' in words
  config = finetune.get_config('task=panx')
  config.data_dir = benchmark[0]
  got = training_data.read_training(config, table.tunable()['panx'])
  assert got == {'en': builders.read('panx', benchmark[0], 'train', 'en')}
  assert len(got['en']) == 40


def test_the_command(benchmark, make_model, tiny_tokenizer, tmp_path):
  make_model(tiny_tokenizer).save(tmp_path / 'model')
  options = flags.FlagValues()
  command.define_flags(options)
  words = [
    '--benchmark=tatoeba',
    f'--checkpoint={tmp_path / "model"}',
    f'--data_dir={benchmark[0]}',
    f'--output_dir={tmp_path / "out"}',
    '--languages=de',
  ]
  command.main(options(['eval', *words]), options)
  results = json.loads((tmp_path / 'out' / 'results.json').read_text())
  assert list(results['tasks']['tatoeba']['languages']) == ['de']
