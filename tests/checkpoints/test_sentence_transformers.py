"""sentence-transformers' directories: read, computed with, and given back."""

import dataclasses
import json
import pathlib
import shutil

import numpy as np
import pytest
import torch
from torch_models import tiny
import transformers

import xlmr_jax
from xlmr_jax.checkpoints.hf import sentence_transformers
from xlmr_jax.checkpoints.hf.files import Folder
from xlmr_jax.checkpoints.hf.sentence_transformers import Pooling
from xlmr_jax.checkpoints.weights import SPM
from xlmr_jax.data.tokenizers.xlmr import Tokenizer

TEXTS = [
  'A man is asleep in the house.',
  'No man sees the red cat.',
  'Niemand sieht die rote Katze.',
  'Мужчина спит в доме.',
  'cat',
]
LONG = 'No man sees the red cat in the house. ' * 3
OLD, NEW = (
  'sentence_transformers.models.',
  'sentence_transformers.sentence_transformer.modules.',
)


def modules(*kinds, start=OLD, first='') -> list[dict]:
  """modules.json; `first` is the folder of the body."""
  return [
    {
      'idx': i,
      'name': str(i),
      'path': f'{i}_{kind}' if i else first,
      'type': (start + f'{kind.lower()}.{kind}')
      if start == NEW
      else start + kind,
    }
    for i, kind in enumerate(kinds)
  ]


def switches(*on, **more) -> dict:
  """1_Pooling/config.json as it was until 2025."""
  names = ('cls_token', 'mean_tokens', 'max_tokens', 'mean_sqrt_len_tokens')
  names += ('weightedmean_tokens', 'lasttoken')
  modes = {f'pooling_mode_{name}': name in on for name in names}
  return {'word_embedding_dimension': 32, **modes, **more}


VERSIONS = {'sentence_transformers': '2.2.2', 'pytorch': '2.0.1'}
# Name → (file → what stands in it, what it means).
LAYOUTS = {
  'plain': (
    {
      'modules.json': modules('Transformer', 'Pooling'),
      '1_Pooling/config.json': switches('mean_tokens'),
    },
    Pooling('mean'),
  ),
  'flat': (
    {
      'modules.json': modules('Transformer', 'Pooling', 'Normalize'),
      '1_Pooling/config.json': switches('cls_token', include_prompt=True),
      'sentence_bert_config.json': {
        'max_seq_length': 12,
        'do_lower_case': False,
      },
      'config_sentence_transformers.json': {
        '__version__': VERSIONS,
        'prompts': {
          'query': 'die Katze: ',
          'passage': '',
          'ähnlich': 'Мужчина ',
        },
        'default_prompt_name': None,
        'similarity_fn_name': 'cosine',
      },
    },
    Pooling(
      'cls',
      normalize=True,
      max_length=12,
      prompts={'query': 'die Katze: ', 'passage': '', 'ähnlich': 'Мужчина '},
    ),
  ),
  'older': (
    {
      'modules.json': modules('Transformer', 'Pooling', first='0_Transformer'),
      '1_Pooling/config.json': {
        'word_embedding_dimension': 32,
        'pooling_mode_cls_token': False,
        'pooling_mode_mean_tokens': True,
        'pooling_mode_max_tokens': False,
        'pooling_mode_mean_sqrt_len_tokens': False,
      },
      '0_Transformer/sentence_bert_config.json': {
        'max_seq_length': 9,
        'do_lower_case': True,
      },
      'config.json': {'__version__': '0.3.6'},
    },
    Pooling('mean', max_length=9, lowercase=True),
  ),
  'newer': (
    {
      'modules.json': modules('Transformer', 'Pooling', 'Normalize', start=NEW),
      '1_Pooling/config.json': {
        'embedding_dimension': 32,
        'pooling_mode': 'mean',
        'include_prompt': True,
      },
      'sentence_bert_config.json': {
        'transformer_task': 'feature-extraction',
        'max_seq_length': None,
      },
      'config_sentence_transformers.json': {
        'model_type': 'SentenceTransformer',
        'prompts': {'query': 'the red ', 'document': ''},
        'default_prompt_name': 'query',
      },
    },
    Pooling(
      'mean',
      normalize=True,
      prompts={'query': 'the red ', 'document': ''},
      default_prompt='query',
    ),
  ),
  'newer cls': (
    {
      'modules.json': modules('Transformer', 'Pooling', start=NEW),
      '1_Pooling/config.json': {'pooling_mode': 'cls'},
      'sentence_xlm-roberta_config.json': {'max_seq_length': 20},
    },
    Pooling('cls', max_length=20),
  ),
}


