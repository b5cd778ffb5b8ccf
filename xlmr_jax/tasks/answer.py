"""Extractive question answering: an answer is a span of the context.

```
tokens  <s>  ▁How  ▁many ?  </s> </s>  ▁just  ▁30     8       ▁points .     </s>
inside   0    0     0    0   0    0     1      1       1       1      1      0
spans   -1   -1    -1   -1  -1   -1   (0, 4) (5, 7)  (7, 8)  (9, 15) (15, 16) -1
label                                         7 ────── 8     "308" at 5
```

A context that is too long is read in windows that overlap, one every `stride`
tokens, each with the whole question; an answer is cut out of the context by the
offsets of its characters. Rules and defaults are those of SQuAD's scripts as
XTREME runs them (Rajpurkar et al. 2016, 2018; Hu et al. 2020,
arXiv:2003.11080). How scores become answers stands in answer_spans.py.
"""

from collections.abc import Sequence
from typing import Any

from jaxtyping import Bool, Int
import numpy as np

from xlmr_jax.tasks.encoding import encode_texts

_CHUNK = 1024  # texts tokenised together


def encode(
  examples: Sequence[Any],
  tokenizer: Any,
  *,
  labels: Sequence[str] | None = None,
  max_length: int | None = 384,
  truncate: str = 'longest_first',
  required: bool = False,
  stride: int = 128,
  question: int | None = 64,
) -> list[dict[str, Any]]:
  """Encodes questions and their contexts.

  Args:
    examples: objects with `question`, `context`, `label` ((text, first
      character) of each right answer, () for no answer, None for unknown; a
      text at -1 is nowhere) and `where`, as data/readers/squad.py reads.
    tokenizer: a data.tokenizers.xlmr.Tokenizer.
    labels: there are none.
    max_length: the most tokens of a window, specials included.
    truncate: 'error' refuses what does not fit into one window.
    required: whether a question without a label is an error, as it must be
      for training and for choosing a checkpoint.
    stride: by how many tokens of the context a window starts after the one
      before it.
    question: the most tokens of a question; the rest is cut.

  Returns:
    Features {'tokens': int32 [n], 'label': int32 [2], 'example': int,
    'inside': bool [n], 'starts': bool [n], 'spans': int32 [n, 2], 'context':
    str}. A label is the first and the last token of the first right answer
    that has a place: (0, 0) where it is not wholly in this window, (-1, -1)
    where there is none. `inside` are the tokens of the context, and `starts`
    those of them that no other window holds with more context; `spans` are
    characters of the context, -1 outside. Windows follow each other in order.

  Raises:
    ValueError: with the question's place: no label where one is required, no
      valid text, or no room for the context.
  """
  if labels is not None:
    raise ValueError('answers are spans of a text; they have no label names')
  if stride < 1 or question is not None and question < 1:
    raise ValueError(
      f'stride={stride}, question={question}; each is at least one token'
    )
  # SQuAD has questions with a lot of space before them.
  asked = [example.question.lstrip() for example in examples]
  queries = _tokenise(asked, examples, tokenizer, False)
  contexts = _tokenise(
    [example.context for example in examples], examples, tokenizer, True
  )
  out = []
  for number, (example, text) in enumerate(zip(examples, asked, strict=True)):
    ids, spans = contexts[example.context]
    query = queries[text][:question]
    room = len(ids)
    if max_length is not None:
      room = max_length - tokenizer.specials(2) - len(query)
      if truncate == 'error' and (
        len(ids) > room or len(query) < len(queries[text])
      ):
        raise ValueError(
          f'{example.where}: {len(queries[text])} tokens of a question and'
          f' {len(ids)} of its context are more than a window holds'
          f' (max_length={max_length}, question={question}); let it be cut and'
          ' read in windows'
        )
      if room < 1:
        raise ValueError(
          f'{example.where}: max_length={max_length} leaves no room for the'
          f' context beside {len(query)} tokens of the question'
        )
    answer = _place(example, spans, required)
    between = [tokenizer.eos_id] * tokenizer.separators
    head = [tokenizer.bos_id, *query, *between]
    windows = _windows(len(ids), room, stride)
    for (first, last), home in zip(
      windows, _homes(windows, len(ids)), strict=True
    ):
      begin, end = len(head), len(head) + last - first
      inside = np.zeros(end + 1, bool)
      inside[begin:end] = True
      starts = inside.copy()
      starts[begin:end] = home
      where = np.full((end + 1, 2), -1, np.int32)
      where[begin:end] = spans[first:last]
      label = np.array(answer or (0, 0), np.int32)
      if answer and answer[0] >= 0:
        label += begin - first
        if answer[0] < first or answer[1] >= last:
          label[:] = 0
      out.append(
        {
          'tokens': np.array(
            [*head, *ids[first:last], tokenizer.eos_id], np.int32
          ),
          'label': label,
          'example': number,
          'inside': inside,
          'starts': starts,
          'spans': where,
          'context': example.context,
        }
      )
  return out


