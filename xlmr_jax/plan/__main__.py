"""Plans a run on a machine that need not exist.

  python -m xlmr_jax.plan --config=configs/pretrain.py:model=xl \\
      --topology=v5e:4x4
  python -m xlmr_jax.plan --config=configs/pretrain.py:model=base \\
      --topology=v6e:2x4 --config.accumulate=16 --config.remat=dots \\
      --tokens=1e12 --price=1.2
  python -m xlmr_jax.plan --config=configs/pretrain.py:model=large \\
      --topology=v5p:4x4x4 --sweep
  python -m xlmr_jax.plan --config=configs/pretrain.py:model=base \\
      --topology=h100:2x8 --json
  python -m xlmr_jax.plan --config=configs/finetune.py:task=xnli,model=large \\
      --topology=v5e:4x4 --config.dtype=bfloat16 --price=1.2
  python -m xlmr_jax.plan --config=configs/finetune.py:task=mine,model=base \\
      --topology=h100:1 --config.labels='("no","yes")' --examples=60000 \\
      --mean_length=45

Compiles the very step that train.py would run with the TPU compiler, which
needs no TPU: pip install 'xlmr_jax[plan]'. It prints the bytes of a chip, the
FLOPs, what is sent over which mesh axes, and how fast the step can be at
best. No text and no tokenizer is needed. --topology names one slice; with
--config.slices=2 there are two of it. GPUs are estimated: arithmetic, and the
memory that the CPU's compiler would use.

Of a fine-tuning it also says how many steps, hours and what cost: from the
number of examples and their mean length in tokens, which are known of the
benchmarks' training sets, counted where config.tokenizer and config.data_dir
are set, or given by --examples and --mean_length. The time is a bound: no run
is faster, and evaluations and saves come on top.
"""

import json
import sys

from absl import flags
import tqdm

from xlmr_jax.plan import aot
from xlmr_jax.plan import sweep as sweeps
from xlmr_jax.runtime import chips, commands, recipes
from xlmr_jax.runtime.sharding import MESH
from xlmr_jax.training import overview

GIB = chips.GIB


def define_flags(values: flags.FlagValues = flags.FLAGS) -> None:
  """The command's flags."""
  recipes.define_flag(values, 'Recipe, e.g. pretrain:model=xl')
  flags.DEFINE_string(
    'topology',
    '',
    'Chips of one slice, e.g. v5e:4x4, v5p:4x4x4, h100:2x8.',
    flag_values=values,
  )
  flags.DEFINE_string(
    'sweep_file',
    '',
    'What was compiled; a killed sweep goes on from it.',
    flag_values=values,
  )
  flags.DEFINE_string(
    'hlo', '', 'File to write the compiled program to.', flag_values=values
  )
  flags.DEFINE_integer(
    'vocab_size',
    0,
    "Pieces of the tokenizer; 0: the variant's own.",
    lower_bound=0,
    flag_values=values,
  )
  flags.DEFINE_integer(
    'sweep_limit',
    12,
    'How many to compile.',
    lower_bound=1,
    flag_values=values,
  )
  flags.DEFINE_float(
    'tokens',
    0.0,
    'Tokens to train on, e.g. 1e12.',
    lower_bound=0.0,
    flag_values=values,
  )
  flags.DEFINE_integer(
    'examples',
    0,
    'Of a fine-tuning; 0: by its data, or as the benchmark counts them.',
    lower_bound=0,
    flag_values=values,
  )
  flags.DEFINE_float(
    'mean_length',
    0.0,
    'Tokens of an example of a fine-tuning, or of a window of a long one.',
    lower_bound=0.0,
    flag_values=values,
  )
  flags.DEFINE_float(
    'price',
    0.0,
    'Of one chip for an hour.',
    lower_bound=0.0,
    flag_values=values,
  )
  flags.DEFINE_float(
    'mfu',
    0.0,
    'Hours and cost at this MFU, e.g. 0.4; 0: at the bound.',
    lower_bound=0.0,
    upper_bound=1.0,
    flag_values=values,
  )
  flags.DEFINE_bool(
    'sweep',
    False,
    'Try meshes, micro-batches and remat policies; rank them.',
    flag_values=values,
  )
  flags.DEFINE_bool('json', False, 'Print one JSON object.', flag_values=values)


def cost(facts: dict, tokens: float, price: float, mfu: float = 0.0) -> dict:
  """Hours, chip-hours and cost of a number of tokens."""
  rate = facts['tokens_per_second'] * (mfu / facts['mfu_bound'] if mfu else 1)
  hours = tokens / rate / 3600
  return {
    'tokens': tokens,
    'mfu': mfu or facts['mfu_bound'],
    'hours': hours,
    'chip_hours': hours * facts['chips'],
    'cost': hours * facts['chips'] * price,
  }


