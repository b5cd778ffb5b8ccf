"""Pretraining: a corpus, MLM or causal LM, judged by held-out loss."""

import dataclasses
import hashlib
import json
import pathlib

import jax
import numpy as np

from xlmr_jax import heads
from xlmr_jax.data.batches import convention, mixture, pack, schedule
from xlmr_jax.data.batches.loader import Loader
from xlmr_jax.data.corpus import prepare, shards, sources
from xlmr_jax.data.tokenizers import words
from xlmr_jax.runtime import buckets, hosts, sharding
from xlmr_jax.training import initial_model, objectives
from xlmr_jax.training.job import Job, check_length


def pretraining(config, workdir: pathlib.Path, mesh) -> Job:
  origin, model, tokenizer, folder = initial_model.choose(config)
  head = config.objective
  causal = heads.HEADS[head].causal
  model = dataclasses.replace(model, causal=causal)
  mask_id = tokenizer.mask_id
  if not causal and mask_id is None:
    raise ValueError(f'the tokenizer in {folder} has no <mask>')
  loader, texts = _streams(config, workdir, tokenizer, model, mesh)
  longest = max(texts, key=lambda text: text.max_length)
  if origin is not None and not heads.HEADS[origin.head].language:
    origin = dataclasses.replace(origin, tied=True)
  shared = dict(chunk=config.loss_chunk, tied=origin is None or origin.tied)
  if causal or mask_id is None:
    objective = objectives.causal(model, **shared)
  else:
    objective = objectives.mlm(
      model,
      mask_id=mask_id,
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
    evaluators=[
      HeldOut(
        longest,
        objective,
        config,
        mesh,
        loader.row_length,
        convention.of(model, tokenizer),
      )
    ]
    if config.held_out
    else [],
    score='heldout_loss',
    higher_is_better=False,
    tokenizer_dir=folder,
    fingerprint=' '.join(text.fingerprint for text in texts),
    origin=origin,
    init=config.init,
  )
  if not (workdir / 'config.json').exists():  # a run that begins
    total = sum(
      phase.epochs * sum(text.tokens.values())
      for phase, text in zip(
        getattr(loader, 'loaders', [loader]), texts, strict=True
      )
    )
    job.say(mixture.table(longest.report(total)))
  return job


def _streams(config, workdir, tokenizer, model, mesh):
  """The loader of a pretraining run, and the text of each of its phases."""
  if not config.corpus:
    raise ValueError(
      'config.corpus is empty: set it to a folder of text, or to one that '
      'xlmr corpus prepared'
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
    schedule.ends(config.schedule, config.steps)  # for its checks
  lengths = [length for _, length in config.schedule] or [config.row_length]
  for length in lengths:
    name = 'schedule' if config.schedule else 'row_length'
    if config.example_length and config.example_length <= length:
      name, length = 'example_length', config.example_length
    check_length(name, length, model)
  # The first host prepares missing corpora; the others open them.
  corpora = hosts.lead_first(
    lambda: _corpora(config, workdir, tokenizer), 'corpora'
  )
  texts = []

  def make(phase, row_length, steps):
    text = mixture.Mixture(
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
    return Loader(
      text,
      row_length=row_length,
      batch_tokens=config.batch_tokens,
      seed=config.seed,
      steps=steps,
      epochs=None if steps else config.epochs,
      row_multiple=config.accumulate * sharding.row_parts(mesh),
      local=sharding.local_rows(mesh),
      convention=convention.of(model, tokenizer),
      cache=_cache(config, workdir),
    )

  if config.schedule:
    return schedule.Phases(config.schedule, config.steps, make), texts
  return make(0, config.row_length, config.steps or None), texts


def _corpora(config, workdir, tokenizer) -> list[shards.Shards]:
  """The prepared corpora of a run; folders of text are prepared now."""
  corpora = []
  for folder, kind, list_of in (
    (config.corpus, 'corpus', sources.find_text),
    (config.parallel, 'parallel', sources.find_pairs),
  ):
    if not folder:
      continue
    folder = str(buckets.fetch(folder))
    if shards.is_shards(folder):
      corpora.append(shards.open_shards(folder, tokenizer))
      continue
    names = (config.languages or None) if kind == 'corpus' else None
    text_files = list_of(folder, names)
    identities = [s.identity for some in text_files.values() for s in some]
    made_of = [tokenizer.fingerprint, identities]
    key = hashlib.sha256(json.dumps(made_of).encode()).hexdigest()[:16]
    text = folder if kind == 'corpus' else None
    corpora.append(
      prepare.prepare(
        text,
        _cache(config, workdir) / f'{kind}-{key}',
        tokenizer,
        parallel=None if text else folder,
        languages=names,
      )
    )
  return corpora


def _cache(config, workdir) -> pathlib.Path:
  return pathlib.Path(config.cache_dir or workdir / 'cache')


class HeldOut:
  """Loss on text never trained on, per language.

  Masks are drawn once, from key 0, so that two evaluations differ by the
  parameters alone. `heldout_loss` is the unweighted mean over languages, in
  nats per token; `unigram/<lang>` beside it is the loss of the language's
  token frequencies alone.
  """

  ROWS = 16

  def __init__(self, text, objective, config, mesh, row_length, convention):
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
          convention=convention,
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
        inputs = {
          k: x for k, x in batch.items() if k not in ('starts', 'example')
        }
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
