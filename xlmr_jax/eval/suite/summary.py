"""The results of a benchmark's evaluations: results.json, and its tables."""

from collections.abc import Mapping, Sequence
import pathlib
import statistics

from xlmr_jax.eval.benchmarks import published, table
from xlmr_jax.eval.evaluate import Result
from xlmr_jax.eval.metrics import scores
from xlmr_jax.runtime import storage


def facts_of(result: Result) -> dict:
  """A task's part of results.json."""
  with_average = lambda values: {
    'languages': dict(values),
    'average': scores.mean([values.get(n) for n in result.scores]),
  }
  out = {
    'metric': result.task.metric,
    **with_average(result.scores),
    'parts': {
      name: with_average(values) for name, values in result.parts.items()
    },
  }
  if result.thresholds:
    out['thresholds'] = dict(result.thresholds)
  if result.task.vectors:
    out['vectors'] = dict(result.task.vectors)
  return out


def joined(parts: Sequence[dict]) -> dict:
  """The facts of a task that was evaluated a few languages at a time."""
  if len(parts) == 1:
    return parts[0]

  def merge(parts):
    merged = {k: v for part in parts for k, v in part['languages'].items()}
    return {
      'languages': merged,
      'average': scores.mean(list(merged.values())),
    }

  notes = [note for part in parts for note in part.get('notes', ())]
  return {
    **parts[0],
    **merge(parts),
    'parts': {
      name: merge([part['parts'][name] for part in parts])
      for name in parts[0]['parts']
    },
    'packing_efficiency': statistics.mean(
      part['packing_efficiency'] for part in parts
    ),
    'notes': list(dict.fromkeys(notes)),
  }


def summary(config, evaluations: Mapping[str, Sequence[dict]]) -> dict:
  """results.json of tasks: means over seeds, groups, the overall score."""
  benchmark = table.find(config.benchmark)
  tasks = {}
  for name, runs in evaluations.items():
    languages = benchmark[name].languages
    whole = all(set(run['languages']) == set(languages) for run in runs)
    row = {'metric': runs[0]['metric'], **_over_seeds(runs, whole)}
    row['split'] = runs[0].get('split', config.split)
    row['parts'] = {
      part: _over_seeds([run['parts'][part] for run in runs], whole)
      for part in runs[0]['parts']
    }
    for key in ('thresholds', 'vectors', 'packing_efficiency', 'notes'):
      if runs[0].get(key):
        row[key] = runs[0][key]
    tasks[name] = row
  return {
    'benchmark': config.benchmark,
    'model': config.model,
    'checkpoint': config.init,
    'split': config.split,
    'protocol': config.get('protocol', 'zero-shot'),
    'tasks': tasks,
    **benchmark.means(tasks),
  }


def _over_seeds(runs: Sequence[dict], whole: bool) -> dict:
  """Means over seeds; with several seeds also standard deviations.

  The average is None where a language is missing or was not scored: it could
  not be compared with others.
  """

  def over(function, get):
    values = [get(run) for run in runs]
    return None if None in values else function(values)

  names = list(runs[0]['languages'])
  out = {
    'languages': {
      n: over(statistics.mean, lambda run, n=n: run['languages'].get(n))
      for n in names
    },
    'average': over(statistics.mean, lambda run: run['average'])
    if whole
    else None,
  }
  if len(runs) > 1:
    out['deviation'] = {
      'languages': {
        n: over(statistics.stdev, lambda run, n=n: run['languages'].get(n))
        for n in names
      },
      'average': over(statistics.stdev, lambda run: run['average'])
      if whole
      else None,
    }
  return out


def markdown(config, results: dict) -> str:
  """Markdown: a table a task, ours, the published row and the difference."""
  title = f'{results["benchmark"]}, {results["checkpoint"] or "fresh"}'
  lines = [f'# {title}: {results["protocol"]}', '']
  benchmark = table.find(results['benchmark'])
  for name, task in results['tasks'].items():
    theirs = _published(config.model, name, task, results)
    lines += [f'## {name} {task["split"]}: {task["metric"]}, per cent', '']
    head = ['', *task['languages'], 'mean']
    ours = [*task['languages'].values(), task['average']]
    rows = [['ours', *map(_cell, ours)]]
    if 'deviation' in task:
      spread = task['deviation']
      values = [*spread['languages'].values(), spread['average']]
      rows.append(['±', *map(_cell, values)])
    for part, values in task['parts'].items():
      cells = [*values['languages'].values(), values['average']]
      rows.append([part.replace('_', ' '), *map(_cell, cells)])
    if theirs:
      printed = [theirs.languages.get(n) for n in task['languages']]
      printed.append(theirs.average)
      rows.append(['published', *map(_cell, printed)])
      rows.append(['difference', *map(_less, ours, printed)])
    lines += [_line(head), _line(['---'] * len(head)), *map(_line, rows), '']
    if theirs:
      lines += [f'Published: {theirs.source}.', '']
    others = benchmark.other_models(name, task['split'])
    others = [row for row in others if row is not theirs]
    if others:
      lines += ['Published, of other models:', '']
      lines += [
        f'- {row.model} {_cell(row.average)} ({row.source})' for row in others
      ]
      lines.append('')
    lines += [f'- {note}' for note in task.get('notes', ())]
    lines.append('')
  lines += [_line(['group', 'score']), _line(['---', '---'])]
  lines += [_line([k, _cell(v)]) for k, v in results['groups'].items()]
  lines += [_line(['**overall**', _cell(results['overall'])]), '']
  return '\n'.join(lines)


def _published(
  model: str, name: str, task: Mapping, results: Mapping
) -> published.Row | None:
  """The published row of the same model, task, protocol and split."""
  # Without fine-tuning one protocol is like another.
  protocol = 'zero-shot' if 'vectors' in task else results['protocol']
  benchmark = table.find(results['benchmark'])
  return benchmark.find_published(model, name, protocol, task['split'])


def _line(cells: Sequence[str]) -> str:
  return '| ' + ' | '.join(cells) + ' |'


def _cell(value: float | None) -> str:
  return '-' if value is None else f'{value:.1f}'


def _less(ours: float | None, theirs: float | None) -> str:
  return (
    f'{ours - theirs:+.1f}' if ours is not None and theirs is not None else '-'
  )


def write_json(path: pathlib.Path, value: Mapping) -> None:
  """Writes results.json or a part of it, whole or not at all."""
  storage.write_json(path, value, allow_nan=False)