def show(facts: dict) -> str:
  """A report for people."""
  memory, times = facts['memory'], facts['seconds']
  mesh = ' x '.join(f'{k} {v}' for k, v in facts['mesh'].items() if v > 1)
  lines = [
    f'{facts["slices"]} x '
    * (facts['slices'] > 1)
    + f'{facts["topology"]}, {facts["chips"]} chips: mesh {mesh or "1"}; '
    f'{facts["rows"]:,} rows of {facts["row_length"]} in '
    f'{facts["accumulate"]} micro-batches, {facts["dtype"]}, remat '
    f'{facts["remat"]}',
  ]
  trained, total = facts['trained']
  if trained < total:
    lines.append(overview.describe_share(trained, total))
  if facts['estimate']:
    lines.append(
      "ESTIMATE: memory and collectives are the CPU compiler's, with plain "
      'attention; a GPU needs other temporaries, mostly fewer'
    )
  lines += describe_data(facts)
  lines += ['', 'Memory of a chip, GiB']
  for name in ('parameters', 'optimizer', 'temporaries', 'code', 'other'):
    lines.append(f'  {name:14}{memory[name] / GIB:9.3f}{_WHAT.get(name, "")}')
  verdict = f'{100 * memory["free"]:.0f} % free'
  if memory['free'] < 0:
    over = memory['total'] - memory['available']
    verdict = f'DOES NOT FIT, {over / GIB:.2f} too many'
  elif memory['free'] < sweeps.MARGIN:
    verdict += ', which is little: evaluating and saving take some too'
  lines.append(
    f'  {"total":14}{memory["total"] / GIB:9.3f}  of '
    f'{memory["available"] / GIB:.2f}: {verdict}'
  )
  lines += ['', f'{"FLOPs":16}{"a token":>12}{"a step":>12}']
  for name, value in facts['flops_per_token'].items():
    step = facts['flops_per_step'][name]
    lines.append(f'  {name:14}{value:12.3e}{step:12.3e}{_WHAT.get(name, "")}')
  lines += ['', f'{"Sent by a chip":36}{"times":>7}{"GB a step":>11}']
  for row in facts['collectives']:
    lines.append(
      f'  {row["kind"]:20}{row["axes"]:14}{row["count"]:7,}'
      f'{row["bytes"] / 1e9:11.4f}'
    )
  if facts['loops_of_unknown_length']:
    lines.append(
      f'  ({facts["loops_of_unknown_length"]} loops of unknown length were '
      'counted once)'
    )
  lines += ['', 'A step takes at least, ms']
  for name in ('compute', 'memory', 'network', 'between'):
    if times[name]:
      lines.append(f'  {name:14}{1e3 * times[name]:12.3f}{_WHY[name]}')
  lines += [
    '',
    f'At best {facts["tokens_per_second"]:,.0f} tokens/s, MFU '
    f'{100 * facts["mfu_bound"]:.1f} %, if everything overlaps and all rows '
    'are full;',
    f'{100 * facts["mfu_bound"] * times["bound"] / times["in_turn"]:.1f} % if '
    'nothing does. Real runs reach 40 to 70 % of the peak where nothing but '
    'compute is in the way.',
  ]
  if 'run' in facts:
    run = facts['run']
    digits = 1 if run['hours'] >= 10 or 'training_set' not in facts else 3
    least = '' if run['mfu'] != facts['mfu_bound'] else ' at least'
    lines.append(
      f'{run["tokens"]:.3g} tokens at {100 * run["mfu"]:.1f} % MFU:'
      f'{least} {run["hours"]:,.{digits}f} hours, '
      f'{run["chip_hours"]:,.{digits - 1}f} chip-hours'
      + f', cost {run["cost"]:,.{digits - 1}f}'
      * bool(run['cost'])
    )
    if 'training_set' in facts:
      lines.append('without compiling, reading, evaluating and saving')
  lines.append(f'Compiled in {facts["compile_seconds"]:.1f} s.')
  return '\n'.join(lines)


