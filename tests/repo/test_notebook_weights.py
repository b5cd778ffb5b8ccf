"""The notebooks take published weights where a hub answers, and say so."""

import http.server
import json
import os
import pathlib
import socket
import subprocess
import sys
import threading

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
NAME = 'FacebookAI/xlm-roberta-base'


class Hub(http.server.BaseHTTPRequestHandler):
  """Knows one model, and nothing of its files."""

  def do_GET(self):
    known = self.path == f'/api/models/{NAME}'
    self.send_response(200 if known else 404)
    self.end_headers()
    self.wfile.write(json.dumps({'id': NAME, 'modelId': NAME}).encode())

  def log_message(self, *_):
    pass


@pytest.fixture(scope='module')
def hub():
  server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), Hub)
  threading.Thread(target=server.serve_forever, daemon=True).start()
  yield f'http://127.0.0.1:{server.server_port}'
  server.shutdown()


def ask(cache, endpoint, *, program=('colab/weights.py',), **env):
  """(what `python colab/weights.py` prints, what it says)."""
  clean = {k: v for k, v in os.environ.items() if not k.startswith('HF_')}
  done = subprocess.run(
    [sys.executable, *program],
    cwd=ROOT,
    env={
      **clean,
      'HF_ENDPOINT': endpoint,
      'HF_HOME': str(cache),
      'NO_PROXY': '127.0.0.1',
      'no_proxy': '127.0.0.1',
      'WEIGHTS': '',
      **env,
    },
    capture_output=True,
    text=True,
    timeout=60,
    check=True,
  )
  assert done.stderr.count('\n') == 1
  return done.stdout.strip(), done.stderr.strip()


def test_a_hub_that_answers(tmp_path, hub):
  name, said = ask(tmp_path, hub)
  assert name == NAME
  assert said == f'published weights: {NAME}, from the Hugging Face hub'


def test_no_hub(tmp_path):
  with socket.socket() as closed:
    closed.bind(('127.0.0.1', 0))
    port = closed.getsockname()[1]
  name, said = ask(tmp_path, f'http://127.0.0.1:{port}')
  assert name == ''
  assert 'no hub in reach' in said and 'tiny home-made model' in said


def test_a_hub_that_never_answers(tmp_path):
  with socket.socket() as silent:
    silent.bind(('127.0.0.1', 0))
    silent.listen()
    endpoint = f'http://127.0.0.1:{silent.getsockname()[1]}'
    code = (
      'import sys; import weights; name, line = weights.choose(seconds=0.5); '
      'print(name); print(line, file=sys.stderr)'
    )
    name, said = ask(
      tmp_path, endpoint, program=('-c', code), PYTHONPATH=str(ROOT / 'colab')
    )
  assert name == '' and 'no hub in reach' in said and 'Timeout' in said


def test_who_runs_it_decides(tmp_path, hub):
  name, said = ask(tmp_path, hub, WEIGHTS='none')
  assert name == '' and 'WEIGHTS=none' in said
  name, said = ask(tmp_path, hub, WEIGHTS='my/model')
  assert name == 'my/model' and 'my/model' in said


def test_weights_on_this_disk_need_no_hub(tmp_path):
  folder = tmp_path / 'hub' / f'models--{NAME.replace("/", "--")}'
  (folder / 'refs').mkdir(parents=True)
  (folder / 'refs' / 'main').write_text('abc')
  (folder / 'snapshots' / 'abc').mkdir(parents=True)
  (folder / 'snapshots' / 'abc' / 'model.safetensors').touch()
  name, said = ask(tmp_path, 'http://127.0.0.1:9')
  assert name == NAME and 'already on this disk' in said


@pytest.mark.parametrize('weights, variant', [('none', 'tiny'), (NAME, 'base')])
def test_the_command_of_either_start(tmp_path, monkeypatch, weights, variant):
  """colab/xtreme.sh's own lines, with a `python -m` that prints its words."""
  from absl import flags

  from xlmr_jax.eval import __main__ as command

  fake = tmp_path / 'python'
  fake.write_text(
    '#!/bin/bash\nif [ "$1" = -m ]; then printf "%s\\n" "$@"; else exec '
    f'{sys.executable} "$@"; fi\n'
  )
  fake.chmod(0o755)
  part = (ROOT / 'colab' / 'xtreme.sh').read_text().split('\n## ')[2]
  env = {'OUT': str(tmp_path / 'out'), 'WEIGHTS': weights, 'STEPS': '7'}
  done = subprocess.run(
    ['bash', '-euc', '\n'.join(part.splitlines()[1:])],
    cwd=ROOT,
    env={**os.environ, **env, 'PATH': f'{tmp_path}:{os.environ["PATH"]}'},
    capture_output=True,
    text=True,
    check=True,
  )
  dash, module, *words = done.stdout.splitlines()
  assert (dash, module) == ('-m', 'xlmr_jax.eval')
  values = flags.FlagValues()
  command.define_flags(values)
  monkeypatch.setattr('sys.argv', ['', *words])
  values(['', *words])
  config = values.config
  assert config.model == variant
  assert config.init == ('' if weights == 'none' else weights)
  assert config.tasks == ('xnli',) and len(config.languages) == 8
  assert 'steps=7' in config.settings
  assert len(config.settings) == (2 if weights == 'none' else 1)
