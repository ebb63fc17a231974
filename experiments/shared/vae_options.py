"""Decoder likelihoods by name, with the units of data that each needs."""

from dataclasses import dataclass
from typing import Annotated, Any

from experiments.shared.autoregressive_options import check_black_and_white
from experiments.shared.config import RunConfig, condition_of
from experiments.shared.option_types import MAX_WIDTH, Width, Widths, of, within
from gen_jax import data, vae
from gen_jax.data import DatasetSpec
from gen_jax.errors import ConfigError, check_choice

MODEL_OPTIONS = (
    "latent",
    "posterior",
    "num_samples",
    "beta",
    "warm_up",
    "free_bits",
    "weight",
    "evaluation_samples",
)
"""Options of the experiment vae that are the model's own."""


@dataclass(frozen=True)
class CoderConfig(RunConfig):
    """Networks of the experiment vae."""

    latent: Annotated[int, *of(vae.Options, "latent", MAX_WIDTH)] = 8
    """Dimension of z; of convolutional coders the channels of each place."""
    hidden: Widths = (256,)
    convolutional: bool = False
    """Coders are convolutions, and the latents are a small image."""
    halvings: Annotated[int, *within(1, 16)] = 2
    """Of an image's sides to those of its latents, where convolutional."""
    width: Width = 32
    """Channels of the convolutions."""


def check_shared(config: Any) -> None:
    """Raise ConfigError for options of the VAEs' experiments that cannot work."""
    check_choice("likelihood", config.likelihood, ["auto", *vae.LIKELIHOODS])


def coders_of(config: Any, options: vae.Options) -> tuple[Any, Any, int]:
    """Encoder, decoder and the dimension of the latents of the experiment vae.

    Raises ConfigError for convolutions of points, or beside labels.
    """
    if not config.convolutional:
        network = vae.mlp(config.hidden)
        return network, network, options.latent
    if config.conditional:
        raise ConfigError("convolutional=True takes no labels: not beside conditional=True")
    return vae.convolutional(options.shape, config.latent, config.halvings, config.width)


def likelihood_of(name: str, spec: DatasetSpec) -> tuple[vae.Likelihood, data.Transform]:
    """A likelihood and the units it needs. Raises ConfigError when they do not fit the data."""
    black_and_white = spec.name.startswith(data.binarized.PREFIX)
    if name == "auto" and spec.kind == "images":
        name = "bernoulli" if black_and_white else "discretized_logistic"
    likelihood = vae.make_likelihood("gaussian_diagonal" if name == "auto" else name)
    if spec.kind == "points":
        if likelihood.values != "real":
            raise ConfigError(f"likelihood={name!r} is for images; {spec.name!r} has points")
        return likelihood, data.standardize(spec.mean, spec.std)
    if likelihood.values == "binary":
        check_black_and_white(name, spec)
    units = {"binary": data.binarize, "levels": data.identity, "real": data.symmetric_images}
    return likelihood, units[likelihood.values]()


def model_options(config: Any, spec: DatasetSpec, kind: Any) -> dict[str, Any]:
    """Fields of `kind` that a configuration has too, with the shape and units of the data."""
    likelihood, transform = likelihood_of(config.likelihood, spec)
    own = {name: getattr(config, name) for name in kind._fields if hasattr(config, name)}
    return {**own, "shape": spec.shape, "likelihood": likelihood, "transform": transform}


def options_of(config: Any, spec: DatasetSpec) -> vae.Options:
    """The options of the model that a configuration of the experiment vae describes."""
    likelihood, transform = likelihood_of(config.likelihood, spec)
    bounds = (-1.0, 1.0) if spec.kind == "images" else None
    mixture: dict[str, Any] = {"components": config.components}
    mixtures = {"vamp": {**mixture, "bounds": bounds}, "gaussian_mixture": mixture}
    name = config.prior
    return vae.Options(
        shape=spec.shape,
        likelihood=likelihood,
        transform=transform,
        prior=vae.make_prior(name, **mixtures[name]) if name in mixtures else name,
        condition=condition_of(config, spec),
        **{name: getattr(config, name) for name in MODEL_OPTIONS},
    )
