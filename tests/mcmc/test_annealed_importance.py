"""log Z against closed forms and quadrature, with errors that mean what they say."""

import chains
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.scipy.stats import norm

from gen_jax import mcmc
from gen_jax.errors import ConfigError
from gen_jax.mcmc.annealed_importance import summarise
from gen_jax.sampling import make_target

LEVELS = np.linspace(0, 1, 41)
MAKE = {
    "random_walk": lambda f: mcmc.random_walk(f, 0.7),
    "hmc": lambda f: mcmc.hmc(f, 0.25, 3),
}


def wide(x):
    """log N(x; 0, 9 I)."""
    return norm.logpdf(x, 0, 3).sum(1)


def annealed(key, log_density, name="hmc", n=4000, dim=2, levels=LEVELS, **options):
    x = 3 * jax.random.normal(key, (n, dim))
    key = jax.random.fold_in(key, 1)
    return mcmc.annealed_importance(key, wide, log_density, x, levels, MAKE[name], **options)


@pytest.mark.parametrize("name", MAKE)
def test_known_normalizers(name, key):
    """Within 5.1 standard errors (5e-7) of log Z; the double wells' is by quadrature."""
    target = make_target("many_well", dim=2)
    result = annealed(key, target.log_density, name)
    assert float(result.log_normalizer.error) < 0.06
    error = float(result.log_normalizer.value) - target.log_normalizer
    assert abs(error) < 5.1 * float(result.log_normalizer.error)
    assert abs(error + 0.7) > 5.1 * float(
        result.log_normalizer.error
    )  # planted: half the mass missing
    weights = np.exp(result.log_weights - result.log_weights.max())
    right = (np.asarray(result.x)[:, 0] > 0) @ weights / weights.sum()
    exact = np.asarray(target.sample(key, 20_000))[:, 0] > 0
    assert right == pytest.approx(exact.mean(), abs=5.1 * np.sqrt(0.25 / 500))


def test_standard_errors_cover_the_truth(x64, key):
    """40 repeats: the z-scores of log Z are about N(0, 1), here |mean| < 0.8, deviation near 1."""
    f = lambda x: -0.5 * jnp.sum(((x - 1.5) / 0.6) ** 2, 1)
    truth = np.log(2 * np.pi * 0.36)
    one = jax.jit(lambda i: annealed(jax.random.fold_in(key, i), f, "random_walk", 400))
    results = [one(i) for i in range(40)]
    z = np.array([(r.log_normalizer.value - truth) / r.log_normalizer.error for r in results])
    assert abs(z.mean()) < 0.8
    assert 0.6 < z.std() < 1.5


def test_backwards_it_bounds_from_above(key):
    """From exact samples of the target to the Gaussian: the result estimates -log Z."""
    target = make_target("many_well", dim=2)
    x = target.sample(key, 4000)
    back = mcmc.annealed_importance(key, target.log_density, wide, x, LEVELS, MAKE["hmc"])
    error = -float(back.log_normalizer.value) - target.log_normalizer
    assert abs(error) < 5.1 * float(back.log_normalizer.error)


def test_two_levels_are_importance_sampling(x64, key):
    """Without levels between, the weights are f_1 / f_0 at the given points, which stay."""
    f = lambda x: -jnp.sum(x**2, 1)
    x = 3 * jax.random.normal(key, (50, 2))
    result = annealed(key, f, n=50, levels=[0, 1])
    np.testing.assert_array_equal(result.x, x)
    np.testing.assert_allclose(result.log_weights, f(x) - wide(x), rtol=1e-12)
    w = np.exp(result.log_weights)
    np.testing.assert_allclose(result.log_normalizer.value, np.log(w.mean()), rtol=1e-12)
    np.testing.assert_allclose(result.effective_sample_size, w.sum() ** 2 / (w**2).sum())
    relative = w.std(ddof=1) / np.sqrt(50) / w.mean()
    np.testing.assert_allclose(result.log_normalizer.error, relative, rtol=1e-9)


def test_a_heavy_tail_is_seen_where_the_effective_size_does_not(key):
    """From N(0, I) to N(0, 3 I) in one step the weights have no variance, k = 2/3 in one dimension.

    The error of log Z is then no standard error. The other way k is below 0.
    """
    narrow, broad = (lambda x, v=v: norm.logpdf(x, 0, np.sqrt(v)).sum(1) for v in (1.0, 3.0))
    make = lambda f: mcmc.random_walk(f, 0.7)
    x = jax.random.normal(key, (2000, 4))
    bad = mcmc.annealed_importance(key, narrow, broad, x, [0, 1], make)
    good = mcmc.annealed_importance(key, broad, narrow, np.sqrt(3) * x, [0, 1], make)
    assert float(bad.pareto_k) > 0.5
    assert float(good.pareto_k) < 0.2
    assert float(good.effective_sample_size) < 0.5 * 2000  # looks worse than it is


class Bell:
    """log N(x; mean, I) up to a constant; the mean can change, and there is no hash."""

    __hash__ = None

    def __init__(self, mean):
        self.mean = mean

    def __call__(self, x):
        return -0.5 * jnp.sum((x - self.mean) ** 2, 1)


@pytest.mark.parametrize("kind", ["closure", "bound method", "no hash"])
def test_what_a_density_reads_is_read_at_each_call(key, kind):
    bell = Bell(0.0)
    density = {"closure": lambda x: bell(x), "bound method": bell.__call__, "no hash": bell}[kind]
    run = lambda f: annealed(key, f, n=8, levels=[0, 0.5, 1])
    before = run(density).log_weights
    bell.mean = 2.0
    after = run(density).log_weights
    np.testing.assert_allclose(after, run(Bell(2.0)).log_weights, rtol=1e-5, atol=1e-5)
    assert np.abs(after - before).max() > 0.1


def test_degenerate_and_bad_weights():
    result = summarise(None, jnp.array([0.0, -jnp.inf, jnp.nan, 0.0]))
    assert float(result.log_normalizer.value) == pytest.approx(np.log(0.5))
    assert float(result.effective_sample_size) == pytest.approx(2)
    assert int(result.invalid) == 1
    shifted = summarise(None, jnp.full(10, 500.0))
    assert float(shifted.log_normalizer.value) == pytest.approx(500)
    assert float(shifted.log_normalizer.error) == pytest.approx(0, abs=1e-3)


@pytest.mark.parametrize("levels", [[0, 0.5], [0.5, 1], [0, 0.7, 0.3, 1], [[0, 1]], [1]])
def test_levels_must_rise_from_0_to_1(key, levels):
    with pytest.raises(ConfigError, match="rise from 0 to 1"):
        annealed(key, chains.bent_law().log_density, levels=levels)
