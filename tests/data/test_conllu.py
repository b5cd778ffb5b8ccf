"""Treebanks to tagged sentences: equal to what XTREME made of them."""

import gzip

import pytest

from xlmr_jax.data.readers import conllu, tagged

# Languages with one treebank: the files are the benchmark's, whole.
SINGLE_TEST = 'af bg el eu fa he hu kk mr ta te th tl ur vi yo'.split()
SINGLE_DEV = 'af el fa he hu id ja mr ta te tr vi'.split()
# Where the one treebank that is here begins among those of its language.
BEGINS = {
  **dict.fromkeys('en it pt'.split(), 0),
  'es': 1721,  # behind AnCora's 1,721 sentences, for instance
  'fi': 2867,
  'fr': 2301,
  'tr': 2802,
  'zh': 451,
}


def write(path, text):
  path.parent.mkdir(parents=True, exist_ok=True)
  path.write_text(text, encoding='utf-8')
  return path


def treebank(*sentences):
  """'id form tag head' lines, with ten columns."""
  out = []
  for sentence in sentences:
    out.append('# text = x')
    for line in sentence.strip().split('\n'):
      name, form, tag, head = line.split()
      form = form.replace('~', ' ')
      out.append(
        '\t'.join([name, form, '_', tag, '_', '_', head, '_', '_', '_'])
      )
    out.append('')
  return '\n'.join(out) + '\n'


def pairs(sentence):
  return list(zip(sentence.words, sentence.label, strict=True))


@pytest.mark.parametrize('split', ['dev', 'test'])
def test_single_treebanks_equal_xtremes_files(data_dir, split):
  folder = data_dir / 'udpos'
  for language in SINGLE_DEV if split == 'dev' else SINGLE_TEST:
    got = conllu.udpos(folder / 'conllu_r2.5', split, language)
    want = tagged.xtreme(folder / 'xtreme_tsv', split, language)
    assert [s.words for s in got] == [s.words for s in want], language
    if split == 'dev':
      assert [s.label for s in got] == [s.label for s in want], language


def test_tags_of_test_equal_those_made_elsewhere(data_dir):
  folder = data_dir / 'udpos'
  for language in 'af eu fa he mr ta th tl'.split():
    got = conllu.udpos(folder / 'conllu_r2.5', 'test', language)
    want = tagged.xtreme(folder / 'xtreme_tsv_labelled_test', 'test', language)
    assert [pairs(s) for s in got] == [pairs(s) for s in want], language


@pytest.mark.parametrize('split', ['dev', 'test'])
def test_other_treebanks_are_a_part_of_xtremes_files(data_dir, split):
  """Which has the others of the language before and behind them, in order."""
  folder, seen = data_dir / 'udpos', 0
  for language, begins in BEGINS.items():
    name = f'{language}_*-ud-{split}.conllu.gz'
    single = split == 'dev' and language in SINGLE_DEV
    if single or not list((folder / 'conllu_r2.5').glob(name)):
      continue
    got = conllu.udpos(folder / 'conllu_r2.5', split, language)
    want = tagged.xtreme(folder / 'xtreme_tsv', split, language)
    assert len(want) > len(got)
    first = begins if split == 'test' else 0
    want = want[first : first + len(got)]
    assert [s.words for s in got] == [s.words for s in want], language
    if split == 'dev':
      assert [s.label for s in got] == [s.label for s in want], language
    seen += 1
  assert seen == {'dev': 3, 'test': 8}[split]


def test_a_fused_word_has_the_tag_of_its_highest_part(tmp_path):
  path = write(
    tmp_path / 'a.conllu',
    treebank(
      """
      1-2 au _ _
      1 à ADP 3
      2 le DET 1
      3 parc NOUN 0
      4-6 dámelo _ _
      4 da VERB 5
      5 me PRON 3
      6 lo PRON 4
      """
    ),
  )
  [got] = conllu.read(path)
  # One step above the root's, two, and of the second three parts the middle.
  assert pairs(got) == [('au', 'ADP'), ('parc', 'NOUN'), ('dámelo', 'PRON')]
  assert got.where == f'{path}, sentence at line 2'
  assert got.place(1) == f'{path}, sentence at line 2, word 1'


@pytest.mark.parametrize(
  'language, tags, want',
  [
    ('', 'DET ADP', 'ADP'),
    ('', 'PROPN NOUN VERB', 'VERB'),
    ('', 'ADP NOUN', 'NOUN'),
    ('', 'SYM PUNCT', 'PUNCT'),  # in no list: last
    ('', 'SYM _', 'SYM'),  # both so: from the left
    ('he', 'ADV NUM', 'NUM'),
    ('es', 'PRON AUX', 'AUX'),
    ('es', 'DET ADP', 'ADP'),
    ('es', 'NOUN DET', 'DET'),
    ('fr', 'ADV ADJ', 'ADJ'),
    ('fr', 'NOUN PRON', 'PRON'),
    ('', 'NOUN PRON', 'NOUN'),
    ('it', 'PRON ADV', 'ADV'),
    ('', 'PRON ADV', 'PRON'),
    ('it', 'DET ADP', 'ADP'),
    ('it', 'INTJ NOUN', 'INTJ'),
  ],
)
def test_equally_high_parts_are_told_apart_by_class(
  tmp_path, language, tags, want
):
  tags = tags.split()
  lines = [f'1-{len(tags)} whole _ _']
  lines += [f'{i} part {tag} {len(tags) + 1}' for i, tag in enumerate(tags, 1)]
  lines += [f'{len(tags) + 1} root VERB 0']
  path = write(tmp_path / 'a.conllu', treebank('\n'.join(lines)))
  [got] = conllu.read(path, language)
  assert pairs(got) == [('whole', want), ('root', 'VERB')]


