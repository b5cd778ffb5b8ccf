"""Readers: every format of XNLI and of users, and what is said of bad ones."""

import csv
import gzip
import json
import lzma
import pathlib

import numpy as np
import pytest

from xlmr_jax.data import files
from xlmr_jax.data.readers import nli, tables


def write(path, text):
  path.parent.mkdir(parents=True, exist_ok=True)
  path.write_bytes(text if isinstance(text, bytes) else text.encode())
  return path


def test_real_xnli_in_every_language(data_dir):
  folder = data_dir / 'xnli'
  languages = 'ar bg de el en es fr hi ru sw th tr ur vi zh'.split()
  names = ['contradiction', 'entailment', 'neutral']
  for language in languages:
    test = nli.xnli(folder, 'test', language)
    assert len(test) == 5010 and all(e.label is not None for e in test)
    gold = [e.label for e in test]
    assert [gold.count(n) for n in names] == [1670] * 3
  dev = nli.xnli(folder, 'dev', 'en')
  assert len(dev) == 2490 and len(dev[0].texts) == 2
  assert dev[1].texts[1] == "He didn't say a word."
  assert dev[1].label == 'contradiction'
  assert dev[1].where.endswith('dev-en.tsv.gz:2')


def test_xtreme_test_files_without_gold_have_no_labels(tmp_path):
  write(tmp_path / 'test-sw.tsv', 'a\tb\n"c ""d"""\te\n')
  got = nli.xnli(tmp_path, 'test', 'sw')
  assert [e.texts for e in got] == [('a', 'b'), ('c "d"', 'e')]
  assert [e.label for e in got] == [None, None]
  assert all(e.label is None for e in got)
  write(tmp_path / 'test.labels.txt', 'neutral\ncontradictory\n')
  got = nli.xnli(tmp_path, 'test', 'sw')
  assert [e.label for e in got] == ['neutral', 'contradiction']
  write(tmp_path / 'test.labels.txt', 'neutral\n')
  with pytest.raises(ValueError, match='1 labels, .*test-sw.tsv has 2'):
    nli.xnli(tmp_path, 'test', 'sw')


def test_official_xnli_files(tmp_path):
  header = ['language', 'gold_label'] + ['x'] * 4
  header += ['sentence1', 'sentence2'] + ['x'] * 11

  def line(language, label, a, b):
    return [language, label, *'....', a, b, *('.' * 11)]

  rows = [
    header,
    line('ar', 'neutral', 'x', 'y'),
    line('en', 'entailment', '"Quoted" start', 'so "it" is '),
    line('en', 'contradictory', 'p', 'q'),
  ]
  text = '\n'.join('\t'.join(r) for r in rows) + '\n'
  write(tmp_path / 'XNLI-1.0' / 'xnli.test.tsv', text)
  got = nli.xnli(tmp_path, 'test', 'en')
  assert [e.texts for e in got] == [
    ('"Quoted" start', 'so "it" is'),
    ('p', 'q'),
  ]
  assert [e.label for e in got] == ['entailment', 'contradiction']
  assert got[1].where.endswith('xnli.test.tsv:4')
  assert nli.xnli(tmp_path / 'XNLI-1.0', 'test', 'ar')[0].label == 'neutral'
  with pytest.raises(ValueError, match="no language 'sw'; it has ar en"):
    nli.xnli(tmp_path, 'test', 'sw')
  write(tmp_path / 'XNLI-1.0' / 'xnli.dev.tsv', text + 'en\tneutral\tfew\n')
  with pytest.raises(ValueError, match=r'xnli.dev.tsv:5: 3 columns, exp.* 19'):
    nli.xnli(tmp_path, 'dev', 'en')


def test_official_training_set(tmp_path):
  path = tmp_path / 'XNLI-MT-1.0/multinli/multinli.train.en.tsv.gz'
  path.parent.mkdir(parents=True)
  with gzip.open(path, 'wt') as file:
    file.write('premise\thypo\tlabel\n"a\tb\tcontradictory\nc\td\tneutral\n')
  got = nli.xnli(tmp_path, 'train', 'en')
  assert [(e.texts, e.label) for e in got] == [
    (('"a', 'b'), 'contradiction'),
    (('c', 'd'), 'neutral'),
  ]


