"""Training on questions of which some have no answer, and its threshold."""

import json

import numpy as np
import pytest

from configs import finetune
import xlmr_jax
from xlmr_jax.checkpoints import checkpoint_steps
from xlmr_jax.data.tokenizers import train_tokenizer, xlmr
from xlmr_jax.eval import __main__ as command
from xlmr_jax.eval.metrics import scores
from xlmr_jax.runtime import commands, sharding
from xlmr_jax.train import build_job, train

NAMES = 'Ada Ben Cleo Dmitri Elif Fatima'.split()
THINGS = 'lamp drum kite clock boat'.split()


def ask(number, owner, owned, asked, **more):
  context = f'{owner} owns the {owned}. It is old.'
  answers = [{'text': owner, 'answer_start': 0}] if owned == asked else []
  item = {'id': str(number), 'question': f'Who owns the {asked}?'}
  qas = [item | {'answers': answers} | more]
  return {'paragraphs': [{'context': context, 'qas': qas}]}


def write(path, count, seed, **more):
  """Every second question has no answer, by an empty list alone."""
  rng = np.random.default_rng(seed)
  articles = []
  for i in range(count):
    owned, other = rng.choice(THINGS, 2, replace=False)
    asked = other if i % 2 else owned
    articles.append(ask(i, rng.choice(NAMES), owned, asked, **more))
  path.write_text(json.dumps({'data': articles}))
  return path


def recipe(folder, **changes):
  config = finetune.get_config('task=owners,model=tiny')
  config.update_from_flattened_dict(
    {
      'objective': 'answer',
      'data_dir': str(folder),
      'train': 'train.json',
      'dev': 'dev.json',
      'tokenizer': str(folder / 'words'),
      'sizes.num_layers': 1,
      'sizes.model_dim': 32,
      'sizes.num_heads': 2,
      'sizes.ff_dim': 64,
      'sizes.max_positions': 50,
      'max_length': 48,
      'row_length': 48,
      'batch_size': 16,
      'epochs': 4,
      'eval_every': 10,
      'dropout': 0.0,
      'optim.learning_rate': 1e-2,
      'progress': False,
      **changes,
    }
  )
  return config.lock()


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
  folder = tmp_path_factory.mktemp('owners')
  write(folder / 'train.json', 120, 1)
  write(folder / 'dev.json', 40, 2)
  write(folder / 'test.json', 41, 3)
  text = [f'{n} owns the {t}. It is old.' for n in NAMES for t in THINGS]
  text += [f'Who owns the {t}?' for t in THINGS]
  model = train_tokenizer.train(text, 60, hard_vocab_limit=False)
  xlmr.Tokenizer(model).save(folder / 'words')
  return folder


@pytest.fixture(scope='module')
def workdir(folder):
  train(recipe(folder), folder / 'run')
  return folder / 'run'


def run(*arguments):
  values = command.flags.FlagValues()
  command.define_flags(values)
  commands.parse(['eval', *map(str, arguments)], values)
  command.main(['eval'], values)


def metrics(workdir):
  lines = (workdir / 'metrics.jsonl').read_text().splitlines()
  return [r for r in map(json.loads, lines) if 'dev_squad2' in r]


def test_every_evaluation_chooses_and_its_step_keeps_it(workdir):
  records = metrics(workdir)
  assert len(records) >= 3
  for record in records:
    parts = [record[f'dev_squad2_{p}_f1'] for p in ('HasAns', 'NoAns')]
    assert record['dev_squad2'] == pytest.approx(np.mean(parts))
    assert record['dev_squad2'] >= 50  # no answer anywhere gives that
  best = max(records, key=lambda r: r['dev_squad2'])  # the first of equals
  meta = checkpoint_steps.meta_of(workdir, best['step'])
  assert meta['best_step'] == best['step']
  assert meta['deciding'] == {'null_threshold': best['null_threshold']}
  model = xlmr_jax.load(workdir)
  assert model.null_threshold == best['null_threshold']
  last = records[-1]
  model = xlmr_jax.load(workdir / 'checkpoints' / str(last['step']))
  assert model.null_threshold == last['null_threshold']


