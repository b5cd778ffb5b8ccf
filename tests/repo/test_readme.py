"""README's "Where things are" is made of the code's own docstrings.

`python tests/repo/test_readme.py` prints the block, to be put there.
"""

import ast
import pathlib

ROOT = pathlib.Path(__file__).resolve().parents[2]
PACKAGE = ROOT / 'xlmr_jax'
SCREEN = 50  # lines
# What stands beside the package; these explain themselves in one line here.
BESIDE = {
  'quickstart.sh': 'the story, one command after another',
  'configs/': 'recipes: what to train, on what, with which settings',
  'xlmr_jax/': None,
  'examples/': 'short scripts, a use each',
  'colab/': 'notebooks of the quickstart, pretraining and XTREME',
  'launch/': 'TPU VM, Kubernetes JobSet, Slurm',
  'benchmarks/': 'speed beside Hugging Face, and long drills',
  'docs/': 'architecture, checkpoints, pods, reproduce, extending, results',
  'tests/': 'a folder a room; support/ has what they share',
}


def summary(path):
  """First line of a module's docstring."""
  text = ast.get_docstring(ast.parse(path.read_text('utf-8')))
  assert text, f'{path.relative_to(ROOT)} has no docstring'
  return text.splitlines()[0].rstrip('.:')


def entries():
  """(name, summary) of what stands in the package, in reading order."""
  from test_layout import ROOMS  # the order of the rooms

  seen = []
  for room in ROOMS:
    top = room.split('.')[0]
    if top not in seen:
      seen.append(top)
  for name in seen:
    folder = PACKAGE / name
    if folder.is_dir():
      yield f'{name}/', summary(folder / '__init__.py')
      for child in sorted(folder.glob('*/__init__.py')):
        yield f'  {child.parent.name}/', summary(child)
    else:
      yield f'{name}.py', summary(PACKAGE / f'{name}.py')


def block():
  lines = []
  for name, text in BESIDE.items():
    if not (ROOT / name).exists():
      continue
    lines.append(f'{name:18} {text}' if text else name)
    if name == 'xlmr_jax/':
      lines += [f'  {child:16} {text}' for child, text in entries()]
  return '\n'.join(lines)


def test_where_things_are():
  text = (ROOT / 'README.md').read_text('utf-8')
  section = text.partition('## Where things are')[2].partition('\n## ')[0]
  assert block() in section, 'python tests/repo/test_readme.py prints it'
  assert len(section.splitlines()) <= SCREEN
  assert max(map(len, block().splitlines())) <= 100


if __name__ == '__main__':
  print(block())
