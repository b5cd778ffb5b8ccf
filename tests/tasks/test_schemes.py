"""Tagging schemes: read off sentences, and what a chain may do under them."""

import itertools
import re

import numpy as np
import pytest

from xlmr_jax.data.readers.tagged import Sentence
from xlmr_jax.eval.metrics import spans
from xlmr_jax.tasks import schemes

# Mary Ann met Bob, Eve and Lord Al Fo in Oslo: one text, every scheme.
WRITTEN = {
  'BIO': 'B-P I-P O B-P B-P O B-P I-P I-P O B-L',
  'IOB1': 'I-P I-P O I-P B-P O I-P I-P I-P O I-L',
  'IOBES': 'B-P E-P O S-P S-P O B-P I-P E-P O S-L',
  'BILOU': 'B-P L-P O U-P U-P O B-P I-P L-P O U-L',
  'BMES': 'B-P E-P O S-P S-P O B-P M-P E-P O S-L',
}


def sentence(tags, line=1):
  tags = tuple(tags.split())
  return Sentence(('w',) * len(tags), tags, f'f.tsv:{line}')


@pytest.mark.parametrize('name', WRITTEN)
def test_a_scheme_is_read_off_its_sentences(name):
  evidence = schemes.find([sentence('O O'), sentence(WRITTEN[name])])
  assert evidence.scheme == name
  assert evidence.message == (
    f'tags are in {name}: {schemes.SCHEMES[name].meaning}'
  )


@pytest.mark.parametrize('name', WRITTEN)
def test_spans_are_the_same_in_every_scheme(name):
  """seqeval's strict reading of each of the schemes."""
  want = {('P', 0, 1), ('P', 3, 3), ('P', 4, 4), ('P', 6, 8), ('L', 10, 10)}
  assert spans.read([WRITTEN[name].split()]) == want


@pytest.mark.parametrize(
  'tags, scheme, message',
  [
    ('NOUN VERB X', 'none', 'tags are no spans'),
    ('O O', 'none', 'tags are no spans'),
    ('I-P O I-P I-P', 'IOB1', 'tags are in IOB1'),  # nothing needs a B-
    ('B-P O', 'BIO', 'tags are in BIO'),
    ('B-P I-P O I-P', 'none', 'nearest to BIO, which 1 word breaks, first '
     r'f.tsv:4 \(I-P after O\); a chain of them is free'),
    ('I-P O', 'IOB1', 'tags are in IOB1'),
    ('B-P I-P I-L', 'none', r'f.tsv:3 \(I-L after I-P\)'),
    ('S-P B-P E-P B-P', 'none', r'nearest to IOBES.*f.tsv:4 \(B-P at the end'),
    ('B-P U-P S-P', 'none', r'no scheme \(B-, S-, U-\)'),
  ],
)  # fmt: skip
def test_what_no_scheme_has_is_said(tags, scheme, message):
  evidence = schemes.find([sentence(tags)])
  assert evidence.scheme == scheme
  assert re.search(message, evidence.message)
  assert '\n' not in evidence.message


def test_sentences_without_tags_say_nothing():
  bare = Sentence(('a',), None, 'f.tsv:1')
  assert schemes.find([bare, sentence(WRITTEN['IOB1'])]).scheme == 'IOB1'
  assert schemes.find([bare]).scheme == schemes.NONE


@pytest.mark.parametrize('name', WRITTEN)
def test_a_chain_may_write_every_text_in_one_way(name):
  """Of all paths of four words, as many as there are sets of spans.

  Words are outside, or the span at the end is 1 to n words long and of one of
  two types: c(n) = c(n - 1) + 2 (c(n - 1) + ... + c(0)).
  """
  letters = sorted(schemes.SCHEMES[name].letters)
  labels = ['O', *(f'{a}-{k}' for a in letters for k in 'PQ')]
  may = schemes.allowed(name, labels)
  texts = set()
  paths = 0
  for path in itertools.product(range(len(labels)), repeat=4):
    if not may['start'][path[0]] or not may['end'][path[-1]]:
      continue
    if all(may['transitions'][a, b] for a, b in itertools.pairwise(path)):
      paths += 1
      texts.add(frozenset(spans.read([[labels[i] for i in path]])))
  count = [1]
  for n in range(1, 5):
    count.append(count[-1] + 2 * sum(count[n - k] for k in range(1, n + 1)))
  assert paths == len(texts) == count[4]


@pytest.mark.parametrize('name', WRITTEN)
def test_what_a_scheme_allows_is_what_it_finds(name):
  """A path is allowed if, and only if, its sentence is in the scheme."""
  letters = sorted(schemes.SCHEMES[name].letters)
  labels = ['O', *(f'{a}-{k}' for a in letters for k in 'PQ')]
  may = schemes.allowed(name, labels)
  row = schemes.SCHEMES[name]
  for path in itertools.product(range(len(labels)), repeat=3):
    able = may['start'][path[0]] and may['end'][path[-1]]
    able &= all(may['transitions'][a, b] for a, b in itertools.pairwise(path))
    tags = ['O', *(labels[i] for i in path), 'O']
    assert able == all(row.follows(a, b) for a, b in itertools.pairwise(tags))


def test_names_alone():
  assert schemes.guess('O B-P I-P'.split()) == 'BIO'
  assert schemes.guess('O I-P'.split()) == 'BIO'
  assert schemes.guess('O S-P B-P E-P'.split()) == 'IOBES'
  assert schemes.guess('NOUN SYM X'.split()) == schemes.NONE
  assert schemes.guess('O B-P U-P S-P'.split()) == schemes.NONE


def test_without_a_scheme_everything_is_allowed():
  allowed = schemes.allowed(schemes.NONE, ('O', 'B-P', 'I-P'))
  assert all(np.asarray(may).all() for may in allowed.values())


def test_a_scheme_of_another_name_is_refused():
  assert schemes.check(None) is None and schemes.check('IOB1') == 'IOB1'
  with pytest.raises(ValueError, match="'BIOUL' is not one of BIO, IOB1, IO"):
    schemes.check('BIOUL')
