"""Stationary Gaussian textures: the field of a picture's patches, beside random phase noise.

    python -m experiments.texture                          # brick
    python -m experiments.texture --dataset grass
    python -m experiments.texture --dataset file:PICTURE.jpg --side 512

Seconds of work. The held-out patches overlap, so the error of their bits/dim is too small.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import jax
import jax.numpy as jnp
import numpy as np

from experiments.shared.classical_options import transform_of
from experiments.shared.command_line import read_options
from experiments.shared.config import RunConfig
from experiments.shared.option_types import Count, Positive, Steps, within
from experiments.shared.registry import Experiment
from experiments.shared.runner import run
from gen_jax import data, plotting
from gen_jax.classical import random_phase_noise
from gen_jax.classical.stationary_field import stationary_field
from gen_jax.data import DatasetSpec, textures
from gen_jax.errors import ConfigError
from gen_jax.model import GenerativeModel
from gen_jax.training import run_main
from gen_jax.types import State


@dataclass(frozen=True)
class Config(RunConfig):
    """The mean and the covariance at every lag, of a batch of patches in each step."""

    dataset: str = "brick"
    """brick, grass, gravel, file:PATH, or any set of images"""
    steps: Steps = 9
    batch_size: Count = 13
    epsilon: Positive = 1e-4
    """Variance of the white noise added, of pixels in [0, 1]."""
    side: Annotated[int, *within(textures.SMALLEST, 4096)] = 256
    """Height and width of the textures in the last picture."""


def build(config: Config, spec: DatasetSpec | None = None) -> GenerativeModel:
    """The model of a configuration; raises ConfigError for options that cannot work."""
    config.check()
    spec = spec or data.describe(config.dataset)
    if spec.kind != "images":
        raise ConfigError(f"dataset={config.dataset!r} has no images, and so no texture")
    return stationary_field(shape=spec.shape, epsilon=config.epsilon, transform=transform_of(spec))


def original(name: str, side: int) -> np.ndarray:
    """The middle of the whole picture, or the first example of a set of images, uint8 [H, W, C]."""
    if name not in textures.TEXTURES and not name.startswith(textures.PREFIX):
        return data.load(name)["x"][0]
    picture = textures.read_picture(name)
    top, left = (max(length - side, 0) // 2 for length in picture.shape[:2])
    return picture[top : top + side, left : left + side]


def beside(config: Config):
    """A function that draws the original, its random phase noise and the field, side by side."""

    def picture(directory: Path, model: GenerativeModel, spec: DatasetSpec, state: State) -> Path:
        size, key = (config.side, config.side), jax.random.key(config.seed)
        real = original(spec.name, config.side)
        phases = random_phase_noise(key, jnp.asarray(real, jnp.float32), size=size)[0]
        field = model.sample(key, state, 1, size=size)[0]
        shown = np.full((3, *size, spec.shape[2]), 255, np.uint8)
        shown[0, : real.shape[0], : real.shape[1]] = real
        shown[1], shown[2] = np.clip(np.round(phases), 0, 255), field
        path = directory / "samples" / "beside.png"
        return plotting.save_image(path, plotting.image_grid(shown, columns=3, scale=1, padding=4))

    return picture


EXPERIMENT = Experiment("texture", Config, build, "classical", kinds="images")


def main() -> None:
    config = read_options(Config, __doc__)
    run(EXPERIMENT, config, beside(config))


if __name__ == "__main__":
    run_main(main)
