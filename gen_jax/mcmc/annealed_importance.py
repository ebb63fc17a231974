"""Annealed importance sampling: from a density with exact samples to any other, with log Z.

With f_k = f_0^(1 - b_k) f_1^(b_k), 0 = b_0 < ... < b_n = 1, a point drawn from f_0 is moved by a
kernel of f_1, ..., f_(n-1) in turn, and its weight is the product of f_k(x_k) / f_(k-1)(x_k), x_k
the point before the k-th move (neal2001 sec. 2). The mean weight is Z_1 / Z_0 without bias; its
logarithm is too small in the mean, and much too small when few weights carry all. Run the other
way, from exact samples of f_1 to f_0, the same function bounds log Z from above (grosse2015).
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from gen_jax.checks import per_point
from gen_jax.errors import ConfigError, check_range
from gen_jax.mcmc.kernel import Kernel
from gen_jax.mcmc.positions import start_points
from gen_jax.mcmc.run import advance
from gen_jax.randomness import sample_keys
from gen_jax.sampling.importance import effective_sample_size, log_normalizer, pareto_k
from gen_jax.types import Array, Estimate, Float, Key


class Annealed(NamedTuple):
    """Weighted points and the ratio of the two normalisers.

    Fields:
      x: final points [N, ...]; with their weights they represent the target.
      log_weights: [N] in nats; their mean weight estimates Z_1 / Z_0.
      log_normalizer: log(Z_1 / Z_0) in nats with its standard error, both []; log Z_1 when f_0 is
        normalised. The error misleads when the weights have a heavy tail: see `pareto_k`.
      effective_sample_size: (sum w)^2 / sum w^2 [], from 1 to N.
      invalid: points whose weight was NaN and became 0 [].
      pareto_k: of the weights' tail []; trust log_normalizer and its error below 0.7 and, for N
        below 2200, 1 - 1 / log10(N) (`sampling.importance.pareto_k`).
    """

    x: Any
    log_weights: Float[Array, "N"]
    log_normalizer: Estimate
    effective_sample_size: Float[Array, ""]
    invalid: Array
    pareto_k: Float[Array, ""]


def summarise(x: Any, log_weights: Float[Array, "N"]) -> Annealed:
    """The estimates of log-weights; NaN counts as a weight of 0."""
    bad = jnp.isnan(log_weights)
    log_weights = jnp.where(bad, -jnp.inf, log_weights)
    size = effective_sample_size(log_weights)
    value, tail = log_normalizer(log_weights), pareto_k(log_weights)
    return Annealed(x, log_weights, value, size, bad.sum(), tail)


def annealed_importance(
    key: Key[Array, "*batch"],
    start_density: Callable,
    log_density: Callable,
    x: Any,
    inverse_temperatures: Any,
    kernel: Callable[[Callable], Kernel],
    *,
    steps: int = 1,
) -> Annealed:
    """Carry exact samples of one density to another, with the ratio of normalisers (neal2001).

    The functions are traced and compiled at each call, with what they read from outside at that
    time; for many calls `jax.jit` one.

    Args:
      key: one key, or one per point [N].
      start_density, log_density: of f_0 and f_1, `x [N, ...] -> [N]` in nats; f_0 up to nothing if
        the result is to be log Z of f_1 itself.
      x: independent exact samples [N, ...] of f_0, an array or a pytree.
      inverse_temperatures: b [n + 1], rising from 0 to 1.
      kernel: makes the kernel of a log-density: `lambda f: hmc(f, 0.1, 5)`.
      steps: of the kernel at each b.
    Raises ConfigError for b that do not rise from 0 to 1, or steps < 1.
    """
    check_range("steps", steps, 1, integer=True)
    b = np.asarray(inverse_temperatures, np.float64)
    if b.ndim != 1 or len(b) < 2 or b[0] != 0 or b[-1] != 1 or not np.all(np.diff(b) > 0):
        raise ConfigError("inverse_temperatures must be numbers that rise from 0 to 1")
    x = start_points(x)
    run = partial(_anneal, start_density, log_density, kernel, steps)
    return jax.jit(run)(key, x, jnp.asarray(b))


def _anneal(start_density, log_density, kernel, steps, key, x, levels):
    keys = sample_keys(key, len(jax.tree.leaves(x)[0]))
    both = lambda x: (
        per_point("log_density", start_density)(x),
        per_point("log_density", log_density)(x),
    )

    def body(carry, level):
        x, log_weights = carry
        now, before, index = level
        low, high = both(x)
        log_weights += (now - before).astype(low.dtype) * (high - low)

        def bridge(x):
            low, high = both(x)
            return low + now.astype(low.dtype) * (high - low)

        chain = kernel(bridge)
        state, _ = advance(keys, chain, chain.init(x), steps, index * steps)
        return (state.x, log_weights), None

    start = (x, jnp.zeros_like(start_density(x)))
    count = len(levels) - 1
    rows = (levels[1:-1], levels[:-2], jnp.arange(count - 1))
    (x, log_weights), _ = jax.lax.scan(body, start, rows)
    low, high = both(x)
    last = (levels[-1] - levels[-2]).astype(low.dtype)
    return summarise(x, log_weights + last * (high - low))
