"""The house: who may import whom, and what may not stand anywhere.

`python tests/repo/test_layout.py` draws the rooms and their imports.
"""

import ast
import collections
import graphlib
import pathlib
import re
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
PACKAGE = ROOT / 'xlmr_jax'

# The order of the rooms: a room imports from those above its own line, never
# from those below; inside a room there is no circle. This is its only copy.
ROOMS = (
  'runtime',
  'layers',
  'model',
  'heads',
  'data.files',
  'data.permutation',
  'data.prepared',
  'data.tokenizers',
  'data.batches',
  'data.corpus',
  'data.readers',
  'data.toy',
  'tasks',
  'compress.adapters',
  'checkpoints',
  'inference',
  'eval.metrics',
  'eval.submissions',
  'eval.task',
  'eval.no_answer',
  'eval.evaluate',
  'eval.benchmarks',
  'eval.suite',
  'eval.report',
  'eval.__main__',
  'compress',
  'training',
  'train',
  'plan',
  '__main__',
)
# Rooms apart, whatever their place: module (or package.) → what of ours it
# may import.
ONLY = {
  'layers.': ('layers.', 'runtime.sharding'),
  'model': ('layers.', 'runtime.sharding'),
  'heads': ('layers.', 'model', 'runtime.sharding'),
  'data.': (
    'data.',
    'runtime.buckets',
    'runtime.commands',
    'runtime.cores',
    'runtime.storage',
  ),
  'tasks.': ('tasks.',),
  'checkpoints.formats.': ('checkpoints.formats.', 'runtime.cores'),
  'eval.metrics.': ('eval.metrics.',),
  'eval.submissions.': (
    'data.',
    'eval.metrics.',
    'eval.submissions.',
    'runtime.storage',
  ),
  'eval.suite.pictures': ('runtime.storage',),
  'eval.benchmarks.published': (),
  'training.objectives': ('heads', 'layers.', 'model'),
  'compress.adapters': ('layers.', 'model'),
  'training.objective_table': ('model', 'training.objectives'),
  'training.optim': (),
}
# They run on a bare accelerator image.
BARE = (
  'compress.adapters',
  'layers.activations',
  'layers.attention',
  'layers.crf',
  'layers.dropout',
  'layers.lora',
  'layers.masking',
  'layers.pooling',
  'heads',
  'model',
  'runtime.sharding',
  'training.objectives',
  'training.objective_table',
)
BARE_LIBRARIES = {'flax', 'jax', 'jaxtyping', 'numpy'}
HEAVY = {'faiss', 'fastapi', 'onnx', 'tensorflow', 'torch', 'transformers'}
# Commands, which nothing imports; `xlmr` finds them by name.
COMMANDS = (
  '__main__',
  'checkpoints.convert',
  'compress.vocabulary',
  'data.corpus.command',
  'data.tokenizers.command',
  'data.toy.command',
  'eval.__main__',
  'plan.__main__',
  'train',
  'training.curves',
)


def modules():
  """{'eval.xtreme': syntax tree} of every module of the package."""
  out = {}
  for path in sorted(PACKAGE.rglob('*.py')):
    name = '.'.join(path.relative_to(PACKAGE).with_suffix('').parts)
    if not name.endswith('__init__'):
      out[name] = ast.parse(path.read_text('utf-8'))
  return out


MODULES = modules()


def imported(tree, top_level=False):
  """Full names of what a module imports: 'xlmr_jax.model', 'jax'."""
  for node in tree.body if top_level else ast.walk(tree):
    if isinstance(node, ast.Import):
      yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
      assert not node.level, 'relative imports do not say where they lead'
      for alias in node.names:
        yield f'{node.module}.{alias.name}'


def of_ours(name):
  """What of the package a module imports."""
  for full in imported(MODULES[name]):
    parts = full.split('.')
    if parts[0] != 'xlmr_jax':
      continue
    # 'xlmr_jax.model.Config' is a name in the module 'model'.
    for end in range(len(parts), 1, -1):
      if (module := '.'.join(parts[1:end])) in MODULES:
        yield module
        break
    else:
      raise AssertionError(f'{name} imports {full}, which is no module')


