"""Vocabularies that grow and shrink, and the checkpoints that follow them."""

import dataclasses
import io
import json
import math
import shutil

from absl import flags
import numpy as np
import pytest
import sentencepiece
from sentencepiece import sentencepiece_model_pb2
from tiny_runs import SIZES, recipe, settings, write_data
import torch
import transformers

from configs import pretrain
import xlmr_jax
from xlmr_jax import train
from xlmr_jax.checkpoints import convert, directory
from xlmr_jax.checkpoints.weights import SPM
from xlmr_jax.compress import vocabulary as vocab
from xlmr_jax.data.tokenizers import folder as tokenizers
from xlmr_jax.data.tokenizers import folder as vocabulary
from xlmr_jax.data.tokenizers import surgery, train_tokenizer
from xlmr_jax.data.tokenizers.hf_tokenizers import BpeTokenizer
from xlmr_jax.data.tokenizers.xlmr import CAMEMBERT, Tokenizer

# What the old vocabulary was made for.
KNOWN = (
  'the man woman house horse cat sees asleep in no red white garden reads a '
  'letter der Mann die Frau Haus Pferd Katze sieht schläft im kein rote weiße '
  'Garten liest einen Brief мужчина женщина дом кошка видит спит в никто '
  'красная сад читает письмо'
).split()
# Zulu, and Tamazight in a script that the old vocabulary has no letter of.
WORDS = [
  *'ngiyabonga kakhulu ⴰⵣⵓⵍ ⴰⵎⴰⵣⵉⵖ the cat'.split(),
  *(
    prefix + stem
    for prefix in 'umu aba isi izi ubu uku'.split()
    for stem in 'fundi hambi lungu sebenzi culi phathi thengi dlali'.split()
  ),
]


def sentences(words, count=300, length=7):
  draw = np.random.default_rng(0)
  return [' '.join(draw.choice(words, length)) + '.' for _ in range(count)]


def new_lines(count=300):
  return sentences(WORDS, count)


OLD = [*sentences(KNOWN, 6), 'Eine Katze', 'das кот']


@pytest.fixture(scope='module')
def model():
  return train_tokenizer.train(
    sentences(KNOWN, 600), 200, hard_vocab_limit=False
  )


@pytest.fixture(scope='module')
def folder(model, tmp_path_factory):
  """Of the old tokenizer."""
  folder = tmp_path_factory.mktemp('old')
  Tokenizer(model).save(folder)
  return folder


@pytest.fixture(scope='module')
def old(model):
  return Tokenizer(model)


@pytest.fixture(scope='module')
def change(old):
  return surgery.extend(old, new_lines(), 40)


def proto(tokenizer):
  """The model as protobuf reads it."""
  out = sentencepiece_model_pb2.ModelProto()
  out.ParseFromString(tokenizer.model)
  return out


def run(*arguments):
  """The command, in this process."""
  options = flags.FlagValues()
  vocab.define_flags(options)
  vocab.main(options(['vocab', *map(str, arguments)]), options)


def write_lines(path, lines):
  path.write_text(''.join(f'{line}\n' for line in lines), encoding='utf-8')
  return path


@pytest.fixture
def corpus(tmp_path):
  return write_lines(tmp_path / 'zu.txt', new_lines())


def best_cut(scores, text, unknown):
  """(score, pieces) of the likeliest segmentation, by trying all."""
  best = [(0.0, [])] + [(-math.inf, [])] * len(text)
  for end in range(1, len(text) + 1):
    for start in range(end):
      part = text[start:end]
      if part not in scores and len(part) > 1:
        continue
      score = best[start][0] + scores.get(part, unknown)
      if score > best[end][0]:
        best[end] = score, [*best[start][1], part]
  return best[-1]


# The vocabulary.


def test_new_pieces_come_last_and_old_ids_stay(old, change):
  new = change.tokenizer
  count = len(change.new)
  assert 20 < count <= 40
  assert new.vocab_size == old.vocab_size + count
  assert new.mask_id == old.mask_id + count
  for i in range(old.mask_id):
    assert new.id_to_piece(i) == old.id_to_piece(i)
    assert change.rows[i] == i
  assert (change.rows[old.mask_id : -1] == -1).all()
  assert change.rows[-1] == old.mask_id
  before, after = proto(old), proto(new)
  assert after.trainer_spec.vocab_size == len(after.pieces)
  for i, piece in enumerate(change.new):
    assert new.id_to_piece(old.mask_id + i) == piece.text
    assert before.pieces[0].piece not in piece.text
  # All else is as it was.
  del after.pieces[-count:]
  after.trainer_spec.vocab_size = before.trainer_spec.vocab_size
  assert after == before


