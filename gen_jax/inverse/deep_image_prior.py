"""The deep image prior (ulyanov2018): an untrained network fitted to one degraded image.

The network's parameters are fitted by Adam so that A f(z) is y for a fixed random z. Natural images
come before noise: the error to the clean image falls, and rises again as the noise is fitted. The
iterates move least where the clean image is nearest: the windowed variance

    V_t = mean over the last W iterates of |x_s - their mean|^2

says when to stop without the clean image (wang2023stopping, algorithm 1).
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.typing import ArrayLike

from gen_jax.checks import as_floats, as_key, as_network, check_output, no_type_check
from gen_jax.errors import ConfigError, check_finite, check_range
from gen_jax.inverse.measurements import check_operator, measurements
from gen_jax.inverse.operators import LinearOperator, Operator
from gen_jax.types import Array, Float, Int, Key


class Fitted(NamedTuple):
    """What `deep_image_prior` found.

    Fields:
      x: the iterate at the stop [*shape], last: that of the last step.
      stop: the step at which the windowed variance was smallest when patience ended.
      losses: mean square of y - A x_t before each update, [T].
      errors: mean square of x_t - clean, [T]; NaN without a clean image.
      variances: V_t, [T]; infinite until the window is full.
    """

    x: Float[Array, "..."]
    last: Float[Array, "..."]
    stop: Int[Array, ""]
    losses: Float[Array, "T"]
    errors: Float[Array, "T"]
    variances: Float[Array, "T"]


class _Best(NamedTuple):
    """The smallest windowed variance so far, until patience ends."""

    variance: Array
    x: Array
    step: Array


@no_type_check
def deep_image_prior(
    key: Key[Array, ""],
    network: Any,
    operator: LinearOperator | Operator,
    y: ArrayLike,
    *,
    steps: int = 2000,
    learning_rate: float = 0.01,
    channels: int = 16,
    input_noise: float = 0.03,
    window: int = 50,
    patience: int = 300,
    clean: ArrayLike | None = None,
) -> Fitted:
    """Fit a network to one measurement y [*measured]; for several images use `jax.vmap`.

    Args:
      network: `init(key, x, noise, condition)` and `apply(params, x, noise, condition)` on images
        [1, H, W, channels], such as `nets.UNet`; the first C channels of its output are the image.
      channels: of the random input, uniform in [0, 0.1]; at least C.
      input_noise: standard deviation of what is added to the input at each step.
      window: W, iterates whose variance is watched.
      patience: steps without a smaller variance after which it stops. All steps are made, for the
        curves; what comes after the stop does not change `x`.
      clean: the true image, for `errors` alone.
    Raises ConfigError for values out of range, and for y and clean of another shape.
    """
    as_network("network", network)
    if len(check_operator(operator).shape) != 3:
        raise ConfigError(f"operator is of {operator.shape}, must be of images [H, W, C]")
    height, width, depth = operator.shape
    for name, value, low in (
        ("steps", steps, 1),
        ("channels", channels, depth),
        ("window", window, 2),
        ("patience", patience, 1),
    ):
        check_range(name, value, low, integer=True)
    check_finite("learning_rate", check_range("learning_rate", learning_rate, 0, open_low=True))
    check_finite("input_noise", check_range("input_noise", input_noise, 0))
    key_input, key_init, key_steps = jax.random.split(as_key("key", key), 3)
    z = jax.random.uniform(key_input, (1, height, width, channels), maxval=0.1)
    time = jnp.zeros(1)
    params = network.init(key_init, z, time, None)
    target = measurements(operator, y, jnp.zeros((1, *operator.shape)))
    truth = jnp.full(operator.shape, jnp.nan) if clean is None else as_floats("clean", clean)
    if truth.shape != operator.shape:
        raise ConfigError(f"clean has shape {truth.shape}, must be {operator.shape}")

    def image(params, z):
        x = network.apply(params, z, time, None)
        check_output("network", x, z.shape)
        return x[..., :depth]

    def loss(params, z):
        x = image(params, z)
        return jnp.mean((operator.apply(x) - target) ** 2), x[0]

    optimizer = optax.adam(learning_rate)

    def step(carry, index):
        params, moments, recent, _, best = carry
        noise = jax.random.normal(jax.random.fold_in(key_steps, index), z.shape)
        (value, x), slope = jax.value_and_grad(loss, has_aux=True)(params, z + input_noise * noise)
        recent = recent.at[index % window].set(x)
        variance = jnp.mean(jnp.sum((recent - recent.mean(0)) ** 2, axis=(1, 2, 3)))
        variance = jnp.where(index >= window - 1, variance, jnp.inf)
        better = (variance < best.variance) & (index - best.step <= patience)
        best = jax.tree.map(
            lambda new, old: jnp.where(better, new, old), _Best(variance, x, index), best
        )
        error = jnp.mean((x - truth) ** 2)
        update, moments = optimizer.update(slope, moments, params)
        params = optax.apply_updates(params, update)
        return (params, moments, recent, x, best), (value, error, variance)

    recent, blank = jnp.zeros((window, *operator.shape)), jnp.zeros(operator.shape)
    best = _Best(jnp.array(jnp.inf), blank, jnp.asarray(window - 1))
    start = (params, optimizer.init(params), recent, blank, best)
    (*_, last, best), curves = jax.lax.scan(step, start, jnp.arange(steps))
    found = jnp.isfinite(best.variance)  # not with fewer steps than the window has
    stop = jnp.where(found, best.step, steps - 1)
    return Fitted(jnp.where(found, best.x, last), last, stop, *curves)
