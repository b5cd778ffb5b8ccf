"""Parameters as orbax keeps them on a disk: written, read, or left there.

A model may be larger than the memory, so arrays are written chunk by chunk,
and `find` opens them without reading: a Stored array gives any part of
itself.
"""

import contextlib
import dataclasses
import itertools
import json
import os
import pathlib
import re

import jax
import numpy as np
import orbax.checkpoint as ocp
import tensorstore

from xlmr_jax.checkpoints.arrays import DiskArray, region

CHUNK = 64 << 20  # bytes of one piece of an array on the disk


def by_chunks(tree) -> ocp.args.PyTreeSave:
  """Saves arrays with a few compressed chunks of them in memory.

  orbax's own chunk is a whole array, and its files hold 2 GiB: until they are
  written, compressed weights, hardly smaller than plain ones, stay in memory.
  """
  return ocp.args.PyTreeSave(
    tree,
    save_args=jax.tree.map(_chunks, tree),
    ocdbt_target_data_file_size=CHUNK,
  )


def _chunks(array) -> ocp.SaveArgs:
  """Large stacked arrays are cut by layer: the way back asks for a layer."""
  by_layer = array.ndim == 3 and array.nbytes > CHUNK
  axes = (0,) if by_layer else ()
  return ocp.SaveArgs(chunk_byte_size=CHUNK, shard_axes=axes)


class _ChunkHandler(ocp.type_handlers.NumpyHandler):
  """Lets orbax save arrays, lazy ones too, with one chunk in memory."""

  async def _open_and_write(self, value, tspec, ts_context):
    store = await tensorstore.open(
      tensorstore.Spec(tspec), create=True, open=True, context=ts_context
    )
    steps = store.chunk_layout.write_chunk.shape
    corners = [
      range(0, n, step) for n, step in zip(value.shape, steps, strict=True)
    ]
    for corner in itertools.product(*corners):
      region = tuple(
        slice(i, min(i + step, n))
        for i, step, n in zip(corner, steps, value.shape, strict=True)
      )
      # Waiting here, and not by await, keeps other arrays from being read.
      store[region].write(value[region]).result()


def save(folder: pathlib.Path, params: dict) -> None:
  """Writes arrays of numpy, lazy or stored ones, with one chunk in memory.

  Raises:
    OSError: the disk is full, or the like.
  """
  registry = ocp.type_handlers.create_type_handler_registry(
    (jax.Array, ocp.type_handlers.ArrayHandler())
  )
  known = (np.ndarray, DiskArray)
  registry.add(object, _ChunkHandler(), lambda kind: issubclass(kind, known))
  handler = ocp.PyTreeCheckpointHandler(type_handler_registry=registry)
  args = by_chunks(params)
  with plain_errors(), ocp.Checkpointer(handler) as checkpointer:
    checkpointer.save(folder.absolute(), args)


@contextlib.contextmanager
def plain_errors(where=None, note: str = ''):
  """orbax's way to say that a write failed → OSError, as from any write."""
  try:
    yield
  except ValueError as error:
    code = re.search(r"os_error_code='(\d+)'", str(error))
    if code is None:
      raise
    number = int(code[1])
    raise OSError(number, os.strerror(number) + note, where) from error


def read(folder: pathlib.Path) -> dict:
  """Parameters as they lie on disk, on no device."""
  folder = folder.absolute()
  if not folder.exists():
    raise ValueError(f'{folder} is not there')
  with ocp.Checkpointer(ocp.PyTreeCheckpointHandler()) as checkpointer:
    tree = checkpointer.metadata(folder).item_metadata.tree
    as_numpy = jax.tree.map(
      lambda _: ocp.RestoreArgs(restore_type=np.ndarray), tree
    )
    return checkpointer.restore(
      folder, args=ocp.args.PyTreeRestore(restore_args=as_numpy)
    )


@dataclasses.dataclass(frozen=True)
class Stored(DiskArray):
  """An array of an orbax checkpoint that still lies on the disk."""

  store: tensorstore.TensorStore

  @property
  def shape(self) -> tuple[int, ...]:
    return self.store.shape

  @property
  def dtype(self) -> np.dtype:
    return self.store.dtype.numpy_dtype

  def __getitem__(self, index) -> np.ndarray:
    # tensorstore's own indices do not count from the end, nor are they cut.
    wanted, squeezed = region(index, self.shape)
    return self.store[wanted].read().result().squeeze(squeezed)


def find(folder: pathlib.Path) -> dict:
  """Parameters that stay on the disk: opened where orbax wrote them."""
  folder = folder.absolute()
  facts = json.loads((folder / '_METADATA').read_text())
  driver = 'zarr3' if facts.get('use_zarr3') else 'zarr'
  base = {'driver': 'file', 'path': f'{folder}/'}
  tree: dict = {}
  for entry in facts['tree_metadata'].values():
    keys = [key['key'] for key in entry['key_metadata']]
    place = {'driver': 'ocdbt', 'base': base, 'path': '.'.join(keys) + '/'}
    if not facts.get('use_ocdbt', True):
      place = {**base, 'path': f'{folder}/{".".join(keys)}/'}
    spec = {'driver': driver, 'kvstore': place}
    store = tensorstore.open(spec, open=True, read=True).result()
    node = tree
    for key in keys[:-1]:
      node = node.setdefault(key, {})
    node[keys[-1]] = Stored(store)
  return tree
