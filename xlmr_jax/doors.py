"""How a command starts and how it ends when something is wrong.

  if __name__ == '__main__':
    doors.run(main)

What the person at the keyboard can mend is one line on stderr and exit code
1; `--traceback` shows the stack too.
"""

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
    # orbax reports every file at INFO; --verbosity=0 shows it.
    if not flags.FLAGS['verbosity'].present:
      logging.set_verbosity(logging.WARNING)
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

  app.run(guarded)


def line(error: BaseException) -> str:
  """What an error says, in one line."""
  if isinstance(error, OSError) and error.strerror:
    where = f'{error.filename}: ' if error.filename else ''
    return f'{where}{error.strerror}'
  return ' '.join(str(error).split()) or type(error).__name__
