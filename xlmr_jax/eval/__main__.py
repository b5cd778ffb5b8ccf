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

Or several labels an example, in a column `joy,surprise`, in a list of JSONL, or
each in a column of 0 and 1 (--label=joy,surprise,...):

  python -m xlmr_jax.eval --benchmark=feelings --checkpoint=DIR \\
      --test='feelings/test-{language}.tsv' --kind=multilabel --output_dir=OUT

Or a benchmark of your own, a row that your file defines (docs/extending.md):

  python -m xlmr_jax.eval --custom_tasks=intents.py --benchmark=intents \\
      --checkpoint=DIR --data_dir=DIR --output_dir=OUT

Or tagged sentences, a line a word in columns, a blank line after each; the tag
is the last column, or --label=1 (from 0):

  python -m xlmr_jax.eval --benchmark=ner --checkpoint=DIR \\
      --test='ner/test-{language}.tsv' --metric=span_f1 --output_dir=OUT

Or questions on a text, as SQuAD's files or `datasets` have them. squad2 is for
SQuAD 2.0, where some have no answer: the checkpoint says from where on none is
given (training chose that on dev), and OUT/null_odds and OUT/best_spans are the
files that evaluate-v2.0.py takes beside the predictions:

  python -m xlmr_jax.eval --benchmark=faq --checkpoint=DIR --languages=en \\
      --test=faq/test.json --metric=squad2 --output_dir=OUT

A whole benchmark: what is missing is fine-tuned, all is evaluated and put into
tables; killed and started again, it goes on (configs/xtreme.py and
configs/clue.py say more):

  python -m xlmr_jax.eval --config=configs/xtreme.py:model=large,tasks=all \\
      --config.data_dir=xtreme --workdir=runs/xtreme-large

Any system's predictions, in the layout of the submissions, by no model:

  python -m xlmr_jax.eval --benchmark=xtreme --predictions=DIR --labels=DIR \\
      --output_dir=OUT
  python -m xlmr_jax.eval --benchmark=clue --predictions=submit.zip \\
      --labels=DIR --output_dir=OUT

