"""Gaussian mixtures: density, samples, and two ways to fit them."""

from gen_jax.classical.components import (
    COVARIANCES,
    Mixture,
    log_prob,
    responsibilities,
    sample,
)
from gen_jax.classical.em import Fit, fit_em
from gen_jax.classical.gradient_fit import fit_gradient
from gen_jax.classical.mixture_model import fitted_mixture, gaussian_mixture

__all__ = [
    "COVARIANCES",
    "Fit",
    "Mixture",
    "fit_em",
    "fit_gradient",
    "fitted_mixture",
    "gaussian_mixture",
    "log_prob",
    "responsibilities",
    "sample",
]
