"""Development examples where a user has none: a share of the training files.

Which examples are held out follows from the seed, the language and the files
alone, so that a run that goes on holds out the same. Examples that are the same
but for case and spaces stay on one side, and so do all questions on a text: a
score on what was trained on would say nothing.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from xlmr_jax.data import permutation
from xlmr_jax.eval.task import Task
from xlmr_jax.training import overlap

# What must stay on one side, by what an example holds.
TOGETHER: dict[str, Callable[[Any], Sequence[str]]] = {
  **overlap.CONTENT,
  'context': lambda question: (question.context,),
  'choices': lambda choice: choice.texts[:1],
}


def split(
  config, task: Task, examples: Mapping[str, list]
) -> tuple[dict[str, list], dict[str, list], str]:
  """(train, dev, a line for the user) of the examples of each language.

  Languages are those of config.dev_languages that are trained on, or all where
  none of them is; the others are only trained on.

  Raises:
    ValueError: a share that is none, development languages some of which are
      not trained on, too few examples.
  """
  share = config.get('dev_share', 0.1)
  if not 0 < share < 1:
    raise ValueError(
      f'config.dev_share={share} is not between 0 and 1, and config.dev is '
      'empty: name development files, or the share of train to hold out'
    )
  wanted = tuple(config.dev_languages)
  chosen = [language for language in wanted if language in examples]
  if chosen and len(chosen) < len(wanted):
    missing = ', '.join(name for name in wanted if name not in chosen)
    raise ValueError(
      f'config.dev is empty, and of config.dev_languages {missing} is not '
      f'trained on ({", ".join(examples)}): name development files, or other '
      'languages'
    )
  train, dev = dict(examples), {}
  for language in chosen or examples:
    train[language], dev[language] = hold_out(
      examples[language],
      share,
      config.seed,
      language,
      together=TOGETHER[task.kind.examples],
    )
  counts = ', '.join(
    f'{len(part):,} of {len(examples[name]):,} in {name}'
    for name, part in dev.items()
  )
  return (
    train,
    dev,
    f'config.dev is empty: {counts} of {config.train} are held out for '
    f'development (dev_share {share}, seed {config.seed})',
  )


def hold_out(
  examples: Sequence,
  share: float,
  seed: int,
  language: str,
  *,
  together: Callable[[Any], Sequence[str]],
) -> tuple[list, list]:
  """(train, dev): both in the order of the file.

  Args:
    examples: of a language.
    share: of them that dev should have; a group is taken whole or not at all,
      so that dev may be smaller.
    seed: of the draw.
    language: of the examples.
    together: example → what it has in common with those of its group.

  Raises:
    ValueError: there are no two groups.
  """
  numbers: dict[int, int] = {}
  groups = [
    numbers.setdefault(overlap.loose_key(together(e)), len(numbers))
    for e in examples
  ]
  if len(numbers) < 2:
    place = examples[0].where if examples else language
    raise ValueError(
      f'{place}: {len(numbers)} different examples cannot be parted into '
      'training and development: name files in config.dev'
    )
  sizes = np.bincount(groups)
  room = min(max(1, round(share * len(examples))), len(examples) - 1)
  key = permutation.key('held out', seed, language)
  order = permutation.order(np.arange(len(sizes)), len(sizes), key)
  taken = set()
  for group in order.tolist():
    if sizes[group] <= room:
      taken.add(group)
      room -= int(sizes[group])
  if not taken:  # each group is larger than the share
    taken = {min(order.tolist(), key=lambda group: sizes[group])}
  train: list = []
  dev: list = []
  for example, group in zip(examples, groups, strict=True):
    (dev if group in taken else train).append(example)
  return train, dev
