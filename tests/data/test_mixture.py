"""What a run reads when: units, windows, shares, held-out text, pairs."""

import collections
import math
import random
import re
import tracemalloc
import types

import numpy as np
import pytest

from xlmr_jax.data import permutation
from xlmr_jax.data.batches import loader, mixture
from xlmr_jax.data.corpus import prepare, shards
from xlmr_jax.data.tokenizers import base, train_tokenizer, xlmr

WORDS = {
  'en': 'the horse sees a house and old water near farmers'.split(),
  'sw': 'farasi anaona nyumba na maji karibu wakulima'.split(),
  'ru': 'лошадь видит дом и вода рядом крестьяне'.split(),
}
SIZES = {'en': 600, 'sw': 90, 'ru': 20}
PAIRS = [
  ('the "horse', 'farasi'),
  ('old water', 'maji na maji'),
  ('the house', 'nyumba ' + 'na ' * 40),
]
ROWS = tuple(mixture.ROWS)


def texts(language):
  draw = random.Random(language)
  return [
    ' '.join(draw.choices(WORDS[language], k=draw.randint(1, 60)))
    for _ in range(SIZES[language])
  ]


@pytest.fixture(scope='module')
def tokenizer():
  text = [p for language in WORDS for p in texts(language)]
  return xlmr.Tokenizer(
    train_tokenizer.train(text, 120, hard_vocab_limit=False)
  )


@pytest.fixture(scope='module')
def ids(tokenizer):
  """Documents of each language, as the corpus holds them."""
  return {n: [i[1:-1] for i in tokenizer.encode_batch(texts(n))] for n in WORDS}


@pytest.fixture(scope='module')
def text(tokenizer, ids, tmp_path_factory):
  folder = tmp_path_factory.mktemp('corpora') / 'text'
  return shards.write(folder, tokenizer, ids, shard_records=100)


@pytest.fixture(scope='module')
def parallel(tokenizer, tmp_path_factory):
  pairs = [tuple(tokenizer.encode(s)[1:-1] for s in pair) for pair in PAIRS]
  folder = tmp_path_factory.mktemp('corpora') / 'parallel'
  return shards.write(folder, tokenizer, {'en-sw': pairs})


def make(corpora, tokenizer, **options):
  options = {'max_length': 32, 'held_out': 0.1, **options}
  if not isinstance(corpora, list):
    corpora = [corpora]
  return mixture.Mixture(corpora, tokenizer, **options)


class Long:
  """A part of n tokens in documents of equal length, that holds no array."""

  kind = 'text'

  def __init__(self, name, tokens, ends):
    self.name, self.tokens, self.ends = name, tokens, ends
    self.units = len(ends) - 1

  def read(self, begin, end):
    return np.arange(begin, end) % 90 + 5


def prepared(*parts):
  """Corpora of such parts."""
  entry = {'ends': {'sha256': ''}, 'shards': []}
  return types.SimpleNamespace(
    parts={part.name: part for part in parts},
    manifest={'parts': {part.name: entry for part in parts}},
  )


WORDLESS = base.BaseTokenizer()  # the tokenizer of such parts
WORDLESS.pieces, WORDLESS.vocab_size = (3, 99), 100
WORDLESS.bos_id, WORDLESS.eos_id, WORDLESS.fingerprint = 0, 2, ''


def where(view, index):
  """Unit, first token and end of a feature, from its identity."""
  match = re.fullmatch(
    r'\S+ (?:piece|document|pair) (\d+), tokens (\d+)-(\d+)',
    view.identity(index),
  )
  return tuple(map(int, match.groups()))


def drawn(view):
  """Text tokens of each language and pair in a view."""
  out = collections.Counter()
  for name, length in zip(view.names, view.lengths.tolist(), strict=True):
    out[name] += length - (4 if '-' in name else 2)
  return out


# ── Units ─────────────────────────────────────────────────────────────────


