"""Corpus preparation: what is learned from is what the files say."""

import collections
import gzip
import json
import lzma
import os
import pathlib
import random
import resource
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import zstandard

from xlmr_jax.data.corpus import command as corpus_command
from xlmr_jax.data.corpus import (
  documents,
  duplicates,
  prepare,
  prepare_language,
  shards,
  sources,
  workers,
)
from xlmr_jax.data.tokenizers import train_tokenizer, xlmr

WORDS = {
  'en': 'the horse sees a house and old water near farmers'.split(),
  'sw': 'farasi anaona nyumba na maji karibu wakulima'.split(),
  'ru': 'лошадь видит дом и вода рядом крестьяне'.split(),
}


def paragraphs(language, count, seed=0):
  draw = random.Random(f'{language}{seed}')
  return [
    ' '.join(draw.choices(WORDS[language], k=draw.randint(2, 30)))
    for _ in range(count)
  ]


def runs(lines, size=32):
  return [lines[i : i + size] for i in range(0, len(lines), size)]


@pytest.fixture(scope='module')
def tokenizer():
  text = [p for name in WORDS for p in paragraphs(name, 300)]
  return xlmr.Tokenizer(
    train_tokenizer.train(text, 120, hard_vocab_limit=False)
  )


@pytest.fixture(scope='module')
def raw_corpus(tmp_path_factory):
  """Every form and packing; and the documents that were put into them.

  A document is a list of paragraphs.
  """
  folder = tmp_path_factory.mktemp('raw')
  text, parallel = folder / 'text', folder / 'parallel'
  for path in (text / 'ru', parallel):
    path.mkdir(parents=True)
  want = {}
  # No blank lines between text, Windows' line ends, a byte order mark.
  first = paragraphs('en', 75)
  (text / 'en.txt').write_bytes(
    ('\ufeff\r\n \r\n' + '\r\n'.join(first) + '\r\n\r\n').encode()
  )
  # CC100's layout; the last line has no end.
  second = runs(paragraphs('en', 200, 1), 7)
  with lzma.open(text / 'en.more.txt.xz', 'wt', encoding='utf-8') as file:
    file.write('\n\n'.join('\n'.join(p) for p in second))
  want['en'] = runs(first) + second
  # Objects; one without text, one of control characters, a blank line.
  third = runs(paragraphs('sw', 90), 4)
  items = [{'id': i, 'text': '\n'.join(p)} for i, p in enumerate(third)]
  items[3:3] = [{'text': ''}, {'text': '\x01\n\x02'}]
  lines = [json.dumps(item) for item in items]
  with gzip.open(text / 'sw.jsonl.gz', 'wt', encoding='utf-8') as file:
    file.write('\n'.join([*lines[:5], '', *lines[5:]]) + '\n')
  want['sw'] = third
  # A folder; two frames in one archive; a blank line that looks like text.
  fourth = [paragraphs('ru', 3), paragraphs('ru', 40, 1)]
  packed = ['\n'.join(p) for p in fourth]
  (text / 'ru' / 'b.txt.zst').write_bytes(
    b''.join(
      zstandard.compress(t.encode())
      for t in (packed[0] + '\n\u3000\n\n', packed[1] + '\n')
    )
  )
  fifth = paragraphs('ru', 50, 2)
  (text / 'ru' / 'a.txt').write_text(
    '\n'.join([*fifth[:9], '\x01', *fifth[9:]])
  )
  want['ru'] = runs(fifth) + fourth
  (text / 'README.md').write_text('not text to train on')
  (text / '.hidden').mkdir()
  pairs = list(
    zip(paragraphs('en', 60, 3), paragraphs('sw', 60, 3), strict=True)
  )
  (parallel / 'en-sw.tsv').write_text(
    ''.join(f'{a}\t{b}\n' for a, b in pairs) + 'the horse\t \n\x01\tna\n'
  )
  want['en-sw'] = pairs
  return text, parallel, want


def prepare_all(raw_corpus, output, tokenizer, **options):
  options = {'workers': 0, 'parallel': raw_corpus[1], **options}
  return prepare.prepare(raw_corpus[0], output, tokenizer, **options)


def ids(tokenizer, text):
  """By the way that a single text goes."""
  return tokenizer.encode(text)[1:-1]


def documents_of(part):
  if part.kind == 'pairs':
    return [
      tuple(tuple(side.tolist()) for side in part.pair(i))
      for i in range(part.units)
    ]
  return [tuple(part.document(i).tolist()) for i in range(part.units)]


def contents(folder):
  """Every file of a folder and its bytes."""
  return {
    str(path.relative_to(folder)): path.read_bytes()
    for path in sorted(pathlib.Path(folder).rglob('*'))
    if path.is_file()
  }


