"""A benchmark in one command: trained, evaluated, tabled, gone on with."""

import json
import pathlib
import shutil

import pytest
from suite_runs import config_of
from suite_runs import data as data
from tagging_runs import sentences, write
from tagging_runs import words_tokenizer as words_tokenizer

from configs import xtreme as recipe
from xlmr_jax.eval.benchmarks import table
from xlmr_jax.eval.suite import evaluation, pictures, suite, summary, trainings


@pytest.fixture(scope='module')
def done(data, words_tokenizer, tmp_path_factory):
  """(workdir, results, what was said) of a whole run."""
  workdir = tmp_path_factory.mktemp('work') / 'run'
  said = []
  results = suite.run(config_of(data, words_tokenizer), workdir, said.append)
  return workdir, results, said


def test_what_it_makes(done):
  workdir, results, said = done
  assert json.loads((workdir / 'results.json').read_text()) == results
  assert list(results['tasks']) == ['udpos', 'tatoeba']
  part = results['tasks']['udpos']
  assert part['metric'] == 'span_f1'
  assert list(part['languages']) == ['de', 'en']
  assert 0 <= part['languages']['en'] <= 100
  assert part['languages']['de'] is None and part['average'] is None
  assert results['groups'] == {'tagging': None, 'retrieval': None}
  assert results['overall'] is None
  # The same text on both sides: found whatever the model, but for the order.
  assert results['tasks']['tatoeba']['languages'] == {'de': 100.0}
  assert results['tasks']['tatoeba']['average'] is None  # of one language
  assert results['tasks']['tatoeba']['vectors']['layer'] == 7 / 12
  # What is not there is said, and where it was looked for.
  assert any('udpos af' in text for text in results['missing'])
  assert any('tatoeba af' in text for text in results['missing'])
  assert results['problems'] == []
  assert any('missing: udpos af' in text for text in said)
  assert results['protocol'] == 'zero-shot'
  written = workdir / 'submission-0' / 'udpos' / 'test-de.tsv'
  assert len(written.read_text().split('\n\n')) == 20
  text = (workdir / 'tables.md').read_text()
  assert text.startswith('# xtreme, fresh: zero-shot\n')
  assert '## udpos test: span_f1, per cent' in text
  assert '|  | de | en | mean |' in text


def test_pictures(done):
  workdir, results, _ = done
  assert (workdir / 'heat.png').read_bytes().startswith(b'\x89PNG')
  axes = pictures.heat(results).axes[0]
  assert [t.get_text() for t in axes.get_yticklabels()] == ['udpos', 'tatoeba']
  assert [t.get_text() for t in axes.get_xticklabels()] == ['de', 'en']
  score = results['tasks']['udpos']['languages']['en']
  assert sorted(t.get_text() for t in axes.texts) == sorted(
    [f'{score:.0f}', '100']
  )
  (points,) = pictures.sizes(results, {'de': 10, 'fr': 7}).axes[0].lines
  assert points.get_xydata().tolist() == [[10, 100]]
  with pytest.raises(ValueError, match='no language of the results'):
    pictures.sizes(results, {'fr': 7})


def test_what_is_there_is_not_made_again(
  done, data, words_tokenizer, monkeypatch
):
  workdir, results, _ = done
  monkeypatch.setattr(evaluation, 'loaded', None)
  monkeypatch.setattr(trainings, 'train', None)
  again = suite.run(config_of(data, words_tokenizer), workdir, lambda _: None)
  assert again == results


def test_it_goes_on_where_it_was_killed(
  done, data, words_tokenizer, monkeypatch, tmp_path
):
  """The training is there, the evaluation is not."""
  workdir, results, _ = done
  copy = tmp_path / 'run'
  shutil.copytree(workdir, copy)
  (copy / 'evaluations' / 'udpos-0.json').unlink()
  monkeypatch.setattr(trainings.Stop, 'run', None)
  again = suite.run(config_of(data, words_tokenizer), copy, lambda _: None)
  assert again == results


def test_another_recipe_is_refused(done, data, words_tokenizer):
  workdir, _, _ = done
  other = config_of(data, words_tokenizer, layer=1)
  with pytest.raises(ValueError, match=r'begun with config.layer=0.58'):
    suite.run(other, workdir)


