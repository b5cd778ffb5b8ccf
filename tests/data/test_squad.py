"""Files of questions: what is read, and what is said of bad ones."""

import gzip
import json
import lzma
import warnings

import pytest

from xlmr_jax.data.readers import squad, xtreme_questions

XQUAD = 'ar de el en es hi ro ru th tr vi zh'.split()
MLQA = dict(en=1148, de=512, es=500, ar=517, zh=504, vi=511, hi=507)
TYDIQA = dict(
  en=440, ar=921, bn=113, fi=782, id=565, ko=276, ru=812, sw=499, te=669
)


def question(number=0, text='308', start=12, **more):
  item = {'id': f'q{number}', 'question': f'How many {number}?'}
  return item | {'answers': [{'text': text, 'answer_start': start}]} | more


def document(*questions, context='They gave up 308 points.', **more):
  paragraph = {'context': context, 'qas': list(questions)} | more
  return {'version': '1.1', 'data': [{'paragraphs': [paragraph]}]}


def write(path, content):
  if not isinstance(content, bytes):
    content = json.dumps(content, ensure_ascii=False).encode()
  path.parent.mkdir(parents=True, exist_ok=True)
  if path.suffix in ('.gz', '.xz'):
    content = {'.gz': gzip, '.xz': lzma}[path.suffix].compress(content)
  path.write_bytes(content)
  return path


def test_questions_in_order_with_their_places(tmp_path):
  paragraph = {'context': 'A cat.', 'qas': [question(2, 'cat', 2)]}
  content = document(question(0, start=13), question(1, start=13))
  content['data'].append({'title': 'x', 'paragraphs': [paragraph]})
  for name in ('a.json', 'a.json.gz', 'a.json.xz'):
    path = write(tmp_path / name, content)
    got = squad.read(path)
    context = 'They gave up 308 points.'
    assert got == [
      squad.Question(
        f'q{k}',
        f'How many {k}?',
        context,
        (('308', 13),),
        f'{path}, data[0].paragraphs[0].qas[{k}]',
      )
      for k in range(2)
    ] + [
      squad.Question(
        'q2',
        'How many 2?',
        'A cat.',
        (('cat', 2),),
        f'{path}, data[1].paragraphs[0].qas[0]',
      )
    ]
    assert all(e.label is not None for e in got)


def test_what_has_no_label(tmp_path):
  blank = question(0, '', 0)
  both = [
    {'text': 'gave', 'answer_start': 5},
    {'text': 'up', 'answer_start': 10},
  ]
  content = document(
    blank,
    question(1, answers=both),
    question(2, answers=[]),
    {'id': 3, 'question': 'Why?'},
    question(4, answers=[], is_impossible=True),
    # SQuAD 2 keeps what seems to be an answer under another name.
    question(5, answers=both[:1], is_impossible=False),
  )
  path = write(
    tmp_path / 'a.json', b'\xef\xbb\xbf' + json.dumps(content).encode()
  )
  got = squad.read(path)
  assert [q.label for q in got] == [
    None,
    (('gave', 5), ('up', 10)),
    (),
    None,
    (),
    (('gave', 5),),
  ]
  assert got[3].id == '3'


def test_ids_may_repeat(tmp_path):
  path = write(tmp_path / 'a.json', document(question(), question(start=13)))
  with pytest.raises(ValueError, match='1 answers do not stand'):
    squad.read(path)
  path = write(tmp_path / 'a.json', document(*[question(start=13)] * 2))
  assert [q.id for q in squad.read(path)] == ['q0', 'q0']


def test_an_answer_that_is_elsewhere_is_an_error_or_a_warning(tmp_path):
  wrong = [12, -1, 24, 99, 13]
  content = document(*[question(k, start=s) for k, s in enumerate(wrong)])
  path = write(tmp_path / 'a.json', content)
  with pytest.raises(ValueError) as error:
    squad.read(path)
  said = str(error.value)
  assert f'{path}: 4 answers do not stand where the file says' in said
  place = f"{path}, data[0].paragraphs[0].qas[0].answers[0] of 'q0'"
  assert f"{place} is '308' at 12, where the context has ' 30'" in said
  assert "'308' at -1, where the context has ''; " in said
  assert 'skip_bad=True' in said and 'qas[3]' not in said
  with pytest.warns(UserWarning, match='4 answers .* Nothing is trained'):
    got = squad.read(path, skip_bad=True)
  starts = [-1, -1, -1, -1, 13]
  assert [q.label for q in got] == [(('308', s),) for s in starts]
  with warnings.catch_warnings():
    warnings.simplefilter('error')
    squad.read(write(path, document(question(start=13))), skip_bad=True)


