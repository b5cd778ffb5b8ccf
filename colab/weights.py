"""Which weights a notebook takes: published ones, where a hub is in reach.

  python colab/weights.py

prints the name of a checkpoint for --config.init, or nothing; on stderr it
says which it is and why. The variable WEIGHTS decides instead: the name or
folder of a checkpoint, or `none` to ask no hub.
"""

import os
import sys

PUBLISHED = 'FacebookAI/xlm-roberta-base'
SECONDS = 5.0


def choose(name: str = PUBLISHED, seconds: float = SECONDS) -> tuple[str, str]:
  """(checkpoint, a line for people); '' where there are no published weights.

  Args:
    name: on the Hugging Face hub.
    seconds: to wait for its answer.
  """
  given = os.environ.get('WEIGHTS', '')
  if given == 'none':
    return '', 'WEIGHTS=none: no published weights, a tiny home-made model'
  if given:
    return given, f'WEIGHTS={given}: weights of that checkpoint'
  import huggingface_hub

  kept = huggingface_hub.try_to_load_from_cache(name, 'model.safetensors')
  if isinstance(kept, str):
    return name, f'published weights: {name}, already on this disk'
  try:
    huggingface_hub.HfApi().model_info(name, timeout=seconds)
  except Exception as error:  # of any layer of the network
    return '', (
      f'no hub in reach ({type(error).__name__}): no published weights, a tiny '
      'home-made model'
    )
  return name, f'published weights: {name}, from the Hugging Face hub'


if __name__ == '__main__':
  checkpoint, line = choose(
    seconds=float(os.environ.get('WEIGHTS_SECONDS', SECONDS))
  )
  print(line, file=sys.stderr)
  print(checkpoint)
