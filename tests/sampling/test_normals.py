"""Normal numbers from uniform ones, and any Gaussian from normal ones."""

import exact
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from gen_jax.errors import ConfigError
from gen_jax.sampling import GENERATORS, gaussian, lcg
from gen_jax.sampling.box_muller import box_muller, marsaglia_polar

FALSE_ALARM = 5e-7
N = 60_000
"""Misses a variance off by 5 % less than once in 1,000 (exact.standard_normal_p_value)."""


def random_source(key, shape):
    return jax.random.uniform(key, shape)


def lcg_source(key, shape):
    seed = jax.random.bits(key) >> 2  # below both moduli
    return lcg.uniform(GENERATORS["minstd"], seed + 1, shape)


def box_muller_pair(source, key):
    return jax.jit(box_muller)(*source(key, (2, N // 2)))


def polar_pair(source, key):
    return jax.jit(marsaglia_polar)(*source(key, (2, 16, N // 2)))


@pytest.mark.parametrize("source", [random_source, lcg_source])
@pytest.mark.parametrize("pair", [box_muller_pair, polar_pair])
def test_pairs_are_independent_normals(pair, source, key):
    z1, z2 = (np.asarray(z, np.float64) for z in pair(source, key))
    z = np.concatenate([z1, z2])
    assert exact.standard_normal_p_value(z) > FALSE_ALARM
    assert scipy.stats.kstest(z, "norm").pvalue > FALSE_ALARM
    # The two of a pair: rotated by 45 degrees they must be normal and as wide in both directions.
    assert exact.standard_normal_p_value((z1 + z2) / np.sqrt(2)) > FALSE_ALARM
    assert exact.standard_normal_p_value((z1 - z2) / np.sqrt(2)) > FALSE_ALARM


def test_planted_bugs_in_the_pairs(key):
    u1, u2 = jax.random.uniform(key, (2, N))
    without_two = np.asarray(box_muller(u1, u2)[0]) / np.sqrt(2)
    one_uniform = box_muller(u1, u1)
    v1, v2 = 2 * u1 - 1, 2 * u2 - 1
    s = v1**2 + v2**2
    not_rejected = v1 * jnp.sqrt(-2 * jnp.log(jnp.minimum(s, 0.999)) / s)
    for z in (without_two, sum(one_uniform) / np.sqrt(2), not_rejected):
        assert exact.standard_normal_p_value(z) < FALSE_ALARM


def test_box_muller_is_the_inverse_of_radius_and_angle(x64, key):
    u1, u2 = jax.random.uniform(key, (2, 3, 4), jnp.float64)
    z1, z2 = box_muller(u1, u2)
    np.testing.assert_allclose(np.exp(-(z1**2 + z2**2) / 2), u1, rtol=1e-12)
    np.testing.assert_allclose(np.arctan2(z2, z1) / (2 * np.pi) % 1, u2, rtol=1e-12)


def test_polar_takes_the_first_inside_and_shows_when_there_is_none():
    corner, centre = 0.99, 0.6
    u = jnp.array([[corner, corner, 0.5], [centre, corner, 0.5], [0.2, corner, 0.7]])
    z1, z2 = marsaglia_polar(u, u)
    assert np.isnan(z1[1])  # all three outside
    expected = 0.2 * np.sqrt(-2 * np.log(0.08) / 0.08)
    np.testing.assert_allclose([z1[0], z2[0]], expected, rtol=1e-5)
    assert np.isfinite(z1[2])  # the exact centre is passed over


def test_ends_of_the_interval_are_finite():
    """Planted twin: the formula as the deck prints it is infinite at u1 = 0."""
    u = jnp.array([0.0, 1.0])
    for z in box_muller(u, u):
        assert np.isfinite(z).all()
    assert not np.isfinite(jnp.sqrt(-2 * jnp.log(u))).all()


FULL = jnp.array([[2.0, 0.6, -0.3], [0.6, 0.5, 0.1], [-0.3, 0.1, 1.0]])
COVARIANCES = {"isotropic": jnp.array(0.7), "diagonal": jnp.array([0.2, 3.0, 1.0]), "full": FULL}
MEAN = jnp.array([1.0, -2.0, 0.5])


def full_covariance(covariance):
    return np.asarray(covariance) * (np.eye(3) if np.ndim(covariance) < 2 else 1)


@pytest.mark.parametrize("kind", COVARIANCES)
def test_gaussian_draws_are_white_in_the_eigenvectors(kind, key):
    """Whitening by `eigh` in NumPy, where the sampler uses Cholesky."""
    covariance = COVARIANCES[kind]
    draw = jax.jit(gaussian.sample, static_argnums=1)
    values, vectors = np.linalg.eigh(full_covariance(covariance))
    x = np.asarray(draw(key, N // 3, MEAN, covariance), np.float64)
    z = (x - np.asarray(MEAN)) @ vectors / np.sqrt(values)
    assert exact.standard_normal_p_value(z) > FALSE_ALARM
    pairs = (z + np.roll(z, 1, axis=1)) / np.sqrt(2)
    assert all(exact.standard_normal_p_value(column) > FALSE_ALARM for column in pairs.T)
    assert exact.standard_normal_p_value(z * 1.05**0.5) < FALSE_ALARM
    assert exact.standard_normal_p_value(z + 0.1) < FALSE_ALARM


def test_planted_bug_the_transposed_factor(key):
    z = jax.random.normal(key, (N, 3))
    wrong = np.asarray(z @ np.linalg.cholesky(FULL))  # L^T z where L z is meant
    values, vectors = np.linalg.eigh(np.asarray(FULL))
    assert exact.standard_normal_p_value(wrong @ vectors[:, :1] / np.sqrt(values[0])) < FALSE_ALARM


@pytest.mark.parametrize("kind", COVARIANCES)
def test_the_map_of_unit_vectors_gives_the_covariance(x64, kind):
    covariance = COVARIANCES[kind]
    factor = gaussian.from_normal(jnp.eye(3), jnp.zeros(3), covariance)
    np.testing.assert_allclose(factor.T @ factor, full_covariance(covariance), rtol=1e-6)


@pytest.mark.parametrize("kind", COVARIANCES)
def test_log_prob_is_scipys_in_any_shape(x64, kind, key):
    covariance = COVARIANCES[kind].astype(jnp.float64)
    mean, x = MEAN.astype(jnp.float64), jax.random.normal(key, (2, 5, 3), jnp.float64)
    truth = scipy.stats.multivariate_normal(mean, full_covariance(covariance)).logpdf(x)
    np.testing.assert_allclose(gaussian.log_prob(x, mean, covariance), truth, rtol=1e-10)


@pytest.mark.parametrize(
    ("covariance", "message"),
    [
        (jnp.array([[1.0, 2.0], [2.0, 1.0]]), "smallest eigenvalue is -1"),
        (jnp.array([[1.0, 1.0], [1.0, 1.0]]) * 0, "positive definite"),
        (jnp.array([1.0, 0.0]), "smallest variance is 0"),
        (jnp.array(-2.0), "smallest variance is -2"),
        (jnp.array([[1.0, jnp.nan], [jnp.nan, 1.0]]), "not all finite"),
        (jnp.array([[1.0, 0.5], [0.2, 1.0]]), "not symmetric"),
        (jnp.ones((2, 3)), r"shape \(2, 3\)"),
    ],
)
def test_bad_covariances_are_refused(covariance, message, key):
    with pytest.raises(ConfigError, match=message):
        gaussian.sample(key, 4, jnp.zeros(2), covariance)


def test_under_jit_a_bad_covariance_is_nan(key):
    draw = jax.jit(gaussian.sample, static_argnums=1)
    for covariance in (jnp.array([[1.0, 2.0], [2.0, 1.0]]), jnp.array([-1.0, -1.0])):
        assert np.isnan(draw(key, 4, jnp.zeros(2), covariance)).any()