def test_an_empty_answer_beside_another_is_bad(tmp_path):
  answers = [
    {'text': 'gave', 'answer_start': 5},
    {'text': '', 'answer_start': 0},
  ]
  path = write(tmp_path / 'a.json', document(question(answers=answers)))
  with pytest.raises(ValueError, match=r"answers\[1\] of 'q0' is '' at 0"):
    squad.read(path)


@pytest.mark.parametrize(
  'content, message',
  [
    (b'{"data": [}', r':1: not JSON \(Expecting value at character 11'),
    (b'{\n\n"data": [1 2]}', ':3: not JSON'),
    (b'', ':1: not JSON'),
    (b'["\xff"]', ':1: byte 0xff is not UTF-8'),
    (b'[' * 200_000, ': JSON that is nested too deeply'),
    ([], ': not a JSON object'),
    ({'version': 1}, ": 'data' is not a list; the object has version"),
    ({}, ": 'data' is not a list; the object has nothing"),
    ({'data': []}, ': there is no question'),
    ({'data': [{'paragraphs': []}]}, ': there is no question'),
    ({'data': ['x']}, r', data\[0\]: not a JSON object'),
    ({'data': [{}]}, r", data\[0\]: 'paragraphs' is not a list"),
    (document(context=None), r"paragraphs\[0\]: 'context' is not a text"),
    (document(qas=None), r"paragraphs\[0\]: 'qas' is not a list"),
    (document(question(), 7), r'qas\[1\]: not a JSON object'),
    (document(question(id=None)), r"qas\[0\]: 'id' is not a text"),
    (document(question(id=True)), r"qas\[0\]: 'id' is not a text"),
    (document(question(question=7)), r"qas\[0\]: 'question' is not a text"),
    (document(question(answers={})), r"qas\[0\]: 'answers' is not a list"),
    (document(question(answers=['308'])), r'answers\[0\]: not a JSON object'),
    (document(question(text=3)), r"answers\[0\]: 'text' is not a text"),
    (document(question(start='12')), r"'answer_start' is not a whole number"),
    (document(question(start=None)), r"'answer_start' is not a whole number"),
    (document(question(start=True)), r"'answer_start' is not a whole number"),
    (
      document(question(start=13), sentence_breaks=[[0, 9], [8, 12]]),
      r'paragraphs\[0\]: sentence_breaks has \[8, 12\]',
    ),
    (
      document(question(start=13), sentence_breaks=[[0, 99]]),
      r'sentence_breaks has \[0, 99\]',
    ),
  ],
)
def test_bad_files_are_named(tmp_path, content, message):
  path = write(tmp_path / 'f.json', content)
  with pytest.raises(ValueError, match=message) as error:
    squad.read(path)
  assert str(error.value).startswith(str(path))


def test_a_broken_archive_is_named(tmp_path):
  path = write(tmp_path / 'f.json.gz', document(question(start=13)))
  path.write_bytes(path.read_bytes()[:-9])
  with pytest.raises(ValueError, match='damaged or cut short'):
    squad.read(path)


