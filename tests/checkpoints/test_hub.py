"""Models by their hub name, from a hub that this file serves."""

import errno
import hashlib
from http import server
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import threading
from urllib import parse

import huggingface_hub
from huggingface_hub import constants
import numpy as np
import pytest
import torch
from torch_models import tiny

import xlmr_jax
from xlmr_jax.checkpoints import hub
from xlmr_jax.checkpoints.hf import sentence_transformers
from xlmr_jax.checkpoints.weights import SPM, TOKENIZER_FILES

# What lies in many repositories and is of no use here.
USELESS = (
  'README.md',
  'flax_model.msgpack',
  'tf_model.h5',
  'rust_model.ot',
  'model.fp16.safetensors.bak',
  'adapter_model.safetensors',
  'onnx/model.onnx',
  'onnx/model.safetensors',
  'onnx/tokenizer.json',
  'openvino/openvino_model.bin',
  'checkpoint-500/model.safetensors',
  'checkpoint-500/pytorch_model.bin',
  'training_args.bin',
  'optimizer.bin',
)


class Hub(server.ThreadingHTTPServer):
  """As much of huggingface.co as a download needs.

  Attributes:
    repos: name → revision or commit → (commit, folder).
    gated: names whose files need a licence.
    private: names that nobody may see.
    files: 'name/file' of every file that was sent.
  """

  def __init__(self):
    super().__init__(('127.0.0.1', 0), Handler)
    self.repos: dict[str, dict[str, tuple[str, pathlib.Path]]] = {}
    self.gated, self.private = set(), set()
    self.files: list[str] = []
    self.url = f'http://127.0.0.1:{self.server_address[1]}'
    threading.Thread(target=self.serve_forever, daemon=True).start()

  def publish(self, name, folder, *revisions) -> str:
    """A folder as a commit, which `revisions` point to; the commit."""
    commit = hashlib.sha1(str(folder).encode()).hexdigest()
    for revision in (*(revisions or ('main',)), commit):
      self.repos.setdefault(name, {})[revision] = commit, folder
    return commit

  def close(self):
    self.shutdown()
    self.server_close()

  def sent(self) -> set[str]:
    """Files that were sent since the last call."""
    files, self.files = self.files, []
    assert len(set(files)) == len(files)  # each once
    return {file.split('/', 2)[2] for file in files}


class Handler(server.BaseHTTPRequestHandler):
  protocol_version = 'HTTP/1.1'

  def log_message(self, *_):
    pass

  def do_HEAD(self):
    self.do_GET()

  def do_GET(self):
    path, _, _ = self.path.partition('?')
    path = parse.unquote(path)
    if match := re.fullmatch(
      r'/api/models/(.+?)(?:/(revision|tree)/([^/]+))?', path
    ):
      self.api(match[1], match[2], match[3] or 'main')
    elif match := re.fullmatch(r'/(.+?)/resolve/([^/]+)/(.+)', path):
      self.resolve(*match.groups())
    else:
      self.refuse(404, 'EntryNotFound', path)

  def find(self, name, revision) -> tuple[str, pathlib.Path] | None:
    repo = self.server.repos.get(name)
    if repo is None or name in self.server.private:
      # The hub does not tell strangers what there is.
      self.refuse(401, 'RepoNotFound', 'Invalid username or password.')
    elif revision not in repo:
      self.refuse(404, 'RevisionNotFound', f'Invalid rev id: {revision}')
    else:
      return repo[revision]

  def api(self, name, what, revision):
    if (found := self.find(name, revision)) is None:
      return
    commit, folder = found
    files = [file for file in sorted(folder.rglob('*')) if file.is_file()]
    names = [str(file.relative_to(folder)) for file in files]
    if what == 'tree':
      answer = [
        {'type': 'file', 'path': n, 'size': f.stat().st_size, 'oid': etag(f)}
        for n, f in zip(names, files, strict=True)
      ]
    else:
      answer = {'id': name, 'sha': commit}
      answer['siblings'] = [{'rfilename': name} for name in names]
    self.answer(json.dumps(answer).encode(), commit)

  def resolve(self, name, revision, file):
    if (found := self.find(name, revision)) is None:
      return
    commit, folder = found
    if name in self.server.gated:
      return self.refuse(
        401, 'GatedRepo', f'Access to model {name} is restricted.'
      )
    if not (folder / file).is_file():
      return self.refuse(404, 'EntryNotFound', 'Entry not found')
    if self.command == 'GET':
      self.server.files.append(f'{name}/{file}')
    self.answer((folder / file).read_bytes(), commit, etag(folder / file))

  def refuse(self, status, code, message):
    body = json.dumps({'error': message}).encode()
    headers = {'X-Error-Code': code, 'X-Error-Message': message}
    self.send(status, body, headers)

  def answer(self, body, commit, tag=None):
    headers = {'X-Repo-Commit': commit}
    if tag is not None:
      headers['ETag'] = f'"{tag}"'
    self.send(200, body, headers)

  def send(self, status, body, headers):
    self.send_response(status)
    for key, value in headers.items():
      self.send_header(key, value)
    self.send_header('Content-Length', str(len(body)))
    self.end_headers()
    if self.command == 'GET':
      self.wfile.write(body)


