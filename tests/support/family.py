"""The XLM-R family as it lies on the hub: config.json by config.json.

Data only. MUST_LOAD is what the loader takes, LOOK_ALIKES what it refuses.
A config is the real one of the named repository (`name@revision` where an old
revision is meant) wherever a public copy could be read; a comment says what is
recalled, or read from a fine-tuned child. `_name_or_path` and
`transformers_version` stand only where they are known.

Quirks of a row, all about files other than config.json:

  bf16, f16          the weights are stored so, whatever torch_dtype says
  mixed              some weights are float16, the others float32
  bin                only pytorch_model.bin, no safetensors
  flax               trained with Flax, flax_model.msgpack beside the weights
  position_ids       the file holds the int64 buffer embeddings.position_ids
  pooler             an unused pooler beside the head
  body-pooler        BertModel's own
  next               BERT's scores of two sentences beside the head
  dense              2_Dense: a layer with tanh after the pooling
  decoder            lm_head.decoder.weight is stored too, a copy of the table
  gamma              LayerNorms say gamma and beta (Google's BERTs)
  xl-as-xlm-roberta  an XL body whose model_type says xlm-roberta
  classifier-as-mlm  architectures says ForMaskedLM; id2label and the file say
                     token classifier
  pad3               <pad> is 3, so the longest input is positions - 4
  mean, cls          pooling (sentence-transformers, or the model card)
  normalize          embeddings have length 1
  prompts            a query needs a prefix, or an instruction
  max128, max256, max512,
  max6144, max8192   sentence_bert_config.json: max_seq_length
  m3                 sparse_linear.pt and colbert_linear.pt
  comet              no config.json: hparams.yaml (COMET_HPARAMS) and
                     checkpoints/model.ckpt; config is its encoder's
  estimator          COMET's layer mix and estimator behind HF's key names
"""

import dataclasses
from typing import Any


@dataclasses.dataclass(frozen=True)
class Row:
  """One checkpoint.

  Attributes:
    name: on the hub.
    config: its config.json.
    quirks: words of the list above.
    parameters: a count that somebody published, to the last digit, or None.
  """

  name: str
  config: dict[str, Any]
  quirks: frozenset[str] = frozenset()
  parameters: int | None = None


# --- What most of them share ------------------------------------------------

_PREFIXES = {
  'xlm-roberta': 'XLMRoberta',
  'xlm-roberta-xl': 'XLMRobertaXL',
  'roberta': 'Roberta',
  'camembert': 'Camembert',
}


def _size(layers: int, width: int, heads: int) -> dict[str, int]:
  return {
    'hidden_size': width,
    'intermediate_size': 4 * width,
    'num_attention_heads': heads,
    'num_hidden_layers': layers,
  }


_BASE, _LARGE = _size(12, 768, 12), _size(24, 1024, 16)
_MINI6, _MINI12 = _size(6, 384, 12), _size(12, 384, 12)
_XL, _XXL = _size(36, 2560, 32), _size(48, 4096, 32)


def _config(head: str, size: dict[str, int], **more: Any) -> dict[str, Any]:
  """The keys that even the oldest files hold; `more` adds and overrules."""
  kind = more.get('model_type', 'xlm-roberta')
  return {
    'architectures': [_PREFIXES[kind] + head],
    'attention_probs_dropout_prob': 0.1,
    'bos_token_id': 0,
    'eos_token_id': 2,
    'hidden_act': 'gelu',
    'hidden_dropout_prob': 0.1,
    'initializer_range': 0.02,
    'layer_norm_eps': 1e-5,
    'max_position_embeddings': 514,
    'model_type': kind,
    'pad_token_id': 1,
    'type_vocab_size': 1,
    'vocab_size': 250002,
    **size,
    **more,
  }


# Written by hand, from fairseq: XLM-R of 2019 and whatever was copied from it.
_PAST = {'output_past': True}
# Added by transformers 4.0, 4.5 and 4.10; the last is what save_pretrained of
# 4.x writes.
_ABSOLUTE = {'position_embedding_type': 'absolute', 'use_cache': True}
_CHECKPOINTING = {'gradient_checkpointing': False}
_V4 = {'classifier_dropout': None, 'torch_dtype': 'float32', **_ABSOLUTE}
_PAST_V4 = {**_PAST, **_V4}


def _labels(*names: str) -> dict[str, dict]:
  return {
    'id2label': {str(i): name for i, name in enumerate(names)},
    'label2id': {name: i for i, name in enumerate(names)},
  }


_SINGLE = {'problem_type': 'single_label_classification'}
_ONE_LABEL = _labels('LABEL_0')
_SENTIMENT = _labels('negative', 'neutral', 'positive')
_IOB1 = 'B-LOC B-MISC B-ORG I-LOC I-MISC I-ORG I-PER O'.split()
_IOB2 = 'B-LOC B-MISC B-ORG B-PER I-LOC I-MISC I-ORG I-PER O'.split()
_DATES = _labels(*'O B-DATE I-DATE B-PER I-PER B-ORG I-ORG B-LOC I-LOC'.split())
_PAPLUCA = _labels(
  *'ja nl ar pl de it pt tr es hi el ur bg en fr zh ru th sw vi'.split()
)
# The 102 languages of FLEURS in the order of its own table; in which order
# juliensimon's model has them is not confirmed.
_FLEURS = _labels(
  *"""Afrikaans,Amharic,Arabic,Armenian,Assamese,Asturian,Azerbaijani,
  Belarusian,Bengali,Bosnian,Bulgarian,Burmese,Catalan,Cebuano,
  Mandarin Chinese,Cantonese Chinese,Croatian,Czech,Danish,Dutch,English,
  Estonian,Filipino,Finnish,French,Fula,Galician,Ganda,Georgian,German,Greek,
  Gujarati,Hausa,Hebrew,Hindi,Hungarian,Icelandic,Igbo,Indonesian,Irish,
  Italian,Japanese,Javanese,Kabuverdianu,Kamba,Kannada,Kazakh,Khmer,Korean,
  Kyrgyz,Lao,Latvian,Lingala,Lithuanian,Luo,Luxembourgish,Macedonian,Malay,
  Malayalam,Maltese,Maori,Marathi,Mongolian,Nepali,Northern-Sotho,Norwegian,
  Nyanja,Occitan,Oriya,Oromo,Pashto,Persian,Polish,Portuguese,Punjabi,Romanian,
  Russian,Serbian,Shona,Sindhi,Slovak,Slovenian,Somali,Sorani-Kurdish,Spanish,
  Swahili,Swedish,Tajik,Tamil,Telugu,Thai,Turkish,Ukrainian,Umbundu,Urdu,Uzbek,
  Vietnamese,Welsh,Wolof,Xhosa,Yoruba,Zulu""".replace('\n  ', '').split(',')
)

