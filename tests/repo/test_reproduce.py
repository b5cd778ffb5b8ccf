"""docs/reproduce.md: its commands are taken, its figures are the code's.

`python tests/repo/test_reproduce.py` prints the two tables of XTREME and that
of CLUE, to be put there. What `xlmr plan --json` said of each fine-tuning
stands in docs/reproduce_plans.jsonl.
"""

import importlib
import json
import pathlib
import re
import shlex
import sys

from absl import flags
import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
if __name__ == '__main__':
  sys.path.insert(0, str(ROOT))

from xlmr_jax.__main__ import COMMANDS  # noqa: E402
from xlmr_jax.eval.benchmarks import published, table  # noqa: E402
from xlmr_jax.eval.suite import protocols, suite, trainings  # noqa: E402
from xlmr_jax.plan import __main__ as plan  # noqa: E402
from xlmr_jax.plan import finetuning  # noqa: E402
from xlmr_jax.training import training_data  # noqa: E402

PAGE = ROOT / 'docs' / 'reproduce.md'
PLANS = ROOT / 'docs' / 'reproduce_plans.jsonl'
MODELS = ('base', 'large')
TITLES = {
  'xnli': 'XNLI',
  'pawsx': 'PAWS-X',
  'udpos': 'UDPOS',
  'panx': 'PAN-X',
  'xquad': 'XQuAD',
  'mlqa': 'MLQA',
  'tydiqa': 'TyDi QA',
  'bucc2018': 'BUCC',
  'tatoeba': 'Tatoeba',
}
CHIPS = 4  # of the machine of the page, v5e:2x2


def records():
  """(task, model) → what `plan` said of it."""
  lines = map(json.loads, PLANS.read_text('utf-8').splitlines())
  return {(line['task'], line['model']): line for line in lines}


def scores(row) -> str:
  """'76.2', or F1/EM, as printed."""
  if not row.parts:
    return f'{row.average:.1f}'
  return '/'.join(f'{average:.1f}' for _, average in row.parts.values())


def rows_of(model: str, task: str) -> list[published.Row]:
  return [
    row
    for row in published.XTREME
    if (row.model, row.task) == (model, task)
    and (row.setting, row.split) == ('zero-shot', 'test')
  ]


def xtreme_table(model: str) -> list[str]:
  """A line a task: what it takes, and what is published; then the sources."""
  lines = [
    '| row | steps | a step, ms | hours | chip-hours | cost | GiB a chip |'
    ' published |',
    '|---|---|---|---|---|---|---|---|',
  ]
  sources: list[str] = []
  for task, title in TITLES.items():
    theirs = []
    for row in rows_of(model, task):
      if row.source not in sources:
        sources.append(row.source)
      theirs.append(f'{scores(row)} ({sources.index(row.source) + 1})')
    facts = records().get((task if task != 'mlqa' else 'xquad', model))
    cells = [title, *['–'] * 6]
    if facts and task == 'mlqa':
      cells = [title, 'as XQuAD', *[''] * 5]
    elif facts:
      apart = facts['seconds']['in_turn'] / facts['bound']
      cells = [
        title,
        f'{facts["steps"]:,}',
        f'{1e3 * facts["bound"]:.1f} ({1e3 * facts["bound"] * apart:.1f})',
        f'{facts["hours"]:.3f} ({facts["hours"] * apart:.3f})',
        f'{facts["chip_hours"]:.2f} ({facts["chip_hours"] * apart:.2f})',
        f'{facts["cost"]:.2f} ({facts["cost"] * apart:.2f})',
        f'{facts["total"] / 2**30:.1f} of {facts["available"] / 2**30:.2f}',
      ]
    lines.append(
      f'| {" | ".join(cells)} | {", ".join(theirs) or "none was read"} |'
    )
  lines.append('')
  lines += [f'- ({i}) {source}' for i, source in enumerate(sources, 1)]
  return lines


def clue_table() -> list[str]:
  """A line a published model and split, XLM-R's own being unknown."""
  tasks = [*dict.fromkeys(row.task for row in published.CLUE)]
  tasks = [name for name in tasks if name not in ('classification', 'overall')]
  lines = [
    f'| model | its row | split | {" | ".join(tasks)} |',
    f'|---|---|---|{"---|" * len(tasks)}',
  ]
  for model, names in published.NAMES.items():
    for name in names:
      for split in ('test', 'dev'):
        printed = {
          row.task: row
          for row in published.CLUE
          if (row.model, row.split) == (name, split)
        }
        if not printed:
          continue
        cells = [
          f'{printed[t].average:.2f}' if t in printed else '–' for t in tasks
        ]
        sources = '; '.join(dict.fromkeys(r.source for r in printed.values()))
        lines.append(
          f'| `{model}` | {name} ({sources}) | {split} | {" | ".join(cells)} |'
        )
  return lines


