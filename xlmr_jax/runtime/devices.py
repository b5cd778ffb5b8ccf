"""The devices of this machine: which there are, and a platform that is not."""

import collections
import glob
import importlib.util
import os
import re
import traceback

import jax

# Google's PCI vendor id, by which JAX itself finds a TPU.
_GOOGLE = '0x1ae0'
_EXTRAS = {'tpu': 'tpu', 'cuda': 'cuda', 'gpu': 'cuda'}
_MISSING = re.compile(
  r"Unable to initialize backend '(\w+)'|Unknown backend:? '?(\w+)"
  r"|Backend '(\w+)' is not in the list of known backends"
)


def describe() -> str:
  """All devices of this run, such as '8 x TPU v5e on 2 hosts'."""
  kinds = collections.Counter(d.device_kind for d in jax.devices())
  text = ', '.join(f'{count} x {kind}' for kind, count in kinds.items())
  hosts = jax.process_count()
  return text if hosts == 1 else f'{text} on {hosts} hosts'


def facts() -> dict[str, str | int]:
  """What a run's metrics record of where it runs."""
  return {
    'devices': describe(),
    'platform': jax.default_backend(),
    'hosts': jax.process_count(),
    'jax': jax.__version__,
  }


def leave_out_tpu() -> None:
  """Keeps JAX from looking for a TPU where libtpu is but no TPU.

  The extra `plan` installs libtpu for its compiler; without this each command
  on a laptop would begin with its warnings. What JAX_PLATFORMS says, counts.
  """
  if _asked():
    return
  if importlib.util.find_spec('libtpu') is None or _has_tpu():
    return
  if any(
    importlib.util.find_spec(f'jax_cuda{version}_plugin')
    for version in (12, 13)
  ):
    return  # JAX decides between a GPU and the CPU
  jax.config.update('jax_platforms', 'cpu')


def _asked() -> str:
  """The platforms that JAX is told to use."""
  asked = getattr(jax.config, 'jax_platforms', None)  # unknown to mypy
  return asked or os.environ.get('JAX_PLATFORMS', '')


def _has_tpu() -> bool:
  for path in glob.glob('/sys/bus/pci/devices/*/vendor'):
    with open(path) as file:
      if file.read().strip() == _GOOGLE:
        return True
  return False


def is_missing(error: BaseException) -> bool:
  """Whether an error says that a platform is not to be had."""
  if isinstance(error, AssertionError):  # jax's, where cuda has no plugin
    frames = traceback.extract_tb(error.__traceback__)
    return bool(frames) and frames[-1].filename.endswith('xla_bridge.py')
  return isinstance(error, RuntimeError) and bool(_MISSING.search(str(error)))


def describe_missing(error: BaseException) -> str:
  """The same in a sentence, with what to do."""
  match = _MISSING.search(str(error))
  asked = _asked()
  name = next(filter(None, match.groups())) if match else asked
  extra = _EXTRAS.get(name)
  install = (
    f"install 'xlmr_jax[{extra}]' where there is one, or " if extra else ''
  )
  return (
    f'JAX_PLATFORMS={asked or name}: JAX finds no {name} on this machine; '
    f'{install}unset JAX_PLATFORMS to take what there is'
  )
