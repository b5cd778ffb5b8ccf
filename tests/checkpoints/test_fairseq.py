"""Original checkpoints, as fairseq saved them, are the models they were."""

import argparse
import copy
import dataclasses
import os
import pathlib

import jax
import numpy as np
from pairs import EXAMPLES, name_of
import pytest
import torch
from torch_models import tiny
import transformers

import xlmr_jax
from xlmr_jax.checkpoints import fairseq
from xlmr_jax.checkpoints.hf import reader, writer
from xlmr_jax.checkpoints.weights import SPM
from xlmr_jax.model import VARIANTS

# Where fairseq has what transformers has; {} is the encoder's own prefix.
OUTSIDE = {
  'roberta.embeddings.word_embeddings': 'sentence_encoder.embed_tokens',
  'roberta.embeddings.position_embeddings': 'sentence_encoder.embed_positions',
  'roberta.embeddings.LayerNorm': 'sentence_encoder.layernorm_embedding',
  'roberta.encoder.LayerNorm': 'sentence_encoder.layer_norm',
  'lm_head.dense': 'lm_head.dense',
  'lm_head.layer_norm': 'lm_head.layer_norm',
  'lm_head.decoder': 'lm_head',
}
LAYER = {
  'attention.self.query': 'self_attn.q_proj',
  'attention.self.key': 'self_attn.k_proj',
  'attention.self.value': 'self_attn.v_proj',
  'attention.output.dense': 'self_attn.out_proj',
  'attention.output.LayerNorm': 'self_attn_layer_norm',
  'attention.self_attn_layer_norm': 'self_attn_layer_norm',
  'intermediate.dense': 'fc1',
  'output.dense': 'fc2',
  'output.LayerNorm': 'final_layer_norm',
  'LayerNorm': 'final_layer_norm',
}
# Files of 2019, of late 2020, and of today.
ERAS = {
  2019: dict(prefix='decoder.', fused=True, norm='emb_layer_norm'),
  2020: dict(prefix='encoder.', fused=False, norm='emb_layer_norm'),
  2021: dict(prefix='encoder.', fused=False, norm='layernorm_embedding'),
}
LAYER_0 = 'encoder.sentence_encoder.layers.0.'


def model_of(family='Roberta', head='mlm', dtype=torch.float32, **changes):
  """A tiny model without token types, which fairseq has not."""
  changes = dict(type_vocab_size=1, vocab_size=64) | changes
  model = tiny(head, family=family, **changes)
  with torch.no_grad():
    model.roberta.embeddings.token_type_embeddings.weight.zero_()
  return model.to(dtype)


def state_of(model, prefix, fused, norm):
  """A model's tensors as fairseq names them."""
  found = model.state_dict()
  if 'lm_head.bias' in found:  # one bias, and a decoder that may be tied
    found.pop('lm_head.bias')
  out = {}
  for key, tensor in found.items():
    stem, _, leaf = key.rpartition('.')
    if 'token_type' in key or leaf == 'position_ids':
      continue
    if stem.startswith('classifier.'):
      out[f'classification_heads.mnli.{stem[11:]}.{leaf}'] = tensor
      continue
    if stem.startswith('roberta.encoder.layer.'):
      _, _, _, i, name = stem.split('.', 4)
      stem = f'sentence_encoder.layers.{i}.{LAYER[name]}'
    else:
      stem = OUTSIDE[stem].replace('layernorm_embedding', norm)
    out[f'{prefix}{stem}.{leaf}'] = tensor
  if fused:
    for key in [k for k in out if '.q_proj.' in k]:
      three = [out.pop(key.replace('q_proj', f'{x}_proj')) for x in 'qkv']
      out[key.replace('q_proj.', 'in_proj_')] = torch.cat(three)
  return out


def settings(model) -> argparse.Namespace:
  config = model.config
  return argparse.Namespace(
    arch='roberta_base',
    encoder_layers=config.num_hidden_layers,
    encoder_attention_heads=config.num_attention_heads,
    activation_fn='gelu',
    dropout=0.2,
    attention_dropout=0.3,
    max_positions=40,
  )


