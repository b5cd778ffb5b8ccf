"""Published figures: they agree with the averages printed beside them."""

import pytest

from xlmr_jax.eval.benchmarks import published, table

TABLES = [row for row in published.ROWS if len(row.languages) > 1]


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
  of = lambda task: published.find('xtreme', 'large', task).average
  # Of nine tasks, not of four groups; printed 68.2 (68.25).
  mean = sum(of(task.name) for task in table.find('xtreme').tasks) / 9
  assert mean == pytest.approx(of('overall'), abs=0.0501)
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
  # A row by heart says so; those whose source was read do not.
  recalled = published.find('xtreme', 'large', 'tydiqa').recalled
  assert recalled == ('languages', 'average')
  assert published.find('xtreme', 'large', 'xnli').recalled == ('languages',)
  for task in ('xquad', 'pawsx', 'tatoeba'):
    assert published.find('xtreme', 'large', task).recalled == ()


def test_rows_have_sources_and_are_told_apart():
  keys = set()
  for row in published.ROWS:
    assert row.source
    assert set(row.recalled) <= {'languages', 'average'}
    key = (row.benchmark, row.model, row.task, row.setting, row.split)
    assert key not in keys
    keys.add(key)