def test_files_of_the_benchmarks_are_found(tmp_path):
  """Under their official names and XTREME's, and said where not."""

  def put(name, *ids):
    items = [question(start=13) | {'id': i} for i in ids or (name,)]
    write(tmp_path / name, document(*items))

  def ids(read, split, language, folder, **options):
    questions = read(tmp_path / folder, split, language, **options)
    return [q.id for q in questions]

  put('squad/train-v1.1.json')
  put('squad/squad.translate.dev.en-de.json')
  put('xquad/xquad.de.json.gz')
  train, translated = 'squad/train-v1.1.json', 'squad/squad.translate.dev.en-de'
  for folder in ('xquad', 'squad', ''):
    for read in (
      xtreme_questions.squad,
      xtreme_questions.xquad,
      xtreme_questions.lareqa,
    ):
      assert ids(read, 'train', 'en', folder) == [train]
      assert ids(read, 'dev', 'de', folder) == [f'{translated}.json']
    assert ids(xtreme_questions.mlqa, 'train', 'en', folder) == [train]
  assert ids(xtreme_questions.xquad, 'test', 'de', 'xquad') == [
    'xquad/xquad.de.json.gz'
  ]
  with pytest.raises(ValueError, match=r"no XQuAD test .*'fr'; .*xquad\.fr\.j"):
    xtreme_questions.xquad(tmp_path / 'xquad', 'test', 'fr')
  with pytest.raises(ValueError, match='no SQuAD dev .*squad/dev-v1.1.json'):
    xtreme_questions.xquad(tmp_path / 'xquad', 'dev', 'en')
  with pytest.raises(ValueError, match='XQuAD has train, dev and test'):
    xtreme_questions.xquad(tmp_path, 'valid', 'de')
  with pytest.raises(ValueError, match='SQuAD has train and dev'):
    xtreme_questions.squad(tmp_path, 'test', 'en')

  put('mlqa/MLQA_V1/test/test-context-de-question-de.json')
  put('mlqa/MLQA_V1/test/test-context-de-question-es.json')
  for folder in ('mlqa', 'mlqa/MLQA_V1', 'mlqa/MLQA_V1/test'):
    for asked in ('de', 'es'):
      name = f'mlqa/MLQA_V1/test/test-context-de-question-{asked}.json'
      options = {} if asked == 'de' else {'question_language': asked}
      assert ids(xtreme_questions.mlqa, 'test', 'de', folder, **options) == [
        name
      ]
  with pytest.raises(ValueError, match='no MLQA dev file'):
    xtreme_questions.mlqa(tmp_path / 'mlqa', 'dev', 'de')

  mixed = ('arabic--12-0', 'english-4-1', 'arabic-7-2', 'arabiclike-1-1')
  put('tydiqa/tydiqa-goldp-v1.1-train.json', *mixed)
  put('tydiqa/tydiqa-goldp-v1.1-dev/tydiqa-goldp-dev-finnish.json')
  put('tydiqa/tydiqa.translate.train.en-ar.json')
  read = xtreme_questions.tydiqa
  assert ids(read, 'train', 'ar', 'tydiqa') == ['arabic--12-0', 'arabic-7-2']
  assert ids(read, 'train', 'en', 'tydiqa') == ['english-4-1']
  with pytest.raises(ValueError, match='no id starts with korean-'):
    read(tmp_path / 'tydiqa', 'train', 'ko')
  for split in ('dev', 'test'):
    assert 'finnish' in ids(read, split, 'fi', 'tydiqa')[0]
  assert 'en-ar' in ids(read, 'translate-train', 'ar', 'tydiqa')[0]
  # What XTREME's script makes of the training file goes first.
  put('tydiqa/tydiqa-goldp-v1.1-train/tydiqa.goldp.ar.train.json', '1', '1')
  assert ids(read, 'train', 'ar', 'tydiqa') == ['1', '1']
  with pytest.raises(ValueError, match="'ja'; the gold passages .* ar, bn, en"):
    read(tmp_path / 'tydiqa', 'dev', 'ja')
  with pytest.raises(ValueError, match='TyDi QA has train, dev and test'):
    read(tmp_path / 'tydiqa', 'valid', 'ar')


# Real files. Their counts are the benchmarks'.


def test_all_of_xquad(data_dir):
  for language in XQUAD:
    got = xtreme_questions.xquad(data_dir / 'xquad', 'test', language)
    assert len(got) == 1190 == len({q.id for q in got})
    assert len({q.context for q in got}) == 240
    assert all(e.label is not None for e in got)


