"""Workdirs, models and results in buckets: gs://… and s3://… paths.

Code here reads and writes folders on a disk. A path in a bucket is staged: a
folder below $XLMR_JAX_CACHE (default ~/.cache/xlmr_jax) mirrors it, bit for
bit. Such a path stays a str: pathlib.Path makes gs:/box of gs://box.

A bucket has no rename. What must appear whole, a step below checkpoints/ or a
folder from `publish`, has an object MARKER of three states:

  {}                 files are being sent or deleted: not whole
  {name: size, ...}  sent to the end: whole if these files have these sizes
  no MARKER          another program copied the folder here: taken as it is

One process at a time writes a folder.
"""

from collections.abc import Callable, Collection, Iterator, Mapping
import contextlib
import hashlib
import json
import os
import pathlib
import re
import shutil
import tempfile
from typing import Any

from xlmr_jax.runtime import storage
from xlmr_jax.runtime.object_store import LOCAL, MARKER, Bucket, agrees

_STEP = re.compile(r'((?:.+/)?checkpoints/\d+)/(.+)')
# The one file of a step that is written again. One put replaces it whole, so
# the marker of its step does not count its bytes.
_META = 'meta/metadata'


def remote(path: str | os.PathLike) -> bool:
  """Whether a path lies in a bucket, or in another place with a protocol."""
  return '://' in os.fspath(path)


def expanded(path: str | os.PathLike) -> pathlib.Path:
  """A path on a disk; ~ is the user's folder, as in a shell."""
  try:
    return pathlib.Path(path).expanduser()
  except RuntimeError:  # a user that there is not
    return pathlib.Path(path)


