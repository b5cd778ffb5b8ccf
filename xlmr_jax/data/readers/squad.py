"""Readers of SQuAD's JSON: questions on a paragraph, answered by a part of it.

```
{"data": [{"paragraphs": [{
  "context": "The Panthers gave up just 308 points.",
  "qas": [{"id": "56be", "question": "How many points?",
           "answers": [{"text": "308", "answer_start": 26}]}]}]}]}
```

SQuAD (Rajpurkar et al. 2016), XQuAD, MLQA, TyDi QA's gold passages, LAReQA's
XQuAD-R, DRCD and CMRC 2018 in its SQuAD style come so. XTREME's scripts leave
test files whose only answer is an empty text: those questions have no label.
`.gz`, `.xz` and `.zst` files are read as they are.

An answer must stand where the file says. If answers do not, no place is
guessed: an error counts them and shows the first, unless `skip_bad` is set.
With `skip_bad` such an answer still counts in scoring, which compares texts as
the official scripts do, but nothing is trained on it.
"""

from collections.abc import Sequence
import dataclasses
import os
import pathlib
from typing import Any
import warnings

from xlmr_jax.data import files

NOWHERE = -1  # the start of an answer that is not where its file says
_SHOWN = 3  # bad answers that a message quotes

# TyDi QA's files and ids call languages by their English names.
TYDIQA = {
  'ar': 'arabic',
  'bn': 'bengali',
  'en': 'english',
  'fi': 'finnish',
  'id': 'indonesian',
  'ko': 'korean',
  'ru': 'russian',
  'sw': 'swahili',
  'te': 'telugu',
}


@dataclasses.dataclass(frozen=True, slots=True)
class Question:
  """A question, what answers it, and where both stand.

  Attributes:
    id: as in the file. XTREME's training files of TyDi QA repeat theirs.
    question: its text.
    context: the paragraph that holds the answer.
    label: (text, first character) of each right answer. Empty for a question
      that the context does not answer, None where the file does not say.
    where: the file, and the place in it in the words of JSON.
    breaks: (first, end) characters of the context's sentences, where the file
      has them (XQuAD-R).
  """

  id: str
  question: str
  context: str
  label: tuple[tuple[str, int], ...] | None
  where: str
  breaks: tuple[tuple[int, int], ...] = ()


# The format.


def read(path: str | os.PathLike, *, skip_bad: bool = False) -> list[Question]:
  """Reads a file of questions, in its order.

  Args:
    path: the file, plain, .gz, .xz or .zst.
    skip_bad: whether answers that do not stand where the file says are only
      warned of. They get the start NOWHERE.

  Raises:
    ValueError: with the place: not JSON, a key that is missing, no question,
      or (without skip_bad) an answer that is not where the file says.
  """
  path = os.fspath(path)
  out: list[Question] = []
  bad: list[str] = []
  data = _get(files.document(path), 'data', list, path)
  for i, article in enumerate(data):
    where = f'{path}, data[{i}]'
    for j, paragraph in enumerate(_get(article, 'paragraphs', list, where)):
      where = f'{path}, data[{i}].paragraphs[{j}]'
      context = _get(paragraph, 'context', str, where)
      breaks = _breaks(paragraph, context, where)
      for k, item in enumerate(_get(paragraph, 'qas', list, where)):
        place = f'{where}.qas[{k}]'
        out.append(
          Question(
            _id(item, place),
            _get(item, 'question', str, place),
            context,
            _answers(item, context, place, bad),
            place,
            breaks,
          )
        )
  if not out:
    raise ValueError(f'{path}: there is no question in the file')
  tell(path, 'do not stand where the file says', bad, skip_bad)
  return out


def tell(
  path: str | os.PathLike, problem: str, bad: Sequence[str], skip_bad: bool
) -> None:
  """Warns of answers that are wrong, or refuses them.

  Raises:
    ValueError: there are any, and skip_bad does not say to go on.
  """
  if not bad:
    return
  message = (
    f'{os.fspath(path)}: {len(bad):,} answers {problem}: '
    + '; '.join(bad[:_SHOWN])
    + ('; …' if len(bad) > _SHOWN else '')
  )
  if not skip_bad:
    raise ValueError(
      f'{message}. Correct them, or read the file with skip_bad=True:'
      ' nothing is trained on them then'
    )
  warnings.warn(
    f'{message}. Nothing is trained on them; their texts are scored against',
    stacklevel=3,
  )


_NAMES = {list: 'a list', str: 'a text', int: 'a whole number'}


