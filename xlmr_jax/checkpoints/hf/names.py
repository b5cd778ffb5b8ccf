"""Hugging Face's words: their config.json and key names ↔ ours.

The key table is derived from PLAN: a module's path here ↔ its path there
(NAMES), and a leaf's name (LEAVES). Their Linear weights are [out, in], our
kernels [in, out]; their layers are separate tensors, ours are stacked.
"""

from collections.abc import Mapping
import dataclasses
import re
from typing import Any

from xlmr_jax import heads
from xlmr_jax.model import ACTIVATIONS, Config

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

# Config field → (their key, their default; None: the key must be there). The
# defaults are those of their configuration classes, not those of the models.
FACTS = {
  'vocab_size': ('vocab_size', None),
  'num_layers': ('num_hidden_layers', None),
  'model_dim': ('hidden_size', None),
  'num_heads': ('num_attention_heads', None),
  'ff_dim': ('intermediate_size', None),
  'max_positions': ('max_position_embeddings', None),
  'type_vocab_size': ('type_vocab_size', 2),
  'pad_id': ('pad_token_id', 1),
  'norm_eps': ('layer_norm_eps', 1e-12),
  'activation': ('hidden_act', 'gelu'),
  'dropout': ('hidden_dropout_prob', 0.1),
  'attention_dropout': ('attention_probs_dropout_prob', 0.1),
  'init_std': ('initializer_range', 0.02),
  'causal': ('is_decoder', False),
}
XL_DEFAULTS = {'type_vocab_size': 1, 'norm_eps': 1e-5}

# Keys of the head 'estimate': its two hidden sizes, whether the states of each
# depth are normalised, and how the weights of the depths are made.
ESTIMATOR_SIZES, NORM = 'estimator_sizes', 'layer_norm'
MIX = 'layer_transformation'
# Both are a softmax. COMET until 2.2.3 computed one where a unified metric's
# settings said sparsemax; later ones compute what it says, and the settings of
# the models from before were changed to the second word.
SOFTMAX = ('softmax', 'sparsemax_patch')

# model_type → why its weights are not this body, however alike the names are.
LOOK_ALIKES = {
  'bert': "a BERT body, whatever its tokenizer is: XLM-R's positions and "
  'LayerNorms are elsewhere',
  'longformer': 'a Longformer: its attention is windowed',
  'lilt': 'LiLT: its layers also read where words stand on a page',
  'liltrobertalike': 'LiLT: its layers also read where words stand on a page',
  'jina_embeddings_v3': 'jina-embeddings-v3: its positions are rotary and its '
  'layers carry LoRA adapters',
  'xlm': 'XLM, the model before XLM-R: another body',
  'mpnet': 'MPNet: its attention has a relative bias',
  'deberta-v2': 'DeBERTa: its attention is relative',
  'modernbert': 'ModernBERT: its positions are rotary',
  'eurobert': 'EuroBERT: its positions are rotary',
}

# Key → its harmless value, and what any other value means.
REFUSED = {
  'auto_map': (None, 'the model brings code of its own, so its body differs'),
  'attention_window': (None, 'it is a Longformer: its attention is windowed'),
  'lora_adaptations': (None, 'its body carries LoRA adapters'),
  'rotary_emb_base': (None, 'its positions are rotary, not learned'),
  'position_embedding_type': (
    'absolute',
    'only learned absolute positions are supported',
  ),
  'add_cross_attention': (False, 'cross-attention is not supported'),
  'quantization_config': (None, 'its weights are quantized'),
}


# --- config.json ↔ Config ---------------------------------------------------


