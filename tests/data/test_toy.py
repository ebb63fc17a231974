"""The plane sets against their closed-form moments and supports."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from gen_jax.data import TOY, toy

N = 20_000
PI = np.pi
SECOND_MOMENT = {  # E |x|^2 worked out by hand from the definitions
    "8gaussians": 4 + 2 * 0.1**2,
    "25grid": 4 + 2 * 0.05**2,
    "moons": 4 * (1.3125 - 1 / PI) + 2 * 0.1**2,
    "checkerboard": 2 * 4**2 / 12,
    "swiss_roll": PI**2 * (1.5**2 + 1.5 * 4.5 + 4.5**2) / 3 / 49 + 2 * 0.1**2,
    "pinwheel": 4 * (1 + 0.3**2 + 0.1**2),
    "rings": 0.6**2 * (1 + 4 + 9 + 16) / 4 + 2 * 0.06**2,
    "two_spirals": (3 * PI) ** 2 / 2 / 16 + 2 * 0.08**2,
}


def z_score(x: np.ndarray, expected: float) -> float:
    square = (x.astype(np.float64) ** 2).sum(-1)
    return (square.mean() - expected) / (square.std() / np.sqrt(len(square)))


def test_every_set_has_a_moment():
    assert SECOND_MOMENT.keys() == TOY.keys() == toy.DESCRIPTIONS.keys()


@pytest.mark.parametrize("name", TOY)
def test_second_moment(name, key):
    """|z| < 5: false alarm 6e-7 each. The planted twin, everything 5 % too large, must fail."""
    x = np.asarray(TOY[name](key, N))
    assert x.shape == (N, 2)
    assert x.dtype == np.float32
    assert abs(z_score(x, SECOND_MOMENT[name])) < 5
    assert abs(z_score(1.05 * x, SECOND_MOMENT[name])) > 5


@pytest.mark.parametrize("name", TOY)
def test_points_have_their_own_keys(name, key, count_traces):
    sample = count_traces(TOY[name])
    jitted = jax.jit(sample, static_argnums=1)
    many = jitted(key, 16)
    np.testing.assert_allclose(TOY[name](key, 5), many[:5], rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(jitted(key, 16), many)
    assert not np.array_equal(jitted(jax.random.key(1), 16), many)
    assert sample.calls == 1


@pytest.mark.parametrize(
    ("name", "mixture"),
    [("8gaussians", toy.eight_gaussians_mixture), ("25grid", toy.grid_mixture)],
)
def test_mixture_is_what_is_sampled(name, mixture, key):
    """Counts and whitened squares are chi-square: false alarm 1e-6 on each side of each."""
    weights, means, covariances = jax.tree.map(np.asarray, mixture())
    assert weights.sum() == pytest.approx(1)
    x = np.asarray(TOY[name](key, N), np.float64)
    mode = ((x[:, None] - means) ** 2).sum(-1).argmin(1)  # modes are over 15 deviations apart
    expected = N * weights
    counts = ((np.bincount(mode, minlength=len(weights)) - expected) ** 2 / expected).sum()
    assert stats.chi2.sf(counts, len(weights) - 1) > 1e-6
    residual = x - means[mode]
    squares = np.einsum("ni,nij,nj->n", residual, np.linalg.inv(covariances)[mode], residual)

    def tail(total):
        return min(stats.chi2.sf(total, 2 * N), stats.chi2.cdf(total, 2 * N))

    assert tail(squares.sum()) > 1e-6
    assert tail(1.05 * squares.sum()) < 1e-6  # planted: variance 5 % too large


def test_mixtures_have_the_documented_variance():
    for mixture, variance in ((toy.eight_gaussians_mixture(), 2.01), (toy.grid_mixture(), 2.0025)):
        second = jnp.einsum("k,ki,kj->ij", mixture.weights, mixture.means, mixture.means)
        covariance = second + jnp.einsum("k,kij->ij", mixture.weights, mixture.covariances)
        np.testing.assert_allclose(covariance, variance * np.eye(2), atol=1e-5)


def test_checkerboard_is_uniform_on_its_squares(key):
    x = np.asarray(TOY["checkerboard"](key, N))
    cell = np.floor(x).astype(int)
    assert (cell >= -2).all()
    assert (cell <= 1).all()
    assert (cell.sum(1) % 2 == 0).all()
    _, counts = np.unique(cell, axis=0, return_counts=True)
    assert len(counts) == 8
    assert stats.chisquare(counts).pvalue > 1e-6
    inside = (x - cell).ravel()
    assert stats.kstest(inside, "uniform").pvalue > 1e-6


def test_rings_lie_on_four_circles(key):
    radius = np.linalg.norm(np.asarray(TOY["rings"](key, N)), axis=1)
    ring = np.clip(np.round(radius / 0.6), 1, 4).astype(int)
    assert np.abs(radius - 0.6 * ring).max() < 6 * 0.06
    assert stats.chisquare(np.bincount(ring)[1:]).pvalue > 1e-6


def test_moons_are_those_of_scikit_learn(key):
    """Distance to a fine noise-free copy is the noise: at most 6 standard deviations of 0.1."""
    from sklearn.datasets import make_moons

    curve = 2 * (make_moons(4000)[0] - np.array([0.5, 0.25]))
    x = np.asarray(TOY["moons"](key, 1000))
    distance = np.sqrt(((x[:, None] - curve) ** 2).sum(-1).min(1))
    assert distance.max() < 0.6
    assert distance.mean() < 0.1
