"""Decoder likelihoods are densities or probabilities in data units."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from gen_jax import data, metrics, vae
from gen_jax.errors import ConfigError, DataError

LEVELS = [name for name in vae.LIKELIHOODS if vae.make_likelihood(name).values == "levels"]
REAL = [name for name in vae.LIKELIHOODS if vae.make_likelihood(name).values == "real"]


def raw_for(key, likelihood, shape=(6,), scale=2.0):
    return scale * jax.random.normal(key, (*shape, likelihood.size + likelihood.shared))


@pytest.mark.parametrize("name", LEVELS)
def test_probabilities_of_all_values_sum_to_one(x64, key, name):
    likelihood = vae.make_likelihood(name)
    raw = raw_for(key, likelihood).astype(jnp.float64)
    log_p = jax.jit(likelihood.log_prob)(raw[:, None], jnp.arange(256)[None])
    np.testing.assert_allclose(np.exp(log_p).sum(1), 1, rtol=1e-10)
    mean = np.exp(log_p) @ np.arange(256)
    np.testing.assert_allclose(jax.jit(likelihood.mean)(raw), mean, rtol=1e-6)


@pytest.mark.parametrize("name", REAL)
def test_densities_integrate_to_one(x64, key, name):
    likelihood = vae.make_likelihood(name)
    raw = raw_for(key, likelihood, scale=1.0).astype(jnp.float64)
    grid = jnp.linspace(-60, 60, 60_001)
    p = np.exp(likelihood.log_prob(raw[:, None], grid[None]))
    np.testing.assert_allclose(np.trapezoid(p, grid), 1, rtol=1e-7)
    np.testing.assert_allclose(
        np.trapezoid(p * np.asarray(grid), grid), likelihood.mean(raw), rtol=1e-6
    )


def test_bernoulli_is_the_binary_law():
    likelihood, raw = vae.make_likelihood("bernoulli"), jnp.array([[-3.0], [0.5]])
    p = 1 / (1 + np.exp([3.0, -0.5]))
    np.testing.assert_allclose(likelihood.log_prob(raw, jnp.ones(2)), np.log(p), rtol=1e-5)
    np.testing.assert_allclose(likelihood.log_prob(raw, jnp.zeros(2)), np.log1p(-p), rtol=1e-5)


@pytest.mark.parametrize("name", vae.LIKELIHOODS)
def test_draws_follow_the_law(key, name):
    """Mean of 20,000 draws within 5.1 standard errors of `mean`; a shifted one is seen."""
    likelihood, n = vae.make_likelihood(name), 20_000
    raw = raw_for(key, likelihood, (1,), 0.5)
    many = jnp.broadcast_to(raw, (n, raw.shape[1]))
    x = np.asarray(jax.jit(likelihood.sample)(key, many), np.float64)
    error = x.std() / np.sqrt(n)
    mean = float(likelihood.mean(raw)[0])
    assert abs(x.mean() - mean) < 5.1 * error
    assert abs(x.mean() - mean - 0.1 * x.std()) > 5.1 * error
    own = np.asarray(likelihood.log_prob(raw, jnp.asarray(x[:500], jnp.float32)))
    assert np.isfinite(own).all()


def test_a_uniform_decoder_scores_eight_bits():
    x = np.random.default_rng(0).integers(0, 256, (5, 4, 4, 1), np.uint8)
    likelihood = vae.make_likelihood("categorical")
    log_p = likelihood.log_prob(jnp.zeros((5, 4, 4, 1, 256)), x).reshape(5, -1).sum(1)
    np.testing.assert_allclose(metrics.bits_per_dim(log_p, 16), 8, rtol=1e-6)


def test_real_values_in_data_units_are_densities_per_grey_level(key):
    """A Gaussian on [-1, 1] with the transform's change: the sum over levels is about 1."""
    likelihood, transform = vae.make_likelihood("gaussian", scale=0.3), data.symmetric_images()
    x = jnp.arange(256, dtype=jnp.uint8)[:, None]
    u = transform.encode(key, x)
    log_p = likelihood.log_prob(jnp.full((256, 1, 1), 0.1), u)[:, 0] + transform.log_det(u)
    inside = stats.norm.cdf(3.0) - stats.norm.cdf(-1.1 / 0.3)
    np.testing.assert_allclose(np.exp(log_p).sum(), inside, rtol=3e-3)


@pytest.mark.parametrize("name", vae.LIKELIHOODS)
def test_gradients_are_finite_at_the_extremes(name):
    likelihood = vae.make_likelihood(name)
    size = likelihood.size + likelihood.shared
    x = {"levels": jnp.array([0, 255, 7]), "binary": jnp.array([0.0, 1.0, 1.0])}
    x = x.get(likelihood.values, jnp.array([-1.0, 1.0, 0.0]))
    gradient = jax.jit(jax.grad(lambda raw: likelihood.log_prob(raw, x).sum()))
    for value in (-30.0, 30.0, 0.0):
        assert np.isfinite(gradient(jnp.full((3, size), value))).all()


def test_values_that_do_not_fit_are_refused(key):
    grey = np.random.default_rng(0).integers(0, 256, (5, 4), np.uint8)
    with pytest.raises(ConfigError, match="binary values"):
        vae.check_values(vae.make_likelihood("bernoulli"), grey)
    with pytest.raises(DataError, match="takes 0 and 1"):
        vae.check_values(vae.make_likelihood("bernoulli"), grey / 255.0)
    with pytest.raises(ConfigError, match="levels"):
        vae.check_values(vae.make_likelihood("categorical"), jnp.zeros(3))
    vae.check_values(vae.make_likelihood("categorical"), grey)
    vae.check_values(vae.make_likelihood("bernoulli"), (grey > 9).astype(np.float32))
    with pytest.raises(ConfigError, match="likelihood='bernouli'"):
        vae.make_likelihood("bernouli")
    with pytest.raises(ConfigError, match="scale=0"):
        vae.make_likelihood("gaussian", scale=0)
