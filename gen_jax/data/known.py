"""Exact samples of known densities as datasets: `target:NAME`, NAME in `sampling.TARGETS`."""

import hashlib
from functools import lru_cache, partial

import jax
import numpy as np

from gen_jax.errors import DataError
from gen_jax.sampling import TARGETS, make_target
from gen_jax.types import Array, Float, Key

PREFIX = "target:"
COUNTS = {"train": 20_000, "test": 10_000}


@partial(jax.jit, static_argnums=0)
def _draw(name: str, key: Key[Array, ""]) -> Float[Array, "N D"]:
    return make_target(name).sample(key, max(COUNTS.values()))  # type: ignore[misc]


@lru_cache
def read_target(name: str, split: str) -> dict[str, np.ndarray]:
    """20,000 or 10,000 exact points float32 [N, D] of a target at its defaults, always the same.

    Raises ConfigError for an unknown target, DataError for one without an exact sampler.
    """
    if make_target(name).sample is None:
        exact = [target for target in TARGETS if make_target(target).sample is not None]
        raise DataError(
            f"{PREFIX}{name} has no exact samples to compare with (those that have: "
            f"{', '.join(exact)})"
        )
    seed = int.from_bytes(hashlib.sha256(f"{name}/{split}".encode()).digest()[:4], "big") >> 1
    with jax.enable_x64(False):  # the points must not depend on that setting
        x = _draw(name, jax.random.key(seed))
    return {"x": np.asarray(x)[: COUNTS[split]]}
