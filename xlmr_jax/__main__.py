"""`xlmr COMMAND`, which is also `python -m xlmr_jax COMMAND`.

A command is a module with `define_flags()`, `main(argv)` and a docstring with
examples, which `xlmr COMMAND --help` shows.
"""

import difflib
import sys

# Name → the module, and what the command does.
COMMANDS = {
  'train': ('xlmr_jax.train', 'pretrain or fine-tune by a recipe'),
  'eval': ('xlmr_jax.eval.__main__', 'score a checkpoint, or a benchmark'),
  'convert': (
    'xlmr_jax.checkpoints.convert',
    'from Hugging Face and other formats to ours, and back',
  ),
  'corpus': (
    'xlmr_jax.data.corpus.command',
    'prepare text for pretraining: tokenised, shuffled, in shards',
  ),
  'tokenizer': ('xlmr_jax.data.tokenizers.command', 'train a vocabulary'),
  'vocabulary': (
    'xlmr_jax.compress.vocabulary',
    'extend or trim the vocabulary of a checkpoint',
  ),
  'plan': (
    'xlmr_jax.plan.__main__',
    'memory, speed and cost of a run on chips that are not here',
  ),
  'curves': ('xlmr_jax.training.curves', 'draw the curves of a run'),
  'toy': ('xlmr_jax.data.toy.command', 'write a small synthetic world'),
}


def usage() -> str:
  width = max(map(len, COMMANDS))
  lines = [f'  {name:{width}}  {what}' for name, (_, what) in COMMANDS.items()]
  return '\n'.join(
    [
      'usage: xlmr COMMAND [--flag=value ...]',
      '',
      *lines,
      '',
      '`xlmr COMMAND --help` shows examples and flags.',
    ]
  )


def main() -> None:
  """Runs the command that sys.argv names; ends the process."""
  name, *rest = sys.argv[1:] or ['--help']
  if name in ('--help', '-h', 'help', '--helpfull', '-help'):
    print(usage())
    sys.exit(0)
  if name not in COMMANDS:
    near = difflib.get_close_matches(name, COMMANDS, 1)
    hint = f'did you mean {near[0]}?' if near else 'see xlmr --help'
    print(f'error: xlmr has no command {name!r}; {hint}', file=sys.stderr)
    sys.exit(1)
  from xlmr_jax.runtime import commands

  commands.run(COMMANDS[name][0], [f'xlmr {name}', *rest])


if __name__ == '__main__':
  main()
