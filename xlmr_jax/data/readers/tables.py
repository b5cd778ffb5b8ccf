"""Readers: a file of labelled texts becomes a list of examples.

They know formats, not models: labels stay names (or numbers), texts stay
text. Every example carries where it came from, so that whoever finds fault
with it can say so. `.gz`, `.xz` and `.zst` files are read as they are.
"""

from collections.abc import Iterator, Sequence
import csv
import dataclasses
import os
import pathlib

from xlmr_jax.data import files, prepared

Column = int | str


@dataclasses.dataclass(frozen=True, slots=True)
class Example:
  """One or two texts, a label, and where they stand ('file:line').

  `label` is a class's name or a number; None where the file has none.
  """

  texts: tuple[str, ...]
  label: str | float | None
  where: str


# Anybody's files.


def tsv(
  path: str | os.PathLike,
  text_columns: Sequence[Column],
  label_column: Column | None = None,
  *,
  header: bool | None = None,
  number: bool = False,
  delimiter: str = '\t',
  quoted: bool = True,
) -> list[Example]:
  """Reads a table of one or two texts and a label or a number.

  Args:
    path: the file, plain, .gz, .xz or .zst.
    text_columns: one or two columns, by index from 0 or by name.
    label_column: the label's column; None for a file without labels. An empty
      cell is an example without a label.
    header: whether the first line names the columns. Left out, it does if a
      column is given by name.
    number: whether the label is a number (regression).
    delimiter: '\\t', or ',' for CSV.
    quoted: whether a field in double quotes is unquoted, as Python's csv,
      spreadsheets and pandas write them. False takes quotes as they are.

  Raises:
    ValueError: with file and line: a row whose number of columns differs from
      the first row's, a blank line, a label that is not a number, a quote
      that is never closed, bytes that are not UTF-8.
  """
  path = os.fspath(path)
  columns = [*text_columns]
  if label_column is not None:
    columns.append(label_column)
  if len(text_columns) not in (1, 2) or isinstance(text_columns, str):
    raise ValueError(
      f'text_columns={text_columns!r}; give a list of one or two columns'
    )
  named = any(isinstance(c, str) for c in columns)
  if header is None:
    header = named
  elif named and not header:
    raise ValueError(f'columns {columns} are given by name: header=False?')
  rows = list(read_rows(path, delimiter, quoted))
  if not rows:
    raise ValueError(f'{path}: the file is empty')
  width = len(rows[0][1])
  names = [n.strip() for n in rows[0][1]] if header else []
  places = [_column(path, column, names, width) for column in columns]
  check_columns(rows, width)
  out = []
  for where, row in rows[1:] if header else rows:
    label = None
    if label_column is not None:
      label = row[places[-1]].strip() or None
      if number and label is not None:
        label = _number(label, where)
    texts = tuple(row[p] for p in places[: len(text_columns)])
    out.append(Example(texts, label, where))
  return out


def _column(path: str, column: Column, names: list[str], width: int) -> int:
  """The index of a column given by name or index."""
  if isinstance(column, str):
    if column not in names:
      raise ValueError(
        f'{path}:1: no column {column!r}; the header has {", ".join(names)}'
      )
    return names.index(column)
  if not 0 <= column < width:
    raise ValueError(
      f'{path}:1: no column {column}; the first line has {width}'
    )
  return column


def jsonl(
  path: str | os.PathLike,
  text_keys: Sequence[str],
  label_key: str | None = None,
  *,
  number: bool = False,
) -> list[Example]:
  """Reads one JSON object a line: one or two texts, a label or a number.

  A label that is null or absent is none; a whole number is a class's name
  ('1') unless `number` says that labels are numbers.

  Raises:
    ValueError: with file and line: not a JSON object, a text that is missing
      or not a string, a label that is neither.
  """
  path = os.fspath(path)
  if len(text_keys) not in (1, 2) or isinstance(text_keys, str):
    raise ValueError(f'text_keys={text_keys!r}; give a list of one or two keys')
  out = []
  for where, item in files.objects(path):
    texts = files.texts(item, text_keys, where)
    label = None if label_key is None else item.get(label_key)
    if label is not None:
      if isinstance(label, bool) or not isinstance(label, str | int | float):
        raise ValueError(
          f'{where}: {label_key!r} is {label!r}, neither a name nor a number'
        )
      label = _number(label, where) if number else str(label)
    out.append(Example(tuple(texts), label, where))
  return out


