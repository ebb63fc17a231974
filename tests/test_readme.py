"""What the README shows is run: its Python example shortened, its commands in small."""

import importlib
import re
import shlex
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")
COMMANDS = re.findall(r"^python -m (experiments\.\w+.*?)(?:\s+#.*)?$", TEXT, re.MULTILINE)
TRAIN = ("experiments.diffusion", "experiments.flow_matching")
SMALL = ["--steps", "3", "--batch-size", "8", "--network.width", "16", "--network.depth", "1"]
OTHERS = {
    "experiments.mixture": ["--steps", "2"],
    "experiments.mcmc": ["--steps", "2", "--chains", "8", "--recorded", "8"],
    "experiments.flow": ["--steps", "2", "--batch-size", "8", "--layers", "2", "--hidden", "8"],
    "experiments.made": ["--steps", "2", "--batch-size", "8", "--hidden", "8"],
    "experiments.ebm": [
        "--steps",
        "2",
        "--batch-size",
        "8",
        "--features",
        "8",
        "--chain-steps",
        "2",
    ],
    "experiments.gan": ["--steps", "2", "--batch-size", "8", "--widths", "8"],
    "experiments.vae": ["--steps", "2", "--batch-size", "8", "--hidden", "8"],
    "experiments.temperflow": ["--steps", "2", "--flow.bins", "4", "--schedule.batch-size", "20"],
}


def test_python_example_runs():
    block = re.search(r"```python\n(.*?)```", TEXT, re.DOTALL).group(1)
    assert "steps=1500, batch_size=128" in block
    short = block.replace("steps=1500, batch_size=128", "steps=2, batch_size=16")
    names: dict = {}
    exec(compile(short, "README.md", "exec"), names)
    assert names["images"].shape == (20, 8, 8, 1)
    assert names["images"].dtype == np.uint8
    assert np.isfinite(names["nats"]).all()


def test_readme_has_commands():
    assert {command.split()[0] for command in COMMANDS} >= {*TRAIN, "experiments.sample"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("readme")


@pytest.mark.parametrize("command", COMMANDS)
def test_command_runs(command, folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    module, *arguments = shlex.split(command)
    if module in TRAIN:
        arguments += SMALL
    elif module in OTHERS:
        arguments += OTHERS[module]
    elif any(word.startswith("runs/") for word in arguments):
        arguments += ["--num", "40"]
        arguments += ["--likelihood", "2"] if module == "experiments.evaluate" else []
        if not (folder / "runs/diffusion-digits/config.json").exists():
            run("experiments.diffusion", SMALL, monkeypatch)
    run(module, arguments, monkeypatch)
    assert capsys.readouterr().out


def run(module: str, arguments: list[str], monkeypatch) -> None:
    monkeypatch.setattr(sys, "argv", [module, *arguments])
    importlib.import_module(module).main()
