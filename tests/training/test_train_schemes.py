"""Chains trained on data in other schemes than BIO, and in windows."""

import json

import numpy as np
import pytest
from tagging_runs import recipe, write

import xlmr_jax
from xlmr_jax import train
from xlmr_jax.checkpoints import native
from xlmr_jax.data.readers import columns
from xlmr_jax.data.tokenizers import train_tokenizer, xlmr
from xlmr_jax.eval import evaluate
from xlmr_jax.eval.task import user_task
from xlmr_jax.tasks import schemes

FIRST, LAST, OTHER = ('Ann', 'Bob'), ('Lee', 'Kim'), ('sees', 'near', '.')


def sentences(count, seed, scheme):
  """Names are a first name and up to four others; two may touch."""
  rng = np.random.default_rng(seed)
  row = schemes.SCHEMES[scheme]
  out = []
  for _ in range(count):
    words, tags = [], []
    while len(words) < 6 or rng.random() < 0.8:
      if rng.random() < 0.4:
        words.append(str(rng.choice(OTHER)))
        tags.append('O')
        continue
      more = rng.integers(0, 5)
      words += [str(rng.choice(FIRST)), *map(str, rng.choice(LAST, more))]
      if scheme == 'IOBES':
        letters = f'B{"I" * (more - 1)}E' if more else 'S'
      else:
        touches = scheme == 'IOB1' and tags and tags[-1] != 'O'
        letters = ('B' if touches or scheme == 'BIO' else 'I') + 'I' * more
      assert set(letters) <= row.letters
      tags += [f'{letter}-PER' for letter in letters]
    out.append((words, tags))
  return out


def make_tokenizer(folder, text):
  model = train_tokenizer.train(text, 200, hard_vocab_limit=False)
  xlmr.Tokenizer(model).save(folder)
  return folder


def train_chain(folder, vocabulary, workdir, **changes):
  config = recipe(
    folder,
    vocabulary,
    'task=names,model=tiny',
    objective='crf',
    train='train.tsv',
    dev='dev.tsv',
    eval_every=10_000,
    **changes,
  )
  return train.train(config, workdir)


@pytest.mark.parametrize(
  'scheme, max_length', [('IOB1', 32), ('IOBES', 10)]
)  # fmt: skip
def test_a_chain_learns_its_datas_scheme(tmp_path, capsys, scheme, max_length):
  """In windows too: they begin and end inside of names."""
  write(tmp_path / 'train.tsv', sentences(200, 0, scheme))
  write(tmp_path / 'dev.tsv', sentences(30, 1, scheme))
  text = [' '.join(words) for words, _ in sentences(200, 0, scheme)]
  vocabulary = make_tokenizer(tmp_path / 'words', text)
  run = tmp_path / 'run'
  last = train_chain(tmp_path, vocabulary, run, max_length=max_length)
  assert last['dev_span_f1'] == 100
  said = capsys.readouterr().out
  assert f'tags are in {scheme}: {schemes.SCHEMES[scheme].meaning}' in said
  # A checkpoint says it, in our format and in Hugging Face's.
  model = xlmr_jax.load(run)
  assert model.weights.scheme == scheme
  model.save(tmp_path / 'hf', format='hf')
  facts = json.loads((tmp_path / 'hf/config.json').read_text())
  assert facts['tag_scheme'] == scheme
  model = xlmr_jax.load(tmp_path / 'hf')
  assert model.weights.scheme == scheme
  task = user_task(
    'names',
    {'test': str(tmp_path / 'dev.tsv')},
    ['en'],
    metric='span_f1',
    max_length=max_length,
  )
  examples = {'en': task.read('', 'test', 'en')}
  result = evaluate.evaluate(model, task, examples, show=False)
  assert result.scores == {'en': 100}
  windows = [
    feature['example']
    for feature in task.kind.encode(
      examples['en'],
      model.tokenizer,
      labels=model.labels,
      max_length=max_length,
    )
  ]
  assert (np.bincount(windows).max() > 4) == (scheme == 'IOBES')
  # As BIO, which is what the names look like, no sentence begins with I-.
  if scheme == 'IOB1':
    as_bio = evaluate.evaluate(
      model.replace(scheme='BIO'), task, examples, show=False
    )
    begins = [
      {tags[0] for tags in r.predictions['en']} for r in (result, as_bio)
    ]
    assert begins == [{'O', 'I-PER'}, {'O', 'B-PER'}]


def test_conlls_names(data_dir, tmp_path):
  """IOB1, as CoNLL 2003 is written: a chain is no worse than single tags."""
  folder = data_dir.parent / 'cases/iob1'
  if not folder.exists():
    pytest.skip(f'{folder} is not there')
  text = [' '.join(s.words) for s in columns.read(folder / 'train.tsv')]
  vocabulary = make_tokenizer(tmp_path / 'words', text)
  last = train_chain(folder, vocabulary, tmp_path / 'run', epochs=10)
  assert last['dev_span_f1'] > 99.4  # 51.7 under BIO's rules


def test_descriptions_without_and_with_a_wrong_scheme(tmp_path):
  from xlmr_jax.checkpoints.weights import Weights
  from xlmr_jax.model import Config

  config = Config()
  weights = Weights(config, {}, 'crf', ('O', 'B-P', 'I-P'), scheme='IOB1')
  native.write_description(tmp_path, weights)
  path = tmp_path / 'model.json'
  assert native.read_description(tmp_path).scheme == 'IOB1'
  facts = json.loads(path.read_text())
  path.write_text(json.dumps({**facts, 'scheme': 'IOB9'}))
  with pytest.raises(ValueError, match="scheme 'IOB9' is not one of BIO, IOB1"):
    native.read_description(tmp_path)
  del facts['scheme']  # a model that is older than this
  path.write_text(json.dumps(facts))
  assert native.read_description(tmp_path).scheme is None
