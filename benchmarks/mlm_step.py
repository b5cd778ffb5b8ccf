"""An MLM training step beside Hugging Face PyTorch: one run, alternating.

  python -m benchmarks.mlm_step [--rounds=5] [--variant=base]
  python -m benchmarks.mlm_step --rounds=20 --dtype=bfloat16 --rows=64 \\
      --length=512                        # on a GPU; --compile beside it

Both sides train XLM-R at its real size on 8 rows of 128 tokens, f32, dropout
0.1, AdamW. Hugging Face runs its own recipe (DataCollatorForLanguageModeling,
scores of every position, torch.optim.AdamW), on a GPU where torch sees one,
with --dtype=bfloat16 under autocast; ours scores masked positions only. A
round is one step of each side; a step's masking is part of it. Printed:
medians, ratio, each side's peak memory of the host in a process of its own,
and the MFU (3 x the forward pass's FLOPs, the head on masked positions) where
the chip's peak is known. --peer=False times ours alone.
"""

import json
import resource
import statistics
import subprocess
import sys
import time

from absl import app, flags
import numpy as np

ROUNDS = flags.DEFINE_integer('rounds', 5, 'Rounds of each side.')
VARIANT = flags.DEFINE_enum('variant', 'base', ['base', 'large'], 'Size.')
ROWS = flags.DEFINE_integer('rows', 8, 'Rows of a batch.')
LENGTH = flags.DEFINE_integer('length', 128, 'Tokens of a row.')
DTYPE = flags.DEFINE_enum('dtype', 'float32', ['float32', 'bfloat16'], 'Type.')
COMPILE = flags.DEFINE_bool('compile', False, 'torch.compile their model.')
PEER = flags.DEFINE_bool('peer', True, 'Whether to run their side.')
SIDE = flags.DEFINE_enum(
  'side', '', ['', 'transformers', 'xlmr_jax'], 'One side, for its memory.'
)
VOCAB = 250_002


def tokens(step: int) -> np.ndarray:
  rng = np.random.default_rng(step)
  ids = rng.integers(4, VOCAB - 1, (ROWS.value, LENGTH.value))
  ids[:, 0], ids[:, -1] = 0, 2
  return ids.astype(np.int32)


def transformers_side():
  """Hugging Face's step, as a function of the step's number."""
  import torch
  import transformers

  torch.manual_seed(0)
  large = VARIANT.value == 'large'
  config = transformers.XLMRobertaConfig(
    vocab_size=VOCAB,
    max_position_embeddings=514,
    type_vocab_size=1,
    layer_norm_eps=1e-5,
    hidden_size=1024 if large else 768,
    num_hidden_layers=24 if large else 12,
    num_attention_heads=16 if large else 12,
    intermediate_size=4096 if large else 3072,
  )
  device = 'cuda' if torch.cuda.is_available() else 'cpu'
  model = transformers.XLMRobertaForMaskedLM(config).train().to(device)
  run = torch.compile(model) if COMPILE.value else model
  half = torch.autocast(
    device, dtype=torch.bfloat16, enabled=DTYPE.value == 'bfloat16'
  )
  optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5)

  def step(number):
    ids = torch.tensor(tokens(number)).long()
    # The collator's rule (it needs a tokenizer object for its ids only).
    labels = ids.clone()
    special = (ids == 0) | (ids == 2)
    chosen = torch.bernoulli(torch.full(ids.shape, 0.15))
    chosen = chosen.masked_fill(special, 0).bool()
    labels[~chosen] = -100
    masked = torch.bernoulli(torch.full(ids.shape, 0.8)).bool() & chosen
    ids[masked] = VOCAB - 1
    other = torch.bernoulli(torch.full(ids.shape, 0.5)).bool()
    other = other & chosen & ~masked
    ids[other] = torch.randint(VOCAB, ids.shape)[other]
    with half:
      loss = run(input_ids=ids.to(device), labels=labels.to(device)).loss
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    optimizer.zero_grad()
    return loss.item()

  return step


