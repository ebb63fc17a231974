"""Likelihood in bits per dimension."""

import math

import numpy as np

from gen_jax.checks import as_array, is_known, no_type_check
from gen_jax.errors import DataError, check_range
from gen_jax.types import Array, Float


@no_type_check
def bits_per_dim(
    log_prob: Float[Array | np.ndarray, "..."] | float, num_dims: int
) -> Float[Array | np.ndarray, "..."] | float:
    """-log_prob / (D ln 2), for log_prob in nats and data units.

    All constants of scaling and dequantisation belong to the transform that gave log_prob; so a
    uniform model over 256 values scores exactly 8. Average over examples afterwards, with
    `mean_and_error`.
    """
    check_range("num_dims", num_dims, 1, integer=True)
    nats = as_array("log_prob", log_prob, finite=False)
    if is_known(nats) and np.isnan(np.asarray(nats)).any():
        raise DataError("log_prob holds NaN")
    return -(nats if isinstance(log_prob, list | tuple) else log_prob) / (num_dims * math.log(2))
