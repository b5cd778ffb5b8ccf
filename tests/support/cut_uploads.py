"""A machine that dies while it sends to a bucket.

`python -m tests.support.cut_uploads METHOD CALL FLAGS` is xlmr_jax.train on it.
"""

import os
import signal
import sys

from xlmr_jax import train
from xlmr_jax.runtime import commands, object_store


class Killed(BaseException):
  """No code of ours catches it."""


def die():
  raise Killed


def cut(method, call, end, put=setattr):
  """From a call of a method of Bucket on, nothing reaches the bucket.

  Args:
    method: 'send', 'write' or 'remove'.
    call: the number of that call, from 1. Of `send` the first half of the
      files still arrive.
    end: ends the process, or raises.
    put: puts the methods that do this in their place.
  """
  calls = 0

  def dying(name, old):
    def new(self, *args):
      nonlocal calls
      calls += name == method
      if calls < call:
        return old(self, *args)
      if calls == call and name == method == 'send':
        folder, names = args
        old(self, folder, sorted(names)[: len(names) // 2])
      calls = call + 1
      return end()

    return new

  for name in ('send', 'write', 'remove'):
    old = getattr(object_store.Bucket, name)
    put(object_store.Bucket, name, dying(name, old))


if __name__ == '__main__':
  method, call = sys.argv[1:3]
  cut(method, int(call), lambda: os.kill(os.getpid(), signal.SIGKILL))
  commands.run(train, [sys.argv[0], *sys.argv[3:]])
