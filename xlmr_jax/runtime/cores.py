"""How many cores of the machine this process may use."""

import os


def usable_cores() -> int:
  """Those that the system lets it run on; all where it does not say (macOS)."""
  if hasattr(os, 'sched_getaffinity'):
    return len(os.sched_getaffinity(0))
  return os.cpu_count() or 1
