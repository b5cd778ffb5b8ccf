"""PEFT's folders: its own forward, byte for byte, and what is refused."""

import dataclasses
import json

import jax
import numpy as np
import pytest

import xlmr_jax
from xlmr_jax.checkpoints import convert, directory, peft
from xlmr_jax.checkpoints.hf import names
from xlmr_jax.layers.lora import Lora

torch = pytest.importorskip('torch')
theirs = pytest.importorskip('peft')
import torch_models  # noqa: E402

EXAMPLES = [[0, 11, 12, 13, 2], [0, 42, 2], [0, 5, 17, 33, 21, 8, 9, 2]]
SIZES = dict(type_vocab_size=1, num_hidden_layers=2)

# task → settings of LoraConfig; each adapts in another way.
TASKS = {
  'SEQ_CLS': dict(r=4, lora_alpha=16),  # PEFT's own targets
  'TOKEN_CLS': dict(
    r=3,
    lora_alpha=5,
    use_rslora=True,
    target_modules=['query', 'dense'],
    rank_pattern={'intermediate.dense': 6},
    alpha_pattern={'attention.output.dense': 2},
  ),
  'QUESTION_ANS': dict(
    r=2, target_modules=r'.*\.layer\.\d+\.output\.dense', lora_dropout=0.1
  ),
  'FEATURE_EXTRACTION': dict(
    r=4, target_modules=['key', 'value', 'intermediate.dense']
  ),
}
XLMR, BERT = 'XLMRoberta', 'Bert'
# To PEFT the pooler, a part of our head, is BERT's body.
KINDS = [*((XLMR, task) for task in TASKS), (BERT, 'SEQ_CLS')]


@pytest.fixture(scope='session')
def base_folders(tmp_path_factory):
  """A masked language model: no adapter's task has its head; and a BERT."""
  folders = {}
  for family, head in ((XLMR, 'mlm'), (BERT, 'classify')):
    folders[family] = tmp_path_factory.mktemp('base')
    labels = {'num_labels': 3} if head == 'classify' else {}
    model = torch_models.tiny(head, family=family, **labels, **SIZES)
    model.save_pretrained(folders[family])
  return folders


@pytest.fixture(scope='session')
def base_folder(base_folders):
  return base_folders[XLMR]


def adapted(base_folder, task, family=XLMR, **settings):
  """Their model with random adapters and a random head."""
  head = names.TASK_TYPES[task]
  labels = {} if head in (None, 'answer') else {'num_labels': 3}
  cls = torch_models.class_of(head, family)
  options = {} if head else {'add_pooling_layer': False}
  model = cls.from_pretrained(base_folder, **labels, **options)
  config = theirs.LoraConfig(task_type=task, **settings)
  model = theirs.get_peft_model(model, config).eval()
  generator = torch.Generator().manual_seed(0)
  with torch.no_grad():
    for parameter in model.parameters():
      if parameter.requires_grad:
        parameter.normal_(0, 0.2, generator=generator)
  return model


@pytest.fixture(scope='session', params=KINDS, ids='-'.join)
def pair(request, base_folders, tmp_path_factory):
  """(kind, their model, its folder)."""
  family, task = request.param
  model = adapted(base_folders[family], task, family, **TASKS[task])
  folder = tmp_path_factory.mktemp('adapter')
  model.save_pretrained(folder)
  return request.param, model, folder


def their_outputs(model, task):
  out = []
  for ids in EXAMPLES:
    with torch.no_grad():
      given = model(torch.tensor([ids]))
    if task == 'QUESTION_ANS':
      scores = torch.stack([given.start_logits, given.end_logits], -1)[0]
    elif task == 'FEATURE_EXTRACTION':
      scores = given.last_hidden_state[0]
    else:
      scores = given.logits[0]
    out.append(scores.numpy())
  return out


def our_outputs(model):
  return model.logits(EXAMPLES) if model.head else model.encode(EXAMPLES)


