"""Fit a Gaussian mixture by expectation maximisation: one compiled loop over starts and updates."""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from gen_jax.checks import as_floats, as_key, no_type_check
from gen_jax.classical.components import COVARIANCES, Mixture, checked_mixture, factors
from gen_jax.classical.em_steps import EMPTY, Blocks, e_step, in_blocks, m_step, rescue
from gen_jax.classical.kmeans import start_mixture, variance_floor
from gen_jax.errors import ConfigError, DataError, NumericalError, check_choice, check_range
from gen_jax.types import Array, Bool, Float, Int, Key, Num


class Fit(NamedTuple):
    """A fitted mixture and how it came about.

    Fields:
      log_likelihoods: mean log p in nats per point before each update; NaN after the last one.
      iterations: updates made.
      converged: whether the last change was below the tolerance.
      rescued: empty components that were moved.
    """

    mixture: Mixture
    log_likelihoods: Float[Array, "T"]
    iterations: Int[Array, ""]
    converged: Bool[Array, ""]
    rescued: Int[Array, ""]


class Unit(NamedTuple):
    """Where data were centred [D], and what they were divided by []."""

    centre: Float[Array, "D"]
    scale: Float[Array, ""]

    def of(self, mixture: Mixture) -> Mixture:
        """A mixture of data, as one of the standardised data."""
        means = (mixture.means - self.centre) / self.scale
        return Mixture(mixture.weights, means, mixture.covariances / self.scale / self.scale)

    def undo(self, fit: Fit) -> Fit:
        """A fit to the standardised data, as one to the data."""
        weights, means, covariances = fit.mixture
        means, covariances = means * self.scale + self.centre, covariances * self.scale * self.scale
        values = fit.log_likelihoods - len(self.centre) * jnp.log(self.scale)
        return fit._replace(mixture=Mixture(weights, means, covariances), log_likelihoods=values)


def standardise(x: Float[Array, "N D"]) -> tuple[Float[Array, "N D"], Unit]:
    """The data with mean 0 and mean variance 1, and how to go back; equal points stay at 0."""
    centre = x.mean(0)
    x = x - centre
    largest = jnp.abs(x).max()  # first, since the squares of small numbers would be 0
    largest = jnp.where(largest > 0, largest, 1)
    x = x / largest
    spread = jnp.sqrt(jnp.mean(x**2))
    spread = jnp.where(spread > 0, spread, 1)
    return x / spread, Unit(centre, largest * spread)


def iterate(
    start: Mixture, blocks: Blocks, max_iterations: int, tolerance: Array, floor: Array
) -> Fit:
    """EM from one start until log p changes by less than the tolerance, as one compiled loop."""
    n = blocks.real.sum()

    def body(fit: Fit) -> Fit:
        i = fit.iterations
        sums, log_p = e_step(fit.mixture, blocks)
        value = sums.log_prob / n
        before = fit.log_likelihoods[jnp.maximum(i - 1, 0)]
        mixture = m_step(fit.mixture, sums, floor)
        empty = jnp.sum(sums.counts < EMPTY, dtype=jnp.int32)
        mixture = jax.lax.cond(
            empty > 0, lambda m: rescue(m, sums.counts, blocks, log_p), lambda m: m, mixture
        )
        done = (i > 0) & (jnp.abs(value - before) < tolerance) & (empty == 0)
        history = fit.log_likelihoods.at[i].set(value)
        return Fit(mixture, history, i + 1, done, fit.rescued + empty)

    def goes_on(fit: Fit):
        last = fit.log_likelihoods[jnp.maximum(fit.iterations - 1, 0)]
        broken = (fit.iterations > 0) & ~jnp.isfinite(last)
        return (fit.iterations < max_iterations) & ~fit.converged & ~broken

    history = jnp.full((max_iterations,), jnp.nan, blocks.x.dtype)
    zero = jnp.int32(0)
    return jax.lax.while_loop(goes_on, body, Fit(start, history, zero, jnp.array(False), zero))


@partial(jax.jit, static_argnames=("k", "covariance", "max_iterations", "restarts"))
def _fit(key, x, start, k, covariance, max_iterations, restarts, tolerance, epsilon) -> Fit:
    x, unit = standardise(x)
    blocks, floor = in_blocks(x, k), variance_floor(x, epsilon)

    def run(key):
        first = start_mixture(key, x, k, covariance, floor) if start is None else unit.of(start)
        return iterate(first, blocks, max_iterations, tolerance, floor)

    # One after the other: side by side they would all last as long as the longest.
    fits = jax.lax.map(run, jax.random.split(key, restarts))
    last = jnp.take_along_axis(fits.log_likelihoods, fits.iterations[:, None] - 1, 1)[:, 0]
    best = jnp.argmax(jnp.where(jnp.isfinite(last), last, -jnp.inf))
    return unit.undo(jax.tree.map(lambda leaf: leaf[best], fits))


