"""Sharded = one device; accumulation = one big batch; nothing big moves."""

import json
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
MESHES = ['(8, 1, 1)', '(2, 2, 2)', '(1, 2, 4)', '(2, 1, 2, 2)']  # 2 slices


@pytest.fixture(scope='module')
def facts():
  """Runs mesh_worker.py on eight fake devices; its JSON."""
  worker = ROOT / 'tests' / 'support' / 'mesh_worker.py'
  flags = '--xla_force_host_platform_device_count=8'
  done = subprocess.run(
    [sys.executable, str(worker)],
    env={
      **os.environ,
      'XLA_FLAGS': flags,
      'JAX_PLATFORMS': 'cpu',
      'PYTHONPATH': str(ROOT),
    },
    capture_output=True,
    text=True,
    timeout=900,
    check=False,
  )
  assert done.returncode == 0, done.stderr[-3000:]
  facts = json.loads(done.stdout.splitlines()[-1])
  facts['warnings'] = done.stderr.count('full rematerialization')
  return facts


@pytest.mark.parametrize('mesh', MESHES)
def test_gradients_agree(facts, mesh):
  relative, leaf = facts[mesh]['gradients'][1]
  assert relative < 1e-5, leaf


@pytest.mark.parametrize('mesh', MESHES)
def test_parameters_agree_after_five_steps(facts, mesh):
  assert facts['moved'] > 1e-3
  assert facts[mesh]['parameters'][0] < 1e-5


def test_dropout_does_not_depend_on_the_mesh(facts):
  assert facts['dropout']['parameters'][0] < 1e-5


def test_rbg_dropout_is_drawn_where_its_rows_are(facts):
  """XLA would draw the bits of the whole batch on every device."""
  rbg = facts['rbg']
  assert rbg['values'] == pytest.approx([0, 4 / 3])
  assert len(rbg['kept']) == 4
  assert rbg['kept'] == pytest.approx([0.75] * 4, abs=0.02)  # of 16,384 bits
  assert all(rbg['copies'])
  assert rbg['alike'] < 0.65  # 0.75^2 + 0.25^2 = 0.625
  assert rbg['drawn']
  for shape in rbg['drawn']:
    assert np.prod([int(n) for n in shape.split('x')]) <= 16 * 64 * 64 / 4


@pytest.mark.parametrize('mesh', ['(1, 1, 1)', '(2, 1, 2)'])
def test_accumulation_is_one_big_batch(facts, mesh):
  assert facts[f'accumulate {mesh}']['parameters'][0] < 1e-5


@pytest.mark.parametrize('mesh', MESHES)
def test_constraints_are_in_the_program(facts, mesh):
  """Under the old `with mesh:` they would silently be none."""
  assert facts[mesh]['constraints'] > 10


@pytest.mark.parametrize('mesh', MESHES)
def test_no_table_and_no_logits_are_gathered_over_tensor(facts, mesh):
  """Rows of the table: 3,072. Over fsdp, [V / tensor, D] is expected."""
  tensor = int(mesh.strip('()').split(',')[-1])
  for shape in facts[mesh]['all_gathers']:
    sizes = [int(n) for n in shape.split('[')[1].strip(']').split(',') if n]
    assert 3072 not in sizes or tensor == 1, shape


def test_nothing_is_rematerialised(facts):
  assert facts['warnings'] == 0


@pytest.mark.parametrize('head', ['crf', 'choose', 'answer', 'causal'])
def test_other_heads_agree_on_a_mesh(facts, head):
  """On XL's body; a question's choices lie on several devices."""
  relative, leaf = facts['heads'][head]
  assert relative < 1e-5, leaf


def test_a_checkpoint_is_placed_shard_by_shard(facts):
  assert facts['loads'] < 1e-5
