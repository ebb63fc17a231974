"""Decoder-only transformer as a model of tokens: text, or an image's values in raster order."""

import math
from typing import Any

import jax.numpy as jnp
import numpy as np
import optax

from gen_jax.autoregressive.decoding import Decoder
from gen_jax.autoregressive.factorisation import Factorisation
from gen_jax.autoregressive.likelihoods import categorical
from gen_jax.autoregressive.model import Settings, autoregressive
from gen_jax.checks import no_type_check
from gen_jax.errors import check_shape
from gen_jax.model import GenerativeModel
from gen_jax.nets import Transformer
from gen_jax.nets.cached_attention import attention_at, empty_cache
from gen_jax.nets.transformer import shifted


def cached_decoder(network: Transformer, params: Any, label, num: int) -> Decoder:
    """One token at a time; keys and values of all earlier ones are kept."""

    def start(batch):
        return empty_cache(network, batch, num, params)

    def step(cache, index, previous):
        attention, kept = attention_at(index, cache)
        token = jnp.where(index > 0, previous, network.vocabulary)
        logits: Any = network.apply(params, token, label, first=index, attention=attention)
        return logits[:, 0], kept

    return Decoder(start, step)


def factorise(network: Transformer, num: int) -> Factorisation:
    """A transformer over `num` tokens."""

    def raw(params, u, label, k, **training):
        tokens = shifted(u[..., 0], network.vocabulary)
        return network.apply(params, tokens, label, **training)

    def init(key, label):
        return network.init(key, jnp.zeros((1, num), jnp.int32), label)

    def decoder(params, label, k):
        return cached_decoder(network, params, label, num)

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
    **settings: Any,
) -> GenerativeModel:
    """A transformer with exact log p; `settings` are the fields of `Settings`.

    Args:
      shape: of one example: [T] tokens, or an image's; all its values are the context.
      vocabulary: number of tokens; data outside 0 .. vocabulary - 1 are refused.
    Raises ConfigError for sizes that cannot work.
    """
    shape = check_shape("shape", shape)
    num, classes = math.prod(shape), settings.get("num_classes", 0)
    network = Transformer(vocabulary, num, width, depth, heads, 4, classes, dropout)
    settings["dropout"] = dropout > 0
    likelihood = categorical(vocabulary)
    options = Settings(shape=shape, **settings)
    return autoregressive(factorise(network, num), likelihood, optimizer, options)
