"""Makes the notebooks out of scripts, so that the two never part.

  python colab/make.py

quickstart.sh becomes colab/quickstart.ipynb, colab/pretrain.sh pretrain.ipynb,
colab/xtreme.sh xtreme.ipynb.
Each `## Title` of the script becomes a heading, the comment below it text,
and its commands a cell; a Python program within becomes a cell of Python.
Published weights come in by colab/weights.py.
"""

import pathlib
import re

import nbformat
from nbformat import v4

ROOT = pathlib.Path(__file__).resolve().parent.parent

QUICKSTART = """# XLM-RoBERTa in JAX, from nothing, in minutes

The story of `quickstart.sh`: a small multilingual world, a vocabulary, \
pretraining by masked language modelling, fine-tuning on English only, \
zero-shot scores in every language, and the way to Hugging Face. A CPU is \
enough. All text is synthetic."""

PRETRAIN = """# Pretraining XLM-RoBERTa in JAX: text, shards, steps, plan

The story of `colab/pretrain.sh`. A CPU is enough; on a TPU or GPU the same \
commands use it. All text is synthetic."""

XTREME = """# XTREME in JAX: from a checkpoint to the table

The story of `colab/xtreme.sh`, one task of the benchmark. A CPU is enough; on \
a TPU or GPU the same command uses it. All text is synthetic."""

SETUP = """import importlib.util
import os
import pathlib

# In Colab: fetch the code and install it. Elsewhere: run from a checkout.
if not pathlib.Path('quickstart.sh').exists():
  if pathlib.Path('../quickstart.sh').exists():
    os.chdir('..')
  else:
    raise SystemExit('clone the repository and open the notebook inside it')
if importlib.util.find_spec('xlmr_jax') is None:
  %pip install --quiet -e '.[plots]'
os.environ.setdefault('OUT', 'runs/{name}')
# A model this small is fastest on one thread.
os.environ['XLA_FLAGS'] = (
  '--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1'
)"""

CALL = """import xlmr_jax

m = xlmr_jax.load(os.environ['OUT'] + '/hf')
print(m.fill_mask('The students are <mask>.', top=3))
[h.shape for h in m.encode(['one text', ('a text', 'and its pair')])]"""

# Published weights by the same calls; without a hub the home-made ones.
PUBLISHED = """import sys

sys.path.insert(0, 'colab')
import weights

name, line = weights.choose()
print(line)
m = xlmr_jax.load(name or os.environ['OUT'] + '/hf')
texts = (
  'Paris is the capital of <mask>.',
  'Paris ist die <mask> von Frankreich.',
)
for text in texts:
  print(text, m.fill_mask(text, top=3))"""

QUICKSTART_END = (
  ('## In Python', CALL),
  (
    '## With published weights\n\nXLM-R base, 1.1 GB, where the Hugging Face '
    'hub is in reach; else the tiny home-made model, which knows none of these '
    'words. The first line says which.',
    PUBLISHED,
  ),
)


def sections(script: str) -> list[tuple[str, str, str]]:
  """(title, text, commands) of each part."""
  out = []
  for part in re.split(r'^## ', script, flags=re.M)[1:]:
    title, _, body = part.partition('\n')
    lines = body.splitlines()
    text = []
    while lines and lines[0].startswith('#'):
      text.append(lines.pop(0).lstrip('# '))
    out.append((title, '\n'.join(text), '\n'.join(lines).strip()))
  return out


def notebook(name: str) -> nbformat.NotebookNode:
  """A notebook, without outputs: a name of BOOKS."""
  intro, script, last = BOOKS[name]
  setup = SETUP.replace('{name}', name)
  cells = [v4.new_markdown_cell(intro), v4.new_code_cell(setup)]
  for title, text, commands in sections((ROOT / script).read_text()):
    cells.append(v4.new_markdown_cell(f'## {title}\n\n{text}'))
    python = re.fullmatch(r"python - <<'PY'\n(.*)\nPY", commands, re.S)
    code = python[1] if python else '%%bash\nset -e\n' + commands
    if 'figure' in code:
      code = '%matplotlib inline\n' + code
    cells.append(v4.new_code_cell(code))
  for title, code in last:
    cells.append(v4.new_markdown_cell(title))
    cells.append(v4.new_code_cell(code))
  for number, cell in enumerate(cells):
    cell['id'] = f'cell-{number}'
  kernel = {'display_name': 'Python 3', 'language': 'python', 'name': 'python3'}
  return v4.new_notebook(cells=cells, metadata={'kernelspec': kernel})


BOOKS = {
  'quickstart': (QUICKSTART, 'quickstart.sh', QUICKSTART_END),
  'pretrain': (PRETRAIN, 'colab/pretrain.sh', ()),
  'xtreme': (XTREME, 'colab/xtreme.sh', ()),
}


if __name__ == '__main__':
  for name in BOOKS:
    target = ROOT / 'colab' / f'{name}.ipynb'
    nbformat.write(notebook(name), target)
    print(f'wrote {target}')