_XLM_ROBERTA_XL = _config(
  'ForMaskedLM', _XL, model_type='xlm-roberta-xl', vocab_size=250880, **_V4
)
_XLM_ROBERTA_XXL = _config(
  'ForMaskedLM', _XXL, model_type='xlm-roberta-xl', vocab_size=250880, **_V4
)
_INFOXLM_LARGE = _config('ForMaskedLM', _LARGE, **_PAST)
# Settings of COMET that vince62s wrote into HF's config.json.
_ESTIMATOR_XL = {
  'tokenizer_class': 'XLMRobertaTokenizer',
  'layer_transformation': 'softmax',
  'layer_norm': True,
  'dropout': 0.1,
  'estimator_sizes': [2560, 1280],
}


def _trimmed(raw: dict, trimmed: dict, **mining: Any) -> dict[str, Any]:
  """vocabtrimmer's own block, from its table of sizes before and after."""
  stats = {f'{key}/raw': value for key, value in raw.items()}
  stats |= {f'{key}/trimmed': value for key, value in trimmed.items()}
  for part in ('embedding', 'full'):
    key = f'parameter_size_{part}'
    stats[f'compression_rate_{part}'] = trimmed[key] / raw[key] * 100
  mining = {
    'dataset': 'vocabtrimmer/mc4_validation',
    'dataset_column': 'text',
    'dataset_split': 'validation',
    'min_frequency': 2,
    **mining,
  }
  return {'vocabtrimmer': {'mining_config': mining, 'stats': stats}}


# --- 4.1 Masked language models ---------------------------------------------

