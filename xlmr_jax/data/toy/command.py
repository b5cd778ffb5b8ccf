"""Writes the toy world: small, synthetic, in ten real languages.

world.py says what is in it.

    xlmr toy OUT_DIR --seed=0 --size=full
"""

from absl import flags

from xlmr_jax.data.toy import files, world
from xlmr_jax.runtime import commands


def define_flags(values: flags.FlagValues = flags.FLAGS) -> None:
  """The command's flags."""
  flags.DEFINE_integer(
    'seed', 0, 'Another seed, other sentences.', flag_values=values
  )
  flags.DEFINE_enum(
    'size',
    'full',
    list(world.SIZES),
    'How much is written.',
    flag_values=values,
  )


def main(argv: list[str], options: flags.FlagValues = flags.FLAGS) -> None:
  """Writes the world to argv[1]."""
  commands.check_arguments(argv, 'OUT_DIR')
  size = world.SIZES[options.size]
  files.write(argv[1], options.seed, size)
  print(
    f'wrote a synthetic world in {len(size.languages)} languages'
    f' ({", ".join(size.languages)}) to {argv[1]}'
  )