@pytest.fixture(scope='module')
def reference(raw_corpus, tokenizer, tmp_path_factory):
  folder = tmp_path_factory.mktemp('prepared') / 'reference'
  prepare_all(raw_corpus, folder, tokenizer, shard_tokens=700)
  return folder


def test_every_document_once_and_the_counts(raw_corpus, tokenizer, reference):
  data = shards.open_shards(reference, tokenizer, verify=True)
  assert sorted(os.listdir(reference)) == [
    'en', 'en-sw', 'manifest.json', 'ru', 'sw',
  ]  # fmt: skip
  want = raw_corpus[2]
  assert list(data.parts) == sorted(want)
  for name, part in data.parts.items():
    entry = data.manifest['parts'][name]
    if name == 'en-sw':
      documents = [
        tuple(tuple(ids(tokenizer, s)) for s in p) for p in want[name]
      ]
      count = len(want[name])
      sizes = [[len(a) + len(b) for a, b in want[name]]]
    else:
      documents = [
        tuple(i for p in document for i in ids(tokenizer, p))
        for document in want[name]
      ]
      count = sum(map(len, want[name]))
      sizes = [[len(p) for p in document] for document in want[name]]
    got = documents_of(part)
    assert collections.Counter(got) == collections.Counter(documents)
    assert got != documents, 'not shuffled'
    assert entry['documents'] == len(documents) == part.units
    assert entry['paragraphs'] == count and entry['dropped'] == 0
    assert entry['characters'] == sum(map(sum, sizes))
    assert entry['tokens'] == part.tokens == part.ends[-1]
  files = [s['file'] for s in data.manifest['parts']['ru']['sources']]
  assert files == ['ru/a.txt', 'ru/b.txt.zst']
  english = data.manifest['parts']['en']['shards']
  assert len(english) > 2 and all(shard['records'] for shard in english)
  assert [s['file'] for s in english] == [
    f'{i:05}.array_record' for i in range(len(english))
  ]


@pytest.mark.parametrize('size', [5, 37, 700])
def test_the_blocks_do_not_matter(
  raw_corpus, tokenizer, reference, tmp_path, monkeypatch, size
):
  """Nor whether blank lines come late."""
  monkeypatch.setattr(sources, '_BLOCK', size)
  monkeypatch.setattr(sources, '_SNIFFED', 10)
  prepare_all(raw_corpus, tmp_path / 'x', tokenizer, shard_tokens=700)
  assert contents(tmp_path / 'x') == contents(reference)


def test_the_processes_do_not_matter(
  raw_corpus, tokenizer, reference, tmp_path, monkeypatch
):
  """Three of them, and three languages at once."""
  monkeypatch.setattr(prepare, '_READERS', 1)
  monkeypatch.setattr(sources, '_BLOCK', 2000)
  prepare_all(
    raw_corpus, tmp_path / 'x', tokenizer, shard_tokens=700, workers=3
  )
  assert contents(tmp_path / 'x') == contents(reference)


def test_a_blank_line_far_into_a_file(tmp_path, tokenizer, monkeypatch):
  """What was taken for runs becomes documents, the file before it stays."""
  monkeypatch.setattr(sources, '_BLOCK', 400)
  monkeypatch.setattr(sources, '_SNIFFED', 400)
  first, second = paragraphs('en', 40), paragraphs('en', 300, 1)
  raw = tmp_path / 'raw'
  raw.mkdir()
  (raw / 'en.a.txt').write_text('\n'.join(first))
  (raw / 'en.b.txt').write_text(
    '\n'.join(second[:250]) + '\n\n' + '\n'.join(second[250:])
  )
  data = prepare.prepare(
    raw, tmp_path / 'x', tokenizer, workers=0, shard_tokens=500
  )
  want = [*runs(first), second[:250], second[250:]]
  flat = [tuple(i for p in d for i in ids(tokenizer, p)) for d in want]
  assert sorted(documents_of(data.parts['en'])) == sorted(flat)


