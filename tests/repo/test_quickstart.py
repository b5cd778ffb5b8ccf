"""The story runs, as a script and as a notebook, and ends where it says."""

import importlib.util
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys

import nbformat
import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
SCRIPT = (ROOT / 'quickstart.sh').read_text()


def check_outcome(out: pathlib.Path) -> None:
  """The files that the story ends with, read by other people's code."""
  import transformers

  for path, count in (
    ('intents/pretrained/eval', 8),
    ('intents/fresh/eval', 8),
    ('tags/pretrained/eval', 8),
    ('tags/fresh/eval', 8),
    ('tatoeba/pretrained', 7),
    ('tatoeba/intents/fresh', 7),
  ):
    results = json.loads((out / path / 'results.json').read_text())
    (scores,) = results['tasks'].values()
    assert len(scores['languages']) == count
    assert all(0 <= s <= 100 for s in scores['languages'].values())
  for name in ('losses.png', 'scores.png'):
    assert (out / name).read_bytes().startswith(b'\x89PNG')
  model, info = transformers.AutoModelForMaskedLM.from_pretrained(
    out / 'hf', output_loading_info=True
  )
  assert not any(info[k] for k in ('missing_keys', 'unexpected_keys'))
  tokenizer = transformers.AutoTokenizer.from_pretrained(out / 'hf')
  assert len(tokenizer) == model.config.vocab_size


def test_script(tmp_path):
  python = tmp_path / 'bin'
  python.mkdir()
  (python / 'python').symlink_to(sys.executable)
  env = {
    **os.environ,
    'OUT': str(tmp_path / 'out'),
    'PATH': f'{pathlib.Path(sys.executable).parent}:{os.environ["PATH"]}',
  }
  done = subprocess.run(
    ['bash', 'quickstart.sh', '--fast'],
    cwd=ROOT,
    env=env,
    capture_output=True,
    text=True,
    timeout=900,
    check=False,
  )
  assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
  check_outcome(tmp_path / 'out')
  for word in ('chance', 'majority', 'no pretraining', '<mask>'):
    assert word in done.stdout, word


@pytest.mark.parametrize('name', ['quickstart', 'pretrain', 'xtreme'])
def test_notebook_is_made_from_the_script(name):
  spec = importlib.util.spec_from_file_location('make', ROOT / 'colab/make.py')
  make = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(make)
  committed = nbformat.read(ROOT / 'colab' / f'{name}.ipynb', 4)
  assert committed == make.notebook(name), 'run python colab/make.py'


def execute(name, monkeypatch, out, **environment):
  """The notebook with its outputs."""
  nbclient = pytest.importorskip('nbclient')
  folder = pathlib.Path(sys.executable).parent
  for key, value in {
    **environment,
    'OUT': str(out),
    'PATH': f'{folder}:{os.environ["PATH"]}',
    'JUPYTER_PLATFORM_DIRS': '1',
    'WEIGHTS': 'none',  # a test downloads no model
  }.items():
    monkeypatch.setenv(key, value)
  book = nbformat.read(ROOT / 'colab' / f'{name}.ipynb', 4)
  client = nbclient.NotebookClient(
    book,
    timeout=900,
    kernel_name='python3',
    resources={'metadata': {'path': str(ROOT / 'colab')}},
  )
  client.execute()
  return book


def test_notebook(tmp_path, monkeypatch):
  fast = re.search(r'^  export (.*)$', SCRIPT, re.M).group(1)
  given = dict(item.split('=', 1) for item in fast.split())
  book = execute('quickstart', monkeypatch, tmp_path / 'out', **given)
  check_outcome(tmp_path / 'out')
  assert any('<mask>' in json.dumps(c.get('outputs', '')) for c in book.cells)
  shutil.rmtree(tmp_path / 'out')


def test_pretraining_notebook(tmp_path, monkeypatch):
  out = tmp_path / 'out'
  book = execute(
    'pretrain', monkeypatch, out, SIZE='fast', STEPS='12', PLAN='tiny'
  )
  manifest = json.loads((out / 'shards' / 'manifest.json').read_text())
  assert len(manifest['parts']) > 8  # languages and pairs
  lines = (out / 'run' / 'metrics.jsonl').read_text().splitlines()
  last = json.loads(lines[-1])
  assert last['step'] == 12 and last['heldout_loss'] > 0
  outputs = [json.dumps(c.get('outputs', '')) for c in book.cells]
  assert any('image/png' in text for text in outputs)
  assert 'ESTIMATE' in outputs[-3] and 'tokens/s' in outputs[-3]


def test_xtreme_notebook(tmp_path, monkeypatch):
  out = tmp_path / 'out'
  book = execute('xtreme', monkeypatch, out, SIZE='fast', STEPS='12')
  results = json.loads((out / 'run' / 'results.json').read_text())
  scores = results['tasks']['xnli']['languages']
  assert len(scores) == 8 and None not in scores.values()
  outputs = [json.dumps(c.get('outputs', '')) for c in book.cells]
  assert any('image/png' in text for text in outputs)
  assert any('## xnli test: accuracy' in text for text in outputs)
  assert 'test-zh.tsv' in outputs[-1]