@pytest.mark.parametrize('spaces', [True, False])
def test_new_pieces_are_what_the_old_vocabulary_would_cut(old, spaces):
  """Each is likelier than the best of its old segmentations."""
  lines = new_lines()
  if not spaces:
    lines = [line.replace(' ', '') for line in lines]
  change = surgery.extend(old, lines, 80)
  held = proto(old).pieces
  scores = {p.piece: p.score for p in held if p.type == 1}
  lowest = min(scores.values())
  for new in change.new:
    best, parts = best_cut(scores, new.text, lowest - 10)
    assert new.text not in scores
    assert lowest <= new.score
    known = [p for p in parts if p in scores]
    if known == ['▁']:  # no letter of it
      known = []
    assert new.parts == tuple(map(old.piece_to_id, known)), new.text
    if len(known) == len(parts):
      assert new.score > best
  texts = [new.text for new in change.new]
  # Letters that nothing in the old vocabulary can spell come first.
  letters = set(''.join(WORDS)) - scores.keys()
  assert letters > set('ⴰⵣⵓⵍⵎⵉⵖ')
  assert set(texts[: len(letters)]) == letters
  rest = texts[len(letters) :]
  assert all(len(text) > 1 for text in rest)
  assert any(text[0] != '▁' for text in rest) == (not spaces)
  assert any('ⴰⵣⵓⵍ' in text for text in rest)


def test_pieces_that_would_never_win_are_not_added(old):
  made = proto(old)
  for piece in made.pieces[3:]:
    piece.score = -0.1
  made.pieces[-1].score = -20.0  # else nothing may be below -0.1
  likely = Tokenizer(made.SerializeToString())
  words = ['kakhulu fundisa'] * 30
  assert surgery.extend(old, words, 10).new
  with pytest.raises(ValueError, match='nothing to add'):
    surgery.extend(likely, words, 10)


def test_scores_are_those_of_a_mixture(old, monkeypatch):
  """log(share) lower than the new text's own model has them."""
  models = []
  real = train_tokenizer.train

  def spy(*args, **kwargs):
    models.append(real(*args, **kwargs))
    return models[-1]

  monkeypatch.setattr(train_tokenizer, 'train', spy)
  checked = 0
  for share in (1.0, 0.7):
    change = surgery.extend(old, new_lines(), 20, share=share)
    own = sentencepiece.SentencePieceProcessor(model_proto=models[-1])
    lowest = min(p.score for p in proto(old).pieces if p.type == 1)
    for new in change.new:
      want = own.get_score(own.piece_to_id(new.text)) + math.log(share)
      assert new.score == pytest.approx(max(want, lowest), abs=1e-5)
      checked += want > lowest
    ranks = [own.piece_to_id(new.text) for new in change.new if new.parts]
    order = [own.get_score(rank) for rank in ranks]
    assert order == sorted(order, reverse=True)
  assert checked > 10


def test_the_new_language_is_shorter_and_old_text_is_cut_as_before(old, change):
  new = change.tokenizer
  lines = new_lines()
  was, now = (
    sum(map(len, tokenizer.encode_plain(lines))) for tokenizer in (old, new)
  )
  assert now < 0.5 * was
  assert old.unk_id in np.concatenate(old.encode_plain(lines))
  assert new.unk_id not in np.concatenate(new.encode_plain(lines))
  # ю and 漢 are unknown to both: nor is their weight another one.
  text = [
    *sentences(KNOWN, 99),
    'the 漢 man sees 漢字',
    'no юг in the house',
    '',
  ]
  same = [
    line
    for line in text
    if not any(p.text.strip('▁') in line for p in change.new)
  ]
  assert len(same) > 30 and same[-3:] == text[-3:]
  assert new.encode_batch(same) == old.encode_batch(same)
  masked = 'no <mask> sees the red cat.'
  ids = [i if i != new.mask_id else old.mask_id for i in new.encode(masked)]
  assert ids == old.encode(masked)


