"""What a recipe asks of the train loop: rows, objective, start, evaluators.

`build` turns a config into a Job; train.py runs any Job and knows none. The
two kinds of job differ in where their rows come from and how they are judged:

  pretraining   a corpus folder, MLM or causal LM; judged by held-out loss per
                language
  fine-tuning   labelled examples; judged by score on development languages
"""

from collections.abc import Callable, Mapping
import dataclasses
import hashlib
import pathlib

import jax
import jax.numpy as jnp
import numpy as np

from xlmr_jax import checkpoint, heads, hf, objectives, sharding
from xlmr_jax.data import corpus as corpora
from xlmr_jax.data import loader as loaders
from xlmr_jax.data import pack
from xlmr_jax.eval import evaluate, xtreme
from xlmr_jax.loaded import Loaded
from xlmr_jax.model import VARIANTS, Config
from xlmr_jax.tasks import classify

# An evaluator maps parameters to named values; 'name/part' is a detail.
Evaluator = Callable[[dict], Mapping[str, float]]


@dataclasses.dataclass
class Job:
  """Everything the loop needs to know.

  Attributes:
    model: the encoder's Config, with how to run it.
    head: name of the head.
    classes: C of a classify head.
    labels: names of the classes by id.
    loader: step → batch.
    objective: the loss.
    evaluators: run at every evaluation.
    score: name of the value that chooses the best checkpoint.
    higher_is_better: its direction.
    tokenizer_dir: folder of the tokenizer's files.
    fingerprint: digest of the training data as the model sees it.
    origin: the checkpoint to start from, or None.
  """

  model: Config
  head: str
  classes: int
  labels: tuple[str, ...] | None
  loader: loaders.Loader
  objective: objectives.Objective
  evaluators: list[Evaluator]
  score: str
  higher_is_better: bool
  tokenizer_dir: pathlib.Path
  fingerprint: str
  origin: hf.Weights | None = None

  def say(self, text: str) -> None:
    if jax.process_index() == 0:
      print(text, flush=True)

  @property
  def flops_per_token(self) -> float:
    """Forward FLOPs of one real token, the head's share included."""
    length = self.loader.row_length
    body = self.model.flops(length)
    if self.head not in heads.LANGUAGE:
      return body
    d = self.model.model_dim
    rate = self.objective.rate
    return body + rate * 2 * (d * d + d * self.model.rows)

  def fresh(self, key) -> dict:
    """Fresh parameters; jit it or take its shapes."""
    return heads.init(self.model, key, self.head, self.classes, tied=self._tied)

  def start(self, key, layout) -> dict:
    """The parameters of step 0, each made or placed in its sharding."""
    if self.origin is None:
      self.say('fresh parameters')
      return jax.jit(self.fresh, out_shardings=layout)(key)
    given = heads.with_rows(
      self.origin.params, self.origin.head, self.model.rows
    )
    dtype = jnp.dtype(self.model.param_dtype)
    params, new = {}, []
    for part, where in layout.items():
      if part in given and (part != 'head' or self._same_head()):
        params[part] = sharding.place(given[part], where, dtype)
      else:
        new.append(part)
        make = lambda key, part=part: self.fresh(key)[part]
        params[part] = jax.jit(make, out_shardings=where)(key)
    unused = [part for part in given if part not in params]
    self.say(
      'loaded '
      + ', '.join(part for part in layout if part not in new)
      + (f'; new: {", ".join(new)}' if new else '')
      + (f'; left out: {", ".join(unused)}' if unused else '')
    )
    return params

  def _same_head(self) -> bool:
    origin = self.origin
    if self.head in heads.LANGUAGE:  # they share their parameters
      return origin.head in heads.LANGUAGE
    return origin.head == self.head and origin.labels == self.labels

  @property
  def _tied(self) -> bool:
    origin = self.origin
    return origin is None or not self._same_head() or origin.tied

  def weights(self) -> hf.Weights:
    """What model.json says of this run; no arrays."""
    origin = self.origin
    return hf.Weights(
      config=self.model,
      params={},
      head=self.head,
      labels=self.labels,
      tied=self._tied,
      source=None if origin is None else origin.source,
    )


