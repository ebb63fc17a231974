"""Fit a Gaussian mixture by stepwise EM or by gradient descent, and look at it.

    python -m experiments.mixture                                # eight Gaussians in the plane
    python -m experiments.mixture --dataset pinwheel --components 20 --method gradient
    python -m experiments.mixture --dataset digits --components 20 --epsilon 0.1 --batch-size 1198

Seconds of work, a minute with compilation on two busy cores.
"""

from dataclasses import dataclass
from typing import Annotated

import optax

from experiments.shared.classical_options import transform_of
from experiments.shared.command_line import read_options
from experiments.shared.config import RunConfig
from experiments.shared.option_types import Count, Positive, Steps, Width, of
from experiments.shared.pictures import density
from experiments.shared.registry import Experiment
from experiments.shared.runner import run
from gen_jax import data
from gen_jax.classical.mixture import COVARIANCES, gaussian_mixture
from gen_jax.classical.mixture_model import METHODS, Options
from gen_jax.data import DatasetSpec
from gen_jax.errors import ConfigError, check_choice
from gen_jax.model import GenerativeModel
from gen_jax.training import run_main


@dataclass(frozen=True)
class Config(RunConfig):
    """A Gaussian mixture; the defaults take seconds."""

    dataset: str = "8gaussians"
    steps: Steps = 200
    batch_size: Count = 2000
    components: Width = 8
    method: str = "em"
    """em or gradient"""
    covariance: str = "full"
    """full or diagonal"""
    epsilon: Positive = 1e-4
    """Added to the variances of every component, as a share of the first batch's."""
    forgetting: Annotated[float, *of(Options, "forgetting")] = 0.6
    """Batch n = 1, 2, .. of EM replaces the share (n + 1)^-forgetting; 0 is plain EM on each."""
    learning_rate: Positive = 0.01
    """Of Adam, falling to 0; for the gradient method."""

    def check(self) -> None:
        """Raise ConfigError for what cannot work, before anything is loaded or compiled."""
        super().check()
        if self.components > self.batch_size:
            raise ConfigError(
                f"components={self.components} above batch_size={self.batch_size}: the first batch "
                "must have a point for each"
            )
        check_choice("method", self.method, METHODS)
        check_choice("covariance", self.covariance, COVARIANCES)


def build(config: Config, spec: DatasetSpec | None = None) -> GenerativeModel:
    """The model of a configuration; raises ConfigError for options that cannot work."""
    config.check()
    spec = spec or data.describe(config.dataset)
    schedule = optax.cosine_decay_schedule(config.learning_rate, config.steps)
    return gaussian_mixture(
        config.components,
        shape=spec.shape,
        method=config.method,
        covariance=config.covariance,
        epsilon=config.epsilon,
        forgetting=config.forgetting,
        optimizer=optax.adam(schedule),
        transform=transform_of(spec),
    )


EXPERIMENT = Experiment("mixture", Config, build, "classical", level="first")


def main() -> None:
    run(EXPERIMENT, read_options(Config, __doc__), density)


if __name__ == "__main__":
    run_main(main)
