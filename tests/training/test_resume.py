"""What may change when a run goes on, what may not, and what is said."""

import json

import pytest

from configs import finetune, pretrain
from xlmr_jax.training import resume


def config(**changes):
  made = pretrain.get_config('model=small')
  made.update_from_flattened_dict(
    {name.replace('__', '.'): value for name, value in changes.items()}
  )
  return made


@pytest.fixture
def workdir(tmp_path):
  resume.remember(tmp_path, config(corpus='text', tokenizer='t'))
  return tmp_path


@pytest.mark.parametrize(
  'changes',
  [
    {},
    {'mesh': (2, 2, 2), 'slices': 2, 'accumulate': 4},
    {'attention': 'xla', 'remat': 'full', 'scan': False, 'loss_chunk': 8},
    {'log_every': 1, 'progress': False, 'peak_tflops': 1.0},
    {'on_bad': 'skip', 'spike': 5.0, 'max_bad': 1, 'topology': 'v5e:4x4'},
  ],
)
def test_where_and_how_it_is_computed_may_change(workdir, changes):
  same = config(corpus='text', tokenizer='t', **changes)
  assert resume.compare_settings(workdir, same) == ([], [])


@pytest.mark.parametrize(
  'name, value, there',
  [
    ('seed', 1, '0'),
    ('alpha', 0.5, '0.3'),
    ('rows', 'packed', "'stream'"),
    ('mask_units', 'word', "'token'"),
    ('batch_tokens', 1024, '16384'),
    ('dtype', 'bfloat16', "'float32'"),
    ('dropout_rng', 'rbg', "'threefry'"),
    ('optim__learning_rate', 1.0, '0.001'),
    ('optim__name', 'lamb', "'adamw'"),
    ('steps', 5, '2000'),
  ],
)
def test_what_is_learned_may_not(workdir, name, value, there):
  other = config(**{'corpus': 'text', 'tokenizer': 't', name: value})
  said = f'{name.replace("__", ".")} (there {there}, now {value!r})'
  with pytest.raises(ValueError) as error:
    resume.compare_settings(workdir, other)
  assert f'another config: {said}. Choose' in str(error.value)
  assert '--accept_changes' in str(error.value)
  accepted, _ = resume.compare_settings(workdir, other, accept=True)
  assert accepted == [said]


@pytest.mark.parametrize(
  'name, value, before',
  [
    ('corpus', 'moved/text', 'text'),
    ('tokenizer', 'moved/t', 't'),
    ('init', 'moved/model', ''),
    ('save_every', 7, 500),
    ('eval_every', 7, 500),
    ('patience', 3, 0),
    ('steps', 4000, 2000),
    ('epochs', 3.5, 3.0),
  ],
)
def test_what_is_the_same_run_goes_on_and_says_so(workdir, name, value, before):
  other = config(**{'corpus': 'text', 'tokenizer': 't', name: value})
  said = [f'{name} (there {before!r}, now {value!r})']
  assert resume.compare_settings(workdir, other) == ([], said)


def test_a_setting_that_is_new_in_the_code(workdir):
  path = workdir / 'config.json'
  stored = json.loads(path.read_text())
  del stored['spike'], stored['alpha'], stored['optim']['layer_decay']
  path.write_text(json.dumps(stored))
  same = config(corpus='text', tokenizer='t')
  began = '; the run began before this setting)'
  assert resume.compare_settings(workdir, same) == (
    [],
    [f'alpha (0.3{began}', f'optim.layer_decay (1.0{began}'],
  )


def test_every_setting_that_may_change_is_one():
  known = set(pretrain.get_config('model=small'))
  known |= set(finetune.get_config('task=own,model=tiny'))
  of = (resume.SHOWN, resume.PLACED, resume.FREE, resume.PLACES)
  assert {name for names in (*of, resume.LENGTHS) for name in names} <= known


NOW = {'trained_on': {'the data': 'b', 'the words': 'c'}, 'rows': 16}


def test_what_a_step_was_trained_on():
  check = resume.check_meta
  assert check('run', NOW, NOW, accept=False) == []
  other = {**NOW, 'trained_on': {'the data': 'a', 'the words': 'c'}}
  with pytest.raises(ValueError, match='than its settings name now: the data '):
    check('run', other, NOW, accept=False)
  assert check('run', other, NOW, accept=True) == ['the data']
  fewer = {**NOW, 'rows': 8}
  with pytest.raises(ValueError, match='8 rows in a batch there, 16 now'):
    check('run', fewer, NOW, accept=False)
  assert check('run', fewer, NOW, accept=True) == [
    '8 rows in a batch there, 16 now'
  ]
