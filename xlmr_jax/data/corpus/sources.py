"""What a corpus is prepared from: files found, and read in blocks.

```
corpus/<lang>.txt[.gz|.xz|.zst]      a paragraph a line; a language may have
corpus/<lang>.<any>.txt[…]             more than one file
corpus/<lang>.jsonl[…]               an object a line, its 'text' a document
corpus/<lang>/<any>.txt, .jsonl[…]   the same in a folder of the language
parallel/<a>-<b>.tsv[…]              a sentence, a TAB, its translation
```

`blocks` reads a megabyte of whole lines at a time and does not look into it:
documents.py does, in any process.
"""

from collections.abc import Iterator, Sequence
import dataclasses
import glob
import itertools
import os
from typing import Any, NamedTuple

from xlmr_jax.data import files, prepared

_BLOCK = 1 << 20  # bytes read together
_LINE = 1 << 26  # the longest line
_SNIFFED = 1 << 16
_FORMS = {'.txt': 'lines', '.jsonl': 'objects', '.tsv': 'pairs'}


@dataclasses.dataclass(frozen=True)
class Source:
  """A file, or a prepared TensorFlow data set.

  Attributes:
    path: where it is.
    file: its name under the folder it was found in.
    form: 'lines', 'objects', 'pairs', or 'tfds' and a split: 'tfds:train'.
    bytes: its size.
    modified: when, in nanoseconds.
  """

  path: str
  file: str
  form: str
  bytes: int
  modified: int

  @property
  def identity(self) -> dict[str, Any]:
    """What the manifest keeps, and another run compares."""
    return {k: v for k, v in dataclasses.asdict(self).items() if k != 'path'}


class Block(NamedTuple):
  """A stretch of a source.

  Attributes:
    path: of the source.
    form: of the source.
    data: bytes, in whole lines; of 'tfds' the texts.
    offset: where it starts, in bytes of unpacked text; of 'tfds' in examples.
    line: the number of its first line.
    end: where the next block starts.
    read: bytes of the file that were read for it and all before.
  """

  path: str
  form: str
  data: bytes | list[str]
  offset: int
  line: int
  end: int
  read: int


# Finding.


def find_text(
  directory: str | os.PathLike, languages: Sequence[str] | None = None
) -> dict[str, list[Source]]:
  """The sources of each language, sorted by language and file name.

  Raises:
    ValueError: no folder, no files, none of a language that is asked for, a
      language's folder without text, a file in two packings.
  """
  sources = _find(directory, ('.txt', '.jsonl'))
  wanted = None if languages is None else set(languages)
  for entry in sorted(os.listdir(directory)):
    folder = os.path.join(directory, entry)
    if entry.startswith('.') or not os.path.isdir(folder):
      continue
    if wanted is not None and entry not in wanted:
      sources.setdefault(entry, [])  # not looked into, but there
      continue
    inside = _find(folder, ('.txt', '.jsonl'), entry + '/')
    if not inside:
      raise ValueError(
        f'{folder}: this folder of a language has no text (.txt or .jsonl,'
        f' also {_packed()}); remove it, or name the languages you want'
      )
    for source in itertools.chain(*inside.values()):
      sources.setdefault(entry, []).append(source)
  return _wanted(sources, languages, directory, '<language>.txt or .jsonl')


def find_pairs(
  directory: str | os.PathLike, pairs: Sequence[str] | None = None
) -> dict[str, list[Source]]:
  """The sources of each pair of languages."""
  sources = _find(directory, ('.tsv',))
  return _wanted(sources, pairs, directory, '<language>-<language>.tsv')


def _packed() -> str:
  return ', '.join(end for end in files.SUFFIXES if end)


def _wanted(
  sources: dict[str, list[Source]],
  names: Sequence[str] | None,
  directory: str | os.PathLike,
  pattern: str,
) -> dict[str, list[Source]]:
  if not sources:
    raise ValueError(
      f'{directory} has no files {pattern} (also {_packed()}) and no folders'
      ' of such files'
    )
  for name in names or ():
    if name not in sources:
      raise ValueError(
        f'{directory} has no text in {name!r}; it has'
        f' {" ".join(sorted(sources))}'
      )
  return {name: sources[name] for name in sorted(names or sources)}


def _find(
  directory: str | os.PathLike, suffixes: Sequence[str], prefix: str = ''
) -> dict[str, list[Source]]:
  """The files of a folder, by what their names start with."""
  if not os.path.isdir(directory):
    raise ValueError(f'{directory} is no folder')
  sources: dict[str, list[Source]] = {}
  stems: dict[str, str] = {}
  for entry in sorted(os.listdir(directory)):
    path = os.path.join(directory, entry)
    if entry.startswith('.') or not os.path.isfile(path):
      continue
    for suffix, end in itertools.product(suffixes, files.SUFFIXES):
      stem = entry.removesuffix(suffix + end)
      if stem == entry:
        continue
      if stem + suffix in stems:
        raise ValueError(
          f'{directory} has {stems[stem + suffix]} and {entry}; keep one of'
          ' them'
        )
      stems[stem + suffix] = entry
      stat = os.stat(path)
      source = Source(
        path, prefix + entry, _FORMS[suffix], stat.st_size, stat.st_mtime_ns
      )
      sources.setdefault(files.language(entry), []).append(source)
  return sources


