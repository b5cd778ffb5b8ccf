"""Training: one loop for pretraining and fine-tuning.

  python -m xlmr_jax.train --config=configs/pretrain.py:model=small \\
      --config.corpus=DIR --config.tokenizer=DIR --workdir=runs/small
  python -m xlmr_jax.train --config=configs/finetune.py:task=xnli,model=base \\
      --config.init=FacebookAI/xlm-roberta-base --config.data_dir=DIR \\
      --workdir=runs/xnli

The story, top to bottom: mesh → input → step → start → loop. What a recipe
trains on and how it is judged is a Job (job.py), what a step computes is a
Step (step.py); this file does not know one task from another. A run that was
killed goes on where it stood when the same command is given again, on another
mesh too. On several hosts every host gets the same command (docs/pods.md).
"""

import contextlib
import pathlib
import sys
from typing import Any

from absl import flags
import jax
import numpy as np

from xlmr_jax import heads
from xlmr_jax.checkpoints import checkpoint_steps, native
from xlmr_jax.runtime import (
  buckets,
  chips,
  commands,
  devices,
  hosts,
  logs,
  recipes,
  sharding,
)
from xlmr_jax.runtime import profiler as profiling
from xlmr_jax.training import objective_table, overview, resume
from xlmr_jax.training import step as steps
from xlmr_jax.training.finetuning import fine_tuning
from xlmr_jax.training.job import Job
from xlmr_jax.training.pretraining import pretraining


def build_job(config, workdir, mesh: jax.sharding.Mesh) -> Job:
  """What a recipe asks of the loop, by its config.objective.

  Heads that score the vocabulary are pretrained on a corpus and judged by its
  held-out loss; the others learn labelled examples, and their score counts.

  Raises:
    ValueError: a setting or a file that does not fit.
  """
  language = [
    name for name, head in heads.HEADS.items() if name and head.language
  ]
  known = (*language, *objective_table.OBJECTIVES)
  if config.objective not in known:
    raise ValueError(
      f'config.objective={config.objective!r} is not one of {", ".join(known)}'
    )
  if config.accumulate < 1:
    raise ValueError(f'config.accumulate={config.accumulate} is not positive')
  make = pretraining if config.objective in language else fine_tuning
  return make(config, pathlib.Path(workdir), mesh)


