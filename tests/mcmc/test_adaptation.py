"""Dual averaging reaches its target acceptance, and its update is the paper's."""

import chains
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gen_jax import mcmc
from gen_jax.errors import ConfigError
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


def test_a_chain_with_its_fixed_step_size_is_exact(key):
    law = chains.bent_law()
    make = lambda h: mcmc.hmc(law.log_density, h, 3)
    adapted = mcmc.adapt_step_size(key, make, law.sample(key, 100), 200, target=0.8)
    assert chains.exact_start(key, make(adapted.step_size), law) > chains.FALSE_ALARM


def test_bad_options_are_refused(key):
    make, x = lambda h: mcmc.random_walk(ill_scaled, h), jnp.zeros((2, 4))
    with pytest.raises(ConfigError, match="target=1.5"):
        mcmc.adapt_step_size(key, make, x, 5, target=1.5)
    with pytest.raises(ConfigError, match="step_size=0"):
        mcmc.adapt_step_size(key, make, x, 5, target=0.5, initial=0)
    with pytest.raises(ConfigError, match="at the start of 2 of 2 chains"):
        mcmc.adapt_step_size(key, make, x + jnp.nan, 5, target=0.5)