def test_real_pawsx_in_every_language(data_dir):
  """Counts of rows, and of rows that were never translated, by language."""
  untranslated = {'de': 68, 'en': 0, 'es': 38, 'fr': 8, 'ja': 20}
  untranslated |= {'ko': 35, 'zh': 16}
  for language, count in untranslated.items():
    dev = nli.pawsx(data_dir / 'pawsx', 'dev', language)
    assert len(dev) == 2000 and {e.label for e in dev} == {'0', '1'}
    assert sum('NS' in e.texts for e in dev) == count
    test = nli.pawsx(data_dir / 'pawsx', 'test', language)
    assert len(test) == 2000 and {e.label for e in test} == {None}
    assert all(len(e.texts) == 2 and all(e.texts) for e in dev + test)


def test_official_pawsx_files(tmp_path):
  text = 'id\tsentence1\tsentence2\tlabel\n7\t"A" b \tNS\t1\n9\tc\t"d\t0\n'
  write(tmp_path / 'x-final/de/test_2k.tsv', text)
  write(tmp_path / 'x-final/de/translated_train.tsv', text)
  write(tmp_path / 'x-final/en/train.tsv', text)
  for split, language in (
    ('test', 'de'),
    ('translate-train', 'de'),
    ('train', 'en'),
  ):
    for folder in (tmp_path, tmp_path / 'x-final'):
      got = nli.pawsx(folder, split, language)
      assert [(e.texts, e.label) for e in got] == [
        (('"A" b', 'NS'), '1'),
        (('c', '"d'), '0'),
      ]
      assert got[0].where.endswith('.tsv:2')
  write(tmp_path / 'x-final/de/dev_2k.tsv', text + '1\ta\tb\n')
  with pytest.raises(ValueError, match=r'dev_2k.tsv:4: 3 columns, expected 4'):
    nli.pawsx(tmp_path, 'dev', 'de')
  with pytest.raises(ValueError, match="no PAWS-X dev file for 'en'.*dev_2k"):
    nli.pawsx(tmp_path, 'dev', 'en')
  with pytest.raises(ValueError, match="split 'validation'; PAWS-X has"):
    nli.pawsx(tmp_path, 'validation', 'en')


def test_languages_of_pawsx_do_not_share_their_labels(tmp_path):
  """As those of XNLI do: 17 of 2,000 differ between German and Chinese."""
  write(tmp_path / 'test-de.tsv', 'a\tb\n"c ""d"""\te\n')
  write(tmp_path / 'test.labels.txt', '1\n0\n')
  got = nli.pawsx(tmp_path, 'test', 'de')
  assert [(e.texts, e.label) for e in got] == [
    (('a', 'b'), None),
    (('c "d"', 'e'), None),
  ]
  write(tmp_path / 'test-de.tsv', 'a\tb\t1\n')
  assert nli.pawsx(tmp_path, 'test', 'de')[0].label == '1'


def test_a_missing_file_lists_what_was_looked_for(tmp_path):
  with pytest.raises(ValueError) as error:
    nli.xnli(tmp_path, 'dev', 'en')
  for name in ('dev-en.tsv', 'xnli.dev.tsv', 'XNLI-1.0', '.gz'):
    assert name in str(error.value)
  with pytest.raises(ValueError, match="split 'validation'"):
    nli.xnli(tmp_path, 'validation', 'en')


def test_wrong_number_of_columns_names_file_and_line(tmp_path):
  write(tmp_path / 'train-en.tsv', 'a\tb\tneutral\nc\td\n')
  with pytest.raises(ValueError, match=r'train-en.tsv:2: 2 columns, .* 3'):
    nli.xnli(tmp_path, 'train', 'en')
  write(tmp_path / 'test-en.tsv', 'a\tb\nc\td\tneutral\n')
  with pytest.raises(ValueError, match=r'test-en.tsv:2: 3 columns, .* 2'):
    nli.xnli(tmp_path, 'test', 'en')
  # The line is the file's, not the record's: a quoted field spans two.
  path = write(tmp_path / 'x.tsv', 'a\t"b\nb"\tc\nd\te\n')
  with pytest.raises(ValueError, match=r'x.tsv:3: 2 columns, expected 3'):
    tables.tsv(path, [0, 1], 2)


