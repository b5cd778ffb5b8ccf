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
import re

from xlmr_jax.data import files, prepared

Column = int | str

# What may stand between the columns of a .csv file; spreadsheets write
# semicolons where numbers have a decimal comma.
_DELIMITERS = (',', ';', '\t')
# A field as csv writes it in quotes, and the same without its end.
_QUOTED = re.compile(r'"(?:[^"]|"")*"')
_OPEN = re.compile(r'"(?:[^"]|"")*')
_FLAGS = (
  'quoted=False (--config.quoted=False in a recipe, --noquoted in eval)',
  'quoted=True (--config.quoted=True, --quoted)',
)


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
  delimiter: str | None = '\t',
  quoted: bool | None = None,
) -> list[Example]:
  """Reads a table of one or two texts and a label or a number.

  Args:
    path: the file, plain, .gz, .xz or .zst.
    text_columns: one or two columns, by index from 0 or by name.
    label_column: the label's column; None for a file without labels. An empty
      cell is an example without a label. Names are those of `class_name`.
    header: whether the first line names the columns. Left out, it does if a
      column is given by name.
    number: whether the label is a number (regression).
    delimiter: '\\t'; None for CSV: the comma, the semicolon or the tab,
      whichever gives the first line these columns.
    quoted: whether a field in double quotes is unquoted, as Python's csv,
      spreadsheets and pandas write them. False takes quotes as they are. Left
      out, they are unquoted; but a table with tabs in which a quote closes
      within a field, and none is as csv writes it, is text as it is.

  Raises:
    ValueError: with file and line: a row whose number of columns differs from
      the first row's, a blank line, a label that is not a number, a quote
      that is never closed, or only lines later though each of them is a row,
      while `quoted` is left out; bytes that are not UTF-8.
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
  if delimiter is None:
    delimiter = _delimiter(path, columns)
  rows = _read_table(path, delimiter, quoted)
  if not rows:
    raise ValueError(f'{path}: the file is empty')
  width = len(rows[0][1])
  names = [n.strip() for n in rows[0][1]] if header else []
  places = [_column(path, column, names, width) for column in columns]
  if quoted is None:
    _refuse_swallowed(
      rows, delimiter, None if label_column is None else places[-1]
    )
  check_columns(rows, width)
  out = []
  for where, row in rows[1:] if header else rows:
    label = None
    if label_column is not None:
      label = row[places[-1]].strip() or None
      if label is not None:
        label = _number(label, where) if number else class_name(label)
    texts = tuple(row[p] for p in places[: len(text_columns)])
    out.append(Example(texts, label, where))
  return out


def class_name(label: str | bool | int | float) -> str:
  """The name of a class, whatever wrote it.

  0, 0.0 and '0.0' are '0': a column of whole numbers becomes one of floats as
  soon as one of them is missing. true is 'true'.
  """
  if isinstance(label, bool):
    return str(label).lower()
  text = str(label)
  if re.fullmatch(r'[+-]?\d+\.0*', text, re.ASCII):
    text = text.partition('.')[0]
    text = '0' if text in ('-0', '+0') else text
  return text


def _delimiter(path: str, columns: Sequence[Column]) -> str:
  """What stands between the columns of the first line."""
  first = next(files.lines(path), '')

  def fit(delimiter):
    names = next(csv.reader([first], delimiter=delimiter), [])
    names = [name.strip() for name in names]
    fits = [
      c in names if isinstance(c, str) else c < len(names) for c in columns
    ]
    return all(fits), 0 if all(fits) else len(names)

  return max(_DELIMITERS, key=fit)  # the first of equals


def _read_table(
  path: str, delimiter: str, quoted: bool | None
) -> list[tuple[str, list[str]]]:
  """The rows of a table; where `quoted` is None, its quotes are judged."""
  try:
    return list(read_rows(path, delimiter, quoted is not False))
  except ValueError as error:
    if quoted is not None or not isinstance(error.__cause__, csv.Error):
      raise
    if delimiter != '\t' or not _quotes_are_text(path):
      raise
  return list(read_rows(path, delimiter, quoted=False))


def _quotes_are_text(path: str) -> bool:
  """Whether the quotes of a table with tabs can only be plain text.

  Each line is a whole row, some field begins with a quote that closes within
  it ("open" lines), and none is one that csv may have written ("open lines")
  or that goes on in the next line ("open lines).
  """
  width, broken = None, False
  for line in files.lines(path):
    if not line:
      continue
    fields = line.split('\t')
    width = width or len(fields)
    if len(fields) != width:
      return False
    for field in fields:
      if field.startswith('"'):
        if _QUOTED.fullmatch(field) or _OPEN.fullmatch(field):
          return False
        broken = True
  return broken


def _refuse_swallowed(
  rows: Sequence[tuple[str, list[str]]],
  delimiter: str,
  place: int | None,
) -> None:
  """Refuses a quoted field over several lines each of which is a whole row.

  Text with a tab on each of its lines hardly exists, but text with a comma
  does: between commas, the lines' labels must be those of other rows, too.

  Raises:
    ValueError: with the line on which such a field opens.
  """
  width = len(rows[0][1])
  names = None
  for where, row in rows:
    if not any('\n' in field for field in row):
      continue
    lines = delimiter.join(row).split('\n')
    parts = [line.split(delimiter) for line in lines]
    if any(len(part) != width for part in parts):
      continue
    if delimiter != '\t':
      if place is None or width == 1:
        continue
      if names is None:
        single = [r for _, r in rows if '\n' not in ''.join(r)]
        names = {r[place].strip() for r in single if len(r) == width}
      if any(part[place].strip() not in names for part in parts):
        continue
    end = int(where.rpartition(':')[2]) + len(lines) - 1
    raise ValueError(
      f'{where}: a quote opens here and closes in line {end}, and each of these'
      f' {len(lines)} lines is a whole row: if quotes are plain text in this'
      f' file, read it with {_FLAGS[0]}; if it is one field of many lines,'
      f' with {_FLAGS[1]}'
    )


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

  A label that is null, NaN or absent is none; a number, true or false is a
  class's name, that of `class_name`, unless `number` says that labels are
  numbers.

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
    if isinstance(label, float) and label != label:
      label = None  # pandas and Python's json write a missing one so
    if label is not None:
      if not isinstance(label, str | int | float) or (
        number and isinstance(label, bool)
      ):
        raise ValueError(
          f'{where}: {label_key!r} is {label!r}, neither a name nor a number'
        )
      label = _number(label, where) if number else class_name(label)
    out.append(Example(tuple(texts), label, where))
  return out


def _number(label: str | float, where: str) -> float | None:
  """A label that is a number; None where it is NaN, a missing one."""
  try:
    value = float(label)
  except ValueError as error:
    raise ValueError(f'{where}: label {label!r} is not a number') from error
  if value != value:
    return None
  if value in (float('inf'), float('-inf')):
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
        f' plain text in this file, read it with {_FLAGS[0]}'
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
