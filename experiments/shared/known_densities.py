"""The density behind a dataset's name, where it is known."""

from collections.abc import Callable

import numpy as np

from gen_jax.classical import mixture
from gen_jax.data import known_densities
from gen_jax.data.toy import eight_gaussians_mixture, grid_mixture
from gen_jax.errors import ConfigError
from gen_jax.sampling import Target

MIXTURES: dict[str, Callable] = {
    "8gaussians": eight_gaussians_mixture,
    "25grid": grid_mixture,
}
"""2-D sets whose density is known: name -> weights, means, covariances."""


def target_of(name: str) -> Target:
    """The density behind a dataset's name. Raises ConfigError where there is none."""
    if name.startswith(known_densities.PREFIX):
        return known_densities.target_of(name)
    if name not in MIXTURES:
        allowed = ", ".join(("target:NAME", *MIXTURES))
        raise ConfigError(f"dataset={name!r} has no known density (allowed: {allowed})")
    law = mixture.Mixture(*MIXTURES[name]())
    log_density = lambda x: mixture.log_prob(law, x)
    sample = lambda key, n: mixture.sample(key, law, n)
    means, weights = np.asarray(law.means), np.asarray(law.weights, np.float64)
    return Target(log_density, 2, sample, 0.0, means, weights)
