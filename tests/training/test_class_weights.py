"""Weights of classes: what recipes say, and means over weighted examples."""

import numpy as np
import pytest
from tiny_runs import recipe, records, settings, write_data

from configs import finetune
from xlmr_jax import train
from xlmr_jax.tasks.kinds import KINDS
from xlmr_jax.training.class_weights import find_weights

CLASSIFY, TAG, SETS = (
  KINDS[name] for name in ('classify', 'tag', 'multilabel')
)
LABELS = ('a', 'b', 'c')


def features(*labels):
  return [{'label': label} for label in labels]


def test_balanced_is_the_same_share_for_all():
  """n / (C * n_c), as scikit-learn has it."""
  got = find_weights('balanced', CLASSIFY, LABELS, features(0, 0, 0, 1, None))
  np.testing.assert_allclose(got, [4 / (3 * 3), 4 / (3 * 1), 1])
  tags = features(np.array([-1, 0, 0, 2]), np.array([0, -1, 1]))
  got = find_weights('balanced', TAG, LABELS, tags)
  np.testing.assert_allclose(got, [5 / (3 * 3), 5 / 3, 5 / 3], rtol=1e-6)
  sets = features(*np.float32([[1, 0, 0], [1, 1, 0], [1, 0, 0], [0, 0, 0]]))
  got = find_weights('balanced', SETS, LABELS, sets)
  np.testing.assert_allclose(got, [1 / 3, 3, 1], rtol=1e-6)


def test_numbers_by_id_and_by_name():
  for given in ((1, 2.5, 9), [1, 2.5, 9], {'c': 9, 'a': 1, 'b': 2.5}):
    got = find_weights(given, CLASSIFY, LABELS, [])
    assert got.dtype == np.float32 and got.tolist() == [1, 2.5, 9]
  assert find_weights(None, CLASSIFY, LABELS, []) is None


@pytest.mark.parametrize(
  'given, message',
  [
    ('balance', "class_weights='balance': write balanced, a number for each"),
    ((1.0, 2.0), 'has 2 numbers for 3 classes: a, b, c'),
    ((1, 0, 2), "0 of 'b' is no positive number"),
    ((1, float('nan'), 2), "nan of 'b' is no positive number"),
    ({'a': 1, 'b': 1, 'd': 1}, "unknown label 'd'; no weight for 'c'; the lab"),
  ],
)
def test_what_are_no_weights(given, message):
  with pytest.raises(ValueError, match=message):
    find_weights(given, CLASSIFY, LABELS, [])


def test_numbers_have_no_classes():
  with pytest.raises(ValueError, match='this objective has no classes'):
    find_weights('balanced', KINDS['regression'], None, [])


def test_a_mean_is_one_however_it_is_added_up(tmp_path, tiny_tokenizer):
  """Over micro-batches, and where the weights add up to less than 1."""
  write_data(tmp_path)
  given = settings(tmp_path, tiny_tokenizer)
  given[finetune] |= {
    'dropout': 0.0,
    'attention_dropout': 0.0,
    'steps': 2,
    'eval_every': 2,
    'save_every': 2,
    'metric': 'macro_f1',
    'optim.clip': 0.0,
    'sizes.num_layers': 1,
  }
  logs = []
  for name, weights, accumulate in (
    ('whole', (1.0, 5.0), 1),
    ('small', {'yes': 0.005, 'no': 0.001}, 2),
  ):
    config = recipe(
      given, finetune, class_weights=weights, accumulate=accumulate
    )
    last = train.train(config, tmp_path / 'runs' / name)
    runs = records(tmp_path / 'runs' / name)
    logs.append(next(r for r in runs if 'loss' in r))
  assert {'dev_macro_f1', 'dev_accuracy', 'dev_matthews'} <= last.keys()
  whole, small = logs
  for value in ('loss', 'grad_norm', 'accuracy'):
    assert small[value] == pytest.approx(whole[value], rel=1e-5)
