"""Scores a checkpoint on a benchmark, language by language.

XNLI, zero-shot, 15 languages (the folder holds XTREME's or the official
files; `--languages=en,sw` takes some):

  python -m xlmr_jax.eval --benchmark=xnli --checkpoint=DIR \\
      --data_dir=xnli --output_dir=OUT

UDPOS, zero-shot, on dev files of 29 languages (test files have no tags):

  python -m xlmr_jax.eval --benchmark=udpos --checkpoint=DIR \\
      --data_dir=udpos --split=dev --languages=en,de,ru,zh --output_dir=OUT

A checkpoint whose classes have no names, in the order of its ids:

  python -m xlmr_jax.eval --benchmark=xnli --checkpoint=ORG/MODEL \\
      --labels=entailment,neutral,contradiction --data_dir=... --output_dir=...

Your own files, a header `text<TAB>label`, or two texts and a number:

  python -m xlmr_jax.eval --benchmark=intents --checkpoint=DIR \\
      --test='intents/test-{language}.tsv' --output_dir=OUT
  python -m xlmr_jax.eval --benchmark=sts --checkpoint=DIR \\
      --test=sts/test.en.jsonl --languages=en --text=sentence1,sentence2 \\
      --label=score --metric=pearson --output_dir=OUT

Or tagged sentences, a line `word<TAB>tag` a word, a blank line after each:

  python -m xlmr_jax.eval --benchmark=ner --checkpoint=DIR \\
      --test='ner/test-{language}.tsv' --metric=span_f1 --output_dir=OUT

OUT gets results.json and predictions/<benchmark>/test-<language>.tsv, one
answer per line, as XTREME's leaderboard takes them: of tags with a blank line
between sentences. Scores are per cent.
"""

from collections.abc import Mapping
import json
import os
import pathlib

from absl import flags

from xlmr_jax import doors, loaded
from xlmr_jax.eval import evaluate, metrics, xtreme


def define_flags(values: flags.FlagValues = flags.FLAGS) -> None:
  """The command's flags."""
  to = {'flag_values': values}
  flags.DEFINE_string(
    'benchmark',
    'xnli',
    f'One of {", ".join(xtreme.TASKS)}; with --test any name for your files.',
    **to,
  )
  flags.DEFINE_string(
    'checkpoint',
    None,
    'Directory (ours, a workdir, or Hugging Face) or hub name.',
    required=True,
    **to,
  )
  flags.DEFINE_string(
    'output_dir', None, 'Folder for results.', required=True, **to
  )
  flags.DEFINE_string(
    'data_dir', None, "Folder of the benchmark's files.", **to
  )
  flags.DEFINE_list('languages', None, 'Some of the languages: en,sw.', **to)
  flags.DEFINE_enum(
    'split', 'test', ['test', 'dev'], 'Which files to score.', **to
  )
  flags.DEFINE_list(
    'labels', None, "Names of the checkpoint's classes, by its ids.", **to
  )
  flags.DEFINE_integer(
    'max_length',
    None,
    'Most tokens of an example, the rest is cut (a tagged sentence is read in '
    f'windows); default {evaluate.MAX_LENGTH} or what the model holds.',
    lower_bound=5,
    **to,
  )
  flags.DEFINE_enum(
    'dtype',
    'float32',
    ['float32', 'bfloat16'],
    'Of the computation.',
    **to,
  )
  flags.DEFINE_multi_string(
    'beside',
    [],
    'NAME=path/results.json: scores to show beside these; repeatable.',
    **to,
  )
  flags.DEFINE_string(
    'test',
    None,
    'Your own .tsv, .csv or .jsonl files (.gz, .xz), with {language} in the '
    'name.',
    **to,
  )
  flags.DEFINE_list(
    'text', ['text'], 'With --test: one or two columns or keys.', **to
  )
  flags.DEFINE_string(
    'label', 'label', "With --test: the label's; empty for none.", **to
  )
  flags.DEFINE_enum(
    'metric',
    'accuracy',
    list(metrics.SCORES),
    'With --test: for names accuracy, for tagged sentences span_f1, for '
    'numbers one of the others.',
    **to,
  )
  flags.DEFINE_bool(
    'quoted',
    True,
    'With --test: whether "..." in a table is a quoted field, as spreadsheets '
    'and pandas write it, or text as it is.',
    **to,
  )


