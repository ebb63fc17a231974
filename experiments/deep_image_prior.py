"""Remove noise by a network that was never trained, beside a median filter and a trained prior.

    python -m experiments.deep_image_prior
    python -m experiments.deep_image_prior --prior runs/diffusion-digits

A U-Net is fitted to each noisy image alone (ulyanov2018): first it finds the image, then the noise.
The stop is where its iterates move least (wang2023stopping), found without the clean image. With
`--prior`, the directory of a diffusion run on the same data, DDRM restores the images as well.
Writes `deep_image_prior.json`, the curves of both errors and a picture in `--directory`.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import jax
import numpy as np
from scipy import ndimage

from experiments.shared import measures, restoration
from experiments.shared.command_line import read_options
from experiments.shared.option_types import MAX_COUNT, Positive, Seed, within
from experiments.shared.restoration import fit_report, in_pixels, levels, measured, symmetric
from experiments.shared.runner import default_directory
from gen_jax import data, inverse, plotting, training
from gen_jax.errors import ConfigError, NumericalError
from gen_jax.nets import UNet
from gen_jax.ranges import check_ranges
from gen_jax.types import Array

WINDOW = 50
"""Iterates whose variance is watched."""


@dataclass(frozen=True)
class Config:
    """Which images, how noisy, and how long they are fitted."""

    dataset: str = "digits"
    """A set of images."""
    directory: str | None = None
    """Where it is written; runs/deep_image_prior-DATASET if not given."""
    prior: str | None = None
    """Directory of a diffusion run on the same data, for DDRM."""
    noise_std: Annotated[float, *within(0, 10, open_low=True)] = 0.3
    """In units of [-1, 1]."""
    num: Annotated[int, *within(2, MAX_COUNT)] = 8
    """Test images."""
    steps: Annotated[int, *within(WINDOW + 1, MAX_COUNT)] = 1500
    learning_rate: Positive = 0.005
    seed: Seed = 0


def fitted(config: Config, operator: Any, y: Array, clean: Array) -> inverse.Fitted:
    """A network for each image, one after the other."""
    network = UNet(widths=(16, 32), blocks=1)

    def fit(inputs: tuple[Array, Array, Array]) -> inverse.Fitted:
        key, y, clean = inputs
        return inverse.deep_image_prior(
            key, network, operator, y, steps=config.steps, learning_rate=config.learning_rate,
            window=WINDOW, clean=clean,
        )  # fmt: skip

    keys = jax.random.split(jax.random.key(config.seed), len(y))
    return jax.jit(lambda *inputs: jax.lax.map(fit, inputs))(keys, y, clean)


def curves(found: inverse.Fitted, first: int) -> Any:
    """Means over images against the step, from the one at which the window is full."""
    named = {
        "mean square error to the noisy image": found.losses,
        "mean square error to the clean image": found.errors,
        "windowed variance": found.variances,
    }
    means = {name: np.asarray(curve).mean(0) for name, curve in named.items()}
    every = range(first, found.losses.shape[1], max(found.losses.shape[1] // 300, 1))
    records = [{"step": t} | {name: float(c[t]) for name, c in means.items()} for t in every]
    return plotting.training_curves(records)


def main() -> None:
    config = read_options(Config, __doc__)
    check_ranges(config)
    training.configure_backend(1)
    spec = data.describe(config.dataset)
    if spec.kind != "images":
        raise ConfigError(f"dataset={config.dataset!r} is no set of images")
    folder = Path(config.directory or default_directory("deep_image_prior", config.dataset))
    path = training.check_writable("directory", folder / "deep_image_prior.json")
    prior = restoration.load_prior(config.prior, config.dataset) if config.prior else None
    x = data.examples(config.dataset, "test", config.num)["x"]
    operator = inverse.uncropping(spec.shape, 0)
    y = measured(jax.random.key(config.seed), operator, x, config.noise_std)
    found, noisy = fitted(config, operator, y, symmetric(x)), levels(y)
    if not np.isfinite(np.asarray(found.losses)).all():
        raise NumericalError(f"a fit diverged: learning_rate={config.learning_rate:g} is too large")
    median = ndimage.median_filter(noisy, size=(1, 3, 3, 1))
    guesses = {"noisy": noisy, "median": median, "stop": levels(found.x), "end": levels(found.last)}
    guesses |= {} if prior is None else restoration.by_ddrm(prior, operator, y, config.noise_std)
    report = fit_report(x, y, guesses, found)
    measures.show(report)
    print(f"picture: {plotting.save(curves(found, WINDOW), folder / 'curves.png')}")
    grid = plotting.image_grid(np.concatenate(in_pixels([x, *guesses.values()])), columns=len(x))
    plotting.save_image(folder / "denoised.png", plotting.label_rows(grid, ["image", *guesses]))
    training.write_json(path, report)
    print(f"written: {path}")


if __name__ == "__main__":
    training.run_main(main)
