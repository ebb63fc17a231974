"""The reverse equation keeps a mixture's marginals, whatever its diffusion rate.

60,000 exact draws of x_t on the line go from one time to another; their quantiles under the exact
law must be uniform. False alarms 5e-7 a test; a variance off by 5 % is missed once in 1,000. The
200 steps' own error is below what is caught.
"""

import exact
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from gen_jax import diffusion, paths
from gen_jax.diffusion.sampler import Stepper
from gen_jax.randomness import normal, sample_keys

N, STEPS = 60_000, 200
MIXTURE = exact.mixture_1d()


def p_value(key, path, stepper, start=0.6, stop=0.45, steps=STEPS):
    """Of the end states being draws of x_stop."""
    start, stop = jnp.array(start), jnp.array(stop)
    key_data, key_noise, key_run = jax.random.split(key, 3)
    x = path.alpha(start) * exact.mixture_sample(key_data, MIXTURE, N)
    x += path.sigma(start) * jax.random.normal(key_noise, x.shape)
    denoise = diffusion.mixture_denoiser(*MIXTURE, path)
    times = jnp.linspace(start, stop, steps + 1)
    run = jax.jit(lambda key, x: diffusion.sample(key, denoise, path, x, times, stepper))
    end = run(key_run, x)
    quantile = exact.mixture_cdf_1d(MIXTURE, path.alpha(stop), path.sigma(stop), end[:, 0])
    quantile = np.clip(np.asarray(quantile, np.float64), 1e-12, 1 - 1e-12)
    return exact.standard_normal_p_value(stats.norm.ppf(quantile))


RATES = {
    "bounded": (diffusion.bounded_rate, "linear"),
    "score_sde": (diffusion.score_sde_rate, "vp"),
    "constant": (lambda c: jnp.full_like(c.alpha, 1.0), "cosine"),
    "zero": (lambda c: jnp.zeros_like(c.alpha), "linear"),
}


@pytest.mark.parametrize("rate", RATES)
def test_any_rate_keeps_the_marginals(key, rate):
    function, path = RATES[rate]
    assert p_value(key, paths.PATHS[path](), diffusion.euler_maruyama(function)) > 5e-7


def test_the_sde_form_of_dpm_solver_has_the_right_marginals(key):
    assert p_value(key, paths.linear(), diffusion.dpm_solver_pp(eta=1.0)) > 5e-7


def mutant(score=0.5, noise=1.0, reuse=False):
    """Euler-Maruyama at the rate g^2 with constants changed, or one draw for all steps."""

    def step(keys, denoise, path, x, carry, transition):
        c = transition.now
        u = paths.velocity(denoise, path)(x, jnp.full(x.shape[:1], transition.t))
        s = paths.convert(u, x, c, "velocity", "score")
        w, dt = 4.0, transition.s - transition.t
        z = normal(sample_keys(jax.random.key(0), N) if reuse else keys, x.shape[1:])
        return x + (u - score * w * s) * dt + jnp.sqrt(-noise * w * dt) * z, carry

    return Stepper(step, stochastic=True)


BUGS = {
    "none": {},
    "score without its half": {"score": 1.0},
    "variance 5 % off": {"noise": 1.05},
    "reused key": {"reuse": True},
}


@pytest.mark.parametrize("bug", BUGS)
def test_planted_bugs_are_caught(key, bug):
    p = p_value(key, paths.linear(), mutant(**BUGS[bug]))
    assert (p > 5e-7) == (bug == "none")
