"""Submissions to CLUE: real labels score 100, and what is wrong is said."""

import json
import random
import zipfile

import pytest

from xlmr_jax.data import files
from xlmr_jax.eval.benchmarks import table
from xlmr_jax.eval.submissions import clue_forms

TASKS = {
  version: table.find(version).submission.tasks
  for version in ('clue', 'clue1.0', 'fewclue')
}
REAL = {  # rows of the dev files
  'afqmc': 4316,
  'ocnli': 3000,
  'cmrc2018': 3219,
  'drcd': 3524,
  'c3': 3816,
  'cluener': 1343,
}
FEW = {  # of test_public
  'eprstmt': 610,
  'csldcp': 1784,
  'tnews': 2010,
  'iflytek': 1749,
  'ocnli': 2520,
  'bustm': 1772,
  'chid': 2002,
  'csl': 2838,
  'cluewsc': 976,
}


def score_folder(predictions, labels, version='xtreme', **options):
  return table.find(version).score(predictions, labels, **options)


def check_folder(path, version='xtreme', **options):
  return table.find(version).submission.check(path, **options)


def write(path, version, predictions):
  return table.find(version).submission.write_all(path, predictions)


def right(folder, version, name, split):
  """Labels as predictions; where there is none any will do."""
  task = TASKS[version][name]
  rows = clue_forms.gold(task.paths(folder, split), task)
  if task.form == 'answers':
    return {row.id: row.label[-1] for row in rows}
  return ['neutral' if row.label is None else row.label for row in rows]


@pytest.fixture(scope='module')
def predicted(data_dir):
  """Task → right predictions of the real dev files."""
  return {n: right(data_dir / 'clue', 'clue', n, 'dev') for n in REAL}


@pytest.mark.parametrize('kind', ['folder', 'sub.zip'])
def test_real_labels_score_100(data_dir, tmp_path, predicted, kind):
  assert {name: len(found) for name, found in predicted.items()} == REAL
  path = write(tmp_path / kind, 'clue', predicted)
  result = score_folder(path, data_dir / 'clue', 'clue')
  assert set(result['tasks']) == set(REAL)
  for row in result['tasks'].values():
    assert row['languages'] == {'zh': 100} and row['average'] == 100
    for part in row['parts'].values():
      assert part == {'languages': {'zh': 100}, 'average': 100}
  assert set(result['tasks']['cmrc2018']['parts']) == {'f1', 'average'}
  assert 'span_f1' in result['tasks']['cluener']['parts']
  assert not result['problems']
  ocnli = data_dir / 'clue' / 'ocnli' / 'dev.json'
  assert result['notes'] == [
    f'ocnli: {ocnli}: 50 of 3000 rows have no label and are not scored'
  ]
  absent = 'tnews iflytek cluewsc2020 csl chid'.split()
  assert [text.split(':')[0] for text in result['missing']] == absent
  assert result['overall'] is None
  assert result['groups'] == {'classification': None, 'reading': None}
  problems = check_folder(path, 'clue', labels=data_dir / 'clue')
  assert problems == result['missing']
  only = check_folder(path, 'clue', tasks=list(REAL))
  assert only == []
  json.dumps(result, allow_nan=False)


def test_dialogues_of_c3_come_first(data_dir, predicted):
  home, indices = data_dir / 'clue' / 'c3', []
  for part in 'dm':
    for _, asked, _ in json.loads((home / f'c3-{part}-dev.json').read_text()):
      indices += [one['choice'].index(one['answer']) for one in asked]
  assert predicted['c3'] == indices


def test_wrong_labels_score_what_they_should(data_dir, tmp_path, predicted):
  draw = random.Random(0)
  swap = {'0': '1', '1': '0'}
  spoiled = [
    swap[label] if draw.random() < 0.3 else label
    for label in predicted['afqmc']
  ]
  same = sum(map(str.__eq__, spoiled, predicted['afqmc']))
  answers = dict(predicted['cmrc2018'])
  for name in list(answers)[:100]:
    del answers[name]
  for name in list(answers)[:200]:
    answers[name] = '！'
  path = write(tmp_path / 's', 'clue', {'afqmc': spoiled, 'cmrc2018': answers})
  labels = data_dir / 'clue'
  result = score_folder(path, labels, 'clue', tasks=['afqmc', 'cmrc2018'])
  assert result['tasks']['afqmc']['average'] == pytest.approx(100 * same / 4316)
  assert result['tasks']['cmrc2018']['average'] == pytest.approx(
    100 * (3219 - 300) / 3219
  )
  assert '100 of 3219 questions have no answer and score 0' in str(
    result['notes']
  )
  assert not result['missing']