class Mirror:
  """A workdir as a folder on this disk, which `sync` copies to its bucket.

  At the end of a `with` block it is synced. A path on a disk is its own
  mirror, and nothing is copied.

  Attributes:
    folder: where to read and write; as the bucket has it to begin with.
    remote: whether there is a bucket.
  """

  def __init__(
    self,
    path: str | os.PathLike,
    *,
    several: bool = False,
    room: str = 'workdirs',
    skip: Callable[[str], Any] = lambda name: False,
  ):
    """Makes the folder what the bucket has.

    Args:
      path: of the workdir.
      several: whether other hosts write it too.
      room: the folder of the cache that holds the mirror.
      skip: whether a file of the bucket is not needed.

    Raises:
      ValueError: no library, no credentials, no such bucket, several hosts.
      OSError: the bucket cannot be read, or the disk is full.
    """
    self.remote = remote(path)
    self.folder = pathlib.Path(path) if self.remote else expanded(path)
    if not self.remote:
      return
    if several:
      raise ValueError(
        f'{path}: several hosts need a folder that all of them see: mount a '
        'shared filesystem and name its folder (docs/pods.md)'
      )
    self._bucket = Bucket(path)
    self.folder = _stage(self._bucket.url, room)
    # Files in the bucket: [size, mtime_ns of the copy here, tag there], or
    # None where the copy here is missing or another.
    self._known: dict[str, list | None] = {}
    self._markers: dict[str, dict | None] = {}  # of the steps
    with storage.alone(self.folder.parent, 'fetches'):
      self._pull(skip)

  def __enter__(self):
    return self

  def __exit__(self, kind, error, stack):
    if kind is None:
      self.sync()
    elif issubclass(kind, (Exception, KeyboardInterrupt)):
      # What was logged belongs in the bucket, but the first error says more.
      with contextlib.suppress(ValueError, OSError):
        self.sync()

  def say_where(self) -> None:
    """Prints where the folder was sent; nothing of one on a disk."""
    if self.remote:
      print(f'sent to {self._bucket.url}')

  def _pull(self, skip) -> None:
    objects = self._bucket.find()
    wanted: dict[str, list] = {}
    for step, names in _by_step(objects).items():
      files = {n: objects[n] for n in names}
      if step:
        marker = self._bucket.read_marker(step, objects)
        self._markers[step] = marker
        if not agrees(marker, step, objects):
          files = {}
        elif marker:
          files = {
            n: f for n, f in files.items() if n[len(step) + 1 :] in marker
          }
      wanted.update((n, f) for n, f in files.items() if not skip(n))
    index = self._read_index()
    here = _files(self.folder, everything=True)
    for name in here.keys() - wanted.keys():
      (self.folder / name).unlink()
    _remove_empty(self.folder)
    kept = {
      n: index[n]
      for n, (_, tag) in wanted.items()
      if n in here and index.get(n) == [*here[n], tag]
    }
    missing = [n for n in wanted if n not in kept]
    self._bucket.bring(self.folder, {n: wanted[n][0] for n in missing})
    here = _files(self.folder, everything=True)
    self._known = {n: None for n in objects if not n.endswith(MARKER)}
    self._known |= {n: [*here[n], wanted[n][1]] for n in wanted}
    self._write_index()

  def sync(self) -> None:
    """Makes the bucket what the folder is; steps that are not whole stay out.

    Plain files go first, then new steps; a step that was deleted here is
    deleted there last. So at every moment the bucket holds a run that goes on.

    Raises:
      ValueError: no credentials, or the bucket is gone.
      OSError: a file could not be sent.
    """
    if not self.remote:
      return
    here = _files(self.folder)
    changed = {
      n for n, f in here.items() if (self._known.get(n) or [])[:2] != f
    }
    gone = self._known.keys() - here.keys()
    steps, old = _by_step(here), _by_step(gone)
    self._bucket.send(self.folder, changed & set(steps.pop('', ())))
    touched = bool(changed or gone)
    for step in sorted(steps, key=lambda s: int(s.rpartition('/')[2])):
      touched |= self._send_step(
        step, here, changed & set(steps[step]), old.pop(step, [])
      )
    for step in old.keys() - {''}:
      self._bucket.write(f'{step}/{MARKER}', {})
      self._bucket.remove(old[step])
      self._bucket.remove([f'{step}/{MARKER}'])
      self._markers.pop(step, None)
    self._bucket.remove(old.get('', []))
    if touched:
      objects = self._bucket.find()
      self._known = {
        n: [*f, objects[n][1]] if n in objects else None
        for n, f in here.items()
      }
      self._write_index()

  def _send_step(self, step, here, changed, gone) -> bool:
    """Sends what a step lacks, its marker last; whether there was anything."""
    names = [n for n in here if n.startswith(f'{step}/')]
    marker = _marker({n[len(step) + 1 :]: here[n][0] for n in names})
    place = f'{step}/{MARKER}'
    if changed - {f'{step}/{_META}'} or gone:
      self._bucket.write(place, {})
      self._markers[step] = {}
    self._bucket.send(self.folder, changed)
    self._bucket.remove(gone)
    if self._markers.get(step) == marker:
      return bool(changed)
    self._bucket.write(place, marker)
    self._markers[step] = marker
    return True

  def _read_index(self) -> dict:
    try:
      return json.loads((self.folder.parent / 'index.json').read_text())
    except (OSError, ValueError):
      return {}

  def _write_index(self) -> None:
    index = {n: f for n, f in self._known.items() if f}
    storage.write_json(self.folder.parent / 'index.json', index)


def fetch(path: str | os.PathLike) -> pathlib.Path:
  """The folder on this disk that holds a model; a bucket's is downloaded.

  What is here already is not downloaded again. Of a workdir the optimizer's
  state stays in the bucket.

  Args:
    path: of a model, a workdir or a step of one (…/checkpoints/500); on a disk
      it is returned as it is.

  Raises:
    ValueError: nothing is there, it is not whole, no library, no credentials.
    OSError: the bucket cannot be read, or the disk is full.
  """
  if not remote(path):
    return expanded(path)
  url = os.fspath(path).rstrip('/')
  step = _STEP.fullmatch(f'{url}/.')
  inner = '/'.join(url.split('/')[-2:]) if step else ''
  base = url.removesuffix(f'/{inner}') if inner else url
  bucket = Bucket(base)
  objects = bucket.find()
  if not any(n.startswith(inner) for n in objects):
    raise ValueError(f'{url}: nothing is there')
  if not agrees(bucket.read_marker('', objects), '', objects):
    raise ValueError(f'{url} is not whole: it was not sent to its end')

  def skip(name):
    found = _STEP.fullmatch(name)
    return name.startswith('tensorboard/') or (
      found and (found[2].startswith('state/') or inner not in ('', found[1]))
    )

  return Mirror(base, room='models', skip=skip).folder / inner


