"""A benchmark's scores as pictures: every language at a glance.

  heat   tasks down, languages across, a cell a score
  sizes  score against the size of a language's text in a corpus

They need matplotlib: pip install 'xlmr_jax[plots]'.
"""

from collections.abc import Mapping
import pathlib

from xlmr_jax.runtime import storage


def write(
  folder: pathlib.Path, results: Mapping, tokens: Mapping[str, int]
) -> None:
  """Draws heat.png, and sizes.png where a corpus is known.

  Args:
    folder: where they go.
    results: as results.json holds them.
    tokens: {language: tokens of its text}; empty without a corpus.

  Raises:
    ValueError: there is nothing to draw, or no matplotlib.
  """
  figures = {'heat.png': heat(results)}
  if tokens:
    figures['sizes.png'] = sizes(results, tokens)
  for name, figure in figures.items():
    with storage.whole_file(folder / name) as temporary:
      figure.savefig(temporary, format='png', dpi=150)


def _figure(width: float, height: float):
  try:
    from matplotlib.figure import Figure
  except ImportError as error:
    raise ValueError(
      "pictures are drawn with matplotlib: pip install 'xlmr_jax[plots]'"
    ) from error
  figure = Figure(figsize=(width, height), layout='constrained')
  return figure, figure.subplots()


def _scores(results: Mapping) -> dict[str, dict[str, float]]:
  """Task → language → score, of what was scored."""
  out = {}
  for name, task in results['tasks'].items():
    scored = {k: v for k, v in task['languages'].items() if v is not None}
    if scored:
      out[name] = scored
  if not out:
    raise ValueError('there are no scores to draw')
  return out


def heat(results: Mapping):
  """A matplotlib Figure of results.json: each task's languages, coloured.

  Raises:
    ValueError: nothing was scored, or no matplotlib.
  """
  scores = _scores(results)
  languages = sorted(
    {name for task_scores in scores.values() for name in task_scores}
  )
  nothing = float('nan')
  cells = [
    [task_scores.get(name, nothing) for name in languages]
    for task_scores in scores.values()
  ]
  figure, axes = _figure(3 + 0.36 * len(languages), 1.5 + 0.4 * len(scores))
  image = axes.imshow(cells, vmin=0, vmax=100, aspect='auto', cmap='viridis')
  axes.set_xticks(range(len(languages)), languages, fontsize=8)
  axes.set_yticks(range(len(scores)), list(scores), fontsize=8)
  for row, values in enumerate(cells):
    for column, value in enumerate(values):
      if value == value:
        axes.text(
          column,
          row,
          f'{value:.0f}',
          ha='center',
          va='center',
          fontsize=7,
          color='white' if value < 60 else 'black',
        )
  figure.colorbar(image, ax=axes, label='per cent')
  axes.set_title(f'{results["benchmark"]}: {results.get("checkpoint") or ""}')
  return figure


def sizes(results: Mapping, tokens: Mapping[str, int]):
  """A Figure of scores against languages' tokens in a corpus.

  Args:
    results: results.json.
    tokens: language → tokens of its text.

  Raises:
    ValueError: no language is in both, or no matplotlib.
  """
  figure, axes = _figure(8, 5)
  drawn = False
  for name, task_scores in _scores(results).items():
    points = [
      (tokens[k], v, k) for k, v in task_scores.items() if tokens.get(k)
    ]
    if not points:
      continue
    drawn = True
    x, y, names = zip(*sorted(points), strict=True)
    axes.plot(x, y, 'o', markersize=4, label=name)
    for place in zip(names, x, y, strict=True):
      axes.annotate(place[0], place[1:], fontsize=6)
  if not drawn:
    raise ValueError('no language of the results is in the corpus')
  axes.set(xscale='log', xlabel='tokens in the corpus', ylabel='per cent')
  axes.grid(alpha=0.3)
  axes.legend(fontsize=7)
  return figure
