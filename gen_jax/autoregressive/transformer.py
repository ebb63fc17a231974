"""Decoder-only transformer as a model of tokens: text, or an image's values in raster order."""

import math
from typing import Any

import jax.numpy as jnp
import numpy as np
import optax

from gen_jax.autoregressive.decoding import Decoder
from gen_jax.autoregressive.factorisation import Factorisation
from gen_jax.autoregressive.likelihoods import categorical
from gen_jax.autoregressive.model import autoregressive
from gen_jax.checks import no_type_check
from gen_jax.conditions import checked_condition, configured
from gen_jax.errors import check_shape
from gen_jax.model import GenerativeModel
from gen_jax.nets import Transformer
from gen_jax.nets.cached_attention import attention_at, empty_cache
from gen_jax.nets.transformer import shifted


def cached_decoder(network: Transformer, params: Any, condition, num: int) -> Decoder:
    """One token at a time; keys and values of all earlier ones are kept."""

    def start(batch):
        return empty_cache(network, batch, num, params)

    def step(cache, index, previous):
        attention, kept = attention_at(index, cache)
        token = jnp.where(index > 0, previous, network.vocabulary)
        logits: Any = network.apply(params, token, condition, first=index, attention=attention)
        return logits[:, 0], kept

    return Decoder(start, step)


def factorise(network: Transformer, num: int) -> Factorisation:
    """A transformer over `num` tokens."""

    def raw(params, u, condition, k, **training):
        tokens = shifted(u[..., 0], network.vocabulary)
        return network.apply(params, tokens, condition, **training)

    def init(key, condition):
        return network.init(key, jnp.zeros((1, num), jnp.int32), condition)

    def decoder(params, condition, k):
        return cached_decoder(network, params, condition, num)

    return Factorisation(init, raw, np.arange(num)[None], decoder)


@no_type_check
def transformer(
    optimizer: optax.GradientTransformation,
    *,
    shape: tuple[int, ...],
    vocabulary: int,
    width: int = 128,
    depth: int = 4,
    heads: int = 4,
    dropout: float = 0.0,
    **options: Any,
) -> GenerativeModel:
    """A transformer with exact log p; `options` are the fields of `Options`.

    Args:
      shape: of one example: [T] tokens, or an image's; all its values are the context.
      vocabulary: number of tokens; data outside 0 .. vocabulary - 1 are refused.
    Raises ConfigError for sizes that cannot work.
    """
    shape = check_shape("shape", shape)
    num = math.prod(shape)
    network = Transformer(vocabulary, num, width, depth, heads, dropout=dropout)
    network = configured("network", network, checked_condition(options.get("condition")))
    options = {**options, "shape": shape, "dropout": dropout > 0}
    return autoregressive(factorise(network, num), categorical(vocabulary), optimizer, **options)
