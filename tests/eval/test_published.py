"""Published figures: they agree with the averages printed beside them."""

import types

import pytest

from configs import clue as clue_recipe
from xlmr_jax.eval.benchmarks import published, table
from xlmr_jax.eval.suite import summary

# Rows that have some of the languages only; their averages are of all.
PARTIAL = {('xtreme', 'large', task) for task in ('xnli', 'panx', 'mlqa')}
TABLES = [
  row
  for row in published.ROWS
  if len(row.languages) > 1
  and (row.benchmark, row.model, row.task) not in PARTIAL
]


@pytest.mark.parametrize(
  'row', TABLES, ids=lambda row: f'{row.benchmark}-{row.model}-{row.task}'
)
def test_rows_agree_with_their_printed_average(row):
  """To the digit that is printed, and what rounding did to the languages."""
  columns = list(row.parts.values()) or [(row.languages, row.average)]
  for values, average in columns:
    assert values.keys() == row.languages.keys()
    mean = sum(values.values()) / len(values)
    assert mean == pytest.approx(average, abs=0.0501)
    assert all(0 <= value <= 100 for value in values.values())
  for language, value in row.languages.items() if row.parts else ():
    both = [values[language] for values, _ in row.parts.values()]
    assert value == pytest.approx(sum(both) / 2)
  if row.parts:
    means = [average for _, average in row.parts.values()]
    assert row.average == pytest.approx(sum(means) / 2)


def test_rows_of_xtreme_have_its_languages():
  for row in TABLES:
    if row.benchmark == 'xtreme':
      part = table.find('xtreme')[row.task]
      assert set(row.languages) == set(part.languages)
  xnli = set(table.find('xtreme')['xnli'].languages)
  mlqa = set(table.find('xtreme')['mlqa'].languages)
  for row in TABLES:
    wanted = {'xnli': xnli, 'mlqa': mlqa}.get(row.benchmark)
    assert wanted is None or set(row.languages) == wanted


def test_the_overall_score_is_the_mean_of_the_tasks():
  row = published.find('xtreme', 'large', 'overall')
  assert row.average == 68.1 and 'VECO' in row.source
  tasks = 'udpos panx xquad mlqa tydiqa xnli pawsx'.split()
  base = [published.find('xtreme', 'base', task).average for task in tasks]
  seven = published.find('xtreme', 'base', 'mean of these seven').average
  assert sum(base) / 7 == pytest.approx(seven, abs=0.0501)
  assert published.find('xtreme', 'base', 'overall') is None


CLUE = 'afqmc tnews iflytek cmnli cluewsc2020 csl'.split()
MODELS = 'BERT-base BERT-wwm-ext RoBERTa-wwm-ext RoBERTa-wwm-large'.split()


@pytest.mark.parametrize('model', [*MODELS, 'ALBERT-xxlarge'])
def test_clues_classification_is_the_mean_of_six(model):
  of = lambda task: published.find('clue', model, task).average
  assert sum(map(of, CLUE)) / 6 == pytest.approx(
    of('classification'), abs=0.0051
  )


@pytest.mark.parametrize(
  'model',
  ['HFL/RoBERTa-wwm-ext-large', 'HFL/RoBERTa-wwm-ext', 'BERT-Base-Chinese'],
)
def test_paddles_average_is_the_mean_of_ten(model):
  row = lambda task: published.find('clue', model, task, split='dev')
  values = [row(task).average for task in (*CLUE, 'ocnli', 'chid', 'c3')]
  _, exact = row('cmrc2018').parts['exact_match']
  mean = (sum(values) + exact) / 10
  assert mean == pytest.approx(row('overall').average, abs=0.0051)


def test_clue_ranks_answers_by_exact_match():
  # The README's table prints 77.95, and further down 92.11/77.95.
  row = published.find('clue', 'RoBERTa-wwm-large', 'cmrc2018')
  assert row.average == row.languages['zh'] == 77.95
  assert row.parts['f1'] == ({'zh': 92.11}, 92.11)
  assert published.find('clue', 'BERT-base', 'cmrc2018').average == 71.60
  dev = table.find('clue').other_models('cmrc2018', 'dev')
  assert [row.average for row in dev] == [
    64.77, 67.89, 70.59, 70.58, 68.39, 65.30,
  ]  # fmt: skip
  assert {row.split for row in dev} == {'dev'}
  assert len(table.find('clue').other_models('afqmc', 'test')) == 5
  # Nobody has printed XLM-R's.
  models = {row.model for row in published.ROWS if row.benchmark == 'clue'}
  assert not models & {'base', 'large', 'xl', 'xxl'}


