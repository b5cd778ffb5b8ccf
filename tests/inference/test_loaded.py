"""What `load` returns: encode, logits, save; and what they refuse."""

import builtins
import collections
import contextlib
import dataclasses
import io
import json
import pathlib
import resource

import jax
import numpy as np
import pytest

import xlmr_jax
from xlmr_jax import checkpoints, heads
from xlmr_jax.checkpoints import directory, native
from xlmr_jax.checkpoints import weights as weights_lib
from xlmr_jax.checkpoints.hf import sentence_transformers, writer
from xlmr_jax.checkpoints.hf.sentence_transformers import LENGTH, MODULES
from xlmr_jax.checkpoints.weights import SPM, Pooling, Weights, with_rows
from xlmr_jax.data.tokenizers import train_tokenizer, xlmr
from xlmr_jax.inference import loaded, packed
from xlmr_jax.model import Config

TEXTS = [
  'A man is asleep in the house.',
  '',
  ('No man sees', 'the red cat'),
  'Ein Mann',
  ('', 'кошку'),
  'Мужчина спит в доме. ' * 4,
  'cat',
]


@pytest.fixture(scope='module')
def model(make_model, tiny_tokenizer):
  return make_model(tiny_tokenizer, labels=('no', 'yes', 'maybe'))


def arguments(example):
  return example if isinstance(example, tuple) else (example,)


def flat(params):
  return {
    jax.tree_util.keystr(path): np.asarray(leaf)
    for path, leaf in jax.tree_util.tree_leaves_with_path(params)
  }


def assert_bit_equal(one, two):
  one, two = flat(one), flat(two)
  assert one.keys() == two.keys()
  for name, leaf in one.items():
    assert leaf.dtype == two[name].dtype, name
    assert leaf.tobytes() == two[name].tobytes(), name


def test_encode_keeps_the_order_and_the_lengths(model):
  out = model.encode(TEXTS)
  for example, hidden in zip(TEXTS, out, strict=True):
    length = len(model.tokenizer.encode(*arguments(example)))
    assert hidden.shape == (length, model.config.model_dim)
    assert hidden.dtype == np.float32


def test_packed_is_alone(model):
  hidden, scores = model.encode(TEXTS), model.logits(TEXTS)
  for i, example in enumerate(TEXTS):
    alone = model.encode([example])[0]
    np.testing.assert_allclose(hidden[i], alone, atol=1e-5)
    np.testing.assert_allclose(scores[i], model.logits([example])[0], atol=1e-5)
  assert np.abs(scores[0] - scores[2]).max() > 1e-2


def test_packed_is_the_bare_module(model):
  """The same as the encoder on one unpacked row."""
  ids = np.array([model.tokenizer.encode('A man is asleep')], np.int32)
  places = np.arange(ids.shape[1], dtype=np.int32)[None]
  hidden = model.module.apply(
    {'params': model.params['encoder']}, ids, np.ones_like(ids), places
  )
  np.testing.assert_allclose(
    model.encode(TEXTS + ['A man is asleep'])[-1], hidden[0], atol=1e-5
  )


def test_many_batches_come_back_in_order(model, monkeypatch):
  many = TEXTS * 9
  whole = model.logits(many)
  monkeypatch.setattr(packed, 'POSITIONS', {'cpu': 128})
  monkeypatch.setattr(packed, 'UNIT', 64)
  seen = []
  cut = model.logits(many, lambda *counts: seen.append(counts))
  assert len(seen) > 3
  examples, tokens, computed = (sum(x) for x in zip(*seen, strict=True))
  assert examples == len(many)
  assert tokens == sum(
    len(model.tokenizer.encode(*arguments(example))) for example in many
  )
  assert tokens <= computed == len(seen) * seen[0][2]
  np.testing.assert_allclose(np.array(cut), np.array(whole), atol=1e-5)


