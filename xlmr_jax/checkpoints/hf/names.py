"""Hugging Face's key names ↔ our parameter paths.

The key table is derived from the floor plan: a module's path here ↔ its path
there (NAMES), and a leaf's name (LEAVES). Their Linear weights are [out, in],
our kernels [in, out]; their layers are separate tensors, ours are stacked.
BERT's files differ in the names of heads alone.
"""

from collections.abc import Mapping
import dataclasses
import re
from typing import Any, NamedTuple

from xlmr_jax import heads
from xlmr_jax.model import Config

# model_type → prefix of its class names. All but XL and BERT share one body.
XL, BERT = 'xlm-roberta-xl', 'bert'
MODEL_TYPES = {
  'xlm-roberta': 'XLMRoberta',
  XL: 'XLMRobertaXL',
  'roberta': 'Roberta',
  'camembert': 'Camembert',
  BERT: 'Bert',
}

# Our head → suffix of the class name.
HEADS = {
  None: 'Model',
  'mlm': 'ForMaskedLM',
  'causal': 'ForCausalLM',
  'classify': 'ForSequenceClassification',
  'multilabel': 'ForSequenceClassification',  # told apart by problem_type
  'choose': 'ForMultipleChoice',
  'tag': 'ForTokenClassification',
  'crf': 'ForTokenClassification',  # and keys that transformers ignores
  'answer': 'ForQuestionAnswering',
  'm3': 'Model',  # and two files beside the model's
  'estimate': 'ForEstimation',  # no class of transformers: COMET-Kiwi's
}
# BERT's own: masked LM that keeps the pooler and the scores of two sentences.
PRETRAINING = 'ForPreTraining'
# What its classes are called otherwise.
BERT_HEADS: dict[str | None, str] = {'causal': 'LMHeadModel'}

# PEFT's task types → our heads.
TASK_TYPES = {
  'SEQ_CLS': 'classify',
  'TOKEN_CLS': 'tag',
  'QUESTION_ANS': 'answer',
  'FEATURE_EXTRACTION': None,
}

# problem_type of config.json, where it decides what a head's scores mean.
PROBLEMS = {'multilabel': 'multi_label_classification'}
# The same of a head without names of classes, whose one score is a number.
NUMBER = 'regression'

# Our module (or leaf, where theirs has another shape) → theirs.
NAMES = {
  'encoder/embed/tokens': 'embeddings.word_embeddings.weight',
  'encoder/embed/types': 'embeddings.token_type_embeddings.weight',
  'encoder/embed/positions': 'embeddings.position_embeddings.weight',
  'encoder/embed/norm': 'embeddings.LayerNorm',
  'encoder/layers/attention/query': 'encoder.layer.{}.attention.self.query',
  'encoder/layers/attention/key': 'encoder.layer.{}.attention.self.key',
  'encoder/layers/attention/value': 'encoder.layer.{}.attention.self.value',
  'encoder/layers/attention/out': 'encoder.layer.{}.attention.output.dense',
  'encoder/layers/attention_norm': (
    'encoder.layer.{}.attention.output.LayerNorm'
  ),
  'encoder/layers/ff/up': 'encoder.layer.{}.intermediate.dense',
  'encoder/layers/ff/down': 'encoder.layer.{}.output.dense',
  'encoder/layers/ff_norm': 'encoder.layer.{}.output.LayerNorm',
  'pooler/dense': 'pooler.dense',
  'pooler/next_sentence': 'cls.seq_relationship',
}
# Names that XL and XXL spell otherwise.
XL_NAMES = {
  'encoder/layers/attention_norm': (
    'encoder.layer.{}.attention.self_attn_layer_norm'
  ),
  'encoder/layers/ff_norm': 'encoder.layer.{}.LayerNorm',
  'encoder/norm': 'encoder.LayerNorm',
}
_LM_NAMES = {
  'head/dense': 'lm_head.dense',
  'head/norm': 'lm_head.layer_norm',
  'head/bias': 'lm_head.bias',
  'head/table': 'lm_head.decoder.weight',
}
_CLASSIFY_NAMES = {
  'head/dense': 'classifier.dense',
  'head/out': 'classifier.out_proj',
}
HEAD_NAMES = {
  None: {},
  'mlm': _LM_NAMES,
  'causal': _LM_NAMES,
  'classify': _CLASSIFY_NAMES,
  'multilabel': _CLASSIFY_NAMES,
  'choose': {'head/dense': 'pooler.dense', 'head/out': 'classifier'},
  'tag': {'head/out': 'classifier'},
  'crf': {
    'head/out': 'classifier',
    'head/transitions': 'crf.transitions',  # as pytorch-crf names them
    'head/start': 'crf.start_transitions',
    'head/end': 'crf.end_transitions',
  },
  'answer': {'head/out': 'qa_outputs'},
  'm3': {'head/sparse': 'sparse_linear', 'head/colbert': 'colbert_linear'},
  'estimate': {
    'head/scalars': 'layerwise_attention.scalar_parameters.{}',
    'head/gamma': 'layerwise_attention.gamma',
    'head/first': 'estimator.ff.0',  # between them: tanh, dropout
    'head/second': 'estimator.ff.3',
    'head/out': 'estimator.ff.6',
  },
}
_BERT_LM_NAMES = {
  'head/dense': 'cls.predictions.transform.dense',
  'head/norm': 'cls.predictions.transform.LayerNorm',
  'head/bias': 'cls.predictions.bias',
  'head/table': 'cls.predictions.decoder.weight',
}
# Of BERT's heads, those with other keys.
BERT_HEAD_NAMES: dict[str | None, dict[str, str]] = {
  'mlm': _BERT_LM_NAMES,
  'causal': _BERT_LM_NAMES,
  # Dense, tanh, out, as in RoBERTa's; but the dense layer is the pooler.
  'classify': HEAD_NAMES['choose'],
  'multilabel': HEAD_NAMES['choose'],
}
LEAVES = {'kernel': 'weight', 'scale': 'weight', 'bias': 'bias'}

