"""What a run was made with, and what of it has changed when the run is resumed."""

import os
import platform
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import jax

PACKAGES = ("gen_jax", "jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy")
SETTINGS = (
    "jax_enable_x64",
    "jax_threefry_partitionable",
    "jax_default_prng_impl",
    "jax_random_seed_offset",
    "jax_default_matmul_precision",
    "jax_numpy_dtype_promotion",
    "jax_softmax_custom_jvp",
    "jax_high_dynamic_range_gumbel",
    "jax_disable_most_optimizations",
    "jax_optimization_level",
)
"""Options of jax that change numbers."""
VARIABLES = ("XLA_FLAGS", "LIBTPU_INIT_ARGS", "NVIDIA_TF32_OVERRIDE")
"""Variables of the environment that change numbers."""
COMPARED = ("devices", "packages", "python", "commit", "settings")


def environment() -> dict[str, Any]:
    """Versions, devices, the command line, and settings that change numbers."""
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": {name: _version(name) for name in PACKAGES},
        "backend": jax.default_backend(),
        "devices": [str(device.device_kind) for device in jax.devices()],
        "command": sys.argv,
        "commit": _commit(),
        "settings": {
            **{name: _setting(name) for name in SETTINGS},
            **{name: os.environ.get(name) for name in VARIABLES},
        },
    }


def _setting(name: str) -> Any:
    """An option of jax as it is here and now; None where this version of jax lacks it."""
    value = getattr(jax.config, name, jax.config.values.get(name))
    return getattr(value, "value", value)


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _commit() -> str | None:
    command = ["git", "rev-parse", "HEAD"]
    here = Path(__file__).parent
    try:
        found = subprocess.run(command, capture_output=True, text=True, cwd=here, timeout=5)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return found.stdout.strip() or None


def changes(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    """One line for each part of two environments that differs; parts that `old` lacks are not."""
    return [
        f"{name} changed since this run began: {_change(old[name], new[name])}"
        for name in COMPARED
        if name in old and old[name] != new[name]
    ]


def _change(old: Any, new: Any) -> str:
    """What differs, of dictionaries name by name."""
    if not (isinstance(old, dict) and isinstance(new, dict)):
        return f"{old} -> {new}"
    names = [name for name in (old | new) if old.get(name) != new.get(name)]
    return ", ".join(f"{name} {old.get(name)} -> {new.get(name)}" for name in names)
