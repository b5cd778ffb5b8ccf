"""Several labels an example, in the three forms that people have."""

import json

import pytest

from xlmr_jax.eval.task import user_task
from xlmr_jax.tasks.kinds import KINDS

SETS = [('joy', 'love'), ('anger',), (), ('joy',)]


def read(path, text, label='label', **options):
  path.write_text(text, encoding='utf-8')
  task = user_task(
    'x',
    {'test': str(path)},
    ['en'],
    label=label,
    kind=KINDS['multilabel'],
    metric='micro_f1',
    **options,
  )
  return task, task.read('', 'test', 'en')


def labels_of(*given, **options):
  return [example.label for example in read(*given, **options)[1]]


def test_a_column_with_a_separator(tmp_path):
  for name, mark, between in (('a.tsv', '\t', ','), ('b.csv', ',', '|')):
    rows = [f'text {i}{mark}{between.join(x)}\n' for i, x in enumerate(SETS)]
    text = f'text{mark}label\n' + ''.join(rows)
    assert labels_of(tmp_path / name, text, separator=between) == SETS
  text = 'text\tlabel\na\tjoy , love\nb\tanger,\n'
  assert labels_of(tmp_path / 'c.tsv', text) == SETS[:2]
  # Nothing but empty cells: nobody knows.
  text = 'text\tlabel\na\t\nb\t\n'
  assert labels_of(tmp_path / 'd.tsv', text) == [None, None]


def test_a_list_in_jsonl(tmp_path):
  values = [['joy', 'love'], 'anger', [], ['joy'], None, [3, 27]]
  lines = [json.dumps({'text': 'a', 'label': x}) for x in values]
  lines.append('{"text": "a"}')
  got = labels_of(tmp_path / 'a.jsonl', '\n'.join(lines) + '\n')
  assert got == [*SETS, None, ('3', '27'), None]


def test_a_column_of_0_and_1_a_class(tmp_path):
  names = ('joy', 'anger', 'love')
  rows = ['a,1,0,1', 'b,0,1,0', 'c,0,0,0', 'd,1.0,0.0,0', 'e,-1,-1,-1', 'f,,,']
  text = '\n'.join(['text,joy,anger,love', *rows]) + '\n'
  task, examples = read(tmp_path / 'a.csv', text, names)
  assert [e.label for e in examples] == [*SETS, None, None]
  assert [e.texts for e in examples] == [(c,) for c in 'abcdef']
  assert task.labels == names  # in this order, also where a class never applies


@pytest.mark.parametrize(
  'name, text, label, message',
  [
    ('a.tsv', 'text\tlabel\na\tx|y\n', 'label', r"'x\|y' has '\|'.*label_sep"),
    (
      'a.tsv',
      'text\tlabel\na\tx,x\n',
      'label',
      "a.tsv:2: .*'x' is named tw",
    ),
    ('a.csv', 'text,x,y\na,1,2\n', ('x', 'y'), "a.csv:2: 'y' is '2': a column"),
    ('a.csv', 'text,x,y\na,1,\n', ('x', 'y'), "a.csv:2: 'y' is '': a column"),
    ('a.csv', 'text,x\na,1\n', ('x', 'y'), "no column 'y'; the header has"),
    (
      'a.jsonl',
      '{"text": "a", "label": 1.5}',
      'label',
      'l:1.* neither a list',
    ),
    (
      'a.jsonl',
      '{"text": "a", "label": [1, 1]}',
      'label',
      "'1' is named twice",
    ),
  ],
)
def test_what_is_no_set_of_labels(tmp_path, name, text, label, message):
  with pytest.raises(ValueError, match=message):
    read(tmp_path / name, text, label)
