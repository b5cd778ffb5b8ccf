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
import json
import pathlib

import jax
import jax.numpy as jnp
import numpy as np

from xlmr_jax import checkpoint, heads, hf, hosts, objectives, sharding
from xlmr_jax.data import (
  corpus,
  inputs,
  pack,
  phases,
  sampling,
  shards,
  words,
)
from xlmr_jax.data import loader as loaders
from xlmr_jax.eval import evaluate, xtreme
from xlmr_jax.loaded import Loaded
from xlmr_jax.model import VARIANTS, Config

# An evaluator maps parameters to named values; 'name/part' is a detail.
Evaluator = Callable[[dict], Mapping[str, float]]


@dataclasses.dataclass
class Job:
  """Everything the loop needs to know.

  Attributes:
    model: the encoder's Config, with how to run it.
    head: name of the head.
    classes: C of a classify, tag or crf head.
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
  loader: loaders.Loader | phases.Phases
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
  def trained_on(self) -> dict[str, str]:
    """Digests of what a run must find unchanged when it goes on."""
    return {'the data or how it is drawn': self.fingerprint}

  def flops_per_token(self, length: int) -> float:
    """Forward FLOPs of one real token in rows of a length, head included."""
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
  if head == 'mlm' and tokenizer.mask_id is None:
    raise ValueError(f'the tokenizer in {folder} has no <mask>')
  loader, texts = _streams(config, workdir, tokenizer, model, mesh)
  longest = max(texts, key=lambda text: text.max_length)
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
      units=config.mask_units,
      words=None
      if config.mask_units == 'token'
      else words.word_table(tokenizer),
      **shared,
    )
  job = Job(
    model=model,
    head=head,
    classes=0,
    labels=None,
    loader=loader,
    objective=objective,
    evaluators=[HeldOut(longest, objective, config, mesh, loader.row_length)]
    if config.held_out
    else [],
    score='heldout_loss',
    higher_is_better=False,
    tokenizer_dir=folder,
    fingerprint=' '.join(text.fingerprint for text in texts),
    origin=origin,
  )
  if not (workdir / 'config.json').exists():  # a run that begins
    total = sum(
      one.epochs * sum(text.tokens.values())
      for one, text in zip(
        getattr(loader, 'loaders', [loader]), texts, strict=True
      )
    )
    job.say(sampling.table(longest.report(total)))
  return job


def _streams(config, workdir, tokenizer, model, mesh):
  """The loader of a pretraining run, and the text of each of its phases."""
  if not config.corpus:
    raise ValueError(
      'config.corpus is empty: set it to a folder of text, or to one that '
      'python -m xlmr_jax.data.corpus prepared'
    )
  if config.example_length > config.row_length and not config.schedule:
    raise ValueError(
      f'config.example_length={config.example_length} is above '
      f'config.row_length={config.row_length}'
    )
  if config.schedule and not config.steps:
    raise ValueError(
      'config.schedule is over a number of steps: set config.steps'
    )
  if config.schedule:
    phases.ends(config.schedule, config.steps)  # for its checks
  lengths = [length for _, length in config.schedule] or [config.row_length]
  for length in lengths:
    name = 'schedule' if config.schedule else 'row_length'
    if config.example_length and config.example_length <= length:
      name, length = 'example_length', config.example_length
    _check_length(name, length, model)
  # The first host prepares what is not there yet; the others find it.
  corpora = hosts.lead_first(
    lambda: _corpora(config, workdir, tokenizer), 'corpora'
  )
  texts = []

  def make(phase, row_length, steps):
    text = sampling.Mixture(
      corpora,
      tokenizer,
      max_length=min(config.example_length or row_length, row_length),
      rows=config.rows,
      languages=config.languages or None,
      alpha=config.alpha,
      parallel_weight=config.parallel_share,
      held_out=config.held_out,
      seed=config.seed,
      phase=phase,
    )
    texts.append(text)
    return loaders.Loader(
      text,
      row_length=row_length,
      batch_tokens=config.batch_tokens,
      seed=config.seed,
      steps=steps,
      epochs=None if steps else config.epochs,
      row_multiple=config.accumulate * sharding.row_parts(mesh),
      local=sharding.local_rows(mesh),
      cache=_cache(config, workdir),
    )

  if config.schedule:
    return phases.Phases(config.schedule, config.steps, make), texts
  return make(0, config.row_length, config.steps or None), texts


def _corpora(config, workdir, tokenizer) -> list[shards.Shards]:
  """The prepared corpora of a run; folders of text are prepared now."""
  found = []
  for folder, kind, list_of in (
    (config.corpus, 'corpus', inputs.find_text),
    (config.parallel, 'parallel', inputs.find_pairs),
  ):
    if not folder:
      continue
    if shards.is_shards(folder):
      found.append(shards.open_shards(folder, tokenizer))
      continue
    names = (config.languages or None) if kind == 'corpus' else None
    sources = list_of(folder, names)
    identities = [s.identity for some in sources.values() for s in some]
    made_of = [tokenizer.fingerprint, identities]
    key = hashlib.sha256(json.dumps(made_of).encode()).hexdigest()[:16]
    text = folder if kind == 'corpus' else None
    found.append(
      corpus.prepare(
        text,
        _cache(config, workdir) / f'{kind}-{key}',
        tokenizer,
        parallel=None if text else folder,
        languages=names,
      )
    )
  return found


def _cache(config, workdir) -> pathlib.Path:
  return pathlib.Path(config.cache_dir or workdir / 'cache')


class HeldOut:
  """Loss on text never trained on, per language.

  Masks are drawn once, from key 0, so that two evaluations differ by the
  parameters alone. `heldout_loss` is the unweighted mean over languages, in
  nats per token; `unigram/<lang>` beside it is what knowing only the
  language's token frequencies would reach.
  """

  ROWS = 16

  def __init__(self, text, objective, config, mesh, row_length):
    parts = sharding.row_parts(mesh)
    rows = -(-self.ROWS // parts) * parts
    self._mesh = mesh
    self._objective = objective
    self._unigram = text.unigram_entropy()
    view = text.held_out(config.held_out_examples)
    examples = pack.max_examples(view.lengths, row_length)
    names = np.array(view.names)
    self._batches = {}
    for language in text.languages:
      index = np.flatnonzero(names == language)
      if not index.size:
        continue
      plan = pack.plan(view.lengths[index], row_length, shuffle=False)
      self._batches[language] = [
        pack.fill(
          view,
          [index[plan.row(r)] for r in range(first, first + rows)],
          row_length=row_length,
          max_examples=examples,
        )
        for first in range(0, len(plan), rows)
      ]
    self._too_little = (
      f'config.held_out={config.held_out} of so little text is nothing: raise '
      'it, or set it to 0 to train without evaluation'
    )
    if not self._batches:
      raise ValueError(self._too_little)
    # Every host reads the sums of all rows.
    self._loss = jax.jit(self._sums, out_shardings=sharding.whole(mesh))

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
  if config.task in xtreme.TUNED:
    task = xtreme.TUNED[config.task]
    # XCOPA itself has no English, which is COPA.
    languages = tuple(dict.fromkeys((*task.languages, task.source)))
    return task, dataclasses.replace(task, languages=languages)
  for name in ('train', 'dev'):
    if not config[name]:
      raise ValueError(
        f'config.{name} is empty: task={config.task} is no benchmark '
        f'({", ".join(xtreme.TASKS)}), so name the files of your own'
      )

  def column(name):
    """A number is an index from 0: tables without a header have no names."""
    return int(name) if str(name).isdigit() else name

  metric = {
    'regression': 'mse',
    'tag': 'span_f1',
    'crf': 'span_f1',
    'answer': 'squad',
  }

  def row(path, languages):
    return evaluate.user_task(
      config.task,
      path,
      languages,
      text=tuple(map(column, config.text_columns)),
      label=column(config.label_column),
      labels=tuple(config.labels),
      metric=metric.get(config.objective, 'accuracy'),
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
  kind = config.objective
  if not train_task.heads:
    raise ValueError(
      f'config.task={train_task.name} is answered by the body alone: there is '
      'nothing to fine-tune'
    )
  fitting = ('regression',) if train_task.numbers else train_task.heads
  if kind not in fitting:
    raise ValueError(
      f'config.objective={kind} does not fit {train_task.name}: set it to '
      f'{" or ".join(fitting)}'
    )
  examples = train_task.read(config.data_dir, 'train', config.train_language)
  labels = None
  if train_task.named:
    given = [e.label for e in examples if e.label is not None]
    if train_task.tags:
      given = [name for tags in given for name in tags]
    labels = train_task.labels or tuple(sorted(set(given)))

  def encode(examples):
    return train_task.kind.encode(
      examples,
      tokenizer,
      labels=labels,
      max_length=config.max_length,
      truncate=config.truncate,
      required=True,
      **train_task.reading,
    )

  features = encode(examples)
  groups = None
  if kind == 'choose':
    groups = _questions(features, examples, config.row_length)
  loader = loaders.Loader(
    features,
    row_length=config.row_length,
    batch_size=config.batch_size,
    seed=config.seed,
    steps=config.steps or None,
    epochs=None if config.steps else config.epochs,
    row_multiple=config.accumulate * sharding.row_parts(mesh),
    local=sharding.local_rows(mesh),
    label=LABEL[kind],
    groups=groups,
  )
  head = 'classify' if kind == 'regression' else kind
  classes = len(labels or ()) or 1
  match kind:
    case 'regression':
      objective = objectives.regression(model)
    case 'classify':
      objective = objectives.classify(model, classes=classes)
    case 'tag':
      objective = objectives.tag(model, classes=classes)
    case 'crf':
      objective = objectives.crf(model, labels=labels)
    case 'answer':
      objective = objectives.answer(model)
    case 'choose':
      objective = objectives.choose(model)
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
      where = part[0].where
      raise ValueError(
        f'{where.rpartition(":")[0] or where}: {why}; training and choosing a '
        'checkpoint need labels'
      )
  judged = Loaded(model, {}, tokenizer, head, labels, mesh=mesh)
  return Job(
    model=model,
    head=head,
    classes=classes,
    labels=labels,
    loader=loader,
    objective=objective,
    evaluators=[Development(dev_task, dev, judged)],
    score=f'dev_{dev_task.metric}',
    higher_is_better=dev_task.metric != 'mse',
    tokenizer_dir=folder,
    fingerprint=digest(
      features,
      tokenizer.fingerprint,
      labels,
      *([] if groups is None else [groups.tolist()]),
    ),
    origin=origin,
  )


# Objective → the labels that it wants of a batch (data/pack.py).
LABEL = {
  'classify': 'int',
  'regression': 'float',
  'tag': 'tags',
  'crf': 'tags',
  'answer': 'spans',
  'choose': 'int',
}


def _questions(features, examples, row_length: int) -> np.ndarray:
  """The question of each choice, counted from 0.

  Raises:
    ValueError: a question whose choices do not fit into a row together.
  """
  groups = np.array([feature['example'] for feature in features])
  tokens = np.zeros(len(examples), np.int64)
  np.add.at(tokens, groups, [len(feature['tokens']) for feature in features])
  longest = int(tokens.argmax())
  if tokens[longest] > row_length:
    raise ValueError(
      f'{examples[longest].where}: the choices of this question have '
      f'{tokens[longest]} tokens and share a row, more than config.row_length='
      f'{row_length}: set it to {tokens[longest]} or more'
    )
  return groups


def digest(features, *facts) -> str:
  """Hexadecimal digest of features, in their order, and of what they mean."""
  out = hashlib.sha256(repr(facts).encode())
  for feature in features:
    out.update(feature['tokens'].tobytes())
    label = feature['label']
    whole = isinstance(label, np.ndarray)  # its repr would leave numbers out
    out.update(label.tobytes() if whole else repr(label).encode())
  return out.hexdigest()


class Development:
  """Score per development language: accuracy, mean squared error, span F1,
  the mean of an answer's exact match and F1.

  Of names also `collapsed`, 1 where the model gives all of them the same: so
  do large models that were tuned at too high a rate, for good.
  """

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
    scores[name] = result.average
    if self._task.named:
      given = [x for part in result.predictions.values() for x in part]
      if self._task.tags:
        given = [tag for tags in given for tag in tags]
      scores['collapsed'] = float(len(set(given)) == 1)
      if scores['collapsed'] and jax.process_index() == 0:
        print(
          f'every answer on the development set is {given[0]!r}: if that '
          'stays, lower the learning rate or warm up longer',
          flush=True,
        )
    return scores


BUILD = {
  'mlm': pretraining,
  'causal': pretraining,
  'classify': fine_tuning,
  'regression': fine_tuning,
  'tag': fine_tuning,
  'crf': fine_tuning,
  'answer': fine_tuning,
  'choose': fine_tuning,
}
