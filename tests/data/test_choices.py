"""XCOPA, COPA and Social IQa: what is read, and what of bad files."""

import json

import pytest

from xlmr_jax.data.readers import choices


def write(path, *items):
  path.parent.mkdir(parents=True, exist_ok=True)
  lines = [i if isinstance(i, str) else json.dumps(i) for i in items]
  path.write_text('\n'.join(lines) + '\n', encoding='utf-8')
  return path


def copa(**changes):
  item = {'premise': 'It rained.', 'choice1': 'I got wet.'}
  item |= {'choice2': 'I slept.', 'question': 'effect', 'label': 0, 'idx': 0}
  return {**item, **changes}


@pytest.mark.parametrize(
  'language, split, count',
  [('en', 'train', 400), ('en', 'dev', 100)]
  + [(name, 'dev', 100) for name in ('sw', 'ta', 'zh')]
  + [(name, 'test', 500) for name in ('sw', 'ta', 'zh')],
)
def test_real_xcopa(data_dir, language, split, count):
  got = choices.xcopa(data_dir / 'xcopa', split, language)
  assert len(got) == count
  name = 'val' if split == 'dev' else split
  path = data_dir / 'xcopa' / language / f'{name}.{language}.jsonl'
  rows = [json.loads(x) for x in path.read_text('utf-8').splitlines()]
  for number, (example, row) in enumerate(zip(got, rows, strict=True), 1):
    asked = f'{row["premise"]} What was the {row["question"]}?'
    assert ' '.join(example.texts) == asked
    assert example.choices == (row['choice1'], row['choice2'])
    assert example.label == row['label'] and example.label in (0, 1)
    assert example.where == f'{path}:{number}'


def test_where_copa_is_looked_for(tmp_path):
  """In XCOPA's folders, and side by side as XTREME-R leaves the files."""
  bare = copa()
  del bare['label']
  write(tmp_path / 'test.en.jsonl', bare, '', copa(label=None))
  assert [e.label for e in choices.xcopa(tmp_path, 'test', 'en')] == [None] * 2
  write(tmp_path / 'val-et.jsonl', copa(label=1, question='cause'))
  [got] = choices.xcopa(tmp_path, 'dev', 'et')
  assert got.texts == ('It rained.', 'What was the cause?') and got.label == 1
  write(tmp_path / 'et/test.et.jsonl', copa())
  assert len(choices.xcopa(tmp_path, 'test', 'et')) == 1
  with pytest.raises(ValueError, match=r"no XCOPA test file for 'qu'.*qu/test"):
    choices.xcopa(tmp_path, 'test', 'qu')
  with pytest.raises(ValueError, match="split 'val'; XCOPA has train"):
    choices.xcopa(tmp_path, 'val', 'et')


@pytest.mark.parametrize(
  'line, message',
  [
    ('{"premise": ', 'not JSON'),
    ('[1]', 'not a JSON object'),
    (copa(premise=None), "'premise' is no text; the object has the keys prem"),
    (copa(question='why'), "question 'why' is neither 'cause' nor 'effect'"),
    (copa(label=2), 'label 2 is not 0 to 1'),
    (copa(label='0'), "label '0' is not 0 to 1"),
    (copa(label=True), 'label True is not 0 to 1'),
  ],
)
def test_bad_lines_are_named(tmp_path, line, message):
  write(tmp_path / 'sw/val.sw.jsonl', copa(), line)
  with pytest.raises(ValueError, match=f'val.sw.jsonl:2: {message}'):
    choices.xcopa(tmp_path, 'dev', 'sw')
  write(tmp_path / 'sw/val.sw.jsonl', '')
  with pytest.raises(ValueError, match='val.sw.jsonl: the file is empty'):
    choices.xcopa(tmp_path, 'dev', 'sw')


def test_social_iqa(tmp_path):
  item = {'context': 'Jo fell.', 'question': 'How did Jo feel?'}
  item |= {'answerA': 'fine', 'answerB': 'hurt', 'answerC': 'proud'}
  path = write(
    tmp_path / 'siqa/socialIQa_v1.4_trn.jsonl', item | {'correct': 'B'}, item
  )
  assert choices.siqa(tmp_path, 'train') == [
    choices.Choice(
      ('Jo fell.', 'How did Jo feel?'), ('fine', 'hurt', 'proud'), label, where
    )
    for label, where in ((1, f'{path}:1'), (None, f'{path}:2'))
  ]
  write(path, item | {'correct': 'D'})
  with pytest.raises(
    ValueError, match="jsonl:1: correct is 'D', not A, B or C"
  ):
    choices.siqa(tmp_path, 'train')
  with pytest.raises(ValueError, match=r'no Social IQa dev file.*_dev.jsonl'):
    choices.siqa(tmp_path, 'dev')
  with pytest.raises(ValueError, match="Social IQa is English.*'sw'"):
    choices.siqa(tmp_path, 'train', 'sw')