def test_tsv_by_name_index_and_number(tmp_path):
  path = write(
    tmp_path / 'a.tsv',
    '\ufeffid\tpremise\tscore\thypothesis\r\n1\tx\t2.5\ty\r\n2\tz\t\tw\r\n',
  )
  got = tables.tsv(path, ['premise', 'hypothesis'], 'score', number=True)
  assert [(e.texts, e.label) for e in got] == [
    (('x', 'y'), 2.5),
    (('z', 'w'), None),
  ]
  assert got[0].where == f'{path}:2'
  got = tables.tsv(path, ['id'], header=True)
  assert [e.texts for e in got] == [('1',), ('2',)]
  assert tables.tsv(path, [1], 2, header=True)[0].label == '2.5'
  assert len(tables.tsv(path, [1])) == 3  # no header unless one is named
  with pytest.raises(ValueError, match="no column 'text'; the header has id,"):
    tables.tsv(path, ['text'])
  with pytest.raises(ValueError, match='no column 7'):
    tables.tsv(path, [7])
  bad = write(tmp_path / 'b.tsv', 'a\t1\nb\t2\nc\tz\n')
  with pytest.raises(ValueError, match=':3: label .z. is not a number'):
    tables.tsv(bad, [0], 1, number=True)
  with pytest.raises(ValueError, match='one or two columns'):
    tables.tsv(path, [0, 1, 2])


def test_csv_round_trip_with_quotes_and_xz(tmp_path):
  rows = [['say "hi"', 'tab\there', 'pos'], ['two\nlines', '"', 'neg']]
  with lzma.open(tmp_path / 'a.tsv.xz', 'wt', newline='') as file:
    csv.writer(file, delimiter='\t').writerows(rows)
  got = tables.tsv(tmp_path / 'a.tsv.xz', [0, 1], 2)
  assert [[*e.texts, e.label] for e in got] == rows
  # Quotes that are plain text swallow lines: that is said, not done.
  path = write(tmp_path / 'b.tsv', 'a\t1\n"b\t2\nc\t3\n')
  with pytest.raises(ValueError, match=r'b.tsv:2: .*quoted=False'):
    tables.tsv(path, [0], 1)
  got = tables.tsv(path, [0], 1, quoted=False)
  assert got[1].texts == ('"b',)


@pytest.mark.parametrize(
  'content, message',
  [
    (b'a\tb\nc\0\td\n', r'f.tsv:2: a NUL byte'),
    (b'a\tb\nc\td\xff\n', r'f.tsv:2: byte 3 .*0xff.* not UTF-8'),
    (b'a\tb\n\nc\td\n', r'f.tsv:2: a blank line'),
    (b'', r'f.tsv: the file is empty'),
    ('a\tb\n'.encode('utf-16'), r'f.tsv:1: '),
  ],
)
@pytest.mark.parametrize('quoted', [True, False])
def test_bad_bytes_are_named(tmp_path, content, message, quoted):
  path = write(tmp_path / 'f.tsv', content)
  with pytest.raises(ValueError, match=message):
    tables.tsv(path, [0], 1, quoted=quoted)
  write(path, b'a\tb\n\n\n')  # blank lines at the end are no lines
  assert len(tables.tsv(path, [0], 1, quoted=quoted)) == 1


