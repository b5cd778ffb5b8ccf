"""Submission folders: XTREME's golden fixture, and folders that are wrong."""

import json
import random
import re
import shutil

import pytest

from xlmr_jax.eval.benchmarks import table
from xlmr_jax.eval.metrics import scores
from xlmr_jax.eval.submissions import xtreme_forms

XTREME = 'xnli pawsx udpos panx xquad mlqa tydiqa bucc2018 tatoeba'.split()


def score_folder(predictions, labels, version='xtreme', **options):
  return table.find(version).score(predictions, labels, **options)


def check_folder(path, version='xtreme', **options):
  return table.find(version).submission.check(path, **options)


@pytest.fixture
def mock(data_dir, tmp_path):
  """A copy of the fixture: (predictions, labels), to be spoiled."""
  for name in ('predictions', 'labels'):
    shutil.copytree(data_dir / 'xtreme_mock' / name, tmp_path / name)
  return tmp_path / 'predictions', tmp_path / 'labels'


def write(folder, task, text, version='xtreme'):
  """The same file for every language of a task."""
  part = table.find(version).submission.tasks[task]
  (folder / task).mkdir(parents=True, exist_ok=True)
  for language in part.languages:
    path = part.path(folder, task, language)
    path.write_text(text.replace('LANG', language), encoding='utf-8')


def score(tmp_path, task, predictions, labels, version='xtreme'):
  """Scores one task whose languages are all alike."""
  write(tmp_path / 'p', task, predictions, version)
  write(tmp_path / 'l', task, labels, version)
  return score_folder(tmp_path / 'p', tmp_path / 'l', version, tasks=[task])


# The script's name of a part → ours.
PARTS = {'avg_precision': 'precision', 'avg_recall': 'recall'}


@pytest.mark.parametrize('version', ['xtreme', 'xtreme-r'])
def test_the_mock_submission_scores_as_expected(data_dir, version):
  mock = data_dir / 'xtreme_mock'
  expected = json.loads((mock / 'expected_scores.json').read_text())
  result = score_folder(mock / 'predictions', mock / 'labels', version)
  checked = []
  for task, wanted in expected.items():
    row = result['tasks'][task]
    if row['average'] is None:  # XTREME-R has languages that are not there
      assert version == 'xtreme-r'
      continue
    checked.append(task)
    got = {name: part['average'] for name, part in row['parts'].items()}
    if 'avg_exact_match' in wanted:
      assert got == pytest.approx(
        {name[4:]: value for name, value in wanted.items()}, abs=1e-9
      )
      assert row['average'] == pytest.approx(sum(wanted.values()) / 2, abs=1e-9)
      continue
    main, *others = wanted
    assert row['average'] == pytest.approx(wanted[main], abs=1e-9)
    assert got == pytest.approx(
      {PARTS[name]: wanted[name] for name in others}, abs=1e-9
    )
  if version == 'xtreme':
    assert sorted(checked) == sorted([*XTREME, 'mewslix'])
    tasks = result['tasks']
    assert list(tasks) == [*XTREME, 'mewslix']
    counts = {name: len(row['languages']) for name, row in tasks.items()}
    assert counts == dict(
      zip(tasks, (15, 7, 33, 40, 11, 7, 9, 4, 36, 11), strict=True)
    )
    # Mewsli-X is XTREME-R's, and counts in no average here.
    means = {name: tasks[name]['average'] for name in XTREME}
    assert result['overall'] == pytest.approx(sum(means.values()) / 9)
    assert result['groups'] == pytest.approx(
      {
        'classification': (means['pawsx'] + means['xnli']) / 2,
        'tagging': (means['udpos'] + means['panx']) / 2,
        'qa': (means['xquad'] + means['mlqa'] + means['tydiqa']) / 3,
        'retrieval': (means['bucc2018'] + means['tatoeba']) / 2,
      }
    )
    assert result['benchmark'] == 'xtreme'
    assert not result['missing']
  else:
    assert {'xnli', 'mewslix', 'mlqa', 'tydiqa'} < set(checked)
    assert result['overall'] is None
    assert len(result['missing']) == 2 + 2 + 2 * (5 + 8 + 1 + 5)
  assert not result['problems'] and not result['notes']
  json.dumps(result, allow_nan=False)


