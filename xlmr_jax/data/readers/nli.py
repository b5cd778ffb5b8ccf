"""XNLI and PAWS-X, in any of the forms in which they are handed round."""

from collections.abc import Sequence
import os
import pathlib

from xlmr_jax.data import files
from xlmr_jax.data.readers.tables import Example, check_columns, read_rows

# XNLI.


def xnli(
  data_dir: str | os.PathLike, split: str, language: str
) -> list[Example]:
  """Reads one language of XNLI, in any of the forms it is distributed in.

  * XTREME's `{train,dev,test}-{language}.tsv`, whose test files have no
    labels: `test.labels.txt`, one label a line and the same for all
    languages, is taken beside them where it exists.
  * The official `XNLI-1.0/xnli.{dev,test}.tsv`, all languages in one file.
  * The official training set, MultiNLI, in each language: English, and with
    the split 'translate-train' the machine translations of it,
    `XNLI-MT-1.0/multinli/multinli.train.{language}.tsv`.
  * The machine translations that XTREME made of it instead, also of
    'translate-train': `en-{language}-translated.tsv`, five columns (both texts
    in English, both translated, the label) without a header.

  The official files are looked for in `data_dir` itself too.

  Raises:
    files.Missing: none of the files is there.
    ValueError: a row has the wrong number of columns; the language is not in
      the file.
  """
  folder, stem = _training(data_dir, split, language, 'XNLI')
  processed = [folder / f'{stem}-{language}.tsv']
  translated = [folder / f'en-{language}-translated.tsv']
  if stem == 'train':
    name = f'multinli.train.{language}.tsv'
    official = [
      folder / name,
      folder / 'XNLI-MT-1.0' / 'multinli' / name,
      folder / 'multinli' / name,
    ]
    if split == 'translate-train':
      official += translated
  else:
    name = f'xnli.{split}.tsv'
    official = [folder / name, folder / 'XNLI-1.0' / name]
  description = f'XNLI {split} file for {language!r}'
  path = files.locate(processed + official, description)
  if path == files.first(processed):
    return _xtreme_pairs(path, stem)
  if path == files.first(translated):
    return _five_columns(path)
  if stem == 'train':
    return _headed(path, 3, (0, 1, 2))
  return _official(path, language)


def _training(
  data_dir, split: str, language: str, name: str
) -> tuple[pathlib.Path, str]:
  """The folder, and what the names of a split's files start with.

  Raises:
    files.Missing: training data of a language that has none of its own.
  """
  if split not in ('train', 'translate-train', 'dev', 'test'):
    raise ValueError(
      f'split {split!r}; {name} has train, translate-train, dev and test'
    )
  if split == 'train' and language != 'en':
    raise files.Missing(
      f'no {name} train file for {language!r}: what there is in other '
      'languages than English is machine-translated, and is the split '
      "'translate-train'"
    )
  return pathlib.Path(data_dir), split.removeprefix('translate-')


def _nli_label(name: str) -> str:
  """The training set's file says 'contradictory'."""
  name = name.strip()
  return 'contradiction' if name == 'contradictory' else name


def _xtreme_pairs(path: str, split: str, gold: bool = True) -> list[Example]:
  """XTREME's rows; `gold`: whether all languages share their test labels."""
  rows = list(read_rows(path, '\t', quoted=True))
  if not rows:
    raise ValueError(f'{path}: the file is empty')
  # Only XTREME's test files come without labels.
  expected = len(rows[0][1]) if split == 'test' else 3
  if expected not in (2, 3):
    raise ValueError(
      f'{rows[0][0]}: {expected} columns; expected two texts, or two texts'
      ' and a label'
    )
  check_columns(rows, expected)
  if expected == 3:
    return [
      Example((row[0], row[1]), _nli_label(row[2]), where)
      for where, row in rows
    ]
  beside = pathlib.Path(path).with_name('test.labels.txt')
  labels: list[str | None] = [None] * len(rows)
  if gold and (labels_path := files.first([beside])):
    labels = [_nli_label(line) for line in files.lines(labels_path)]
    if len(labels) != len(rows):
      raise ValueError(
        f'{labels_path} has {len(labels)} labels, {path} has {len(rows)}'
        ' examples'
      )
  return [
    Example((row[0], row[1]), label, where)
    for (where, row), label in zip(rows, labels, strict=True)
  ]


def _official(path: str, language: str) -> list[Example]:
  """`xnli.{dev,test}.tsv`: nineteen columns under a header."""
  rows = list(read_rows(path, '\t', quoted=False))
  check_columns(rows, 19)
  out = [
    Example((row[6].strip(), row[7].strip()), _nli_label(row[1]), where)
    for where, row in rows[1:]
    if row[0].strip() == language
  ]
  if not out:
    known = ' '.join(sorted({row[0].strip() for _, row in rows[1:]}))
    raise ValueError(f'{path} has no language {language!r}; it has {known}')
  return out


def _headed(path: str, width: int, places: Sequence[int]) -> list[Example]:
  """A table under a header: the columns of two texts and a label."""
  rows = list(read_rows(path, '\t', quoted=False))
  check_columns(rows, width)
  a, b, c = places
  return [
    Example((row[a].strip(), row[b].strip()), _nli_label(row[c]), where)
    for where, row in rows[1:]
  ]


def _five_columns(path: str) -> list[Example]:
  """XTREME's translations: two texts before and after, and the label."""
  rows = list(read_rows(path, '\t', quoted=False))
  if not rows:
    raise ValueError(f'{path}: the file is empty')
  check_columns(rows, 5)
  return [
    Example((row[2].strip(), row[3].strip()), _nli_label(row[4]), where)
    for where, row in rows
  ]


# PAWS-X.


def pawsx(
  data_dir: str | os.PathLike, split: str, language: str
) -> list[Example]:
  """Reads one language of PAWS-X (Yang et al. 2019); labels are '0' and '1'.

  * XTREME's `{train,dev,test}-{language}.tsv`; test files have no labels.
  * The official `x-final/{language}/{train,dev_2k,test_2k}.tsv`; other
    languages than English have machine translations, `translated_train.tsv`,
    which are the split 'translate-train'.

  Some texts were never translated and are 'NS': they stay, as in XTREME.

  Raises:
    files.Missing: none of the files is there.
    ValueError: a row has the wrong number of columns.
  """
  folder, stem = _training(data_dir, split, language, 'PAWS-X')
  processed = [folder / f'{stem}-{language}.tsv']
  name = f'{split}_2k.tsv'
  if stem == 'train':
    name = 'train.tsv' if language == 'en' else 'translated_train.tsv'
  roots = [folder / language, folder / 'x-final' / language]
  official = [root / name for root in roots]
  description = f'PAWS-X {split} file for {language!r}'
  path = files.locate(processed + official, description)
  if path == files.first(processed):
    return _xtreme_pairs(path, stem, gold=False)
  return _headed(path, 4, (1, 2, 3))
