"""Vocabularies that Hugging Face's `tokenizers` library keeps.

RoBERTa's byte-level BPE, from tokenizer.json or from vocab.json and
merges.txt; and the Unigram tokenizer.json of an XLM-R model that came without
its SentencePiece file. They have the interface of xlmr.Tokenizer, its
truncation and its errors.

RoBERTa's ids, as vocab.json has them:

```
0    1      2     3      4    5     …   50263           50264
<s>  <pad>  </s>  <unk>  .    Ġthe  …   madeupword0002  <mask>
```

In a Unigram file the library has its own reading of decomposed text (NFD), in
which it loses marks of Vietnamese, Korean or Tamil that SentencePiece keeps:
of 150 lines of NFD Korean all get other ids. Composed text agrees. Where
there is a sentencepiece.bpe.model, prefer it: it is right and ten times as
fast.
"""

from collections.abc import Iterator, Mapping
import contextlib
import functools
import hashlib
import json
import os

import numpy as np
import tokenizers
from tokenizers import processors

from xlmr_jax.data.tokenizers import added_tokens, base
from xlmr_jax.data.tokenizers.tokenizer_files import (
  ROLES,
  SPECIALS_MAP,
  contents,
  name_specials,
  parse,
  read,
)
from xlmr_jax.runtime import storage

FILE_NAME = 'tokenizer.json'
VOCAB, MERGES = 'vocab.json', 'merges.txt'


