"""The plan: what it reads of compiled programs, and its arithmetic.

Nothing here needs libtpu but the tests marked slow: the reader is held
against programs whose collectives can be counted by hand, the arithmetic
against what JAX traces and places.
"""

import ast
import dataclasses
import importlib.metadata
import json
import os
import subprocess
import sys
import types

import jax
import numpy as np
from packaging import requirements
import pytest

from configs import pretrain
from tests.conftest import ROOT
from xlmr_jax import heads, model
from xlmr_jax.plan import __main__ as plan
from xlmr_jax.plan import aot, hlo, roofline, sweep
from xlmr_jax.runtime import chips, sharding
from xlmr_jax.training import objectives


def run(*args, **env):
  return subprocess.run(
    [sys.executable, *args],
    cwd=ROOT,
    env={**os.environ, 'PYTHONPATH': str(ROOT), **env},
    capture_output=True,
    text=True,
    timeout=600,
    check=False,
  )


@pytest.fixture(scope='module')
def worker():
  done = run('tests/support/plan_worker.py')
  assert done.returncode == 0, done.stderr[-2000:]
  return json.loads(done.stdout.splitlines()[-1])


# ── Reading compiled programs ─────────────────────────────────────────────

# Blocks are f32[4,32], 512 bytes; every axis has two devices.
NESTED = [
  ['all-gather', 'fsdp', 512, 512, 15],  # half of 1,024, in 3 x 5 turns
  ['all-reduce', 'data', 512, 512, 3],  # twice half of 512
]
FOUND = {
  'nested': NESTED,
  'nested, unsaid': NESTED,
  'strides': [['all-reduce', 'tensor', 512, 512, 4]],  # i = 2, 5, 8, 11
  'every': [
    ['all-gather', 'fsdp+tensor', 512, 1536, 1],  # 3/4 of 4 x 512
    ['all-to-all', 'tensor', 512, 256, 1],  # half stays
    ['collective-permute', 'data', 512, 512, 1],
    ['reduce-scatter', 'data+fsdp', 2048, 1536, 1],  # 3/4 of [16, 32]
  ],
}


@pytest.mark.parametrize('name', FOUND)
def test_collectives_and_how_often_they_run(worker, name):
  assert worker[name] == {'found': FOUND[name], 'unknown': 0}


