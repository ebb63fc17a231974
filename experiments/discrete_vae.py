"""Train a VAE whose latents are categorical, through the Gumbel-softmax.

    python -m experiments.discrete_vae                                             # 8x8 digits
    python -m experiments.discrete_vae --dataset binarized:mnist --steps 18760 --hidden 400 \\
        --variables 20 --classes 10

Then `python -m experiments.sample RUN_DIR` and `python -m experiments.evaluate RUN_DIR`. The
picture `classes.png` shows in each row one variable in all its classes, the others as they are.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import jax
import numpy as np

from experiments.shared.command_line import read_options
from experiments.shared.config import RunConfig
from experiments.shared.option_types import MAX_COUNT, MAX_STEPS, MAX_WIDTH, Positive, Widths, of
from experiments.shared.registry import Experiment
from experiments.shared.runner import run
from experiments.shared.vae_options import check_shared, model_options
from gen_jax import data, plotting, vae
from gen_jax.data import DatasetSpec
from gen_jax.model import GenerativeModel
from gen_jax.optimization import one_cycle_adam
from gen_jax.training import run_main
from gen_jax.types import State
from gen_jax.vae import DiscreteOptions

ROWS = 8


@dataclass(frozen=True)
class Config(RunConfig):
    """Categorical latents; the defaults train on 8x8 digits in a minute on two cores."""

    likelihood: str = "auto"
    """auto, gaussian, gaussian_diagonal, bernoulli, categorical, discretized_logistic or
    discretized_logistic_mixture"""
    variables: Annotated[int, *of(DiscreteOptions, "variables", MAX_WIDTH)] = 16
    """Categorical latents."""
    classes: Annotated[int, *of(DiscreteOptions, "classes", MAX_WIDTH)] = 8
    """Values of each."""
    hidden: Widths = (256,)
    temperature: Annotated[float, *of(DiscreteOptions, "temperature")] = 1.0
    """Of the relaxed draws, at first; then it falls geometrically."""
    final_temperature: Annotated[float, *of(DiscreteOptions, "final_temperature")] = 0.5
    anneal: Annotated[int, *of(DiscreteOptions, "anneal", MAX_STEPS)] = 1000
    """Steps until the final temperature."""
    hard: bool = False
    """Decode one-hot vectors in training too, with the gradient of the relaxed ones."""
    beta: Annotated[float, *of(DiscreteOptions, "beta")] = 1.0
    free_bits: Annotated[float, *of(DiscreteOptions, "free_bits")] = 0.0
    """Nats per variable that cost nothing more."""
    learning_rate: Positive = 2e-3
    """Peak of a one-cycle schedule of Adam."""
    evaluation_samples: Annotated[int, *of(DiscreteOptions, "evaluation_samples", MAX_COUNT)] = 64
    """Draws per example for log p(x)."""

    def check(self) -> None:
        """Raise ConfigError for what cannot work, before anything is loaded or compiled."""
        super().check()
        check_shared(self)


def build(config: Config, spec: DatasetSpec | None = None) -> GenerativeModel:
    """The model of a configuration; raises ConfigError for options that cannot work."""
    config.check()
    options = model_options(config, spec or data.describe(config.dataset), DiscreteOptions)
    network = vae.mlp(config.hidden)
    return vae.discrete_vae(
        network, network, one_cycle_adam(config.steps, config.learning_rate), **options
    )


def classes(
    directory: Path, config: Config, model: GenerativeModel, spec: DatasetSpec, state: State
) -> Path:
    """Row k: E[x | z] with variable k in each of its classes, for one z; of points samples."""
    rows, path = min(ROWS, config.variables), directory / "samples" / "classes.png"
    base = np.random.default_rng(0).integers(0, config.classes, config.variables)
    codes = np.tile(base, (rows, config.classes, 1))
    for row in range(rows):
        codes[row, :, row] = np.arange(config.classes)
    codes = codes.reshape(-1, config.variables)
    drawn = model.sample(jax.random.key(2), state, len(codes), mean=True, codes=codes)
    if spec.kind == "images":
        grid = plotting.image_grid(np.asarray(drawn), columns=config.classes)
        return plotting.save_image(path, grid)
    return plotting.save(plotting.point_panels({"E[x | z]": np.asarray(drawn)[:, :2]}), path)


EXPERIMENT = Experiment("discrete_vae", Config, build, "vae", level="research")


def main() -> None:
    config = read_options(Config, __doc__)
    more = lambda folder, model, spec, state: classes(folder, config, model, spec, state)
    run(EXPERIMENT, config, more)


if __name__ == "__main__":
    run_main(main)