def test_text_is_normalized_as_the_vocabulary_does_it():
  """No piece is added that the tokenizer could never meet."""
  folded = io.BytesIO()
  sentencepiece.SentencePieceTrainer.train(
    sentence_iterator=iter(sentences(KNOWN)),
    model_writer=folded,
    vocab_size=60,
    hard_vocab_limit=False,
    normalization_rule_name='nmt_nfkc_cf',  # no capitals
    unk_id=0,
    bos_id=1,
    eos_id=2,
    pad_id=-1,
    minloglevel=2,
  )
  made = Tokenizer(folded.getvalue())
  wide = sentences(['ＫＡＫＨＵＬＵ', 'Fundisa', 'kakhulu', 'the'], 60)
  change = surgery.extend(made, wide, 60)
  texts = [new.text for new in change.new]
  assert '▁kakhulu' in texts and '▁fundisa' in texts
  assert not [text for text in texts if text != text.lower()]


def test_a_vocabulary_grows_twice(old, change):
  again = surgery.extend(change.tokenizer, ['kwesibili ' * 9] * 40, 5)
  texts = [again.tokenizer.id_to_piece(i) for i in range(old.mask_id)]
  assert texts == [old.id_to_piece(i) for i in range(old.mask_id)]
  assert len(proto(again.tokenizer).pieces) == again.tokenizer.vocab_size - 2


def test_trimmed_text_is_cut_as_before(old):
  kept = OLD[:2] + ['einen Ж']
  change = surgery.trim(old, iter(kept * 3))
  new = change.tokenizer
  assert new.vocab_size == len(change.rows) < old.vocab_size
  assert proto(new).trainer_spec.vocab_size == new.vocab_size - 2
  for i, row in enumerate(change.rows):
    assert new.id_to_piece(i) == old.id_to_piece(int(row))
  assert (np.diff(change.rows) > 0).all()
  for line in [*kept, f'<mask> {kept[0]}']:
    ids = new.encode(line)
    assert change.rows[ids].tolist() == old.encode(line), line
  # Nothing but letters, specials and what the text uses.
  used = {i for line in kept for i in old.encode(line)}
  lowest = min(p.score for p in proto(old).pieces if p.type == 1)
  scores = {p.piece: p.score for p in proto(old).pieces}
  for i in map(int, change.rows):
    text = old.id_to_piece(i)
    assert (
      i in used
      or i in old.special_ids
      or (len(text) == 1 and text in ''.join(['▁', *kept]))
      or scores[text] == lowest
    ), text
  # Other words of the same letters can still be spelled.
  assert new.unk_id not in new.encode('name'.join(kept[0][:9]))


def test_an_unknown_character_weighs_the_same(old):
  """It is reckoned from the lowest score, so one piece that has it stays."""
  made = proto(old)
  rare = next(piece for piece in made.pieces if piece.piece == 'щ')
  rare.score = -30.0
  change = surgery.trim(Tokenizer(made.SerializeToString()), ['the man'])
  scores = {p.piece: p.score for p in proto(change.tokenizer).pieces}
  assert scores['щ'] == min(scores.values()) == -30.0


def test_trim_by_frequency(old):
  lines = ['the man'] * 9 + ['the horse']
  all_, most = (surgery.trim(old, lines, least=n) for n in (1, 5))
  gone = {old.id_to_piece(int(i)) for i in {*all_.rows} - {*most.rows}}
  assert gone and all(len(text) > 1 for text in gone)
  assert most.tokenizer.unk_id not in most.tokenizer.encode('the horse')
  assert most.rows[most.tokenizer.encode(lines[0])].tolist() == (
    old.encode(lines[0])
  )


def test_what_cannot_be_changed(old, bpe):
  for lines in ([], ['', '  \t']):
    with pytest.raises(ValueError, match='there is no text'):
      surgery.extend(old, lines, 10)
    with pytest.raises(ValueError, match='there is no text'):
      surgery.trim(old, lines)
  with pytest.raises(ValueError, match='nothing to add'):
    surgery.extend(old, ['in the house'] * 20, 10)
  for count in (0, -1):
    with pytest.raises(ValueError, match='nothing to add below 1'):
      surgery.extend(old, new_lines(), count)
  with pytest.raises(ValueError, match='share=0 is not above 0'):
    surgery.extend(old, new_lines(), 10, share=0)
  with pytest.raises(ValueError, match='least=0'):
    surgery.trim(old, new_lines(), least=0)
  with pytest.raises(ValueError, match='only a SentencePiece vocabulary'):
    surgery.trim(vocabulary.load(bpe), OLD)
  made = proto(old)
  made.trainer_spec.model_type = made.trainer_spec.BPE
  with pytest.raises(ValueError, match='no unigram model'):
    surgery.extend(Tokenizer(made.SerializeToString()), new_lines(), 10)


