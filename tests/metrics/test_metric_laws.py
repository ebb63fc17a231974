"""Laws of every set-against-set metric in the registry."""

import numpy as np
import pytest

from gen_jax import metrics
from gen_jax.errors import ConfigError, DataError
from gen_jax.metrics import LARGER_IS_BETTER, METRICS, pairwise

pytestmark = pytest.mark.usefixtures("optimized")

RNG = np.random.default_rng(0)
REAL, OTHER = RNG.normal(size=(90, 4)), RNG.normal(size=(70, 4)) * 1.2 + 0.2
BELOW_ZERO_ON_ITSELF = {"kernel", "mmd", "energy"}
"""Unbiased distances."""
OPEN_ON_ITSELF = {"density"}
"""Metrics whose value on identical sets depends on the sets."""
ROUNDING = {"frechet": 1e-10}
"""Of the value on identical sets."""


def test_rows_are_of_the_registry():
    rows = BELOW_ZERO_ON_ITSELF | OPEN_ON_ITSELF | ROUNDING.keys() | LARGER_IS_BETTER
    assert rows < METRICS.keys()


@pytest.mark.parametrize("name", METRICS)
def test_does_not_depend_on_the_order(name):
    shuffled = METRICS[name](RNG.permutation(REAL), RNG.permutation(OTHER))
    np.testing.assert_allclose(shuffled, METRICS[name](REAL, OTHER), rtol=1e-6)


@pytest.mark.parametrize("name", METRICS)
@pytest.mark.parametrize("rows", [1, 7])
def test_does_not_depend_on_the_size_of_blocks(name, rows, monkeypatch):
    usual = METRICS[name](REAL, OTHER)
    monkeypatch.setattr(pairwise, "ROWS", rows)
    np.testing.assert_allclose(METRICS[name](REAL, OTHER), usual, rtol=1e-9)


@pytest.mark.parametrize("name", sorted(METRICS.keys() - {"kernel"}))  # whose kernel has a unit
@pytest.mark.parametrize("unit", [2.0**-90, 2.0**90], ids=["small", "large"])
def test_follows_the_unit(name, unit):
    """A distance grows with the unit of the data, its square with the square; shares do not."""
    power = {"frechet": 2, "energy": 1, "sliced_wasserstein": 1}.get(name, 0)
    found = METRICS[name](REAL * unit, OTHER * unit) / unit**power
    np.testing.assert_allclose(found, METRICS[name](REAL, OTHER), rtol=1e-6)


@pytest.mark.parametrize("name", sorted(METRICS.keys() - {"sliced_wasserstein"}))  # in float32
def test_numbers_are_answered_or_refused_by_size(name):
    """As they are in units of a power of two, which rounds nothing, up to a size that is named."""
    power = {"frechet": 2, "energy": 1}.get(name, 0)
    if name != "kernel":
        for unit in (2.0**140, 2.0**470):
            found = METRICS[name](REAL * unit, OTHER * unit) / unit**power
            np.testing.assert_allclose(found, METRICS[name](REAL, OTHER), rtol=1e-9)
    for unit in (1e60, 1e155, 1e300) if name == "kernel" else (1e155, 1e300):
        with pytest.raises(DataError, match=r"^(a|real) holds values of size .*, allowed: at most"):
            METRICS[name](REAL * unit, OTHER)
        with pytest.raises(DataError, match=r"^(b|fake) holds values of size .*, allowed: at most"):
            METRICS[name](REAL, OTHER * unit)
    sizes = [10.0**size for size in range(30, 309, 6)]
    for size in sizes:
        try:
            assert np.isfinite(METRICS[name](REAL[:8] * size, -OTHER[:8] * size))
        except DataError:
            continue


@pytest.mark.parametrize("name", METRICS)
def test_a_larger_shift_is_worse(name):
    values = [METRICS[name](REAL, RNG.normal(size=(70, 4)) + shift) for shift in (0, 1, 2, 4)]
    falls = np.all(np.diff(values) < 0)
    assert falls if name in LARGER_IS_BETTER else np.all(np.diff(values) > 0)


@pytest.mark.parametrize("name", sorted(METRICS.keys() - OPEN_ON_ITSELF))
def test_identical_sets(name):
    """1 of a share that is the larger the better, 0 of a distance, less of an unbiased one."""
    value = METRICS[name](REAL, REAL)
    if name in BELOW_ZERO_ON_ITSELF:
        assert value < 0
    else:
        wanted = float(name in LARGER_IS_BETTER)
        assert abs(value - wanted) <= ROUNDING.get(name, 0), f"{name!r} may need a row above"


@pytest.mark.parametrize("name", METRICS)
def test_images_are_flattened_and_float32_is_enough(name):
    images = REAL.reshape(90, 2, 2, 1).astype(np.float32), OTHER.reshape(70, 2, 2, 1)
    np.testing.assert_allclose(METRICS[name](*images), METRICS[name](REAL, OTHER), rtol=1e-4)


@pytest.mark.parametrize("name", METRICS)
def test_sets_that_cannot_be_compared_are_refused(name):
    with pytest.raises(ConfigError, match=r"dimensions|shapes"):
        METRICS[name](REAL, OTHER[:, :3])
    if name != "sliced_wasserstein":
        with pytest.raises(DataError):
            METRICS[name](REAL, np.full_like(OTHER, np.nan))


def test_every_public_name_resolves():
    assert all(hasattr(metrics, name) for name in metrics.__all__)
