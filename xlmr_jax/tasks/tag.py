"""Tagging: one answer for each word of a sentence.

```
words        Mary          Jones-Smith          naps            .
pieces  <s>  ▁Mary  ▁Jon  es  -  Smith          ▁na  ps         ▁.   </s>
label   -1   0      0     -1  -1 -1             3    -1         5    -1
words        1      2                           6               8
```

Every word is tokenised on its own, and its first piece answers for it. A
sentence that is too long is not cut: it becomes several features, its
windows, as XTREME's utils_preprocess.py makes them (Hu et al. 2020,
arXiv:2003.11080), so that every word is answered exactly once.
"""

from collections.abc import Sequence
from typing import Any

from jaxtyping import Float, Int
import numpy as np

from xlmr_jax.tasks.encoding import encode_texts, list_names, shorten

# No label, as -1 is none: the sentence goes on before or behind the window. A
# chain reads it, layers/crf.py.
JOINED = -2


def encode(
  examples: Sequence[Any],
  tokenizer: Any,
  *,
  labels: Sequence[str],
  max_length: int | None = 128,
  truncate: str = 'longest_first',
  required: bool = False,
) -> list[dict[str, Any]]:
  """Encodes sentences.

  A word without tokens becomes <unk>, and so does a word that no window holds,
  as in XTREME.

  Args:
    examples: objects with `words`, `label` (a tag for each, or None), `where`
      and `place(k)` (their name and that of their k-th word in errors), from
      data/readers/tagged.py.
    tokenizer: a data.tokenizers.xlmr.Tokenizer.
    labels: the tags in the order of the head's outputs.
    max_length: the most tokens of a window, specials and one spare included.
    truncate: 'error' refuses what does not fit into one window.
    required: whether a sentence without tags is an error, as it must be for
      training and for choosing a checkpoint.

  Returns:
    Features {'tokens': int32 [length], 'label': int32 [length] or None,
    'words': int32 [words], 'example': int, 'first': int}: ids; the tag's id at
    the first piece of each word and below 0 elsewhere, JOINED at the <s>
    and </s> where the sentence has words beyond; the places of these pieces;
    which of the examples it is a window of; which of its words comes first.
    Windows follow each other in order.

  Raises:
    ValueError: with the word's place: a tag that is none of `labels`, no tags
      where they are required, no valid text, or too long.
  """
  index = {name: i for i, name in enumerate(labels)}
  if len(index) != len(labels):
    raise ValueError(f'labels name a tag twice: {list_names(labels)}')
  # XTREME leaves room for RoBERTa's three specials, <s> </s> </s>, and for two
  # of BERT. A feature has two, but its windows are to hold the same words.
  spare = 1 + tokenizer.separators
  room = None if max_length is None else max_length - spare
  if room is not None and room < 1:
    raise ValueError(
      f'max_length={max_length}; a window needs at least {spare + 1}'
    )
  pieces = _pieces(examples, tokenizer)
  if truncate == 'error':
    _check_lengths(examples, pieces, room, spare)
  for word, ids in pieces.items():
    if not ids or room is not None and len(ids) > room:
      pieces[word] = [tokenizer.unk_id]
  out = []
  for number, example in enumerate(examples):
    if not example.words:
      raise ValueError(f'{example.where}: a sentence without words')
    tags = _tags(example, index, required)
    parts = [pieces[word] for word in example.words]
    for first, last in _windows([len(part) for part in parts], room):
      part = parts[first:last]
      lengths = np.array([len(ids) for ids in part])
      words = (np.cumsum(lengths) - lengths + 1).astype(np.int32)
      inside = [i for ids in part for i in ids]
      tokens = np.array([tokenizer.bos_id, *inside, tokenizer.eos_id], np.int32)
      label = None
      if tags is not None:
        label = np.full(len(tokens), -1, np.int32)
        label[words] = tags[first:last]
        label[0] = JOINED if first else -1
        label[-1] = JOINED if last < len(parts) else -1
      feature = {'tokens': tokens, 'label': label, 'words': words}
      out.append({**feature, 'example': number, 'first': first})
  return out


