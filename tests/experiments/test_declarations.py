"""The registry of experiments: found in the sources, declared as typed values by the scripts."""

import ast
import inspect
import json
import pkgutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict

import experiments
from experiments.shared import registry, runner
from experiments.shared.config import RunConfig
from gen_jax.errors import ConfigError

TREES = {
    module.name: ast.parse(inspect.cleandoc((registry.FOLDER / f"{module.name}.py").read_text()))
    for module in pkgutil.iter_modules(experiments.__path__)
    if not module.ispkg
}


def defined(tree):
    """Names of the functions and classes of a module."""
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef)}


def test_every_script_that_builds_a_model_is_declared():
    builds = {name for name, tree in TREES.items() if {"Config", "build"} <= defined(tree)}
    assert builds == {*registry.EXPERIMENTS, *registry.GUIDES}
    assert not {*registry.EXPERIMENTS} & {*registry.GUIDES}


def test_declarations_hold_what_the_scripts_define():
    """Names are those of the modules, and every measure that a script defines is offered."""
    for name in (*registry.EXPERIMENTS, *registry.GUIDES):
        found = registry.find(name)
        assert (found.name, issubclass(found.config, RunConfig)) == (name, True)
        measures = {*PROTOCOLS}
        offered = {m for m in measures if getattr(found, m) is not None}
        assert defined(TREES[name]) & measures <= offered
        for measure in offered:
            wanted = inspect.signature(getattr(registry, PROTOCOLS[measure]).__call__).parameters
            assert len(inspect.signature(getattr(found, measure)).parameters) == len(wanted) - 1
        assert isinstance(found.build, Callable)


def test_families_are_read_from_the_sources():
    """Without an import; every experiment and every guide has one."""
    names = (*registry.EXPERIMENTS, *registry.GUIDES)
    read = {name: family for family, found in registry.families().items() for name in found}
    assert read == {name: registry.find(name).family for name in names}
    assert all(registry.kinds_of(name) == registry.find(name).kinds.split() for name in names)
    assert {registry.find(name).level for name in names} == {"first", "method", "research"}
    titles = {family: registry.title_of(family) for family in registry.families()}
    assert (titles["vae"], titles["flow matching"]) == ("VAE", "Flow matching")
    assert all(title == title[:1].upper() + title[1:] for title in titles.values())


PROTOCOLS = {"measure_test": "MeasureTest", "measure_target": "MeasureTarget", "bound": "Bound"}

IMPORTED = """
import json, sys
import experiments.evaluate
from experiments.shared import registry, runner
print(json.dumps([n for n in registry.EXPERIMENTS if f"experiments.{n}" in sys.modules]))
"""


def test_the_commands_import_no_experiment_before_they_need_it():
    ended = subprocess.run(
        [sys.executable, "-c", IMPORTED],
        cwd=registry.FOLDER.parent,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert json.loads(ended.stdout or "null") == [], ended.stderr


def test_text_is_refused_with_the_experiments_that_take_it(command, tmp_path):
    ended = command("vae", "--dataset", "genesis", "--directory", tmp_path / "run")
    assert ended.code == ConfigError.exit_code
    assert "is text, which is for: token_diffusion, transformer" in ended.err


def test_options_of_older_runs_are_read_by_their_new_names(command, tmp_path, monkeypatch):
    """A run of before `kind` was `prediction` is sampled, measured, refused, resumed as any."""
    run = tmp_path / "run"
    words = ("--network.width", 16, "--network.depth", 1, "--batch-size", 16, "--directory", run)
    train = lambda *more: command("diffusion", *words, "--sampling-steps", 2, *more)
    stored = lambda: json.loads((run / "config.json").read_text())["config"]
    with monkeypatch.context() as before:
        new = asdict
        old = lambda config: {{"prediction": "kind"}.get(k, k): v for k, v in new(config).items()}
        before.setattr(runner, "asdict", old)
        assert train("--steps", 2).code == 0
    assert stored()["kind"] == "v"
    assert command("sample", run, "--num", 2).code == 0
    assert command("evaluate", run, "--num", 12, "--likelihood", 0).code == 0
    refused = train("--steps", 4, "--prediction", "x0")
    assert refused.code == ConfigError.exit_code
    assert "configuration: config.prediction: 'v' -> 'x0' (" in refused.err
    ended = train("--steps", 4)
    assert (ended.code, "resumed at 2" in ended.err) == (0, True)
    assert (stored()["prediction"], "kind" in stored()) == ("v", False)
