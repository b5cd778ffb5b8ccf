"""launch/ and docs/pods.md: what they name exists, the scripts decide right.

gcloud, systemd and Slurm are stand-ins of a few lines; what they are asked for
and what the scripts make of their answers is what is tested.
"""

import importlib
import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import textwrap

from absl import flags
import jax
import numpy as np
import pytest
import yaml

from configs import finetune, pretrain
from xlmr_jax.__main__ import COMMANDS
from xlmr_jax.checkpoints import checkpoint_steps
from xlmr_jax.training import resume

ROOT = pathlib.Path(__file__).resolve().parents[2]
LAUNCH = ROOT / 'launch'
SHELL = ('tpu_vm.sh', 'slurm.sbatch')
PAGE = (ROOT / 'docs' / 'pods.md').read_text('utf-8')
TEXTS = {
  'docs/pods.md': PAGE,
  **{path.name: path.read_text('utf-8') for path in LAUNCH.iterdir()},
}
# Flags of other people's programs that the page names.
THEIRS = {
  '--gpus-per-task': 'srun',
  '--nodes': 'sbatch',
  '--recursive': 'aws s3 cp',
  '--signal': 'sbatch',
  '--logdir': 'tensorboard',
  '--metadata-cache-ttl-secs': 'gcsfuse',
  '--no-cache-dir': 'pip',
  '--finished': 'run.py',
  '--tpu': 'benchmarks.collectives',
  '--help': 'absl and tpu_vm.sh',
}


def flags_of(name):
  """Names of the flags of a command, or of a module that is one."""
  module = importlib.import_module(COMMANDS.get(name, (name,))[0])
  if hasattr(module, '__path__'):
    module = importlib.import_module(f'{module.__name__}.__main__')
  values = flags.FlagValues()
  module.define_flags(values)
  return set(values)


def commands(text):
  """(command, words of its command line) for each call of one of ours.

  It is called by `xlmr COMMAND`, `python -m xlmr_jax COMMAND` or
  `python -m xlmr_jax.command`.
  """
  # Continuation lines, also of comments; a fence or an empty line ends one.
  joined = re.sub(r'\\\n#?\s*', ' ', text)
  for line in joined.splitlines():
    for found in re.finditer(
      r'(?:python -m (?:xlmr_jax )?|\bxlmr )([a-z][\w.]*)([^`|&]*)', line
    ):
      if found[1] in COMMANDS or found[1].startswith('xlmr_jax.'):
        yield found[1], found[2].split()


def is_setting(name):
  """Whether a recipe has config.<name>."""
  for module in (pretrain, finetune):
    node = module.get_config()
    for part in name.split('.'):
      node = getattr(node, part, None) if hasattr(node, part) else KeyError
    if node is not KeyError:
      return True
  return False


# ── What is named exists ────────────────────────────────────────────────────


def test_every_command_of_ours_has_the_flags_it_is_given():
  seen = set()
  for name, text in TEXTS.items():
    for module, words in commands(text):
      known = flags_of(module)
      seen.add(module)
      for word in words:
        flag = re.match(r'--([\w.]+)', word)
        if flag and not flag[1].startswith('config.'):
          assert flag[1] in known, f'{name}: {module} has no --{flag[1]}'
  assert seen >= {
    'xlmr_jax.train',
    'corpus',
    'xlmr_jax.plan',
  }


def test_every_setting_named_is_one_of_a_recipe():
  count = 0
  for name, text in TEXTS.items():
    for setting in re.findall(r'\bconfig\.([a-z_]+(?:\.[a-z_]+)*)', text):
      if setting == 'json':  # a file of the workdir
        continue
      assert is_setting(setting), f'{name}: config.{setting}'
      count += 1
  assert count > 30


def test_every_flag_the_page_names_is_known():
  ours = set()
  for module in ('train', 'plan', 'corpus', 'eval'):
    ours |= flags_of(module)
  for flag in re.findall(r'(?<![\w-])--[a-z][\w-]*', PAGE):
    assert flag in THEIRS or flag[2:] in ours, flag


def test_links_and_files_of_the_page_exist():
  for target in re.findall(r'\]\(([^)#]+)\)', PAGE):
    assert (ROOT / 'docs' / target).exists(), target
  for path in re.findall(r'\b(?:launch|tests|configs)/[\w.]+', PAGE):
    assert (ROOT / path.rstrip('.')).exists(), path