def test_real_labels_of_fewclue_score_100(data_dir, tmp_path):
  few = data_dir / 'fewclue'
  found = {n: right(few, 'fewclue', n, 'test_public') for n in FEW}
  assert {name: len(labels) for name, labels in found.items()} == FEW
  path = write(tmp_path / 'few.zip', 'fewclue', found)
  with zipfile.ZipFile(path) as packed:
    assert sorted(packed.namelist()) == [
      f'{name}_predict.json'
      for name in (
        'bustm chidf cluewscf csldcp cslf eprstmt iflytekf ocnlif tnewsf'
      ).split()
    ]
    assert packed.read('chidf_predict.json').startswith(b'{"id": 0, "answer": ')
    assert packed.read('tnewsf_predict.json').startswith(
      b'{"id": 0, "label": "100"}\n'
    )
  result = score_folder(path, few, 'fewclue')
  assert {
    n: row['average'] for n, row in result['tasks'].items()
  } == dict.fromkeys(FEW, 100)
  assert result['overall'] == 100 and result['groups'] == {}
  assert not result['missing'] and not result['problems']
  assert check_folder(path, 'fewclue', labels=few) == []
  # By their own ids, of which CSLDCP has some twice.
  task = TASKS['fewclue']['csldcp']
  rows = clue_forms.gold(task.paths(few, 'test_public'), task)
  assert len({row.id for row in rows}) < len(rows)
  lines = [json.dumps({'id': int(r.id), 'label': r.label}) for r in rows]
  (tmp_path / 'own').mkdir()
  (tmp_path / 'own' / task.name).write_text('\n'.join(lines))
  result = score_folder(tmp_path / 'own', few, 'fewclue')
  assert result['tasks']['csldcp']['average'] == 100


def test_somebodys_predictions_of_cluener(data_dir, tmp_path):
  """The example in CLUENER's zip: a misspelt type, and lines of no JSON."""
  example = data_dir / 'clue' / 'cluener' / 'cluener_predict.json'
  folder = tmp_path / 'p'
  folder.mkdir()
  path = folder / 'cluener_predict.json'
  path.write_bytes(example.read_bytes())
  assert check_folder(folder, 'clue', tasks=['cluener']) == [
    f'cluener: {path}:5: not JSON (Expecting property name enclosed in double '
    'quotes at character 20)'
  ]
  path.write_bytes(b''.join(example.read_bytes().splitlines(True)[:4]))
  (problem,) = check_folder(folder, 'clue', tasks=['cluener'])
  assert '1 of 4 labels name types that are none of address, book' in problem
  assert f'{path}:2' in problem and 'goverment' in problem
  (problem,) = check_folder(
    folder, 'clue', tasks=['cluener'], expected={'cluener': 1345}
  )
  assert '4 lines, not 1345, one for each row; id 4 is missing' in problem


# Small labels of every task, for what is wrong.


def lines(path, rows):
  path.parent.mkdir(parents=True, exist_ok=True)
  text = ''.join(json.dumps(row, ensure_ascii=False) + '\n' for row in rows)
  path.write_text(text, encoding='utf-8')


SMALL = {
  'afqmc': ['0', '1', '1', '0'],
  'tnews': ['100', '116'],
  'iflytek': ['0', '118'],
  'cmnli': ['neutral', 'entailment'],
  'ocnli': ['neutral', 'contradiction'],
  'cluewsc2020': ['true', 'false'],
  'csl': ['1', '0'],
  'cmrc2018': {'Q0': '北京', 'Q1': '上海'},
  'chid': {'#idiom000001#': 3, '#idiom000002#': 0},
  'c3': [1, 0, 3],
  'cluener': [{'name': {'李明': [[0, 1]]}}, {}],
}


