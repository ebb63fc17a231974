"""Variational autoencoders: bounds, likelihoods, priors, posteriors, estimates of log p(x).

The mathematics takes `encode(x) -> Posterior` and `decode(z) -> raw` numbers for a `Likelihood`.
"""

from gen_jax.vae.aggregate import aggregate_target
from gen_jax.vae.code_prior import independent_codes, num_codes, to_sequence
from gen_jax.vae.coder import VAEFunctions
from gen_jax.vae.diagnostics import (
    CodebookUse,
    Information,
    active_units,
    aggregate_log_prob,
    codebook_use,
    hole_score,
    information,
    perplexity,
)
from gen_jax.vae.discrete import (
    DiscreteOptions,
    DiscreteParts,
    code_logits,
    discrete_vae,
    relaxed_one_hot,
)
from gen_jax.vae.elbo import KL_KINDS, elbo, warm_up
from gen_jax.vae.evaluate import PROPOSALS, annealed_log_prob, estimate_log_prob
from gen_jax.vae.first_stage import (
    Coder,
    FirstStage,
    coder,
    first_stage,
    latent_draws,
    latent_model,
    latent_shape,
    untouched,
    with_prior,
)
from gen_jax.vae.hierarchical import LadderOptions, LadderParts, hierarchical_vae, make_ladder_parts
from gen_jax.vae.iwae import GRADIENTS, iwae
from gen_jax.vae.latent import interpolate, manifold, traversal
from gen_jax.vae.likelihoods import LIKELIHOODS, Likelihood, check_values, make_likelihood
from gen_jax.vae.missing import impute
from gen_jax.vae.model import VAEState, linear, make_parts, mlp, model_from_parts, vae
from gen_jax.vae.options import Options, Parts
from gen_jax.vae.penalties import mmd_squared, permute_dimensions
from gen_jax.vae.posterior import (
    Draw,
    Posterior,
    PosteriorFamily,
    diagonal_gaussian,
    draw,
    posterior_mean,
)
from gen_jax.vae.posteriors import POSTERIORS, make_posterior
from gen_jax.vae.priors import (
    PRIORS,
    Prior,
    PriorFamily,
    make_prior,
    model_prior,
    standard_normal,
)
from gen_jax.vae.quantize import Codebook
from gen_jax.vae.semi_supervised import label_logits, semi_supervised
from gen_jax.vae.spatial import SpatialDecoder, SpatialEncoder, convolutional
from gen_jax.vae.trained import decode, encode, functions, likelihood, values
from gen_jax.vae.variants import VARIANTS, Variant
from gen_jax.vae.vqvae import (
    VQOptions,
    VQParts,
    VQState,
    code_sides,
    decode_codes,
    encode_codes,
    make_vq_parts,
    vqvae,
)

__all__ = [
    "GRADIENTS",
    "KL_KINDS",
    "LIKELIHOODS",
    "POSTERIORS",
    "PRIORS",
    "PROPOSALS",
    "VARIANTS",
    "Codebook",
    "CodebookUse",
    "Coder",
    "DiscreteOptions",
    "DiscreteParts",
    "Draw",
    "FirstStage",
    "Information",
    "LadderOptions",
    "LadderParts",
    "Likelihood",
    "Options",
    "Parts",
    "Posterior",
    "PosteriorFamily",
    "Prior",
    "PriorFamily",
    "SpatialDecoder",
    "SpatialEncoder",
    "VAEFunctions",
    "VAEState",
    "VQOptions",
    "VQParts",
    "VQState",
    "Variant",
    "active_units",
    "aggregate_log_prob",
    "aggregate_target",
    "annealed_log_prob",
    "check_values",
    "code_logits",
    "code_sides",
    "codebook_use",
    "coder",
    "convolutional",
    "decode",
    "decode_codes",
    "diagonal_gaussian",
    "discrete_vae",
    "draw",
    "elbo",
    "encode",
    "encode_codes",
    "estimate_log_prob",
    "first_stage",
    "functions",
    "hierarchical_vae",
    "hole_score",
    "impute",
    "independent_codes",
    "information",
    "interpolate",
    "iwae",
    "label_logits",
    "latent_draws",
    "latent_model",
    "latent_shape",
    "likelihood",
    "linear",
    "make_ladder_parts",
    "make_likelihood",
    "make_parts",
    "make_posterior",
    "make_prior",
    "make_vq_parts",
    "manifold",
    "mlp",
    "mmd_squared",
    "model_from_parts",
    "model_prior",
    "num_codes",
    "permute_dimensions",
    "perplexity",
    "posterior_mean",
    "relaxed_one_hot",
    "semi_supervised",
    "standard_normal",
    "to_sequence",
    "traversal",
    "untouched",
    "vae",
    "values",
    "vqvae",
    "warm_up",
    "with_prior",
]
