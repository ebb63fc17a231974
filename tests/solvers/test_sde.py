"""Exact solutions on one Brownian path: with drift 0 and diffusion 1, `integrate` returns it."""

import exact
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gen_jax.errors import ConfigError
from gen_jax.randomness import sample_keys
from gen_jax.solvers import SOLVERS, sde
from gen_jax.solvers.ode import as_grid

DRIFT, DIFFUSION = 0.4, 0.6
STRONG_ORDER = {"euler_maruyama": 0.5, "milstein": 1.0, "stochastic_heun": 1.0}
FALSE_ALARM = 5e-7


def brownian(key, n, ts, trajectory=False):
    return sde.integrate(
        key, lambda x, t: 0.0, lambda x, t: 1.0, jnp.zeros(n), ts, trajectory=trajectory
    )


def geometric_errors(key, method, steps, falling, n=20_000, diffusion=DIFFUSION):
    """Mean distance to the exact Ito solution at the far end, for each number of steps."""
    errors = []
    for num in steps:
        ts = jnp.linspace(0, 1, num + 1)[:: -1 if falling else 1]
        last = sde.integrate(
            key, lambda x, t: DRIFT * x, lambda x, t: diffusion * x, jnp.ones(n), ts, method
        )
        sign = -1 if falling else 1  # going back, the drift acts with -dt
        path = brownian(key, n, ts)
        truth = exact.geometric_brownian(1.0, sign * DRIFT, diffusion, 1.0, path)
        errors.append(float(jnp.mean(jnp.abs(last - truth))))
    return np.array(errors)


def test_strong_orders_are_listed_for_every_method():
    assert set(STRONG_ORDER) == set(sde.SOLVERS)


@pytest.mark.parametrize("falling", [False, True])
@pytest.mark.parametrize("method", STRONG_ORDER)
def test_strong_order_on_geometric_brownian_motion(x64, key, method, falling):
    # Over 12 seeds the slope's standard deviation is 0.006 at most and its bias 0.02: the window is
    # more than ten standard deviations wide.
    steps = [32, 64, 128, 256]
    errors = geometric_errors(key, method, steps, falling)
    slope = -np.polyfit(np.log(steps), np.log(errors), 1)[0]
    assert abs(slope - STRONG_ORDER[method]) < 0.1


def test_heun_without_the_ito_correction_finds_another_solution(x64, key):
    # Planted bug: the plain Heun step solves the Stratonovich equation, however small the step.
    increment = lambda x, dw: DRIFT * x / 256 + DIFFUSION * x * dw

    def plain(x, dw):
        first = increment(x, dw)
        return x + 0.5 * (first + increment(x + first, dw)), None

    path = brownian(key, 2_000, jnp.linspace(0, 1, 257), trajectory=True)
    x, _ = jax.lax.scan(plain, jnp.ones(2_000), jnp.diff(path, axis=0))
    stratonovich = exact.geometric_brownian(1.0, DRIFT + DIFFUSION**2 / 2, DIFFUSION, 1.0, path[-1])
    ito = exact.geometric_brownian(1.0, DRIFT, DIFFUSION, 1.0, path[-1])
    assert jnp.sqrt(jnp.mean((x - stratonovich) ** 2)) < 0.01
    assert jnp.sqrt(jnp.mean((x - ito) ** 2)) > 0.3


def ornstein_uhlenbeck_scheme(method, mean, variance, rate, diffusion, h, n):
    """Exact mean and variance of the scheme itself, which is linear with Gaussian noise."""
    factor, gain = 1 - rate * h, 1.0
    if method == "stochastic_heun":
        factor, gain = 1 - rate * h + (rate * h) ** 2 / 2, 1 - rate * h / 2
    for _ in range(n):
        mean, variance = factor * mean, factor**2 * variance + (gain * diffusion) ** 2 * h
    return mean, variance


@pytest.mark.parametrize("method", sde.SOLVERS)
def test_ornstein_uhlenbeck_law_of_the_scheme(method, key):
    # 60,000 draws; false alarm 5e-7 each; a variance off by 5 % is caught with probability > 0.999.
    rate, diffusion, n = 1.5, 0.8, 60_000
    run = lambda noise: sde.integrate(
        key,
        lambda x, t: -rate * x,
        lambda x, t: noise,
        jnp.full((n,), 2.0),
        jnp.linspace(0, 1, 11),
        method,
    )
    mean, variance = ornstein_uhlenbeck_scheme(method, 2.0, 0.0, rate, diffusion, 0.1, 10)
    score = lambda x: exact.standard_normal_p_value((x - mean) / np.sqrt(variance))
    assert score(run(diffusion)) > FALSE_ALARM
    assert score(run(diffusion * 1.05**0.5)) < FALSE_ALARM  # planted: variance 5 % too large