def _pieces(examples: Sequence[Any], tokenizer: Any) -> dict[str, list[int]]:
  """The ids of every word there is, each tokenised once."""
  first: dict[str, tuple[Any, int]] = {}
  for example in examples:
    for k, word in enumerate(example.words):
      first.setdefault(word, (example, k))
  words = list(first)

  def place(index):
    example, k = first[words[index]]
    return example.place(k)

  # SentencePiece puts a space before a text itself, and one is enough for it;
  # byte-level BPE does not, and a word within a text has one.
  encoded = encode_texts(words, tokenizer, place, prefix=' ')
  return {
    word: list(ids[1:-1]) for word, ids in zip(words, encoded, strict=True)
  }


def _check_lengths(examples, pieces, room, spare) -> None:
  for example in examples:
    length = sum(max(1, len(pieces[word])) for word in example.words)
    if room is not None and length > room:
      raise ValueError(
        f'{example.where}: {length + spare} tokens are more than'
        f' max_length={room + spare}; shorten the sentence, or let it be read'
        ' in windows'
      )


def _windows(lengths: list[int], room: int | None) -> list[tuple[int, int]]:
  """(first, last) words of each window: as many as fit, and on with the next.

  None of the lengths is above the room.
  """
  cuts, used = [0], 0
  for k, length in enumerate(lengths):
    if room is not None and used + length > room:
      cuts.append(k)
      used = 0
    used += length
  return list(zip(cuts, [*cuts[1:], len(lengths)], strict=True))


def _tags(
  example: Any, index: dict[str, int], required: bool
) -> list[int] | None:
  """The ids of a sentence's tags."""
  if example.label is None:
    if required:
      raise ValueError(
        f'{example.where}: no label; training and choosing a checkpoint need'
        ' labelled examples (XTREME ships its test files without labels)'
      )
    return None
  if len(example.label) != len(example.words):
    raise ValueError(
      f'{example.where}: {len(example.label)} tags for'
      f' {len(example.words)} words'
    )
  for k, tag in enumerate(example.label):
    if tag not in index:
      raise ValueError(
        f'{example.place(k)}: unknown tag {shorten(repr(tag))}; the tags are'
        f' {list_names(index)}'
      )
  return [index[tag] for tag in example.label]


def gold(examples: Sequence[Any]) -> list:
  """What `decode` should give: the tags of each, None where there is none."""
  return [example.label for example in examples]


def decode(
  outputs: Sequence[Float[np.ndarray, 'L C'] | Int[np.ndarray, 'L']],
  labels: Sequence[str],
  features: Sequence[dict[str, Any]],
) -> list[list[str]]:
  """The tags of each sentence, one a word.

  Args:
    outputs: of each feature: scores of the tags at every token, of which the
      highest is taken at each word; or the ids of a path already chosen.
    labels: names of the C tags.
    features: what `encode` made, in its order.
  """
  if len(outputs) != len(features):
    raise ValueError(f'{len(outputs)} outputs for {len(features)} features')
  out: list[list[str]] = []
  for output, feature in zip(outputs, features, strict=True):
    at = np.asarray(output)
    if len(at) != len(feature['tokens']):
      raise ValueError(
        f'{len(at)} outputs for a window of {len(feature["tokens"])} tokens'
      )
    at = at[feature['words']]
    if at.ndim == 2:
      if at.shape[1] != len(labels):
        raise ValueError(
          f'the head gives {at.shape[1]} outputs a token; there are'
          f' {len(labels)} labels'
        )
      at = at.argmax(axis=1)
    elif at.min() < 0 or at.max() >= len(labels):
      raise ValueError(f'the path has no tag at a word: {at.tolist()}')
    if feature['example'] == len(out):
      out.append([])
    out[feature['example']] += [labels[i] for i in at.tolist()]
  return out