@pytest.fixture
def small(tmp_path):
  """(labels, predictions that are right as a zip), of SMALL."""
  labels = tmp_path / 'labels'
  for name in ('afqmc', 'tnews', 'iflytek', 'cmnli', 'ocnli', 'csl'):
    rows = [{'label': label, 'sentence': '。'} for label in SMALL[name]]
    lines(labels / f'{name}_public' / 'dev.json', rows)
  lines(
    labels / 'cluewsc2020_public' / 'dev.json',
    [{'idx': 7, 'label': 'true'}, {'idx': 3, 'label': 'false'}],
  )
  lines(
    labels / 'cluener_public' / 'dev.json',
    [
      {'text': '李明来', 'label': SMALL['cluener'][0]},
      {'text': '他', 'label': {}},
    ],
  )
  cmrc = [
    {
      'context_text': '北京上海',
      'qas': [
        {'query_id': name, 'answers': [text, '他']}
        for name, text in SMALL['cmrc2018'].items()
      ],
    }
  ]
  lines(labels / 'cmrc2018_public' / 'dev.json', [cmrc])
  lines(labels / 'chid_public' / 'dev_answer.json', [SMALL['chid']])
  ask = lambda *rights: [
    {'question': '？', 'choice': list('甲乙丙丁'), 'answer': '甲乙丙丁'[right]}
    for right in rights
  ]
  lines(labels / 'c3_public' / 'd-dev.json', [[[['。'], ask(1), 'a']]])
  lines(labels / 'c3_public' / 'm-dev.json', [[[['。'], ask(0, 3), 'b']]])
  return labels, write(tmp_path / 'p.zip', 'clue', SMALL)


def unpacked(path, folder):
  with zipfile.ZipFile(path) as packed:
    packed.extractall(folder)
  return folder


def test_means_are_the_leaderboards(small, tmp_path):
  labels, path = small
  result = score_folder(path, labels, 'clue')
  assert result['groups'] == {'classification': 100, 'reading': 100}
  assert result['overall'] == 100
  assert not result['missing'] + result['problems'] + result['notes']
  assert check_folder(path, 'clue', labels=labels) == []
  spoiled = {
    **SMALL,
    'afqmc': ['1', '1', '1', '0'],  # 75
    'ocnli': ['entailment'] * 2,  # 0
    'cmnli': ['entailment'] * 2,  # 50
    'cmrc2018': {'Q0': '北京市', 'Q1': '上海'},  # EM 50, F1 90
    'cluener': [{}, {}],
  }
  for version, nli in (('clue', 0), ('clue1.0', 50)):
    part = write(tmp_path / version, version, spoiled)
    result = score_folder(part, labels, version)
    averages = {n: row['average'] for n, row in result['tasks'].items()}
    assert averages['afqmc'] == 75 and averages['cmrc2018'] == 50
    cmrc = result['tasks']['cmrc2018']['parts']
    assert cmrc['f1']['average'] == pytest.approx(90)
    assert result['groups'] == pytest.approx(
      {'classification': (75 + 400 + nli) / 6, 'reading': 250 / 3}
    )
    # Of nine; CLUENER and the other NLI count in no mean.
    assert result['overall'] == pytest.approx((75 + 400 + nli + 250) / 9)
    assert averages['cluener'] == 0


def test_names_are_those_of_the_version(tmp_path):
  names = {}
  for version in ('clue', 'clue1.0'):
    path = write(tmp_path / f'{version}.zip', version, SMALL)
    with zipfile.ZipFile(path) as packed:
      names[version] = sorted(packed.namelist())
      assert packed.testzip() is None
  four = ('c3', 'chid', 'cluewsc', 'tnews')
  old = {f'{name}10_predict.json' for name in four}
  new = {f'{name}11_predict.json' for name in four}
  both = {f'{n}_predict.json' for n in ('afqmc', 'cmnli', 'cmrc2018', 'csl')}
  both |= {'cluener_predict.json', 'iflytek_predict.json'}
  both |= {'ocnli_50k_predict.json'}
  assert set(names['clue']) == both | new
  assert set(names['clue1.0']) == both | old


def test_files_as_the_leaderboard_takes_them(small, tmp_path):
  folder = unpacked(small[1], tmp_path / 'p')
  text = lambda name: (folder / f'{name}_predict.json').read_text('utf-8')
  assert text('afqmc').splitlines()[:2] == [
    '{"id": 0, "label": "0"}',
    '{"id": 1, "label": "1"}',
  ]
  assert text('c311') == (
    '{"id": 0, "label": 1}\n{"id": 1, "label": 0}\n{"id": 2, "label": 3}\n'
  )
  assert json.loads(text('chid11')) == SMALL['chid']
  assert json.loads(text('cmrc2018')) == SMALL['cmrc2018']
  assert '北京' in text('cmrc2018')
  assert text('cluener').splitlines()[0] == (
    '{"id": 0, "label": {"name": {"李明": [[0, 1]]}}}'
  )


