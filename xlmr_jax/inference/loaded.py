"""A loaded model to call: the result of `xlmr_jax.load`.

m = xlmr_jax.load('runs/xnli')
m.logits([('A man sleeps.', 'He is awake.'), 'one text', [0, 581, 2]])
m.save('xnli-hf', format='hf')
xlmr_jax.load('intfloat/multilingual-e5-base').embed(['query: ...'])
"""

from collections.abc import Iterator, Sequence
import dataclasses
import os
import time
from typing import Any, Unpack
import warnings

import jax
import jax.numpy as jnp
import numpy as np

from xlmr_jax import heads
from xlmr_jax.checkpoints import directory, native
from xlmr_jax.checkpoints.weights import (
  SPM,
  STORED,
  Pooling,
  Weights,
  load_tokenizer,
  with_fresh,
  with_rows,
)
from xlmr_jax.data.batches import convention
from xlmr_jax.data.tokenizers.hf_tokenizers import BpeTokenizer
from xlmr_jax.data.tokenizers.xlmr import Tokenizer
from xlmr_jax.inference import embeddings, packed
from xlmr_jax.inference.answer import answer
from xlmr_jax.inference.fill_mask import fill_mask
from xlmr_jax.inference.packed import Example, Progress
from xlmr_jax.inference.scores import scores
from xlmr_jax.layers import crf
from xlmr_jax.model import Config, Encoder
from xlmr_jax.runtime import sharding
from xlmr_jax.tasks import schemes


