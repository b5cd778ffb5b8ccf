"""XTREME and XTREME-R as tables (Hu et al. 2020, arXiv:2003.11080; Ruder et
al. 2021, arXiv:2104.07412): adding a task is adding a row.
"""

import dataclasses

from xlmr_jax.data.readers import (
  bitext,
  choices,
  nli,
  ranking_pools,
  tagged,
  tfds,
  xtreme_questions,
)
from xlmr_jax.eval.benchmarks import published
from xlmr_jax.eval.benchmarks.benchmark import Benchmark
from xlmr_jax.eval.task import Task
from xlmr_jax.tasks.kinds import KINDS

# Tasks without a head are answered by the states of a middle layer, the 14th
# of 24, with mean pooling. XTREME's scripts take that layer for Tatoeba
# and, by their defaults, the 20th and <s> for BUCC; retrieval depends on it
# more than on the model, so it is shown with every score.
_VECTORS = {'layer': 7 / 12, 'pooling': 'mean', 'skip_specials': False}


def _task(name, kind, read, languages, metric, labels='', **options) -> Task:
  return Task(
    name=name,
    kind=KINDS[kind],
    read=tfds.reader(name, read),
    languages=tuple(languages.split()),
    metric=metric,
    labels=tuple(labels.split()) or None,
    **options,
  )


def _pairs(name, read, languages, metric, max_length, match, **options) -> Task:
  return _task(
    name,
    'retrieve',
    read,
    languages,
    metric,
    max_length=max_length,
    vectors=_VECTORS,
    deciding={'match': match},
    **options,
  )


_TASKS = (
  _task(
    'xnli',
    'classify',
    nli.xnli,
    'ar bg de el en es fr hi ru sw th tr ur vi zh',
    'accuracy',
    'contradiction entailment neutral',
  ),
  _task(
    'pawsx', 'classify', nli.pawsx, 'de en es fr ja ko zh', 'accuracy', '0 1'
  ),
  # Universal Dependencies 2.5, all treebanks of a language. Test files have
  # no tags; dev files, where there are any, have them.
  _task(
    'udpos',
    'tag',
    tagged.xtreme,
    'af ar bg de el en es et eu fa fi fr he hi hu id it ja kk ko mr nl pt ru '
    'ta te th tl tr ur vi yo zh',
    'span_f1',
    'ADJ ADP ADV AUX CCONJ DET INTJ NOUN NUM PART PRON PROPN PUNCT SCONJ SYM '
    'VERB X',
  ),
  # WikiANN (Pan et al. 2017; Rahimi et al. 2019).
  _task(
    'panx',
    'tag',
    tagged.xtreme,
    'ar he vi id jv ms tl eu ml ta te af nl en de el bn hi mr ur fa fr it pt '
    'es bg ru ja ka ko th sw yo my zh kk tr et fi hu',
    'span_f1',
    'B-LOC B-ORG B-PER I-LOC I-ORG I-PER O',
  ),
  # Questions: windows of 384 tokens every 128, answers of 30 at most. XQuAD's
  # model and MLQA's is one that was tuned on SQuAD.
  _task(
    'xquad',
    'answer',
    xtreme_questions.xquad,
    'en es de el ru tr ar vi th zh hi',
    'squad',
    max_length=384,
    tuned_on='squad',
  ),
  _task(
    'mlqa',
    'answer',
    xtreme_questions.mlqa,
    'en es de ar hi vi zh',
    'mlqa',
    max_length=384,
    tuned_on='squad',
  ),
  _task(
    'tydiqa',
    'answer',
    xtreme_questions.tydiqa,
    'en ar bn fi id ko ru sw te',
    'squad',
    max_length=384,
  ),
  _pairs('bucc2018', bitext.bucc2018, 'de fr ru zh', 'pair_f1', 512, 'mine'),
  _pairs(
    'tatoeba',
    bitext.tatoeba,
    'ar he vi id jv tl eu ml ta te af nl de el bn hi mr ur fa fr it pt es bg '
    'ru ja ka ko th sw zh kk tr et fi hu',
    'accuracy',
    512,
    'nearest',
    test_only=True,
  ),
)
_XTREME = {task.name: task for task in _TASKS}


def _and(name: str, languages: str) -> Task:
  """A task of XTREME with more languages."""
  task = _XTREME[name]
  every = (*task.languages, *languages.split())
  return dataclasses.replace(task, languages=every)


_TASKS_R = (
  _XTREME['xnli'],
  _task(
    'xcopa',
    'choose',
    choices.xcopa,
    'et ht id it qu sw ta th tr vi zh',
    'accuracy',
  ),
  _and('udpos', 'lt pl uk wo ro'),
  _and('panx', 'qu pl uk az lt pa gu ro'),
  _and('xquad', 'ro'),
  _XTREME['mlqa'],
  _XTREME['tydiqa'],
  _and('tatoeba', 'az lt pl uk ro'),
  # XTREME-R fine-tunes a dual encoder for each of these; here the checkpoint's
  # own vectors are compared, whatever they were trained for.
  _pairs(
    'mewslix',
    ranking_pools.mewslix,
    'ar de en es fa ja pl ro ta tr uk',
    'map@20',
    64,
    'rank',
  ),
  _pairs(
    'lareqa',
    ranking_pools.lareqa,
    'ar de el en es hi ru th tr vi zh',
    'map@20',
    256,
    'rank',
    test_only=True,
  ),
)

XTREME = Benchmark(
  'xtreme',
  _TASKS,
  groups={
    'classification': ('pawsx', 'xnli'),
    'tagging': ('udpos', 'panx'),
    'qa': ('xquad', 'mlqa', 'tydiqa'),
    'retrieval': ('bucc2018', 'tatoeba'),
  },
  published=published.XTREME,
  related=_TASKS_R,
  prepared=True,
)
XTREME_R = Benchmark(
  'xtreme-r',
  _TASKS_R,
  # As evaluate.py has them: xcopa in two groups, and no scores of lareqa.
  groups={
    'classification': ('xnli', 'xcopa'),
    'tagging': ('udpos', 'panx'),
    'qa': ('xquad', 'mlqa', 'tydiqa'),
    'retrieval': ('tatoeba', 'mewslix'),
    'multi_choice': ('xcopa',),
  },
  published=published.XTREME,
  related=_TASKS,
  # Models learn to choose on Social IQa before COPA.
  tuning=(Task('siqa', KINDS['choose'], choices.siqa, ('en',)),),
  prepared=True,
)
