"""Readers of FewCLUE (Xu et al. 2021, arXiv:2107.07498): CLUE with few labels.

Every task has five small training sets, train_0 to train_4, each with its own
dev set, and all of them without repetition, train_few_all and dev_few_all;
test_public has labels and test, which is submitted, has none. All functions
take (data_dir, split, language): 'train' and 'dev' are those of `part`; other
splits are names of files. Files are looked for in `data_dir/{task}` and in
`data_dir`.

Inputs are those of clue.py's tasks, so one model can be asked for both.
"""

from collections.abc import Mapping
import functools
import os
from typing import Any

from xlmr_jax.data import files
from xlmr_jax.data.readers import choices, clue, clue_passages, zips

PARTS = (*'01234', 'few_all')
SPLITS = (
  'train',
  'dev',
  'test',
  'test_public',
  *(f'{split}_{part}' for split in ('train', 'dev') for part in PARTS),
)

# The classes. CSLDCP's as in its labels_all.txt.
LABELS: Mapping[str, tuple[str, ...]] = {
  'eprstmt': ('Negative', 'Positive'),
  'csldcp': tuple(
    """材料科学与工程 作物学 口腔医学 药学 教育学 水利工程 理论经济学
    食品科学与工程 畜牧学/兽医学 体育学 核科学与技术 力学 园艺学 水产
    法学 地质学/地质资源与地质工程 石油与天然气工程 农林经济管理
    信息与通信工程 图书馆、情报与档案管理 政治学 电气工程 海洋科学 民族学
    航空宇航科学与技术 化学/化学工程与技术 哲学 公共卫生与预防医学 艺术学
    农业工程 船舶与海洋工程 计算机科学与技术 冶金工程 交通运输工程
    动力工程及工程热物理 纺织科学与工程 建筑学 环境科学与工程 公共管理
    数学 物理学 林学/林业工程 心理学 历史学 工商管理 应用经济学
    中医学/中药学 天文学 机械工程 土木工程 光学工程 地理学 农业资源利用
    生物学/生物科学与工程 兵器科学与技术 矿业工程 大气科学
    基础医学/临床医学 电子科学与技术 测绘科学与技术 控制科学与工程 军事学
    中国语言文学 新闻传播学 社会学 地球物理学 植物保护""".split()
  ),
  'tnews': clue.LABELS['tnews'],
  'iflytek': clue.LABELS['iflytek'],
  'ocnli': clue.LABELS['ocnli'],
  'bustm': ('0', '1'),
  'csl': clue.LABELS['csl'],
  'cluewsc': clue.LABELS['cluewsc'],
}


def _find(name, data_dir, split, language, part) -> str:
  clue.check(split, language, f"FewCLUE's {name.upper()}", SPLITS)
  if str(part) not in PARTS:
    raise ValueError(f'part={part!r} is none of {", ".join(PARTS)}')
  file = f'{split}_{part}' if split in ('train', 'dev') else split
  description = f"FewCLUE's {name.upper()} {file} file"
  return zips.locate(data_dir, [name], [f'{file}.json'], description)


def _content(item: dict[str, Any], where: str) -> tuple[str, ...]:
  return tuple(files.texts(item, ('content',), where))


_TEXTS: Mapping[str, clue.Texts] = {
  'eprstmt': clue.sentence,
  'csldcp': _content,
  'tnews': clue.sentence,
  'iflytek': clue.sentence,
  'ocnli': clue.pair,
  'bustm': clue.pair,
  'csl': clue.keywords,
  'cluewsc': clue.marked,
}


def read(
  task: str,
  data_dir: str | os.PathLike,
  split: str,
  language: str = 'zh',
  *,
  part: int | str = 'few_all',
) -> list[clue.ExampleWithId]:
  """Reads a task of texts and their classes.

  Args:
    task: one of LABELS.
    data_dir: the folder of all tasks, or the task's own.
    split: one of SPLITS.
    language: 'zh'.
    part: of which set 'train' and 'dev' are, 0 to 4 or 'few_all'.

  Raises:
    ValueError: no such file, or one that clue.read refuses. Ids of CSLDCP's
      test_public start again within the file, which is only warned of.
  """
  path = _find(task, data_dir, split, language, part)
  drop = task == 'ocnli' and not split.startswith('test')
  return zips.read(
    lambda plain: clue.read(plain, _TEXTS[task], LABELS[task], disagreed=drop),
    path,
  )


# (data_dir, split, language, *, part) → rows.
eprstmt = functools.partial(read, 'eprstmt')  # whether a buyer is content
csldcp = functools.partial(read, 'csldcp')  # an abstract's science, one of 67
tnews = functools.partial(read, 'tnews')
iflytek = functools.partial(read, 'iflytek')
ocnli = functools.partial(read, 'ocnli')
bustm = functools.partial(read, 'bustm')  # whether two requests mean the same
csl = functools.partial(read, 'csl')
cluewsc = functools.partial(read, 'cluewsc')


def chid(
  data_dir: str | os.PathLike,
  split: str,
  language: str = 'zh',
  *,
  part: int | str = 'few_all',
  window: int | None = None,
) -> list[choices.GroupedChoice]:
  """Reads CHID: one blank, '#idiom#', a line, seven idioms and the answer.

  The passages are short, so all of one is the input unless `window` says how
  many characters around the blank. See clue_passages.chid for the input.
  """
  path = _find('chid', data_dir, split, language, part)
  return zips.read(functools.partial(_chid, window=window), path)


def _chid(path: str, *, window: int | None) -> list[choices.GroupedChoice]:
  mark, out = '#idiom#', []
  for number, (where, item) in enumerate(files.objects(path)):
    (passage,) = files.texts(item, ('content',), where)
    idioms = clue_passages.idioms_of(item, where)
    if passage.count(mark) != 1:
      raise ValueError(f'{where}: {passage.count(mark)} blanks {mark}, not one')
    label = None
    if item.get('answer') is not None:
      label = clue_passages.label_of(item['answer'], idioms, where)
    start = passage.index(mark)
    text = clue_passages.around(passage, start, start + len(mark), window)
    name = clue.id_of(item, number)
    out.append(choices.GroupedChoice((text,), idioms, label, where, name))
  files.check_ids(path, out, all(blank.label is not None for blank in out))
  return out