# As the TPU compiler writes them: a gather cut into a start, a piece inside
# the loop it overlaps with, and an end; a reduce-scatter as a fusion; a loop
# that counts in twos to a constant behind a copy; a kernel's notes with lines
# that look like the end of a computation.
TPU = """\
HloModule jit_update, is_scheduled=true, num_partitions=4

%add (x: f32[], y: f32[]) -> f32[] {
  %x = f32[] parameter(0)
  %y = f32[] parameter(1)
  ROOT %s = f32[] add(%x, %y)
}

%start (p: bf16[8,4]) -> (bf16[8,4], bf16[16,4], u32[]) {
  %p = bf16[8,4]{1,0:T(8,128)(2,1)} parameter(0)
  %all-gather.1 = bf16[16,4]{1,0} all-gather(%p), channel_id=7, replica_groups=\
mesh['axis_0'=2,'axis_1'=2] {'axis_1'}, dimensions={0}, \
use_global_device_ids=true
  ROOT %c = (bf16[8,4], bf16[16,4], u32[]) custom-call(%all-gather.1)
}

%piece (p.1: bf16[8,4]) -> bf16[16,4] {
  %p.1 = bf16[8,4]{1,0} parameter(0)
  ROOT %all-gather.2 = bf16[16,4]{1,0} all-gather(%p.1), channel_id=7, \
replica_groups=mesh['axis_0'=2,'axis_1'=2] {'axis_1'}, dimensions={0}
}

%all-reduce-scatter.3 (q: f32[8,4]) -> f32[4,4] {
  %q = f32[8,4]{1,0} parameter(0)
  %zero = s32[] constant(0)
  %all-reduce.3 = f32[8,4]{1,0} all-reduce(%q), channel_id=8, replica_groups=\
[2,2]<=[2,2]T(1,0), to_apply=%add
  ROOT %d = f32[4,4]{1,0} dynamic-slice(%all-reduce.3, %zero, %zero), \
dynamic_slice_sizes={4,4}
}

%body (b: (u32[], bf16[8,4], f32[8,4])) -> (u32[], bf16[8,4], f32[8,4]) {
  %b = (u32[]{:T(128)}, bf16[8,4]{1,0}, f32[8,4]{1,0}) parameter(0)
  %two = u32[] constant(2)
  %i = u32[] get-tuple-element(%b), index=0
  %w = bf16[8,4]{1,0} get-tuple-element(%b), index=1
  %g = f32[8,4]{1,0} get-tuple-element(%b), index=2
  %kernel = f32[8,4]{1,0} custom-call(%g), custom_call_target="tpu", \
frontend_attributes={kernel_metadata={
"notes":"{\\"block\\": 512}"
}}, metadata={op_name="kernel"}
  %f = bf16[16,4]{1,0} fusion(%w), kind=kCustom, calls=%piece
  %half = f32[4,4]{1,0} fusion(%kernel), kind=kCustom, \
calls=%all-reduce-scatter.3
  %permute = (bf16[8,4]{1,0}, bf16[8,4]{1,0}, u32[], u32[]) \
collective-permute-start(%w), channel_id=9, source_target_pairs=\
{{0,2},{2,0},{1,3},{3,1}}
  %next = u32[] add(%i, %two)
  ROOT %t = (u32[], bf16[8,4], /*index=2*/f32[8,4]) tuple(%next, %w, %g)
}

%condition (k: (u32[], bf16[8,4], f32[8,4])) -> pred[] {
  %k = (u32[], bf16[8,4]{1,0}, f32[8,4]{1,0}) parameter(0)
  %n = u32[] constant(9)
  %m = u32[] copy(%n)
  %j = u32[] get-tuple-element(%k), index=0
  ROOT %lt = pred[] compare(%j, %m), direction=LT
}

ENTRY %main (w0: bf16[8,4], g0: f32[8,4]) -> f32[8,4] {
  %w0 = bf16[8,4]{1,0} parameter(0)
  %g0 = f32[8,4]{1,0} parameter(1)
  %one = u32[] constant(1)
  %async-collective-start = (bf16[8,4], bf16[16,4], u32[]) fusion(%w0), \
kind=kCustom, calls=%start
  %tuple = (u32[], bf16[8,4], f32[8,4]) tuple(%one, %w0, %g0)
  %while = (u32[], bf16[8,4], f32[8,4]) while(%tuple), \
condition=%condition, body=%body
  ROOT %out = f32[8,4]{1,0} get-tuple-element(%while), index=2
}
"""


def test_the_forms_of_the_tpu_compiler():
  program = hlo.Program(TPU)
  found = {one.kind: one for one in program.collectives()}
  assert not program.unknown and len(found) == 3
  gather = found['all-gather']
  assert (gather.count, gather.bytes, gather.full, gather.sent) == (
    *(1, 64, 128, 64),
  )
  scatter = found['reduce-scatter']  # i = 1, 3, 5, 7
  assert (scatter.count, scatter.bytes, scatter.sent) == (4, 128, 64)
  permute = found['collective-permute']
  assert (permute.count, permute.sent) == (4, 64)
  mesh = {'data': 2, 'fsdp': 2}
  assert gather.axes(mesh) == ('fsdp',)
  assert scatter.axes(mesh) == permute.axes(mesh) == ('data',)
  assert permute.groups.tolist() == [[0, 2], [2, 0], [1, 3], [3, 1]]


def test_slices_send_through_their_hosts():
  """Two slices of two chips: an all-reduce is a send with a note on it."""
  note = (
    'is_host_transfer=true, frontend_attributes={_xla_megascale_reduce_operat'
    'ion="SUM",_xla_megascale_target="{1,2}x{0:1}",_xla_megascale_transfer_ty'
    'pe="ALL_REDUCE"}'
  )
  text = TPU.replace(
    '  %two = u32[] constant(2)\n',
    '  %two = u32[] constant(2)\n  %token = token[] after-all()\n'
    '  %send = (f32[8,4]{1,0}, u32[], token[]) send(%g, %token), '
    f'channel_id=3, {note}\n  %send-done = token[] send-done(%send), {note}\n'
    f'  %recv = (f32[8,4], u32[], token[]) recv(%token), {note}\n',
  )
  found = [
    one for one in hlo.Program(text).collectives() if 'f32' in one.shapes[0]
  ]
  one = next(one for one in found if one.kind == 'all-reduce')
  assert (one.count, one.bytes, one.sent) == (4, 128, 128)
  assert one.groups.tolist() == [[0, 2], [1, 3]]
  assert one.axes({'slice': 2, 'fsdp': 2}) == ('slice',)
  assert hlo.across('_xla_megascale_target="{0:3}x{0:1}"', 8).shape == (2, 4)


