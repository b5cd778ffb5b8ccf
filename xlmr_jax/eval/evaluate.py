"""Evaluation: a task is a row of a table, and one loop scores any of them.

  reader → kind.encode of each language → one packed stream over all of them
  → kind.decode of each language → its score

All features of all languages share rows, so no padding is computed and one
program serves the whole table.
"""

from collections.abc import Callable, Mapping, Sequence
import dataclasses
import glob
import itertools
import pathlib
import re
import sys
import time
import types
from typing import Any

import numpy as np
import tqdm

from xlmr_jax import hf
from xlmr_jax.data import files, sources, squad, tagged
from xlmr_jax.eval import metrics, mining
from xlmr_jax.loaded import Loaded
from xlmr_jax.tasks import answer, classify, tag

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
    kind: module with `encode`, `gold` and `decode`, e.g. tasks.classify.
    heads: those that the kind reads; the first is the usual one. None: the
      body alone, whose vectors are compared.
    read: (data_dir, split, language) → examples.
    languages: in the benchmark's order.
    metric: one of metrics.METRICS.
    labels: the classes' names. None where there are none, as of numbers and
      answers, and where they are whatever the checkpoint knows.
    source: language that models are fine-tuned on.
    max_length: tokens of an example; what is longer is cut, and tagged
      sentences and contexts of questions are read in windows.
    reading: options of the kind's `encode`.
    deciding: options of its `decode`.
    vectors: options of Loaded.vectors, where there is no head.
  """

  name: str
  kind: types.ModuleType
  heads: tuple[str, ...]
  read: Callable[[str, str, str], list]
  languages: tuple[str, ...]
  metric: str = 'accuracy'
  labels: tuple[str, ...] | None = None
  source: str = 'en'
  max_length: int = MAX_LENGTH
  reading: Mapping[str, Any] = dataclasses.field(default_factory=dict)
  deciding: Mapping[str, Any] = dataclasses.field(default_factory=dict)
  vectors: Mapping[str, Any] = dataclasses.field(default_factory=dict)

  def __post_init__(self):
    if self.metric not in metrics.METRICS:
      raise ValueError(
        f'metric {self.metric!r} is not one of {", ".join(metrics.METRICS)}'
      )

  @property
  def numbers(self) -> bool:
    """Whether answers are numbers, not names."""
    return self.metric in metrics.NUMBERS

  @property
  def tags(self) -> bool:
    """Whether an example is a sentence with an answer for each word."""
    return self.kind is tag

  @property
  def named(self) -> bool:
    """Whether the model's outputs are classes that have names."""
    return self.kind in (classify, tag) and not self.numbers

  @property
  def windows(self) -> bool:
    """Whether what is too long is read in parts, and nothing cut."""
    return self.kind in (answer, tag)


