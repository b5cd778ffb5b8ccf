"""Spans of tags, and their scores.

CLUENER (Xu et al. 2020, arXiv:2001.04351) writes the spans of a text as
{type: {surface: [[first, last], ...]}}, characters counted from 0 and the last
one included. `marked` makes this form from tags; the official score counts the
surfaces alone (`surface_scores`).
"""

from collections.abc import Mapping, Sequence

# A sentence's spans as CLUENER writes them.
Marked = Mapping[str, Mapping[str, Sequence[Sequence[int]]]]

_SAME = {'L': 'E', 'U': 'S'}


def read(sentences: Sequence[Sequence[str]]) -> set[tuple[str, int, int]]:
  """(type, first word, last word) of every span, words counted through.

  They are read as by conlleval and seqeval before 1.0 (scores.span_scores);
  one number is left out between sentences. BILOU's L- and U-, which those do
  not know, are read as E- and S-, which mean the same.
  """
  out = set()
  last, last_kind, begin, at = 'O', '', 0, 0
  for sentence in sentences:
    for tag in (*sentence, 'O'):  # O stands between sentences
      first, kind = tag[0], tag.rpartition('-')[2]
      if tag[1:2] == '-':
        first = _SAME.get(first, first)
      other = last_kind != kind
      if (
        last in 'ES'
        or (last in 'BI' and first in 'BSO')
        or (last not in 'O.' and other)
      ):
        out.add((last_kind, begin, at - 1))
      if (
        first in 'BS'
        or (last in 'ESO' and first in 'EI')
        or (first not in 'O.' and other)
      ):
        begin = at
      last, last_kind, at = first, kind, at + 1
  return out


def overlap(predicted: set, true: set) -> tuple[float, float, float]:
  """F1, precision and recall of a set, per cent; 0 where nothing is right."""
  right = len(predicted & true)
  precision = right / len(predicted) if predicted else 0.0
  recall = right / len(true) if true else 0.0
  both = precision + recall
  f1 = 2 * precision * recall / both if both else 0.0
  return 100 * f1, 100 * precision, 100 * recall


def marked(
  characters: Sequence[str], tags: Sequence[str]
) -> dict[str, dict[str, list[list[int]]]]:
  """A sentence's spans as CLUENER writes them.

  >>> marked('在北京，北京', 'O B-scene I-scene O S-scene B-scene'.split())
  {'scene': {'北京': [[1, 2]], '北': [[4, 4]], '京': [[5, 5]]}}

  Args:
    characters: of the text: a string, or its parts, which are counted.
    tags: one each, with B- and I-; S- for a span of one is understood too.

  Raises:
    ValueError: not as many tags as characters.
  """
  if len(characters) != len(tags):
    raise ValueError(f'{len(tags)} tags for {len(characters)} characters')
  out: dict[str, dict[str, list[list[int]]]] = {}
  for kind, first, last in sorted(read([tags]), key=lambda span: span[1:]):
    surface = ''.join(characters[first : last + 1])
    places = out.setdefault(kind, {}).setdefault(surface, [])
    places.append([first, last])
  return out


def surface_scores(
  predictions: Sequence[Marked], gold: Sequence[Marked]
) -> dict[str, float]:
  """Scores of CLUENER, per cent.

  CLUENER's score.py compares, type by type, the surfaces of each sentence and
  ignores their places and counts. It divides by zero where a type is never
  predicted; here that type scores 0. Types that only predictions have are in no
  mean, as there, where the ten types are fixed.

  Args:
    predictions: the spans of each sentence.
    gold: the same.

  Returns:
    'cluener', the mean of the F1 of gold's types; and 'span_f1', 'precision'
    and 'recall' of all spans by type and place, as taggers are scored. All 0
    where gold has no span.
  """
  if len(predictions) != len(gold):
    raise ValueError(
      f'{len(predictions)} predictions for {len(gold)} labels: one line each'
    )
  if not len(gold):
    raise ValueError('there is nothing to score')
  predicted, true = _surfaces(predictions), _surfaces(gold)
  each = [overlap(predicted.get(kind, set()), true[kind])[0] for kind in true]
  f1, precision, recall = overlap(_places(predictions), _places(gold))
  return {
    'cluener': sum(each) / len(each) if each else 0.0,
    'span_f1': f1,
    'precision': precision,
    'recall': recall,
  }


def _surfaces(sentences: Sequence[Marked]) -> dict[str, set[tuple[int, str]]]:
  out: dict[str, set[tuple[int, str]]] = {}
  for number, sentence in enumerate(sentences):
    for kind, surfaces in sentence.items():
      if surfaces:
        out.setdefault(kind, set()).update((number, s) for s in surfaces)
  return out


def _places(sentences: Sequence[Marked]) -> set[tuple]:
  return {
    (number, kind, *place)
    for number, sentence in enumerate(sentences)
    for kind, surfaces in sentence.items()
    for places in surfaces.values()
    for place in places
  }
