"""The help of every command: the command as it is typed, and its examples as they were written."""

import importlib
import inspect
import pkgutil

import pytest

import experiments

COMMANDS = [
    module.name
    for module in pkgutil.iter_modules(experiments.__path__)
    if not module.ispkg and hasattr(importlib.import_module(f"experiments.{module.name}"), "main")
]


@pytest.mark.parametrize("name", COMMANDS)
def test_help_shows_the_command_and_its_examples(command, name):
    ended = command(name, "--help")
    assert ended.code == 0, ended.err
    shown = ended.out.splitlines()
    assert shown[0].startswith(f"usage: python -m experiments.{name} ")
    document = inspect.getdoc(importlib.import_module(f"experiments.{name}"))
    examples = [line for line in document.splitlines() if line.strip().startswith("python -m")]
    assert examples
    assert all(line.startswith("    ") for line in examples)
    for line in examples:
        assert line.rstrip() in shown
