"""Column files of tagged sentences as the world has them: a word a line.

```
-DOCSTART- -X- -X- O          # id 7 domain=en
                              Mira _ _ B-PER
Mira NNP I-NP I-PER           owns _ _ O
owns VBZ I-VP O
```

CoNLL 2003, WNUT, MultiCoNER, CoNLL-U Plus and whatever else has a word a line
and a blank line after a sentence. Columns stand between tabs, or, where the
first word's line has none, between spaces. The word is the first column and the
tag the last one, unless others are chosen. A blank line may hold spaces and
tabs, and there may be several. Comments and -DOCSTART- are no words.
"""

from collections.abc import Sequence
import os
import re

from xlmr_jax.data import files
from xlmr_jax.data.readers.tagged import Sentence

Column = int | str

_DOCUMENT = '-DOCSTART-'  # begins the first line of a document
_NAMES = '# global.columns ='  # CoNLL-U Plus names its columns so
_COMMENT = '# '  # '#' alone is a word, and so is '#hashtag'
_CONLLU = 10  # columns of a treebank of Universal Dependencies
_BLANK = ' \t'  # U+3000 and the like are words
# What recipes and commands call the two columns of a file without names.
_USUAL = {'text': 0, 'label': -1}


def read_words(
  path: str | os.PathLike,
  text_columns: Sequence[Column],
  label_column: Column | None,
) -> list[Sentence]:
  """`read` of the columns as tables have them: a list, and the labels'."""
  if len(text_columns) != 1:
    raise ValueError(
      f'{os.fspath(path)}: tagged sentences have one column of words, not '
      f'{", ".join(map(str, text_columns))}'
    )
  return read(path, text_columns[0], label_column)


def read(
  path: str | os.PathLike,
  word_column: Column = 'text',
  label_column: Column | None = 'label',
) -> list[Sentence]:
  """Reads a column file, plain, .gz, .xz or .zst.

  A line that begins with '# ' before a sentence is a comment, unless it has as
  many columns as the others and a tag that one of them has: then its word is
  '#'. Words between tabs may have spaces in them.

  Args:
    path: the file.
    word_column: of the words: a number, from 0 on, or from -1, the last one,
      back; or a name, where the first line is a header that has it, or a line
      '# global.columns = ID FORM NER'. 'text' is the first column where no
      column has this name.
    label_column: of the tags, in the same way. 'label' is the last column, and
      a file of one column has no tags. None leaves them out.

  Raises:
    ValueError: with file and line: lines with different numbers of columns, no
      such column, a tag or a word that is empty, a treebank of Universal
      Dependencies whose columns nobody has chosen.
  """
  path = os.fspath(path)
  lines = list(enumerate(files.lines(path), 1))
  content = [
    (number, line)
    for number, line in lines
    if line.strip(_BLANK) and not line.startswith(_DOCUMENT)
  ]
  if not content:
    raise ValueError(f'{path}: the file is empty')
  certain = [item for item in content if not item[1].startswith(_COMMENT)]
  first, line = (certain or content)[0]
  split = _by_tabs if '\t' in line else _by_spaces
  width = len(split(line))
  if width == _CONLLU and word_column == 'text' and split(line)[0] == '1':
    raise ValueError(
      f'{path}:{first}: CoNLL-U counts its words in the first column: choose '
      'text_columns=1, and label_column=3 for UPOS'
    )
  names, header = _names(content, split(line), (word_column, label_column))
  word = _place(path, word_column, names, width)
  tag = None
  if label_column is not None and (width > 1 or label_column != 'label'):
    tag = _place(path, label_column, names, width)
    if tag == word:
      raise ValueError(
        f'{path}: column {word} is the words, so it is not the tags: choose '
        'another label_column'
      )
  rows = [split(line) for _, line in certain]
  tags = set()
  if tag is not None:
    tags = {row[tag] for row in rows if len(row) == width}
  out: list[Sentence] = []
  words: list[str] = []
  labels: list[str] = []
  at = 0

  def finish():
    if words:
      label = None if tag is None else tuple(labels)
      out.append(Sentence(tuple(words), label, f'{path}:{at}'))
    words.clear()
    labels.clear()

  for number, line in lines:
    if not line.strip(_BLANK) or line.startswith(_DOCUMENT):
      finish()
      continue
    row = split(line)
    if not words and line.startswith(_COMMENT):
      if tag is None or len(row) != width or row[tag] not in tags:
        continue
    if number == header:
      continue
    if len(row) != width:
      raise ValueError(
        f'{path}:{number}: {_count(len(row))}, and line {first} has {width}: '
        f'columns stand between {_SEPARATORS[split]}, every word has as many'
      )
    if not row[word]:
      raise ValueError(f'{path}:{number}: no word in column {word}')
    if tag is not None:
      if not row[tag]:
        raise ValueError(f'{path}:{number}: no tag in column {tag}')
      labels.append(row[tag])
    at = number if not words else at
    words.append(row[word])
  finish()
  if not out:
    raise ValueError(f'{path}: no line has a word')
  return out


def _by_tabs(line: str) -> list[str]:
  return [cell.strip(' ') for cell in line.split('\t')]


def _by_spaces(line: str) -> list[str]:
  return re.split(f'[{_BLANK}]+', line.strip(_BLANK))


_SEPARATORS = {_by_tabs: 'tabs', _by_spaces: 'spaces'}


def _count(columns: int) -> str:
  return '1 column' if columns == 1 else f'{columns} columns'


def _names(
  content: list[tuple[int, str]],
  first: list[str],
  wanted: tuple[Column | None, ...],
) -> tuple[list[str], int]:
  """The names of the columns, and the line that is a header (0: none is).

  Args:
    content: (number, line) of the lines that are not blank.
    first: the cells of the first line that is no comment.
    wanted: the columns that are asked for.
  """
  if content[0][1].startswith(_NAMES):
    return content[0][1].removeprefix(_NAMES).split(), 0
  asked = {c for c in wanted if isinstance(c, str) and not _number(c)}
  if (asked - _USUAL.keys()) & set(first):
    numbers = (n for n, line in content if not line.startswith(_COMMENT))
    return first, next(numbers)
  return [], 0


def _number(column: Column) -> bool:
  """Whether a column is given by its number; flags give numbers as text."""
  return re.fullmatch('-?[0-9]+', str(column)) is not None


def _place(path: str, column: Column, names: list[str], width: int) -> int:
  """The index of a column given by name or number."""
  if column in names:
    return names.index(str(column))
  if column in _USUAL:
    return _USUAL[str(column)] % width
  if not _number(column):
    known = 'its columns have no names: give a number, 0 is the first'
    if names:
      known = f'it has {", ".join(names)}'
    raise ValueError(f'{path}: no column {column!r}; {known}')
  if not -width <= int(column) < width:
    raise ValueError(f'{path}: no column {column}; it has {_count(width)}')
  return int(column) % width
