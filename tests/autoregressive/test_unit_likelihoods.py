"""Laws of a unit: sums and integrals to one, samples that follow them, broad at zero."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from gen_jax.autoregressive import Decoding
from gen_jax.autoregressive import likelihoods as laws
from gen_jax.errors import ConfigError

FALSE_ALARM, N = 5e-7, 30_000
DISCRETE = {
    "bernoulli": laws.bernoulli(),
    "categorical": laws.categorical(5),
    "logistic_mixture": laws.logistic_mixture(2, 1, 7),
    "colour": laws.logistic_mixture(2, 3, 3),
}


def numbers(law):
    return jnp.asarray(0.8 * np.random.default_rng(3).normal(size=law.size), jnp.float32)


def drawn(law, key, raw, temperature):
    one = lambda key: law.sample(key, raw, Decoding(temperature))
    return jax.jit(jax.vmap(one))(jax.random.split(key, N))


def all_values(law):
    return np.array(list(itertools.product(range(law.levels), repeat=law.event)))


@pytest.mark.parametrize("name", DISCRETE)
def test_probabilities_sum_to_one_and_samples_follow_them(name, key):
    """30,000 draws; the planted twin is sampled at temperature 1.15."""
    law = DISCRETE[name]
    values, raw = all_values(law), numbers(law)
    p = np.exp(np.asarray(jax.jit(law.log_prob)(jnp.asarray(values), raw[None]), float))
    np.testing.assert_allclose(p.sum(), 1, atol=2e-6)
    p_values = []
    for temperature in (1.0, 1.15):
        x = np.asarray(drawn(law, key, raw, temperature), int)
        index = np.ravel_multi_index(x.T, (law.levels,) * law.event)
        counts = np.bincount(index, minlength=len(p))
        p_values.append(scipy.stats.chisquare(counts, N * p / p.sum()).pvalue)
    assert p_values[0] > FALSE_ALARM > p_values[1]


def test_colours_by_their_definition():
    """Of one component: the chain rule with the means written out (salimans2017 eq. 3)."""
    law = laws.logistic_mixture(1, 3, 256)
    raw = jnp.array([0.3, 0.1, -0.2, 0.4, 0.5, -0.3, 0.2, 0.7, -0.4, 0.9])
    m, s, c = np.asarray(raw[1:4]), np.exp(np.asarray(raw[4:7])), np.tanh(np.asarray(raw[7:10]))
    x = np.array([40, 200, 77])
    v = 2 * x / 255 - 1
    means = [m[0], m[1] + c[0] * v[0], m[2] + c[1] * v[0] + c[2] * v[1]]
    cdf = lambda edge, i: scipy.stats.logistic.cdf(edge, means[i], s[i])
    expected = sum(np.log(cdf(v[i] + 1 / 255, i) - cdf(v[i] - 1 / 255, i)) for i in range(3))
    np.testing.assert_allclose(law.log_prob(jnp.asarray(x), raw), expected, rtol=1e-4)


@pytest.mark.parametrize("law", [laws.gaussian(), laws.gaussian_mixture(3)])
def test_densities_integrate_to_one_and_samples_follow_them(law, key):
    """Scores of the samples under the distribution function by quadrature; planted: wider."""
    raw, grid = numbers(law), np.linspace(-12, 12, 20_001)
    density = np.exp(np.asarray(law.log_prob(jnp.asarray(grid[:, None]), raw[None]), float))
    cdf = np.cumsum(density) * (grid[1] - grid[0])
    np.testing.assert_allclose(cdf[-1], 1, atol=1e-5)
    squares = []
    for temperature in (1.0, 1.1):
        x = np.asarray(drawn(law, key, raw, temperature))[:, 0]
        z = scipy.stats.norm.ppf(np.clip(np.interp(x, grid, cdf), 1e-9, 1 - 1e-9))
        squares.append(scipy.stats.chi2.sf(np.sum(z**2), N))
    assert squares[0] > FALSE_ALARM > squares[1]


def test_uniform_at_zero_and_nan_outside():
    law = laws.categorical(256)
    log_p = law.log_prob(jnp.array([[0], [255], [256], [-1]]), jnp.zeros((4, 256)))
    np.testing.assert_allclose(log_p[:2], -np.log(256), rtol=1e-6)
    assert np.isnan(log_p[2:]).all()


def test_greedy_takes_the_most_probable():
    for law in DISCRETE.values():
        raw, key = numbers(law), jax.random.key(0)
        x = law.sample(key, raw, Decoding(temperature=0.0))
        assert np.array_equal(x, law.sample(jax.random.key(1), raw, Decoding(temperature=0.0)))
    law = laws.gaussian_mixture(2)
    raw = jnp.array([0.0, 1.0, 5.0, 7.0, 0.0, 0.0])
    assert float(law.sample(key, raw, Decoding(temperature=0.0))[0]) == 7.0 + 1.0


@pytest.mark.parametrize("make", [laws.categorical, laws.gaussian_mixture, laws.logistic_mixture])
def test_bad_sizes(make):
    with pytest.raises(ConfigError, match="must be an integer"):
        make(0)
