"""Numbers of a run: metrics.jsonl, TensorBoard's events, speed."""

import json
import struct

import pytest
from tensorboardX.proto.event_pb2 import Event, SessionLog

from xlmr_jax.runtime import logs


def lines(folder):
  text = (folder / 'metrics.jsonl').read_text()
  return [json.loads(line) for line in text.splitlines()]


def events(folder):
  """What TensorBoard would show: {tag: {step: value}}."""
  out = {}
  for path in sorted((folder / 'tensorboard').iterdir()):
    data = path.read_bytes()
    while data:  # length, its checksum, a record, its checksum
      (length,) = struct.unpack('<Q', data[:8])
      event = Event.FromString(data[12 : 12 + length])
      data = data[16 + length :]
      if event.session_log.status == SessionLog.START:
        for values in out.values():
          for step in [s for s in values if s >= event.step]:
            del values[step]
      for value in event.summary.value:
        out.setdefault(value.tag, {})[event.step] = value.simple_value
  return out


def test_a_resumed_run_reads_as_if_nothing_had_happened(tmp_path):
  writer = logs.Writer(tmp_path)
  for step in (1, 2, 3):
    writer.write(step, {'loss': 1.0 / step, 'mfu': None})
  assert len(lines(tmp_path)) == 3  # on the disk at once, not at the end
  with open(tmp_path / 'metrics.jsonl', 'a') as file:
    file.write('{"step": 4, "lo')  # killed in the middle of a line
  writer.close()

  again = logs.Writer(tmp_path, resume_step=2)
  again.write(3, {'loss': 0.25, 'mfu': 0.5})
  again.close()
  assert lines(tmp_path) == [
    {'step': 1, 'loss': 1.0, 'mfu': None},
    {'step': 2, 'loss': 0.5, 'mfu': None},
    {'step': 3, 'loss': 0.25, 'mfu': 0.5},
  ]
  assert events(tmp_path) == {
    'loss': {1: 1.0, 2: 0.5, 3: 0.25},
    'mfu': {3: 0.5},
  }


@pytest.mark.parametrize('evaluated', [True, False])
def test_an_evaluation_that_comes_again_is_there_once(tmp_path, evaluated):
  writer = logs.Writer(tmp_path)
  records = [{logs.RATE: 0.1}, {'dev': 1.0}]
  for step in (1, 2, 3):
    for record in records:
      writer.write(step, record)
  writer.close()
  logs.Writer(tmp_path, resume_step=2, evaluated=evaluated).close()
  assert lines(tmp_path) == [
    {'step': step, **record}
    for step in (1, 2)
    for record in (records if step == 1 or evaluated else records[:1])
  ]


def test_other_hosts_write_nothing(tmp_path):
  writer = logs.Writer(tmp_path / 'run', active=False)
  writer.write(1, {'loss': 1.0})
  writer.close()
  assert not (tmp_path / 'run').exists()


def test_events_and_going_back(tmp_path):
  writer = logs.Writer(tmp_path)
  for step in (1, 2, 3):
    writer.write(step, {'loss': 1.0 * step})
  writer.event(3, what='a bad batch')
  writer.rewind(1)
  writer.write(2, {'loss': 9.0})
  writer.close()
  read = lambda name: [
    json.loads(line) for line in (tmp_path / name).read_text().splitlines()
  ]
  assert read('metrics.jsonl') == [
    {'step': 1, 'loss': 1.0},
    {'step': 2, 'loss': 9.0},
  ]
  assert read('events.jsonl') == [{'step': 3, 'what': 'a bad batch'}]
  logs.Writer(tmp_path, resume_step=2).close()  # killed before step 3 again
  assert read('events.jsonl') == []


def test_speed_leaves_out_pauses(monkeypatch):
  now = [0.0]
  monkeypatch.setattr(logs.time, 'perf_counter', lambda: now[0])
  bar = logs.Progress(10, 0, 'run', show=False)
  bar.step()
  now[0] = 2.0
  assert bar.seconds() == pytest.approx(2)
  now[0] = 50.0  # an evaluation
  bar.pause()
  now[0] = 51.0
  assert bar.seconds() == pytest.approx(1)
  bar.close()


def test_without_a_bar_lines_are_printed(capsys):
  bar = logs.Progress(10, 0, 'run', show=False)
  bar.say('step 1')
  bar.close()
  assert capsys.readouterr() == ('step 1\n', '')
