"""What `xlmr eval` writes and prints: results.json, and a table to read."""

from collections.abc import Mapping
import json
import pathlib

from xlmr_jax.eval.benchmarks import benchmark
from xlmr_jax.eval.evaluate import Result
from xlmr_jax.eval.metrics import scores
from xlmr_jax.eval.suite import summary
from xlmr_jax.eval.task import Task


def write(
  folder: pathlib.Path,
  result: Result,
  facts: Mapping,
  others: Mapping[str, dict],
) -> None:
  """Writes results.json and the predictions, and prints the scores.

  Args:
    folder: for both.
    result: of an evaluation.
    facts: what results.json holds, as facts_of gives it, and 'missing'.
    others: name → scores of the task to show beside these.
  """
  split = facts['split']
  written = benchmark.write_predictions(folder / 'predictions', result, split)
  summary.write_json(folder / 'results.json', facts)
  print(scores_table(result, split, others))
  for name, values in result.parts.items():
    if name in result.task.beside:
      print(f'{name}: {_cell(scores.mean(list(values.values())))}')
  for text in facts['missing']:
    print(f'missing: {text}')
  for note in result.notes:
    print(f'note: {note}')
  print(
    f'{result.tokens:,} tokens, {result.tokens_per_second:,.0f} a second; '
    f'{result.packing_efficiency:.2f} % of the computed ones are real\n'
    f'wrote {folder / "results.json"} and {written}'
  )


def facts_of(result: Result, checkpoint: str, split: str) -> dict:
  """What results.json holds: per cent, null where there are no labels."""
  name = result.task.name
  return {
    'benchmark': name,
    'checkpoint': checkpoint,
    'split': split,
    'tasks': {name: summary.facts_of(result)},
    'tokens_per_second': result.tokens_per_second,
    'packing_efficiency': result.packing_efficiency,
    'notes': list(result.notes),
  }


def read_beside(text: str, task: Task) -> tuple[str, dict]:
  """NAME=path/results.json → the name, and that file's part on the task."""
  name, _, path = text.partition('=')
  if not name or not path:
    raise ValueError(f'--beside={text}: write NAME=path/results.json')
  try:
    results = json.loads(pathlib.Path(path).read_text(encoding='utf-8'))
    part = results['tasks'][task.name]
    metric, _, _ = part['metric'], part['languages'], part['average']
  except (json.JSONDecodeError, KeyError, TypeError) as error:
    raise ValueError(
      f'--beside: {path} is no results.json of {task.name}'
    ) from error
  if metric != task.metric:
    raise ValueError(f'--beside: {path} has {metric}, not {task.metric}')
  return name, part


def scores_table(result: Result, split: str, others: Mapping[str, dict]) -> str:
  """Languages down; score, the runs beside it, chance and majority across."""
  columns = [
    ('score', result.scores),
    *((name, part['languages']) for name, part in others.items()),
    ('chance', dict.fromkeys(result.scores, result.chance)),
    ('majority', result.majority),
  ]
  counts = {name: len(part) for name, part in result.predictions.items()}
  groups = {name: [name] for name in counts}
  groups['average'] = list(counts)
  # Zero-shot is about the languages that the model was not fine-tuned on.
  rest = [name for name in counts if name != result.task.source]
  if 0 < len(rest) < len(counts):
    groups[f'all but {result.task.source}'] = rest
  counted = 'pairs' if result.task.metric == 'pair_f1' else 'examples'
  cells = [['', counted, *(name for name, _ in columns)]]
  for title, names in groups.items():
    values = [
      scores.mean([column.get(name) for name in names]) for _, column in columns
    ]
    count = f'{sum(counts[name] for name in names):,}'
    cells.append([title, count, *map(_cell, values)])
  widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
  lines = [
    '  '.join(
      cell.rjust(width) if i else cell.ljust(width)
      for i, (cell, width) in enumerate(zip(row, widths, strict=True))
    )
    for row in cells
  ]
  lines.insert(1 + len(counts), '-' * len(lines[0]))
  title = f'{result.task.name} {split}: {result.task.metric}'
  return '\n'.join(['', title, *lines, ''])


def _cell(value: float | None) -> str:
  return '-' if value is None else f'{value:.2f}'


def submission_table(results: Mapping) -> str:
  """Scores of a submission, as Benchmark.score gives them: a task a line."""
  lines = []
  for name, task in results['tasks'].items():
    parts = ', '.join(
      f'{part} {values["average"]:.2f}'
      for part, values in task['parts'].items()
      if values['average'] is not None
    )
    average = _mean(task['average'])
    lines.append(f'{name:10} {task["metric"]:9} {average}  {parts}'.rstrip())
  means = {**results['groups'], 'overall': results['overall']}
  lines += [f'{name:20} {_mean(value)}' for name, value in means.items()]
  for kind in ('missing', 'problems', 'notes'):
    lines += [f'{kind}: {text}' for text in results[kind]]
  return '\n'.join(lines)


def _mean(value: float | None) -> str:
  return f'{"incomplete" if value is None else f"{value:.2f}":>10}'
