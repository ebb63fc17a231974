"""Diagnostics against closed forms of autoregressive series and naive sums."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from gen_jax import mcmc
from gen_jax.errors import ConfigError
from gen_jax.mcmc.diagnostics import autocovariance, rank_normalise


def autoregressive(key, rho, steps=4000, chains=16):
    """Stationary x_t = rho x_(t-1) + sqrt(1 - rho^2) z: variance 1, time (1 + rho) / (1 - rho)."""
    z = jax.random.normal(key, (steps, chains))

    def body(x, z):
        x = rho * x + np.sqrt(1 - rho**2) * z
        return x, x

    return jax.lax.scan(body, z[0], z[1:])[1]


@pytest.mark.parametrize("rho", [0.0, 0.5, 0.9, -0.5])
def test_autocorrelation_time_of_an_autoregressive_series(rho, key):
    """Over 40 keys the estimate's relative deviation is at most 0.03, at rho = 0.9."""
    x = autoregressive(key, rho)
    truth = (1 + rho) / (1 - rho)
    assert float(mcmc.integrated_autocorrelation_time(x)) == pytest.approx(truth, rel=0.15)
    assert float(mcmc.effective_sample_size(x)) == pytest.approx(3998 * 16 / truth, rel=0.15)
    assert float(mcmc.split_r_hat(x)) < 1.01


def test_effective_sizes_predict_the_error_of_the_mean(key):
    """The variance of 400 chains' means is the variance over one chain's effective size."""
    x = autoregressive(key, 0.8, 1001, 400)
    sizes = 1000 / mcmc.integrated_autocorrelation_time(x)
    assert np.asarray(x).mean(0).var() * float(sizes) == pytest.approx(1, rel=0.3)


def plain_r_hat(x):
    """vehtari2021 eq. 1-4 with loops."""
    steps, chains = x.shape
    within = np.mean([x[:, b].var(ddof=1) for b in range(chains)])
    between = steps * np.var([x[:, b].mean() for b in range(chains)], ddof=1)
    return np.sqrt(((steps - 1) / steps * within + between / steps) / within)


def plain_split_r_hat(x):
    half = len(x) // 2
    x = np.concatenate([x[:half], x[-half:]], 1)

    def scores(x):
        ranks = scipy.stats.rankdata(x).reshape(x.shape)
        return scipy.stats.norm.ppf((ranks - 3 / 8) / (x.size + 1 / 4))

    return max(plain_r_hat(scores(x)), plain_r_hat(scores(np.abs(x - np.median(x)))))


def test_r_hat_is_that_of_the_paper(x64, key):
    x = np.array(autoregressive(key, 0.5, 202, 5))
    shifted, spread, tied = x + np.arange(5), x * (1 + np.arange(5)), np.round(x)
    stack = np.stack([x, shifted, spread, tied], -1)
    expected = [plain_split_r_hat(stack[..., i]) for i in range(4)]
    found = mcmc.split_r_hat(jnp.asarray(stack))
    np.testing.assert_allclose(found, expected, rtol=1e-9)
    assert np.all(np.asarray(found)[1:3] > 1.1)
    plain = scipy.stats.rankdata(x).reshape(x.shape)
    score = scipy.stats.norm.ppf((plain - 0.375) / (x.size + 0.25))
    np.testing.assert_allclose(rank_normalise(jnp.asarray(x)), score, rtol=1e-9)


def plain_size(x):
    """Effective size of split chains as Stan computes it (Stan reference manual), by loops."""
    half = len(x) // 2
    x = np.concatenate([x[:half], x[-half:]], 1)
    n, chains = x.shape
    centred = x - x.mean(0)
    cov = [np.mean((centred[: n - lag] * centred[lag:]).sum(0)) / n for lag in range(n)]
    within = x.var(0, ddof=1).mean()
    pooled = (n - 1) / n * within + x.mean(0).var(ddof=1)
    rho = [1.0] + [1 - (within - c) / pooled for c in cov[1:]]
    total, smallest, pair = 0.0, np.inf, 0
    while pair < (n - 3) // 2 and rho[2 * pair] + rho[2 * pair + 1] > 0:
        smallest = min(smallest, rho[2 * pair] + rho[2 * pair + 1])
        total, pair = total + smallest, pair + 1
    return n * chains / (2 * total - 1 + max(rho[2 * pair], 0))


def test_effective_size_is_that_of_a_loop(x64, key):
    x = np.array(autoregressive(key, 0.7, 302, 4))
    stack = np.stack([x, x + 0.3 * np.arange(4), x**2], -1)
    expected = [plain_size(stack[..., i]) for i in range(3)]
    np.testing.assert_allclose(mcmc.effective_sample_size(jnp.asarray(stack)), expected, rtol=1e-9)
    x = jnp.asarray(x[:300])
    bulk = mcmc.effective_sample_size(x, rank_normalised=True)
    np.testing.assert_allclose(bulk, mcmc.effective_sample_size(rank_normalise(x)))


def test_autocovariance_is_the_plain_sum(x64, key):
    x = np.asarray(jax.random.normal(key, (20, 3)))
    y = x - x.mean(0)
    plain = np.stack([(y[: 20 - lag] * y[lag:]).sum(0) / 20 for lag in range(20)])
    np.testing.assert_allclose(autocovariance(jnp.asarray(x)), plain, atol=1e-14)


