"""Generative modelling in JAX: pure functions, assembled by small scripts.

Sub-packages load on use: `import gen_jax; gen_jax.diffusion.sample(...)`.
"""

import importlib

__version__ = "0.1.0"

_SUBPACKAGES = (
    "classical",
    "data",
    "diffusion",
    "divergences",
    "errors",
    "flow_matching",
    "flows",
    "mcmc",
    "metrics",
    "model",
    "nets",
    "paths",
    "plotting",
    "sampling",
    "solvers",
    "training",
    "transport",
    "types",
)


def __getattr__(name: str):
    if name in _SUBPACKAGES:
        return importlib.import_module(f"gen_jax.{name}")
    raise AttributeError(f"module 'gen_jax' has no attribute {name!r}")


def __dir__():
    return sorted((*globals(), *_SUBPACKAGES))