def file_of(model, era=2021) -> dict:
  """What torch.save was given."""
  state = state_of(model, **ERAS[era])
  extra = {'epoch': 1, 'train_iterator': {'epoch': 1, 'iterations': 7}}
  common = {'model': state, 'extra_state': extra}
  if era == 2019:
    history = [{'optimizer_name': 'FairseqAdam', 'num_updates': 7}]
    return {'args': settings(model), 'optimizer_history': history, **common}
  if era == 2020:
    return {'args': settings(model), 'last_optimizer_state': None, **common}
  cfg = {'_name': None, 'common': {'seed': 1}, 'model': settings(model)}
  return {'args': None, 'cfg': cfg, 'task_state': {}, **common}


def save(folder, held, name='model.pt', old=False):
  folder.mkdir(exist_ok=True)
  torch.save(held, folder / name, _use_new_zipfile_serialization=not old)
  return folder


def read(folder, **options):
  return fairseq.read(folder, **options)


def flat(params):
  return {
    name_of(path): np.asarray(leaf)
    for path, leaf in jax.tree_util.tree_leaves_with_path(params)
  }


def assert_same(ours, want):
  """Two trees, bit for bit."""
  ours, want = flat(ours), flat(want)
  assert ours.keys() == want.keys()
  for name, leaf in want.items():
    assert ours[name].dtype == leaf.dtype, name
    assert ours[name].shape == leaf.shape, name
    assert ours[name].tobytes() == leaf.tobytes(), name


def assert_computes(loaded, model):
  """The same scores as transformers has, for every example."""
  for ids, ours in zip(EXAMPLES, loaded.logits(EXAMPLES), strict=True):
    with torch.no_grad():
      want = model.float()(torch.tensor([ids])).logits[0]
    np.testing.assert_allclose(ours, want.numpy(), rtol=0, atol=1e-4)


# --- Every spelling ---------------------------------------------------------


@pytest.mark.parametrize('dtype', [torch.float32, torch.float16], ids=str)
@pytest.mark.parametrize('era', ERAS)
def test_every_era_is_the_model_that_transformers_has(era, dtype, tmp_path):
  model = model_of('XLMRoberta' if era == 2020 else 'Roberta', dtype=dtype)
  model.save_pretrained(tmp_path / 'theirs')
  folder = save(tmp_path / 'x', file_of(model, era), old=era == 2019)
  weights, want = read(folder), reader.read(tmp_path / 'theirs')
  assert_same(weights.params, want.params)
  lazily = read(folder, lazily=True)
  for leaf in jax.tree.leaves(lazily.params):
    assert not isinstance(leaf, np.ndarray)
  assert_same(lazily.params, want.params)
  # All that the settings say arrived.
  config = dataclasses.replace(want.config, dropout=0.2, attention_dropout=0.3)
  assert weights.config == lazily.config == config
  assert (weights.head, weights.labels, weights.tied) == ('mlm', None, True)
  loaded = xlmr_jax.load(folder)
  assert_computes(loaded, model)
  by_file = xlmr_jax.load(folder / 'model.pt')
  assert_same(by_file.params, loaded.params)


@pytest.mark.parametrize('dtype', [torch.float32, torch.float16], ids=str)
def test_xl_has_its_norms_before(dtype, tmp_path):
  model = model_of('XLMRobertaXL', dtype=dtype)
  model.save_pretrained(tmp_path / 'theirs')
  held = file_of(model)
  held['model']['encoder.sentence_encoder.version'] = torch.tensor([3.0])
  held['model']['encoder.sentence_encoder.embed_positions._float_tensor'] = (
    torch.tensor([0.0])
  )
  held['cfg']['model'] = vars(held['cfg']['model'])  # a plain dict
  folder = save(tmp_path / 'x', held)
  weights = read(folder)
  assert weights.config.pre_norm and weights.config.num_heads == 4
  assert_same(weights.params, reader.read(tmp_path / 'theirs').params)
  assert_same(read(folder, lazily=True).params, weights.params)
  assert_computes(xlmr_jax.load(folder), model)


def test_the_activation_is_the_one_it_was_trained_with(tmp_path):
  held = file_of(model_of(hidden_act='relu'))
  held['cfg']['model'].activation_fn = 'relu'
  assert read(save(tmp_path / 'x', held)).config.activation == 'relu'
  held['cfg']['model'].activation_fn = 'swish'
  with pytest.raises(ValueError, match="activation='swish' is not one of"):
    read(save(tmp_path / 'x', held))


