"""What the train loop is given: rows, objective, start, evaluators.

pretraining.py and finetuning.py make Jobs; train.py runs any of them.
"""

from collections.abc import Callable, Mapping
import dataclasses
import pathlib

import jax
import jax.numpy as jnp

from xlmr_jax import heads
from xlmr_jax.checkpoints import directory
from xlmr_jax.checkpoints.weights import Weights, load_tokenizer, with_rows
from xlmr_jax.data.batches import loader as loaders
from xlmr_jax.data.batches import schedule
from xlmr_jax.data.tokenizers import folder as tokenizers
from xlmr_jax.model import VARIANTS, Config
from xlmr_jax.runtime import sharding
from xlmr_jax.training import objectives

# An evaluator maps parameters to named values; 'name/part' is a detail.
Evaluator = Callable[[dict], Mapping[str, float]]


@dataclasses.dataclass
class Job:
  """Everything the loop needs to know.

  Attributes:
    model: the encoder's Config, with how to run it.
    head: name of the head.
    classes: C of a classify, tag or crf head.
    labels: names of the classes by id.
    loader: step → batch.
    objective: the loss.
    evaluators: run at every evaluation.
    score: name of the value that chooses the best checkpoint.
    higher_is_better: its direction.
    tokenizer_dir: folder of the tokenizer's files.
    fingerprint: digest of the training data as the model sees it.
    origin: the checkpoint to start from, or None.
  """

  model: Config
  head: str
  classes: int
  labels: tuple[str, ...] | None
  loader: loaders.Loader | schedule.Phases
  objective: objectives.Objective
  evaluators: list[Evaluator]
  score: str
  higher_is_better: bool
  tokenizer_dir: pathlib.Path
  fingerprint: str
  origin: Weights | None = None

  def say(self, text: str) -> None:
    if jax.process_index() == 0:
      print(text, flush=True)

  @property
  def trained_on(self) -> dict[str, str]:
    """Digests of what a run must find unchanged when it goes on."""
    return {'the data or how it is drawn': self.fingerprint}

  def flops_per_token(self, length: int) -> float:
    """Forward FLOPs of one real token in rows of a length, head included."""
    body = self.model.flops(length)
    if not heads.HEADS[self.head].language:
      return body
    d = self.model.model_dim
    rate = self.objective.rate
    return body + rate * 2 * (d * d + d * self.model.rows)

  def fresh(self, key) -> dict:
    """Fresh parameters; jit it or take its shapes."""
    return heads.init(self.model, key, self.head, self.classes, tied=self._tied)

  def start(self, key, layout) -> dict:
    """The parameters of step 0, each made or placed in its sharding."""
    if self.origin is None:
      self.say('fresh parameters')
      return jax.jit(self.fresh, out_shardings=layout)(key)
    given = with_rows(self.origin.params, self.origin.head, self.model.rows)
    dtype = jnp.dtype(self.model.param_dtype)
    params, new = {}, []
    for part, where in layout.items():
      if part in given and (part != 'head' or self._same_head()):
        params[part] = sharding.place(given[part], where, dtype)
      else:
        new.append(part)
        make = lambda key, part=part: self.fresh(key)[part]
        params[part] = jax.jit(make, out_shardings=where)(key)
    unused = [part for part in given if part not in params]
    self.say(
      'loaded '
      + ', '.join(part for part in layout if part not in new)
      + (f'; new: {", ".join(new)}' if new else '')
      + (f'; left out: {", ".join(unused)}' if unused else '')
    )
    return params

  def _same_head(self) -> bool:
    origin = self.origin
    alike = heads.same_parameters(self.head, origin.head)
    return alike and origin.labels == self.labels

  @property
  def _tied(self) -> bool:
    origin = self.origin
    return origin is None or not self._same_head() or origin.tied

  def weights(self) -> Weights:
    """What model.json says of this run; no arrays."""
    origin = self.origin or Weights(self.model, {})
    return dataclasses.replace(
      origin,
      config=self.model,
      params={},
      head=self.head,
      labels=self.labels,
      tied=self._tied,
      pooling=None,
      tokenizer_dir=self.tokenizer_dir,
    )


def begin(config):
  """(origin, model config, tokenizer, its folder) of any job."""
  run = dict(
    dropout=config.dropout,
    attention_dropout=config.attention_dropout,
    vocab_multiple=1024,
    dtype=config.dtype,
    param_dtype=config.param_dtype,
    attention=config.attention,
    remat=config.remat,
    scan=config.scan,
  )
  if config.init:
    origin = directory.read(config.init)
    tokenizer = load_tokenizer(origin)
    if tokenizer is None:
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
  folder = pathlib.Path(config.tokenizer)
  tokenizer = _tokenizer(folder)
  sizes = {k: v for k, v in config.sizes.items() if v is not None}
  model = dataclasses.replace(
    VARIANTS[config.variant], vocab_size=tokenizer.vocab_size, **sizes, **run
  )
  return None, model, tokenizer, folder


def _tokenizer(folder):
  tokenizer = tokenizers.load(folder)
  if tokenizer is None:
    raise ValueError(
      f'config.tokenizer={folder} holds no tokenizer: make one with '
      '`xlmr tokenizer`'
    )
  return tokenizer


def check_length(name: str, length: int, model: Config) -> None:
  if length > model.max_length:
    raise ValueError(
      f'config.{name}={length}, but the model holds {model.max_length} '
      'positions for an example'
    )