def test_a_loop_of_unknown_length_counts_once_and_is_told():
  text = TPU.replace('%one = u32[] constant(1)', '%one = u32[] parameter(2)')
  program = hlo.Program(text)
  counts = {one.kind: one.count for one in program.collectives()}
  assert set(counts.values()) == {1}
  assert program.unknown == ['while']


@pytest.mark.parametrize(
  'text, groups',
  [
    ('{{0,1},{2,3}}', [[0, 1], [2, 3]]),
    ('{}', [[0, 1, 2, 3, 4, 5, 6, 7]]),
    ('[2,4]<=[8]', [[0, 1, 2, 3], [4, 5, 6, 7]]),
    ('[2,4]<=[4,2]T(1,0)', [[0, 2, 4, 6], [1, 3, 5, 7]]),
    ('[4,2]<=[2,2,2]T(2,0,1)', [[0, 2], [4, 6], [1, 3], [5, 7]]),
    ("mesh['a'=4,'b'=2] {'a'}", [[0, 2, 4, 6], [1, 3, 5, 7]]),
    ("mesh['a'=4,'b'=2] {'b'}", [[0, 1], [2, 3], [4, 5], [6, 7]]),
    ("mesh['a'=2,'b'=2,'c'=2] {'a','c'}", [[0, 1, 4, 5], [2, 3, 6, 7]]),
    ("mesh['a'=4,'b'=2] {'a':(1)2}", [[0, 4], [1, 5], [2, 6], [3, 7]]),
    ("mesh['a'=4,'b'=2] {'a':(2)2}", [[0, 2], [1, 3], [4, 6], [5, 7]]),
    # The devices in another order: 0 2 4 6 / 1 3 5 7.
    (
      "mesh['a'=2,'b'=1,'c'=4], device_ids=([4,2]T(1,0)) {'c'}",
      [[0, 2, 4, 6], [1, 3, 5, 7]],
    ),
    (
      "mesh['a'=2,'b'=1,'c'=4], device_ids=([4,2]T(1,0)) {'a','b'}",
      [[0, 1], [2, 3], [4, 5], [6, 7]],
    ),
    (
      "mesh['a'=2,'b'=4], device_ids=([0,5,1,4,2,6,3,7]) {'b'}",
      [[0, 5, 1, 4], [2, 6, 3, 7]],
    ),
  ],
)
def test_groups_in_every_notation(text, groups):
  attributes = f', channel_id=1, replica_groups={text}, to_apply=%add'
  assert hlo.groups(attributes, 8).tolist() == groups


def test_sizes_of_shapes():
  sizes = {
    'f32[2,3]': 24,
    'bf16[5]': 10,
    'pred[7]': 7,
    's4[6]': 3,
    'u8[]': 1,
    'f8e4m3fn[4]': 4,
  }
  assert {s: hlo.shape_bytes(s) for s in sizes} == sizes


def test_what_is_no_program_is_refused():
  with pytest.raises(ValueError, match='not the text'):
    hlo.Program('HloModule nothing\n')


# ── Arithmetic ────────────────────────────────────────────────────────────


def matmuls(jaxpr):
  """FLOPs of all matrix products that a jaxpr says."""
  total = 0
  for one in jaxpr.eqns:
    if one.primitive.name == 'dot_general':
      (left, _), _ = one.params['dimension_numbers']
      shape = one.invars[0].aval.shape
      deep = int(np.prod([shape[i] for i in left]))
      total += 2 * deep * int(np.prod(one.outvars[0].aval.shape))
    turns = one.params.get('length', 1)
    for value in jax.tree.leaves(
      list(one.params.values()),
      is_leaf=lambda x: hasattr(x, 'eqns') or hasattr(x, 'jaxpr'),
    ):
      inner = getattr(value, 'jaxpr', value)
      if hasattr(inner, 'eqns'):
        total += turns * matmuls(inner)
  return total


