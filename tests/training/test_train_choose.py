"""Choosing end to end: files → training → checkpoint → scores, in seconds."""

import dataclasses
import json

from absl import flags
import jax
import numpy as np
import pytest
from tiny_runs import SIZES, records, steps

from configs import finetune
import xlmr_jax
from xlmr_jax import train
from xlmr_jax.data.batches import loader, pack
from xlmr_jax.data.readers import choices
from xlmr_jax.data.tokenizers import train_tokenizer, xlmr
from xlmr_jax.eval import __main__ as command
from xlmr_jax.eval.benchmarks import table
from xlmr_jax.eval.benchmarks.benchmark import Benchmark
from xlmr_jax.runtime import sharding
from xlmr_jax.tasks import choose
from xlmr_jax.training import objectives

WORDS = 'man house red sees the no dog sleeps'.split()
ASKED = 'What was the cause?', 'What was the effect?'


def questions(count, seed, answers=2):
  """(premise, question, answers, place of the right one: with a cat)."""
  rng = np.random.default_rng(seed)

  def text(*more):
    words = [*rng.choice(WORDS, rng.integers(1, 4)), *more]
    return ' '.join(rng.permutation(words))

  out = []
  for _ in range(count):
    gold = int(rng.integers(answers))
    given = [text(*(['cat'] * (i == gold))) for i in range(answers)]
    out.append((text(), ASKED[rng.integers(2)], given, gold))
  return out


def write_xcopa(path, made, labels=True):
  path.parent.mkdir(exist_ok=True)
  with open(path, 'w', encoding='utf-8') as file:
    for number, (premise, asked, (one, two), gold) in enumerate(made):
      item = {'premise': premise, 'choice1': one, 'choice2': two}
      item |= {'question': asked.split()[-1][:-1], 'idx': number}
      item |= {'label': gold} if labels else {}
      file.write(json.dumps(item) + '\n')


def write_siqa(path, made):
  with open(path, 'w', encoding='utf-8') as file:
    for context, asked, given, gold in made:
      item = {'context': context, 'question': asked, 'correct': 'ABC'[gold]}
      item |= {f'answer{"ABC"[i]}': x for i, x in enumerate(given)}
      file.write(json.dumps(item) + '\n')


@pytest.fixture(scope='module')
def vocabulary(tmp_path_factory):
  text = [
    ' '.join((premise, asked, *given))
    for premise, asked, given, _ in questions(400, 9)
  ]
  folder = tmp_path_factory.mktemp('words')
  model = train_tokenizer.train(text, 60, hard_vocab_limit=False)
  xlmr.Tokenizer(model).save(folder)
  return folder


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
  folder = tmp_path_factory.mktemp('xcopa')
  write_xcopa(folder / 'en/train.en.jsonl', questions(160, 0))
  write_xcopa(folder / 'en/val.en.jsonl', questions(30, 1))
  write_xcopa(folder / 'et/test.et.jsonl', questions(40, 2))
  write_xcopa(folder / 'qu/test.qu.jsonl', questions(20, 3), labels=False)
  write_siqa(folder / 'socialIQa_v1.4_trn.jsonl', questions(60, 4, 3))
  write_siqa(folder / 'socialIQa_v1.4_dev.jsonl', questions(20, 5, 3))
  return folder


def recipe(folder, vocabulary, argument='task=xcopa,model=tiny', **changes):
  config = finetune.get_config(argument)
  config.update_from_flattened_dict(
    {
      **{f'sizes.{name}': size for name, size in SIZES.items()},
      'tokenizer': str(vocabulary),
      'data_dir': str(folder),
      'progress': False,
      'log_every': 1,
      'row_length': 96,
      'max_length': 32,
      'batch_size': 12,
      'epochs': 5,
      'dropout': 0.0,
      'optim.learning_rate': 1e-2,
      'save_every': 1000,
      **{name.replace('__', '.'): value for name, value in changes.items()},
    }
  )
  return config.lock()


def build(*given, **changes):
  return train.build_job(
    recipe(*given, **changes), 'unused', sharding.make_mesh()
  )


