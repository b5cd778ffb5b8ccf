"""Tables as people have them: quotes, labels, delimiters, endings."""

import collections
import gzip
import json
import lzma

import pytest
import zstandard

from xlmr_jax.data import files
from xlmr_jax.data.readers import tables
from xlmr_jax.eval.task import match_labels, user_task
from xlmr_jax.tasks import classify, multilabel, tag


@pytest.fixture(scope='module')
def cases(data_dir):
  folder = data_dir.parent / 'cases' / 'tables'
  if not folder.is_dir():
    pytest.skip(f'no folder {folder}')
  return folder


def read(path, **options):
  """The examples of a user's file."""
  task = user_task('own', {'test': str(path)}, ['en'], **options)
  return task.read('', 'test', 'en')


def counts(examples):
  return dict(collections.Counter(e.label for e in examples))


@pytest.mark.parametrize(
  'name, labels, last',
  [
    ('UPPER.CSV', {'nein': 10, 'ja': 10}, 'file lines server file'),
    ('semi.csv', {'nein': 10, 'ja': 10}, 'read of lines and'),
    ('trail.csv', {'nein': 10, 'ja': 10}, 'open read the file'),
    ('int.csv', {'0': 10, '1': 10}, 'a lines a server'),
    ('float.csv', {'0': 20, '1': 19, None: 1}, 'a table function of'),
    ('int.jsonl', {'0': 10, '1': 10}, 'file file a and'),
    ('nan.jsonl', {'0': 20, '1': 16, None: 4}, 'open table the and'),
    ('bool.jsonl', {'false': 10, 'true': 10}, 'with a a of'),
    ('inch.tsv', {'b': 10, 'a': 11}, '"open lines" open lines file'),
    (
      'excel.csv',
      {'no': 20, 'yes': 20},
      'He said "read open", then:\ntable table a\nend',
    ),
  ],
)
def test_real_tables(cases, name, labels, last):
  examples = read(cases / name)
  assert counts(examples) == labels
  assert examples[-1].texts == (last,)


def test_a_real_quote_over_eight_lines(cases):
  """It swallowed seven of twenty examples."""
  with pytest.raises(ValueError) as error:
    read(cases / 'glue.tsv')
  text = str(error.value)
  assert 'glue.tsv:6: a quote opens here and closes in line 13' in text
  assert '--config.quoted=False' in text and '--noquoted' in text
  assert counts(read(cases / 'glue.tsv', quoted=False)) == {'b': 10, 'a': 10}
  assert len(read(cases / 'glue.tsv', quoted=True)) == 13


@pytest.mark.parametrize(
  'name, text, message',
  [
    # A quote that closes lines later, each of them a row.
    ('a.tsv', 'text\tlabel\na\tx\n"b\ty\nc"\tx\n', r'a.tsv:3: .* in line 4'),
    # So that the record has too few columns.
    ('b.tsv', 'text\tlabel\n"b\ty\nc\tx"\n', r'b.tsv:2: .* in line 3'),
    # Between commas, where the labels are those of other rows.
    ('c.csv', 'text,label\na,x\n"b,x\nc"",x\nd",x\n', r'c.csv:3: .* line 5'),
    # Never closed.
    ('d.tsv', 'text\tlabel\na\tx\n"b\ty\n', r'd.tsv:3: .*--noquoted'),
    # Some quotes are text, some are csv's.
    ('e.tsv', 'text\tlabel\n"a"\tx\n"b" c\ty\n', r'e.tsv:3: .*--noquoted'),
    ('f.tsv', 'text\tlabel\n"a""s"\tx\n"b" c\ty\n', r'f.tsv:3: .*quoted=F'),
    ('g.csv', 'text,label\n"b" c,y\n', r'g.csv:2: a quoted field .*quoted=F'),
  ],
)
def test_quotes_that_may_be_text_are_refused(tmp_path, name, text, message):
  path = tmp_path / name
  path.write_text(text)
  with pytest.raises(ValueError, match=message):
    read(path)
  assert '"' in ''.join(e.texts[0] for e in read(path, quoted=False))


def test_quotes_of_spreadsheets_are_fields(tmp_path):
  texts = {
    'a.csv': '"Hello, John\nI am here",x\nb,x\n',  # two columns on each line
    'b.tsv': '"a ""b""\nc",x\nb,x\n'.replace(',', '\t'),
    'c.csv': '"a\nb\nc, d";x\n"e;f";y\n',
  }
  for name, text in texts.items():
    separator = {'b.tsv': '\t', 'c.csv': ';'}.get(name, ',')
    path = tmp_path / name
    path.write_text(f'text{separator}label\n{text}')
    assert len(read(path)) == 2, name
    assert read(path)[0].texts[0].count('\n') == text.count('\n') - 2, name