def assert_close(got, want):
  for a, b in zip(got, want, strict=True):
    np.testing.assert_allclose(a, b, rtol=0, atol=1e-5)


def files_of(folder):
  return {x.name: x.read_bytes() for x in folder.iterdir()}


def test_forward_is_pefts(pair, tmp_path):
  """Read, kept in our format, merged into Hugging Face's: always the same."""
  (family, task), model, folder = pair
  want = their_outputs(model, task)
  ours = xlmr_jax.load(folder)
  assert ours.head == names.TASK_TYPES[task] and ours.config.lora
  assert ours.config.bert == (family == BERT)
  assert_close(our_outputs(ours), want)
  with model.disable_adapter():  # it matters
    plain = their_outputs(model, task)
  assert np.abs(plain[0] - want[0]).max() > 1e-2
  ours.save(tmp_path / 'ours')
  kept = xlmr_jax.load(tmp_path / 'ours')
  assert kept.config.lora == ours.config.lora
  assert_close(our_outputs(kept), want)
  kept.save(tmp_path / 'back', format='peft')
  kept.save(tmp_path / 'hf', format='hf')
  merged = xlmr_jax.load(tmp_path / 'hf')
  assert merged.config.lora == ()
  assert_close(our_outputs(merged), want)
  back, came = files_of(tmp_path / 'back'), files_of(folder)
  assert back.keys() == {peft.CONFIG, peft.WEIGHTS}
  for name, data in back.items():
    assert data == came[name], name


def test_transformers_reads_the_merged_model(pair, tmp_path):
  (family, task), model, folder = pair
  directory.write(tmp_path / 'hf', directory.read(folder), 'hf')
  cls = torch_models.class_of(names.TASK_TYPES[task], family)
  merged = cls.from_pretrained(tmp_path / 'hf').eval()
  assert_close(their_outputs(merged, task), their_outputs(model, task))


ROWS = {
  'as PEFT': [('attention/query', 4, 2.0), ('attention/value', 4, 2.0)],
  # A regex, patterns.
  'regex': [('ff/down', 2, 1.5), ('attention/key', 3, 0.7)],
  'all': [('attention/out', 2, 1.0), ('ff/up', 2, 1.0), ('ff/down', 5, 1.0)],
}


@pytest.mark.parametrize(
  ('family', 'task', 'rows'),
  [
    *((XLMR, 'SEQ_CLS', name) for name in ROWS),
    (XLMR, 'TOKEN_CLS', 'all'),
    (XLMR, 'QUESTION_ANS', 'regex'),
    (XLMR, 'FEATURE_EXTRACTION', 'regex'),
    (BERT, 'SEQ_CLS', 'regex'),
  ],
)
def test_peft_reads_what_we_write(family, task, rows, base_folders, tmp_path):
  """Their forward, and the file that they write again, tensor for tensor."""
  head, base_folder = names.TASK_TYPES[task], base_folders[family]
  labels = ['a', 'b', 'c'] if head in ('classify', 'tag') else None
  if family == BERT:
    model = xlmr_jax.load(base_folder)
    labels, own = model.labels, model.params['head']
    own = {**own, 'dense': jax.tree.map(lambda x: 1.5 * x, own['dense'])}
    model = model.replace(params={**model.params, 'head': own})
  elif head:
    with pytest.warns(UserWarning, match='random weights'):
      model = xlmr_jax.load(base_folder, head=head, labels=labels, fresh=True)
  else:
    model = xlmr_jax.load(base_folder, head=None)
  loras = tuple(Lora(f'layers/{name}', r, s) for name, r, s in ROWS[rows])
  config = dataclasses.replace(model.config, lora=loras)
  key = jax.random.key(0)
  encoder = jax.tree.map(lambda x: x, model.params['encoder'])
  for i, lora in enumerate(loras):
    dense = encoder
    for name in lora.path.split('/'):
      dense = dense[name]
    count, wide, out = dense['kernel'].shape
    draw = lambda n, *shape: (
      0.2 * jax.random.normal(jax.random.fold_in(key, n), shape)
    )
    dense['lora_a'] = draw(2 * i, count, wide, lora.rank)
    dense['lora_b'] = draw(2 * i + 1, count, lora.rank, out)
  model = model.replace(
    config=config,
    params={**model.params, 'encoder': encoder},
    adapter={'base': str(base_folder)},
  )
  model.save(tmp_path / 'adapter', format='peft')
  want = our_outputs(model)
  again = xlmr_jax.load(tmp_path / 'adapter')
  assert again.labels == model.labels
  assert_close(our_outputs(again), want)
  cls = torch_models.class_of(head, family)
  base = cls.from_pretrained(
    base_folder, **({'num_labels': 3} if labels else {})
  )
  loaded = theirs.PeftModel.from_pretrained(base, tmp_path / 'adapter').eval()
  assert_close(their_outputs(loaded, task), want)
  loaded.save_pretrained(tmp_path / 'theirs')
  mine, other = (
    peft.safetensors_file.header(tmp_path / name / peft.WEIGHTS)[0]
    for name in ('adapter', 'theirs')
  )
  assert list(mine) == list(other)
  for name, tensor in mine.items():
    assert peft.safetensors_file.same(tensor, other[name]), name


