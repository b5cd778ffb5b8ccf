"""XLM-R's and CamemBERT's tokenizer: SentencePiece under fairseq's ids.

```
XLM-R id        0    1      2     3      4    5    …   n      n + 1
piece           <s>  <pad>  </s>  <unk>  ,    .    …   last   <mask>
SentencePiece   1    none   2     0      3    4    …   n - 1  none
```

A SentencePiece model of n pieces makes a vocabulary of n + 2 rows. `Layout`
is the table of what stands before the ordinary pieces: CamemBERT's has three
rows more.
"""

import dataclasses
import hashlib
import json
import os

import numpy as np
import sentencepiece

from xlmr_jax.data.tokenizers.base import SPACE, BaseTokenizer
from xlmr_jax.runtime import storage

FILE_NAME = 'sentencepiece.bpe.model'  # the name Hugging Face looks for
MASK = '<mask>'

# Pieces before the first ordinary one: SentencePiece's <unk> <s> </s>.
_CONTROL = {0: '<unk>', 1: '<s>', 2: '</s>'}


@dataclasses.dataclass(frozen=True)
class Layout:
  """Where a family of models puts SentencePiece's pieces.

  Attributes:
    name: the family.
    head: the pieces of the first rows. SentencePiece's ordinary pieces
      follow in their order, and <mask> is last.
    hf_class: the name of the family's tokenizer in transformers.
  """

  name: str
  head: tuple[str, ...]
  hf_class: str

  @property
  def shift(self) -> int:
    """What is added to SentencePiece's id of an ordinary piece."""
    return len(self.head) - len(_CONTROL)

  def rows(self, pieces: int) -> int:
    """Rows of the table over a SentencePiece model of so many pieces."""
    return pieces + self.shift + 1


XLMR = Layout('XLM-R', ('<s>', '<pad>', '</s>', '<unk>'), 'XLMRobertaTokenizer')
# fairseq added its four specials to a dictionary that had three of them
# already. <s> and </s> are SentencePiece's own; <unk> is fairseq's.
CAMEMBERT = Layout(
  'CamemBERT',
  ('<s>NOTUSED', '<pad>', '</s>NOTUSED', '<unk>')
  + ('<unk>NOTUSED', '<s>', '</s>'),
  'CamembertTokenizer',
)


