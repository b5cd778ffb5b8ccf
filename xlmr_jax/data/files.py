"""Text files as people have them: plain, .gz, .xz or .zst, line by line.

Whatever is wrong with a file is said with its name and line; nothing is
replaced or skipped silently. Lines end at a line feed only (Unicode's other
line separators are text), a carriage return before it is dropped, and so is
a byte order mark at the start.
"""

from collections.abc import Iterable, Iterator, Sequence
import glob
import gzip
import io
import json
import lzma
import os
from typing import Any, BinaryIO
import warnings
import zlib

SUFFIXES = ('', '.gz', '.xz', '.zst')
# What reading a damaged archive raises.
DAMAGED = (EOFError, gzip.BadGzipFile, lzma.LZMAError, zlib.error)


class Missing(ValueError):
  """A file does not exist; the message says where it was looked for."""


def first(paths: Iterable[str | os.PathLike]) -> str | None:
  """The first path that is a file, as it is or packed."""
  names = (f'{os.fspath(p)}{suffix}' for p in paths for suffix in SUFFIXES)
  return next(filter(os.path.isfile, names), None)


def locate(paths: Iterable[str | os.PathLike], description: str) -> str:
  """The first path that is a file, as it is or packed, or an error.

  Raises:
    Missing: there is none; `description` says of what.
  """
  paths = list(paths)
  path = first(paths)
  if path is None:
    looked = ', '.join(map(os.fspath, paths))
    raise Missing(
      f'no {description}; looked for {looked} (each also as .gz, .xz and .zst)'
    )
  return path


def ending(path: str | os.PathLike) -> str:
  """What a name ends in, as it is unpacked: 'a/Train.CSV.GZ' → '.csv'."""
  name = os.fspath(path).lower()
  for suffix in filter(None, SUFFIXES):
    name = name.removesuffix(suffix)
  return os.path.splitext(name)[1]


def objects(path: str | os.PathLike) -> Iterator[tuple[str, dict[str, Any]]]:
  """Yields ('file:line', object) of a file of JSON lines.

  Raises:
    ValueError: with file and line: not JSON, or not an object; an empty file.
  """
  empty = True
  for number, line in enumerate(lines(path), 1):
    where = f'{os.fspath(path)}:{number}'
    if not line.strip():
      continue
    try:
      item = json.loads(line)
    except json.JSONDecodeError as error:
      raise ValueError(
        f'{where}: not JSON ({error.msg} at character {error.pos})'
      ) from error
    if not isinstance(item, dict):
      raise ValueError(f'{where}: not a JSON object')
    empty = False
    yield where, item
  if empty:
    raise ValueError(f'{os.fspath(path)}: the file is empty')


def document(path: str | os.PathLike) -> Any:
  """What a file of one JSON value holds.

  Raises:
    ValueError: a damaged archive, not UTF-8, not JSON, with the line.
  """
  path = os.fspath(path)
  with open_bytes(path) as file:
    try:
      raw = file.read()
    except DAMAGED as error:
      raise ValueError(
        f'{path}: the archive is damaged or cut short ({error})'
      ) from error
  try:
    return json.loads(raw.decode('utf-8-sig'))
  except UnicodeDecodeError as error:
    line = raw.count(b'\n', 0, error.start) + 1
    raise ValueError(
      f'{path}:{line}: byte 0x{raw[error.start]:02x} is not UTF-8; convert the'
      ' file to UTF-8'
    ) from error
  except json.JSONDecodeError as error:
    raise ValueError(
      f'{path}:{error.lineno}: not JSON ({error.msg} at character'
      f' {error.colno} of the line)'
    ) from error
  except RecursionError as error:
    raise ValueError(f'{path}: JSON that is nested too deeply') from error


def check_ids(path: str, examples: Sequence[Any], labelled: bool) -> None:
  """Warns of ids that occur twice, or without labels refuses them."""
  places: dict[Any, str] = {}
  twice = []
  for example in examples:
    if example.id in places:
      twice.append((example, places[example.id]))
    places.setdefault(example.id, example.where)
  if not twice:
    return
  example, before = twice[0]
  more = f' (and {len(twice) - 1:,} more)' if twice[1:] else ''
  message = f'{example.where}: id {example.id!r} is also that of {before}{more}'
  if labelled:
    warnings.warn(message, stacklevel=3)
    return
  raise ValueError(
    f'{message}; answers to {path} are told apart by their ids:'
    ' give each its own'
  )


