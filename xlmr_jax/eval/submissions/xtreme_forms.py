"""The forms of XTREME's prediction and label files, one class of file each.

A form says how a file is read, what a complete file holds, and how predictions
are aligned with the labels. Where XTREME's evaluate.py scores a file that looks
wrong, the form only remarks on it, so that scores agree. A file at which the
script would stop, or which it would silently shift against the labels, is a
ValueError.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
import dataclasses
import json
import pathlib
import re
from typing import Any

from xlmr_jax.data import files

Path = pathlib.Path


@dataclasses.dataclass(frozen=True)
class Form:
  """One form of files.

  Attributes:
    suffix: of the files' names.
    read: (path) → what a file of predictions holds.
    gold: the same of labels.
    expected: (what `gold` gave) → what predictions must hold, in the terms of
      `match`.
    match: (path, predictions, expected or None) → None; raises where it is
      not complete and could not be scored.
    remarks: (path, predictions, expected or None, names, language) → what
      can be scored, but looks wrong.
    align: (predictions, gold) → both as scores.score takes them.
    text: (predictions, their ids or None) → what a file of them holds.
  """

  suffix: str
  read: Callable[[Path], Any]
  gold: Callable[[Path], Any]
  expected: Callable[[Any], Any]
  match: Callable[[Path, Any, Any], None]
  remarks: Callable[[Path, Any, Any, Collection[str], str], list[str]]
  align: Callable[[Any, Any], tuple[Sequence, Sequence]]
  text: Callable[[Sequence, Sequence[str] | None], str]


def _as_they_are(predictions: Sequence, gold: Sequence):
  return predictions, gold


# Lines: a name or a number each.

# Numbers are compared as text: 07 is not 7. Nobody has 10 ** 12 sentences.
_NUMBER = re.compile('0|[1-9][0-9]{0,11}')


def read_lines(path: Path) -> list[str]:
  """One answer per line, without white space around it."""
  out = []
  for number, line in enumerate(files.lines(path), 1):
    line = line.strip()
    if '\t' in line:
      raise ValueError(
        f'{path}:{number}: {line.count(chr(9)) + 1} columns; a line is one '
        'label, without the sentences'
      )
    out.append(line)
  return out


def text_of_lines(predictions: Sequence, ids) -> str:
  return ''.join(f'{prediction}\n' for prediction in predictions)


def match_lines(path: Path, lines: Sequence, count: int | None) -> None:
  if count is not None and len(lines) != count:
    raise ValueError(f'{path}: {len(lines)} lines, not {count}')


def remarks_on_lines(path, lines, count, names, language):
  if names:
    return _strange(path, lines, names)
  wrong = [i for i, line in enumerate(lines) if not _NUMBER.fullmatch(line)]
  return _listed(path, lines, wrong, 'are no number of a sentence')


def beyond(path: Path, lines: Sequence[str], count: int) -> list[str]:
  """Remarks on numbers of sentences that are not there."""
  wrong = [
    i
    for i, line in enumerate(lines)
    if _NUMBER.fullmatch(line) and int(line) >= count
  ]
  return _listed(path, lines, wrong, f'are not below {count}')


def _strange(path, lines, names):
  wrong = [i for i, line in enumerate(lines) if line not in names]
  listed = ', '.join(filter(None, names))
  return _listed(path, lines, wrong, f'are none of {listed}')


def _listed(path, lines, wrong, fault):
  if not wrong:
    return []
  at = wrong[0]
  return [
    f'{path}: {len(wrong)} of {len(lines)} lines {fault}; the first is line '
    f'{at + 1}, {lines[at]!r}'
  ]


# Tags: one per line, a blank line between sentences.


def read_tags(path: Path) -> list[list[str]]:
  """The tags of each sentence.

  A blank line ends a sentence, one of no words where another blank line
  stands before it.
  """
  out, sentence = [], []
  for number, line in enumerate(files.lines(path), 1):
    line = line.strip()
    if '\t' in line:
      raise ValueError(
        f'{path}:{number}: {line.count(chr(9)) + 1} columns; a line is one '
        'tag, without the word'
      )
    if line:
      sentence.append(line)
    else:
      out.append(sentence)
      sentence = []
  if sentence:
    out.append(sentence)
  return out


def text_of_tags(predictions: Sequence[Sequence[str]], words) -> str:
  """A tag a line; with `words`, the word and a tab before it."""
  if words is not None:
    pairs = zip(words, predictions, strict=True)
    predictions = [list(map('\t'.join, zip(*s, strict=True))) for s in pairs]
  return '\n'.join(text_of_lines(tags, None) for tags in predictions)


def match_tags(
  path: Path, sentences: Sequence[Sequence], words: Sequence[int] | None
) -> None:
  if words is None:
    return
  if len(sentences) != len(words):
    raise ValueError(
      f'{path}: {len(sentences)} sentences of {sum(map(len, sentences))} tags, '
      f'not {len(words)} of {sum(words)}'
    )
  line = 1
  for index, (tags, count) in enumerate(zip(sentences, words, strict=True)):
    if len(tags) != count:
      raise ValueError(
        f'{path}:{line}: {len(tags)} tags in sentence {index}, not {count}'
      )
    line += len(tags) + 1


def remarks_on_tags(path, sentences, words, names, language):
  # As the file's lines, blank ones between sentences included.
  lines = [tag for tags in sentences for tag in (*tags, '')]
  return _strange(path, lines[:-1], (*names, '')) if names else []


# Pairs: two ids and a tab.


def read_pairs(path: Path) -> list[tuple[str, ...]]:
  """The columns of each line: a pair where it is right."""
  return [tuple(line.strip().split('\t')) for line in files.lines(path)]


def text_of_pairs(predictions: Sequence[tuple[str, str]], ids) -> str:
  return ''.join(f'{source}\t{target}\n' for source, target in predictions)


def gold_pairs(path: Path) -> list[tuple[str, ...]]:
  pairs = read_pairs(path)
  for number, pair in enumerate(pairs, 1):
    if len(pair) != 2:
      raise ValueError(
        f'{path}:{number}: {len(pair)} columns; a line of labels is a source '
        'id, a tab and an English id'
      )
  return pairs


def remarks_on_pairs(path, pairs, expected, names, language):
  lines = ['\t'.join(pair) for pair in pairs]
  begins = (f'{language}-', 'en-')
  wrong = [
    i
    for i, pair in enumerate(pairs)
    if len(pair) != 2 or not all(map(str.startswith, pair, begins))
  ]
  out = _listed(
    path, lines, wrong, f'are no pair {begins[0]}<number>, tab, en-<number>'
  )
  if not pairs:
    out.append(f'{path}: no pairs')
  if twice := len(lines) - len(set(lines)):
    out.append(f'{path}: {twice} pairs stand there again; each counts once')
  return out


# Answers to questions, by id.


def read_answers(path: Path) -> dict[str, str]:
  """{question id: answer}."""
  return _by_id(path, lambda value: isinstance(value, str), 'a string')


def _articles(*, data: list, **_) -> list:
  """The articles of the outermost object, which also has `version`."""
  return data


def gold_answers(path: Path) -> list[tuple[str, tuple[str, ...]]]:
  """(id, right answers) of every question of a file in SQuAD's format."""
  content = files.document(path)
  out = []
  try:
    for article in (
      _articles(**content) if isinstance(content, dict) else content
    ):
      for paragraph in article['paragraphs']:
        for question in paragraph['qas']:
          texts = tuple(answer['text'] for answer in question['answers'])
          out.append((question['id'], texts))
  except (KeyError, TypeError, AttributeError) as error:
    raise ValueError(
      f"{path}: not SQuAD's JSON (data, paragraphs, qas, answers), which "
      f'labels are expected as: question {len(out)} is not found in it'
    ) from error
  for name, texts in out:
    if not texts or not all(isinstance(text, str) for text in texts):
      raise ValueError(f'{path}: question {name!r} has no right answers')
  return out


