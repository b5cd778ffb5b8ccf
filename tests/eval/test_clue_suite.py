"""CLUE in one command: from files to the leaderboard's zip, and its recipes."""

import collections
import gzip
import json
import pathlib
import shutil
import types
import zipfile

import numpy as np
import pytest
from tiny_runs import SIZES

from configs import clue as recipe
from configs import finetune
from xlmr_jax.data.readers import cluener
from xlmr_jax.data.tokenizers import train_tokenizer, xlmr
from xlmr_jax.eval.benchmarks import table
from xlmr_jax.eval.suite import evaluation, protocols, suite, trainings
from xlmr_jax.eval.task import Available, read_available
from xlmr_jax.tasks.kinds import KINDS
from xlmr_jax.training import development, training_data

ROOT = pathlib.Path(__file__).resolve().parents[2]
NLI = ('contradiction', 'entailment', 'neutral')
TASKS = ('ocnli', 'cmrc2018', 'chid', 'cluener', 'ax')
FILES = {
  'ocnli': 'ocnli_50k_predict.json',
  'cmrc2018': 'cmrc2018_predict.json',
  'chid': 'chid11_predict.json',
  'cluener': 'cluener_predict.json',
  'ax': 'ax_predict.json',
}
ENTITIES = {
  'name': ('小明', '王芳', '李雷'),
  'address': ('北京', '上海', '长安街'),
  'game': ('扫雷', '象棋'),
}
IDIOMS = (
  '画蛇添足 雪中送炭 草木皆兵 守株待兔 杯弓蛇影 井底之蛙 亡羊补牢 对牛弹琴 '
  '狐假虎威 掩耳盗铃'
).split()


# ── Files ─────────────────────────────────────────────────────────────────


def entities(count, seed, labels=True):
  """Sentences of CLUENER: who plays what where."""
  rng = np.random.default_rng(seed)
  out = []
  for _ in range(count):
    text, label = '', {}
    for kind, word in (('name', '在'), ('address', '玩'), ('game', '。')):
      surface = str(rng.choice(ENTITIES[kind]))
      place = [len(text), len(text) + len(surface) - 1]
      label.setdefault(kind, {}).setdefault(surface, []).append(place)
      text += surface + word
    out.append({'text': text, **({'label': label} if labels else {})})
  return out


def pairs(labels, seed):
  """Rows of OCNLI and of the diagnostics; '' for no label."""
  made = entities(2 * len(labels), seed)
  return [
    {
      **{'sentence1': made[i]['text'], 'sentence2': made[-1 - i]['text']},
      **({'label': label} if label else {}),
      'id': i,
    }
    for i, label in enumerate(labels)
  ]


def passages(count, seed, answers=True):
  """CMRC 2018's own form; a passage takes several windows of 128 tokens."""
  out = []
  for i in range(count):
    made = entities(40, seed + i)
    asked = []
    for k in (1, 30):
      (right,) = made[k]['label']['name']
      asked.append(
        {
          'query_id': f'DEV_{i}_QUERY_{k}',
          'query_text': '谁在' + made[k]['text'].partition('在')[2],
          **({'answers': [right]} if answers else {}),
        }
      )
    context = ''.join(sentence['text'] for sentence in made)
    out.append(
      {'context_id': f'{i}', 'context_text': context, 'title': '', 'qas': asked}
    )
  return out


def blanks(count, seed):
  """(lines of CHID, {blank: number of its idiom}), no idiom twice a line."""
  rng = np.random.default_rng(seed)
  lines, right = [], {}
  for _ in range(count):
    idioms = rng.permutation(IDIOMS).tolist()
    content = []
    for place in rng.choice(len(idioms), 3, replace=False):
      name = f'#idiom{len(right):06}#'
      right[name] = int(place)
      content.append(f'小明{name}，王芳在北京。')
    lines.append({'content': content, 'candidates': idioms})
  return lines, right


def write(path, value):
  """JSON; of a list of rows a line each."""
  path.parent.mkdir(parents=True, exist_ok=True)
  dump = lambda x: json.dumps(x, ensure_ascii=False) + '\n'
  text = value if isinstance(value, str) else ''.join(map(dump, value))
  path.write_text(text, encoding='utf-8')


