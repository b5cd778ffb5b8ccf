"""Every section of docs/extending.md runs as it stands, in a scratch folder."""

import pathlib
import re
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
PAGE = (ROOT / 'docs' / 'extending.md').read_text('utf-8')


def sections():
  """The python blocks under each heading, in order."""
  for text in PAGE.split('\n## ')[1:]:
    title = text.partition('\n')[0]
    blocks = re.findall(r'^```python\n(.*?)^```$', text, re.S | re.M)
    if blocks:
      yield pytest.param(blocks, id=title)


@pytest.mark.parametrize('blocks', sections())
def test_a_section_runs(blocks, tmp_path):
  (tmp_path / 'section.py').write_text('\n'.join(blocks))
  done = subprocess.run(
    [sys.executable, 'section.py'],
    cwd=tmp_path,
    capture_output=True,
    text=True,
    timeout=300,
    check=False,
  )
  assert done.returncode == 0, done.stderr[-3000:]


def test_the_page_has_sections_that_run():
  titles = [section.id for section in sections()]
  assert titles == ['A benchmark', 'A head', 'An export format']
