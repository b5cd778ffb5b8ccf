"""Text files as people have them: plain, .gz or .xz, read line by line.

Whatever is wrong with a file is said with its name and line; nothing is
replaced or skipped silently. Lines end at a line feed only (Unicode's other
line separators are text), a carriage return before it is dropped, and so is
a byte order mark at the start.
"""

from collections.abc import Iterable, Iterator
import glob
import gzip
import lzma
import os
import zlib

SUFFIXES = ('', '.gz', '.xz')


def open_bytes(path: str | os.PathLike):
  """Opens a file for reading bytes, unpacking .gz and .xz as it goes."""
  path = os.fspath(path)
  if path.endswith('.gz'):
    return gzip.open(path, 'rb')
  if path.endswith('.xz'):
    return lzma.open(path, 'rb')
  return open(path, 'rb')


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
    except (EOFError, gzip.BadGzipFile, lzma.LZMAError, zlib.error) as error:
      raise ValueError(
        f'{path}:{number + 1}: the archive is damaged or cut short ({error})'
      ) from error


def find(patterns: str | Iterable[str]) -> list[str]:
  """The files that match one or more glob patterns, sorted, each once."""
  if isinstance(patterns, str):
    patterns = [patterns]
  found: set[str] = set()
  for pattern in patterns:
    matches = [p for p in glob.glob(pattern) if os.path.isfile(p)]
    if not matches:
      raise ValueError(f'no file matches {pattern!r}')
    found.update(matches)
  return sorted(found)


def language(path: str | os.PathLike) -> str:
  """The language a file is named after: 'corpus/zh-Hant.txt.xz' → 'zh-Hant'."""
  return os.path.basename(os.fspath(path)).split('.')[0]
