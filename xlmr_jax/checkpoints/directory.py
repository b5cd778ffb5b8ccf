"""Reads a model from any directory, or by its hub name; writes one.

FORMATS is the table of what is known. Whatever is written appears whole or
not at all: it is made under a temporary name and renamed.
"""

from collections.abc import Callable
import dataclasses
import pathlib
import re
from typing import Any

from xlmr_jax.checkpoints import comet, fairseq, hub, native, peft, unread
from xlmr_jax.checkpoints import weights as weights_lib
from xlmr_jax.checkpoints.hf import files, reader, writer
from xlmr_jax.checkpoints.weights import STORED, Weights
from xlmr_jax.runtime import buckets


@dataclasses.dataclass(frozen=True)
class Format:
  """A kind of files that hold a model: a row of FORMATS.

  Attributes:
    name: what --format and `write` call it.
    mark: the file by which a directory is known, for error messages.
    recognise: whether a path holds a model in this format. A path is of one
      format at most.
    read: (path, head=, lazily=, timer=) → the Weights, with the options of
      `directory.read`; None where the format is only written.
    write: (folder, weights) → writes a new or empty folder, whole or not at
      all; None where the format is only read. Arrays may still lie in files
      (arrays.DiskArray): np.asarray reads them.
    fresh: whether `write` also takes fresh=True, for files that forget what
      the source looked like.
    adapters: whether `write` takes models with adapters; those of others are
      merged first.
    base: path → the model without which it is none: `read` gets that too, as
      base=.
  """

  name: str
  mark: str
  recognise: Callable[[pathlib.Path], bool]
  read: Callable[..., Weights] | None = None
  write: Callable[..., None] | None = None
  fresh: bool = False
  adapters: bool = False
  base: Callable[[pathlib.Path], str] | None = None


FORMATS: dict[str, Format] = {
  row.name: row
  for row in (
    Format(
      'orbax',
      native.MODEL,
      native.recognise,
      native.read,
      native.write,
      adapters=True,
    ),
    Format(
      'hf', 'config.json', reader.recognise, reader.read, writer.write, True
    ),
    Format('comet', comet.SETTINGS, comet.recognise, comet.read),
    Format(
      'peft',
      peft.CONFIG,
      peft.recognise,
      peft.read,
      peft.write,
      adapters=True,
      base=peft.base_of,
    ),
    Format('fairseq', fairseq.MODEL, fairseq.recognise, fairseq.read),
  )
}


def written() -> list[str]:
  """Names of the formats that `write` knows."""
  return [name for name, row in FORMATS.items() if row.write is not None]


def recognise(path) -> Format | None:
  """The format of a path, or None."""
  return _row(_locate(path))


def _row(path: pathlib.Path) -> Format | None:
  rows = (row for row in FORMATS.values() if row.recognise(path))
  return next(rows, None)


# A file of weights or its index in Hugging Face's format, one or a shard.
_FILE = re.compile(
  r'(model|pytorch_model|adapter_model)(-\d+-of-\d+)?\.(safetensors|bin)'
  r'(\.index\.json)?|(adapter_)?config\.json'
)


def _locate(path) -> pathlib.Path:
  """Where a model lies on this disk; of a file in a model's folder, that.

  Raises:
    ValueError: a file that is no model by itself, nor read with its folder.
  """
  folder = buckets.fetch(path)
  if not folder.is_file() or folder.suffix not in (
    *('.safetensors', '.bin', '.json', '.msgpack', '.h5', '.gguf', '.onnx'),
  ):
    return folder
  file, folder = folder, folder.parent
  if file.name == native.MODEL and native.recognise(folder):
    return folder
  if not _FILE.fullmatch(file.name) or not reader.recognise(folder):
    why = unread.explain(folder)
    raise ValueError(
      f'{file} is a file, and a model is a folder with config.json, the '
      f'weights ({files.WEIGHTS} or {files.BIN}) and its tokenizer'
      + (f'; of {folder}: {why}' if why else ': give that folder')
    )
  safe = [folder / name for name in (files.WEIGHTS, files.INDEX)]
  if file.suffix == '.bin' and any(other.exists() for other in safe):
    raise ValueError(
      f'{file} lies beside {files.WEIGHTS}, which is read first: give the '
      'folder for that, or move one of the two away'
    )
  return folder


