"""One table over all commands: what a person types wrong is one line.

Every command of `xlmr` runs here in this process, on a command line with one
thing wrong: exit code 1, a line `error: ...` on stderr, nothing on stdout.
"""

import contextlib
import importlib
import json
import re

from absl import flags
from absl.testing import flagsaver
import pytest

from xlmr_jax import __main__ as program

# A command line that a command takes, in a folder of `place`. The cases below
# add something to it, take something away, or put something in its place.
RIGHT = {
  'train': [
    '--config=finetune:task=xnli,model=tiny',
    '--config.data_dir=empty',
    '--config.tokenizer=tokenizer',
    '--workdir=out',
  ],
  'eval': [
    '--benchmark=xnli',
    '--checkpoint=empty',
    '--data_dir=empty',
    '--output_dir=out',
  ],
  'convert': ['empty', 'out'],
  'corpus': ['--corpus=text', '--tokenizer=tokenizer', '--output=out'],
  'tokenizer': ['--input=text/en.txt', '--output=out'],
  'vocabulary': ['extend', 'empty', 'out', '--corpus=text/en.txt'],
  'plan': ['--config=pretrain:model=tiny', '--topology=v5e:1x1'],
  'curves': ['run'],
  'toy': ['out', '--size=fast'],
}
# What must be there, and how the error names it.
REQUIRED = {
  'train': {'--config': '--config', '--workdir': '--workdir'},
  'eval': {'--checkpoint': '--checkpoint', '--output_dir': '--output_dir'},
  'convert': {'empty': 'SRC', 'out': 'DST'},
  'corpus': {
    '--corpus': '--corpus',
    '--tokenizer': '--tokenizer',
    '--output': '--output',
  },
  'tokenizer': {'--input': '--input', '--output': '--output'},
  'vocabulary': {
    'extend': 'extend or trim',
    'empty': 'CHECKPOINT',
    'out': 'OUTPUT',
    '--corpus': '--corpus',
  },
  'plan': {'--config': '--config', '--topology': '--topology'},
  'curves': {'run': 'workdir'},
  'toy': {'out': 'OUT_DIR'},
}
# Files that are not there, and a part of what is said.
MISSING = {
  'train': {
    '--config=finetun': "no recipe 'finetun'",
    '--config=no/recipe.py': 'no/recipe.py is neither here',
    '--config.data_dir=nowhere': 'nowhere',
    '--config.tokenizer=nowhere': 'nowhere',
  },
  'eval': {
    '--config=no/recipe.py': 'no/recipe.py',
    '--data_dir=nowhere': 'nowhere',
    '--test=nowhere.tsv': 'nowhere.tsv',
    '--beside=a=nowhere.json': 'nowhere.json',
  },
  'convert': {'empty': 'empty', './nowhere': 'nowhere'},
  'corpus': {
    '--corpus=nowhere': 'nowhere',
    '--tokenizer=nowhere': 'nowhere',
    '--parallel=nowhere': 'nowhere',
    '--languages=de': 'de',
    '--report=nowhere': 'nowhere',
    '--verify=nowhere': 'nowhere',
  },
  'tokenizer': {'--input=nowhere/*.txt': 'nowhere/*.txt'},
  'vocabulary': {
    '--corpus=nowhere/*.txt': 'nowhere/*.txt',
    './nowhere': 'nowhere',
  },
  'plan': {'--config=no/recipe.py': 'no/recipe.py'},
  'curves': {'nowhere': 'nowhere', 'empty': 'empty'},
  'toy': {'text/en.txt/out': 'text/en.txt'},
}
WRONG = {
  'train': {
    '--config.steps=many': 'config.steps',
    '--config.stesp=3': 'steps',
    '--config=finetune:task=nonsense': 'nonsense',
    '--config.objective=guess': 'guess',
    '--config.accumulate=0': 'accumulate',
    '--profile=5': '--profile',
    '--distributed=maybe': '--distributed',
    '--coordinator=here': '--coordinator',
  },
  'eval': {
    '--benchmark=nonsense': 'nonsense',
    '--dtype=int8': '--dtype',
    '--mesh=1,1': '--mesh',
    '--max_length=0': '--max_length',
    '--split=summer': 'summer',
    '--languages=xx': 'xx',
    '--layer=-1': '--layer',
    '--beside=results.json': '--beside',
  },
  'convert': {'--format=pdf': '--format'},
  'corpus': {
    '--shard_tokens=0': 'shard_tokens',
    '--shard_tokens=many': '--shard_tokens',
    '--workers=-1': 'workers',
    '--journal_seconds=-1': 'journal_seconds',
    '--tfds=en': '--tfds',
  },
  'tokenizer': {
    '--vocab_size=many': '--vocab_size',
    '--vocab_size=-3': 'vocab_size',
    '--sentences=0': '--sentences',
    '--character_coverage=7': 'character_coverage',
    '--alpha=-1': '--alpha',
    '--seed=-1': '--seed',
  },
  'vocabulary': {
    '--pieces=0': '--pieces',
    '--share=2': '--share',
    '--init=zero': '--init',
    '--format=pdf': '--format',
    '--seed=-1': '--seed',
  },
  'plan': {
    '--topology=v9:4x4': 'v9',
    '--topology=v5e': 'v5e',
    '--topology=v5e:0x4': 'v5e:0x4',
    '--vocab_size=-1': 'vocab_size',
    '--sweep_limit=0': 'sweep_limit',
    '--mfu=2': 'mfu',
    '--tokens=-1': 'tokens',
    '--price=-1': 'price',
    '--examples=-1': 'examples',
    '--mean_length=-1': 'mean_length',
    '--config.model=huge': 'config.model',
  },
  'curves': {'--output=picture.xyz': 'xyz'},
  'toy': {'--size=huge': '--size', '--seed=x': '--seed'},
}