@pytest.mark.parametrize('pre_norm', [False, True])
@pytest.mark.parametrize('chunk', [0, 4])
@pytest.mark.parametrize('remat', model.REMAT)
def test_flops_are_those_of_the_traced_step(remat, chunk, pre_norm):
  """Each policy says what it computes again; the tracing is the judge."""
  rows, length = 4, 32
  config = dataclasses.replace(
    *(model.VARIANTS['tiny'],),
    vocab_size=100,
    remat=remat,
    pre_norm=pre_norm,
    attention='xla',
    attention_dropout=0.0,
  )
  objective = objectives.causal(config, chunk=chunk)
  params = jax.eval_shape(
    lambda: heads.init(config, jax.random.key(0), 'causal')
  )
  # One target more than positions follow, so that slots are all positions.
  batch = {
    name: jax.ShapeDtypeStruct((rows, length), np.int32)
    for name in ('tokens', 'segments', 'positions', 'masked', 'targets')
  }
  batch['weights'] = jax.ShapeDtypeStruct((rows, length), np.float32)

  def total(params, batch):
    return objective.loss(params, batch, jax.random.key(1))['loss'][0].sum()

  def work(rate):
    return roofline.Work(
      *(config, rows, length, rate, 1.0, 1, bool(chunk)),
      {'slice': 1, 'data': 1, 'fsdp': 1, 'tensor': 1},
    )

  forward = matmuls(jax.make_jaxpr(total)(params, batch).jaxpr)
  assert forward == work(1.0).flops()['forward'] * rows * length
  both = matmuls(jax.make_jaxpr(jax.grad(total))(params, batch).jaxpr)
  assert both == work(1.0).flops()['hardware'] * rows * length
  # What MFU counts knows nothing of remat, and the head's share alone.
  plain = dataclasses.replace(config, remat='none')
  d, v = config.model_dim, config.vocab_size
  assert work(0.25).flops()['model'] == 3 * (
    plain.flops(length) + 0.25 * 2 * (d * d + d * v)
  )


def test_every_policy_is_known():
  assert set(roofline.RECOMPUTED) == set(model.REMAT)
  assert set(sweep.REMAT) <= set(model.REMAT)


def test_bytes_of_a_chip_are_those_of_real_arrays(worker):
  for params, state, said_params, said_state in worker['memory']:
    assert (params, state) == (said_params, said_state)


def test_the_model_is_the_one_that_train_builds(tmp_path, tiny_tokenizer):
  from xlmr_jax import train
  from xlmr_jax.runtime import sharding

  (tmp_path / 'corpus').mkdir()
  text = '\n'.join(f'Eine Zeile mit der Zahl {i}.' for i in range(400))
  (tmp_path / 'corpus' / 'de.txt').write_text(text)
  config = pretrain.get_config('model=tiny')
  config.corpus = str(tmp_path / 'corpus')
  config.tokenizer = str(tiny_tokenizer)
  config.remat, config.dtype, config.steps = 'full', 'bfloat16', 2
  job = train.build_job(config, tmp_path, sharding.make_mesh())
  topology = chips.topology('v5e:2x2')
  size = job.model.vocab_size
  assert aot.encoder(config, size, topology) == job.model
  assert aot.loss(config, job.model).rate == job.objective.rate
  # As many FLOPs as the loop counts for MFU.
  work = roofline.Work(job.model, 16, 64, job.objective.rate, 1, 1, False, {})
  assert work.flops()['forward'] == job.flops_per_token(64)


# ── Chips ─────────────────────────────────────────────────────────────────


@pytest.mark.parametrize('name', chips.CHIPS)
def test_each_chip_has_a_peak_and_topologies_that_are_read(name):
  chip = chips.CHIPS[name]
  assert chip.peak == chips.peak_flops(chip.kind) > 1e14
  for shape in chip.topologies:
    one = chips.topology(f'{name}:{shape}')
    assert one.count == np.prod([int(n) for n in shape.split('x')])
    assert chips.topology(f'{name}:{shape}', 2).count == 2 * one.count
  assert chip.is_tpu == bool(chip.topologies)


