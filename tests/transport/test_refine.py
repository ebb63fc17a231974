"""Rejection refinement: exact under its bound, closer above it, and honest about both."""

import exact
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.scipy.stats import norm

from gen_jax.errors import ConfigError
from gen_jax.metrics import wasserstein_1d
from gen_jax.randomness import normal, sample_keys
from gen_jax.transport import refine

N = 60_000


def gaussian(mean, std):
    """(proposals, log-density) of N(mean, std^2) on [n, 1]."""

    def propose(keys):
        x = mean + std * normal(keys, (1,))
        return x, norm.logpdf(x[:, 0], mean, std)

    return propose


def log_target(x):
    return norm.logpdf(x[:, 0]) + jnp.log(5.0)


def test_exact_where_the_bound_holds(key):
    """p / q <= 1.4 for q = N(0, 1.4^2); a rate of 1 / 1.5 whatever the constant of p."""
    x, done = refine(key, gaussian(0.0, 1.4), log_target, jnp.log(5.0), N)
    assert done.above == done.unfilled == 0
    assert abs(done.acceptance - 1 / 1.5) < 5 * np.sqrt(2 / 9 / N)
    assert exact.standard_normal_p_value(x) > 5e-7
    # Planted: without the rejection the variance is twice as large.
    plain = gaussian(0.0, 1.4)(sample_keys(key, N))[0]
    assert exact.standard_normal_p_value(plain) < 5e-7


def test_closer_though_biased_where_it_does_not(key):
    propose = gaussian(1.0, 0.8)
    x, done = jax.jit(lambda key: refine(key, propose, log_target, jnp.log(5.0), N))(key)
    assert 0.05 < done.above < 0.5
    truth = jax.random.normal(jax.random.key(1), (N,))
    before = wasserstein_1d(propose(sample_keys(key, N))[0][:, 0], truth)
    assert wasserstein_1d(x[:, 0], truth) < 0.7 * before


def test_a_sample_does_not_depend_on_its_batch(key):
    """Nor on how many others are left: of 2,000 a seventh is accepted in each round."""
    keys, options = sample_keys(key, 2000), {"margin": 7.0, "max_rounds": 1000}

    @jax.jit
    def run(keys):
        propose = gaussian(0.0, 1.4)
        return refine(keys, propose, log_target, jnp.log(5.0), len(keys), **options)

    x, done = run(keys)
    assert done.unfilled == 0
    assert abs(done.acceptance - 1 / 7) < 5 * np.sqrt(6 / 49 / 2000)
    for start in (4, 700, 1990):
        few, _ = run(keys[start : start + 10])
        np.testing.assert_allclose(few, x[start : start + 10], rtol=1e-6)


def test_rounds_end_and_what_is_unfilled_is_reported(key):
    far = lambda x: norm.logpdf(x[:, 0], 50.0, 0.1)
    x, done = refine(key, gaussian(0.0, 1.0), far, 0.0, 10, max_rounds=3)
    assert done.unfilled == 1
    assert np.isfinite(x).all()


def test_a_wide_margin_is_given_the_rounds_it_needs(key):
    """At 1 / 40 a round a hundred rounds would leave 8 per cent of the samples without one."""
    _, done = refine(key, gaussian(0.0, 1.4), log_target, jnp.log(5.0), 200, margin=40.0)
    assert done.unfilled < 0.01


@pytest.mark.parametrize("wrong", [lambda f: f[:, None], jnp.sum, lambda f: f.astype(int)])
def test_densities_of_the_wrong_shape_are_refused(key, wrong):
    """[n, 1] would broadcast to [n, n], and a sum [] would pass unseen."""
    reported, right = "returned shape .* allowed: one number per point", gaussian(0.0, 1.4)

    def propose(keys):
        x, log_q = right(keys)
        return x, wrong(log_q)

    with pytest.raises(ConfigError, match=f"log_density {reported}"):
        refine(key, right, lambda x: wrong(log_target(x)), 0.0, 4)
    with pytest.raises(ConfigError, match=f"log q of propose {reported}"):
        refine(key, propose, log_target, 0.0, 4)


@pytest.mark.parametrize("options", [{"margin": 0.0}, {"max_rounds": 0}])
def test_bad_options(key, options):
    with pytest.raises(ConfigError, match=next(iter(options))):
        refine(key, gaussian(0.0, 1.0), log_target, 0.0, 4, **options)
