"""Generative modelling in JAX: pure functions, assembled by small scripts.

Sub-packages load on use: `import gen_jax; gen_jax.diffusion.sample(...)`.
"""

import importlib
import pkgutil

__version__ = "0.1.0"

_MODULES = tuple(module.name for module in pkgutil.iter_modules(__path__))


def __getattr__(name: str):
    if name in _MODULES:
        return importlib.import_module(f"gen_jax.{name}")
    raise AttributeError(f"module 'gen_jax' has no attribute {name!r}")


def __dir__():
    return sorted((*globals(), *_MODULES))
