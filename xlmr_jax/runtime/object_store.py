"""A folder of a bucket, through fsspec: gs://… needs gcsfs, s3://… s3fs.

Either is imported when the first such path is met.
"""

from collections.abc import Collection, Iterator, Mapping
import contextlib
import json
import logging
import os
import pathlib
import secrets
import shutil
from typing import Any

import tqdm

MARKER = '.whole'
# Protocol → fsspec's library for it, our extra, and how to log in.
_LIBRARIES = {
  'gs': ('gcsfs', 'gcs', 'gcloud auth application-default login'),
  's3': ('s3fs', 's3', 'aws configure, or AWS_ACCESS_KEY_ID and its secret'),
}
LOCAL = 'cache'  # a folder of a workdir that can be made again


class Bucket:
  """A folder of a bucket, through fsspec; errors in one line each."""

  def __init__(self, url: str | os.PathLike[str]):
    self.url = os.fspath(url).rstrip('/')
    self._kind, _, self._base = self.url.partition('://')
    if self._kind not in _LIBRARIES or not self._base:
      raise ValueError(f'{url} is neither gs://BUCKET/… nor s3://BUCKET/…')
    library, extra, self._login = _LIBRARIES[self._kind]
    options: dict[str, Any] = {'use_listings_cache': False}
    # S3's library compares sums by itself.
    self._checked = {'consistency': 'md5'} if self._kind == 'gs' else {}
    # Read when gcsfs is imported: else it asks by gRPC what sort a bucket is.
    os.environ.setdefault('GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT', 'false')
    if self._kind == 'gs':
      # Left to itself gcsfs asks, for 15 s, a server that only Google's
      # machines have; what they need of it, this finds too.
      emulated = os.environ.get('STORAGE_EMULATOR_HOST')
      token = 'anon' if emulated else 'google_default'
      options['token'] = os.environ.get('FSSPEC_GS_TOKEN', token)
      # It logs the stack of what it raises.
      logging.getLogger('gcsfs').setLevel(logging.CRITICAL)
    endpoint = os.environ.get('AWS_ENDPOINT_URL')
    if self._kind == 's3' and endpoint:
      options['endpoint_url'] = endpoint
    try:
      import fsspec

      with self._plain():
        self._fs = fsspec.filesystem(self._kind, **options)
    except ImportError as e:
      raise ValueError(
        f"{url} needs {library}: pip install 'xlmr_jax[{extra}]'"
      ) from e

  def find(self) -> dict[str, list]:
    """{name: [size, tag]} of all files below."""
    with self._plain():
      found = self._fs.find(f'{self._base}/', detail=True)
    out = {}
    for path, facts in found.items():
      name = path.removeprefix(f'{self._base}/')
      hidden = any(part[:1] == '.' for part in name.split('/')[:-1])
      last = name.rpartition('/')[2]
      if facts['type'] == 'file' and last and not hidden:
        if last[0] != '.' or last == MARKER:
          tag = facts.get('etag') or facts.get('ETag') or facts.get('mtime')
          out[name] = [facts['size'], str(tag)]
    return {n: f for n, f in out.items() if not n.startswith(f'{LOCAL}/')}

  def check_free(self) -> list[str]:
    """What a publication that was cut off left here.

    Raises:
      ValueError: something else is here.
    """
    objects = self.find()
    marker = self.read_marker('', objects)
    if objects and agrees(marker, '', objects):
      raise ValueError(f'{self.url} is not empty: choose another destination')
    return list(objects)

  def read_marker(self, folder: str, objects: Collection[str]) -> dict | None:
    """What the marker of a folder says; None where it has none."""
    name = f'{folder}/{MARKER}' if folder else MARKER
    if name not in objects:
      return None
    with self._plain():
      content = self._fs.cat_file(f'{self._base}/{name}')
    try:
      return dict(json.loads(content))
    except ValueError:
      return {}

  def write(self, name: str, content: dict) -> None:
    """Writes an object of JSON."""
    with self._plain():
      self._fs.pipe_file(f'{self._base}/{name}', json.dumps(content).encode())

  def send(self, folder: pathlib.Path, names: Collection[str]) -> None:
    """Puts files of a folder.

    Raises:
      OSError: the bucket has other bytes now than were sent, or the like.
    """
    names = sorted(names)
    if names:
      total = sum((folder / n).stat().st_size for n in names)
      with self._plain(), self._bar('sending to', total) as callback:
        self._fs.put(
          [str(folder / n) for n in names],
          [f'{self._base}/{n}' for n in names],
          callback=callback,
          **self._checked,
        )

  def bring(self, folder: pathlib.Path, sizes: Mapping[str, int]) -> None:
    """Gets files into a folder; each appears whole."""
    if not sizes:
      return
    made = folder / f'.{secrets.token_hex(6)}.tmp'
    try:
      total = sum(sizes.values())
      with self._plain(), self._bar('fetching', total) as callback:
        self._fs.get(
          [f'{self._base}/{n}' for n in sizes],
          [str(made / n) for n in sizes],
          callback=callback,
        )
      for name, size in sizes.items():
        if (made / name).stat().st_size != size:
          raise OSError(f'{self.url}/{name} is not {size} bytes, as was listed')
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (made / name).replace(folder / name)
    finally:
      shutil.rmtree(made, ignore_errors=True)

  def remove(self, names: Collection[str]) -> None:
    """Deletes objects."""
    if names:
      with self._plain(), contextlib.suppress(FileNotFoundError):
        self._fs.rm([f'{self._base}/{n}' for n in names])

  @contextlib.contextmanager
  def _bar(self, what: str, total: int) -> Iterator[Any]:
    """A callback for fsspec; of what takes long it shows a bar of bytes."""
    from fsspec.callbacks import Callback

    bar = tqdm.tqdm(
      desc=f'{what} {self.url}',
      total=total,
      unit='B',
      unit_scale=True,
      unit_divisor=1024,
      delay=2,
      leave=False,
      disable=None,
    )

    class Files(Callback):
      """Of a transfer of files: each gets a callback of its own."""

      def branched(self, path_1, path_2, **kwargs):
        done = 0

        def show(size, value, **kwargs):
          nonlocal done
          done, new = value, value - done
          bar.update(new)

        return Callback(hooks={'bar': show})

    with bar:
      yield Files()

  @contextlib.contextmanager
  def _plain(self) -> Iterator[None]:
    """Inside, what a library of Google's, Amazon's or aiohttp's raises → ours.

    Raises:
      ValueError: no such bucket, or no right to it.
      OSError: all else.
    """
    try:
      yield
    except ImportError:
      raise
    except Exception as e:
      text = (str(e).strip() or type(e).__name__).splitlines()[0]
      bucket = f'{self._kind}://{self._base.partition("/")[0]}'
      if isinstance(e, FileNotFoundError):
        raise ValueError(
          f'{self.url}: there is no bucket {bucket}, or what was in it is gone'
        ) from e
      if (
        'Credentials' in type(e).__name__
        or isinstance(e, PermissionError)
        or str(getattr(e, 'code', '')) in ('401', '403')
        or text.startswith('Forbidden')
      ):
        raise ValueError(
          f'{self.url}: no credentials for {bucket} ({text}): {self._login}'
        ) from e
      raise OSError(f'{self.url}: {text}') from e


def agrees(marker: dict | None, folder: str, objects: Mapping) -> bool:
  """Whether the bucket holds what a marker says."""
  if marker is None:
    return True
  prefix = f'{folder}/' if folder else ''
  return bool(marker) and all(
    prefix + n in objects and size in (None, objects[prefix + n][0])
    for n, size in marker.items()
  )
