"""Readers of CLUE's questions on passages: CMRC 2018, DRCD, C3 and CHID.

All take (data_dir, split, language) and find released files as clue.py's do.

  cmrc2018, drcd   an answer is a part of the passage: squad.Question
  c3               one of two to four answers is right: choices.GroupedChoice
  chid             one of ten idioms fits a blank: a choices.GroupedChoice each

CMRC 2018, C3 and CHID are in simplified characters, DRCD is in traditional
ones (CLUE's baseline converts it for models that know only simplified ones;
nothing is converted here). A warning counts passages in the other script:
the files were mixed up, and their scores cannot be compared with others.
"""

from collections.abc import Iterable, Sequence
import functools
import os
import re
from typing import Any
import warnings

from xlmr_jax.data import files
from xlmr_jax.data.readers import choices, clue, squad, zips

_SHOWN = 3  # bad answers that a message quotes

# Frequent characters that one script has and the other has not, in pairs. On
# CMRC 2018 dev there are none of the first and 46,540 of the second, on DRCD
# dev 56,231 and none.
_TRADITIONAL = frozenset(
  '國這個們來時說會對學為與發經過還進開關長東車馬見話請讓認點無樣條種業產電機'
  '體頭門問間區華麼兩現實應設該書動樂戰將場報義數級統總傳變號線運達選連遠視'
)
_SIMPLIFIED = frozenset(
  '国这个们来时说会对学为与发经过还进开关长东车马见话请让认点无样条种业产电机'
  '体头门问间区华么两现实应设该书动乐战将场报义数级统总传变号线运达选连远视'
)


# Answers that are parts of the passage.


def cmrc2018(
  data_dir: str | os.PathLike,
  split: str,
  language: str = 'zh',
  *,
  skip_bad: bool = False,
) -> list[squad.Question]:
  """Reads CMRC 2018 (Cui et al. 2019): train, dev, test and trial.

  Its own files, `data/cmrc2018_{split}.json`, give answers without places:
  each stands at its first occurrence. Where there are none, those in SQuAD's
  form are read, `squad-style-data/cmrc2018_{split}.json` and CLUE's
  `{split}.json`; they count some places by UTF-16 units, so behind a rare
  character they are off.

  Args:
    data_dir: see clue.py.
    split: which.
    language: 'zh'.
    skip_bad: whether answers that are not in their passage are only warned
      of, as squad.read has it. The official dev set has 193 of 9,657, every
      question has another: read it with True.

  Raises:
    ValueError: no such file, one that is wrong, an id that stands twice, or
      (without skip_bad) an answer that is not in its passage.
  """
  clue.check(split, language, 'CMRC 2018', ('train', 'dev', 'test', 'trial'))
  own_form = f'cmrc2018_{split}.json'
  path = zips.locate(
    data_dir,
    ['cmrc2018_public', 'cmrc2018'],
    [
      f'data/{own_form}',
      own_form,
      f'squad-style-data/{own_form}',
      f'{split}.json',
    ],
    f'CMRC 2018 {split} file',
  )
  return zips.read(lambda plain: _spans(plain, skip_bad, False), path)


def drcd(
  data_dir: str | os.PathLike,
  split: str,
  language: str = 'zh',
  *,
  skip_bad: bool = False,
) -> list[squad.Question]:
  """Reads DRCD (Shao et al. 2018, arXiv:1806.00920), in SQuAD's form.

  Files are `DRCD_{training,dev,test}.json` or CLUE's `{split}.json`. For
  `skip_bad` and errors see `cmrc2018`.
  """
  clue.check(split, language, 'DRCD', clue.SPLITS[:3])
  name = 'training' if split == 'train' else split
  path = zips.locate(
    data_dir,
    ['drcd_public', 'drcd'],
    [f'DRCD_{name}.json', f'{split}.json'],
    f'DRCD {split} file',
  )
  return zips.read(lambda plain: _spans(plain, skip_bad, True), path)