def edited(folder, target, drop=(), add=None, **facts):
  """A copy of an adapter's folder with other settings or tensors."""
  from safetensors.numpy import load_file, save_file

  target.mkdir()
  config = json.loads((folder / peft.CONFIG).read_text())
  (target / peft.CONFIG).write_text(json.dumps({**config, **facts}))
  tensors = load_file(folder / peft.WEIGHTS)
  tensors = {k: v for k, v in tensors.items() if not any(x in k for x in drop)}
  save_file({**tensors, **(add or {})}, target / peft.WEIGHTS)
  return target


Q = 'base_model.model.roberta.encoder.layer.0.attention.self.query'
BAD = {
  'dora': (dict(use_dora=True), 'use_dora = True is not supported'),
  'bias': (dict(bias='all'), "bias = 'all' is not supported"),
  'layers': (dict(layers_to_transform=[0]), 'layers_to_transform = '),
  'pissa': (dict(init_lora_weights='pissa'), "'pissa' changes the base"),
  'kind': (dict(peft_type='IA3'), "peft_type = 'IA3' is not supported"),
  'task': (dict(task_type='CAUSAL_LM'), "task_type = 'CAUSAL_LM' is not one"),
  'no base': (
    dict(base_model_name_or_path=None),
    r'names no base_model.*--bas',
  ),
  'gone': (
    dict(base_model_name_or_path='/nowhere/base'),
    "is an adapter, and its base '/nowhere/base' cannot be read",
  ),
  'rank': (dict(r=5), r'attention/query has the ranks \[4, 5\]'),
  'one layer': (dict(drop=['layer.1.']), 'has no adapter in layer 1 of 2'),
  'no head': (dict(drop=['classifier']), "no head for task_type = 'SEQ_CLS'"),
  'no updates': (dict(drop=['lora_']), 'holds no lora_A and lora_B'),
  'on a head': (
    dict(add={'base_model.model.classifier.dense.lora_A.weight': (4, 32)}),
    'is an adapter on a head',
  ),
  'unknown target': (
    dict(add={f'{Q[:-5]}gate.lora_A.weight': (4, 32)}),
    r'self\.gate\.lora_A.* adapts nothing .* attention\.output\.dense',
  ),
  'embeddings': (
    dict(
      add={
        'base_model.model.roberta.embeddings.word_embeddings.lora_embedding_A'
        '': (4, 61)
      }
    ),
    'lora_embedding_A.* adapts nothing that this model has',
  ),
  'body': (
    dict(add={f'{Q}.weight': (32, 32)}),
    'query.weight.* is a weight of the body',
  ),
  'other width': (
    dict(drop=[f'{Q}.lora_A'], add={f'{Q}.lora_A.weight': (4, 48)}),
    r'has the shape \(4, 48\), and the base has 32 there: .*another body',
  ),
}


