"""Files and folders appear whole or not at all."""

import os

import pytest

from xlmr_jax.data.batches import loader
from xlmr_jax.runtime import storage


def test_a_file_that_fails_leaves_the_one_before(tmp_path):
  path = tmp_path / 'a.json'
  storage.write_json(path, {'é': 1})
  with pytest.raises(RuntimeError), storage.whole_file(path) as made:
    made.write_text('half')
    raise RuntimeError
  assert path.read_text('utf-8') == '{\n  "é": 1\n}\n'
  assert os.listdir(tmp_path) == ['a.json']


def test_a_folder_that_fails_leaves_the_one_before(tmp_path):
  folder = tmp_path / 'a'
  with storage.whole(folder) as made:
    (made / 'x').write_text('1')
  with pytest.raises(ValueError, match='not empty'), storage.whole(folder):
    pass
  with (
    pytest.raises(OSError, match='is as it was'),
    storage.whole(folder, overwrite=True) as made,
  ):
    raise OSError(28, 'No space left on device')
  assert (folder / 'x').read_text() == '1'
  with storage.whole(folder, overwrite=True) as made:
    (made / 'y').write_text('2')
  assert os.listdir(folder) == ['y'] and os.listdir(tmp_path) == ['a']


def test_containers_with_one_process_number_do_not_share_a_name(tmp_path):
  """Both write a.txt at once, as processes numbered 1 of two containers."""
  path = tmp_path / 'a.txt'
  with storage.whole_file(path) as one, storage.whole_file(path) as two:
    one.write_text('one')
    two.write_text('two')
    assert one != two
  assert path.read_text() == 'one'


def test_a_cache_of_row_counts_outlives_another_writer(tmp_path):
  """The other container's half-written file is not renamed, nor removed."""
  path = tmp_path / 'starts.npy'
  other = tmp_path / f'starts.npy.{os.getpid()}.tmp'
  other.write_bytes(b'half')
  loader._write_starts(str(path), [0, 3, 7])
  assert loader._read_starts(str(path)) == [0, 3, 7]
  assert other.read_bytes() == b'half'


def test_what_is_written_is_synced_before_it_is_named(tmp_path, monkeypatch):
  calls = []
  monkeypatch.setattr(os, 'fsync', lambda _: calls.append('sync'))
  path = tmp_path / 'a.txt'
  with storage.whole_file(path) as made:
    made.write_text('x')
    assert not path.exists() and not calls
  assert calls == ['sync']