def save_files(folder: pathlib.Path, files: dict) -> None:
  """As various people wrote them: other indents, ends of lines, escapes."""
  for i, (name, value) in enumerate(sorted(files.items())):
    text = json.dumps(value, indent=i % 3 or None, ensure_ascii=i % 2 == 0)
    end = '\r\n' if i % 2 else '\n'
    text = text.replace('\n', end) + end * (i % 3)
    (folder / name).parent.mkdir(exist_ok=True, parents=True)
    (folder / name).write_bytes(text.encode())


@pytest.fixture(scope='module')
def theirs(tiny_tokenizer):
  """A body of transformers with the tokenizer's size."""
  size = Tokenizer(tiny_tokenizer).vocab_size
  return tiny(None, pooler=False, vocab_size=size)


@pytest.fixture
def directory(theirs, tiny_tokenizer, tmp_path):
  """(layout, change of its files) → a folder."""

  def make(name, **changes):
    files = LAYOUTS[name][0] if name else {}
    folder = tmp_path / 'source'
    below = '0_Transformer' if name == 'older' else ''
    theirs.save_pretrained(folder / below)
    for file in (SPM,):
      shutil.copyfile(tiny_tokenizer / file, folder / below / file)
    files = {**files, **changes}
    save_files(folder, {k: v for k, v in files.items() if v is not None})
    return folder

  return make


def states(model, ids) -> np.ndarray:
  with torch.no_grad():
    return model(torch.tensor([ids])).last_hidden_state[0].numpy()


def vector(model, ids, facts: Pooling) -> np.ndarray:
  """The formula."""
  hidden = states(model, ids)
  out = {'cls': hidden[0], 'mean': hidden.mean(0)}[facts.how]
  return out / np.sqrt((out**2).sum()) if facts.normalize else out


def cut(ids, limit) -> list[int]:
  """The first tokens, and </s>."""
  return ids if len(ids) <= limit else [*ids[: limit - 1], 2]


def close(ours, want):
  assert ours.dtype == np.float32 and ours.shape == np.shape(want)
  np.testing.assert_allclose(ours, want, rtol=0, atol=1e-5)


# --- Read -------------------------------------------------------------------


@pytest.mark.parametrize('name', LAYOUTS)
def test_a_directory_says_how(directory, name):
  files, want = LAYOUTS[name]
  folder = directory(name)
  ours, _, texts = sentence_transformers.read(Folder(folder))
  assert ours == want
  # The body's own config.json is not one of them.
  assert texts.keys() == files.keys() - {'config.json'}
  for file, text in texts.items():
    assert text.encode() == (folder / file).read_bytes()
  inner = '0_Transformer' if name == 'older' else '.'
  assert sentence_transformers.body(Folder(folder)) == pathlib.PurePath(inner)


def test_a_directory_without_modules_says_nothing(directory):
  folder = directory(None)
  assert sentence_transformers.read(Folder(folder)) == (None, None, {})
  assert sentence_transformers.body(Folder(folder)) == pathlib.PurePath()


