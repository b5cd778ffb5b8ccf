"""Activations of the feed-forward, by the names that config.json uses."""

import functools

import jax


def _lean(fn):
  """Keeps only its input for the backward pass; erf alone would keep four."""
  return jax.checkpoint(fn, prevent_cse=False)


ACTIVATIONS = {
  'gelu': _lean(functools.partial(jax.nn.gelu, approximate=False)),
  'gelu_new': _lean(functools.partial(jax.nn.gelu, approximate=True)),
  'gelu_pytorch_tanh': _lean(functools.partial(jax.nn.gelu, approximate=True)),
  'relu': jax.nn.relu,
}
