"""The train loop's input: rows, objective, start, evaluators.

pretraining.py and finetuning.py make Jobs; train.py runs any of them.
"""

from collections.abc import Callable, Mapping
import dataclasses
import hashlib
import math
import pathlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from xlmr_jax import heads
from xlmr_jax.checkpoints.hf.names import takes_pooler
from xlmr_jax.checkpoints.weights import Weights, flatten, nest, with_rows
from xlmr_jax.data.batches import schedule
from xlmr_jax.data.batches.loader import Loader
from xlmr_jax.model import Config
from xlmr_jax.runtime import sharding
from xlmr_jax.training import objectives

_SMALL = 2**18  # numbers; XXL's norms, 48 layers of 4096, have fewer

# An evaluator maps parameters to named values; 'name/part' is a detail.
Evaluator = Callable[[dict], Mapping[str, float | None]]


@dataclasses.dataclass
class Job:
  """Everything the loop needs to know.

  Attributes:
    model: the encoder's Config, with how to run it.
    head: name of the head.
    classes: C of a classify, tag or crf head.
    labels: names of the classes by id.
    scheme: that the labels are written in, of a crf head.
    loader: step → batch.
    objective: the loss.
    evaluators: run at every evaluation.
    score: name of the value that chooses the best checkpoint.
    higher_is_better: its direction.
    tokenizer_dir: folder of the tokenizer's files.
    fingerprint: digest of the training data as the model sees it.
    origin: the checkpoint to start from, or None.
    judged_by: digest of the development data; '' where they are part of the
      training data.
    init: its name, or ''.
    kept: field of Weights.deciding → the evaluators' value, or values, that a
      step's progress keeps as it.
  """

  model: Config
  head: str
  classes: int
  labels: tuple[str, ...] | None
  loader: Loader | schedule.Phases
  objective: objectives.Objective
  evaluators: list[Evaluator]
  score: str
  higher_is_better: bool
  tokenizer_dir: pathlib.Path
  fingerprint: str
  origin: Weights | None = None
  judged_by: str = ''
  scheme: str | None = None
  init: str = ''
  kept: Mapping[str, str | tuple[str, ...]] = dataclasses.field(
    default_factory=dict
  )

  def say(self, text: str) -> None:
    if jax.process_index() == 0:
      print(text, flush=True)

  @property
  def trained_on(self) -> dict[str, str]:
    """Digests of the data that must be unchanged when a run goes on."""
    out = {'the data or how it is drawn': self.fingerprint}
    if self.judged_by:
      out['the data that it is judged by'] = self.judged_by
    if self.origin is not None:
      out['the checkpoint that it started from'] = _digest(self.origin.params)
    return out

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
    params, new = {}, []
    for part, where in layout.items():
      if part in given and (part != 'head' or self._same_head()):
        params[part], made = self._place(key, part, given[part], where)
        new += made
      else:
        new.append(part)
        make = lambda key, part=part: self.fresh(key)[part]
        params[part] = jax.jit(make, out_shardings=where)(key)
    loaded = [part for part in layout if part not in new]
    unused = [part for part in given if part not in params]
    if 'head' in new and 'pooler' in given and self._takes_pooler:
      # Its dense layer is the pooler, as in Hugging Face's class.
      where, pooler = layout['head']['dense'], given['pooler']['dense']
      dtype = jnp.dtype(self.model.param_dtype)
      params['head']['dense'] = sharding.place(pooler, where, dtype)
      loaded.append('pooler as head/dense')
      new = ['head/out' if part == 'head' else part for part in new]
      unused.remove('pooler')
    self.say(
      'loaded '
      + ', '.join(loaded)
      + (f'; new: {", ".join(new)}' if new else '')
      + (f'; left out: {", ".join(unused)}' if unused else '')
    )
    return params

  def _place(self, key, part: str, given, where) -> tuple[dict, list[str]]:
    """A part that the checkpoint has; adapters that it lacks are made."""
    given, where = flatten(given), flatten(where)
    shapes = flatten(jax.eval_shape(self.fresh, key)[part])
    params = {
      name: sharding.place(leaf, where[name], shapes[name].dtype)
      for name, leaf in given.items()
    }
    lacking = [name for name in where if name not in params]
    if not lacking:
      return nest(params), []

    def make(key):
      fresh = flatten(self.fresh(key)[part])
      return {name: fresh[name] for name in lacking}

    layout = {name: where[name] for name in lacking}
    params |= jax.jit(make, out_shardings=layout)(key)
    return nest(params), ['adapters']

  def _same_head(self) -> bool:
    origin = self.origin
    if origin is None or _classes(origin.labels) != _classes(self.labels):
      return False
    return heads.same_parameters(self.head, origin.head)

  @property
  def _takes_pooler(self) -> bool:
    return takes_pooler(self.model.bert, self.head)

  @property
  def _tied(self) -> bool:
    origin = self.origin
    return origin is None or not self._same_head() or origin.tied

  def weights(self) -> Weights:
    """The content of model.json for this run; no arrays."""
    origin = self.origin or Weights(self.model, {})
    return dataclasses.replace(
      origin,
      config=self.model,
      params={},
      head=self.head,
      labels=self.labels,
      scheme=self.scheme,
      tied=self._tied,
      pooling=None,
      tokenizer_dir=self.tokenizer_dir,
      adapter=self._adapter(),
      deciding={},  # of a step: its evaluation chooses it
    )

  def _adapter(self) -> dict | None:
    if not self.model.lora:
      return None
    known = self.origin and self.origin.adapter or {}
    return {'base': known.get('base') or self.init or None}

  def decisions(self, values: Mapping[str, Any]) -> dict[str, Any]:
    """What an evaluation chose for decoding, as a step's meta keeps it."""
    if not self.kept:
      return {}
    chosen = {
      key: values[names]
      if isinstance(names, str)
      else [values[name] for name in names]
      for key, names in self.kept.items()
    }
    return {'deciding': chosen}


def _classes(labels: tuple[str, ...] | None) -> tuple[str, ...] | None:
  """Names of classes; one alone is no class, whatever a file calls it."""
  return labels if labels and len(labels) > 1 else None


def _digest(params) -> str:
  """Of the small arrays of a model, which any training moves; the large ones
  may still lie on a disk."""
  out = hashlib.sha256()
  for path, leaf in jax.tree_util.tree_leaves_with_path(params):
    out.update(f'{jax.tree_util.keystr(path)} {leaf.shape}'.encode())
    if math.prod(leaf.shape) <= _SMALL:
      out.update(np.asarray(leaf[...]).tobytes())
  return out.hexdigest()


def check_length(name: str, length: int, model: Config) -> None:
  if length > model.max_length:
    raise ValueError(
      f'config.{name}={length}, but the model holds {model.max_length} '
      'positions for an example'
    )
