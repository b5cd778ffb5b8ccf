"""Gives a checkpoint another vocabulary: more pieces, or fewer.

  xlmr vocabulary extend FacebookAI/xlm-roberta-base xlmr-wolof \\
      --corpus='wolof/*.txt.xz' --pieces=5000
  python -m xlmr_jax.train --config=configs/adapt.py \\
      --config.init=xlmr-wolof --config.corpus=DIR --workdir=runs/wolof

  xlmr vocabulary trim FacebookAI/xlm-roberta-base xlmr-en-sw \\
      --corpus='corpus/en.txt,corpus/sw.txt'

extend puts the pieces of a new language behind the old ones, whose ids stay;
<mask>, the last id, moves. A new piece's row is the mean of the rows of its
old pieces (Gee et al. 2022, Fast Vocabulary Transfer
for Language Model Compression), or random. trim keeps the pieces that the
corpus uses: the ids of all move.

CHECKPOINT is whatever xlmr_jax.load takes, with a SentencePiece vocabulary.
OUTPUT must be new or empty: a directory of ours, or with --format=hf one of
Hugging Face's; `xlmr convert` makes either of the other. The
corpus is text files, plain, .gz, .xz or .zst, a paragraph a line.
"""

import dataclasses
import json
import pathlib
import tempfile

from absl import flags
import jax
import numpy as np

from xlmr_jax import heads
from xlmr_jax.checkpoints import directory
from xlmr_jax.checkpoints.hf.files import load_json
from xlmr_jax.checkpoints.weights import SPM, Weights, load_tokenizer
from xlmr_jax.data import files
from xlmr_jax.data.tokenizers import surgery, train_tokenizer
from xlmr_jax.data.tokenizers.surgery import Change
from xlmr_jax.data.tokenizers.xlmr import Tokenizer
from xlmr_jax.runtime import storage

INITS = ('mean', 'random')

# Other files of a tokenizer's folder that fit a changed vocabulary once their
# ids are changed. The rest belongs to other programs (fairseq's dict.txt) or to
# other kinds of tokenizers.
_FAST, _SETTINGS = 'tokenizer.json', 'tokenizer_config.json'
_ADDED = 'added_tokens.json'
_CARRIED = (_FAST, _SETTINGS, _ADDED, 'special_tokens_map.json')

_ENOUGH = 16_384  # old rows for the mean and the deviations of all


def read(path) -> tuple[Weights, Tokenizer]:
  """A checkpoint whose vocabulary can be changed.

  Returns:
    The weights, whose arrays still lie in their files, and the tokenizer.

  Raises:
    ValueError: it has no tokenizer, or one of another kind, or tokens were
      added to it.
  """
  weights = directory.read(path, lazily=True)
  folder, tokenizer = weights.tokenizer_dir, load_tokenizer(weights)
  if tokenizer is None or folder is None:
    raise ValueError(f'{path} has no tokenizer: put its {SPM} into {folder}')
  try:
    surgery.parse(tokenizer)
  except ValueError as error:
    raise ValueError(f'{path}: {error}') from error
  assert isinstance(tokenizer, Tokenizer)
  for name in _CARRIED:
    if (folder / name).is_file():

      def stay(text, number, where=folder / name):
        if number >= tokenizer.vocab_size:
          raise ValueError(
            f'{where} adds the token {text!r} as id {number}, behind the '
            f"vocabulary's {tokenizer.vocab_size}: change the vocabulary "
            'before tokens are added to it'
          )
        return number

      _renumber(name, load_json(folder / name), stay)
  return weights, tokenizer


