"""Evaluation: a task is a row of a table, and one loop scores any of them.

  reader → kind.encode → one packed stream over all languages → kind.decode
  → a score per language

All examples of all languages share rows, so no padding is computed and one
program serves the whole table.
"""

from collections.abc import Callable, Mapping, Sequence
import dataclasses
import glob
import pathlib
import re
import sys
import time
import types

import numpy as np
import tqdm

from xlmr_jax import hf
from xlmr_jax.data import files, sources, tagged
from xlmr_jax.data.sources import Example
from xlmr_jax.data.tagged import Sentence
from xlmr_jax.eval import metrics
from xlmr_jax.loaded import Loaded
from xlmr_jax.tasks import classify, tag

# What XTREME's scripts for NLI and for tagging cut examples to, and Hugging
# Face's for NLI.
MAX_LENGTH = 128

# Stands for the language in the name of a user's file.
PLACE = '{language}'


@dataclasses.dataclass(frozen=True)
class Task:
  """One row of a benchmark.

  Attributes:
    name: in results.json and of the folder of predictions.
    kind: module with `encode` and `decode`, e.g. tasks.classify.
    heads: those that the kind reads; the first is the usual one.
    read: (data_dir, split, language) → examples.
    languages: in the benchmark's order.
    metric: one of metrics.SCORES.
    labels: the classes' names. None for numbers, and where the classes are
      whatever the checkpoint knows.
    source: language that models are fine-tuned on.
    max_length: tokens of an example; what is longer is cut, and a tagged
      sentence read in windows.
  """

  name: str
  kind: types.ModuleType
  heads: tuple[str, ...]
  read: Callable[[str, str, str], list[Example] | list[Sentence]]
  languages: tuple[str, ...]
  metric: str = 'accuracy'
  labels: tuple[str, ...] | None = None
  source: str = 'en'
  max_length: int = MAX_LENGTH

  def __post_init__(self):
    if self.metric not in metrics.SCORES:
      raise ValueError(
        f'metric {self.metric!r} is not one of {", ".join(metrics.SCORES)}'
      )

  @property
  def numbers(self) -> bool:
    """Whether answers are numbers, not names."""
    return self.metric in metrics.NUMBERS

  @property
  def tags(self) -> bool:
    """Whether an example is a sentence with an answer for each word."""
    return self.kind is tag


@dataclasses.dataclass(frozen=True)
class Result:
  """What an evaluation found. Scores as in metrics.py, None without labels.

  Attributes:
    task: the row.
    predictions: language → one per example, in the order read; of tags a list.
    scores: language → score.
    majority: language → what the best constant scores.
    chance: what guessing scores.
    average: unweighted over languages.
    tokens: real tokens, specials included.
    tokens_per_second: real tokens through the model; the first batch, which
      waits for the compiler, is not counted where there is another.
    packing_efficiency: real per computed tokens over all batches, per cent.
    notes: what a reader of the scores should know.
  """

  task: Task
  predictions: dict[str, list]
  scores: dict[str, float | None]
  majority: dict[str, float | None]
  chance: float | None
  average: float | None
  tokens: int
  tokens_per_second: float
  packing_efficiency: float
  notes: tuple[str, ...] = ()


def user_task(
  name: str,
  paths: Mapping[str, str],
  languages: Sequence[str],
  *,
  text: Sequence[sources.Column] = ('text',),
  label: sources.Column | None = 'label',
  labels: Sequence[str] | None = None,
  metric: str = 'accuracy',
  quoted: bool = True,
  max_length: int = MAX_LENGTH,
) -> Task:
  """A row for anybody's TSV, CSV or JSONL files, or tagged sentences.

  >>> user_task('intents', {'test': 'intents/test-{language}.tsv'}, ['de'])

  Args:
    name: of the task.
    paths: split → file, with {language} where its name has the language.
      Relative ones start at data_dir.
    languages: in the order of the table.
    text: one or two columns or keys: names, or indices from 0.
    label: column or key of the label; None where there is none.
    labels: the classes' names, if not the checkpoint's own.
    metric: 'accuracy' for names; 'mse', 'pearson' or 'spearman' for numbers;
      'span_f1' for files of tagged sentences (data/tagged.py), which have no
      columns to choose.
    quoted: whether "..." in a table is a quoted field, or text as it is.
    max_length: tokens of an example.
  """
  numbers, tags = metric in metrics.NUMBERS, metric == 'span_f1'
  for path in paths.values():
    if PLACE not in path and len(languages) != 1:
      raise ValueError(
        f'{path}: write {PLACE} where the language stands in the name of the '
        'file, or choose one language'
      )

  def read(data_dir, split, language):
    if split not in paths:
      raise ValueError(f'{name} has no {split} file')
    path = pathlib.Path(data_dir or '') / paths[split].replace(PLACE, language)
    if tags:
      return tagged.read(path)
    plain = re.sub(r'\.(gz|xz)$', '', path.name)
    if plain.endswith('.jsonl'):
      return sources.jsonl(path, tuple(text), label, number=numbers)
    if not plain.endswith(('.tsv', '.csv')):
      raise ValueError(f'{path}: files are .tsv, .csv or .jsonl (.gz, .xz)')
    return sources.tsv(
      path,
      tuple(text),
      label,
      number=numbers,
      delimiter=',' if plain.endswith('.csv') else '\t',
      quoted=quoted,
    )

  return Task(
    name=name,
    kind=tag if tags else classify,
    heads=tag.HEADS if tags else ('classify',),
    read=read,
    languages=tuple(languages),
    metric=metric,
    labels=tuple(labels) if labels else None,
    max_length=max_length,
  )