@pytest.fixture(scope='session')
def classifier(base_folder, tmp_path_factory):
  folder = tmp_path_factory.mktemp('classifier')
  model = adapted(base_folder, 'SEQ_CLS', **TASKS['SEQ_CLS'])
  model.save_pretrained(folder)
  return folder


@pytest.mark.parametrize('name', BAD)
def test_refused(name, classifier, tmp_path):
  changes, message = BAD[name]
  add = {
    key: np.zeros(shape, np.float32)
    for key, shape in changes.get('add', {}).items()
  }
  folder = edited(classifier, tmp_path / 'bad', **{**changes, 'add': add})
  with pytest.raises(ValueError, match=message) as error:
    xlmr_jax.load(folder)
  assert '\n' not in str(error.value) and str(folder) in str(error.value)


def test_another_body(classifier, tmp_path):
  """A base of another depth; and a base that is given for a whole model."""
  torch_models.tiny('mlm', type_vocab_size=1).save_pretrained(tmp_path / 'deep')
  with pytest.raises(ValueError, match='has no adapter in layer 2 of 3'):
    xlmr_jax.load(classifier, base=str(tmp_path / 'deep'))
  with pytest.raises(ValueError, match='is for adapters, and .* is a model'):
    xlmr_jax.load(tmp_path / 'deep', base=str(classifier))


def test_a_base_without_berts_pooler(base_folders, tmp_path):
  model = adapted(base_folders[BERT], 'SEQ_CLS', BERT, **TASKS['SEQ_CLS'])
  model.save_pretrained(tmp_path / 'adapter')
  base = torch_models.tiny('mlm', family=BERT, **SIZES)
  base.save_pretrained(tmp_path / 'base')
  with pytest.raises(ValueError, match='holds no pooler, and neither does its'):
    xlmr_jax.load(tmp_path / 'adapter', base=str(tmp_path / 'base'))


def test_what_has_no_place_in_their_files(base_folder, tmp_path):
  model = xlmr_jax.load(base_folder)
  with pytest.raises(ValueError, match='has no adapters to write'):
    model.save(tmp_path / 'a', format='peft')
  lora = (Lora('layers/ff/up', 2, 1.0),)
  model = model.replace(config=dataclasses.replace(model.config, lora=lora))
  with pytest.raises(ValueError, match="no place for the head 'mlm'"):
    model.save(tmp_path / 'b', format='peft')
  params = {'encoder': model.params['encoder']}
  model = model.replace(head=None, params=params)
  with pytest.raises(ValueError, match='no base is known .* --base'):
    model.save(tmp_path / 'c', format='peft')
  assert not list(tmp_path.iterdir())


def test_convert(classifier, base_folder, tmp_path, capsys):
  """To ours, to theirs under another base, merged."""
  from absl import flags

  def run(*words):
    values = flags.FlagValues()
    convert.define_flags(values)
    argv = values(['convert', *map(str, words)])
    convert.main(argv, values)

  run(classifier, tmp_path / 'ours')
  assert 'adapters: attention/query, attention/value' in capsys.readouterr().out
  run(tmp_path / 'ours', tmp_path / 'back', '--format=peft', '--base=me/other')
  facts = json.loads((tmp_path / 'back' / peft.CONFIG).read_text())
  assert facts['base_model_name_or_path'] == 'me/other'
  before = json.loads((classifier / peft.CONFIG).read_text())
  assert facts == {**before, 'base_model_name_or_path': 'me/other'}
  run(tmp_path / 'back', tmp_path / 'plain', f'--base={base_folder}', '--merge')
  want = xlmr_jax.load(classifier)
  plain = xlmr_jax.load(tmp_path / 'plain')
  assert plain.config.lora == () and plain.weights.adapter is None
  assert_close(our_outputs(plain), our_outputs(want))
  with pytest.raises(ValueError, match='--base is for adapters'):
    run(tmp_path / 'plain', tmp_path / 'x', '--base=y', '--format=hf')