@pytest.fixture(scope='module')
def data(tmp_path_factory):
  """CLUE's files as they are released, small. Annotators of OCNLI's dev set
  did not agree on two rows."""
  folder = tmp_path_factory.mktemp('clue')
  labels = [*NLI, '-', *NLI, 'neutral', '-', *NLI]
  write(folder / 'ocnli' / 'dev.json', pairs(labels, 1))
  write(folder / 'ocnli' / 'test.json', pairs([''] * 8, 2))
  write(folder / 'ax' / 'test.json', pairs([''] * 6, 3))
  for split, count in (('train', 160), ('dev', 16), ('test', 9)):
    made = entities(count, count, labels=split != 'test')
    write(folder / 'cluener' / f'{split}.json', made)
  for split in ('dev', 'test'):
    made = passages(2, len(split), answers=split == 'dev')
    path = folder / 'cmrc2018' / 'data' / f'cmrc2018_{split}.json'
    write(path, json.dumps(made, ensure_ascii=False))
  lines, right = blanks(4, 4)
  write(folder / 'chid' / 'dev.json', lines)
  write(folder / 'chid' / 'dev_answer.json', json.dumps(right))
  write(folder / 'chid' / 'test1.1.json', blanks(3, 5)[0])
  return folder


@pytest.fixture(scope='module')
def vocabulary(tmp_path_factory):
  """A tokenizer that knows every character of the files."""
  text = [row['text'] for row in entities(300, 0)]
  text += IDIOMS * 20 + ['谁在北京玩扫雷，____、□□□□'] * 20
  folder = tmp_path_factory.mktemp('characters')
  model = train_tokenizer.train(text, 200, hard_vocab_limit=False)
  xlmr.Tokenizer(model).save(folder)
  return folder


@pytest.fixture(scope='module')
def models(make_model, vocabulary, tmp_path_factory):
  """Training → a model that nobody trained."""
  folder = tmp_path_factory.mktemp('models')
  kinds = {'cmrc2018': 'answer', 'chid': 'choose'}
  out = {}
  for name in ('ocnli', 'cmnli', *kinds):
    head = kinds.get(name, 'classify')
    labels = NLI if head == 'classify' else None
    made = make_model(vocabulary, head, labels, seed=len(name))
    made.save(folder / name)
    # The length that a training would have had.
    write(folder / name / 'config.json', json.dumps({'max_length': 128}))
    out[name] = folder / name
  return out


def config_of(data, vocabulary, **more):
  config = recipe.get_config('model=tiny')
  config.data_dir, config.init = str(data), ''
  config.recipe = str(ROOT / 'configs' / 'finetune.py')
  config.tasks, config.split = TASKS, 'dev'
  config.settings = (
    f'tokenizer={vocabulary}',
    *(f'sizes.{name}={size}' for name, size in SIZES.items()),
    'max_length=30',
    'row_length=32',
    'batch_size=16',
    'dropout=0.0',
    'progress=False',
    'cluener:steps=20',
    'cluener:optim.learning_rate=1e-2',
  )
  config.update(more)
  return config


@pytest.fixture(scope='module')
def done(data, vocabulary, models, tmp_path_factory):
  """(workdir, results) of dev: CLUENER is trained, the rest is not."""
  workdir = tmp_path_factory.mktemp('work') / 'run'
  train = trainings.train

  def some(config, need, *others):
    known = models.get(need.tuned)
    return known or train(config, need, *others)

  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(trainings, 'train', some)
    results = suite.run(
      config_of(data, vocabulary), workdir, say=lambda _: None
    )
  return workdir, results


def lines_of(path):
  return [json.loads(line) for line in path.read_text('utf-8').splitlines()]


# ── A whole run ───────────────────────────────────────────────────────────


