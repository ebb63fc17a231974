"""Densities of the training time. Every statistical test: false alarm 5e-7."""

import exact
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from gen_jax import diffusion, paths
from gen_jax.diffusion.time_sampling import T_MIN, log_normal, logit_normal
from gen_jax.errors import ConfigError

N, ALARM = 60_000, 5e-7
DENSITIES = diffusion.TIME_DENSITIES


@pytest.mark.parametrize("name", DENSITIES)
def test_times_stay_inside_and_draws_are_new(key, name):
    path = paths.linear()
    key_a, key_b = jax.random.split(key)
    a, b = DENSITIES[name](key_a, path, 1000), DENSITIES[name](key_b, path, 1000)
    assert a.shape == (1000,)
    assert a.dtype == jnp.float32
    assert float(a.min()) >= T_MIN
    assert float(a.max()) < 1
    assert not np.allclose(np.sort(a), np.sort(b), atol=1e-7)


def test_no_time_rounds_to_one():
    """`low_discrepancy` returned exactly 1 for this key: one step in 8,192 at batch 4,096."""
    t = DENSITIES["low_discrepancy"](jax.random.key(6633), paths.linear(), 4096)
    assert float(t.max()) < 1
    far = {"logit_normal": logit_normal(20.0, 1.0), "log_normal": log_normal(40.0, 1.0)}
    for density in far.values():
        assert float(density(jax.random.key(0), paths.linear(), 100).max()) < 1
    with jax.enable_x64(True):
        for density in (*DENSITIES.values(), *far.values()):
            t = density(jax.random.key(0), paths.linear(), 100)
            assert float(t.astype(jnp.float32).max()) < 1
            assert float(t.min()) >= T_MIN


def test_uniform(key):
    t = np.asarray(DENSITIES["uniform"](key, paths.linear(), N))
    assert stats.kstest(t, stats.uniform(T_MIN, 1 - T_MIN).cdf).pvalue > ALARM


def test_low_discrepancy_is_one_time_per_stratum_and_uniform_by_itself(key):
    density = DENSITIES["low_discrepancy"]
    t = np.asarray(density(key, paths.linear(), 64), np.float64)
    grid = np.sort(t - T_MIN) / (1 - T_MIN)
    np.testing.assert_array_equal(np.floor(64 * grid + 1e-4), np.arange(64))
    np.testing.assert_allclose(np.diff(grid), 1 / 64, atol=1e-5)
    assert not np.allclose(np.sort(t), t)  # times do not follow the order of the batch
    draws = jax.vmap(lambda k: density(k, paths.linear(), 8)[3])(jax.random.split(key, 20_000))
    assert stats.kstest(np.asarray(draws), stats.uniform(T_MIN, 1 - T_MIN).cdf).pvalue > ALARM


@pytest.mark.parametrize(("mean", "std"), [(0.0, 1.0), (-0.5, 0.7)])
def test_logit_normal(key, mean, std):
    t = np.asarray(logit_normal(mean, std)(key, paths.vp(), N), np.float64)
    assert exact.standard_normal_p_value((np.log(t / (1 - t)) - mean) / std) > ALARM


@pytest.mark.parametrize("name", ["linear", "cosine", "vp", "edm"])
def test_log_normal_noise_levels(x64, key, name):
    """log(sigma / alpha) ~ N(-1.2, 1.2^2) on any path, and not the same with another mean."""
    path = paths.PATHS[name]()
    t = DENSITIES["log_normal"](key, path, N)
    level = np.log(np.asarray(path.sigma(t) / path.alpha(t)))
    assert exact.standard_normal_p_value((level + 1.2) / 1.2) > ALARM
    assert exact.standard_normal_p_value((level + 1.1) / 1.2) < ALARM


@pytest.mark.parametrize("make", [logit_normal, log_normal])
def test_bad_settings_are_refused(make):
    with pytest.raises(ConfigError, match=r"std=0\.0"):
        make(0.0, 0.0)