@pytest.mark.parametrize(
  ('changes', 'message'),
  [
    (
      {'modules.json': modules('Transformer', 'Pooling', 'LSTM')},
      r'modules\.json: module LSTM is not supported; known are Tr',
    ),
    (
      {'modules.json': modules('WordEmbeddings', 'Pooling')},
      'names no Transformer',
    ),
    ({'modules.json': modules('Transformer')}, 'names no Pooling'),
    ({'modules.json': modules('Transformer', 'Normalize')}, 'names no Pooling'),
    ({'modules.json': []}, 'names no Transformer'),
    (
      {
        'modules.json': modules('Transformer', 'Pooling', 'Pooling'),
        '2_Pooling/config.json': switches('mean_tokens'),
      },
      'names more than one Pooling',
    ),
    ({'modules.json': {'a': 1}}, r'modules\.json does not hold a JSON list'),
    ({'modules.json': ['Transformer']}, "'Transformer' is no module"),
    ({'modules.json': [{'idx': 0}]}, r"\{'idx': 0\} is no module"),
    (
      {'1_Pooling/config.json': switches('max_tokens')},
      r'1_Pooling/config\.json: pooling pooling_mode_max_tokens is not supp',
    ),
    (
      {'1_Pooling/config.json': switches('cls_token', 'mean_tokens')},
      'pooling pooling_mode_cls_token, pooling_mode_mean_tokens is not',
    ),
    ({'1_Pooling/config.json': switches()}, 'pooling none is not supported'),
    ({'1_Pooling/config.json': {'pooling_mode': 'max'}}, 'max_tokens is not'),
    (
      {'1_Pooling/config.json': {'pooling_mode': 'lasttoken'}},
      'lasttoken.* is not supported',
    ),
    (
      {'1_Pooling/config.json': switches('cls_token', include_prompt=False)},
      r'1_Pooling/config\.json: include_prompt = False, pooling without',
    ),
    ({'1_Pooling/config.json': None}, r'1_Pooling has no config\.json'),
    (
      {'sentence_bert_config.json': [1]},
      r'sentence_bert_config\.json does not hold a JSON object',
    ),
  ],
)
def test_what_it_does_not_know_is_refused(directory, changes, message):
  folder = directory('plain', **changes)
  with pytest.raises(ValueError, match=message):
    xlmr_jax.load(folder)


@pytest.mark.parametrize('path', ['../outside', '/outside', 'a/../../outside'])
@pytest.mark.parametrize('index', [0, 1])
def test_a_path_that_leads_out_is_refused(directory, path, index):
  """It would be read here, and written on the way back."""
  named = modules('Transformer', 'Pooling')
  named[index]['path'] = path
  folder = directory('plain', **{'modules.json': named})
  with pytest.raises(ValueError, match='is no path below it'):
    xlmr_jax.load(folder)


# --- Computed ---------------------------------------------------------------


@pytest.mark.parametrize('normalize', [False, True])
@pytest.mark.parametrize('how', ['cls', 'mean'])
def test_embed_is_the_formula(directory, theirs, how, normalize):
  kinds = ['Transformer', 'Pooling'] + ['Normalize'] * normalize
  mode = {'cls': 'cls_token', 'mean': 'mean_tokens'}[how]
  changes = {
    'modules.json': modules(*kinds),
    '1_Pooling/config.json': switches(mode),
  }
  m = xlmr_jax.load(directory('plain', **changes))
  facts = Pooling(how, normalize)
  assert m.pooling == facts
  want = [vector(theirs, m.tokenizer.encode(text), facts) for text in TEXTS]
  close(m.embed(TEXTS), want)
  assert np.abs(want[0] - want[1]).max() > 1e-3
  # Ids, pairs, one text and none.
  ids = [m.tokenizer.encode(text) for text in TEXTS]
  close(m.embed(ids), want)
  pair = vector(theirs, m.tokenizer.encode('No man', 'the cat'), facts)
  close(m.embed([TEXTS[4], ('No man', 'the cat')]), [want[4], pair])
  close(m.embed(TEXTS[:1]), want[:1])
  assert m.embed([]).shape == (0, 32)
  with pytest.raises(ValueError, match=r'write \[text\], not text'):
    m.embed(TEXTS[0])


def test_the_arguments_go_before_what_the_directory_says(directory, theirs):
  m = xlmr_jax.load(directory('flat'))
  limit = 12

  def want(**facts):
    return [
      vector(theirs, cut(m.tokenizer.encode(text), limit), Pooling(**facts))
      for text in TEXTS
    ]

  close(m.embed(TEXTS), want(how='cls', normalize=True))
  close(m.embed(TEXTS, normalize=False), want(how='cls'))
  close(m.embed(TEXTS, pooling='mean'), want(how='mean', normalize=True))
  short = np.array(want(how='cls'))[:, :8]
  close(m.embed(TEXTS, dim=8, normalize=False), short)
  lengths = np.linalg.norm(short, axis=-1, keepdims=True)
  close(m.embed(TEXTS, dim=8), short / lengths)
  with pytest.raises(ValueError, match="pooling 'max' is not one of cls, mean"):
    m.embed(TEXTS, pooling='max')


