"""One transition of each sampler against the formula of its paper, with the same noise; float64."""

import importlib

import exact
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gen_jax import diffusion, paths
from gen_jax.errors import ConfigError
from gen_jax.randomness import fold_in, normal, sample_keys

N = 6


def problem(path, key, t):
    """(denoise, x at time t, the noise that the first transition will draw)."""
    key_data, key_noise = jax.random.split(jax.random.fold_in(key, 1))
    x0 = exact.mixture_sample(key_data, exact.mixture_2d(), N)
    x = path.alpha(t) * x0 + path.sigma(t) * jax.random.normal(key_noise, x0.shape, x0.dtype)
    z = normal(fold_in(sample_keys(key, N), 0), (2,), x.dtype)
    return exact.mixture_denoiser(exact.mixture_2d(), path), x, z


def one_step(key, denoise, path, x, t, s, stepper):
    return diffusion.sample(key, denoise, path, x, jnp.stack([t, s]), stepper)


def close(a, b, tolerance=1e-10):
    np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("name", paths.PATHS)
def test_the_packages_denoiser_is_the_posterior_mean(x64, key, name):
    path, t = paths.PATHS[name](), jnp.array([0.05, 0.2, 0.4, 0.6, 0.8, 0.95])
    x = path.alpha(t)[:, None] * exact.mixture_sample(key, exact.mixture_2d(), N)
    x += path.sigma(t)[:, None] * jax.random.normal(key, x.shape, x.dtype)
    found = diffusion.mixture_denoiser(*exact.mixture_2d(), path)(x, t)
    close(found, exact.mixture_denoiser(exact.mixture_2d(), path)(x, t))
    score = lambda x, t: exact.mixture_score(exact.mixture_2d(), path.alpha(t), path.sigma(t), x)
    a, s = path.alpha(t)[:, None], path.sigma(t)[:, None]
    close(found, (x + s**2 * jax.vmap(score)(x, t)) / a, 1e-8)  # Tweedie


@pytest.mark.parametrize("make", [paths.linear_betas, paths.cosine_betas])
@pytest.mark.parametrize("k", [1, 400, 998])
def test_ddim_eta_1_is_the_ddpm_posterior_step(x64, key, make, k):
    betas = make()
    path = paths.ddpm(betas)
    beta, bar = np.asarray(betas, float), np.cumprod(1 - np.asarray(betas, float))
    t, s = jnp.array((k + 1) / 1000), jnp.array(k / 1000)
    denoise, x, z = problem(path, key, t)
    x0 = denoise(x, t)
    # ho2020 eq. 6 and 7, in terms of beta_k and the product of 1 - beta.
    mean = np.sqrt(bar[k - 1]) * beta[k] / (1 - bar[k]) * x0
    mean += np.sqrt(1 - beta[k]) * (1 - bar[k - 1]) / (1 - bar[k]) * x
    variance = (1 - bar[k - 1]) / (1 - bar[k]) * beta[k]
    for stepper in (diffusion.ddim(eta=1.0), diffusion.ancestral("posterior")):
        close(one_step(key, denoise, path, x, t, s, stepper), mean + np.sqrt(variance) * z)
    upper = one_step(key, denoise, path, x, t, s, diffusion.ancestral("upper"))
    close(upper, mean + np.sqrt(beta[k]) * z)
    # Planted: eta a little off, and the step before this one.
    wrong = one_step(key, denoise, path, x, t, s, diffusion.ddim(eta=0.98))
    assert np.abs(wrong - mean - np.sqrt(variance) * z).max() > 1e-5


@pytest.mark.parametrize("name", ["linear", "vp", "edm"])
def test_ddim_eta_0_is_euler_in_the_edm_variable(x64, key, name):
    path = paths.PATHS[name]()
    t, s = jnp.array(0.7), jnp.array(0.55)
    denoise, x, _ = problem(path, key, t)
    level = lambda t: path.sigma(t) / path.alpha(t)
    y = x / path.alpha(t)
    y = y + (level(s) - level(t)) * (y - denoise(x, t)) / level(t)
    close(one_step(key, denoise, path, x, t, s, diffusion.ddim()), path.alpha(s) * y)
    first = one_step(key, denoise, path, x, t, s, diffusion.dpm_solver_pp())
    close(first, path.alpha(s) * y)  # the first step of the multistep solver
    close(one_step(key, denoise, path, x, t, s, diffusion.dpm_solver_pp(1)), path.alpha(s) * y)


