"""Files and folders that appear whole or not at all.

What is written lies under a temporary name beside its destination, is synced
to the disk and then renamed. A reader never sees half of it, and a kill or a
full disk leaves what stood there before. The temporary name is random: two
containers that share a folder often have the same process numbers.
"""

from collections.abc import Iterator
import contextlib
import errno
import fcntl
import json
import os
import pathlib
import secrets
import shutil
import time
from typing import Any

_LFS = b'version https://git-lfs'  # how its pointers begin


@contextlib.contextmanager
def whole_file(path: str | os.PathLike) -> Iterator[pathlib.Path]:
  """Yields a temporary path; on success the file there takes the name `path`.

  Raises:
    OSError: of the writing; the file at `path` is as it was.
  """
  path = pathlib.Path(path)
  made = _temporary(path)
  try:
    yield made
    _sync(made)
    made.replace(path)
  finally:
    made.unlink(missing_ok=True)


def check_whole(path: str | os.PathLike) -> None:
  """Raises ValueError where a file is empty, or git has not fetched it."""
  with open(path, 'rb') as file:
    start = file.read(len(_LFS))
  if not start:
    raise ValueError(
      f'{os.fspath(path)} is truncated: it is empty; copy it again'
    )
  if start == _LFS:
    raise ValueError(
      f'{os.fspath(path)} is a pointer of git-lfs and not the file itself: '
      'run git lfs pull in its repository, or download it again'
    )


def write_bytes(path: str | os.PathLike, content: bytes) -> None:
  """Writes a file whole or not at all."""
  with whole_file(path) as made:
    made.write_bytes(content)


def write_text(path: str | os.PathLike, text: str) -> None:
  """Writes a file of UTF-8 whole or not at all."""
  write_bytes(path, text.encode())


def write_json(path: str | os.PathLike, content: Any, **options) -> None:
  """Writes a JSON file whole or not at all.

  Args:
    path: of the file.
    content: what json.dumps takes.
    **options: of json.dumps; default: indented by 2, not escaped.
  """
  options = {'indent': 2, 'ensure_ascii': False, **options}
  write_text(path, json.dumps(content, **options) + '\n')


@contextlib.contextmanager
def whole(
  folder: str | os.PathLike, *, overwrite: bool = False
) -> Iterator[pathlib.Path]:
  """Yields a temporary sibling of `folder`; on success it takes that name.

  Whatever goes wrong inside, a full disk or a kill, leaves `folder` as it
  was. After a kill the sibling stays behind; its name starts with a dot.

  Raises:
    ValueError: the folder holds something and `overwrite` is not set.
    OSError: of the writing, and what it means for the folder.
  """
  folder = pathlib.Path(folder).resolve()
  before = folder.exists()
  if before and not folder.is_dir():
    raise ValueError(f'{folder} is a file: choose another destination')
  if before and not overwrite and any(folder.iterdir()):
    raise ValueError(f'{folder} is not empty: choose another destination')
  made = _temporary(folder)
  old = made.with_suffix('.old')
  try:
    made.mkdir(parents=True)
    yield made
    for file in made.rglob('*'):
      if file.is_file():
        _sync(file)
    if before:
      folder.rename(old)
    try:
      made.rename(folder)
    except OSError:
      if before:
        old.rename(folder)
      raise
    shutil.rmtree(old, ignore_errors=True)
  except OSError as e:
    left = 'is as it was' if before else 'was not made'
    raise OSError(
      e.errno, f'could not write {folder}: {e.strerror or e}; it {left}'
    ) from e
  finally:
    # After a failure orbax's threads may still be making files in it.
    for _ in range(100):
      shutil.rmtree(made, ignore_errors=True)
      if not made.exists():
        break
      time.sleep(0.05)


@contextlib.contextmanager
def alone(folder: str | os.PathLike, does: str) -> Iterator[None]:
  """One process at a time works in a folder that is there; others wait.

  Args:
    folder: which is locked.
    does: what the other one does there, to be shown: 'prepares'.
  """
  file = os.open(folder, os.O_RDONLY)
  try:
    try:
      try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
      except BlockingIOError:
        print(f'another process {does} {folder}: waiting', flush=True)
        fcntl.flock(file, fcntl.LOCK_EX)
    except OSError as error:
      if error.errno not in (errno.ENOLCK, errno.ENOTSUP, errno.EINVAL):
        raise  # the others: this file system has no locks
    yield
  finally:
    os.close(file)


def _temporary(path: pathlib.Path) -> pathlib.Path:
  return path.with_name(f'.{path.name}.{secrets.token_hex(6)}.tmp')


def _sync(path: pathlib.Path) -> None:
  """The bytes must be on the disk before the name is."""
  with open(path, 'r+b') as file:
    os.fsync(file.fileno())