def test_long_documents_are_cut(tmp_path, tokenizer, monkeypatch):
  monkeypatch.setattr(documents, 'LONGEST', 100)
  monkeypatch.setattr(sources, '_BLOCK', 500)
  draw = random.Random(0)
  texts = [
    [
      ' '.join(draw.choices(WORDS['en'], k=draw.choice((12, 20, 60, 300))))
      for _ in range(draw.randint(1, 30))
    ]
    for _ in range(20)
  ]
  raw = tmp_path / 'raw'
  raw.mkdir()
  (raw / 'en.txt').write_text('\n\n'.join('\n'.join(d) for d in texts))
  data = prepare.prepare(
    raw, tmp_path / 'x', tokenizer, workers=0, drop_duplicates=True
  )
  want = []
  for document in texts:
    now = []
    for paragraph in document:
      left = ids(tokenizer, paragraph)
      while left:
        piece, left = left[:100], left[100:]
        if len(now) + len(piece) > 100:
          want.append(tuple(now))
          now = []
        now = now + piece
    want.append(tuple(now))
  got = documents_of(data.parts['en'])
  assert sorted(got) == sorted(want) and max(map(len, got)) == 100
  long = [p for d in texts for p in d if len(ids(tokenizer, p)) > 100]
  assert data.manifest['parts']['en']['cut'] == len(long) > 9
  assert corpus_command.table(data.manifest).splitlines()[-1] == (
    f'en: {len(long)} of its paragraphs (lines) had more than 100 tokens and '
    'were cut'
  )


def test_the_shuffle(tmp_path, tokenizer):
  """Even, of the seed, and the place in the file is forgotten."""
  raw = tmp_path / 'raw'
  raw.mkdir()
  count = 3000
  texts = [
    ' '.join(WORDS['en'][int(digit)] for digit in str(i)) for i in range(count)
  ]
  (raw / 'en.jsonl').write_text(
    ''.join(json.dumps({'text': text}) + '\n' for text in texts)
  )
  place = {tuple(ids(tokenizer, text)): i for i, text in enumerate(texts)}
  orders = []
  for seed in (0, 1, 0):
    data = prepare.prepare(
      raw,
      tmp_path / str(len(orders)),
      tokenizer,
      workers=0,
      seed=seed,
      shard_tokens=700,
    )
    part = data.parts['en']
    order = [place[d] for d in documents_of(part)]
    assert sorted(order) == list(range(count))
    orders.append(order)
    entries = data.manifest['parts']['en']['shards']
    shares = [e['records'] / count for e in entries]
    even = 1 / len(shares)
    assert len(shares) > 4
    for share in shares:
      assert abs(share - even) < 4 * (even * (1 - even) / count) ** 0.5
    # Four standard deviations of the correlation of what is independent:
    # of places, of neighbours, and of places within each shard.
    at = 0
    for piece in [count] + [e['records'] for e in entries]:
      some = order if piece == count else order[at : at + piece]
      at += 0 if piece == count else piece
      for a, b in ((some, range(len(some))), (some[1:], some[:-1])):
        assert abs(np.corrcoef(a, b)[0, 1]) < 4 / len(a) ** 0.5
  assert orders[0] == orders[2] != orders[1]


@pytest.mark.parametrize('parts', [1, 5])
def test_duplicates_are_dropped(tmp_path, tokenizer, monkeypatch, parts):
  """The first occurrence stays, in the order of the files."""
  draw = random.Random(1)
  pool = paragraphs('en', 60, 5)
  texts = [draw.choices(pool, k=draw.randint(1, 6)) for _ in range(90)]
  raw, parallel = tmp_path / 'raw', tmp_path / 'parallel'
  raw.mkdir()
  parallel.mkdir()
  for name, some in (('a', texts[:50]), ('b', texts[50:])):
    (raw / f'en.{name}.txt').write_text('\n\n'.join('\n'.join(d) for d in some))
  # The same text is no duplicate in another language.
  (raw / 'sw.txt').write_text('\n'.join([*pool, *pool[:7]]))
  (parallel / 'en-sw.tsv').write_text('the a\tna\nthe a\tmaji\nthe a\tna\n')
  monkeypatch.setattr(prepare_language, '_SORTED', 10 if parts > 1 else 1 << 20)
  monkeypatch.setattr(sources, '_BLOCK', 900)
  data = prepare.prepare(
    raw,
    tmp_path / 'x',
    tokenizer,
    parallel=parallel,
    workers=0,
    drop_duplicates=True,
    shard_tokens=600,
    journal_seconds=0,
  )
  seen, want, kept = set(), [], []
  for document in texts:
    fresh = []
    for paragraph in document:
      if paragraph not in seen:
        seen.add(paragraph)
        fresh.append(paragraph)
    kept += fresh
    if fresh:
      want.append(tuple(i for p in fresh for i in ids(tokenizer, p)))
  assert sorted(documents_of(data.parts['en'])) == sorted(want)
  entry = data.manifest['parts']['en']
  assert entry['paragraphs'] == len(kept) == len(set(kept))
  assert entry['dropped'] == sum(map(len, texts)) - len(kept) > 100
  assert entry['characters'] == sum(map(len, kept))
  assert entry['tokens'] == sum(map(len, want))
  assert data.manifest['parts']['sw']['dropped'] == 7
  pairs = data.manifest['parts']['en-sw']
  assert pairs['dropped'] == 1 and pairs['documents'] == 2
  assert pairs['characters'] == len('the ana' + 'the amaji')
  assert len(documents_of(data.parts['en-sw'])) == 2


