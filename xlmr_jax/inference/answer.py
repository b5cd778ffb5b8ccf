"""The answer to a question in a text: the method answer of loaded.Loaded."""

from xlmr_jax.data.readers.squad import Question
from xlmr_jax.tasks import answer_spans
from xlmr_jax.tasks.kinds import kind_of_metric

MAX_LENGTH = 384  # tokens of a window, as in SQuAD's scripts
_KIND = kind_of_metric('squad')


def answer(
  model, question: str, context: str, null_threshold: float | None = None
) -> str | None:
  """The part of a context that answers a question, or None.

  >>> m.answer('Who owns the lamp?', 'Ada owns the lamp.')
  'Ada'

  Args:
    model: with an answer head.
    question: the question.
    context: a text of any length; it is read in windows.
    null_threshold: by how much no answer must beat the best span to be given;
      default: the checkpoint's own, which training on questions without an
      answer chooses. Without one every question is answered.

  Raises:
    ValueError: another head, no tokenizer, or what is no text.
  """
  if model.head not in _KIND.heads:
    raise ValueError(
      f'answering questions needs a checkpoint with an {_KIND.name} head, the '
      f'head of this one is {model.head or "missing"}'
    )
  if model.tokenizer is None:
    raise ValueError(
      'the checkpoint has no tokenizer: its texts are unreadable'
    )
  for name, text in (('question', question), ('context', context)):
    if not isinstance(text, str):
      raise ValueError(f'the {name} is {text!r}, not a text')
  asked = Question('', question, context, None, 'the question')
  length = min(MAX_LENGTH, model.max_length)
  features = _KIND.encode([asked], model.tokenizer, max_length=length)
  outputs = model.logits([feature['tokens'] for feature in features])
  spans, odds = answer_spans.best_spans(outputs, features)
  threshold = null_threshold
  if threshold is None:
    threshold = model.null_threshold
  if threshold is not None:
    spans = answer_spans.with_threshold(spans, odds, threshold)
  return spans[0] or None
