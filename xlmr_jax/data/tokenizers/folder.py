"""The tokenizer in a folder, whichever of the known kinds it is.

| files                    | tokenizer                                      |
|--------------------------|------------------------------------------------|
| sentencepiece.bpe.model  | xlmr.Tokenizer, XLM-R's or CamemBERT's layout   |
| tokenizer.json           | hf_tokenizers.BpeTokenizer, or as vocab.txt    |
| vocab.json + merges.txt  | hf_tokenizers.BpeTokenizer                     |
| vocab.txt                | wordpiece.WordPieceTokenizer                   |

The files choose, not the body: a BertModel over XLM-R's vocabulary, such as
multilingual-e5-small, has XLM-R's tokenizer. Other files are not read, such as
spiece.model (rinna's RoBERTa), bpe.codes with vocab.txt (PhoBERT, BERTweet) or
the vocab.txt of Japanese BERT, whose words MeCab makes.
"""

from collections.abc import Iterator, Sequence
import json
import os
import warnings

from xlmr_jax.data.tokenizers import hf_tokenizers, wordpiece, xlmr
from xlmr_jax.data.tokenizers.added_tokens import AddedToken
from xlmr_jax.data.tokenizers.hf_tokenizers import BpeTokenizer
from xlmr_jax.data.tokenizers.wordpiece import WordPieceTokenizer
from xlmr_jax.data.tokenizers.xlmr import CAMEMBERT, XLMR, Layout, Tokenizer

# A table may have rows that no id uses: XLM-R XL's has 878.
_SPARE = 1024


def load(
  folder: str | os.PathLike,
  rows: int | None = None,
  model_type: str | None = None,
) -> Tokenizer | BpeTokenizer | None:
  """The tokenizer in a folder; None where it has none that is read here.

  Args:
    folder: where the files lie.
    rows: of the model's table. They choose where a folder has several
      tokenizers or a SentencePiece model could be of either family: the first
      in the order of the table above that has exactly so many ids, else the
      largest with up to 1,023 fewer. Tokens that were added to a vocabulary
      (added_tokens.py) count; those without a row are text, with a warning.
    model_type: of the model's config.json, for who has read that file.

  Raises:
    ValueError: a file is not what its name says, or no tokenizer fits `rows`.
  """
  first = best = None
  for tokenizer in _tokenizers(os.fspath(folder), rows, model_type):
    if rows is None or tokenizer.vocab_size == rows:
      return tokenizer
    if first is None:
      first = tokenizer
    fits = 0 <= rows - tokenizer.vocab_size < _SPARE
    if fits and (best is None or tokenizer.vocab_size > best.vocab_size):
      best = tokenizer
  if first is not None and best is None:
    raise ValueError(
      f'the tokenizer in {folder} has {first.vocab_size} ids, and the'
      f" model's table {rows} rows: they do not belong together; give the"
      " folder of the model's own tokenizer"
    )
  return best


def _tokenizers(
  folder: str, rows: int | None, model_type: str | None
) -> Iterator[Tokenizer | BpeTokenizer]:
  """Every tokenizer in a folder, the preferred first, each when asked for."""

  def has(name: str) -> bool:
    return os.path.isfile(os.path.join(folder, name))

  if has(xlmr.FILE_NAME):
    tokenizer = Tokenizer(os.path.join(folder, xlmr.FILE_NAME))
    pieces = tokenizer.vocab_size - XLMR.rows(0)
    layout = _layout(folder, model_type)
    if rows == XLMR.rows(pieces):
      layout = XLMR
    elif rows == CAMEMBERT.rows(pieces) and layout is None:
      layout = CAMEMBERT
    if layout == CAMEMBERT:
      tokenizer = Tokenizer(tokenizer.model, CAMEMBERT)
    tokenizer = tokenizer.with_added(tokenizer.read_added(folder), folder)
    held = _held(tokenizer.added, rows, folder)
    yield tokenizer.with_added(held, folder)
  if has(hf_tokenizers.FILE_NAME):
    path = os.path.join(folder, hf_tokenizers.FILE_NAME)
    pieces = wordpiece.is_wordpiece(path)
    yield WordPieceTokenizer(path) if pieces else BpeTokenizer(path)
  if has(hf_tokenizers.VOCAB) and has(hf_tokenizers.MERGES):
    yield BpeTokenizer(os.path.join(folder, hf_tokenizers.VOCAB))
  if has(wordpiece.VOCAB) and not has('bpe.codes') and wordpiece.reads(folder):
    yield WordPieceTokenizer(os.path.join(folder, wordpiece.VOCAB))


def _held(
  added: tuple[AddedToken, ...], rows: int | None, folder: str
) -> Sequence[AddedToken]:
  """The added tokens that a table of `rows` has rows for; warns of others."""
  left = [token for token in added if rows is not None and token.id >= rows]
  if not left:
    return added
  names = ', '.join(f'{t.content!r} ({t.id})' for t in left[:5])
  warnings.warn(
    f"{folder}: the model's table has {rows} rows and none for "
    f'{len(left)} added tokens, {names}: they are read as text',
    stacklevel=6,
  )
  return [token for token in added if token not in left]


def _layout(folder: str, model_type: str | None) -> Layout | None:
  """The family that the folder's settings name, if they do.

  XLM-R with three added tokens has as many rows as CamemBERT would have over
  the same pieces: the count alone does not tell them apart.
  """
  for name, key in (
    ('tokenizer_config.json', 'tokenizer_class'),
    ('config.json', 'model_type'),
  ):
    path = os.path.join(folder, name)
    if key == 'model_type' and model_type is not None:
      value = model_type
    elif os.path.isfile(path):
      with open(path, encoding='utf-8') as file:
        try:
          settings = json.load(file)
        except ValueError as error:
          raise ValueError(f'{path} is not JSON: {error}') from error
      value = settings.get(key) if isinstance(settings, dict) else None
    else:
      continue
    for layout in (XLMR, CAMEMBERT):
      if value in (layout.hf_class, layout.hf_class + 'Fast'):
        return layout
    if value == 'camembert':
      return CAMEMBERT
    if value in ('xlm-roberta', 'xlm-roberta-xl'):
      return XLMR
  return None
