"""Actnorm (kingma2018): a shift and a scale per channel, set by the first data on request."""

import math

import jax.numpy as jnp

from gen_jax.flows.bijector import Bijector, Layer, channels_of

SMALLEST = 1e-3
"""Standard deviations below this share of the channels' root mean square count as it: a constant
channel must not blow up, whatever the units of the data."""


def actnorm() -> Layer:
    """y = x e^s + t with s, t [C] for the last axis; the identity until `start_from_data`.

    The log-determinant is sum(s) times the number of pixels.
    """

    def init(key, shape, extra=0):
        channels = channels_of(shape)
        return {"log_scale": jnp.zeros(channels), "shift": jnp.zeros(channels)}

    def start(params, x, condition=None):
        axes = tuple(range(x.ndim - 1))
        std = jnp.std(x, axes)
        usual = jnp.sqrt(jnp.mean(std**2))
        scale = jnp.maximum(std, SMALLEST * jnp.where(usual > 0, usual, 1))
        return {"log_scale": jnp.log(scale), "shift": jnp.mean(x, axes)}

    def bijector(params, condition=None):
        log_scale, shift = params["log_scale"], params["shift"]

        def log_det(x):
            total = jnp.sum(log_scale) * math.prod(x.shape[1:-1])
            return jnp.broadcast_to(total.astype(x.dtype), x.shape[:1])

        def forward(x):
            return x * jnp.exp(log_scale) + shift, log_det(x)

        def inverse(y):
            return (y - shift) * jnp.exp(-log_scale), -log_det(y)

        return Bijector(forward, inverse)

    return Layer(init, bijector, start=start)
