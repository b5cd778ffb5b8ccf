"""What a recipe asks of the train loop, by its objective.

pretraining   a corpus folder, MLM or causal LM; judged by held-out loss per
              language
fine-tuning   labelled examples; judged by score on development languages
"""

import pathlib

from xlmr_jax.training.finetuning import fine_tuning
from xlmr_jax.training.job import Job
from xlmr_jax.training.pretraining import pretraining

BUILD = {
  'mlm': pretraining,
  'causal': pretraining,
  'classify': fine_tuning,
  'regression': fine_tuning,
  'tag': fine_tuning,
  'crf': fine_tuning,
  'answer': fine_tuning,
  'choose': fine_tuning,
}


def build(config, workdir, mesh) -> Job:
  """Config → Job.

  Raises:
    ValueError: a setting or a file that does not fit.
  """
  if config.objective not in BUILD:
    raise ValueError(
      f'config.objective={config.objective!r} is not one of {", ".join(BUILD)}'
    )
  if config.accumulate < 1:
    raise ValueError(f'config.accumulate={config.accumulate} is not positive')
  return BUILD[config.objective](config, pathlib.Path(workdir), mesh)
