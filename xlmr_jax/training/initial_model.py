"""Which model a run starts with, and its tokenizer."""

import dataclasses
import pathlib
from typing import Any

from xlmr_jax.checkpoints import directory
from xlmr_jax.checkpoints.weights import Weights, load_tokenizer, merged
from xlmr_jax.compress import adapters
from xlmr_jax.data.tokenizers import folder
from xlmr_jax.data.tokenizers.hf_tokenizers import BpeTokenizer
from xlmr_jax.data.tokenizers.xlmr import Tokenizer
from xlmr_jax.model import VARIANTS, Config


def choose(
  config,
) -> tuple[Weights | None, Config, Tokenizer | BpeTokenizer, pathlib.Path]:
  """The model of a run, from config.init or with fresh parameters.

  Returns:
    (the checkpoint or None, the encoder's Config, the tokenizer, its folder).

  Raises:
    ValueError: settings that contradict each other, no tokenizer, or no such
      variant.
  """
  run: dict[str, Any] = dict(
    dropout=config.dropout,
    attention_dropout=config.attention_dropout,
    vocab_multiple=1024,
    dtype=config.dtype,
    param_dtype=config.param_dtype,
    attention=config.attention,
    remat=config.remat,
    scan=config.scan,
    lora=adapters.of(config),
  )
  if config.init:
    # Left on the disk: a copy beside the parameters would be as large.
    origin = _same_adapters(
      directory.read(config.init, lazily=True), run['lora'], config
    )
    tokenizer = load_tokenizer(origin)
    if tokenizer is None or origin.tokenizer_dir is None:
      raise ValueError(f'{config.init} has no tokenizer that can be read')
    if config.tokenizer:
      other = _tokenizer(config.tokenizer)
      if other.fingerprint != tokenizer.fingerprint:
        raise ValueError(
          f'config.tokenizer={config.tokenizer} is not the tokenizer of '
          f'config.init={config.init}: leave config.tokenizer empty'
        )
    changed = {k: v for k, v in config.sizes.items() if v is not None}
    for name, value in changed.items():
      if getattr(origin.config, name) != value:
        raise ValueError(
          f'config.sizes.{name}={value}, but config.init has '
          f'{getattr(origin.config, name)}: sizes are for fresh parameters'
        )
    model = dataclasses.replace(origin.config, **run)
    return origin, model, tokenizer, origin.tokenizer_dir
  if not config.tokenizer:
    raise ValueError(
      'nothing to start from: set config.init to a checkpoint, or '
      'config.tokenizer to a folder made by xlmr tokenizer'
    )
  if config.variant not in VARIANTS:
    raise ValueError(
      f'config.variant={config.variant!r} is not one of {", ".join(VARIANTS)}'
    )
  tokenizer = _tokenizer(config.tokenizer)
  sizes = {k: v for k, v in config.sizes.items() if v is not None}
  model = dataclasses.replace(
    VARIANTS[config.variant],
    vocab_size=tokenizer.vocab_size,
    pad_id=tokenizer.pad_id,
    **sizes,
    **run,
  )
  return None, model, tokenizer, pathlib.Path(config.tokenizer)


def _same_adapters(origin: Weights, loras, config) -> Weights:
  """A checkpoint with just the adapters that are trained, or none.

  Raises:
    ValueError: it has others.
  """
  theirs = {(x.path, x.rank, x.scale) for x in origin.config.lora}
  if not theirs or theirs == {(x.path, x.rank, x.scale) for x in loras}:
    return origin
  if not loras:
    return merged(origin)
  names = ', '.join(
    f'{x.path.removeprefix("layers/")} (rank {x.rank}, alpha '
    f'{x.rank * x.scale:g})'
    for x in origin.config.lora
  )
  raise ValueError(
    f'config.init={config.init} has adapters on {names}, and config.lora names '
    'others: give the same to go on with them, or xlmr convert --merge it first'
  )


def _tokenizer(path):
  tokenizer = folder.load(path)
  if tokenizer is None:
    raise ValueError(
      f'config.tokenizer={path} holds no tokenizer: make one with xlmr '
      'tokenizer'
    )
  return tokenizer
