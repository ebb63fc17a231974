"""Discretised logistics against enumeration of all levels and scipy's distribution function."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from gen_jax.sampling import discretized_logistic as dl

FALSE_ALARM, N, K = 5e-7, 40_000, 3


def parameters(scale):
    means = jnp.array([-1.4, -0.1, 0.93])
    return jnp.array([0.3, -0.2, 0.5]), means, jnp.log(scale) + jnp.array([0.0, 0.3, -0.4])


@pytest.mark.parametrize("levels", [2, 256])
@pytest.mark.parametrize("scale", [1e-6, 0.02, 0.5, 1e8])
def test_levels_sum_to_one_and_gradients_are_finite(scale, levels):
    x = jnp.arange(levels)
    total = lambda p: dl.log_prob(x, *(jnp.broadcast_to(a, (levels, K)) for a in p), levels)
    log_p = total(parameters(scale))
    assert not np.isnan(log_p).any()
    np.testing.assert_allclose(np.exp(np.asarray(log_p, float)).sum(), 1, atol=3e-6)
    gradient = jax.jacrev(total)(parameters(scale))
    assert all(np.isfinite(g).all() for g in gradient)


def test_probabilities_are_differences_of_the_distribution_function():
    """In float64 against scipy, where the difference itself has digits left."""
    with jax.enable_x64(True):
        logits, means, log_scales = (a.astype(jnp.float64) for a in parameters(0.2))
        got = jnp.exp(dl.log_prob(jnp.arange(256), logits, means, log_scales))
        edges = np.r_[-np.inf, (np.arange(255) + 0.5) * 2 / 255 - 1, np.inf]
        weights = scipy.stats.norm.pdf(0) * np.exp(logits)
        cdf = scipy.stats.logistic.cdf(edges[:, None], means, np.exp(log_scales))
        expected = np.diff(cdf, axis=0) @ (weights / weights.sum())
        np.testing.assert_allclose(got, expected, rtol=1e-10)


def test_far_tails_keep_their_digits():
    """A narrow logistic far away: log P is the tail's slope, neither -inf nor NaN."""
    one = lambda v: jnp.full((1,), v, jnp.float32)
    log_p = dl.log_prob(jnp.array(100), one(0.0), one(1.0), one(np.log(1e-3)))
    edge = (100.5 / 127.5 - 1 - 1.0) / 1e-3
    exact = edge + np.log(-np.expm1(-2 / 255 / 1e-3))
    np.testing.assert_allclose(log_p, exact, rtol=1e-5)


def test_samples_follow_the_probabilities(key):
    """40,000 draws over 16 levels; the planted twin has its scales 10 % too wide."""
    p = parameters(0.15)
    p_values = []
    for planted in (0.0, 0.1):
        wide = (p[0], p[1], p[2] + planted)
        x = dl.sample(key, *(jnp.broadcast_to(a, (N, K)) for a in wide), levels=16)
        counts = np.bincount(np.asarray(x, int), minlength=16)
        expected = np.exp(np.asarray(dl.log_prob(jnp.arange(16), *p, 16), float))
        expected *= N / expected.sum()
        p_values.append(scipy.stats.chisquare(counts, expected).pvalue)
    assert p_values[0] > FALSE_ALARM > p_values[1]


@pytest.mark.parametrize("level", [0.0, 100.0, 255.0])
def test_the_widest_scales_have_finite_gradients(level):
    """1 / e^95 is 0 in float32: the logarithm of the bin's width is not; against float64."""
    level = np.float32(level)

    def both(dtype):
        log_p = lambda mean, log_scale: dl.component_log_probs(
            jnp.asarray(level, dtype), mean[None], log_scale[None]
        )[0]
        at = jnp.asarray(0.3, dtype), jnp.asarray(95.0, dtype)
        return jax.value_and_grad(log_p, (0, 1))(*at)

    value, slopes = both(jnp.float32)
    with jax.enable_x64(True):
        truth, wanted = both(jnp.float64)
    np.testing.assert_allclose(value, truth, rtol=1e-6)
    np.testing.assert_allclose(slopes, wanted, rtol=1e-5, atol=1e-6)