def test_links_between_chips():
  link = chips.CHIPS['v5e'].link
  small, pod = chips.topology('v5e:4x4'), chips.topology('v5e:16x16', 2)
  row = [(0, 0, y) for y in range(4)]
  square = [(0, x, y) for x in range(4) for y in range(4)]
  assert small.rate(row) == link  # a line: its ends are not joined
  assert small.rate(square) == 2 * link
  assert pod.rate([(0, 0, y) for y in range(16)]) == 2 * link  # a ring
  assert pod.rate(row) == link
  assert pod.rate([(0, 0, 0), (1, 0, 0)]) == pod.chip.outside
  cube = chips.topology('v5p:4x4x8')
  assert cube.rate([(0, 0, 0, z) for z in range(8)]) == 2 * cube.chip.link
  nodes = chips.topology('h100:2x8')
  assert nodes.rate([(0, 0), (0, 0)]) == nodes.chip.link
  assert nodes.rate([(0, 0), (1, 0)]) == nodes.chip.outside


def test_seconds_of_collectives():
  """Two gathers of 96 MB over a ring of four: 0.144 GB through one link."""
  topology = chips.topology('v5e:2x4')
  places = np.array([(0, x, y) for x in range(2) for y in range(4)])

  def one(kind, groups, count=2):
    size = 24 * 10**6
    return hlo.Collective(kind, ('f32[6000000]',), size, groups, count, '')

  lines = np.arange(8).reshape(2, 4)
  sent = 2 * 3 / 4 * 96e6
  network = roofline.network
  assert network([one('all-gather', lines)], topology, places) == {
    'network': pytest.approx(sent / 50e9),
    'between': 0,
  }
  # Twice the links, and 7/8 of 192 MB.
  every = np.arange(8)[None]
  assert network([one('all-gather', every)], topology, places)['network'] == (
    pytest.approx(2 * 7 / 8 * 192e6 / 100e9)
  )
  apart = places.copy()
  apart[4:, 0] = 1
  assert network([one('all-reduce', every)], topology, apart) == {
    'network': 0,
    'between': pytest.approx(2 * 2 * 7 / 8 * 24e6 / 3.125e9),
  }


# ── What is refused ───────────────────────────────────────────────────────

REFUSED = {
  'mesh': '(3, 1, 1) does not fit 8 devices: set config.mesh',
  'two wild': '(-1, -1, 1) does not fit 8 devices',
  'heads': 'the 4 heads of the model are not divisible by the 8 parts',
  'rows': 'rows of 64 is not divisible by 8, 1 micro-batches on 8 parts',
  'accumulate': 'not divisible by 24, 3 micro-batches on 8 parts',
  'no accumulate': 'config.accumulate=0 is not positive',
  'part of a row': 'a batch of 1025 tokens in rows of 64',
  'few devices': 'h100:2x8 has 16 GPUs, and this process started with 8',
  'slices': 'config.slices=3 does not divide the 1 nodes',
  'nodes': 'config.slices=2 does not divide the 3 nodes',
  'generation': "'v9' is not one of v4, v5e, v5p, v6e",
  'axes': 'v5p has 2x2x1, 2x2x2',
  'words': 'write h100:8 for a node of 8 GPUs',
  'variant': "config.variant='huge' is not one of tiny",
  'objective': "config.objective='retrieve' is not one of mlm, causal",
}


def test_every_refusal_was_tried(worker):
  assert set(worker['refused']) == set(REFUSED)


@pytest.mark.parametrize('name', REFUSED)
def test_refused_in_one_sentence(worker, name):
  said = worker['refused'][name]
  assert said is not None and REFUSED[name] in said
  assert '\n' not in said


def test_without_libtpu_its_extra_is_named(monkeypatch):
  monkeypatch.setitem(sys.modules, 'libtpu', None)
  config = pretrain.get_config('model=tiny')
  with pytest.raises(ValueError, match=r"pip install 'xlmr_jax\[plan\]'"):
    aot.make_target(config, 'v5e:2x2')