def describe_data(facts: dict) -> list[str]:
  """What a fine-tuning reads, and in how many steps."""
  if 'training_set' not in facts:
    return []
  data = facts['training_set']
  epochs = f', {data["epochs"]:g} epochs' if data['epochs'] else ''
  windows = ''
  if data['features'] != data['examples']:
    windows = f' in {data["features"]:,} parts'
  lines = [
    f'{data["examples"]:,} examples{windows} of {data["mean_length"]:.1f} '
    f'tokens ({data["source"]}): {data["steps"]:,} steps{epochs}',
  ]
  if data['init']:
    lines.append(
      f'The body is that of config.variant={data["variant"]}: config.init='
      f'{data["init"]} is not read'
    )
  if not 0.8 < data['per_step'] / data['batch_size'] < 1.25:
    lines.append(
      f'A batch has {data["per_step"]:.1f} of them, not config.batch_size='
      f'{data["batch_size"]}: its rows are a multiple of what the mesh and '
      'config.accumulate cut it into. Scores are published of other batches; '
      'fewer chips, or shorter rows, come nearer'
    )
  return lines


_WHAT = {
  'temporaries': '  activations, gradients, gathered weights',
  'other': '  batch, padding of tiles',
  'forward': '  head on the masked share',
  'model': '  3 x forward, less where it is held: what MFU counts',
  'hardware': '  with what remat computes again, and spare slots',
}
_WHY = {
  'compute': '  hardware FLOPs at the bf16 peak',
  'memory': '  weights, state and activations through HBM',
  'network': '  links to the neighbours, or NVLink',
  'between': '  between slices, or nodes',
}


def sweep(config, topology: str, options) -> list[dict]:
  """Reports of a sweep, with a bar."""
  with tqdm.tqdm(
    total=options.sweep_limit, unit='compile', disable=None
  ) as bar:

    def say(facts, left):
      bar.total = bar.n + 1 + left
      bar.update()
      bar.write(ranked([facts]), file=sys.stderr)

    return sweeps.sweep(
      config,
      topology,
      options.vocab_size,
      limit=options.sweep_limit,
      results=options.sweep_file,
      say=say,
    )


def ranked(reports: list[dict], head: bool = False) -> str:
  """One line a report."""
  lines = [
    ''.join(f'{name:>7}' for name in MESH[1:])
    + f'{"micro":>6}  {"remat":6}{"GiB":>8}{"free":>7}'
    + f'{"tokens/s":>13}{"MFU <":>8}'
  ] * head
  for facts in reports:
    mesh = facts['mesh']
    line = (
      ''.join(f'{mesh[name]:7}' for name in MESH[1:])
      + f'{facts["accumulate"]:6}  {facts["remat"]:6}'
    )
    if 'memory' not in facts:
      needed = f'{facts["needed"] / GIB:8.2f}' if facts['needed'] else ' ' * 8
      lines.append(f'{line}{needed}  does not fit')
      continue
    memory = facts['memory']
    lines.append(
      f'{line}{memory["total"] / GIB:8.2f}{100 * memory["free"]:6.0f}%'
      f'{facts["tokens_per_second"]:13,.0f}{100 * facts["mfu_bound"]:7.1f}%'
    )
  return '\n'.join(lines)


def main(argv, options: flags.FlagValues = flags.FLAGS) -> int:
  """Prints the plan; 1 where it does not fit."""
  commands.check_arguments(argv)
  config = options.config
  if config is None:
    raise ValueError('--config is missing; --help shows examples')
  name = options.topology or config.get('topology', '')
  if not name:
    raise ValueError('--topology is missing: the recipe names none')
  pretraining = aot.is_pretraining(config)
  for flag, fits in (
    ('tokens', pretraining),
    ('sweep', pretraining),
    ('examples', not pretraining),
    ('mean_length', not pretraining),
  ):
    if options[flag].value and not fits:
      raise ValueError(
        f'--{flag} is not for '
        + ('pretraining' if pretraining else 'a fine-tuning')
        + f' (config.objective={config.objective})'
      )
  if options.sweep:
    reports = sweep(config, name, options)
    best = reports[0]
  else:
    target = aot.make_target(
      config,
      name,
      options.vocab_size,
      examples=options.examples,
      mean_length=options.mean_length,
    )
    best = aot.report(target, options.hlo)
    reports = [best]
  tokens = options.tokens
  if 'training_set' in best:
    tokens = best['training_set']['steps'] * best['rows'] * best['row_length']
  if tokens and 'memory' in best:
    best['run'] = cost(best, tokens, options.price, options.mfu)
  fits = sweeps.rank(best)[0] < 2
  if options.json:
    print(json.dumps({'reports': reports} if options.sweep else best))
    return int(not fits)
  if options.sweep:
    print(ranked(reports, head=True), end='\n\n')
    if sweeps.rank(best)[0]:
      print(
        f'Nothing of this leaves {100 * sweeps.MARGIN:.0f} % of the memory '
        'free: try more chips, or a larger --sweep_limit.'
      )
      return 1
  print(show(best))
  return int(not fits)


if __name__ == '__main__':
  commands.run(sys.modules[__name__])
