"""Train a flow from degraded images to clean ones: inpainting, super-resolution, denoising, pairs.

    python -m experiments.coupling                                     # lower half hidden
    python -m experiments.coupling --operator super_resolution --factor 2
    python -m experiments.coupling --dataset thick:digits --tau 0.3

Then `python -m experiments.evaluate RUN_DIR`: besides the distances of samples, the signal-to-noise
ratio of one sample and of the guess it starts from, and how much the samples of one guess differ.
Pairs (edges:, thick:, colour: and a name) go from the left image to the right one.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import tyro

from experiments.shared.config import RunConfig
from experiments.shared.diffusion_options import transform_of
from experiments.shared.networks import NetworkConfig, make_network
from experiments.shared.option_types import Count, Positive, Share, Weight, Width
from experiments.shared.registry import Experiment, Saved
from experiments.shared.runner import run
from gen_jax import data, inverse, metrics
from gen_jax.data import DatasetSpec
from gen_jax.data.pairs import parse
from gen_jax.diffusion import Parts
from gen_jax.errors import ConfigError, check_choice
from gen_jax.flow_matching import coupled, coupled_batch
from gen_jax.flow_matching.coupled import halves
from gen_jax.frozen import parts_of
from gen_jax.inverse import LinearOperator
from gen_jax.model import GenerativeModel
from gen_jax.optimization import one_cycle_adam
from gen_jax.training import run_main

OPERATORS: dict[str, Callable[..., LinearOperator]] = {
    "inpainting": lambda config, shape: inverse.inpainting(upper_half(shape)),
    "super_resolution": lambda config, shape: inverse.super_resolution(shape, config.factor),
    "denoising": lambda config, shape: inverse.inpainting(np.ones(shape, bool)),
}
"""What is measured of an image: `(config, shape) -> operator`."""

DRAWS = 4
"""Samples of one guess, of which the spread is taken."""


@dataclass(frozen=True)
class Config(RunConfig):
    """A flow from A^+ y plus noise; the defaults train on 8x8 digits."""

    operator: str = "inpainting"
    """inpainting (the lower half is hidden), super_resolution or denoising; not of pairs"""
    factor: Width = 2
    """Of super_resolution."""
    noise_std: Weight = 0.1
    """Of the measurement, in units of images in [-1, 1]."""
    tau: Weight = 0.5
    """Noise on what the flow starts from; at 0 it learns the mean image."""
    learning_rate: Positive = 2e-3
    """Peak of a one-cycle schedule of Adam."""
    ema_decay: Share = 0.998
    sampling_steps: Count = 32
    network: NetworkConfig = field(default_factory=NetworkConfig)

    def check(self) -> None:
        """Raise ConfigError for what cannot work, before anything is loaded or compiled."""
        super().check()
        check_choice("operator", self.operator, OPERATORS)
        self.network.check()


def upper_half(shape: tuple[int, ...]) -> np.ndarray:
    """True where the image is seen."""
    rows = np.arange(shape[0]) < shape[0] // 2
    return np.broadcast_to(rows[:, None, None], shape)


def degradation(config: Config, spec: DatasetSpec) -> tuple[Any, tuple[int, ...]]:
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


def build(config: Config, spec: DatasetSpec | None = None) -> GenerativeModel:
    """The model of a configuration; raises ConfigError for options that cannot work."""
    config.check()
    spec = spec or data.describe(config.dataset)
    degrade, shape = degradation(config, spec)
    transform, data_std = transform_of(spec)
    network = make_network(config.network, spec)
    return coupled(
        network.clone(num_classes=0),
        one_cycle_adam(config.steps, config.learning_rate),
        degrade,
        shape=shape,
        tau=config.tau,
        data_std=data_std,
        transform=transform,
        ema_decay=config.ema_decay,
        num_steps=config.sampling_steps,
    )


def psnr(made: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Peak signal-to-noise ratio in dB of each image, grey levels 0 .. 255."""
    square = ((made.astype(np.float64) - x) ** 2).reshape(len(x), -1).mean(1)
    return 10 * np.log10(255**2 / np.maximum(square, 1e-10))


def measure_test(saved: Saved, test: dict[str, np.ndarray], num: int) -> dict[str, Any]:
    """How near samples come to held-out targets, and how much those of one guess differ."""
    parts, _ = parts_of(saved.model, saved.state, Parts)
    degrade, _ = degradation(saved.config, saved.spec)
    key_guess, key_draw = jax.random.split(jax.random.key(0))
    x = jnp.asarray(test["x"][:num])
    target, guess = coupled_batch(parts.options, degrade, key_guess, x)
    many = jnp.repeat(guess, DRAWS, 0)
    drawn = saved.model.sample(key_draw, saved.state, len(many), image=many)
    drawn = halves(drawn)[1] if degrade is None else drawn
    each = np.asarray(drawn, np.float64).reshape(len(guess), DRAWS, *target.shape[1:])
    truth = np.asarray(target, np.float64)
    grey = np.clip((np.asarray(guess) + 1) * 127.5, 0, 255)
    spread = each.std(1, ddof=1).reshape(len(guess), -1).mean(1)
    return {
        "psnr_guess": metrics.mean_and_error(psnr(grey, truth)),
        "psnr_sample": metrics.mean_and_error(psnr(each[:, 0], truth)),
        "psnr_mean": metrics.mean_and_error(psnr(each.mean(1), truth)),
        "std_over_draws": metrics.mean_and_error(spread),
    }


EXPERIMENT = Experiment("coupling", Config, build, "flow matching", measure_test=measure_test)


def main() -> None:
    run(EXPERIMENT, tyro.cli(Config, description=__doc__))


if __name__ == "__main__":
    run_main(main)
