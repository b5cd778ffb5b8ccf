"""What a benchmark's evaluations come to: results.json, and tables of it."""

from collections.abc import Mapping, Sequence
import json
import os
import pathlib
import statistics

from xlmr_jax.eval import metrics, published, submission
from xlmr_jax.eval.evaluate import Result


def facts_of(result: Result) -> dict:
  """A task's part of results.json."""
  one = lambda values: {
    'languages': dict(values),
    'average': metrics.mean([values.get(n) for n in result.scores]),
  }
  out = {
    'metric': result.task.metric,
    **one(result.scores),
    'parts': {name: one(values) for name, values in result.parts.items()},
  }
  if result.thresholds:
    out['thresholds'] = dict(result.thresholds)
  if result.task.vectors:
    out['vectors'] = dict(result.task.vectors)
  return out


def summary(config, found: Mapping[str, Sequence[dict]]) -> dict:
  """results.json of tasks: means over seeds, groups, the overall score."""
  tasks = {}
  for name, runs in found.items():
    languages = submission.TASKS[config.benchmark][name].languages
    whole = set(runs[0]['languages']) == set(languages)
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
  mean = lambda names: metrics.mean(
    [tasks[n]['average'] if n in tasks else None for n in names]
  )
  groups = submission.GROUPS[config.benchmark]
  return {
    'benchmark': config.benchmark,
    'model': config.model,
    'checkpoint': config.init,
    'split': config.split,
    'tasks': tasks,
    'groups': {
      group: mean(names)
      for group, names in groups.items()
      if any(name in tasks for name in names)
    },
    'overall': mean(submission.TASKS[config.benchmark]),
  }


def _over_seeds(runs: Sequence[dict], whole: bool) -> dict:
  """Means, and with several seeds standard deviations.

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
  lines = [f'# {results["benchmark"]}, {results["checkpoint"] or "fresh"}', '']
  for name, task in results['tasks'].items():
    theirs = published.find('xtreme', config.model, name)
    if task['split'] != 'test':
      theirs = None
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
    lines += [f'- {note}' for note in task.get('notes', ())]
    lines.append('')
  lines += [_line(['group', 'score']), _line(['---', '---'])]
  lines += [_line([k, _cell(v)]) for k, v in results['groups'].items()]
  lines += [_line(['**overall**', _cell(results['overall'])]), '']
  return '\n'.join(lines)


def _line(cells: Sequence[str]) -> str:
  return '| ' + ' | '.join(cells) + ' |'


def _cell(value: float | None) -> str:
  return '-' if value is None else f'{value:.1f}'


def _less(ours: float | None, theirs: float | None) -> str:
  return '-' if None in (ours, theirs) else f'{ours - theirs:+.1f}'


def write_json(path: pathlib.Path, value: Mapping) -> None:
  """Whole or not at all."""
  temporary = path.with_name(f'.{path.name}.{os.getpid()}')
  try:
    text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False)
    temporary.write_text(text + '\n', encoding='utf-8')
    temporary.replace(path)
  finally:
    temporary.unlink(missing_ok=True)