def extra(name):
  """The requirements of an extra of setup.py."""
  for node in ast.walk(ast.parse((ROOT / 'setup.py').read_text())):
    if isinstance(node, ast.keyword) and node.arg == 'extras_require':
      for key, value in zip(node.value.keys, node.value.values, strict=True):
        if key.value == name:
          return [requirements.Requirement(r) for r in ast.literal_eval(value)]
  raise AssertionError(name)


def test_the_extra_takes_the_compiler_that_jax_pins():
  """With a later one XXL on v5p:4x4x4 dies inside XLA."""
  asked = {r.name: r for r in extra('plan')}
  theirs = map(requirements.Requirement, importlib.metadata.requires('jax'))
  (pin,) = (
    r.specifier
    for r in theirs
    if r.name == 'libtpu' and r.marker.evaluate({'extra': 'tpu'})
  )
  if 'libtpu' in asked:
    assert asked['libtpu'].specifier == pin
  else:
    assert asked['jax'].extras == {'tpu'} and not asked['jax'].specifier
  assert aot.libtpu_pin() == str(pin)
  if jax.__version__ == '0.10.2':
    assert pin.contains('0.0.42.1') and not pin.contains('0.0.52')


def test_a_compilers_failure_is_one_line_with_both_versions(monkeypatch):
  said = 'INTERNAL: async-update instruction should have 1 operands but sees 3'

  class Lowered:
    def lower(self, *args):
      return self

    def compile(self):
      raise jax.errors.JaxRuntimeError(f'{said}:\n  %x = (f32[2]) ...')

  step = types.SimpleNamespace(abstract=lambda: ({}, {}), update=Lowered())
  versions = {'libtpu': '0.0.52'}
  monkeypatch.setattr(importlib.metadata, 'version', versions.__getitem__)
  for name, who in (('v5p:4x4x4', 'libtpu 0.0.52'), ('h100:8', "the CPU's")):
    target = aot.Target(
      topology=chips.topology(name),
      mesh=sharding.make_mesh(),
      work=None,
      step=step,
      batch={},
    )
    with pytest.raises(ValueError, match=said) as error:
      aot.compile_step(target)
    text = str(error.value)
    assert who in text and '\n' not in text
    assert (f'jax {jax.__version__} pins libtpu==' in text) == ('0.52' in who)


@pytest.mark.parametrize(
  'text, needed',
  [
    (
      'RESOURCE_EXHAUSTED: Ran out of memory on HBM, the total memory required '
      'for HLO temporaries (500.00G) exceeds available HBM (15.75G).',
      500 * 2**30,
    ),
    (
      'RESOURCE_EXHAUSTED: Ran out of memory in memory space hbm. Used 20.50G '
      'of 15.75G hbm. Exceeded hbm capacity by 4.75G. Total hbm usage >= '
      '21.00G: reserved 258.00M program 20.50G',
      21 * 2**30,
    ),
    ('RESOURCE_EXHAUSTED: out of something', None),
  ],
)
def test_how_much_was_missing(text, needed):
  assert aot.needed_bytes(text) == needed


def test_a_step_that_lacks_memory_of_unknown_size_says_what_was_said():
  def abstract():
    raise jax.errors.JaxRuntimeError('RESOURCE_EXHAUSTED: out of something')

  target = types.SimpleNamespace(
    mesh=jax.make_mesh((1,), ('data',)),
    step=types.SimpleNamespace(abstract=abstract),
    topology=chips.topology('v5p:2x2x1', 1),
  )
  with pytest.raises(
    aot.DoesNotFit, match='out of something, of 95.74 GiB of a'
  ):
    aot.compile_step(target)


# ── The sweep ─────────────────────────────────────────────────────────────


def test_candidates_divide_what_they_cut():
  config = pretrain.get_config('model=large')
  topology = chips.topology('v5e:8x8')
  found = list(sweep.choices(config, topology, 0))
  assert len({(one.mesh, one.remat) for one in found}) == len(found) > 20
  rows = config.batch_tokens // config.row_length
  for one in found:
    data, fsdp, tensor = one.mesh
    assert data * fsdp * tensor == 64
    assert rows % (data * fsdp * one.accumulate) == 0
    assert 16 % tensor == 0 and 1024 % fsdp == 0
  assert (64, 1, 1) in [one.mesh for one in found]
  # XL is 3.5 G parameters of sixteen bytes: not on one chip, nor on two.
  config = pretrain.get_config('model=xl')
  for one in sweep.choices(config, topology, 0):
    assert one.mesh[1] * one.mesh[2] >= 4