def room_of(name):
  """The longest entry of ROOMS that holds a module."""
  holders = [r for r in ROOMS if name == r or name.startswith(f'{r}.')]
  assert holders, f'{name} stands in no room'
  return max(holders, key=len)


def drawing():
  """The rooms, their sizes and their imports, as lines of text."""
  arrows = {room: set() for room in ROOMS}
  count, lines = collections.Counter(), collections.Counter()
  for name in MODULES:
    room = room_of(name)
    path = PACKAGE.joinpath(*name.split('.')).with_suffix('.py')
    count[room] += 1
    lines[room] += len(path.read_text('utf-8').splitlines())
    arrows[room] |= {room_of(other) for other in of_ours(name)} - {room}
  rows = [f'{"room":20} {"files":>5} {"lines":>6}  imports']
  for room in ROOMS:
    above = ' '.join(r for r in ROOMS if r in arrows[room]) or '-'
    rows.append(f'{room:20} {count[room]:5} {lines[room]:6}  {above}')
  rows.append(f'{"":20} {count.total():5} {lines.total():6}')
  return rows


def test_no_arrow_goes_up():
  order = {room: i for i, room in enumerate(ROOMS)}
  for name in MODULES:
    for other in of_ours(name):
      here, there = room_of(name), room_of(other)
      assert order[there] <= order[here], f'{name} imports {other}'


def test_no_circle_inside_a_room():
  graph = {
    name: {o for o in of_ours(name) if room_of(o) == room_of(name)}
    for name in MODULES
  }
  assert circle(graph) is None


def circle(graph):
  """The names along one circle of a graph; None where it has none."""
  try:
    graphlib.TopologicalSorter(graph).prepare()
  except graphlib.CycleError as error:
    return error.args[1]
  return None


def test_a_circle_is_seen():
  assert circle({'a': {'b'}, 'b': {'c'}, 'c': set()}) is None
  assert set(circle({'a': {'b'}, 'b': {'c'}, 'c': {'b'}})) == {'b', 'c'}


def test_a_visitor_sees_few_things():
  entries = {name.split('.')[0] for name in MODULES} | {'__init__'}
  assert len(entries) <= 15, sorted(entries)


def test_rooms_apart():
  for room, allowed in ONLY.items():
    members = [
      name
      for name in MODULES
      if name == room or (room.endswith('.') and name.startswith(room))
    ]
    assert members
    for name in members:
      for other in of_ours(name):
        assert any(
          other == a or (a.endswith('.') and other.startswith(a))
          for a in allowed
        ), f'{name} imports {other}'


def test_nobody_imports_a_command():
  importers = {other: name for name in MODULES for other in of_ours(name)}
  for command in COMMANDS:
    assert command not in importers, f'{importers[command]} imports {command}'


@pytest.mark.parametrize('name', BARE)
def test_the_model_needs_nothing_but_jax_and_flax(name):
  outside = {full.split('.')[0] for full in imported(MODULES[name])}
  outside -= {'xlmr_jax', *sys.stdlib_module_names}
  assert outside <= BARE_LIBRARIES


@pytest.mark.parametrize('name', MODULES)
def test_nothing_heavy_at_import_time(name):
  at_once = {full.split('.')[0] for full in imported(MODULES[name], True)}
  assert not at_once & HEAVY


def run(code):
  done = subprocess.run(
    [sys.executable, '-c', code],
    cwd=ROOT,
    capture_output=True,
    text=True,
    timeout=240,
    check=False,
  )
  assert done.returncode == 0, done.stderr[-2000:]
  return done.stdout.split()


def test_import_costs_nothing():
  seconds, *loaded = run(
    'import sys, time; start = time.perf_counter(); import xlmr_jax; '
    'print(time.perf_counter() - start, *{m.split(".")[0] for m in '
    'sys.modules})'
  )
  assert float(seconds) < 0.2
  assert not set(loaded) & {*HEAVY, *BARE_LIBRARIES, 'orbax', 'sentencepiece'}


