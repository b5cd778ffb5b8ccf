"""CLUE's files: what is read, what becomes of it, what is said of bad ones."""

import gzip
import json
import lzma
import pathlib
import random
import tempfile
import warnings
import zipfile

import numpy as np
import pytest

from benchmarks import qa_ceiling
from xlmr_jax.data import files
from xlmr_jax.data.readers import clue, clue_passages, cluener, squad
from xlmr_jax.data.tokenizers.xlmr import Tokenizer
from xlmr_jax.eval.metrics import scores, spans
from xlmr_jax.tasks import answer, answer_spans, choose, classify, tag

WSC = {
  'text': '床上的手机响了，它…',
  'target': {
    'span1_text': '手机',
    'span1_index': 3,
    'span2_text': '它',
    'span2_index': 8,
  },
}
# reader, folder, what stands in its files, the input
ROWS = (
  ('afqmc', 'afqmc', {'sentence1': '甲', 'sentence2': '乙'}, ('甲', '乙')),
  ('tnews', 'tnews', {'sentence': '甲', 'keywords': '乙'}, ('甲',)),
  ('iflytek', 'iflytek', {'sentence': '甲', 'label_des': '乙'}, ('甲',)),
  ('cmnli', 'cmnli', {'sentence1': '甲', 'sentence2': '乙'}, ('甲', '乙')),
  ('ocnli', 'ocnli', {'sentence1': '甲', 'sentence2': '乙'}, ('甲', '乙')),
  (
    'csl',
    'csl',
    {'keyword': ['甲', '乙 丙'], 'abst': '丁'},
    ('甲 乙 丙', '丁'),
  ),
  ('cluewsc', 'cluewsc2020', WSC, ('床上的_手机_响了，[它]…',)),
)


def packed(path, text):
  """Writes a file as its name says."""
  content = text if isinstance(text, bytes) else text.encode()
  path.parent.mkdir(parents=True, exist_ok=True)
  if path.suffix == '.gz':
    content = gzip.compress(content)
  elif path.suffix == '.xz':
    content = lzma.compress(content)
  elif path.suffix == '.zst':
    zstandard = pytest.importorskip('zstandard')
    content = zstandard.ZstdCompressor().compress(content)
  path.write_bytes(content)
  return path


def lines(*items):
  return ''.join(json.dumps(x, ensure_ascii=False) + '\n' for x in items)


def write(path, *items):
  return packed(path, lines(*items))


def archive(path, **members):
  path.parent.mkdir(parents=True, exist_ok=True)
  with zipfile.ZipFile(path, 'w', zipfile.ZIP_DEFLATED) as out:
    for name, content in members.items():
      out.writestr(name, content)
  return path


@pytest.fixture(scope='module')
def real(data_dir):
  return Tokenizer(data_dir / 'tokenizers' / 'xlm-roberta')


@pytest.fixture
def strict():
  """What is only warned of is an error."""
  with warnings.catch_warnings():
    warnings.simplefilter('error')
    # A packed file's own handle is left to the collector (data/files.py).
    warnings.simplefilter('ignore', ResourceWarning)
    yield


# Rows.


@pytest.mark.parametrize('name, folder, item, texts', ROWS)
def test_a_row_of_every_task(tmp_path, strict, name, folder, item, texts):
  read, labels = getattr(clue, name), clue.LABELS[name]
  at = tmp_path / f'{folder}_public'
  items = [item | {'label': x, 'id': 7 + i} for i, x in enumerate(labels)]
  dev = write(at / 'dev.json', *items)
  test = write(at / 'test.json', *[item] * 3)
  assert read(tmp_path, 'dev') == [
    clue.ExampleWithId(texts, label, f'{dev}:{k}', 6 + k)
    for k, label in enumerate(labels, 1)
  ]
  # A test file has no labels, and this one no ids.
  assert read(tmp_path, 'test', 'zh') == [
    clue.ExampleWithId(texts, None, f'{test}:{k}', k - 1) for k in (1, 2, 3)
  ]
  train = write(tmp_path / 'train.json', *items)
  assert [r.where for r in read(tmp_path, 'train')][0] == f'{train}:1'
  with pytest.raises(ValueError, match="Chinese, there is none in 'en'"):
    read(tmp_path, 'dev', 'en')
  with pytest.raises(ValueError, match="split 'val'; .* has train, dev, test"):
    read(tmp_path, 'val')
  write(dev, item | {'label': '-1'})
  with pytest.raises(ValueError, match="dev.json:1: label '-1' is none of "):
    read(tmp_path, 'dev')
  write(dev, items[0], {'id': 1, 'label': labels[0]})
  with pytest.raises(ValueError, match='dev.json:2: .*the object has .* id'):
    read(tmp_path, 'dev')


def test_official_classes():
  assert clue.LABELS['tnews'] == tuple(
    '100 101 102 103 104 106 107 108 109 110 112 113 114 115 116'.split()
  )
  assert len(clue.LABELS['iflytek']) == 119
  assert clue.LABELS['iflytek'][-1] == '118'
  assert clue.LABELS['ocnli'] == ('contradiction', 'entailment', 'neutral')


def test_labels_and_ids_may_be_numbers(tmp_path, strict):
  items = [{'sentence': 'x', 'label': 100, 'id': '0'}]
  items += [{'sentence': 'x', 'label': 116, 'idx': 4}]
  write(tmp_path / 'tnews' / 'dev.json', *items)
  got = clue.tnews(tmp_path, 'dev')
  assert [(r.label, r.id) for r in got] == [('100', '0'), ('116', 4)]
  write(tmp_path / 'dev.json', WSC | {'label': True}, WSC | {'label': False})
  assert [r.label for r in clue.cluewsc(tmp_path, 'dev')] == ['true', 'false']
  write(tmp_path / 'dev.json', {'keyword': '甲 乙', 'abst': '丁'})
  assert clue.csl(tmp_path, 'dev')[0].texts == ('甲 乙', '丁')
  write(tmp_path / 'dev.json', {'keyword': ['甲', 3], 'abst': '丁'})
  with pytest.raises(ValueError, match="dev.json:1: 'keyword' is "):
    clue.csl(tmp_path, 'dev')


