"""Trains a vocabulary on text files.

The files are named after their languages; small languages are drawn more often
than their size alone would have it.

    xlmr tokenizer --input='corpus/*.txt.xz' \
        --vocab_size=16000 --output=DIR
"""

from typing import Any

from absl import flags

from xlmr_jax.data import files
from xlmr_jax.data.tokenizers import train_tokenizer, xlmr
from xlmr_jax.runtime import commands


def define_flags(values: flags.FlagValues = flags.FLAGS) -> None:
  """The command's flags."""
  to: dict[str, Any] = {'flag_values': values}
  flags.DEFINE_multi_string(
    'input',
    None,
    'Text files, <lang>.txt[.xz|.gz]: a glob pattern.',
    **to,
  )
  flags.DEFINE_integer(
    'vocab_size',
    16000,
    'Rows of the model the tokenizer is for, its five specials included.',
    lower_bound=6,
    **to,
  )
  flags.DEFINE_string('output', None, 'Directory to write.', **to)
  flags.DEFINE_integer(
    'sentences', 500_000, 'The most lines to train on.', lower_bound=1, **to
  )
  flags.DEFINE_float(
    'alpha',
    0.3,
    'Languages are drawn by size ** alpha.',
    lower_bound=0.0,
    **to,
  )
  flags.DEFINE_integer('seed', 0, 'Seed of the draw.', lower_bound=0, **to)
  flags.DEFINE_float(
    'character_coverage',
    0.9995,
    'See SentencePiece.',
    lower_bound=0.98,
    upper_bound=1.0,
    **to,
  )
  flags.DEFINE_bool(
    'seed_from_frequency',
    False,
    'Candidates are substrings of words: for synthetic text of few templates.',
    **to,
  )
  flags.DEFINE_bool(
    'hard_vocab_limit',
    True,
    'Whether text too poor for vocab_size is an error.',
    **to,
  )
  flags.DEFINE_bool(
    'verbose', False, "Whether to show SentencePiece's log.", **to
  )


def main(argv: list[str], options: flags.FlagValues = flags.FLAGS) -> None:
  """Trains a vocabulary and saves it."""
  commands.check_arguments(argv)
  commands.check_given(options, 'input', 'output')
  lines, counts = train_tokenizer.sample(
    files.find(options.input),
    options.sentences,
    alpha=options.alpha,
    seed=options.seed,
  )
  drawn = ' '.join(f'{name} {n:,}' for name, n in sorted(counts.items()))
  print(f'training on {len(lines):,} lines: {drawn}', flush=True)
  if long := sum(map(train_tokenizer.is_long, lines)):
    print(
      f'{long:,} of the lines have more than {train_tokenizer.LONGEST:,} bytes '
      'and are cut at spaces',
      flush=True,
    )
  model = train_tokenizer.train(
    lines,
    options.vocab_size,
    seed_from_frequency=options.seed_from_frequency,
    hard_vocab_limit=options.hard_vocab_limit,
    character_coverage=options.character_coverage,
    verbose=options.verbose,
  )
  tokenizer = xlmr.Tokenizer(model)
  path = tokenizer.save(options.output)
  print(f'{path}: {tokenizer.vocab_size:,} rows')