class Tokenizer(BaseTokenizer):
  """A SentencePiece model under a family's ids.

  Attributes:
    layout: the family.
    vocab_size: rows of the model's table; XLM-R's are pieces + 2.
    bos_id, pad_id, eos_id, unk_id, mask_id: in XLM-R 0, 1, 2, 3 and
      vocab_size - 1.
    special_ids: those of the layout's head, and mask_id.
    pieces: half-open id range of the ordinary pieces, up to mask_id.
    fingerprint: SHA-256 of the model's bytes, and of the layout where it is
      not XLM-R's.
  """

  def __init__(self, source: str | os.PathLike | bytes, layout: Layout = XLMR):
    """Loads a SentencePiece model.

    Args:
      source: the path of a model, of a directory that holds one under
        Hugging Face's name, or the bytes of a model.
      layout: the family whose ids the pieces get.

    Raises:
      ValueError: not a SentencePiece model, or its control pieces are not
        XLM-R's.
    """
    if isinstance(source, bytes):
      name, self._bytes = 'the model given as bytes', source
    else:
      name = os.fspath(source)
      if os.path.isdir(name):
        name = os.path.join(name, FILE_NAME)
      with open(name, 'rb') as file:
        self._bytes = file.read()
    try:
      if not self._bytes:
        raise RuntimeError('it is empty')
      self._spm = sentencepiece.SentencePieceProcessor(model_proto=self._bytes)
      size = self._spm.get_piece_size()
    except RuntimeError as error:
      raise ValueError(f'{name} is not a SentencePiece model') from error
    first = {i: self._spm.id_to_piece(i) for i in range(min(3, size))}
    if first != _CONTROL or self._spm.pad_id() != -1:
      raise ValueError(
        f'{name} starts with the pieces {list(first.values())} and has'
        f' pad_id {self._spm.pad_id()}; an {XLMR.name} or {CAMEMBERT.name}'
        ' model starts with <unk> <s> </s> and has no pad piece: train it'
        ' with unk_id=0, bos_id=1, eos_id=2, pad_id=-1'
      )
    self.layout = layout
    self.bos_id, self.pad_id, self.eos_id, self.unk_id = map(
      layout.head.index, ('<s>', '<pad>', '</s>', '<unk>')
    )
    self.vocab_size = layout.rows(size)
    self.mask_id = self.vocab_size - 1
    self.special_ids = (*range(len(layout.head)), self.mask_id)
    self.pieces = (len(layout.head), self.mask_id)
    digest = hashlib.sha256(self._bytes)
    if layout != XLMR:  # caches of XLM-R's ids are older than layouts
      digest.update(repr(layout.head).encode())
    self.fingerprint = digest.hexdigest()
    self._names = dict(enumerate(layout.head)) | {self.mask_id: MASK}
    del self._names[self.unk_id]
    self._ids = {piece: i for i, piece in self._names.items()}

  def __reduce__(self):
    return Tokenizer, (self._bytes, self.layout)

  @property
  def model(self) -> bytes:
    """The bytes of the SentencePiece model."""
    return self._bytes

  def id_to_piece(self, token: int) -> str:
    """The piece of an id, e.g. 6 → '▁'."""
    self._check(token)
    if token in self._names:
      return self._names[token]
    return self._spm.id_to_piece(self._to_spm(int(token)))

  def piece_to_id(self, piece: str) -> int:
    """The id of a piece; <unk>'s for one the vocabulary has not."""
    if piece in self._ids:
      return self._ids[piece]
    return self._from_spm([self._spm.piece_to_id(piece)])[0]

  def save(self, directory: str | os.PathLike) -> str:
    """Writes `sentencepiece.bpe.model` into a directory; returns its path.

    The model does not say what its layout is: for another than XLM-R's,
    tokenizer_config.json does, unless the directory has one.
    """
    os.makedirs(directory, exist_ok=True)
    path = os.path.join(directory, FILE_NAME)
    storage.write_bytes(path, self._bytes)
    config = os.path.join(directory, 'tokenizer_config.json')
    if self.layout != XLMR and not os.path.exists(config):
      settings = {'tokenizer_class': self.layout.hf_class}
      storage.write_bytes(
        config, (json.dumps(settings, indent=2) + '\n').encode()
      )
    return path

  def _from_spm(self, ids: list[int]) -> list[int]:
    shift, unk = self.layout.shift, self.unk_id
    return [i + shift if i else unk for i in ids]

  def _to_spm(self, token: int) -> int:
    return 0 if token == self.unk_id else token - self.layout.shift

  def _plain_ids_of(self, texts: list[str], num_threads: int) -> list:
    encoded = self._spm.encode(
      texts, return_type='numpy', num_threads=num_threads
    )
    if not encoded:
      return []
    # All at once: an array operation a paragraph costs a fifth of the time.
    ids = np.concatenate(encoded)
    ids = np.where(ids == 0, self.unk_id, ids + self.layout.shift)
    return np.split(ids, np.cumsum([len(part) for part in encoded[:-1]]))

  def _ids_of(self, texts: list[str], num_threads: int) -> list[list[int]]:
    chunks = texts
    if any(MASK in text for text in texts):
      chunks = []
      counts = []
      for text in texts:
        parts = text.split(MASK)
        counts.append(len(parts))
        # The left part loses its trailing space and what follows the mask
        # gets a dummy prefix of its own, as in fairseq's fill_mask.
        chunks += [part.rstrip(SPACE) for part in parts[:-1]] + parts[-1:]
    encoded = [
      self._from_spm(ids)
      for ids in self._spm.encode(chunks, num_threads=num_threads)
    ]
    if chunks is texts:
      return encoded
    rest = iter(encoded)
    out = []
    for count in counts:
      ids = next(rest)
      for _ in range(count - 1):
        ids.append(self.mask_id)
        ids += next(rest)
      out.append(ids)
    return out

  def _spans_of(self, text: str) -> tuple[list[int], list[tuple[int, int]]]:
    ids: list[int] = []
    spans: list[tuple[int, int]] = []
    start = 0
    parts = text.split(MASK)
    for number, part in enumerate(parts):
      last = number == len(parts) - 1
      got = self._spm.encode(
        part if last else part.rstrip(SPACE), return_type='offset_mapping'
      )
      ids += self._from_spm(got['ids'])
      for piece, (begin, end) in zip(
        got['pieces'], got['offsets'], strict=True
      ):
        while begin < end and part[begin] in SPACE:
          begin += 1
        if begin == end and piece != '▁':
          # A character that NFKC expands (½ to 1⁄2) and the segmentation
          # cuts: each of its pieces stands for the whole character.
          end = min(begin + 1, len(part))
        spans.append((start + begin, start + end))
      start += len(part)
      if not last:
        ids.append(self.mask_id)
        spans.append((start, start + len(MASK)))
        start += len(MASK)
    return ids, spans

  def _text_of(self, ids: list[int]) -> str:
    return self._spm.decode([self._to_spm(i) for i in ids])