def fake(monkeypatch, sizes):
  """Reports without a compiler; sizes: choice → share of memory taken."""
  made = []

  def report(one):
    config, name = one
    choice = (*config.mesh, config.accumulate, config.remat)
    made.append(choice)
    taken = sizes(choice)
    if taken > 1.5:  # the compiler alone lets pass what is only a bit too large
      raise aot.DoesNotFit('too large', taken * 2**34)
    return {
      'mesh': dict(
        zip(('slice', 'data', 'fsdp', 'tensor'), (1, *config.mesh), strict=True)
      ),
      'accumulate': config.accumulate,
      'remat': config.remat,
      'memory': {'free': 1 - taken, 'total': taken * 2**34},
      'tokens_per_second': 1e6 / config.accumulate,
      'mfu_bound': 0.5,
    }

  monkeypatch.setattr(
    aot, 'make_target', lambda config, name, vocab: (config, name)
  )
  monkeypatch.setattr(aot, 'report', report)
  return made


def test_a_sweep_ranks_what_fits_and_halves_what_does_not(monkeypatch):
  def size(choice):
    return {'full': 0.5, 'dots': 0.95, 'none': 3}[choice[4]] / choice[3] ** 0.1

  made = fake(monkeypatch, size)
  config = pretrain.get_config('model=base')
  out = sweep.sweep(config, 'v5e:4x4', limit=12)
  assert len(out) == len(made) == len(set(made)) == 12
  assert [sweep.rank(one) for one in out] == sorted(map(sweep.rank, out))
  kinds = [sweep.rank(one)[0] for one in out]
  assert kinds[0] == 0
  for one in out:
    mesh = tuple(one['mesh'].values())[1:]
    if sweep.rank(one)[0]:  # and then in smaller micro-batches, or no time left
      again = [m for m in made if m[:3] == mesh and m[4] == one['remat']]
      assert len({m[3] for m in again}) == len(again)
  assert any(
    (*m[:3], 2 * m[3], m[4]) in made for m in made if size(m) > 0.9
  ) == any(size(m) > 0.9 for m in made[:-1])


def test_a_killed_sweep_goes_on(monkeypatch, tmp_path):
  made = fake(monkeypatch, lambda choice: 0.5)
  config = pretrain.get_config('model=base')
  path = tmp_path / 'sweep.jsonl'
  sweep.sweep(config, 'v5e:4x4', limit=3, results=str(path))
  with path.open('a') as file:
    file.write('{"key": "abc", "me')  # killed while it wrote
  made.clear()
  first = path.read_text()
  out = sweep.sweep(config, 'v5e:4x4', limit=5, results=str(path))
  assert len(out) == 5 and len(made) == 2
  assert path.read_text().startswith(first)
  made.clear()
  config.mask_rate = 0.3  # another run altogether
  sweep.sweep(config, 'v5e:4x4', limit=3, results=str(path))
  assert len(made) == 3


def test_a_machine_that_is_too_small_is_refused():
  config = pretrain.get_config('model=xxl')
  with pytest.raises(
    ValueError, match='the 4 chips of v5e:2x2 are too few for xxl'
  ):
    sweep.sweep(config, 'v5e:2x2')


# ── The command ───────────────────────────────────────────────────────────

SMALL = (
  *('-m', 'xlmr_jax.plan', '--config=configs/pretrain.py:model=tiny'),
  *('--vocab_size=500', '--config.batch_tokens=4096'),
)
KEYS = {
  *('topology', 'slices', 'chips', 'estimate', 'mesh', 'rows', 'row_length'),
  *('accumulate', 'remat', 'dtype', 'memory', 'flops_per_token'),
  *('flops_per_step', 'traffic', 'collectives', 'loops_of_unknown_length'),
  *('seconds', 'tokens_per_second', 'mfu_bound', 'compile_seconds'),
  'trained',
}


