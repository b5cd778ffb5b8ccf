"""sentence-transformers' Dense: a layer between pooling and normalisation.

  2_Dense/config.json        sizes and the activation
  2_Dense/model.safetensors  linear.weight [out, in], linear.bias (or a pickle)

LaBSE has one. Its parameters are params['projection'], and `Pooling.activation`
names what comes after it.
"""

from collections.abc import Mapping
import pathlib
from typing import Any

from xlmr_jax.checkpoints.hf.files import Folder, Layout, find
from xlmr_jax.checkpoints.hf.names import Row
from xlmr_jax.checkpoints.weights import Pooling

# Our name → theirs.
ACTIVATIONS = {
  'tanh': 'torch.nn.modules.activation.Tanh',
  'identity': 'torch.nn.modules.linear.Identity',
}
INPUT = 'sentence_embedding'  # what Pooling gives


def rows(width: int, outputs: int, bias: bool) -> dict[str, Row]:
  """Their key → where it lies in our tree."""
  shape, path = (outputs, width), 'projection/'
  out = {
    'linear.weight': Row(path + 'kernel', None, shape, shape[::-1], True),
    'linear.bias': Row(path + 'bias', None, shape[:1], shape[:1], False),
  }
  return out if bias else {'linear.weight': out['linear.weight']}


def rows_of(leaves: Mapping[str, Any]) -> dict[str, Row]:
  """The same of parameters by path; none where they have no projection."""
  kernel = leaves.get('projection/kernel')
  if kernel is None:
    return {}
  width, outputs = kernel.shape
  return rows(width, outputs, 'projection/bias' in leaves)


def read(
  folder: Folder, path: pathlib.PurePath, width: int
) -> tuple[str, Layout, dict[str, Row]]:
  """The activation, the tensors and their places.

  Args:
    folder: of the model.
    path: of the Dense's folder below it.
    width: D of the body.

  Raises:
    ValueError: a Dense of another kind, or files that do not hold it.
  """
  name = path / 'config.json'
  config, file = folder.json(name), folder.path / name
  known = {theirs: ours for ours, theirs in ACTIVATIONS.items()}
  activation = config.get('activation_function', ACTIVATIONS['tanh'])
  if activation not in known:
    raise ValueError(
      f'{file}: activation_function {activation!r} is not one of '
      f'{", ".join(known)}'
    )
  for key in ('module_input_name', 'module_output_name'):
    if config.get(key, INPUT) not in (INPUT, None):
      raise ValueError(f'{file}: {key} = {config[key]!r} is not {INPUT}')
  sizes = config.get('in_features'), config.get('out_features')
  if sizes[0] != width or type(sizes[1]) is not int or sizes[1] < 1:
    raise ValueError(
      f'{file}: in_features, out_features = {sizes}, and the body gives '
      f'vectors of {width}'
    )
  layout = find(folder, path)
  return (
    known[activation],
    layout,
    rows(width, sizes[1], bool(config.get('bias', True))),
  )


def config_json(leaves: Mapping[str, Any], pooling: Pooling) -> dict[str, Any]:
  """The Dense's own config.json."""
  width, outputs = leaves['projection/kernel'].shape
  return {
    'in_features': width,
    'out_features': outputs,
    'bias': 'projection/bias' in leaves,
    'activation_function': ACTIVATIONS[pooling.activation or 'identity'],
  }
