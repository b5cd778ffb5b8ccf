"""Readers of two piles of sentences, of which some translate each other.

Those of the foreign side come first. The label says where the translation is,
as each benchmark asks for it: Tatoeba gives each English sentence the number
of a foreign one, BUCC asks for pairs of ids.
"""

from collections.abc import Sequence
import dataclasses
import os
import pathlib

from xlmr_jax.data import files

FOREIGN, ENGLISH = 0, 1

# LASER names the languages of Tatoeba by ISO 639-3; XTREME-R adds those of
# the last line.
_ISO3 = dict(
  pair.split(':')
  for pair in """
    af:afr ar:ara bg:bul bn:ben de:deu el:ell es:spa et:est eu:eus fa:pes
    fi:fin fr:fra he:heb hi:hin hu:hun id:ind it:ita ja:jpn jv:jav ka:kat
    kk:kaz ko:kor ml:mal mr:mar nl:nld pt:por ru:rus sw:swh ta:tam te:tel
    th:tha tl:tgl tr:tur ur:urd vi:vie zh:cmn
    az:aze lt:lit pl:pol ro:ron uk:ukr
  """.split()
)


@dataclasses.dataclass(frozen=True, slots=True)
class Sentence:
  """A sentence of one of two sides, and where its translation is.

  Attributes:
    id: names it within its side.
    text: without white space around it.
    side: 0 for the foreign one, 1 for English.
    label: of an English sentence of Tatoeba the line of its translation,
      counted from 0; of a foreign sentence of BUCC the ids of its
      translations, a tuple that may be empty. Else None.
    where: 'file:line'.
  """

  id: str
  text: str
  side: int
  label: int | tuple[str, ...] | None
  where: str


def tatoeba(
  data_dir: str | os.PathLike, split: str, language: str
) -> list[Sentence]:
  """Reads one language of Tatoeba (Artetxe and Schwenk 2019).

  * LASER's `tatoeba.{iso3}-eng.{iso3}` and `.eng`: line by line translations.
    The English side is sorted by code points, as in XTREME, because otherwise
    the right answers would be 0, 1, 2, …. Equal English sentences stay in the
    order of the file; the label of each is its own translation alone.
  * XTREME's `{language}-en.{language}` and `.en`, sorted already: without
    labels.

  Raises:
    ValueError: none of the files is there, an unknown language, sides that
      differ in length, or a blank line.
  """
  if split != 'test':
    raise ValueError(f'split {split!r}; Tatoeba has nothing but test')
  if language not in _ISO3:
    raise ValueError(
      f'Tatoeba: unknown language {language!r}; known are {" ".join(_ISO3)}'
    )
  iso, folder = _ISO3[language], pathlib.Path(data_dir)
  original = [
    (root / f'tatoeba.{iso}-eng.{iso}', root / f'tatoeba.{iso}-eng.eng')
    for root in (folder, folder / 'v1')
  ]
  prepared = [
    (folder / f'{language}-en.{language}', folder / f'{language}-en.en')
  ]
  number, paths = _both(original + prepared, f'Tatoeba files for {language!r}')
  foreign, english = map(_sentences, paths)
  if len(foreign) != len(english):
    raise ValueError(
      f'{paths[0]} has {len(foreign)} sentences, {paths[1]} has {len(english)}:'
      ' one of them was cut or is another version'
    )
  order = range(len(english))
  known = number < len(original)
  if known:
    # A stable sort: XTREME made its files of labels with one.
    order = sorted(order, key=english.__getitem__)
  out = [
    Sentence(str(i), text, FOREIGN, None, f'{paths[0]}:{i + 1}')
    for i, text in enumerate(foreign)
  ]
  for i, at in enumerate(order):
    label, where = at if known else None, f'{paths[1]}:{at + 1}'
    out.append(Sentence(str(i), english[at], ENGLISH, label, where))
  return out