OUT gets results.json and predictions/<benchmark>/test-<language>.tsv, one
answer per line, as XTREME's leaderboard takes them: of tags with a blank line
between sentences (and on files of your own the word before the tag), of
questions as .json. Scores are per cent. On several hosts
every host gets the same command (docs/pods.md); the first one writes.
"""

from collections.abc import Mapping
import dataclasses
import os
import sys
from typing import Any

from absl import flags

from xlmr_jax.data.readers import label_sets, tfds
from xlmr_jax.eval import evaluate, report
from xlmr_jax.eval.benchmarks import table
from xlmr_jax.eval.metrics import scores
from xlmr_jax.eval.suite import suite, summary
from xlmr_jax.eval.task import (
  MAX_LENGTH,
  Task,
  languages_of,
  read_available,
  read_examples,
  user_task,
)
from xlmr_jax.inference import loaded
from xlmr_jax.runtime import buckets, commands, devices, hosts, recipes
from xlmr_jax.tasks.kinds import KINDS, kind_of_metric


def define_flags(values: flags.FlagValues = flags.FLAGS) -> None:
  """The command's flags."""
  to: dict[str, Any] = {'flag_values': values}
  flags.DEFINE_string(
    'benchmark',
    'xnli',
    f'One of {", ".join(table.tasks())}; with --test any name for your '
    f'files; with --predictions {" or ".join(table.BENCHMARKS)}.',
    **to,
  )
  flags.DEFINE_string(
    'checkpoint',
    None,
    'Directory (ours, a workdir, or Hugging Face) or hub name.',
    **to,
  )
  flags.DEFINE_string(
    'output_dir', None, 'Folder for results, also gs://… or s3://….', **to
  )
  recipes.define_flag(
    values, 'A recipe of a whole benchmark, with --workdir: xtreme:model=base'
  )
  flags.DEFINE_string('workdir', None, 'With --config: of the runs.', **to)
  flags.DEFINE_string(
    'custom_tasks',
    None,
    'A Python file of yours that adds rows to BENCHMARKS (docs/extending.md).',
    **to,
  )
  flags.DEFINE_string(
    'predictions',
    None,
    'Folder <task>/test-<language>.* to score, with --labels=DIR.',
    **to,
  )
  _define_vectors(to)
  flags.DEFINE_string(
    'data_dir',
    None,
    "Folder of the benchmark's files, or tfds:DIR (XTREME's builders).",
    **to,
  )
  flags.DEFINE_list('languages', None, 'Some of the languages: en,sw.', **to)
  flags.DEFINE_string(
    'split', 'test', 'Which files to score: test, dev or what there is.', **to
  )
  flags.DEFINE_list(
    'labels',
    None,
    "Names of the checkpoint's classes, by its ids; with --predictions the "
    'folder of labels.',
    **to,
  )
  flags.DEFINE_integer(
    'max_length',
    None,
    'Most tokens of an example, the rest is cut (a tagged sentence is read in '
    f'windows); default {MAX_LENGTH} or what the model holds.',
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
  flags.DEFINE_list(
    'mesh',
    None,
    'Devices along data,fsdp,tensor, e.g. -1,1,1; default: all as data.',
    **to,
  )
  hosts.define_flags(values)
  flags.DEFINE_multi_string(
    'beside',
    [],
    'NAME=path/results.json: scores to show beside these; repeatable.',
    **to,
  )
  flags.DEFINE_string(
    'test',
    None,
    'Your own .tsv, .csv or .jsonl files (.gz, .xz, .zst), with {language} in '
    'the name.',
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
    None,
    list(scores.SCORES),
    'With --test: for names accuracy (default), macro_f1, micro_f1 or '
    'matthews, for tagged sentences span_f1, for questions on a text squad, or '
    'squad2 where some have no answer, for numbers mse, pearson or spearman.',
    **to,
  )
  flags.DEFINE_enum(
    'kind',
    None,
    [name for name, kind in KINDS.items() if kind.heads],
    'With --test: of question, if the metric does not say it.',
    **to,
  )
  flags.DEFINE_string(
    'label_separator',
    label_sets.SEPARATOR,
    'With --test: between the labels of an example that has several.',
    **to,
  )
  flags.DEFINE_float(
    'null_threshold',
    None,
    'With --metric=squad2: by how much no answer must beat the best span to be '
    "given; default: the checkpoint's own, which training chose on dev.",
    **to,
  )
  flags.DEFINE_bool(
    'skip_bad',
    False,
    'With --test: answers to questions that do not stand where the file says '
    'are counted and scored by their text, instead of refused.',
    **to,
  )
  flags.DEFINE_bool(
    'quoted',
    None,
    'With --test: whether "..." in a table is a quoted field, as spreadsheets '
    'and pandas write it, or text as it is; left out, the file decides.',
    **to,
  )


def _define_vectors(to) -> None:
  """Flags of tasks that are answered by the body alone."""
  flags.DEFINE_float(
    'layer',
    None,
    'Of retrieval: after which layer states are taken, 0 for the embeddings; '
    'a fraction is a share of the depth. Default: 7/12 of it.',
    lower_bound=0,
    **to,
  )
  flags.DEFINE_enum(
    'pooling', None, ['mean', 'cls'], 'Of retrieval; default mean.', **to
  )
  flags.DEFINE_bool(
    'skip_specials', False, 'Of retrieval: mean without <s> and </s>.', **to
  )


def main(argv, options: flags.FlagValues = flags.FLAGS) -> None:
  """Evaluates as the flags say."""
  if len(argv) > 1:
    raise ValueError(f'not a flag: {argv[1]!r}')
  if options.custom_tasks:
    table.import_file(options.custom_tasks)
  if options.config is not None:
    if not options.workdir:
      raise ValueError('--workdir is needed with --config')
    group = hosts.Group.of(options)
    with buckets.Mirror(options.workdir, several=group.several) as mirror:
      folder, keep = mirror.folder, mirror.sync
      suite.run(options.config, folder, group=group, keep=keep)
    return
  if not options.output_dir:
    raise ValueError('--output_dir is needed: the folder for results')
  if options.predictions:
    score_submission(options)
    return
  whole = options.benchmark in table.BENCHMARKS
  if whole and options.benchmark not in table.tasks():
    raise ValueError(
      f'--benchmark={options.benchmark} needs --predictions=DIR and '
      '--labels=DIR, or a recipe: --config=configs/xtreme.py:model=...'
    )
  if not options.checkpoint:
    raise ValueError('--checkpoint is needed: a directory or hub name')
  mesh = mesh_of(options.mesh)
  task = task_of(options)
  others = dict(report.read_beside(text, task) for text in options.beside)
  where = task, options.data_dir or '', options.split
  available = read_available(*where, options.languages)
  if available.broken:
    raise ValueError(available.broken[0])
  if available.missing and (options.languages or not available.examples):
    read_examples(*where, options.languages)  # says which and where
  examples = available.examples
  # Made now: a folder that cannot be written must not cost an evaluation.
  mirror = buckets.Mirror(options.output_dir, room='results')
  output = mirror.folder
  output.mkdir(parents=True, exist_ok=True)
  hosts.Group.of(options).start()
  timer: dict[str, float] = {}
  model = loaded.load(
    options.checkpoint,
    timer=timer,
    dtype=options.dtype,
    mesh=mesh,
  )
  phases = ', '.join(f'{name} {t:.2f} s' for name, t in timer.items())
  if hosts.lead():
    print(f'devices: {devices.describe()}')
    print(f'{options.checkpoint}: {phases}', flush=True)
  more = {'labels': options.labels, 'max_length': options.max_length}
  thresholds: Mapping[str, float] = {}
  if task.metric == 'pair_f1' and options.split == 'test':
    dev = read_examples(task, options.data_dir, 'dev', list(examples))
    thresholds = evaluate.evaluate(model, task, dev, **more).thresholds
  result = evaluate.evaluate(
    model,
    task,
    examples,
    thresholds=thresholds,
    null_threshold=options.null_threshold,
    **more,
  )
  # Every host has the same result; the first one writes.
  try:
    if hosts.lead():
      facts = report.facts_of(result, options.checkpoint, options.split)
      facts['missing'] = available.missing
      with mirror:
        report.write(output, result, facts, others)
      mirror.say_where()
  finally:
    hosts.together('evaluated')


def mesh_of(sizes: list[str] | None) -> tuple[int, ...] | None:
  """What --mesh says; None for all devices as data."""
  if not sizes:
    return None
  try:
    mesh = tuple(map(int, sizes))
  except ValueError:
    mesh = ()
  if len(mesh) != 3:
    raise ValueError(
      f'--mesh={",".join(sizes)}: write three numbers, data,fsdp,tensor'
    )
  return mesh


def score_submission(options) -> None:
  """Scores a folder or zip of predictions."""
  if not options.labels:
    raise ValueError('--labels is needed: the folder of what is right')
  if options.benchmark not in table.BENCHMARKS:
    raise ValueError(
      '--predictions are of a whole benchmark: write --benchmark='
      + ' or '.join(table.BENCHMARKS)
    )
  for name in ('checkpoint', 'data_dir', 'languages', 'test'):
    if options[name].value:
      raise ValueError(f'--{name} says nothing to --predictions: leave it out')
  results = table.find(options.benchmark).score(
    str(buckets.fetch(options.predictions)), ','.join(options.labels)
  )
  with buckets.Mirror(options.output_dir, room='results') as mirror:
    output = mirror.folder
    output.mkdir(parents=True, exist_ok=True)
    summary.write_json(output / 'results.json', results)
  print(report.submission_table(results))
  print(f'wrote {output / "results.json"}')
  mirror.say_where()


def task_of(options) -> Task:
  """The row that the flags ask for."""
  if options.test:
    if options.split != 'test':
      raise ValueError('--split is for benchmarks: give --test the other file')
    kind = KINDS.get(options.kind)
    if kind is None:
      kind = kind_of_metric(options.metric or 'accuracy')
    column = lambda name: int(name) if name.isdigit() else name or None
    label = column(options.label)
    if kind.several and ',' in options.label:
      label = tuple(map(column, options.label.split(',')))
    return user_task(
      options.benchmark,
      {'test': options.test},
      options.languages or languages_of(options.test),
      text=[int(c) if c.isdigit() else c for c in options.text],
      label=label,
      metric=options.metric or kind.metrics[0],
      kind=kind,
      quoted=options.quoted,
      skip_bad=options.skip_bad,
      separator=options.label_separator,
    )
  if options.skip_bad:
    raise ValueError('--skip_bad is for files of your own: give --test')
  known = table.tasks()
  if options.benchmark not in known:
    raise ValueError(
      f'--benchmark={options.benchmark} is not one of '
      f'{", ".join(known)}; for files of your own give --test'
    )
  if not options.data_dir:
    raise ValueError(f'--data_dir is needed: the folder of {options.benchmark}')
  prepared = tfds.named(options.data_dir)
  if not prepared and not os.path.isdir(options.data_dir):
    raise ValueError(f'--data_dir={options.data_dir} is not a folder')
  task = known[options.benchmark]
  if task.heads:
    return task
  vectors = dict(task.vectors, skip_specials=options.skip_specials)
  if options.layer is not None:
    whole = options.layer == int(options.layer)
    vectors['layer'] = int(options.layer) if whole else options.layer
  if options.pooling:
    vectors['pooling'] = options.pooling
  return dataclasses.replace(task, vectors=vectors)


if __name__ == '__main__':
  commands.run(sys.modules[__name__])
