"""A disk that is full: training goes on, warns, tries again, and gives up after three failures."""

import asyncio
import errno
import gc
import shutil
import subprocess

import harness
import orbax.checkpoint as ocp
import pytest
import tiny

from gen_jax.errors import ResourceError
from gen_jax.training import session
from gen_jax.training.checkpoint import Checkpoints, saved_steps
from gen_jax.training.manifest import verify


@pytest.fixture
def failing_saves(monkeypatch):
    """`fail(numbers)`: the saves with these numbers, from 1 on, end in "no space left"."""
    original, calls = ocp.StandardCheckpointer.save, []

    def fail(numbers):
        def save(self, *args, **kwargs):
            calls.append(None)
            if len(calls) in numbers:
                raise OSError(errno.ENOSPC, "No space left on device")
            return original(self, *args, **kwargs)

        monkeypatch.setattr(ocp.StandardCheckpointer, "save", save)
        return calls

    return fail


def test_two_failures_in_a_row_are_survived(tmp_path, failing_saves, capsys):
    failing_saves({2, 3})
    state = tiny.train(tmp_path, steps=15)
    assert tiny.bits(state) == tiny.bits(tiny.train(steps=15))
    assert saved_steps(tmp_path) == [3, 12, 15]
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2
    assert all("No space left on device" in x and "tries again" in x for x in lines)


def test_three_failures_in_a_row_end_the_run(tmp_path, failing_saves):
    calls = failing_saves({2, 3, 4})
    with pytest.raises(ResourceError, match=r"3 times in a row.*No space left"):
        tiny.train(tmp_path, steps=100)
    assert len(calls) == 4
    assert saved_steps(tmp_path) == [3]
    assert int(tiny.train(tmp_path, steps=15).count) == 15


def test_the_last_save_is_tried_again(tmp_path, failing_saves):
    """A run is not DONE before its last state is durable."""
    failing_saves({1, 2})
    tiny.train(tmp_path, steps=2)
    assert saved_steps(tmp_path) == [2]
    assert (tmp_path / "DONE").exists()


def test_a_last_save_that_cannot_be_is_an_error(tmp_path, failing_saves):
    failing_saves({1, 2, 3})
    with pytest.raises(ResourceError):
        tiny.train(tmp_path, steps=2)
    assert not (tmp_path / "DONE").exists()


def test_a_failed_best_does_not_displace_the_best(tmp_path, failing_saves):
    """Step 2 would be the best, but could not be saved: step 1 stays."""
    failing_saves({2})
    checkpoints = Checkpoints(tmp_path, keep=1, best=("score", "min"))
    for step, score in ((1, 5.0), (2, 1.0), (3, 9.0)):
        checkpoints.save(step, {"w": tiny.data()["x"]}, {"score": score})
    checkpoints.wait()
    assert saved_steps(tmp_path) == [1, 3]


def test_a_failed_clean_up_keeps_what_was_saved(tmp_path, monkeypatch, capsys):
    checkpoints = Checkpoints(tmp_path, keep=1)
    for step in (1, 2):
        (tmp_path / "checkpoints" / "trash-1").write_text("in the way")
        checkpoints.save(step, {"w": tiny.data()["x"]}, {})
        checkpoints.wait()
    assert (checkpoints.saved, checkpoints.failures) == (2, 0)
    assert saved_steps(tmp_path) == [1, 2]
    assert "step 1 could not be removed" in capsys.readouterr().err


def test_samples_and_report_on_a_full_disk_cost_a_warning(tmp_path, monkeypatch, capsys):
    def full(*args):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(session, "write_report", full)
    state = tiny.train(tmp_path, steps=4, sample_every=3, on_sample=full)
    assert int(state.count) == 4
    error = capsys.readouterr().err
    assert "samples of step 3 were not written" in error
    assert "its report is not" in error


def test_what_orbax_leaves_in_futures_is_not_reported_again(tmp_path, caplog):
    """asyncio reports an exception that nobody asked a future for when the future is collected."""

    def leave(folder):
        file = tmp_path / folder / "writing.py"
        code = compile("raise ValueError('full')", str(file), "exec")
        loop = asyncio.new_event_loop()
        try:
            exec(code, {})
        except ValueError as error:
            loop.create_future().set_exception(error)
        loop.close()
        gc.collect()

    leave("orbax")
    assert not caplog.records
    leave("elsewhere")
    assert "exception was never retrieved" in caplog.text


def namespaced(script, *arguments):
    """Run a shell script as root of a mount namespace of its own."""
    return subprocess.run(
        ["unshare", "-Urm", "bash", "-c", script, "bash", *map(str, arguments)],
        env=harness.environment(),
        capture_output=True,
        text=True,
        timeout=120,
    )


needs_namespaces = pytest.mark.skipif(
    not shutil.which("unshare")
    or subprocess.run(["unshare", "-Urm", "mount", "-t", "tmpfs", "x", "/mnt"]).returncode != 0,
    reason="user namespaces are not available",
)


@needs_namespaces
def test_real_full_disk(tmp_path):
    """2 MB of disk and 0.8 MB of state: two saves fit, the third, fourth and fifth do not."""
    disk, copy = tmp_path / "disk", tmp_path / "copy"
    disk.mkdir()
    plan = {"steps": 40, "keep": 9, "make": {"padding": 200_000}}
    script = (
        'mount -t tmpfs -o size=2m tmpfs "$1" && shift && "${@:2}"; code=$?; '
        f'cp -r "{disk}/run" "$1"; exit $code'
    )
    ended = namespaced(script, disk, copy, *harness.command(disk / "run", **plan))
    lines = ended.stderr.splitlines()
    assert ended.returncode == 6, ended.stderr
    assert lines[-1].startswith("error: saving failed 3 times in a row")
    assert sum(line.startswith("warning: saving failed") for line in lines) == 2
    assert not [line for line in lines if not line.startswith(("MARK", "warning: ", "error: "))]
    steps = saved_steps(copy)
    assert steps[-1] == harness.acknowledged(lines)
    for step in steps:
        verify(copy / "checkpoints" / str(step))


@needs_namespaces
def test_read_only_directory(tmp_path):
    """A mount, because root does not mind permission bits."""
    script = 'mkdir -p "$1/new" && mount -t tmpfs -o ro tmpfs "$1" && shift && "$@"'
    started = namespaced(script, tmp_path, *harness.command(tmp_path / "run"))
    assert started.returncode == 6, started.stderr
    assert started.stderr.splitlines()[-1].startswith("error: directory=")
    assert "Read-only file system" in started.stderr
    assert started.stderr.count("\n") == 1
