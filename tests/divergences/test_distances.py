"""Squared distances against differences in float64, where products of rows cancel."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gen_jax.divergences import couplings
from gen_jax.divergences.distances import squared_distances

RNG = np.random.default_rng(0)
CLOUD = RNG.normal(size=(12, 64))
CASES = {
    "duplicates": np.repeat(CLOUD[:3], 4, 0),
    "one point": np.repeat(CLOUD[:1], 12, 0),
    "near": CLOUD[:1] + 1e-4 * CLOUD,
    "two tight groups": np.repeat([[1.0], [-1.0]], 6, 0) * 1e3 + 1e-1 * CLOUD,
    "one far": np.concatenate([CLOUD[:11], 1e4 + CLOUD[11:]]),
    "many tight groups": np.repeat(CLOUD, 12, 0) + 1e-3 * RNG.normal(size=(144, 64)),
    "at 0": np.zeros((4, 3)),
    "plain": CLOUD,
}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_every_distance_is_that_of_the_differences(x64, name, dtype):
    x = CASES[name].astype(dtype)
    y = np.concatenate([x[::-1], x[:2] + dtype(1)])
    wide = x.astype(np.float64)
    truth = ((wide[:, None] - y.astype(np.float64)) ** 2).sum(-1)
    found = np.asarray(jax.jit(squared_distances)(jnp.asarray(x), jnp.asarray(y)))
    assert found.dtype == dtype
    np.testing.assert_array_equal(found == 0, truth == 0)
    # A quarter of the digits may be lost, times a rounding for each of the dimensions.
    rounding = 64 * np.finfo(dtype).eps ** 0.75
    np.testing.assert_allclose(found, truth, rtol=rounding)


@pytest.mark.usefixtures("optimized")
@pytest.mark.parametrize("dimensions", [1, 2, 64])
def test_the_way_back_is_as_long(x64, dimensions):
    """To the last bit, for close and distant points, of which few or many in a row are close."""
    rng = np.random.default_rng(dimensions)
    x, y = rng.normal(size=(2, 512, dimensions)) + 3
    x[20:40] = x[20] + 1e-6 * rng.normal(size=(20, dimensions))
    y[:64:32] = x[:64:32]
    x, y = (jnp.asarray(points) for points in (x, y))
    distances = jax.jit(squared_distances)
    np.testing.assert_array_equal(distances(x, y), distances(y, x).T)
    np.testing.assert_array_equal(distances(x, x)[:, :64:32], distances(x, y)[:, :64:32])


def test_what_is_not_finite_stays_so():
    x = jnp.array([[1.0, 2], [jnp.inf, 0], [jnp.nan, 1]])
    found = np.asarray(squared_distances(x, x))
    assert found[0, 0] == 0
    assert not np.isfinite(found[1:]).any()


def test_couplings_find_copies_far_from_0(key):
    """Two groups of points, 1e4 apart: each is paired with its own copy."""
    x = np.concatenate([CLOUD, 1e4 + CLOUD[:, ::-1]]).astype(np.float32)
    order = RNG.permutation(len(x))
    pairs = np.asarray(couplings.optimal_assignment(key, jnp.asarray(x), jnp.asarray(x[order])))
    np.testing.assert_array_equal(order[pairs], np.arange(len(x)))
    assert float(jnp.trace(couplings.pair_costs(jnp.asarray(x), jnp.asarray(x)))) == 0