def test_scores_are_those_of_the_files(done, data):
  """What was written, counted by hand beside what is right."""
  workdir, results = done
  assert json.loads((workdir / 'results.json').read_text('utf-8')) == results
  assert results['missing'] == results['problems'] == []
  assert list(results['tasks']) == list(TASKS)
  scores = {}
  for name, task in results['tasks'].items():
    assert task['split'] == ('test' if name == 'ax' else 'dev')
    scores[name] = task['languages']['zh']
    assert task['average'] == scores[name]
  written = workdir / 'submission-0'
  assert {path.name for path in written.iterdir()} == set(FILES.values())

  gold = {r['id']: r['label'] for r in lines_of(data / 'ocnli' / 'dev.json')}
  ours = {r['id']: r['label'] for r in lines_of(written / FILES['ocnli'])}
  # Rows keep their numbers: without, all behind a row left out would shift.
  assert list(ours) == [i for i, label in gold.items() if label != '-']
  right = [gold[i] == label for i, label in ours.items()]
  assert scores['ocnli'] == pytest.approx(100 * np.mean(right))

  gold = json.loads((data / 'chid' / 'dev_answer.json').read_text())
  ours = json.loads((written / FILES['chid']).read_text())
  assert list(ours) == list(gold)
  right = [gold[name] == place for name, place in ours.items()]
  assert scores['chid'] == pytest.approx(100 * np.mean(right))
  for first in range(0, 12, 3):  # an idiom is given to one blank of a line
    assert len(set(list(ours.values())[first : first + 3])) == 3

  path = data / 'cmrc2018' / 'data' / 'cmrc2018_dev.json'
  asked = [a for p in json.loads(path.read_text('utf-8')) for a in p['qas']]
  ours = json.loads((written / FILES['cmrc2018']).read_text('utf-8'))
  assert list(ours) == [a['query_id'] for a in asked]
  exact = [ours[a['query_id']] in a['answers'] for a in asked]
  assert scores['cmrc2018'] == 100 * np.mean(exact)
  assert results['tasks']['cmrc2018']['parts']['f1']['average'] > 0

  found = collections.defaultdict(set)
  true = collections.defaultdict(set)
  gold = lines_of(data / 'cluener' / 'dev.json')
  ours = lines_of(written / FILES['cluener'])
  assert [row['id'] for row in ours] == list(range(len(gold)))
  for row, answer in zip(gold, ours, strict=True):
    for kept, label in ((true, row['label']), (found, answer['label'])):
      for kind, surfaces in label.items():
        kept[kind] |= {(answer['id'], surface) for surface in surfaces}
  each = [
    200 * len(found[kind] & true[kind]) / (len(found[kind]) + len(true[kind]))
    for kind in true
  ]
  assert scores['cluener'] == pytest.approx(np.mean(each))
  assert 50 < scores['cluener'] < 100  # it was trained, for seconds
  record = lines_of(workdir / 'runs' / 'cluener-0' / 'metrics.jsonl')[-1]
  assert record['dev_cluener'] == record['dev_cluener/zh'] > 50
  assert record['collapsed'] == 0

  assert scores['ax'] is None
  assert set(results['groups'].values()) == {None}
  assert results['overall'] is None


def test_the_zip_is_one_that_the_leaderboard_takes(done, data, tmp_path):
  workdir, results = done
  folder = workdir / 'submission-0'
  benchmark = table.find('clue')
  check = benchmark.submission.check
  path = benchmark.submission.pack(folder, tmp_path / 'submit.zip')
  with zipfile.ZipFile(path) as packed:
    assert sorted(packed.namelist()) == sorted(FILES.values())
  assert check(path, labels=data, tasks=TASKS) == []
  missing = check(path, labels=data)
  assert [text.partition(':')[0] for text in missing] == [
    *('afqmc', 'tnews', 'iflytek', 'cluewsc2020', 'csl', 'c3')
  ]
  for given in (path, folder):
    scored = benchmark.score(given, data)
    assert scored['problems'] == []
    for name, task in scored['tasks'].items():
      ours = results['tasks'][name]
      assert task['metric'] == ours['metric']
      assert task['average'] == pytest.approx(ours['average'], abs=1e-9)
      assert task['parts'].keys() == ours['parts'].keys()
      for part, values in task['parts'].items():
        there = ours['parts'][part]
        assert values['average'] == pytest.approx(there['average'], abs=1e-9)
    assert set(scored['tasks']) == set(TASKS) - {'ax'}  # it has no labels


def test_tables_beside_other_models(done):
  workdir, results = done
  text = (workdir / 'tables.md').read_text('utf-8')
  assert text.startswith('# clue, fresh: zero-shot\n')
  for name in TASKS:
    task = results['tasks'][name]
    title = f'## {name} {task["split"]}: {task["metric"]}, per cent'
    part = text.partition(title)[2].partition('## ')[0]
    score = task['average']
    cell = '-' if score is None else f'{score:.1f}'
    assert f'| ours | {cell} | {cell} |' in part
    for more, values in task['parts'].items():
      value = f'{values["average"]:.1f}'
      row = f'| {more.replace("_", " ")} | {value} | {value} |'
      assert row in part
  ocnli = text.partition('## ocnli')[2].partition('## ')[0]
  assert 'Published, of other models:' in ocnli
  assert '| classification | - |' in text and '| **overall** | - |' in text


def test_what_is_there_is_not_made_again(done, data, vocabulary, monkeypatch):
  workdir, results = done
  monkeypatch.setattr(evaluation, 'loaded', None)
  monkeypatch.setattr(trainings, 'train', None)
  again = suite.run(config_of(data, vocabulary), workdir, lambda _: None)
  assert again == results


