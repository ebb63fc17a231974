"""The Gaussian image model: x ~ N(m, C), in the principal axes of C.

C = E diag(v) E^T + noise (I - E E^T) with orthonormal axes E [D, R]: all of them (R = D), those
that N < D examples determine, or the first few. A sample is m + C^1/2 z, and the log-density needs
only projections on the axes (the Woodbury identity in their basis).
"""

import math
from collections.abc import Callable
from functools import partial
from typing import Annotated, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from gen_jax.annotations import floats
from gen_jax.checks import as_floats, no_type_check
from gen_jax.classical import moments
from gen_jax.classical.moments import Moments
from gen_jax.data_units import (
    Units,
    check_data,
    density_kind,
    log_prob_in_units,
    to_data,
    to_model,
    to_model_vectors,
)
from gen_jax.errors import DataError, check_range, check_shape
from gen_jax.frozen import parts_of
from gen_jax.model import GenerativeModel, assemble, compiled
from gen_jax.randomness import sample_keys
from gen_jax.ranges import Positive, Range, check_ranges, options_from
from gen_jax.sampling.gaussian import LOG_2_PI
from gen_jax.types import Array, Batch, Float, Key, Metrics, Num, State


class PrincipalGaussian(NamedTuple):
    """mean [D], orthonormal axes [D, R], variances along them [R], variance off them []."""

    mean: Float[Array, "D"]
    axes: Float[Array, "D R"]
    variances: Float[Array, "R"]
    noise: Float[Array, ""]


@floats(law="tree", x="N D")
def log_prob(law: PrincipalGaussian, x: Float[Array, "N D"]) -> Float[Array, "N"]:
    """log p(x) in nats; infinite off the axes when R < D and the noise is 0."""
    dim, rank = law.axes.shape
    centred = x - law.mean
    along = jnp.matmul(centred, law.axes, precision="highest")
    square = jnp.sum(along**2 / law.variances, -1)
    log_det = jnp.log(law.variances).sum()
    if rank < dim:
        off = centred - jnp.matmul(along, law.axes.T, precision="highest")
        square = square + jnp.sum(off**2, -1) / law.noise
        log_det = log_det + (dim - rank) * jnp.log(law.noise)
    return -0.5 * (square + log_det + dim * LOG_2_PI)


@floats(law="tree")
def sample(key: Key[Array, "*batch"], law: PrincipalGaussian, n: int) -> Float[Array, "n D"]:
    """m + C^1/2 z with the symmetric root; `key` is one key, or one per sample [n]."""
    dim, off = law.mean.shape[0], jnp.sqrt(law.noise)

    def one(key):
        z = jax.random.normal(key, (dim,), law.mean.dtype)
        along = (jnp.sqrt(law.variances) - off) * (law.axes.T @ z)
        return law.mean + off * z + law.axes @ along

    return jax.vmap(one)(sample_keys(key, n))


def check_examples(x: Float[Array, "N D"]) -> None:
    """Raise DataError unless there are two examples at least, all finite."""
    if x.shape[0] < 2:
        raise DataError(f"{x.shape[0]} example has no covariance (at least 2 are needed)")
    if not isinstance(x, jax.core.Tracer) and not np.isfinite(x).all():
        raise DataError("some examples are not finite")


@floats(x="N D")
def principal_axes(
    x: Num[Array | np.ndarray, "N D"],
) -> tuple[Float[Array, "D"], Float[Array, "D R"], Float[Array, "R"]]:
    """Mean, axes and variances in falling order, R = min(N, D), by a thin SVD: no [D, D] matrix."""
    x = as_floats("x", x, least=jnp.float32)
    check_examples(x)
    mean = x.mean(0)
    _, singular, axes = jnp.linalg.svd(x - mean, full_matrices=False)
    return mean, axes.T, singular**2 / x.shape[0]


@floats(x="N D")
def fit(
    x: Num[Array | np.ndarray, "N D"], *, rank: int | None = None, epsilon: float = 0.0
) -> PrincipalGaussian:
    """The Gaussian with the data's mean and covariance, plus epsilon I.

    Args:
      rank: keep only so many principal axes.
    Raises DataError for fewer than two examples, or when epsilon is 0 and the covariance, or the
    part of it that is kept, is singular.
    """
    check_range("epsilon", epsilon, 0)
    x = as_floats("x", x, least=jnp.float32)
    mean, axes, variances = principal_axes(x)
    if rank is not None:
        check_range("rank", rank, 1, min(x.shape), integer=True)
        axes, variances = axes[:, :rank], variances[:rank]
    if epsilon == 0 and not isinstance(variances, jax.core.Tracer):
        determined, wanted = int(np.sum(variances > 1e-10 * variances[0])), rank or x.shape[1]
        if determined < wanted:
            raise DataError(
                f"{x.shape[0]} examples determine {determined} of {wanted} dimensions: their "
                "covariance is singular (give epsilon > 0)"
            )
    return PrincipalGaussian(mean, axes, variances + epsilon, jnp.asarray(epsilon, x.dtype))


