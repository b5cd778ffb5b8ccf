"""Texts to token ids, for every kind: in chunks, and with the place of a bad
one; and how messages name labels."""

from collections.abc import Callable, Iterable, Iterator, Sequence
import os
from typing import Any

import numpy as np

_CHUNK = 8192  # texts tokenised together
_SHOWN = 8  # names in a message, of many
_WIDTH = 60  # characters of each of them


def list_names(names: Iterable[str]) -> str:
  """Names for a message of one line: 'a, b, c'; of very many, the first."""
  names = list(names)
  few = names if len(names) <= 2 * _SHOWN else names[:_SHOWN]
  text = ', '.join(map(shorten, few))
  return text if few is names else f'{text}, … ({len(names):,} in all)'


def shorten(text: str) -> str:
  """The beginning of a text that is too long for a message."""
  return text if len(text) <= _WIDTH else f'{text[: _WIDTH - 1]}…'


def number_labels(labels: Sequence[str]) -> dict[str, int]:
  """Name of a class → its id.

  Raises:
    ValueError: a name that stands there twice.
  """
  index = {name: i for i, name in enumerate(labels)}
  if len(index) != len(labels):
    raise ValueError(f'labels name a class twice: {list_names(labels)}')
  return index


def make_features(
  examples: Sequence[Any], values: Sequence[Any], tokenizer: Any, **options: Any
) -> list[dict[str, Any]]:
  """A feature an example: its tokens, and its label as the model learns it.

  Args:
    examples: with `texts`, one or two, and `where`.
    values: the label of each.
    tokenizer: as for `encode_texts`, as are the options.
  """
  encoded = encode_texts(
    [tuple(example.texts) for example in examples],
    tokenizer,
    lambda index: examples[index].where,
    **options,
  )
  return [
    {'tokens': np.array(ids, np.int32), 'label': value}
    for ids, value in zip(encoded, values, strict=True)
  ]


def encode_texts(
  texts: Sequence[Any],
  tokenizer: Any,
  place: Callable[[int], str],
  *,
  prefix: str = '',
  chunk: int = _CHUNK,
  **options: Any,
) -> Iterator[Any]:
  """Yields what the tokenizer makes of each text or pair.

  Args:
    texts: texts, or tuples of one or two.
    tokenizer: a data.tokenizers.xlmr.Tokenizer or another with
      `encode_batch`.
    place: index of a text → its name in errors.
    prefix: put before each text, but not shown in errors.
    chunk: how many are tokenised together.
    **options: of `encode_batch`.

  Raises:
    ValueError: with the place of the first text that cannot be encoded.
  """
  threads = min(4, os.cpu_count() or 1)
  for start in range(0, len(texts), chunk):
    part = texts[start : start + chunk]
    batch = [prefix + text for text in part] if prefix else part
    try:
      encoded = tokenizer.encode_batch(batch, num_threads=threads, **options)
    except (TypeError, ValueError):
      for index, text in enumerate(part, start):
        try:
          tokenizer.encode_batch([text], **options)
        except (TypeError, ValueError) as error:
          raise ValueError(f'{place(index)}: {error}') from error
      raise
    yield from encoded
