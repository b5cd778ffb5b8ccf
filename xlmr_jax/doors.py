"""How a command starts and how it ends when something is wrong.

  if __name__ == '__main__':
    doors.run(main)

What the person at the keyboard can mend, a wrong flag too, is one line on
stderr and exit code 1; `--traceback` shows the stack.
"""

import pathlib
import re
import sys

from absl import app, flags, logging

_TRACEBACK = flags.DEFINE_bool(
  'traceback', False, 'Show the stack of an error, not only what it says.'
)


def run(main) -> None:
  """absl's app.run(main), with errors as one line.

  Args:
    main: called with the command line's arguments that are not flags, the
      program's name first. ValueError, FloatingPointError and OSError are
      for the user; any other exception is a bug and keeps its stack.
  """

  def guarded(argv):
    # orbax reports every file at INFO, and at ERROR, from three threads, what
    # it raises as well; --verbosity=0 shows all of it.
    if not flags.FLAGS['verbosity'].present:
      logging.set_verbosity(logging.FATAL)
    try:
      return main(argv)
    except (ValueError, FloatingPointError, OSError) as error:
      if _TRACEBACK.value:
        raise
      print(f'error: {line(error)}', file=sys.stderr)
    except KeyboardInterrupt:
      print('interrupted', file=sys.stderr)
      return 130
    return 1

  app.run(guarded, flags_parser=parse)


def parse(argv: list[str]) -> list[str]:
  """absl's flags of a command line; a wrong one ends the process in a line.

  Returns:
    The arguments that are not flags, the program's name first.
  """
  # Recipes import each other as `configs`, from wherever one is.
  root = str(pathlib.Path(__file__).resolve().parent.parent)
  if root not in sys.path:
    sys.path.append(root)
  try:
    return flags.FLAGS(argv)
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
  if isinstance(error, LookupError | AttributeError):
    # A ConfigDict's way to say that it has no such key.
    key = re.search(r"'(\w+)", text.replace('\\', ''))
    near = re.search(r'Did you mean \\?"(\w+)', text)
    names = [arg.partition('=')[0] for arg in argv]
    wrong = [name for name in names if key and key[1] in name.split('.')]
    if wrong:
      hint = f'; did you mean {near[1]!r}?' if near else ''
      return f'{wrong[0]}: the recipe has no setting {key[1]!r}{hint}'
  return line(error)


def line(error: BaseException) -> str:
  """What an error says, in one line."""
  if isinstance(error, OSError) and error.strerror:
    where = f'{error.filename}: ' if error.filename else ''
    return f'{where}{error.strerror}'
  return ' '.join(str(error).split()) or type(error).__name__
