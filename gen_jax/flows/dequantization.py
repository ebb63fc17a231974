"""Learnt dequantisation of images (ho2019): noise inside the pixel's bin that a flow chooses.

u = (x + v) / levels with v in (0, 1), v = sigmoid of a flow of Gaussian noise that sees x. Then

    log P(x) >= E[log p(u) - log q(u | x)]        nats,

with log q(u | x) = log q(v | x) + D log levels: uniform noise is the case log q(v | x) = 0. Uniform
dequantisation itself is the transform `data.dequantize`.
"""

import math

import jax
import jax.numpy as jnp

from gen_jax.errors import DataError
from gen_jax.flows.actnorm import actnorm
from gen_jax.flows.bijector import Layer, chain
from gen_jax.flows.density import push
from gen_jax.flows.elementwise import affine
from gen_jax.flows.image_coupling import image_coupling
from gen_jax.randomness import normal
from gen_jax.types import Array, Float, Key, Num, State, UInt8

EDGE = 2.0**-13
"""v keeps this far from 0 and 1, so that float32 rounding never reaches the next level."""

LOGISTIC_SCALE = 1.6
"""sigmoid(1.6 N(0, 1)) is nearly uniform: where an untrained noise begins."""


def noise_flow(layers: int = 2, width: int = 32) -> Layer:
    """Checkerboard couplings for the noise; each sees the image, [B, H, W, C] in [-1, 1]."""
    masks = ["even_pixels" if i % 2 else "odd_pixels" for i in range(layers)]
    parts = [(image_coupling(affine(), mask, width, 1), actnorm()) for mask in masks]
    return chain(*[part for pair in parts for part in pair])


def dequantize_with(
    layer: Layer,
    params: State,
    keys: Key[Array, "B"],
    x: Num[Array, "B H W C"],
    levels: int = 256,
) -> tuple[Float[Array, "B H W C"], Float[Array, "B"]]:
    """u in (0, 1) and log q(u | x) in nats. Raises DataError unless x is uint8."""
    if x.dtype != jnp.uint8:
        raise DataError(f"dequantisation needs uint8 images, got {x.dtype}")
    condition = 2 * x.astype(jnp.float32) / (levels - 1) - 1
    bijector = layer.bijector(params, condition)
    w, log_q = push(bijector, normal(keys, x.shape[1:]))
    w = LOGISTIC_SCALE * w
    v = EDGE + (1 - 2 * EDGE) * jax.nn.sigmoid(w)
    log_slope = -jax.nn.softplus(w) - jax.nn.softplus(-w) + math.log(1 - 2 * EDGE)
    log_slope = log_slope + math.log(LOGISTIC_SCALE)
    log_q = log_q - log_slope.sum((1, 2, 3)) + math.prod(x.shape[1:]) * math.log(levels)
    return (x + v) / levels, log_q


def to_levels(u: Float[Array, "B ..."], levels: int = 256) -> UInt8[Array, "B ..."]:
    """floor(levels u) as uint8, clipped."""
    return jnp.clip(jnp.floor(levels * u), 0, levels - 1).astype(jnp.uint8)
