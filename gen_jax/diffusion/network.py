"""From a network to a denoiser.

The network sees x_t / N with N^2 = alpha^2 sd^2 + sigma^2 (unit variance, karras2022 table 1 on any
path) and log(sigma / alpha) / 4, so what it learns depends on the noise-to-signal ratio alone.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax.numpy as jnp

from gen_jax.calls import called, calls_inside
from gen_jax.paths import GaussianPath, coefficients, convert, expand, log_snr
from gen_jax.types import Array, Denoiser, Float, Int


class Parameterised(NamedTuple):
    """A network read as a prediction of one kind on one path.

    Fields:
      apply: `(params, x [B, ...], noise [B], label [B] or None) -> [B, ...]`.
      path: the path it is trained on.
      kind: what it predicts, one of `paths.PARAMETERISATIONS`.
      data_std: standard deviation of the data on the path.
    """

    apply: Callable
    path: GaussianPath
    kind: str
    data_std: float


def noise_input(path: GaussianPath, t: Float[Array, "B"]) -> Float[Array, "B"]:
    """c_noise = log(sigma / alpha) / 4 (karras2022, table 1), clipped to [-2.5, 2.5]."""
    return jnp.clip(-0.5 * log_snr(path, t), -10.0, 10.0) / 4


def predict(
    p: Parameterised,
    params: Any,
    x: Float[Array, "B ..."],
    t: Float[Array, "B"],
    label: Int[Array, "B"] | None = None,
) -> Float[Array, "B ..."]:
    """The network's raw output: a value of parameterisation `p.kind` at (x, t)."""
    norm = jnp.sqrt((p.path.alpha(t) * p.data_std) ** 2 + p.path.sigma(t) ** 2)
    return p.apply(params, x / expand(norm, x), noise_input(p.path, t), label)


def denoiser(p: Parameterised, params: Any, label: Int[Array, "B"] | None = None) -> Denoiser:
    """`denoise(x [B, ...], t [B]) -> E[x0 | x_t = x]` of a network with these parameters."""

    def denoise(x, t):
        raw = predict(p, params, x, t, label)
        return called(convert(raw, x, coefficients(p.path, t), p.kind, "x0", p.data_std))

    return calls_inside(denoise)
