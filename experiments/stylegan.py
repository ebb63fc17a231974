"""Train a StyleGAN; at the end one picture of mixed styles and one of truncated styles.

    python -m experiments.stylegan                                              # 8x8 digits
    python -m experiments.stylegan --dataset tfds:mnist@32 --widths 48 48 32 16 --conditional

With `--fade-steps N` resolutions fade in one after the other (progressive growing). Then `python -m
experiments.sample RUN_DIR` and `python -m experiments.evaluate RUN_DIR`.

Mixed styles take the digit from the coarse half of the layers.
"""

from dataclasses import dataclass
from typing import Annotated

import optax

from experiments.shared.command_line import read_options
from experiments.shared.config import RunConfig
from experiments.shared.option_types import (
    MAX_WIDTH,
    Count,
    Duration,
    Positive,
    Share,
    Steps,
    Width,
    Widths,
    of,
)
from experiments.shared.registry import Experiment
from experiments.shared.runner import run
from experiments.shared.style_pictures import style_pictures
from gen_jax import conditions, data, gan
from gen_jax.data import DatasetSpec
from gen_jax.errors import ConfigError
from gen_jax.gan_nets import StyleCritic, StyleGenerator
from gen_jax.model import GenerativeModel
from gen_jax.training import run_main


@dataclass(frozen=True)
class Config(RunConfig):
    """A StyleGAN; the defaults train on 8x8 digits in some minutes on two cores."""

    steps: Steps = 3000
    batch_size: Count = 64
    widths: Widths = (48, 32)
    """Channels of each resolution, the last one that of the images."""
    latent: Annotated[int, *of(gan.Options, "latent", MAX_WIDTH)] = 32
    style: Width = 32
    mapping_rate: Positive = 1.0
    """Learning rate of the mapping network over that of the rest."""
    conditional: bool = False
    """Mapping network and critic see the label."""
    mixing: Share = 0.9
    """Share of training images with two styles."""
    fade_steps: Duration = 0
    """Steps of each resolution, and of each fading in; 0 trains all resolutions at once."""
    r1: Positive = 0.5
    """Weight of the squared slope of the critic at the data."""
    learning_rate: Positive = 2e-3
    ema_decay: Share = 0.995


def build(config: Config, spec: DatasetSpec | None = None) -> GenerativeModel:
    """The model of a configuration; raises ConfigError for options that cannot work."""
    config.check()
    spec = spec or data.describe(config.dataset)
    if spec.kind != "images":
        raise ConfigError(f"dataset={config.dataset!r} has no images")
    if config.conditional and not spec.num_classes:
        raise ConfigError(f"conditional=True, but dataset {spec.name!r} has no labels")
    kind = "projection" if config.conditional else "none"
    generator = StyleGenerator(
        spec.shape,
        config.widths,
        config.style,
        rate=config.mapping_rate,
        mixing=config.mixing,
        fade_steps=config.fade_steps,
    )
    critic = StyleCritic(
        config.widths, conditional=kind, fade_steps=config.fade_steps, deviation=True
    )
    adam = optax.adam(config.learning_rate, b1=0.0, b2=0.99)
    return gan.gan(
        generator,
        critic,
        adam,
        adam,
        shape=spec.shape,
        latent=config.latent,
        penalty="r1",
        penalty_weight=config.r1,
        condition=conditions.labels(spec.num_classes) if config.conditional else None,
        conditional=kind,
        transform=data.symmetric_images(),
        ema_decay=config.ema_decay,
    )


EXPERIMENT = Experiment("stylegan", Config, build, "gan", kinds="images", level="research")


def main() -> None:
    config = read_options(Config, __doc__)
    run(EXPERIMENT, config, style_pictures)


if __name__ == "__main__":
    run_main(main)