def align_answers(answers, gold):
  return [answers.get(name) for name, _ in gold], [texts for _, texts in gold]


# Rankings of candidates, by id.


def read_rankings(path: Path) -> dict[str, list[str]]:
  """{id: [the best candidate, the next, ...]}."""

  def is_list(value):
    return isinstance(value, list) and all(isinstance(v, str) for v in value)

  return _by_id(path, is_list, 'a list of strings')


def gold_rankings(path: Path) -> list[tuple[str, tuple[str, ...]]]:
  """(id, right candidates)."""
  out = []
  for name, texts in read_rankings(path).items():
    if not texts:
      raise ValueError(f'{path}: {name!r} has no right candidate')
    out.append((name, tuple(text.strip() for text in texts)))
  return out


def align_rankings(rankings, gold):
  return [rankings.get(name, []) for name, _ in gold], [ids for _, ids in gold]


def names_of(gold: Sequence[tuple[str, Any]]) -> list[str]:
  return [name for name, _ in gold]


def remarks_on_ids(path, answers, ids, names, language):
  if ids is None:
    return []
  out = []
  left = [name for name in ids if name not in answers]
  if left:
    out.append(
      f'{path}: {len(left)} of {len(ids)} ids have no answer and score 0, '
      f'{left[0]!r} for one'
    )
  known = set(ids)
  more = [name for name in answers if name not in known]
  if more:
    out.append(
      f'{path}: {len(more)} ids are not asked for, {more[0]!r} for one'
    )
  return out


