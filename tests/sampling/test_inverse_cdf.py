"""Inverse distribution functions against SciPy's, and the laws of what they make."""

import exact
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
from scipy.special import ndtri

from gen_jax.errors import ConfigError
from gen_jax.sampling import QUANTILES, inverse_cdf

FALSE_ALARM, N = 5e-7, 60_000
CASES = {
    "uniform": ({"low": -1.0, "high": 3.0}, scipy.stats.uniform(-1, 4)),
    "exponential": ({"rate": 2.0}, scipy.stats.expon(scale=0.5)),
    "logistic": ({"loc": 1.0, "scale": 0.5}, scipy.stats.logistic(1, 0.5)),
    "cauchy": ({"loc": -1.0, "scale": 2.0}, scipy.stats.cauchy(-1, 2)),
    "laplace": ({"loc": 0.5, "scale": 1.5}, scipy.stats.laplace(0.5, 1.5)),
    "gumbel": ({"loc": 0.5, "scale": 1.5}, scipy.stats.gumbel_r(0.5, 1.5)),
    "weibull": ({"shape": 1.7, "scale": 2.0}, scipy.stats.weibull_min(1.7, scale=2)),
    "pareto": ({"shape": 2.5, "scale": 2.0}, scipy.stats.pareto(2.5, scale=2)),
    "normal": ({"mean": 1.0, "std": 2.0}, scipy.stats.norm(1, 2)),
}


def scores(x, law):
    """Phi^-1(F(x)) by SciPy: standard normal if and only if x follows the law."""
    x = np.asarray(x, np.float64)
    upper = law.sf(x)
    return np.where(upper < 0.5, -ndtri(upper), ndtri(law.cdf(x)))


def test_every_quantile_has_a_case():
    assert set(CASES) == set(QUANTILES)


@pytest.mark.parametrize("name", QUANTILES)
def test_quantiles_are_scipys(x64, name):
    parameters, law = CASES[name]
    u = np.concatenate([[1e-6, 1e-5], np.linspace(0.001, 0.999, 97), [1 - 1e-5, 1 - 1e-6]])
    ours = QUANTILES[name](jnp.asarray(u), **parameters)
    np.testing.assert_allclose(ours, law.ppf(u), rtol=1e-9, atol=1e-12)
    if law.support()[0] == -np.inf or law.support()[0] == 0:
        tail = float(QUANTILES[name](jnp.array(1e-12), **parameters))
        np.testing.assert_allclose(law.cdf(tail), 1e-12, rtol=1e-3)
    grid = QUANTILES[name](jnp.asarray(u[:96].reshape(4, 3, 8)), **parameters)
    np.testing.assert_array_equal(grid.ravel(), ours[:96])


@pytest.mark.parametrize("name", QUANTILES)
def test_draws_follow_the_law(name, key):
    parameters, law = CASES[name]
    u = jax.random.uniform(key, (N,), minval=jnp.finfo(jnp.float32).tiny)
    z = scores(jax.jit(QUANTILES[name])(u, **parameters), law)
    assert exact.standard_normal_p_value(z) > FALSE_ALARM
    assert scipy.stats.kstest(z, "norm").pvalue > FALSE_ALARM
    assert exact.standard_normal_p_value(z * 1.05**0.5) < FALSE_ALARM


def test_planted_bug_a_wrong_rate(key):
    x = inverse_cdf.exponential(jax.random.uniform(key, (N,)), rate=1.05)
    assert exact.standard_normal_p_value(scores(x, scipy.stats.expon())) < FALSE_ALARM


def test_a_table_of_a_mixture_with_an_empty_gap(x64):
    """The density is not normalised, and 0 to float32 between its modes."""
    log_density = lambda x: 5 + jnp.logaddexp(-0.5 * (x + 6) ** 2, -0.5 * (x - 6) ** 2 + 1.0)
    table = inverse_cdf.tabulate(log_density, -14.0, 14.0, 20_000)
    u = np.linspace(0.001, 0.999, 301)
    x = np.asarray(inverse_cdf.from_table(jnp.asarray(u), table))
    low = 1 / (1 + np.e)
    norm = scipy.stats.norm
    np.testing.assert_allclose(
        low * norm.cdf(x + 6) + (1 - low) * norm.cdf(x - 6), u, rtol=1e-5, atol=1e-6
    )


