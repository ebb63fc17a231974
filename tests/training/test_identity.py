"""A checkpoint belongs to its step, its run and its config.json; whatever does not is not read."""

import json
import os
import re
import shutil

import jax
import pytest
import tiny

from gen_jax import training
from gen_jax.errors import CheckpointError, ConfigError
from gen_jax.training.checkpoint import saved_steps
from gen_jax.training.identity import body, digest_of, read_config, sealed

PLAN = {"steps": 6, "save_every": 3}
BEST = {"best": ("score", "max"), "evaluate": lambda step, state: {"score": step}}


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """Two runs of one configuration and seed, with steps 3 and 6, the same to the bit."""
    folder = tmp_path_factory.mktemp("pair")
    states = [tiny.train(folder / name, **PLAN, **BEST) for name in ("one", "two")]
    assert tiny.bits(states[0]) == tiny.bits(states[1])
    return folder, states[0]


@pytest.fixture
def run(pair, tmp_path):
    return shutil.copytree(pair[0] / "one", tmp_path / "run")


def steps_of(directory):
    return directory / "checkpoints"


def test_a_renamed_step_is_set_aside(run, pair, capsys):
    """Step 3 called 9 would be step 12 after three more updates."""
    (steps_of(run) / "3").rename(steps_of(run) / "9")
    assert training.restore_state(run, pair[1])[1] == 6
    with pytest.raises(CheckpointError, match=r"9: manifest\.json is that of step 3"):
        training.restore_state(run, pair[1], step=9)
    assert training.restore_state(run, pair[1], step="best")[1] == 6
    state = tiny.train(run, **{**PLAN, "steps": 9}, **BEST)
    assert tiny.bits(state) == tiny.bits(tiny.train(**{**PLAN, "steps": 9}))
    assert (steps_of(run) / "9.damaged").is_dir()
    assert "is that of step 3" in capsys.readouterr().err


def test_a_step_of_another_run_is_set_aside(run, pair, capsys):
    """Newer than all own ones, with every file whole, of the same configuration and seed."""
    other = shutil.copytree(pair[0] / "two", run.parent / "other")
    tiny.train(other, **{**PLAN, "steps": 9}, **BEST)
    shutil.copytree(steps_of(other) / "9", steps_of(run) / "9")
    assert training.restore_state(run, pair[1])[1] == 6
    assert training.restore_state(run, pair[1], step="best")[1] == 6
    with pytest.raises(CheckpointError, match="a step of another run"):
        training.restore_state(run, pair[1], step=9)
    capsys.readouterr()
    state = tiny.train(run, **PLAN, **BEST)
    assert int(state.count) == 6
    assert "9 is a step of another run" in capsys.readouterr().err
    assert (steps_of(run) / "9.damaged").is_dir()


def test_steps_copied_in_do_not_displace_own_ones(tmp_path, pair):
    """With keep=1 the newest is kept: a foreign step 9 beside an own step 6 must not be it."""

    def copy_in(step, state):
        if step == 4:
            shutil.copytree(steps_of(pair[0] / "two") / "6", steps_of(tmp_path) / "9")

    tiny.train(tmp_path, **PLAN, keep=1, sample_every=1, on_sample=copy_in)
    assert saved_steps(tmp_path) == [6, 9]


def test_another_config_json_sets_nothing_aside(run, pair):
    """The identity of the other run, whose configuration is the same."""
    shutil.copy(pair[0] / "two" / "config.json", run / "config.json")
    for _ in range(2):
        with pytest.raises(CheckpointError, match=r"no checkpoint is of the run that config\.json"):
            tiny.train(run, **PLAN)
        with pytest.raises(CheckpointError, match="no checkpoint is of the run"):
            training.restore_state(run, pair[1])
    assert saved_steps(run) == [3, 6]