def cases():
  """(command, words of its command line, what the error names) of the table."""
  for name, right in RIGHT.items():
    yield name, [*right, '--colour=red'], 'colour'
    if name != 'curves':  # it draws as many runs as are given
      yield name, [*right, 'surplus'], 'surplus'
    for start, said in REQUIRED[name].items():
      rest = [word for word in right if word.partition('=')[0] != start]
      yield name, rest, said
    for word, said in (MISSING[name] | WRONG[name]).items():
      yield name, put(right, word), said


def put(right, word):
  """A command line with a flag, or its first path, replaced by `word`."""
  flag = word.partition('=')[0] if word.startswith('-') else None
  for i, old in enumerate(right):
    if old.partition('=')[0] == flag or not (flag or old.startswith('-')):
      if old != 'extend':
        return [*right[:i], word, *right[i + 1 :]]
  return [*right, word]


# Libraries define flags when they are imported, and must keep them.
for module_name, _ in program.COMMANDS.values():
  importlib.import_module(module_name)


@contextlib.contextmanager
def no_flags():
  """absl's flags as they were, once this ends."""
  before, saved = set(flags.FLAGS), flagsaver.save_flag_values()
  try:
    yield
  finally:
    for name in set(flags.FLAGS) - before:
      delattr(flags.FLAGS, name)
    flagsaver.restore_flag_values(saved)


@pytest.fixture
def xlmr(monkeypatch, capfd):
  """(words) → exit code, stdout, stderr of `xlmr WORDS`."""
  # Nothing here is to be looked for in the network.
  monkeypatch.setenv('HF_HUB_OFFLINE', '1')

  def call(*words):
    monkeypatch.setattr('sys.argv', ['xlmr', *words])
    with no_flags(), pytest.raises(SystemExit) as ended:
      program.main()
    out, err = capfd.readouterr()
    return ended.value.code, out, err

  return call


@pytest.fixture
def place(tmp_path, tiny_tokenizer, monkeypatch):
  """The current folder, which has what the command lines of RIGHT name."""
  folder = tmp_path
  monkeypatch.chdir(folder)
  for name in ('empty', 'text', 'run'):
    (folder / name).mkdir()
  (folder / 'text' / 'en.txt').write_text('A man is asleep.\n' * 9)
  (folder / 'tokenizer').symlink_to(tiny_tokenizer)
  record = json.dumps({'step': 1, 'loss': 2.0})
  (folder / 'run' / 'metrics.jsonl').write_text(record)


def test_the_table_has_every_command():
  for table in (RIGHT, REQUIRED, MISSING, WRONG):
    assert set(table) == set(program.COMMANDS)


@pytest.mark.parametrize('name, words, said', cases())
@pytest.mark.usefixtures('place')
def test_what_is_wrong_is_one_line(name, words, said, xlmr):
  code, out, err = xlmr(name, *words)
  assert code == 1, err
  assert err.startswith('error: ') and err.count('\n') == 1, err
  assert said in err
  assert not out


@pytest.mark.parametrize('name', program.COMMANDS)
def test_help_has_an_example_and_all_flags(name, xlmr):
  code, out, err = xlmr(name, '--help')
  assert code == 0 and not err
  module = importlib.import_module(program.COMMANDS[name][0])
  start = rf'^ +(xlmr {name}|python -m xlmr_jax\.{name}) '
  assert re.search(start, out, re.M)
  values = flags.FlagValues()
  module.define_flags(values)
  for flag in [*values, 'traceback']:
    assert re.search(rf'^ +--(\[no\])?{flag}:', out, re.M), flag


@pytest.mark.parametrize('name', program.COMMANDS)
def test_ctrl_c_says_so(name, xlmr, monkeypatch):
  module = importlib.import_module(program.COMMANDS[name][0])

  def interrupt(*_):
    raise KeyboardInterrupt

  monkeypatch.setattr(module, 'main', interrupt)
  assert xlmr(name, *RIGHT[name]) == (130, '', 'interrupted\n')


def test_ctrl_c_while_modules_are_imported(xlmr, tmp_path, monkeypatch):
  (tmp_path / 'slow_command.py').write_text('raise KeyboardInterrupt')
  monkeypatch.syspath_prepend(tmp_path)
  monkeypatch.setitem(program.COMMANDS, 'slow', ('slow_command', ''))
  assert xlmr('slow') == (130, '', 'interrupted\n')


def test_the_stack_can_be_asked_for(monkeypatch):
  monkeypatch.setattr('sys.argv', ['xlmr', 'curves', 'nowhere', '--traceback'])
  with no_flags(), pytest.raises(ValueError, match='nowhere'):
    program.main()


@pytest.mark.parametrize('words', [['--help'], ['-h'], []])
def test_the_list_of_commands(words, xlmr):
  code, out, _ = xlmr(*words)
  assert code == 0
  for name, (_, does) in program.COMMANDS.items():
    assert re.search(rf'^  {name} +{re.escape(does)}$', out, re.M)


def test_a_command_that_is_none(xlmr):
  assert xlmr('convrt') == (
    1,
    '',
    "error: xlmr has no command 'convrt'; did you mean convert?\n",
  )
