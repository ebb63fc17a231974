"""What `experiments.coupling` starts from: degraded images, and what it reports of them."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.shared.registry import Saved
from experiments.shared.restoration import psnr
from gen_jax import inverse, metrics
from gen_jax.data import DatasetSpec
from gen_jax.data.pairs import parse
from gen_jax.diffusion import Parts
from gen_jax.errors import ConfigError
from gen_jax.flow_matching import coupled_batch
from gen_jax.flow_matching.coupled import halves
from gen_jax.frozen import parts_of
from gen_jax.inverse import LinearOperator
from gen_jax.model import sample_in_batches

OPERATORS: dict[str, Callable[..., LinearOperator]] = {
    "inpainting": lambda config, shape: inverse.inpainting(upper_half(shape)),
    "super_resolution": lambda config, shape: inverse.super_resolution(shape, config.factor),
    "denoising": lambda config, shape: inverse.inpainting(np.ones(shape, bool)),
}
"""What is measured of an image: `(config, shape) -> operator`."""

DRAWS = 4
"""Samples of one guess, of which the spread is taken."""


def upper_half(shape: tuple[int, ...]) -> np.ndarray:
    """True where the image is seen."""
    rows = np.arange(shape[0]) < shape[0] // 2
    return np.broadcast_to(rows[:, None, None], shape)


def degradation(config: Any, spec: DatasetSpec) -> tuple[Any, tuple[int, ...]]:
    """The function of `coupled`, None for pairs; and the shape of a target."""
    if spec.kind != "images":
        raise ConfigError(f"dataset={spec.name!r} has no images")
    height, width, channels = spec.shape
    if parse(spec.name) is not None:
        return None, (height, width // 2, channels)
    shape = (height, width, channels)
    operator, noise_std = OPERATORS[config.operator](config, shape), config.noise_std

    def degrade(key, x0):
        y = operator.apply(x0)
        return operator.pseudo_inverse(y + noise_std * jax.random.normal(key, y.shape))

    return degrade, shape


def near_targets(saved: Saved, test: dict[str, np.ndarray], num: int) -> dict[str, Any]:
    """How near samples come to held-out targets, and how much those of one guess differ.

    Of fewer than two there are no errors, and nothing is measured.
    """
    if num < 2:
        return {}
    parts, _ = parts_of(saved.model, saved.state, Parts)
    degrade, _ = degradation(saved.config, saved.spec)
    key_guess, key_draw = jax.random.split(jax.random.key(0))
    x = jnp.asarray(test["x"][:num])
    target, guess = coupled_batch(parts.options, degrade, key_guess, x)
    many = jnp.repeat(guess, DRAWS, 0)
    n = len(many)
    drawn = sample_in_batches(saved.model, key_draw, saved.state, n, min(n, 512), image=many)
    drawn = halves(drawn)[1] if degrade is None else drawn
    each = np.asarray(drawn, np.float64).reshape(len(guess), DRAWS, *target.shape[1:])
    truth = np.asarray(target, np.float64)
    grey = np.clip((np.asarray(guess) + 1) * 127.5, 0, 255)
    spread = each.std(1, ddof=1).reshape(len(guess), -1).mean(1)
    return {
        "psnr_guess": metrics.mean_and_error(psnr(grey, truth)),
        "psnr_sample": metrics.mean_and_error(psnr(each[:, 0], truth)),
        "psnr_mean": metrics.mean_and_error(psnr(each.mean(1), truth)),
        "std_over_draws_grey_levels": metrics.mean_and_error(spread),
    }
