"""Train a GAN that keeps what an image shows apart from how it is seen, told of neither.

    python -m experiments.multi_view                              # 8x8 digits, turned and moved
    python -m experiments.multi_view --dataset mnist --degrees 40 --shift 3 --steps 10000

Real pairs are two views of one image. At the end a picture: a content per row, a view per column.
Then `python -m experiments.evaluate RUN_DIR` asks a classifier whether images of one content show
the same digit, and images of one view different ones. (Its Frechet distance is of views to images.)

Measured with the defaults (six minutes on a share of two busy cores): images of one content show
the same digit in 54 percent of pairs, of one view in 12 percent (10 would be chance); two views of
a real image in 82 percent. Views are clearly separate; contents between two digits are what lacks.
"""

from dataclasses import dataclass

import optax
import tyro

from experiments.shared.config import RunConfig
from experiments.shared.registry import Experiment
from experiments.shared.runner import run
from experiments.shared.view_checks import comparison, measure_test, views_of
from gen_jax import data
from gen_jax.data import DatasetSpec
from gen_jax.errors import ConfigError, check_range
from gen_jax.gan import multi_view
from gen_jax.gan_nets import DCGANCritic, DCGANGenerator
from gen_jax.model import GenerativeModel
from gen_jax.training import run_main


@dataclass(frozen=True)
class Config(RunConfig):
    """A multi-view GAN; the defaults train on 8x8 digits in some minutes on two cores."""

    steps: int = 4000
    batch_size: int = 64
    widths: tuple[int, ...] = (64, 32)
    content: int = 16
    """Dimension of the content's latent."""
    view: int = 3
    """Dimension of the view's."""
    degrees: float = 20.0
    """Views are turned by up to so much, and moved by up to `shift` pixels."""
    shift: float = 0.5
    contrast: float = 0.2
    """Views are dimmed by up to this share."""
    learning_rate: float = 4e-4
    ema_decay: float = 0.995

    def check(self) -> None:
        """Raise ConfigError for what cannot work, before anything is loaded or compiled."""
        super().check()
        check_range("learning_rate", self.learning_rate, 0, open_low=True)
        check_range("degrees", self.degrees, 0, 180)
        check_range("shift", self.shift, 0)
        check_range("contrast", self.contrast, 0, 1)


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


EXPERIMENT = Experiment("multi_view", Config, build, measure_test=measure_test)


def main() -> None:
    run(EXPERIMENT, tyro.cli(Config, description=__doc__), comparison)


if __name__ == "__main__":
    run_main(main)