def test_without_a_pooling_one_must_be_given(directory, theirs):
  m = xlmr_jax.load(directory(None))
  assert m.pooling is None
  with pytest.raises(ValueError, match='does not say how .* give pooling, one'):
    m.embed(TEXTS)
  want = [
    vector(theirs, m.tokenizer.encode(t), Pooling('mean', False)) for t in TEXTS
  ]
  close(m.embed(TEXTS, pooling='mean'), want)
  lengths = np.linalg.norm(want, axis=-1, keepdims=True)
  close(m.embed(TEXTS, pooling='mean', normalize=True), want / lengths)
  with pytest.raises(ValueError, match="no prompt 'query'; it has none"):
    m.embed(TEXTS, pooling='mean', prompt_name='query')


@pytest.mark.parametrize('name, limit', [('flat', 12), ('newer', 40)])
def test_long_texts_are_cut(directory, theirs, name, limit):
  """At max_seq_length; where that is null, at what the model holds."""
  m = xlmr_jax.load(directory(name))
  assert m.max_length == 40
  ids = m.tokenizer.encode(LONG)
  assert len(ids) > 41
  for length in (limit - 1, limit, limit + 1):  # around the edge too
    text = next(
      text
      for i in range(9)
      for n in range(len(LONG))
      if len(m.tokenizer.encode(text := LONG[i:n])) == length
    )
    want = vector(theirs, cut(m.tokenizer.encode(text), limit), m.pooling)
    close(m.embed([text], prompt=''), [want])
  want = vector(theirs, cut(ids, limit), m.pooling)
  close(m.embed([LONG, 'cat'], prompt='')[:1], [want])
  with pytest.raises(ValueError, match='the model holds 40'):
    m.embed([ids])  # of ids nobody says where they end


def test_a_longer_limit_than_the_model_has_does_not_count(directory, theirs):
  m = xlmr_jax.load(
    directory('plain', **{'sentence_bert_config.json': {'max_seq_length': 512}})
  )
  assert m.pooling.max_length == 512
  ids = m.tokenizer.encode(LONG)
  close(m.embed([LONG]), [vector(theirs, cut(ids, 40), m.pooling)])


def test_prompts_go_in_front(directory, theirs):
  m = xlmr_jax.load(directory('flat'))

  def want(prompt):
    ids = [m.tokenizer.encode(prompt + text) for text in TEXTS]
    return [vector(theirs, cut(x, 12), m.pooling) for x in ids]

  close(m.embed(TEXTS), want(''))  # no default
  close(m.embed(TEXTS, prompt_name='query'), want('die Katze: '))
  close(m.embed(TEXTS, prompt_name='ähnlich'), want('Мужчина '))
  close(m.embed(TEXTS, prompt_name='passage'), want(''))
  close(m.embed(TEXTS, prompt='Ein Mann '), want('Ein Mann '))
  close(m.embed(TEXTS, prompt='', prompt_name='query'), want(''))
  assert np.abs(np.array(want('die Katze: ')) - want('')).max() > 1e-2
  with pytest.raises(ValueError, match="prompt 'web'; it has query, passage"):
    m.embed(TEXTS, prompt_name='web')


def test_the_default_prompt_goes_in_front_unasked(directory, theirs):
  m = xlmr_jax.load(directory('newer'))

  def want(prompt):
    ids = [m.tokenizer.encode(prompt + text) for text in TEXTS]
    return [vector(theirs, x, m.pooling) for x in ids]

  close(m.embed(TEXTS), want('the red '))
  close(m.embed(TEXTS, prompt=''), want(''))
  close(m.embed(TEXTS, prompt_name='document'), want(''))


def test_texts_are_lower_cased_where_the_model_is(directory, theirs):
  m = xlmr_jax.load(directory('older'))
  assert m.pooling.lowercase
  loud = [text.upper() for text in TEXTS]
  want = [
    vector(theirs, cut(m.tokenizer.encode(text.lower()), 9), m.pooling)
    for text in TEXTS
  ]
  close(m.embed(loud), want)
  close(m.embed(TEXTS), want)


# --- Given back -------------------------------------------------------------


def contents(folder) -> dict[str, bytes]:
  return {
    str(file.relative_to(folder)): file.read_bytes()
    for file in folder.rglob('*')
    if file.is_file()
  }


