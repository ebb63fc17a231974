"""Decoded datasets on disk: `.npz` files in the user's cache folder, made again when damaged."""

import hashlib
import os
import tempfile
import warnings
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np

FORMAT = 1
"""Part of every file's key: raise it when what is stored changes."""


def cache_folder() -> Path | None:
    """$XDG_CACHE_HOME/gen_jax, or ~/.cache/gen_jax; None for a user who has no home."""
    try:
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "gen_jax"
    except RuntimeError:
        return None


def _path(folder: Path, name: str, identity: tuple[str, ...]) -> Path:
    digest = hashlib.sha256("\0".join((str(FORMAT), name, *identity)).encode()).hexdigest()
    return folder / "data" / f"{name.replace('/', '-')}-{digest[:16]}.npz"


def _read(path: Path) -> dict[str, np.ndarray] | None:
    try:
        with np.load(path, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile, zlib.error) as error:
        warnings.warn(f"cache file {path} cannot be used ({error}): made again", stacklevel=4)
        return None


def _write(path: Path, arrays: dict[str, np.ndarray]) -> None:
    """Written under another name and renamed: a reader sees a whole file or none."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, partial = tempfile.mkstemp(dir=path.parent, suffix=".partial")
        try:
            with os.fdopen(handle, "wb") as file:
                np.savez(file, **arrays)  # type: ignore[arg-type]
            os.replace(partial, path)
        except BaseException:
            os.unlink(partial)
            raise
    except OSError as error:
        warnings.warn(f"decoded data cannot be cached in {path.parent} ({error})", stacklevel=4)


def cached(
    name: str,
    identity: tuple[str, ...],
    make: Callable[[], dict[str, np.ndarray]],
    valid: Callable[[dict[str, np.ndarray]], bool] = lambda arrays: True,
) -> dict[str, np.ndarray]:
    """The arrays `make()` returns, from the cache if they are there and `valid`.

    `identity` is everything besides `name` that decides what the arrays are. A damaged file or one
    that is not valid is made again; a folder that cannot be written only warns. Without a folder
    nothing is kept.
    """
    folder = cache_folder()
    if folder is None:
        return make()
    path = _path(folder, name, identity)
    arrays = _read(path)
    if arrays is None or not valid(arrays):
        arrays = make()
        _write(path, arrays)
    return arrays
