"""Readers of CLUE (Xu et al. 2020, arXiv:2004.05986): texts and their classes.

```
{"sentence1": "花呗支持高铁票支付吗", "sentence2": "…", "label": "0", "id": 1}
→ ExampleWithId(('花呗支持高铁票支付吗', '…'), '0', 'dev.json:2', id=1)
```

The tasks that ask about a passage stand in clue_passages.py, its entities in
cluener.py, FewCLUE in fewclue.py. All take (data_dir, split, language) and
find the released files, unpacked or not: `afqmc_public/dev.json` in `data_dir`,
`afqmc/dev.json`, `data_dir` itself, or `afqmc_public.zip`. Splits are train,
dev and test; where a task has test sets of two versions also test1.0 and
test1.1.

Inputs are those of CLUE's PyTorch baseline (CLUEbenchmark/CLUE @9d23293,
baselines/models_pytorch/classifier_pytorch/processors/clue.py).
"""

from collections.abc import Callable, Mapping, Sequence
import dataclasses
import os
import pathlib
from typing import Any
import warnings

from xlmr_jax.data import files
from xlmr_jax.data.readers import tables, zips

_NLI = ('contradiction', 'entailment', 'neutral')

# The classes, in the order of the baseline's ids.
LABELS: Mapping[str, tuple[str, ...]] = {
  'afqmc': ('0', '1'),
  'tnews': tuple(str(100 + i) for i in range(17) if i not in (5, 11)),
  'iflytek': tuple(map(str, range(119))),
  'cmnli': _NLI,
  'ocnli': _NLI,
  'csl': ('0', '1'),
  'cluewsc': ('true', 'false'),
  'ax': _NLI,
}


@dataclasses.dataclass(frozen=True, slots=True)
class ExampleWithId(tables.Example):
  """An example with the name that a submission calls it by.

  Attributes:
    id: as the file has it, a number or a text; without one, the row's number
      from 0, rows that were left out counted.
  """

  id: int | str


# What becomes the input. Every function takes (object, 'file:line').

Texts = Callable[[dict[str, Any], str], tuple[str, ...]]


def sentence(item: dict[str, Any], where: str) -> tuple[str, ...]:
  return tuple(files.texts(item, ('sentence',), where))


def pair(item: dict[str, Any], where: str) -> tuple[str, ...]:
  return tuple(files.texts(item, ('sentence1', 'sentence2'), where))


def hypothesis(item: dict[str, Any], where: str) -> tuple[str, ...]:
  """A premise and a hypothesis; the diagnostics used both pairs of keys."""
  if 'sentence1' in item:
    return pair(item, where)
  return tuple(files.texts(item, ('premise', 'hypothesis'), where))


def keywords(item: dict[str, Any], where: str) -> tuple[str, ...]:
  """CSL's: the keywords, a space between them, beside the abstract."""
  (abstract,) = files.texts(item, ('abst',), where)
  words = item.get('keyword')
  if isinstance(words, str):
    return words, abstract
  if not isinstance(words, list) or not all(isinstance(w, str) for w in words):
    raise ValueError(f"{where}: 'keyword' is {words!r}, not a list of texts")
  return ' '.join(words), abstract


def marked(item: dict[str, Any], where: str) -> tuple[str, ...]:
  """CLUEWSC's: marks around both spans, `_noun_` and `[pronoun]`.

  >>> marked({'text': '床上的手机响了，它…', 'target': {
  ...   'span1_text': '手机', 'span1_index': 3,
  ...   'span2_text': '它', 'span2_index': 8}}, 'dev.json:1')
  ('床上的_手机_响了，[它]…',)

  Raises:
    ValueError: a span that does not stand where the file says, or two that
      overlap.
  """
  (text,) = files.texts(item, ('text',), where)
  target = item.get('target')
  if not isinstance(target, dict):
    raise ValueError(f"{where}: 'target' is {target!r}, not an object of spans")
  spans = []
  for name, marks in (('span1', '__'), ('span2', '[]')):
    (words,) = files.texts(target, (f'{name}_text',), where)
    start = target.get(f'{name}_index')
    if type(start) is not int:
      raise ValueError(f'{where}: {name}_index is {start!r}, not a number')
    if start < 0 or not words or not text.startswith(words, start):
      raise ValueError(
        f'{where}: {name} {words!r} does not stand at character {start}, where'
        f' the text has {text[max(start, 0) :][: len(words)]!r}'
      )
    spans.append((start, start + len(words), marks))
  (a, b, first_marks), (c, d, second_marks) = sorted(spans)
  if c < b:
    raise ValueError(
      f'{where}: the two spans overlap, {text[a:b]!r} at {a} and {text[c:d]!r}'
      f' at {c}'
    )
  parts = (text[:a], first_marks[0], text[a:b], first_marks[1], text[b:c])
  return (
    ''.join((*parts, second_marks[0], text[c:d], second_marks[1], text[d:])),
  )


# Lines of JSON, each an example.


