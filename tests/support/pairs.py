"""The same examples as theirs and as ours, and what is compared."""

import functools

import jax
import numpy as np
import torch

from xlmr_jax import model
from xlmr_jax.checkpoints.hf import names as hf_names
from xlmr_jax.checkpoints.hf import reader

HIDDEN, LOGITS, GRADIENT = 1e-4, 1e-3, 1e-5
PAD = 1
# Wide enough that GELU's argument leaves the range where tanh is as good.
WIDE = dict(hidden_size=128, intermediate_size=192)


def pack(rows, length):
  """Examples of ids, some per row → Batch; positions skip literal pads."""
  size = (len(rows), length)
  batch = {
    'tokens': np.full(size, PAD, np.int32),
    'segments': np.zeros(size, np.int32),
    'positions': np.zeros(size, np.int32),
    'starts': np.zeros((len(rows), max(map(len, rows))), np.int32),
  }
  for r, row in enumerate(rows):
    at = 0
    for e, ids in enumerate(row):
      ids = np.asarray(ids)
      span = np.s_[r, at : at + len(ids)]
      real = ids != PAD
      batch['tokens'][span] = ids
      batch['segments'][span] = e + 1
      batch['positions'][span] = np.where(real, np.cumsum(real) - 1, -1)
      batch['starts'][r, e] = at
      at += len(ids)
  return batch


def pad(examples):
  """The same examples as theirs takes them: one a row, and a mask."""
  length = max(map(len, examples))
  ids = torch.full((len(examples), length), PAD)
  mask = torch.zeros_like(ids)
  for row, example in enumerate(examples):
    ids[row, : len(example)] = torch.tensor(example)
    mask[row, : len(example)] = 1
  return {'input_ids': ids, 'attention_mask': mask}


def draw(lengths, vocab=61, seed=0):
  rng = np.random.default_rng(seed)
  return [[0, *rng.integers(4, vocab, n - 2).tolist(), 2] for n in lengths]


EXAMPLES = draw((9, 5, 12, 3, 7, 2))
ROWS = [EXAMPLES[:2], EXAMPLES[2:5], EXAMPLES[5:]]
BATCH = pack(ROWS, 24)


def spans(rows=ROWS):
  """(row, slice) of every example of a packed batch, in order."""
  for r, row in enumerate(rows):
    at = 0
    for ids in row:
      yield r, slice(at, at + len(ids))
      at += len(ids)


def assert_close(ours, want, tolerance):
  ours, want = np.asarray(ours), want.detach().numpy()
  assert ours.shape == want.shape
  np.testing.assert_allclose(ours, want, rtol=0, atol=tolerance)


class Pair:
  """Their model, and ours read from what it saves."""

  def __init__(self, torch_model, folder):
    self.torch = torch_model
    self.torch.save_pretrained(folder)
    self.weights = reader.read(folder)
    self.config, self.params = self.weights.config, self.weights.params

  def layer(self, index):
    """Parameters of one of our layers."""
    return jax.tree.map(lambda x: x[index], self.params['encoder']['layers'])

  def hidden(self, config=None, params=None, batch=BATCH):
    return hidden_states(
      config or self.config, (params or self.params)['encoder'], batch
    )


@functools.partial(jax.jit, static_argnums=0)
def hidden_states(config, encoder, batch):
  return model.Encoder(config).apply(
    {'params': encoder},
    batch['tokens'],
    batch['segments'],
    batch['positions'],
    types=batch.get('types'),
  )


def to_ours(pair, found):
  """Name → their tensor, as our tree."""
  head, classes = pair.weights.head, len(pair.weights.labels or ())
  leaves: dict = {}
  for name, row in hf_names.table(pair.config, head, classes).items():
    for key in (name, f'roberta.{name}', f'bert.{name}'):
      if key in found:
        array = found[key].detach().numpy()
        leaves.setdefault(row.path, []).append(array.T if row.flip else array)
  return jax.tree_util.tree_map_with_path(
    lambda path, leaf: np.stack(leaves[name_of(path)]).reshape(leaf.shape),
    pair.params,
  )


def name_of(path):
  return jax.tree_util.keystr(path, simple=True, separator='/')


def grad_of(loss, batch):
  """Jitted params → (mean loss, its gradient)."""

  def mean(params):
    total, count = loss(params, batch, None)['loss']
    return total.sum() / count.sum()

  return jax.jit(jax.value_and_grad(mean))
