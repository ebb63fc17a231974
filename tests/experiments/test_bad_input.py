"""Mistakes a user makes: each ends in one line that names the argument, and in its exit code.

2 usage or configuration, 3 data, 4 checkpoint, 5 numbers, 6 resources; in under five seconds.
"""

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from command_mistakes import OTHERS, TRAINING, USAGE
from PIL import Image

from gen_jax.training.identity import body, sealed

SECONDS = 5.0


@pytest.fixture(scope="module")
def places(digits_run, points_run, guide_run, mixture_run, elsewhere):
    """Folders with something wrong, and runs, by the names used in the tables."""
    grey = lambda size: Image.fromarray(np.zeros((size, size), np.uint8))
    for folder in ("empty", "unreadable", "unequal", "same"):
        Path(folder).mkdir()
    Path("afile").write_text("")
    Path("folder.png").mkdir()
    Path("folder2.gif").mkdir()
    Path("null.png").symlink_to("/dev/null")
    for folder, sides in (("unreadable", (8, None)), ("unequal", (8, 9)), ("same", (8, 8))):
        for name, side in zip("ab", sides):
            path = Path(folder) / f"{name}.png"
            path.write_bytes(b"not a picture") if side is None else grey(side).save(path)
    names = ("DAMAGED", "DAMAGED_CONFIG", "HALF_CONFIG", "ODD_CONFIG", "ODD_PATH", "NO_CHECKPOINT")
    names += ("SEALED", "OF_FIT")
    broken = {name: Path(name).absolute() for name in names}
    for path in broken.values():
        shutil.copytree(digits_run, path)
    (broken["DAMAGED_CONFIG"] / "config.json").write_text('{"experiment": "diff')
    half = sealed({"experiment": "diffusion", "config": {}})
    (broken["HALF_CONFIG"] / "config.json").write_text(json.dumps(half))
    of_fit = sealed({"fit": {"batch_size": 32, "steps": 60}})
    (broken["OF_FIT"] / "config.json").write_text(json.dumps(of_fit))
    for name, field, value in (("ODD_CONFIG", "wings", 2), ("ODD_PATH", "path", "cosin")):
        stored = json.loads((broken[name] / "config.json").read_text())
        stored["config"][field] = value
        (broken[name] / "config.json").write_text(json.dumps(sealed(body(stored), stored)))
    shutil.rmtree(broken["NO_CHECKPOINT"] / "checkpoints")
    (broken["SEALED"] / "evaluation.json").mkdir()
    state = broken["DAMAGED"] / "checkpoints" / "4" / "state"
    largest = max(state.rglob("*"), key=lambda path: path.stat().st_size * path.is_file())
    content = bytearray(largest.read_bytes())
    content[len(content) // 2] ^= 1
    largest.write_bytes(content)
    runs = {"RUN": digits_run, "POINTS": points_run, "GUIDE": guide_run, "MIXTURE": mixture_run}
    return {**runs, **broken}


def refused(ended, code, words):
    """The exit code, one line, every word of the table in it."""
    assert ended.code == code, ended.err
    lines = ended.err.splitlines()
    assert len(lines) == 1, ended.err
    assert lines[0].startswith("error: ")
    assert [word for word in words.split() if word not in lines[0]] == [], lines[0]


def filled(line, places):
    return [places.get(word, word) for word in line.split()]


@pytest.mark.parametrize("mistake", TRAINING)
def test_training(command, places, small, tmp_path, monkeypatch, mistake):
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    line, code, words = TRAINING[mistake]
    words_given = filled(line, places)
    options = [*small, "--steps", 4, "--save-every", 2, "--directory", tmp_path / "run"]
    begun = time.process_time()
    refused(command("diffusion", *options, *words_given), code, words)
    assert time.process_time() - begun < SECONDS
    assert not (tmp_path / "run" / "checkpoints").exists()


@pytest.mark.parametrize("mistake", OTHERS)
def test_other_commands(command, places, mistake):
    line, code, words = OTHERS[mistake]
    name, *given = filled(line, places)
    begun = time.process_time()
    refused(command(name, *given), code, words)
    assert time.process_time() - begun < SECONDS


@pytest.mark.parametrize("mistake", USAGE)
def test_usage(command, mistake):
    line, word = USAGE[mistake]
    ended = command(*line.split())
    assert ended.code == 2
    assert word in ended.err
    assert "Traceback" not in ended.err


def test_only_damaged_checkpoints(command, places, tmp_path):
    """Without a step the older one serves, with a warning; when all are damaged, an error."""
    run = tmp_path / "run"
    shutil.copytree(places["DAMAGED"], run)
    ended = command("sample", run, "--num", 4, "--steps", 2)
    assert ended.code == 0, ended.err
    assert "samples of step 2" in ended.out
    assert "warning" in ended.err
    (run / "checkpoints" / "2" / "manifest.json").unlink()
    ended = command("sample", run, "--num", 4, "--steps", 2)
    assert ended.code == 4
    assert ended.err.splitlines()[-1].startswith("error: ")
    assert "[2, 4] are damaged" in ended.err


def test_a_loss_that_diverges_is_named(command, small, tmp_path):
    words = ("--steps", 200, "--learning-rate", 1e30, "--directory", tmp_path / "run")
    ended = command("diffusion", *small, *words)
    assert ended.code == 5, ended.err
    last = ended.err.splitlines()[-1]
    assert "loss" in last
    assert "not finite at step" in last


def test_a_change_that_is_named_is_accepted(command, places, small, tmp_path):
    """With the very words of the refusal; the run is at its last step, so nothing is trained."""
    run = tmp_path / "run"
    shutil.copytree(places["RUN"], run)
    again = ("--steps", 4, "--save-every", 2, "--directory", run, "--ema-decay", 0.5)
    refusal = command("diffusion", *small, *again)
    assert refusal.code == 2
    words = refusal.err.split("accept it: ")[1].split(",")[0].split()
    assert words == ["--allow-changed", "ema_decay"]
    ended = command("diffusion", *small, *again, *words)
    assert ended.code == 0, ended.err
    assert json.loads((run / "config.json").read_text())["config"]["ema_decay"] == 0.5


def test_debug_shows_the_traceback(command):
    assert "Traceback" in command("diffusion", "--path", "cosin", "--debug").err


@pytest.mark.parametrize(
    ("words", "code", "word"),
    [
        (("diffusion", "--dataset", "moonz"), 2, "moonz"),
        (("diffusion", "--dataset", "folder:empty"), 3, "empty"),
        (("sample", "nowhere"), 2, "nowhere"),
    ],
)
def test_whole_command_in_five_seconds(places, monkeypatch, words, code, word):
    """Python's start and jax's import included, from bytecode that the first try may write;
    processor time, which other work can stretch: the least of three tries counts."""
    monkeypatch.delenv("PYTHONDONTWRITEBYTECODE", raising=False)
    line = [sys.executable, "-m", f"experiments.{words[0]}", *words[1:]]
    spent = SECONDS
    for _ in range(3):
        before = os.times()
        ended = subprocess.run(line, capture_output=True, text=True, timeout=60)
        after = os.times()
        spent = after.children_user + after.children_system
        spent -= before.children_user + before.children_system
        assert ended.returncode == code
        assert len(ended.stderr.splitlines()) == 1, ended.stderr
        assert word in ended.stderr
        if spent < SECONDS:
            break
    assert 0 < spent < SECONDS
