"""What `fit` refuses, with an error that names the field, the leaf, the metric or the step."""

import subprocess
import sys

import harness
import jax
import pytest
import tiny

from gen_jax import training
from gen_jax.errors import CheckpointError, ConfigError, NumericalError, ResourceError
from gen_jax.training.checkpoint import saved_steps
from gen_jax.training.rundir import RunDirectory

CONFIG = {"experiment": "tiny", "config": {"lr": 0.1, "width": 3, "steps": 3}}


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A run of three steps, for tests that are refused before they change anything."""
    directory = tmp_path_factory.mktemp("finished")
    tiny.train(directory, steps=3, config=CONFIG)
    return directory


def test_two_runs_in_one_directory(tmp_path):
    run = RunDirectory(tmp_path, {})
    try:
        with pytest.raises(CheckpointError, match="in use by another run"):
            tiny.train(tmp_path)
        script = (
            "import sys; from gen_jax.training.rundir import RunDirectory as R;"
            "from gen_jax.training import run_main; run_main(lambda: R(sys.argv[1], {}))"
        )
        other = subprocess.run(
            [sys.executable, "-c", script, str(tmp_path)],
            env=harness.environment(),
            capture_output=True,
            text=True,
        )
        assert other.returncode == 4
        assert other.stderr.count("\n") == 1
        assert "in use by another run" in other.stderr
    finally:
        run.close()
    RunDirectory(tmp_path, {}).close()


def test_the_lock_goes_when_a_run_fails(tmp_path):
    with pytest.raises(NumericalError):
        tiny.train(tmp_path, make={"nan_loss_at": 0})
    RunDirectory(tmp_path, {}, allow_changed=("key", "batch_size", "data_x")).close()


def test_changed_configuration_is_refused_with_its_fields(finished):
    changed = {"experiment": "tiny", "config": {"lr": 0.2, "width": 4, "steps": 9}}
    with pytest.raises(ConfigError, match=r"config.lr: 0.1 -> 0.2; config.width: 3 -> 4 \("):
        tiny.train(finished, config=changed)
    with pytest.raises(ConfigError, match=r": config.width: 3 -> 4 \("):
        tiny.train(finished, config=changed, allow_changed=("lr",))
    with pytest.raises(ConfigError, match=r"config.depth: None -> 2 \("):
        tiny.train(finished, config={**CONFIG, "config": {**CONFIG["config"], "depth": 2}})


def test_changed_seed_or_batch_is_refused(finished):
    with pytest.raises(ConfigError, match=r"fit.key: \[0, 0\] -> \[0, 1\]"):
        tiny.train(finished, seed=1, config=CONFIG)
    with pytest.raises(ConfigError, match=r"fit.batch_size: 8 -> 4"):
        tiny.train(finished, batch_size=4, config=CONFIG)


def test_allowed_changes_and_more_steps_go_on(tmp_path):
    tiny.train(tmp_path, steps=3, config=CONFIG)
    more = {"experiment": "tiny", "config": {"lr": 0.2, "width": 3, "steps": 5}}
    state = tiny.train(tmp_path, steps=5, config=more, allow_changed=("lr",))
    assert int(state.count) == 5
    with pytest.raises(ConfigError, match=r"config.lr: 0.2 -> 0.1"):
        tiny.train(tmp_path, steps=5, config=CONFIG)


def test_a_run_older_than_digests_goes_on_and_records_them(tmp_path, capsys):
    digests = {"train_x": "float32[8]-0", "test_x": "float32[4]-1"}
    tiny.train(tmp_path, steps=3, config={"lr": 1.0})
    capsys.readouterr()
    tiny.train(tmp_path, steps=6, config={"lr": 1.0, "digests": digests})
    assert capsys.readouterr().err.count("has no digests of its data") == 1
    tiny.train(tmp_path, steps=7, config={"lr": 1.0, "digests": digests})
    assert "digests" not in capsys.readouterr().err
    for other in ({**digests, "test_x": "float32[4]-2"}, {"train_x": digests["train_x"]}, {}):
        with pytest.raises(ConfigError, match=r"digests\.test_x: 'float32\[4\]-1' -> "):
            tiny.train(tmp_path, steps=8, config={"lr": 1.0, "digests": other})
    with pytest.raises(ConfigError, match=r"lr: 1.0 -> 2.0"):
        tiny.train(tmp_path, steps=8, config={"lr": 2.0, "digests": digests})


def test_fewer_steps_than_done_say_so(finished, capsys):
    state = tiny.train(finished, steps=2, config=CONFIG)
    assert int(state.count) == 3
    assert "at step 3 already, past steps=2" in capsys.readouterr().err
    assert saved_steps(finished) == [3]


def test_another_dtype_or_shape_is_refused(finished):
    with pytest.raises(
        CheckpointError, match=r"average'\] is bfloat16\[3\] in the checkpoint and float32\[3\]"
    ):
        tiny.train(finished, make={"dtype": "float32"}, config=CONFIG)
    with pytest.raises(CheckpointError, match=r"padding'\] is absent in the checkpoint"):
        tiny.train(finished, make={"padding": 4}, config=CONFIG)


def test_nan_loss_stops_and_is_not_saved(tmp_path):
    """Not finite in the 8th step, in the middle of a call; 3 and 6 were saved."""
    with pytest.raises(NumericalError, match=r"loss is not finite at step 8; last good.*: step 6"):
        tiny.train(tmp_path, make={"nan_loss_at": 7}, log_every=50, steps_per_call=3)
    assert saved_steps(tmp_path) == [3, 6]
    assert not (tmp_path / "DONE").exists()
    assert NumericalError.exit_code == 5


def test_nan_loss_before_the_first_save():
    with pytest.raises(NumericalError, match="step 1; last good checkpoint: none"):
        tiny.train(make={"nan_loss_at": 0})


def test_bad_state_behind_a_finite_loss_is_not_saved(tmp_path):
    """The last step spoils the parameters only: its loss was computed before."""
    message = r"the state .*average.* is not finite at step 6.*: step 3"
    with pytest.raises(NumericalError, match=message):
        tiny.train(tmp_path, steps=6, make={"nan_state_at": 5})
    assert saved_steps(tmp_path) == [3]


@pytest.mark.parametrize(
    "options",
    [
        {"steps": 0},
        {"batch_size": 0},
        {"batch_size": 53},
        {"save_every": 0},
        {"log_every": -1},
        {"sample_every": -2},
        {"keep": 0},
        {"steps_per_call": 0},
    ],
    ids=str,
)
def test_numbers_that_cannot_work(tmp_path, options):
    with pytest.raises(ConfigError, match=f"^{next(iter(options))}=.*"):
        tiny.train(tmp_path / "run", **options)
    assert not (tmp_path / "run").exists()


def test_directory_that_is_a_file(tmp_path):
    (tmp_path / "file").write_text("")
    for path in ("file", "file/run"):
        with pytest.raises(ResourceError, match="cannot be written"):
            tiny.train(tmp_path / path)


def test_damaged_config_is_refused(tmp_path):
    (tmp_path / "config.json").write_text('{"fit": ')
    with pytest.raises(CheckpointError, match=r"config\.json is damaged"):
        tiny.train(tmp_path)


def test_restore_of_another_model_names_the_first_leaf(finished):
    template = {"a": jax.ShapeDtypeStruct((3,), "float32")}
    with pytest.raises(CheckpointError, match="absent"):
        training.restore_state(finished, template)
