"""A VAE at given parameters: what the bounds, estimates and imputation are computed from."""

from collections.abc import Callable
from typing import NamedTuple

from gen_jax.types import Array
from gen_jax.vae.likelihoods import Likelihood
from gen_jax.vae.posterior import Posterior
from gen_jax.vae.priors import Prior, standard_normal


class VAEFunctions(NamedTuple):
    """A VAE at given parameters, and under a given condition.

    Fields:
      encode: `inputs [B, ...] -> Posterior`.
      decode: `z [N, D] -> raw [N, *shape, P]`.
      likelihood: p(x | raw).
      prior: p(z); None for the standard normal one.
      inputs: `x [B, *shape] -> inputs`, from the likelihood's values to what `encode` takes.
    """

    encode: Callable[[Array], Posterior]
    decode: Callable[[Array], Array]
    likelihood: Likelihood
    prior: Prior | None = None
    inputs: Callable[[Array], Array] = lambda x: x

    def posterior(self, x: Array) -> Posterior:
        """q(z | x) of the likelihood's values x [B, *shape]."""
        return self.encode(self.inputs(x))

    def prior_of(self, dim: int) -> Prior:
        """p(z) of z [D]."""
        return standard_normal(dim) if self.prior is None else self.prior
