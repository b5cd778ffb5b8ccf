"""A run shot at random moments: does it always go on, and end the same?

  python -m benchmarks.preemption [--shots=50] [--seed=0]

A small pretraining run (synthetic text) is started, hit by SIGTERM or SIGKILL
at a moment drawn uniformly from its whole life, start and compilation
included, and started again until it is through; then another one, until all
shots are fired. After every shot each checkpoint that is left is read in
full, and the next start must go on from the last one that was finished.
At the end each run must be what an undisturbed one is, bit for bit, in the
parameters, the optimizer's state and the loss of every step.
"""

import collections
import itertools
import json
import os
import pathlib
import random
import re
import signal
import subprocess
import sys
import tempfile
import time

from absl import app, flags, logging
import jax
import numpy as np
import tqdm

from xlmr_jax.checkpoints import orbax_arrays
from xlmr_jax.data.tokenizers import train_tokenizer, xlmr

SHOTS = flags.DEFINE_integer('shots', 50, 'How often to shoot.')
SEED = flags.DEFINE_integer('seed', 0, 'Of the moments and the signals.')
GRACE = flags.DEFINE_float('grace', 30, 'Seconds from SIGTERM to SIGKILL.')

SETTINGS = {
  'steps': 60,
  'save_every': 3,
  'eval_every': 7,
  'log_every': 1,
  'batch_tokens': 1024,
  'row_length': 64,
  'held_out': 0.2,
  'progress': False,
}
WORDS = 'the a man house old red cat sees water near and well'.split()


def write_data(folder: pathlib.Path) -> None:
  """Synthetic text in two languages that differ in their letters' case."""
  draw = random.Random(0)
  (folder / 'corpus').mkdir(parents=True)
  lines = [' '.join(draw.choices(WORDS, k=12)) for _ in range(4000)]
  for name, text in (('aa', lines[:3000]), ('bb', lines[2000:])):
    body = '\n'.join(t.upper() if name == 'bb' else t for t in text)
    (folder / 'corpus' / f'{name}.txt').write_text(body)
  model = train_tokenizer.train(
    lines[:500] + [t.upper() for t in lines[:500]], 200, hard_vocab_limit=False
  )
  xlmr.Tokenizer(model).save(folder / 'tokenizer')


def start(folder: pathlib.Path, workdir: pathlib.Path) -> subprocess.Popen:
  settings = {
    **SETTINGS,
    'corpus': folder / 'corpus',
    'tokenizer': folder / 'tokenizer',
    'cache_dir': folder / 'cache' / workdir.name,
  }
  return subprocess.Popen(
    [
      sys.executable,
      *('-m', 'xlmr_jax.train', f'--workdir={workdir}'),
      '--config=configs/pretrain.py:model=tiny',
      *(f'--config.{name}={value}' for name, value in settings.items()),
    ],
    stdout=subprocess.PIPE,
    stderr=subprocess.STDOUT,
    text=True,
    # Compiling is a part of the life that is shot at.
    env={**os.environ, 'JAX_ENABLE_COMPILATION_CACHE': 'false'},
  )


def finished(workdir: pathlib.Path) -> dict[int, dict]:
  """{step: everything in it} of the checkpoints that are there.

  Raises:
    ValueError: one of them cannot be read.
  """
  out = {}
  for folder in (workdir / 'checkpoints').glob('*'):
    if folder.name.isdigit():
      arrays = {
        f'{part}{jax.tree_util.keystr(path)}': np.asarray(leaf)
        for part in ('params', 'state')
        for path, leaf in jax.tree_util.tree_leaves_with_path(
          orbax_arrays.read(folder / part)
        )
      }
      meta = json.loads((folder / 'meta' / 'metadata').read_text())
      out[int(folder.name)] = {'arrays': arrays, 'meta': meta}
  return out


