"""Likelihood in bits per dimension."""

import math

import numpy as np

from gen_jax.errors import check_range
from gen_jax.types import Array, Float


def bits_per_dim(
    log_prob: Float[Array | np.ndarray, "..."] | float, num_dims: int
) -> Float[Array | np.ndarray, "..."] | float:
    """-log_prob / (D ln 2), for log_prob in nats and data units.

    All constants of scaling and dequantisation belong to the transform that gave log_prob; so a
    uniform model over 256 values scores exactly 8. Average over examples afterwards, with
    `mean_and_error`.
    """
    check_range("num_dims", num_dims, 1, integer=True)
    return -log_prob / (num_dims * math.log(2))