def config_from_hf(config_json: Mapping[str, Any]) -> Config:
  """Their config.json → Config.

  Raises:
    ValueError: a size is missing, or the model has another body or head.
  """
  kind = config_json.get('model_type')
  names = config_json.get('architectures') or []
  if not isinstance(kind, str | None) or not (
    isinstance(names, list) and all(isinstance(name, str) for name in names)
  ):
    raise ValueError(
      'config.json: model_type should be a word and architectures a list of '
      f'words, not {kind!r} and {names!r}'
    )
  for key, (harmless, why) in REFUSED.items():
    value = config_json.get(key, harmless)
    if value and value != harmless:
      raise ValueError(f'config.json: {key} = {value!r}: {why}')
  if kind not in MODEL_TYPES:
    why = LOOK_ALIKES.get(kind, 'its body is another one')
    raise ValueError(
      f'config.json: model_type {kind!r} is not one of '
      f'{", ".join(MODEL_TYPES)}: {why}'
    )
  known = [p + s for p in MODEL_TYPES.values() for s in HEADS.values()]
  if names and names[0] not in known:
    suffixes = ', '.join(dict.fromkeys(HEADS.values()))
    raise ValueError(
      f'config.json: architecture {names[0]!r} is not one of '
      f'{", ".join(MODEL_TYPES.values())} followed by {suffixes}'
    )
  xl = is_xl(config_json)
  fields = {}
  for field, (key, default) in FACTS.items():
    if xl:
      default = XL_DEFAULTS.get(field, default)
    value = config_json.get(key, default)
    if value is None:
      raise ValueError(f'config.json: {key} is missing')
    kinds = type(getattr(Config(), field))
    good = (int, float) if kinds is float else kinds
    if not isinstance(value, good) or isinstance(value, bool) != (
      kinds is bool
    ):
      raise ValueError(
        f'config.json: {key} = {value!r} should be of type {kinds.__name__}'
      )
    fields[field] = kinds(value)
  if fields['activation'] not in ACTIVATIONS:
    raise ValueError(
      f'config.json: hidden_act {fields["activation"]!r} is not one of '
      f'{", ".join(ACTIVATIONS)}'
    )
  return Config(**fields, **_estimator(config_json), pre_norm=xl)


def _estimator(config_json: Mapping[str, Any]) -> dict[str, Any]:
  """Config's fields of the head 'estimate', where there is one."""
  if ESTIMATOR_SIZES not in config_json:
    return {}
  check_mix('config.json', config_json.get(MIX))
  sizes, norm = config_json[ESTIMATOR_SIZES], config_json.get(NORM)
  kinds = [type(size) for size in sizes] if type(sizes) is list else None
  if kinds != [int, int] or min(sizes) < 1:
    raise ValueError(
      f'config.json: {ESTIMATOR_SIZES} = {sizes!r} is not two sizes, and an '
      'estimator has two hidden layers'
    )
  if type(norm) is not bool:
    raise ValueError(f'config.json: {NORM} = {norm!r} should be true or false')
  return {'estimator': tuple(sizes), 'estimator_norm': norm}


def check_mix(where: str, how: Any) -> None:
  """Raises ValueError unless depths are weighted by a softmax."""
  if how not in SOFTMAX:
    raise ValueError(
      f'{where}: {MIX} = {how!r}: the weights of the layers are supported as a '
      f'softmax only ({", ".join(SOFTMAX)})'
    )


def estimator_keys(config: Config) -> dict[str, Any]:
  """config.json's keys of the head 'estimate'."""
  sizes = list(config.estimator)
  return {ESTIMATOR_SIZES: sizes, NORM: config.estimator_norm, MIX: SOFTMAX[0]}


def is_xl(config_json: Mapping[str, Any]) -> bool:
  """Whether it is XL's body; a revision of XXL says so by its class alone."""
  names = config_json.get('architectures') or ['']
  return config_json.get('model_type') == XL or MODEL_TYPES[XL] in names[0]


