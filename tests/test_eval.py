"""The evaluation loop and its command, on tiny and on real files."""

import csv
import dataclasses
import json
import subprocess
import sys

from absl import flags
import jax
import numpy as np
import pytest

from xlmr_jax.data import sources
from xlmr_jax.eval import __main__ as command
from xlmr_jax.eval import evaluate, metrics, xtreme
from xlmr_jax.tasks import classify

LABELS = ('contradiction', 'entailment', 'neutral')
ORDER = ('neutral', 'contradiction', 'entailment')  # of the checkpoint's ids
PAIRS = {
  'en': [('A man is asleep', 'No man sees'), ('the red cat', 'the house')],
  'de': [('Ein Mann schläft', 'Niemand sieht'), ('die rote "Katze"', 'Haus')],
  'ru': [('Мужчина спит', 'в доме'), ('Никто не видит', 'кошку')],
}
COUNT = 40


def pairs(language):
  """COUNT different pairs out of the few above."""
  words = ' '.join(t for pair in PAIRS[language] for t in pair).split()
  random = np.random.default_rng(len(language) + ord(language[0]))
  return [
    tuple(' '.join(random.choice(words, n)) for n in random.integers(1, 9, 2))
    for _ in range(COUNT)
  ]


@pytest.fixture(scope='module')
def model(make_model, tiny_tokenizer):
  """A classifier whose scores are centred, so that it uses all classes."""
  model = make_model(tiny_tokenizer, labels=ORDER)
  mean = np.mean(model.logits(pairs('en')), axis=0)
  head = model.params['head']
  out = {**head['out'], 'bias': head['out']['bias'] - mean}
  params = {**model.params, 'head': {**head, 'out': out}}
  return dataclasses.replace(model, params=params)


@pytest.fixture
def folder(tmp_path):
  """XTREME's files: unlabelled test-*.tsv, labelled dev-*.tsv."""
  folder = tmp_path / 'xnli'
  folder.mkdir()
  for language in PAIRS:
    for split in ('test', 'dev'):
      with open(folder / f'{split}-{language}.tsv', 'w', newline='') as file:
        writer = csv.writer(file, delimiter='\t')
        for i, pair in enumerate(pairs(language)):
          gold = [LABELS[i % 3]] if split == 'dev' else []
          writer.writerow([*pair, *gold])
  return folder


@pytest.fixture
def gold(model, folder):
  """test.labels.txt: what the model says of English."""
  texts = [e.texts for e in sources.xnli(folder, 'test', 'en')]
  answers = [ORDER[int(x.argmax())] for x in model.logits(texts)]
  assert len(set(answers)) == 3  # else the tests below could not fail
  (folder / 'test.labels.txt').write_text(''.join(a + '\n' for a in answers))
  return answers


def run(*arguments):
  """The command, in this process."""
  options = flags.FlagValues()
  command.define_flags(options)
  command.main(options(['eval', *map(str, arguments)]), options)


def run_xnli(
  model, folder, output, *arguments, languages='en,de', format='orbax'
):
  checkpoint = output.with_name(output.name + '-checkpoint')
  model.save(checkpoint, format=format)
  run(
    f'--checkpoint={checkpoint}',
    f'--data_dir={folder}',
    f'--output_dir={output}',
    f'--languages={languages}',
    *arguments,
  )
  return json.loads((output / 'results.json').read_text())


def test_command_scores_and_writes(model, folder, gold, tmp_path, capsys):
  out = tmp_path / 'out'
  results = run_xnli(model, folder, out)
  assert list(results) == [
    'benchmark',
    'checkpoint',
    'tasks',
    'tokens_per_second',
    'packing_efficiency',
  ]
  assert results['benchmark'] == 'xnli'
  assert results['checkpoint'] == str(tmp_path / 'out-checkpoint')
  task = results['tasks']['xnli']
  assert list(results['tasks']) == ['xnli']
  assert list(task) == ['metric', 'languages', 'average']
  assert task['metric'] == 'accuracy'
  assert list(task['languages']) == ['en', 'de']
  assert task['languages']['en'] == 100
  german = (out / 'predictions/xnli/test-de.tsv').read_text().splitlines()
  expected = metrics.accuracy(german, gold)
  assert task['languages']['de'] == expected < 100
  assert task['average'] == (100 + expected) / 2
  assert results['tokens_per_second'] > 0
  assert 0 < results['packing_efficiency'] <= 100
  assert sorted(p.name for p in (out / 'predictions/xnli').iterdir()) == [
    'test-de.tsv',
    'test-en.tsv',
  ]
  english = (out / 'predictions/xnli/test-en.tsv').read_text()
  assert english == (folder / 'test.labels.txt').read_text()
  assert not [p for p in out.rglob('.*')]
  printed = capsys.readouterr().out
  counts = [gold.count(name) for name in LABELS]
  row = next(x for x in printed.splitlines() if x.startswith('en '))
  majority = f'{100 * max(counts) / COUNT:.2f}'
  assert row.split() == ['en', str(COUNT), '100.00', '33.33', majority]
  assert 'majority' in printed
  rest = next(x for x in printed.splitlines() if x.startswith('all but en '))
  assert rest.split()[3:5] == [str(COUNT), f'{expected:.2f}']


