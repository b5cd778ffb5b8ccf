"""How a command starts and how it ends when something is wrong.

A command is a module with a docstring of examples and two functions:

  def define_flags(values=flags.FLAGS): ...
  def main(argv, options=flags.FLAGS): ...

What the person at the keyboard can mend, a wrong flag too, is one line on
stderr and exit code 1; ctrl-C is 130; `--traceback` shows the stack.
"""

from collections.abc import Sequence
import importlib
import re
import sys
import types

from absl import app, flags, logging

from xlmr_jax.runtime import devices

if 'traceback' not in flags.FLAGS:  # a notebook may reload this module
  flags.DEFINE_bool(
    'traceback', False, 'Show the stack of an error, not only what it says.'
  )
_HELP = ('--help', '-help', '-h', '--h', '--helpshort', '-helpshort')


def run(
  module: types.ModuleType | str, argv: Sequence[str] | None = None
) -> None:
  """Runs a command's main() on its flags; ends the process.

  Args:
    module: the command, or its name: then it is imported here, where ctrl-C
      shows no stack. Of what its main raises, ValueError, FloatingPointError
      and OSError are for the user; any other exception is a bug and keeps its
      stack.
    argv: the command line, the program's name first; sys.argv if left out.
  """
  argv = list(sys.argv if argv is None else argv)
  try:
    if isinstance(module, str):
      module = importlib.import_module(module)
    if any(arg in _HELP for arg in argv[1:]):
      print(_help(module))
      sys.exit(0)
    devices.leave_out_tpu()
    module.define_flags()
    app.run(_guarded(module.main), argv, flags_parser=parse)
  except KeyboardInterrupt:
    print('interrupted', file=sys.stderr)
    sys.exit(130)


def _guarded(main):
  """main(argv), whose errors for the user are a line and exit code 1."""

  def guarded(argv):
    # orbax reports every file at INFO, and at ERROR, from three threads, what
    # it raises as well; --verbosity=0 shows all of it.
    if not flags.FLAGS['verbosity'].present:
      logging.set_verbosity(logging.FATAL)
    try:
      return main(argv)
    except (RuntimeError, AssertionError) as error:
      if flags.FLAGS.traceback or not devices.is_missing(error):
        raise
      print(f'error: {line(error)}', file=sys.stderr)
    except (ValueError, FloatingPointError, OSError) as error:
      if flags.FLAGS.traceback:
        raise
      print(f'error: {line(error)}', file=sys.stderr)
    return 1

  return guarded


def _help(module: types.ModuleType) -> str:
  """A command's docstring, its flags, and those that every command has."""
  own = flags.FlagValues()
  module.define_flags(own)
  listed = own.get_help(include_special_flags=False)
  common = flags.FLAGS.module_help(__name__)
  return (
    f'{(module.__doc__ or "").strip()}\n\nFlags:\n{listed}\n{common}\n\n'
    '`--helpfull` lists the flags of the libraries too.'
  )


def check_arguments(argv: Sequence[str], *names: str) -> None:
  """Checks that a command was given its positional arguments, and no more.

  Args:
    argv: the command line without its flags, the program's name first.
    names: what each argument is, as `--help` calls it.

  Raises:
    ValueError: too many or too few.
  """
  given = list(argv[1:])
  if len(given) > len(names):
    raise ValueError(
      f'unknown argument {given[len(names)]!r}; --help shows examples'
    )
  if len(given) < len(names):
    raise ValueError(f'{names[len(given)]} is missing; --help shows examples')


def check_given(options: flags.FlagValues, *names: str) -> None:
  """Checks that flags have a value.

  Raises:
    ValueError: one has none.
  """
  for name in names:
    if not options[name].value:
      raise ValueError(f'--{name} is missing; --help shows examples')


def parse(argv: list[str], values: flags.FlagValues = flags.FLAGS) -> list[str]:
  """absl's flags of a command line; a wrong one ends the process in a line.

  Returns:
    The arguments that are not flags, the program's name first.
  """
  try:
    return values(argv)
  except (
    flags.Error,
    LookupError,
    AttributeError,
    TypeError,
    ValueError,
    OSError,
  ) as error:
    problem = error
  if '--traceback' in argv:
    raise problem
  print(f'error: {_flag_line(problem, argv)}', file=sys.stderr)
  sys.exit(1)


def _flag_line(error: BaseException, argv: list[str]) -> str:
  """What is wrong with a command line, in one line."""
  text = str(error)
  if 'Traceback' in text:  # an error inside a recipe: what it says comes last
    return text.strip().splitlines()[-1].strip().partition(': ')[2]
  if text.startswith("Unknown command line flag 'config."):
    return '--config, the recipe, is missing; --help shows examples'
  if isinstance(error, LookupError | AttributeError):
    # A ConfigDict's way to say that it has no such key.
    key = re.search(r"'(\w+)", text.replace('\\', ''))
    near = re.search(r'Did you mean \\?"(\w+)', text)
    names = [arg.partition('=')[0] for arg in argv]
    wrong = [name for name in names if key and key[1] in name.split('.')]
    if key and wrong:
      hint = f'; did you mean {near[1]!r}?' if near else ''
      return f'{wrong[0]}: the recipe has no setting {key[1]!r}{hint}'
  return line(error)


def line(error: BaseException) -> str:
  """What an error says, in one line."""
  if devices.is_missing(error):
    return devices.describe_missing(error)
  if isinstance(error, OSError) and error.strerror:
    where = f'{error.filename}: ' if error.filename else ''
    return f'{where}{error.strerror}'
  return ' '.join(str(error).split()) or type(error).__name__