@dataclasses.dataclass(frozen=True)
class Result:
  """What an evaluation found. Scores as in metrics.py, None without labels.

  Attributes:
    task: the row.
    predictions: language → one per example, in the order read; of tags a list;
      of retrieval one per query, or the pairs that were mined.
    scores: language → score.
    parts: name → language → score: what the metric was made of, if anything.
    majority: language → what the best constant scores.
    chance: what guessing scores.
    average: unweighted over languages.
    tokens: real tokens, specials included.
    tokens_per_second: real tokens through the model; the first batch, which
      waits for the compiler, is not counted where there is another.
    packing_efficiency: real per computed tokens over all batches, per cent.
    notes: what a reader of the scores should know.
    thresholds: language → score from which on a pair was taken for one.
    ids: language → of each prediction, where the examples have any.
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
  parts: Mapping[str, dict[str, float]] = dataclasses.field(
    default_factory=dict
  )
  thresholds: Mapping[str, float] = dataclasses.field(default_factory=dict)
  ids: Mapping[str, list[str]] = dataclasses.field(default_factory=dict)


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
      'span_f1' for files of tagged sentences (data/tagged.py) and 'squad' or
      'mlqa' for SQuAD's JSON (data/squad.py), which have no columns to choose.
    quoted: whether "..." in a table is a quoted field, or text as it is.
    max_length: tokens of an example.
  """
  numbers = metric in metrics.NUMBERS
  kind = {'span_f1': tag, 'squad': answer, 'mlqa': answer}.get(metric, classify)
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
    if kind is tag:
      return tagged.read(path)
    if kind is answer:
      return squad.read(path)
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
    kind=kind,
    heads=kind.HEADS,
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
) -> dict[str, list]:
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
  examples: Mapping[str, Sequence],
  *,
  labels: Sequence[str] | None = None,
  max_length: int | None = None,
  truncate: str = 'longest_first',
  thresholds: Mapping[str, float] | None = None,
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
    truncate: what is cut of a longer one (nothing, where it is read in
      windows); 'error' refuses it.
    thresholds: language → from which score on a mined pair counts; default:
      what is best on these very examples, as for a development set.
    show: whether to show a progress bar.

  Raises:
    ValueError: a model that does not fit the task, a bad example, or scores
      that are not finite.
  """
  if task.heads and model.head not in task.heads:
    article = 'an' if task.heads[0][0] in 'aeiou' else 'a'
    raise ValueError(
      f'{task.name} needs a checkpoint with {article} '
      f'{" or ".join(task.heads)} head, '
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
  if task.named:
    names = match_labels(model.labels, task.labels, labels)
  if not any(examples.values()):
    raise ValueError(f'{task.name}: there is nothing to evaluate')
  features = {
    language: task.kind.encode(
      part,
      model.tokenizer,
      labels=names,
      max_length=max_length,
      truncate=truncate,
      **task.reading,
    )
    for language, part in examples.items()
  }
  stream = [feature for part in features.values() for feature in part]
  with _Meter(task.name, len(stream), show) as meter:
    scores, outputs = _run(model, task, names, stream, meter)
  _check_finite(scores, features, examples)
  outputs = iter(outputs)
  found = {
    language: task.kind.decode(
      list(itertools.islice(outputs, len(part))), names, part, **task.deciding
    )
    for language, part in features.items()
  }
  facts = _judge(task, examples, found, thresholds or {})
  count, notes = sum(map(len, examples.values())), []
  full = sum(len(feature['tokens']) == max_length for feature in stream)
  if task.windows and len(stream) > count:
    notes.append(
      f'{count:,} examples were read in {len(stream):,} windows of at most '
      f'max_length={max_length}: no word was cut'
    )
  elif full and not task.windows and truncate != 'error':
    notes.append(
      f'{full:,} of {len(stream):,} texts fill max_length={max_length}: what '
      'was longer was cut'
    )
  return Result(
    task=task,
    chance=metrics.chance(task.metric, names),
    average=metrics.mean(list(facts['scores'].values())),
    tokens=meter.tokens,
    tokens_per_second=meter.tokens_per_second,
    packing_efficiency=100 * meter.tokens / meter.computed,
    notes=(*notes, *facts.pop('notes')),
    **facts,
  )


def _run(model: Loaded, task: Task, names, features, meter):
  """Scores of features, and what decides: under a chain its best path."""
  tokens = [feature['tokens'] for feature in features]
  if not task.heads:
    vectors = model.vectors(tokens, progress=meter, **task.vectors)
    return vectors, vectors
  if model.head != 'crf':
    logits = model.logits(tokens, meter)
    return logits, logits
  active = [np.zeros(len(t), bool) for t in tokens]
  for inside, feature in zip(active, features, strict=True):
    inside[feature['words']] = True
  chain = dataclasses.replace(model, labels=names)  # the names as the task has
  return zip(*chain.paths(tokens, active, meter), strict=True)


def _check_finite(scores, features, examples) -> None:
  bad = [i for i, x in enumerate(scores) if not np.isfinite(x).all()]
  if not bad:
    return
  at = bad[0]
  for language, part in features.items():
    if at < len(part):
      where = examples[language][part[at].get('example', at)].where
      break
    at -= len(part)
  raise ValueError(
    f'{where}: the model gives {scores[bad[0]]}, as for {len(bad)} of '
    f'{len(scores)} examples: its parameters are broken, or its dtype too '
    'narrow'
  )


def _judge(task: Task, examples, found, thresholds) -> dict[str, Any]:
  """The scores of a Result: what was found beside what is right."""
  scores, parts, majority, used, ids = {}, {}, {}, {}, {}
  predictions, notes = {}, []
  for language, part in examples.items():
    answers, gold = found[language], task.kind.gold(part)
    why = unscored(task, part)
    if task.metric == 'pair_f1':
      pairs = {(source, target): score for source, target, score in answers}
      threshold = thresholds.get(language)
      if threshold is None:
        threshold = 0.0 if why else mining.best_threshold(pairs, gold)
        notes.append(
          f'{language}: no threshold is known, so all pairs are written'
          if why
          else f'{language}: the threshold {threshold:.4f} was chosen on these '
          'very pairs'
        )
      used[language] = threshold
      answers = mining.mined(pairs, threshold)
    elif part and hasattr(part[0], 'id') and len(part) == len(answers):
      ids[language] = [example.id for example in part]
    predictions[language] = answers
    if why:
      notes.append(f'{language}: {why}: predictions are written, not scored')
      scores[language] = majority[language] = None
      continue
    score = metrics.score(task.metric, answers, gold, language)
    scores[language] = score.pop(task.metric)
    for name, value in score.items():
      parts.setdefault(name, {})[language] = value
    majority[language] = (
      metrics.majority(task.metric, gold) if task.heads else None
    )
  return dict(
    predictions=predictions,
    scores=scores,
    parts=parts,
    majority=majority,
    thresholds=used,
    ids=ids,
    notes=notes,
  )


def unscored(task: Task, examples: Sequence) -> str | None:
  """Why examples cannot be scored or learned from, where they cannot."""
  gold = task.kind.gold(examples)
  missing = sum(label is None for label in gold)
  if missing or not gold:
    return f'{missing:,} of {len(gold):,} examples have no label'
  if not task.named:
    return None
  # Copies of XTREME's test files are about with one label on every line.
  kinds = {name for tags in gold for name in tags} if task.tags else set(gold)
  if len(kinds) == 1 and len(examples) >= 100:
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