_CORE = (
  Row(
    'FacebookAI/xlm-roberta-base',
    _config(
      'ForMaskedLM',
      _BASE,
      transformers_version='4.17.0.dev0',
      **_PAST,
      **_ABSOLUTE,
    ),
    # Recalled: from what transformers warns of when it loads this one.
    frozenset({'pooler', 'position_ids', 'decoder'}),
    278_295_186,  # with the tied head, without the pooler (vocabtrimmer)
  ),
  Row(
    'FacebookAI/xlm-roberta-large',
    _config(
      'ForMaskedLM',
      _LARGE,
      transformers_version='4.17.0.dev0',
      **_PAST,
      **_ABSOLUTE,
    ),
    frozenset({'pooler', 'position_ids', 'decoder'}),  # recalled
  ),
  Row(
    'facebook/xlm-roberta-xl',  # config: read from vince62s's copy of it
    _XLM_ROBERTA_XL,
    frozenset({'position_ids', 'decoder'}),  # recalled; published as 3.5 B
  ),
  Row(
    'facebook/xlm-roberta-xxl',  # recalled: the old revision, model_type mended
    _XLM_ROBERTA_XXL,
    frozenset({'position_ids', 'decoder'}),  # recalled; published as 10.7 B
  ),
  Row(
    'facebook/xlm-roberta-xxl@51b1d0c',
    {
      **_XLM_ROBERTA_XXL,
      'model_type': 'xlm-roberta',
      'transformers_version': '4.11.0.dev0',
    },
    frozenset({'xl-as-xlm-roberta', 'position_ids', 'decoder'}),
  ),
  Row(
    'facebook/xlm-v-base',  # config: read from children (no output_past)
    _config('ForMaskedLM', _BASE, vocab_size=901629, **_V4),
    parameters=779_396_349,  # with the tied head (vocabtrimmer)
  ),
  Row(
    # 942 MB: fits the token table in float32 and the rest in float16.
    'microsoft/infoxlm-base',
    _config('ForMaskedLM', _BASE, **_PAST),
    frozenset({'bin', 'mixed'}),
  ),
  Row('microsoft/infoxlm-large', _INFOXLM_LARGE, frozenset({'bin'})),
  Row(
    'microsoft/xlm-align-base',
    _config('ForMaskedLM', _BASE, **_PAST),
    frozenset({'bin'}),
  ),
  Row(
    'cis-lmu/glot500-base',
    _config(
      'ForMaskedLM',
      _BASE,
      _name_or_path='xlm-roberta-base',
      transformers_version='4.24.0',
      vocab_size=401145,
      **_PAST_V4,
    ),
    frozenset({'position_ids'}),  # published as 395 M
  ),
  Row(
    'hfl/cino-large',
    _config(
      'ForMaskedLM',
      _LARGE,
      transformers_version='4.10.0',
      vocab_size=274701,
      **_CHECKPOINTING,
      **_PAST_V4,
    ),
    frozenset({'bin', 'position_ids'}),
  ),
  # cino v2: width and vocabulary confirmed, by children and by file sizes.
  Row(
    'hfl/cino-small-v2',
    _config('ForMaskedLM', _size(6, 768, 12), vocab_size=135359, **_PAST_V4),
    frozenset({'bin', 'position_ids'}),
  ),
  Row(
    'hfl/cino-base-v2',
    _config('ForMaskedLM', _BASE, vocab_size=135359, **_PAST_V4),
    frozenset({'bin', 'position_ids'}),
  ),
  Row(
    'hfl/cino-large-v2',
    _config('ForMaskedLM', _LARGE, vocab_size=135359, **_PAST_V4),
    frozenset({'bin', 'position_ids'}),
  ),
  Row(
    'Davlan/afro-xlmr-base',
    _config('ForMaskedLM', _BASE, _name_or_path='xlm-roberta-base', **_PAST_V4),
  ),
  Row('Davlan/afro-xlmr-large', _config('ForMaskedLM', _LARGE, **_PAST_V4)),
  Row(
    'Davlan/afro-xlmr-large-61L',
    _config('ForMaskedLM', _LARGE, **_PAST_V4),
    frozenset({'flax'}),
  ),
  Row(
    'Davlan/afro-xlmr-large-75L',
    _config(
      'ForMaskedLM',
      _LARGE,
      _name_or_path='xlm-roberta-large',
      transformers_version='4.32.0.dev0',
      **_PAST_V4,
    ),
  ),
  Row(
    'Davlan/afro-xlmr-large-76L',
    _config('ForMaskedLM', _LARGE, **_PAST_V4),
    frozenset({'flax'}),
  ),
  Row(
    'castorini/afriberta_large',
    _config(
      'ForMaskedLM',
      _size(10, 768, 6),
      max_length=512,
      transformers_version='4.2.1',
      vocab_size=70006,
      **_PAST,
      **_ABSOLUTE,
      **_CHECKPOINTING,
    ),
  ),
  Row(
    'castorini/afriberta_v2_large',
    _config(
      'ForMaskedLM',
      _size(10, 768, 6),
      max_length=512,
      transformers_version='4.45.2',
      vocab_size=150002,
      **_PAST_V4,
    ),
  ),
  Row(
    # 215 MB for L6 are two bytes a weight.
    'nreimers/mMiniLMv2-L12-H384-distilled-from-XLMR-Large',
    _config('ForMaskedLM', _MINI12),
    frozenset({'bin', 'f16'}),
  ),
  Row(
    'nreimers/mMiniLMv2-L6-H384-distilled-from-XLMR-Large',
    _config('ForMaskedLM', _MINI6),
    frozenset({'bin', 'f16'}),
  ),
  Row(
    'vocabtrimmer/xlm-v-base-trimmed-en',
    _config(
      'ForMaskedLM',
      _BASE,
      _name_or_path='ckpts/xlm-v-base-trimmed-en',
      transformers_version='4.26.1',
      vocab_size=484747,
      **_V4,
      **_trimmed(
        {
          'parameter_size_embedding': 692451072,
          'parameter_size_full': 779396349,
          'vocab_size': 901629,
        },
        {
          'parameter_size_embedding': 372285696,
          'parameter_size_full': 458814091,
          'vocab_size': 484747,
        },
        dataset_name='en',
        language='en',
        target_vocab_size=None,
      ),
    ),
    parameters=458_814_091,  # with the tied head
  ),
  Row(
    # The block: from the card's table; the other keys: recalled.
    'vocabtrimmer/xlm-roberta-base-trimmed-pt-10000',
    _config(
      'ForMaskedLM',
      _BASE,
      vocab_size=10002,
      **_PAST_V4,
      **_trimmed(
        {
          'parameter_size_embedding': 192001536,
          'parameter_size_full': 278295186,
          'vocab_size': 250002,
        },
        {
          'parameter_size_embedding': 7681536,
          'parameter_size_full': 93735186,
          'vocab_size': 10002,
        },
        dataset_name='pt',
        language='pt',
        target_vocab_size=10000,
      ),
    ),
    parameters=93_735_186,  # with the tied head
  ),
  Row(
    'gszabo/large_subtoken20',
    _config(
      'ForMaskedLM',
      _LARGE,
      _name_or_path='xlm-roberta-large',
      transformers_version='4.25.1',
      vocab_size=20005,
      **_PAST_V4,
    ),
  ),
  Row(
    'gszabo/base_subtoken',
    _config(
      'ForMaskedLM',
      _BASE,
      _name_or_path='xlm-roberta-base',
      transformers_version='4.25.1',
      vocab_size=107862,
      **_PAST_V4,
    ),
  ),
  Row(
    'gszabo/base_webcorpus2',
    _config(
      'ForMaskedLM',
      _BASE,
      _name_or_path='xlm-roberta-base',
      transformers_version='4.25.1',
      vocab_size=84122,
      **_PAST_V4,
    ),
  ),
  Row(
    'classla/xlm-r-parla',
    _config(
      'ForMaskedLM',
      _LARGE,
      _name_or_path='xlm-roberta-large',
      transformers_version='4.19.0.dev0',
      **_PAST_V4,
    ),
    frozenset({'bin'}),
  ),
  Row(
    'classla/xlm-r-bertic',  # recalled: as xlm-r-parla
    _config('ForMaskedLM', _LARGE, **_PAST_V4),
  ),
  Row(
    'FacebookAI/roberta-base',
    _config('ForMaskedLM', _BASE, model_type='roberta', vocab_size=50265),
    frozenset({'pooler', 'position_ids', 'decoder'}),  # recalled
  ),
  Row(
    'FacebookAI/roberta-large',  # recalled: as roberta-base
    _config('ForMaskedLM', _LARGE, model_type='roberta', vocab_size=50265),
    frozenset({'pooler', 'position_ids', 'decoder'}),  # recalled
  ),
  Row(
    'distilbert/distilroberta-base',  # config: read from children
    _config(
      'ForMaskedLM', _size(6, 768, 12), model_type='roberta', vocab_size=50265
    ),
    frozenset({'pooler', 'decoder'}),  # recalled
  ),
  Row(
    'almanach/camembert-base',
    _config(
      'ForMaskedLM',
      _BASE,
      bos_token_id=5,
      eos_token_id=6,
      model_type='camembert',
      vocab_size=32005,
      **_PAST,
    ),
    frozenset({'pooler', 'decoder'}),  # recalled
  ),
  Row(
    # A real revision's ids, with <pad> at 0 and `eos_token_ids`.
    'almanach/camembert-base-legacy',
    {
      key: value
      for key, value in _config(
        'ForMaskedLM',
        _BASE,
        eos_token_ids=0,
        model_type='camembert',
        pad_token_id=0,
        vocab_size=32005,
        **_PAST,
      ).items()
      if key != 'eos_token_id'
    },
  ),
  Row(
    'almanach/camembert-large',  # recalled: as camembert-base
    _config(
      'ForMaskedLM',
      _LARGE,
      bos_token_id=5,
      eos_token_id=6,
      model_type='camembert',
      vocab_size=32005,
      **_PAST,
    ),
  ),
  # PhoBERT: read from many children, all alike.
  Row(
    'vinai/phobert-base',
    _config(
      'ForMaskedLM',
      _BASE,
      max_position_embeddings=258,
      model_type='roberta',
      tokenizer_class='PhobertTokenizer',
      vocab_size=64001,
      **_CHECKPOINTING,
    ),
  ),
  Row(
    'vinai/phobert-large',
    _config(
      'ForMaskedLM',
      _LARGE,
      max_position_embeddings=258,
      model_type='roberta',
      tokenizer_class='PhobertTokenizer',
      vocab_size=64001,
      **_CHECKPOINTING,
    ),
  ),
  Row(
    'rinna/japanese-roberta-base',  # config: read from a child
    _config(
      'ForMaskedLM',
      _BASE,
      bos_token_id=1,
      eos_token_id=2,
      model_type='roberta',
      pad_token_id=3,
      type_vocab_size=2,
      vocab_size=32000,
      **_ABSOLUTE,
      **_CHECKPOINTING,
    ),
    frozenset({'pad3'}),
  ),
)

# --- 4.2 Embedding models ---------------------------------------------------

