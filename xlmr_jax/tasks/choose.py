"""Choosing: which of a few answers fits a question.

```
texts    'It rained.' 'What was the effect?'
choices  'I got wet.' 'I slept.'

<s> It rained. What was the effect? </s></s> I got wet. </s>  label 1
<s> It rained. What was the effect? </s></s> I slept.   </s>  label 0
```

Every answer is a feature of its own, and the head gives it one score; the
highest of a question's is chosen. A question with many answers costs what they
cost, and none is filled up with answers that are no answers.
"""

from collections.abc import Sequence
import os
from typing import Any

from jaxtyping import Float
import numpy as np

HEADS = ('choose',)
_CHUNK = 8192  # answers tokenised together


def encode(
  examples: Sequence[Any],
  tokenizer: Any,
  *,
  labels: Sequence[str] | None = None,
  max_length: int | None = 128,
  truncate: str = 'longest_first',
  required: bool = False,
  first: int | None = None,
) -> list[dict[str, Any]]:
  """Encodes questions.

  Args:
    examples: objects with `texts` (what stands before an answer), `choices`
      (two or more answers), `label` (the place of the right one, or None) and
      `where`, as data/choices.py reads.
    tokenizer: a data.tokenizer.Tokenizer.
    labels: nothing here: answers differ from question to question.
    max_length: the most tokens of a feature, specials included.
    truncate: what to cut above it; see Tokenizer.encode.
    required: whether a question without a label is an error.
    first: how many of the texts stand before </s></s>; the others stand after
      it, before the answer. All by default, as in XTREME-R; 1 keeps a question
      whole where a long context is cut.

  Returns:
    Features {'tokens': int32 [length], 'label': 1 of the right answer, 0 of
    another, -1 unknown, 'example': which question}, in the order of the
    questions and of their answers.

  Raises:
    ValueError: with the example's place: fewer than two answers, a label that
      is none of them or none where one is required, no valid text, or too
      long.
  """
  del labels
  pairs, out = [], []
  for number, example in enumerate(examples):
    count, gold = len(example.choices), example.label
    if count < 2:
      raise ValueError(f'{example.where}: {count} answers to choose from')
    if gold is None and required:
      raise ValueError(
        f'{example.where}: no label; training and choosing a checkpoint need'
        ' labelled examples'
      )
    if gold is not None and gold not in range(count):
      raise ValueError(
        f'{example.where}: label {gold!r}, but there are {count} answers'
      )
    texts = tuple(example.texts)
    if first is not None and not 0 < first <= len(texts):
      raise ValueError(
        f'{example.where}: first={first}, but {len(texts)} texts stand before'
        ' an answer'
      )
    before, after = texts[:first], texts[len(texts[:first]) :]
    for place, choice in enumerate(example.choices):
      pairs.append((' '.join(before), ' '.join((*after, choice))))
      label = -1 if gold is None else int(place == gold)
      out.append({'tokens': None, 'label': label, 'example': number})
  options = {'max_length': max_length, 'truncate': truncate}
  threads = min(4, os.cpu_count() or 1)
  for start in range(0, len(pairs), _CHUNK):
    part, chunk = out[start : start + _CHUNK], pairs[start : start + _CHUNK]
    try:
      encoded = tokenizer.encode_batch(chunk, num_threads=threads, **options)
    except (TypeError, ValueError):
      # One of them is at fault: find it and say which.
      for feature, pair in zip(part, chunk, strict=True):
        try:
          tokenizer.encode_batch([pair], **options)
        except (TypeError, ValueError) as error:
          where = examples[feature['example']].where
          raise ValueError(f'{where}: {error}') from error
      raise
    for feature, ids in zip(part, encoded, strict=True):
      feature['tokens'] = np.array(ids, np.int32)
  return out


def gold(examples: Sequence[Any]) -> list[int | None]:
  """The place of each question's right answer; None where unknown."""
  return [example.label for example in examples]


def decode(
  outputs: Sequence[Float[np.ndarray, '1']],
  labels: Sequence[str] | None,
  features: Sequence[dict[str, Any]],
) -> list[int]:
  """The place of the best answer to each question, the first of equal ones.

  Args:
    outputs: the score of each feature.
    labels: nothing here.
    features: what `encode` made, in its order.
  """
  del labels
  if len(outputs) != len(features):
    raise ValueError(f'{len(outputs)} outputs for {len(features)} features')
  scores: list[list[float]] = []
  for output, feature in zip(outputs, features, strict=True):
    if np.shape(output) != (1,):
      raise ValueError(
        f'the head gives {np.shape(output)} outputs an answer; choosing needs'
        ' one'
      )
    if feature['example'] == len(scores):
      scores.append([])
    scores[feature['example']].append(float(output[0]))
  return [int(np.argmax(part)) for part in scores]