def records(workdir: pathlib.Path) -> list[dict]:
  path = workdir / 'metrics.jsonl'
  if not path.exists():
    return []
  out = []
  for line in path.read_text().splitlines():
    try:
      record = json.loads(line)
    except json.JSONDecodeError:
      continue  # shot while it was written
    out.append({k: v for k, v in record.items() if k != 'tokens_per_second'})
  return out


def where(workdir: pathlib.Path) -> str:
  """What the process was doing, by what it left."""
  lines = records(workdir)
  saving = any(
    'tmp' in path.name for path in (workdir / 'checkpoints').glob('*')
  )
  if saving:
    return 'saving'
  if not lines or not any('loss' in line for line in lines):
    return 'start or compilation'
  last = lines[-1]
  judged = last['step'] % SETTINGS['eval_every'] == 0
  if judged and 'loss' in last:
    return 'evaluation'
  return 'steps'


def assert_same(one: pathlib.Path, two: pathlib.Path) -> None:
  for a, b in itertools.zip_longest(records(one), records(two)):
    if a != b:
      raise AssertionError(f'{two}: {b}, undisturbed {a}')
  a, b = finished(one), finished(two)
  if a.keys() != b.keys():
    raise AssertionError(f'{two}: steps {sorted(b)}, undisturbed {sorted(a)}')
  for step, kept in a.items():
    if kept['meta'] != b[step]['meta']:
      raise AssertionError(f'{two}: other progress at step {step}')
    for name, array in kept['arrays'].items():
      if array.tobytes() != b[step]['arrays'][name].tobytes():
        raise AssertionError(f'{two}: {name} differs at step {step}')


def main(argv):
  del argv
  logging.set_verbosity(logging.FATAL)  # orbax reports every file
  draw = random.Random(SEED.value)
  hit, runs = collections.Counter(), 0
  with tempfile.TemporaryDirectory() as temporary:
    folder = pathlib.Path(temporary)
    write_data(folder)
    began = time.perf_counter()
    process = start(folder, folder / 'undisturbed')
    output = process.communicate()[0]
    life = time.perf_counter() - began
    assert process.returncode == 0, output
    bar = tqdm.tqdm(total=SHOTS.value, unit='shot')
    while bar.n < SHOTS.value:
      workdir = folder / f'run{runs}'
      done, latest = False, None
      while not done:
        began = time.perf_counter()
        process = start(folder, workdir)
        number = draw.choice((signal.SIGTERM, signal.SIGKILL))
        try:
          if bar.n >= SHOTS.value:
            output = process.communicate(timeout=20 * life)[0]
          else:
            output = process.communicate(timeout=draw.uniform(0, life))[0]
          assert process.returncode == 0, output
          done = True
          if latest is None:  # a whole run: as long as one lasts now
            life = time.perf_counter() - began
        except subprocess.TimeoutExpired:
          process.send_signal(number)
          doing = where(workdir)
          try:
            output = process.communicate(timeout=GRACE.value)[0]
          except subprocess.TimeoutExpired:
            process.kill()
            output = process.communicate()[0]
          hit[f'{number.name} during {doing}'] += 1
          bar.update()
          bar.write(f'{bar.n}: {number.name} during {doing}, run {runs}')
        if latest is not None and 'resumed from' in output:
          (said,) = re.findall(r'resumed from step (\d+) of', output)
          assert int(said) == latest, (said, latest, output)
        kept = finished(workdir)  # reads all of it
        assert latest is None or max(kept) >= latest, (latest, sorted(kept))
        latest = max(kept, default=None)
      runs += 1
      assert_same(folder / 'undisturbed', workdir)
    bar.close()
  for what, count in sorted(hit.items()):
    print(f'{count:4} {what}')
  print(
    f'{sum(hit.values())} shots, {runs} runs of {life:.0f} s: every start went '
    'on from the last finished checkpoint, none was corrupt, and all runs '
    'ended bit for bit as the undisturbed one'
  )


if __name__ == '__main__':
  app.run(main)
