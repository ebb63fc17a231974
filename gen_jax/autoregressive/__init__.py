"""Autoregressive models: p(x) as a product of conditionals, exact log p, samples value by value.

A network with its ordering is a `Factorisation`, a law of one unit a `Likelihood`; `made`,
`pixel_model` and `transformer` join them to a `GenerativeModel`. `text_to_codes` is one transformer
over a sentence and the codes of an image.
"""

from gen_jax.autoregressive.decoding import Decoder, Decoding, generate, keep_nucleus, keep_top_k
from gen_jax.autoregressive.factorisation import Factorisation
from gen_jax.autoregressive.likelihoods import LIKELIHOODS, Likelihood
from gen_jax.autoregressive.made import made, orderings
from gen_jax.autoregressive.model import autoregressive, logits, model_from_parts
from gen_jax.autoregressive.options import Options, Parts, make_parts
from gen_jax.autoregressive.pixels import NETWORKS, pixel_model
from gen_jax.autoregressive.text_to_codes import (
    TextOptions,
    text_and_code_log_probs,
    text_to_codes,
)
from gen_jax.autoregressive.transformer import transformer

__all__ = [
    "LIKELIHOODS",
    "NETWORKS",
    "Decoder",
    "Decoding",
    "Factorisation",
    "Likelihood",
    "Options",
    "Parts",
    "TextOptions",
    "autoregressive",
    "generate",
    "keep_nucleus",
    "keep_top_k",
    "logits",
    "made",
    "make_parts",
    "model_from_parts",
    "orderings",
    "pixel_model",
    "text_and_code_log_probs",
    "text_to_codes",
    "transformer",
]