class BpeTokenizer(base.BaseTokenizer):
  """A vocabulary of the `tokenizers` library under the ids of its file.

  Attributes:
    vocab_size: the highest id + 1, added tokens included.
    bos_id, pad_id, eos_id, unk_id, mask_id: as the vocabulary numbers them;
      mask_id is None where it has no mask.
    special_ids: those, and whatever else the file flags as special.
    pieces: the longest range of ids with no special among them.
    fingerprint: SHA-256 of the vocabulary and of the specials' names; how
      the file is laid out does not count.
  """

  _roles = ROLES

  def __init__(
    self,
    source: str | os.PathLike | bytes,
    specials: Mapping[str, str] | None = None,
    *,
    name: str = 'the vocabulary given as bytes',
  ):
    """Loads a vocabulary.

    Args:
      source: a directory (its tokenizer.json, else its vocab.json and
        merges.txt), the path of a tokenizer.json, the path of a vocab.json
        with merges.txt beside it, or the bytes of a tokenizer.json.
      specials: what the vocabulary calls its 'bos', 'pad', 'eos', 'unk' and
        'mask', e.g. {'bos': '[CLS]'}. The others are named by the source's
        tokenizer_config.json or special_tokens_map.json, and <s> <pad> </s>
        <unk> <mask> where these do not.
      name: what errors call a source of bytes.

    Raises:
      ValueError: not a vocabulary, or one without <s>, <pad>, </s> or <unk>.
    """
    folder = None
    if isinstance(source, bytes):
      self._bytes = source
    else:
      name = os.fspath(source)
      if os.path.isdir(name):
        files = [os.path.join(name, file) for file in (FILE_NAME, VOCAB)]
        files = [file for file in files if os.path.exists(file)]
        if not files:
          raise FileNotFoundError(f'{name} has no {FILE_NAME} and no {VOCAB}')
        name = files[0]
      folder = os.path.dirname(name)
      if os.path.basename(name) == VOCAB:
        self._bytes = _assemble(folder, specials or {})
      else:
        storage.check_whole(name)
        with open(name, 'rb') as file:
          self._bytes = file.read()
      made = os.path.basename(name) == VOCAB
      self._bytes = added_tokens.merge(self._bytes, folder, made)
    spec = parse(self._bytes, name)
    vocab, added = contents(spec, name)
    self._specials = name_specials(
      vocab.keys() | added.keys(), name, folder, specials or {}, self._roles
    )
    ids = {piece: token['id'] for piece, token in added.items()} | vocab
    self.bos_id, self.pad_id, self.eos_id, self.unk_id = (
      ids[self._specials[role]] for role in ('bos', 'pad', 'eos', 'unk')
    )
    mask = self._specials.get('mask')
    self.mask_id = None if mask is None else ids[mask]
    self.vocab_size = max(ids.values()) + 1
    named = list(self._specials.values())
    flagged = [piece for piece, token in added.items() if token['special']]
    self._names = {ids[piece]: piece for piece in named + flagged}
    self.special_ids = tuple(sorted(self._names))
    self.pieces = _longest_gap(self.special_ids, self.vocab_size)
    del self._names[self.unk_id]
    self._ids = {piece: i for i, piece in self._names.items()}
    self._ids[self._specials['unk']] = self.unk_id
    self._added = {self.mask_id} | {ids[piece] for piece in added}

    # Typed specials are text, except the mask and tokens that were added to a
    # finished vocabulary: nothing else would ever give their ids.
    self._plain = {*named, *(p for p in flagged if p in vocab)} - {mask}
    self._unigram = isinstance(spec['model']['vocab'], list)
    # The library counts this white space before a token as part of it.
    self._space = base.SPACE if self._unigram else ' '
    edited = _edit(spec, vocab, self._plain, mask)
    self._tokenizer = _build(edited, name)
    for piece in added.keys() - vocab.keys():
      number = self._tokenizer.token_to_id(piece)
      if number != ids[piece]:
        raise ValueError(
          f'{name} gives the added token {piece!r} the id {ids[piece]}, and the'
          f' tokenizers library {number}: it numbers them on from the'
          ' vocabulary, without gaps'
        )
    digest = hashlib.sha256(edited.encode())
    digest.update(json.dumps(self._specials, sort_keys=True).encode())
    self.fingerprint = digest.hexdigest()

  def __reduce__(self):
    return BpeTokenizer, (self._bytes, self._specials)

  def id_to_piece(self, token: int) -> str:
    """The piece of an id, e.g. 5 → 'Ġthe'; <unk>'s for one that is not used."""
    self._check(token)
    if token in self._names:
      return self._names[token]
    piece = self._tokenizer.id_to_token(int(token))
    if piece is None or token == self.unk_id:
      return self._specials['unk']
    return piece

  def piece_to_id(self, piece: str) -> int:
    """The id of a piece; <unk>'s for one the vocabulary has not."""
    if piece in self._ids:
      return self._ids[piece]
    token = self._tokenizer.token_to_id(piece)
    return self.unk_id if token is None else token

  def save(self, directory: str | os.PathLike) -> str:
    """Writes `tokenizer.json` into a directory; returns its path.

    A special_tokens_map.json goes with it where the specials have other names
    than RoBERTa's, or BERT's in WordPiece.
    """
    os.makedirs(directory, exist_ok=True)
    path = os.path.join(directory, FILE_NAME)
    storage.write_bytes(path, self._bytes)
    named = {
      key: self._specials[role]
      for role, (default, keys) in self._roles.items()
      for key in keys
      if self._specials.get(role, default) != default
    }
    if named:
      text = json.dumps(named, indent=2, ensure_ascii=False) + '\n'
      storage.write_bytes(os.path.join(directory, SPECIALS_MAP), text.encode())
    return path

  def _ids_of(self, texts: list[str], num_threads: int) -> list[list[int]]:
    return self._encode(self._tokenizer, texts, num_threads)

  def _plain_ids_of(self, texts: list[str], num_threads: int) -> list:
    encoded = self._encode(self._tokenizer, texts, num_threads)
    if self.mask_id is not None:
      for index, ids in enumerate(encoded):
        if self.mask_id in ids:
          text = texts[index : index + 1]
          encoded[index] = self._encode(self._without_mask, text, 1)[0]
    return [np.array(ids, np.int32) for ids in encoded]

  def _encode(
    self,
    tokenizer: tokenizers.Tokenizer,
    texts: list[str],
    num_threads: int,
  ) -> list[list[int]]:
    """The ids of texts.

    A single thread is the caller's. For more, the library has its own pool, as
    wide as the machine or $RAYON_NUM_THREADS. Its calls for one text hold the
    interpreter's lock, so threads of ours would gain nothing.
    """
    if num_threads == 1:
      return [tokenizer.encode(t, add_special_tokens=False).ids for t in texts]
    encoded = tokenizer.encode_batch_fast(texts, add_special_tokens=False)
    return [e.ids for e in encoded]

  def _spans_of(self, text: str) -> tuple[list[int], list[tuple[int, int]]]:
    encoded = self._tokenizer.encode(text, add_special_tokens=False)
    spans = []
    for token, piece, (begin, end) in zip(
      encoded.ids, encoded.tokens, encoded.offsets, strict=True
    ):
      if token in self._added:
        # The mask takes the white space before it.
        token_text = text[begin:end].strip()
        begin = text.index(token_text, begin)
        end = begin + len(token_text)
      elif piece == '▁' and self._unigram:
        end = begin  # the library gives it the next word's first character
      while begin < end and text[begin] in self._space:
        begin += 1
      spans.append((begin, end))
    return encoded.ids, spans

  def _text_of(self, ids: list[int]) -> str:
    text = self._tokenizer.decode(ids, skip_special_tokens=False)
    unk = self._specials['unk']
    return text.replace(_hidden(unk), unk)

  @functools.cached_property
  def _without_mask(self) -> tokenizers.Tokenizer:
    """The vocabulary to which a typed mask is text; few corpora need it."""
    plain = {*self._plain, self._specials['mask']}
    spec = parse(self._bytes, FILE_NAME)
    vocab, _ = contents(spec, FILE_NAME)
    return _build(_edit(spec, vocab, plain, None), FILE_NAME)