def test_draws_from_a_table(key):
    table = inverse_cdf.tabulate(lambda x: -jnp.abs(x), -18.0, 18.0, 4000)
    u = jax.random.uniform(key, (N,))
    z = scores(jax.jit(inverse_cdf.from_table)(u, table), scipy.stats.laplace())
    assert exact.standard_normal_p_value(np.clip(z, -6, 6)) > FALSE_ALARM
    coarse = inverse_cdf.tabulate(lambda x: -jnp.abs(x), -18.0, 18.0, 20)  # planted
    z = scores(inverse_cdf.from_table(u, coarse), scipy.stats.laplace())
    assert exact.standard_normal_p_value(np.clip(z, -6, 6)) < FALSE_ALARM


def test_table_converges_with_the_square_of_the_cells(x64):
    u = jnp.linspace(0.05, 0.95, 50)

    def error(num):
        table = inverse_cdf.tabulate(lambda x: -0.5 * x**2, -9.0, 9.0, num)
        return np.abs(scipy.stats.norm.cdf(inverse_cdf.from_table(u, table)) - u).max()

    assert np.log2(error(200) / error(800)) / 2 == pytest.approx(2, abs=0.15)


def test_flat_parts_and_jumps_give_the_smallest_point():
    table = inverse_cdf.Table(jnp.arange(5.0), jnp.array([0.0, 0.5, 0.5, 0.5, 1.0]))
    u = jnp.array([0.25, 0.5, 0.75, 1.0])
    np.testing.assert_allclose(inverse_cdf.from_table(u, table), [0.5, 1.0, 3.5, 4.0])
    steps = lambda x: jnp.where(x >= 2, 1.0, jnp.where(x >= 1, 0.3, 0.0))  # values 1 and 2
    x = inverse_cdf.bisect(steps, jnp.array([0.1, 0.3, 0.31, 0.9]), -5.0, 5.0)
    np.testing.assert_allclose(x, [1, 1, 2, 2], atol=1e-5)


def test_bisection_finds_the_quantiles_of_any_law(x64):
    u = jnp.linspace(0.001, 0.999, 60).reshape(3, 20)
    cdf = lambda x: 0.3 * jax.scipy.stats.norm.cdf(x, -1, 0.1) + 0.7 * jax.nn.sigmoid(x)
    x = jax.jit(lambda u: inverse_cdf.bisect(cdf, u, -100.0, 100.0))(u)
    assert x.shape == (3, 20)
    np.testing.assert_allclose(cdf(x), u, atol=1e-12)
    each = jnp.array([0.5, 0.5])
    ends = inverse_cdf.bisect(jax.nn.sigmoid, each, jnp.array([1.0, -3.0]), jnp.array([2.0, -1.0]))
    np.testing.assert_allclose(ends, [1, -1], atol=1e-9)  # outside: the nearer end


def test_bad_arguments_are_refused():
    flat = lambda x: 0 * x
    with pytest.raises(ConfigError, match="high=0"):
        inverse_cdf.tabulate(flat, 1.0, 0.0)
    with pytest.raises(ConfigError, match="num=0"):
        inverse_cdf.tabulate(flat, 0.0, 1.0, 0)
    with pytest.raises(ConfigError, match="iterations=0"):
        inverse_cdf.bisect(flat, jnp.ones(2), 0.0, 1.0, 0)
    with pytest.raises(ConfigError, match="table has shapes"):
        inverse_cdf.from_table(jnp.ones(2), inverse_cdf.Table(jnp.ones(1), jnp.ones(1)))


def test_slopes_at_the_median_and_on_the_grid_are_not_halved():
    """dx/du = 1 / density: a minimum or a clip on its tie would share the slope out."""
    slope = lambda f, u: float(jax.grad(f)(jnp.array(u)))
    assert slope(inverse_cdf.cauchy, 0.5) == pytest.approx(np.pi, rel=1e-5)
    assert slope(inverse_cdf.laplace, 0.5) == pytest.approx(2.0, rel=1e-5)
    even = inverse_cdf.tabulate(lambda x: jnp.zeros_like(x), 0.0, 3.0, 4)
    for u in (0.0, 0.25, 0.3, 1.0):
        found = slope(lambda u: inverse_cdf.from_table(u, even), u)
        assert found == pytest.approx(3.0, rel=1e-5), u