def find_tfds(name: str, directory: str | os.PathLike, split: str) -> Source:
  """A data set that tensorflow_datasets has prepared.

  Args:
    name: 'set', 'set/config' or 'set/config/version', or the path of the
      folder of a version.
    directory: the data_dir it was prepared in.
    split: such as 'train'.

  Raises:
    ValueError: no such data set or split, or more than one version.
  """
  folder = os.path.join(os.path.expanduser(directory), name)
  paths = glob.glob(
    os.path.join(glob.escape(folder), '**/dataset_info.json'), recursive=True
  )
  if len(paths) != 1:
    folders = ', '.join(sorted(map(os.path.dirname, paths))) or 'none'
    raise ValueError(
      f'{folder} must lead to one prepared data set (a folder with'
      f' dataset_info.json); found {folders}'
    )
  path = os.path.dirname(paths[0])
  names = sorted(entry for entry in os.listdir(path) if f'-{split}.' in entry)
  if not names:
    raise ValueError(f'{path}: no files of a split {split!r}')
  stats = [os.stat(os.path.join(path, entry)) for entry in names]
  return Source(
    path,
    os.path.relpath(path, os.path.expanduser(directory)),
    f'tfds:{split}',
    sum(stat.st_size for stat in stats),
    max(stat.st_mtime_ns for stat in stats),
  )


def unpacked_bytes(source: Source) -> int:
  """Estimates the bytes of text in a source from its size and packing."""
  factors = {'.gz': 3, '.xz': 4, '.zst': 3}  # of text in any language
  if source.form.startswith('tfds'):
    return 2 * source.bytes
  return source.bytes * factors.get(os.path.splitext(source.path)[1], 1)


# Reading.


def blocks(
  source: Source, offset: int = 0, line: int = 1, text_key: str = 'text'
) -> Iterator[Block]:
  """Reads a source from an offset on that was a block's end.

  Raises:
    ValueError: a damaged archive, or a line that is too long.
  """
  if source.form.startswith('tfds'):
    yield from _tfds_blocks(source, offset, text_key)
    return
  with open(source.path, 'rb') as raw:
    file = files.unpack(raw, source.path)
    parts: list[bytes] = []
    size = 0
    try:
      _skip(file, raw, offset)
      while data := file.read(_BLOCK):
        cut = data.rfind(b'\n') + 1
        if not cut:
          parts.append(data)
          size += len(data)
          if size > _LINE:
            raise ValueError(
              f'{source.path}:{line}: a line of more than {_LINE >> 20} MiB;'
              ' a paragraph, or a JSON object, stands on a line'
            )
          continue
        data, rest = b''.join([*parts, data[:cut]]), data[cut:]
        parts, size = [rest], len(rest)
        end = offset + len(data)
        yield Block(
          source.path, source.form, data, offset, line, end, raw.tell()
        )
        offset, line = end, line + data.count(b'\n')
    except files.DAMAGED as error:
      raise ValueError(
        f'{source.path}:{line}: the archive is damaged or cut short, after'
        f' this line ({error})'
      ) from error
    if data := b''.join(parts):
      end = offset + len(data)
      yield Block(source.path, source.form, data, offset, line, end, raw.tell())


def _skip(file: Any, raw: Any, offset: int) -> None:
  if file is raw:
    raw.seek(offset)
    return
  while offset:
    offset -= len(data := file.read(min(offset, _BLOCK)))
    if not data:
      raise EOFError('it was longer before')


def _tfds_blocks(source: Source, offset: int, key: str) -> Iterator[Block]:
  split = source.form.partition(':')[2]
  features, data = prepared.open_tfds(source.path, split)
  if key not in features:
    raise ValueError(
      f'{source.path}: no feature {key!r}; it has'
      f' {", ".join(features)}: name one with --text_key'
    )
  total = len(data)
  while offset < total:
    texts: list[str] = []
    size = 0
    end = offset
    while end < total and size < _BLOCK:
      text = data[end][key]
      try:
        text = text.decode('utf-8') if isinstance(text, bytes) else text
      except UnicodeDecodeError as error:
        raise ValueError(
          f'{source.path}: {key!r} of example {end} of {split} is not UTF-8'
          f' at byte {error.start}'
        ) from error
      if not isinstance(text, str):
        raise ValueError(f'{source.path}: {key!r} is no text')
      texts.append(text)
      size += len(text)
      end += 1
    read = source.bytes * end // total
    yield Block(source.path, source.form, texts, offset, offset, end, read)
    offset = end


def has_blank_lines(source: Source) -> bool:
  """Whether a blank line stands between text near the start of a file.

  False says nothing about the rest of the file.
  """
  if source.form != 'lines':
    return False
  try:
    with files.open_bytes(source.path) as file:
      data = file.read(_SNIFFED)
  except files.DAMAGED:
    return False  # whoever reads it all will say where
  text = data[: data.rfind(b'\n') + 1].decode('utf-8', 'replace')
  full = [bool(line.strip('\ufeff').strip()) for line in text.split('\n')]
  seen = list(itertools.dropwhile(lambda some: not some, full))
  while seen and not seen[-1]:
    seen.pop()
  return False in seen
