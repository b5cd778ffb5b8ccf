"""Workdirs, models and results in buckets, on emulators on loopback."""

import json
import os
import shutil
import signal

from absl import flags
import fsspec
import jax
import numpy as np
import pytest

from configs import finetune, pretrain
from tests.support import cut_uploads, emulators, tiny_runs
import xlmr_jax
from xlmr_jax import train
from xlmr_jax.checkpoints import convert, directory
from xlmr_jax.data.corpus import command, shards
from xlmr_jax.eval import __main__ as evaluation
from xlmr_jax.eval.benchmarks import table
from xlmr_jax.eval.benchmarks.benchmark import Benchmark
from xlmr_jax.eval.task import Task
from xlmr_jax.runtime import buckets, logs, object_store
from xlmr_jax.tasks.kinds import KINDS

RECIPES = [finetune, pretrain]
# Not of 80 and 30 steps: that the first save, an evaluation, the best step and
# the end are in is enough here.
SHORT = {
  finetune: {'epochs': 2, 'eval_every': 8, 'save_every': 5},
  pretrain: {'steps': 12},
}


@pytest.fixture(scope='module')
def given(tmp_path_factory, tiny_tokenizer):
  folder = tmp_path_factory.mktemp('data')
  tiny_runs.write_data(folder)
  out = tiny_runs.settings(folder, tiny_tokenizer)
  return {module: {**out[module], **SHORT[module]} for module in RECIPES}


@pytest.fixture(scope='module')
def local_runs(given, tmp_path_factory):
  """{recipe: the workdir of a run on a disk that nothing disturbed}."""
  folder = tmp_path_factory.mktemp('runs')
  for module in RECIPES:
    train.train(tiny_runs.recipe(given, module), folder / module.__name__)
  return {module: folder / module.__name__ for module in RECIPES}


def asks_to_stop(patch, step):
  """A preemption, after a step."""
  write = logs.Writer.write

  def new(self, at, values):
    write(self, at, values)
    if at == step and logs.RATE in values:
      os.kill(os.getpid(), signal.SIGTERM)

  patch.setattr(logs.Writer, 'write', new)


def saved(url):
  """Steps that another machine finds; it has nothing else of the run."""
  emulators.forget()
  return sorted(
    map(int, os.listdir(buckets.Mirror(url).folder / 'checkpoints'))
  )


# Where the upload of the second step is cut: in the middle of its files, before
# its marker; and the step before it.
CUTS = {pretrain: ('send', '4', 4), finetune: ('write', '4', 5)}


@pytest.fixture(scope='module')
def killed(kind, given):
  """{recipe: workdir} of runs that a SIGKILL ended while they sent."""
  places = {module: f'{kind}://box/{module.__name__}/run' for module in RECIPES}
  runs = []
  for module, place in places.items():
    command = 'tests.support.cut_uploads', *CUTS[module][:2]
    runs.append(tiny_runs.Process(given, module, place, command).process)
  for run in runs:
    output, _ = run.communicate(timeout=240)
    assert run.returncode == -signal.SIGKILL, output
  return places


@pytest.mark.parametrize('module', RECIPES)
def test_a_killed_run_goes_on(killed, module, given, local_runs, monkeypatch):
  """After a SIGKILL and after a SIGTERM, each time on another machine."""
  place = killed[module]
  # What was cut off is no step; the one before it is.
  assert saved(place) == [CUTS[module][2]]
  emulators.forget()
  config = tiny_runs.recipe(given, module)
  with monkeypatch.context() as patch:
    asks_to_stop(patch, 9)
    train.train(config, place)
  assert saved(place)[-1] == 9
  emulators.forget()
  train.train(config, place)
  emulators.forget()
  tiny_runs.assert_same_run(buckets.Mirror(place).folder, local_runs[module])


@pytest.fixture(scope='module')
def stopped(given, tmp_path_factory):
  """The workdir, on a disk, of a run that was preempted."""
  workdir = tmp_path_factory.mktemp('stopped') / 'run'
  with pytest.MonkeyPatch.context() as patch:
    asks_to_stop(patch, 9)
    train.train(tiny_runs.recipe(given, finetune), workdir)
  return workdir


