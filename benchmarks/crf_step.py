"""What a linear chain costs: a tagging step with the CRF beside one without.

  python -m benchmarks.crf_step [--rounds=15] [--variants=tiny,small,base]

Both sides are the train loop's own update on the same body, batch and number
of labels, f32, dropout 0.1, AdamW; they differ in the objective alone. Two
examples share each row and two of three positions carry a label. A round is
one step of each side, and the ratio is taken round by round. Printed per
body: medians, the median ratio and its extremes.
"""

import dataclasses
import statistics
import time

from absl import app, flags
import jax
import numpy as np

from configs import common
from xlmr_jax import heads
from xlmr_jax.model import VARIANTS
from xlmr_jax.runtime import sharding
from xlmr_jax.tasks import schemes
from xlmr_jax.training import objectives
from xlmr_jax.training import step as training

ROUNDS = flags.DEFINE_integer('rounds', 15, 'Rounds of each side.')
NAMES = flags.DEFINE_list('variants', ['tiny', 'small', 'base'], 'Bodies.')
ROWS = flags.DEFINE_integer('rows', 16, 'Rows of a batch.')
LENGTH = flags.DEFINE_integer('length', 128, 'Tokens of a row.')
# Nine labels: CoNLL's.
LABELS = (
  'O',
  *(f'{b}-{x}' for x in ('PER', 'ORG', 'LOC', 'MISC') for b in 'BI'),
)


def batch(vocab: int) -> dict[str, np.ndarray]:
  rng = np.random.default_rng(0)
  size = ROWS.value, LENGTH.value
  half = LENGTH.value // 2
  places = np.tile(np.arange(LENGTH.value), (ROWS.value, 1))
  # Only O and B-: any order of them is allowed.
  tags = rng.choice([0, 1, 3, 5, 7], size)
  arrays = dict(
    tokens=rng.integers(4, vocab, size),
    segments=1 + (places >= half),
    positions=places % half,
    starts=np.tile([0, half], (ROWS.value, 1)),
    labels=np.where(places % 3 == 0, -1, tags),
  )
  return {name: array.astype(np.int32) for name, array in arrays.items()}


def stepper(config, objective, mesh):
  """A function that makes one training step and waits for it."""
  fresh = lambda key: heads.init(config, key, objective.head, len(LABELS))
  recipe = common.base()
  recipe.optim.learning_rate = 1e-5
  trained = training.build(config, objective, recipe, 10_000, mesh, fresh=fresh)
  params = jax.jit(fresh, out_shardings=trained.layout)(jax.random.key(0))
  state = trained.fresh_state(params)
  inputs = sharding.place_batch(batch(config.vocab_size), mesh)

  def step():
    nonlocal params, state
    params, state, metrics = trained.update(params, state, inputs)
    return jax.device_get(metrics['loss'])

  return step


def main(argv):
  del argv
  mesh = sharding.make_mesh()
  for name in NAMES.value:
    config = dataclasses.replace(
      VARIANTS[name], attention_dropout=0.0, vocab_size=16_000
    )
    sides = {
      'tag': objectives.tag(config, LABELS),
      'crf': objectives.crf(config, LABELS, schemes.allowed('BIO', LABELS)),
    }
    with jax.set_mesh(mesh):
      steps = {k: stepper(config, side, mesh) for k, side in sides.items()}
      for step in steps.values():
        step(), step()
      times = {side: [] for side in steps}
      for _ in range(ROUNDS.value):
        for side, step in steps.items():
          start = time.perf_counter()
          step()
          times[side].append(time.perf_counter() - start)
    ratios = sorted(
      b / a for a, b in zip(times['tag'], times['crf'], strict=True)
    )
    medians = {side: 1e3 * statistics.median(t) for side, t in times.items()}
    print(
      f'{name}: tag {medians["tag"]:.1f} ms, crf {medians["crf"]:.1f} ms, '
      f'ratio {statistics.median(ratios):.2f} '
      f'[{ratios[0]:.2f}-{ratios[-1]:.2f}]',
      flush=True,
    )


if __name__ == '__main__':
  app.run(main)
