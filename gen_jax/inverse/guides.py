"""Solvers of one form, by name: functions denoiser -> denoiser that take a measurement."""

from collections.abc import Callable

from gen_jax.inverse.dps import dps
from gen_jax.inverse.moment_matching import moment_matching
from gen_jax.inverse.null_space import null_space
from gen_jax.inverse.proximal import proximal
from gen_jax.inverse.pseudo_inverse_guidance import pseudo_inverse_guidance

GUIDES: dict[str, Callable] = {
    "dps": lambda d, path, operator, y, noise, std: dps(d, path, operator, y, noise),
    "pseudo_inverse_guidance": pseudo_inverse_guidance,
    "moment_matching": lambda d, path, operator, y, noise, std: moment_matching(
        d, path, operator, y, noise
    ),
    "proximal": proximal,
    "null_space": lambda d, path, operator, y, noise, std: null_space(d, operator, y),
}
"""`(denoise, path, operator, y, noise_std, data_std) -> denoise`."""
