"""LAReQA and Mewsli-X: what is asked, and the pool it is looked for in."""

import gzip
import json

import numpy as np
import pytest

from xlmr_jax.data.readers import ranking_pools
from xlmr_jax.eval import evaluate
from xlmr_jax.eval.benchmarks import benchmark, table
from xlmr_jax.eval.metrics import scores
from xlmr_jax.eval.submissions import xtreme_forms
from xlmr_jax.tasks import neighbours


def write(path, *objects):
  path.parent.mkdir(parents=True, exist_ok=True)
  text = '\n'.join(json.dumps(x, ensure_ascii=False) for x in objects)
  path.write_text(text, encoding='utf-8')
  return path


def sides(texts):
  pool = [t for t in texts if t.side == ranking_pools.POOL]
  queries = [t for t in texts if t.side == ranking_pools.QUERY]
  assert texts == pool + queries
  return pool, queries


# ── LAReQA ────────────────────────────────────────────────────────────────


def xquad_r(folder, language, paragraphs):
  """paragraphs: [[sentence, ...], {question id: (question, offset)}]."""
  passages = []
  for sentences, asked in paragraphs:
    context, breaks = '', []
    for text in sentences:
      breaks.append([len(context), len(context) + len(text)])
      context += text
    questions = [
      {
        'id': name,
        'question': text,
        'answers': [{'text': context[at : at + 2], 'answer_start': at}],
      }
      for name, (text, at) in asked.items()
    ]
    passages.append(
      {'context': context, 'sentence_breaks': breaks, 'qas': questions}
    )
  write(
    folder / f'xquad-r/{language}.json',
    {'data': [{'title': 't', 'paragraphs': passages}]},
  )


@pytest.fixture
def few(tmp_path):
  """Eleven languages of two questions; in the last one a sentence twice."""
  for language in ranking_pools.LAREQA:
    first = [f'{language} one.\n', 'Two. ', f'{language} six.']
    if language == 'zh':
      first = ['Two. ', 'Two. ', 'three.']
    xquad_r(
      tmp_path,
      language,
      [
        (first, {'a': (f'{language}, what?', len(first[0]))}),
        (['Four. '], {'b': (f'{language}, who?', 1)}),
      ],
    )
  return tmp_path


def test_every_language_is_in_the_pool(few):
  pool, queries = sides(ranking_pools.lareqa(few, 'test', 'de'))
  assert len(pool) == 11 * 4 and [t.label for t in pool] == [None] * 44
  assert pool[:4] == [
    ranking_pools.bitext.Sentence(
      name, text, 0, None, f'{few}/xquad-r/ar.json, {where}'
    )
    for name, text, where in (
      ('ar_1_0', 'ar one.ar one.Two. ar six.', 'data[0].paragraphs[0]'),
      ('ar_1_1', 'Two. ar one.Two. ar six.', 'data[0].paragraphs[0]'),
      ('ar_1_2', 'ar six.ar one.Two. ar six.', 'data[0].paragraphs[0]'),
      ('ar_2_0', 'Four. Four. ', 'data[0].paragraphs[1]'),
    )
  ]
  assert [(t.id, t.text) for t in queries] == [
    ('a', 'de, what?'),
    ('b', 'de, who?'),
  ]
  others = [name for name in ranking_pools.LAREQA if name != 'zh']
  assert queries[0].label == (
    *(f'{name}_1_1' for name in others),
    'zh_1_0',  # the same words
    'zh_1_1',
  )
  assert queries[1].label == tuple(
    f'{name}_2_0' for name in ranking_pools.LAREQA
  )
  assert sides(ranking_pools.lareqa(few, 'test', 'th'))[0] == pool


def test_the_whole_pool_must_be_there(few):
  (few / 'xquad-r/hi.json').unlink()
  with pytest.raises(ValueError, match="no LAReQA test file for 'hi'"):
    ranking_pools.lareqa(few, 'test', 'de')


@pytest.mark.parametrize(
  'args, message',
  [
    (('dev', 'de'), 'has nothing but test'),
    (('test', 'fr'), "unknown language 'fr'; known are ar de el"),
  ],
)
def test_what_lareqa_has_not(few, args, message):
  with pytest.raises(ValueError, match=message):
    ranking_pools.lareqa(few, *args)


