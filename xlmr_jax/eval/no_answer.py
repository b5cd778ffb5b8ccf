"""Questions that may have no answer: who gets none, and by which threshold."""

from collections.abc import Mapping, Sequence
import dataclasses

from xlmr_jax.eval.metrics import null_answers
from xlmr_jax.eval.task import Task, unscored
from xlmr_jax.tasks.answer_spans import with_threshold

# What a threshold is called, in Weights.deciding and among the values of a run.
NULL_THRESHOLD = 'null_threshold'


@dataclasses.dataclass(frozen=True)
class Nulls:
  """Best spans, and where none of them is given.

  Attributes:
    spans: language → the best span for each question.
    odds: language → by how much no answer beats it.
    threshold: above it there is no answer.
    notes: where the threshold comes from, if that is to be known.
  """

  spans: dict[str, list[str]]
  odds: dict[str, list[float]]
  threshold: float
  notes: tuple[str, ...] = ()

  @property
  def predictions(self) -> dict[str, list[str]]:
    """The answers by language, '' for none."""
    return {
      language: with_threshold(spans, self.odds[language], self.threshold)
      for language, spans in self.spans.items()
    }


def decide(
  task: Task,
  examples: Mapping[str, Sequence],
  outputs: Mapping[str, Sequence],
  features: Mapping[str, Sequence],
  threshold: float | None,
  choose: bool,
) -> Nulls:
  """Decodes outputs of all languages, by one threshold.

  Args:
    task: whose kind has odds of no answer.
    examples: language → examples.
    outputs: language → what the model gives for each feature.
    features: language → features.
    threshold: the one to use, if it is known.
    choose: whether it is chosen on these very examples, by F1.
  """
  decode = task.kind.null_odds
  assert decode is not None  # by the metric
  spans, odds = {}, {}
  for language, part in features.items():
    spans[language], odds[language] = decode(
      outputs[language], part, **task.deciding
    )
  if choose and not any(unscored(task, part) for part in examples.values()):
    flat = lambda parts: [item for part in parts.values() for item in part]
    gold = task.kind.gold(flat(examples))
    threshold = null_answers.choose_threshold(flat(spans), gold, flat(odds))
  if threshold is not None:
    return Nulls(spans, odds, threshold)
  note = (
    'no null threshold is known of this checkpoint, so 0 was taken: no answer '
    'is given where it beats the best span at all. Training with a dev file '
    'that has questions without an answer chooses one, and --null_threshold '
    'sets it; best_f1_thresh is the best one on these very questions'
  )
  return Nulls(spans, odds, 0.0, (note,))


def tested_by(task: Task, examples: Sequence) -> Task:
  """The task, scored with no answers where some examples have none."""
  usual = task.metric == task.kind.metrics[0]
  if usual and task.kind.null_metric and _count(task, examples):
    return dataclasses.replace(task, metric=task.kind.null_metric)
  return task


def remarks(task: Task, examples: Sequence) -> list[str]:
  """What is wrong with a metric that knows no question without an answer."""
  if not task.kind.null_metric or task.nulls or not _count(task, examples):
    return []
  return [
    f'{_count(task, examples):,} of {len(examples):,} questions have no answer,'
    f' and {task.metric} gives every one some: score them with --metric='
    f'{task.kind.null_metric}'
  ]


def _count(task: Task, examples: Sequence) -> int:
  gold = [right for right in task.kind.gold(examples) if right is not None]
  return null_answers.has_answer(gold).count(False)
