"""What `xlmr_jax.load` returns: a model to call.

m = xlmr_jax.load('runs/xnli')
m.logits([('A man sleeps.', 'He is awake.'), 'one text', [0, 581, 2]])
m.save('xnli-hf', format='hf')
xlmr_jax.load('intfloat/multilingual-e5-base').embed(['query: ...'])
"""

from collections.abc import Sequence
import dataclasses
import pathlib
import time
import warnings

import jax
import jax.numpy as jnp
import numpy as np

from xlmr_jax import heads
from xlmr_jax.checkpoints import directory
from xlmr_jax.checkpoints.hf import reader
from xlmr_jax.checkpoints.hf.sentence_transformers import Pooling
from xlmr_jax.data.tokenizers.hf_tokenizers import BpeTokenizer
from xlmr_jax.data.tokenizers.xlmr import Tokenizer
from xlmr_jax.inference import packed
from xlmr_jax.layers import crf
from xlmr_jax.layers.pooling import POOLINGS
from xlmr_jax.model import Config, Encoder
from xlmr_jax.runtime import sharding

Example = str | tuple[str, str] | Sequence[int]


@dataclasses.dataclass
class Loaded:
  """A model, its parameters and its tokenizer.

  Attributes:
    config: the model's Config.
    params: {'encoder': ..., 'head': ..., 'pooler': ...}, plain dict of arrays.
    tokenizer: or None, where the checkpoint brought none that we read.
    head: a name of heads.HEADS, or None.
    labels: names of the classes by id, or None.
    tied: whether an mlm head scores with the encoder's table.
    source: what a Hugging Face source looked like (see hf.Weights).
    pooling: how texts become vectors, where the checkpoint says so.
    tokenizer_dir: where the tokenizer's files lie.
    mesh: rows are cut over its devices; None for the default device.
  """

  config: Config
  params: dict
  tokenizer: Tokenizer | BpeTokenizer | None
  head: str | None = None
  labels: tuple[str, ...] | None = None
  tied: bool = True
  source: dict | None = None
  pooling: Pooling | None = None
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
            f'example {index} is text, but this checkpoint has no tokenizer '
            f'that can be read ({directory.SPM}, tokenizer.json, or '
            'vocab.json with merges.txt): add the file, or pass ids'
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
    out = [None] * len(features)
    for feature, hidden, span, _ in self._run(None, features):
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
    out = [None] * len(features)
    real = slice(None)
    if row.language:  # without the rows that pad the table
      real = slice(self.config.vocab_size)
    for feature, scores, span, slot in self._run(self.head, features, progress):
      out[feature] = scores[span, real] if row.per_token else scores[slot]
    return out

  def paths(
    self, examples: Sequence[Example], active, progress=None
  ) -> list[tuple[np.ndarray, np.ndarray]]:
    """Scores, as `logits`, and each example's best labels under its chain.

    The ids are int32 [length], -1 but at the `active` tokens, bool [length] per
    example, which the chain links (crf.py), e.g. the first piece of each word.
    """
    if not heads.HEADS[self.head].chain or not self.labels:
      raise ValueError('paths need a crf head whose labels have names')
    head = self.params['head']
    head = {**head, **crf.constrain(head, crf.bio(self.labels))}
    features = self.tokens(examples)
    out = [None] * len(features)
    given = {**self.params, 'head': head}, features, progress, active
    for feature, row, span, _ in self.program(self.head)(*given):
      out[feature] = tuple(part[span] for part in row)
    return out

  def embed(
    self,
    texts: Sequence[Example],
    *,
    prompt_name: str | None = None,
    prompt: str | None = None,
    pooling: str | None = None,
    normalize: bool | None = None,
    dim: int | None = None,
    progress=None,
  ) -> np.ndarray:
    """One vector per text, as sentence-transformers makes it.

    Args:
      texts: texts longer than the checkpoint's limit are cut.
      prompt_name: which of the checkpoint's prompts goes in front of each
        text; its default one, if any, where neither this nor `prompt` is
        given.
      prompt: or: what goes in front.
      pooling: 'cls' or 'mean', where the checkpoint does not say.
      normalize: whether vectors are scaled to length 1.
      dim: keep the first so many numbers (Matryoshka), before scaling.
      progress: as for `logits`.

    Returns:
      float32 [texts, D].

    Raises:
      ValueError: no pooling is known, or no prompt of that name.
    """
    facts = self.pooling
    how = pooling or (facts and facts.how)
    if how is None:
      raise ValueError(
        'this checkpoint does not say how a text becomes a vector: give '
        f'pooling, one of {", ".join(POOLINGS)}'
      )
    if how not in POOLINGS:
      raise ValueError(f'pooling {how!r} is not one of {", ".join(POOLINGS)}')
    if normalize is None:
      normalize = bool(facts and facts.normalize)
    features = self._short(texts, self._prompt(prompt_name, prompt))
    out = np.zeros((len(features), self.config.model_dim), np.float32)
    for feature, row, _, slot in self._run(how, features, progress):
      out[feature] = row[slot]
    out = out[:, :dim]
    if normalize:
      out /= np.maximum(np.linalg.norm(out, axis=-1, keepdims=True), 1e-12)
    return out

  def vectors(
    self,
    examples: Sequence[Example],
    *,
    layer: int | float | None = None,
    pooling: str = 'mean',
    skip_specials: bool = False,
    progress=None,
  ) -> np.ndarray:
    """One vector per example, pooled from the states of any layer.

    Args:
      examples: texts, pairs, or lists of ids.
      layer: after which layer, from 1; 0 is what the first one reads. A float
        is a share of the depth, 0.5 the middle. None: the last.
      pooling: 'mean' over the example's tokens, or 'cls', the state of <s>.
      skip_specials: whether the mean leaves <s> and </s> out.
      progress: as for `logits`.

    Returns:
      float32 [examples, D].

    Raises:
      ValueError: no such layer or pooling.
    """
    count = self.config.num_layers
    if isinstance(layer, float):
      layer = round(layer * count)
    if layer is not None and not 0 <= layer <= count:
      raise ValueError(f'layer={layer}; this model has layers 1 to {count}')
    if pooling not in POOLINGS:
      raise ValueError(
        f'pooling {pooling!r} is not one of {", ".join(POOLINGS)}'
      )
    skip = ()
    if skip_specials:
      if pooling == 'cls':
        raise ValueError("skip_specials leaves nothing of pooling='cls'")
      if self.tokenizer is None:
        raise ValueError('skip_specials needs a tokenizer: it names them')
      skip = (self.tokenizer.bos_id, self.tokenizer.eos_id)
    features = self.tokens(examples)
    program = dataclasses.replace(self.program(pooling), depth=layer, skip=skip)
    out = np.zeros((len(features), self.config.model_dim), np.float32)
    for feature, row, _, slot in program(self.params, features, progress):
      out[feature] = row[slot]
    return out

  def m3(self, texts: Sequence[Example], progress=None) -> list[dict]:
    """bge-m3's three views of each text.

    Returns:
      {'dense': [D], 'sparse': {token id: weight}, 'colbert': [length - 1, D]}
      per text: the vector of <s>; each token's greatest weight, specials left
      out; the vectors of all tokens but <s>.
    """
    if not heads.HEADS[self.head].views:
      raise ValueError('this checkpoint has no sparse and ColBERT heads')
    features = self._short(texts, '')
    skip = set() if self.tokenizer is None else set(self.tokenizer.special_ids)
    out = [None] * len(features)
    for feature, row, span, slot in self._run(self.head, features, progress):
      dense, weights, vectors = row
      sparse: dict[int, float] = {}
      for token, weight in zip(
        features[feature].tolist(), weights[span].tolist(), strict=True
      ):
        if token not in skip and weight > sparse.get(token, 0.0):
          sparse[token] = weight
      out[feature] = {
        'dense': dense[slot],
        'sparse': sparse,
        'colbert': vectors[span][1:],
      }
    return out

  def _prompt(self, name: str | None, text: str | None) -> str:
    """What goes in front of a text."""
    if text is not None:
      return text
    known = self.pooling.prompts if self.pooling else {}
    if name is None:
      name = self.pooling and self.pooling.default_prompt
    if name is None:
      return ''
    if name not in known:
      raise ValueError(
        f'this checkpoint has no prompt {name!r}; it has '
        f'{", ".join(known) or "none"}'
      )
    return known[name]

  def _short(self, texts: Sequence[Example], prompt: str) -> list[np.ndarray]:
    """Ids of texts, cut at the checkpoint's own limit."""
    if isinstance(texts, str):
      raise ValueError('texts must be a list: write [text], not text')
    facts = self.pooling
    limit = min(facts and facts.max_length or self.max_length, self.max_length)

    def plain(text):  # as sentence-transformers does it
      text = text.strip()
      return text.lower() if facts and facts.lowercase else text

    def cut(text):
      texts = (text,) if isinstance(text, str) else text
      if self.tokenizer is None or not (
        isinstance(texts, tuple)
        and len(texts) <= 2
        and all(isinstance(t, str) for t in texts)
      ):
        return text
      first, *second = texts
      return self.tokenizer.encode(
        plain(prompt + first),
        *map(plain, second),
        max_length=limit,
        truncate='longest_first',
      )

    return self.tokens([cut(text) for text in texts])

  def fill_mask(self, text: str, top: int = 5) -> list[tuple[str, float]]:
    """Best pieces for the first <mask> of a text, with probabilities."""
    row = heads.HEADS[self.head]
    if not row.language or row.causal:
      raise ValueError('filling masks needs a checkpoint with an mlm head')
    ids = self.tokens([text])[0]
    if self.tokenizer.mask_id is None:
      raise ValueError("this checkpoint's tokenizer has no <mask>")
    places = np.flatnonzero(ids == self.tokenizer.mask_id)
    if not places.size:
      raise ValueError(f'no <mask> in {text!r}')
    scores = self.logits([ids])[0][places[0]].astype(np.float64)
    scores = scores[: self.tokenizer.vocab_size]  # XL's table has spare rows
    probs = np.exp(scores - scores.max())
    probs /= probs.sum()
    best = np.argsort(-probs, kind='stable')[:top]
    return [(self.tokenizer.id_to_piece(int(i)), float(probs[i])) for i in best]

  def program(self, what: str | None) -> packed.Program:
    """The forward pass to a head, a pooling or (None) the hidden states."""
    classes = len(self.labels or ()) or 1
    return packed.Program(self.config, what, classes, self.tied, self.mesh)

  def _run(self, what, features, progress=None):
    return self.program(what)(self.params, features, progress)

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
    weights = reader.Weights(
      config=dataclasses.replace(config, vocab_multiple=1),
      params=jax.tree.map(
        lambda x: x if hasattr(x, 'resized') else np.asarray(x),
        heads.with_rows(self.params, self.head, config.vocab_size),
      ),
      head=self.head,
      labels=self.labels,
      tied=self.tied,
      source=self.source,
      pooling=self.pooling,
    )
    directory.write(folder, weights, format, self.tokenizer_dir, fresh=fresh)


