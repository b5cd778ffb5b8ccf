"""Workdirs, models and results in buckets, on emulators on loopback."""

import http.server
import json
import os
import shutil
import signal
import subprocess
import sys
import threading

from absl import flags
import fsspec
import jax
import numpy as np
import pytest

from configs import finetune, pretrain
from tests.support import emulators, tiny_runs
import xlmr_jax
from xlmr_jax import train
from xlmr_jax.checkpoints import checkpoint_steps, convert, directory
from xlmr_jax.data.corpus import prepare, shards
from xlmr_jax.eval import __main__ as evaluation
from xlmr_jax.runtime import buckets, object_store

RECIPES = [finetune, pretrain]
# Of 80 and 30 steps; that the first save, an evaluation, the best step and
# the end are in is enough here.
SHORT = {
  finetune: {'epochs': 3, 'eval_every': 8, 'save_every': 5},
  pretrain: {'steps': 12},
}


@pytest.fixture(scope='module', params=['gs', 's3'])
def kind(request, tmp_path_factory):
  """A protocol, whose emulator runs."""
  environment, stop = getattr(emulators, request.param)()
  with pytest.MonkeyPatch.context() as patch:
    for name, value in environment.items():
      patch.setenv(name, value)
    cache = tmp_path_factory.mktemp('cache')
    patch.setenv('XLMR_JAX_CACHE', str(cache))
    fsspec.get_filesystem_class(request.param).clear_instance_cache()
    yield request.param
    fsspec.get_filesystem_class(request.param).clear_instance_cache()
  stop()


@pytest.fixture
def place(kind, tmp_path):
  """A new place in a bucket."""
  return f'{kind}://box/{tmp_path.name}/run'


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


def forget():
  """The run goes on on another machine."""
  shutil.rmtree(os.environ['XLMR_JAX_CACHE'])


class Killed(BaseException):
  """No code of ours catches it."""