def test_the_command_scores_by_the_threshold_of_dev(
  workdir, folder, tmp_path, capsys
):
  arguments = (
    f'--checkpoint={workdir}',
    '--benchmark=owners',
    '--languages=en',
    '--metric=squad2',
  )
  dev = max(metrics(workdir), key=lambda r: r['dev_squad2'])
  out = tmp_path / 'dev'
  run(*arguments, f'--test={folder / "dev.json"}', f'--output_dir={out}')
  facts = json.loads((out / 'results.json').read_text())['tasks']['owners']
  # What training saw on dev, at the same threshold, and no other is better.
  assert facts['average'] == pytest.approx(dev['dev_squad2'])
  assert facts['thresholds'] == {'en': dev['null_threshold']}
  value = lambda name: facts['parts'][name]['average']
  assert value('best_f1') == pytest.approx(dev['dev_squad2'])
  assert value('NoAns_f1') == pytest.approx(dev['dev_squad2_NoAns_f1'])

  out = tmp_path / 'test'
  run(*arguments, f'--test={folder / "test.json"}', f'--output_dir={out}')
  said = capsys.readouterr().out
  assert 'HasAns_f1' in said and 'NoAns_f1' in said
  facts = json.loads((out / 'results.json').read_text())['tasks']['owners']
  predictions, odds, spans = (
    json.loads((out / name / 'owners' / 'test-en.json').read_text())
    for name in ('predictions', 'null_odds', 'best_spans')
  )
  data = json.loads((folder / 'test.json').read_text())['data']
  qas = [a['paragraphs'][0]['qas'][0] for a in data]
  threshold = facts['thresholds']['en']
  assert predictions == {
    q['id']: '' if odds[q['id']] > threshold else spans[q['id']] for q in qas
  }
  gold = [tuple(a['text'] for a in q['answers']) or ('',) for q in qas]
  want = scores.score('squad2', [predictions[q['id']] for q in qas], gold)
  assert facts['average'] == want['squad2']
  for name in ('HasAns_f1', 'NoAns_exact', 'total', 'HasAns_total'):
    assert facts['parts'][name]['languages']['en'] == want[name]

  # A threshold of one's own: everything is answered.
  out = tmp_path / 'all'
  test = f'--test={folder / "test.json"}'
  run(*arguments, test, '--null_threshold=1e9', f'--output_dir={out}')
  facts = json.loads((out / 'results.json').read_text())['tasks']['owners']
  assert facts['parts']['NoAns_f1']['average'] == 0.0
  assert predictions != spans
  # The metric of SQuAD v1.1 says that it is the wrong one.
  run(*arguments[:3], '--metric=squad', test, f'--output_dir={out}')
  assert '20 of 41 questions have no answer' in capsys.readouterr().out


@pytest.mark.parametrize('format', ['orbax', 'hf'])
def test_a_saved_model_gives_none_where_nothing_answers(
  workdir, folder, tmp_path, format
):
  model = xlmr_jax.load(workdir)
  model.save(tmp_path / 'saved', format=format)
  saved = xlmr_jax.load(tmp_path / 'saved')
  assert saved.null_threshold == model.null_threshold
  context, question = 'Ada owns the lamp. It is old.', 'Who owns the lamp?'
  span = saved.answer(question, context, null_threshold=1e9)
  assert span and span in context
  assert saved.answer(question, context, null_threshold=-1e9) is None
  # Either side of its own odds, by the checkpoint's own threshold.
  always, never = (
    saved.replace(deciding={'null_threshold': t}) for t in (1e9, -1e9)
  )
  assert always.answer(question, context) == span
  assert never.answer(question, context) is None
  unset = saved.replace(deciding={})
  assert unset.answer(question, context) == span
  assert saved.answer(question, context) == model.answer(question, context)
  if format == 'hf':
    config = json.loads((tmp_path / 'saved' / 'config.json').read_text())
    assert config['xlmr_jax'] == {'null_threshold': model.null_threshold}
    saved.save(tmp_path / 'again', format='hf')
    same = lambda name: (tmp_path / name / 'config.json').read_bytes()
    assert same('saved') == same('again')
    unset.save(tmp_path / 'unset', format='hf')
    assert b'null_threshold' not in same('unset')
    config['xlmr_jax'] = {'null_threshold': 'high'}
    path = tmp_path / 'saved' / 'config.json'
    path.write_text(json.dumps(config))
    with pytest.raises(
      ValueError, match="null_threshold = 'high' is no number"
    ):
      xlmr_jax.load(tmp_path / 'saved')
  with pytest.raises(ValueError, match='the context is 3, not a text'):
    model.answer(question, 3)


def test_skip_bad_counts_and_trains_on_the_others(folder, tmp_path, capsys):
  content = json.loads((folder / 'train.json').read_text())
  bad = content['data'][0]['paragraphs'][0]['qas'][0]
  bad['answers'][0]['answer_start'] = 3
  (tmp_path / 'bad.json').write_text(json.dumps(content))
  mesh = sharding.make_mesh((1, 1, 1), 1)
  changes = {'train': str(tmp_path / 'bad.json')}
  with pytest.raises(ValueError, match=r"of '0' is .*--config\.skip_bad"):
    build_job(recipe(folder, **changes), tmp_path, mesh)
  with pytest.warns(UserWarning, match='1 answers do not stand'):
    config = recipe(folder, skip_bad=True, **changes)
    job = build_job(config, tmp_path, mesh)
  assert job.score == 'dev_squad2'
  assert job.kept == {'null_threshold': 'null_threshold'}
  said = capsys.readouterr().out
  assert 'skip_bad: nothing is trained on 1 of 120 questions' in said
  with pytest.raises(ValueError, match='skip_bad is about answers'):
    config = recipe(folder, skip_bad=True, objective='classify')
    build_job(config, tmp_path, mesh)


def test_predictions_need_ids_of_their_own(workdir, folder, tmp_path):
  content = json.loads((folder / 'test.json').read_text())
  content['data'] += content['data'][:1]
  (tmp_path / 'twice.json').write_text(json.dumps(content))
  with pytest.raises(ValueError, match=r"twice.json, .*id '0' is also that of"):
    run(
      f'--checkpoint={workdir}',
      '--benchmark=owners',
      '--languages=en',
      '--metric=squad2',
      f'--test={tmp_path / "twice.json"}',
      f'--output_dir={tmp_path / "out"}',
    )
