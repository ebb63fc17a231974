"""A run directory that is moved, replaced or removed while its run is under way."""

import json
import os
import shutil
import subprocess

import harness
import pytest
import tiny

from gen_jax import training
from gen_jax.errors import CheckpointError
from gen_jax.training.checkpoint import Checkpoints, saved_steps
from gen_jax.training.identity import read_config
from gen_jax.training.place import Place
from gen_jax.training.rundir import check_same_run

PLAN = {"steps": 40, "save_every": 4, "keep": 99, "steps_per_call": 1, "log_every": 2}


def waiting(directory, at, **options):
    """A process that waits in `on_sample` at step `at` until directory.go exists."""
    process = subprocess.Popen(
        harness.command(directory, wait=[at, f"{directory}.go"], **{**PLAN, **options}),
        env=harness.environment(),
        stderr=subprocess.PIPE,
        text=True,
    )
    lines = []
    for line in process.stderr:
        lines.append(line)
        if line.split() == ["MARK", "sample", str(at)]:
            return process, lines
    raise AssertionError(lines)


def ended(process, directory):
    """Let the process go on; its exit code and the rest of its lines."""
    (directory.parent / f"{directory.name}.go").touch()
    text = process.communicate(timeout=120)[1]
    return process.returncode, text.splitlines()


def listing(directory):
    """Every file and its content."""
    files = [path for path in sorted(directory.rglob("*")) if path.is_file()]
    return {str(path.relative_to(directory)): path.read_bytes() for path in files}


@pytest.mark.parametrize("at", [3, pytest.param(8, marks=pytest.mark.slow)])
def test_two_processes_one_name(tmp_path, at):
    """RUN is moved under a live run, another run begins at RUN: neither touches the other's."""
    run, old = tmp_path / "run", tmp_path / "old"
    first, _ = waiting(run, at)
    run.rename(old)
    tiny.train(run, seed=1, **{**PLAN, "steps": 8})
    before = listing(run)
    code, lines = ended(first, run)
    assert code == 4, lines
    assert f"{run} was moved to {old}" in lines[-1]
    assert listing(run) == before
    assert tiny.bits(tiny.train(run, seed=1, **PLAN)) == tiny.bits(tiny.train(seed=1, **PLAN))
    last = saved_steps(old)[-1]
    assert last in (at, at + 1)
    assert f"ends at step {last}" in lines[-1]
    state = tiny.train(old, **PLAN)
    assert tiny.bits(state) == tiny.bits(tiny.train(**PLAN))
    records = [json.loads(x)["step"] for x in (old / "metrics.jsonl").read_text().splitlines()]
    assert records == list(range(2, 41, 2))


def test_a_run_that_is_removed_says_so(tmp_path):
    run = tmp_path / "run"
    process, _ = waiting(run, 3)
    shutil.rmtree(run)
    tiny.train(run, seed=1, **{**PLAN, "steps": 8})
    before = listing(run)
    code, lines = ended(process, run)
    assert code == 4, lines
    assert "no longer the directory of this run" in lines[-1]
    assert listing(run) == before


def test_a_save_under_way_follows_its_directory(tmp_path, monkeypatch):
    """Moved when the arrays are written, and another directory has the name already."""
    import orbax.checkpoint as ocp

    run, old = tmp_path / "run", tmp_path / "old"
    (run / "checkpoints").mkdir(parents=True)
    place = Place(run)
    original = ocp.StandardCheckpointer.save

    def move_and_save(self, *args, **kwargs):
        run.rename(old)
        (run / "checkpoints" / "saving-1").mkdir(parents=True)
        return original(self, *args, **kwargs)

    monkeypatch.setattr(ocp.StandardCheckpointer, "save", move_and_save)
    checkpoints = Checkpoints(run, keep=1, place=place)
    checkpoints.save(1, tiny.data(), {})
    checkpoints.wait()
    assert saved_steps(old) == [1]
    assert listing(run) == {}
    assert tiny.bits(training.restore_state(old, tiny.data())[0]) == tiny.bits(tiny.data())
    place.close()