def etag(file: pathlib.Path) -> str:
  return hashlib.sha1(file.read_bytes()).hexdigest()


@pytest.fixture
def theirs(tmp_path, monkeypatch):
  """A hub, and this process asks nobody else."""
  served = Hub()
  monkeypatch.setattr(constants, 'ENDPOINT', served.url)
  template = served.url + '/{repo_id}/resolve/{revision}/{filename}'
  monkeypatch.setattr(constants, 'HUGGINGFACE_CO_URL_TEMPLATE', template)
  monkeypatch.setattr(constants, 'HF_HUB_CACHE', str(tmp_path / 'cache'))
  monkeypatch.setattr(constants, 'HF_HUB_OFFLINE', False)
  monkeypatch.setattr(constants, 'HF_TOKEN_PATH', str(tmp_path / 'no-token'))
  monkeypatch.delenv('HF_TOKEN', raising=False)
  for name in ('NO_PROXY', 'no_proxy'):
    monkeypatch.setenv(name, '*')
  huggingface_hub.close_session()  # whatever was open asked somebody else
  yield served
  served.close()
  huggingface_hub.close_session()


@pytest.fixture(scope='module')
def published(tmp_path_factory, tiny_tokenizer):
  """kind → folder as somebody published it, with all that is of no use."""
  made = {}

  def get(kind, seed=0) -> pathlib.Path:
    if (kind, seed) in made:
      return made[kind, seed]
    folder = tmp_path_factory.mktemp(kind)
    size = xlmr_jax.data.tokenizers.xlmr.Tokenizer(tiny_tokenizer).vocab_size
    model = tiny('mlm', seed, vocab_size=size)
    body = folder / '0_Transformer' if kind == 'below' else folder
    body.mkdir(exist_ok=True)
    shards = {'max_shard_size': '20KB'} if kind == 'sharded' else {}
    model.save_pretrained(body, **shards)
    for name in (SPM, 'dict.txt'):
      if (tiny_tokenizer / name).exists():
        (body / name).write_bytes((tiny_tokenizer / name).read_bytes())
    if kind in ('bin', 'both', 'below'):
      torch.save(model.state_dict(), body / 'pytorch_model.bin')
      if kind != 'both':
        (body / 'model.safetensors').unlink()
    if kind in ('flat', 'below'):
      facts = sentence_transformers.Pooling(
        'mean', True, 20, prompts={'query': 'query: '}
      )
      texts = sentence_transformers.texts(facts, 32)
      if kind == 'below':
        texts['0_Transformer/sentence_bert_config.json'] = texts.pop(
          'sentence_bert_config.json'
        )
        texts['modules.json'] = texts['modules.json'].replace(
          '"path": ""', '"path": "0_Transformer"'
        )
      for name, text in texts.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)
    for name in USELESS:
      (folder / name).parent.mkdir(exist_ok=True)
      (folder / name).write_text(f'of no use: {name}')
    made[kind, seed] = folder
    return folder

  return get


def table(loaded) -> np.ndarray:
  return np.asarray(loaded.params['encoder']['embed']['tokens'])


# What each kind needs, tokenizer and all.
NEEDED = {
  'plain': {'config.json', 'model.safetensors', SPM},
  'bin': {'config.json', 'pytorch_model.bin', SPM},
  'both': {'config.json', 'model.safetensors', SPM},
  'flat': {
    'config.json',
    'model.safetensors',
    SPM,
    'modules.json',
    '1_Pooling/config.json',
    'sentence_bert_config.json',
    'config_sentence_transformers.json',
  },
  'below': {
    '0_Transformer/config.json',
    '0_Transformer/pytorch_model.bin',
    f'0_Transformer/{SPM}',
    '0_Transformer/sentence_bert_config.json',
    'modules.json',
    '1_Pooling/config.json',
    'config_sentence_transformers.json',
  },
}


