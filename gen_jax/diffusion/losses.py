"""One denoising loss, in every parameterisation and with every weighting.

x_t = alpha x0 + sigma eps; the network's prediction of kind "x0", "eps", "score", "v", "velocity"
or "F" is compared with the value of that kind at the true (x0, eps). These errors are all multiples
of d = |E - eps|^2, and every weighting is w d for some w (kingma2023, sections 2-3):

    x0: (sigma / alpha)^2 d,   score: d / sigma^2,   v: ((alpha^2 + sigma^2) / alpha)^2 d,
    velocity: (sigma lam')^2 d,   F: (N / (alpha sd))^2 d,

lam = log(alpha / sigma), N^2 = alpha^2 sd^2 + sigma^2, sd the standard deviation of the data.
"""

from collections.abc import Callable

import jax.numpy as jnp

from gen_jax.errors import check_choice
from gen_jax.paths import (
    PARAMETERISATIONS,
    Coefficients,
    GaussianPath,
    coefficients,
    expand,
    from_pair,
)
from gen_jax.types import Array, Float

ERROR_SCALES: dict[str, Callable] = {
    "x0": lambda c, sd: (c.sigma / c.alpha) ** 2,
    "eps": lambda c, sd: jnp.ones_like(c.alpha),
    "score": lambda c, sd: 1 / c.sigma**2,
    "v": lambda c, sd: ((c.alpha**2 + c.sigma**2) / c.alpha) ** 2,
    "velocity": lambda c, sd: (c.d_alpha * c.sigma / c.alpha - c.d_sigma) ** 2,
    "F": lambda c, sd: (c.alpha**2 * sd**2 + c.sigma**2) / (c.alpha * sd) ** 2,
}
"""Squared error of each kind over d = |E - eps|^2: `(coefficients, data_std) -> [B]`."""


def _eps_weighting(weight_of_d: Callable) -> Callable:
    """A weighting given as w(coefficients, data_std) on d, divided by the scale of the kind."""

    def weighting(c, kind, sd):
        return weight_of_d(c, sd) / ERROR_SCALES[kind](c, sd)

    return weighting


def min_snr(gamma: float = 5.0) -> Callable:
    """min(SNR, gamma) on the squared error of x0 (hang2023), SNR = alpha^2 / sigma^2."""

    def weight_of_d(c, sd):
        return jnp.minimum(1.0, gamma * (c.sigma / c.alpha) ** 2)

    return _eps_weighting(weight_of_d)


def _bound_weight(c: Coefficients, sd: float) -> Array:
    """|lam'|: with t uniform, the variational bound in nats (kingma2021 eq. 17)."""
    return c.d_sigma / c.sigma - c.d_alpha / c.alpha


WEIGHTINGS: dict[str, Callable] = {
    "uniform": lambda c, kind, sd: jnp.ones_like(c.alpha),
    "simple": _eps_weighting(lambda c, sd: jnp.ones_like(c.alpha)),
    "bound": _eps_weighting(_bound_weight),
    "min_snr": min_snr(),
    "edm": _eps_weighting(lambda c, sd: ERROR_SCALES["F"](c, sd)),
}
"""Weight of the squared error of `kind`: `(coefficients, kind, data_std) -> [B]`.

"uniform": the plain error of the network's own output. "simple": the plain error of eps (ho2020
eq. 14). "bound": the variational bound for uniform t. "edm": the plain error of F (karras2022)."""


def denoising_loss(
    predict: Callable[[Array, Array], Array],
    path: GaussianPath,
    x0: Float[Array, "B ..."],
    eps: Float[Array, "B ..."],
    t: Float[Array, "B"],
    *,
    kind: str = "v",
    weighting: str | Callable = "uniform",
    data_std: float = 1.0,
) -> tuple[Float[Array, "B"], dict[str, Array]]:
    """Weighted squared error of a prediction of `kind`, per example, averaged over dimensions.

    Args:
      predict: `(x_t [B, ...], t [B]) -> [B, ...]`, a value of parameterisation `kind`.
      x0, eps: data and noise; any joint law of the two is allowed, so that flow matching with
        couplings and other sources is the same function (lipman2023, tong2024).
      weighting: a name in WEIGHTINGS or a function `(coefficients, kind, data_std) -> [B]`.
    Returns the loss [B] and the unweighted error [B] under "error".
    Raises ConfigError for an unknown kind or weighting.
    """
    check_choice("kind", kind, PARAMETERISATIONS)
    if isinstance(weighting, str):
        weighting = WEIGHTINGS[check_choice("weighting", weighting, WEIGHTINGS)]
    c = coefficients(path, t)
    x_t = expand(c.alpha, x0) * x0 + expand(c.sigma, x0) * eps
    target = from_pair(x0, eps, c, kind, data_std)
    square = (predict(x_t, t) - target) ** 2
    error = jnp.mean(square, axis=tuple(range(1, x0.ndim)))
    return weighting(c, kind, data_std) * error, {"error": error}