def test_without_settings_the_width_tells_the_heads(tmp_path):
  named = ('base', 'large', 'xl', 'xxl')
  sizes = [VARIANTS[name] for name in named]
  assert fairseq.HEADS == {c.model_dim: c.num_heads for c in sizes}
  model = model_of(hidden_size=768, num_attention_heads=12, num_hidden_layers=1)
  held = {'model': file_of(model)['model']}
  folder = save(tmp_path / 'x', held)
  assert read(folder).config.num_heads == 12
  assert_computes(xlmr_jax.load(folder), model)
  held = {'args': None, 'cfg': None, 'model': file_of(model_of())['model']}
  with pytest.raises(ValueError, match='how many attention heads .* width 32'):
    read(save(tmp_path / 'y', held))


def test_a_tokenizer_beside_it_is_found(tiny_tokenizer, tmp_path):
  size = xlmr_jax.data.tokenizers.xlmr.Tokenizer(tiny_tokenizer).vocab_size
  model = model_of('XLMRoberta', vocab_size=size)
  folder = save(tmp_path / 'x', file_of(model))
  spm = (tiny_tokenizer / SPM).read_bytes()
  (folder / SPM).write_bytes(spm)
  for path in (folder, folder / 'model.pt', str(folder)):
    loaded = xlmr_jax.load(path)
    text = 'A man sees the red cat.'
    ids = loaded.tokenizer.encode(text)
    np.testing.assert_array_equal(
      loaded.logits([text])[0], loaded.logits([ids])[0]
    )
  loaded.save(tmp_path / 'out', format='hf')
  assert (tmp_path / 'out' / SPM).read_bytes() == spm


# --- Heads ------------------------------------------------------------------


def test_a_decoder_of_its_own_stays(tmp_path):
  model = model_of('XLMRoberta', tie_word_embeddings=False)
  with torch.no_grad():  # fairseq has one bias
    model.lm_head.bias.copy_(model.lm_head.decoder.bias)
  folder = save(tmp_path / 'x', file_of(model))
  weights = read(folder)
  assert not weights.tied
  want = model.lm_head.decoder.weight.detach().numpy()
  np.testing.assert_array_equal(weights.params['head']['table'], want)
  assert_same(read(folder, lazily=True).params, weights.params)
  assert_computes(xlmr_jax.load(folder), model)


def test_a_tied_decoder_need_not_be_one_storage(tmp_path):
  held = file_of(model_of())
  key = 'encoder.lm_head.weight'
  held['model'][key] = held['model'][key].clone()
  assert read(save(tmp_path / 'x', held)).tied
  del held['model'][key]
  weights = read(save(tmp_path / 'y', held))
  assert weights.tied and 'table' not in weights.params['head']


@pytest.fixture
def classifier(tmp_path):
  """(Folder of a model with the head mnli, theirs); with an lm_head too."""
  model = model_of(head='classify', num_labels=3)
  held = file_of(model)
  head = {k: v for k, v in file_of(model_of())['model'].items() if 'lm_' in k}
  held['model'] |= head
  return save(tmp_path / 'x', held), model, held


@pytest.mark.parametrize('lazily', [False, True])
def test_a_classifier_leaves_its_language_head(classifier, tmp_path, lazily):
  folder, model, held = classifier
  with pytest.warns(UserWarning, match="head 'mnli'; left out: .*") as caught:
    weights = read(folder, lazily=lazily)
  (warning,) = [w for w in caught if 'mnli' in str(w.message)]
  for key in held['model']:
    if 'lm_head' in key:
      assert key.removeprefix('encoder.') in str(warning.message)
  assert weights.head == 'classify'
  assert weights.labels == ('LABEL_0', 'LABEL_1', 'LABEL_2')
  model.save_pretrained(tmp_path / 'theirs')
  assert_same(weights.params, reader.read(tmp_path / 'theirs').params)


def test_a_classifier_scores_as_theirs(classifier):
  folder, model, held = classifier
  with pytest.warns(UserWarning, match='left out'):
    loaded = xlmr_jax.load(folder)
  ours = np.stack(loaded.logits(EXAMPLES))
  for ids, scores in zip(EXAMPLES, ours, strict=True):
    with torch.no_grad():
      want = model(torch.tensor([ids])).logits[0].numpy()
    np.testing.assert_allclose(scores, want, rtol=0, atol=1e-4)
  assert np.abs(ours[0] - ours[1]).max() > 1e-3
  with pytest.warns(UserWarning, match='left out'):
    body = xlmr_jax.load(folder, head=None)
  assert body.head is None and 'head' not in body.params
  # Without a language model's head there is nothing to say.
  state = {k: v for k, v in held['model'].items() if 'lm_head' not in k}
  save(folder, {**held, 'model': state})
  assert read(folder).head == 'classify'