def _assemble(folder: str, given: Mapping[str, str]) -> bytes:
  """vocab.json and merges.txt as the tokenizer.json that RoBERTa's is."""
  path = os.path.join(folder, VOCAB)
  vocab = read(path)
  if not all(isinstance(i, int) for i in vocab.values()):
    raise ValueError(f'{path} is not a table of pieces and their ids')
  merges = []
  where = os.path.join(folder, MERGES)
  with open(where, encoding='utf-8', newline='\n') as file:
    for number, line in enumerate(file, 1):
      line = line.rstrip('\r\n')
      if not line or (number == 1 and line.startswith('#version')):
        continue
      if line.count(' ') != 1:
        raise ValueError(
          f'{where}, line {number}: {line!r} is not two pieces with a space'
          ' between them'
        )
      merges.append(line)
  later = added_tokens.numbered_on(vocab, folder)
  names = name_specials(vocab.keys() | later.keys(), path, folder, given)
  ids = {p: vocab[p] for p in names.values() if p in vocab} | later
  with _naming(path):
    tokenizer = tokenizers.ByteLevelBPETokenizer(
      vocab, [tuple(merge.split(' ')) for merge in merges]
    )
  tokenizer.post_processor = processors.RobertaProcessing(
    *((names[role], ids[names[role]]) for role in ('eos', 'bos')),
    add_prefix_space=False,
  )
  mask, specials = names.get('mask'), set(names.values())
  tokenizer.add_tokens(
    [
      tokenizers.AddedToken(
        p, lstrip=p == mask, normalized=True, special=p in specials
      )
      for p in sorted(ids, key=ids.get)
    ]
  )
  # Written as RoBERTa's own file is, so that both have one fingerprint: the
  # library now writes merges as pairs, and more defaults.
  spec = json.loads(tokenizer.to_str())
  spec['model']['merges'] = merges
  del spec['model']['byte_fallback'], spec['model']['ignore_merges']
  del spec['pre_tokenizer']['use_regex'], spec['decoder']['use_regex']
  return json.dumps(spec, ensure_ascii=False).encode()


# What the library is given.


def _hidden(piece: str) -> str:
  """A name for a piece of Unigram that no text can spell.

  Pieces hold no space: it is ▁ by then; and U+FFFF is not a character.
  """
  return f'\uffff {piece}'


def _edit(
  spec: dict, vocab: dict[str, int], plain: set[str], mask: str | None
) -> str:
  """A tokenizer.json to which the tokens of `plain` are text when typed.

  Only what decides on ids and decoding is kept: a file may hold a truncation
  from its last use, or BPE's dropout.
  """
  model = dict(spec['model'])
  if 'dropout' in model:
    model['dropout'] = None
  if 'merges' in model:
    model.setdefault('type', 'BPE')  # or the library's error is of no use
  if isinstance(model['vocab'], list):
    # To Unigram a special is a piece like any other, and a likely one: a
    # full-width ＜mask＞ would be found too, once it is normalized. An added
    # token at the end of the vocabulary gets its id without being in it.
    rows = model['vocab']
    if rows[-1][0] == mask:
      rows = rows[:-1]
    model['vocab'] = [(_hidden(p) if p in plain else p, s) for p, s in rows]
  added = {
    # The library does not look for tokens that are special here: see _build. A
    # token that the vocabulary lacks must stay, or later ones get other ids.
    token['content']: token | {'special': token['content'] in plain}
    for token in spec['added_tokens']
    if token['content'] not in plain or token['content'] not in vocab
  }
  if mask is not None:
    flags = dict.fromkeys(('single_word', 'rstrip', 'special'), False)
    token = {'id': vocab.get(mask), 'content': mask} | flags
    # The space before a word is part of the word, so the mask that stands for
    # the word takes it too. Files that transformers 5 wrote do not say so.
    mask_flags = {'lstrip': True, 'normalized': False}
    added[mask] = added.get(mask, token) | mask_flags
  kept = {
    'version': spec.get('version', '1.0'),
    'truncation': None,
    'padding': None,
    'added_tokens': sorted(added.values(), key=lambda token: token['id']),
    'normalizer': spec.get('normalizer'),
    'pre_tokenizer': spec.get('pre_tokenizer'),
    'post_processor': None,
    'decoder': spec.get('decoder'),
    'model': model,
  }
  return json.dumps(kept, sort_keys=True, ensure_ascii=False)


def _build(edited: str, name: str) -> tokenizers.Tokenizer:
  with _naming(name):
    tokenizer = tokenizers.Tokenizer.from_str(edited)
  tokenizer.encode_special_tokens = True
  return tokenizer


@contextlib.contextmanager
def _naming(name: str) -> Iterator[None]:
  """Names the file whose vocabulary the library refuses."""
  try:
    yield
  except Exception as error:  # the library raises nothing narrower
    raise ValueError(
      f'{name} is not a vocabulary of the tokenizers library: {error}'
    ) from error


def _longest_gap(taken: tuple[int, ...], size: int) -> tuple[int, int]:
  """The longest half-open range of 0…size-1 without any of `taken`."""
  edges = [-1, *taken, size]
  gaps = [(a + 1, b) for a, b in zip(edges[:-1], edges[1:], strict=True)]
  return max(gaps, key=lambda gap: gap[1] - gap[0])
