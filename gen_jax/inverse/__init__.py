"""Inverse problems: a trained denoiser as the prior of an image of which y = A x0 + noise is known.

Solvers are functions denoiser -> denoiser (`GUIDES`), so that every sampler works unchanged, or
functions of steppers. For a Gaussian mixture the posterior is known exactly: `mixture_posterior`.
"""

from collections.abc import Callable

from gen_jax.inverse.calibration import coverage, ranks
from gen_jax.inverse.ddrm import ddrm
from gen_jax.inverse.deep_image_prior import Fitted, deep_image_prior
from gen_jax.inverse.dps import dps
from gen_jax.inverse.guides import GUIDES
from gen_jax.inverse.jpeg import jpeg
from gen_jax.inverse.latent_search import LatentSearch, latent_log_density, latent_search
from gen_jax.inverse.mixture_posterior import Posterior, mixture_posterior
from gen_jax.inverse.moment_matching import moment_matching
from gen_jax.inverse.null_space import null_space
from gen_jax.inverse.operators import (
    LinearOperator,
    Operator,
    blur,
    colourisation,
    dense,
    gaussian_kernel,
    inpainting,
    linear_operator,
    super_resolution,
    uncropping,
)
from gen_jax.inverse.proximal import proximal
from gen_jax.inverse.pseudo_inverse_guidance import pseudo_inverse_guidance
from gen_jax.inverse.repaint import repaint
from gen_jax.inverse.replacement import replacement
from gen_jax.inverse.twisted_smc import Particles, gaussian_twist, twisted_smc

OPERATORS: dict[str, Callable[..., LinearOperator | Operator]] = {
    "inpainting": inpainting,
    "uncropping": uncropping,
    "colourisation": colourisation,
    "super_resolution": super_resolution,
    "blur": blur,
    "dense": dense,
    "jpeg": jpeg,
}
"""Constructors of every measurement by name."""

__all__ = [
    "GUIDES",
    "OPERATORS",
    "Fitted",
    "LatentSearch",
    "LinearOperator",
    "Operator",
    "Particles",
    "Posterior",
    "blur",
    "colourisation",
    "coverage",
    "ddrm",
    "deep_image_prior",
    "dense",
    "dps",
    "gaussian_kernel",
    "gaussian_twist",
    "inpainting",
    "jpeg",
    "latent_log_density",
    "latent_search",
    "linear_operator",
    "mixture_posterior",
    "moment_matching",
    "null_space",
    "proximal",
    "pseudo_inverse_guidance",
    "ranks",
    "repaint",
    "replacement",
    "super_resolution",
    "twisted_smc",
    "uncropping",
]