def test_two_classifiers_are_refused_by_name(classifier):
  folder, _, held = classifier
  for key in list(held['model']):
    if '.mnli.' in key:
      held['model'][key.replace('mnli', 'rte')] = held['model'][key]
  save(folder, held)
  with pytest.raises(ValueError, match=r'2 classification heads \((.*)\)') as e:
    read(folder)
  assert 'mnli' in str(e.value) and 'rte' in str(e.value)


# --- Parts ------------------------------------------------------------------

# fairseq/model_parallel: cut by rows or by columns; all else is whole.
ROWS = [
  'embed_tokens.weight',
  'fc1.weight',
  'fc1.bias',
  'lm_head.weight',
  'lm_head.dense.weight',
  'lm_head.dense.bias',
  'mnli.dense.weight',
  'mnli.dense.bias',
]
ROWS += [f'{x}_proj.{leaf}' for x in 'qkv' for leaf in ('weight', 'bias')]
COLUMNS = ['self_attn.out_proj.weight', 'fc2.weight']


def cut(held, count) -> list[dict]:
  """The files of a model-parallel run on `count` devices."""
  out = []
  for rank in range(count):
    state = {}
    for key, tensor in held['model'].items():
      axis = 0 if key.endswith(tuple(ROWS)) else None
      axis = 1 if key.endswith(tuple(COLUMNS)) else axis
      piece = tensor if axis is None else tensor.chunk(count, axis)[rank]
      state[key] = piece.clone(memory_format=torch.contiguous_format)
    cfg = {**held['cfg'], 'common': {'model_parallel_size': count}}
    out.append({**held, 'cfg': cfg, 'model': state})
  return out


def save_parts(folder, parts, name='model'):
  for rank, part in enumerate(parts):
    save(folder, part, f'{name}-model_part-{rank}.pt')
  return folder


@pytest.fixture
def parts(tmp_path):
  """(Folder of two parts, what stands in them)."""
  held = cut(file_of(model_of('XLMRobertaXL')), 2)
  return save_parts(tmp_path / 'parts', held), held


@pytest.mark.parametrize('count', [2, 4])
@pytest.mark.parametrize('family', ['Roberta', 'XLMRobertaXL'])
def test_parts_are_glued(family, count, tmp_path):
  # 61 tokens and three rows that fill up; 10 or more parts sort by number.
  model = model_of(family)
  held = file_of(model)
  folder = save_parts(tmp_path / 'x', cut(held, count))
  whole = read(save(tmp_path / 'whole', held))
  weights = read(folder)
  assert weights.config == whole.config and weights.tied
  assert weights.config.vocab_size == 64
  assert_same(weights.params, whole.params)
  assert_same(read(folder, lazily=True).params, whole.params)
  loaded = xlmr_jax.load(folder)
  assert_computes(loaded, model)
  by_part = xlmr_jax.load(folder / 'model-model_part-1.pt')
  assert_same(by_part.params, loaded.params)


def test_ten_parts_and_more_are_in_order(tmp_path):
  sizes = dict(hidden_size=48, vocab_size=96, num_hidden_layers=1)
  model = model_of(**sizes, num_attention_heads=12)
  held = file_of(model)
  folder = save_parts(tmp_path / 'x', cut(held, 12), 'checkpoint_last')
  whole = read(save(tmp_path / 'whole', held))
  assert_same(read(folder).params, whole.params)


def test_an_untied_decoder_and_a_classifier_are_glued(tmp_path):
  model = model_of(tie_word_embeddings=False)
  held = file_of(model)
  weights = read(save_parts(tmp_path / 'x', cut(held, 2)))
  assert not weights.tied
  assert_same(weights.params, read(save(tmp_path / 'whole', held)).params)
  held = file_of(model_of(head='classify', num_labels=3))
  weights = read(save_parts(tmp_path / 'y', cut(held, 2)))
  assert_same(weights.params, read(save(tmp_path / 'whole', held)).params)


