"""Latents of a linear generator: the search is ridge regression, the density a known Gaussian."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gen_jax import inverse, mcmc
from gen_jax.errors import ConfigError, DataError

RNG = np.random.default_rng(3)
AXES, MEAN = RNG.normal(size=(5, 2)), RNG.normal(size=5)
MATRIX = RNG.normal(size=(3, 5))
Y = RNG.normal(size=(2, 3))
NOISE, WHITE = 0.4, 0.3
OPERATOR = inverse.dense(MATRIX)


def pca(z):
    """The mean of probabilistic PCA's image at z."""
    return z @ jnp.asarray(AXES.T, z.dtype) + jnp.asarray(MEAN, z.dtype)


def posterior(y, decoder_std):
    """Mean and covariance of z given y, by conditioning the joint Gaussian of z and y."""
    cross = AXES.T @ MATRIX.T
    white = decoder_std**2 * np.eye(5)
    marginal = MATRIX @ (AXES @ AXES.T + white) @ MATRIX.T + NOISE**2 * np.eye(3)
    gain = cross @ np.linalg.inv(marginal)
    return gain @ (y - MATRIX @ MEAN), np.eye(2) - gain @ cross.T


def test_search_of_a_linear_generator_is_ridge_regression(key):
    search = jax.jit(
        lambda y: inverse.latent_search(
            key, pca, OPERATOR, y, 2, weight=NOISE**2, restarts=3, steps=400
        )
    )
    found = search(Y)
    expected = np.stack([posterior(y, 0.0)[0] for y in Y])
    np.testing.assert_allclose(found.z, expected, atol=1e-3)
    np.testing.assert_allclose(found.x, expected @ AXES.T + MEAN, atol=5e-3)
    residual = Y - (expected @ AXES.T + MEAN) @ MATRIX.T
    least = (residual**2).sum(1) + NOISE**2 * (expected**2).sum(1)
    np.testing.assert_allclose(found.objective, np.repeat(least[:, None], 3, 1), rtol=1e-4)


def test_the_best_start_is_kept(key):
    """G(z) = cos 2z + 0.3 z meets y at one side of 0 and misses it at the other; a grid tells."""
    operator = inverse.dense(np.eye(1))
    search = lambda y: inverse.latent_search(
        key, lambda z: jnp.cos(2 * z) + 0.3 * z, operator, y, 1, weight=0.01, restarts=16, steps=200
    )
    found = jax.jit(search)(np.full((1, 1), -0.6))
    line = np.linspace(-6, 6, 24_001)
    objective = (-0.6 - np.cos(2 * line) - 0.3 * line) ** 2 + 0.01 * line**2
    assert abs(float(found.z[0, 0]) - line[objective.argmin()]) < 2e-3
    assert found.objective.max() > found.objective.min() + 0.005


@pytest.mark.parametrize("decoder_std", [0.0, WHITE])
def test_log_density_is_that_of_the_posterior(decoder_std, x64):
    """Differences of the density, against the Gaussian found by conditioning."""
    z = jnp.asarray(RNG.normal(size=(2, 2)))
    log_density = inverse.latent_log_density(pca, OPERATOR, Y, NOISE, decoder_std)
    change = log_density(z) - log_density(jnp.zeros((2, 2)))
    for i, y in enumerate(Y):
        mean, covariance = posterior(y, decoder_std)
        normal = lambda z: jax.scipy.stats.multivariate_normal.logpdf(z, mean, covariance)  # noqa: B023
        np.testing.assert_allclose(change[i], normal(z[i]) - normal(np.zeros(2)), rtol=1e-5)


def test_langevin_in_z_draws_from_the_posterior_of_probabilistic_pca(key, optimized):
    """500 chains of MALA: means, variances and the covariance within five standard errors."""
    chains = 500
    log_density = inverse.latent_log_density(pca, OPERATOR, Y[0], NOISE, WHITE)
    kernel = mcmc.mala(log_density, 0.05)
    _, spread = posterior(Y[0], WHITE)
    run = jax.jit(lambda key, z: mcmc.advance(key, kernel, kernel.init(z), 300)[0])
    z = np.asarray(run(key, jnp.zeros((chains, 2))).x, np.float64)
    mean, spread = posterior(Y[0], WHITE)
    assert np.all(np.abs(z.mean(0) - mean) < 5 * np.sqrt(np.diagonal(spread) / chains))
    error = np.sqrt((np.outer(*[np.diagonal(spread)] * 2) + spread**2) / chains)
    assert np.all(np.abs(np.cov(z.T) - spread) < 5 * error)


def test_refusals(key):
    search = lambda y, generate=pca, **options: inverse.latent_search(
        key, generate, OPERATOR, y, 2, **{"weight": 0.1, "steps": 2} | options
    )
    for y in (np.zeros((2, 4)), np.zeros(()), np.zeros(3)):  # one measurement, taken for three
        with pytest.raises(ConfigError, match="y must have the shape"):
            search(y)
    with pytest.raises(ConfigError, match="restarts=0"):
        search(Y, restarts=0)
    with pytest.raises(ConfigError, match="weight=-1"):
        search(Y, weight=-1)
    with pytest.raises(ConfigError, match="generate returned"):
        search(Y, generate=lambda z: z)
    with pytest.raises(ConfigError, match="noise_std=0"):
        inverse.latent_log_density(pca, OPERATOR, Y, 0.0)
    with pytest.raises(ConfigError, match="linear"):
        inverse.latent_log_density(pca, inverse.jpeg((8, 8, 1), 50), Y, 0.1, 0.2)
    for y in (np.array([[np.nan, 1, 1]]), np.ones((2, 3)) * 1j, None):
        with pytest.raises(DataError, match="^y "):
            search(y)
    for name, value in (("weight", np.inf), ("learning_rate", np.inf)):
        with pytest.raises(ConfigError, match=f"{name}=inf"):
            search(Y, **{name: value})
    with pytest.raises(ConfigError, match="generate=None must be a function"):
        search(Y, generate=None)
    with pytest.raises(ConfigError, match="operator=None"):
        inverse.latent_log_density(pca, None, Y, 0.1)
