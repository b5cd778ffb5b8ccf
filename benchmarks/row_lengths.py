"""Row lengths of every task: how full, how fast, which one is chosen.

  python -m benchmarks.row_lengths --data_dir=DATA [--tasks=xnli,panx]

DATA holds the tasks' folders, CLUE's and FewCLUE's in clue/ and fewclue/, and
tokenizers/xlm-roberta. All examples of all
languages that are there are encoded and packed, which gives the fill over all
batches, the last one included; of a sample of their tokens, in their own mix of
lengths, a body of base's width and two layers with random weights makes hidden
states, which gives real tokens per second. The chosen length is marked; rounds
of all lengths alternate and the median is printed. The layers of a body cost
the same, so two of them rank the lengths as twelve do; tokens per second of
base itself are about a sixth.
"""

import dataclasses
import json
import pathlib
import statistics
import time

from absl import app, flags
import jax
import numpy as np

from xlmr_jax import heads
from xlmr_jax.data import files
from xlmr_jax.data.tokenizers.xlmr import Tokenizer
from xlmr_jax.eval.benchmarks import table
from xlmr_jax.inference import packed
from xlmr_jax.model import VARIANTS

_DATA = flags.DEFINE_string('data_dir', None, 'See above.', required=True)
_TASKS = flags.DEFINE_list('tasks', [], 'Some of them; default: all.')
_LENGTHS = flags.DEFINE_list(
  'lengths', ['128', '256', '384', '512', '1024'], 'To compare.'
)
_TOKENS = flags.DEFINE_integer('tokens', 16_384, 'Of a timed sample.')
_ROUNDS = flags.DEFINE_integer('rounds', 3, 'Of each length.')
_OUT = flags.DEFINE_string('out', '', 'File for one JSON line a task.')


def features_of(task, tokenizer, data: pathlib.Path) -> list[np.ndarray]:
  """Token ids of everything that a task reads."""
  folder = data / task.name
  if task.name == 'udpos':
    folder = folder / 'xtreme_tsv'
  elif task.known:
    folder = data / 'fewclue' / task.name
  elif not folder.exists():
    folder = data / 'clue' / task.name
  out = []
  for language in task.languages:
    for split in ('test', 'dev'):
      try:
        examples = task.read(str(folder), split, language)
      except files.Missing:
        continue
      made = task.kind.encode(
        examples,
        tokenizer,
        labels=task.labels or labels_of(task, examples),
        max_length=task.max_length,
        truncate='longest_first',
        **task.reading,
      )
      out += [feature['tokens'] for feature in made]
      break
  if not task.heads:  # evaluate reads a text once, whichever languages have it
    out = list({tokens.tobytes(): tokens for tokens in out}.values())
  return out


def labels_of(task, examples) -> list[str] | None:
  """Names of tags that a row leaves to the checkpoint."""
  if not task.tags:
    return None
  return sorted({name for e in examples for name in e.label or ()} or {'O'})


def measure(config, params, features, sample, lengths) -> list[dict]:
  """Fill of all features and tokens per second of a sample, by row length."""
  program = packed.Program(config, None)
  choose = packed.row_length
  chosen = choose(config, np.array([len(f) for f in features]))
  real = sum(map(len, features))
  counted = sum(map(len, sample))
  lengths = sorted({*lengths, chosen})
  longest = max(map(len, features))
  lengths = [n for n in lengths if n >= longest]
  found = {n: {'length': n, 'chosen': n == chosen} for n in lengths}
  seconds = {n: [] for n in lengths}
  try:
    for length in lengths:
      packed.row_length = lambda *_, length=length: length
      batches, _ = program.batches(features)
      computed = sum(batch['segments'].size for batch in batches)
      found[length]['fill'] = 100 * real / computed
    for number in range(_ROUNDS.value + 1):  # the first one compiles
      for length in lengths:
        packed.row_length = lambda *_, length=length: length
        start = time.perf_counter()
        for _ in program(params, sample):
          pass
        if number:
          seconds[length].append(time.perf_counter() - start)
  finally:
    packed.row_length = choose
  for length, times in seconds.items():
    found[length]['tokens_per_second'] = counted / statistics.median(times)
  return list(found.values())


def main(argv):
  del argv
  data = pathlib.Path(_DATA.value)
  tokenizer = Tokenizer(data / 'tokenizers' / 'xlm-roberta')
  config = dataclasses.replace(
    VARIANTS['base'], num_layers=2, vocab_size=tokenizer.vocab_size
  )
  params = jax.jit(lambda key: heads.init(config, key, None, 1))(
    jax.random.key(0)
  )
  for name in _TASKS.value or table.tasks():
    features = features_of(table.tasks()[name], tokenizer, data)
    if not features:
      print(f'{name}: no files')
      continue
    order = np.random.default_rng(0).permutation(len(features))
    ends = np.cumsum([len(features[i]) for i in order])
    few = order[: 1 + np.searchsorted(ends, _TOKENS.value)]
    lengths = list(map(int, _LENGTHS.value))
    found = measure(
      config, params, features, [features[i] for i in few], lengths
    )
    print(f'{name}: {len(features):,} features, {ends[-1]:,} tokens')
    for row in found:
      print(
        f'  {row["length"]:5}{"*" if row["chosen"] else " "} '
        f'{row["fill"]:6.2f} % full {row["tokens_per_second"]:9,.0f} tokens/s',
        flush=True,
      )
    if _OUT.value:
      with open(_OUT.value, 'a', encoding='utf-8') as out:
        out.write(json.dumps({'task': name, 'rows': found}) + '\n')


if __name__ == '__main__':
  app.run(main)