def main(argv, options: flags.FlagValues = flags.FLAGS) -> None:
  """Evaluates as the flags say."""
  if len(argv) > 1:
    raise ValueError(f'not a flag: {argv[1]!r}')
  task = task_of(options)
  others = dict(read_beside(text, task) for text in options.beside)
  examples = evaluate.read(
    task, options.data_dir or '', options.split, options.languages
  )
  # Made now: a folder that cannot be written must not cost an evaluation.
  output = pathlib.Path(options.output_dir)
  output.mkdir(parents=True, exist_ok=True)
  timer: dict[str, float] = {}
  model = loaded.load(options.checkpoint, timer=timer, dtype=options.dtype)
  phases = ', '.join(f'{name} {t:.2f} s' for name, t in timer.items())
  print(f'{options.checkpoint}: {phases}', flush=True)
  result = evaluate.evaluate(
    model,
    task,
    examples,
    labels=options.labels,
    max_length=options.max_length,
  )
  written = xtreme.write_predictions(
    output / 'predictions', result, options.split
  )
  write_json(output / 'results.json', results(result, options.checkpoint))
  print(table(result, options.split, others))
  for note in result.notes:
    print(f'note: {note}')
  print(
    f'{result.tokens:,} tokens, {result.tokens_per_second:,.0f} a second; '
    f'{result.packing_efficiency:.2f} % of the computed ones are real\n'
    f'wrote {output / "results.json"} and {written}'
  )


def task_of(options) -> evaluate.Task:
  """The row that the flags ask for."""
  if options.test:
    if options.split != 'test':
      raise ValueError('--split is for benchmarks: give --test the other file')
    return evaluate.user_task(
      options.benchmark,
      {'test': options.test},
      options.languages or evaluate.languages_of(options.test),
      text=[int(c) if c.isdigit() else c for c in options.text],
      label=int(options.label)
      if options.label.isdigit()
      else options.label or None,
      metric=options.metric,
      quoted=options.quoted,
    )
  if options.benchmark not in xtreme.TASKS:
    raise ValueError(
      f'--benchmark={options.benchmark} is not one of '
      f'{", ".join(xtreme.TASKS)}; for files of your own give --test'
    )
  if not options.data_dir:
    raise ValueError(f'--data_dir is needed: the folder of {options.benchmark}')
  if not os.path.isdir(options.data_dir):
    raise ValueError(f'--data_dir={options.data_dir} is not a folder')
  return xtreme.TASKS[options.benchmark]


def results(result: evaluate.Result, checkpoint: str) -> dict:
  """What results.json holds: per cent, null where there are no labels."""
  name = result.task.name
  return {
    'benchmark': name,
    'checkpoint': checkpoint,
    'tasks': {
      name: {
        'metric': result.task.metric,
        'languages': result.scores,
        'average': result.average,
      }
    },
    'tokens_per_second': result.tokens_per_second,
    'packing_efficiency': result.packing_efficiency,
  }


def write_json(path: pathlib.Path, value: Mapping) -> None:
  """Whole or not at all."""
  temporary = path.with_name(f'.{path.name}.{os.getpid()}')
  try:
    text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False)
    temporary.write_text(text + '\n', encoding='utf-8')
    temporary.replace(path)
  finally:
    temporary.unlink(missing_ok=True)


def read_beside(text: str, task: evaluate.Task) -> tuple[str, dict]:
  """NAME=path/results.json → the name, and that file's part on the task."""
  name, _, path = text.partition('=')
  if not name or not path:
    raise ValueError(f'--beside={text}: write NAME=path/results.json')
  try:
    found = json.loads(pathlib.Path(path).read_text(encoding='utf-8'))
    part = found['tasks'][task.name]
    metric, _, _ = part['metric'], part['languages'], part['average']
  except (json.JSONDecodeError, KeyError, TypeError) as error:
    raise ValueError(
      f'--beside: {path} is no results.json of {task.name}'
    ) from error
  if metric != task.metric:
    raise ValueError(f'--beside: {path} has {metric}, not {task.metric}')
  return name, part


def table(
  result: evaluate.Result, split: str, others: Mapping[str, dict]
) -> str:
  """Languages down; score, the runs beside it, chance and majority across."""
  columns = [
    ('score', result.scores),
    *((name, part['languages']) for name, part in others.items()),
    ('chance', dict.fromkeys(result.scores, result.chance)),
    ('majority', result.majority),
  ]
  counts = {name: len(found) for name, found in result.predictions.items()}
  groups = {name: [name] for name in counts}
  groups['average'] = list(counts)
  # What the model was not fine-tuned on is what zero-shot is about.
  rest = [name for name in counts if name != result.task.source]
  if 0 < len(rest) < len(counts):
    groups[f'all but {result.task.source}'] = rest
  rows = [['', 'examples', *(name for name, _ in columns)]]
  for title, names in groups.items():
    values = [
      metrics.mean([column.get(name) for name in names])
      for _, column in columns
    ]
    count = f'{sum(counts[name] for name in names):,}'
    rows.append([title, count, *map(_cell, values)])
  widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
  lines = [
    '  '.join(
      cell.rjust(width) if i else cell.ljust(width)
      for i, (cell, width) in enumerate(zip(row, widths, strict=True))
    )
    for row in rows
  ]
  lines.insert(1 + len(counts), '-' * len(lines[0]))
  title = f'{result.task.name} {split}: {result.task.metric}'
  return '\n'.join(['', title, *lines, ''])


def _cell(value: float | None) -> str:
  return '-' if value is None else f'{value:.2f}'


if __name__ == '__main__':
  define_flags()
  doors.run(main)
