"""Published scores, to stand beside ours: each with where it was printed.

  >>> published('xnli', 'large', 'xnli')['sw']
  73.9
  >>> find('xtreme', 'large', 'overall').average
  68.1

Figures are per cent as printed, with one digit or two, and only those whose
source was read. Where it has some of the languages only, so does the row: its
average is still the printed one, of all of them.

XLM-R's variants are named as in model.VARIANTS: base, large, xl, xxl;
multilingual BERT is mbert. Of CLUE no source has a row of XLM-R: its tables are
of Chinese models, which stand beside ours for orientation, and beside their own
where one of them is what runs (NAMES).
"""

from collections.abc import Mapping
import dataclasses


@dataclasses.dataclass(frozen=True)
class Row:
  """What one model scores on one task.

  Attributes:
    benchmark: 'xnli', 'mlqa', 'xquad', 'xtreme' or 'clue'.
    model: name of the model.
    task: of the benchmark; 'overall' and CLUE's 'classification' are means.
    setting: 'zero-shot' (fine-tuned on English), 'translate-train-all', or
      'supervised'.
    split: of the data.
    languages: language → the task's score; of questions and answers the mean
      of F1 and exact match, in CLUE the exact match alone, as it ranks them.
      Those whose figures were seen, or none.
    average: as printed, of all languages; or the mean of the printed parts.
    parts: 'f1' and 'exact_match' → (languages, average), where there are.
    source: where it is printed.
  """

  benchmark: str
  model: str
  task: str
  setting: str
  split: str
  languages: Mapping[str, float]
  average: float
  parts: Mapping[str, tuple[Mapping[str, float], float]]
  source: str


def find(
  benchmark: str,
  model: str,
  task: str,
  *,
  setting: str | None = None,
  split: str = 'test',
) -> Row | None:
  """The row of a model on a task; None where we know of none.

  Without `setting` the first that is listed: zero-shot before translations,
  the paper's before others.
  """
  for row in ROWS:
    if (row.benchmark, row.model, row.task) == (benchmark, model, task):
      if row.split == split and setting in (None, row.setting):
        return row
  return None


def published(
  benchmark: str, model: str, task: str, **options: str
) -> dict[str, float]:
  """Language → published score; empty where we know of none.

  Args:
    benchmark: as `find` takes it, and the others too.
    model: name of the model.
    task: of the benchmark.
    **options: setting and split.
  """
  row = find(benchmark, model, task, **options)
  return dict(row.languages) if row else {}


def _both(f1: float, exact: float) -> float:
  """The mean, free of what binary fractions add to a printed figure."""
  return round((f1 + exact) / 2, 3)


def _row(
  benchmark, model, task, values, average, source, *, languages='', **options
) -> Row:
  """A row of figures as printed: '85.8 79.7', or F1/EM '77.1/64.6'."""
  options = {'setting': 'zero-shot', 'split': 'test', **options}
  names, cells = languages.split(), values.split()
  average = str(average)
  if '/' not in average:
    by_language = dict(zip(names, map(float, cells), strict=True))
    parts = {}
    mean = float(average)
  else:
    pairs = [tuple(map(float, cell.split('/'))) for cell in cells]
    means = tuple(map(float, average.split('/')))
    by_language = dict(
      zip(names, (_both(*pair) for pair in pairs), strict=True)
    )
    parts = {
      part: (dict(zip(names, (p[i] for p in pairs), strict=True)), means[i])
      for i, part in enumerate(('f1', 'exact_match'))
    }
    mean = _both(*means)
  return Row(
    benchmark=benchmark,
    model=model,
    task=task,
    languages=by_language,
    average=mean,
    parts=parts,
    source=source,
    **options,
  )


_XLMR = 'Conneau et al. 2020, arXiv:1911.02116'
_XL = 'Goyal et al. 2021, arXiv:2105.00572'
_README = f"{_XL}; table in fairseq's examples/xlmr/README.md"
_HU = 'Hu et al. 2020, arXiv:2003.11080v3'
_VECO = (
  'Hu et al. 2020, as quoted in a summary of VECO (Luo et al. 2020, '
  'arXiv:2010.16046)'
)
# Averages, and the figures of some languages.
_QUOTED = (
  f"{_VECO}; languages as quoted in MuRIL's README (Khanuja et al. 2021, "
  'arXiv:2103.10730)'
)

