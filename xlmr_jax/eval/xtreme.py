"""XTREME (Hu et al. 2020, arXiv:2003.11080) as a table.

Adding a task is adding a row. `write_predictions` makes the files that its
leaderboard takes.
"""

from collections.abc import Mapping
import os
import pathlib
import shutil
import tempfile

from xlmr_jax.data import sources, tagged
from xlmr_jax.eval.evaluate import Result, Task
from xlmr_jax.tasks import classify, tag

TASKS: Mapping[str, Task] = {
  task.name: task
  for task in (
    Task(
      name='xnli',
      kind=classify,
      heads=('classify',),
      read=sources.xnli,
      languages=tuple('ar bg de el en es fr hi ru sw th tr ur vi zh'.split()),
      labels=('contradiction', 'entailment', 'neutral'),
    ),
    # Universal Dependencies 2.5, all treebanks of a language. Test files have
    # no tags; dev files, where there are any, have them.
    Task(
      name='udpos',
      kind=tag,
      heads=tag.HEADS,
      read=tagged.xtreme,
      languages=tuple(
        'af ar bg de el en es et eu fa fi fr he hi hu id it ja kk ko mr nl pt '
        'ru ta te th tl tr ur vi yo zh'.split()
      ),
      metric='span_f1',
      labels=tuple(
        'ADJ ADP ADV AUX CCONJ DET INTJ NOUN NUM PART PRON PROPN PUNCT SCONJ '
        'SYM VERB X'.split()
      ),
    ),
    # WikiANN (Pan et al. 2017; Rahimi et al. 2019).
    Task(
      name='panx',
      kind=tag,
      heads=tag.HEADS,
      read=tagged.xtreme,
      languages=tuple(
        'ar he vi id jv ms tl eu ml ta te af nl en de el bn hi mr ur fa fr it '
        'pt es bg ru ja ka ko th sw yo my zh kk tr et fi hu'.split()
      ),
      metric='span_f1',
      labels=tuple('B-LOC B-ORG B-PER I-LOC I-ORG I-PER O'.split()),
    ),
  )
}


def write_predictions(
  folder: str | os.PathLike, result: Result, split: str = 'test'
) -> pathlib.Path:
  """Writes <folder>/<task>/<split>-<language>.tsv, one answer per line.

  A blank line stands between the tags of two sentences.

  The task's folder appears whole; one of an earlier evaluation goes.

  Returns:
    The task's folder.
  """
  folder = pathlib.Path(folder)
  folder.mkdir(parents=True, exist_ok=True)
  made = pathlib.Path(tempfile.mkdtemp(prefix='.', dir=folder))
  try:
    for language, answers in result.predictions.items():
      if result.task.tags:
        sentences = (''.join(f'{name}\n' for name in tags) for tags in answers)
        text = '\n'.join(sentences)
      else:
        text = ''.join(f'{answer}\n' for answer in answers)
      (made / f'{split}-{language}.tsv').write_text(text, encoding='utf-8')
    made.chmod(0o755)
    target = folder / result.task.name
    if target.exists():
      shutil.rmtree(target)
    made.rename(target)
  finally:
    shutil.rmtree(made, ignore_errors=True)
  return target