def test_the_mock_submission_has_no_problems(data_dir):
  mock = data_dir / 'xtreme_mock'
  assert check_folder(mock / 'predictions') == []
  assert check_folder(mock / 'predictions', labels=mock / 'labels') == []
  # Labels are predictions that are right, where their form is the same.
  for task in ('xnli', 'pawsx', 'udpos', 'panx', 'bucc2018', 'tatoeba'):
    result = score_folder(mock / 'labels', mock / 'labels', tasks=[task])
    assert set(result['tasks'][task]['languages'].values()) == {100}
    assert result['overall'] is None and not result['missing']


def test_questions_may_come_in_any_order(mock):
  predictions, labels = mock
  before = score_folder(predictions, labels, tasks=['mlqa'])
  for path in (predictions / 'mlqa').iterdir():
    found = json.loads(path.read_text())
    path.write_text(json.dumps(dict(reversed(found.items()))))
  assert score_folder(predictions, labels, tasks=['mlqa']) == before


def test_what_is_missing_is_listed_and_the_rest_scored(mock):
  predictions, labels = mock
  whole = score_folder(predictions, labels)
  (predictions / 'xnli' / 'test-sw.tsv').unlink()
  shutil.rmtree(predictions / 'tatoeba')
  (labels / 'mlqa' / 'test-de.json').unlink()
  shutil.rmtree(labels / 'pawsx')
  result = score_folder(predictions, labels)
  assert result['missing'] == [
    f'xnli sw: no predictions {predictions / "xnli" / "test-sw.tsv"}',
    f'pawsx: no labels; 7 files {labels / "pawsx" / "test-<language>.tsv"}',
    f'mlqa de: no labels {labels / "mlqa" / "test-de.json"}',
    'tatoeba: no predictions; 36 files '
    f'{predictions / "tatoeba" / "test-<language>.tsv"}',
  ]
  assert result['overall'] is None
  assert 'pawsx' not in result['tasks'] and 'tatoeba' not in result['tasks']
  xnli = result['tasks']['xnli']
  assert xnli['average'] is None and len(xnli['languages']) == 14
  mlqa = result['tasks']['mlqa']
  assert mlqa['average'] is None
  assert mlqa['parts']['f1']['average'] is None
  assert 'de' not in mlqa['parts']['f1']['languages']
  for task in ('udpos', 'panx', 'xquad', 'tydiqa', 'bucc2018'):
    assert result['tasks'][task] == whole['tasks'][task]
  assert result['groups'] == {
    'classification': None,
    'tagging': whole['groups']['tagging'],
    'qa': None,
    'retrieval': None,
  }
  # Before it is sent the same is seen of the submission.
  assert check_folder(predictions) == [
    line for line in result['missing'] if 'no predictions' in line
  ]


def test_folders_that_are_none(tmp_path):
  with pytest.raises(ValueError, match='predictions: .*nowhere is not a fold'):
    score_folder(tmp_path / 'nowhere', tmp_path)
  (tmp_path / 'p').mkdir()
  with pytest.raises(ValueError, match=r'no folder of any task .*test-ar\.tsv'):
    score_folder(tmp_path / 'p', tmp_path / 'p')
  with pytest.raises(
    ValueError, match="benchmark '2' is not one of xtreme, xtre"
  ):
    check_folder(tmp_path, '2')
  with pytest.raises(ValueError, match="xtreme has no task 'xcopa'"):
    check_folder(tmp_path, tasks=['xcopa'])


LABELS = {
  'pawsx': '0\n1\n1\n',
  'udpos': 'DET\nNOUN\n\nVERB\n',
  'tydiqa': json.dumps(
    {
      'data': [
        {
          'paragraphs': [
            {
              'qas': [
                {'id': 'q1', 'answers': [{'text': 'a cat'}, {'text': 'dog'}]},
                {'id': 'q2', 'answers': [{'text': 'two'}]},
              ]
            }
          ]
        }
      ]
    }
  ),
  'bucc2018': 'LANG-01\ten-07\nLANG-02\ten-05\n',
  'tatoeba': '2\n0\n1\n',
}