def build(config, workdir, mesh) -> Job:
  """Config → Job.

  Raises:
    ValueError: a setting or a file that does not fit.
  """
  if config.objective not in BUILD:
    raise ValueError(
      f'config.objective={config.objective!r} is not one of {", ".join(BUILD)}'
    )
  if config.accumulate < 1:
    raise ValueError(f'config.accumulate={config.accumulate} is not positive')
  return BUILD[config.objective](config, pathlib.Path(workdir), mesh)


def _begin(config):
  """(origin, model config, tokenizer, its folder) of any job."""
  run = dict(
    dropout=config.dropout,
    attention_dropout=config.attention_dropout,
    vocab_multiple=1024,
    dtype=config.dtype,
    param_dtype=config.param_dtype,
    attention=config.attention,
    remat=config.remat,
    scan=config.scan,
  )
  if config.init:
    origin, folder = checkpoint.read(config.init)
    tokenizer = checkpoint.load_tokenizer(folder, origin.config.vocab_size)
    if tokenizer is None:
      raise ValueError(f'{config.init} has no tokenizer that can be read')
    if config.tokenizer:
      other = _tokenizer(config.tokenizer)
      if other.fingerprint != tokenizer.fingerprint:
        raise ValueError(
          f'config.tokenizer={config.tokenizer} is not the tokenizer of '
          f'config.init={config.init}: leave config.tokenizer empty'
        )
    changed = {k: v for k, v in config.sizes.items() if v is not None}
    for name, value in changed.items():
      if getattr(origin.config, name) != value:
        raise ValueError(
          f'config.sizes.{name}={value}, but config.init has '
          f'{getattr(origin.config, name)}: sizes are for fresh parameters'
        )
    return origin, dataclasses.replace(origin.config, **run), tokenizer, folder
  if not config.tokenizer:
    raise ValueError(
      'nothing to start from: set config.init to a checkpoint, or '
      'config.tokenizer to a folder made by python -m xlmr_jax.data.tokenizer'
    )
  if config.variant not in VARIANTS:
    raise ValueError(
      f'config.variant={config.variant!r} is not one of {", ".join(VARIANTS)}'
    )
  folder = pathlib.Path(config.tokenizer)
  tokenizer = _tokenizer(folder)
  sizes = {k: v for k, v in config.sizes.items() if v is not None}
  model = dataclasses.replace(
    VARIANTS[config.variant], vocab_size=tokenizer.vocab_size, **sizes, **run
  )
  return None, model, tokenizer, folder


def _tokenizer(folder):
  found = checkpoint.load_tokenizer(folder)
  if found is None:
    raise ValueError(
      f'config.tokenizer={folder} holds no tokenizer: make one with python -m '
      'xlmr_jax.data.tokenizer'
    )
  return found


def _check_length(name: str, length: int, model: Config) -> None:
  if length > model.max_length:
    raise ValueError(
      f'config.{name}={length}, but the model holds {model.max_length} '
      'positions for an example'
    )


# ── Pretraining ───────────────────────────────────────────────────────────


