"""The evaluator of fine-tuning: scores on development languages."""

import jax

from xlmr_jax.eval import evaluate
from xlmr_jax.eval.metrics.scores import mean
from xlmr_jax.inference.loaded import Loaded


class Development:
  """Score per development language: accuracy, mean squared error, span F1,
  the mean of an answer's exact match and F1; and the means of what the task
  reports beside it.

  With `tuning` thresholds are chosen on the same examples and are the values
  threshold/LABEL.

  Where labels are names, also `collapsed`: 1 if the model gives all examples
  the same name. Large models that are tuned at too high a rate do so, and do
  not recover.
  """

  def __init__(self, task, examples, model: Loaded, tuning=None):
    self._task, self._examples, self._model = task, examples, model
    self._tuning = tuning or {}

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
    for other in self._task.beside:
      scores[f'dev_{other}'] = mean(list(result.parts[other].values()))
    if self._tuning:
      thresholds = result.deciding['thresholds']
      labels = self._model.labels or ()
      for label, threshold in zip(labels, thresholds, strict=True):
        scores[f'threshold/{label}'] = threshold
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