def test_equal_predictions_make_equal_zips(small, tmp_path):
  again = write(tmp_path / 'again.zip', 'clue', SMALL)
  assert again.read_bytes() == small[1].read_bytes()


@pytest.mark.parametrize('kind', ['sub', 'sub.zip'])
def test_written_whole_or_not_at_all(tmp_path, kind):
  path = write(tmp_path / kind, 'clue', SMALL)
  before = unpacked(path, tmp_path / 'x') if path.is_file() else path
  held = {f.name: f.read_bytes() for f in before.iterdir()}
  with pytest.raises(ValueError, match="csl, id 1: '2' is not of 0, 1"):
    write(path, 'clue', {'afqmc': ['1'], 'csl': ['0', '2']})
  after = unpacked(path, tmp_path / 'y') if path.is_file() else path
  assert {f.name: f.read_bytes() for f in after.iterdir()} == held
  assert not [f for f in tmp_path.iterdir() if f.name.startswith('.')]
  # What was there is replaced by less.
  write(path, 'clue', {'csl': ['0']})
  last = unpacked(path, tmp_path / 'z') if path.is_file() else path
  assert [f.name for f in last.iterdir()] == ['csl_predict.json']


def test_nothing_of_somebody_else_is_replaced(tmp_path):
  (tmp_path / 'notes.txt').write_text('mine')
  with pytest.raises(ValueError, match='something else in it, notes.txt'):
    write(tmp_path, 'clue', {'csl': ['0']})
  assert (tmp_path / 'notes.txt').read_text() == 'mine'
  with pytest.raises(ValueError, match="clue has no task 'wsc'"):
    write(tmp_path / 'a', 'clue', {'wsc': ['true']})
  with pytest.raises(ValueError, match="'clue2' is not one of xtreme, "):
    write(tmp_path / 'a', 'clue2', {})
  with pytest.raises(ValueError, match='predictions are {id: answer}'):
    write(tmp_path / 'a', 'clue', {'chid': [1]})
  with pytest.raises(ValueError, match='there are no predictions'):
    write(tmp_path / 'a', 'clue', {'csl': []})
  with pytest.raises(ValueError, match="'goverment'"):
    bad = {'cluener': [{'goverment': {'a': [[0, 0]]}}]}
    write(tmp_path / 'a', 'clue', bad)
  with pytest.raises(ValueError, match='id Q1: None is not of a text'):
    write(tmp_path / 'a', 'clue', {'drcd': {'Q1': None}})
  assert not (tmp_path / 'a').exists()


ROW = '{{"id": {}, "label": "{}"}}\n'.format