def test_sentences_are_needed(few):
  path = few / 'xquad-r/ru.json'
  whole = json.loads(path.read_text())
  paragraph = whole['data'][0]['paragraphs'][1]
  paragraph['sentence_breaks'] = [[2, 6]]
  write(path, whole)
  message = r'ru.json, .*paragraphs\[1\].qas\[0\]: .* begins in no sentence'
  with pytest.raises(ValueError, match=message):
    ranking_pools.lareqa(few, 'test', 'de')
  del paragraph['sentence_breaks']
  write(path, whole)
  with pytest.raises(ValueError, match=r'paragraphs\[1\]: no sentence_breaks'):
    ranking_pools.lareqa(few, 'test', 'de')


def test_real_lareqa(data_dir):
  """Against a walk over the files that shares nothing with the reader."""
  folder = data_dir / 'lareqa'
  sentences, right = {}, {}
  for language in ranking_pools.LAREQA:
    with gzip.open(folder / f'xquad-r/{language}.json.gz') as file:
      articles = json.load(file)['data']
    number = 0
    for paragraph in (p for a in articles for p in a['paragraphs']):
      number += 1
      context = paragraph['context']
      for at, (first, end) in enumerate(paragraph['sentence_breaks']):
        name = f'{language}_{number}_{at}'
        sentences[name] = (context[first:end] + context).replace('\n', '')
        for item in paragraph['qas']:
          if first <= item['answers'][0]['answer_start'] < end:
            right.setdefault(item['id'], []).append(name)
  count = 0
  for language in ('ar', 'en', 'zh'):
    pool, queries = sides(ranking_pools.lareqa(folder, 'test', language))
    assert {t.id: t.text for t in pool} == sentences
    assert len(pool) == 13_014
    assert {t.id: list(t.label) for t in queries} == right
    count += len(queries)
  assert count * 11 // 3 == 13_090


# ── Mewsli-X ──────────────────────────────────────────────────────────────


def entity(name, *sentences):
  text, spans = '', []
  for sentence in sentences:
    spans.append({'start': len(text), 'end': len(text) + len(sentence)})
    text += f'{sentence}\n'
  return {'entity_id': name, 'description': text, 'sentence_spans': spans}


def mention(name, text, sentence_spans, start, end):
  return {
    'context': {
      'text': text,
      'language': 'de',
      'sentence_spans': [dict(start=a, end=b) for a, b in sentence_spans],
    },
    'mentions': [
      {
        'example_id': name,
        'entity_id': '',
        'mention_span': {'start': start, 'end': end, 'text': text[start:end]},
      }
    ],
  }


TEXT = 'Lang war es. Heute kam {die} Ada  an, {mit} Rad.'


@pytest.fixture
def mewsli(tmp_path):
  write(
    tmp_path / 'candidate_set_entities.jsonl',
    entity('Q1', 'Ada Lovelace,  a countess.', 'She wrote.'),
    entity('Q2', 'Eine Stadt.'),
  )
  write(
    tmp_path / 'wikinews_mentions/dev-de.jsonl',
    mention('m', TEXT, [(0, 12), (13, len(TEXT))], 29, 32),
  )
  write(tmp_path / 'wikinews_labels/dev-de.json', {'m': ['Q1'], 'n': []})
  return tmp_path


def test_a_mention_stands_in_braces_and_in_front(mewsli):
  pool, (query,) = sides(ranking_pools.mewslix(mewsli, 'dev', 'de'))
  assert [(t.id, t.text) for t in pool] == [
    ('Q1', 'Ada Lovelace, a countess. She wrote.'),
    ('Q2', 'Eine Stadt.'),
  ]
  assert (query.id, query.label) == ('m', ('Q1',))
  # Three spaces become two: the official script goes through once.
  assert query.text == 'Ada: Heute kam (die) { Ada }  an, (mit) Rad.'
  path = mewsli / 'wikinews_labels/dev-de.json'
  write(path, {'m': []})
  assert ranking_pools.mewslix(mewsli, 'dev', 'de')[-1].label is None
  path.unlink()
  assert ranking_pools.mewslix(mewsli, 'dev', 'de')[-1].label is None


