"""XTREME's tasks from tensorflow_datasets' builders, where these are right.

  --data_dir=tfds:DIR      DIR as in tfds' data_dir; empty for its own default

Only prepared data is read. Nothing is downloaded: an error names the command
that prepares what is missing. TensorFlow is not needed where the file
format is array_record.

  xnli      dev and test: xnli; translate-train and train: xtreme_xnli, which
            has English pairs that stand twice in MultiNLI once
  panx      wikiann, whose test files have their tags
  xquad     test: xquad; train and English dev: squad/v1.1, their translations:
            xquad
  mlqa      dev and test: mlqa; the rest as xquad
  tydiqa    tydi_qa/goldp; test is dev
  tatoeba   tatoeba, whose only split is called 'train'
  xcopa     English COPA only: super_glue/copa

These are refused, with the reason: udpos (xtreme_pos), bucc2018 (bucc) and
pawsx (paws_x_wiki, xtreme_pawsx).

No prepared data could be downloaded when this was written. All of it was read
in the builders' sources (tensorflow_datasets 4.9.10): names, features, orders
of labels, splits, how files are parsed. The tests run those sources on the
benchmarks' files, or on made ones, and compare with the readers of files. Two
things cannot be known so. XNLI's pair numbers are taken to count from 1 in the
order of its files; each reading checks it (three pairs share a premise and
have three labels). And the builder of TyDi QA takes questions with the same id
for one: if translations repeat theirs, as XTREME's English file does, answers
stand elsewhere than they say, which is an error.

Builders store examples by a hash of their keys. Where these count, the order
of the files is made again, so that the lines of a submission are those of the
benchmark; questions have ids instead.
"""

from collections.abc import Callable, Iterator
import hashlib
import os
import pathlib
from typing import Any
import warnings

from xlmr_jax.data import files, prepared
from xlmr_jax.data.readers import (
  bitext,
  choices,
  squad,
  tables,
  tagged,
  xtreme_questions,
)

PREFIX = 'tfds:'
# Those that were looked at. Before 3.0.0 those of questions took white space
# out of contexts, and up to a quarter of the answers stood elsewhere.
_VERSIONS = {
  'xnli': (1, 1, 0),
  'xtreme_xnli': (1, 1, 0),
  'wikiann': (1, 0, 0),
  'xquad': (3, 0, 0),
  'squad': (3, 0, 0),
  'mlqa': (1, 0, 0),
  'tydi_qa': (3, 0, 0),
  'tatoeba': (1, 0, 0),
  'super_glue': (1, 0, 2),
}
_REFUSED = {
  'udpos': (
    'the builder xtreme_pos has Tamil and Tagalog swapped (its ta is Tagalog,'
    " its tl Tamil) and splits words that XTREME leaves whole: read XTREME's"
    " files, or make them from the treebanks' (xlmr_jax.data.readers.conllu)"
  ),
  'bucc2018': (
    'the builder bucc has the pairs that translate each other and no other'
    " sentence, so there is no text to mine them from: read BUCC's files"
  ),
  'pawsx': (
    "the builders paws_x_wiki and xtreme_pawsx take the texts' quotes for those"
    ' of CSV: quotes go, and pairs are run together or lost (39 of the 2,000 of'
    " Spanish dev): read PAWS-X's files"
  ),
}
# Languages of XTREME-R that XTREME, and so the builder, has not.
_LACKING = {'xquad': ('ro',), 'tatoeba': ('az', 'lt', 'pl', 'ro', 'uk')}
_SPLITS = {'train': 'train', 'dev': 'validation', 'test': 'test'}


def named(data_dir: str | os.PathLike | None) -> bool:
  """Whether a data_dir names a folder of tensorflow_datasets."""
  return os.fspath(data_dir or '').startswith(PREFIX)


def folder(data_dir: str | os.PathLike, task: str) -> str:
  """The folder of a task: one below, or of tensorflow_datasets the same."""
  if named(data_dir):
    return os.fspath(data_dir)
  return str(pathlib.Path(data_dir) / task)


def reader(task: str, raw: Callable[..., list]) -> Callable:
  """A task's reader of files, which reads `tfds:DIR` too."""

  def either(data_dir, split, language, **options):
    if named(data_dir):  # these are right or refused: there are no options
      return read(task, data_dir, split, language)
    return raw(data_dir, split, language, **options)

  return either


