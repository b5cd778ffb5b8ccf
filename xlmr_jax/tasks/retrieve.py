"""Retrieval: the sentence of the other side that translates this one.

Nothing is learned: `encode` makes tokens of every sentence, the model makes
a vector of each, and `decode` compares the vectors of two sides.

```
nearest  for each sentence of side 1 the place of the closest one of side 0
         (Tatoeba: for each English sentence the number of a foreign one)
rank     for each of side 1 the ids of the k closest of side 0 (LAReQA,
         Mewsli-X: side 0 is the pool of candidates)
mine     pairs of ids, each sentence in one pair at most, with scores (BUCC)
```

The search is exact, in blocks: its memory grows with the number of sentences,
not with that of pairs. Equally close sentences come in the order given.
"""

from collections.abc import Sequence
from typing import Any

from jaxtyping import Float
import numpy as np

from xlmr_jax.tasks.encoding import encode_texts
from xlmr_jax.tasks.neighbours import mine, nearest, search, unit


def encode(
  examples: Sequence[Any],
  tokenizer: Any,
  *,
  labels: Sequence[str] | None = None,
  max_length: int | None = 512,
  truncate: str = 'longest_first',
  required: bool = False,
) -> list[dict[str, Any]]:
  """Encodes the sentences of both sides.

  Args:
    examples: objects with `id`, `text`, `side` (0 or 1), `label` and `where`,
      as data/readers/bitext.py reads.
    tokenizer: a data.tokenizers.xlmr.Tokenizer.
    labels: nothing here, there are no classes.
    max_length: the most tokens of a feature, specials included.
    truncate: what to cut above it; see Tokenizer.encode.
    required: whether it is an error that no translation is known.

  Returns:
    Features {'tokens': int32 [length], 'label': None, 'id', 'side', 'text'} in
    the order of the examples.

  Raises:
    ValueError: with the example's place: a side that is neither 0 nor 1, no
      valid text, too long, or no label where one is required.
  """
  del labels
  for example in examples:
    if example.side not in (0, 1):
      raise ValueError(f'{example.where}: side {example.side!r} is not 0 or 1')
  if required and (not examples or None in gold(examples)):
    where = examples[0].where if examples else 'no examples'
    raise ValueError(f'{where}: it is not known which sentences translate it')
  encoded = encode_texts(
    [example.text for example in examples],
    tokenizer,
    lambda index: examples[index].where,
    max_length=max_length,
    truncate=truncate,
  )
  return [
    {
      'tokens': np.array(ids, np.int32),
      'label': None,
      'id': example.id,
      'side': example.side,
      'text': example.text,
    }
    for example, ids in zip(examples, encoded, strict=True)
  ]


def gold(examples: Sequence[Any]) -> list:
  """What `decode` should give.

  The pairs (id of side 0, id of side 1) where sentences of side 0 are labelled,
  as those of BUCC are, with the ids of their translations; else the label of
  each sentence of side 1, None for one that has none.
  """
  foreign = [e for e in examples if e.side == 0 and e.label is not None]
  if foreign:
    return [(e.id, other) for e in foreign for other in e.label]
  return [e.label for e in examples if e.side == 1]


def decode(
  outputs: Sequence[Float[np.ndarray, 'D']],
  labels: Sequence[str] | None,
  features: Sequence[dict[str, Any]],
  *,
  match: str = 'nearest',
  k: int | None = None,
  margin: str = 'ratio',
  normalize: bool = True,
) -> list[int] | list[list[str]] | list[tuple[str, str, float]]:
  """Finds translations by their vectors.

  Sentences of the same tokens share one vector, that of the first (of mined
  ones that of the last, as in LASER): the model's rounding, which depends on
  what else is in a batch, breaks no tie.

  Args:
    outputs: a vector for each feature.
    labels: nothing here.
    features: what `encode` made, in its order.
    match: 'nearest', 'rank' or 'mine'; see above.
    k: how many are ranked, by default 20; or how many neighbours the margin
      of a mined pair is measured by, by default 4.
    margin: of mined pairs; see `mine`.
    normalize: whether vectors are compared by cosine, or by their dot product
      (not when mining).

  Returns:
    For 'nearest' a place among the sentences of side 0, counted from 0, for
    each of side 1; for 'rank' a list of ids each; for 'mine' pairs of ids with
    scores above 0, the best first. As in XTREME, a sentence that stands more
    than once in its side is in no mined pair, because it is unclear which of
    them is meant.

  Raises:
    ValueError: not as many outputs as features, a side without sentences, a
      vector that is not finite, or unknown options.
  """
  del labels
  if match not in ('nearest', 'rank', 'mine'):
    raise ValueError(f'match={match!r} is not one of nearest, rank, mine')
  if len(outputs) != len(features):
    raise ValueError(f'{len(outputs)} outputs for {len(features)} features')
  sides = []
  for side in (0, 1):
    places = [i for i, f in enumerate(features) if f['side'] == side]
    if not places:
      raise ValueError(f'there are no sentences on side {side}')
    sides.append(places)
  if match == 'mine':
    return _mine_texts(outputs, features, sides, 4 if k is None else k, margin)
  first: dict[bytes, int] = {}
  for place, feature in enumerate(features):
    first.setdefault(feature['tokens'].tobytes(), place)
  x, y = (
    np.stack([outputs[first[features[i]['tokens'].tobytes()]] for i in places])
    for places in sides
  )
  if match == 'nearest':
    return nearest(x, y, normalize=normalize).tolist()
  if normalize:
    x, y = unit(x), unit(y)
  _, ranked = search(y, x, 20 if k is None else k)
  ids = [features[i]['id'] for i in sides[0]]
  return [[ids[i] for i in row] for row in ranked.tolist()]


def _mine_texts(outputs, features, sides, k, margin):
  """`mine` of distinct sentences, and their ids."""
  vectors, ids = [], []
  for places in sides:
    last: dict[str, int] = {}
    count: dict[str, int] = {}
    for place in places:
      text = features[place]['text']
      last[text] = place  # where the sentence stands first in the dict stays
      count[text] = count.get(text, 0) + 1
    vectors.append(np.stack([outputs[place] for place in last.values()]))
    ids.append(
      [
        features[place]['id'] if count[text] == 1 else None
        for text, place in last.items()
      ]
    )
  pairs = [
    (ids[0][i], ids[1][j], score)
    for i, j, score in mine(*vectors, k=k, margin=margin)
  ]
  return [pair for pair in pairs if pair[0] is not None and pair[1] is not None]
