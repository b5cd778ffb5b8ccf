"""Tags the words of sentences: named entities, parts of speech.

  python examples/tag.py Davlan/xlm-roberta-base-ner-hrl sentences.txt

The file has a word a line and a blank line after each sentence. A sentence of
any length is read in windows, and the first piece of a word answers for it.
It prints the file with a tag behind each word:

  Mary<TAB>B-PER
  sleeps<TAB>O

With a chain over the tags (head `crf`), `python -m xlmr_jax.eval --test=FILE`
finds the best path.
"""

import sys

import xlmr_jax
from xlmr_jax.data.readers import tagged
from xlmr_jax.tasks import tag


def main(checkpoint, path):
  model = xlmr_jax.load(checkpoint, head='tag')
  sentences = tagged.read(path)
  windows = tag.encode(
    sentences,
    model.tokenizer,
    labels=model.labels,
    max_length=model.max_length,
  )
  scores = model.logits([window['tokens'] for window in windows])
  tags = tag.decode(scores, model.labels, windows)
  for sentence, answers in zip(sentences, tags, strict=True):
    for word, answer in zip(sentence.words, answers, strict=True):
      print(f'{word}\t{answer}')
    print()


if __name__ == '__main__':
  main(*sys.argv[1:])