def read(
  task: str, data_dir: str | os.PathLike, split: str, language: str
) -> list:
  """Reads one language of a task: what its reader of files gives.

  Args:
    task: as XTREME's table has it.
    data_dir: 'tfds:DIR'; a DIR of '' is $TFDS_DATA_DIR or
      ~/tensorflow_datasets.
    split: 'train', 'translate-train', 'dev' or 'test'.
    language: of the task.

  Raises:
    files.Missing: a builder that is not prepared, that has not this part of
      the task, or that is wrong.
    ValueError: an unknown split, examples that the reader of files would
      refuse too, or a file format that needs TensorFlow.
  """
  if split not in (*_SPLITS, 'translate-train'):
    raise ValueError(
      f'split {split!r}; there are train, translate-train, dev and test'
    )
  if task in _REFUSED:
    raise files.Missing(f'{task} is not read from tfds: {_REFUSED[task]}')
  if task not in _READERS or language in _LACKING.get(task, ()):
    raise files.Missing(
      f"{task} in {language!r} is in none of tfds' builders: read its files"
    )
  root = os.fspath(data_dir).removeprefix(PREFIX)
  root = root or os.environ.get('TFDS_DATA_DIR') or '~/tensorflow_datasets'
  return _READERS[task](os.path.expanduser(root), split, language)


# Finding and opening.


def _find(root: str, name: str) -> pathlib.Path:
  """The newest prepared version of 'builder' or 'builder/config'.

  Raises:
    files.Missing: there is none, or only those that were not looked at.
  """
  least, folders = _VERSIONS[name.split('/')[0]], {}
  for path in pathlib.Path(root, name).glob('*.*.*/dataset_info.json'):
    numbers = path.parent.name.split('.')
    if all(part.isdecimal() for part in numbers):
      folders[tuple(map(int, numbers))] = path.parent
  if good := [v for v in folders if v[0] == least[0] and v >= least]:
    return folders[max(good)]
  versions = ', '.join(sorted(path.name for path in folders.values()))
  version = '.'.join(map(str, least))
  raise files.Missing(
    f'{os.path.join(root, name)} has '
    + (
      f'{versions}, not the version {version} or a like one'
      if versions
      else 'none'
    )
    + f' prepared; prepare it with: tfds build {name}'
    f' --file_format=array_record --data_dir={root}'
  )


def _items(root: str, name: str, split: str) -> tuple[Any, Iterator]:
  """The features, and ('builder:split[index]', example) of each example."""
  path = _find(root, name)
  features, data = prepared.open_tfds(path, split)
  return features, (
    (f'{path}:{split}[{i}]', item) for i, item in enumerate(data)
  )


def _in_order(rows: list, first: int, split: str) -> list:
  """Rows in the order of their keys, which count from `first` on.

  They are stored by the MD5 of the split's name and the key.
  """
  keys = range(first, first + len(rows))
  digest = lambda key: hashlib.md5(f'{split}{key}'.encode()).digest()
  stored = sorted(keys, key=digest)
  by_key = dict(zip(stored, rows, strict=True))
  return [by_key[key] for key in keys]


def _untranslated(name: str, language: str) -> files.Missing:
  return files.Missing(
    f'no {name} train data for {language!r}: what there is in other languages'
    " than English is machine-translated, and is the split 'translate-train'"
  )


# The tasks. Each takes (root, split, language).


def _xnli(root: str, split: str, language: str) -> list[tables.Example]:
  if split == 'train' and language != 'en':
    raise _untranslated('XNLI', language)
  train = split.endswith('train')
  name, part = ('xtreme_xnli', 'train') if train else ('xnli', _SPLITS[split])
  examples = tables.tfds_folder(_find(root, name), part, language=language)
  strip = lambda e: tuple(text.strip() for text in e.texts)
  out = [tables.Example(strip(e), e.label, e.where) for e in examples]
  if train:
    return _in_order(out, 0, part)
  out = _in_order(out, 1, part)
  for i in range(0, len(out), 3):
    three = out[i : i + 3]
    same = len({e.texts[0] for e in three}) == 1
    if same and len({e.label for e in three}) == 3:
      continue
    warnings.warn(
      f"{out[0].where}: the order of XNLI's own files could not be made again;"
      ' scores do not depend on it, but the lines of a submission would be'
      ' others than theirs',
      stacklevel=2,
    )
    break
  return out


def _panx(root: str, split: str, language: str) -> list[tagged.Sentence]:
  if split == 'translate-train':
    raise files.Missing('tagged sentences have no machine translation')
  part, out = _SPLITS[split], []
  features, items = _items(root, f'wikiann/{language}', part)
  names = features['tags'].feature.names
  for where, item in items:
    words = tuple(word.decode() for word in item['tokens'])
    if not all(word.strip(' ') for word in words):
      raise ValueError(f'{where}: a word without text')
    tags = tuple(names[tag] for tag in item['tags'])
    if not words or len(words) != len(tags):
      raise ValueError(f'{where}: {len(words)} words and {len(tags)} tags')
    out.append(tagged.Sentence(words, tags, where))
  return _in_order(out, 1, part)


