"""Several labels an example, from files to files; classes of unlike sizes."""

import json

import jax
import numpy as np
import pytest
from tiny_runs import recipe, records, settings, steps

from configs import finetune
import xlmr_jax
from xlmr_jax import train
from xlmr_jax.eval import __main__ as eval_command
from xlmr_jax.eval.metrics import scores
from xlmr_jax.tasks.kinds import KINDS

KIND = KINDS['multilabel']
NAMES = ('home', 'pet', 'tint')
APPLY = {
  'man': (),
  'house': ('home', 'tint'),
  'cat': ('pet',),
  'red': ('tint',),
  'asleep': ('home', 'pet', 'tint'),
}


def draw(count, seed):
  """Texts that say one word once or more; it decides what applies."""
  rng = np.random.default_rng(seed)
  words = rng.choice(list(APPLY), count).tolist()
  return [(' '.join([w] * rng.integers(1, 4)), APPLY[w]) for w in words]


TEST = draw(40, 3)


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
  """The same examples in each of the forms that are read."""
  folder = tmp_path_factory.mktemp('data')
  for name, examples in (('train', draw(120, 1)), ('dev', draw(40, 2))):
    rows = [f'{t}\t{",".join(names)}\n' for t, names in examples]
    (folder / f'sets-{name}.tsv').write_text('text\tlabel\n' + ''.join(rows))
  lines = [json.dumps({'text': t, 'label': list(names)}) for t, names in TEST]
  (folder / 'lists-en.jsonl').write_text('\n'.join(lines) + '\n')
  rows = [
    f'{t},{",".join(str(int(n in names)) for n in NAMES)}\n'
    for t, names in TEST
  ]
  (folder / 'columns-en.csv').write_text('text,home,pet,tint\n' + ''.join(rows))
  return folder


@pytest.fixture(scope='module')
def given(folder, tiny_tokenizer):
  given = settings(folder, tiny_tokenizer)
  given[finetune] |= {
    'objective': 'multilabel',
    'train': 'sets-train.tsv',
    'dev': 'sets-dev.tsv',
    'dev_languages': ('en',),
    'thresholds': 'per_label',
    'metric': 'macro_f1',
    'sizes.num_layers': 1,
    'dropout': 0.0,
    'attention_dropout': 0.0,
    'steps': 60,
    'eval_every': 30,
    'save_every': 0,
  }
  return given


@pytest.fixture(scope='module')
def finished(given, tmp_path_factory):
  workdir = tmp_path_factory.mktemp('multilabel')
  return workdir, train.train(recipe(given, finetune), workdir)


def test_it_learns_and_chooses_thresholds(finished):
  workdir, last = finished
  # All labels everywhere have a micro F1 of 65.
  assert last['dev_macro_f1'] > 75 and last['dev_micro_f1'] > 75
  assert last['dev_exact_match'] > 40
  log = records(workdir)
  losses = [r['loss'] for r in log if 'loss' in r]
  assert losses[0] == pytest.approx(np.log(2), abs=0.1)
  assert losses[-1] < 0.6 and 0 <= log[-2]['exact_match'] <= 1
  model = xlmr_jax.load(workdir)
  assert model.head == 'multilabel' and model.labels == NAMES
  # Those of the best step, by the metric that was asked for.
  judged = {r['step']: r for r in log if 'dev_macro_f1' in r}
  kept = steps(workdir)
  best = kept[max(kept)]['meta']['best_step']
  scores_of = {step: r['dev_macro_f1'] for step, r in judged.items()}
  assert scores_of[best] == max(scores_of.values())
  chosen = [judged[best][f'threshold/{name}'] for name in NAMES]
  assert kept[best]['meta']['deciding'] == {'thresholds': chosen}
  assert model.weights.deciding == {'thresholds': tuple(chosen)}
  assert len(set(chosen)) == 3


@pytest.mark.parametrize(
  'file, label',
  [
    ('lists-{language}.jsonl', 'label'),
    ('columns-{language}.csv', 'home,pet,tint'),
  ],
)
def test_the_command_scores_every_form(
  finished, folder, tmp_path, file, label, capsys
):
  """With the thresholds of the checkpoint."""
  workdir, _ = finished
  model = xlmr_jax.load(workdir)
  logits = model.logits([text for text, _ in TEST])
  answers = KIND.decode(logits, NAMES, **model.weights.deciding)
  gold = [names for _, names in TEST]
  evaluate(
    checkpoint=workdir,
    test=folder / file,
    label=label,
    kind='multilabel',
    output_dir=tmp_path,
  )
  results = json.loads((tmp_path / 'results.json').read_text())
  task = results['tasks']['words']
  assert task['metric'] == 'micro_f1' and task['average'] > 75
  assert task['average'] == scores.score('micro_f1', answers, gold)['micro_f1']
  shown = capsys.readouterr().out
  for name in ('macro_f1', 'exact_match'):
    want = scores.score(name, answers, gold, labels=NAMES)[name]
    assert task['parts'][name]['average'] == want
    assert f'{name} {want:.2f}' in shown
  written = (tmp_path / 'predictions' / 'words' / 'test-en.tsv').read_text()
  assert written == ''.join(','.join(names) + '\n' for names in answers)


def evaluate(**values):
  from absl import flags

  options = flags.FlagValues()
  eval_command.define_flags(options)
  options(
    ['eval', '--benchmark=words', *(f'--{k}={v}' for k, v in values.items())]
  )
  eval_command.main(['eval'], options)


def test_thresholds_go_to_hugging_face_and_back(finished, tmp_path):
  import transformers

  workdir, _ = finished
  model = xlmr_jax.load(workdir)
  model.save(tmp_path / 'hf', format='hf')
  config = json.loads((tmp_path / 'hf' / 'config.json').read_text())
  assert config['problem_type'] == 'multi_label_classification'
  assert list(config['id2label'].values()) == list(NAMES)
  thresholds = list(model.weights.deciding['thresholds'])
  assert config['xlmr_jax'] == {'thresholds': thresholds}
  again = xlmr_jax.load(tmp_path / 'hf')
  assert (again.head, again.labels) == (model.head, model.labels)
  assert again.weights.deciding == model.weights.deciding
  for format in ('orbax', 'hf'):
    again.save(tmp_path / format / 'again', format=format)
    third = xlmr_jax.load(tmp_path / format / 'again')
    assert third.weights.deciding == model.weights.deciding
  file = 'model.safetensors'
  assert (tmp_path / 'hf' / 'again' / file).read_bytes() == (
    tmp_path / 'hf' / file
  ).read_bytes()
  # Their pipeline gives each class the probability that ours decides by.
  texts = [text for text, _ in TEST[:8]]
  pipeline = transformers.pipeline(
    'text-classification', str(tmp_path / 'hf'), top_k=None
  )
  ours = jax.nn.sigmoid(np.stack(model.logits(texts)))
  for row, answer in zip(ours, pipeline(texts), strict=True):
    theirs = {x['label']: x['score'] for x in answer}
    np.testing.assert_allclose([theirs[n] for n in NAMES], row, atol=1e-5)
