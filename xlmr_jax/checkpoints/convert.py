"""Converts a checkpoint from any format to one that can be written.

  xlmr convert FacebookAI/xlm-roberta-base xlmr-base
  xlmr convert runs/xnli xnli-hf

SRC is a Hugging Face directory or hub name, an original directory of fairseq
or COMET, a directory of ours, or a training run's workdir (its best step;
workdir/checkpoints/500 is another).
Both may lie in a bucket (gs://…, s3://…).
A run with adapters becomes Hugging Face's files merged; with --format=peft the
adapters alone, and with --merge a plain model of ours:

  xlmr convert runs/xnli-lora xnli-adapter --format=peft
  xlmr convert xnli-adapter xnli-hf --format=hf --base=xlmr-base

DST must be new or empty, and appears whole or not at all. Theirs → ours →
theirs gives the same tensors under the same names, bit for bit; with --fresh
the files are those that today's transformers writes.
"""

import dataclasses
import time

from absl import flags
import jax
import numpy as np

from xlmr_jax.checkpoints import directory
from xlmr_jax.checkpoints.weights import Weights, load_tokenizer, merged


def define_flags(values: flags.FlagValues = flags.FLAGS) -> None:
  """The command's flags."""
  flags.DEFINE_enum(
    'format',
    'auto',
    ['auto', *directory.written()],
    'What DST becomes; auto: ours from theirs, theirs from ours.',
    flag_values=values,
  )
  flags.DEFINE_bool(
    'fresh',
    False,
    "Write today's key names instead of the source's own (hf).",
    flag_values=values,
  )
  flags.DEFINE_string(
    'base',
    '',
    "The model that adapters stand on, where SRC is PEFT's or DST becomes so; "
    'empty: the one that is known.',
    flag_values=values,
  )
  flags.DEFINE_bool(
    'merge',
    False,
    'Add the adapters to the weights that they stand on.',
    flag_values=values,
  )


def main(argv, options: flags.FlagValues = flags.FLAGS) -> None:
  """Converts argv[1] to argv[2]."""
  if len(argv) != 3:
    raise ValueError(
      f'give SRC and DST, not {" ".join(argv[1:]) or "nothing"}; --help tells '
      'more'
    )
  source, target = argv[1:]
  target_format = options.format
  row = directory.recognise(source)
  if target_format == 'auto':
    target_format = 'hf' if row and row.name == 'orbax' else 'orbax'
  if options.fresh and not directory.FORMATS[target_format].fresh:
    raise ValueError("--fresh is about files in Hugging Face's format (hf)")
  timer: dict[str, float] = {}
  # Part by part: a model may be larger than the memory.
  adapted = row is not None and row.base is not None
  base = options.base if adapted and options.base else None
  weights = directory.read(source, base=base, lazily=True, timer=timer)
  if options.base and not weights.config.lora:
    raise ValueError(f'--base is for adapters, and {source} has none')
  if options.base:
    adapter = {**(weights.adapter or {}), 'base': options.base}
    weights = dataclasses.replace(weights, adapter=adapter)
  if options.merge:
    weights = merged(weights)
  print(f'{source}: {describe(weights)}', flush=True)
  load_tokenizer(weights)  # for its checks
  start = time.perf_counter()
  directory.write(target, weights, target_format, fresh=options.fresh)
  timer['write'] = time.perf_counter() - start
  phases = ', '.join(f'{name} {t:.2f} s' for name, t in timer.items())
  print(f'{target}: {target_format}; {phases}')


def describe(weights: Weights) -> str:
  """Sizes, head, labels and what is left out, in a few lines."""
  config, source = weights.config, weights.source or {}
  arrays = jax.tree.leaves(weights.params)
  count = sum(array.size for array in arrays)
  dtypes = sorted({np.dtype(array.dtype).name for array in arrays})
  lines = [
    f'{count:,} parameters in {", ".join(dtypes)}',
    f'  {config.num_layers} layers of {config.model_dim}, '
    f'{config.num_heads} heads, feed-forward {config.ff_dim}, vocabulary '
    f'{config.vocab_size:,}, examples up to {config.max_length} tokens'
    + (', pre-LayerNorm' if config.pre_norm else '')
    + (', causal' if config.causal else ''),
    f'  head: {weights.head or "none"}'
    + (f', classes {", ".join(weights.labels)}' if weights.labels else '')
    + ('' if weights.tied else ', untied'),
  ]
  if config.lora:
    names = ', '.join(lora.path.removeprefix('layers/') for lora in config.lora)
    lines.append(f'  adapters: {names}')
  if how := weights.pooling:
    lines.append(
      f'  vectors: {how.how}'
      + (f', a layer with {how.activation}' if how.activation else '')
      + (', length 1' if how.normalize else '')
    )
  for name, why in (
    ('dropped', 'dropped, as no output depends on it'),
    ('unused', 'kept aside, as the model does not use it'),
  ):
    if keys := source.get(name):
      lines.append(f'  {why}: {", ".join(keys)}')
  return '\n'.join(lines)
