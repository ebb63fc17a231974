"""Every loss of a diffusion model by name."""

from collections.abc import Callable

from gen_jax.diffusion.learned_variance import hybrid_steps_loss
from gen_jax.diffusion.losses import ddpm_steps_loss, denoising_loss

LOSSES: dict[str, Callable] = {
    "denoising": denoising_loss,
    "ddpm": ddpm_steps_loss,
    "hybrid": hybrid_steps_loss,
}
"""`(predict, path, x0, eps, t, *, prediction, weighting, data_std)`; of "hybrid" `predict` returns
a pair, and a model of it has learned reverse variances."""
