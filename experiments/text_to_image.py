"""Train a model that draws what a sentence says, by tokens, latents or pixels.

    python -m experiments.text_to_image                                  # codes of a VQ-VAE
    python -m experiments.text_to_image --model latent --network.patch 1 # diffusion of its vectors
    python -m experiments.text_to_image --model pixels --network.patch 2 # diffusion
    python -m experiments.text_to_image --dataset shapes:16

tokens: a VQ-VAE turns images into codes, and beside it one transformer learns sentences followed by
codes (ramesh2021). latent: diffusion of a VQ-VAE's vectors, whose network attends to the words;
the VQ-VAE is trained first (RUN_DIR-first_stage) or is the run of `experiments.vqvae` or `vae` that
`--from` names. pixels: diffusion of the images. Then `python -m experiments.sample RUN_DIR --prompt
"a thick seven in black"`, and `python -m experiments.evaluate RUN_DIR` counts how often images are
as asked.
"""

from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
import tyro

from experiments.shared import latent_stages
from experiments.shared.caption_checks import caption_picture
from experiments.shared.code_options import CodeConfig, options_of, text_prior_of
from experiments.shared.code_report import codes_of_sentences
from experiments.shared.command_line import read_options
from experiments.shared.diffusion_options import PathConfig, model_options
from experiments.shared.networks import make_network
from experiments.shared.option_types import Count, Steps, of
from experiments.shared.prompts import check_captioned, prompted_by_labels
from experiments.shared.reconstruction import compared
from experiments.shared.registry import Experiment, Saved
from experiments.shared.runner import run
from gen_jax import data, vae
from gen_jax.autoregressive import TextOptions
from gen_jax.data import DatasetSpec
from gen_jax.diffusion import diffusion
from gen_jax.errors import check_choice
from gen_jax.model import GenerativeModel
from gen_jax.optimization import one_cycle_adam
from gen_jax.training import run_main

MODELS = ("tokens", "latent", "pixels")


@dataclass(frozen=True)
class Config(CodeConfig, PathConfig):
    """Images from sentences; the defaults train on 8x8 digits in some minutes on two cores. Options
    of the codes are for tokens and latent; of path, network and sampler for latent and pixels.
    """

    initial_run: Annotated[str | None, tyro.conf.arg(name="from")] = None
    """A run that this one starts from; of latent, that of the first stage."""
    dataset: str = "captions:digits"
    """captions:NAME or shapes; of digits without captions the sentence of their label is taken."""
    steps: Steps = 2000
    batch_size: Count = 64
    model: str = "tokens"
    """tokens, latent or pixels"""
    text_weight: Annotated[float, *of(TextOptions, "text_weight")] = 1 / 8
    """Of the sentence's own log p in the loss of tokens."""
    first_steps: Steps = 1000
    """Of the first stage of latent, where it has no run yet."""

    def check(self) -> None:
        """Raise ConfigError for what cannot work, before anything is loaded or compiled."""
        super().check()
        check_choice("model", self.model, MODELS)


def build(config: Config, spec: DatasetSpec | None = None, base: Any = None) -> GenerativeModel:
    """The model of a configuration; raises ConfigError for options that cannot work."""
    config.check()
    spec = spec or data.describe(config.dataset)
    condition = check_captioned(spec).condition
    adam = one_cycle_adam(config.steps, config.learning_rate)
    if config.model == "tokens":
        options = options_of(config, spec)._replace(condition=condition)
        prior = text_prior_of(config, options, check_captioned(spec))
        model = vae.vqvae(adam, prior, **options._asdict())
    elif config.model == "latent":
        model = latent_stages.model_of_latents(config, spec, base, condition=condition)
    else:
        given: Any = model_options(config, spec) | {"condition": condition}
        model = diffusion(make_network(config.network, spec), config.path, adam, **given)
    return prompted_by_labels(model, spec)


def measure_test(saved: Saved, test: dict[str, np.ndarray], num: int) -> dict[str, Any]:
    """What sentences say of codes, or what a first stage loses of images."""
    if saved.config.model == "latent":
        return compared(saved, test["x"])
    return codes_of_sentences(saved, test, num)


EXPERIMENT = Experiment(
    "text_to_image",
    Config,
    build,
    "autoregressive",
    measure_test,
    bases=latent_stages.FIRST_STAGES,
    kinds="images",
    needs_base=lambda config: config.model == "latent",
)


def main() -> None:
    config, options = read_options(Config, __doc__), None
    if config.model == "latent":
        config = latent_stages.with_first_stage(config, EXPERIMENT.name)
        options = latent_stages.standardised
    run(EXPERIMENT, config, caption_picture, fit_options=options)


if __name__ == "__main__":
    run_main(main)
