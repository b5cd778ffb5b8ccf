"""Object stores on loopback: Google's and Amazon's, a bucket in each."""

import http.server
import logging
import os
import shutil
import threading
import types

from gcp_storage_emulator import server as emulator

READ_DATA = emulator._read_data
READ_RAW_DATA = emulator._read_raw_data


class _Server(http.server.ThreadingHTTPServer):
  """The emulator of gs:// has a server for one connection at a time."""

  request_queue_size = 128

  def handle_error(self, request, client_address):
    """A client that went away, or was killed, is no news."""


def read_data(handler, query):
  """The emulator's reader of a request, but exact.

  gcsfs ends lines by \\n alone: of a file whose last byte is \\r the emulator
  takes both for one end of line, and drops the file's.
  """
  data = READ_DATA(handler, query)
  if handler.headers.get('Content-Type', '').startswith('multipart/related'):
    _, _, part = handler.raw.partition(b'\n--==0==\n')
    content = part.partition(b'\n\n')[2]
    data['content'] = content.removesuffix(b'\n--==0==--')
  return data


def _read_raw_data(handler):
  handler.raw = READ_RAW_DATA(handler)
  return handler.raw


def gs():
  """(environment, stop) of a Google Cloud Storage emulator in a thread."""
  emulator._read_data = read_data
  emulator._read_raw_data = _read_raw_data
  emulator.server = types.SimpleNamespace(HTTPServer=_Server)
  if not hasattr(emulator.Router, 'answer'):
    # Its store is for one thread.
    lock, answer = threading.Lock(), emulator.Router.handle

    def handle(self, method):
      with lock:
        answer(self, method)

    emulator.Router.handle, emulator.Router.answer = handle, answer
  server = emulator.create_server(
    '127.0.0.1', 0, in_memory=True, default_bucket='box'
  )
  server.start()
  port = server._api._httpd.server_address[1]
  return {
    'STORAGE_EMULATOR_HOST': f'http://127.0.0.1:{port}',
    # Read when gcsfs is imported: no questions to Google about the bucket.
    'GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT': 'false',
  }, server.stop


def s3():
  """The same of an S3 emulator."""
  import boto3
  from moto.server import ThreadedMotoServer

  logging.getLogger('werkzeug').setLevel('ERROR')
  server = ThreadedMotoServer('127.0.0.1', 0, verbose=False)
  server.start()
  host, port = server.get_host_and_port()
  address = f'http://{host}:{port}'
  boto3.client(
    's3',
    endpoint_url=address,
    region_name='us-east-1',
    aws_access_key_id='test',
    aws_secret_access_key='test',
  ).create_bucket(Bucket='box')
  return {
    'AWS_ENDPOINT_URL': address,
    'AWS_ACCESS_KEY_ID': 'test',
    'AWS_SECRET_ACCESS_KEY': 'test',
    'AWS_DEFAULT_REGION': 'us-east-1',
    'AWS_EC2_METADATA_DISABLED': 'true',
  }, server.stop


def forget():
  """The run goes on on another machine."""
  shutil.rmtree(os.environ['XLMR_JAX_CACHE'])