def pretraining(config, workdir: pathlib.Path, mesh) -> Job:
  origin, model, tokenizer, folder = _begin(config)
  head = config.objective
  model = dataclasses.replace(model, causal=head == 'causal')
  length = config.example_length or config.row_length
  if length > config.row_length:
    raise ValueError(
      f'config.example_length={length} is above config.row_length='
      f'{config.row_length}'
    )
  name = 'example_length' if config.example_length else 'row_length'
  _check_length(name, length, model)
  if head == 'mlm' and tokenizer.mask_id is None:
    raise ValueError(f'the tokenizer in {folder} has no <mask>')
  if not config.corpus:
    raise ValueError('config.corpus is empty: set it to a folder of text')
  text = corpora.Corpus(
    config.corpus,
    tokenizer,
    cache_dir=config.cache_dir or workdir / 'cache',
    max_length=length,
    alpha=config.alpha,
    parallel_dir=config.parallel or None,
    parallel_weight=config.parallel_share,
    held_out=config.held_out,
    seed=config.seed,
  )
  loader = loaders.Loader(
    text,
    row_length=config.row_length,
    batch_tokens=config.batch_tokens,
    seed=config.seed,
    steps=config.steps or None,
    epochs=None if config.steps else config.epochs,
    row_multiple=config.accumulate * sharding.row_parts(mesh),
    hosts=(jax.process_index(), jax.process_count()),
  )
  if origin is not None and origin.head not in heads.LANGUAGE:
    origin = dataclasses.replace(origin, tied=True)
  shared = dict(chunk=config.loss_chunk, tied=origin is None or origin.tied)
  if head == 'causal':
    objective = objectives.causal(model, **shared)
  else:
    objective = objectives.mlm(
      model,
      mask_id=tokenizer.mask_id,
      special_ids=tokenizer.special_ids,
      pieces=tokenizer.pieces,
      rate=config.mask_rate,
      **shared,
    )
  return Job(
    model=model,
    head=head,
    classes=0,
    labels=None,
    loader=loader,
    objective=objective,
    evaluators=[HeldOut(text, objective, config, mesh)]
    if config.held_out
    else [],
    score='heldout_loss',
    higher_is_better=False,
    tokenizer_dir=folder,
    fingerprint=text.fingerprint,
    origin=origin,
  )


