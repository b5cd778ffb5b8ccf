"""cuDNN's attention beside XLA's on a GPU: the same, apart, and how fast?

  python -m benchmarks.attention_gpu [--bodies=base,large] [--lengths=512]

Per body's heads and length of rows, on random packed rows in bfloat16:

  off      root mean square of the difference from XLA in bfloat16, the worst
           of output and gradients (limit 2e-3), and from XLA in float32
  leak     largest change of an example where another one changes (limit: what
           a second run of the same changes, for a backward pass may add up in
           any order; the forward pass 0)
  finite   with a row of padding, and where all scores are near -100
  ms       median of forward and backward, taken in turns, and their ratio

Ends with 1 where a limit is broken. `--rounds=0` leaves the times out.
"""

import functools
import statistics
import sys
import time

from absl import app, flags
import jax
import jax.numpy as jnp
import numpy as np

from xlmr_jax.layers.attention import attention
from xlmr_jax.model import VARIANTS

BODIES = flags.DEFINE_list('bodies', ['base', 'large', 'xl', 'xxl'], 'Bodies.')
LENGTHS = flags.DEFINE_list('lengths', [128, 256, 512, 1024], 'Tokens of rows.')
TOKENS = flags.DEFINE_integer('tokens', 16_384, 'Tokens of a batch.')
ROUNDS = flags.DEFINE_integer('rounds', 30, 'Rounds of each side.')
DTYPE = flags.DEFINE_enum('dtype', 'bfloat16', ['bfloat16', 'float16'], 'Type.')
CAUSAL = flags.DEFINE_bool('causal', False, 'Whether no position looks ahead.')
LIMIT = 2e-3


def packed(rows: int, length: int) -> np.ndarray:
  """Segments of rows of several examples each; the last row is padding."""
  rng = np.random.default_rng(0)
  segments = np.zeros((rows, length), np.int32)
  for row in segments[:-1]:
    ends = np.sort(rng.choice(np.arange(1, length - 4), 4, replace=False))
    for example, (first, last) in enumerate(
      zip([0, *ends[:-1]], ends, strict=True)
    ):
      row[first:last] = example + 1
  return segments


def normal(seed: int, shape, dtype):
  """q, k, v and the gradient of the output."""
  keys = jax.random.split(jax.random.key(seed), 4)
  return [jax.random.normal(key, shape).astype(dtype) for key in keys]


@functools.partial(jax.jit, static_argnames=('backend', 'causal'))
def both(q, k, v, grad, segments, *, backend: str, causal: bool):
  """Output and gradients."""
  attend = functools.partial(
    attention, segments=segments, backend=backend, causal=causal
  )
  y, back = jax.vjp(attend, q, k, v)
  return y, *back(grad)


def rms(some, other) -> float:
  """The worst root mean square of the differences."""
  pairs = zip(some, other, strict=True)
  return max(
    float(np.sqrt(((np.float32(a) - np.float32(b)) ** 2).mean()))
    for a, b in pairs
  )


def most(some, other, where) -> list[float]:
  """Largest differences at some positions."""
  pairs = zip(some, other, strict=True)
  return [
    float(np.abs(np.float32(a) - np.float32(b))[where].max()) for a, b in pairs
  ]


def check(run, arrays, segments, other) -> tuple[list[str], bool]:
  """What is printed of one case, and whether it is right."""
  fused, plain = run('cudnn', arrays), run('xla', arrays)
  with jax.default_matmul_precision('highest'):
    exact = run('xla', [x.astype(jnp.float32) for x in arrays])
  off, off_exact = rms(fused, plain), rms(fused, exact)

  mask = segments == 2
  # Scores near 1e5; float16's range leaves a bias that hides 3e4 at most.
  large = 300 if DTYPE.value == 'bfloat16' else 10
  changed = [
    jnp.where(mask[..., None, None], large * b, a).astype(a.dtype)
    for a, b in zip(arrays, other, strict=True)
  ]
  leak = most(fused, run('cudnn', changed), ~mask)
  again = most(fused, run('cudnn', arrays), ~mask)
  apart = leak[0] == 0 and all(
    a <= 2 * b for a, b in zip(leak[1:], again[1:], strict=True)
  )

  deep = [*arrays]
  root = arrays[0].shape[-1] ** 0.5
  deep[0] = (0.1 * deep[0]).at[..., 0].set(1.0)
  deep[1] = (0.1 * deep[1]).at[..., 0].set(-100.0 * root)
  finite = all(
    np.isfinite(np.float32(y)).all() for y in (*fused, *run('cudnn', deep))
  )
  cells = [f'{off:.1e}', f'{off_exact:.1e}', f'{max(leak):.1e}', str(finite)]
  return cells, off < LIMIT and off_exact < LIMIT and apart and finite


def times(run, arrays) -> list[str]:
  """Milliseconds of both and their ratio, round by round."""
  taken = {'cudnn': [], 'xla': []}
  for _ in range(ROUNDS.value + 2):  # the first two warm up
    for backend, spent in taken.items():
      start = time.perf_counter()
      jax.block_until_ready(run(backend, arrays))
      spent.append(1e3 * (time.perf_counter() - start))
  fused, plain = (spent[2:] for spent in taken.values())
  ratio = statistics.median(b / a for a, b in zip(fused, plain, strict=True))
  medians = [statistics.median(spent) for spent in (fused, plain)]
  return [*(f'{ms:.2f}' for ms in medians), f'{ratio:.2f}']


def main(argv):
  del argv
  if jax.default_backend() != 'gpu':
    sys.exit(
      'no NVIDIA GPU is here, and cuDNN runs on nothing else: jax found '
      f'{jax.devices()[0].device_kind}'
    )
  form = '{:6} {:>5} {:>5} {:>6}' + 4 * ' {:>8}' + 3 * ' {:>9}'
  head = 'body heads width length off off-f32 leak finite cudnn-ms xla-ms ratio'
  print(jax.devices()[0].device_kind, DTYPE.value)
  print(form.format(*head.split()))
  wrong = 0
  for name in BODIES.value:
    config = VARIANTS[name]
    for length in map(int, LENGTHS.value):
      rows = max(2, TOKENS.value // length)
      shape = rows, length, config.num_heads, config.head_dim
      segments = packed(rows, length)
      run = lambda backend, arrays, segments=segments: both(
        *arrays, segments, backend=backend, causal=CAUSAL.value
      )
      arrays = normal(0, shape, DTYPE.value)
      cells, right = check(run, arrays, segments, normal(1, shape, DTYPE.value))
      wrong += not right
      spent = times(run, arrays) if ROUNDS.value else ['', '', '']
      heads = config.num_heads, config.head_dim
      print(
        form.format(name, *heads, length, *cells, *spent),
        '' if right else 'WRONG',
        flush=True,
      )
  sys.exit(1 if wrong else 0)


if __name__ == '__main__':
  app.run(main)