@pytest.fixture(scope='module')
def bpe(tmp_path_factory):
  """A folder of RoBERTa's kind."""
  import tokenizers

  folder = tmp_path_factory.mktemp('bpe')
  made = tokenizers.ByteLevelBPETokenizer()
  made.train_from_iterator(
    OLD,
    vocab_size=300,
    special_tokens=['<s>', '<pad>', '</s>', '<unk>', '<mask>'],
    show_progress=False,
  )
  made.save_model(str(folder))
  return folder


# The checkpoint.


def tables(weights):
  """Every array that has a row for each id."""
  size = weights.config.vocab_size
  return {
    name: np.asarray(leaf)
    for name, leaf in flat(weights.params).items()
    if leaf.shape[0] == size
  }


def flat(tree, path=''):
  out = {}
  for key, value in tree.items():
    if isinstance(value, dict):
      out |= flat(value, f'{path}{key}/')
    else:
      out[f'{path}{key}'] = value
  return out


@pytest.fixture
def source(make_model, folder, tmp_path):
  """A checkpoint of ours with an mlm head."""
  make_model(folder, 'mlm').save(tmp_path / 'source')
  return tmp_path / 'source'


def test_rows_follow_their_pieces(source, corpus, tmp_path, change):
  run('extend', source, tmp_path / 'out', f'--corpus={corpus}', '--pieces=40')
  before, after = (directory.read(path) for path in (source, tmp_path / 'out'))
  tokenizer = tokenizers.load(tmp_path / 'out' / 'tokenizer')
  assert after.config.vocab_size == tokenizer.vocab_size
  assert after.config == dataclasses.replace(
    before.config, vocab_size=tokenizer.vocab_size
  )
  old, new = tables(before), tables(after)
  assert old.keys() == new.keys() == {'encoder/embed/tokens', 'head/bias'}
  mask = before.config.vocab_size - 1
  by_text = {piece.text: piece for piece in change.new}
  checked = 0
  for name, array in old.items():
    np.testing.assert_array_equal(new[name][:mask], array[:mask])
    np.testing.assert_array_equal(new[name][-1], array[mask])
    for i in range(mask, tokenizer.mask_id):
      piece = by_text.get(tokenizer.id_to_piece(i))
      if piece and piece.parts:
        want = np.mean([array[part] for part in piece.parts], axis=0)
        np.testing.assert_allclose(new[name][i], want, atol=1e-6)
        checked += 1
  assert checked > 20
  for name, leaf in flat(before.params).items():
    if name not in old:
      np.testing.assert_array_equal(leaf, flat(after.params)[name])


def test_rows_of_which_nothing_is_known(source, old, change):
  """They are spread as the old rows are, and no two are alike."""
  weights, _ = vocab.read(source)
  table = np.asarray(weights.params['encoder']['embed']['tokens'])
  table = 3 + 2 * table
  weights.params['encoder']['embed']['tokens'] = table
  unknown = surgery.Change(
    change.tokenizer,
    change.rows,
    tuple(dataclasses.replace(new, parts=()) for new in change.new),
  )
  made = vocab.with_vocabulary(weights, unknown, seed=1)
  rows = made.params['encoder']['embed']['tokens'][old.mask_id : -1]
  assert abs(rows.mean() - table.mean()) < 0.1
  assert abs(rows.std() - table.std()) < 0.1
  assert len(np.unique(rows, axis=0)) == len(rows)


