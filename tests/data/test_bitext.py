"""Tatoeba and BUCC: what is read, in which order, and what of bad files."""

import gzip

import pytest

from xlmr_jax.data.readers import bitext

# Pairs of each language; 1,000 where nothing is said. The last line's are
# XTREME-R's.
TATOEBA = """
  af ar bg bn de el es et eu fa fi fr he hi hu id it ja jv:205 ka:746 kk:575 ko
  ml:687 mr nl pt ru sw:390 ta:307 te:234 th:548 tl tr ur vi zh
  az lt pl ro uk
"""


def write(path, text):
  path.parent.mkdir(parents=True, exist_ok=True)
  path.write_bytes(text if isinstance(text, bytes) else text.encode())
  return path


def sides(texts):
  foreign = [t for t in texts if t.side == bitext.FOREIGN]
  english = [t for t in texts if t.side == bitext.ENGLISH]
  assert texts == foreign + english
  return foreign, english


def test_real_tatoeba_in_every_language(data_dir):
  folder = data_dir / 'tatoeba'
  seen = set()
  for item in TATOEBA.split():
    language, _, count = item.partition(':')
    texts = bitext.tatoeba(folder, 'test', language)
    foreign, english = sides(texts)
    assert len(foreign) == len(english) == int(count or 1000), language
    assert [t.id for t in foreign] == [t.id for t in english]
    assert [t.text for t in english] == sorted(t.text for t in english)
    # Every English line with its own translation, as the files pair them.
    paths = [t[0].where.rpartition(':')[0] for t in (foreign, english)]
    seen |= set(paths)
    with open(paths[0], encoding='utf-8') as a, open(paths[1]) as b:
      pairs = sorted(
        (y.strip(), i, x.strip())
        for i, (x, y) in enumerate(zip(a, b, strict=True))
      )
    assert [t.label for t in english] == [i for _, i, _ in pairs]
    assert [foreign[t.label].text for t in english] == [x for *_, x in pairs]
    assert [t.label for t in english] != list(range(len(english)))
    assert {t.label for t in foreign} == {None}
  assert seen == {str(p) for p in folder.glob('tatoeba.*')}


def test_equal_english_sentences_stay_in_order(tmp_path):
  write(tmp_path / 'v1/tatoeba.deu-eng.deu', 'eins\nzwei \ndrei\nvier\n')
  write(tmp_path / 'v1/tatoeba.deu-eng.eng', 'b\na\nb\n Z\n')
  foreign, english = sides(bitext.tatoeba(tmp_path, 'test', 'de'))
  assert [t.text for t in foreign] == ['eins', 'zwei', 'drei', 'vier']
  # Capitals stand before small letters, as in Python and in LC_ALL=C.
  assert [t.text for t in english] == ['Z', 'a', 'b', 'b']
  assert [t.label for t in english] == [3, 1, 0, 2]
  assert [t.where[-1] for t in english] == ['4', '2', '1', '3']


def test_files_that_xtreme_leaves_have_no_labels(tmp_path):
  write(tmp_path / 'sw-en.sw', 'moja\nmbili\n')
  (tmp_path / 'sw-en.en.gz').write_bytes(gzip.compress(b'one\ntwo\n'))
  foreign, english = sides(bitext.tatoeba(tmp_path, 'test', 'sw'))
  assert [t.text for t in english] == ['one', 'two']
  assert [t.label for t in english] == [None, None]
  write(tmp_path / 'tatoeba.swh-eng.swh', 'moja\nmbili\n')
  with pytest.raises(ValueError, match=r'swh is there, but not .*-eng.eng'):
    bitext.tatoeba(tmp_path, 'test', 'sw')


@pytest.mark.parametrize(
  'foreign, english, message',
  [
    ('a\nb\n', 'a\n', r'deu has 2 sentences, .*eng has 1: one of them was cut'),
    ('a\n\n', 'a\nb\n', r'eng.deu:2: a blank line; a line is a sentence'),
    ('a\nb\n', 'a\n\u3000\n', r'eng.eng:2: a blank line'),
    ('', 'a\n', r'eng.deu: the file is empty'),
    (b'a\xff\n', 'a\n', r'eng.deu:1: byte 1 .*not UTF-8'),
  ],
)
def test_bad_tatoeba_files_are_named(tmp_path, foreign, english, message):
  write(tmp_path / 'tatoeba.deu-eng.deu', foreign)
  write(tmp_path / 'tatoeba.deu-eng.eng', english)
  with pytest.raises(ValueError, match=message):
    bitext.tatoeba(tmp_path, 'test', 'de')