def test_commands_start_without_anything_heavy():
  loaded = run(
    'import sys; import xlmr_jax.train, xlmr_jax.checkpoints.convert, '
    'xlmr_jax.eval.__main__; print(*{m.split(".")[0] for m in sys.modules})'
  )
  assert 'jax' in loaded
  assert not set(loaded) & {*HEAVY, 'tensorflow_datasets'}


def strings(tree):
  """String constants, docstrings included."""
  for node in ast.walk(tree):
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
      yield node.value


@pytest.mark.parametrize('name', sorted(set(MODULES) - {'runtime.sharding'}))
def test_only_sharding_names_the_axes_of_a_mesh(name):
  tree = MODULES[name]
  # Readers know no mesh, and SQuAD's files have a key "data".
  axes = {'fsdp', 'tensor'} | ({'data'} - {name.partition('.')[0]})
  assert not axes & set(strings(tree))
  taken = {full.rsplit('.', 1)[-1] for full in imported(tree)}
  taken |= {n.attr for n in ast.walk(tree) if isinstance(n, ast.Attribute)}
  assert not taken & {'PartitionSpec', 'NamedSharding', 'make_array_from'}
  for node in ast.walk(tree):
    # `with mesh:` sets no mesh for constraints; it is jax.set_mesh(mesh).
    if isinstance(node, ast.With):
      for item in node.items:
        name = getattr(item.context_expr, 'id', '')
        assert 'mesh' not in name


def test_hugging_faces_words_stay_at_the_border():
  for name in set(MODULES) - {'checkpoints.hf.reader', 'checkpoints.hf.names'}:
    words = {n.id for n in ast.walk(MODULES[name]) if isinstance(n, ast.Name)}
    words |= {n.arg for n in ast.walk(MODULES[name]) if isinstance(n, ast.arg)}
    words |= set(strings(MODULES[name]))
    assert not words & {'input_ids', 'attention_mask', 'token_type_ids'}, name


# Where the name of a head may be written: its row, its kind, its objective, its
# names in files, and rows of benchmarks, which name kinds.
HOMES = (
  'heads',
  'tasks.kinds',
  'training.objective_table',
  'training.objectives',
  'checkpoints.hf.names',
  'checkpoints.fairseq',
  'checkpoints.comet',
  'eval.benchmarks.',
)
# The same words with another meaning: module (or package.) → words.
OTHER_WORDS = {
  'checkpoints.hf.config_json': {'causal'},  # a field of Config
  'data.readers.': {'answer'},  # a key of CLUE's files
  'eval.submissions.': {'answer'},
  'eval.metrics.scores': {'tag'},  # in an error
  'plan.': {'estimate'},  # that times are no measurements
}


def test_a_heads_name_stands_in_few_places():
  from xlmr_jax import heads
  from xlmr_jax.tasks import kinds
  from xlmr_jax.training import objective_table

  known = {
    *filter(None, heads.HEADS),
    *kinds.KINDS,
    *objective_table.OBJECTIVES,
  }
  within = lambda name, rooms: any(
    name == r or (r.endswith('.') and name.startswith(r)) for r in rooms
  )
  for name, tree in MODULES.items():
    if not within(name, HOMES):
      allowed = [w for r, w in OTHER_WORDS.items() if within(name, (r,))]
      words = known & set(strings(tree)) - set().union(*allowed)
      assert not words, f'{name} spells {words}'


