"""Column files: the forms that the world has, and what is said of bad ones."""

import gzip

import pytest

from xlmr_jax.data.readers import columns

MIRA = ('Mira', 'owns'), ('B-PER', 'O')
OSLO = ('Oslo', 'is'), ('B-LOC', 'O')


def write(path, text):
  path.write_bytes(text if isinstance(text, bytes) else text.encode())
  return path


def pairs(sentences):
  return [(s.words, s.label) for s in sentences]


@pytest.mark.parametrize(
  'text, lines',
  [
    ('Mira\tB-PER\nowns\tO\n\n\nOslo\tB-LOC\nis\tO', (1, 5)),
    ('\n\nMira B-PER\nowns O\n\nOslo B-LOC\nis O\n\n\n', (3, 6)),
    ('Mira  B-PER \nowns\tO\n   \nOslo B-LOC\nis O\n', (1, 4)),  # aligned
    ('Mira\tB-PER\nowns\tO\n\t\nOslo\tB-LOC\nis\tO\n \t \n', (1, 4)),
    (b'\xef\xbb\xbfMira\tB-PER\r\nowns\tO\r\n\r\nOslo\tB-LOC\r\nis\tO', (1, 4)),
    (
      '-DOCSTART- -X- -X- O\n\nMira NNP I-NP B-PER\nowns VBZ I-VP O\n'
      '-DOCSTART- (7)\nOslo NNP I-NP B-LOC\nis VBZ I-VP O\n',
      (3, 6),
    ),
    (
      '# id 1\tdomain=en\nMira _ _ B-PER\nowns _ _ O\n\n\n'
      '# id 2\nOslo _ _ B-LOC\nis _ _ O\n',
      (2, 7),
    ),
    # Comments with as many columns as words have.
    ('# a\nMira B-PER\nowns O\n\n# b\n# c\nOslo B-LOC\nis O\n', (2, 7)),
    ('# id 1\tx\nMira\tB-PER\nowns\tO\n\n#  \tx\nOslo\tB-LOC\nis\tO\n', (2, 6)),
  ],
)
def test_the_same_sentences_in_many_forms(tmp_path, text, lines):
  path = write(tmp_path / 'f.conll', text)
  got = columns.read(path)
  assert pairs(got) == [MIRA, OSLO]
  assert [s.where for s in got] == [f'{path}:{line}' for line in lines]
  assert got[1].place(1) == f'{path}:{lines[1] + 1}'


CASES = {
  'conll2003.txt': [
    (('Mira', 'owns', 'a', 'boat'), ('I-PER', 'O', 'O', 'O')),
    (('Oslo', 'is', 'cold'), ('I-LOC', 'O', 'O')),
  ],
  'double.tsv': [MIRA, OSLO],
  'multiconer.conll': [MIRA, OSLO],
  'space.txt': [
    (('Mira', 'owns', 'a', 'boat'), ('B-PER', 'O', 'O', 'O')),
    (('Oslo', 'is', 'cold'), ('B-LOC', 'O', 'O')),
  ],
  'spaces_line.tsv': [MIRA, OSLO],
  'windows.tsv': [MIRA, OSLO],
  'wnut17.conll': [
    (('@mira', 'hi'), ('B-person', 'O')),
    (('Oslo', 'is'), ('B-location', 'O')),
  ],
}


def test_files_of_the_world(data_dir):
  folder = data_dir.parent / 'cases/conll'
  if not folder.exists():
    pytest.skip(f'{folder} is not there')
  for name, want in CASES.items():
    assert pairs(columns.read(folder / name)) == want, name
  assert {f.name for f in folder.iterdir()} == set(CASES)


def test_words_that_look_like_something_else(tmp_path):
  """A hash is a word where its line has a tag that other lines have."""
  text = '# O\nMira B-PER\n#oslo O\n# O\n\n# O\n'
  got = columns.read(write(tmp_path / 'f.txt', text))
  assert [s.words for s in got] == [('#', 'Mira', '#oslo', '#'), ('#',)]
  words = ['\u3000', '\u00a0', '\u200b', '\u2028', '\x85', '#', '#oslo']
  got = columns.read(
    write(tmp_path / 'bare', '\n'.join(words) + '\n\n# no 2\n')
  )
  assert [list(s.words) for s in got] == [words]
  assert got[0].label is None
  got = columns.read(write(tmp_path / 'f.tsv', 'New York\tB-LOC\n"\tO\n'))
  assert pairs(got) == [(('New York', '"'), ('B-LOC', 'O'))]


