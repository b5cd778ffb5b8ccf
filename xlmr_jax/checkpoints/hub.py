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
FACTS = (
  'config.json',
  'adapter_config.json',
  'sentence_*_config.json',
  'hparams.yaml',
)
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
# Of a repository that is an adapter, without a model.
ADAPTER = ('adapter_model.safetensors', 'adapter_model.bin')


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
    ValueError: there is no such model or revision, it is gated, the hub cannot
      be reached or gave an error, or it is offline and not in the cache.
    OSError: the files cannot be stored: no space, no permission.
  """
  import huggingface_hub
  from huggingface_hub import errors

  if '@' in name and revision is None:
    name, _, revision = name.partition('@')
  if name.count('/') > 1 or os.path.isabs(name) or name[:1] in '.~':
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
    if (folder / FACTS[1]).exists() and not (folder / FACTS[0]).exists():
      return bring(ADAPTER)
    if any(any(folder.glob(b + f)) for b in BELOW for f in SAFE):
      return folder
    return bring(PICKLED)
  # errors.HfHubHTTPError's first base is that of all errors of the network.
  except (*errors.HfHubHTTPError.__bases__, errors.HFValidationError) as e:
    raise _explain(e, name, revision) from e


def _explain(error: Exception, name: str, revision: str | None) -> Exception:
  """What an error of huggingface_hub means, in one line."""
  from huggingface_hub import constants, errors

  reason = ' '.join(str(error).split())
  start = f'{name!r} is not a directory, and '
  at = f' at revision {revision}' if revision else ''
  unknown = (
    errors.HFValidationError,
    errors.RepositoryNotFoundError,
    errors.RevisionNotFoundError,
  )
  if isinstance(error, errors.GatedRepoError):  # one of `unknown`, too
    return ValueError(
      f'{start}on the Hugging Face hub it is gated: ask for access on '
      f'{constants.ENDPOINT}/{name} and log in (hf auth login): {reason}'
    )
  if isinstance(error, unknown):
    return ValueError(
      f'{start}the Hugging Face hub gave no model of that name{at}: {reason}'
    )
  if isinstance(error, errors.HfHubHTTPError):
    return ValueError(f'{start}the Hugging Face hub gave an error: {reason}')
  if constants.HF_HUB_OFFLINE:
    return ValueError(
      f'{start}the cache {constants.HF_HUB_CACHE} does not hold it{at}: unset '
      'HF_HUB_OFFLINE to ask the Hugging Face hub'
    )
  network = (errors.LocalEntryNotFoundError, ConnectionError, TimeoutError)
  if (
    not isinstance(error, OSError)
    or isinstance(error, network)
    or error.errno is None
  ):
    cause = error.__cause__ or error
    if isinstance(cause, errors.HfHubHTTPError):
      return _explain(cause, name, revision)
    reason = ' '.join(str(cause).split()) or type(cause).__name__
    return ValueError(
      f'{start}the Hugging Face hub ({constants.ENDPOINT}) cannot be reached, '
      f'nor does the cache hold it{at}: {reason}'
    )
  return OSError(
    error.errno,
    f'could not store {name!r} of the Hugging Face hub: {error.strerror}',
    str(error.filename or constants.HF_HUB_CACHE),
  )