# What is written into a file → what check says of it (and score, too, where
# the last is True: then the task is not scored).
WRONG = {
  'too few': (
    'afqmc_predict.json',
    ROW(0, 0) + ROW(1, 1) + ROW(2, 1),
    'afqmc: {}: 3 lines, not 4, one for each row; id 3 is missing',
    True,
  ),
  'one left out': (
    'afqmc_predict.json',
    ROW(0, 0) + ROW(1, 1) + ROW(3, 1),
    'afqmc: {}: 3 lines, not 4, one for each row; id 2 is missing',
    True,
  ),
  'too many': (
    'afqmc_predict.json',
    ''.join(ROW(i, 0) for i in range(5)),
    'afqmc: {}: 5 lines, not 4, one for each row',
    True,
  ),
  'twice': (
    'afqmc_predict.json',
    ROW(0, 0) + ROW(1, 1) + ROW(1, 1) + ROW(3, 1),
    'afqmc: {0}:3: id 1 stands at {0}:2 already; each row is there once',
    True,
  ),
  'another order': (
    'afqmc_predict.json',
    ROW(0, 0) + ROW(2, 1) + ROW(1, 1) + ROW(3, 0),
    'afqmc: {}:2: id 2 where row 1 belongs; write the rows in the order of the '
    'file that was predicted',
    True,
  ),
  'unknown label': (
    'afqmc_predict.json',
    ROW(0, 0) + ROW(1, 1) + ROW(2, 'yes') + ROW(3, 0),
    "afqmc: {0}: 1 of 4 labels are none of 0, 1; the first is {0}:3, 'yes'",
    False,
  ),
  'numbers': (
    'afqmc_predict.json',
    ''.join(
      f'{{"id": {i}, "label": {label}}}\n'
      for i, label in enumerate((0, 1, 1, 0))
    ),  # fmt: skip
    'afqmc: {0}: 4 of 4 labels are numbers; the leaderboard compares texts, '
    '"0"; the first is {0}:1, 0',
    False,
  ),
  'a boolean': (
    'cluewsc11_predict.json',
    '{"id": 0, "label": true}\n',
    'cluewsc2020: {}:1: the label is True, not a text',
    True,
  ),
  'other keys': (
    'afqmc_predict.json',
    '{"idx": 0, "label": "1"}\n',
    'afqmc: {}:1: the line has the keys idx, label; it should be {{"id": 0, '
    '"label": ...}}',
    True,
  ),
  'one JSON list': (
    'afqmc_predict.json',
    '["0", "1"]\n',
    'afqmc: {}:1: not a JSON object',
    True,
  ),
  'broken': (
    'csl_predict.json',
    '{"id": 0, "label": "1"\n',
    "csl: {}:1: not JSON (Expecting ',' delimiter at character 22)",
    True,
  ),
  'empty': ('csl_predict.json', '', 'csl: {}: the file is empty', True),
  'no answer': (
    'cmrc2018_predict.json',
    '{"Q0": "北京"}',
    "cmrc2018: {}: 1 of 2 questions have no answer and score 0, 'Q1' for one",
    False,
  ),
  'nobody asked': (
    'cmrc2018_predict.json',
    '{"Q0": "北京", "Q1": "上海", "Q2": ""}',
    "cmrc2018: {}: 1 ids are not asked for, 'Q2' for one",
    False,
  ),
  'answered twice': (
    'cmrc2018_predict.json',
    '{"Q0": "北京", "Q1": "上海", "Q0": "他"}',
    "cmrc2018: {0}, 'Q0': id Q0 stands at {0}, 'Q0' already; each row is there "
    'once',
    True,
  ),
  'a list of answers': (
    'cmrc2018_predict.json',
    '{"Q0": ["北京"], "Q1": "上海"}',
    "cmrc2018: {}: 'Q0' has ['北京'], no answer",
    True,
  ),
  'a blank left': (
    'chid11_predict.json',
    '{"#idiom000001#": 3}',
    'chid: {}: 1 of 2 blanks have no answer, #idiom000002# for one',
    True,
  ),
  'an eleventh idiom': (
    'chid11_predict.json',
    '{"#idiom000001#": 3, "#idiom000002#": 10}',
    'chid: {0}: 1 of 2 labels are none of 0, 1, 2, 3, 4, 5, 6, 7, 8, 9; the '
    "first is {0}, '#idiom000002#', 10",
    False,
  ),
  'exclusive ends': (
    'cluener_predict.json',
    '{"id": 0, "label": {"name": {"李明": [[0, 2]]}}}\n',
    "cluener: {}:1: '李明' has 2 characters, not those from 0 to 2: the last "
    'one counts too',
    True,
  ),
  'no spans': (
    'cluener_predict.json',
    '{"id": 0, "label": ["O", "O"]}\n',
    'cluener: {}:1: the label is no object {{type: {{surface: [[first, last], '
    '...]}}}}',
    True,
  ),
  'not there': (
    'cluener_predict.json',
    '{"id": 0, "label": {"name": {"李明": [[1, 2]]}}}\n{"id": 1, "label": {}}',
    'cluener: {0}: 1 of 2 labels name what does not stand there in the text; '
    "the first is {0}:1, {{'name': {{'李明': [[1, 2]]}}}}",
    False,
  ),
}


@pytest.mark.parametrize('case', WRONG)
@pytest.mark.parametrize('packed', [False, True])
def test_what_is_wrong_is_said(small, tmp_path, case, packed):
  labels, path = small
  name, text, message, fatal = WRONG[case]
  folder = unpacked(path, tmp_path / 'p')
  (folder / name).write_text(text, encoding='utf-8')
  if packed:
    with zipfile.ZipFile(tmp_path / 'q.zip', 'w') as out:
      for file in folder.iterdir():
        out.write(file, file.name)
    folder = tmp_path / 'q.zip'
  message = message.format(folder / name)
  assert check_folder(folder, 'clue', labels=labels) == [message]
  result = score_folder(folder, labels, 'clue')
  assert result['problems' if fatal else 'notes'] == [message]
  assert not result['notes' if fatal else 'problems']
  assert (message.split(':')[0] in result['tasks']) != fatal


