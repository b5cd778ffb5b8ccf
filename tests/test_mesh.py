"""Sharded = one device; accumulation = one big batch; nothing big moves."""

import json
import os
import pathlib
import subprocess
import sys

import pytest

MESHES = ['(8, 1, 1)', '(2, 2, 2)', '(1, 2, 4)', '(2, 1, 2, 2)']  # 2 slices


@pytest.fixture(scope='module')
def facts():
  """Runs mesh_worker.py on eight fake devices; its JSON."""
  worker = pathlib.Path(__file__).with_name('mesh_worker.py')
  flags = '--xla_force_host_platform_device_count=8'
  done = subprocess.run(
    [sys.executable, str(worker)],
    env={
      **os.environ,
      'XLA_FLAGS': flags,
      'JAX_PLATFORMS': 'cpu',
      'PYTHONPATH': str(worker.parent.parent),
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