def test_what_changed_is_evaluated_again(
  done, data, words_tokenizer, monkeypatch, tmp_path
):
  """Labels come later, and a file; a damaged record is made again."""
  workdir, results, _ = done
  copy, more = tmp_path / 'run', tmp_path / 'data'
  shutil.copytree(workdir, copy)
  shutil.copytree(data, more)
  (copy / 'evaluations' / 'tatoeba-0.json').write_text('{"of')
  write(more / 'udpos' / 'test-de.tsv', sentences(20, 21))
  write(more / 'udpos' / 'test-af.tsv', sentences(20, 22))
  text = (copy / 'config.json').read_text().replace(str(data), str(more))
  (copy / 'config.json').write_text(text)
  monkeypatch.setattr(trainings.Stop, 'run', None)
  said = []
  again = suite.run(config_of(more, words_tokenizer), copy, said.append)
  scores = again['tasks']['udpos']['languages']
  assert list(scores) == ['af', 'de', 'en'] and None not in scores.values()
  assert scores['en'] == results['tasks']['udpos']['languages']['en']
  assert again['tasks']['tatoeba'] == results['tasks']['tatoeba']
  assert not any('udpos' in text for text in again['missing'])


def test_broken_files_are_problems(data, words_tokenizer, tmp_path):
  shutil.copytree(data, tmp_path / 'data')
  path = tmp_path / 'data' / 'tatoeba' / 'tatoeba.deu-eng.deu'
  path.write_text(path.read_text() + 'one more\n')
  config = config_of(tmp_path / 'data', words_tokenizer, tasks=('tatoeba',))
  said = []
  with pytest.raises(ValueError, match='nothing could be evaluated'):
    suite.run(config, tmp_path / 'run', said.append)
  assert any('problem: tatoeba de' in text for text in said)


def test_untuned_predictions_belong_to_every_seed(
  done, data, words_tokenizer, tmp_path
):
  workdir, _, _ = done
  config = config_of(
    data,
    words_tokenizer,
    init=str(workdir / 'runs' / 'udpos-0'),
    retrieve_with='',
    tasks=('tatoeba',),
    seeds=1,
    settings=(),
  )
  suite.run(config, tmp_path / 'run', lambda _: None)
  config.seeds = 2
  suite.run(config, tmp_path / 'run', lambda _: None)
  files = [
    (tmp_path / 'run' / f'submission-{n}' / 'tatoeba' / 'test-de.tsv')
    for n in (0, 1)
  ]
  assert files[0].read_text() == files[1].read_text() != ''


@pytest.mark.parametrize(
  'change, message',
  [
    ({'settings': ('udpoz:steps=1',)}, "there is no task 'udpoz'"),
    ({'settings': ('steps',)}, 'write name=value'),
    ({'model': 'giant'}, 'model=giant is neither a size'),
    ({'languages': ('xx',)}, "no task has 'xx'"),
    ({'tasks': ('udpos', 'squad')}, "xtreme has no task 'squad'"),
    ({'benchmark': 'glue'}, "benchmark='glue' is not one of xtreme"),
    ({'data_dir': '/nowhere'}, 'is not a folder'),
    ({'tasks': ('xnli',)}, 'nothing could be evaluated'),
    ({'recipe': 'configs/none.py'}, r'none\.py is neither here \('),
    ({'protocol': 'one-shot'}, "protocol='one-shot' is not one of zero-shot"),
    ({'protocol': 'few-shot', 'shots': 0}, 'shots=0 must be positive'),
    ({'settings': ('udpos:train_split=dev',)}, 'is said by config.protocol'),
  ],
)
def test_what_cannot_be(data, words_tokenizer, tmp_path, change, message):
  config = config_of(data, words_tokenizer, **change)
  with pytest.raises(ValueError, match=message):
    suite.run(config, tmp_path / 'run', lambda _: None)