def check(facts):
  """What must hold between the figures of any report."""
  memory, seconds = facts['memory'], facts['seconds']
  parts = ('parameters', 'optimizer', 'temporaries', 'code', 'other')
  assert sum(memory[name] for name in parts) == memory['total']
  assert memory['free'] == pytest.approx(
    1 - memory['total'] / memory['available']
  )
  limits = [seconds[k] for k in ('compute', 'memory', 'network', 'between')]
  assert seconds['bound'] == max(limits) > 0
  assert seconds['in_turn'] == pytest.approx(sum(limits))
  tokens = facts['rows'] * facts['row_length']
  assert facts['tokens_per_second'] == pytest.approx(tokens / seconds['bound'])
  peak = chips.topology(facts['topology']).chip.peak * facts['chips']
  done = facts['flops_per_token']['model'] * facts['tokens_per_second']
  assert facts['mfu_bound'] == pytest.approx(done / peak)
  assert not facts['loops_of_unknown_length']


def test_gpus_are_estimated_by_the_real_command():
  args = ('--topology=h100:2x2', '--config.mesh=(2,2,1)', '--json')
  done = run(*SMALL, *args, '--tokens=1e9', '--price=2')
  assert done.returncode == 0, done.stderr[-2000:]
  facts = json.loads(done.stdout)
  assert set(facts) == KEYS | {'run'}
  check(facts)
  assert facts['estimate'] and facts['chips'] == 4 and facts['rows'] == 64
  assert facts['mesh'] == {'slice': 1, 'data': 2, 'fsdp': 2, 'tensor': 1}
  # A chip's part of the batch, and little else: what is donated counts once.
  batch = 3 * 4 * (64 // 4) * 64
  assert batch <= facts['memory']['other'] < 2 * batch
  # data is between the nodes, fsdp inside them.
  assert facts['seconds']['network'] > 0 and facts['seconds']['between'] > 0
  table = {(row['kind'], row['axes']) for row in facts['collectives']}
  assert ('all-gather', 'fsdp') in table
  hours = 1e9 / facts['tokens_per_second'] / 3600
  assert facts['run']['hours'] == pytest.approx(hours)
  assert facts['run']['cost'] == pytest.approx(hours * 4 * 2)
  shown = plan.show(facts)
  assert 'ESTIMATE' in shown and 'h100:2x2, 4 chips' in shown
  assert f'{facts["tokens_per_second"]:,.0f} tokens/s' in shown
  for free, said in ((-0.5, 'DOES NOT FIT'), (0.05, '5 % free, which is')):
    memory = facts['memory'] | {'free': free}
    assert said in plan.show(facts | {'memory': memory})


def test_wrong_settings_end_in_one_line():
  done = run(*SMALL, '--topology=h100:4', '--config.mesh=(3,1,1)')
  assert done.returncode == 1 and not done.stdout
  assert done.stderr.count('\n') == 1
  assert done.stderr.startswith('error: mesh (data, fsdp, tensor) = (3, 1, 1)')


@pytest.mark.slow
def test_the_tpu_compiler_through_the_real_command(tmp_path):
  """Needs libtpu: pip install 'xlmr_jax[plan]'."""
  pytest.importorskip('libtpu')
  path = tmp_path / 'step.hlo'
  paths = os.pathsep.join([str(ROOT), *filter(None, sys.path)])
  done = run(
    *SMALL,
    *('--topology=v5e:2x2', '--config.mesh=(1,4,1)', '--config.accumulate=2'),
    *('--json', f'--hlo={path}'),
    PYTHONPATH=paths,
  )
  assert done.returncode == 0, done.stderr[-2000:]
  facts = json.loads(done.stdout)
  assert set(facts) == KEYS
  check(facts)
  assert not facts['estimate'] and facts['chips'] == 4
  assert hlo.Program(path.read_text()).collectives()
  done = run(
    *SMALL,
    *('--topology=v5e:2x2', '--config.batch_tokens=67108864'),
    PYTHONPATH=paths,
  )
  assert done.returncode == 1
  assert 'does not fit' in done.stderr and 'of 15.75 GiB' in done.stderr
