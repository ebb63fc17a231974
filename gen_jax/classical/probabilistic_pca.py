"""Probabilistic PCA (tipping1999): x = W z + m + noise, z ~ N(0, I_q), noise ~ N(0, sigma^2 I).

Its maximum likelihood is in closed form (eq. 7 and 8): with the data's variances v_1 >= v_2 >= ...
and axes E, sigma^2 is the mean of all v_i beyond q, and W = E_q (diag(v_q) - sigma^2)^1/2.
"""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from gen_jax.annotations import floats
from gen_jax.checks import no_type_check
from gen_jax.classical.gaussian_image import (
    Parts,
    PrincipalGaussian,
    model_from_parts,
    principal_axes,
    principal_of,
)
from gen_jax.classical.moments import Moments
from gen_jax.data_units import Units
from gen_jax.errors import DataError, check_range, check_shape
from gen_jax.model import GenerativeModel
from gen_jax.ranges import Count, Positive, check_ranges, options_from
from gen_jax.types import Array, Float


def maximum_likelihood(
    mean: Float[Array, "D"],
    axes: Float[Array, "D R"],
    variances: Float[Array, "R"],
    rank: int,
) -> PrincipalGaussian:
    """The model of the first `rank` axes; variances that are not given are 0."""
    noise = variances[rank:].sum() / (mean.shape[0] - rank)
    return PrincipalGaussian(mean, axes[:, :rank], variances[:rank], noise)


@floats(x="N D")
def fit(x: Float[Array, "N D"], rank: int) -> PrincipalGaussian:
    """The maximum-likelihood model with `rank` latent dimensions.

    Raises ConfigError unless 1 <= rank < D; DataError for fewer than two examples, or when these
    leave no variance for the noise (N <= rank + 1, or singular data).
    """
    check_range("rank", rank, 1, x.shape[1] - 1, integer=True)
    law = maximum_likelihood(*principal_axes(x), rank)
    if not isinstance(x, jax.core.Tracer) and law.noise <= 1e-10 * law.variances[0]:
        raise DataError(
            f"rank={rank} leaves no variance for the noise of {x.shape[0]} examples of "
            f"{x.shape[1]} dimensions (give a lower rank, or more data)"
        )
    return law


def loadings(law: PrincipalGaussian) -> Float[Array, "D R"]:
    """W, the images that the latent variables multiply."""
    return law.axes * jnp.sqrt(jnp.maximum(law.variances - law.noise, 0))


@floats(law="tree", x="N D")
def posterior(
    law: PrincipalGaussian, x: Float[Array, "N D"]
) -> tuple[Float[Array, "N R"], Float[Array, "R"]]:
    """Mean [N, R] and variances [R] of p(z | x), equal for all x (eq. 6 with M diagonal)."""
    along = jnp.matmul(x - law.mean, loadings(law), precision="highest")
    return along / law.variances, law.noise / law.variances


@floats(law="tree", z="N R")
def decode(law: PrincipalGaussian, z: Float[Array, "N R"]) -> Float[Array, "N D"]:
    """W z + m, without noise."""
    return law.mean + jnp.matmul(z, loadings(law).T, precision="highest")


class Options(NamedTuple):
    """Options of `probabilistic_pca`.

    Fields:
      rank: latent dimensions, 1 .. D - 1.
      shape: of one example after the transform.
      transform: as of `gaussian_image`.
      floor: the share of their mean that is added to all variances, or a number added where they
        are 0, so that a state without examples is a density too.
    """

    rank: Count
    shape: tuple[int, ...]
    transform: Any = None
    floor: Positive = 1e-6


@no_type_check
def make_parts(options: Options) -> Parts:
    """The parts of a model. Raises ConfigError for values out of range."""
    shape = check_shape("shape", options.shape)
    check_range("rank", options.rank, 1, math.prod(shape) - 1, integer=True)
    check_ranges(options)

    def law(state: Moments) -> PrincipalGaussian:
        axes, variances = principal_of(state)
        mean = variances.mean()
        added = options.floor * jnp.where(mean > 0, mean, 1)
        return maximum_likelihood(state.mean, axes, variances + added, options.rank)

    return Parts(law, Units(shape, options.transform))


@no_type_check
def probabilistic_pca(rank: int, **options) -> GenerativeModel:
    """Probabilistic PCA on mean and covariance, which the steps collect as in `gaussian_image`;
    `options` are the other fields of `Options`.
    """
    return model_from_parts(make_parts(options_from(Options, options, rank)))
