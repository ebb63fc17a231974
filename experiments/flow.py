"""Train a normalizing flow of points, or of small images seen as vectors; look at its density.

    python -m experiments.flow                                  # eight Gaussians, splines
    python -m experiments.flow --dataset moons --flow realnvp --layers 8
    python -m experiments.flow --dataset digits --flow maf --layers 5 --hidden 128 128

Then `python -m experiments.sample RUN_DIR` and `python -m experiments.evaluate RUN_DIR`.

Affine maps (maf, realnvp) bridge the gaps between separated modes; splines much less.
"""

from dataclasses import dataclass

from experiments.shared.command_line import read_options
from experiments.shared.config import RunConfig, condition_of
from experiments.shared.flow_options import transform_of
from experiments.shared.option_types import Count, Layers, Positive, Share, Steps, Widths
from experiments.shared.pictures import density
from experiments.shared.registry import Experiment
from experiments.shared.runner import run
from gen_jax import data
from gen_jax.data import DatasetSpec
from gen_jax.errors import check_choice
from gen_jax.flows import FLOWS, as_image, chain, flow, make_flow
from gen_jax.model import GenerativeModel
from gen_jax.optimization import one_cycle_adam
from gen_jax.training import run_main


@dataclass(frozen=True)
class Config(RunConfig):
    """A flow by maximum likelihood; the defaults take a minute or two on two cores."""

    dataset: str = "8gaussians"
    steps: Steps = 4000
    batch_size: Count = 512
    flow: str = "rational_quadratic"
    """nice, realnvp, rational_quadratic, linear_rational, maf, iaf, spline_maf, planar or radial"""
    layers: Layers = 4
    hidden: Widths = (64, 64)
    """Widths of each layer's network."""
    conditional: bool = False
    """Condition on the labels."""
    learning_rate: Positive = 2e-3
    """Peak of a one-cycle schedule of Adam."""
    ema_decay: Share = 0.998

    def check(self) -> None:
        """Raise ConfigError for what cannot work, before anything is loaded or compiled."""
        super().check()
        check_choice("flow", self.flow, FLOWS)


def build(config: Config, spec: DatasetSpec | None = None) -> GenerativeModel:
    """The model of a configuration; raises ConfigError for options that cannot work."""
    config.check()
    spec = spec or data.describe(config.dataset)
    layer = make_flow(config.flow, config.layers, config.hidden)
    if spec.kind == "images":
        h, w, c = spec.shape
        layer = chain(layer, as_image((h, w, c)))
    return flow(
        layer,
        one_cycle_adam(config.steps, config.learning_rate),
        shape=spec.shape,
        transform=transform_of(spec),
        condition=condition_of(config, spec),
        ema_decay=config.ema_decay,
    )


EXPERIMENT = Experiment("flow", Config, build, "flows", level="first")


def main() -> None:
    run(EXPERIMENT, read_options(Config, __doc__), density)


if __name__ == "__main__":
    run_main(main)
