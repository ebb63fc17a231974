"""Train a diffusion model, or a relative of it, of the latents of a trained VAE or VQ-VAE.

    python -m experiments.vae --convolutional --latent 4
    python -m experiments.latent_diffusion --from runs/vae-digits
    python -m experiments.latent_diffusion --from runs/vae-digits --model flow_matching
    python -m experiments.latent_diffusion --from runs/vqvae-digits   # of experiments.vqvae

The first stage is frozen in the run (rombach2022); its latents are standardised by channel over
posterior draws of the training set. Of a VQ-VAE they are the vectors before the nearest code is
taken, which the decoder does. Then `python -m experiments.sample RUN_DIR` and `evaluate`: log p(x)
is the bound of both stages, by one draw of z and 100 of 1000 steps; of a VQ-VAE there is none.
"""

from dataclasses import dataclass, field
from typing import Annotated, Any

import numpy as np
import tyro

from experiments.shared.command_line import read_options
from experiments.shared.diffusion_options import PathConfig
from experiments.shared.latent_stages import FIRST_STAGES, MODELS, model_of_latents, standardised
from experiments.shared.networks import NetworkConfig
from experiments.shared.reconstruction import compared, comparison
from experiments.shared.registry import Experiment, Saved
from experiments.shared.runner import run
from gen_jax.data import DatasetSpec
from gen_jax.errors import check_choice
from gen_jax.model import GenerativeModel
from gen_jax.training import run_main


@dataclass(frozen=True)
class Config(PathConfig):
    """A second stage; the defaults train on latents of 8x8 digits."""

    initial_run: Annotated[str | None, tyro.conf.arg(name="from")] = None
    """Directory of the run of experiments.vae or vqvae whose latents are modelled."""
    model: str = "diffusion"
    """diffusion, flow_matching, or with --noise-input angle and one sampling step flow_map"""
    network: NetworkConfig = field(default_factory=lambda: NetworkConfig(patch=1))
    """auto is a DiT for latents [h, w, c], and an MLP for others."""

    def check(self) -> None:
        """Raise ConfigError for what cannot work, before anything is loaded or compiled."""
        super().check()
        check_choice("model", self.model, MODELS)


def build(config: Config, spec: DatasetSpec, base: Saved) -> GenerativeModel:
    """The model of a configuration; raises ConfigError for options that cannot work."""
    config.check()
    return model_of_latents(config, spec, base, config.model)


def measure_test(saved: Saved, test: dict[str, np.ndarray], num: int) -> dict[str, Any]:
    """What the first stage alone loses of test images."""
    return compared(saved, test["x"])


EXPERIMENT = Experiment(
    "latent_diffusion",
    Config,
    build,
    "diffusion",
    measure_test,
    bases=FIRST_STAGES,
    kinds="images",
)


def main() -> None:
    config = read_options(Config, __doc__)
    run(EXPERIMENT, config, comparison, fit_options=standardised)


if __name__ == "__main__":
    run_main(main)
