"""Train a GAN that keeps what an image shows apart from how it is seen, told of neither.

    python -m experiments.multi_view                              # 8x8 digits, turned and moved
    python -m experiments.multi_view --dataset mnist --degrees 40 --shift 3 --steps 10000

Real pairs are two views of one image. At the end a picture: a content per row, a view per column.
Then `python -m experiments.evaluate RUN_DIR` asks a classifier whether images of one content show
the same digit, and images of one view different ones.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import tyro

from experiments.runner import RunConfig, Saved, run
from gen_jax import data, metrics, plotting
from gen_jax.data import DatasetSpec
from gen_jax.data.views import random_view
from gen_jax.errors import ConfigError, check_range
from gen_jax.gan import multi_view
from gen_jax.model import GenerativeModel, sample_keys
from gen_jax.nets import DCGANCritic, DCGANGenerator
from gen_jax.training import run_main
from gen_jax.types import State


@dataclass(frozen=True)
class Config(RunConfig):
    """A multi-view GAN; the defaults train on 8x8 digits in some minutes on two cores."""

    steps: int = 4000
    batch_size: int = 64
    widths: tuple[int, ...] = (64, 32)
    content: int = 16
    """Dimension of the content's latent."""
    view: int = 4
    """Dimension of the view's."""
    degrees: float = 30.0
    """Views are turned by up to so much, and moved by up to `shift` pixels."""
    shift: float = 1.0
    contrast: float = 0.3
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
    look = config.degrees, config.shift, config.contrast
    adam = optax.adam(config.learning_rate, b1=0.5, b2=0.99)
    return multi_view(
        DCGANGenerator(spec.shape, config.widths),
        DCGANCritic(tuple(reversed(config.widths)), norm="spectral"),
        adam,
        adam,
        shape=spec.shape,
        content=config.content,
        view=config.view,
        views=lambda key, x: random_view(key, x, *look),
        transform=data.symmetric_images(),
        ema_decay=config.ema_decay,
    )


def table(model: GenerativeModel, state: State, contents: int, views: int) -> np.ndarray:
    """Images [contents, views, H, W, C] of every content in every view."""
    one, two = (sample_keys(jax.random.key(i), n) for i, n in ((1, contents), (2, views)))
    grid = jnp.indices((contents, views)).reshape(2, -1)
    draw = jax.jit(lambda a, b: model.sample(a, state, len(a), content_keys=a, view_keys=b))
    x = np.asarray(draw(one[grid[0]], two[grid[1]]))
    return x.reshape(contents, views, *x.shape[1:])


def measure_test(saved: Saved, test: dict[str, np.ndarray], num: int) -> dict[str, Any]:
    """Share of pairs of one content, and of one view, that a classifier finds the same digit."""
    try:
        classifier = metrics.load_classifier(saved.spec.name)
    except ConfigError:
        return {}
    x = table(saved.model, saved.state, max(num // 10, 20), 10)
    found = classifier.predict(x.reshape(-1, *saved.spec.shape)).reshape(x.shape[:2])
    same = lambda a, b: float((a == b).mean())
    return {
        "same_label_of_one_content": same(found[:, 1:], found[:, :-1]),
        "same_label_of_one_view": same(found[1:].T, found[:-1].T),
    }


def comparison(directory: Path, model: GenerativeModel, spec: DatasetSpec, state: State) -> Path:
    """A content per row, a view per column."""
    x = table(model, state, 10, 10)
    grid = plotting.image_grid(x.reshape(-1, *spec.shape), 10)
    return plotting.save_image(directory / "samples" / "contents.png", grid)


def main() -> None:
    run("multi_view", tyro.cli(Config, description=__doc__), build, comparison)


if __name__ == "__main__":
    run_main(main)
