"""Folders whose weights are not read here, and what to do about each.

`explain` says of a folder what its weights are, where it knows them: those of
another library, or what a distributed training left, which are pieces of a
model.
"""

from collections.abc import Callable
import dataclasses
import pathlib


@dataclasses.dataclass(frozen=True)
class Kind:
  """A kind of weights: a row of KINDS.

  Attributes:
    patterns: of the files by which it is known, below the folder.
    noun: what they are.
    remedy: what to do, of a folder and the file that was met.
  """

  patterns: tuple[str, ...]
  noun: str
  remedy: Callable[[pathlib.Path, pathlib.Path], str]


def _through_transformers(option: str) -> Callable:
  return lambda folder, file: (
    'load them with transformers 4, from_pretrained('
    f'{str(folder)!r}, {option}=True) of the class that config.json names, and '
    'load here what its save_pretrained writes'
  )


def _zero(folder: pathlib.Path, file: pathlib.Path) -> str:
  """What makes one file of the pieces; DeepSpeed lays the script beside."""
  top = folder
  for step in (folder, file.parent):
    if step.name.startswith('global_step'):
      top = step.parent
  return (
    f'merge them with the script that DeepSpeed laid beside them, python '
    f'{top / "zero_to_fp32.py"} {top} FOLDER, and load FOLDER with the '
    "model's config.json and tokenizer in it"
  )


KINDS = (
  Kind(
    (
      'mp_rank_*_model_states.pt',
      'zero_pp_rank_*',
      'global_step*/mp_rank_*_model_states.pt',
      'global_step*/zero_pp_rank_*',
    ),
    'the pieces of a training with DeepSpeed',
    _zero,
  ),
  Kind(
    ('*.distcp', '*/*.distcp'),
    'the pieces of a training with FSDP',
    lambda folder, file: (
      f'merge them with accelerate merge-weights {file.parent} FOLDER, and '
      "load FOLDER with the model's config.json and tokenizer in it"
    ),
  ),
  Kind(
    ('pytorch_model_fsdp.bin',),
    'the whole weights of a training with FSDP under a name of its own',
    lambda folder, file: f'rename {file.name} to pytorch_model.bin',
  ),
  Kind(
    ('flax_model.msgpack', 'flax_model-*.msgpack'),
    "Flax's weights",
    _through_transformers('from_flax'),
  ),
  Kind(
    ('tf_model.h5', 'tf_model-*.h5', '*.ckpt.index', 'model.ckpt-*.index'),
    "TensorFlow's weights",
    _through_transformers('from_tf'),
  ),
  Kind(
    ('*.onnx', 'onnx/*.onnx', '*.gguf', 'openvino_model.xml', 'rust_model.ot'),
    'a model exported for another program',
    lambda folder, file: "give the folder of the model's PyTorch weights",
  ),
  Kind(
    ('model.safetensors', 'pytorch_model.bin', '*.safetensors', '*.bin'),
    'weights, and no config.json that says of which model',
    lambda folder, file: (
      'copy config.json and the tokenizer of the model that the training '
      'started from into the folder'
    ),
  ),
  Kind(
    ('checkpoint-*/config.json', '*/config.json', '*/adapter_config.json'),
    'no model, and a folder below it does',
    lambda folder, file: f'give {file.parent}',
  ),
)


def explain(folder: pathlib.Path) -> str:
  """What weights a folder holds that are not read, and what to do; or ''."""
  for kind in KINDS:
    for pattern in kind.patterns:
      for file in sorted(folder.glob(pattern), key=_newest):
        name = file.relative_to(folder)
        return f'it holds {kind.noun} ({name}): {kind.remedy(folder, file)}'
  return ''


def _newest(file: pathlib.Path) -> tuple[int, str]:
  """Sorts checkpoint-1000 before checkpoint-500."""
  number = file.parent.name.rpartition('-')[2]
  return -int(number) if number.isdigit() else 1, str(file)