def test_what_is_not_there_is_said(tmp_path):
  with pytest.raises(ValueError, match=r'no Tatoeba .*zh-en.zh.*\.gz'):
    bitext.tatoeba(tmp_path, 'test', 'zh')
  with pytest.raises(ValueError, match="unknown language 'xx'; known are af"):
    bitext.tatoeba(tmp_path, 'test', 'xx')
  with pytest.raises(ValueError, match='Tatoeba has nothing but test'):
    bitext.tatoeba(tmp_path, 'dev', 'de')
  with pytest.raises(
    ValueError, match=r"no BUCC dev files for 'ru'.*sample.ru"
  ):
    bitext.bucc2018(tmp_path, 'dev', 'ru')
  with pytest.raises(ValueError, match='BUCC has dev and test'):
    bitext.bucc2018(tmp_path, 'train', 'ru')


def test_real_bucc(data_dir):
  folder = data_dir / 'bucc2018'
  foreign, english = sides(bitext.bucc2018(folder, 'dev', 'zh'))
  assert len(foreign) == 8624 and len(english) == 13_589
  pairs = {(t.id, other) for t in foreign for other in t.label}
  gold = (folder / 'zh-en.dev.gold').read_text().split('\n')
  assert pairs == {tuple(line.split('\t')) for line in gold if line}
  assert len(pairs) == 257 and {t.label for t in english} == {None}
  assert len({t.text for t in foreign}) == 8615
  with pytest.raises(ValueError, match="no BUCC dev files for 'de'"):
    bitext.bucc2018(folder, 'dev', 'de')


def test_bucc_archives_name_the_splits_their_own_way(tmp_path):
  stem = tmp_path / 'bucc2018' / 'de-en' / 'de-en.training'
  write(stem.with_name('de-en.training.de'), 'de-2\tzwei\nde-1\t eins \n')
  write(stem.with_name('de-en.training.en'), 'en-1\tone\nen-2\ttwo\n')
  foreign, english = sides(bitext.bucc2018(tmp_path, 'test', 'de'))
  assert [(t.id, t.text, t.label) for t in foreign] == [
    ('de-2', 'zwei', None),
    ('de-1', 'eins', None),
  ]
  gold = stem.with_name('de-en.training.gold')
  write(gold, 'de-2\ten-2\nde-2\ten-1\nde-2\ten-2\n')
  foreign, _ = sides(bitext.bucc2018(tmp_path, 'test', 'de'))
  assert [t.label for t in foreign] == [('en-2', 'en-1'), ()]
  write(gold, 'de-2\ten-2\nde-1\tde-2\n')
  with pytest.raises(ValueError, match=r"gold:2: 'de-2' is no id of .*\.en"):
    bitext.bucc2018(tmp_path, 'test', 'de')


@pytest.mark.parametrize(
  'line, message',
  [
    ('de-2 zwei', 'en.dev.de:2: 1 columns or an empty one; expected two'),
    ('de-2\tzwei\tx', 'en.dev.de:2: 3 columns'),
    ('de-2\t ', 'en.dev.de:2: 2 columns or an empty one'),
    ('', 'en.dev.de:2: 1 columns'),
    ('de-1\tzwei', r"en.dev.de:2: the id 'de-1' stands at .*de:1 already"),
  ],
)
def test_bad_lines_of_bucc_are_named(tmp_path, line, message):
  write(tmp_path / 'de-en.dev.de', f'de-1\teins\n{line}\nde-3\tdrei\n')
  write(tmp_path / 'de-en.dev.en', 'en-1\tone\n')
  with pytest.raises(ValueError, match=message):
    bitext.bucc2018(tmp_path, 'dev', 'de')
