"""The traffic between devices of a compiled program, read from its text.

XLA's own cost analysis counts the body of a loop once. This module walks the
text from its entry: a loop's body counts as often as the loop runs, and a
collective that XLA spread over several fusions counts once.
"""

from collections.abc import Iterator, Sequence
import dataclasses
import re

import numpy as np

KINDS = (
  'all-gather',
  'all-reduce',
  'reduce-scatter',
  'all-to-all',
  'collective-permute',
)
_BITS = {'pred': 8, 'token': 0, 'bf16': 16}


@dataclasses.dataclass(frozen=True)
class Instruction:
  """One line: %name = type opcode(operands), attributes."""

  name: str
  type: str
  opcode: str
  operands: tuple[str, ...]
  attributes: str


@dataclasses.dataclass(frozen=True)
class Collective:
  """Data that devices exchange, each in its group.

  Attributes:
    kind: one of KINDS.
    shapes: of its operands, as XLA writes them.
    bytes: of a device's operands.
    groups: [groups, devices of one]; of a permutation: [pairs, 2]. Devices
      are numbered as in mesh.devices.flat.
    count: how often a step runs it.
    source: the operation it came from, as JAX names it.
  """

  kind: str
  shapes: tuple[str, ...]
  bytes: int
  groups: np.ndarray
  count: int
  source: str

  @property
  def full(self) -> int:
    """Bytes of the whole array that a group works on."""
    gathers = self.kind == 'all-gather'
    return self.bytes * (self.groups.shape[1] if gathers else 1)

  @property
  def sent(self) -> float:
    """Bytes that each device must send, over a ring, each time."""
    n = self.groups.shape[1]
    if self.kind == 'collective-permute':
      return self.bytes
    if n == 1:
      return 0
    return self.full * (n - 1) / n * (2 if self.kind == 'all-reduce' else 1)

  def axes(self, mesh_shape: dict[str, int]) -> tuple[str, ...]:
    """Names of the mesh axes along which its groups extend."""
    places = np.stack(
      np.unravel_index(self.groups, tuple(mesh_shape.values())), -1
    )
    differ = (places != places[:, :1]).any((0, 1))
    return tuple(
      name for name, crosses in zip(mesh_shape, differ, strict=True) if crosses
    )


