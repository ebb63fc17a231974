"""JSON and other text of a run, each file in one piece; places that can be written."""

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
from gen_jax.writing import write_text


@no_type_check
def check_writable(argument: str, path: Path) -> Path:
    """The path of a file that can be written, in a folder that is made here: ask before the work.

    Raises ConfigError where something is that is no file, ResourceError for any other reason.
    """
    path = check_path(argument, path)
    try:
        target = Path(os.path.realpath(path))  # of a link
        existed = target.exists()
        if existed and not target.is_file():
            raise ConfigError(f"{argument}={str(path)!r} is there and is no file")
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=target.parent), open(target, "ab"):
            pass
        if not existed:
            target.unlink()
    except OSError as error:
        reason = f"cannot be written ({error.strerror})"
        raise ResourceError(f"{argument}={str(path)!r} {reason}") from error
    return path


def read_json(path: Path) -> Any:
    """The JSON value in a file. Raises OSError, or ValueError for whatever is not JSON."""
    text = path.read_text(encoding="utf-8")
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


@no_type_check
def write_json(path: Path, value: Any) -> None:
    """Durably and in one piece, as strict JSON (non-finite numbers become null)."""
    text = json.dumps(plain(value), indent=2, allow_nan=False)
    write_text(check_path("path", path), text + "\n")


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