def test_the_page_lists_what_a_resume_may_change():
  listed = {
    kind: set(re.findall(r'`(\w+)`', entry))
    for kind, entry in re.findall(r'^- (\w+): ((?:.|\n  )+)', PAGE, re.M)
  }
  assert listed['shown'] == set(resume.SHOWN)
  assert listed['placed'] == set(resume.PLACED)


# ── run.py ──────────────────────────────────────────────────────────────────


def shell(*words, program='bash', **more):
  return subprocess.run(
    [program, *map(str, words)],
    capture_output=True,
    text=True,
    timeout=120,
    check=False,
    **more,
  )


def run(*words):
  return shell(LAUNCH / 'run.py', *words, program=sys.executable)


@pytest.mark.parametrize('name', SHELL)
def test_bash_can_read_it(name):
  done = shell('-n', LAUNCH / name)
  assert (done.returncode, done.stderr) == (0, '')


def mark(workdir, step, finished):
  """A step as far as run.py looks at it."""
  meta = workdir / 'checkpoints' / str(step) / 'meta'
  meta.mkdir(parents=True)
  (meta / 'metadata').write_text(json.dumps({'finished': finished, 'bad': 0}))


def test_a_run_is_finished_when_its_latest_saved_step_says_so(tmp_path):
  """With steps as saves.Manager writes them, also of only the meta."""
  ask = lambda: run('--finished', tmp_path).returncode
  assert ask() == 1
  tree = {'a': jax.numpy.asarray(np.arange(3.0))}
  with checkpoint_steps.Manager(tmp_path) as manager:
    for step, finished in ((9, True), (10, False)):  # 10 is later than 9
      manager.save(step, tree, tree, {'best_step': 9, 'finished': finished})
    manager.wait()
    (tmp_path / 'checkpoints' / '30.orbax-checkpoint-tmp').mkdir()
    assert ask() == 1
    manager.save(10, tree, tree, {'best_step': 9, 'finished': True})
  assert ask() == 0


@pytest.mark.parametrize(
  'finished, code, expected',
  [(True, 0, 0), (False, 0, 75), (True, 3, 3), (False, 3, 3)],
)
def test_how_a_command_ended(tmp_path, finished, code, expected):
  mark(tmp_path, 4, finished)
  for words in ([f'--workdir={tmp_path}'], ['--workdir', tmp_path]):
    done = run('bash', '-c', f'exit {code}', 'x', *words)
    assert done.returncode == expected
  assert run('true').returncode == 2  # no workdir


def test_its_status_is_the_commands_however_many_signals_come(tmp_path):
  code = 'echo up; exit 7'
  words = ['bash', '-c', code, 'x', f'--workdir={tmp_path}']
  for _ in range(20):
    process = subprocess.Popen(
      [sys.executable, LAUNCH / 'run.py', *words],
      stdout=subprocess.PIPE,
      stderr=subprocess.DEVNULL,
      text=True,
    )
    assert process.stdout.readline() == 'up\n'
    for _ in range(5):
      process.send_signal(signal.SIGTERM)
    # 75: the signal was there before the end.
    assert process.wait(30) in (7, 75)


@pytest.mark.parametrize('caught', [True, False])
def test_sigterm_reaches_the_command_and_is_waited_for(tmp_path, caught):
  mark(tmp_path, 4, False)
  code = """
    import pathlib, signal, sys, time
    def stop(*_):
      time.sleep(0.5)
      pathlib.Path(sys.argv[1]).touch()
      sys.exit(0)
    if sys.argv[2] == 'True':
      signal.signal(signal.SIGTERM, stop)
    print('up', flush=True)
    time.sleep(60)
  """
  saved = tmp_path / 'saved'
  words = [saved, caught, f'--workdir={tmp_path}']
  process = subprocess.Popen(
    [
      sys.executable,
      LAUNCH / 'run.py',
      sys.executable,
      '-c',
      textwrap.dedent(code),
    ]
    + list(map(str, words)),
    stdout=subprocess.PIPE,
    text=True,
  )
  assert process.stdout.readline() == 'up\n'
  for _ in range(3):  # some launchers send it more than once
    process.send_signal(signal.SIGTERM)
  # Killed before it could save: stopped all the same.
  assert process.wait(30) == 75
  assert saved.exists() == caught


# ── The stand-ins ───────────────────────────────────────────────────────────


