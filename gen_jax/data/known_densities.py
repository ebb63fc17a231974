"""Exact samples of known densities as datasets: `target:NAME`, NAME in `sampling.TARGETS`."""

import hashlib
import inspect
from functools import lru_cache, partial

import jax
import numpy as np

from gen_jax.checks import no_type_check
from gen_jax.errors import ConfigError, DataError, check_choice, check_text
from gen_jax.sampling import TARGETS, Target
from gen_jax.types import Array, Float, Key

PREFIX = "target:"
COUNTS = {"train": 20_000, "test": 10_000}


@no_type_check
def target_of(name: str) -> Target:
    """The density of `target:NAME` or `target:NAME@DIM`.

    Raises ConfigError for an unknown target, and for a dimension that it cannot have.
    """
    base, at, dim = check_text("dataset", name).removeprefix(PREFIX).partition("@")
    constructor = TARGETS[check_choice(f"dataset={name!r}: NAME", base, TARGETS)]
    if not at:
        return constructor()
    if "dim" not in inspect.signature(constructor).parameters:
        raise ConfigError(f"dataset={name!r}: the dimension of {base!r} is fixed")
    if not (dim.isascii() and dim.isdigit()):
        raise ConfigError(f"dataset={name!r}: DIM={dim!r} must be a whole number")
    return constructor(dim=int(dim))


@partial(jax.jit, static_argnums=0)
def _draw(name: str, key: Key[Array, ""]) -> Float[Array, "N D"]:
    return target_of(name).sample(key, max(COUNTS.values()))  # type: ignore[misc]


@lru_cache
def read_target(name: str, split: str) -> dict[str, np.ndarray]:
    """20,000 or 10,000 exact points float32 [N, D] of a target, always the same.

    Raises ConfigError as `target_of`, DataError for a target without an exact sampler.
    """
    if target_of(name).sample is None:
        exact = [target for target in TARGETS if target_of(target).sample is not None]
        raise DataError(
            f"{name} has no exact samples to compare with (those that have: {', '.join(exact)})"
        )
    base = name.removeprefix(PREFIX)
    seed = int.from_bytes(hashlib.sha256(f"{base}/{split}".encode()).digest()[:4], "big") >> 1
    with jax.enable_x64(False):  # the points must not depend on that setting
        x = _draw(name, jax.random.key(seed))
    return {"x": np.asarray(x)[: COUNTS[split]]}