def load(
  path,
  *,
  head: str | None = reader.STORED,
  labels: Sequence[str] | None = None,
  fresh: bool = False,
  seed: int = 0,
  revision: str | None = None,
  mesh=None,
  timer: dict | None = None,
  **run,
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
    mesh: from sharding.make_mesh, or its three sizes, e.g. (1, 8, 4); default:
      all devices, as data. Each device reads its own part of the files.
    timer: filled with seconds by phase (read, transform, place).
    **run: how to run: dtype='bfloat16', attention='xla', scan=False, ...

  Raises:
    ValueError: nothing there, not of this family, not whole, or without the
      head that is wanted.
  """
  if head != reader.STORED:
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
  weights, folder = directory.read(
    path, head=head, revision=revision, lazily=mesh is not None, timer=timer
  )
  unknown = [name for name in run if name not in directory.RUN_FIELDS]
  if unknown:
    raise ValueError(
      f'load has no option {unknown[0]!r}: options are '
      f'{", ".join(directory.RUN_FIELDS)}'
    )
  tokenizer = directory.load_tokenizer(folder, weights.config.vocab_size)
  if head not in (reader.STORED, weights.head):
    if not fresh:
      raise ValueError(
        f'{path} has no {head} head: give fresh=True for a new one, with '
        'random weights'
      )
    weights = directory.with_fresh(weights, head, labels, seed, str(path))
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
  params = heads.with_rows(weights.params, weights.head, config.rows)
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
  return Loaded(
    config=config,
    params=params,
    tokenizer=tokenizer,
    head=weights.head,
    labels=weights.labels,
    tied=weights.tied,
    source=weights.source,
    pooling=weights.pooling,
    tokenizer_dir=folder,
    mesh=mesh,
  )
