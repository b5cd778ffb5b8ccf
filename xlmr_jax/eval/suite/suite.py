"""A whole benchmark from one recipe: trained, evaluated, put into tables.

  WORKDIR/runs/<run>/            a fine-tuning each, by xlmr_jax.train
  WORKDIR/evaluations/           <task>-<seed>.json, one a finished evaluation;
                                 <task>-<language>-<seed>.json where languages
                                 have models of their own (protocols.py)
  WORKDIR/submission-<seed>/     predictions in the benchmark's layout
  WORKDIR/results.json, tables.md, heat.png, sizes.png

What is there is not made again, unless a task's files changed, so the same
command goes on after a kill and is quick once all is done. A fine-tuning is a
process of its own (runs.py).
"""

from collections.abc import Callable, Mapping, Sequence
import dataclasses
import functools
import hashlib
import itertools
import json
import os
import pathlib
import shutil

from xlmr_jax.data.corpus import shards
from xlmr_jax.data.readers import tfds
from xlmr_jax.eval import evaluate
from xlmr_jax.eval.benchmarks import table
from xlmr_jax.eval.suite import pictures, protocols, summary, trainings
from xlmr_jax.eval.task import Available, Task, read_available
from xlmr_jax.inference import loaded
from xlmr_jax.model import VARIANTS
from xlmr_jax.runtime import hosts, recipes

Say = trainings.Say
ALONE = hosts.Group()


