"""Vectors of any layer, beside transformers' hidden states one at a time."""

import numpy as np
import pytest
import torch
from torch_models import tiny

import xlmr_jax

LAYERS = 3
EXAMPLES = [[0, *range(5, 5 + n), 2] for n in (1, 7, 20, 3, 12)]


@pytest.fixture(scope='module', params=['XLMRoberta', 'XLMRobertaXL'])
def both(request, tmp_path_factory):
  """(ours, theirs: layer → hidden states of each example)."""
  folder = tmp_path_factory.mktemp(request.param)
  model = tiny(None, family=request.param)
  model.save_pretrained(folder)

  def states(layer):
    out = []
    for ids in EXAMPLES:
      with torch.no_grad():
        given = {'input_ids': torch.tensor([ids]), 'output_hidden_states': True}
        out.append(model(**given).hidden_states[layer][0].numpy())
    return out

  return xlmr_jax.load(folder), states


@pytest.mark.parametrize('layer', range(LAYERS + 1))
@pytest.mark.parametrize('pooling', ['mean', 'cls'])
def test_every_layer(both, layer, pooling):
  ours, states = both
  got = ours.vectors(EXAMPLES, layer=layer, pooling=pooling)
  pool = (lambda x: x.mean(0)) if pooling == 'mean' else (lambda x: x[0])
  want = np.stack([pool(x) for x in states(layer)])
  np.testing.assert_allclose(got, want, atol=1e-5)
  assert got.dtype == np.float32


def test_the_last_layer_and_shares_of_the_depth(both):
  ours, states = both
  last = np.stack([x.mean(0) for x in states(LAYERS)])
  np.testing.assert_allclose(ours.vectors(EXAMPLES), last, atol=1e-5)
  for share, layer in ((2 / 3, 2), (0.0, 0), (0.99, 3)):
    np.testing.assert_array_equal(
      ours.vectors(EXAMPLES, layer=share), ours.vectors(EXAMPLES, layer=layer)
    )


def test_without_specials(make_model, tiny_tokenizer):
  """The mean of what is left, by hand from the states of each token."""
  model = make_model(tiny_tokenizer)
  got = model.vectors(EXAMPLES, skip_specials=True)
  want = np.stack([x[1:-1].mean(0) for x in model.encode(EXAMPLES)])
  np.testing.assert_allclose(got, want, atol=1e-5)
  assert np.abs(got - model.vectors(EXAMPLES)).max() > 0.01
  empty = model.vectors([[0, 2]], skip_specials=True)
  assert np.isfinite(empty).all()


@pytest.mark.parametrize(
  'options, message',
  [
    ({'layer': 4}, 'layer=4; this model has layers 1 to 3'),
    ({'layer': -1}, 'layer=-1'),
    ({'pooling': 'max'}, "pooling 'max' is not one of cls, mean"),
    ({'pooling': 'cls', 'skip_specials': True}, 'leaves nothing'),
    ({'skip_specials': True}, 'needs a tokenizer'),
  ],
)
def test_what_cannot_be(both, options, message):
  with pytest.raises(ValueError, match=message):
    both[0].vectors(EXAMPLES, **options)