def test_all_problems_are_listed(small, tmp_path):
  labels, path = small
  folder = unpacked(path, tmp_path / 'p')
  for name, text, *_ in (WRONG[c] for c in ('twice', 'broken', 'a blank left')):
    (folder / name).write_text(text, encoding='utf-8')
  (folder / 'iflytek_predict.json').unlink()
  found = check_folder(folder, 'clue', labels=labels)
  assert [text.split(':')[0] for text in found] == [
    'afqmc',
    'iflytek',
    'csl',
    'chid',
  ]
  result = score_folder(folder, labels, 'clue')
  assert len(result['problems']) == 3 and len(result['missing']) == 1
  assert result['groups'] == {'classification': None, 'reading': None}


@pytest.mark.parametrize('packed', [False, True])
def test_a_file_in_gbk_is_named(small, tmp_path, packed):
  labels, path = small
  folder = unpacked(path, tmp_path / 'p')
  text = '{"Q0": "北京", "Q1": "上海"}'
  (folder / 'cmrc2018_predict.json').write_bytes(text.encode('gbk'))
  if packed:
    with zipfile.ZipFile(tmp_path / 'q.zip', 'w') as out:
      for file in folder.iterdir():
        out.write(file, file.name)
    folder = tmp_path / 'q.zip'
  (found,) = check_folder(folder, 'clue', labels=labels)
  assert found.startswith(f'cmrc2018: {folder / "cmrc2018_predict.json"}:1: ')
  assert 'it is in GBK, so iconv -f GBK -t UTF-8' in found


def test_names_of_another_version(small, tmp_path):
  labels, _ = small
  path = write(tmp_path / 'old', 'clue1.0', SMALL)
  (path / 'afqmc_predict.json').rename(path / 'AFQMC.json')
  found = check_folder(path, 'clue', labels=labels)
  assert found == [
    f'afqmc: no file afqmc_predict.json in {path}',
    *(
      f'{task}: no file {name}11_predict.json in {path}; '
      f'{name}10_predict.json is another name: call it {name}11_predict.json'
      for task, name in (
        ('tnews', 'tnews'),
        ('cluewsc2020', 'cluewsc'),
        ('chid', 'chid'),
        ('c3', 'c3'),
      )
    ),
    f'{path}: AFQMC.json is no file of a submission',
  ]
  result = score_folder(path, labels, 'clue')
  assert [*result['missing'], *result['notes']] == found


def test_zips_that_are_wrong(small, tmp_path):
  labels, path = small
  deep = tmp_path / 'deep.zip'
  folder = unpacked(path, tmp_path / 'p')
  with zipfile.ZipFile(deep, 'w') as out:
    for file in folder.iterdir():
      out.write(file, f'sub/{file.name}')
    out.writestr('__MACOSX/sub/._afqmc_predict.json', b'\0')
  (found,) = check_folder(deep, 'clue', labels=labels)
  assert 'stands in a folder of the zip, not at its top' in found
  assert score_folder(deep, labels, 'clue')['overall'] == 100
  with zipfile.ZipFile(deep, 'a') as out:
    out.writestr('csl_predict.json', b'{}')
  with pytest.raises(ValueError, match='csl_predict.json is there twice'):
    check_folder(deep, 'clue')
  cut = tmp_path / 'cut.zip'
  cut.write_bytes(path.read_bytes()[:-30])
  with pytest.raises(ValueError, match='cut.zip: a damaged zip'):
    score_folder(cut, labels, 'clue')
  empty = tmp_path / 'empty.zip'
  with zipfile.ZipFile(empty, 'w') as out:
    out.writestr('a.txt', b'')
  with pytest.raises(ValueError, match='no file of any task of clue; they are'):
    score_folder(empty, labels, 'clue')
  with pytest.raises(ValueError, match='neither a folder nor a zip'):
    score_folder(tmp_path / 'none', labels, 'clue')
  with pytest.raises(ValueError, match='is no .zip'):
    score_folder(folder / 'csl_predict.json', labels, 'clue')
  with pytest.raises(ValueError, match='labels: .*none is not a folder'):
    score_folder(path, tmp_path / 'none', 'clue')
  with pytest.raises(ValueError, match="clue has no task 'udpos'"):
    score_folder(path, labels, 'clue', tasks=['udpos'])


