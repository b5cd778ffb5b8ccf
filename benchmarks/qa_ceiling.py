"""The best that answers made of whole tokens can score, by brute force.

  python benchmarks/qa_ceiling.py --data_dir=DATA [--tasks=xquad,mlqa,...]

DATA holds xquad/, mlqa/, clue/ and tokenizers/xlm-roberta/. An answer that
starts or ends inside a token cannot be given, nor can one above the longest.
For each question every span of tokens of its context is scored, which knows
nothing of windows, labels or the decoder; then

  ceiling     is what the best spans score,
  any length  what they score if they may be of any length (slow: only with
              --any_length),
  labels      what the decoder makes of perfect scores for tasks.answer's
              labels, which are placed by characters and know no metric,
  oracle      what it makes of perfect scores for the best spans: it must be
              the ceiling, exactly, or the command fails.

Figures are exact match / F1, per cent.
"""

from collections.abc import Callable, Sequence
import functools
import pathlib
import re
import sys
import time

from absl import app, flags
import numpy as np

from xlmr_jax.data.readers import squad, xtreme_questions
from xlmr_jax.data.readers.squad import Question
from xlmr_jax.data.tokenizers.base import BaseTokenizer
from xlmr_jax.data.tokenizers.xlmr import Tokenizer
from xlmr_jax.eval.metrics import answers
from xlmr_jax.tasks import answer, answer_spans

FLAGS = flags.FLAGS

# (text, right answers) → exact match and F1, 0 to 1.
Score = Callable[[str, Sequence[str]], tuple[float, float]]


def by_squad(text: str, gold: Sequence[str]) -> tuple[float, float]:
  got = answers.squad([text], [gold])
  return got['exact_match'] / 100, got['f1'] / 100


def by_mlqa(
  text: str, gold: Sequence[str], language: str
) -> tuple[float, float]:
  got = answers.mlqa([text], [gold], language)
  return got['exact_match'] / 100, got['f1'] / 100


# CMRC 2018's script takes the longest common run of its tokens, Han letters
# and words, for what two answers share. Words are what \w+ finds here; the
# script cuts them by NLTK, which matters for a few foreign names.
_MARKS = re.compile(
  '[' + re.escape('-:_*^/\\~`+=，。：？！“”；’《》·、「」（）－～『』') + ']'
)


def by_cmrc(text: str, gold: Sequence[str]) -> tuple[float, float]:
  plain = lambda t: _MARKS.sub('', t.lower().strip())
  ours = _cmrc_tokens(text)
  exact = f1 = 0.0
  for right in gold:
    exact = max(exact, plain(text) == plain(right))
    theirs = _cmrc_tokens(right)
    both = len(ours) + len(theirs)
    if not both or 2 * min(len(ours), len(theirs)) / both <= f1:
      continue  # not even all of them would be better
    f1 = max(f1, 2 * _common_run(ours, theirs) / both)
  return float(exact), f1


@functools.lru_cache(maxsize=4096)
def _cmrc_tokens(text: str) -> tuple[str, ...]:
  text = _MARKS.sub(' ', text.lower())
  return tuple(re.findall(r'[\u4e00-\u9fa5]|[^\W\u4e00-\u9fa5]+|[^\w\s]', text))


def _common_run(a: Sequence[str], b: Sequence[str]) -> int:
  best, row = 0, [0] * (len(b) + 1)
  for x in a:
    row = [0] + [row[k] + 1 if x == y else 0 for k, y in enumerate(b)]
    best = max(best, *row)
  return best


def best_span(
  question: Question,
  spans: Sequence[tuple[int, int]],
  score: Score,
  longest: int,
) -> tuple[float, float, int, int]:
  """Exact match, F1, first and last token of the best of all spans.

  All are scored, those next to the answer first, until one is perfect. One
  that ends with a lone ▁ reads as the one without it.
  """
  begin, end = np.array(spans).reshape(-1, 2).T
  first, last = np.indices((len(begin), len(begin)))
  held = (first <= last) & (last - first < longest) & (begin < end)
  first, last = first[held], last[held]
  text, start = question.label[0]
  far = abs(begin[first] - start) + abs(end[last] - start - len(text))
  gold = [text for text, _ in question.label]
  best = -1.0, 0.0, 0, 0
  seen: set[str] = set()
  for k in np.argsort(far, kind='stable'):
    i, j = int(first[k]), int(last[k])
    text = question.context[begin[i] : end[j]].strip()
    if not text or text in seen:
      continue
    seen.add(text)
    exact, f1 = score(text, gold)
    if exact + f1 > best[0] + best[1]:
      best = exact, f1, i, j
      if exact == f1 == 1.0:
        break
  return best


def perfect(feature, first: int, last: int) -> np.ndarray:
  """Outputs that say nothing but where the answer is."""
  out = np.zeros((len(feature['tokens']), 2), np.float32)
  out[first, 0] = out[last, 1] = 10.0
  return out


