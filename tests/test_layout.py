"""The house: who may import whom, and what may not stand anywhere."""

import ast
import pathlib
import re
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent
PACKAGE = ROOT / 'xlmr_jax'

# From the ground up. A module imports from lines above its own, never from
# its own line or below.
FLOORS = (
  # 0: nothing of ours, but for those that read files
  """crf doors hlo hosts hub logs masking same_run sharding tensors
     data.duplicates data.files data.pack data.shards data.shuffle
     data.toy_lexicon eval.answers eval.mining eval.pictures
     eval.published eval.spans""",
  """attention chips lazy unpickle
     data.bitext data.buckets data.choices data.inputs data.releases data.squad
     data.tagged data.tokenizer eval.layout eval.metrics""",
  """pickles data.bpe data.conllu data.documents data.pieces data.pools
     data.units data.words eval.clue_layout""",
  'data.vocabulary data.workers eval.clue_forms',
  'eval.clue_submission',
  'eval.submission',
  # 1
  'dropout',
  'model',
  'heads',
  """data.loader data.sources data.toy
     tasks.answer tasks.choose tasks.classify tasks.retrieve tasks.tag""",
  """data.builders data.clue data.phases data.preparation
     data.sampling""",
  'data.clue_reading data.cluener data.corpus',
  'data.fewclue',
  # 2
  'objectives optim packed hf_files hf_words',
  'pooling step roofline',
  'hf',
  # 3
  'fairseq stored',
  'comet saves',
  'checkpoint',
  'loaded',
  'eval.rows',
  'eval.evaluate',
  'eval.clue eval.xtreme',
  'eval.benchmarks',
  'eval.tables',
  'eval.protocols',
  'eval.runs',
  'eval.suite',
  # 4
  'job',
  'finetuning pretraining',
  'jobs',
  'train aot',
  'sweep',
  # 5: doors, each of which may go without touching the rest
  'convert curves plan vocab eval.__main__',
)
# Rooms apart, whatever their floor: module (or package.) → what of ours it
# may import.
ONLY = {
  'data.': ('data.', 'doors'),
  'tasks.': (),
  'eval.answers': (),
  'eval.metrics': ('eval.answers', 'eval.mining', 'eval.spans'),
  'eval.mining': (),
  'eval.pictures': (),
  'eval.published': (),
  'eval.spans': (),
  'attention': ('sharding',),
  'masking': (),
  'dropout': ('sharding',),
  'model': ('attention', 'dropout', 'sharding'),
  'heads': ('model', 'sharding'),
  'crf': (),
  'objectives': ('crf', 'heads', 'masking', 'model'),
  'optim': (),
  'step': ('heads', 'model', 'objectives', 'optim', 'sharding'),
  'hf_words': ('heads', 'model'),
  'hf_files': ('pickles', 'tensors'),
  'pooling': ('hf_files',),
  'hf': (
    'heads',
    'hf_files',
    'hf_words',
    'lazy',
    'model',
    'pooling',
    'tensors',
  ),
}
# They run on a bare accelerator image.
BARE = (
  'attention',
  'crf',
  'dropout',
  'heads',
  'masking',
  'model',
  'objectives',
  'sharding',
)
BARE_LIBRARIES = {'flax', 'jax', 'jaxtyping', 'numpy'}
HEAVY = {'faiss', 'fastapi', 'onnx', 'tensorflow', 'torch', 'transformers'}
NOBODY = ('train', 'convert', 'curves', 'plan', 'vocab', 'eval.__main__')


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
  """Full names of what a module imports: 'xlmr_jax.eval.metrics', 'jax'."""
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


def test_every_module_has_one_floor():
  listed = ' '.join(FLOORS).split()
  assert sorted(listed) == sorted(MODULES)


def test_imports_go_downward_only():
  floor = {name: i for i, row in enumerate(FLOORS) for name in row.split()}
  for name in MODULES:
    for other in of_ours(name):
      assert floor[other] < floor[name], f'{name} imports {other}'


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


def test_nobody_imports_a_door():
  importers = {other: name for name in MODULES for other in of_ours(name)}
  for door in NOBODY:
    assert door not in importers, f'{importers[door]} imports {door}'
  jobs = {name for name in MODULES if 'jobs' in of_ours(name)}
  assert jobs == {'train'}


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
    'import sys; import xlmr_jax.train, xlmr_jax.convert, '
    'xlmr_jax.eval.__main__; print(*{m.split(".")[0] for m in sys.modules})'
  )
  assert 'jax' in loaded
  assert not set(loaded) & {*HEAVY, 'tensorflow_datasets'}


def strings(tree):
  """String constants, docstrings included."""
  for node in ast.walk(tree):
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
      yield node.value


@pytest.mark.parametrize('name', sorted(set(MODULES) - {'sharding'}))
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
  for name in set(MODULES) - {'hf', 'hf_words'}:
    words = {n.id for n in ast.walk(MODULES[name]) if isinstance(n, ast.Name)}
    words |= {n.arg for n in ast.walk(MODULES[name]) if isinstance(n, ast.arg)}
    words |= set(strings(MODULES[name]))
    assert not words & {'input_ids', 'attention_mask', 'token_type_ids'}, name


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
  """A file past 450 lines is asked what second idea it holds."""
  asked = {
    'data/tokenizer.py': 'encoding and training share the id arithmetic',
    'data/corpus.py': 'preparing all languages, and its command',
    'data/shards.py': 'a format is written and read in one place',
    'data/toy.py': 'one world, its sentences and its files',
    'data/toy_lexicon.py': 'a table',
    'data/bpe.py': 'the class, and how its file is put together',
    'data/sources.py': 'a reader for each form of table',
    'hf.py': 'reading and writing are each other backwards',
    'loaded.py': 'what a model can be asked, and how one is loaded',
    'train.py': 'the loop, top to bottom',
  }
  for path in PACKAGE.rglob('*.py'):
    name = str(path.relative_to(PACKAGE))
    assert path.stem not in ('utils', 'helpers')
    if name not in asked:
      assert len(path.read_text('utf-8').splitlines()) <= 450, name
