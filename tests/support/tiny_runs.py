"""Training runs of seconds: files to learn from, settings, what is left."""

import json
import os
import pathlib
import socket
import subprocess
import sys
import time

import jax
import numpy as np

from configs import finetune, pretrain
from xlmr_jax.checkpoints import orbax_arrays

ROOT = pathlib.Path(__file__).resolve().parents[2]
WORDS = 'man house cat red sees asleep Mann Haus Katze rote кошку доме'.split()
SIZES = {
  'num_layers': 2,
  'model_dim': 16,
  'num_heads': 2,
  'ff_dim': 32,
  'max_positions': 34,
}
ARGUMENT = {finetune: 'task=cats,model=tiny', pretrain: 'model=tiny'}


def write_data(folder) -> None:
  """Labelled tables and a corpus, of a dozen words."""
  rng = np.random.default_rng(0)

  def sentence(length=None):
    return ' '.join(rng.choice(WORDS, length or rng.integers(2, 7)))

  def table(name, count, answer):
    with open(folder / name, 'w', encoding='utf-8') as file:
      file.write('text\tlabel\n')
      for _ in range(count):
        text = sentence()
        file.write(f'{text}\t{answer(text)}\n')

  has_cat = lambda text: 'yes' if 'cat' in text else 'no'
  table('train.tsv', 120, has_cat)
  table('dev-en.tsv', 24, has_cat)
  table('dev-de.tsv', 24, has_cat)
  words = lambda text: len(text.split()) / 4
  table('numbers.tsv', 120, words)
  table('dev-numbers.tsv', 24, words)
  (folder / 'corpus').mkdir()
  (folder / 'parallel').mkdir()
  for language in ('en', 'de', 'ru'):
    lines = ''.join(f'{sentence(8)}\n' for _ in range(60))
    (folder / 'corpus' / f'{language}.txt').write_text(lines, 'utf-8')
  pairs = ''.join(f'{sentence(4)}\t{sentence(4)}\n' for _ in range(40))
  (folder / 'parallel' / 'en-de.tsv').write_text(pairs, 'utf-8')


def settings(folder, tokenizer) -> dict:
  """recipe → what its command line says, for the files of write_data."""
  common = {
    **{f'sizes.{name}': size for name, size in SIZES.items()},
    'tokenizer': str(tokenizer),
    'progress': False,
    'log_every': 1,
    'row_length': 32,
  }
  return {
    finetune: {
      **common,
      'data_dir': str(folder),
      'train': 'train.tsv',
      'dev': 'dev-{language}.tsv',
      'dev_languages': ('en', 'de'),
      'max_length': 32,
      'batch_size': 12,
      'epochs': 8,  # 80 steps
      'eval_every': 16,
      'save_every': 12,
      'attention_dropout': 0.1,
      'optim.learning_rate': 1e-2,
    },
    pretrain: {
      **common,
      'corpus': str(folder / 'corpus'),
      'parallel': str(folder / 'parallel'),
      'cache_dir': str(folder / 'cache'),
      'parallel_share': 0.5,
      'mask_rate': 0.15,
      'dropout': 0.1,
      'batch_tokens': 256,
      'steps': 30,
      'eval_every': 6,
      'save_every': 4,
      'held_out': 0.1,
    },
  }


def recipe(given, module, **changes):
  """The config of a command line; double underscores stand for dots."""
  config = module.get_config(ARGUMENT[module])
  changes = {name.replace('__', '.'): v for name, v in changes.items()}
  config.update_from_flattened_dict({**given[module], **changes})
  return config.lock()


class Process:
  """`python -m xlmr_jax.train` in a process of its own."""

  def __init__(self, given, module, workdir, command=('xlmr_jax.train',)):
    self.workdir = workdir
    name = module.__name__.removeprefix('configs.')
    self.process = subprocess.Popen(
      [
        sys.executable,
        *('-m', *command, f'--workdir={workdir}'),
        f'--config=configs/{name}.py:{ARGUMENT[module]}',
        *(f'--config.{key}={value}' for key, value in given[module].items()),
      ],
      cwd=ROOT,
      stdout=subprocess.PIPE,
      stderr=subprocess.STDOUT,
      text=True,
    )

  def send(self, number: int, step: int) -> tuple[int, str]:
    """Sends a signal once metrics.jsonl has a step; (exit code, output)."""
    path = self.workdir / 'metrics.jsonl'
    deadline = time.monotonic() + 240
    while time.monotonic() < deadline and self.process.poll() is None:
      if path.exists() and f'"step": {step},' in path.read_text():
        self.process.send_signal(number)
        break
      time.sleep(0.002)
    try:
      output, _ = self.process.communicate(timeout=120)
    finally:
      self.process.kill()
    return self.process.returncode, output