@pytest.fixture
def lab(tmp_path, monkeypatch):
  """(a folder, write(name, script): a program first in PATH)."""
  folder = tmp_path / 'bin'
  folder.mkdir()
  monkeypatch.setenv('PATH', f'{folder}:{os.environ["PATH"]}')
  monkeypatch.setenv('LAB', str(tmp_path))

  def write(name, script):
    path = folder / name
    path.write_text('#!/usr/bin/env bash\n' + textwrap.dedent(script))
    path.chmod(0o755)

  return tmp_path, write


# describe answers the lines of the file `states`, one by one, then FAILED; ssh
# and scp run here, with a home folder for each node. A new TPU runs nothing.
GCLOUD = r"""
  echo "$*" >> "$LAB/calls"
  for word in "$@"; do
    case $word in --command=*) command=${word#*=} ;; esac
  done
  node=$5
  case "$3 $4" in
    'queued-resources describe')
      state=$(head -n 1 "$LAB/states")
      sed -i 1d "$LAB/states"
      [[ $state == NONE ]] && exit 1
      echo "${state:-FAILED}" ;;
    'queued-resources create') rm -f "$LAB"/unit-* ;;
    'tpu-vm scp')
      to=${6%%:*}
      mkdir -p "$LAB/$to/.local/bin"
      cp "$LAB/bin/uv" "$LAB/$to/.local/bin/uv"
      cp "$5" "$LAB/$to/${6#*:}" ;;
    'tpu-vm ssh')
      mkdir -p "$LAB/$node"
      HOME=$LAB/$node NODE=$node bash -c "$command" ;;
  esac
"""
SYSTEMCTL = """
  case $1 in
    is-active) cat "$LAB/unit-$NODE" 2>/dev/null || echo inactive ;;
    stop) rm -f "$LAB/unit-$NODE" ;;
  esac
"""
# The second time it is started, the run comes to its end.
SYSTEMD_RUN = """
  printf '%s\\n' "$@" > "$LAB/started-$NODE"
  echo . >> "$LAB/starts-$NODE"
  echo "${STARTS:-active}" > "$LAB/unit-$NODE"
  if [[ $(wc -l < "$LAB/starts-$NODE") -ge 2 ]]; then
    mkdir -p "$LAB/run/checkpoints/8/meta"
    echo '{"finished": true}' > "$LAB/run/checkpoints/8/meta/metadata"
  fi
"""


@pytest.fixture
def tpus(lab, monkeypatch):
  folder, write = lab
  write('gcloud', GCLOUD)
  write('systemctl', SYSTEMCTL)
  write('systemd-run', SYSTEMD_RUN)
  write('sudo', 'exec "$@"')
  write('python3', f'[[ $1 == -m ]] || exec {sys.executable} "$@"')
  write('uv', 'echo "$PWD $*" >> "$LAB/uv"')
  # `git archive` of what is here, committed or not.
  write('git', f'tar -czf "$6" -C "{ROOT}" launch')
  for name, value in dict(
    PROJECT='p', ZONE='z', NAME='mine', POLL='0', SLICES='2', SOURCE=''
  ).items():
    monkeypatch.setenv(name, value)

  def run(states, *words):
    (folder / 'states').write_text('\n'.join(states) + '\n')
    done = shell(LAUNCH / 'tpu_vm.sh', *words)
    calls = (folder / 'calls').read_text().splitlines()
    kinds = [' '.join(call.split()[2:5]) for call in calls]
    return done, calls, kinds

  return folder, run


def test_a_preempted_tpu_is_asked_for_and_started_again(tpus):
  folder, run = tpus
  states = 'NONE PROVISIONING ACTIVE ACTIVE SUSPENDED NONE ACTIVE ACTIVE'
  done, calls, kinds = run(
    states.split(),
    'run',
    '--config=configs/pretrain.py:model=base',
    '--config.mesh=(-1, 2, 1)',
    f'--workdir={folder}/run',
  )
  assert done.returncode == 0, done.stderr
  assert (folder / 'states').read_text() == ''
  order = [k.split()[1] for k in kinds if k.startswith('queued-resources')]
  assert [k for k in order if k != 'describe'] == ['create', 'delete', 'create']
  asked = next(call for call in calls if 'create' in call)
  assert '--node-count=2 --node-prefix=mine --spot' in asked
  assert '--project=p --zone=z' in asked
  for node in ('mine-0', 'mine-1'):
    assert len((folder / f'starts-{node}').read_text().split()) == 2
    given = (folder / f'started-{node}').read_text().splitlines()
    at = given.index('launch/run.py') - 1
    assert given[at : at + 5] == [
      *('.venv/bin/python', 'launch/run.py'),
      *('.venv/bin/python', '-m', 'xlmr_jax.train'),
    ]
    assert given[at + 5 :] == [
      '--config=configs/pretrain.py:model=base',
      '--config.mesh=(-1, 2, 1)',
      f'--workdir={folder}/run',
      '--config.slices=2',
    ]
    for wanted in ('Restart=on-failure', 'RestartForceExitStatus=75'):
      assert f'--property={wanted}' in given[:at]
    assert (
      f'{folder}/{node}/xlmr_jax pip install' in (folder / 'uv').read_text()
    )


