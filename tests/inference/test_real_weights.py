"""Real weights: multilingual-e5-small as BERT, and the same function as XLM-R.

  python3 shared/tools/real_model.py DIR/bert --layout=bert
  python3 shared/tools/real_model.py DIR/xlm-roberta --layout=xlm-roberta
  XLMR_JAX_E5=DIR pytest -m slow tests/inference/test_real_weights.py

4-bit weights of the published model (see that script), 470 MB a layout.
"""

import os
import pathlib

import numpy as np
import pytest
import torch
import transformers

import xlmr_jax

pytestmark = pytest.mark.slow
# Many lengths and scripts; pairs of one meaning; one longer than the model.
TEXTS = [
  'query: How much protein should a female eat?',
  'query: Wie viel Eiweiß sollte eine Frau essen?',
  'query: 女性は一日にどのくらいのタンパク質を摂るべきですか。',
  'passage: كم من البروتين يجب أن تأكل المرأة؟',
  'passage: The weather in Oslo is cold in winter, but the sun is out.',
  'passage: Погода в Осло зимой холодная, но светит солнце.',
  'query: a',
  'passage: ' + 'Das Wetter ist schön, und morgen wird es regnen. ' * 80,
]


@pytest.fixture(scope='module')
def models():
  folder = pathlib.Path(os.environ.get('XLMR_JAX_E5', ''))
  if not (folder / 'bert').is_dir():
    pytest.skip('no real weights: set XLMR_JAX_E5 to their folder')
  return {
    name: (folder / name, xlmr_jax.load(folder / name))
    for name in ('bert', 'xlm-roberta')
  }


def test_both_layouts_give_the_same_vectors(models):
  vectors = {name: m.embed(TEXTS) for name, (_, m) in models.items()}
  np.testing.assert_allclose(
    vectors['bert'], vectors['xlm-roberta'], rtol=0, atol=1e-6
  )
  np.testing.assert_allclose(
    np.linalg.norm(vectors['bert'], axis=-1), 1, rtol=0, atol=1e-6
  )
  # Texts of one meaning are nearer to each other than to the others.
  similar = vectors['bert'] @ vectors['bert'].T
  meaning = np.array([0, 0, 0, 0, 1, 1, 2, 3])
  same = meaning[:, None] == meaning
  for a, b in ((0, 1), (0, 2), (0, 3), (4, 5)):
    assert similar[a, b] > similar[a, ~same[a]].max()


def test_the_vectors_are_sentence_transformers(models):
  """Its formula, on transformers' own BertModel: mean, then length 1."""
  folder, m = models['bert']
  theirs = transformers.BertModel.from_pretrained(
    folder, add_pooling_layer=False, attn_implementation='eager'
  ).eval()
  for text, got in zip(TEXTS, m.embed(TEXTS), strict=True):
    ids = m.tokenizer.encode(text, max_length=512, truncate='longest_first')
    with torch.no_grad():
      out = theirs(torch.tensor([ids])).last_hidden_state[0].mean(0).numpy()
    want = out / np.sqrt((out**2).sum())
    np.testing.assert_allclose(got, want, rtol=0, atol=1e-5)


def test_the_files_come_back(models, tmp_path):
  for name, (folder, m) in models.items():
    m.save(tmp_path / name, format='hf')
    for file in folder.rglob('*'):
      if file.is_file():
        back = tmp_path / name / file.relative_to(folder)
        assert back.read_bytes() == file.read_bytes(), file
