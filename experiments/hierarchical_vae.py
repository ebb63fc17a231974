"""Train a hierarchical VAE: a ladder of latents with residual posteriors.

    python -m experiments.hierarchical_vae                                     # 8x8 digits
    python -m experiments.hierarchical_vae --dataset binarized:mnist --steps 7000 --free-bits 0.1
    python -m experiments.hierarchical_vae --halvings 2 2 1 1 --latents 4 4 2 2 --width 32

Then `python -m experiments.sample RUN_DIR` and `python -m experiments.evaluate RUN_DIR`. The
picture `levels.png` shows in row k samples whose top k levels are the same: what is left to vary
shrinks from the whole image to nothing, or with `--conditional` to the label of each column.

With `--warm-up 1000` in place of free bits the middle levels of the ladder collapse.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import jax
import numpy as np

from experiments.shared.command_line import read_options
from experiments.shared.config import RunConfig, condition_of
from experiments.shared.option_types import (
    MAX_COUNT,
    MAX_STEPS,
    MAX_WIDTH,
    Positive,
    Widths,
    of,
    within,
)
from experiments.shared.pictures import balanced
from experiments.shared.registry import Experiment
from experiments.shared.runner import run
from experiments.shared.vae_options import check_shared, model_options
from gen_jax import data, plotting, vae
from gen_jax.data import DatasetSpec
from gen_jax.model import GenerativeModel
from gen_jax.optimization import one_cycle_adam
from gen_jax.training import run_main
from gen_jax.types import State
from gen_jax.vae import LadderOptions


@dataclass(frozen=True)
class Config(RunConfig):
    """A hierarchical VAE; the defaults train on 8x8 digits in a minute on two cores."""

    likelihood: str = "auto"
    """auto, gaussian, gaussian_diagonal, bernoulli, categorical, discretized_logistic or
    discretized_logistic_mixture"""
    latents: Widths = (4, 8, 8, 16, 16)
    """Dimensions of the levels from the top down; of maps, their channels."""
    halvings: Annotated[tuple[int, ...], *within(0, 16, entries=0)] = ()
    """Of an image's sides to those of each level's map; none, and the levels are vectors."""
    width: Annotated[int, *of(LadderOptions, "width", MAX_WIDTH)] = 256
    conditional: bool = False
    """Both ways see the label."""
    beta: Annotated[float, *of(LadderOptions, "beta")] = 1.0
    warm_up: Annotated[int, *of(LadderOptions, "warm_up", MAX_STEPS)] = 0
    """Steps over which beta rises from 0."""
    free_bits: Annotated[float, *of(LadderOptions, "free_bits")] = 0.0
    """Nats per dimension of each level that cost nothing more."""
    learning_rate: Positive = 2e-3
    """Peak of a one-cycle schedule of Adam."""
    evaluation_samples: Annotated[int, *of(LadderOptions, "evaluation_samples", MAX_COUNT)] = 64
    """Draws per example for log p(x)."""

    def check(self) -> None:
        """Raise ConfigError for what cannot work, before anything is loaded or compiled."""
        super().check()
        check_shared(self)


def build(config: Config, spec: DatasetSpec | None = None) -> GenerativeModel:
    """The model of a configuration; raises ConfigError for options that cannot work."""
    config.check()
    spec = spec or data.describe(config.dataset)
    options = model_options(config, spec, LadderOptions)
    options["condition"] = condition_of(config, spec)
    return vae.hierarchical_vae(one_cycle_adam(config.steps, config.learning_rate), **options)


def levels(
    directory: Path, config: Config, model: GenerativeModel, spec: DatasetSpec, state: State
) -> Path:
    """Row k: ten samples (or as many as a cloud needs) that share their top k levels."""
    count = len(config.latents) + 1

    draw = lambda hold, n: np.asarray(
        model.sample(jax.random.key(2), state, n, hold=hold, **balanced(model, spec, n))
    )
    if spec.kind == "images":
        rows = np.concatenate([draw(hold, 10) for hold in range(count)])
        grid = plotting.image_grid(rows, columns=10)
        named = plotting.label_rows(grid, [f"{hold} levels held" for hold in range(count)])
        return plotting.save_image(directory / "samples" / "levels.png", named)
    sets = {f"{hold} levels held": draw(hold, 500)[:, :2] for hold in range(count)}
    return plotting.save(plotting.point_panels(sets), directory / "samples" / "levels.png")


EXPERIMENT = Experiment("hierarchical_vae", Config, build, "vae", level="research")


def main() -> None:
    config = read_options(Config, __doc__)
    more = lambda folder, model, spec, state: levels(folder, config, model, spec, state)
    run(EXPERIMENT, config, more)


if __name__ == "__main__":
    run_main(main)