def _spans(
  path: str, skip_bad: bool, traditional: bool
) -> list[squad.Question]:
  data = files.document(path)
  items = data.get('data') if isinstance(data, dict) else data
  if isinstance(items, list) and any(
    isinstance(item, dict) and 'context_text' in item for item in items
  ):
    out = _cmrc(path, items, skip_bad)
  else:
    out = squad.read(path, skip_bad=skip_bad)
  files.check_ids(path, out, labelled=False)
  _check_script(path, {q.context: q.where for q in out}.items(), traditional)
  return out


def _cmrc(path: str, items: list, skip_bad: bool) -> list[squad.Question]:
  """CMRC's own form, a list of passages."""
  out, bad = [], []
  for i, item in enumerate(items):
    context = _get(item, 'context_text', str, f'{path}, [{i}]')
    for k, asked in enumerate(_get(item, 'qas', list, f'{path}, [{i}]')):
      where = f'{path}, [{i}].qas[{k}]'
      name = _get(asked, 'query_id', str, where)
      # Hundreds of spaces follow one answer of the dev set.
      question = _get(asked, 'query_text', str, where).strip()
      label = None
      if asked.get('answers') is not None:
        label = []
        for answer in _get(asked, 'answers', list, where):
          # A spreadsheet has turned dates and some answers into numbers.
          if type(answer) in (int, float):
            answer = str(answer)
          if not isinstance(answer, str):
            raise ValueError(f'{where}: answer {answer!r} is no text')
          start = context.find(answer) if answer else squad.NOWHERE
          if answer and start == squad.NOWHERE:
            bad.append(f'[{i}].qas[{k}] has {answer[:40]!r}')
          label.append((answer, start))
        # As in squad.read, nothing but empty texts is a label taken out.
        label = tuple(label) if any(text for text, _ in label) else None
      out.append(squad.Question(name, question, context, label, where))
  if not out:
    raise ValueError(f'{path}: there is no question in the file')
  squad.tell(path, 'are not in their passages', bad, skip_bad)
  return out


_NAMES = {list: 'a list', str: 'a text'}


def _get(item: Any, key: str, kind: type, where: str) -> Any:
  if not isinstance(item, dict) or not isinstance(item.get(key), kind):
    keys = ', '.join(item) if isinstance(item, dict) else repr(item)[:60]
    raise ValueError(
      f'{where}: {key!r} is not {_NAMES[kind]}; the object has {keys}'
    )
  return item[key]


def _check_script(
  path: str, texts: Iterable[tuple[str, str]], traditional: bool
) -> None:
  """Warns of passages that are surely in the other script."""
  own, other = _SIMPLIFIED, _TRADITIONAL
  names = 'simplified', 'traditional'
  if traditional:
    own, other, names = other, own, names[::-1]
  texts, strange = list(texts), []
  for text, where in texts:
    wrong = sum(c in other for c in text)
    if wrong >= 3 and wrong >= 9 * sum(c in own for c in text):
      strange.append(where)
  if strange:
    warnings.warn(
      f'{path}: {len(strange):,} of {len(texts):,} passages are in'
      f' {names[1]} characters, where {names[0]} ones are expected:'
      f' {strange[0]} for one',
      stacklevel=2,
    )


# C3.


