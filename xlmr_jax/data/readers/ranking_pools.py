"""Readers of queries, and of the pool of candidates that may answer them.

```
LAReQA    a question            every sentence of XQuAD-R, in all languages:
                                those that hold its answer are right
Mewsli-X  a mention of a name   the entities, by what Wikipedia says of them:
                                one is right
```

Both are bitext.Sentences: the pool is on side 0 and comes first, whatever the
language of the queries on side 1, whose labels are the ids of what is right.
"""

from collections.abc import Iterator, Mapping
import os
import pathlib
import re
from typing import Any

from xlmr_jax.data import files
from xlmr_jax.data.readers import bitext, squad, xtreme_questions

POOL, QUERY = 0, 1
LAREQA = ('ar', 'de', 'el', 'en', 'es', 'hi', 'ru', 'th', 'tr', 'vi', 'zh')
_BRACED = re.compile(r'\{(.*?)\}')


def lareqa(
  data_dir: str | os.PathLike, split: str, language: str
) -> list[bitext.Sentence]:
  """Reads LAReQA's XQuAD-R (Roy et al. 2020): the questions of one language.

  A candidate is a sentence with its whole paragraph behind it, without line
  breaks, as XTREME-R's script writes it; its id is
  '{language}_{paragraph}_{sentence}', paragraphs counted from 1. Right are the
  sentences that an answer to the question begins in, in every language, and
  those of the same paragraph with the same words. The files are
  `xquad-r/{language}.json`, and all eleven must be there: the pool is theirs.

  Raises:
    ValueError: another split or language, a file that is missing or that
      squad.read refuses, one without sentence breaks, or an answer that begins
      in no sentence.
  """
  if split != 'test':
    raise ValueError(f'split {split!r}; LAReQA has nothing but test')
  if language not in LAREQA:
    raise ValueError(
      f'LAReQA: unknown language {language!r}; known are {" ".join(LAREQA)}'
    )
  pool, right, queries = [], {}, []
  for name in LAREQA:
    questions = xtreme_questions.lareqa(data_dir, 'test', name)
    pool += _candidates(questions, name, right)
    if name == language:
      queries = questions
  return pool + [
    bitext.Sentence(q.id, q.question, QUERY, tuple(right[q.id]), q.where)
    for q in queries
  ]


def _candidates(
  questions: list[squad.Question], language: str, right: dict[str, list[str]]
) -> Iterator[bitext.Sentence]:
  """The sentences of a file; adds what is right for its questions."""
  # The questions of a paragraph follow each other; no others have its place.
  paragraphs: dict[str, list[squad.Question]] = {}
  for question in questions:
    where = question.where.rpartition('.qas[')[0]
    paragraphs.setdefault(where, []).append(question)
  for number, (where, part) in enumerate(paragraphs.items(), 1):
    context, breaks = part[0].context, part[0].breaks
    if not breaks:
      raise ValueError(f'{where}: no sentence_breaks: this is not XQuAD-R')
    sentences = [context[first:end] for first, end in breaks]
    ids = [f'{language}_{number}_{at}' for at in range(len(sentences))]
    for question in part:
      (_, start), *_ = question.label or (('', squad.NOWHERE),)
      inside = [
        s for s, (a, b) in zip(sentences, breaks, strict=True) if a <= start < b
      ]
      if not inside:
        raise ValueError(f'{question.where}: its answer begins in no sentence')
      right.setdefault(question.id, []).extend(
        name
        for name, text in zip(ids, sentences, strict=True)
        if text == inside[0]
      )
    for name, text in zip(ids, sentences, strict=True):
      text = (text + context).replace('\n', '')
      yield bitext.Sentence(name, text, POOL, None, where)


