"""What lies between a disk and a bucket: transfers, errors, libraries."""

import http.server
import os
import subprocess
import sys
import threading
import time

import fsspec
from gcp_storage_emulator import server as emulator
from google.auth.compute_engine import _metadata
import pytest
import tqdm

from tests.support import cut_uploads, emulators, tiny_runs
import xlmr_jax
from xlmr_jax.runtime import buckets, object_store


def test_a_long_transfer_shows_a_bar(place, tmp_path, monkeypatch):
  bars = []

  class Bar(tqdm.tqdm):
    def __init__(self, **options):
      assert options['delay'] and options['disable'] is None
      super().__init__(**{**options, 'disable': False})
      bars.append(self)

  monkeypatch.setattr(object_store.tqdm, 'tqdm', Bar)
  for name, size in (('a', 6 << 20), ('b', 3)):
    (tmp_path / name).write_bytes(b'0' * size)
  buckets.publish(tmp_path, place)
  buckets.fetch(place)
  words = [bar.desc.partition(f' {place}')[0] for bar in bars]
  assert words == ['sending to', 'fetching']
  assert [bar.n for bar in bars] == [bar.total for bar in bars]


def test_a_publication_that_was_cut_off(place, tmp_path, monkeypatch):
  for name in 'abcd':
    (tmp_path / name).write_text(name)
  with monkeypatch.context() as patch:
    cut_uploads.cut('send', 1, cut_uploads.die, patch.setattr)
    with pytest.raises(cut_uploads.Killed):
      buckets.publish(tmp_path, place)
  with pytest.raises(ValueError, match=f'^{place} is not whole'):
    buckets.fetch(place)
  (tmp_path / 'a').rename(tmp_path / 'e')
  buckets.publish(tmp_path, place)
  assert sorted(os.listdir(buckets.fetch(place))) == ['b', 'c', 'd', 'e']


def test_every_byte_arrives(place, tmp_path):
  """The emulator of gs:// and gcsfs do not agree about a last \\r."""
  for name, content in {'cr': b'1\r', 'lf': b'1\n', 'both': b'\r\n'}.items():
    (tmp_path / name).write_bytes(content)
  buckets.publish(tmp_path, place)
  folder = buckets.fetch(place)
  for path in tmp_path.iterdir():
    assert (folder / path.name).read_bytes() == path.read_bytes()


@pytest.mark.parametrize('kind', ['gs'], indirect=True)
def test_a_byte_that_is_lost_is_seen(place, tmp_path, monkeypatch):
  """Amazon's library compares sums by itself."""
  (tmp_path / 'cr').write_bytes(b'1\r')
  monkeypatch.setattr(emulator, '_read_data', emulators.READ_DATA)
  with pytest.raises(OSError, match=f'^{place}: MD5 checksum failed'):
    buckets.publish(tmp_path, place)


class _Refuses(http.server.BaseHTTPRequestHandler):
  """A server that gives nobody anything."""

  def do_GET(self):
    self.send_response(401)
    self.end_headers()
    self.wfile.write(b'{"error": {"message": "Anonymous caller"}}')

  def log_message(self, *args):
    pass


def test_no_credentials(kind, place, monkeypatch, tmp_path, caplog):
  files = fsspec.get_filesystem_class(kind)
  files.clear_instance_cache()
  server = http.server.HTTPServer(('127.0.0.1', 0), _Refuses)
  threading.Thread(target=server.serve_forever, daemon=True).start()
  address = f'http://127.0.0.1:{server.server_address[1]}'
  if kind == 'gs':
    monkeypatch.setenv('STORAGE_EMULATOR_HOST', address)
  else:
    for name in ('AWS_ACCESS_KEY_ID', 'AWS_SECRET_ACCESS_KEY'):
      monkeypatch.delenv(name)
    for name in ('AWS_CONFIG_FILE', 'AWS_SHARED_CREDENTIALS_FILE'):
      monkeypatch.setenv(name, str(tmp_path / 'none'))
  try:
    with pytest.raises(ValueError) as error:
      xlmr_jax.load(place)
  finally:
    files.clear_instance_cache()
    server.shutdown()
    server.server_close()
  text = str(error.value)
  assert text.startswith(f'{place}: no credentials for {kind}://box (')
  assert '\n' not in text and ('gcloud auth' in text or 'aws conf' in text)
  assert not caplog.records


def test_no_account_at_google(monkeypatch, tmp_path):
  """It is looked for on this machine, and then not in vain elsewhere."""
  for name in ('STORAGE_EMULATOR_HOST', 'GOOGLE_APPLICATION_CREDENTIALS'):
    monkeypatch.delenv(name, raising=False)
  monkeypatch.setenv('CLOUDSDK_CONFIG', str(tmp_path))
  monkeypatch.setattr(_metadata, '_NO_GCE_CHECK', True)
  start = time.monotonic()
  with pytest.raises(ValueError, match='^gs://box/run: no credentials for gs:'):
    xlmr_jax.load('gs://box/run')
  assert time.monotonic() - start < 5


@pytest.mark.parametrize(
  'path, library, extra',
  [('gs://box/run', 'gcsfs', 'gcs'), ('s3://box/run', 's3fs', 's3')],
)
def test_no_library(path, library, extra):
  code = (
    f'import sys; sys.modules["{library}"] = None\n'
    'from xlmr_jax.runtime import buckets\n'
    f'try: buckets.fetch("{path}")\n'
    'except ValueError as error: print(error)'
  )
  done = subprocess.run(
    [sys.executable, '-c', code],
    cwd=tiny_runs.ROOT,
    capture_output=True,
    text=True,
    timeout=120,
    check=False,
  )
  assert done.stdout == (
    f"{path} needs {library}: pip install 'xlmr_jax[{extra}]'\n"
  ), done.stderr


def test_a_disk_needs_no_library(tmp_path):
  code = (
    'import sys; from xlmr_jax.runtime import buckets\n'
    f'with buckets.Mirror("{tmp_path}") as mirror: mirror.sync()\n'
    f'with buckets.publishing(buckets.fetch("{tmp_path}")): pass\n'
    'print({"fsspec", "gcsfs", "s3fs", "aiohttp"} & {*sys.modules})'
  )
  done = subprocess.run(
    [sys.executable, '-c', code],
    cwd=tiny_runs.ROOT,
    capture_output=True,
    text=True,
    timeout=120,
    check=True,
  )
  assert done.stdout == 'set()\n'
