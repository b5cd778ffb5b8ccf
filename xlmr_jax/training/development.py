"""The evaluator of fine-tuning: scores on development languages."""

import jax

from xlmr_jax.eval import evaluate
from xlmr_jax.eval.metrics import scores as metrics
from xlmr_jax.eval.no_answer import NULL_THRESHOLD
from xlmr_jax.inference.loaded import Loaded


class Development:
  """Score per development language: accuracy, mean squared error, span F1,
  the mean of an answer's exact match and F1, or where some questions have no
  answer their F1, with that of both kinds; and the means of what the task
  reports beside it.

  With `tuning` thresholds are chosen on the same examples and are values, too:
  `null_threshold`, or threshold/LABEL of each label. `kept` names them.

  Where labels are names, also `collapsed`: 1 if the model gives all examples
  the same name. Large models that are tuned at too high a rate do so, and do
  not recover.
  """

  def __init__(self, task, examples, model: Loaded, tuning=None):
    self._task, self._examples, self._model = task, examples, model
    self._tuning = tuning
    self.kept: dict[str, str | tuple[str, ...]] = {}
    if task.nulls:
      self.kept = {NULL_THRESHOLD: NULL_THRESHOLD}
    elif tuning is not None:
      names = tuple(f'threshold/{label}' for label in model.labels or ())
      self.kept = {'thresholds': names}

  def __call__(self, params) -> dict[str, float | None]:
    name = f'dev_{self._task.metric}'
    result = evaluate.evaluate(
      self._model.replace(params=params),
      self._task,
      self._examples,
      tuning=self._tuning,
      show=False,
    )
    scores = {f'{name}/{k}': v for k, v in result.scores.items()}
    scores[name] = result.average
    if result.nulls:
      for part in ('HasAns_f1', 'NoAns_f1'):
        values = list(result.parts.get(part, {}).values())
        scores[f'{name}_{part}'] = metrics.mean(values)
    for other in self._task.beside:
      values = list(result.parts[other].values())
      scores[f'dev_{other}'] = metrics.mean(values)
    for option, kept in self.kept.items():
      chosen = result.deciding[option]
      if isinstance(kept, str):
        scores[kept] = chosen
      else:
        scores |= zip(kept, chosen, strict=True)
    if self._task.named:
      names = [x for part in result.predictions.values() for x in part]
      if self._task.metric == 'cluener':  # types of spans; there may be none
        names = [name for types in names for name in ('O', *types)]
      elif self._task.tags:
        names = [tag for tags in names for tag in tags]
      scores['collapsed'] = float(len(set(names)) == 1)
      if scores['collapsed'] and jax.process_index() == 0:
        print(
          f'every answer on the development set is {names[0]!r}: if that '
          'stays, lower the learning rate or warm up longer',
          flush=True,
        )
    return scores
