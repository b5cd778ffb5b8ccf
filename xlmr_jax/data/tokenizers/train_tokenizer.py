"""Training a SentencePiece model as XLM-R's was, and drawing its text."""

import collections
from collections.abc import Iterable, Iterator, Sequence
import io
import itertools
import os
import tempfile
import unicodedata

import numpy as np
import sentencepiece
import tqdm

from xlmr_jax.data import files

# Candidates per row of the vocabulary. With many more the first estimates are
# spread so thin that words are pruned: on synthetic text in ten languages
# 1,500 rows gave 28 tokens a line from 2 per row and 41 from 13 per row.
_SEEDS_PER_ROW = 2

# Bytes of a line. SentencePiece drops longer ones in silence; 4,192, its
# default, is less than a long paragraph.
LONGEST = 1 << 20

# A line that has this character (▅) is dropped as well. No vocabulary can learn
# it, so that it says as much as a space.
_RESERVED = '\u2585'


def train(
  sentences: Iterable[str],
  vocab_size: int,
  *,
  seed_from_frequency: bool = False,
  hard_vocab_limit: bool = True,
  character_coverage: float = 0.9995,
  verbose: bool = False,
) -> bytes:
  """Trains a unigram model as XLM-R's was: nmt_nfkc, no byte fallback.

  Args:
    sentences: texts; empty ones are skipped, and those of more than LONGEST
      bytes are cut (`cut`).
    vocab_size: rows of the MODEL the tokenizer is for, the five specials
      included: SentencePiece trains vocab_size - 2 pieces.
    seed_from_frequency: SentencePiece's first candidates are the repeated
      substrings of the running text that cannot be made longer without
      becoming rarer. A word that never ends a sentence only repeats with the
      space after it, which no piece may hold, and is lost: text of a few
      templates is shredded into letters. This takes the substrings of words
      instead, by how often they occur. For such text only: it takes memory
      for every substring of every word.
    hard_vocab_limit: whether text too poor for vocab_size pieces is an error;
      otherwise the vocabulary comes out smaller.
    character_coverage: share of the text's characters that get a piece.
    verbose: whether SentencePiece prints its progress.

  Returns:
    The bytes of the model. The same input gives the same bytes.

  Raises:
    ValueError: no text, or vocab_size does not fit it.
  """
  if vocab_size < 6:
    raise ValueError(f'vocab_size={vocab_size}; five rows are specials')
  options = {}
  folder = None
  if seed_from_frequency:
    sentences = list(sentences)
    folder = tempfile.TemporaryDirectory()
    path = os.path.join(folder.name, 'seeds.tsv')
    _write_seeds(sentences, path, _SEEDS_PER_ROW * vocab_size)
    options['seed_sentencepieces_file'] = path
  model = io.BytesIO()
  try:
    sentencepiece.SentencePieceTrainer.train(
      sentence_iterator=(
        s.replace(_RESERVED, ' ') for s in cut(sentences) if s.strip()
      ),
      model_writer=model,
      model_type='unigram',
      vocab_size=vocab_size - 2,
      normalization_rule_name='nmt_nfkc',
      character_coverage=character_coverage,
      hard_vocab_limit=hard_vocab_limit,
      unk_id=0,
      bos_id=1,
      eos_id=2,
      pad_id=-1,
      max_sentence_length=LONGEST,
      # Sums depend on how the text is split between threads: a fixed number
      # makes the same file on every machine.
      num_threads=4,
      minloglevel=0 if verbose else 2,
      **options,
    )
  except RuntimeError as error:
    reason = str(error)
    if 'sentences_.empty' in reason:
      raise ValueError('there is no text to train a tokenizer on') from error
    if 'Vocabulary size' in reason:
      numbers = [w.rstrip('.') for w in reason.split()]
      bound = [int(w) + 2 for w in numbers if w.isdigit()]
      high = 'too high' in reason
      raise ValueError(
        f'vocab_size={vocab_size} is too {"high" if high else "low"} for'
        f' this text: {"at most" if high else "more than"} {bound[-1]}'
        + (
          ', or hard_vocab_limit=False for as many as it gives'
          if high
          else ', or a lower character_coverage'
        )
      ) from error
    raise
  finally:
    if folder:
      folder.cleanup()
  return model.getvalue()


def is_long(line: str) -> bool:
  """Whether a line has more than LONGEST bytes."""
  # Four bytes a character are the most.
  return 4 * len(line) > LONGEST and len(line.encode()) > LONGEST


