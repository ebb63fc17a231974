"""Rejection and importance sampling: exact laws, known constants, honest standard errors."""

import exact
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
from jax.scipy.stats import logistic, norm

from gen_jax.errors import ConfigError
from gen_jax.sampling import importance, inverse_cdf, make_target
from gen_jax.sampling.rejection import rejection

FALSE_ALARM, N = 5e-7, 60_000
SCALE = 3.0
"""The target is SCALE N(0, 1); the proposal a logistic law, whose tails are heavier."""
GRID = np.linspace(-9, 9, 10_001)
BOUND = 1e-4 + float(
    np.log(SCALE * np.max(scipy.stats.norm.pdf(GRID) / scipy.stats.logistic.pdf(GRID)))
)


def log_density(x):
    return norm.logpdf(x) + jnp.log(SCALE)


log_proposal = logistic.logpdf


def propose(key, n):
    return inverse_cdf.logistic(jax.random.uniform(key, (n,), minval=1e-30))


def draw(key, n=N, log_bound=BOUND, log_density=log_density, **options):
    run = lambda key: rejection(key, log_density, propose, log_proposal, log_bound, n, **options)
    return jax.jit(run)(key)


def test_rejection_draws_are_exact_and_count_what_they_cost(key):
    result = draw(key)
    assert exact.standard_normal_p_value(result.x) > FALSE_ALARM
    assert scipy.stats.kstest(np.asarray(result.x, np.float64), "norm").pvalue > FALSE_ALARM
    assert result.num_filled == N
    assert result.filled.all()
    assert result.share_above == 0
    # The acceptance rate is Z / M: a binomial share within 5.03 standard errors (5e-7).
    rate, expected = float(result.acceptance_rate), SCALE / np.exp(BOUND)
    error = np.sqrt(expected * (1 - expected) / int(result.num_proposals))
    assert abs(rate - expected) < 5.03 * error
    assert abs(rate - 1.05 * expected) > 5.03 * error


def tails():
    """Log-weights [N] by name: exact Pareto tails and others, by NumPy alone."""
    rng = np.random.default_rng(3)
    found = {f"{k}": k * rng.exponential(size=200) for k in (0.1, 0.5, 0.9, 1.5)}
    found["many"] = 0.9 * rng.exponential(size=2000)
    found["few"] = 0.5 * rng.exponential(size=25)
    found["no tail"] = np.log(rng.uniform(size=200))
    found["half zero"] = np.where(np.arange(200) % 2, rng.exponential(size=200), -np.inf)
    found["ties"] = np.round(rng.normal(size=200), 1)
    found["huge"] = 700 * rng.exponential(size=200)
    return found


# arviz 0.23.4: `{name: az.psislw(a.copy())[1] for name, a in tails().items()}`.
PSIS = {
    "0.1": -0.0755734657522548,
    "0.5": 0.13009700530101903,
    "0.9": 0.6878413413854233,
    "1.5": 1.4087423014666307,
    "many": 1.035771058204623,
    "few": 0.4977503440391916,
    "no tail": -0.33333878593011107,
    "half zero": 0.7200472055090862,
    "ties": 0.10450748748509608,
    "huge": np.inf,
}


@pytest.mark.usefixtures("x64")
def test_the_shape_of_the_tail_is_arvizs():
    """In float64 to rounding, and in float32; from any constant, in any order."""
    for name, log_weights in tails().items():
        found = importance.pareto_k(jnp.asarray(log_weights + 300))
        np.testing.assert_allclose(found, PSIS[name], rtol=1e-9, err_msg=name)
        if name not in ("huge", "many", "few"):
            single = jnp.asarray(log_weights[::-1], jnp.float32)
            np.testing.assert_allclose(importance.pareto_k(single), PSIS[name], atol=2e-3)


def test_without_a_tail_there_is_no_shape():
    assert np.isposinf(importance.pareto_k(jnp.arange(20.0)))
    for n in (5, 30):
        assert np.isposinf(importance.pareto_k(jnp.full(n, -jnp.inf)))  # no weight at all
    assert np.isposinf(importance.pareto_k(jnp.array([0.0])) * -1)
    for n in (3, 500):
        assert np.isneginf(importance.pareto_k(jnp.full(n, 0.3)))


