"""Dual averaging reaches its target acceptance, and its update is the paper's."""

import chains
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gen_jax import mcmc
from gen_jax.errors import ConfigError
from gen_jax.mcmc import adaptation
from gen_jax.mcmc.adaptation import DualAverage, dual_average

MAKE = {
    "random_walk": lambda f, h: mcmc.random_walk(f, h),
    "mala": lambda f, h: mcmc.mala(f, h),
    "hmc": lambda f, h: mcmc.hmc(f, h, 4),
}


def ill_scaled(x):
    return -0.5 * jnp.sum((x / jnp.array([1.0, 0.3, 3.0, 1.0])) ** 2, 1)


@pytest.mark.parametrize("initial", [1e-3, 10.0])
@pytest.mark.parametrize("name", MAKE)
def test_acceptance_reaches_its_target(name, initial, key):
    """Measured after adaptation, with the step size fixed; from a start far too small or large."""
    x = jax.random.normal(key, (200, 4)) * jnp.array([1.0, 0.3, 3.0, 1.0])
    make, target = lambda h: MAKE[name](ill_scaled, h), mcmc.TARGET_ACCEPTANCE[name]
    adapted = mcmc.adapt_step_size(key, make, x, 400, target=target, initial=initial)
    assert adapted.trace.shape == (400,)
    assert float(adapted.trace[0]) == pytest.approx(initial)
    kernel = make(adapted.step_size)
    _, info = mcmc.run(jax.random.fold_in(key, 1), kernel, adapted.x, 100)
    assert float(info.acceptance.mean()) == pytest.approx(target, abs=0.05)


def test_updates_are_the_papers():
    """hoffman2014 eq. 6 with mu = log(10 e), gamma 0.05, t0 10, kappa 0.75, in plain numbers."""
    rng, start = np.random.default_rng(0), np.log(0.2)
    state = DualAverage(*map(jnp.float32, (start, 0.0, 0.0, 0.0)))
    h, log_average = 0.0, 0.0
    for t in range(1, 30):
        acceptance = rng.uniform()
        state = dual_average(state, jnp.float32(acceptance), 0.8, jnp.float32(start))
        h = (1 - 1 / (t + 10)) * h + (0.8 - acceptance) / (t + 10)
        log_step = np.log(10 * 0.2) - np.sqrt(t) / 0.05 * h
        log_average = t**-0.75 * log_step + (1 - t**-0.75) * log_average
        np.testing.assert_allclose(state[:2], [log_step, log_average], rtol=2e-4, atol=1e-4)


def isotropic(x):
    return -0.5 * jnp.sum(x**2, 1)


def tempered_hmc(f, h):
    return mcmc.parallel_tempering(f, [1.0, 0.5], lambda f: mcmc.hmc(f, h, 8))


@pytest.mark.parametrize(
    ("make", "dim"),
    [
        (lambda f, h: mcmc.hmc(f, h, 8), 30),
        (lambda f, h: mcmc.hmc(f, h, 16), 30),
        (lambda f, h: mcmc.hmc(f, h, 4), 2),
        (tempered_hmc, 30),
    ],
    ids=["8 steps", "16 steps", "plane", "tempered"],
)
def test_adaptation_does_not_settle_on_the_period(make, dim, key):
    """N(0, I): equal steps end at 8 h = 2 pi, acceptance 0.99 and R-hat of 3.6 to 10."""
    x = 5 * jax.random.normal(key, (32, dim))
    kernel = lambda h: make(isotropic, h)
    adapted = mcmc.adapt_step_size(key, kernel, x, 200, target=0.8)
    options = {"burn_in": 20, "thin": 2}
    samples, info = mcmc.run(key, kernel(adapted.step_size), adapted.x, 200, **options)
    assert float(info.acceptance.mean()) == pytest.approx(0.8, abs=0.05)
    assert float(mcmc.split_r_hat(samples).max()) < 1.02
    assert float(mcmc.split_r_hat(samples**2).max()) < 1.02


@pytest.mark.parametrize("turns", [0.5, 1, 2])
def test_no_number_of_turns_keeps_chains_where_they_are(turns, key):
    """Steps of exactly half, one and two periods: without jitter |x| hardly moves."""
    angle = 2 * np.pi * turns / 16
    h = 2 * np.sin(angle / 2)  # leapfrog turns by 2 asin(h / 2) in every step
    x = jax.random.normal(key, (200, 2))
    still, moving = (mcmc.hmc(isotropic, h, 16, jitter=j) for j in (0.0, 0.5))
    correlation = lambda kernel: np.corrcoef(
        np.sum(x**2, 1), np.sum(mcmc.run(key, kernel, x, 1)[0][0] ** 2, 1)
    )[0, 1]
    assert correlation(still) > 0.99
    assert correlation(moving) < 0.75


