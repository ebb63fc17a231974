"""Fixed-step methods for the Ito equation dX = a(X, t) dt + b(X, t) dB with diagonal noise.

Each coordinate has its own Brownian motion, and b_i may depend on x_i and t only (Euler-Maruyama
alone allows more). All methods converge to the **Ito** solution; stochastic Heun, which left alone
would find Stratonovich's, is given the drift a - b b' / 2. Times may fall: then dt < 0, b is read
at the later time and the noise has variance |dt|, as in the reverse-time equations of diffusion
models (song2021 eq. 6).

Strong order in the step (kloeden1992, ch. 10-11): Euler-Maruyama 1/2 (1 where b does not depend on
x), Milstein 1, stochastic Heun 1. The weak order is 1 for all three.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from gen_jax.errors import ConfigError, check_choice, shown
from gen_jax.randomness import fold_in, normal, sample_keys
from gen_jax.solvers.ode import as_floating, as_grid, prepend
from gen_jax.types import Array, Float, Key

Coefficient = Callable[[Array, Array], Array]


def euler_maruyama(
    drift: Coefficient, diffusion: Coefficient, x: Array, t: Array, h: Array, dw: Array
) -> Array:
    """X + a h + b dW (maruyama1955)."""
    return x + h * drift(x, t) + diffusion(x, t) * dw


def milstein(
    drift: Coefficient, diffusion: Coefficient, x: Array, t: Array, h: Array, dw: Array
) -> Array:
    """X + a h + b dW + b b' (dW^2 - |h|) / 2 (milstein1974), with b b' by one jvp."""
    b, slope = _diffusion_and_slope(diffusion, x, t)
    return x + h * drift(x, t) + b * dw + 0.5 * slope * (dw**2 - jnp.abs(h))


def stochastic_heun(
    drift: Coefficient, diffusion: Coefficient, x: Array, t: Array, h: Array, dw: Array
) -> Array:
    """Heun's method on the equation's Stratonovich form, whose drift is a - b b' / 2.

    Two calls of the drift per step; without noise it is Heun's method, of order 2 (ruemelin1982).
    """

    def increment(x, t):
        b, slope = _diffusion_and_slope(diffusion, x, t)
        return h * drift(x, t) - 0.5 * jnp.abs(h) * slope + b * dw

    first = increment(x, t)
    return x + 0.5 * (first + increment(x + first, t + h))


SOLVERS: dict[str, Callable[..., Array]] = {
    "euler_maruyama": euler_maruyama,
    "milstein": milstein,
    "stochastic_heun": stochastic_heun,
}
"""Steps by name: `(drift, diffusion, x [B, ...], t [], h [], dw [B, ...]) -> x`; var dw = |h|."""


def integrate(
    key: Key[Array, "*batch"],
    drift: Coefficient,
    diffusion: Coefficient,
    x: Float[Array, "B ..."],
    ts: Float[Array, " times"],
    method: str = "euler_maruyama",
    *,
    trajectory: bool = False,
) -> Float[Array, "..."]:
    """Integrate dX = drift dt + diffusion dB (Ito) through `ts` [n + 1], rising or falling.

    Args:
      key: one key, or one per sample [B]. A sample's noise depends on its own key (its index
        folded into `key`) and on the step, not on B; `drift = 0, diffusion = 1` returns the very
        Brownian path that any other equation is given.
      drift, diffusion: `(x [B, ...], t []) -> [B, ...]` or what broadcasts to it; diffusion is a
        standard deviation per square root of time.
      x: state at ts[0] [B, ...].
      method: a name in SOLVERS.
      trajectory: return the states at all times [n + 1, B, ...], and not the last only.
    Raises ConfigError for an unknown method, a number of keys other than B, and a drift or
    diffusion that does not broadcast to x.
    """
    step = SOLVERS[check_choice("method", method, SOLVERS)]
    x, ts = as_floating(x), as_grid(ts)
    drift, diffusion = _like_x("drift", drift), _like_x("diffusion", diffusion)
    keys = sample_keys(key, x.shape[0])

    def body(x, inputs):
        index, t, s = inputs
        dw = jnp.sqrt(jnp.abs(s - t)) * normal(fold_in(keys, index), x.shape[1:], x.dtype)
        x = step(drift, diffusion, x, t, s - t, dw).astype(x.dtype)
        return x, x if trajectory else None

    last, later = jax.lax.scan(body, x, (jnp.arange(ts.shape[0] - 1), ts[:-1], ts[1:]))
    return prepend(x, later) if trajectory else last


def _like_x(name: str, function: Coefficient) -> Coefficient:
    """The function, which raises ConfigError for what does not broadcast to x."""

    def checked(x, t):
        value = function(x, t)
        try:
            fits = jnp.broadcast_shapes(jnp.shape(value), x.shape) == x.shape
        except (TypeError, ValueError):
            fits = False
        if not fits:
            given = f"shape {value.shape}" if hasattr(value, "shape") else shown(value)
            raise ConfigError(f"{name} returned {given}, allowed: what broadcasts to {x.shape}")
        return value

    return checked


def _diffusion_and_slope(diffusion: Coefficient, x: Array, t: Array) -> tuple[Array, Array]:
    """b and b db/dx, each of x's shape: b is diagonal, so the derivative along b is enough."""
    full = lambda y: jnp.broadcast_to(diffusion(y, t), y.shape).astype(y.dtype)
    return jax.jvp(full, (x,), (full(x),))
