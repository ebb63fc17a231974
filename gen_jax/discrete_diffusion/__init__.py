"""Diffusion of tokens: masks or uniform noise, exact reverse steps, bounds and samplers.

`discrete_diffusion` is a model of integers. The rest takes a denoiser
`denoise(x_t int [B, N], t [B]) -> log p(x0_i = v | x_t) [B, N, V]`.
"""

from gen_jax.discrete_diffusion.bounds import Bound, bound, corrupt, rate_term, step_term
from gen_jax.discrete_diffusion.exact import table_denoiser
from gen_jax.discrete_diffusion.model import (
    Options,
    Parts,
    denoiser,
    discrete_diffusion,
    extrapolate,
    make_parts,
    model_from_parts,
)
from gen_jax.discrete_diffusion.samplers import (
    TOKEN_STEPPERS,
    TokenStepper,
    ancestral,
    by_confidence,
    euler,
    first_hitting,
    sample,
)
from gen_jax.discrete_diffusion.token_path import (
    TOKEN_PATHS,
    TokenPath,
    absorbing,
    cosine_keep,
    linear_keep,
    marginal,
    prior,
    ratios,
    reverse,
    uniform,
)

__all__ = [
    "TOKEN_PATHS",
    "TOKEN_STEPPERS",
    "Bound",
    "Options",
    "Parts",
    "TokenPath",
    "TokenStepper",
    "absorbing",
    "ancestral",
    "bound",
    "by_confidence",
    "corrupt",
    "cosine_keep",
    "denoiser",
    "discrete_diffusion",
    "euler",
    "extrapolate",
    "first_hitting",
    "linear_keep",
    "make_parts",
    "marginal",
    "model_from_parts",
    "prior",
    "rate_term",
    "ratios",
    "reverse",
    "sample",
    "step_term",
    "table_denoiser",
    "uniform",
]