def _number(label: str | float, where: str) -> float:
  try:
    value = float(label)
  except ValueError as error:
    raise ValueError(f'{where}: label {label!r} is not a number') from error
  if value != value or value in (float('inf'), float('-inf')):
    raise ValueError(f'{where}: label {label!r} is not a finite number')
  return value


def read_rows(
  path: str, delimiter: str, quoted: bool
) -> Iterator[tuple[str, list[str]]]:
  """Yields ('file:line', fields) of a table; a record may span lines.

  Blank lines end a file or are an error: skipping them would move every
  later line against a file of labels.
  """
  if quoted:
    csv.field_size_limit(1 << 30)  # a document may be one field
    reader = csv.reader(
      (line + '\n' for line in files.lines(path)),
      delimiter=delimiter,
      strict=True,
    )
  else:
    reader = (
      line.split(delimiter) if line else [] for line in files.lines(path)
    )
  number, blank = 1, None
  while True:
    try:
      row = next(reader, None)
    except csv.Error as error:
      raise ValueError(
        f'{path}:{number}: a quoted field is wrong ({error}); if quotes are'
        ' plain text in this file, read it with quoted=False'
      ) from error
    if row is None:
      return
    if not row:
      blank = blank or number
    elif blank:
      raise ValueError(f'{path}:{blank}: a blank line')
    else:
      yield f'{path}:{number}', row
    number = reader.line_num + 1 if quoted else number + 1


def check_columns(rows: Sequence[tuple[str, list[str]]], expected: int) -> None:
  for where, row in rows:
    if len(row) != expected:
      raise ValueError(f'{where}: {len(row)} columns, expected {expected}')


# Prepared TensorFlow Datasets, without TensorFlow.


def tfds_folder(
  path: str | os.PathLike,
  split: str,
  *,
  text_columns: Sequence[str] = ('premise', 'hypothesis'),
  label_column: str | None = 'label',
  language: str | None = None,
) -> list[Example]:
  """Reads a data set that tensorflow_datasets has prepared.

  Args:
    path: the folder of one version (it holds `dataset_info.json`), or one
      above it that leads to a single version.
    split: e.g. 'validation', or a slice such as 'train[:10%]'.
    text_columns: one or two features. Translations (as in the data set
      `xnli`) give the text in `language`.
    label_column: a class label becomes its name, another number a float; -1,
      as data sets without labels have it, none.
    language: which translation to take.

  Raises:
    ValueError: not such a folder, another split or feature, or prepared in a
      file format that cannot be read without TensorFlow.
  """
  infos = sorted(pathlib.Path(path).glob('**/dataset_info.json'))
  if len(infos) != 1:
    names = ', '.join(str(f.parent) for f in infos) or 'none'
    raise ValueError(
      f'{path} must lead to one prepared data set (a folder with'
      f' dataset_info.json); found {names}'
    )
  folder = infos[0].parent
  features, source = prepared.open_tfds(folder, split)
  wanted = [*text_columns] + ([label_column] if label_column else [])
  for column in wanted:
    if column not in features:
      raise ValueError(
        f'{folder}: no feature {column!r}; it has {", ".join(features)}'
      )
  names = (
    getattr(features[label_column], 'names', None) if (label_column) else None
  )
  out = []
  for index, item in enumerate(source):
    where = f'{folder}:{split}[{index}]'
    label = None
    if label_column:
      value = item[label_column]
      if isinstance(value, bytes):
        label = value.decode()
      elif names is not None:
        label = names[int(value)] if value >= 0 else None
      else:
        label = float(value)
    texts = tuple(_tfds_text(item[c], language, where) for c in text_columns)
    out.append(Example(texts, label, where))
  return out


def _tfds_text(value, language: str | None, where: str) -> str:
  """A text, or the translation into one language."""
  if isinstance(value, dict):
    if 'translation' in value:  # TranslationVariableLanguages
      names = [n.decode() for n in value['language']]
      value = dict(zip(names, value['translation'], strict=True))
    if language not in value:
      raise ValueError(
        f'{where}: no translation into {language!r}; it has {", ".join(value)}'
      )
    value = value[language]
  return value.decode() if isinstance(value, bytes) else str(value)
