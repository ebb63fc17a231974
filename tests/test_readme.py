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


BLOCKS = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)


def run_block(block, whole, short):
    assert whole in block
    names: dict = {}
    exec(compile(block.replace(whole, short), "README.md", "exec"), names)
    return names


def test_first_example_runs():
    names = run_block(BLOCKS[0], "steps=1500, batch_size=128", "steps=2, batch_size=16")
    assert names["images"].shape == (20, 8, 8, 1)
    assert names["images"].dtype == np.uint8
    assert np.isfinite(names["nats"]).all()


def test_example_of_own_parts_runs():
    names = run_block(BLOCKS[1], "steps=200, batch_size=64", "steps=2, batch_size=16")
    state, model = names["state"], names["model"]
    images = model.sample(names["jax"].random.key(0), state, 3, num_steps=2)
    assert images.shape == (3, 8, 8, 3)
    assert len(BLOCKS) == 2


def test_readme_is_short_and_its_links_exist():
    assert len(TEXT.encode()) < 10_240
    made = {"generated", "_build"}  # by `make docs`, which checks links to them
    pages = [page for page in (ROOT / "docs").rglob("*.md") if not made & {*page.parts}]
    for page in (ROOT / "README.md", *pages):
        text = page.read_text(encoding="utf-8")
        for link in re.findall(r"\]\(([^)#]+)(#[^)]*)?\)", text):
            target = page.parent / link[0]
            if made & {*target.parts}:
                continue
            assert link[0].startswith("http") or target.exists(), (page.name, link[0])
            if link[1]:
                title = r"^#+ (.*)$"
                heads = re.findall(title, target.read_text(encoding="utf-8"), re.MULTILINE)
                names = {re.sub(r"[^a-z0-9 -]", "", h.lower()).replace(" ", "-") for h in heads}
                assert link[1][1:] in names, (page.name, *link)


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