@pytest.mark.parametrize('rows', ROWS)
def test_every_token_once_in_training_or_held_out(text, tokenizer, ids, rows):
  """With alpha 1 a window is an epoch of everything."""
  data = make(text, tokenizer, alpha=1.0, rows=rows)
  assert data.languages == ('en', 'ru', 'sw') and data.pairs == ()
  assert data.epoch_windows == 1
  train, held = data.window(0), data.held_out()
  for language in WORDS:
    tokens_read = []
    for view in (train, held):
      mine = []
      for i, name in enumerate(view.names):
        tokens = view[i]['tokens']
        assert tokens.dtype == np.int32 and len(tokens) == view.lengths[i]
        assert 3 <= len(tokens) <= 32
        assert tokens[0] == 0 and tokens[-1] == 2
        if name == language:
          mine.append((where(view, i)[1], tokens[1:-1].tolist()))
      tokens_read += [t for _, tokens in sorted(mine) for t in tokens]
    assert tokens_read == [t for document in ids[language] for t in document]


def test_pieces_are_running_text_of_nearly_equal_length(text, tokenizer, ids):
  data = make(text, tokenizer, alpha=1.0, held_out=0.0)
  assert len(data.held_out()) == 0
  whole = [t for document in ids['sw'] for t in document]
  view = data.window(0)
  pieces = [
    tuple(view[i]['tokens'][1:-1])
    for i, name in enumerate(view.names)
    if name == 'sw'
  ]
  count = -(-len(whole) // 30)
  cuts = [len(whole) * k // count for k in range(count + 1)]
  want = [tuple(whole[a:b]) for a, b in zip(cuts, cuts[1:], strict=False)]
  assert sorted(pieces) == sorted(want)
  lengths = {len(p) for p in pieces}
  assert max(lengths) <= 30 and max(lengths) - min(lengths) <= 1


@pytest.mark.parametrize('rows', ['packed', 'document'])
def test_documents_are_cut_where_they_are_too_long(text, tokenizer, ids, rows):
  data = make(text, tokenizer, alpha=1.0, held_out=0.0, rows=rows)
  view = data.window(0)
  texts_read = sorted(tuple(view[i]['tokens'][1:-1]) for i in range(len(view)))
  want = []
  for documents in ids.values():
    for document in documents:
      pieces = math.ceil(len(document) / 30)
      cuts = [len(document) * k // pieces for k in range(pieces + 1)]
      want += [document[a:b] for a, b in zip(cuts, cuts[1:], strict=False)]
  assert texts_read == sorted(map(tuple, want)) and len(want) > len(ids['en'])


def test_edges_of_pieces_do_not_overflow():
  tokens = 10**12
  part = Long('en', tokens, np.array([0, tokens]))
  data = make(prepared(part), WORDLESS, max_length=512, held_out=0.0)
  view = data.window(10**6)
  count = -(-tokens // 510)
  for i in range(0, len(view), 997):
    unit, *stretch = where(view, i)
    assert stretch == [unit * tokens // count, (unit + 1) * tokens // count]


# ── Windows ───────────────────────────────────────────────────────────────


@pytest.mark.parametrize('rows', ROWS)
def test_windows_are_cuts_of_endless_permutations(
  text, parallel, tokenizer, rows
):
  """Against the streams themselves, written out unit after unit."""
  options = {'rows': rows, 'window_tokens': 700, 'seed': 3}
  data = make([text, parallel], tokenizer, **options)
  windows, streams = 60, []
  for units in data._units:
    each = data.shares[units.name] * 700 * units.count / units.tokens
    need = round(each * windows) + 2
    stream, epoch = [], 0
    while len(stream) < need:
      key = permutation.key(3, 0, units.name, epoch)
      order = permutation.order(np.arange(units.count), units.count, key)
      assert sorted(order.tolist()) == list(range(units.count))
      stream += order.tolist()
      epoch += 1
    streams.append((units.name, each, stream))
  units_read = collections.defaultdict(list)
  for number in range(windows):
    view = data.window(number)
    units, last = collections.defaultdict(list), None
    for i, name in enumerate(view.names):
      unit, begin, end = where(view, i)
      if (name, unit, begin) != last:  # not a document's next piece
        units[name].append(unit)
      last = name, unit, end
    for name, _, stream in streams:
      before = len(units_read[name])
      units_read[name] += units[name]
      assert units[name] == stream[before : len(units_read[name])]
    for name, each, _ in streams:  # never more than rounding away
      assert abs(len(units_read[name]) - each * (number + 1)) <= 0.5 + 1e-6
  # A window alone is what it was in its turn.
  alone = make([text, parallel], tokenizer, **options).window(41)
  again = data.window(41)
  assert [alone.identity(i) for i in range(len(alone))] == [
    again.identity(i) for i in range(len(again))
  ]
  assert all(
    np.array_equal(alone[i]['tokens'], again[i]['tokens'])
    for i in range(len(alone))
  )


def test_each_language_goes_through_all_before_it_begins_again(text, tokenizer):
  data = make(text, tokenizer, window_tokens=500)
  streams = collections.defaultdict(list)
  for number in range(100):
    view = data.window(number)
    for i, name in enumerate(view.names):
      streams[name].append(view.identity(i))
  sizes = {u.name: u.count for u in data._units}
  for name, stream in streams.items():
    size = sizes[name]
    for start in range(0, len(stream) - size + 1, size):
      assert len(set(stream[start : start + size])) == size
    if len(stream) > 2 * size:
      assert stream[:size] != stream[size : 2 * size]
  assert len(streams['ru']) > 6 * sizes['ru']
  assert sizes['en'] < len(streams['en']) < 3 * sizes['en']


@pytest.mark.parametrize('rows', ROWS)
@pytest.mark.parametrize('alpha', [0.0, 0.3, 0.7, 1.0])
def test_the_exponent_is_what_was_asked_for(alpha, rows):
  draw = np.random.default_rng(0)
  parts = []
  for i in range(12):
    lengths = draw.gamma(0.8, 120, int(60 * 1.9**i)).astype(int) + 1
    ends = np.concatenate([[0], np.cumsum(lengths)])
    parts.append(Long(f'l{i}', int(ends[-1]), ends))
  data = make(
    prepared(*parts),
    WORDLESS,
    alpha=alpha,
    rows=rows,
    max_length=128,
  )
  total = collections.Counter()
  windows = max(4, math.ceil(2e7 / data.window_tokens))
  for number in range(windows):
    total += drawn(data.window(number))
  everything = sum(total.values())
  assert everything == pytest.approx(windows * data.window_tokens, rel=0.01)
  names = [part.name for part in parts]
  sizes = np.array([part.tokens for part in parts], float)
  for name, share in zip(names, sizes**alpha / sum(sizes**alpha), strict=True):
    assert total[name] / everything == pytest.approx(share, rel=0.01), name
    assert data.shares[name] == pytest.approx(share, rel=1e-3)
  slope, _ = np.polyfit(np.log(sizes), np.log([total[n] for n in names]), 1)
  assert slope == pytest.approx(alpha, rel=0.01, abs=0.002)
  report = data.report(everything)
  for line in report:
    assert line.drawn == pytest.approx(total[line.name], rel=0.01)
    assert line.epochs == line.drawn / line.tokens
  shown = mixture.table(report).splitlines()
  assert shown[0].split() == ['tokens', 'share', 'drawn', 'epochs']
  assert len({len(line) for line in shown}) == 1 and len(shown) == 13
  assert shown[1].startswith('l0 ') and f'{report[0].tokens:,}' in shown[1]


def test_a_corpus_of_any_size(tmp_path):
  """1,000,000,000 tokens in 10,000,000 documents: no array is as long."""
  path = tmp_path / 'ends'
  count = 10**7
  ends = np.memmap(path, np.int64, 'w+', shape=(count + 1,))
  for start in range(0, count + 1, 1 << 20):
    stop = min(start + (1 << 20), count + 1)
    ends[start:stop] = 100 * np.arange(start, stop)
  large = Long('en', 100 * count, ends)
  pairs = Long('en-sw', 100 * count, ends)
  pairs.kind, pairs.units = 'pairs', count // 2
  small = Long('sw', 1000, np.arange(0, 1001, 50))
  corpora = prepared(large, small), prepared(pairs)
  for rows in ROWS:
    tracemalloc.start()
    data = make(
      list(corpora),
      WORDLESS,
      rows=rows,
      parallel_weight=0.01,
      max_length=512,
    )
    data.unigram_entropy()
    near, far = data.window(0), data.window(10**9)
    data.held_out(64)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 40e6, rows  # half a number for each document
    assert data.window_tokens <= 1 << 24
    for view in (near, far):
      assert len(view) < 2 << 20
      got = drawn(view)
      for name, share in data.shares.items():
        assert got[name] / data.window_tokens == pytest.approx(share, rel=0.01)


# ── Held out ──────────────────────────────────────────────────────────────


@pytest.mark.parametrize('rows', ROWS)
def test_the_last_tokens_are_held_out(text, tokenizer, ids, rows):
  data = make(text, tokenizer, alpha=1.0, rows=rows, held_out=0.07)
  held, names = data.held_out(), np.array(data.held_out().names)
  inside = 0
  for language, documents in ids.items():
    whole = [t for document in documents for t in document]
    share = round(0.07 * len(whole))
    assert data.tokens[language] == len(whole) - share
    mine = np.flatnonzero(names == language)
    tokens = [t for i in mine for t in held[i]['tokens'][1:-1].tolist()]
    assert tokens == whole[-share:]
    inside += len(whole) - share not in np.cumsum([*map(len, documents)])
  assert inside  # a document was cut
  for number in range(3):
    view = data.window(number)
    for i, name in enumerate(view.names):
      assert where(view, i)[2] <= data.tokens[name]
  few = data.held_out(limit=2)
  assert few.names == ['en', 'en', 'ru', 'ru', 'sw', 'sw']
  assert few[0]['tokens'].tolist() == held[0]['tokens'].tolist()


def test_unigram_entropy(text, tokenizer, ids, monkeypatch):
  seen, asked = np.array([3, 0, 1]), np.array([1, 1, 2])
  want = -(math.log(4 / 7) + math.log(1 / 7) + 2 * math.log(2 / 7)) / 4
  assert mixture.cross_entropy(seen, asked) == pytest.approx(want)
  data = make(text, tokenizer)
  got = data.unigram_entropy()
  first, last = tokenizer.pieces
  for language, documents in ids.items():
    whole = np.concatenate(documents)
    cut = data.tokens[language]
    counts = [
      np.bincount(part, minlength=tokenizer.vocab_size)[first:last]
      for part in (whole[:cut], whole[cut:])
    ]
    assert got[language] == pytest.approx(mixture.cross_entropy(*counts))
    assert 0 < got[language] < math.log(tokenizer.vocab_size)
  # Of a large language a part is counted.
  monkeypatch.setattr('xlmr_jax.data.batches.streams._BLOCK', 64)
  monkeypatch.setattr(mixture, '_COUNTED', 4000)
  assert data._units[0].histogram(tokenizer.vocab_size, 4000).sum() < 4100
  near = data.unigram_entropy()
  assert near['en'] != got['en']
  assert near['en'] == pytest.approx(got['en'], rel=0.03)


# ── Pairs, and who asks ───────────────────────────────────────────────────


def test_pairs_have_both_orders_and_their_share(text, parallel, tokenizer):
  both = [text, parallel]
  data = make(both, tokenizer, parallel_weight=0.25)
  assert data.pairs == ('en-sw',) and data.shares['en-sw'] == 0.25
  want = set()
  for a, b in PAIRS:
    for pair in ((a, b), (b, a)):
      ids = tokenizer.encode(*pair, max_length=32, truncate='longest_first')
      want.add(tuple(ids))
  view = data.window(0)
  examples = [
    tuple(view[i]['tokens'].tolist())
    for i, name in enumerate(view.names)
    if name == 'en-sw'
  ]
  assert set(examples) == want
  got = drawn(view)
  assert got['en-sw'] / got.total() == pytest.approx(0.25, rel=0.01)
  none = make(both, tokenizer, parallel_weight=0)
  assert none.pairs == () and 'en-sw' not in none.window(0).names
  only = make(parallel, tokenizer)
  assert only.languages == () and only.shares == {'en-sw': 1.0}


def test_the_same_for_everyone_and_every_setting_counts(
  text, parallel, tokenizer
):
  def stream(**options):
    data = make([text, parallel], tokenizer, **options)
    view = data.window(3)
    return data.fingerprint, [
      view[i]['tokens'].tolist() for i in range(len(view))
    ]

  first = stream()
  assert stream() == first
  assert stream(rows='stream', alpha=0.3, phase=0) == first
  marks = {first[0]}
  for changes in (
    {'seed': 1},
    {'phase': 1},
    {'alpha': 0.31},
    {'rows': 'packed'},
    {'rows': 'document'},
    {'max_length': 31},
    {'held_out': 0.2},
    {'parallel_weight': 0.4},
    {'languages': ['en', 'sw']},
  ):
    mark, tokens = stream(**changes)
    marks.add(mark)
    if changes not in ({'rows': 'document'}, {'rows': 'packed'}):
      assert tokens != first[1], changes
  assert len(marks) == 10
  assert make(text, tokenizer).fingerprint not in marks
  assert stream(rows='packed')[1] == stream(rows='document')[1] != first[1]


@pytest.mark.parametrize('rows', ROWS)
def test_the_loader_takes_it(text, parallel, tokenizer, rows):
  data = make(
    [text, parallel], tokenizer, rows=rows, window_tokens=2000, max_length=30
  )
  length = 32 if rows == 'stream' else 64
  batches = loader.Loader(data, row_length=length, rows=8, steps=40)
  shapes, seen = set(), []
  for step in range(40):
    batch = batches.batch(step)
    shapes.add(tuple(v.shape for v in batch.values()))
    for row in range(8):
      names = batches.identity(step, row).split('; ')
      assert len(names) == (batch['example'][row] >= 0).sum() > 0
      seen += names
  assert len(shapes) == 1
  assert batches.max_examples == (1 if rows == 'document' else length // 3) or (
    rows == 'stream'
  )
  # The streams again, but for the order of rows inside a window.
  ahead = []
  for number in range(200):
    view = data.window(number)
    ahead += [view.identity(i) for i in range(len(view))]
    if len(ahead) >= len(seen):
      break
  missing = collections.Counter(seen) - collections.Counter(ahead)
  assert not missing
  assert len(seen) > len(ahead) - len(view)


def test_rows_before_a_window_need_no_counting_in_the_stream(text, tokenizer):
  data = make(text, tokenizer, window_tokens=300)
  for number in range(30):
    rows = sum(len(data.window(n)) for n in range(number))
    assert data.rows_before(number, 32) == rows
  assert data.rows_before(3, 64) is None  # two pieces may share such a row
  packed = make(text, tokenizer, rows='packed')
  assert packed.rows_before(3, 32) is None


def test_what_is_wrong_is_said(text, parallel, tokenizer):
  for name, value in (
    ('alpha', 2),
    ('parallel_weight', -1),
    ('held_out', 1),
    ('max_length', 4),
    ('window_tokens', 0),
    ('rows', 'sentences'),
  ):
    with pytest.raises(ValueError, match=f'{name}={value!r}'):
      make(text, tokenizer, **{name: value})
  with pytest.raises(ValueError, match="no text in 'fr'; there is en ru sw"):
    make([text, parallel], tokenizer, languages=['en', 'fr'])
  with pytest.raises(ValueError, match='en is in two of the corpora'):
    make([text, text], tokenizer)
  with pytest.raises(ValueError, match='neither text nor pairs'):
    make([], tokenizer)
  with pytest.raises(ValueError, match='nothing of xx is left to train on'):
    make(prepared(Long('xx', 1, np.array([0, 1]))), tokenizer, held_out=0.9)
  with pytest.raises(ValueError, match='up to 32 tokens do not fit into rows'):
    loader.Loader(make(text, tokenizer), row_length=31, rows=1, steps=1)


def test_the_real_corpus(data_dir, tmp_path):
  tokenizer = xlmr.Tokenizer(data_dir / 'tokenizers/xlm-roberta')
  corpus = prepare.prepare(
    data_dir / 'corpus', tmp_path / 'made', tokenizer, languages=['fr', 'tr']
  )
  data = make(corpus, tokenizer, max_length=256, held_out=0.01)
  batches = loader.Loader(data, row_length=256, batch_tokens=8192, steps=9)
  assert batches.efficiency > 0.99
  assert batches.batch(8)['tokens'].shape == (32, 256)
  for nats in data.unigram_entropy().values():
    assert 6 < nats < 8.5
  tokens = {name: part.tokens for name, part in corpus.parts.items()}
  ratio = (tokens['fr'] / tokens['tr']) ** 0.3
  got = drawn(data.window(0))
  assert got['fr'] / got['tr'] == pytest.approx(ratio, rel=0.01)
