"""Evaluation: one loop scores any task.

  reader → kind.encode of each language → one packed stream over all of them
  → kind.decode of each language → its score

All features of all languages share rows, so no padding is computed and one
program serves the whole table.
"""

from collections.abc import Mapping, Sequence
import dataclasses
import itertools
import sys
import time
from typing import Any

import numpy as np
import tqdm

from xlmr_jax import heads
from xlmr_jax.eval import no_answer
from xlmr_jax.eval.metrics import null_answers, pairs, scores, spans
from xlmr_jax.eval.task import Task, match_labels, unscored
from xlmr_jax.inference.loaded import Loaded
from xlmr_jax.runtime import hosts


@dataclasses.dataclass(frozen=True)
class Result:
  """What an evaluation gives.

  Scores are those of metrics/scores.py; None without labels.

  Attributes:
    task: the row.
    predictions: language → one per example, in the order read: a list of tags,
      CLUENER's spans (spans.marked); for retrieval one per query, or the mined
      pairs.
    scores: language → score.
    parts: name → language → score: the parts of the metric, if it has any.
    majority: language → what the best constant scores.
    chance: what guessing scores.
    average: unweighted over languages.
    tokens: real tokens, specials included.
    tokens_per_second: real tokens through the model; the first batch, which
      waits for the compiler, is not counted where there is another.
    packing_efficiency: real per computed tokens over all batches, per cent.
    notes: what a reader of the scores should know.
    thresholds: language → the lowest score of a pair that counts as one; or by
      how much no answer had to beat a span.
    nulls: of questions that may have no answer.
    ids: language → the id of each prediction, where the examples have ids; of
      tags their words, where the task keeps them.
    deciding: options of the kind's `decode` that were used, and the null
      threshold.
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
  nulls: no_answer.Nulls | None = None
  ids: Mapping[str, list] = dataclasses.field(default_factory=dict)
  deciding: Mapping[str, Any] = dataclasses.field(default_factory=dict)


def evaluate(
  model: Loaded,
  task: Task,
  examples: Mapping[str, Sequence],
  *,
  labels: Sequence[str] | None = None,
  max_length: int | None = None,
  truncate: str = 'longest_first',
  thresholds: Mapping[str, float] | None = None,
  null_threshold: float | None = None,
  tuning: Mapping[str, Any] | None = None,
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
    truncate: which part of a longer one is cut (none, where it is read in
      windows); 'error' refuses it.
    thresholds: language → the lowest score of a mined pair that counts;
      default: the best one on these very examples, as for a development set.
    null_threshold: by how much no answer must beat the best span to be given;
      default: what the checkpoint says.
    tuning: where it is given, what the checkpoint says of decoding is chosen on
      these very examples instead, for all languages: the null threshold, or
      what the kind's `tune` gives with these options.
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
  with _Meter(task.name, len(stream), show and hosts.lead()) as meter:
    values, outputs = _run(model, task, names, stream, meter)
  _check_finite(values, features, examples)
  deciding = dict(task.deciding)
  if task.kind.tune is not None:
    deciding |= model.weights.deciding
    if tuning is not None:
      deciding |= task.kind.tune(outputs, stream, names, **tuning)
  outputs = iter(outputs)
  outputs_of = {
    language: list(itertools.islice(outputs, len(part)))
    for language, part in features.items()
  }
  nulls = None
  if task.nulls:
    if null_threshold is None:
      null_threshold = model.null_threshold
    nulls = no_answer.decide(
      task,
      examples,
      outputs_of,
      features,
      null_threshold,
      choose=tuning is not None,
    )
    deciding[no_answer.NULL_THRESHOLD] = nulls.threshold
    decoded = nulls.predictions
  else:
    decoded = {
      language: task.kind.decode(outputs_of[language], names, part, **deciding)
      for language, part in features.items()
    }
  facts = _judge(task, names, examples, decoded, thresholds or {}, nulls)
  count, notes = sum(map(len, examples.values())), []
  full = sum(len(feature['tokens']) == max_length for feature in stream)
  if task.kind.windows and len(stream) > count:
    notes.append(
      f'{count:,} examples were read in {len(stream):,} windows of at most '
      f'max_length={max_length}: no word was cut'
    )
  elif full and not task.kind.windows and truncate != 'error':
    notes.append(
      f'{full:,} of {len(stream):,} texts fill max_length={max_length}: what '
      'was longer was cut'
    )
  choices: Sequence[int] = ()
  if task.kind.examples == 'choices':
    choices = [len(e.choices) for part in examples.values() for e in part]
  return Result(
    task=task,
    chance=scores.chance(task.metric, names, choices),
    average=scores.mean(list(facts['scores'].values())),
    tokens=meter.tokens,
    tokens_per_second=meter.tokens_per_second,
    packing_efficiency=100 * meter.tokens / meter.computed,
    notes=(*notes, *facts.pop('notes')),
    nulls=nulls,
    deciding=deciding,
    **facts,
  )


def _run(model: Loaded, task: Task, names, features, meter):
  """Outputs of features, and what `decode` takes: a chain's best path."""
  tokens = [feature['tokens'] for feature in features]
  if not task.heads:
    # Languages share pools of candidates, and a text has one vector.
    places: dict[bytes, int] = {}
    at = [places.setdefault(t.tobytes(), len(places)) for t in tokens]
    distinct = [np.frombuffer(t, np.int32) for t in places]
    meter.expect(len(distinct))
    distinct_vectors = model.vectors(distinct, progress=meter, **task.vectors)
    vectors = [distinct_vectors[i] for i in at]  # views: a pool is held once
    return vectors, vectors
  if not heads.HEADS[model.head].chain:
    logits = model.logits(tokens, meter)
    return logits, logits
  active = [np.zeros(len(t), bool) for t in tokens]
  for inside, feature in zip(active, features, strict=True):
    inside[feature['words']] = True
  chain = model.replace(labels=names)  # the names as the task has
  # A window that begins with a sentence's first word begins another sentence.
  sentences = np.cumsum([not feature['first'] for feature in features])
  paths = chain.paths(tokens, active, meter, sentences.tolist())
  return zip(*paths, strict=True)


