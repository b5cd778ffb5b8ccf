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

from collections.abc import Sequence
import copy
import dataclasses
import functools
import hashlib
import itertools
import json
import os

import numpy as np
import sentencepiece

from xlmr_jax.data.tokenizers import added_tokens
from xlmr_jax.data.tokenizers.added_tokens import AddedToken
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
    added: the tokens that were added behind <mask>, or made of pieces.
    vocab_size: rows of the model's table; XLM-R's are pieces + 2, and the
      added tokens.
    bos_id, pad_id, eos_id, unk_id, mask_id: in XLM-R 0, 1, 2, 3 and
      pieces + 1.
    special_ids: those of the layout's head, mask_id, and added tokens that
      are flagged so.
    pieces: half-open id range of the ordinary pieces, up to mask_id.
    fingerprint: SHA-256 of the model's bytes, of the layout where it is not
      XLM-R's, and of the added tokens where there are any.
  """

  def __init__(
    self,
    source: str | os.PathLike | bytes,
    layout: Layout = XLMR,
    added: Sequence[AddedToken] | None = None,
  ):
    """Loads a SentencePiece model.

    Args:
      source: the path of a model, of a directory that holds one under
        Hugging Face's name, or the bytes of a model.
      layout: the family whose ids the pieces get.
      added: tokens that were added to the vocabulary, the specials among them
        or not. By default those that a directory's files name.

    Raises:
      ValueError: not a SentencePiece model, or its control pieces are not
        XLM-R's; an added token has the id of another piece.
    """
    folder = None
    if isinstance(source, bytes):
      name, self._bytes = 'the model given as bytes', source
    else:
      name = os.fspath(source)
      if os.path.isdir(name):
        folder = name
        name = os.path.join(name, FILE_NAME)
      storage.check_whole(name)
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
    self.mask_id = layout.rows(size) - 1
    self.pieces = (len(layout.head), self.mask_id)
    if added is None and folder is not None:
      added = self.read_added(folder)
    self._set_added(added or (), name)

  def __reduce__(self):
    return Tokenizer, (self._bytes, self.layout, self.added)

  def read_added(self, folder: str) -> list[AddedToken]:
    """The added tokens that a folder's files name for this vocabulary."""
    own = {piece: i for i, piece in enumerate(self.layout.head)}
    return added_tokens.read(folder, own | {MASK: self.mask_id})

  def with_added(self, added: Sequence[AddedToken], folder: str) -> 'Tokenizer':
    """The same vocabulary with a folder's added tokens; it shares the model."""
    other = copy.copy(self)
    for name in ('_splitter', '_splitter_without_mask'):
      other.__dict__.pop(name, None)
    other._set_added(added, folder)
    return other

  def _set_added(self, added: Sequence[AddedToken], name: str) -> None:
    """Sets all attributes in which added tokens count."""
    layout = self.layout
    self._names = dict(enumerate(layout.head)) | {self.mask_id: MASK}
    self.added = self._check_added(added, name)
    digest = hashlib.sha256(self._bytes)
    if layout != XLMR:  # caches of XLM-R's ids are older than layouts
      digest.update(repr(layout.head).encode())
    if self.added:
      digest.update(repr(self.added).encode())
    self.fingerprint = digest.hexdigest()
    self._names |= {t.id: t.content for t in self.added if t.special}
    self.special_ids = tuple(sorted(self._names))
    del self._names[self.unk_id]
    self._later = {t.id: t.content for t in self.added}
    self._ids = {piece: i for i, piece in self._names.items()}
    self._ids |= {piece: i for i, piece in self._later.items()}
    self.vocab_size = 1 + max(self.mask_id, *self._later, 0)

  def _check_added(
    self, added: Sequence[AddedToken], name: str
  ) -> tuple[AddedToken, ...]:
    """The added tokens but the layout's own specials, with their ids."""
    own = {piece: i for i, piece in self._names.items()}

    def id_of(piece: str) -> int | None:
      if piece in own:
        return own[piece]
      held = self._spm.piece_to_id(piece)
      return held + self.layout.shift if held else None

    taken = {i: piece for piece, i in own.items()}
    out = []
    for token in added_tokens.numbered(added, self.mask_id + 1, id_of):
      where = f'{name}: the added token {token.content!r} has the id {token.id}'
      if token.content in own:
        if own[token.content] != token.id and token.id <= self.mask_id:
          raise ValueError(
            f'{where}, and in {self.layout.name} it has {own[token.content]}'
          )
        continue
      if token.id < len(self.layout.head) or token.id == self.mask_id:
        held = taken[token.id]
      elif token.id < self.mask_id:
        held = self._spm.id_to_piece(token.id - self.layout.shift)
      else:
        held = taken.setdefault(token.id, token.content)
      if held != token.content:
        raise ValueError(f'{where}, which is that of {held!r}')
      out.append(token)
    return tuple(out)

  @functools.cached_property
  def _splitter(self) -> added_tokens.Splitter:
    mask = AddedToken(MASK, self.mask_id, lstrip=True, normalized=False)
    return added_tokens.Splitter((*self.added, mask), self._charsmap())

  @functools.cached_property
  def _splitter_without_mask(self) -> added_tokens.Splitter:
    """For a corpus, where a typed mask is text."""
    return added_tokens.Splitter(self.added, self._charsmap())

  def _charsmap(self) -> bytes:
    from sentencepiece import sentencepiece_model_pb2

    model = sentencepiece_model_pb2.ModelProto.FromString(self._bytes)
    return model.normalizer_spec.precompiled_charsmap

  @property
  def model(self) -> bytes:
    """The bytes of the SentencePiece model."""
    return self._bytes

  def id_to_piece(self, token: int) -> str:
    """The piece of an id, e.g. 6 → '▁'."""
    self._check(token)
    if token in self._names:
      return self._names[token]
    if token > self.mask_id:  # the files may leave ids out
      return self._later.get(int(token), self.layout.head[self.unk_id])
    return self._spm.id_to_piece(self._to_spm(int(token)))

  def piece_to_id(self, piece: str) -> int:
    """The id of a piece; <unk>'s for one the vocabulary has not."""
    if piece in self._ids:
      return self._ids[piece]
    return self._from_spm([self._spm.piece_to_id(piece)])[0]

  def save(self, directory: str | os.PathLike) -> str:
    """Writes `sentencepiece.bpe.model` into a directory; returns its path.

    The model does not say what its layout is: for another than XLM-R's,
    tokenizer_config.json does, unless the directory has one. It also gets the
    added tokens.
    """
    os.makedirs(directory, exist_ok=True)
    path = os.path.join(directory, FILE_NAME)
    storage.write_bytes(path, self._bytes)
    config = os.path.join(directory, 'tokenizer_config.json')
    settings = {}
    if os.path.exists(config):
      with open(config, 'rb') as file:
        settings = json.load(file)
    elif self.layout != XLMR or self.added:
      settings = {'tokenizer_class': self.layout.hf_class}
    if self.added:
      settings['added_tokens_decoder'] = self._decoder()
    if settings and (self.added or not os.path.exists(config)):
      storage.write_bytes(
        config, (json.dumps(settings, indent=2) + '\n').encode()
      )
    return path

  def _decoder(self) -> dict[str, dict]:
    """tokenizer_config.json's table of the specials and the added tokens."""
    own = [
      AddedToken(piece, i, lstrip=piece == MASK, normalized=False, special=True)
      for i, piece in enumerate((*self.layout.head, MASK))
    ]
    own[-1] = dataclasses.replace(own[-1], id=self.mask_id)
    return {
      str(token.id): {'content': token.content, **token.flags()}
      for token in (*own, *self.added)
    }

  def _from_spm(self, ids: list[int]) -> list[int]:
    shift, unk = self.layout.shift, self.unk_id
    return [i + shift if i else unk for i in ids]

  def _to_spm(self, token: int) -> int:
    return 0 if token == self.unk_id else token - self.layout.shift

  def _plain_ids_of(self, texts: list[str], num_threads: int) -> list:
    if self.added:
      encoded = self._split_ids(texts, num_threads, self._splitter_without_mask)
      return [np.array(ids, np.int32) for ids in encoded]
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
    if self.added:
      return self._split_ids(texts, num_threads, self._splitter)
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

  def _split_ids(
    self, texts: list[str], num_threads: int, splitter: added_tokens.Splitter
  ) -> list[list[int]]:
    """The ids of texts whose added tokens stand by themselves."""
    parts = [splitter.split(text) for text in texts]
    chunks = [
      text[begin:end]
      for text, cut in zip(texts, parts, strict=True)
      for token, begin, end in cut
      if token is None
    ]
    encoded = iter(self._spm.encode(chunks, num_threads=num_threads))
    return [
      [
        number
        for token, _, _ in cut
        for number in (
          self._from_spm(next(encoded)) if token is None else [token]
        )
      ]
      for cut in parts
    ]

  def _spans_of(self, text: str) -> tuple[list[int], list[tuple[int, int]]]:
    ids: list[int] = []
    spans: list[tuple[int, int]] = []
    start = 0
    if self.added:
      for token, begin, end in self._splitter.split(text):
        part = text[begin:end]
        if token is None:
          self._add_spans(part, begin, ids, spans)
          continue
        ids.append(token)
        first = begin + len(part) - len(part.lstrip())  # it may take spaces
        spans.append((first, max(first, begin + len(part.rstrip()))))
      return ids, spans
    parts = text.split(MASK)
    for number, part in enumerate(parts):
      last = number == len(parts) - 1
      self._add_spans(part if last else part.rstrip(SPACE), start, ids, spans)
      start += len(part)
      if not last:
        ids.append(self.mask_id)
        spans.append((start, start + len(MASK)))
        start += len(MASK)
    return ids, spans

  def _add_spans(self, part: str, start: int, ids: list, spans: list) -> None:
    """Adds the ids and spans of a part of a text that begins at `start`."""
    encoded = self._spm.encode(part, return_type='offset_mapping')
    ids += self._from_spm(encoded['ids'])
    for piece, (begin, end) in zip(
      encoded['pieces'], encoded['offsets'], strict=True
    ):
      while begin < end and part[begin] in SPACE:
        begin += 1
      if begin == end and piece != '▁':
        # A character that NFKC expands (½ to 1⁄2) and the segmentation
        # cuts: each of its pieces stands for the whole character.
        end = min(begin + 1, len(part))
      spans.append((start + begin, start + end))

  def _text_of(self, ids: list[int]) -> str:
    parts = []
    for later, run in itertools.groupby(ids, lambda i: i > self.mask_id):
      if later:
        parts += map(self.id_to_piece, run)
      else:
        parts.append(self._spm.decode([self._to_spm(i) for i in run]))
    return ' '.join(parts)