def publish(folder: str | os.PathLike, url: str) -> None:
  """Sends a folder to a new place in a bucket, where it appears whole.

  Raises:
    ValueError: something is there, no library, no credentials, no such bucket.
    OSError: a file could not be sent.
  """
  bucket = Bucket(url)
  stale = bucket.check_free()
  files = _files(pathlib.Path(folder))
  bucket.write(MARKER, {})
  bucket.send(pathlib.Path(folder), files)
  bucket.remove([n for n in stale if n not in files and n != MARKER])
  bucket.write(MARKER, _marker({n: size for n, (size, _) in files.items()}))


@contextlib.contextmanager
def publishing(
  path: str | os.PathLike, *, resumes: bool = False
) -> Iterator[pathlib.Path]:
  """Yields a folder to make; on success it is published at `path`.

  A path on a disk is yielded as it is.

  Args:
    path: where the folder belongs.
    resumes: keep what a killed run made, for the next one to go on with.

  Raises:
    ValueError, OSError: as `publish`, before the block where that is known.
  """
  if not remote(path):
    yield expanded(path)
    return
  bucket = Bucket(path)
  bucket.check_free()
  with contextlib.ExitStack() as stack:
    if resumes:
      folder = _stage(bucket.url, 'made')
    else:
      made = stack.enter_context(tempfile.TemporaryDirectory(dir=_cache()))
      folder = pathlib.Path(made, bucket.url.rpartition('/')[2])
    yield folder
    publish(folder, bucket.url)
    shutil.rmtree(folder)


def _cache() -> pathlib.Path:
  """The folder on this disk for all that lies in buckets; made."""
  given = os.environ.get('XLMR_JAX_CACHE')
  cache = pathlib.Path(given or pathlib.Path.home() / '.cache' / 'xlmr_jax')
  folder = cache.absolute() / 'buckets'
  folder.mkdir(parents=True, exist_ok=True)
  return folder


def _stage(url: str, room: str) -> pathlib.Path:
  """The folder on this disk for a place in a bucket; made."""
  key = hashlib.sha256(url.encode()).hexdigest()[:16]
  folder = _cache() / room / key / url.rpartition('/')[2]
  folder.mkdir(parents=True, exist_ok=True)
  return folder


def _files(folder: pathlib.Path, everything: bool = False) -> dict[str, list]:
  """{name: [size, mtime_ns]} of the files that a bucket holds too.

  Without hidden files, the cache, and steps that are not finished; with
  `everything` those that are not finished as well.
  """
  out = {}
  for path, folders, names in os.walk(folder):
    inside = pathlib.Path(path).relative_to(folder)
    if inside.name == 'checkpoints' and not everything:
      folders[:] = [n for n in folders if n.isdigit()]
    folders[:] = [n for n in folders if n[0] != '.']
    if inside == pathlib.Path() and LOCAL in folders:
      folders.remove(LOCAL)
    for name in names:
      if name[0] != '.':
        facts = os.stat(os.path.join(path, name))
        out[(inside / name).as_posix()] = [facts.st_size, facts.st_mtime_ns]
  return out


def _remove_empty(folder: pathlib.Path) -> None:
  """An empty folder checkpoints/500 would look like a step."""
  for path, _, _ in os.walk(folder, topdown=False):
    if path != str(folder) and not os.listdir(path):
      os.rmdir(path)


def _by_step(names: Collection[str]) -> dict[str, list[str]]:
  """{'checkpoints/500': its files, '': all other files}, without markers."""
  out: dict[str, list[str]] = {}
  for name in names:
    if name.rpartition('/')[2] != MARKER:
      step = _STEP.fullmatch(name)
      out.setdefault(step[1] if step else '', []).append(name)
  return out


def _marker(sizes: Mapping[str, int]) -> dict[str, int | None]:
  """What the marker of a finished folder says."""
  return {n: None if n == _META else size for n, size in sizes.items()}