def _check_finite(values, features, examples) -> None:
  bad = [i for i, x in enumerate(values) if not np.isfinite(x).all()]
  if not bad:
    return
  at = bad[0]
  for language, part in features.items():
    if at < len(part):
      where = examples[language][part[at].get('example', at)].where
      break
    at -= len(part)
  raise ValueError(
    f'{where}: the model gives {values[bad[0]]}, as for {len(bad)} of '
    f'{len(values)} examples: its parameters are broken, or its dtype too '
    'narrow'
  )


def _judge(
  task: Task, names, examples, decoded, thresholds, nulls
) -> dict[str, Any]:
  """The scores of a Result: predictions against the right answers."""
  score_of: dict[str, float | None] = {}
  majority: dict[str, float | None] = {}
  parts: dict[str, dict[str, float]] = {}
  used, ids = {}, {}
  predictions, notes = {}, list(nulls.notes if nulls else ())
  for language, part in examples.items():
    answers, gold = decoded[language], task.kind.gold(part)
    why = unscored(task, part)
    if task.metric == 'pair_f1':
      scored_pairs = {
        (source, target): score for source, target, score in answers
      }
      threshold = thresholds.get(language)
      if threshold is None:
        threshold = 0.0 if why else pairs.best_threshold(scored_pairs, gold)
        notes.append(
          f'{language}: no threshold is known, so all pairs are written'
          if why
          else f'{language}: the threshold {threshold:.4f} was chosen on these '
          'very pairs'
        )
      used[language] = threshold
      answers = pairs.mined(scored_pairs, threshold)
    elif part and hasattr(part[0], 'id'):
      # Of a pool and its queries only the queries have predictions.
      queries = [e for e in part if getattr(e, 'side', None) != 0]
      if len(queries) == len(answers):
        ids[language] = [example.id for example in queries]
    if task.keeps_words:
      ids[language] = [example.words for example in part]
    if task.metric == 'cluener':  # surfaces count, not tags
      answers, gold = (_surfaces(part, tags) for tags in (answers, gold))
    predictions[language] = answers
    if nulls:
      used[language] = nulls.threshold
    if why:
      notes.append(f'{language}: {why}: predictions are written, not scored')
      score_of[language] = majority[language] = None
      continue
    score: dict[str, float] = {}
    for metric in (task.metric, *task.beside):
      score |= scores.score(metric, answers, gold, language, names)
    if nulls:
      score |= null_answers.best_thresholds(
        nulls.spans[language], gold, nulls.odds[language]
      )
    notes += [f'{language}: {text}' for text in no_answer.remarks(task, part)]
    score_of[language] = score.pop(task.metric)
    for name, value in score.items():
      parts.setdefault(name, {})[language] = value
    majority[language] = (
      scores.majority(task.metric, gold) if task.heads else None
    )
  return dict(
    predictions=predictions,
    scores=score_of,
    parts=parts,
    majority=majority,
    thresholds=used,
    ids=ids,
    notes=notes,
  )


def _surfaces(examples, tags) -> list:
  return [
    None if words_tags is None else spans.marked(example.words, words_tags)
    for example, words_tags in zip(examples, tags, strict=True)
  ]


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

  def expect(self, examples: int) -> None:
    self._bar.total = examples

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
