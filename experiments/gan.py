"""Train a generative adversarial network; loss, penalty, remedies and networks by one option each.

    python -m experiments.gan                                              # 8x8 digits
    python -m experiments.gan --dataset 8gaussians --loss wgan --penalty wgan_gp \\
        --penalty-weight 0.1 --remedy n_critic
    python -m experiments.gan --dataset mnist --conditional projection --watch 2000 --patience 5

A run of images ends with pictures of arcs between latents, of truncations (brock2019) and of sums
of latents (radford2016). Then `python -m experiments.sample RUN_DIR`, `python -m
experiments.evaluate RUN_DIR`, which also measures whether the critic has memorised its training
examples, how many sums of latents are read as asked, and discriminator rejection (azadi2019) where
the loss makes a critic of density ratios: the critic is first trained on alone for 500 steps,
without the penalty. With --watch the Frechet distance to training images is measured at every save,
and the best checkpoint is kept; with --patience the run ends when it no longer falls.

BEGAN needs `--loss began --architecture autoencoder --penalty none --diversity 0.9 --balance-rate
0.02`: with its paper's balance all becomes zeros.
"""

from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
import optax

from experiments.shared.command_line import read_options
from experiments.shared.diffusion_options import transform_of
from experiments.shared.gan_diagnostics import analogies, code_accuracy, critic_signs
from experiments.shared.gan_options import GanOptions, assembled
from experiments.shared.gan_pictures import gan_pictures
from experiments.shared.gan_rejection import after_rejection
from experiments.shared.gan_remedies import remedies_of
from experiments.shared.gan_watch import check_watch, run_watched
from experiments.shared.option_types import (
    MAX_SAMPLES,
    MAX_WIDTH,
    Duration,
    Positive,
    Share,
    Steps,
    of,
    within,
)
from experiments.shared.registry import Experiment, Saved
from gen_jax import data, gan
from gen_jax.data import DatasetSpec
from gen_jax.errors import ConfigError
from gen_jax.model import GenerativeModel
from gen_jax.training import run_main


@dataclass(frozen=True)
class Config(GanOptions):
    """A GAN; the defaults train on 8x8 digits in a minute on two cores."""

    steps: Steps = 4000
    latent: Annotated[int, *of(gan.Options, "latent", MAX_WIDTH)] = 32
    learning_rate: Positive = 1e-3
    """At the start, of both networks; it falls to 0 on a cosine."""
    beta1: Annotated[float, *within(0, 0.9999)] = 0.5
    ema_decay: Share = 0.995
    watch: Annotated[int, *within(0, MAX_SAMPLES)] = 0
    """Samples for the Frechet distance at every save; 0 for none."""
    patience: Duration = 0
    """Saves without a new best after which the run ends; 0 for never."""

    def check(self) -> None:
        """Raise ConfigError for what cannot work, before anything is loaded or compiled."""
        super().check()
        check_watch(self.watch)
        if self.patience and not self.watch:
            raise ConfigError(f"patience={self.patience} needs --watch, the number of samples")


def build(config: Config, spec: DatasetSpec | None = None) -> GenerativeModel:
    """The model of a configuration; raises ConfigError for options that cannot work."""
    config.check()
    spec = spec or data.describe(config.dataset)
    remedy, (networks, options) = remedies_of(config), assembled(config, spec)
    updates = config.steps * remedy.options.get("n_critic", 1)

    def adam(rate: float, updates: int) -> optax.GradientTransformation:
        return optax.adam(optax.cosine_decay_schedule(rate, updates), b1=config.beta1, b2=0.99)

    return gan.gan(
        *networks,
        adam(config.learning_rate, config.steps),
        adam(config.learning_rate * remedy.rate, updates),
        shape=spec.shape,
        latent=config.latent,
        transform=transform_of(spec)[0],
        ema_decay=config.ema_decay,
        **options,
    )


def measure_test(saved: Saved, test: dict[str, np.ndarray], num: int) -> dict[str, Any]:
    """Signs of overfitting, classes predicted by the code, how many sums of latents are read as
    asked, and the numbers of samples that pass the critic, each where it has a meaning."""
    signs = critic_signs(saved, test) | code_accuracy(saved, test)
    if found := analogies(saved.model, saved.state, saved.spec):
        signs["analogy_accuracy"] = found.accuracy
    return signs | after_rejection(saved, test)


EXPERIMENT = Experiment("gan", Config, build, "gan", measure_test=measure_test, level="first")


def main() -> None:
    config = read_options(Config, __doc__)
    run_watched(EXPERIMENT, config, gan_pictures)


if __name__ == "__main__":
    run_main(main)