def die_at(patch, method, at):
  """From a call of a Bucket's method on, nothing reaches the bucket.

  Of the call's files the first half does.
  """
  calls = [0]
  for name in ('send', 'write', 'remove'):
    old = getattr(object_store.Bucket, name)

    def new(self, *args, name=name, old=old):
      calls[0] += name == method
      if calls[0] < at:
        return old(self, *args)
      if calls[0] == at and name == method == 'send':
        half = sorted(args[1])
        old(self, args[0], half[: len(half) // 2])
      calls[0] = at + 1
      raise Killed

    patch.setattr(object_store.Bucket, name, new)


@pytest.mark.parametrize('module', RECIPES)
@pytest.mark.parametrize('method, at', [('send', 4), ('write', 4)])
def test_a_killed_run_goes_on(
  place, module, method, at, given, local_runs, monkeypatch
):
  config = tiny_runs.recipe(given, module)
  with monkeypatch.context() as patch:
    die_at(patch, method, at)
    with pytest.raises(Killed):
      train.train(config, place)
  forget()
  # What was cut off is no step; the one before it is the latest.
  (step,) = os.listdir(buckets.Mirror(place).folder / 'checkpoints')
  assert 0 < int(step) < 12
  forget()
  train.train(config, place)
  forget()
  tiny_runs.assert_same_run(buckets.Mirror(place).folder, local_runs[module])


def test_sigkill(place, given, local_runs):
  folder = buckets.Mirror(place).folder
  process = tiny_runs.Process(given, pretrain, place)
  process.workdir = folder
  code, output = process.send(signal.SIGKILL, 7)
  assert code == -signal.SIGKILL, output
  forget()
  train.train(tiny_runs.recipe(given, pretrain), place)
  forget()
  tiny_runs.assert_same_run(buckets.Mirror(place).folder, local_runs[pretrain])


def test_a_run_moves_from_disk_to_bucket(
  kind, place, given, local_runs, tmp_path, monkeypatch
):
  """As `gcloud storage cp -r` or `aws s3 cp` copies it: without markers."""
  config = tiny_runs.recipe(given, finetune)
  save, saves = checkpoint_steps.Manager.save, []

  def dying(self, step, *args):
    saves.append(step)
    if len(saves) == 4:
      raise Killed
    save(self, step, *args)

  with monkeypatch.context() as patch:
    patch.setattr(checkpoint_steps.Manager, 'save', dying)
    with pytest.raises(Killed):
      train.train(config, tmp_path / 'run')
  fsspec.filesystem(kind).put(f'{tmp_path}/run/', f'{place}/', recursive=True)
  train.train(config, place)
  forget()
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
      f'--output_dir={base}/results',
    )
  assert 'cats test: accuracy' in capsys.readouterr().out
  files = fsspec.filesystem(kind)
  scores = json.loads(files.cat_file(f'{base}/results/results.json'))
  assert scores['checkpoint'] == f'{base}/hf'
  assert files.exists(f'{base}/results/predictions/cats/test-de.tsv')


def test_a_corpus(place, given, tiny_tokenizer):
  call(
    prepare,
    f'--corpus={given[pretrain]["corpus"]}',
    f'--tokenizer={tiny_tokenizer}',
    f'--output={place}',
    '--workers=1',
  )
  forget()
  assert set(shards.open_shards(buckets.fetch(place)).manifest['parts']) == {
    'de',
    'en',
    'ru',
  }


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
  forget()
  folder = buckets.Mirror(place).folder
  assert os.listdir(folder / 'checkpoints') == ['7']
  # An object of a step that lost its end.
  files = fsspec.filesystem(place[:2])
  files.pipe_file(f'{place}/checkpoints/7/a', b'2')
  with buckets.Mirror(place) as mirror:
    assert os.listdir(mirror.folder) == ['log', 'cache'][:1]
  assert not files.find(f'{place}/checkpoints')


def test_a_publication_that_was_cut_off(place, tmp_path, monkeypatch):
  for name in 'abcd':
    (tmp_path / name).write_text(name)
  with monkeypatch.context() as patch:
    die_at(patch, 'send', 1)
    with pytest.raises(Killed):
      buckets.publish(tmp_path, place)
  with pytest.raises(ValueError, match=f'^{place} is not whole'):
    buckets.fetch(place)
  (tmp_path / 'a').rename(tmp_path / 'e')
  buckets.publish(tmp_path, place)
  assert sorted(os.listdir(buckets.fetch(place))) == ['b', 'c', 'd', 'e']


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


class _Refuses(http.server.BaseHTTPRequestHandler):
  """A server that gives nobody anything."""

  def do_GET(self):
    self.send_response(401)
    self.end_headers()
    self.wfile.write(b'{"error": {"message": "Anonymous caller"}}')

  def log_message(self, *args):
    pass


def test_no_credentials(kind, place, monkeypatch, tmp_path):
  files = fsspec.get_filesystem_class(kind)
  files.clear_instance_cache()
  server = http.server.HTTPServer(('127.0.0.1', 0), _Refuses)
  threading.Thread(target=server.serve_forever, daemon=True).start()
  address = f'http://127.0.0.1:{server.server_address[1]}'
  if kind == 'gs':
    monkeypatch.setenv('STORAGE_EMULATOR_HOST', address)
  else:
    for name in ('AWS_ACCESS_KEY_ID', 'AWS_SECRET_ACCESS_KEY'):
      monkeypatch.delenv(name)
    for name in ('AWS_CONFIG_FILE', 'AWS_SHARED_CREDENTIALS_FILE'):
      monkeypatch.setenv(name, str(tmp_path / 'none'))
  try:
    with pytest.raises(ValueError) as error:
      xlmr_jax.load(place)
  finally:
    files.clear_instance_cache()
    server.shutdown()
    server.server_close()
  text = str(error.value)
  assert text.startswith(f'{place}: no credentials for {kind}://box (')
  assert '\n' not in text and ('gcloud auth' in text or 'aws conf' in text)


@pytest.mark.parametrize(
  'path, library, extra',
  [('gs://box/run', 'gcsfs', 'gcs'), ('s3://box/run', 's3fs', 's3')],
)
def test_no_library(path, library, extra):
  code = (
    f'import sys; sys.modules["{library}"] = None\n'
    'from xlmr_jax.runtime import buckets\n'
    f'try: buckets.fetch("{path}")\n'
    'except ValueError as error: print(error)'
  )
  done = subprocess.run(
    [sys.executable, '-c', code],
    cwd=tiny_runs.ROOT,
    capture_output=True,
    text=True,
    timeout=120,
    check=False,
  )
  assert done.stdout == (
    f"{path} needs {library}: pip install 'xlmr_jax[{extra}]'\n"
  ), done.stderr