def languages_of(pattern: str) -> tuple[str, ...]:
  """What {language} stands for in the names of the files that are there."""
  if PLACE not in pattern:
    raise ValueError(
      f'{pattern}: choose a language for it, or write {PLACE} where the '
      'language stands in the name of the file'
    )
  before, after = pattern.split(PLACE, 1)
  found = files.find('*'.join(map(glob.escape, pattern.split(PLACE))))
  after = after.split(PLACE)[0]
  ends = [len(f) if not after else f.index(after, len(before)) for f in found]
  return tuple(f[len(before) : end] for f, end in zip(found, ends, strict=True))


def read(
  task: Task,
  data_dir: str,
  split: str = 'test',
  languages: Sequence[str] | None = None,
) -> dict[str, list[Example]]:
  """Examples per language, all of the task's unless some are chosen.

  Raises:
    ValueError: a language the task has not, or whose file is not there.
  """
  languages = languages or task.languages
  unknown = [name for name in languages if name not in task.languages]
  if unknown:
    raise ValueError(
      f'{task.name} has no language {unknown[0]!r}; it has '
      f'{", ".join(task.languages)}'
    )
  return {name: task.read(data_dir, split, name) for name in languages}


def match_labels(
  model: Sequence[str] | None,
  task: Sequence[str] | None,
  given: Sequence[str] | None = None,
) -> tuple[str, ...]:
  """The task's names in the order of the model's outputs.

  Names are matched whatever their case: public NLI models order their
  classes differently, and write ENTAILMENT as often as entailment.

  Args:
    model: id → name, as the checkpoint has it.
    task: the task's names; None for the checkpoint's own.
    given: id → name, from the user; the checkpoint's are ignored.

  Raises:
    ValueError: names that say nothing (LABEL_0), or two lists that differ.
  """
  whose = '--labels has' if given else 'the checkpoint has'
  names = tuple(given or model or ())
  wanted = f' (this task has {", ".join(task)})' if task else ''
  if given and model and len(given) != len(model):
    raise ValueError(
      f'--labels names {len(given)} classes, the checkpoint has {len(model)}: '
      f'{", ".join(given)} for {", ".join(model)}'
    )
  if not names or hf.placeholder(names):
    raise ValueError(
      f'the checkpoint has {", ".join(names) or "no names"} for its classes: '
      'say what they are with --labels=name0,name1,... in the order of its '
      f'ids{wanted}'
    )
  folded = {_fold(name): i for i, name in enumerate(names)}
  if len(folded) != len(names):
    raise ValueError(f'{whose} a class twice: {", ".join(names)}')
  if task is None:
    return names
  known = {_fold(name): name for name in task}
  if known.keys() != folded.keys():
    missing = [name for name in task if _fold(name) not in folded]
    extra = [name for name in names if _fold(name) not in known]
    raise ValueError(
      f'{whose} the classes {", ".join(names)}, the task has '
      f'{", ".join(task)}:'
      + (f' missing {", ".join(missing)};' if missing else '')
      + (f' unknown {", ".join(extra)};' if extra else '')
      + ' rename them with --labels=name0,name1,... in the order of its ids'
    )
  return tuple(known[name] for name in folded)


def _fold(name: str) -> str:
  return name.strip().casefold()


