"""Reader of CLUENER (Xu et al. 2020, arXiv:2001.04351): entities in Chinese.

```
{"text": "彭小军认为，台湾的", "label": {"name": {"彭小军": [[0, 2]]},
                                        "address": {"台湾": [[6, 7]]}}}

彭 小 军 认 为 ， 台 湾 的
B  I  I  O  O  O  B  I  O      B-name, I-name …
```

Every character is a word; the ends in the file are inclusive.
"""

import dataclasses
import operator
import os
from typing import Any
import warnings

from xlmr_jax.data import files
from xlmr_jax.data.readers import clue, tagged, zips

# Its README writes 'goverment'; its files do not.
TYPES = (
  'address',
  'book',
  'company',
  'game',
  'government',
  'movie',
  'name',
  'organization',
  'position',
  'scene',
)

# The tags, in the order of a model's outputs.
LABELS = ('O', *(f'{place}-{kind}' for kind in TYPES for place in 'BI'))


@dataclasses.dataclass(frozen=True, slots=True)
class CharacterSentence(tagged.Sentence):
  """A sentence whose words are its characters; `id` as in ExampleWithId."""

  id: int | str

  def place(self, word: int) -> str:
    return f'{self.where}, character {word}'


def cluener(
  data_dir: str | os.PathLike, split: str, language: str = 'zh'
) -> list[CharacterSentence]:
  """Reads CLUENER (Xu et al. 2020, arXiv:2001.04351), a character a word.

  An entity's first character is tagged 'B-name', the others 'I-name', so that
  two of a type may touch. Of entities that overlap the longest is tagged, of
  equal ones the first; a warning counts the others. There is one such
  sentence, in the training set.

  Raises:
    ValueError: with file and line: an object that is wrong, an entity that
      does not stand where the file says (its end is inclusive), a type that
      is none of TYPES.
  """
  clue.check(split, language, 'CLUENER', clue.SPLITS[:3])
  path = zips.locate(
    data_dir,
    ['cluener_public', 'cluener'],
    [f'{split}.json'],
    f'CLUENER {split} file',
  )
  return zips.read(_cluener, path)


def _cluener(path: str) -> list[CharacterSentence]:
  out, lost = [], []
  for number, (where, item) in enumerate(files.objects(path)):
    (text,) = files.texts(item, ('text',), where)
    if not text:
      raise ValueError(f'{where}: a sentence without characters')
    tags = None
    if item.get('label') is not None:
      tags = ['O'] * len(text)
      # The sort is stable: of equal ones the first comes first.
      spans = _entities(item['label'], text, where)
      for start, end, kind in sorted(spans, key=lambda s: s[0] - s[1]):
        if any(tag != 'O' for tag in tags[start:end]):
          lost.append(f'{text[start:end]!r} ({kind}) at {where}')
          continue
        tags[start:end] = [f'I-{kind}'] * (end - start)
        tags[start] = f'B-{kind}'
      tags = tuple(tags)
    out.append(
      CharacterSentence(tuple(text), tags, where, clue.id_of(item, number))
    )
  files.check_ids(path, out, all(s.label is not None for s in out))
  if lost:
    warnings.warn(
      f'{path}: {len(lost):,} entities overlap longer ones and are not tagged:'
      f' {", ".join(lost[:3])}' + (', …' if lost[3:] else ''),
      stacklevel=2,
    )
  return out


def _entities(label: Any, text: str, where: str) -> list[tuple[int, int, str]]:
  """(first, end, type) of the entities of a sentence, by place."""
  out = []
  try:
    for kind, surfaces in label.items():
      for surface, places in surfaces.items():
        for start, last in places:
          place = operator.index(start), operator.index(last) + 1
          out.append((*place, kind, surface))
  except (AttributeError, TypeError, ValueError) as error:
    raise ValueError(
      f"{where}: 'label' is {label!r}, not an object of types, entities and"
      ' their [[first, last], ...]'
    ) from error
  for start, end, kind, surface in out:
    if kind not in TYPES:
      raise ValueError(
        f'{where}: {kind!r} is no type; they are {", ".join(TYPES)}'
      )
    if start < 0 or not surface or text[start:end] != surface:
      raise ValueError(
        f'{where}: {kind} {surface!r} does not stand at [{start}, {end - 1}],'
        f' where the text has {text[max(start, 0) : end]!r}'
      )
  return sorted((start, end, kind) for start, end, kind, _ in out)
