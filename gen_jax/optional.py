"""Libraries that only some functions need: what is missing is said in one line, with its extra."""

import importlib
from typing import Any

from gen_jax.errors import DataError


def optional(module: str, extra: str, use: str) -> Any:
    """The imported module. Raises DataError naming `use` and the extra that installs the module."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        library = module.partition(".")[0]
        raise DataError(
            f"{use} need {library}, which is not installed: run `pip install 'gen_jax[{extra}]'`"
        ) from error