def test_random_rows(source, old, change):
  weights, _ = vocab.read(source)
  made = vocab.with_vocabulary(weights, change, 'random', seed=3)
  rows = made.params['encoder']['embed']['tokens'][old.mask_id : -1]
  assert rows.std() == pytest.approx(weights.config.init_std, rel=0.1)
  assert abs(rows.mean()) < 0.003
  assert not made.params['head']['bias'][old.mask_id : -1].any()
  assert made.params['head']['bias'][-1] == weights.params['head']['bias'][-1]
  other = vocab.with_vocabulary(weights, change, 'random', seed=4)
  again = vocab.with_vocabulary(weights, change, 'random', seed=3)
  table = lambda weights: weights.params['encoder']['embed']['tokens']
  assert (table(made) == table(again)).all()
  assert (table(made) != table(other))[old.mask_id : -1].all()
  with pytest.raises(ValueError, match="init 'zeros' is not one of"):
    vocab.with_vocabulary(weights, change, 'zeros')


@pytest.mark.parametrize('what', ['extend', 'trim'])
def test_the_same_text_gives_the_same_states_to_the_bit(
  what, source, corpus, tmp_path
):
  if what == 'trim':
    write_lines(corpus, [*OLD, 'no sees the house.'])
  run(what, source, tmp_path / 'out', f'--corpus={corpus}', '--pieces=40')
  old, new = xlmr_jax.load(source), xlmr_jax.load(tmp_path / 'out')
  texts = [*OLD, 'no <mask> sees the house.', '']
  ids = old.tokens(texts)
  if what == 'extend':
    moved = {old.tokenizer.mask_id: new.tokenizer.mask_id}
    for a, b in zip(ids, new.tokens(texts), strict=True):
      assert [moved.get(i, i) for i in a.tolist()] == b.tolist()
  else:
    assert new.config.vocab_size < old.config.vocab_size
  for a, b in zip(old.encode(texts), new.encode(texts), strict=True):
    assert a.tobytes() == b.tobytes()


def theirs(folder, texts, kind='XLMRoberta'):
  """(ids, logits) of each text, by transformers from files alone."""
  tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
  assert type(tokenizer).__name__.startswith(kind)
  model = getattr(transformers, f'{kind}ForMaskedLM').from_pretrained(
    folder, attn_implementation='eager'
  )
  assert tokenizer.mask_token_id == model.config.vocab_size - 1
  assert len(tokenizer) == model.config.vocab_size
  for text in texts:
    ids = tokenizer(text)['input_ids']
    with torch.no_grad():
      logits = model(torch.tensor([ids])).logits[0]
    yield ids, logits.numpy()


def add_fast_files(folder):
  """tokenizer.json and the settings that transformers writes beside it."""
  spm = transformers.AutoTokenizer.from_pretrained(folder)
  made = folder.parent / 'fast'
  spm.save_pretrained(made)
  # As published models say it: ids of the added tokens.
  fast = json.loads((made / 'tokenizer_config.json').read_text())
  fast['added_tokens_decoder'] = {
    str(i): {'content': token.content, 'special': True, 'lstrip': token.lstrip}
    for i, token in spm.added_tokens_decoder.items()
  }
  (made / 'tokenizer_config.json').write_text(json.dumps(fast))
  (made / 'added_tokens.json').write_text(
    json.dumps({'<mask>': spm.mask_token_id})
  )
  for name in ('tokenizer.json', 'tokenizer_config.json', 'added_tokens.json'):
    shutil.copy(made / name, folder)


@pytest.mark.parametrize('fast', [False, True], ids=['spm', 'json'])
@pytest.mark.parametrize('what', ['extend', 'trim'])
def test_transformers_agree(what, fast, source, corpus, tmp_path):
  hf_source = tmp_path / 'theirs'
  xlmr_jax.load(source).save(hf_source, format='hf')
  if fast:
    add_fast_files(hf_source)
  options = f'--corpus={corpus}', '--pieces=40'
  run(what, hf_source, tmp_path / 'ours', *options)
  run(what, hf_source, tmp_path / 'direct', *options, '--format=hf')
  values = flags.FlagValues()
  convert.define_flags(values)
  paths = [str(tmp_path / name) for name in ('ours', 'back')]
  convert.main(values(['convert', *paths]), values)
  for name in ('config.json', 'model.safetensors', SPM):
    one, two = (tmp_path / n / name for n in ('back', 'direct'))
    assert one.read_bytes() == two.read_bytes(), name
  assert (tmp_path / 'back' / 'tokenizer.json').exists() == fast
  ours = xlmr_jax.load(tmp_path / 'ours')
  texts = [*OLD, *new_lines(5), 'umuntu <mask> abantu.', '漢 isizwe', '']
  if fast:  # transformers must not have had to make one
    (tmp_path / 'back' / SPM).unlink()
    held = json.loads((tmp_path / 'back' / 'added_tokens.json').read_text())
    assert held == {'<mask>': ours.tokenizer.mask_id}
    held = json.loads((tmp_path / 'back' / 'tokenizer.json').read_text())
    spm = sentencepiece.SentencePieceProcessor(model_proto=ours.tokenizer.model)
    for text, score in held['model']['vocab'][4:-1]:
      assert score == spm.get_score(spm.piece_to_id(text)), text
  scores = ours.logits(texts)
  expected = theirs(tmp_path / 'back', texts)
  for text, (ids, logits), got in zip(texts, expected, scores, strict=True):
    assert ids == ours.tokenizer.encode(text), text
    np.testing.assert_allclose(got, logits, rtol=0, atol=2e-4)