@pytest.mark.parametrize("method", sde.SOLVERS)
def test_schemes_moments_approach_the_equations(method):
    rate, diffusion = 1.5, 0.8
    truth = exact.ornstein_uhlenbeck_moments(2.0, 0.0, rate, diffusion, 1.0)
    law = lambda n: np.array(ornstein_uhlenbeck_scheme(method, 2.0, 0.0, rate, diffusion, 1 / n, n))
    error = [np.abs(law(n) - truth) for n in (64, 128)]
    order = 2.0 if method == "stochastic_heun" else 1.0  # additive noise: Heun gains one
    np.testing.assert_allclose(np.log2(error[0] / error[1]), order, atol=0.1)


@pytest.mark.parametrize("method", sde.SOLVERS)
def test_geometric_mean_is_itos(method, key):
    # E X_1 = exp(drift). The standard deviation is 0.98, so 5.03 standard errors (5e-7) of 40,000
    # draws are 0.0247, and the weak error drift^2 h / 2 exp(drift) is 0.001. Stratonovich's mean is
    # 0.29 off.
    x = sde.integrate(
        key,
        lambda x, t: DRIFT * x,
        lambda x, t: DIFFUSION * x,
        jnp.ones(40_000),
        jnp.linspace(0, 1, 129),
        method,
    )
    assert abs(float(x.mean()) - np.exp(DRIFT)) < 0.0257


def test_falling_times_add_noise_of_positive_variance(key):
    n, ts = 60_000, jnp.array([1.0, 0.7, 0.1, 0.0])
    x = sde.integrate(key, lambda x, t: 2.0, lambda x, t: 0.5, jnp.zeros(n), ts)
    assert exact.standard_normal_p_value((x + 2.0) / 0.5) > FALSE_ALARM


@pytest.mark.parametrize("method", sde.SOLVERS)
def test_samples_do_not_depend_on_the_batch(method, key):
    x = jnp.linspace(0.5, 1.5, 12).reshape(6, 2)
    ts = jnp.linspace(1, 0, 9)
    run = lambda key, x: sde.integrate(
        key, lambda x, t: -x, lambda x, t: 0.3 * x + t, x, ts, method
    )
    whole = run(key, x)
    np.testing.assert_allclose(run(key, x[:2]), whole[:2], rtol=1e-6)
    keys = sample_keys(key, 6)
    np.testing.assert_allclose(run(keys[4:5], x[4:5])[0], whole[4], rtol=1e-6)
    assert len(np.unique(np.asarray(whole))) == whole.size  # no two coordinates share noise


@pytest.mark.parametrize("method", sde.SOLVERS)
def test_trajectory_jit_and_one_trace(method, key, count_traces):
    x, ts = jnp.ones((3, 2)), jnp.linspace(0, 1, 6)
    solve = count_traces(
        lambda key, x, ts: SOLVERS[method](
            key, lambda x, t: -x, lambda x, t: 0.2 * x, x, ts, trajectory=True
        )
    )
    compiled = jax.jit(solve)
    states = [compiled(jax.random.fold_in(key, i), x, ts) for i in range(3)]
    assert solve.calls == 1
    assert states[0].shape == (6, 3, 2)
    np.testing.assert_array_equal(states[0][0], x)
    assert not np.allclose(states[0][-1], states[1][-1])
    last = sde.integrate(
        jax.random.fold_in(key, 2), lambda x, t: -x, lambda x, t: 0.2 * x, x, ts, method
    )
    np.testing.assert_allclose(states[2][-1], last, rtol=1e-5)


@pytest.mark.parametrize("method", sde.SOLVERS)
def test_without_noise_it_is_the_ode(x64, method, key):
    x = sde.integrate(
        key, lambda x, t: -x, lambda x, t: 0.0, jnp.ones(1), jnp.linspace(0, 1, 101), method
    )
    factor = 1 - 0.01 + (0.01**2 / 2 if method == "stochastic_heun" else 0)
    np.testing.assert_allclose(x, factor**100, rtol=1e-12)


def test_bad_arguments_are_refused(key):
    zero = lambda x, t: 0.0
    with pytest.raises(ConfigError, match="method='milstien' is unknown; did you mean 'milstein'"):
        sde.integrate(key, zero, zero, jnp.ones(2), jnp.linspace(0, 1, 3), "milstien")
    with pytest.raises(ConfigError, match=r"keys of shape \[3\]"):
        sde.integrate(jax.random.split(key, 3), zero, zero, jnp.ones(2), jnp.linspace(0, 1, 3))


@pytest.mark.parametrize(("drift", "form"), [((5, 3, 2), "shape .5, 3, 2."), ((4,), "shape .4,.")])
def test_a_drift_that_does_not_fit_is_named(key, drift, form):
    one = lambda x, t: jnp.ones(drift)
    with pytest.raises(ConfigError, match=f"drift returned {form}, allowed: what broadcasts"):
        sde.integrate(key, one, lambda x, t: 1.0, jnp.ones((3, 2)), jnp.linspace(0, 1, 3))


def test_times_may_be_a_list():
    np.testing.assert_allclose(as_grid([0, 0.5, 1]), [0, 0.5, 1])
    with pytest.raises(ConfigError, match=r"ts has shape \(\), allowed: \[n \+ 1\]"):
        as_grid(0.5)
