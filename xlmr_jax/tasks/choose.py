"""Choosing: which of a few answers fits a question.

```
texts    'It rained.' 'What was the effect?'
choices  'I got wet.' 'I slept.'

<s> It rained. What was the effect? </s></s> I got wet. </s>  label 1
<s> It rained. What was the effect? </s></s> I slept.   </s>  label 0
```

Every answer is a feature of its own, and the head gives it one score; the
answer with a question's highest score is chosen. No question is padded with
empty answers.

Questions of a group share their answers and each wants another, as the blanks
of a text do in CHID. `decode` may then assign them one to one:

```
scores     画蛇添足  雪中送炭  草木皆兵    free  greedy  optimal
blank 1        3.0       2.9      -1.0       0      0        1
blank 2        2.8      -2.0      -3.0       0      1        0
```
"""

from collections.abc import Hashable, Sequence
import math
from typing import Any

from jaxtyping import Float
import numpy as np

from xlmr_jax.tasks.encoding import encode_texts

ASSIGN = ('free', 'greedy', 'optimal')


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
      `where`, from data/readers/choices.py. Those with the same `group` that is
      not None share their answers.
    tokenizer: a data.tokenizers.xlmr.Tokenizer.
    labels: nothing here: answers differ from question to question.
    max_length: the most tokens of a feature, specials included.
    truncate: what to cut above it; see Tokenizer.encode.
    required: whether a question without a label is an error.
    first: how many of the texts stand before </s></s>; the others stand after
      it, before the answer. All by default, as in XTREME-R; 1 keeps a question
      whole where a long context is cut.

  Returns:
    Features {'tokens': int32 [length], 'label': 1 of the right answer, 0 of
    another, -1 unknown, 'example': which question, 'group': its group}, in the
    order of the questions and of their answers.

  Raises:
    ValueError: with the example's place: fewer than two answers, a label that
      is none of them or none where one is required, no valid text, or too
      long.
  """
  del labels
  pairs: list[tuple[str, str]] = []
  out: list[dict[str, Any]] = []
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
    group = getattr(example, 'group', None)
    for place, choice in enumerate(example.choices):
      pairs.append((' '.join(before), ' '.join((*after, choice))))
      label = -1 if gold is None else int(place == gold)
      out.append(
        {'tokens': None, 'label': label, 'example': number, 'group': group}
      )
  encoded = encode_texts(
    pairs,
    tokenizer,
    lambda index: examples[out[index]['example']].where,
    max_length=max_length,
    truncate=truncate,
  )
  for feature, ids in zip(out, encoded, strict=True):
    feature['tokens'] = np.array(ids, np.int32)
  return out


def gold(examples: Sequence[Any]) -> list[int | None]:
  """The place of each question's right answer; None where unknown."""
  return [example.label for example in examples]


def decode(
  outputs: Sequence[Float[np.ndarray, '1']],
  labels: Sequence[str] | None,
  features: Sequence[dict[str, Any]],
  *,
  assign: str = 'free',
) -> list[int]:
  """The place of the best answer to each question, the first of equal ones.

  Args:
    outputs: the score of each feature.
    labels: nothing here.
    features: what `encode` made, in its order.
    assign: how the questions of a group share their answers.
      'free': each has its best, whatever the others have.
      'greedy': the best score of the group is taken, then the best of the
        questions and answers that are left, and so on; see `greedy`.
      'optimal': the scores taken have the highest sum, so their softmax the
        highest product; see `optimal`.

  Raises:
    ValueError: outputs that do not fit, or (unless 'free') questions of a
      group whose answers differ in number or are fewer than they.
  """
  del labels
  if assign not in ASSIGN:
    raise ValueError(f'assign={assign!r} is none of {", ".join(ASSIGN)}')
  if len(outputs) != len(features):
    raise ValueError(f'{len(outputs)} outputs for {len(features)} features')
  scores: list[list[float]] = []
  groups: dict[Hashable, list[int]] = {}
  for output, feature in zip(outputs, features, strict=True):
    if np.shape(output) != (1,):
      raise ValueError(
        f'the head gives {np.shape(output)} outputs an answer; choosing needs'
        ' one'
      )
    if feature['example'] == len(scores):
      if feature.get('group') is not None:
        groups.setdefault(feature['group'], []).append(len(scores))
      scores.append([])
    scores[feature['example']].append(float(output[0]))
  out = [int(np.argmax(part)) for part in scores]
  if assign == 'free':
    return out
  for group, members in groups.items():
    sizes = {len(scores[number]) for number in members}
    if len(sizes) > 1 or len(members) > min(sizes):
      raise ValueError(
        f'group {group!r} has {len(members)} questions with'
        f' {" or ".join(map(str, sorted(sizes)))} answers: they cannot share'
        ' them one to one'
      )
    part = np.array([scores[number] for number in members])
    places = greedy(part) if assign == 'greedy' else optimal(part)
    for number, place in zip(members, places, strict=True):
      out[number] = place
  return out


def greedy(scores: Float[np.ndarray, 'questions answers']) -> list[int]:
  """An answer for each question, the best pair of all first.

  The order of CLUE's baseline (`logits_matrix_to_array` in its
  CHID_preprocess.py): pairs by falling score, of equal scores those of the
  first answer first, and of its pairs that of the first question.
  """
  questions, answers = scores.shape
  out = [-1] * questions
  free = [True] * answers
  for pair in np.argsort(-scores.T.reshape(-1), kind='stable'):
    answer, question = divmod(int(pair), questions)
    if out[question] < 0 and free[answer]:
      out[question] = answer
      free[answer] = False
  return out


def optimal(scores: Float[np.ndarray, 'questions answers']) -> list[int]:
  """An answer for each question, so that the sum of scores is highest.

  Of equal sums the one is taken whose first question has the earliest answer,
  then its second, and so on: a solver's choice depends on its steps' order.
  """
  from scipy import optimize  # a fifth of a second to import

  questions, answers = scores.shape
  rows = range(questions)

  def total(places, after=()):
    return math.fsum([*scores[rows[: len(places)], places], *after])

  def solve(fixed):
    """The best places of all questions, those of the first ones given."""
    free = [k for k in range(answers) if k not in fixed]
    rest = scores[len(fixed) :, free]
    chosen = optimize.linear_sum_assignment(rest, maximize=True)[1]
    return [*fixed, *(free[k] for k in chosen)]

  best = solve([])
  for question in rows:
    for answer in range(best[question]):
      fixed = [*best[:question], answer]
      if answer in best[:question]:
        continue
      bound = scores[question + 1 :].max(axis=1)
      if total(fixed, bound) < total(best):
        continue  # not even if the others had their best
      solution = solve(fixed)
      if total(solution) >= total(best):
        best = solution
        break
  return best
