"""Texts to token ids, for every kind: in chunks, and with the place of a bad
one; and how messages name labels."""

from collections.abc import Callable, Iterable, Iterator, Sequence
import os
from typing import Any

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