def test_digests_meet_whatever_the_order(tmp_path):
  rng = np.random.default_rng(0)
  pool = rng.integers(0, 256, (50, 16), np.uint8)
  chosen = rng.integers(0, 50, 400)
  files = collections.defaultdict(bytes)
  for start in range(0, 400, 70):
    data = pool[chosen[start : start + 70]].tobytes()
    for name, rows in duplicates.partition(data, start, 7):
      files[name] += rows
  assert len(files) == 7
  duplicates.start(str(tmp_path), 400)
  for name, rows in files.items():
    (tmp_path / name).write_bytes(rows)
    duplicates.mark(str(tmp_path), name)
    duplicates.mark(str(tmp_path), name)
  got = duplicates.marked(str(tmp_path), np.array([[0, 100], [100, 300]]))
  seen = set()
  want = [bool(c in seen or seen.add(c)) for c in chosen.tolist()]
  assert got.tolist() == want


# Kills.

# Prepares in forked children, each killed at another call that changes a file.
KILLED = """if True:
  import builtins, os, pathlib, shutil, signal, sys
  from xlmr_jax.data.corpus import prepare, shuffle, sources
  from xlmr_jax.data.tokenizers.xlmr import Tokenizer

  text, parallel, vocabulary, output = sys.argv[1:5]
  tokenizer = Tokenizer(vocabulary)
  sources._BLOCK, sources._SNIFFED, shuffle._BUFFER = 1500, 300, 4000

  def child(output, last=None):
    if pid := os.fork():
      return os.waitpid(pid, 0)[1]
    calls = 0

    def counted(function):
      def call(*args, **kwargs):
        nonlocal calls
        calls += 1
        if calls == last:
          os.kill(os.getpid(), signal.SIGKILL)
        return function(*args, **kwargs)
      return call

    for name in 'replace remove truncate fsync pwrite makedirs'.split():
      setattr(os, name, counted(getattr(os, name)))
    shutil.rmtree = counted(shutil.rmtree)
    builtins.open = counted(open)
    try:
      prepare.prepare(
        text, output, tokenizer, parallel=parallel, workers=0,
        drop_duplicates=True, shard_tokens=3000, journal_seconds=0,
      )
      os._exit(calls == 0)
    except BaseException as error:
      print(repr(error), flush=True)
      os._exit(1)

  def content(folder):
    return {
      str(p.relative_to(folder)): p.read_bytes()
      for p in pathlib.Path(folder).rglob('*') if p.is_file()
    }

  assert child(f'{output}/whole') == 0
  whole = content(f'{output}/whole')
  kills = 0
  for first in (1, 5, 22, 97):
    folder, last = f'{output}/{first}', first
    # One folder is killed again and again, each time a little later.
    while status := child(folder, last):
      assert os.WIFSIGNALED(status), status
      kills += 1
      last += 9
    assert content(folder) == whole, folder
  print('killed', kills)
"""


def test_a_kill_anywhere_changes_nothing(raw_corpus, tokenizer, tmp_path):
  vocabulary = tokenizer.save(tmp_path / 'vocabulary')
  program = [
    sys.executable,
    '-c',
    KILLED,
    *map(str, raw_corpus[:2]),
    vocabulary,
  ]
  done = subprocess.run(
    [*program, str(tmp_path)], capture_output=True, text=True
  )
  assert done.returncode == 0, done.stdout + done.stderr
  assert int(done.stdout.split()[-1]) > 40


def test_killed_with_its_processes(raw_corpus, tokenizer, tmp_path):
  """SIGKILL of the command at random moments: no process stays behind."""
  raw = tmp_path / 'raw'
  raw.mkdir()
  lines = paragraphs('en', 60_000)
  (raw / 'en.txt').write_text('\n'.join(lines))
  tokenizer.save(tmp_path / 'vocabulary')

  def start(output):
    return subprocess.Popen(
      [sys.executable, '-m', 'xlmr_jax', 'corpus', f'--corpus={raw}']
      + [f'--tokenizer={tmp_path / "vocabulary"}', f'--output={output}']
      + ['--workers=2', '--journal_seconds=0', '--shard_tokens=100000'],
      start_new_session=True,
      stdout=subprocess.DEVNULL,
    )

  prepare.prepare(
    raw, tmp_path / 'whole', tokenizer, workers=0, shard_tokens=100_000
  )
  draw = random.Random(0)
  journal = tmp_path / 'x' / '.unfinished' / 'en' / 'journal.json'
  for _ in range(2):
    process = start(tmp_path / 'x')
    while not journal.exists():
      assert process.poll() is None
      time.sleep(0.02)
    time.sleep(draw.uniform(0, 0.5))
    process.kill()
    process.wait()
    for _ in range(250):
      try:
        os.killpg(process.pid, 0)
      except ProcessLookupError:
        break
      time.sleep(0.02)
    else:
      raise AssertionError('processes stayed behind')
    if not journal.exists():
      break
  assert start(tmp_path / 'x').wait() == 0
  assert contents(tmp_path / 'x') == contents(tmp_path / 'whole')


