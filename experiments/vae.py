"""Train a variational autoencoder, or a relative of it; likelihood, prior, posterior and objective
are swapped by one option each.

    python -m experiments.vae                                              # 8x8 digits
    python -m experiments.vae --dataset binarized:mnist --steps 4690 --hidden 400 --latent 20
    python -m experiments.vae --dataset binarized:mnist --prior vamp --posterior iaf --variant iwae
    python -m experiments.vae --convolutional --latent 4  # latents [2, 2, 4]: latent_diffusion

Then `python -m experiments.sample RUN_DIR` and `python -m experiments.evaluate RUN_DIR`, which also
reports by how much annealed importance sampling exceeds the bound.
"""

from dataclasses import dataclass
from functools import partial
from typing import Annotated

from experiments.shared.annealed_gap import measure_test
from experiments.shared.command_line import read_options
from experiments.shared.latent_pictures import latent_pictures
from experiments.shared.option_types import MAX_COUNT, MAX_STEPS, Positive, Width, of
from experiments.shared.registry import Experiment
from experiments.shared.runner import run
from experiments.shared.vae_options import CoderConfig, check_shared, coders_of, options_of
from gen_jax import data, vae
from gen_jax.data import DatasetSpec
from gen_jax.errors import check_choice
from gen_jax.model import GenerativeModel
from gen_jax.optimization import one_cycle_adam
from gen_jax.training import run_main


@dataclass(frozen=True)
class Config(CoderConfig):
    """A VAE; the defaults train on 8x8 digits in half a minute on two cores."""

    likelihood: str = "auto"
    """auto, gaussian, gaussian_scalar, gaussian_diagonal, bernoulli, categorical,
    discretized_logistic or discretized_logistic_mixture"""
    prior: str = "standard_normal"
    """standard_normal, gaussian_mixture, vamp or flow"""
    posterior: str = "diagonal"
    """diagonal, mixture or iaf"""
    variant: str = "vae"
    """vae, iwae, dreg, factor, info, wae_mmd, wae_gan, vae_gan, autoencoder or denoising"""
    conditional: bool = False
    """Encoder and decoder see the label (CVAE)."""
    components: Width = 50
    """Of a mixture prior, or pseudo-inputs of VampPrior."""
    num_samples: Annotated[int, *of(vae.Options, "num_samples", MAX_COUNT)] = 1
    """Draws of z per example."""
    beta: Annotated[float, *of(vae.Options, "beta")] = 1.0
    warm_up: Annotated[int, *of(vae.Options, "warm_up", MAX_STEPS)] = 0
    """Steps over which beta rises from 0."""
    free_bits: Annotated[float, *of(vae.Options, "free_bits")] = 0.0
    """Nats per latent dimension that cost nothing more."""
    weight: Annotated[float, *of(vae.Options, "weight")] = 1.0
    """Of the variant's own term: total correlation, MMD, critic, features (of vae_gan for decoder
    and encoder, where larsen2016 weighs the decoder's only), or noise."""
    learning_rate: Positive = 2e-3
    """Peak of a one-cycle schedule of Adam."""
    evaluation_samples: Annotated[int, *of(vae.Options, "evaluation_samples", MAX_COUNT)] = 64
    """Draws per example for log p(x)."""

    def check(self) -> None:
        """Raise ConfigError for what cannot work, before anything is loaded or compiled."""
        super().check()
        check_shared(self)
        check_choice("variant", self.variant, vae.VARIANTS)
        check_choice("prior", self.prior, vae.PRIORS)
        check_choice("posterior", self.posterior, vae.POSTERIORS)


def build(config: Config, spec: DatasetSpec | None = None) -> GenerativeModel:
    """The model of a configuration; raises ConfigError for options that cannot work."""
    config.check()
    options = options_of(config, spec or data.describe(config.dataset))
    encoder, decoder, latent = coders_of(config, options)
    return vae.vae(
        encoder,
        decoder,
        one_cycle_adam(config.steps, config.learning_rate),
        variant=config.variant,
        **options._replace(latent=latent)._asdict(),
    )


EXPERIMENT = Experiment("vae", Config, build, "vae", measure_test=measure_test, level="first")


def main() -> None:
    config = read_options(Config, __doc__)
    run(EXPERIMENT, config, partial(latent_pictures, config))


if __name__ == "__main__":
    run_main(main)