def mewslix(
  data_dir: str | os.PathLike, split: str, language: str
) -> list[bitext.Sentence]:
  """Reads one language of Mewsli-X (Ruder et al. 2021).

  The files are those that XTREME-R's download leaves:
  `candidate_set_entities.jsonl`, `wikinews_mentions/{split}-{language}.jsonl`
  and, where there are labels, `wikinews_labels/{split}-{language}.json`. A
  query is the sentence of a mention, in braces and once more in front, 'Ada:
  Countess { Ada } wrote.'; a candidate is the description of an entity.

  Raises:
    ValueError: another split, a file that is missing, a line without what it
      should have, a mention that is not where the file says or in no sentence,
      the same id twice, or a label that is no candidate.
  """
  if split not in ('dev', 'test'):
    raise ValueError(f'split {split!r}; Mewsli-X has dev and test')
  folder = pathlib.Path(data_dir)

  def find(name, description):
    paths = [root / name for root in (folder, folder / 'mewslix')]
    return files.locate(paths, f"Mewsli-X's {description}")

  path = find('candidate_set_entities.jsonl', 'file of entities')
  pool: dict[str, bitext.Sentence] = {}
  for where, item in files.objects(path):
    name, text = files.texts(item, ('entity_id', 'description'), where)
    parts = (text[a:b] for a, b in _spans(item, text, where))
    _add(pool, bitext.Sentence(name, _line(' '.join(parts)), POOL, None, where))
  stem = f'{split}-{language}.json'
  path = find(f'wikinews_mentions/{stem}l', f'{split} file for {language!r}')
  places = [
    root / 'wikinews_labels' / stem for root in (folder, folder / 'mewslix')
  ]
  labels_path = files.first(places)
  gold = {} if labels_path is None else _gold(labels_path, pool)
  queries: dict[str, bitext.Sentence] = {}
  for where, item in files.objects(path):
    context = _get(item, 'context', dict, where)
    (text,) = files.texts(context, ('text',), where)
    spans = _spans(context, text, where)
    for mention in _get(item, 'mentions', list, where):
      (name,) = files.texts(mention, ('example_id',), where)
      query = _query(_get(mention, 'mention_span', dict, where), text, spans)
      if query is None:
        raise ValueError(f'{where}: the mention {name!r} is not in a sentence')
      label = gold.get(name)
      _add(queries, bitext.Sentence(name, query, QUERY, label, where))
  return [*pool.values(), *queries.values()]


def _query(span: Mapping, text: str, spans) -> str | None:
  """A mention in its sentence; None where it is not in one."""
  try:
    start, end, name = span['start'], span['end'], span['text']
    inside = [(a, b) for a, b in spans if a <= start < end <= b]
  except (KeyError, TypeError):
    return None
  if not inside or text[start:end] != name:
    return None
  first, last = inside[0]
  left, right = (
    _BRACED.sub(r'(\1)', part) for part in (text[first:start], text[end:last])
  )
  return _line(f'{name}: {left} {{ {name} }} {right}')


def _line(text: str) -> str:
  """A text in one line, two spaces as one, as XTREME-R's script has it."""
  return ' '.join(text.splitlines()).replace('  ', ' ').strip()


def _spans(item: Mapping, text: str, where: str) -> list[tuple[int, int]]:
  """(first, end) of the sentences of a text."""
  out = []
  for span in _get(item, 'sentence_spans', list, where):
    first, end = (
      _get(span, key, int, where) if isinstance(span, Mapping) else -1
      for key in ('start', 'end')
    )
    if not 0 <= first < end <= len(text):
      raise ValueError(f'{where}: sentence_spans has {span!r}, not in the text')
    out.append((first, end))
  return out


def _gold(path: str, pool: Mapping) -> dict[str, tuple[str, ...]]:
  """The right entities of each mention; a mention without any is left out."""
  labels = files.document(path)
  out = {}
  for name in labels if isinstance(labels, dict) else {'the file': None}:
    ids = tuple(_get(labels, name, list, path))
    for entity in ids:
      if entity not in pool:
        raise ValueError(f'{path}: {name!r} has {entity!r}, no candidate')
    if ids:
      out[name] = ids
  return out


def _get(item: Mapping, key: str, kind: type, where: str) -> Any:
  value = item.get(key) if isinstance(item, Mapping) else None
  if not isinstance(value, kind):
    raise ValueError(f'{where}: {key!r} is not a {kind.__name__}: {value!r}')
  return value


def _add(texts: dict[str, bitext.Sentence], text: bitext.Sentence) -> None:
  if text.id in texts:
    raise ValueError(
      f'{text.where}: the id {text.id!r} stands at {texts[text.id].where}'
    )
  texts[text.id] = text