def train(
  config,
  workdir,
  *,
  accept: bool = False,
  profile: tuple[int, int] | None = None,
) -> dict[str, float]:
  """Runs a recipe to its end; returns the last evaluation.

  Args:
    config: a ConfigDict from configs/.
    workdir: folder of the run, on a disk or in a bucket (gs://…, s3://…);
      made, or resumed from.
    accept: go on with a run whose settings or data changed.
    profile: (start, stop): from when to when, in steps that are done, the run
      is traced into WORKDIR/profile.

  Raises:
    ValueError: a setting, a file or a checkpoint that does not fit.
    FloatingPointError: a loss that is not finite, with its step and row.
  """
  # ── Mesh ────────────────────────────────────────────────────────────────
  mesh = sharding.make_mesh(config.mesh, config.slices)
  lead = hosts.lead()
  mirror = buckets.Mirror(workdir, several=jax.process_count() > 1)
  workdir = mirror.folder
  accepted, changed = resume.compare_settings(workdir, config, accept=accept)

  # ── Input ───────────────────────────────────────────────────────────────
  job = build_job(config, workdir, mesh)
  loader = job.loader
  total = loader.total_steps

  # ── Step: shapes first, then shardings, then the program ────────────────
  trained = steps.build(
    job.model, job.objective, config, total, mesh, fresh=job.fresh
  )

  # ── Start: where the parameters come from, in order of precedence ───────
  #  1. the workdir's latest step: the same run goes on, exactly;
  #  2. config.init: a checkpoint of ours or Hugging Face's, fresh optimizer;
  #  3. nothing: fresh parameters.
  manager = checkpoint_steps.Manager(workdir)
  identity = {'trained_on': job.trained_on, 'rows': loader.rows}

  def first():
    """Parameters, state and progress of step 0."""
    with jax.set_mesh(mesh):
      params = job.start(jax.random.key(config.seed), trained.layout)
      state = trained.fresh_state(params)
    progress = {
      'best_score': None,
      'best_step': None,
      'stale': 0,
      'evaluated': 0,
      'finished': False,
      'shift': 0,  # batches passed over because one of them was bad
      'bad': 0,
      **identity,
    }
    return params, state, progress

  def latest():
    """The same of the latest step."""
    return manager.restore(manager.latest_step(), *trained.abstract())

  step = manager.latest_step() or 0
  if step:
    params, state, progress = latest()
    accepted += resume.check_meta(workdir, progress, identity, accept=accept)
    progress.update(identity)
    # Judged anew: the run may be longer now, or more patient.
    progress['finished'] = step >= total or resume.is_stale(progress, config)
    job.say(f'resumed from step {step} of {total}')
  else:
    params, state, progress = first()
    job.say(overview.describe_parameters(params, mesh, trained.trains))
  job.say(f'devices: {devices.describe()}')
  for change in accepted:
    job.say(f'accepted: {change}')
  for change in changed:
    job.say(f'changed: {change}')
  if lead and (accepted or changed or not step):
    workdir.mkdir(parents=True, exist_ok=True)
    native.write_description(workdir, job.weights())
    resume.remember(workdir, config)

  # ── Loop ────────────────────────────────────────────────────────────────
  writer = logs.Writer(workdir, step, lead, progress['evaluated'] == step)
  writer.begin(step, **devices.facts())
  bar = logs.Progress(total, step, workdir.name, show=config.progress and lead)
  per_epoch = loader.steps_per_epoch
  profiler = profiling.Profiler(profile, workdir / 'profile', lead)
  if profile and profile[0] < step:
    job.say(f'no profile: step {profile[0]} is done, the run is at {step}')
  stop = hosts.Stop()
  last: dict[str, Any] = dict(progress.get('last', {}))  # evaluation

  def due(every, step):
    return step == total or step % (every or per_epoch) == 0

  @jax.transfer_guard('allow')
  def save(step):
    manager.save(step, params, state, progress)
    if mirror.remote:  # a step is sent once it is whole
      manager.wait()
      mirror.sync()

  @jax.transfer_guard('allow')
  def evaluate(step):
    """Runs the evaluators; keeps score, best step and patience."""
    # Saved before and after: an evaluation may take longer than a machine
    # that is taken away waits. The second time only the progress is written.
    save(step)
    last.clear()
    with stop.droppable(), jax.set_mesh(mesh):
      for evaluator in job.evaluators:
        last.update(evaluator(params))
    progress.update(evaluated=step, finished=step == total, last=dict(last))
    if last:
      progress.update(job.decisions(last))
      writer.write(step, last)
      bar.say(
        f'step {step}: '
        + ', '.join(f'{k} {v:.4g}' for k, v in last.items() if '/' not in k)
      )
      score, best = last[job.score], progress['best_score']
      sign = 1 if job.higher_is_better else -1
      if best is None or sign * score > sign * best:
        progress.update(best_score=score, best_step=step, stale=0)
      else:
        progress['stale'] += 1
        progress['finished'] |= resume.is_stale(progress, config)
    save(step)
    bar.pause()

  peak = (
    config.peak_tflops * 1e12
    or chips.peak_flops(jax.devices()[0].device_kind)
    or 0
  )
  pending: list[tuple] = []

  def report(step):
    """Fetches the metrics of the steps since the last report.

    Returns:
      The batch to roll back from, or None.
    """
    sums, flops = {}, 0.0
    for index, metrics in pending:
      values = jax.device_get(metrics)
      length = loader.row_length_at(index)
      values['computed'] = loader.rows_at(index) * length
      flops += (
        trained.passes * float(values['real']) * job.flops_per_token(length)
      )
      if values['bad'] == steps.FINE:
        for name, value in values.items():
          sums.setdefault(name, []).append(value)
      elif answer_to(index, values) == 'roll_back':
        pending.clear()
        return index
    pending.clear()
    if not sums:
      return None
    real, computed = (float(np.sum(sums[k])) for k in ('real', 'computed'))
    seconds = bar.seconds()
    speed = real / seconds
    record = {
      **{
        name: float(total / (count or 1))
        for name, got in sums.items()
        if np.ndim(got[0])
        for total, count in [np.sum(got, axis=0, dtype=np.float64)]
      },
      'grad_norm': float(sums['grad_norm'][-1]),
      logs.RATE: float(jax.device_get(trained.rate(jax.device_put(step - 1)))),
      'epoch': step / per_epoch,
      'tokens_per_second': speed,
      'mfu': flops / seconds / peak / jax.device_count() if peak else None,
      'packing_efficiency': 100 * real / computed,
      'examples_per_step': float(np.mean(sums['examples'])),
      'programs': trained.compilations(),  # more than row lengths: recompiled
    }
    writer.write(step, record)
    bar.show(
      loss=f'{record["loss"]:.3f}',
      tok_s=f'{speed:,.0f}',
      mfu=f'{100 * record["mfu"]:.1f}%' if peak else None,
      fill=f'{record["packing_efficiency"]:.1f}%',
    )
    return None

  def answer_to(index, values):
    """A bad batch: logged with its identity, and what is done about it."""
    at = index - progress['shift']
    row = int(values['row'])
    progress['bad'] += 1
    what = steps.describe(values)
    batch = f'batch {index}, row {row}: {loader.identity(index, row)}'
    writer.event(at + 1, what=what, batch=batch, answer=config.on_bad)
    if config.on_bad == 'stop' or progress['bad'] > config.max_bad:
      raise FloatingPointError(
        f'{what} at step {at} ({batch}). Nothing after the last save was '
        'kept: lower the learning rate, look at that row '
        f'(loader.batch({index})), or set config.on_bad to skip or roll_back'
        + (
          f'; config.max_bad={config.max_bad} batches were bad already'
          if config.on_bad != 'stop'
          else ''
        )
      )
    bar.say(f'step {at}: {what} ({batch}); {config.on_bad}')
    return config.on_bad

  @jax.transfer_guard('allow')
  def roll_back(index):
    """The last save again, with all batches up to a bad one passed over."""
    nonlocal params, state, progress, step
    bad = progress['bad']
    manager.wait()
    step = manager.latest_step() or 0
    params, state, progress = latest() if step else first()
    progress.update(bad=bad, shift=index + 1 - step)
    writer.rewind(step)
    bar.rewind(step)

  def run():
    """Steps until the end, a stop (returns None) or a bad batch (its index)."""
    nonlocal params, state, step
    shift = progress['shift']
    batches = contextlib.closing(loader.iterate(step + shift, total + shift))
    with batches as batches:
      for index, batch in batches:
        if progress['finished'] or stop.asked():
          break
        with jax.set_mesh(mesh), profiler.step(step):
          inputs = {k: v for k, v in batch.items() if k != 'example'}
          params, state, metrics = trained.update(
            params,
            state,
            sharding.place_batch(inputs, mesh, loader.rows_at(index)),
          )
        pending.append((index, metrics))
        step += 1
        bar.step()
        if profiler.stop(step, metrics):
          bar.say(f'wrote the profile of steps {profile} to {workdir}/profile')
        judged = due(config.eval_every, step)
        saved = judged or due(config.save_every, step)
        if saved or due(config.log_every, step) or len(pending) > 100:
          if (bad := report(step)) is not None:
            return bad
        if judged:
          evaluate(step)
        elif saved:
          save(step)
          bar.pause()
    return report(step)

  # Inside, what goes to a device or comes from it does so explicitly
  # (jax.device_put, jax.device_get), or JAX raises: an implicit transfer makes
  # the host wait in every step. Saves and evaluations are free of that.
  with (
    mirror,
    manager,
    contextlib.closing(writer),
    contextlib.closing(bar),
    contextlib.closing(profiler),
    stop,
    jax.transfer_guard('disallow'),
  ):
    try:
      # It was stopped between the update and this.
      if step and due(config.eval_every, step) and progress['evaluated'] < step:
        evaluate(step)
      while (bad := run()) is not None:
        roll_back(bad)
    except hosts.Interrupted:
      pass  # the step was saved before it was judged
    if not progress['finished'] and step:
      save(step)
      bar.say(
        f'stopped at step {step} of {total}: state saved; the same command '
        'goes on from here'
      )
  return last


def define_flags(values: flags.FlagValues = flags.FLAGS) -> None:
  """The command's flags."""
  recipes.define_flag(values, 'Recipe, e.g. finetune:task=xnli,model=base')
  flags.DEFINE_string(
    'workdir',
    None,
    'Folder of this run, also gs://BUCKET/… or s3://BUCKET/….',
    flag_values=values,
  )
  flags.DEFINE_bool(
    'accept_changes',
    False,
    'Go on with a run though its settings, data or batches changed; what '
    'changed is printed.',
    flag_values=values,
  )
  flags.DEFINE_string(
    'profile',
    '',
    'START,STOP, e.g. 10,15: trace the run from when START steps are done '
    'until STOP are, into WORKDIR/profile.',
    flag_values=values,
  )
  hosts.define_flags(values)


def main(argv, options: flags.FlagValues = flags.FLAGS) -> None:
  """Trains by the recipe that the flags name."""
  commands.check_arguments(argv)
  commands.check_given(options, 'config', 'workdir')
  profile = profiling.parse_steps(options.profile)
  hosts.Group.of(options).start()
  train(
    options.config,
    options.workdir,
    accept=options.accept_changes,
    profile=profile,
  )


if __name__ == '__main__':
  commands.run(sys.modules[__name__])