def test_a_chooser_learns_and_is_scored(folder, vocabulary, tmp_path):
  run = tmp_path / 'run'
  last = train.train(recipe(folder, vocabulary), run)
  assert last['dev_accuracy'] == last['dev_accuracy/en'] > 95
  assert steps(run)[max(steps(run))]['meta']['best_score'] > 95
  losses = [r['loss'] for r in records(run) if 'loss' in r]
  assert losses[0] == pytest.approx(np.log(2), abs=0.2) and losses[-1] < 0.2
  options = flags.FlagValues()
  command.define_flags(options)
  given = (
    'eval',
    '--benchmark=xcopa',
    f'--checkpoint={run}',
    f'--data_dir={folder}',
    f'--output_dir={tmp_path / "out"}',
    '--languages=et,qu',
  )
  command.main(options(given), options)
  results = json.loads((tmp_path / 'out/results.json').read_text())
  scores = results['tasks']['xcopa']['languages']
  assert scores['qu'] is None and scores['et'] > 90
  found = {}
  for name in ('et', 'qu'):
    path = tmp_path / f'out/predictions/xcopa/test-{name}.jsonl'
    lines = path.read_text().splitlines()
    found[name] = [json.loads(line)['label'] for line in lines]
  gold = [q[-1] for q in questions(40, 2)]
  right = np.mean([a == b for a, b in zip(found['et'], gold, strict=True)])
  assert scores['et'] == pytest.approx(100 * right)
  assert len(found['qu']) == 20 and set(found['qu']) == {0, 1}
  model = xlmr_jax.load(run)
  assert model.head == 'choose' and model.labels is None


def test_social_iqa_comes_before_copa(folder, vocabulary, tmp_path):
  """Three answers, then two, under one head that is kept."""
  first = recipe(
    folder, vocabulary, 'task=siqa,model=tiny', epochs=8, eval_every=100
  )
  last = train.train(first, tmp_path / 'siqa')
  assert last['dev_accuracy/en'] > 90
  changes = dict(init=str(tmp_path / 'siqa'), tokenizer='')
  sizes = {f'sizes__{name}': None for name in SIZES}
  job = build(folder, vocabulary, **changes, **sizes)
  found = job.origin.params['head']['out']['kernel']
  key, whole = jax.random.key(0), sharding.whole(sharding.make_mesh())
  shapes = jax.eval_shape(job.fresh, key)
  params = job.start(key, jax.tree.map(lambda _: whole, shapes))
  np.testing.assert_array_equal(params['head']['out']['kernel'], found)


def test_batches_hold_every_question_whole(folder, vocabulary):
  """What the loss sees, against the file read line by line."""
  job = build(folder, vocabulary, 'task=siqa,model=tiny')
  model = xlmr.Tokenizer(vocabulary)
  path = folder / 'socialIQa_v1.4_trn.jsonl'
  want = {}
  for number, line in enumerate(path.read_text().splitlines()):
    item = json.loads(line)
    asked = f'{item["context"]} {item["question"]}'
    want[number] = [
      (model.encode(asked, item[f'answer{x}']), int(item['correct'] == x))
      for x in 'ABC'
    ]
  got = {}
  for step in range(job.loader.steps_per_epoch):
    batch = job.loader.batch(step)
    assert batch['group'].shape == batch['labels'].shape
    assert ((batch['group'] < 0) == (batch['labels'] < 0)).all()
    for row, group in enumerate(batch['group']):
      for number in set(group[group >= 0].tolist()):
        assert number not in got
        got[number] = [
          (
            batch['tokens'][row][batch['segments'][row] == slot + 1].tolist(),
            int(batch['labels'][row, slot]),
          )
          for slot in np.flatnonzero(group == number)
        ]
  assert got == want


def mixed():
  """Questions with two to four answers."""
  return [
    choices.Choice(made[:2], tuple(made[2]), made[3], f'q:{number}')
    for answers in (2, 3, 4)
    for number, made in enumerate(questions(9, answers, answers))
  ]


def apart(features, number):
  """A batch of one question in one row; the last slots may be empty."""
  rows = [[i for i, f in enumerate(features) if f['example'] == number]]
  batch = pack.fill(
    features, rows, row_length=256, max_examples=4, label=('int32', 'B E')
  )
  return {**batch, 'group': np.where(batch['example'] < 0, -1, number)}