@pytest.mark.parametrize('name', ['ocnli', 'cmnli'])
def test_rows_without_agreement_are_left_out_and_counted(tmp_path, name):
  labels = ['neutral', '-', 'entailment', '-', 'contradiction']
  items = [{'sentence1': '甲', 'sentence2': '乙', 'label': x} for x in labels]
  for split in ('train', 'dev', 'test'):
    write(tmp_path / f'{split}.json', *items)
  read = getattr(clue, name)
  for split in ('train', 'dev'):
    with pytest.warns(UserWarning, match="2 of 5 rows have the label '-'"):
      got = read(tmp_path, split)
    # Their numbers are kept free.
    assert [(r.label, r.id) for r in got] == [
      ('neutral', 0),
      ('entailment', 2),
      ('contradiction', 4),
    ]
    assert [r.where.rpartition(':')[2] for r in got] == ['1', '3', '5']
  got = read(tmp_path, 'test')  # as many answers as rows
  assert [r.label for r in got] == [x if x != '-' else None for x in labels]


def test_ocnli_has_training_sets_of_five_sizes(tmp_path):
  item = {'sentence1': '甲', 'sentence2': '乙', 'label': 'neutral'}
  for size in (3, 10, 50):
    write(tmp_path / f'train.{size}k.json', *[item] * size)
  with warnings.catch_warnings():
    warnings.simplefilter('error')
    assert len(clue.ocnli(tmp_path, 'train')) == 50
    assert len(clue.ocnli(tmp_path, 'train.3k')) == 3
    (tmp_path / 'train.50k.json').rename(tmp_path / 'train.json')
    assert len(clue.ocnli(tmp_path, 'train')) == 50
  (tmp_path / 'train.json').unlink()
  with pytest.warns(UserWarning, match='train.10k.json is the largest'):
    assert len(clue.ocnli(tmp_path, 'train')) == 10
  with pytest.raises(files.Missing, match='no OCNLI train.5k file'):
    clue.ocnli(tmp_path, 'train.5k')


def test_test_sets_have_versions(tmp_path):
  for name in ('test', 'test1.0', 'test1.1'):
    write(tmp_path / f'{name}.json', {'sentence': name})
  read = lambda split: clue.tnews(tmp_path, split)[0].texts[0]
  for name in ('test', 'test1.0', 'test1.1'):
    assert read(name) == name
  (tmp_path / 'test1.1.json').unlink()
  with pytest.raises(files.Missing, match='test1.1.json'):
    read('test1.1')
  (tmp_path / 'test.json').rename(tmp_path / 'test1.1.json')
  assert read('test') == read('test1.1') == 'test'


def test_diagnostics(tmp_path, strict):
  at = tmp_path / 'clue_diagnostics_public' / 'diagnostics_test.json'
  write(at, {'index': '4', 'premise': '甲', 'hypothesis': '乙'})
  assert clue.ax(tmp_path, 'test') == [
    clue.ExampleWithId(('甲', '乙'), None, f'{at}:1', '4')
  ]
  write(at, {'sentence1': '甲', 'sentence2': '乙', 'label': 'neutral'})
  assert clue.ax(tmp_path, 'test')[0].label == 'neutral'
  with pytest.raises(ValueError, match="split 'dev'; AX has test"):
    clue.ax(tmp_path, 'dev')


def test_ids_that_stand_twice(tmp_path):
  items = [{'sentence': 'x', 'id': i} for i in (4, 5, 4, 4)]
  write(tmp_path / 'test.json', *items)
  message = r'test.json:3: id 4 is also that of .*test.json:1 \(and 1 more\)'
  with pytest.raises(ValueError, match=message):
    clue.tnews(tmp_path, 'test')
  write(tmp_path / 'dev.json', *(x | {'label': '100'} for x in items))
  with pytest.warns(UserWarning, match='dev.json:3: id 4 is also that of'):
    assert len(clue.tnews(tmp_path, 'dev')) == 4


# CLUEWSC's marks.


def insert(text, marks):
  """Marks put in one after the other, the last place first."""
  chars = list(text)
  for place, mark in sorted(marks, reverse=True):
    chars.insert(place, mark)
  return ''.join(chars)


def test_marks_stand_around_both_spans_whichever_comes_first():
  draw = random.Random(0)
  orders = set()
  for _ in range(300):
    text = ''.join(draw.choices('他它她手机树_[]𠮷 a', k=12))
    a, b, c, d = sorted(draw.sample(range(13), 4))
    if draw.random() < 0.3:
      c = b  # they touch
    spans = [(a, b), (c, d)]
    if draw.random() < 0.5:
      spans.reverse()
    (a, b), (c, d) = spans
    orders.add(a < c)
    target = {'span1_text': text[a:b], 'span1_index': a}
    target |= {'span2_text': text[c:d], 'span2_index': c}
    (got,) = clue.marked({'text': text, 'target': target}, 'f:1')
    if b == c or d == a:  # the first span's mark is the first
      first, second = sorted(spans)
      marks = ('__', '[]') if (a, b) == first else ('[]', '__')
      want = (
        text[: first[0]] + marks[0][0] + text[slice(*first)] + marks[0][1]
      ) + (marks[1][0] + text[slice(*second)] + marks[1][1] + text[second[1] :])
    else:
      want = insert(text, [(a, '_'), (b, '_'), (c, '['), (d, ']')])
    assert got == want
  assert orders == {True, False}


@pytest.mark.parametrize(
  'change, message',
  [
    ({'span1_index': 2}, "span1 '手机' does not stand at character 2, where"),
    ({'span2_index': -1}, "span2 '它' does not stand at character -1"),
    ({'span2_index': '8'}, "span2_index is '8', not a number"),
    ({'span2_text': ''}, "span2 '' does not stand"),
    (
      {'span2_text': '机响', 'span2_index': 4},
      "overlap, '手机' at 3 and '机响'",
    ),
    ({'span1_text': None}, "'span1_text' is no text"),
  ],
)
def test_wrong_spans_are_named(tmp_path, change, message):
  bad = WSC | {'target': WSC['target'] | change}
  write(tmp_path / 'dev.json', WSC, bad)
  with pytest.raises(ValueError, match=f'dev.json:2: .*{message}'):
    clue.cluewsc(tmp_path, 'dev')


