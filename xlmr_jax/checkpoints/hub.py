"""Models by their name on the Hugging Face hub."""

import os
import pathlib

# Beside a model, saying how to use it. A `*` goes over folders too.
PATTERNS = (
  'modules.json',
  '*/config.json',
  'config_sentence_transformers.json',
  'sparse_linear.pt',
  'colbert_linear.pt',
)
# The model itself; older sentence-transformers put it in a folder below.
BELOW = ('', '0_*/')
FACTS = ('config.json', 'sentence_*_config.json', 'hparams.yaml')
SAFE = (
  'model.safetensors',
  'model-*.safetensors',
  'model.safetensors.index.json',
)
PICKLED = (
  'pytorch_model.bin',
  'pytorch_model-*.bin',
  'pytorch_model.bin.index.json',
  'checkpoints/model.ckpt',  # COMET's
)


def download(
  name: str, revision: str | None = None, files: tuple[str, ...] = ()
) -> pathlib.Path:
  """A hub name → the folder of its files in huggingface_hub's cache.

  Pickled weights come only where there are no safetensors. Offline
  (HF_HUB_OFFLINE=1, or no network) it is what the cache holds.

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

  def bring(weights: tuple[str, ...]) -> pathlib.Path:
    model = [b + f for b in BELOW for f in (*FACTS, *files, *weights)]
    folder = huggingface_hub.snapshot_download(
      name, revision=revision, allow_patterns=[*PATTERNS, *model]
    )
    return pathlib.Path(folder)

  try:
    try:
      folder = bring(SAFE)
    except errors.LocalEntryNotFoundError:  # offline, they are not in the cache
      return bring(PICKLED)
    if any(any(folder.glob(b + f)) for b in BELOW for f in SAFE):
      return folder
    return bring(PICKLED)
  # The first of them is the base of whatever goes wrong on the way.
  except (*errors.HfHubHTTPError.__bases__, errors.HFValidationError) as e:
    reason = ' '.join(str(e).split())
    raise ValueError(
      f'{name!r} is not a directory, and the Hugging Face hub gave no model of '
      f'that name{f" at revision {revision}" if revision else ""}: {reason}'
    ) from e
