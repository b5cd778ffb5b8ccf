"""A whole benchmark from one recipe: trained, evaluated, put into tables.

  WORKDIR/runs/<run>/            a fine-tuning each, by xlmr_jax.train
  WORKDIR/evaluations/           <task>-<seed>.json, one a finished evaluation;
                                 <task>-<language>-<seed>.json where languages
                                 have models of their own (protocols.py)
  WORKDIR/submission-<seed>/     predictions in the benchmark's layout
  WORKDIR/results.json, tables.md, heat.png, sizes.png

Nothing is made twice unless a task's files changed, so the same command goes
on after a kill and is quick once all is done. Each fine-tuning is a process of
its own (trainings.py).
"""

from collections.abc import Callable
import dataclasses
import itertools
import json
import os
import pathlib

from xlmr_jax.data.corpus import shards
from xlmr_jax.data.readers import tfds
from xlmr_jax.eval.benchmarks import table
from xlmr_jax.eval.suite import (
  evaluation,
  pictures,
  protocols,
  summary,
  trainings,
)
from xlmr_jax.model import VARIANTS
from xlmr_jax.runtime import hosts, recipes, storage

Say = trainings.Say
ALONE = hosts.Group()


def needs(config) -> list[protocols.Need]:
  """The models that a recipe asks for.

  Raises:
    ValueError: an unknown benchmark, task or protocol.
  """
  if 'benchmark' not in config:
    raise ValueError(
      'this recipe is not one of a benchmark; configs/xtreme.py and '
      'configs/clue.py are'
    )
  if config.benchmark not in table.BENCHMARKS:
    raise ValueError(
      f'config.benchmark={config.benchmark!r} is not one of '
      f'{", ".join(table.BENCHMARKS)}'
    )
  benchmark = table.BENCHMARKS[config.benchmark]
  known = {task.name: task for task in benchmark.tasks}
  names = list(known) if tuple(config.tasks) == ('all',) else config.tasks
  out = []
  for name in names:
    if name not in known:
      raise ValueError(
        f'{config.benchmark} has no task {name!r} that can be run: write '
        f'tasks={"+".join(list(known)[:2])}, of {", ".join(known)}'
      )
    task = known[name]
    if not task.heads:
      task = dataclasses.replace(
        task,
        vectors={
          'layer': config.layer,
          'pooling': config.pooling,
          'skip_specials': config.skip_specials,
        },
      )
    # Without fine-tuning one seed is like another.
    tuned = bool(task.heads) or config.retrieve_with
    for seed in range(config.seeds if tuned else 1):
      out += protocols.of_task(config, task, seed)
  return out


def run(
  config,
  workdir,
  say: Say = print,
  group: hosts.Group = ALONE,
  keep: Callable[[], None] = lambda: None,
) -> dict:
  """Makes whatever is missing of a recipe; returns what results.json holds.

  Args:
    config: of a benchmark.
    workdir: folder of all that is made.
    say: prints a line.
    group: the processes that do it together; {} comes back on all but one.
    keep: called after each fine-tuning and each evaluation.

  Raises:
    ValueError: a setting that does not fit, or nothing could be evaluated.
    trainings.Stopped: a signal to stop came; the training has saved.
  """
  workdir = pathlib.Path(workdir)
  if 'benchmark' in config and not os.path.isdir(config.data_dir or ''):
    known = table.BENCHMARKS.get(config.benchmark)
    prepared = known is not None and known.prepared
    if not (prepared and tfds.named(config.data_dir)):
      more = ', or write tfds:DIR' if prepared else ''
      raise ValueError(
        f'config.data_dir={config.data_dir!r} is not a folder: it should have '
        f'one for each task{more}'
      )
  wanted = needs(config)
  _check_settings(config)
  if any(need.tuned for need in wanted):
    recipes.find(config.recipe)
  for path in (workdir, *workdir.parents):
    if path.is_file():
      raise ValueError(f'--workdir={workdir}: {path} is a file, not a folder')
  for name in ('evaluations', 'runs'):
    (workdir / name).mkdir(parents=True, exist_ok=True)
  _same(config, workdir)
  missing: list[str] = []
  problems: list[str] = []
  with trainings.Stop() as stop:
    try:
      evaluations = []
      for _, needs_of in itertools.groupby(wanted, lambda n: n.task.name):
        evaluations += evaluation.of_task(
          config, list(needs_of), workdir, missing, problems
        )
      train = lambda need, settings: trainings.train(
        config, need, settings, workdir, stop, say, group
      )
      for entry in evaluations:
        evaluation.attempt(
          entry, problems, say, lambda p: evaluation.tune(config, p, train)
        )
        keep()
      group.start()
      say = say if hosts.lead() else lambda _: None
      for entry in evaluations:
        evaluation.attempt(
          entry, problems, say, lambda p: evaluation.judge(config, p, workdir)
        )
        keep()
      facts: dict[str, dict[int, list[dict]]] = {}
      for entry in evaluations:
        if entry.facts:
          seeds = facts.setdefault(entry.need.task.name, {})
          seeds.setdefault(entry.need.seed, []).append(entry.facts)
      joined = {
        name: [summary.joined(parts) for parts in seeds.values()]
        for name, seeds in facts.items()
      }
      try:
        if hosts.lead():
          return _results(config, joined, missing, problems, workdir, say)
        return {}
      finally:
        hosts.together('results')
    except KeyboardInterrupt:
      say(f'stopped: {workdir} has what is done; the same command goes on')
      raise