def read(
  path,
  *,
  head: str | None = STORED,
  revision: str | None = None,
  base: str | None = None,
  lazily: bool = False,
  timer: dict[str, float] | None = None,
) -> Weights:
  """Reads a directory of any format, or a model by its hub name.

  Args:
    path: our directory, a workdir (its best step, else its latest), a
      Hugging Face directory or the file of weights in one, an original one of
      fairseq or COMET, each also in a bucket (gs://…, s3://…), or a hub name
      such as 'FacebookAI/xlm-roberta-base'.
    head: the head that is wanted, None for the body alone. A head that the
      checkpoint does not hold is left out, for the caller to make.
    revision: of a hub name: a branch, tag or commit.
    base: of an adapter: the model that it was made for, where that is not, or
      no longer, what its files name.
    lazily: leave the arrays on the disk, to be read part by part.
    timer: filled with seconds by phase, where given.

  Raises:
    ValueError: no model of this family is there, or the hub gives none.
    OSError: the hub's files cannot be stored.
  """
  folder = _locate(path)
  if revision is not None and folder.exists():
    raise ValueError(f'revision={revision!r}, but {folder} is a directory')
  row = _row(folder)
  if row is None and not folder.exists():
    folder = hub.download(str(path), revision, weights_lib.TOKENIZER_FILES)
    row = _row(folder)
  if row is None or row.name != 'orbax':
    _check_no_benchmark(folder)
  if row is None or row.read is None:
    raise ValueError(_unknown(folder))
  how: dict[str, Any] = dict(lazily=lazily, timer=timer)
  if row.base is not None:
    how['base'] = _read_base(folder, base or row.base(folder), how)
  elif base is not None:
    raise ValueError(f'base={base!r} is for adapters, and {folder} is a model')
  return row.read(folder, head=head, **how)


def _read_base(folder: pathlib.Path, base: str, how: dict[str, Any]) -> Weights:
  """The model that an adapter was made for."""
  try:
    return read(base, **how)
  except (ValueError, OSError) as e:
    raise ValueError(
      f'{folder} is an adapter, and its base {base!r} cannot be read: {e}. '
      'Name the base that it was made for with base= (--base)'
    ) from e


def _check_no_benchmark(folder: pathlib.Path) -> None:
  """Raises ValueError for a folder whose models are in its folder runs/."""
  runs = sorted(x.name for x in folder.glob('runs/*') if native.recognise(x))
  if runs:
    raise ValueError(
      f'{folder} is the workdir of a whole benchmark: name one of its models, '
      f'{folder / "runs" / runs[0]}'
      + (f' or another of {", ".join(runs[1:])}' if runs[1:] else '')
    )


def _unknown(folder: pathlib.Path) -> str:
  """Why a path is no model."""
  if not folder.is_dir():
    return f'{folder} is not a directory'
  marks = [f'{row.mark} ({row.name})' for row in FORMATS.values() if row.read]
  why = unread.explain(folder)
  return (
    f'{folder} is no model that can be read: it has none of {", ".join(marks)}'
    + (f'; {why}' if why else '')
  )


def write(folder, weights: Weights, format: str, *, fresh=False) -> None:
  """Writes a model in a format, whole or not at all.

  Args:
    folder: a new or empty directory, also gs://… or s3://….
    weights: the model, on devices or not, its tokenizer's files included.
    format: a name of FORMATS: 'orbax' (ours), 'hf' (Hugging Face's files),
      'peft' (the adapters and the head alone).
    fresh: hf: today's key names instead of the source's own.

  Raises:
    ValueError: the folder is not empty, no such format can be written, or it
      knows no `fresh`.
    OSError: the disk is full, or the like; the folder is as it was.
  """
  row = FORMATS.get(format)
  if row is None or row.write is None:
    raise ValueError(f'format {format!r} is not one of {", ".join(written())}')
  if fresh and not row.fresh:
    names = [name for name, other in FORMATS.items() if other.fresh]
    raise ValueError(
      f'fresh is for the format {", ".join(names)}, not for {format}'
    )
  options = {'fresh': True} if fresh else {}
  weights = weights_lib.on_host(weights)
  if not row.adapters:
    weights = weights_lib.merged(weights)
  with buckets.publishing(folder) as made:
    row.write(made, weights, **options)
