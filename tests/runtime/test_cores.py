"""Cores: as the system says, and on systems that do not say."""

import os

from xlmr_jax.data.corpus import prepare
from xlmr_jax.runtime import cores


def test_a_pinned_process_counts_what_it_may_use(monkeypatch):
  monkeypatch.setattr(os, 'sched_getaffinity', lambda _: {3}, raising=False)
  assert cores.usable_cores() == 1


def test_macos_has_no_affinity(monkeypatch):
  monkeypatch.delattr(os, 'sched_getaffinity', raising=False)
  monkeypatch.setattr(os, 'cpu_count', lambda: 6)
  assert cores.usable_cores() == 6
  # Preparation, which asked the system by itself, asks here.
  assert prepare.usable_cores is cores.usable_cores
  monkeypatch.setattr(os, 'cpu_count', lambda: None)
  assert cores.usable_cores() == 1
