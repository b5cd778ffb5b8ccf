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

from xlmr_jax.data import files
from xlmr_jax.data.readers import columns, nli, tables, tagged
from xlmr_jax.eval import __main__ as command
from xlmr_jax.eval import evaluate
from xlmr_jax.eval.benchmarks import benchmark, table
from xlmr_jax.eval.metrics import scores as metrics
from xlmr_jax.eval.task import match_labels, read_examples, user_task
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
  return model.replace(params=params)


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
  texts = [e.texts for e in nli.xnli(folder, 'test', 'en')]
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
    'split',
    'tasks',
    'tokens_per_second',
    'packing_efficiency',
    'notes',
    'missing',
  ]
  assert results['missing'] == []
  assert results['benchmark'] == 'xnli'
  assert results['checkpoint'] == str(tmp_path / 'out-checkpoint')
  task = results['tasks']['xnli']
  assert list(results['tasks']) == ['xnli']
  assert list(task) == ['metric', 'languages', 'average', 'parts']
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
  permuted = model.replace(
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
  nameless = model.replace(labels=('LABEL_0', 'LABEL_1', 'LABEL_2'))
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
    match_labels(('entailment', 'not_entailment'), LABELS)
  text = str(caught.value)
  assert 'has the classes entailment, not_entailment' in text
  assert 'the task has contradiction, entailment, neutral' in text
  assert 'missing contradiction, neutral' in text
  assert 'unknown not_entailment' in text
  with pytest.raises(ValueError, match='a class twice'):
    match_labels(('neutral', 'Neutral', 'entailment'), LABELS)
  with pytest.raises(ValueError, match='no names'):
    match_labels(None, LABELS)


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
  task = table.tasks()['xnli']
  examples = {
    'en': [tables.Example(('a', 'b'), 'neutral', 'f:1')] * 100,
    'de': [tables.Example(('a', 'b'), 'neutral', 'f:1')] * 3,
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
  task = table.tasks()['xnli']
  examples = read_examples(task, folder, languages=['en'])
  mlm = make_model(tiny_tokenizer, head='mlm')
  with pytest.raises(
    ValueError, match='classify head, the head of this one is mlm'
  ):
    evaluate.evaluate(mlm, task, examples, show=False)
  short = make_model(tiny_tokenizer, labels=LABELS, max_positions=18)
  with pytest.raises(ValueError, match='the model holds 16'):
    evaluate.evaluate(short, task, examples, max_length=20, show=False)
  result = evaluate.evaluate(short, task, examples, show=False)
  assert 'fill max_length=16' in result.notes[0]


def test_scores_that_are_not_finite_are_an_error(model, folder):
  task = table.tasks()['xnli']
  examples = read_examples(task, folder, languages=['en'])
  bad = jax.tree.map(lambda x: x * np.nan, model.params['head'])
  broken = model.replace(params={**model.params, 'head': bad})
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
    file.write('"a" cat\tsee\n"a"\tsee\n')
  with pytest.raises(ValueError, match='test-ru.tsv:42: a quot.*--noquoted'):
    run('--benchmark=intents', pattern, '--languages=ru', *common)
  run('--benchmark=intents', pattern, '--languages=ru', '--noquoted', *common)
  assert len(file_of('ru').read_text().split()) == COUNT + 2
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
  task = table.tasks()['xnli']
  examples = {
    language: part[:200]
    for language, part in read_examples(
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
  task = table.tasks()['xnli']
  stream = [
    example
    for part in read_examples(task, data_dir / 'xnli').values()
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


# ── Tags ──────────────────────────────────────────────────────────────────

NOUN_VERB = ('NOUN', 'PUNCT', 'VERB')


def words(language):
  """Sentences of words, some of them of nothing, one a long one."""
  rng = np.random.default_rng(ord(language[0]))
  known = ' '.join(t for pair in PAIRS[language] for t in pair).split()
  out = [rng.choice([*known, '.', '\u200b'], n) for n in rng.integers(1, 9, 15)]
  return [*map(list, out), list(rng.choice(known, 60))]


def tagger(make_model, tokenizer, head, labels=NOUN_VERB, **sizes):
  """Scores are centred, so that it uses all tags."""
  model = make_model(tokenizer, head=head, labels=labels, **sizes)
  flat = model.replace(head='tag')
  mean = np.mean(np.concatenate(flat.logits(pairs('en'))), axis=0)
  out = {**model.params['head']['out']}
  out['bias'] = out['bias'] - mean
  head = {**model.params['head'], 'out': out}
  return model.replace(params={**model.params, 'head': head})


def write_words(folder, split, language, tags=None):
  lines = []
  for k, sentence in enumerate(words(language)):
    own = [''] * len(sentence) if tags is None else [f'\t{t}' for t in tags[k]]
    lines.append(
      ''.join(f'{w}{t}\n' for w, t in zip(sentence, own, strict=True))
    )
  path = folder / f'{split}-{language}.tsv'
  path.write_text('\n'.join(lines), encoding='utf-8')
  return path


def slow_tags(model, sentences, max_length):
  """One window at a time, through `logits`; for crf one path through all."""
  out = []
  for sentence in sentences:
    scores, window = [], []

    def run(window, scores):
      ids, firsts = [0], []
      for pieces in window:
        firsts.append(len(ids))
        ids += pieces
      flat = model.replace(head='tag')
      scores += list(flat.logits([[*ids, 2]])[0][firsts].astype(np.float64))

    for word in sentence:
      pieces = model.tokenizer.encode(word)[1:-1] or [3]
      if sum(map(len, window)) + len(pieces) > max_length - 3:
        run(window, scores)
        window = []
      window.append(pieces)
    run(window, scores)
    if model.head == 'crf':
      best = slow_path(np.stack(scores), model.params['head'], model.labels)
    else:
      best = np.stack(scores).argmax(-1)
    out.append([model.labels[i] for i in best])
  return out


def slow_path(scores, head, labels):
  """Viterbi with the scheme's rules written out."""
  chain = {k: np.asarray(head[k], np.float64) for k in head if k != 'out'}

  def allowed(before, name):
    if not name.startswith('I-'):
      return True
    return before is not None and before[2:] == name[2:] and before[0] in 'BI'

  best = [
    (chain['start'][j] + scores[0, j], [j])
    for j in range(len(labels))
    if allowed(None, labels[j])
  ]
  for row in scores[1:]:
    best = [
      max(
        (value + chain['transitions'][path[-1], j] + row[j], [*path, j])
        for value, path in best
        if allowed(labels[path[-1]], labels[j])
      )
      for j in range(len(labels))
      if any(allowed(labels[path[-1]], labels[j]) for _, path in best)
    ]
  return max((v + chain['end'][p[-1]], p) for v, p in best)[1]


@pytest.mark.parametrize(
  'head, labels',
  [
    ('tag', NOUN_VERB),
    ('crf', NOUN_VERB),
    ('crf', ('O', 'I-P', 'B-P', 'B-Q', 'I-Q')),
  ],
)
def test_every_word_gets_the_tag_of_its_window(
  make_model, tiny_tokenizer, tmp_path, head, labels
):
  model = tagger(make_model, tiny_tokenizer, head, labels)
  task = user_task(
    'tags',
    {'test': str(tmp_path / 'test-{language}.tsv')},
    tuple(PAIRS),
    metric='span_f1',
    max_length=24,
  )
  want = {}
  for language in PAIRS:
    want[language] = slow_tags(model, words(language), 24)
    # One word in ten is not what the model says.
    rng = np.random.default_rng(3)
    gold = [
      [t if rng.random() < 0.9 else rng.choice(labels) for t in tags]
      for tags in want[language]
    ]
    write_words(tmp_path, 'test', language, gold)
  examples = read_examples(task, '')
  result = evaluate.evaluate(model, task, examples, show=False)
  for language, answers in want.items():
    assert result.predictions[language] == answers
    gold = [example.label for example in examples[language]]
    score = metrics.span_f1(answers, gold)
    assert result.scores[language] == score and 20 < score < 100
    # A user's own file has words, and so have the predictions.
    folder = benchmark.write_predictions(tmp_path / 'out', result)
    back = columns.read(folder / f'test-{language}.tsv')
    assert [list(s.label) for s in back] == answers
    assert [s.words for s in back] == [s.words for s in examples[language]]
  given = {t for tags in result.predictions['en'] for t in tags}
  assert len(given) > 2
  assert result.average == metrics.mean(list(result.scores.values()))
  assert 'windows of at most max_length=24: no word' in result.notes[0]
  # Names that the user gives are the names that the chain's rules read.
  nameless = model.replace(
    labels=tuple(f'LABEL_{i}' for i in range(len(labels)))
  )
  again = evaluate.evaluate(nameless, task, examples, labels=labels, show=False)
  assert again.predictions == result.predictions


def test_one_program_tags_all_languages(
  make_model, tiny_tokenizer, tmp_path, monkeypatch
):
  from xlmr_jax.inference import packed

  model = tagger(make_model, tiny_tokenizer, 'crf')
  runs = []
  whole = packed.Program.__call__

  def count(self, *args, **kwargs):
    runs.append(packed._jitted(self))
    return whole(self, *args, **kwargs)

  monkeypatch.setattr(packed.Program, '__call__', count)
  packed._jitted.cache_clear()
  for language in PAIRS:
    write_words(tmp_path, 'test', language)
  task = dataclasses.replace(
    table.tasks()['udpos'], languages=tuple(PAIRS), labels=NOUN_VERB
  )
  examples = read_examples(task, tmp_path)
  result = evaluate.evaluate(model, task, examples, show=False)
  assert set(result.predictions) == set(PAIRS)
  assert len(runs) == 1 and runs[0]._cache_size() == 1


def test_the_command_tags(make_model, tiny_tokenizer, tmp_path, capsys):
  """Files as XTREME takes them: a line a word, as long as the input."""
  labels = table.tasks()['udpos'].labels
  model = tagger(make_model, tiny_tokenizer, 'tag', labels)
  model.save(tmp_path / 'model')
  data = tmp_path / 'udpos'
  data.mkdir()
  write_words(data, 'test', 'de')
  answers = slow_tags(model, words('en'), 128)
  write_words(data, 'test', 'en', answers)
  common = (
    '--benchmark=udpos',
    f'--checkpoint={tmp_path / "model"}',
    f'--data_dir={data}',
    f'--output_dir={tmp_path / "out"}',
  )
  run(*common, '--languages=en,de')
  results = json.loads((tmp_path / 'out/results.json').read_text())
  part = results['tasks']['udpos']
  assert part == {
    'metric': 'span_f1',
    'languages': {'en': 100.0, 'de': None},
    'average': None,
    'parts': {
      name: {'languages': {'en': 100.0}, 'average': None}
      for name in ('precision', 'recall')
    },
  }
  folder = tmp_path / 'out/predictions/udpos'
  written = (folder / 'test-en.tsv').read_text()
  assert written == '\n'.join(''.join(f'{t}\n' for t in s) for s in answers)
  given = (data / 'test-de.tsv').read_text().split('\n')
  made = (folder / 'test-de.tsv').read_text().split('\n')
  assert [bool(line) for line in made] == [bool(line) for line in given]
  assert set(made) - {''} <= set(labels)
  out = capsys.readouterr().out
  assert 'de: 16 of 16 examples have no label' in out
  row = next(x for x in out.splitlines() if x.startswith('en '))
  assert row.split()[1:4] == ['16', '100.00', '-']
  run(*common)  # what is not there is listed, and the rest runs
  (text,) = json.loads((tmp_path / 'out/results.json').read_text())['missing']
  assert text.startswith('udpos af ar bg el ') and "'af'; looked for" in text
  assert f'missing: {text}' in capsys.readouterr().out.splitlines()
  with pytest.raises(ValueError, match="no test file .*'af'; looked for"):
    run(*common, '--languages=en,af')
  with pytest.raises(ValueError, match="no language 'lt'"):
    run(*common, '--languages=lt')
  write_words(data, 'dev', 'en', [['X'] * len(s) for s in words('en')])
  (data / 'dev-en.tsv').write_text('a\tX\nb\tNUON\n')
  with pytest.raises(ValueError, match=r"dev-en.tsv:2: unknown tag 'NUON'"):
    run(*common, '--languages=en', '--split=dev')


def test_taggers_that_do_not_fit(model, make_model, tiny_tokenizer, tmp_path):
  write_words(tmp_path, 'test', 'en')
  task = table.tasks()['udpos']
  examples = read_examples(task, tmp_path, languages=['en'])
  with pytest.raises(
    ValueError, match='a tag or crf head, the head of this one is cl'
  ):
    evaluate.evaluate(model, task, examples, show=False)
  other = tagger(make_model, tiny_tokenizer, 'tag')
  with pytest.raises(ValueError, match='missing ADJ, .*--labels='):
    evaluate.evaluate(other, task, examples, show=False)
  for head in task.heads:
    good = tagger(make_model, tiny_tokenizer, head, task.labels)
    bad = jax.tree.map(lambda x: x * np.nan, good.params['head'])
    broken = good.replace(params={**good.params, 'head': bad})
    with pytest.raises(
      ValueError, match=r'test-en.tsv:1: the model gives .*nan'
    ):
      evaluate.evaluate(broken, task, examples, show=False)
  with pytest.raises(ValueError, match='need a crf head'):
    good = tagger(make_model, tiny_tokenizer, 'tag', task.labels)
    good.paths([[0, 5, 2]], [np.array([False, True, False])])


def test_one_tag_on_every_word_is_a_placeholder(make_model, tiny_tokenizer):
  """XTREME's scripts write X, or O, where a file has no tags."""
  task = table.tasks()['udpos']
  model = tagger(make_model, tiny_tokenizer, 'tag', task.labels)
  sentence = lambda *tags: tagged.Sentence(('cat',) * len(tags), tags, 'f:1')
  examples = {
    'en': [sentence('X', 'X'), sentence('X')] * 50,
    'de': [sentence('X', 'NOUN'), sentence('X')] * 50,
  }
  result = evaluate.evaluate(model, task, examples, show=False)
  assert result.scores['en'] is None and result.scores['de'] is not None
  assert "en: every label is 'X'" in result.notes[-1]


def test_real_tagalog_and_yoruba(make_model, data_dir, tmp_path):
  """A random tagger with the real vocabulary; files as long as XTREME's."""
  task = table.tasks()['udpos']
  model = tagger(
    make_model,
    data_dir / 'tokenizers/xlm-roberta',
    'tag',
    task.labels,
    num_layers=1,
  )
  examples = {
    'tl': task.read(data_dir / 'udpos/xtreme_tsv_labelled_test', 'test', 'tl'),
    'yo': task.read(data_dir / 'udpos/xtreme_tsv', 'test', 'yo'),
  }
  result = evaluate.evaluate(model, task, examples, show=False)
  assert result.predictions['tl'] == slow_tags(
    model, [e.words for e in examples['tl']], 128
  )
  assert 0 < result.scores['tl'] < 60 and result.scores['yo'] is None
  folder = benchmark.write_predictions(tmp_path, result)
  lines = (folder / 'test-yo.tsv').read_text().splitlines()
  bare = files.lines(data_dir / 'udpos/xtreme_tsv/test-yo.tsv.gz')
  assert [bool(x) for x in lines] == [bool(x) for x in bare]
