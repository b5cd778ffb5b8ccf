"""Training: one loop for pretraining and fine-tuning.

  python -m xlmr_jax.train --config=configs/pretrain.py:model=small \\
      --config.corpus=DIR --config.tokenizer=DIR --workdir=runs/small
  python -m xlmr_jax.train --config=configs/finetune.py:task=xnli,model=base \\
      --config.init=FacebookAI/xlm-roberta-base --config.data_dir=DIR \\
      --workdir=runs/xnli

The story, top to bottom: mesh → input → model → optimizer → update →
checkpoint → loop. What a recipe trains on and how it is judged is a Job
(jobs.py); this file does not know one task from another. A run that was
killed goes on where it stood when the same command is given again.
"""

import contextlib
import dataclasses
import json
import pathlib
import signal
import threading

from absl import app, flags
import jax
import jax.numpy as jnp
from ml_collections import config_flags
import numpy as np
import optax

from xlmr_jax import checkpoint, doors, heads, jobs, logs, optim, sharding

CONFIG = config_flags.DEFINE_config_file(
  'config',
  None,
  'Recipe, e.g. configs/finetune.py:task=xnli,model=base',
  lock_config=True,
)
WORKDIR = flags.DEFINE_string('workdir', None, 'Folder of this run.')

# Settings that say what is shown, not what is computed.
SHOWN = ('log_every', 'progress', 'peak_tflops')