def test_rows_of_clue_have_its_tasks():
  names = {task.name for task in table.find('clue').tasks}
  tasks = {*names, 'classification', 'overall'}
  rows = [row for row in published.ROWS if row.benchmark == 'clue']
  assert {row.task for row in rows} <= tasks
  assert {'cluener', 'drcd', 'ocnli', 'c3'} <= {row.task for row in rows}


def test_a_baseline_stands_beside_its_own_rows():
  clue = table.find('clue')
  find = lambda *args: clue.find_published(*args).average
  assert find('roberta-wwm-ext-large', 'afqmc', 'zero-shot') == 76.55
  assert find('roberta-wwm-ext-large', 'afqmc', 'zero-shot', 'dev') == 76.0
  assert find('bert-base-chinese', 'c3', 'zero-shot', 'dev') == 65.38
  assert find('roberta-wwm-ext', 'cmrc2018', 'zero-shot') == 75.2
  for model in ('macbert-base', 'large'):
    assert clue.find_published(model, 'afqmc', 'zero-shot') is None
  for model, names in published.NAMES.items():
    assert model in clue_recipe.INIT
    known = {row.model for row in published.CLUE}
    assert set(names) <= known


def test_the_table_of_a_baseline_has_its_published_row():
  task = {'split': 'dev', 'metric': 'accuracy', 'average': 75.0, 'parts': {}}
  results = {
    'benchmark': 'clue',
    'checkpoint': 'x',
    'protocol': 'zero-shot',
    'tasks': {'afqmc': {**task, 'languages': {'zh': 75.0}}},
    'groups': {},
    'overall': None,
  }
  config = types.SimpleNamespace(model='roberta-wwm-ext-large')
  text = summary.markdown(config, results)
  assert '| published | 76.0 | 76.0 |' in text
  assert '| difference | -1.0 | -1.0 |' in text
  assert '- HFL/RoBERTa-wwm-ext 74.6 (' in text
  config.model = 'base'
  assert '| published |' not in summary.markdown(config, results)


def test_mbert_in_xtreme():
  xtreme = table.find('xtreme')
  find = lambda task: xtreme.find_published('mbert', task, 'zero-shot')
  assert find('xnli').average == 65.4
  assert find('pawsx').average == 81.9
  assert find('xquad').parts['f1'][0]['th'] == 42.7
  assert find('mlqa').parts['exact_match'][1] == 41.6
  for task in ('udpos', 'tydiqa', 'tatoeba', 'bucc2018'):
    assert find(task) is None
  assert xtreme.find_published('large', 'xnli', 'zero-shot', 'dev') is None


def test_look_up():
  assert published.published('xnli', 'large', 'xnli')['sw'] == 73.9
  both = published.published(
    'xnli', 'large', 'xnli', setting='translate-train-all'
  )
  assert both['sw'] == 78.0
  assert published.published('xtreme', 'large', 'tatoeba') == {}
  assert published.published('xnli', 'tiny', 'xnli') == {}
  assert published.find('xnli', 'large', 'xnli', split='dev') is None
  german = published.find('mlqa', 'xl', 'mlqa').parts['f1'][0]['de']
  assert german == 70.5


def test_figures_without_a_source_are_not_there():
  for benchmark, model, task in (
    ('xtreme', 'large', 'udpos'),
    ('xtreme', 'large', 'tydiqa'),
    ('xnli', 'xl', 'xnli'),
    ('xnli', 'xxl', 'xnli'),
    ('xquad', 'xl', 'xquad'),
    ('xquad', 'xxl', 'xquad'),
  ):
    row = published.find(benchmark, model, task, setting='zero-shot')
    assert row is None
  # Where some languages were seen, only those; the average is as printed.
  for benchmark, model, task in PARTIAL:
    row = published.find(benchmark, model, task)
    known = set(table.find('xtreme')[task].languages)
    assert set(row.languages) < known
    assert 'VECO' in row.source and 'MuRIL' in row.source
  xnli = published.find('xtreme', 'large', 'xnli')
  assert (xnli.average, xnli.languages) == (
    79.2,
    {'en': 88.7, 'hi': 75.6, 'ur': 71.7},
  )
  mlqa = published.find('xtreme', 'large', 'mlqa')
  assert mlqa.average == pytest.approx((71.6 + 53.2) / 2)
  assert published.find('xtreme', 'large', 'bucc2018').languages == {}


def test_rows_have_sources_and_are_told_apart():
  keys = set()
  for row in published.ROWS:
    assert row.source
    key = (row.benchmark, row.model, row.task, row.setting, row.split)
    assert key not in keys
    keys.add(key)