# Function that writes under the final name → why that is right.
WRITERS = {
  'checkpoints.formats.safetensors_file.write': 'into a folder of whole()',
  'checkpoints.formats.torch_file.write': 'into a folder of whole()',
  'data.corpus.shuffle.flush': 'a work folder, whose journal says what holds',
  'data.corpus.duplicates.start': 'marks in a work folder, set in place',
  'data.corpus.workers.__init__': 'into a temporary folder',
  'data.readers.zips._read_packed': 'into a temporary folder',
  'data.tokenizers.train_tokenizer._write_seeds': 'into a temporary folder',
  'data.toy.files._write_lines': 'a toy, written again in a second',
  'data.toy.files._write_rows': 'a toy, written again in a second',
  'eval.suite.trainings._alone': 'a lock holds nothing',
  'plan.sweep.sweep': 'a log grows line by line',
  'runtime.logs.__init__': 'a log grows line by line',
  'runtime.logs.event': 'a log grows line by line',
  'runtime.logs.rewind': 'a log grows line by line',
}


def writes(call):
  """Whether a call writes a file under the name that it is given."""
  name = ast.unparse(call.func)
  last = name.rsplit('.', 1)[-1]
  if last in ('open', 'ZipFile', 'fdopen'):
    values = [*call.args, *(k.value for k in call.keywords)]
    modes = [v.value for v in values if isinstance(v, ast.Constant)]
    return any(re.fullmatch('(?=.*[wax+])[rwaxbt+]+', str(m)) for m in modes)
  return (
    name.startswith(('shutil.copy', 'shutil.move', 'np.save'))
    or name in ('json.dump', 'pickle.dump')
    or last in ('write_text', 'write_bytes', 'savefig', 'tofile')
    and not name.startswith('storage.')
  )


def bare_writers(node, where):
  """Functions that write outside of `with storage.whole...`."""
  if isinstance(node, ast.With):
    if any('storage.whole' in ast.unparse(item) for item in node.items):
      return
  if isinstance(node, ast.FunctionDef):
    where = f'{where.removesuffix(".")}.{node.name}'
  if isinstance(node, ast.Call) and writes(node):
    yield where
  for child in ast.iter_child_nodes(node):
    yield from bare_writers(child, where)


def test_files_appear_whole_or_not_at_all():
  source = 'def f():\n  %s\n'
  for line, count in (
    ("open(p, 'w')", 1),
    ("p.open(mode='ab')", 1),
    ("open(p, 'rb')", 0),
    ('p.write_text(t)', 1),
    ('storage.write_text(p, t)', 0),
    ('with storage.whole_file(p) as t: t.write_text(x)', 0),
  ):
    assert len([*bare_writers(ast.parse(source % line), 'm')]) == count, line
  for name in set(MODULES) - {'runtime.storage'}:
    for writer in bare_writers(MODULES[name], name):
      assert writer in WRITERS, f'{writer} does not write through storage'


def test_recipes_import_no_code_of_ours():
  for path in (ROOT / 'configs').glob('*.py'):
    tree = ast.parse(path.read_text('utf-8'))
    top = {full.split('.')[0] for full in imported(tree)}
    assert top <= {'configs', 'ml_collections'}, path.name


def tracked():
  """Text files of the repository."""
  listed = subprocess.run(
    ['git', 'ls-files', '-z'],
    cwd=ROOT,
    capture_output=True,
    text=True,
    check=False,
  )
  if listed.returncode:
    pytest.skip('not a git checkout')
  for name in filter(None, listed.stdout.split('\0')):
    path = ROOT / name
    if path.is_file():
      try:
        yield name, path.read_text('utf-8')
      except UnicodeDecodeError:
        pass


def test_no_path_of_a_machine():
  """Such as a home folder: it exists on one machine only."""
  roots = '|'.join(('home', 'mnt', 'opt', 'root', 'tmp', 'Users', 'work'))
  absolute = re.compile(rf'(?<![\w.$}})~*/-])/({roots})/\w')
  for name, text in tracked():
    for number, line in enumerate(text.splitlines(), 1):
      assert not absolute.search(line), f'{name}:{number}: {line.strip()}'


def test_files_stay_small_enough_to_read():
  """A file past 450 lines holds a second idea."""
  for path in PACKAGE.rglob('*.py'):
    assert path.stem not in ('utils', 'helpers')
    assert len(path.read_text('utf-8').splitlines()) <= 450, path


if __name__ == '__main__':
  print('\n'.join(drawing()))
