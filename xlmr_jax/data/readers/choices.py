"""Readers of questions with a few answers to choose from.

What an example asks is one or two texts (a premise and a question), and the
answers stand beside each other, right or wrong; how both become one input is
the task's business (tasks/choose.py).
"""

from collections.abc import Hashable
import dataclasses
import os
import pathlib
from typing import Any

from xlmr_jax.data import files


@dataclasses.dataclass(frozen=True, slots=True)
class Choice:
  """A question and its answers.

  Attributes:
    texts: what stands before an answer, in order.
    choices: the answers.
    label: which of them is right, counted from 0; None where unknown.
    where: 'file:line'.
  """

  texts: tuple[str, ...]
  choices: tuple[str, ...]
  label: int | None
  where: str


@dataclasses.dataclass(frozen=True, slots=True)
class GroupedChoice(Choice):
  """A question with an id, perhaps one of a group with the same answers.

  Attributes:
    id: what a submission calls it by.
    group: the same of questions that share their answers, such as the blanks
      of a text: each of them has another. None for a question of its own.
  """

  id: int | str
  group: Hashable = None


def xcopa(
  data_dir: str | os.PathLike, split: str, language: str
) -> list[Choice]:
  """Reads one language of XCOPA (Ponti et al. 2020), or English COPA.

  Lines of JSON: premise, choice1, choice2, question ('cause' or 'effect') and
  label. The question is asked in English whatever the language, 'What was the
  cause?', as XTREME-R does. Files are `{language}/{split}.{language}.jsonl`
  as in XCOPA's repository, or without the folder as XTREME-R leaves them;
  `dev` is called `val` there. SuperGLUE's test file of COPA has no labels.

  Raises:
    ValueError: none of the files is there, or a line is wrong.
  """
  names = {'train': 'train', 'dev': 'val', 'test': 'test'}
  if split == 'translate-train':
    raise files.Missing('XCOPA has no translated training data')
  if split not in names:
    raise ValueError(
      f'split {split!r}; XCOPA has train (English), dev and test'
    )
  folder, name = pathlib.Path(data_dir), names[split]
  path = files.locate(
    [
      root / f'{name}{dot}{language}.jsonl'
      for root in (folder / language, folder)
      for dot in '.-'
    ],
    f'XCOPA {split} file for {language!r}',
  )
  out = []
  for where, item in files.objects(path):
    premise, first, second = files.texts(
      item, ('premise', 'choice1', 'choice2'), where
    )
    if item.get('question') not in ('cause', 'effect'):
      raise ValueError(
        f"{where}: question {item.get('question')!r} is neither 'cause' nor"
        " 'effect'"
      )
    question = f'What was the {item["question"]}?'
    label = _label(item.get('label'), 2, where)
    out.append(Choice((premise, question), (first, second), label, where))
  return out


def siqa(
  data_dir: str | os.PathLike, split: str, language: str = 'en'
) -> list[Choice]:
  """Reads Social IQa (Sap et al. 2019), which XTREME-R trains on before COPA.

  The files are `socialIQa_v1.4_{trn,dev,tst}.jsonl`, lines of JSON: context,
  question, answerA, answerB, answerC and correct ('A', 'B' or 'C').

  Raises:
    ValueError: none of the files is there, a line is wrong, or the language
      is not English.
  """
  names = {'train': 'trn', 'dev': 'dev', 'test': 'tst'}
  if split not in names:
    raise ValueError(f'split {split!r}; Social IQa has train, dev and test')
  if language != 'en':
    raise ValueError(f'Social IQa is English, there is none in {language!r}')
  folder = pathlib.Path(data_dir)
  name = f'socialIQa_v1.4_{names[split]}.jsonl'
  path = files.locate(
    [folder / name, folder / 'siqa' / name, folder / 'socialIQa_v1.4' / name],
    f'Social IQa {split} file',
  )
  out = []
  for where, item in files.objects(path):
    context, question, *choices = files.texts(
      item, ('context', 'question', 'answerA', 'answerB', 'answerC'), where
    )
    label = item.get('correct')
    if label is not None and label not in ('A', 'B', 'C'):
      raise ValueError(f'{where}: correct is {label!r}, not A, B or C')
    label = None if label is None else 'ABC'.index(label)
    out.append(Choice((context, question), tuple(choices), label, where))
  return out


def _label(value: Any, choices: int, where: str) -> int | None:
  """The place of the right answer."""
  if value is None:
    return None
  if isinstance(value, bool) or value not in range(choices):
    raise ValueError(f'{where}: label {value!r} is not 0 to {choices - 1}')
  return int(value)
