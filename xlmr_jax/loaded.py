"""What `xlmr_jax.load` returns: a model to call.

  m = xlmr_jax.load('runs/xnli')
  m.logits([('A man sleeps.', 'He is awake.'), 'one text', [0, 581, 2]])
  m.save('xnli-hf', format='hf')

Examples of any number are packed into rows of a few static shapes, run, and
unpacked in the order given: no padding is computed, nothing recompiles.
"""

from collections.abc import Iterator, Sequence
import dataclasses
import functools
import pathlib
import time

import jax
import jax.numpy as jnp
import numpy as np

from xlmr_jax import checkpoint, heads, hf, sharding
from xlmr_jax.data import pack
from xlmr_jax.data.tokenizer import Tokenizer
from xlmr_jax.model import Config, Encoder

Example = str | tuple[str, str] | Sequence[int]

# Positions of a step. A CPU is fastest while a layer's activations fit its
# caches; an accelerator wants more work at once.
POSITIONS = {'cpu': 2048}
MOST_POSITIONS = 16_384
# Rows are a multiple of this long, but for a few short texts: splash needs it.
UNIT = 128
LONGEST = 512  # longer rows only for longer examples


@functools.lru_cache(maxsize=16)
def _program(config: Config, head: str | None, classes: int, tied, mesh):
  """The jitted forward pass, one per model, shared by all who load it."""
  module = heads.make(config, head, classes, tied)

  def run(params, batch):
    hidden = Encoder(config).apply(
      {'params': params['encoder']},
      batch['tokens'],
      batch['segments'],
      batch['positions'],
    )
    if module is None:
      return hidden.astype(jnp.float32)
    variables = {'params': params['head']}
    if head == 'mlm':
      table = params['encoder']['embed']['tokens'] if tied else None
      return module.apply(variables, hidden, table)
    return module.apply(variables, hidden, batch['starts'], batch['segments'])

  # Every host reads all of the output.
  out = None if mesh is None else sharding.whole(mesh)
  return jax.jit(run, out_shardings=out)