_EMBEDDING = (
  # e5: read from children and from onnx/config.json.
  Row(
    'intfloat/multilingual-e5-base',
    _config('Model', _BASE, **_PAST_V4),
    frozenset({'mean', 'normalize', 'prompts', 'max512', 'position_ids'}),
  ),
  Row(
    'intfloat/multilingual-e5-large',
    _config('Model', _LARGE, **_PAST_V4),
    frozenset({'mean', 'normalize', 'prompts', 'max512', 'position_ids'}),
  ),
  Row(
    'intfloat/multilingual-e5-large-instruct',
    _config('Model', _LARGE, **{**_PAST_V4, 'torch_dtype': 'float16'}),
    frozenset({'mean', 'normalize', 'prompts', 'max512', 'f16'}),
  ),
  Row(
    'BAAI/bge-m3',  # bin: recalled. Published as 566.7 M without the pooler
    _config('Model', _LARGE, max_position_embeddings=8194, **_PAST_V4),
    frozenset({'cls', 'normalize', 'm3', 'max8192', 'bin'}),
  ),
  Row(
    'Snowflake/snowflake-arctic-embed-l-v2.0',  # config: read from a child
    _config('Model', _LARGE, max_position_embeddings=8194, **_PAST_V4),
    frozenset({'cls', 'normalize', 'prompts', 'max8192'}),
  ),
  Row(
    'telepix/PIXIE-Rune-v1.0',  # recalled: as its parent, arctic-l-v2
    _config('Model', _LARGE, max_position_embeddings=8194, **_PAST_V4),
    frozenset({'cls', 'normalize', 'prompts', 'max6144'}),
  ),
  Row(
    'sentence-transformers/paraphrase-multilingual-mpnet-base-v2',
    _config(
      'Model',
      _BASE,
      _name_or_path=(
        'old_models/paraphrase-multilingual-mpnet-base-v2/0_Transformer'
      ),
      transformers_version='4.7.0',
      **_PAST,
      **_ABSOLUTE,
      **_CHECKPOINTING,
    ),
    frozenset({'mean', 'max128'}),
  ),
  Row(
    'ibm-granite/granite-embedding-278m-multilingual',  # config: see 107m
    _config(
      'Model',
      _BASE,
      _name_or_path='granite-embedding-278m-multilingual',
      transformers_version='4.15.0',
      **{**_V4, 'torch_dtype': 'bfloat16'},
    ),
    frozenset({'cls', 'normalize', 'bf16', 'max512', 'position_ids'}),
  ),
  Row(
    'ibm-granite/granite-embedding-107m-multilingual',
    _config(
      'Model',
      _MINI6,
      _name_or_path='granite-embedding-107m-multilingual',
      layer_norm_eps=1e-12,
      transformers_version='4.15.0',
      **{**_V4, 'torch_dtype': 'bfloat16', 'type_vocab_size': 2},
    ),
    frozenset({'cls', 'normalize', 'bf16', 'max512'}),
  ),
  Row(
    'cambridgeltl/SapBERT-UMLS-2020AB-all-lang-from-XLMR',
    _config(
      'Model',
      _BASE,
      _name_or_path='xlm-roberta-base',
      transformers_version='4.2.2',
      **_PAST,
      **_ABSOLUTE,
      **_CHECKPOINTING,
    ),
    frozenset({'cls'}),
  ),
  Row(
    'cambridgeltl/SapBERT-UMLS-2020AB-all-lang-from-XLMR-large',
    _config(
      'Model',
      _LARGE,
      _name_or_path='xlm-roberta-large',
      **_PAST,
      **_ABSOLUTE,
      **_CHECKPOINTING,
    ),
    frozenset({'cls', 'bin'}),
  ),
  Row(
    # On the hub: maidalun1020/bce-embedding-base_v1. Its revision 0478d8a
    # says 512 positions, to keep inputs short; the weights have 514.
    'netease-youdao/bce-embedding-base_v1',
    _config(
      'Model',
      _BASE,
      _name_or_path='bce-embedding-base_v1',
      transformers_version='4.35.0',
      **_CHECKPOINTING,
      **_PAST_V4,
    ),
    frozenset({'cls', 'normalize', 'max512', 'bin'}),
  ),
)

# --- 4.3 Task heads ---------------------------------------------------------

