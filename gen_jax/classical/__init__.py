"""Models without networks: Gaussian mixtures, Gaussian images, PCA, stationary textures."""

from gen_jax.classical import (
    gaussian_image,
    mixture,
    moments,
    probabilistic_pca,
    stationary_field,
    texture,
)
from gen_jax.classical.gaussian_image import PrincipalGaussian, fitted_gaussian
from gen_jax.classical.mixture import (
    Mixture,
    fit_em,
    fit_gradient,
    fitted_mixture,
    gaussian_mixture,
)
from gen_jax.classical.stationary_field import Field, fitted_field
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
    "fitted_field",
    "fitted_gaussian",
    "fitted_mixture",
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
