"""Train a diffusion model on any Gaussian path, and look at its samples.

    python -m experiments.diffusion                         # 8x8 digits, class-conditional
    python -m experiments.diffusion --dataset 8gaussians
    python -m experiments.diffusion --dataset mnist --steps 6000 --path vp --prediction eps
    python -m experiments.diffusion --loss hybrid --stepper learned_ancestral
    python -m experiments.diffusion --dataset captions:digits --network.patch 2   # from sentences
    python -m experiments.diffusion --dataset shapes:16                           # scenes of shapes

Then `python -m experiments.sample RUN_DIR` and `python -m experiments.evaluate RUN_DIR`.
"""

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import jax.numpy as jnp

from experiments.shared.caption_checks import picture_of
from experiments.shared.command_line import read_options
from experiments.shared.diffusion_options import PathConfig, bound_in_steps, model_options
from experiments.shared.networks import make_network
from experiments.shared.option_types import MAX_COUNT, of
from experiments.shared.registry import Experiment
from experiments.shared.runner import run
from gen_jax import data
from gen_jax.data import DatasetSpec
from gen_jax.diffusion import (
    LOSSES,
    WEIGHTINGS,
    Options,
    Parts,
    denoiser,
    denoiser_and_fraction,
    diffusion,
)
from gen_jax.errors import check_choice
from gen_jax.frozen import parts_of
from gen_jax.model import GenerativeModel
from gen_jax.optimization import one_cycle_adam
from gen_jax.parameterisations import PARAMETERISATIONS
from gen_jax.training import run_main
from gen_jax.types import Array, Key, State


@dataclass(frozen=True)
class Config(PathConfig):
    """A diffusion model; the defaults train on 8x8 digits in half a minute on two cores."""

    RENAMED: ClassVar = {"kind": "prediction"}

    prediction: str = "v"
    """What the network predicts: x0, eps, score, v, velocity or F."""
    weighting: str = "uniform"
    """uniform, simple, bound, min_snr or edm"""
    loss: str = "denoising"
    """denoising; ddpm, at DDPM's 1000 times; or hybrid, which learns the reverse variances too."""
    variance_steps: Annotated[int, *of(Options, "variance_steps", MAX_COUNT)] = 100
    """Of the hybrid loss: the number of steps whose variances are learned."""

    def check(self) -> None:
        """Raise ConfigError for what cannot work, before anything is loaded or compiled."""
        super().check()
        check_choice("prediction", self.prediction, PARAMETERISATIONS)
        check_choice("weighting", self.weighting, WEIGHTINGS)
        check_choice("loss", self.loss, LOSSES)


def build(config: Config, spec: DatasetSpec | None = None) -> GenerativeModel:
    """The model of a configuration; raises ConfigError for options that cannot work."""
    config.check()
    spec = spec or data.describe(config.dataset)
    return diffusion(
        make_network(config.network, spec),
        config.path,
        one_cycle_adam(config.steps, config.learning_rate),
        prediction=config.prediction,
        weighting=config.weighting,
        loss=config.loss,
        variance_steps=config.variance_steps,
        **model_options(config, spec),
    )


def bound(key: Key[Array, ""], model: GenerativeModel, state: State, x: Array) -> Array:
    """The variational bound on log p(x) in nats per image [B]: 1000 steps, 100 of them evaluated.

    x is uint8; the bound is on the probability of the pixel values, with x0 at the bins' centres.
    """
    parts, _ = parts_of(model, state, Parts)
    fraction: Any = 0.0
    if parts.learned_variance:
        fraction = lambda x, t: denoiser_and_fraction(model, state)(x, t)[1]
    x0 = (x.astype(jnp.float32) + 0.5) / 128 - 1
    return bound_in_steps(key, denoiser(model, state), parts.path, x0, fraction=fraction)


EXPERIMENT = Experiment("diffusion", Config, build, "diffusion", bound=bound, level="first")


def main() -> None:
    config = read_options(Config, __doc__)
    run(EXPERIMENT, config, picture_of(config.dataset))


if __name__ == "__main__":
    run_main(main)
