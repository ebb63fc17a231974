"""What every command does with its words: options by type, help as it was written, own methods."""

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar

import tyro

from experiments.shared.plugins import load_plugins_of
from gen_jax.errors import GenJaxError

Options = TypeVar("Options")

RUNS = ("run", "initial_run", "classifier", "background", "prior")
"""Options that are directories of runs whose models the command rebuilds."""


def program(words: list[str]) -> str:
    """The command as it is typed, from `sys.argv`."""
    module = getattr(getattr(sys.modules["__main__"], "__spec__", None), "name", "")
    here = module.startswith("experiments.")
    return f"python -m {module if here else f'experiments.{Path(words[0]).stem}'}"


def read_options(kind: type[Options], description: str | None) -> Options:
    """The options of a command's words, once the modules that its runs were trained with are in.

    So the user's own methods have names before any name is looked up.
    """
    config: Any = tyro.cli(kind, prog=program(sys.argv), description=description)
    load_plugins_of(getattr(config, name, None) for name in RUNS)
    return config


@contextlib.contextmanager
def named_by(option: str) -> Iterator[None]:
    """An error in the name of a data set names this option, which is not `dataset`."""
    try:
        yield
    except GenJaxError as error:
        raise type(error)(str(error).replace("dataset=", f"{option}=", 1)) from error
