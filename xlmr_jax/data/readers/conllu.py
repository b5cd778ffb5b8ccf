"""Tagged sentences out of Universal Dependencies treebanks, as XTREME does it.

```
# sent_id = 7
1-2  au     _     _    ...  _  _       one word for a tagger, with the tag of
1    à      à     ADP  ...  3  case    the part that is nearest to the root;
2    le     le    DET  ...  3  det     of equally near ones (both hang on the
3    parc   parc  NOUN ...  0  root    3rd) the class of words that comes first
                                       in a list decides: ADP
```

XTREME (Hu et al. 2020, arXiv:2003.11080) puts all treebanks of a language of
UD 2.5 behind each other (XTREME-R lt, pl, ro, uk and wo of UD 2.7), fuses such
parts by the rules of the tools it took for it (coastalcph/ud-conversion-tools),
leaves out empty nodes (ids such as 8.1) and sentences whose text a licence
withholds, and takes the zero-width non-joiner and spaces out of words. Files
of another release of UD give other sentences.
"""

import os
import pathlib
import re

from xlmr_jax.data import files
from xlmr_jax.data.readers.tagged import Sentence

# Which of equally near parts of a fused word is its head, and for which
# languages the tools have other lists.
_FIRST = (
  'VERB NOUN PROPN PRON ADJ NUM ADV INTJ AUX ADP DET PART CCONJ SCONJ X PUNCT'
).split()
_FIRST_OF = {
  'es': 'VERB AUX PRON ADP DET'.split(),
  'fr': 'VERB AUX PRON NOUN ADJ ADV ADP DET PART SCONJ CONJ'.split(),
  'it': 'VERB AUX ADV PRON ADP DET INTJ'.split(),
}
_COLUMNS = 10
_FORM, _UPOS, _HEAD = 1, 3, 6
_SPAN = re.compile(r'([0-9]+)-([0-9]+)')  # of parts
_EMPTY = re.compile(r'[0-9]+\.[0-9]+')  # a word that is understood


def udpos(
  data_dir: str | os.PathLike, split: str, language: str
) -> list[Sentence]:
  """Reads all treebanks of a language.

  Args:
    data_dir: a folder with files `{language}_{name}-ud-{split}.conllu`, or with
      the folders `UD_*` that hold them, such as the archive of a release; each
      file may be packed (.gz, .xz, .zst).
    split: train, dev or test. All of them have tags, unlike XTREME's own test
      files, and many treebanks have nothing but test.
    language: the two or three letters before the underscore.

  Raises:
    ValueError: no such file, the same one twice, or one that `read` refuses.
  """
  if split not in ('train', 'dev', 'test'):
    raise ValueError(f'split {split!r}; there are train, dev and test')
  folder = pathlib.Path(data_dir)
  # Large training sets come in parts: de_hdt-ud-train-a-1.conllu.
  name = f'{language}_*-ud-{split}*.conllu'
  paths: dict[str, pathlib.Path] = {}
  for above in ('', 'UD_*/', '*/UD_*/'):
    for suffix in files.SUFFIXES:
      for path in sorted(folder.glob(f'{above}{name}{suffix}')):
        plain = path.name.removesuffix(suffix)
        if plain in paths:
          raise ValueError(f'{path} is {paths[plain]} again; keep one of them')
        paths[plain] = path
  if not paths:
    raise files.Missing(
      f'no treebank of {language!r} with a {split} file; looked in {folder} for'
      f' {name} and UD_*/{name} (each also as .gz, .xz and .zst)'
    )
  return [s for plain in sorted(paths) for s in read(paths[plain], language)]


def read(path: str | os.PathLike, language: str = '') -> list[Sentence]:
  """Reads a treebank.

  Args:
    path: a .conllu file.
    language: decides which part of a fused word gives the tag.

  Raises:
    ValueError: with file and line: not ten columns, ids that do not count the
      words, a head that is no word, no form or no tag.
  """
  path = os.fspath(path)
  first = _FIRST_OF.get(language, _FIRST)
  out: list[Sentence] = []
  rows: list[tuple[int, list[str]]] = []

  def finish():
    words, tags = _words(path, rows, first)
    hidden = words.count('_')
    if not hidden or hidden < len(words) - 1:  # else a licence withholds them
      words = tuple(w.replace('\u200c', '').replace(' ', '') for w in words)
      # Words and lines do not keep step: no 'file:line' for Sentence.place.
      where = f'{path}, sentence at line {rows[0][0]}'
      if not all(words):
        raise ValueError(f'{where}: word {words.index("")} has no letter')
      out.append(Sentence(words, tuple(tags), where))
    rows.clear()

  for number, line in enumerate(files.lines(path), 1):
    if line.startswith('#'):
      continue
    if line.strip():
      row = [field.strip() for field in line.split('\t')]
      if len(row) != _COLUMNS:
        raise ValueError(
          f'{path}:{number}: {len(row)} columns, CoNLL-U has {_COLUMNS}'
        )
      rows.append((number, row))
    elif rows:
      finish()
  if rows:
    finish()
  if not out:
    raise ValueError(f'{path}: no sentence with words in this file')
  return out


def _words(
  path: str, rows: list[tuple[int, list[str]]], first: list[str]
) -> tuple[list[str], list[str]]:
  """The words of a sentence, fused ones whole, and their tags."""
  forms, tags, heads = [], [], []
  fused: dict[int, tuple[int, str]] = {}  # first part → last part, form
  end = 0
  for number, row in rows:
    where, name = f'{path}:{number}', row[0]
    if _EMPTY.fullmatch(name):
      continue
    if not row[_FORM]:
      raise ValueError(f'{where}: no word in column {_FORM + 1}')
    if span := _SPAN.fullmatch(name):
      start, last = map(int, span.groups())
      if start != len(forms) + 1 or start <= end or last < start:
        raise ValueError(f'{where}: the words {name} do not begin here')
      fused[start], end = (last, row[_FORM]), last
      continue
    if name != str(len(forms) + 1):
      raise ValueError(f'{where}: id {name!r}, expected {len(forms) + 1}')
    if not row[_HEAD].isdecimal():
      raise ValueError(f'{where}: the head {row[_HEAD]!r} is no number')
    if not row[_UPOS]:
      raise ValueError(f'{where}: no tag in column {_UPOS + 1}')
    forms.append(row[_FORM])
    tags.append(row[_UPOS])
    heads.append(int(row[_HEAD]))
  if end > len(forms) or max(heads, default=0) > len(forms):
    raise ValueError(
      f'{path}:{rows[0][0]}: a sentence of {len(forms)} words speaks of more'
    )
  words, classes, at = [], [], 1
  while at <= len(forms):
    last, form = fused.get(at, (at, forms[at - 1]))
    parts = range(at, last + 1)
    words.append(form)
    classes.append(tags[_top(parts, heads, tags, first) - 1])
    at = last + 1
  return words, classes


def _top(parts: range, heads: list[int], tags: list[str], first: list[str]):
  """The part nearest to the root; of several, by class, then from the left."""

  def rank(part):
    above, at = set(), heads[part - 1]
    while at and at not in above:
      above.add(at)
      at = heads[at - 1]
    tag = tags[part - 1]
    return len(above), first.index(tag) if tag in first else len(first)

  return parts[0] if len(parts) == 1 else min(parts, key=rank)