def texts(item: dict[str, Any], keys: Iterable[str], where: str) -> list[str]:
  """The texts of an object under some keys.

  Raises:
    ValueError: one of them is missing or no text.
  """
  keys = list(keys)
  for key in keys:
    if not isinstance(item.get(key), str):
      raise ValueError(
        f'{where}: {key!r} is no text; the object has the keys'
        f' {", ".join(item)}'
      )
  return [item[key] for key in keys]


def open_bytes(path: str | os.PathLike):
  """Opens a file for reading bytes, unpacking it as it goes."""
  return unpack(open(path, 'rb'), path)


def unpack(raw: BinaryIO, path: str | os.PathLike):
  """The unpacked content of an open file; the suffix of `path` says how."""
  name = os.fspath(path).lower()
  if name.endswith('.gz'):
    return gzip.GzipFile(fileobj=raw, mode='rb')
  if name.endswith('.xz'):
    return lzma.LZMAFile(raw)
  if name.endswith('.zst'):
    return io.BufferedReader(_Zstandard(raw), 1 << 17)
  return raw


class _Zstandard(io.RawIOBase):
  """The frames of a .zst file, one after the other.

  zstandard's own reader takes the end of a file that was cut short for its
  proper end.
  """

  def __init__(self, raw: BinaryIO):
    import zstandard  # an archive that most runs do not have

    self._raw = raw
    self._error = zstandard.ZstdError
    # Archives of --ultra and --long have windows of up to 2 GiB.
    self._zstd = zstandard.ZstdDecompressor(max_window_size=1 << 31)
    self._frame = None
    self._packed = b''  # read from the file, not yet given to a frame
    self._ready = memoryview(b'')

  def readable(self) -> bool:
    return True

  def readinto(self, buffer) -> int:
    while not self._ready:
      # A few bytes at a time: they may stand for very many.
      self._packed = self._packed or self._raw.read(1 << 13)
      if not self._packed:
        if self._frame is not None:
          raise EOFError('the last frame has no end')
        return 0
      if self._frame is None:
        self._frame = self._zstd.decompressobj()
      try:
        self._ready = memoryview(self._frame.decompress(self._packed))
      except self._error as error:
        raise EOFError(str(error)) from error
      self._packed = b''
      if self._frame.eof:
        self._packed = self._frame.unused_data
        self._frame = None
    count = min(len(buffer), len(self._ready))
    buffer[:count] = self._ready[:count]
    self._ready = self._ready[count:]
    return count


def lines(path: str | os.PathLike) -> Iterator[str]:
  """Yields the lines of a UTF-8 text file without their line ends.

  Raises:
    ValueError: a NUL byte, a byte that is not UTF-8, or a broken archive;
      the message starts with file:line.
  """
  number = 0
  with open_bytes(path) as file:
    try:
      for number, raw in enumerate(file, 1):
        if number == 1 and raw.startswith(b'\xef\xbb\xbf'):
          raw = raw[3:]
        if b'\0' in raw:
          raise ValueError(
            f'{path}:{number}: a NUL byte; this is not a UTF-8 text file'
            ' (UTF-16 files must be converted first)'
          )
        try:
          text = raw.decode('utf-8')
        except UnicodeDecodeError as error:
          raise ValueError(
            f'{path}:{number}: byte {error.start} of the line'
            f' (0x{raw[error.start]:02x}) is not UTF-8; convert the file to'
            ' UTF-8'
          ) from error
        yield text.removesuffix('\n').removesuffix('\r')
    except DAMAGED as error:
      raise ValueError(
        f'{path}:{number + 1}: the archive is damaged or cut short ({error})'
      ) from error


def find(patterns: str | Iterable[str]) -> list[str]:
  """The files that match one or more glob patterns, sorted, each once."""
  if isinstance(patterns, str):
    patterns = [patterns]
  paths: set[str] = set()
  for pattern in patterns:
    matches = [p for p in glob.glob(pattern) if os.path.isfile(p)]
    if not matches:
      raise ValueError(f'no file matches {pattern!r}')
    paths.update(matches)
  return sorted(paths)


def language(path: str | os.PathLike) -> str:
  """The language a file is named after: 'corpus/zh-Hant.txt.xz' → 'zh-Hant'."""
  return os.path.basename(os.fspath(path)).split('.')[0]