def test_a_file_of_another_vocabulary_is_left_out(
  source, bpe, corpus, tmp_path
):
  hf_source = tmp_path / 'theirs'
  xlmr_jax.load(source).save(hf_source, format='hf')
  add_fast_files(hf_source)
  path = hf_source / 'tokenizer.json'
  spec = json.loads(path.read_text())
  first = spec['model']['vocab']
  first[5], first[6] = first[6], first[5]
  path.write_text(json.dumps(spec))
  run('extend', hf_source, tmp_path / 'one', f'--corpus={corpus}')
  BpeTokenizer(bpe).save(hf_source)
  run('extend', hf_source, tmp_path / 'two', f'--corpus={corpus}')
  for name in ('one', 'two'):
    held = tmp_path / name / 'tokenizer'
    assert (held / 'tokenizer_config.json').exists()
    assert not (held / 'tokenizer.json').exists()


def test_camembert_keeps_its_layout(model, make_model, tmp_path, corpus):
  old = Tokenizer(model, CAMEMBERT)
  old.save(tmp_path / 'tokenizer')
  made = make_model(tmp_path / 'tokenizer', 'mlm')
  made = dataclasses.replace(made, tokenizer=old)
  size = dataclasses.replace(made.config, vocab_size=old.vocab_size)
  table = made.params['encoder']['embed']['tokens']
  rows = np.random.default_rng(0).normal(size=(old.vocab_size, table.shape[1]))
  made.params['encoder']['embed']['tokens'] = rows.astype(np.float32)
  made.params['head']['bias'] = rows[:, 0].astype(np.float32)
  made.replace(config=size).save(tmp_path / 'source')
  for what in ('extend', 'trim'):
    out = tmp_path / what
    run(what, tmp_path / 'source', out, f'--corpus={corpus}', '--format=hf')
    ours = xlmr_jax.load(out)
    assert ours.tokenizer.layout == CAMEMBERT
    texts = ['umuntu <mask> abantu.', *new_lines(3)]
    unknown = ours.tokenizer.unk_id in ours.tokens(texts[:1])[0]
    assert unknown == (what == 'trim')  # 'b' is new
    expected = theirs(out, texts, 'Camembert')
    scores = ours.logits(texts)
    for text, (ids, logits), got in zip(texts, expected, scores, strict=True):
      assert ids == ours.tokenizer.encode(text), text
      np.testing.assert_allclose(got, logits, rtol=0, atol=2e-4)


# Whatever the checkpoint is.


@pytest.mark.parametrize('spare', [1, 878])
def test_spare_rows_are_left_out(
  spare, make_model, folder, tmp_path, corpus, capsys
):
  """XLM-R XL's table has rows behind <mask> that no id uses."""
  made = make_model(folder, 'mlm')
  rows = made.config.vocab_size + spare
  config = dataclasses.replace(made.config, vocab_size=rows)
  draw = np.random.default_rng(0)
  tokens = draw.normal(size=(rows, config.model_dim)).astype(np.float32)
  made.params['encoder']['embed']['tokens'] = tokens
  made.params['head']['bias'] = tokens[:, 0].copy()
  made.replace(config=config).save(tmp_path / 'source')
  run('extend', tmp_path / 'source', tmp_path / 'out', f'--corpus={corpus}')
  assert f'{spare} rows that no id uses' in capsys.readouterr().out
  ours = xlmr_jax.load(tmp_path / 'out')
  assert ours.config.vocab_size == ours.tokenizer.vocab_size
  table = np.asarray(ours.params['encoder']['embed']['tokens'])
  mask = made.tokenizer.mask_id
  np.testing.assert_array_equal(table[:mask], tokens[:mask])
  np.testing.assert_array_equal(table[-1], tokens[mask])