@dataclasses.dataclass
class Loaded:
  """A model, its parameters and its tokenizer.

  Attributes:
    config: the model's Config.
    params: {'encoder': ..., 'head': ..., 'pooler': ...}, plain dict of arrays.
    tokenizer: or None, where the checkpoint brought no sentencepiece model.
    head: 'mlm', 'classify' or None.
    labels: names of the classes by id, or None.
    tied: whether an mlm head scores with the encoder's table.
    source: what a Hugging Face source looked like (see hf.Weights).
    tokenizer_dir: where the tokenizer's files lie.
    mesh: rows are cut over its devices; None for the default device.
  """

  config: Config
  params: dict
  tokenizer: Tokenizer | None
  head: str | None = None
  labels: tuple[str, ...] | None = None
  tied: bool = True
  source: dict | None = None
  tokenizer_dir: pathlib.Path | None = None
  mesh: jax.sharding.Mesh | None = None

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
            f'example {index} is text, but this checkpoint has no '
            f'{checkpoint.SPM}: add the file, or pass ids'
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
        ids = ids.astype(np.int32)
        if ids.min() < 0 or ids.max() >= self.config.vocab_size:
          raise ValueError(
            f'example {index} has an id outside 0..{self.config.vocab_size - 1}'
          )
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
    out = [None] * len(features)
    for feature, hidden, span, _ in self._run(features, None):
      out[feature] = hidden[span]
    return out

  def logits(
    self, examples: Sequence[Example], progress=None
  ) -> list[np.ndarray]:
    """Scores through the loaded head, float32.

    Args:
      examples: texts, pairs, or lists of ids.
      progress: called after each batch with the examples, the real tokens
        and the computed tokens of it, where given.

    Returns:
      Per example [C] (classify), or [length, V] (mlm).
    """
    if self.head is None:
      raise ValueError('this checkpoint has no head: use encode')
    features = self.tokens(examples)
    out = [None] * len(features)
    for feature, row, span, slot in self._run(features, self.head, progress):
      out[feature] = row[span] if self.head == 'mlm' else row[slot]
    return out

  def fill_mask(self, text: str, top: int = 5) -> list[tuple[str, float]]:
    """Best pieces for the first <mask> of a text, with probabilities."""
    if self.head != 'mlm':
      raise ValueError('filling masks needs a checkpoint with an mlm head')
    ids = self.tokens([text])[0]
    places = np.flatnonzero(ids == self.tokenizer.mask_id)
    if not places.size:
      raise ValueError(f'no <mask> in {text!r}')
    scores = self.logits([ids])[0][places[0]].astype(np.float64)
    probs = np.exp(scores - scores.max())
    probs /= probs.sum()
    best = np.argsort(-probs, kind='stable')[:top]
    return [(self.tokenizer.id_to_piece(int(i)), probs[i]) for i in best]

  def _length(self, lengths: np.ndarray) -> int:
    """The row length that costs least: padding against attention.

    A position costs its linear layers, 24 D² FLOPs, and attention over its
    row, 4 L D, which runs at about a third of the speed.
    """
    longest, total = int(lengths.max()), int(lengths.sum())
    if total <= UNIT:
      return max(16, 1 << (total - 1).bit_length())
    sample = lengths[:: -(-len(lengths) // 10_000)]
    first = -(-longest // UNIT) * UNIT
    last = max(first, min(LONGEST, -(-total // UNIT) * UNIT))

    def cost(length):
      rows = len(pack.plan(sample, length, shuffle=False))
      return rows * length * (1 + length / (2 * self.config.model_dim))

    return min(range(first, last + 1, UNIT), key=cost)

  def batches(
    self, features: Sequence[np.ndarray], head: str | None = None
  ) -> tuple[Iterator[dict[str, np.ndarray]], pack.Plan]:
    """Packs features into batches of one static shape."""
    lengths = np.array([len(f) for f in features])
    length = self._length(lengths)
    plan = pack.plan(lengths, length, shuffle=False)
    positions = POSITIONS.get(jax.default_backend(), MOST_POSITIONS)
    if head == 'mlm':  # keep a step's logits under half a GB
      positions = min(positions, 2**27 // self.config.rows)
    rows = _rows(len(plan), max(1, positions // length))
    parts = 1 if self.mesh is None else sharding.row_parts(self.mesh)
    rows = -(-rows // parts) * parts
    # A power of two, so that the next call's shapes are likely the same.
    slots = 1 << (plan.max_examples - 1).bit_length()
    data = [{'tokens': feature} for feature in features]

    def make():
      for first in range(0, len(plan), rows):
        yield pack.fill(
          data,
          [plan.row(r) for r in range(first, first + rows)],
          row_length=length,
          max_examples=slots,
          pad_id=self.config.pad_id,
        )

    return make(), plan

  def _run(self, features, head, progress=None):
    """Yields (feature, output row, span in the row, slot) per example."""
    if not features:
      return

    def done(batch, output):
      output = np.asarray(output)
      if progress is not None:
        segments = batch['segments']
        examples = np.count_nonzero(batch['example'] >= 0)
        progress(examples, np.count_nonzero(segments), segments.size)
      return _unpack(features, batch, output)

    classes = len(self.labels or ()) or 1
    run = _program(self.config, head, classes, self.tied, self.mesh)
    batches, _ = self.batches(features, head)
    pending = None
    for batch in batches:
      inputs = {
        k: batch[k] for k in ('tokens', 'segments', 'positions', 'starts')
      }
      if self.mesh is None:
        output = run(self.params, inputs)
      else:
        with jax.set_mesh(self.mesh):
          output = run(self.params, sharding.place_all(inputs, self.mesh))
      # The device works on the next batch while this one is unpacked.
      if pending is not None:
        yield from done(*pending)
      pending = (batch, output)
    yield from done(*pending)

  def save(self, folder, format: str = 'orbax', fresh: bool = False) -> None:
    """Writes the model with its tokenizer, whole or not at all.

    Args:
      folder: a new or empty directory.
      format: 'orbax' (ours) or 'hf' (Hugging Face's files).
      fresh: hf only: today's key names instead of the source's own.

    Raises:
      ValueError: the folder is not empty.
      OSError: the disk is full, or the like; the folder is as it was.
    """
    config = self.config
    weights = hf.Weights(
      config=dataclasses.replace(config, vocab_multiple=1),
      params=jax.tree.map(
        np.asarray, heads.with_rows(self.params, self.head, config.vocab_size)
      ),
      head=self.head,
      labels=self.labels,
      tied=self.tied,
      source=self.source,
    )
    if format == 'orbax':
      checkpoint.save(folder, weights, self.tokenizer_dir)
    elif format == 'hf':
      hf.write(folder, weights, fresh=fresh, tokenizer_dir=self.tokenizer_dir)
    else:
      raise ValueError(f"format {format!r} is not 'hf' or 'orbax'")


def _rows(total: int, most: int) -> int:
  """Rows of a step: at most `most`, and few empty ones in the last step.

  In steps of a sixteenth to a thirty-second, so that few shapes are compiled.
  """
  unit = 1 << max(0, min(total, most).bit_length() - 5)
  if total <= most:
    return min(most, -(-total // unit) * unit)
  return min(range(most, most // 2, -unit), key=lambda r: -(-total // r) * r)


def _unpack(features, batch, output):
  for row, slots in enumerate(batch['example']):
    for slot, feature in enumerate(slots):
      if feature >= 0:
        start = batch['starts'][row, slot]
        span = slice(start, start + len(features[feature]))
        yield int(feature), output[row], span, slot


def load(path, *, mesh=None, timer: dict | None = None, **run) -> Loaded:
  """Loads a checkpoint directory, a workdir, or a Hugging Face model.

  Args:
    path: our directory, a workdir, a Hugging Face directory or hub name.
    mesh: to spread rows over devices; default: all of them, as data.
    timer: filled with seconds by phase (read, transform, place).
    **run: how to run: dtype='bfloat16', attention='xla', scan=False, ...

  Raises:
    ValueError: nothing there, not of this family, or not whole.
  """
  weights, folder = checkpoint.read(path, timer=timer)
  unknown = [name for name in run if name not in checkpoint.RUN_FIELDS]
  if unknown:
    raise ValueError(
      f'load has no option {unknown[0]!r}: options are '
      f'{", ".join(checkpoint.RUN_FIELDS)}'
    )
  config = dataclasses.replace(weights.config, **run)
  if mesh is None and jax.device_count() > 1:
    mesh = sharding.make_mesh()
  start = time.perf_counter()
  params = heads.with_rows(weights.params, weights.head, config.rows)
  if mesh is None:
    params = jax.device_put(params)  # on a CPU without a copy
  else:
    dims = heads.plan(config, weights.head)
    params = sharding.place(params, sharding.shardings(params, dims, mesh))
  if timer is not None:
    timer['place'] = time.perf_counter() - start
  return Loaded(
    config=config,
    params=params,
    tokenizer=checkpoint.load_tokenizer(folder),
    head=weights.head,
    labels=weights.labels,
    tied=weights.tied,
    source=weights.source,
    tokenizer_dir=folder,
    mesh=mesh,
  )
