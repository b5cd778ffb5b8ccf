"""Readers of several labels an example: `label` becomes a tuple of names.

Three ways to write them are read, each as people have it:

  a column with a separator   text<TAB>label      …<TAB>joy,surprise
  a list in JSONL             {"text": "…", "label": ["joy", "surprise"]}
  a column of 0 and 1 a class text,joy,surprise   …,1,1

() says that no class applies, None that nobody knows. An empty cell is (),
unless all cells of the file are; null or no key in JSONL is None; a row of -1
in columns of 0 and 1 is None.
"""

from collections.abc import Callable, Sequence
import dataclasses
import os

from xlmr_jax.data import files
from xlmr_jax.data.readers.tables import Column, Example, class_name

SEPARATOR = ','
OTHERS = ('|', ';', ',')  # what else may have been meant
ON, OFF, UNKNOWN = ('1', '1.0', 'true'), ('0', '0.0', 'false'), ('-1', '-1.0')

# Reads a file with one column as the label, or (None) without labels.
Read = Callable[[Column | None], list[Example]]


def read(
  path: str | os.PathLike,
  read_file: Read,
  label: Column | Sequence[Column] | None,
  separator: str = SEPARATOR,
) -> list[Example]:
  """Reads examples with any number of labels.

  Args:
    path: of the file, for its lists in JSONL and for errors.
    read_file: column → the file's examples with it as their label.
    label: a column or key with all labels; several of them, each with 0 or 1
      for the class of its name; None: there are no labels.
    separator: between the labels of a cell.

  Raises:
    ValueError: with file and line: what is no list of names and no text, a name
      twice, a cell that is neither 0 nor 1, or a separator that looks wrong.
  """
  if label is None:
    return read_file(None)
  if isinstance(label, tuple | list):
    return _flags(read_file, label)
  if not separator:
    raise ValueError(
      'label_separator is empty: name what stands between labels'
    )
  if isinstance(label, str) and '.jsonl' in os.path.basename(path).lower():
    examples = read_file(None)
    given = [item.get(label) for _, item in files.objects(path)]
    cells = [
      _names_of(value, label, example.where)
      for value, example in zip(given, examples, strict=True)
    ]
  else:
    examples = read_file(label)
    cells = [example.label for example in examples]
    if any(cells):
      cells = [cell or '' for cell in cells]
  _check_separator(path, cells, separator)
  return [
    dataclasses.replace(example, label=_split(cell, separator, example.where))
    for example, cell in zip(examples, cells, strict=True)
  ]


def _names_of(value, key: str, where: str) -> str | list[str] | None:
  """A label of JSONL: a list of names or whole numbers, or a text."""
  if value is None or isinstance(value, str):
    return value
  if isinstance(value, list) and all(type(x) in (str, int) for x in value):
    return [class_name(x) for x in value]
  raise ValueError(
    f'{where}: {key!r} is {value!r}, neither a list of names nor a text'
  )


def _split(cell, separator: str, where: str) -> tuple[str, ...] | None:
  if cell is None:
    return None
  parts = cell.split(separator) if isinstance(cell, str) else cell
  names = tuple(class_name(name.strip()) for name in parts if name.strip())
  if len(set(names)) < len(names):
    twice = next(name for name in names if names.count(name) > 1)
    raise ValueError(f'{where}: the label {twice!r} is named twice')
  return names


def _check_separator(path, cells: Sequence, separator: str) -> None:
  """Raises ValueError where another one separates what this one does not."""
  texts = [cell for cell in cells if isinstance(cell, str)]
  if any(separator in text for text in texts):
    return
  for other in OTHERS:
    if cell := next((text for text in texts if other in text), None):
      raise ValueError(
        f'{path}: the label {cell!r} has {other!r} and none has the separator '
        f'{separator!r}: set label_separator to {other!r} if these are several '
        'labels'
      )


def _flags(read_file: Read, columns: Sequence[Column]) -> list[Example]:
  """One column of 0 and 1 a class; the class has the column's name."""
  parts = [read_file(column) for column in columns]
  out = []
  for row in zip(*parts, strict=True):
    cells = ['' if e.label is None else str(e.label).lower() for e in row]
    where = row[0].where
    label: tuple[str, ...] | None = tuple(
      class_name(name)
      for name, cell in zip(columns, cells, strict=True)
      if cell in ON
    )
    if all(cell in UNKNOWN for cell in cells) or not any(cells):
      label = None
    else:
      for name, cell in zip(columns, cells, strict=True):
        if cell not in ON + OFF:
          raise ValueError(
            f'{where}: {name!r} is {cell!r}: a column of a class holds 0 or 1'
          )
    out.append(dataclasses.replace(row[0], label=label))
  return out
