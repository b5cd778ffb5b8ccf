"""Hugging Face's config.json ↔ our Config."""

from collections.abc import Mapping
from typing import Any

from xlmr_jax import heads
from xlmr_jax.checkpoints.hf.names import (
  BERT,
  MODEL_TYPES,
  PROBLEMS,
  XL,
  class_name,
  class_names,
  suffixes,
)
from xlmr_jax.layers.activations import ACTIVATIONS
from xlmr_jax.model import Config
from xlmr_jax.tasks import schemes

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
BERT_DEFAULTS = {'pad_id': 0}

# Keys of the head 'estimate': its two hidden sizes, whether the states of each
# depth are normalised, and how the weights of the depths are made.
ESTIMATOR_SIZES, NORM = 'estimator_sizes', 'layer_norm'
MIX = 'layer_transformation'
# Both are a softmax. COMET until 2.2.3 computed one where a unified metric's
# settings said sparsemax; later ones compute what it says, and the settings of
# the models from before were changed to the second word.
SOFTMAX = ('softmax', 'sparsemax_patch')

# Key of the tagging scheme of a linear chain's labels, which transformers does
# not know.
SCHEME = 'tag_scheme'
# A key of ours: what was chosen on development examples, Weights.deciding.
DECIDING = 'xlmr_jax'

# model_type → why its weights are not this body, however alike the names are.
LOOK_ALIKES = {
  'distilbert': 'DistilBERT: its layers have other names and it has no token '
  'types',
  'albert': 'ALBERT: its layers share their parameters',
  'electra': 'ELECTRA: its embeddings may have another width, and its head is '
  'a discriminator',
  'rembert': 'RemBERT: its embeddings have another width',
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
    why = LOOK_ALIKES.get(str(kind), 'its body is another one')
    raise ValueError(
      f'config.json: model_type {kind!r} is not one of '
      f'{", ".join(MODEL_TYPES)}: {why}'
    )
  if names and names[0] not in class_names():
    raise ValueError(
      f'config.json: architecture {names[0]!r} is not one of '
      f'{", ".join(MODEL_TYPES.values())} followed by {", ".join(suffixes())}'
    )
  xl, bert = is_xl(config_json), kind == BERT
  own: dict[str, Any] = XL_DEFAULTS if xl else BERT_DEFAULTS if bert else {}
  fields = {}
  for field, (key, default) in FACTS.items():
    default = own.get(field, default)
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
  more = _estimator(config_json)
  return Config(**fields, **more, pre_norm=xl, bert=bert)


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
  next_sentence: bool = False,
  problem: str | None = None,
  deciding: Mapping[str, Any] | None = None,
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
    next_sentence: BERT's scores of two sentences are there too.
    problem: problem_type, where it says what the scores mean.
    deciding: of the Weights.
  """
  base = dict(base or {})
  kind = base.get('model_type', 'xlm-roberta')
  kind = XL if config.pre_norm else BERT if config.bert else kind
  ids = {} if config.bert else {'bos_token_id': 0, 'eos_token_id': 2}
  for key in ('torch_dtype', 'transformers_version', '_name_or_path'):
    base.pop(key, None)
  if labels is None or labels != label_names(base):
    base.pop('problem_type', None)
  for key in ('id2label', 'label2id', 'num_labels', '_num_labels'):
    base.pop(key, None)
  set_meaning(base, problem, deciding)
  if ESTIMATOR_SIZES in base:
    for key in (ESTIMATOR_SIZES, NORM, MIX):
      base.pop(key, None)
  facts = {key: getattr(config, name) for name, (key, _) in FACTS.items()}
  out = {
    'add_cross_attention': False,
    'classifier_dropout': None,
    'use_cache': True,
    **ids,
    **base,
    **facts,
    'architectures': [class_name(kind, head, next_sentence)],
    'dtype': dtype,
    'model_type': kind,
    'tie_word_embeddings': tied,
  }
  if heads.HEADS[head].labelled:
    out |= label_keys(labels or ())
  if heads.HEADS[head].all_depths:
    out |= estimator_keys(config)
  return dict(sorted(out.items()))


def set_meaning(
  config_json: dict[str, Any],
  problem: str | None,
  deciding: Mapping[str, Any] | None,
) -> None:
  """Sets the keys that say what scores mean and from where on a label is given.

  Another problem_type stays, unless it is that of another head.
  """
  if problem is not None:
    config_json['problem_type'] = problem
  elif config_json.get('problem_type') in PROBLEMS.values():
    config_json.pop('problem_type')
  config_json.pop(DECIDING, None)
  if deciding:
    config_json[DECIDING] = {
      name: list(value) if isinstance(value, tuple) else value
      for name, value in deciding.items()
    }


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
  if isinstance(names, list):  # as some write it: the ids are the places
    names = {str(i): name for i, name in enumerate(names)}
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


def tag_scheme(config_json: Mapping[str, Any]) -> str | None:
  """The tagging scheme of a chain's labels; None where nobody says."""
  try:
    return schemes.check(config_json.get(SCHEME))
  except ValueError as error:
    raise ValueError(f'config.json: {SCHEME}: {error}') from error


def placeholder(labels: tuple[str, ...] | None) -> bool:
  """Whether labels are transformers' LABEL_0, LABEL_1...: nobody's names."""
  return labels == tuple(f'LABEL_{i}' for i in range(len(labels or ())))