def test_row_length_weighs_padding_against_attention():
  # Shapes only: nothing is run.
  model = loaded.Loaded(Weights(Config(), {}))
  shape = lambda *lengths: (
    next(
      model.program(None).batches([np.zeros(n, np.int32) for n in lengths])[0]
    )['tokens'].shape
  )
  assert shape(3) == (1, 16)
  assert shape(40, 30) == (1, 128)
  assert shape(*[64] * 40) == (10, 128)  # 20 rows, two steps
  assert shape(*[120] * 8) == (8, 128)
  assert shape(*[170] * 12) == (4, 512)  # a third of rows of 256 is padding
  assert shape(*[700] * 2) == (2, 768)


def test_rows_of_a_step_leave_few_empty():
  for most in (1, 4, 16, 128):
    for total in (1, 3, 16, 17, 45, 100, 1000, 5000):
      rows = packed.rows_of_a_step(total, most)
      steps = -(-total // rows)
      assert most / 2 <= rows <= most or total <= rows <= most
      assert rows * steps - total <= max(total / 16, steps - 1)


def test_ids_are_taken_as_they_are(model):
  text = 'No man sees the red cat.'
  ids = model.tokenizer.encode(text)
  for given in (ids, tuple(ids), np.array(ids), np.array(ids, np.uint16)):
    np.testing.assert_array_equal(
      model.logits([given])[0], model.logits([text])[0]
    )
  # Specials are not added: an example may start and end anywhere.
  assert model.encode([ids[1:-1]])[0].shape[0] == len(ids) - 2
  assert model.encode([[7]])[0].shape == (1, model.config.model_dim)


def test_empty_text_and_no_examples(model):
  assert model.encode([''])[0].shape == (2, model.config.model_dim)
  assert np.isfinite(model.logits([''])[0]).all()
  assert model.encode([]) == model.logits([]) == []


def test_mlm_logits_and_fill_mask(make_model, tiny_tokenizer):
  model = make_model(tiny_tokenizer, head='mlm')
  ids = model.tokenizer.encode('the red <mask>')
  scores = model.logits(['cat', ids])[1]
  assert scores.shape == (len(ids), model.config.vocab_size)
  best = model.fill_mask('the red <mask>', top=3)
  place = ids.index(model.tokenizer.mask_id)
  first = model.tokenizer.id_to_piece(int(scores[place].argmax()))
  assert best[0][0] == first
  assert 1 > best[0][1] > best[1][1] > best[2][1] > 0
  with pytest.raises(ValueError, match='no <mask>'):
    model.fill_mask('the red cat')


@pytest.mark.parametrize(
  'example, message',
  [
    ([0] * 129, r'example 1 has 129 tokens, the model holds 128'),
    ('cat ' * 200, r'example 1 has \d+ tokens, the model holds 128'),
    ([0, 100_000, 2], r'example 1 has an id outside 0\.\.\d+'),
    ([0, -1, 2], r'example 1 has an id outside'),
    ([], 'example 1 is neither a text'),
    ([0.5, 2.0], 'example 1 is neither a text'),
    ([[0, 5, 2]], 'example 1 is neither a text'),
    (('a', 'b', 'c'), 'example 1 is neither a text'),
    (None, 'example 1 is neither a text'),
    ('a \ud800 cat', 'lone surrogate'),
  ],
)
def test_bad_examples_are_refused_before_anything_runs(
  model, monkeypatch, example, message
):
  def never(*_):
    raise AssertionError('it ran')

  monkeypatch.setattr(packed, '_jitted', never)
  for call in (model.encode, model.logits):
    with pytest.raises(ValueError, match=message):
      call(['fine', example])


def test_a_text_that_is_no_list_and_a_missing_head(make_model, tiny_tokenizer):
  bare = make_model(tiny_tokenizer, head=None)
  with pytest.raises(ValueError, match=r'write \[text\]'):
    bare.encode('a cat')
  with pytest.raises(ValueError, match='no head: use encode'):
    bare.logits(['a cat'])
  blind = dataclasses.replace(bare, tokenizer=None)
  with pytest.raises(
    ValueError, match=r'no tokenizer .*sentencepiece\.bpe\.model, tok'
  ):
    blind.encode(['a cat'])


@pytest.mark.parametrize('pre_norm', [False, True])
@pytest.mark.parametrize('head', list(heads.HEADS))
@pytest.mark.parametrize('format', ['orbax', 'hf'])
def test_save_and_load_are_bit_equal(
  make_model, tiny_tokenizer, tmp_path, head, format, pre_norm
):
  labels = ('B-X', 'I-X') if heads.HEADS[head].labelled else None
  model = make_model(
    tiny_tokenizer,
    head=head,
    labels=labels,
    pre_norm=pre_norm,
    causal=head == 'causal',
    estimator=(8, 6) if head == 'estimate' else (),
  )
  model.save(tmp_path / 'saved', format=format)
  again = xlmr_jax.load(tmp_path / 'saved')
  assert_bit_equal(again.params, model.params)
  assert again.config == model.config
  assert (again.head, again.labels) == (head, labels)
  assert again.tokenizer.fingerprint == model.tokenizer.fingerprint
  np.testing.assert_array_equal(
    again.encode(['a cat'])[0], model.encode(['a cat'])[0]
  )


def test_padded_vocabulary_is_saved_at_its_real_size(
  make_model, tiny_tokenizer, tmp_path
):
  model = make_model(tiny_tokenizer, head='mlm')
  model.save(tmp_path / 'a')
  padded = xlmr_jax.load(tmp_path / 'a', vocab_multiple=1024)
  assert padded.params['encoder']['embed']['tokens'].shape[0] == 1024
  np.testing.assert_allclose(
    padded.logits(['cat'])[0], model.logits(['cat'])[0], atol=1e-5
  )
  padded.save(tmp_path / 'b')
  assert_bit_equal(xlmr_jax.load(tmp_path / 'b').params, model.params)


def test_options_of_load(make_model, tiny_tokenizer, tmp_path):
  model = make_model(tiny_tokenizer, labels=('no', 'yes'))
  model.save(tmp_path / 'a')
  timer = {}
  half = xlmr_jax.load(tmp_path / 'a', dtype='bfloat16', timer=timer)
  assert 'place' in timer
  exact, rough = model.logits(['a cat'])[0], half.logits(['a cat'])[0]
  assert rough.dtype == np.float32
  np.testing.assert_allclose(rough, exact, atol=0.3)
  assert np.abs(rough - exact).max() > 0
  with pytest.raises(ValueError, match="no option 'dtpye'"):
    xlmr_jax.load(tmp_path / 'a', dtpye='bfloat16')


@contextlib.contextmanager
def full_disk(bytes_left):
  """No file may grow past a size: what a full disk does, for real."""
  before = resource.getrlimit(resource.RLIMIT_FSIZE)
  resource.setrlimit(resource.RLIMIT_FSIZE, (bytes_left, before[1]))
  try:
    yield
  finally:
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.filterwarnings(  # orbax's event loop, left by the failure
  'ignore::pytest.PytestUnraisableExceptionWarning'
)
@pytest.mark.parametrize('format', ['orbax', 'hf'])
def test_a_full_disk_leaves_nothing(
  make_model, tiny_tokenizer, tmp_path, format
):
  model = make_model(tiny_tokenizer, head=None, ff_dim=8192)
  target = tmp_path / 'deep' / 'saved'
  # Room for the tokenizer and the description, not for the parameters.
  with full_disk(300_000):
    with pytest.raises(OSError, match='could not write .*saved: File too la'):
      model.save(target, format=format)
  assert not list((tmp_path / 'deep').iterdir())
  model.save(target, format=format)  # and the place can be used again
  assert_bit_equal(xlmr_jax.load(target).params, model.params)


@pytest.mark.parametrize('format', ['orbax', 'hf'])
def test_a_save_that_is_interrupted_leaves_nothing(
  model, tmp_path, monkeypatch, format
):
  def interrupted(write):
    def interrupt(*args, **kwargs):
      write(*args, **kwargs)
      raise KeyboardInterrupt

    return interrupt

  with monkeypatch.context() as patch:
    for name in ('write_text', 'write_bytes'):
      write = getattr(pathlib.Path, name)
      patch.setattr(pathlib.Path, name, interrupted(write))
    with pytest.raises(KeyboardInterrupt):
      model.save(tmp_path / 'deep' / 'saved', format=format)
  assert not list((tmp_path / 'deep').iterdir())


def test_a_save_never_overwrites(model, tmp_path):
  (tmp_path / 'a').mkdir()
  (tmp_path / 'a' / 'note.txt').write_text('mine')
  for format in ('orbax', 'hf'):
    with pytest.raises(ValueError, match='not empty'):
      model.save(tmp_path / 'a', format=format)
  assert (tmp_path / 'a' / 'note.txt').read_text() == 'mine'
  with pytest.raises(ValueError, match="'onnx' is not one of orbax, hf"):
    model.save(tmp_path / 'b', format='onnx')


def test_what_is_no_checkpoint_is_said_so(make_model, tiny_tokenizer, tmp_path):
  (tmp_path / 'empty').mkdir()
  with pytest.raises(ValueError, match='config.json'):
    xlmr_jax.load(tmp_path / 'empty')
  make_model(tiny_tokenizer, head=None).save(tmp_path / 'a')
  text = (tmp_path / 'a' / native.MODEL).read_text()
  bad = text.replace('"ff_dim": 64', '"ff_dim": 128')
  (tmp_path / 'a' / native.MODEL).write_text(bad)
  with pytest.raises(ValueError, match='ff.* has shape .*its config says'):
    xlmr_jax.load(tmp_path / 'a')


# --- Another head than the checkpoint's ---------------------------------------


@pytest.fixture(params=['orbax', 'hf'])
def saved(request, make_model, tiny_tokenizer, tmp_path):
  """A checkpoint with an mlm head, in either format."""
  model = make_model(tiny_tokenizer, head='mlm')
  model.save(tmp_path / 'saved', format=request.param)
  return model, tmp_path / 'saved'


def test_the_body_alone(saved, tmp_path):
  model, folder = saved
  body = xlmr_jax.load(folder, head=None)
  assert body.head is None and 'head' not in body.params
  assert_bit_equal(body.params['encoder'], model.params['encoder'])
  body.save(tmp_path / 'body', format='hf')
  assert xlmr_jax.load(tmp_path / 'body').head is None


def test_a_head_that_is_not_there_is_made_only_when_asked_for(saved, tmp_path):
  model, folder = saved
  with pytest.raises(ValueError, match='has no tag head: give fresh=True'):
    xlmr_jax.load(folder, head='tag', labels=('O', 'X'))
  with pytest.warns(UserWarning, match='new, with random weights: head/out/'):
    tagger = xlmr_jax.load(folder, head='tag', labels=('O', 'X'), fresh=True)
  assert (tagger.head, tagger.labels) == ('tag', ('O', 'X'))
  assert_bit_equal(tagger.params['encoder'], model.params['encoder'])
  logits = tagger.logits(['the red cat'])[0]
  assert logits.shape == (len(tagger.tokens(['the red cat'])[0]), 2)
  assert np.abs(logits).max() > 0
  tagger.save(tmp_path / 'tagger', format='hf')
  again = xlmr_jax.load(tmp_path / 'tagger')
  assert_bit_equal(again.params, tagger.params)
  assert again.labels == ('O', 'X')


@pytest.mark.parametrize(
  'options, message',
  [
    (dict(head='tag', fresh=True), 'new tag head needs labels'),
    (dict(head='answer', labels=('a',), fresh=True), 'takes no labels'),
    (dict(labels=('a', 'b')), 'labels are for a new head'),
    (
      dict(head='tagg', fresh=True),
      "head 'tagg' is not one of mlm, causal, classify",
    ),
    (dict(revision='main'), 'revision=.main., but .* is a directory'),
  ],
)
def test_options_that_contradict_each_other(saved, options, message):
  with pytest.raises(ValueError, match=message):
    xlmr_jax.load(saved[1], **options)


def test_a_tokenizer_of_another_size_is_refused(saved):
  """Both sizes are named: ids would point at the wrong rows."""
  model, folder = saved
  other = train_tokenizer.train(
    ['ein anderer Text'] * 9, 40, hard_vocab_limit=False
  )
  for file in folder.rglob(SPM):
    file.write_bytes(other)
  size = xlmr.Tokenizer(other).vocab_size
  rows = model.config.vocab_size
  if 0 <= rows - size < 1024:  # a few rows more than ids are XL's habit
    assert xlmr_jax.load(folder).tokenizer.vocab_size == size
  big = train_tokenizer.train(
    [chr(0x4E00 + i) for i in range(400)], 420, hard_vocab_limit=False
  )
  for file in folder.rglob(SPM):
    file.write_bytes(big)
  size = xlmr.Tokenizer(big).vocab_size
  with pytest.raises(ValueError, match=rf'\b{size} ids.*\b{rows} rows'):
    xlmr_jax.load(folder)


def test_every_head_answers(make_model, tiny_tokenizer):
  """What `logits` gives for an example of n tokens."""
  texts = ['the red cat', ('a man', 'no man')]
  for head in filter(None, heads.HEADS):
    labels = ('a', 'b', 'c') if heads.HEADS[head].labelled else None
    sizes = (8, 6) if head == 'estimate' else ()
    model = make_model(
      tiny_tokenizer, head=head, labels=labels, estimator=sizes
    )
    if head == 'm3':
      with pytest.raises(ValueError, match='use m3'):
        model.logits(texts)
      continue
    sizes = [len(ids) for ids in model.tokens(texts)]
    outputs = heads.HEADS[head].outputs or 3
    if heads.HEADS[head].language:
      outputs = model.config.vocab_size
    for n, got in zip(sizes, model.logits(texts), strict=True):
      each = heads.HEADS[head].per_token
      assert got.shape == ((n, outputs) if each else (outputs,)), head


def test_masked_and_causal_are_two_uses_of_one_head(saved, tmp_path):
  model, folder = saved
  causal = xlmr_jax.load(folder, head='causal')
  assert causal.config.causal and not model.config.causal
  assert_bit_equal(causal.params, model.params)
  text = ['the red cat sees no man']
  assert np.abs(causal.logits(text)[0] - model.logits(text)[0]).max() > 1e-3
  causal.save(tmp_path / 'causal', format='hf')
  again = xlmr_jax.load(tmp_path / 'causal')
  assert again.head == 'causal' and again.config.causal


def test_multiple_choice_takes_over_the_pooler(
  make_model, tiny_tokenizer, tmp_path
):
  """Its dense layer is the pooler, as in Hugging Face's class."""
  bare = make_model(tiny_tokenizer, head=None)
  pooler = {
    'dense': {
      'kernel': np.full((32, 32), 0.5, np.float32),
      'bias': np.full(32, 0.25, np.float32),
    }
  }
  bare = bare.replace(params={**bare.params, 'pooler': pooler})
  bare.save(tmp_path / 'bare', format='hf')
  with pytest.warns(UserWarning, match='weights: head/out/bias, head/out/ker'):
    model = xlmr_jax.load(tmp_path / 'bare', head='choose', fresh=True)
  assert 'pooler' not in model.params
  assert_bit_equal(model.params['head']['dense'], pooler['dense'])
  model.save(tmp_path / 'choose', format='hf')
  again = xlmr_jax.load(tmp_path / 'choose')
  assert again.head == 'choose'
  assert_bit_equal(again.params, model.params)


@pytest.mark.parametrize(
  'labels, message',
  [
    ('ab', r"must be a list: write \[\.\.\.\], not 'ab'"),
    (('a', 'a'), 'should be different names'),
    ((0, 1), 'should be different names'),
    ((), 'needs labels'),
  ],
)
def test_labels_are_names(saved, labels, message):
  with pytest.raises(ValueError, match=message):
    xlmr_jax.load(saved[1], head='tag', labels=labels, fresh=True)


@pytest.mark.parametrize('head', ['', True, 'ForMaskedLM', 'banana'])
def test_a_head_of_no_kind(saved, head):
  with pytest.raises(ValueError, match='is not one of mlm, causal, classify'):
    xlmr_jax.load(saved[1], head=head)


@pytest.mark.parametrize(
  'options', [dict(vocab_multiple='8'), dict(scan='no'), dict(dtype=None)]
)
def test_an_option_of_another_type(saved, options):
  with pytest.raises(ValueError, match='should be of type'):
    xlmr_jax.load(saved[1], **options)


def test_rows_without_a_token_fill_no_mask(make_model, tiny_tokenizer):
  """XL's table has 878 of them, and here they score best."""
  model = make_model(tiny_tokenizer, head='mlm')
  size = model.tokenizer.vocab_size
  wide = model.replace(
    config=dataclasses.replace(model.config, vocab_size=size + 5),
    params=with_rows(model.params, 'mlm', size + 5),
  )
  wide.params['head']['bias'] = wide.params['head']['bias'].at[size:].set(99.0)
  assert wide.logits(['the <mask> cat'])[0].argmax(-1).min() >= size
  got, want = (m.fill_mask('the <mask> cat', top=3) for m in (wide, model))
  assert [piece for piece, _ in got] == [piece for piece, _ in want]
  np.testing.assert_allclose(
    [p for _, p in got], [p for _, p in want], rtol=1e-4
  )


@pytest.mark.parametrize('mesh', ['x', 4, jax.make_mesh((1,), ('foreign',))])
def test_a_mesh_of_another_kind(saved, mesh):
  with pytest.raises(ValueError, match=r'three sizes, \(data, fsdp, tensor\)'):
    xlmr_jax.load(saved[1], mesh=mesh)
  with pytest.raises(ValueError, match=r'= \(1, 4, 1\) does not fit 1 devices'):
    xlmr_jax.load(saved[1], mesh=(1, 4, 1))
  model = xlmr_jax.load(saved[1], mesh=(1, 1, 1))
  np.testing.assert_allclose(
    model.encode(['cat'])[0], saved[0].encode(['cat'])[0], atol=1e-6
  )


@pytest.mark.parametrize('example', [[2**32 + 5], np.array([2**40])])
def test_an_id_does_not_wrap_around(model, example):
  with pytest.raises(ValueError, match='has an id outside'):
    model.logits([example])


@pytest.mark.parametrize(
  'spoil, message',
  [
    (lambda facts: facts['config'].update(vocab_size=9), 'token table has'),
    (lambda facts: facts.pop('head'), 'does not describe a model of ours'),
    (lambda facts: facts.update(head='banana'), "head 'banana' is not one"),
    (lambda facts: facts['config'].update(new=1), 'does not describe'),
  ],
)
def test_a_description_that_was_spoilt(
  make_model, tiny_tokenizer, tmp_path, spoil, message
):
  make_model(tiny_tokenizer, head='mlm').save(tmp_path / 'a')
  file = tmp_path / 'a' / 'model.json'
  facts = json.loads(file.read_text())
  spoil(facts)
  file.write_text(json.dumps(facts))
  with pytest.raises(ValueError, match=message):
    xlmr_jax.load(tmp_path / 'a')


def test_param_dtype_is_that_of_the_parameters(saved):
  model = xlmr_jax.load(saved[1], param_dtype='bfloat16')
  assert {leaf.dtype.name for leaf in jax.tree.leaves(model.params)} == {
    'bfloat16'
  }
  assert np.isfinite(model.logits(['the cat'])[0]).all()


def test_a_chain_on_a_tagger_is_no_surprise(
  make_model, tiny_tokenizer, tmp_path, recwarn
):
  """Its class is token classification's: nothing to warn of."""
  model = make_model(tiny_tokenizer, head='crf', labels=('O', 'B-X'))
  model.save(tmp_path / 'a', format='hf')
  assert xlmr_jax.load(tmp_path / 'a').head == 'crf'
  assert not [w for w in recwarn if 'promises' in str(w.message)]


@pytest.mark.parametrize('below', ['', '0_Transformer'])
def test_a_load_reads_each_json_once(
  make_model, tiny_tokenizer, tmp_path, below, monkeypatch
):
  """config.json, an index, a tokenizer's settings, files about pooling."""
  model = make_model(tiny_tokenizer, head='mlm')
  body = tmp_path / 'theirs' / below
  weights = dataclasses.replace(model.weights, source=None)
  writer.write(body, weights_lib.on_host(weights), shard_bytes=20_000)
  texts = sentence_transformers.texts(Pooling('mean', True, 20), 32)
  texts[MODULES] = texts[MODULES].replace('"path": ""', f'"path": "{below}"')
  for name, text in texts.items():
    parent = body if name == LENGTH else tmp_path / 'theirs'
    (parent / name).parent.mkdir(exist_ok=True)
    (parent / name).write_text(text)
  seen = collections.Counter()
  opening = io.open

  def count(file, *args, **kwargs):
    if str(file).endswith('.json'):
      path = pathlib.Path(file).relative_to(tmp_path / 'theirs')
      seen[str(path)] += 1
    return opening(file, *args, **kwargs)

  monkeypatch.setattr(io, 'open', count)
  monkeypatch.setattr(builtins, 'open', count)
  again = xlmr_jax.load(tmp_path / 'theirs')
  monkeypatch.undo()
  assert again.pooling.max_length == 20
  assert again.tokenizer.fingerprint == model.tokenizer.fingerprint
  assert f'{below}/config.json'.lstrip('/') in seen and len(seen) >= 6
  # Of a kilobyte, and three rooms look into it: which tokenizer the folder
  # holds, which tokens were added, how long a text may be.
  assert seen.pop(f'{below}/tokenizer_config.json'.lstrip('/')) == 3
  assert set(seen.values()) == {1}, seen


def test_a_new_head_of_an_untied_body_is_tied(
  make_model, tiny_tokenizer, tmp_path
):
  make_model(tiny_tokenizer, head=None).save(tmp_path / 'a', format='hf')
  path = tmp_path / 'a' / 'config.json'
  facts = json.loads(path.read_text())
  path.write_text(json.dumps({**facts, 'tie_word_embeddings': False}))
  with pytest.warns(UserWarning, match='new, with random weights'):
    model = xlmr_jax.load(tmp_path / 'a', head='mlm', fresh=True)
  assert np.isfinite(model.logits(['a cat'])[0]).all()
  model.save(tmp_path / 'b')
  assert xlmr_jax.load(tmp_path / 'b').head == 'mlm'


def test_formats_come_from_one_table(make_model, tiny_tokenizer, tmp_path):
  model = make_model(tiny_tokenizer)
  with pytest.raises(ValueError, match='not one of orbax, hf, peft$'):
    checkpoints.write(tmp_path / 'a', model.weights, 'fairseq')
  with pytest.raises(ValueError, match='fresh is for the format hf, not for'):
    checkpoints.write(tmp_path / 'a', model.weights, 'orbax', fresh=True)
  checkpoints.write(tmp_path / 'a', model.weights, 'hf')
  again = checkpoints.read(tmp_path / 'a')
  assert_bit_equal(again.params, model.params)
  assert directory.recognise(tmp_path / 'a').name == 'hf'