def test_a_run_moves_from_disk_to_bucket(
  kind, place, given, stopped, local_runs
):
  """As `gcloud storage cp -r` or `aws s3 cp` copies it: without markers."""
  fsspec.filesystem(kind).put(f'{stopped}/', f'{place}/', recursive=True)
  train.train(tiny_runs.recipe(given, finetune), place)
  emulators.forget()
  tiny_runs.assert_same_run(buckets.Mirror(place).folder, local_runs[finetune])


def call(module, *argv):
  options = flags.FlagValues()
  flags.DEFINE_string('unused', None, '', flag_values=options)
  module.define_flags(options)
  module.main(options(['', *argv]), options)


def same(a, b):
  a, b = tiny_runs.flat(a), tiny_runs.flat(b)
  assert a.keys() == b.keys()
  assert all(np.array_equal(a[name], b[name]) for name in a)


def test_load_eval_and_convert(kind, place, local_runs, given, capsys):
  workdir = local_runs[finetune]
  buckets.publish(workdir, place)
  ours, theirs = xlmr_jax.load(workdir), xlmr_jax.load(place)
  same(ours.params, theirs.params)
  steps = sorted(map(int, os.listdir(workdir / 'checkpoints')))
  same(
    xlmr_jax.load(f'{place}/checkpoints/{steps[0]}/').params,
    xlmr_jax.load(workdir / 'checkpoints' / str(steps[0])).params,
  )

  base = place.rpartition('/')[0]
  call(convert, place, f'{base}/hf')
  call(convert, f'{base}/hf', f'{base}/back')
  assert directory.recognise(f'{base}/hf').name == 'hf'
  same(xlmr_jax.load(f'{base}/back').params, ours.params)
  with pytest.raises(ValueError, match=f'{base}/hf is not empty: choose'):
    call(convert, place, f'{base}/hf')

  capsys.readouterr()
  for _ in range(2):
    call(
      evaluation,
      '--benchmark=cats',
      f'--checkpoint={base}/hf',
      f'--test={given[finetune]["data_dir"]}/dev-{{language}}.tsv',
      *('--languages=de,en', f'--output_dir={base}/results'),
    )
  output = capsys.readouterr().out
  assert 'cats test: accuracy' in output
  assert f'\nsent to {base}/results\n' in output
  files = fsspec.filesystem(kind)
  scores = json.loads(files.cat_file(f'{base}/results/results.json'))
  assert scores['checkpoint'] == f'{base}/hf'
  assert files.exists(f'{base}/results/predictions/cats/test-de.tsv')


def test_a_submission(kind, place, tmp_path, monkeypatch):
  kind_of, none = KINDS['classify'], lambda *_: []
  task = Task('mine', kind_of, none, ('de',), labels=('a', 'b'))
  monkeypatch.setitem(table.BENCHMARKS, 'own', Benchmark('own', (task,)))
  for name, text in (('predictions', 'a\nb\n'), ('labels', 'a\na\n')):
    (tmp_path / name / 'mine').mkdir(parents=True)
    (tmp_path / name / 'mine' / 'test-de.tsv').write_text(text)
  buckets.publish(tmp_path / 'predictions', f'{place}/predictions')
  call(
    evaluation,
    *('--benchmark=own', f'--predictions={place}/predictions'),
    *(f'--labels={tmp_path}/labels', f'--output_dir={place}/scores'),
  )
  scores = fsspec.filesystem(kind).cat_file(f'{place}/scores/results.json')
  assert json.loads(scores)['overall'] == 50.0, json.loads(scores)


def test_a_corpus(place, given, tiny_tokenizer):
  call(
    command,
    f'--corpus={given[pretrain]["corpus"]}',
    f'--tokenizer={tiny_tokenizer}',
    f'--output={place}',
    '--workers=1',
  )
  emulators.forget()
  assert set(shards.open_shards(buckets.fetch(place)).manifest['parts']) == {
    'de',
    'en',
    'ru',
  }
  for flag in ('report', 'verify'):
    call(command, f'--{flag}={place}')