def oracle(features, found, spans) -> list[np.ndarray]:
  """Perfect outputs for the spans that `best_span` found, by characters."""
  out = []
  for feature in features:
    _, _, first, last = found[feature['example']]
    own = spans[feature['example']]
    inside = np.flatnonzero(feature['inside'])
    # Windows are runs of the context's tokens: this one's is known by where
    # it starts, of equal spans by what follows.
    window = [tuple(s) for s in feature['spans'][inside].tolist()]
    shift = next(
      k
      for k in range(len(own) - len(window) + 1)
      if own[k : k + len(window)] == window
    )
    if shift <= first and last < shift + len(window):
      at = inside[0] - shift
      out.append(perfect(feature, at + first, at + last))
    else:
      out.append(perfect(feature, 0, 0))
  return out


def average(predictions, questions, score: Score) -> tuple[float, float]:
  each = [
    score(text, [t for t, _ in q.label])
    for text, q in zip(predictions, questions, strict=True)
  ]
  exact, f1 = np.mean(each, axis=0) * 100
  return float(exact), float(f1)


def spans_of(
  questions: Sequence[Question], tokenizer: BaseTokenizer
) -> list[list[tuple[int, int]]]:
  """The tokens of each question's context, as characters of it."""
  contexts = list({q.context: None for q in questions})
  encoded = tokenizer.encode_batch(contexts, offsets=True)
  table = {c: s[1:-1] for c, (_, s) in zip(contexts, encoded, strict=True)}
  return [table[q.context] for q in questions]


def measure(
  questions: Sequence[Question],
  tokenizer: BaseTokenizer,
  score: Score,
  *,
  longest: int = 30,
  max_length: int = 384,
  any_length: bool = False,
) -> dict[str, tuple[float, float]]:
  """The columns of the table that the module describes."""
  spans = spans_of(questions, tokenizer)
  search = lambda most: [
    best_span(q, s, score, most) for q, s in zip(questions, spans, strict=True)
  ]
  mean = lambda found: tuple(100 * np.mean([f[:2] for f in found], axis=0))
  found = search(longest)
  more = {'any length': mean(search(1 << 20))} if any_length else {}
  features = answer.encode(questions, tokenizer, max_length=max_length)
  labels = [perfect(f, *np.maximum(f['label'], 0)) for f in features]
  decode = lambda scores: average(
    answer_spans.decode(scores, None, features, longest=longest),
    questions,
    score,
  )
  return {
    'ceiling': mean(found),
    **more,
    'labels': decode(labels),
    'oracle': decode(oracle(features, found, spans)),
  }


def rows(data: pathlib.Path, tasks: Sequence[str]):
  """(task, language, questions, score, options) of the table."""
  if 'xquad' in tasks:
    for language in 'en es de el ru tr ar vi th zh hi ro'.split():
      found = xtreme_questions.xquad(data / 'xquad', 'test', language)
      yield 'xquad', language, found, by_squad, {}
  if 'mlqa' in tasks:
    for language in 'en es de ar hi vi zh'.split():
      found = xtreme_questions.mlqa(data / 'mlqa', 'dev', language)
      score = functools.partial(by_mlqa, language=language)
      yield 'mlqa dev', language, found, score, {}
  # What CLUE's baseline decodes with.
  options = {'longest': 50, 'max_length': 512}
  clue = data / 'clue'
  for task, file in (
    ('cmrc2018', 'cmrc2018/squad-style-data/cmrc2018_dev.json'),
    ('drcd', 'drcd/DRCD_dev.json'),
  ):
    if task in tasks:
      found = squad.read(clue / file, skip_bad=True)
      yield f'{task} dev', 'zh', found, by_cmrc, options


def main(argv):
  del argv
  data = pathlib.Path(FLAGS.data_dir)
  tokenizer = Tokenizer(data / 'tokenizers' / 'xlm-roberta')
  columns = ['ceiling', 'labels', 'oracle']
  if FLAGS.any_length:
    columns.insert(1, 'any length')
  heads = ''.join(f'{c:>16}' for c in columns)
  print(f'{"task":16}{"questions":>12}{heads}{"seconds":>9}')
  missed = False
  for task, language, questions, score, options in rows(data, FLAGS.tasks):
    begin = time.perf_counter()
    got = measure(
      questions, tokenizer, score, any_length=FLAGS.any_length, **options
    )
    cells = [
      f'{exact:.2f} / {f1:.2f}' for exact, f1 in (got[c] for c in columns)
    ]
    seconds = time.perf_counter() - begin
    print(
      f'{task:13}{language:3}{len(questions):>12,}'
      + ''.join(f'{cell:>16}' for cell in cells)
      + f'{seconds:>9.1f}',
      flush=True,
    )
    missed |= got['ceiling'] != got['oracle']
  if missed:
    sys.exit('error: the decoder misses the ceiling')


if __name__ == '__main__':
  flags.DEFINE_string('data_dir', None, 'See above.', required=True)
  flags.DEFINE_list(
    'tasks', ['xquad', 'mlqa', 'cmrc2018', 'drcd'], 'Which to measure.'
  )
  flags.DEFINE_bool('any_length', False, 'See above.')
  app.run(main)
