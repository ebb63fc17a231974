"""log Z and samples of an energy by annealed importance sampling from a Gaussian.

An energy here is that of a density against a base N(0, base_std^2 I), which confines it (xie2016):

    log p(x) = log N(x; 0, base_std^2 I) - F(x) - log Z,   Z = E_base[exp(-F)].

The estimate of Z has no bias, so that of log Z is too small on average (jensen1906), and that of
log p(x) too large: a likelihood from it is optimistic, by about half the squared standard error
while that is small, and by any amount when the chains miss parts of the model.
"""

from collections.abc import Callable
from typing import Annotated, NamedTuple

import jax.numpy as jnp
import numpy as np

from gen_jax.annotations import floats
from gen_jax.batching import as_rows
from gen_jax.mcmc import Annealed, advance, annealed_importance, hmc
from gen_jax.randomness import fold_in, normal, sample_keys
from gen_jax.ranges import Count, Positive, Range
from gen_jax.sampling.gaussian import LOG_2_PI
from gen_jax.types import Array, Float, Key


class Annealing(NamedTuple):
    """How an energy is annealed.

    Fields:
      levels: of the inverse temperature, from 0 to 1; they rise as the square of a uniform grid, as
        the first change the most.
      step_size, leapfrog: of Hamiltonian Monte Carlo at every level, in the units of x.
      chains: for log Z.
    """

    levels: Count = 200
    step_size: Positive = 0.05
    leapfrog: Count = 5
    chains: Annotated[int, Range(2)] = 256


@floats(x="...")
def log_base(x: Float[Array, "B ..."], std: float) -> Float[Array, "B"]:
    """log N(x; 0, std^2 I) in nats."""
    flat = as_rows(x) / std
    return -0.5 * jnp.sum(flat**2, 1) - flat.shape[1] * (LOG_2_PI / 2 + jnp.log(std))


def anneal(
    key: Key[Array, "*batch"],
    tilt: Callable[[Array], Array],
    n: int,
    shape: tuple[int, ...],
    base_std: float,
    options: Annealing,
) -> Annealed:
    """n chains from the base to the model: their ends, weights and log Z with its error.

    The ends have made one more move, of the model itself, which changes no weight: with a single
    level they would be draws of the base.

    Args:
      key: one key, or one per chain [n].
      tilt: F, `x [n, *shape] -> [n]` in nats.
    """
    keys = sample_keys(key, n)
    base = lambda x: log_base(x, base_std)
    model = lambda x: base(x) - tilt(x)
    kernel = lambda density: hmc(density, options.step_size, options.leapfrog)
    start = base_std * normal(fold_in(keys, 0), shape)
    levels = np.linspace(0, 1, options.levels + 1) ** 2
    found = annealed_importance(fold_in(keys, 1), base, model, start, levels, kernel)
    chain = kernel(model)
    last, _ = advance(fold_in(keys, 2), chain, chain.init(found.x), 1)
    return found._replace(x=last.x)