@pytest.mark.parametrize(
  'task, predictions, problem',
  [
    ('pawsx', '0\n1\n', r'test-de\.tsv: 2 lines, not 3'),
    ('pawsx', '0\n1\n1\n\n', r'test-de\.tsv: 4 lines, not 3'),
    ('pawsx', '', r'test-de\.tsv: 0 lines, not 3'),
    ('pawsx', '0\na\tb\t1\n1\n', r'test-de\.tsv:2: 3 columns'),
    ('udpos', 'DET\nNOUN\n', r'1 sentences of 2 tags, not 2 of 3'),
    ('udpos', 'DET\n\nVERB\nX\n', r'test-af\.tsv:1: 1 tags in sentence 0, not'),
    ('udpos', 'X\nX\n\nVERB\nX\n', r'test-af\.tsv:4: 2 tags in sentence 1'),
    ('udpos', 'the\tDET\nNOUN\n\nX\n', r'test-af\.tsv:1: 2 columns'),
    ('tydiqa', '{"q1": "cat",\n "q2": ', r'test-en\.json:2: not JSON .Exp'),
    ('tydiqa', '["cat"]', r'test-en\.json: not an object of id → a string'),
    ('tydiqa', '{"q1": ["cat"]}', r"'q1' has \['cat'\], not a string"),
    ('tydiqa', '{"q1": null}', r"'q1' has None, not a string"),
    ('tatoeba', '2\n0\n', r'test-ar\.tsv: 2 lines, not 3'),
  ],
)
def test_what_cannot_be_scored_is_said(tmp_path, task, predictions, problem):
  languages = table.find('xtreme')[task].languages
  result = score(tmp_path, task, predictions, LABELS[task])
  assert len(result['problems']) == len(languages)
  first = f'{task} {languages[0]}: '
  assert result['problems'][0].startswith(first)
  assert result['tasks'] == {} and not result['missing']
  assert re.search(problem, result['problems'][0])
  # The validator says the same, and of every language.
  found = check_folder(tmp_path / 'p', labels=tmp_path / 'l', tasks=[task])
  assert found == result['problems']


@pytest.mark.parametrize(
  'task, predictions, average, remark',
  [
    ('pawsx', '0\n0\nx\n', 100 / 3, '1 of 3 lines are none of 0, 1; .* line 3'),
    (
      'udpos',
      'DET\nNN\n\nVERB\n',
      200 * 2 / 6,
      "1 of 4 lines .*VERB, X; .* 2, 'NN'",
    ),
    ('tydiqa', '{"q1": "dog"}', 50, "1 of 2 ids have no answer .*'q2'"),
    (
      'tydiqa',
      '{"q1": "the dog", "q2": "2", "q3": ""}',
      50,
      "1 ids are not asked for, 'q3'",
    ),
    # Official: a blank line is a wrong pair. F1 2 / (2 + 2).
    ('bucc2018', 'LANG-01\ten-07\n\n', 50, 'line 2'),
    ('bucc2018', 'LANG-01\ten-07\n' * 2, 200 / 3, '1 pairs stand there again'),
    # The other way round, or half of it, it is a wrong pair as well.
    ('bucc2018', 'LANG-01\ten-07\nen-05\tLANG-02\n', 50, 'are no pair de-'),
    ('bucc2018', 'LANG-01\ten-07\nLANG-02\n', 50, "line 2, 'de-02'"),
    ('bucc2018', '', 0, 'no pairs'),
    ('tatoeba', '2\n00\n1\n', 200 / 3, "no number of a sentence; .*'00'"),
  ],
)
def test_what_looks_wrong_is_scored_and_noted(
  tmp_path, task, predictions, average, remark
):
  result = score(tmp_path, task, predictions, LABELS[task])
  assert not result['problems'] and not result['missing']
  assert result['tasks'][task]['average'] == pytest.approx(average)
  languages = table.find('xtreme')[task].languages
  assert len(result['notes']) == len(languages)
  assert re.search(remark, result['notes'][0])
  found = check_folder(tmp_path / 'p', labels=tmp_path / 'l', tasks=[task])
  assert found == result['notes']


