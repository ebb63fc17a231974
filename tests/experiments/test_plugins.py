"""Methods in a user's own file are chosen by their name, in every command of the run."""

import importlib
import inspect
import json
import pkgutil
import re
import sys
from pathlib import Path

import numpy as np
import pytest

import experiments
from experiments.shared.command_line import RUNS, read_options
from experiments.shared.sampling import SamplingConfig
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
    diffusion.WEIGHTINGS.pop("gentle", None)


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
    words += ("--weighting", "gentle", "--dataset", "8gaussians")
    words += ("--steps", 2, "--batch-size", 16, "--sampling-steps", 2)
    refused = command("diffusion", *words, "--directory", run)
    assert refused.code == 2
    assert "path='bent'" in refused.err
    words += ("--plugin", "my_methods")
    refused = command("diffusion", *words, "--network.depth", 3, "--directory", run)
    assert refused.code == 2
    assert "network.name='line' with network.width=8, network.depth=3: " in refused.err
    ended = command("diffusion", *words, "--directory", run)
    assert ended.code == 0, ended.err
    forget()
    ended = command("sample", run, "--num", 8, "--output", tmp_path / "a.npz")  # of the run itself
    assert ended.code == 0, ended.err
    assert np.load(tmp_path / "a.npz")["arr_0"].shape == (8, 2)
    forget()
    half = ("--stepper", "half", "--num", 8, "--output", tmp_path / "b.npz")
    ended = command("sample", run, *half)
    assert ended.code == 0, ended.err
    forget()
    words = ("--from", run, "--steps", 3, "--directory", tmp_path / "tuned", *words[:-6])
    ended = command("diffusion", *words)
    assert ended.code == 0, ended.err


def test_modules_of_bases_and_of_other_runs_are_imported(own_file, tmp_path, monkeypatch):
    """Before any name is looked up, whatever option names the run; not those of broken runs."""
    base = {"config": {"plugin": "my_methods"}}
    for name, stored in {"teacher": base, "student": {"from": {"base": base}}, "odd": [1]}.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text(json.dumps(stored))
    for name, known in {"teacher": True, "student": True, "odd": False, "none": False}.items():
        forget()
        monkeypatch.setattr(sys, "argv", ["sample", "nowhere", "--classifier", tmp_path / name])
        sys.argv = [*map(str, sys.argv)]
        read_options(SamplingConfig, None)
        assert ("half" in diffusion.STEPPERS) == known


def test_every_option_that_names_a_run_is_known():
    """By what its help says."""
    found = set()
    for module in pkgutil.iter_modules(experiments.__path__):
        if module.ispkg:
            continue
        kind = getattr(importlib.import_module(f"experiments.{module.name}"), "Config", None)
        for owner in getattr(kind, "__mro__", ()):
            source = inspect.getsource(owner) if owner.__module__.startswith("experiments") else ""
            pattern = r'^    (\w+):(?:(?!^    \w+:).)*?"""(?:Directory of (?:the|a)\b|A run\b)'
            found |= set(re.findall(pattern, source, re.M | re.S))
    assert found == {*RUNS}


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
