"""Texts to token ids, for every kind: in chunks, and with the place of a bad
one."""

from collections.abc import Callable, Iterator, Sequence
import os
from typing import Any

_CHUNK = 8192  # texts tokenised together


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
