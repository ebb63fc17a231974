"""Train pix2pix: from an image to its other form, learnt from pairs.

    python -m experiments.pix2pix                                      # outlines to 8x8 digits
    python -m experiments.pix2pix --dataset edges:fashion_mnist --steps 2500 --batch-size 32 \\
        --width 16 --critic-width 16
    python -m experiments.pix2pix --dataset colour:digits --steps 2500

Pairs are images side by side (edges:, thick:, colour: and a name); of any other set of images the
right half is made from the left. Then `python -m experiments.evaluate RUN_DIR`. On 8x8 digits the
paper's dropout of 1/2 and rate of 2e-4 are worse than the defaults.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np

from experiments.shared.command_line import read_options
from experiments.shared.option_types import Positive, Steps, of, within
from experiments.shared.registry import Experiment, Saved
from experiments.shared.runner import run
from experiments.shared.translation import (
    TranslationConfig,
    against_targets,
    halves,
    networks,
    optimizer_of,
    rows,
    saved_pairs,
    translated,
    units,
)
from gen_jax import data
from gen_jax.data import DatasetSpec
from gen_jax.gan import Pix2PixOptions, pix2pix
from gen_jax.model import GenerativeModel
from gen_jax.training import run_main
from gen_jax.types import State


@dataclass(frozen=True)
class Config(TranslationConfig):
    """pix2pix; the defaults train on 8x8 digits."""

    dataset: str = "edges:digits"
    steps: Steps = 1500
    learning_rate: Positive = 1e-3
    """Of Adam, falling to 0 over the second half."""
    loss: str = "non_saturating"
    """A name in GAN_LOSSES."""
    l1_weight: Annotated[float, *of(Pix2PixOptions, "l1_weight")] = 100.0
    dropout: Annotated[float, *within(0, 0.99)] = 0.0
    """Of the U-Net's deeper half, also in sampling: its only noise (0.5 in isola2017)."""


def build(config: Config, spec: DatasetSpec | None = None) -> GenerativeModel:
    """The model of a configuration; raises ConfigError for options that cannot work."""
    config.check()
    spec = spec or data.describe(config.dataset)
    return pix2pix(
        *networks(config, spec, dropout=config.dropout),
        optimizer_of(config),
        optimizer_of(config),
        shape=spec.shape,
        loss=config.loss,
        l1_weight=config.l1_weight,
        ema_decay=config.ema_decay,
        transform=units(),
    )


def measure_test(saved: Saved, test: dict[str, np.ndarray], num: int) -> dict[str, Any]:
    """The distance of translations to held-out targets, and whether they show the same label."""
    made = halves(saved_pairs(saved, test, num))[1]
    return against_targets(saved.spec, made, test)


def comparison(directory: Path, model: GenerativeModel, spec: DatasetSpec, state: State) -> Path:
    """Held-out sources, above their translations, above their targets."""
    source, target = halves(data.examples(spec.name, "test", 12)["x"])
    made = halves(translated(model, state, source))[1]
    return rows(directory / "samples" / "translations.png", [source, made, target])


EXPERIMENT = Experiment("pix2pix", Config, build, "gan", measure_test=measure_test, kinds="images")


def main() -> None:
    run(EXPERIMENT, read_options(Config, __doc__), comparison)


if __name__ == "__main__":
    run_main(main)
