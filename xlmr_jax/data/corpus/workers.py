"""Processes that hold a tokenizer and answer in order.

They are started afresh, not forked: a forked child of a process with threads,
as JAX has them, may hang. They end with the process that started them, even
where that is killed.
"""

import collections
from collections.abc import Callable, Iterable, Iterator
from concurrent import futures
import multiprocessing
from multiprocessing import connection
import os
import pickle
import signal
import threading
from typing import Any

_tokenizer: Any = None  # a worker's own


class Workers:
  """A pool of processes; a context manager, which ends them."""

  def __init__(self, tokenizer: Any, count: int, folder: str):
    """Starts no process; the first jobs do.

    Args:
      tokenizer: what every job gets first.
      count: how many processes; 0 does the jobs where they are asked for.
      folder: where the tokenizer is left for them.
    """
    self._tokenizer = tokenizer
    self._count = count
    self._pool = None
    if count:
      # Handed over in a file: a process that dies before it has read what
      # multiprocessing sends it leaves us waiting in the middle of a message
      # that is longer than a pipe holds.
      path = os.path.join(folder, 'tokenizer.pickle')
      with open(path, 'wb') as file:
        pickle.dump(tokenizer, file)
      self._pool = futures.ProcessPoolExecutor(
        count,
        mp_context=multiprocessing.get_context('spawn'),
        initializer=_start,
        initargs=(path,),
      )

  def __enter__(self) -> 'Workers':
    return self

  def __exit__(self, *exception) -> None:
    if self._pool is not None:
      self._pool.shutdown(cancel_futures=True)

  def run(
    self, function: Callable[..., Any], jobs: Iterable[tuple[Any, ...]]
  ) -> Iterator[Any]:
    """Yields function(tokenizer, *job) of each job, in order.

    Jobs are taken from the iterable a few ahead of what was yielded.
    """
    if self._pool is None:
      for job in jobs:
        yield function(self._tokenizer, *job)
      return
    waiting: collections.deque[futures.Future] = collections.deque()
    try:
      for job in jobs:
        waiting.append(self._pool.submit(_work, function, job))
        if len(waiting) > 2 * self._count:
          yield waiting.popleft().result()
      while waiting:
        yield waiting.popleft().result()
    except futures.process.BrokenProcessPool as error:
      raise OSError(
        'a worker process died, perhaps for want of memory; run again, with'
        ' fewer --workers: it goes on where it was'
      ) from error
    finally:
      for future in waiting:
        future.cancel()


def _start(path: str) -> None:
  global _tokenizer
  signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent ends us
  parent = multiprocessing.parent_process().sentinel

  def watch():
    connection.wait([parent])
    os._exit(1)

  threading.Thread(target=watch, daemon=True).start()
  with open(path, 'rb') as file:
    _tokenizer = pickle.load(file)


def _work(function: Callable[..., Any], job: tuple[Any, ...]) -> Any:
  return function(_tokenizer, *job)