def cut(lines: Iterable[str]) -> Iterator[str]:
  """Lines of at most LONGEST bytes: longer ones are cut at a space.

  Where there is no space among so many bytes, the cut is between characters.
  """
  for line in lines:
    if not is_long(line):
      yield line
      continue
    data, start = line.encode(), 0
    while len(data) - start > LONGEST:
      end = data.rfind(b' ', start, start + LONGEST + 1)
      if end <= start:
        end = start + LONGEST
        while data[end] & 0xC0 == 0x80:  # inside a character
          end -= 1
      yield data[start:end].decode()
      start = end
    yield data[start:].decode()


def _write_seeds(sentences: Iterable[str], path: str, limit: int) -> None:
  """Writes the frequent substrings of words with their counts.

  A substring that never occurs without the same letter beside it is left
  out: 'ppl' of 'apple' would only take the place of a piece of use.
  """
  normalizer = sentencepiece.SentencePieceNormalizer(rule_name='nmt_nfkc')
  words: collections.Counter[str] = collections.Counter()
  for sentence in sentences:
    for word in normalizer.normalize(sentence).replace('▁', ' ▁').split():
      # No piece holds both letters and punctuation.
      for _, run in itertools.groupby(word, _is_punctuation):
        words[''.join(run)] += 1
  counts: collections.Counter[str] = collections.Counter()
  longest = 16  # SentencePiece's max_sentencepiece_length
  for word, n in words.items():
    for i in range(len(word)):
      for j in range(i + 1, min(i + longest, len(word)) + 1):
        counts[word[i:j]] += n
  within: collections.Counter[str] = collections.Counter()
  for piece, n in counts.items():
    for shorter in (piece[1:], piece[:-1]):
      within[shorter] = max(within[shorter], n)
  kept = [
    (piece, n)
    for piece, n in counts.items()
    if len(piece) == 1 or (n > 1 and n > within[piece])
  ]
  kept.sort(key=lambda item: (-item[1] * len(item[0]), item[0]))
  with open(path, 'w', encoding='utf-8') as file:
    for number, (piece, n) in enumerate(kept):
      if number < limit or len(piece) == 1:
        file.write(f'{piece}\t{n}\n')


def _is_punctuation(character: str) -> bool:
  return character != '▁' and unicodedata.category(character)[0] in 'PS'


def sample(
  paths: Sequence[str], sentences: int, *, alpha: float = 0.3, seed: int = 0
) -> tuple[list[str], dict[str, int]]:
  """Draws lines from files so that small languages are heard.

  The files are named after their languages. Language i of n_i lines gives
  lines in proportion to n_i ** alpha (XLM-R, section 3.1, has alpha 0.3), at
  most all it has. The other languages give the lines that it lacks.

  Returns:
    The lines, and how many came from each language.
  """
  sizes: collections.Counter[str] = collections.Counter()
  for path in tqdm.tqdm(paths, 'counting', unit='file', disable=None):
    sizes[files.language(path)] += sum(
      1 for line in files.lines(path) if line.strip()
    )
  quota = _quota(dict(sizes), sentences, alpha)
  chosen = {}
  for number, (name, total) in enumerate(sorted(sizes.items())):
    random = np.random.default_rng([seed, number])
    mask = np.zeros(total, bool)
    mask[random.choice(total, quota[name], replace=False)] = True
    chosen[name] = mask
  seen: collections.Counter[str] = collections.Counter()
  out = []
  for path in tqdm.tqdm(paths, 'reading', unit='file', disable=None):
    name = files.language(path)
    for line in files.lines(path):
      if line.strip():
        if chosen[name][seen[name]]:
          out.append(line)
        seen[name] += 1
  return out, quota


def _quota(sizes: dict[str, int], cap: int, alpha: float) -> dict[str, int]:
  """min(n, c · n ** alpha) of each, with c such that they sum up to cap."""
  quota = {}
  left = cap
  # The languages that give all they have come first: those with the smallest
  # n ** (1 - alpha).
  open_names = sorted(sizes, key=lambda n: (sizes[n] ** (1 - alpha), n))
  weight = sum(sizes[n] ** alpha for n in open_names if sizes[n])
  for name in open_names:
    size = sizes[name]
    share = size**alpha if size else 0.0
    quota[name] = min(size, round(left * share / weight)) if share else 0
    left -= quota[name]
    weight -= share
  return quota