_HEADS = (
  # The first two: read from children and from Xenova's copy.
  Row(
    'BAAI/bge-reranker-base',
    _config('ForSequenceClassification', _BASE, **_ONE_LABEL, **_PAST_V4),
  ),
  Row(
    'BAAI/bge-reranker-large',
    _config('ForSequenceClassification', _LARGE, **_ONE_LABEL, **_PAST_V4),
  ),
  Row(
    'BAAI/bge-reranker-v2-m3',
    _config(
      'ForSequenceClassification',
      _LARGE,
      _name_or_path='BAAI/bge-m3',
      max_position_embeddings=8194,
      transformers_version='4.38.1',
      **_ONE_LABEL,
      **_PAST_V4,
    ),
    parameters=567_755_777,  # with the head, without a pooler
  ),
  Row(
    'joeddav/xlm-roberta-large-xnli',  # config: read from children
    _config(
      'ForSequenceClassification',
      _LARGE,
      **_labels('contradiction', 'neutral', 'entailment'),
      **_PAST,
      **_CHECKPOINTING,
    ),
  ),
  Row(
    'papluca/xlm-roberta-base-language-detection',
    _config(
      'ForSequenceClassification',
      _BASE,
      _name_or_path='papluca/xlm-roberta-base-language-detection',
      **_PAPLUCA,
      **_SINGLE,
      **_PAST_V4,
    ),
  ),
  Row(
    'juliensimon/xlm-v-base-language-id',  # recalled, but for the sizes
    _config(
      'ForSequenceClassification',
      _BASE,
      _name_or_path='facebook/xlm-v-base',
      vocab_size=901629,
      **_FLEURS,
      **_SINGLE,
      **_V4,
    ),
  ),
  # cardiffnlp: read from children; which of the ages they are is recalled.
  Row(
    'cardiffnlp/twitter-xlm-roberta-base',
    _config('ForMaskedLM', _BASE, **_PAST, **_ABSOLUTE, **_CHECKPOINTING),
    frozenset({'bin'}),  # recalled
  ),
  Row(
    'cardiffnlp/twitter-xlm-roberta-base-sentiment',
    _config(
      'ForSequenceClassification',
      _BASE,
      **_SENTIMENT,
      **_PAST,
      **_ABSOLUTE,
      **_CHECKPOINTING,
    ),
    frozenset({'bin'}),  # recalled
  ),
  Row(
    'cardiffnlp/twitter-xlm-roberta-base-sentiment-multilingual',
    _config(
      'ForSequenceClassification',
      _BASE,
      **_SENTIMENT,
      **_SINGLE,
      **_CHECKPOINTING,
      **_PAST_V4,
    ),
  ),
  # CoNLL: _num_labels, and no `num_labels`. The files of the first two weigh
  # 852 and 886 bytes, as these do; those of the last two 875, which is 886
  # with the shorter ForMaskedLM (and the hub's tag says Fill-Mask).
  Row(
    'FacebookAI/xlm-roberta-large-finetuned-conll03-english',
    _config(
      'ForTokenClassification',
      _LARGE,
      _num_labels=8,
      **_labels(*_IOB1),
      **_PAST,
    ),
  ),
  Row(
    'FacebookAI/xlm-roberta-large-finetuned-conll03-german',
    _config(
      'ForTokenClassification',
      _LARGE,
      _num_labels=9,
      **_labels(*_IOB2),
      **_PAST,
    ),
    frozenset({'bin'}),
  ),
  Row(
    'FacebookAI/xlm-roberta-large-finetuned-conll02-dutch',
    _config('ForMaskedLM', _LARGE, _num_labels=9, **_labels(*_IOB2), **_PAST),
    frozenset({'bin', 'classifier-as-mlm'}),
  ),
  Row(
    'FacebookAI/xlm-roberta-large-finetuned-conll02-spanish',
    _config('ForMaskedLM', _LARGE, _num_labels=9, **_labels(*_IOB2), **_PAST),
    frozenset({'classifier-as-mlm'}),
  ),
  Row(
    'Davlan/xlm-roberta-base-ner-hrl',  # labels: as mBERT-ner-hrl's
    _config(
      'ForTokenClassification',
      _BASE,
      **_DATES,
      **_PAST,
      **_ABSOLUTE,
      **_CHECKPOINTING,
    ),
  ),
  Row(
    'masakhane/afroxlmr-large-ner-masakhaner-1.0_2.0',
    _config(
      'ForTokenClassification',
      _LARGE,
      _name_or_path='Davlan/afro-xlmr-large',
      adapters={
        'adapters': {},
        'config_map': {},
        'fusion_config_map': {},
        'fusions': {},
      },
      transformers_version='4.10.3',
      **_DATES,
      **_CHECKPOINTING,
      **_PAST_V4,
    ),
  ),
  Row(
    'deepset/xlm-roberta-base-squad2',
    _config(
      'ForQuestionAnswering',
      _BASE,
      language='english',
      name='XLMRoberta',
      **_PAST,
      **_CHECKPOINTING,
    ),
  ),
  Row(
    'deepset/xlm-roberta-large-squad2',  # config: read from children
    _config(
      'ForQuestionAnswering',
      _LARGE,
      language='english',
      name='XLMRoberta',
      **_PAST,
      **_CHECKPOINTING,
    ),
  ),
  Row(
    'SemViQA/infoxlm-large-isedsc01',
    _config(
      'ForQuestionAnswering',
      _LARGE,
      _name_or_path='microsoft/infoxlm-large',
      transformers_version='4.47.0',
      **_PAST_V4,
    ),
  ),
  # Published as 565 M, 3.5 B and 10.7 B.
  Row('Unbabel/wmt22-cometkiwi-da', _INFOXLM_LARGE, frozenset({'comet'})),
  Row('Unbabel/wmt23-cometkiwi-da-xl', _XLM_ROBERTA_XL, frozenset({'comet'})),
  Row('Unbabel/wmt23-cometkiwi-da-xxl', _XLM_ROBERTA_XXL, frozenset({'comet'})),
  Row(
    # Before the next revision but one brought code and auto_map, which stands
    # among the look-alikes. 6.97 GB: two bytes a weight.
    'vince62s/wmt23-cometkiwi-da-roberta-xl@bc92aa6',
    {
      **_XLM_ROBERTA_XL,
      **_ESTIMATOR_XL,
      'architectures': ['XLMRobertaXLForEstimation'],
    },
    frozenset({'bin', 'f16', 'estimator'}),
  ),
  Row(
    'Unbabel/xlm-roberta-comet-small',
    _config(
      'Model',
      _MINI6,
      _name_or_path='nreimers/mMiniLMv2-L6-H384-distilled-from-XLMR-Large',
      transformers_version='4.6.1',
      **_ABSOLUTE,
      **_CHECKPOINTING,
    ),
  ),
  Row(
    'haryoaw/scenario-TCR-XLMV-XCOPA-3_data-xcopa_all',
    _config(
      'ForMultipleChoice',
      _BASE,
      _name_or_path='facebook/xlm-v-base',
      transformers_version='4.33.3',
      vocab_size=901629,
      **_V4,
    ),
  ),
  Row(
    'lukmanaj/afro-xlmr-large-english_to_hausa',
    _config(
      'ForCausalLM',
      _LARGE,
      _name_or_path='Davlan/afro-xlmr-large',
      is_decoder=True,
      transformers_version='4.42.3',
      **_PAST_V4,
    ),
  ),
)

# --- BERT bodies ------------------------------------------------------------


def _bert(layers: int, width: int, heads: int, **more: Any) -> dict[str, Any]:
  """The keys of the family's BERT bodies; `more` adds and overrules."""
  return {
    'architectures': ['BertModel'],
    'attention_probs_dropout_prob': 0.1,
    'hidden_act': 'gelu',
    'hidden_dropout_prob': 0.1,
    'initializer_range': 0.02,
    'layer_norm_eps': 1e-12,
    'max_position_embeddings': 512,
    'model_type': 'bert',
    'pad_token_id': 0,
    'type_vocab_size': 2,
    'vocab_size': 250037,
    **_size(layers, width, heads),
    **more,
  }


# What Google's own conversion wrote, and all that was tuned from it.
_POOLER_FACTS = {
  'directionality': 'bidi',
  'pooler_fc_size': 768,
  'pooler_num_attention_heads': 12,
  'pooler_num_fc_layers': 3,
  'pooler_size_per_head': 128,
  'pooler_type': 'first_token_transform',
}


def _masked(size: int, layers=12, width=768, heads=12, **more: Any):
  """A BertForMaskedLM of 2018-2020."""
  return _bert(layers, width, heads, vocab_size=size, **more) | {
    'architectures': ['BertForMaskedLM']
  }


# hfl's files also have <s> and </s> of RoBERTa's defaults.
_HFL = {'bos_token_id': 0, 'eos_token_id': 2, 'output_past': True}
_NEXT = frozenset({'pooler', 'next', 'decoder', 'bin'})

