"""Makes colab/quickstart.ipynb out of quickstart.sh, so that they never part.

  python colab/make.py

Each `## Title` of the script becomes a heading, the comment below it text,
and its commands a cell.
"""

import pathlib
import re

import nbformat
from nbformat import v4

ROOT = pathlib.Path(__file__).resolve().parent.parent
TARGET = ROOT / 'colab' / 'quickstart.ipynb'

INTRO = """# XLM-RoBERTa in JAX, from nothing, in minutes

The story of `quickstart.sh`: a small multilingual world, a vocabulary, \
pretraining by masked language modelling, fine-tuning on English only, \
zero-shot scores in every language, and the way to Hugging Face. A CPU is \
enough. All text is synthetic."""

SETUP = """import os
import pathlib

# In Colab: fetch the code and install it. Elsewhere: run from a checkout.
if not pathlib.Path('quickstart.sh').exists():
  if pathlib.Path('../quickstart.sh').exists():
    os.chdir('..')
  else:
    raise SystemExit('clone the repository and open the notebook inside it')
try:
  import xlmr_jax
except ImportError:
  %pip install --quiet -e .
os.environ.setdefault('OUT', 'runs/quickstart')
# A model this small is fastest on one thread.
os.environ['XLA_FLAGS'] = (
  '--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1'
)"""

CALL = """import xlmr_jax

m = xlmr_jax.load(os.environ['OUT'] + '/hf')
print(m.fill_mask('The students are <mask>.', top=3))
[h.shape for h in m.encode(['one text', ('a text', 'and its pair')])]"""


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


def notebook() -> nbformat.NotebookNode:
  """The notebook, without outputs."""
  cells = [v4.new_markdown_cell(INTRO), v4.new_code_cell(SETUP)]
  for title, text, commands in sections((ROOT / 'quickstart.sh').read_text()):
    cells.append(v4.new_markdown_cell(f'## {title}\n\n{text}'))
    cells.append(v4.new_code_cell('%%bash\nset -e\n' + commands))
  cells.append(v4.new_markdown_cell('## In Python'))
  cells.append(v4.new_code_cell(CALL))
  for number, cell in enumerate(cells):
    cell['id'] = f'cell-{number}'
  kernel = {'display_name': 'Python 3', 'language': 'python', 'name': 'python3'}
  return v4.new_notebook(cells=cells, metadata={'kernelspec': kernel})


if __name__ == '__main__':
  nbformat.write(notebook(), TARGET)
  print(f'wrote {TARGET}')
