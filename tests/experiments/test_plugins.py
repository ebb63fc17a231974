"""Methods in a user's own file are chosen by their name, in every command of the run."""

import re
import sys
from pathlib import Path

import numpy as np
import pytest

from gen_jax import diffusion, nets, paths

PAGE = Path(__file__).parents[2] / "docs/guides/own_parts.md"
(SOURCE,) = re.findall(
    r"```{code-block} python\n:caption: my_methods.py\n(.*?)```", PAGE.read_text(), re.S
)
"""The file that the guide shows."""


def forget():
    """As in a new process: the file is not imported, its names are unknown."""
    sys.modules.pop("my_methods", None)
    paths.PATHS.pop("bent", None)
    nets.NETWORKS.pop("line", None)
    diffusion.STEPPERS.pop("half", None)


@pytest.fixture
def own_file(tmp_path, monkeypatch):
    """A file my_methods.py where Python looks for modules; forgotten afterwards."""
    (tmp_path / "my_methods.py").write_text(SOURCE)
    monkeypatch.syspath_prepend(tmp_path)
    yield
    forget()


def test_own_methods_have_names(command, own_file, tmp_path):
    run = tmp_path / "run"
    words = ("--path", "bent", "--network.name", "line", "--network.width", 8)
    words += ("--dataset", "8gaussians", "--steps", 2, "--batch-size", 16, "--sampling-steps", 2)
    refused = command("diffusion", *words, "--directory", run)
    assert refused.code == 2
    assert "path='bent'" in refused.err
    ended = command("diffusion", *words, "--plugin", "my_methods", "--directory", run)
    assert ended.code == 0, ended.err
    forget()
    ended = command("sample", run, "--num", 8, "--output", tmp_path / "a.npz")  # of the run itself
    assert ended.code == 0, ended.err
    assert np.load(tmp_path / "a.npz")["arr_0"].shape == (8, 2)
    forget()
    half = ("--stepper", "half", "--num", 8, "--output", tmp_path / "b.npz")
    assert command("sample", run, *half).code == 2
    ended = command("sample", run, *half, "--plugin", "my_methods")
    assert ended.code == 0, ended.err


@pytest.mark.parametrize(
    ("module", "words"),
    [("nowhere", "ModuleNotFoundError"), ("my_methods.py", "write 'my_methods'"), ("bad", "oops")],
)
def test_plugin_that_cannot_be_imported(command, own_file, tmp_path, module, words):
    (tmp_path / "bad.py").write_text("raise RuntimeError('oops')")
    ended = command("diffusion", "--plugin", module)
    assert ended.code == 2
    assert f"plugin={module!r} cannot be imported" in ended.err
    assert words in ended.err