def _questions(root: str, name: str, split: str) -> list[squad.Question]:
  out, bad = [], []
  for where, item in _items(root, name, split)[1]:
    context = item['context'].decode()
    answers = item['answers']
    pairs = zip(answers['text'], answers['answer_start'], strict=True)
    label = tuple((text.decode(), int(at)) for text, at in pairs)
    for text, at in label:
      if text and (at < 0 or not context.startswith(text, at)):
        bad.append(f'{where} {text[:40]!r} at {at}')
    if not any(text for text, _ in label):
      label = None  # as where XTREME has taken it out
    texts = item['id'].decode(), item['question'].decode(), context
    out.append(squad.Question(*texts, label, where))
  if bad:
    raise ValueError(
      f'{name}:{split}: {len(bad):,} answers do not stand where it says:'
      f' {"; ".join(bad[:3])}. Read the files instead'
    )
  return out


def _squad(root: str, split: str, language: str) -> list[squad.Question]:
  """What models for XQuAD and MLQA are tuned on."""
  if language == 'en':
    part = _SPLITS[split.removeprefix('translate-')]
    return _questions(root, 'squad/v1.1', part)
  if split == 'train':
    raise _untranslated('SQuAD', language)
  part = f'translate-{split.removeprefix("translate-")}'
  return _questions(root, f'xquad/{language}', part)


def _xquad(root: str, split: str, language: str) -> list[squad.Question]:
  if split != 'test':
    return _squad(root, split, language)
  return _questions(root, f'xquad/{language}', 'test')


def _mlqa(root: str, split: str, language: str) -> list[squad.Question]:
  if split.endswith('train'):
    return _squad(root, split, language)
  return _questions(root, f'mlqa/{language}', _SPLITS[split])


def _tydiqa(root: str, split: str, language: str) -> list[squad.Question]:
  name = 'tydi_qa/goldp'
  if language not in xtreme_questions.TYDIQA:
    raise files.Missing(f'TyDi QA has no gold passages in {language!r}')
  if split == 'translate-train':
    if language == 'en':
      raise files.Missing('TyDi QA is translated from English, not into it')
    return _questions(root, name, f'{split}-{language}')
  if split == 'train':
    questions = _questions(root, name, 'train')
    return [
      q
      for q in questions
      if q.id.split('-')[0] == xtreme_questions.TYDIQA[language]
    ]
  return _questions(root, name, f'validation-{language}')


def _tatoeba(root: str, split: str, language: str) -> list[bitext.Sentence]:
  if split != 'test':
    raise ValueError(f'split {split!r}; Tatoeba has nothing but test')
  pairs = []
  for where, item in _items(root, f'tatoeba/tatoeba_{language}', 'train')[1]:
    keys = 'source_sentence', 'target_sentence'
    pair = [item[key].decode().strip() for key in keys]
    if not all(pair):
      raise ValueError(f'{where}: a sentence without text')
    pairs.append((*pair, where))
  pairs = _in_order(pairs, 0, 'train')
  out = [
    bitext.Sentence(str(i), text, bitext.FOREIGN, None, where)
    for i, (text, _, where) in enumerate(pairs)
  ]
  # English stands sorted, as where the files are read (bitext.tatoeba).
  order = sorted(range(len(pairs)), key=lambda i: pairs[i][1])
  for i, at in enumerate(order):
    _, text, where = pairs[at]
    out.append(bitext.Sentence(str(i), text, bitext.ENGLISH, at, where))
  return out


def _xcopa(root: str, split: str, language: str) -> list[choices.Choice]:
  if language != 'en':
    raise files.Missing(
      "tfds has no builder of XCOPA but English COPA's: read XCOPA's files"
    )
  if split == 'translate-train':
    raise files.Missing('XCOPA has no translated training data')
  out = []
  _, items = _items(root, 'super_glue/copa', _SPLITS[split])
  for where, item in sorted(items, key=lambda pair: int(pair[1]['idx'])):
    keys = 'premise', 'choice1', 'choice2', 'question'
    premise, first, second, question = (item[key].decode() for key in keys)
    if question not in ('cause', 'effect'):
      raise ValueError(
        f"{where}: question {question!r} is neither 'cause' nor 'effect'"
      )
    label = int(item['label'])  # choice1, choice2; -1 where it is not known
    texts = premise, f'What was the {question}?'
    label = None if label < 0 else label
    out.append(choices.Choice(texts, (first, second), label, where))
  return out


_READERS: dict[str, Callable[[str, str, str], list]] = {
  'xnli': _xnli,
  'panx': _panx,
  'xquad': _xquad,
  'mlqa': _mlqa,
  'tydiqa': _tydiqa,
  'tatoeba': _tatoeba,
  'xcopa': _xcopa,
}