def test_labels_that_are_missing_or_none(small, tmp_path):
  labels, path = small
  (labels / 'csl_public' / 'dev.json').unlink()
  (labels / 'c3_public' / 'm-dev.json').unlink()
  (labels / 'cluener_public' / 'dev.json').unlink()
  lines(labels / 'afqmc_public' / 'dev.json', [{'sentence1': '。'}] * 4)
  (labels / 'cmrc2018_public' / 'dev.json').write_text('{"data": [1]}')
  result = score_folder(path, labels, 'clue')
  csl, c3 = result['missing']
  assert csl.startswith('csl: no labels of csl, dev; looked for')
  assert c3 == (
    f'c3: {labels}: not all labels of c3, dev, which are d-dev.json and '
    'm-dev.json'
  )
  afqmc, cmrc = result['problems']
  assert 'no labels in this file, which looks like a published test' in afqmc
  assert "neither CMRC's form" in cmrc and 'question 0 is not found' in cmrc
  (note,) = result['notes']  # no mean counts it
  assert note.startswith('cluener: no labels of cluener, dev')
  with pytest.raises(files.Missing):
    TASKS['clue']['csl'].paths(labels, 'dev')


def test_rows_without_a_label_may_be_left_out(small, tmp_path):
  labels, _ = small
  rows = ['neutral', '-', 'entailment', 'neutral']
  lines(
    labels / 'ocnli_public' / 'dev.json',
    [{'id': i, 'label': label} for i, label in enumerate(rows)],
  )
  whole = ['neutral', 'neutral', 'entailment', 'entailment']
  for name, found in (
    ('all', whole),
    ('some', {0: 'neutral', 2: 'entailment', 3: 'entailment'}),
  ):
    path = write(tmp_path / name, 'clue', {'ocnli': found})
    result = score_folder(path, labels, 'clue', tasks=['ocnli'])
    assert result['tasks']['ocnli']['average'] == pytest.approx(200 / 3)
    assert '1 of 4 rows have no label' in str(result['notes'])
  # Three rows that are not those three.
  bad = write(tmp_path / 'bad', 'clue', {'ocnli': whole[:3]})
  result = score_folder(bad, labels, 'clue', tasks=['ocnli'])
  assert '3 lines, not 4, one for each row; id 3' in str(result['problems'])


def test_rows_by_their_own_ids(small, tmp_path):
  labels, _ = small
  own = {7: 'true', 3: 'true'}
  path = write(tmp_path / 'a', 'clue', {'cluewsc2020': own})
  result = score_folder(path, labels, 'clue', tasks=['cluewsc2020'])
  assert result['tasks']['cluewsc2020']['average'] == 50
  own = {3: 'true', 7: 'true'}
  path = write(tmp_path / 'b', 'clue', {'cluewsc2020': own})
  result = score_folder(path, labels, 'clue', tasks=['cluewsc2020'])
  assert 'id 3 where row 7 belongs' in str(result['problems'])


def test_what_a_test_file_asks_for(small):
  _, path = small
  expected = {'afqmc': 4, 'cmrc2018': ['Q0', 'Q1'], 'chid': ['#idiom000001#']}
  assert check_folder(path, 'clue', expected={**expected, 'chid': []}) == [
    f'chid: {path / "chid11_predict.json"}: 2 ids are not asked for, '
    "'#idiom000001#' for one"
  ]
  expected = {'afqmc': 5, 'cmrc2018': ['Q0', 'Q2']}
  found = check_folder(path, 'clue', expected=expected)
  assert found == [
    f'afqmc: {path / "afqmc_predict.json"}: 4 lines, not 5, one for each row; '
    'id 4 is missing',
    f'cmrc2018: {path / "cmrc2018_predict.json"}: 1 of 2 questions have no '
    "answer and score 0, 'Q2' for one",
    f'cmrc2018: {path / "cmrc2018_predict.json"}: 1 ids are not asked for, '
    "'Q1' for one",
  ]