def needs(config) -> list[protocols.Need]:
  """What a recipe asks for.

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
    runs.Stopped: a signal to stop came; what was training has saved.
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
      plans = []
      for _, needs_of in itertools.groupby(wanted, lambda n: n.task.name):
        plans += _plan(config, list(needs_of), workdir, missing, problems)
      train = lambda need, told: trainings.train(
        config, need, told, workdir, stop, say, group
      )
      for plan in plans:
        _attempt(plan, problems, say, lambda p: _tune(config, p, train))
        keep()
      group.start()
      say = say if hosts.lead() else lambda _: None
      for plan in plans:
        _attempt(plan, problems, say, lambda p: _judge(config, p, workdir))
        keep()
      found: dict[str, dict[int, list[dict]]] = {}
      for plan in plans:
        if plan.facts:
          seeds = found.setdefault(plan.need.task.name, {})
          seeds.setdefault(plan.need.seed, []).append(plan.facts)
      joined = {
        name: [summary.joined(parts) for parts in seeds.values()]
        for name, seeds in found.items()
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


def _results(config, found, missing, problems, workdir, say: Say) -> dict:
  """Writes and shows what was found."""
  for kind, texts in (('missing', missing), ('problem', problems)):
    for text in texts:
      say(f'{kind}: {text}')
  if not found:
    raise ValueError('nothing could be evaluated: see above')
  results = summary.summary(config, found)
  results['missing'], results['problems'] = missing, problems
  summary.write_json(workdir / 'results.json', results)
  text = summary.markdown(config, results)
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
    # Once there was no other.
    other = {'protocol': 'zero-shot', 'shots': mine.get('shots'), **other}
    for name in sorted(mine.keys() | other.keys()):
      if mine.get(name) != other.get(name):
        raise ValueError(
          f'{workdir} was begun with config.{name}={other.get(name)!r}, not '
          f'{mine.get(name)!r}: give it back, or take another workdir'
        )
    return
  summary.write_json(path, mine)


# ── One task ──────────────────────────────────────────────────────────────


@dataclasses.dataclass
class Plan:
  """An evaluation that is wanted.

  Attributes:
    need: the model.
    examples: language → what it is tested on.
    languages: of all models of the task and seed.
    learnt: the languages that can be trained on.
    path: where its facts are written.
    facts: what the evaluation found, once it is there.
    source: the checkpoint, once it is trained.
    failed: whether something was wrong.
  """

  need: protocols.Need
  examples: Mapping[str, list]
  languages: tuple[str, ...]
  learnt: tuple[str, ...]
  path: pathlib.Path
  facts: dict | None = None
  source: str | os.PathLike = ''
  failed: bool = False


def _plan(
  config,
  needs: list[protocols.Need],
  workdir: pathlib.Path,
  missing: list[str],
  problems: list[str],
) -> list[Plan]:
  """The evaluations of a task.

  What is missing and what is wrong is added to the lists; the rest goes on.
  """
  task = needs[0].task
  there = _read(config, task, _split(config, task))
  missing += there.missing
  problems += there.broken
  learnt = protocols.Training(tuple(there.examples), [], [])
  if task.heads:
    learnt = protocols.training(config, task, learnt.languages, workdir)
    # Tasks may share what they are trained on.
    missing += [text for text in learnt.missing if text not in missing]
    problems += [text for text in learnt.broken if text not in problems]
  examples = {
    language: part
    for language, part in there.examples.items()
    if language in learnt.languages
  }
  out = []
  for need in needs:
    part = examples
    if need.language:
      part = {k: v for k, v in examples.items() if k == need.language}
    if part:
      path = workdir / 'evaluations' / f'{need.name}.json'
      facts = _stored(path, part)
      out.append(
        Plan(need, part, tuple(examples), learnt.languages, path, facts)
      )
  return out


def _attempt(plan: Plan, problems: list[str], say: Say, work) -> None:
  """work(plan); what is wrong with it is noted, and the rest goes on."""
  if plan.failed:
    return
  try:
    work(plan)
  except ValueError as error:
    plan.failed = True
    problems.append(f'{plan.path.stem}: {error}')
    say(f'{plan.path.stem}: {error}; the rest goes on')


def _tune(config, plan: Plan, train) -> None:
  """Trains what an evaluation wants; no device is touched here."""
  if plan.facts is not None:
    return
  plan.source = config.init
  if plan.need.run:
    told = protocols.settings(config, plan.need, plan.learnt, plan.examples)
    plan.source = train(plan.need, told)
  if not plan.source:
    raise ValueError('config.init is empty: a checkpoint is needed')


def _judge(config, plan: Plan, workdir: pathlib.Path) -> None:
  """Evaluates, unless that was done; the first host writes."""
  need, result = plan.need, None
  if plan.facts is None:
    result = _evaluate(config, plan)
    plan.facts = {
      **summary.facts_of(result),
      'packing_efficiency': result.packing_efficiency,
      'of': _identity(plan.examples),
      'split': _split(config, need.task),
      'notes': list(result.notes),
    }
  try:
    if not hosts.lead():
      return
    if result is not None:
      table.find(config.benchmark).write(
        workdir / f'submission-{need.seed}',
        result,
        plan.facts['split'],
        keep=bool(need.language),
      )
      summary.write_json(plan.path, plan.facts)
    _share(config, need, workdir)
    if need.language:
      folder = workdir / f'submission-{need.seed}' / need.task.name
      _tidy(folder, plan.languages)
  finally:
    hosts.together(plan.path.stem)


def _tidy(folder: pathlib.Path, languages: Sequence[str]) -> None:
  """Takes away predictions in languages that are tested no longer."""
  for path in folder.glob('*-*.*'):
    if path.stem.partition('-')[2] not in languages:
      path.unlink()


def _split(config, task: Task) -> str:
  return 'test' if task.test_only else config.split


def _read(config, task: Task, split: str) -> Available:
  folder = tfds.folder(config.data_dir, task.name)
  chosen = config.languages or task.languages
  languages = [name for name in task.languages if name in chosen]
  return read_available(task, folder, split, languages)


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


def _evaluate(config, plan: Plan) -> evaluate.Result:
  task = plan.need.task
  more = {} if task.heads else {'head': None}
  model = loaded.load(plan.source, dtype=config.dtype, **more)
  # Positions that no training reached mean nothing.
  length = None
  if plan.need.run and task.heads:
    length = min(trainings.max_length(plan.source), model.max_length)
  judge = functools.partial(evaluate.evaluate, model, task, max_length=length)
  thresholds = {}
  if task.metric == 'pair_f1' and _split(config, task) == 'test':
    dev = _read(config, task, 'dev').examples
    dev = {name: part for name, part in dev.items() if name in plan.examples}
    if dev:
      thresholds = judge(dev).thresholds
  return judge(plan.examples, thresholds=thresholds)


def _share(config, need: protocols.Need, workdir: pathlib.Path) -> None:
  """Predictions of a task that is not tuned belong to every seed."""
  if need.run:
    return
  source = workdir / 'submission-0' / need.task.name
  for seed in range(1, config.seeds):
    target = workdir / f'submission-{seed}' / need.task.name
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(source, target)


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
  submission = table.find(config.benchmark).submission
  path, problems = submission.finish(folder, config.data_dir, tasks)
  count = len(problems)
  more = f', {problems[0]}' if problems else ''
  say(f'{path}: {count or "no"} problems{more}')