# The first four without a hub name of their owner: as every copy has them.
_BERT: tuple[Row, ...] = (
  Row(
    'google-bert/bert-base-multilingual-cased',
    _masked(119547, **_POOLER_FACTS, **_ABSOLUTE),
    frozenset({'pooler', 'next', 'gamma'}),
  ),
  Row(
    'google-bert/bert-base-multilingual-uncased',
    _masked(105879, **_POOLER_FACTS, **_ABSOLUTE),
    frozenset({'pooler', 'next', 'gamma'}),
  ),
  Row(
    'google-bert/bert-base-cased',
    _masked(28996, **_CHECKPOINTING, **_ABSOLUTE),
    frozenset({'pooler', 'next', 'gamma'}),
  ),
  Row(
    'google-bert/bert-base-chinese',
    _masked(21128, **_POOLER_FACTS),
    frozenset({'pooler', 'next', 'gamma'}),
  ),
  Row(
    'hfl/chinese-roberta-wwm-ext',
    _masked(21128, **_POOLER_FACTS, **_HFL),
    _NEXT,
  ),
  Row(
    'hfl/chinese-roberta-wwm-ext-large',
    _masked(21128, 24, 1024, 16, **_POOLER_FACTS, **_HFL),
    _NEXT,
  ),
  Row(
    'hfl/chinese-macbert-base',
    _masked(21128, **_POOLER_FACTS, **_CHECKPOINTING),
    _NEXT,
  ),
  Row(
    'intfloat/multilingual-e5-small',
    _bert(12, 384, 12, tokenizer_class='XLMRobertaTokenizer', **_V4),
    frozenset({'body-pooler', 'mean', 'normalize', 'max512'}),
  ),
  Row(
    'microsoft/Multilingual-MiniLM-L12-H384',  # recalled
    _bert(12, 384, 12, tokenizer_class='XLMRobertaTokenizer'),
    frozenset({'body-pooler', 'bin'}),
  ),
  Row(
    'sentence-transformers/paraphrase-multilingual-MiniLM-L12-v2',
    _bert(
      12,
      384,
      12,
      _name_or_path='old_models/paraphrase-multilingual-MiniLM-L12-v2/'
      '0_Transformer',
      transformers_version='4.7.0',
      **_ABSOLUTE,
      **_CHECKPOINTING,
    ),
    frozenset({'body-pooler', 'position_ids', 'mean', 'max128'}),
  ),
  Row(
    'sentence-transformers/LaBSE',  # recalled
    _bert(
      *(12, 768, 12),
      vocab_size=501153,
      **_POOLER_FACTS,
      **_ABSOLUTE,
      **_CHECKPOINTING,
    ),
    frozenset({'body-pooler', 'cls', 'dense', 'normalize', 'max256'}),
  ),
)

MUST_LOAD: tuple[Row, ...] = _CORE + _EMBEDDING + _HEADS + _BERT

# hparams.yaml of the `comet` rows, without the names of data files. The
# first: all of it, as two public copies agree. The second: what vince62s's
# config.json and the sizes of its file say; the rest is recalled. Of the
# third only the encoder is known: read the sizes from the tensors.
COMET_HPARAMS: dict[str, dict[str, Any]] = {
  'Unbabel/wmt22-cometkiwi-da': {
    'activations': 'Tanh',
    'batch_size': 4,
    'class_identifier': 'unified_metric',
    'dropout': 0.1,
    'encoder_learning_rate': 1e-6,
    'encoder_model': 'XLM-RoBERTa',
    'final_activation': None,
    'hidden_sizes': [3072, 1024],
    'input_segments': ['mt', 'src'],
    'keep_embeddings_frozen': True,
    'layer': 'mix',
    'layer_norm': False,
    'layer_transformation': 'sparsemax_patch',  # means softmax
    'layerwise_decay': 0.95,
    'learning_rate': 1.5e-5,
    'loss': 'mse',
    'loss_lambda': 0.65,
    'nr_frozen_epochs': 0.3,
    'optimizer': 'AdamW',
    'pool': 'avg',  # ignored: a unified_metric takes <s>
    'pretrained_model': 'microsoft/infoxlm-large',
    'sent_layer': 'mix',
    'word_layer': 24,
    'word_level_training': False,
    'word_weights': [0.15, 0.85],
  },
  'Unbabel/wmt23-cometkiwi-da-xl': {
    'activations': 'Tanh',
    'class_identifier': 'unified_metric',
    'dropout': 0.1,
    'encoder_model': 'XLM-RoBERTa-XL',
    'final_activation': None,
    'hidden_sizes': [2560, 1280],
    'input_segments': ['mt', 'src'],
    'layer_norm': True,
    'layer_transformation': 'sparsemax_patch',  # means softmax
    'pretrained_model': 'facebook/xlm-roberta-xl',
    'sent_layer': 'mix',
    'word_level_training': False,
  },
  'Unbabel/wmt23-cometkiwi-da-xxl': {
    'class_identifier': 'unified_metric',
    'encoder_model': 'XLM-RoBERTa-XL',
    'input_segments': ['mt', 'src'],
    'layer_transformation': 'sparsemax_patch',  # means softmax
    'pretrained_model': 'facebook/xlm-roberta-xxl',
    'sent_layer': 'mix',
    'word_level_training': False,
  },
}

# --- 4.4 Look-alikes --------------------------------------------------------

_FLASH = 'jinaai/xlm-roberta-flash-implementation--'
_JINA = {
  **_config(
    'Model', _LARGE, max_position_embeddings=8194, vocab_size=250002, **_PAST
  ),
  '_name_or_path': 'jinaai/jina-embeddings-v3',
  'auto_map': {
    'AutoConfig': _FLASH + 'configuration_xlm_roberta.XLMRobertaFlashConfig',
    'AutoModel': _FLASH + 'modeling_lora.XLMRobertaLoRA',
    'AutoModelForMaskedLM': _FLASH
    + 'modeling_xlm_roberta.XLMRobertaForMaskedLM',
    'AutoModelForPreTraining': _FLASH
    + 'modeling_xlm_roberta.XLMRobertaForPreTraining',
  },
  'classifier_dropout': None,
  'emb_pooler': None,
  'load_trained_adapters': True,
  'lora_adaptations': [
    'retrieval.query',
    'retrieval.passage',
    'separation',
    'classification',
    'text-matching',
  ],
  'lora_alpha': 1,
  'lora_dropout_p': 0.0,
  'lora_main_params_trainable': False,
  'lora_rank': 4,
  'matryoshka_dimensions': [32, 64, 128, 256, 512, 768, 1024],
  'position_embedding_type': 'rotary',
  'rotary_emb_base': 20000.0,
  'torch_dtype': 'bfloat16',
  'use_cache': True,
}
_JINA_CLONE = {**_JINA, 'position_embedding_type': 'absolute'}


def _without(config: dict[str, Any], *keys: str) -> dict[str, Any]:
  return {key: value for key, value in config.items() if key not in keys}


def _longformer(window: int, positions: int, **more: Any) -> dict[str, Any]:
  return {
    **_config('Model', _BASE, max_position_embeddings=positions),
    'architectures': ['LongformerForMaskedLM'],
    'attention_window': [window] * 12,
    'classifier_dropout': None,
    'model_type': 'longformer',
    'sep_token_id': 2,
    **_ABSOLUTE,
    **more,
  }


