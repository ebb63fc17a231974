"""Train an energy by score matching or noise-contrastive estimation, or a score network (NCSN).

    python -m experiments.score_matching --loss sliced          # eight Gaussians in the plane
    python -m experiments.score_matching --loss nce
    python -m experiments.score_matching --loss ncsn --dataset digits

Then `python -m experiments.sample RUN_DIR` and `python -m experiments.evaluate RUN_DIR`.

Score matching does not see the weights of modes that lie apart: with `--loss sliced` each mode has
its shape, but the weights are wrong.
"""

from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any

import numpy as np

from experiments.shared.command_line import read_options
from experiments.shared.diffusion_options import likelihood_of, transform_of
from experiments.shared.energy_options import (
    EnergyConfig,
    exact_numbers,
    log_normalizer,
    model_options,
    network_of,
    optimizer_of,
)
from experiments.shared.option_types import Positive, within
from experiments.shared.pictures import density
from experiments.shared.registry import Experiment, Saved
from experiments.shared.runner import run
from gen_jax import data, energy
from gen_jax.data import DatasetSpec
from gen_jax.errors import check_choice
from gen_jax.model import GenerativeModel
from gen_jax.nets import MLP
from gen_jax.training import run_main

LOSSES = (*energy.SCORE_LOSSES, "nce", "ncsn")


@dataclass(frozen=True)
class Config(EnergyConfig):
    """Score matching; ncsn is a network of scores at many noise levels, the others are energies."""

    loss: str = "sliced"
    """implicit, hutchinson, sliced, sliced_reduced, denoising, nce or ncsn"""
    noise: Positive = 0.1
    """Of the denoising loss, for data of unit size."""
    noise_levels: Annotated[int, *within(2, 10_000)] = 100
    """Of ncsn, from twice the data's deviation down to 0.02."""

    def check(self) -> None:
        """Raise ConfigError for what cannot work, before anything is loaded or compiled."""
        super().check()
        check_choice("loss", self.loss, LOSSES)


def build(config: Config, spec: DatasetSpec | None = None) -> GenerativeModel:
    """The model of a configuration; raises ConfigError for options that cannot work."""
    config.check()
    spec = spec or data.describe(config.dataset)
    if config.loss == "ncsn":
        transform, data_std = transform_of(spec)
        return energy.ncsn(
            MLP(features=config.features),
            optimizer_of(config),
            levels=config.noise_levels,
            sigma_max=2 * data_std if spec.kind == "points" else 10.0,
            shape=spec.shape,
            data_std=data_std,
            condition=spec.condition,
            ema_decay=config.ema_decay,
            transform=transform,
            likelihood=likelihood_of(spec),
        )
    options = model_options(config, spec)
    if config.loss == "nce":
        return energy.nce(network_of(config), optimizer_of(config), **options)
    losses: dict[str, Any] = {
        **energy.SCORE_LOSSES,
        "denoising": partial(energy.denoising, noise=config.noise),
    }
    loss = losses[config.loss]
    return energy.score_model(network_of(config), optimizer_of(config), loss=loss, **options)


def measure_test(saved: Saved, test: dict[str, np.ndarray], num: int) -> dict[str, Any]:
    """log Z of an energy with its standard error, and the exact log-density where it is known."""
    numbers: dict[str, Any] = exact_numbers(saved, test, num)
    if saved.config.loss == "ncsn":
        return numbers
    if saved.config.loss == "nce":
        numbers["learned_log_normalizer"] = float(saved.state.ema["log_z"])
    return numbers | log_normalizer(saved)


EXPERIMENT = Experiment("score_matching", Config, build, "energy", measure_test=measure_test)


def main() -> None:
    run(EXPERIMENT, read_options(Config, __doc__), density)


if __name__ == "__main__":
    run_main(main)
