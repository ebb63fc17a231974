"""Train Glow or the multi-scale RealNVP on images; samples at several temperatures, a latent walk.

    python -m experiments.glow                                  # 8x8 digits
    python -m experiments.glow --dataset mnist --depth 8 --width 64 --batch-size 64 \\
        --dequantization variational --steps 7000

Then `python -m experiments.sample RUN_DIR` and `python -m experiments.evaluate RUN_DIR`.

With `--coupling affine` the loss may jump to huge values on MNIST, and with depth 16 and width 128
the gradient was not finite after some steps. Learnt dequantization gains much on MNIST and nothing
on digits.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from experiments.shared.command_line import read_options
from experiments.shared.config import RunConfig, condition_of
from experiments.shared.flow_options import ALPHA, check_images, transform_of
from experiments.shared.latent_walks import pictures
from experiments.shared.option_types import Count, Layers, Positive, Share, Steps, Width
from experiments.shared.registry import Experiment
from experiments.shared.runner import run
from gen_jax import data
from gen_jax.data import DatasetSpec
from gen_jax.errors import ConfigError, check_choice, check_range
from gen_jax.flows import MIXINGS, Layer, flow, glow, noise_flow, realnvp_images
from gen_jax.model import GenerativeModel
from gen_jax.optimization import one_cycle_adam
from gen_jax.training import run_main

COUPLINGS = ("shift", "affine", "gated", "rational_quadratic", "linear_rational")


@dataclass(frozen=True)
class Config(RunConfig):
    """A multi-scale flow of images; the defaults take some minutes on two cores."""

    steps: Steps = 2000
    batch_size: Count = 64
    architecture: str = "glow"
    """glow or realnvp"""
    levels: Layers = 2
    """Image sides must be multiples of 2^levels; for realnvp not both 2^levels itself."""
    depth: Layers = 4
    """Steps of Glow at each level."""
    width: Width = 32
    """Channels of the couplings' networks."""
    coupling: str = "gated"
    """shift, affine, gated, rational_quadratic or linear_rational"""
    mixing: str = "plain"
    """plain or lu: how Glow's 1x1 convolutions are parametrised"""
    conditional: bool = False
    """Condition on the labels."""
    dequantization: str = "uniform"
    """uniform or variational"""
    learning_rate: Positive = 2e-3
    """Peak of a one-cycle schedule of Adam."""
    ema_decay: Share = 0.998

    def check(self) -> None:
        """Raise ConfigError for what cannot work, before anything is loaded or compiled."""
        super().check()
        check_choice("architecture", self.architecture, ("glow", "realnvp"))
        check_choice("coupling", self.coupling, COUPLINGS)
        check_choice("mixing", self.mixing, MIXINGS)
        check_choice("dequantization", self.dequantization, ("uniform", "variational"))


def layer_of(config: Config, spec: DatasetSpec) -> Layer:
    """The flow of a configuration; raises ConfigError for data it does not fit."""
    check_images(spec, "glow")
    check_range("levels", config.levels, 1, max(spec.shape[:2]).bit_length(), integer=True)
    make: Callable[..., Layer] = realnvp_images
    if config.architecture == "glow":
        make = partial(glow, depth=config.depth, mixing=config.mixing)
    layer = make(config.levels, width=config.width, coupling=config.coupling)
    try:
        layer.base_shape(spec.shape)
    except ConfigError as error:
        raise ConfigError(f"levels={config.levels} does not fit images: {error}") from error
    return layer


def build(config: Config, spec: DatasetSpec | None = None) -> GenerativeModel:
    """The model of a configuration; raises ConfigError for options that cannot work."""
    config.check()
    spec = spec or data.describe(config.dataset)
    learnt = config.dequantization == "variational"
    return flow(
        layer_of(config, spec),
        one_cycle_adam(config.steps, config.learning_rate),
        shape=spec.shape,
        transform=data.logit(ALPHA) if learnt else transform_of(spec),
        condition=condition_of(config, spec),
        ema_decay=config.ema_decay,
        dequantizer=noise_flow(2, config.width) if learnt else None,
    )


EXPERIMENT = Experiment("glow", Config, build, "flows", kinds="images")


def main() -> None:
    run(EXPERIMENT, read_options(Config, __doc__), pictures)


if __name__ == "__main__":
    run_main(main)
