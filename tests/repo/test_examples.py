"""Every file of examples/ runs, on a tiny random model and without network."""

import importlib.util
import pathlib
import re

import pytest

FOLDER = pathlib.Path(__file__).resolve().parents[2] / 'examples'
NAMES = sorted(path.stem for path in FOLDER.glob('*.py'))


@pytest.fixture
def example(monkeypatch, tmp_path, capsys):
  """(name, words) → the lines that an example prints."""
  monkeypatch.chdir(tmp_path)
  monkeypatch.setenv('HF_HUB_OFFLINE', '1')

  def run(name, *words):
    spec = importlib.util.spec_from_file_location(name, FOLDER / f'{name}.py')
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.main(*words)
    return capsys.readouterr().out.splitlines()

  return run


@pytest.fixture
def save(make_model, tiny_tokenizer, tmp_path):
  """(head, labels) → the folder of a tiny model, as load takes it."""

  def write(head, labels=None):
    model = make_model(tiny_tokenizer, head, labels)
    model.save(tmp_path / 'model')
    return 'model'

  return write


@pytest.mark.parametrize('name', NAMES)
def test_its_docstring_has_its_command(name):
  text = (FOLDER / f'{name}.py').read_text('utf-8')
  assert re.match(r'r?"""', text)
  assert f'\n  python examples/{name}.py ' in text


def test_every_example_is_run_here():
  text = pathlib.Path(__file__).read_text('utf-8')
  assert set(re.findall(r"\bexample\(\s*'(\w+)'", text)) == set(NAMES)
  assert len(NAMES) >= 5


def test_classify(example, save, tmp_path):
  rows = ['text\tlabel', *['The red cat\tgood', 'No man\tbad'] * 16]
  for name in ('train.tsv', 'dev.tsv'):
    (tmp_path / name).write_text('\n'.join(rows) + '\n')
  words = (save('mlm'), 'train.tsv', 'dev.tsv', 'run', 'The cat', 'Ein Mann')
  lines = example('classify', *words)[-2:]
  for line, text in zip(lines, words[4:], strict=True):
    assert re.fullmatch(rf'(good|bad)  (0\.[5-9]\d|1\.00)  {text}', line)
  # The run has its end: again it only answers.
  assert example('classify', *words)[-2:] == lines


def test_embed(example, save):
  texts = ['Niemand sieht die Katze.', 'A man', 'The red cat']
  lines = example('embed', save('mlm'), 'The red cat', *texts)
  assert lines[0] == '1.00  The red cat'
  cosines = [float(line.split()[0]) for line in lines]
  assert len(lines) == 3 and cosines == sorted(cosines, reverse=True)


def test_fill_mask(example, save):
  lines = example('fill_mask', save('mlm'), 'A man is <mask>.')
  chances = [float(line.split()[0]) for line in lines]
  assert len(lines) == 5 and chances == sorted(chances, reverse=True)


def test_tag(example, save, tmp_path):
  text = 'The\nred\ncat\n\nNo\nman\n\n'
  (tmp_path / 'words.txt').write_text(text)
  lines = example('tag', save('tag', ['O', 'B-X', 'I-X']), 'words.txt')
  assert ''.join(line.partition('\t')[0] + '\n' for line in lines) == text
  tags = {line.partition('\t')[2] for line in lines if line}
  assert tags <= {'O', 'B-X', 'I-X'}


def test_convert(example, save, tmp_path):
  assert re.fullmatch(
    r'hf: \d+ tokens, largest difference 0\.0',
    example('convert', save('mlm'), 'hf')[-1],
  )
  assert (tmp_path / 'hf' / 'model.safetensors').exists()
