"""The files of the toy world, in the forms of the benchmarks."""

from collections.abc import Iterable, Iterator
import csv
import os

from xlmr_jax.data.toy import lexicon, world
from xlmr_jax.data.toy.lexicon import Language
from xlmr_jax.data.toy.sentences import Sentence, render, tag_words


def write(
  out_dir: str | os.PathLike,
  seed: int = 0,
  size: world.Size = world.SIZES['full'],
) -> None:
  """Writes every file of the world (world.py lists them).

  Args:
    out_dir: a folder; files of the same names in it are replaced.
    seed: another seed draws other sentences and holds out other pairs.
    size: how much of each.

  Raises:
    ValueError: more distinct dev or test examples are asked for than the
      world can say.
  """
  _check(size)
  toy = world.World(seed, size)
  languages = [lexicon.LANGUAGES[code] for code in size.languages]

  for language in languages:
    draw = toy.draw(f'corpus/{language.code}')
    paragraphs = [toy.paragraph(draw) for _ in range(size.corpus)]
    _write_lines(
      os.path.join(out_dir, 'corpus', f'{language.code}.txt'),
      (_text(language, paragraph) for paragraph in paragraphs),
    )

  english = lexicon.LANGUAGES['en']
  for language in languages:
    if language is not english:
      draw = toy.draw(f'parallel/{language.code}')
      paragraphs = [toy.translated(draw) for _ in range(size.parallel)]
      _write_rows(
        os.path.join(out_dir, 'parallel', f'en-{language.code}.tsv'),
        (
          (_text(english, paragraph), _text(language, paragraph))
          for paragraph in paragraphs
        ),
      )

  for part, count in zip(('train', 'dev', 'test'), size.xnli, strict=True):
    rows = toy.nli(part, count)
    for language in [english] if part == 'train' else languages:
      _write_rows(
        os.path.join(out_dir, 'xnli', f'{part}-{language.code}.tsv'),
        (
          (render(language, event), render(language, state), label)[
            : 2 if part == 'test' else 3
          ]
          for event, state, label in rows
        ),
      )
    if part == 'test':
      _write_lines(
        os.path.join(out_dir, 'xnli', 'test.labels.txt'),
        (label for _, _, label in rows),
      )

  for part, count in zip(('train', 'dev', 'test'), size.intents, strict=True):
    rows = toy.intents(part, count)
    for language in [english] if part == 'train' else languages:
      _write_rows(
        os.path.join(out_dir, 'intents', f'{part}-{language.code}.tsv'),
        [('text', 'label')]
        + [(render(language, request), intent) for request, intent in rows],
      )

  for part, count in zip(('train', 'dev', 'test'), size.tags, strict=True):
    tagged = toy.tagged(part, count)
    for language in [english] if part == 'train' else languages:
      _write_lines(
        os.path.join(out_dir, 'tags', f'{part}-{language.code}.tsv'),
        _tagged_lines(language, tagged),
      )

  sentences = toy.retrieval(size.tatoeba)
  for language in languages:
    if language is not english:
      name = f'tatoeba.{language.iso3}-eng'
      for side in (language, english):
        _write_lines(
          os.path.join(out_dir, 'tatoeba', f'{name}.{side.iso3}'),
          (render(side, sentence) for sentence in sentences),
        )


# Intent news: 2 commands and 2 questions (4 or 3 greetings, none included),
# with 1 filler for dev and 2 for test.
_MOST = {'intents dev': 140, 'intents test': 280, 'tatoeba': 153}


def _check(size: world.Size) -> None:
  asked = {
    'intents dev': size.intents[1],
    'intents test': size.intents[2],
    'tatoeba': size.tatoeba,
  }
  for name, most in _MOST.items():
    if asked[name] > most:
      raise ValueError(
        f'{name}: {asked[name]} lines were asked for, and the toy world has'
        f' {most} to give; ask for fewer'
      )


def _text(language: Language, paragraph: Iterable[Sentence]) -> str:
  return language.space.join(render(language, item) for item in paragraph)


def _tagged_lines(
  language: Language, sentences: Iterable[Sentence]
) -> Iterator[str]:
  for number, sentence in enumerate(sentences):
    if number:
      yield ''
    for word, tag in tag_words(language, sentence):
      yield f'{word}\t{tag}'


def _write_lines(path: str, lines: Iterable[str]) -> None:
  os.makedirs(os.path.dirname(path), exist_ok=True)
  with open(path, 'w', encoding='utf-8', newline='\n') as file:
    file.writelines(line + '\n' for line in lines)


def _write_rows(path: str, rows: Iterable[tuple[str, ...]]) -> None:
  """As XTREME writes them: csv, TAB between columns."""
  os.makedirs(os.path.dirname(path), exist_ok=True)
  with open(path, 'w', encoding='utf-8', newline='') as file:
    csv.writer(file, delimiter='\t', lineterminator='\n').writerows(rows)
