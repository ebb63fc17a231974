"""Formulas that the laws of decoders (`vae`) and of autoregressive units share.

A decoder's law is of one value; an autoregressive one is of a unit of E values, and draws with a
`Decoding`. Both compute and start alike.
"""

import jax
import jax.numpy as jnp
import numpy as np

from gen_jax.types import Array, Float, Num

MIN_LOG_SCALE = -7.0
"""Smallest log standard deviation, or log scale, that a network can ask for.

It is absolute, in the values that the likelihood sees: real data that vary by less than about 0.01
need a transform (`data.standardize`).
"""


def bernoulli_log_prob(
    logit: Float[Array, "..."], x: Num[Array | np.ndarray, "..."]
) -> Float[Array, "..."]:
    """log P(x) = log sigmoid(logit) for x = 1, log sigmoid(-logit) for x = 0.

    Of a large logit neither the value nor the slope is a difference of equal numbers, as they are
    in x logit - softplus(logit); at infinite logits they are 0 or infinite, not NaN.
    """
    return jax.nn.log_sigmoid(jnp.where(x > 0.5, logit, -logit))


def categorical_log_prob(
    logits: Float[Array, "... K"], x: Num[Array | np.ndarray, "..."]
) -> Float[Array, "..."]:
    """log softmax(logits)[x] for x in 0 .. K - 1, NaN for others; leading axes broadcast."""
    shape = jnp.broadcast_shapes(logits.shape[:-1], x.shape)
    index = jnp.broadcast_to(x, shape).astype(jnp.int32)
    log_p = jnp.broadcast_to(jax.nn.log_softmax(logits), (*shape, logits.shape[-1]))
    chosen = jnp.take_along_axis(log_p, index[..., None], -1, mode="fill")[..., 0]
    return jnp.where(index >= 0, chosen, jnp.nan)


def component_centres(num: int) -> Float[np.ndarray, "K"]:
    """Where the K components of a mixture start: the middles of K equal parts of [-1, 1].

    Equal components would have equal gradients and stay equal.
    """
    return (2 * np.arange(num) + 1) / num - 1
