"""Train a rectangular flow of images: a density on a surface of few dimensions among the pixels.

    python -m experiments.manifold                              # 8x8 digits, 16 dimensions

Then `python -m experiments.sample RUN_DIR` and `python -m experiments.evaluate RUN_DIR`, which also
gives the mean squared error per pixel, white being 1, of test images projected on the surface and
on PCA's plane of the same dimension.

The projections keep strokes that PCA blurs; about half of the samples are clear digits, the others
lie between two.
"""

from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any

import numpy as np

from experiments.shared.command_line import read_options
from experiments.shared.config import RunConfig
from experiments.shared.flow_options import check_images
from experiments.shared.option_types import (
    MAX_WIDTH,
    Count,
    Layers,
    Positive,
    Share,
    Steps,
    Widths,
    of,
    within,
)
from experiments.shared.registry import Experiment, Saved
from experiments.shared.runner import run
from experiments.shared.surface_pictures import TRANSFORM, as_vectors, projections, reconstructions
from gen_jax import data, flows
from gen_jax.data import DatasetSpec
from gen_jax.flows.manifold import Options
from gen_jax.metrics import mean_and_error
from gen_jax.model import GenerativeModel
from gen_jax.optimization import one_cycle_adam
from gen_jax.training import run_main


@dataclass(frozen=True)
class Config(RunConfig):
    """Couplings and free matrices in turn; the defaults take three minutes of one core."""

    steps: Steps = 1000
    batch_size: Count = 64
    latent: Annotated[int, *within(2, MAX_WIDTH)] = 16
    """Dimensions of the surface."""
    layers: Layers = 3
    """Couplings of the outer flow, and of the inner one."""
    hidden: Widths = (64,)
    """Widths of each coupling's network."""
    reconstruction: Annotated[float, *of(Options, "reconstruction")] = 50.0
    """Weight of the squared error of an image, pixels in [0, 1], against its log-likelihood."""
    learning_rate: Positive = 2e-3
    """Peak of a one-cycle schedule of Adam."""
    ema_decay: Share = 0.998


def layers_of(config: Config) -> tuple[flows.Layer, flows.Layer]:
    """The inner and the outer flow. A free matrix is nearest to the data: constant pixels have no
    scale for an actnorm."""
    masks = ("even", "odd")
    parts = []
    for i in range(config.layers):
        moved = flows.coupling(flows.gated(), masks[i % 2], config.hidden)
        parts += [moved, flows.actnorm(), flows.invertible_linear()]
    return flows.make_flow("realnvp", config.layers, config.hidden), flows.chain(*parts)


def build(config: Config, spec: DatasetSpec | None = None) -> GenerativeModel:
    """The model of a configuration; raises ConfigError for options that cannot work."""
    config.check()
    spec = spec or data.describe(config.dataset)
    check_images(spec, "manifold")
    return flows.manifold_flow(
        *layers_of(config),
        one_cycle_adam(config.steps, config.learning_rate),
        shape=spec.shape,
        latent=config.latent,
        transform=TRANSFORM,
        reconstruction=config.reconstruction,
        ema_decay=config.ema_decay,
    )


def measure_test(saved: Saved, test: dict[str, np.ndarray], num: int) -> dict[str, Any]:
    """Mean squared error per pixel (white is 1) of all test images on the surface and the plane."""
    u = as_vectors(test["x"])
    near, flat = projections(saved.model, saved.state, saved.spec, saved.config.latent, u)
    error = lambda found: mean_and_error(np.asarray((u - found) ** 2).mean(1))
    return {"reconstruction_error": error(near), "reconstruction_error_pca": error(flat)}


EXPERIMENT = Experiment(
    "manifold", Config, build, "flows", measure_test=measure_test, kinds="images", level="research"
)


def main() -> None:
    config = read_options(Config, __doc__)
    run(EXPERIMENT, config, partial(reconstructions, config))


if __name__ == "__main__":
    run_main(main)