def test_all_of_mlqa_dev(data_dir):
  read = lambda *pair: xtreme_questions.mlqa(
    data_dir / 'mlqa', 'dev', pair[0], question_language=pair[-1]
  )
  ids = lambda questions: {q.id for q in questions}
  same = {language: read(language) for language in MLQA}
  assert {k: len(questions) for k, questions in same.items()} == MLQA
  for context, questions in same.items():
    for asked in MLQA:
      got = read(context, asked)
      assert all(e.label is not None for e in got)
      # Questions are those that both languages have.
      both = ids(questions) & ids(same[asked])
      assert ids(got) == both and len(got) == len(both)
      contexts = {q.id: q.context for q in questions}
      assert all(contexts[q.id] == q.context for q in got)


def test_all_of_tydiqa(data_dir):
  """XTREME has taken dev's answers out, and cut the ids of train."""
  for language, count in TYDIQA.items():
    for split in ('dev', 'test'):
      got = xtreme_questions.tydiqa(data_dir / 'tydiqa', split, language)
      assert len(got) == count == len({q.id for q in got})
      assert all(q.label is None for q in got)
      assert all(
        q.id.split('-')[0] == xtreme_questions.TYDIQA[language] for q in got
      )
  for language, count in (('en', 3696), ('sw', 2755), ('ko', 1625)):
    got = xtreme_questions.tydiqa(data_dir / 'tydiqa', 'train', language)
    assert len(got) == count > len({q.id for q in got})
    assert all(e.label is not None for e in got)


def test_all_of_lareqa(data_dir):
  """13,014 sentences answer 13,090 questions (Roy et al. 2020)."""
  questions = sentences = 0
  for language in sorted({*XQUAD} - {'ro'}):
    got = xtreme_questions.lareqa(data_dir / 'lareqa', 'test', language)
    plain = xtreme_questions.xquad(data_dir / 'xquad', 'test', language)
    fields = lambda q: (q.id, q.question, q.context, q.label)
    assert [*map(fields, got)] == [*map(fields, plain)]
    questions += len(got)
    breaks = {q.context: q.breaks for q in got}
    sentences += sum(map(len, breaks.values()))
    assert not any(q.breaks for q in plain)
  assert (questions, sentences) == (13_090, 13_014)


def test_chinese_sets_in_the_same_format(data_dir):
  """CMRC 2018 counts UTF-16 units, and gave 193 answers no place at all."""
  folder = data_dir / 'clue'
  assert len(squad.read(folder / 'drcd' / 'DRCD_dev.json')) == 3524
  folder = folder / 'cmrc2018' / 'squad-style-data'
  for split, count, moved, bad in (
    ('dev', 3219, 7, 193),
    ('trial', 1002, 5, 0),
  ):
    path = folder / f'cmrc2018_{split}.json'
    if bad:
      with (
        pytest.raises(ValueError, match=f': {bad} answers do not stand'),
        pytest.warns(UserWarning, match='UTF-16'),
      ):
        squad.read(path)
    with pytest.warns(UserWarning, match=f'{moved} answers stand'):
      got = squad.read(path, skip_bad=True)
    assert len(got) == count
    nowhere = [s for q in got for _, s in q.label if s == squad.NOWHERE]
    assert len(nowhere) == bad


def flat(number, texts, starts, context='They gave up 308 points.'):
  answers = {'text': texts, 'answer_start': starts}
  item = {'id': f'q{number}', 'title': 't', 'context': context}
  return item | {'question': f'How many {number}?', 'answers': answers}


@pytest.mark.parametrize('form', ['a.jsonl', 'a.json', 'a.jsonl.gz', 'list'])
def test_flat_questions_as_datasets_exports_them(tmp_path, form):
  items = [flat(0, ['308'], [13]), flat(1, [], []), flat(2, ['up'], [10])]
  name = form
  if form == 'list':
    name, content = 'b.json', {'data': items}
  else:
    content = '\n'.join(map(json.dumps, items)).encode()
  path = write(tmp_path / name, content)
  got = squad.read(path)
  assert [(q.id, q.question, q.label) for q in got] == [
    ('q0', 'How many 0?', (('308', 13),)),
    ('q1', 'How many 1?', ()),
    ('q2', 'How many 2?', (('up', 10),)),
  ]
  place = f'{path}, data[1]' if form == 'list' else f'{path}:2'
  assert got[1].where == place
  one = squad.read(write(tmp_path / 'one.json', items[0]))  # lines, of which 1
  assert one[0].label == (('308', 13),)