def _get(item: Any, key: str, kind: type, where: str) -> Any:
  """The value of a key that must be there."""
  if type(item) is not dict:
    raise ValueError(
      f'{where}: not a JSON object; files of questions look as SQuAD v1.1 does'
    )
  if type(item.get(key)) is not kind:
    keys = ', '.join(item) or 'nothing'
    raise ValueError(
      f'{where}: {key!r} is not {_NAMES[kind]}; the object has {keys}'
    )
  return item[key]


def _id(item: Any, where: str) -> str:
  if type(item) is dict and type(item.get('id')) is int:
    return str(item['id'])
  return _get(item, 'id', str, where)


def _answers(
  item: dict, context: str, where: str, bad: list[str]
) -> tuple[tuple[str, int], ...] | None:
  """The label of a question; what is wrong with it is added to `bad`."""
  if item.get('is_impossible') is True:
    return ()  # SQuAD 2
  if item.get('answers') is None:
    return None
  out = []
  for number, answer in enumerate(_get(item, 'answers', list, where)):
    place = f'{where}.answers[{number}]'
    text = _get(answer, 'text', str, place)
    out.append((text, _get(answer, 'answer_start', int, place)))
  if not any(text for text, _ in out):
    return None  # XTREME's way of taking a label out
  for number, (text, start) in enumerate(out):
    if text and start >= 0 and context.startswith(text, start):
      continue
    actual = context[start : start + len(text)] if start >= 0 else ''
    bad.append(
      f'{where}.answers[{number}] is {_short(text)} at {start}, where the'
      f' context has {_short(actual)}'
    )
    out[number] = text, NOWHERE
  return tuple(out)


def _short(text: str) -> str:
  return repr(text if len(text) <= 40 else f'{text[:40]}…')


def _breaks(
  paragraph: dict, context: str, where: str
) -> tuple[tuple[int, int], ...]:
  """The sentences of a paragraph of XQuAD-R."""
  if 'sentence_breaks' not in paragraph:
    return ()
  out, last = [], 0
  for pair in _get(paragraph, 'sentence_breaks', list, where):
    is_range = type(pair) is list and [type(x) for x in pair] == [int, int]
    if not (is_range and last <= pair[0] <= pair[1] <= len(context)):
      raise ValueError(
        f'{where}: sentence_breaks has {pair!r}, not the first and end'
        ' character of a sentence of the context'
      )
    last = pair[1]
    out.append(tuple(pair))
  return tuple(out)


# The benchmarks. Every reader takes (data_dir, split, language).


def squad(
  data_dir: str | os.PathLike,
  split: str,
  language: str = 'en',
  *,
  skip_bad: bool = False,
) -> list[Question]:
  """Reads SQuAD v1.1, on which models for XQuAD and MLQA are tuned.

  English is `{train,dev}-v1.1.json`. Another language's dev set is XTREME's
  machine translation, `squad.translate.dev.en-{language}.json`, and so is
  'translate-train', `squad.translate.train.en-{language}.json`. All are looked
  for in `data_dir`, in its folder squad and in a folder squad beside it.

  Raises:
    files.Missing: no such file.
    ValueError: one that `read` refuses.
  """
  if split not in ('train', 'translate-train', 'dev'):
    raise ValueError(
      f'split {split!r}; SQuAD has train and dev, and translate-train'
    )
  stem = split.removeprefix('translate-')
  name = f'{stem}-v1.1.json'
  if language != 'en':
    name = f'squad.translate.{stem}.en-{language}.json'
    if split == 'train':
      raise files.Missing(
        f'no SQuAD train file for {language!r}: what there is in other '
        'languages than English is machine-translated, and is the split '
        "'translate-train'"
      )
  folder = pathlib.Path(data_dir)
  folders = (folder, folder / 'squad', folder.parent / 'squad')
  path = files.locate(
    [at / name for at in folders], _describe(f'SQuAD {split}', language)
  )
  return read(path, skip_bad=skip_bad)


def xquad(
  data_dir: str | os.PathLike,
  split: str,
  language: str,
  *,
  skip_bad: bool = False,
) -> list[Question]:
  """Reads one language of XQuAD: its test set, and SQuAD to train on.

  The file is `xquad.{language}.json`, officially and as XTREME's scripts
  leave it, without answers. The other splits are those of `squad`.

  Raises:
    ValueError: no such file, or one that `read` refuses.
  """
  if split in ('train', 'translate-train', 'dev'):
    return squad(data_dir, split, language, skip_bad=skip_bad)
  _check_split(split, 'XQuAD')
  path = pathlib.Path(data_dir) / f'xquad.{language}.json'
  return read(
    files.locate([path], _describe('XQuAD test', language)), skip_bad=skip_bad
  )