FOUR = 'Mira NNP I-NP B-PER\nowns VBZ I-VP O\n'


@pytest.mark.parametrize(
  'text, chosen, want',
  [
    (FOUR, {'label_column': 1}, ('NNP', 'VBZ')),
    (FOUR, {'label_column': '2'}, ('I-NP', 'I-VP')),  # as a flag gives it
    (FOUR, {'label_column': '-2'}, ('I-NP', 'I-VP')),
    (FOUR, {'label_column': None}, None),
    ('1 Mira B-PER\n2 owns O\n', {'word_column': 1}, ('B-PER', 'O')),
    (
      '# global.columns = FORM UPOS XPOS NER\n' + FOUR,
      {'label_column': 'UPOS'},
      ('NNP', 'VBZ'),
    ),
    (
      'ner token label\nB-PER Mira a\nO owns b\n',
      {'word_column': 'token', 'label_column': 'ner'},
      ('B-PER', 'O'),
    ),
    (
      'text pos label x\n' + FOUR,
      {'label_column': 'pos'},
      ('NNP', 'VBZ'),
    ),
  ],
)
def test_columns_are_chosen(tmp_path, text, chosen, want):
  got = columns.read(write(tmp_path / 'f.txt', text), **chosen)
  assert pairs(got) == [(('Mira', 'owns'), want)]


def test_packed_files(tmp_path):
  path = write(tmp_path / 'f.gz', gzip.compress(FOUR.encode()))
  assert columns.read(path)[0].label == ('B-PER', 'O')


@pytest.mark.parametrize(
  'text, chosen, message',
  [
    (
      'Mira B-PER\nNew York B-LOC\n',
      {},
      'f.txt:2: 3 columns, and line 1 has 2: columns stand between spaces, '
      'every word has as many',
    ),
    ('\na\tX\nb c\n', {}, 'f.txt:3: 1 column, and line 2 has 2: .* tabs'),
    ('a\nb\tX\n', {}, 'f.txt:2: 2 columns, and line 1 has 1'),
    ('a b\nc\n', {}, 'f.txt:2: 1 column, and line 1 has 2'),
    ('a X\n# b c\n', {}, 'f.txt:2: 3 columns, and line 1 has 2'),
    ('a\tX\n\tX\n', {}, 'f.txt:2: no word in column 0'),
    ('a\tX\nb\t\n', {}, 'f.txt:2: no tag in column 1'),
    ('a\tX\nb\n', {}, 'f.txt:2: 1 column'),
    (' \n\n', {}, 'f.txt: the file is empty'),
    ('-DOCSTART- O\n\n', {}, 'f.txt: the file is empty'),
    ('# a comment\n\n# b\n', {}, 'f.txt: no line has a word'),
    (FOUR, {'label_column': 4}, 'f.txt: no column 4; it has 4 columns'),
    (FOUR, {'label_column': '-5'}, 'f.txt: no column -5; it has 4 columns'),
    (FOUR, {'label_column': 0}, 'column 0 is the words, so it is not the tags'),
    (FOUR, {'label_column': 'ner'}, "no column 'ner'; its columns have no nam"),
    (
      '# global.columns = A B C D\n' + FOUR,
      {'label_column': 'ner'},
      "no column 'ner'; it has A, B, C, D",
    ),
    (
      '# text = a\n1\ta\ta\tDET\t_\t_\t0\troot\t_\t_\n',
      {},
      'f.txt:2: CoNLL-U counts its words .* text_columns=1, and label_column=3',
    ),
    (b'a X\n\xff X\n', {}, r'f.txt:2: byte 0 .*not UTF-8'),
  ],
)
def test_what_is_wrong_is_one_line(tmp_path, text, chosen, message):
  path = write(tmp_path / 'f.txt', text)
  with pytest.raises(ValueError, match=message) as error:
    columns.read(path, **chosen)
  assert '\n' not in str(error.value)


def test_words_stand_in_one_column(tmp_path):
  path = write(tmp_path / 'f.txt', FOUR)
  assert columns.read_words(path, ['text'], 'label')[0].label == ('B-PER', 'O')
  with pytest.raises(ValueError, match='one column of words, not a, b'):
    columns.read_words(path, ['a', 'b'], 'label')
