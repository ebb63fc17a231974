"""Writing that survives a kill or a power cut: a file is the old one or the new one, never half."""

import json
import math
import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from gen_jax.checks import check_path, no_type_check
from gen_jax.errors import ConfigError, ResourceError
from gen_jax.types import Estimate


def sync(path: Path) -> None:
    """fsync a file or a folder (a folder's fsync makes the names in it durable)."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@no_type_check
def check_writable(argument: str, path: Path) -> Path:
    """The path of a file that can be written, in a folder that is made here: ask before the work.

    Raises ConfigError where something is that is no file, ResourceError for any other reason.
    """
    path = check_path(argument, path)
    try:
        existed = path.exists()
        if existed and not path.is_file():
            raise ConfigError(f"{argument}={str(path)!r} is there and is no file")
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path.parent), open(path, "ab"):
            pass
        if not existed:
            path.unlink()
    except OSError as error:
        reason = f"cannot be written ({error.strerror})"
        raise ResourceError(f"{argument}={str(path)!r} {reason}") from error
    return path


def write_atomic(path: Path, text: str) -> None:
    """Write `text` durably and in one piece. Raises OSError; the old content then remains."""
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        with open(temporary, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
    sync(path.parent)


def read_json(path: Path) -> Any:
    """The JSON value in a file. Raises OSError, or ValueError for whatever is not JSON."""
    text = path.read_text(encoding="utf-8")
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


@no_type_check
def write_json(path: Path, value: Any) -> None:
    """`write_atomic` of strict JSON (non-finite numbers become null)."""
    write_atomic(
        check_path("path", path), json.dumps(plain(value), indent=2, allow_nan=False) + "\n"
    )


def plain(value: Any) -> Any:
    """A copy made of JSON types only; non-finite floats become None, unknown objects their str.

    Estimates become a dictionary, arrays nested lists.
    """
    if isinstance(value, Estimate):
        return {"value": plain(value.value), "standard_error": plain(value.error)}
    if isinstance(value, dict):
        return {str(name): plain(part) for name, part in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(part) for part in value]
    if isinstance(value, np.generic) or hasattr(value, "ndim"):
        return plain(np.asarray(value).tolist())
    if isinstance(value, bool | int | str) or value is None:
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return str(value)