def read(
  path: str | os.PathLike,
  texts: Texts,
  labels: Sequence[str] | None,
  *,
  disagreed: bool = False,
) -> list[ExampleWithId]:
  """Reads a file of labelled texts.

  Args:
    path: the file, plain, .gz, .xz or .zst.
    texts: makes the input of an object.
    labels: the classes; None for whatever stands there.
    disagreed: whether a row whose label is '-', on which annotators did not
      agree, is left out; a warning counts them.

  Raises:
    ValueError: with file and line: an object that is wrong, a label that is
      none of the classes, an id that stands twice. In a file with labels,
      which nobody submits, the last is only warned of: FewCLUE has one.
  """
  path = os.fspath(path)
  out: list[ExampleWithId] = []
  left, rows = 0, 0
  for rows, (where, item) in enumerate(files.objects(path), 1):
    label = item.get('label')
    if isinstance(label, bool):
      label = str(label).lower()
    label = None if label is None else str(label).strip()
    if label == '-' and disagreed:
      left += 1
      continue
    if label == '-' or not label:
      label = None
    if labels and label is not None and label not in labels:
      known = ', '.join(labels[:10]) + (', …' if len(labels) > 10 else '')
      raise ValueError(f'{where}: label {label!r} is none of {known}')
    out.append(
      ExampleWithId(texts(item, where), label, where, id_of(item, rows - 1))
    )
  files.check_ids(path, out, all(row.label is not None for row in out))
  if left:
    warnings.warn(
      f"{path}: {left:,} of {rows:,} rows have the label '-', on which their"
      ' annotators did not agree; they are left out',
      stacklevel=2,
    )
  return out


def id_of(item: dict[str, Any], number: int) -> int | str:
  for key in ('id', 'idx', 'index'):
    if isinstance(item.get(key), int | str):
      return item[key]
  return number


# The tasks.


def check(split: str, language: str, name: str, splits: Sequence[str]) -> None:
  if language != 'zh':
    raise ValueError(f'{name} is Chinese, there is none in {language!r}')
  if split not in splits:
    raise ValueError(f'split {split!r}; {name} has {", ".join(splits)}')


SPLITS = ('train', 'dev', 'test', 'test1.0', 'test1.1')


def names_of(split: str) -> list[str]:
  """Files of a split. CHID and C3 have no test set without a version."""
  if split == 'test':
    return ['test.json', 'test1.1.json', 'test1.0.json']
  return [f'{split}.json']


def _task(
  name: str,
  folder: str,
  data_dir: str | os.PathLike,
  split: str,
  language: str,
  texts: Texts,
  *,
  names: Sequence[str] = (),
  splits: Sequence[str] = SPLITS,
) -> list[ExampleWithId]:
  check(split, language, name.upper(), splits)
  path = zips.locate(
    data_dir,
    [f'{folder}_public', folder, name],
    names or names_of(split),
    f'{name.upper()} {split} file',
  )
  # A submission must answer every question of a test set.
  drop = LABELS[name] is _NLI and not split.startswith('test')
  return zips.read(
    lambda plain: read(plain, texts, LABELS[name], disagreed=drop), path
  )


def afqmc(
  data_dir: str | os.PathLike, split: str, language: str = 'zh'
) -> list[ExampleWithId]:
  """Reads AFQMC: whether two questions to a bank's service mean the same."""
  return _task('afqmc', 'afqmc', data_dir, split, language, pair)


def tnews(
  data_dir: str | os.PathLike, split: str, language: str = 'zh'
) -> list[ExampleWithId]:
  """Reads TNEWS: the section of a headline, '100' to '116'.

  As in the baseline the headline alone is the input, not its keywords.
  """
  return _task('tnews', 'tnews', data_dir, split, language, sentence)


def iflytek(
  data_dir: str | os.PathLike, split: str, language: str = 'zh'
) -> list[ExampleWithId]:
  """Reads IFLYTEK: the kind of an app, by its long description."""
  return _task('iflytek', 'iflytek', data_dir, split, language, sentence)


def cmnli(
  data_dir: str | os.PathLike, split: str, language: str = 'zh'
) -> list[ExampleWithId]:
  """Reads CMNLI: MNLI and XNLI in Chinese. Rows labelled '-' are left out."""
  return _task('cmnli', 'cmnli', data_dir, split, language, pair)


def ocnli(
  data_dir: str | os.PathLike, split: str, language: str = 'zh'
) -> list[ExampleWithId]:
  """Reads OCNLI (Hu et al. 2020, arXiv:2010.05444).

  Its training set comes in five sizes, each within the next: 'train' is the
  largest that is there, train.50k, and a warning says where it is another;
  'train.3k', 'train.5k', 'train.10k' and 'train.30k' ask for one. Rows
  labelled '-' are left out.
  """
  sizes = [f'train.{size}k' for size in (50, 30, 10, 5, 3)]
  names = [f'{size}.json' for size in sizes]
  names.insert(1, 'train.json')  # as it is called where there is one only
  out = _task(
    'ocnli',
    'ocnli',
    data_dir,
    split,
    language,
    pair,
    names=names if split == 'train' else (),
    splits=(*SPLITS[:3], *sizes),
  )
  file = pathlib.Path(out[0].where.rpartition(':')[0] if out else '')
  if split == 'train' and file.name.split('.json')[0] in sizes[1:]:
    warnings.warn(
      f'{file} is the largest training set of OCNLI there; the whole is'
      ' train.50k.json',
      stacklevel=2,
    )
  return out


def csl(
  data_dir: str | os.PathLike, split: str, language: str = 'zh'
) -> list[ExampleWithId]:
  """Reads CSL: whether all keywords are those of an abstract."""
  return _task('csl', 'csl', data_dir, split, language, keywords)


def cluewsc(
  data_dir: str | os.PathLike, split: str, language: str = 'zh'
) -> list[ExampleWithId]:
  """Reads CLUEWSC2020: whether a pronoun means a noun. See `marked`."""
  return _task('cluewsc', 'cluewsc2020', data_dir, split, language, marked)


def ax(
  data_dir: str | os.PathLike, split: str, language: str = 'zh'
) -> list[ExampleWithId]:
  """Reads the diagnostics, a test set for models of CMNLI and OCNLI."""
  return _task(
    'ax',
    'clue_diagnostics',
    data_dir,
    split,
    language,
    hypothesis,
    names=['diagnostics_test.json', 'test.json'],
    splits=['test'],
  )
