"""One denoising loss, in every parameterisation and with every weighting.

x_t = alpha x0 + sigma eps; the network predicts "x0", "eps", "score", "v", "velocity" or "F", which
is compared with the value of that quantity at the true (x0, eps). These errors are all multiples of
d = |E - eps|^2, and every weighting is w d for some w (kingma2023, sections 2-3):

    x0: (sigma / alpha)^2 d,   score: d / sigma^2,   v: ((alpha^2 + sigma^2) / alpha)^2 d,
    velocity: (sigma lam')^2 d,   F: (N / (alpha sd))^2 d,

lam = log(alpha / sigma), N^2 = alpha^2 sd^2 + sigma^2, sd the standard deviation of the data.
"""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp

from gen_jax.annotations import shaped
from gen_jax.axes import expand
from gen_jax.checks import check_output
from gen_jax.diffusion.time_sampling import T_MAX, T_MIN
from gen_jax.errors import check_choice
from gen_jax.parameterisations import PARAMETERISATIONS, Coefficients, from_x0_eps
from gen_jax.paths import GaussianPath, coefficients
from gen_jax.registries import described
from gen_jax.types import Array, Float

# The ratios below are kept times alpha^2, so that the weight of one by the other is finite wherever
# its limit is: the poles at alpha = 0 cancel before they are formed.


def _slope(c: Coefficients) -> Array:
    """alpha sigma' - alpha' sigma = -alpha sigma lam' > 0."""
    return c.alpha * c.d_sigma - c.d_alpha * c.sigma


def _f_scale(c: Coefficients, sd: float) -> Array:
    """N^2 / sd^2."""
    return c.alpha**2 + (c.sigma / sd) ** 2


_SCALES: dict[str, Callable] = {
    "x0": lambda c, sd: c.sigma**2,
    "eps": lambda c, sd: c.alpha**2,
    "score": lambda c, sd: (c.alpha / c.sigma) ** 2,
    "v": lambda c, sd: (c.alpha**2 + c.sigma**2) ** 2,
    "velocity": lambda c, sd: _slope(c) ** 2,
    "F": _f_scale,
}

ERROR_SCALES: dict[str, Callable] = {
    prediction: lambda c, sd, scale=scale: scale(c, sd) / c.alpha**2
    for prediction, scale in _SCALES.items()
}
"""Squared error of each prediction over d = |E - eps|^2: `(coefficients, data_std) -> [B]`."""


def _weighting(weight_of_d: Callable) -> Callable:
    """A weighting from alpha^2 w(coefficients, data_std), w on d, over the prediction's scale."""

    def weighting(c, prediction, sd):
        return weight_of_d(c, sd) / _SCALES[prediction](c, sd)

    return weighting


def min_snr(gamma: float = 5.0) -> Callable:
    """min(SNR, gamma) on the squared error of x0 (hang2023), SNR = alpha^2 / sigma^2."""
    return _weighting(lambda c, sd: jnp.minimum(c.alpha**2, gamma * c.sigma**2))


WEIGHTINGS: dict[str, Callable] = {
    "uniform": described(
        "The plain error of what the network predicts.",
        lambda c, prediction, sd: jnp.ones_like(c.alpha),
    ),
    "simple": described(
        "The plain error of eps (ho2020 eq. 14), whatever the network predicts.",
        _weighting(lambda c, sd: c.alpha**2),
    ),
    # |lam'|: with t uniform, the variational bound in nats (kingma2021 eq. 17).
    "bound": described(
        "The variational bound, for uniform times (kingma2021 eq. 17).",
        _weighting(lambda c, sd: _slope(c) * c.alpha / c.sigma),
    ),
    "min_snr": described("min(SNR, 5) on the error of x0 (hang2023).", min_snr()),
    "edm": described(
        "The plain error of F (karras2022), whatever the network predicts.", _weighting(_f_scale)
    ),
}
"""Weight of the squared error of `prediction`: `(coefficients, prediction, data_std) -> [B]`.

"uniform": the plain error of the network's own output. "simple": the plain error of eps (ho2020
eq. 14). "bound": the variational bound for uniform t. "edm": the plain error of F (karras2022)."""


def off_the_poles(path: GaussianPath, t: Float[Array, "..."]) -> Float[Array, "..."]:
    """t, at least T_MIN where sigma(0) = 0 and at most T_MAX where alpha(1) = 0; float32 or wider.

    There, and there alone, some target or weight is infinite at the end of the path.
    """
    t = jnp.asarray(t)
    t = t.astype(jnp.promote_types(t.dtype, jnp.float32))
    start, end = jnp.zeros((), t.dtype), jnp.ones((), t.dtype)
    low = jnp.where(path.sigma(start) == 0, T_MIN, 0.0)
    high = jnp.where(path.alpha(end) == 0, T_MAX, 1.0)
    return jnp.clip(t, low.astype(t.dtype), high.astype(t.dtype))


@shaped("t")
def denoising_loss(
    predict: Callable[[Array, Array], Array],
    path: GaussianPath,
    x0: Float[Array, "B *D"],
    eps: Float[Array, "B *D"],
    t: Float[Array, "B"],
    *,
    prediction: str = "v",
    weighting: str | Callable = "uniform",
    data_std: float = 1.0,
) -> tuple[Float[Array, "B"], dict[str, Array]]:
    """Weighted squared error of the prediction, per example, averaged over dimensions.

    Times are moved `off_the_poles`, so that the loss is finite at t = 0 and 1 as well.

    Args:
      predict: `(x_t [B, ...], t [B]) -> [B, ...]`, a value of parameterisation `prediction`.
      x0, eps: data and noise; any joint law of the two is allowed, so that flow matching with
        couplings and other sources is the same function (lipman2023, tong2024).
      weighting: a name in WEIGHTINGS or a function `(coefficients, prediction, data_std) -> [B]`,
        times the squared error of what the network predicts (`prediction`, by default v), not of
        eps or x0.
    Returns the loss [B] and the unweighted error [B] under "error".
    Raises ConfigError for an unknown parameterisation or weighting.
    """
    check_choice("prediction", prediction, PARAMETERISATIONS)
    if isinstance(weighting, str):
        weighting = WEIGHTINGS[check_choice("weighting", weighting, WEIGHTINGS)]
    t = off_the_poles(path, t)
    c = coefficients(path, t)
    x_t = expand(c.alpha, x0) * x0 + expand(c.sigma, x0) * eps
    target = from_x0_eps(x0, eps, c, prediction, data_std)
    square = (check_output("predict", predict(x_t, t), x0.shape) - target) ** 2
    error = jnp.mean(square, axis=tuple(range(1, x0.ndim)))
    weight = check_output("weighting", weighting(c, prediction, data_std), error.shape)
    return weight * error, {"error": error}


def ddpm_steps_loss(
    predict: Callable[[Array, Array], Array],
    path: GaussianPath,
    x0: Float[Array, "B ..."],
    eps: Float[Array, "B ..."],
    t: Float[Array, "B"],
    **options: Any,
) -> tuple[Float[Array, "B"], dict[str, Array]]:
    """`denoising_loss` at the next of DDPM's 1000 times (k + 1) / 1000 (ho2020 eq. 14)."""
    return denoising_loss(predict, path, x0, eps, jnp.ceil(t * 1000) / 1000, **options)
