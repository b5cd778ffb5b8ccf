"""Recipes: where they lie, and the flag --config that reads one.

A recipe is a file with `get_config(argument)`. Ours are the folder configs/
beside the package in a checkout, and inside the package once it is installed
from a wheel. `--config` takes a name or a path, with an argument:

  --config=finetune:task=xnli,model=base
  --config=configs/finetune.py:task=xnli,model=base
  --config=mine/recipe.py

A path is looked for in the current folder first, so a copy of configs/ there
goes before ours.
"""

import difflib
import pathlib
import sys
import types

from absl import flags
from ml_collections import config_flags

_PACKAGE = pathlib.Path(__file__).resolve().parents[1]
# No checkout has configs/ in the package, and every wheel has.
FOLDER = (
  _PACKAGE / 'configs'
  if (_PACKAGE / 'configs').is_dir()
  else _PACKAGE.parent / 'configs'
)


def define_flag(values: flags.FlagValues, help_string: str) -> None:
  """Defines --config, whose value is the ConfigDict of a recipe, locked."""
  config_flags.DEFINE_config_file(
    'config', None, help_string, flag_values=values, lock_config=True
  )
  values['config'].parser = _Parser(values['config'].parser)


def read(name: str):
  """The ConfigDict that --config=name gives, locked: 'finetune:model=base'.

  Raises:
    ValueError: no such recipe, or not of such an argument.
  """
  values = flags.FlagValues()
  define_flag(values, 'The recipe.')
  values(['', f'--config={name}'])
  return values.config


class _Parser(flags.ArgumentParser):
  """Reads recipes by name too, and lets them import each other."""

  def __init__(self, of_files: flags.ArgumentParser):
    self._of_files = of_files

  def parse(self, path: str):
    name, colon, argument = path.partition(':')
    file = find(name)
    _register(file.resolve().parent)
    return self._of_files.parse(f'{file}{colon}{argument}')


def find(name: str) -> pathlib.Path:
  """The file of a recipe.

  Args:
    name: 'finetune', or a path such as 'configs/finetune.py'.

  Raises:
    ValueError: no such file; it says where it was looked for.
  """
  path = pathlib.Path(name)
  if path.name == name and path.suffix != '.py':
    ours = sorted(p.stem for p in FOLDER.glob('*.py') if p.stem != 'common')
    if name in ours:
      return FOLDER / f'{name}.py'
    near = difflib.get_close_matches(name, ours, 1)
    raise ValueError(
      f'no recipe {name!r} in {FOLDER}, which has {", ".join(ours)}'
      + (f'; did you mean {near[0]}?' if near else '')
      + '; your own is named by its path, which ends in .py'
    )
  places = [path]
  if not path.is_absolute():
    places.append(FOLDER.parent / path)
  for place in places:
    if place.is_file():
      return place
  nor = f' is neither here ({pathlib.Path.cwd()}) nor in {FOLDER.parent}'
  raise ValueError(
    f'recipe {name}' + (': no such file' if path.is_absolute() else nor)
  )


def _register(folder: pathlib.Path) -> None:
  """Makes `from configs import common` work, from wherever it is called.

  Args:
    folder: of the recipe that is read; if it is called configs, its files go
      before ours.
  """
  package = sys.modules.get('configs')
  if package is None:
    package = sys.modules['configs'] = types.ModuleType('configs')
    package.__path__ = []
  given = [folder] if folder.name == 'configs' else []
  places = [*map(str, given), *package.__path__, str(FOLDER)]
  package.__path__ = list(dict.fromkeys(places))
