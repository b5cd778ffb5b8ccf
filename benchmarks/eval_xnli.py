"""The evaluation command over all of XNLI, with a small random checkpoint.

  python benchmarks/eval_xnli.py --data_dir=DATA

DATA holds xnli/ and tokenizers/xlm-roberta/. The checkpoint has XLM-R's real
vocabulary and a small body of random parameters, so its scores are chance
(33.3); what is measured is the command: 75,150 pairs read, tokenised, packed,
run and scored.
"""

import dataclasses
import json
import pathlib
import subprocess
import sys
import tempfile
import time

from absl import app, flags
import jax

from xlmr_jax import checkpoints, heads
from xlmr_jax.checkpoints.weights import Weights
from xlmr_jax.data.tokenizers.xlmr import Tokenizer
from xlmr_jax.model import VARIANTS

_DATA = flags.DEFINE_string('data_dir', None, 'See above.', required=True)
_LAYERS = flags.DEFINE_integer('num_layers', 2, 'Of the body.')
_DIM = flags.DEFINE_integer('model_dim', 128, 'Width of the body.')


def main(argv):
  del argv
  data = pathlib.Path(_DATA.value)
  folder = data / 'tokenizers' / 'xlm-roberta'
  tokenizer = Tokenizer(folder)
  labels = ('entailment', 'neutral', 'contradiction')
  config = dataclasses.replace(
    VARIANTS['tiny'],
    vocab_size=tokenizer.vocab_size,
    num_layers=_LAYERS.value,
    model_dim=_DIM.value,
    ff_dim=4 * _DIM.value,
    init_std=0.3,  # with less every answer is the same
  )
  make = lambda key: heads.init(config, key, 'classify', len(labels))
  weights = Weights(
    config=config,
    params=jax.jit(make)(jax.random.key(0)),
    head='classify',
    labels=labels,
    tokenizer_dir=folder,
  )
  with tempfile.TemporaryDirectory() as made:
    checkpoints.write(f'{made}/checkpoint', weights, 'orbax')
    start = time.perf_counter()
    subprocess.run(
      [
        *(sys.executable, '-m', 'xlmr_jax.eval', '--benchmark=xnli'),
        *(f'--checkpoint={made}/checkpoint', f'--data_dir={data / "xnli"}'),
        f'--output_dir={made}/out',
      ],
      check=True,
    )
    wall = time.perf_counter() - start
    results = json.loads(pathlib.Path(f'{made}/out/results.json').read_text())
  print(
    f'{config.num_layers} layers of {config.model_dim}: '
    f'{wall:.1f} s from start to end, '
    f'{results["tokens_per_second"]:,.0f} tokens/s through the model, '
    f'{results["packing_efficiency"]:.2f} % of computed tokens real, '
    f'average {results["tasks"]["xnli"]["average"]:.2f} %'
  )


if __name__ == '__main__':
  app.run(main)