# Again.


def test_a_finished_folder_is_opened(
  raw_corpus, tokenizer, reference, tmp_path, monkeypatch
):
  before = contents(reference)

  def never(*args, **kwargs):
    raise AssertionError('tokenised again')

  monkeypatch.setattr(xlmr.Tokenizer, 'encode_plain', never)
  data = prepare_all(raw_corpus, reference, tokenizer, shard_tokens=700)
  assert data.parts['sw'].units == len(raw_corpus[2]['sw'])
  assert contents(reference) == before
  with pytest.raises(AssertionError, match='tokenised again'):
    prepare_all(raw_corpus, tmp_path / 'x', tokenizer)


def test_what_differs_is_said(raw_corpus, tokenizer, tmp_path, monkeypatch):
  raw = tmp_path / 'raw'
  subprocess.run(['cp', '-rp', raw_corpus[0], raw], check=True)
  output = tmp_path / 'x'

  def again(vocabulary=tokenizer, **options):
    prepare.prepare(raw, output, vocabulary, **{'workers': 0, **options})

  def full(*args, **kwargs):
    raise OSError(28, 'No space left on device')

  for finished in (False, True):
    if finished:
      again()
    else:
      with monkeypatch.context() as patch:
        patch.setattr(shards, 'write_shard', full)
        with pytest.raises(OSError, match='make room and run again'):
          again()
      with pytest.raises(ValueError, match='has not finished'):
        shards.open_shards(output)
    with pytest.raises(ValueError, match=r'differs: seed \(0; now 1\); drop_d'):
      again(seed=1, drop_duplicates=True)
    with pytest.raises(ValueError, match=r'differs: ru \(not asked .*sw \(not'):
      again(languages=['en'])
    other = xlmr.Tokenizer(
      train_tokenizer.train(paragraphs('en', 90), 60, hard_vocab_limit=False)
    )
    with pytest.raises(
      ValueError, match=r'the vocabulary \(\d+ rows, \w+; now'
    ):
      again(other)
    (raw / 'ru' / 'a.txt').touch()
    (raw / 'ru' / 'c.txt').write_text('дом')
    match = r'differs: ru \(ru/a.txt, ru/c.txt: new, gone or changed since\)\.'
    with pytest.raises(ValueError, match=match):
      again()
    (raw / 'ru' / 'c.txt').unlink()
    stat = (raw_corpus[0] / 'ru' / 'a.txt').stat()
    os.utime(raw / 'ru' / 'a.txt', ns=(stat.st_atime_ns, stat.st_mtime_ns))
  again()


def test_two_at_once(raw_corpus, tokenizer, tmp_path, reference):
  vocabulary = tokenizer.save(tmp_path / 'vocabulary')
  program = """if True:
    import sys
    from xlmr_jax.data.corpus import prepare
    from xlmr_jax.data.tokenizers.xlmr import Tokenizer
    prepare.prepare(
      sys.argv[1], sys.argv[4], Tokenizer(sys.argv[3]), parallel=sys.argv[2],
      workers=0, shard_tokens=700)
  """
  arguments = [*map(str, raw_corpus[:2]), vocabulary, str(tmp_path / 'x')]
  both = [
    subprocess.Popen([sys.executable, '-c', program, *arguments])
    for _ in range(2)
  ]
  assert [process.wait() for process in both] == [0, 0]
  assert contents(tmp_path / 'x') == contents(reference)


# What is wrong.