def gold(examples: Sequence[Any]) -> list[tuple[str, ...] | None]:
  """The right answers to each question; '' for a question without one."""
  return [
    None
    if example.label is None
    else tuple(text for text, _ in example.label) or ('',)
    for example in examples
  ]


def _tokenise(
  texts: list[str], examples: Sequence[Any], tokenizer: Any, offsets: bool
) -> dict[str, Any]:
  """Each text's ids, and with `offsets` spans [n, 2], without specials.

  Questions share contexts: every text is tokenised once.
  """
  first: dict[str, Any] = {}
  for text, example in zip(texts, examples, strict=True):
    first.setdefault(text, example)
  distinct = list(first)
  encoded = encode_texts(
    distinct,
    tokenizer,
    lambda index: first[distinct[index]].where,
    chunk=_CHUNK,
    offsets=offsets,
  )
  if not offsets:
    return {t: ids[1:-1] for t, ids in zip(distinct, encoded, strict=True)}
  return {
    text: (ids[1:-1], np.array(spans[1:-1], np.int32).reshape(-1, 2))
    for text, (ids, spans) in zip(distinct, encoded, strict=True)
  }


def _place(
  example: Any, spans: Int[np.ndarray, 'n 2'], required: bool
) -> tuple[int, int] | None:
  """First and last token of the answer; (-1, -1): unknown; None: none."""
  if example.label is None:
    if required:
      raise ValueError(
        f'{example.where}: no label; training and choosing a checkpoint need'
        ' labelled examples (XTREME ships its test files without labels)'
      )
    return -1, -1
  if not example.label:
    return None
  begins, ends = spans.T
  for text, start in example.label:
    if start >= 0:
      held = (ends > start) & (begins < start + len(text)) & (begins < ends)
      tokens = np.flatnonzero(held)
      if len(tokens):  # the tokenizer drops characters of some kinds
        return int(tokens[0]), int(tokens[-1])
  return -1, -1


def _windows(length: int, room: int, stride: int) -> list[tuple[int, int]]:
  """(first, last) tokens of each window; together they hold all tokens.

  A stride above the room would leave tokens out.
  """
  out = [(0, min(room, length))]
  while out[-1][1] < length:
    first = out[-1][0] + min(stride, room)
    out.append((first, min(first + room, length)))
  return out


def _homes(
  windows: list[tuple[int, int]], length: int
) -> list[Bool[np.ndarray, 'window']]:
  """Marks each window's tokens that have more context there than elsewhere.

  Context is that of the shorter side and a hundredth of the window's length,
  as in SQuAD's scripts; of equals the earlier window has it.
  """
  if len(windows) == 1:
    return [np.ones(length, bool)]
  at = np.arange(length)
  context = np.stack(
    [
      np.where(
        (first <= at) & (at < last),
        np.minimum(at - first, last - 1 - at) + 0.01 * (last - first),
        -np.inf,
      )
      for first, last in windows
    ]
  )
  best = context.argmax(axis=0)
  return [
    best[first:last] == number for number, (first, last) in enumerate(windows)
  ]