def train(config, workdir) -> dict[str, float]:
  """Runs a recipe to its end; returns the last evaluation.

  Args:
    config: a ConfigDict from configs/.
    workdir: folder of the run; made, or resumed from.

  Raises:
    ValueError: a setting, a file or a checkpoint that does not fit.
    FloatingPointError: a loss that is not finite, with its step and row.
  """
  # ── Mesh ────────────────────────────────────────────────────────────────
  mesh = sharding.make_mesh(config.mesh)
  lead = jax.process_index() == 0
  workdir = pathlib.Path(workdir)
  refuse_other(workdir, config)

  # ── Input ───────────────────────────────────────────────────────────────
  job = jobs.build(config, workdir, mesh)
  loader = job.loader
  total = loader.total_steps

  # ── Model: shapes first, then shardings, then arrays ────────────────────
  dims = heads.plan(job.model, job.head)
  shapes = jax.eval_shape(job.fresh, jax.random.key(0))
  layout = sharding.shardings(shapes, dims, mesh)

  # ── Optimizer ───────────────────────────────────────────────────────────
  o = config.optim
  warmup = int(o.warmup * total) if o.warmup < 1 else int(o.warmup)
  rate = optim.schedule(o.learning_rate, warmup, total)
  layers, freeze = job.model.num_layers, tuple(o.freeze)
  optimizer = optim.adamw(
    rate,
    mask=optim.decays(shapes, dims, o.decay),
    factors=optim.scales(shapes, layers, o.layer_decay, freeze),
    b1=o.b1,
    b2=o.b2,
    eps=o.eps,
    weight_decay=o.weight_decay,
  )

  def fresh_state(params):
    return {
      'opt': optimizer.init(params),
      'step': jnp.zeros((), jnp.int32),
    }

  state_shapes = jax.eval_shape(fresh_state, shapes)
  state_layout = sharding.like(state_shapes, layout, mesh)

  # ── Update ──────────────────────────────────────────────────────────────
  objective = dataclasses.replace(
    job.objective, loss=optim.hold(job.objective.loss, freeze)
  )
  update = make_update(
    objective, optimizer, config, (layout, state_layout), mesh
  )

  # ── Start: where the parameters come from, in order of precedence ───────
  #  1. the workdir's latest step: the same run goes on, exactly;
  #  2. config.init: a checkpoint of ours or Hugging Face's, fresh optimizer;
  #  3. nothing: fresh parameters.
  manager = checkpoint.Manager(workdir)
  step = manager.latest_step() or 0
  if step:
    params, state, progress = manager.restore(
      step,
      sharding.abstract(shapes, layout),
      sharding.abstract(state_shapes, state_layout),
    )
    if progress.get('trained_on') != job.fingerprint:
      raise ValueError(
        f'{workdir} was trained on other data, or with another tokenizer, '
        'than its settings name now: bring the files back, or choose another '
        '--workdir'
      )
    job.say(f'resumed from step {step} of {total}')
  else:
    with jax.set_mesh(mesh):
      params = job.start(jax.random.key(config.seed), layout)
      state = jax.jit(fresh_state, out_shardings=state_layout)(params)
    progress = {
      'best_score': None,
      'best_step': None,
      'stale': 0,
      'evaluated': 0,
      'finished': False,
      'trained_on': job.fingerprint,
    }
    if lead:
      workdir.mkdir(parents=True, exist_ok=True)
      checkpoint.write_description(workdir, job.weights(), job.tokenizer_dir)
      write_config(workdir, config)

  # ── Loop ────────────────────────────────────────────────────────────────
  writer = logs.Writer(workdir, step, active=lead)
  bar = logs.Progress(total, step, workdir.name, show=config.progress and lead)
  per_epoch = loader.steps_per_epoch
  stop = Stop()
  last = {}

  def due(every, step):
    return step == total or step % (every or per_epoch) == 0

  def evaluate(step):
    """Runs the evaluators; keeps score, best step and patience."""
    last.clear()
    for evaluator in job.evaluators:
      with jax.set_mesh(mesh):
        last.update(evaluator(params))
    progress.update(evaluated=step, finished=step == total)
    if not last:
      return False
    writer.write(step, last)
    score = last[job.score]
    bar.say(
      f'step {step}: '
      + ', '.join(f'{k} {v:.4g}' for k, v in last.items() if '/' not in k)
    )
    best = progress['best_score']
    sign = 1 if job.higher_is_better else -1
    better = best is None or sign * score > sign * best
    if better:
      progress.update(best_score=score, best_step=step, stale=0)
    else:
      progress['stale'] += 1
      progress['finished'] |= 0 < config.patience <= progress['stale']
    return better

  def save(step):
    manager.save(step, params, state, progress)

  flops = 3 * job.flops_per_token
  peak = (
    config.peak_tflops * 1e12
    or logs.peak_flops(jax.devices()[0].device_kind)
    or 0
  )
  pending, seen = [], np.zeros(3)

  def report(step):
    """Fetches the metrics of the steps since the last report."""
    sums = {}
    for at, metrics in pending:
      values = jax.device_get(metrics)
      check_finite(at, values)
      for name, value in values.items():
        sums.setdefault(name, []).append(value)
    if not sums:
      return
    pending.clear()
    speed = bar.rate()
    real, computed, examples = seen
    record = {
      **{
        name: float(total / max(count, 1))
        for name, got in sums.items()
        if np.ndim(got[0])
        for total, count in [np.sum(got, axis=0, dtype=np.float64)]
      },
      'grad_norm': float(sums['grad_norm'][-1]),
      'learning_rate': float(rate(step - 1)),
      'epoch': step / per_epoch,
      'tokens_per_second': speed,
      'mfu': flops * speed / peak / jax.device_count() if peak else None,
      'packing_efficiency': 100 * real / max(computed, 1),
      'examples_per_step': examples / len(sums['grad_norm']),
    }
    seen[:] = 0
    writer.write(step, record)
    bar.show(
      loss=f'{record["loss"]:.3f}',
      tok_s=f'{speed:,.0f}',
      mfu=f'{100 * record["mfu"]:.1f}%' if peak else None,
      fill=f'{record["packing_efficiency"]:.1f}%',
    )

  with manager, contextlib.closing(writer), contextlib.closing(bar):
    if step and due(config.eval_every, step) and progress['evaluated'] < step:
      evaluate(step)  # it was stopped between the update and this
      save(step)
    batches = contextlib.closing(loader.iterate(step))
    with stop, batches as batches:
      for at, batch in batches:
        if progress['finished'] or stop.asked():
          break
        real = int((batch['segments'] > 0).sum())
        seen += (
          real,
          batch['segments'].size,
          int((batch['example'] >= 0).sum()),
        )
        with jax.set_mesh(mesh):
          inputs = {k: v for k, v in batch.items() if k != 'example'}
          params, state, metrics = update(
            params, state, sharding.place_batch(inputs, mesh)
          )
        pending.append((at, metrics))
        step = at + 1
        bar.step(real)
        if due(config.log_every, step) or len(pending) > 100:
          report(step)
        if stop.asked():
          continue
        better = False
        if due(config.eval_every, step):
          report(step)
          better = evaluate(step)
        if better or due(config.save_every, step) or progress['finished']:
          report(step)
          save(step)
          bar.pause()
      report(step)
      if stop.asked() and step:
        save(step)
        bar.say(
          f'stopped at step {step} of {total}: state saved; the same command '
          'goes on from here'
        )
  return last


