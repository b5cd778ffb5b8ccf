"""Corpus preparation beside sentencepiece alone: one run, alternating rounds.

  python benchmarks/corpus_rate.py [--rounds=5] [--languages=en,zh]

Both sides go through the same real text of $XLMR_JAX_DATA/corpus with XLM-R's
vocabulary on all cores. sentencepiece has it in memory, as a list of
paragraphs, and gives lists of ids (`encode(texts, num_threads=cores)`). Ours
is the whole of corpus/prepare.py, from .txt.xz files to a shuffled corpus
with checksums, processes and their start included. It prints the median rates
of rounds in millions of tokens a second and the median of the rounds' ratios,
by the clock and by the processors' time. Rounds alternate, because a shared
machine changes speed; where others use its cores too the processors' time says
more.
"""

import contextlib
import os
import pathlib
import statistics
import sys
import tempfile
import time

from absl import app, flags

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

ROUNDS = flags.DEFINE_integer('rounds', 5, 'Rounds of each side.')
LANGUAGES = flags.DEFINE_list('languages', None, 'All if left out.')


def main(argv):
  del argv
  import sentencepiece

  from xlmr_jax.data import files
  from xlmr_jax.data.corpus import prepare
  from xlmr_jax.data.tokenizers.xlmr import FILE_NAME, Tokenizer
  from xlmr_jax.runtime.cores import usable_cores

  data = pathlib.Path(
    os.environ.get('XLMR_JAX_DATA', ROOT.parent / 'shared' / 'data')
  )
  vocabulary = data / 'tokenizers' / 'xlm-roberta'
  processor = sentencepiece.SentencePieceProcessor(
    model_file=str(vocabulary / FILE_NAME)
  )
  cores = usable_cores()
  texts = [
    line
    for path in sorted((data / 'corpus').glob('*.txt.xz'))
    if not LANGUAGES.value or files.language(path) in LANGUAGES.value
    for line in files.lines(path)
    if line.strip()
  ]
  print(
    f'{len(texts):,} paragraphs,'
    f' {sum(len(text.encode()) for text in texts) / 1e6:.1f} MB, {cores} cores'
  )
  seconds = {'sentencepiece': [], 'ours': []}
  tokens = 0
  for number in range(ROUNDS.value):
    with measured(seconds['sentencepiece']):
      encoded = processor.encode(texts, num_threads=cores)
    tokens = sum(map(len, encoded))
    del encoded
    with tempfile.TemporaryDirectory() as folder:
      with measured(seconds['ours']):
        made = prepare.prepare(
          data / 'corpus',
          os.path.join(folder, 'x'),
          Tokenizer(vocabulary),
          languages=LANGUAGES.value,
        )
      assert tokens == sum(part.tokens for part in made.parts.values())
    print(
      f'round {number}: '
      + ', '.join(
        f'{k} {v[-1][0]:.1f} s ({v[-1][1]:.1f} CPU s)'
        for k, v in seconds.items()
      ),
      flush=True,
    )
  for name, values in seconds.items():
    rate = tokens / statistics.median(clock for clock, _ in values) / 1e6
    print(f'{name}: {rate:.2f} Mtok/s')
  for which, name in enumerate(('the clock', "the processors' time")):
    ratios = [
      a[which] / b[which] for a, b in zip(*seconds.values(), strict=True)
    ]
    print(
      f'ratio by {name}: {statistics.median(ratios):.2f}'
      f' ({min(ratios):.2f} to {max(ratios):.2f})'
    )


@contextlib.contextmanager
def measured(rounds):
  """Appends seconds by the clock and by all processors."""

  def now():
    used = os.times()
    return time.perf_counter(), sum(used[:4])

  start = now()
  yield
  rounds.append([b - a for a, b in zip(start, now(), strict=True)])


if __name__ == '__main__':
  app.run(main)
