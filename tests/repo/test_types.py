"""What a type checker tells a user of the package."""

import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]

# Line → what mypy must say about it; '' for nothing.
PROGRAM = {
  'import numpy as np': '',
  'import xlmr_jax': '',
  "m = xlmr_jax.load('FacebookAI/xlm-roberta-base', dtype='bfloat16')": '',
  'reveal_type(m)': 'xlmr_jax.inference.loaded.Loaded',
  'ids = np.array([0, 35378, 2])': '',
  "states = m.encode(['one', ('a', 'b'), [0, 35378, 2], ids])": '',
  'reveal_type(states)': 'list[numpy.ndarray[',
  "reveal_type(m.logits(['a <mask>']))": 'list[numpy.ndarray[',
  "reveal_type(m.fill_mask('a <mask>'))": 'list[tuple[str, float]]',
  "reveal_type(m.embed(['query: a'], dim=64))": 'numpy.ndarray[',
  "reveal_type(m.vectors(['a'], layer=0.5))": 'numpy.ndarray[',
  "reveal_type(m.m3(['a text']))": 'list[dict[str, Any]]',
  'reveal_type(m.labels)': 'tuple[str, ...] | None',
  'reveal_type(m.config.model_dim)': 'int',
  "m.save('ours', format='orbax')": '',
  "xlmr_jax.load('x', head='tag', fresh=True, labels=['O', 'B-PER'])": '',
  # Wrong calls.
  "xlmr_jax.load('x', haed='tag')": 'Unexpected keyword argument "haed"',
  "xlmr_jax.load('x', scan='no')": 'incompatible type "str"; expected "bool"',
  'm.encode([1.5])': 'List item 0 has incompatible type "float"',
  "m.embed(['a'], pool='cls')": 'Unexpected keyword argument "pool"',
  'm.predict': '"Loaded" has no attribute "predict"',
}


@pytest.fixture(scope='module')
def answers(tmp_path_factory) -> dict[int, str]:
  """{line of the program: what mypy says}."""
  program = tmp_path_factory.mktemp('types') / 'program.py'
  program.write_text('\n'.join(PROGRAM))
  done = subprocess.run(
    # With our own settings, so that what `make test` has read serves again.
    [sys.executable, '-m', 'mypy', '--no-pretty', program],
    capture_output=True,
    text=True,
    cwd=ROOT,
  )
  assert done.returncode == 1, done.stdout + done.stderr
  out: dict[int, str] = {}
  for line in done.stdout.splitlines():
    _, here, rest = line.partition(f'{program.name}:')
    if here:
      number, said = rest.split(':', 1)
      out[int(number)] = out.get(int(number), '') + said
  return out


@pytest.mark.parametrize('number', range(1, len(PROGRAM) + 1))
def test_a_user_s_program_is_typed(answers, number):
  line, wanted = list(PROGRAM.items())[number - 1]
  said = answers.get(number, '')
  assert wanted in said and bool(wanted) == bool(said), (line, said)