@dataclasses.dataclass(frozen=True, eq=False)
class Loaded:
  """A model on devices, with its tokenizer.

  Attributes:
    weights: the model; its arrays lie on devices.
    tokenizer: or None, where the checkpoint brought none that we read.
    mesh: rows are cut over its devices; None for the default device.
  """

  weights: Weights
  tokenizer: Tokenizer | BpeTokenizer | None = None
  mesh: jax.sharding.Mesh | None = None

  @property
  def config(self) -> Config:
    return self.weights.config

  @property
  def params(self) -> dict:
    """{'encoder': ..., 'head': ..., 'pooler': ...}, a plain dict of arrays."""
    return self.weights.params

  @property
  def head(self) -> str | None:
    """A name of heads.HEADS, or None."""
    return self.weights.head

  @property
  def labels(self) -> tuple[str, ...] | None:
    """Names of the classes by id, or None."""
    return self.weights.labels

  @property
  def pooling(self) -> Pooling | None:
    """How texts become vectors, where the checkpoint says so."""
    return self.weights.pooling

  @property
  def null_threshold(self) -> float | None:
    """By how much no answer must beat a span to be given, where known."""
    return self.weights.deciding.get('null_threshold')

  def replace(self, **changes: Any) -> 'Loaded':
    """The same model with other fields of its weights: replace(params=...)."""
    weights = dataclasses.replace(self.weights, **changes)
    return dataclasses.replace(self, weights=weights)

  @property
  def module(self) -> Encoder:
    """The Linen encoder: module.apply({'params': params['encoder']}, ...)."""
    return Encoder(self.config)

  @property
  def max_length(self) -> int:
    """Longest example in tokens, <s> and </s> included."""
    return self.config.max_length

  def tokens(self, examples: Sequence[Example]) -> list[np.ndarray]:
    """Examples → ids. Lists of ids pass as they are.

    Raises:
      ValueError: an example longer than the model holds, an id outside the
        vocabulary, or text without a tokenizer.
    """
    if isinstance(examples, str):
      raise ValueError('examples must be a list: write [text], not text')
    out = []
    for index, example in enumerate(examples):
      if isinstance(example, str) or (
        isinstance(example, tuple)
        and len(example) == 2
        and all(isinstance(part, str) for part in example)
      ):
        if self.tokenizer is None:
          raise ValueError(
            f'example {index} is text, but this checkpoint has no tokenizer '
            f'that can be read ({SPM}, tokenizer.json, '
            'vocab.txt, or vocab.json with merges.txt): add the file, or pass '
            'ids'
          )
        pair = (example,) if isinstance(example, str) else example
        ids = np.asarray(self.tokenizer.encode(*pair), np.int32)
      else:
        ids = np.asarray(example)
        if ids.ndim != 1 or not ids.size or ids.dtype.kind not in 'iu':
          raise ValueError(
            f'example {index} is neither a text, a pair of texts nor a list '
            'of ids'
          )
        if ids.min() < 0 or ids.max() >= self.config.vocab_size:
          raise ValueError(
            f'example {index} has an id outside 0..{self.config.vocab_size - 1}'
          )
        ids = ids.astype(np.int32)
      if len(ids) > self.max_length:
        raise ValueError(
          f'example {index} has {len(ids)} tokens, the model holds '
          f'{self.max_length}: cut it, or encode it with '
          'tokenizer.encode(text, max_length=..., truncate=...)'
        )
      out.append(ids)
    return out

  def encode(self, examples: Sequence[Example]) -> list[np.ndarray]:
    """Hidden states of the last layer, float32 [length, D] per example."""
    features = self.tokens(examples)
    out: list = [None] * len(features)
    for feature, hidden, span, _ in self.run(None, features):
      out[feature] = hidden[span]
    return out

  def logits(
    self, examples: Sequence[Example], progress: Progress | None = None
  ) -> list[np.ndarray]:
    """Scores through the loaded head, float32.

    Args:
      examples: texts, pairs, or lists of ids.
      progress: called after each batch with the examples, the real tokens
        and the computed tokens of it, where given.

    Returns:
      Per example [C] (classify), [1] (choose: an example is a choice;
      estimate: an example is the pair of translation and source),
      [length, V] (mlm, causal), [length, C] (tag, crf) or [length, 2]
      (answer: first and last token).
    """
    if self.head is None:
      raise ValueError('this checkpoint has no head: use encode or embed')
    row = heads.HEADS[self.head]
    if row.views:
      raise ValueError('this head gives three kinds of output: use m3')
    features = self.tokens(examples)
    out: list = [None] * len(features)
    real = slice(None)
    if row.language:  # without the rows that pad the table
      real = slice(self.config.vocab_size)
    for feature, numbers, span, slot in self.run(self.head, features, progress):
      out[feature] = numbers[span, real] if row.per_token else numbers[slot]
    return out

  def paths(
    self,
    examples: Sequence[Example],
    active: Sequence[np.ndarray],
    progress: Progress | None = None,
    sequences: Sequence[int] | None = None,
  ) -> list[tuple[np.ndarray, np.ndarray]]:
    """Scores, as `logits`, and each example's best labels under its chain.

    The ids are int32 [length], -1 but at the `active` tokens, bool [length] per
    example, which the chain links (layers/crf.py), e.g. the first piece of each
    word. Where an example is a window, `sequences` has the number of what it is
    a window of, and one chain runs through all windows of the same number.
    """
    if not heads.HEADS[self.head].chain or not self.labels:
      raise ValueError('paths need a crf head whose labels have names')
    head = self.params['head']
    scheme = self.weights.scheme or schemes.guess(self.labels)
    allowed = schemes.allowed(scheme, self.labels)
    chain = crf.constrain(head, allowed)
    head = {**head, **chain}
    features = self.tokens(examples)
    out: list = [None] * len(features)
    given = {**self.params, 'head': head}, features, progress, active
    for feature, row, span, _ in self.program(self.head)(*given):
      out[feature] = tuple(part[span] for part in row)
    if sequences is not None:
      # Every host has them whole.
      chain = jax.tree.map(np.asarray, chain)
      packed.join_paths(out, active, sequences, chain)
    return out

  # How each is called stands there.
  embed = embeddings.embed
  vectors = embeddings.vectors
  m3 = embeddings.m3
  scores = scores
  fill_mask = fill_mask
  answer = answer

  def program(self, output: str | None) -> packed.Program:
    """The forward pass to a head, a pooling or (None) the hidden states."""
    classes = len(self.labels or ()) or 1
    tied = self.weights.tied
    return packed.Program(
      self.config,
      output,
      classes,
      tied,
      self.mesh,
      convention=convention.of(self.config, self.tokenizer),
    )

  def run(
    self,
    output: str | None,
    features: Sequence[np.ndarray],
    progress: Progress | None = None,
  ) -> Iterator[tuple[int, Any, slice, int]]:
    """Runs `program(output)` over the ids of examples."""
    return self.program(output)(self.params, features, progress)

  def save(
    self,
    folder: str | os.PathLike[str],
    format: str = 'orbax',
    fresh: bool = False,
  ) -> None:
    """Writes the model with its tokenizer, whole or not at all.

    Args:
      folder: a new or empty directory.
      format: 'orbax' (ours), 'hf' (Hugging Face's files), or another name of
        checkpoints.directory.FORMATS.
      fresh: hf only: today's key names instead of the source's own.

    Raises:
      ValueError: the folder is not empty, or there is no such format.
      OSError: the disk is full, or the like; the folder is as it was.
    """
    directory.write(folder, self.weights, format, fresh=fresh)


