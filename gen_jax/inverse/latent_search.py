"""Inverse problems by the latents of a generator G: search (bora2017, eq. 3) and a density in z.

    z* = argmin |y - A G(z)|^2 + weight |z|^2

With weight = noise_std^2 it is the most probable z for z ~ N(0, I) and y = A G(z) + noise_std e. A
generator that is not linear has many local minima, hence several starts for each measurement.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.typing import ArrayLike

from gen_jax.checks import as_floats, as_key, check_callable, check_output, no_type_check
from gen_jax.errors import ConfigError, check_finite, check_range
from gen_jax.inverse.measurements import (
    check_noise,
    check_operator,
    checked_linear,
    measurements,
    noise_variance,
)
from gen_jax.inverse.operators import LinearOperator, Operator
from gen_jax.types import Array, Float, Key

Generate = Callable[[Array], Array]
"""`z [B, L] -> x [B, *shape]`, in the units of the operator's images."""


class LatentSearch(NamedTuple):
    """The best of all starts, for each of N measurements.

    Fields:
      z: [N, L]; x: G(z) [N, *shape].
      objective: |y - A G(z)|^2 + weight |z|^2 where each start ended, [N, R].
    """

    z: Float[Array, "N L"]
    x: Float[Array, "N ..."]
    objective: Float[Array, "N R"]


def _square(x: Float[Array, "B ..."]) -> Float[Array, "B"]:
    return jnp.sum(x**2, axis=tuple(range(1, x.ndim)))


def _image(generate: Generate, operator: LinearOperator | Operator, z: Array) -> Array:
    """G(z); raises ConfigError for another shape than the operator's."""
    what = "what the operator is for, "
    return check_output("generate", generate(z), (len(z), *operator.shape), what)


@no_type_check
def latent_search(
    key: Key[Array, ""],
    generate: Generate,
    operator: LinearOperator | Operator,
    y: ArrayLike,
    latent: int,
    *,
    weight: float,
    restarts: int = 8,
    steps: int = 300,
    learning_rate: float = 0.1,
) -> LatentSearch:
    """Adam on z from `restarts` draws of N(0, I) for each measurement, all in one batch.

    The rate falls to 0 along a cosine.

    Args:
      y: measurements [N, *measured].
      latent: L, the size of z. Rows of z are [N R]: the starts of the first measurement come first.
      weight: of |z|^2.
    Raises ConfigError for values out of range, y of another shape, and a generator whose images are
    not the operator's.
    """
    check_callable("generate", generate)
    for name, value in (("latent", latent), ("restarts", restarts), ("steps", steps)):
        check_range(name, value, 1, integer=True)
    check_finite("weight", check_range("weight", weight, 0))
    check_finite("learning_rate", check_range("learning_rate", learning_rate, 0, open_low=True))
    check_operator(operator)
    y = as_floats("y", y, least=jnp.result_type(float))
    if y.shape[1:] != operator.measured or not y.ndim:
        raise ConfigError(f"y must have the shape [N, *{operator.measured}], got {list(y.shape)}")
    n = len(y)
    many = jnp.repeat(measurements(operator, y, jnp.zeros((n, 1))), restarts, axis=0)

    def objective(z):
        residual = many - operator.apply(_image(generate, operator, z))
        return _square(residual) + weight * _square(z)

    optimizer = optax.adam(optax.cosine_decay_schedule(learning_rate, steps))
    slope = jax.grad(lambda z: jnp.sum(objective(z)))

    def step(carry, _):
        z, moments = carry
        update, moments = optimizer.update(slope(z), moments)
        return (optax.apply_updates(z, update), moments), None

    z = jax.random.normal(as_key("key", key), (n * restarts, latent))
    (z, _), _ = jax.lax.scan(step, (z, optimizer.init(z)), None, steps)
    ends = objective(z).reshape(n, restarts)
    # A start that diverged is never the best.
    best = jnp.argmin(jnp.where(jnp.isnan(ends), jnp.inf, ends), axis=1)
    chosen = z.reshape(n, restarts, latent)[jnp.arange(n), best]
    picked = _image(generate, operator, z).reshape(n, restarts, *operator.shape)
    return LatentSearch(chosen, picked[jnp.arange(n), best], ends)


@no_type_check
def latent_log_density(
    generate: Generate,
    operator: LinearOperator | Operator,
    y: ArrayLike,
    noise_std: float,
    decoder_std: float = 0.0,
) -> Callable[[Float[Array, "B L"]], Float[Array, "B"]]:
    """log p(z | y) up to a constant, for z ~ N(0, I), x ~ N(G(z), decoder_std^2 I), such as kernels
    of `gen_jax.mcmc` take:

        -|z|^2 / 2 - r^T (decoder_std^2 A A^T + noise_std^2 I)^-1 r / 2,   r = y - A G(z).

    Args:
      y: measurements [B, *measured], one for each chain, or one [*measured] for all.
      decoder_std: above 0 for a linear operator alone. An operator that rounds (JPEG) has the
        variance of its rounding beside that of the noise.
    Raises ConfigError for values that cannot be, and y of another shape.
    """
    check_noise(noise_std, positive=True)
    check_callable("generate", generate)
    check_operator(operator)
    check_finite("decoder_std", check_range("decoder_std", decoder_std, 0))
    linear = checked_linear("decoder_std > 0", operator) if decoder_std else None

    def log_density(z):
        x = _image(generate, operator, z)
        residual = measurements(operator, y, x) - operator.apply(x)
        if linear is None:
            variance = noise_variance(operator, noise_std, residual.dtype)
            return -0.5 * _square(z) - 0.5 * _square(residual / jnp.sqrt(variance))
        solved = linear.solve(residual, decoder_std**2, noise_std**2)
        axes = tuple(range(1, residual.ndim))
        return -0.5 * _square(z) - 0.5 * jnp.sum(residual * solved, axis=axes)

    return log_density