@pytest.mark.parametrize(
  'kind', ['untied', 'classify', 'body', 'bfloat16', 'pre_norm']
)
def test_every_table_of_every_model(kind, make_model, folder, tmp_path):
  head = {'classify': 'classify', 'body': None}.get(kind, 'mlm')
  labels = ('yes', 'no') if head == 'classify' else None
  norm = {'pre_norm': True} if kind == 'pre_norm' else {}
  made = make_model(folder, head, labels, **norm)
  tokens = np.array(made.params['encoder']['embed']['tokens'])
  if kind == 'untied':
    made.params['head']['table'] = tokens[::-1].copy()
    made = made.replace(tied=False)
  if kind == 'bfloat16':
    import ml_dtypes

    made.params['encoder']['embed']['tokens'] = tokens.astype(
      ml_dtypes.bfloat16
    )
  made.save(tmp_path / 'source')
  corpus = write_lines(tmp_path / 'zu.txt', new_lines())
  run('extend', tmp_path / 'source', tmp_path / 'out', f'--corpus={corpus}')
  old = directory.read(tmp_path / 'source')
  new = directory.read(tmp_path / 'out')
  assert (new.head, new.labels, new.tied) == (old.head, old.labels, old.tied)
  before, after = tables(old), tables(new)
  assert before.keys() == after.keys()
  assert ('head/table' in before) == (kind == 'untied')
  mask = old.config.vocab_size - 1
  for name, array in before.items():
    assert after[name].dtype == array.dtype
    assert after[name][:mask].tobytes() == array[:mask].tobytes()
    assert after[name][-1].tobytes() == array[-1].tobytes()
    rows = after[name][mask:-1].astype(np.float32)
    assert np.isfinite(rows).all() and rows.any(-1).all()
  ours = xlmr_jax.load(tmp_path / 'out')
  assert np.isfinite(ours.encode(['umuntu ⴰⵣⵓⵍ'])[0]).all()


def test_it_goes_on_to_pretrain(make_model, folder, tmp_path, corpus):
  """From the extended checkpoint, and out of the run's padded table again."""
  write_data(tmp_path)
  sizes = {k: v for k, v in SIZES.items() if k != 'max_positions'}
  made = make_model(folder, 'mlm', max_positions=34, **sizes)
  made.save(tmp_path / 'source')
  options = f'--corpus={corpus}', '--pieces=40'
  run('extend', tmp_path / 'source', tmp_path / 'more', *options)
  given = settings(tmp_path, '')
  changes = dict(init=str(tmp_path / 'more'), steps=2, eval_every=2)
  config = recipe(given, pretrain, tokenizer='', **changes)
  train.train(config, tmp_path / 'run')
  run('trim', tmp_path / 'run', tmp_path / 'less', *options)
  write_lines(corpus, sentences(['ngikhuluma', 'kwesibili']))
  run('extend', tmp_path / 'run', tmp_path / 'again', *options)
  one, two, three = (
    xlmr_jax.load(tmp_path / name) for name in ('run', 'again', 'less')
  )
  first = directory.read(tmp_path / 'more').config.vocab_size
  assert one.config.vocab_size == first < two.config.vocab_size
  assert three.config.vocab_size < first
  text = 'no <mask> sees'
  states = one.encode([text])[0]
  assert states.tobytes() == two.encode([text])[0].tobytes()