def _results(config, evaluations, missing, problems, workdir, say: Say) -> dict:
  """Writes and shows the results."""
  for kind, texts in (('missing', missing), ('problem', problems)):
    for text in texts:
      say(f'{kind}: {text}')
  if not evaluations:
    raise ValueError('nothing could be evaluated: see above')
  results = summary.summary(config, evaluations)
  results['missing'], results['problems'] = missing, problems
  summary.write_json(workdir / 'results.json', results)
  text = summary.markdown(config, results)
  storage.write_text(workdir / 'tables.md', text)
  say(text)
  try:
    pictures.write(workdir, results, _tokens(config.corpus))
  except ValueError as error:
    say(f'no pictures: {error}')
  if config.split == 'test':
    for seed in range(config.seeds):
      _check_submission(config, list(evaluations), workdir, seed, say)
  return results


def _tokens(corpus: str) -> dict[str, int]:
  """{language: tokens of its text} of a prepared corpus; {} without one."""
  parts = shards.open_shards(corpus).parts.values() if corpus else ()
  return {part.name: part.tokens for part in parts if part.kind == 'text'}


def _check_settings(config) -> None:
  """Refuses settings that no run would read.

  Raises:
    ValueError: a setting without value or of no task, no model to start from.
  """
  tasks = table.find(config.benchmark).tasks
  known = {name for task in tasks for name in (task.name, task.tuned_on)} - {''}
  for setting in config.settings:
    name, _, value = setting.partition('=')
    whose, colon, name = name.rpartition(':')
    if not name or not value:
      raise ValueError(
        f'config.settings has {setting!r}: write name=value or task:name=value'
      )
    if name.startswith('train_'):
      raise ValueError(
        f'config.settings has {setting!r}, but what is trained on is said by '
        'config.protocol'
      )
    if colon and whose not in known:
      raise ValueError(
        f'config.settings has {setting!r}, but there is no task {whose!r} '
        f'among {", ".join(sorted(known))}'
      )
  if not config.init and config.model not in VARIANTS:
    raise ValueError(
      f'model={config.model} is neither a size ({", ".join(VARIANTS)}) nor '
      'has it a checkpoint: set config.init'
    )
  for language in config.languages:
    if not any(language in task.languages for task in tasks):
      raise ValueError(f'config.languages: no task has {language!r}')


def _same(config, workdir: pathlib.Path) -> None:
  """Refuses a workdir of other settings; settings that add work may change."""
  free = ('tasks', 'seeds', 'corpus', 'restarts', 'languages')
  mine = {k: v for k, v in config.to_dict().items() if k not in free}
  mine = json.loads(json.dumps(mine, default=list))
  path = workdir / 'config.json'
  begun = any((workdir / 'runs').iterdir()) or any(
    (workdir / 'evaluations').iterdir()
  )
  if path.exists() and begun:
    other = json.loads(path.read_text('utf-8'))
    # Older runs had no other protocol.
    other = {'protocol': 'zero-shot', 'shots': mine.get('shots'), **other}
    for name in sorted(mine.keys() | other.keys()):
      if mine.get(name) != other.get(name):
        raise ValueError(
          f'{workdir} was begun with config.{name}={other.get(name)!r}, not '
          f'{mine.get(name)!r}: give it back, or take another workdir'
        )
    return
  summary.write_json(path, mine)


def _check_submission(config, tasks, workdir, seed: int, say: Say) -> None:
  folder = workdir / f'submission-{seed}'
  if not folder.is_dir():
    return
  submission = table.find(config.benchmark).submission
  path, problems = submission.finish(folder, config.data_dir, tasks)
  count = len(problems)
  more = f', {problems[0]}' if problems else ''
  say(f'{path}: {count or "no"} problems{more}')
