"""The picture of a run has its numbers in it."""

import json

import numpy as np
import pytest

from xlmr_jax.training import curves

RECORDS = [
  {'step': 1, 'loss': 9.0},
  {'step': 2, 'loss': 8.0},
  {'step': 2, 'heldout_loss': 7.5, 'heldout_loss/en': 7.0, 'unigram/en': 6.5,
   'heldout_loss/sw': 8.0, 'unigram/sw': 7.1, 'unigram': 6.8},
  {'step': 4, 'loss': 6.0},
  {'step': 4, 'heldout_loss': 6.5, 'heldout_loss/en': 6.0, 'unigram/en': 6.5,
   'heldout_loss/sw': 7.0, 'unigram/sw': 7.1, 'unigram': 6.8},
]  # fmt: skip


@pytest.fixture
def workdir(tmp_path):
  folder = tmp_path / 'run'
  folder.mkdir()
  text = ''.join(json.dumps(record) + '\n' for record in RECORDS)
  (folder / 'metrics.jsonl').write_text(text + '{"step": 5, "lo')
  return folder


def test_what_is_drawn(workdir):
  left, right = curves.draw([workdir]).axes
  (line,) = left.lines
  np.testing.assert_array_equal(line.get_xydata(), [[1, 9], [2, 8], [4, 6]])
  drawn = {line.get_label(): line.get_xydata().tolist() for line in right.lines}
  assert drawn['en'] == [[2, 7], [4, 6]] and drawn['sw'] == [[2, 8], [4, 7]]
  ticks = [line.get_ydata()[0] for line in right.lines if len(line.get_xydata())
           == 2 and line.get_xdata()[0] == 1.0]  # fmt: skip
  assert ticks == [6.5, 7.1]
  assert right.get_ylabel() == 'heldout loss'


def test_two_runs_have_their_names(workdir, tmp_path):
  other = tmp_path / 'other'
  other.mkdir()
  (other / 'metrics.jsonl').write_text(
    '{"step": 1, "loss": 3.0}\n{"step": 1, "dev_accuracy/en": 50.0}\n'
  )
  left, right = curves.draw([workdir, other]).axes
  assert [line.get_label() for line in left.lines] == ['run', 'other']
  labels = {line.get_label() for line in right.lines}
  assert {'run en', 'run sw', 'other en'} <= labels


def test_the_command_writes_it(workdir, capsys):
  options = curves.flags.FlagValues()
  curves.define_flags(options)
  options(['curves'])
  curves.main(['curves', str(workdir)], options)
  assert capsys.readouterr().out == f'wrote {workdir / "curves.png"}\n'
  head = (workdir / 'curves.png').read_bytes()[:4]
  assert head == b'\x89PNG'


def test_what_cannot_be_drawn(workdir, tmp_path):
  with pytest.raises(ValueError, match='is .*none a run that began'):
    curves.draw([tmp_path / 'none'])
  options = curves.flags.FlagValues()
  curves.define_flags(options)
  options(['curves', f'--output={tmp_path}/x.bmpx'])
  with pytest.raises(ValueError, match=r'--output=.*x\.bmpx'):
    curves.main(['curves', str(workdir)], options)
  with pytest.raises(ValueError, match='give the workdir of a run'):
    curves.main(['curves'], options)
