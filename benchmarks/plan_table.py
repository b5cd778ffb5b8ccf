"""Which recipe fits which TPU slice, how, and how fast it can be: one table.

  python -m benchmarks.plan_table [--models=base,xl] [--topologies=v5e:4x4]

For base, large, XL and XXL on v5e, v5p and v6e slices of 4 to 256 chips the
mesh, micro-batches and remat policy that look best by arithmetic are compiled
by the real TPU compiler (pip install 'xlmr_jax[plan]'), and the next best
where a tenth of the memory is not left. Each topology has a process of its
own; what was compiled stands in --results, and a run that was killed goes on
there. The table goes to docs/pods_table.md.
"""

import json
import pathlib
import subprocess
import sys

from absl import app, flags
import tqdm

from configs import pretrain
from xlmr_jax.plan import sweep
from xlmr_jax.runtime import chips

ROOT = pathlib.Path(__file__).resolve().parent.parent
GIB = chips.GIB
SLICES = ('2x2', '4x4', '8x8', '16x16')
CUBES = ('2x2x1', '2x2x4', '4x4x4', '4x8x8')
TABLE = (
  *(f'v5e:{size}' for size in SLICES),
  *(f'v5p:{size}' for size in CUBES),
  *(f'v6e:{size}' for size in SLICES),
)
NAMES = {'base': 'base', 'large': 'large', 'xl': 'XL', 'xxl': 'XXL'}

MODELS = flags.DEFINE_list('models', list(NAMES), 'Which.')
TOPOLOGIES = flags.DEFINE_list('topologies', list(TABLE), 'Which.')
TRIES = flags.DEFINE_integer('tries', 4, 'Compiles of one cell at most.')
RESULTS = flags.DEFINE_string(
  'results', str(ROOT / 'docs' / 'pods_table.jsonl'), 'What was compiled.'
)
OUT = flags.DEFINE_string('out', 'docs/pods_table.md', 'The table.')
CELL = flags.DEFINE_string('cell', '', 'Only compile this: base@v5e:4x4.')


def recipe(model):
  """The shipped recipe; mesh, micro-batches and remat are the table's."""
  config = pretrain.get_config(f'model={model}')
  config.slices = 1
  return config


def compile_cell(cell):
  """Compiles until something fits; the results' file keeps everything."""
  model, _, name = cell.partition('@')
  try:
    sweep.sweep(
      recipe(model),
      name,
      limit=TRIES.value,
      results=RESULTS.value,
      enough=1,
      note={'cell': cell},
    )
  except sweep.TooSmall as error:
    with open(RESULTS.value, 'a') as file:
      line = {'key': cell, 'cell': cell, 'needed': error.needed, 'best': True}
      file.write(json.dumps(line) + '\n')


def read():
  """Cell → its reports, the best first."""
  out = {}
  path = pathlib.Path(RESULTS.value)
  for line in path.read_text().splitlines() if path.exists() else ():
    try:
      facts = json.loads(line)
    except json.JSONDecodeError:
      continue
    out.setdefault(facts['cell'], []).append(facts)
  return {cell: sorted(found, key=sweep.rank) for cell, found in out.items()}


def done(reports):
  """Whether a cell needs no more compiling."""
  return bool(reports) and (
    not sweep.rank(reports[0])[0]
    or len(reports) >= TRIES.value
    or 'best' in reports[0]
  )


def row(model, name, reports):
  """One line of the table."""
  best = reports[0]
  chip = chips.topology(name)
  head = f'| {NAMES[model]} | {name} | {chip.count} '
  if 'memory' not in best:
    needed = (best['needed'] or 0) / GIB
    return (
      f'{head}| does not fit | | | {needed:.0f} needed of '
      f'{chip.chip.memory / GIB:.2f} | | | |'
    )
  memory, mesh = best['memory'], best['mesh']
  if memory['free'] < 0:
    head += '| does not fit; the least tried: '
  else:
    head += '| '
  return (
    f'{head}{mesh["data"]}, {mesh["fsdp"]}, {mesh["tensor"]} '
    f'| {best["accumulate"]} | {best["remat"]} '
    f'| {memory["total"] / GIB:.1f} ({100 * memory["free"]:.0f} % free) '
    f'| {best["tokens_per_second"] / 1e3:,.0f} k '
    f'| {100 * best["mfu_bound"]:.0f} % '
    f'| {best["compile_seconds"]:.0f} |'
  )


def write(results):
  lines = [
    '# What fits where',
    '',
    'Made by `python -m benchmarks.plan_table`: the training step of each',
    'recipe in configs/pretrain.py (bfloat16, f32 parameters and moments,',
    'AdamW; batches of the recipe) compiled by the TPU compiler for slices',
    'that were not there. Mesh is (data, fsdp, tensor); GiB are those of a',
    'chip, by the compiler. Tokens/s and MFU are bounds: the longest of',
    'compute at the peak, memory traffic and links (see `python -m',
    'xlmr_jax.plan --help`), with full rows and all else overlapped. The',
    'last column is the compile time in seconds, on two cores that other work',
    'kept busy: XXL on v5p:4x4x4 took 62 s with nothing else running.',
    '',
    '| model | slice | chips | mesh | micro-batches | remat | GiB a chip '
    '| tokens/s < | MFU < | compile |',
    '|---|---|---|---|---|---|---|---|---|---|',
  ]
  for name in TABLE:
    for model in NAMES:
      if reports := results.get(f'{model}@{name}'):
        lines.append(row(model, name, reports))
  cells = [f'{NAMES[m]} {t}' for t in TABLE for m in NAMES]
  known = {f'{NAMES[m]} {t}' for m, _, t in (c.partition('@') for c in results)}
  if left := [cell for cell in cells if cell not in known]:
    lines += ['', f'Not compiled yet: {", ".join(left)}.']
  pathlib.Path(OUT.value).write_text('\n'.join(lines) + '\n')


def main(argv):
  del argv
  if CELL.value:
    compile_cell(CELL.value)
    return
  cells = [f'{m}@{t}' for t in TOPOLOGIES.value for m in MODELS.value]
  for cell in tqdm.tqdm(cells, unit='cell'):
    if not done(read().get(cell)):
      subprocess.run(
        [
          *(sys.executable, '-m', 'benchmarks.plan_table', f'--cell={cell}'),
          *(f'--results={RESULTS.value}', f'--tries={TRIES.value}'),
        ],
        check=True,
      )
    write(read())
  write(read())


if __name__ == '__main__':
  app.run(main)