def _rank(x: np.ndarray, covariance: str) -> int:
    """Dimensions in which points [N, D] vary: coordinates, or directions for full covariances."""
    varies = x.std(0) > 1e-7 * np.abs(x).max()
    if covariance == "diagonal" or not varies.all():
        return int(varies.sum())
    standard = (x - x.mean(0)) / x.std(0)
    return int(np.linalg.matrix_rank(standard.T @ standard, hermitian=True))


def checked_points(
    x: Num[Array | np.ndarray, "N D"], k: int, covariance: str, epsilon: float
) -> Float[Array, "N D"]:
    """The points as floating-point numbers.

    Raises ConfigError or DataError for what no mixture can be fitted to.
    """
    check_choice("covariance", covariance, COVARIANCES)
    check_range("k", k, 1, integer=True)
    check_range("epsilon", epsilon, 0)
    x = as_floats("x", x, least=jnp.float32)
    if x.ndim != 2:
        raise DataError(f"the points have shape {x.shape}, allowed: [N, D]")
    n, dim = x.shape
    if k > n:
        raise DataError(f"k={k} components need at least as many points, got {n}")
    if isinstance(x, jax.core.Tracer):
        return x
    finite = np.isfinite(np.asarray(x)).all(1)
    if not finite.all():
        raise DataError(f"{np.sum(~finite)} of {n} points are not finite")
    if np.all(x == x[0]):
        raise DataError(f"all {n} points are equal: they have no variance")
    if epsilon == 0 and (rank := _rank(np.asarray(x, np.float64), covariance)) < dim:
        raise DataError(
            f"the points span {rank} of {dim} dimensions: their covariance is singular "
            "(give epsilon > 0, or drop dimensions)"
        )
    return x


def checked_start(start: Any, k: int, x: Float[Array, "N D"]) -> Mixture:
    """The mixture that a fit of k components to these points begins at.

    Raises ConfigError for what is no mixture, or one of another form.
    """
    mixture = checked_mixture("start", start)
    if mixture.means.shape != (k, x.shape[1]):
        raise ConfigError(f"start has means {mixture.means.shape}, allowed: {(k, x.shape[1])}")
    return jax.tree.map(lambda part: part.astype(x.dtype), mixture)


@no_type_check
def fit_em(
    key: Key[Array, ""],
    x: Num[Array | np.ndarray, "N D"],
    k: int,
    *,
    covariance: str = "full",
    epsilon: float = 1e-6,
    max_iterations: int = 200,
    tolerance: float = 1e-5,
    restarts: int = 1,
    start: Mixture | None = None,
) -> Fit:
    """Fit k components by EM from k-means++ centres; the best of `restarts` runs.

    With epsilon = 0 no update lowers the log-likelihood, a rescue of an empty component aside.

    Args:
      covariance: a name in COVARIANCES: "full" or "diagonal".
      epsilon: the share of the data's variance in each dimension that is added to the components'
        variances there (`variance_floor`): the fit does not depend on the units of the data.
      tolerance: a run ends when the mean log p changes by less, in nats per point.
      start: begin here instead; its covariances decide their kind.
    Raises ConfigError for options out of range; DataError for k > N, for points that are not
    finite or all equal, and for singular data with epsilon = 0; NumericalError when a covariance
    becomes singular.
    """
    key = as_key("key", key)
    check_range("max_iterations", max_iterations, 1, integer=True)
    check_range("restarts", restarts, 1, integer=True)
    check_range("tolerance", tolerance, 0)
    x = checked_points(x, k, covariance, epsilon)
    if start is not None and restarts != 1:
        raise ConfigError(f"restarts={restarts} would all begin at the given start")
    start = None if start is None else checked_start(start, k, x)
    options = (int(k), covariance, int(max_iterations), int(restarts))
    small = jnp.asarray([tolerance, epsilon], x.dtype)
    fit = _fit(key, x, start, *options, small[0], small[1])
    last = fit.log_likelihoods[fit.iterations - 1] + factors(fit.mixture.covariances).sum()
    if not isinstance(last, jax.core.Tracer) and not jnp.isfinite(last):
        raise NumericalError(
            f"a covariance became singular after {int(fit.iterations)} updates: "
            f"give epsilon larger than {epsilon:g}"
        )
    return fit