@pytest.mark.parametrize('kind', [*NEEDED, 'sharded'])
def test_a_name_brings_what_it_needs_and_no_more(
  theirs, published, kind, monkeypatch
):
  folder = published(kind)
  theirs.publish('someone/tiny', folder)
  loaded = xlmr_jax.load('someone/tiny')
  want = NEEDED.get(kind) or {
    'config.json',
    'model.safetensors.index.json',
    SPM,
    *(file.name for file in folder.glob('model-*-of-*.safetensors')),
  }
  assert len(want) > 5 or kind != 'sharded'
  assert theirs.sent() == want
  same = xlmr_jax.load(folder)
  np.testing.assert_array_equal(table(loaded), table(same))
  text = 'No man sees the red cat.'
  np.testing.assert_array_equal(
    loaded.encode([text])[0], same.encode([text])[0]
  )
  if kind in ('flat', 'below'):
    assert loaded.pooling == same.pooling and loaded.pooling.max_length == 20
  # The second time nothing is sent, offline nothing is asked.
  xlmr_jax.load('someone/tiny')
  assert theirs.sent() == set()
  theirs.close()
  again = xlmr_jax.load('someone/tiny')  # as if the line were down
  np.testing.assert_array_equal(table(again), table(loaded))
  monkeypatch.setattr(constants, 'HF_HUB_OFFLINE', True)
  huggingface_hub.close_session()
  again = xlmr_jax.load('someone/tiny')
  np.testing.assert_array_equal(table(again), table(loaded))


def test_files_that_say_how_to_use_a_model_arrive(theirs, published, tmp_path):
  """bge-m3's two heads, and every file of a tokenizer."""
  folder = tmp_path / 'm3'
  shutil.copytree(published('plain'), folder)
  more = {'sparse_linear.pt', 'colbert_linear.pt', 'tokenizer.json'}
  more |= {'tokenizer_config.json', 'sentence_xlm-roberta_config.json'}
  for name in more:  # two files with the same bytes would be sent once
    (folder / name).write_text(f'content of {name}')
  theirs.publish('someone/m3', folder)
  got = hub.download('someone/m3', files=TOKENIZER_FILES)
  assert theirs.sent() == NEEDED['plain'] | more
  for name in more:
    assert (got / name).read_text() == f'content of {name}'


def test_a_cache_that_holds_the_pickle_is_enough_offline(
  theirs, published, monkeypatch
):
  """As transformers may have filled it; the hub has safetensors too."""
  theirs.publish('someone/tiny', published('both'))
  huggingface_hub.snapshot_download(
    'someone/tiny',
    allow_patterns=['*.json', SPM, 'pytorch_model.bin'],
  )
  monkeypatch.setattr(constants, 'HF_HUB_OFFLINE', True)
  huggingface_hub.close_session()
  loaded = xlmr_jax.load('someone/tiny')
  want = xlmr_jax.load(published('bin'))
  np.testing.assert_array_equal(table(loaded), table(want))


