"""Kernel two-sample statistics: kernel distance (KID), MMD and energy distance.

Each is E k(a, a') + E k(b, b') - 2 E k(a, b) for a kernel k (gretton2012 lemma 6). The unbiased
estimate leaves the pairs (i, i) out: its mean is 0 for equal laws at any N, so single values may be
negative.
"""

import functools
from collections.abc import Callable, Sequence

import jax.numpy as jnp
import numpy as np

from gen_jax.checks import as_numbers, no_type_check
from gen_jax.divergences.distances import squared_distances
from gen_jax.errors import ConfigError, check_flag, check_range
from gen_jax.metrics.pairwise import as_pair, centred_pair, sum_of_diagonal, sum_of_pairs
from gen_jax.metrics.resampling import Estimate, mean_and_error
from gen_jax.types import Array, Num


@functools.cache
def _polynomial(degree: int) -> Callable:
    """The kernel of one degree: the same function each time, so that it is compiled once."""
    return lambda x, y: (x @ y.T / x.shape[1] + 1) ** degree


def _gaussian(x, y, bandwidths):
    squares = squared_distances(x, y)
    total = sum(jnp.exp(-squares / (2 * bandwidths[i] ** 2)) for i in range(len(bandwidths)))
    return total / len(bandwidths)


def _negative_distance(x, y):
    return -jnp.sqrt(squared_distances(x, y))


def _two_sample(
    kernel: Callable, a: np.ndarray, b: np.ndarray, unbiased: bool, *options: np.ndarray
) -> float:
    def mean_within(x):
        total, n = sum_of_pairs(kernel, x, None, *options), len(x)
        if unbiased:
            return total / (n * (n - 1))
        return (total + sum_of_diagonal(kernel, x, *options)) / n**2

    between = sum_of_pairs(kernel, a, b, *options) / (len(a) * len(b))
    return float(mean_within(a) + mean_within(b) - 2 * between)


@no_type_check
def kernel_distance(
    a: Num[Array | np.ndarray, "N ..."], b: Num[Array | np.ndarray, "M ..."], degree: int = 3
) -> float:
    """Kernel distance (KID, binkowski2018): unbiased MMD^2 with k(x, y) = (x.y / D + 1)^degree.

    Args: features a [N, D] and b [M, D]. Uses all pairs, so the order does not matter.
    """
    check_range("degree", degree, 1, integer=True)
    return _two_sample(_polynomial(int(degree)), *as_pair(a, b, power=2 * int(degree)), True)


@no_type_check
def kernel_distance_blocks(
    a: Num[Array | np.ndarray, "N ..."],
    b: Num[Array | np.ndarray, "M ..."],
    block_size: int = 500,
    degree: int = 3,
) -> Estimate:
    """`kernel_distance` averaged over disjoint blocks of rows, with its standard error.

    Noisier than using all pairs, but the error is honest even where the two laws agree. Rows must
    be in random order. Raises ConfigError when fewer than two blocks fit.
    """
    a, b = as_pair(a, b)
    blocks = min(len(a), len(b)) // int(check_range("block_size", block_size, 2, integer=True))
    if blocks < 2:
        raise ConfigError(
            f"block_size={block_size} leaves {blocks} blocks of {len(a)} and {len(b)} rows; need 2"
        )
    parts = [slice(k * block_size, (k + 1) * block_size) for k in range(blocks)]
    return mean_and_error(np.array([kernel_distance(a[part], b[part], degree) for part in parts]))


BANDWIDTHS = (0.125, 0.25, 0.5, 1.0)
"""Default bandwidths of `mmd` in units of the reference set's root-mean-square pair distance."""


@no_type_check
def mmd(
    a: Num[Array | np.ndarray, "N ..."],
    b: Num[Array | np.ndarray, "M ..."],
    bandwidths: Sequence[float] | None = None,
    unbiased: bool = True,
) -> float:
    """Squared maximum mean discrepancy with Gaussian kernels (gretton2012):

        k(x, y) = mean over h of exp(-|x - y|^2 / (2 h^2)).

    Args:
      a, b: the reference set [N, D] and the set to judge [M, D].
      bandwidths: the h, in data units. By default `BANDWIDTHS` times the root-mean-square distance
        of two rows of a, so that numbers against one reference compare; give them to compare across
        references.
    Raises ConfigError for bandwidths that are not positive, or a reference without spread and no
    bandwidths.
    """
    a, b = centred_pair(a, b)
    if bandwidths is None:
        scale = np.sqrt(2 * a.var(0, ddof=1).sum())
        if scale == 0:
            raise ConfigError(
                f"a has no spread, its {len(a)} rows are equal: give bandwidths, or other data"
            )
        bandwidths = [scale * factor for factor in BANDWIDTHS]
    widths = as_numbers("bandwidths", bandwidths)
    for width in widths.tolist():
        check_range("bandwidths", width, 0, open_low=True)
    check_flag("unbiased", unbiased)
    return _two_sample(_gaussian, a, b, unbiased, widths)


@no_type_check
def energy_distance(
    a: Num[Array | np.ndarray, "N ..."],
    b: Num[Array | np.ndarray, "M ..."],
    unbiased: bool = True,
) -> float:
    """Energy distance 2 E|a - b| - E|a - a'| - E|b - b'| (szekely2013), in data units.

    Args: points a [N, D] and b [M, D].
    With `unbiased=False` the pairs (i, i) are kept: never negative, and 0 for identical sets.

    >>> import numpy as np
    >>> from gen_jax import metrics
    >>> x = np.random.default_rng(0).normal(size=(500, 2)).astype(np.float32)
    >>> float(metrics.energy_distance(x, x + 3)) > float(metrics.energy_distance(x, -x))
    True
    """
    check_flag("unbiased", unbiased)
    return _two_sample(_negative_distance, *centred_pair(a, b), unbiased)
