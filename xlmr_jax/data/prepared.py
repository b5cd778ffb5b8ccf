"""Data sets that tensorflow_datasets has prepared, without TensorFlow."""

import os
from typing import Any


def open_tfds(path: str | os.PathLike, split: str) -> tuple[Any, Any]:
  """(features by name, examples by index) of a folder of a version.

  Args:
    path: the folder, which holds dataset_info.json.
    split: such as 'train', or a slice of it.

  Raises:
    ValueError: no such split, or a file format that needs TensorFlow.
  """
  import tensorflow_datasets as tfds  # half a second to import

  builder = tfds.builder_from_directory(path)
  if split.partition('[')[0] not in builder.info.splits:
    raise ValueError(
      f'{path}: no split {split!r}; it has {", ".join(builder.info.splits)}'
    )
  try:
    return builder.info.features, builder.as_data_source(split)
  except NotImplementedError as error:
    raise ValueError(
      f'{path}: prepared as {builder.info.file_format.value}; prepare it again'
      " with file_format='array_record' to read it without TensorFlow"
    ) from error