def test_a_test_set_is_answered_and_packed(
  done, data, vocabulary, models, monkeypatch, tmp_path
):
  """Without labels there are no scores, and the zip is checked row by row."""
  workdir, _ = done
  known = {**models, 'cluener': workdir / 'runs' / 'cluener-0'}
  monkeypatch.setattr(trainings, 'train', lambda c, need, *_: known[need.tuned])
  said = []
  config = config_of(data, vocabulary, split='test')
  results = suite.run(config, tmp_path / 'run', said.append)
  assert results['problems'] == []
  for task in results['tasks'].values():
    assert task['languages'] == {'zh': None} and task['average'] is None
    assert any(
      'predictions are written, not scored' in n for n in task['notes']
    )
  path = tmp_path / 'run' / 'submission-0.zip'
  assert f'{path}: no problems' in said
  with zipfile.ZipFile(path) as packed:
    assert sorted(packed.namelist()) == sorted(FILES.values())
    text = packed.read(FILES['ocnli']).decode()
  rows_of = [json.loads(line) for line in text.splitlines()]
  assert [row['id'] for row in rows_of] == list(range(8))
  assert {row['label'] for row in rows_of} <= set(NLI)

  # A row that the test file asks for and the submission has not.
  more = tmp_path / 'data'
  shutil.copytree(data, more)
  with open(more / 'ocnli' / 'test.json', 'a', encoding='utf-8') as file:
    file.write(json.dumps({**pairs([''], 9)[0], 'id': 8}) + '\n')
  folder = tmp_path / 'run' / 'submission-0'
  zipped, problems = table.find('clue').submission.finish(folder, more, TASKS)
  assert zipped == path
  assert len(problems) == 1 and '8 lines, not 9' in problems[0]


# ── Recipes ───────────────────────────────────────────────────────────────


@pytest.mark.parametrize('benchmark', ['clue', 'clue1.0', 'fewclue'])
def test_every_task_has_a_recipe_that_fits(benchmark):
  config = recipe.get_config(f'model=base,benchmark={benchmark}')
  needs = {need.task.name: need for need in suite.needs(config)}
  assert list(needs) == [task.name for task in table.find(benchmark).tasks]
  choices = {'c3': 4, 'chid': 7 if benchmark == 'fewclue' else 10}
  for name, need in needs.items():
    tuned = finetune.get_config(f'task={need.known},model=base')
    row, _ = training_data.tasks_of(tuned)
    assert row is table.tunable()[need.known]
    assert (row.kind, row.labels) == (need.task.kind, need.task.labels)
    assert row.source == need.task.source == 'zh'
    assert row.languages == tuned.train_languages == tuned.dev_languages
    assert tuned.objective in row.heads
    # Trained on as much of a text as is read where it is tested.
    assert tuned.max_length == need.task.max_length
    if row.kind is KINDS['choose']:
      assert tuned.row_length >= choices[name] * tuned.max_length
    else:
      assert tuned.row_length == tuned.max_length


@pytest.mark.parametrize('name', table.tunable())
def test_every_task_is_known_to_the_fine_tuning(name):
  row = table.tunable()[name]
  if not row.heads or name in ('ax', 'mlqa'):
    return  # answered by the body, or by another task's model
  config = finetune.get_config(f'task={name},model=base')
  assert training_data.tasks_of(config)[0] is row
  assert config.objective in row.heads
  assert config.train_languages == (row.source,)
  assert set(config.dev_languages) <= {*row.languages, row.source}
  assert config.max_length <= config.row_length
  chinese = name in recipe.BASELINE or name.startswith('fewclue.')
  assert (row.source == 'zh') == chinese


def test_fewclues_training_data_are_fewclues(tmp_path):
  """Under any protocol; names that CLUE has too are of other tasks there."""
  config = recipe.get_config('model=base,benchmark=fewclue')
  config.data_dir = str(tmp_path)
  for name, labels in (('eprstmt', ('Negative', 'Positive')), ('bustm', '01')):
    made = pairs(labels, 1)
    made = [{'sentence': row['sentence1'], **row} for row in made]
    write(tmp_path / name / 'train_few_all.json', made)
  known = table.find('fewclue')
  for protocol in ('few-shot', 'translate-train', 'translate-train-all'):
    config.protocol = protocol
    for name in ('eprstmt', 'bustm'):
      there = protocols.training(config, known[name], ('zh',), tmp_path)
      assert there == protocols.Training(('zh',), [], [])
    there = protocols.training(config, known['tnews'], ('zh',), tmp_path)
    assert there.languages == () and 'train_few_all.json' in there.missing[0]