def test_a_run_that_keeps_failing_is_not_started_again(tpus, monkeypatch):
  folder, run = tpus
  monkeypatch.setenv('STARTS', 'failed')
  done, _, _ = run(['ACTIVE'] * 5, 'run', '--x', f'--workdir={folder}/run')
  assert done.returncode == 1
  assert 'failed' in done.stderr
  assert (folder / 'starts-mine-0').read_text().split() == ['.']


def test_a_worker_that_cannot_install_is_not_tried_for_ever(tpus, lab):
  folder, run = tpus
  lab[1]('python3', 'echo no network >&2; exit 1')
  done, calls, _ = run(['ACTIVE'] * 9, 'run', f'--workdir={folder}/run')
  assert done.returncode == 1
  assert 'cannot be installed' in done.stderr
  assert sum(' mine-0:xlmr_jax.tar.gz ' in call for call in calls) == 5
  assert not (folder / 'starts-mine-0').exists()


def test_one_slice_is_a_node_and_spot_may_be_off(tpus, monkeypatch):
  monkeypatch.setenv('SLICES', '1')
  monkeypatch.setenv('SPOT', '0')
  _, calls, _ = tpus[1]([], 'create')
  assert '--node-id=mine' in calls[0]
  assert '--spot' not in calls[0] and '--node-count' not in calls[0]


@pytest.mark.parametrize('workdir', ['gs://bucket/run', 'runs/base', ''])
def test_a_workdir_that_not_every_worker_sees_is_refused(tpus, workdir):
  done = shell(LAUNCH / 'tpu_vm.sh', 'run', f'--workdir={workdir}')
  assert done.returncode == 1
  assert 'all workers see' in done.stderr
  assert not (tpus[0] / 'calls').exists()


# ── Slurm ───────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
  'finished, code, restarts, requeued, expected',
  [
    (True, 0, 0, False, 0),
    (False, 0, 0, True, 0),
    (False, 0, 50, True, 0),  # stopped and saved, however often
    (False, 1, 9, True, 0),
    (False, 1, 10, False, 1),
    (True, 1, 0, False, 0),  # the end was saved before it failed
  ],
)
def test_a_job_goes_back_into_the_queue(
  lab, finished, code, restarts, requeued, expected
):
  folder, write = lab
  write('srun', f'printf "%s\\n" "$@" > "$LAB/tasks"; exit {code}')
  write('scontrol', 'echo "$*" >> "$LAB/requeued"')
  (folder / 'bin' / 'activate').touch()
  mark(folder / 'run', 4, finished)
  done = shell(
    LAUNCH / 'slurm.sbatch',
    '--config.mesh=(1, -1, 1)',
    f'--workdir={folder}/run',
    cwd=ROOT,
    env={
      **os.environ,
      'VENV': str(folder),
      'SLURM_JOB_ID': '77',
      'SLURM_RESTART_COUNT': str(restarts),
    },
  )
  assert done.returncode == expected, done.stderr
  queue = folder / 'requeued'
  assert queue.exists() == requeued
  assert not requeued or queue.read_text() == 'requeue 77\n'
  assert (folder / 'tasks').read_text().splitlines()[-4:] == [
    *('-m', 'xlmr_jax.train'),
    *('--config.mesh=(1, -1, 1)', f'--workdir={folder}/run'),
  ]


def test_sigterm_to_the_batch_script_waits_for_its_tasks(lab):
  folder, write = lab
  write('srun', 'echo up; sleep 1; touch "$LAB/saved"; exit 0')
  write('scontrol', 'touch "$LAB/requeued"')
  (folder / 'bin' / 'activate').touch()
  process = subprocess.Popen(
    ['bash', LAUNCH / 'slurm.sbatch', f'--workdir={folder}/run'],
    cwd=ROOT,
    env={**os.environ, 'VENV': str(folder), 'SLURM_JOB_ID': '7'},
    stdout=subprocess.PIPE,
    text=True,
  )
  assert process.stdout.readline() == 'up\n'
  process.send_signal(signal.SIGTERM)
  assert process.wait(30) == 0
  assert (folder / 'saved').exists() and (folder / 'requeued').exists()


