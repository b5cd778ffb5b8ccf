"""Reads questions on a text that are answered by a part of it.

Nested, as SQuAD and nearly all after it write them, a file of one object:

```
{"data": [{"paragraphs": [{
  "context": "The Panthers gave up just 308 points.",
  "qas": [{"id": "56be", "question": "How many points?",
           "answers": [{"text": "308", "answer_start": 26}]}]}]}]}
```

or flat, as `datasets` exports them: a question a line, a list of questions, or
such a list under "data":

```
{"id": "56be", "context": "The Panthers ...", "question": "How many points?",
 "answers": {"text": ["308"], "answer_start": [26]}}
```

SQuAD (Rajpurkar et al. 2016, 2018), XQuAD, MLQA, TyDi QA's gold passages,
LAReQA's XQuAD-R, DRCD and CMRC 2018 in its SQuAD style come so. `.gz`, `.xz`
and `.zst` files are read as they are.

A question without an answer has `"answers": []`, with or without SQuAD 2's
`is_impossible`. A file in which no question has an answer and none is called
impossible has no labels. XTREME's scripts leave test files whose only answer
is an empty text: those questions have no label either.

An answer must stand where the file says. Offsets count characters; where some
fit only as UTF-16 code units or as bytes, and none only as characters, the file
is read so, and that is said. If answers stand nowhere, no place is guessed: an
error counts them and shows the first, unless `skip_bad` is set. With `skip_bad`
such an answer still counts in scoring, which compares texts as the official
scripts do, but nothing is trained on it.
"""

from collections.abc import Iterable, Iterator, Sequence
import dataclasses
import json
import os
from typing import Any
import warnings

from xlmr_jax.data import files

NOWHERE = -1  # the start of an answer that is not where its file says
_SHOWN = 3  # bad answers that a message quotes

# Encoding and bytes a unit → who counts offsets so.
_UNITS = {
  ('utf-16-le', 2): 'UTF-16 code units, as JavaScript and Java do',
  ('utf-8', 1): 'bytes of UTF-8, as Go and Rust do',
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
  questions = list(_questions(path))
  if not questions:
    raise ValueError(f'{path}: there is no question in the file')
  questions = _in_characters(path, _labelled(questions))
  bad: list[str] = []
  out = [_checked(question, bad) for question in questions]
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
      f'{message}. Correct them, or read the file with skip_bad=True'
      ' (--config.skip_bad in training, --skip_bad in evaluation): nothing is'
      ' trained on them then'
    )
  warnings.warn(
    f'{message}. Nothing is trained on them; their texts are scored against',
    stacklevel=3,
  )


def count_skipped(questions: Iterable[Question]) -> int:
  """How many questions have answers, and none that training can point to."""
  return sum(
    bool(question.label)
    and all(start == NOWHERE for _, start in question.label)
    for question in questions
  )


# The two forms. What is read here has the file's own offsets, and () wherever
# there is a list without answers.


def _questions(path: str) -> Iterator[tuple[Question, bool | None]]:
  """Every question, and what the file says of its being impossible."""
  try:
    data = files.document(path)
  except ValueError as error:
    # `datasets` calls its JSON lines .json too.
    cause = error.__cause__
    if not isinstance(cause, json.JSONDecodeError) or cause.msg != 'Extra data':
      raise
    for where, item in files.objects(path):
      yield _flat(item, where)
    return
  if type(data) is dict and 'context' in data:  # JSON lines, of which one
    data = [data]
  at = f'{path}, '
  if type(data) is not list or not data:
    data, at = _get(data, 'data', list, path), f'{path}, data'
  for i, article in enumerate(data):
    where = f'{at}[{i}]'
    if type(article) is dict and 'context' in article:
      yield _flat(article, where)
      continue
    for j, paragraph in enumerate(_get(article, 'paragraphs', list, where)):
      place = f'{where}.paragraphs[{j}]'
      context = _get(paragraph, 'context', str, place)
      breaks = _breaks(paragraph, context, place)
      for k, item in enumerate(_get(paragraph, 'qas', list, place)):
        yield _question(item, context, f'{place}.qas[{k}]', breaks)


def _flat(item: Any, where: str) -> tuple[Question, bool | None]:
  return _question(item, _get(item, 'context', str, where), where)