def test_seeds_and_shared_runs(data, words_tokenizer):
  """XQuAD and MLQA take one model; retrieval needs a seed only if tuned."""
  config = config_of(data, words_tokenizer, seeds=2)
  config.tasks = ('xquad', 'mlqa', 'tydiqa', 'tatoeba')
  wanted = [(need.task.name, need.run) for need in suite.needs(config)]
  assert wanted == [
    ('xquad', 'squad-0'),
    ('xquad', 'squad-1'),
    ('mlqa', 'squad-0'),
    ('mlqa', 'squad-1'),
    ('tydiqa', 'tydiqa-0'),
    ('tydiqa', 'tydiqa-1'),
    ('tatoeba', 'udpos-0'),
    ('tatoeba', 'udpos-1'),
  ]
  config.retrieve_with = ''
  assert [n.run for n in suite.needs(config) if not n.task.heads] == ['']
  config.tasks = ('all',)
  assert {n.task.name for n in suite.needs(config)} == {
    task.name for task in table.find('xtreme').tasks
  }
  need = suite.needs(config_of(data, words_tokenizer))[0]
  words = trainings.train_command(config, need, {}, pathlib.Path('w'), 1)
  assert '--config.steps=6' in words
  assert not any('never read' in word for word in words)


def test_means_deviations_and_the_overall_score():
  tasks = {task.name: task for task in table.find('xtreme').tasks}
  config = recipe.get_config('model=large')

  def facts(name, score):
    scores = dict.fromkeys(tasks[name].languages, 10.0)
    scores[next(iter(scores))] = score
    values = {'languages': scores, 'average': 10.0 + score / 10}
    return {'metric': 'm', **values, 'parts': {'f1': values}}

  found = {name: [facts(name, 10.0), facts(name, 20.0)] for name in tasks}
  results = summary.summary(config, found)
  row = results['tasks']['xnli']
  assert row['languages'] == {'ar': 15.0} | dict.fromkeys(
    tasks['xnli'].languages[1:], 10.0
  )
  assert row['average'] == 11.5
  assert row['deviation']['languages']['ar'] == pytest.approx(50**0.5)
  assert row['parts']['f1']['average'] == 11.5
  assert results['overall'] == 11.5
  assert set(results['groups'].values()) == {11.5}
  text = summary.markdown(config, results)
  assert '| published |' in text and '| difference |' in text
  # XLM-R large's XNLI in English is 88.7 there: 10 - 88.7.
  assert '| -78.7 |' in text
  # Of a task in fewer languages there is no mean that others could compare.
  for run in found['bucc2018']:
    run['languages'].pop('de')
  few = summary.summary(config, found)
  assert few['tasks']['bucc2018']['average'] is None
  assert few['overall'] is None and few['groups']['retrieval'] is None
  assert few['groups']['qa'] == 11.5


def test_a_collapsed_run_is_begun_again(
  data, words_tokenizer, tmp_path, monkeypatch
):
  config = config_of(data, words_tokenizer, restarts=2)
  need = suite.needs(config)[0]
  begun = []

  def start(self, command, hold):
    begun.append(command)
    folder = next(
      pathlib.Path(w.partition('=')[2]) for w in command if 'workdir' in w
    )
    folder.mkdir(parents=True)
    settings = {'optim': {'learning_rate': 4e-5}}
    (folder / 'config.json').write_text(json.dumps(settings))
    lines = [{'collapsed': 0.0}, {'collapsed': float(len(begun) < 3)}]
    text = ''.join(json.dumps(line) + '\n' for line in lines)
    (folder / 'metrics.jsonl').write_text(text)
    return 0

  monkeypatch.setattr(trainings.Stop, 'run', start)
  monkeypatch.setattr(trainings, 'finished', lambda folder: folder.exists())
  (tmp_path / 'runs').mkdir()
  said = []
  stop = trainings.Stop()
  folder = trainings.train(
    config, need, {}, tmp_path, stop, said.append, suite.ALONE
  )
  assert folder.name == 'udpos-0-again2'
  rates = [w for c in begun for w in c if 'optim.learning_rate' in w]
  assert rates == [
    '--config.optim.learning_rate=2e-05',
    '--config.optim.learning_rate=1e-05',
  ]
  assert sum('one class' in text for text in said) == 2
