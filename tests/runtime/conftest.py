"""Buckets for the tests of this folder: emulators on loopback."""

import fsspec
import pytest

from tests.support import emulators


@pytest.fixture(scope='module', params=['gs', 's3'])
def kind(request, tmp_path_factory):
  """A protocol, whose emulator runs."""
  environment, stop = getattr(emulators, request.param)()
  with pytest.MonkeyPatch.context() as patch:
    for name, value in environment.items():
      patch.setenv(name, value)
    cache = tmp_path_factory.mktemp('cache')
    patch.setenv('XLMR_JAX_CACHE', str(cache))
    fsspec.get_filesystem_class(request.param).clear_instance_cache()
    yield request.param
    fsspec.get_filesystem_class(request.param).clear_instance_cache()
  stop()


@pytest.fixture
def place(kind, tmp_path):
  """A new place in a bucket."""
  return f'{kind}://box/{tmp_path.name}/run'