# Where files are found.

ITEM = {'sentence1': '甲', 'sentence2': '乙', 'label': '1', 'id': 3}


@pytest.mark.parametrize('suffix', ['', '.gz', '.xz', '.zst'])
@pytest.mark.parametrize('folder', ['afqmc_public', 'afqmc', '.'])
def test_folders(tmp_path, strict, folder, suffix):
  at = write(tmp_path / folder / f'dev.json{suffix}', ITEM)
  assert clue.afqmc(tmp_path, 'dev') == [
    clue.ExampleWithId(('甲', '乙'), '1', f'{at}:1', 3)
  ]


@pytest.mark.parametrize('inside', ['', 'afqmc_public/'])
@pytest.mark.parametrize('name', ['afqmc_public.zip', 'afqmc.zip'])
def test_zips(tmp_path, strict, name, inside):
  members = {
    '__MACOSX/dev.json': b'\0',
    f'{inside}._dev.json': b'\0',
    'x/y/z/dev.json': lines({'not': 'this one'}),
    f'{inside}dev.json': b'\xef\xbb\xbf'
    + lines(ITEM, ITEM | {'id': 4}).encode(),
  }
  path = archive(tmp_path / name, **members)
  before = set(pathlib.Path(tempfile.gettempdir()).iterdir())
  got = clue.afqmc(tmp_path, 'dev')
  where = f'{path}/{inside}dev.json'
  assert got == [
    clue.ExampleWithId(('甲', '乙'), '1', f'{where}:1', 3),
    clue.ExampleWithId(('甲', '乙'), '1', f'{where}:2', 4),
  ]
  assert clue.afqmc(path, 'dev') == got
  with pytest.raises(files.Missing, match=f'no AFQMC test file.*{name}'):
    clue.afqmc(tmp_path, 'test')
  # An unpacked file is nearer.
  write(tmp_path / 'afqmc' / 'dev.json', ITEM)
  assert len(clue.afqmc(tmp_path, 'dev')) == 1
  left = set(pathlib.Path(tempfile.gettempdir()).iterdir()) - before
  assert not [p for p in left if (p / '0' / 'dev.json').exists()]


