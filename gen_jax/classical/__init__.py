"""Models without networks: Gaussian mixtures, Gaussian images, PCA, stationary textures."""

from gen_jax.classical import (
    gaussian_image,
    mixture,
    moments,
    probabilistic_pca,
    stationary_field,
    texture,
)
from gen_jax.classical.gaussian_image import PrincipalGaussian
from gen_jax.classical.mixture import Mixture, fit_em, fit_gradient, gaussian_mixture
from gen_jax.classical.stationary_field import Field
from gen_jax.classical.texture import (
    SYNTHESES,
    asymptotic_discrete_spot_noise,
    periodic_plus_smooth,
    random_phase_noise,
)

__all__ = [
    "SYNTHESES",
    "Field",
    "Mixture",
    "PrincipalGaussian",
    "asymptotic_discrete_spot_noise",
    "fit_em",
    "fit_gradient",
    "gaussian_image",
    "gaussian_mixture",
    "mixture",
    "moments",
    "periodic_plus_smooth",
    "probabilistic_pca",
    "random_phase_noise",
    "stationary_field",
    "texture",
]
