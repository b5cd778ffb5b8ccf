"""Files of tagged sentences: what is read, and what is said of bad ones."""

import gzip

import pytest

from xlmr_jax.data.readers import tagged

# XTREME's counts of sentences (and, for training, of words).
TEST = {'af': 425, 'ar': 1680, 'en': 5440, 'tl': 55, 'yo': 100, 'zh': 3455}
LABELLED = ('af', 'eu', 'fa', 'he', 'mr', 'ta', 'th', 'tl')


def write(path, text):
  path.write_bytes(text if isinstance(text, bytes) else text.encode())
  return path


def test_words_and_tags(tmp_path):
  path = write(
    tmp_path / 'a.tsv', 'A\tDET\ncat\tNOUN\n\n"\tPUNCT\r\nx y\tX \n\n\n'
  )
  got = tagged.read(path)
  assert got == [
    tagged.Sentence(('A', 'cat'), ('DET', 'NOUN'), f'{path}:1'),
    tagged.Sentence(('"', 'x y'), ('PUNCT', 'X'), f'{path}:4'),
  ]
  assert got[1].place(0) == f'{path}:4' and got[1].place(1) == f'{path}:5'
  assert all(e.label is not None for e in got)
  bare = tagged.read(write(tmp_path / 'b.tsv', 'A\ncat\n\n.'))
  assert [s.words for s in bare] == [('A', 'cat'), ('.',)]
  assert [s.label for s in bare] == [None, None]
  assert all(e.label is None for e in bare)


def test_words_that_look_like_nothing_are_words(tmp_path):
  """str.strip would take them, and a line of a test file with them."""
  words = ['\u3000', '\u00a0', '\u200b', '\u2028', '\x85']
  got = tagged.read(write(tmp_path / 'a.tsv', '\n'.join(words) + '\n'))
  assert [list(s.words) for s in got] == [words]


@pytest.mark.parametrize(
  'content, message',
  [
    ('a\tX\nb\tX\tY\n', ':2: 3 columns; a line is a word, or'),
    ('a\tX\n\tX\n', ':2: no word on this line'),
    ('a\n  \nb\n', ':2: no word on this line'),
    ('a\tX\nb\t\n', ':2: no tag behind the tab'),
    ('a\tX\nb\n', ':2: the word has no tag, those before it have one'),
    ('a\nb\tX\n', ':2: the word has a tag, those before it have none'),
    ('a\tX\n\nb\n', ':3: the word has no tag'),
    ('a\tX\n\n\nb\tX\n', ':3: a blank line that ends no sentence'),
    ('\na\tX\n', ':1: a blank line that ends no sentence'),
    ('\n\n', ': the file is empty'),
    (b'a\tX\n\xff\tX\n', r':2: byte 0 .*not UTF-8'),
  ],
)
def test_bad_lines_are_named(tmp_path, content, message):
  path = write(tmp_path / 'f.tsv', content)
  with pytest.raises(ValueError, match=f'f.tsv{message}'):
    tagged.read(path)


def test_files_are_found_by_split_and_language(tmp_path):
  (tmp_path / 'dev-sw.tsv.gz').write_bytes(gzip.compress(b'paka\tNOUN\n'))
  got = tagged.xtreme(tmp_path, 'dev', 'sw')
  assert got[0].where.endswith('dev-sw.tsv.gz:1')
  with pytest.raises(ValueError, match=r"no test file .*'sw'; .*test-sw.tsv"):
    tagged.xtreme(tmp_path, 'test', 'sw')
  with pytest.raises(ValueError, match="split 'validation'"):
    tagged.xtreme(tmp_path, 'validation', 'sw')


def test_real_udpos(data_dir):
  folder = data_dir / 'udpos/xtreme_tsv'
  train = tagged.xtreme(folder, 'train', 'en')
  assert len(train) == 21_253 and all(e.label is not None for e in train)
  assert sum(len(s.words) for s in train) == 375_194
  assert len({name for s in train for name in s.label}) == 17
  for language, count in TEST.items():
    got = tagged.xtreme(folder, 'test', language)
    assert len(got) == count and all(s.label is None for s in got)
  for language in LABELLED:
    gold = tagged.xtreme(
      data_dir / 'udpos/xtreme_tsv_labelled_test', 'test', language
    )
    bare = tagged.xtreme(folder, 'test', language)
    assert [s.words for s in gold] == [s.words for s in bare]
    assert all(e.label is not None for e in gold)


def test_real_panx(data_dir):
  got = tagged.xtreme(data_dir / 'panx', 'dev', 'yo')
  assert len(got) == 100 and all(e.label is not None for e in got)
  names = {name for s in got for name in s.label}
  assert names <= {'B-LOC', 'B-ORG', 'B-PER', 'I-LOC', 'I-ORG', 'I-PER', 'O'}
