"""Shared fixtures: where the real data is, and a compile cache."""

import os
import pathlib

import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent


def find_data() -> pathlib.Path | None:
  """The benchmark folder: $XLMR_JAX_DATA, else ../shared/data."""
  folder = pathlib.Path(
    os.environ.get('XLMR_JAX_DATA', ROOT.parent / 'shared' / 'data')
  )
  return folder if folder.is_dir() else None


@pytest.fixture(scope='session')
def data_dir() -> pathlib.Path:
  """The folder of real benchmark files; skips where it is absent."""
  folder = find_data()
  if folder is None:
    pytest.skip('no benchmark files: set XLMR_JAX_DATA to their folder')
  return folder