def with_vocabulary(
  weights: Weights, change: Change, init: str = 'mean', seed: int = 0
) -> Weights:
  """The same model over another vocabulary.

  Token tables and the language head's bias get one row for each id; rows that
  no old id had (XLM-R XL's table has 878) are left out.

  Args:
    weights: of the model over the old vocabulary.
    change: of the vocabulary.
    init: a new piece's row is the 'mean' of its parts' rows, or 'random': N(0,
      init_std), its bias 0. Where no part is known, 'mean' draws from a normal
      distribution with the mean and the deviations of the old rows (Hewitt
      2021, Initializing New Word Embeddings for Pretrained Language Models),
      column by column.
    seed: of the draws.
  """
  if init not in INITS:
    raise ValueError(f'init {init!r} is not one of {", ".join(INITS)}')
  dims = heads.plan(None, weights.head)
  places = np.flatnonzero(change.rows < 0)
  head = len(change.tokenizer.layout.head)
  ordinary = change.rows[head:-1]
  ordinary = ordinary[ordinary >= 0]
  ordinary = ordinary[:: len(ordinary) // _ENOUGH + 1]
  draw = np.random.default_rng(seed)

  def renew(path, leaf):
    if dims['/'.join(key.key for key in path)][0] != 'vocab':
      return leaf
    leaf = np.asarray(leaf)
    out = leaf[change.rows]
    if init == 'random' and len(places):
      std = weights.config.init_std if out.ndim > 1 else 0.0
      out[places] = std * draw.standard_normal((len(places), *out.shape[1:]))
    elif len(places):
      known = leaf[ordinary].astype(np.float32)
      middle, spread = known.mean(0), known.std(0)
      for place, new in zip(places, change.new, strict=True):
        if new.parts:
          out[place] = leaf[list(new.parts)].astype(np.float32).mean(0)
        else:
          out[place] = middle + spread * draw.standard_normal(out.shape[1:])
    return out

  params = jax.tree_util.tree_map_with_path(renew, weights.params)
  config = dataclasses.replace(
    weights.config, vocab_size=change.tokenizer.vocab_size
  )
  return dataclasses.replace(weights, config=config, params=params)


def write_tokenizer(folder, change: Change, old_folder, old: Tokenizer) -> None:
  """The files of a changed vocabulary: what the old folder has, renumbered.

  A tokenizer.json that is no copy of the old SentencePiece model is left out;
  transformers makes its own from the model.
  """
  folder, old_folder = pathlib.Path(folder), pathlib.Path(old_folder)
  ids = {int(i): n for n, i in enumerate(change.rows) if i >= 0}
  for name in _CARRIED:
    if not (old_folder / name).is_file():
      continue
    settings = load_json(old_folder / name)
    if name == _FAST:
      if not _same_pieces(settings, old):
        continue
      added = ([new.text, new.score] for new in change.new)
      settings['model']['vocab'] = [
        settings['model']['vocab'][i] if i >= 0 else next(added)
        for i in change.rows
      ]
    settings = _renumber(name, settings, lambda _, i: ids.get(i))
    indent = None if name == _FAST else 2
    text = json.dumps(settings, indent=indent, ensure_ascii=False)
    storage.write_text(folder / name, text + '\n')
  change.tokenizer.save(folder)


def _same_pieces(settings: dict, tokenizer: Tokenizer) -> bool:
  """Whether a tokenizer.json holds the pieces of a SentencePiece model."""
  model = settings.get('model', {})
  return model.get('type') == 'Unigram' and [
    entry[0] for entry in model['vocab']
  ] == [tokenizer.id_to_piece(i) for i in range(tokenizer.vocab_size)]


def _renumber(name: str, settings: dict, move) -> dict:
  """A tokenizer's settings with other ids.

  Args:
    name: of their file, which decides where ids stand in it.
    settings: what it holds.
    move: (a token's text, its id) → its new id, None where it is gone.
  """
  if name == _ADDED:
    ids = {text: move(text, number) for text, number in settings.items()}
    return {text: n for text, n in ids.items() if n is not None}
  if name == _SETTINGS and 'added_tokens_decoder' in settings:
    held = settings['added_tokens_decoder'].items()
    moved = [(move(token.get('content'), int(i)), token) for i, token in held]
    table = {str(n): token for n, token in moved if n is not None}
    return {**settings, 'added_tokens_decoder': table}
  if name == _FAST and 'added_tokens' in settings:
    listed = settings['added_tokens']
    moved = [(move(token['content'], token['id']), token) for token in listed]
    rows = [{**token, 'id': n} for n, token in moved if n is not None]
    return {**settings, 'added_tokens': rows}
  return settings


def save(
  output,
  weights: Weights,
  change: Change,
  old: Tokenizer,
  format: str = 'orbax',
) -> None:
  """Writes a model over its changed vocabulary, whole or not at all.

  Args:
    output: a new or empty directory.
    weights: from `with_vocabulary`, with the old tokenizer's folder.
    change: of the vocabulary.
    old: the old tokenizer.
    format: 'orbax' (ours) or 'hf'.
  """
  with tempfile.TemporaryDirectory() as folder:
    write_tokenizer(folder, change, weights.tokenizer_dir, old)
    weights = dataclasses.replace(weights, tokenizer_dir=pathlib.Path(folder))
    directory.write(output, weights, format)


def define_flags(values: flags.FlagValues = flags.FLAGS) -> None:
  """The command's flags."""
  flags.DEFINE_list(
    'corpus',
    [],
    'Text files or patterns such as DIR/*.txt.xz.',
    flag_values=values,
  )
  flags.DEFINE_integer(
    'pieces',
    5000,
    'extend: how many pieces to add at most.',
    lower_bound=1,
    flag_values=values,
  )
  flags.DEFINE_enum(
    'init', 'mean', INITS, "extend: a new piece's row.", flag_values=values
  )
  flags.DEFINE_integer(
    'seed',
    0,
    'extend: of random rows, and of which lines are read.',
    lower_bound=0,
    flag_values=values,
  )
  flags.DEFINE_integer(
    'sentences',
    500_000,
    'extend: the most lines to read.',
    lower_bound=1,
    flag_values=values,
  )
  flags.DEFINE_float(
    'share',
    surgery.SHARE,
    "extend: the new language's share of the text that scores are made for; "
    'more makes new pieces win more often, in old languages too.',
    lower_bound=0.0,
    upper_bound=1.0,
    flag_values=values,
  )
  flags.DEFINE_integer(
    'least',
    1,
    'trim: how often a piece must occur in the corpus to be kept.',
    lower_bound=1,
    flag_values=values,
  )
  flags.DEFINE_enum(
    'format',
    'orbax',
    directory.written(),
    'What OUTPUT is.',
    flag_values=values,
  )


def main(argv, options: flags.FlagValues = flags.FLAGS) -> None:
  """`extend` or `trim`: argv[1], from argv[2] to argv[3]."""
  if len(argv) != 4 or argv[1] not in ('extend', 'trim'):
    raise ValueError(
      'give extend or trim, CHECKPOINT and OUTPUT, not '
      f'{" ".join(argv[1:]) or "nothing"}; --help tells more'
    )
  action, source, output = argv[1:]
  if not options.corpus:
    raise ValueError("--corpus is missing: text files, e.g. 'DIR/*.txt.xz'")
  place = pathlib.Path(output)
  if place.is_file():
    raise ValueError(f'{output} is a file: choose another OUTPUT')
  if place.exists() and any(place.iterdir()):
    raise ValueError(f'{output} is not empty: choose another OUTPUT')
  paths = files.find(options.corpus)
  weights, old = read(source)
  try:
    if action == 'extend':
      change = _extend(old, paths, options)
    else:
      lines = (line for path in paths for line in files.lines(path))
      change = surgery.trim(old, lines, least=options.least)
  except ValueError as error:
    raise ValueError(f'--corpus={",".join(options.corpus)}: {error}') from error
  before = weights.config.vocab_size
  weights = with_vocabulary(weights, change, options.init, options.seed)
  if spare := before - old.vocab_size:
    print(f'{spare:,} rows that no id uses are left out')
  new = change.tokenizer
  print(
    f'{output}: {old.vocab_size:,} → {new.vocab_size:,} ids; <mask> is '
    f'{new.mask_id}'
  )
  save(output, weights, change, old, options.format)


def _extend(old: Tokenizer, paths: list[str], options) -> Change:
  """Extends, and prints what it did to text that was not learned from."""
  lines, _ = train_tokenizer.sample(paths, options.sentences, seed=options.seed)
  unseen = lines[::50] if len(lines) >= 50 else []
  learned = [line for i, line in enumerate(lines) if i % 50 or not unseen]
  print(f'{len(learned):,} lines to learn pieces from', flush=True)
  change = surgery.extend(old, learned, options.pieces, share=options.share)
  print(f'{len(change.new):,} pieces added')
  if unseen:
    characters = sum(map(len, unseen))
    was, now = (
      sum(map(len, tokenizer.encode_plain(unseen))) / characters
      for tokenizer in (old, change.tokenizer)
    )
    print(
      f'tokens per character of {len(unseen):,} other lines: {was:.3f} → '
      f'{now:.3f}'
    )
  return change