def test_a_benchmark_goes_on(place, monkeypatch):
  """What its runs and evaluations leave is sent as soon as it is there."""
  wrote = []

  def run(config, workdir, group, keep):
    wrote.append(sorted(p.name for p in workdir.glob('*/*')))
    (workdir / 'runs' / '.lock').parent.mkdir(exist_ok=True)
    for name in ('runs/.lock', 'runs/model'):
      (workdir / name).write_text('1')
    keep()
    raise cut_uploads.Killed

  monkeypatch.setattr(evaluation.suite, 'run', run)
  for _ in range(2):
    with pytest.raises(cut_uploads.Killed):
      call(evaluation, '--config=xtreme:model=tiny', f'--workdir={place}')
    emulators.forget()
  assert wrote == [[], ['model']]


def test_nothing_is_sent_or_fetched_twice(place, monkeypatch):
  sent, brought = [], []
  for name, seen in (('send', sent), ('bring', brought)):
    old = getattr(object_store.Bucket, name)

    def new(self, folder, names, seen=seen, old=old):
      seen += sorted(names)
      old(self, folder, names)

    monkeypatch.setattr(object_store.Bucket, name, new)

  def write(folder, name, text):
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(text)

  def take(names):
    out = list(names)
    names.clear()
    return out

  with buckets.Mirror(place) as mirror:
    for name in ('checkpoints/5/a', 'checkpoints/5/meta/metadata', 'log'):
      write(mirror.folder, name, '1')
    write(mirror.folder, 'checkpoints/6.orbax-checkpoint-tmp/a', '1')
    write(mirror.folder, 'cache/shard', '1')
  assert take(sent) == ['log', 'checkpoints/5/a', 'checkpoints/5/meta/metadata']
  mirror.sync()
  assert take(sent) == []
  write(mirror.folder, 'checkpoints/5/meta/metadata', '{"evaluated": 5}')
  mirror.sync()
  assert take(sent) == ['checkpoints/5/meta/metadata']
  mirror = buckets.Mirror(place)
  assert take(brought) == []
  assert (mirror.folder / 'cache/shard').exists()
  assert os.listdir(mirror.folder / 'checkpoints') == ['5']
  write(mirror.folder, 'checkpoints/7/a', '22')
  shutil.rmtree(mirror.folder / 'checkpoints/5')
  mirror.sync()
  emulators.forget()
  folder = buckets.Mirror(place).folder
  assert os.listdir(folder / 'checkpoints') == ['7']
  # An object of a step that lost its end.
  files = fsspec.filesystem(place[:2])
  files.pipe_file(f'{place}/checkpoints/7/a', b'2')
  with buckets.Mirror(place) as mirror:
    assert os.listdir(mirror.folder) == ['log', 'cache'][:1]
  assert not files.find(f'{place}/checkpoints')


def test_errors_are_one_line(kind, place, given, monkeypatch):
  config = tiny_runs.recipe(given, finetune)
  none = f'{kind}://nobox/run'
  for ask in (
    lambda: train.train(config, none),
    lambda: xlmr_jax.load(none),
    lambda: call(convert, none, 'x'),
    lambda: buckets.publish(os.getcwd(), none),
  ):
    with pytest.raises(ValueError) as error:
      ask()
    assert str(error.value).startswith(
      f'{none}: there is no bucket {kind}://nobox'
    )
  with pytest.raises(ValueError, match=f'^{place}: nothing is there$'):
    xlmr_jax.load(place)
  with pytest.raises(
    ValueError, match=f'^{place}: several hosts need a folder'
  ):
    buckets.Mirror(place, several=True)
  for path in ('hdfs://a/b', 'gcs://a/b'):
    with pytest.raises(ValueError, match=f'^{path} is neither gs://BUCKET'):
      xlmr_jax.load(path)
  monkeypatch.setattr(jax, 'process_count', lambda: 2)
  with pytest.raises(ValueError, match='mount a shared filesystem'):
    train.train(config, place)