def test_what_is_wrong_with_a_folder(raw_corpus, tokenizer, tmp_path):
  def go(folder, output=tmp_path / 'x', **options):
    prepare.prepare(folder, output, tokenizer, **{'workers': 0, **options})

  with pytest.raises(ValueError, match='none is no folder'):
    go(tmp_path / 'none')
  bad = tmp_path / 'bad'
  bad.mkdir()
  with pytest.raises(ValueError, match=r'has no files <language>\.txt'):
    go(bad)
  with pytest.raises(ValueError, match="no text in 'fr'; it has en ru sw"):
    go(raw_corpus[0], languages=['en', 'fr'])
  with pytest.raises(ValueError, match="no text in 'en-fr'; it has en-sw"):
    go(None, parallel=raw_corpus[1], pairs=['en-fr'])
  (bad / 'de').mkdir()
  with pytest.raises(ValueError, match='bad/de: this folder of a language has'):
    go(bad)
  (bad / 'de' / 'notes.md').write_text('none')
  (bad / 'en.txt').write_text('fine\n')
  with pytest.raises(ValueError, match='bad/de: this folder of a language has'):
    go(bad)
  go(bad, tmp_path / 'english', languages=['en'])
  (bad / 'en.txt.gz').write_bytes(gzip.compress(b'fine\n'))
  with pytest.raises(ValueError, match='en.txt and en.txt.gz; keep one'):
    go(bad, languages=['en'])
  for output in (raw_corpus[0], raw_corpus[0] / 'out'):
    with pytest.raises(ValueError, match='is inside the input'):
      go(raw_corpus[0], output)
  with pytest.raises(ValueError, match='there is nothing to prepare'):
    go(None)
  with pytest.raises(ValueError, match='has files already'):
    go(raw_corpus[0], bad)
  with pytest.raises(ValueError, match='shard_tokens=0'):
    go(raw_corpus[0], shard_tokens=0)
  with pytest.raises(ValueError, match='workers=-1'):
    go(raw_corpus[0], workers=-1)
  (tmp_path / 'odd').mkdir()
  (tmp_path / 'odd' / 'en-sw.txt').write_text('fine\n')
  with pytest.raises(
    ValueError, match="'en-sw' comes from .*txt and from .*v;"
  ):
    go(tmp_path / 'odd', parallel=raw_corpus[1])
  assert not (tmp_path / 'x').exists()


LONG = 'the horse sees a house\n' * 300
WRONG = {
  'en.txt': {
    b'': r'en.txt: no text in this file',
    b' \n\n\x01\n': r'en.txt: no text in this file',
    b'fine\n\xff\n': r'en.txt:2: byte 5 of the file \(0xff\) is not UTF-8',
    b'\xef\xbb\xbfa\xc3': r'en.txt:1: byte 4 of the file \(0xc3\) is not',
    LONG.encode() + b'\xff': rf'en.txt:301: byte {len(LONG)} of the file \(0xf',
    b'fine\nf\0ine\n': r'en.txt:2: byte 6 of the file is NUL',
    b'x' * 9000: r'en.txt:1: a line of more than 0 MiB',
  },
  'en.txt.gz': {
    gzip.compress(LONG.encode() + b'\xff'): (
      rf'en.txt.gz:301: byte {len(LONG)} of the file \(unpacked\) \(0xff\)'
    ),
    gzip.compress(LONG.encode())[:-30]: r'en.txt.gz:\d+: the archive is damag',
    b'no archive': r'en.txt.gz:1: the archive is damaged',
  },
  'en.txt.xz': {
    lzma.compress(LONG.encode())[:-20]: r'en.txt.xz:\d+: the archive is dama',
    b'no archive': r'en.txt.xz:1: the archive is damaged',
  },
  'en.txt.zst': {
    zstandard.compress(LONG.encode())[:-9]: r'en.txt.zst:\d+: the archive is',
    zstandard.compress(LONG.encode()) + b'more': r'zst:\d+: the archive is',
    b'no archive': r'en.txt.zst:1: the archive is damaged',
  },
  'en.jsonl': {
    b'{"text": "a"}\n{"text"': r'en.jsonl:2: not JSON \(Expecting',
    b'{"text": "a"}\n\n["a"]': r'en.jsonl:3: not a JSON object',
    b'{"id": 3, "body": "a"}': r"en.jsonl:1: 'text' is no text; the object has"
    ' the keys id, body',
    b'{"text": 3}': r"en.jsonl:1: 'text' is no text",
    b'{"text": "a \\ud800"}': r'en.jsonl: in the text from line 1 on: .*lone',
    b'{"text": ""}\n': r'en.jsonl: no text in this file',
  },
  'en-sw.tsv': {
    b'a\tb\nc\n': r'en-sw.tsv:2: 1 columns, expected 2',
    b'a\tb\tc\n': r'en-sw.tsv:1: 3 columns, expected 2',
    b'a\t\n': r'en-sw.tsv: no text in this file',
  },
}


