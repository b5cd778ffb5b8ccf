"""An evaluation of a suite: a task, a seed, and the model that is asked.

Its facts are a file of WORKDIR/evaluations; they hold for the very examples
they were made with.
"""

from collections.abc import Mapping, Sequence
import dataclasses
import functools
import hashlib
import json
import os
import pathlib
import shutil

from xlmr_jax.checkpoints.weights import STORED
from xlmr_jax.data.readers import tfds
from xlmr_jax.eval import evaluate
from xlmr_jax.eval.benchmarks import table
from xlmr_jax.eval.suite import protocols, summary, trainings
from xlmr_jax.eval.task import Available, Task, read_available
from xlmr_jax.inference import loaded
from xlmr_jax.runtime import hosts, storage


@dataclasses.dataclass
class Evaluation:
  """An evaluation that is wanted.

  Attributes:
    need: the model.
    examples: language → what it is tested on.
    languages: of all models of the task and seed.
    learnt: the languages that can be trained on.
    path: where its facts are written.
    facts: of the evaluation, once it is done.
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


def of_task(
  config,
  needs: list[protocols.Need],
  workdir: pathlib.Path,
  missing: list[str],
  problems: list[str],
) -> list[Evaluation]:
  """The evaluations of a task.

  Missing and broken files are added to the lists; the rest goes on.
  """
  task = needs[0].task
  available = _read(config, task, _split(config, task))
  missing += available.missing
  problems += available.broken
  learnt = protocols.Training(tuple(available.examples), [], [])
  if task.heads:
    learnt = protocols.training(config, task, learnt.languages, workdir)
    # Tasks may share what they are trained on.
    missing += [text for text in learnt.missing if text not in missing]
    problems += [text for text in learnt.broken if text not in problems]
  examples = {
    language: part
    for language, part in available.examples.items()
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
        Evaluation(need, part, tuple(examples), learnt.languages, path, facts)
      )
  return out


def attempt(
  entry: Evaluation, problems: list[str], say: trainings.Say, work
) -> None:
  """Does work(entry); an error is noted, and the rest goes on."""
  if entry.failed:
    return
  try:
    work(entry)
  except ValueError as error:
    entry.failed = True
    problems.append(f'{entry.path.stem}: {error}')
    say(f'{entry.path.stem}: {error}; the rest goes on')


def tune(config, entry: Evaluation, train) -> None:
  """Trains what an evaluation wants; no device is touched here."""
  if entry.facts is not None:
    return
  entry.source = config.init
  if entry.need.run:
    settings = protocols.settings(
      config, entry.need, entry.learnt, entry.examples
    )
    entry.source = train(entry.need, settings)
  if not entry.source:
    raise ValueError('config.init is empty: a checkpoint is needed')


def judge(config, entry: Evaluation, workdir: pathlib.Path) -> None:
  """Evaluates, unless that was done; the first host writes."""
  need, result = entry.need, None
  if entry.facts is None:
    result = _evaluate(config, entry)
    entry.facts = {
      **summary.facts_of(result),
      'packing_efficiency': result.packing_efficiency,
      'of': _identity(entry.examples),
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
        entry.facts['split'],
        keep=bool(need.language),
      )
      summary.write_json(entry.path, entry.facts)
    _share(config, need, workdir)
    if need.language:
      folder = workdir / f'submission-{need.seed}' / need.task.name
      _tidy(folder, entry.languages)
  finally:
    hosts.together(entry.path.stem)


def _tidy(folder: pathlib.Path, languages: Sequence[str]) -> None:
  """Deletes predictions in languages that are no longer tested."""
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


def _evaluate(config, entry: Evaluation) -> evaluate.Result:
  task = entry.need.task
  head = STORED if task.heads else None
  model = loaded.load(entry.source, head=head, dtype=config.dtype)
  # Positions that no training reached mean nothing.
  length = None
  if entry.need.run and task.heads:
    length = min(
      trainings.max_length(pathlib.Path(entry.source)), model.max_length
    )
  judge = functools.partial(evaluate.evaluate, model, task, max_length=length)
  thresholds: Mapping[str, float] = {}
  if task.metric == 'pair_f1' and _split(config, task) == 'test':
    dev = _read(config, task, 'dev').examples
    dev = {name: part for name, part in dev.items() if name in entry.examples}
    if dev:
      thresholds = judge(dev).thresholds
  return judge(entry.examples, thresholds=thresholds)


def _share(config, need: protocols.Need, workdir: pathlib.Path) -> None:
  """Predictions of a task that is not tuned belong to every seed."""
  if need.run:
    return
  source = workdir / 'submission-0' / need.task.name
  for seed in range(1, config.seeds):
    target = workdir / f'submission-{seed}' / need.task.name
    with storage.whole(target, overwrite=True) as temporary:
      shutil.copytree(source, temporary, dirs_exist_ok=True)
