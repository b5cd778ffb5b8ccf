"""A whole benchmark from one recipe: trained, evaluated, put into tables.

  WORKDIR/runs/<run>/            a fine-tuning each, by xlmr_jax.train
  WORKDIR/evaluations/           <task>-<seed>.json, one a finished evaluation
  WORKDIR/submission-<seed>/     predictions in the benchmark's layout
  WORKDIR/results.json, tables.md, heat.png, sizes.png

What is there is not made again, unless a task's files changed, so the same
command goes on after a kill and is quick once all is done. A fine-tuning is a
process of its own.
"""

from collections.abc import Callable, Mapping
import dataclasses
import hashlib
import json
import os
import pathlib
import shutil
import subprocess
import sys

from xlmr_jax import loaded, saves
from xlmr_jax.data import files, shards
from xlmr_jax.eval import (
  evaluate,
  pictures,
  rows,
  submission,
  tables,
  xtreme,
)
from xlmr_jax.model import VARIANTS

# Tasks whose model is tuned for several of them at once.
SHARED = {'xquad': 'squad', 'mlqa': 'squad'}
READERS = {'squad': 'xquad'}  # run → the task that reads its training data

Say = Callable[[str], None]


@dataclasses.dataclass(frozen=True)
class Need:
  """A task that a model is wanted for.

  Attributes:
    task: the row.
    seed: of the fine-tuning.
    run: name of the fine-tuning; '' for the checkpoint as it is.
  """

  task: rows.Task
  seed: int
  run: str


def needs(config) -> list[Need]:
  """What a recipe asks for.

  Raises:
    ValueError: an unknown benchmark or task.
  """
  if 'benchmark' not in config:
    raise ValueError(
      'this recipe is not one of a benchmark; configs/xtreme.py is'
    )
  if config.benchmark not in submission.TASKS:
    raise ValueError(
      f'config.benchmark={config.benchmark!r} is not one of '
      f'{", ".join(submission.TASKS)}'
    )
  known = xtreme.rows(config.benchmark)
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
      run = SHARED.get(name, name) if task.heads else config.retrieve_with
      out.append(Need(task, seed, f'{run}-{seed}' if run else ''))
  return out


def run(config, workdir, say: Say = print) -> dict:
  """Makes whatever is missing of a recipe; returns what results.json holds.

  Raises:
    ValueError: a setting that does not fit, or nothing could be evaluated.
  """
  workdir = pathlib.Path(workdir)
  if 'benchmark' in config and not os.path.isdir(config.data_dir or ''):
    raise ValueError(
      f'config.data_dir={config.data_dir!r} is not a folder: it should have '
      'one for each task'
    )
  wanted = needs(config)
  _check_settings(config)
  for name in ('evaluations', 'runs'):
    (workdir / name).mkdir(parents=True, exist_ok=True)
  _same(config, workdir)
  missing: list[str] = []
  problems: list[str] = []
  found: dict[str, list[dict]] = {}
  for need in wanted:
    path = workdir / 'evaluations' / f'{need.task.name}-{need.seed}.json'
    there = _read(config, need.task, _split(config, need.task))
    # Each seed finds the same.
    missing += [x for x in there.missing if x not in missing]
    problems += [x for x in there.broken if x not in problems]
    if not there.examples:
      continue
    facts = _stored(path, there.examples)
    if facts is None:
      try:
        _make(config, need, workdir, path, there.examples, say)
      except ValueError as error:
        problems.append(f'{path.stem}: {error}')
        say(f'{path.stem}: {error}; the rest goes on')
        continue
      facts = json.loads(path.read_text('utf-8'))
    found.setdefault(need.task.name, []).append(facts)
    _share(config, need, workdir)
  for kind, texts in (('missing', missing), ('problem', problems)):
    for text in texts:
      say(f'{kind}: {text}')
  if not found:
    raise ValueError('nothing could be evaluated: see above')
  results = tables.summary(config, found)
  results['missing'], results['problems'] = missing, problems
  tables.write_json(workdir / 'results.json', results)
  text = tables.markdown(config, results)
  (workdir / 'tables.md').write_text(text, encoding='utf-8')
  say(text)
  _draw(config, results, workdir, say)
  if config.split == 'test':
    for seed in range(config.seeds):
      _check_submission(config, list(found), workdir, seed, say)
  return results


