"""Memory of a fine-tuning run with few parameters trained, on a CPU.

  python -m benchmarks.adapters_memory --variant=base --tune=lora
  python -m benchmarks.adapters_memory --variant=large --tune=lora

A checkpoint of XLM-R's real size, 250,002 rows of the token table included, is
written first, with random weights: they take as much memory as others. Then
`xlmr train` runs the recipe from it in a process of its own: reading, steps,
an evaluation and a save. Printed: the largest resident set of that process
(ru_maxrss), how much is trained, and the seconds. Loss and score mean nothing
here.
"""

import json
import os
import pathlib
import resource
import subprocess
import sys
import tempfile
import time

from absl import app, flags
import numpy as np

VARIANT = flags.DEFINE_enum(
  'variant', 'base', ['tiny', 'base', 'large'], 'Size.'
)
TUNE = flags.DEFINE_enum(
  'tune', 'lora', ['all', 'lora', 'bitfit', 'head'], 'What is trained.'
)
STEPS = flags.DEFINE_integer('steps', 2, 'Steps.')
EXAMPLES = flags.DEFINE_integer('examples', 32, 'Examples of a batch.')
ACCUMULATE = flags.DEFINE_integer('accumulate', 16, 'Micro-batches of it.')
REMAT = flags.DEFINE_enum(
  'remat', 'full', ['none', 'dots', 'full'], 'What is computed again.'
)
FOLDER = flags.DEFINE_string('folder', '', 'Where files go; empty: a new one.')
RUN = flags.DEFINE_bool('run', False, 'The process that trains.')
PIECES = 249_999  # of the SentencePiece model; with fairseq's ids 250,002


def write_tokenizer(folder: pathlib.Path) -> None:
  """A vocabulary of XLM-R's size, most of whose pieces are made up."""
  from xlmr_jax.data.tokenizers import surgery, train_tokenizer, xlmr

  text = ['a man sees the red cat in the house', 'no man is asleep'] * 20
  small = xlmr.Tokenizer(
    train_tokenizer.train(text, 60, hard_vocab_limit=False)
  )
  proto = surgery.parse(small)
  number = 0
  while len(proto.pieces) < PIECES + 1:
    piece = proto.pieces.add()
    piece.piece, piece.score = f'▁w{number}', -30.0 - number * 1e-5
    number += 1
  xlmr.Tokenizer(proto.SerializeToString()).save(folder)


def write_model(folder: pathlib.Path) -> None:
  """A body with random weights, and its tokenizer."""
  import dataclasses

  import jax

  from xlmr_jax import heads
  from xlmr_jax.checkpoints import directory
  from xlmr_jax.checkpoints.weights import Weights
  from xlmr_jax.data.tokenizers.xlmr import Tokenizer
  from xlmr_jax.model import VARIANTS

  tokens = folder.parent / 'tokenizer'
  tokens.mkdir()
  write_tokenizer(tokens)
  size = Tokenizer(tokens).vocab_size
  config = dataclasses.replace(VARIANTS[VARIANT.value], vocab_size=size)
  print(f'{VARIANT.value}, vocabulary {size:,}, random weights', flush=True)
  rng = np.random.default_rng(0)
  params = jax.tree.map(
    lambda leaf: 0.02 * rng.standard_normal(leaf.shape, np.float32),
    jax.eval_shape(
      lambda key: heads.init(config, key, None), jax.random.key(0)
    ),
  )
  weights = Weights(config, params, tokenizer_dir=tokens)
  directory.write(folder, weights, 'hf')


def write_texts(folder: pathlib.Path) -> None:
  """As many texts of 126 made-up words as the steps take, and eight."""
  rng = np.random.default_rng(1)
  for name, count in (
    ('train.tsv', STEPS.value * EXAMPLES.value),
    ('dev-en.tsv', 8),
  ):
    lines = ['text\tlabel']
    for row in range(count):
      words = ' '.join(f'w{n}' for n in rng.integers(0, 200_000, 126))
      lines.append(f'{words}\t{"yes" if row % 2 else "no"}')
    (folder / name).write_text('\n'.join(lines) + '\n')


def train(folder: pathlib.Path) -> None:
  """The recipe, and what it took."""
  from configs import finetune
  from xlmr_jax import train as training

  variant, tune = VARIANT.value, TUNE.value
  config = finetune.get_config(f'task=words,model={variant},tune={tune}')
  config.init = str(folder / 'model')
  config.data_dir = str(folder)
  config.train, config.dev = 'train.tsv', 'dev-{language}.tsv'
  config.max_length = config.row_length = 128
  config.batch_size = EXAMPLES.value
  config.accumulate, config.remat = ACCUMULATE.value, REMAT.value
  config.steps = STEPS.value
  config.progress = False
  start = time.perf_counter()
  with tempfile.TemporaryDirectory(dir=folder) as workdir:
    training.train(config, workdir)
  peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
  facts = dict(
    variant=variant,
    tune=tune,
    peak_gb=round(peak / 1e9, 2),
    seconds=round(time.perf_counter() - start, 1),
    steps=STEPS.value,
    remat=REMAT.value,
    batch=f'{EXAMPLES.value} x 128 in {ACCUMULATE.value} micro-batches',
  )
  print(json.dumps(facts))


def main(argv):
  del argv
  if RUN.value:
    train(pathlib.Path(FOLDER.value))
    return
  with tempfile.TemporaryDirectory(dir=FOLDER.value or None) as name:
    folder = pathlib.Path(name)
    write_model(folder / 'model')
    write_texts(folder)
    subprocess.run(
      [
        *(sys.executable, '-m', 'benchmarks.adapters_memory', '--run'),
        f'--folder={folder}',
        *(f'--{x.name}={x.value}' for x in (VARIANT, TUNE, STEPS, EXAMPLES)),
        f'--accumulate={ACCUMULATE.value}',
        f'--remat={REMAT.value}',
      ],
      check=True,
      env={**os.environ, 'JAX_PLATFORMS': 'cpu'},
    )


if __name__ == '__main__':
  app.run(main)