@pytest.mark.parametrize("name", ["ve", "edm"])
def test_backward_samplers_are_the_lectures(x64, key, name):
    path = paths.PATHS[name]()
    t, s = jnp.array(0.6), jnp.array(0.52)
    denoise, y, z = problem(path, key, t)
    now, then = path.sigma(t) ** 2, path.sigma(s) ** 2
    mean = y + (then - now) / now * (y - denoise(y, t))
    std = {
        "backward_euler_maruyama": jnp.sqrt(now - then),  # algorithm 3
        "backward_posterior": jnp.sqrt(then / now * (now - then)),  # algorithm 4
    }
    for stepper, scale in std.items():
        found = one_step(key, denoise, path, y, t, s, diffusion.STEPPERS[stepper]())
        close(found, mean + scale * z)


@pytest.mark.parametrize("name", ["linear", "vp", "ve"])
def test_euler_maruyama_is_the_reverse_equation(x64, key, name):
    """Drift and noise of song2021 eq. 6 from f, g and the autodiff score, at the rate g^2."""
    path = paths.PATHS[name]()
    t, s = jnp.array(0.7), jnp.array(0.66)
    denoise, x, z = problem(path, key, t)
    f, g = paths.sde(path, t)
    score = jax.vmap(
        lambda x: exact.mixture_score(exact.mixture_2d(), path.alpha(t), path.sigma(t), x)
    )(x)
    truth = x + (f * x - g**2 * score) * (s - t) + g * jnp.sqrt(t - s) * z
    stepper = diffusion.euler_maruyama(diffusion.score_sde_rate)
    close(one_step(key, denoise, path, x, t, s, stepper), truth, 1e-9)


def test_a_rate_of_zero_is_eulers_method(x64, key):
    path, (t, s) = paths.cosine(), jnp.array([0.7, 0.66])
    denoise, x, _ = problem(path, key, t)
    ode = one_step(key, denoise, path, x, t, s, diffusion.euler())
    zero = diffusion.euler_maruyama(lambda c: jnp.zeros_like(c.alpha))
    close(one_step(key, denoise, path, x, t, s, zero), ode)
    close(ode, x + (s - t) * paths.velocity(denoise, path)(x, jnp.full(N, t)))


def test_heun_averages_the_slopes_in_the_edm_variable(x64, key):
    path, (t, s) = paths.vp(), jnp.array([0.7, 0.5])
    denoise, x, _ = problem(path, key, t)
    level = lambda t: path.sigma(t) / path.alpha(t)
    slope = lambda y, t: (y - denoise(path.alpha(t) * y, t)) / level(t)
    y, h = x / path.alpha(t), level(s) - level(t)
    first = slope(y, t)
    truth = y + h * (first + slope(y + h * first, s)) / 2
    close(one_step(key, denoise, path, x, t, s, diffusion.edm_heun()), path.alpha(s) * truth)


@pytest.mark.parametrize("name", ["linear", "vp", "edm"])
def test_churn_raises_the_noise_level_as_stated(x64, key, name):
    """With D = 0 the flow scales y by the ratio of levels, so what churn added can be read off."""
    path = paths.PATHS[name]()
    t, s = jnp.array(0.5), jnp.array(0.4)
    zero = lambda x, t: jnp.zeros_like(x)
    x = jnp.ones((N, 2))
    z = normal(fold_in(sample_keys(key, N), 0), (2,), x.dtype)
    a, level = path.alpha(t), path.sigma(t) / path.alpha(t)
    for churn, gamma in ((0.2, 0.2), (40.0, np.sqrt(2) - 1)):
        raised = (1 + gamma) * level
        y = x / a + jnp.sqrt(raised**2 - level**2) * 1.1 * z  # karras2022 algorithm 2, line 6
        end = y * (path.sigma(s) / path.alpha(s)) / raised
        stepper = diffusion.edm(churn=churn, s_noise=1.1)
        close(one_step(key, zero, path, x, t, s, stepper), path.alpha(s) * end, 1e-9)
        outside = diffusion.edm(churn=churn, s_min=1.01 * float(level))
        still = one_step(key, zero, path, x, t, s, diffusion.edm_heun())
        close(one_step(key, zero, path, x, t, s, outside), still)


def test_churn_never_goes_beyond_the_noisy_end(key):
    for name in ("linear", "vp", "ve", "edm"):
        path = paths.PATHS[name]()
        denoise = exact.gaussian_denoiser(0.0, 1.0, path)
        x = diffusion.prior(key, path, (N, 2))
        times = jnp.array([1.0, 0.999, 0.0])
        assert np.isfinite(
            diffusion.sample(key, denoise, path, x, times, diffusion.edm(90.0))
        ).all()


