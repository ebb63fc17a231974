"""Images with some pixels replaced by noise: `mutated:NAME` or `mutated:NAME@RATE`, by default 0.1.

A model of such images learns the background statistics of NAME and little of its content: the
denominator of a likelihood ratio (ren2019, section 3).
"""

import numpy as np

from gen_jax.errors import ConfigError
from gen_jax.types import UInt8

PREFIX = "mutated:"


def parse(name: str) -> tuple[str, float]:
    """(NAME, RATE). Raises ConfigError for a rate outside (0, 1]."""
    base, _, text = name.removeprefix(PREFIX).partition("@")
    try:
        rate = float(text or 0.1)
    except ValueError:
        rate = -1.0
    if not 0 < rate <= 1:
        raise ConfigError(f"dataset={name!r}: RATE={text!r} must be a number in (0, 1]")
    return base, rate


def mutate(x: UInt8[np.ndarray, "..."], rate: float, stream: int) -> UInt8[np.ndarray, "..."]:
    """Each value, with probability `rate`, drawn anew from 0 .. 255; `stream` is of the split."""
    generator = np.random.default_rng((17, stream))
    new = generator.integers(0, 256, x.shape, np.uint8)
    return np.where(generator.random(x.shape, np.float32) < rate, new, x)
