"""Readers of tagged sentences: a word a line, a blank line after a sentence.

```
From    ADP
the     DET

A       DET
```

The tag stands behind a tab. A file without tags, such as XTREME's test files,
has none on any line. `.gz` and `.xz` files are read as they are.
"""

import dataclasses
import os
import pathlib

from xlmr_jax.data import files


@dataclasses.dataclass(frozen=True, slots=True)
class Sentence:
  """Words, their tags, and where they stand.

  `label` has a tag for each word; None where the file has none. `where` is
  'file:line' of the first word.
  """

  words: tuple[str, ...]
  label: tuple[str, ...] | None
  where: str

  def place(self, word: int) -> str:
    """'file:line' of a word; the words of a sentence stand line by line."""
    path, colon, line = self.where.rpartition(':')
    if not colon or not line.isdecimal():
      return f'{self.where}, word {word}'
    return f'{path}:{int(line) + word}'


def xtreme(
  data_dir: str | os.PathLike, split: str, language: str
) -> list[Sentence]:
  """Reads one language of UDPOS or PAN-X as XTREME's scripts leave it.

  The files are `{train,dev,test}-{language}.tsv`.

  Raises:
    files.Missing: no such file; translations of one, which nobody has made: a
      tag belongs to a word, and words are not translated one by one.
    ValueError: one that `read` refuses.
  """
  if split == 'translate-train':
    raise files.Missing('tagged sentences have no machine translation')
  if split not in ('train', 'dev', 'test'):
    raise ValueError(f'split {split!r}; there are train, dev and test')
  path = pathlib.Path(data_dir) / f'{split}-{language}.tsv'
  description = f'{split} file of tagged sentences for {language!r}'
  return read(files.locate([path], description))


def read(path: str | os.PathLike) -> list[Sentence]:
  """Reads a file of tagged sentences.

  A word is everything before the tab. Predictions are written line for line
  beside a file, so no line is skipped.

  Raises:
    ValueError: with file and line: neither one column nor two, a word or a
      tag that is empty, tags on some lines only, a blank line that ends no
      sentence.
  """
  path = os.fspath(path)
  out: list[Sentence] = []
  rows: list[list[str]] = []
  first = width = blank = 0

  def finish():
    words, *tags = zip(*rows, strict=True)
    out.append(Sentence(words, *(tags or [None]), f'{path}:{first}'))
    rows.clear()

  for number, line in enumerate(files.lines(path), 1):
    where = f'{path}:{number}'
    if not line:
      if rows:
        finish()
      else:
        blank = blank or number
      continue
    if blank:
      raise ValueError(f'{path}:{blank}: a blank line that ends no sentence')
    row = line.split('\t')
    width = width or len(row)
    if len(row) not in (1, 2):
      raise ValueError(
        f'{where}: {len(row)} columns; a line is a word, or a word, a tab and'
        ' its tag'
      )
    if not row[0].strip(' '):
      raise ValueError(f'{where}: no word on this line')
    if len(row) == 2:
      row[1] = row[1].strip()
      if not row[1]:
        raise ValueError(f'{where}: no tag behind the tab')
    if len(row) != width:
      has, others = ('a', 'none') if len(row) == 2 else ('no', 'one')
      raise ValueError(
        f'{where}: the word has {has} tag, those before it have {others}'
      )
    if not rows:
      first = number
    rows.append(row)
  if rows:
    finish()
  if not out:
    raise ValueError(f'{path}: the file is empty')
  return out
