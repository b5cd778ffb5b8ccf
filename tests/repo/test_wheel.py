"""A built wheel, installed outside the checkout, trains, scores and converts.

The new environment sees the libraries of this one and nothing else: not the
checkout, and not a link to it.
"""

import json
import os
import pathlib
import shutil
import subprocess
import sys
import sysconfig
import zipfile

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]


def call(*words, cwd, **more):
  """What a program says; its end must be 0 unless `code` says otherwise."""
  code = more.pop('code', 0)
  done = subprocess.run(
    list(map(str, words)),
    cwd=cwd,
    env={k: v for k, v in os.environ.items() if k != 'PYTHONPATH'},
    capture_output=True,
    text=True,
    timeout=240,
    check=False,
  )
  assert done.returncode == code, done.stdout[-2000:] + done.stderr[-2000:]
  return done.stdout + done.stderr


@pytest.fixture(scope='module')
def wheel(tmp_path_factory):
  """The wheel's path; built from a copy, as a build leaves files behind."""
  folder = tmp_path_factory.mktemp('wheel')
  source = folder / 'source'
  skipped = shutil.ignore_patterns('__pycache__')
  for name in ('xlmr_jax', 'configs'):
    shutil.copytree(ROOT / name, source / name, ignore=skipped)
  for name in ('setup.py', 'pyproject.toml', 'README.md'):
    shutil.copy(ROOT / name, source)
  call(
    *(sys.executable, '-m', 'pip', 'wheel', '--quiet', '--no-deps'),
    *('--no-index', '--no-build-isolation', '--wheel-dir', folder, source),
    cwd=folder,
  )
  (path,) = folder.glob('*.whl')
  return path


@pytest.fixture(scope='module')
def programs(wheel, tmp_path_factory):
  """The programs of a new environment that has the wheel."""
  folder = tmp_path_factory.mktemp('venv')
  call(sys.executable, '-m', 'venv', '--without-pip', folder, cwd=folder)
  call(
    *(sys.executable, '-m', 'pip', '--python', folder / 'bin' / 'python'),
    *('install', '--quiet', '--no-deps', '--no-index', wheel),
    cwd=folder,
  )
  # The libraries. A .pth inside this folder, such as that of a checkout, is
  # not followed from here.
  (packages,) = folder.glob('lib/python*/site-packages')
  libraries = sysconfig.get_path('purelib')
  (packages / 'libraries.pth').write_text(libraries + '\n')
  return folder / 'bin'


def test_it_holds_every_module_recipe_and_table(wheel):
  names = set(zipfile.ZipFile(wheel).namelist())
  wanted = {
    str(path.relative_to(ROOT))
    for path in (ROOT / 'xlmr_jax').rglob('*')
    if path.is_file() and '__pycache__' not in path.parts
  }
  wanted |= {f'xlmr_jax/configs/{p.name}' for p in ROOT.glob('configs/*.py')}
  inside = {name for name in names if '.dist-info/' not in name}
  assert inside == wanted


def test_the_whole_way_by_recipes_by_name(programs, tmp_path):
  """Text → vocabulary → fine-tuning → scores → Hugging Face's files."""
  xlmr = lambda *words, **more: call(
    programs / 'xlmr', *words, cwd=tmp_path, **more
  )
  where = call(
    *(programs / 'python', '-c'),
    'import xlmr_jax; print(xlmr_jax.__file__)',
    cwd=tmp_path,
  )
  assert pathlib.Path(where.strip()).is_relative_to(programs.parent)

  xlmr('toy', 'world', '--size=fast')
  xlmr(
    *('tokenizer', '--input=world/corpus/*.txt', '--vocab_size=600'),
    *('--nohard_vocab_limit', '--output=tokenizer'),
  )
  tiny = ('--config.steps=2', '--config.sizes.num_layers=1')
  xlmr(
    *('train', '--config=finetune:task=xnli,model=tiny', '--workdir=run'),
    *('--config.data_dir=world/xnli', '--config.tokenizer=tokenizer', *tiny),
  )
  xlmr(
    *('eval', '--benchmark=xnli', '--checkpoint=run', '--languages=en,de'),
    *('--data_dir=world/xnli', '--output_dir=scores'),
  )
  results = json.loads((tmp_path / 'scores' / 'results.json').read_text())
  assert set(results['tasks']['xnli']['languages']) == {'en', 'de'}
  xlmr('convert', 'run', 'hf')
  assert (tmp_path / 'hf' / 'model.safetensors').exists()


READ = """
import sys
from absl import flags
from xlmr_jax.runtime import commands, recipes

for name in sys.argv[1:]:
  values = flags.FlagValues()
  recipes.define_flag(values, '')
  try:
    commands.parse(['x', f'--config={name}'], values)
    print('seed', values.config.get('seed', 0))
  except SystemExit:
    pass
"""


def test_recipes_by_name_by_path_and_of_ones_own(programs, tmp_path):
  (tmp_path / 'mine.py').write_text(
    'from configs import common, finetune\n\n'
    'def get_config(argument=""):\n'
    '  c = finetune.get_config("task=xnli,model=tiny")\n'
    '  c.seed = common.base().seed + 1\n'
    '  return c\n'
  )
  names = ('mine.py', 'adapt', 'configs/pretrain.py:model=tiny', 'finetun')
  said = call(
    *(programs / 'python', '-c', READ, *names, 'configs/no.py', 'none/no.py'),
    cwd=tmp_path,
  )
  assert said.count('\n') == 6
  inside = [line for line in said.splitlines() if line.startswith('error')]
  assert said.startswith('seed 1\nseed 0\nseed 0\n') and len(inside) == 3
  packages = f'{programs.parent}{os.sep}lib'
  assert f"no recipe 'finetun' in {packages}" in inside[0]
  assert 'did you mean finetune?' in inside[0]
  for line in inside[1:]:
    assert f'no.py is neither here ({tmp_path}) nor in {packages}' in line