def test_order_and_case_of_labels_do_not_matter(model, folder, gold, tmp_path):
  """A checkpoint that numbers its classes otherwise scores the same."""
  straight = run_xnli(model, folder, tmp_path / 'a', languages='en,de,ru')
  head = model.params['head']
  order = np.array([2, 0, 1])
  permuted = dataclasses.replace(
    model,
    params={
      **model.params,
      'head': {
        **head,
        'out': jax.tree.map(lambda x: x[..., order], head['out']),
      },
    },
    labels=tuple(ORDER[i].upper() for i in order),
  )
  assert np.abs(
    permuted.logits(['a cat'])[0] - model.logits(['a cat'])[0]
  ).max()
  other = run_xnli(
    permuted, folder, tmp_path / 'b', languages='en,de,ru', format='hf'
  )
  assert other['tasks'] == straight['tasks']
  for language in PAIRS:
    name = f'predictions/xnli/test-{language}.tsv'
    assert (tmp_path / 'a' / name).read_text() == (
      tmp_path / 'b' / name
    ).read_text()


def test_placeholder_labels_need_the_flag(model, folder, gold, tmp_path):
  nameless = dataclasses.replace(
    model, labels=('LABEL_0', 'LABEL_1', 'LABEL_2')
  )
  with pytest.raises(ValueError, match='LABEL_0.*--labels=name0,name1'):
    run_xnli(nameless, folder, tmp_path / 'a')
  assert not (tmp_path / 'a' / 'results.json').exists()
  named = run_xnli(
    nameless, folder, tmp_path / 'b', f'--labels={",".join(ORDER)}'
  )
  assert named['tasks']['xnli']['languages']['en'] == 100
  with pytest.raises(ValueError, match='names 2 classes.*has 3'):
    run_xnli(nameless, folder, tmp_path / 'c', '--labels=entailment,neutral')


def test_other_labels_are_an_error_with_both_lists():
  with pytest.raises(ValueError) as caught:
    evaluate.match_labels(('entailment', 'not_entailment'), LABELS)
  text = str(caught.value)
  assert 'has the classes entailment, not_entailment' in text
  assert 'the task has contradiction, entailment, neutral' in text
  assert 'missing contradiction, neutral' in text
  assert 'unknown not_entailment' in text
  with pytest.raises(ValueError, match='a class twice'):
    evaluate.match_labels(('neutral', 'Neutral', 'entailment'), LABELS)
  with pytest.raises(ValueError, match='no names'):
    evaluate.match_labels(None, LABELS)


def test_unlabelled_files_give_predictions_and_null(
  model, folder, tmp_path, capsys
):
  out = tmp_path / 'out'
  results = run_xnli(model, folder, out)
  task = results['tasks']['xnli']
  assert task['languages'] == {'en': None, 'de': None}
  assert task['average'] is None
  lines = (out / 'predictions/xnli/test-en.tsv').read_text().splitlines()
  assert len(lines) == COUNT
  assert set(lines) <= set(LABELS)
  assert 'en: 40 of 40 examples have no label' in capsys.readouterr().out


def test_dev_split_has_its_own_labels(model, folder, tmp_path):
  results = run_xnli(model, folder, tmp_path / 'out', '--split=dev')
  lines = (tmp_path / 'out/predictions/xnli/dev-en.tsv').read_text()
  expected = [LABELS[i % 3] for i in range(COUNT)]
  score = metrics.accuracy(lines.splitlines(), expected)
  assert results['tasks']['xnli']['languages']['en'] == score


def test_one_label_on_every_line_is_a_placeholder(model):
  task = xtreme.TASKS['xnli']
  examples = {
    'en': [sources.Example(('a', 'b'), 'neutral', 'f:1')] * 100,
    'de': [sources.Example(('a', 'b'), 'neutral', 'f:1')] * 3,
  }
  result = evaluate.evaluate(model, task, examples, show=False)
  assert result.scores['en'] is None
  assert result.scores['de'] in (0, 100)
  assert 'placeholder' in result.notes[-1]


