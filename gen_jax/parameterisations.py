"""What a network may predict at x = alpha x0 + sigma eps, and the change from one into another.

x0, eps, score, v, velocity and EDM's raw output F convert into each other through the pair
(E[x0 | x], E[eps | x]); so each parameterisation is written once in each direction, and no pole is
met on the way.

Poles that remain: eps and score determine x0 only where alpha > 0, x0 determines eps only where
sigma > 0.

References: ho2020 (eps), song2021 (score), karras2022 (F), salimans2022 (v), lipman2023 (velocity).
"""

from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp

from gen_jax.annotations import shaped
from gen_jax.axes import expand
from gen_jax.errors import check_choice
from gen_jax.types import Array, Float


class Coefficients(NamedTuple):
    """alpha, sigma and their time derivatives, each of the shape of t."""

    alpha: Float[Array, "..."]
    sigma: Float[Array, "..."]
    d_alpha: Float[Array, "..."]
    d_sigma: Float[Array, "..."]


# Arguments: (value, x, alpha, sigma, alpha', sigma', data_std); the result is (x0, eps).


def _f_scales(a, s, sd):
    norm = jnp.sqrt(a**2 * sd**2 + s**2)
    return norm, a * sd**2 / norm**2, s * sd / norm


def _from_x0(x0, x, a, s, da, ds, sd):
    return x0, (x - a * x0) / s


def _from_eps(eps, x, a, s, da, ds, sd):
    return (x - s * eps) / a, eps


def _from_score(score, x, a, s, da, ds, sd):
    return (x + s**2 * score) / a, -s * score


def _from_v(v, x, a, s, da, ds, sd):
    r2 = a**2 + s**2
    return (a * x - s * v) / r2, (s * x + a * v) / r2


def _from_velocity(u, x, a, s, da, ds, sd):
    w = da * s - a * ds
    return (s * u - ds * x) / w, (da * x - a * u) / w


def _from_f(f, x, a, s, da, ds, sd):
    norm, skip, out = _f_scales(a, s, sd)
    return skip * x + out * f, s * x / norm**2 - a * sd / norm * f


TO_X0_EPS: dict[str, Callable] = {
    "x0": _from_x0,
    "eps": _from_eps,
    "score": _from_score,
    "v": _from_v,
    "velocity": _from_velocity,
    "F": _from_f,
}
FROM_X0_EPS: dict[str, Callable] = {
    "x0": lambda x0, eps, a, s, da, ds, sd: x0,
    "eps": lambda x0, eps, a, s, da, ds, sd: eps,
    "score": lambda x0, eps, a, s, da, ds, sd: -eps / s,
    "v": lambda x0, eps, a, s, da, ds, sd: a * eps - s * x0,
    "velocity": lambda x0, eps, a, s, da, ds, sd: da * x0 + ds * eps,
    "F": lambda x0, eps, a, s, da, ds, sd: (
        (s * x0 - a * sd**2 * eps) / (sd * jnp.sqrt(a**2 * sd**2 + s**2))
    ),
}
PARAMETERISATIONS = tuple(TO_X0_EPS)


@shaped()
def pair(
    value: Float[Array, "*D"],
    x: Float[Array, "*D"],
    coefficients: Coefficients,
    source: str,
    data_std: float = 1.0,
) -> tuple[Float[Array, "*D"], Float[Array, "*D"]]:
    """(E[x0 | x], E[eps | x]) from a value of parameterisation `source`; coefficients [] or [B]."""
    check_choice("source", source, PARAMETERISATIONS)
    return TO_X0_EPS[source](value, x, *(expand(c, x) for c in coefficients), data_std)


@shaped()
def from_x0_eps(
    x0: Float[Array, "*D"],
    eps: Float[Array, "*D"],
    coefficients: Coefficients,
    target: str,
    data_std: float = 1.0,
) -> Float[Array, "*D"]:
    """The value of parameterisation `target` at given x0 and eps: a loss's regression target."""
    check_choice("target", target, PARAMETERISATIONS)
    return FROM_X0_EPS[target](x0, eps, *(expand(c, x0) for c in coefficients), data_std)


@shaped()
def convert(
    value: Float[Array, "*D"],
    x: Float[Array, "*D"],
    coefficients: Coefficients,
    source: str,
    target: str,
    data_std: float = 1.0,
) -> Float[Array, "*D"]:
    """Convert between the parameterisations of a prediction.

    Names: "x0", "eps", "score" = -eps / sigma, "v" = alpha eps - sigma x0, "velocity" = dx/dt, and
    "F", the raw output of an EDM network (karras2022 eq. 7, extended to any path).

    Args:
      value, x: [B, ...]; x is the noisy point at which the value was predicted.
      coefficients: of the path at t, each [] or [B].
      data_std: standard deviation of the data, used by "F" only.
    Raises ConfigError for an unknown name.
    """
    if check_choice("source", source, PARAMETERISATIONS) == target:
        # By way of x0 and eps it would be 0 / 0 or inf / inf at an end.
        return jnp.asarray(value, jnp.result_type(value, x, *coefficients))
    x0, eps = pair(value, x, coefficients, source, data_std)
    return from_x0_eps(x0, eps, coefficients, target, data_std)
