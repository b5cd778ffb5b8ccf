"""What a model counts in a batch: positions, and the texts of a pair.

```
              <s> a <pad> b </s>       RoBERTa's: a literal <pad> has no place
positions      0  1  -1   2  3
              [CLS] a [SEP] b [SEP]    BERT's: every token has one, and a pair's
positions      0    1  2    3  4       second text another type
types          0    0  0    1  1
```
"""

import dataclasses
from typing import Any

from jaxtyping import Int
import numpy as np


@dataclasses.dataclass(frozen=True)
class Convention:
  """How a model's batches are filled.

  Attributes:
    pad_id: token of the padding.
    count_pads: whether a literal pad inside a text takes a position.
    separator: the token after which, for the first time in an example, types
      are 1; None for a model whose batches have no types.
  """

  pad_id: int = 1
  count_pads: bool = False
  separator: int | None = None

  def positions(
    self,
    tokens: Int[np.ndarray, 'n'],
    begin: Int[np.ndarray, 'examples'],
    lengths: Int[np.ndarray, 'examples'],
  ) -> Int[np.ndarray, 'n']:
    """The position of each token of examples that follow each other.

    Args:
      tokens: of all examples.
      begin: where each example begins.
      lengths: of the examples.
    """
    within = np.arange(len(tokens)) - np.repeat(begin, lengths)
    pads = tokens == self.pad_id
    if self.count_pads or not pads.any():
      return within
    real = np.cumsum(~pads) - ~pads
    within = real - np.repeat(real[begin], lengths)
    within[pads] = -1
    return within

  def types(
    self,
    tokens: Int[np.ndarray, 'n'],
    begin: Int[np.ndarray, 'examples'],
    lengths: Int[np.ndarray, 'examples'],
  ) -> Int[np.ndarray, 'n']:
    """0 for the tokens of an example's first text, 1 for those after it."""
    ends = tokens == self.separator
    before = np.cumsum(ends) - ends
    return (before > np.repeat(before[begin], lengths)).astype(np.int32)


ROBERTA = Convention()


def of(config: Any, tokenizer: Any = None) -> Convention:
  """The convention of a model.

  Args:
    config: a model.Config, or what has its `pad_id`, `bert` and
      `type_vocab_size`.
    tokenizer: its tokenizer; without one all types are 0, and no batch has
      them.
  """
  typed = config.bert and config.type_vocab_size > 1
  typed = typed and tokenizer is not None and tokenizer.typed
  separator = tokenizer.eos_id if typed else None
  return Convention(config.pad_id, config.bert, separator)