_XNLI = 'en fr es de el bg ru tr ar vi th zh hi sw ur'
_MLQA = 'en es de ar hi vi zh'
# fairseq's README heads these two rows with _MLQA's order; the figures are
# plainly in this one.
_MLQA_XL = 'en ar de es hi vi zh'
_ALL = {'setting': 'translate-train-all'}


def _xnli(model, values, average, source, **options) -> Row:
  return _row(
    'xnli', model, 'xnli', values, average, source, languages=_XNLI, **options
  )


def _mlqa(model, languages, values, average, source) -> Row:
  return _row(
    'mlqa', model, 'mlqa', values, average, source, languages=languages
  )


_XLMR_ROWS = (
  _xnli(
    'base',
    '85.8 79.7 80.7 78.7 77.5 79.6 78.1 74.2 73.8 76.5 74.6 76.7 72.4 66.5 '
    '68.3',
    76.2,
    _XLMR,
  ),
  _xnli(
    'large',
    '89.1 84.1 85.1 83.9 82.9 84.0 81.2 79.6 79.8 80.8 78.1 80.2 76.9 73.9 '
    '73.8',
    80.9,
    _XLMR,
  ),
  _xnli(
    'base',
    '85.4 81.4 82.2 80.3 80.4 81.3 79.7 78.6 77.3 79.7 77.9 80.2 76.1 73.1 '
    '73.0',
    79.1,
    _XLMR,
    **_ALL,
  ),
  _xnli(
    'large',
    '89.1 85.1 86.6 85.7 85.3 85.9 83.5 83.2 83.1 83.7 81.5 83.7 81.6 78.0 '
    '78.1',
    83.6,
    _XLMR,
    **_ALL,
  ),
  _xnli(
    'xl',
    '91.1 87.2 88.1 87.0 87.4 87.8 85.3 85.2 85.3 86.2 83.8 85.3 83.1 79.8 '
    '78.2',
    85.4,
    _README,
    **_ALL,
  ),
  _xnli(
    'xxl',
    '91.5 87.6 88.7 87.8 87.4 88.2 85.6 85.1 85.8 86.3 83.9 85.6 84.6 81.7 '
    '80.6',
    86.0,
    _README,
    **_ALL,
  ),
  _mlqa(
    'base',
    _MLQA,
    '77.1/64.6 67.4/49.6 60.9/46.7 54.9/36.6 59.4/42.9 64.5/44.7 61.8/39.3',
    '63.7/46.3',
    _XLMR,
  ),
  _mlqa(
    'large',
    _MLQA,
    '80.6/67.8 74.1/56.0 68.5/53.6 63.1/43.5 69.2/51.6 71.3/50.9 68.0/45.4',
    '70.7/52.7',
    _XLMR,
  ),
  _mlqa(
    'xl',
    _MLQA_XL,
    '85.1/72.6 66.7/46.2 70.5/55.5 74.3/56.9 72.2/54.7 74.4/52.9 70.9/48.5',
    '73.4/55.3',
    _README,
  ),
  _mlqa(
    'xxl',
    _MLQA_XL,
    '85.5/72.4 68.6/48.4 72.7/57.8 75.4/57.6 73.7/55.8 76.0/55.0 71.7/48.9',
    '74.8/56.6',
    _README,
  ),
)


def _large(task, values, average, source, **options) -> Row:
  return _row('xtreme', 'large', task, values, average, source, **options)