def test_labels_that_are_none(tmp_path):
  blank = LABELS['tydiqa'].replace('a cat', '').replace('dog', '')
  blank = blank.replace('two', ' ')
  for task, predictions, labels in (
    ('tydiqa', '{}', blank),
    ('udpos', 'DET\nNOUN\n\nVERB\n', 'The\ncat\n\nsleeps\n'),
  ):
    result = score(tmp_path, task, predictions, labels)
    assert result['tasks'] == {}
    assert 'no labels in this file' in result['problems'][0]
  result = score(tmp_path, 'pawsx', '0\n', 'A man.\tA woman.\n')
  assert 'without the sentences' in result['problems'][0]
  result = score(tmp_path, 'tydiqa', '{}', '{"data": [{"title": "a"}]}')
  assert "not SQuAD's JSON" in result['problems'][0]
  result = score(tmp_path, 'bucc2018', 'de-1\ten-1\n', 'de-1 en-1\n')
  assert 'test-de.tsv:1: 1 columns' in result['problems'][0]


def test_blank_lines_between_sentences_count_as_in_the_script(tmp_path):
  path = tmp_path / 'tags.tsv'
  for text, sentences in (
    ('A\nB\n\nC', [['A', 'B'], ['C']]),
    ('A\n\nB\n\n', [['A'], ['B']]),
    ('A\n\n\nB\n', [['A'], [], ['B']]),
    ('\nA\n', [[], ['A']]),
    ('A\r\n \r\nB\r\n', [['A'], ['B']]),
    ('', []),
  ):
    path.write_bytes(text.encode())
    assert xtreme_forms.read_tags(path) == sentences


def test_xtreme_r(tmp_path):
  """What only XTREME-R has: choices, and rankings."""
  rows = [{'idx': i, 'label': i % 2} for i in range(4)]
  lines = lambda rows: ''.join(json.dumps(row) + '\n' for row in rows)
  right = lines(rows)
  guess = lines([{'label': 0} for _ in rows])
  result = score(tmp_path, 'xcopa', guess, right, 'xtreme-r')
  assert result['tasks']['xcopa']['average'] == 50
  assert result['groups'] == {'classification': None, 'multi_choice': 50}
  check = lambda task: check_folder(
    tmp_path / 'p', 'xtreme-r', labels=tmp_path / 'l', tasks=[task]
  )
  assert check('xcopa') == []
  for wrong, problem in (
    ([{'label': '1'}] * 4, "1: the label is '1', no number"),
    ([{'idx': 3, 'label': 1}] * 4, 'et.jsonl:1: idx 3 out of order'),
    ([{'label': 2}] * 4, '4 of 4 lines are neither 0 nor 1'),
    ([{'label': 1}] * 3, '3 lines, not 4'),
    ([{'idx': 1}] * 4, 'et.jsonl:1: a line is an object with a label'),
  ):
    write(tmp_path / 'p', 'xcopa', lines(wrong), 'xtreme-r')
    assert problem in check('xcopa')[0]
  # One right entity: 1 / rank. Nobody answered m3.
  gold = json.dumps({'m1': ['Q1'], 'm2': ['Q2 '], 'm3': ['Q3']})
  guess = json.dumps({'m1': ['Q9', 'Q1'], 'm2': ['Q2', 'Q2']})
  result = score(tmp_path, 'mewslix', guess, gold, 'xtreme-r')
  assert result['tasks']['mewslix']['average'] == pytest.approx(50)
  assert 'have no answer' in result['notes'][0]
  gold = json.dumps({'q1': ['a', 'b'], 'q2': ['c']})
  guess = json.dumps({'q1': ['b', 'x', 'a'], 'q2': ['c']})
  result = score(tmp_path, 'lareqa', guess, gold, 'xtreme-r')
  assert result['tasks']['lareqa']['average'] == pytest.approx(
    100 * ((1 + 2 / 3) / 2 + 1) / 2
  )
  write(tmp_path / 'p', 'lareqa', '{"q1": "b"}', 'xtreme-r')
  assert "'q1' has 'b', not a list of strings" in check('lareqa')[0]