def test_what_is_left_out_and_taken_out(tmp_path):
  path = write(
    tmp_path / 'a.conllu',
    treebank(
      '1 a X 0\n1.1 b VERB 1\n2 c\u200cd NOUN 1\n3 1~000 NUM 1\n4 _ PUNCT 1',
      '1 _ X 0\n2 _ X 1\n3 _ X 1',
      '1 _ X 0\n2 _ X 1\n3 word X 1',
      '1 _ X 0',
      '1 _ X 0\n2 b X 1\n3 c X 1',
    ).rstrip('\n'),  # the last blank line may be missing
  )
  got = conllu.read(path)
  assert [s.words for s in got] == [('a', 'cd', '1000', '_'), ('_', 'b', 'c')]
  assert got[0].label == ('X', 'NOUN', 'NUM', 'PUNCT')


def test_a_circle_ends(tmp_path):
  """Treebanks have none, other people's files do."""
  lines = '1-2 ab _ _\n1 a NOUN 2\n2 b VERB 1\n3 c X 0'
  [got] = conllu.read(write(tmp_path / 'a.conllu', treebank(lines)))
  assert pairs(got) == [('ab', 'VERB'), ('c', 'X')]


def test_treebanks_follow_each_other_by_name(tmp_path):
  def one_word(word):
    return treebank(f'1 {word} X 0')

  release = tmp_path / 'ud-treebanks-v2.5'
  write(release / 'UD_German-PUD/de_pud-ud-test.conllu', one_word('pud'))
  write(release / 'UD_German-HDT/de_hdt-ud-train-b-1.conllu', one_word('b1'))
  write(release / 'UD_German-HDT/de_hdt-ud-train-a-2.conllu', one_word('a2'))
  packed = release / 'UD_German-GSD/de_gsd-ud-test.conllu.gz'
  packed.parent.mkdir()
  packed.write_bytes(gzip.compress(one_word('gsd').encode()))
  write(release / 'UD_Dargwa-X/dar_x-ud-test.conllu', one_word('dargwa'))
  for folder in (tmp_path, release):
    got = conllu.udpos(folder, 'test', 'de')
    assert [s.words for s in got] == [('gsd',), ('pud',)]
    got = conllu.udpos(folder, 'train', 'de')
    assert [s.words for s in got] == [('a2',), ('b1',)]
  with pytest.raises(ValueError, match=r"no treebank of 'de' with a dev file"):
    conllu.udpos(tmp_path, 'dev', 'de')
  with pytest.raises(ValueError, match="split 'validation'"):
    conllu.udpos(tmp_path, 'validation', 'de')
  write(tmp_path / 'de_gsd-ud-test.conllu', one_word('again'))
  with pytest.raises(ValueError, match='GSD/de_gsd.* is .* again; keep one'):
    conllu.udpos(tmp_path, 'test', 'de')


@pytest.mark.parametrize(
  'content, message',
  [
    ('1\ta\tb\n', r'a.conllu:1: 3 columns, CoNLL-U has 10'),
    (treebank('1 a X 0\n3 b X 1'), r"a.conllu:3: id '3', expected 2"),
    (treebank('1 a X 0\nx b X 1'), r"a.conllu:3: id 'x', expected 2"),
    (treebank('1 a X _'), r"a.conllu:2: the head '_' is no number"),
    (treebank('1 a X 2'), r'a.conllu:2: a sentence of 1 words speaks of more'),
    (treebank('1-2 ab _ _\n1 a X 0'), r'a.conllu:2: a sentence of 1 words'),
    (
      treebank('1-2 ab _ _\n1 a X 0\n2-3 bc _ _\n2 b X 1\n3 c X 1'),
      r'a.conllu:4: the words 2-3 do not begin here',
    ),
    (treebank('1 a X 0\n2-1 ab _ _'), r'a.conllu:3: the words 2-1 do not'),
    (treebank('1 ~ X 0'), r'a.conllu:2: no word in column 2'),
    (treebank('1 \u200c X 0'), r'line 2: word 0 has no letter'),
    (
      treebank('1 a X 0').replace('\tX\t', '\t\t'),
      r'a.conllu:2: no tag in column 4',
    ),
    ('', r'a.conllu: no sentence with words'),
  ],
)
def test_bad_lines_are_named(tmp_path, content, message):
  path = write(tmp_path / 'a.conllu', content)
  with pytest.raises(ValueError, match=message):
    conllu.read(path)