_XTREME_ROWS = (
  _large(
    'xnli',
    '88.7 75.6 71.7',
    79.2,
    _QUOTED,
    languages='en hi ur',
  ),
  _large(
    'pawsx',
    '94.7 89.7 90.1 90.4 78.7 79.0 82.3',
    86.4,
    f"{_HU}; languages as in ERNIE-M's README",
    languages='en de es fr ja ko zh',
  ),
  _large(
    'panx',
    '78.8 84.7 73.0 67.8 68.1 59.5 55.8 56.4',
    65.4,
    _QUOTED,
    languages='bn en hi ml mr ta te ur',
  ),
  _large(
    'xquad',
    '86.5/75.7 68.6/49.0 80.4/63.4 79.8/61.7 82.0/63.9 76.7/59.7 80.1/64.3 '
    '74.2/62.8 75.9/59.3 79.1/59.0 59.3/50.0',
    '76.6/60.8',
    f"{_HU}; languages as in XQuAD's README",
    languages='en ar de el es hi ru th tr vi zh',
  ),
  _large(
    'mlqa',
    '83.5/70.6 70.6/53.1',
    '71.6/53.2',
    _QUOTED,
    languages='en hi',
  ),
  _large('bucc2018', '', 66.0, _VECO),
  _large('tatoeba', '', 57.3, _HU),
  # The paper's first version; of later ones no source was seen.
  _large('overall', '', 68.1, f'{_VECO}; version 1'),
  # XLM-Align's table leaves retrieval out, and trains in its own way.
  *(
    _row('xtreme', 'base', task, '', average, "XLM-Align's model card")
    for task, average in (
      ('udpos', 75.6),
      ('panx', 61.8),
      ('xquad', '71.9/56.4'),
      ('mlqa', '65.1/47.2'),
      ('tydiqa', '55.4/38.3'),
      ('xnli', 75.0),
      ('pawsx', 84.9),
      ('mean of these seven', 66.4),
    )
  ),
)

# mBERT, cased. mT5's table has F1 alone of questions, so that only XQuAD, which
# its own README has whole, is here; of UDPOS and retrieval no source was seen.
_MT5 = f"{_HU}, as in mT5's README (google-research/multilingual-t5)"
_ERNIE = "ERNIE-M's README (Ouyang et al. 2021, arXiv:2012.15674)"
_MBERT_ROWS = (
  _row('xtreme', 'mbert', 'xnli', '', 65.4, _MT5),
  _row('xtreme', 'mbert', 'pawsx', '', 81.9, _MT5),
  _row('xtreme', 'mbert', 'panx', '', 62.2, _MT5),
  _row(
    'xtreme',
    'mbert',
    'xquad',
    '83.5/72.2 61.5/45.1 70.6/54.0 62.6/44.9 75.5/56.9 59.2/46.0 71.3/53.3 '
    '42.7/33.5 55.4/40.1 69.5/49.6 58.0/48.3',
    '64.5/49.4',
    f"{_MT5}; languages as in XQuAD's README, and their mean exact match",
    languages='en ar de el es hi ru th tr vi zh',
  ),
  _mlqa(
    'mbert',
    _MLQA,
    '77.7/65.2 64.3/46.6 57.9/44.3 45.7/29.8 43.8/29.7 57.1/38.6 57.5/37.3',
    '57.7/41.6',
    _ERNIE,
  ),
)

_CLUE = "CLUE's README (CLUEbenchmark/CLUE)"
_OCNLI = "OCNLI's README (CLUEbenchmark/OCNLI)"
_CLUENER = "CLUENER2020's README (CLUEbenchmark/CLUENER2020)"
_PADDLE = "PaddleNLP's table of CLUE"
_SUPERVISED = {'setting': 'supervised'}


def _clue(model, names, values, source, split='test') -> tuple[Row, ...]:
  """A line of a table: one figure a task, F1/EM where there are both."""
  out = []
  for task, value in zip(names.split(), values.split(), strict=True):
    more = {'languages': 'zh', 'split': split, **_SUPERVISED}
    row = _row('clue', model, task, value, value, source, **more)
    if row.parts:  # CLUE ranks by the second
      languages, average = row.parts['exact_match']
      row = dataclasses.replace(row, languages=languages, average=average)
    out.append(row)
  return tuple(out)


_TABLE = 'afqmc tnews iflytek cmnli cluewsc2020 csl classification'
# The table has CMRC's EM alone; where its F1 is printed too, it stands here.
_MORE = f'{_TABLE} cmrc2018 chid c3'
_DEV = 'afqmc tnews iflytek cmnli ocnli cluewsc2020 csl cmrc2018 chid c3'
# The mean of all ten, of CMRC its EM.
_DEV_ALL = f'{_DEV} overall'