@pytest.mark.parametrize(
  'name, objects, message',
  [
    ('candidate_set_entities.jsonl', [{'entity_id': 'Q1'}], "'description' is"),
    (
      'candidate_set_entities.jsonl',
      [{**entity('Q1', 'ab'), 'sentence_spans': [{'start': 0, 'end': 9}]}],
      'jsonl:1: sentence_spans has .* not in the text',
    ),
    (
      'candidate_set_entities.jsonl',
      [entity('Q1', 'ab'), entity('Q1', 'cd')],
      "jsonl:2: the id 'Q1' stands at .*jsonl:1",
    ),
    (
      'wikinews_mentions/dev-de.jsonl',
      [mention('m', TEXT, [(0, 30)], 29, 32)],
      "'m' is not in a sentence",
    ),
    (
      'wikinews_mentions/dev-de.jsonl',
      [{**mention('m', TEXT, [(0, 40)], 29, 32), 'mentions': 3}],
      "'mentions' is not a list: 3",
    ),
    ('wikinews_labels/dev-de.json', [{'m': ['Q9']}], "'Q9', no candidate"),
    ('wikinews_labels/dev-de.json', [['Q1']], "'the file' is not a list"),
    ('wikinews_labels/dev-de.json', [{'m': 'Q1'}], "'m' is not a list: 'Q1'"),
  ],
)
def test_bad_files_of_mewslix(mewsli, name, objects, message):
  write(mewsli / name, *objects)
  with pytest.raises(ValueError, match=message):
    ranking_pools.mewslix(mewsli, 'dev', 'de')


def test_what_of_mewslix_is_not_there(mewsli):
  with pytest.raises(ValueError, match="no Mewsli-X's test file for 'de'"):
    ranking_pools.mewslix(mewsli, 'test', 'de')
  with pytest.raises(ValueError, match="split 'train'; Mewsli-X has dev and"):
    ranking_pools.mewslix(mewsli, 'train', 'de')


# ── The rows ──────────────────────────────────────────────────────────────


@pytest.fixture
def model(make_model, tiny_tokenizer):
  return make_model(tiny_tokenizer, head=None)


def test_a_pool_is_ranked_scored_and_written(model, few):
  task = table.tasks()['lareqa']
  examples = {name: task.read(few, 'test', name) for name in ('de', 'th')}
  result = evaluate.evaluate(model, task, examples, show=False)
  # Each text once, however many languages share it.
  texts = {t.text for part in examples.values() for t in part}
  ids = [model.tokenizer.encode(text) for text in texts]
  distinct = {tuple(row) for row in ids}
  assert result.tokens == sum(map(len, distinct))
  for language, part in examples.items():
    pool, queries = sides(part)
    x, y = (
      neighbours.unit(
        np.stack([model.vectors([t.text], **task.vectors)[0] for t in side])
      )
      for side in (pool, queries)
    )
    similarities = y.astype(np.float64) @ x.astype(np.float64).T
    got = result.predictions[language]
    assert [len(row) for row in got] == [20, 20]
    places = {t.id: i for i, t in enumerate(pool)}
    for row, ranked in zip(similarities, got, strict=True):
      assert len(set(ranked)) == 20
      ranked_scores = row[[places[name] for name in ranked]]
      best = np.sort(row)[::-1][:20]
      np.testing.assert_allclose(ranked_scores, best, atol=1e-5)
    gold = [t.label for t in queries]
    score = scores.score('map@20', got, gold, language)['map@20']
    assert result.scores[language] == score > 0
    assert result.ids[language] == ['a', 'b']
  folder = benchmark.write_predictions(few / 'out', result)
  form = xtreme_forms.FORMS['rankings']
  read = form.read(folder / 'test-de.json')
  assert read == dict(zip('ab', result.predictions['de'], strict=True))


def test_both_are_rows_of_xtreme_r():
  rows = table.find('xtreme-r')
  assert rows['lareqa'].languages == ranking_pools.LAREQA
  assert rows['mewslix'].metric == 'map@20' and not rows['mewslix'].heads