def test_a_second_evaluation_replaces_the_first(model, folder, tmp_path):
  out = tmp_path / 'out'
  run_xnli(model, folder, out, languages='en,de')
  run(
    f'--checkpoint={tmp_path / "out-checkpoint"}',
    f'--data_dir={folder}',
    f'--output_dir={out}',
    '--languages=ru',
  )
  names = [p.name for p in (out / 'predictions/xnli').iterdir()]
  assert names == ['test-ru.tsv']
  results = json.loads((out / 'results.json').read_text())
  assert list(results['tasks']['xnli']['languages']) == ['ru']


def test_missing_and_unknown_languages(model, folder, tmp_path):
  with pytest.raises(ValueError, match="no XNLI test file for 'sw'"):
    run_xnli(model, folder, tmp_path / 'a', languages='en,sw')
  with pytest.raises(ValueError, match="no language 'xx'; it has ar, bg"):
    run_xnli(model, folder, tmp_path / 'b', languages='en,xx')


def test_beside_shows_another_run(model, folder, gold, tmp_path, capsys):
  run_xnli(model, folder, tmp_path / 'a', languages='en')
  beside = f'--beside=before={tmp_path / "a" / "results.json"}'
  run_xnli(model, folder, tmp_path / 'b', beside, languages='en,de')
  printed = capsys.readouterr().out.splitlines()
  assert any(x.split()[:3] == ['examples', 'score', 'before'] for x in printed)
  english = [x.split() for x in printed if x.startswith('en ')][-1]
  assert english[2:4] == ['100.00', '100.00']
  german = [x.split() for x in printed if x.startswith('de ')][-1]
  assert german[3] == '-'
  average = [x.split() for x in printed if x.startswith('average ')][-1]
  assert average[3] == '-'  # of fewer languages: not to be compared
  with pytest.raises(ValueError, match='is no results.json of xnli'):
    bad = tmp_path / 'bad.json'
    bad.write_text('{}')
    run_xnli(model, folder, tmp_path / 'c', f'--beside=x={bad}')


def test_models_that_do_not_fit(make_model, tiny_tokenizer, folder):
  task = xtreme.TASKS['xnli']
  examples = evaluate.read(task, folder, languages=['en'])
  mlm = make_model(tiny_tokenizer, head='mlm')
  with pytest.raises(ValueError, match='classify head, this one has an mlm'):
    evaluate.evaluate(mlm, task, examples, show=False)
  short = make_model(tiny_tokenizer, labels=LABELS, max_positions=18)
  with pytest.raises(ValueError, match='the model holds 16'):
    evaluate.evaluate(short, task, examples, max_length=20, show=False)
  result = evaluate.evaluate(short, task, examples, show=False)
  assert 'fill max_length=16' in result.notes[0]


def test_scores_that_are_not_finite_are_an_error(model, folder):
  task = xtreme.TASKS['xnli']
  examples = evaluate.read(task, folder, languages=['en'])
  bad = jax.tree.map(lambda x: x * np.nan, model.params['head'])
  broken = dataclasses.replace(model, params={**model.params, 'head': bad})
  with pytest.raises(ValueError, match=r'test-en.tsv:1: .*nan.*40 of 40'):
    evaluate.evaluate(broken, task, examples, show=False)


def test_users_tables(make_model, tiny_tokenizer, tmp_path):
  """`text<TAB>label` per language, all languages that are there."""
  model = make_model(tiny_tokenizer, labels=('sleep', 'see'))
  model.save(tmp_path / 'model')
  texts = {}
  for language in PAIRS:
    texts[language] = [a.replace('"', '') for a, _ in pairs(language)]
    rows = [
      f'{t}\t{("see", "sleep")[i % 2]}' for i, t in enumerate(texts[language])
    ]
    path = tmp_path / f'test-{language}.tsv'
    path.write_text('\n'.join(['text\tlabel', *rows]) + '\n')
  pattern = f'--test={tmp_path}/test-{{language}}.tsv'
  out = tmp_path / 'out'
  file_of = lambda name: out / f'predictions/intents/test-{name}.tsv'
  common = (f'--checkpoint={tmp_path / "model"}', f'--output_dir={out}')
  run('--benchmark=intents', pattern, *common)
  results = json.loads((out / 'results.json').read_text())
  scores = results['tasks']['intents']['languages']
  assert list(scores) == ['de', 'en', 'ru']
  for language, score in scores.items():
    guess = [int(x.argmax()) for x in model.logits(texts[language])]
    expected = sum(g == (i + 1) % 2 for i, g in enumerate(guess))
    assert score == 100 * expected / COUNT
    assert file_of(language).read_text().split() == [
      model.labels[g] for g in guess
    ]
  # Without the labels' column nothing is scored.
  run('--benchmark=intents', pattern, '--label=', '--languages=ru', *common)
  results = json.loads((out / 'results.json').read_text())
  assert results['tasks']['intents']['languages'] == {'ru': None}
  with open(tmp_path / 'test-de.tsv', 'a') as file:
    file.write('ein Satz\tdream\n')
  with pytest.raises(
    ValueError, match=r"test-de.tsv:42: unknown label 'dream'"
  ):
    run('--benchmark=intents', pattern, *common)
  with open(tmp_path / 'test-ru.tsv', 'a') as file:
    file.write('"a" cat\tsee\n')
  with pytest.raises(ValueError, match='test-ru.tsv:42: a quoted field'):
    run('--benchmark=intents', pattern, '--languages=ru', *common)
  run('--benchmark=intents', pattern, '--languages=ru', '--noquoted', *common)
  assert len(file_of('ru').read_text().split()) == COUNT + 1
  with pytest.raises(ValueError, match='choose a language'):
    run('--benchmark=intents', f'--test={tmp_path}/test-de.tsv', *common)
  with pytest.raises(ValueError, match='no file matches'):
    run('--benchmark=x', f'--test={tmp_path}/no-{{language}}.tsv', *common)