@pytest.mark.parametrize('name', LAYOUTS)
@pytest.mark.parametrize('through', ['hf', 'orbax'])
def test_every_file_comes_back_as_it_was(directory, tmp_path, name, through):
  source = directory(name)
  m = xlmr_jax.load(source)
  want = m.embed(TEXTS)
  if through == 'orbax':
    m.save(tmp_path / 'ours', format='orbax')
    m = xlmr_jax.load(tmp_path / 'ours')
    assert m.pooling == LAYOUTS[name][1]
    np.testing.assert_array_equal(m.embed(TEXTS), want)
  m.save(tmp_path / 'back', format='hf')
  before, after = contents(source), contents(tmp_path / 'back')
  if name == 'older':  # nobody reads the one at the top
    before.pop('config.json')
  # A SentencePiece model alone gets a file that names its class.
  below = '0_Transformer/' if name == 'older' else ''
  assert after.pop(f'{below}tokenizer_config.json')
  assert after.keys() == before.keys()
  for file, data in before.items():
    assert after[file] == data, file
  again = xlmr_jax.load(tmp_path / 'back')
  np.testing.assert_array_equal(again.embed(TEXTS), want)


@pytest.mark.parametrize('name', [None, 'older', 'flat'])
def test_fresh_files_say_the_same(directory, tmp_path, name):
  m = xlmr_jax.load(directory(name))
  facts = m.pooling or Pooling(
    'mean', True, 17, prompts={'a': 'Ein Mann '}, default_prompt='a'
  )
  m = m.replace(pooling=facts)
  m.save(tmp_path / 'out', format='hf', fresh=True)
  assert sentence_transformers.read(Folder(tmp_path / 'out'))[0] == facts
  assert (tmp_path / 'out' / 'config.json').exists()  # the body is on top
  named = json.loads((tmp_path / 'out' / 'modules.json').read_text())
  kinds = ['Transformer', 'Pooling'] + ['Normalize'] * facts.normalize
  assert named == modules(*kinds)
  config = json.loads((tmp_path / 'out/1_Pooling/config.json').read_text())
  assert config['word_embedding_dimension'] == 32
  again = xlmr_jax.load(tmp_path / 'out')
  np.testing.assert_array_equal(again.embed(TEXTS), m.embed(TEXTS))
  _, info = transformers.XLMRobertaModel.from_pretrained(
    tmp_path / 'out', output_loading_info=True, add_pooling_layer=False
  )
  assert not any(info.values()), info


def test_a_pooling_that_is_new_goes_out_unasked(directory, tmp_path):
  """Also without fresh=True, and from a checkpoint of ours."""
  m = xlmr_jax.load(directory(None))
  m = m.replace(pooling=Pooling('cls', True))
  m.save(tmp_path / 'ours', format='orbax')
  for i, source in enumerate((m, xlmr_jax.load(tmp_path / 'ours'))):
    source.save(tmp_path / str(i), format='hf')
    # tokenizer_config.json is written with the model's own limit.
    assert sentence_transformers.read(Folder(tmp_path / str(i)))[0] == Pooling(
      'cls', True, m.max_length
    )


# --- bge-m3 -----------------------------------------------------------------


@pytest.fixture
def m3(directory):
  """(Folder, {'sparse_linear': torch layer, 'colbert_linear': ...})."""
  torch.manual_seed(0)
  linear = {
    'sparse_linear': torch.nn.Linear(32, 1),
    'colbert_linear': torch.nn.Linear(32, 32),
  }
  changes = {
    'modules.json': modules('Transformer', 'Pooling', 'Normalize'),
    '1_Pooling/config.json': switches('cls_token'),
    'sentence_bert_config.json': {'max_seq_length': 14},
  }
  folder = directory('plain', **changes)
  for name, layer in linear.items():
    torch.save(layer.state_dict(), folder / f'{name}.pt')
  return folder, linear


