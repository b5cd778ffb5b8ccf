"""The table of benchmarks, and rows that a user's file adds to it."""

import dataclasses
import sys

from absl import flags
import pytest

from xlmr_jax.eval import __main__ as command
from xlmr_jax.eval.benchmarks import table
from xlmr_jax.eval.benchmarks.benchmark import Benchmark
from xlmr_jax.eval.submissions import xtreme_forms
from xlmr_jax.eval.task import Task
from xlmr_jax.tasks.kinds import KINDS

OWN = """
from xlmr_jax.data.readers import tables
from xlmr_jax.eval.benchmarks import table
from xlmr_jax.eval.benchmarks.benchmark import Benchmark
from xlmr_jax.eval.task import Task
from xlmr_jax.tasks.kinds import KINDS
import neighbour


def read(data_dir, split, language):
  return [tables.Example((neighbour.TEXT,), 'a', f'{split}:{language}')]


table.BENCHMARKS['own'] = Benchmark(
  'own',
  (
    Task('mine', KINDS['classify'], read, ('en', 'de'), labels=('a', 'b')),
  ),
)
"""


@pytest.fixture
def own(tmp_path, monkeypatch):
  """A user's file that adds a benchmark, which is taken away afterwards."""
  monkeypatch.setattr(table, 'BENCHMARKS', dict(table.BENCHMARKS))
  monkeypatch.setattr('sys.path', list(sys.path))
  (tmp_path / 'neighbour.py').write_text('TEXT = "hello"\n')
  path = tmp_path / 'own.py'
  path.write_text(OWN)
  return path


def run(*arguments):
  options = flags.FlagValues()
  command.define_flags(options)
  command.main(options(['eval', *map(str, arguments)]), options)


def test_a_users_file_adds_a_row(own, tmp_path):
  assert 'mine' not in table.tasks()
  table.import_file(own)
  task = table.tasks()['mine']
  assert task is table.find('own')['mine'] is table.tunable()['mine']
  assert task.heads == KINDS['classify'].heads
  (example,) = task.read('', 'dev', 'de')
  assert (example.texts, example.where) == (('hello',), 'dev:de')
  # Its predictions are scored, too: a line a label.
  for name, labels in (('predictions', 'a\nb\n'), ('labels', 'a\na\n')):
    for language in task.languages:
      path = tmp_path / name / 'mine' / f'test-{language}.tsv'
      path.parent.mkdir(parents=True, exist_ok=True)
      path.write_text(labels)
  run(
    *(f'--custom_tasks={own}', '--benchmark=own', f'--output_dir={tmp_path}'),
    f'--predictions={tmp_path / "predictions"}',
    f'--labels={tmp_path / "labels"}',
  )
  text = (tmp_path / 'results.json').read_text()
  assert '"benchmark": "own"' in text and '"overall": 50.0' in text


def test_the_command_imports_the_file_before_it_looks_for_the_task(
  own, tmp_path
):
  where = f'--output_dir={tmp_path}', f'--checkpoint={tmp_path / "none"}'
  with pytest.raises(ValueError, match='benchmark=mine is not one of xnli'):
    run(*where, '--benchmark=mine')
  # Now it is the checkpoint that is not there.
  rest = '--benchmark=mine', f'--data_dir={tmp_path}', '--languages=de'
  with pytest.raises((ValueError, OSError), match='none'):
    run(*where, *rest, f'--custom_tasks={own}')
  with pytest.raises(ValueError, match=r'none\.py is no Python file: name one'):
    run(*where, f'--custom_tasks={tmp_path / "none.py"}')


def test_rows_that_contradict_themselves_are_refused():
  task = Task('a', KINDS['classify'], lambda *_: [], ('en',))
  with pytest.raises(ValueError, match='b has the task a twice'):
    Benchmark('b', (task, task))
  with pytest.raises(ValueError, match='b has a mean of c, which is no task'):
    Benchmark('b', (task,), groups={'g': ('c',)})
  with pytest.raises(ValueError, match='b has a mean of c, which is no task'):
    Benchmark('b', (task,), overall=('c',))
  assert Benchmark('b', (task,)).overall == ('a',)


def test_a_task_of_clue_is_one_row():
  """Its kind, reader, labels, metric and file."""
  for name in ('clue', 'clue1.0', 'fewclue'):
    for task in table.find(name).tasks:
      assert task.file.metric == task.metric
      assert task.languages == ('zh',)
      assert task.file.name.endswith('_predict.json')
  old, new = table.find('clue1.0'), table.find('clue')
  assert old['chid'].file.name == 'chid10_predict.json'
  changed = {
    'name': new['chid'].file.name.replace('11', '10'),
  }
  assert dataclasses.replace(new['chid'].file, **changed) == old['chid'].file
  assert all(
    task.parts == tuple('01234') for task in table.find('fewclue').tasks
  )


@pytest.mark.parametrize(
  'form, predictions, ids',
  [
    ('lines', ['a', 'b'], None),
    ('tags', [['B-X', 'O'], ['O']], None),
    ('pairs', [('de-1', 'en-2')], None),
    ('answers', {'q': 'here', 'p': ''}, ['q', 'p']),
    ('rankings', {'q': ['x', 'y']}, ['q']),
    ('choices', [1, 0], None),
    ('spans', [{'name': {'李明': [[0, 1]]}}, {}], None),
  ],
)
def test_what_is_written_is_read_back(tmp_path, form, predictions, ids):
  form = xtreme_forms.FORMS[form]
  values = list(predictions.values()) if ids else predictions
  path = tmp_path / f'file.{form.suffix}'
  path.write_text(form.text(values, ids), encoding='utf-8')
  assert form.read(path) == predictions