def bucc2018(
  data_dir: str | os.PathLike, split: str, language: str
) -> list[Sentence]:
  """Reads one language of BUCC 2018 (Zweigenbaum et al. 2018).

  The files are `{language}-en.{split}.{language}` and `.en`, lines of
  'id TAB sentence', and `.gold`, lines of 'foreign id TAB English id', without
  which there are no labels. XTREME's dev is BUCC's `sample` and its test
  BUCC's `training`; either name is read. BUCC's own archives have a folder
  for each language.

  Raises:
    ValueError: a file is missing, empty or wrong in a line, an id stands
      twice, or gold names one that is not there.
  """
  names = {'dev': ('dev', 'sample'), 'test': ('test', 'training')}
  if split not in names:
    raise ValueError(f'split {split!r}; BUCC has dev and test')
  folder, both = pathlib.Path(data_dir), f'{language}-en'
  stems = [
    f'{root / both}.{name}.'
    for root in (folder, folder / both, folder / 'bucc2018' / both)
    for name in names[split]
  ]
  pairs = [(f'{stem}{language}', f'{stem}en') for stem in stems]
  number, paths = _both(pairs, f'BUCC {split} files for {language!r}')
  sides = [_with_ids(path) for path in paths]
  path = files.first([f'{stems[number]}gold'])
  gold = None if path is None else _gold(path, paths, sides)
  out = []
  for side, part in enumerate(sides):
    labelled = gold is not None and side == FOREIGN
    for name, (text, where) in part.items():
      label = gold.get(name, ()) if labelled else None
      out.append(Sentence(name, text, side, label, where))
  return out


def _gold(path, paths, sides) -> dict[str, tuple[str, ...]]:
  """Foreign id → ids of its translations."""
  out: dict[str, tuple[str, ...]] = {}
  for where, pair in _columns(path):
    for name, known, file in zip(pair, sides, paths, strict=True):
      if name not in known:
        raise ValueError(f'{where}: {name!r} is no id of {file}')
    source, target = pair
    if target not in out.get(source, ()):
      out[source] = (*out.get(source, ()), target)
  return out


def _both(
  pairs: Sequence[tuple], description: str
) -> tuple[int, tuple[str, str]]:
  """Which pair of files is there, and its paths."""
  for number, pair in enumerate(pairs):
    first, second = (files.first([path]) for path in pair)
    if first and second:
      return number, (first, second)
    if first or second:
      lacking = pair[1] if first else pair[0]
      raise ValueError(f'{first or second} is there, but not {lacking}')
  looked = ', '.join(str(path) for pair in pairs for path in pair)
  raise files.Missing(
    f'no {description}; looked for {looked} (each also as .gz, .xz and .zst)'
  )


def _sentences(path: str) -> list[str]:
  out = []
  for number, line in enumerate(files.lines(path), 1):
    out.append(line.strip())
    if not out[-1]:
      raise ValueError(
        f'{path}:{number}: a blank line; a line is a sentence, and its number'
        ' says which one it translates'
      )
  if not out:
    raise ValueError(f'{path}: the file is empty')
  return out


def _columns(path: str):
  """Yields ('file:line', [first, second]) of a file of two columns."""
  number = 0
  for number, line in enumerate(files.lines(path), 1):
    row = [field.strip() for field in line.split('\t')]
    if len(row) != 2 or not all(row):
      raise ValueError(
        f'{path}:{number}: {len(row)} columns or an empty one; expected two'
      )
    yield f'{path}:{number}', row
  if not number:
    raise ValueError(f'{path}: the file is empty')


def _with_ids(path: str) -> dict[str, tuple[str, str]]:
  """id → (sentence, 'file:line')."""
  out: dict[str, tuple[str, str]] = {}
  for where, (name, text) in _columns(path):
    if name in out:
      raise ValueError(
        f'{where}: the id {name!r} stands at {out[name][1]} already'
      )
    out[name] = text, where
  return out
