"""Train a GAN that keeps what an image shows apart from how it is seen, without labels of either.

    python -m experiments.multi_view                              # 8x8 digits, turned and moved
    python -m experiments.multi_view --dataset mnist --degrees 40 --shift 3 --steps 10000

Real pairs are two views of one image. At the end a picture: a content per row, a view per column.
Then `python -m experiments.evaluate RUN_DIR` asks a classifier whether images of one content show
the same digit, and images of one view different ones. (Its Frechet distance is of views to images.)

Views are clearly separate, contents less so: images of one content often show different digits.
"""

from dataclasses import dataclass
from typing import Annotated

import optax

from experiments.shared.command_line import read_options
from experiments.shared.config import RunConfig
from experiments.shared.option_types import (
    Count,
    Positive,
    Share,
    Steps,
    Weight,
    Width,
    Widths,
    within,
)
from experiments.shared.registry import Experiment
from experiments.shared.runner import run
from experiments.shared.view_checks import comparison, measure_test, views_of
from gen_jax import data
from gen_jax.data import DatasetSpec
from gen_jax.errors import ConfigError
from gen_jax.gan import multi_view
from gen_jax.gan_nets import DCGANCritic, DCGANGenerator
from gen_jax.model import GenerativeModel
from gen_jax.training import run_main


@dataclass(frozen=True)
class Config(RunConfig):
    """A multi-view GAN; the defaults train on 8x8 digits in some minutes on two cores."""

    steps: Steps = 4000
    batch_size: Count = 64
    widths: Widths = (64, 32)
    content: Width = 16
    """Dimension of the content's latent."""
    view: Width = 3
    """Dimension of the view's."""
    degrees: Annotated[float, *within(0, 180)] = 20.0
    """Views are turned by up to so much, and moved by up to `shift` pixels."""
    shift: Weight = 0.5
    contrast: Share = 0.2
    """Views are dimmed by up to this share."""
    learning_rate: Positive = 4e-4
    ema_decay: Share = 0.995


def build(config: Config, spec: DatasetSpec | None = None) -> GenerativeModel:
    """The model of a configuration; raises ConfigError for options that cannot work."""
    config.check()
    spec = spec or data.describe(config.dataset)
    if spec.kind != "images":
        raise ConfigError(f"dataset={config.dataset!r} has no images")
    adam = optax.adam(config.learning_rate, b1=0.5, b2=0.99)
    return multi_view(
        DCGANGenerator(spec.shape, config.widths),
        DCGANCritic(tuple(reversed(config.widths)), norm="spectral"),
        adam,
        adam,
        shape=spec.shape,
        content=config.content,
        view=config.view,
        views=views_of(config),
        transform=data.symmetric_images(),
        ema_decay=config.ema_decay,
    )


EXPERIMENT = Experiment(
    "multi_view", Config, build, "gan", measure_test=measure_test, kinds="images", level="research"
)


def main() -> None:
    run(EXPERIMENT, read_options(Config, __doc__), comparison)


if __name__ == "__main__":
    run_main(main)
