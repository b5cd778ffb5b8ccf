"""Prepares text for pretraining, or reports on a prepared folder.

Every <lang>.txt, .jsonl (plain, .gz, .xz, .zst) and <lang>/ of a folder:

    xlmr corpus --corpus=cc100 --tokenizer=xlmr-base \\
        --output=cc100-shards

Three languages and their translations; paragraphs seen before are dropped:

    xlmr corpus --corpus=text --languages=en,sw,ru \\
        --parallel=opus --drop_duplicates --tokenizer=DIR --output=DIR

Data sets that tensorflow_datasets has prepared, each with its language:

    xlmr corpus --tfds=en=wiki40b/en --tfds=sw=wiki40b/sw \\
        --tfds_data_dir=DIR --tokenizer=DIR --output=DIR

What a prepared folder has, and whether it is what it was:

    xlmr corpus --report=DIR
    xlmr corpus --verify=DIR
"""

from typing import Any

from absl import flags

from xlmr_jax.data.corpus import documents, prepare, shards
from xlmr_jax.data.corpus.prepare_language import CorpusSettings
from xlmr_jax.data.tokenizers import folder
from xlmr_jax.runtime import buckets, commands


def define_flags(values: flags.FlagValues = flags.FLAGS) -> None:
  """The command's flags."""
  to: dict[str, Any] = {'flag_values': values}
  flags.DEFINE_string(
    'corpus', None, 'Folder of text, <lang>.txt and such.', **to
  )
  flags.DEFINE_string(
    'parallel', None, 'Folder of translations, <a>-<b>.tsv.', **to
  )
  flags.DEFINE_multi_string(
    'tfds', [], 'LANGUAGE=name/config: a data set of tensorflow_datasets.', **to
  )
  flags.DEFINE_string(
    'tfds_data_dir', '~/tensorflow_datasets', 'Where those are prepared.', **to
  )
  flags.DEFINE_string('tfds_split', 'train', 'Which split of those.', **to)
  flags.DEFINE_string('tokenizer', None, 'Folder of the vocabulary.', **to)
  flags.DEFINE_string(
    'output', None, 'Folder to make, also gs://… or s3://….', **to
  )
  flags.DEFINE_list('languages', None, 'Of --corpus; all if left out.', **to)
  flags.DEFINE_list('pairs', None, 'Of --parallel; all if left out.', **to)
  flags.DEFINE_string(
    'text_key', 'text', 'Of the text in .jsonl and --tfds.', **to
  )
  flags.DEFINE_integer('seed', 0, 'Of the order of documents.', **to)
  flags.DEFINE_bool(
    'drop_duplicates',
    False,
    'Whether a paragraph that occurred before in its language is dropped.',
    **to,
  )
  flags.DEFINE_integer(
    'shard_tokens',
    CorpusSettings.shard_tokens,
    'About how many tokens a shard has.',
    **to,
  )
  flags.DEFINE_integer(
    'workers', None, 'Processes; one a core if left out.', **to
  )
  flags.DEFINE_float(
    'journal_seconds',
    10.0,
    'How much work a kill may cost, in seconds.',
    lower_bound=0.0,
    **to,
  )
  flags.DEFINE_string(
    'report', None, 'Only shows what a prepared folder has.', **to
  )
  flags.DEFINE_string('verify', None, 'Only checks its checksums.', **to)


def main(argv: list[str], args: flags.FlagValues = flags.FLAGS) -> None:
  """Prepares, reports on or verifies a corpus."""
  commands.check_arguments(argv)
  if args.verify or args.report:
    path = args.verify or args.report
    data = shards.open_shards(buckets.fetch(path), verify=bool(args.verify))
    if args.verify:
      count = sum(len(e['shards']) + 1 for e in data.manifest['parts'].values())
      print(f'{path}: the checksums of all {count} files are right')
    print(table(data.manifest))
    return
  commands.check_given(args, 'tokenizer', 'output')
  if not (args.corpus or args.parallel or args.tfds):
    raise ValueError('--corpus, --parallel or --tfds is missing: the text')
  tfds = [tuple(item.partition('=')[::2]) for item in args.tfds]
  for language, name in tfds:
    if not language or not name or '/' in language:
      raise ValueError(f'--tfds={language}: write it as --tfds=en=wiki40b/en')
  tokenizer = folder.load(args.tokenizer)
  if tokenizer is None:
    raise ValueError(f'{args.tokenizer} has no vocabulary that is read here')
  with buckets.publishing(args.output, resumes=True) as output:
    data = prepare.prepare(
      args.corpus,
      output,
      tokenizer,
      parallel=args.parallel,
      tfds=tfds,
      tfds_dir=args.tfds_data_dir,
      tfds_split=args.tfds_split,
      languages=args.languages,
      pairs=args.pairs,
      seed=args.seed,
      drop_duplicates=args.drop_duplicates,
      shard_tokens=args.shard_tokens,
      text_key=args.text_key,
      workers=args.workers,
      journal_seconds=args.journal_seconds,
    )
  print(table(data.manifest))


def table(manifest: dict[str, Any]) -> str:
  """What a prepared corpus has, a line for each language and pair.

  Below it stands which of them have paragraphs that were cut.
  """
  rows = [
    ['', 'files', 'documents', 'paragraphs', 'characters', 'tokens']
    + ['tokens/character', 'dropped']
  ]
  keys = ('documents', 'paragraphs', 'characters', 'tokens', 'dropped')
  parts = sorted(manifest['parts'].items())
  for name, entry in parts:
    rows.append([name, *_cells(len(entry.get('sources', ())), entry)])
  if len(parts) > 1:
    total = {k: sum(entry.get(k, 0) for _, entry in parts) for k in keys}
    files = sum(len(entry.get('sources', ())) for _, entry in parts)
    rows.append(['all', *_cells(files, total)])
  widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
  lines = [
    row[0].ljust(widths[0])
    + ''.join(
      f'  {cell:>{width}}'
      for cell, width in zip(row[1:], widths[1:], strict=True)
    )
    for row in rows
  ]
  lines += [
    f'{name}: {entry["cut"]:,} of its paragraphs (lines) had more than '
    f'{documents.LONGEST:,} tokens and were cut'
    for name, entry in parts
    if entry.get('cut')
  ]
  return '\n'.join(lines)


def _cells(files: int, entry: dict[str, Any]) -> list[str]:
  # What shards.write made knows of documents and tokens only.
  keys = ('documents', 'paragraphs', 'characters', 'tokens')
  counts = [files, *(entry.get(key, 0) for key in keys)]
  ratio = (
    entry['tokens'] / entry['characters'] if entry.get('characters') else 0
  )
  dropped = entry.get('dropped', 0)
  return [*(f'{n:,}' for n in counts), f'{ratio:.3f}', f'{dropped:,}']
