"""Models in files: read any format, write any that can be written.

>>> from xlmr_jax import checkpoints
>>> weights = checkpoints.read('FacebookAI/xlm-roberta-base')
>>> checkpoints.write('xlmr-base', weights, 'orbax')
"""


def read(path, **options):
  """Reads a model: see `xlmr_jax.checkpoints.directory.read`."""
  # Imported here so that `import xlmr_jax.checkpoints` costs nothing.
  from xlmr_jax.checkpoints import directory

  return directory.read(path, **options)


def write(folder, weights, format, **options) -> None:
  """Writes a model: see `xlmr_jax.checkpoints.directory.write`."""
  from xlmr_jax.checkpoints import directory

  directory.write(folder, weights, format, **options)