def make_update(objective, optimizer, config, layouts, mesh):
  """The jitted step: (params, state, batch) → (params, state, metrics).

  Metrics are (sum, count) by name, grad_norm, and bad_row: the first row
  whose loss is not finite, else -1.
  """
  micro = config.accumulate

  def update(params, state, batch):
    key = jax.random.fold_in(jax.random.key(config.seed), state['step'])
    draw, noise = jax.random.split(key)
    batch = objective.prepare(batch, draw)

    def total(params, batch, key):
      sums = objective.loss(params, batch, key)
      return sums['loss'][0].sum(), sums

    grad = jax.grad(total, has_aux=True)
    if micro == 1:
      grads, sums = grad(params, batch, noise)
    else:
      # Micro-batch i takes rows i, i + A, ...: each keeps the rows' sharding.
      parts = jax.tree.map(
        lambda x: x.reshape(-1, micro, *x.shape[1:]).swapaxes(0, 1), batch
      )

      def add(grads, part):
        index, batch = part
        more, sums = grad(params, batch, jax.random.fold_in(noise, index))
        return jax.tree.map(jnp.add, grads, more), sums

      zeros = jax.tree.map(jnp.zeros_like, params)
      grads, sums = jax.lax.scan(add, zeros, (jnp.arange(micro), parts))
      sums = jax.tree.map(lambda x: x.swapaxes(0, 1).reshape(-1), sums)

    bad = ~jnp.isfinite(sums['loss'][0])
    bad_row = jnp.where(bad.any(), jnp.argmax(bad), -1)
    sums = jax.tree.map(jnp.sum, sums)
    count = jnp.maximum(sums['loss'][1], 1)
    grads, norm = optim.clip(grads, config.optim.clip, count)
    changes, opt = optimizer.update(grads, state['opt'], params)
    params = optax.apply_updates(params, changes)
    state = {'opt': opt, 'step': state['step'] + 1}
    return params, state, {**sums, 'grad_norm': norm, 'bad_row': bad_row}

  # The batch's sharding is the one it was placed in.
  return jax.jit(
    update,
    in_shardings=(*layouts, None),
    out_shardings=(*layouts, sharding.whole(mesh)),
    donate_argnums=(0, 1),
  )


def check_finite(step: int, values: dict) -> None:
  """Stops a run whose loss or gradient is not finite.

  Raises:
    FloatingPointError: with the step and the row.
  """
  row = int(values['bad_row'])
  if row >= 0:
    where = f'the loss of row {row} of the batch'
  elif not np.isfinite(values['grad_norm']):
    where = 'the gradient, though the loss of every row is finite,'
  else:
    return
  raise FloatingPointError(
    f'{where} is not finite at step {step}. Nothing after the last save was '
    'kept: lower the learning rate, or look at that row '
    f'(loader.batch({step}))'
  )


class Stop:
  """SIGTERM and Ctrl-C ask the loop to stop after the step it is in."""

  def __init__(self):
    self._asked = False
    self._before = {}

  def asked(self) -> bool:
    return self._asked

  def __enter__(self):
    if threading.current_thread() is threading.main_thread():
      for number in (signal.SIGTERM, signal.SIGINT):
        self._before[number] = signal.signal(number, self._ask)
    return self

  def __exit__(self, *_):
    for number, handler in self._before.items():
      signal.signal(number, handler)

  def _ask(self, number, frame):
    del frame
    if self._asked and number == signal.SIGINT:
      raise KeyboardInterrupt  # the second Ctrl-C means now
    self._asked = True


def plain(config) -> dict:
  """A ConfigDict as JSON has it."""
  return json.loads(config.to_json_best_effort())


def write_config(workdir: pathlib.Path, config) -> None:
  """From now on the workdir is this config's."""
  new = workdir / 'config.new'
  new.write_text(json.dumps(plain(config), indent=2) + '\n')
  new.replace(workdir / 'config.json')


def refuse_other(workdir: pathlib.Path, config) -> None:
  """Refuses a workdir in which another config was trained.

  Raises:
    ValueError: with the keys that differ.
  """
  path = workdir / 'config.json'
  if not path.exists():
    return
  theirs = json.loads(path.read_text())
  differ = []

  def compare(a, b, prefix):
    for key in sorted(a.keys() | b.keys()):
      name = prefix + key
      if name in SHOWN:
        continue
      x, y = a.get(key), b.get(key)
      if isinstance(x, dict) and isinstance(y, dict):
        compare(x, y, name + '.')
      elif x != y:
        differ.append(f'{name} (there {y!r}, now {x!r})')

  compare(plain(config), theirs, '')
  if differ:
    raise ValueError(
      f'{workdir} holds a run with another config: {", ".join(differ)}. '
      'Choose another --workdir, or give the same settings'
    )


def main(argv):
  if len(argv) > 1:
    raise app.UsageError(f'unknown argument {argv[1]!r}')
  if CONFIG.value is None or not WORKDIR.value:
    raise app.UsageError('--config and --workdir are needed')
  train(CONFIG.value, WORKDIR.value)


if __name__ == '__main__':
  doors.run(main)