_LONG_XLMR = {
  **_config('ForMaskedLM', _BASE, **_PAST, **_CHECKPOINTING),
  '_name_or_path': (
    '/workspace/models/xlm-roberta-base-4096-seed-42-fastest-lm-complete'
  ),
  'architectures': ['LongModelForMaskedLM'],
  'attention_window': [512] * 12,
  'max_position_embeddings': 4098,
}
_NEW = 'Alibaba-NLP/new-impl--'

# (name, config.json, a word that the refusal must contain, case and all).
# A name without a slash is nobody's repository.
LOOK_ALIKES: tuple[tuple[str, dict[str, Any], str], ...] = (
  ('jinaai/jina-embeddings-v3', _JINA, 'auto_map'),
  ('ISOISS/jina-embeddings-v3-tei', _JINA_CLONE, 'auto_map'),
  # What is left of that clone when its code has been struck out: both still
  # say position_embedding_type absolute.
  (
    'a clone of jina-embeddings-v3 without its code',
    _without(_JINA_CLONE, 'auto_map', 'rotary_emb_base'),
    'LoRA',
  ),
  (
    'a clone of jina-embeddings-v3 without code or adapters',
    _without(_JINA_CLONE, 'auto_map', 'lora_adaptations'),
    'rotary',
  ),
  (
    'jinaai/jina-embeddings-v3-hf',  # transformers' own defaults
    {
      **_config('Model', _LARGE, max_position_embeddings=8194),
      'architectures': ['JinaEmbeddingsV3Model'],
      'model_type': 'jina_embeddings_v3',
      'rope_parameters': {'rope_theta': 20000.0, 'rope_type': 'default'},
    },
    'jina_embeddings_v3',
  ),
  (
    'jinaai/jina-colbert-v2',  # recalled
    {
      **_without(
        _JINA,
        '_name_or_path',
        'load_trained_adapters',
        'lora_adaptations',
        'lora_alpha',
        'lora_dropout_p',
        'lora_main_params_trainable',
        'lora_rank',
        'matryoshka_dimensions',
      ),
      'architectures': ['HF_ColBERT'],
      'auto_map': {
        **_JINA['auto_map'],
        'AutoModel': _FLASH + 'modeling_xlm_roberta.XLMRobertaModel',
      },
    },
    'auto_map',
  ),
  (
    'vince62s/wmt22-cometkiwi-da-roberta-large',
    {
      **_INFOXLM_LARGE,
      'architectures': ['XLMRobertaForEstimation'],
      'auto_map': {
        'AutoConfig': 'configuration_xlm_roberta.XLMRobertaConfig',
        'AutoModel': 'modelling_xlm_roberta.XLMRobertaForEstimation',
      },
      'layer_transformation': 'softmax',
      'layer_norm': False,
      'dropout': 0.1,
      'estimator_sizes': [3072, 1024],
    },
    'auto_map',
  ),
  (
    'vince62s/wmt23-cometkiwi-da-roberta-xl',
    {
      **_XLM_ROBERTA_XL,
      **_ESTIMATOR_XL,
      'architectures': ['XLMRobertaXLForEstimation'],
      'auto_map': {
        'AutoConfig': 'configuration_xlm_roberta_xl.XLMRobertaXLConfig',
        'AutoModel': 'modeling_xlm_roberta_xl.XLMRobertaXLForEstimation',
      },
    },
    'auto_map',
  ),
  ('markussagen/xlm-roberta-longformer-base-4096', _LONG_XLMR, 'Longformer'),
  ('Peltarion/xlm-roberta-longformer-base-4096', _LONG_XLMR, 'Longformer'),
  (
    'AshtonIsNotHere/xlm-roberta-long-base-4096',
    _longformer(
      512,
      4098,
      attention_mode='longformer',
      ignore_attention_mask=False,
      tokenizer_class='XLMRobertaTokenizer',
      torch_dtype='float32',
      transformers_version='4.18.0',
      **_CHECKPOINTING,
    ),
    'Longformer',
  ),
  (
    'severinsimmler/xlm-roberta-longformer-base-16384',
    _without(
      _longformer(
        256,
        16386,
        _name_or_path='severinsimmler/xlm-roberta-longformer-base-16384',
        architectures=['LongformerModel'],
        onnx_export=False,
        transformers_version='4.28.1',
      ),
      'use_cache',
    ),
    'Longformer',
  ),
  (
    'hyperonym/xlm-roberta-longformer-base-16384',  # recalled: as its parent
    _longformer(256, 16386, onnx_export=False),
    'Longformer',
  ),
  (
    'manu/lilt-infoxlm-base',
    {
      **_config('ForMaskedLM', _BASE, **_PAST),
      'channel_shrink_ratio': 4,
      'max_2d_position_embeddings': 1024,
      'model_type': 'liltrobertalike',
    },
    'LiLT',
  ),
  (
    'distilbert/distilbert-base-multilingual-cased',  # recalled
    {
      'activation': 'gelu',
      'architectures': ['DistilBertForMaskedLM'],
      'attention_dropout': 0.1,
      'dim': 768,
      'dropout': 0.1,
      'hidden_dim': 3072,
      'initializer_range': 0.02,
      'max_position_embeddings': 512,
      'model_type': 'distilbert',
      'n_heads': 12,
      'n_layers': 6,
      'output_past': True,
      'pad_token_id': 0,
      'qa_dropout': 0.1,
      'seq_classif_dropout': 0.2,
      'sinusoidal_pos_embds': False,
      'tie_weights_': True,
      'vocab_size': 119547,
    },
    'DistilBERT',
  ),
  (
    'albert/albert-xxlarge-v2',  # recalled
    {
      **_bert(12, 4096, 64, vocab_size=30000),
      'architectures': ['AlbertForMaskedLM'],
      'embedding_size': 128,
      'hidden_act': 'gelu_new',
      'inner_group_num': 1,
      'model_type': 'albert',
      'num_hidden_groups': 1,
    },
    'ALBERT',
  ),
  (
    'google/electra-base-discriminator',  # recalled
    {
      **_bert(12, 768, 12, vocab_size=30522),
      'architectures': ['ElectraForPreTraining'],
      'embedding_size': 768,
      'model_type': 'electra',
    },
    'ELECTRA',
  ),
  (
    'google/rembert',  # recalled
    {
      **_bert(32, 1152, 18, vocab_size=250300),
      'architectures': ['RemBertModel'],
      'input_embedding_size': 256,
      'model_type': 'rembert',
      'output_embedding_size': 1664,
    },
    'RemBERT',
  ),
  (
    'FacebookAI/xlm-mlm-100-1280',  # recalled
    {
      'architectures': ['XLMWithLMHeadModel'],
      'attention_dropout': 0.1,
      'bos_token_id': 0,
      'dropout': 0.1,
      'emb_dim': 1280,
      'gelu_activation': True,
      'layer_norm_eps': 1e-12,
      'max_position_embeddings': 512,
      'model_type': 'xlm',
      'n_heads': 16,
      'n_langs': 100,
      'n_layers': 16,
      'pad_token_id': 2,
      'use_lang_emb': False,
      'vocab_size': 200000,
    },
    "'xlm'",
  ),
  (
    'XLM-R with relative positions',
    _config(
      'ForMaskedLM',
      _BASE,
      **{**_PAST_V4, 'position_embedding_type': 'relative_key'},
    ),
    'relative_key',
  ),
  (
    'XLM-R as the decoder of an encoder-decoder',
    _config(
      'ForCausalLM',
      _BASE,
      add_cross_attention=True,
      is_decoder=True,
      **_PAST_V4,
    ),
    'cross',
  ),
  (
    'XLM-R in four bits',
    _config(
      'ForMaskedLM',
      _BASE,
      quantization_config={
        'bnb_4bit_compute_dtype': 'bfloat16',
        'bnb_4bit_quant_type': 'nf4',
        'load_in_4bit': True,
        'quant_method': 'bitsandbytes',
      },
      **_PAST_V4,
    ),
    'quantiz',
  ),
  (
    'Alibaba-NLP/gte-multilingual-base',  # read from a child
    {
      **_size(12, 768, 12),
      'architectures': ['NewModel'],
      'attention_probs_dropout_prob': 0.0,
      'auto_map': {
        'AutoConfig': _NEW + 'configuration.NewConfig',
        'AutoModel': _NEW + 'modeling.NewModel',
        'AutoModelForMaskedLM': _NEW + 'modeling.NewForMaskedLM',
      },
      'classifier_dropout': 0.0,
      'hidden_act': 'gelu',
      'hidden_dropout_prob': 0.1,
      'initializer_range': 0.02,
      'layer_norm_eps': 1e-12,
      'layer_norm_type': 'layer_norm',
      'logn_attention_clip1': False,
      'logn_attention_scale': False,
      'max_position_embeddings': 8192,
      'model_type': 'new',
      'pack_qkv': True,
      'pad_token_id': 1,
      'position_embedding_type': 'rope',
      'rope_scaling': {'factor': 8.0, 'type': 'ntk'},
      'rope_theta': 20000,
      'torch_dtype': 'float32',
      'type_vocab_size': 1,
      'unpad_inputs': False,
      'use_memory_efficient_attention': False,
      'vocab_size': 250048,
    },
    'new',
  ),
  (
    'Snowflake/snowflake-arctic-embed-m-v2.0',  # read from a child
    {
      **_size(12, 768, 12),
      'architectures': ['GteModel'],
      'attention_probs_dropout_prob': 0.0,
      'auto_map': {
        'AutoConfig': 'configuration_hf_alibaba_nlp_gte.GteConfig',
        'AutoModel': 'modeling_hf_alibaba_nlp_gte.GteModel',
      },
      'hidden_act': 'gelu',
      'layer_norm_eps': 1e-12,
      'layer_norm_type': 'layer_norm',
      'max_position_embeddings': 8192,
      'model_type': 'gte',
      'pack_qkv': True,
      'pad_token_id': 1,
      'position_embedding_type': 'rope',
      'rope_theta': 160000,
      'type_vocab_size': 1,
      'vocab_size': 250048,
    },
    'gte',
  ),
  (
    'microsoft/mdeberta-v3-base',  # recalled
    {
      **_size(12, 768, 12),
      'attention_probs_dropout_prob': 0.1,
      'hidden_act': 'gelu',
      'hidden_dropout_prob': 0.1,
      'initializer_range': 0.02,
      'layer_norm_eps': 1e-7,
      'max_position_embeddings': 512,
      'max_relative_positions': -1,
      'model_type': 'deberta-v2',
      'norm_rel_ebd': 'layer_norm',
      'pos_att_type': 'p2c|c2p',
      'position_biased_input': False,
      'position_buckets': 256,
      'relative_attention': True,
      'share_att_key': True,
      'type_vocab_size': 0,
      'vocab_size': 251000,
    },
    'deberta-v2',
  ),
  (
    'EuroBERT/EuroBERT-210m',  # recalled
    {
      **_size(12, 768, 12),
      'architectures': ['EuroBertForMaskedLM'],
      'auto_map': {
        'AutoConfig': 'configuration_eurobert.EuroBertConfig',
        'AutoModel': 'modeling_eurobert.EuroBertModel',
        'AutoModelForMaskedLM': 'modeling_eurobert.EuroBertForMaskedLM',
      },
      'hidden_act': 'silu',
      'max_position_embeddings': 8192,
      'model_type': 'eurobert',
      'rms_norm_eps': 1e-5,
      'rope_theta': 250000,
      'vocab_size': 128256,
    },
    'eurobert',
  ),
  (
    'jhu-clsp/mmBERT-base',  # recalled
    {
      **_size(22, 768, 12),
      'architectures': ['ModernBertForMaskedLM'],
      'global_attn_every_n_layers': 3,
      'global_rope_theta': 160000,
      'hidden_activation': 'gelu',
      'intermediate_size': 1152,
      'local_attention': 128,
      'max_position_embeddings': 8192,
      'model_type': 'modernbert',
      'vocab_size': 256000,
    },
    'modernbert',
  ),
  (
    'google/embeddinggemma-300m',  # recalled
    {
      'architectures': ['Gemma3TextModel'],
      'hidden_size': 768,
      'model_type': 'gemma3_text',
      'num_hidden_layers': 24,
      'vocab_size': 262144,
    },
    'gemma3_text',
  ),
  (
    'Qwen/Qwen3-Embedding-0.6B',  # recalled
    {
      'architectures': ['Qwen3ForCausalLM'],
      'hidden_size': 1024,
      'model_type': 'qwen3',
      'num_hidden_layers': 28,
      'vocab_size': 151669,
    },
    'qwen3',
  ),
  (
    'segment-any-text/sat-3l-sm',  # read from a copy
    {
      **_config('Model', _size(3, 768, 12), **_PAST_V4, **_ONE_LABEL),
      'architectures': ['SubwordXLMForTokenClassification'],
      'base_model': 'xlm-roberta-base',
      'lookahead': None,
      'lookahead_split_layers': None,
      'mixture_name': 'xlm-token',
      'model_type': 'xlm-token',
    },
    'xlm-token',
  ),
)