def test_a_damaged_archive_is_named(tmp_path):
  for name, opener in (('a.gz', gzip), ('a.xz', lzma)):
    whole = opener.compress(b''.join(b'%d line\n' % i for i in range(9999)))
    path = write(tmp_path / name, whole[: len(whole) // 2])
    with pytest.raises(ValueError, match=rf'{name}:\d+: the archive'):
      list(files.lines(path))


def test_lines_end_at_line_feeds_only(tmp_path):
  path = write(tmp_path / 'a.txt', 'a\u2028b\x0cc\x85d\ne\r\n')
  assert list(files.lines(path)) == ['a\u2028b\x0cc\x85d', 'e']


def test_jsonl(tmp_path):
  items = [
    {'a': 'x', 'b': 'y', 'label': 'pos'},
    {'a': 'z', 'b': 'w', 'label': 1},
    {'a': 'z', 'b': 'w', 'label': None},
  ]
  path = write(tmp_path / 'a.jsonl', '\n'.join(map(json.dumps, items)) + '\n\n')
  got = tables.jsonl(path, ['a', 'b'], 'label')
  assert [(e.texts, e.label) for e in got] == [
    (('x', 'y'), 'pos'),
    (('z', 'w'), '1'),
    (('z', 'w'), None),
  ]
  assert got[1].where == f'{path}:2'
  assert tables.jsonl(path, ['b'])[0] == tables.Example(
    ('y',), None, f'{path}:1'
  )
  with pytest.raises(ValueError, match=":1: label 'pos' is not a number"):
    tables.jsonl(path, ['a'], 'label', number=True)
  with pytest.raises(ValueError, match=":1: 'c' is no text.*a, b, label"):
    tables.jsonl(path, ['c'])
  for content, message in (
    ('{"a": "x"}\n{"a": \n', 'c.jsonl:2: not JSON'),
    ('[1]\n', 'c.jsonl:1: not a JSON object'),
    ('{"a": "x", "l": [1]}\n', r"c.jsonl:1: 'l' is \[1\]"),
    ('{"a": "x", "l": Infinity}\n', 'c.jsonl:1: .*not a finite number'),
    ('{"a": "x", "l": true}\n', "c.jsonl:1: 'l' is True, neither a name"),
  ):
    path = write(tmp_path / 'c.jsonl', content)
    with pytest.raises(ValueError, match=message):
      tables.jsonl(path, ['a'], 'l', number=True)


def test_real_clue_files(data_dir):
  got = tables.jsonl(
    data_dir / 'clue/afqmc/dev.json', ['sentence1', 'sentence2'], 'label'
  )
  assert len(got) == 4316
  assert sum(e.label == '0' for e in got) == 2978


@pytest.fixture(scope='module')
def prepared(tmp_path_factory):
  """A data set shaped like tfds' xnli, prepared without TensorFlow."""
  tfds = pytest.importorskip('tensorflow_datasets')

  class ToyNli(tfds.core.GeneratorBasedBuilder):
    VERSION = tfds.core.Version('1.0.0')

    def _info(self):
      return tfds.core.DatasetInfo(
        builder=self,
        features=tfds.features.FeaturesDict(
          {
            'premise': tfds.features.Translation(['en', 'sw']),
            'hypothesis': tfds.features.TranslationVariableLanguages(
              ['en', 'sw']
            ),
            'text': tfds.features.Text(),
            'score': np.float32,
            'label': tfds.features.ClassLabel(
              names=['entailment', 'neutral', 'contradiction']
            ),
          }
        ),
      )

    def _split_generators(self, dl_manager):
      return {'validation': self._generate_examples()}

    def _generate_examples(self):
      for i in range(6):
        yield (
          i,
          {
            'premise': {'en': f'the dog {i}', 'sw': f'mbwa {i}'},
            'hypothesis': {'en': f'a dog {i}', 'sw': f'wanyama {i}'},
            'text': f'naïve {i}',
            'score': i / 2,
            'label': i % 3 if i < 5 else -1,
          },
        )

  folder = tmp_path_factory.mktemp('tfds')
  builder = ToyNli(data_dir=folder, file_format='array_record')
  builder.download_and_prepare()
  return pathlib.Path(builder.data_dir)


def test_tfds_folders(prepared):
  got = tables.tfds_folder(prepared, 'validation', language='sw')
  by_number = {e.texts[0].split()[-1]: e for e in got}
  names = ['entailment', 'neutral', 'contradiction']
  for i in range(6):
    example = by_number[str(i)]
    assert example.texts == (f'mbwa {i}', f'wanyama {i}')
    assert example.label == (names[i % 3] if i < 5 else None)
  assert got[2].where.endswith('1.0.0:validation[2]')
  # The folder above leads to the one version; a number stays a number.
  got = tables.tfds_folder(
    prepared.parent,
    'validation[:4]',
    text_columns=['text'],
    label_column='score',
  )
  assert len(got) == 4
  for e in got:
    assert e.texts == (f'naïve {int(e.label * 2)}',)
  with pytest.raises(ValueError, match="translation into 'fr'; it has en, sw"):
    tables.tfds_folder(prepared, 'validation', language='fr')
  with pytest.raises(ValueError, match="no split 'test'; it has validation"):
    tables.tfds_folder(prepared, 'test')
  with pytest.raises(ValueError, match="no feature 'gold'; it has"):
    tables.tfds_folder(prepared, 'validation', label_column='gold')
  with pytest.raises(ValueError, match='found none'):
    tables.tfds_folder(prepared / 'nothing', 'validation')