def test_packed_is_one_question_at_a_time(vocabulary, make_model):
  """Loss and gradient, in one batch and in the micro-batches of every cut."""
  model = make_model(vocabulary, 'choose')
  asked = mixed()
  features = choose.encode(asked, model.tokenizer, max_length=64)
  data = loader.Loader(
    features,
    row_length=160,
    rows=12,
    epochs=1,
    label=('int32', 'B E'),
    groups=[feature['example'] for feature in features],
  )
  objective = objectives.choose(model.config)

  @jax.jit
  def one(params, batch):
    def total(params):
      sums = objective.loss(params, batch, None)
      return sums['loss'][0].sum(), sums

    return jax.value_and_grad(total, has_aux=True)(params)

  def run(batches):
    """Sums of loss, questions, right ones and gradients."""
    parts = []
    for batch in batches:
      (loss, sums), grads = one(model.params, batch)
      facts = loss, sums['loss'][1].sum(), sums['accuracy'][0].sum()
      parts.append((facts, grads))
    return jax.tree.map(lambda *x: np.sum(np.array(x, np.float64), 0), *parts)

  # Softmax over the scores of one answer at a time, by hand.
  loss = right = 0
  for question in asked:
    scores = []
    for answer in question.choices:
      text = ' '.join(question.texts)
      ids = np.array(model.tokenizer.encode(text, answer), np.int32)
      scores.append(float(model.logits([ids])[0][0]))
    loss += np.log(np.exp(scores).sum()) - scores[question.label]
    right += int(np.argmax(scores) == question.label)
  assert 0 < right < len(asked) == 27
  assert loss > 0.1 * len(asked)
  alone = run(apart(features, number) for number in range(len(asked)))
  batches = [data.batch(step) for step in range(data.total_steps)]
  assert len(batches) > 1
  top = max(np.abs(leaf).max() for leaf in jax.tree.leaves(alone[1]))
  for cut in (1, 2, 12):
    parts = [
      {name: x[first::cut] for name, x in batch.items()}
      for batch in batches
      for first in range(cut)
    ]
    facts, grads = run(parts)
    np.testing.assert_allclose(facts, (loss, 27, right), rtol=1e-5)
    jax.tree.map(
      lambda a, b: np.testing.assert_allclose(a, b, rtol=0, atol=2e-5 * top),
      grads,
      alone[1],
    )


def test_micro_batches_are_one_batch(folder, vocabulary, tmp_path):
  runs = []
  for accumulate in (1, 2):
    run = tmp_path / str(accumulate)
    config = recipe(
      folder, vocabulary, accumulate=accumulate, steps=4, optim__eps=1e-3
    )
    rows = build(folder, vocabulary, accumulate=accumulate).loader.rows
    assert rows % 2 == 0
    train.train(config, run)
    runs.append((rows, records(run), steps(run)[4]['params']))
  (rows, one, params), (again, two, other) = runs
  assert rows == again
  for a, b in zip(one, two, strict=True):
    assert a.keys() == b.keys()
    for name in ('loss', 'accuracy', 'grad_norm'):
      if name in a:
        assert a[name] == pytest.approx(b[name], rel=1e-4)
  for name, leaf in params.items():
    np.testing.assert_allclose(leaf, other[name], rtol=0, atol=1e-5)