# Buffers of known content: 0, 1, 2, ...; zeros; -1e20.
BUFFERS = (
  'embeddings.position_ids',
  'embeddings.token_type_ids',
  'layerwise_attention.dropout_mask',
  'layerwise_attention.dropout_fill',
)

# Their name of the base model inside a model with a head; today the first.
PREFIXES = ('roberta.', 'xlm-roberta.', 'xlm_roberta.', 'camembert.', 'bert.')
# What wraps a model in a training, by itself or one around the other: in front
# of a key (DDP, Lightning, PEFT), or anywhere in it (torch.compile, FSDP).
WRAPPER_STARTS = re.compile(r'^(?:(?:module|model|base_model)\.)+')
WRAPPERS = re.compile(
  r'(?<![^.])(?:_orig_mod|_fsdp_wrapped_module|_forward_module'
  r'|_checkpoint_wrapped_module)\.'
)
# A training's loss is saved beside its model where it has weights by class.
LOSS = re.compile(
  r'(?:.+\.)?(?:(?:loss|loss_fct|loss_fn|loss_func|criterion)\.'
  r'(?:weight|pos_weight)|class_weights?|label_weights?|pos_weight)'
)
# How the base model's keys go on.
BODY = ('embeddings.', 'encoder.', 'pooler.')


@dataclasses.dataclass(frozen=True)
class Row:
  """Where one of their tensors lives in our tree.

  Attributes:
    path: of the leaf.
    layer: index into a stacked leaf, or None.
    shape: of their tensor.
    leaf: shape of our leaf.
    flip: theirs is transposed.
  """

  path: str
  layer: int | None
  shape: tuple[int, ...]
  leaf: tuple[int, ...]
  flip: bool


def table(
  config: Config,
  head: str | None = None,
  classes: int = 0,
  *,
  tied: bool = True,
  pooler: bool = False,
  next_sentence: bool = False,
) -> dict[str, Row]:
  """Their key (without prefix) → Row, for every key such a model may have."""
  row = heads.HEADS[head]
  kept = ('pooler/dense/',) * (pooler and not takes_pooler(config.bert, head))
  kept += ('pooler/next_sentence/',) * next_sentence
  sizes = {
    'vocab': config.vocab_size,
    'ff': config.ff_dim,
    'layers': config.num_layers,
    'positions': config.max_positions,
    'types': config.type_vocab_size,
    'classes': 2,  # of next_sentence
    **dict.fromkeys(('model', 'width', 'heads', 'norm'), config.model_dim),
  }
  own = {**sizes, 'classes': row.outputs or classes, **row.sizes(config)}
  names = {**NAMES, **(XL_NAMES if config.pre_norm else {})}
  names |= head_names(config.bert)[head]
  rows = {}
  for path, dims in heads.plan(config, head).items():
    if path.startswith('pooler/') and not path.startswith(kept):
      continue
    if path.startswith('projection/'):  # in files of its own (projection.py)
      continue
    if path == 'head/table' and tied:
      continue
    module, leaf = path.rsplit('/', 1)
    key = names.get(path) or f'{names[module]}.{LEAVES[leaf]}'
    flip = leaf == 'kernel'
    stacked = dims[0] == 'layers'
    known = own if path.startswith('head/') else sizes
    ours = tuple(known[d] for d in dims)
    shape = ours[1:] if stacked else ours
    shape = shape[::-1] if flip else shape
    for layer in range(ours[0]) if stacked else (None,):
      rows[key.format(layer)] = Row(path, layer, shape, ours, flip)
  if row.language:
    keys = language_keys(config.bert)
    if tied:
      rows[keys.decoder] = rows[NAMES['encoder/embed/tokens']]
    rows[keys.decoder_bias] = rows[keys.bias]
  return rows


def head_names(bert: bool) -> Mapping[str | None, Mapping[str, str]]:
  """Head → our module → theirs, in files of BERT or of all others."""
  return {**HEAD_NAMES, **BERT_HEAD_NAMES} if bert else HEAD_NAMES