def principal_of(state: Moments) -> tuple[Float[Array, "D D"], Float[Array, "D"]]:
    """Axes and variances of a covariance, in falling order."""
    variances, axes = jnp.linalg.eigh(state.covariance)
    return axes[:, ::-1], jnp.maximum(variances[::-1], 0)


class Parts(NamedTuple):
    """What a model of mean and covariance is made of.

    Fields:
      law: `moments -> PrincipalGaussian`.
      units: between data units and the model's.
      added: variance that the law has besides that of the data.
    """

    law: Callable[[Moments], PrincipalGaussian]
    units: Units
    added: float = 0.0


def init_state(parts: Parts, key: Key[Array, ""], batch: Batch) -> Moments:
    """The moments of no example."""
    added = parts.added
    what = f"less than the root of epsilon={added:g}, which is added to the variance"
    check_data(parts.units, batch["x"], lambda u: moments.warn_small(u, added**0.5, what))
    u = to_model_vectors(parts.units, key, batch["x"])
    return moments.nothing(u.shape[1], u.dtype)


def step(
    parts: Parts, key: Key[Array, ""], state: Moments, batch: Batch
) -> tuple[Moments, Metrics]:
    """The moments with a batch added."""
    state = moments.add(state, to_model_vectors(parts.units, key, batch["x"]))
    return state, {"variance": jnp.trace(state.covariance) / len(state.mean)}


def draw_samples(parts: Parts, key: Key[Array, "*batch"], state: Moments, n: int) -> Array:
    """Samples [n, ...] in data units."""
    return to_data(parts.units, sample(key, parts.law(state), n))


def log_density(
    parts: Parts, key: Key[Array, "*batch"], state: Moments, x: Array
) -> Float[Array, "B"]:
    """log p(x) [B] in nats and data units."""
    of_vectors = lambda u: log_prob(parts.law(state), u.reshape(len(u), -1))
    return log_prob_in_units(parts.units, of_vectors, key, x)


def fitted_gaussian(model: GenerativeModel, state: State) -> PrincipalGaussian:
    """Mean, axes and variances of a `gaussian_image` or a `probabilistic_pca`, of vectors after the
    transform.

    Raises ConfigError for another model.
    """
    parts, own = parts_of(model, state, Parts)
    return parts.law(own)


def model_from_parts(parts: Parts) -> GenerativeModel:
    """A model that is a function of mean and covariance: a `step` adds a batch to these."""
    units = parts.units
    model = assemble(
        parts,
        init_state,
        step,
        draw_samples,
        log_density,
        density_kind(partial(to_data, units), units.shape),
        parameters=lambda state: (state.mean, state.covariance),
    )
    return compiled(model, encode=partial(to_model, units))


class Options(NamedTuple):
    """Options of `gaussian_image`.

    Fields:
      shape: of one example after the transform; D is its product, and the state holds D^2 numbers.
      rank: keep only so many principal axes.
      epsilon: variance added, in units of the transformed data.
      transform: `data.Transform`; its noise makes `log_prob` that of the dequantised data.
    """

    shape: tuple[int, ...]
    rank: Annotated[int | None, Range(1)] = None
    epsilon: Positive = 1e-3
    transform: Any = None


@no_type_check
def make_parts(options: Options) -> Parts:
    """The parts of a model. Raises ConfigError for values out of range."""
    shape, epsilon = check_shape("shape", options.shape), options.epsilon
    dim, rank = math.prod(shape), options.rank
    rank = dim if rank is None else int(check_range("rank", rank, 1, dim, integer=True))
    check_ranges(options)

    def law(state: Moments) -> PrincipalGaussian:
        axes, variances = principal_of(state)
        noise = jnp.asarray(epsilon, variances.dtype)
        return PrincipalGaussian(state.mean, axes[:, :rank], variances[:rank] + epsilon, noise)

    return Parts(law, Units(shape, options.transform), epsilon)


@no_type_check
def gaussian_image(**options) -> GenerativeModel:
    """The Gaussian of the data's mean and covariance, plus epsilon I; steps collect these.

    Whole epochs give exactly the moments of the set. `options` are the fields of `Options`.
    """
    return model_from_parts(make_parts(options_from(Options, options)))