def load(
  path: str | os.PathLike[str],
  *,
  head: str | None = STORED,
  labels: Sequence[str] | None = None,
  fresh: bool = False,
  seed: int = 0,
  revision: str | None = None,
  base: str | None = None,
  mesh: jax.sharding.Mesh | tuple[int, ...] | None = None,
  timer: dict[str, float] | None = None,
  **run: Unpack[native.RunOptions],
) -> Loaded:
  """Loads a checkpoint directory, a workdir, or a Hugging Face model.

  Args:
    path: our directory, a workdir, a Hugging Face directory, an original one
      of fairseq or COMET, or a hub name ('FacebookAI/xlm-roberta-base').
    head: the head that is wanted; None for the body alone.
    labels: names of a new head's classes.
    fresh: whether a head that the checkpoint does not hold is made, with
      random weights; otherwise that is an error.
    seed: of these weights.
    revision: of a hub name: a branch, tag or commit.
    base: of PEFT's adapters: the model that they were made for, where that is
      not what their files name.
    mesh: from sharding.make_mesh, or its three sizes, e.g. (1, 8, 4); default:
      all devices, as data. Each device reads its own part of the files.
    timer: filled with seconds by phase (read, transform, place).
    **run: how to run: dtype='bfloat16', attention='xla', scan=False, ...

  Raises:
    ValueError: nothing there, not of this family, not whole, or without the
      head that is wanted.
  """
  if head != STORED:
    heads.find(head)
  if mesh is None and jax.device_count() > 1:
    mesh = (-1, 1, 1)
  if isinstance(mesh, tuple):
    mesh = sharding.make_mesh(mesh)
  elif mesh is not None and getattr(mesh, 'axis_names', 0) != sharding.MESH:
    raise ValueError(
      f'mesh={mesh!r} should be three sizes, (data, fsdp, tensor), or a mesh '
      'from xlmr_jax.runtime.sharding.make_mesh'
    )
  weights = directory.read(
    path,
    head=head,
    revision=revision,
    base=base,
    lazily=mesh is not None,
    timer=timer,
  )
  unknown = [name for name in run if name not in native.RUN_FIELDS]
  if unknown:
    raise ValueError(
      f'load has no option {unknown[0]!r}: options are '
      f'{", ".join(native.RUN_FIELDS)}'
    )
  tokenizer = load_tokenizer(weights)
  if head is not None and head not in (STORED, weights.head):
    if not fresh:
      raise ValueError(
        f'{path} has no {head} head: give fresh=True for a new one, with '
        'random weights'
      )
    weights = with_fresh(weights, head, labels, seed, str(path))
  elif labels is not None:
    raise ValueError('labels are for a new head: give head and fresh=True')
  if mesh is not None and sharding.parts('vocab', mesh) > 1:
    run.setdefault('vocab_multiple', 1024)  # 250,002 rows cannot be cut
  config = dataclasses.replace(weights.config, **run)
  start = time.perf_counter()
  leaves = jax.tree.leaves(weights.params)
  if any(leaf.dtype == np.float64 for leaf in leaves):
    warnings.warn(
      f'{path}: float64 parameters are loaded as float32, and saved so',
      stacklevel=2,
    )
  dtype = run.get('param_dtype')  # None: that of the files
  params = with_rows(weights.params, weights.head, config.rows)
  if mesh is not None:
    dims = heads.plan(config, weights.head)
    layout = sharding.shardings(params, dims, mesh)
    params = sharding.place(params, layout, dtype)
  else:
    if dtype is not None:
      params = jax.tree.map(lambda x: np.asarray(x, jnp.dtype(dtype)), params)
    params = jax.device_put(params)  # on a CPU without a copy
  if timer is not None:
    timer['place'] = time.perf_counter() - start
  weights = dataclasses.replace(weights, config=config, params=params)
  return Loaded(weights, tokenizer, mesh)
