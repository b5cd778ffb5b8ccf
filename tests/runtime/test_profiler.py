"""`--profile=START,STOP`: which steps are traced, and that nothing changes."""

import jax
import pytest
from tiny_runs import assert_same_run, recipe, settings, write_data

from configs import pretrain
from xlmr_jax import train
from xlmr_jax.runtime import profiler


@pytest.fixture(scope='module')
def given(tmp_path_factory, tiny_tokenizer):
  folder = tmp_path_factory.mktemp('data')
  write_data(folder)
  return settings(folder, tiny_tokenizer)


def traced(workdir):
  """The numbers of the steps in a run's trace."""
  (path,) = (workdir / 'profile').rglob('*.xplane.pb')
  data = jax.profiler.ProfileData.from_file(str(path))
  return sorted(
    dict(event.stats)['step_num']
    for plane in data.planes
    for line in plane.lines
    for event in line.events
    if event.name == 'train'
  )


def test_the_steps_between_are_traced(given, tmp_path, capsys):
  config = recipe(given, pretrain, steps=8, eval_every=8)
  train.train(config, tmp_path / 'plain')
  capsys.readouterr()
  train.train(config, tmp_path / 'traced', profile=(3, 6))
  assert traced(tmp_path / 'traced') == [4, 5, 6]
  said = f'wrote the profile of steps (3, 6) to {tmp_path}/traced/profile'
  assert said in capsys.readouterr().out
  assert_same_run(tmp_path / 'plain', tmp_path / 'traced')
  # A run that is past it says so; one that ends in between ends the trace.
  longer = recipe(given, pretrain, steps=9, eval_every=8)
  train.train(longer, tmp_path / 'traced', accept=True, profile=(3, 6))
  assert 'no profile: step 3 is done, the run is at 8' in (
    capsys.readouterr().out
  )
  train.train(config, tmp_path / 'cut', profile=(6, 60))
  assert traced(tmp_path / 'cut') == [7, 8]


@pytest.mark.parametrize('text', ['10', '10,', '10,15,20', 'a,b', '-1,3'])
def test_what_is_not_two_steps(text):
  with pytest.raises(ValueError, match=f'--profile={text}: write two steps'):
    profiler.parse_steps(text)


def test_steps_go_up():
  assert profiler.parse_steps('') is None
  assert profiler.parse_steps('10, 15') == (10, 15)
  with pytest.raises(ValueError, match='STOP must come after START'):
    profiler.parse_steps('15,15')


def test_other_processes_trace_nothing(tmp_path):
  quiet = profiler.Profiler((0, 1), tmp_path / 'profile', lead=False)
  with quiet.step(0):
    pass
  assert not quiet.stop(1, {})
  quiet.close()
  assert not (tmp_path / 'profile').exists()