def commands() -> list[list[str]]:
  """The words of each `xlmr` command of the page's bash blocks."""
  out = []
  for block in re.findall(r'```bash\n(.*?)```', PAGE.read_text('utf-8'), re.S):
    lines = block.replace('\\\n', ' ').splitlines()
    for line in lines:
      words = shlex.split(line, comments=True)
      if words[:1] == ['xlmr']:
        out.append(words[1:])
  return out


def parse(monkeypatch, name, words) -> flags.FlagValues:
  """A command line by the flags of its command, the recipe's settings too."""
  module = importlib.import_module(COMMANDS[name][0])
  values = flags.FlagValues()
  module.define_flags(values)
  monkeypatch.setattr('sys.argv', ['xlmr', *words])
  left = values(['xlmr', *words])
  assert left == ['xlmr']
  return values


def text() -> str:
  return PAGE.read_text('utf-8')


# ── Commands ──────────────────────────────────────────────────────────────


def test_every_row_has_its_command():
  evaluated, planned = set(), set()
  for name, *words in commands():
    config = next(w for w in words if w.startswith('--config='))
    for task in re.findall(r'tasks?=([\w+]+)', config):
      model = re.search(r'model=([\w-]+)', config)[1]
      (evaluated if name == 'eval' else planned).update(
        (part, model) for part in task.split('+')
      )
  rows = {(task, model) for task in TITLES for model in MODELS}
  assert rows <= evaluated
  assert set(records()) <= planned
  assert {'roberta-wwm-ext', 'roberta-wwm-ext-large'} <= {
    model for _, model in evaluated
  }


@pytest.mark.parametrize('words', commands(), ids=' '.join)
def test_a_command_is_taken(words, monkeypatch):
  name, *words = words
  values = parse(monkeypatch, name, words)
  if name == 'plan':
    config = values.config
    size = finetuning.find_size(config, values.examples, values.mean_length)
    assert finetuning.count_classes(config, size)
    return
  assert name == 'eval'
  config = values.config
  suite._check_settings(config)
  benchmark = table.find(config.benchmark)
  names = config.tasks
  if names == ('all',):
    names = [task.name for task in benchmark.tasks]
  tuned = set()
  for task in names:
    for need in protocols.of_task(config, benchmark[task], 0):
      if not need.tuned or need.tuned in tuned:
        continue
      tuned.add(need.tuned)
      # What the benchmark will run: each setting is one of the recipe's.
      _, _, module, *inner = trainings.train_command(
        config, need, {}, 'runs/x', 1
      )
      given = parse(monkeypatch, module.removeprefix('xlmr_jax.'), inner)
      train_task, _ = training_data.tasks_of(given.config)
      assert given.config.objective in train_task.kind.objectives
      assert given.config.init


# ── Figures ───────────────────────────────────────────────────────────────


@pytest.mark.parametrize('model', MODELS)
def test_the_table_of_a_model_is_made_of_plans_and_published_rows(model):
  assert '\n'.join(xtreme_table(model)) in text(), (
    'python tests/repo/test_reproduce.py prints it'
  )


def test_the_table_of_clue_is_the_published_one():
  assert '\n'.join(clue_table()) in text(), (
    'python tests/repo/test_reproduce.py prints it'
  )


def test_every_tuned_row_has_a_plan():
  tuned = [name for name in TITLES if name in finetuning.SIZES]
  wanted = {(name, m) for name in tuned if name != 'mlqa' for m in MODELS}
  assert set(records()) == wanted


@pytest.mark.parametrize('key', records(), ids=' '.join)
def test_a_plan_is_of_todays_recipe_and_sizes(key, monkeypatch):
  """The compiler is not asked again: its bytes and its bound are kept."""
  task, model = key
  facts = records()[key]
  argument = f'--config=finetune:task={task},model={model}'
  words = next(
    words for name, *words in commands() if name == 'plan' and argument in words
  )
  values = parse(monkeypatch, 'plan', words)
  assert facts['topology'] == values.topology == 'v5e:2x2'
  assert facts['dtype'] == values.config.dtype
  size = finetuning.find_size(values.config)
  load = finetuning.find_load(values.config, size, CHIPS)
  assert (facts['steps'], facts['rows']) == (load.steps, load.rows)
  tokens = load.rows * values.config.row_length
  rate = {'tokens_per_second': tokens / facts['bound'], 'chips': CHIPS}
  run = plan.cost({**rate, 'mfu_bound': 1.0}, load.steps * tokens, values.price)
  for name in ('hours', 'chip_hours', 'cost'):
    assert facts[name] == pytest.approx(run[name], rel=1e-6), name
  assert facts['total'] < facts['available']


if __name__ == '__main__':
  for name in MODELS:
    print(f'XLM-R {name}', *xtreme_table(name), sep='\n', end='\n\n')
  print('CLUE', *clue_table(), sep='\n')