def test_check_by_the_test_files_alone(tmp_path):
  """Without labels: what evaluate has read says what is expected."""
  texts = {
    'xnli': 'neutral\nentailment\n',
    'udpos': LABELS['udpos'],
    'tydiqa': '{"q1": "", "q2": "x"}',
    'bucc2018': LABELS['bucc2018'],
    'tatoeba': LABELS['tatoeba'],
  }
  for task, text in texts.items():
    write(tmp_path, task, text)
  tasks = list(texts)
  check = lambda **expected: check_folder(
    tmp_path,
    tasks=tasks,
    expected={task: {'de': value} for task, value in expected.items()},
  )
  assert check() == []
  assert check(xnli=2, udpos=[2, 1], tatoeba=3) == []
  assert '2 lines, not 5010' in check(xnli=5010)[0]
  assert '2 sentences of 3 tags, not 3 of 4' in check(udpos=[2, 1, 1])[0]
  assert '2 tags in sentence 0, not 1' in check(udpos=[1, 2])[0]
  (tmp_path / 'tatoeba' / 'test-de.tsv').write_text('2\n3\n1\n')
  assert check() == []
  assert "are not below 3; the first is line 2, '3'" in check(tatoeba=3)[0]
  found = check_folder(
    tmp_path, tasks=tasks, expected={'tydiqa': {'en': ['q1', 'q2', 'q4']}}
  )
  assert len(found) == 1 and "'q4' for one" in found[0]
  # A complete submission has every task and language.
  (tmp_path / 'tydiqa' / 'test-te.json').unlink()
  missing = check_folder(tmp_path)
  assert [line.split(':')[0] for line in missing] == [
    'pawsx',
    'panx',
    'xquad',
    'mlqa',
    'tydiqa te',
  ]


def test_files_that_cannot_be_read(tmp_path):
  write(tmp_path / 'l', 'tydiqa', LABELS['tydiqa'])
  write(tmp_path / 'p', 'tydiqa', '{"q1": "dog", "q2": "two"}')
  german = tmp_path / 'p' / 'tydiqa' / 'test-en.json'
  german.write_bytes('{"q1": "Käse"}'.encode('latin-1'))
  bom = tmp_path / 'p' / 'tydiqa' / 'test-te.json'
  bom.write_bytes(b'\xef\xbb\xbf' + bom.read_bytes())
  result = score_folder(tmp_path / 'p', tmp_path / 'l', tasks=['tydiqa'])
  assert len(result['problems']) == 1
  assert 'test-en.json:1: byte 0xe4 is not UTF-8' in result['problems'][0]
  row = result['tasks']['tydiqa']
  assert row['average'] is None and row['languages']['te'] == 100
  write(tmp_path / 'l', 'pawsx', '0\n')
  write(tmp_path / 'p', 'pawsx', '0\n')
  (tmp_path / 'p' / 'pawsx' / 'test-de.tsv').write_bytes(b'\xff\n')
  found = check_folder(tmp_path / 'p', tasks=['pawsx'])
  assert len(found) == 1 and 'test-de.tsv:1: byte 0' in found[0]


def test_folder_scores_are_the_metrics_of_what_was_written(tmp_path):
  """Random tags and answers, written, read and scored language by language."""
  draw = random.Random(3)
  names = table.find('xtreme')['udpos'].labels
  languages = table.find('xtreme')['udpos'].languages
  expected = {}
  for folder in ('p', 'l'):
    (tmp_path / folder / 'udpos').mkdir(parents=True)
  for language in languages:
    gold = [
      [draw.choice(names) for _ in range(draw.randint(1, 6))] for _ in range(20)
    ]
    guess = [
      [t if draw.random() < 0.7 else draw.choice(names) for t in tags]
      for tags in gold
    ]
    expected[language] = scores.span_f1(guess, gold)
    for folder, sentences in (('p', guess), ('l', gold)):
      text = '\n\n'.join('\n'.join(tags) for tags in sentences)
      path = tmp_path / folder / 'udpos' / f'test-{language}.tsv'
      path.write_text(text)
  result = score_folder(tmp_path / 'p', tmp_path / 'l', tasks=['udpos'])
  row = result['tasks']['udpos']
  assert row['languages'] == expected
  assert row['average'] == scores.mean(list(expected.values()))