def test_each_seed_has_a_part_of_fewclue(tmp_path):
  config = recipe.get_config('model=base,benchmark=fewclue,tasks=eprstmt')
  config.seeds, config.parts, config.data_dir = 2, True, str(tmp_path)
  rows = [{'sentence': 'a', 'label': 'Negative'}]
  for part in range(2):
    for split in ('train', 'dev'):
      path = tmp_path / 'eprstmt' / f'{split}_{part}.json'
      write(path, [{**rows[0], 'sentence': f'{split} {part}'}])
  for part, need in enumerate(suite.needs(config)):
    told = protocols.settings(config, need, ('zh',), {})
    assert told == {'part': part}
    tuned = finetune.get_config('task=fewclue.eprstmt,model=base')
    tuned.data_dir, tuned.part = str(tmp_path), str(told['part'])
    row, dev = training_data.tasks_of(tuned)
    (example,) = training_data.read_training(tuned, row)['zh']
    assert example.texts == (f'train {part}',)
    assert dev.read(tmp_path, 'dev', 'zh')[0].texts == (f'dev {part}',)
  config.parts = False
  assert protocols.settings(config, need, ('zh',), {}) == {}


def test_parts_that_are_not_there_are_named():
  config = recipe.get_config('model=base,benchmark=fewclue')
  config.parts, config.seeds = True, 6
  with pytest.raises(ValueError, match='seeds=6, but there are 5 parts'):
    suite.needs(config)
  config.benchmark = 'clue'
  with pytest.raises(ValueError, match='not for benchmark=clue'):
    suite.needs(config)
  tuned = finetune.get_config('task=ocnli,model=base')
  tuned.part = '0'
  with pytest.raises(ValueError, match='only FewCLUE has such parts'):
    training_data.tasks_of(tuned)


@pytest.mark.parametrize(
  'found, collapsed',
  [
    ([{}, {}], 1),
    ([{}, {'name': {'小明': [[0, 1]]}}], 0),
    ([{'name': {'小明': [[0, 1]]}}, {'game': {'扫雷': [[0, 1]]}}], 0),
  ],
)
def test_a_tagger_that_finds_nothing_has_collapsed(
  monkeypatch, found, collapsed
):
  """Its answers are spans, and those of one type are not one class."""
  result = types.SimpleNamespace(
    scores={'zh': 5.0}, average=5.0, predictions={'zh': found}, nulls=None
  )
  monkeypatch.setattr(development.evaluate, 'evaluate', lambda *_, **__: result)
  model = types.SimpleNamespace(replace=lambda **_: None)
  row = table.tunable()['cluener']
  scores = development.Development(row, {}, model)({})
  assert scores == {
    'dev_cluener': 5.0,
    'dev_cluener/zh': 5.0,
    'collapsed': collapsed,
  }


# ── What is there ─────────────────────────────────────────────────────────


def test_missing_and_broken_languages_are_told_apart(tmp_path):
  write(tmp_path / 'test-en.tsv', 'a\tDET\ncat\tNOUN\n')
  write(tmp_path / 'test-de.tsv', 'Katze\tNOUN\nrote\tADJ\tNOUN\n')
  (tmp_path / 'test-ru.tsv.gz').write_bytes(gzip.compress(b'a\tDET\n')[:-9])
  task = table.tasks()['udpos']
  languages = ('de', 'en', 'fr', 'ru', 'zh')
  there = read_available(task, str(tmp_path), 'test', languages)
  assert list(there.examples) == ['en']
  assert [e.label for e in there.examples['en']] == [('DET', 'NOUN')]
  (missing,) = there.missing
  assert missing.startswith('udpos fr zh: ') and 'test-fr.tsv' in missing
  german, russian = there.broken
  assert german.startswith('udpos de: ') and 'test-de.tsv:2' in german
  assert russian.startswith('udpos ru: ')
  # Only what is asked for is looked at.
  assert read_available(task, str(tmp_path), 'test', ['en']) == Available(
    there.examples, [], []
  )


def test_a_missing_file_of_clue_is_no_broken_one(tmp_path):
  read = lambda: read_available(
    table.tasks()['cluener'], str(tmp_path), 'dev', ['zh']
  )
  assert read().missing[0].startswith('cluener zh: no CLUENER dev file')
  assert read().broken == []
  write(tmp_path / 'dev.json', [{'text': '小明', 'label': {'who': {}}}] * 2)
  assert read().examples['zh'][0].label == ('O', 'O')
  write(tmp_path / 'dev.json', [{'text': '', 'label': {}}])
  assert read().missing == []
  assert read().broken[0].startswith('cluener zh: ')
  assert len(cluener.LABELS) == 21