@pytest.mark.parametrize(
  'separator, columns',
  [(',', ('text', 'label')), (';', ('text', 'label')), ('\t', (0, 1))],
)
def test_the_delimiter_of_a_csv_gives_its_columns(tmp_path, separator, columns):
  path = tmp_path / 'a.csv'
  rows = [['text', 'label'], ['"a;b,c"', 'x']]
  path.write_text(''.join(f'{separator.join(row)}\n' for row in rows))
  text, label = columns
  assert read(path, text=(text,), label=label)[-1].texts == ('a;b,c',)
  with pytest.raises(ValueError, match="no column 'txt'; the header has text"):
    tables.tsv(path, ['txt'], delimiter=None)


def test_packed_tables_and_upper_case(tmp_path):
  text = b'text,label\na,x\nb,y\n'
  packers = {
    'gz': gzip.compress,
    'XZ': lzma.compress,
    'zst': zstandard.compress,
    'ZST': zstandard.compress,
  }
  for ending, pack in packers.items():
    path = tmp_path / f'A.Csv.{ending}'
    path.write_bytes(pack(text))
    assert counts(read(path)) == {'x': 1, 'y': 1}
    assert files.ending(path) == '.csv'
    path = tmp_path / f'A.JSONL.{ending}'
    path.write_bytes(pack(b'{"text": "a", "label": 1}\n'))
    assert counts(read(path)) == {'1': 1}
  with pytest.raises(ValueError, match=r'\.jsonl \(also \.gz, \.xz and \.zst'):
    read(tmp_path / 'a.txt.zst')


def test_names_of_classes_whatever_wrote_them(tmp_path):
  values = [0, 0.0, '0', '0.0', -0.0, '+0.0', 1.0, '1.', 1.5, '-2.00', True]
  path = tmp_path / 'a.jsonl'
  lines = [json.dumps({'text': 't', 'label': value}) for value in values]
  path.write_text('\n'.join([*lines, '{"text": "t", "label": NaN}']))
  names = [e.label for e in read(path)]
  assert names[:6] == ['0'] * 6
  assert names[6:] == ['1', '1', '1.5', '-2', 'true', None]
  # Names that only look like numbers stay; so does a language called nan.
  for name in ('1.0.0', '00.5', '٣.٠', 'nan', 'True', 'v1.0', '1e3'):
    assert tables.class_name(name) == name
  # A checkpoint that was trained on 0.0 and 1.0 knows 0 and 1.
  assert match_labels(('0.0', '1.0'), None) == ('0', '1')
  assert match_labels(('1.0', '0.0'), ('0', '1')) == ('1', '0')
  task = user_task('own', {'test': 'a.tsv'}, ['en'], labels=('0.0', 1.0))
  assert task.labels == ('0', '1')


def test_missing_numbers_are_missing(tmp_path):
  path = tmp_path / 'a.jsonl'
  path.write_text(
    '{"text": "a", "label": NaN}\n{"text": "b", "label": null}\n'
    '{"text": "c", "label": 0.5}\n{"text": "d"}\n'
  )
  numbers = [e.label for e in read(path, metric='mse')]
  assert numbers == [None, None, 0.5, None]
  path = tmp_path / 'a.csv'
  path.write_text('text,label\na,nan\nb,\nc,0.5\nd,inf\n')
  with pytest.raises(ValueError, match="a.csv:5: label 'inf' is not a finite"):
    read(path, metric='mse')
  path.write_text('text,label\na,nan\nb,\nc,0.5\n')
  assert [e.label for e in read(path, metric='mse')] == [None, None, 0.5]


def test_five_thousand_labels_are_a_line(tmp_path):
  labels = tuple(f'what is the answer to question {i}' for i in range(5000))
  example = tables.Example(('a',), 'x' * 9999, 'a.tsv:2')
  several = tables.Example(('a',), ('x' * 9999,), 'a.tsv:2')
  words = tag.encode
  sentence = type('S', (), {})()
  sentence.words, sentence.label, sentence.where = ('a',), ('Z',), 'a.tsv:1'
  sentence.place = lambda word: 'a.tsv:1'
  pieces = type('T', (), {'encode_batch': lambda self, x, **_: [[1, 5, 2]]})()
  pieces.separators = 2
  for act in (
    lambda: classify.encode([example], None, labels=labels),
    lambda: classify.encode([example], None, labels=labels * 2),
    lambda: multilabel.encode([several], None, labels=labels),
    lambda: multilabel.encode([several], None, labels=labels * 2),
    lambda: words([sentence], pieces, labels=labels, max_length=None),
    lambda: match_labels(labels, labels[1:]),
    lambda: match_labels(labels, None, labels[1:]),
    lambda: match_labels(labels * 2, None),
  ):
    with pytest.raises(ValueError) as error:
      act()
    text = str(error.value)
    assert len(text) < 1000 and '\n' not in text
    assert labels[0] in text and labels[4000] not in text
    assert '000 in all)' in text or '999 in all)' in text
