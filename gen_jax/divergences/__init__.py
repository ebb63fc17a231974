"""Distances between distributions, by every route, and the couplings that go with them.

Plain mathematics of arrays and callables: `closed_form` for Gaussians, `discrete` for probability
vectors, `quadrature` and `monte_carlo` for densities, `variational` for samples with a critic,
`wasserstein` and `sinkhorn` for sets of points.
"""

from gen_jax.divergences import (
    closed_form,
    couplings,
    discrete,
    f_divergence,
    monte_carlo,
    quadrature,
    sinkhorn,
    variational,
    wasserstein,
)
from gen_jax.divergences.closed_form import (
    gaussian_chi_square,
    gaussian_kl,
    gaussian_reverse_kl,
    gaussian_squared_hellinger,
    gaussian_wasserstein,
)
from gen_jax.divergences.couplings import COUPLINGS
from gen_jax.divergences.discrete import DISCRETE
from gen_jax.divergences.f_divergence import F_DIVERGENCES, FDivergence
from gen_jax.divergences.variational import OBJECTIVES
from gen_jax.divergences.wasserstein import (
    assignment_wasserstein,
    max_sliced_wasserstein,
    sinkhorn_divergence,
    sliced_wasserstein,
    wasserstein_1d,
)

__all__ = [
    "COUPLINGS",
    "DISCRETE",
    "F_DIVERGENCES",
    "OBJECTIVES",
    "FDivergence",
    "assignment_wasserstein",
    "closed_form",
    "couplings",
    "discrete",
    "f_divergence",
    "gaussian_chi_square",
    "gaussian_kl",
    "gaussian_reverse_kl",
    "gaussian_squared_hellinger",
    "gaussian_wasserstein",
    "max_sliced_wasserstein",
    "monte_carlo",
    "quadrature",
    "sinkhorn",
    "sinkhorn_divergence",
    "sliced_wasserstein",
    "variational",
    "wasserstein",
    "wasserstein_1d",
]
