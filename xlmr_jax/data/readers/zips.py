"""Benchmarks as they are released: folders, or the zips they came in.

A file in a zip is written as a file in a folder, 'afqmc_public.zip/dev.json',
and read where it is: nothing is left beside the zip.
"""

from collections.abc import Callable, Iterator, Sequence
import contextlib
import dataclasses
import os
import pathlib
import tempfile
import warnings
import zipfile

from xlmr_jax.data import files

_LOOKED = 1 << 20  # bytes that tell an encoding


# Finding.


def first(
  data_dir: str | os.PathLike, folders: Sequence[str], names: Sequence[str]
) -> str | None:
  """The first file that is there, or None.

  Args:
    data_dir: the folder of all tasks, the task's own, or its zip.
    folders: what a task's folder is called; with .zip, its zip.
    names: what the file is called, the best first. In a zip their folders do
      not matter.
  """
  plain, zips = _places(data_dir, folders, names)
  if path := files.first(plain):
    return path
  wanted = [f'{pathlib.Path(n).name}{s}' for n in names for s in files.SUFFIXES]
  for archive in filter(os.path.isfile, zips):
    with _opened(archive) as packed:
      held: dict[str, str] = {}
      for member in sorted(packed.namelist(), key=lambda m: (m.count('/'), m)):
        if not member.startswith('__MACOSX'):
          held.setdefault(pathlib.PurePosixPath(member).name, member)
    if member := next((held[name] for name in wanted if name in held), None):
      return f'{archive}/{member}'
  return None


def locate(
  data_dir: str | os.PathLike,
  folders: Sequence[str],
  names: Sequence[str],
  description: str,
) -> str:
  """The first file that is there, or an error.

  Raises:
    files.Missing: there is none; `description` says of what.
  """
  if path := first(data_dir, folders, names):
    return path
  plain, zips = _places(data_dir, folders, names)
  raise files.Missing(
    f'no {description}; looked for {", ".join(map(os.fspath, plain))} (each'
    f' also as .gz, .xz and .zst), and in {", ".join(map(os.fspath, zips))}'
  )


def _places(data_dir, folders, names) -> tuple[list, list]:
  root = pathlib.Path(data_dir)
  if root.is_file():
    return [], [root]
  folders = list(dict.fromkeys(folders))
  homes = [*(root / folder for folder in folders), root]
  zips = [root / f'{folder}.zip' for folder in folders]
  return [home / name for home in homes for name in names], zips


# Reading.


def read(reader: Callable[..., list], *paths: str) -> list:
  """Reads files that `first` or `locate` found, unpacked if need be.

  Args:
    reader: takes a plain path for each of `paths`, and gives examples.
    *paths: the files.

  Raises:
    ValueError: what the reader finds at fault, a damaged zip. Of a file that
      is in GBK the error says so, and what to do.
  """
  try:
    if all(_split(path) is None for path in paths):
      return reader(*paths)
    return _read_packed(reader, paths)
  except ValueError as error:
    if not isinstance(error.__cause__, UnicodeDecodeError):
      raise
    # The reader has named the file and its line.
    for path in paths:
      if str(error).startswith(path) and _in_gbk(path):
        name = pathlib.Path(path).name
        raise ValueError(
          f'{error}: it is in GBK, so iconv -f GBK -t UTF-8 {name} > new.json'
        ) from error
    raise


def _read_packed(reader, paths) -> list:
  """Unpacks the files for as long as they are read.

  The reader gets them in a temporary folder, whose name is taken out of what
  it says again.
  """
  with tempfile.TemporaryDirectory() as folder:
    plain, homes = [], {}
    for number, path in enumerate(paths):
      home = os.path.join(folder, str(number))
      os.mkdir(home)
      archive, member = _split(path) or (path, None)
      if member is None:
        plain.append(path)
        continue
      plain.append(os.path.join(home, os.path.basename(member)))
      homes[plain[-1]] = path
      with _opened(archive) as packed:
        pathlib.Path(plain[-1]).write_bytes(packed.read(member))

    def shown(text: str) -> str:
      for ours, theirs in homes.items():
        text = text.replace(ours, theirs)
      return text

    with warnings.catch_warnings(record=True) as caught:
      warnings.simplefilter('always')
      try:
        out = reader(*plain)
      except ValueError as error:
        raise type(error)(shown(str(error))) from error.__cause__
  for warning in caught:
    warnings.warn(shown(str(warning.message)), warning.category, stacklevel=3)
  return [dataclasses.replace(e, where=shown(e.where)) for e in out]


def _split(path: str) -> tuple[str, str] | None:
  """The zip and the file in it, of what is no plain file."""
  if os.path.isfile(path):
    return None
  archive, separator, member = path.rpartition('.zip/')
  return (f'{archive}.zip', member) if separator else None


@contextlib.contextmanager
def _opened(archive: str | os.PathLike) -> Iterator[zipfile.ZipFile]:
  try:
    with zipfile.ZipFile(archive) as packed:
      yield packed
  except (zipfile.BadZipFile, *files.DAMAGED) as error:
    raise ValueError(
      f'{archive}: the archive is damaged or cut short ({error}); download it'
      ' again'
    ) from error


def _in_gbk(path: str) -> bool:
  """Whether a file that is not UTF-8 is certainly in GBK.

  Nearly any bytes are characters of GBK. In Chinese text nearly all of them
  are those of its older part, GB 2312; Big5, read so, has others.
  """
  if (parts := _split(path)) is not None:
    with _opened(parts[0]) as packed:
      raw = packed.read(parts[1])
  else:
    with files.open_bytes(path) as file:
      raw = file.read(_LOOKED)
  for cut in range(4):  # the last character may not be whole
    try:
      text = raw[: _LOOKED - cut].decode('gb18030')
      break
    except UnicodeDecodeError as error:
      if error.end < len(raw[: _LOOKED - cut]):
        return False
  else:
    return False
  foreign = [c for c in text if c >= '\x80']
  common = sum(len(c.encode('gb2312', 'ignore')) == 2 for c in foreign)
  return common >= 0.9 * len(foreign) > 0