def test_users_numbers(make_model, tiny_tokenizer, tmp_path):
  model = make_model(tiny_tokenizer)
  model.save(tmp_path / 'model')
  predicted = [float(x[0]) for x in model.logits(pairs('en'))]
  path = tmp_path / 'sts.jsonl'
  rows = [
    {'a': a, 'b': b, 'score': 2 * p + 1}
    for (a, b), p in zip(pairs('en'), predicted, strict=True)
  ]
  path.write_text(''.join(json.dumps(row) + '\n' for row in rows))
  out = tmp_path / 'out'
  run(
    '--benchmark=sts',
    f'--test={path}',
    '--languages=en',
    '--text=a,b',
    '--label=score',
    '--metric=pearson',
    f'--checkpoint={tmp_path / "model"}',
    f'--output_dir={out}',
  )
  results = json.loads((out / 'results.json').read_text())
  part = results['tasks']['sts']
  assert part['metric'] == 'pearson'
  assert part['languages']['en'] == pytest.approx(100, abs=1e-3)
  lines = (out / 'predictions/sts/test-en.tsv').read_text().split()
  assert [float(x) for x in lines] == pytest.approx(predicted, abs=1e-5)


def test_errors_of_the_command_are_one_line(tmp_path):
  done = subprocess.run(
    [
      sys.executable,
      *('-m', 'xlmr_jax.eval', '--benchmark=xnli', f'--data_dir={tmp_path}'),
      *(f'--checkpoint={tmp_path}', f'--output_dir={tmp_path / "out"}'),
    ],
    capture_output=True,
    text=True,
  )
  assert done.returncode == 1
  assert done.stdout == ''
  assert done.stderr.startswith("error: no XNLI test file for 'ar'")
  assert done.stderr.count('\n') == 1


def test_real_pairs(make_model, data_dir):
  """The first 200 pairs of three languages with the real vocabulary."""
  model = make_model(
    data_dir / 'tokenizers/xlm-roberta', labels=ORDER, num_layers=1
  )
  task = xtreme.TASKS['xnli']
  examples = {
    language: part[:200]
    for language, part in evaluate.read(
      task, data_dir / 'xnli', languages=['en', 'sw', 'th']
    ).items()
  }
  result = evaluate.evaluate(model, task, examples, show=False)
  tokens = 0
  for language, part in examples.items():
    ids = [model.tokenizer.encode(*example.texts) for example in part]
    tokens += sum(map(len, ids))
    answers = [ORDER[int(x.argmax())] for x in model.logits(ids)]
    assert result.predictions[language] == answers
    assert len(set(answers)) > 1
    score = metrics.accuracy(answers, [example.label for example in part])
    assert result.scores[language] == score
  assert result.tokens == tokens
  assert result.packing_efficiency > 85  # one part of seven batches is empty


def test_xnli_packs_to_95_per_cent(make_model, data_dir):
  """Over all batches of all 75,150 pairs, the last included."""
  model = make_model(
    data_dir / 'tokenizers/xlm-roberta', labels=ORDER, num_layers=1, model_dim=4
  )
  task = xtreme.TASKS['xnli']
  stream = [
    example
    for part in evaluate.read(task, data_dir / 'xnli').values()
    for example in part
  ]
  assert len(stream) == 75_150
  features = classify.encode(
    stream, model.tokenizer, labels=task.labels, max_length=128
  )
  batches, _ = model.program('classify').batches(
    [f['tokens'] for f in features]
  )
  real = computed = seen = 0
  shapes = set()
  for batch in batches:
    real += int((batch['segments'] > 0).sum())
    computed += batch['segments'].size
    seen += int((batch['example'] >= 0).sum())
    shapes.add(batch['tokens'].shape)
  assert seen == 75_150
  assert real == sum(len(f['tokens']) for f in features)
  assert len(shapes) == 1
  assert real / computed >= 0.95