def evaluate(
  model: Loaded,
  task: Task,
  examples: Mapping[str, Sequence[Example]],
  *,
  labels: Sequence[str] | None = None,
  max_length: int | None = None,
  truncate: str = 'longest_first',
  show: bool = True,
) -> Result:
  """Runs a model over the examples of a task and scores each language.

  Args:
    model: with the task's head.
    task: the row.
    examples: language → examples, as `read` gives them.
    labels: names of the model's classes by id, where its own are not to be
      used.
    max_length: tokens of an example; default: the task's, or the model's
      where that is less.
    truncate: what is cut of a longer one (nothing, where it is a tagged
      sentence); 'error' refuses it.
    show: whether to show a progress bar.

  Raises:
    ValueError: a model that does not fit the task, a bad example, or scores
      that are not finite.
  """
  if model.head not in task.heads:
    raise ValueError(
      f'{task.name} needs a checkpoint with a {" or ".join(task.heads)} head, '
      f'the head of this one is {model.head or "missing"}: fine-tune it first'
    )
  if model.tokenizer is None:
    raise ValueError(
      'the checkpoint has no tokenizer: its texts are unreadable'
    )
  if max_length is None:
    max_length = min(task.max_length, model.max_length)
  if max_length > model.max_length:
    raise ValueError(
      f'max_length={max_length}, but the model holds {model.max_length} tokens'
    )
  names = None
  if not task.numbers:
    names = match_labels(model.labels, task.labels, labels)
  stream = [example for part in examples.values() for example in part]
  features = task.kind.encode(
    stream,
    model.tokenizer,
    labels=names,
    max_length=max_length,
    truncate=truncate,
  )
  if not stream:
    raise ValueError(f'{task.name}: there is nothing to evaluate')
  with _Meter(task.name, len(features), show) as meter:
    logits, outputs = _run(model, names, features, meter)
  bad = [i for i, x in enumerate(logits) if not np.isfinite(x).all()]
  if bad:
    where = stream[features[bad[0]].get('example', bad[0])].where
    raise ValueError(
      f'{where}: the model gives {logits[bad[0]]}, as for {len(bad)} of '
      f'{len(features)} examples: its parameters are broken, or its dtype too '
      'narrow'
    )
  # The words of a sentence stand in its features.
  given = (outputs, names, features) if task.tags else (outputs, names)
  answers = iter(task.kind.decode(*given))
  predictions = {
    name: [next(answers) for _ in part] for name, part in examples.items()
  }
  notes = []
  full = sum(len(f['tokens']) == max_length for f in features)
  if task.tags and len(features) > len(stream):
    notes.append(
      f'{len(stream):,} sentences were read in {len(features):,} windows of at '
      f'most max_length={max_length}: no word was cut'
    )
  elif full and not task.tags and truncate != 'error':
    notes.append(
      f'{full:,} of {len(stream):,} examples fill max_length={max_length}: '
      'what was longer was cut'
    )
  scores, majority = {}, {}
  for name, part in examples.items():
    why = unscored(task, part)
    if why:
      notes.append(f'{name}: {why}: predictions are written, not scored')
      scores[name] = majority[name] = None
      continue
    gold = [example.label for example in part]
    scores[name] = metrics.SCORES[task.metric](predictions[name], gold)
    majority[name] = metrics.majority(task.metric, gold)
  return Result(
    task=task,
    predictions=predictions,
    scores=scores,
    majority=majority,
    chance=metrics.chance(task.metric, names),
    average=metrics.mean(list(scores.values())),
    tokens=meter.tokens,
    tokens_per_second=meter.tokens_per_second,
    packing_efficiency=100 * meter.tokens / meter.computed,
    notes=tuple(notes),
  )


def _run(model: Loaded, names, features, meter):
  """Scores of features, and what decides: under a chain its best path."""
  tokens = [feature['tokens'] for feature in features]
  if model.head != 'crf':
    logits = model.logits(tokens, meter)
    return logits, logits
  active = [np.zeros(len(t), bool) for t in tokens]
  for inside, feature in zip(active, features, strict=True):
    inside[feature['words']] = True
  chain = dataclasses.replace(model, labels=names)  # the names as the task has
  return zip(*chain.paths(tokens, active, meter), strict=True)


def unscored(task: Task, examples: Sequence[Example]) -> str | None:
  """Why examples cannot be scored or learned from, where they cannot."""
  if not sources.has_labels(examples):
    count = sum(example.label is None for example in examples)
    return f'{count:,} of {len(examples):,} examples have no label'
  # Copies of XTREME's test files are about with one label on every line.
  kinds = {example.label for example in examples}
  if task.tags:
    kinds = {name for tags in kinds for name in tags}
  if not task.numbers and len(kinds) == 1 and len(examples) >= 100:
    return f'every label is {kinds.pop()!r}, which looks like a placeholder'
  return None


class _Meter:
  """A progress bar that counts tokens and takes the time."""

  def __init__(self, name: str, total: int, show: bool):
    self.tokens = self.computed = 0
    self._first = 0
    # A log that is no terminal gets a line now and then.
    self._bar = tqdm.tqdm(
      total=total,
      desc=name,
      unit='ex',
      unit_scale=False,
      mininterval=0.2 if sys.stderr.isatty() else 10,
      disable=not show,
    )

  def __enter__(self):
    self._start = self._compiled = self._end = time.perf_counter()
    return self

  def __exit__(self, *_):
    self._bar.close()

  def __call__(self, examples: int, tokens: int, computed: int) -> None:
    self._end = time.perf_counter()
    if not self.tokens:
      self._compiled, self._first = self._end, tokens
    self.tokens += tokens
    self.computed += computed
    self._bar.set_postfix_str(
      f'{self.tokens_per_second:,.0f} tokens/s', refresh=False
    )
    self._bar.update(examples)

  @property
  def tokens_per_second(self) -> float:
    if self.tokens > self._first:
      return (self.tokens - self._first) / (self._end - self._compiled)
    return self.tokens / (self._end - self._start)