@pytest.mark.parametrize('name', WRONG)
def test_what_is_wrong_with_a_file(name, tokenizer, tmp_path, monkeypatch):
  monkeypatch.setattr(sources, '_BLOCK', 1000)
  monkeypatch.setattr(sources, '_LINE', 8000)
  for number, (content, match) in enumerate(WRONG[name].items()):
    raw = tmp_path / str(number)
    raw.mkdir()
    (raw / name).write_bytes(content)
    folders = {'corpus': raw}
    if name.endswith('tsv'):
      folders = {'corpus': None, 'parallel': raw}
    with pytest.raises(ValueError, match=match):
      prepare.prepare(
        output=tmp_path / f'x{number}',
        tokenizer=tokenizer,
        workers=0,
        **folders,
      )


def test_a_worker_s_error_is_the_user_s(tokenizer, tmp_path):
  raw = tmp_path / 'raw'
  raw.mkdir()
  (raw / 'en.txt').write_bytes(b'fine\n\xff\n')
  with pytest.raises(ValueError, match='en.txt:2: byte 5'):
    prepare.prepare(raw, tmp_path / 'x', tokenizer, workers=1)
  # Mended, it goes on.
  (raw / 'en.txt').write_bytes(b'fine\n\n')
  os.rename(tmp_path / 'x', tmp_path / 'y')
  prepare.prepare(raw, tmp_path / 'x', tokenizer, workers=1)


def test_a_process_that_dies_is_an_error(tmp_path):
  """At work, and before it can work."""
  with workers.Workers(1, 1, str(tmp_path)) as pool:
    with pytest.raises(OSError, match='a worker process died'):
      list(pool.run(os._exit, [()]))  # os._exit(1)
  with workers.Workers(bytes(1 << 20), 1, str(tmp_path)) as pool:
    (tmp_path / 'tokenizer.pickle').write_bytes(b'')
    with pytest.raises(OSError, match='a worker process died'):
      list(pool.run(len, [()]))


def test_a_full_disk(raw_corpus, tokenizer, tmp_path, reference):
  """Wherever it is full: one sentence, and it goes on once there is room."""
  before = resource.getrlimit(resource.RLIMIT_FSIZE)
  handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
  try:
    for size in (100, 3000, 9000):
      resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
      with pytest.raises(OSError, match='make room and run again') as caught:
        prepare_all(raw_corpus, tmp_path / 'x', tokenizer, shard_tokens=700)
      assert caught.value.filename == str(tmp_path / 'x')
  finally:
    resource.setrlimit(resource.RLIMIT_FSIZE, before)
    signal.signal(signal.SIGXFSZ, handler)
  prepare_all(raw_corpus, tmp_path / 'x', tokenizer, shard_tokens=700)
  assert contents(tmp_path / 'x') == contents(reference)


# Sizes.

