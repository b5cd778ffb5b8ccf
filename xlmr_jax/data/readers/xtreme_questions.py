"""The questions of XTREME's tasks: which files, and where they lie.

SQuAD and its translations, XQuAD, MLQA, TyDi QA's gold passages and LAReQA's
XQuAD-R. Every reader takes (data_dir, split, language); the files themselves
are read by squad.py.
"""

import os
import pathlib

from xlmr_jax.data import files
from xlmr_jax.data.readers.squad import Question, read

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