def test_m3_gives_three_views(m3, theirs):
  """Chen et al. 2024 (arXiv:2402.03216), 3.2, as FlagEmbedding has it."""
  folder, linear = m3
  m = xlmr_jax.load(folder)
  assert m.head == 'm3'
  texts = ['the red cat, the red red cat', 'No 漢 man', '', *TEXTS, LONG]
  repeated = signs = unknown = 0
  for text, ours in zip(texts, m.m3(texts), strict=True):
    ids = cut(m.tokenizer.encode(text), 14)
    hidden = torch.from_numpy(states(theirs, ids))
    with torch.no_grad():
      weights = linear['sparse_linear'](hidden)[:, 0].numpy()
      vectors = linear['colbert_linear'](hidden[1:]).numpy()
    close(ours['dense'], hidden[0].numpy() / np.linalg.norm(hidden[0]))
    lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    close(ours['colbert'], vectors / lengths)
    sparse = {}
    for token, weight in zip(ids, weights.tolist(), strict=True):
      if token > 3 and weight > 0:  # not <s>, <pad>, </s>, <unk>
        repeated += token in sparse
        sparse[token] = max(weight, sparse.get(token, 0))
      signs += token > 3 and weight < 0
      unknown += token == 3 and weight > 0
    assert ours['sparse'].keys() == sparse.keys()
    for token, weight in sparse.items():
      np.testing.assert_allclose(ours['sparse'][token], weight, atol=1e-5)
  # The texts show every case.
  assert repeated and signs and unknown
  # embed is the first view, and the other ways to call it are told apart.
  close(m.embed(TEXTS), [view['dense'] for view in m.m3(TEXTS)])
  with pytest.raises(ValueError, match='three kinds of output: use m3'):
    m.logits(TEXTS)
  assert m.m3([]) == []


@pytest.mark.parametrize('through', ['hf', 'orbax'])
def test_m3_comes_back(m3, tmp_path, through):
  folder, linear = m3
  m = xlmr_jax.load(folder)
  if through == 'orbax':
    m.save(tmp_path / 'ours', format='orbax')
    m = xlmr_jax.load(tmp_path / 'ours')
  m.save(tmp_path / 'back', format='hf')
  assert contents(tmp_path / 'back').keys() == contents(folder).keys() | {
    'tokenizer_config.json'
  }
  for name, layer in linear.items():
    ours = torch.load(tmp_path / 'back' / f'{name}.pt', weights_only=True)
    assert list(ours) == ['weight', 'bias']
    for key, tensor in layer.state_dict().items():
      assert torch.equal(ours[key], tensor)
  before, after = contents(folder), contents(tmp_path / 'back')
  for file in before.keys() - {f'{name}.pt' for name in linear}:
    assert after[file] == before[file], file


def test_a_body_has_no_three_views(directory):
  m = xlmr_jax.load(directory('flat'))
  with pytest.raises(ValueError, match='no sparse and ColBERT heads'):
    m.m3(TEXTS)


def test_half_of_m3_is_refused(m3):
  folder, _ = m3
  (folder / 'colbert_linear.pt').unlink()
  with pytest.raises(ValueError, match="missing key 'colbert_linear"):
    xlmr_jax.load(folder)


@pytest.mark.parametrize(
  'name, change, message',
  [
    (
      sentence_transformers.LENGTHS[0],
      {'max_seq_length': 'x'},
      "max_seq_length = 'x'",
    ),
    (
      sentence_transformers.LENGTHS[0],
      {'max_seq_length': 1.5},
      'max_seq_length = 1.5',
    ),
    (
      sentence_transformers.LENGTHS[0],
      {'max_seq_length': 0},
      'max_seq_length = 0',
    ),
    (
      sentence_transformers.SETTINGS,
      {'prompts': ['a']},
      'prompts should be texts by name',
    ),
    (
      sentence_transformers.SETTINGS,
      {'prompts': {'a': 3}},
      'prompts should be texts by',
    ),
  ],
)
def test_settings_of_another_kind(tmp_path, name, change, message):
  for file, text in sentence_transformers.texts(
    sentence_transformers.Pooling('cls'), 8
  ).items():
    (tmp_path / file).parent.mkdir(exist_ok=True)
    (tmp_path / file).write_text(text)
  assert sentence_transformers.read(Folder(tmp_path))[0].how == 'cls'
  (tmp_path / name).write_text(json.dumps(change))
  with pytest.raises(ValueError, match=message):
    sentence_transformers.read(Folder(tmp_path))


def test_fresh_side_files_beside_a_generation_config(directory, tmp_path):
  """What else the source carried does not stand in for them."""
  m = xlmr_jax.load(directory('newer'))
  texts = {'generation_config.json': '{}'}
  m = m.replace(source={**m.weights.source, 'texts': texts})
  m.save(tmp_path / 'out', format='hf')
  assert (tmp_path / 'out' / 'generation_config.json').read_text() == '{}'
  again = sentence_transformers.read(Folder(tmp_path / 'out'))[0]
  # tokenizer_config.json is written with the model's own limit.
  assert again == dataclasses.replace(m.pooling, max_length=m.max_length)
