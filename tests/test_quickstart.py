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

ROOT = pathlib.Path(__file__).resolve().parent.parent
SCRIPT = (ROOT / 'quickstart.sh').read_text()


def check_outcome(out: pathlib.Path) -> None:
  """The files that the story ends with, read by other people's code."""
  import transformers

  for name in ('nli', 'intents'):
    results = json.loads((out / name / 'eval' / 'results.json').read_text())
    scores = results['tasks'][{'nli': 'xnli'}.get(name, name)]
    assert len(scores['languages']) >= 8
    assert all(0 <= s <= 100 for s in scores['languages'].values())
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


def test_notebook_is_made_from_the_script():
  spec = importlib.util.spec_from_file_location('make', ROOT / 'colab/make.py')
  make = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(make)
  committed = nbformat.read(ROOT / 'colab' / 'quickstart.ipynb', 4)
  assert committed == make.notebook(), 'run python colab/make.py'


def test_notebook(tmp_path, monkeypatch):
  nbclient = pytest.importorskip('nbclient')
  fast = re.search(r'^  export (.*)$', SCRIPT, re.M).group(1)
  for item in fast.split():
    name, _, value = item.partition('=')
    monkeypatch.setenv(name, value)
  monkeypatch.setenv('OUT', str(tmp_path / 'out'))
  folder = pathlib.Path(sys.executable).parent
  monkeypatch.setenv('PATH', f'{folder}:{os.environ["PATH"]}')
  monkeypatch.setenv('JUPYTER_PLATFORM_DIRS', '1')
  book = nbformat.read(ROOT / 'colab' / 'quickstart.ipynb', 4)
  client = nbclient.NotebookClient(
    book,
    timeout=900,
    kernel_name='python3',
    resources={'metadata': {'path': str(ROOT / 'colab')}},
  )
  client.execute()
  check_outcome(tmp_path / 'out')
  assert any('<mask>' in json.dumps(c.get('outputs', '')) for c in book.cells)
  shutil.rmtree(tmp_path / 'out')