SCALES = np.array([1e-3, 0.1, 1.0, 30.0, 1e3])
OFF = np.array([5.0, 0.0, -3.0, 2.0, 700.0])


def ill_placed(x):
    return -0.5 * jnp.sum(((x - OFF) / SCALES) ** 2, 1)


LEARN = {
    "random_walk": lambda h, s: mcmc.random_walk(ill_placed, h, scale=s),
    "mala": lambda h, s: mcmc.mala(ill_placed, h, scale=s),
    "hmc": lambda h, s: mcmc.hmc(ill_placed, h, 4, scale=s),
}


@pytest.mark.parametrize("name", LEARN)
def test_scales_of_six_decades_are_learnt(name, key):
    """From N(0, I), 5000 deviations off in one coordinate; with one scale R-hat is 22."""
    x, target = jax.random.normal(key, (64, 5)), mcmc.TARGET_ACCEPTANCE[name]
    steps = 1000 if name == "random_walk" else 300
    adapted = mcmc.adapt_step_size(key, LEARN[name], x, steps, target=target, learn_scale=True)
    tolerance = 0.3 if name == "random_walk" else 0.02  # gradients of a Gaussian say it exactly
    np.testing.assert_allclose(adapted.scale, SCALES, rtol=tolerance)
    kernel = LEARN[name](adapted.step_size, adapted.scale)
    samples, info = mcmc.run(key, kernel, adapted.x, 300, thin=10)
    assert float(info.acceptance.mean()) == pytest.approx(target, abs=0.05)
    assert float(mcmc.split_r_hat(samples).max()) < 1.03
    z = (np.asarray(samples, np.float64) - OFF) / SCALES
    assert np.abs(z.mean((0, 1))).max() < 0.2
    assert np.abs(z.std((0, 1)) - 1).max() < 0.1


def test_a_coordinate_that_does_not_matter_keeps_its_scale(key):
    """Its gradient is 0: the scale is that of the positions, or 1 where these are equal."""
    flat = lambda x: -0.5 * jnp.sum(x[:, :1] ** 2, 1)
    make = lambda h, s: mcmc.hmc(flat, h, 2, scale=s)
    x = jnp.zeros((16, 2))
    adapted = mcmc.adapt_step_size(key, make, x, 40, target=0.8, learn_scale=True)
    assert np.isfinite(adapted.scale).all()
    assert float(adapted.scale.min()) > 0
    state = mcmc.ChainState(x, flat(x), jnp.zeros((16, 2)))
    start = adaptation.start_tuning(state, jnp.float32(0))
    after = adaptation.tune(start, jnp.float32(1), state, 0.8, jnp.float32(0), jnp.array(True))
    np.testing.assert_array_equal(after.scale, [1, 1])


def test_windows_end_before_the_last_quarter():
    for steps, count in ((400, 64), (400, 1), (50, 256), (8, 4)):
        ends = np.flatnonzero(adaptation.window_ends(steps, count)) + 1
        assert ends[-1] == 3 * steps // 4
        assert np.all(ends[:-1] <= 3 * steps // 8)
    assert not adaptation.window_ends(7, 4).any()


def test_a_chain_with_its_fixed_step_size_is_exact(key):
    law = chains.bent_law()
    make = lambda h: mcmc.hmc(law.log_density, h, 3)
    adapted = mcmc.adapt_step_size(key, make, law.sample(key, 100), 200, target=0.8)
    assert chains.exact_start(key, make(adapted.step_size), law) > chains.FALSE_ALARM


def test_bad_options_are_refused(key):
    make, x = lambda h: mcmc.random_walk(ill_scaled, h), jnp.zeros((2, 4))
    with pytest.raises(ConfigError, match="target=1.5"):
        mcmc.adapt_step_size(key, make, x, 5, target=1.5)
    with pytest.raises(ConfigError, match="num_steps=5"):
        mcmc.adapt_step_size(key, make, x, 5, target=0.5, learn_scale=True)
    with pytest.raises(ConfigError, match="step_size=0"):
        mcmc.adapt_step_size(key, make, x, 5, target=0.5, initial=0)
    with pytest.raises(ConfigError, match="at the start of 2 of 2 chains"):
        mcmc.adapt_step_size(key, make, x + jnp.nan, 5, target=0.5)