def test_planted_bugs_in_rejection(key):
    too_low = draw(key, log_bound=BOUND - 0.5)
    assert exact.standard_normal_p_value(too_low.x) < FALSE_ALARM
    assert too_low.share_above > 0.2
    accept_all = draw(key, log_bound=-100.0)
    assert exact.standard_normal_p_value(jnp.clip(accept_all.x, -9, 9)) < FALSE_ALARM


def test_rounds_of_any_size_fill_every_row(key):
    result = draw(key, n=1000, batch_size=64)
    assert result.num_proposals % 64 == 0
    assert len(np.unique(np.asarray(result.x))) == 1000
    assert abs(float(result.x.mean())) < 5 / np.sqrt(1000)


def test_running_out_of_rounds_is_told(key):
    result = draw(key, n=1000, batch_size=100, max_rounds=3)
    filled = int(result.num_filled)
    assert 0 < filled < 300
    assert int(result.filled.sum()) == filled
    np.testing.assert_array_equal(result.x[filled:], 0)
    assert (result.x[:filled] != 0).all()
    assert result.acceptance_rate == pytest.approx(filled / 300)


def test_densities_that_are_nan_are_rejected_and_counted(key):
    cut = lambda x: jnp.where(x > 0, log_density(x), jnp.nan)
    result = draw(key, n=2000, log_density=cut)
    assert (result.x > 0).all()
    share = float(result.num_invalid / result.num_proposals)
    assert share == pytest.approx(0.5, abs=0.05)


def test_rejection_of_points_in_the_plane_recovers_the_constant(key):
    ring = make_target("ring", num_modes=3, radius=1.0, std=0.5)
    wide = lambda x: jnp.sum(norm.logpdf(x, 0, 1.2), 1)
    result = rejection(
        key,
        lambda x: ring.log_density(x) + 2.0,
        lambda key, n: 1.2 * jax.random.normal(key, (n, 2)),
        wide,
        3.5,
        5000,
    )
    assert result.x.shape == (5000, 2)
    assert result.share_above == 0
    log_z = 3.5 + np.log(float(result.acceptance_rate))
    assert log_z == pytest.approx(2.0, abs=0.1)  # 5000 accepted of 22,000: error 0.013


def test_a_bound_that_is_attained_everywhere_is_not_passed(key):
    """q times a constant, by other roundings than q's; planted: a bound too low by 1e-4."""
    same = lambda x: norm.logpdf((x - 7) / 3) - np.log(3) + 1.3
    other = lambda x: -0.5 * (x / 3 - 7 / 3) ** 2 - np.log(3 * np.sqrt(2 * np.pi))
    run = lambda bound: rejection(
        key, same, lambda key, n: 7 + 3 * jax.random.normal(key, (n,)), other, bound, N
    )
    assert run(1.3).share_above == 0
    assert run(1.3).acceptance_rate > 0.9999
    assert run(1.3 - 1e-4).share_above > 0.99


def test_rejection_counts_in_one_dtype_under_x64(key, x64):
    result = rejection(
        key,
        norm.logpdf,
        lambda key, n: 2 * jax.random.normal(key, (n,)),
        lambda x: norm.logpdf(x, scale=2),
        np.log(2),
        500,
        batch_size=64,
    )
    assert result.x.dtype == jnp.float64
    assert int(result.num_filled) == 500
    assert result.share_above == 0


@pytest.mark.parametrize("option", ["n", "batch_size", "max_rounds"])
def test_bad_rejection_options(option, key):
    with pytest.raises(ConfigError, match=f"{option}=0"):
        draw(key, **{option: 0})


@pytest.mark.parametrize("wrong", [lambda f: f[:, None], jnp.sum, lambda f: f.astype(int)])
def test_densities_of_the_wrong_shape_are_refused(key, wrong):
    """[B, 1] would broadcast to [B, B], and a sum [] would pass unseen."""
    reported = "returned shape .* allowed: one number per point"
    with pytest.raises(ConfigError, match=f"log_density {reported}"):
        draw(key, n=10, log_density=lambda x: wrong(log_density(x)))
    with pytest.raises(ConfigError, match=f"log_proposal {reported}"):
        rejection(key, log_density, propose, lambda x: wrong(log_proposal(x)), BOUND, 10)


