"""The pairs of noise and data of a reflow in `pairs.npz`, and what they were drawn from."""

import json
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from experiments.shared.registry import Saved
from gen_jax import training
from gen_jax.errors import ConfigError, DataError
from gen_jax.training.console import warn
from gen_jax.training.identity import RUN
from gen_jax.writing import replacing

DAMAGES = (OSError, ValueError, EOFError, LookupError, TypeError, zipfile.BadZipFile, zlib.error)
NAME, ORIGIN = "pairs.npz", "drawn_from"


def origin(saved: Saved, **options: Any) -> dict[str, Any]:
    """Which step of which run draws the pairs, and how."""
    return {"run": training.read_config(saved.directory).get(RUN), "step": saved.step, **options}


def write_pairs(path: Path, pairs: dict[str, Any], drawn_from: dict[str, Any]) -> None:
    """The arrays, with their origin as text."""
    arrays: Any = {**pairs, ORIGIN: np.array(json.dumps(drawn_from))}
    with replacing(path) as file:
        np.savez(file, **arrays)


def read_pairs(path: Path, drawn_from: dict[str, Any] | None = None) -> dict[str, np.ndarray]:
    """The arrays of a file.

    Args:
      drawn_from: what they have to be drawn from; files that do not say it are taken as they are.
    Raises DataError for a damaged file, ConfigError for pairs of another origin.
    """
    try:
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as stored:
            arrays = dict(stored)
        text = str(arrays.pop(ORIGIN)) if ORIGIN in arrays else None
        found = None if text is None else json.loads(text)
        sizes = {len(arrays[name]) for name in ("x0", "x1")}
    except DAMAGES as error:
        raise DataError(f"pairs {str(path)!r} cannot be read ({error}): remove the file") from error
    if len(sizes) != 1:
        raise DataError(f"pairs {str(path)!r} are {sizes} of noise and of data: remove the file")
    if drawn_from is not None and found is None:
        warn(f"{path} does not say what its pairs were drawn from: that was not compared")
    if drawn_from is not None and found is not None and found != drawn_from:
        names = [name for name in drawn_from if found.get(name) != drawn_from[name]]
        lines = "; ".join(f"{name}: {found.get(name)} -> {drawn_from[name]}" for name in names)
        raise ConfigError(
            f"pairs {str(path)!r} were drawn otherwise: {lines} (remove the folder to start again)"
        )
    return arrays
