"""Models by their name on the Hugging Face hub."""

import os
import pathlib

# The format's files, and those beside a model that say how to use it.
PATTERNS = (
  'config.json',
  'modules.json',
  '*/config.json',
  '*sentence_bert_config.json',
  'config_sentence_transformers.json',
  'sparse_linear.pt',
  'colbert_linear.pt',
)
SAFE = ('*model*.safetensors', '*model.safetensors.index.json')
PICKLED = ('*pytorch_model*.bin', '*pytorch_model.bin.index.json')


def download(
  name: str, revision: str | None = None, files: tuple[str, ...] = ()
) -> pathlib.Path:
  """A hub name → the folder of its files in huggingface_hub's cache.

  Offline (HF_HUB_OFFLINE=1, or no network) it is what the cache holds.

  Args:
    name: 'FacebookAI/xlm-roberta-base', or with '@revision' behind it.
    revision: a branch, tag or commit.
    files: names of further files to bring, a tokenizer's.

  Raises:
    ValueError: there is no such model, or no way to the hub.
  """
  import huggingface_hub
  from huggingface_hub import errors

  if '@' in name and revision is None:
    name, _, revision = name.partition('@')
  if name.count('/') > 1 or os.path.isabs(name) or name.startswith('.'):
    raise ValueError(f'{name!r} is not a directory')
  options = dict(repo_id=name, revision=revision)
  try:
    weights = SAFE
    try:
      listed = huggingface_hub.HfApi().list_repo_files(**options)
      if not any(file.endswith('.safetensors') for file in listed):
        weights = PICKLED
    except (errors.OfflineModeIsEnabled, ConnectionError, OSError):
      weights = SAFE + PICKLED  # whatever the cache has
    folder = huggingface_hub.snapshot_download(
      **options, allow_patterns=[*PATTERNS, *weights, *files]
    )
  except (errors.HfHubHTTPError, errors.HFValidationError, OSError) as e:
    reason = str(e).strip().partition('\n')[0]
    raise ValueError(
      f'{name!r} is not a directory, and the Hugging Face hub gave no model of '
      f'that name{f" at revision {revision}" if revision else ""}: {reason}'
    ) from e
  return pathlib.Path(folder)