def _check_settings(config) -> None:
  """Refuses what no run would read.

  Raises:
    ValueError: a setting without value or of no task, no model to start from.
  """
  tasks = xtreme.rows(config.benchmark)
  known = {*tasks, *SHARED.values()}
  for setting in config.settings:
    name, _, value = setting.partition('=')
    whose, colon, name = name.rpartition(':')
    if not name or not value:
      raise ValueError(
        f'config.settings has {setting!r}: write name=value or task:name=value'
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
    if not any(language in task.languages for task in tasks.values()):
      raise ValueError(f'config.languages: no task has {language!r}')


def _same(config, workdir: pathlib.Path) -> None:
  """Refuses a workdir of other settings; what only adds work may change."""
  free = ('tasks', 'seeds', 'corpus', 'restarts', 'languages')
  mine = {k: v for k, v in config.to_dict().items() if k not in free}
  mine = json.loads(json.dumps(mine, default=list))
  path = workdir / 'config.json'
  begun = any((workdir / 'runs').iterdir()) or any(
    (workdir / 'evaluations').iterdir()
  )
  if path.exists() and begun:
    other = json.loads(path.read_text('utf-8'))
    for name in sorted(mine.keys() | other.keys()):
      if mine.get(name) != other.get(name):
        raise ValueError(
          f'{workdir} was begun with config.{name}={other.get(name)!r}, not '
          f'{mine.get(name)!r}: give it back, or take another workdir'
        )
    return
  tables.write_json(path, mine)


# ── One task ──────────────────────────────────────────────────────────────


@dataclasses.dataclass(frozen=True)
class There:
  """What the data folder has of a task.

  Attributes:
    examples: language → examples.
    missing: what is not there, and where it was looked for.
    broken: what is there and cannot be read.
  """

  examples: dict[str, list]
  missing: list[str]
  broken: list[str]


def _split(config, task: rows.Task) -> str:
  return 'test' if task.name == 'tatoeba' else config.split  # it has no other


def _read(config, task: rows.Task, split: str) -> There:
  folder = pathlib.Path(config.data_dir) / task.name
  chosen = config.languages or task.languages
  examples, absent, broken, why = {}, [], [], ''
  for language in task.languages:
    if language not in chosen:
      continue
    try:
      examples[language] = task.read(str(folder), split, language)
    except files.Missing as error:
      absent.append(language)
      why = why or str(error)
    except (ValueError, OSError) as error:
      broken.append(f'{task.name} {language}: {error}')
  missing = []
  if absent:
    missing = [f'{task.name} {" ".join(absent)}: {why}']
  return There(examples, missing, broken)


def _stored(path: pathlib.Path, examples: Mapping) -> dict | None:
  """A finished evaluation of these very examples, or None."""
  if not path.exists():
    return None
  try:
    facts = json.loads(path.read_text('utf-8'))
    return facts if facts['of'] == _identity(examples) else None
  except (ValueError, KeyError, TypeError):
    return None  # damaged: made again


def _identity(examples: Mapping) -> dict[str, str]:
  """Language → digest of its examples."""
  return {
    language: hashlib.sha256(repr(part).encode()).hexdigest()[:16]
    for language, part in examples.items()
  }


def _make(config, need: Need, workdir, path, examples, say: Say) -> None:
  """Trains what a task needs and evaluates it."""
  task, split = need.task, _split(config, need.task)
  source = config.init
  if need.run:
    source = train(config, need, workdir, say)
  elif not source:
    raise ValueError('config.init is empty: a checkpoint is needed')
  more = {} if task.heads else {'head': None}
  model = loaded.load(source, dtype=config.dtype, **more)
  thresholds = {}
  if task.metric == 'pair_f1' and split == 'test':
    dev = _read(config, task, 'dev').examples
    dev = {name: part for name, part in dev.items() if name in examples}
    if dev:
      thresholds = evaluate.evaluate(model, task, dev).thresholds
  result = evaluate.evaluate(model, task, examples, thresholds=thresholds)
  xtreme.write_predictions(workdir / f'submission-{need.seed}', result, split)
  facts = tables.facts_of(result)
  facts['packing_efficiency'] = result.packing_efficiency
  facts['of'] = _identity(examples)
  facts['split'] = split
  tables.write_json(path, {**facts, 'notes': list(result.notes)})


def _share(config, need: Need, workdir: pathlib.Path) -> None:
  """Predictions of a task that is not tuned belong to every seed."""
  if need.run:
    return
  source = workdir / 'submission-0' / need.task.name
  for seed in range(1, config.seeds):
    target = workdir / f'submission-{seed}' / need.task.name
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(source, target)


def train(config, need: Need, workdir, say: Say) -> pathlib.Path:
  """Fine-tunes, or goes on with it; returns the finished run.

  Raises:
    ValueError: the process failed.
  """
  for attempt in range(config.restarts + 1):
    folder = workdir / 'runs' / (need.run + f'-again{attempt}' * bool(attempt))
    if not finished(folder):
      command = train_command(config, need, folder, 0.5**attempt)
      say(f'training {folder.name}')
      if subprocess.run(command, check=False).returncode:
        raise ValueError(f'training in {folder} failed: see above')
      if not finished(folder):
        raise KeyboardInterrupt  # it was asked to stop, and saved
    if not collapsed(folder):
      return folder
    say(f'{folder.name}: the model answers one class to everything')
  return folder


def train_command(config, need: Need, folder, factor: float) -> list[str]:
  """The command line of a fine-tuning; its rate times a factor."""
  run = need.run.rpartition('-')[0]
  task = READERS.get(run, run)
  words = [
    *(sys.executable, '-m', 'xlmr_jax.train'),
    f'--config={config.recipe}:task={task},model={config.model}',
    f'--config.data_dir={pathlib.Path(config.data_dir) / task}',
    f'--config.init={config.init}',
    f'--config.seed={need.seed}',
    f'--workdir={folder}',
  ]
  for setting in config.settings:
    name, _, rest = setting.partition('=')
    whose, colon, name = name.rpartition(':')
    if not colon or whose in (run, need.task.name):
      words.append(f'--config.{name}={rest}')
  if factor != 1:
    words.append(f'--config.optim.learning_rate={_rate(folder) * factor}')
  return words


def _rate(folder: pathlib.Path) -> float:
  """The learning rate of the first try of a run."""
  first = folder.with_name(folder.name.rpartition('-again')[0])
  config = json.loads((first / 'config.json').read_text('utf-8'))
  return config['optim']['learning_rate']


def finished(folder: pathlib.Path) -> bool:
  """Whether a run is through."""
  with saves.Manager(folder, read_only=True) as manager:
    latest = manager.latest_step()
    return latest is not None and bool(manager.meta(latest).get('finished'))


def collapsed(folder: pathlib.Path) -> bool:
  """Whether a run's last evaluation found one class for everything."""
  last = {}
  path = folder / 'metrics.jsonl'
  for line in path.read_text().splitlines() if path.exists() else ():
    try:
      record = json.loads(line)
    except json.JSONDecodeError:
      continue
    if 'collapsed' in record:
      last = record
  return bool(last.get('collapsed'))


# ── All of them ───────────────────────────────────────────────────────────


def _draw(config, results, workdir: pathlib.Path, say: Say) -> None:
  """The pictures, where they can be drawn."""
  try:
    pictures.heat(results).savefig(workdir / 'heat.png', dpi=150)
    if config.corpus:
      parts = shards.open_shards(config.corpus).parts.values()
      tokens = {part.name: part.tokens for part in parts if part.kind == 'text'}
      pictures.sizes(results, tokens).savefig(workdir / 'sizes.png', dpi=150)
  except ValueError as error:
    say(f'no pictures: {error}')


def _check_submission(config, tasks, workdir, seed: int, say: Say) -> None:
  folder = workdir / f'submission-{seed}'
  if not folder.is_dir():
    return
  problems = submission.check(folder, config.benchmark, tasks=tasks)
  count = len(problems)
  more = f', {problems[0]}' if problems else ''
  say(f'{folder}: {count or "no"} problems{more}')