@pytest.mark.parametrize("content", [None, "null", "{}", "[]", "0", '"x"', '{"fit": 1}', "{"])
def test_checkpoints_without_a_configuration(run, pair, content):
    """Another seed must not go on with the old weights, nor overwrite what was there."""
    path = run / "config.json"
    path.unlink()
    if content is not None:
        path.write_text(content)
    for damaged in (False, True):
        with pytest.raises(CheckpointError, match=r"config\.json is (missing|damaged)"):
            tiny.train(run, seed=5, **PLAN)
        with pytest.raises(CheckpointError, match=r"config\.json is (missing|damaged)"):
            training.restore_state(run, pair[1])
        with pytest.raises(CheckpointError, match=r"config\.json is (missing|damaged)"):
            read_config(run)
        assert (path.read_text() if path.exists() else None) == content
        if not damaged:
            for step in (3, 6):
                (steps_of(run) / str(step)).rename(steps_of(run) / f"{step}.damaged")
            with pytest.raises(CheckpointError):
                tiny.train(run, seed=5, **PLAN)
            for step in (3, 6):
                (steps_of(run) / f"{step}.damaged").rename(steps_of(run) / str(step))


def test_every_digit_of_the_configuration_counts(run):
    path = run / "config.json"
    text = path.read_text()
    places = [found.start() for found in re.finditer(r"\d", text)]
    assert len(places) > 50
    for place in places:
        digit = str((int(text[place]) + 1) % 10)
        path.write_text(text[:place] + digit + text[place + 1 :])
        with pytest.raises(CheckpointError, match="damaged"):
            read_config(run)
    path.write_text(text)
    read_config(run)
    path.write_text(json.dumps(json.loads(text), sort_keys=True))  # as another program writes it
    read_config(run)


def test_allowed_changes_leave_older_steps_readable(run, pair, capsys):
    """More steps, and one named change: each another config.json, all of one run."""
    before = read_config(run)
    for steps, size in ((9, 8), (12, 4)):
        options = {**PLAN, "steps": steps, "batch_size": size, "keep": 9}
        tiny.train(run, **options, allow_changed=("batch_size",))
    after = read_config(run)
    assert after["run_identity"] == before["run_identity"]
    assert len(after["earlier"]) == 2
    assert saved_steps(run) == [3, 6, 9, 12]
    capsys.readouterr()
    for step in (3, 6, 9, 12):
        assert int(training.restore_state(run, pair[1], step=step)[0].count) == step
    assert capsys.readouterr().err == ""
    (run / "config.json").write_text(json.dumps(before))  # from a backup: older than step 12
    for _ in range(2):
        with pytest.raises(CheckpointError, match=r"under another config\.json of this run"):
            tiny.train(run, **PLAN)
    assert saved_steps(run) == [3, 6, 9, 12]


def test_more_steps_are_said_to_change_a_schedule(run, capsys):
    tiny.train(run, **PLAN)
    assert capsys.readouterr().err == ""
    tiny.train(run, **{**PLAN, "steps": 7})
    (line,) = capsys.readouterr().err.splitlines()
    assert "steps=7, but this run was planned for 6" in line
    assert "schedule" in line


def older(run):
    """The run as it was written before runs had identities."""
    stored = body(read_config(run))
    del stored["fit"]["steps"]
    (run / "config.json").write_text(json.dumps(stored))
    for step in saved_steps(run):
        folder = steps_of(run) / str(step)
        path = folder / "manifest.json"
        manifest = json.loads(path.read_text())
        manifest["best"], manifest["metrics"] = step, {"score": float(step)}
        for name in ("run", "config", "log", "evaluated_later", "sha256"):
            manifest.pop(name, None)
        (folder / "numbers.json").unlink()
        path.write_text(json.dumps({**manifest, "sha256": digest_of(manifest)}))


