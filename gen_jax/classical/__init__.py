"""Models without networks: Gaussian mixtures."""

from gen_jax.classical import mixture
from gen_jax.classical.mixture import Mixture, fit_em, fit_gradient, gaussian_mixture

__all__ = ["Mixture", "fit_em", "fit_gradient", "gaussian_mixture", "mixture"]