def _question(
  item: Any,
  context: str,
  where: str,
  breaks: tuple[tuple[int, int], ...] = (),
) -> tuple[Question, bool | None]:
  name = _id(item, where)
  text = _get(item, 'question', str, where)
  label, impossible = _answers(item, where), item.get('is_impossible')
  if impossible is True:
    if any(answer for answer, _ in label or ()):
      raise ValueError(
        f'{where}: question {name!r} has answers, and is_impossible says that'
        ' it has none: take one of them out'
      )
    label = ()
  return Question(name, text, context, label, where, breaks), impossible


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


def _answers(item: dict, where: str) -> tuple[tuple[str, int], ...] | None:
  """(text, start) of each answer; None where no label is given."""
  answers = item.get('answers')
  if answers is None:
    return None
  if type(answers) is dict and 'text' in answers:  # a column each
    texts = _get(answers, 'text', list, f'{where}.answers')
    starts = _get(answers, 'answer_start', list, f'{where}.answers')
    if len(texts) != len(starts):
      raise ValueError(
        f'{where}.answers: {len(texts)} texts and {len(starts)} starts; each'
        ' answer has one of both'
      )
    answers = [
      {'text': text, 'answer_start': start}
      for text, start in zip(texts, starts, strict=True)
    ]
    item = {**item, 'answers': answers}
  out = []
  for number, answer in enumerate(_get(item, 'answers', list, where)):
    place = f'{where}.answers[{number}]'
    text = _get(answer, 'text', str, place)
    out.append((text, _get(answer, 'answer_start', int, place)))
  if out and not any(text for text, _ in out):
    return None  # XTREME's way of taking a label out
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


# What answers mean in the whole of a file.


def _labelled(
  questions: Sequence[tuple[Question, bool | None]],
) -> list[Question]:
  """Takes empty labels out of a file that has no others."""
  if any(q.label or impossible for q, impossible in questions):
    return [question for question, _ in questions]
  return [
    dataclasses.replace(question, label=question.label or None)
    for question, _ in questions
  ]


def _stands(context: str, text: str, start: int) -> bool:
  return bool(text) and start >= 0 and context.startswith(text, start)


def _in_characters(path: str, questions: list[Question]) -> list[Question]:
  """Offsets in characters, where a file counts something else.

  It does where answers stand only by the other count, and none only by
  characters: where a context has no wide characters, both are the same.
  """
  moved = any(
    not _stands(q.context, *answer)
    for q in questions
    for answer in q.label or ()
  )
  for (encoding, width), name in _UNITS.items() if moved else ():
    out, gained, lost = [], 0, 0
    for question in questions:
      label = []
      for text, start in question.label or ():
        place = _character(question.context, start, encoding, width)
        before = _stands(question.context, text, start)
        after = _stands(question.context, text, place)
        gained, lost = gained + (after > before), lost + (before > after)
        label.append((text, place if after else start))
      if label:
        question = dataclasses.replace(question, label=tuple(label))
      out.append(question)
    if gained and not lost:
      warnings.warn(
        f'{path}: the offsets of answers count {name}: {gained:,} answers stand'
        ' where the file says only by that count, and none only by characters.'
        ' They are read so',
        stacklevel=3,
      )
      return out
  return questions


def _character(context: str, start: int, encoding: str, width: int) -> int:
  """The character at which a unit of an encoding begins, or NOWHERE."""
  if start < 0:
    return NOWHERE
  raw = context.encode(encoding, 'surrogatepass')
  try:
    return len(raw[: start * width].decode(encoding))
  except UnicodeDecodeError:  # inside of a character
    return NOWHERE


def _checked(question: Question, bad: list[str]) -> Question:
  """The question; answers that stand elsewhere are NOWHERE, and in `bad`."""
  if not question.label:
    return question
  out = list(question.label)
  for number, (text, start) in enumerate(out):
    if _stands(question.context, text, start):
      continue
    held = question.context[start : start + len(text)] if start >= 0 else ''
    bad.append(
      f'{question.where}.answers[{number}] of {question.id!r} is'
      f' {_short(text)} at {start}, where the context has {_short(held)}'
    )
    out[number] = text, NOWHERE
  return dataclasses.replace(question, label=tuple(out))
