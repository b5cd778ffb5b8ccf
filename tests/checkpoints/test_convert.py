"""The convert command: theirs → ours → theirs is byte-identical."""

import json

from absl import flags
import numpy as np
import pytest
import safetensors.numpy

from xlmr_jax.checkpoints import convert, directory, native
from xlmr_jax.checkpoints.weights import SPM


def run(*arguments):
  """The command, in this process."""
  options = flags.FlagValues()
  convert.define_flags(options)
  convert.main(options(['convert', *map(str, arguments)]), options)


def hf_config(**changes):
  return {
    'architectures': ['XLMRobertaForSequenceClassification'],
    'model_type': 'xlm-roberta',
    'vocab_size': 64,
    'hidden_size': 16,
    'num_hidden_layers': 2,
    'num_attention_heads': 4,
    'intermediate_size': 32,
    'max_position_embeddings': 34,
    'type_vocab_size': 1,
    'pad_token_id': 1,
    'layer_norm_eps': 1e-5,
    'id2label': {'0': 'ENTAILMENT', '1': 'NEUTRAL', '2': 'CONTRADICTION'},
    'label2id': {'ENTAILMENT': 0, 'NEUTRAL': 1, 'CONTRADICTION': 2},
    'my_own_key': [1, {'deep': 'kept'}],
    **changes,
  }


def hf_tensors(dtype):
  """Keys and shapes as transformers writes them, every number random."""
  random = np.random.default_rng(0)
  d, f = 16, 32
  shapes = {
    'embeddings.word_embeddings.weight': (64, d),
    'embeddings.position_embeddings.weight': (34, d),
    'embeddings.token_type_embeddings.weight': (1, d),
    'embeddings.LayerNorm.weight': (d,),
    'embeddings.LayerNorm.bias': (d,),
  }
  for i in range(2):
    layer = f'encoder.layer.{i}.'
    for name, (out, into) in {
      'attention.self.query': (d, d),
      'attention.self.key': (d, d),
      'attention.self.value': (d, d),
      'attention.output.dense': (d, d),
      'intermediate.dense': (f, d),
      'output.dense': (d, f),
    }.items():
      shapes[f'{layer}{name}.weight'] = (out, into)
      shapes[f'{layer}{name}.bias'] = (out,)
    for name in ('attention.output.LayerNorm', 'output.LayerNorm'):
      shapes[f'{layer}{name}.weight'] = shapes[f'{layer}{name}.bias'] = (d,)
  shapes = {f'roberta.{name}': shape for name, shape in shapes.items()}
  shapes |= {
    'classifier.dense.weight': (d, d),
    'classifier.dense.bias': (d,),
    'classifier.out_proj.weight': (3, d),
    'classifier.out_proj.bias': (3,),
  }
  tensors = {
    name: random.normal(size=shape).astype(dtype)
    for name, shape in shapes.items()
  }
  tensors['roberta.embeddings.position_ids'] = np.arange(34)[None]
  return tensors


@pytest.fixture(params=[np.float32, np.float16], ids=['f32', 'f16'])
def source(request, tiny_tokenizer, tmp_path):
  """A Hugging Face directory, with a buffer that older versions wrote."""
  folder = tmp_path / 'source'
  folder.mkdir()
  (folder / 'config.json').write_text(json.dumps(hf_config(), indent=2))
  safetensors.numpy.save_file(
    hf_tensors(request.param),
    folder / 'model.safetensors',
    metadata={'format': 'pt'},
  )
  name = SPM
  (folder / name).write_bytes((tiny_tokenizer / name).read_bytes())
  return folder


def test_there_and_back_is_byte_identical(source, tmp_path, capsys):
  run(source, tmp_path / 'ours')
  printed = capsys.readouterr().out
  assert 'head: classify, classes ENTAILMENT, NEUTRAL, CONTRADICTION' in printed
  assert (
    'dropped, as no output depends on it: roberta.embeddings.pos' in printed
  )
  for phase in ('read', 'write'):
    assert f'{phase} ' in printed.splitlines()[-1]
  assert native.recognise(tmp_path / 'ours')
  run(tmp_path / 'ours', tmp_path / 'back')
  before = safetensors.numpy.load_file(source / 'model.safetensors')
  after = safetensors.numpy.load_file(tmp_path / 'back' / 'model.safetensors')
  before.pop('roberta.embeddings.position_ids')
  assert before.keys() == after.keys()
  for name, tensor in before.items():
    assert tensor.dtype == after[name].dtype, name
    assert tensor.shape == after[name].shape, name
    assert tensor.tobytes() == after[name].tobytes(), name
  assert json.loads((tmp_path / 'back' / 'config.json').read_text()) == (
    hf_config()
  )
  name = SPM
  assert (tmp_path / 'back' / name).read_bytes() == (source / name).read_bytes()


def test_formats_and_fresh(source, tmp_path):
  run('--format=hf', '--fresh', source, tmp_path / 'fresh')
  fresh = safetensors.numpy.load_file(tmp_path / 'fresh' / 'model.safetensors')
  before = safetensors.numpy.load_file(source / 'model.safetensors')
  key = 'roberta.encoder.layer.1.attention.self.key.weight'
  assert fresh[key].tobytes() == before[key].tobytes()
  assert 'roberta.embeddings.position_ids' not in fresh
  run(source, tmp_path / 'ours')
  run('--format=orbax', tmp_path / 'ours', tmp_path / 'copy')
  one = directory.read(tmp_path / 'ours')
  two = directory.read(tmp_path / 'copy')
  table = one.params['encoder']['embed']['tokens']
  assert table.tobytes() == two.params['encoder']['embed']['tokens'].tobytes()
  assert one.source == two.source
  assert one.labels == two.labels


def test_what_it_refuses(source, tmp_path):
  with pytest.raises(ValueError, match='give SRC and DST, not one'):
    run('one')
  with pytest.raises(ValueError, match='--fresh is about'):
    run('--fresh', source, tmp_path / 'a')
  (tmp_path / 'full').mkdir()
  (tmp_path / 'full' / 'mine.txt').write_text('mine')
  with pytest.raises(ValueError, match='not empty'):
    run(source, tmp_path / 'full')
  weights = source / 'model.safetensors'
  weights.write_bytes(weights.read_bytes()[:-100])
  with pytest.raises(ValueError, match='truncated'):
    run(source, tmp_path / 'b')
  assert not (tmp_path / 'b').exists()
