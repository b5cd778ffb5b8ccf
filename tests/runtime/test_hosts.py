"""Several processes train as one does; killed, resumed, moved elsewhere."""

import json
import signal
import time

import jax
import numpy as np
import pytest
from suite_runs import data as data
from tagging_runs import words_tokenizer as words_tokenizer
from tiny_runs import (
  ARGUMENT,
  SIZES,
  Together,
  assert_same_run,
  records,
  settings,
  steps,
  write_data,
)

from configs import pretrain
from xlmr_jax.runtime import hosts, sharding

STEPS, SAVES = 20, 5
MESH = '(2, 2, 2)'


@pytest.fixture(scope='module')
def given(tmp_path_factory, tiny_tokenizer):
  folder = tmp_path_factory.mktemp('data')
  write_data(folder)
  return {
    **settings(folder, tiny_tokenizer)[pretrain],
    'steps': STEPS,
    'save_every': SAVES,
    'eval_every': 10,
    'batch_tokens': 512,  # 16 rows
    'parallel': '',  # rows of one length: fewer programs to compile
  }


class Run(Together):
  """`python -m xlmr_jax.train` in processes of some fake devices each."""

  def __init__(self, given, workdir, processes=1, devices=8, mesh=MESH, **more):
    self.workdir = workdir
    settings = {**given, 'mesh': mesh, **more}
    super().__init__(
      [
        *('xlmr_jax.train', f'--workdir={workdir}'),
        f'--config=configs/pretrain.py:{ARGUMENT[pretrain]}',
        *(f'--config.{key}={value}' for key, value in settings.items()),
      ],
      processes,
      devices,
    )

  def at(self, step):
    """Waits until metrics.jsonl has a step."""
    path = self.workdir / 'metrics.jsonl'
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline:
      if path.exists() and f'"step": {step},' in path.read_text():
        return
      if any(p.poll() is not None for p in self.processes):
        output = self.wait(300)[1]
        if not self.again(output):
          raise AssertionError(output)
      time.sleep(0.01)
    raise AssertionError(f'no step {step}')


@pytest.fixture(scope='module')
def one(given, tmp_path_factory):
  """One process with eight devices, undisturbed."""
  workdir = tmp_path_factory.mktemp('one') / 'run'
  codes, output = Run(given, workdir).end()
  assert codes == [0], output
  return workdir


def assert_close(one, two, most=1e-5):
  """The parameters and the loss of the last step."""
  a, b = (steps(w)[STEPS]['params'] for w in (one, two))
  assert a.keys() == b.keys()
  for name, value in a.items():
    np.testing.assert_allclose(b[name], value, atol=most, rtol=0, err_msg=name)
  for x, y in zip(records(one), records(two), strict=True):
    assert x['step'] == y['step']
    for name in ('examples_per_step', 'packing_efficiency', 'epoch'):
      assert x.get(name) == y.get(name)  # the same examples were seen


def test_two_processes_are_one_and_survive_the_loss_of_either(
  given, one, tmp_path
):
  workdir = tmp_path / 'two'
  for lost in (1, 0):
    run = Run(given, workdir, processes=2, devices=4)
    run.at(7 if lost else 12)
    run.kill(lost, signal.SIGKILL)
    # The other one waits for it no longer than the coordinator does.
    codes, output = run.end()
    assert codes[lost] == -signal.SIGKILL and codes[1 - lost] != 0, output
    assert max(steps(workdir)) == (5 if lost else 10)
  codes, output = Run(given, workdir, processes=2, devices=4).end()
  assert codes == [0, 0], output
  assert output.count('resumed from step 10') == 1  # the lead speaks
  assert_close(one, workdir)
  # Undisturbed, the two end in the same bits.
  codes, output = Run(given, tmp_path / 'same', processes=2, devices=4).end()
  assert codes == [0, 0], output
  assert_same_run(tmp_path / 'same', workdir)


def test_sigterm_to_one_stops_both_at_one_step_and_fewer_devices_go_on(
  given, one, tmp_path
):
  workdir = tmp_path / 'run'
  run = Run(given, workdir, processes=2, devices=4)
  run.at(6)
  run.kill(1, signal.SIGTERM)
  codes, output = run.end()
  assert codes == [0, 0], output
  stopped = max(steps(workdir))
  assert 6 <= stopped < STEPS
  assert f'stopped at step {stopped} of {STEPS}' in output
  codes, output = Run(given, workdir, devices=4, mesh='(1, 2, 2)').end()
  assert codes == [0], output
  assert f'resumed from step {stopped}' in output
  assert_close(one, workdir)


def test_killed_on_eight_devices_goes_on_bit_for_bit(given, one, tmp_path):
  workdir = tmp_path / 'run'
  run = Run(given, workdir)
  run.at(12)
  run.kill(0, signal.SIGKILL)
  run.end()
  codes, output = Run(given, workdir).end()
  assert codes == [0], output
  assert_same_run(one, workdir)


# ── Joining ───────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
  'given, message',
  [
    (('auto', 'localhost:1', 2, -1), 'give all three, or none'),
    (('auto', '', 2, 1), 'give all three, or none'),
    (('auto', 'localhost:1', 2, 2), '--process_id=2 of --num_processes=2'),
  ],
)
def test_flags_that_do_not_fit(given, message):
  with pytest.raises(ValueError, match=message):
    hosts.start(*given)