def test_flat_questions_that_are_wrong(tmp_path):
  path = write(tmp_path / 'a.json', [flat(0, ['308'], [])])
  with pytest.raises(ValueError, match=r'a.json, \[0\].answers: 1 texts and 0'):
    squad.read(path)
  path = write(tmp_path / 'a.json', [flat(0, '308', [13])])
  with pytest.raises(ValueError, match="'text' is not a list"):
    squad.read(path)
  path = write(tmp_path / 'a.jsonl', flat(7, ['308'], [12]))
  with pytest.raises(ValueError, match=r"\[0\].answers\[0\] of 'q7' is '308'"):
    squad.read(path)


def test_what_an_empty_list_of_answers_means(tmp_path):
  """No answer; but a file that has no other answers has no labels."""
  read = lambda *items: [
    q.label for q in squad.read(write(tmp_path / 'a.json', document(*items)))
  ]
  empty = question(0, answers=[])
  assert read(empty, question(start=13)) == [(), (('308', 13),)]
  assert read(empty, empty) == [None, None]
  assert read(empty, question(answers=[], is_impossible=True)) == [(), ()]
  assert read(empty, question(1, '', 0)) == [None, None]
  with pytest.raises(
    ValueError, match="qas.0.: question 'q0' has answers, and"
  ):
    read(question(start=13, is_impossible=True))


@pytest.mark.parametrize(
  'unit, shift', [('UTF-16 code units', 2), ('bytes of UTF-8', 6)]
)
def test_offsets_that_count_something_else(tmp_path, unit, shift):
  context = '🎉🎉 They gave up 308 points.'
  wide = document(question(start=16 + shift), context=context)
  content = document(question(1, start=13))
  content['data'] += wide['data']
  path = write(tmp_path / 'a.json', content)
  with pytest.warns(UserWarning, match=f'count {unit}.* 1 answers stand'):
    got = squad.read(path)
  assert [q.label for q in got] == [(('308', 13),), (('308', 16),)]
  # An answer that stands by characters alone: the file counts neither.
  wide['data'][0]['paragraphs'][0]['qas'].append(question(2, start=16))
  path = write(tmp_path / 'b.json', wide)
  with pytest.raises(ValueError, match='1 answers do not stand'):
    squad.read(path)


def test_skipped_questions_are_counted(tmp_path):
  both = [
    {'text': '308', 'answer_start': 0},
    {'text': '308', 'answer_start': 13},
  ]
  content = document(
    question(0),
    question(1, answers=both),
    question(2, answers=[]),
    question(3, start=13),
  )
  path = write(tmp_path / 'a.json', content)
  with pytest.warns(UserWarning, match='2 answers do not stand'):
    got = squad.read(path, skip_bad=True)
  assert squad.count_skipped(got) == 1


def test_peoples_files(data_dir):
  """Spaces around answers, ids that repeat, offsets of JavaScript, flat."""
  folder = data_dir.parent / 'cases' / 'questions'
  if not folder.is_dir():
    pytest.skip(f'no {folder}')
  with warnings.catch_warnings():
    warnings.simplefilter('error')
    (noon,) = squad.read(folder / 'flat.jsonl')
    spaces = squad.read(folder / 'spaces.json')
    twice = squad.read(folder / 'twice.json')
  assert noon.label == (('noon', 29),)
  assert [q.label[0][0].strip() for q in spaces][:2] == ['under the mat', 'cat']
  assert [q.id for q in twice] == ['0', '0']
  with pytest.warns(UserWarning, match='UTF-16 code units'):
    got = squad.read(folder / 'utf16.json')
  assert [q.label for q in got] == [(('Lake Como', 16),), (('noon', 29),)]
  folder = folder.parent / 'no_answer'
  for split in ('train', 'dev', 'test'):
    given = squad.read(folder / f'{split}.json')
    bare = squad.read(folder / f'{split}-noflag.json')
    assert [q.label for q in given] == [q.label for q in bare]
    assert sum(q.label == () for q in bare) == len(bare) // 2