def test_what_lies_transposed_is_whole_or_refused(parts):
  """What came from another framework may be column-major."""
  folder, held = parts
  want = read(folder).params

  def flip(key):
    for part in held:
      part['model'][key] = part['model'][key].T.contiguous().T
    save_parts(folder, held)

  flip('encoder.sentence_encoder.embed_positions.weight')
  for lazily in (False, True):
    assert_same(read(folder, lazily=lazily).params, want)
  flip(f'{LAYER_0}fc1.weight')
  for lazily in (False, True):
    with pytest.raises(ValueError, match='cannot be glued.*lies transposed'):
      read(folder, lazily=lazily)


@pytest.mark.parametrize('rank', [0, 1, 2, 3])
def test_a_missing_part_is_named(rank, tmp_path):
  held = cut(file_of(model_of('XLMRobertaXL')), 4)
  folder = save_parts(tmp_path / 'x', held)
  (folder / f'model-model_part-{rank}.pt').unlink()
  with pytest.raises(ValueError, match=f'but not model-model_part-{rank}.pt'):
    xlmr_jax.load(folder)


@pytest.mark.parametrize(
  'key',
  [
    'encoder.sentence_encoder.embed_positions.weight',
    'encoder.sentence_encoder.layer_norm.bias',
    f'{LAYER_0}self_attn.out_proj.bias',
    f'{LAYER_0}fc2.bias',
    'encoder.lm_head.bias',
  ],
)
def test_what_is_whole_in_parts_must_be_the_same(parts, key):
  folder, held = parts
  held[1]['model'][key][0] += 1
  save_parts(folder, held)
  name = key.removeprefix('encoder.')
  with pytest.raises(ValueError, match=f"part-1.pt: '{name}' is not that of"):
    read(folder)


def test_parts_must_hold_the_same_keys(parts):
  folder, held = parts
  value = held[1]['model'].pop(f'{LAYER_0}fc2.bias')
  save_parts(folder, held)
  with pytest.raises(ValueError, match=r'do not hold the same keys.*fc2\.bias'):
    read(folder)
  held[1]['model'] |= {f'{LAYER_0}fc2.bias': value, 'encoder.more': value}
  save_parts(folder, held)
  with pytest.raises(ValueError, match="do not hold the same keys: 'more'"):
    read(folder)


def test_parts_must_fit_each_other(parts):
  folder, held = parts
  key = f'{LAYER_0}fc1.weight'
  held[1]['model'][key] = held[1]['model'][key][:, :20].contiguous()
  save_parts(folder, held)
  for lazily in (False, True):
    with pytest.raises(ValueError, match=r"part-1.pt: '.*fc1.weight' cannot"):
      read(folder, lazily=lazily)


# --- What is refused --------------------------------------------------------


ENCODER = 'encoder.sentence_encoder.'
QUERY = f'{LAYER_0}self_attn.q_proj.weight'
ONES = torch.ones(32, 32)


@pytest.mark.parametrize(
  ('changes', 'message'),
  [
    (
      {f'{LAYER_0}quant_noise.weight': ONES},
      r"unknown key 'sentence_encoder\.layers\.0\.quant_noise\.weight'",
    ),
    ({f'{ENCODER}foo': ONES}, r"unknown key 'sentence_encoder\.foo'"),
    ({'encoder.lm_head.foo': ONES}, r"unknown key 'lm_head\.foo'"),
    ({'encoder.lm_head.decoder.weight': ONES}, 'unknown key .*decoder'),
    ({'encoder.layer.0.output.dense.weight': ONES}, 'unknown key .*dense'),
    ({'encoder.embed_tokens.weight': ONES}, r"unknown key 'embed_tokens\.we"),
    ({'embeddings.LayerNorm.weight': ONES}, 'unknown key .*LayerNorm'),
    ({QUERY: None}, r'missing key .*layer\.0\.attention\.self\.query\.weight'),
    ({f'{ENCODER}embed_positions.weight': None}, 'missing key .*positions'),
    ({'encoder.lm_head.bias': None}, 'missing key .*lm_head'),
    (
      {f'{LAYER_0}self_attn.in_proj_weight': torch.ones(96, 32)},
      r"key '.*self_attn\.k_proj\.weight' and 2 more is set twice",
    ),
    (
      {QUERY.replace('encoder.', 'decoder.', 1): ONES},
      r"key '.*self_attn\.q_proj\.weight' is set twice",
    ),
    ({QUERY: torch.ones(32, 31)}, r"q_proj\.weight' has the shape \(32, 31\)"),
    ({QUERY: ONES.long()}, r"q_proj\.weight' has the dtype I64"),
    ({QUERY: 'text'}, r"'.*q_proj\.weight' is no tensor"),
    (
      {f'{ENCODER}layernorm_embedding.{x}': None for x in ('weight', 'bias')},
      'neither a LayerNorm behind the embeddings nor one',
    ),
  ],
)
def test_a_wrong_key_is_named(changes, message, tmp_path):
  held = file_of(model_of())
  for key, value in changes.items():
    held['model'].pop(key, None)
    if value is not None:
      held['model'][key] = copy.deepcopy(value)
  folder = save(tmp_path / 'x', held)
  for lazily in (False, True):
    with pytest.raises(ValueError, match=message) as error:
      read(folder, lazily=lazily)
    assert 'model.pt' in str(error.value)