# What a workdir holds.


def flat(tree) -> dict[str, np.ndarray]:
  return {
    jax.tree_util.keystr(path, simple=True, separator='/'): np.asarray(leaf)
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree)
  }


def steps(workdir) -> dict[int, dict]:
  """{step: {'params', 'state', 'meta'}} of all that is kept."""
  out = {}
  for folder in (workdir / 'checkpoints').iterdir():
    out[int(folder.name)] = {
      'params': flat(orbax_arrays.read(folder / 'params')),
      'state': flat(orbax_arrays.read(folder / 'state')),
      'meta': json.loads((folder / 'meta' / 'metadata').read_text()),
    }
  return out


def records(workdir) -> list[dict]:
  """metrics.jsonl without what depends on the machine."""
  lines = (workdir / 'metrics.jsonl').read_text().splitlines()
  out = [json.loads(line) for line in lines]
  out = [record for record in out if 'devices' not in record]
  for record in out:
    for name in ('tokens_per_second', 'mfu'):
      record.pop(name, None)
  return out


def assert_same_run(one, two) -> None:
  """Bit for bit in all that is kept, and in the loss of every step."""
  assert records(one) == records(two)
  a, b = steps(one), steps(two)
  assert a.keys() == b.keys()
  for step in a:
    assert a[step]['meta'] == b[step]['meta']
    for part in ('params', 'state'):
      x, y = a[step][part], b[step][part]
      assert x.keys() == y.keys()
      for name, leaf in x.items():
        assert leaf.dtype == y[name].dtype, name
        assert leaf.tobytes() == y[name].tobytes(), (step, name)


class Together:
  """One command in several processes of some fake devices each.

  Gloo, which joins them on CPUs, gives up after 30 seconds, which a crowded
  machine may need to start the other one. The same command is then given
  again, as a user would.
  """

  LATE = 'Gloo context initialization failed'

  def __init__(self, words, processes=1, devices=8):
    """`words` are a module and its flags."""
    self._given = words, processes, devices
    self._tries = 3
    self._begin()

  def again(self, output):
    """Starts again if it was only too late."""
    self._tries -= 1
    if self.LATE not in output or not self._tries:
      return False
    self._begin()
    return True

  def kill(self, number, which):
    """Signals one of the processes; from now on nothing starts again."""
    self._tries = 1
    self.processes[number].send_signal(which)

  def _begin(self):
    words, processes, devices = self._given
    with socket.socket() as free:
      free.bind(('localhost', 0))
      port = free.getsockname()[1]
    self.processes = []
    for number in range(processes):
      together = (
        f'--coordinator=localhost:{port}',
        f'--num_processes={processes}',
        f'--process_id={number}',
      )
      self.processes.append(
        subprocess.Popen(
          [
            *(sys.executable, '-m', *words),
            *(together if processes > 1 else ()),
          ],
          cwd=ROOT,
          env={
            **os.environ,
            'XLA_FLAGS': f'--xla_force_host_platform_device_count={devices}',
          },
          stdout=subprocess.PIPE,
          stderr=subprocess.STDOUT,
          text=True,
        )
      )

  def end(self):
    """(exit codes, outputs), of processes that end by themselves."""
    codes, output = self.wait(300)
    while any(codes) and self.again(output):
      codes, output = self.wait(300)
    return codes, output

  def wait(self, seconds):
    """The same, killed after so many seconds."""
    outputs = []
    for process in self.processes:
      try:
        outputs.append(process.communicate(timeout=seconds)[0])
      except subprocess.TimeoutExpired:
        process.kill()
        outputs.append(process.communicate()[0])
    return [p.returncode for p in self.processes], '\n'.join(outputs)