MEASURED = """if True:
  import hashlib, resource, sys
  import numpy as np
  from xlmr_jax.data.corpus import prepare

  class Bytes:
    fingerprint, vocab_size = 'bytes', 256

    def encode_plain(self, texts):
      return [np.frombuffer(t.encode(), np.uint8) for t in texts]

  prepare.prepare(
    sys.argv[1], sys.argv[2], Bytes(), workers=0, drop_duplicates=True,
    shard_tokens=4 << 20)
  print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def test_memory_does_not_grow_with_the_text(tmp_path):
  """Six times the text, packed so well that its size says little."""
  peaks = []
  draw = random.Random(0)
  some = '\n'.join(paragraphs('en', 5000)) + '\n'
  for name, copies in (('small', 12), ('large', 72)):
    raw = tmp_path / name
    raw.mkdir()
    with gzip.open(raw / 'en.txt.gz', 'wt', compresslevel=1) as file:
      for i in range(copies):
        file.write(some.replace('horse', f'horse{draw.random()}{i}'))
    program = [sys.executable, '-c', MEASURED, raw, tmp_path / f'{name}-x']
    out = subprocess.run(program, check=True, capture_output=True, text=True)
    peaks.append(int(out.stdout) / 1024)
    data = shards.open_shards(tmp_path / f'{name}-x')
    assert data.parts['en'].tokens > 5e5 * copies / 2
  assert peaks[1] - peaks[0] < 24, peaks


def test_a_tensorflow_data_set(tmp_path, tokenizer, raw_corpus):
  import tensorflow_datasets as tfds

  class Wiki(tfds.core.GeneratorBasedBuilder):
    VERSION = tfds.core.Version('1.0.0')
    BUILDER_CONFIGS = (tfds.core.BuilderConfig(name='sw'),)

    def _info(self):
      text = tfds.features.Text()
      return tfds.core.DatasetInfo(
        builder=self,
        features=tfds.features.FeaturesDict({'text': text, 'title': text}),
      )

    def _split_generators(self, manager):
      return {'train': self._generate_examples()}

    def _generate_examples(self):
      for i, item in enumerate(raw_corpus[2]['sw']):
        yield i, {'text': '\n'.join(item), 'title': 'maji ' * (i + 1)}

  builder = Wiki(
    data_dir=tmp_path / 'tfds', config='sw', file_format='array_record'
  )
  builder.download_and_prepare()

  def go(output, name='wiki/sw', **options):
    return prepare.prepare(
      None,
      tmp_path / output,
      tokenizer,
      tfds=[('sw', name)],
      tfds_dir=tmp_path / 'tfds',
      **{'workers': 0, 'journal_seconds': 0, **options},
    )

  def want(texts):
    return sorted(
      tuple(i for p in document for i in ids(tokenizer, p))
      for document in texts
    )

  got = documents_of(go('x').parts['sw'])
  assert sorted(got) == want(raw_corpus[2]['sw'])
  titles = [['maji ' * (i + 1)] for i in range(len(raw_corpus[2]['sw']))]
  got = documents_of(go('y', text_key='title').parts['sw'])
  assert sorted(got) == want(titles)
  with pytest.raises(ValueError, match="no feature 'body'; it has t"):
    go('z', text_key='body')
  with pytest.raises(ValueError, match="no files of a split 'dev'"):
    go('z', tfds_split='dev')
  with pytest.raises(ValueError, match='lead to one prepared data set.* none'):
    go('z', 'wiki/en')


# The command.


def command(*arguments):
  return subprocess.run(
    [
      sys.executable,
      '-m',
      'xlmr_jax',
      'corpus',
      *map(str, arguments),
    ],
    capture_output=True,
    text=True,
  )


def test_the_command(raw_corpus, tokenizer, reference, tmp_path):
  tokenizer.save(tmp_path / 'vocabulary')
  arguments = [
    f'--corpus={raw_corpus[0]}',
    f'--parallel={raw_corpus[1]}',
    f'--tokenizer={tmp_path / "vocabulary"}',
    '--shard_tokens=700',
  ]
  done = command(*arguments, f'--output={tmp_path / "x"}')
  assert done.returncode == 0, done.stderr
  assert contents(tmp_path / 'x') == contents(reference)
  rows = [line.split() for line in done.stdout.splitlines()]
  assert rows[0] == [
    'files', 'documents', 'paragraphs', 'characters', 'tokens',
    'tokens/character', 'dropped',
  ]  # fmt: skip
  assert [row[0] for row in rows[1:]] == ['en', 'en-sw', 'ru', 'sw', 'all']
  parts = json.loads((reference / 'manifest.json').read_text())['parts']
  for name, *row in rows[1:-1]:
    entry = parts[name]
    keys = ('documents', 'paragraphs', 'characters', 'tokens')
    assert row == [
      str(len(entry['sources'])),
      *(f'{entry[key]:,}' for key in keys),
      f'{entry["tokens"] / entry["characters"]:.3f}',
      '0',
    ]
  assert rows[-1][5] == f'{sum(e["tokens"] for e in parts.values()):,}'
  again = command(f'--report={tmp_path / "x"}')
  assert again.stdout == done.stdout
  checked = command(f'--verify={tmp_path / "x"}')
  assert 'checksums of all' in checked.stdout
  path = tmp_path / 'x' / 'sw' / 'ends.npy'
  content = path.read_bytes()
  path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
  for done, match in (
    (command(f'--verify={tmp_path / "x"}'), 'ends.npy has another SHA-256'),
    (command('--corpus=/none'), '--tokenizer is missing'),
    (
      command(*arguments, f'--output={tmp_path / "z"}', '--languages=fr'),
      "has no text in 'fr'",
    ),
    (
      command(*arguments, '--output=/none/x', '--tfds=wiki40b'),
      '--tfds=wiki40',
    ),
  ):
    assert done.returncode == 1 and match in done.stderr, done
    assert done.stderr.startswith('error: ') and done.stderr.count('\n') == 1
  shown = command('--help').stdout
  assert '--drop_duplicates' in shown and '--tfds=en=wiki40b/en' in shown


def test_the_real_corpus(data_dir, tmp_path):
  tokenizer = xlmr.Tokenizer(data_dir / 'tokenizers/xlm-roberta')
  data = prepare.prepare(
    data_dir / 'corpus', tmp_path, tokenizer, languages=['tr'], workers=0
  )
  with lzma.open(data_dir / 'corpus/tr.txt.xz', 'rt') as file:
    lines = [line.rstrip('\n') for line in file]
  counted = sum(len(i) - 2 for i in tokenizer.encode_batch(lines))
  entry = data.manifest['parts']['tr']
  assert entry['tokens'] == counted == data.parts['tr'].tokens
  assert entry['characters'] == sum(len(line) for line in lines if line.strip())