def c3(
  data_dir: str | os.PathLike,
  split: str,
  language: str = 'zh',
  *,
  lower: bool = True,
  parts: Sequence[str] = ('d', 'm'),
) -> list[choices.GroupedChoice]:
  """Reads C3 (Sun et al. 2020, arXiv:1904.09679): dialogues, then mixed texts.

  The files are `c3-{d,m}-{split}.json`, or `{d,m}-{split}.json` in CLUE's zip,
  whose unlabelled test sets are one file each, test.json or test1.1.json.
  `texts` are the passage, its lines joined by line feeds, and the question.

  The baseline fills two and three answers up to four by 无效答案, 'no valid
  answer'. Here the answers of a question compete among themselves, so nothing
  is filled up: a softmax over two differs from one over four only by answers
  that are never right.

  Args:
    data_dir: see clue.py.
    split: which.
    language: 'zh'.
    lower: whether all text is lower-cased, as in the baseline.
    parts: 'd' for dialogues, 'm' for mixed texts.

  Returns:
    Questions with two to four choices. `label` is the first that equals the
    answer; `id` is the file's, or else the number from 0 over all parts.

  Raises:
    ValueError: no such file, one that is wrong, an answer that is none of its
      choices.
  """
  clue.check(split, language, 'C3', clue.SPLITS)
  folders, description = ['c3_public', 'c3'], f'C3 {split} file'
  named = {p: [f'c3-{p}-{split}.json', f'{p}-{split}.json'] for p in parts}
  part_paths = [zips.first(data_dir, folders, named[p]) for p in parts]
  if split.startswith('test') and not any(part_paths):
    names = [*clue.names_of(split), *sum(named.values(), [])]
    paths = [zips.locate(data_dir, folders, names, description)]
  else:
    paths = [
      zips.locate(data_dir, folders, named[p], f'{description} (part {p})')
      for p in parts
    ]
  out: list[choices.GroupedChoice] = []
  for path in paths:
    part = functools.partial(_c3, lower=lower, number=len(out))
    out += zips.read(part, path)
  return out


def _c3(path: str, *, lower: bool, number: int) -> list[choices.GroupedChoice]:
  """The questions of a file; `number` is the first one's."""
  plain = str.lower if lower else str
  data = files.document(path)
  out: list[choices.GroupedChoice] = []
  for i, entry in enumerate(data if isinstance(data, list) else [data]):
    where = f'{path}, [{i}]'
    if not isinstance(entry, list) or not [list, list] == [
      type(part) for part in entry[:2]
    ]:
      raise ValueError(f'{where}: not [[lines], [questions], id], as C3 has it')
    lines, questions = entry[:2]
    if not lines or not all(isinstance(line, str) for line in lines):
      raise ValueError(f'{where}[0]: not a list of lines')
    for k, item in enumerate(questions):
      place = f'{where}[1][{k}]'
      question = _get(item, 'question', str, place)
      answers = _get(item, 'choice', list, place)
      if len(answers) not in (2, 3, 4) or not all(
        isinstance(x, str) for x in answers
      ):
        raise ValueError(f"{place}: 'choice' is not two to four texts")
      answers = tuple(map(plain, answers))
      label = None
      if item.get('answer'):  # CLUE's test files have none, or ''
        right = plain(_get(item, 'answer', str, place))
        if right not in answers:
          raise ValueError(
            f'{place}: answer {right!r} is none of {", ".join(answers)}'
          )
        label = answers.index(right)
      texts = plain('\n'.join(lines)), plain(question)
      name = item.get('id', number + len(out))
      out.append(choices.GroupedChoice(texts, answers, label, place, name))
  if not out:
    raise ValueError(f'{path}: there is no question in the file')
  files.check_ids(path, out, labelled=False)
  _check_script(path, {e.texts[0]: e.where for e in out}.items(), False)
  return out


# CHID.

BLANK = '____'  # the blank that is asked for, one piece of XLM-R's
GAP = '□□□□'  # another one, a box for each character that is missing
_BLANKS = re.compile('#idiom[0-9]+#')


def chid(
  data_dir: str | os.PathLike,
  split: str,
  language: str = 'zh',
  *,
  window: int | None = 56,
) -> list[choices.GroupedChoice]:
  """Reads CHID (Zheng et al. 2019, arXiv:1906.01265), a question a blank.

  A line has a few passages, blanks named '#idiom000378#' in them, and ten
  idioms. Answers stand beside, in {split}_answer.json; test files have none.

  The baseline (CLUE @9d23293, mrc_pytorch/preprocess/CHID_preprocess.py) shows
  its model an idiom and the 56 tokens around the blank, half of them on each
  side where there are as many. The blank is an unused piece, [unused1], and
  another blank four [MASK]. Here the passage comes first and the idiom second,
  as everywhere in tasks/choose.py; the window is counted in characters, which
  in Chinese are that model's tokens; the blank is BLANK and another one GAP,
  since a model's special pieces cannot be written as text. Quotation marks and
  dashes stay as they are.

  Args:
    data_dir: see clue.py.
    split: which.
    language: 'zh'.
    window: characters of the passage around the blank; None for all.

  Returns:
    Blanks in order: `texts` is the passage around one, `choices` the idioms,
    `id` the blank's name, `group` the line's number: no two blanks of a line
    have one idiom.

  Raises:
    ValueError: no such file, a line that is wrong, answers that do not fit
      the blanks, a blank that stands twice.
  """
  clue.check(split, language, 'CHID', clue.SPLITS)
  folders, description = ['chid_public', 'chid'], f'CHID {split} file'
  paths = [zips.locate(data_dir, folders, clue.names_of(split), description)]
  if not split.startswith('test'):
    names = [f'{split}_answer.json']
    paths.append(
      zips.locate(data_dir, folders, names, f'{description} of answers')
    )
  return zips.read(functools.partial(_chid, window=window), *paths)