def test_what_slurm_is_asked_for():
  lines = TEXTS['slurm.sbatch'].splitlines()
  asked = dict(
    (line.removeprefix('#SBATCH --') + '=').split('=')[:2]
    for line in lines
    if line.startswith('#SBATCH')
  )
  # JAX gives a process the GPU of its local number, of all that it sees.
  assert asked['ntasks-per-node'] == asked['gpus-per-node']
  assert not {'gpus-per-task', 'gpu-bind', 'gres'} & set(asked)
  assert 'requeue' in asked
  name, seconds = asked['signal'].split('@')  # B: would be this script alone
  assert name == 'TERM' and int(seconds) >= 60


# ── Kubernetes ──────────────────────────────────────────────────────────────


def test_the_jobset():
  manifest = yaml.safe_load(TEXTS['jobset.yaml'])
  assert manifest['apiVersion'] == 'jobset.x-k8s.io/v1alpha2'
  assert manifest['kind'] == 'JobSet'
  policy = manifest['spec']['failurePolicy']
  assert policy['maxRestarts'] > 0
  uncounted = policy['rules'][0]
  assert uncounted['action'] == 'RestartJobSetAndIgnoreMaxRestarts'
  assert uncounted['onJobFailureReasons'] == ['PodFailurePolicy']
  (slices,) = manifest['spec']['replicatedJobs']
  job = slices['template']['spec']
  assert job['parallelism'] == job['completions']
  assert (job['completionMode'], job['backoffLimit']) == ('Indexed', 0)
  pod = job['template']['spec']
  (container,) = pod['containers']
  # The status of run.py that is not a failure, in this container.
  (code,) = [
    rule['onExitCodes']
    for rule in job['podFailurePolicy']['rules']
    if 'onExitCodes' in rule
  ]
  assert code['values'] == [
    int(re.search(r'^STOPPED = (\d+)', TEXTS['run.py'], re.M)[1])
  ]
  assert code['containerName'] == container['name']
  assert pod['restartPolicy'] == 'Never'  # podFailurePolicy allows no other
  assert pod['terminationGracePeriodSeconds'] >= 60
  selector = pod['nodeSelector']
  topology = selector['cloud.google.com/gke-tpu-topology']
  chips = np.prod([int(n) for n in topology.split('x')])
  here = container['resources']['limits']['google.com/tpu']
  assert job['parallelism'] * here == chips
  assert {m['name'] for m in container['volumeMounts']} == {
    v['name'] for v in pod['volumes']
  }
  # The command is run.py's, and the train loop takes its flags.
  assert container['command'][:2] == ['python', 'launch/run.py']
  assert container['command'][2:] == ['python', '-m', 'xlmr_jax.train']
  assert f'--config.slices={slices["replicas"]}' in container['args']
  mounts = [m['mountPath'] for m in container['volumeMounts']]
  for word in container['args']:
    if '=/' in word:
      assert any(word.partition('=')[2].startswith(m + '/') for m in mounts)
  code = (
    'import json, sys; from xlmr_jax import train; '
    "train.define_flags(); f = train.flags.FLAGS; f(['train', *sys.argv[1:]]); "
    'c = f.config; print(json.dumps([c.mesh, c.slices, c.variant, f.workdir]))'
  )
  done = subprocess.run(
    [sys.executable, '-c', code, *container['args']],
    cwd=ROOT,
    capture_output=True,
    text=True,
    check=False,
  )
  assert done.returncode == 0, done.stderr[-2000:]
  assert json.loads(done.stdout) == [
    *([-1, 1, 1], slices['replicas'], 'base'),
    '/shared/runs/base',
  ]


def test_shellcheck():
  """The linter comes with the test extra, beside Python."""
  tool = pathlib.Path(sys.executable).with_name('shellcheck')
  files = [str(LAUNCH / name) for name in SHELL]
  done = subprocess.run(
    [str(tool), '--shell=bash', '--exclude=SC1091', *files],
    capture_output=True,
    text=True,
    check=False,
  )
  assert done.returncode == 0, done.stdout
