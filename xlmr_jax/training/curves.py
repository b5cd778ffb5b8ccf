"""A run's curves as a picture: the loss, and the loss in each language.

  xlmr curves runs/small
  xlmr curves runs/small runs/other --output=both.png

The left side shows the training loss of each run, the right side its
evaluations: the held-out loss of each language for pretraining, with a tick at
the loss of the language's token frequencies alone; else the scores. The runs
need not be finished.
"""

import json
import pathlib

from absl import flags

from xlmr_jax.runtime import storage


def define_flags(values: flags.FlagValues = flags.FLAGS) -> None:
  """The command's flags."""
  flags.DEFINE_string(
    'output',
    None,
    'Picture to write, .png, .pdf or .svg; by default curves.png in the first '
    'workdir.',
    flag_values=values,
  )


def read(workdir) -> list[dict]:
  """The records of a run's metrics.jsonl.

  Raises:
    ValueError: there are none.
  """
  path = pathlib.Path(workdir) / 'metrics.jsonl'
  out = []
  if path.exists():
    for text in path.read_text().splitlines():
      try:
        out.append(json.loads(text))
      except json.JSONDecodeError:
        continue  # being written
  if not out:
    raise ValueError(f'{path} has no records: is {workdir} a run that began?')
  return out


def draw(workdirs):
  """The picture of some runs.

  Returns:
    A matplotlib Figure.

  Raises:
    ValueError: a run without records, or no matplotlib.
  """
  try:
    from matplotlib import colormaps
    from matplotlib.figure import Figure
  except ImportError as error:
    raise ValueError(
      "curves are drawn with matplotlib: pip install 'xlmr_jax[plots]'"
    ) from error
  runs = {pathlib.Path(w).name: read(w) for w in workdirs}
  figure = Figure(figsize=(11, 4.2), layout='constrained')
  left, right = figure.subplots(1, 2)
  right.set_prop_cycle(color=colormaps['tab20'].colors)
  for name, records in runs.items():
    losses = [(r['step'], r['loss']) for r in records if 'loss' in r]
    left.plot(*zip(*losses, strict=True), label=name, linewidth=0.9)
    curves = {}
    for record in records:
      for key, value in record.items():
        kind, _, part = key.partition('/')
        if part and kind != 'unigram':
          curves.setdefault((kind, part), []).append((record['step'], value))
    last = {k: v for record in records for k, v in record.items()}
    for (kind, part), points in sorted(curves.items()):
      label = part if len(runs) == 1 else f'{name} {part}'
      (line,) = right.plot(*zip(*points, strict=True), marker='.', label=label)
      if f'unigram/{part}' in last:
        # At the margin: the loss that needs no context.
        right.plot(
          [1.0, 1.02],
          [last[f'unigram/{part}']] * 2,
          transform=right.get_yaxis_transform(),
          color=line.get_color(),
          clip_on=False,
        )
      right.set_ylabel(kind.replace('_', ' '))
  left.set(xlabel='step', ylabel='training loss (nats)')
  right.set(xlabel='step', title='ticks at the right: unigram entropy')
  if not any('unigram' in r for records in runs.values() for r in records):
    right.set_title('')
  for axes in (left, right):
    axes.grid(alpha=0.3)
    if axes.lines and (axes is right or len(runs) > 1):
      axes.legend(fontsize=7, ncols=2)
  return figure


def main(argv, options: flags.FlagValues = flags.FLAGS) -> None:
  """Draws argv[1:]."""
  if len(argv) < 2:
    raise ValueError('give the workdir of a run, or several; --help tells more')
  output = options.output or str(pathlib.Path(argv[1]) / 'curves.png')
  figure = draw(argv[1:])
  try:
    with storage.whole_file(output) as temporary:
      kind = pathlib.Path(output).suffix.removeprefix('.') or 'png'
      figure.savefig(temporary, format=kind, dpi=150)
  except ValueError as error:
    raise ValueError(f'--output={output}: {error}') from error
  print(f'wrote {output}')