def test_the_environment_of_a_process_is_heard(theirs, published, tmp_path):
  """HF_ENDPOINT and HF_HUB_OFFLINE, as a person sets them."""
  theirs.publish('someone/tiny', published('plain'))
  code = (
    'import xlmr_jax\nprint(xlmr_jax.load("someone/tiny").config.vocab_size)'
  )
  env = os.environ | {'HF_ENDPOINT': theirs.url, 'HF_HOME': str(tmp_path / 'h')}
  for offline in (False, True):
    if offline:
      theirs.close()
      env['HF_HUB_OFFLINE'] = '1'
    done = subprocess.run(
      [sys.executable, '-c', code], env=env, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    size = table(xlmr_jax.load(published('plain'))).shape[0]
    assert done.stdout == f'{size}\n'


def test_a_revision_is_the_one_that_was_asked_for(theirs, published):
  old, new = published('plain', seed=1), published('plain', seed=2)
  first = theirs.publish('someone/tiny', old, 'v1')
  theirs.publish('someone/tiny', new, 'main')
  for path, revision, folder in (
    ('someone/tiny', None, new),
    ('someone/tiny@main', None, new),
    ('someone/tiny', 'v1', old),
    ('someone/tiny@v1', None, old),
    ('someone/tiny', first, old),
    (f'someone/tiny@{first}', None, old),
  ):
    loaded = xlmr_jax.load(path, revision=revision)
    want = table(xlmr_jax.load(folder))
    np.testing.assert_array_equal(table(loaded), want)
  with pytest.raises(ValueError, match="revision='v1', but .* is a directory"):
    xlmr_jax.load(old, revision='v1')


@pytest.mark.parametrize(
  ('name', 'revision', 'words'),
  [
    ('nobody/nothing', None, ['Repository Not Found']),
    ('someone/private', None, ['Repository Not Found']),
    ('someone/tiny', 'v7', ['at revision v7', 'Revision Not Found']),
    ('someone/tiny@v7', None, ['at revision v7', 'Invalid rev id: v7']),
    ('some one/tiny', None, ['Repo id must use alphanumeric']),
    ('someone/tiny@', 'v1', ['Repo id must use alphanumeric']),
  ],
)
def test_what_the_hub_does_not_give_is_one_clear_error(
  theirs, published, name, revision, words
):
  for repo in ('someone/tiny', 'someone/private'):
    theirs.publish(repo, published('plain'))
  theirs.private.add('someone/private')
  with pytest.raises(ValueError, match='hub gave no model of that') as error:
    xlmr_jax.load(name, revision=revision)
  text = str(error.value)
  shown = name if revision else name.partition('@')[0]
  assert text.startswith(f'{shown!r} is not a directory, and the')
  for word in words:
    assert word in text
  assert '\n' not in text
  assert theirs.sent() == set()


def test_a_gated_model_is_no_wrong_name(theirs, published):
  theirs.publish('someone/gated', published('plain'))
  theirs.gated.add('someone/gated')
  with pytest.raises(ValueError, match='it is gated: ask for acc') as error:
    xlmr_jax.load('someone/gated')
  text = str(error.value)
  assert text.startswith("'someone/gated' is not a directory, and on the ")
  assert f'{theirs.url}/someone/gated and log in' in text
  assert 'someone/gated is restricted' in text
  assert '\n' not in text and 'no model of that name' not in text


def test_a_hub_that_is_out_of_order_is_no_wrong_name(theirs, monkeypatch):
  def break_down(self):
    self.refuse(500, '', 'database on fire')

  monkeypatch.setattr(Handler, 'do_GET', break_down)
  with pytest.raises(ValueError, match='hub gave an error: .*500') as error:
    xlmr_jax.load('someone/tiny')
  assert '\n' not in str(error.value)


def test_without_a_way_to_the_hub_a_new_name_is_an_error(theirs, monkeypatch):
  theirs.close()
  for offline, message in (
    (False, f'the Hugging Face hub .{theirs.url}. cannot be reached'),
    (True, 'the cache .* does not hold it: unset HF_HUB_OFFLINE'),
  ):
    monkeypatch.setattr(constants, 'HF_HUB_OFFLINE', offline)
    huggingface_hub.close_session()
    with pytest.raises(ValueError, match=message) as error:
      xlmr_jax.load('someone/tiny')
    text = str(error.value)
    assert text.startswith("'someone/tiny' is not a directory, and the ")
    assert '\n' not in text and 'no model of that name' not in text


@pytest.mark.parametrize('number', [errno.ENOSPC, errno.EACCES, errno.EROFS])
def test_what_cannot_be_stored_is_no_wrong_name(
  theirs, published, monkeypatch, number
):
  """A full disk, or a cache of somebody else's."""
  theirs.publish('someone/tiny', published('plain'))

  def refuse(*_, **__):
    raise OSError(number, os.strerror(number), str(constants.HF_HUB_CACHE))

  monkeypatch.setattr(pathlib.Path, 'mkdir', refuse)
  monkeypatch.setattr(os, 'makedirs', refuse)
  with pytest.raises(OSError, match="could not store 'someone/tiny'") as error:
    xlmr_jax.load('someone/tiny')
  assert error.value.errno == number
  assert os.strerror(number) in str(error.value)
  assert 'no model of that name' not in str(error.value)


@pytest.mark.parametrize('name', ['./tiny', '/no/tiny', 'a/b/c', '../tiny'])
def test_what_can_only_be_a_path_is_not_asked_for(theirs, name):
  theirs.close()
  with pytest.raises(ValueError, match='is not a directory$'):
    xlmr_jax.load(name)