def _chid(
  path: str, answers: str | None = None, *, window: int | None
) -> list[choices.GroupedChoice]:
  right = files.document(answers) if answers else None
  if answers and not isinstance(right, dict):
    raise ValueError(f'{answers}: not an object of blanks and their answers')
  out, twice = [], []
  for number, (where, item) in enumerate(files.objects(path)):
    idioms = idioms_of(item, where)
    content = item.get('content')
    if isinstance(content, str):
      content = [content]
    if not isinstance(content, list) or not all(
      isinstance(text, str) for text in content
    ):
      raise ValueError(f"{where}: 'content' is not a list of passages")
    first = len(out)
    for passage in content:
      for blank in _BLANKS.finditer(passage):
        name = blank.group()
        label = None
        if right is not None:
          label = label_of(right.get(name), idioms, f'{where}, {name}')
        text = around(passage, *blank.span(), window)
        out.append(
          choices.GroupedChoice(
            (text,), idioms, label, f'{where}, {name}', name, number
          )
        )
    labels = [blank.label for blank in out[first:]]
    if not 0 < len(labels) <= len(idioms):
      raise ValueError(
        f'{where}: {len(labels)} blanks like #idiom000378# for {len(idioms)}'
        ' idioms'
      )
    if right is not None and len(set(labels)) < len(labels):
      twice.append(where)
  files.check_ids(path, out, labelled=False)
  if right is not None and (more := right.keys() - {blank.id for blank in out}):
    raise ValueError(
      f'{answers}: {len(more):,} answers are to blanks that {path} has not,'
      f' {min(more)!r} for one'
    )
  if twice:
    warnings.warn(
      f'{path}: {len(twice):,} lines have one idiom in two blanks, which'
      f' assigning them one to one cannot give: {twice[0]} for one',
      stacklevel=2,
    )
  return out


def idioms_of(item: dict[str, Any], where: str) -> tuple[str, ...]:
  """The candidates of a line."""
  idioms = item.get('candidates')
  if (
    not isinstance(idioms, list)
    or not all(isinstance(idiom, str) for idiom in idioms)
    or not len(set(idioms)) == len(idioms) > 1
  ):
    raise ValueError(f"{where}: 'candidates' is not a list of different idioms")
  return tuple(idioms)


def label_of(value: Any, idioms: Sequence[str], where: str) -> int:
  """The answer to a blank."""
  if type(value) is not int or value not in range(len(idioms)):
    raise ValueError(
      f'{where}: the answer is {value!r}, not 0 to {len(idioms) - 1}'
    )
  return value


def around(passage: str, start: int, end: int, window: int | None) -> str:
  """A passage with marked blanks, or the window around one of them.

  >>> around('一#idiom1#二三#idiom2#四', 1, 9, 4)
  '一____二三□'
  """
  left, right = passage[:start].lstrip(), passage[end:].rstrip()
  left, right = _BLANKS.sub(GAP, left), _BLANKS.sub(GAP, right)
  if window is not None:
    before = min(len(left), max(window // 2, window - len(right)))
    left = left[len(left) - before :]
    right = right[: window - before]
  return left + BLANK + right
