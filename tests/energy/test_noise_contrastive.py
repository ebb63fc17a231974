"""Noise-contrastive estimation recovers log Z and the density."""

import exact
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.scipy.stats import norm

from gen_jax.energy import noise_contrastive
from gen_jax.errors import ConfigError

Z_MAX = 5.03
LOG_Z = 1.3


def unnormalised(x):
    """exp(LOG_Z) times the density of the mixture on the line."""
    log_p = lambda x: exact.mixture_log_density(exact.mixture_1d(), 1.0, 0.0, x)
    return LOG_Z + jax.vmap(log_p)(x)


def losses(key, ratio, n=10_000):
    """`(a, c) -> [B]`: the density to the power a, divided by exp(c)."""
    key_data, key_noise = jax.random.split(key)
    x = exact.mixture_sample(key_data, exact.mixture_1d(), n)
    noise = 2 * jax.random.normal(key_noise, (ratio * n, 1))
    log_noise = lambda x: norm.logpdf(x[:, 0], 0, 2)
    return lambda p: noise_contrastive(lambda x: p[0] * unnormalised(x) - p[1], log_noise, x, noise)


@pytest.mark.parametrize("ratio", [1, 4])
def test_log_z_and_the_density_are_the_minimum(x64, key, ratio):
    """Newton's method on (power, log Z); errors by the sandwich. A forgotten nu is caught."""
    run = losses(key, ratio)
    each = lambda p: run(p)[0]
    value = lambda p: each(p).mean()
    slope, bend = jax.jit(jax.grad(value)), jax.jit(jax.hessian(value))
    p = jnp.array([0.8, 0.8])
    for _ in range(8):
        p = p - jnp.linalg.solve(bend(p), slope(p))
    gradient = jax.jacfwd(each)(p)
    inverse = np.linalg.inv(bend(p))
    error = np.sqrt(np.diag(inverse @ np.cov(gradient.T) @ inverse) / len(gradient))
    assert np.all(np.abs(p - jnp.array([1.0, LOG_Z])) < Z_MAX * error)
    assert error[1] < 0.05
    if ratio > 1:
        assert abs(p[1] - LOG_Z + np.log(ratio)) > Z_MAX * error[1]


def test_accuracy_counts_both_kinds(x64, key):
    _, aux = losses(key, 4, n=500)(jnp.array([1.0, LOG_Z]))
    assert 0.8 < aux["accuracy"].mean() < 0.95
    hopeless = losses(key, 4, n=500)(jnp.array([1.0, LOG_Z + 30]))[1]
    assert hopeless["accuracy"].mean() == pytest.approx(0.8)  # all called noise


def test_noise_must_come_in_whole_sets():
    f = lambda x: -x[:, 0]
    with pytest.raises(ConfigError, match="multiple of 2"):
        noise_contrastive(f, f, jnp.ones((2, 1)), jnp.ones((3, 1)))
