"""Hugging Face's key names ↔ our parameter paths.

The key table is derived from the floor plan: a module's path here ↔ its path
there (NAMES), and a leaf's name (LEAVES). Their Linear weights are [out, in],
our kernels [in, out]; their layers are separate tensors, ours are stacked.
"""

import dataclasses
import re

from xlmr_jax import heads
from xlmr_jax.model import Config

# model_type → prefix of its class names. All but XL share one body.
XL = 'xlm-roberta-xl'
MODEL_TYPES = {
  'xlm-roberta': 'XLMRoberta',
  XL: 'XLMRobertaXL',
  'roberta': 'Roberta',
  'camembert': 'Camembert',
}

# Our head → suffix of the class name.
HEADS = {
  None: 'Model',
  'mlm': 'ForMaskedLM',
  'causal': 'ForCausalLM',
  'classify': 'ForSequenceClassification',
  'choose': 'ForMultipleChoice',
  'tag': 'ForTokenClassification',
  'crf': 'ForTokenClassification',  # and keys that transformers ignores
  'answer': 'ForQuestionAnswering',
  'm3': 'Model',  # and two files beside the model's
  'estimate': 'ForEstimation',  # no class of transformers: COMET-Kiwi's
}

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
}
# What XL and XXL call otherwise.
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
HEAD_NAMES = {
  None: {},
  'mlm': _LM_NAMES,
  'causal': _LM_NAMES,
  'classify': {
    'head/dense': 'classifier.dense',
    'head/out': 'classifier.out_proj',
  },
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
LEAVES = {'kernel': 'weight', 'scale': 'weight', 'bias': 'bias'}

# A tied decoder is the token table, and its bias is BIAS: files hold one of
# the two names or both.
DECODER, DECODER_BIAS = HEAD_NAMES['mlm']['head/table'], 'lm_head.decoder.bias'
BIAS = HEAD_NAMES['mlm']['head/bias']

# Buffers of known content: 0, 1, 2, ...; zeros; -1e20.
BUFFERS = (
  'embeddings.position_ids',
  'embeddings.token_type_ids',
  'layerwise_attention.dropout_mask',
  'layerwise_attention.dropout_fill',
)

# Their name of the base model inside a model with a head; today the first.
PREFIXES = ('roberta.', 'xlm-roberta.', 'xlm_roberta.', 'camembert.')
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
) -> dict[str, Row]:
  """Their key (without prefix) → Row, for every key such a model may have."""
  sizes = {
    'vocab': config.vocab_size,
    'ff': config.ff_dim,
    'layers': config.num_layers,
    'positions': config.max_positions,
    'types': config.type_vocab_size,
    'classes': heads.OUTPUTS.get(head, classes),
    **dict.fromkeys(('model', 'width', 'heads', 'norm'), config.model_dim),
  }
  own = sizes  # the head's
  if head == 'estimate':
    first, second = heads.hidden_sizes(config)
    depths = config.num_layers + 1
    own = {**sizes, 'layers': depths, 'ff': first, 'width': second}
  names = {**NAMES, **(XL_NAMES if config.pre_norm else {})}
  names |= HEAD_NAMES[head]
  rows = {}
  for path, dims in heads.plan(config, head).items():
    if path.startswith('pooler/') and (not pooler or head == 'choose'):
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
  if head in heads.LANGUAGE:
    if tied:
      rows[DECODER] = rows[NAMES['encoder/embed/tokens']]
    rows[DECODER_BIAS] = rows[BIAS]
  return rows


def prefix(key: str) -> str:
  """The name of the base model that a key starts with, or ''."""
  return next((p for p in PREFIXES if key.startswith(p)), '')


def canonical(key: str) -> str:
  """A key as today's files spell it: no prefix, no TensorFlow-era names."""
  key = key.removeprefix(prefix(key))
  key = re.sub(r'(LayerNorm|layer_norm)\.gamma$', r'\1.weight', key)
  return re.sub(r'(LayerNorm|layer_norm)\.beta$', r'\1.bias', key)
