"""Shared fixtures: where the real data is, and a compile cache."""

import os
import pathlib
import tempfile

import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent

# Set before jax is imported, and inherited by every process a test starts.
# Tolerances are those of f32 on a CPU: JAX_PLATFORMS=... tries another.
os.environ.setdefault('JAX_PLATFORMS', 'cpu')
# Programs are compiled once and shared by processes and by later runs.
CACHE = os.path.join(tempfile.gettempdir(), f'xlmr_jax-tests-{os.getuid()}')
os.environ.setdefault('JAX_COMPILATION_CACHE_DIR', CACHE)
os.environ.setdefault('JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS', '0')
os.environ.setdefault('JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES', '-1')


def find_data() -> pathlib.Path | None:
  """The benchmark folder: $XLMR_JAX_DATA, else ../shared/data."""
  folder = pathlib.Path(
    os.environ.get('XLMR_JAX_DATA', ROOT.parent / 'shared' / 'data')
  )
  return folder if folder.is_dir() else None


@pytest.fixture(scope='session')
def data_dir() -> pathlib.Path:
  """The folder of real benchmark files; skips where it is absent."""
  folder = find_data()
  if folder is None:
    pytest.skip('no benchmark files: set XLMR_JAX_DATA to their folder')
  return folder


@pytest.fixture(scope='session')
def tiny_tokenizer(tmp_path_factory) -> pathlib.Path:
  """A folder with a tokenizer of about a hundred pieces."""
  from xlmr_jax.data.tokenizers import train_tokenizer
  from xlmr_jax.data.tokenizers import xlmr as tokenizer

  text = [
    'A man is asleep in the house.',
    'No man sees the red cat.',
    'Ein Mann schläft im Haus.',
    'Niemand sieht die rote Katze.',
    'Мужчина спит в доме.',
    'Никто не видит кошку.',
  ]
  folder = tmp_path_factory.mktemp('tokenizer')
  model = train_tokenizer.train(text * 20, 120, hard_vocab_limit=False)
  tokenizer.Tokenizer(model).save(folder)
  return folder


@pytest.fixture(scope='session')
def make_model():
  """(tokenizer folder, head, labels, **sizes) → a tiny random Loaded.

  Every parameter is random, biases and LayerNorms too, and large enough that
  answers differ from example to example.
  """
  import dataclasses

  import jax

  from xlmr_jax import heads
  from xlmr_jax.checkpoints.weights import Weights
  from xlmr_jax.data.tokenizers.xlmr import Tokenizer
  from xlmr_jax.inference import loaded
  from xlmr_jax.model import VARIANTS

  def make(folder, head='classify', labels=None, seed=0, **sizes):
    tokenizer = Tokenizer(folder)
    small = dict(num_layers=2, model_dim=32, num_heads=4, ff_dim=64)
    config = dataclasses.replace(
      VARIANTS['tiny'],
      vocab_size=tokenizer.vocab_size,
      **{**small, **sizes},
    )
    key = jax.random.key(seed)
    classes = len(labels or ()) or 1
    shapes = jax.eval_shape(lambda: heads.init(config, key, head, classes))
    leaves, tree = jax.tree.flatten_with_path(shapes)
    values = [
      (path[-1].key == 'scale')
      + 0.3 * jax.random.normal(jax.random.fold_in(key, i), leaf.shape)
      for i, (path, leaf) in enumerate(leaves)
    ]
    weights = Weights(
      config=config,
      params=jax.tree.unflatten(tree, values),
      head=head,
      labels=labels,
      tokenizer_dir=folder,
    )
    return loaded.Loaded(weights, tokenizer)

  return make


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_terminal_summary(terminalreporter):
  """Says at the end how many tests were skipped, also where none was."""
  result = yield
  count = len(terminalreporter.stats.get('skipped', ()))
  text = f'{count} test{"" if count == 1 else "s"} skipped'
  terminalreporter.write_line(
    text + (', for the reasons above' if count else '')
  )
  return result