def config_to_hf(
  config: Config,
  head: str | None = None,
  labels: tuple[str, ...] | None = None,
  *,
  tied: bool = True,
  dtype: str = 'float32',
  base: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
  """Config → their config.json, as transformers 5 writes it.

  Args:
    config: the model.
    head: its head: decides `architectures`.
    labels: names by id, for heads that have them.
    tied: the decoder is the token table.
    dtype: of the parameters.
    base: a config.json whose other keys (model_type, ids of <s> and </s>,
      whatever else somebody wrote) are kept.
  """
  base = dict(base or {})
  kind = XL if config.pre_norm else base.get('model_type', 'xlm-roberta')
  for key in ('torch_dtype', 'transformers_version', '_name_or_path'):
    base.pop(key, None)
  if labels is None or labels != label_names(base):
    base.pop('problem_type', None)
  for key in ('id2label', 'label2id', 'num_labels', '_num_labels'):
    base.pop(key, None)
  if ESTIMATOR_SIZES in base:
    for key in (ESTIMATOR_SIZES, NORM, MIX):
      base.pop(key, None)
  facts = {key: getattr(config, name) for name, (key, _) in FACTS.items()}
  out = {
    'add_cross_attention': False,
    'bos_token_id': 0,
    'classifier_dropout': None,
    'eos_token_id': 2,
    'use_cache': True,
    **base,
    **facts,
    'architectures': [MODEL_TYPES[kind] + HEADS[head]],
    'dtype': dtype,
    'model_type': kind,
    'tie_word_embeddings': tied,
  }
  if heads.HEADS[head].labelled:
    out |= label_keys(labels)
  if heads.HEADS[head].all_depths:
    out |= estimator_keys(config)
  return dict(sorted(out.items()))


def label_keys(labels: tuple[str, ...]) -> dict[str, dict]:
  return {
    'id2label': {str(i): name for i, name in enumerate(labels)},
    'label2id': {name: i for i, name in enumerate(labels)},
  }


def label_names(config_json: Mapping[str, Any]) -> tuple[str, ...]:
  """Names by id; theirs default to two classes, LABEL_0 and LABEL_1."""
  names = config_json.get('id2label')
  if not names:
    count = config_json.get('num_labels', config_json.get('_num_labels', 2))
    if type(count) is not int or count < 1:
      raise ValueError(f'config.json: num_labels = {count!r} is no number')
    return tuple(f'LABEL_{i}' for i in range(count))
  if not isinstance(names, dict):
    raise ValueError(f'config.json: id2label = {names!r} should be an object')
  count = config_json.get('num_labels', len(names))
  if count != len(names):
    raise ValueError(
      f'config.json: num_labels = {count!r}, and id2label names {len(names)}'
    )
  if set(names) != {str(i) for i in range(len(names))}:
    raise ValueError(
      f'config.json: the ids of id2label are not 0 to {len(names) - 1}: '
      f'{", ".join(names)}'
    )
  return tuple(str(names[str(i)]) for i in range(len(names)))


def placeholder(labels: tuple[str, ...] | None) -> bool:
  """Whether labels are transformers' LABEL_0, LABEL_1...: nobody's names."""
  return labels == tuple(f'LABEL_{i}' for i in range(len(labels or ())))


# --- Keys ↔ paths -----------------------------------------------------------


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
  row = heads.HEADS[head]
  sizes = {
    'vocab': config.vocab_size,
    'ff': config.ff_dim,
    'layers': config.num_layers,
    'positions': config.max_positions,
    'types': config.type_vocab_size,
    'classes': row.outputs or classes,
    **dict.fromkeys(('model', 'width', 'heads', 'norm'), config.model_dim),
  }
  own = {**sizes, **row.sizes(config)}  # the head's
  names = {**NAMES, **(XL_NAMES if config.pre_norm else {})}
  names |= HEAD_NAMES[head]
  rows = {}
  for path, dims in heads.plan(config, head).items():
    if path.startswith('pooler/') and (not pooler or takes_pooler(head)):
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
    if tied:
      rows[DECODER] = rows[NAMES['encoder/embed/tokens']]
    rows[DECODER_BIAS] = rows[BIAS]
  return rows


def promised_head(config_json: Mapping[str, Any]) -> str | None:
  """The head that config.json's class has."""
  name = (config_json.get('architectures') or [HEADS[None]])[0]
  return next(h for h, suffix in HEADS.items() if name.endswith(suffix))


def head_starts() -> set[str]:
  """The first words of the keys of heads; choosing's pooler is the body's."""
  keys = {key for names in HEAD_NAMES.values() for key in names.values()}
  return {key.partition('.')[0] for key in keys} - {'pooler'}


def held_heads(
  config_json: Mapping[str, Any], tensors: Mapping[str, Any]
) -> list[str]:
  """The heads that files hold, by their keys without a prefix."""
  promised = promised_head(config_json)
  starts = {key.partition('.')[0] for key in tensors}
  own = {
    head: {key.partition('.')[0] for key in names.values()}
    for head, names in HEAD_NAMES.items()
  }
  # Three heads have keys of this start alone.
  shared = {'classifier', 'pooler', 'layerwise_attention'}
  held = [head for head, words in own.items() if words & starts - shared]
  if own['mlm'] & starts:  # two heads with the same keys
    held.remove('mlm' if promised == 'causal' else 'causal')
  if 'classifier' in starts and 'crf' not in held:
    if 'classifier.weight' not in tensors:
      held.append('classify')
    elif promised in ('tag', 'choose'):
      held.append(promised)
    else:
      rows = tensors['classifier.weight'].shape[0]
      held.append('choose' if rows == 1 and 'pooler' in starts else 'tag')
  return held


def takes_pooler(head: str | None) -> bool:
  """Whether the head's dense layer is what the body alone calls its pooler."""
  return NAMES['pooler/dense'] in HEAD_NAMES[head].values()


def prefix(key: str) -> str:
  """The name of the base model that a key starts with, or ''."""
  return next((p for p in PREFIXES if key.startswith(p)), '')


def canonical(key: str) -> str:
  """A key as today's files spell it: no prefix, no TensorFlow-era names."""
  key = key.removeprefix(prefix(key))
  key = re.sub(r'(LayerNorm|layer_norm)\.gamma$', r'\1.weight', key)
  return re.sub(r'(LayerNorm|layer_norm)\.beta$', r'\1.bias', key)
