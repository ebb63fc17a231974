"""Options of a VQ-VAE and of the model of its codes, as a configuration describes them."""

from dataclasses import dataclass, field
from typing import Annotated, Any

from experiments.shared.networks import TransformerNetwork
from experiments.shared.option_types import MAX_LAYERS, MAX_WIDTH, MaybeLayers, Positive, of
from experiments.shared.vae_options import likelihood_of
from gen_jax import autoregressive, nets, vae
from gen_jax.data import DatasetSpec, Sentences
from gen_jax.discrete_diffusion import discrete_diffusion
from gen_jax.errors import ConfigError, check_choice
from gen_jax.model import GenerativeModel
from gen_jax.optimization import one_cycle_adam


@dataclass(frozen=True)
class CodeConfig:
    """Options of the coder, and of a transformer over its codes."""

    likelihood: str = "auto"
    """auto, gaussian, gaussian_diagonal, bernoulli, categorical, discretized_logistic or
    discretized_logistic_mixture"""
    codes: Annotated[int, *of(vae.VQOptions, "codes", MAX_WIDTH)] = 64
    """Size of each codebook."""
    dim: Annotated[int, *of(vae.VQOptions, "dim", MAX_WIDTH)] = 16
    width: Annotated[int, *of(vae.VQOptions, "width", MAX_WIDTH)] = 64
    halvings: MaybeLayers = None
    """The codes' map has the image's side divided by 2^halvings; 1 below 16 pixels, else 2."""
    levels: Annotated[int, *of(vae.VQOptions, "levels", MAX_LAYERS)] = 1
    """Maps of codes, each of half the side of the one before (VQ-VAE-2)."""
    commitment: Annotated[float, *of(vae.VQOptions, "commitment")] = 0.25
    decay: Annotated[float, *of(vae.VQOptions, "decay")] = 0.98
    """Of the codebook's running averages."""
    learned: bool = False
    """Codebooks learn by gradient instead."""
    revive_below: Annotated[float, *of(vae.VQOptions, "revive_below")] = 0.1
    """Running count under which a code restarts; 0 for never."""
    prior_network: TransformerNetwork = field(default_factory=TransformerNetwork)
    prior_rate: Positive = 1e-3
    """Peak of the transformer's own schedule."""

    def check(self) -> None:
        """Raise ConfigError for what cannot work, before anything is loaded or compiled."""
        super().check()  # type: ignore[misc]
        check_choice("likelihood", self.likelihood, ["auto", *vae.LIKELIHOODS])
        self.prior_network.check("prior_network.")


def options_of(config: Any, spec: DatasetSpec) -> vae.VQOptions:
    """The options of the model that a configuration describes."""
    if spec.kind != "images":
        raise ConfigError(f"dataset {spec.name!r} has points; a VQ-VAE is for images")
    likelihood, transform = likelihood_of(config.likelihood, spec)
    return vae.VQOptions(
        shape=spec.shape,
        codes=config.codes,
        dim=config.dim,
        likelihood=likelihood,
        transform=transform,
        commitment=config.commitment,
        decay=None if config.learned else config.decay,
        revive_below=config.revive_below,
        halvings=config.halvings or (1 if max(spec.shape[:2]) < 16 else 2),
        levels=config.levels,
        width=config.width,
    )


def code_length(options: vae.VQOptions) -> int:
    """The number of an image's codes."""
    return vae.num_codes(vae.code_sides(options))


def prior_of(config: Any, options: vae.VQOptions) -> GenerativeModel | None:
    """The transformer over the codes, causal or of a diffusion of tokens; None for counts."""
    if config.prior == "counts":
        return None
    adam, length = one_cycle_adam(config.steps, config.prior_rate), code_length(options)
    labels = {"condition": options.condition, "condition_dropout": config.label_dropout}
    if config.prior == "diffusion":
        sizes = config.prior_network
        network = nets.TokenTransformer(
            config.codes + 1, length, sizes.width, sizes.depth, sizes.heads, dropout=sizes.dropout
        )
        return discrete_diffusion(
            network,
            adam,
            shape=(length,),
            size=config.codes,
            stepper="first_hitting",
            num_steps=length,
            **labels,
        )
    return autoregressive.transformer(
        adam,
        shape=(length,),
        vocabulary=config.codes,
        width=config.prior_network.width,
        depth=config.prior_network.depth,
        heads=config.prior_network.heads,
        dropout=config.prior_network.dropout,
        **labels,
    )


def text_prior_of(config: Any, options: vae.VQOptions, sentences: Sentences) -> GenerativeModel:
    """The transformer over sentences and codes."""
    return autoregressive.text_to_codes(
        one_cycle_adam(config.steps, config.prior_rate),
        caption_length=sentences.length,
        words=len(sentences.words),
        num_codes=code_length(options),
        codes=config.codes,
        width=config.prior_network.width,
        depth=config.prior_network.depth,
        heads=config.prior_network.heads,
        dropout=config.prior_network.dropout,
        text_weight=config.text_weight,
        condition_dropout=config.label_dropout,
    )