class LanguageKeys(NamedTuple):
  """A tied decoder is the token table, and its bias is `bias`.

  Files hold one of the two names of the bias or both.
  """

  decoder: str
  decoder_bias: str
  bias: str


def language_keys(bert: bool) -> LanguageKeys:
  """Keys of a language head of which files may hold a second copy."""
  names = head_names(bert)['mlm']
  decoder, bias = names['head/table'], names['head/bias']
  return LanguageKeys(decoder, decoder.replace('.weight', '.bias'), bias)


def class_name(kind: str, head: str | None, next_sentence: bool = False) -> str:
  """The class of transformers for a model_type and a head."""
  if kind == BERT:
    both = next_sentence and head == 'mlm'
    name = PRETRAINING if both else BERT_HEADS.get(head, HEADS[head])
    return MODEL_TYPES[BERT] + name
  return MODEL_TYPES[kind] + HEADS[head]


def class_names() -> list[str]:
  """All classes of transformers that are known here."""
  out = [class_name(kind, head) for kind in MODEL_TYPES for head in HEADS]
  return [*out, class_name(BERT, 'mlm', next_sentence=True)]


def suffixes() -> dict[str, str | None]:
  """How the names of classes end → our head."""
  out: dict[str, str | None] = {}
  for names in (HEADS, BERT_HEADS):
    for head, suffix in names.items():
      out.setdefault(suffix, head)
  return {**out, PRETRAINING: 'mlm'}


def promised_head(config_json: Mapping[str, Any]) -> str | None:
  """The head that config.json's class has."""
  name = (config_json.get('architectures') or [HEADS[None]])[0]
  ends = suffixes()
  head = ends[max(filter(name.endswith, ends), key=len)]
  return of_problem(head, config_json)


def of_problem(head: str | None, config_json: Mapping[str, Any]) -> str | None:
  """The head with the same class that config.json's problem_type means."""
  for name, problem in PROBLEMS.items():
    same = HEADS[name] == HEADS[head]
    if same and config_json.get('problem_type') == problem:
      return name
  return head


def problem_of(
  head: str | None, labels: tuple[str, ...] | None, classes: int
) -> str | None:
  """The problem_type that a head must have; None where any will do."""
  if labels is None and classes == 1 and HEADS[head] == HEADS['classify']:
    return NUMBER
  return PROBLEMS.get(head or '')


def head_starts(bert: bool) -> set[str]:
  """The first words of the keys of heads; a pooler is the body's."""
  keys = {k for names in head_names(bert).values() for k in names.values()}
  return {key.partition('.')[0] for key in keys} - {'pooler'}


def held_heads(
  config_json: Mapping[str, Any], tensors: Mapping[str, Any]
) -> list[str]:
  """The heads that files hold, by their keys without a prefix."""
  promised = promised_head(config_json)
  bert = config_json.get('model_type') == BERT
  pair = NAMES['pooler/next_sentence'] + '.'  # which alone is no head
  starts = {k.partition('.')[0] for k in tensors if not k.startswith(pair)}
  own = {
    head: {key.partition('.')[0] for key in names.values()}
    for head, names in head_names(bert).items()
  }
  # Three heads have keys of this start alone.
  shared = {'classifier', 'pooler', 'layerwise_attention'}
  held = [h for h, words in own.items() if h and words & starts - shared]
  if own['mlm'] & starts:  # two heads with the same keys
    held.remove('mlm' if promised == 'causal' else 'causal')
  if 'classifier' in starts and 'crf' not in held:
    if 'classifier.weight' not in tensors:
      held.append('classify')
    elif promised in ('tag', 'choose') or bert and promised == 'classify':
      held.append(promised)
    elif bert:
      held.append('classify' if 'pooler' in starts else 'tag')
    else:
      rows = tensors['classifier.weight'].shape[0]
      held.append('choose' if rows == 1 and 'pooler' in starts else 'tag')
  return [of_problem(head, config_json) or head for head in held]


def takes_pooler(bert: bool, head: str | None) -> bool:
  """Whether the head's dense layer is what the body alone calls its pooler."""
  return NAMES['pooler/dense'] in head_names(bert)[head].values()


def prefix(key: str) -> str:
  """The name of the base model that a key starts with, or ''."""
  return next((p for p in PREFIXES if key.startswith(p)), '')


def body_prefix(bert: bool, head: str | None) -> str:
  """What today's files put in front of the body's keys."""
  if HEADS[head] == HEADS[None]:
    return ''
  return f'{BERT}.' if bert else PREFIXES[0]


def bare(key: str) -> str:
  """A key without what a training's wrappers put into it."""
  return WRAPPERS.sub('', WRAPPER_STARTS.sub('', WRAPPERS.sub('', key)))


def canonical(key: str) -> str:
  """A key as today's files spell it: no prefix, no TensorFlow-era names."""
  key = bare(key)
  key = key.removeprefix(prefix(key))
  key = re.sub(r'(LayerNorm|layer_norm)\.gamma$', r'\1.weight', key)
  return re.sub(r'(LayerNorm|layer_norm)\.beta$', r'\1.bias', key)
