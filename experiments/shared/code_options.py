"""Options of a VQ-VAE and of the model of its codes, as a configuration describes them."""

from typing import Any

from experiments.shared.vae_options import likelihood_of
from gen_jax import autoregressive, vae
from gen_jax.data import DatasetSpec
from gen_jax.errors import ConfigError
from gen_jax.model import GenerativeModel
from gen_jax.optimization import one_cycle_adam


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


def prior_of(config: Any, options: vae.VQOptions) -> GenerativeModel | None:
    """The transformer over the codes; None for counts."""
    if config.prior == "counts":
        return None
    return autoregressive.transformer(
        one_cycle_adam(config.steps, config.prior_rate),
        shape=(vae.num_codes(vae.code_sides(options)),),
        vocabulary=config.codes,
        width=config.prior_network.width,
        depth=config.prior_network.depth,
        heads=config.prior_network.heads,
        dropout=config.prior_network.dropout,
    )