def wandering(steps):
    """Three autoregressive chains with one far point in the middle, by NumPy alone."""
    rng = np.random.default_rng(1)
    z = rng.normal(size=(steps, 3))
    x = z.copy()
    for t in range(1, steps):
        x[t] = 0.6 * x[t - 1] + 0.8 * z[t]
    x[steps // 2] = 40.0
    return x


# arviz 0.23.4: `a = wandering(T)`, rounded in the second row;
# `az.rhat(a.T), az.ess(a.T, method="bulk"), az.ess(a.T, method="mean")`.
ARVIZ = {
    101: [
        (1.0634604545593525, 47.6974947277628, 47.98748125377797),
        (1.0552747277770627, 47.92216180422617, 47.961752458071814),
    ],
    100: [
        (1.0546478831206683, 51.01914872167307, 285.2074800163954),
        (1.0466655194756183, 52.32852542206108, 287.0217264156472),
    ],
}


@pytest.mark.parametrize("steps", ARVIZ)
def test_lengths_odd_and_even_are_arvizs(x64, steps):
    """The middle of an odd length is dropped: the far point of 101 steps says nothing."""
    x = wandering(steps)
    for a, (r_hat, bulk, mean) in zip((x, np.round(x)), ARVIZ[steps]):
        a = jnp.asarray(a)
        assert float(mcmc.split_r_hat(a)) == pytest.approx(r_hat, rel=1e-9)
        found = mcmc.effective_sample_size(a, rank_normalised=True), mcmc.effective_sample_size(a)
        np.testing.assert_allclose(found, [bulk, mean], rtol=1e-9)


@pytest.mark.parametrize("steps", [4000, 4001])
def test_chains_that_never_move_say_nothing(steps):
    """The mean of 4000 times 0.3 is not 0.3 in float32: R-hat of 1.005, 6.6 effective samples."""
    x = jnp.tile(jnp.array([0.3, 1 / 3, 1e8 + 1 / 3, 7, 0]), (steps, 4, 1))
    assert np.isnan(mcmc.split_r_hat(x)).all()
    for ranks in (False, True):
        assert np.isnan(mcmc.effective_sample_size(x, rank_normalised=ranks)).all()
    assert np.isnan(mcmc.integrated_autocorrelation_time(x)).all()


def test_chains_that_never_move_from_where_they_differ():
    """R-hat is infinite, and the effective size that of one draw per chain (arviz: 4.35)."""
    x = jnp.tile(jnp.array([0.1, 0.2, 0.3, 0.7]), (101, 1))
    assert np.isposinf(mcmc.split_r_hat(x))
    for ranks in (False, True):
        size = float(mcmc.effective_sample_size(x, rank_normalised=ranks))
        assert size == pytest.approx(4.35, abs=0.5)
    two = jnp.tile(jnp.array([-1.0, 1.0]), (50, 1))  # all at one distance from the median
    assert np.isposinf(mcmc.split_r_hat(two))


def test_two_values_alone_are_judged(x64):
    """Signs: their distances from the median are all equal. arviz: 0.9965770358617401."""
    x = np.random.default_rng(2).integers(0, 2, (100, 4)) * 2.0 - 1
    x[:50] = np.array([1, -1] * 25)[:, None]
    assert float(mcmc.split_r_hat(jnp.asarray(x))) == pytest.approx(0.9965770358617401, rel=1e-9)


def test_a_sample_that_is_no_number_is_not_hidden():
    x = jax.random.normal(jax.random.key(0), (101, 3, 2)).at[3, 0, 1].set(jnp.nan)
    ranked = mcmc.effective_sample_size(x, rank_normalised=True)
    for found in (mcmc.split_r_hat(x), ranked, mcmc.effective_sample_size(x)):
        np.testing.assert_array_equal(np.isfinite(found), [True, False])


def test_occupancy_far_from_0(key):
    """Modes 1 apart, all 1e4 away: the squares of float32 do not hold their difference."""
    modes = np.array([[0.0, 0], [1.0, 0]]) + 1e4
    x = jnp.asarray(np.tile(modes[1], (40, 2, 1)), jnp.float32).at[:10, 0].add(jnp.array([-1.0, 0]))
    np.testing.assert_array_equal(mcmc.mode_occupancy(x, modes), [[0.25, 0.75], [0, 1]])


def test_occupancy_shows_what_r_hat_does_not(key):
    """All chains in one of two modes: R-hat is fine, the occupancy is not."""
    modes = np.array([[-5.0, 0], [5.0, 0]])
    x = jax.random.normal(key, (500, 8, 2)) + modes[1]
    assert np.all(mcmc.split_r_hat(x) < 1.01)
    np.testing.assert_array_equal(mcmc.mode_occupancy(x, modes), np.tile([0.0, 1.0], (8, 1)))
    half = x.at[:125, 3, 0].add(-10)
    assert float(mcmc.mode_occupancy(half, modes)[3, 0]) == 0.25


@pytest.mark.parametrize("size", [1e-30, 1e30])
def test_numbers_of_any_size_are_judged_alike(key, size):
    x = jax.random.normal(key, (40, 2, 1))
    for judge in (mcmc.effective_sample_size, mcmc.integrated_autocorrelation_time):
        np.testing.assert_allclose(judge(x * size), judge(x), rtol=1e-4)


def test_too_few_samples_are_refused():
    for function in (mcmc.split_r_hat, mcmc.effective_sample_size):
        with pytest.raises(ConfigError, match=r"samples have shape \(3, 2\)"):
            function(jnp.zeros((3, 2)))


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
def test_half_precision_is_judged_as_its_numbers_in_float32(key, dtype):
    x = jax.random.normal(key, (101, 4, 1)).astype(dtype)
    for judge in (
        mcmc.split_r_hat,
        mcmc.effective_sample_size,
        mcmc.integrated_autocorrelation_time,
    ):
        np.testing.assert_allclose(judge(x), judge(x.astype(jnp.float32)), rtol=1e-6)