class HeldOut:
  """Loss on text never trained on, per language.

  Masks are drawn once, from key 0, so that two evaluations differ by the
  parameters alone. `heldout_loss` is the unweighted mean over languages, in
  nats per token; `unigram/<lang>` beside it is what knowing only the
  language's token frequencies would reach.
  """

  ROWS = 16

  def __init__(self, text, objective, config, mesh):
    parts = sharding.row_parts(mesh)
    rows = -(-self.ROWS // parts) * parts
    self._mesh = mesh
    self._objective = objective
    self._unigram = text.unigram_entropy()
    view = text.held_out(config.held_out_examples)
    names = np.array(view.names)
    self._batches = {}
    for language in text.languages:
      index = np.flatnonzero(names == language)
      if not index.size:
        continue
      plan = pack.plan(view.lengths[index], config.row_length, shuffle=False)
      self._batches[language] = [
        pack.fill(
          view,
          [index[plan.row(r)] for r in range(first, first + rows)],
          row_length=config.row_length,
          max_examples=text.max_examples(config.row_length),
        )
        for first in range(0, len(plan), rows)
      ]
    self._too_little = (
      f'config.held_out={config.held_out} of so little text is nothing: raise '
      'it, or set it to 0 to train without evaluation'
    )
    if not self._batches:
      raise ValueError(self._too_little)
    self._loss = jax.jit(self._sums)

  def _sums(self, params, batch, index):
    key = jax.random.fold_in(jax.random.key(0), index)
    return self._objective.loss(
      params, self._objective.prepare(batch, key), None
    )

  def __call__(self, params) -> dict[str, float]:
    values = {}
    for language, batches in self._batches.items():
      total = np.zeros(2)
      for index, batch in enumerate(batches):
        inputs = {k: batch[k] for k in ('tokens', 'segments', 'positions')}
        inputs = sharding.place_all(inputs, self._mesh)
        sums = jax.device_get(self._loss(params, inputs, index))
        total += [np.sum(x, dtype=np.float64) for x in sums['loss']]
      if not total[1]:  # a few words: nothing was masked
        continue
      values[f'heldout_loss/{language}'] = total[0] / total[1]
      values[f'unigram/{language}'] = self._unigram[language]
    if not values:
      raise ValueError(self._too_little)
    means = {
      name: [v for k, v in values.items() if k.startswith(f'{name}/')]
      for name in ('heldout_loss', 'unigram')
    }
    return {**values, **{name: float(np.mean(v)) for name, v in means.items()}}


# ── Fine-tuning ───────────────────────────────────────────────────────────


def tasks_of(config) -> tuple[evaluate.Task, evaluate.Task]:
  """The rows that a config trains and develops on."""
  if config.task in xtreme.TASKS:
    task = xtreme.TASKS[config.task]
    return task, task
  for name in ('train', 'dev'):
    if not config[name]:
      raise ValueError(
        f'config.{name} is empty: task={config.task} is no benchmark '
        f'({", ".join(xtreme.TASKS)}), so name the files of your own'
      )

  def column(name):
    """A number is an index from 0: tables without a header have no names."""
    return int(name) if str(name).isdigit() else name

  def row(path, languages):
    return evaluate.user_task(
      config.task,
      path,
      languages,
      text=tuple(map(column, config.text_columns)),
      label=column(config.label_column),
      labels=tuple(config.labels),
      metric='mse' if config.objective == 'regression' else 'accuracy',
      max_length=config.max_length,
    )

  return (
    row({'train': config.train}, (config.train_language,)),
    row({'dev': config.dev}, tuple(config.dev_languages)),
  )


def fine_tuning(config, workdir: pathlib.Path, mesh) -> Job:
  del workdir
  origin, model, tokenizer, folder = _begin(config)
  _check_length('max_length', config.max_length, model)
  if config.row_length < config.max_length:
    raise ValueError(
      f'config.row_length={config.row_length} is below config.max_length='
      f'{config.max_length}'
    )
  train_task, dev_task = tasks_of(config)
  regression = config.objective == 'regression'
  if train_task.numbers != regression:
    raise ValueError(
      f'config.objective={config.objective} does not fit {train_task.name}'
    )
  examples = train_task.read(config.data_dir, 'train', config.train_language)
  labels = None
  if not regression:
    labels = train_task.labels or tuple(
      sorted({e.label for e in examples if e.label is not None})
    )

  def encode(examples):
    return classify.encode(
      examples,
      tokenizer,
      labels=labels,
      max_length=config.max_length,
      truncate=config.truncate,
      required=True,
    )

  features = encode(examples)
  loader = loaders.Loader(
    features,
    row_length=config.row_length,
    batch_size=config.batch_size,
    seed=config.seed,
    steps=config.steps or None,
    epochs=None if config.steps else config.epochs,
    row_multiple=config.accumulate * sharding.row_parts(mesh),
    hosts=(jax.process_index(), jax.process_count()),
    label='float' if regression else 'int',
  )
  classes = 1 if regression else len(labels)
  objective = (
    objectives.regression(model)
    if regression
    else objectives.classify(model, classes=classes)
  )
  dev_task = dataclasses.replace(
    dev_task, labels=labels, max_length=config.max_length
  )
  dev = evaluate.read(
    dev_task, config.data_dir, 'dev', tuple(config.dev_languages)
  )
  for part in dev.values():
    encode(part)  # for its checks
  for part in (examples, *dev.values()):
    if why := evaluate.unscored(train_task, part):
      raise ValueError(
        f'{part[0].where.rpartition(":")[0]}: {why}; training and choosing a '
        'checkpoint need labels'
      )
  judged = Loaded(model, {}, tokenizer, 'classify', labels, mesh=mesh)
  return Job(
    model=model,
    head='classify',
    classes=classes,
    labels=labels,
    loader=loader,
    objective=objective,
    evaluators=[Development(dev_task, dev, judged)],
    score='dev_accuracy' if labels else 'dev_mse',
    higher_is_better=labels is not None,
    tokenizer_dir=folder,
    fingerprint=digest(features, tokenizer.fingerprint, labels),
    origin=origin,
  )


def digest(features, *facts) -> str:
  """Hexadecimal digest of features, in their order, and of what they mean."""
  out = hashlib.sha256(repr(facts).encode())
  for feature in features:
    out.update(feature['tokens'].tobytes())
    out.update(repr(feature['label']).encode())
  return out.hexdigest()


class Development:
  """Accuracy (per cent), or mean squared error, per development language."""

  def __init__(self, task, examples, model: Loaded):
    self._task, self._examples, self._model = task, examples, model

  def __call__(self, params) -> dict[str, float]:
    name = f'dev_{self._task.metric}'
    result = evaluate.evaluate(
      dataclasses.replace(self._model, params=params),
      self._task,
      self._examples,
      show=False,
    )
    scores = {f'{name}/{k}': v for k, v in result.scores.items()}
    return {**scores, name: result.average}


BUILD = {
  'mlm': pretraining,
  'causal': pretraining,
  'classify': fine_tuning,
  'regression': fine_tuning,
}