def test_bad_input(source, bpe, corpus, make_model, tmp_path, folder):
  empty = write_lines(tmp_path / 'empty.txt', ['', ' '])
  english = write_lines(tmp_path / 'en.txt', ['the the the'] * 9)
  given = f'--corpus={corpus}'
  out = tmp_path / 'out'
  full = tmp_path / 'full'
  full.mkdir()
  (full / 'mine.txt').write_text('mine')
  alone = tmp_path / 'alone'
  shutil.copytree(source, alone)
  shutil.rmtree(alone / 'tokenizer')
  roberta = tmp_path / 'roberta'
  shutil.copytree(source, roberta)
  (roberta / 'tokenizer' / SPM).unlink()
  for name in ('vocab.json', 'merges.txt'):
    shutil.copy(bpe / name, roberta / 'tokenizer')
  facts = json.loads((roberta / 'model.json').read_text())
  size = tokenizers.load(bpe).vocab_size
  draw = make_model(folder, 'mlm')
  table = np.ones((size, draw.config.model_dim), np.float32)
  draw.params['encoder']['embed']['tokens'] = table
  draw.params['head']['bias'] = table[:, 0].copy()
  shutil.rmtree(roberta)
  draw.replace(
    config=dataclasses.replace(draw.config, vocab_size=size),
    tokenizer_dir=bpe,
  ).save(roberta)
  assert facts['head'] == 'mlm'
  added = tmp_path / 'added'
  shutil.copytree(source, added)
  (added / 'tokenizer' / 'added_tokens.json').write_text('{"[NEW]": 9999}')
  for arguments, message in (
    ((), 'give extend or trim, CHECKPOINT and OUTPUT, not nothing'),
    (('grow', source, out, given), 'give extend or trim'),
    (('extend', source, out), '--corpus is missing'),
    (('trim', source, full, given), 'full is not empty'),
    (('extend', source, corpus, given), 'zu.txt is a file'),
    (('extend', source, out, '--corpus=none/*.txt'), "no file matches 'none"),
    (('extend', source, out, f'--corpus={empty}'), 'empty.txt: there is no t'),
    (('trim', source, out, f'--corpus={empty}'), 'empty.txt: there is no text'),
    (('extend', source, out, f'--corpus={english}'), 'en.txt: nothing to add'),
    (('extend', alone, out, given), 'alone has no tokenizer: put its'),
    (('extend', roberta, out, given), 'roberta: only a SentencePiece'),
    (('trim', roberta, out, given), 'roberta: only a SentencePiece'),
    (('extend', added, out, given), r"adds the token '\[NEW\]' as id 9999"),
  ):
    with pytest.raises(ValueError, match=message):
      run(*arguments)
    assert not out.exists()
  for flag in ('--pieces=0', '--pieces=-3', '--least=0', '--share=2'):
    with pytest.raises(flags.IllegalFlagValueError, match=flag.split('=')[1]):
      run('extend', source, out, given, flag)


def test_the_command_says_what_came_of_it(source, corpus, tmp_path, capsys):
  run('extend', source, tmp_path / 'out', f'--corpus={corpus}', '--pieces=15')
  said = capsys.readouterr().out
  size = Tokenizer(tmp_path / 'out' / 'tokenizer').vocab_size
  before = Tokenizer(source / 'tokenizer').vocab_size
  assert '294 lines to learn pieces from' in said
  assert '15 pieces added' in said
  assert f'{before} → {size} ids; <mask> is {size - 1}' in said
  # Lines 0, 50, ... are measured only.
  unseen = new_lines()[::50]
  characters = sum(map(len, unseen))
  for folder in (source, tmp_path / 'out'):
    tokenizer = Tokenizer(folder / 'tokenizer')
    rate = sum(map(len, tokenizer.encode_plain(unseen))) / characters
    assert f'{rate:.3f}' in said.splitlines()[2]


def test_the_real_vocabulary(data_dir):
  """Wolof, which XLM-R never saw: shorter by a third, and English as it was."""
  import gzip
  import lzma

  old = Tokenizer(data_dir / 'tokenizers' / 'xlm-roberta')
  with gzip.open(data_dir / 'bible_nt' / 'wo.tsv.gz', 'rt') as file:
    lines = [line.split('\t')[1] for line in file]
  change = surgery.extend(old, lines[800:], 1000)
  new = change.tokenizer
  assert (len(change.new), new.mask_id) == (1000, 251001)
  was, now = (
    sum(map(len, tokenizer.encode_plain(lines[:800])))
    for tokenizer in (old, new)
  )
  assert now < 0.7 * was
  for language in ('en', 'de', 'ru', 'tr', 'zh'):
    path = data_dir / 'corpus' / f'{language}.txt.xz'
    with lzma.open(path, 'rt') as file:
      text = [line for line in file if 40 < len(line) < 400][:3000]
    pairs = zip(old.encode_plain(text), new.encode_plain(text), strict=True)
    changed = sum(a.tolist() != b.tolist() for a, b in pairs)
    assert changed < 0.01 * len(text), language
