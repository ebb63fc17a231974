"""A learned schedule of log-SNR: rising, with its ends exact for any weights."""

import math
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from gen_jax.errors import check_finite, check_flag, check_range
from gen_jax.types import Array, Float


class MonotoneSchedule(nn.Module):
    """gamma(t) = low (1 - f) + high f, f = (m(t) - m(0)) / (m(1) - m(0)), for `paths.from_gamma`.

    m(t) = a t + sum_j b_j sigmoid(c_j (t - d_j)) with a, b, c > 0 (kingma2021, app. H, where the
    ends drift): f rises strictly from 0 to 1, nearly linear before training.

    Fields:
      low, high: gamma at the data and at the noise; e^-gamma is the signal-to-noise ratio.
      features: number of sigmoids.
      learned_ends: low and high are parameters that start at these values, low < high.
    """

    low: float = -13.3
    high: float = 5.0
    features: int = 32
    learned_ends: bool = False

    def __post_init__(self):
        check_finite("low", check_range("low", self.low))
        check_finite("high", check_range("high", self.high, self.low, open_low=True))
        check_flag("learned_ends", self.learned_ends)
        check_range("features", self.features, 1, integer=True)
        super().__post_init__()

    @nn.compact
    def __call__(self, t: Float[Array, "..."]) -> Float[Array, "..."]:
        """gamma [...] at times t in [0, 1]."""
        n = self.features
        constant = nn.initializers.constant
        slope = self.param("slope", constant(0.0), ())
        height = self.param("height", constant(-2.0), (n,))
        steepness = self.param("steepness", constant(5.0), (n,))
        centre = self.param("centre", lambda key: (jnp.arange(n, dtype=jnp.float32) + 0.5) / n)
        positive = jax.nn.softplus

        def m(t):
            waves = jax.nn.sigmoid(positive(steepness) * (t[..., None] - centre))
            return positive(slope) * t + waves @ positive(height) / n

        start, end = m(jnp.zeros(())), m(jnp.ones(()))
        share = (m(jnp.asarray(t)) - start) / (end - start)
        low: Any = self.low
        high: Any = self.high
        if self.learned_ends:
            low = self.param("low", constant(self.low), ())
            gap = self.high - self.low
            inverse = gap if gap > 20 else math.log(math.expm1(gap))
            high = low + positive(self.param("gap", constant(inverse), ()))
        return low * (1 - share) + high * share