@pytest.mark.parametrize("name", ["linear", "ve"])
def test_langevin_steps_are_score_steps(x64, key, name):
    """Annealed Langevin and the corrector, with the autodiff score: x + d S + sqrt(2 d) z."""
    path = paths.PATHS[name]()
    t, s = jnp.array(0.7), jnp.array(0.6)
    denoise, x, _ = problem(path, key, t)
    keys = fold_in(sample_keys(key, N), 0)
    score = jax.vmap(
        lambda x: exact.mixture_score(exact.mixture_2d(), path.alpha(s), path.sigma(s), x)
    )
    move = lambda x, d, i: (
        x + d * score(x) + jnp.sqrt(2 * d) * normal(fold_in(keys, i), (2,), x.dtype)
    )
    truth, d = x * path.alpha(s) / path.alpha(t), 0.1 * path.sigma(s) ** 2
    for i in range(3):
        truth = move(truth, d, i)
    stepper = diffusion.annealed_langevin(num_inner=3, step_size=0.1)
    close(one_step(key, denoise, path, x, t, s, stepper), truth, 1e-9)

    k = (path.alpha(t) / path.alpha(s)) ** 2  # 1 - beta on DDPM's grid
    d = 2 * k * (0.2 * path.sigma(s)) ** 2
    truth = one_step(key, denoise, path, x, t, s, diffusion.ddim())
    for i in range(2):
        truth = move(truth, d, i + 1)
    stepper = diffusion.predictor_corrector(diffusion.ddim(), corrections=2, snr=0.2)
    close(one_step(key, denoise, path, x, t, s, stepper), truth, 1e-9)


def carries_velocity(name):
    """Whether a stepper integrates dx / dt to the end, on grids whose last interval is short."""
    return name == "adaptive" or diffusion.STEPPERS[name]().grid in ("flow", "stretched")


@pytest.mark.parametrize("name", [n for n in diffusion.STEPPERS if not carries_velocity(n)])
def test_the_last_step_returns_the_denoised_point(x64, key, name):
    path, t = paths.cosine(), jnp.array(0.02)  # below the levels that churn acts on
    denoise, x, _ = problem(path, key, t)
    found = one_step(key, denoise, path, x, t, jnp.array(0.0), diffusion.STEPPERS[name]())
    close(found, denoise(x, t))


@pytest.mark.parametrize(("length", "order"), [(1.0, 4), (0.5, 4), (2.0, 1), (3.6, 1)])
def test_the_order_of_adams_is_that_which_a_step_of_this_length_bears(length, order):
    """Of weights at equal steps, and at steps as long as the last one of the edm path."""
    module = importlib.import_module("gen_jax.diffusion.adams")
    nodes = jnp.array([0.4, 0.5, 0.6, 0.7])
    rows = [
        jnp.pad(module.adams_weights(nodes[:i], nodes[0], nodes[0] - 0.1 * length), (0, 4 - i))
        for i in range(1, 5)
    ]
    kept = module._steady(jnp.stack(rows), jnp.asarray(10), jnp.asarray(40))
    np.testing.assert_array_equal(kept, rows[order - 1])


@pytest.mark.parametrize(("count", "order"), [(1, 1), (2, 1), (3, 2), (5, 3), (6, 3), (7, 4)])
def test_the_order_of_adams_is_at_most_half_of_the_number_of_steps(count, order):
    module = importlib.import_module("gen_jax.diffusion.adams")
    kept = module._steady(jnp.eye(4), jnp.asarray(10), jnp.asarray(count))
    np.testing.assert_array_equal(kept, jnp.eye(4)[order - 1])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: diffusion.ddim(1.5), "eta=1.5"),
        (lambda: diffusion.ddim(-0.1), "eta=-0.1"),
        (lambda: diffusion.ancestral("lower"), "variance='lower'"),
        (lambda: diffusion.dpm_solver_pp(eta=2.0), "eta=2.0"),
        (lambda: diffusion.dpm_solver_pp(4), "order='4'"),
        (lambda: diffusion.dpm_solver_pp(3, eta=1.0), "eta=1.0"),
        (lambda: diffusion.unipc(1), "order='1'"),
        (lambda: diffusion.adams(5), "order=5"),
        (lambda: diffusion.edm(-1.0), "churn=-1.0"),
        (lambda: diffusion.edm(1.0, s_min=2.0, s_max=1.0), "s_max=1.0"),
        (lambda: diffusion.edm(1.0, s_noise=-1.0), "s_noise=-1.0"),
        (lambda: diffusion.runge_kutta("rk5"), "method='rk5'"),
        (lambda: diffusion.adaptive(rtol=0.0), "rtol=0.0"),
        (lambda: diffusion.adaptive(atol=-1.0), "atol=-1.0"),
        (lambda: diffusion.predictor_corrector(corrections=0), "corrections=0"),
        (lambda: diffusion.predictor_corrector(snr=0.0), "snr=0.0"),
        (lambda: diffusion.annealed_langevin(num_inner=0), "num_inner=0"),
        (lambda: diffusion.annealed_langevin(step_size=2.0), "step_size=2.0"),
    ],
)
def test_bad_settings_are_refused(make, message):
    with pytest.raises(ConfigError, match=message):
        make()
