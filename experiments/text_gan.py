"""Train a GAN that draws what a sentence says: digits, their strokes, their ink.

    python -m experiments.text_gan                                # 8x8 digits with captions
    python -m experiments.text_gan --dataset captions:mnist --steps 10000

At the end a picture with the four kinds of each digit. `--interpolation 0` is GAN-CLS alone. Then
`python -m experiments.evaluate RUN_DIR` counts how often digit, strokes and ink are as asked, and
`python -m experiments.sample RUN_DIR --prompt "a thick seven in black"` draws what is asked for.
"""

from dataclasses import dataclass
from typing import Annotated

import optax

from experiments.shared.caption_checks import caption_picture
from experiments.shared.command_line import read_options
from experiments.shared.config import RunConfig
from experiments.shared.option_types import (
    MAX_WIDTH,
    Count,
    Positive,
    Share,
    Steps,
    Width,
    Widths,
    of,
)
from experiments.shared.prompts import prompted
from experiments.shared.registry import Experiment
from experiments.shared.runner import run
from gen_jax import data, gan
from gen_jax.data import DatasetSpec, captions
from gen_jax.errors import ConfigError
from gen_jax.gan_nets import Captioned, DCGANCritic, DCGANGenerator, SentenceEncoder
from gen_jax.model import GenerativeModel
from gen_jax.training import run_main


@dataclass(frozen=True)
class Config(RunConfig):
    """A text-conditional GAN; the defaults train on 8x8 digits in some minutes on two cores."""

    dataset: str = "captions:digits"
    """captions:NAME; of digits without captions the sentence of their label is taken."""
    steps: Steps = 4000
    batch_size: Count = 64
    widths: Widths = (64, 32)
    latent: Annotated[int, *of(gan.Options, "latent", MAX_WIDTH)] = 16
    embedding: Width = 32
    """Of a sentence."""
    interpolation: Annotated[float, *of(gan.Options, "interpolation")] = 1.0
    """Weight of the loss under means of two sentences."""
    learning_rate: Positive = 4e-4
    ema_decay: Share = 0.995


def build(config: Config, spec: DatasetSpec | None = None) -> GenerativeModel:
    """The model of a configuration; raises ConfigError for options that cannot work."""
    config.check()
    spec = spec or data.describe(config.dataset)
    if spec.kind != "images" or not captions.are_digits(spec.name, spec.num_classes):
        raise ConfigError(f"dataset={config.dataset!r} has no digits")
    encoder = SentenceEncoder(len(captions.WORDS), config.embedding)
    narrow = tuple(reversed(config.widths))
    condition = captions.SENTENCES.condition
    adam = optax.adam(config.learning_rate, b1=0.5, b2=0.99)
    model = gan.gan(
        Captioned(DCGANGenerator(spec.shape, config.widths), encoder),
        Captioned(DCGANCritic(narrow, "projection", norm="spectral"), encoder),
        adam,
        adam,
        shape=spec.shape,
        latent=config.latent,
        condition=condition,
        conditional="projection",
        matching=0.5,
        interpolation=config.interpolation,
        transform=data.symmetric_images(),
        ema_decay=config.ema_decay,
    )
    every = spec.name.startswith(captions.PREFIX)
    return prompted(model, condition, captions.prompts(every))


EXPERIMENT = Experiment("text_gan", Config, build, "gan", kinds="images", level="research")


def main() -> None:
    run(EXPERIMENT, read_options(Config, __doc__), caption_picture)


if __name__ == "__main__":
    run_main(main)
