"""A user's own module, imported before names are looked up, so that its methods have names."""

import importlib

from gen_jax.errors import ConfigError, GenJaxError


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
