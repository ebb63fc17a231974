"""Images binarised once and for all: `binarized:NAME` or `binarized:NAME@SEED`, by default seed 0.

A pixel of grey level g is white with probability g / 255 (salakhutdinov2008). Because the draw is
part of the dataset, likelihoods of different models compare; `transforms.binarize()` takes it to
{0.0, 1.0} without another draw.
"""

import numpy as np

from gen_jax.errors import ConfigError
from gen_jax.types import UInt8

PREFIX = "binarized:"


def parse(name: str) -> tuple[str, int]:
    """(NAME, SEED). Raises ConfigError for a seed that is no whole number."""
    base, at, seed = name.removeprefix(PREFIX).partition("@")
    if at and not (seed.isascii() and seed.isdigit()):
        raise ConfigError(f"dataset={name!r}: SEED={seed!r} must be a whole number")
    return base, int(seed or 0)


def binarise(x: UInt8[np.ndarray, "..."], seed: int, stream: int) -> UInt8[np.ndarray, "..."]:
    """0 or 255, each pixel once: 255 with probability x / 255; `stream` is of the split."""
    level = np.random.default_rng((seed, stream)).integers(0, 255, x.shape, np.uint8)
    return np.where(level < x, np.uint8(255), np.uint8(0))