_CLUE_ROWS = (
  *_clue(
    'BERT-base',
    _MORE,
    '73.70 56.58 60.29 79.69 62.0 80.36 68.77 71.60 82.04 64.50',
    _CLUE,
  ),
  *_clue(
    'BERT-wwm-ext',
    _MORE,
    '74.07 56.84 59.43 80.42 61.1 80.63 68.75 73.95 82.90 68.50',
    _CLUE,
  ),
  *_clue(
    'RoBERTa-wwm-ext',
    _MORE,
    '74.04 56.94 60.31 80.51 67.8 81.0 70.10 75.20 83.62 66.50',
    _CLUE,
  ),
  *_clue(
    'RoBERTa-wwm-large',
    _MORE,
    '76.55 58.61 62.98 82.12 74.6 82.13 72.83 92.11/77.95 85.37 73.82',
    _CLUE,
  ),
  *_clue(
    'ALBERT-xxlarge',
    _MORE,
    '75.6 59.46 62.89 83.14 61.54 83.63 71.04 75.15 83.15 73.28',
    _CLUE,
  ),
  *_clue('BERT-base', 'cmrc2018', '85.48/64.77', _CLUE, 'dev'),
  *_clue('RoBERTa-wwm-ext', 'cmrc2018', '87.28/67.89', _CLUE, 'dev'),
  *_clue('RoBERTa-wwm-large', 'cmrc2018', '89.42/70.59', _CLUE, 'dev'),
  *_clue('BERT-base', 'drcd', '91.46/85.49', _CLUE),
  *_clue('RoBERTa-wwm-ext', 'drcd', '93.53/88.12', _CLUE),
  *_clue('RoBERTa-wwm-large', 'drcd', '95.06/90.70', _CLUE),
  *_clue('BERT-base', 'ocnli', '74.5', _OCNLI, 'dev'),
  *_clue('BERT-base', 'ocnli', '72.2', _OCNLI),
  *_clue('RoBERTa-wwm-large', 'ocnli', '78.8', _OCNLI, 'dev'),
  *_clue('RoBERTa-wwm-large', 'ocnli', '78.2', _OCNLI),
  *_clue('majority', 'ocnli', '37.4', _OCNLI, 'dev'),
  *_clue('majority', 'ocnli', '38.1', _OCNLI),
  *_clue('human', 'ocnli', '90.3', _OCNLI),
  *_clue('BERT-base', 'cluener', '78.82', _CLUENER),
  *_clue('RoBERTa-wwm-large', 'cluener', '80.42', _CLUENER),
  *_clue('BiLSTM-CRF', 'cluener', '70.00', _CLUENER),
  *_clue('human', 'cluener', '63.41', _CLUENER),
  *_clue(
    'HFL/RoBERTa-wwm-ext-large',
    _DEV_ALL,
    '76.00 59.33 62.02 83.88 78.81 90.79 83.67 89.82/70.58 85.72 75.26 76.61',
    _PADDLE,
    'dev',
  ),
  *_clue(
    'HFL/RoBERTa-wwm-ext',
    _DEV_ALL,
    '74.60 58.08 61.23 81.11 76.92 88.49 80.77 88.50/68.39 83.43 68.03 74.11',
    _PADDLE,
    'dev',
  ),
  *_clue(
    'BERT-Base-Chinese',
    _DEV_ALL,
    '74.63 57.13 61.29 80.97 75.22 81.91 81.90 86.53/65.30 82.01 65.38 72.57',
    _PADDLE,
    'dev',
  ),
)

# What recipes call a model → what the tables do.
NAMES: Mapping[str, tuple[str, ...]] = {
  'bert-base-chinese': ('BERT-base', 'BERT-Base-Chinese'),
  'bert-wwm-ext': ('BERT-wwm-ext',),
  'roberta-wwm-ext': ('RoBERTa-wwm-ext', 'HFL/RoBERTa-wwm-ext'),
  'roberta-wwm-ext-large': ('RoBERTa-wwm-large', 'HFL/RoBERTa-wwm-ext-large'),
}

# What stands beside XTREME's scores and CLUE's, their own tables first.
XTREME: tuple[Row, ...] = (*_XTREME_ROWS, *_MBERT_ROWS, *_XLMR_ROWS)
CLUE: tuple[Row, ...] = _CLUE_ROWS
ROWS: tuple[Row, ...] = (*XTREME, *CLUE)