def test_who_has_others():
  assert not hosts.several({})
  assert not hosts.several({'SLURM_STEP_NUM_TASKS': '1', 'PATH': '/bin'})
  assert hosts.several({'SLURM_STEP_NUM_TASKS': '2'})
  assert hosts.several({'OMPI_COMM_WORLD_SIZE': '8'})
  assert not hosts.several({'TPU_WORKER_HOSTNAMES': 'localhost'})
  assert hosts.several({'TPU_WORKER_HOSTNAMES': 'a,b'})
  assert hosts.several({'MEGASCALE_COORDINATOR_ADDRESS': 'a:1'})


def test_every_host_makes_the_rows_of_its_devices():
  """Hosts by hand: which devices are whose is all that local_rows asks."""
  mesh = sharding.make_mesh()
  np.testing.assert_array_equal(sharding.local_rows(mesh)(6), np.arange(6))
  with pytest.raises(ValueError, match='give all three'):
    hosts.start('auto', 'x', 0, 0)


def test_alone_nothing_is_joined():
  hosts.start('off', 'localhost:1', 2, 0)
  hosts.start()
  assert hosts.lead() and jax.process_count() == 1
  assert hosts.lead_first(lambda: 7, 'x') == 7


def test_several_hosts_answer_as_one_device(
  make_model, tiny_tokenizer, tmp_path
):
  """Rows are cut over two processes' devices, and the first one writes."""
  labels = ('no', 'yes')
  model = make_model(tiny_tokenizer, labels=labels)
  model.save(tmp_path / 'model')
  words = 'man house cat red sees asleep Mann Haus Katze rote'.split()
  rng = np.random.default_rng(0)
  texts = [' '.join(rng.choice(words, n)) for n in rng.integers(1, 12, 300)]
  lines = [f'{text}\t{labels[i % 2]}\n' for i, text in enumerate(texts)]
  (tmp_path / 'test.tsv').write_text('text\tlabel\n' + ''.join(lines))
  words = [
    'xlmr_jax.eval',
    *('--benchmark=cats', f'--checkpoint={tmp_path / "model"}'),
    *(f'--test={tmp_path / "test.tsv"}', '--languages=en'),
  ]

  def answers(name, processes, devices, *more):
    out = f'--output_dir={tmp_path / name}'
    codes, output = Together([*words, *more, out], processes, devices).end()
    assert codes == [0] * processes, output
    assert output.count('wrote ') == 1
    path = tmp_path / name / 'predictions/cats/test-en.tsv'
    facts = json.loads((tmp_path / name / 'results.json').read_text())
    return path.read_text().splitlines(), facts['tasks']

  alone, scores = answers('alone', 1, 1)
  assert alone == [labels[int(x.argmax())] for x in model.logits(texts)]
  assert set(alone) == set(labels)
  assert answers('together', 2, 2, '--mesh=2,1,2') == (alone, scores)


def test_several_hosts_run_a_benchmark_as_one(data, words_tokenizer, tmp_path):
  """A fine-tuning, in processes of its own that join too; then the rest."""
  sizes = (f"'sizes.{name}={size}'" for name, size in SIZES.items())
  settings = (
    f"'tokenizer={words_tokenizer}'",
    *sizes,
    "'max_length=30','row_length=32','progress=False','udpos:steps=6'",
  )
  words = [
    'xlmr_jax.eval',
    '--config=configs/xtreme.py:model=tiny,tasks=udpos+tatoeba',
    *(f'--config.data_dir={data}', '--config.retrieve_with=udpos'),
    *(
      "--config.languages=('en','de')",
      f'--config.settings=({",".join(settings)})',
    ),
  ]

  def made(name, processes, devices):
    workdir = tmp_path / name
    command = [*words, f'--workdir={workdir}']
    for _ in range(3):
      codes, output = Together(command, processes, devices).end()
      # Where a training was too late the rest went on; now it is given again.
      if Together.LATE not in output:
        break
    assert codes == [0] * processes, output
    # The lead speaks, of the training (unless that was done) and of the rest.
    assert output.count('fresh parameters') <= 1
    assert output.count('# xtreme, fresh: zero-shot') == 1
    results = json.loads((workdir / 'results.json').read_text())
    assert results['problems'] == [], output
    folder = workdir / 'submission-0'
    files = {
      str(path.relative_to(folder)): path.read_text()
      for path in folder.rglob('*.*')
    }
    return results, files, records(workdir / 'runs' / 'udpos-0')

  alone, files, log = made('alone', 1, 4)
  assert 0 < alone['tasks']['udpos']['languages']['en'] < 100
  assert alone['tasks']['tatoeba']['languages'] == {'de': 100.0}
  assert sorted(files) == [
    'tatoeba/test-de.tsv',
    'udpos/test-de.tsv',
    'udpos/test-en.tsv',
  ]
  results, others, other = made('together', 2, 2)
  assert results == alone and others == files
  assert [x['step'] for x in other] == [x['step'] for x in log]
