"""Encoder inference beside Hugging Face PyTorch: one run, alternating rounds.

  python benchmarks/inference.py [--rounds=5] [--dtype=bfloat16]
  python benchmarks/inference.py --xnli=200 --rounds=3

Both sides get the same ids and the same random weights at XLM-R base's real
size. Hugging Face runs as its users do: sdpa attention, f32, batches of 8 in
the order given, padded to the longest. Ours packs, runs and unpacks; both
times include that. `short` are XNLI pairs, `long` paragraphs of the corpus,
read from $XLMR_JAX_DATA; with --xnli so many test pairs of each of the 15
languages, each language by itself. Printed: the median of rounds, and the ratio
of medians; rounds alternate, because a shared machine changes speed.
"""

import os
import pathlib
import statistics
import sys
import tempfile
import time

from absl import app, flags
import numpy as np

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

ROUNDS = flags.DEFINE_integer('rounds', 5, 'Rounds of each side.')
DTYPE = flags.DEFINE_string('dtype', 'float32', "Ours: 'bfloat16' too.")
TEXTS = flags.DEFINE_integer('texts', 256, 'Texts in a round.')
XNLI = flags.DEFINE_integer('xnli', 0, 'Pairs of each language, and no else.')


def inputs(data: pathlib.Path, count: int) -> dict[str, list[list[int]]]:
  """Ids of short and long real texts."""
  from xlmr_jax.data import files
  from xlmr_jax.data.readers import nli
  from xlmr_jax.data.tokenizers.xlmr import Tokenizer

  tokenizer = Tokenizer(data / 'tokenizers' / 'xlm-roberta')
  rng = np.random.default_rng(0)
  pairs = []
  for language in ('en', 'de', 'zh', 'sw', 'ru'):
    pairs += nli.xnli(data / 'xnli', 'test', language)
  chosen = rng.choice(len(pairs), count, replace=False)
  short = [tokenizer.encode(*pairs[i].texts) for i in chosen]
  long = []
  for path in sorted((data / 'corpus').glob('*.txt.xz')):
    texts = (line for line in files.lines(path) if line.strip())
    for number, text in enumerate(texts):
      ids = tokenizer.encode(text, max_length=512, truncate='first')
      if 120 <= len(ids) <= 400:
        long.append(ids)
      if number > 1000:
        break
  chosen = rng.choice(len(long), count, replace=False)
  return {'short': short, 'long': [long[i] for i in chosen]}


def xnli(data: pathlib.Path, count: int) -> dict[str, list[list[int]]]:
  """Language → ids of its first test pairs."""
  from xlmr_jax.data.readers import nli
  from xlmr_jax.data.tokenizers.xlmr import Tokenizer
  from xlmr_jax.eval.benchmarks import table

  tokenizer = Tokenizer(data / 'tokenizers' / 'xlm-roberta')
  return {
    language: [
      tokenizer.encode(*example.texts, max_length=128)
      for example in nli.xnli(data / 'xnli', 'test', language)[:count]
    ]
    for language in table.tasks()['xnli'].languages
  }


def main(argv):
  del argv
  import torch
  import transformers

  import xlmr_jax

  data = pathlib.Path(
    os.environ.get('XLMR_JAX_DATA', ROOT.parent / 'shared/data')
  )
  if XNLI.value:
    texts = xnli(data, XNLI.value)
  else:
    texts = inputs(data, TEXTS.value)
  torch.manual_seed(0)
  theirs = transformers.XLMRobertaModel(
    transformers.XLMRobertaConfig(
      vocab_size=250_002,
      max_position_embeddings=514,
      type_vocab_size=1,
      layer_norm_eps=1e-5,
    ),
    add_pooling_layer=False,
  ).eval()
  with tempfile.TemporaryDirectory() as folder:
    theirs.save_pretrained(folder)
    ours = xlmr_jax.load(folder, dtype=DTYPE.value)

  def run_theirs(ids):
    out = []
    with torch.inference_mode():
      for first in range(0, len(ids), 8):
        batch = ids[first : first + 8]
        width = max(map(len, batch))
        tokens = torch.tensor([x + [1] * (width - len(x)) for x in batch])
        hidden = theirs(
          input_ids=tokens, attention_mask=(tokens != 1).long()
        ).last_hidden_state
        out += [hidden[i, : len(x)].numpy() for i, x in enumerate(batch)]
    return out

  sides = {'transformers': run_theirs, 'xlmr_jax': ours.encode}
  print(
    f'torch {torch.__version__} ({torch.get_num_threads()} threads), '
    f'transformers {transformers.__version__}, ours {DTYPE.value}'
  )
  total = dict.fromkeys(sides, 0.0)
  for name, ids in texts.items():
    tokens = sum(map(len, ids))
    if name == next(iter(texts)) or not XNLI.value:
      for run in sides.values():  # warm; languages have nearly one shape
        run(ids)
    outputs = {}
    times = {side: [] for side in sides}
    for _ in range(ROUNDS.value):
      for side, run in sides.items():
        start = time.perf_counter()
        outputs[side] = run(ids)
        times[side].append(time.perf_counter() - start)
    worst = max(
      np.abs(a - b).max() for a, b in zip(*outputs.values(), strict=True)
    )
    medians = {side: statistics.median(t) for side, t in times.items()}
    for side, seconds in medians.items():
      total[side] += seconds
    rates = {side: tokens / seconds for side, seconds in medians.items()}
    ratio = rates['xlmr_jax'] / rates['transformers']
    print(
      f'{name}: {len(ids)} texts, mean {tokens / len(ids):.0f} tokens; '
      + ', '.join(
        f'{side} {rate:,.0f} tokens/s' for side, rate in rates.items()
      )
      + f'; ratio {ratio:.2f}; largest difference {worst:.1e}',
      flush=True,
    )
  whole = total['transformers'] / total['xlmr_jax']
  print(f'all {len(texts)}: {whole:.2f} times as fast')


if __name__ == '__main__':
  app.run(main)