def replicates(key, statistic, count=400, n=2000):
    """Estimates and their errors over independent sets of n proposals."""

    def one(key):
        x = propose(key, n)
        return statistic(log_density(x) - log_proposal(x), x)

    return jax.jit(jax.vmap(one))(jax.random.split(key, count))


@pytest.mark.parametrize(
    ("statistic", "truth"),
    [
        (lambda w, x: importance.log_normalizer(w), np.log(SCALE)),
        (lambda w, x: importance.importance_mean(w - jnp.log(SCALE), x**2), 1.0),
        (lambda w, x: importance.self_normalised_mean(w, x**2), 1.0),
        (lambda w, x: importance.self_normalised_mean(w, jnp.cos(x)), np.exp(-0.5)),
    ],
)
def test_estimates_and_their_standard_errors(statistic, truth, key):
    """z-scores of 400 sets: mean within 5.03 errors, variance 1 within 36 % (chi-square, 5e-7)."""
    value, error = replicates(key, statistic)
    z = (np.asarray(value, np.float64) - truth) / np.asarray(error)
    assert abs(z.mean()) * np.sqrt(len(z)) < 5.03 + 1  # 1: the bias of 2,000 draws
    assert abs(z.var() - 1) < 0.36
    planted = (np.asarray(value) * 1.05 + 0.05 - truth) / np.asarray(error)
    assert abs(planted.mean()) * np.sqrt(len(z)) > 6.03


def test_errors_of_vector_valued_functions(key):
    x = jax.random.normal(key, (500, 3))
    w = jnp.zeros(500)
    for mean in (importance.importance_mean, importance.self_normalised_mean):
        estimate = mean(w, x)
        np.testing.assert_allclose(estimate.value, x.mean(0), atol=1e-6)
        np.testing.assert_allclose(estimate.error, x.std(0) / np.sqrt(500), rtol=2e-3)


def test_values_of_no_weight_do_not_count():
    values = jnp.array([jnp.inf, 2.0, jnp.nan, 4.0])
    w = jnp.array([-jnp.inf, 0.0, -jnp.inf, 0.0])
    value, error = importance.self_normalised_mean(w, values)
    np.testing.assert_allclose([value, error], [3, np.sqrt(0.5)], rtol=1e-6)
    np.testing.assert_allclose(importance.importance_mean(w, values).value, 6 / 4, rtol=1e-6)


def test_effective_sample_size():
    size = importance.effective_sample_size
    np.testing.assert_allclose(size(jnp.full(50, -300.0)), 50, rtol=1e-4)
    np.testing.assert_allclose(size(jnp.array([0.0, -jnp.inf, -jnp.inf])), 1, rtol=1e-5)
    w = np.random.default_rng(0).exponential(size=30)
    truth = w.sum() ** 2 / (w**2).sum()
    np.testing.assert_allclose(size(jnp.log(w) + 70.0), truth, rtol=1e-4)
    np.testing.assert_allclose(jax.jit(size)(jnp.log(w)), truth, rtol=1e-4)


def test_effective_size_of_a_shifted_gaussian_is_exp_of_minus_its_square(key):
    """N(m, 1) from N(0, 1): E[w^2] = e^(m^2), so the size tends to N e^(-m^2)."""
    x, m = jax.random.normal(key, (200_000,)), 0.7
    size = importance.effective_sample_size(m * x - m**2 / 2)
    assert float(size) / 200_000 == pytest.approx(np.exp(-(m**2)), rel=0.03)


def test_resampling_is_systematic_and_unbiased(key):
    w = jnp.array([0.1, 0.0, 0.45, 0.45])
    u = jax.random.uniform(key, (2000,))
    draws = jax.vmap(lambda u: importance.resample(u, jnp.log(w), 10))(u)
    counts = np.stack([np.sum(np.asarray(draws) == k, 1) for k in range(4)], 1)
    assert set(np.unique(counts[:, 2])) <= {4, 5}
    assert (counts[:, 0] == 1).all()
    assert (counts[:, 1] == 0).all()
    assert counts[:, 2].mean() == pytest.approx(4.5, abs=5.03 * 0.5 / np.sqrt(2000))
