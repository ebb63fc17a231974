"""Guidance against conditional mixtures, in every parameterisation; transfer between paths."""

from functools import partial

import exact
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gen_jax import diffusion, paths
from gen_jax.diffusion.guidance import likelihood_shift
from gen_jax.errors import ConfigError
from gen_jax.parameterisations import PARAMETERISATIONS

N = 6


def labelled():
    """(whole mixture, the part with label 1, log p(label = 1 | x_t) by Bayes' rule)."""
    whole = exact.mixture_2d()
    part = exact.Mixture(
        whole.weights[:2] / whole.weights[:2].sum(), whole.means[:2], whole.covariances[:2]
    )
    prior = jnp.log(whole.weights[:2].sum())

    def log_likelihood(path):
        def one(x, t):
            at = (path.alpha(t), path.sigma(t), x)
            density = exact.mixture_log_density(part, *at)
            return prior + density - exact.mixture_log_density(whole, *at)

        return jax.vmap(one)

    return whole, part, log_likelihood


def noisy(key, path, t):
    key_data, key_noise = jax.random.split(key)
    x0 = exact.mixture_sample(key_data, exact.mixture_2d(), N)
    return path.alpha(t) * x0 + path.sigma(t) * jax.random.normal(key_noise, x0.shape, x0.dtype)


@pytest.mark.parametrize("name", ["linear", "vp", "ve"])
def test_classifier_guidance_with_the_exact_classifier_is_the_conditional_denoiser(x64, key, name):
    path = paths.PATHS[name]()
    whole, part, log_likelihood = labelled()
    denoise = diffusion.mixture_denoiser(*whole, path)
    conditional = exact.mixture_denoiser(part, path)
    for t in (0.2, 0.5, 0.8):
        x, times = noisy(key, path, t), jnp.full(N, t)
        guided = diffusion.classifier(denoise, log_likelihood(path), path)
        np.testing.assert_allclose(guided(x, times), conditional(x, times), atol=1e-8)
        off = diffusion.classifier(denoise, log_likelihood(path), path, weight=0.0)
        np.testing.assert_allclose(off(x, times), denoise(x, times), atol=1e-12)


@pytest.mark.parametrize(
    ("name", "wide"), [*((name, False) for name in paths.PATHS), ("linear", True), ("cosine", True)]
)
def test_classifier_guided_samples_are_the_conditional_ones_from_pure_noise_on(key, name, wide):
    """Through `sample`, from t = 1: on linear and cosine alpha(1) = 0, the factor infinite."""
    with jax.enable_x64(wide):
        path = paths.PATHS[name]()
        whole, part, log_likelihood = labelled()
        denoise = diffusion.mixture_denoiser(*whole, path)
        conditional = diffusion.mixture_denoiser(*part, path)
        guided = diffusion.classifier(denoise, log_likelihood(path), path)
        x = diffusion.prior(key, path, (N, 2))
        times = jnp.linspace(1, 0.1, 7)
        run = jax.jit(
            lambda d, x: diffusion.sample(key, d, path, x, times, diffusion.euler()),
            static_argnums=0,
        )
        at_noise = guided(x, jnp.ones(N)), conditional(x, jnp.ones(N))
        np.testing.assert_allclose(*at_noise, atol=1e-6 if wide else 3e-3)
        ends = [run(d, x) for d in (guided, conditional, denoise)]
        np.testing.assert_allclose(ends[0], ends[1], rtol=1e-2, atol=1e-6 if wide else 3e-3)
        assert np.abs(ends[2] - ends[1]).max() > 0.02


def test_the_shift_of_a_likelihood_is_finite_for_any_gradient(key):
    """Also of a classifier that does not end in a gradient of 0, and differentiable in x."""
    x = jax.random.normal(key, (3, 2))
    t = jnp.repeat(jnp.array([1.0, 1 - 1e-7, 1e-7, 0.0]), 3)
    for make in paths.PATHS.values():
        shift = partial(likelihood_shift, lambda x, t: 1 - x, make(), t=t)
        value, slope = jax.jvp(shift, (jnp.tile(x, (4, 1)),), (jnp.ones((12, 2)),))
        assert np.isfinite(value).all()
        assert np.isfinite(slope).all()


def test_classifier_and_classifier_free_guidance_agree_at_any_weight(x64, key):
    """D_w = w D_c + (1 - w) D and D + w (sigma^2 / alpha) grad log p(y | x): the same function."""
    path, (whole, part, log_likelihood) = paths.cosine(), labelled()
    denoise = exact.mixture_denoiser(whole, path)
    conditional = exact.mixture_denoiser(part, path)
    x, t = noisy(key, path, 0.4), jnp.full(N, 0.4)
    for weight in (0.5, 3.0):
        free = diffusion.classifier_free(conditional, denoise, weight)(x, t)
        by_gradient = diffusion.classifier(denoise, log_likelihood(path), path, weight)(x, t)
        np.testing.assert_allclose(free, by_gradient, atol=1e-8)


