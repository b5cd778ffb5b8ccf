"""The files of a model in Hugging Face's format, whatever they hold.

A Folder reads each JSON file once. `find` says which tensors lie in it and
where: safetensors or PyTorch's pickles, one file or shards with an index, and
bge-m3's two extra files. Only their headers are read. `save` writes files
back.
"""

import dataclasses
import json
import pathlib
from typing import Any

import numpy as np

from xlmr_jax.checkpoints import unread
from xlmr_jax.checkpoints.formats import safetensors_file, torch_file
from xlmr_jax.checkpoints.formats.safetensors_file import Tensor
from xlmr_jax.runtime import storage

WEIGHTS, INDEX = 'model.safetensors', 'model.safetensors.index.json'
BIN, BIN_INDEX = 'pytorch_model.bin', 'pytorch_model.bin.index.json'
# Beside a model; a key of theirs gets the file's name in front.
EXTRA = ('sparse_linear.pt', 'colbert_linear.pt')

# Key → (array, dtype to store it in), and with a file's metadata.
Arrays = dict[str, tuple[np.ndarray, str]]
Files = dict[str, tuple[dict | None, Arrays]]


@dataclasses.dataclass(frozen=True)
class Layout:
  """Which tensors lie in a folder, and in which files.

  Attributes:
    tensors: by key.
    files: file → {'metadata', 'tensors': key → dtype}, as they will be
      written: a pickle's weights go out as safetensors.
    index: the index's other entries, or None without shards.
  """

  tensors: dict[str, Tensor]
  files: dict[str, dict]
  index: dict | None


class Folder:
  """A model's folder, each of whose JSON files is read once.

  Attributes:
    path: of the folder.
  """

  def __init__(self, path):
    self.path = pathlib.Path(path)
    self._texts: dict[str, str] = {}
    self._values: dict[str, Any] = {}

  def has(self, name) -> bool:
    """Whether there is a file of that name."""
    return (self.path / name).is_file()

  def text(self, name) -> str:
    """A file's text, byte by byte as it is.

    Raises:
      ValueError: it is missing, or no UTF-8.
    """
    key = str(name)
    if key not in self._texts:
      file = self.path / name
      try:
        self._texts[key] = file.read_bytes().decode()
      except FileNotFoundError as e:
        raise ValueError(
          f'{file.parent} has no {file.name}: it is not a Hugging Face model'
        ) from e
      except UnicodeDecodeError as e:
        raise ValueError(f'{file} is not JSON: {e}') from e
    return self._texts[key]

  def json(self, name, kind: type = dict):
    """A JSON file's object (or list), which the caller leaves as it is.

    Raises:
      ValueError: it is missing, or no such JSON.
    """
    key = str(name)
    if key not in self._values:
      try:
        self._values[key] = json.loads(self.text(name))
      except json.JSONDecodeError as e:
        raise ValueError(f'{self.path / name} is not JSON: {e}') from e
    if not isinstance(self._values[key], kind):
      noun = 'object' if kind is dict else 'list'
      raise ValueError(f'{self.path / name} does not hold a JSON {noun}')
    return self._values[key]


def load_json(file: pathlib.Path, kind: type = dict):
  """A single JSON file's object (or list); errors as Folder.json's."""
  return Folder(file.parent).json(file.name, kind)


def some(keys) -> str:
  """'a' or 'a' and 3 more."""
  keys = sorted(keys)
  more = f' and {len(keys) - 1} more' if len(keys) > 1 else ''
  return f'{keys[0]!r}{more}'


def find(folder: Folder, body: str | pathlib.PurePath = '') -> Layout:
  """The tensors of a model.

  Args:
    folder: of the model.
    body: the folder below it in which the weights lie.

  Raises:
    ValueError: a file is missing, truncated or corrupt, would run code, or
      disagrees with the index.
  """
  path = folder.path / body
  index, where = None, None
  for single, many in ((WEIGHTS, INDEX), (BIN, BIN_INDEX)):
    if (path / single).exists():
      names = [single]
      break
    if (path / many).exists():
      index = dict(folder.json(pathlib.PurePath(body) / many))
      where = index.pop('weight_map', None)
      if not isinstance(where, dict) or not all(
        isinstance(name, str) for name in where.values()
      ):
        raise ValueError(f'{path / many} has no weight_map')
      if not isinstance(index.get('metadata', {}), dict):
        raise ValueError(f'{path / many}: metadata is no JSON object')
      names = sorted(set(where.values()))
      break
  else:
    why = unread.explain(path)
    raise ValueError(
      f'{path} has no {WEIGHTS} and no {BIN}' + (f'; {why}' if why else '')
    )
  out: dict[str, Tensor] = {}
  files: dict[str, dict] = {}
  for name in names:
    file = path / name
    if file.parent != path or not file.is_file():
      raise ValueError(f'{path / many} names {name}, which is not there')
    storage.check_whole(file)
    if single == WEIGHTS:
      held, metadata = safetensors_file.header(file)
    else:
      held, metadata = _state(file), {'format': 'pt'}
      name = name.replace('pytorch_model', 'model').replace(
        '.bin', '.safetensors'
      )
    if twice := out.keys() & held.keys():
      raise ValueError(f'{file}: key {some(twice)} is set twice')
    out |= held
    files[name] = {
      'metadata': metadata,
      'tensors': {key: tensor.dtype for key, tensor in held.items()},
    }
  if where is not None:
    held_by = {key: tensor.file.name for key, tensor in out.items()}
    if wrong := {key for key, _ in where.items() ^ held_by.items()}:
      raise ValueError(
        f'{path / many} and its files disagree about key {some(wrong)}'
      )
  for name in EXTRA:
    if (path / name).is_file():
      storage.check_whole(path / name)
      stem = name.removesuffix('.pt')
      held = {f'{stem}.{k}': t for k, t in _state(path / name).items()}
      out |= held
      files[name] = {
        'metadata': None,
        'tensors': {key: tensor.dtype for key, tensor in held.items()},
      }
  return Layout(out, files, index)


def _state(file: pathlib.Path) -> dict[str, Tensor]:
  """The tensors of a pickled state dict."""
  held = torch_file.read(file)
  if isinstance(held, dict):
    held = held.get('state_dict', held)  # as Lightning wraps it
  if not isinstance(held, dict) or not held:
    raise ValueError(f'{file} holds no state dict')
  for key, value in held.items():
    if not isinstance(key, str) or not isinstance(value, Tensor):
      raise ValueError(f'{file}: {key!r} is no tensor: not a state dict')
  return dict(held)


def save(folder: pathlib.Path, files: Files, index: dict | None) -> None:
  """Writes files, one tensor in memory at a time, and their index."""
  for name, (metadata, arrays) in files.items():
    if name in EXTRA:
      stem = name.removesuffix('.pt') + '.'
      plain = {
        key.removeprefix(stem): np.asarray(
          array, safetensors_file.DTYPES[dtype]
        )
        for key, (array, dtype) in arrays.items()
      }
      torch_file.write(folder / name, plain)
    else:
      safetensors_file.write(folder / name, arrays, metadata)
  if index is not None:
    where = {
      key: name
      for name, (_, arrays) in files.items()
      if name not in EXTRA
      for key in arrays
    }
    save_json(folder / INDEX, {**index, 'weight_map': where}, sort_keys=True)


def save_json(file: pathlib.Path, value, **options) -> None:
  """Writes JSON as Hugging Face does: everything beyond ASCII is escaped."""
  storage.write_json(file, value, ensure_ascii=True, **options)