def test_real_copa_is_packed(data_dir, vocabulary):
  words = data_dir / 'tokenizers/xlm-roberta'
  changes = {'row_length': 128, 'max_length': 128, 'batch_size': 8}
  changes |= {'sizes.max_positions': 130}
  job = build(data_dir / 'xcopa', words, **changes)
  assert abs(job.loader.examples_per_step - 8) < 1
  found = []
  for step in range(job.loader.steps_per_epoch):
    batch = job.loader.batch(step)
    for group, labels in zip(batch['group'], batch['labels'], strict=True):
      names, counts = np.unique(group[group >= 0], return_counts=True)
      assert (counts == 2).all()
      for name in names:
        assert sorted(labels[group == name]) == [0, 1]
      found += names.tolist()
  assert sorted(found) == list(range(400))
  real = sum(
    (job.loader.batch(step)['segments'] > 0).sum()
    for step in range(job.loader.steps_per_epoch)
  )
  # Every line once, encoded one at a time.
  model = xlmr.Tokenizer(words)
  path = data_dir / 'xcopa/en/train.en.jsonl'
  rows = map(json.loads, path.read_text('utf-8').splitlines())
  assert real == sum(
    len(model.encode(f'{r["premise"]} What was the {r["question"]}?', choice))
    for r in rows
    for choice in (r['choice1'], r['choice2'])
  )
  assert job.loader.efficiency > 0.8


def test_recipes_lie_in_xcopas_grid():
  for task, model in (('xcopa', 'base'), ('xcopa', 'large'), ('siqa', 'base')):
    c = finetune.get_config(f'task={task},model={model}')
    assert c.objective == 'choose' and c.max_length <= c.row_length
    assert c.optim.learning_rate in (5e-6, 1e-5, 3e-5)
    assert c.batch_size in (4, 8) and c.dropout in (0, 0.1)
    assert c.dev_languages == ('en',)


@pytest.mark.parametrize(
  'changes, message',
  [
    (
      {'objective': 'classify'},
      'classify does not fit xcopa: set it to choose',
    ),
    ({'dev_languages': ('xx',)}, "xcopa has no language 'xx'"),
    ({'dev_languages': ('et',)}, "no XCOPA dev file for 'et'"),
    ({'train_languages': ('qu',)}, "no XCOPA train file for 'qu'"),
    ({'row_length': 32}, 'share a row, more than config.row_length=32: set '),
    (
      {'argument': 'task=xnli,model=tiny', 'objective': 'choose'},
      'choose does',
    ),
  ],
)
def test_what_does_not_fit(folder, vocabulary, changes, message):
  with pytest.raises(ValueError) as error:
    build(folder, vocabulary, **changes)
  assert message in str(error.value) and '\n' not in str(error.value)


def test_the_longest_question_is_named(folder, vocabulary):
  model = xlmr.Tokenizer(vocabulary)
  sums = [
    sum(len(model.encode(f'{premise} {asked}', x)) for x in given)
    for premise, asked, given, _ in questions(160, 0)
  ]
  longest = max(sums)
  where = f'train.en.jsonl:{sums.index(longest) + 1}: the choices of this'
  with pytest.raises(ValueError, match=where) as error:
    build(folder, vocabulary, row_length=longest - 1)
  assert f'have {longest} tokens' in str(error.value)
  assert build(folder, vocabulary, row_length=longest).loader.total_steps


def test_files_without_labels_are_not_learned_from(vocabulary, tmp_path):
  for split in ('train', 'val'):
    for name in ('train', 'val'):
      path = tmp_path / f'en/{name}.en.jsonl'
      write_xcopa(path, questions(20, 5), labels=name != split)
    with pytest.raises(
      ValueError, match=f'{split}.en.jsonl:1: no label; train'
    ):
      build(tmp_path, vocabulary)


def test_the_fingerprint_sees_where_a_question_ends(folder, vocabulary):
  """The same answers and labels, in other questions."""

  def fingerprint(sizes):
    given = iter([f'{word} cat' for word in WORDS[:5]])
    made = [
      choices.Choice(
        ('the man',), tuple(next(given) for _ in range(size)), gold, 'f:1'
      )
      for size, gold in sizes
    ]
    task = dataclasses.replace(table.tunable()['siqa'], read=lambda *_: made)
    with pytest.MonkeyPatch.context() as patch:
      row = Benchmark('own', (), tuning=(task,))
      patch.setitem(table.BENCHMARKS, 'own', row)
      return build(folder, vocabulary, 'task=siqa,model=tiny').fingerprint

  # Labels 1 0 0 1 0 both times.
  assert fingerprint([(2, 0), (3, 1)]) != fingerprint([(3, 0), (2, 0)])
  assert fingerprint([(2, 0), (3, 1)]) == fingerprint([(2, 0), (3, 1)])