def our_side():
  """Our train loop's own update, as a function of the step's number."""
  import dataclasses

  import jax

  from configs import common
  from xlmr_jax import heads
  from xlmr_jax.model import VARIANTS
  from xlmr_jax.runtime import sharding
  from xlmr_jax.training import objectives
  from xlmr_jax.training import step as training

  config = dataclasses.replace(
    VARIANTS[VARIANT.value],
    vocab_size=VOCAB,
    vocab_multiple=1024,
    attention_dropout=0.0,
    dtype=DTYPE.value,
  )
  objective = objectives.mlm(
    config,
    mask_id=VOCAB - 1,
    special_ids=(0, 1, 2, 3, VOCAB - 1),
    pieces=(4, VOCAB - 1),
  )
  mesh = sharding.make_mesh()
  recipe = common.base()
  recipe.optim.learning_rate = 1e-5
  trained = training.build(config, objective, recipe, 10_000, mesh)
  jax.set_mesh(mesh).__enter__()
  make = lambda key: heads.init(config, key, 'mlm')
  params = jax.jit(make, out_shardings=trained.layout)(jax.random.key(0))
  state = trained.fresh_state(params)
  places = np.tile(np.arange(LENGTH.value, dtype=np.int32), (ROWS.value, 1))

  def step(number):
    nonlocal params, state
    batch = dict(
      tokens=tokens(number),
      segments=np.ones_like(places),
      positions=places,
    )
    params, state, metrics = trained.update(
      params, state, sharding.place_batch(batch, mesh)
    )
    loss, count = jax.device_get(metrics['loss'])
    return loss / count

  return step


SIDES = {'transformers': transformers_side, 'xlmr_jax': our_side}


def peak_memory(side: str) -> float:
  """GB at the peak of a process that makes two steps of one side."""
  command = [sys.executable, '-m', 'benchmarks.mlm_step', f'--side={side}']
  command += [f'--variant={VARIANT.value}', f'--dtype={DTYPE.value}']
  command += [f'--rows={ROWS.value}', f'--length={LENGTH.value}']
  command += [f'--compile={COMPILE.value}']
  done = subprocess.run(command, capture_output=True, text=True, check=True)
  return json.loads(done.stdout.splitlines()[-1])


def utilisation(rate: float) -> str:
  """A rate's share of the chip's peak, where that is known."""
  import jax

  from xlmr_jax.model import VARIANTS
  from xlmr_jax.runtime import chips

  peak = chips.peak_flops(jax.devices()[0].device_kind)
  if peak is None:
    return ''
  config = VARIANTS[VARIANT.value]
  d = config.model_dim
  head = 0.15 * 2 * (d * d + d * VOCAB)
  return f', MFU {rate * 3 * (config.flops(LENGTH.value) + head) / peak:.1%}'


def main(argv):
  del argv
  if SIDE.value:
    step = SIDES[SIDE.value]()
    step(0), step(1)
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(json.dumps(used * 1024 / 1e9))
    return
  sides = [side for side in SIDES if PEER.value or side != 'transformers']
  memory = {side: peak_memory(side) for side in sides}
  steps = {side: SIDES[side]() for side in sides}
  for step in steps.values():
    step(0)
  times = {side: [] for side in sides}
  for number in range(1, ROUNDS.value + 1):
    for side, step in steps.items():
      start = time.perf_counter()
      step(number)
      times[side].append(time.perf_counter() - start)
  medians = {side: statistics.median(t) for side, t in times.items()}
  for side in sides:
    rate = ROWS.value * LENGTH.value / medians[side]
    print(
      f'{side}: {medians[side]:.3f} s a step, {rate:,.0f} tokens/s, peak '
      f'{memory[side]:.1f} GB{utilisation(rate)}'
    )
  if not PEER.value:
    return
  ratios = sorted(
    a / b for a, b in zip(times['transformers'], times['xlmr_jax'], strict=True)
  )
  ratio = medians['transformers'] / medians['xlmr_jax']
  print(f'ratio {ratio:.2f} [{ratios[0]:.2f}-{ratios[-1]:.2f}]')


if __name__ == '__main__':
  app.run(main)