class Program:
  """A compiled program's text, taken apart.

  Attributes:
    computations: name → {instruction's name: Instruction}.
    entry: name of the first computation.
    unknown: loops whose number of turns was not found; they count once.
    fused: computations that are the inside of a fusion.
  """

  def __init__(self, text: str):
    self.computations: dict[str, dict[str, Instruction]] = {}
    self.roots: dict[str, Instruction] = {}
    self.entry = ''
    self.unknown: list[str] = []
    self.fused: set[str] = set()
    self.devices = _devices(text)
    current: dict[str, Instruction] | None = None
    for line in text.splitlines():
      if line.endswith('{') and (start := _START.match(line)):
        current = self.computations[start['name']] = {}
        name = start['name']
        if start['entry']:
          self.entry = name
      elif line == '}':  # inside one, a kernel's notes may hold lines
        current = None
      elif current is not None and (parsed := instruction(line)):
        current[parsed.name] = parsed
        if line.lstrip().startswith('ROOT '):
          self.roots[name] = parsed
    if not self.entry:
      raise ValueError('this is not the text of a compiled program')

  def collectives(self) -> list[Collective]:
    """Everything that a step of the program sends."""
    out: dict[str | tuple, Collective] = {}
    for where, op, count in self._walk(self.entry, 1):
      kind = op.opcode.removesuffix('-start')
      between = _MEGASCALE.search(op.attributes)
      if op.opcode == 'send' and between:
        kind = between[1].lower().replace('_', '-')
      if kind not in KINDS:
        continue
      # Some compilers keep a reduce-scatter as a fusion of its two halves.
      if kind == 'all-reduce' and where.startswith('all-reduce-scatter'):
        kind = 'reduce-scatter'
      channel = re.search(r'channel_id=(\d+)', op.attributes)
      # A collective that was cut up and put into fusions, some of them in loops
      # that run beside it, has one channel; it runs as often as the piece that
      # starts it. Other collectives may all have the same channel.
      pieces = channel if where in self.fused else None
      key = pieces[1] if pieces else (where, op.name)
      if key in out and out[key].count <= count:
        continue
      shapes = tuple(
        shape
        for operand in op.operands
        for shape in _shapes(self.computations[where][operand].type)
      )
      source = re.search(r'op_name="([^"]*)"', op.attributes)
      out[key] = Collective(
        kind=kind,
        shapes=shapes,
        bytes=sum(map(shape_bytes, shapes)),
        groups=across(op.attributes, self.devices)
        if between
        else groups(op.attributes, self.devices),
        count=count,
        source=source[1] if source else '',
      )
    return list(out.values())

  def _walk(
    self, name: str, count: int
  ) -> Iterator[tuple[str, Instruction, int]]:
    """(computation, one of its instructions, how often it runs)."""
    for op in self.computations[name].values():
      yield name, op, count
      if op.opcode == 'while':
        body = _called(op.attributes, 'body')[0]
        turns = self.turns(name, op)
        if turns is None:
          self.unknown.append(op.name)
          turns = 1
        yield from self._walk(body, count * turns)
      elif op.opcode in _RUNS:
        for inner in _called(op.attributes, _RUNS[op.opcode]):
          if op.opcode == 'fusion':
            self.fused.add(inner)
          yield from self._walk(inner, count)

  def turns(self, where: str, loop: Instruction) -> int | None:
    """How often a loop's body runs, or None."""
    known = re.search(r'known_trip_count\D*(\d+)', loop.attributes)
    if known:
      return int(known[1])
    condition = _called(loop.attributes, 'condition')[0]
    body = _called(loop.attributes, 'body')[0]
    test = self._resolve(condition, self.roots[condition].name)
    order = re.search(r'direction=(\w+)', test.op.attributes)
    if test.op.opcode != 'compare' or not order or order[1] not in ('LT', 'LE'):
      return None
    counter, limit = (self._operand(test, i) for i in range(2))
    index, bound = _element(counter), _constant(limit)
    if index is None or bound is None:
      return None
    start = self._resolve(where, loop.operands[0])
    new = self._resolve(body, self.roots[body].name)
    if start.op.opcode != 'tuple' or new.op.opcode != 'tuple':
      return None
    start, new = (self._operand(x, index) for x in (start, new))
    if new.op.opcode != 'add':
      return None
    terms = [self._operand(new, i) for i in range(2)]
    step = next((n for x in terms if (n := _constant(x)) is not None), None)
    first = _constant(start)
    if not step or first is None or index not in map(_element, terms):
      return None
    return max(0, -(-(bound + (order[1] == 'LE') - first) // step))

  def _resolve(self, where: str, name: str, calls: tuple = ()) -> '_Value':
    """The instruction that makes a value: behind copies, inside fusions.

    Args:
      where: the computation that names it.
      name: of the value.
      calls: (computation, operands) of the fusions around it.
    """
    op = self.computations[where][name]
    if op.opcode == 'parameter' and calls:
      (outer, operands), calls = calls[-1], calls[:-1]
      return self._resolve(outer, operands[int(op.operands[0])], calls)
    if op.opcode in _COPIES:
      return self._resolve(where, op.operands[0], calls)
    if op.opcode == 'fusion':
      inner = _called(op.attributes, 'calls')[0]
      calls = (*calls, (where, op.operands))
      return self._resolve(inner, self.roots[inner].name, calls)
    if op.opcode == 'get-tuple-element':
      whole = self._resolve(where, op.operands[0], calls)
      index = int(_search(r'index=(\d+)', op.attributes)[1])
      if whole.op.opcode == 'tuple':
        return self._operand(whole, index)
      if whole.op.opcode == 'parameter':
        return _Value(whole.where, whole.op, whole.calls, index)
    return _Value(where, op, calls)

  def _operand(self, value: '_Value', index: int) -> '_Value':
    return self._resolve(value.where, value.op.operands[index], value.calls)


@dataclasses.dataclass(frozen=True)
class _Value:
  """What Program._resolve gives; `element` says which of a parameter it is."""

  where: str
  op: Instruction
  calls: tuple
  element: int | None = None


def _constant(value: _Value) -> int | None:
  text = value.op.operands[0] if value.op.operands else ''
  known = value.op.opcode == 'constant' and _INTEGER.match(text)
  return int(text) if known else None


def _element(value: _Value) -> int | None:
  return value.element


_COPIES = (
  *('copy', 'copy-start', 'copy-done', 'bitcast', 'convert', 'reshape'),
  'opt-barrier',
)
# The attributes with the computations that an instruction runs; all branches
# count.
_RUNS = {
  'fusion': 'calls',
  'async-start': 'calls',
  'call': 'to_apply',
  'conditional': 'branch_computations|true_computation|false_computation',
}
_START = re.compile(r'(?P<entry>ENTRY )?%?(?P<name>[^\s(]+) \(.*\) -> .*\{$')
# Slices' hosts exchange what their chips send them; no all-reduce is left.
_MEGASCALE = re.compile(r'_xla_megascale_transfer_type="(\w+)"')
_INTEGER = re.compile(r'-?\d+$')


def instruction(line: str) -> Instruction | None:
  """One line of a computation, or None."""
  head, equals, rest = line.strip().removeprefix('ROOT ').partition(' = ')
  if not equals or not head.startswith('%'):
    return None
  kind, rest = _balanced(rest) if rest.startswith('(') else _word(rest)
  opcode, _, rest = rest.strip().partition('(')
  operands, attributes = _balanced('(' + rest)
  names = re.sub(r'/\*.*?\*/', '', operands[1:-1]).split(',')
  if opcode != 'constant':
    # Older XLA writes an operand's type before its name.
    names = [name.split()[-1] for name in names if name.strip()]
  return Instruction(
    head.lstrip('%'),
    kind,
    opcode,
    tuple(name.strip().lstrip('%') for name in names),
    attributes,
  )


def _word(text: str) -> tuple[str, str]:
  word, _, rest = text.partition(' ')
  return word, rest


def _balanced(text: str) -> tuple[str, str]:
  """Splits behind the parenthesis that closes the first."""
  depth = 0
  for at, letter in enumerate(text):
    depth += (letter == '(') - (letter == ')')
    if not depth:
      return text[: at + 1], text[at + 1 :]
  return text, ''


def _called(attributes: str, names: str) -> list[str]:
  """Computations that an instruction runs."""
  out = []
  for match in re.finditer(
    rf'\b(?:{names})=(\{{[^}}]*\}}|%?[^\s,]+)', attributes
  ):
    out += [
      word.strip().lstrip('%') for word in match[1].strip('{}').split(',')
    ]
  return out


def _search(pattern: str, text: str) -> re.Match[str]:
  """The first match; ValueError where a compiler writes something else."""
  match = re.search(pattern, text)
  if match is None:
    raise ValueError(f'the HLO has no {pattern} in {text[:200]!r}')
  return match


def _shapes(text: str) -> list[str]:
  """'(f32[2,3]{1,0}, s32[])' → ['f32[2,3]', 's32[]']."""
  return re.findall(r'\b[a-z]\w*\[[\d,<=]*\]', text)


def shape_bytes(shape: str) -> int:
  """'f32[2,3]' → 24; without the padding of tiles."""
  kind, dims = _search(r'(\w+)\[([\d,<=]*)\]', shape).groups()
  bits = _BITS.get(kind)
  if bits is None:
    bits = int(_search(r'\d+', kind)[0])
  sizes = [int(d.lstrip('<=')) for d in dims.split(',') if d]
  return int(np.prod(sizes, dtype=np.int64)) * bits // 8


def _devices(text: str) -> int:
  """The number of devices of a program."""
  match = re.search(r'num_partitions=(\d+)', text[: text.find('\n')])
  return int(match[1]) if match else 1


def groups(attributes: str, devices: int) -> np.ndarray:
  """Devices of each group, [groups, devices of one].

  XLA writes them as lists, {{0,1},{2,3}}; as a reshaped and transposed range,
  [2,2]<=[2,2]T(1,0); or as axes of a mesh, mesh['a'=2,'b'=2] {'a'}.
  """
  if pairs := re.search(r'source_target_pairs=(\{\{.*?\}\})', attributes):
    return _lists(pairs[1])
  match = re.search(r'replica_groups=(.*)', attributes)
  text = match[1] if match else '{}'
  if text.startswith('{{'):
    return _lists(text[: text.index('}}') + 2])
  if iota := re.match(r'\[([\d,]+)\]<=\[([\d,]+)\](?:T\(([\d,]+)\))?', text):
    shape, dims, order = (_ints(part) for part in iota.groups(''))
    out = np.arange(np.prod(dims)).reshape(dims)
    return out.transpose(order or range(len(dims))).reshape(shape)
  if mesh := re.match(r'@?mesh\[(.*?)\](.*?)\{(.*?)\}', text):
    return _mesh(*mesh.groups())
  return np.arange(devices)[None]  # {}: all of them


def across(attributes: str, devices: int) -> np.ndarray:
  """Groups of the traffic between the hosts of TPU slices.

  A group is the devices in one place of each slice; devices are numbered slice
  by slice: target {1,2}x{0:7}, slices x devices of one.
  """
  target = _search(r'_megascale_target="\{([\d,:]+)\}x', attributes)[1]
  first, _, last = target.partition(':')
  count = int(last) - int(first) + 1 if last else len(_ints(target))
  return np.arange(devices).reshape(count, -1).T


def _mesh(axes: str, order: str, chosen: str) -> np.ndarray:
  sizes = {
    name: int(size) for name, size in re.findall(r"'([^']+)'=(\d+)", axes)
  }
  ids = np.arange(np.prod(list(sizes.values())))
  if given := re.search(r'device_ids=\(\[([\d,]+)\](?:T\(([\d,]+)\))?', order):
    dims, turned = (_ints(part) for part in given.groups(''))
    if np.prod(dims) == ids.size:  # a range, reshaped and transposed
      grid = ids.reshape(dims)
      ids = grid.transpose(turned or range(len(dims))).reshape(-1)
    else:
      ids = np.array(dims)
  # A part of an axis, 'a':(1)2, is an axis of its own after it is split.
  parts: list[tuple[str, int]] = []
  wanted: Sequence[str] = re.findall(r"'[^']+'(?::\(\d+\)\d+)?", chosen)
  cuts = {}
  for word in wanted:
    if piece := re.match(r"'([^']+)':\((\d+)\)(\d+)", word):
      cuts[piece[1]] = (int(piece[2]), int(piece[3]))
  keep = []
  for name, size in sizes.items():
    if name in cuts:
      before, here = cuts[name]
      parts += [
        (name, before),
        (f'{name}:', here),
        (name, size // before // here),
      ]
      keep.append(f'{name}:')
    else:
      parts.append((name, size))
      if f"'{name}'" in wanted:
        keep.append(name)
  grid = ids.reshape([size for _, size in parts])
  inner = [i for i, (name, _) in enumerate(parts) if name in keep]
  outer = [i for i in range(len(parts)) if i not in inner]
  count = int(np.prod([parts[i][1] for i in inner]))
  return grid.transpose(outer + inner).reshape(-1, count)


def _lists(text: str) -> np.ndarray:
  rows = [_ints(row) for row in re.findall(r'\{([\d,]+)\}', text)]
  return np.array(rows)


def _ints(text: str) -> list[int]:
  return [int(word) for word in text.split(',') if word]