# Choices: a JSON object per line.


def read_choices(path: Path) -> list[int]:
  """The label of each line."""
  out = []
  for number, line in enumerate(files.lines(path), 1):
    try:
      label = json.loads(line)['label']
    except (ValueError, TypeError, KeyError) as error:
      raise ValueError(
        f'{path}:{number}: a line is an object with a label, {{"label": 0}}'
      ) from error
    # "1" is not 1 for XTREME's script.
    if type(label) is not int:
      raise ValueError(f'{path}:{number}: the label is {label!r}, no number')
    out.append(label)
  return out


def remarks_on_choices(path, labels, count, names, language):
  wrong = [i for i, label in enumerate(labels) if label not in (0, 1)]
  out = _listed(path, labels, wrong, 'are neither 0 nor 1')
  # XCOPA's own lines have an index: 0, 1, ... in the order of the file.
  rows = [json.loads(line) for line in files.lines(path)]
  for number, row in enumerate(rows):
    if row.get('idx', number) != number:
      out.append(f'{path}:{number + 1}: idx {row["idx"]!r} out of order')
      break
  return out


def text_of_choices(predictions: Sequence, ids) -> str:
  return text_of_labels(list(map(int, predictions)), ids)


# Any label: a JSON object per line.


def read_labels(path: Path) -> list:
  return [item['label'] for _, item in files.objects(path)]


def text_of_labels(predictions: Sequence, ids) -> str:
  dump = lambda label: json.dumps({'label': label}, ensure_ascii=False)
  return ''.join(f'{dump(label)}\n' for label in predictions)


def text_by_id(predictions: Sequence, ids: Sequence[str] | None) -> str:
  by_id = dict(zip(ids or (), predictions, strict=True))
  return json.dumps(by_id, ensure_ascii=False, indent=0) + '\n'


def _by_id(
  path: Path, is_right: Callable[[Any], bool], value_name: str
) -> dict[str, Any]:
  content = files.document(path)
  if not isinstance(content, dict):
    raise ValueError(f'{path}: not an object of id → {value_name}')
  for name, value in content.items():
    if not is_right(value):
      raise ValueError(f'{path}: {name!r} has {value!r}, not {value_name}')
  return content


def _nothing(*_) -> None:
  return None


FORMS: Mapping[str, Form] = {
  'lines': Form(
    'tsv',
    read_lines,
    read_lines,
    len,
    match_lines,
    remarks_on_lines,
    _as_they_are,
    text_of_lines,
  ),
  'tags': Form(
    'tsv',
    read_tags,
    read_tags,
    lambda gold: [len(tags) for tags in gold],
    match_tags,
    remarks_on_tags,
    _as_they_are,
    text_of_tags,
  ),
  'pairs': Form(
    'tsv',
    read_pairs,
    gold_pairs,
    _nothing,
    _nothing,
    remarks_on_pairs,
    _as_they_are,
    text_of_pairs,
  ),
  'answers': Form(
    'json',
    read_answers,
    gold_answers,
    names_of,
    _nothing,
    remarks_on_ids,
    align_answers,
    text_by_id,
  ),
  'rankings': Form(
    'json',
    read_rankings,
    gold_rankings,
    names_of,
    _nothing,
    remarks_on_ids,
    align_rankings,
    text_by_id,
  ),
  'choices': Form(
    'jsonl',
    read_choices,
    read_choices,
    len,
    match_lines,
    remarks_on_choices,
    _as_they_are,
    text_of_choices,
  ),
  # CLUENER's; XTREME has no such files.
  'spans': Form(
    'jsonl',
    read_labels,
    read_labels,
    len,
    match_lines,
    lambda *_: [],
    _as_they_are,
    text_of_labels,
  ),
}