def test_the_lock_is_that_of_the_directory(tmp_path):
    """Removed: made again, and still held. Replaced by another run: given up."""
    place = Place(tmp_path)
    (tmp_path / ".lock").unlink()
    assert place.in_place()
    with pytest.raises(CheckpointError, match="in use by another run"):
        Place(tmp_path)
    (tmp_path / ".lock").unlink()
    other = Place(tmp_path)
    assert not place.in_place()
    assert not place.is_ours()
    assert place.found() is None
    assert other.in_place()
    other.close()
    place.close()
    Place(tmp_path).close()


def test_another_run_in_the_same_directory_ends_this_one(tmp_path):
    """Its lock file was removed and made by another run: nothing more is written."""

    def replace(step, state):
        if step == 3:
            (tmp_path / ".lock").unlink()
            others.append(Place(tmp_path))

    others = []
    with pytest.raises(CheckpointError, match="no longer the directory of this run"):
        tiny.train(tmp_path, sample_every=1, on_sample=replace, **PLAN)
    assert saved_steps(tmp_path) == []
    others[0].close()


@pytest.mark.parametrize("link", [True, False])
def test_other_checkpoints_in_the_place_of_these(tmp_path, link):
    """A link to those of another run, or those themselves: nothing is written there."""
    run, other = tmp_path / "run", tmp_path / "other"
    tiny.train(other, **{**PLAN, "steps": 4})
    before = listing(other / "checkpoints")

    def replace(step, state):
        if step == 3:
            (run / "checkpoints").rename(tmp_path / "away")
            if link:
                (run / "checkpoints").symlink_to(other / "checkpoints")
            else:
                shutil.copytree(other / "checkpoints", run / "checkpoints")

    with pytest.raises(CheckpointError, match="no longer the directory of this run"):
        tiny.train(run, seed=1, sample_every=1, on_sample=replace, **PLAN)
    assert listing(run / "checkpoints") == listing(other / "checkpoints") == before
    assert not (run / "DONE").exists()


@pytest.mark.parametrize("content", [None, b"another", b"{}"])
def test_another_configuration_in_the_place_of_this_one(tmp_path, content):
    """The step is saved; with the old config.json back, the run goes on as if nothing was."""
    tiny.train(tmp_path / "other", **{**PLAN, "steps": 1})
    another = (tmp_path / "other" / "config.json").read_bytes()
    run, kept = tmp_path / "run", []

    def replace(step, state):
        if step == 3:
            kept.append((run / "config.json").read_bytes())
            (run / "config.json").unlink()
            if content is not None:
                (run / "config.json").write_bytes(another if content == b"another" else content)

    with pytest.raises(CheckpointError, match=r"config\.json was removed or replaced"):
        tiny.train(run, sample_every=1, on_sample=replace, **PLAN)
    assert saved_steps(run) == [3]
    assert not (run / "DONE").exists()
    (run / "config.json").write_bytes(kept[0])
    assert tiny.bits(tiny.train(run, **PLAN)) == tiny.bits(tiny.train(**PLAN))


def test_the_same_configuration_written_anew_is_the_same(tmp_path):
    def again(step, state):
        path = tmp_path / "config.json"
        text = path.read_bytes()
        path.unlink()
        path.write_bytes(text)

    tiny.train(tmp_path, sample_every=20, on_sample=again, **PLAN)
    assert (tmp_path / "DONE").exists()


def test_a_link_that_is_turned_elsewhere(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    (tmp_path / "run").symlink_to("a")

    def turn(step, state):
        if step == 3:
            os.unlink(tmp_path / "run")
            (tmp_path / "run").symlink_to("b")

    with pytest.raises(CheckpointError, match=f"moved to {tmp_path / 'a'}"):
        tiny.train(tmp_path / "run", sample_every=1, on_sample=turn, **PLAN)
    assert saved_steps(tmp_path / "a") == [3]
    assert listing(tmp_path / "b") == {}


def test_what_is_written_by_name_asks_first(tmp_path):
    """Pictures are drawn for a while, and then written into whatever has the name."""
    run = tmp_path / "run"
    tiny.train(run, steps=1)
    check_same_run(run)
    check_same_run(tmp_path / "never opened")
    identity = read_config(run)["run_identity"]
    run.rename(tmp_path / "old")
    with pytest.raises(CheckpointError, match="moved, removed or replaced"):
        check_same_run(run)
    shutil.copytree(tmp_path / "old", run)
    check_same_run(run)
    shutil.rmtree(run)
    tiny.train(run, steps=1)
    check_same_run(run)
    assert read_config(run)["run_identity"] != identity