def test_older_runs_are_read_with_a_warning_and_get_an_identity(run, pair, capsys):
    older(run)
    capsys.readouterr()
    assert training.restore_state(run, pair[1], step="best")[1] == 6
    (line,) = capsys.readouterr().err.splitlines()
    assert "was written before runs had identities" in line
    state = tiny.train(run, **{**PLAN, "steps": 9}, **BEST)
    assert tiny.bits(state) == tiny.bits(tiny.train(**{**PLAN, "steps": 9}))
    assert "run_identity" in read_config(run)
    capsys.readouterr()
    for step in (3, 6, 9):
        training.restore_state(run, pair[1], step=step)
    assert training.restore_state(run, pair[1], step="best")[1] == 9
    assert capsys.readouterr().err == ""


def test_a_configuration_without_a_seal_beside_sealed_steps(run, pair):
    """What makes a run look older than it is does not make it readable."""
    (run / "config.json").write_text(json.dumps(body(read_config(run))))
    text = (run / "config.json").read_text()
    with pytest.raises(CheckpointError, match="is of run"):
        tiny.train(run, **PLAN)
    with pytest.raises(CheckpointError, match="is of run"):
        training.restore_state(run, pair[1])
    assert (run / "config.json").read_text() == text


@pytest.mark.parametrize("content", ['{"fit": {}}', '{"fit": {"key": [0, 0]}}', "other"])
def test_another_configuration_is_no_change_to_allow(tmp_path, run, content):
    """It differs, but it is not that of the checkpoints: nothing can be accepted."""
    if content == "other":
        tiny.train(tmp_path / "other", steps=1, seed=1)
        content = (tmp_path / "other" / "config.json").read_text()
    (run / "config.json").write_text(content)
    with pytest.raises(CheckpointError, match=r"is of run|no checkpoint is of the run"):
        tiny.train(run, **PLAN)
    assert (run / "config.json").read_text() == content
    assert saved_steps(run) == [3, 6]


def test_messages_name_the_run(run):
    """Not the open directory that is written through."""
    (run / "config.json").unlink()
    (run / "config.json").mkdir()
    with pytest.raises(CheckpointError, match="damaged") as caught:
        tiny.train(run, **PLAN)
    assert "/proc/" not in str(caught.value)
    assert f"{run}/config.json" in str(caught.value)


def test_a_seal_does_not_hide_the_run(tmp_path):
    """A sealed configuration with no checkpoint is a run that has not begun."""
    with pytest.raises(ConfigError, match="holds no run"):
        read_config(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps(sealed({"fit": {}})))
    assert body(read_config(tmp_path)) == {"fit": {}}


@pytest.mark.parametrize("name", ["²", "٣", "007", "-1", "1.5", "1e3"])
def test_folders_that_are_no_step(run, pair, name):
    shutil.copytree(steps_of(run) / "6", steps_of(run) / name)
    assert saved_steps(run) == [3, 6]
    assert training.restore_state(run, pair[1])[1] == 6
    tiny.train(run, **PLAN)


@pytest.mark.parametrize("text", ["[" * 100_000, "null", "[]", "0", '{"sha256": "x"}'])
def test_manifests_that_are_none(run, pair, text):
    (steps_of(run) / "6" / "manifest.json").write_text(text)
    assert training.restore_state(run, pair[1])[1] == 3


def test_a_changed_setting_of_jax_is_said(run, capsys):
    with jax.default_matmul_precision("highest"):
        tiny.train(run, **PLAN)
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("warning: settings changed since this run began: ")
    assert line.endswith("jax_default_matmul_precision None -> highest")
    os.environ["XLA_FLAGS"], before = "--xla_dump_to=", os.environ.get("XLA_FLAGS")
    try:
        tiny.train(run, **PLAN)
    finally:
        os.environ.pop("XLA_FLAGS")
        if before is not None:
            os.environ["XLA_FLAGS"] = before
    assert "XLA_FLAGS None -> --xla_dump_to=" in capsys.readouterr().err


def test_training_without_jit_is_refused_in_one_line():
    with jax.disable_jit(), pytest.raises(ConfigError, match="JAX_DISABLE_JIT is set"):
        tiny.train(steps=1)