def test_half_a_classifier_is_refused(tmp_path):
  held = file_of(model_of(head='classify', num_labels=3))
  del held['model']['classification_heads.mnli.out_proj.bias']
  with pytest.raises(ValueError, match=r'missing key .*out_proj\.bias'):
    read(save(tmp_path / 'x', held))


def test_three_in_one_must_be_three(tmp_path):
  held = file_of(model_of(), 2019)
  key = 'decoder.sentence_encoder.layers.0.self_attn.in_proj_weight'
  held['model'][key] = torch.ones(95, 32)
  with pytest.raises(ValueError, match=f'{key}. cannot be cut in three'):
    read(save(tmp_path / 'x', held))


def test_what_is_no_checkpoint_is_said_so(tmp_path):
  for held in ({'args': None}, [1], {'model': torch.ones(3)}):
    folder = save(tmp_path / 'x', held)
    with pytest.raises(ValueError, match=r'model\.pt is no checkpoint of fai'):
      xlmr_jax.load(folder)
  data = (folder / 'model.pt').read_bytes()
  (folder / 'model.pt').write_bytes(data[: len(data) // 2])
  with pytest.raises(ValueError, match=r'model\.pt is truncated'):
    xlmr_jax.load(folder)
  assert fairseq.parts(tmp_path) == []


class Evil:
  """Runs a command where somebody unpickles it."""

  def __init__(self, mark: pathlib.Path):
    self.mark = mark

  def __reduce__(self):
    return os.system, (f'touch {self.mark}',)


@pytest.mark.parametrize('old', [False, True])
@pytest.mark.parametrize('where', ['args', 'model'])
def test_a_malicious_file_runs_nothing(where, old, tmp_path):
  held, mark = file_of(model_of()), tmp_path / 'run'
  if where == 'args':
    held['args'] = Evil(mark)
  else:
    held['model'][QUERY] = Evil(mark)
  folder = save(tmp_path / 'x', held, old=old)
  with pytest.raises(ValueError, match='system'):
    xlmr_jax.load(folder)
  assert not mark.exists()
  torch.load(folder / 'model.pt', weights_only=False)
  assert mark.exists()  # the trap was real


# --- The way out ------------------------------------------------------------


@pytest.mark.parametrize('family', ['Roberta', 'XLMRobertaXL'])
@pytest.mark.parametrize('lazily', [False, True])
def test_transformers_loads_what_we_made_of_it(family, lazily, tmp_path):
  model = model_of(family)
  held = file_of(model)
  folder = save_parts(tmp_path / 'x', cut(held, 2))
  writer.write(tmp_path / 'out', read(folder, lazily=lazily))
  kind = 'XLMRobertaXL' if family == 'XLMRobertaXL' else 'XLMRoberta'
  theirs, info = getattr(transformers, f'{kind}ForMaskedLM').from_pretrained(
    tmp_path / 'out', output_loading_info=True, attn_implementation='eager'
  )
  assert not any(info.values()), info
  for ids in EXAMPLES:
    with torch.no_grad():
      ours = theirs.eval()(torch.tensor([ids])).logits
      assert torch.equal(ours, model(torch.tensor([ids])).logits)
