"""Train CycleGAN: between two sets of images, without pairs.

    python -m experiments.cyclegan                                     # thin and thick 8x8 digits
    python -m experiments.cyclegan --dataset thick:mnist --steps 2500 --batch-size 16 \\
        --generator unet
    python -m experiments.cyclegan --dataset domains:mnist+fashion_mnist --steps 6000 \\
        --batch-size 16 --generator unet

Of sets of pairs (edges:, thick:, colour: and a name) only each half's images are used, never which
belong together: so the result can be compared with the true pairs. Then
`python -m experiments.evaluate RUN_DIR`. With the third the digits made of clothes are broken.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np

from experiments.shared.command_line import read_options
from experiments.shared.option_types import MAX_COUNT, Count, Steps, Width, of
from experiments.shared.registry import Experiment, Saved
from experiments.shared.runner import run
from experiments.shared.translation import (
    TranslationConfig,
    against_targets,
    between_domains,
    errors,
    halves,
    networks,
    optimizer_of,
    rows,
    saved_pairs,
    translated,
    units,
)
from gen_jax import data
from gen_jax.data import DatasetSpec, pairs
from gen_jax.gan import CycleGANOptions, cyclegan
from gen_jax.model import GenerativeModel
from gen_jax.training import run_main
from gen_jax.types import State

WEIGHTS = ("cycle_weight", "identity_weight", "pool_size", "ema_decay", "loss")
"""Options of the experiment that are the model's."""


@dataclass(frozen=True)
class Config(TranslationConfig):
    """CycleGAN; the defaults train on 8x8 digits."""

    dataset: str = "thick:digits"
    steps: Steps = 1500
    batch_size: Count = 32
    generator: str = "resnet"
    """unet or resnet"""
    width: Width = 16
    """Channels of the generator at the finest resolution; doubled by each halving."""
    critic_width: Width = 16
    cycle_weight: Annotated[float, *of(CycleGANOptions, "cycle_weight")] = 10.0
    """Counts as 20 in the authors' code, whose least squares lack the factor 1/2 of `lsgan`."""
    identity_weight: Annotated[float, *of(CycleGANOptions, "identity_weight")] = 5.0
    """Counts as 10 there."""
    pool_size: Annotated[int, *of(CycleGANOptions, "pool_size", MAX_COUNT)] = 50
    """Old images that each critic sees; 0 for none."""


def build(config: Config, spec: DatasetSpec | None = None) -> GenerativeModel:
    """The model of a configuration; raises ConfigError for options that cannot work."""
    config.check()
    spec = spec or data.describe(config.dataset)
    options: dict[str, Any] = {"dropout": 0.0} if config.generator == "unet" else {}
    return cyclegan(
        *networks(config, spec, **options),
        optimizer_of(config),
        optimizer_of(config),
        shape=spec.shape,
        transform=units(),
        **{name: getattr(config, name) for name in WEIGHTS},
    )


def measure_test(saved: Saved, test: dict[str, np.ndarray], num: int) -> dict[str, Any]:
    """How well cycles close on held-out images, and how translations compare with the targets."""
    forth = halves(saved_pairs(saved, test, num))
    back = halves(translated(saved.model, saved.state, forth[1], direction="backward"))[0]
    report: dict[str, Any] = {"cycle_l1": errors(back, forth[0])}
    name = pairs.parse(saved.spec.name)
    if name is not None and name.kind == "domains":
        return report | between_domains(name.bases[1], forth, test)
    return report | against_targets(saved.spec, forth[1], test)


def comparison(directory: Path, model: GenerativeModel, spec: DatasetSpec, state: State) -> Path:
    """Held-out A, as B, and back; then held-out B, as A, and back."""
    left, right = halves(data.examples(spec.name, "test", 12)["x"])
    as_right = halves(translated(model, state, left))[1]
    as_left = halves(translated(model, state, right, direction="backward"))[0]
    left_again = halves(translated(model, state, as_right, direction="backward"))[0]
    right_again = halves(translated(model, state, as_left))[1]
    cells = [left, as_right, left_again, right, as_left, right_again]
    return rows(directory / "samples" / "translations.png", cells)


EXPERIMENT = Experiment("cyclegan", Config, build, "gan", measure_test=measure_test, kinds="images")


def main() -> None:
    run(EXPERIMENT, read_options(Config, __doc__), comparison)


if __name__ == "__main__":
    run_main(main)
