"""A user's own module, imported before names are looked up, so that its methods have names."""

import contextlib
import importlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from gen_jax.errors import ConfigError, GenJaxError
from gen_jax.training.files import read_json


def load_plugin(module: str | None) -> None:
    """Import `module`, which adds its rows to registries (`paths.PATHS["mine"] = mine`).

    Raises ConfigError when it cannot be imported, and lets errors of this package through.
    """
    if module is None:
        return
    try:
        importlib.import_module(module)
    except GenJaxError:
        raise
    except Exception as error:
        hint = f": write {module[:-3]!r}" if module.endswith(".py") else ""
        raise ConfigError(
            f"plugin={module!r} cannot be imported ({type(error).__name__}: {error}){hint}"
        ) from error


def _named(stored: Any) -> Iterator[str]:
    """The modules that a run's config.json names: of its bases first, then its own."""
    if isinstance(stored, Mapping):
        below, own = stored.get("from"), stored.get("config")
        yield from _named(below.get("base") if isinstance(below, Mapping) else None)
        module = own.get("plugin") if isinstance(own, Mapping) else None
        if isinstance(module, str):
            yield module


def load_plugins_of(runs: Iterable[str | Path | None]) -> None:
    """Import the modules that runs were trained with, before anything of them is rebuilt.

    A directory without a readable run is left to what reads it. Raises as `load_plugin`.
    """
    for directory in runs:
        stored: Any = None
        if directory is not None:
            with contextlib.suppress(OSError, ValueError):
                stored = read_json(Path(directory) / "config.json")
        for module in _named(stored):
            load_plugin(module)