def test_faults_inside_a_zip_are_named_there(tmp_path):
  at = tmp_path / 'ocnli_public.zip'
  archive(at, **{'dev.json': lines(ITEM) + '{'})
  where = rf'{at}/dev.json:'
  with pytest.raises(ValueError, match=rf'^{where}2: not JSON'):
    clue.afqmc(at, 'dev')
  archive(at, **{'dev.json': lines(*[ITEM | {'label': '-'}] * 2)})
  with pytest.warns(UserWarning, match=rf'^{where} 2 of 2 rows') as caught:
    assert clue.ocnli(tmp_path, 'dev') == []
  assert len(caught) == 1
  whole = archive(at, **{'dev.json': lines(*[ITEM] * 99)}).read_bytes()
  flipped = bytearray(whole)
  flipped[60] ^= 255  # in the packed text
  for content in (whole[: len(whole) // 2], b'no zip', bytes(flipped)):
    at.write_bytes(content)
    with pytest.raises(ValueError, match=f'^{at}: the archive is damaged'):
      clue.ocnli(tmp_path, 'dev')


CHINESE = {
  'sentence1': '为什么有花呗额度不能分期付款',
  'sentence2': '花呗分期额度不足',
  'label': '0',
}


@pytest.mark.parametrize('name', ['dev.json', 'dev.json.gz', 'afqmc.zip'])
def test_files_in_gbk_are_named_with_the_fix(tmp_path, name):
  text = lines({'sentence1': 'a', 'sentence2': 'b'}, *[CHINESE] * 30)
  content = text.encode('gbk')
  if name.endswith('.zip'):
    archive(tmp_path / name, **{'dev.json': content})
  else:
    packed(tmp_path / name, content)
  inner = name.replace('afqmc.zip', 'dev.json')
  with pytest.raises(
    ValueError,
    match=rf'{name}(/dev.json)?:2: .* not UTF-8.* GBK, so iconv -f GBK -t UTF-8'
    rf' {inner} >',
  ):
    clue.afqmc(tmp_path, 'dev')


def test_json_in_gbk_is_named_too(tmp_path):
  text = json.dumps([[['男：你好'], []]], ensure_ascii=False, indent=0)
  for part in 'dm':
    packed(tmp_path / f'c3-{part}-dev.json', text.encode('gbk'))
  with pytest.raises(ValueError, match='c3-d-dev.json:4: .*iconv -f GBK'):
    clue_passages.c3(tmp_path, 'dev')


@pytest.mark.parametrize(
  'content',
  [
    '為什麼電腦對於這個問題沒有辦法處理，請問應該怎麼辦才好呢'.encode('big5'),
    'Wie heißt die größte Straße? Fußgängerübergänge!'.encode('latin-1'),
    '日本語の文章はこのように書かれています。漢字と仮名'.encode('shift_jis'),
  ],
)
def test_other_encodings_are_not_taken_for_gbk(tmp_path, content):
  packed(tmp_path / 'dev.json', b'{"sentence1": "' + content + b'"}\n')
  with pytest.raises(ValueError, match='dev.json:1: .*not UTF-8') as caught:
    clue.afqmc(tmp_path, 'dev')
  assert 'GBK' not in str(caught.value)


# CLUENER.


def test_entities_become_tags(tmp_path, strict):
  label = {
    'name': {'彭小军': [[0, 2]], '李四': [[10, 11], [12, 13]]},
    'address': {'台': [[7, 7]]},
  }
  text = '彭小军认为，在台湾的李四李四'
  at = write(tmp_path / 'dev.json', {'text': text, 'label': label})
  write(tmp_path / 'test.json', {'id': 9, 'text': text})
  (got,) = cluener.cluener(tmp_path, 'dev')
  want = ['B-name', 'I-name', 'I-name'] + ['O'] * 4 + ['B-address']
  want += ['O'] * 2 + ['B-name', 'I-name'] * 2
  assert got.words == tuple(text) and got.label == tuple(want)
  assert (got.where, got.id) == (f'{at}:1', 0)
  assert got.place(7) == f'{at}:1, character 7'
  assert spans.marked(got.words, got.label) == label
  (bare,) = cluener.cluener(tmp_path, 'test')
  assert (bare.label, bare.id) == (None, 9)
  assert set(want) <= set(cluener.LABELS)
  assert len(cluener.LABELS) == 21 and cluener.LABELS[0] == 'O'


def test_entities_come_back_from_tags(tmp_path, strict):
  draw = random.Random(0)
  items = []
  for _ in range(200):
    text = ''.join(draw.choices('甲乙丙丁ab', k=draw.randrange(1, 20)))
    cuts = sorted({0, len(text), *draw.choices(range(len(text) + 1), k=6)})
    label = {}
    for start, end in zip(cuts, cuts[1:], strict=False):
      if draw.random() < 0.6:  # many of them touch
        kind = draw.choice(cluener.TYPES[:2])
        places = label.setdefault(kind, {}).setdefault(text[start:end], [])
        places.append([start, end - 1])
    items.append({'text': text, 'label': label})
  write(tmp_path / 'dev.json', *items)
  got = cluener.cluener(tmp_path, 'dev')
  assert [spans.marked(s.words, s.label) for s in got] == [
    item['label'] for item in items
  ]


def test_tags_that_nobody_wrote_are_entities_too():
  tags = ['I-name', 'I-name', 'I-book', 'O', 'I-book', 'B-book']
  assert spans.marked('甲乙丙丁戊己', tags) == {
    'name': {'甲乙': [[0, 1]]},
    'book': {'丙': [[2, 2]], '戊': [[4, 4]], '己': [[5, 5]]},
  }
  assert spans.marked('', []) == {}


def test_the_longest_of_overlapping_entities_is_tagged(tmp_path):
  label = {'book': {'《甲乙》': [[0, 3]]}, 'name': {'甲': [[1, 1]]}}
  label['company'] = {'》丙': [[3, 4]]}
  write(tmp_path / 'dev.json', {'text': '《甲乙》丙', 'label': label})
  with pytest.warns(UserWarning, match=r"2 entities overlap .*'》丙' \(comp"):
    (got,) = cluener.cluener(tmp_path, 'dev')
  assert got.label == ('B-book', 'I-book', 'I-book', 'I-book', 'O')


@pytest.mark.parametrize(
  'label, message',
  [
    ({'name': {'甲乙': [[0, 2]]}}, r"name '甲乙' does not stand at \[0, 2\]"),
    ({'name': {'甲': [[1, 1]]}}, r"'甲' does not stand .* has '乙'"),
    ({'name': {'丙': [[-1, -1]]}}, r'does not stand at \[-1, -1\]'),
    ({'goverment': {'甲': [[0, 0]]}}, "'goverment' is no type; they are add"),
    ({'name': [[0, 0]]}, "'label' is .* not an object of types"),
    ({'name': {'甲': [0, 0]}}, "'label' is .* not an object of types"),
    ({'name': {'甲': [['0', 0]]}}, "'label' is .* not an object of types"),
    (['name'], "'label' is .* not an object of types"),
  ],
)
def test_bad_entities_are_named(tmp_path, label, message):
  write(
    tmp_path / 'dev.json',
    {'text': '甲', 'label': {}},
    {'text': '甲乙丙', 'label': label},
  )
  with pytest.raises(ValueError, match=f'dev.json:2: .*{message}'):
    cluener.cluener(tmp_path, 'dev')


# CMRC 2018 and DRCD.

CONTEXT = '𫚭，俗名龙尖。龙尖长80公分，价4.9元。'


def cmrc(*answers, name='Q0', context=CONTEXT):
  asked = {'query_id': name, 'query_text': '什么？', 'answers': list(answers)}
  return {'context_id': 'C', 'context_text': context, 'qas': [asked]}


def squad_form(text='龙尖', start=4, name='Q0', context=CONTEXT):
  asked = {'id': name, 'question': '什么？'}
  asked['answers'] = [{'text': text, 'answer_start': start, 'id': '1'}]
  return {'data': [{'paragraphs': [{'context': context, 'qas': [asked]}]}]}


def dump(path, content, head=b''):
  return packed(path, head + json.dumps(content, ensure_ascii=False).encode())


@pytest.mark.parametrize('wrap', [list, lambda x: {'version': '1', 'data': x}])
def test_cmrcs_own_form_has_answers_without_places(tmp_path, strict, wrap):
  at = tmp_path / 'cmrc2018' / 'data' / 'cmrc2018_dev.json'
  passages = [cmrc('龙尖', '长80公分', 4.9), cmrc('俗名', name='Q1')]
  dump(at, wrap(passages))
  got = clue_passages.cmrc2018(tmp_path, 'dev')
  assert got == [
    squad.Question(
      'Q0',
      '什么？',
      CONTEXT,
      (('龙尖', 4), ('长80公分', 9), ('4.9', 16)),
      f'{at}, [0].qas[0]',
    ),
    squad.Question(
      'Q1', '什么？', CONTEXT, (('俗名', 2),), f'{at}, [1].qas[0]'
    ),
  ]
  dump(at, wrap([cmrc('')]))
  assert clue_passages.cmrc2018(tmp_path, 'dev')[0].label is None
  bare = cmrc()
  del bare['qas'][0]['answers']
  dump(at, wrap([bare]))
  assert clue_passages.cmrc2018(tmp_path, 'dev')[0].label is None


def test_answers_that_are_not_in_their_passage(tmp_path):
  at = tmp_path / 'cmrc2018_dev.json'
  dump(at, [cmrc('龙尖', 39764.0, '龙。'), cmrc('龙尖', name='Q1')])
  message = r"dev.json: 2 answers are not in .*\[0\].qas\[0\] has '39764.0'; "
  with pytest.raises(ValueError, match=message + r'.*skip_bad=True'):
    clue_passages.cmrc2018(tmp_path, 'dev')
  with pytest.warns(UserWarning, match=message) as caught:
    got = clue_passages.cmrc2018(tmp_path, 'dev', skip_bad=True)
  assert len(caught) == 1
  assert got[0].label == (('龙尖', 4), ('39764.0', -1), ('龙。', -1))
  # The same of SQuAD's form, of which squad.read speaks.
  dump(at, squad_form(start=0))
  with pytest.raises(ValueError, match='1 answers do not stand where the file'):
    clue_passages.cmrc2018(tmp_path, 'dev')
  with pytest.warns(UserWarning, match='1 answers do not stand'):
    clue_passages.cmrc2018(tmp_path, 'dev', skip_bad=True)


@pytest.mark.parametrize('name', ['dev.json', 'DRCD_dev.json', 'drcd.zip'])
def test_drcd_may_have_a_byte_order_mark(tmp_path, strict, name):
  content = squad_form('歐洲', 1, context='在歐洲，梵語的學術研究')
  bom = b'\xef\xbb\xbf'
  if name == 'drcd.zip':
    raw = bom + json.dumps(content, ensure_ascii=False).encode()
    archive(tmp_path / name, **{'drcd_public/dev.json': raw})
    name = 'drcd.zip/drcd_public/dev.json'
  else:
    dump(tmp_path / name, content, bom)
  (got,) = clue_passages.drcd(tmp_path, 'dev')
  assert got.label == (('歐洲', 1),)
  assert got.where == f'{tmp_path / name}, data[0].paragraphs[0].qas[0]'


def test_splits_of_the_reading_tasks(tmp_path, strict):
  dump(tmp_path / 'trial.json', squad_form())
  dump(tmp_path / 'DRCD_training.json', squad_form())
  assert len(clue_passages.cmrc2018(tmp_path, 'trial')) == 1
  assert len(clue_passages.drcd(tmp_path, 'train')) == 1
  with pytest.raises(ValueError, match="split 'trial'; DRCD has train, dev"):
    clue_passages.drcd(tmp_path, 'trial')


@pytest.mark.parametrize(
  'content, message',
  [
    ([cmrc('龙尖'), cmrc('龙尖')], r"\[1\].qas\[0\]: id 'Q0' is also that of"),
    ([{'context_text': 'x'}], r"\[0\]: 'qas' is not a list; the object has"),
    ([cmrc('x') | {'qas': [{}]}], r"\[0\].qas\[0\]: 'query_id' is not a text"),
    ([cmrc(None)], r'\[0\].qas\[0\]: answer None is no text'),
    ([cmrc() | {'qas': []}], 'there is no question'),
    ({'rows': []}, "'data' is not a list"),
  ],
)
def test_bad_questions_are_named(tmp_path, content, message):
  dump(tmp_path / 'dev.json', content)
  with pytest.raises(ValueError, match=f'dev.json(,|:).*{message}'):
    clue_passages.cmrc2018(tmp_path, 'dev')


def test_passages_in_the_other_script_are_counted(tmp_path):
  simple = '这个问题对学生来说还没有开发过，请问应该关注什么'
  other = '這個問題對學生來說還沒有開發過，請問應該關注什麼'
  make_dev = lambda *texts: [
    cmrc(text[:1], name=f'Q{k}', context=text) for k, text in enumerate(texts)
  ]
  dump(tmp_path / 'dev.json', make_dev(simple, other, simple + '。', '國學'))
  message = r'1 of 4 passages are in traditional .*, \[1\].qas\[0\] for one'
  with pytest.warns(UserWarning, match=message):
    clue_passages.cmrc2018(tmp_path, 'dev')
  both = [
    squad_form(t[:1], 0, f'Q{k}', t) for k, t in enumerate((simple, other))
  ]
  dump(tmp_path / 'dev.json', {'data': [x['data'][0] for x in both]})
  with pytest.warns(UserWarning, match='1 of 2 passages are in simplified'):
    clue_passages.drcd(tmp_path, 'dev')
  with warnings.catch_warnings():
    warnings.simplefilter('error')
    # A name or a quotation is not another script.
    dump(tmp_path / 'dev.json', make_dev(simple, simple + '《國學會》', '麼'))
    clue_passages.cmrc2018(tmp_path, 'dev')


# C3.


def asked(answer='B', choice=('a', 'B', 'c'), **more):
  return {'question': 'Q?', 'choice': list(choice), 'answer': answer} | more


def test_c3_is_dialogues_and_then_mixed_texts(tmp_path, strict):
  at = tmp_path / 'c3'
  d = [[['男：A', '女：好'], [asked(), asked('a', 'ab')], '47-1']]
  m = [[['M'], [asked('d', 'abcd')], '47-1']]
  dump(at / 'c3-d-dev.json', d)
  dump(at / 'c3-m-dev.json', m)
  got = clue_passages.c3(tmp_path, 'dev')
  assert [e.texts for e in got] == [('男：a\n女：好', 'q?')] * 2 + [('m', 'q?')]
  assert [e.choices for e in got] == [tuple('abc'), tuple('ab'), tuple('abcd')]
  assert [e.label for e in got] == [1, 0, 3]
  assert [e.id for e in got] == [0, 1, 2] and {e.group for e in got} == {None}
  assert got[1].where == f'{at / "c3-d-dev.json"}, [0][1][1]'
  raw = clue_passages.c3(tmp_path, 'dev', lower=False)
  assert raw[0].texts == ('男：A\n女：好', 'Q?') and raw[0].choices[1] == 'B'
  assert clue_passages.c3(tmp_path, 'dev', parts='m')[0].texts[0] == 'm'
  (at / 'c3-m-dev.json').rename(at / 'm-dev.json')  # as in CLUE's zip
  assert clue_passages.c3(tmp_path, 'dev') == [
    *got[:2],
    *clue_passages.c3(tmp_path, 'dev')[2:],
  ]
  (at / 'm-dev.json').unlink()
  with pytest.raises(files.Missing, match=r'C3 dev file \(part m\); looked'):
    clue_passages.c3(tmp_path, 'dev')


def test_c3s_test_sets_may_be_one_file_without_answers(tmp_path, strict):
  blind = [{'question': '?', 'choice': ['a', 'b'], 'id': k} for k in (4, 9)]
  members = {'c3_public/test1.1.json': json.dumps([[['x'], blind]])}
  archive(tmp_path / 'c3_public.zip', **members)
  for split in ('test', 'test1.1'):
    got = clue_passages.c3(tmp_path, split)
    assert [(e.id, e.label) for e in got] == [(4, None), (9, None)]
  with pytest.raises(files.Missing, match='C3 test1.0 file'):
    clue_passages.c3(tmp_path, 'test1.0')


def test_a_choice_that_stands_twice(tmp_path, strict):
  """As decoding has it, the first of equal ones."""
  for part in 'dm':
    dump(tmp_path / f'{part}-dev.json', [[['x'], [asked('b', 'abBa')], '1']])
  assert [e.label for e in clue_passages.c3(tmp_path, 'dev')] == [1, 1]


@pytest.mark.parametrize(
  'entry, message',
  [
    (
      [['x'], [asked('z')], '1'],
      r"\[0\]\[1\]\[0\]: answer 'z' is none of a, b",
    ),
    ([['x'], [asked('a', 'a')], '1'], "'choice' is not two to four texts"),
    ([['x'], [asked('a', 'abcde')], '1'], "'choice' is not two to four texts"),
    ([['x'], [{'choice': ['a', 'b']}], '1'], "'question' is not a text"),
    ([[3], [asked()], '1'], r'\[0\]\[0\]: not a list of lines'),
    (['x', [asked()], '1'], r'\[0\]: not \[\[lines\], \[questions\], id\]'),
    ({'x': 1}, r'\[0\]: not \[\[lines\]'),
    ([['x'], [], '1'], 'there is no question'),
    ([['x'], [asked(id=1), asked(id=1)]], 'id 1 is also that of'),
  ],
)
def test_bad_entries_of_c3_are_named(tmp_path, entry, message):
  dump(tmp_path / 'd-dev.json', [entry])
  with pytest.raises(ValueError, match=rf'd-dev.json(,|:) ?.*{message}'):
    clue_passages.c3(tmp_path, 'dev', parts='d')


# CHID.

IDIOMS = ['画蛇添足', '雪中送炭', '草木皆兵', '一日千里']


def blanks(*numbers, text='有时候{}，但你却{}'):
  names = [f'#idiom{n:06}#' for n in numbers]
  return text.format(*names), names


def test_every_blank_is_a_question(tmp_path, strict):
  text, names = blanks(1, 2)
  other_text, other_names = blanks(3, text='他们{}再进一步')
  at = write(
    tmp_path / 'chid' / 'dev.json',
    {'content': [text, other_text], 'candidates': IDIOMS},
    {'content': [blanks(9, text='{}')[0]], 'candidates': IDIOMS[::-1]},
  )
  right = dict(
    zip(names + other_names + ['#idiom000009#'], (2, 0, 3, 1), strict=True)
  )
  dump(at.with_name('dev_answer.json'), right)
  got = clue_passages.chid(tmp_path, 'dev')
  assert [e.texts for e in got] == [
    ('有时候____，但你却□□□□',),
    ('有时候□□□□，但你却____',),
    ('他们____再进一步',),
    ('____',),
  ]
  assert {e.id: e.label for e in got} == right
  assert [e.group for e in got] == [0, 0, 0, 1]
  assert [e.where for e in got][1] == f'{at}:1, #idiom000002#'
  assert got[3].choices == tuple(IDIOMS[::-1])
  # A test file has no answers beside it.
  at.rename(at.with_name('test1.1.json'))
  blind = clue_passages.chid(tmp_path, 'test')
  assert [e.label for e in blind] == [None] * 4
  assert [e.texts for e in blind] == [e.texts for e in got]
  members = {
    'train.json': at.with_name('test1.1.json').read_bytes(),
    'train_answer.json': json.dumps(right),
  }
  archive(tmp_path / 'chid_public.zip', **members)
  assert [e.label for e in clue_passages.chid(tmp_path, 'train')] == [
    2,
    0,
    3,
    1,
  ]


def test_windows_are_the_baselines(tmp_path):
  """Which cuts among tokens, of which a blank is one, and here is a letter."""

  def baseline(chars, at, size):
    half = size // 2
    right = size - half
    if at >= half and len(chars) - 1 - at >= right:
      return chars[at - half : at], chars[at + 1 : at + 1 + right]
    if at <= half:
      return chars[:at], chars[at + 1 : at + 1 + size - at]
    after = chars[at + 1 :]
    return chars[max(0, at - size + len(after)) : at], after

  draw = random.Random(0)
  for _ in range(500):
    chars = draw.choices('甲乙丙丁', k=draw.randrange(1, 40))
    at, size = draw.randrange(len(chars)), draw.randrange(2, 40)
    text = ''.join(chars[:at]) + '#idiom7#' + ''.join(chars[at + 1 :])
    got = clue_passages.around(text, at, at + 8, size)
    before, after = baseline(chars, at, size)
    assert got == f'{"".join(before)}____{"".join(after)}'
    whole = clue_passages.around(text, at, at + 8, None)
    assert whole == text.replace('#idiom7#', '____')
  # Of another blank the nearer boxes, as of its four masks.
  text = '甲#idiom1#乙丙#idiom2#'
  assert clue_passages.around(text, 1, 9, 5) == '甲____乙丙□□'
  assert clue_passages.around(text, 11, 19, 4) == '□□乙丙____'


@pytest.mark.parametrize(
  'change, answers, message',
  [
    (
      {},
      {'#idiom000001#': 0},
      r'dev.json:1, #idiom000002#: the answer is None',
    ),
    ({}, {'#idiom000001#': 4, '#idiom000002#': 0}, '#: the answer is 4, not 0'),
    ({}, {'#idiom000001#': '1'}, "the answer is '1', not 0 to 3"),
    (
      {},
      {f'#idiom00000{k}#': k for k in (1, 2, 3)},
      "dev_answer.json: 1 answers are to blanks that .* not, '#idiom000003#'",
    ),
    ({}, [], 'dev_answer.json: not an object of blanks'),
    ({'candidates': IDIOMS[:1]}, {}, 'dev.json:1: .candidates. is not a list'),
    ({'candidates': IDIOMS[:1] * 2}, {}, 'not a list of different idioms'),
    ({'content': ['x']}, {}, 'dev.json:1: 0 blanks like #idiom000378# for 4'),
    ({'content': [3]}, {}, "'content' is not a list of passages"),
    (
      {'content': ['#idiom1#' * 5]},
      {'#idiom1#': 0},
      'dev.json:1: 5 blanks like .* for 4 idioms',
    ),
    (
      {'content': ['#idiom1##idiom1#']},
      {'#idiom1#': 0},
      "dev.json:1, #idiom1#: id '#idiom1#' is also that of",
    ),
  ],
)
def test_bad_blanks_are_named(tmp_path, change, answers, message):
  item = {'content': [blanks(1, 2)[0]], 'candidates': IDIOMS} | change
  write(tmp_path / 'dev.json', item)
  dump(tmp_path / 'dev_answer.json', answers)
  with pytest.raises(ValueError, match=message):
    clue_passages.chid(tmp_path, 'dev')


def test_answers_of_chid_are_needed_and_may_not_be_one_to_one(tmp_path):
  text, (first, second) = blanks(1, 2)
  write(tmp_path / 'dev.json', {'content': text, 'candidates': IDIOMS})
  with pytest.raises(files.Missing, match='CHID dev file of answers'):
    clue_passages.chid(tmp_path, 'dev')
  dump(tmp_path / 'dev_answer.json', {first: 1, second: 1})
  with pytest.warns(UserWarning, match='1 lines have one idiom in two blanks'):
    clue_passages.chid(tmp_path, 'dev')


def test_gold_of_chid_comes_back_however_it_is_assigned(tmp_path, real):
  draw = random.Random(0)
  items, right, number = [], {}, 0
  idioms = [a + b for a in '画蛇添足雪中' for b in ('龙点睛', '日千里')]
  for _ in range(20):
    own, content = draw.sample(idioms, 10), []
    free = draw.sample(range(10), draw.randrange(1, 11))
    for answer_ in free:
      number += 1
      content.append(f'今天大盘的走势看{"。" * number}#idiom{number:06}#，好')
      right[f'#idiom{number:06}#'] = answer_
    items.append({'content': content, 'candidates': own})
  write(tmp_path / 'dev.json', *items)
  dump(tmp_path / 'dev_answer.json', right)
  examples = clue_passages.chid(tmp_path, 'dev')
  features = choose.encode(examples, real, max_length=64, required=True)
  assert len(features) == 10 * len(right)
  gold = choose.gold(examples)
  outputs = [np.array([f['label']], np.float32) for f in features]
  worst = [-x for x in outputs]
  for assign in choose.ASSIGN:
    got = choose.decode(outputs, None, features, assign=assign)
    assert scores.accuracy(got, gold) == 100
    if assign != 'free':
      got = choose.decode(worst, None, features, assign=assign)
      pairs = {(e.group, k) for e, k in zip(examples, got, strict=True)}
      assert len(pairs) == len(examples)


# Real files.


@pytest.fixture(scope='module')
def folder(data_dir):
  return data_dir / 'clue'


def test_real_rows(folder):
  with warnings.catch_warnings():
    warnings.simplefilter('error')
    dev = clue.afqmc(folder, 'dev')
    test = clue.ocnli(folder, 'test')
    # Another split than the official one, in its form.
    tnews = {
      s: clue.tnews(folder / 'tnews_modified', s) for s in ('dev', 'test')
    }
  labels = [row.label for row in dev]
  assert (labels.count('0'), labels.count('1')) == (2978, 1338)
  assert len(dev) == 4316 and [r.id for r in dev] == [*range(4316)]
  assert [(r.label, r.id) for r in test] == [(None, k) for k in range(3000)]
  assert {s: len(part) for s, part in tnews.items()} == {
    'dev': 4928,
    'test': 8000,
  }
  for part in tnews.values():
    assert {row.label for row in part} == set(clue.LABELS['tnews'])
  with pytest.warns(UserWarning, match="50 of 3,000 rows have the label '-'"):
    dev = clue.ocnli(folder, 'dev')
  assert len(dev) == 2950 and {r.label for r in dev} == {*clue.LABELS['ocnli']}
  raw = [item for _, item in files.objects(folder / 'ocnli' / 'dev.json')]
  assert [(r.id, r.label) for r in dev] == [
    (item['id'], item['label']) for item in raw if item['label'] != '-'
  ]
  with pytest.warns(UserWarning, match="6 of 3,000 rows have the label '-'"):
    assert len(clue.ocnli(folder, 'train.3k')) == 2994


def test_gold_of_real_rows_comes_back(folder, real):
  with warnings.catch_warnings():
    warnings.simplefilter('ignore')
    parts = {
      'afqmc': clue.afqmc(folder, 'dev'),
      'ocnli': clue.ocnli(folder, 'dev'),
      'tnews': clue.tnews(folder / 'tnews_modified', 'dev'),
    }
  for name, examples in parts.items():
    labels = clue.LABELS[name]
    features = classify.encode(examples, real, labels=labels, required=True)
    assert len(features) == len(examples)
    outputs = np.eye(len(labels))[[f['label'] for f in features]]
    got = classify.decode(outputs, labels, features)
    assert scores.accuracy(got, classify.gold(examples)) == 100
    example, feature = examples[-1], features[-1]
    assert feature['tokens'].tolist() == real.encode(*example.texts)


@pytest.mark.parametrize(
  'split, count, entities', [('train', 10748, 23971), ('dev', 1343, 3072)]
)
def test_real_entities(folder, real, split, count, entities):
  with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter('always')
    got = cluener.cluener(folder, split)
  messages = [str(w.message) for w in caught if w.category is UserWarning]
  assert len(got) == count and len(messages) == (split == 'train')
  path = folder / 'cluener' / f'{split}.json'
  raw = [item for _, item in files.objects(path)]
  for item in raw:  # places stand in any order there
    for surfaces in item['label'].values():
      for places in surfaces.values():
        places.sort()
  differ = [
    (k, item['label'])
    for k, (s, item) in enumerate(zip(got, raw, strict=True))
    if spans.marked(s.words, s.label) != item['label']
  ]
  count_of_places = sum(
    len(places)
    for item in raw
    for surfaces in item['label'].values()
    for places in surfaces.values()
  )
  assert count_of_places == entities
  if split == 'train':  # one book's title has two companies in it
    assert '2 entities overlap longer ones' in messages[0]
    assert [k for k, _ in differ] == [1506] and 'book' in differ[0][1]
    return
  assert not differ
  # Through tokens and back.
  labels = cluener.LABELS
  features = tag.encode(got, real, labels=labels, required=True)
  outputs = [np.eye(len(labels))[f['label']] for f in features]
  back = tag.decode(outputs, labels, features)
  assert [tuple(tags) for tags in back] == tag.gold(got)
  score = scores.score('span_f1', back, tag.gold(got))
  assert score['span_f1'] == 100


def test_real_sentences_without_entities(folder, real):
  got = cluener.cluener(folder, 'test')
  assert len(got) == 1345 and [s.id for s in got] == [*range(1345)]
  assert {s.label for s in got} == {None}
  assert len(tag.encode(got[:50], real, labels=cluener.LABELS)) == 50


def test_real_c3(folder, real):
  with warnings.catch_warnings():
    warnings.simplefilter('error')
    warnings.simplefilter('ignore', ResourceWarning)
    parts = {s: clue_passages.c3(folder, s) for s in ('dev', 'test')}
    train = clue_passages.c3(folder, 'train', parts='d')
  counts = {s: len(part) for s, part in parts.items()}
  assert counts == {'dev': 1825 + 1991, 'test': 1890 + 2002}
  assert len(train) == 5856  # with those of m-train, 11,869
  assert [q.id for q in parts['dev']] == [*range(3816)]
  for part in parts.values():
    assert {len(q.choices) for q in part} == {2, 3, 4}
  assert parts['dev'][0].where.endswith('c3-d-dev.json, [0][1][0]')
  assert 'c3-m-dev.json, [0][1][0]' in parts['dev'][1825].where
  examples = parts['dev'][::4]
  options = {'first': 1, 'max_length': 512, 'truncate': 'longest_first'}
  features = choose.encode(examples, real, required=True, **options)
  outputs = [np.array([f['label']], np.float32) for f in features]
  got = choose.decode(outputs, None, features)
  assert scores.accuracy(got, choose.gold(examples)) == 100
  with pytest.raises(files.Missing, match='C3 train file'):
    clue_passages.c3(folder, 'train')


def test_real_cmrc_in_both_forms(folder):
  for split, count, absent, moved in (
    ('dev', 3219, 193, 7),
    ('trial', 1002, 0, 5),
  ):
    with warnings.catch_warnings(record=True) as caught:
      warnings.simplefilter('always')
      own = clue_passages.cmrc2018(folder, split, skip_bad=True)
      at = folder / 'cmrc2018' / 'squad-style-data'
      other = clue_passages.cmrc2018(at, split, skip_bad=True)
    messages = ' '.join(str(w.message) for w in caught)
    assert len(own) == len(other) == count
    for questions in own, other:
      assert sum(s < 0 for q in questions for _, s in q.label) == absent
    assert (
      f'UTF-16 code units, as JavaScript and Java do: {moved} a' in messages
    )
    for fault in ('do not stand where the file says', 'are not in their'):
      assert (f'{absent} answers {fault}' in messages) == (absent > 0)
    # Every question has an answer to learn from, and where both know its
    # place they agree.
    assert all(any(s >= 0 for _, s in q.label) for q in own)
    for a, b in zip(own, other, strict=True):
      assert (a.id, a.question, a.context) == (b.id, b.question, b.context)
      assert [t for t, _ in a.label] == [t for t, _ in b.label]
      for (_, own_start), (_, other_start) in zip(
        a.label, b.label, strict=True
      ):
        assert own_start == other_start
  with pytest.raises(ValueError, match='193 answers are not in their passages'):
    clue_passages.cmrc2018(folder, 'dev')


def test_real_drcd(folder, tmp_path, strict):
  got = clue_passages.drcd(folder, 'dev')
  assert len(got) == 3524 == len({q.id for q in got})
  assert all(
    q.context.startswith(text, start) for q in got for text, start in q.label
  )
  # Under another benchmark's name it is in the wrong script throughout.
  (tmp_path / 'dev.json').symlink_to(folder / 'drcd' / 'DRCD_dev.json')
  with pytest.raises(UserWarning, match='1,000 of 1,000 passages are in trad'):
    clue_passages.cmrc2018(tmp_path, 'dev')


@pytest.mark.parametrize(
  'name, part',
  [('cmrc2018', slice(0, None, 100)), ('drcd', slice(0, 1200, 60))],
)
def test_perfect_scores_reach_the_ceiling(folder, real, name, part):
  """Of spans of whole tokens; benchmarks/qa_ceiling.py takes all questions."""
  with warnings.catch_warnings():
    warnings.simplefilter('ignore')
    read = getattr(clue_passages, name)
    questions = read(folder, 'dev', skip_bad=True)[part]
  score, longest = qa_ceiling.by_cmrc, 50
  spans = qa_ceiling.spans_of(questions, real)
  best_spans = [
    qa_ceiling.best_span(q, own, score, longest)
    for q, own in zip(questions, spans, strict=True)
  ]
  ceiling = tuple(100 * np.mean([best[:2] for best in best_spans], axis=0))
  assert 90 < ceiling[0] < 100 and ceiling[1] > 98
  for options in ({'max_length': 512}, {'max_length': 144, 'stride': 70}):
    features = answer.encode(questions, real, **options)
    outputs = qa_ceiling.oracle(features, best_spans, spans)
    got = answer_spans.decode(outputs, None, features, longest=longest)
    assert qa_ceiling.average(got, questions, score) == ceiling
