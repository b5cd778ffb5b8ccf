"""Zero-shot transfer of real multilingual weights, on a CPU.

  python -m benchmarks.real_weights --checkpoint=E5 --data_dir=DATA \
      --output_dir=OUT [--tasks=tatoeba,udpos,panx,tydiqa] [--seeds=3]

Any checkpoint that `xlmr_jax.load` takes; the figures in docs/results.md are of
multilingual-e5-small (Wang et al. 2024, arXiv:2402.05672; MIT), whose weights
a package carries, rounded to 4 bits. Each task is tuned on English with the
token table frozen, and tested in every language that has labels here:

  tatoeba  nothing tuned: the checkpoint's own vectors, last layer
  udpos    XTREME's dev files; th, tl, kk and yo have none: their test files
  panx     XTREME's dev files
  tydiqa   nine tenths of the English training questions; the last tenth
           chooses the checkpoint; tested on sw and ko (their training
           questions: the answers of the dev files are not public) and on XQuAD

A dev file counts with at most --limit sentences, its first ones, so that a CPU
needs minutes and not hours; --limit=0 takes all. Files whose labels are not
public count nowhere. It is the suite of `xlmr eval` on a folder of such files:
killed, it goes on.
"""

import gzip
import json
import pathlib
import subprocess
import sys

from absl import flags

from configs import xtreme
from xlmr_jax.data.readers import conllu, tagged
from xlmr_jax.eval.suite import suite
from xlmr_jax.runtime import commands, storage

# Of the fine-tunings. The recipes' rates are those of bodies twice as wide and
# more; the frozen table is most of the parameters and a third of the time.
SETTINGS = (
  "optim.freeze=('encoder/embed',)",
  'optim.warmup=0.1',
  'optim.learning_rate=1e-4',
  'udpos:epochs=2',
  'panx:epochs=2',
  'tydiqa:epochs=2',
  'tydiqa:max_length=256',
  'tydiqa:row_length=256',
)
TEST_ONLY = ('th', 'tl', 'kk', 'yo')  # languages of UDPOS without a dev file


def write_tagged(path: pathlib.Path, sentences, limit: int) -> None:
  """Sentences as XTREME's files have them, the first `limit` of them."""
  parts = []
  for sentence in sentences[: limit or None]:
    pairs = zip(sentence.words, sentence.label, strict=True)
    parts.append(''.join(f'{word}\t{tag}\n' for word, tag in pairs))
  storage.write_text(path, '\n'.join(parts))


def prepare_tags(data: pathlib.Path, out: pathlib.Path, limit: int) -> None:
  """UDPOS and PAN-X: train-en whole, dev-* cut."""
  for name, source in (
    ('udpos', data / 'udpos/xtreme_tsv'),
    ('panx', data / 'panx'),
  ):
    for path in sorted(source.glob('*.tsv.gz')):
      split, _, language = path.name.removesuffix('.tsv.gz').partition('-')
      if split != 'test':
        sentences = tagged.read(path)
        size = 0 if split == 'train' else limit
        write_tagged(out / name / f'{split}-{language}.tsv', sentences, size)
  for language in TEST_ONLY:
    sentences = conllu.udpos(data / 'udpos/conllu_r2.5', 'test', language)
    write_tagged(out / f'udpos/dev-{language}.tsv', sentences, limit)


def prepare_questions(data: pathlib.Path, out: pathlib.Path) -> None:
  """TyDi QA's training files, of which a part becomes dev files."""
  source = data / 'tydiqa/tydiqa-goldp-v1.1-train'
  for language in ('en', 'sw', 'ko'):
    path = source / f'tydiqa.goldp.{language}.train.json.gz'
    content = json.loads(gzip.decompress(path.read_bytes()))
    articles = content['data']
    cut = len(articles) * 9 // 10 if language == 'en' else 0
    for split, part in (('train', articles[:cut]), ('dev', articles[cut:])):
      if part:
        name = f'tydiqa.goldp.{language}.{split}.json'
        storage.write_json(out / name, {**content, 'data': part})


def run_suite(options, data: pathlib.Path) -> None:
  """Tunes on English and tests in all languages."""
  config = xtreme.get_config(
    f'model=checkpoint,tasks={"+".join(options.tasks)}'
  )
  config.init = options.checkpoint
  config.data_dir = str(data)
  config.split = 'dev'
  config.seeds = options.seeds
  config.layer = 1.0  # of Tatoeba: the last, for which sentences were trained
  config.settings = (*SETTINGS, *options.settings)
  config.languages = tuple(options.languages)
  suite.run(config, pathlib.Path(options.output_dir))


def run_xquad(options) -> None:
  """XQuAD by the models that were tuned on TyDi QA."""
  for seed in range(options.seeds):
    run = pathlib.Path(options.output_dir) / 'runs' / f'tydiqa-{seed}'
    words = [
      *(sys.executable, '-m', 'xlmr_jax.eval', '--benchmark=xquad'),
      f'--checkpoint={run}',
      f'--data_dir={options.data_dir}/xquad',
      f'--output_dir={options.output_dir}/xquad-{seed}',
    ]
    if options.languages:
      words.append(f'--languages={",".join(options.languages)}')
    subprocess.run(words, check=True)


def define_flags(values: flags.FlagValues = flags.FLAGS) -> None:
  """The command's flags."""
  to = {'flag_values': values}
  flags.DEFINE_string('checkpoint', None, 'Any model that loads.', **to)
  flags.DEFINE_string(
    'data_dir', None, 'Has udpos, panx, tydiqa, xquad and tatoeba.', **to
  )
  flags.DEFINE_string('output_dir', None, 'Folder of what is made.', **to)
  flags.DEFINE_list(
    'tasks', 'tatoeba,udpos,panx,tydiqa', 'Which of them.', **to
  )
  flags.DEFINE_list('languages', '', 'Some of them; empty: all.', **to)
  flags.DEFINE_multi_string(
    'settings', (), 'More settings of the fine-tunings: name=value.', **to
  )
  flags.DEFINE_integer('seeds', 1, 'Fine-tunings of each task.', **to)
  flags.DEFINE_integer(
    'limit', 2000, 'Most sentences of a dev file; 0: all.', **to
  )


def main(argv, options: flags.FlagValues = flags.FLAGS) -> None:
  """Prepares the files, tunes, tests."""
  commands.check_arguments(argv)
  commands.check_given(options, 'checkpoint', 'data_dir', 'output_dir')
  source = pathlib.Path(options.data_dir).resolve()
  data = pathlib.Path(options.output_dir) / 'data'
  if not data.exists():
    data.parent.mkdir(parents=True, exist_ok=True)
    with storage.whole(data) as folder:
      for name in ('udpos', 'panx', 'tydiqa'):
        (folder / name).mkdir()
      prepare_tags(source, folder, options.limit)
      prepare_questions(source, folder / 'tydiqa')
      (folder / 'tatoeba').symlink_to(source / 'tatoeba')
  run_suite(options, data)
  if 'tydiqa' in options.tasks:
    run_xquad(options)


if __name__ == '__main__':
  commands.run(sys.modules[__name__])