def mlqa(
  data_dir: str | os.PathLike,
  split: str,
  language: str,
  *,
  question_language: str | None = None,
  skip_bad: bool = False,
) -> list[Question]:
  """Reads one language of MLQA, and SQuAD to train on.

  The files are `MLQA_V1/{dev,test}/{split}-context-{c}-question-{q}.json`,
  officially and in XTREME. MLQA_V1 may be `data_dir` itself.

  Args:
    data_dir: the folder.
    split: 'train' and 'translate-train' are those of `squad`.
    language: of context and answers.
    question_language: of the questions, where it is another one. XTREME asks
      in the language of the context.
    skip_bad: see `read`.

  Raises:
    ValueError: no such file, or one that `read` refuses.
  """
  if split in ('train', 'translate-train'):
    return squad(data_dir, split, language, skip_bad=skip_bad)
  if split != 'dev':
    _check_split(split, 'MLQA')
  asked = question_language or language
  name = f'{split}-context-{language}-question-{asked}.json'
  folder = pathlib.Path(data_dir)
  folders = (folder / 'MLQA_V1' / split, folder / split, folder)
  path = files.locate(
    [at / name for at in folders], _describe(f'MLQA {split}', language)
  )
  return read(path, skip_bad=skip_bad)


def tydiqa(
  data_dir: str | os.PathLike,
  split: str,
  language: str,
  *,
  skip_bad: bool = False,
) -> list[Question]:
  """Reads one language of TyDi QA's gold passages (GoldP 1.1).

  Its test set is not public, so XTREME tests on the dev set: 'dev' and 'test'
  are the same files here. In their folder or in `data_dir` it looks for
  XTREME's `tydiqa.goldp.{language}.{train,dev}.json`, the official
  `tydiqa-goldp-dev-{name of the language}.json`, and the official
  `tydiqa-goldp-v1.1-{train,dev}.json` of all languages, whose ids start with
  the language's name. 'translate-train' is XTREME's translation of the English
  part, `tydiqa.translate.train.en-{language}.json`.

  Raises:
    ValueError: no such file or language, or one that `read` refuses.
  """
  if language not in TYDIQA:
    raise ValueError(
      f'language {language!r}; the gold passages of TyDi QA are in'
      f' {", ".join(TYDIQA)}'
    )
  folder = pathlib.Path(data_dir)
  if split == 'translate-train':
    path = folder / f'tydiqa.translate.train.en-{language}.json'
    path = files.locate([path], _describe('translated TyDi QA', language))
    return read(path, skip_bad=skip_bad)
  if split != 'train':
    if split != 'dev':
      _check_split(split, 'TyDi QA')
    split = 'dev'
  release = f'tydiqa-goldp-v1.1-{split}'
  names = [f'tydiqa.goldp.{language}.{split}.json']
  if split == 'dev':
    names.append(f'tydiqa-goldp-dev-{TYDIQA[language]}.json')
  names.append(f'{release}.json')
  paths = [at / name for name in names for at in (folder / release, folder)]
  path = files.locate(paths, _describe(f'TyDi QA {split}', language))
  out = read(path, skip_bad=skip_bad)
  if os.path.basename(path).startswith(release):
    out = [q for q in out if q.id.split('-')[0] == TYDIQA[language]]
    if not out:
      raise ValueError(
        f'{path}: no id starts with {TYDIQA[language]}-, so none of its'
        f' questions is in {language!r}'
      )
  return out


def lareqa(
  data_dir: str | os.PathLike,
  split: str,
  language: str,
  *,
  skip_bad: bool = False,
) -> list[Question]:
  """Reads one language of LAReQA's XQuAD-R, and SQuAD to train on.

  The file is `xquad-r/{language}.json`; xquad-r may be `data_dir` itself. Its
  questions have `breaks`: the sentences among which the answer is looked for.

  Raises:
    ValueError: no such file, or one that `read` refuses.
  """
  if split in ('train', 'translate-train', 'dev'):
    return squad(data_dir, split, language, skip_bad=skip_bad)
  _check_split(split, 'LAReQA')
  folder = pathlib.Path(data_dir)
  paths = [at / f'{language}.json' for at in (folder / 'xquad-r', folder)]
  return read(
    files.locate(paths, _describe('LAReQA test', language)), skip_bad=skip_bad
  )


def _check_split(split: str, name: str) -> None:
  if split != 'test':
    raise ValueError(f'split {split!r}; {name} has train, dev and test')


def _describe(name: str, language: str) -> str:
  return f'{name} file for {language!r}'
