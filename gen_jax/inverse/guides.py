"""Solvers of one form, by name: functions denoiser -> denoiser that take a measurement."""

from collections.abc import Callable

from gen_jax.inverse.dps import dps
from gen_jax.inverse.moment_matching import moment_matching
from gen_jax.inverse.null_space import null_space
from gen_jax.inverse.proximal import proximal
from gen_jax.inverse.pseudo_inverse_guidance import pseudo_inverse_guidance
from gen_jax.registries import described

GUIDES: dict[str, Callable] = {
    "dps": described(
        "Steps against the gradient of the residual through the denoiser (chung2023dps).",
        lambda d, path, operator, y, noise, std: dps(d, path, operator, y, noise),
    ),
    "pseudo_inverse_guidance": pseudo_inverse_guidance,
    "moment_matching": described(
        "The Gaussian posterior with the denoiser's own covariance.",
        lambda d, path, operator, y, noise, std: moment_matching(d, path, operator, y, noise),
    ),
    "proximal": proximal,
    "null_space": described(
        "The range of the operator from the measurement, its null space from the denoiser.",
        lambda d, path, operator, y, noise, std: null_space(d, operator, y),
    ),
}
"""`(denoise, path, operator, y, noise_std, data_std) -> denoise`."""