def guided_as(kind, path, conditional, plain, w):
    """Guidance of the two networks' outputs in some parameterisation, as a denoiser."""

    def denoise(x, t):
        c = paths.coefficients(path, t)
        a, b = (paths.convert(d(x, t), x, c, "x0", kind, 0.9) for d in (conditional, plain))
        return paths.convert(w * a + (1 - w) * b, x, c, kind, "x0", 0.9)

    return denoise


@pytest.mark.parametrize("name", ["linear", "vp", "edm"])
def test_classifier_free_guidance_is_the_same_in_every_parameterisation(x64, key, name):
    path, (whole, part, _) = paths.PATHS[name](), labelled()
    denoisers = [diffusion.mixture_denoiser(*m, path) for m in (part, whole)]
    times = diffusion.GRIDS["karras"](path, 8)
    times = times.at[0].set(0.5 * (times[0] + times[1]))  # at t = 1 eps may not determine x0
    start = path.sigma(times[0]) * jax.random.normal(key, (N, 2))
    functions = {kind: guided_as(kind, path, *denoisers, 2.5) for kind in PARAMETERISATIONS}
    functions["guided"] = diffusion.classifier_free(*denoisers, 2.5)
    functions["plain"] = denoisers[0]

    @jax.jit
    def run(start):
        sample = lambda d: diffusion.sample(key, d, path, start, times, diffusion.ddim())
        return {name: sample(d) for name, d in functions.items()}

    ends = run(start)
    for kind in PARAMETERISATIONS:
        np.testing.assert_allclose(ends[kind], ends["guided"], atol=1e-8)
    assert np.abs(ends["guided"] - ends["plain"]).max() > 0.05


def test_weights_and_intervals(key):
    good, bad = (lambda x, t: 2 * x), (lambda x, t: x - t[:, None])
    x, t = jax.random.normal(key, (4, 2)), jnp.array([0.1, 0.3, 0.5, 0.9])
    run = lambda w, *interval: diffusion.autoguidance(good, bad, w, *interval)(x, t)
    np.testing.assert_allclose(run(1.0), good(x, t), rtol=1e-6)
    np.testing.assert_allclose(run(0.0), bad(x, t), rtol=1e-6)
    # karras2024 eq. 3: D + (w - 1) (D - D_guide)
    truth = good(x, t) + 0.7 * (good(x, t) - bad(x, t))
    np.testing.assert_allclose(run(1.7), truth, rtol=1e-5)
    inside = run(1.7, (0.2, 0.5))
    np.testing.assert_allclose(inside[1:3], truth[1:3], rtol=1e-5)
    np.testing.assert_allclose(inside[::3], good(x, t)[::3], rtol=1e-6)
    each = run(jnp.array([1.0, 1.7, 0.0, 1.0]))
    np.testing.assert_allclose(each[1], truth[1], rtol=1e-5)
    np.testing.assert_allclose(each[2], bad(x, t)[2], rtol=1e-5)
    for interval in ((-0.1, 1.0), (0.5, 0.2), (0.0, 1.1)):
        with pytest.raises(ConfigError, match="interval"):
            run(2.0, interval)


@pytest.mark.parametrize("target", ["linear", "cosine", "ve", "edm"])
def test_transfer_gives_the_same_points_on_a_grid_of_equal_levels(x64, key, target):
    """A deterministic sampler in y = x / alpha does not see the path, only the noise levels."""
    source, path = paths.vp(), paths.PATHS[target]()
    denoise = diffusion.mixture_denoiser(*exact.mixture_2d(), source)
    levels = jnp.exp(jnp.linspace(jnp.log(40.0), jnp.log(0.02), 12))
    grid = lambda p: jnp.append(paths.time_of_log_snr(p, -2 * jnp.log(levels)), 0.0)
    y = 40 * jax.random.normal(key, (N, 2))
    run = lambda d, p, stepper: diffusion.sample(
        key, d, p, y * p.alpha(grid(p)[0]), grid(p), stepper
    )
    moved = paths.transfer(denoise, source, path)
    for make in (diffusion.ddim, diffusion.edm_heun, diffusion.dpm_solver_pp):
        ends = run(denoise, source, make()), run(moved, path, make())
        np.testing.assert_allclose(*ends, atol=1e-8)


def test_transfer_gives_the_same_law(key):
    """Ancestral samples of a Gaussian on another path: 60,000 draws, false alarm 5e-7."""
    source, path = paths.linear(), paths.ve(0.01, 50.0)
    denoise = paths.transfer(exact.gaussian_denoiser(0.3, 0.6, source), source, path)
    start, stop = jnp.array(0.6), jnp.array(0.5)
    std = lambda t: jnp.hypot(0.6, path.sigma(t))
    x = 0.3 + std(start) * jax.random.normal(key, (60_000, 1))
    times = jnp.linspace(start, stop, 81)
    run = lambda d: diffusion.sample(key, d, path, x, times, diffusion.dpm_solver_pp(eta=1.0))
    z = (jax.jit(lambda: run(denoise))() - 0.3) / std(stop)
    assert exact.standard_normal_p_value(z) > 5e-7
    untranslated = exact.gaussian_denoiser(0.3, 0.6, source)
    z = (jax.jit(lambda: run(untranslated))() - 0.3) / std(stop)
    assert exact.standard_normal_p_value(z) < 5e-7
