"""The Gaussian image model: probabilistic PCA, or the full covariance; its axes as pictures.

    python -m experiments.pca                                                  # faces
    python -m experiments.pca --dataset digits --rank 20 --batch-size 599
    python -m experiments.pca --dataset digits --kind gaussian --batch-size 599
    python -m experiments.pca --dataset mnist --rank 100 --batch-size 1000 --steps 60

Seconds of work.
"""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np

from experiments.shared.classical_options import transform_of
from experiments.shared.command_line import read_options
from experiments.shared.config import RunConfig
from experiments.shared.option_types import MAX_WIDTH, Count, Positive, Steps, within
from experiments.shared.pictures import draw, picture
from experiments.shared.registry import Experiment
from experiments.shared.runner import run
from gen_jax import data, plotting
from gen_jax.classical.gaussian_image import fitted_gaussian, gaussian_image
from gen_jax.classical.probabilistic_pca import probabilistic_pca
from gen_jax.data import DatasetSpec
from gen_jax.errors import check_choice, check_range
from gen_jax.model import GenerativeModel
from gen_jax.training import run_main
from gen_jax.types import State

KINDS = ("ppca", "gaussian")


@dataclass(frozen=True)
class Config(RunConfig):
    """Mean and covariance in whole epochs: steps times batch size is the number of examples."""

    dataset: str = "faces"
    steps: Steps = 2
    batch_size: Count = 40
    kind: str = "ppca"
    """ppca (rank axes and white noise) or gaussian (all axes, plus epsilon)"""
    rank: Annotated[int | None, *within(1, MAX_WIDTH)] = None
    """Latent dimensions of ppca, fewer than the data have; 20, or as many, if not given."""
    epsilon: Positive = 1e-3
    """Variance added to the gaussian's, of pixels in [0, 1] or points of unit size."""

    def check(self) -> None:
        """Raise ConfigError for what cannot work, before anything is loaded or compiled."""
        super().check()
        check_choice("kind", self.kind, KINDS)


def build(config: Config, spec: DatasetSpec | None = None) -> GenerativeModel:
    """The model of a configuration; raises ConfigError for options that cannot work."""
    config.check()
    spec = spec or data.describe(config.dataset)
    transform = transform_of(spec)
    if config.kind == "gaussian":
        return gaussian_image(shape=spec.shape, epsilon=config.epsilon, transform=transform)
    most = math.prod(spec.shape) - 1
    rank = min(20, most) if config.rank is None else config.rank
    check_range("rank", rank, 1, most, integer=True)
    return probabilistic_pca(rank, shape=spec.shape, transform=transform)


def as_grey(image: np.ndarray) -> np.ndarray:
    """Values in [-a, a] to uint8, 0 to the middle; a is the largest modulus."""
    return np.round(127.5 + 127.5 * image / np.abs(image).max()).astype(np.uint8)


def axes(directory: Path, model: GenerativeModel, spec: DatasetSpec, state: State) -> Path:
    """The mean and the model's first 19 principal axes as images; for points, samples."""
    path = directory / "samples" / "axes.png"
    if spec.kind == "points":
        return picture(path, spec, draw(model, spec, state, 1000))
    law = fitted_gaussian(model, state)
    vectors = np.asarray(law.axes[:, :19]).T
    mean = np.clip(256 * np.asarray(law.mean), 0, 255).astype(np.uint8)
    images = np.stack([mean, *(as_grey(v) for v in vectors)])
    return plotting.save_image(path, plotting.image_grid(images.reshape(-1, *spec.shape), 10))


EXPERIMENT = Experiment("pca", Config, build, "classical")


def main() -> None:
    run(EXPERIMENT, read_options(Config, __doc__), axes)


if __name__ == "__main__":
    run_main(main)
