"""Which devices a run uses, and platforms that are not there."""

import importlib
import json
import os
import subprocess
import sys

from absl import flags
import jax
import pytest

from xlmr_jax import train
from xlmr_jax.runtime import commands, devices


def run(code: str, **environment) -> subprocess.CompletedProcess:
  env = {k: v for k, v in os.environ.items() if k != 'JAX_PLATFORMS'}
  return subprocess.run(
    [sys.executable, '-c', code],
    env={**env, **environment},
    capture_output=True,
    text=True,
    check=False,
  )


_COMMAND = """
import sys, types
import jax
from xlmr_jax.runtime import commands
def main(argv):
  print(jax.devices())
  print('platforms:', jax.config.jax_platforms)
module = types.SimpleNamespace(
  __doc__='', define_flags=lambda: None, main=main
)
commands.run(module, ['it'])
"""


@pytest.mark.parametrize('platform, extra', [('tpu', 'tpu'), ('cuda', 'cuda')])
def test_a_platform_that_is_not_there_is_one_line(platform, extra):
  if jax.default_backend() != 'cpu':
    pytest.skip('this machine has an accelerator')
  done = run(_COMMAND, JAX_PLATFORMS=platform)
  assert done.returncode == 1
  lines = [x for x in done.stderr.splitlines() if x.startswith('error: ')]
  assert lines == [
    f'error: JAX_PLATFORMS={platform}: JAX finds no {platform} on this '
    f"machine; install 'xlmr_jax[{extra}]' where there is one, or unset "
    'JAX_PLATFORMS to take what there is'
  ]
  assert 'Traceback' not in done.stderr


def test_libtpu_without_a_tpu_is_not_asked(tmp_path):
  """The extra `plan` brings libtpu; no other command begins with its words."""
  package = tmp_path / 'libtpu'
  package.mkdir()
  (package / '__init__.py').write_text(
    'def get_library_path():\n  return "/nowhere/libtpu.so"\n'
  )
  path = os.pathsep.join([str(tmp_path), *filter(None, sys.path)])
  done = run(_COMMAND, PYTHONPATH=path)
  assert done.returncode == 0, done.stderr
  assert 'platforms: cpu' in done.stdout and not done.stderr
  without = run(_COMMAND)
  assert 'platforms: None' in without.stdout


def test_devices_are_described():
  count = len(jax.devices())
  assert devices.describe() == f'{count} x {jax.devices()[0].device_kind}'
  assert devices.facts()['jax'] == jax.__version__
  json.dumps(devices.facts())


def test_other_runtime_errors_are_bugs():
  assert not devices.is_missing(RuntimeError('out of memory'))
  assert not devices.is_missing(ValueError("Unable to initialize backend 'x'"))


def test_modules_are_reloaded_in_a_notebook():
  for module in (commands, train):
    assert importlib.reload(module) is module
  values = flags.FlagValues()
  train.define_flags(values)
  assert 'workdir' in values
