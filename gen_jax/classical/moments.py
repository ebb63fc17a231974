"""Mean and covariance merged from parts: batch after batch ends where all data at once would."""

import warnings
from typing import NamedTuple

import jax.numpy as jnp

from gen_jax.annotations import floats
from gen_jax.axes import expand
from gen_jax.checks import check_form
from gen_jax.types import Array, Float, Int, Num


class Moments(NamedTuple):
    """Of `size` examples so far: mean [D] and covariance [D, D] (divided by size)."""

    size: Int[Array, ""]
    mean: Float[Array, "D"]
    covariance: Float[Array, "D D"]


def blend(
    mean: Float[Array, "*K D"],
    covariance: Float[Array, "..."],
    other_mean: Float[Array, "*K D"],
    other_covariance: Float[Array, "..."],
    share: Float[Array, "*K"],
) -> tuple[Float[Array, "*K D"], Float[Array, "..."]]:
    """Moments of (1 - share) of one population and `share` of another (chan1983).

    The covariances are variances [*K, D], matrices [*K, D, D], or matrices at several lags
    [..., D, D] with one share. No raw second moments are formed, so nothing cancels.
    """
    shift = other_mean - mean
    full = covariance.ndim > mean.ndim
    between = shift[..., :, None] * shift[..., None, :] if full else shift**2
    wide = expand(share, between)
    change = wide * (other_covariance - covariance) + wide * (1 - wide) * between
    return mean + share[..., None] * shift, covariance + change


def nothing(dim: int, dtype=jnp.float32) -> Moments:
    """The moments of no example."""
    return Moments(jnp.int32(0), jnp.zeros(dim, dtype), jnp.zeros((dim, dim), dtype))


@floats(x="B D")
def add(moments: Moments, x: Float[Array, "B D"]) -> Moments:
    """The moments with a batch added."""
    check_form("x", x.shape, "B D", {"D": len(moments.mean)})
    mean = x.mean(0)
    centred = x - mean
    covariance = jnp.matmul(centred.T, centred, precision="highest") / x.shape[0]
    size = moments.size + x.shape[0]
    share = x.shape[0] / size.astype(x.dtype)
    return Moments(size, *blend(moments.mean, moments.covariance, mean, covariance, share))


def warn_small(u: Num[Array, "B ..."], least: float, what: str) -> None:
    """Warn where examples that are not alike have a standard deviation below `least`, by `what`."""
    found = float(jnp.std(jnp.asarray(u, jnp.float32)))
    if 0 < found < least:
        warnings.warn(
            f"the first batch has a standard deviation of {found:.2g}, {what}: scale the data "
            "(transform=data.standardize(...)), or give another",
            stacklevel=2,
        )
